//! Steps that count only those of their new pods which run on nodes, or have labels, of their author's choice.
//!
//! Nothing is placed here: the native controller places all pods of a template alike, and the template is its owner's. What is looked at is
//! whether so many of a step's Ready pods are where they were wanted; before, the step is not reached, and its soak stands still when they
//! are no more. Where pods are is read while such a step is under way, and only then; what cannot be read is Unknown, and passes nothing.
//! A criterion is judged by all new pods: who is served by one elsewhere is not to be overlooked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::draft::Draft;
use super::needs::ASK_AGAIN;
use super::plan::PlannedStep;
use super::scene::Scene;
use super::snapshot::{Place, Placed, Snapshot};
use crate::api::labels::Labels;
use crate::api::release::{Pilot, Step};
use crate::api::status::{Run, Stage};
use crate::api::text::Share;
use crate::api::{Action, ReleaseSpec};

/// Too few are where they are wanted.
const MISSING: &str = "PilotsMissing";
/// It cannot be told where they are.
const UNKNOWN: &str = "PilotsUnknown";
/// While they are where they are wanted, that is looked at so often: somebody may change the labels of a node. That a pod is gone, or Ready
/// anew, is seen at once.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Letters of labels that are shown.
const SHOWN: usize = 100;

/// Pods of which it is to be read where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placing {
    /// By uid.
    pub pods: BTreeSet<String>,
    /// The labels of their template, which list them.
    pub labels: BTreeMap<String, String>,
    /// Whether the labels of their nodes are wanted, too.
    pub nodes: bool,
}

