//! Faults from the first request on, in some stories: Deployments are adopted, and kept for, among them.

use crate::dice::Dice;
use crate::story::Story;

/// The first requests of a process are lists and watches of all that there is: that many.
const BEFORE_ADOPTION: u64 = 40;

/// What befalls the first requests of a story befalls those by which it comes about, and others these.
pub fn early(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(8) {
        return;
    }
    story.setup.early = true;
    let more: Vec<_> =
        (0..dice.below(6)).map(|_| (dice.below(BEFORE_ADOPTION) + 1, super::fault(dice))).collect();
    let later = std::mem::take(&mut story.faults).into_iter();
    story.faults = later.map(|(number, fault)| (number + BEFORE_ADOPTION / 2, fault)).chain(more).collect();
}
