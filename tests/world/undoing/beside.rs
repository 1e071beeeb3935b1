//! What is done beside the way back, and keeps nothing of it waiting: quarantine, hooks, and what pods wrote.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::Stamp;
use tidegate::api::undo::{HookState, QuarantineState};
use tidegate::decide::plan;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::decide::{ErrandKind, Gather};

use super::{crashed, ended, hook, job, rolling, stands, told, with};
use crate::world::{Ending, WELL, World, template};

#[test]
fn the_worst_pods_are_kept_out_of_their_set_after_the_order_and_until_their_time_is_over() {
    let mut world = crashed(json!({"quarantine": {"pods": 1, "for": "1h"}}));
    world.until("the end", |world| world.status.last_run.is_some());
    assert_eq!(world.first_intents, ["patch", "quarantine"], "the order goes first");
    let undo = ended(&mut world);
    assert_eq!(undo.quarantined.len(), 1);
    assert_eq!(undo.quarantined[0].state, QuarantineState::Kept, "{:?}", undo.quarantined);
    let pod = world.quarantined[0]["metadata"].clone();
    assert_eq!(pod["labels"], json!({"tidegate.dev/quarantine": "shop"}));
    assert_eq!(pod["annotations"]["tidegate.dev/quarantined-labels"], r#"{"app":"shop"}"#);
    assert_eq!(pod["ownerReferences"][0]["kind"], "Deployment");
    assert_eq!((world.ready(), world.alive()), (4, 4), "it is counted nowhere");
    world.tick();
    assert_eq!(world.status.quarantined.len(), 1);
    world.now += Duration::from_secs(3000);
    world.tick();
    assert_eq!(world.quarantined.len(), 1);
    world.now += Duration::from_secs(600);
    world.tick();
    assert!(world.quarantined.is_empty());
    world.tick();
    assert!(world.status.quarantined.is_empty());
}

#[test]
fn a_pod_in_quarantine_goes_in_its_time_also_when_its_release_is_gone() {
    let mut world = crashed(json!({"quarantine": {"pods": 1, "for": "10m"}}));
    world.until("the end", |world| world.status.last_run.is_some());
    world.release = None;
    world.status = Default::default();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.quarantined.len(), 1);
    let wake = world.look().wake.expect("a wake");
    assert!(wake <= world.now + Duration::from_secs(600));
    world.now += Duration::from_secs(600);
    world.look();
    assert!(world.quarantined.is_empty());
}

#[test]
fn a_pod_that_carries_the_marks_of_quarantine_and_is_run_by_somebody_is_not_ended() {
    let mut world = crashed(json!({"quarantine": {"pods": 1, "for": "10m"}}));
    world.until("the end", |world| world.status.last_run.is_some());
    let kept = world.quarantined[0].clone();
    let owner = |kind: &str, controls: bool| json!({"apiVersion": "apps/v1", "kind": kind, "name": "other", "uid": "o1", "controller": controls});
    let owners = [
        ("nobody", json!([])),
        ("a-set", json!([owner("ReplicaSet", true)])),
        ("a-stateful-set", json!([owner("StatefulSet", true)])),
        ("controlled", json!([owner("Deployment", true)])),
        ("both", json!([kept["metadata"]["ownerReferences"][0], owner("StatefulSet", true)])),
    ];
    for (name, owners) in &owners {
        let mut pod = kept.clone();
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["uid"] = json!(format!("uid-{name}"));
        pod["metadata"]["ownerReferences"] = owners.clone();
        world.quarantined.push(pod);
    }
    world.tick();
    assert_eq!(world.status.quarantined.len(), 1, "{:?}", world.status.quarantined);
    world.now += Duration::from_secs(601);
    world.tick();
    let left: Vec<&Value> = world.quarantined.iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!(left, owners.each_ref().map(|(name, _)| *name), "only what was taken out goes");
}

