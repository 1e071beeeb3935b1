//! What a run owes people, and what is remembered of it, in the small world.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::Right;
use tidegate::api::notify::{Event, NotificationsStatus, Turn};
use tidegate::decide::notify::{TellResult, Told};

use super::{World, template};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn quarter() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn released(notify: &Value, more: &Value) -> World {
    let mut spec = json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "2s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "2s", "every": "1s"}],
        "notify": notify,
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    World::new(4, quarter(), spec)
}

fn signed() -> Value {
    json!({"preflight": [{"name": "sign-off", "approval": {"roles": ["qa"], "quorum": 1}}]})
}

const EVERYTHING: [&str; 12] = [
    "Started",
    "AwaitingApproval",
    "Held",
    "MissingRight",
    "StepPassed",
    "Undoing",
    "Undone",
    "Succeeded",
    "Aborted",
    "Superseded",
    "HandedBack",
    "Rejected",
];

fn team() -> Value {
    json!({"name": "team", "slack": {"secret": "slack"}, "events": EVERYTHING})
}

fn known(world: &World) -> NotificationsStatus {
    world.status.notifications.clone().unwrap_or_default()
}

/// What is owed to whom, as `event turn`.
fn owed(world: &World, to: &str) -> Vec<String> {
    let known = known(world);
    let owed = known.owed.iter().filter(|owed| owed.to.iter().any(|name| name == to));
    owed.map(|owed| match owed.turn {
        Turn::New => format!("{:?}", owed.event),
        turn => format!("{:?} {turn:?}", owed.event),
    })
    .collect()
}

/// Everything that is owed to somebody comes to this.
fn tell(world: &mut World, to: &str, result: &TellResult) {
    let told = known(world).owed.into_iter().filter(|owed| owed.to.iter().any(|name| name == to));
    world.told.extend(told.map(|owed| Told { id: owed.id, to: to.into(), result: result.clone() }));
}

fn delivered(world: &mut World, to: &str) {
    tell(world, to, &TellResult::Delivered);
    world.pass(3 * SECOND);
    assert!(owed(world, to).is_empty(), "{}", world.describe());
}

#[test]
fn a_run_owes_what_happens_in_its_order_to_those_who_asked_for_it() {
    let boss = json!({"name": "boss", "teams": {"secret": "teams"}, "events": ["Succeeded"]});
    let mut world = released(&json!([team(), boss]), &json!({}));
    assert_eq!(world.status.notifications, None, "nothing has happened yet");
    world.push(template("v2", false));
    world.until("an end", |world| world.status.last_run.is_some());
    assert_eq!(owed(&world, "team"), ["Started", "StepPassed", "StepPassed", "Succeeded"]);
    assert_eq!(owed(&world, "boss"), ["Succeeded"]);
    let known = known(&world);
    let ids: Vec<&str> = known.owed.iter().map(|owed| owed.id.as_str()).collect();
    assert_eq!(ids, ["r.r1.started.1", "r.r1.steppassed.2", "r.r1.steppassed.3", "r.r1.succeeded.4"]);
    let last = &known.owed[3];
    assert_eq!((&last.step, last.images.len()), (&"watch".to_owned(), 1), "{last:?}");
    assert!(world.reports.contains_key(&last.report), "{last:?}");
    assert_eq!(known.owed[1].message, "step half was left with 2 of 4 pods on the new revision");
}

#[test]
fn what_is_owed_stays_as_it_is_until_it_was_told() {
    let mut world = released(&json!([team()]), &json!({}));
    world.push(template("v2", false));
    world.until("an end", |world| world.status.last_run.is_some());
    world.pass(3 * SECOND);
    let before = known(&world);
    let writes = world.status_writes;
    world.pass(MINUTE);
    assert_eq!((known(&world), world.status_writes), (before, writes), "a restart finds what there was");
    delivered(&mut world, "team");
    assert_eq!(known(&world).count, 4);
    let writes = world.status_writes;
    world.pass(MINUTE);
    assert_eq!(world.status_writes, writes, "told again by nobody");
}

