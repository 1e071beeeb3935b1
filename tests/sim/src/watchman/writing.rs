//! Each write has a field manager and one leader behind it, rests on what was read, and moves nothing that is to stand still: 2, 4, 5, 6, 13.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use serde_json::Value;
use tidegate::api::{ORIGINALS, RELEASE_LABEL};
use tidegate::watch::slim::fingerprint;

use super::Watchman;
use crate::server::{Object, Request};
use crate::time::stamp;
use crate::world::World;

/// `minReadySeconds` of a parked Deployment.
pub const PARKED: i64 = 2_147_483_646;
/// Milliseconds for which a process leads, from when it began to renew the Lease.
pub const RENEW_DEADLINE: u64 = 10_000;

impl World {
    /// A request of the operator goes out.
    pub fn check_sent(&mut self, process: usize, request: &Request) {
        if request.method == http::Method::GET {
            return;
        }
        if request.path.contains("/leases") {
            self.watchman.renewing.insert(process, self.now);
            return;
        }
        let managed =
            request.query.contains("fieldManager=tidegate") || request.method == http::Method::DELETE;
        let what = format!("{} {}", request.method, request.path);
        self.check("2 (field manager)", managed, || what.clone());
        if self.watchman.identities.contains_key(&process) {
            let other = self.led_by_another(process);
            self.check("2 (one leader)", other.is_none(), || {
                format!("{what} by operator-{process}, and {} leads", other.unwrap_or_default())
            });
        }
        self.check_fence(process, &what);
        if request.path.contains("/deployments") {
            self.check_borrowed(request);
        }
        self.check_order(process, request);
        let uid = |object: Option<&Arc<Object>>| object?["metadata"]["uid"].as_str().map(str::to_owned);
        // One made anew counts from 1 again.
        let own = |known: Option<&(String, i64)>, uid: Option<String>| match known {
            Some((written, own)) if Some(written) == uid.as_ref() => *own,
            Some(_) | None => 0,
        };
        if let Some((_, name)) = request.path.split_once("/deployments/") {
            let generation = tested(request, "/metadata/generation").cloned();
            let is_guarded = generation.is_some() && tests_its_uid(request);
            self.check("4 (guarded)", is_guarded, || what.clone());
            let known = self.watchman.written.get(&(process, name.to_owned()));
            let own = own(known, uid(self.deployment(name)));
            let decided_on = generation.and_then(|value| value.as_i64()).unwrap_or(0);
            self.check("5 (own writes)", decided_on >= own, || {
                format!("decided on generation {decided_on}, wrote {own} itself")
            });
        }
        if let Some((_, path)) = request.path.split_once("/releases/")
            && let Some(name) = path.strip_suffix("/status")
        {
            let guarded = tested(request, "/metadata/resourceVersion").is_some();
            self.check("4 (guarded)", guarded, || what);
            let known = self.watchman.told.get(&(process, name.to_owned()));
            let own = own(known, uid(self.release(name)));
            let decided_on = revision(request).map_or(0, |revision| revision - 1);
            self.check("5 (own writes)", decided_on >= own, || {
                format!("decided on revision {decided_on} of status, wrote {own} itself")
            });
        }
    }

    /// Who leads, where that is another one.
    fn led_by_another(&self, process: usize) -> Option<String> {
        let mine = self.watchman.identities.get(&process)?;
        let (_, lease) = self.store.all("leases").next()?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        (holder != mine && !holder.is_empty()).then(|| holder.to_owned())
    }

    /// A write of the operator's that was long on its way has arrived, and has been carried out or refused. Another process may lead by then: it has not been
    /// carried out where that one has written the same object since.
    pub fn check_arrived(&mut self, process: usize, request: &Request, is_done: bool) {
        let is_write = request.method != http::Method::GET && !request.path.contains("/leases");
        let Some(other) = self.led_by_another(process).filter(|_| is_write) else { return };
        let uid = |object: Option<&Arc<Object>>| object.map(|it| it["metadata"]["uid"].clone());
        let others = |known: &BTreeMap<(usize, String), (String, i64)>, name: &str, uid: Option<Value>| {
            let is_it = |((writer, of), (object, _)): &(&(usize, String), &(String, i64))| {
                *writer != process && of == name && uid.as_ref().is_some_and(|uid| *uid == object.as_str())
            };
            known.iter().filter(is_it).map(|(_, (_, number))| *number).max().unwrap_or(0)
        };
        let Watchman { written, told, .. } = &self.watchman;
        let status = request.path.split_once("/releases/").and_then(|(_, path)| path.strip_suffix("/status"));
        let (decided_on, since) = if let Some((_, name)) = request.path.split_once("/deployments/") {
            let generation = tested(request, "/metadata/generation").and_then(Value::as_i64);
            (generation.unwrap_or(0), others(written, name, uid(self.deployment(name))))
        } else if let Some(name) = status {
            let decided_on = revision(request).map_or(0, |revision| revision - 1);
            (decided_on, others(told, name, uid(self.release(name))))
        } else {
            // Made once under its name, or deleted by its uid.
            (0, 0)
        };
        self.check("2 (late, when another leads)", !is_done || since <= decided_on, || {
            let (method, path) = (&request.method, &request.path);
            format!("{method} {path} was decided on {decided_on}, and {other} has written {since}")
        });
    }

