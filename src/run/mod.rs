//! Wiring: the process (settings, signals, its address) and, in it, the loop that looks at Releases. The only place that knows clocks.

mod clock;
mod counting;
mod errands;
mod findings;
mod http;
pub mod leader;
mod let_go;
pub mod link;
mod looks;
mod memory;
mod missing;
mod operator;
mod own_status;
mod own_writes;
mod prober;
mod queue;
mod reconcile;
mod run_reader;
mod rush;
mod sampler;
pub mod settings;
mod shares;
mod telemetry;
mod unanswered;
mod values;

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::observe::measure::{self, Trust};
use crate::observe::reach::Reach;
use crate::report::Metrics;
use crate::report::notify::Outside;
use crate::watch::api_server;
pub use clock::Clock;
use leader::{Elector, LeaseFence};
use link::Link;
pub use operator::{Leadership, Operator, Parts};
pub use reconcile::Onlooker;
pub use settings::Settings;

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
    let clock = Clock::machine();
    let reach = Reach::guarded(link.api_server(&client).await, settings.allow_loopback);
    let (told, counted) = (reach.clone(), metrics.clone());
    let following = tokio::spawn(api_server::follow(
        client.clone(),
        move |replicas| told.api_server_is_at(replicas),
        move |right| counted.forbidden(right),
    ));
    let fence = Arc::new(LeaseFence::default());
    let (leading, follow) = watch::channel(false);
    let operator = Operator::start(Parts {
        carrier: Arc::new(Outside::new(client.clone(), reach.clone())),
        client,
        namespaces: settings.watch_namespaces.clone(),
        clock: clock.clone(),
        pages: Arc::new(measure::client(Trust::Nothing, &reach)?),
        reach,
        leadership: Leadership { fence: fence.clone(), leading: follow },
        under_way: link.runs.clone(),
        metrics: metrics.clone(),
        reads_per_second: settings.reads_per_second,
        workers: settings.workers,
        texts: memory::for_texts(),
        onlooker: None,
    })
    .await;
    let address = http::serve(settings.listen, operator.first_lists(), link.answers.clone(), metrics)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "started");

    let (stop_sender, stop) = watch::channel(false);
    let elector =
        Elector::new(lease_client, clock, &settings.lease_namespace, settings.identity(), fence, leading);
    let election = tokio::spawn(elector.campaign(stop));
    operator.until(asked_to_stop()).await;
    following.abort();
    // The Lease is given up last: nobody else writes before we have stopped.
    let _told = stop_sender.send(true);
    election.await.context("the election ended badly")?;
    tracing::info!("stopped");
    Ok(())
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
