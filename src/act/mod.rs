//! From a [`Decision`] to what was done. The only place that writes to the cluster.
//!
//! Intents are carried out in their order; the first that fails ends the round, and the next one starts from a new snapshot. What can be
//! done without is passed over where it is refused, or hangs again and again (what nothing waits for, however it fails), and remembered until it goes out. Status
//! goes last: it may lag what was done by one write, it never leads it. But for one case: why a run goes back is noted before it is
//! ordered, and ordered all the same when it cannot be noted, unless it goes back for a newer template only.
//!
//! Where the API server is slow, and something has come up meanwhile that goes before everything else, what is left of a decision that does not is left: as
//! after a write that failed, the next look decides anew.

mod budget;
pub mod call;
mod error;
mod kept;
pub mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{FINGERPRINT, RELEASE_LABEL, ReleaseStatus};
use crate::decide::fields::puts_label;
use crate::decide::refusal::{DoneWithout, Refusal};
use crate::decide::snapshot::{ProbeId, ReleaseFacts};
use crate::decide::{Decision, Intent, Key, Owner, Relabelled};
use crate::logged::logged;
use crate::watch::slim::StoredTemplate;

pub use budget::Budget;
pub use error::ActError;
pub use writer::{Fence, Writer};

/// How long a look waits for pods to be taken into quarantine.
const QUARANTINE: Duration = Duration::from_secs(1);

/// What was done, as far as it went. Status of the Release and notices to people rest on this, so they can only follow it.
#[derive(Debug, Default)]
pub struct Applied {
    /// Generation of the Deployment after our last write to it.
    pub generation: Option<i64>,
    /// Fingerprint of the template that it wrote, if it did.
    pub template: Option<String>,
    /// It put the label there.
    pub labelled: bool,
    /// `status.revision` that was written.
    pub revision: Option<i64>,
    /// The status that was written, where it is the one that was decided.
    pub status: Option<Arc<ReleaseStatus>>,
    /// Jobs and pods' new labels that the API server refused, and its words: an answer to their check.
    pub refused: Vec<(ProbeId, String)>,
    /// The record of a run that the API server refused, and its words.
    pub unreported: Option<String>,
    /// The record was written in a look whose status was lost: the digest of what stands there.
    pub recorded: Option<String>,
    /// Kept templates whose deletion went out, by uid: it may have been answered, or not.
    pub let_go: Vec<String>,
    /// Writes that are done without where they are refused: how each was, or that it went out.
    pub done_without: BTreeMap<DoneWithout, Option<Refusal>>,
    /// So many intents were tried, from the first.
    pub tried: usize,
    /// What of that hung.
    pub unanswered: BTreeSet<String>,
    /// Writes that went out.
    pub writes: usize,
    /// Something that goes first came up: what was left to write is left to the next look.
    pub cut_short: bool,
}

/// A write that failed, and what it was.
#[derive(Debug)]
pub struct Failed {
    /// As a sentence has it.
    pub what: String,
    pub error: ActError,
}

impl Failed {
    /// The refusal, where it was one.
    pub fn refusal(&self) -> Option<Refusal> {
        Some(Refusal { what: self.what.clone(), why: self.error.refusal()? })
    }

    /// The same of what nothing waits for, however it failed. Who may not write any more writes nothing after it either.
    fn passed_over(&self) -> Option<Refusal> {
        Some(Refusal { what: self.what.clone(), why: self.error.passed_over()? })
    }
}

/// Who has a decision carried out: what they are asked and told meanwhile.
pub trait Meanwhile: Send {
    /// Whether something that goes before everything else has come up. Asked between two writes, for as long as the decision is no such thing itself.
    fn is_overtaken(&mut self) -> bool;

    /// The decision stands: it was not made on what is not there any more, as far as the write that notes it can tell. What it orders goes out from here on.
    fn stands(&mut self);

    /// Whether this write hung the last time that it was tried, too.
    fn was_unanswered(&self, what: &str) -> bool;
}

/// Who begins nothing beside the writes, and remembers none.
impl<F: FnMut() -> bool + Send> Meanwhile for F {
    fn is_overtaken(&mut self) -> bool {
        self()
    }

    fn stands(&mut self) {}

