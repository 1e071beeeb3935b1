//! The judge over the past. Pure: what was read goes in, in order of time, and what would have come of it comes out.
//!
//! Windows of a run's length are laid one after the other. In a quiet one, in which no release happened, pods are taken for the canary
//! in turn and the others for stable: whatever the judge goes back for there is a false alarm. The hour before a window is learnt from,
//! as in a run. What no window needs any more is forgotten.
//!
//! A higher limit is only tried where a lower one was breached.

use std::collections::{BTreeMap, BTreeSet};

use super::course::{Climb, Counters, Course, Grid};
use super::kept::{HISTORY, Kept, Moment, Round};
use super::limits::{FACTORS, Limited};
use super::outcome::{Assessment, Breach, Called, Deepest, OfIncident, OfRelease, Skipped, Went, Why};
use super::revisions::{Ended, Nameless, Revisions};
use super::rotation::{Rotation, Turn};
use super::spans::{When, revision_of};
use super::tally::{Replayed, rfc3339};
use crate::decide::judge::{self, Revision, Slot, WARM_UP};
use crate::decide::values;
use crate::observe::measure::counters::Taken;

/// Pods taken for the canary in a window, in turn.
const PODS_A_WINDOW: usize = 4;
/// Seconds after a release in which pods may still be warming up.
const SETTLING: i64 = 300;
/// The longest release or incident that is replayed, in seconds; of longer ones the beginning.
const LONGEST: i64 = 12 * 3600;
/// Windows that were not replayed and are told one by one.
const MOST_SKIPPED: usize = 1000;

/// What to replay.
#[derive(Clone, Debug)]
pub struct Task {
    /// What counts requests, as in the Release.
    pub counted: Vec<judge::Criterion>,
    /// Other numbers that have a past.
    pub numbers: Vec<values::Criterion>,
    /// Windows are laid in here.
    pub within: When,
    /// Seconds of a slot.
    pub interval: i64,
    /// Seconds of a window.
    pub window: i64,
    /// Seconds after a window's beginning at which a step begins, but for the first.
    pub steps: Vec<i64>,
    /// Seconds that a release is watched after it is out.
    pub watch: i64,
    /// Trouble that no release made.
    pub incidents: Vec<When>,
    /// Releases that somebody knows of.
    pub releases: Vec<(When, Called)>,
}

/// The replay so far.
pub struct Replay {
    task: Task,
    grid: Grid,
    kept: Kept,
    revisions: Revisions,
    next_window: i64,
    /// Windows replayed.
    number: usize,
    incidents: Vec<When>,
    given: Vec<(When, Called)>,
    /// Over, to be replayed up to a moment.
    due: Vec<(Ended, i64)>,
    result: Replayed,
    pods: BTreeSet<String>,
}

impl Replay {
    /// Nothing replayed yet.
    pub fn new(task: Task) -> Self {
        let grid = Grid::new(task.counted.clone(), task.numbers.clone(), task.interval);
        Replay {
            kept: Kept::new(task.interval, task.numbers.len()),
            revisions: Revisions::new(task.interval),
            next_window: task.within.from,
            number: 0,
            incidents: task.incidents.clone(),
            given: task.releases.clone(),
            due: Vec::new(),
            result: Replayed::of(grid.criteria.clone()),
            pods: BTreeSet::new(),
            grid,
            task,
        }
    }

    /// The next moments of a number, by its place among them. Before the rounds of the same time.
    pub fn take_number(&mut self, place: usize, moments: Vec<Moment>) {
        let data = &mut self.result.data;
        data.samples += moments.len() as u64;
        data.unread += moments.iter().filter(|(_, found)| found.is_err()).count() as u64;
        self.kept.number(place, moments);
    }

    /// The next round.
    pub fn take(&mut self, at: i64, taken: Taken) {
        let Taken { slots, missing } = taken;
        let missing = missing.into_iter().map(|(_, pod)| pod).collect();
        let round = Round { t: at - self.task.interval, slots, missing };
        let data = &mut self.result.data;
        data.rounds += 1;
        data.empty_rounds += u64::from(round.slots.is_empty());
        data.missing += round.missing.len() as u64;
        data.slots += (round.slots.len() + round.missing.len()) as u64;
        data.requests += round.slots.iter().map(|slot| slot.requests).sum::<u64>();
        for pod in round.pods() {
            if !self.pods.contains(pod) {
                self.pods.insert(pod.to_owned());
            }
        }
        match self.revisions.see(round.t, round.pods()) {
            Ok(ended) => self.due.extend(ended.map(|ended| self.until(ended))),
            Err(Nameless) => {
                let note = "names of pods do not tell revisions: name past releases with --release, --good and --bad";
                self.result.notes.insert(note.to_owned());
            }
        }
        self.kept.round(round);
        self.replay_until(at);
        self.forget(at);
    }

    /// The end.
    pub fn finish(mut self) -> Replayed {
        let ended = self.revisions.cut_off(self.task.within.to);
        self.due.extend(ended.map(|ended| self.until(ended)));
        self.replay_until(i64::MAX);
        self.result.data.pods = self.pods.len();
        self.result
    }

