//! `kubectl tidegate lint`: what is wrong with Releases in files, before any API server is asked.
//!
//! [`manifests`] reads files, [`schema`] holds them against the CRD that this build carries, and the rules of [`crate::decide::lint`] do
//! the rest: the same ones that set the condition `Questionable` of a Release in the cluster. Asks nobody, changes nothing.

pub mod manifests;
pub mod schema;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use self::manifests::Manifest;
use super::view::{count, plain};
use super::{Code, show, terminal};
use crate::api::{GROUP, ReleaseSpec};
use crate::decide::lint::{self, Place, Severity, Subject, Workload};

/// Longest text of one finding: what users wrote stands in it.
const LONGEST: usize = 500;

/// What to look at.
#[derive(Args, Debug)]
pub struct Flags {
    /// Files with manifests, in YAML or JSON; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to say it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

/// What came of it.
#[derive(Serialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Linted {
    pub findings: Vec<Told>,
    pub errors: usize,
    pub warnings: usize,
    /// Releases that were looked at.
    pub releases: usize,
    /// Those of them whose Deployment stands in none of the files: what depends on it was not looked at.
    pub without_deployment: Vec<String>,
}

/// A finding, and where.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub file: String,
    /// `Release` or `Deployment`.
    pub kind: String,
    /// `shop/checkout`; without a namespace in the manifest the name alone.
    pub name: String,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// Which rule: `schema`, or one of `decide::lint::RULES`.
    pub rule: String,
    pub field: String,
    pub problem: String,
    pub fix: String,
}

/// Looks at files, and says what is wrong.
///
/// # Errors
/// When a file cannot be read, is no YAML, or there is no Release in any.
pub fn run(Flags { files, output }: &Flags) -> Result<Code> {
    let mut manifests = Vec::new();
    for file in files {
        let (shown, text) = if file.as_os_str() == "-" {
            ("standard input".to_owned(), terminal::read_standard_input()?)
        } else {
            (file.display().to_string(), terminal::read_text(file)?)
        };
        manifests.extend(manifests::read(&shown, &text)?);
    }
    let linted = lint(&manifests);
    if linted.releases == 0 {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        bail!("no Release of {GROUP} in {}", files.join(", "));
    }
    match output {
        Output::Text => terminal::print(&text(&linted)),
        Output::Json => terminal::print(&show::json_text(&serde_json::to_value(&linted)?)?),
    }
    Ok(if linted.errors == 0 { Code::Yes } else { Code::No })
}

/// Looks at everything that the files hold.
pub fn lint(manifests: &[Manifest]) -> Linted {
    let mut linted = Linted::default();
    let releases: Vec<&Manifest> = manifests.iter().filter(|it| it.is(GROUP, "Release")).collect();
    for (index, release) in releases.iter().enumerate() {
        linted.releases += 1;
        let wrong = schema::look(&release.object);
        let told = |wrong: schema::Wrong| {
            Told::of(release, "error", "schema", wrong.field, wrong.problem, wrong.fix)
        };
        let known: Vec<String> = wrong.iter().map(|wrong| wrong.field.clone()).collect();
        linted.findings.extend(wrong.into_iter().map(told));
        let target = release.object["spec"]["targetRef"]["name"].as_str().unwrap_or_default();
        let same = |other: &&&Manifest| {
            other.object["spec"]["targetRef"]["name"] == *target && other.namespace() == release.namespace()
        };
        if let Some(other) = releases[..index].iter().find(same).filter(|_| !target.is_empty()) {
            let problem = format!("Release {} has Deployment {target} too", other.full_name());
            let fix = "a Deployment belongs to one Release: delete one of them".to_owned();
            linted.findings.push(Told::of(
                release,
                "error",
                "two-releases",
                "spec.targetRef.name".into(),
                problem,
                fix,
            ));
        }
        let deployment = manifests.iter().find(|it| {
            it.is("apps", "Deployment") && it.name() == target && it.namespace() == release.namespace()
        });
        if deployment.is_none() {
            linted.without_deployment.push(release.full_name());
        }
        let Ok(spec) = serde_json::from_value::<ReleaseSpec>(release.object["spec"].clone()) else {
            continue;
        };
        for finding in rules(&spec, deployment) {
            let at = match (finding.place, deployment) {
                (Place::Deployment, Some(deployment)) => deployment,
                (Place::Deployment, None) | (Place::Release, _) => release,
            };
            let said = |known: &String| {
                *known == finding.field || finding.rule == "plan" && known.starts_with(&finding.field)
            };
            if finding.place == Place::Release && known.iter().any(said) {
                continue;
            }
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let told = Told::of(at, severity, finding.rule, finding.field, finding.problem, finding.fix);
            if !linted.findings.contains(&told) {
                linted.findings.push(told);
            }
        }
    }
    linted.errors = linted.findings.iter().filter(|told| told.severity == "error").count();
    linted.warnings = linted.findings.len() - linted.errors;
    linted
}

fn rules(spec: &ReleaseSpec, deployment: Option<&Manifest>) -> Vec<lint::Finding> {
    let workload = deployment.map(|deployment| {
        let spec = &deployment.object["spec"];
        Workload {
            replicas: spec["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok()),
            recreate: spec["strategy"]["type"] == "Recreate",
            template: &spec["template"],
            stable_images: &[],
        }
    });
    lint::lint(&Subject { spec, workload })
}

impl Told {
    fn of(
        at: &Manifest,
        severity: &'static str,
        rule: &str,
        field: String,
        problem: String,
        fix: String,
    ) -> Self {
        Self {
            file: at.file.clone(),
            kind: at.object["kind"].as_str().map(plain).unwrap_or_default(),
            name: at.full_name(),
            severity,
            rule: rule.to_owned(),
            field: bounded(&field),
            problem: bounded(&problem),
            fix: bounded(&fix),
        }
    }
}

fn bounded(text: &str) -> String {
    let mut short: String = plain(text).chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A line each, and a sum.
pub fn text(linted: &Linted) -> String {
    let mut lines = String::new();
    for told in &linted.findings {
        let Told { file, kind, name, severity, rule: _, field, problem, fix } = told;
        let fix = if fix.is_empty() { String::new() } else { format!("; {fix}") };
        lines.push_str(&format!("{file}: {kind} {name}: {severity}: {field}: {problem}{fix}\n"));
    }
    for name in &linted.without_deployment {
        lines.push_str(&format!(
            "Release {name}: its Deployment is in none of the files: its images, strategy and probes were not looked at\n"
        ));
    }
    let sum = |number: usize, one: &str| count(i64::try_from(number).unwrap_or(i64::MAX), one);
    let (errors, warnings) = (sum(linted.errors, "error"), sum(linted.warnings, "warning"));
    lines + &format!("{errors}, {warnings} in {}\n", sum(linted.releases, "Release"))
}

/// A manifest's member as text.
fn word<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
