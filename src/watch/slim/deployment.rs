//! Deployments, and the ReplicaSets that the native controller makes of them. Of who manages which field only what is ours is looked for, and no
//! deeper than the names of a spec's fields.

use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Document;
use super::template::{self, KeptTemplate};
use crate::api::{FIELD_MANAGER, STABLE};
use crate::decide::fields::{PARKED_DEADLINE, PARKED_MIN_READY};
use crate::watch::meta::{Known, Meta, Texts};
use crate::watch::room::Room;

/// A Deployment.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "ManagedDeployment")]
pub struct Deployment {
    pub metadata: Meta,
    /// Which of `metadata.managedFields` says that we manage fields of its spec, other than `paused`, and that others manage some too.
    pub managed_by_us: Option<usize>,
    pub spec: DeploymentSpec,
    pub status: DeploymentStatus,
    /// Neither its annotations, nor its strategy, nor what its template says.
    pub is_outline: bool,
}

/// Bytes of a Deployment's strategy and annotations that take no room: they are short, unless somebody wants them not to be.
const BESIDE: usize = 2048;

impl Deployment {
    /// Takes the room that it needs; false: there is none.
    pub fn takes(&self, room: &Room) -> bool {
        let annotations = self.metadata.annotations.as_ref().map_or(0, Texts::bytes);
        let beside = annotations + self.spec.strategy.text().len();
        beside <= BESIDE && self.spec.template.takes(room, &self.metadata.key)
    }

    /// Whether a run has its fields, or goes back, by what stands there: nobody else waits so long. Annotations alone say nothing, a native
    /// `rollout undo` brings those of an old `ReplicaSet` back.
    pub fn is_in_a_run(&self) -> bool {
        let Self { metadata, spec, .. } = self;
        let is_noted = metadata.annotation(STABLE).is_some();
        let waits_back = spec.progress_deadline_seconds == Some(PARKED_DEADLINE);
        let recreates = || spec.strategy.read::<Value>().is_ok_and(|strategy| strategy["type"] == "Recreate");
        spec.min_ready_seconds == PARKED_MIN_READY
            || (is_noted && (waits_back || (spec.paused && recreates())))
    }

    pub fn outline(&mut self) {
        self.is_outline = true;
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.keep(&[]);
        }
        self.spec.strategy = Document::default();
        self.spec.template = self.spec.template.outline();
    }
}

#[derive(Deserialize)]
struct ManagedDeployment {
    metadata: Known<Vec<Manager>>,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

impl From<ManagedDeployment> for Deployment {
    fn from(read: ManagedDeployment) -> Self {
        let ManagedDeployment { mut metadata, spec, status } = read;
        let managers = metadata.managed_fields.take().unwrap_or_default();
        let ours = |manager: &Manager| {
            manager.manager == FIELD_MANAGER && manager.subresource.is_none() && manager.fields_v1.paces
        };
        // The API server takes a list without any for one that was forgotten.
        let managed_by_us = managers.iter().position(ours).filter(|_| managers.len() > 1);
        Self { metadata: metadata.into(), managed_by_us, spec, status, is_outline: false }
    }
}

/// Who manages fields.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Manager {
    manager: String,
    subresource: Option<String>,
    fields_v1: Fields,
}

/// Which fields.
#[derive(Default)]
struct Fields {
    /// Some of a spec, other than `paused`.
    paces: bool,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Named {
            #[serde(rename = "f:spec")]
            spec: Names,
        }
        #[derive(Default)]
        struct Names(bool);
        impl<'de> Deserialize<'de> for Names {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(Self(false))
            }
        }
        impl<'de> Visitor<'de> for Names {
            type Value = Self;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("names of fields")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut names: A) -> Result<Self, A::Error> {
                while let Some((name, IgnoredAny)) = names.next_entry::<String, IgnoredAny>()? {
                    self.0 |= !matches!(name.as_str(), "." | "f:paused");
                }
                Ok(self)
            }
        }
        Named::deserialize(deserializer).map(|named| Self { paces: named.spec.0 })
    }
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    #[serde(default)]
    pub replicas: Option<i32>,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub min_ready_seconds: i32,
    #[serde(default)]
    pub progress_deadline_seconds: Option<i32>,
    #[serde(default)]
    pub strategy: Document,
    #[serde(deserialize_with = "template::kept")]
    pub template: Arc<KeptTemplate>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    pub observed_generation: i64,
    pub replicas: i32,
    pub updated_replicas: i32,
    pub available_replicas: i32,
}

/// A ReplicaSet: its template only as a fingerprint.
#[derive(Deserialize, Clone, Debug)]
pub struct ReplicaSet {
    pub metadata: Meta,
    pub spec: ReplicaSetSpec,
    #[serde(default)]
    pub status: ReplicaSetStatus,
}

#[derive(Deserialize, Clone, Debug)]
pub struct ReplicaSetSpec {
    #[serde(default)]
    pub replicas: Option<i32>,
    #[serde(rename = "template", deserialize_with = "template::only_its_fingerprint")]
    pub fingerprint: Box<str>,
}

/// What its controller has counted.
#[derive(Deserialize, Clone, Copy, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    pub observed_generation: i64,
    pub ready_replicas: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_manage_of_a_deployment_is_found_however_deep_it_is() {
        let deep = format!("{}{{}}{}", r#"{"f:x":"#.repeat(500), "}".repeat(500));
        let owner = format!(
            r#"{{"manager":"owner","operation":"Apply","fieldsV1":{{"f:spec":{{"f:template":{deep}}}}}}}"#
        );
        let status =
            r#"{"manager":"tidegate","subresource":"status","fieldsV1":{"f:spec":{"f:strategy":{}}}}"#;
        let ours = |fields: &str| format!(r#"{{"manager":"tidegate","fieldsV1":{fields}}}"#);
        let paces =
            ours(&format!(r#"{{"f:metadata":{{}},"f:spec":{{"f:paused":{{}},"f:strategy":{deep}}}}}"#));
        let read = |managers: &[&str]| {
            let text = format!(
                r#"{{"metadata":{{"name":"shop","managedFields":[{}]}},"spec":{{"template":{{}}}}}}"#,
                managers.join(",")
            );
            serde_json::from_str::<Deployment>(&text).unwrap().managed_by_us
        };
        assert_eq!(read(&[&owner, status, &paces]), Some(2));
        assert_eq!(read(&[&owner, status]), None);
        assert_eq!(read(&[&owner, &ours(r#"{"f:spec":{"f:paused":{}}}"#)]), None, "a hold is ours");
        assert_eq!(read(&[&owner, &ours(r#"{"f:metadata":{"f:labels":{}}}"#)]), None);
        assert_eq!(read(&[&paces]), None, "a list without any is taken for one that was forgotten");
        let none = r#"{"metadata":{"name":"shop"},"spec":{"template":{}}}"#;
        assert_eq!(serde_json::from_str::<Deployment>(none).unwrap().managed_by_us, None);
    }
}
