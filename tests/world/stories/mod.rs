//! Stories in the small world: what is seen here is the same in milliseconds as on a real control plane in minutes.

mod admission;
mod anew;
mod failing;
mod finished;
mod for_a_while;
mod healed;
mod kept_anew;
mod large;
mod left_behind;
mod moving;
mod numbers;
mod paused;
mod settling;
mod silent;
mod unheard;
mod unlabelled;
mod waiting;

use std::time::Duration;

use serde_json::{Value, json};

use super::{World, template};

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn quarter() -> Value {
    rolling(json!("25%"), json!("25%"))
}

fn quick() -> Value {
    json!({
        "steps": [{"name": "tenth", "replicas": "10%", "soak": "5s"}, {"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

fn outcome(world: &World) -> String {
    world.status.last_run.as_ref().map(|last| format!("{:?}", last.outcome)).unwrap_or_default()
}

fn ends(world: &mut World, number: i64) -> String {
    world.until(&format!("the end of run {number}"), |world| {
        world.status.last_run.as_ref().is_some_and(|last| last.number >= number)
    });
    outcome(world)
}

fn blocker(world: &World) -> (&str, &str) {
    world.status.blocked_by.as_ref().map_or(("", ""), |blocker| (&blocker.reason, &blocker.unblock))
}

#[test]
fn all_there_is_to_say_of_an_adopted_deployment_is_said_in_one_write() {
    let mut world = World::new(10, quarter(), quick());
    let (adopted, writes) = (world.status.clone(), world.status_writes);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.status_writes, writes, "{adopted:#?}\nand then\n{:#?}", world.status);
    assert_eq!(world.status.replicas.as_ref().map(|replicas| replicas.stable.ready), Some(10));
}

#[test]
fn a_good_version_goes_out_within_few_writes_and_the_spec_is_its_owners_again() {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment()["spec"].clone();
    let (writes, status_writes) = (world.writes_to_deployment, world.status_writes);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(60));
    let mut after = world.deployment()["spec"].clone();
    after["template"] = before["template"].clone();
    assert_eq!(after, before, "{}", world.describe());
    let (writes, status_writes) = (world.writes_to_deployment - writes, world.status_writes - status_writes);
    assert!(writes <= 14, "{writes} writes to the Deployment");
    assert!(status_writes <= 16, "{status_writes} writes of status");
    assert_eq!(world.phase(), "Idle");
}

#[test]
fn pods_that_crash_bring_the_old_version_back_at_once_and_a_held_template_stays_held() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", true));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.until("rejected", |world| world.phase() == "Rejected");
    assert_eq!(world.ready(), 10);
    for _ in 0..10 {
        world.push(template("v2", true));
        world.pass(Duration::from_secs(20));
        assert_eq!((world.alive(), world.ready()), (10, 10), "nothing starts: {}", world.describe());
    }
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn every_shape_of_surge_and_unavailable_goes_through_with_any_number_of_pods() {
    let shapes = [
        rolling(json!(0), json!(1)),
        rolling(json!(1), json!(0)),
        quarter(),
        rolling(json!("100%"), json!(0)),
        rolling(json!(2), json!(1)),
        rolling(json!(0), json!("100%")),
    ];
    for replicas in [1, 2, 3, 5, 10, 33] {
        for shape in &shapes {
            let mut world = World::new(replicas, shape.clone(), quick());
            world.push(template("v2", false));
            assert_eq!(ends(&mut world, 1), "Succeeded", "{replicas} {shape}\n{}", world.describe());
            world.push(template("v3", true));
            assert_eq!(ends(&mut world, 2), "Undone", "{replicas} {shape}\n{}", world.describe());
            world.pass(Duration::from_secs(10));
            assert_eq!(
                world.ready(),
                usize::try_from(replicas).unwrap(),
                "{replicas} {shape}\n{}",
                world.describe()
            );
        }
    }
}

#[test]
fn without_replicas_the_run_waits_and_starts_again_when_there_are() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.scale(0);
    world.until("no replicas", |world| {
        world.status.blocked_by.as_ref().is_some_and(|blocker| blocker.reason == "NoReplicas")
    });
    world.scale(10);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.ready(), 10);
}

#[test]
fn a_shrink_to_one_and_back_does_not_hand_everything_to_the_canary() {
    let mut world = World::new(2, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.scale(1);
    world.pass(Duration::from_secs(2));
    world.scale(3);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.ready(), 3);
}

#[test]
fn a_newer_template_in_mid_run_goes_back_first_and_then_out() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
}

