//! What users write and read: the kinds of the group `tidegate.dev/v1alpha1`, and the names of labels and annotations.
//!
//! Nothing here decides anything. A one-of is a set of optional fields with one CEL rule (so that the API server says what is
//! wrong in a sentence); [`crate::decide::plan`] turns it into an enum.

pub mod action;
pub mod authors;
pub mod check;
pub mod crds;
pub mod criterion;
pub mod digest;
pub mod freeze;
pub mod labels;
pub mod migration;
pub mod notify;
pub mod release;
pub mod report;
pub mod right;
pub mod signing;
pub mod status;
pub mod text;
pub mod undo;
pub mod windows;

pub use action::{Action, ReleaseAction, ReleaseActionSpec, ReleaseActionStatus};
pub use authors::Authors;
pub use check::Check;
pub use criterion::{Criterion, OnLimit};
pub use freeze::{Freeze, FreezeSpec};
pub use release::{Capacity, CaptureMode, OnDelete, Release, ReleaseSpec};
pub use report::{ReleaseReport, ReleaseReportSpec};
pub use right::Right;
pub use status::{Outcome, Phase, ReleaseStatus};

/// API group of every kind.
pub const GROUP: &str = "tidegate.dev";

/// What we are called among those who manage fields.
pub const FIELD_MANAGER: &str = "tidegate";

/// Label on the Deployment, its stored templates and its Jobs: the name of the Release that has them.
pub const RELEASE_LABEL: &str = "tidegate.dev/release";

/// Label on our Jobs: what each is for, such as the check's name.
pub const CHECK_LABEL: &str = "tidegate.dev/check";

/// Label on our Jobs of checks: the digest of what the check asked for when the Job was made.
pub const DEFINITION_LABEL: &str = "tidegate.dev/definition";

/// Value of [`CHECK_LABEL`] on the Job of a trial pod, and on that pod. No check is called so.
pub const TRIAL: &str = "Trial";

/// Annotation on the Deployment in a run: a merge patch of `spec` that gives the owner's fields back (`null`: was absent).
pub const ORIGINALS: &str = "tidegate.dev/originals";

/// Annotation on the Deployment in a run: the name of the ControllerRevision that holds the stable template.
pub const STABLE: &str = "tidegate.dev/stable";

/// Annotation on the Deployment: `true` when `paused` was set by the hold policy and not by its owner; [`HELD_BY_OWNER`] when a new
/// template waits under a pause of the owner's.
pub const HELD: &str = "tidegate.dev/held";

/// Value of [`HELD`]: the pause is the owner's, and becomes ours when the owner ends it.
pub const HELD_BY_OWNER: &str = "owner";

/// Annotation on the Deployment in a run: what becomes of it when the Release is deleted (`Finish`; without it, `Undo`). Once it is, and stable is
/// ordered, since when, and what comes after it.
pub const ON_DELETE: &str = "tidegate.dev/on-delete";

/// Annotation on the Deployment: who has changed the template since it was last stable, as [`Authors`]. The API server appends; we begin it anew.
pub const CHANGED_BY: &str = "tidegate.dev/changed-by";

/// Label on a pod in quarantine: the name of the Release that keeps it alive.
pub const QUARANTINE: &str = "tidegate.dev/quarantine";

/// Annotation on a pod in quarantine: until when it is kept.
pub const QUARANTINED_UNTIL: &str = "tidegate.dev/quarantined-until";

/// Annotation on a pod in quarantine: the labels that were taken off it, as JSON.
pub const QUARANTINED_LABELS: &str = "tidegate.dev/quarantined-labels";

/// Annotation on a stored template: its fingerprint.
pub const FINGERPRINT: &str = "tidegate.dev/fingerprint";
