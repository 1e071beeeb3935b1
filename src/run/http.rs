//! `/healthz`, `/readyz` and `/metrics`. Reads memory only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::link::Answers;
use crate::report::Metrics;
use crate::watch::FirstLists;

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
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the http server ended");
        }
    });
    Ok(address)
}
