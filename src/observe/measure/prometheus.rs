//! Reading through a Prometheus server, or one that speaks its query API.
//!
//! Raw samples and no PromQL functions: `increase` extrapolates and loses the first sample of a new pod, so a canary's
//! start-up errors would vanish. The newest sample of each series goes to the same ledger as the pods' own pages do.
//! Resets between two scrapes that fall between two rounds are not seen; read once a scrape interval.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;

use super::exposition::Label;
use super::names::{Detected, Names};
use super::{ReadError, SERIES_PER_POD, SeriesValue};

/// Bytes of one answer.
const ANSWER_BYTES: usize = 16 << 20;
/// Bytes of one query; more pods than fit are asked for with another.
const QUERY_BYTES: usize = 8 << 10;
/// From how many pods names are detected.
const PODS_SURVEYED: usize = 16;
/// Seconds after a container's start (which is known to the second, by another machine's clock) in which samples may still be
/// of the process before.
const START_MARGIN: i64 = 2;
/// Labels that tell where a sample was collected, not what it counts: with two of a kind, one pod would count twice.
const COLLECTION_LABELS: [&str; 7] =
    ["job", "service", "endpoint", "prometheus", "prometheus_replica", "replica", "__replica__"];

/// A server and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    /// Its base URL, with a path prefix if it has one, without `/api/v1`.
    pub url: String,
    /// Who asks.
    pub auth: Auth,
    /// Further headers, such as `X-Scope-OrgID`.
    pub headers: Vec<(String, String)>,
}

/// Credentials. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// None.
    Nobody,
    /// A bearer token.
    Bearer(String),
    /// A user with a password.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Nobody => "Nobody",
            Auth::Bearer(_) => "Bearer(..)",
            Auth::Basic { .. } => "Basic(..)",
        })
    }
}

/// A pod that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// When its container was last started, in unix seconds. Prometheus still knows what the process before had counted;
    /// such samples are left out, or the ledger would count them from 0 once more.
    pub started_at: Option<i64>,
}

/// What is asked for, and how old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question<'a> {
    /// The pods' namespace.
    pub namespace: &'a str,
    /// The pods.
    pub pods: &'a [Pod],
    /// The round's moment, in unix seconds.
    pub now: i64,
    /// How often Prometheus scrapes. A pod whose newest sample is older than two of these, or 60 s if that is more, counts as
    /// not read.
    pub scrape_interval: Duration,
    /// For each query.
    pub deadline: Duration,
}

impl Question<'_> {
    /// In seconds.
    fn stale_after(&self) -> i64 {
        i64::try_from(self.scrape_interval.as_secs().saturating_mul(2))
            .unwrap_or(i64::MAX / 4)
            .clamp(60, 86_400)
    }
}

impl Prometheus {
    /// Reads the chosen series of every pod: one query for each family, more only where the pods' names do not fit into one.
    /// The answers are in the order of the pods. An error of a query is the answer of all pods it asked for.
    ///
    /// Unlike on a pod's own page, no sample at all is [`ReadError::NoSamples`]: Prometheus may just not scrape that pod.
    pub async fn read(
        &self,
        client: &reqwest::Client,
        question: &Question<'_>,
        detected: &Detected,
    ) -> Vec<(String, Result<Vec<SeriesValue>, ReadError>)> {
        let families = detected.families();
        let longest = families.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut answers = Vec::with_capacity(question.pods.len());
        for (pods, pattern) in
            batches(question.pods, QUERY_BYTES.saturating_sub(longest + question.namespace.len() + 200))
        {
            match self.read_batch(client, question, detected, &families, &pattern).await {
                Ok(mut found) => {
                    for pod in pods {
                        let answer = found
                            .remove(&pod.name)
                            .map_or(Err(ReadError::NoSamples), |found| found.finish(question, pod));
                        answers.push((pod.name.clone(), answer));
                    }
                }
                Err(error) => answers.extend(pods.iter().map(|pod| (pod.name.clone(), Err(error.clone())))),
            }
        }
        answers
    }

    async fn read_batch(
        &self,
        client: &reqwest::Client,
        question: &Question<'_>,
        detected: &Detected,
        families: &[(&str, Option<(&str, &str)>)],
        pattern: &str,
    ) -> Result<BTreeMap<String, FoundPod>, ReadError> {
        let mut found: BTreeMap<String, FoundPod> = BTreeMap::new();
        // A window longer than what counts as fresh, so that "too old" can be told from "not there".
        let window = question.stale_after() * 2;
        for (name, only) in families {
            let only = only.map_or(String::new(), |(label, value)| format!(",{label}={}", quoted(value)));
            let namespace = quoted(question.namespace);
            let query = format!("{name}{{namespace={namespace},pod=~{}{only}}}[{window}s]", quoted(pattern));
            let answer = self.query(client, &query, question).await?;
            for series in parsed(&answer)? {
                let Some((at, value)) = series.newest() else { continue };
                let labels = series.counting_labels();
                let Some(value) = detected.value(name, &labels, value) else { continue };
                let Some(pod) = series.metric.get("pod") else { continue };
                found.entry(pod.clone().into_owned()).or_default().add(at, value);
            }
        }
        Ok(found)
    }

