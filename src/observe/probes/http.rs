//! `http` checks, and GET requests of others: one answer, looked at as far as [`LOOKED_AT`]. Redirects are not followed.

use std::time::Duration;

use futures::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{Answer, LOOKED_AT, Untried, failed, found, in_turn, passed, unknown};
use crate::api::check::{Expect, HttpCheck};
use crate::decide::ProbedPod;
use crate::decide::expression::Expression;
use crate::decide::snapshot::ProbeResult;
use crate::observe::measure::{self, Trust};
use crate::observe::reach::{self, Denied, Reach};
use crate::turns::Turns;

/// Pods that are asked at the same time.
const AT_ONCE: usize = 8;
/// Pods of one check that are asked at all.
const MOST_PODS: usize = 100;
/// Expressions of the process that are evaluated at the same time, and of one namespace.
static TURNS: Turns = Turns::of(2, 1);

/// What is asked, and for whom.
#[derive(Clone, Copy)]
struct Asked<'a> {
    reach: &'a Reach,
    namespace: &'a str,
    check: &'a HttpCheck,
}

/// Asks a URL, or each of these pods: the first that does not answer as expected decides.
pub async fn ask(reach: &Reach, namespace: &str, check: &HttpCheck, pods: &[ProbedPod]) -> Answer {
    let asked = Asked { reach, namespace, check };
    match (&check.url, &check.pod_path) {
        (Some(url), None) => once(asked, url).await,
        (None, Some(path)) => each(asked, path, pods).await,
        _ => failed("http needs exactly one of: url, podPath".to_owned()),
    }
}

async fn each(asked: Asked<'_>, path: &str, pods: &[ProbedPod]) -> Answer {
    if pods.is_empty() {
        return unknown("no pod to ask is Ready".to_owned());
    }
    // A list first: a stream that borrows from a closure is not Send enough to be spawned.
    let mut questions = Vec::new();
    for pod in pods.iter().take(MOST_PODS) {
        questions.push(of_pod(asked, path, pod));
    }
    let mut answers = futures::stream::iter(questions).buffered(AT_ONCE);
    let (mut last, mut not_known) = (String::new(), None);
    while let Some((result, message)) = answers.next().await {
        match result {
            ProbeResult::Failed => return (ProbeResult::Failed, message),
            ProbeResult::Unknown => _ = not_known.get_or_insert(message),
            ProbeResult::Passed => last = message,
        }
    }
    if let Some(message) = not_known {
        return unknown(message);
    }
    match pods.len() {
        1 => passed(last),
        number => {
            passed(format!("{} of {number} pods asked, all as expected; {last}", number.min(MOST_PODS)))
        }
    }
}

async fn of_pod(asked: Asked<'_>, path: &str, pod: &ProbedPod) -> Answer {
    let ProbedPod { name, ip, port, on_trial } = pod;
    let kind = if *on_trial { "trial pod" } else { "pod" };
    let port = asked.check.pod_port.and_then(|port| u16::try_from(port).ok()).or(*port);
    let Some(port) = port else {
        return failed(format!("{kind} {name}: its containers name no port: write podPort"));
    };
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
    // Whoever reads it later finds no trial pod of this name any more.
    let at = if *on_trial { format!(" ({host}:{port})") } else { String::new() };
    let (result, message) = once(asked, &format!("http://{host}:{port}{path}")).await;
    (result, format!("{kind} {name}{at}: {message}"))
}

/// What has been answered, as far as it is looked at.
pub struct Answered {
    status: i32,
    headers: HeaderMap,
    /// Where nothing is expected of it, there is none.
    body: Vec<u8>,
}

async fn once(asked: Asked<'_>, url: &str) -> Answer {
    let answered = match within(asked, url).await {
        Ok(answered) => answered,
        Err(answer) => return answer,
    };
    match expected(asked.namespace, &asked.check.expect, answered).await {
        Ok(status) => passed(format!("answered {status}")),
        Err(answer) => answer,
    }
}

/// A whole answer that comes too late is one that is not as expected. How long it takes us to look at it does not count.
async fn within(asked: Asked<'_>, url: &str) -> Result<Answered, Answer> {
    let Some(latency) = &asked.check.expect.within else { return answer_of(asked, url).await };
    let Some(seconds) = latency.seconds() else {
        return Err(failed(format!("expect.within: '{}' is not a latency: write 500ms", latency.0)));
    };
    match tokio::time::timeout(Duration::from_secs_f64(seconds), answer_of(asked, url)).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(format!("took longer than {}", latency.0))),
    }
}

async fn answer_of(asked: Asked<'_>, url: &str) -> Result<Answered, Answer> {
    let Asked { reach, namespace: _, check } = asked;
    let trust = if url.starts_with("https:") { Trust::System } else { Trust::Nothing };
    let client = match measure::client(trust, reach) {
        Ok(client) => client,
        Err(error) => return Err(unknown(error.to_string())),
    };
    let headers = check.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str()));
    let response = match get(&client, url, headers).await {
        Ok(response) => response,
        Err(error @ (GetError::Unusable | GetError::Denied(_))) => return Err(failed(error.to_string())),
        Err(error @ (GetError::Refused | GetError::NoAnswer(_) | GetError::Broken(_))) => {
            return Err(unknown(error.to_string()));
        }
    };
    read(&check.expect, response).await
}

