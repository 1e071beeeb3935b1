//! The part of a plan that is about checks: each with its one kind, and what it asks. At a step, before the first pod, and of what was put back
//! they are understood alike; only before the first pod there is no pod to ask yet.

use std::sync::Arc;
use std::time::Duration;

use super::{PlanError, span};
use crate::api::check::dns::DnsCheck;
use crate::api::check::promotion::PromotionCheck;
use crate::api::check::tls::TlsCheck;
use crate::api::check::{Approval, ConfigCheck, HttpCheck, OnFailure, Severity};
use crate::api::signing::AttestCheck;
use crate::api::text::Span;
use crate::api::{Check, digest};
use crate::decide::approval::{Attest, Signers};
use crate::decide::expression::Expression;
use crate::decide::jobs::PlannedJob;
use crate::decide::objects::Objects;
use crate::decide::traffic::Traffic;
use crate::decide::{promotion, rights, workload};

/// How long a trial pod may take to start and answer, where nothing is said.
const TRIAL: Duration = Duration::from_secs(300);
/// How long one question may take: it keeps a place for which others wait.
pub const LONGEST_QUESTION: Duration = Duration::from_secs(600);
/// Until a failed check is tried again for the first time, where nothing is said.
const BACKOFF: Duration = Duration::from_secs(10);

/// A check with its one kind.
#[derive(Clone, Debug)]
pub struct PlannedCheck {
    pub name: String,
    /// Tells what it asks for from anything else: the first digits of a digest.
    pub definition: String,
    pub timeout: Duration,
    pub severity: Severity,
    pub retries: Option<PlannedRetries>,
    pub every: Option<Duration>,
    pub on_failure: OnFailure,
    /// It takes a right that its author must have.
    pub lent: bool,
    pub kind: CheckKind,
}

/// Tries after the first one.
#[derive(Clone, Copy, Debug)]
pub struct PlannedRetries {
    pub limit: i32,
    pub backoff: Duration,
}

/// What a check does.
#[derive(Clone, Debug)]
pub enum CheckKind {
    Approval(Signers),
    Attest(Box<Attest>),
    Job(Arc<PlannedJob>),
    Asked(Question),
    /// Before the first pod of the Deployment: of a pod that is started for it.
    Trial(Box<HttpCheck>),
}

impl CheckKind {
    /// Whether people sign it: that takes what time they take, and is never skipped.
    pub fn is_signed(&self) -> bool {
        match self {
            Self::Approval(_) | Self::Attest(_) => true,
            Self::Job(_) | Self::Asked(_) | Self::Trial(_) => false,
        }
    }

    /// Whether it comes after everything else before the first pod: it runs what is released.
    pub fn comes_last(&self) -> bool {
        match self {
            Self::Trial(_) => true,
            Self::Approval(_) | Self::Attest(_) | Self::Job(_) | Self::Asked(_) => false,
        }
    }
}

/// What is asked, over the network or of the API server.
#[derive(Clone, Debug)]
pub enum Question {
    Http(HttpCheck),
    Config(ConfigCheck),
    Tls(Box<TlsCheck>),
    Dns(DnsCheck),
    Objects(Box<Objects>),
    /// No check: how much goes on.
    Traffic(Box<Traffic>),
    Workload(workload::Wanted),
    Promotion(promotion::Wanted),
    /// About these criteria; `None`: all.
    Telemetry(Option<Vec<String>>),
}

impl Question {
    /// Whether it is asked of each Ready pod of a revision.
    pub fn is_of_pods(&self) -> bool {
        match self {
            Self::Http(check) => check.pod_path.is_some(),
            Self::Config(_)
            | Self::Tls(_)
            | Self::Dns(_)
            | Self::Objects(_)
            | Self::Traffic(_)
            | Self::Workload(_)
            | Self::Promotion(_)
            | Self::Telemetry(_) => false,
        }
    }

    /// Whether it is about what comes before the first pod, and says nothing after.
    pub(super) fn is_before_the_first_pod(&self) -> bool {
        match self {
            Self::Workload(_) | Self::Promotion(_) | Self::Telemetry(_) => true,
            Self::Http(_)
            | Self::Config(_)
            | Self::Tls(_)
            | Self::Dns(_)
            | Self::Objects(_)
            | Self::Traffic(_) => false,
        }
    }
}