    fn was_unanswered(&self, _what: &str) -> bool {
        false
    }
}

/// Carries out a decision about one Release: what was done, and the first write that failed, which ended it. What went out before that has
/// been done all the same, and nothing is decided on what was there before it.
pub async fn carry_out(
    writer: &Writer,
    key: &Key,
    release: Option<&ReleaseFacts>,
    decision: &Decision,
    meanwhile: &mut dyn Meanwhile,
) -> (Applied, Result<(), Failed>) {
    let mut applied = Applied::default();
    let outcome = carry_out_all(writer, key, release, decision, meanwhile, &mut applied).await;
    (applied, outcome)
}

async fn carry_out_all(
    writer: &Writer,
    key: &Key,
    release: Option<&ReleaseFacts>,
    decision: &Decision,
    meanwhile: &mut dyn Meanwhile,
    applied: &mut Applied,
) -> Result<(), Failed> {
    let writer = &if decision.urgent { writer.going_back() } else { writer.clone() };
    if decision.note_first {
        match write_status(writer, key, release, decision, applied).await {
            Ok(()) => {}
            Err(failed @ Failed { error: ActError::Fenced | ActError::Stale(_) | ActError::Gone, .. }) => {
                return Err(failed);
            }
            Err(failed) if decision.only_noted => return Err(failed),
            Err(Failed { error, .. }) => {
                tracing::warn!(release = %key, error = %logged(&error), "status could not be written; going back all the same")
            }
        }
    }
    meanwhile.stands();
    for (place, intent) in decision.intents.iter().enumerate() {
        if may_be_cut_short(decision, place) && meanwhile.is_overtaken() {
            applied.cut_short = true;
            return Ok(());
        }
        let written = carry_out_one(writer, key, intent, applied).await;
        applied.tried = place + 1;
        match (written, intent.done_without()) {
            (Ok(()), without) => {
                applied.writes += 1;
                without.map(|without| applied.done_without.entry(without).or_insert(None));
            }
            (Err(error), without) => {
                let failed = failed(intent, error, meanwhile, applied);
                if is_unrecorded(intent, &failed.error) {
                    let Failed { what, error } = failed;
                    tracing::warn!(release = %key, what, error = %logged(&error), "the record of the run could not be kept");
                    applied.unreported = Some(error.to_string());
                    continue;
                }
                let refusal = if intent.is_awaited() { failed.refusal() } else { failed.passed_over() };
                let Some((without, refusal)) = without.zip(refusal) else { return Err(failed) };
                let Failed { what, error } = failed;
                tracing::warn!(release = %key, what, error = %logged(&error), "a write failed, and is done without");
                applied.done_without.insert(without, Some(refusal));
            }
        }
    }
    if !decision.note_first && decision.status.is_some() {
        if may_be_cut_short(decision, decision.intents.len()) && meanwhile.is_overtaken() {
            applied.cut_short = true;
            return Ok(());
        }
        write_status(writer, key, release, decision, applied).await?;
    }
    Ok(())
}

/// That a write failed. One that hung may have done so for once; where it did the last time, too, it is said, and done without if it can be.
fn failed(intent: &Intent, error: ActError, meanwhile: &dyn Meanwhile, applied: &mut Applied) -> Failed {
    let what = intent.what();
    if !error.hangs() {
        return Failed { what, error };
    }
    applied.unanswered.insert(what.clone());
    let error = if meanwhile.was_unanswered(&what) { ActError::Unanswered } else { error };
    Failed { what, error }
}

/// Whether this is the record of a run, and will not be kept: the run ends without it, and status says so. Of one that is never answered nobody knows whether
/// it was kept: that is waited for.
fn is_unrecorded(intent: &Intent, error: &ActError) -> bool {
    match error {
        ActError::Refused(_)
        | ActError::Forbidden(_)
        | ActError::Gone
        | ActError::NotServed(_)
        | ActError::WebhookSilent(_) => matches!(intent, Intent::KeepReport { .. }),
        ActError::Fenced
        | ActError::Unanswered
        | ActError::Stale(_)
        | ActError::Taken { .. }
        | ActError::Deadline(_)
        | ActError::Throttled(_)
        | ActError::Unreachable(_) => false,
    }
}

