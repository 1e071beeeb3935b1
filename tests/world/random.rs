//! Random worlds: scaling, new templates, pauses and deaths at any moment, from seeds. The invariants hold at every tick.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::ReleaseStatus;

use super::{World, template};

/// A small generator: the same seed is the same story.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.next(of.len() as u64)).unwrap()].clone()
    }
}

fn shape(dice: &mut Dice) -> Value {
    let (surge, unavailable) = dice.pick(&[
        (json!(0), json!(1)),
        (json!(1), json!(0)),
        (json!("25%"), json!("25%")),
        (json!("100%"), json!(0)),
        (json!(3), json!(2)),
        (json!(0), json!("50%")),
    ]);
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn limits(strategy: &Value, replicas: i32) -> (i32, i32) {
    let limits = tidegate::decide::pace::Limits::of(strategy, replicas);
    (limits.surge, limits.unavailable)
}

fn play(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let strategy = shape(&mut dice);
    let replicas = dice.pick(&[1, 2, 3, 4, 10, 20]);
    let (capture, policy) = dice.pick(&[
        ("Policy", true),
        ("Policy", true),
        ("React", false),
        ("Paused", false),
        ("Paused", true),
    ]);
    let release = json!({
        "capture": capture,
        "steps": [{"name": "pilot", "replicas": 1, "soak": "2s"}, {"name": "half", "replicas": "50%", "soak": "3s"}],
        "watch": [{"for": "3s", "every": "1s"}],
    });
    let mut world = World::new(replicas, strategy.clone(), release);
    world.policy = policy;
    world.ready_after = Duration::from_millis(dice.pick(&[100, 500, 1500]));
    let mut version = 1;
    let mut story = Vec::new();
    let mut troubled_until = world.now;
    for tick in 0..600 {
        if dice.next(25) == 0 {
            // Where nobody guards the pace of the way back, a new template takes it for the moment until it is held.
            let unguarded = !policy && world.status.run.as_ref().is_some_and(|run| run.back.is_some());
            if unguarded {
                troubled_until = world.now + Duration::from_secs(5);
            }
            match dice.next(10) {
                0 | 1 => {
                    version += 1;
                    let bad = dice.next(3) == 0;
                    story.push(format!("{} push v{version} bad={bad}", world.now));
                    world.push(template(&format!("v{version}"), bad));
                }
                2 | 3 => {
                    let to = dice.pick(&[0, 1, 2, 3, 6, 10, 16, 20]);
                    story.push(format!("{} scale {to}", world.now));
                    world.scale(to);
                    troubled_until = world.now + Duration::from_secs(5);
                }
                4 => {
                    story.push(format!("{} abort", world.now));
                    world.say("Abort");
                }
                5 => {
                    story.push(format!("{} pause and resume", world.now));
                    world.say("Pause");
                    world.pass(Duration::from_secs(1));
                    world.say("Resume");
                }
                6 => {
                    let back = dice.next(version) + 1;
                    story.push(format!("{} push v{back} again", world.now));
                    world.push(template(&format!("v{back}"), false));
                }
                7 => {
                    let paused = dice.next(2) == 0;
                    story.push(format!("{} rollout pause={paused}", world.now));
                    world.pause(paused);
                }
                8 => {
                    story.push(format!("{} lose status", world.now));
                    world.status = ReleaseStatus::default();
                }
                _ => {
                    story.push(format!("{} die", world.now));
                    world.dies_after = Some(usize::try_from(dice.next(3)).unwrap());
                }
            }
        }
        world.tick();
        if tick % 50 == 0 {
            world.assert_that_it_is_seen_as_it_is();
        }
        let (least, most) = world.wanted_lately();
        let (surge, unavailable) = (limits(&strategy, most).0, limits(&strategy, least).1);
        // On the way back the floor holds as long as nobody writes to the Deployment (undoing/capacity.rs). A newer template pauses it, maybe
        // before the order is carried out: then the native controller takes what is more than its surge from all revisions alike.
        let undoing = world.status.run.as_ref().is_some_and(|run| run.back.is_some());
        if world.now > troubled_until && !undoing {
            let ready = i32::try_from(world.ready()).unwrap();
            assert!(
                ready >= least - unavailable,
                "seed {seed}: {ready} Ready, {least} - {unavailable} wanted\n{story:#?}\n{}",
                world.describe()
            );
            let alive = i32::try_from(world.alive()).unwrap();
            assert!(
                alive <= most + surge,
                "seed {seed}: {alive} pods, {most} + {surge} allowed\n{story:#?}\n{}",
                world.describe()
            );
        }
    }
    // Left alone, it comes to rest: everything that is wanted stands, with the owner's fields.
    world.say("Resume");
    if world.replicas() == 0 {
        world.scale(3);
    }
    for _ in 0..1200 {
        world.tick();
        if world.status.blocked_by.as_ref().is_some_and(|blocker| blocker.reason == "PausedByOwner") {
            world.pause(false);
        }
    }
    let at_rest = matches!(world.phase().as_str(), "Idle" | "Rejected") && world.status.run.is_none();
    assert!(at_rest, "seed {seed}: does not come to rest\n{story:#?}\n{}", world.describe());
    assert_eq!(
        i32::try_from(world.ready()).unwrap(),
        world.replicas(),
        "seed {seed}\n{story:#?}\n{}",
        world.describe()
    );
    let held = world.phase() == "Rejected" && world.deployment()["spec"]["paused"] == true;
    if !held {
        assert_eq!(
            world.deployment()["spec"]["strategy"],
            strategy,
            "seed {seed}\n{story:#?}\n{}",
            world.describe()
        );
        assert_eq!(
            world.deployment()["spec"]["minReadySeconds"].as_i64().unwrap_or(0),
            0,
            "seed {seed}\n{story:#?}\n{}",
            world.describe()
        );
    }
}

#[test]
fn whatever_happens_the_limits_hold_and_it_comes_to_rest() {
    let seeds: u64 = std::env::var("TIDEGATE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let first: u64 =
        std::env::var("TIDEGATE_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    for seed in first..first + seeds {
        play(seed);
    }
    println!("{seeds} worlds");
}
