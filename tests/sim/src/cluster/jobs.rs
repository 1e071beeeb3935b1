//! Jobs, and the pods of trials.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate::api::{CHECK_LABEL, TRIAL};

use super::{is_never_ready, milliseconds, named};
use crate::server::Name;
use crate::time::second;
use crate::world::{NAMESPACE, World};

/// How long a Job takes.
const JOB: u64 = 3_000;
/// How long a trial pod takes until it is Ready, if its version ever is. Its Job goes on until it is deleted.
const TRIAL_READY: u64 = 1_500;
/// Where trial pods are: none of a Deployment's has such an address.
const TRIAL_ADDRESS: &str = "10.255.255.1";

impl World {
    /// Ends those whose time is over.
    pub(super) fn jobs(&mut self) {
        let now = self.now;
        let ended: Vec<(Name, Value)> = self
            .store
            .all("jobs")
            .filter(|(_, job)| {
                job["status"]["conditions"].is_null() && !is_of_trial(job) && job_ends(job) <= now
            })
            .map(|(name, job)| (name.clone(), (***job).clone()))
            .collect();
        for (name, mut job) in ended {
            let fails = job["spec"]["template"]["metadata"]["annotations"]["fails"] == "true";
            // In the words of a real one, of a Job that is tried once.
            let (word, count, reason, message) = if fails {
                ("Failed", "failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            } else {
                ("Complete", "succeeded", "CompletionsReached", "Reached expected number of succeeded pods")
            };
            let condition = json!({"type": word, "status": "True", "reason": reason, "message": message});
            job["status"] = json!({"conditions": [condition], count: 1});
            self.store.put("jobs", name, job);
        }
    }

    /// When the next one is to end, or a trial's pod to be Ready.
    pub(super) fn next_job(&self) -> u64 {
        let running = self.store.all("jobs").filter(|(_, job)| job["status"]["conditions"].is_null());
        let due =
            running.map(|(_, job)| if is_of_trial(job) { made(job) + TRIAL_READY } else { job_ends(job) });
        due.filter(|at| *at > self.now).min().unwrap_or(u64::MAX)
    }

    /// Trial pods are there as long as their Jobs are.
    pub(super) fn trials(&mut self) {
        let now = self.now;
        let jobs = self.store.all("jobs").filter(|(_, job)| is_of_trial(job));
        let wanted: BTreeMap<Name, Value> = jobs
            .map(|((_, job), object)| (named(&format!("{job}-x")), trial_object(now, job, object)))
            .collect();
        let pods = self.store.all("pods").filter(|(_, pod)| is_of_trial(pod));
        let shown: Vec<(Name, Value)> =
            pods.map(|(name, pod)| (name.clone(), pod["status"].clone())).collect();
        for (name, _) in shown.iter().filter(|(name, _)| !wanted.contains_key(name)) {
            self.store.remove("pods", name);
        }
        for (name, pod) in wanted {
            let is_shown = shown.iter().any(|(known, status)| *known == name && *status == pod["status"]);
            if !is_shown {
                self.store.put("pods", name, pod);
            }
        }
    }

    /// Whether a trial pod answers at this address.
    pub fn is_on_trial_at(&self, address: std::net::IpAddr) -> bool {
        let mut pods = self.store.all("pods").filter(|(_, pod)| is_of_trial(pod));
        address.to_string() == TRIAL_ADDRESS
            && pods.any(|(_, pod)| pod["status"]["conditions"][0]["status"] == "True")
    }
}

fn is_of_trial(object: &Value) -> bool {
    object["metadata"]["labels"][CHECK_LABEL] == TRIAL
}

/// The pod of a trial's Job.
fn trial_object(now: u64, job: &str, object: &Value) -> Value {
    let since = made(object) + TRIAL_READY;
    let never = is_never_ready(&object["spec"]["template"]);
    let ready = if since <= now && !never { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{job}-x"), "namespace": NAMESPACE, "uid": format!("{job}-x"),
            "creationTimestamp": object["metadata"]["creationTimestamp"],
            "labels": object["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": object["metadata"]["uid"], "controller": true,
            }],
        },
        "status": {
            "phase": "Running", "podIP": TRIAL_ADDRESS,
            "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady", "lastTransitionTime": second(since.min(now))}],
            "containerStatuses": [{"name": "shop", "restartCount": 0, "state": {"running": {}}, "lastState": {}}],
        },
    })
}

fn job_ends(job: &Value) -> u64 {
    made(job) + JOB
}

fn made(job: &Value) -> u64 {
    let made: Option<jiff::Timestamp> =
        job["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    made.map_or(0, milliseconds)
}
