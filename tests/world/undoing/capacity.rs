//! How many pods are Ready on the way back, where the nodes have room.

use std::cell::Cell;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::pace::Limits;
use tidegate_sim::native::Pod;

use super::{rolling, with};
use crate::world::{World, template};

/// The fewest that were from the push of a version until stable stood again: of a bad one, or of a good one that is aborted half way.
fn fewest_ready(replicas: i32, strategy: &Value, capacity: &str, bad: bool) -> usize {
    let mut world = World::new(replicas, strategy.clone(), with(json!({"capacity": capacity})));
    world.push(template("v2", bad));
    if !bad {
        world.until("half", |world| world.phase() == "Soaking");
        world.say("Abort");
    }
    let fewest = Cell::new(world.ready());
    world.until("the end", |world| {
        fewest.set(fewest.get().min(world.ready()));
        world.status.last_run.is_some()
    });
    fewest.get()
}

#[test]
fn on_the_way_back_as_many_pods_are_ready_as_their_owner_wants_unless_bad_ones_go_first() {
    let shapes =
        [(json!(0), json!(1)), (json!(1), json!(0)), (json!("25%"), json!("25%")), (json!("100%"), json!(0))];
    for (surge, unavailable) in shapes {
        let limits = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": limits});
        for replicas in [1, 3, 10] {
            for (capacity, bad) in
                [("Auto", true), ("Auto", false), ("CapacityFirst", true), ("CapacityFirst", false)]
            {
                // All of them were Ready half way, and `CapacityFirst` lets none go for which there is no stable one.
                let all_stay = capacity == "CapacityFirst" && !bad;
                let may_lack = if all_stay { 0 } else { Limits::of(&strategy, replicas).unavailable };
                let floor = usize::try_from(replicas - may_lack).unwrap();
                let fewest = fewest_ready(replicas, &strategy, capacity, bad);
                assert!(
                    fewest >= floor,
                    "{replicas} {strategy} {capacity} bad={bad}: {fewest} Ready, {floor} wanted"
                );
            }
        }
    }
    assert_eq!(fewest_ready(10, &rolling(), "MitigateFirst", false), 5, "only stable ones are left");
}

#[test]
fn a_newer_template_in_the_moment_of_the_order_takes_no_stable_pod_where_as_many_were_surged() {
    for (unavailable, capacity) in [(json!(0), "Auto"), (json!("25%"), "CapacityFirst")] {
        let limits = json!({"maxSurge": "100%", "maxUnavailable": unavailable});
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": limits});
        let mut spec = with(json!({"capacity": capacity}));
        spec["steps"] = json!([{"name": "all", "replicas": "100%"}]);
        let mut world = World::new(10, strategy, spec);
        world.ready_after = Duration::from_secs(30);
        world.push(template("v2", false));
        world.until("all are surged", |world| world.alive() == 20);
        assert_eq!(world.ready(), 10, "{}", world.describe());
        world.say("Abort");
        world.until("stable is ordered", |world| {
            world.deployment()["spec"]["template"] == template("v1", false)
        });
        assert_eq!(world.alive(), 20, "the native controller has not looked: {}", world.describe());
        world.push(template("v3", false));
        let (fewest, most) = (Cell::new(world.ready()), Cell::new(world.alive()));
        world.until("the end", |world| {
            fewest.set(fewest.get().min(world.ready()));
            most.set(most.get().max(world.alive()));
            world.status.last_run.is_some()
        });
        assert_eq!((fewest.get(), most.get()), (10, 20), "{capacity}: {}", world.describe());
    }
}

#[test]
fn replicas_that_grow_on_the_way_back_let_no_more_pods_go_than_their_owner_allows_of_as_many() {
    let limits = json!({"maxSurge": 1, "maxUnavailable": 1});
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": limits});
    let mut world = World::new(4, strategy, with(json!({})));
    let stable = world.sets[0].name.clone();
    world.push(template("v2", false));
    world.until("half", |world| world.phase() == "Soaking");
    world.ready_after = Duration::from_secs(60);
    world.say("Abort");
    world.until("the one that may go has gone", |world| world.ready() == 3);
    world.scale(10);
    world.pass(Duration::from_secs(1));
    let old = |world: &World| {
        world.pods.iter().filter(|pod| pod.set != stable && pod.terminating_since.is_none()).count()
    };
    assert_eq!((world.ready(), old(&world)), (3, 2), "both are scaled: {}", world.describe());
    // All but two stable ones come.
    let starting = world.pods.iter_mut().filter(|pod| pod.set == stable && pod.ready_since.is_none());
    starting.take(2).for_each(|pod| pod.crashing = true);
    world.ready_after = Duration::ZERO;
    world.pass(Duration::from_secs(2));
    assert_eq!((world.ready(), old(&world)), (9, 1), "one may lack: {}", world.describe());
    world.pods.iter_mut().for_each(|pod| pod.crashing = false);
    world.until("the end", |world| world.status.last_run.is_some());
    assert_eq!((world.ready(), old(&world)), (10, 0), "{}", world.describe());
}

#[test]
fn a_pod_that_waits_for_room_lets_one_more_go_and_not_all_that_an_order_for_fewer_replicas_comes_to() {
    let limits = json!({"maxSurge": 1, "maxUnavailable": 2});
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": limits});
    let mut world = World::new(8, strategy, with(json!({})));
    let stable = world.sets[0].name.clone();
    let starting = |world: &World| -> Vec<String> {
        let starting =
            |pod: &&Pod| pod.set == stable && pod.ready_since.is_none() && pod.terminating_since.is_none();
        world.pods.iter().filter(starting).map(|pod| pod.name.clone()).collect()
    };
    let old = |world: &World| {
        world.pods.iter().filter(|pod| pod.set != stable && pod.terminating_since.is_none()).count()
    };
    world.push(template("v2", false));
    world.until("half", |world| world.phase() == "Soaking");
    world.ready_after = Duration::from_secs(60);
    world.say("Abort");
    world.until("the two that may go have gone", |world| world.ready() == 6);
    world.without_room = starting(&world)[..1].to_vec();
    world.until("one has made room", |world| world.ready() == 5);
    world.scale(20);
    world.pass(Duration::from_secs(1));
    assert_eq!((world.ready(), old(&world)), (5, 2), "both are scaled: {}", world.describe());
    // All but four stable ones come, of which one waits for room.
    let waits = world.without_room.clone();
    let others: Vec<String> =
        starting(&world).into_iter().filter(|pod| !waits.contains(pod)).take(3).collect();
    world.pods.iter_mut().filter(|pod| others.contains(&pod.name)).for_each(|pod| pod.crashing = true);
    world.ready_after = Duration::ZERO;
    world.pass(Duration::from_secs(2));
    assert_eq!((world.ready(), old(&world)), (17, 1), "three may lack: {}", world.describe());
    // It has found room, and is seen to have before it is Ready.
    world.ready_after = Duration::from_secs(60);
    world.without_room.clear();
    world.pass(Duration::from_secs(1));
    world.ready_after = Duration::ZERO;
    world.pass(Duration::from_secs(2));
    assert_eq!((world.ready(), old(&world)), (18, 1), "two may lack: {}", world.describe());
    world.pods.iter_mut().for_each(|pod| pod.crashing = false);
    world.until("the end", |world| world.status.last_run.is_some());
    assert_eq!((world.ready(), old(&world)), (20, 0), "{}", world.describe());
}
