//! Approvals: whether enough different people have signed, each in a role of their own where several are asked for.
//!
//! Who may sign is not decided here: the API server's policies do that before a signature exists.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::draft::Draft;
use crate::api::Action;
use crate::api::check::Approval;
use crate::api::status::{Run, Signature};

/// Whether an approval has the signatures it needs.
pub enum Signed {
    /// By whom.
    Enough(String),
    /// What is missing.
    Lacking(String),
}

/// Counts signatures given since then: different people, and with several roles different roles, in whatever order they signed.
pub fn signed(run: &Run, approval: &Approval, since: Timestamp) -> Signed {
    // The API server tells moments to the second: one of the same second is not an earlier one.
    let since = since.as_second();
    let counts = |signature: &&Signature| {
        signature.at.0.as_second() >= since
            && approval.roles.contains(&signature.role)
            && (approval.allow_author || Some(&signature.by) != run.changed_by.as_ref())
    };
    let mut offers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for signature in run.signatures.iter().filter(counts) {
        offers.entry(&signature.by).or_default().push(&signature.role);
    }
    let by: Vec<String> = if approval.roles.len() > 1 {
        pairs(&offers).into_iter().map(|(role, person)| format!("{person} ({role})")).collect()
    } else {
        offers.iter().map(|(person, roles)| format!("{person} ({})", roles[0])).collect()
    };
    let have = i32::try_from(by.len()).unwrap_or(i32::MAX);
    if have >= approval.quorum {
        return Signed::Enough(format!("signed by {}", by.join(", ")));
    }
    Signed::Lacking(format!("{have} of {} signatures, roles: {}", approval.quorum, approval.roles.join(", ")))
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

/// The command that signs.
pub fn command(draft: &Draft<'_>, approval: &Approval) -> String {
    format!("{} --role {}", draft.command(Action::Approve), approval.roles.join("|"))
}
