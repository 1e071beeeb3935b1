//! Somebody takes the label off in the middle of a run: it comes back, and whoever needs it meanwhile finds the Deployment by what is kept for it. Where
//! everything of ours went with it, the Deployment was handed back by hand. And a copy that was made with the label is nobody's.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::{Outcome, Phase, ReleaseStatus};
use tidegate::decide::{Intent, Key};
use tidegate::observe::observe;
use tidegate::observe::reading::Reading;
use tidegate::watch::again::Again;
use tidegate::watch::index;
use tidegate::watch::slim::StoredTemplate;

use super::left_behind::{half_way, is_its_owners_with, is_labelled, new_release, seen_by, version};
use super::{blocker, ends, quarter, quick, rolling};
use crate::world::orders::apply;
use crate::world::{World, template};

const LABEL: &str = "tidegate.dev/release";
const NOTED: [&str; 4] =
    ["tidegate.dev/originals", "tidegate.dev/stable", "tidegate.dev/on-delete", "tidegate.dev/held"];

/// Takes the label off. The API server raises no generation for that.
fn take_off_label(world: &mut World) {
    let labels = &mut world.deployment.as_mut().unwrap()["metadata"]["labels"];
    labels.as_object_mut().unwrap().remove(LABEL);
}

/// The line of the manual: the owner's fields, and nothing of ours but who has changed the template.
fn hand_back_by_hand(world: &mut World, before: &Value) {
    take_off_label(world);
    let deployment = world.deployment.as_mut().unwrap();
    let template = deployment["spec"]["template"].take();
    deployment["spec"] = before.clone();
    deployment["spec"]["template"] = template;
    let metadata = &mut deployment["metadata"];
    let annotations = metadata["annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| !NOTED.contains(&name.as_str()));
    metadata["generation"] = json!(metadata["generation"].as_i64().unwrap() + 1);
}

fn come_to_the_watch() -> World {
    let spec =
        json!({"steps": [{"name": "all", "replicas": "100%"}], "watch": [{"for": "1h", "every": "1s"}]});
    let mut world = World::new(10, quarter(), spec);
    world.push(template("v2", false));
    world.until("watched", |world| world.phase() == "Watching");
    world.pass(Duration::from_secs(2));
    world
}

#[test]
fn a_label_that_is_taken_off_in_a_run_is_put_back_by_one_write_and_the_run_goes_on() {
    for mut world in [half_way().0, come_to_the_watch()] {
        let (phase, writes) = (world.phase(), world.writes_to_deployment);
        take_off_label(&mut world);
        world.tick();
        assert!(is_labelled(&world), "{}", world.describe());
        assert_eq!((world.phase(), world.writes_to_deployment), (phase, writes + 1), "{}", world.describe());
    }
}

#[test]
fn a_tool_that_takes_it_off_again_and_again_keeps_no_run_from_its_end_and_is_answered_once_each_time() {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment()["spec"].clone();
    world.push(template("v2", false));
    world.until("a run", |world| world.status.run.is_some());
    let (mut times, writes) = (0, world.writes_to_deployment);
    while world.status.run.is_some() {
        assert!(times < 6000, "{}", world.describe());
        take_off_label(&mut world);
        times += 1;
        world.tick();
    }
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    let answers = world.writes_to_deployment - writes;
    assert!(answers <= times, "{answers} writes, and it was taken off {times} times");
    world.pass(Duration::from_secs(5));
    let mut after = world.deployment()["spec"].clone();
    after["template"] = before["template"].clone();
    assert_eq!(after, before, "{}", world.describe());
}

#[test]
fn a_release_that_is_deleted_while_the_label_is_off_goes_back_and_gives_the_deployment_back() {
    let recreate = || {
        let spec = json!({"steps": [{"name": "all", "replicas": "100%"}]});
        let mut world = World::new(10, json!({"type": "Recreate"}), spec);
        let before = world.deployment()["spec"].clone();
        world.ready_after = Duration::from_secs(5);
        world.push(template("v2", false));
        world.until("held", |world| world.status.run.is_some());
        (world, before)
    };
    for (mut world, before) in [half_way(), recreate()] {
        take_off_label(&mut world);
        world.release = None;
        world.look();
        assert!(is_labelled(&world), "people find it: {}", world.describe());
        world.until("given back", |world| !is_labelled(world));
        world.pass(Duration::from_secs(10));
        is_its_owners_with(&world, "v1", &before);
    }
}

#[test]
fn so_does_one_that_is_deleted_on_its_way_back() {
    let (mut world, before) = half_way();
    world.ready_after = Duration::from_secs(20);
    world.say("Abort");
    world.until("on its way back", |world| version(world) == "v1");
    world.tick();
    assert_eq!(world.phase(), "Undoing");
    take_off_label(&mut world);
    world.release = None;
    world.pass(Duration::from_secs(60));
    is_its_owners_with(&world, "v1", &before);
}

#[test]
fn another_release_of_the_deployment_waits_until_one_that_is_gone_has_given_it_back() {
    let (mut world, before) = half_way();
    world.others.push(new_release("second", "shop"));
    take_off_label(&mut world);
    assert_eq!(seen_by(&mut world, "second").rival.as_deref(), Some("shop"), "it is in its run");
    world.release = None;
    assert_eq!(seen_by(&mut world, "second").rival.as_deref(), Some("shop"), "it is to be given back");
    world.until("given back", |world| is_labelled(world) && version(world) == "v1");
    world.until("given back", |world| !is_labelled(world));
    world.pass(Duration::from_secs(5));
    is_its_owners_with(&world, "v1", &before);
    assert_eq!(seen_by(&mut world, "second").rival, None);
}

#[test]
fn the_template_that_a_deployment_in_mid_run_would_go_back_to_is_kept_whoever_has_it_in_hand() {
    let (mut world, _) = half_way();
    world.others.push(new_release("second", "shop"));
    world.deployment.as_mut().unwrap()["metadata"]["labels"][LABEL] = json!("second");
    world.release = None;
    let kept = world.templates.clone();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.templates, kept, "{}", world.describe());
}

