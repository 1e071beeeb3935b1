//! Reading through a Prometheus server, or one that speaks its query API.
//!
//! Raw samples and no PromQL functions: `increase` extrapolates and loses the first sample of a new pod, so a canary's
//! start-up errors would vanish. The newest sample of each series goes to the same ledger as the pods' own pages do.
//! Resets between two scrapes that fall between two rounds are not seen; read once a scrape interval.

mod answer;
mod asking;
mod clock;
mod found;
mod query;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::answer_room;
use super::kept::Passage;
use super::names::{Detected, Family, Names, PODS_SURVEYED};
use super::{Asked, ReadError, SeriesValue};
use crate::observe::reach::Client;

pub use answer::{NewestSeries, WholeSeries, each_series};
pub use asking::Asking;
pub(super) use clock::Clock;
pub use clock::shown_by;
use found::FoundPod;
pub use query::queries;
pub(in crate::observe) use query::{alternatives, matchers, quoted};

/// Bytes of one answer, and of one to a query for a few numbers.
pub const ANSWER_BYTES: usize = answer_room::LARGEST;
pub(super) const NUMBERS_BYTES: usize = 2 << 20;
/// Bytes of one query; more pods than fit are asked for with another.
const QUERY_BYTES: usize = 8 << 10;
/// How often the questions about one asker's pods are divided because their answer is too large.
const DIVISIONS: usize = 32;
/// Questions of one reading at the same time, once one has been divided because somebody spoils it for others: who is slow does not keep the others
/// waiting then. (Before that it is one at a time: together they would be no faster, and answers need room.)
const APART_AT_ONCE: usize = 4;
/// No deadline is halved to less.
const SHORTEST: Duration = Duration::from_secs(1);

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
    /// How long a reading in which something went wrong may still take: it is done before the next scrape, but where scrapes are so frequent that
    /// there would be no time for another question; and where they are rare, whoever else wants to ask the server does not wait for so long.
    fn left(&self) -> Duration {
        let before_the_next = self.scrape_interval.mul_f64(0.8).saturating_sub(self.deadline);
        before_the_next.clamp(self.deadline, self.deadline * 3)
    }

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
#[derive(Debug, Clone)]
pub struct Asker {
    /// The pods' namespace.
    pub namespace: String,
    /// The pods.
    pub pods: Vec<Pod>,
    /// Which of their series.
    pub detected: Detected,
    /// Where these have their room. Whoever takes the answers holds a copy until they are in a ledger.
    pub passage: Passage,
}