    /// What went through is watched for a while.
    fn until(&self, ended: Ended) -> (Ended, i64) {
        let When { from, to } = ended.when;
        let until = if ended.went == Went::Through { to + self.task.watch } else { to };
        (ended, until.min(from + LONGEST))
    }

    fn replay_until(&mut self, at: i64) {
        let superseded = self.revisions.under_way_since().is_some();
        let due = std::mem::take(&mut self.due).into_iter();
        let (due, later): (Vec<_>, Vec<_>) = due.partition(|(_, until)| superseded || *until <= at);
        self.due = later;
        for (ended, until) in due {
            self.replay_found(&ended, until);
        }
        let is_over = |when: &When| when.to.min(when.from + LONGEST) <= at;
        let (over, later) = std::mem::take(&mut self.incidents).into_iter().partition::<Vec<_>, _>(is_over);
        self.incidents = later;
        for when in over {
            self.replay_incident(when);
        }
        let given = std::mem::take(&mut self.given).into_iter();
        let (over, later): (Vec<_>, Vec<_>) = given.partition(|(when, _)| is_over(when));
        self.given = later;
        for (when, called) in over {
            if !self.revisions.releases().any(|found| found.overlaps(when)) {
                self.replay_given(when, called);
            }
        }
        let last = self.task.within.to.min(at);
        while self.next_window + self.task.window <= last {
            let when = When { from: self.next_window, to: self.next_window + self.task.window };
            self.next_window = when.to;
            match self.replay_quiet(when) {
                Ok(()) => self.number += 1,
                Err(why) if self.result.skipped.len() < MOST_SKIPPED => {
                    let skipped = Skipped { from: rfc3339(when.from), to: rfc3339(when.to), why };
                    self.result.skipped.push(skipped);
                }
                Err(_) => {}
            }
        }
    }

    fn forget(&mut self, at: i64) {
        let begun = |when: &When| if when.from <= at { when.from } else { i64::MAX };
        let oldest = self.revisions.under_way_since().into_iter();
        let oldest = oldest.chain(self.due.iter().map(|(ended, _)| ended.when.from));
        let oldest = oldest.chain(self.incidents.iter().map(begun));
        let oldest = oldest.chain(self.given.iter().map(|(when, _)| begun(when)));
        let oldest = oldest.fold(self.next_window, i64::min);
        self.kept.forget(oldest.max(at - LONGEST.max(self.task.window)) - HISTORY);
    }

    fn replay_quiet(&mut self, when: When) -> Result<(), Why> {
        let near = When { from: when.from - SETTLING, ..when };
        let given = self.task.releases.iter().map(|(release, _)| *release);
        if self.revisions.releases().chain(given).any(|release| release.overlaps(near)) {
            return Err(Why::Release);
        }
        let revisions: BTreeSet<&str> = self.kept.pods(when).into_iter().filter_map(revision_of).collect();
        if revisions.len() > 1 {
            return Err(Why::Release);
        }
        if self.task.incidents.iter().any(|incident| incident.overlaps(when)) {
            return Err(Why::Incident);
        }
        let pods = self.candidates(when)?;
        let replays = self.rotate(when, &pods, self.number, true);
        self.result.quiet_window(replays);
        Ok(())
    }

    /// Pods to be taken for the canary, if there is enough of a window; nobody where only queries are asked.
    fn candidates(&self, when: When) -> Result<Vec<String>, Why> {
        if self.grid.counted().is_empty() {
            self.kept.gauged(self.grid.numbers(), when)
        } else {
            self.kept.serving(when)
        }
    }

    /// Takes pods for the canary in turn; once nobody, when there are none.
    fn rotate(&mut self, when: When, pods: &[String], number: usize, counts: bool) -> Vec<Deepest> {
        let turns = pods.len().clamp(1, PODS_A_WINDOW);
        let mut rotation = Rotation::begin(&self.grid, &self.kept, when, &self.task.steps);
        let mut all = Vec::new();
        for turn in 0..turns {
            let pod = if pods.is_empty() { "" } else { &pods[(number * turns + turn) % pods.len()] };
            let Turn { deepest, judgements } = rotation.turn(pod);
            if counts {
                self.result.count_verdicts(&judgements);
            }
            all.push(deepest);
        }
        all
    }

    fn replay_incident(&mut self, when: When) {
        let when = When { to: when.to.min(when.from + LONGEST), ..when };
        let replays = match self.candidates(when) {
            Ok(pods) => self.rotate(when, &pods, 0, false),
            Err(_) => Vec::new(),
        };
        let undone = replays.iter().filter(|deepest| self.result.is_undone(deepest)).count();
        let (from, to) = (rfc3339(when.from), rfc3339(when.to));
        self.result.incidents.push(OfIncident { from, to, replays: replays.len(), undone });
    }

