//! What a Release contradicts itself in, or leaves out, before it is ever run: a table of rules, one function each.
//!
//! Nothing here stops anything. `kubectl tidegate lint` asks before the API server is asked, [`note`] sets the condition `Questionable` of a
//! Release by the same rules. What the API server refuses is looked for here too, as far as the types tell it.

mod command;
mod criteria;
mod migration;
mod placeholder;
mod signing;
mod spec;
mod workload;

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::Draft;
use super::scene::Scene;
use crate::api::ReleaseSpec;

pub use placeholder::{LONGEST as LONGEST_PLACEHOLDER, placeholder};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It contradicts itself, or cannot be what was meant.
    Error,
    /// It may be what was meant.
    Warning,
}

/// Where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Release,
    Deployment,
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub severity: Severity,
    pub place: Place,
    /// `spec.steps[1].soak`
    pub field: String,
    /// In a sentence without a full stop. Holds no value of an environment or a header.
    pub problem: String,
    /// What to write; empty where the problem says it.
    pub fix: String,
}

impl Finding {
    /// `spec.steps[1].soak: soak 2h is longer than deadline 1h; write a deadline of at least 2h`
    pub fn sentence(&self) -> String {
        let Self { rule: _, severity: _, place: _, field, problem, fix } = self;
        if fix.is_empty() { format!("{field}: {problem}") } else { format!("{field}: {problem}; {fix}") }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub spec: &'a ReleaseSpec,
    /// `None`: not at hand. What depends on it is not looked at.
    pub workload: Option<Workload<'a>>,
}

/// The Deployment of a Release.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// `None`: not written down; an autoscaler says it.
    pub replicas: Option<i32>,
    /// Its strategy is Recreate.
    pub recreate: bool,
    pub template: &'a Value,
    /// Of the template that serves, where that is another one.
    pub stable_images: &'a [String],
}

/// A rule.
pub struct Rule {
    pub name: &'static str,
    pub severity: Severity,
    place: Place,
    look: fn(&Subject<'_>, &mut Found),
}

/// What one rule finds: field, problem, fix.
#[derive(Default)]
pub struct Found(Vec<(String, String, String)>);

impl Found {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) {
        self.0.push((field.into(), problem.into(), fix.into()));
    }
}

const fn rule(
    name: &'static str,
    severity: Severity,
    place: Place,
    look: fn(&Subject<'_>, &mut Found),
) -> Rule {
    Rule { name, severity, place, look }
}

/// All of them, in the order in which what they find is told.
pub const RULES: [Rule; 25] = [
    rule("steps", Severity::Error, Place::Release, spec::steps),
    rule("soak", Severity::Error, Place::Release, spec::soak),
    rule("watch", Severity::Error, Place::Release, spec::watch),
    rule("window", Severity::Error, Place::Release, spec::windows),
    rule("target", Severity::Error, Place::Release, criteria::target),
    rule("limit", Severity::Error, Place::Release, criteria::limit),
    rule("no-limit", Severity::Error, Place::Release, criteria::enforced),
    rule("undo-budget", Severity::Error, Place::Release, spec::undo_budget),
    rule("late-migration", Severity::Error, Place::Release, migration::late),
    rule("migration-kind", Severity::Error, Place::Release, migration::kinds),
    rule("url", Severity::Error, Place::Release, spec::urls),
    rule("placeholder", Severity::Error, Place::Release, spec::placeholders),
    rule("plan", Severity::Error, Place::Release, spec::plan),
    rule("image", Severity::Error, Place::Deployment, workload::images),
    rule("same-image", Severity::Error, Place::Deployment, workload::same_image),
    rule("workload-check", Severity::Error, Place::Release, workload::checked),
    rule("downtime", Severity::Error, Place::Release, workload::downtime),
    rule("template-placeholder", Severity::Error, Place::Deployment, workload::placeholders),
    rule("valid-for", Severity::Warning, Place::Release, signing::valid_for),
    rule("migration", Severity::Warning, Place::Release, migration::unordered),
    rule("pod-migration", Severity::Warning, Place::Deployment, migration::of_each_pod),
    rule("one-replica", Severity::Warning, Place::Release, workload::one_replica),
    rule("readiness", Severity::Warning, Place::Deployment, workload::readiness),
    rule("trial", Severity::Warning, Place::Release, workload::trial),
    rule("pilot", Severity::Warning, Place::Release, workload::pilots),
];

/// Everything that the rules find, errors first; a field is named by one rule only.
pub fn lint(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut named = BTreeSet::new();
    for Rule { name, severity, place, look } in &RULES {
        let mut found = Found::default();
        look(subject, &mut found);
        for (field, problem, fix) in found.0 {
            // What the plan says of a whole is said of a part already.
            let is_part = |known: &Finding| known.place == *place && known.field.starts_with(&field);
            let is_said = *name == "plan" && findings.iter().any(is_part);
            if !is_said && named.insert((*place, field.clone())) {
                findings.push(Finding {
                    rule: name,
                    severity: *severity,
                    place: *place,
                    field,
                    problem,
                    fix,
                });
            }
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Notes what the rules find in the Release and its Deployment, when either is another than it was: `status.linted` says which they were.
pub fn note(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    // On the way back the template is ours. Of one that is not read there is nothing to say.
    let goes_back = draft.status.run.as_ref().is_some_and(|run| run.back.is_some());
    if goes_back || scene.target.too_much.is_some() {
        return;
    }
    let Ok(spec) = &draft.release.spec else { return };
    let target = scene.target;
    let recreate = scene.recreate();
    let other = draft.status.stable.as_ref().filter(|stable| stable.fingerprint != target.fingerprint);
    let stable = other.map(|stable| stable.fingerprint.as_str()).unwrap_or_default();
    let alone = target.replicas == 1;
    let of = format!("{} {} {stable} {recreate} {alone}", draft.release.generation, target.fingerprint);
    if draft.status.linted == of {
        return;
    }
    let template = target.template.value();
    let stable_images = other.map(|stable| stable.images.as_slice()).unwrap_or_default();
    let workload = Workload { replicas: Some(target.replicas), recreate, template: &template, stable_images };
    let findings = lint(&Subject { spec, workload: Some(workload) });
    draft.status.linted = of;
    draft.remarks(findings);
}
