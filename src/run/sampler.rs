//! Reading the pods of runs, over and over, while a run needs it: one task a run, all within one cap.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use crate::decide::plan::Source;
use crate::decide::{Key, Sampling};
use crate::observe::measure::counters::{Ledger, Reading};
use crate::observe::measure::names::{Detected, LatencyMetric, Names, RequestsMetric};
use crate::observe::measure::prometheus::{Auth, Pod, Prometheus, Question};
use crate::observe::measure::scrape::{self, Target};
use crate::observe::measure::{self, ReadError, SeriesValue, Trust};

/// Pods of one run read at the same time.
const AT_ONCE: usize = 64;
/// How often a Prometheus scrapes, unless told otherwise.
const PROMETHEUS_INTERVAL: Duration = Duration::from_secs(15);

/// All runs that are measured.
pub struct Sampler {
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    reads_per_second: u32,
    runs: Arc<Mutex<HashMap<Key, Measured>>>,
}

struct Measured {
    run: String,
    wanted: watch::Sender<Sampling>,
    task: tokio::task::AbortHandle,
}

impl Sampler {
    pub fn new(findings: Arc<SharedFindings>, queue: Arc<Queue>, reads_per_second: u32) -> Self {
        Self { findings, queue, reads_per_second, runs: Arc::default() }
    }

    /// Sees to it that exactly this is measured for a Release.
    pub fn ensure(&self, key: &Key, wanted: Option<Sampling>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = wanted else {
            if let Some(ended) = runs.remove(key) {
                ended.task.abort();
            }
            return;
        };
        if let Some(known) = runs.get(key)
            && known.run == wanted.run
        {
            known.wanted.send_if_modified(|current| {
                let changed = *current != wanted;
                if changed {
                    *current = wanted;
                }
                changed
            });
            return;
        }
        let run = wanted.run.clone();
        let (sender, receiver) = watch::channel(wanted);
        let rounds = Rounds {
            key: key.clone(),
            wanted: receiver,
            findings: self.findings.clone(),
            queue: self.queue.clone(),
            runs: self.runs.clone(),
            reads_per_second: self.reads_per_second,
        };
        let task = tokio::spawn(rounds.go_on()).abort_handle();
        if let Some(earlier) = runs.insert(key.clone(), Measured { run, wanted: sender, task }) {
            earlier.task.abort();
        }
    }

    /// Stops all: another process leads now.
    pub fn stop(&self) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, run) in runs.drain() {
            run.task.abort();
        }
    }
}

/// The rounds of one run.
struct Rounds {
    key: Key,
    wanted: watch::Receiver<Sampling>,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    runs: Arc<Mutex<HashMap<Key, Measured>>>,
    reads_per_second: u32,
}

impl Rounds {
    async fn go_on(mut self) {
        let mut ledger = Ledger::new();
        let mut detected: Option<Detected> = None;
        let mut client = Client::default();
        loop {
            let every = self.every();
            sleep_until_multiple(every).await;
            let wanted = self.wanted.borrow_and_update().clone();
            let at = clock::now().as_second();
            let deadline = every.min(Duration::from_secs(5)).mul_f64(0.8);
            let read = read(&self.key.namespace, &wanted, &mut client, &mut detected, at, deadline).await;
            let (results, trouble) = match read {
                Ok(results) => {
                    let first = results.iter().find_map(|(pod, result)| Some((pod, result.as_ref().err()?)));
                    let trouble = first.map(|(pod, error)| format!("pod {pod}: {error}"));
                    let all = results.iter().all(|(_, result)| result.is_err());
                    (results, trouble.filter(|_| all))
                }
                Err(error) => {
                    let failed =
                        wanted.pods.iter().map(|pod| (pod.name.clone(), Err(error.clone()))).collect();
                    (failed, Some(error.to_string()))
                }
            };
            let readings = readings(&wanted, results);
            let taken = ledger.take(at, readings);
            let source = detected.as_ref().map(Detected::sentence).unwrap_or_default();
            self.findings.add_round(&self.key, at, taken, source, trouble);
            self.queue.wake(self.key.clone());
        }
    }

