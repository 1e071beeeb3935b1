//! Stories in the small world: what is seen here is the same in milliseconds as on a real control plane in minutes.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::{Progress, Said};

use super::{World, template};

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn quarter() -> Value {
    rolling(json!("25%"), json!("25%"))
}

fn quick() -> Value {
    json!({
        "steps": [{"name": "tenth", "replicas": "10%", "soak": "5s"}, {"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

fn outcome(world: &World) -> String {
    world.status.last_run.as_ref().map(|last| format!("{:?}", last.outcome)).unwrap_or_default()
}

fn ends(world: &mut World, number: i64) -> String {
    world.until(&format!("the end of run {number}"), |world| {
        world.status.last_run.as_ref().is_some_and(|last| last.number >= number)
    });
    outcome(world)
}

#[test]
fn all_there_is_to_say_of_an_adopted_deployment_is_said_in_one_write() {
    let mut world = World::new(10, quarter(), quick());
    let (adopted, writes) = (world.status.clone(), world.status_writes);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.status_writes, writes, "{adopted:#?}\nand then\n{:#?}", world.status);
    assert_eq!(world.status.replicas.as_ref().map(|replicas| replicas.stable.ready), Some(10));
}

#[test]
fn a_good_version_goes_out_within_few_writes_and_the_spec_is_its_owners_again() {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment()["spec"].clone();
    let (writes, status_writes) = (world.writes_to_deployment, world.status_writes);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(60));
    let mut after = world.deployment()["spec"].clone();
    after["template"] = before["template"].clone();
    assert_eq!(after, before, "{}", world.describe());
    let (writes, status_writes) = (world.writes_to_deployment - writes, world.status_writes - status_writes);
    assert!(writes <= 14, "{writes} writes to the Deployment");
    assert!(status_writes <= 16, "{status_writes} writes of status");
    assert_eq!(world.phase(), "Idle");
}

#[test]
fn pods_that_crash_bring_the_old_version_back_at_once_and_a_held_template_stays_held() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", true));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.until("rejected", |world| world.phase() == "Rejected");
    assert_eq!(world.ready(), 10);
    for _ in 0..10 {
        world.push(template("v2", true));
        world.pass(Duration::from_secs(20));
        assert_eq!((world.alive(), world.ready()), (10, 10), "nothing starts: {}", world.describe());
    }
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn every_shape_of_surge_and_unavailable_goes_through_with_any_number_of_pods() {
    let shapes = [
        rolling(json!(0), json!(1)),
        rolling(json!(1), json!(0)),
        quarter(),
        rolling(json!("100%"), json!(0)),
        rolling(json!(2), json!(1)),
        rolling(json!(0), json!("100%")),
    ];
    for replicas in [1, 2, 3, 5, 10, 33] {
        for shape in &shapes {
            let mut world = World::new(replicas, shape.clone(), quick());
            world.push(template("v2", false));
            assert_eq!(ends(&mut world, 1), "Succeeded", "{replicas} {shape}\n{}", world.describe());
            world.push(template("v3", true));
            assert_eq!(ends(&mut world, 2), "Undone", "{replicas} {shape}\n{}", world.describe());
            world.pass(Duration::from_secs(10));
            assert_eq!(
                world.ready(),
                usize::try_from(replicas).unwrap(),
                "{replicas} {shape}\n{}",
                world.describe()
            );
        }
    }
}

#[test]
fn without_replicas_the_run_waits_and_starts_again_when_there_are() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.scale(0);
    world.until("no replicas", |world| {
        world.status.blocked_by.as_ref().is_some_and(|blocker| blocker.reason == "NoReplicas")
    });
    world.scale(10);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.ready(), 10);
}

#[test]
fn a_shrink_to_one_and_back_does_not_hand_everything_to_the_canary() {
    let mut world = World::new(2, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.scale(1);
    world.pass(Duration::from_secs(2));
    world.scale(3);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.ready(), 3);
}

#[test]
fn a_newer_template_in_mid_run_goes_back_first_and_then_out() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
}

