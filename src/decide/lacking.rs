//! A write that the API server refuses because the operator lacks a right: said in status, with nothing else changed there. What was
//! to be written is decided on anew at the next look.

use super::decision::Decision;
use super::draft::Draft;
use super::notify;
use super::snapshot::Snapshot;
use crate::api::Phase;
use crate::api::right::Right;

/// Reason while a right is missing.
pub const MISSING_RIGHT: &str = "MissingRight";

/// What to write instead; nothing, when it has been said.
pub fn decide(snapshot: &Snapshot, right: &Right) -> Decision {
    let Some(release) = &snapshot.release else { return Decision::default() };
    let mut draft = Draft::new(snapshot, release);
    let phase = draft.status.phase.unwrap_or(Phase::Idle);
    draft.phase(phase, right.to_string());
    draft.blocked(MISSING_RIGHT, right.to_string(), right.remedy());
    notify::note(&mut draft);
    draft.finish()
}
