//! Reading the numbers of criteria that do not count requests, over and over, while a run needs it: queries, JSON answers, and gauges
//! where a Prometheus server is the source. Gauges on the pods' own pages are read with the counters there (`sampler`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use super::run_reader::{QUERY, RunReader};
use super::sampler::sleep_until_multiple;
use crate::decide::judge::Revision;
use crate::decide::plan::Source;
use crate::decide::values::{Gauge, Kind, Sample};
use crate::decide::{Key, SampledPod, SampledValue, Sampling};
use crate::observe::measure::instant::InstantError;
use crate::observe::measure::prometheus::Round;
use crate::observe::measure::servers::{Server, Servers};
use crate::observe::measure::{ReadError, Trust};
use crate::observe::reach::Client;
use crate::observe::values;

/// How often these are read.
pub(super) fn every(wanted: &Sampling) -> Duration {
    wanted.every.unwrap_or(values::EVERY).max(Duration::from_secs(1))
}

/// How far apart two readings of a number are, a multiple of `every`: until its next scrape a Prometheus server gives the same sample again, and one
/// that is bad would count as several.
fn apart(kind: &Kind, source: &Source, every: Duration) -> Duration {
    match (kind, source) {
        (Kind::Promql { .. } | Kind::PodGauge(_), Source::Prometheus { scrape_interval, .. }) => {
            let rounds = scrape_interval.as_secs().div_ceil(every.as_secs().max(1)).max(1);
            every.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
        }
        (
            Kind::Promql { .. } | Kind::PodGauge(_) | Kind::Json { .. } | Kind::Availability | Kind::Restarts,
            Source::Pods { .. } | Source::Prometheus { .. },
        ) => every,
    }
}

/// Whether a number is read in the round at `at`, of rounds `every` so often.
fn is_due(at: i64, every: Duration, apart: Duration) -> bool {
    at.rem_euclid(whole_seconds(apart).max(1)) < whole_seconds(every).max(1)
}

pub(super) fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn whole(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// Gauges that are read on the pods' own pages, with their criteria.
pub(super) fn on_pages(wanted: &Sampling) -> impl Iterator<Item = (&str, &Gauge)> {
    wanted.values.iter().filter_map(|value| match (&value.kind, &wanted.source) {
        (Kind::PodGauge(gauge), Source::Pods { .. }) => Some((value.criterion.as_str(), gauge)),
        (
            Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } | Kind::Availability | Kind::Restarts,
            Source::Pods { .. } | Source::Prometheus { .. },
        ) => None,
    })
}

/// The rounds of one run.
pub(super) struct ValueRounds {
    key: Key,
    clock: Clock,
    reader: RunReader,
    wanted: watch::Receiver<Sampling>,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    clients: Clients,
}

impl ValueRounds {
    pub(super) fn new(
        key: Key,
        clock: Clock,
        reader: RunReader,
        wanted: watch::Receiver<Sampling>,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
    ) -> Self {
        Self { key, clock, reader, wanted, findings, queue, clients: Clients::default() }
    }

    pub(super) async fn go_on(mut self) {
        loop {
            let every = every(&self.wanted.borrow());
            sleep_until_multiple(every, &self.clock).await;
            let wanted = self.wanted.borrow_and_update().clone();
            let at = self.clock.now().as_second();
            let samples = self.read(&wanted, at, every).await;
            if samples.is_empty() {
                continue;
            }
            self.findings.add_samples(&self.key, samples);
            self.queue.wake(self.key.clone());
        }
    }

    async fn read(&mut self, wanted: &Sampling, at: i64, every: Duration) -> Vec<Sample> {
        let is_here = |value: &&SampledValue| {
            let is_asked_here = match value.kind {
                Kind::Promql { .. } | Kind::Json { .. } => true,
                Kind::PodGauge(_) => matches!(wanted.source, Source::Prometheus { .. }),
                Kind::Availability | Kind::Restarts => false,
            };
            is_asked_here && is_due(at, every, apart(&value.kind, &wanted.source, every))
        };
        let here: Vec<&SampledValue> = wanted.values.iter().filter(is_here).collect();
        let deadline = every.min(QUERY).mul_f64(0.8);
        let server = match &wanted.source {
            Source::Prometheus { server, scrape_interval }
                if here.iter().any(|value| !matches!(value.kind, Kind::Json { .. })) =>
            {
                let round = Round { now: at, scrape_interval: *scrape_interval, deadline };
                Some(self.reader.server(&self.key.namespace, server, at).await.map(|server| (server, round)))
            }
            Source::Prometheus { .. } | Source::Pods { .. } => None,
        };
        let canary: Vec<&SampledPod> =
            wanted.pods.iter().filter(|pod| pod.revision == Revision::Canary).collect();
        let any_due = canary.iter().any(|pod| pod.is_due(at));
        let (clients, servers) = (&mut self.clients, self.reader.servers());
        let asked = Asked { namespace: &self.key.namespace, canary: &canary, at, server, servers, deadline };
        let readings: Vec<_> = here
            .iter()
            .filter(|value| !(canary.is_empty() && matches!(value.kind, Kind::PodGauge(_))))
            .map(|value| (*value, clients.of(&value.kind, servers)))
            .collect();
        let readings = readings.into_iter().map(|(value, client)| {
            let asked = &asked;
            // Waiting for one's turn is part of it: a round must not hold up the next one.
            let most = deadline + Duration::from_millis(500);
            async move {
                let late = || Unread::from(format!("no answer within {} ms", most.as_millis()));
                let found = tokio::time::timeout(most, asked.read(&value.kind, client)).await;
                (value, found.unwrap_or_else(|_| Err(late())))
            }
        });
        // A list first, as for pages.
        let readings: Vec<_> = readings.collect();
        let (mut samples, mut refused) = (Vec::new(), false);
        for (value, found) in futures::future::join_all(readings).await {
            refused |= found.as_ref().is_err_and(|error| error.credentials);
            let is_gauge = matches!(value.kind, Kind::PodGauge(_));
            if is_gauge && !any_due && found.as_ref().is_ok_and(|found| found.points.is_empty()) {
                // It is too soon to tell.
                continue;
            }
            samples.push(Sample {
                t: at,
                criterion: value.criterion.clone(),
                definition: value.kind.definition(),
                every: whole(apart(&value.kind, &wanted.source, every)),
                blameless: canary.is_empty(),
                found: found.map_err(|error| error.why),
            });
        }
        if refused {
            self.reader.forget_credentials();
        }
        samples
    }
}