    /// A process has written the Lease. One that could not renew in time, or that another has led after, begins anew: it forgets what came
    /// of what it had begun, since another may have gone on with it.
    pub fn renewed(&mut self, process: usize) {
        let sent = self.watchman.renewing.get(&process).map_or(self.now, |sent| *sent);
        let last = self.watchman.renewed.replace((process, sent));
        let leads_on =
            last.is_some_and(|(writer, sent)| writer == process && self.now < sent + RENEW_DEADLINE);
        if !leads_on {
            self.watchman.hooks_answered.remove(&process);
        }
    }

    /// A request arrives, whose sender may have heard of what was done until then.
    pub fn arrives(&mut self, heard: u64) {
        self.watchman.heard = heard;
    }

    /// A request is answered that was sent then, and may have been overtaken by others of the same process; `None`: it has been.
    pub fn arrives_late(&mut self, sent: Option<u64>) {
        self.watchman.sent_late = sent;
    }

    /// Nobody told the process what came of its last write: it cannot know that it took effect.
    pub fn unanswered(&mut self, process: usize) {
        self.watchman.written.retain(|(writer, _), _| *writer != process);
        self.watchman.told.retain(|(writer, _), _| *writer != process);
        self.watchman.said.retain(|(writer, _), _| *writer != process);
        // It waits for that, and has not looked.
        self.watchman.watched.values_mut().for_each(|watched| watched.looks = 0);
    }

    /// 13: between moves it is paused; on a canary template it is never unpaused and unparked before the last step is done.
    pub(super) fn check_pace(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let spec = &after["spec"];
        // A label, an annotation: what moves there is none of its doing.
        if before.is_some_and(|before| before["spec"] == *spec) {
            return;
        }
        let status = self.status(name);
        // A status that could not be written may be of an earlier Deployment of this name: of this one no stable version is known yet.
        let of_this = status["targetUid"] == after["metadata"]["uid"];
        let stable = status["stable"]["fingerprint"].as_str().filter(|_| of_this).map(str::to_owned);
        let Some(stable) = stable else { return };
        let parked = spec["minReadySeconds"] == PARKED;
        let paused = spec["paused"] == true;
        let recreate = spec["strategy"]["type"] == "Recreate";
        if paused || recreate {
            return;
        }
        let on_stable = stable == fingerprint(&spec["template"]);
        let sets = &self.native(name).sets;
        let all_out = sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
        // Handed back it goes out as its owner wrote it: in the write that takes the label away, and as long as that is not said on the action. What
        // somebody had handed back once, and is managed again, is no other Deployment.
        let hands_back = |action: &Value| {
            let spec = &action["spec"];
            spec["action"] == "HandBack" && spec["release"] == name && action["status"]["result"].is_null()
        };
        let handed_back = after["metadata"]["labels"][RELEASE_LABEL].is_null()
            && self.store.all("releaseactions").any(|(_, action)| hands_back(action));
        let strategy = spec["strategy"].to_string();
        let excused = handed_back || self.is_of_an_earlier_release(name);
        self.check("13 (never unpaused and unparked)", parked || on_stable || all_out || excused, || {
            format!("minReadySeconds {}, strategy {strategy}", after["spec"]["minReadySeconds"])
        });
    }

    /// It was sent before the Release was made that is there now, whose process has not written to the Deployment yet: nothing keeps it from taking effect.
    fn is_of_an_earlier_release(&self, name: &str) -> bool {
        let made =
            self.release(name).and_then(|it| it["metadata"]["creationTimestamp"].as_str()?.parse().ok());
        let sent = self.watchman.sent_late.map(stamp);
        sent.zip(made).is_some_and(|(sent, made): (Timestamp, Timestamp)| sent < made)
    }

