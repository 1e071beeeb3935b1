//! One question to a server, and the body of its answer, held in the share of those whom it is for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::json;

use super::answer::explained;
use super::clock::{Clock, shown_by};
use super::{Auth, Prometheus};
use crate::observe::measure::answer_room::Held;
use crate::observe::measure::{self, Asked, ReadError};
use crate::observe::reach::Client;

/// How long the server may look for an answer is so much less than how long it is waited for: its own error says more, and comes before ours.
const FOR_THE_WAY: Duration = Duration::from_secs(1);
/// How an answer begins that says nothing of what went wrong.
const SUCCESS: &[u8] = br#"{"status":"success""#;

/// With what a question is asked, and for whom: answers have room in the share of one of these namespaces (see `measure/answer_room.rs`).
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    client: &'a Client,
    namespaces: &'a [&'a str],
}

impl<'a> Asking<'a> {
    /// For one of these namespaces, or several together.
    pub fn of(client: &'a Client, namespaces: &'a [&'a str]) -> Self {
        Self { client, namespaces }
    }

    /// For somebody who has all of the room: a program that a person runs.
    pub fn alone(client: &'a Client) -> Self {
        Self { client, namespaces: &[] }
    }
}

impl Auth {
    /// An answer without these credentials in it: what a server, or a proxy before it, says of a question that it refuses is told to people, and some
    /// repeat what they were sent.
    fn struck_out_of(&self, mut body: Held) -> Held {
        if !body.starts_with(SUCCESS) {
            for secret in self.secrets() {
                body.strike_out(secret.as_bytes());
            }
        }
        body
    }

    /// In all forms in which they are sent; the longer ones first, of which another one may be a part.
    fn secrets(&self) -> Vec<String> {
        match self {
            Auth::Nobody => Vec::new(),
            Auth::Bearer(token) => vec![token.clone()],
            Auth::Basic { user, password } => vec![in_header(user, password), password.clone()],
        }
    }
}

/// A user and a password as their header has them (RFC 7617), without the `=` at the end, which some leave out.
fn in_header(user: &str, password: &str) -> String {
    // What is in a Secret is written in the same base64.
    let encoded = json!(ByteString(format!("{user}:{password}").into_bytes()));
    encoded.as_str().unwrap_or_default().trim_end_matches('=').to_owned()
}

impl Prometheus {
    /// The body of a successful or an explained answer to an instant query.
    pub(in crate::observe::measure) async fn query(
        &self,
        asking: Asking<'_>,
        query: &str,
        clock: &mut Clock,
        deadline: Duration,
        most_bytes: usize,
    ) -> Result<Held, ReadError> {
        let time = clock.asked_about();
        let (body, answered) = self.query_at(asking, query, time, deadline, most_bytes).await?;
        if !clock.compare(answered, deadline) {
            return Ok(body);
        }
        // Two at once would be one that waits for room and holds some.
        drop(body);
        let time = clock.asked_about();
        Ok(self.query_at(asking, query, time, deadline, most_bytes).await?.0)
    }

    /// The same at a moment of the server's clock, with what that clock showed.
    async fn query_at(
        &self,
        Asking { client, namespaces }: Asking<'_>,
        query: &str,
        time: i64,
        deadline: Duration,
        most_bytes: usize,
    ) -> Result<(Held, Option<Timestamp>), ReadError> {
        let url = format!("{}/api/v1/query", self.url.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|error| ReadError::Address(error.to_string()))?;
        let timeout = format!("{}ms", deadline.saturating_sub(FOR_THE_WAY).max(FOR_THE_WAY).as_millis());
        let form = [("query", query), ("time", &time.to_string()), ("timeout", &timeout)];
        let mut request = client.post(url)?.form(&form);
        request = match &self.auth {
            Auth::Nobody => request,
            Auth::Bearer(token) => request.bearer_auth(token),
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
        };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let asked = Asked::Prometheus;
        let answer = async {
            let response = client.send(request).await.map_err(|error| match error.is_builder() {
                true => ReadError::Address(measure::innermost(&error)),
                false => ReadError::unsent(asked, &error),
            })?;
            let status = response.status();
            let answered = shown_by(response.headers());
            let body = self.auth.struck_out_of(measure::body(response, most_bytes, asked, namespaces).await?);
            // Prometheus explains 400, 422 and 503 in JSON; a proxy in front of it does not.
            match status {
                reqwest::StatusCode::OK => Ok((body, answered)),
                reqwest::StatusCode::UNAUTHORIZED | reqwest::StatusCode::FORBIDDEN => {
                    Err(ReadError::Status { asked, status: status.as_u16() })
                }
                _ => Err(explained(&body).unwrap_or(ReadError::Status { asked, status: status.as_u16() })),
            }
        };
        tokio::time::timeout(deadline, answer)
            .await
            .unwrap_or(Err(ReadError::Timeout { asked, after: deadline }))
    }
}
