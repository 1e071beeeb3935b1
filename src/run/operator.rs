//! The loop, from the watches to the writes, made of what it is given: a client, a clock, who fetches pods' pages, who carries messages, who
//! leads. It knows no process: no settings, no signals, no sockets of its own. Dropped, it ends as a process does that is killed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::errands::{Errands, Hands};
use super::findings::SharedFindings;
use super::link::UnderWay;
use super::own_writes::OwnWrites;
use super::prober::Prober;
use super::queue::{self, Queue};
use super::reconcile::Reconciler;
use super::rush::Rush;
use super::sampler::Sampler;
use crate::act::{Fence, Writer};
use crate::decide::Key;
use crate::observe::gather::Gatherer;
use crate::observe::measure::scrape::Pages;
use crate::observe::reach::Reach;
use crate::observe::reading::Reading;
use crate::report::notify::Carrier;
use crate::report::{Metrics, Notifier, Reporter};
use crate::watch::{self as watches, FirstLists, SharedIndex, Watching};

/// How long looks under way may take to end when the process stops.
const LAST_LOOKS: Duration = Duration::from_secs(20);

/// What the loop is made of.
pub struct Parts {
    /// Every request of it has an end (`link`).
    pub client: Client,
    /// Where to watch; none: everywhere.
    pub namespaces: Vec<String>,
    pub clock: Clock,
    pub pages: Arc<dyn Pages>,
    pub reach: Reach,
    /// Hands messages over to people outside.
    pub carrier: Arc<dyn Carrier>,
    pub leadership: Leadership,
    /// Is told whether a run is under way.
    pub under_way: Arc<UnderWay>,
    pub metrics: Arc<Metrics>,
    /// Pods read in a second by all runs together.
    pub reads_per_second: u32,
    /// Releases worked on at the same time.
    pub workers: u16,
}

/// Whether this process leads, and whether it may still write.
pub struct Leadership {
    pub fence: Arc<dyn Fence>,
    pub leading: watch::Receiver<bool>,
}

/// The loop, under way.
pub struct Operator {
    index: SharedIndex,
    reconciler: Arc<Reconciler>,
    metrics: Arc<Metrics>,
    leading: watch::Receiver<bool>,
    watching: Watching,
    workers: JoinSet<()>,
    looks_stop: watch::Sender<bool>,
}

impl Operator {
    /// Starts watching, and looks at Releases as soon as it leads and everything has been listed once.
    pub async fn start(parts: Parts) -> Self {
        let Parts {
            client, namespaces, clock, pages, reach, carrier, leadership, under_way, metrics, ..
        } = parts;
        let Leadership { fence, leading } = leadership;
        let (index, queue) = (SharedIndex::default(), Arc::new(Queue::with_turns(parts.workers)));
        let waker = queue.clone();
        let wake = move |keys: Vec<Key>| {
            for key in keys {
                waker.wake(key);
            }
        };
        let counted = metrics.clone();
        let watching =
            watches::start(&client, &index, &namespaces, wake, move |right| counted.forbidden(right)).await;
        let writer = Writer::new(client.clone(), fence);
        let findings = Arc::new(SharedFindings::default());
        let sampler = Arc::new(Sampler::new(
            client.clone(),
            pages.clone(),
            reach.clone(),
            clock.clone(),
            findings.clone(),
            queue.clone(),
            parts.reads_per_second,
        ));
        let errands = Errands::new(Hands {
            gatherer: Arc::new(Gatherer::start(client.clone())),
            client: client.clone(),
            reach: reach.clone(),
            writer: writer.clone(),
            clock: clock.clone(),
            findings: findings.clone(),
            queue: queue.clone(),
        });
        let waker = queue.clone();
        let notifier = Notifier::new(carrier, metrics.clone(), move |key| waker.wake(key));
        let reconciler = Arc::new(Reconciler {
            errands,
            notifier,
            prober: Prober::new(client, pages, reach, clock.clone(), findings.clone(), queue.clone()),
            clock,
            index: index.clone(),
            reading: Reading::default(),
            reporter: Reporter::start(writer.clone(), metrics.clone()),
            writer,
            queue,
            findings,
            sampler,
            own: OwnWrites::default(),
            under_way,
            rush: Rush::default(),
        });
        let (looks_stop, stop) = watch::channel(false);
        let mut workers = JoinSet::new();
        for _ in 0..parts.workers + queue::BESIDES {
            let first_lists = watching.first_lists.clone();
            workers.spawn(work(reconciler.clone(), first_lists, leading.clone(), stop.clone()));
        }
        Self { index, reconciler, metrics, leading, watching, workers, looks_stop }
    }

