//! Answers of `http` and `config` checks. Values of Secrets and ConfigMaps are looked at here and go nowhere else: an answer names
//! keys and objects, never what is in them.

pub mod dns;
pub mod tls;

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use regex_lite::RegexBuilder;

use super::measure::{self, Trust};
use super::reach::{self, Denied, Reach};
use crate::api::Right;
use crate::api::check::{ConfigCheck, ConfigObject, HttpCheck};
use crate::api::text::is_object_name;
use crate::decide::plan::CheckKind;
use crate::decide::snapshot::ProbeResult;

/// Bytes of an answer that are looked at.
pub(super) const LOOKED_AT: usize = 64 * 1024;

/// What a regular expression may take when it is understood.
const PATTERN_BYTES: usize = 64 * 1024;

/// Asks once. An outage on the way is Unknown, an answer that is not the expected one is Failed.
pub async fn ask(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    kind: &CheckKind,
    timeout: Duration,
) -> (ProbeResult, String) {
    let asked = async {
        match kind {
            CheckKind::Http(check) => within(check, reach).await,
            CheckKind::Config(check) => config(client, namespace, check).await,
            CheckKind::Approval(_) | CheckKind::Job(_) => {
                (ProbeResult::Unknown, "is not asked for here".into())
            }
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => (ProbeResult::Unknown, format!("no answer within {} s", timeout.as_secs())),
    }
}

/// A whole answer that comes too late is one that is not as expected.
async fn within(check: &HttpCheck, reach: &Reach) -> (ProbeResult, String) {
    let Some(latency) = &check.expect.within else { return http(check, reach).await };
    let Some(seconds) = latency.seconds() else {
        return (
            ProbeResult::Failed,
            format!("expect.within: '{}' is not a latency: write 500ms", latency.0),
        );
    };
    match tokio::time::timeout(Duration::from_secs_f64(seconds), http(check, reach)).await {
        Ok(answer) => answer,
        Err(_) => (ProbeResult::Failed, format!("took longer than {}", latency.0)),
    }
}

/// Why a GET request gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum GetError {
    #[error("url or headers cannot be used")]
    Unusable,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Asks, and waits for the head of the answer, a redirect's too.
pub(super) async fn get<'a>(
    client: &reach::Client,
    url: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<reqwest::Response, GetError> {
    let url = reqwest::Url::parse(url).map_err(|_| GetError::Unusable)?;
    let mut request = client.get(url)?;
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await.map_err(|error| match Denied::within(&error) {
        Some(denied) => denied.into(),
        None if error.is_builder() => GetError::Unusable,
        None => GetError::NoAnswer(measure::innermost(&error)),
    })
}

/// The body of an answer, as far as it is looked at.
pub(super) async fn beginning(mut response: reqwest::Response) -> Result<Vec<u8>, GetError> {
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

async fn http(check: &HttpCheck, reach: &Reach) -> (ProbeResult, String) {
    let trust = if check.url.starts_with("https:") { Trust::System } else { Trust::Nothing };
    let client = match measure::client(trust, reach) {
        Ok(client) => client,
        Err(error) => return (ProbeResult::Unknown, error.to_string()),
    };
    let headers = check.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str()));
    let response = match get(&client, &check.url, headers).await {
        Ok(response) => response,
        Err(error @ (GetError::Unusable | GetError::Denied(_))) => {
            return (ProbeResult::Failed, error.to_string());
        }
        Err(error @ (GetError::NoAnswer(_) | GetError::Broken(_))) => {
            return (ProbeResult::Unknown, error.to_string());
        }
    };
    let status = i32::from(response.status().as_u16());
    if status != check.expect.status {
        return (ProbeResult::Failed, format!("answered {status}, expected {}", check.expect.status));
    }
    let body = match beginning(response).await {
        Ok(body) => body,
        Err(error) => return (ProbeResult::Unknown, error.to_string()),
    };
    if let Some(pattern) = &check.expect.body_matches {
        match found(pattern, String::from_utf8_lossy(&body).into_owned()).await {
            Err(problem) => {
                return (ProbeResult::Failed, format!("bodyMatches is no regular expression: {problem}"));
            }
            Ok(false) => {
                return (
                    ProbeResult::Failed,
                    format!("answered {status}, but the body does not match {pattern}"),
                );
            }
            Ok(true) => {}
        }
    }
    (ProbeResult::Passed, format!("answered {status}"))
}

/// Whether a text has something that matches. Off the threads that everything else runs on: a pattern can be slow.
async fn found(pattern: &str, text: String) -> Result<bool, String> {
    let pattern = pattern.to_owned();
    let searched = tokio::task::spawn_blocking(move || matches(&pattern, &text)).await;
    searched.unwrap_or_else(|_| Err("it could not be searched for".into()))
}

/// Whether a text has something that matches: in time that grows with the pattern, and with the text, and no faster.
///
/// # Errors
/// What is wrong with the pattern; that it says more than it has room for is one such thing (`(a{500}){500}`).
pub fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let wanted = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    Ok(wanted.map_err(|error| error.to_string())?.is_match(text))
}

async fn config(client: &Client, namespace: &str, check: &ConfigCheck) -> (ProbeResult, String) {
    let mut keys = 0;
    let all = || check.secrets.iter().chain(&check.config_maps);
    if let Some(wanted) = all().find(|wanted| !is_object_name(&wanted.name)) {
        return (ProbeResult::Failed, format!("'{}' is not the name of an object", wanted.name));
    }
    for wanted in &check.secrets {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(&wanted.name).await;
        let found = found.map(|secret| {
            let data = secret?.data.unwrap_or_default();
            Some(
                data.into_iter()
                    .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
                    .collect(),
            )
        });
        match verify("secret", wanted, found).await {
            Ok(checked) => keys += checked,
            Err(answer) => return answer,
        }
    }
    for wanted in &check.config_maps {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(&wanted.name).await.map(|map| Some(map?.data.unwrap_or_default()));
        match verify("configmap", wanted, found).await {
            Ok(checked) => keys += checked,
            Err(answer) => return answer,
        }
    }
    (ProbeResult::Passed, format!("{keys} keys are as they should be"))
}

type Found = Result<Option<std::collections::BTreeMap<String, String>>, kube::Error>;

async fn verify(kind: &str, wanted: &ConfigObject, found: Found) -> Result<usize, (ProbeResult, String)> {
    let name = &wanted.name;
    let failed = |message: String| Err((ProbeResult::Failed, message));
    let data = match found {
        Ok(Some(data)) => data,
        Ok(None) => return failed(format!("there is no {kind} {name}")),
        Err(error) => {
            let message = match Right::within(&error) {
                Some(right) => format!("the operator may not read {kind} {name}: {}", right.remedy()),
                None => format!("{kind} {name} could not be read"),
            };
            return Err((ProbeResult::Unknown, message));
        }
    };
    for key in &wanted.keys {
        let Some(value) = data.get(&key.key).filter(|value| !value.is_empty()) else {
            return failed(format!("{kind} {name} has no key {}, or it is empty", key.key));
        };
        if let Some(pattern) = &key.pattern {
            match self::found(pattern, value.clone()).await {
                Err(_) => {
                    return failed(format!(
                        "pattern of {kind} {name}, key {} is no regular expression",
                        key.key
                    ));
                }
                Ok(false) => {
                    return failed(format!("{kind} {name}, key {} does not match {pattern}", key.key));
                }
                Ok(true) => {}
            }
        }
    }
    Ok(wanted.keys.len())
}
