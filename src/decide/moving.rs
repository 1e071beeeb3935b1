//! Pods on their way to a step's share: how far they have come, when they have taken too long, and what would keep them from being made at all.
//!
//! Only time counts in which somebody could have seen them come: while the native controllers carry nothing out, and while nobody looks,
//! no version can show that it starts. No more does time count in which all that were ordered have come, and the next
//! order is not given.

use std::time::Duration;

use jiff::Timestamp;

use super::back;
use super::draft::Draft;
use super::fields::Originals;
use super::migrations;
use super::pace::{Next, Stand};
use super::plan::PlannedStep;
use super::podhealth;
use super::refusal;
use super::rest;
use super::scene::Scene;
use super::snapshot::{Pod, Snapshot};
use super::steps;
use super::workload;
use crate::api::status::{Cause, Progress};
use crate::api::{Action, Phase};

/// How often to look whether an order has been carried out.
const CARRIED_OUT: Duration = Duration::from_secs(5);
/// An order that is not carried out for so long is told of.
const SILENT: Duration = Duration::from_secs(60);

/// The native controllers have not carried out the last order yet.
pub fn unsettled(draft: &mut Draft<'_>) {
    let (now, looking_since) = (draft.now(), draft.snapshot.looking_since);
    if draft.run().progress.unsettled.is_none() {
        count_absence_out(draft);
    }
    let since = draft.run().progress.unsettled.get_or_insert(now);
    // A clock may have been set back.
    since.0 = since.0.min(now.0);
    let since = since.0;
    let due = looking_since.map_or(since, |looking| looking.max(since)) + SILENT;
    draft.wake_in(CARRIED_OUT);
    if now.0 < due {
        draft.wake_at(due);
        return draft.phase(Phase::Moving, "the native controller is carrying out the last order");
    }
    draft.held(
        "ControllerSilent",
        "the native controllers have not carried out the last order for more than a minute",
        "see whether kube-controller-manager runs, and what it says of the Deployment: once it does, this goes on by itself",
    );
}

/// They have. The deadline counts no time in which they had not, and none in which nobody looked.
pub fn settled(draft: &mut Draft<'_>) {
    let now = draft.now().0;
    let progress = &mut draft.run().progress;
    match progress.unsettled.take() {
        Some(since) => count_out(progress, since.0, now),
        None => count_absence_out(draft),
    }
}

/// Of what was before we came status is witness, up to when it was written last.
fn count_absence_out(draft: &mut Draft<'_>) {
    let (looking_since, written) = (draft.snapshot.looking_since, draft.release.status.at);
    if let (Some(until), Some(from)) = (looking_since, written) {
        count_out(&mut draft.run().progress, from.0, until);
    }
}

fn count_out(progress: &mut Progress, from: Timestamp, until: Timestamp) {
    if let Some(moved) = &mut progress.moved
        && moved.0.max(from) < until
    {
        moved.0 += until - moved.0.max(from);
    }
}

/// Whether pods are waited for that may come. With `Recreate` it is one order until all have.
pub fn are_awaited(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, next: &Next) -> bool {
    let are_ordered = match next {
        Next::Wait => true,
        Next::Order(_) => originals.recreate() && draft.run().progress.moved.is_some(),
        Next::Rest | Next::NoRoom | Next::TooMany => false,
    };
    are_ordered && !scene.canary_pods().any(|pod| pod.cut_off)
}

/// Whether in the last look an order was refused that is not wanted any more: a pod was lost meanwhile. Of a write that is wanted still, while pods
/// are waited for, it says nothing.
pub fn an_order_was_refused(draft: &Draft<'_>, scene: &Scene<'_>) -> bool {
    let known = draft.release.status.blocked_by.as_ref();
    !draft.has_ordered() && known.is_some_and(|blocker| refusal::is_of_an_order(blocker, &scene.target.name))
}

