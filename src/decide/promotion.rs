//! What `promotion` checks mean, and what other Releases and the records of their runs say to them.
//!
//! Reading them is not done here. A record of this cluster is proof: only the operator makes one, and nobody can change it. One that somebody has
//! brought from another is what [`brought`] makes of it.

pub mod brought;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::conditions::outcome_word;
use super::images::{self, digest, identity};
use super::objects::in_words;
use super::snapshot::ProbeResult;
use crate::api::check::promotion::{PromotionCheck, RecordKey, RecordSource};
use crate::api::labels::Labels;
use crate::api::status::{LastRun, RevisionStatus};
use crate::api::{Outcome, ReleaseStatus};
use crate::letters::on_one_line;

/// A moment may lie that far ahead of our clock.
const CLOCKS_DIFFER: i64 = 300;
/// Of several Releases so many say in a message how it stands.
const NAMED: usize = 3;
/// Letters of what is no label that are shown.
const SHOWN: usize = 100;

/// Where it must have ended well, and how long ago.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub others: Others,
    /// Where they are. `None`: in the Release's own namespace.
    pub namespace: Option<String>,
    pub soak: Duration,
}

/// With which Releases it must have ended well.
#[derive(Clone, Debug, PartialEq)]
pub enum Others {
    /// With the one of this name; `None`: of the same name.
    Named(Option<String>),
    /// With all that have these labels, but for the Release itself; or with so many of them.
    Labelled { labels: Labels, at_least: Option<usize> },
    /// With the one of the same name in another cluster, whose record was brought into this key of a ConfigMap.
    Brought { config_map: String, key: String },
}

/// What is about to be released here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The Release's own namespace and name.
    pub namespace: String,
    pub release: String,
    pub images: Vec<String>,
}

/// Another Release, as the API server has it.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    /// `None`: there is none.
    pub release: Option<&'a Value>,
    /// The ReleaseReports of its runs, in whatever order.
    pub reports: &'a [Value],
}

impl Wanted {
    /// Understands a `promotion` check.
    ///
    /// # Errors
    /// The field below it, and what to write.
    pub fn of(check: &PromotionCheck) -> Result<Self, (&'static str, String)> {
        let PromotionCheck { namespace, release, selector, at_least, record, min_soak } = check;
        let soak = match min_soak.as_ref().map(|soak| soak.parse()) {
            None => Duration::ZERO,
            Some(Some(soak)) => soak,
            Some(None) => return Err((".minSoak", "write 90m, 24h or 168h".into())),
        };
        let at_least = match at_least.map(usize::try_from) {
            Some(Ok(count)) if count > 0 => Some(count),
            Some(_) => return Err((".atLeast", "write how many, from 1 on".into())),
            None => None,
        };
        if at_least.is_some() && selector.is_none() {
            return Err((".atLeast", "it goes with selector".into()));
        }
        let others = match (release, selector, record) {
            (None, None, None) if namespace.is_none() => {
                return Err(("", "promotion needs one of: namespace, release, selector, record".into()));
            }
            (name, None, None) => Others::Named(name.clone()),
            (None, Some(labels), None) if labels.is_empty() => {
                return Err((".selector", "write matchLabels or matchExpressions".into()));
            }
            (None, Some(labels), None) => match labels.odd() {
                Some(odd) => {
                    let odd = shown(odd, SHOWN);
                    return Err((".selector", format!("'{odd}' is not the key or the value of a label")));
                }
                None => Others::Labelled { labels: labels.clone(), at_least },
            },
            (None, None, Some(_)) if namespace.is_some() => {
                return Err((".namespace", "a record is in the Release's own: leave it out".into()));
            }
            (None, None, Some(RecordSource { config_map: RecordKey { name, key } })) => {
                Others::Brought { config_map: name.clone(), key: key.clone() }
            }
            _ => return Err(("", "promotion takes one of: release, selector, record".into())),
        };
        Ok(Self { others, namespace: namespace.clone(), soak })
    }
}

impl Subject {
    /// Whether this is the Release itself.
    pub fn is(&self, namespace: &str, release: &str) -> bool {
        self.namespace == namespace && self.release == release
    }

