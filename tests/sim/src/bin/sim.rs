//! Plays the stories of many seeds on all cores, and says how many violations there were. A story that fails is printed as short as it
//! can be made, as text for a test.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use tidegate_sim::play::play;
use tidegate_sim::seeds;
use tidegate_sim::shrink::shrink;

/// Stories and faults from seeds, in a simulated cluster.
#[derive(Parser)]
struct Asked {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Print what happens in each.
    #[arg(long)]
    log: bool,
    /// Failing seeds that are shown; the others are counted.
    #[arg(long, default_value_t = 3)]
    show: usize,
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let next = AtomicU64::new(asked.first);
    let (steps, checks) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.first + asked.seeds {
                        return;
                    }
                    let outcome = play(&seeds::story(seed), seed);
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    checks.fetch_add(outcome.checks, Ordering::Relaxed);
                    if asked.log {
                        println!(
                            "seed {seed}\n{}\n{}\n{}",
                            seeds::story(seed),
                            outcome.log.join("\n"),
                            outcome.described
                        );
                    }
                    if let Some(violation) = outcome.violations.first()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push((seed, violation.clone()));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort();
    for (seed, violation) in failed.iter().take(asked.show) {
        let short = shrink(&seeds::story(*seed), *seed, violation);
        let outcome = play(&short, *seed);
        println!("\nseed {seed}: {violation}\nas short as it gets:\n{short}");
        println!("{}\n{:#?}\n{}\n", outcome.log.join("\n"), outcome.violations, outcome.described);
    }
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}");
    }
    println!(
        "sim: seeds={} steps={} invariants={} violations={}",
        asked.seeds,
        steps.into_inner(),
        checks.into_inner(),
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
