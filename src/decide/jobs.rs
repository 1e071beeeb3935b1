//! Jobs of checks: made once for each run and try, found again by their names.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{self, Found};
use super::decision::Intent;
use super::draft::Draft;
use super::plan::PlannedCheck;
use super::scene::Scene;
use super::snapshot::{JobFacts, ProbeResult};
use crate::api::RELEASE_LABEL;
use crate::api::status::CheckStatus;

/// For so long a Job that was made may not have been heard of.
const UNHEARD_OF: Duration = Duration::from_secs(30);

/// How the Job of a check stands. It is made once for each run and try; its name says which, so that it is found again after a restart.
/// One that was made and is gone again is not made a second time: what it did it may have done.
pub fn look(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    check: &PlannedCheck,
    known: &CheckStatus,
    template: &Value,
) -> Found {
    let id = checks::id(draft.run(), known);
    let canary = draft.status.canary.clone().unwrap_or_default().fingerprint;
    let short: String = canary.chars().take(6).collect();
    let (release, attempt) = (draft.name(), id.attempt);
    let tail = format!("-{}-{short}-{attempt}", id.run);
    let name = named(&format!("{release}-{}", id.check.replace('/', "-")), &tail);
    match scene.snapshot.jobs.get(&name) {
        Some(JobFacts::Running) => return Found::Waiting(format!("job {name} is running")),
        Some(JobFacts::Succeeded) => {
            return Found::Answer(ProbeResult::Passed, format!("job {name} succeeded"));
        }
        Some(JobFacts::Failed { message }) => {
            return Found::Answer(ProbeResult::Failed, format!("job {name} failed: {message}"));
        }
        None => {}
    }
    if let Some(refused) = scene.snapshot.probes.get(&id) {
        return Found::Answer(refused.result, refused.message.clone());
    }
    let since = known.since.map_or(scene.now(), |since| since.0);
    if known.job.as_ref() == Some(&name) && scene.now() >= since + UNHEARD_OF {
        return Found::Answer(
            ProbeResult::Failed,
            format!("job {name} is gone, and nobody knows what it did"),
        );
    }
    if known.job.as_ref() != Some(&name) {
        let body = body(draft, check, &name, template);
        let (run, check) = (id.run, id.check);
        draft.intents.push(Intent::CreateJob { name: name.clone(), check, run, attempt, body });
        let now = draft.now();
        if let Some(status) = checks::of(draft.run(), known) {
            (status.job, status.since) = (Some(name.clone()), Some(now));
        }
    }
    Found::Waiting(format!("job {name} is being made"))
}

/// At most 63 characters: 52 of the Release leave too little for long names of checks. What is cut is told apart by a hash.
fn named(head: &str, tail: &str) -> String {
    const LONGEST: usize = 63;
    if head.len() + tail.len() <= LONGEST {
        return format!("{head}{tail}");
    }
    let mut hasher = DefaultHasher::new();
    head.hash(&mut hasher);
    let short: String = head.chars().take(LONGEST.saturating_sub(tail.len() + 7)).collect();
    format!("{}-{:06x}{tail}", short.trim_end_matches('-'), hasher.finish() & 0xff_ffff)
}

fn body(draft: &Draft<'_>, check: &PlannedCheck, name: &str, template: &Value) -> Value {
    let mut metadata =
        template.get("metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    metadata["name"] = json!(name);
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    metadata["labels"][RELEASE_LABEL] = json!(draft.name());
    metadata["labels"]["tidegate.dev/check"] = json!(check.name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": draft.name(), "uid": draft.release.uid,
        "controller": true, "blockOwnerDeletion": false,
    }]);
    let mut spec = template["spec"].clone();
    if spec["activeDeadlineSeconds"].is_null() {
        spec["activeDeadlineSeconds"] = json!(check.timeout.as_secs().max(1));
    }
    if spec["ttlSecondsAfterFinished"].is_null() {
        spec["ttlSecondsAfterFinished"] = json!(86_400);
    }
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec })
}
