//! How many pods are Ready on the way back, where the nodes have room.

use std::cell::Cell;

use serde_json::{Value, json};
use tidegate::decide::pace::Limits;

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
