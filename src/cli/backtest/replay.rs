//! The judge over the past. Pure: rounds of reading go in, in order of time, and what would have come of them comes out.
//!
//! Windows of a run's length are laid one after the other. In a quiet one, in which no release happened, pods are taken for the canary
//! in turn and the others for stable: whatever the judge goes back for there is a false alarm. The hour before a window is learnt from,
//! as in a run. Only the rounds that windows still need are kept.
//!
//! A higher limit is only tried where a lower one was breached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::limits::{self, FACTORS};
use super::outcome::{
    Assessment, AtLimit, Breach, Called, Data, Deepest, OfCriterion, OfIncident, OfRelease, Quiet, Skipped,
    Went, Why, at_most, share, undoes,
};
use super::spans::{When, revision_of, shown};
use crate::decide::judge::{self, Criterion, Revision, Settings, Slot, State, Verdict};
use crate::observe::measure::counters::Taken;

/// Seconds before a window that are learnt from.
pub const HISTORY: i64 = 3600;
/// Pods taken for the canary in a window, in turn.
const PODS_A_WINDOW: usize = 4;
/// Share of a window's rounds that a pod taken for the canary must be there in, and that anybody must be read in.
const THERE: f64 = 0.8;
/// Seconds after a release in which pods may still be warming up.
const SETTLING: i64 = 300;
/// Seconds that one revision must be alone for a release to be over.
const ALONE: i64 = 60;
/// The longest release or incident that is replayed, in seconds; of longer ones the beginning.
pub const LONGEST: i64 = 12 * 3600;
/// Windows that were not replayed and are told one by one.
const MOST_SKIPPED: usize = 1000;

/// What to replay.
#[derive(Clone, Debug)]
pub struct Task {
    /// As in the Release.
    pub criteria: Vec<Criterion>,
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
    /// The criteria at each limit of the grid; those that cannot be written stay as high as they can.
    grid: Vec<Vec<Criterion>>,
    rounds: VecDeque<Past>,
    next_window: i64,
    number: usize,
    incidents: Vec<When>,
    given: Vec<(When, Called)>,
    /// The revision that serves alone.
    serving: Option<String>,
    under_way: Option<UnderWay>,
    /// Over, to be replayed when watched.
    due: Vec<Ended>,
    /// When there were releases.
    past: Vec<When>,
    result: Replayed,
    pods: BTreeSet<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Replayed {
    pub data: Data,
    pub quiet: Vec<Deepest>,
    pub windows: usize,
    pub windows_undone: usize,
    pub verdicts: Vec<BTreeMap<String, usize>>,
    pub unknown: Vec<BTreeMap<String, usize>>,
    pub releases: Vec<OfRelease>,
    pub incidents: Vec<OfIncident>,
    pub skipped: Vec<Skipped>,
    pub notes: BTreeSet<String>,
}

/// A round.
struct Past {
    /// Start of its slots.
    t: i64,
    slots: Vec<Slot>,
    missing: Vec<String>,
}

impl Past {
    fn pods(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.pod.as_str()).chain(self.missing.iter().map(String::as_str))
    }
}

struct UnderWay {
    from: i64,
    canary: String,
    stable: String,
    /// Since when which of the two is alone.
    alone: Option<(i64, Revision)>,
}

struct Ended {
    when: When,
    canary: String,
    stable: String,
    went: Went,
    /// Replayed up to here.
    until: i64,
}

/// How one replay went.
struct Course {
    state: State,
    /// By criterion.
    breached: Vec<Option<i64>>,
}

impl Replay {
    /// Nothing replayed yet.
    pub fn new(task: Task) -> Self {
        let mut grid: Vec<Vec<Criterion>> = Vec::new();
        for factor in FACTORS {
            let below = grid.last().unwrap_or(&task.criteria);
            let at = task.criteria.iter().zip(below);
            grid.push(
                at.map(|(own, below)| limits::scaled(own, factor).unwrap_or_else(|| below.clone())).collect(),
            );
        }
        let count = task.criteria.len();
        Replay {
            grid,
            rounds: VecDeque::new(),
            next_window: task.within.from,
            number: 0,
            incidents: task.incidents.clone(),
            given: task.releases.clone(),
            serving: None,
            under_way: None,
            due: Vec::new(),
            past: Vec::new(),
            result: Replayed {
                verdicts: vec![BTreeMap::new(); count],
                unknown: vec![BTreeMap::new(); count],
                ..Replayed::default()
            },
            pods: BTreeSet::new(),
            task,
        }
    }

