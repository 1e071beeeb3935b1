//! Releases and Deployments that are deleted and not made anew, in some stories: nobody comes back to what was left.

use crate::dice::Dice;
use crate::story::{Event, Story};

/// Of those that would be made anew, one is not.
pub fn for_good(dice: &mut Dice, story: &mut Story) {
    let is_made = |event: &Event| match event {
        Event::Beside(_, event) => matches!(**event, Event::MakeRelease | Event::MakeDeployment),
        event => matches!(event, Event::MakeRelease | Event::MakeDeployment),
    };
    let made: Vec<usize> = (0..story.events.len()).filter(|index| is_made(&story.events[*index].1)).collect();
    if !made.is_empty() && dice.once_in(3) {
        story.events.remove(*dice.pick(&made));
    }
}
