//! Wiring: what is started, in which order it stops, and the loop that looks at Releases. The only place that knows clocks.

mod clock;
mod findings;
mod http;
mod leader;
mod link;
mod prober;
mod queue;
mod reconcile;
mod sampler;
pub mod settings;
mod telemetry;
mod values;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::act::Writer;
use crate::decide::Key;
use crate::observe::reach::Reach;
use crate::report::{Metrics, Reporter};
use crate::watch::{self as watches, FirstLists, SharedIndex};
use findings::SharedFindings;
use leader::{Elector, LeaseFence};
use link::Link;
use prober::Prober;
use queue::Queue;
use reconcile::{OwnWrites, Reconciler};
use sampler::Sampler;
pub use settings::Settings;

/// How long looks under way may take to end when the process stops.
const LAST_LOOKS: Duration = Duration::from_secs(20);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// When the cluster cannot be reached at the start, or the address is taken.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(settings.log_format);
    // Fails only when one is installed already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let metrics = Arc::new(Metrics::new());
    let link = Link::find(&settings, metrics.clone()).await?;
    let client = link.client().context("cannot make a client for the cluster")?;
    let lease_client = link.client().context("cannot make a client for the cluster")?;
    let (index, queue) = (SharedIndex::default(), Arc::new(Queue::with_turns(settings.workers)));
    let waker = queue.clone();
    let wake = move |keys: Vec<Key>| {
        for key in keys {
            waker.wake(key);
        }
    };
    let counted = metrics.clone();
    let mut watching = watches::start(&client, &index, &settings.watch_namespaces, wake, move |right| {
        counted.forbidden(right)
    })
    .await;
    let address =
        http::serve(settings.listen, watching.first_lists.clone(), link.answers.clone(), metrics.clone())
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "started");

    let fence = Arc::new(LeaseFence::default());
    let (leading, follow) = watch::channel(false);
    let (stop_sender, stop) = watch::channel(false);
    let elector =
        Elector::new(lease_client, &settings.lease_namespace, settings.identity(), fence.clone(), leading);
    let election = tokio::spawn(elector.campaign(stop.clone()));

    let reach = Reach::guarded(link.api_server(&client).await, settings.allow_loopback);
    let writer = Writer::new(client.clone(), fence);
    let findings = Arc::new(SharedFindings::default());
    let sampler = Arc::new(Sampler::new(
        client.clone(),
        reach.clone(),
        findings.clone(),
        queue.clone(),
        settings.reads_per_second,
    ));
    let reconciler = Arc::new(Reconciler {
        index: index.clone(),
        prober: Prober::new(client, reach, findings.clone(), queue.clone()),
        reporter: Reporter::start(writer.clone(), metrics.clone()),
        writer,
        queue: queue.clone(),
        findings,
        sampler: sampler.clone(),
        own: OwnWrites::default(),
        under_way: link.runs.clone(),
    });
    let (looks_stop_sender, looks_stop) = watch::channel(false);
    let mut workers = JoinSet::new();
    for _ in 0..settings.workers + queue::BESIDES {
        let first_lists = watching.first_lists.clone();
        workers.spawn(work(reconciler.clone(), first_lists, follow.clone(), looks_stop.clone()));
    }
    tokio::select! {
        () = asked_to_stop() => tracing::info!("asked to stop"),
        () = lead(&index, &reconciler, &metrics, follow, watching.first_lists.clone()) => {}
        ended = watching.tasks.join_next() => tracing::error!(?ended, "a watch ended"),
    }
    // Looks under way end first, the Lease is given up last: nobody else writes before we have stopped.
    let _told = looks_stop_sender.send(true);
    sampler.stop();
    let all_ended = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_LOOKS, all_ended).await.is_err() {
        tracing::warn!("a look was still under way");
    }
    let _told = stop_sender.send(true);
    election.await.context("the election ended badly")?;
    tracing::info!("stopped");
    Ok(())
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
        () = first_lists.complete() => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    loop {
        let leads = async { leading.wait_for(|leading| *leading).await.is_ok() };
        tokio::select! {
            leads = leads => if !leads { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let key = tokio::select! {
            key = reconciler.queue.next() => key,
            _ = stop.wait_for(|stop| *stop) => return,
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
        reconciler.own.clear();
        for key in everything(index) {
            reconciler.queue.wake(key);
        }
        if leading.wait_for(|leading| !*leading).await.is_err() {
            return;
        }
        metrics.set_leading(false);
        reconciler.sampler.stop();
        reconciler.findings.clear();
        reconciler.under_way.clear();
    }
}

/// Every Release, and what deleted ones left behind.
fn everything(index: &SharedIndex) -> Vec<Key> {
    let index = index.lock();
    let key = |namespace: &String, name: &String| Key { namespace: namespace.clone(), name: name.clone() };
    let releases = index.releases.iter().map(|((namespace, name), _)| key(namespace, name));
    let labelled = index.deployments.iter().filter_map(|((namespace, _), deployment)| {
        Some(key(namespace, deployment.metadata.labels.as_ref()?.get(crate::api::RELEASE_LABEL)?))
    });
    let kept = index.templates.iter().filter_map(|((namespace, _), template)| {
        Some(key(namespace, template.metadata.labels.as_ref()?.get(crate::api::RELEASE_LABEL)?))
    });
    let mut all: Vec<Key> = releases.chain(labelled).chain(kept).collect();
    all.sort();
    all.dedup();
    all
}

async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