    /// The next round.
    pub fn take(&mut self, at: i64, taken: Taken) {
        let Taken { slots, missing } = taken;
        let round = Past {
            t: at - self.task.interval,
            slots,
            missing: missing.into_iter().map(|(_, pod)| pod).collect(),
        };
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
        self.see_revisions(&round);
        self.rounds.push_back(round);
        self.replay_until(at);
        self.forget(at);
    }

    /// The end.
    pub fn finish(mut self) -> Replayed {
        if let Some(under_way) = self.under_way.take() {
            self.end(under_way, self.task.within.to, Went::Unknown);
        }
        self.replay_until(i64::MAX);
        self.result.data.pods = self.pods.len();
        self.result
    }

    /// What pods' names tell of releases.
    fn see_revisions(&mut self, round: &Past) {
        let mut present = BTreeSet::new();
        for pod in round.pods() {
            let Some(revision) = revision_of(pod) else {
                let note = "names of pods do not tell revisions: name past releases with --release, --good and --bad";
                self.result.notes.insert(note.to_owned());
                return;
            };
            present.insert(revision);
        }
        if present.is_empty() {
            return;
        }
        let t = round.t;
        let Some(mut under_way) = self.under_way.take() else {
            match &self.serving {
                Some(serving) => {
                    if let Some(canary) = present.iter().find(|one| *one != serving) {
                        self.begin(t, (*canary).to_owned(), serving.clone());
                    }
                }
                None if present.len() == 1 => self.serving = present.first().map(|one| (*one).to_owned()),
                None => {}
            }
            return;
        };
        if let Some(third) = present.iter().find(|one| **one != under_way.canary && **one != under_way.stable)
        {
            let stable = under_way.stable.clone();
            self.end(under_way, t, Went::Superseded);
            self.begin(t, (*third).to_owned(), stable);
            return;
        }
        let alone = match (
            present.contains(under_way.canary.as_str()),
            present.contains(under_way.stable.as_str()),
        ) {
            (true, false) => Some(Revision::Canary),
            (false, true) => Some(Revision::Stable),
            _ => None,
        };
        under_way.alone = match (alone, under_way.alone) {
            (Some(now), Some((since, before))) if now == before => Some((since, now)),
            (Some(now), _) => Some((t, now)),
            (None, _) => None,
        };
        match under_way.alone {
            Some((since, Revision::Canary)) if t - since >= ALONE => {
                self.serving = Some(under_way.canary.clone());
                self.end(under_way, since, Went::Through);
            }
            Some((since, Revision::Stable)) if t - since >= ALONE => self.end(under_way, since, Went::Back),
            _ => self.under_way = Some(under_way),
        }
    }

    fn begin(&mut self, from: i64, canary: String, stable: String) {
        self.under_way = Some(UnderWay { from, canary, stable, alone: None });
    }

    fn end(&mut self, UnderWay { from, canary, stable, alone: _ }: UnderWay, to: i64, went: Went) {
        let when = When { from, to: to.max(from + self.task.interval) };
        self.past.push(when);
        let until = if went == Went::Through { when.to + self.task.watch } else { when.to };
        self.due.push(Ended { when, canary, stable, went, until: until.min(from + LONGEST) });
    }

