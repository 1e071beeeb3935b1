//! Checks: one-off verifications before the first pod moves.

pub mod dns;
pub mod object;
pub mod tls;

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{HeaderText, Latency, Span};

/// A one-off verification. Exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.approval), has(self.job), has(self.http), has(self.config)].filter(x, x).size() == 1").message(Message::Expression("\"check '\" + self.name + \"' needs exactly one of: approval, job, http, config\"".into())))]
pub struct Check {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// How long one try may take. Default: 10m for a job, 10s for http and config; an approval is waited for without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Somebody says yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// A Job of yours runs to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
    /// An HTTP request gets the expected answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Secrets and ConfigMaps have the keys that the new template needs. Values are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigCheck>,
}

/// Who has to say yes. A role is an RBAC subresource: `releases/qa-manager`, verb `approve`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.quorum <= self.roles.size() || self.roles.size() == 1").message("quorum is more than the roles that can sign"))]
pub struct Approval {
    /// Roles that may sign.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub roles: Vec<String>,
    /// How many different people must sign, each in a role of the list. With several roles each signature is for another role.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 8))]
    pub quorum: i32,
    /// Whoever changed the template may sign too.
    #[serde(default)]
    pub allow_author: bool,
}

fn one() -> i32 {
    1
}

/// A Job of the user's, run once for each run and try.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// batch/v1 JobTemplateSpec, as in a CronJob's jobTemplate.
    #[schemars(schema_with = "job_template")]
    pub template: serde_json::Value,
}

/// A thin typed shell: the whole type of batch/v1 would make the CRD too large for `kubectl apply`.
fn job_template(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["spec"],
        "properties": { "spec": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["template"],
            "properties": { "template": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
        } },
    })
}

/// A GET request and what its answer must be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]+://[^/?#@]*([/?#]|$)')").message("no user in the URL: whoever reads the Release reads it"))]
    pub url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 16), extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 64 && name.matches('^[A-Za-z0-9-]+$'))").message("a header's name is made of at most 64 letters, digits and '-'"))]
    #[x_kube(validation = Rule::new("!self.exists(name, name.lowerAscii() in ['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade'])").message("headers: host, connection, content-length, transfer-encoding, te and upgrade are not yours to write"))]
    pub headers: BTreeMap<String, HeaderText>,
    #[serde(default)]
    pub expect: Expect,
}

/// What the answer must be. Redirects are not followed: expect the redirect itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    pub status: i32,
    /// A regular expression that the first 64 KiB of the body match somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub body_matches: Option<String>,
    /// The longest time until the whole answer is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Latency>,
}

impl Default for Expect {
    fn default() -> Self {
        Self { status: ok(), body_matches: None, within: None }
    }
}

fn ok() -> i32 {
    200
}

/// Objects and the keys that must be in them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secrets) && self.secrets.size() > 0 || has(self.configMaps) && self.configMaps.size() > 0").message("config needs secrets or configMaps"))]
pub struct ConfigCheck {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secrets: Vec<ConfigObject>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub config_maps: Vec<ConfigObject>,
}

/// A Secret or ConfigMap of the Release's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigObject {
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub keys: Vec<ConfigKey>,
}

/// A key that must be there and not be empty.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigKey {
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// A regular expression that the value matches somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pattern: Option<String>,
}