#[test]
fn a_newer_template_that_its_owner_takes_back_does_not_go_out() {
    // `crashes`: the first one is undone; else it only makes room for the newer one.
    for crashes in [false, true] {
        let mut world = World::new(10, quarter(), quick());
        world.ready_after = Duration::from_secs(5);
        world.push(template("v2", crashes));
        world.until("some pods", |world| world.alive() > 0 && world.status.step.is_some());
        if crashes {
            world.until("going back", |world| world.phase() == "Undoing");
        }
        world.push(template("v3", false));
        world.until("stable is ordered", |world| {
            let next = world.status.run.as_ref().and_then(|run| run.back.as_ref()?.next.clone());
            next.is_some() && world.deployment()["spec"]["template"] == template("v1", false)
        });
        let back = world.status.run.as_ref().and_then(|run| run.back.clone()).expect("it goes back");
        assert!(back.restored_at.is_none(), "{}", world.describe());
        world.push(template("v2", crashes));
        world.pass(Duration::from_secs(120));
        let told = world.notices.iter().filter(|notice| notice.reason == "TemplateDropped");
        let told: Vec<&str> = told.map(|notice| notice.note.as_str()).collect();
        let words = format!(
            "template {} (shop:v1) does not come any more: the version of the run was written after it. Push it again if that was not meant",
            back.next.expect("it is owed").revision
        );
        assert_eq!(told, [words], "{}", world.describe());
        let outcomes: Vec<_> =
            world.reports.values().map(|report| report.canary.fingerprint.clone()).collect();
        assert_eq!(outcomes.len(), if crashes { 1 } else { 2 }, "{}", world.describe());
        assert!(outcomes.iter().all(|of| *of == outcomes[0]), "v3 had no run: {outcomes:?}");
    }
}

#[test]
fn what_was_to_come_after_stable_does_not_once_its_owner_has_put_stable_back_before_us() {
    // Why it goes back, and how the run ends then.
    let cases = [("Superseded", "Undone"), ("NoReplicas", "Undone"), ("Abort", "Aborted")];
    for policy in [true, false] {
        for (cause, wanted) in cases {
            let mut world = World::new(10, quarter(), quick());
            world.policy = policy;
            world.pass(Duration::from_secs(2));
            let before = world.deployment()["spec"].clone();
            world.push(template("v2", false));
            world.until("half", |world| {
                world.status.step.as_ref().is_some_and(|step| step.name == "half")
                    && world.phase() == "Soaking"
            });
            match cause {
                "NoReplicas" => world.scale(0),
                _ => world.push(template("v3", false)),
            }
            if cause == "Abort" {
                world.say("Abort");
            }
            // It is noted, and what comes after stable is kept; the order does not go out any more.
            world.dies_after = Some(usize::from(cause != "NoReplicas"));
            world.tick();
            let back = world.status.run.as_ref().and_then(|run| run.back.clone()).expect("it is noted");
            assert_eq!(format!("{:?}", back.cause), cause);
            assert_eq!(back.next.is_some(), cause != "NoReplicas");
            assert_ne!(world.deployment()["spec"]["template"], template("v1", false));
            world.push(template("v1", false));
            assert_eq!(ends(&mut world, 1), wanted, "{cause}\n{}", world.describe());
            let message = world.status.last_run.clone().expect("it is over").message;
            assert_eq!(
                message.contains("owner put the stable template back"),
                wanted == "Undone",
                "{message}"
            );
            world.scale(10);
            world.pass(Duration::from_secs(60));
            assert_eq!(world.reports.len(), 1, "{cause}: nothing else had a run: {}", world.describe());
            assert_eq!(world.deployment()["spec"], before, "{cause}\n{}", world.describe());
            assert_eq!((world.ready(), world.alive()), (10, 10));
        }
    }
}