    /// Complete once the operator knows everything that is there.
    pub fn first_lists(&self) -> FirstLists {
        self.watching.first_lists.clone()
    }

    /// Goes on until asked to stop. Then looks under way end; nothing is written after that.
    pub async fn until(mut self, asked_to_stop: impl Future<Output = ()>) {
        let first_lists = self.first_lists();
        tokio::select! {
            biased;
            () = asked_to_stop => tracing::info!("asked to stop"),
            () = lead(&self.index, &self.reconciler, &self.metrics, self.leading.clone(), first_lists) => {}
            ended = self.watching.tasks.join_next() => tracing::error!(?ended, "a watch ended"),
        }
        let _told = self.looks_stop.send(true);
        self.reconciler.sampler.stop();
        self.reconciler.prober.stop();
        self.reconciler.notifier.stop();
        let all_ended = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_LOOKS, all_ended).await.is_err() {
            tracing::warn!("a look was still under way");
        }
    }
}

/// A worker: one look after the other, while leading, and not before everything has been listed once: a Release that has not been
/// listed yet looks like one that was deleted.
async fn work(
    reconciler: Arc<Reconciler>,
    first_lists: FirstLists,
    mut leading: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return,
        () = first_lists.complete() => {}
    }
    loop {
        let leads = async { leading.wait_for(|leading| *leading).await.is_ok() };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            leads = leads => if !leads { return },
        }
        let key = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            key = reconciler.queue.next() => key,
        };
        if *leading.borrow() {
            reconciler.look(&key).await;
        } else {
            // Deposed while it waited: whoever leads looks, and so do we when we lead again.
            reconciler.queue.done(&key, false);
        }
    }
}

/// Each time this process becomes the leader everything is looked at anew.
async fn lead(
    index: &SharedIndex,
    reconciler: &Reconciler,
    metrics: &Metrics,
    mut leading: watch::Receiver<bool>,
    first_lists: FirstLists,
) {
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            return;
        }
        first_lists.complete().await;
        metrics.set_leading(true);
        let all = everything(index);
        reconciler.own.lead_again(&all);
        reconciler.rush.clear();
        for key in all {
            reconciler.queue.wake(key);
        }
        if leading.wait_for(|leading| !*leading).await.is_err() {
            return;
        }
        metrics.set_leading(false);
        reconciler.sampler.stop();
        reconciler.prober.stop();
        reconciler.notifier.stop();
        reconciler.errands.clear();
        reconciler.findings.clear();
        reconciler.under_way.clear();
    }
}

/// Every Release, and what deleted ones left behind.
fn everything(index: &SharedIndex) -> Vec<Key> {
    let index = index.lock();
    let releases = index.releases.iter().map(|(name, _)| name.into());
    let labelled = index.deployments.iter().filter_map(|(_, deployment)| deployment.metadata.release());
    let kept = index.templates.iter().filter_map(|(_, template)| template.metadata.release());
    let quarantined = index.pods.iter().filter_map(|(_, pod)| pod.quarantined_for());
    let named = labelled.chain(kept).map(|release| Key::from(&release));
    let mut all: Vec<Key> = releases.chain(named).chain(quarantined).collect();
    all.sort();
    all.dedup();
    all
}
