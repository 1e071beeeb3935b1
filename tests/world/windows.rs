//! Windows and freezes in the small world: what they hold, what they do not, and who passes.
//!
//! The world begins at 2027-01-15T08:00:00Z, a Friday.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{World, template};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn quarter() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

/// Three minutes of moves and ten seconds of soaks, with these fields more.
fn quick(more: Value) -> Value {
    let mut spec = json!({
        "steps": [
            {"name": "tenth", "replicas": "10%", "soak": "5s"},
            {"name": "half", "replicas": "50%", "soak": "5s"},
            {"name": "all", "replicas": "100%"},
        ],
        "watch": [{"for": "5s", "every": "1s"}],
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn allow(window: Value) -> Value {
    json!({"windows": {"allow": [window]}})
}

fn fridays(from: &str, to: &str) -> Value {
    quick(allow(json!({"days": ["Fri"], "from": from, "to": to})))
}

fn freeze(name: &str, more: Value) -> Value {
    let mut spec = json!({"reason": "year end"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"name": name, "uid": format!("uid-of-{name}")}, "spec": spec})
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn blocker(world: &World) -> (&str, &str) {
    world.status.blocked_by.as_ref().map_or(("", ""), |blocker| (&blocker.reason, &blocker.message))
}

fn until(world: &World) -> Option<Timestamp> {
    world.status.blocked_by.as_ref()?.until.map(|until| until.0)
}

fn unblock(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| &blocker.unblock)
}

fn outcome(world: &World) -> String {
    world.status.last_run.as_ref().map(|last| format!("{:?}", last.outcome)).unwrap_or_default()
}

fn ended(world: &mut World, wanted: &str) {
    world.until("an end", |world| world.status.last_run.is_some());
    assert_eq!(outcome(world), wanted, "{}", world.describe());
}

/// Much time, of which the operator sees the end.
fn leap(world: &mut World, time: Duration) {
    world.now += time;
    world.tick();
}

/// Nothing of the new version is out, and none comes out in so long.
fn nothing_moves(world: &mut World, time: Duration) {
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(3));
    leap(world, time);
    world.pass(Duration::from_secs(3));
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["paused"], true, "{}", world.describe());
    assert_eq!(world.writes_to_deployment, writes, "{}", world.describe());
}

fn at_step(world: &mut World, name: &str) {
    world.until(name, |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == name)
    });
}

/// What came of the action that was said last.
fn answer(world: &mut World) -> (String, String) {
    world.until("an answer", |world| world.actions.last().is_some_and(|action| !action["status"].is_null()));
    let status = &world.actions.last().unwrap()["status"];
    (status["result"].as_str().unwrap().to_owned(), status["message"].as_str().unwrap().to_owned())
}

#[test]
fn outside_its_windows_a_run_waits_and_begins_when_one_opens() {
    let mut world = World::new(10, quarter(), fridays("08:05", "16:00"));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "OutsideWindow");
    assert_eq!(world.phase(), "Held");
    let message = "no window is open. It opens at 2027-01-15T08:05:00Z, the plan takes 3m10s";
    assert_eq!(blocker(&world).1, message);
    assert_eq!(until(&world), Some(at("2027-01-15T08:05:00Z")));
    assert_eq!(unblock(&world), "wait, or kubectl tidegate skip shop -n ns --reason '...'");
    nothing_moves(&mut world, 4 * MINUTE + 50 * SECOND);
    world.until("moving", |world| world.alive() > 10);
    let late = world.now.duration_since(at("2027-01-15T08:05:00Z"));
    assert!(late.as_secs() < 2, "{late:?} after it opened");
    ended(&mut world, "Succeeded");
}

#[test]
fn a_run_begins_only_when_all_of_it_fits_before_the_window_closes_and_says_what_is_missing() {
    let mut world = World::new(10, quarter(), fridays("07:00", "08:02"));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "OutsideWindow");
    let message = "the window closes at 2027-01-15T08:02:00Z, the plan takes 3m10s: 2m are missing. \
                   The next window that is long enough opens at 2027-01-22T07:00:00Z";
    assert_eq!(blocker(&world).1, message);
    assert_eq!(until(&world), Some(at("2027-01-22T07:00:00Z")));
    nothing_moves(&mut world, MINUTE);
}

