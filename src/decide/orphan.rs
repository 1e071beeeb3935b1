//! A Release that is gone while a Deployment still carries its label, or has lost it in mid-run: back to stable (or, by `onDelete: Finish`, not, unless it
//! was going back already), then the Deployment is its owner's again.
//!
//! There is no status any more: what is needed stands on the Deployment itself, also that stable has been ordered. That is done once: what its owner
//! writes after it stays, for nobody is there any more who could release it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::back::{self, GoingBack};
use super::decision::{self, Awaited, Decision, Intent, LONGEST_NOTE, Notice};
use super::draft::{Draft, LONGEST_SLEEP};
use super::fields::{Originals, PARKED_DEADLINE, Wanted, managed_no_more, parked};
use super::kept_name::template_name;
use super::label;
use super::podhealth;
use super::rest::{self, LOOK_AGAIN};
use super::scene::revision;
use super::snapshot::{Key, PodSet, Snapshot, StoredTemplate, Unheard, WayBack, Workload};
use super::unheard::{self, CLUSTER_UNHEARD};
use crate::api::status::Back;
use crate::api::{GROUP, ORIGINALS, Phase, RELEASE_LABEL};
use crate::letters::on_one_line;

/// What is told when a newer template of the owner's is left there, or put back.
const NEWER: &str = "Superseded";

/// Letters of the longest name that an object may have.
const LONGEST_NAME: usize = 253;

/// What is to be done about a Deployment, and what keeps it from being its owner's.
#[derive(Default)]
struct Left {
    decision: Decision,
    kept_by: Option<Kept>,
}

/// What only people can take away.
struct Kept {
    reason: &'static str,
    what: String,
    unblock: String,
    /// Whether [`line`] comes after that.
    is_line_told: bool,
}

/// What stands on the Deployment in the place of what `onDelete` said, once stable is ordered and the Release is gone.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    ordered_at: Timestamp,
    /// The template that comes after stable, by the name under which it is kept: its owner wrote it over that of the run; or the run's own, which that was
    /// to go on with, by `onDelete: Finish`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    then: Option<String>,
}