/// Ten pods of v1, and v2 on its way back since it crashes, or since its owner has put v1 back; and what its owner wrote.
fn on_its_way_back(crashes: bool) -> (World, Value) {
    let mut world = World::new(10, quarter(), quick());
    world.ready_after = Duration::from_secs(5);
    world.pass(Duration::from_secs(8));
    let before = world.deployment()["spec"].clone();
    world.push(template("v2", crashes));
    world.until("some pods", |world| world.alive() > 10);
    if !crashes {
        world.push(template("v1", false));
    }
    world.until("going back", |world| world.phase() == "Undoing");
    (world, before)
}

#[test]
fn what_its_owner_has_taken_back_does_not_come_though_status_could_not_be_written_when_that_was_seen() {
    // `dies`: whoever has seen it. Where nothing is wrong with what serves nothing has been ordered by then.
    for (crashes, dies) in [(false, false), (true, false), (false, true)] {
        let (mut world, before) = on_its_way_back(crashes);
        // It is noted, and nothing is ordered yet over what has come.
        world.push(template("v3", false));
        world.dies_after = Some(1);
        world.tick();
        let back = world.status.run.as_ref().and_then(|run| run.back.clone()).expect("it is noted");
        assert!(back.next.is_some(), "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
        world.push(template("v1", false));
        world.status_unwritten = true;
        world.tick();
        world.status_unwritten = false;
        if dies {
            world.begin_anew();
        }
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        world.pass(Duration::from_secs(60));
        assert_eq!((world.reports.len(), world.ready()), (1, 10), "{}", world.describe());
        assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
        let told = world.notices.iter().filter(|notice| notice.reason == "TemplateDropped");
        assert_eq!(told.count(), 1, "{}", world.describe());
    }
}

#[test]
fn what_comes_after_stable_comes_though_status_could_not_be_written_when_that_was_ordered() {
    for crashes in [false, true] {
        let (mut world, _) = on_its_way_back(crashes);
        world.push(template("v3", false));
        world.status_unwritten = true;
        world.tick();
        world.status_unwritten = false;
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    }
}

#[test]
fn a_newer_template_that_was_put_back_and_taken_back_before_that_was_noted_is_not_put_back_again() {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment()["spec"].clone();
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.push(template("v3", false));
    world.until("stable stands", stands_again);
    // The next look puts it back, and the one after that says so.
    world.tick();
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    assert!(world.status.run.as_ref().is_some_and(|run| run.number == 1), "{}", world.describe());
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.pass(Duration::from_secs(60));
    assert_eq!((world.reports.len(), world.ready()), (1, 10), "{}", world.describe());
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
}

#[test]
fn a_newer_template_waits_until_stable_is_kept_anew_where_that_was_lost_once_it_stood() {
    for (says, wanted) in [(None, "Superseded"), (Some("Abort"), "Aborted")] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", false));
        world.until("soaking", |world| world.phase() == "Soaking");
        world.push(template("v3", false));
        if let Some(action) = says {
            world.say(action);
        }
        world.until("stable stands", stands_again);
        let stable = world.status.stable.clone().expect("it is known").revision;
        world.templates.remove(&stable).expect("it was kept");
        world.tick();
        assert_eq!(blocker(&world).0, "StableTemplateLost", "{}", world.describe());
        assert!(blocker(&world).1.contains("hand-back"), "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false), "{}", world.describe());
        assert!(world.templates.contains_key(&stable), "it is kept anew: {}", world.describe());
        assert_eq!(ends(&mut world, 1), wanted, "{}", world.describe());
        assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    }
}

/// v2 on its way in the place of three pods of v1 with the strategy `Recreate`, pods that start in five seconds, no policies; and what its owner wrote.
fn moving_with_nothing_parked(release: Value) -> (World, Value) {
    let mut world = World::new(3, json!({"type": "Recreate"}), release);
    world.policy = false;
    world.until("paused", |world| world.deployment()["spec"]["paused"] == true);
    let before = world.deployment()["spec"].clone();
    world.ready_after = Duration::from_secs(5);
    world.push(template("v2", false));
    world.until("moving", |world| world.phase() == "Moving");
    (world, before)
}

fn stands_again(world: &World) -> bool {
    let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
    back.is_some_and(|back| back.restored_at.is_some())
}

#[test]
fn a_newer_template_that_was_put_back_and_taken_back_is_not_put_back_again_where_nothing_is_parked() {
    let release = json!({"watch": [{"for": "5s", "every": "1s"}]});
    let (mut world, before) = moving_with_nothing_parked(release);
    world.push(template("v3", false));
    world.until("stable stands", stands_again);
    assert_eq!(world.deployment()["spec"]["template"], template("v1", false), "{}", world.describe());
    let mut anew = world.copy();
    // The next look puts it back, and the one after that says so.
    world.tick();
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    assert!(world.status.run.as_ref().is_some_and(|run| run.number == 1), "{}", world.describe());
    let mut left = world.copy();
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let message = &world.status.last_run.as_ref().unwrap().message;
    assert!(message.contains("put the stable template back"), "{message}");
    world.pass(Duration::from_secs(60));
    assert_eq!((world.reports.len(), world.ready()), (1, 3), "{}", world.describe());
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
    // Nor where its Release was made anew, and puts it back because of what this process knows.
    anew.status = tidegate::api::ReleaseStatus::default();
    anew.tick();
    assert_eq!(anew.deployment()["spec"]["template"], template("v3", false), "{}", anew.describe());
    anew.push(template("v1", false));
    anew.pass(Duration::from_secs(60));
    assert_eq!((anew.reports.len(), anew.ready()), (0, 3), "{}", anew.describe());
    assert_eq!(anew.deployment()["spec"], before, "{}", anew.describe());
    // What nobody takes back is released.
    assert_eq!(ends(&mut left, 2), "Succeeded", "{}", left.describe());
    assert_eq!(left.deployment()["spec"]["template"], template("v3", false), "{}", left.describe());
}

#[test]
fn what_is_held_after_a_way_back_has_the_owners_deadline_where_nothing_is_parked() {
    let release =
        json!({"steps": [{"name": "all", "replicas": "100%"}], "watch": [{"for": "5s", "every": "1s"}]});
    let (mut world, before) = moving_with_nothing_parked(release);
    world.say("Abort");
    world.until("stable stands", stands_again);
    world.push(template("v3", false));
    world.look();
    assert_eq!(outcome(&world), "Aborted", "{}", world.describe());
    let held = &world.deployment()["spec"];
    assert_eq!((&held["paused"], &held["template"]), (&json!(true), &template("v3", false)));
    assert_eq!(held["progressDeadlineSeconds"], 600, "{}", world.describe());

    // No run has the fields yet: what the owner makes of them is theirs.
    let mut edited = world.copy();
    edited.write(|spec| {
        spec["strategy"] = quarter();
        spec["progressDeadlineSeconds"] = json!(45);
    });
    assert_eq!(ends(&mut edited, 2), "Succeeded", "{}", edited.describe());
    edited.pass(Duration::from_secs(10));
    let spec = &edited.deployment()["spec"];
    assert_eq!((&spec["strategy"], &spec["progressDeadlineSeconds"]), (&quarter(), &json!(45)));

    // Its run makes room for a newer one, that its owner takes back before stable is ordered.
    world.until("its pods are out", |world| {
        world.sets.iter().any(|set| set.template == template("v3", false) && set.replicas > 0)
    });
    world.push(template("v4", false));
    world.dies_after = Some(1);
    world.look();
    let back = world.status.run.as_ref().and_then(|run| run.back.clone()).expect("it is noted");
    assert!(back.next.is_some(), "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v4", false), "{}", world.describe());
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    let message = &world.status.last_run.as_ref().unwrap().message;
    assert!(message.contains("put the stable template back"), "{message}");
    world.pass(Duration::from_secs(60));
    assert_eq!((world.reports.len(), world.ready()), (2, 3), "{}", world.describe());
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
}