    fn replay_until(&mut self, at: i64) {
        let superseded = self.under_way.is_some();
        let (due, later) = std::mem::take(&mut self.due)
            .into_iter()
            .partition::<Vec<_>, _>(|ended| superseded || ended.until <= at);
        self.due = later;
        for ended in due {
            self.replay_found(&ended);
        }
        let incidents = std::mem::take(&mut self.incidents);
        let (over, later) =
            incidents.into_iter().partition::<Vec<_>, _>(|when| when.to.min(when.from + LONGEST) <= at);
        self.incidents = later;
        for when in over {
            self.replay_incident(when);
        }
        let given = std::mem::take(&mut self.given);
        let (over, later) =
            given.into_iter().partition::<Vec<_>, _>(|(when, _)| when.to.min(when.from + LONGEST) <= at);
        self.given = later;
        for (when, called) in over {
            if !self.releases().any(|found| found.overlaps(when)) {
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

    /// Releases so far, the one under way included.
    fn releases(&self) -> impl Iterator<Item = When> {
        let under_way = self.under_way.iter().map(|under_way| When { from: under_way.from, to: i64::MAX });
        self.past.iter().copied().chain(under_way)
    }

    fn forget(&mut self, at: i64) {
        let mut oldest = self.next_window;
        oldest = oldest.min(self.under_way.as_ref().map_or(i64::MAX, |under_way| under_way.from));
        oldest = oldest.min(self.due.iter().map(|ended| ended.when.from).min().unwrap_or(i64::MAX));
        let begun = |when: &When| if when.from <= at { when.from } else { i64::MAX };
        oldest = oldest.min(self.incidents.iter().map(begun).min().unwrap_or(i64::MAX));
        oldest = oldest.min(self.given.iter().map(|(when, _)| begun(when)).min().unwrap_or(i64::MAX));
        let oldest = oldest.max(at - LONGEST.max(self.task.window)) - HISTORY;
        while self.rounds.front().is_some_and(|round| round.t < oldest) {
            self.rounds.pop_front();
        }
    }

    fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &Past> {
        let first = self.rounds.partition_point(|round| round.t < from);
        let last = self.rounds.partition_point(|round| round.t < to);
        self.rounds.range(first..last.max(first))
    }

    /// All slots, as stable's, but for those that `is_canary`.
    fn slots(&self, from: i64, to: i64, is_canary: impl Fn(&str) -> bool) -> Vec<Slot> {
        let slots = self.between(from, to).flat_map(|round| &round.slots).cloned();
        slots
            .map(|slot| match is_canary(&slot.pod) {
                true => Slot { revision: Revision::Canary, ..slot },
                false => slot,
            })
            .collect()
    }

    fn missing(&self, from: i64, to: i64, is_canary: impl Fn(&str) -> bool) -> Vec<(i64, u32)> {
        let of = |round: &Past| {
            let count = round.missing.iter().filter(|pod| is_canary(pod)).count();
            (round.t, u32::try_from(count).unwrap_or(u32::MAX))
        };
        self.between(from, to).map(of).filter(|(_, count)| *count > 0).collect()
    }

    /// What a run that begins here would know: of the pods that are there now, not of a canary that went back a while ago.
    fn learnt(&self, before: i64, criteria: &[Criterion]) -> State {
        let present: BTreeSet<&str> = self.between(before - ALONE, before).flat_map(Past::pods).collect();
        let mut slots = self.slots(before - HISTORY, before, |_| false);
        slots.retain(|slot| present.contains(slot.pod.as_str()));
        let mut state = State::default();
        judge::learn(criteria, &mut state, &slots);
        state
    }

    /// One replay with the limits at one place of the grid.
    fn course(
        &self,
        place: usize,
        mut state: State,
        slots: &[Slot],
        missing: &[(i64, u32)],
        steps: &[i64],
    ) -> Course {
        let criteria = &self.grid[place];
        let settings = self.settings();
        let mut rest = slots;
        for step in steps {
            let (before, after) = rest.split_at(rest.partition_point(|slot| slot.t < *step));
            judge::fold(criteria, &mut state, before, &settings);
            judge::begin_step(&mut state);
            rest = after;
        }
        judge::fold(criteria, &mut state, rest, &settings);
        for (t, pods) in missing {
            judge::note_missing(&mut state, *t, *pods);
        }
        let breached = |criterion: &Criterion| state.criteria.get(&criterion.name)?.breached_at;
        Course { breached: criteria.iter().map(breached).collect(), state }
    }

    fn settings(&self) -> Settings {
        Settings { slot_seconds: u32::try_from(self.task.interval).unwrap_or(15), ..Settings::default() }
    }

    fn replay_quiet(&mut self, when: When) -> Result<(), Why> {
        let When { from, to } = when;
        let near = When { from: from - SETTLING, to };
        let given = self.task.releases.iter().map(|(release, _)| *release);
        if self.releases().chain(given).any(|release| release.overlaps(near)) {
            return Err(Why::Release);
        }
        let revisions: BTreeSet<&str> =
            self.between(from, to).flat_map(Past::pods).filter_map(revision_of).collect();
        if revisions.len() > 1 {
            return Err(Why::Release);
        }
        if self.task.incidents.iter().any(|incident| incident.overlaps(when)) {
            return Err(Why::Incident);
        }
        let pods = self.candidates(when)?;
        self.result.windows += 1;
        let courses = self.rotate(when, &pods, self.number, true);
        let undone = |deepest: &Deepest| {
            self.task.criteria.iter().zip(deepest).any(|(criterion, deep)| undoes(criterion) && *deep > 0)
        };
        self.result.windows_undone += usize::from(courses.iter().any(undone));
        self.result.quiet.extend(courses);
        Ok(())
    }

    /// Pods that stayed through a window, if there is enough of it.
    fn candidates(&self, When { from, to }: When) -> Result<Vec<String>, Why> {
        #[expect(clippy::cast_precision_loss, reason = "rounds of a window")]
        let enough = ((to - from) / self.task.interval) as f64 * THERE;
        #[expect(clippy::cast_precision_loss, reason = "rounds of a window")]
        let is_enough = |rounds: usize| rounds as f64 >= enough;
        if !is_enough(self.between(from, to).filter(|round| !round.slots.is_empty()).count()) {
            return Err(Why::NoData);
        }
        let (mut rounds, mut requests) = (BTreeMap::<&str, usize>::new(), 0_u64);
        for slot in self.between(from, to).flat_map(|round| &round.slots) {
            *rounds.entry(&slot.pod).or_default() += 1;
            requests = requests.saturating_add(slot.requests);
        }
        if requests == 0 {
            return Err(Why::NoRequests);
        }
        let there = rounds.into_iter().filter(|(_, rounds)| is_enough(*rounds));
        let pods: Vec<String> = there.map(|(pod, _)| pod.to_owned()).collect();
        if pods.len() < 2 { Err(Why::TooFewPods) } else { Ok(pods) }
    }

    /// Takes pods for the canary in turn.
    fn rotate(
        &mut self,
        When { from, to }: When,
        pods: &[String],
        number: usize,
        counts: bool,
    ) -> Vec<Deepest> {
        let turns = pods.len().min(PODS_A_WINDOW);
        let steps: Vec<i64> = self.task.steps.iter().map(|step| from + step).collect();
        let mut slots = self.slots(from, to, |_| false);
        let mut learnt: Vec<State> = Vec::new();
        let mut all = Vec::new();
        for turn in 0..turns {
            let pod = &pods[(number * turns + turn) % pods.len()];
            for slot in &mut slots {
                slot.revision = if slot.pod == *pod { Revision::Canary } else { Revision::Stable };
            }
            let missing = self.missing(from, to, |other| other == pod);
            let mut deepest = vec![0; self.task.criteria.len()];
            for place in 0..FACTORS.len() {
                if learnt.len() == place {
                    learnt.push(self.learnt(from, &self.grid[place]));
                }
                let course = self.course(place, learnt[place].clone(), &slots, &missing, &steps);
                if place == 0 && counts {
                    self.count_verdicts(&course);
                }
                for (deep, breached) in deepest.iter_mut().zip(&course.breached) {
                    *deep += usize::from(*deep == place && breached.is_some());
                }
                if deepest.iter().all(|deep| *deep <= place) {
                    break;
                }
            }
            all.push(deepest);
        }
        all
    }

    fn count_verdicts(&mut self, course: &Course) {
        let judgements = judge::judge(&self.grid[0], &course.state, &self.settings());
        for (at, judgement) in judgements.iter().enumerate() {
            *self.result.verdicts[at].entry(format!("{:?}", judgement.verdict)).or_default() += 1;
            if judgement.verdict == Verdict::Unknown {
                *self.result.unknown[at].entry(format!("{:?}", judgement.reason)).or_default() += 1;
            }
        }
    }

    fn replay_incident(&mut self, when: When) {
        let when = When { to: when.to.min(when.from + LONGEST), ..when };
        let pods = self.candidates(when).unwrap_or_default();
        let courses = self.rotate(when, &pods, 0, false);
        let undone = |deepest: &&Deepest| {
            self.task.criteria.iter().zip(*deepest).any(|(criterion, deep)| undoes(criterion) && *deep > 0)
        };
        let undone = courses.iter().filter(undone).count();
        let (from, to) = (rfc3339(when.from), rfc3339(when.to));
        self.result.incidents.push(OfIncident { from, to, replays: courses.len(), undone });
    }

    fn replay_found(&mut self, ended: &Ended) {
        let Ended { when, canary, stable, went, until } = ended;
        let of = |pod: &str| revision_of(pod).map(str::to_owned);
        let is_canary = |pod: &str| of(pod).as_ref() == Some(canary);
        let belongs = |pod: &str| is_canary(pod) || of(pod).as_ref() == Some(stable);
        let known = self.task.releases.iter().filter(|(given, _)| given.overlaps(*when));
        let called = known.map(|(_, called)| *called).max_by_key(|called| match called {
            Called::Bad => 2,
            Called::Good => 1,
            Called::Release => 0,
        });
        let release = OfRelease { revision: Some(canary.clone()), went: *went, called, ..self.unread(*when) };
        self.replay_release(release, When { to: *until, ..*when }, is_canary, belongs);
    }

    /// A release of which the names of pods tell nothing: its canary pods are those that were not there before.
    fn replay_given(&mut self, when: When, called: Called) {
        let when = When { to: when.to.min(when.from + LONGEST), ..when };
        let pods = |from, to| -> BTreeSet<String> {
            self.between(from, to).flat_map(Past::pods).map(str::to_owned).collect()
        };
        let before = pods(when.from - HISTORY, when.from);
        let new: BTreeSet<String> = pods(when.from, when.to).difference(&before).cloned().collect();
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
            breached: vec![vec![false; FACTORS.len()]; self.task.criteria.len()],
        }
    }

    fn replay_release(
        &mut self,
        mut release: OfRelease,
        When { from, to }: When,
        is_canary: impl Fn(&str) -> bool,
        belongs: impl Fn(&str) -> bool,
    ) {
        let mut slots = self.slots(from, to, &is_canary);
        slots.retain(|slot| belongs(&slot.pod));
        let missing = self.missing(from, to, &is_canary);
        let canaries: BTreeSet<&str> = slots
            .iter()
            .filter(|slot| slot.revision == Revision::Canary)
            .map(|slot| slot.pod.as_str())
            .collect();
        release.pods = canaries.len();
        if release.pods > 0 {
            for place in 0..FACTORS.len() {
                let learnt = self.learnt(from, &self.grid[place]);
                let course = self.course(place, learnt, &slots, &missing, &[]);
                for (at, criterion) in self.task.criteria.iter().enumerate() {
                    release.breached[at][place] = undoes(criterion) && course.breached[at].is_some();
                }
                if place == 0 {
                    release.undone = self.first_breach(&course, from);
                }
            }
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

    fn first_breach(&self, course: &Course, from: i64) -> Option<Breach> {
        let criteria = &self.grid[0];
        let breaches = criteria.iter().zip(&course.breached).filter(|(criterion, _)| undoes(criterion));
        let (criterion, at) =
            breaches.filter_map(|(criterion, at)| Some((criterion, (*at)?))).min_by_key(|(_, at)| *at)?;
        let judgements = judge::judge(criteria, &course.state, &self.settings());
        let message = judgements.into_iter().find(|judgement| judgement.criterion == criterion.name)?.message;
        // The slot in which it was seen has to end first.
        Some(Breach { criterion: criterion.name.clone(), after: at + self.task.interval - from, message })
    }
}

impl Replayed {
    /// Quiet windows in figures.
    pub fn quiet(&self, criteria: &[Criterion]) -> Quiet {
        let undone = |deepest: &&Deepest| {
            criteria.iter().zip(*deepest).any(|(criterion, deep)| undoes(criterion) && *deep > 0)
        };
        let false_undos = self.quiet.iter().filter(undone).count();
        Quiet {
            windows: self.windows,
            replays: self.quiet.len(),
            false_undos,
            per_run: share(false_undos, self.quiet.len()),
            at_most: at_most(self.windows_undone, self.windows),
        }
    }

    /// Criteria in figures.
    pub fn criteria(&self, criteria: &[Criterion]) -> Vec<OfCriterion> {
        let of = |(at, criterion): (usize, &Criterion)| {
            let limits = FACTORS.iter().enumerate().filter_map(|(place, factor)| {
                let scaled = limits::scaled(criterion, *factor)?;
                let breaches = self.quiet.iter().filter(|deepest| deepest[at] > place).count();
                let caught =
                    |release: &&OfRelease| release.called == Some(Called::Bad) && release.breached[at][place];
                Some(AtLimit {
                    factor: *factor,
                    limit: limits::limit(&scaled),
                    breaches,
                    per_run: share(breaches, self.quiet.len()),
                    caught: self.releases.iter().filter(caught).count(),
                })
            });
            OfCriterion {
                name: criterion.name.clone(),
                limit: limits::described(criterion),
                undoes: undoes(criterion),
                verdicts: self.verdicts[at].clone(),
                unknown: self.unknown[at].clone(),
                limits: limits.collect(),
            }
        };
        criteria.iter().enumerate().map(of).collect()
    }
}

fn rfc3339(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| shown(at), |at| at.to_string())
}