#[test]
fn hooks_are_begun_in_the_look_that_goes_back_and_none_of_them_is_waited_for() {
    let hooks = json!([
        {"name": "flag", "http": {"url": "http://flags/payments", "method": "PUT", "body": "off"}},
        {"name": "map", "configMap": {"name": "flags", "key": "payments", "value": "off"}},
        {"name": "object", "patch": {
            "apiVersion": "core.openfeature.dev/v1beta1", "resource": "featureflags", "name": "shop", "patch": {"spec": {"a": 1}},
        }},
        {"name": "dump", "job": job(json!({}))},
        {"name": "count", "job": job(json!({"result": {"from": "LastLogLine", "expression": "result.left == 0"}}))},
        {"name": "slow", "job": job(json!({}))},
        {"name": "lost", "job": job(json!({}))},
    ]);
    let mut world = World::new(4, rolling(), with(json!({"hooks": hooks})));
    world.job_ends.insert("hook.dump", WELL);
    world.job_ends.insert("hook.count", Ending { says: Some("{\"left\": 3}"), ..WELL });
    world.job_ends.insert("hook.slow", Ending { after: Duration::from_secs(300), ..WELL });
    world.push(template("v2", true));
    world.answers.insert("flag", (ProbeResult::Failed, "answered 500, expected 2xx (tried 3 times)"));
    world.until("going back", |world| world.phase() == "Undoing");
    let names: Vec<&str> = world.errands.iter().map(|errand| errand.name.as_str()).collect();
    let hooks = ["hook/flag", "hook/map", "hook/object", "hook/dump", "hook/count", "hook/slow", "hook/lost"];
    assert_eq!((&names[..7], names[7]), (hooks.as_slice(), "evidence"));
    assert_eq!(world.first_intents, ["patch"]);
    let ErrandKind::Patch(patch) = &world.errands[1].kind else { panic!("no patch") };
    assert_eq!(
        (patch.resource.as_str(), &patch.patch),
        ("configmaps", &json!({"data": {"payments": "off"}}))
    );
    let undo = ended(&mut world);
    let states: Vec<_> = undo.hooks.iter().map(|hook| (hook.name.as_str(), hook.state)).collect();
    let wanted = [
        ("flag", HookState::Failed),
        ("map", HookState::Done),
        ("object", HookState::Done),
        ("dump", HookState::Done),
        ("count", HookState::Failed),
        ("slow", HookState::Started),
        ("lost", HookState::Failed),
    ];
    assert_eq!(states, wanted, "{:#?}", undo.hooks);
    let said = |place: usize| (undo.hooks[place].message.as_str(), undo.hooks[place].log.as_slice());
    assert_eq!(said(3).1, ["done"], "the end of its log is in the record");
    assert!(said(4).0.ends_with("its result is not as expected: result.left == 0"), "{:?}", said(4));
    assert!(said(5).0.ends_with("is running"), "the record does not wait for it: {:?}", said(5));
    assert!(said(6).0.ends_with("is gone, and nobody knows what it did"), "{:?}", said(6));
    let failed = told(&world, "HookFailed");
    assert_eq!(failed[0], "run r1: hook flag failed: answered 500, expected 2xx (tried 3 times)");
    assert_eq!(failed.len(), 3, "each once: {failed:?}");
    let waited = undo.times.communicated_at.unwrap().0 - undo.times.restored_at.unwrap().0;
    assert!(waited.total(jiff::Unit::Second).unwrap() < 31.0, "{waited}");
    assert_eq!(world.errands.len(), 8, "each once");
}

#[test]
fn before_the_first_pod_there_is_nothing_to_keep_and_no_hook() {
    let mut spec = with(json!({"hooks": [{"name": "flag", "http": {"url": "http://flags/"}}]}));
    spec["preflight"] = json!([{"name": "sign-off", "approval": {"roles": ["qa"], "quorum": 1}}]);
    let mut world = World::new(4, rolling(), spec);
    world.push(template("v2", false));
    world.until("held", |world| world.status.blocked_by.is_some());
    world.say("Abort");
    let undo = ended(&mut world);
    assert!(undo.hooks.is_empty() && undo.pods.is_empty() && world.errands.is_empty());
}

#[test]
fn what_the_worst_pod_wrote_is_in_the_record_and_who_wants_none_has_none() {
    let mut world = crashed(json!({}));
    let undo = ended(&mut world);
    assert_eq!(undo.pods.len(), 1);
    assert_eq!(undo.pods[0].waiting, "CrashLoopBackOff");
    assert_eq!(undo.pods[0].logs[0].lines, ["panic"]);
    let ErrandKind::Gather(Gather { pods, containers, log_lines }) = &world.errands[0].kind else {
        panic!("{:?}", world.errands)
    };
    assert_eq!((containers.as_slice(), *log_lines), (["shop".to_owned()].as_slice(), 50));
    assert!(pods[0].began_again, "what it wrote before it was started again is wanted: {pods:?}");

    let mut world = crashed(json!({"evidence": {"pods": 0}}));
    let undo = ended(&mut world);
    assert!(undo.pods.is_empty() && world.errands.is_empty());
}

