//! Numbers for criteria that do not count requests: gauges of the canary's pods, what a query gives, a number in a JSON answer.
//!
//! Nothing here judges. What could not be read is an error or counted as missing; a source that answers and has no such number gives
//! a [`Found`] with nothing in it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::measure::earlier::{Earlier, Then};
use super::measure::instant::{InstantError, Labels, Number};
use super::measure::prometheus::{Round, alternatives, matchers, quoted};
use super::measure::scrape::PageRead;
use super::measure::servers::{JSON_OF_ONE, Server, Servers};
use super::measure::{ReadError, shortened};
use super::probes::{self, GetError, LOOKED_AT};
use super::reach::Client;
use crate::decide::values::{Found, Gauge, MOST_SERIES, Point, without_query};

/// How often numbers are read, but in the watch.
pub const EVERY: Duration = Duration::from_secs(5);
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

/// The same, asked of a Prometheus server. `pods`: whether it should know of them by now; of the others it may.
///
/// # Errors
/// When the server cannot be read.
pub async fn of_pods(
    server: &Server,
    round: Round,
    namespace: &str,
    pods: &[(&str, bool)],
    gauge: &Gauge,
) -> Result<Found, InstantError> {
    let mut found = Found::default();
    for pods in pods.chunks(PODS_A_QUERY) {
        let query = selector(namespace, &alternatives(pods.iter().map(|(pod, _)| *pod)), gauge);
        for Number { labels, value } in server.instant(round, namespace, &query).await? {
            // Who answers with another pod's number has not been asked for it.
            let asked = |pod: &&String| pods.iter().any(|(asked, _)| *asked == pod.as_str());
            if let Some(pod) = labels.get("pod").filter(asked) {
                found.points.push(Point { series: pod.clone(), value });
            }
        }
    }
    let lacks = |pod: &str| !found.points.iter().any(|point| point.series == pod);
    let without: Vec<&str> =
        pods.iter().filter(|(pod, is_due)| *is_due && lacks(pod)).map(|(pod, _)| *pod).collect();
    miss_some(&mut found, &without);
    Ok(found)
}

/// A gauge of all pods whose names fit a pattern.
pub fn selector(namespace: &str, pods: &str, gauge: &Gauge) -> String {
    let labels = gauge.labels.iter().map(|(name, value)| format!(",{name}={}", quoted(value)));
    format!("{}{{{}{}}}", gauge.name, matchers(namespace, pods), labels.collect::<String>())
}

/// Whether pods are Ready (1) or not (0), as kube-state-metrics has it; without pods that are over.
pub fn readiness(namespace: &str, pods: &str) -> String {
    let of = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        selector(namespace, pods, &Gauge { name: name.to_owned(), labels })
    };
    let ready = of("kube_pod_status_ready", &[("condition", "true")]);
    let over = ["Failed", "Succeeded"].map(|phase| of("kube_pod_status_phase", &[("phase", phase)]));
    format!(
        "{ready} unless on (namespace, pod) ({} == 1) unless on (namespace, pod) ({} == 1)",
        over[0], over[1]
    )
}

