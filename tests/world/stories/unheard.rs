//! What pods do is not heard, or Jobs, or kept templates: the API server tells nothing of them, and everything else goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::ReleaseStatus;

use super::left_behind::{half_way, is_its_owners_with, is_labelled, version};
use super::{blocker, ends, outcome, quarter, quick};
use crate::world::{Ending, WELL, World, template};

/// What is said of a template that comes after stable, whoever waits for it.
const MAY_BE_KEPT: &str = "which comes next, may be kept unheard: what there is of kind ControllerRevision has not been heard since";

/// Pods of the version that is released fail, and nobody hears it.
fn fails_unheard(world: &mut World) {
    world.stop_hearing();
    let canary = world.sets.last().expect("a canary").name.clone();
    for pod in world.pods.iter_mut().filter(|pod| pod.set == canary) {
        (pod.crashing, pod.ready_since) = (true, None);
    }
}

/// Stable stands, after a run has gone back.
fn has_gone_back(world: &World) -> bool {
    let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
    back.is_some_and(|back| back.restored_at.is_some())
}

fn message(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| &blocker.message)
}

/// Nothing goes forward, and it is said why.
fn waits(world: &World) {
    let standing = (outcome(world), blocker(world).0);
    assert_eq!(standing, (String::new(), "ClusterUnheard"), "{}", world.describe());
}

fn a_minute_at_half() -> Value {
    json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "60s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

fn all_at_once(watch: &str) -> Value {
    json!({"steps": [{"name": "all", "replicas": "100%"}], "watch": [{"for": watch, "every": "1s"}]})
}

fn soaking_half(world: &World) -> bool {
    world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
}

#[test]
fn a_rollout_that_has_begun_unheard_is_held_at_the_pace_of_its_owner() {
    let mut release = quick();
    release["capture"] = json!("Paused");
    let mut world = World::new(10, quarter(), release);
    world.policy = false;
    world.until("kept paused", |world| world.deployment()["spec"]["paused"] == true);
    world.stop_hearing();
    world.write(|spec| {
        spec["template"] = template("v2", false);
        spec["paused"] = json!(false);
    });
    world.quiet_tick();
    world.quiet_tick();
    assert!(world.alive() > 10, "its pods have begun: {}", world.describe());
    world.tick();
    let spec = world.deployment()["spec"].clone();
    assert_eq!((&spec["paused"], &spec["strategy"]), (&json!(true), &quarter()), "{}", world.describe());
}

#[test]
fn a_version_that_fails_unheard_in_a_soak_goes_no_further_and_is_undone_once_it_is_heard() {
    let mut world = World::new(10, quarter(), a_minute_at_half());
    world.push(template("v2", false));
    world.until("soaking", soaking_half);
    let writes = world.writes_to_deployment;
    fails_unheard(&mut world);
    world.until("held", |world| blocker(world).0 == "ClusterUnheard");
    let message = world.status.blocked_by.as_ref().unwrap().message.clone();
    assert!(message.contains("kind Pod") && message.contains("the server is overloaded"), "{message}");
    assert_eq!(world.phase(), "Held");
    let status_writes = world.status_writes;
    world.pass(Duration::from_secs(90));
    waits(&world);
    assert_eq!((world.writes_to_deployment, world.status_writes), (writes, status_writes));
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
}

#[test]
fn a_version_that_fails_unheard_in_the_watch_does_not_become_stable() {
    let mut world = World::new(4, quarter(), all_at_once("60s"));
    world.push(template("v2", false));
    world.until("watching", |world| world.phase() == "Watching");
    fails_unheard(&mut world);
    world.pass(Duration::from_secs(100));
    waits(&world);
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
}

#[test]
fn a_newer_template_does_not_make_a_version_stable_that_is_not_heard_and_waits_itself() {
    for capture in ["Policy", "React"] {
        let mut spec = all_at_once("10m");
        spec["capture"] = json!(capture);
        let mut world = World::new(4, quarter(), spec);
        world.policy = capture == "Policy";
        world.push(template("v2", false));
        world.until("watching", |world| world.phase() == "Watching");
        fails_unheard(&mut world);
        world.pass(Duration::from_secs(40));
        world.push(template("v3", false));
        world.pass(Duration::from_secs(60));
        waits(&world);
        let at_v3 =
            world.sets.iter().filter(|set| set.template["metadata"]["annotations"]["version"] == "v3");
        assert!(at_v3.map(|set| set.replicas).sum::<i32>() <= 2, "{capture}: {}", world.describe());
        world.unheard = None;
        assert_eq!(ends(&mut world, 1), "Undone", "{capture}: {}", world.describe());
    }
}

#[test]
fn a_version_that_does_not_start_goes_back_by_its_deadline_though_jobs_are_not_heard() {
    let mut world = World::new(10, quarter(), quick());
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    world.ready_after = Duration::from_secs(100_000);
    world.push(template("v2", false));
    world.until("a move is on", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.moved.is_some())
    });
    world.jobs_unheard = Some(world.now);
    world.pass(Duration::from_secs(40));
    waits(&world);
    world.pass(Duration::from_secs(30));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
}

