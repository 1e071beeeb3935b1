//! The way back beyond its first order: how long each of its phases may take, what is called beside it, what is kept of the pods that go, and
//! how the version that was put back is looked at. First what users write, then what they read.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::{Check, JobCheck};
use super::status::{Memory, Stamp};
use super::text::{HeaderText, Span};

/// How long each phase of the way back may take. One that takes longer is told once: as an event, in status and in the record.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct UndoPhases {
    /// From the first evidence of a breach until it is decided to go back; what is asked before (`approval`) is part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Span>,
    /// Until stable stands again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Span>,
    /// Until it is known whether what was put back works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Span>,
    /// Until the record is written, and the messages about it are delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<Span>,
}

/// What is looked at once stable stands again. Its answer undoes nothing: it is told.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.__for__) || has(self.checks) && self.checks.size() > 0").message("validate needs 'for', checks, or both"))]
pub struct UndoValidation {
    /// So long the error rate and the latency of stable pods are held against the limits of the criteria. Default: only the checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
    /// Checks of what was put back. `podPath` asks stable pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.onFailure))").message("undo.validate: leave onFailure out: what was put back is not undone again"))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.approval) || has(c.attest))").message("undo.validate: nobody is asked once stable stands: leave approval and attest out, and write who is asked before it goes back as undo.approval"))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.workload) || has(c.promotion) || has(c.telemetry))").message("undo.validate: workload, promotion and telemetry are asked before the first pod: write them in preflight"))]
    pub checks: Vec<Check>,
}

/// What is kept of the worst canary pods before they go: how they stood, their events, and the last lines of their logs. Log lines may hold
/// whatever the application writes: whoever reads ReleaseReports reads them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct UndoEvidence {
    /// Of how many pods. Default: 1. 0: nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3))]
    pub pods: Option<i32>,
    /// Last lines of each container's log, the present one's and the one's before it was restarted. Default: 50. 0: no log is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 200))]
    pub log_lines: Option<i32>,
}

/// Keeps the worst canary pods alive to be looked at: out of their ReplicaSet, without the labels by which Services choose them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.__for__.matches('^([0-9]{1,6}[hms])+$') || duration(self.__for__) <= duration('168h')").message("quarantine: 'for' is at most 168h"))]
pub struct Quarantine {
    /// How many at most. They are beside the Deployment's replicas. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub pods: i32,
    /// They are deleted after so long.
    pub r#for: Span,
}

fn one() -> i32 {
    1
}

/// Something that is done in the moment of going back, beside it: nothing of the way back waits for it. Exactly one kind. It may be done twice
/// when the operator is restarted meanwhile.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.http), has(self.configMap), has(self.patch), has(self.job)].filter(x, x).size() == 1").message(Message::Expression("\"hook '\" + self.name + \"' needs exactly one of: http, configMap, patch, job\"".into())))]
pub struct UndoHook {
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// A request to a URL. Done when the answer is 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHook>,
    /// A key of a ConfigMap gets a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapHook>,
    /// A JSON merge patch of an object of the Release's namespace, such as a FeatureFlag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchHook>,
    /// A Job of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
}

/// A request. Redirects are not followed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpHook {
    /// Default: POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]+://[^/?#@]*([/?#]|$)')").message("no user in the URL: whoever reads the Release reads it"))]
    pub url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 16), extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 64 && name.matches('^[A-Za-z0-9-]+$'))").message("a header's name is made of at most 64 letters, digits and '-'"))]
    #[x_kube(validation = Rule::new("!self.exists(name, name.lowerAscii() in ['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade'])").message("headers: host, connection, content-length, transfer-encoding, te and upgrade are not yours to write"))]
    pub headers: BTreeMap<String, HeaderText>,
    /// A header whose value stands in a Secret of the Release's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_header: Option<SecretHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub body: Option<String>,
}

/// How a URL is asked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

/// A header whose value nobody reads in the Release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretHeader {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]+$') && !(self.lowerAscii() in ['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade'])").message("secretHeader: name a header such as Authorization"))]
    pub name: String,
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: String,
    /// Default: token.
    #[serde(default = "token")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// What stands in front of it: 'Bearer '. Default: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[ -~]*$')").message("secretHeader: prefix is printable ASCII"))]
    pub prefix: String,
}