#[test]
fn the_stable_template_put_back_by_its_owner_ends_the_run_and_rejects_nothing() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| world.status.step.as_ref().is_some_and(|step| step.name == "half"));
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(world.status.rejected.is_empty());
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn an_abort_goes_back_from_every_phase() {
    for phase in ["Moving", "Soaking", "Watching"] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", false));
        world.until(phase, |world| world.phase() == phase);
        world.say("Abort");
        assert_eq!(ends(&mut world, 1), "Aborted", "{phase}\n{}", world.describe());
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
        assert_eq!(world.ready(), 10, "{phase}");
    }
}

#[test]
fn recreate_changes_all_at_once_and_comes_back_when_it_crashes() {
    let release = json!({"watch": [{"for": "5s", "every": "1s"}]});
    let mut world = World::new(3, json!({"type": "Recreate"}), release);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.push(template("v3", true));
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.ready(), 3, "{}", world.describe());
}

#[test]
fn kept_paused_where_no_policy_is_served() {
    let mut world = World::new(4, quarter(), quick());
    world.policy = false;
    world.until("paused", |world| world.deployment()["spec"]["paused"] == true);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(5));
    assert_eq!(world.deployment()["spec"]["paused"], true);
    world.policy = true;
    world.until("not paused any more", |world| world.deployment()["spec"].get("paused").is_none());
}

#[test]
fn reacting_means_that_pods_which_had_started_go_back_before_the_run_begins() {
    let mut spec = quick();
    spec["capture"] = json!("React");
    let mut world = World::new(10, quarter(), spec);
    world.policy = false;
    world.push(template("v2", false));
    world.quiet_tick();
    assert!(world.sets.iter().any(|set| set.born > 1 && set.replicas > 0), "it had begun to roll");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

fn blocker(world: &World) -> (&str, &str) {
    world.status.blocked_by.as_ref().map_or(("", ""), |blocker| (&blocker.reason, &blocker.unblock))
}

/// In each mode in which the Deployment is not kept paused between runs.
fn owner_paused() -> [World; 2] {
    ["Policy", "React"].map(|capture| {
        let mut spec = quick();
        spec["capture"] = json!(capture);
        let mut world = World::new(10, quarter(), spec);
        world.policy = capture == "Policy";
        world
    })
}

/// The new template stands there, nothing moves, and it is said how to go on.
fn waits_for_the_owner(world: &mut World) {
    world.until("blocked", |world| blocker(world).0 == "PausedByOwner");
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(60));
    assert_eq!(blocker(world), ("PausedByOwner", "kubectl rollout resume deployment/shop -n ns"));
    assert!(world.status.run.is_none(), "{}", world.describe());
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    assert_eq!(world.writes_to_deployment, writes, "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["strategy"], quarter(), "{}", world.describe());
}

#[test]
fn a_new_template_under_a_pause_of_the_owners_waits_until_the_owner_resumes() {
    for mut world in owner_paused() {
        world.pause(true);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true, "{}", world.describe());
        world.push(template("v2", false));
        waits_for_the_owner(&mut world);
        world.push(template("v3", false));
        waits_for_the_owner(&mut world);
        let held = world.policy;
        world.pause(false);
        world.quiet_tick();
        assert!(!held || world.alive() == 10, "held in the write that resumes: {}", world.describe());
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        world.pass(Duration::from_secs(10));
        assert!(world.deployment()["spec"].get("paused").is_none(), "{}", world.describe());
        assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/held").is_none());
    }
}

