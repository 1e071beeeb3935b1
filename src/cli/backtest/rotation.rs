//! One window over and over, each time with another pod as the canary and the others as stable.

use super::course::{Climb, Counters, Course, Grid};
use super::kept::{Kept, is_by_pod};
use super::limits::FACTORS;
use super::outcome::Deepest;
use super::spans::When;
use crate::decide::judge::{Judgement, Revision, Slot, State};

/// What the replays of one window have in common.
pub struct Rotation<'a> {
    grid: &'a Grid,
    kept: &'a Kept,
    when: When,
    /// Moments at which steps begin.
    steps: Vec<i64>,
    slots: Vec<Slot>,
    history: Vec<Slot>,
    /// What is learnt of that, by place of the grid.
    learnt: Vec<State>,
    /// What a query gives is the same whoever is the canary.
    shared: Vec<Option<Climb>>,
}

/// One replay.
pub struct Turn {
    pub deepest: Deepest,
    /// With the limits as they are.
    pub judgements: Vec<Judgement>,
}

impl<'a> Rotation<'a> {
    /// `steps`: seconds after the beginning.
    pub fn begin(grid: &'a Grid, kept: &'a Kept, when: When, steps: &[i64]) -> Self {
        let counts = !grid.counted().is_empty();
        let shared = grid.numbers().iter().enumerate().map(|(number, criterion)| {
            let is_shared = !is_by_pod(&criterion.kind);
            is_shared.then(|| grid.climb(kept, number, when, |_| false))
        });
        Self {
            grid,
            kept,
            when,
            steps: steps.iter().map(|step| when.from + step).collect(),
            slots: if counts { kept.slots(when, |_| false) } else { Vec::new() },
            history: if counts { kept.history(when.from) } else { Vec::new() },
            learnt: Vec::new(),
            shared: shared.collect(),
        }
    }

    /// A replay with this pod as the canary.
    pub fn turn(&mut self, pod: &str) -> Turn {
        let (mut deepest, own) = self.counted(pod);
        let mut judgements = own.map(|course| self.grid.judge(&course)).unwrap_or_default();
        for (number, known) in self.shared.iter().enumerate() {
            let climb = match known {
                Some(climb) => climb.clone(),
                None => self.grid.climb(self.kept, number, self.when, |other| other == pod),
            };
            deepest.push(climb.deepest);
            judgements.push(climb.judgement);
        }
        Turn { deepest, judgements }
    }

    /// How far up the grid each limit of what counts requests is breached, and the replay with the limits as they are.
    fn counted(&mut self, pod: &str) -> (Deepest, Option<Course>) {
        let mut deepest = vec![0; self.grid.counted().len()];
        if deepest.is_empty() {
            return (deepest, None);
        }
        for slot in &mut self.slots {
            slot.revision = if slot.pod == *pod { Revision::Canary } else { Revision::Stable };
        }
        let missing = self.kept.missing(self.when, |other| other == pod);
        let counters = Counters { slots: &self.slots, missing: &missing, steps: &self.steps };
        let mut own = None;
        for place in 0..FACTORS.len() {
            if self.learnt.len() == place {
                self.learnt.push(self.grid.learn(place, &self.history));
            }
            let course = self.grid.course(place, self.learnt[place].clone(), counters);
            for (deep, breached) in deepest.iter_mut().zip(&course.breached) {
                *deep += usize::from(*deep == place && breached.is_some());
            }
            own.get_or_insert(course);
            if deepest.iter().all(|deep| *deep <= place) {
                break;
            }
        }
        (deepest, own)
    }
}