    /// Finds out which series to read, with one query about the first 16 pods. Give it stable pods that have seen requests.
    ///
    /// # Errors
    /// When the query fails or nothing fits (see [`Names::choose`]).
    pub async fn detect(
        &self,
        client: &reqwest::Client,
        question: &Question<'_>,
        names: &Names,
    ) -> Result<Detected, ReadError> {
        let pods = &question.pods[..question.pods.len().min(PODS_SURVEYED)];
        let pattern = alternatives(pods.iter().map(|pod| pod.name.as_str()));
        let candidates = names.candidates();
        let candidates = alternatives(candidates.iter().map(String::as_str));
        // Of a histogram, one bucket is enough to know that it is there.
        let query = format!(
            r#"{{__name__=~{},le=~"|[+]Inf",namespace={},pod=~{}}}"#,
            quoted(&candidates),
            quoted(question.namespace),
            quoted(&pattern)
        );
        let answer = self.query(client, &query, question).await?;
        let mut survey = names.survey();
        for series in parsed(&answer)? {
            if let Some(name) = series.metric.get("__name__") {
                survey.see(name, &series.counting_labels());
            }
        }
        names.choose(&survey)
    }

    /// The body of a successful or an explained answer to an instant query.
    async fn query(
        &self,
        client: &reqwest::Client,
        query: &str,
        question: &Question<'_>,
    ) -> Result<Vec<u8>, ReadError> {
        let url = format!("{}/api/v1/query", self.url.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|error| ReadError::Address(error.to_string()))?;
        let time = question.now.to_string();
        let timeout = format!("{}ms", question.deadline.as_millis().max(1));
        let mut request = client.post(url).form(&[("query", query), ("time", &time), ("timeout", &timeout)]);
        request = match &self.auth {
            Auth::Nobody => request,
            Auth::Bearer(token) => request.bearer_auth(token),
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
        };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = async {
            let response =
                request.send().await.map_err(|error| ReadError::Refused(super::innermost(&error)))?;
            let status = response.status();
            let body = super::body(response, ANSWER_BYTES).await?;
            // Prometheus explains 400, 422 and 503 in JSON; a proxy in front of it does not.
            match status {
                reqwest::StatusCode::OK => Ok(body),
                _ => Err(explained(&body).unwrap_or(ReadError::Status(status.as_u16()))),
            }
        };
        tokio::time::timeout(question.deadline, answer)
            .await
            .unwrap_or(Err(ReadError::Timeout(question.deadline)))
    }
}

/// One pod's series, each with its newest sample.
#[derive(Default)]
struct FoundPod {
    series: HashMap<u64, (f64, SeriesValue)>,
}

impl FoundPod {
    /// Of the same series collected twice, the newer sample stays.
    fn add(&mut self, at: f64, value: SeriesValue) {
        let kept = self.series.entry(value.series).or_insert((at, value));
        if at > kept.0 {
            *kept = (at, value);
        }
    }

    fn finish(self, question: &Question<'_>, pod: &Pod) -> Result<Vec<SeriesValue>, ReadError> {
        let mut values = Vec::with_capacity(self.series.len());
        let mut newest = None;
        for (at, value) in self.series.into_values() {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is a moment in seconds")]
            let at = at.floor() as i64;
            if pod.started_at.is_none_or(|start| at >= start.saturating_add(START_MARGIN)) {
                newest = newest.max(Some(at));
                values.push(value);
            }
        }
        let age_seconds = question.now.saturating_sub(newest.ok_or(ReadError::NoSamples)?);
        if age_seconds > question.stale_after() {
            return Err(ReadError::Stale { age_seconds });
        }
        if values.len() > SERIES_PER_POD {
            return Err(ReadError::TooManySeries { limit: SERIES_PER_POD });
        }
        values.sort_by_key(|value| value.series);
        Ok(values)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(default)]
    error: Option<String>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Of a range.
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Series<'_> {
    fn newest(&self) -> Option<(f64, f64)> {
        let (at, value) = self.values.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
        Some((*at, value.parse().ok()?))
    }

    fn counting_labels(&self) -> Vec<Label<'_>> {
        let counts = |label: &str| label != "__name__" && !COLLECTION_LABELS.contains(&label);
        let borrowed = self.metric.iter().filter(|(label, _)| counts(label));
        borrowed
            .map(|(label, value)| (Cow::Borrowed(label.as_ref()), Cow::Borrowed(value.as_ref())))
            .collect()
    }
}

fn parsed(body: &[u8]) -> Result<Vec<Series<'_>>, ReadError> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| {
        ReadError::Api(format!("cannot read the answer: {}", super::shortened(&error.to_string(), 200)))
    })?;
    match (answer.status.as_ref(), answer.data) {
        ("success", Some(data)) => Ok(data.result),
        (status, _) => Err(ReadError::Api(super::shortened(answer.error.as_deref().unwrap_or(status), 300))),
    }
}

fn explained(body: &[u8]) -> Option<ReadError> {
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    answer.error.map(|error| ReadError::Api(super::shortened(&error, 300)))
}

/// The pods, in groups whose pattern has at most `most` bytes (a single pod always fits: names have at most 253).
fn batches(pods: &[Pod], most: usize) -> Vec<(&[Pod], String)> {
    let mut batches = Vec::new();
    let mut rest = pods;
    while !rest.is_empty() {
        let mut length = 0;
        let fit = rest.iter().take_while(|pod| {
            // Each escape costs two bytes more once the pattern is quoted.
            let escapes = pod.name.matches(|letter: char| !letter.is_ascii_alphanumeric()).count();
            length += pod.name.len() + 2 * escapes + 1;
            length <= most
        });
        let (batch, left) = rest.split_at(fit.count().max(1));
        batches.push((batch, alternatives(batch.iter().map(|pod| pod.name.as_str()))));
        rest = left;
    }
    batches
}

/// A pattern that matches these texts and no others (PromQL anchors patterns itself).
fn alternatives<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut pattern = String::new();
    for (place, text) in texts.enumerate() {
        if place > 0 {
            pattern.push('|');
        }
        for letter in text.chars() {
            if r"\.+*?()|[]{}^$".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
    }
    pattern
}

/// A PromQL string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
