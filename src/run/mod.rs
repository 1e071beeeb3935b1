//! Wiring: the process (settings, signals, its address) and, in it, the loop that looks at Releases. The only place that knows clocks.

mod clock;
mod findings;
mod http;
pub mod leader;
mod operator;
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
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::observe::measure::{self, Trust};
pub use clock::Clock;
use leader::{Elector, LeaseFence};
pub use operator::{Leadership, Operator, Parts};
pub use settings::Settings;

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// When the cluster cannot be reached at the start, or the address is taken.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(settings.log_format);
    // Fails only when one is installed already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let config = cluster(&settings).await?;
    let client = Client::try_from(config.clone()).context("cannot make a client for the cluster")?;
    let lease_client = Client::try_from(config).context("cannot make a client for the cluster")?;
    let clock = Clock::machine();
    let fence = Arc::new(LeaseFence::default());
    let (leading, follow) = watch::channel(false);
    let operator = Operator::start(Parts {
        client,
        clock: clock.clone(),
        pages: Arc::new(measure::client(Trust::Nothing)?),
        leadership: Leadership { fence: fence.clone(), leading: follow },
        reads_per_second: settings.reads_per_second,
        workers: settings.workers,
    })
    .await;
    let address = http::serve(settings.listen, operator.first_lists(), operator.metrics())
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "started");

    let (stop_sender, stop) = watch::channel(false);
    let elector =
        Elector::new(lease_client, clock, &settings.lease_namespace, settings.identity(), fence, leading);
    let election = tokio::spawn(elector.campaign(stop));
    operator.until(asked_to_stop()).await;
    // The Lease is given up last: nobody else writes before we have stopped.
    let _told = stop_sender.send(true);
    election.await.context("the election ended badly")?;
    tracing::info!("stopped");
    Ok(())
}

async fn cluster(settings: &Settings) -> anyhow::Result<Config> {
    let mut config = match &settings.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Config::incluster()?,
        None => Config::infer().await.context("no cluster: neither in one nor a kubeconfig")?,
    };
    // The client would repeat a write up to 15 times over minutes; repeating is ours, from a new snapshot.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(config)
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
