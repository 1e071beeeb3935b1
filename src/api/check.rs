//! Checks: one-off verifications, before the first pod moves and when a step's pods stand.

pub mod dns;
pub mod object;
pub mod promotion;
pub mod telemetry;
pub mod tls;
pub mod workload;

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::dns::DnsCheck;
use self::object::{BackupCheck, ObjectCheck};
use self::promotion::PromotionCheck;
use self::telemetry::TelemetryCheck;
use self::tls::TlsCheck;
use self::workload::WorkloadCheck;
use super::signing::{AttestCheck, Roles};
use super::text::{HeaderText, Latency, Span};

/// A one-off verification. Exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.approval) || !has(self.severity) && !has(self.retries) && !has(self.every) && !has(self.onFailure)").message(Message::Expression("\"check '\" + self.name + \"' is an approval: it has no severity, retries, every or onFailure\"".into())))]
#[x_kube(validation = Rule::new("!has(self.attest) || !has(self.timeout) && !has(self.severity) && !has(self.retries) && !has(self.every) && !has(self.onFailure)").message(Message::Expression("\"check '\" + self.name + \"' is attested by somebody: it has no timeout, severity, retries, every or onFailure\"".into())))]
#[x_kube(validation = Rule::new("!has(self.job) || !has(self.every)").message(Message::Expression("\"check '\" + self.name + \"' is a job: it runs once, so leave every out\"".into())))]
#[x_kube(validation = Rule::new("!has(self.onFailure) || !has(self.severity) || self.severity != 'Warning'").message(Message::Expression("\"check '\" + self.name + \"' is only a warning: leave onFailure out\"".into())))]
#[x_kube(validation = Rule::new("!has(self.timeout) || has(self.approval) || has(self.job) || has(self.http) && has(self.http.podPath) || !self.timeout.matches('^([0-9]{1,6}[hms])+$') || duration(self.timeout) <= duration('10m')").message(Message::Expression("\"check '\" + self.name + \"': timeout is at most 10m, since others wait to ask; what takes longer is a job\"".into())))]
#[x_kube(validation = Rule::new("[has(self.approval), has(self.attest), has(self.job), has(self.http), has(self.config), has(self.tls), has(self.dns), has(self.object), has(self.backup), has(self.workload), has(self.promotion), has(self.telemetry)].filter(x, x).size() == 1").message(Message::Expression("\"check '\" + self.name + \"' needs exactly one of: approval, attest, job, http, config, tls, dns, object, backup, workload, promotion, telemetry\"".into())))]
pub struct Check {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// How long one try may take. Default: 10m for a job, 5m for a trial pod to start and answer, 30s for workload, telemetry and promotion by selector, 10s for what else is asked; an approval is waited for without end. At most 10m, but for a job and a trial pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What a failure means. Default: Error, which nothing goes on with. A Warning is told and holds nothing up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// How often a failure is tried again before it counts. Default: not at all. (What cannot be answered, because its source is
    /// away, is no failure: it is asked again without end.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// What has passed is asked again so often, as long as the run waits where the check stands. Default: once is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// What a failure does at a step. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Somebody says yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Somebody says that something is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest: Option<AttestCheck>,
    /// A Job of yours runs to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
    /// An HTTP request gets the expected answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Secrets and ConfigMaps have the keys that the new template needs. Values are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigCheck>,
    /// A certificate, of a Secret or as a host shows it, is valid for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsCheck>,
    /// A name has the DNS records that it should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsCheck>,
    /// An object of the cluster is as it should be, and new enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectCheck>,
    /// There is a finished backup that is new enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupCheck>,
    /// The new template has what it needs to be released well, and there is room for its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadCheck>,
    /// The same images have ended well in another Release, or in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<PromotionCheck>,
    /// The source of each criterion gives data now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryCheck>,
}

/// What a failed check means.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Severity {
    /// Nothing goes on with it.
    #[default]
    Error,
    /// It is told, and holds nothing up.
    Warning,
}

