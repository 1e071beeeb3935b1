//! A Release that is gone while a Deployment still carries its label: back to stable (or, by `onDelete: Finish`, not), then the
//! Deployment is its owner's again.
//!
//! There is no status any more: what is needed stands on the Deployment itself.

use serde_json::Value;

use super::back::{self, GoingBack};
use super::decision::{Decision, Intent, Notice};
use super::draft::{Draft, LONGEST_SLEEP};
use super::fields::{Originals, Wanted, managed_no_more, parked};
use super::rest::LOOK_AGAIN;
use super::snapshot::{Snapshot, StoredTemplate, Workload};
use crate::api::Phase;

/// What to do about what a deleted Release left behind.
pub fn decide(snapshot: &Snapshot) -> Decision {
    let mut decision = of_the_deployment(snapshot);
    // Pods are kept for as long as was said, also when nobody is there any more who said it.
    let (delete, next) = back::quarantines_over(snapshot);
    decision.intents.extend(delete);
    decision.wake =
        [decision.wake, next.map(|next| next.min(snapshot.now + LONGEST_SLEEP))].into_iter().flatten().min();
    decision
}

/// A Release was made under the name of one that is gone, for another Deployment, while this one still carries the name: it is given back first.
pub fn give_back_first(draft: &mut Draft<'_>, former: &Workload) {
    let Decision { intents, notices, wake, urgent, .. } = of_the_deployment(draft.snapshot);
    draft.intents.extend(intents);
    draft.notices.extend(notices);
    if urgent {
        draft.urgent();
    }
    if let Some(wake) = wake {
        draft.wake_at(wake);
    }
    let name = &former.name;
    let message =
        format!("Deployment {name}, which a former Release of this name was about, is given back first");
    draft.phase(Phase::Idle, message.clone());
    let unblock = draft.kubectl(&format!("rollout status deployment/{name}"));
    draft.blocked("FormerTarget", message, unblock);
}

fn of_the_deployment(snapshot: &Snapshot) -> Decision {
    let mut decision = Decision { wake: Some(snapshot.now + LOOK_AGAIN), ..Decision::default() };
    let Some(target) = &snapshot.target else {
        // Handed back, by us or by somebody else, or deleted.
        decision.wake = None;
        drop_templates(&mut decision, snapshot);
        return decision;
    };
    let in_run = parked(target) || target.stable.is_some();
    let originals = match &target.originals {
        Some(text) if in_run => Originals::parse(text),
        Some(_) | None if !in_run => Ok(Originals::take(target)),
        Some(_) | None => {
            return decision;
        }
    };
    let Ok(originals) = originals else { return decision };
    let finish = target.on_delete.as_deref() == Some("Finish");
    let noted = GoingBack::noted(snapshot, target, &originals);
    // What is left of it by accident goes to no more pods than it has: which template was stable nobody knows any more.
    let is_lost = parked(target) && !finish && noted.is_none();
    if let Some(way) = noted.filter(|way| in_run && !finish && !way.is_over()) {
        decision.urgent = true;
        order(&mut decision, target, &way.order(), "the Release is gone: go back to stable");
        return decision;
    }
    if is_lost {
        order(
            &mut decision,
            target,
            &Wanted::left_standing(&originals),
            "the Release is gone, and the stable template: stand still",
        );
        let note = format!(
            "the Release is gone in mid-run, and so is the stable template: Deployment {name} is left as it stands, paused; go on with kubectl rollout resume deployment/{name} -n {namespace}, or write a template that works before",
            name = target.name,
            namespace = snapshot.key.namespace,
        );
        decision.notices.push(Notice::warning("StableTemplateLost", note));
        return decision;
    }
    let wanted = Wanted::given_back(&originals);
    if wanted.patch(target).is_some() {
        order(&mut decision, target, &wanted, "the Release is gone: hand the Deployment back");
        return decision;
    }
    // The label goes last: who waits for it to go, to remove the operator next, leaves nothing behind.
    drop_templates(&mut decision, snapshot);
    if let Some(mut patch) = wanted.labelled(None).patch(target) {
        patch.extend(managed_no_more(target));
        push(&mut decision, target, patch, "the Release is gone: nothing of it is left");
    }
    decision
        .notices
        .push(Notice::normal("HandedBack", "its Release is gone: the Deployment is its owner's again"));
    decision
}

fn drop_templates(decision: &mut Decision, snapshot: &Snapshot) {
    let drop = |(name, kept): (&String, &StoredTemplate)| Intent::DropTemplate {
        name: name.clone(),
        uid: kept.uid.clone(),
    };
    decision.intents.extend(snapshot.templates.iter().map(drop));
}

fn order(decision: &mut Decision, target: &Workload, wanted: &Wanted, why: &str) {
    if let Some(patch) = wanted.patch(target) {
        push(decision, target, patch, why);
    }
}

fn push(decision: &mut Decision, target: &Workload, patch: Vec<Value>, why: &str) {
    decision.intents.push(Intent::PatchWorkload { name: target.name.clone(), patch, why: why.into() });
}