/// What one round asks with.
struct Asked<'a> {
    namespace: &'a str,
    canary: &'a [&'a SampledPod],
    /// Unix seconds.
    at: i64,
    server: Option<Result<(Arc<Server>, Round), ReadError>>,
    /// What is read beside it has its turn from them.
    servers: &'a Servers,
    deadline: Duration,
}

/// Why there is no number.
struct Unread {
    why: String,
    /// Other credentials may help.
    credentials: bool,
}

impl From<InstantError> for Unread {
    fn from(error: InstantError) -> Self {
        Self { why: error.to_string(), credentials: error.is_about_credentials() }
    }
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self { why, credentials: false }
    }
}

impl Asked<'_> {
    async fn read(
        &self,
        kind: &Kind,
        client: Result<Client, ReadError>,
    ) -> Result<crate::decide::values::Found, Unread> {
        match kind {
            Kind::Json { url, pointer } => {
                let client = client.map_err(|error| error.to_string())?;
                let (servers, namespace) = (self.servers, self.namespace);
                let read =
                    values::of_json_in_turn(servers, namespace, &client, url, pointer, self.deadline).await;
                Ok(read.map_err(|error| error.to_string())?)
            }
            Kind::Promql { query, by } => {
                let (server, round) = self.server()?;
                Ok(values::of_query(server, round, self.namespace, query, by.as_deref()).await??)
            }
            Kind::PodGauge(gauge) => {
                let (server, round) = self.server()?;
                let pods: Vec<(&str, bool)> =
                    self.canary.iter().map(|pod| (pod.name.as_str(), pod.is_due(self.at))).collect();
                Ok(values::of_pods(server, round, self.namespace, &pods, gauge).await?)
            }
            Kind::Availability | Kind::Restarts => Err("is not read".to_owned().into()),
        }
    }

    fn server(&self) -> Result<(&Server, Round), Unread> {
        match &self.server {
            Some(Ok((server, round))) => Ok((server, *round)),
            Some(Err(error)) => {
                Err(Unread { why: error.to_string(), credentials: error.is_about_credentials() })
            }
            None => {
                Err("there is no server to ask: write its url as metrics.prometheus.url".to_owned().into())
            }
        }
    }
}

/// For JSON answers: connections stay open.
#[derive(Default)]
struct Clients {
    plain: Option<Client>,
    encrypted: Option<Client>,
}

impl Clients {
    fn of(&mut self, kind: &Kind, servers: &Servers) -> Result<Client, ReadError> {
        let is_encrypted = matches!(kind, Kind::Json { url, .. } if url.starts_with("https:"));
        let (known, trust) = match is_encrypted {
            true => (&mut self.encrypted, Trust::System),
            false => (&mut self.plain, Trust::Nothing),
        };
        match known {
            Some(client) => Ok(client.clone()),
            none => Ok(none.insert(servers.client(trust)?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::release::PrometheusSource;

    #[test]
    fn a_prometheus_server_is_asked_once_for_each_scrape() {
        let query = Kind::Promql { query: "up".into(), by: None };
        let json = Kind::Json { url: "http://x".into(), pointer: "/a".into() };
        let server: PrometheusSource =
            serde_json::from_value(serde_json::json!({"url": "http://x"})).unwrap();
        let readings = |kind: &Kind, every: u64, scrape: u64| {
            let (every, scrape_interval) = (Duration::from_secs(every), Duration::from_secs(scrape));
            let source = Source::Prometheus { server: server.clone(), scrape_interval };
            let apart = apart(kind, &source, every);
            (0..60)
                .step_by(every.as_secs() as usize)
                .filter(|at| is_due(*at, every, apart))
                .collect::<Vec<_>>()
        };
        assert_eq!(readings(&query, 5, 15), [0, 15, 30, 45]);
        assert_eq!(readings(&query, 5, 12), [0, 15, 30, 45], "a multiple of the rounds");
        assert_eq!(readings(&query, 20, 15), [0, 20, 40], "no oftener than wanted");
        assert_eq!(readings(&query, 1, 1).len(), 60);
        assert_eq!(readings(&json, 20, 60), [0, 20, 40]);
    }
}
