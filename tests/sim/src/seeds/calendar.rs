//! Windows that close and open, blackouts and freezes, in some stories. A run may have to wait for them, and what goes back does not.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::story::{Event, Story};

/// Every world begins on a Friday, at 08:00.
pub fn calendar(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(8) {
        return;
    }
    if dice.once_in(2) {
        let closes = *dice.pick(&["08:01", "08:02", "08:05", "09:00"]);
        // The second is long enough for every plan.
        story.setup.release["windows"] = json!({"allow": [{"days": ["Fri"], "from": "08:00", "to": closes}, {"cron": "20 9 * * *", "for": "14h"}]});
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.between(1, 4) {
        let event = match dice.below(5) {
            0 | 1 => Event::Freeze(true),
            2 => Event::Freeze(false),
            3 => {
                let blackout = json!({"from": "2027-01-01", "to": "2027-01-31", "reason": "stocktaking"});
                Event::Amend(json!({"windows": {"allow": null, "blackouts": [blackout]}}))
            }
            _ => Event::Amend(json!({"windows": Value::Null})),
        };
        story.events.push((dice.below(end + 1), event));
    }
    story.events.sort_by_key(|(at, _)| *at);
}
