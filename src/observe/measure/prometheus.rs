//! Reading through a Prometheus server, or one that speaks its query API.
//!
//! Raw samples and no PromQL functions: `increase` extrapolates and loses the first sample of a new pod, so a canary's
//! start-up errors would vanish. The newest sample of each series goes to the same ledger as the pods' own pages do.
//! Resets between two scrapes that fall between two rounds are not seen; read once a scrape interval.

mod answer;
mod clock;
mod query;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use super::names::{Detected, Family, Names};
use super::room::{self, Held};
use super::{Asked, ReadError, SERIES_PER_POD, SeriesValue};
use crate::observe::reach::Client;

use answer::explained;
pub use answer::{NewestSeries, WholeSeries, each_series};
pub(super) use clock::Clock;
pub use clock::shown_by;
pub use query::queries;
pub(in crate::observe) use query::{alternatives, matchers, quoted};

/// Bytes of one answer, and of one to a query for a few numbers.
pub const ANSWER_BYTES: usize = room::LARGEST;
pub(super) const NUMBERS_BYTES: usize = 2 << 20;
/// Bytes of one query; more pods than fit are asked for with another.
const QUERY_BYTES: usize = 8 << 10;
/// How often questions of one reading are divided because their answer is too large, or because one spoils it for all.
const DIVISIONS: usize = 32;
/// From how many pods names are detected.
const PODS_SURVEYED: usize = 16;
/// Seconds after a container's start (which is known to the second, by another machine's clock) in which samples may still be
/// of the process before.
const START_MARGIN: i64 = 2;
/// A container that was started more than so many seconds from now was not: whose clock is wrong, ours or its node's, nobody knows.
const IMPOSSIBLE: i64 = 60;

/// The pods' series, or why there are none, by the pods' names.
pub type Answers = Vec<(String, Result<Vec<SeriesValue>, ReadError>)>;

/// A server and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prometheus {
    /// Its base URL, with a path prefix if it has one, without `/api/v1`.
    pub url: String,
    /// Who asks.
    pub auth: Auth,
    /// Further headers, such as `X-Scope-OrgID`.
    pub headers: Vec<(String, String)>,
}

/// Credentials. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Hash)]
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

/// How an answer begins that says nothing of what went wrong.
const SUCCESS: &[u8] = br#"{"status":"success""#;

impl Auth {
    /// An answer without these credentials in it: what a server, or a proxy before it, says of a question that it refuses is told to people, and some
    /// repeat what they were sent.
    fn struck_out_of(&self, mut body: Held) -> Held {
        let secret = match self {
            Auth::Nobody => return body,
            Auth::Bearer(token) => token,
            Auth::Basic { user: _, password } => password,
        };
        if !body.starts_with(SUCCESS) {
            body.strike_out(secret.as_bytes());
        }
        body
    }
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

/// A round of reading: its moment, and how old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Round {
    /// In unix seconds.
    pub now: i64,
    /// How often Prometheus scrapes. A pod whose newest sample is older than two of these, or 60 s if that is more, counts as
    /// not read.
    pub scrape_interval: Duration,
    /// For each query.
    pub deadline: Duration,
}

impl Round {
    /// In seconds.
    fn stale_after(&self) -> i64 {
        stale_after(self.scrape_interval)
    }
}

/// Seconds after which a pod's newest sample is too old: two scrapes, a minute at least.
pub fn stale_after(scrape_interval: Duration) -> i64 {
    i64::try_from(scrape_interval.as_secs().saturating_mul(2)).unwrap_or(i64::MAX / 4).clamp(60, 86_400)
}

/// Who asks, and for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Asker {
    /// The pods' namespace.
    pub namespace: String,
    /// The pods.
    pub pods: Vec<Pod>,
    /// Which of their series.
    pub detected: Detected,
}

