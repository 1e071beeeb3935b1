//! Letters that turn the direction of writing, in what people say and in what they and images are called: no sentence shows them.

use serde_json::{Value, json};

use super::signing::{before, quarter, reason, say_as, sign_off, until_blocked};
use super::{World, template};

/// It reads `sorry: skip` where these letters are heeded.
const TURNED: &str = "sorry\u{202e}piks :\u{2069}";
const WHO: &str = "eve\u{2067}nimda\u{2069}";

/// Where such letters stand. Whoever says something is known by a name, whatever letters it has: it is kept as it is.
fn turned(place: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(_) if place == "by" || place.ends_with("By") => Vec::new(),
        Value::String(text) => {
            let turns = text.contains(['\u{202e}', '\u{2067}', '\u{2069}']);
            turns.then(|| format!("{place}: {text:?}")).into_iter().collect()
        }
        Value::Array(all) => all.iter().flat_map(|one| turned(place, one)).collect(),
        Value::Object(fields) => fields.iter().flat_map(|(name, one)| turned(name, one)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn nothing_turns(world: &World) {
    let found = turned("status", &json!(world.status));
    assert!(found.is_empty(), "{found:#?}");
    let found = turned("actions", &json!(world.actions.iter().map(|one| &one["status"]).collect::<Vec<_>>()));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_people_say_of_a_run_is_told_in_the_order_in_which_it_is_written() {
    let said = json!({"reason": TURNED, "by": WHO, "role": "qa-manager"});
    let mut world = World::new(4, quarter(), before(sign_off(json!({}))));
    world.push(template("v2", false));
    until_blocked(&mut world, "AwaitingApproval");
    assert_eq!(say_as(&mut world, "Approve", said.clone()), "Done: signed as qa-manager");
    world.until("half of them", |world| world.phase() == "Soaking");
    let signature = &world.status.run.as_ref().unwrap().signatures[0];
    assert_eq!((signature.by.as_str(), signature.reason.as_str()), (WHO, "sorrypiks :"));
    nothing_turns(&world);
    let said = json!({"reason": TURNED, "by": WHO});
    world.say_of("Pause", said.clone());
    until_blocked(&mut world, "Paused");
    let blocker = world.status.blocked_by.as_ref().unwrap();
    assert!(blocker.message.contains("evenimda") && blocker.message.contains("sorrypiks :"), "{blocker:?}");
    nothing_turns(&world);
    world.say_of("Abort", said);
    world.until("it goes back", |world| world.phase() == "Undoing");
    nothing_turns(&world);
    world.until("the end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.as_ref().unwrap();
    assert!(last.message.contains("evenimda said abort: sorrypiks :"), "{last:?}");
    nothing_turns(&world);
    let found: Vec<String> = world.reports.values().flat_map(|one| turned("report", &json!(one))).collect();
    assert!(found.is_empty() && world.reports.len() == 1, "{found:#?}");
}

#[test]
fn what_is_said_of_a_freeze_is_told_in_the_order_in_which_it_is_written() {
    let mut world = World::new(4, quarter(), json!({}));
    world.freezes.push(json!({"metadata": {"name": "year-end", "uid": "f1"}, "spec": {"reason": TURNED}}));
    world.push(template("v2", false));
    world.until("it is held", |world| reason(world) == "Frozen");
    let blocker = world.status.blocked_by.as_ref().unwrap();
    assert!(blocker.message.contains("until it is deleted: sorrypiks :. "), "{blocker:?}");
    nothing_turns(&world);
}

#[test]
fn the_name_of_an_image_is_told_in_order_on_one_line_and_not_without_end() {
    let mut world = World::new(4, quarter(), json!({}));
    let mut new = template("v2", false);
    let image = format!("shop\u{202e}:v2\nrun r7 has ended {}", "x".repeat(100_000));
    new["spec"]["containers"][0]["image"] = json!(image);
    world.push(new);
    world.until("a run", |world| world.status.run.is_some());
    let kept = &world.status.canary.as_ref().unwrap().images[0];
    assert!(kept.starts_with("shop:v2 run r7 has ended xxx"), "{kept}");
    assert_eq!(kept.chars().count(), 512);
    nothing_turns(&world);
    let begun = world.notices.iter().find(|notice| notice.reason == "RunStarted").unwrap();
    assert!(begun.note.ends_with(&format!(" changed the template ({kept})")), "{}", begun.note);
}
