//! Kept templates that somebody deletes, in some stories: those of versions that are being released, and stand in their Deployments.

use crate::dice::Dice;
use crate::story::{Event, Story};

/// Once to three times in a story.
pub fn copies(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(10) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.between(1, 3) {
        story.events.push((dice.below(end + 1), Event::DeleteCopy));
    }
    story.events.sort_by_key(|(at, _)| *at);
}