fn job() -> Value {
    json!({"template": {"spec": {"template": {"spec": {}}}}})
}

#[test]
fn a_job_of_a_step_that_is_not_heard_of_is_not_taken_for_gone_and_undoes_nothing() {
    let mut spec = a_minute_at_half();
    spec["steps"][0]["checks"] = json!([{"name": "tests", "job": job()}]);
    let mut world = World::new(10, quarter(), spec);
    world.job_ends.insert("tests", WELL);
    world.push(template("v2", false));
    world.until("a move is on", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.moved.is_some())
    });
    world.jobs_unheard = Some(world.now);
    world.until("its job is made", |world| !world.jobs.is_empty());
    world.pass(Duration::from_secs(90));
    waits(&world);
    let message = &world.status.run.as_ref().unwrap().checks[0].message;
    assert!(message.ends_with("may run unheard: nothing is heard of kind Job"), "{message}");
    world.jobs_unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1, "{:?}", world.jobs);
}

#[test]
fn a_migration_whose_job_is_not_heard_of_has_not_failed_and_no_run_ends_before_it() {
    let mut spec = all_at_once("5s");
    spec["migrations"] = json!([{"name": "add", "kind": "Expand", "job": job()}]);
    let mut world = World::new(4, quarter(), spec);
    world.job_ends.insert("migration.add", Ending { after: Duration::from_secs(300), ..WELL });
    world.push(template("v2", false));
    world.until("it has begun", |world| {
        world.status.run.as_ref().is_some_and(|run| !run.migrations.is_empty())
    });
    assert!(world.jobs.is_empty(), "{:?}", world.jobs);
    world.jobs_unheard = Some(world.now);
    world.until("its job is made", |world| !world.jobs.is_empty());
    world.pass(Duration::from_secs(90));
    waits(&world);
    let state = world.status.run.as_ref().unwrap().migrations[0].work.state;
    assert_eq!(format!("{state:?}"), "Waiting", "{}", world.describe());
    let mut other = world.copy();
    world.jobs_unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1, "{:?}", world.jobs);

    other.say("Abort");
    other.pass(Duration::from_secs(60));
    assert_eq!((outcome(&other), blocker(&other).0), (String::new(), "MigrationRunning"));
    let says = message(&other);
    assert!(says.ends_with("may run unheard: nothing is heard of kind Job"), "{}", other.describe());
    assert!(!blocker(&other).1.contains("delete job"), "{}", other.describe());
    other.jobs_unheard = None;
    other.pass(Duration::from_secs(60));
    assert_eq!((outcome(&other), blocker(&other).0), (String::new(), "MigrationRunning"));
    assert!(message(&other).ends_with("is still running"), "{}", other.describe());
    assert_eq!(ends(&mut other, 1), "Aborted", "{}", other.describe());
}

#[test]
fn a_newer_template_that_is_kept_and_not_heard_of_is_not_given_up() {
    for (says, wanted) in [(None, "Superseded"), (Some("Abort"), "Aborted")] {
        let mut world = World::new(10, quarter(), a_minute_at_half());
        world.push(template("v2", false));
        world.until("soaking", soaking_half);
        world.templates_unheard = Some((world.now, world.templates.clone()));
        world.push(template("v3", false));
        if let Some(action) = says {
            world.say(action);
        }
        world.until("stable stands", has_gone_back);
        world.pass(Duration::from_secs(10));
        let status_writes = world.status_writes;
        world.pass(Duration::from_secs(110));
        waits(&world);
        assert!(message(&world).contains(MAY_BE_KEPT), "{}", world.describe());
        assert_eq!(world.status_writes, status_writes, "{}", world.describe());
        world.templates_unheard = None;
        assert_eq!(ends(&mut world, 1), wanted, "{}", world.describe());
        assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
        assert_eq!(version(&world), "v3", "{}", world.describe());
    }
}

