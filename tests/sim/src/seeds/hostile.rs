//! Releases in which somebody writes what means no good, though the API server takes it: expressions, patterns, moments in cron form and lengths of time that
//! are as deep, as large and as odd as may be. They trouble nobody but that Release, in some stories with another one beside it, and not for longer than
//! they stand there.
//!
//! Not where Releases share a lock: who never comes to an end keeps others waiting, and may. Nor where something is measured: what is known of a step and
//! what is asked of it change together, and the rules of evidence ask about one.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::outside::LARGE;
use crate::story::{Event, Story};
use crate::world::TARGETS;

/// How many there are.
const KINDS: u64 = 10;
/// Where there are more replicas no other Release is put beside it: two of those take too long.
const MANY: i32 = 10;

/// Somebody writes it, once or a few times, into the Release of the first Deployment.
pub fn hostile(dice: &mut Dice, story: &mut Story) {
    let setup = &mut story.setup;
    if !setup.release["locks"].is_null() || super::measures(setup) || !dice.once_in(25) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    if setup.beside == 0 && setup.replicas <= MANY {
        setup.beside = 1;
        let event = super::push(dice, &mut 1);
        story.events.push((dice.below(end + 1), Event::Beside(TARGETS[1], Box::new(event))));
    }
    for _ in 0..dice.between(1, 3) {
        story.events.push((dice.below(end + 1), Event::Hostile(written(dice.below(KINDS)))));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// What is written, as it is merged into the spec of a Release.
fn written(kind: u64) -> Value {
    let check =
        |expect: Value| json!({"preflight": [{"name": "odd", "http": {"podPath": LARGE, "expect": expect}}]});
    let windows = |window: Value| json!({"windows": {"allow": [window]}});
    match kind {
        0 => check(json!({"expression": format!("{}true{}", "(".repeat(500), ")".repeat(500))})),
        1 => check(json!({"expression": format!("{}true", "!".repeat(1000))})),
        2 => {
            let loops = ["a", "b", "c", "d"].map(|name| format!("body.list.all({name}, ")).concat();
            check(json!({"expression": format!("{loops}a + b + c + d >= 0))))")}))
        }
        3 => check(json!({"bodyMatches": "(a?){99}".repeat(32)})),
        4 => windows(json!({"cron": "* * * * *", "for": "744h"})),
        5 => windows(json!({"cron": "59 23 31 2 *", "for": "1s"})),
        6 => windows(json!({"days": ["Mon"], "from": "00:00", "to": "00:00", "timeZone": "Nowhere/At_All"})),
        7 => {
            let ever = "999999h999999m999999s";
            json!({"steps": [{"name": "ever", "replicas": 1, "soak": ever, "deadline": ever}]})
        }
        8 => json!({"watch": [{"for": "100000h", "every": "99999h"}]}),
        _ => {
            let ever = json!({"from": "0000-01-01", "to": "9999-12-31", "reason": "ever"});
            json!({"windows": {"blackouts": [ever]}})
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate::api::ReleaseSpec;

    use super::*;
    use crate::seeds::story;

    #[test]
    fn what_means_no_good_is_a_release_all_the_same() {
        for kind in 0..KINDS {
            let mut spec =
                json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
            json_patch::merge(&mut spec, &written(kind));
            // Lengths as the API server bounds them.
            let expect = &spec["preflight"][0]["http"]["expect"];
            for (field, most) in [("expression", 1024), ("bodyMatches", 256)] {
                assert!(expect[field].as_str().is_none_or(|text| text.len() <= most), "{kind}");
            }
            serde_json::from_value::<ReleaseSpec>(spec).unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
    }

    #[test]
    fn it_is_written_in_some_stories_and_most_of_them_have_another_release() {
        let hostile =
            |story: &Story| story.events.iter().any(|(_, event)| matches!(event, Event::Hostile(_)));
        let stories: Vec<Story> = (0..1000).map(story).filter(hostile).collect();
        let beside = stories.iter().filter(|story| story.setup.beside > 0).count();
        assert!(stories.len() > 10 && beside * 2 > stories.len(), "{beside} of {}", stories.len());
    }
}
