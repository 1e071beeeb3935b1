//! The runbooks of `examples/runbooks`, carried out on a real control plane: the manifests as they are, with the times that people
//! would wait for divided by one number ([`speed`]), what stands outside a cluster played ([`outside`]), and the people ([`people`]).
//! A version goes through the environments before production first ([`upstream`]).
//!
//! Nothing else of a manifest is changed, but for a quantile of a past that a new Prometheus does not have. What is looked at is what the
//! runbook says should come of a good and of a bad version, and who is told of it ([`heard`]).

pub mod course;
pub mod heard;
pub mod outside;
pub mod people;
pub mod speed;
pub mod upstream;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::repository;
use crate::stage;

/// How a version ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Succeeded,
    /// Back on stable; the sentence says this.
    Undone(&'static str),
    /// It stood still since nothing goes back by itself after its migrations, and said this; a person then said that it goes back.
    Aborted(&'static str),
    /// Stands still until somebody decides; the sentence says this.
    Held(&'static str),
}

/// A runbook of the examples, and how its bad version ends. Its good one succeeds.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub name: &'static str,
    pub bad: Ends,
    /// The bad version ends well in the environments before production, where there are some. Else it never was there.
    pub bad_was_tested: bool,
}

/// All of them.
pub const ALL: [Expected; 5] = [
    Expected {
        name: "three-environments",
        bad: Ends::Held("has not released registry.internal/connector@sha256:79ea"),
        bad_was_tested: false,
    },
    Expected {
        name: "saas-first-launch",
        bad: Ends::Held("key payments-secret-key does not match ^pay_live_"),
        bad_was_tested: false,
    },
    Expected { name: "night-window", bad: Ends::Undone("errors"), bad_was_tested: true },
    Expected { name: "pilot-customers", bad: Ends::Undone("errors"), bad_was_tested: true },
    Expected { name: "mobile-and-payments", bad: Ends::Aborted("latency"), bad_was_tested: true },
];

/// The manifests of one runbook.
#[derive(Clone, Debug)]
pub struct Runbook {
    /// Namespaces, settings, and what else the Release looks at but does not change.
    pub settings: Vec<Value>,
    pub people: Vec<Value>,
    pub workload: Vec<Value>,
    /// The environments before production, where there are some.
    pub upstream: Vec<Value>,
    /// A Freeze, where there is one.
    pub freeze: Vec<Value>,
    pub release: Value,
    pub good: Vec<Value>,
    pub bad: Vec<Value>,
    /// What systems outside the cluster answer.
    pub outside: Value,
}

impl Runbook {
    /// Reads the files of one.
    ///
    /// # Errors
    /// When one is missing, or is no YAML.
    pub fn read(name: &str) -> Result<Self> {
        let read = |file: &str| -> Result<Vec<Value>> {
            let path = directory().join(name).join(file);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            stage::documents(&text).with_context(|| path.display().to_string())
        };
        let one = |file: &str| -> Result<Value> {
            let mut documents = read(file)?;
            match (documents.pop(), documents.is_empty()) {
                (Some(only), true) => Ok(only),
                _ => bail!("{name}/{file} holds one document"),
            }
        };
        let where_there = |file: &str| {
            if directory().join(name).join(file).exists() { read(file) } else { Ok(Vec::new()) }
        };
        Ok(Self {
            settings: read("settings.yaml")?,
            people: read("people.yaml")?,
            workload: read("workload.yaml")?,
            upstream: where_there("upstream.yaml")?,
            freeze: where_there("freeze.yaml")?,
            release: one("release.yaml")?,
            good: read("good.yaml")?,
            bad: read("bad.yaml")?,
            outside: one("outside.yaml")?,
        })
    }

    /// Namespace of the Release.
    pub fn namespace(&self) -> &str {
        self.release["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// Name of the Release, which is that of its Deployment too.
    pub fn release_name(&self) -> &str {
        self.release["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Checks of the Release, before the first pod and at its steps.
    pub fn checks(&self) -> impl Iterator<Item = &Value> {
        let spec = &self.release["spec"];
        let steps = spec["steps"].as_array().into_iter().flatten();
        let at_steps = steps.flat_map(|step| step["checks"].as_array().into_iter().flatten());
        spec["preflight"].as_array().into_iter().flatten().chain(at_steps)
    }
}

/// Where they are.
pub fn directory() -> PathBuf {
    repository().join("examples/runbooks")
}

/// What the installer gives the operator for them.
///
/// # Errors
/// When the file is missing, or is no YAML.
pub fn installation() -> Result<Vec<Value>> {
    let path = directory().join("installation.yaml");
    stage::documents(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)
}
