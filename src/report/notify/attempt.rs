//! One try: what the channel names is read, the message is made, and handed over. Sentences of failures name objects, keys and hosts that
//! anybody may read in the Release, and nothing that a Secret holds or a receiver answers.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;

use super::post::{self, Address, Auth, Post};
use super::{cloud_events, email, opsgenie, pager_duty, slack, teams, webhook};
use crate::api::notify::{Endpoint, Owed, Pager, SecretUrl};
use crate::api::release::PrometheusAuth;
use crate::decide::notify::{Channel, Delivery, Message};
use crate::letters;
use crate::observe::credentials;
use crate::observe::measure::{ReadError, Trust};
use crate::observe::reach::Reach;

/// Why it was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It will not be, however often it is tried.
    Lasting(String),
    /// Something that it takes is not there: somebody may put it there.
    Lacking(String),
    /// It may be the next time, not before so long.
    Passing { said: String, again_in: Option<Duration> },
}

impl Failure {
    pub fn passing(said: impl Into<String>) -> Self {
        Self::Passing { said: said.into(), again_in: None }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Credentials { lasting: false, .. } => Self::passing(error.to_string()),
            error => Self::Lacking(error.to_string()),
        }
    }
}

/// How long one try may take: a mail is a conversation.
const DEADLINE: Duration = Duration::from_secs(10);
const DEADLINE_OF_MAIL: Duration = Duration::from_secs(30);

/// Hands messages over.
pub trait Carrier: Send + Sync {
    /// Tries once. Whoever asks waits no longer than they want to.
    fn carry<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Hands them over to receivers outside.
pub struct Outside {
    client: Client,
    reach: Reach,
}

impl Outside {
    /// `client` reads Secrets.
    pub fn new(client: Client, reach: Reach) -> Self {
        Self { client, reach }
    }
}

impl Carrier for Outside {
    fn carry<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failure>> {
        once(&self.client, &self.reach, delivery).boxed()
    }
}

/// Tries once.
pub async fn attempt(carrier: &dyn Carrier, delivery: &Delivery) -> Result<(), Failure> {
    let deadline = if matches!(delivery.channel, Channel::Email(_)) { DEADLINE_OF_MAIL } else { DEADLINE };
    match tokio::time::timeout(deadline, carrier.carry(delivery)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::passing(format!("no answer within {} s", deadline.as_secs()))),
    }
}

async fn once(client: &Client, reach: &Reach, delivery: &Delivery) -> Result<(), Failure> {
    let Delivery { to: _, channel, template, message } = delivery;
    let message = &in_order(message);
    let namespace = &message.key.namespace;
    match channel {
        Channel::Slack(SecretUrl { secret, key }) => {
            let address = secret_url(client, namespace, "notify.slack", secret, key).await?;
            let post = Post::json(&slack::body(message, template));
            post::send(reach, Trust::System, &address, post).await
        }
        Channel::Teams(SecretUrl { secret, key }) => {
            let address = secret_url(client, namespace, "notify.teams", secret, key).await?;
            let post = Post::json(&teams::body(message, template));
            post::send(reach, Trust::System, &address, post).await
        }
        Channel::Webhook(endpoint) => {
            let post = Post::json(&webhook::body(message, template));
            to_endpoint(client, reach, namespace, endpoint, post, &WEBHOOK).await
        }
        Channel::CloudEvents(endpoint) => {
            let post = Post {
                content_type: cloud_events::CONTENT_TYPE,
                ..Post::json(&cloud_events::body(message, template))
            };
            to_endpoint(client, reach, namespace, endpoint, post, &CLOUD_EVENTS).await
        }
        Channel::PagerDuty(Pager { secret, key, url }) => {
            let key = key.as_deref().unwrap_or(pager_duty::KEY);
            let routing_key = credentials::token(client, namespace, "notify.pagerDuty", secret, key).await?;
            let address = Address::written(url.as_deref().unwrap_or(pager_duty::URL))?;
            let post = Post::json(&pager_duty::body(message, template, &routing_key));
            post::send(reach, Trust::System, &address, post).await
        }
        Channel::Opsgenie(Pager { secret, key, url }) => {
            let key = key.as_deref().unwrap_or(opsgenie::KEY);
            let api_key = credentials::token(client, namespace, "notify.opsgenie", secret, key).await?;
            let base = url.as_deref().unwrap_or(opsgenie::URL);
            let address = Address::written(&opsgenie::url(base, message))?;
            let post = Post { auth: Auth::Genie(api_key), ..Post::json(&opsgenie::body(message, template)) };
            post::send(reach, Trust::System, &address, post).await
        }
        Channel::Email(mail) => {
            let login = match &mail.auth {
                Some(auth) => {
                    Some(credentials::login(client, namespace, "notify.email.auth", &auth.secret).await?)
                }
                None => None,
            };
            let ca = match &mail.ca {
                Some(ca) => Some(credentials::authorities(client, namespace, "notify.email.ca", ca).await?),
                None => None,
            };
            let letter = email::letter(mail, message, template).map_err(Failure::Lasting)?;
            email::send(reach, mail, login, ca, &letter).await
        }
    }
}