#[test]
fn a_release_that_is_gone_takes_no_deployment_without_a_label_out_of_the_run_of_another() {
    let (mut world, _) = half_way();
    take_off_label(&mut world);
    let mut all = world.index();
    // Not the one that it would go back to.
    let kept = json!({
        "metadata": {
            "name": "former", "namespace": "ns", "uid": "uid-former", "labels": {LABEL: "former"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop",
                "uid": world.deployment()["metadata"]["uid"],
            }],
        },
        "data": template("v0", false),
    });
    index::apply::<StoredTemplate>(&mut all, serde_json::from_value(kept).expect("a template"));
    let mut target_of = |release: &str| {
        let key = Key { namespace: "ns".into(), name: release.into() };
        let seen = observe(&all, &Again::default(), &Reading::default(), &key, world.findings(), world.now);
        let seen = seen.expect("nothing is an outline");
        (seen.target.map(|target| target.name), seen.templates.len())
    };
    assert_eq!(target_of("former"), (None, 0), "nor is what it has kept dropped meanwhile");
    assert_eq!(target_of("shop").0.as_deref(), Some("shop"));
}

#[test]
fn a_deployment_that_was_handed_back_by_hand_is_not_gone_back_from() {
    for fixed in [rolling(json!(1), json!(0)), quarter()] {
        let mut world = World::new(10, fixed, quick());
        let before = world.deployment()["spec"].clone();
        world.push(template("v2", false));
        world.until("soaked", |world| world.phase() == "Soaking");
        hand_back_by_hand(&mut world, &before);
        for _ in 0..300 {
            world.quiet_tick();
        }
        world.begin_anew();
        world.pass(Duration::from_secs(60));
        assert_eq!(version(&world), "v2", "{}", world.describe());
        assert_eq!(world.status.last_run.as_ref().map(|last| last.outcome), Some(Outcome::HandedBack));
        assert_eq!((world.status.phase, blocker(&world).0), (Some(Phase::Idle), "HandedBack"));
        assert!(!is_labelled(&world), "{}", world.describe());
        let mut after = world.deployment()["spec"].clone();
        after["template"] = before["template"].clone();
        assert_eq!(after, before, "{}", world.describe());
        world.say("Resume");
        world.until("taken up again", |world| is_labelled(world) && world.status.stable.is_some());
    }
}