    /// Why nothing can prove that these images have been released.
    fn unprovable(&self) -> Option<String> {
        match self.images.len() {
            0 => Some("the new template names no image".to_owned()),
            count if count > images::KEPT => Some(format!(
                "the new template names {count} images, and a record holds no more than {}: name fewer, or skip this check",
                images::KEPT
            )),
            _ => None,
        }
    }

    /// Whether each image that is about to be released is among these: by its digest, or where it has none, by all of its name.
    fn is_among(&self, images: &[String]) -> bool {
        self.images.iter().all(|image| images.iter().any(|other| identity(other) == identity(image)))
    }
}

/// A run that ended, there.
struct Ended {
    outcome: Outcome,
    at: Timestamp,
    images: Vec<String>,
    /// The record that says so; empty: status does.
    record: String,
}

/// What one other Release says.
pub fn judged(
    wanted: &Wanted,
    subject: &Subject,
    other: &Other<'_>,
    now: Timestamp,
) -> (ProbeResult, String) {
    let Other { namespace, name, release, reports } = *other;
    let there = format!("release {name} of namespace {namespace}");
    if subject.is(namespace, name) {
        return (ProbeResult::Failed, format!("{there} is this one: name another, which goes first"));
    }
    if let Some(why) = subject.unprovable() {
        return (ProbeResult::Unknown, why);
    }
    let status = release.and_then(|release| serde_json::from_value(release["status"].clone()).ok());
    let status: ReleaseStatus = status.unwrap_or_default();
    let mut ended: Vec<Ended> = reports.iter().filter_map(|report| of_record(report, name)).collect();
    ended.extend(of_status(&status, &ended));
    ended.sort_by_key(|run| std::cmp::Reverse(run.at));
    let same = |images: &[String]| subject.is_among(images);
    let matching = ended.iter().filter(|run| same(&run.images));
    let decided = matching.clone().find(|run| match run.outcome {
        Outcome::Succeeded | Outcome::Undone | Outcome::Aborted => true,
        // Neither well nor badly: what came before counts.
        Outcome::Superseded | Outcome::HandedBack => false,
    });
    let under_way = status.canary.as_ref().filter(|canary| same(&canary.images)).and(status.run.as_ref());
    if let Some(run) = under_way
        && decided.is_none_or(|run| run.outcome != Outcome::Succeeded)
    {
        let words =
            format!("{there}: its run {} with these images is under way: it must end well first", run.id);
        return (ProbeResult::Unknown, words);
    }
    let Some(Ended { outcome, at, record, images: _ }) = decided else {
        if release.is_none() && reports.is_empty() {
            return (ProbeResult::Failed, format!("there is no {there}"));
        }
        let images = subject.images.join(", ");
        let why = match &status.stable {
            Some(stable) if same(&stable.images) => {
                "they serve there, but no run has ended well with them".to_owned()
            }
            _ if matching.count() > 0 => "their run there was broken off".to_owned(),
            _ => lately(&ended, &status),
        };
        let not_yet = match wanted.others {
            Others::Named(_) => ProbeResult::Failed,
            // Who goes first is given them in the same moment as who follows.
            Others::Labelled { .. } | Others::Brought { .. } => ProbeResult::Unknown,
        };
        return (not_yet, format!("{there} has not released {images}: {why}; release them there first"));
    };
    let source = if record.is_empty() { "its status".to_owned() } else { format!("releasereport {record}") };
    let Some(Ago { words: ago, long: _ }) = Ago::of(*at, now) else {
        return (ProbeResult::Unknown, format!("{there}: {source} is of {at}, which is yet to come"));
    };
    match outcome {
        Outcome::Undone | Outcome::Aborted => {
            let how = outcome_word(*outcome);
            (
                ProbeResult::Failed,
                format!(
                    "{there}: the newest run with these images {how} {ago} ago ({source}): release them there again, and let it end well"
                ),
            )
        }
        Outcome::Succeeded | Outcome::Superseded | Outcome::HandedBack => {
            ended_well(wanted, subject, &format!("{there}: it ended well"), &source, *at, now)
        }
    }
}

/// How long ago.
struct Ago {
    long: Duration,
    words: String,
}

impl Ago {
    /// `None`: it is yet to come.
    fn of(at: Timestamp, now: Timestamp) -> Option<Self> {
        let ago = now.as_second() - at.as_second();
        let long = Duration::from_secs(u64::try_from(ago).unwrap_or_default());
        (ago >= -CLOCKS_DIFFER).then(|| Self { long, words: in_words(long) })
    }
}