pub(super) fn checks(written: &[Check], field: &str) -> Result<Vec<PlannedCheck>, PlanError> {
    understood(written, field, |_, planned| planned)
}

/// `meant`: what is made of one where it stands.
fn understood(
    written: &[Check],
    field: &str,
    meant: impl Fn(&Check, PlannedCheck) -> PlannedCheck,
) -> Result<Vec<PlannedCheck>, PlanError> {
    let one = |(index, written): (usize, &Check)| {
        let field = format!("{field}[{index}]");
        bounded(meant(written, check(written, &field)?), &field)
    };
    written.iter().enumerate().map(one).collect()
}

/// A Job and a trial pod take what time they take: nobody waits for their place.
fn bounded(check: PlannedCheck, field: &str) -> Result<PlannedCheck, PlanError> {
    match check.kind {
        CheckKind::Asked(_) if check.timeout > LONGEST_QUESTION => Err(PlanError {
            field: format!("{field}.timeout"),
            problem: format!(
                "it is {} s, and nobody is asked for longer than {} s, since others wait to ask: write 10m or less, or let a job ask",
                check.timeout.as_secs(),
                LONGEST_QUESTION.as_secs(),
            ),
        }),
        CheckKind::Approval(_)
        | CheckKind::Attest(_)
        | CheckKind::Job(_)
        | CheckKind::Asked(_)
        | CheckKind::Trial(_) => Ok(check),
    }
}

/// Those before the first pod. There is no pod to ask yet: where one is to be asked, it is started for that.
pub(super) fn preflight(written: &[Check]) -> Result<Vec<PlannedCheck>, PlanError> {
    understood(written, "spec.preflight", |written, planned| match planned.kind {
        CheckKind::Asked(Question::Http(http)) if http.pod_path.is_some() => PlannedCheck {
            timeout: if written.timeout.is_some() { planned.timeout } else { TRIAL },
            every: None,
            lent: true,
            kind: CheckKind::Trial(Box::new(http)),
            ..planned
        },
        kind => PlannedCheck { kind, ..planned },
    })
}

pub(super) fn signers(approval: &Approval, field: &str) -> Result<Signers, PlanError> {
    let Approval { roles, quorum, allow_author, valid_for } = approval;
    Ok(Signers {
        roles: roles.0.clone(),
        quorum: *quorum,
        allow_author: *allow_author,
        valid_for: lasting(valid_for.as_ref(), field)?,
    })
}

fn attested(attest: &AttestCheck, field: &str) -> Result<CheckKind, PlanError> {
    let AttestCheck { text, roles, link, allow_author, valid_for } = attest;
    let signers = Signers {
        roles: roles.0.clone(),
        quorum: 1,
        allow_author: *allow_author,
        valid_for: lasting(valid_for.as_ref(), field)?,
    };
    Ok(CheckKind::Attest(Box::new(Attest { text: text.clone(), link: link.clone(), signers })))
}

/// How long a signature counts.
fn lasting(valid_for: Option<&Span>, field: &str) -> Result<Option<Duration>, PlanError> {
    let field = format!("{field}.validFor");
    let Some(text) = valid_for else { return Ok(None) };
    match span(text, || field.clone())? {
        Duration::ZERO => {
            Err(PlanError { field, problem: "a signature that counts for no time is none".into() })
        }
        length => Ok(Some(length)),
    }
}

fn asked_over_http(http: &HttpCheck, field: &str) -> Result<CheckKind, PlanError> {
    if let Some(text) = &http.expect.expression {
        Expression::parse(text, &["body"])
            .map_err(|problem| PlanError { field: format!("{field}.http.expect.expression"), problem })?;
    }
    Ok(CheckKind::Asked(Question::Http(http.clone())))
}

fn promoted(check: &PromotionCheck, field: &str) -> Result<CheckKind, PlanError> {
    promotion::Wanted::of(check)
        .map(|wanted| CheckKind::Asked(Question::Promotion(wanted)))
        .map_err(|(below, problem)| PlanError { field: format!("{field}.promotion{below}"), problem })
}