impl Ordered {
    /// Anybody may have written it: what cannot be a name is told as what could be one.
    fn noted(target: &Workload) -> Option<Self> {
        let noted: Self = serde_json::from_str(target.on_delete.as_deref()?).ok()?;
        let then = noted.then.map(|then| on_one_line(&then).take(LONGEST_NAME).collect());
        Some(Self { then, ..noted })
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The template that comes after stable, by the name under which it is kept, or will be, where the Release of a run is gone.
pub fn owed(way: &GoingBack<'_>) -> Option<String> {
    owed_by(way, Ordered::noted(way.target).as_ref())
}

fn owed_by(way: &GoingBack<'_>, known: Option<&Ordered>) -> Option<String> {
    match known {
        Some(known) if way.is_at_stable() => known.then.clone(),
        // Its owner has written the version of the run once more: that was their last word.
        Some(_) => None,
        None if way.is_at_stable() => known_here(way),
        None => written_over(way),
    }
}

/// A way back that a Release takes up which was made in the middle of it.
pub struct TakenUp {
    /// The template that comes after stable, by the name under which it is kept, or will be.
    pub then: Option<String>,
    /// What is noted of it on the Deployment; `None`: nothing yet.
    pub note: Option<String>,
    /// Why stable does not come.
    pub failing: Option<String>,
}

/// Takes it up, with what comes after stable, and since when that is ordered. Without a Release what comes next goes out where stable fails: nobody is
/// there who could say more. With one it waits: it would be released against a version that does not stand, and be gone back from to that.
pub fn taken_up(way: &GoingBack<'_>) -> TakenUp {
    let known = Ordered::noted(way.target);
    let then = owed_by(way, known.as_ref());
    let failing = what_fails(way, known.as_ref());
    // Nothing comes next where that is noted without it.
    let note = (then.is_some() || !is_awaited(way)).then(|| {
        let ordered_at = known.map_or(way.snapshot.now, |known| known.ordered_at);
        Ordered { ordered_at, then: then.clone() }.text()
    });
    TakenUp { then, note, failing }
}

/// When stable was ordered where the Release is gone, as far as that is noted.
pub fn ordered_at(target: &Workload) -> Option<Timestamp> {
    Ordered::noted(target).map(|known| known.ordered_at)
}

/// Whether this process alone knows what comes after stable, and may yet see that it is kept.
pub fn is_awaited(way: &GoingBack<'_>) -> bool {
    let may_be_seen = |known: &Back| seen_until(way.snapshot, known.decided_at.0).is_some();
    let is_known = |seen: &WayBack| comes_next(way, seen).is_some() && may_be_seen(&seen.back);
    Ordered::noted(way.target).is_none() && way.snapshot.way_back.as_ref().is_some_and(is_known)
}

/// Whether the Deployment is on its way back, and what comes after stable is not noted there.
pub fn lacks_note(snapshot: &Snapshot) -> bool {
    let goes_back = |target: &Workload| target.stable.is_some() && Ordered::noted(target).is_none();
    snapshot.target.as_ref().is_some_and(goes_back)
}

/// Until when a template that comes after stable may yet be seen to be kept.
pub fn seen_by(way: &GoingBack<'_>) -> Option<Timestamp> {
    seen_until(way.snapshot, Ordered::noted(way.target)?.ordered_at)
}

/// The same, where that counts from then. While kept templates are not heard it has no end.
fn seen_until(snapshot: &Snapshot, since: Timestamp) -> Option<Timestamp> {
    let now = snapshot.now;
    let since = if snapshot.unheard_templates.is_some() { now } else { since.min(now) };
    let until = since + back::TEMPLATE_SEEN_WITHIN;
    (until > now).then_some(until)
}

/// That a template which comes after stable is not kept.
pub fn lost(then: &str) -> Notice {
    let note = format!("template {then}, which was to come after stable, could not be kept: push it again");
    Notice::warning("TemplateLost", note)
}

/// What to do about what a deleted Release left behind.
pub fn decide(snapshot: &Snapshot) -> Decision {
    let Left { mut decision, kept_by } = of_the_deployment(snapshot);
    if let Some(target) = snapshot.target.as_ref().filter(|target| target.release_label.is_none()) {
        label::put_back(&mut decision.intents, target, &snapshot.key.name);
    }
    if let Some((Kept { reason, what, unblock, is_line_told }, target)) =
        kept_by.zip(snapshot.target.as_ref())
    {
        let name = &target.name;
        let note = format!(
            "its Release is gone, and Deployment {name} is not its owner's again yet: {what:.300}; {unblock}"
        );
        let note = if is_line_told { with_line(note, &snapshot.key, name) } else { note };
        decision.notices.push(Notice::warning(reason, note).lasting());
    }
    // Pods are kept for as long as was said, also when nobody is there any more who said it.
    let (delete, next) = back::quarantines_over(snapshot);
    decision.intents.extend(delete);
    decision.wake =
        [decision.wake, next.map(|next| next.min(snapshot.now + LONGEST_SLEEP))].into_iter().flatten().min();
    decision
}

/// A Release was made under the name of one that is gone, for another Deployment, while this one still carries the name: it is given back first.
pub fn give_back_first(draft: &mut Draft<'_>, former: &Workload) {
    let Left { decision, kept_by } = of_the_deployment(draft.snapshot);
    let Decision { intents, notices, wake, urgent, .. } = decision;
    draft.intents.extend(intents);
    if former.release_label.is_none() {
        label::put_back(&mut draft.intents, former, &draft.snapshot.key.name);
    }
    draft.notices.extend(notices);
    if urgent {
        draft.urgent();
    }
    if let Some(wake) = wake {
        draft.wake_at(wake);
    }
    let name = &former.name;
    let first =
        format!("Deployment {name}, which a former Release of this name was about, is given back first");
    let (message, unblock) = match kept_by {
        Some(Kept { what, unblock, is_line_told, .. }) => {
            let line = if is_line_told { line(&draft.snapshot.key, name) } else { String::new() };
            (format!("{first}, and cannot be yet: {what}"), unblock + &line)
        }
        None => {
            let status = draft.kubectl(&format!("rollout status deployment/{name}"));
            let line = line(&draft.snapshot.key, name);
            let unblock = format!("wait: {status}; or have it back as it stands: {line}");
            (format!("{first}, once its stable pods are Ready"), unblock)
        }
    };
    draft.phase(Phase::Idle, message.clone());
    draft.blocked("FormerTarget", message, unblock);
}

fn of_the_deployment(snapshot: &Snapshot) -> Left {
    let mut left = Left::default();
    let decision = &mut left.decision;
    decision.wake = Some(snapshot.now + LOOK_AGAIN);
    let Some(target) = &snapshot.target else {
        // Handed back, by us or by somebody else, or deleted.
        decision.wake = None;
        drop_templates(decision, snapshot);
        return left;
    };
    let in_run = parked(target) || target.stable.is_some();
    let originals = match &target.originals {
        _ if !in_run => Ok(Originals::take(target)),
        Some(text) => Originals::parse(text).map_err(|lost| lost.to_string()),
        None => Err(format!("annotation {ORIGINALS} is missing")),
    };
    let originals = match originals {
        Ok(originals) => originals,
        Err(lost) => {
            left.kept_by = Some(without_originals(snapshot, target, &lost));
            return left;
        }
    };
    let finish = says_finish(target);
    let noted = GoingBack::noted(snapshot, target, &originals);
    // What is left of it by accident goes to no more pods than it has: which template was stable nobody knows any more.
    let is_lost = parked(target) && !finish && noted.is_none();
    if let Some(way) = noted.filter(|way| in_run && (!finish || was_going_back(way))) {
        return go_back(left, &way);
    }
    if is_lost {
        order(
            decision,
            target,
            &Wanted::left_standing(&originals),
            "the Release is gone, and the stable template: stand still",
        );
        let another = target.stable.as_deref().filter(|name| snapshot.templates.contains_key(*name));
        let lost = another
            .map_or_else(|| "so is the stable template".to_owned(), |name| snapshot.stable_is_lost(name));
        let note = format!(
            "the Release is gone in mid-run, and {lost}: Deployment {name} is left as it stands, paused; go on with kubectl rollout resume deployment/{name} -n {namespace}, or write a template that works before",
            name = target.name,
            namespace = snapshot.key.namespace,
        );
        decision.notices.push(Notice::warning("StableTemplateLost", note));
        return left;
    }
    let wanted = Wanted::given_back(&originals);
    if wanted.patch(target).is_some() {
        order(decision, target, &wanted, "the Release is gone: hand the Deployment back");
        return left;
    }
    // The label goes last: who waits for it to go, to remove the operator next, leaves nothing behind.
    drop_templates(decision, snapshot);
    let wanted = wanted.labelled(None);
    if let Some(mut patch) = wanted.patch(target) {
        patch.extend(managed_no_more(target));
        push(decision, target, &wanted, patch, "the Release is gone: nothing of it is left");
    }
    decision
        .notices
        .push(Notice::normal("HandedBack", "its Release is gone: the Deployment is its owner's again"));
    left
}

/// Whether its author wants what is out to be finished, and nothing is ordered yet.
pub fn says_finish(target: &Workload) -> bool {
    target.on_delete.as_deref() == Some("Finish")
}

/// Whether it was going back before its Release went, so that there is nothing to be finished but that: stable stands there, or, by all that this process
/// knows, the very version that is undone.
fn was_going_back(way: &GoingBack<'_>) -> bool {
    let is_undone = |seen: &WayBack| back::is_undo(seen.back.cause) && seen.canary == way.target.fingerprint;
    way.is_at_stable() || way.snapshot.way_back.as_ref().is_some_and(is_undone)
}

/// Back to stable; what its owner has written over the run's comes after that.
fn go_back(mut left: Left, way: &GoingBack<'_>) -> Left {
    let (snapshot, target, decision) = (way.snapshot, way.target, &mut left.decision);
    let (name, at_stable) = (&target.name, way.is_at_stable());
    let stands_there = back::named(&revision(target));
    let known = Ordered::noted(target);
    let failing = what_fails(way, known.as_ref());
    let given_back = Wanted::given_back(way.originals);
    if is_theirs(way, known.as_ref(), failing.is_some()) {
        let though = failing.map(|failing| format!(", before stable stands ({failing:.300})"));
        let note = format!(
            "its Release is gone, and its owner has written {stands_there}: Deployment {name} is given back with it{}; it is rolled out as by any Deployment, and not judged",
            though.unwrap_or_default()
        );
        decision.notices.push(Notice::warning(NEWER, note));
        order(
            decision,
            target,
            &given_back,
            "the Release is gone, and another template is there: hand the Deployment back",
        );
        return left;
    }
    let then = owed_by(way, known.as_ref());
    let next = then.as_ref().and_then(|then| snapshot.kept_as(then));
    // Nothing comes next where that is noted without it.
    let is_awaited = then.is_none() && is_awaited(way);
    let is_over = way.is_over() && !is_awaited;
    if at_stable && (is_over || (failing.is_some() && next.is_some())) {
        if let Some(then) = &then {
            decision.notices.push(comes_after(then, next.is_some(), failing.as_deref()));
        }
        let wanted = match next {
            Some(kept) => given_back.with_template(kept.fingerprint.clone(), kept.template.clone()),
            None => given_back,
        };
        order(decision, target, &wanted, "the Release is gone: hand the Deployment back");
        return left;
    }
    decision.urgent = true;
    decision.wake = decision.wake.into_iter().chain(way.seeks_room_at()).min();
    left.kept_by = failing.map(without_stable);
    if is_awaited && at_stable {
        order(decision, target, &way.order(), "the Release is gone: go back to stable");
        let unheard = || snapshot.unheard_templates.as_ref().map(without_templates);
        left.kept_by = left.kept_by.or_else(unheard);
        return left;
    }
    if let Some(notice) = begins(way, known.as_ref(), then.as_deref(), &stands_there) {
        decision.notices.push(notice);
    }
    let kept = snapshot.kept(&target.fingerprint).map(|(_, kept)| kept);
    if !at_stable && then.is_some() && kept.is_none_or(|kept| kept.let_go) {
        // Going back waits for none of it: where this is refused, that is told, and that it has to be pushed again.
        let let_go = kept.map(|kept| kept.uid.clone());
        decision.intents.push(rest::keeping(target, Awaited::UnlessRefused, let_go));
    }
    let noted = Ordered { ordered_at: known.map_or(snapshot.now, |known| known.ordered_at), then };
    order(decision, target, &way.order().on_deletion(noted.text()), "the Release is gone: go back to stable");
    left
}

/// Why stable does not come: its pods fail by themselves, or their owner's deadline has passed since it was ordered.
fn what_fails(way: &GoingBack<'_>, known: Option<&Ordered>) -> Option<String> {
    let failing = podhealth::stable_failing(way.snapshot, &way.stable.1.fingerprint);
    failing.or_else(|| {
        // Anybody may have written it.
        let since = known?.ordered_at.min(way.snapshot.now);
        back::late(way.snapshot, way.stand, way.originals, since, "after stable was ordered").ok()
    })
}

/// Whether what stands there is its owner's, and stays: they have written it after stable was ordered; or before, over the run's, and stable fails. Of
/// a version that the Release brought out they may have written it once more, or a tool for them: as long as stable comes, that is put back first.
fn is_theirs(way: &GoingBack<'_>, known: Option<&Ordered>, fails: bool) -> bool {
    let fingerprint = &way.target.fingerprint;
    if way.is_at_stable() {
        return false;
    }
    match known {
        Some(known) => fails || !is_of_the_release(way, known),
        None => fails && (written_over(way).is_some() || kept_as(way, fingerprint).is_none()),
    }
}

/// Whether what stands there had pods in a run, or was to: those of its templates are kept.
fn is_of_the_release(way: &GoingBack<'_>, known: &Ordered) -> bool {
    let fingerprint = &way.target.fingerprint;
    let kept = kept_as(way, fingerprint);
    kept.is_some()
        && kept != known.then.as_deref()
        && way.snapshot.sets.iter().any(|set| set.fingerprint == *fingerprint)
}

/// What comes after stable, which stands there, as far as this process alone knows: by the name under which it is kept, or was to be. While it may yet be
/// seen to be kept it is none.
fn known_here(way: &GoingBack<'_>) -> Option<String> {
    let seen = way.snapshot.way_back.as_ref().filter(|_| is_ordered(way))?;
    let next = comes_next(way, seen)?;
    let unkept = || (!is_awaited(way)).then(|| template_name(&way.target.name, next));
    kept_as(way, next).map(str::to_owned).or_else(unkept)
}

/// Fingerprint of what the run was to put back once stable stands: what its owner has written meanwhile; or its own version, where it was back for a while
/// only and its author wants that finished.
fn comes_next<'w>(way: &GoingBack<'_>, seen: &'w WayBack) -> Option<&'w str> {
    let is_finished = back::goes_on(seen.back.cause) && says_finish(way.target);
    let own = is_finished.then_some(seen.canary.as_str());
    seen.back.next.as_ref().map(|next| next.fingerprint.as_str()).or(own)
}

/// The template that its owner has written over that of the run, by the name under which it is kept, or will be: others' pods are out and none of it,
/// or the run was about to put it back.
fn written_over(way: &GoingBack<'_>) -> Option<String> {
    let (snapshot, target) = (way.snapshot, way.target);
    let next = snapshot.way_back.as_ref().and_then(|seen| seen.back.next.as_ref());
    let next = next.map(|next| next.fingerprint.as_str());
    let is_out = |set: &&PodSet| set.replicas > 0 && set.fingerprint != way.stable.1.fingerprint;
    let mut out = snapshot.sets.iter().filter(is_out).peekable();
    let over_others = out.peek().is_some() && out.all(|set| set.fingerprint != target.fingerprint);
    let is_newer = over_others || next == Some(target.fingerprint.as_str());
    let name = || kept_as(way, &target.fingerprint).map_or_else(|| revision(target).revision, str::to_owned);
    is_newer.then(name)
}

/// Whether the stable template that stands there can be of an order: its owner has written none over what is parked, or (with `Recreate`, which parks
/// only the deadline, and only on the way back) over what has the owner's deadline.
fn is_ordered(way: &GoingBack<'_>) -> bool {
    let keeps_deadline = way.target.progress_deadline_seconds == Some(PARKED_DEADLINE);
    !parked(way.target) && (keeps_deadline || !way.originals.recreate())
}

/// Under what name a template is kept, if it is.
fn kept_as<'a>(way: &GoingBack<'a>, fingerprint: &str) -> Option<&'a str> {
    way.snapshot.kept(fingerprint).map(|(name, _)| name.as_str())
}

