//! The phase of communication: who is told of an undo, and until when that lasts.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::undo::{Communication, UndoPhase};
use tidegate::decide::notify::{TellResult, Told};
use tidegate::decide::snapshot::ProbeResult;

use super::{ended, rolling, smoke, stands, told, with};
use crate::world::{World, template};

#[test]
fn people_are_told_that_it_goes_back_at_once_and_how_it_ended_when_what_was_put_back_is_known() {
    let mut spec = with(json!({"validate": smoke()}));
    spec["notify"] = json!([{"name": "team", "slack": {"secret": "slack"}, "events": ["Undoing", "Undone"]}]);
    let mut world = World::new(4, rolling(), spec);
    world.answers.insert("undo.validate/smoke", (ProbeResult::Unknown, "no answer"));
    world.push(template("v2", true));
    let owed = |world: &World| -> Vec<String> {
        let known = world.status.notifications.clone().unwrap_or_default();
        known.owed.iter().map(|owed| format!("{:?}: {}", owed.event, owed.message)).collect()
    };
    world.until("going back", |world| world.phase() == "Undoing");
    assert!(matches!(owed(&world).as_slice(), [one] if one.starts_with("Undoing: ")), "{:?}", owed(&world));
    world.until("stable stands", stands);
    world.pass(Duration::from_secs(30));
    assert_eq!(owed(&world).len(), 1, "it has not ended: {:?}", owed(&world));
    world.answers.insert("undo.validate/smoke", (ProbeResult::Failed, "answered 500"));
    ended(&mut world);
    let last = owed(&world).pop().unwrap();
    let words = ". What was put back does not work either: check smoke failed: answered 500";
    assert!(last.starts_with("Undone: ") && last.ends_with(words), "{last}");
}

/// Who is told of an undo, which has a minute to tell them.
fn told_within_a_minute() -> Value {
    let mut spec = with(json!({"budget": "3m", "phases": {"communication": "1m"}}));
    spec["notify"] = json!([
        {"name": "team", "slack": {"secret": "slack"}, "events": ["Undoing", "Undone"]},
        {"name": "boss", "slack": {"secret": "boss"}, "events": ["Started", "Undone"]},
    ]);
    spec
}

/// What has come of the messages to somebody.
fn settle(world: &mut World, to: &str, result: &TellResult) {
    let owed = world.status.notifications.clone().unwrap_or_default().owed;
    let owed = owed.into_iter().filter(|owed| owed.to.iter().any(|name| name == to));
    world.told.extend(owed.map(|owed| Told { id: owed.id, to: to.into(), result: result.clone() }));
}

fn communication(world: &World) -> Communication {
    let last = world.status.last_run.clone().expect("an end");
    last.communication.unwrap_or_else(|| panic!("nobody is told: {}", world.describe()))
}

#[test]
fn communication_lasts_until_the_last_message_was_delivered_or_given_up_and_nothing_waits_for_it() {
    let mut world = World::new(4, rolling(), told_within_a_minute());
    world.push(template("v2", true));
    let undo = ended(&mut world);
    let last = undo.phases.last().map(|took| (took.phase, took.over));
    assert_eq!(last, Some((UndoPhase::Communication, false)), "until the record, which is not changed");
    assert_eq!(communication(&world), Communication::default());
    // The next run does not wait for it.
    world.push(template("v3", false));
    world.until("another run", |world| world.status.run.as_ref().is_some_and(|run| run.number == 2));
    settle(&mut world, "team", &TellResult::Delivered);
    world.pass(Duration::from_secs(5));
    assert_eq!(communication(&world), Communication::default(), "somebody else is not told yet");
    settle(&mut world, "boss", &TellResult::GivenUp("gone".into()));
    let now = world.now;
    world.pass(Duration::from_secs(1));
    let Communication { told_at, over, over_budget } = communication(&world);
    let told_at = told_at.expect("all of them").0;
    assert!(told_at >= now && told_at <= world.now && !over && !over_budget, "{told_at}");
    world.pass(Duration::from_secs(1));
    assert_eq!(communication(&world).told_at.map(|at| at.0), Some(told_at), "it stays");
    assert!(told(&world, "UndoPhaseOverBudget").is_empty());
}

#[test]
fn messages_that_do_not_get_through_in_the_time_for_communication_are_told_once_after_the_end() {
    let mut world = World::new(4, rolling(), told_within_a_minute());
    world.push(template("v2", true));
    ended(&mut world);
    let wake = world.look().wake.expect("a wake") - world.now;
    assert!(wake.total(jiff::Unit::Second).unwrap() <= 60.0, "it looks again when they would be late");
    let failing = TellResult::Failing("no answer from the URL of secret slack, key url".into());
    settle(&mut world, "team", &failing);
    world.pass(Duration::from_secs(62));
    let note = "going back: its communication has taken longer than its budget of 60 s";
    assert_eq!(told(&world, "UndoPhaseOverBudget"), [note]);
    assert_eq!(communication(&world), Communication { over: true, ..Communication::default() });
    world.pass(Duration::from_secs(125));
    assert_eq!(told(&world, "UndoOverBudget"), ["going back has taken longer than its budget of 180 s"]);
    world.told.clear();
    for to in ["team", "boss"] {
        settle(&mut world, to, &TellResult::Delivered);
    }
    world.pass(Duration::from_secs(3));
    let known = communication(&world);
    assert!(known.told_at.is_some() && known.over && known.over_budget, "{known:?}");
    assert_eq!(told(&world, "UndoPhaseOverBudget").len(), 1);
    assert_eq!(world.phase(), "Rejected", "nothing else comes of it");
}

#[test]
fn where_nobody_is_told_of_an_undo_communication_ends_with_the_record() {
    let mut spec = told_within_a_minute();
    spec["notify"] =
        json!([{"name": "boss", "slack": {"secret": "boss"}, "events": ["Started", "Succeeded"]}]);
    let mut world = World::new(4, rolling(), spec);
    world.push(template("v2", true));
    ended(&mut world);
    world.pass(Duration::from_secs(70));
    assert_eq!(world.status.last_run.clone().unwrap().communication, None);
    assert!(told(&world, "UndoPhaseOverBudget").is_empty());
}
