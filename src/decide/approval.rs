//! Signatures: whether enough different people have signed, each in a role of their own where several are asked for, and whether what they signed
//! still is what is released.
//!
//! Who may sign is not decided here: the API server's policies do that before a signature exists.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::decision::Notice;
use super::draft::Draft;
use super::plan::{CheckKind, Plan, PlannedCheck};
use crate::api::signing::UndoApproval;
use crate::api::status::{CheckState, Run, Signature, SignatureOf, Stage};
use crate::api::{Action, Authors};

/// An approval is waited for.
pub const AWAITING_APPROVAL: &str = "AwaitingApproval";
/// ... somebody who says that something is so.
pub const AWAITING_ATTESTATION: &str = "AwaitingAttestation";
/// ... somebody who says whether to go back.
pub const AWAITING_UNDO_APPROVAL: &str = "AwaitingUndoApproval";

/// Why nobody may sign, and what to do.
const TOO_MANY: &str = "more people have changed the template than are noted, and anybody may be one of them: put the stable template back and, \
                        once the release is at rest, the new one again";

/// Whose signatures are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    pub roles: Vec<String>,
    pub quorum: i32,
    /// Whoever changed the template may sign too.
    pub allow_author: bool,
    /// How long a signature counts.
    pub valid_for: Option<Duration>,
}

impl Signers {
    /// Who is asked before an undo. Whoever changed the template may say that it goes back.
    pub fn of_undo(approval: &UndoApproval) -> Self {
        Self { roles: approval.roles.0.clone(), quorum: approval.quorum, allow_author: true, valid_for: None }
    }
}

/// A sentence that somebody attests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    pub text: String,
    pub link: Option<String>,
    pub signers: Signers,
}

impl Attest {
    /// `"the rollback was rehearsed" (https://...)`
    pub fn sentence(&self) -> String {
        let link = self.link.as_ref().map(|link| format!(" ({link})")).unwrap_or_default();
        format!("\"{}\"{link}", self.text)
    }
}

/// Which signatures are counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    pub of: SignatureOf,
    /// Of an attestation: which check's.
    pub check: &'a str,
    /// Since when it is asked for here.
    pub since: Timestamp,
    /// What was given where something else was asked for counts too, since then: before the first pod, and for what has let the run come so far.
    pub elsewhere: bool,
    /// `None`: however long ago they were given.
    pub now: Option<Timestamp>,
}

/// Whether the signatures that are needed are there.
pub enum Signed {
    /// By whom, and until when that is enough.
    Enough { by: String, until: Option<Timestamp> },
    /// What is missing.
    Lacking(String),
}

/// Whether this one is a second pair of eyes: nobody who may have changed the template is. `must`: what only such a one may do.
pub fn is_somebody_else(run: &Run, by: &str, must: &str) -> Result<(), String> {
    match &run.changed_by {
        Some(authors) if authors.include(by) => {
            Err(format!("{by} made the change that this run is about: somebody else must {must}"))
        }
        Some(authors) if authors.are_too_many() => Err(TOO_MANY.to_owned()),
        Some(_) | None => Ok(()),
    }
}

/// Counts signatures: of different people, and with several roles of different roles, in whatever order they signed.
pub fn signed(run: &Run, signers: &Signers, counted: Counted<'_>) -> Signed {
    // The API server tells moments to the second: one of the same second is not an earlier one.
    let since = counted.since.as_second();
    let is_meant = |signature: &&Signature| {
        signature.of == counted.of
            && signature.check == counted.check
            && signature.at.0.as_second() >= since
            && (counted.elsewhere || is_given_here(signature, counted.since))
            && signers.roles.contains(&signature.role)
            && (signers.allow_author || !run.may_be_by(&signature.by))
    };
    let ends = |signature: &Signature| Some(signature.at.0 + signers.valid_for?);
    let is_over =
        |signature: &Signature| ends(signature).zip(counted.now).is_some_and(|(end, now)| end <= now);
    let counts = |signature: &&Signature| signature.voided.is_none() && !is_over(signature);
    let mut offers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for signature in run.signatures.iter().filter(is_meant).filter(counts) {
        offers.entry(&signature.by).or_default().push(&signature.role);
    }
    let by: Vec<String> = if signers.roles.len() > 1 {
        pairs(&offers).into_iter().map(|(role, person)| format!("{person} ({role})")).collect()
    } else {
        offers.iter().map(|(person, roles)| format!("{person} ({})", roles[0])).collect()
    };
    let have = i32::try_from(by.len()).unwrap_or(i32::MAX);
    if have >= signers.quorum {
        // The first that is over may be one that is not needed: it is looked at again then.
        let until = run.signatures.iter().filter(is_meant).filter(counts).filter_map(ends).min();
        return Signed::Enough { by: by.join(", "), until };
    }
    let mut message = format!("{have} of {} signatures, roles: {}", signers.quorum, signers.roles.join(", "));
    message.push_str(&may_be_anybody(run, signers));
    for signature in run.signatures.iter().filter(is_meant) {
        let name = format!("{} ({})", signature.by, signature.role);
        let has_signed_again = run
            .signatures
            .iter()
            .filter(is_meant)
            .filter(counts)
            .any(|other| other.by == signature.by && other.role == signature.role);
        if has_signed_again {
            continue;
        }
        if signature.voided.is_some() {
            message.push_str(&format!("; what {name} signed has changed since: sign again"));
        } else if let Some(end) = ends(signature).filter(|_| is_over(signature)) {
            message.push_str(&format!("; the signature of {name} counted until {end:.0}: sign again"));
        }
    }
    Signed::Lacking(message)
}