/// What is said when stable is ordered: once, and again where somebody writes the run's version once more.
fn begins(
    way: &GoingBack<'_>,
    known: Option<&Ordered>,
    then: Option<&str>,
    stands_there: &str,
) -> Option<Notice> {
    let (name, stable) = (&way.target.name, way.stable.0);
    let goes_on = |seen: &WayBack| back::goes_on(seen.back.cause);
    let is_own = way.is_at_stable() && way.snapshot.way_back.as_ref().is_some_and(goes_on);
    let whose = if is_own { "its run was to go on with" } else { "its owner has written meanwhile" };
    let after = then.map(|then| format!(", and then to {then}, which {whose}")).unwrap_or_default();
    match (known, way.is_at_stable()) {
        (Some(_), true) => None,
        (Some(_), false) => {
            let note = format!(
                "its Release is gone, and {stands_there}, which that brought out, was written once more: Deployment {name} goes back to {stable} first; what is written once stable stands stays"
            );
            Some(Notice::warning("GoingBack", note).lasting())
        }
        (None, at_stable) => {
            let from = if at_stable { String::new() } else { format!(" from {stands_there}") };
            let note = format!(
                "its Release is gone in mid-run: Deployment {name} goes back{from} to {stable}{after}; what is written from now on stays"
            );
            Some(Notice::warning("GoingBack", note))
        }
    }
}

