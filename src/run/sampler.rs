//! Reading the pods of runs, over and over, while a run needs it: one task a run, all within one cap. Numbers that are read elsewhere
//! are read by another task (`values`), so that neither waits for the other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::clock::Clock;
use super::findings::{Origin, SharedFindings};
use super::queue::Queue;
use super::values::{self, ValueRounds};
use crate::api::release::PrometheusSource;
use crate::decide::judge::{Revision, Slot};
use crate::decide::plan::Source;
use crate::decide::values::{Gauge, Sample};
use crate::decide::{Key, SampledPod, Sampling};
use crate::observe::credentials;
use crate::observe::measure::ReadError;
use crate::observe::measure::counters::{Ledger, Reading};
use crate::observe::measure::names::{Detected, Names};
use crate::observe::measure::pace::{self, Reads};
use crate::observe::measure::prometheus::{Answers, Asker, Pod, Round, queries};
use crate::observe::measure::scrape::{self, PageRead, Pages, Target};
use crate::observe::measure::servers::{Server, Servers};
use crate::observe::values::of_pages;

/// Pods of one run read at the same time.
const AT_ONCE: usize = 64;
/// For each query to a Prometheus server.
pub(super) const QUERY: Duration = Duration::from_secs(5);
/// How much of a query is shown.
const QUERY_SHOWN: usize = 1024;
/// Credentials may change: they are read again after so long, and when the server refuses them.
const CREDENTIALS_KEPT: i64 = 300;

/// Where numbers come from.
#[derive(Clone)]
pub(super) struct Sources {
    /// For credentials.
    client: Client,
    /// The pods' own pages.
    pages: Arc<dyn Pages>,
    servers: Arc<Servers>,
}

/// All runs that are measured.
pub struct Sampler {
    sources: Sources,
    clock: Clock,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    reads_per_second: u32,
    runs: Arc<Mutex<HashMap<Key, Measured>>>,
}

struct Measured {
    run: String,
    wanted: watch::Sender<Sampling>,
    tasks: [tokio::task::AbortHandle; 2],
}