    pub(super) fn check_status(&mut self, process: usize, name: &str, before: Option<&Value>, after: &Value) {
        let nothing = Value::Null;
        let (old, new) = (before.map_or(&nothing, |before| &before["status"]), &after["status"]);
        let revision = |status: &Value| status["revision"].as_i64().unwrap_or(0);
        let (was, is) = (revision(old), revision(new));
        self.check("4 (one status write a look)", is == was + 1 || was == 0, || {
            format!("revision {was}, then {is}")
        });
        if stands_still(new) {
            let target = self.deployment(name);
            let ours = target.is_some_and(|it| !it["metadata"]["annotations"][ORIGINALS].is_null());
            let moves = target.is_some_and(|it| it["spec"]["paused"] != true);
            // What was ordered, and not answered, may take effect later, and not be heard of yet. Of an answered order whoever has given it knows.
            let knows_its_last = self.watchman.written.contains_key(&(process, name.to_owned()));
            let is_before = !knows_its_last && target.is_some_and(|it| is_behind(new, it));
            // It says what was so when it was sent.
            let watched = self.watchman.of(name);
            let (ordered_at, unseen) = (watched.ordered_at, watched.unseen);
            // Where several lead another one may have ordered it, and not yet said so.
            let is_anothers = watched.ordered_by != Some(process) && self.watchman.several_lead;
            let overtaken = self.watchman.sent_late.is_some_and(|sent| sent < ordered_at);
            let holds = overtaken || is_before || is_anothers || unseen || !(ours && moves);
            self.check("13 (paused between moves)", holds, || {
                format!("it is {} and may move: {}", new["phase"], new["blockedBy"]["reason"])
            });
        }
        let (old, new) = (&old["run"], &new["run"]);
        if new.is_null() {
            return;
        }
        let id = new["id"].as_str().unwrap_or_default().to_owned();
        if old["id"] == new["id"] {
            let step = |run: &Value| run["step"].as_i64().unwrap_or(0);
            let (from, to) = (step(old), step(new));
            self.check("6 (one step)", to <= from + 1, || format!("run {id}: step {from}, then {to}"));
            let skips = old["stage"] == "Preflight" && new["stage"] == "Watch";
            self.check("6 (one step)", !skips, || format!("run {id}: from the checks to the watch"));
        }
        self.check_blind(name, old, new);
    }
}

/// Whether a status was decided on an earlier generation of the Deployment.
fn is_behind(status: &Value, target: &Value) -> bool {
    let [decided_on, stands] =
        [&status["targetGeneration"], &target["metadata"]["generation"]].map(Value::as_i64);
    decided_on.is_some() && decided_on < stands
}

/// Holds under which a move goes on, or of a Deployment that nobody can pause any more: what it was like is not known, or the write is refused.
const MAY_MOVE: [&str; 8] = [
    "ClusterUnheard",
    "ControllerSilent",
    "NodesSilent",
    "StablePodsNotReady",
    "StableTemplateLost",
    "OriginalsLost",
    "MissingRight",
    "WriteRefused",
];

/// Whether status says that nothing moves. On the way back it does, whatever that waits for; and a Release that finds the Deployment as an earlier one left
/// it has not looked further yet, and names nothing that holds it.
fn stands_still(status: &Value) -> bool {
    let is_back = !status["run"]["back"].is_null();
    match status["phase"].as_str() {
        Some("Soaking") => true,
        Some("Held") => {
            !is_back
                && status["blockedBy"]["reason"].as_str().is_some_and(|reason| !MAY_MOVE.contains(&reason))
        }
        Some(_) | None => false,
    }
}

/// What has to be so before anything of a patch is done.
fn tested<'r>(request: &'r Request, path: &str) -> Option<&'r Value> {
    match request.patch.as_ref()?.0.first()? {
        PatchOperation::Test(test) if test.path.as_str() == path => Some(&test.value),
        _ => None,
    }
}

/// Whether nothing of a patch is done to one that was made anew under the same name.
fn tests_its_uid(request: &Request) -> bool {
    let tests = |operation: &PatchOperation| matches!(operation, PatchOperation::Test(test) if test.path.as_str() == "/metadata/uid");
    request.patch.as_ref().is_some_and(|patch| patch.0.iter().any(tests))
}

