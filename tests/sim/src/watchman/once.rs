//! What is to happen once does, and what was said is not forgotten: Jobs, signatures, records.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate::api::TRIAL;
use tidegate::cli::report::chain::{Newest, Record, walk};

use crate::time::second;
use crate::world::World;

/// Milliseconds after which whoever looks has heard what was said, through all that may be in the way: a connection on which nothing comes breaks after
/// one minute of them, and a process is cut off for less.
pub(super) const HEARD: u64 = 180_000;

/// Trials that a run may need of itself.
const TRIALS: usize = 10;

impl World {
    /// A job is run once for each run and try, and there are no more tries than somebody wanted: what a check does may have changed meanwhile. Who
    /// cannot have heard that its Release was deleted may make it once more when the first one has gone with that; it goes, too.
    pub(super) fn check_job(&mut self, job: &Value) {
        let name = job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let owner = job["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned();
        let check = job["metadata"]["labels"]["tidegate.dev/check"].as_str().unwrap_or_default();
        // It is named after its run, which may be over when it arrives, and its try.
        let run = name.rsplit_once('-').map_or_else(String::new, |(run, _)| run.to_owned());
        let key = format!("{owner} {run} {check}");
        let made = self.watchman.jobs.entry(key).or_default();
        // A trial pod is deleted when its run goes back, or its checks are written anew, and tried again when they are looked at again: under the same name, since
        // whoever makes one has found no other.
        let is_trial = check == TRIAL;
        let again = !made.insert(if is_trial { format!("{name} {}", made.len()) } else { name.clone() });
        let others = if is_trial { made.len().saturating_sub(TRIALS) } else { made.len() - 1 };
        let more = self.watchman.more_tries;
        let heard = self.watchman.heard;
        let again = again && self.watchman.deleted_at.get(&owner).is_none_or(|deleted| *deleted < heard);
        self.check("no job run twice", !again && others <= more, || format!("job {name} of run {run}"));
    }

    /// The records of runs are what was written, and none is missing between two.
    pub fn check_records(&mut self, name: &str) {
        let all = self.store.all("releasereports").filter(|(_, it)| it["spec"]["release"] == name);
        let records: Vec<Record> = all.map(|((_, name), it)| Record::of(name.clone(), &it["spec"])).collect();
        let release = self.release(name).cloned();
        let newest = release.and_then(|release| {
            let reports = &release["status"]["reports"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some(Newest {
                release_uid: text(&release["metadata"]["uid"])?,
                name: text(&reports["kept"].as_array()?.last()?["name"])?,
                digest: text(&reports["digest"]).unwrap_or_default(),
            })
        });
        let walked = walk(name, &records, newest.as_ref());
        self.check("records (a chain)", !walked.broken, || walked.text);
    }

    /// A status with a run is written: all is in it that was signed of that run. That is what was there before, and whatever people said that is
    /// done.
    pub(super) fn check_signatures(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let run = &after["status"]["run"];
        if run.is_null() {
            return;
        }
        let signed: BTreeSet<&str> = signatures(run).collect();
        let before = before.map(|before| &before["status"]["run"]).filter(|old| old["id"] == run["id"]);
        // Another Release of this name, before this one, had a run of this number too.
        let since = made(after);
        let is_done = |action: &Value| {
            let uid = &action["metadata"]["uid"];
            let handled = after["status"]["handled"].as_array();
            action["status"]["result"] == "Done"
                || handled.into_iter().flatten().any(|one| one["uid"] == *uid && one["done"] == true)
        };
        let is_given = |action: &Value| {
            let spec = &action["spec"];
            spec["action"] == "Approve"
                && spec["release"] == name
                && spec["run"] == run["id"]
                && made(action) > since
                && is_done(action)
        };
        let given: Vec<String> = self
            .store
            .all("releaseactions")
            .filter(|(_, action)| is_given(action))
            .filter_map(|(_, action)| action["metadata"]["uid"].as_str().map(str::to_owned))
            .collect();
        let known = before.into_iter().flat_map(signatures);
        let forgotten: BTreeSet<&str> =
            known.chain(given.iter().map(String::as_str)).filter(|uid| !signed.contains(uid)).collect();
        self.check("no approval forgotten", forgotten.is_empty(), || {
            format!("{forgotten:?} of run {}", run["id"])
        });
    }

    /// What nothing came of that was said of a Release: neither done, nor refused with a reason. Whoever helps says it again, so it is asked apart.
    pub fn not_answered(&self, name: &str) -> Option<String> {
        // Where there is no Deployment there is nothing to say it of.
        let release = self.release(name).filter(|_| self.deployment(name).is_some())?;
        let since = made(release);
        let is_answered = |action: &Value| {
            let status = &action["status"];
            let has_reason = status["message"].as_str().is_some_and(|message| !message.is_empty());
            status["result"] == "Done" || (status["result"] == "Refused" && has_reason)
        };
        let mut said = self.store.all("releaseactions");
        let open = said.find(|(_, action)| {
            action["spec"]["release"] == name && made(action) > since && !is_answered(action)
        });
        open.map(|((_, action), found)| format!("{action}: nothing came of {}", found["spec"]["action"]))
    }

    /// A run ends: what was approved of it was heard, long before. Without its Deployment it ends unheard.
    pub(super) fn check_heard(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let Some(before) = before else { return };
        let (old, new) = (&before["status"], &after["status"]);
        let run = &old["run"]["id"];
        if run.is_null() || new["run"]["id"] == *run || old["targetUid"] != new["targetUid"] {
            return;
        }
        let since = made(after);
        let long_ago = second(self.now.saturating_sub(HEARD));
        let handled = |uid: &Value| {
            new["handled"].as_array().into_iter().flatten().any(|handled| handled["uid"] == *uid)
        };
        let is_forgotten = |action: &Value| {
            let spec = &action["spec"];
            spec["action"] == "Approve"
                && spec["release"] == name
                && spec["run"] == *run
                && made(action) > since
                && made(action) < Some(long_ago.as_str())
                && action["status"]["result"].is_null()
                && !handled(&action["metadata"]["uid"])
        };
        let said = self.store.all("releaseactions");
        let forgotten: Vec<String> =
            said.filter(|(_, action)| is_forgotten(action)).map(|((_, name), _)| name.clone()).collect();
        self.check("no approval forgotten", forgotten.is_empty(), || {
            format!("{forgotten:?} of run {run}, which ends")
        });
    }
}

/// The actions by which a run was signed.
fn signatures(run: &Value) -> impl Iterator<Item = &str> {
    let all = run["signatures"].as_array().into_iter().flatten();
    all.filter_map(|signature| signature["action"].as_str())
}

/// When it was made.
fn made(object: &Value) -> Option<&str> {
    object["metadata"]["creationTimestamp"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{said, tell, world};
    use super::*;
    use crate::server::Who;
    use crate::world::{NAMESPACE, TARGET};

    /// Somebody approves run 1, a while after the Release was made.
    fn approved(result: &Value) -> World {
        let mut world = world(&json!({}));
        tell(&mut world, |status| status["run"] = json!({"id": "r1", "stage": "Preflight"}));
        world.now = 10_000;
        let spec = json!({"release": TARGET, "action": "Approve", "role": "qa"});
        let action = json!({"metadata": {"name": "said"}, "spec": spec, "status": result});
        world.make(&Who::Person("alice"), "releaseactions", NAMESPACE, action);
        world
    }

    fn ends(world: &mut World, handled: &Value) {
        tell(world, |status| {
            status["run"] = Value::Null;
            status["handled"] = handled.clone();
        });
    }

    #[test]
    fn what_was_said_is_done_or_refused_with_a_reason() {
        for open in [json!({}), json!({"result": "Refused", "message": ""})] {
            assert!(approved(&open).not_answered(TARGET).is_some(), "{open}");
        }
        for answer in
            [json!({"result": "Done"}), json!({"result": "Refused", "message": "no role of that name"})]
        {
            assert_eq!(approved(&answer).not_answered(TARGET), None);
        }
    }

    #[test]
    fn what_is_done_or_was_signed_stands_in_the_status_of_its_run_until_it_is_over() {
        let signed = |world: &World| {
            let uid = world.store.all("releaseactions").next().map(|(_, it)| it["metadata"]["uid"].clone());
            json!([{"role": "qa", "by": "alice", "action": uid}, {"role": "ops", "by": "bob", "action": "another"}])
        };
        let mut world = approved(&json!({"result": "Done"}));
        let both = signed(&world);
        tell(&mut world, |status| status["run"]["signatures"] = both.clone());
        tell(&mut world, |status| status["run"]["stage"] = json!("Steps"));
        assert_eq!(said(&world, "no approval forgotten"), 0, "{:?}", world.watchman.violations);
        for left in 0..2_usize {
            let mut world = approved(&json!({"result": "Done"}));
            let both = signed(&world);
            tell(&mut world, |status| status["run"]["signatures"] = both.clone());
            tell(&mut world, |status| status["run"]["signatures"] = json!([both[left]]));
            assert_eq!(said(&world, "no approval forgotten"), 1, "{:?}", world.watchman.violations);
        }
        for result in [json!({"result": "Done"}), json!({"result": "Refused", "message": "no"}), json!({})] {
            let mut world = approved(&result);
            tell(&mut world, |status| status["run"]["stage"] = json!("Steps"));
            let forgotten = usize::from(result["result"] == "Done");
            assert_eq!(said(&world, "no approval forgotten"), forgotten, "{result}");
        }
        let mut world = approved(&json!({}));
        let uid = world.store.all("releaseactions").next().map(|(_, it)| it["metadata"]["uid"].clone());
        tell(&mut world, |status| {
            status["handled"] = json!([{"uid": uid, "action": "Approve", "done": true}])
        });
        assert_eq!(said(&world, "no approval forgotten"), 1, "{:?}", world.watchman.violations);
        ends(&mut world, &json!([]));
        assert_eq!(said(&world, "no approval forgotten"), 1, "what is over is over");
    }

    #[test]
    fn a_run_that_ends_has_heard_what_was_approved_long_before() {
        let mut world = approved(&json!({}));
        world.now += HEARD + 2_000;
        ends(&mut world, &json!([]));
        assert_eq!(said(&world, "no approval forgotten"), 1, "{:?}", world.watchman.violations);
    }

    #[test]
    fn a_run_that_ends_may_not_have_heard_what_was_said_just_now_and_says_what_it_has_heard_in_status() {
        let mut world = approved(&json!({}));
        world.now += 2_000;
        ends(&mut world, &json!([]));
        assert_eq!(said(&world, "no approval forgotten"), 0, "{:?}", world.watchman.violations);
        let mut world = approved(&json!({}));
        world.now += HEARD + 2_000;
        let uid = world.store.all("releaseactions").next().map(|(_, it)| it["metadata"]["uid"].clone());
        ends(&mut world, &json!([{"uid": uid, "action": "Approve", "done": true}]));
        assert_eq!(said(&world, "no approval forgotten"), 0, "{:?}", world.watchman.violations);
    }
}
