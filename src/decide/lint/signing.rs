//! What approvals contradict themselves in: more signatures than can be given, and signatures that are over before they are needed.

use super::{Found, Subject};
use crate::api::check::Approval;
use crate::api::text::Span;

/// As many can sign as have to.
pub fn quorum(subject: &Subject<'_>, found: &mut Found) {
    let mut look = |field: String, roles: &[String], quorum: i32| {
        let count = roles.len();
        if count > 1 && usize::try_from(quorum).is_ok_and(|quorum| quorum > count) {
            let problem =
                format!("{quorum} must sign, and there are {count} roles: each signature is for another");
            found.add(format!("{field}.quorum"), problem, format!("write at most {count}"));
        }
    };
    for (index, check) in subject.spec.preflight.iter().enumerate() {
        if let Some(Approval { roles, quorum, .. }) = &check.approval {
            look(format!("spec.preflight[{index}].approval"), roles, *quorum);
        }
    }
    for (index, step) in subject.spec.steps.iter().enumerate() {
        if let Some(Approval { roles, quorum, .. }) = &step.approval {
            look(format!("spec.steps[{index}].approval"), roles, *quorum);
        }
    }
    if let Some(Approval { roles, quorum, .. }) = &subject.spec.sign_off {
        look("spec.signOff".to_owned(), roles, *quorum);
    }
    if let Some(approval) = subject.spec.undo.as_ref().and_then(|undo| undo.approval.as_ref()) {
        look("spec.undo.approval".to_owned(), &approval.roles, approval.quorum);
    }
}

/// A signature that may be given as soon as the pods stand still counts when it is needed.
pub fn valid_for(subject: &Subject<'_>, found: &mut Found) {
    let mut look = |field: String, valid_for: &Option<Span>, waits: Option<&Span>, what: &str| {
        let (Some(valid_for), Some(waits)) = (valid_for, waits) else { return };
        if valid_for.parse() < waits.parse() && valid_for.parse().is_some() {
            let problem = format!(
                "a signature counts for {}, {what} takes {}: one of its beginning is over at its end",
                valid_for.0, waits.0
            );
            found.add(
                format!("{field}.validFor"),
                problem,
                format!("write more than {}, or leave it out", waits.0),
            );
        }
    };
    for (index, step) in subject.spec.steps.iter().enumerate() {
        if let Some(approval) = &step.approval {
            let field = format!("spec.steps[{index}].approval");
            look(field, &approval.valid_for, step.soak.as_ref(), "the soak");
        }
    }
    if let Some(approval) = &subject.spec.sign_off {
        let last = subject.spec.watch.as_ref().and_then(|stages| stages.last()).map(|stage| &stage.r#for);
        look("spec.signOff".to_owned(), &approval.valid_for, last, "the watch");
    }
}
