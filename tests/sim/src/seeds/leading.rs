//! What goes wrong with the Lease, where there is an election.

use serde_json::Value;

use crate::dice::Dice;
use crate::network::Fault;
use crate::story::{Event, Story};

/// Requests about the Lease that most faults of it befall: of its first two minutes.
const EARLY: u64 = 60;
/// Times that these double: up to four hours.
const DOUBLES: u64 = 7;

/// The Lease cannot be renewed, or nobody says that it was.
pub fn troubled(dice: &mut Dice, story: &mut Story) {
    if story.setup.candidates == 0 || dice.once_in(2) {
        return;
    }
    // Who does not know that a Lease is still theirs begins anew, and calls hooks again that were called; what the watchman goes by is what
    // is written. So where there are hooks nothing is written of which nobody is told.
    let hooks = story.setup.release.pointer("/undo/hooks").and_then(Value::as_array);
    let has_hooks = hooks.is_some_and(|hooks| !hooks.is_empty());
    let fault = |dice: &mut Dice| match dice.below(if has_hooks { 4 } else { 8 }) {
        0 => Fault::Failed,
        1 | 2 => Fault::Lost,
        3 => Fault::Throttled(dice.below(2)),
        4 | 5 => Fault::Answerless,
        6 => Fault::Swallowed,
        _ => Fault::Late(dice.below(14_000)),
    };
    let many = *dice.pick(&[2, 5, 20]);
    story.lease_faults = (0..many).map(|_| (dice.below(EARLY) + 1, fault(dice))).collect();
    // And later ones, as many for each time that its requests double: those after its end cost nothing.
    for stretch in 0..DOUBLES {
        if dice.once_in(2) {
            let from = EARLY << stretch;
            story.lease_faults.insert(from + 1 + dice.below(from), fault(dice));
        }
    }
}

/// Two that both lead all the time, as where each believes that the other does not: nothing but what a write tests, and names that are taken once, stands
/// between them. Not where clocks differ, or something is measured: then each goes on from what the other has counted, and writes it anew again and again.
pub fn together(dice: &mut Dice, story: &mut Story) {
    let setup = &mut story.setup;
    let may = setup.candidates == 0 && setup.replicas <= 20 && setup.clocks.is_empty();
    if may && !super::measures(setup) && dice.once_in(25) {
        setup.leaders = 2;
    }
}

/// Somebody deletes the Lease. Not where a request about it may be long on its way: one that makes it would arrive after it was deleted once more.
pub fn deleted(dice: &mut Dice, story: &mut Story) {
    if story.setup.candidates == 0 || !story.lease_faults.is_empty() || dice.once_in(2) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    let comings: Vec<u64> =
        story.events.iter().filter(|(_, event)| brings_another(event)).map(|(at, _)| *at).collect();
    for _ in 0..dice.between(1, 4) {
        // Also about when another process comes, a moment after one has gone: it has never seen the Lease.
        let at = match comings.is_empty() || dice.once_in(2) {
            true => dice.below(end + 1),
            false => *dice.pick(&comings) + dice.below(4_000),
        };
        story.events.push((at, Event::DeleteLease));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// What who does not lead may not hear of for a while, each kind by itself.
const WATCHED: [&str; 6] =
    ["releases", "deployments", "controllerrevisions", "releaseactions", "jobs", "pods"];

/// Who does not lead is behind with some of what it watches, and may begin to lead meanwhile.
pub fn behind(dice: &mut Dice, story: &mut Story) {
    if story.setup.candidates < 2 || dice.once_in(3) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.between(1, 3) {
        let watched: &'static str = dice.pick::<&'static str>(&WATCHED);
        let held = Event::HoldStandby(watched, 1_000 + dice.below(60_000));
        story.events.push((dice.below(end + 1), held));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// Whether a process comes that was not there before.
fn brings_another(event: &Event) -> bool {
    matches!(event, Event::Kill(_) | Event::Mortal(_) | Event::Restart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::story;

    #[test]
    fn who_does_not_lead_is_behind_in_some_stories() {
        let is_behind =
            |story: &Story| story.events.iter().any(|(_, event)| matches!(event, Event::HoldStandby(_, _)));
        let stories: Vec<Story> = (0..1000).map(story).filter(is_behind).collect();
        assert!(stories.len() > 10, "{}", stories.len());
        for story in stories {
            assert!(story.setup.candidates > 1, "{story}");
            assert_eq!(story.to_string().parse::<Story>(), Ok(story), "it can be told again");
        }
    }

    #[test]
    fn the_lease_is_deleted_in_some_stories_and_in_some_of_them_another_process_comes() {
        let is_deleted = |story: &Story| story.events.iter().any(|(_, event)| *event == Event::DeleteLease);
        let stories: Vec<Story> = (0..1000).map(story).filter(is_deleted).collect();
        assert!(stories.len() > 10, "{}", stories.len());
        for story in &stories {
            assert!(story.setup.candidates > 0 && story.lease_faults.is_empty(), "{story}");
        }
        let comes = |story: &&Story| story.events.iter().any(|(_, event)| brings_another(event));
        assert!(stories.iter().filter(comes).count() > 3, "of {}", stories.len());
    }
}
