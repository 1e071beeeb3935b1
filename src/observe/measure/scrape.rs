//! Reading the pods' own `/metrics`, over plain HTTP, straight from the pod's address.
//!
//! Bounded in everything: pods at once, time per pod, bytes, samples, series. No redirects and no proxy (see
//! [`super::client`]). It keeps only the series that were chosen, and does not retry: the next round is the retry.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::exposition::{self, ExpositionError, Limits, Sample};
use super::names::{Detected, Names};
use super::{ReadError, SERIES_PER_POD, SeriesValue};

/// Both formats; OpenMetrics first, because its end marks a whole page.
const FORMATS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.9,*/*;q=0.1";
/// From how many pods names are detected.
const PODS_SURVEYED: usize = 16;

/// Where one pod's metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod's name.
    pub pod: String,
    /// The pod's address.
    pub ip: IpAddr,
    /// The port, of plain HTTP.
    pub port: u16,
    /// The path, with a query if there is one: `/metrics`.
    pub path: String,
}

/// Reads the chosen series of every target, `at_once` at a time (0 counts as 1), each within `deadline`. The answers are in
/// the order of the targets. A page that reads well and has none of the series is an empty list: a counter with labels
/// appears only with the first request.
pub async fn scrape(
    client: &reqwest::Client,
    targets: &[Target],
    detected: &Detected,
    deadline: Duration,
    at_once: usize,
) -> Vec<(String, Result<Vec<SeriesValue>, ReadError>)> {
    let read = |page: Result<Page, ReadError>| {
        let page = page?;
        let mut values = Vec::new();
        page.visit(|sample| {
            // One more than allowed, to tell.
            if values.len() <= SERIES_PER_POD {
                values.extend(detected.value(&sample.name, sample.labels, sample.value));
            }
        })?;
        if values.len() > SERIES_PER_POD {
            return Err(ReadError::TooManySeries { limit: SERIES_PER_POD });
        }
        Ok(values)
    };
    // A list first: a lazy stream of borrowing futures is not general enough for a spawned task (rust-lang/rust#102211).
    let pages: Vec<_> = targets.iter().map(|target| page(client, target, deadline)).collect();
    let answers: Vec<_> = futures::stream::iter(pages).buffered(at_once.max(1)).map(read).collect().await;
    targets.iter().zip(answers).map(|(target, answer)| (target.pod.clone(), answer)).collect()
}

/// Finds out which series to read, from the first 16 targets together. Give it stable pods that have seen requests: labelled
/// counters do not exist before.
///
/// # Errors
/// When no target could be read (the first one's error) or nothing fits (see [`Names::choose`]).
pub async fn detect(
    client: &reqwest::Client,
    targets: &[Target],
    names: &Names,
    deadline: Duration,
    at_once: usize,
) -> Result<Detected, ReadError> {
    let pages: Vec<_> =
        targets.iter().take(PODS_SURVEYED).map(|target| page(client, target, deadline)).collect();
    let mut pages = futures::stream::iter(pages).buffered(at_once.max(1));
    let mut survey = names.survey();
    let mut failed = None;
    while let Some(answer) = pages.next().await {
        let seen = answer.and_then(|page| page.visit(|sample| survey.see(&sample.name, sample.labels)));
        if let Err(error) = seen {
            failed.get_or_insert(error);
        }
    }
    match failed {
        Some(error) if survey.series() == 0 => Err(error),
        Some(_) | None => names.choose(&survey),
    }
}

/// A page as it came.
struct Page {
    bytes: Vec<u8>,
    open_metrics: bool,
}

impl Page {
    fn visit(&self, visit: impl FnMut(&Sample<'_, '_>)) -> Result<(), ReadError> {
        let limits = Limits::default();
        let read = exposition::read(&self.bytes, limits, visit).map_err(|error| match error {
            ExpositionError::TooLong { limit, .. } => ReadError::TooLarge { limit },
            ExpositionError::TooManySamples { limit } => ReadError::TooManySeries { limit },
            ExpositionError::Nothing { .. } => ReadError::NotMetrics(error.to_string()),
        })?;
        if self.open_metrics && !read.eof {
            return Err(ReadError::NotMetrics("cut off before # EOF".to_owned()));
        }
        Ok(())
    }
}

async fn page(client: &reqwest::Client, target: &Target, deadline: Duration) -> Result<Page, ReadError> {
    let answer = async {
        let response = client
            .get(address(target)?)
            .header(ACCEPT, FORMATS)
            .send()
            .await
            .map_err(|error| ReadError::Refused(super::innermost(&error)))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(ReadError::Status(response.status().as_u16()));
        }
        let open_metrics = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/openmetrics-text"));
        Ok(Page { bytes: super::body(response, Limits::default().bytes).await?, open_metrics })
    };
    tokio::time::timeout(deadline, answer).await.unwrap_or(Err(ReadError::Timeout(deadline)))
}

/// Built part by part: a path cannot turn into another host.
fn address(target: &Target) -> Result<reqwest::Url, ReadError> {
    let socket = SocketAddr::new(target.ip, target.port);
    let mut url = reqwest::Url::parse(&format!("http://{socket}/"))
        .map_err(|error| ReadError::Address(error.to_string()))?;
    let (path, query) =
        target.path.split_once('?').map_or((target.path.as_str(), None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    Ok(url)
}
