//! Faults throughout a story, in some of them: long ones have thousands of requests, of which the others befall the first four hundred only.
//!
//! How many there will be nobody knows before. So there are as many between 400 and 800 as between 800 and 1,600, and so on: a story of any length has about
//! as many for each time that it doubles, and those after its end cost nothing.

use crate::dice::Dice;
use crate::network::Fault;
use crate::story::Story;

/// Before it there are enough of the others.
const FROM: u64 = 400;
/// Times that it doubles: the longest stories have a hundred thousand requests.
const DOUBLES: u64 = 8;

/// A few in each stretch.
pub fn throughout(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(5) {
        return;
    }
    let each = *dice.pick(&[1, 3, 6]);
    for stretch in 0..DOUBLES {
        let from = FROM << stretch;
        for _ in 0..each {
            let number = from + 1 + dice.below(from);
            let fault = match super::fault(dice) {
                Fault::Throttled(_) => Fault::Throttled(dice.below(2)),
                fault => fault,
            };
            story.faults.entry(number).or_insert(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::story;

    #[test]
    fn in_some_stories_faults_befall_requests_however_late_and_in_most_none_do() {
        let late = |story: &Story| story.faults.range(2 * FROM..).next().is_some();
        let stories: Vec<Story> = (0..1000).map(story).filter(late).collect();
        assert!((100..400).contains(&stories.len()), "{}", stories.len());
        let last = FROM << (DOUBLES - 1);
        for story in stories {
            assert!(story.faults.range(last..).next().is_some(), "{story}");
            assert!(story.faults.len() < 120, "{story}");
        }
    }
}