#[test]
fn of_a_pod_that_was_never_started_again_no_earlier_log_is_asked_for() {
    let mut world = World::new(4, rolling(), with(json!({})));
    world.push(template("v2", false));
    world.until("pods of it serve", |world| world.phase() == "Soaking");
    world.say("Abort");
    ended(&mut world);
    let ErrandKind::Gather(Gather { pods, .. }) = &world.errands[0].kind else {
        panic!("{:?}", world.errands)
    };
    assert!(!pods.is_empty() && pods.iter().all(|pod| !pod.began_again), "{pods:?}");
}

#[test]
fn a_record_waits_for_what_is_being_read_for_seconds_and_the_owner_for_none() {
    let mut world = crashed(json!({}));
    world.gathers_nothing = true;
    let before = world.deployment()["spec"].clone();
    world.until("stable stands", stands);
    world.pass(Duration::from_millis(500));
    let mut given_back = world.deployment()["spec"].clone();
    given_back["template"] = before["template"].clone();
    assert_eq!(given_back["strategy"], before["strategy"], "{}", world.describe());
    let undo = ended(&mut world);
    assert_eq!(undo.pods[0].unread, ["events and logs were not read in time"]);
    let took = undo.times.communicated_at.unwrap().0 - undo.times.decided_at.0;
    assert!(took.total(jiff::Unit::Second).unwrap() < 11.0, "{took}");
}

#[test]
fn a_hook_that_hangs_keeps_neither_stable_pods_nor_the_owners_fields_nor_the_record_waiting() {
    let mut world = World::new(4, rolling(), with(json!({"hooks": hook()})));
    let before = world.deployment()["spec"].clone();
    world.hangs = vec!["flag"];
    world.push(template("v2", true));
    world.until("going back", |world| world.phase() == "Undoing");
    let since = world.now;
    world.until("stable stands", stands);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
    assert!(world.status.last_run.is_none());
    let undo = ended(&mut world);
    assert!(world.now < since + Duration::from_secs(45), "{}", world.now);
    assert_eq!((undo.hooks[0].state, undo.hooks[0].message.as_str()), (HookState::Started, "begun"));
}

#[test]
fn a_clock_that_is_set_back_keeps_no_record_waiting_for_what_is_done_beside() {
    let mut world = World::new(4, rolling(), with(json!({"hooks": hook()})));
    world.hangs = vec!["flag"];
    world.gathers_nothing = true;
    world.push(template("v2", true));
    world.until("stable stands", stands);
    world.pass(Duration::from_millis(500));
    // By the clock of the next leader all of it comes to pass in two hours.
    let later = |at: Stamp| Stamp(at.0 + Duration::from_secs(7200));
    let back = world.status.run.as_mut().unwrap().back.as_mut().unwrap();
    (back.decided_at, back.restored_at) = (later(back.decided_at), back.restored_at.map(later));
    assert!(back.restored_at.is_some());
    world.errands.clear();
    let since = world.now;
    let undo = ended(&mut world);
    assert!(world.now < since + Duration::from_secs(10), "{}", world.now);
    let begun: Vec<&str> = world.errands.iter().map(|errand| errand.name.as_str()).collect();
    assert!(!begun.contains(&"hook/flag"), "nobody waits for it any more: {begun:?}");
    assert_eq!(undo.hooks[0].state, HookState::Started);
    assert_eq!(undo.pods[0].unread, ["events and logs were not read in time"]);
}

#[test]
fn a_release_deleted_while_a_hook_hangs_goes_back_all_the_same() {
    let mut world = World::new(4, rolling(), with(json!({"hooks": hook(), "validate": {"for": "1h"}})));
    let before = world.deployment()["spec"].clone();
    world.hangs = vec!["flag"];
    world.push(template("v2", true));
    world.until("going back", |world| world.phase() == "Undoing");
    let mut looked_at = world.copy();
    looked_at.until("stable stands", stands);
    looked_at.pass(Duration::from_secs(5));
    for mut world in [world, looked_at] {
        world.release = None;
        world.status = Default::default();
        world.pass(Duration::from_secs(30));
        assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
        assert!(world.deployment()["metadata"]["labels"]["tidegate.dev/release"].is_null());
        assert_eq!((world.ready(), world.alive()), (4, 4));
        assert_eq!(world.errands.iter().filter(|errand| errand.name.starts_with("hook")).count(), 1);
    }
}

