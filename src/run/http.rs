//! `/healthz`, `/readyz` and `/metrics`. Reads memory only.
//!
//! Anybody in the cluster may connect, and nobody is asked who they are. So connections are few, short, and hold little; and whoever opens
//! many of them loses their own.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::link::Answers;
use crate::logged::logged;
use crate::report::Metrics;
use crate::watch::FirstLists;

/// Connections at once.
const MOST: usize = 64;
/// How long a request may take to come, and a connection may take in all.
const LONGEST_HEADER: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes of a request.
const LARGEST: usize = 16 << 10;
/// After which it is tried again, where no connection can be taken: there are no file descriptors left, say.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until the process ends. The listener is bound first, so that a taken port is an error at the start.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    first_lists: FirstLists,
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let asked = answers.clone();
    let readyz = move || {
        let lacking: Vec<String> = first_lists.lacking().iter().map(ToString::to_string).collect();
        let unready = match first_lists.are_complete() {
            _ if !lacking.is_empty() => Some(lacking.join("\n")),
            true => asked.trouble(),
            false => Some("the watches are not complete yet".to_owned()),
        };
        async move {
            match unready {
                None => (StatusCode::OK, "ok".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            }
        }
    };
    let page = move || {
        metrics.set_unanswered(answers.silent_for());
        let text = metrics.page();
        async move { ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page));
    tokio::spawn(accept(listener, router));
    Ok(address)
}

async fn accept(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(MOST));
    // In the order in which they came.
    let mut open: Vec<(IpAddr, AbortHandle)> = Vec::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_the_connection(error.kind()) {
                    tracing::warn!(error = %logged(&error), "the http server cannot take a connection");
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        open.retain(|(_, task)| !task.is_finished());
        if open.len() >= MOST
            && let Some(place) = oldest_of_most(&open)
        {
            let (_, task) = open.remove(place);
            task.abort();
        }
        // What was ended just now is gone in a moment.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let task = tokio::spawn(answer(stream, router.clone(), slot));
        open.push((from.ip(), task.abort_handle()));
    }
}

/// It went before it was taken.
fn is_of_the_connection(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}

/// Which one goes where there is no room for another: of whoever has most. So a probe of the kubelet's gets through, and is not ended by
/// what others open after it.
fn oldest_of_most(open: &[(IpAddr, AbortHandle)]) -> Option<usize> {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (from, _) in open {
        *counts.entry(*from).or_default() += 1;
    }
    let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    open.iter().position(|(from, _)| *from == most)
}

/// One request.
async fn answer(stream: TcpStream, router: Router, _slot: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST_HEADER)
        .max_buf_size(LARGEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // However it ends: whoever asked knows.
    let _ended = tokio::time::timeout(LONGEST, connection).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(3);

    async fn start() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(accept(listener, Router::new().route("/healthz", get(|| async { "ok" }))));
        address
    }

    /// A connection on which so much was said.
    async fn said(to: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("it is taken");
        stream
    }

    /// What comes until the connection is closed, in whatever way.
    async fn rest(mut stream: TcpStream) -> String {
        let mut read = Vec::new();
        let _how = stream.read_to_end(&mut read).await;
        String::from_utf8_lossy(&read).into_owned()
    }

    #[tokio::test]
    async fn who_opens_many_connections_and_asks_nothing_keeps_nobody_out_and_is_let_go() {
        let address = start().await;
        let elsewhere = TcpSocket::new_v4().expect("a socket");
        elsewhere.bind("127.0.0.2:0".parse().expect("an address")).expect("it is ours");
        let mut elsewhere = elsewhere.connect(address).await.expect("a connection");
        elsewhere.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it is taken");
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(said(address, "GET /healthz HTTP/1.1\r\nhost: ").await);
        }
        let asked = said(address, "GET /healthz HTTP/1.1\r\nhost: us\r\n\r\n").await;
        let answer = timeout(SOON, rest(asked)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        elsewhere.write_all(b"host: us\r\n\r\n").await.expect("it is taken");
        let answer = timeout(SOON, rest(elsewhere)).await.expect("an answer");
        assert!(answer.ends_with("ok"), "one that came before them: {answer}");
        let closed = futures::future::join_all(silent.into_iter().map(rest));
        timeout(LONGEST, closed).await.expect("all of them are closed");
    }

    #[tokio::test]
    async fn a_request_without_an_end_is_not_kept() {
        let address = start().await;
        let mut stream = said(address, "GET /healthz HTTP/1.1\r\nhost: ").await;
        let _cut_short = stream.write_all("a".repeat(2 * LARGEST).as_bytes()).await;
        timeout(SOON, rest(stream)).await.expect("it is closed before its time is over");
    }
}
