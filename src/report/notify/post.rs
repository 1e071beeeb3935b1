//! Posting to a URL: where a Release may send the operator, without redirects; of the answer only its status is looked at.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::Value;

use super::attempt::Failure;
use crate::observe::measure::{self, Trust, innermost};
use crate::observe::reach::{Denied, Reach};

/// Where to post to.
pub struct Address {
    url: Url,
    /// Where it is written, when it is a secret: then nothing of it may be told.
    secret: Option<String>,
}

impl Address {
    /// One that stands in the Release.
    ///
    /// # Errors
    /// It is no URL.
    pub fn written(url: &str) -> Result<Self, Failure> {
        let url = Url::parse(url).map_err(|_| Failure::Lasting("the url is none".to_owned()))?;
        Ok(Self { url, secret: None })
    }

    /// One that a Secret holds.
    ///
    /// # Errors
    /// The same, without a word of what it is.
    pub fn of_secret(text: &str, secret: &str, key: &str) -> Result<Self, Failure> {
        let whence = format!("secret {secret}, key {key}");
        match Url::parse(text) {
            Ok(url) => Ok(Self { url, secret: Some(whence) }),
            Err(_) => Err(Failure::Lacking(format!("{whence} holds no URL: put one there"))),
        }
    }

    fn denied(&self, denied: &Denied) -> Failure {
        Failure::Lasting(match &self.secret {
            Some(whence) => {
                format!(
                    "the URL of {whence} leads where a Release must not send the operator: put another there"
                )
            }
            None => denied.to_string(),
        })
    }

    fn failed(&self, error: &reqwest::Error) -> Failure {
        Failure::passing(match &self.secret {
            // Names in certificates and messages of resolvers tell the host.
            Some(_) => format!("no answer from {self}"),
            None => format!("no answer from {self}: {}", innermost(error)),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.secret {
            Some(whence) => write!(f, "the URL of {whence}"),
            None => f.write_str(self.url.host_str().unwrap_or_default()),
        }
    }
}

/// Who the operator says it is.
pub enum Auth {
    Nobody,
    Bearer(String),
    Basic {
        user: String,
        password: String,
    },
    /// A key of Opsgenie.
    Genie(String),
}

/// What is posted.
pub struct Post {
    pub content_type: &'static str,
    pub auth: Auth,
    pub body: Vec<u8>,
}

impl Post {
    pub fn json(body: &Value) -> Self {
        Self { content_type: "application/json", auth: Auth::Nobody, body: body.to_string().into_bytes() }
    }
}

/// Posts once.
pub async fn send(reach: &Reach, trust: Trust, address: &Address, post: Post) -> Result<(), Failure> {
    let Post { content_type, auth, body } = post;
    let trust = if address.url.scheme() == "https" { trust } else { Trust::Nothing };
    let client = measure::client(trust, reach).map_err(|_| {
        Failure::Lacking(
            "there are no certificates to trust: what ca names holds none, or the image has none".to_owned(),
        )
    })?;
    let request = client.post(address.url.clone()).map_err(|denied| address.denied(&denied))?;
    let request = match auth {
        Auth::Nobody => request,
        Auth::Bearer(token) => request.bearer_auth(token),
        Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
        Auth::Genie(key) => {
            let mut value = HeaderValue::try_from(format!("GenieKey {key}"))
                .map_err(|_| Failure::Lacking("the key is no text for a header".to_owned()))?;
            value.set_sensitive(true);
            request.header(AUTHORIZATION, value)
        }
    };
    let answer = client.send(request.header(CONTENT_TYPE, content_type).body(body)).await;
    let answer = answer.map_err(|error| match Denied::within(&error) {
        Some(denied) => address.denied(&denied),
        None => address.failed(&error),
    })?;
    let status = answer.status();
    let said = format!("{address} answered {}", status.as_u16());
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(Failure::Lasting(format!("{said}: redirects are not followed, write where it leads to")));
    }
    if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) {
        let again_in = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        return Err(Failure::Passing { said, again_in: again_in.map(Duration::from_secs) });
    }
    Err(Failure::Lasting(said))
}
