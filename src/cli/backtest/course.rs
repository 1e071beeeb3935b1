//! One replay after another: what the judge says of slots, and of numbers, with the limits as they are and with more generous ones.
//!
//! What counts requests is judged together, as in a run: it shares the chances of a false alarm. A number is judged by itself.

use super::kept::Kept;
use super::limits::{FACTORS, Limited, all};
use super::spans::When;
use crate::decide::judge::{self, Judgement, Settings, Slot, State};
use crate::decide::values::{self, Kind, Pods, Sample};

/// The criteria at each limit of the grid; those that cannot be written stay as generous as they can.
pub struct Grid {
    /// As they are in the Release: what counts requests first.
    pub criteria: Vec<Limited>,
    places: Vec<Place>,
    settings: Settings,
}

#[derive(Default)]
struct Place {
    counted: Vec<judge::Criterion>,
    numbers: Vec<values::Criterion>,
}

/// What of the pods' counters is replayed.
#[derive(Clone, Copy)]
pub struct Counters<'a> {
    pub slots: &'a [Slot],
    /// Starts of slots in which canary pods were missing, and how many.
    pub missing: &'a [(i64, u32)],
    /// When steps begin, but for the first.
    pub steps: &'a [i64],
}

/// How one replay of counters went.
pub struct Course {
    state: State,
    /// By criterion: when its limit was breached.
    pub breached: Vec<Option<i64>>,
}

/// How far a number went.
#[derive(Clone)]
pub struct Climb {
    /// How many limits of the grid were breached, from the lowest on.
    pub deepest: usize,
    /// When its own limit was.
    pub breached_at: Option<i64>,
    /// The last word on that.
    pub judgement: Judgement,
}

impl Grid {
    /// Of these criteria, in slots of so many seconds.
    pub fn new(counted: Vec<judge::Criterion>, numbers: Vec<values::Criterion>, interval: i64) -> Self {
        let criteria = all(&counted, &numbers);
        let mut rows = vec![criteria.clone()];
        for factor in &FACTORS[1..] {
            let below = rows.last().unwrap_or(&criteria);
            let row = criteria.iter().zip(below);
            let row = row.map(|(own, below)| own.scaled(*factor).unwrap_or_else(|| below.clone())).collect();
            rows.push(row);
        }
        let settings =
            Settings { slot_seconds: u32::try_from(interval).unwrap_or(15), ..Settings::default() };
        Self { criteria, places: rows.into_iter().map(place).collect(), settings }
    }

    /// What counts requests, as it is.
    pub fn counted(&self) -> &[judge::Criterion] {
        &self.places[0].counted
    }

    /// The numbers, as they are.
    pub fn numbers(&self) -> &[values::Criterion] {
        &self.places[0].numbers
    }

    /// What a run that begins after these slots would know.
    pub fn learn(&self, place: usize, slots: &[Slot]) -> State {
        let mut state = State::default();
        judge::learn(&self.places[place].counted, &mut state, slots);
        state
    }

    /// One replay with the limits at one place of the grid.
    pub fn course(&self, place: usize, mut state: State, counters: Counters<'_>) -> Course {
        let Counters { slots, missing, steps } = counters;
        let criteria = &self.places[place].counted;
        let mut rest = slots;
        for step in steps {
            let (before, after) = rest.split_at(rest.partition_point(|slot| slot.t < *step));
            judge::fold(criteria, &mut state, before, &self.settings);
            judge::begin_step(&mut state);
            rest = after;
        }
        judge::fold(criteria, &mut state, rest, &self.settings);
        for (t, pods) in missing {
            judge::note_missing(&mut state, *t, *pods);
        }
        let breached = |criterion: &judge::Criterion| state.criteria.get(&criterion.name)?.breached_at;
        Course { breached: criteria.iter().map(breached).collect(), state }
    }

    /// What the judge says at the end of a replay with the limits as they are.
    pub fn judge(&self, course: &Course) -> Vec<Judgement> {
        judge::judge(self.counted(), &course.state, &self.settings)
    }

    /// How far up the grid a number's limit is breached, and what is said of it in the end.
    pub fn climb(&self, kept: &Kept, number: usize, when: When, is_canary: impl Fn(&str) -> bool) -> Climb {
        let own = &self.places[0].numbers[number];
        let read = match own.kind {
            Kind::Availability => Read::Pods(kept.readiness(number, when, is_canary)),
            Kind::Restarts => Read::Pods(kept.restarts(number, when, is_canary)),
            Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } => {
                Read::Samples(kept.samples(number, own, when, is_canary))
            }
        };
        let follow = |criterion: &values::Criterion| read.fold(std::slice::from_ref(criterion));
        let state = follow(own);
        let breached_at = state.breached_at(&own.name);
        let higher = self.places[1..].iter().map(|place| &place.numbers[number]);
        let higher = higher.take_while(|criterion| follow(criterion).breached_at(&criterion.name).is_some());
        let deepest = if breached_at.is_some() { 1 + higher.count() } else { 0 };
        let judgement = values::judge(std::slice::from_ref(own), &state, when.to).pop();
        Climb { deepest, breached_at, judgement: judgement.expect("one criterion, one judgement") }
    }
}

/// What was read of a number.
enum Read {
    Samples(Vec<Sample>),
    /// What the pods' status was: looked at over and over.
    Pods(Vec<(i64, Pods)>),
}

impl Read {
    fn fold(&self, criteria: &[values::Criterion]) -> values::State {
        let mut state = values::State::default();
        match self {
            Self::Samples(samples) => values::fold(criteria, &mut state, samples),
            Self::Pods(moments) => {
                for (at, pods) in moments {
                    let new = state.look(criteria, *pods, *at, None);
                    values::fold(criteria, &mut state, &new);
                }
            }
        }
        state
    }
}

fn place(row: Vec<Limited>) -> Place {
    let mut place = Place::default();
    for limited in row {
        match limited {
            Limited::Counted(criterion) => place.counted.push(criterion),
            Limited::Number(criterion) => place.numbers.push(criterion),
        }
    }
    place
}
