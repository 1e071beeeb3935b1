//! A fixed set of seeds, and the stories of `make crash` with one death in five. `make sim` and `make crash` play many more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_sim::crash::{crash, plots};
use tidegate_sim::play::play;
use tidegate_sim::reach::Reach;
use tidegate_sim::seeds;
use tidegate_sim::shrink::shrink;

/// Seeds of the set: none of them has hundreds of pods, which takes its time without optimisation.
const SEEDS: std::ops::Range<u64> = 0..200;
/// Of the deaths one in so many is tried here.
const DEATHS: usize = 5;

#[test]
fn whatever_happens_the_invariants_hold_and_it_comes_to_rest_and_all_of_them_are_looked_at() {
    let next = AtomicU64::new(SEEDS.start);
    let reach: Mutex<Reach> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS.end {
                        return;
                    }
                    let story = seeds::story(seed);
                    let outcome = play(&story, seed);
                    reach.lock().unwrap_or_else(PoisonError::into_inner).add(&story, &outcome);
                    if let Some(violation) = outcome.violations.first() {
                        let short = shrink(&story, seed, violation);
                        panic!("seed {seed}: {violation}\n{short}\n{}", play(&short, seed).log.join("\n"));
                    }
                }
            });
        }
    });
    let reach = reach.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = reach.missing(SEEDS.end - SEEDS.start);
    assert!(missing.is_empty(), "no seed comes to {missing:?}\n{reach}");
}

#[test]
fn a_seed_is_one_story_to_the_last_write() {
    // The last two read counters of a Prometheus that lies.
    for seed in (1003..1008).chain([1042, 1306]) {
        let story = seeds::story(seed);
        assert_eq!(story.to_string().parse().as_ref(), Ok(&story));
        assert_eq!(play(&story, seed).log, play(&story, seed).log, "seed {seed}");
    }
}

#[test]
fn killed_after_one_write_or_another_every_story_ends_as_it_always_does() {
    let plots = plots();
    std::thread::scope(|scope| {
        for part in plots.chunks(plots.len().div_ceil(2)) {
            scope.spawn(move || {
                for plot in part {
                    let crashed = crash(plot, DEATHS);
                    assert!(crashed.points > 2, "{}: {crashed:?}", plot.name);
                    if let Some((story, what)) = crashed.wrong.first() {
                        panic!("{what}\n{story}\n{}", play(story, 0).log.join("\n"));
                    }
                }
            });
        }
    });
}
