//! What follows from why a run goes back: whether that is for good, and how the run ends. Whether its version is begun again is for `rejection`.

use crate::api::Outcome;
use crate::api::status::{Cause, Run};

/// Whether it ends the run because of the version that it was about, or of somebody who did not want it: it goes back for good, and not to
/// take a step again or for a newer template.
pub fn is_undo(cause: Cause) -> bool {
    match cause {
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::OldPodsRemain
        | Cause::CheckFailed
        | Cause::Abort
        | Cause::Reverted => true,
        Cause::Superseded | Cause::NoReplicas | Cause::TooMany => false,
    }
}

/// Whether the run goes on with the same version once stable stands.
pub fn goes_on(cause: Cause) -> bool {
    match cause {
        Cause::NoReplicas | Cause::TooMany => true,
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::OldPodsRemain
        | Cause::CheckFailed
        | Cause::Abort
        | Cause::Reverted
        | Cause::Superseded => false,
    }
}

/// Whether a run is back for a while only: it goes on, unless somebody says that it does not.
pub fn is_for_a_while(run: &Run) -> bool {
    run.back.as_ref().is_some_and(|back| goes_on(back.cause))
}

/// How a run ends that goes back for this cause.
pub fn outcome(cause: Cause) -> Outcome {
    match cause {
        Cause::Abort => Outcome::Aborted,
        Cause::Superseded => Outcome::Superseded,
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::OldPodsRemain
        | Cause::CheckFailed
        | Cause::Reverted
        | Cause::NoReplicas
        | Cause::TooMany => Outcome::Undone,
    }
}
