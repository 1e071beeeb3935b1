//! Where the seconds of an undo went: breach → decided → ordered → restored → validated.

use jiff::{SignedDuration, Timestamp};

use super::view::seconds;
use crate::api::status::UndoTimes;

/// One moment of an undo and how long after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// In a word: `decided`.
    pub name: &'static str,
    /// In a few words: `decided to go back`.
    pub words: &'static str,
    pub at: Timestamp,
    /// `None` for the first.
    pub took: Option<SignedDuration>,
}

/// The moments that are known, in their order.
pub fn legs(times: &UndoTimes) -> Vec<Leg> {
    let UndoTimes { breach_at, decided_at, ordered_at, restored_at, validated_at, communicated_at: _, by: _ } =
        times;
    let moments = [
        ("breach", "first evidence of a breach", *breach_at),
        ("decided", "decided to go back", Some(*decided_at)),
        ("ordered", "the last canary pod ordered away", *ordered_at),
        ("restored", "all stable pods ready and no canary pod serving", *restored_at),
        ("validated", "it was known whether what was put back works", *validated_at),
    ];
    let mut legs: Vec<Leg> = Vec::new();
    for (name, words, at) in moments {
        let Some(at) = at.map(|at| at.0) else { continue };
        let took = legs.last().map(|before| at.duration_since(before.at));
        legs.push(Leg { name, words, at, took });
    }
    legs
}

/// `breach → decided 0.40 s → ordered 0.06 s → restored 1.14 s (1.60 s in all)`. What did not happen is `not yet`, or `never`
/// once the run is over.
pub fn line(times: &UndoTimes, over: bool) -> String {
    let legs = legs(times);
    let mut words: Vec<String> = Vec::new();
    for leg in &legs {
        words.push(
            leg.took.map_or_else(|| leg.name.to_owned(), |took| format!("{} {}", leg.name, seconds(took))),
        );
    }
    let open = if over { "never" } else { "not yet" };
    for (name, at) in [("ordered", times.ordered_at), ("restored", times.restored_at)] {
        if at.is_none() {
            words.push(format!("{name} {open}"));
        }
    }
    let all = total(times).map(|all| format!(" ({} in all)", seconds(all))).unwrap_or_default();
    words.join(" → ") + &all
}

/// From the first moment that is known until stable stood again.
pub fn total(times: &UndoTimes) -> Option<SignedDuration> {
    let first = times.breach_at.unwrap_or(times.decided_at);
    times.restored_at.map(|restored| restored.0.duration_since(first.0))
}