#[test]
fn where_no_window_ever_holds_the_plan_it_is_said_and_somebody_may_let_it_go_all_the_same() {
    let mut world = World::new(10, quarter(), fridays("07:00", "07:02"));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "WindowTooShort");
    let message = "the plan takes 3m10s, the longest time that the windows leave is 2m: 2m are missing";
    assert_eq!(blocker(&world).1, message);
    assert!(unblock(&world).starts_with("kubectl edit release shop -n ns"), "{}", unblock(&world));
    let stalled = world.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
    assert!(stalled.is_some_and(|stalled| stalled.status == "True"), "{}", world.describe());
    nothing_moves(&mut world, MINUTE);
    world.say("Skip");
    assert_eq!(answer(&mut world), ("Done".into(), "its windows do not hold this run any more".into()));
    ended(&mut world, "Succeeded");
    let report = world.reports.values().next().expect("a record");
    let pass = &report.passes[0];
    assert_eq!((pass.by.as_str(), pass.reason.as_str(), pass.action.as_str()), ("alice", "because", "a1"));
    assert_eq!(serde_json::to_value(pass.of).unwrap(), "Windows");
}

#[test]
fn signatures_are_taken_before_the_window_opens_and_other_checks_wait_for_it() {
    let preflight = json!([
        {"name": "sign-off", "approval": {"roles": ["qa"]}},
        {"name": "backup", "timeout": "1m", "job": {"template": {"spec": {"template": {}}}}},
    ]);
    let mut spec = fridays("08:05", "16:00");
    spec["preflight"] = preflight;
    let mut world = World::new(10, quarter(), spec);
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "OutsideWindow");
    let message = "no window is open. It opens at 2027-01-15T08:05:00Z, the plan takes 4m10s. \
                   It can be signed meanwhile: sign-off: 0 of 1 signatures, roles: qa";
    assert_eq!(blocker(&world).1, message);
    world.say_of("Approve", json!({"role": "qa"}));
    assert_eq!(answer(&mut world).0, "Done");
    nothing_moves(&mut world, MINUTE);
    assert_eq!(blocker(&world).0, "OutsideWindow");
    let checks = |world: &World| -> Vec<(String, String)> {
        let run = world.status.run.as_ref().expect("a run");
        run.checks.iter().map(|check| (format!("{:?}", check.state), check.message.clone())).collect()
    };
    assert_eq!(checks(&world)[0].0, "Passed", "{}", world.describe());
    assert_eq!(checks(&world)[1], ("Waiting".into(), String::new()), "{}", world.describe());
    leap(&mut world, 3 * MINUTE + 40 * SECOND);
    world.until("the job is made", |world| blocker(world).0 == "CheckRunning");
    assert!(world.now >= at("2027-01-15T08:05:00Z"));
}

#[test]
fn a_window_that_closes_in_mid_run_holds_the_next_move_and_no_undo() {
    let mut spec = fridays("07:00", "08:06");
    spec["steps"][0]["approval"] = json!({"roles": ["qa"]});
    let mut world = World::new(10, quarter(), spec);
    world.push(template("v2", false));
    world.until("signing", |world| blocker(world).0 == "AwaitingApproval");
    leap(&mut world, 6 * MINUTE);
    world.say_of("Approve", json!({"role": "qa"}));
    world.until("held", |world| blocker(world).0 == "OutsideWindow");
    let message =
        "step tenth is done and the next one waits: no window is open. It goes on at 2027-01-22T07:00:00Z";
    assert_eq!(blocker(&world).1, message);
    assert_eq!(until(&world), Some(at("2027-01-22T07:00:00Z")));
    assert_eq!(world.phase(), "Held");
    leap(&mut world, 2 * MINUTE);
    let canary = world.status.replicas.as_ref().map(|replicas| replicas.canary.pods);
    assert_eq!((canary, blocker(&world).0), (Some(1), "OutsideWindow"), "{}", world.describe());
    let mut other = world.copy();
    // It goes on when somebody says so.
    other.say("Skip");
    ended(&mut other, "Succeeded");
    // It goes back at once.
    world.say("Abort");
    let before = world.now;
    ended(&mut world, "Aborted");
    assert!(world.now.duration_since(before).as_secs() < 10, "{}", world.describe());
    world.pass(Duration::from_secs(5));
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
}