/// Whether it was given for what is asked for since then. Which place a second belongs to cannot be told: a step may be left, and the next one ask, in
/// one. What an older operator has noted tells no more than that.
fn is_given_here(signature: &Signature, since: Timestamp) -> bool {
    signature.asked.is_none_or(|asked| asked.0 == since)
}

/// As many pairs of a role and a person as there can be, each in one pair only (Kuhn's augmenting paths: roles are at most eight).
fn pairs<'r>(offers: &BTreeMap<&'r str, Vec<&'r str>>) -> BTreeMap<&'r str, &'r str> {
    let mut taken = BTreeMap::new();
    for person in offers.keys() {
        place(person, offers, &mut taken, &mut Vec::new());
    }
    taken
}

/// Finds a role for a person; who holds it already moves to another one, where there is one.
fn place<'r>(
    person: &'r str,
    offers: &BTreeMap<&'r str, Vec<&'r str>>,
    taken: &mut BTreeMap<&'r str, &'r str>,
    tried: &mut Vec<&'r str>,
) -> bool {
    for role in offers.get(person).into_iter().flatten().copied() {
        if tried.contains(&role) {
            continue;
        }
        tried.push(role);
        let holder = taken.get(role).copied();
        if holder.is_none_or(|holder| place(holder, offers, taken, tried)) {
            taken.insert(role, person);
            return true;
        }
    }
    false
}