fn token() -> String {
    "token".to_owned()
}

/// A key of a ConfigMap of the Release's namespace, and what it shall be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapHook {
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub name: String,
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("a key of a ConfigMap is made of letters, digits, '-', '_' and '.'"))]
    pub key: String,
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// An object of the Release's namespace, named by resource, and the patch. What the policies of Tidegate guard against others than the operator,
/// what runs programs, and what gives rights, is not patched.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.apiVersion.contains('/') ? self.apiVersion.split('/')[0] in ['apps', 'batch', 'tidegate.dev', 'rbac.authorization.k8s.io'] : self.resource in ['pods', 'secrets', 'serviceaccounts', 'replicationcontrollers'])").message("patch: hooks change no workloads, pods, Jobs, Secrets, accounts, roles, nor Tidegate's own kinds"))]
pub struct PatchHook {
    /// v1, or group/version: core.openfeature.dev/v1beta1.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*$')").message(Message::Expression("\"'\" + self + \"' is no apiVersion: write v1 or core.openfeature.dev/v1beta1\"".into())))]
    pub api_version: String,
    /// The plural of the kind, as `kubectl api-resources` shows it: featureflags.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(Message::Expression("\"'\" + self + \"' is no resource: write the plural in lower case that kubectl api-resources shows, as in featureflags\"".into())))]
    pub resource: String,
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub name: String,
    /// RFC 7396: what is written replaces, null takes away.
    #[schemars(schema_with = "object")]
    pub patch: Value,
}

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// The phases of the way back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UndoPhase {
    Decision,
    Execution,
    Validation,
    Communication,
}

impl UndoPhase {
    /// In a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Execution => "execution",
            Self::Validation => "validation",
            Self::Communication => "communication",
        }
    }
}

/// How the version that was put back is looked at.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Validating {
    /// So long at least.
    pub until: Stamp,
    /// What the judge remembers of stable pods since then. See `decide::judge::State`.
    #[schemars(schema_with = "object")]
    #[serde(default, skip_serializing_if = "Memory::is_nothing")]
    pub judge: Memory,
    /// None: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Validation>,
}

/// What was found of the version that was put back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    pub result: ValidationResult,
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// In a word.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationResult {
    /// All its checks passed, and every criterion that counts requests.
    Validated,
    /// A check failed, or stable pods are above a limit.
    ValidationFailed,
    /// Neither could be told.
    Undecided,
}

/// How a hook stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    #[schemars(length(max = 64))]
    pub name: String,
    pub state: HookState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The Job that was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 1024)))]
    pub log: Vec<String>,
}

/// In a word.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is being done.
    Started,
    Done,
    Failed,
}

/// A pod that is, or was to be, kept alive.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedPod {
    #[schemars(length(max = 253))]
    pub pod: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub uid: String,
    pub until: Stamp,
    pub state: QuarantineState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// In a word.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// Its labels are being changed.
    Ordered,
    Kept,
    /// It could not be kept.
    Lost,
}

/// A pod of the canary as it stood when it was decided to go back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodEvidence {
    #[schemars(length(max = 253))]
    pub pod: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub uid: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    #[serde(default)]
    pub restarts: i32,
    /// Why a container waits: `CrashLoopBackOff: back-off 10s restarting ...`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub waiting: String,
    /// Why a container ended last: `OOMKilled`, `Error: panic at ...`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub ended: String,
    /// Events about it, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    pub events: Vec<String>,
    /// Last lines of its containers' logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub logs: Vec<ContainerLog>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 512)))]
    pub unread: Vec<String>,
}

/// The last lines that a container wrote.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLog {
    #[schemars(length(max = 63))]
    pub container: String,
    /// Of the one before it was restarted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub previous: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(max = 512)))]
    pub lines: Vec<String>,
}

/// Messages about a way back whose run has ended: they go out after its record.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Communication {
    /// When the last of them was delivered, or given up. None: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Stamp>,
    /// With them communication took longer than its budget, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// With them going back took longer than its budget, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
}

/// How long a phase of the way back took.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTook {
    pub phase: UndoPhase,
    /// From its beginning to its end. 0: no time, or it has not ended.
    pub milliseconds: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
    /// Longer than that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}