    fn replay_found(&mut self, ended: &Ended, until: i64) {
        let Ended { when, canary, stable, went } = ended;
        let is_canary = |pod: &str| revision_of(pod) == Some(canary);
        let belongs = |pod: &str| is_canary(pod) || revision_of(pod) == Some(stable);
        let known = self.task.releases.iter().filter(|(given, _)| given.overlaps(*when));
        let called = known.map(|(_, called)| *called).max_by_key(|called| match called {
            Called::Bad => 2,
            Called::Good => 1,
            Called::Release => 0,
        });
        let release = OfRelease { revision: Some(canary.clone()), went: *went, called, ..self.unread(*when) };
        self.replay_release(release, When { to: until, ..*when }, is_canary, belongs);
    }

    /// A release of which the names of pods tell nothing: its canary pods are those that were not there before.
    fn replay_given(&mut self, when: When, called: Called) {
        let when = When { to: when.to.min(when.from + LONGEST), ..when };
        let before = self.kept.pods(When { from: when.from - HISTORY, to: when.from });
        let new = self.kept.pods(when).difference(&before).map(|pod| (*pod).to_owned()).collect();
        let new: BTreeSet<String> = new;
        let release = OfRelease { called: Some(called), ..self.unread(when) };
        self.replay_release(release, when, |pod| new.contains(pod), |_| true);
    }

    fn unread(&self, when: When) -> OfRelease {
        OfRelease {
            from: rfc3339(when.from),
            to: rfc3339(when.to),
            revision: None,
            went: Went::Unknown,
            called: None,
            pods: 0,
            undone: None,
            assessment: Assessment::NoData,
            breached: vec![vec![false; FACTORS.len()]; self.grid.criteria.len()],
        }
    }

    fn replay_release(
        &mut self,
        mut release: OfRelease,
        when: When,
        is_canary: impl Fn(&str) -> bool,
        belongs: impl Fn(&str) -> bool,
    ) {
        let mut slots = self.kept.slots(when, &is_canary);
        slots.retain(|slot| belongs(&slot.pod));
        mark_warm_up(&mut slots);
        let canaries = slots.iter().filter(|slot| slot.revision == Revision::Canary);
        release.pods = canaries.map(|slot| slot.pod.as_str()).collect::<BTreeSet<&str>>().len();
        let counted = self.grid.counted().len();
        let is_read = if counted == 0 { self.candidates(when).is_ok() } else { release.pods > 0 };
        if is_read {
            let missing = self.kept.missing(when, &is_canary);
            let counters = Counters { slots: &slots, missing: &missing, steps: &[] };
            let history = self.kept.history(when.from);
            let places = 0..if counted == 0 { 0 } else { FACTORS.len() };
            let courses: Vec<Course> = places
                .map(|place| self.grid.course(place, self.grid.learn(place, &history), counters))
                .collect();
            let numbers = 0..self.grid.numbers().len();
            let climbs: Vec<Climb> =
                numbers.map(|place| self.grid.climb(&self.kept, place, when, &is_canary)).collect();
            let breached = |(at, criterion): (usize, &Limited)| {
                let is_breached = |place: usize| match at.checked_sub(counted) {
                    None => courses[place].breached[at].is_some(),
                    Some(number) => climbs[number].deepest > place,
                };
                (0..FACTORS.len()).map(|place| criterion.undoes() && is_breached(place)).collect()
            };
            release.breached = self.grid.criteria.iter().enumerate().map(breached).collect();
            release.undone = self.first_breach(courses.first(), &climbs, when.from);
            release.assessment = match (release.called, release.undone.is_some()) {
                (Some(Called::Bad), true) => Assessment::Caught,
                (Some(Called::Bad), false) => Assessment::Missed,
                (Some(Called::Good), true) => Assessment::FalseUndo,
                (Some(Called::Good), false) => Assessment::Right,
                (Some(Called::Release) | None, true) => Assessment::WouldUndo,
                (Some(Called::Release) | None, false) => Assessment::WouldPass,
            };
        }
        self.result.releases.push(release);
    }

    fn first_breach(&self, course: Option<&Course>, climbs: &[Climb], from: i64) -> Option<Breach> {
        let counted = course.iter().flat_map(|course| &course.breached).copied();
        let breaches = counted.chain(climbs.iter().map(|climb| climb.breached_at));
        let breaches = self.grid.criteria.iter().zip(breaches).filter(|(criterion, _)| criterion.undoes());
        let (criterion, at) =
            breaches.filter_map(|(criterion, at)| Some((criterion, at?))).min_by_key(|(_, at)| *at)?;
        let counted = course.map(|course| self.grid.judge(course)).unwrap_or_default().into_iter();
        let mut judgements = counted.chain(climbs.iter().map(|climb| climb.judgement.clone()));
        let message = judgements.find(|judgement| judgement.criterion == criterion.name())?.message;
        Some(Breach { criterion: criterion.name().to_owned(), after: at - from, message })
    }
}

/// Canary pods that came with a release warm up at first, as in a run. When they were Ready nobody knows any more: it counts from
/// their first slot.
fn mark_warm_up(slots: &mut [Slot]) {
    let mut first = BTreeMap::<String, i64>::new();
    for slot in slots.iter_mut().filter(|slot| slot.revision == Revision::Canary) {
        let since = *first.entry(slot.pod.clone()).or_insert(slot.t);
        slot.warming = slot.t < since.saturating_add(WARM_UP);
    }
}