#[test]
fn a_freeze_holds_a_new_run_until_it_is_over_and_says_why_and_who_may_pass() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    let passes = json!([{"ground": "security"}, {"ground": "incident"}]);
    world.freezes.push(freeze("year-end", json!({"to": "2027-01-15T08:05:00Z", "passes": passes})));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "Frozen");
    assert_eq!(
        blocker(&world).1,
        "freeze year-end holds it until 2027-01-15T08:05:00Z: year end. \
         Who has the verb pass on freezes/security or freezes/incident year-end may let the run pass"
    );
    assert_eq!(until(&world), Some(at("2027-01-15T08:05:00Z")));
    assert_eq!(
        unblock(&world),
        "kubectl tidegate pass-freeze shop -n ns --freeze year-end --ground security|incident --reason '...'"
    );
    nothing_moves(&mut world, 4 * MINUTE + 50 * SECOND);
    world.until("moving", |world| world.alive() > 10);
    let late = world.now.duration_since(at("2027-01-15T08:05:00Z"));
    assert!(late.as_secs() < 2, "{late:?} after it ended");
    ended(&mut world, "Succeeded");
}

#[test]
fn who_may_passes_a_freeze_on_one_of_its_grounds_and_the_record_says_who_did() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    world.freezes.push(freeze("year-end", json!({"passes": [{"ground": "security"}]})));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "Frozen");
    assert_eq!(until(&world), None);
    world.say("Skip");
    let said = "a freeze holds it: that is passed with pass-freeze, on one of its grounds";
    assert_eq!(answer(&mut world), ("Refused".into(), said.into()));
    for (more, words) in [
        (
            json!({"freeze": "spring", "ground": "security"}),
            "there is no freeze spring that is about this release",
        ),
        (
            json!({"freeze": "year-end", "ground": "haste"}),
            "'haste' is no ground on which freeze year-end may be passed; there is: security",
        ),
    ] {
        world.say_of("PassFreeze", more);
        assert_eq!(answer(&mut world), ("Refused".into(), words.into()));
    }
    nothing_moves(&mut world, MINUTE);
    world.say_of("PassFreeze", json!({"freeze": "year-end", "ground": "security"}));
    assert_eq!(answer(&mut world), ("Done".into(), "freeze year-end does not hold this run any more".into()));
    ended(&mut world, "Succeeded");
    let pass = serde_json::to_value(&world.reports.values().next().expect("a record").passes).unwrap();
    assert_eq!(
        (&pass[0]["of"], &pass[0]["freeze"], &pass[0]["ground"], &pass[0]["by"], &pass[0]["reason"]),
        (&json!("Freeze"), &json!("year-end"), &json!("security"), &json!("alice"), &json!("because"))
    );
    // The next run passes nothing.
    world.push(template("v3", false));
    world.until("held", |world| blocker(world).0 == "Frozen");
    // Nor does one that passed a freeze pass another of the same name.
    world.say_of("PassFreeze", json!({"freeze": "year-end", "ground": "security"}));
    at_step(&mut world, "tenth");
    world.freezes[0]["metadata"]["uid"] = json!("another");
    world.until("held", |world| blocker(world).0 == "Frozen");
}

