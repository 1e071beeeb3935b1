//! `workload` checks: what is about to be released can be released well.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of the new template and of the room that it needs. With nothing written: probes, resources, podDisruptionBudget, room,
/// and minReplicas 2. Whatever is written: that the new template is another one than stable, by the digests of its images where they
/// have any.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadCheck {
    /// Each container has a readinessProbe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Required>,
    /// Each container says how much cpu and memory it asks for, and how much memory it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Required>,
    /// A PodDisruptionBudget of the namespace selects the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<Required>,
    /// The fewest replicas of the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min_replicas: Option<i32>,
    /// Each image is named by its digest. Not written: one whose tag is latest or missing is told, and stops nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_by_digest: Option<Required>,
    /// The pods that the run adds (maxSurge) fit into the ResourceQuotas of the namespace and onto nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Required>,
}

/// That it must be so.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    Required,
}