/// Looks at pods that are on their way, until the deadline.
pub fn on_their_way(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    step: &PlannedStep,
    pods: i32,
) {
    if draft.status.phase == Some(Phase::Held) && draft.status.blocked_by.is_some() {
        return;
    }
    let (stand, now) = (scene.stand, draft.now());
    let cut_off = scene.canary_pods().filter(|pod| pod.cut_off).count();
    if cut_off > 0 {
        // Not the version's fault: its time begins anew when they are heard from, or replaced.
        draft.run().progress.moved = None;
        draft.wake_in(rest::LOOK_AGAIN);
        let message =
            format!("step {}: {cut_off} canary pods are on nodes that are not heard from", step.name);
        return draft.held("NodesSilent", message, "kubectl get nodes");
    }
    comes_on(draft, stand);
    let progress = &draft.run().progress;
    let since = progress.moved.map_or(now.0, |moved| moved.0);
    if let Some(overdue) = overdue(draft, scene, originals) {
        return back::begin(draft, scene, overdue);
    }
    draft.wake_in(rest::LOOK_AGAIN);
    if let Some(good_at) = scene.next_good {
        draft.wake_at(good_at);
    }
    let mut message = match in_the_place_of_new_ones(scene) {
        Some(old) => format!("step {}: no canary pod is made before old ones are gone: {old}", step.name),
        None => format!(
            "step {}: {} of {pods} canary pods are Ready, {} stable pods",
            step.name, stand.good, stand.stable_ready
        ),
    };
    match deadline(originals) {
        Some(deadline) => {
            let moments = [since + deadline, since + deadline + min_ready(originals)];
            moments.into_iter().filter(|at| *at > now.0).for_each(|at| draft.wake_at(at));
        }
        None => message += "; the Deployment sets no progress deadline",
    }
    draft.phase(Phase::Moving, message);
    if migrations::is_passed_over(draft.run()) {
        say_that_none_comes(draft, scene, originals);
    }
}

/// Somebody has said that it goes on all the same, and it cannot: pods that it takes have not come by their owner's deadline, or, where there is none, fail.
fn say_that_none_comes(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let late = late(draft, scene, originals).map(|why| why.message);
    let began = draft.run().started_at.0;
    let fail = || podhealth::failing(scene, began).into_iter().next().map(|worst| worst.message);
    let message = late.or_else(|| fail().filter(|_| originals.deadline().is_none()));
    if let Some(message) = message {
        migrations::say_that_it_waits(draft, &message);
    }
}

/// Notes when the move came on last. Pods that go, and come again, are no progress: it has come as far as most of them were good at once.
pub fn comes_on(draft: &mut Draft<'_>, stand: Stand) {
    let now = draft.now();
    let progress = &mut draft.run().progress;
    if progress.moved.is_none_or(|moved| moved.0 > now.0) || !has_come_so_far(progress.good, stand) {
        (progress.good, progress.moved) = (stand.good, Some(now));
    }
}

/// Whether as many as were good at once are no less than there are now, and no more than there may be: of fewer pods than that it is another move.
fn has_come_so_far(good: i32, stand: Stand) -> bool {
    (stand.good..=stand.canary).contains(&good)
}

/// A move has not come on for longer than the owner's deadline, and nobody has said that it goes on all the same.
pub fn overdue(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) -> Option<back::Why> {
    if migrations::is_passed_over(draft.run()) {
        return None;
    }
    late(draft, scene, originals)
}