/// How often containers of pods were restarted, as kube-state-metrics has it.
pub fn restarts(namespace: &str, pods: &str) -> String {
    let name = "kube_pod_container_status_restarts_total".to_owned();
    format!("sum by (pod) ({})", selector(namespace, pods, &Gauge { name, labels: BTreeMap::new() }))
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

/// What a query of a run in this namespace gives.
///
/// # Errors
/// A sentence, when it could not be read or gives something else than one number, or one a series that `by` tells apart.
pub async fn of_query(
    server: &Server,
    round: Round,
    namespace: &str,
    query: &str,
    by: Option<&str>,
) -> Result<Result<Found, String>, InstantError> {
    let numbers = server.instant(round, namespace, query).await?;
    Ok(of_numbers(numbers.iter().map(|Number { labels, value }| (labels, *value)), by))
}

/// What a query gave, at each moment of a stretch of the past.
pub fn of_earlier(earlier: &Earlier, by: Option<&str>) -> Vec<(i64, Result<Found, String>)> {
    let found = |(at, numbers): (i64, Then<'_>)| {
        let numbers = numbers.and_then(|numbers| match numbers.len() {
            found if found > MOST_SERIES => Err(InstantError::TooManySeries { found }),
            _ => Ok(numbers),
        });
        let found = numbers.map_err(|error| error.to_string());
        (at, found.and_then(|numbers| of_numbers(numbers.into_iter(), by)))
    };
    earlier.moments().into_iter().map(found).collect()
}

/// A gauge of pods, at each moment of a stretch of the past; pods that had none then are not in it.
pub fn of_pods_earlier(earlier: &Earlier) -> Vec<(i64, Result<Found, String>)> {
    let point = |(labels, value): (&Labels, f64)| Some(Point { series: labels.get("pod")?.clone(), value });
    let found = |(at, numbers): (i64, Then<'_>)| {
        let points = numbers.map(|numbers| numbers.into_iter().filter_map(point).collect());
        (at, points.map(|points| Found { points, ..Found::default() }).map_err(|error| error.to_string()))
    };
    earlier.moments().into_iter().map(found).collect()
}

fn of_numbers<'a>(
    numbers: impl ExactSizeIterator<Item = (&'a Labels, f64)>,
    by: Option<&str>,
) -> Result<Found, String> {
    if by.is_none() && numbers.len() > 1 {
        return Err(format!(
            "the query gives {} series: write the label that tells them apart as by, or aggregate them, as with sum(...)",
            numbers.len()
        ));
    }
    let mut points = Vec::new();
    for (labels, value) in numbers {
        let series = match by {
            None => String::new(),
            Some(by) => match labels.get(by) {
                Some(name) => shortened(name, 64),
                None => return Err(format!("a series of the query has no label {by}: correct by")),
            },
        };
        points.push(Point { series, value });
    }
    Ok(Found { points, ..Found::default() })
}

/// Why an answer gives no number.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error(transparent)]
    Get(#[from] GetError),
    /// `address`: its URL without the query.
    #[error("{address} answered with status {status}")]
    Status { address: String, status: u16 },
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error(
        "its turn did not come within {} ms: other json criteria wait for answers, at most {JSON_OF_ONE} of a namespace at once", .0.as_millis()
    )]
    NoTurn(Duration),
    #[error("the answer is larger than {} KiB", LOOKED_AT >> 10)]
    TooLarge,
    /// Something else than a number.
    #[error("{0}")]
    NoNumber(String),
}

impl JsonError {
    /// Whether nobody answered, or whoever did could not say.
    pub fn is_an_outage(&self) -> bool {
        match self {
            Self::Get(GetError::Refused | GetError::NoAnswer(_) | GetError::Broken(_))
            | Self::Late(_)
            | Self::NoTurn(_) => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Get(GetError::Unusable | GetError::Denied(_)) | Self::TooLarge | Self::NoNumber(_) => false,
        }
    }
}

/// A number in the answer to a GET request.
///
/// # Errors
/// When there is no whole answer with status 200 in time, or no number there.
pub async fn of_json(
    client: &Client,
    url: &str,
    pointer: &str,
    deadline: Duration,
) -> Result<Found, JsonError> {
    let asked = async {
        let response = probes::get(client, url, std::iter::empty()).await?;
        if response.status() != reqwest::StatusCode::OK {
            let status = response.status().as_u16();
            return Err(JsonError::Status { address: without_query(url).to_owned(), status });
        }
        Ok(probes::beginning(response).await?)
    };
    let late = Err(JsonError::Late(deadline));
    let body = tokio::time::timeout(deadline, asked).await.unwrap_or(late)?;
    if body.len() >= LOOKED_AT {
        return Err(JsonError::TooLarge);
    }
    number_at(&body, pointer).map_err(JsonError::NoNumber)
}

/// The same for a run or a check of this namespace, in its turn: waiting for it is part of the deadline.
///
/// # Errors
/// As [`of_json`], and when its turn does not come in time.
pub async fn of_json_in_turn(
    servers: &Servers,
    namespace: &str,
    client: &Client,
    url: &str,
    pointer: &str,
    deadline: Duration,
) -> Result<Found, JsonError> {
    let mut waits = true;
    let asked = async {
        let _turn = servers.turn_for_json(namespace).await;
        waits = false;
        of_json(client, url, pointer, deadline).await
    };
    let read = tokio::time::timeout(deadline, asked).await;
    match read {
        Ok(read) => read,
        Err(_) if waits => Err(JsonError::NoTurn(deadline)),
        Err(_) => Err(JsonError::Late(deadline)),
    }
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
