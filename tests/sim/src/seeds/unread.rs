//! A kind that nobody can list or watch for a while, in some stories, while everything else goes on.

use crate::dice::Dice;
use crate::story::{Event, Story};

/// What may be: that without which a run goes no further, but back.
const KINDS: [&str; 3] = ["pods", "replicasets", "jobs"];

/// Once or twice, for some seconds or for minutes.
pub fn unread(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(20) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.between(1, 2) {
        let kind: &'static str = dice.pick::<&'static str>(&KINDS);
        let wait = *dice.pick(&[2_000, 10_000, 40_000, 150_000]);
        story.events.push((dice.below(end + 1), Event::Unread(kind, wait)));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::story;

    #[test]
    fn kinds_are_not_heard_in_some_stories_and_these_can_be_told_again() {
        let has = |story: &Story| story.events.iter().any(|(_, event)| matches!(event, Event::Unread(_, _)));
        let stories: Vec<Story> = (0..1000).map(story).filter(has).collect();
        assert!((20..100).contains(&stories.len()), "{}", stories.len());
        for story in stories {
            assert_eq!(story.to_string().parse::<Story>(), Ok(story), "it can be told again");
        }
    }
}
