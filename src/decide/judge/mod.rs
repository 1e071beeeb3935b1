//! The judge: counted requests in, verdicts out.
//!
//! [`fold`] adds slots of counts to a [`State`], [`judge`] says what the state is worth. Both are
//! pure and deterministic: the same slots give the same state, byte for byte, whether they came
//! live, in one batch after a restart, or from a file. All evidence is an *e-process* (a
//! non-negative process whose mean stays at or below 1 while nothing is wrong), so that looking
//! after every slot costs nothing: the chance that it ever reaches 1/α is at most α (Ville).
//!
//! What this module deliberately does not do: fetch, difference or align counters, know steps,
//! soaks and deadlines, decide what a verdict leads to, or read a clock.
//!
//! Code map: [`slot`] and [`criterion`] are the inputs, [`count`] turns a slot into counts for one
//! criterion, [`evidence`] and [`rank`] hold the formulas, [`spread`] says how much counts clump, [`lanes`] lets a test notice a
//! fault that starts late, [`split`] shares α among the criteria, [`fold`](fn@fold) moves the state, [`judge`](fn@judge) applies the
//! zones, [`need`] and [`interval`] are for people.

mod account;
pub mod count;
pub mod criterion;
pub mod evidence;
mod fixed;
mod fold;
pub mod interval;
mod judgement;
pub mod lanes;
mod message;
pub mod need;
pub mod rank;
pub mod recent;
mod relative;
pub mod slot;
pub mod split;
pub mod spread;
mod state;
mod verdict;

pub use account::Account;
pub use criterion::{Criterion, Measure, OnLimit, OnUnknown, Settings, Thresholds};
pub use fold::{fold, learn};
pub use judgement::{Evidence, Judgement, Reason, Verdict};
pub use message::STANDS;
pub use slot::{Bound, BoundError, Revision, Slot, WARM_UP};
pub use state::{Exact, Memory, SET_BACK, State, Suspicion, begin_step, is_ahead, note_missing};
pub use verdict::judge;
