//! Numbers for criteria that do not count requests: gauges of the canary's pods, what a query gives, a number in a JSON answer.
//!
//! Nothing here judges. What could not be read is an error or counted as missing; a source that answers and has no such number gives
//! a [`Found`] with nothing in it.

use std::time::Duration;

use super::measure::instant::{InstantError, Number};
use super::measure::prometheus::{Round, alternatives, quoted};
use super::measure::scrape::PageRead;
use super::measure::servers::Server;
use super::measure::{ReadError, shortened};
use super::probes::{self, LOOKED_AT};
use super::reach::Client;
use crate::decide::values::{Found, Gauge, Point};

/// Pods of one query.
const PODS_A_QUERY: usize = 50;

/// A gauge of each canary pod, from the pages of this round. `place`: which of the gauges that the pages were read for.
///
/// # Errors
/// When no page could be read: the first pod's reason.
pub fn of_pages(place: usize, pages: &[(String, Result<PageRead, ReadError>)]) -> Result<Found, String> {
    let (mut found, mut without) = (Found::default(), Vec::new());
    for (pod, page) in pages {
        let values = match page {
            Ok(page) => page.gauges.get(place).cloned().unwrap_or(Ok(Vec::new())),
            Err(error) => Err(error.clone()),
        };
        match values {
            Ok(values) if values.is_empty() => without.push(pod.as_str()),
            Ok(values) => {
                found.points.extend(values.into_iter().map(|value| Point { series: pod.clone(), value }));
            }
            Err(error) => miss(&mut found, format!("pod {pod}: {error}")),
        }
    }
    miss_some(&mut found, &without);
    if found.points.is_empty() && found.missing > 0 { Err(found.trouble) } else { Ok(found) }
}

/// The same, asked of a Prometheus server.
///
/// # Errors
/// When the server cannot be read.
pub async fn of_pods(
    server: &Server,
    round: Round,
    namespace: &str,
    pods: &[&str],
    gauge: &Gauge,
) -> Result<Found, InstantError> {
    let mut found = Found::default();
    for pods in pods.chunks(PODS_A_QUERY) {
        let mut matchers = vec![
            format!("namespace={}", quoted(namespace)),
            format!("pod=~{}", quoted(&alternatives(pods.iter().copied()))),
        ];
        matchers.extend(gauge.labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))));
        let query = format!("{}{{{}}}", gauge.name, matchers.join(","));
        for Number { labels, value } in server.instant(round, &query).await? {
            if let Some(pod) = labels.get("pod") {
                found.points.push(Point { series: pod.clone(), value });
            }
        }
    }
    let has = |pod: &&&str| !found.points.iter().any(|point| point.series == **pod);
    let without: Vec<&str> = pods.iter().filter(has).copied().collect();
    miss_some(&mut found, &without);
    Ok(found)
}

fn miss(found: &mut Found, why: String) {
    found.missing = found.missing.saturating_add(1);
    if found.trouble.is_empty() {
        found.trouble = why;
    }
}

/// A gauge that no pod has is no data. One that some have is missing on the others.
fn miss_some(found: &mut Found, without: &[&str]) {
    if found.points.is_empty() {
        return;
    }
    for pod in without {
        miss(found, format!("pod {pod} has no such gauge, others have"));
    }
}

/// What a query gives.
///
/// # Errors
/// A sentence, when it could not be read or gives something else than one number, or one a series that `by` tells apart.
pub async fn of_query(
    server: &Server,
    round: Round,
    query: &str,
    by: Option<&str>,
) -> Result<Result<Found, String>, InstantError> {
    let numbers = server.instant(round, query).await?;
    if by.is_none() && numbers.len() > 1 {
        return Ok(Err(format!(
            "the query gives {} series: write the label that tells them apart as by, or aggregate them, as with sum(...)",
            numbers.len()
        )));
    }
    let mut points = Vec::new();
    for Number { labels, value } in numbers {
        let series = match by {
            None => String::new(),
            Some(by) => match labels.get(by) {
                Some(name) => shortened(name, 64),
                None => return Ok(Err(format!("a series of the query has no label {by}: correct by"))),
            },
        };
        points.push(Point { series, value });
    }
    Ok(Ok(Found { points, ..Found::default() }))
}

/// A number in the answer to a GET request.
///
/// # Errors
/// A sentence, when there is no whole answer with status 200 in time, or no number there.
pub async fn of_json(client: &Client, url: &str, pointer: &str, deadline: Duration) -> Result<Found, String> {
    let asked = async {
        let response =
            probes::get(client, url, std::iter::empty()).await.map_err(|error| error.to_string())?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("{url} answered with status {}", response.status().as_u16()));
        }
        probes::beginning(response).await.map_err(|error| error.to_string())
    };
    let late = Err(format!("no answer within {} ms", deadline.as_millis()));
    let body = tokio::time::timeout(deadline, asked).await.unwrap_or(late)?;
    if body.len() >= LOOKED_AT {
        return Err(format!("the answer is larger than {} KiB", LOOKED_AT >> 10));
    }
    number_at(&body, pointer)
}

/// The number that stands there in a JSON text.
///
/// # Errors
/// A sentence, when it is no JSON or something else stands there.
pub fn number_at(body: &[u8], pointer: &str) -> Result<Found, String> {
    let answer: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is no JSON ({})", shortened(&error.to_string(), 100)))?;
    match answer.pointer(pointer) {
        None | Some(serde_json::Value::Null) => Ok(Found::default()),
        Some(serde_json::Value::Number(number)) => {
            let value = number.as_f64().unwrap_or(f64::NAN);
            Ok(Found { points: vec![Point { series: String::new(), value }], ..Found::default() })
        }
        Some(other) => {
            let kind = match other {
                serde_json::Value::Bool(_) => "true or false",
                serde_json::Value::String(_) => "a text",
                serde_json::Value::Array(_) => "a list",
                serde_json::Value::Object(_) => "an object",
                serde_json::Value::Null | serde_json::Value::Number(_) => "no number",
            };
            Err(format!("what stands at {pointer} is {kind}: write a pointer to a number"))
        }
    }
}
