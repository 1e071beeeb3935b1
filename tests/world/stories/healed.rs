//! A tool that heals what it manages writes its template again as often as something else stands there.

use std::time::Duration;

use super::{blocker, ends, quarter, quick};
use crate::world::{World, template};

/// The tool is at work for so long: how often the operator writes meanwhile.
fn heals(world: &mut World, bad: bool, time: Duration) -> usize {
    let (writes, until) = (world.writes_to_deployment, world.now + time);
    while world.now < until {
        world.tick();
        if world.deployment()["spec"]["template"] != template("v2", bad) {
            world.push_by("argocd", template("v2", bad));
        }
    }
    world.writes_to_deployment - writes
}

fn is_all_stable(world: &World) -> bool {
    let serves = world.sets.iter().all(|set| set.replicas == 0 || set.template == template("v1", false));
    serves && world.ready() == 10 && world.alive() == 10
}

#[test]
fn without_replicas_it_is_answered_ever_more_seldom_and_stable_comes_first_after() {
    // `bad`: it was rejected before; else its run waits for replicas.
    for bad in [false, true] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", bad));
        if bad {
            assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
            world.until("rejected", |world| world.phase() == "Rejected");
        } else {
            world.until("half", |world| {
                world.status.step.as_ref().is_some_and(|step| step.name == "half")
                    && world.phase() == "Soaking"
            });
        }
        world.scale(0);
        world.until("no pods", |world| world.alive() == 0);
        let writes = heals(&mut world, bad, Duration::from_secs(1800));
        assert!((2..=30).contains(&writes), "{bad}: {writes} writes: {}", world.describe());
        let wanted = if bad { "RejectedRevision" } else { "NoReplicas" };
        assert_eq!(blocker(&world).0, wanted, "{}", world.describe());
        // It is looked at again when stable is due there, and then that stands.
        let waits = world.deployment()["spec"]["template"] == template("v2", bad);
        assert!(waits && world.deployment()["spec"]["paused"] == true, "{}", world.describe());
        let until = world.now + Duration::from_secs(301);
        let mut wakes = false;
        while !wakes && world.now < until {
            world.quiet_tick();
            let decision = world.look();
            wakes = world.deployment()["spec"]["template"] == template("v1", false);
            assert!(wakes || decision.wake.is_some_and(|wake| wake <= until), "{}", world.describe());
        }
        assert!(wakes, "{}", world.describe());
        world.push_by("argocd", template("v2", bad));
        world.pass(Duration::from_secs(5));
        world.scale(10);
        world.until("stable serves, and nothing else", is_all_stable);
        if !bad {
            assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        }
        assert!(world.status.overwritten.is_none(), "{}", world.describe());
    }
}
