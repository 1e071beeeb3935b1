//! Writes of one kind that fail for a while, one after the other, in some stories: somebody's webhook for that kind is down, say, and everything else goes
//! on. Faults by the number of the request seldom befall the same write twice.

use crate::dice::Dice;
use crate::network::{OUT, PURPOSES, Purpose};
use crate::reach::pairs;
use crate::story::{Event, Story};

/// Once to four times, from a moment to half a minute; mostly status and Deployments, and often right after something has happened.
pub fn out(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(10) {
        return;
    }
    let moments: Vec<u64> = story.events.iter().map(|(at, _)| *at).collect();
    let Some(end) = moments.last().copied() else { return };
    let may_fail = |purpose: &Purpose| pairs::never(OUT, *purpose).is_none();
    let all: Vec<Purpose> = PURPOSES.into_iter().map(|(purpose, _)| purpose).filter(may_fail).collect();
    for _ in 0..dice.between(1, 4) {
        let purpose = match dice.below(6) {
            0 | 1 => Purpose::Status,
            2 => Purpose::Deployment,
            _ => *dice.pick(&all),
        };
        let at = match dice.once_in(2) {
            true => dice.pick(&moments).saturating_sub(dice.below(50)),
            false => dice.below(end + 1),
        };
        let wait = *dice.pick(&[30, 300, 2_000, 10_000, 30_000]);
        story.events.push((at, Event::Out(purpose, wait)));
    }
    story.events.sort_by_key(|(at, _)| *at);
}
