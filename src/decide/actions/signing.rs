//! What people sign: that a run goes on, that something is so, and whether it goes back; each for what they had before them, where it is asked for.
//! Whether enough have signed is not decided here (`approval`).

use jiff::Timestamp;

use super::{by, going_on, said};
use crate::api::status::{CheckState, CheckStatus, Run, Signature, SignatureOf, Stage, Stamp};
use crate::decide::approval::{self, Attest, Signed, Signers};
use crate::decide::asking;
use crate::decide::back::MOST_NOTES;
use crate::decide::draft::Draft;
use crate::decide::marks::MOST_HANDLED;
use crate::decide::plan::{CheckKind, Plan, PlannedCheck};
use crate::decide::scene::Scene;
use crate::decide::snapshot::ActionFacts;
use crate::letters::on_one_line;

/// Everything that is approved or attested: before the first pod, at steps, after the watch.
pub fn asked_of<'s>(scene: &'s Scene<'_>) -> (Vec<&'s Signers>, Vec<&'s Attest>) {
    let Ok(plan) = scene.plan else { return (Vec::new(), Vec::new()) };
    let (mut approvals, mut attests) = (Vec::new(), Vec::new());
    for check in plan.checks.iter().chain(plan.steps.iter().flat_map(|step| &step.checks)) {
        match &check.kind {
            CheckKind::Approval(signers) => approvals.push(signers),
            CheckKind::Attest(attest) => attests.push(&**attest),
            CheckKind::Job(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => {}
        }
    }
    approvals.extend(plan.steps.iter().filter_map(|step| step.approval.as_ref()));
    approvals.extend(&plan.sign_off);
    (approvals, attests)
}

/// Somebody says that it goes on.
pub fn approve(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    scene.plan.map_err(ToString::to_string)?;
    let (approvals, _) = asked_of(scene);
    let asked: Vec<&Signers> =
        approvals.into_iter().filter(|approval| approval.roles.contains(&role)).collect();
    let run = going_on(draft)?;
    if asked.is_empty() {
        return Err(format!("no approval of this release asks for role {role}"));
    }
    if !asked.iter().any(|approval| approval.allow_author) {
        approval::is_somebody_else(run, &by(action), "approve it")?;
    }
    is_of_now(run, action)?;
    let asked = match run.stage {
        Stage::Steps => run.progress.reached,
        Stage::Watch => run.all_since,
        Stage::Preflight | Stage::Back => None,
    };
    sign(run, action, SignatureOf::Approval, String::new(), asked)?;
    Ok(format!("signed as {role}"))
}

/// Somebody says that what a check asks for is so.
pub fn attest(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    let name = action.check.clone().unwrap_or_default();
    let plan = scene.plan.map_err(ToString::to_string)?;
    let run = going_on(draft)?;
    let found = to_attest(run, plan, &name, scene.now());
    let meant = found.iter().find(|check| check.asked.is_some() && check.lacks).or(found.first());
    let Some(&ToAttest { attest, step, asked, lacks: _ }) = meant else {
        return Err(format!("where the run stands no check {name} is to be attested"));
    };
    if asked.is_none() {
        return Err(format!("check {name} is not asked yet: attest it when the step's pods stand"));
    }
    if !attest.signers.roles.contains(&role) {
        return Err(format!(
            "check {name} is attested in one of the roles {}",
            attest.signers.roles.join(", ")
        ));
    }
    if !attest.signers.allow_author {
        approval::is_somebody_else(run, &by(action), "attest it")?;
    }
    is_of_now(run, action)?;
    sign(run, action, SignatureOf::Attestation, approval::place_of(&name, step), asked)?;
    Ok(format!("attested as {role}: {}", attest.sentence()))
}

/// A check that somebody attests, and where.
struct ToAttest<'p> {
    attest: &'p Attest,
    /// `None`: before the first pod.
    step: Option<&'p str>,
    /// Since when it is asked for; `None`: the run has not come to it.
    asked: Option<Stamp>,
    /// Not enough people have attested it, or what they have does not count any more.
    lacks: bool,
}