/// What the plan says of a hook, as one that no schema has looked at.
fn planned(hook: Value) -> String {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
    let spec = json!({"targetRef": target, "undo": {"hooks": [{"name": "flag", "http": {"url": "http://flags/"}}, hook]}});
    let spec = serde_json::from_value(spec).expect("a spec");
    plan::undo(&spec).map(|_| String::new()).unwrap_or_else(|refused| refused.to_string())
}

#[test]
fn what_no_hook_may_patch_is_refused_whatever_the_schema_that_it_was_stored_under() {
    let patch = |more: Value| {
        let mut patch = json!({
            "apiVersion": "core.openfeature.dev/v1beta1", "resource": "featureflags", "name": "shop", "patch": {"spec": {}},
        });
        patch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        planned(json!({"name": "it", "patch": patch}))
    };
    assert_eq!(patch(json!({})), "");
    assert_eq!(patch(json!({"apiVersion": "v1", "resource": "configmaps"})), "");
    // By its group, and in the core by its own name only.
    assert_eq!(patch(json!({"apiVersion": "metrics.k8s.io/v1", "resource": "pods"})), "");
    for (api_version, resource) in [
        ("apps/v1", "deployments"),
        ("apps/v1", "replicasets"),
        ("batch/v1", "jobs"),
        ("tidegate.dev/v1alpha1", "releases"),
        ("rbac.authorization.k8s.io/v1", "rolebindings"),
        ("v1", "pods"),
        ("v1", "secrets"),
        ("v1", "serviceaccounts"),
        ("v1", "replicationcontrollers"),
    ] {
        let words = format!(
            "spec.undo.hooks[1].patch: hooks change no {resource} of {api_version}: no workloads, pods, Jobs, Secrets, accounts, roles, nor Tidegate's own kinds; name another object, or leave the hook out"
        );
        assert_eq!(patch(json!({"apiVersion": api_version, "resource": resource})), words);
    }
    for odd in [
        "",
        "1",
        "v",
        "V1",
        "v1/",
        "/v1",
        "apps/v1/x",
        "../v1",
        "v1?x=y",
        "a b/v1",
        "Apps/v1",
        "-a/v1",
        "v1-x",
    ] {
        let words = format!(
            "spec.undo.hooks[1].patch.apiVersion: '{odd}' is no apiVersion: write v1 or core.openfeature.dev/v1beta1"
        );
        assert_eq!(patch(json!({"apiVersion": odd})), words);
    }
    for odd in [
        "",
        "Pods",
        "pods/exec",
        "configmaps/..",
        "-flags",
        "flags-",
        "flags?x",
        "namespaces/kube-system/pods",
    ] {
        let said = patch(json!({"resource": odd}));
        assert!(
            said.starts_with(&format!("spec.undo.hooks[1].patch.resource: '{odd}' is no resource: write")),
            "{said}"
        );
    }
    for odd in ["", "..", "../pods/shop", "shop/status", "shop?fieldManager=x", "Shop"] {
        let words = format!("spec.undo.hooks[1].patch.name: '{odd}' is not the name of an object");
        assert_eq!(patch(json!({"name": odd})), words);
    }
    for odd in [json!([]), json!("x"), Value::Null] {
        let words = "spec.undo.hooks[1].patch.patch: it is no object: write the fields that change, and null for what goes";
        assert_eq!(patch(json!({"patch": odd})), words);
    }
    let map = |name: &str, key: &str| {
        planned(json!({"name": "it", "configMap": {"name": name, "key": key, "value": "off"}}))
    };
    assert_eq!(map("flags", "payments.v2_x-y"), "");
    assert_eq!(
        map("../secrets/x", "a"),
        "spec.undo.hooks[1].configMap.name: '../secrets/x' is not the name of an object"
    );
    assert_eq!(
        map("flags", "a b"),
        "spec.undo.hooks[1].configMap.key: 'a b' is no key of a ConfigMap: write letters, digits, '-', '_' and '.'"
    );
}

#[test]
fn a_release_that_was_stored_with_a_hook_that_is_refused_goes_back_without_its_hooks() {
    let mut world = crashed(json!({}));
    world.until("a pod", |world| world.pods.iter().any(|pod| pod.crashing));
    let patch = json!({"apiVersion": "v1", "resource": "secrets", "name": "shop", "patch": {"data": null}});
    world.release.as_mut().unwrap()["undo"] = json!({"hooks": [{"name": "it", "patch": patch}]});
    let undo = ended(&mut world);
    assert!(undo.hooks.is_empty(), "{:?}", undo.hooks);
    assert_eq!((world.ready(), world.alive()), (4, 4));
}
