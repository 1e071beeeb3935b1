//! A Release that is gone by `onDelete: Finish`: what is out is finished. Where its run was going back, that comes to its end, and after it what was to be put
//! back then.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::ReleaseStatus;
use tidegate::api::status::Cause;

use super::left_behind::{is_its_owners_with, is_labelled, only, version};
use super::{blocker, quarter, quick};
use crate::world::{World, template};

/// Version 2 goes out, and is to be finished where its Release goes; and what the Deployment's spec was before.
fn goes_out(policy: bool) -> (World, Value) {
    let mut release = quick();
    release["onDelete"] = json!("Finish");
    release["capture"] = json!(if policy { "Policy" } else { "React" });
    let mut world = World::new(10, quarter(), release);
    world.policy = policy;
    let before = world.deployment()["spec"].clone();
    world.push(template("v2", false));
    (world, before)
}

/// Five of ten pods are of it.
fn half_way() -> (World, Value) {
    let (mut world, before) = goes_out(true);
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.ready_after = Duration::from_secs(5);
    (world, before)
}

/// The run of version 2 had too many pods, and is back for a while: stable is ordered.
fn had_too_many() -> (World, Value) {
    let (mut world, before) = goes_out(false);
    world.ready_after = Duration::from_secs(5);
    world.quiet_tick();
    world.until("too many", |world| {
        let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
        back.is_some_and(|back| back.cause == Cause::TooMany)
    });
    assert_eq!(version(&world), "v1", "{}", world.describe());
    (world, before)
}

/// Its Release goes, and this version is what all pods are of in the end.
fn is_left_with(mut world: World, wanted: &str, before: &Value) -> World {
    world.release = None;
    world.until("its owner's", |world| !is_labelled(world));
    world.scale(10);
    world.pass(Duration::from_secs(40));
    is_its_owners_with(&world, wanted, before);
    world
}

fn says(world: &World, words: &str) -> bool {
    world.notices.iter().any(|notice| notice.note.contains(words))
}

#[test]
fn what_is_out_is_finished_at_once() {
    let (world, before) = half_way();
    let world = is_left_with(world, "v2", &before);
    assert!(!says(&world, "goes back"), "{}", world.describe());
}

#[test]
fn a_newer_template_for_which_the_run_was_going_back_comes_after_stable() {
    let (mut world, before) = half_way();
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    let noted = &world.deployment()["metadata"]["annotations"]["tidegate.dev/on-delete"];
    assert_eq!(noted, "Finish", "{}", world.describe());
    let world = is_left_with(world, "v3", &before);
    assert!(says(&world, "which its owner has written meanwhile"), "{}", world.describe());
    assert!(says(&world, "which was to come after it, is rolled out, and not judged"));
}

#[test]
fn the_version_of_a_run_that_waits_for_replicas_is_finished() {
    let (mut world, before) = half_way();
    world.scale(0);
    world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    assert_eq!(version(&world), "v1", "{}", world.describe());
    let world = is_left_with(world, "v2", &before);
    assert!(says(&world, "which was to come after it, is rolled out, and not judged"));
}

#[test]
fn the_version_of_a_run_that_had_too_many_pods_is_finished_once_stable_stands() {
    let (world, before) = had_too_many();
    let world = is_left_with(world, "v2", &before);
    assert!(says(&world, "which its run was to go on with"), "{}", world.describe());
}

/// Somebody deletes what keeps version 2, or it was kept just now, and nobody has seen that yet: its name, and what it was.
fn keep_unseen(world: &mut World) -> (String, Value) {
    let kept = world.templates.iter().find(|(_, kept)| kept["metadata"]["annotations"]["version"] == "v2");
    let name = kept.map(|(name, _)| name.clone()).expect("it was kept");
    let kept = world.templates.remove(&name).expect("it was kept");
    (name, kept)
}

#[test]
fn the_version_of_a_run_that_is_not_seen_to_be_kept_yet_is_waited_for_and_lost_only_when_it_is_not_kept() {
    for seen in [true, false] {
        let (mut world, before) = had_too_many();
        let (name, kept) = keep_unseen(&mut world);
        world.release = None;
        world.pass(Duration::from_secs(20));
        assert!(is_labelled(&world) && version(&world) == "v1", "{}", world.describe());
        if seen {
            world.templates.insert(name.clone(), kept);
        }
        let world = is_left_with(world, if seen { "v2" } else { "v1" }, &before);
        if !seen {
            assert!(only(&world, "TemplateLost").contains(&name), "{}", world.describe());
        }
    }
}

#[test]
fn a_release_that_is_made_anew_waits_for_the_version_of_the_run_too_whatever_it_says_of_its_own_end() {
    for seen in [true, false] {
        let (mut world, _) = had_too_many();
        let (name, kept) = keep_unseen(&mut world);
        let mut anew = world.release.take().expect("a Release");
        anew.as_object_mut().expect("an object").remove("onDelete");
        world.status = ReleaseStatus::default();
        world.pass(Duration::from_secs(2));
        world.release = Some(anew);
        world.pass(Duration::from_secs(20));
        assert!(world.status.stable.is_none() && version(&world) == "v1", "{}", world.describe());
        if seen {
            world.templates.insert(name, kept);
            world.until("it is put back", |world| version(world) == "v2");
            let noted = &world.deployment()["metadata"]["annotations"]["tidegate.dev/on-delete"];
            assert!(noted.is_null(), "{}", world.describe());
            world.until("it is released", |world| world.status.run.is_some());
        } else {
            world.until("stable is taken", |world| world.status.stable.is_some());
            assert!(only(&world, "TemplateLost").contains(&name), "{}", world.describe());
        }
    }
}

#[test]
fn a_version_that_is_undone_is_not_finished_whether_or_not_stable_is_ordered_yet() {
    for ordered in [true, false] {
        let (mut world, before) = half_way();
        world.refuses.extend((!ordered).then_some("patch"));
        world.say("Abort");
        world.until("it goes back", |world| world.status.run.as_ref().is_some_and(|run| run.back.is_some()));
        assert_eq!(version(&world), if ordered { "v1" } else { "v2" }, "{}", world.describe());
        world.release = None;
        world.pass(Duration::from_secs(2));
        world.refuses.clear();
        is_left_with(world, "v1", &before);
    }
}

#[test]
fn a_newer_template_that_was_not_kept_on_the_way_back_is_told_to_be_lost_whatever_becomes_of_its_release() {
    for on_delete in ["Finish", "Undo"] {
        let (mut world, before) = half_way();
        world.release.as_mut().expect("a Release")["onDelete"] = json!(on_delete);
        world.refuses = vec!["keep"];
        world.push(template("v3", false));
        world.say("Abort");
        world.until("stable is ordered", |world| version(world) == "v1");
        let world = is_left_with(world, "v1", &before);
        let said = only(&world, "TemplateLost");
        assert!(said.ends_with("could not be kept: push it again"), "{on_delete}: {said}");
    }
}