#[test]
fn a_freeze_that_comes_in_mid_run_holds_the_next_move_and_no_undo() {
    for (step, canary) in [("tenth", 1), ("half", 5)] {
        let mut world = World::new(10, quarter(), quick(json!({})));
        world.push(template("v2", false));
        at_step(&mut world, step);
        world.freezes.push(freeze("stop", json!({"passes": [{"ground": "incident"}]})));
        world.until("held", |world| blocker(world).0 == "Frozen");
        let words =
            format!("step {step} is done and the next one waits: freeze stop holds it until it is deleted");
        assert!(blocker(&world).1.starts_with(&words), "{}", blocker(&world).1);
        leap(&mut world, MINUTE);
        let pods = world.status.replicas.as_ref().map(|replicas| replicas.canary.pods);
        assert_eq!(pods, Some(canary), "{}", world.describe());
        let (mut passed, mut lifted) = (world.copy(), world.copy());
        passed.say_of("PassFreeze", json!({"freeze": "stop", "ground": "incident"}));
        ended(&mut passed, "Succeeded");
        lifted.freezes.clear();
        ended(&mut lifted, "Succeeded");
        let before = world.now;
        world.say("Abort");
        ended(&mut world, "Aborted");
        assert!(world.now.duration_since(before).as_secs() < 10, "{}", world.describe());
    }
}

#[test]
fn a_freeze_that_comes_between_the_checks_and_the_first_pod_holds_the_first_pod() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    world.push(template("v2", false));
    world.until("the steps", |world| {
        world.status.run.as_ref().is_some_and(|run| format!("{:?}", run.stage) == "Steps")
    });
    assert_eq!(world.alive(), 10, "{}", world.describe());
    world.freezes.push(freeze("stop", json!({})));
    world.until("held", |world| blocker(world).0 == "Frozen");
    assert_eq!(unblock(&world), "wait: it names no grounds on which it may be passed");
    leap(&mut world, MINUTE);
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    world.freezes.clear();
    ended(&mut world, "Succeeded");
}

#[test]
fn a_run_that_would_reach_into_a_freeze_does_not_begin() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    let times = json!({"from": "2027-01-15T08:02:00Z", "to": "2027-01-15T08:06:00Z"});
    world.freezes.push(freeze("drill", times));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "Frozen");
    let message = "freeze drill comes at 2027-01-15T08:02:00Z, the plan takes 3m10s: 2m are missing; it holds until \
                   2027-01-15T08:06:00Z: year end. Nobody may pass it";
    assert_eq!(blocker(&world).1, message);
    nothing_moves(&mut world, 5 * MINUTE + 40 * SECOND);
    world.until("moving", |world| world.alive() > 10);
    assert!(world.now >= at("2027-01-15T08:06:00Z"), "{}", world.now);
}

#[test]
fn whatever_is_closed_and_frozen_a_bad_version_comes_back_at_once() {
    for frozen in [false, true] {
        let mut world =
            World::new(10, quarter(), quick(allow(json!({"days": ["Fri"], "from": "08:00", "to": "08:10"}))));
        world.push(template("v2", false));
        at_step(&mut world, "half");
        world.release.as_mut().unwrap()["windows"] =
            json!({"blackouts": [{"from": "2027-01-01", "to": "2027-02-01", "reason": "x"}]});
        if frozen {
            world.freezes.push(freeze("stop", json!({})));
        }
        let reason = if frozen { "Frozen" } else { "OutsideWindow" };
        world.until("held", |world| blocker(world).0 == reason);
        let newest = world.sets.iter().max_by_key(|set| set.born).map(|set| set.name.clone());
        for pod in world.pods.iter_mut().filter(|pod| Some(&pod.set) == newest.as_ref()) {
            (pod.restarts, pod.ended) = (1, Some("OOMKilled"));
        }
        let before = world.now;
        ended(&mut world, "Undone");
        assert!(world.now.duration_since(before).as_secs() < 10, "{}", world.describe());
        world.pass(Duration::from_secs(5));
        assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
    }
}

#[test]
fn the_stable_template_put_back_by_its_owner_waits_for_no_window_and_no_freeze() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    world.push(template("v2", false));
    at_step(&mut world, "tenth");
    world.freezes.push(freeze("stop", json!({})));
    world.until("held", |world| blocker(world).0 == "Frozen");
    world.push(template("v1", false));
    ended(&mut world, "Undone");
    world.pass(Duration::from_secs(5));
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    assert!(world.deployment()["spec"].get("paused").is_none(), "{}", world.describe());
}