/// What a failed check of a step does.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Back to stable.
    #[default]
    Undo,
    /// Stand still until somebody says retry, skip or abort.
    Hold,
}

/// Tries after the first one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How many.
    #[schemars(range(min = 1, max = 10))]
    pub limit: i32,
    /// How long after the first failure; each further wait is twice as long, up to 10m, and up to a quarter is added at random.
    /// Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
}

/// Who has to say yes. A role is an RBAC subresource: `releases/qa-manager`, verb `approve`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.quorum <= self.roles.size() || self.roles.size() == 1").message("quorum is more than the roles that can sign"))]
pub struct Approval {
    /// Roles that may sign.
    pub roles: Roles,
    /// How many different people must sign, each in a role of the list. With several roles each signature is for another role.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 8))]
    pub quorum: i32,
    /// Whoever changed the template may sign too.
    #[serde(default)]
    pub allow_author: bool,
    /// How long a signature counts, from when it was given. Default: as long as what was signed has not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Span>,
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
    /// What must hold of what it says at its end. Default: nothing, its exit code alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// What is kept of its log, in status and in the record of the run, where whoever may read those reads it: a job prints no
    /// secrets. Default: LastLines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<JobLogs>,
}

/// What must hold of the JSON that a Job leaves, once it has ended well.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    pub from: ResultFrom,
    /// CEL about `result`, such as result.failed == 0.
    #[schemars(length(min = 1, max = 1024))]
    pub expression: String,
}

/// Where a Job leaves its result.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultFrom {
    /// The last line of its pod's log that is not blank.
    LastLogLine,
    /// The termination message of its pod, which is `/dev/termination-log` unless the container says otherwise.
    TerminationMessage,
}

/// What is kept of a Job's log.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum JobLogs {
    /// The last 20 lines, 2 KiB at most.
    #[default]
    LastLines,
    /// Nothing.
    None,
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

/// A GET request and what its answer must be. Either a URL is asked, or each new pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.podPath)").message("http needs exactly one of: url, podPath"))]
#[x_kube(validation = Rule::new("!has(self.podPort) || has(self.podPath)").message("podPort goes with podPath"))]
pub struct HttpCheck {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]+://[^/?#@]*([/?#]|$)')").message("no user in the URL: whoever reads the Release reads it"))]
    pub url: Option<String>,
    /// A path that each Ready pod of the canary is asked for, by its own address. In preflight, where there is none yet: one pod of
    /// the new version that is started for it apart from the Deployment, without its labels, and ended then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("podPath begins with '/'"))]
    pub pod_path: Option<String>,
    /// Default: the first port of the first container that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub pod_port: Option<i32>,
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
    /// What must hold of a body that is JSON: CEL about `body`, such as body.status == 'ok'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// Headers that the answer has, each with a regular expression that its value matches somewhere. A redirect's target is
    /// `location`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 64 && name.matches('^[A-Za-z0-9-]+$'))").message("a header's name is made of at most 64 letters, digits and '-'"))]
    pub headers: BTreeMap<String, String>,
    /// The longest time until the whole answer is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Latency>,
}

impl Default for Expect {
    fn default() -> Self {
        Self { status: ok(), body_matches: None, expression: None, headers: BTreeMap::new(), within: None }
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
    // A pattern and not a rule: so many names are possible in a Release that the API server finds a rule about each too costly.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub keys: Vec<ConfigKey>,
}

/// A key that must be there, not empty, and no placeholder (`TODO`, `changeme`, `your_...`, `<...>`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigKey {
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// A regular expression that the value matches somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pattern: Option<String>,
    /// The fewest characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub min_length: Option<i32>,
    /// What looks like a placeholder is meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_placeholder: bool,
    /// Another namespace's value that this one must not be: production has keys of its own. Only hashes are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs_from: Option<OtherKey>,
}

/// A key of an object of the same kind in another namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OtherKey {
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Default: the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Default: the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}