#[test]
fn a_manifest_that_pauses_and_changes_the_template_in_one_write_starts_no_run() {
    for mut world in owner_paused() {
        let manifest = |version: &'static str, paused: bool| {
            move |spec: &mut Value| {
                spec["template"] = template(version, false);
                super::set_paused(spec, paused);
            }
        };
        world.write(manifest("v2", true));
        waits_for_the_owner(&mut world);
        // The stable template again: nothing waits any more, and the pause is still the owner's.
        world.write(manifest("v1", true));
        world.until("at rest", |world| world.phase() == "Idle");
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true);
        assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/held").is_none());
        world.write(manifest("v2", true));
        waits_for_the_owner(&mut world);
        world.write(manifest("v3", false));
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
        assert!(world.deployment()["spec"].get("paused").is_none(), "{}", world.describe());
    }
}

#[test]
fn a_breach_in_the_watch_goes_back_under_a_pause_of_the_owners_and_leaves_it_there() {
    for mut world in owner_paused() {
        world.push(template("v2", false));
        world.until("watching", |world| world.phase() == "Watching");
        world.pause(true);
        world.say("Abort");
        assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
        world.pass(Duration::from_secs(10));
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
        assert_eq!(world.deployment()["spec"]["paused"], true, "{}", world.describe());
        assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    }
}

