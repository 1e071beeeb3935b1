//! How many pods are Ready on the way back, where the nodes have room and where they have none.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::pace::Limits;
use tidegate_sim::native::Pod;

use super::{reason, rolling, with};
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
    // One waits for room, and the others do not come.
    world.without_room = starting(&world)[..1].to_vec();
    let waits = world.without_room.clone();
    let is_other = |pod: &Pod| pod.set == stable && pod.ready_since.is_none() && !waits.contains(&pod.name);
    world.pods.iter_mut().filter(|pod| is_other(pod)).for_each(|pod| pod.crashing = true);
    world.until("one has made room", |world| world.ready() == 5);
    world.scale(20);
    world.pass(Duration::from_secs(1));
    assert_eq!((world.ready(), old(&world)), (5, 2), "both are scaled: {}", world.describe());
    // All but these four come.
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

/// Nodes that have room for so many pods. Pods get a place in the order in which they were made, and keep it until they are gone.
struct Nodes {
    room: usize,
    placed: BTreeSet<String>,
}

impl Nodes {
    /// With so much room more than the pods take that are there.
    fn with_room_for(more: usize, world: &World) -> Self {
        let placed: BTreeSet<String> = world.pods.iter().map(|pod| pod.name.clone()).collect();
        Self { room: placed.len() + more, placed }
    }

    fn tick(&mut self, world: &mut World) {
        world.quiet_tick();
        self.placed.retain(|name| world.pods.iter().any(|pod| pod.name == *name));
        let waits = |pod: &&Pod| pod.terminating_since.is_none() && !self.placed.contains(&pod.name);
        let waiting: Vec<String> = world.pods.iter().filter(waits).map(|pod| pod.name.clone()).collect();
        let free = self.room.saturating_sub(self.placed.len()).min(waiting.len());
        self.placed.extend(waiting[..free].iter().cloned());
        world.without_room = waiting[free..].to_vec();
        world.look();
    }

    /// The fewest that were Ready meanwhile, and whether it was said that there is no room.
    fn until(&mut self, world: &mut World, is_there: impl Fn(&World) -> bool) -> (usize, bool) {
        let (begun, mut fewest, mut was_said) = (world.now, world.ready(), false);
        while !is_there(world) {
            assert!(world.now < begun + Duration::from_secs(600), "{}", world.describe());
            self.tick(world);
            fewest = fewest.min(world.ready());
            was_said |= reason(world) == "NoRoom";
        }
        (fewest, was_said)
    }
}

/// Ten pods of a new version serve, and the nodes have room for so many more.
fn all_out(unavailable: &Value, capacity: &str, more: usize) -> (World, Nodes) {
    let limits = json!({"maxSurge": "25%", "maxUnavailable": unavailable});
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": limits});
    let mut spec = with(json!({"capacity": capacity}));
    spec["steps"] = json!([{"name": "all", "replicas": "100%", "soak": "1h"}]);
    let mut world = World::new(10, strategy, spec);
    world.push(template("v2", false));
    world.until("all are of the new version", |world| world.phase() == "Soaking");
    world.pass(Duration::from_secs(1));
    assert_eq!((world.ready(), world.pods.len()), (10, 10), "{}", world.describe());
    let nodes = Nodes::with_room_for(more, &world);
    (world, nodes)
}

#[test]
fn on_full_nodes_pods_make_room_only_where_nothing_comes_and_few_at_a_time() {
    let quarter = json!("25%");
    for (unavailable, capacity, more, fewest, waits) in [
        // Pods that go leave their places to stable ones.
        (&quarter, "Auto", 2, 8, false),
        (&quarter, "Auto", 0, 8, false),
        (&quarter, "CapacityFirst", 2, 10, false),
        (&json!(0), "Auto", 2, 10, false),
        // None would go before a stable one is Ready.
        (&quarter, "CapacityFirst", 0, 8, true),
        (&json!(0), "Auto", 0, 9, true),
        (&json!(0), "CapacityFirst", 0, 9, true),
    ] {
        for is_superseded in [false, true] {
            let (mut world, mut nodes) = all_out(unavailable, capacity, more);
            match is_superseded {
                true => world.push(template("v3", false)),
                false => world.say("Abort"),
            }
            let found = nodes.until(&mut world, |world| world.status.last_run.is_some());
            let what = format!("{unavailable} {capacity} {more} superseded={is_superseded}");
            assert_eq!(found, (fewest, waits), "{what}: {}", world.describe());
        }
    }
}

#[test]
fn on_full_nodes_no_more_pods_make_room_where_stable_ones_do_not_start_in_it() {
    let (mut world, mut nodes) = all_out(&json!("25%"), "Auto", 0);
    let stable = template("v1", false);
    let fail = |world: &mut World, nodes: &Nodes, crashing: bool| {
        let set = world.sets.iter().find(|set| set.template == stable).unwrap().name.clone();
        let is_one = |pod: &Pod| pod.set == set && nodes.placed.contains(&pod.name);
        world.pods.iter_mut().filter(|pod| is_one(pod)).for_each(|pod| pod.crashing = crashing);
    };
    let after = |world: &World, time: u64| {
        let until = world.now + Duration::from_secs(time);
        move |world: &World| world.now >= until
    };
    world.ready_after = Duration::from_secs(3600);
    world.say("Abort");
    // Two may go, and two stable ones have their places, and start.
    let two_minutes = after(&world, 120);
    assert_eq!(nodes.until(&mut world, two_minutes).0, 8, "{}", world.describe());
    // They fail, and two more go, once.
    for _ in 0..2 {
        fail(&mut world, &nodes, true);
        let two_minutes = after(&world, 120);
        assert_eq!(nodes.until(&mut world, two_minutes).0, 6, "{}", world.describe());
    }
    assert_eq!(reason(&world), "StablePodsFailing", "{}", world.describe());
    fail(&mut world, &nodes, false);
    world.ready_after = Duration::ZERO;
    let (fewest, _) = nodes.until(&mut world, |world| world.status.last_run.is_some());
    assert_eq!((fewest, world.ready()), (6, 10), "{}", world.describe());
}

#[test]
fn on_full_nodes_pods_that_fail_make_room_at_once_and_take_none_with_them_that_serves() {
    let (mut world, mut nodes) = all_out(&json!(0), "Auto", 0);
    for pod in world.pods.iter_mut().take(7) {
        (pod.crashing, pod.ready_since) = (true, None);
    }
    let until = world.now + Duration::from_secs(10);
    let (fewest, was_said) = nodes.until(&mut world, |world| world.ready() == 10 || world.now >= until);
    assert_eq!((fewest, world.ready(), was_said), (3, 10, false), "{}", world.describe());
    let (fewest, was_said) = nodes.until(&mut world, |world| world.status.last_run.is_some());
    assert_eq!((fewest, was_said), (9, true), "{}", world.describe());
}
