//! Versions that were good, and are not any more, in some stories: their pods end from some moment on, or answer with errors after three minutes.

use serde_json::json;

use crate::dice::Dice;
use crate::story::{Conduct, Event, Story};

/// Milliseconds after a version was written within which its pods fail.
const SOON: u64 = 40_000;

/// Where there are more replicas minutes of reading their pages take too long.
const MANY: i32 = 20;

/// Pods fail once: stable ones too, where nothing else is there. Of how many are Ready nothing is said for half an hour after it, so it is seldom. Not where
/// what was put back is looked at, or nodes are full: there the watchman goes by what templates say of their pods.
pub fn failing(dice: &mut Dice, story: &mut Story) {
    let is_looked_at = !story.setup.release["undo"]["validate"].is_null();
    let is_full = story.events.iter().any(|(_, event)| matches!(event, Event::Room(_)));
    if dice.once_in(25) && !is_looked_at && !is_full {
        let pushed = |(at, event): &(u64, Event)| matches!(event, Event::Push(..)).then_some(*at);
        let pushes: Vec<u64> = story.events.iter().filter_map(pushed).collect();
        if !pushes.is_empty() {
            let at = *dice.pick(&pushes) + 1 + dice.below(SOON);
            story.events.push((at, Event::Fail));
            story.events.sort_by_key(|(at, _)| *at);
        }
    }
    turning_bad(dice, story);
}

/// One that is good for three minutes, where it is measured: its watch lasts for longer.
fn turning_bad(dice: &mut Dice, story: &mut Story) {
    if !super::measures(&story.setup) || story.setup.replicas > MANY || !dice.once_in(6) {
        return;
    }
    let good = story.events.iter_mut().find_map(|(_, event)| match event {
        Event::Push(_, conduct @ Conduct::Good) => Some(conduct),
        _ => None,
    });
    if let Some(conduct) = good {
        *conduct = Conduct::Late;
        story.setup.release["watch"] = json!([{"for": "5m", "every": "5s"}]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::story;

    #[test]
    fn versions_fail_and_turn_bad_in_some_stories_and_these_can_be_told_again() {
        let stories: Vec<Story> = (0..1000).map(story).collect();
        type IsIt = fn(&Event) -> bool;
        let sorts: [(IsIt, usize); 2] = [
            (|event| *event == Event::Fail, 10),
            (|event| matches!(event, Event::Push(_, Conduct::Late)), 5),
        ];
        for (is_it, least) in sorts {
            let has = |story: &&Story| story.events.iter().any(|(_, event)| is_it(event));
            let found: Vec<&Story> = stories.iter().filter(has).collect();
            assert!((least..100).contains(&found.len()), "{}", found.len());
            for story in found {
                assert_eq!(story.to_string().parse::<Story>().as_ref(), Ok(story));
            }
        }
    }
}