/// What ended well passes once it has soaked.
fn ended_well(
    wanted: &Wanted,
    subject: &Subject,
    it: &str,
    source: &str,
    at: Timestamp,
    now: Timestamp,
) -> (ProbeResult, String) {
    let Some(Ago { long, words: ago }) = Ago::of(at, now) else {
        return (ProbeResult::Unknown, format!("{it} at {at} ({source}), which is yet to come"));
    };
    if long < wanted.soak {
        let until = at.checked_add(wanted.soak).map(|at| at.to_string()).unwrap_or_default();
        let soak = in_words(wanted.soak);
        let words =
            format!("{it} {ago} ago ({source}), and minSoak is {soak}: this can pass from {until} on");
        return (ProbeResult::Unknown, words);
    }
    let proof = match subject.images.iter().find(|image| digest(image).is_none()) {
        None => "the same digests".to_owned(),
        Some(tag) => format!("the same names, of which {tag} has no digest: a tag proves less"),
    };
    (ProbeResult::Passed, format!("{it} {ago} ago ({source}), with {proof}"))
}

/// What several Releases say together, each of which has been asked.
pub fn judged_together(
    namespace: &str,
    labels: &Labels,
    at_least: Option<usize>,
    said: &[(ProbeResult, String)],
) -> (ProbeResult, String) {
    let those = format!("releases of namespace {namespace} with {labels}");
    if said.is_empty() {
        return (
            ProbeResult::Unknown,
            format!("there are no {those}: label the Releases that go first, or mend the selector"),
        );
    }
    let (count, needed) = (said.len(), at_least.unwrap_or(said.len()));
    if count < needed {
        return (
            ProbeResult::Unknown,
            format!("there are {count} {those}, and atLeast is {needed}: label more, or write less"),
        );
    }
    let of = |wanted: ProbeResult| said.iter().filter(move |(result, _)| *result == wanted);
    let (passed, waiting) = (of(ProbeResult::Passed).count(), of(ProbeResult::Unknown).count());
    let result = if passed >= needed {
        ProbeResult::Passed
    } else if passed + waiting < needed {
        ProbeResult::Failed
    } else {
        ProbeResult::Unknown
    };
    let shown: Vec<&str> = of(result).take(NAMED).map(|(_, words)| words.as_str()).collect();
    let more = match of(result).count().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (
        result,
        format!(
            "with {passed} of {count} {those} it ended well, {needed} needed: {}{more}",
            shown.join("; ")
        ),
    )
}

/// As much of somebody's text as is shown.
fn shown(text: &str, most: usize) -> String {
    on_one_line(text).take(most).collect()
}

fn of_record(report: &Value, release: &str) -> Option<Ended> {
    let spec = &report["spec"];
    let canary: RevisionStatus = serde_json::from_value(spec["canary"].clone()).ok()?;
    (spec["release"] == release).then_some(())?;
    Some(Ended {
        outcome: serde_json::from_value(spec["outcome"].clone()).ok()?,
        at: spec["endedAt"].as_str()?.parse().ok()?,
        images: canary.images,
        record: report["metadata"]["name"].as_str()?.to_owned(),
    })
}

/// What serves there since the last run, where no record is left of it: the run that ended well, if it was that one.
fn of_status(status: &ReleaseStatus, known: &[Ended]) -> Option<Ended> {
    let (stable, LastRun { outcome, ended_at, fingerprint, report, .. }) =
        (status.stable.as_ref()?, status.last_run.as_ref()?);
    let is_known = !report.is_empty() && known.iter().any(|run| run.record == *report);
    let is_of_it = *outcome == Outcome::Succeeded && *fingerprint == stable.fingerprint;
    (is_of_it && !is_known).then(|| Ended {
        outcome: *outcome,
        at: ended_at.0,
        images: stable.images.clone(),
        record: String::new(),
    })
}

/// What was released there instead.
fn lately(ended: &[Ended], status: &ReleaseStatus) -> String {
    let newest = ended.first().map(|run| &run.images);
    match newest.or(status.stable.as_ref().map(|stable| &stable.images)) {
        Some(images) => format!("its newest are {}", images.join(", ")),
        None => "no run has ended there".to_owned(),
    }
}
