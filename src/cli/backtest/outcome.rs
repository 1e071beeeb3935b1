//! What came of a back-test: the document of `-o json`, and the arithmetic on it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::limits::{FACTORS, Limited};

/// Confidence of [`Quiet::at_most`].
const CONFIDENCE: f64 = 0.95;

/// All of it. Moments are in RFC 3339, lengths in seconds, rates are shares from 0 to 1.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Namespace and name.
    pub release: String,
    /// What was asked, and which series were read.
    pub source: String,
    /// The stretch of time that windows were laid in. The hour before it was learnt from.
    pub from: String,
    /// Its end.
    pub to: String,
    /// Length of a slot.
    pub interval: i64,
    /// Length of a window: a run.
    pub window: i64,
    /// What there was to read.
    pub data: Data,
    /// False alarms.
    pub quiet: Quiet,
    /// One by one.
    pub criteria: Vec<OfCriterion>,
    /// Past releases, replayed as they were.
    pub releases: Vec<OfRelease>,
    /// Trouble that no release made.
    pub incidents: Vec<OfIncident>,
    /// Windows that were not replayed.
    pub skipped: Vec<Skipped>,
    /// The most that was asked for.
    pub max_false_undos: f64,
    /// The smallest limits of the grid with which expected false undos stay at or under that. `null`: none do.
    pub suggested: Option<Suggested>,
    /// What else to know.
    pub notes: Vec<String>,
    /// Whether expected false undos per run are at or under what was asked for.
    pub ok: bool,
}

/// What there was to read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Pods that were seen.
    pub pods: usize,
    /// Slots of pods that should have reported.
    pub slots: u64,
    /// Those of them that are missing.
    pub missing: u64,
    /// Rounds of reading.
    pub rounds: u64,
    /// Rounds in which no pod could be read.
    pub empty_rounds: u64,
    /// Requests.
    pub requests: u64,
    /// Samples of numbers that are no counts of requests.
    pub samples: u64,
    /// Those of them that could not be read.
    pub unread: u64,
}

/// Quiet windows, in each of which several pods in turn were taken for the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quiet {
    /// Windows that were replayed.
    pub windows: usize,
    /// Replays: pods taken for the canary.
    pub replays: usize,
    /// Replays in which the judge would have gone back.
    pub false_undos: usize,
    /// Their share: expected false undos per run.
    pub per_run: f64,
    /// Of all windows the share with any false undo is with 95 % confidence at most this; replays of one window are not
    /// independent.
    pub at_most: f64,
}

/// One criterion in quiet windows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfCriterion {
    /// Its name.
    pub name: String,
    /// Its limit.
    pub limit: String,
    /// Whether a breach goes back.
    pub undoes: bool,
    /// Verdicts at the end of the replays.
    pub verdicts: BTreeMap<String, usize>,
    /// Why it was Unknown, by reason.
    pub unknown: BTreeMap<String, usize>,
    /// What other limits would have led to.
    pub limits: Vec<AtLimit>,
}

/// One criterion with another limit, the others as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtLimit {
    /// How many times the limit.
    pub factor: f64,
    /// As it would be written.
    pub limit: String,
    /// Replays with a breach of this criterion.
    pub breaches: usize,
    /// Their share.
    pub per_run: f64,
    /// Releases called bad that this criterion would have caught.
    pub caught: usize,
}

/// A past release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfRelease {
    /// Its first pod.
    pub from: String,
    /// One revision alone again.
    pub to: String,
    /// The ReplicaSet, as its pods' names tell it.
    pub revision: Option<String>,
    /// How it went.
    pub went: Went,
    /// What it was called on the command line.
    pub called: Option<Called>,
    /// Canary pods.
    pub pods: usize,
    /// Its first breach that goes back.
    pub undone: Option<Breach>,
    /// What that is worth.
    pub assessment: Assessment,
    /// Enforced breaches, by criterion and factor.
    #[serde(skip)]
    pub breached: Vec<Vec<bool>>,
}

/// A breach in a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breach {
    /// Of which criterion.
    pub criterion: String,
    /// Seconds after the beginning.
    pub after: i64,
    /// In a sentence.
    pub message: String,
}

/// How a release went, as pods' names tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Went {
    /// The new revision stayed.
    Through,
    /// The old one stayed.
    Back,
    /// A newer one came in between.
    Superseded,
    /// Still under way at the end, or nothing tells.
    Unknown,
}

/// What people say a release was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Called {
    /// Rightly out.
    Good,
    /// Should have gone back.
    Bad,
    /// A release.
    Release,
}

