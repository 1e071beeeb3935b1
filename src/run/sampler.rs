//! Reading the pods of runs, over and over, while a run needs it: one task a run, all within one cap. Numbers that are read elsewhere
//! are read by another task (`values`), so that neither waits for the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::clock::Clock;
use super::counting::Counting;
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
use crate::observe::measure::counters::Ledger;
use crate::observe::measure::kept::{Passage, SERIES};
use crate::observe::measure::names::{Detected, Names};
use crate::observe::measure::pace::{self, Reads};
use crate::observe::measure::prometheus::{Answers, Asker, Pod, Round, queries};
use crate::observe::measure::scrape::{self, PageRead, Pages, Target};
use crate::observe::measure::servers::{Server, Servers};
use crate::observe::values::of_pages;
use crate::watch::ObjectKey;

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
        let of = ObjectKey::from(&self.key);
        let mut ledger = Ledger::within(&SERIES, &of);
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
                ledger = Ledger::within(&SERIES, &of);
            }
            let asked: Vec<Gauge> = gauges.iter().map(|(_, gauge)| (*gauge).clone()).collect();
            let mut counting =
                if wanted.counted { Some(Counting::begin(&mut ledger, &wanted, at)) } else { None };
            let pages = self.reader.read(&of, &wanted, &asked, at, deadline, counting.as_mut()).await;
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
            if let Some(counting) = counting {
                let (mut taken, trouble) = counting.end();
                mark_warm_up(&wanted, &mut taken.slots);
                // Before the first slots: what is learnt later is learnt by nobody.
                if let Some(Ok(history)) = &mut self.reader.history
                    && !history.slots.is_empty()
                    && !self.findings.add_history(&self.key, std::mem::take(&mut history.slots))
                {
                    self.reader.history = Some(Err(ReadError::NoRoom));
                }
                let origin = self.reader.origin(&self.key.namespace, &wanted);
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

/// The canary's pods' pages, where gauges were asked for; what they count is not in them any more.
type Gauged = Vec<(String, Result<PageRead, ReadError>)>;

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
        of: &ObjectKey,
        wanted: &Sampling,
        gauges: &[Gauge],
        at: i64,
        deadline: Duration,
        counting: Option<&mut Counting<'_>>,
    ) -> Gauged {
        let names = Names::of(wanted);
        match &wanted.source {
            Source::Pods { .. } => {
                self.read_pages(of.namespace(), wanted, &names, gauges, deadline, counting).await
            }
            Source::Prometheus { server, scrape_interval } => {
                let Some(counting) = counting else { return Vec::new() };
                let round = Round { now: at, scrape_interval: *scrape_interval, deadline: QUERY };
                let passage = Passage::of(&SERIES, of);
                match self.read_server(of.namespace(), wanted, server, &names, round, &passage).await {
                    Ok(answers) => answers.into_iter().for_each(|(pod, said)| counting.add(&pod, said)),
                    Err(error) => counting.fail(&error),
                }
                Vec::new()
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
        passage: &Passage,
    ) -> Result<Answers, ReadError> {
        let server = self.server(namespace, source, round.now).await?;
        let read = self.ask(&server, namespace, wanted, names, round, passage).await;
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
        counting: Option<&mut Counting<'_>>,
    ) -> Gauged {
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
        if let Some(counting) = counting {
            let all = targets(&|_| true);
            if self.detected.is_none() {
                match scrape::detect(&*from, &all, names, deadline, AT_ONCE).await {
                    Ok(found) => self.detected = Some(found),
                    Err(error) => counting.fail(&error),
                }
            }
            if let Some(known) = &self.detected {
                let of_canary: HashSet<&str> = wanted
                    .pods
                    .iter()
                    .filter(|pod| is_canary(pod.revision))
                    .map(|pod| pod.name.as_str())
                    .collect();
                let is_asked = |pod: &str| !gauges.is_empty() && of_canary.contains(pod);
                let mut pages = BTreeMap::new();
                let mut take = |place: usize, mut page: Result<PageRead, ReadError>| {
                    let pod = &all[place].pod;
                    let counted = match &mut page {
                        Ok(page) => std::mem::replace(&mut page.counted, Ok(Vec::new())),
                        Err(error) => Err(error.clone()),
                    };
                    counting.add(pod, counted);
                    if is_asked(pod) {
                        pages.insert(place, (pod.clone(), page));
                    }
                };
                scrape::scrape(&*from, &all, Some(known), gauges, deadline, AT_ONCE, &mut take).await;
                return pages.into_values().collect();
            }
        }
        // Gauges are there to be read also where no counter is.
        match gauges {
            [] => Vec::new(),
            gauges => scrape::scrape_all(&*from, &targets(&is_canary), None, gauges, deadline, AT_ONCE).await,
        }
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
        passage: &Passage,
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
        let asker = Asker { namespace: namespace.to_owned(), pods, detected, passage: passage.clone() };
        Ok(server.read(round, asker).await)
    }
}

fn pods_in(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| slot.pod.as_str()).collect::<HashSet<_>>().len()
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

#[cfg(test)]
mod tests {
    use super::super::counting::tests::wanted;
    use super::*;
    use crate::decide::values::Kind;

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
}
