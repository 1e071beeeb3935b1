//! Somebody deletes what keeps the template of a run, which stands in the Deployment: it is kept anew, and what needs it later has it.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::Intent;
use tidegate::decide::refusal::{DoneWithout, Missed, Refusal, Why};

use super::{blocker, ends, quarter};
use crate::world::{World, template};

const SECOND: Duration = Duration::from_secs(1);

/// Half of the pods are of version 2, for three minutes, or all of them are.
fn under_way(watched: bool) -> World {
    let soak = if watched { "1s" } else { "3m" };
    let release = json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": soak}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": if watched { "1h" } else { "5s" }, "every": "1s"}],
    });
    let mut world = World::new(4, quarter(), release);
    world.push(template("v2", false));
    world.until("it is out", |world| world.phase() == if watched { "Watching" } else { "Soaking" });
    world
}

/// The name under which version 2 is kept, or would be.
fn its_name(world: &World) -> String {
    world.status.canary.as_ref().expect("a canary").revision.clone()
}

fn is_kept(world: &World) -> bool {
    world.templates.contains_key(&its_name(world))
}

/// Somebody deletes what keeps version 2.
fn delete_kept(world: &mut World) -> Value {
    let name = its_name(world);
    world.templates.remove(&name).expect("it was kept")
}

/// In how many looks within that time something is to be kept.
fn tries(world: &mut World, time: Duration) -> usize {
    let (until, mut tries) = (world.now + time, 0);
    while world.now < until {
        world.quiet_tick();
        let keeps = |intent: &Intent| matches!(intent, Intent::KeepTemplate { .. });
        tries += usize::from(world.look().intents.iter().any(keeps));
    }
    tries
}

fn mentions(world: &World) -> bool {
    let said = world.status.summary.as_ref().map_or("", |summary| summary.message.as_str());
    said.contains("is not kept: the creation of ControllerRevision shop-")
}

#[test]
fn the_template_of_a_run_that_is_deleted_is_kept_anew_and_put_back_after_a_while_without_replicas() {
    let mut world = under_way(false);
    delete_kept(&mut world);
    assert_eq!(tries(&mut world, 10 * SECOND), 1, "{}", world.describe());
    assert!(is_kept(&world), "{}", world.describe());
    world.scale(0);
    world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    world.scale(4);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn it_is_kept_before_stable_is_put_in_its_place_where_that_comes_in_the_same_moment() {
    let mut world = under_way(false);
    delete_kept(&mut world);
    world.scale(0);
    world.tick();
    assert_eq!(world.first_intents, ["keep", "patch"], "{}", world.describe());
    world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    assert!(is_kept(&world), "{}", world.describe());
    world.scale(4);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn where_it_is_written_again_over_a_newer_one_it_comes_next_and_is_kept_before_stable_is_ordered() {
    let mut world = under_way(false);
    world.refuses = vec!["patch"];
    world.push(template("v3", false));
    world.until("it goes back", |world| world.status.run.as_ref().is_some_and(|run| run.back.is_some()));
    delete_kept(&mut world);
    world.push(template("v2", false));
    world.refuses.clear();
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v2", false), "{}", world.describe());
    assert!(world.notices.iter().all(|notice| notice.reason != "TemplateLost"), "{}", world.describe());
}

#[test]
fn in_the_watch_it_is_kept_anew_too_and_becomes_stable_when_a_newer_one_comes() {
    let mut world = under_way(true);
    delete_kept(&mut world);
    world.tick();
    assert!(is_kept(&world), "{}", world.describe());
    let stable = its_name(&world);
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    assert_eq!(world.status.stable.as_ref().map(|it| it.revision.clone()), Some(stable));
    world.until("v3 is out", |world| world.phase() == "Watching");
    world.say("Abort");
    assert_eq!(ends(&mut world, 2), "Aborted", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v2", false), "{}", world.describe());
}

#[test]
fn where_it_cannot_be_kept_anew_that_is_said_and_tried_again_from_time_to_time_and_nothing_waits() {
    let mut world = under_way(false);
    delete_kept(&mut world);
    world.refuses = vec!["keep"];
    let tried = tries(&mut world, 100 * SECOND);
    assert!((3..=4).contains(&tried), "{tried} times");
    assert!(mentions(&world) && world.phase() == "Soaking", "{}", world.describe());
    let mut scaled = world.copy();
    world.refuses.clear();
    world.until("it is kept", is_kept);
    world.until("it is said no more", |world| !mentions(world));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    // Where it has to go, it is lost, and that is told.
    scaled.scale(0);
    scaled.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    scaled.scale(4);
    scaled.until("it is lost", |world| world.status.last_run.is_some());
    let told = scaled.notices.iter().find(|notice| notice.reason == "TemplateLost").expect("it is told");
    assert!(told.note.contains(&scaled.status.last_run.as_ref().unwrap().fingerprint[..16]), "{told:?}");
}

/// It was tried just now to keep version 2 anew, and that ended so.
fn missed(world: &mut World, why: Why) {
    let fingerprint = world.status.canary.as_ref().expect("a canary").fingerprint.clone();
    let refusal = Refusal { what: format!("the creation of ControllerRevision {}", its_name(world)), why };
    world.missed.insert(DoneWithout::Template(fingerprint), Missed { at: world.now, refusal });
}

#[test]
fn what_is_never_answered_is_tried_again_seldom_since_each_try_holds_up_a_look() {
    let mut world = under_way(true);
    delete_kept(&mut world);
    missed(&mut world, Why::Unanswered);
    assert_eq!(tries(&mut world, 595 * SECOND), 0, "{}", world.describe());
    assert!(mentions(&world), "{}", world.describe());
    assert_eq!(tries(&mut world, 10 * SECOND), 1, "{}", world.describe());
    assert!(is_kept(&world), "{}", world.describe());
}

#[test]
fn what_failed_for_once_is_tried_again_soon_and_at_once_where_stable_is_put_in_its_place() {
    let words = "etcdserver: request timed out".to_owned();
    let mut world = under_way(false);
    delete_kept(&mut world);
    missed(&mut world, Why::Failed { category: "unreachable", words });
    assert_eq!(tries(&mut world, 25 * SECOND), 0, "{}", world.describe());
    let said = "failed: etcdserver: request timed out";
    let message = &world.status.summary.as_ref().expect("a summary").message;
    assert!(mentions(&world) && message.contains(said), "{message}");
    let mut waits = world.copy();
    assert_eq!(tries(&mut waits, 10 * SECOND), 1, "{}", waits.describe());
    world.scale(0);
    world.tick();
    assert_eq!(world.first_intents, ["keep", "patch"], "{}", world.describe());
    assert!(is_kept(&world), "{}", world.describe());
}

#[test]
fn while_kept_templates_are_not_heard_nothing_is_kept_anew() {
    let mut world = under_way(false);
    let kept = delete_kept(&mut world);
    world.templates_unheard = Some((world.now, world.templates.clone()));
    assert_eq!(tries(&mut world, 20 * SECOND), 0, "{}", world.describe());
    let name = its_name(&world);
    world.templates_unheard = None;
    world.templates.insert(name, kept);
    assert_eq!(tries(&mut world, 20 * SECOND), 0, "{}", world.describe());
}
