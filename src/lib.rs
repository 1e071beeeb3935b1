//! Tidegate: a Kubernetes operator that turns a deployment runbook into something the cluster carries out.
//!
//! A `Release` says how one Deployment is released: checks before the first pod, steps of replicas, criteria measured at each step,
//! an undo the moment a limit is breached, a watch afterwards. Tidegate paces the Deployment's own rolling update; the Deployment
//! stays its owner's, and when the operator dies nothing else does.
//!
//! # One way through the house
//!
//! ```text
//! watch ──► observe ──► decide ──► act ──► report
//! cluster    Snapshot    pure       the only   tells people,
//! -> memory  {now, ...}  Decision   writes     never delays act
//! ```
//!
//! | module | what it does | what it may not |
//! |---|---|---|
//! | [`api`] | what users write and read | decide |
//! | [`watch`] | the cluster in memory: slim views, an index | write, read a clock |
//! | [`observe`] | memory and measurements to one [`decide::Snapshot`]; fetches counters and answers | write, judge |
//! | [`decide`] | what to do: a pure function | await, know a client, a clock, randomness, a log |
//! | [`act`] | carries a decision out | decide |
//! | [`report`] | log lines, events, metrics | delay or fail `act` |
//! | [`run`] | wiring, leader election, the queue, the clocks | decide |
//! | `letters` | letters that turn the direction of writing or begin a line, for `observe`, `decide`, `report` and `cli` | know where a text goes |
//! | `logged` | what others said, as a line of the log has it, for `watch`, `act`, `report` and `run` | know what it is about |
//! | `lines` | what waits, by namespace, for `report` and `run` | know what it is that waits |
//! | [`turns`] | turns at what is done so many times at once: so many for all, so many for one namespace | know what is done |
//! | [`cli`] | `kubectl tidegate` | write anything but ReleaseActions, and a hand-back when asked to |
//!
//! # Invariants
//!
//! 1. `decide` is total and deterministic.
//! 2. Only `act/writer` writes, and each write has a field manager, a deadline and a valid leader fence. But for the Lease: `run/leader.rs` does.
//! 3. Killed after any write and started again, it comes to the same end.
//! 4. One status write a look, guarded by resourceVersion; last, but for the look that decides to go back.
//! 5. Nothing is decided on a snapshot older than our own last write.
//! 6. At most one step forward a decision; going back is always possible.
//! 7. Missing data, NaN, a timeout, an error are Unknown: they never promote and never undo.
//! 8. Ready pods never fall below N - the owner's maxUnavailable because of us, except on a way back that has no room on the nodes, or
//!    mitigates first; pods never exceed N + the owner's maxSurge, except while an undo surges the missing stable pods.
//! 9. Every decision carries a wake of at most an hour, unless the Release is gone and nothing of it is left: nothing depends on an event
//!    arriving.
//! 10. `report/` cannot delay or fail `act/`.
//! 11. User text (patterns, durations, cron forms, names, CEL, PromQL, templates) is bounded and cannot abort the process.
//! 12. At rest, and after a hand-back or an uninstall, the Deployment's spec is what its owner wrote (in capture mode `Paused`: but for
//!     `paused`).
//! 13. Between moves a Deployment in a run is paused; on a canary template it is never unpaused and unparked before the last step is
//!     done.

pub mod act;
#[cfg(test)]
mod answered;
pub mod api;
pub mod cli;
pub mod decide;
mod letters;
mod lines;
mod logged;
pub mod observe;
pub mod report;
pub mod run;
pub mod turns;
pub mod watch;