/// Whether what comes after so many intents may be left. One goes out in each look; and what stands in the record of a run is said in status too, and at once:
/// it would tell of an end that is none.
fn may_be_cut_short(decision: &Decision, done: usize) -> bool {
    let is_record = |intent: &Intent| matches!(intent, Intent::KeepReport { .. });
    !decision.urgent && done > 0 && !decision.intents.iter().take(done).any(is_record)
}

async fn write_status(
    writer: &Writer,
    key: &Key,
    release: Option<&ReleaseFacts>,
    decision: &Decision,
    applied: &mut Applied,
) -> Result<(), Failed> {
    if let (Some(status), Some(release)) = (&decision.status, release) {
        let version = &release.resource_version;
        let amended = amended(status, release, applied);
        let written = match &amended {
            Some(amended) => writer.patch_release_status(key, version, amended).await,
            None => writer.patch_release_status(key, version, status).await,
        };
        let what = || format!("the patch of the status of Release {}", key.name);
        written.map_err(|error| Failed { what: what(), error })?;
        applied.revision = Some(status.revision);
        applied.status = amended.is_none().then(|| Arc::new(status.clone()));
        applied.writes += 1;
    }
    Ok(())
}

/// Status where the record of the run is not the one that was to be written.
fn amended(status: &ReleaseStatus, release: &ReleaseFacts, applied: &Applied) -> Option<Value> {
    if applied.unreported.is_none() && applied.recorded.is_none() {
        return None;
    }
    let mut value = json!(status);
    if applied.unreported.is_some() {
        let run = value["lastRun"]["id"].clone();
        if let Some(report) = value.pointer_mut("/lastRun/report") {
            *report = json!("");
        }
        let owed = value.pointer_mut("/notifications/owed").and_then(Value::as_array_mut);
        for owed in owed.into_iter().flatten().filter(|owed| owed["run"] == run) {
            owed["report"] = json!("");
        }
        // What was not written is not carried on. A field that is null is no status.
        match (&release.status.reports, value.as_object_mut()) {
            (Some(reports), Some(fields)) => drop(fields.insert("reports".to_owned(), json!(reports))),
            (None, Some(fields)) => drop(fields.remove("reports")),
            (_, None) => {}
        }
    } else if let Some(digest) = &applied.recorded {
        value["reports"]["digest"] = json!(digest);
    }
    Some(value)
}