/// What is known of a check that is signed, in its own words.
pub fn of_check(
    run: &Run,
    check: &PlannedCheck,
    step: Option<&str>,
    since: Timestamp,
    now: Option<Timestamp>,
) -> Option<Signed> {
    let place = place_of(&check.name, step);
    match &check.kind {
        CheckKind::Approval(signers) => {
            let of = SignatureOf::Approval;
            Some(signed(run, signers, Counted { of, check: "", since, elsewhere: true, now }))
        }
        CheckKind::Attest(attest) => {
            let of = SignatureOf::Attestation;
            let counted = Counted { of, check: &place, since, elsewhere: true, now };
            Some(match signed(run, &attest.signers, counted) {
                Signed::Lacking(_) => Signed::Lacking(unattested(run, attest, &place, now)),
                enough @ Signed::Enough { .. } => enough,
            })
        }
        CheckKind::Job(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => None,
    }
}

/// `rehearsed`, or of a step `tenth/smoke`: what a signature says it attests.
pub fn place_of(check: &str, step: Option<&str>) -> String {
    step.map_or_else(|| check.to_owned(), |step| format!("{step}/{check}"))
}

/// What is told of a check that enough people have signed: who, and of an attestation what and why.
pub fn words(run: &Run, check: &PlannedCheck, step: Option<&str>, by: &str) -> String {
    let CheckKind::Attest(attest) = &check.kind else { return format!("signed by {by}") };
    let place = place_of(&check.name, step);
    let is_meant = |signature: &&Signature| {
        signature.of == SignatureOf::Attestation && signature.check == place && signature.voided.is_none()
    };
    let reason = run.signatures.iter().rev().find(is_meant).map(|signature| signature.reason.as_str());
    format!("{}, attested by {by}: {}", attest.sentence(), reason.unwrap_or_default())
}

/// Nobody has attested it, or what somebody has does not count any more.
fn unattested(run: &Run, attest: &Attest, place: &str, now: Option<Timestamp>) -> String {
    let roles = attest.signers.roles.join(", ");
    let last = run
        .signatures
        .iter()
        .rev()
        .find(|signature| signature.of == SignatureOf::Attestation && signature.check == place);
    let since = last.map(|last| {
        let end = attest.signers.valid_for.map(|valid_for| last.at.0 + valid_for);
        match (last.voided, end.zip(now).filter(|(end, now)| end <= now)) {
            (Some(_), _) => format!("; what is released has changed since {} did: attest it again", last.by),
            (None, Some((end, _))) => {
                format!("; that {} did counted until {end:.0}: attest it again", last.by)
            }
            (None, None) => String::new(),
        }
    });
    let nobody_may = may_be_anybody(run, &attest.signers);
    format!(
        "nobody attests that {}, roles: {roles}{nobody_may}{}",
        attest.sentence(),
        since.unwrap_or_default()
    )
}

/// What is said where nobody may sign.
fn may_be_anybody(run: &Run, signers: &Signers) -> String {
    let too_many = run.changed_by.as_ref().is_some_and(Authors::are_too_many);
    if too_many && !signers.allow_author { format!("; {TOO_MANY}") } else { String::new() }
}

/// What has let the run come so far and does not stand any more, since the plan has changed: reason, message and way out. However long ago it was
/// given: it has been used.
pub fn voided(draft: &mut Draft<'_>, plan: &Plan) -> Option<(&'static str, String, String)> {
    let run = draft.run();
    if run.signatures.iter().all(|signature| signature.voided.is_none()) {
        return None;
    }
    let since = run.started_at.0;
    let here = match run.stage {
        Stage::Preflight => 0,
        Stage::Steps | Stage::Back => usize::try_from(run.step).unwrap_or(0),
        Stage::Watch => plan.steps.len(),
    };
    let before = plan.checks.iter().map(|check| (check, None));
    let at_steps = plan
        .steps
        .iter()
        .take(here.saturating_add(1))
        .flat_map(|step| step.checks.iter().map(|check| (check, Some(step.name.as_str()))));
    for (check, step) in before.chain(at_steps) {
        // Of this step, one that has not passed yet is waited for anyway.
        let is_used = step.is_none()
            || run.checks.iter().any(|known| {
                known.name == check.name && known.step.as_deref() == step && known.state == CheckState::Passed
            });
        if let Some(Signed::Lacking(message)) = of_check(run, check, step, since, None).filter(|_| is_used) {
            let message = format!("the plan has changed: check {}: {message}", place_of(&check.name, step));
            let (reason, unblock) = asks_for(draft, check)?;
            return Some((reason, message, unblock));
        }
    }
    for step in plan.steps.iter().take(here) {
        let Some(signers) = &step.approval else { continue };
        let of = SignatureOf::Approval;
        let counted = Counted { of, check: "", since, elsewhere: true, now: None };
        if let Signed::Lacking(message) = signed(draft.run(), signers, counted) {
            let message = format!("the plan has changed: step {}: {message}", step.name);
            return Some((AWAITING_APPROVAL, message, command(draft, signers)));
        }
    }
    None
}

/// The reason while a check's signatures are waited for, and the command that signs.
pub fn asks_for(draft: &Draft<'_>, check: &PlannedCheck) -> Option<(&'static str, String)> {
    match &check.kind {
        CheckKind::Approval(signers) => Some((AWAITING_APPROVAL, command(draft, signers))),
        CheckKind::Attest(attest) => {
            let roles = attest.signers.roles.join("|");
            let command = draft.kubectl(&format!("tidegate {} {}", Action::Attest.command(), draft.name()));
            let command = format!("{command} --check {} --role {roles} --reason '...'", check.name);
            Some((AWAITING_ATTESTATION, command))
        }
        CheckKind::Job(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => None,
    }
}

/// The command that signs.
pub fn command(draft: &Draft<'_>, signers: &Signers) -> String {
    format!("{} --role {}", draft.command(Action::Approve), signers.roles.join("|"))
}

/// Signatures that were given for something else do not count any more. Each is told once.
pub fn void(draft: &mut Draft<'_>) {
    let now = draft.now();
    let run = draft.run();
    let id = run.id.clone();
    let mut told = Vec::new();
    for signature in &mut run.signatures {
        let is_bound = match signature.of {
            SignatureOf::Approval | SignatureOf::Attestation => true,
            SignatureOf::Undo => false,
        };
        if is_bound && signature.voided.is_none() && signature.content != run.content {
            signature.voided = Some(now);
            let Signature { by, role, .. } = signature;
            told.push(format!(
                "run {id}: what {by} signed as {role} has changed since: it does not count any more"
            ));
        }
    }
    draft.notices.extend(told.into_iter().map(|note| Notice::warning("SignatureVoided", note)));
}
