//! `object` and `backup` checks: an object of the cluster is as it should be, and new enough.
//!
//! Objects are named by resource (`backups`), not by kind (`Backup`): the policy that asks whether the author may read them needs the
//! resource, and so does the right that the operator needs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::Span;

/// One object by name, or several by their labels. Without `expression` and `maxAge` it must be there, no more.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != has(self.selector)").message("object needs one of: name, selector"))]
#[x_kube(validation = Rule::new("self.resource != 'secrets' || self.apiVersion.contains('/')").message("object does not read Secrets: write a config check, whose patterns show no value"))]
#[x_kube(validation = Rule::new("!has(self.timestamp) || has(self.maxAge)").message("timestamp says what maxAge is counted from: write maxAge too"))]
#[x_kube(validation = Rule::new("!has(self.namespace) || !has(self.scope) || self.scope == 'Namespaced'").message("an object of the cluster has no namespace"))]
pub struct ObjectCheck {
    /// v1, or group/version: velero.io/v1.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*$')").message(Message::Expression("\"'\" + self + \"' is no apiVersion: write v1 or velero.io/v1\"".into())))]
    pub api_version: String,
    /// The plural of the kind, as `kubectl api-resources` shows it: backups.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(Message::Expression("\"'\" + self + \"' is no resource: write the plural in lower case that kubectl api-resources shows, as in backups\"".into())))]
    pub resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Labels, as kubectl takes them: app=shop,tier!=test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub selector: Option<String>,
    /// Default: the Release's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Default: Namespaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// CEL that must hold: of `object`; with a selector of `objects`, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// How old it may be; with a selector, the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// What `maxAge` is counted from: CEL of each `object` that gives a moment as text, or '' where it does not count. Default:
    /// object.metadata.creationTimestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub timestamp: Option<String>,
}

/// Where objects of a kind are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// A finished backup that is new enough. Exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.velero) != has(self.volumeSnapshot)").message("backup needs one of: velero, volumeSnapshot (for others write an object check, with maxAge and timestamp)"))]
pub struct BackupCheck {
    /// A Backup of Velero that is Completed. Default namespace: velero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velero: Option<BackupObjects>,
    /// A VolumeSnapshot that is ready to use. Default namespace: the Release's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_snapshot: Option<BackupObjects>,
    /// How long ago the newest of them may have been made.
    pub max_age: Span,
}

/// One by name, or several by their labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != has(self.selector)").message("a backup needs one of: name, selector"))]
pub struct BackupObjects {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Labels, as kubectl takes them: velero.io/schedule-name=nightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub selector: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}
