//! Makes a story that fails shorter, as long as it still fails in the same invariant. Bounded in plays and in steps of all of them: a
//! story that takes long is printed as short as it could be made by then.

use std::collections::BTreeMap;

use crate::play::{MOST_STEPS, Outcome, play_within};
use crate::story::{Event, Story};

/// Plays at most.
const PLAYS: usize = 400;
/// Steps of all plays together, at most: about a minute.
const STEPS: u64 = 3_000_000;

/// The number of the invariant that a violation is about.
fn about(violation: &str) -> &str {
    violation.split(" at ").next().unwrap_or(violation)
}

/// Tries of shorter stories, until there have been enough.
struct Tries<P> {
    /// Plays a story within so many steps: whether it fails as the first one did, and the steps it took.
    play: P,
    plays: usize,
    steps: u64,
}

impl<P: FnMut(&Story, u64) -> (bool, u64)> Tries<P> {
    fn are_enough(&self) -> bool {
        self.plays >= PLAYS || self.steps >= STEPS
    }

    /// Takes a story for the best one if it fails too.
    fn try_out(&mut self, best: &mut Story, shorter: Story) -> bool {
        if self.are_enough() || *best == shorter {
            return false;
        }
        let (fails, steps) = (self.play)(&shorter, STEPS - self.steps);
        self.plays += 1;
        self.steps += steps;
        if fails {
            *best = shorter;
        }
        fails
    }
}

/// The shortest story found.
pub fn shrink(story: &Story, seed: u64, violation: &str) -> Story {
    shrink_by(story, |story, steps| {
        let Outcome { violations, steps, .. } = play_within(story, seed, MOST_STEPS.min(steps));
        (violations.iter().any(|other| about(other) == about(violation)), steps)
    })
}

fn shrink_by(story: &Story, play: impl FnMut(&Story, u64) -> (bool, u64)) -> Story {
    let mut best = story.clone();
    let mut plays = Tries { play, plays: 0, steps: 0 };
    loop {
        let before = best.clone();
        // What comes after it went wrong has nothing to do with it: halves first, then one by one.
        let mut half = best.events.len().div_ceil(2);
        while half > 1 {
            let mut shorter = best.clone();
            shorter.events.truncate(best.events.len().saturating_sub(half).max(1));
            if !plays.try_out(&mut best, shorter) {
                half /= 2;
            }
        }
        let without_faults = Story { faults: BTreeMap::new(), lease_faults: BTreeMap::new(), ..best.clone() };
        plays.try_out(&mut best, without_faults);
        for number in best.faults.keys().copied().collect::<Vec<_>>() {
            let mut shorter = best.clone();
            shorter.faults.remove(&number);
            plays.try_out(&mut best, shorter);
        }
        for number in best.lease_faults.keys().copied().collect::<Vec<_>>() {
            let mut shorter = best.clone();
            shorter.lease_faults.remove(&number);
            plays.try_out(&mut best, shorter);
        }
        for index in (0..best.events.len()).rev() {
            let mut shorter = best.clone();
            shorter.events.remove(index);
            plays.try_out(&mut best, shorter);
        }
        for simpler in SIMPLER {
            let mut other = best.clone();
            simpler(&mut other);
            plays.try_out(&mut best, other);
        }
        if best == before || plays.are_enough() {
            return best;
        }
    }
}

/// What makes a world simpler.
const SIMPLER: [fn(&mut Story); 21] = [
    |story| story.setup.candidates = 0,
    |story| story.setup.leaders = 1,
    |story| story.setup.min_ready = 0,
    |story| story.setup.deadline = 600,
    |story| story.setup.ready_after = 1000,
    |story| story.setup.traffic = Vec::new(),
    |story| story.setup.autoscaler = None,
    |story| story.setup.clocks = Vec::new(),
    |story| story.setup.page = 0,
    |story| story.setup.refuses_old = false,
    |story| story.setup.replicas = story.setup.replicas.min(4),
    |story| without(story, "undo"),
    |story| without(story, "onDelete"),
    |story| without(story, "preflight"),
    |story| without(story, "capture"),
    |story| without(story, "notify"),
    |story| without(story, "locks"),
    |story| without(story, "metrics"),
    |story| without(story, "windows"),
    by_the_usual_people,
    |story| {
        story.setup.beside = 0;
        story.events.retain(|(_, event)| !matches!(event, Event::Beside(_, _)));
    },
];

/// The owner writes, and alice speaks.
fn by_the_usual_people(story: &mut Story) {
    for (_, event) in &mut story.events {
        let usual = match event {
            Event::PushBy(_, version, conduct) => Event::Push(*version, *conduct),
            Event::SayBy(_, action, role) => {
                let said = *action;
                Event::Say(said, *role)
            }
            _ => continue,
        };
        *event = usual;
    }
}

fn without(story: &mut Story, field: &str) {
    if let Some(release) = story.setup.release.as_object_mut() {
        release.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Conduct;

    fn long() -> Story {
        let text = "replicas 20\nat 500 say Pause\nat 1000 push v2 good\nat 2000 apply\nat 3000 compact\nat 4000 restart\nrequest 3 lost";
        text.parse().expect("a story")
    }

    #[test]
    fn only_what_it_needs_to_fail_is_left() {
        let fails = |story: &Story| story.events.iter().any(|(_, event)| *event == Event::Apply);
        let short = shrink_by(&long(), |story, _| (fails(story), 1));
        assert_eq!(short.events, [(2000, Event::Apply)]);
        assert!(short.faults.is_empty() && short.setup.replicas == 4, "{short}");
    }

    #[test]
    fn who_did_it_is_left_out_where_it_does_not_matter() {
        let text = "at 500 push-by bob v2 good\nat 1000 say-by bob Abort";
        let story: Story = text.parse().expect("a story");
        let short = shrink_by(&story, |story, _| (story.events.len() == 2, 1));
        let usual = [(500, Event::Push(2, Conduct::Good)), (1000, Event::Say("Abort", None))];
        assert_eq!(short.events, usual);
    }

    #[test]
    fn one_that_takes_for_ever_is_given_up_on() {
        let mut tries = 0;
        let short = shrink_by(&long(), |_, steps| {
            tries += 1;
            (false, steps.min(MOST_STEPS))
        });
        assert_eq!((short, tries), (long(), STEPS / MOST_STEPS));
    }
}