#[test]
fn a_freeze_holds_those_that_it_selects_and_no_others() {
    for (selectors, holds) in [
        (json!({}), true),
        (json!({"namespaceSelector": {"matchLabels": {"env": "production"}}}), true),
        (json!({"namespaceSelector": {"matchLabels": {"env": "test"}}}), false),
        (json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ns"}}}), true),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test"]}]}}),
            true,
        ),
        (json!({"releaseSelector": {"matchLabels": {"tier": "front"}}}), true),
        (
            json!({"releaseSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}),
            false,
        ),
        (json!({"from": "2027-01-15T07:00:00Z", "to": "2027-01-15T08:00:00Z"}), false),
        (json!({"from": "2027-01-16T07:00:00Z"}), false),
    ] {
        let mut world = World::new(10, quarter(), quick(json!({})));
        world.freezes.push(freeze("stop", selectors.clone()));
        world.push(template("v2", false));
        world.pass(Duration::from_secs(5));
        assert_eq!(blocker(&world).0 == "Frozen", holds, "{selectors}: {}", world.describe());
    }
}

#[test]
fn a_freeze_that_cannot_be_read_holds_since_somebody_has_ordered_it() {
    let mut world = World::new(10, quarter(), quick(json!({})));
    world.freezes.push(
        json!({"metadata": {"name": "newer", "uid": "u"}, "spec": {"reason": {"of": "a later version"}}}),
    );
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "Frozen");
    assert!(blocker(&world).1.contains("this operator cannot read what it says"), "{}", blocker(&world).1);
}

#[test]
fn windows_that_cannot_be_understood_hold_with_the_field_and_what_to_write() {
    for (window, words) in [
        (
            json!({"days": ["Fri"], "timeZone": "Europe/Olso"}),
            "spec.windows.allow[0].timeZone: 'Europe/Olso' is no time zone that is known here: write Europe/Oslo or UTC",
        ),
        (
            json!({"cron": "0 9 * * Mon-Freitag", "for": "7h"}),
            "spec.windows.allow[0].cron: day of the week 'Mon-Freitag': write *, numbers from 0 to 7, 1-5, */15 or 1,3",
        ),
        (
            json!({"days": ["Fri"], "from": "24:00"}),
            "spec.windows.allow[0].from: write \"09:00\" or \"16:30\"",
        ),
        (
            json!({"days": ["Fri"], "cron": "0 9 * * *", "for": "1h"}),
            "spec.windows.allow[0]: needs exactly one of: days (with from and to), cron (with for)",
        ),
    ] {
        let mut world = World::new(10, quarter(), quick(allow(window)));
        world.push(template("v2", false));
        world.until("held", |world| blocker(world).0 == "InvalidSpec");
        assert_eq!(blocker(&world).1, words);
    }
}

#[test]
fn waiting_for_a_window_writes_nothing() {
    let mut world = World::new(10, quarter(), fridays("09:00", "16:00"));
    world.push(template("v2", false));
    world.until("held", |world| blocker(world).0 == "OutsideWindow");
    world.pass(Duration::from_secs(5));
    let writes = (world.writes_to_deployment, world.status_writes);
    for _ in 0..100 {
        leap(&mut world, 30 * SECOND);
    }
    assert_eq!((world.writes_to_deployment, world.status_writes), writes, "{}", world.describe());
}

#[test]
fn held_by_the_calendar_it_is_looked_at_when_that_ends_and_once_an_hour() {
    for (window, until) in [("08:20", Some("2027-01-15T08:20:00Z")), ("18:00", None)] {
        let mut world = World::new(10, quarter(), fridays(window, "23:00"));
        world.push(template("v2", false));
        world.until("held", |world| blocker(world).0 == "OutsideWindow");
        let wake = world.look().wake.expect("a wake");
        let hour = world.now + 60 * MINUTE;
        assert_eq!(wake, until.map_or(hour, at));
    }
}