#[test]
fn a_step_that_is_written_anew_in_mid_run_is_soaked_anew() {
    let steps = |pilot: Value| {
        let half = json!({"name": "half", "replicas": "50%", "soak": "30s"});
        let all = json!({"name": "all", "replicas": "100%"});
        let steps: Vec<Value> = [pilot, half, all].into_iter().filter(|step| !step.is_null()).collect();
        json!({"steps": steps, "watch": [{"for": "5s", "every": "1s"}]})
    };
    let pilot = |replicas: &str| json!({"name": "pilot", "replicas": replicas, "soak": "8m"});
    for (rewritten, name, soak) in [(Value::Null, "half", 30), (pilot("40%"), "pilot", 480)] {
        let mut world = World::new(10, quarter(), steps(pilot("10%")));
        world.push(template("v2", false));
        world.until("the pilot", |world| world.phase() == "Soaking");
        world.pass(Duration::from_secs(300));
        world.release.as_mut().unwrap()["steps"] = steps(rewritten)["steps"].take();
        world.until("more pods", |world| {
            world.status.step.as_ref().is_some_and(|step| step.name == name && step.pods > 1)
                && world.phase() == "Soaking"
        });
        let soaked = world.status.run.as_ref().unwrap().progress.soaked;
        assert!(soaked < 1000, "{soaked} ms are soaked before it stands: {}", world.describe());
        let since = world.now;
        world.until("left", |world| world.status.step.as_ref().is_none_or(|step| step.name != name));
        assert!(world.now >= since + Duration::from_secs(soak - 1), "{}", world.describe());
    }
}