impl Prometheus {
    /// Reads the chosen series of every pod of all askers, who must want the same families: one query for each family, more
    /// only where the pods' names do not fit into one. The answers are in the order of the askers and of their pods.
    ///
    /// Nobody's pods spoil it for others. What is wrong with a series is its pod's trouble. What goes wrong with a question about the pods of several
    /// askers, other than that nobody can be asked at all, is asked again in parts: see `Question::parts`. From the first trouble on there is only so much time
    /// (see `Round::left`). The namespace that has asked least is always next, so that who needs many questions waits for them behind those who need one.
    ///
    /// Unlike on a pod's own page, no sample at all is [`ReadError::NoSamples`]: Prometheus may just not scrape that pod.
    pub async fn read(&self, client: &Client, round: Round, askers: &[Asker]) -> Vec<Answers> {
        let families = askers.first().map(|asker| asker.detected.families()).unwrap_or_default();
        debug_assert!(askers.iter().all(|asker| asker.detected.families() == families));
        let longest =
            families.iter().map(|family| family.name.len() + family.matcher.len()).max().unwrap_or(0);
        let wanted = wanted_by(askers);
        let (wanted, families) = (wanted.as_slice(), families.as_slice());
        let mut answers: Vec<Option<Result<Vec<SeriesValue>, ReadError>>> = vec![None; wanted.len()];
        let mut open = Open::of(wanted, batches(wanted, QUERY_BYTES.saturating_sub(longest + 200)), round);
        let mut divisions = vec![DIVISIONS; askers.len()];
        let mut known_clock = Clock::present(round.now);
        let mut at_once = 1;
        let mut asked = FuturesUnordered::new();
        let (mut is_limited, left) = (false, round.left());
        let mut over = std::pin::pin!(tokio::time::sleep(left));
        loop {
            while asked.len() < at_once
                && let Some(question) = open.next(wanted)
            {
                let mut clock = known_clock;
                asked.push(async move {
                    let round = Round { deadline: question.deadline, ..round };
                    let about = &wanted[question.pods.clone()];
                    let read = self.read_batch(client, round, &mut clock, families, about).await;
                    (question, read, clock)
                });
            }
            let (question, read, clock) = tokio::select! {
                biased;
                next = asked.next() => match next {
                    Some(answered) => answered,
                    None => break,
                },
                () = over.as_mut(), if is_limited => break,
            };
            known_clock = clock;
            let error = match read {
                Ok(found) => {
                    let about = &wanted[question.pods.clone()];
                    for (at, (found, wanted)) in question.pods.zip(found.into_iter().zip(about)) {
                        answers[at] = Some(found.finish(&round, wanted, clock.ahead));
                    }
                    continue;
                }
                Err(error) => error,
            };
            if !is_limited {
                is_limited = true;
                known_clock.asks_later_by(round.deadline + left);
                over.set(tokio::time::sleep(left));
            }
            let parts = question.parts(&error, wanted, &mut divisions);
            if !parts.is_empty() {
                if !matches!(error, ReadError::TooLarge { .. }) {
                    at_once = APART_AT_ONCE;
                }
                open.add(parts);
                continue;
            }
            // Whoever does not answer one does not answer the next either, and the round has only so much time.
            let rest = match &error {
                error if is_of_the_way(error) => open.take(|_| true),
                ReadError::Timeout { .. } | ReadError::Status { .. } => {
                    let place = wanted[question.pods.start].place;
                    open.take(|pods| wanted[pods].iter().all(|wanted| wanted.place == place))
                }
                _ => Vec::new(),
            };
            for at in std::iter::once(question.pods).chain(rest).flatten() {
                answers[at] = Some(Err(error.clone()));
            }
        }
        let late = ReadError::Timeout { asked: Asked::Prometheus, after: left };
        let mut told: Vec<Answers> = vec![Vec::new(); askers.len()];
        for (wanted, answer) in wanted.iter().zip(answers) {
            let answer = answer.unwrap_or_else(|| Err(late.clone()));
            told[wanted.place].push((wanted.pod.name.clone(), answer));
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
        let mut found: Vec<FoundPod> = asked.iter().map(|wanted| FoundPod::of(wanted.asker)).collect();
        let namespaces = namespaces_of(asked);
        let asking = Asking::of(client, &namespaces);
        let matchers = pods_of(&namespaces, asked);
        // A window longer than what counts as fresh, so that "too old" can be told from "not there".
        let window = round.stale_after() * 2;
        for Family { name, matcher } in families {
            let comma = if matcher.is_empty() { "" } else { "," };
            let query = format!("{name}{{{matchers}{comma}{matcher}}}[{window}s]");
            let answer = self.query(asking, &query, clock, round.deadline, ANSWER_BYTES).await?;
            each_series(&answer, |series: NewestSeries<'_>| {
                let Some(pod) = series.metric.get("pod") else { return Ok(()) };
                // Several namespaces' pods match in every combination; whose they are, their labels tell.
                let namespace = series.metric.get("namespace").map_or("", AsRef::as_ref);
                let Some(places) = places.get(&(namespace, pod.as_ref())) else { return Ok(()) };
                if let Err(fault) = series.metric.all() {
                    for place in places {
                        found[*place].fail(fault.clone());
                    }
                    return Ok(());
                }
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
        let namespaces = [namespace];
        let asking = Asking::of(client, &namespaces);
        self.detect_among(asking, &mut clock, round.deadline, &matchers(namespace, &pods), names).await
    }

    /// The same for the pods of these matchers.
    pub(super) async fn detect_among(
        &self,
        asking: Asking<'_>,
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
        let answer = self.query(asking, &query, clock, deadline, ANSWER_BYTES).await?;
        let mut survey = names.survey();
        let mut fault = None;
        each_series(&answer, |series: NewestSeries<'_>| {
            let Some(name) = series.metric.get("__name__") else { return Ok(()) };
            if let Err(error) = series.metric.all() {
                fault = Some(error);
                return Ok(());
            }
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
        // The counter may be there, on series that are not read.
        if let Some(fault) = fault {
            return Err(fault);
        }
        let query = format!(r#"group by (__name__) ({{__name__=~".+_(total|count)",{matchers}}})"#);
        let Ok(answer) = self.query(asking, &query, clock, deadline, ANSWER_BYTES).await else {
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
}

/// One pod of one asker.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// The asker's place.
    place: usize,
    /// The place of its namespace.
    namespace: usize,
    asker: &'a Asker,
    pod: &'a Pod,
}

/// What all of them want; those of a namespace stand together, and among them those of an asker.
fn wanted_by(askers: &[Asker]) -> Vec<Wanted<'_>> {
    let mut ordered: Vec<(usize, &Asker)> = askers.iter().enumerate().collect();
    ordered.sort_by(|(_, one), (_, other)| one.namespace.cmp(&other.namespace));
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for (place, asker) in ordered {
        let namespace = match wanted.last() {
            Some(last) if last.asker.namespace == asker.namespace => last.namespace,
            Some(last) => last.namespace + 1,
            None => 0,
        };
        wanted.extend(asker.pods.iter().map(|pod| Wanted { place, namespace, asker, pod }));
    }
    wanted
}

/// Pods that are asked about together.
struct Question {
    pods: Range<usize>,
    deadline: Duration,
}

impl Question {
    /// How to ask again after this error. What was too large: in halves, which costs nobody anything where they are of several askers. Anything else
    /// that may be the fault of one: namespace by namespace, and those of one namespace asker by asker, with the time halved where not all of them are
    /// asked at once. None where it makes no sense.
    fn parts(&self, error: &ReadError, wanted: &[Wanted<'_>], divisions: &mut [usize]) -> Vec<Question> {
        let Range { start, end } = self.pods;
        let of_several = |by: fn(&Wanted<'_>) -> usize| by(&wanted[start]) != by(&wanted[end - 1]);
        let part = |pods| Question { pods, deadline: self.deadline };
        if matches!(error, ReadError::TooLarge { .. }) {
            let middle = start + (end - start) / 2;
            if of_several(|wanted| wanted.place) {
                let is_border = |at: &usize| wanted[*at - 1].place != wanted[*at].place;
                let nearest = (start + 1..end).filter(is_border).min_by_key(|at| at.abs_diff(middle));
                let middle = nearest.unwrap_or(middle);
                return vec![part(start..middle), part(middle..end)];
            }
            let left = &mut divisions[wanted[start].place];
            if middle == start || *left == 0 {
                return Vec::new();
            }
            *left -= 1;
            return vec![part(start..middle), part(middle..end)];
        }
        if is_of_the_way(error) || !of_several(|wanted| wanted.place) {
            return Vec::new();
        }
        let by: fn(&Wanted<'_>) -> usize = match of_several(|wanted| wanted.namespace) {
            true => |wanted: &Wanted<'_>| wanted.namespace,
            false => |wanted: &Wanted<'_>| wanted.place,
        };
        let mut parts = Vec::new();
        let mut at = start;
        for same in wanted[start..end].chunk_by(|one, next| by(one) == by(next)) {
            parts.push(part(at..at + same.len()));
            at += same.len();
        }
        if parts.len() > APART_AT_ONCE {
            let deadline = (self.deadline / 2).max(self.deadline.min(SHORTEST));
            parts.iter_mut().for_each(|part| part.deadline = deadline);
        }
        parts
    }
}

/// Whether it is about asking at all, and not about what was asked: every other question would have the same answer.
fn is_of_the_way(error: &ReadError) -> bool {
    match error {
        ReadError::Client(_)
        | ReadError::Address(_)
        | ReadError::Credentials { .. }
        | ReadError::Denied(_)
        | ReadError::Refused { .. } => true,
        // Of a proxy, perhaps: 413 and 414 are about the question, and so may be 400, 422 and what takes it too long.
        ReadError::Status { asked: _, status } => !matches!(*status, 400 | 413 | 414 | 422 | 500..),
        ReadError::Broken { .. }
        | ReadError::Timeout { .. }
        | ReadError::TooLarge { .. }
        | ReadError::NotMetrics(_)
        | ReadError::TooManySeries { .. }
        | ReadError::TooManyBounds { .. }
        | ReadError::TooManyBoundsTogether { .. }
        | ReadError::NoRoom
        | ReadError::TooManyLabels { .. }
        | ReadError::TooManySamples { .. }
        | ReadError::NotACounter { .. }
        | ReadError::NoCounter { .. }
        | ReadError::SeveralCounters { .. }
        | ReadError::NoSuchCounter { .. }
        | ReadError::NoStatusLabel { .. }
        | ReadError::NoSuchLabel { .. }
        | ReadError::NoSamples
        | ReadError::Stale { .. }
        | ReadError::Api(_)
        | ReadError::NotPrometheus(_) => false,
    }
}

/// Questions that are still to be asked.
struct Open {
    /// In the order in which they came.
    questions: Vec<Question>,
    /// How many have been asked about each namespace's pods.
    asked: Vec<usize>,
}

impl Open {
    fn of(wanted: &[Wanted<'_>], batches: Vec<Range<usize>>, round: Round) -> Self {
        let questions = batches.into_iter().map(|pods| Question { pods, deadline: round.deadline }).collect();
        Self { questions, asked: vec![0; wanted.last().map_or(0, |last| last.namespace + 1)] }
    }

    fn add(&mut self, parts: Vec<Question>) {
        self.questions.extend(parts);
    }

    /// The first of the namespace about which least has been asked; of a question about several, the one least asked about counts.
    fn next(&mut self, wanted: &[Wanted<'_>]) -> Option<Question> {
        let namespaces =
            |Range { start, end }: &Range<usize>| wanted[*start].namespace..=wanted[*end - 1].namespace;
        let least = |question: &Question| self.asked[namespaces(&question.pods)].iter().min().copied();
        let (at, _) = self.questions.iter().enumerate().min_by_key(|(_, question)| least(question))?;
        let question = self.questions.remove(at);
        self.asked[namespaces(&question.pods)].iter_mut().for_each(|asked| *asked += 1);
        Some(question)
    }

    /// Takes away those of such pods.
    fn take(&mut self, of: impl Fn(Range<usize>) -> bool) -> Vec<Range<usize>> {
        self.questions
            .extract_if(.., |question| of(question.pods.clone()))
            .map(|question| question.pods)
            .collect()
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

/// Those of these pods, each once.
fn namespaces_of<'a>(asked: &[Wanted<'a>]) -> Vec<&'a str> {
    let mut namespaces: Vec<&str> = asked.iter().map(|wanted| wanted.asker.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    namespaces
}

/// Matchers of these pods, of these namespaces.
fn pods_of(namespaces: &[&str], asked: &[Wanted<'_>]) -> String {
    let pods = quoted(&alternatives(asked.iter().map(|wanted| wanted.pod.name.as_str())));
    match namespaces {
        [namespace] => format!("namespace={},pod=~{pods}", quoted(namespace)),
        several => format!("namespace=~{},pod=~{pods}", quoted(&alternatives(several.iter().copied()))),
    }
}