/// The revision of the status that a request is to write: one more than that of the status it was decided on.
fn revision(request: &Request) -> Option<i64> {
    match request.patch.as_ref()?.0.get(1)? {
        PatchOperation::Add(status) if status.path.as_str() == "/status" => status.value["revision"].as_i64(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{OPERATOR, OWNER, said, tell, version, world, write};
    use super::*;
    use crate::server::Who;
    use crate::world::{NAMESPACE, TARGET};

    /// Version 2 goes out, neither paused nor parked, after somebody has said HandBack.
    fn let_go(result: &Value, labelled: bool) -> World {
        let mut world = world(&json!({}));
        let spec = json!({"release": TARGET, "action": "HandBack"});
        let action = json!({"metadata": {"name": "said"}, "spec": spec, "status": result});
        world.make(&Who::Person("alice"), "releaseactions", NAMESPACE, action);
        write(&mut world, &OPERATOR, |it| {
            it["spec"]["template"] = version(2);
            if !labelled {
                it["metadata"]["labels"] = json!({"app": TARGET});
            }
        });
        world
    }

    #[test]
    fn what_is_handed_back_goes_out_as_its_owner_wrote_it_and_what_is_managed_again_does_not() {
        let never = "13 (never unpaused and unparked)";
        let world = let_go(&json!({}), false);
        assert_eq!(said(&world, never), 0, "{:?}", world.watchman.violations);
        for (result, labelled) in [(json!({}), true), (json!({"result": "Done"}), false)] {
            let world = let_go(&result, labelled);
            assert_eq!(said(&world, never), 1, "{result}: {:?}", world.watchman.violations);
        }
    }

    /// A run has the fields, and they are as they are in a move or between two.
    fn in_a_run(paused: bool) -> World {
        let mut world = world(&json!({}));
        world.policies = false;
        write(&mut world, &OPERATOR, |it| {
            it["spec"]["paused"] = json!(paused);
            it["metadata"]["annotations"][ORIGINALS] = json!("{}");
        });
        world
    }

    fn says(world: &mut World, phase: &str, reason: &str) -> usize {
        tell(world, |status| {
            status["phase"] = json!(phase);
            status["blockedBy"] = json!({"reason": reason});
        });
        said(world, "13 (paused between moves)")
    }

    #[test]
    fn what_is_said_to_stand_still_is_paused_without_policies_too() {
        for (phase, reason) in [("Soaking", ""), ("Held", "Paused"), ("Held", "AwaitingApproval")] {
            assert_eq!(says(&mut in_a_run(true), phase, reason), 0, "{phase} {reason}");
            assert_eq!(says(&mut in_a_run(false), phase, reason), 1, "{phase} {reason}");
        }
    }

    #[test]
    fn what_moves_may_be_held_up_and_an_owner_who_goes_on_is_not_the_operators_doing() {
        for (phase, reason) in [("Moving", ""), ("Held", "ControllerSilent"), ("Held", "NodesSilent")] {
            assert_eq!(says(&mut in_a_run(false), phase, reason), 0, "{phase} {reason}");
        }
        let mut world = in_a_run(true);
        write(&mut world, &OWNER, |it| it["spec"]["paused"] = json!(false));
        assert_eq!(says(&mut world, "Held", "Paused"), 0);
        let mut world = in_a_run(false);
        tell(&mut world, |status| status["run"] = json!({"id": "r1", "back": {"cause": "NoReplicas"}}));
        assert_eq!(says(&mut world, "Held", "NoReplicas"), 0);
    }

    #[test]
    fn where_several_lead_what_stands_still_by_one_may_just_have_been_ordered_by_another() {
        for (several_lead, expected) in [(true, 0), (false, 1)] {
            let mut world = in_a_run(true);
            world.watchman.several_lead = several_lead;
            write(&mut world, &Who::Operator(1), |it| it["spec"]["paused"] = json!(false));
            assert_eq!(says(&mut world, "Soaking", ""), expected);
        }
        let mut world = in_a_run(false);
        world.watchman.several_lead = true;
        assert_eq!(says(&mut world, "Soaking", ""), 1);
    }

    /// A patch of process 0 that tests this generation, once process 1 leads and has written generation 7.
    fn arrives(generation: Option<i64>, path: &str, is_done: bool) -> usize {
        let mut world = world(&json!({}));
        for process in [0, 1] {
            world.watchman.identities.insert(process, format!("operator-{process}"));
        }
        let lease = json!({"metadata": {"name": "tidegate"}, "spec": {"holderIdentity": "operator-1"}});
        world.make(&Who::Cluster, "leases", "tidegate-system", lease);
        write(&mut world, &Who::Operator(1), |it| it["metadata"]["generation"] = json!(7));
        let test = generation
            .map(|generation| json!([{"op": "test", "path": "/metadata/generation", "value": generation}]));
        let request = Request {
            who: Who::Operator(0),
            metadata_only: false,
            path: format!("/apis/apps/v1/namespaces/shop/{path}"),
            query: String::new(),
            patch: test.and_then(|test| serde_json::from_value(test).ok()),
            method: http::Method::PATCH,
            content_type: "application/json-patch+json".to_owned(),
            body: bytes::Bytes::new(),
        };
        world.check_arrived(0, &request, is_done);
        // Who leads is asked for nothing.
        world.check_arrived(1, &request, is_done);
        said(&world, "2 (late, when another leads)")
    }

    #[test]
    fn what_arrives_when_another_leads_is_not_done_where_that_one_has_written_since() {
        let path = format!("deployments/{TARGET}");
        assert_eq!(arrives(Some(7), &path, true), 0);
        assert_eq!(arrives(Some(6), &path, false), 0);
        assert_eq!(arrives(Some(6), &path, true), 1);
        assert_eq!(arrives(None, &path, true), 1);
        assert_eq!(arrives(None, "jobs", true), 0);
    }
}