#[test]
fn an_undo_is_told_when_it_begins_and_when_it_has_ended() {
    let mut world = released(&json!([team()]), &json!({}));
    world.push(template("v2", true));
    world.until("an end", |world| world.status.last_run.is_some());
    world.pass(3 * SECOND);
    assert_eq!(owed(&world, "team"), ["Started", "Undoing", "Undone", "Rejected"]);
    let known = known(&world);
    assert!(known.owed[1].message.contains("CrashLoopBackOff"), "{:?}", known.owed[1]);
    assert!(known.owed[3].unblock.contains("clear-rejection"), "{:?}", known.owed[3]);
}

#[test]
fn an_abort_and_a_newer_template_are_told_as_what_they_are() {
    let mut world = released(&json!([team()]), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").len() == 2);
    world.push(template("v3", false));
    world.until("another run", |world| world.status.run.as_ref().is_some_and(|run| run.id == "r2"));
    world.pass(SECOND);
    assert_eq!(
        owed(&world, "team"),
        ["Started", "AwaitingApproval", "Superseded", "Started", "AwaitingApproval"]
    );
    world.say("Abort");
    world.until("an end", |world| world.status.last_run.as_ref().is_some_and(|last| last.number == 2));
    assert_eq!(owed(&world, "team")[5..], ["Undoing", "Aborted"]);
}

fn ladder() -> Value {
    let events = json!(["Held", "AwaitingApproval"]);
    json!([
        team(),
        {"name": "lead", "slack": {"secret": "lead"}, "events": events, "after": "30m"},
        {"name": "duty", "pagerDuty": {"secret": "duty"}, "events": events, "after": "1h"},
        {"name": "genie", "opsgenie": {"secret": "genie"}, "events": ["Held"]},
    ])
}

/// Much time, of which the operator sees the end.
fn leap(world: &mut World, time: Duration) {
    world.now += time;
    world.tick();
    world.tick();
}

#[test]
fn a_wait_that_nobody_acknowledges_climbs_the_ladder() {
    let mut world = released(&ladder(), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").contains(&"AwaitingApproval".to_owned()));
    let decision = world.look();
    let wake = decision.wake.expect("a wake") - world.now;
    assert!(wake.total(jiff::Unit::Minute).unwrap() <= 30.0, "it looks again when the first is due");
    leap(&mut world, 29 * MINUTE);
    assert!(owed(&world, "lead").is_empty());
    leap(&mut world, 2 * MINUTE);
    assert_eq!(owed(&world, "lead"), ["AwaitingApproval Still"]);
    assert!(owed(&world, "duty").is_empty());
    leap(&mut world, 30 * MINUTE);
    assert_eq!(owed(&world, "duty"), ["AwaitingApproval Still"]);
    leap(&mut world, 300 * MINUTE);
    assert_eq!(owed(&world, "lead").len() + owed(&world, "duty").len(), 2, "each rung once");
    assert!(owed(&world, "genie").is_empty(), "it did not ask for this");
    // Who keeps an incident is told that it is over.
    world.say_of("Approve", json!({"role": "qa"}));
    world.until("a move", |world| world.phase() == "Moving" || world.phase() == "Soaking");
    assert_eq!(owed(&world, "duty"), ["AwaitingApproval Still", "AwaitingApproval Over"]);
    assert_eq!(owed(&world, "lead").len(), 1);
}

#[test]
fn an_acknowledgement_silences_until_the_reason_changes() {
    let mut world = released(&ladder(), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").contains(&"AwaitingApproval".to_owned()));
    world.say("Acknowledge");
    world.until("marked", |world| world.actions.iter().all(|action| action["status"]["result"] == "Done"));
    leap(&mut world, 120 * MINUTE);
    assert!(owed(&world, "lead").is_empty() && owed(&world, "duty").is_empty(), "{}", world.describe());
    world.say("Acknowledge");
    world.pass(SECOND);
    assert_eq!(world.actions[1]["status"]["message"], "alice has acknowledged it already");
    world.say("Pause");
    world.pass(SECOND);
    assert_eq!(owed(&world, "genie"), ["Held"]);
    assert_eq!(owed(&world, "team").last().unwrap(), "Held");
    leap(&mut world, 31 * MINUTE);
    assert_eq!(owed(&world, "lead"), ["Held Still"]);
    world.say("Acknowledge");
    world.pass(SECOND);
    assert_eq!(owed(&world, "genie"), ["Held", "Held Acknowledged"]);
    leap(&mut world, 60 * MINUTE);
    assert!(owed(&world, "duty").is_empty(), "{}", world.describe());
    world.say("Resume");
    world.pass(SECOND);
    assert_eq!(owed(&world, "genie"), ["Held", "Held Acknowledged", "Held Over"]);
    assert_eq!(owed(&world, "team").last().unwrap(), "AwaitingApproval");
}

#[test]
fn a_hold_that_comes_and_goes_is_told_once_until_it_stays() {
    let mut world = released(&json!([team()]), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").contains(&"AwaitingApproval".to_owned()));
    let held = |world: &World| owed(world, "team").iter().filter(|one| *one == "Held").count();
    for _ in 0..5 {
        world.say("Pause");
        world.pass(2 * SECOND);
        world.say("Resume");
        world.pass(2 * SECOND);
    }
    assert_eq!(owed(&world, "team"), ["Started", "AwaitingApproval", "Held"], "{}", world.describe());
    world.say("Pause");
    world.pass(SECOND);
    leap(&mut world, 5 * MINUTE);
    assert_eq!(held(&world), 2, "{}", world.describe());
}

#[test]
fn there_is_nothing_to_acknowledge_where_nothing_stands_or_nobody_is_told() {
    let mut world = released(&json!([team()]), &json!({}));
    world.say("Acknowledge");
    world.pass(SECOND);
    assert_eq!(world.actions[0]["status"]["message"], "nothing stands that could be acknowledged");
    let mut world = released(&json!([]), &json!({}));
    world.say("Acknowledge");
    world.pass(SECOND);
    assert_eq!(world.actions[0]["status"]["message"], "spec.notify is empty: nobody is told anything");
}

#[test]
fn who_cannot_be_told_is_named_once_and_not_tried_for_ever() {
    let mut world = released(&json!([team()]), &json!({}));
    world.push(template("v2", false));
    world.until("owed", |world| !owed(world, "team").is_empty());
    let failing = TellResult::Failing("no answer from the URL of secret slack, key url".into());
    tell(&mut world, "team", &failing);
    world.pass(5 * SECOND);
    let said = |world: &World, reason: &str| world.notices.iter().filter(|one| one.reason == reason).count();
    assert_eq!(said(&world, "NotificationFailing"), 1);
    let condition = |world: &World| {
        let found = world.status.conditions.iter().find(|one| one.type_ == "NotificationsFailing");
        found.map(|one| (one.reason.clone(), one.message.clone()))
    };
    assert_eq!(
        condition(&world),
        Some(("TriedAgain".into(), "team: no answer from the URL of secret slack, key url".into()))
    );
    let first = known(&world).owed[0].id.clone();
    world.told.clear();
    world.told.push(Told {
        id: first.clone(),
        to: "team".into(),
        result: TellResult::GivenUp("gone".into()),
    });
    world.pass(3 * SECOND);
    assert!(known(&world).owed.iter().all(|owed| owed.id != first));
    assert_eq!(said(&world, "NotificationFailed"), 1);
    assert_eq!(condition(&world).map(|(reason, _)| reason).as_deref(), Some("GivenUp"));
    world.until("an end", |world| world.status.last_run.is_some());
    delivered(&mut world, "team");
    assert_eq!(condition(&world), None, "it gets through again");
    assert_eq!(
        world.status.last_run.as_ref().map(|last| format!("{:?}", last.outcome)).as_deref(),
        Some("Succeeded")
    );
}

#[test]
fn messages_that_nobody_takes_are_dropped_the_oldest_first() {
    let mut world = released(&json!([team()]), &signed());
    for number in 2..30 {
        world.push(template(&format!("v{number}"), false));
        world.pass(3 * SECOND);
    }
    let owed = known(&world).owed;
    assert_eq!(owed.len(), 32);
    assert!(known(&world).count > 60, "{}", known(&world).count);
    assert!(world.notices.iter().any(|notice| notice.reason == "NotificationDropped"));
    assert_eq!(owed.last().map(|owed| owed.event), Some(Event::AwaitingApproval));
}

#[test]
fn an_audience_that_is_taken_out_is_owed_nothing() {
    let mut world = released(&json!([team()]), &json!({}));
    world.push(template("v2", false));
    world.until("an end", |world| world.status.last_run.is_some());
    assert!(!known(&world).owed.is_empty());
    world.release.as_mut().unwrap()["notify"] = json!([]);
    world.pass(3 * SECOND);
    assert_eq!(known(&world), NotificationsStatus { count: 4, ..NotificationsStatus::default() });
    let dropped: Vec<_> = world.notices.iter().filter(|one| one.reason == "NotificationDropped").collect();
    assert_eq!(dropped.len(), 1, "said once");
    assert_eq!(dropped[0].note, "4 notifications were dropped: spec.notify is empty");
    let writes = world.status_writes;
    world.pass(MINUTE);
    assert_eq!(world.status_writes, writes);
}

#[test]
fn no_message_has_the_id_of_another_one_after_nobody_was_to_be_told_for_a_while() {
    let mut world = released(&json!([team()]), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").len() == 2);
    world.release.as_mut().unwrap()["notify"] = json!([]);
    world.pass(3 * SECOND);
    world.release.as_mut().unwrap()["notify"] = json!([team()]);
    world.pass(3 * SECOND);
    let ids: Vec<String> = known(&world).owed.into_iter().map(|owed| owed.id).collect();
    assert_eq!(ids, ["r.r1.awaitingapproval.3"]);
}

#[test]
fn a_hand_back_is_told_with_who_said_it_in_a_run_and_between_two() {
    let mut world = released(&json!([team()]), &json!({"watch": [{"for": "1h", "every": "1s"}]}));
    world.push(template("v2", false));
    world.until("the watch", |world| world.phase() == "Watching");
    world.say("HandBack");
    world.until("an end", |world| world.status.last_run.is_some());
    assert_eq!(owed(&world, "team"), ["Started", "StepPassed", "StepPassed", "HandedBack"]);
    let told = known(&world).owed.last().cloned().unwrap();
    assert!(told.message.starts_with("alice handed the Deployment back"), "{told:?}");
    assert_eq!((told.run.as_str(), world.reports.contains_key(&told.report)), ("r1", true), "{told:?}");
    world.pass(3 * SECOND);
    assert_eq!(owed(&world, "team").len(), 4, "once");

    let mut world = released(&json!([team()]), &json!({}));
    world.say("HandBack");
    world.until("handed back", |world| world.status.handed_back.is_some());
    assert_eq!(owed(&world, "team"), ["HandedBack"]);
    let told = known(&world).owed.last().cloned().unwrap();
    assert!(told.message.starts_with("alice "), "{told:?}");
}

#[test]
fn a_missing_right_is_told_with_the_rule_that_gives_it_and_when_it_is_there() {
    let genie = json!({"name": "genie", "opsgenie": {"secret": "genie"}, "events": ["MissingRight"]});
    let lead =
        json!({"name": "lead", "teams": {"secret": "lead"}, "events": ["MissingRight"], "after": "30m"});
    let mut world = released(&json!([team(), genie, lead]), &signed());
    world.push(template("v2", false));
    world.until("a wait", |world| owed(world, "team").len() == 2);
    let said = r#"deployments.apps "shop" is forbidden: User "x" cannot patch resource "deployments" in API group "apps" in the namespace "ns""#;
    let right = Right::lacking(said).unwrap();
    world.lack(&right);
    assert_eq!(owed(&world, "team"), ["Started", "AwaitingApproval", "MissingRight"]);
    let told = known(&world).owed.last().cloned().unwrap();
    assert!(told.message.contains("may not patch deployments in namespace ns"), "{told:?}");
    assert!(told.unblock.contains("verbs: [patch]"), "{told:?}");
    world.now += 31 * MINUTE;
    world.lack(&right);
    assert_eq!(owed(&world, "lead"), ["MissingRight Still"]);
    world.pass(SECOND);
    assert_eq!(owed(&world, "genie"), ["MissingRight", "MissingRight Over"]);
    assert_eq!(owed(&world, "team").last().unwrap(), "AwaitingApproval");
}

#[test]
fn of_holds_somebody_hears_only_of_some_reasons_or_of_all_but_some() {
    let one = |name: &str, more: Value| {
        let mut one = json!({"name": name, "pagerDuty": {"secret": name}, "events": ["Held", "Undoing"]});
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    };
    let all = json!([
        one("any", json!({})),
        one("paused", json!({"reasons": ["Paused"]})),
        one("others", json!({"exceptReasons": ["Paused"]})),
        {"name": "late", "teams": {"secret": "late"}, "events": ["Held"], "exceptReasons": ["Paused"], "after": "30m"},
    ]);
    let mut world = released(&all, &signed());
    world.push(template("v2", false));
    world.until("a run", |world| world.status.run.is_some());
    world.say("Pause");
    world.pass(SECOND);
    leap(&mut world, 40 * MINUTE);
    world.say("Resume");
    world.pass(SECOND);
    for (name, told) in [("any", vec!["Held", "Held Over"]), ("paused", vec!["Held", "Held Over"])] {
        assert_eq!(owed(&world, name), told, "{name}");
    }
    assert!(owed(&world, "others").is_empty() && owed(&world, "late").is_empty(), "{}", world.describe());
    world.release.as_mut().unwrap()["suspend"] = json!(true);
    world.pass(SECOND);
    assert_eq!(owed(&world, "others"), ["Held"], "suspended");
    assert_eq!(owed(&world, "paused").len(), 2);
    world.say("Abort");
    world.until("an end", |world| world.status.last_run.is_some());
    assert_eq!(owed(&world, "paused").last().unwrap(), "Undoing", "other events whatever their reason");
}

#[test]
fn a_reason_that_is_none_holds_the_run_with_those_that_there_are() {
    let wrong = |more: Value| {
        let mut one = team();
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut world = released(&json!([one]), &json!({}));
        world.push(template("v2", false));
        world.pass(3 * SECOND);
        world.status.blocked_by.clone().map(|blocker| blocker.message).unwrap_or_default()
    };
    let said = wrong(json!({"exceptReasons": ["WindowClosed"]}));
    let words =
        "spec.notify[0].exceptReasons: 'WindowClosed' is no reason of a hold: write one of AboveLimit, ";
    assert!(said.starts_with(words), "{said}");
    let said = wrong(json!({"reasons": ["Paused"], "exceptReasons": ["Frozen"]}));
    assert_eq!(said, "spec.notify[0]: takes one of: reasons, exceptReasons");
    let said = wrong(json!({"reasons": ["Paused"], "events": ["Started"]}));
    assert!(said.starts_with("spec.notify[0].reasons: is of holds"), "{said}");
}
