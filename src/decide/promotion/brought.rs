//! A record that somebody has brought from another cluster: a ReleaseReport as YAML or JSON.
//!
//! Its digest tells that it is whole and that nobody has changed a word of it by mistake. It does not tell who wrote it: whoever may write where
//! it lies can take the digest anew.

use jiff::Timestamp;
use serde_json::Value;

use super::{Ended, Subject, Wanted, ended_well, of_record, shown};
use crate::api::{GROUP, Outcome, digest};
use crate::decide::conditions::outcome_word;
use crate::decide::snapshot::ProbeResult;

/// Bytes of a record: one that is larger is none.
pub const LARGEST: usize = 512 * 1024;
/// Letters of what stands there that are shown.
const SHOWN: usize = 200;

/// What it says. `place`: where it lies, in words.
pub fn judged(
    wanted: &Wanted,
    subject: &Subject,
    place: &str,
    text: &str,
    now: Timestamp,
) -> (ProbeResult, String) {
    match read(subject, text) {
        Ok((run, ended)) => said(wanted, subject, place, &run, &ended, now),
        Err(wrong) => (ProbeResult::Failed, format!("{place}: {wrong}")),
    }
}

/// The run, and how it ended. `Err`: why it is not what it should be.
fn read(subject: &Subject, text: &str) -> Result<(String, Ended), String> {
    let bring = format!("bring what kubectl tidegate report {} -o yaml gives", subject.release);
    if text.len() > LARGEST {
        return Err(format!("it is larger than {} KiB: {bring}", LARGEST / 1024));
    }
    let report: Value = serde_saphyr::from_str(text).map_err(|error| {
        let said = shown(&error.without_snippet().to_string(), SHOWN);
        format!("it is neither YAML nor JSON, or too much of it: {said}; {bring}")
    })?;
    let word = |field: &Value| shown(field.as_str().unwrap_or_default(), SHOWN);
    if word(&report["kind"]) != "ReleaseReport" || !word(&report["apiVersion"]).starts_with(GROUP) {
        return Err(format!("it is not one ReleaseReport: {bring}"));
    }
    let spec = &report["spec"];
    let (says, gives) = (word(&spec["chain"]["digest"]), digest::of_record(spec));
    if says != gives {
        return Err(format!(
            "its content is not what was written: it says digest {says}, its content gives {gives}; {bring}"
        ));
    }
    let of = word(&spec["release"]);
    if of != subject.release {
        return Err(format!("it is of release {of}, and this one is {}", subject.release));
    }
    let ended = of_record(&report, &subject.release);
    let ended = ended.ok_or_else(|| format!("how its run ended cannot be read; {bring}"))?;
    Ok((word(&spec["run"]), ended))
}

fn said(
    wanted: &Wanted,
    subject: &Subject,
    place: &str,
    run: &str,
    ended: &Ended,
    now: Timestamp,
) -> (ProbeResult, String) {
    let Ended { outcome, at, images, record: _ } = ended;
    let images_there = shown(&images.join(", "), SHOWN);
    if let Some(why) = subject.unprovable() {
        return (ProbeResult::Unknown, why);
    }
    if !subject.is_among(images) {
        // Of the version before: the one of this is brought when it has ended.
        let wanted = subject.images.join(", ");
        let words = format!("{place}: its run {run} released {images_there}: bring the record of {wanted}");
        return (ProbeResult::Unknown, words);
    }
    match outcome {
        Outcome::Succeeded => ended_well(
            wanted,
            subject,
            &format!("{place}: its run {run} ended well"),
            "by the record",
            *at,
            now,
        ),
        Outcome::Undone | Outcome::Aborted | Outcome::Superseded | Outcome::HandedBack => {
            let how = outcome_word(*outcome);
            let words = format!(
                "{place}: its run {run} {how} at {at}: release these images there again, let it end well, and bring that record"
            );
            (ProbeResult::Failed, words)
        }
    }
}
