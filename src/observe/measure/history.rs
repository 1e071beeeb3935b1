//! What a Prometheus server still knows of the past: raw samples, read in rounds as they would have been read live.
//!
//! [`Prometheus::samples`] fetches a stretch of time, [`Rounds`] plays it to the same ledger that counts in a run: at each multiple of
//! the interval the newest sample of every series, with the same rules for what is missing and what counts from zero. Of the past it
//! is not known when containers started: a pod counts from zero when others had been read for a while before its first sample came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::counters::{Ledger, Reading, Taken};
use super::names::{Detected, Family, Names};
pub use super::prometheus::stale_after;
use super::prometheus::{
    ANSWER_BYTES, Asking, Clock, Pod, Prometheus, Round, WholeSeries, alternatives, each_series, matchers,
};
use super::{Counts, ReadError, SeriesValue, within_limits};
use crate::decide::judge::{Revision, Slot};
use crate::observe::reach::Client;

/// How far back a run looks for what is usual on stable pods, in seconds.
const HISTORY: i64 = 3600;
/// Stable pods whose history is read: as many as the judge learns from.
const HISTORY_PODS: usize = 12;
/// The shortest rounds of history: noise is learnt in blocks of minutes.
const SHORTEST: Duration = Duration::from_secs(15);
/// An answer that is too large is asked for in halves, down to so many seconds.
pub(super) const SHORTEST_STRETCH: i64 = 60;
/// Samples kept of one stretch.
pub const MOST_SAMPLES: usize = 4_000_000;

/// Pods by the pattern of their names, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsLike {
    /// The pods' namespace.
    pub namespace: String,
    /// A regular expression (RE2) for whole names.
    pub pattern: String,
}

/// From when to when, in unix seconds; the beginning is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// After this moment.
    pub from: i64,
    /// Up to this one.
    pub to: i64,
}

/// Samples of the chosen series, by pod.
#[derive(Debug, Default)]
pub struct Samples {
    pods: BTreeMap<String, BTreeMap<u64, Vec<Sample>>>,
    /// The only pods whose samples are kept, whatever else a server may answer with; `None`: those of all.
    only: Option<BTreeSet<String>>,
    count: usize,
}

#[derive(Debug)]
struct Sample {
    at: f64,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Counter(Counts, f64),
    /// A native histogram: requests and bounds, of which some may be absent the next time.
    Histogram(Vec<SeriesValue>),
}

impl Samples {
    /// Seconds between two samples, as is usual in the first series that has some.
    pub fn apart(&self) -> Option<f64> {
        let samples = self.pods.values().flat_map(BTreeMap::values).find(|samples| samples.len() > 10)?;
        let mut apart: Vec<f64> = samples.windows(2).map(|two| two[1].at - two[0].at).collect();
        apart.sort_by(f64::total_cmp);
        Some(apart[apart.len() / 2])
    }

    fn add(&mut self, pod: &str, series: u64, sample: Sample) {
        self.count += match &sample.value {
            Value::Counter(..) => 1,
            Value::Histogram(values) => values.len(),
        };
        if let Some(known) = self.pods.get_mut(pod) {
            known.entry(series).or_default().push(sample);
        } else {
            self.pods.entry(pod.to_owned()).or_default().entry(series).or_default().push(sample);
        }
    }
}

impl Prometheus {
    /// Finds out which series to read of pods that were there at a moment of the past: see [`Prometheus::detect`]. For a program that a person runs,
    /// as [`Prometheus::samples`].
    ///
    /// # Errors
    /// As there.
    pub async fn detect_like(
        &self,
        client: &Client,
        pods: &PodsLike,
        at: i64,
        deadline: Duration,
        names: &Names,
    ) -> Result<Detected, ReadError> {
        let matchers = matchers(&pods.namespace, &pods.pattern);
        let asking = Asking::alone(client);
        self.detect_among(asking, &mut Clock::past(at), deadline, &matchers, names).await
    }

