//! Kills the operator after each write of two dozen stories, and says how many ends differed.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_sim::crash::{Crashed, crash, plots};
use tidegate_sim::panics;
use tidegate_sim::play::play;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What came of each plot that was played, by its place among them.
type Results = Vec<(usize, Crashed)>;

/// Says what came of them; `more`: violations that no plot has noted. How many there were in all.
fn last_line(stories: usize, results: &[(usize, Crashed)], more: usize) -> usize {
    let (mut points, mut checks, mut violations) = (0, 0, more);
    for (_, crashed) in results {
        points += crashed.points;
        checks += crashed.checks;
        violations += crashed.wrong.len();
    }
    println!("crash: stories={stories} points={points} invariants={checks} violations={violations}");
    violations
}

fn main() -> ExitCode {
    let plots = plots();
    let next = AtomicUsize::new(0);
    let results: Arc<Mutex<Results>> = Arc::default();
    let (stories, so_far) = (plots.len(), results.clone());
    panics::last_words(move || {
        last_line(stories, &so_far.lock().unwrap_or_else(PoisonError::into_inner), 1);
    });
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
    let mut results = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner));
    results.sort_by_key(|(index, _)| *index);
    for (index, crashed) in &results {
        println!("{}: {} points", plots[*index].name, crashed.points);
        for (_, what) in &crashed.wrong {
            println!("  {what}");
        }
    }
    let mut wrong = results.iter().flat_map(|(_, crashed)| &crashed.wrong);
    if let Some((story, what)) = wrong.next() {
        let outcome = play(story, 0);
        println!("\n{what}\n{story}\n{}\n{}", outcome.log.join("\n"), outcome.described);
    }
    if last_line(stories, &results, 0) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
