//! Reading the pods of runs, over and over, while a run needs it: one task a run, all within one cap. Numbers that are read elsewhere
//! are read by another task (`values`), so that neither waits for the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::clock::Clock;
use super::counting::Counting;
use super::findings::SharedFindings;
use super::queue::Queue;
use super::run_reader::{RunReader, Sources};
use super::values::{self, ValueRounds};
use crate::decide::judge::{Revision, Slot};
use crate::decide::plan::Source;
use crate::decide::values::{Gauge, Kind, Sample};
use crate::decide::{Key, Sampling};
use crate::observe::measure::counters::Ledger;
use crate::observe::measure::kept::SERIES;
use crate::observe::measure::pace::{self, Reads};
use crate::observe::measure::scrape::Pages;
use crate::observe::measure::servers::Servers;
use crate::observe::values::of_pages;
use crate::watch::ObjectKey;

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
            reader: RunReader::new(self.sources.clone()),
            wanted: receiver.clone(),
            began: self.clock.now().as_second(),
            findings: self.findings.clone(),
            queue: self.queue.clone(),
            runs: self.runs.clone(),
            reads_per_second: self.reads_per_second,
        };
        let values = ValueRounds::new(
            key.clone(),
            self.clock.clone(),
            RunReader::new(self.sources.clone()),
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
    reader: RunReader,
    wanted: watch::Receiver<Sampling>,
    /// Before the first pod was ordered: with a server that scrapes now and then, the first round comes when pods have long started.
    began: i64,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    runs: Arc<Mutex<HashMap<Key, Measured>>>,
    reads_per_second: u32,
}

impl Rounds {
    async fn go_on(mut self) {
        let of = ObjectKey::from(&self.key);
        let mut ledger = Ledger::within(&SERIES, &of).beginning(self.began);
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
                let sample = |(place, (criterion, gauge)): (usize, &(&str, &Gauge))| Sample {
                    t: at,
                    criterion: (*criterion).to_owned(),
                    definition: Kind::PodGauge((*gauge).clone()).definition(),
                    every: values::whole(gauges_every),
                    blameless: false,
                    found: of_pages(place, &pages),
                };
                self.findings.add_samples(&self.key, gauges.iter().enumerate().map(sample).collect());
            }
            if let Some(counting) = counting {
                let (mut taken, trouble) = counting.end(self.reader.unlabelled().as_ref());
                mark_warm_up(&wanted, &mut taken.slots);
                // Before the first slots: what is learnt later is learnt by nobody.
                if let Some(slots) = self.reader.take_history()
                    && !self.findings.add_history(&self.key, self.reader.definition(), slots)
                {
                    self.reader.forget_history();
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
    use crate::api::release::PrometheusSource;
    use crate::decide::SampledPod;

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
            untold: 0,
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