/// What is to be attested under this name where the run stands: at its step, before the first pod, and, where the plan has changed since, at
/// the steps that it has left. What is waited for at its step comes first; then all in the order in which it is asked for again.
fn to_attest<'p>(run: &Run, plan: &'p Plan, name: &str, now: Timestamp) -> Vec<ToAttest<'p>> {
    let index = usize::try_from(run.step).unwrap_or(0);
    let (here, left) = match run.stage {
        Stage::Preflight | Stage::Back => (None, 0),
        Stage::Steps => (plan.steps.get(index), index),
        Stage::Watch => (None, plan.steps.len()),
    };
    let at = |checks: &'p [PlannedCheck], step: Option<&str>| {
        let check = checks.iter().find(|check| check.name == name)?;
        let CheckKind::Attest(attest) = &check.kind else { return None };
        let known = run.checks.iter().find(|known| known.name == name && known.step.as_deref() == step);
        Some((check, &**attest, known))
    };
    let lacks = |check: &PlannedCheck, step: Option<&str>, since: Timestamp, now: Option<Timestamp>| {
        matches!(approval::of_check(run, check, step, since, now), Some(Signed::Lacking(_)))
    };
    let has_passed = |known: &CheckStatus| known.state == CheckState::Passed;
    let asked = |known: &CheckStatus| known.since.unwrap_or(run.started_at);
    let mut found = Vec::new();
    // One that was added since is asked for, too.
    let begun = run.stage != Stage::Preflight;
    if let Some((check, attest, known)) = at(&plan.checks, None) {
        let lacks = lacks(check, None, run.started_at.0, None);
        let asked = known.map(asked).or(begun.then_some(run.started_at));
        found.push(ToAttest { attest, step: None, asked, lacks });
    }
    for step in plan.steps.iter().take(left) {
        let step_name = Some(step.name.as_str());
        let Some((check, attest, known)) = at(&step.checks, step_name) else { continue };
        let Some(passed) = known.filter(|known| has_passed(known)) else { continue };
        if lacks(check, step_name, run.started_at.0, None) {
            found.push(ToAttest { attest, step: step_name, asked: Some(asked(passed)), lacks: true });
        }
    }
    if let Some(step) = here
        && let Some((check, attest, known)) = at(&step.checks, Some(&step.name))
    {
        let step_name = Some(step.name.as_str());
        let known = known.filter(|known| known.since >= run.progress.begun);
        let since = known.and_then(|known| known.since);
        let lacks = lacks(check, step_name, since.map_or(now, |since| since.0), Some(now));
        let place = if known.is_some_and(has_passed) { found.len() } else { 0 };
        found.insert(place, ToAttest { attest, step: step_name, asked: known.map(asked), lacks });
    }
    found
}

/// A signature is for what its author had before them.
fn is_of_now(run: &Run, action: &ActionFacts) -> Result<(), String> {
    match &action.content {
        Some(content) if *content != run.content => {
            Err("the plan has changed since: look at it again, and sign again".into())
        }
        Some(_) | None => Ok(()),
    }
}

/// `asked`: since when it is asked for, if not since the run began.
fn sign(
    run: &mut Run,
    action: &ActionFacts,
    of: SignatureOf,
    check: String,
    asked: Option<Stamp>,
) -> Result<(), String> {
    if run.signatures.len() >= MOST_HANDLED {
        return Err("there are too many signatures".into());
    }
    let content = match of {
        SignatureOf::Approval | SignatureOf::Attestation => run.content.clone(),
        SignatureOf::Undo => String::new(),
    };
    // The API server has noted which run it is about; when it was said is told by its clock, since when it is asked for by ours.
    let asked = asked.unwrap_or(run.started_at);
    let at = if action.run.is_some() { Stamp(action.created.max(asked.0)) } else { Stamp(action.created) };
    run.signatures.push(Signature {
        role: action.role.clone().unwrap_or_default(),
        by: by(action),
        at,
        reason: action.reason.clone(),
        action: action.uid.clone(),
        asked: Some(asked),
        of,
        check,
        content,
        voided: None,
    });
    Ok(())
}

/// The undo that somebody is asked about in this role, if it still is open.
fn undo_asked<'d>(draft: &'d mut Draft<'_>, role: &str) -> Result<&'d mut Run, String> {
    let roles = asking::approval(draft.release.spec.as_deref().ok()).map(|approval| approval.roles.0.clone());
    let run = going_on(draft)?;
    match &run.undo_asked {
        None => Err("nobody is asked about an undo now".into()),
        Some(asked) if asked.refused.is_some() => {
            Err("somebody has decided already not to go back: resume asks again, abort goes back".into())
        }
        Some(_) if !roles.unwrap_or_default().iter().any(|known| known == role) => {
            Err(format!("role {role} is not asked about an undo of this release"))
        }
        Some(_) => Ok(run),
    }
}

/// Somebody agrees to the undo that is asked about.
pub fn agree(draft: &mut Draft<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    let run = undo_asked(draft, &role)?;
    let asked = run.undo_asked.as_ref().map(|asked| asked.at);
    sign(run, action, SignatureOf::Undo, String::new(), asked)?;
    Ok(format!("agreed to the undo as {role}"))
}

/// Somebody decides that the run does not go back: it stands still.
pub fn refuse_undo(draft: &mut Draft<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    let said = said(draft, action);
    let run = undo_asked(draft, &role)?;
    approval::is_somebody_else(run, &said.by, "say that it stays")?;
    let Some(asked) = &mut run.undo_asked else { return Err("nobody is asked about an undo now".into()) };
    let note = format!("{} decided as {role} not to go back: {}. {}", said.by, said.reason, asked.message);
    asked.refused = Some(said);
    run.notes.truncate(MOST_NOTES - 1);
    run.notes.push(on_one_line(&note).take(1024).collect());
    Ok("it does not go back: the run stands still".into())
}
