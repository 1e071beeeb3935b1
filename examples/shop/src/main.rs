//! A small shop: something to release, and to break on purpose.
//!
//! It sells one thing over HTTP, says how it is doing at `/healthz` and `/metrics`, and can be slow, fail, never become
//! ready or crash when told to, so that a release of it can be seen to go well or to be undone. Ten to sixty of them
//! run on one small machine: one thread each, and nothing happens while nobody asks.
//!
//! It keeps nothing, and makes no load on itself.

mod faults;
mod metrics;
mod routes;
mod settings;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::routes::Shop;
use crate::settings::Settings;

/// How long requests that are still being answered after the drain may take before the process ends without them.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(invalid) => {
            eprintln!("shop: {invalid}");
            return ExitCode::from(2);
        }
    };
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)
        .and_then(|runtime| runtime.block_on(serve(settings)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shop: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the shop ended other than by being told to.
#[derive(Debug)]
enum Failure {
    Start(io::Error),
    Listen(std::net::SocketAddr, io::Error),
    Serve(io::Error),
    Crash(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Start(error) => write!(f, "cannot start: {error}"),
            Failure::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Failure::Serve(error) => write!(f, "cannot go on serving: {error}"),
            Failure::Crash(after) => {
                write!(f, "crashed {} ms after the start, as CRASH_AFTER_MS said", after.as_millis())
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT and the drain that follows, or until the crash that was asked for.
async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before anything is served: process 1 of a container ignores a SIGTERM nobody listens for.
    let stop = Stop::listen().map_err(Failure::Start)?;
    let listener = TcpListener::bind(settings.address)
        .await
        .map_err(|error| Failure::Listen(settings.address, error))?;
    let address = listener.local_addr().map_err(Failure::Start)?;
    println!("shop {} listens on {address}", settings.version);

    let drain = settings.drain;
    let crash_after = settings.crash_after;
    let (drained, told_drained) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes::router(Arc::new(Shop::open(settings))))
        .with_graceful_shutdown(async move {
            // A dropped sender means the same: nothing more is coming.
            let _ = told_drained.await;
        });
    let cut_off = async move {
        stop.told().await;
        sleep(drain).await;
        let _ = drained.send(());
        sleep(LAST_ANSWERS).await;
    };
    let crash = async move {
        match crash_after {
            Some(after) => {
                sleep(after).await;
                after
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = async { server.await } => ended.map_err(Failure::Serve),
        () = cut_off => Ok(()),
        after = crash => Err(Failure::Crash(after)),
    }
}

/// The two signals that end the shop: SIGTERM from a kubelet, SIGINT from a terminal.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
