//! Who is told what about a release: the channels of `spec.notify`, and what status remembers of them.
//!
//! Addresses that are secrets, and credentials, are never written here: they are named, in Secrets of the Release's namespace.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::release::{BasicAuth, CaSource, PrometheusAuth};
use super::status::{Said, Stamp};
use super::text::Span;

/// An audience: who is told, of what, in which words. Exactly one channel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.slack), has(self.teams), has(self.webhook), has(self.cloudEvents), has(self.email), has(self.pagerDuty), has(self.opsgenie)].filter(x, x).size() == 1").message("a notification needs exactly one of: slack, teams, webhook, cloudEvents, email, pagerDuty, opsgenie"))]
#[x_kube(validation = Rule::new("!has(self.after) || self.events.all(e, e in ['AwaitingApproval', 'Held', 'MissingRight'])").message("after is for what stands: with it, events are AwaitingApproval, Held and MissingRight"))]
#[x_kube(validation = Rule::new("!(has(self.pagerDuty) || has(self.opsgenie)) || self.events.all(e, e in ['AwaitingApproval', 'Held', 'MissingRight', 'Undoing', 'Undone', 'Aborted', 'Rejected'])").message("pagerDuty and opsgenie wake people: Started, StepPassed, Succeeded, Superseded and HandedBack are for other channels"))]
#[x_kube(validation = Rule::new("!has(self.reasons) || !has(self.exceptReasons)").message("one of: reasons, exceptReasons"))]
#[x_kube(validation = Rule::new("!has(self.reasons) && !has(self.exceptReasons) || self.events.exists(e, e == 'Held')").message("reasons and exceptReasons are of holds: events has no Held"))]
pub struct Notify {
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// An incoming webhook of Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SecretUrl>,
    /// A webhook of a Microsoft Teams workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<SecretUrl>,
    /// JSON, posted to a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Endpoint>,
    /// A CloudEvent (1.0, structured), posted to a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_events: Option<Endpoint>,
    /// A mail, handed to a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// An incident of PagerDuty (Events API v2): a hold that is over resolves it, an acknowledgement acknowledges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pager_duty: Option<Pager>,
    /// An alert of Opsgenie: a hold that is over closes it, an acknowledgement acknowledges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opsgenie: Option<Pager>,
    /// What is told.
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub events: Vec<Event>,
    /// Of holds only those with one of these reasons, as blockedBy.reason has them: CheckFailed, Irreversible. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub reasons: Vec<String>,
    /// Of holds all but those with one of these reasons: Frozen, OutsideWindow. Default: none is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub except_reasons: Vec<String>,
    /// The words. `{{release}}`, `{{namespace}}`, `{{run}}`, `{{event}}`, `{{phase}}`, `{{step}}`, `{{share}}`, `{{message}}`,
    /// `{{unblock}}`, `{{images}}` and `{{report}}` are replaced. Default: a sentence, and what unblocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub template: Option<String>,
    /// A rung of an escalation ladder: told only when a hold, or the wait for a signature, has stood so long and nobody has
    /// acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// What can be told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A run has begun.
    Started,
    /// It waits for a signature.
    AwaitingApproval,
    /// It stands still, with a named blocker.
    Held,
    /// The operator lacks a right, and cannot go on without it.
    MissingRight,
    /// A step was left.
    StepPassed,
    /// It goes back.
    Undoing,
    Undone,
    Succeeded,
    Aborted,
    Superseded,
    /// Somebody has given the Deployment back to its owner.
    HandedBack,
    /// The template is not started again.
    Rejected,
}

/// A URL that is a secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretUrl {
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: String,
    /// Default: url.
    #[serde(default = "url")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn url() -> String {
    "url".to_owned()
}