impl Prometheus {
    /// Reads the chosen series of every pod of all askers, who must want the same families: one query for each family, more
    /// only where the pods' names do not fit into one. The answers are in the order of the askers and of their pods. An error
    /// of a query is the answer of all pods it asked for; an answer that is too large, and one that is an error for several
    /// askers, is asked for again in parts, so that nobody's pods spoil it for others.
    ///
    /// Unlike on a pod's own page, no sample at all is [`ReadError::NoSamples`]: Prometheus may just not scrape that pod.
    pub async fn read(&self, client: &Client, round: Round, askers: &[Asker]) -> Vec<Answers> {
        let families = askers.first().map(|asker| asker.detected.families()).unwrap_or_default();
        debug_assert!(askers.iter().all(|asker| asker.detected.families() == families));
        let longest =
            families.iter().map(|family| family.name.len() + family.matcher.len()).max().unwrap_or(0);
        let wanted: Vec<Wanted<'_>> = askers
            .iter()
            .enumerate()
            .flat_map(|(place, asker)| asker.pods.iter().map(move |pod| Wanted { place, asker, pod }))
            .collect();
        let mut open: VecDeque<Range<usize>> =
            batches(&wanted, QUERY_BYTES.saturating_sub(longest + 200)).into();
        let mut answers: Vec<Option<Result<Vec<SeriesValue>, ReadError>>> = vec![None; wanted.len()];
        let mut divisions = DIVISIONS;
        let mut clock = Clock::present(round.now);
        while let Some(batch) = open.pop_front() {
            let asked = &wanted[batch.clone()];
            let error = match self.read_batch(client, round, &mut clock, &families, asked).await {
                Ok(found) => {
                    for (at, (found, wanted)) in batch.zip(found.into_iter().zip(asked)) {
                        answers[at] = Some(found.finish(&round, wanted.pod, clock.ahead));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let parts = parts(&error, &wanted, &batch);
            if parts.len() > 1 && divisions > 0 {
                divisions -= 1;
                parts.into_iter().rev().for_each(|part| open.push_front(part));
                continue;
            }
            // Whoever does not answer one does not answer the next either, and the round has only so much time.
            let all = matches!(
                error,
                ReadError::Refused { .. }
                    | ReadError::Denied(_)
                    | ReadError::Timeout { .. }
                    | ReadError::Status { .. }
            );
            let rest = if all { open.drain(..).collect() } else { Vec::new() };
            for at in std::iter::once(batch).chain(rest).flatten() {
                answers[at] = Some(Err(error.clone()));
            }
        }
        let mut told: Vec<Answers> = vec![Vec::new(); askers.len()];
        for (wanted, answer) in wanted.iter().zip(answers) {
            told[wanted.place].push((wanted.pod.name.clone(), answer.unwrap_or(Err(ReadError::NoSamples))));
        }
        told
    }

    async fn read_batch(
        &self,
        client: &Client,
        round: Round,
        clock: &mut Clock,
        families: &[Family],
        asked: &[Wanted<'_>],
    ) -> Result<Vec<FoundPod>, ReadError> {
        let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (place, wanted) in asked.iter().enumerate() {
            places.entry((&wanted.asker.namespace, &wanted.pod.name)).or_default().push(place);
        }
        let mut found: Vec<FoundPod> = asked.iter().map(|_| FoundPod::default()).collect();
        let matchers = pods_of(asked);
        // A window longer than what counts as fresh, so that "too old" can be told from "not there".
        let window = round.stale_after() * 2;
        for Family { name, matcher } in families {
            let comma = if matcher.is_empty() { "" } else { "," };
            let query = format!("{name}{{{matchers}{comma}{matcher}}}[{window}s]");
            let answer = self.query(client, &query, clock, round.deadline, ANSWER_BYTES).await?;
            each_series(&answer, |series: NewestSeries<'_>| {
                let Some(pod) = series.metric.get("pod") else { return Ok(()) };
                // Several namespaces' pods match in every combination; whose they are, their labels tell.
                let namespace = series.metric.get("namespace").map_or("", AsRef::as_ref);
                let Some(places) = places.get(&(namespace, pod.as_ref())) else { return Ok(()) };
                let labels = series.counting_labels();
                for place in places {
                    let detected = &asked[*place].asker.detected;
                    if let Some((at, histogram)) = &series.histograms.0 {
                        let Some(histogram) = histogram.read() else { continue };
                        for value in detected.native_values(name, &labels, &histogram) {
                            found[*place].add(*at, value);
                        }
                    } else if let Some((at, value)) = series.values.0
                        && let Ok(value) = value.parse::<f64>()
                        && let Some(value) = detected.value(name, &labels, value)
                    {
                        found[*place].add(at, value);
                    }
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Finds out which series to read, with one query about the first 16 pods. Give it stable pods that have seen requests.
    ///
    /// # Errors
    /// When the query fails or nothing fits (see [`Names::choose`]); then another query asks what counters there are, for the
    /// message.
    pub async fn detect(
        &self,
        client: &Client,
        round: Round,
        namespace: &str,
        pods: &[Pod],
        names: &Names,
    ) -> Result<Detected, ReadError> {
        let pods = &pods[..pods.len().min(PODS_SURVEYED)];
        let pods = alternatives(pods.iter().map(|pod| pod.name.as_str()));
        let mut clock = Clock::present(round.now);
        self.detect_among(client, &mut clock, round.deadline, &matchers(namespace, &pods), names).await
    }

    /// The same for the pods of these matchers.
    pub(super) async fn detect_among(
        &self,
        client: &Client,
        clock: &mut Clock,
        deadline: Duration,
        matchers: &str,
        names: &Names,
    ) -> Result<Detected, ReadError> {
        let mut pattern = alternatives(names.query_names().iter().map(String::as_str));
        let endings = names.endings();
        if !endings.is_empty() {
            pattern.push_str(&format!("|.+({})", alternatives(endings.iter().map(String::as_str))));
        }
        // Of a histogram, one bucket is enough to know that it is there.
        let query = format!(r#"{{__name__=~{},le=~"|[+]Inf",{matchers}}}"#, quoted(&pattern));
        let answer = self.query(client, &query, clock, deadline, ANSWER_BYTES).await?;
        let mut survey = names.survey();
        each_series(&answer, |series: NewestSeries<'_>| {
            let Some(name) = series.metric.get("__name__") else { return Ok(()) };
            match series.histogram {
                Some(_) => survey.see_native(name, &series.counting_labels()),
                None => survey.see(name, &series.counting_labels()),
            }
            Ok(())
        })?;
        drop(answer);
        let chosen = names.choose(&survey);
        if !matches!(chosen, Err(ReadError::NoCounter { .. } | ReadError::NoSuchCounter { .. })) {
            return chosen;
        }
        let query = format!(r#"group by (__name__) ({{__name__=~".+_(total|count)",{matchers}}})"#);
        let Ok(answer) = self.query(client, &query, clock, deadline, ANSWER_BYTES).await else {
            return chosen;
        };
        // What cannot be read of it adds nothing to the message.
        let _read = each_series(&answer, |series: NewestSeries<'_>| {
            if let Some(name) = series.metric.get("__name__") {
                survey.see_other(name);
            }
            Ok(())
        });
        names.choose(&survey)
    }

    /// The body of a successful or an explained answer to an instant query.
    pub(super) async fn query(
        &self,
        client: &Client,
        query: &str,
        clock: &mut Clock,
        deadline: Duration,
        most_bytes: usize,
    ) -> Result<Held, ReadError> {
        let time = clock.asked_about();
        let (body, answered) = self.query_at(client, query, time, deadline, most_bytes).await?;
        if !clock.compare(answered, deadline) {
            return Ok(body);
        }
        // Two at once would be one that waits for room and holds some.
        drop(body);
        let time = clock.asked_about();
        Ok(self.query_at(client, query, time, deadline, most_bytes).await?.0)
    }

    /// The same at a moment of the server's clock, with what that clock showed.
    async fn query_at(
        &self,
        client: &Client,
        query: &str,
        time: i64,
        deadline: Duration,
        most_bytes: usize,
    ) -> Result<(Held, Option<Timestamp>), ReadError> {
        let url = format!("{}/api/v1/query", self.url.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|error| ReadError::Address(error.to_string()))?;
        let timeout = format!("{}ms", deadline.as_millis().max(1));
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
                true => ReadError::Address(super::innermost(&error)),
                false => ReadError::unsent(asked, &error),
            })?;
            let status = response.status();
            let answered = shown_by(response.headers());
            let body = self.auth.struck_out_of(super::body(response, most_bytes, asked).await?);
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

/// One pod of one asker.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// The asker's place.
    place: usize,
    asker: &'a Asker,
    pod: &'a Pod,
}

/// How to ask again after this error: in halves what was too large, asker by asker what may be only one's fault.
fn parts(error: &ReadError, wanted: &[Wanted<'_>], batch: &Range<usize>) -> Vec<Range<usize>> {
    match error {
        ReadError::TooLarge { .. } if batch.len() > 1 => {
            let middle = batch.start + batch.len() / 2;
            vec![batch.start..middle, middle..batch.end]
        }
        ReadError::Api(_) => {
            let mut parts: Vec<Range<usize>> = Vec::new();
            for at in batch.clone() {
                match parts.last_mut() {
                    Some(part) if wanted[part.start].place == wanted[at].place => part.end = at + 1,
                    Some(_) | None => parts.push(at..at + 1),
                }
            }
            parts
        }
        _ => Vec::new(),
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

    /// `ahead`: how many seconds the server's clock, which stamped the samples, is ahead of ours.
    fn finish(self, round: &Round, pod: &Pod, ahead: i64) -> Result<Vec<SeriesValue>, ReadError> {
        let mut values = Vec::with_capacity(self.series.len());
        let (mut newest, mut unusable) = (None, None::<f64>);
        let started_at = pod.started_at.filter(|start| *start <= round.now.saturating_add(IMPOSSIBLE));
        for (at, value) in self.series.into_values() {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is a moment in seconds")]
            let at = (at.floor() as i64).saturating_sub(ahead);
            if started_at.is_none_or(|start| at >= start.saturating_add(START_MARGIN)) {
                newest = newest.max(Some(at));
                if value.value.is_finite() && value.value >= 0.0 {
                    values.push(value);
                } else {
                    // The same one each time: what is said of it stands in status.
                    unusable = Some(unusable.map_or(value.value, |known| known.min(value.value)));
                }
            }
        }
        let age_seconds = round.now.saturating_sub(newest.ok_or(ReadError::NoSamples)?);
        if age_seconds > round.stale_after() {
            return Err(ReadError::Stale { age_seconds });
        }
        if let Some(value) = unusable.filter(|_| values.is_empty()) {
            return Err(ReadError::NotACounter { name: "the counter".to_owned(), value: value.to_string() });
        }
        if values.len() > SERIES_PER_POD {
            return Err(ReadError::TooManySeries { limit: SERIES_PER_POD });
        }
        values.sort_by_key(|value| value.series);
        Ok(values)
    }
}

/// The pods, in groups whose patterns have at most `most` bytes (a single pod always fits: names have at most 253).
fn batches(wanted: &[Wanted<'_>], most: usize) -> Vec<Range<usize>> {
    // Each escape costs two bytes more once the pattern is quoted.
    let cost = |text: &str| {
        text.len() + 2 * text.matches(|letter: char| !letter.is_ascii_alphanumeric()).count() + 1
    };
    let mut batches: Vec<Range<usize>> = Vec::new();
    let (mut length, mut namespace) = (0, None);
    for (at, Wanted { asker, pod, .. }) in wanted.iter().enumerate() {
        let new_namespace = if namespace == Some(&asker.namespace) { 0 } else { cost(&asker.namespace) };
        namespace = Some(&asker.namespace);
        length += cost(&pod.name) + new_namespace;
        match batches.last_mut() {
            Some(batch) if length <= most => batch.end = at + 1,
            Some(_) | None => {
                batches.push(at..at + 1);
                length = cost(&pod.name) + cost(&asker.namespace);
            }
        }
    }
    batches
}

/// Matchers of these pods.
fn pods_of(asked: &[Wanted<'_>]) -> String {
    let mut namespaces: Vec<&str> = asked.iter().map(|wanted| wanted.asker.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let pods = quoted(&alternatives(asked.iter().map(|wanted| wanted.pod.name.as_str())));
    match namespaces.as_slice() {
        [namespace] => format!("namespace={},pod=~{pods}", quoted(namespace)),
        several => format!("namespace=~{},pod=~{pods}", quoted(&alternatives(several.iter().copied()))),
    }
}