#[test]
fn whatever_steps_are_called_that_are_not_of_all_pods_the_one_that_is_comes_after_them() {
    let steps = [("all", "10%"), ("all-pods", "20%"), ("all-pods-3", "30%"), ("all-pods-2", "50%")];
    let steps = steps.map(|(name, share)| json!({"name": name, "replicas": share, "soak": "2s"}));
    let mut release = quick();
    release["steps"] = json!(steps);
    let mut world = World::new(10, quarter(), release);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    let passed: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(passed, ["all", "all-pods", "all-pods-3", "all-pods-2", "all-pods-4"]);
}

#[test]
fn a_retry_overwrites_no_newer_template() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", true));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.release.as_mut().unwrap()["suspend"] = json!(true);
    world.push(template("v3", false));
    world.until("held", |world| blocker(world).0 == "Suspended");
    world.say("Retry");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    world.release.as_mut().unwrap().as_object_mut().unwrap().remove("suspend");
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn the_stable_template_put_back_by_its_owner_ends_the_run_and_rejects_nothing() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| world.status.step.as_ref().is_some_and(|step| step.name == "half"));
    world.push(template("v1", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(world.status.rejected.is_empty());
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn an_abort_goes_back_from_every_phase() {
    for phase in ["Moving", "Soaking", "Watching"] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", false));
        world.until(phase, |world| world.phase() == phase);
        world.say("Abort");
        assert_eq!(ends(&mut world, 1), "Aborted", "{phase}\n{}", world.describe());
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
        assert_eq!(world.ready(), 10, "{phase}");
    }
}

#[test]
fn recreate_changes_all_at_once_and_comes_back_when_it_crashes() {
    let release = json!({"watch": [{"for": "5s", "every": "1s"}]});
    let mut world = World::new(3, json!({"type": "Recreate"}), release);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.push(template("v3", true));
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.ready(), 3, "{}", world.describe());
}