/// Where to post to: a URL that anybody may read, or one in a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.secret)").message("exactly one of: url, secret"))]
#[x_kube(validation = Rule::new("!has(self.key) || has(self.secret)").message("key is one of a secret"))]
#[x_kube(validation = Rule::new("!has(self.ca) || !has(self.url) || self.url.startsWith('https:')").message("ca is for a url that begins with https"))]
pub struct Endpoint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("no user in the URL: write credentials into a Secret and name it as auth.basic.secret"))]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: Option<String>,
    /// Of the secret. Default: url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
    /// Credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<PrometheusAuth>,
    /// Certificates that the server's is signed by. Default: those of the operator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
}

/// A mail.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tls) || self.tls != 'None' || !has(self.auth) && !has(self.ca)").message("without TLS there are no credentials and no ca: write tls: StartTls or tls: Implicit"))]
pub struct Email {
    /// The server that takes the mail.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue() || isIP(self)").message("host is a name or an address: write smtp.example.com"))]
    pub host: String,
    /// Default: 587 with StartTls, 465 with Implicit, 25 with None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Default: StartTls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MailTls>,
    /// Certificates that the server's is signed by. Default: those of the operator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// Who the operator says it is. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BasicAuth>,
    /// tidegate@example.com
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9.!#$%&*+/=?^_{|}~-]+@[A-Za-z0-9.-]+$')").message(Message::Expression("\"'\" + self + \"' is not a mail address: write team@example.com\"".into())))]
    pub from: String,
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 254)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(to, to.matches('^[A-Za-z0-9.!#$%&*+/=?^_{|}~-]+@[A-Za-z0-9.-]+$'))").message("to: each is a mail address: write team@example.com"))]
    pub to: Vec<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MailTls {
    /// After a greeting in the clear; where the server does not offer it nothing is sent.
    #[default]
    StartTls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    None,
}

/// A service that wakes people.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pager {
    /// The Secret with its key: the integration key of a service of PagerDuty, the key of an API integration of Opsgenie.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: String,
    /// Default: routing-key of PagerDuty, api-key of Opsgenie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
    /// Default: the United States'. In Europe: https://events.eu.pagerduty.com/v2/enqueue, https://api.eu.opsgenie.com/v2/alerts
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && !self.contains('@')").message("is not an http(s) URL without a user"))]
    pub url: Option<String>,
}

/// What is still to be told, and what stands that people were told of.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NotificationsStatus {
    /// Messages there have been. Each has a number of its own, so that whoever gets one twice can tell.
    #[serde(default)]
    pub count: i64,
    /// What has not been delivered to everybody yet, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub owed: Vec<Owed>,
    /// A hold, or a wait for a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// What stood lately, and may come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub stood: Vec<Stood>,
    /// Audiences that could not be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub troubles: Vec<Trouble>,
}

/// A message that is still to be told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// The same in each try, after a restart too.
    #[schemars(length(max = 128))]
    pub id: String,
    pub event: Event,
    pub turn: Turn,
    pub at: Stamp,
    /// Names of audiences in `spec.notify`.
    #[schemars(length(max = 16))]
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub share: String,
    /// Of the blocker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unblock: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub images: Vec<String>,
    /// Name of the ReleaseReport.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub report: String,
}

/// Where in the life of what it is about a message stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It has happened.
    New,
    /// It stands since a while, and nobody has acknowledged it.
    Still,
    /// Somebody has acknowledged it.
    Acknowledged,
    /// It stands no more.
    Over,
}

/// A hold, or a wait for a signature, that lasts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub event: Event,
    /// Of the blocker.
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    pub since: Stamp,
    /// Not told before: it had just been over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_until: Option<Stamp>,
    /// It was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// Audiences with `after` that were told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub escalated: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Said>,
    /// Acknowledging it was told to those who keep incidents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledgement_told: bool,
}

/// A hold that is over.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Stood {
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    pub over: Stamp,
}

/// An audience that could not be told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Name of the audience in `spec.notify`.
    pub to: String,
    pub at: Stamp,
    /// What is wrong, and what to do.
    pub message: String,
    /// The message that it was about.
    #[schemars(length(max = 128))]
    pub id: String,
    /// It is not tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}
