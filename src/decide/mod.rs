//! What to do: a pure function from everything known to everything to be done.
//!
//! No await, client, clock, randomness or logging; the same [`Snapshot`] gives the same [`Decision`]. Time is `snapshot.now`.
//! Going back is looked at before going on, everywhere.

mod actions;
pub mod approval;
mod asking;
mod back;
pub mod calendar;
mod checks;
mod conditions;
pub mod content;
pub mod cron;
pub mod decision;
pub mod definition;
mod draft;
mod elapsed;
mod evidence;
pub mod expression;
pub mod fields;
pub mod gate;
pub mod images;
pub mod jobs;
pub mod judge;
pub mod kept_name;
mod label;
pub mod lint;
pub mod locks;
mod marks;
pub mod migrations;
mod moving;
pub mod needs;
pub mod notify;
pub mod objects;
mod orphan;
mod overwriting;
mod own_template;
pub mod pace;
pub mod pilots;
pub mod plan;
mod podhealth;
mod preflight;
pub mod promotion;
mod record;
pub mod refusal;
mod rest;
mod retention;
pub mod rights;
mod run;
mod scene;
mod sight;
pub mod snapshot;
mod soak;
mod steps;
mod stored;
pub mod telemetry;
pub mod traffic;
mod trial;
mod unheard;
mod unsound;
pub mod values;
mod watching;
pub mod workload;

pub use back::{VALIDATION, hook_errand, hook_id, quarantine_refusal};
pub use decision::{
    Awaited, Decision, Errand, ErrandKind, Gather, Intent, Notice, Owner, Relabelled, Witness,
};
pub use evidence::{duration, percent};
pub use needs::{About, Needs, Probe, ProbedPod, SampledPod, SampledValue, Sampling, needs};
pub use pilots::Placing;
pub use rest::is_needed;
pub use snapshot::{Key, Snapshot};

use draft::Draft;
use scene::Scene;

use crate::api::Phase;

/// What to do about one Release, now.
pub fn decide(snapshot: &Snapshot) -> Decision {
    let Some(release) = &snapshot.release else {
        return orphan::decide(snapshot);
    };
    let mut draft = Draft::new(snapshot, release);
    marks::forget_seen(&mut draft);
    match (&snapshot.target, &snapshot.rival) {
        (None, _) => rest::target_missing(&mut draft),
        (Some(target), Some(rival)) => {
            let message = format!("Deployment {} already belongs to release {rival}", target.name);
            draft.phase(Phase::Idle, message.clone());
            let delete = draft.kubectl(&format!("delete release {rival}"));
            draft.blocked("TargetTaken", message, format!("{delete}, or delete this one"));
        }
        (Some(target), None) if !release.is_about(target) => orphan::give_back_first(&mut draft, target),
        (Some(target), None) => {
            rest::note_target(&mut draft, target);
            stored::note(&mut draft, target);
            overwriting::forget(&mut draft, target);
            let scene = Scene::new(snapshot, release, &draft.status, target);
            if draft.status.run.is_some() {
                run::decide(&mut draft, &scene);
            } else {
                rest::decide(&mut draft, &scene);
            }
            label::keep(&mut draft, target);
            rest::stop_managing(&mut draft, target);
            scene.describe(&mut draft);
            lint::note(&mut draft, &scene);
            label::let_copy_go(&mut draft);
            own_template::keep_beside(&mut draft, &scene);
        }
    }
    marks::mark(&mut draft);
    rights::mention(&mut draft);
    back::say_what_is_lost(&mut draft);
    own_template::say_what_is_not_kept(&mut draft);
    notify::note(&mut draft);
    back::watch_communication(&mut draft);
    retention::remove_old(&mut draft);
    back::end_quarantines(&mut draft);
    trial::end_unneeded(&mut draft);
    draft.finish()
}