#[test]
fn kept_paused_where_no_policy_is_served() {
    let mut world = World::new(4, quarter(), quick());
    world.policy = false;
    world.until("paused", |world| world.deployment()["spec"]["paused"] == true);
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(5));
    assert_eq!(world.deployment()["spec"]["paused"], true);
    world.policy = true;
    world.until("not paused any more", |world| world.deployment()["spec"].get("paused").is_none());
}

#[test]
fn reacting_means_that_pods_which_had_started_go_back_before_the_run_begins() {
    let mut spec = quick();
    spec["capture"] = json!("React");
    let mut world = World::new(10, quarter(), spec);
    world.policy = false;
    world.push(template("v2", false));
    world.quiet_tick();
    assert!(world.sets.iter().any(|set| set.born > 1 && set.replicas > 0), "it had begun to roll");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_deployment_without_our_label_has_nothing_of_ours_left_also_when_the_operator_goes_at_once() {
    for phase in ["Idle", "Preflight", "Moving", "Soaking", "Undoing"] {
        let mut world = World::new(10, quarter(), quick());
        let before = world.deployment()["spec"].clone();
        if phase != "Idle" {
            world.push(template("v2", phase == "Undoing"));
            world.until(phase, |world| world.phase() == phase);
        }
        world.release = None;
        for _ in 0..6000 {
            if world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none() {
                break;
            }
            world.dies_after = Some(1);
            world.tick();
        }
        assert_eq!(world.deployment()["spec"], before, "{phase}\n{}", world.describe());
        assert!(world.templates.is_empty(), "{phase}: {:?}", world.templates.keys());
    }
}

#[test]
fn killed_after_any_write_it_comes_to_the_same_end() {
    for bad in [false, true] {
        // An undo takes few looks. Of those of a run every second: all of them take minutes without optimisation.
        let every = if bad { 1 } else { 2 };
        let mut kills = 0;
        for nth_look in (0..).step_by(every) {
            let killed = (0..2).filter(|after| is_killed(bad, nth_look, *after)).count();
            if killed == 0 {
                break;
            }
            kills += killed;
        }
        assert!(kills >= 8, "bad={bad}: it was killed {kills} times");
    }
}

/// Plays a run in which the operator dies in the nth look that writes anything, after so many of its writes. False: there are not so many looks.
fn is_killed(bad: bool, nth_look: usize, after: usize) -> bool {
    let what = format!("bad={bad}, look {nth_look} after {after}");
    let mut world = World::new(5, quarter(), quick());
    world.push(template("v2", bad));
    let mut looks = 0;
    while world.status.last_run.is_none() {
        world.quiet_tick();
        let mut rehearsal = World { dies_after: Some(0), ..world.copy() };
        let decision = rehearsal.look();
        if !decision.intents.is_empty() || decision.status.is_some() {
            if looks == nth_look {
                world.dies_after = Some(after);
            }
            looks += 1;
        }
        world.look();
        assert!(looks < 500, "{what}\n{}", world.describe());
    }
    world.pass(Duration::from_secs(10));
    let wanted = if bad { "Undone" } else { "Succeeded" };
    assert_eq!(outcome(&world), wanted, "{what}\n{}", world.describe());
    assert_eq!((world.ready(), world.alive()), (5, 5), "{what}\n{}", world.describe());
    assert_eq!(
        world.deployment()["spec"]["template"],
        template(if bad { "v1" } else { "v2" }, false),
        "{what}"
    );
    assert_eq!(world.deployment()["spec"]["strategy"], quarter(), "{what}\n{}", world.describe());
    nth_look < looks
}