async fn carry_out_one(
    writer: &Writer,
    key: &Key,
    intent: &Intent,
    applied: &mut Applied,
) -> Result<(), ActError> {
    match intent {
        Intent::PatchWorkload { name, patch, why, template } => {
            let generation = writer.patch_deployment(&key.namespace, name, patch).await?;
            tracing::info!(release = %key, deployment = name, why, "patched the Deployment");
            applied.generation = Some(generation);
            applied.template.clone_from(template);
            applied.labelled = puts_label(patch);
        }
        Intent::StopManaging { name, patch } => {
            match writer.patch_deployment(&key.namespace, name, patch).await {
                Ok(_) => tracing::info!(release = %key, deployment = name, "manages its fields no more"),
                Err(error @ (ActError::Refused(_) | ActError::Forbidden(_))) => {
                    tracing::warn!(release = %key, deployment = name, error = %logged(&error), "who applies the Deployment server-side is still refused because of us");
                }
                // Somebody has written it meanwhile: what they wrote brings the next look, and status does not wait for it.
                Err(ActError::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Intent::LetCopyGo { name, patch } => {
            match writer.patch_deployment(&key.namespace, name, patch).await {
                Ok(_) => tracing::info!(release = %key, deployment = name, "a copy has the label no more"),
                Err(error @ ActError::Fenced) => return Err(error),
                // Somebody has written or deleted it meanwhile.
                Err(ActError::Stale(_) | ActError::Gone) => {}
                // What is said of the Release itself does not wait for it.
                Err(error) => {
                    tracing::warn!(release = %key, deployment = name, error = %logged(&error), "a copy of the Deployment keeps its label");
                }
            }
        }
        Intent::KeepTemplate { name, fingerprint, template, owner, awaited: _, let_go } => {
            let body = json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {
                    "name": name, "namespace": key.namespace,
                    "labels": { RELEASE_LABEL: key.name },
                    "annotations": { FINGERPRINT: fingerprint },
                    "ownerReferences": [owner_reference(owner)],
                },
                "revision": 1,
                "data": template.value(),
            });
            let mut found = writer.create_revision(&key.namespace, name, &body).await?;
            let is_left = |found: &StoredTemplate| let_go.as_deref() == Some(&*found.metadata.uid);
            if let Some(left) = found.as_ref().filter(|found| is_left(found)) {
                writer.delete_revision(&key.namespace, name, &left.metadata.uid).await?;
                found = writer.create_revision(&key.namespace, name, &body).await?;
            }
            if let Some(found) = found {
                kept::is_kept(&found, key, fingerprint, owner)?;
            }
        }
        Intent::DropTemplate { name, uid } => {
            let deleted = writer.delete_revision(&key.namespace, name, uid).await;
            if deleted.as_ref().err().is_none_or(ActError::may_have_gone_out) {
                applied.let_go.push(uid.clone());
            }
            deleted?;
        }
        Intent::CreateJob { name, id, body } => match writer.create_job(&key.namespace, body).await {
            Ok(()) => tracing::info!(release = %key, job = name, check = id.check, "made a job"),
            Err(error @ (ActError::Refused(_) | ActError::Forbidden(_) | ActError::Taken { .. })) => {
                let message = match error {
                    ActError::Refused(message) => message,
                    other => other.to_string(),
                };
                applied.refused.push((id.clone(), message));
            }
            Err(error) => return Err(error),
        },
        Intent::DeleteJob { name, uid } => match writer.delete_job(&key.namespace, name, uid).await {
            Ok(()) => tracing::info!(release = %key, job = name, "the trial is over"),
            Err(error @ ActError::Fenced) => return Err(error),
            // It ends by itself.
            Err(error) => {
                tracing::warn!(release = %key, job = name, error = %logged(&error), "the job of a trial pod could not be deleted");
            }
        },
        Intent::KeepReport { name, report } => {
            let body = json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseReport",
                "metadata": {
                    "name": name, "namespace": key.namespace,
                    "labels": { RELEASE_LABEL: key.name },
                },
                "spec": report,
            });
            applied.recorded = writer.create_report(&key.namespace, name, &body).await?;
        }
        Intent::DropReport { name } => writer.delete_report(&key.namespace, name).await?,
        Intent::Quarantine { run, pods } => {
            // All at once, and not for long: the native controller ends these pods as soon as it can, and the next look waits.
            let refused = quarantine(writer, key, pods);
            let refused = tokio::time::timeout(QUARANTINE, refused).await.unwrap_or_default();
            for (pod, message) in refused {
                tracing::warn!(release = %key, pod, said = %logged(&message), "a pod could not be taken into quarantine");
                applied.refused.push((crate::decide::quarantine_refusal(run, &pod), message));
            }
        }
        Intent::DeletePod { name, uid } => match writer.delete_pod(&key.namespace, name, uid).await {
            Ok(()) => tracing::info!(release = %key, pod = name, "the quarantine of a pod is over"),
            Err(error @ ActError::Fenced) => return Err(error),
            Err(error) => {
                tracing::warn!(release = %key, pod = name, error = %logged(&error), "a pod in quarantine could not be deleted");
            }
        },
        Intent::MarkAction { uid, name, done, message, at } => {
            let result = if *done { "Done" } else { "Refused" };
            let status = json!({ "result": result, "message": message, "at": whole_second(*at) });
            writer.patch_action_status(&key.namespace, name, uid, &status).await?;
        }
    }
    Ok(())
}

