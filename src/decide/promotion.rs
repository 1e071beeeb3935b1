//! What `promotion` checks mean, and what another Release and the records of its runs say to them.
//!
//! Reading them is not done here. A record is proof: only the operator makes one, and nobody can change it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::images::{digest, identity};
use super::objects::in_words;
use super::snapshot::ProbeResult;
use crate::api::check::promotion::PromotionCheck;
use crate::api::status::{LastRun, RevisionStatus};
use crate::api::{Outcome, ReleaseStatus};

/// A moment may lie that far ahead of our clock.
const CLOCKS_DIFFER: i64 = 300;

/// Where it must have ended well, and how long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub namespace: String,
    /// `None`: of the same name.
    pub release: Option<String>,
    pub soak: Duration,
}

/// What is about to be released here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The Release's own name.
    pub release: String,
    pub images: Vec<String>,
}

impl Wanted {
    /// Understands a `promotion` check.
    ///
    /// # Errors
    /// The field below it, and what to write.
    pub fn of(check: &PromotionCheck) -> Result<Self, (&'static str, String)> {
        let PromotionCheck { namespace, release, min_soak } = check;
        let soak = match min_soak.as_ref().map(|soak| soak.parse()) {
            None => Duration::ZERO,
            Some(Some(soak)) => soak,
            Some(None) => return Err((".minSoak", "write 90m, 24h or 168h".into())),
        };
        Ok(Self { namespace: namespace.clone(), release: release.clone(), soak })
    }

    /// The name of the other Release.
    pub fn other<'a>(&'a self, subject: &'a Subject) -> &'a str {
        self.release.as_deref().unwrap_or(&subject.release)
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

/// What the other Release (`None`: there is none) and its ReleaseReports say, in whatever order.
pub fn judged(
    wanted: &Wanted,
    subject: &Subject,
    release: Option<&Value>,
    reports: &[Value],
    now: Timestamp,
) -> (ProbeResult, String) {
    let (namespace, other) = (&wanted.namespace, wanted.other(subject));
    let there = format!("release {other} of namespace {namespace}");
    if subject.images.is_empty() {
        return (ProbeResult::Unknown, "the new template names no image".into());
    }
    let status = release.and_then(|release| serde_json::from_value(release["status"].clone()).ok());
    let status: ReleaseStatus = status.unwrap_or_default();
    let mut ended: Vec<Ended> = reports.iter().filter_map(|report| of_record(report, other)).collect();
    ended.extend(of_status(&status, &ended));
    ended.sort_by_key(|run| std::cmp::Reverse(run.at));
    let same = |images: &[String]| subject.images.iter().all(|image| has(images, image));
    let tags = subject.images.iter().find(|image| digest(image).is_none());
    let matching = ended.iter().filter(|run| same(&run.images));
    let decided = matching.clone().find(|run| match run.outcome {
        Outcome::Succeeded | Outcome::Undone | Outcome::Aborted => true,
        // Neither well nor badly: what came before counts.
        Outcome::Superseded | Outcome::HandedBack => false,
    });
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
        return (
            ProbeResult::Failed,
            format!("{there} has not released {images}: {why}; release them there first"),
        );
    };
    let source = if record.is_empty() { "its status".to_owned() } else { format!("releasereport {record}") };
    let ago = now.as_second() - at.as_second();
    if ago < -CLOCKS_DIFFER {
        return (ProbeResult::Unknown, format!("{there}: {source} is of {at}, which is yet to come"));
    }
    let ago = Duration::from_secs(u64::try_from(ago).unwrap_or_default());
    let ago_words = in_words(ago);
    match outcome {
        Outcome::Undone | Outcome::Aborted => {
            let how = if *outcome == Outcome::Undone { "undone" } else { "aborted" };
            (
                ProbeResult::Failed,
                format!(
                    "{there}: the newest run with these images was {how} {ago_words} ago ({source}): release them there again, and let it end well"
                ),
            )
        }
        Outcome::Succeeded | Outcome::Superseded | Outcome::HandedBack if ago < wanted.soak => {
            let until = at.checked_add(wanted.soak).map(|at| at.to_string()).unwrap_or_default();
            (
                ProbeResult::Unknown,
                format!(
                    "{there}: it ended well {ago_words} ago ({source}), and minSoak is {}: this can pass from {until} on",
                    in_words(wanted.soak)
                ),
            )
        }
        Outcome::Succeeded | Outcome::Superseded | Outcome::HandedBack => {
            let proof = match tags {
                None => "the same digests".to_owned(),
                Some(tag) => format!("the same names, of which {tag} has no digest: a tag proves less"),
            };
            (ProbeResult::Passed, format!("{there}: it ended well {ago_words} ago ({source}), with {proof}"))
        }
    }
}

/// Whether an image is among these: by its digest, or where it has none, by all of its name.
fn has(images: &[String], image: &str) -> bool {
    images.iter().any(|other| identity(other) == identity(image))
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
