//! Plays the stories of many seeds on all cores, and says how many violations there were. A story that fails is printed as short as it
//! can be made, as text for a test.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use tidegate_sim::panics;
use tidegate_sim::play::{MOST_STEPS, play, play_within};
use tidegate_sim::reach::Reach;
use tidegate_sim::seeds;
use tidegate_sim::shrink::shrink;

/// After so long a seed is not waited for any longer. Stories that go on and on are ended by their steps; this is for one that is
/// caught where nobody counts.
const LONGEST: Duration = Duration::from_secs(300);

/// Of so many seeds it is demanded what they come to: what they do not come to is printed, and no success.
const DEMANDED: u64 = 1_000;

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
    /// Play each twice: it is the same story to the last write.
    #[arg(long)]
    twice: bool,
    /// Print what each seed took.
    #[arg(long)]
    times: bool,
    /// Turns and requests after which a story is given up.
    #[arg(long, default_value_t = MOST_STEPS)]
    steps: u64,
    /// Failing seeds that are shown; the others are counted.
    #[arg(long, default_value_t = 3)]
    show: usize,
}

/// What came of the seeds so far.
#[derive(Default)]
struct Counts {
    played: AtomicU64,
    steps: AtomicU64,
    checks: AtomicU64,
    /// Seeds in which something did not hold, and what.
    failed: Mutex<Vec<(u64, String)>>,
}

impl Counts {
    fn failed(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seeds under way, and since when.
#[derive(Default)]
struct UnderWay(Mutex<BTreeMap<u64, Instant>>);

impl UnderWay {
    fn during<T>(&self, seed: u64, what: impl FnOnce() -> T) -> (T, Duration) {
        let began = now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, began);
        let result = what();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
        (result, began.elapsed())
    }

    /// Ends everything when one does not end by itself, and says how far it has come.
    fn watch(&self, over: &AtomicBool, say: &impl Fn()) {
        while !over.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_secs(1));
            let under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((seed, _)) = under_way.iter().find(|(_, began)| began.elapsed() > LONGEST) {
                let story = seeds::story(*seed);
                println!("seed {seed} has not ended after {} s:\n{story}", LONGEST.as_secs());
                println!("the other seeds were not played to their end");
                say();
                std::process::exit(1);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a seed takes is no part of its story")]
fn now() -> Instant {
    Instant::now()
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let asked = Asked::parse();
    let next = AtomicU64::new(asked.first);
    let counts: &'static Counts = Box::leak(Box::default());
    let reach: Mutex<Reach> = Mutex::default();
    let (under_way, over) = (UnderWay::default(), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let began = now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= asked.first + asked.seeds {
                return;
            }
            let story = seeds::story(seed);
            let (outcome, took) = under_way.during(seed, || play_within(&story, seed, asked.steps));
            reach.lock().unwrap_or_else(PoisonError::into_inner).add(&story, &outcome);
            counts.played.fetch_add(1, Ordering::Relaxed);
            counts.steps.fetch_add(outcome.steps, Ordering::Relaxed);
            counts.checks.fetch_add(outcome.checks, Ordering::Relaxed);
            if asked.log {
                println!("seed {seed}\n{story}\n{}\n{}", outcome.log.join("\n"), outcome.described);
            }
            if asked.times {
                println!("seed {seed} took {} us for {} steps", took.as_micros(), outcome.steps);
            }
            let mut violation = outcome.violations.first().cloned();
            if asked.twice {
                let (again, _) = under_way.during(seed, || play_within(&story, seed, asked.steps));
                if outcome.log != again.log {
                    let same = outcome.log.iter().zip(&again.log).take_while(|(one, other)| one == other);
                    let place = same.count();
                    let [first, second] = [&outcome.log, &again.log].map(|log| log.get(place));
                    violation
                        .get_or_insert(format!("not the same story twice: {first:?}, and then {second:?}"));
                }
            }
            if let Some(violation) = violation {
                counts.failed().push((seed, violation));
            }
        }
    };
    let last_line = move |violations: usize| {
        println!(
            "sim: seeds={} steps={} invariants={} violations={violations} seconds={:.1}",
            counts.played.load(Ordering::Relaxed),
            counts.steps.load(Ordering::Relaxed),
            counts.checks.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64(),
        );
    };
    // A story that does not end is one more, and one whose panic ends the program.
    let given_up = move || last_line(counts.failed().len() + 1);
    panics::last_words(given_up);
    let failed = std::thread::scope(|scope| {
        let watching = scope.spawn(|| under_way.watch(&over, &given_up));
        let working: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        working.into_iter().for_each(|thread| drop(thread.join()));
        let mut failed = counts.failed().clone();
        failed.sort();
        for (seed, violation) in failed.iter().take(asked.show) {
            under_way.during(*seed, || show(*seed, violation));
        }
        over.store(true, Ordering::Relaxed);
        watching.thread().unpark();
        failed
    });
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}");
    }
    let reach = reach.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{reach}");
    let missing = if asked.seeds >= DEMANDED { reach.missing(asked.seeds) } else { Vec::new() };
    if !missing.is_empty() {
        println!("no seed comes to: {}", missing.join(", "));
    }
    last_line(failed.len());
    if failed.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(seed: u64, violation: &str) {
    let short = shrink(&seeds::story(seed), seed, violation);
    let outcome = play(&short, seed);
    println!("\nseed {seed}: {violation}\nas short as it gets:\n{short}");
    println!("{}\n{:#?}\n{}\n", outcome.log.join("\n"), outcome.violations, outcome.described);
}