/// Changes the labels of pods; says which were refused, and why.
async fn quarantine(writer: &Writer, key: &Key, pods: &[Relabelled]) -> Vec<(String, String)> {
    let mut asked = Vec::new();
    for Relabelled { pod, patch } in pods {
        asked.push(async move { (pod, writer.patch_pod(&key.namespace, pod, patch).await) });
    }
    let answers = futures::future::join_all(asked).await;
    let refused = |(pod, answer): (&String, Result<(), ActError>)| match answer {
        Ok(()) => {
            tracing::info!(release = %key, pod, "took a pod into quarantine");
            None
        }
        // What was not answered is tried again, for as long as the pod is there.
        Err(
            ActError::Fenced
            | ActError::Deadline(_)
            | ActError::Unanswered
            | ActError::Throttled(_)
            | ActError::Unreachable(_)
            | ActError::WebhookSilent(_)
            | ActError::NotServed(_)
            | ActError::Stale(_),
        ) => None,
        Err(ActError::Gone) => Some((pod.clone(), "it went before its labels were changed".to_owned())),
        Err(error @ (ActError::Refused(_) | ActError::Forbidden(_) | ActError::Taken { .. })) => {
            Some((pod.clone(), error.to_string()))
        }
    };
    answers.into_iter().filter_map(refused).collect()
}

fn owner_reference(owner: &Owner) -> serde_json::Value {
    let Owner { api_version, kind, name, uid } = owner;
    json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid })
}