fn check(check: &Check, field: &str) -> Result<PlannedCheck, PlanError> {
    let Check {
        name,
        timeout,
        severity,
        retries,
        every,
        on_failure,
        approval,
        attest,
        job,
        http,
        config,
        tls,
        dns,
        object,
        backup,
        workload,
        promotion,
        telemetry,
    } = check;
    let of_objects = |kind: &str, objects: Result<Objects, (&str, String)>| match objects {
        Ok(objects) => Ok(CheckKind::Asked(Question::Objects(Box::new(objects)))),
        Err((below, problem)) => Err(PlanError { field: format!("{field}.{kind}{below}"), problem }),
    };
    let kinds = [
        approval
            .as_ref()
            .map(|approval| signers(approval, &format!("{field}.approval")).map(CheckKind::Approval)),
        attest.as_ref().map(|attest| attested(attest, &format!("{field}.attest"))),
        job.as_ref()
            .map(|job| PlannedJob::of(job, &format!("{field}.job")).map(|job| CheckKind::Job(Arc::new(job)))),
        http.as_ref().map(|http| asked_over_http(http, field)),
        config.as_ref().map(|config| Ok(CheckKind::Asked(Question::Config(config.clone())))),
        tls.as_ref().map(|tls| Ok(CheckKind::Asked(Question::Tls(Box::new(tls.clone()))))),
        dns.as_ref().map(|dns| Ok(CheckKind::Asked(Question::Dns(dns.clone())))),
        object.as_ref().map(|object| of_objects("object", Objects::of(object))),
        backup.as_ref().map(|backup| of_objects("backup", Objects::of_backup(backup))),
        workload.as_ref().map(|check| Ok(CheckKind::Asked(Question::Workload(workload::Wanted::of(check))))),
        promotion.as_ref().map(|check| promoted(check, field)),
        telemetry.as_ref().map(|check| Ok(CheckKind::Asked(Question::Telemetry(check.criteria.clone())))),
    ];
    let mut kinds = kinds.into_iter().flatten();
    let kind = match (kinds.next(), kinds.next()) {
        (Some(kind), None) => kind?,
        (None, None) | (_, Some(_)) => {
            return Err(PlanError {
                field: field.to_owned(),
                problem: format!(
                    "check '{name}' needs exactly one of: approval, attest, job, http, config, tls, dns, object, backup, workload, promotion, telemetry"
                ),
            });
        }
    };
    let usual = match kind {
        CheckKind::Job(_) => Duration::from_secs(600),
        // Many are asked, one after the other.
        CheckKind::Asked(Question::Workload(_) | Question::Telemetry(_)) => Duration::from_secs(30),
        CheckKind::Asked(Question::Promotion(promotion::Wanted {
            others: promotion::Others::Labelled { .. },
            ..
        })) => Duration::from_secs(30),
        CheckKind::Approval(_) | CheckKind::Attest(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => {
            Duration::from_secs(10)
        }
    };
    let of = |text: &Option<Span>, name: &str| {
        text.as_ref().map(|text| span(text, || format!("{field}.{name}"))).transpose()
    };
    let retries = match retries {
        Some(retries) => Some(PlannedRetries {
            limit: retries.limit,
            backoff: of(&retries.backoff, "retries.backoff")?.unwrap_or(BACKOFF),
        }),
        None => None,
    };
    Ok(PlannedCheck {
        name: name.clone(),
        definition: definition(check),
        timeout: of(timeout, "timeout")?.unwrap_or(usual),
        severity: severity.unwrap_or_default(),
        retries,
        every: of(every, "every")?.map(|every| every.max(Duration::from_secs(1))),
        on_failure: on_failure.unwrap_or_default(),
        lent: rights::check(check, false),
        kind,
    })
}

/// The digest of what a check asks for. How much its answer counts, and when it is asked again, is no part of that.
fn definition(check: &Check) -> String {
    let asks_for = Check { severity: None, retries: None, every: None, on_failure: None, ..check.clone() };
    digest::short(&serde_json::to_string(&asks_for).unwrap_or_default())
}