#[test]
fn under_a_pause_of_the_owners_a_scale_up_from_nothing_starts_stable_pods_and_the_template_waits_on() {
    for mut world in owner_paused() {
        // Its ReplicaSet is there already, so that a scale-up would start it.
        world.push(template("v2", false));
        world.until("half", |world| world.status.step.as_ref().is_some_and(|step| step.name == "half"));
        world.push(template("v1", false));
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        world.until("at rest", |world| world.phase() == "Idle");
        world.pause(true);
        world.scale(0);
        world.pass(Duration::from_secs(3));
        world.push(template("v2", false));
        world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
        world.scale(10);
        world.until("ten pods", |world| world.ready() == 10);
        waits_for_the_owner(&mut world);
        assert_eq!(world.deployment()["spec"]["template"], template("v2", false));
        assert!(world.sets.iter().all(|set| set.replicas == 0 || set.template == template("v1", false)));
        world.pause(false);
        assert_eq!(ends(&mut world, 3), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn kept_paused_between_runs_a_pause_in_the_owners_manifest_holds_no_run_back() {
    for policy in [false, true] {
        let mut spec = quick();
        spec["capture"] = json!("Paused");
        let mut world = World::new(4, quarter(), spec);
        world.policy = policy;
        world.pause(true);
        world.push(template("v2", false));
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true);
    }
}

#[test]
fn a_template_that_never_ran_is_not_taken_for_stable_while_its_owner_pauses_it_without_replicas() {
    for mut world in owner_paused() {
        world.pause(true);
        world.push(template("v2", true));
        waits_for_the_owner(&mut world);
        world.status = tidegate::api::ReleaseStatus::default();
        world.scale(0);
        world.pass(Duration::from_secs(10));
        assert!(world.status.stable.is_none(), "{}", world.describe());
        assert_eq!(blocker(&world), ("AwaitingStable", "kubectl rollout resume deployment/shop -n ns"));
    }
}

#[test]
fn an_undo_to_a_version_of_which_no_pod_ever_starts_says_so_and_what_to_do() {
    let mut world = World::new(10, quarter(), quick());
    world.scale(0);
    world.push(template("v2", true));
    world.status = tidegate::api::ReleaseStatus::default();
    world.until("taken for stable", |world| {
        world.status.stable.is_some() && world.deployment()["spec"]["template"] == template("v2", true)
    });
    world.scale(10);
    world.pass(Duration::from_secs(20));
    world.push(template("v3", false));
    world.until("a run", |world| world.status.run.is_some());
    world.pass(Duration::from_secs(20));
    world.say("Abort");
    world.until("blocked", |world| blocker(world).0 == "StablePodsFailing");
    let unblock = blocker(&world).1.to_owned();
    assert!(unblock.contains("kubectl describe pod p") && unblock.contains("hand-back"), "{unblock}");
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert!(message.starts_with("10 of 10 stable pods: CrashLoopBackOff (pod p"), "{message}");
    assert!(
        unblock.ends_with("push a template that starts, kubectl tidegate resume shop -n ns"),
        "{unblock}"
    );
    assert_eq!(world.phase(), "Undoing", "{}", world.describe());
    // Whatever else is said at three in the morning, the answer names what helps.
    for (place, action) in ["Retry", "Skip", "Abort", "Pause", "Resume"].into_iter().enumerate() {
        world.say(action);
        world.until("answered", |world| world.actions[place + 1]["status"]["message"].is_string());
        let answer = world.actions[place + 1]["status"]["message"].as_str().unwrap();
        assert!(answer.contains("once its stable pods are Ready"), "{action}: {answer}");
        assert!(answer.contains("kubectl tidegate hand-back shop -n ns --reason"), "{action}: {answer}");
    }
    world.say("HandBack");
    assert_eq!(ends(&mut world, 1), "HandedBack", "{}", world.describe());
    // What its owner pushes then is the native controller's (without the label the policies do not know it), and what a resume finds is stable.
    world.policy = false;
    world.write(|spec| {
        spec["template"] = template("v4", false);
        spec.as_object_mut().unwrap().remove("paused");
    });
    world.until("another version serves", |world| world.ready() == 10);
    world.policy = true;
    world.say("Resume");
    world.until("at rest", |world| world.phase() == "Idle" && world.status.stable.is_some());
    let rest = world.deployment()["spec"]["template"].clone();
    assert_eq!((rest, world.ready()), (template("v4", false), 10), "{}", world.describe());
}

#[test]
fn stable_pods_that_were_mended_end_an_undo_that_waited_for_them() {
    let mut world = World::new(4, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    let stable = template("v1", false);
    let crash = |world: &mut World, crashing: bool| {
        let set = world.sets.iter().find(|set| set.template == stable).unwrap().name.clone();
        for pod in world.pods.iter_mut().filter(|pod| pod.set == set) {
            pod.crashing = crashing;
            pod.ready_since = None;
        }
    };
    crash(&mut world, true);
    world.say("Abort");
    world.until("blocked", |world| blocker(world).0 == "StablePodsFailing");
    world.pass(Duration::from_secs(30));
    assert_eq!(world.phase(), "Undoing", "{}", world.describe());
    crash(&mut world, false);
    assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
    assert_eq!((world.ready(), world.alive()), (4, 4));
}

#[test]
fn a_hold_that_comes_late_takes_no_stable_pod_away() {
    let mut spec = quick();
    spec["capture"] = json!("React");
    let mut world = World::new(10, quarter(), spec);
    world.policy = false;
    world.push(template("v2", false));
    world.quiet_tick();
    let stable =
        |world: &World| world.sets.iter().find(|set| set.template == template("v1", false)).unwrap().replicas;
    assert_eq!(
        (stable(&world), world.alive()),
        (8, 13),
        "the native controller has begun: {}",
        world.describe()
    );
    world.until("no canary pod", |world| {
        assert!(stable(world) >= 8, "{}", world.describe());
        world.alive() == 10 && world.ready() == 10
    });
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_hold_of_what_came_at_the_last_moment_of_the_way_back_takes_no_stable_pod_away() {
    let mut spec = quick();
    spec["capture"] = json!("React");
    let mut world = World::new(10, quarter(), spec);
    world.policy = false;
    world.push(template("v2", false));
    let back = |world: &World| world.status.run.as_ref().and_then(|run| run.back.clone());
    world.until("stable stands again", |world| back(world).is_some_and(|back| back.restored_at.is_some()));
    world.push(template("v3", false));
    world.quiet_tick();
    let begun = world.sets.iter().any(|set| set.template == template("v3", false));
    assert!(begun, "the native controller has begun: {}", world.describe());
    while world.status.last_run.as_ref().is_none_or(|last| last.number < 2) {
        let stable = world.sets.iter().find(|set| set.template == template("v1", false)).unwrap().replicas;
        let begun = world.status.step.is_some();
        assert!(stable >= 8 || begun, "{}", world.describe());
        world.tick();
    }
    assert_eq!(outcome(&world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_rejected_template_that_comes_again_without_replicas_leaves_the_owners_fields_as_they_are() {
    for (capture, policy) in [("Policy", true), ("React", false), ("Paused", false)] {
        let mut spec = quick();
        spec["capture"] = json!(capture);
        let mut world = World::new(10, quarter(), spec);
        world.policy = policy;
        world.push(template("v2", true));
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        world.until("at rest", |world| world.phase() == "Rejected");
        world.pass(Duration::from_secs(5));
        let before = world.deployment()["spec"].clone();
        for replicas in [0, 10] {
            world.scale(replicas);
            world.pass(Duration::from_secs(5));
            world.push(template("v2", true));
            world.pass(Duration::from_secs(20));
            assert_eq!(world.ready(), usize::try_from(replicas).unwrap(), "{}", world.describe());
        }
        world.push(template("v1", false));
        world.pass(Duration::from_secs(20));
        assert_eq!(world.deployment()["spec"], before, "{capture}\n{}", world.describe());
    }
}

#[test]
fn pods_of_a_rejected_template_that_started_before_it_was_held_go_also_where_the_deployment_is_kept_paused() {
    let mut spec = quick();
    spec["capture"] = json!("Paused");
    let mut world = World::new(10, quarter(), spec);
    world.policy = false;
    world.push(template("v2", true));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.until("at rest", |world| world.phase() == "Rejected");
    world.pass(Duration::from_secs(5));
    let before = world.deployment()["spec"].clone();
    // Somebody resumes it, and nobody looks.
    world.push(template("v2", true));
    world.pause(false);
    world.quiet_tick();
    assert!(world.alive() > 10 || world.ready() < 10, "it had begun to roll: {}", world.describe());
    world.pass(Duration::from_secs(20));
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    world.push(template("v1", false));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
}

#[test]
fn a_release_that_loses_its_status_finds_the_owners_fields_again() {
    for phase in ["Preflight", "Moving", "Soaking", "Undoing"] {
        // Stable pods take their time on the way back.
        let mut world = World::new(10, rolling(json!(0), json!(2)), quick());
        let before = world.deployment()["spec"].clone();
        world.push(template("v2", phase == "Undoing"));
        world.until(phase, |world| world.phase() == phase);
        world.status = tidegate::api::ReleaseStatus::default();
        world.until("adopted", |world| world.status.stable.is_some());
        world.until("an end", |world| world.status.last_run.is_some() || world.phase() == "Idle");
        world.pass(Duration::from_secs(90));
        world.push(template("v1", false));
        world.pass(Duration::from_secs(90));
        assert_eq!(world.deployment()["spec"], before, "{phase}\n{}", world.describe());
        assert_eq!(world.ready(), 10, "{phase}\n{}", world.describe());
    }
}

#[test]
fn annotations_of_an_old_replica_set_say_nothing_of_the_owners_fields_when_it_is_taken_up_again() {
    let mut world = World::new(4, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    let old = world.deployment()["metadata"]["annotations"].clone();
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(5));
    world.say("HandBack");
    world.until("handed back", |world| blocker(world).0 == "HandedBack");
    let edited = rolling(json!(2), json!(1));
    world.policy = false;
    world.write(|spec| spec["strategy"] = edited.clone());
    world.deployment.as_mut().unwrap()["metadata"]["annotations"] = old;
    world.policy = true;
    world.say("Resume");
    world.until("adopted", |world| world.status.stable.is_some());
    world.pass(Duration::from_secs(5));
    assert_eq!(world.deployment()["spec"]["strategy"], edited, "{}", world.describe());
    assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/originals").is_none());
}

#[test]
fn annotations_of_an_old_replica_set_say_nothing_of_the_owners_fields_in_the_watch() {
    let mut spec = quick();
    spec["capture"] = json!("React");
    let mut world = World::new(4, quarter(), spec);
    world.policy = false;
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    let old = world.deployment()["metadata"]["annotations"].clone();
    world.until("watching", |world| world.phase() == "Watching");
    let edited = rolling(json!(2), json!(1));
    world.write(|spec| spec["strategy"] = edited.clone());
    world.look();
    // `kubectl rollout undo`
    world.deployment.as_mut().unwrap()["metadata"]["annotations"] = old;
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.deployment()["spec"]["strategy"], edited, "{}", world.describe());
}

#[test]
fn a_release_deleted_in_mid_run_goes_back_and_gives_the_deployment_back() {
    for phase in ["Preflight", "Moving", "Soaking", "Undoing"] {
        let mut world = World::new(10, quarter(), quick());
        let before = world.deployment()["spec"].clone();
        world.push(template("v2", phase == "Undoing"));
        world.until(phase, |world| world.phase() == phase);
        world.release = None;
        world.until("given back", |world| {
            world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none()
        });
        assert_eq!(world.deployment()["spec"], before, "{phase}\n{}", world.describe());
        world.pass(Duration::from_secs(3));
        assert_eq!((world.ready(), world.alive()), (10, 10), "{phase}\n{}", world.describe());
        assert!(world.templates.is_empty());
    }
}

#[test]
fn a_deployment_without_our_label_has_nothing_of_ours_left_also_when_the_operator_goes_at_once() {
    for phase in ["Idle", "Preflight", "Moving", "Soaking", "Undoing"] {
        let mut world = World::new(10, quarter(), quick());
        let before = world.deployment()["spec"].clone();
        if phase != "Idle" {
            world.push(template("v2", phase == "Undoing"));
            world.until(phase, |world| world.phase() == phase);
        }
        world.release = None;
        for _ in 0..6000 {
            if world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none() {
                break;
            }
            world.dies_after = Some(1);
            world.tick();
        }
        assert_eq!(world.deployment()["spec"], before, "{phase}\n{}", world.describe());
        assert!(world.templates.is_empty(), "{phase}: {:?}", world.templates.keys());
    }
}

#[test]
fn killed_after_any_write_it_comes_to_the_same_end() {
    for bad in [false, true] {
        // Every second look, and every one of up to two writes in it: all of them take minutes without optimisation.
        for nth_look in (0..40).step_by(2) {
            for after in 0..2 {
                let mut world = World::new(5, quarter(), quick());
                world.push(template("v2", bad));
                // Die in the nth look that writes anything, after some of its writes.
                let mut looks = 0;
                while world.status.last_run.is_none() {
                    world.quiet_tick();
                    let mut rehearsal = World { dies_after: Some(0), ..world.copy() };
                    let decision = rehearsal.look();
                    if !decision.intents.is_empty() || decision.status.is_some() {
                        if looks == nth_look {
                            world.dies_after = Some(after);
                        }
                        looks += 1;
                    }
                    world.look();
                    assert!(looks < 500, "{}", world.describe());
                }
                world.pass(Duration::from_secs(10));
                let wanted = if bad { "Undone" } else { "Succeeded" };
                assert_eq!(outcome(&world), wanted, "look {nth_look} after {after}\n{}", world.describe());
                assert_eq!((world.ready(), world.alive()), (5, 5), "look {nth_look} after {after}");
                assert_eq!(
                    world.deployment()["spec"]["strategy"],
                    quarter(),
                    "look {nth_look} after {after}\n{}",
                    world.describe()
                );
                if nth_look >= looks {
                    return;
                }
            }
        }
    }
}

/// `quick` with these criteria, and soaks in which something can be seen.
fn with_criteria(criteria: Value) -> Value {
    let mut spec = quick();
    spec["criteria"] = criteria;
    spec["steps"][1]["soak"] = json!("60s");
    spec
}

fn memory() -> Value {
    json!([{"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 100", "target": "value < 80"}}])
}

fn at_half(world: &mut World) {
    world.until("half", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "half")
    });
}

fn canary_pods(world: &mut World) -> impl Iterator<Item = &mut tidegate_sim::native::Pod> {
    let newest = world.sets.iter().max_by_key(|set| set.born).map(|set| set.name.clone());
    world.pods.iter_mut().filter(move |pod| Some(&pod.set) == newest.as_ref())
}

#[test]
fn a_number_over_its_limit_brings_the_old_version_back_and_one_bad_reading_does_not() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.memory = Some(50.0);
    world.push(template("v2", false));
    at_half(&mut world);
    world.memory = Some(500.0);
    world.pass(Duration::from_secs(6));
    world.memory = Some(50.0);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    world.push(template("v3", false));
    at_half(&mut world);
    world.memory = Some(500.0);
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    let last = world.status.last_run.clone().expect("a run has ended");
    assert!(
        last.message
            .starts_with("memory: The value is 500 (pod pod): breaches the limit (value > 100) for 15 s"),
        "{}",
        last.message
    );
    let undo = last.undo.expect("it went back");
    let breached = undo.breach_at.expect("there was a breach").0;
    let seconds = undo.decided_at.0.duration_since(breached).as_secs();
    assert!((15..=20).contains(&seconds), "decided {seconds} s after the first bad reading");
    assert_eq!((world.ready(), world.alive()), (4, 4));
}

#[test]
fn a_number_between_target_and_limit_holds_and_what_is_not_read_neither_passes_nor_undoes() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.push(template("v2", false));
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held without a number", |world| blocked(world).as_deref() == Some("NotEnoughEvidence"));
    world.pass(Duration::from_secs(60));
    assert_eq!(blocked(&world).as_deref(), Some("NotEnoughEvidence"), "{}", world.describe());
    world.memory = Some(90.0);
    world.until("held over its target", |world| blocked(world).as_deref() == Some("AboveTarget"));
    let verdict = world.status.verdicts.first().cloned().expect("a verdict");
    let numbers = (verdict.value.as_deref(), verdict.target.as_str(), verdict.limit.as_str());
    assert_eq!(numbers, (Some("90"), "value < 80", "value > 100"));
    assert_eq!((verdict.counted.as_str(), verdict.source.as_str()), ("samples", "rss of each canary pod"));
    world.memory = Some(70.0);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_hold_over_the_target_is_skipped_by_who_says_so_and_no_other_hold_with_it() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.memory = Some(90.0);
    world.push(template("v2", false));
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held over its target", |world| blocked(world).as_deref() == Some("AboveTarget"));
    let step = world.status.step.clone().expect("a step");
    world.say("Skip");
    world.until("held in the next step", |world| {
        let is_next = world.status.step.as_ref().is_some_and(|now| now.index > step.index);
        is_next && blocked(world).as_deref() == Some("AboveTarget")
    });
    let passed = world.status.run.clone().expect("a run").passed;
    assert_eq!(passed.last().and_then(|passed| passed.skipped_by.as_deref()), Some("alice"));
    for later in ["all", "watch"] {
        world.say("Skip");
        world.until("held there, too", |world| {
            world.status.step.as_ref().is_some_and(|now| now.name == later)
                && blocked(world).as_deref() == Some("AboveTarget")
        });
    }
    let said = |reason: &str| Progress {
        skipped: Some(Said { by: "alice".into(), at: passed[0].left, reason: "because".into() }),
        skipped_hold: Some(reason.to_owned()),
        ..Progress::default()
    };
    world.status.run.as_mut().expect("a run").progress = said("NoMeasurements");
    world.pass(Duration::from_secs(10));
    assert_eq!(blocked(&world).as_deref(), Some("AboveTarget"), "it was said of another hold");
    world.status.run.as_mut().expect("a run").progress = said("AboveTarget");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_criterion_in_the_shadow_or_that_only_notifies_stops_nothing() {
    for more in [json!({"shadow": true}), json!({"onLimit": "Notify"})] {
        let mut criteria = memory();
        criteria[0]["value"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut world = World::new(4, quarter(), with_criteria(criteria));
        world.memory = Some(500.0);
        world.push(template("v2", false));
        at_half(&mut world);
        world.pass(Duration::from_secs(30));
        assert_eq!(world.status.verdicts[0].verdict, "Breach", "{}", world.describe());
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn restarts_and_lost_readiness_of_canary_pods_bring_the_old_version_back() {
    let criteria = json!([
        {"name": "ready", "availability": {"limit": "90%", "for": "20s"}},
        {"name": "restarts", "restarts": {"limit": 1}},
    ]);
    let mut world = World::new(4, quarter(), with_criteria(criteria));
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    world.push(template("v3", false));
    at_half(&mut world);
    canary_pods(&mut world).for_each(|pod| pod.restarts = 1);
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    let message = world.status.last_run.clone().expect("ended").message;
    let expected =
        "restarts: Containers of the canary's pods were restarted 2 times: more than the limit of 1.";
    assert_eq!(message, expected);

    world.push(template("v4", false));
    at_half(&mut world);
    let since = world.now;
    while world.status.last_run.as_ref().is_some_and(|last| last.number < 3) {
        // As a pod that is Ready and then is not any more.
        let now = world.now;
        if let Some(pod) = canary_pods(&mut world).next() {
            (pod.ready_since, pod.born) = (None, now);
        }
        world.tick();
        assert!(world.now < since + Duration::from_secs(120), "{}", world.describe());
    }
    let last = world.status.last_run.clone().expect("ended");
    assert_eq!(outcome(&world), "Undone");
    let expected = "ready: 50% of the canary's pods are Ready: below the limit of 90% for 20 s.";
    assert_eq!(last.message, expected);
}

#[test]
fn a_long_watch_of_the_pods_status_writes_nothing() {
    let criteria = json!([{"name": "ready", "availability": {"limit": "90%"}}, {"name": "restarts", "restarts": {"limit": 1}}]);
    let mut spec = with_criteria(criteria);
    spec["watch"] = json!([{"for": "1h", "every": "30m"}]);
    let mut world = World::new(3, quarter(), spec);
    world.push(template("v2", false));
    world.until("watching", |world| world.phase() == "Watching");
    world.pass(Duration::from_secs(20));
    let writes = world.status_writes;
    world.pass(Duration::from_secs(40));
    assert_eq!(world.status_writes - writes, 0, "{}", world.describe());
    let verdicts: Vec<_> = world.status.verdicts.iter().map(|verdict| verdict.verdict.as_str()).collect();
    assert_eq!(verdicts, ["Pass", "Pass"]);
}

#[test]
fn a_container_killed_for_its_memory_brings_the_old_version_back_at_once() {
    let mut world = World::new(4, quarter(), with_criteria(json!([])));
    world.push(template("v2", false));
    at_half(&mut world);
    // It runs again by now: that it was killed stands in its last state.
    if let Some(pod) = canary_pods(&mut world).next() {
        (pod.restarts, pod.ended) = (1, Some("OOMKilled"));
    }
    let since = world.now;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let last = world.status.last_run.clone().expect("ended");
    assert!(last.message.starts_with("1 of 2 canary pods: OOMKilled (pod "), "{}", last.message);
    let decided = last.undo.expect("it went back").decided_at.0;
    assert!(decided.duration_since(since).as_secs() < 1, "{decided}");
}
