//! What comes after stable: a newer template of the owner's, or that of the run. What does not come because somebody has the Deployment handed back is
//! named. How it is kept and put back is not known here.

use super::{Draft, Scene, is_undo, named};

/// Somebody has the Deployment handed back while the run goes back: which template does not come any more, and where it is.
pub fn not_put_back(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    let back = draft.status.run.as_ref()?.back.as_ref().filter(|_| scene.at_stable())?;
    let of_the_run = draft.status.canary.as_ref().filter(|_| !is_undo(back.cause));
    let owed = back.next.as_ref().or(of_the_run)?;
    let place = scene.kept(&owed.fingerprint);
    let place =
        place.map(|(name, _)| format!(" (it is kept as ControllerRevision {name})")).unwrap_or_default();
    Some(format!("{} was not put back{place}: push it again", named(owed)))
}
