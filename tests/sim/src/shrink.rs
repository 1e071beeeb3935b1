//! Makes a story that fails shorter, as long as it still fails in the same invariant.

use std::cell::Cell;

use crate::play::play;
use crate::story::Story;

/// Plays at most.
const PLAYS: usize = 400;

/// The number of the invariant that a violation is about.
fn about(violation: &str) -> &str {
    violation.split(" at ").next().unwrap_or(violation)
}

/// The shortest story found.
pub fn shrink(story: &Story, seed: u64, violation: &str) -> Story {
    let mut best = story.clone();
    let plays = Cell::new(0);
    let fails = |story: &Story| {
        plays.set(plays.get() + 1);
        plays.get() <= PLAYS
            && play(story, seed).violations.iter().any(|other| about(other) == about(violation))
    };
    loop {
        let before = best.clone();
        let mut without_faults = best.clone();
        without_faults.faults.clear();
        if !best.faults.is_empty() && fails(&without_faults) {
            best = without_faults;
        }
        for number in best.faults.keys().copied().collect::<Vec<_>>() {
            let mut shorter = best.clone();
            shorter.faults.remove(&number);
            if fails(&shorter) {
                best = shorter;
            }
        }
        for index in (0..best.events.len()).rev() {
            let mut shorter = best.clone();
            shorter.events.remove(index);
            if fails(&shorter) {
                best = shorter;
            }
        }
        for simpler in simpler(&best) {
            if fails(&simpler) {
                best = simpler;
            }
        }
        if best == before || plays.get() > PLAYS {
            return best;
        }
    }
}

/// The same with a simpler world.
fn simpler(story: &Story) -> Vec<Story> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Story)| {
        let mut other = story.clone();
        change(&mut other);
        if other != *story {
            all.push(other);
        }
    };
    with(&|story| story.setup.candidates = 0);
    with(&|story| story.setup.min_ready = 0);
    with(&|story| story.setup.ready_after = 1000);
    for field in ["undo", "onDelete", "preflight", "capture"] {
        with(&|story| drop(story.setup.release.as_object_mut().map(|release| release.remove(field))));
    }
    if story.setup.replicas > 4 {
        with(&|story| story.setup.replicas = 4);
    }
    all
}