    fn every(&self) -> Duration {
        // A copy: whoever changes what is wanted holds the list of runs, so the two are never held together here.
        let wanted = self.wanted.borrow().clone();
        if matches!(wanted.source, Source::Prometheus { .. }) {
            return wanted.every.unwrap_or_default().max(PROMETHEUS_INTERVAL);
        }
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = runs.values().map(|run| run.wanted.borrow().pods.len()).sum();
        let usual = measure::cadence(wanted.young, pods, self.reads_per_second);
        match wanted.every {
            Some(asked) => asked.max(measure::cadence(true, pods, self.reads_per_second)),
            None => usual,
        }
    }
}

/// Slots begin at multiples of their length, so that all pods' slots are the same ones.
async fn sleep_until_multiple(every: Duration) {
    let every = i64::try_from(every.as_millis()).unwrap_or(1000).max(1000);
    let now = clock::now().as_millisecond();
    let wait = every - now.rem_euclid(every);
    tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
}

/// One client for all rounds of a run: its connections stay open.
#[derive(Default)]
struct Client(Option<(Trust, reqwest::Client)>);

impl Client {
    fn with(&mut self, trust: Trust) -> Result<&reqwest::Client, ReadError> {
        if self.0.as_ref().is_none_or(|(known, _)| *known != trust) {
            self.0 = Some((trust, measure::client(trust)?));
        }
        let (_, client) = self.0.as_ref().expect("made above");
        Ok(client)
    }
}

type Results = Vec<(String, Result<Vec<SeriesValue>, ReadError>)>;

async fn read(
    namespace: &str,
    wanted: &Sampling,
    client: &mut Client,
    detected: &mut Option<Detected>,
    at: i64,
    deadline: Duration,
) -> Result<Results, ReadError> {
    let names = Names {
        requests: wanted.requests.clone().map(|(name, status_label)| RequestsMetric { name, status_label }),
        latency: wanted.latency.clone().map(|name| LatencyMetric { name }),
        ..Names::default()
    };
    match &wanted.source {
        Source::Pods { .. } => {
            let client = client.with(Trust::Nothing)?;
            let targets: Vec<Target> = wanted
                .pods
                .iter()
                .filter_map(|pod| {
                    let ip = pod.ip.parse().ok()?;
                    Some(Target { pod: pod.name.clone(), ip, port: pod.port, path: pod.path.clone() })
                })
                .collect();
            let known = match detected {
                Some(known) => known,
                None => detected.insert(scrape::detect(client, &targets, &names, deadline, AT_ONCE).await?),
            };
            Ok(scrape::scrape(client, &targets, known, deadline, AT_ONCE).await)
        }
        Source::Prometheus { url } => {
            let trust = if url.starts_with("https:") { Trust::System } else { Trust::Nothing };
            let client = client.with(trust)?;
            let server = Prometheus { url: url.clone(), auth: Auth::Nobody, headers: Vec::new() };
            let pods: Vec<Pod> = wanted
                .pods
                .iter()
                .map(|pod| Pod { name: pod.name.clone(), started_at: pod.started_at })
                .collect();
            let deadline = Duration::from_secs(5);
            let question =
                Question { namespace, pods: &pods, now: at, scrape_interval: PROMETHEUS_INTERVAL, deadline };
            let known = match detected {
                Some(known) => known,
                None => detected.insert(server.detect(client, &question, &names).await?),
            };
            Ok(server.read(client, &question, known).await)
        }
    }
}

fn readings(wanted: &Sampling, results: Results) -> Vec<Reading> {
    let mut results: HashMap<String, _> = results.into_iter().collect();
    let reading = |pod: &crate::decide::SampledPod| Reading {
        pod: pod.name.clone(),
        revision: pod.revision,
        started_at: pod.started_at,
        container_restarts: pod.restarts,
        result: results.remove(&pod.name).unwrap_or(Err(ReadError::NoSamples)),
    };
    wanted.pods.iter().map(reading).collect()
}