/// The same, with every text that is told to be read as it is written. What a template says besides them is its author's.
fn in_order(message: &Message) -> Message {
    let Message { key, uid, owed } = message;
    let Owed { id, event, turn, at, to, run, phase, step, share, reason, message, unblock, images, report } =
        owed;
    let shown = |text: &String| letters::in_order(text);
    Message {
        key: key.clone(),
        uid: uid.clone(),
        owed: Owed {
            id: shown(id),
            event: *event,
            turn: *turn,
            at: *at,
            to: to.clone(),
            run: shown(run),
            phase: shown(phase),
            step: shown(step),
            share: shown(share),
            reason: shown(reason),
            message: shown(message),
            unblock: shown(unblock),
            images: images.iter().map(shown).collect(),
            report: shown(report),
        },
    }
}

/// Fields of the two kinds that post to a URL of one's own, as they are called in sentences.
struct Fields {
    own: &'static str,
    bearer: &'static str,
    basic: &'static str,
    ca: &'static str,
}

const WEBHOOK: Fields = Fields {
    own: "notify.webhook",
    bearer: "notify.webhook.auth.bearer",
    basic: "notify.webhook.auth.basic",
    ca: "notify.webhook.ca",
};
const CLOUD_EVENTS: Fields = Fields {
    own: "notify.cloudEvents",
    bearer: "notify.cloudEvents.auth.bearer",
    basic: "notify.cloudEvents.auth.basic",
    ca: "notify.cloudEvents.ca",
};

async fn to_endpoint(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    endpoint: &Endpoint,
    post: Post,
    fields: &Fields,
) -> Result<(), Failure> {
    let Endpoint { url, secret, key, auth, ca } = endpoint;
    let address = match (url, secret) {
        (Some(url), _) => Address::written(url)?,
        (None, Some(secret)) => {
            let key = key.as_deref().unwrap_or("url");
            secret_url(client, namespace, fields.own, secret, key).await?
        }
        (None, None) => return Err(Failure::Lasting(format!("{}: write url or secret", fields.own))),
    };
    let auth = match auth {
        None => Auth::Nobody,
        Some(PrometheusAuth { bearer: Some(bearer), .. }) => Auth::Bearer(
            credentials::token(client, namespace, fields.bearer, &bearer.secret, &bearer.key).await?,
        ),
        Some(PrometheusAuth { bearer: None, basic: Some(basic) }) => {
            let (user, password) = credentials::login(client, namespace, fields.basic, &basic.secret).await?;
            Auth::Basic { user, password }
        }
        Some(PrometheusAuth { bearer: None, basic: None }) => {
            return Err(Failure::Lasting(format!("{}.auth: write bearer or basic", fields.own)));
        }
    };
    let trust = match ca {
        Some(ca) => Trust::Only(credentials::authorities(client, namespace, fields.ca, ca).await?),
        None => Trust::System,
    };
    post::send(reach, trust, &address, Post { auth, ..post }).await
}

async fn secret_url(
    client: &Client,
    namespace: &str,
    field: &'static str,
    secret: &str,
    key: &str,
) -> Result<Address, Failure> {
    let text = credentials::token(client, namespace, field, secret, key).await?;
    Address::of_secret(&text, secret, key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::Key;

    #[test]
    fn no_text_of_a_message_turns_the_direction_of_writing() {
        let written = "a\u{200e}\u{200f}\u{61c}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{5d0}";
        let owed = |text: &str| -> Owed {
            serde_json::from_value(json!({
                "id": text, "event": "Held", "turn": "New", "at": "2026-11-28T09:30:00Z", "to": ["team"], "run": text,
                "phase": text, "step": text, "share": text, "reason": text, "message": text, "unblock": text,
                "images": [text, text], "report": text,
            }))
            .unwrap()
        };
        let key = Key { namespace: "shop".into(), name: "checkout".into() };
        let message = Message { key, uid: "6f1e".into(), owed: owed(written) };
        let shown = Message { owed: owed("a\u{5d0}"), ..message.clone() };
        assert_eq!(in_order(&message), shown);
    }
}