/// How it stands with the pilots of a step.
pub enum Pilots {
    /// So many as are wanted; or the step asks for none.
    Stand,
    /// It is being looked at where they are.
    Sought(String),
    /// Reason, message and way out.
    Lacking(&'static str, String, String),
}

/// Which pods of a step count.
///
/// # Errors
/// The field below the step, and what to write.
pub fn of(step: &Step) -> Result<Option<Pilot>, (&'static str, String)> {
    let Some(pilot) = &step.pilot else { return Ok(None) };
    if step.replicas == Share::percent(100) {
        let problem = "pilots go before others, and after 100% nobody is left: write it in a smaller step";
        return Err(("pilot", problem.into()));
    }
    let Pilot { nodes, pods, at_least } = pilot;
    if nodes.is_none() && pods.is_none() {
        return Err(("pilot", "write nodes or pods: which of the step's pods count".into()));
    }
    for (field, labels) in [("pilot.nodes", nodes), ("pilot.pods", pods)] {
        let Some(labels) = labels else { continue };
        if labels.is_empty() {
            return Err((field, "write matchLabels or matchExpressions".into()));
        }
        if let Some(odd) = labels.odd() {
            let odd: String = odd.chars().take(SHOWN).collect();
            return Err((field, format!("'{odd}' is not the key or the value of a label")));
        }
    }
    match (&step.replicas.0, at_least) {
        (_, Some(least)) if *least < 1 => Err(("pilot.atLeast", "write 1 or more".into())),
        (IntOrString::Int(pods), Some(least)) if least > pods => {
            Err(("pilot.atLeast", format!("{least} is more than the step's replicas ({pods})")))
        }
        (IntOrString::Int(_) | IntOrString::String(_), Some(_) | None) => Ok(Some(pilot.clone())),
    }
}

/// `on nodes tier=pilot and labelled team=web`
pub fn words(pilot: &Pilot) -> String {
    let shown = |labels: &Labels| -> String { labels.to_string().chars().take(SHOWN).collect() };
    let nodes = pilot.nodes.as_ref().map(|labels| format!("on nodes {}", shown(labels)));
    let pods = pilot.pods.as_ref().map(|labels| format!("labelled {}", shown(labels)));
    nodes.into_iter().chain(pods).collect::<Vec<_>>().join(" and ")
}

/// Whether a pod counts.
fn counts(pilot: &Pilot, place: &Place) -> bool {
    let Pilot { nodes, pods, at_least: _ } = pilot;
    pods.as_ref().is_none_or(|wanted| wanted.match_these(&place.labels))
        && nodes
            .as_ref()
            .is_none_or(|wanted| place.node_labels.as_ref().is_some_and(|labels| wanted.match_these(labels)))
}

/// The pods to look for, where the step that a run is at asks for pilots and its pods are there.
pub fn needed(snapshot: &Snapshot, run: &Run, spec: &ReleaseSpec) -> Option<Placing> {
    let step = usize::try_from(run.step).ok().and_then(|index| spec.steps.get(index))?;
    let pilot =
        step.pilot.as_ref().filter(|_| run.stage == Stage::Steps && run.progress.skipped.is_none())?;
    let target = snapshot.target.as_ref()?;
    let stable = snapshot.release.as_ref()?.status.stable.as_ref()?;
    let pods = snapshot.live_pods(|fingerprint| fingerprint != stable.fingerprint);
    let pods: BTreeSet<String> = pods.filter(|pod| pod.serves()).map(|pod| pod.uid.clone()).collect();
    // Until its pods are Ready the step is not reached, wherever they are.
    let are_there = i32::try_from(pods.len()).ok() >= step.replicas.of(target.replicas);
    let known = snapshot.placed.as_ref();
    let is_due = known.is_none_or(|known| known.asked != pods || due(pilot, known) <= snapshot.now);
    (are_there && !pods.is_empty() && is_due).then(|| {
        let template = target.template.value();
        let labels = serde_json::from_value(template["metadata"]["labels"].clone()).unwrap_or_default();
        Placing { pods, labels, nodes: pilot.nodes.is_some() }
    })
}

/// When it is to be read again where the same pods are.
fn due(pilot: &Pilot, placed: &Placed) -> Timestamp {
    let all_count = placed
        .found
        .as_ref()
        .is_ok_and(|found| !found.is_empty() && found.values().all(|place| counts(pilot, place)));
    let enough = pilot.at_least.map_or(all_count, |least| {
        let found = placed.found.iter().flat_map(BTreeMap::values);
        i32::try_from(found.filter(|place| counts(pilot, place)).count()).unwrap_or(i32::MAX) >= least
    });
    placed.at + if enough { LOOK_AGAIN } else { ASK_AGAIN }
}

/// Pods of a step that are Ready: those that count, those that do not, and those of which it is not known yet.
#[derive(Default)]
struct Tally {
    pilots: i32,
    others: i32,
    unseen: i32,
}

fn tally(scene: &Scene<'_>, pilot: &Pilot, placed: &Placed) -> Result<Tally, String> {
    let found = placed.found.as_ref().map_err(String::clone)?;
    let mut tally = Tally::default();
    for pod in scene.canary_pods().filter(|pod| pod.serves()) {
        let counted = match found.get(&pod.uid) {
            Some(place) if counts(pilot, place) => &mut tally.pilots,
            Some(_) => &mut tally.others,
            // It was not among those that were listed by the labels of their template: it has others.
            None if placed.asked.contains(&pod.uid) => &mut tally.others,
            None => &mut tally.unseen,
        };
        *counted += 1;
    }
    Ok(tally)
}

/// How many of a step's pods count, where it asks for pilots and that is known.
pub fn count(scene: &Scene<'_>, step: &PlannedStep) -> Option<i32> {
    let placed = scene.snapshot.placed.as_ref()?;
    tally(scene, step.pilot.as_ref()?, placed).ok().map(|tally| tally.pilots)
}

/// Whether a step rests on pilots that nobody has seen since a restart: it is not left on what was.
pub fn are_unseen(scene: &Scene<'_>, step: &PlannedStep) -> bool {
    step.pilot.is_some() && scene.snapshot.placed.is_none()
}

/// How it stands with the pilots of a step whose pods, so many, are Ready.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>, step: &PlannedStep, pods: i32) -> Pilots {
    let Some(pilot) = step.pilot.as_ref().filter(|_| draft.run().progress.skipped.is_none()) else {
        return Pilots::Stand;
    };
    let Some(placed) = &scene.snapshot.placed else {
        // After a restart what stood before stands until it has been looked at again.
        let stood = draft.run().progress.soaking_since.is_some();
        return if stood { Pilots::Stand } else { sought(draft, step) };
    };
    draft.wake_at(due(pilot, placed).max(scene.now() + Duration::from_secs(1)));
    let skip = draft.command(Action::Skip);
    let tally = match tally(scene, pilot, placed) {
        Ok(tally) => tally,
        Err(trouble) => {
            let message =
                format!("step {}: it cannot be told which pods are {}: {trouble}", step.name, words(pilot));
            let by_pods = if pilot.nodes.is_some() {
                "choose them by pilot.pods (from 1.35 on Kubernetes copies topology labels of nodes to pods), or "
            } else {
                ""
            };
            let unblock = format!("wait: it is looked at again every 15 s, or {by_pods}{skip}");
            return Pilots::Lacking(UNKNOWN, message, unblock);
        }
    };
    let wanted = pilot.at_least.unwrap_or(pods);
    let Tally { pilots, others, unseen } = tally;
    if pilots >= wanted {
        return Pilots::Stand;
    }
    if unseen > 0 {
        return sought(draft, step);
    }
    let where_others = if pilot.pods.is_none() { "elsewhere" } else { "others" };
    let message = format!(
        "step {}: {pilots} of {wanted} new pods are {}; {others} {where_others}",
        step.name,
        words(pilot)
    );
    let unblock = if wanted > pods {
        format!("more replicas in the step (it has {pods} pods), a smaller pilot.atLeast, or {skip}")
    } else {
        format!(
            "a template that places some there (nodeSelector, topologySpreadConstraints), more replicas in the step, a smaller pilot.atLeast, or {skip}"
        )
    };
    Pilots::Lacking(MISSING, message, unblock)
}

/// Until it is known what it is now, what was said last stands: whoever is told of holds is told once.
fn sought(draft: &Draft<'_>, step: &PlannedStep) -> Pilots {
    let said = draft.release.status.blocked_by.as_ref();
    let again = |reason| {
        let said = said.filter(|said| said.reason == reason)?;
        Some(Pilots::Lacking(reason, said.message.clone(), said.unblock.clone()))
    };
    let looking = || Pilots::Sought(format!("step {}: looking where its pods are", step.name));
    again(MISSING).or_else(|| again(UNKNOWN)).unwrap_or_else(looking)
}
