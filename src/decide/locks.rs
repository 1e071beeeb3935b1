//! Locks: of the Releases of a namespace that name the same one, one run at a time has it, from before its first migration or pod until its watch
//! begins or its way back has ended, what was put back looked at; and again for the migrations after the watch.
//!
//! Who has one stands in status, and nowhere else, so that a restart and another leader know. A run takes its locks, all at once, in three
//! writes of its status, each decided on a snapshot that shows the one before:
//!
//! 1. it *asks*: from now on those that ask later wait for it;
//! 2. it *claims*, when nobody has them, claims them, or has asked before it;
//! 3. it *holds* them, when its claim is seen and no other claim or hold is. Of two that claim, who asked later takes its claim back.
//!
//! Why never two hold the same: suppose two did, and the claim of A was written before that of B. B decided to hold on a snapshot that shows its own
//! claim. What the index has of a kind in a namespace is a beginning of all that was written, in its order (while a listing is under way it
//! may not be, and then nobody claims or holds): so that snapshot shows A's claim too, or what A wrote after it, which is its hold, until A
//! gives it up. B sees a claim or a hold, and does not hold. A's hold in turn follows from its claim without anything between, since each
//! write tests the resourceVersion that it was decided on. None of this asks which process decides, or what it remembers.
//!
//! The way back comes by nothing of this.

use std::time::Duration;

use super::draft::Draft;
use super::scene::Scene;
use super::snapshot::LockFacts;
use crate::api::status::{LockStanding, LocksStatus, Run, Stamp};
use crate::api::{Action, Phase};

/// The reason while a lock is waited for.
pub const LOCKED: &str = "Locked";

/// How soon to look again whether it is free. That another Release gives it up wakes nobody else.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a run does about its locks.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It has them.
    Go,
    /// It writes this, and looks again.
    Write(LocksStatus),
    /// It waits for another Release, or (`None`) until it can be told who has what.
    Wait(Option<LockFacts>),
}

/// What to do about these locks. `others`: what other Releases of the namespace ask for, claim and hold; `None`: not known now.
pub fn next(
    release: &str,
    names: &[String],
    own: Option<&LocksStatus>,
    others: Option<&[LockFacts]>,
    now: Stamp,
) -> Next {
    let standing = |own: &LocksStatus, standing| LocksStatus { standing, ..own.clone() };
    let Some(own) = own else {
        let (names, asked) = (names.to_vec(), now);
        return Next::Write(LocksStatus { names, standing: LockStanding::Asked, asked, held: None });
    };
    if own.standing == LockStanding::Held {
        return Next::Go;
    }
    if own.standing == LockStanding::Asked && own.names != names {
        return Next::Write(LocksStatus { names: names.to_vec(), ..own.clone() });
    }
    let Some(others) = others else { return Next::Wait(None) };
    let rivals =
        || others.iter().filter(|other| other.locks.names.iter().any(|name| own.names.contains(name)));
    let first = |other: &&LockFacts| (other.locks.asked, other.release.as_str()) < (own.asked, release);
    let of = |wanted: LockStanding| rivals().filter(move |other| other.locks.standing == wanted);
    let holder = of(LockStanding::Held).next();
    match own.standing {
        LockStanding::Asked => {
            let before = holder
                .or_else(|| of(LockStanding::Claimed).next())
                .or_else(|| of(LockStanding::Asked).filter(first).min_by_key(|other| other.locks.asked));
            match before {
                Some(other) => Next::Wait(Some(other.clone())),
                None => Next::Write(standing(own, LockStanding::Claimed)),
            }
        }
        LockStanding::Claimed => {
            let mut claims = of(LockStanding::Claimed);
            match (holder, claims.find(first), of(LockStanding::Claimed).next()) {
                (Some(_), _, _) | (None, Some(_), _) => Next::Write(standing(own, LockStanding::Asked)),
                (None, None, Some(other)) => Next::Wait(Some(other.clone())),
                (None, None, None) => {
                    Next::Write(LocksStatus { held: Some(now), ..standing(own, LockStanding::Held) })
                }
            }
        }
        LockStanding::Held => Next::Go,
    }
}

/// Whether the run has its locks. Else it says what it waits for, in this phase while it waits for nobody.
pub fn are_held(draft: &mut Draft<'_>, scene: &Scene<'_>, names: &[String], phase: Phase) -> bool {
    let now = draft.now();
    let release = draft.name();
    let run = draft.run();
    let is_held = run.locks.as_ref().is_some_and(|own| own.standing == LockStanding::Held);
    if names.is_empty() && !is_held {
        run.locks = None;
        return true;
    }
    match next(release, names, run.locks.as_ref(), scene.snapshot.locks.as_deref(), now) {
        Next::Go => return true,
        Next::Write(locks) => {
            run.locks = Some(locks);
            draft.wake_in(Duration::from_millis(200));
            draft.phase(phase, format!("taking {}", words(names)));
        }
        Next::Wait(None) => {
            draft.wake_in(Duration::from_secs(1));
            draft.phase(phase, format!("taking {}", words(names)));
        }
        Next::Wait(Some(LockFacts { release, run, locks })) => {
            let shared: Vec<String> =
                locks.names.iter().filter(|name| names.contains(name)).cloned().collect();
            let (has, since) = match locks.standing {
                LockStanding::Held => ("held by", locks.held.unwrap_or(locks.asked)),
                LockStanding::Claimed | LockStanding::Asked => ("asked for first by", locks.asked),
            };
            let message =
                format!("{}: {has} run {run} of release {release} since {:.0}", words(&shared), since.0);
            let abort =
                draft.kubectl(&format!("tidegate {} {release} --reason '...'", Action::Abort.command()));
            let unblock = format!(
                "wait: it is free once the watch of that run begins, or it has gone back; or {abort}"
            );
            draft.wake_in(LOOK_AGAIN);
            draft.held(LOCKED, message, unblock);
        }
    }
    false
}

