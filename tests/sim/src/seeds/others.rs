//! Others who have a hand in a story, in some of them: what was written by the owner or said by alice is by somebody else. Who writes a version cannot sign
//! it; so it is never alice, who signs in the end what nobody has signed.

use crate::dice::Dice;
use crate::story::{Event, Story};

/// Of those who write, and of those who speak.
const WRITERS: [&str; 2] = ["bob", "gitops"];
const SPEAKERS: [&str; 3] = ["bob", "bob", "owner"];

/// It is what happened before, at the same time.
pub fn others(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(3) {
        return;
    }
    for (_, event) in &mut story.events {
        let other = match event {
            Event::Push(version, conduct) if dice.once_in(3) => {
                let who = *dice.pick(&WRITERS);
                Event::PushBy(who, *version, *conduct)
            }
            Event::Say(action, role) if dice.once_in(2) => {
                let (who, action) = (*dice.pick(&SPEAKERS), *action);
                Event::SayBy(who, action, *role)
            }
            _ => continue,
        };
        *event = other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::story;

    #[test]
    fn others_write_and_speak_in_some_stories_and_these_can_be_told_again() {
        let stories: Vec<Story> = (0..1000).map(story).collect();
        type IsIt = fn(&Event) -> bool;
        let sorts: [IsIt; 2] =
            [|event| matches!(event, Event::PushBy(..)), |event| matches!(event, Event::SayBy(..))];
        for is_it in sorts {
            let has = |story: &&Story| story.events.iter().any(|(_, event)| is_it(event));
            let found: Vec<&Story> = stories.iter().filter(has).collect();
            assert!(found.len() > 10, "{}", found.len());
            for story in found {
                assert_eq!(story.to_string().parse::<Story>().as_ref(), Ok(story));
            }
        }
    }

    #[test]
    fn nobody_writes_what_they_sign_in_the_end() {
        let by_alice = |(_, event): &(u64, Event)| matches!(event, Event::PushBy("alice", ..));
        assert!((0..1000).map(story).all(|story| !story.events.iter().any(by_alice)));
    }
}
