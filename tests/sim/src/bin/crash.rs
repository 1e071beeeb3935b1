//! Kills the operator after each write of a dozen stories, and says how many ends differed.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_sim::crash::{Crashed, crash, plots};
use tidegate_sim::play::play;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let plots = plots();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Crashed)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, plot)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    plots.get(index).map(|plot| (index, plot))
                } {
                    let crashed = crash(plot, 1);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, crashed));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    let (mut points, mut checks, mut violations) = (0, 0, 0);
    for (index, crashed) in &results {
        println!("{}: {} points", plots[*index].name, crashed.points);
        points += crashed.points;
        checks += crashed.checks;
        violations += crashed.wrong.len();
        for (_, what) in &crashed.wrong {
            println!("  {what}");
        }
    }
    let mut wrong = results.iter().flat_map(|(_, crashed)| &crashed.wrong);
    if let Some((story, what)) = wrong.next() {
        let outcome = play(story, 0);
        println!("\n{what}\n{story}\n{}\n{}", outcome.log.join("\n"), outcome.described);
    }
    println!("crash: stories={} points={points} invariants={checks} violations={violations}", plots.len());
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
