//! A move in which nothing is waited for: all pods that were ordered have come, and the next order is not given. That time is not the version's.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;

use super::{blocker, ends, outcome, rolling};
use crate::world::{World, template};

/// What keeps the next order from being given.
struct Obstacle {
    reason: &'static str,
    begins: fn(&mut World),
    ends: fn(&mut World),
}

const OBSTACLES: [Obstacle; 3] = [
    Obstacle {
        reason: "ClusterUnheard",
        begins: |world| world.jobs_unheard = Some(world.now),
        ends: |world| world.jobs_unheard = None,
    },
    Obstacle {
        reason: "StablePodsNotReady",
        begins: |world| {
            let stable = world.sets.first().expect("stable").name.clone();
            // One more than may be missing.
            for pod in world.pods.iter_mut().filter(|pod| pod.set == stable).take(2) {
                (pod.crashing, pod.ready_since) = (true, None);
            }
        },
        ends: |world| {
            let now = world.now;
            for pod in world.pods.iter_mut().filter(|pod| pod.crashing) {
                (pod.crashing, pod.ready_since) = (false, Some(now));
            }
        },
    },
    Obstacle {
        reason: "WriteRefused",
        begins: |world| world.refuses = vec!["patch"],
        ends: |world| world.refuses.clear(),
    },
];

/// Pods move one by one, and the third of them is on its way. A minute in which none comes is too long.
fn third_is_coming() -> World {
    let spec = json!({
        "steps": [{"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    });
    let mut world = World::new(10, rolling(json!(0), json!(1)), spec);
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    world.push(template("v2", false));
    world.until("a third", |world| world.sets.last().is_some_and(|set| set.replicas == 3));
    world
}

/// It has come, long ago, and something keeps the fourth from being ordered.
fn third_has_come(obstacle: &Obstacle) -> World {
    let mut world = third_is_coming();
    world.ready_after = Duration::from_secs(40);
    (obstacle.begins)(&mut world);
    world.pass(Duration::from_secs(60));
    waits(&world, obstacle);
    world.ready_after = Duration::from_secs(10);
    let writes = world.status_writes;
    world.pass(Duration::from_secs(100));
    waits(&world, obstacle);
    assert_eq!(world.status_writes, writes, "said once: {}", world.describe());
    world
}

fn waits(world: &World, obstacle: &Obstacle) {
    assert!(!goes_back(world), "{}", world.describe());
    assert_eq!((outcome(world).as_str(), blocker(world).0), ("", obstacle.reason), "{}", world.describe());
}

fn goes_back(world: &World) -> bool {
    world.status.run.as_ref().is_some_and(|run| run.back.is_some())
}

/// One of the new pods is evicted, and another one made.
fn loses_one(world: &mut World) {
    let (canary, now) = (world.sets.last().expect("a canary").name.clone(), world.now);
    let mut pods = world.pods.iter_mut();
    let pod = pods.find(|pod| pod.set == canary && pod.terminating_since.is_none());
    pod.expect("a canary pod").terminating_since = Some(now);
}

/// It goes back so many seconds from now, and not before.
fn goes_back_within(world: &mut World, obstacle: &Obstacle, seconds: RangeInclusive<i64>) {
    let since = world.now;
    world.pass(Duration::from_secs(55));
    assert!(!goes_back(world), "{}: {}", obstacle.reason, world.describe());
    world.until("it goes back", goes_back);
    let waited = (world.now - since).get_seconds();
    assert!(seconds.contains(&waited), "{}: {waited} s: {}", obstacle.reason, world.describe());
}

#[test]
fn a_version_of_which_nothing_was_ordered_for_long_has_the_whole_deadline_from_the_next_order() {
    for obstacle in &OBSTACLES {
        let mut world = third_has_come(obstacle);
        (obstacle.ends)(&mut world);
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}: {}", obstacle.reason, world.describe());
    }
}

#[test]
fn a_pod_that_is_lost_while_nothing_is_ordered_has_the_whole_deadline_to_come_again() {
    for obstacle in &OBSTACLES {
        let mut world = third_has_come(obstacle);
        loses_one(&mut world);
        world.pass(Duration::from_secs(20));
        waits(&world, obstacle);
        (obstacle.ends)(&mut world);
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}: {}", obstacle.reason, world.describe());
    }
}

#[test]
fn one_that_does_not_come_again_is_undone_once_that_is_over() {
    for obstacle in &OBSTACLES {
        let mut world = third_has_come(obstacle);
        world.ready_after = Duration::from_secs(100_000);
        // What goes back is not refused.
        world.refuses.clear();
        loses_one(&mut world);
        goes_back_within(&mut world, obstacle, 60..=65);
    }
}

#[test]
fn one_that_does_not_come_after_the_next_order_is_undone_by_its_deadline() {
    for obstacle in &OBSTACLES {
        let mut world = third_has_come(obstacle);
        world.ready_after = Duration::from_secs(100_000);
        (obstacle.ends)(&mut world);
        goes_back_within(&mut world, obstacle, 60..=70);
    }
}

#[test]
fn controllers_that_stand_still_while_jobs_are_not_heard_make_no_version_late() {
    let mut world = third_is_coming();
    world.ready_after = Duration::from_secs(100_000);
    world.jobs_unheard = Some(world.now);
    world.pass(Duration::from_secs(35));
    world.stand_still = Some(world.deployment()["metadata"]["generation"].clone());
    world.scale(12);
    world.pass(Duration::from_secs(100));
    world.stand_still = None;
    world.pass(Duration::from_secs(2));
    assert!(!goes_back(&world), "{}", world.describe());
    (world.ready_after, world.jobs_unheard) = (Duration::from_secs(1), None);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}