    /// All samples of the chosen series in a stretch of time, with one query a family. An answer that is too large, or more than the
    /// server will give, is asked for again in halves.
    ///
    /// # Errors
    /// Those of its queries, and [`ReadError::TooLarge`] when all together are too many.
    pub async fn samples(
        &self,
        client: &Client,
        pods: &PodsLike,
        detected: &Detected,
        stretch: Stretch,
        deadline: Duration,
    ) -> Result<Samples, ReadError> {
        let mut samples = Samples::default();
        for family in detected.families() {
            let mut open = vec![stretch];
            while let Some(Stretch { from, to }) = open.pop() {
                let mut clock = Clock::past(to);
                let read = self
                    .samples_of(
                        Asking::alone(client),
                        pods,
                        detected,
                        &family,
                        (to - from, &mut clock),
                        deadline,
                        &mut samples,
                    )
                    .await;
                match read {
                    Err(ReadError::TooLarge { .. } | ReadError::Api(_)) if to - from > SHORTEST_STRETCH => {
                        let middle = from + (to - from) / 2;
                        open.push(Stretch { from: middle, to });
                        open.push(Stretch { from, to: middle });
                    }
                    read => read?,
                }
            }
        }
        Ok(samples)
    }

    #[expect(clippy::too_many_arguments, reason = "one query, and where its samples go")]
    async fn samples_of(
        &self,
        asking: Asking<'_>,
        pods: &PodsLike,
        detected: &Detected,
        Family { name, matcher }: &Family,
        (seconds, clock): (i64, &mut Clock),
        deadline: Duration,
        samples: &mut Samples,
    ) -> Result<(), ReadError> {
        let comma = if matcher.is_empty() { "" } else { "," };
        let pods = matchers(&pods.namespace, &pods.pattern);
        let query = format!("{name}{{{pods}{comma}{matcher}}}[{seconds}s]");
        let answer = self.query(asking, &query, clock, deadline, ANSWER_BYTES).await?;
        #[expect(clippy::cast_precision_loss, reason = "less than an hour")]
        let ahead = clock.ahead as f64;
        each_series(&answer, |series: WholeSeries<'_>| {
            let Some(pod) = series.metric.all()?.get("pod") else { return Ok(()) };
            if samples.only.as_ref().is_some_and(|only| !only.contains::<str>(pod)) {
                return Ok(());
            }
            let labels = series.counting_labels();
            for (at, value) in &series.values {
                let Ok(value) = value.parse::<f64>() else { continue };
                let Some(SeriesValue { series, counts, value }) = detected.value(name, &labels, value) else {
                    break;
                };
                let value = Value::Counter(counts, value);
                samples.add(pod, series, Sample { at: at - ahead, value });
            }
            for (at, histogram) in &series.histograms {
                let Some(histogram) = histogram.read() else { continue };
                let values = detected.native_values(name, &labels, &histogram);
                // The last one is there in every sample: all requests, or those within infinity.
                let Some(last) = values.last().map(|value| value.series) else { break };
                samples.add(pod, last, Sample { at: at - ahead, value: Value::Histogram(values) });
            }
            if samples.count > MOST_SAMPLES {
                return Err(ReadError::TooManySamples { limit: MOST_SAMPLES });
            }
            Ok(())
        })
    }

    /// What stable pods counted in the last hour, in slots of the scrape interval (15 s at least): so much the judge needs to know how
    /// errors clump on them. Of many pods the first twelve, by name.
    ///
    /// # Errors
    /// When a query fails. It is not worth a second one: the hour is soon over.
    pub async fn history(
        &self,
        client: &Client,
        round: Round,
        namespace: &str,
        stable: &[Pod],
        detected: &Detected,
    ) -> Result<Vec<Slot>, ReadError> {
        let mut names: Vec<&str> = stable.iter().map(|pod| pod.name.as_str()).collect();
        names.sort_unstable();
        names.truncate(HISTORY_PODS);
        let only = names.iter().map(|name| (*name).to_owned()).collect();
        let pods = PodsLike { namespace: namespace.to_owned(), pattern: alternatives(names.into_iter()) };
        let mut samples = Samples { only: Some(only), ..Samples::default() };
        let mut clock = Clock::present(round.now);
        let namespaces = [namespace];
        let asking = Asking::of(client, &namespaces);
        for family in detected.families() {
            let span = (HISTORY, &mut clock);
            self.samples_of(asking, &pods, detected, &family, span, round.deadline, &mut samples).await?;
        }
        let mut rounds = Rounds::new(round.now - HISTORY, round.scrape_interval.max(SHORTEST));
        rounds.add(samples);
        let mut slots = Vec::new();
        while let Some((_, taken)) = rounds.next_until(round.now) {
            slots.extend(taken.slots);
        }
        Ok(slots)
    }
}

/// Rounds of reading in the past, at multiples of the interval.
pub struct Rounds {
    step: i64,
    stale_after: i64,
    next: i64,
    ledger: Ledger,
    /// Since when there was no round in which nobody could be read.
    anybody_since: Option<i64>,
    pods: BTreeMap<String, Known>,
    /// Pods that were there once.
    seen: BTreeSet<String>,
}