/// Reads an answer, as far as it is looked at.
///
/// # Errors
/// It breaks off.
pub async fn read(expect: &Expect, mut response: reqwest::Response) -> Result<Answered, Answer> {
    let status = i32::from(response.status().as_u16());
    let headers = std::mem::take(response.headers_mut());
    if status != expect.status {
        return Ok(Answered { status, headers, body: Vec::new() });
    }
    let body = beginning(response).await.map_err(|error| unknown(error.to_string()))?;
    Ok(Answered { status, headers, body })
}

/// Holds an answer against what is expected of it, in this namespace's turn; its status.
///
/// # Errors
/// In what it differs, or why that cannot be told.
pub async fn expected(namespace: &str, expect: &Expect, answered: Answered) -> Result<i32, Answer> {
    let Answered { status, headers, body } = answered;
    if status != expect.status {
        return Err(failed(format!("answered {status}, expected {}", expect.status)));
    }
    for (name, pattern) in &expect.headers {
        let values: Vec<String> = headers
            .get_all(name.as_str())
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if values.is_empty() {
            return Err(failed(format!("answered {status}, without the header {name}")));
        }
        match found(namespace, pattern, values.join(", ")).await {
            Err(long @ Untried::TooLong) => {
                return Err(failed(format!("answered {status}, but the header {name} {long}")));
            }
            Err(problem @ (Untried::NoPattern(_) | Untried::BrokenOff)) => {
                return Err(failed(format!("expect.headers, {name} {problem}")));
            }
            Ok(false) => {
                return Err(failed(format!(
                    "answered {status}, but the header {name} does not match {pattern}"
                )));
            }
            Ok(true) => {}
        }
    }
    if let Some(pattern) = &expect.body_matches {
        // What is no text grows when it is made one.
        let mut text = String::from_utf8_lossy(&body).into_owned();
        text.truncate(text.floor_char_boundary(LOOKED_AT));
        match found(namespace, pattern, text).await {
            Err(problem) => return Err(failed(format!("bodyMatches {problem}"))),
            Ok(false) => {
                return Err(failed(format!("answered {status}, but the body does not match {pattern}")));
            }
            Ok(true) => {}
        }
    }
    if let Some(text) = &expect.expression {
        holds(namespace, text, &body).await?;
    }
    Ok(status)
}

/// Whether what is expected holds of a body. Off the threads that everything else runs on.
async fn holds(namespace: &str, text: &str, body: &[u8]) -> Result<(), Answer> {
    let body: Value = serde_json::from_slice(body).map_err(|_| {
        let most = LOOKED_AT / 1024;
        failed(format!("the body is no JSON of at most {most} KiB, as expect.expression needs"))
    })?;
    let expression = Expression::parse(text, &["body"])
        .map_err(|problem| failed(format!("expect.expression {problem}")))?;
    let turn = TURNS.take(namespace).await;
    match in_turn(turn, move || expression.holds(&[("body", &body)])).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(failed(format!("the body is not as expected: {text}"))),
        Ok(Err(unsure)) => Err(unknown(format!("expect.expression cannot be told: {unsure}"))),
        Err(_) => Err(unknown("expect.expression could not be evaluated".to_owned())),
    }
}

/// Why a GET request gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("url or headers cannot be used")]
    Unusable,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(
        "no answer: the connection is refused: nothing listens on that port, or only for its own machine (127.0.0.1)"
    )]
    Refused,
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Asks, and waits for the head of the answer, a redirect's too.
pub async fn get<'a>(
    client: &reach::Client,
    url: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<reqwest::Response, GetError> {
    let url = reqwest::Url::parse(url).map_err(|_| GetError::Unusable)?;
    let mut request = client.get(url)?;
    for (name, value) in headers {
        request = request.header(name, value);
    }
    client.send(request).await.map_err(|error| match Denied::within(&error) {
        Some(denied) => denied.into(),
        None if error.is_builder() => GetError::Unusable,
        None if is_refused(&error) => GetError::Refused,
        None => GetError::NoAnswer(measure::innermost(&error)),
    })
}

/// Whether somebody said that nobody is there.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_the_wire = std::iter::successors(Some(error), |error| error.source());
    of_the_wire
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The body of an answer, as far as it is looked at.
pub async fn beginning(mut response: reqwest::Response) -> Result<Vec<u8>, GetError> {
    let mut body = Vec::new();
    while body.len() < LOOKED_AT {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(LOOKED_AT - body.len())]),
            Ok(None) => break,
            Err(error) => return Err(GetError::Broken(measure::innermost(&error))),
        }
    }
    Ok(body)
}