#[test]
fn one_that_is_not_kept_is_given_up_though_jobs_are_not_heard() {
    let mut world = World::new(10, quarter(), a_minute_at_half());
    world.push(template("v2", false));
    world.until("soaking", soaking_half);
    world.jobs_unheard = Some(world.now);
    world.push(template("v3", false));
    world.until("stable stands", has_gone_back);
    world.templates.retain(|_, kept| !kept.to_string().contains(r#""v3""#));
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    assert_eq!(version(&world), "v1", "{}", world.describe());
}

#[test]
fn nor_is_one_given_up_where_its_release_goes_meanwhile() {
    let (mut world, before) = half_way();
    world.templates_unheard = Some((world.now, world.templates.clone()));
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    world.release = None;
    world.pass(Duration::from_secs(120));
    assert!(is_labelled(&world) && version(&world) == "v1", "{}", world.describe());
    assert!(world.notices.iter().any(|notice| notice.reason == "ClusterUnheard"), "{}", world.describe());
    world.templates_unheard = None;
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(20));
    is_its_owners_with(&world, "v3", &before);
}

#[test]
fn nor_where_the_release_is_made_anew_once_stable_stands() {
    let (mut world, _) = half_way();
    world.templates_unheard = Some((world.now, world.templates.clone()));
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    let release = world.release.take();
    world.pass(Duration::from_secs(60));
    (world.release, world.status) = (release, ReleaseStatus::default());
    world.pass(Duration::from_secs(60));
    assert!(blocker(&world).0 == "ClusterUnheard" && version(&world) == "v1", "{}", world.describe());
    assert!(message(&world).contains(MAY_BE_KEPT), "{}", world.describe());
    world.templates_unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(version(&world), "v3", "{}", world.describe());
}

#[test]
fn nor_is_one_that_comes_after_the_way_back_of_an_earlier_release() {
    let (mut world, _) = half_way();
    world.ready_after = Duration::from_secs(20);
    let release = world.release.take();
    world.templates_unheard = Some((world.now, world.templates.clone()));
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    (world.release, world.status) = (release, ReleaseStatus::default());
    world.pass(Duration::from_secs(120));
    assert!(world.notices.iter().all(|notice| notice.reason != "TemplateLost"), "{}", world.describe());
    world.templates_unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(version(&world), "v3", "{}", world.describe());
}

#[test]
fn no_run_begins_with_its_first_step_while_pods_are_not_heard() {
    let mut world = World::new(10, quarter(), quick());
    world.stop_hearing();
    world.pass(Duration::from_secs(40));
    world.push(template("v2", false));
    world.pass(Duration::from_secs(60));
    waits(&world);
    assert_eq!((world.sets.len(), world.ready()), (1, 10), "{}", world.describe());
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_soak_counts_no_time_in_which_pods_were_not_heard() {
    let mut world = World::new(10, quarter(), a_minute_at_half());
    world.push(template("v2", false));
    world.until("soaking", soaking_half);
    world.pass(Duration::from_secs(20));
    world.stop_hearing();
    world.pass(Duration::from_secs(90));
    world.unheard = None;
    let heard = world.now;
    world.until("the next step", |world| world.status.step.as_ref().is_some_and(|step| step.name == "all"));
    let soaked = (world.now - heard).get_seconds();
    assert!((35..=45).contains(&soaked), "{soaked} s more: {}", world.describe());
}

#[test]
fn a_move_has_its_deadline_from_when_its_pods_are_heard_again() {
    let mut world = World::new(10, quarter(), quick());
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    world.ready_after = Duration::from_secs(20);
    world.push(template("v2", false));
    world.until("a move is on", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.moved.is_some())
    });
    world.pass(Duration::from_secs(1));
    world.stop_hearing();
    world.pass(Duration::from_secs(100));
    waits(&world);
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_watch_that_breaks_off_for_a_moment_holds_nothing() {
    let mut world = World::new(10, quarter(), a_minute_at_half());
    world.push(template("v2", false));
    world.until("soaking", soaking_half);
    world.stop_hearing();
    world.pass(Duration::from_secs(10));
    assert_ne!(blocker(&world).0, "ClusterUnheard", "{}", world.describe());
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn whoever_says_so_has_it_go_back_though_pods_are_not_heard() {
    let mut world = World::new(10, quarter(), a_minute_at_half());
    world.push(template("v2", false));
    world.until("soaking", soaking_half);
    world.stop_hearing();
    world.until("held", |world| blocker(world).0 == "ClusterUnheard");
    world.say("Abort");
    world.until("it goes back", |world| world.status.run.as_ref().is_some_and(|run| run.back.is_some()));
    world.unheard = None;
    assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
}