/// What the judge's word on a release is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Assessment {
    /// Bad, and gone back.
    Caught,
    /// Bad, and not.
    Missed,
    /// Good, and gone back: a false undo.
    FalseUndo,
    /// Good, and not.
    Right,
    /// Nobody says what it was: it would have gone back.
    WouldUndo,
    /// Nobody says what it was: it would not have gone back.
    WouldPass,
    /// Too little was read of it.
    NoData,
}

/// Trouble that no release made: would it have undone one?
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfIncident {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
    /// Pods taken for the canary.
    pub replays: usize,
    /// Replays in which the judge would have gone back.
    pub undone: usize,
}

/// A window that was not replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
    /// Why.
    pub why: Why,
}

/// Why a window was not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Why {
    /// A release was under way, or had just ended.
    Release,
    /// Named as an incident.
    Incident,
    /// More than a fifth of its rounds read nothing.
    NoData,
    /// Fewer than two pods stayed through it.
    TooFewPods,
    /// None of the pods had any.
    NoRequests,
}

impl Why {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Why::Release => "a release was under way",
            Why::Incident => "named as an incident",
            Why::NoData => "Prometheus has no data of more than a fifth of it",
            Why::TooFewPods => "fewer than two pods stayed through it",
            Why::NoRequests => "no requests",
        }
    }
}

/// Limits to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggested {
    /// By criterion; those that can stay are not in it.
    pub limits: BTreeMap<String, String>,
    /// Expected false undos per run with them.
    pub per_run: f64,
    /// Releases called bad that would go out with them.
    pub missed: usize,
}

/// One replay of a quiet window: of each criterion, how many limits of the grid were breached, from the lowest on.
pub type Deepest = Vec<usize>;

/// Expected false undos with each criterion's limit that far up the grid.
pub fn rate(criteria: &[Limited], replays: &[Deepest], places: &[usize]) -> f64 {
    let undone = replays.iter().filter(|deepest| {
        criteria.iter().enumerate().any(|(at, criterion)| criterion.undoes() && deepest[at] > places[at])
    });
    share(undone.count(), replays.len())
}

/// Part of all; 0 of nothing.
pub fn share(part: usize, all: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of replays")]
    let share = part as f64 / all.max(1) as f64;
    share
}

/// Raises the limit that gives most false undos, step by step, until there are few enough.
pub fn suggest(
    criteria: &[Limited],
    replays: &[Deepest],
    releases: &[OfRelease],
    most: f64,
) -> Option<Suggested> {
    let mut places = vec![0; criteria.len()];
    while rate(criteria, replays, &places) > most {
        let breaches = |at: usize| replays.iter().filter(|deepest| deepest[at] > places[at]).count();
        let higher = |at: &usize| {
            let next = FACTORS.get(places[*at] + 1);
            criteria[*at].undoes() && next.is_some_and(|factor| criteria[*at].scaled(*factor).is_some())
        };
        let worst = (0..criteria.len()).filter(higher).max_by_key(|at| (breaches(*at), usize::MAX - at))?;
        places[worst] += 1;
    }
    let changed = criteria.iter().zip(&places).filter(|(_, place)| **place > 0);
    let limits = changed
        .filter_map(|(criterion, place)| {
            Some((criterion.name().to_owned(), criterion.scaled(FACTORS[*place])?.limit()))
        })
        .collect();
    let missed = releases.iter().filter(|release| {
        let caught = release.breached.iter().zip(&places).any(|(breached, place)| breached[*place]);
        release.called == Some(Called::Bad) && release.assessment != Assessment::NoData && !caught
    });
    Some(Suggested { limits, per_run: rate(criteria, replays, &places), missed: missed.count() })
}

/// The largest share that would, with 95 % confidence, have shown more than `part` of `all` (Clopper and Pearson).
pub fn at_most(part: usize, all: usize) -> f64 {
    if part >= all {
        return 1.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of windows")]
    let (k, n) = (part as f64, all as f64);
    let at_most_k = |p: f64| {
        let (mut term, mut sum) = (n * (-p).ln_1p(), 0.0);
        let mut i = 0.0;
        while i <= k {
            sum += term.exp();
            term += ((n - i) / (i + 1.0)).ln() + p.ln() - (-p).ln_1p();
            i += 1.0;
        }
        sum
    };
    let (mut low, mut high) = (k / n, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most_k(middle) > 1.0 - CONFIDENCE { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_hundred_windows_is_at_most_three_percent() {
        assert!((at_most(0, 100) - 0.029_513).abs() < 1e-5, "{}", at_most(0, 100));
        assert!((at_most(5, 100) - 0.102_253).abs() < 1e-4, "{}", at_most(5, 100));
        assert_eq!((at_most(0, 0), at_most(3, 3)), (1.0, 1.0));
    }
}
