//! Migrations: Jobs that change what the versions of a workload share (a database, a topic, a bucket), in their order.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::JobCheck;
use super::text::Span;

/// A Job that changes what the old version and the new one share.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    pub kind: MigrationKind,
    /// What does it. Run once for each run and try.
    pub job: JobCheck,
    /// How long one try may take, and one of `verify`. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What tells afterwards that it has been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<JobCheck>,
}

/// What a migration means for the two versions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationKind {
    /// Before the first pod; the old version can live with it.
    Expand,
    /// Before the first pod; from its start on nothing goes back by itself, only when a person says abort.
    Irreversible,
    /// After the watch has ended well; the old version cannot live with it any more.
    Contract,
}

impl MigrationKind {
    /// Whether the old version cannot be gone back to by itself once it has begun.
    pub fn bars_the_way_back(self) -> bool {
        match self {
            Self::Expand => false,
            Self::Irreversible | Self::Contract => true,
        }
    }
}