#[test]
fn one_that_is_written_as_a_whole_in_mid_run_is_taken_in_hand_again() {
    let (mut world, before) = half_way();
    hand_back_by_hand(&mut world, &before);
    let annotations = &mut world.deployment.as_mut().unwrap()["metadata"]["annotations"];
    annotations.as_object_mut().unwrap().remove("tidegate.dev/changed-by");
    let is_noted = |world: &World| world.deployment()["metadata"]["annotations"][NOTED[0]].is_string();
    world.until("taken in hand", |world| is_labelled(world) && is_noted(world));
    assert_eq!(world.status.handed_back, None);
}

#[test]
fn one_that_is_written_as_a_whole_with_another_template_is_not_handed_back_by_that() {
    let (mut world, before) = half_way();
    hand_back_by_hand(&mut world, &before);
    world.push(template("v3", false));
    world.pass(Duration::from_secs(2));
    assert!(is_labelled(&world), "{}", world.describe());
    assert_eq!(world.status.handed_back, None);
    world.until("v3 is released", |world| {
        let last = world.status.last_run.as_ref();
        version(world) == "v3" && last.is_some_and(|last| last.outcome == Outcome::Succeeded)
    });
}

#[test]
fn annotations_of_an_old_replica_set_on_a_deployment_without_a_label_are_nobodys() {
    let (mut world, before) = half_way();
    let noted = world.deployment()["metadata"]["annotations"].clone();
    hand_back_by_hand(&mut world, &before);
    world.release = None;
    world.status = ReleaseStatus::default();
    // `kubectl rollout undo` to it.
    world.deployment.as_mut().unwrap()["metadata"]["annotations"] = noted;
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(30));
    assert_eq!(
        (version(&world).as_str(), world.writes_to_deployment),
        ("v2", writes),
        "{}",
        world.describe()
    );
    assert!(world.templates.is_empty());
}

/// A copy of the Deployment as it stands, under another name.
fn copy_of(world: &World) -> Value {
    let mut copy = world.deployment().clone();
    for (field, value) in [("name", "shop-eu"), ("uid", "d2")] {
        copy["metadata"][field] = json!(value);
    }
    copy
}