/// What becomes of the template that was to come after stable.
fn comes_after(then: &str, is_kept: bool, failing: Option<&str>) -> Notice {
    match (is_kept, failing) {
        (false, _) => lost(then),
        (true, Some(failing)) => {
            let note = format!(
                "stable does not stand ({failing:.300}), and its Release is gone: {then}, which was to come after it, is rolled out in its place, and not judged"
            );
            Notice::warning(NEWER, note)
        }
        (true, None) => {
            let note = format!(
                "stable stands again, and its Release is gone: {then}, which was to come after it, is rolled out, and not judged"
            );
            Notice::normal(NEWER, note)
        }
    }
}

fn without_stable(failing: String) -> Kept {
    let unblock = "mend what keeps them, and it goes on by itself; or push a template that starts, which stays; or have it back as it stands: ";
    Kept { reason: back::STABLE_FAILS, what: failing, unblock: unblock.into(), is_line_told: true }
}

fn without_templates(unheard: &Unheard) -> Kept {
    let unblock = "see why the API server does not answer, or refuses it, and it goes on by itself; or have it back as it stands: ";
    let what = format!("what comes after stable may be kept unheard: {}", unheard::said(unheard));
    Kept { reason: CLUSTER_UNHEARD, what, unblock: unblock.into(), is_line_told: true }
}