fn whole_second(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Request, Response, StatusCode};
    use kube::Client;
    use kube::client::Body;

    use super::writer::Leads;
    use super::*;
    use crate::decide::Awaited;
    use crate::decide::snapshot::Template;
    use crate::watch::slim;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// An API server that answers so, with 404, whatever is about Releases, if it is to, and takes everything else; what it was asked.
    fn serving(about_releases: Option<&'static str>) -> (Writer, Asked) {
        let asked = Asked::default();
        let heard = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let (code, text) = match about_releases.filter(|_| path.starts_with("/apis/tidegate.dev/")) {
                Some(answer) => (StatusCode::NOT_FOUND, answer.to_owned()),
                None => {
                    let deployment =
                        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}});
                    (StatusCode::OK, deployment.to_string())
                }
            };
            heard.lock().unwrap().push(path);
            let mut response = Response::new(Body::from(text.into_bytes()));
            *response.status_mut() = code;
            async move { Ok::<_, std::io::Error>(response) }
        });
        (Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10)))), asked)
    }

    fn shop() -> (Key, ReleaseFacts) {
        let release = ReleaseFacts {
            uid: "shop".to_owned(),
            generation: 1,
            resource_version: "1".to_owned(),
            target: None,
            spec: Err("it is not looked at here".to_owned()),
            meaning: Arc::default(),
            status: Arc::new(ReleaseStatus::default()),
            withheld: None,
        };
        (Key { namespace: "ns".to_owned(), name: "shop".to_owned() }, release)
    }

    /// Back to stable, and why is noted before that.
    fn way_back() -> Decision {
        let back = Intent::PatchWorkload {
            name: "shop".to_owned(),
            patch: vec![json!({"op": "test", "path": "/metadata/generation", "value": 1})],
            why: "undo".to_owned(),
            template: None,
        };
        Decision {
            intents: vec![back],
            status: Some(ReleaseStatus::default()),
            note_first: true,
            urgent: true,
            ..Decision::default()
        }
    }

    fn keep_report() -> Intent {
        let report = json!({
            "release": "shop", "releaseUid": "shop", "target": "deployment/shop", "run": "r1", "outcome": "Succeeded", "message": "",
            "startedAt": "2026-01-01T00:00:00Z", "endedAt": "2026-01-01T00:00:00Z", "writtenBy": "", "chain": {"digest": ""},
        });
        let report = Box::new(serde_json::from_value(report).expect("a record"));
        Intent::KeepReport { name: "shop-r1".to_owned(), report }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_first_cuts_short_what_does_not_but_not_between_a_record_and_status() {
        let remove = |name: &str| Intent::DropReport { name: name.to_owned() };
        let keep = keep_report();
        let of = |intents: Vec<Intent>, urgent: bool| Decision {
            intents,
            status: Some(ReleaseStatus::default()),
            urgent,
            ..Decision::default()
        };
        let (key, release) = shop();
        let (removing, ending) = (vec![remove("a"), remove("b")], vec![keep, remove("a")]);
        for (intents, urgent, goes_out) in
            [(removing.clone(), false, 1), (removing, true, 3), (ending, false, 3), (Vec::new(), false, 1)]
        {
            let (writer, asked) = serving(None);
            let decision = of(intents, urgent);
            let (applied, outcome) = carry_out(&writer, &key, Some(&release), &decision, &mut || true).await;
            let asked = asked.lock().unwrap();
            assert_eq!((asked.len(), applied.writes), (goes_out, goes_out), "{asked:?}");
            assert!(outcome.is_ok());
            assert_eq!(applied.cut_short, goes_out < decision.intents.len() + 1);
        }
    }

    /// After how many requests a decision was said to stand.
    struct Heard(Asked, Option<usize>);

    impl Meanwhile for Heard {
        fn is_overtaken(&mut self) -> bool {
            false
        }

        fn stands(&mut self) {
            self.1 = Some(self.0.lock().unwrap().len());
        }

        fn was_unanswered(&self, _what: &str) -> bool {
            false
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_stands_once_its_note_is_not_refused_as_stale_and_before_it_is_carried_out() {
        let gone = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "releases.tidegate.dev \"shop\" not found", "details": {"name": "shop"}}"#;
        let (key, release) = shop();
        for (answer, expected) in [(None, Some(1)), (Some("404 page not found"), Some(1)), (Some(gone), None)]
        {
            let (writer, asked) = serving(answer);
            let mut heard = Heard(asked, None);
            let _outcome = carry_out(&writer, &key, Some(&release), &way_back(), &mut heard).await;
            assert_eq!(heard.1, expected, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_back_where_releases_are_not_served_and_not_where_the_release_is_gone() {
        let gone = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "releases.tidegate.dev \"shop\" not found", "details": {"name": "shop"}}"#;
        let (key, release) = shop();
        let goes = async |answer: &'static str| {
            let (writer, asked) = serving(Some(answer));
            let (_, outcome) = carry_out(&writer, &key, Some(&release), &way_back(), &mut || false).await;
            let ordered = asked.lock().unwrap().iter().any(|path| path.ends_with("/deployments/shop"));
            (ordered, outcome.err().map(|failed| failed.error.category()))
        };
        assert_eq!(goes("404 page not found").await, (true, None));
        assert_eq!(goes(gone).await, (false, Some("gone")));
    }

    /// Whatever hangs did so before.
    struct HungBefore(bool);

    impl Meanwhile for HungBefore {
        fn is_overtaken(&mut self) -> bool {
            false
        }

        fn stands(&mut self) {}

        fn was_unanswered(&self, _what: &str) -> bool {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_without_its_record_where_a_webhook_is_silent_and_not_where_nobody_knows_whether_it_was_kept()
     {
        let silent = "Internal error occurred: failed calling webhook \"a.example.com\": connection refused";
        let (key, release) = shop();
        let ends = async |words: Option<&'static str>, before: bool| {
            let service = tower::service_fn(move |request: Request<Body>| async move {
                let is_record = request.uri().path().ends_with("/releasereports");
                let (code, answer) = match words {
                    Some(words) if is_record => {
                        (500, json!({"kind": "Status", "status": "Failure", "code": 500, "message": words}))
                    }
                    None if is_record => return std::future::pending().await,
                    Some(_) | None => (200, json!({})),
                };
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).expect("a code");
                Ok::<_, std::io::Error>(response)
            });
            let writer =
                Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10))));
            let status = Some(ReleaseStatus::default());
            let decision = Decision { intents: vec![keep_report()], status, ..Decision::default() };
            let mut hung = HungBefore(before);
            let (applied, outcome) = carry_out(&writer, &key, Some(&release), &decision, &mut hung).await;
            assert_eq!(outcome.is_ok(), applied.revision.is_some(), "{outcome:?}");
            (outcome.is_ok(), applied.unreported.is_some())
        };
        assert_eq!(ends(Some(silent), false).await, (true, true));
        assert_eq!(ends(None, true).await, (false, false), "it may have been kept each time");
        assert_eq!(ends(None, false).await, (false, false), "it may be a hiccup");
        assert_eq!(ends(Some("etcdserver: request timed out"), false).await, (false, false));
    }

    #[test]
    fn a_status_that_goes_out_without_the_record_of_its_run_can_be_read() {
        let (_, release) = shop();
        let applied = Applied { unreported: Some("denied".to_owned()), ..Applied::default() };
        let run = json!({
            "id": "r1", "number": 1, "outcome": "Undone", "message": "", "report": "shop-r1",
            "startedAt": "2026-12-01T12:00:00Z", "endedAt": "2026-12-01T12:00:00Z",
        });
        let ended = json!({"lastRun": run, "reports": {"digest": "abc"}});
        for (written, kept) in [(json!({}), json!({})), (ended, json!({"id": "r1", "report": ""}))] {
            let written: ReleaseStatus = serde_json::from_value(written).expect("a status");
            let amended = amended(&written, &release, &applied).expect("another one");
            let read: ReleaseStatus = serde_json::from_value(amended.clone()).expect("a status");
            assert_eq!(read.reports, release.status.reports);
            for (field, kept) in kept.as_object().into_iter().flatten() {
                assert_eq!(amended["lastRun"][field], *kept, "{amended:#}");
            }
        }
    }

    /// To keep version 1.
    fn keeping() -> (Decision, Value) {
        let template = json!({"spec": {"version": 1}});
        let keep = Intent::KeepTemplate {
            name: "shop-1".to_owned(),
            fingerprint: slim::fingerprint(&template),
            template: Template::new(&template),
            owner: Owner {
                api_version: "apps/v1",
                kind: "Deployment",
                name: "shop".to_owned(),
                uid: "d1".to_owned(),
            },
            awaited: Awaited::Always,
            let_go: Some("k0".to_owned()),
        };
        (Decision { intents: vec![keep], ..Decision::default() }, template)
    }

    #[tokio::test(start_paused = true)]
    async fn a_template_whose_name_is_taken_is_kept_only_where_that_is_it() {
        let (key, release) = shop();
        let (keep, template) = keeping();
        let outcome = async |items: Value| {
            let service = tower::service_fn(move |request: Request<Body>| {
                let (code, answer) = match request.uri().query() {
                    Some(query) if request.method() == http::Method::GET => {
                        assert!(query.contains("metadata.name%3Dshop-1"), "{query}");
                        let list =
                            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items});
                        (StatusCode::OK, list)
                    }
                    _ => {
                        let message = "controllerrevisions.apps \"shop-1\" already exists";
                        let taken = json!({
                            "kind": "Status", "status": "Failure", "reason": "AlreadyExists", "code": 409,
                            "message": message,
                        });
                        (StatusCode::CONFLICT, taken)
                    }
                };
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = code;
                async move { Ok::<_, std::io::Error>(response) }
            });
            let leads = Arc::new(Leads(Duration::from_secs(10)));
            let writer = Writer::new(Client::new(service, "default"), leads);
            let (applied, outcome) = carry_out(&writer, &key, Some(&release), &keep, &mut || false).await;
            (applied.writes, outcome.err().map(|failed| (failed.error.category(), failed.refusal())))
        };
        let kept = |release: &str| {
            let metadata =
                json!({"name": "shop-1", "namespace": "ns", "uid": "k1", "labels": {RELEASE_LABEL: release}});
            json!([{"metadata": metadata, "data": template}])
        };
        assert_eq!(outcome(kept("shop")).await, (1, None));
        let (writes, failed) = outcome(kept("another")).await;
        let (category, refusal) = failed.expect("it is in the way");
        assert_eq!((writes, category), (0, "taken"));
        let refusal = refusal.expect("said in status");
        let words = "the creation of ControllerRevision shop-1 failed: one of this name is there already, and does not carry label tidegate.dev/release=shop";
        assert_eq!((refusal.reason(), refusal.sentence().as_str()), ("WriteRefused", words));
        // It has gone in between.
        let (_, failed) = outcome(json!([])).await;
        assert_eq!(failed, Some(("stale", None)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_template_for_which_nothing_waits_is_passed_over_however_that_fails_and_no_other_is() {
        let (key, release) = shop();
        let carried_out = async |waits: Awaited, code: Option<u16>| {
            let service = tower::service_fn(move |request: Request<Body>| async move {
                let is_kept = request.uri().path().ends_with("/controllerrevisions");
                let Some(code) = code.or((!is_kept).then_some(200)) else {
                    return std::future::pending().await;
                };
                let failed = json!({"kind": "Status", "status": "Failure", "code": code, "message": "so", "details": {"retryAfterSeconds": 1}});
                let (code, answer) = if is_kept { (code, failed) } else { (200, json!({})) };
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).expect("a code");
                Ok::<_, std::io::Error>(response)
            });
            let writer =
                Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10))));
            let (mut keep, _) = keeping();
            if let Intent::KeepTemplate { awaited, .. } = &mut keep.intents[0] {
                *awaited = waits;
            }
            keep.status = Some(ReleaseStatus::default());
            let (applied, outcome) = carry_out(&writer, &key, Some(&release), &keep, &mut || false).await;
            assert_eq!(outcome.is_ok(), applied.status.is_some(), "{waits:?} {code:?}: {outcome:?}");
            let without = applied.done_without.into_values().next().flatten();
            (applied.status.is_some(), without.map(|refusal| refusal.may_pass()))
        };
        for code in [Some(500), Some(429), Some(404), None] {
            assert_eq!(carried_out(Awaited::Never, code).await, (true, Some(true)), "{code:?}");
            assert_eq!(carried_out(Awaited::UnlessRefused, code).await, (false, None), "{code:?}");
        }
        assert_eq!(carried_out(Awaited::Never, Some(403)).await, (true, Some(false)));
        assert_eq!(carried_out(Awaited::UnlessRefused, Some(403)).await, (true, Some(false)));
        assert_eq!(carried_out(Awaited::Always, Some(403)).await, (false, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_let_go_and_is_still_there_is_deleted_before_it_is_kept_anew() {
        let (key, release) = shop();
        let (keep, template) = keeping();
        let there = Arc::new(Mutex::new(Some("k0")));
        let asked = Asked::default();
        let (stands, heard) = (there.clone(), asked.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            heard.lock().unwrap().push(request.method().to_string());
            let mut stands = stands.lock().unwrap();
            let (code, answer) = match request.method().as_str() {
                "DELETE" => {
                    *stands = None;
                    (StatusCode::OK, json!({"kind": "Status", "status": "Success"}))
                }
                "POST" if stands.is_some() => (
                    StatusCode::CONFLICT,
                    json!({"kind": "Status", "reason": "AlreadyExists", "code": 409, "message": "it already exists"}),
                ),
                "POST" => {
                    *stands = Some("k1");
                    (
                        StatusCode::CREATED,
                        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {}}),
                    )
                }
                _ => {
                    let metadata = json!({"name": "shop-1", "namespace": "ns", "uid": *stands, "labels": {RELEASE_LABEL: "shop"}});
                    let items = json!([{"metadata": metadata, "data": template}]);
                    (
                        StatusCode::OK,
                        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
                    )
                }
            };
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = code;
            async move { Ok::<_, std::io::Error>(response) }
        });
        let writer = Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10))));
        let keeps = async || {
            let (_, outcome) = carry_out(&writer, &key, Some(&release), &keep, &mut || false).await;
            outcome.expect("it is kept");
            (*there.lock().unwrap(), std::mem::take(&mut *asked.lock().unwrap()).join(" "))
        };
        assert_eq!(keeps().await, (Some("k1"), "POST GET DELETE POST".to_owned()));
        // What was kept anew stays, though its watch has not brought it yet.
        assert_eq!(keeps().await, (Some("k1"), "POST GET".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_that_may_have_gone_out_is_remembered_and_no_other() {
        let (key, release) = shop();
        let drop = Intent::DropTemplate { name: "shop-1".to_owned(), uid: "k1".to_owned() };
        let drop = Decision { intents: vec![drop], ..Decision::default() };
        for (code, remembered) in [(200, true), (404, true), (500, true), (403, false), (429, false)] {
            let service = tower::service_fn(move |_: Request<Body>| {
                let status = json!({
                    "kind": "Status", "status": if code == 200 { "Success" } else { "Failure" }, "code": code, "message": "so",
                    "details": {"name": "shop-1", "retryAfterSeconds": 1},
                });
                let mut response = Response::new(Body::from(status.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).expect("a code");
                async move { Ok::<_, std::io::Error>(response) }
            });
            let writer =
                Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10))));
            let (applied, _) = carry_out(&writer, &key, Some(&release), &drop, &mut || false).await;
            assert_eq!(applied.let_go == ["k1"], remembered, "{code}");
        }
    }
}
