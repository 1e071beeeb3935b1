//! Reading the pods' own `/metrics`, over plain HTTP, straight from the pod's address.
//!
//! Bounded in everything: pods at once, time per pod, bytes (of all pages together too, see [`super::answer_room`]), samples, series. No redirects
//! and no proxy (see [`super::client`]). It hands on the series that were chosen, page by page, and does not retry: the next round is the retry.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use reqwest::Version;
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};

use super::answer_room::Held;
use super::exposition::{self, ExpositionError, Limits, Sample};
use super::names::{Detected, Names, PODS_SURVEYED};
use super::{Asked, ReadError, SERIES_PER_POD, SeriesValue, within_limits};
use crate::decide::values::{Gauge, MOST_SERIES};
use crate::observe::reach::Client;

/// Both formats; OpenMetrics first, because its end marks a whole page.
const FORMATS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.9,*/*;q=0.1";

/// Where one pod's metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's address.
    pub ip: IpAddr,
    /// The port, of plain HTTP.
    pub port: u16,
    /// The path, with a query if there is one: `/metrics`.
    pub path: String,
}

/// Who fetches the pods' pages: an HTTP client, or, where there is no network, whoever knows what the pods would answer.
pub trait Pages: Send + Sync + 'static {
    /// The page of this target, within `deadline`.
    fn page<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<Page, ReadError>>;
}

impl Pages for Client {
    fn page<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<Page, ReadError>> {
        page(self, target, deadline).boxed()
    }
}

/// What one page gave.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRead {
    /// The chosen series; empty where none were chosen.
    pub counted: Result<Vec<SeriesValue>, ReadError>,
    /// For each gauge that was asked for, the values of its series on this page.
    pub gauges: Vec<Result<Vec<f64>, ReadError>>,
}

/// Whoever takes what a page gave: the target's place, and what it was.
pub type Take<'a> = dyn FnMut(usize, Result<PageRead, ReadError>) + Send + 'a;

/// Reads the chosen series of every target, and these gauges from the same pages, `at_once` at a time (0 counts as 1), each within `deadline`. What
/// a page gave is handed on before the next one is read: the series of all pages together may be many. A page that reads well and
/// has none of the series is an empty list: a counter with labels appears only with the first request.
pub async fn scrape(
    from: &dyn Pages,
    targets: &[Target],
    detected: Option<&Detected>,
    gauges: &[Gauge],
    deadline: Duration,
    at_once: usize,
    take: &mut Take<'_>,
) {
    let mut pages = pages(from, targets, deadline, at_once);
    while let Some((place, page)) = pages.next().await {
        take(place, page.and_then(|page| page.read(detected, gauges)));
    }
}

/// The same in a list, in the order of the targets: for gauges, which are few.
pub async fn scrape_all(
    from: &dyn Pages,
    targets: &[Target],
    detected: Option<&Detected>,
    gauges: &[Gauge],
    deadline: Duration,
    at_once: usize,
) -> Vec<(String, Result<PageRead, ReadError>)> {
    let mut read = BTreeMap::new();
    let mut take = |place: usize, page: Result<PageRead, ReadError>| {
        read.insert(place, (targets[place].pod.clone(), page));
    };
    scrape(from, targets, detected, gauges, deadline, at_once, &mut take).await;
    read.into_values().collect()
}

/// Finds out which series to read, from the first 16 targets together. Give it stable pods that have seen requests: labelled
/// counters do not exist before.
///
/// # Errors
/// When no target could be read (the first one's error) or nothing fits (see [`Names::choose`]).
pub async fn detect(
    from: &dyn Pages,
    targets: &[Target],
    names: &Names,
    deadline: Duration,
    at_once: usize,
) -> Result<Detected, ReadError> {
    let surveyed = &targets[..targets.len().min(PODS_SURVEYED)];
    let mut pages = pages(from, surveyed, deadline, at_once);
    let (mut survey, mut failed) = (names.survey(), BTreeMap::new());
    while let Some((place, page)) = pages.next().await {
        let seen = page.and_then(|page| page.visit(|sample| survey.see(&sample.name, sample.labels)));
        if let Err(error) = seen {
            failed.insert(place, error);
        }
    }
    match failed.into_values().next() {
        Some(error) if survey.series() == 0 => Err(error),
        Some(_) | None => names.choose(&survey),
    }
}

/// The targets' pages, each with its target's place, as they come in: whole pages would wait for those of slower pods before them, and so would
/// those that are not asked for yet.
fn pages<'a>(
    from: &'a dyn Pages,
    targets: &'a [Target],
    deadline: Duration,
    at_once: usize,
) -> impl Stream<Item = (usize, Result<Page, ReadError>)> + Send + Unpin + 'a {
    // A list first: a lazy stream of borrowing futures is not general enough for a spawned task (rust-lang/rust#102211).
    let pages: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(place, target)| from.page(target, deadline).map(move |page| (place, page)).boxed())
        .collect();
    futures::stream::iter(pages).buffer_unordered(at_once.max(1))
}

/// A page as it came.
pub struct Page {
    bytes: Held,
    kind: Kind,
    /// Whether HTTP itself told where the page ends. If not, a page that was cut off looks whole.
    framed: bool,
}

/// What the answer says it is. Only these make a difference: many programs send a page under a name that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OpenMetrics,
    /// HTML, JSON, Prometheus' binary format ...
    Other(&'static str),
    Text,
}

impl Kind {
    fn of(content_type: &str) -> Kind {
        let others = [
            ("text/html", "an HTML page"),
            ("application/xhtml", "an HTML page"),
            ("application/json", "JSON"),
            (
                "application/vnd.google.protobuf",
                "Prometheus' binary format, and the text format was asked for",
            ),
        ];
        if content_type.starts_with("application/openmetrics-text") {
            return Kind::OpenMetrics;
        }
        let other = others.iter().find(|(start, _)| content_type.starts_with(start));
        other.map_or(Kind::Text, |(_, what)| Kind::Other(what))
    }
}

impl Page {
    /// A whole page in the text format.
    pub fn text(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), kind: Kind::Text, framed: true }
    }

    fn read(&self, detected: Option<&Detected>, gauges: &[Gauge]) -> Result<PageRead, ReadError> {
        let mut values = Vec::new();
        let mut unusable = None;
        let mut gauged: Vec<Vec<f64>> = vec![Vec::new(); gauges.len()];
        self.visit(|sample| {
            for (gauge, found) in gauges.iter().zip(&mut gauged) {
                // One more than allowed, to tell.
                if found.len() <= MOST_SERIES && is_of(gauge, sample) {
                    found.push(sample.value);
                }
            }
            // One more than allowed here too.
            if values.len() > SERIES_PER_POD {
                return;
            }
            let chosen =
                detected.and_then(|detected| detected.value(&sample.name, sample.labels, sample.value));
            let Some(value) = chosen else { return };
            if sample.value.is_finite() && sample.value >= 0.0 {
                values.push(value);
            } else if unusable.is_none() {
                unusable = Some((sample.name.to_string(), sample.value.to_string()));
            }
        })?;
        let gauges = gauged.into_iter().map(|found| match found.len() > MOST_SERIES {
            true => Err(ReadError::TooManySeries { limit: MOST_SERIES }),
            false => Ok(found),
        });
        let counted = match unusable {
            Some((name, value)) if values.is_empty() => Err(ReadError::NotACounter { name, value }),
            Some(_) | None => within_limits(values),
        };
        Ok(PageRead { counted, gauges: gauges.collect() })
    }

    fn visit(&self, visit: impl FnMut(&Sample<'_, '_>)) -> Result<(), ReadError> {
        let cut_off = |what: &str| Err(ReadError::NotMetrics(format!("it was cut off {what}")));
        if !self.framed && self.kind == Kind::Text && !self.bytes.ends_with(b"\n") && !self.bytes.is_empty() {
            return cut_off("within a line: what is left of its last value would look like a restart");
        }
        let read = exposition::read(&self.bytes, Limits::default(), visit).map_err(|error| match error {
            ExpositionError::TooLong { limit, .. } => ReadError::TooLarge { asked: Asked::Pod, limit },
            ExpositionError::TooManySamples { limit } => ReadError::TooManySeries { limit },
            ExpositionError::Nothing { .. } => ReadError::NotMetrics(match self.kind {
                Kind::Other(what) => format!("it is {what}"),
                Kind::OpenMetrics | Kind::Text => error.to_string(),
            }),
        })?;
        if self.kind == Kind::OpenMetrics && !read.eof {
            return cut_off("before # EOF");
        }
        Ok(())
    }
}

fn is_of(gauge: &Gauge, sample: &Sample<'_, '_>) -> bool {
    let has = |(name, value): (&String, &String)| {
        sample.labels.iter().any(|(label, found)| label == name && found == value)
    };
    sample.name == gauge.name && gauge.labels.iter().all(has)
}

async fn page(client: &Client, target: &Target, deadline: Duration) -> Result<Page, ReadError> {
    let answer = async {
        let request = client.get(address(target)?)?.header(ACCEPT, FORMATS);
        let response = client.send(request).await.map_err(|error| ReadError::unsent(Asked::Pod, &error))?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(ReadError::Status { asked: Asked::Pod, status: status.as_u16() });
        }
        let headers = response.headers();
        let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = Kind::of(content_type.trim_start());
        let framed = is_framed(response.version(), headers);
        let namespaces = [target.namespace.as_str()];
        let bytes = super::body(response, Limits::default().bytes, Asked::Pod, &namespaces).await?;
        Ok(Page { bytes, kind, framed })
    };
    let late = Err(ReadError::Timeout { asked: Asked::Pod, after: deadline });
    tokio::time::timeout(deadline, answer).await.unwrap_or(late)
}

/// Whether HTTP tells where the answer ends. Where only the end of the connection does, any part of a page looks whole.
fn is_framed(version: Version, headers: &HeaderMap) -> bool {
    let closes = version == Version::HTTP_10
        || headers.get(CONNECTION).is_some_and(|what| what.as_bytes().eq_ignore_ascii_case(b"close"));
    !closes || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::answer_room::AnswerRoom;
    use super::*;

    /// Pods of which the first is slow and all others answer at once, into a room for three pages of a namespace.
    struct Pods {
        room: AnswerRoom,
        answered: AtomicUsize,
    }

    impl Pages for &'static Pods {
        fn page<'a>(
            &'a self,
            target: &'a Target,
            deadline: Duration,
        ) -> BoxFuture<'a, Result<Page, ReadError>> {
            let pods = *self;
            async move {
                if target.pod == "slow" {
                    tokio::time::sleep(deadline).await;
                    return Err(ReadError::Timeout { asked: Asked::Pod, after: deadline });
                }
                let mut bytes = Held::default();
                bytes
                    .add(b"http_requests_total{code=\"200\"} 1\n", &pods.room, &[target.namespace.as_str()])
                    .await;
                pods.answered.fetch_add(1, Ordering::Relaxed);
                Ok(Page { bytes, kind: Kind::Text, framed: true })
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pages_do_not_stay_in_memory_behind_that_of_a_slow_pod() {
        let room = AnswerRoom::of([(100, 12), (101, 0), (102, 0), (103, 0)]);
        let pods: &'static Pods = Box::leak(Box::new(Pods { room, answered: AtomicUsize::new(0) }));
        let target = |pod: &str| Target {
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            ip: [10, 0, 0, 1].into(),
            port: 80,
            path: String::new(),
        };
        let targets: Vec<_> = ["slow", "a", "b", "c", "d", "e", "f", "g"].map(target).to_vec();
        let deadline = Duration::from_secs(4);
        let before_the_deadline = async |seen: usize| {
            tokio::time::sleep(deadline / 2).await;
            assert_eq!(pods.answered.swap(0, Ordering::Relaxed), seen, "pages were read");
        };
        let names = Names::default();
        let (detected, ()) =
            tokio::join!(detect(&pods, &targets, &names, deadline, 64), before_the_deadline(7));
        let detected = detected.expect("a counter");
        let taken = AtomicUsize::new(0);
        let mut take = |place: usize, page: Result<PageRead, ReadError>| {
            assert_eq!(page.is_err(), targets[place].pod == "slow");
            taken.fetch_add(1, Ordering::Relaxed);
        };
        let handed_on = async {
            before_the_deadline(7).await;
            assert_eq!(taken.load(Ordering::Relaxed), 7, "nor do their series");
        };
        tokio::join!(scrape(&pods, &targets, Some(&detected), &[], deadline, 64, &mut take), handed_on);
        assert_eq!(taken.into_inner(), 8);
    }
}