impl Measured {
    fn abort(&self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Sampler {
    pub fn new(
        client: Client,
        pages: Arc<dyn Pages>,
        servers: Arc<Servers>,
        clock: Clock,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
        reads_per_second: u32,
    ) -> Self {
        let sources = Sources { client, pages, servers };
        Self { sources, clock, findings, queue, reads_per_second, runs: Arc::default() }
    }

    /// Sees to it that exactly this is measured for a Release.
    pub fn ensure(&self, key: &Key, wanted: Option<Sampling>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = wanted else {
            if let Some(ended) = runs.remove(key) {
                ended.abort();
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
            clock: self.clock.clone(),
            reader: Reader::new(self.sources.clone()),
            wanted: receiver.clone(),
            findings: self.findings.clone(),
            queue: self.queue.clone(),
            runs: self.runs.clone(),
            reads_per_second: self.reads_per_second,
        };
        let values = ValueRounds::new(
            key.clone(),
            self.clock.clone(),
            Reader::new(self.sources.clone()),
            receiver,
            self.findings.clone(),
            self.queue.clone(),
        );
        let tasks =
            [tokio::spawn(rounds.go_on()), tokio::spawn(values.go_on())].map(|task| task.abort_handle());
        if let Some(earlier) = runs.insert(key.clone(), Measured { run, wanted: sender, tasks }) {
            earlier.abort();
        }
    }

    /// Stops all: another process leads now.
    pub fn stop(&self) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, run) in runs.drain() {
            run.abort();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The rounds of one run.
struct Rounds {
    key: Key,
    clock: Clock,
    reader: Reader,
    wanted: watch::Receiver<Sampling>,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    runs: Arc<Mutex<HashMap<Key, Measured>>>,
    reads_per_second: u32,
}

impl Rounds {
    async fn go_on(mut self) {
        let mut ledger = Ledger::new();
        let mut gauged_at = i64::MIN;
        loop {
            let every = self.every();
            sleep_until_multiple(every, &self.clock).await;
            let wanted = self.wanted.borrow_and_update().clone();
            let at = self.clock.now().as_second();
            let gauges_every = values::every(&wanted).max(every);
            // A clock may be set back.
            let is_due =
                at < gauged_at || at.saturating_sub(gauged_at) >= values::whole_seconds(gauges_every);
            let gauges: Vec<_> = if is_due { values::on_pages(&wanted).collect() } else { Vec::new() };
            if !wanted.counted && gauges.is_empty() {
                continue;
            }
            let deadline = every.min(Duration::from_secs(5)).mul_f64(0.8);
            if self.reader.starts_anew(&wanted) {
                ledger = Ledger::new();
            }
            let asked: Vec<Gauge> = gauges.iter().map(|(_, gauge)| (*gauge).clone()).collect();
            let Read { counted, pages } =
                self.reader.read(&self.key.namespace, &wanted, &asked, at, deadline).await;
            if pages.is_empty() && !wanted.counted {
                continue;
            }
            if !pages.is_empty() {
                gauged_at = at;
                let sample = |(place, (criterion, _)): (usize, &(&str, &Gauge))| Sample {
                    t: at,
                    criterion: (*criterion).to_owned(),
                    every: values::whole(gauges_every),
                    blameless: false,
                    found: of_pages(place, &pages),
                };
                self.findings.add_samples(&self.key, gauges.iter().enumerate().map(sample).collect());
            }
            if wanted.counted {
                let results = counted.unwrap_or_else(|error| {
                    wanted.pods.iter().map(|pod| (pod.name.clone(), Err(error.clone()))).collect()
                });
                let trouble = trouble(&wanted, &results, at);
                let readings = readings(&wanted, results, at);
                let mut taken = ledger.take(at, readings);
                mark_warm_up(&wanted, &mut taken.slots);
                let origin = self.reader.origin(&self.key.namespace, &wanted);
                // Before the first slots: what is learnt later is learnt by nobody.
                if let Some(Ok(history)) = &mut self.reader.history
                    && !history.slots.is_empty()
                {
                    self.findings.add_history(&self.key, std::mem::take(&mut history.slots));
                }
                self.findings.add_round(&self.key, at, taken, origin, trouble);
            }
            self.queue.wake(self.key.clone());
        }
    }

    fn every(&self) -> Duration {
        // A copy: whoever changes what is wanted holds the list of runs, so the two are never held together here.
        let wanted = self.wanted.borrow().clone();
        if let Source::Prometheus { scrape_interval, .. } = wanted.source {
            return wanted.every.unwrap_or_default().max(scrape_interval);
        }
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let all = runs
            .iter()
            .filter_map(|(key, run)| Some((key.namespace.as_str(), reads_of(&run.wanted.borrow())?)));
        pace::cadence(&self.key.namespace, usual(&wanted), all, self.reads_per_second)
    }
}

/// How often a run's pods are read one by one, if there is room for it.
fn usual(wanted: &Sampling) -> Duration {
    let usual = if wanted.young { 1 } else { 5 };
    wanted.every.unwrap_or(Duration::from_secs(usual)).max(Duration::from_secs(1))
}

/// What a run reads of pods one by one; of those that a server is asked about, nothing.
fn reads_of(wanted: &Sampling) -> Option<Reads> {
    if !matches!(wanted.source, Source::Pods { .. }) {
        return None;
    }
    let of_canary = || wanted.pods.iter().filter(|pod| pod.revision == Revision::Canary).count();
    let pods = match wanted.counted {
        true => wanted.pods.len(),
        false if values::on_pages(wanted).next().is_some() => of_canary(),
        false => return None,
    };
    Some(Reads { pods, every: usual(wanted) })
}

/// Slots begin at multiples of their length, so that all pods' slots are the same ones.
pub(super) async fn sleep_until_multiple(every: Duration, clock: &Clock) {
    let every = i64::try_from(every.as_millis()).unwrap_or(1000).max(1000);
    let now = clock.now().as_millisecond();
    let wait = every - now.rem_euclid(every);
    tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
}

/// What a run keeps from one round to the next.
pub(super) struct Reader {
    sources: Sources,
    known: Option<Known>,
    /// What `detected` was chosen for.
    asked: Option<(Source, Names)>,
    detected: Option<Detected>,
    /// What came of asking for what stable pods did before the run: asked once.
    history: Option<Result<History, ReadError>>,
}

/// What stable pods did before the run.
struct History {
    /// Until they are handed on.
    slots: Vec<Slot>,
    pods: usize,
}

/// A server, and when its credentials were read.
struct Known {
    source: PrometheusSource,
    server: Arc<Server>,
    read_at: i64,
}

/// What came of a round.
struct Read {
    counted: Result<Answers, ReadError>,
    /// The canary's pods' pages, where gauges were asked for.
    pages: Vec<(String, Result<PageRead, ReadError>)>,
}

impl Reader {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, known: None, asked: None, detected: None, history: None }
    }

    /// Where numbers are read that are not the server's.
    pub(super) fn servers(&self) -> &Servers {
        &self.sources.servers
    }

    /// Credentials were refused: they are read again before they are used again.
    pub(super) fn forget_credentials(&mut self) {
        self.known = None;
    }

    /// Whether other series are read from now on than in the rounds before: nothing can be compared then. Paths that are left
    /// out become more as the canary's probes become known, and never fewer.
    fn starts_anew(&mut self, wanted: &Sampling) -> bool {
        let now = (wanted.source.clone(), Names::of(wanted));
        let other = self.asked.as_ref().is_some_and(|(source, names)| {
            *source != now.0 || names.requests != now.1.requests || names.latency != now.1.latency
        });
        if other {
            self.detected = None;
        }
        if let Some(detected) = &mut self.detected {
            detected.ignore(&now.1.ignore_paths);
        }
        self.asked = Some(now);
        other
    }

    async fn read(
        &mut self,
        namespace: &str,
        wanted: &Sampling,
        gauges: &[Gauge],
        at: i64,
        deadline: Duration,
    ) -> Read {
        let names = Names::of(wanted);
        match &wanted.source {
            Source::Pods { .. } => self.read_pages(namespace, wanted, &names, gauges, deadline).await,
            Source::Prometheus { server, scrape_interval } => {
                let round = Round { now: at, scrape_interval: *scrape_interval, deadline: QUERY };
                let counted = self.read_server(namespace, wanted, server, &names, round).await;
                Read { counted, pages: Vec::new() }
            }
        }
    }

    /// Where counts come from.
    fn origin(&self, namespace: &str, wanted: &Sampling) -> Origin {
        let query = match (&wanted.source, &self.detected) {
            (Source::Pods { .. }, _) => {
                let page = |pod: &SampledPod| format!("GET :{}{} of each pod", pod.port, pod.path);
                wanted
                    .pods
                    .iter()
                    .map(page)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            (Source::Prometheus { server, scrape_interval }, Some(detected)) => {
                let pods = wanted.pods.iter().map(|pod| pod.name.as_str());
                let queries = queries(namespace, pods, detected, *scrape_interval);
                format!("{} at {}", queries.join(" and "), server.url)
            }
            (Source::Prometheus { .. }, None) => String::new(),
        };
        Origin { source: self.sentence(), query: query.chars().take(QUERY_SHOWN).collect() }
    }

    /// Which series are read, and how much is known from before the run.
    fn sentence(&self) -> String {
        let series = self.detected.as_ref().map(Detected::sentence).unwrap_or_default();
        match &self.history {
            None => series,
            Some(Ok(History { pods: 0, .. })) => {
                format!("{series}; nothing is known of stable pods before the run")
            }
            Some(Ok(History { pods, .. })) => {
                format!("{series}; learnt from the hour before the run on {pods} stable pods")
            }
            Some(Err(error)) => {
                format!(
                    "{series}; the hour before the run could not be read ({error}): learnt in the run instead"
                )
            }
        }
    }

    async fn read_server(
        &mut self,
        namespace: &str,
        wanted: &Sampling,
        source: &PrometheusSource,
        names: &Names,
        round: Round,
    ) -> Result<Answers, ReadError> {
        let server = self.server(namespace, source, round.now).await?;
        let read = self.ask(&server, namespace, wanted, names, round).await;
        let refused = match &read {
            Ok(answers) => {
                answers.iter().any(|(_, answer)| answer.as_ref().is_err_and(ReadError::is_about_credentials))
            }
            Err(error) => error.is_about_credentials(),
        };
        if refused {
            self.forget_credentials();
        }
        read
    }

    async fn read_pages(
        &mut self,
        namespace: &str,
        wanted: &Sampling,
        names: &Names,
        gauges: &[Gauge],
        deadline: Duration,
    ) -> Read {
        let from = self.sources.pages.clone();
        let targets = |of: &dyn Fn(Revision) -> bool| -> Vec<Target> {
            let target = |pod: &SampledPod| {
                let ip = pod.ip.parse().ok()?;
                let namespace = namespace.to_owned();
                Some(Target { namespace, pod: pod.name.clone(), ip, port: pod.port, path: pod.path.clone() })
            };
            wanted.pods.iter().filter(|pod| of(pod.revision)).filter_map(target).collect()
        };
        let is_canary = |revision| revision == Revision::Canary;
        let mut counted = Ok(Vec::new());
        if wanted.counted {
            let all = targets(&|_| true);
            if self.detected.is_none() {
                match scrape::detect(&*from, &all, names, deadline, AT_ONCE).await {
                    Ok(found) => self.detected = Some(found),
                    Err(error) => counted = Err(error),
                }
            }
            if let Some(known) = &self.detected {
                let read = scrape::scrape_all(&*from, &all, Some(known), gauges, deadline, AT_ONCE).await;
                let of_canary: HashSet<&str> = wanted
                    .pods
                    .iter()
                    .filter(|pod| is_canary(pod.revision))
                    .map(|pod| pod.name.as_str())
                    .collect();
                let is_asked = |pod: &str| !gauges.is_empty() && of_canary.contains(pod);
                let pages = read.iter().filter(|(pod, _)| is_asked(pod)).cloned().collect();
                let series = |page: Result<PageRead, ReadError>| page.and_then(|page| page.counted);
                counted = Ok(read.into_iter().map(|(pod, page)| (pod, series(page))).collect());
                return Read { counted, pages };
            }
        }
        // Gauges are there to be read also where no counter is.
        let pages = match gauges {
            [] => Vec::new(),
            gauges => scrape::scrape_all(&*from, &targets(&is_canary), None, gauges, deadline, AT_ONCE).await,
        };
        Read { counted, pages }
    }

    /// The server, with credentials that are not old. Where they cannot be read just now, those known stay in use.
    pub(super) async fn server(
        &mut self,
        namespace: &str,
        source: &PrometheusSource,
        at: i64,
    ) -> Result<Arc<Server>, ReadError> {
        let known = self.known.as_ref().filter(|known| known.source == *source);
        if let Some(known) = known.filter(|known| (0..CREDENTIALS_KEPT).contains(&(at - known.read_at))) {
            return Ok(known.server.clone());
        }
        match credentials::way(&self.sources.client, namespace, source).await {
            Ok((prometheus, trust)) => {
                let server = self.sources.servers.at(prometheus, trust)?;
                self.known = Some(Known { source: source.clone(), server: server.clone(), read_at: at });
                Ok(server)
            }
            Err(ReadError::Credentials { lasting: false, .. }) if known.is_some() => {
                Ok(known.expect("just asked").server.clone())
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &mut self,
        server: &Arc<Server>,
        namespace: &str,
        wanted: &Sampling,
        names: &Names,
        round: Round,
    ) -> Result<Answers, ReadError> {
        let pods: Vec<Pod> = wanted
            .pods
            .iter()
            .map(|pod| Pod { name: pod.name.clone(), started_at: pod.started_at })
            .collect();
        let detected = match &self.detected {
            Some(known) => known.clone(),
            None => {
                let found = server.detect(round, namespace, &pods, names).await?;
                self.detected.insert(found).clone()
            }
        };
        if wanted.history && self.history.is_none() {
            let stable = |(_, wanted): &(&Pod, &SampledPod)| wanted.revision == Revision::Stable;
            let stable: Vec<Pod> =
                pods.iter().zip(&wanted.pods).filter(stable).map(|(pod, _)| pod.clone()).collect();
            let read = server.history(round, namespace, &stable, &detected).await;
            self.history = Some(read.map(|slots| History { pods: pods_in(&slots), slots }));
        }
        Ok(server.read(round, Asker { namespace: namespace.to_owned(), pods, detected }).await)
    }
}

fn pods_in(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| slot.pod.as_str()).collect::<HashSet<_>>().len()
}

/// Why there is nothing to judge: no pod of a revision could be read. What is wrong with one of several shows in their number.
fn trouble(wanted: &Sampling, results: &Answers, at: i64) -> Option<String> {
    let errors: HashMap<&str, &ReadError> =
        results.iter().filter_map(|(pod, result)| Some((pod.as_str(), result.as_ref().err()?))).collect();
    let of = |revision| {
        let is_one = |pod: &&SampledPod| pod.revision == revision && pod.is_due(at);
        let mut pods = wanted.pods.iter().filter(is_one).peekable();
        pods.peek()?;
        let failed: Option<Vec<_>> =
            pods.map(|pod| Some((pod.name.as_str(), *errors.get(pod.name.as_str())?))).collect();
        failed
    };
    let failed = of(Revision::Canary).or_else(|| of(Revision::Stable))?;
    let (pod, error) = failed.first()?;
    let same = errors.len() == wanted.pods.len() && errors.values().all(|other| other == error);
    Some(if same { error.to_string() } else { format!("pod {pod}: {error}") })
}

/// Says which of the slots are of canary pods that were not warm when they began.
fn mark_warm_up(wanted: &Sampling, slots: &mut [Slot]) {
    let warm: HashMap<&str, Option<i64>> =
        wanted.pods.iter().map(|pod| (pod.name.as_str(), pod.warm_from)).collect();
    for slot in slots.iter_mut().filter(|slot| slot.revision == Revision::Canary) {
        let warm_from = warm.get(slot.pod.as_str()).copied().flatten();
        slot.warming = warm_from.is_none_or(|warm_from| slot.t < warm_from);
    }
}

fn readings(wanted: &Sampling, results: Answers, at: i64) -> Vec<Reading> {
    let mut results: HashMap<String, _> = results.into_iter().collect();
    let reading = |pod: &crate::decide::SampledPod| Reading {
        pod: pod.name.clone(),
        revision: pod.revision,
        started_at: pod.started_at,
        container_restarts: pod.restarts,
        is_due: pod.is_due(at),
        result: results.remove(&pod.name).unwrap_or(Err(ReadError::NoSamples)),
    };
    wanted.pods.iter().map(reading).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::values::Kind;

    fn wanted(pods: &[(&str, Revision)]) -> Sampling {
        let pod = |&(name, revision): &(&str, Revision)| SampledPod {
            name: name.to_owned(),
            revision,
            ip: "10.0.0.1".to_owned(),
            port: 80,
            path: "/metrics".to_owned(),
            started_at: None,
            warm_from: None,
            known_from: Some(0),
            restarts: 0,
        };
        Sampling {
            run: "r1".to_owned(),
            source: Source::Pods { port: None, path: None },
            counted: true,
            values: Vec::new(),
            requests: None,
            latency: None,
            ignore_paths: Vec::new(),
            every: None,
            young: false,
            history: false,
            pods: pods.iter().map(pod).collect(),
        }
    }

    #[test]
    fn only_pods_that_are_read_one_by_one_count_for_the_cap() {
        let few = [("new", Revision::Canary), ("old", Revision::Stable), ("older", Revision::Stable)];
        let own = Sampling { young: true, ..wanted(&few) };
        let source: PrometheusSource =
            serde_json::from_value(serde_json::json!({"url": "http://x"})).unwrap();
        let scrape_interval = Duration::from_secs(15);
        let many = wanted(&[("pod", Revision::Stable); 3000]);
        let measured =
            Sampling { source: Source::Prometheus { server: source, scrape_interval }, ..many.clone() };
        let idle = Sampling { counted: false, ..many.clone() };
        let gauge = Gauge { name: "queue_length".to_owned(), labels: Default::default() };
        let value =
            crate::decide::SampledValue { criterion: "queue".to_owned(), kind: Kind::PodGauge(gauge) };
        let gauged = Sampling { counted: false, values: vec![value], ..own.clone() };
        assert_eq!(reads_of(&measured), None);
        assert_eq!(reads_of(&idle), None);
        assert_eq!(reads_of(&gauged).map(|reads| reads.pods), Some(1));
        assert_eq!(reads_of(&own), Some(Reads { pods: 3, every: Duration::from_secs(1) }));
        let beside = |other: &Sampling| {
            let all = [("shop", reads_of(&own)), ("noisy", reads_of(other))];
            let all = all.into_iter().filter_map(|(namespace, reads)| Some((namespace, reads?)));
            pace::cadence("shop", usual(&own), all, 300)
        };
        for other in [&measured, &idle, &many] {
            assert_eq!(beside(other), Duration::from_secs(1));
        }
    }

    #[test]
    fn a_canary_pod_warms_up_until_it_has_been_ready_for_half_a_minute() {
        let mut pods =
            wanted(&[("new", Revision::Canary), ("old", Revision::Stable), ("ready", Revision::Canary)]);
        pods.pods[2].warm_from = Some(130);
        let slot = |t, pod: &SampledPod| Slot {
            t,
            revision: pod.revision,
            pod: pod.name.clone(),
            requests: 1,
            errors: 0,
            le: Default::default(),
            warming: false,
        };
        let warming = |t| {
            let mut slots: Vec<Slot> = pods.pods.iter().map(|pod| slot(t, pod)).collect();
            mark_warm_up(&pods, &mut slots);
            slots.iter().map(|slot| slot.warming).collect::<Vec<_>>()
        };
        assert_eq!(warming(129), [true, false, true]);
        assert_eq!(warming(130), [true, false, false]);
    }

    #[test]
    fn trouble_is_said_when_no_pod_of_a_revision_can_be_read() {
        let pods = wanted(&[("a", Revision::Stable), ("b", Revision::Stable), ("c", Revision::Canary)]);
        let said = |missing: &[&str]| {
            let result = |name: &&str| match missing.contains(name) {
                true => Err(ReadError::NoSamples),
                false => Ok(Vec::new()),
            };
            let results = ["a", "b", "c"].iter().map(|name| ((*name).to_owned(), result(name))).collect();
            trouble(&pods, &results, 1)
        };
        let why = ReadError::NoSamples.to_string();
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["a"]), None);
        assert_eq!(said(&["c"]), Some(format!("pod c: {why}")));
        assert_eq!(said(&["a", "b"]), Some(format!("pod a: {why}")));
        assert_eq!(said(&["a", "b", "c"]), Some(why.clone()));
        assert_eq!(trouble(&wanted(&[]), &Vec::new(), 1), None);
        let young = {
            let mut pods = pods.clone();
            pods.pods[2].known_from = Some(2);
            pods
        };
        let results = vec![("c".to_owned(), Err(ReadError::NoSamples))];
        assert_eq!(trouble(&young, &results, 1), None);
        assert_eq!(trouble(&young, &results, 2), Some(format!("pod c: {why}")));
    }
}
