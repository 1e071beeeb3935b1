//! What is not as it should be where a run goes back, ends or is taken up again: the owner's fields and the stable pods come through.

use std::time::Duration;

use serde_json::json;

use tidegate::decide::Intent;

use super::{blocker, ends, outcome, quarter, quick, rolling};
use crate::world::{World, orders, template};

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
fn stable_pods_that_do_not_come_after_a_scale_up_are_said_not_to_when_their_deadline_is_over() {
    let mut world = World::new(4, quarter(), quick());
    world.scale(0);
    world.pass(Duration::from_secs(3));
    world.push(template("v2", false));
    world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    world.ready_after = Duration::from_secs(1000);
    world.scale(4);
    world.until("waiting", |world| blocker(world).0 == "StablePodsNotReady");
    world.pass(Duration::from_secs(590));
    assert_eq!(blocker(&world).0, "StablePodsNotReady", "{}", world.describe());
    world.pass(Duration::from_secs(20));
    assert_eq!(blocker(&world).0, "StablePodsFailing", "{}", world.describe());
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert_eq!(message, "0 of 4 stable pods are Ready, 600 s without progress after the scale-up");
    world.ready_after = Duration::from_secs(1);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
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

/// In the first soak, without the ControllerRevision that keeps the stable template.
fn without_its_stable_template() -> World {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("a soak", |world| world.phase() == "Soaking");
    let stable = world.deployment()["metadata"]["annotations"]["tidegate.dev/stable"].clone();
    world.templates.remove(stable.as_str().unwrap()).expect("it was kept");
    world
}

#[test]
fn a_run_whose_status_and_stable_template_are_lost_stands_still_until_somebody_takes_it_in_hand() {
    let mut world = without_its_stable_template();
    world.status = tidegate::api::ReleaseStatus::default();
    world.until("held", |world| blocker(world).0 == "StableTemplateLost");
    world.pass(Duration::from_secs(60));
    let new = world.deployment()["spec"]["template"].clone();
    let of_new = world.sets.iter().filter(|set| set.template == new).map(|set| set.replicas).sum::<i32>();
    assert_eq!((of_new, world.ready()), (1, 10), "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["paused"], true);
    assert!(blocker(&world).1.contains("hand-back"), "{}", world.describe());
    world.say("HandBack");
    world.until("handed back", |world| blocker(world).0 == "HandedBack");
    world.pass(Duration::from_secs(20));
    assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/originals").is_none());
    assert_eq!(world.deployment()["spec"]["strategy"], quarter(), "{}", world.describe());
}

#[test]
fn a_deployment_whose_release_and_stable_template_are_gone_is_left_as_it_stands() {
    let mut world = without_its_stable_template();
    world.release = None;
    world.until("its owner's again", |world| {
        world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none()
    });
    world.pass(Duration::from_secs(20));
    let new = world.deployment()["spec"]["template"].clone();
    let of_new = world.sets.iter().filter(|set| set.template == new).map(|set| set.replicas).sum::<i32>();
    // Paused, the native controller fills up to the owner's surge, with pods of both revisions in proportion.
    assert_eq!((of_new, world.ready()), (1, 13), "{}", world.describe());
    let mut spec = world.deployment()["spec"].clone();
    assert_eq!(spec.as_object_mut().unwrap().remove("paused"), Some(json!(true)));
    assert_eq!((&spec["strategy"], spec.get("minReadySeconds")), (&quarter(), None));
    assert!(world.templates.is_empty());
}

#[test]
fn another_template_under_the_name_of_the_stable_one_is_not_gone_back_to() {
    // `deleted`: the Release; else its status is lost.
    for deleted in [true, false] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", false));
        world.until("a soak", |world| world.phase() == "Soaking");
        let stable = world.deployment()["metadata"]["annotations"]["tidegate.dev/stable"].clone();
        let stable = stable.as_str().expect("it is noted").to_owned();
        world.templates.insert(stable.clone(), template("another", false)).expect("it was kept");
        world.orphaned_templates = true;
        let lost = format!("ControllerRevision {stable} with the stable template holds another template now");
        if deleted {
            world.release = None;
            world.until("its owner's again", |world| {
                world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none()
            });
            let told = world.notices.iter().find(|notice| notice.reason == "StableTemplateLost");
            assert!(told.is_some_and(|notice| notice.note.contains(&lost)), "{}", world.describe());
        } else {
            world.status = tidegate::api::ReleaseStatus::default();
            world.until("held", |world| blocker(world).0 == "StableTemplateLost");
            let message = world.status.blocked_by.as_ref().map(|blocker| blocker.message.as_str());
            assert!(message.is_some_and(|message| message.contains(&lost)), "{message:?}");
        }
        world.pass(Duration::from_secs(20));
        let spec = &world.deployment()["spec"];
        assert_eq!((&spec["template"], &spec["paused"]), (&template("v2", false), &json!(true)));
    }
}

#[test]
fn a_kept_template_without_an_owner_is_as_good_as_one_with() {
    let mut world = World::new(10, quarter(), quick());
    world.orphaned_templates = true;
    world.push(template("v2", true));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
}

#[test]
fn a_label_that_somebody_writes_while_their_deployment_is_taken_up_stays() {
    let mut world = World::new(10, quarter(), quick());
    world.status = tidegate::api::ReleaseStatus::default();
    world.templates.clear();
    let metadata = world.deployment.as_mut().unwrap()["metadata"].as_object_mut().unwrap();
    metadata.remove("labels");
    // What the operator orders is on its way.
    world.dies_after = Some(0);
    let ordered = world.look().intents;
    let patch = ordered.iter().find_map(|intent| match intent {
        Intent::PatchWorkload { patch, .. } => Some(patch),
        _ => None,
    });
    let patch = patch.unwrap_or_else(|| panic!("it is taken up: {ordered:?}"));
    let mut alone = world.deployment().clone();
    orders::apply(&mut alone, patch).expect("nobody has written it");
    assert_eq!(alone["metadata"]["labels"], json!({"tidegate.dev/release": "shop"}));
    // The first label that there is: no generation tells of it.
    world.deployment.as_mut().unwrap()["metadata"]["labels"] = json!({"team": "shop"});
    let outcome = orders::apply(&mut world.deployment().clone(), patch);
    assert!(outcome.is_err(), "{patch:?}");
    world.until("adopted", |world| world.status.stable.is_some());
    let labels = &world.deployment()["metadata"]["labels"];
    assert_eq!(*labels, json!({"team": "shop", "tidegate.dev/release": "shop"}), "{}", world.describe());
}
