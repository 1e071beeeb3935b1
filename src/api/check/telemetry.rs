//! `telemetry` checks: what the release will be judged by can be seen.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The source of each criterion gives data of stable pods now.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryCheck {
    /// Names of criteria. Default: all of this Release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub criteria: Option<Vec<String>>,
}
