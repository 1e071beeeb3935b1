//! `promotion` checks: the same images have ended well somewhere else.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::labels::{Labels, NOT_EMPTY};
use crate::api::text::Span;

/// The images of the new template have been released before by another Release, or by several, and that ended well.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespace) || has(self.release) || has(self.selector) || has(self.record)").message("promotion needs one of: namespace, release, selector, record"))]
#[x_kube(validation = Rule::new("[has(self.release), has(self.selector), has(self.record)].filter(x, x).size() <= 1").message("promotion takes one of: release, selector, record"))]
#[x_kube(validation = Rule::new("!has(self.record) || !has(self.namespace)").message("a record is in the Release's own namespace: leave namespace out"))]
#[x_kube(validation = Rule::new("!has(self.atLeast) || has(self.selector)").message("atLeast goes with selector"))]
pub struct PromotionCheck {
    /// Where the other Releases are. Default: here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// The name of the other one. Default: the name of this one, or by selector or record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub release: Option<String>,
    /// The others, by the labels of Releases: pilots that go first. It must have ended well with each, but for this Release itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NOT_EMPTY).message("selector needs matchLabels or matchExpressions"))]
    pub selector: Option<Labels>,
    /// With so many of them is enough. Default: with all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub at_least: Option<i32>,
    /// The record of a run of a Release of this name in another cluster, which somebody has brought here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordSource>,
    /// How long ago a run must have ended there. Until then the check waits. Default: no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_soak: Option<Span>,
}

/// Where the record of a run was brought to: the YAML or JSON that `kubectl tidegate report NAME -o yaml` gives.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordSource {
    /// A ConfigMap of the Release's namespace. Whoever may write it says what has ended well.
    pub config_map: RecordKey,
}

/// A key of a ConfigMap.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordKey {
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
