//! A version that does not start has its owner's deadline to do so; what is not its own time does not count.

use std::time::Duration;

use serde_json::json;

use super::{blocker, ends, outcome, quarter, quick, rolling};
use crate::world::{World, template};

/// A move is ordered, and no pod of the new version has come yet.
fn ordered(ready_after: Duration) -> World {
    let mut world = World::new(10, quarter(), quick());
    world.ready_after = ready_after;
    world.push(template("v2", false));
    world.until("a move is on", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.moved.is_some())
    });
    world
}

#[test]
fn the_deadline_of_a_move_counts_no_time_in_which_nobody_looked() {
    let mut world = ordered(Duration::from_secs(20));
    world.now += Duration::from_secs(660);
    world.begin_anew();
    world.ready_after = Duration::from_secs(690);
    world.tick();
    assert!(world.status.run.as_ref().unwrap().back.is_none(), "{}", world.describe());
    world.ready_after = Duration::from_secs(5);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_pod_that_is_ready_and_has_not_been_for_min_ready_seconds_is_not_late() {
    for (ready_after, end) in [(10, "Succeeded"), (1000, "Undone")] {
        let mut world = World::new(4, quarter(), quick());
        world.write(|spec| {
            spec["minReadySeconds"] = json!(20);
            spec["progressDeadlineSeconds"] = json!(25);
        });
        world.pass(Duration::from_secs(60));
        world.ready_after = Duration::from_secs(ready_after);
        world.push(template("v2", false));
        assert_eq!(ends(&mut world, 1), end, "{}", world.describe());
    }
}

/// A pod of the new version: the last one, or one that is Ready.
fn canary(world: &World, is_ready: bool) -> Option<String> {
    let new = world.sets.iter().find(|set| set.template == template("v2", false))?;
    let mut pods = world.pods.iter().filter(|pod| pod.set == new.name && pod.terminating_since.is_none());
    let pod = if is_ready { pods.find(|pod| pod.ready_since.is_some()) } else { pods.next_back() };
    pod.map(|pod| pod.name.clone())
}

#[test]
fn pods_that_are_evicted_again_and_again_are_no_progress_whether_others_come_in_their_place_or_not() {
    let ten_minutes = Duration::from_secs(600);
    for ready_after in [5, 100_000] {
        let mut release = quick();
        release["steps"] =
            json!([{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}]);
        let mut world = World::new(10, rolling(json!("100%"), json!(0)), release);
        world.ready_after = Duration::from_secs(5);
        world.push(template("v2", false));
        world.until("five are on their way", |world| world.alive() == 15);
        let last = canary(&world, false).unwrap();
        world.without_room.push(last);
        world.until("four of them are Ready", |world| world.ready() == 14);
        let since = world.now;
        world.ready_after = Duration::from_secs(ready_after);
        world.pass(Duration::from_secs(5));
        while world.status.run.as_ref().is_some_and(|run| run.back.is_none()) {
            assert!(world.now < since + ten_minutes + Duration::from_secs(60), "{}", world.describe());
            let evicted = canary(&world, true);
            world.pods.retain(|pod| Some(&pod.name) != evicted.as_ref());
            world.pass(Duration::from_secs(50));
        }
        assert!(world.now >= since + ten_minutes, "{}", world.describe());
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    }
}

#[test]
fn what_was_seen_before_a_restart_counts() {
    let mut world = ordered(Duration::from_secs(100_000));
    world.pass(Duration::from_secs(400));
    let written = world.status.at.unwrap().0;
    world.now += Duration::from_secs(300);
    world.begin_anew();
    let seen = 400 - (world.now - Duration::from_secs(300) - written).get_seconds();
    world.until("it goes back", |world| world.status.run.as_ref().unwrap().back.is_some());
    let waited = (world.now - world.looking_since.unwrap()).get_seconds();
    assert!((595..=605).contains(&(waited + seen)), "{waited} s after {seen} s: {}", world.describe());
}

#[test]
fn while_the_native_controllers_stand_still_no_version_is_late_and_the_release_says_who_is_silent() {
    let mut world = ordered(Duration::from_secs(2));
    world.until("soaked, and moved on", |world| world.status.run.as_ref().unwrap().step == 1);
    world.stand_still = Some(world.deployment()["metadata"]["generation"].clone());
    world.scale(12);
    world.until("said", |world| blocker(world).0 == "ControllerSilent");
    assert!(blocker(&world).1.contains("kube-controller-manager"), "{}", world.describe());
    assert_eq!(world.phase(), "Held");
    let writes = world.status_writes;
    world.pass(Duration::from_secs(700));
    assert_eq!(world.status_writes, writes, "said once");
    world.stand_still = None;
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_version_that_does_not_start_is_undone_though_the_controllers_stood_still_for_a_while() {
    let mut world = ordered(Duration::from_secs(100_000));
    world.pass(Duration::from_secs(300));
    world.stand_still = Some(world.deployment()["metadata"]["generation"].clone());
    world.scale(12);
    world.pass(Duration::from_secs(400));
    assert_eq!(outcome(&world), "");
    world.stand_still = None;
    world.until("it goes back", |world| world.status.run.as_ref().unwrap().back.is_some());
}

#[test]
fn an_owner_who_sets_no_deadline_has_a_version_waited_for() {
    let mut world = World::new(10, quarter(), quick());
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(i32::MAX));
    world.ready_after = Duration::from_secs(900);
    world.push(template("v2", false));
    world.pass(Duration::from_secs(800));
    let message = world.status.summary.as_ref().unwrap().message.clone();
    assert!(message.ends_with("the Deployment sets no progress deadline"), "{message}");
    world.ready_after = Duration::from_secs(2);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["progressDeadlineSeconds"], i32::MAX);
}

#[test]
fn a_run_writes_no_status_for_each_order_that_is_carried_out() {
    let mut world = World::new(10, quarter(), quick());
    world.write(|spec| spec["minReadySeconds"] = json!(0));
    let before = world.status_writes;
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    let writes = world.status_writes - before;
    assert!(writes <= 15, "{writes} writes of status: {}", world.describe());
}