fn without_originals(snapshot: &Snapshot, target: &Workload, lost: &str) -> Kept {
    let edit = decision::kubectl(&snapshot.key, &format!("edit deployment/{}", target.name));
    let unblock = format!(
        "write spec.paused, minReadySeconds, progressDeadlineSeconds and strategy as they are to be, and take label {RELEASE_LABEL} and the annotations {GROUP}/* off in the same write: {edit}"
    );
    let what = format!("{lost}, so its owner's fields are not known");
    Kept { reason: "OriginalsLost", what, unblock, is_line_told: false }
}

/// A note that ends with that line. An event has no room for it beside long names and much else, and half a command helps nobody: there it is told
/// where the line stands.
pub fn with_line(note: String, key: &Key, name: &str) -> String {
    let line = line(key, name);
    if note.len() + line.len() <= LONGEST_NOTE {
        return note + &line;
    }
    note + "by the line of docs/hand-back.md, \"Giving back, without Tidegate\""
}

/// The line of docs/hand-back.md that gives a Deployment back.
pub fn line(Key { namespace, .. }: &Key, name: &str) -> String {
    let deployment = format!("deploy {name} -n {namespace}");
    let originals = format!(
        r"$(kubectl get {deployment} -o jsonpath='{{.metadata.annotations.tidegate\.dev/originals}}')"
    );
    let ours = ["originals", "stable", "on-delete", "run", "held"];
    let ours = ours.map(|ours| format!(r#"\"{GROUP}/{ours}\":null"#)).join(",");
    format!(
        r#"kubectl patch {deployment} --type merge -p "{{\"spec\":{originals},\"metadata\":{{\"labels\":{{\"{RELEASE_LABEL}\":null}},\"annotations\":{{{ours}}}}}}}""#
    )
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
        push(decision, target, wanted, patch, why);
    }
}

fn push(decision: &mut Decision, target: &Workload, wanted: &Wanted, patch: Vec<Value>, why: &str) {
    let (name, why) = (target.name.clone(), why.into());
    let template = wanted.template().map(str::to_owned);
    decision.intents.push(Intent::PatchWorkload { name, patch, why, template });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_is_told_is_that_of_the_manual() {
        let manual = include_str!("../../docs/hand-back.md");
        let wanted = manual.lines().find(|line| line.contains("originals}'),"));
        let wanted = wanted.expect("the line").replace("$D", "shop").replace("$NS", "ns");
        let key = Key { namespace: "ns".into(), name: "release".into() };
        assert_eq!(line(&key, "shop"), wanted);
    }

    #[test]
    fn a_line_for_which_an_event_has_no_room_is_not_cut_but_told_of() {
        let manual = include_str!("../../docs/hand-back.md");
        assert!(manual.contains("\n## Giving back, without Tidegate\n"));
        let key = Key { namespace: "ns".into(), name: "release".into() };
        let room = LONGEST_NOTE - line(&key, "shop").len();
        let fits = "x".repeat(room);
        assert_eq!(with_line(fits.clone(), &key, "shop"), format!("{fits}{}", line(&key, "shop")));
        let is_told = |note: String| {
            note.ends_with("by the line of docs/hand-back.md, \"Giving back, without Tidegate\"")
        };
        assert!(is_told(with_line(fits + "x", &key, "shop")));
        let longest = Key { namespace: "n".repeat(63), ..key };
        let name = "d".repeat(LONGEST_NAME);
        let note = with_line(format!("Deployment {name}: "), &longest, &name);
        assert!(is_told(note.clone()) && note.len() <= LONGEST_NOTE, "{note}");
    }
}