#[test]
fn a_copy_with_the_label_is_let_go_and_rolls_out_what_was_held() {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment().clone();
    let mut copy = copy_of(&world);
    copy["metadata"]["annotations"]["tidegate.dev/held"] = json!("true");
    copy["spec"]["paused"] = json!(true);
    copy["spec"]["template"] = template("v2", false);
    world.deployments = vec![copy, copy_of(&world)];
    // Of one of them its owner wants it paused.
    world.deployments[1]["metadata"]["name"] = json!("shop-us");
    world.deployments[1]["spec"]["paused"] = json!(true);
    world.pass(Duration::from_secs(1));
    for (copy, paused) in world.deployments.iter().zip([Value::Null, json!(true)]) {
        let ours =
            [&copy["metadata"]["labels"][LABEL], &copy["metadata"]["annotations"]["tidegate.dev/held"]];
        assert_eq!(ours, [&Value::Null, &Value::Null], "{copy:#}");
        assert_eq!(copy["spec"]["paused"], paused, "{copy:#}");
    }
    assert_eq!(world.deployments[0]["spec"]["template"], template("v2", false));
    assert_eq!(*world.deployment(), before, "the Deployment itself is let be");
    let told = world.notices.iter().filter(|notice| notice.reason == "DeploymentCopied");
    assert_eq!(told.count(), 2, "{}", world.describe());
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_copy_of_one_in_mid_run_is_told_of_and_not_touched_and_neither_is_one_that_another_release_is_about() {
    let (mut world, _) = half_way();
    let copy = copy_of(&world);
    world.deployments = vec![copy.clone()];
    world.tick();
    let last = world.notices.iter().rfind(|notice| notice.reason == "DeploymentCopied").expect("told");
    assert!(last.note.contains("Deployment shop-eu carries the label of this Release"), "{}", last.note);
    assert!(
        last.note.contains("kubectl patch deploy shop-eu -n ns --type merge -p ") && last.note.len() < 1000
    );
    assert_eq!(world.deployments, [copy]);
    let mut of_another = World::new(10, quarter(), quick());
    of_another.others.push(new_release("second", "shop-eu"));
    of_another.deployments = vec![copy_of(&of_another)];
    let before = of_another.deployments.clone();
    of_another.pass(Duration::from_secs(1));
    assert_eq!(of_another.deployments, before);
}

#[test]
fn where_an_event_has_no_room_for_the_line_of_a_copy_it_is_said_where_that_stands() {
    let (mut world, _) = half_way();
    let mut copy = copy_of(&world);
    let name = format!("{}eu", "shop-".repeat(40));
    copy["metadata"]["name"] = json!(name);
    world.deployments = vec![copy];
    world.tick();
    let last = world.notices.iter().rfind(|notice| notice.reason == "DeploymentCopied").expect("told");
    assert!(last.note.contains(&name) && last.note.len() <= 1000, "{}", last.note);
    assert!(
        last.note
            .ends_with("give it back: by the line of docs/hand-back.md, \"Giving back, without Tidegate\""),
        "{}",
        last.note
    );
}

#[test]
fn a_copy_of_one_in_mid_run_keeps_no_other_copy_from_being_let_go() {
    let (mut world, before) = half_way();
    let in_mid_run = copy_of(&world);
    let mut at_rest = in_mid_run.clone();
    (at_rest["metadata"]["name"], at_rest["metadata"]["uid"]) = (json!("shop-us"), json!("d3"));
    at_rest["spec"] = before;
    let annotations = at_rest["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| !NOTED.contains(&name.as_str()));
    world.deployments = vec![in_mid_run.clone(), at_rest];
    world.pass(Duration::from_secs(1));
    assert_eq!(world.deployments[0], in_mid_run);
    assert_eq!(world.deployments[1]["metadata"]["labels"][LABEL], Value::Null, "{}", world.describe());
    let last = world.notices.iter().rfind(|notice| notice.reason == "DeploymentCopied").expect("told");
    assert!(last.note.contains("Deployment shop-eu"), "it is told of once the other is gone: {}", last.note);
}

/// What the operator orders of the Deployment in one look, on what it sees.
fn ordered(world: &mut World) -> Option<Vec<Value>> {
    world.look().intents.into_iter().find_map(|intent| match intent {
        Intent::PatchWorkload { patch, .. } => Some(patch),
        _ => None,
    })
}

#[test]
fn whoever_lets_go_takes_no_label_off_that_names_another_release() {
    let mut world = World::new(4, quarter(), quick());
    world.release = None;
    let (seen, patch) = loop {
        assert!(is_labelled(&world), "{}", world.describe());
        world.quiet_tick();
        let seen = world.deployment().clone();
        let patch = ordered(&mut world);
        if let Some(patch) = patch.filter(|_| !is_labelled(&world)) {
            break (seen, patch);
        }
    };
    for (label, expected) in [("shop", true), ("second", false)] {
        let mut there = seen.clone();
        there["metadata"]["labels"][LABEL] = json!(label);
        assert_eq!(apply(&mut there, &patch).is_ok(), expected, "{label}: {patch:?}");
    }
}

#[test]
fn an_order_to_go_back_is_not_refused_for_the_label_that_is_to_come_with_it() {
    let (mut world, _) = half_way();
    world.deployment.as_mut().unwrap()["metadata"].as_object_mut().unwrap().remove("labels");
    world.say("Abort");
    let mut there = world.deployment().clone();
    let order = ordered(&mut world).expect("it goes back");
    there["metadata"]["labels"] = json!({"tier": "front"});
    assert!(apply(&mut there, &order).is_ok(), "{order:?}");
    assert_eq!(version(&world), "v1", "{order:?}");
    world.pass(Duration::from_secs(1));
    assert!(is_labelled(&world), "{}", world.describe());
}