#[derive(Default)]
struct Known {
    /// As far as it can be told.
    started_at: Option<i64>,
    listed: bool,
    series: BTreeMap<u64, Track>,
}

#[derive(Default)]
struct Track {
    now: Option<Sample>,
    coming: VecDeque<Sample>,
}

impl Rounds {
    /// Rounds at the multiples of the scrape interval after `from`.
    pub fn new(from: i64, scrape_interval: Duration) -> Self {
        let step = i64::try_from(scrape_interval.as_secs()).unwrap_or(i64::MAX / 4).max(1);
        let stale_after = stale_after(scrape_interval);
        let next = from.div_euclid(step) * step + step;
        Rounds {
            step,
            stale_after,
            next,
            ledger: Ledger::new(),
            anybody_since: None,
            pods: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// A stretch of samples, later than those before.
    pub fn add(&mut self, samples: Samples) {
        for (pod, series) in samples.pods {
            let known = self.pods.entry(pod).or_default();
            for (id, mut samples) in series {
                let track = known.series.entry(id).or_default();
                // The same series may have been collected twice: the samples of both, in order of time.
                samples.sort_by(|one, other| one.at.total_cmp(&other.at));
                track.coming.extend(samples);
            }
        }
    }

    /// The next round, if it is not later than `until`: its moment and what was counted since the one before. `until` must be so much
    /// earlier than the end of what was added that a pod without samples can be told from one that is gone: twice `stale_after`.
    pub fn next_until(&mut self, until: i64) -> Option<(i64, Taken)> {
        if self.next > until {
            return None;
        }
        let at = self.next;
        self.next += self.step;
        let mut readings = Vec::new();
        let mut anybody = false;
        for (name, known) in &mut self.pods {
            let was_listed = known.listed;
            let Some(result) = known.read(at, self.stale_after) else {
                known.listed = false;
                continue;
            };
            if !was_listed && result.is_ok() && self.seen.insert(name.clone()) {
                // All pods appear again after a time in which Prometheus itself was away: none of them is new then.
                let is_new = self.anybody_since.is_some_and(|since| at - since > 2 * self.stale_after);
                known.started_at = is_new.then_some(at - self.step);
            }
            known.listed |= result.is_ok();
            anybody |= result.is_ok();
            readings.push(Reading {
                pod: name.clone(),
                revision: Revision::Stable,
                started_at: known.started_at,
                container_restarts: 0,
                is_due: true,
                result,
            });
        }
        self.anybody_since = anybody.then_some(self.anybody_since.unwrap_or(at));
        self.pods.retain(|_, known| !known.series.is_empty());
        Some((at, self.ledger.take(at, readings)))
    }
}

impl Known {
    /// What a reading at this moment would have said; `None`: the pod is not there yet, or not any more.
    fn read(&mut self, at: i64, stale_after: i64) -> Option<Result<Vec<SeriesValue>, ReadError>> {
        #[expect(clippy::cast_precision_loss, reason = "unix seconds")]
        let (now, window) = (at as f64, (stale_after * 2) as f64);
        let (mut newest, mut comes) = (f64::NEG_INFINITY, false);
        self.series.retain(|_, track| {
            while track.coming.front().is_some_and(|sample| sample.at <= now) {
                track.now = track.coming.pop_front();
            }
            if track.now.as_ref().is_some_and(|sample| sample.at <= now - window) {
                track.now = None;
            }
            if let Some(sample) = &track.now {
                newest = newest.max(sample.at);
            }
            comes |= !track.coming.is_empty();
            track.now.is_some() || !track.coming.is_empty()
        });
        #[expect(clippy::cast_possible_truncation, reason = "unix seconds")]
        let age_seconds = at - newest.max(0.0).floor() as i64;
        if age_seconds > stale_after {
            // Not gone, if there is more of it.
            let was_there = self.listed && comes;
            return was_there.then_some(Err(ReadError::Stale { age_seconds }));
        }
        let mut values = Vec::with_capacity(self.series.len());
        for (id, track) in &self.series {
            match track.now.as_ref().map(|sample| &sample.value) {
                Some(Value::Counter(counts, value)) => {
                    values.push(SeriesValue { series: *id, counts: *counts, value: *value });
                }
                Some(Value::Histogram(many)) => values.extend(many),
                None => {}
            }
        }
        values.retain(|value| value.value.is_finite() && value.value >= 0.0);
        Some(within_limits(values))
    }
}