/// Nobody waits for a run that waits for something else; but under locks under which it has begun something nobody else begins.
pub fn give_up(run: &mut Run, has_begun: bool) {
    match has_begun {
        true => leave_queue(run),
        false => run.locks = None,
    }
}

/// Asks for nothing any more; what it holds it keeps.
pub fn leave_queue(run: &mut Run) {
    run.locks = run.locks.take().filter(|own| own.standing == LockStanding::Held);
}

fn words(names: &[String]) -> String {
    match names {
        [one] => format!("lock {one}"),
        several => format!("locks {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;

    /// Numbers that look like chance, from a seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % most
        }
    }

    /// The statuses of Releases as the API server has them, and processes each of which knows a beginning of what was written.
    struct Model {
        written: Vec<(usize, Option<LocksStatus>)>,
        known: [usize; 2],
        leader: usize,
        names: Vec<Vec<String>>,
        had: Vec<usize>,
        clock: i64,
    }

    impl Model {
        fn new(names: Vec<Vec<String>>) -> Self {
            let had = vec![0; names.len()];
            Self { written: Vec::new(), known: [0, 0], leader: 0, names, had, clock: 0 }
        }

        fn state(&self, release: usize, until: usize) -> Option<LocksStatus> {
            let last = self.written[..until].iter().rev().find(|(who, _)| *who == release);
            last.and_then(|(_, locks)| locks.clone())
        }

        /// The leader looks at a Release, and writes what it decides, if that was decided on the newest of its own.
        fn look(&mut self, release: usize, dice: &mut Dice, is_listing: bool) {
            let known = self.known[self.leader];
            let is_stale = self.written[known..].iter().any(|(who, _)| *who == release);
            let own = self.state(release, known);
            let others: Vec<LockFacts> = (0..self.names.len())
                .filter(|other| *other != release)
                .filter_map(|other| {
                    let locks = self.state(other, known)?;
                    Some(LockFacts { release: format!("r{other}"), run: "r1".into(), locks })
                })
                .collect();
            // The clocks of the two are far from each other.
            let skew = if self.leader == 0 { 0 } else { -500 };
            let now = Stamp(Timestamp::from_second(1_800_000_000 + self.clock + skew).unwrap());
            let others = (!is_listing).then_some(others.as_slice());
            let decided = next(&format!("r{release}"), &self.names[release], own.as_ref(), others, now);
            let write = match decided {
                Next::Go if dice.below(3) == 0 => {
                    self.had[release] += usize::from(!is_stale);
                    None
                }
                Next::Go | Next::Wait(_) => return,
                Next::Write(locks) => Some(locks),
            };
            if !is_stale {
                self.written.push((release, write));
            }
        }

        fn holders(&self) -> Vec<(usize, LocksStatus)> {
            let all = (0..self.names.len())
                .filter_map(|release| Some((release, self.state(release, self.written.len())?)));
            all.filter(|(_, locks)| locks.standing == LockStanding::Held).collect()
        }

        fn check(&self, seed: u64) {
            let mut taken = BTreeSet::new();
            for (release, locks) in self.holders() {
                for name in locks.names {
                    assert!(
                        taken.insert(name.clone()),
                        "seed {seed}: r{release} has {name} too: {:#?}",
                        self.written
                    );
                }
            }
        }
    }

    fn names(all: &[&[&str]]) -> Vec<Vec<String>> {
        all.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect()
    }

    #[test]
    fn whoever_looks_when_and_knows_how_much_never_two_have_a_lock_and_each_has_it_in_the_end() {
        for seed in 0..1000 {
            let mut dice = Dice(seed);
            let mut model = Model::new(names(&[&["db"], &["db", "topic"], &["topic"], &["db"]]));
            for _ in 0..200 {
                model.clock += 1;
                match dice.below(12) {
                    // Another leader, who knows what it knows.
                    0 => model.leader = 1 - model.leader,
                    1..=4 => {
                        let process = dice.below(2);
                        let behind = model.written.len() - model.known[process];
                        model.known[process] += if behind == 0 { 0 } else { 1 + dice.below(behind) };
                    }
                    _ => {
                        let (release, is_listing) = (dice.below(4), dice.below(5) == 0);
                        model.look(release, &mut dice, is_listing);
                        model.check(seed);
                    }
                }
            }
            for round in 0.. {
                assert!(round < 2000, "seed {seed}: not all had it: {:?} {:#?}", model.had, model.holders());
                if model.had.iter().all(|had| *had > 0) {
                    break;
                }
                model.clock += 1;
                model.known[model.leader] = model.written.len();
                model.look(round % 4, &mut dice, false);
                model.check(seed);
            }
        }
    }

    #[test]
    fn who_asked_first_has_it_first() {
        let mut dice = Dice(1);
        let mut model = Model::new(names(&[&["db"], &["db"], &["db"]]));
        let mut order = Vec::new();
        // They ask while another one has it.
        for release in [0, 0, 0, 2, 1] {
            model.clock += 1;
            model.known[0] = model.written.len();
            model.look(release, &mut dice, false);
        }
        assert_eq!(model.holders().len(), 1, "{:#?}", model.written);
        for round in 0..300 {
            model.known[0] = model.written.len();
            model.look(round % 3, &mut dice, false);
            for (release, _) in model.holders() {
                if !order.contains(&release) {
                    order.push(release);
                }
            }
        }
        assert_eq!(order, [0, 2, 1]);
    }
}