/// The same, whatever somebody has said.
fn late(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) -> Option<back::Why> {
    let (stand, now) = (scene.stand, draft.now());
    if scene.canary_pods().any(|pod| pod.cut_off) {
        return None;
    }
    let progress = &draft.run().progress;
    let since = progress.moved.filter(|_| has_come_so_far(progress.good, stand))?;
    let deadline = deadline(originals)?;
    // A pod that is Ready by then, and stays so, has been for `minReadySeconds` so much later.
    let comes_on = scene.next_good.is_some() && now.0 < since.0 + deadline + min_ready(originals);
    let is_overdue = now.0 >= since.0 + deadline && !comes_on && stand.good < stand.canary.max(1);
    if !is_overdue {
        return None;
    }
    let seconds = deadline.as_secs();
    let Some(old) = in_the_place_of_new_ones(scene) else {
        let Stand { good, canary, .. } = stand;
        let message = format!("{good} of {canary} canary pods are Ready after {seconds} s without progress");
        return Some(back::Why::new(Cause::PodsFailing, message));
    };
    // Where nothing goes back by itself there is nothing to say again.
    let again = if migrations::barrier(draft.run()).is_none() { "; once they are, say retry" } else { "" };
    let message = format!(
        "no pod of this version was made in {seconds} s, so nothing is known against it: {old}, and none is made before old pods are gone{again}"
    );
    Some(back::Why::new(Cause::OldPodsRemain, message))
}

/// With `Recreate` the native controller makes no new pod before the last old one is gone, and one on a silent node may never be.
fn in_the_place_of_new_ones(scene: &Scene<'_>) -> Option<String> {
    if !scene.recreate() || scene.stand.canary > 0 {
        return None;
    }
    let Snapshot { sets, pods, .. } = scene.snapshot;
    let is_old = |pod: &&Pod| {
        let mut others = sets.iter().filter(|set| set.fingerprint != scene.target.fingerprint);
        pod.lingers && others.any(|set| set.uid == pod.set_uid)
    };
    let old: Vec<&Pod> = pods.iter().filter(is_old).collect();
    let names: Vec<&str> = old.iter().map(|pod| pod.name.as_str()).collect();
    let are = match names.len() {
        0 => return None,
        1 => "pod is",
        _ => "pods are",
    };
    let silent = match old.iter().filter(|pod| pod.cut_off).count() {
        0 => String::new(),
        1 => ", 1 on a node that is not heard from".to_owned(),
        several => format!(", {several} on nodes that are not heard from"),
    };
    Some(format!("{} {are} still terminating ({}){silent}", names.len(), workload::shown(&names)))
}

/// A move with `Recreate` takes no stable pod down while it is known that none would be made in its place. True: it has not begun, and waits for that.
pub fn waits_for_old_pods(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    step: &PlannedStep,
) -> bool {
    // With none of them left there is nothing to lose.
    let Some(old) = in_the_place_of_new_ones(scene).filter(|_| scene.stand.stable > 0) else { return false };
    steps::stand_still(draft, scene, originals);
    draft.wake_in(rest::LOOK_AGAIN);
    let message = format!(
        "step {}: stable pods stay, since no canary pod would be made before old ones are gone: {old}",
        step.name
    );
    let (pods, abort) = (draft.kubectl("get pods"), draft.command(Action::Abort));
    let unblock =
        format!("see what keeps them ({pods}): once they are gone it goes on by itself; or {abort}");
    draft.held("OldPodsRemain", message, unblock);
    true
}

fn min_ready(originals: &Originals) -> Duration {
    Duration::from_secs(originals.min_ready().max(0).unsigned_abs().into())
}

fn deadline(originals: &Originals) -> Option<Duration> {
    let seconds = originals.deadline()?;
    Some(Duration::from_secs(seconds.max(1).unsigned_abs().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_has_come_as_far_as_most_of_its_pods_were_good_at_once() {
        for (noted, good, canary, is_so) in [
            (0, 0, 0, true),
            (3, 3, 5, true),
            (3, 4, 5, false),
            // Some have gone, for whatever reason.
            (3, 1, 5, true),
            (5, 4, 5, true),
            // Fewer are ordered since.
            (5, 1, 4, false),
        ] {
            let stand = Stand { replicas: 10, good, canary, ..Stand::default() };
            assert_eq!(has_come_so_far(noted, stand), is_so, "{noted}: {good} of {canary}");
        }
    }
}
