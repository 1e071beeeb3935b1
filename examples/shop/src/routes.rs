//! What the shop answers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::sleep;

use crate::faults::{Dice, Faults};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A shop that is open. One thread serves it: its locks are never waited for, and none is held across an await.
#[derive(Debug)]
pub struct Shop {
    opened: Instant,
    version: String,
    ready_after: Option<Duration>,
    allow_faults: bool,
    faults: Mutex<Faults>,
    dice: Mutex<Dice>,
    metrics: Metrics,
}

impl Shop {
    /// From now on `ERRORS_AFTER` and `READY_AFTER` are counted.
    pub fn open(settings: Settings) -> Self {
        Self {
            opened: now(),
            faults: Mutex::new(Faults::at_start(&settings)),
            dice: Mutex::new(Dice::new()),
            metrics: Metrics::new(),
            version: settings.version,
            ready_after: settings.ready_after,
            allow_faults: settings.allow_faults,
        }
    }
}

pub fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(buy).post(buy))
        .route("/version", get(version))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/fault", post(fault))
        .with_state(shop)
}

async fn buy(State(shop): State<Arc<Shop>>) -> (StatusCode, String) {
    let asked = now();
    let fate = lock(&shop.faults).fate(shop.opened.elapsed(), &mut lock(&shop.dice));
    if !fate.takes.is_zero() {
        sleep(fate.takes).await;
    }
    let (code, text) = if fate.fails {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}: the till is broken\n", shop.version))
    } else {
        (StatusCode::OK, format!("{}: sold\n", shop.version))
    };
    shop.metrics.answered("/", code, asked.elapsed());
    (code, text)
}

async fn version(State(shop): State<Arc<Shop>>) -> String {
    let asked = now();
    let text = format!("{}\n", shop.version);
    shop.metrics.answered("/version", StatusCode::OK, asked.elapsed());
    text
}

async fn health(State(shop): State<Arc<Shop>>) -> (StatusCode, &'static str) {
    match shop.ready_after {
        Some(after) if shop.opened.elapsed() >= after => (StatusCode::OK, "ready\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "never ready, as NEVER_READY says\n"),
    }
}

async fn metrics(State(shop): State<Arc<Shop>>) -> Result<Response, (StatusCode, String)> {
    let text = shop
        .metrics
        .text()
        .map_err(|fmt::Error| (StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics\n".to_owned()))?;
    let openmetrics = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((openmetrics, text).into_response())
}

async fn fault(State(shop): State<Arc<Shop>>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    if !shop.allow_faults {
        return (
            StatusCode::FORBIDDEN,
            "faults are set at runtime only where ALLOW_FAULTS is 1\n".to_owned(),
        );
    }
    let mut faults = lock(&shop.faults);
    match faults.told(&query.unwrap_or_default()) {
        Ok(told) => {
            *faults = told;
            (
                StatusCode::OK,
                format!("error_rate={} latency_ms={}\n", told.error_rate, told.latency.as_millis()),
            )
        }
        Err(invalid) => (StatusCode::BAD_REQUEST, format!("{invalid}\n")),
    }
}

/// The only clock the shop reads.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own: the rule about clocks is the operator's"
)]
fn now() -> Instant {
    Instant::now()
}

/// What is behind these locks is valid after every assignment: a panic elsewhere is no reason to stop selling.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::*;

    fn healthy() -> Settings {
        Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            version: "v7".to_owned(),
            latency: Duration::ZERO,
            error_rate: 0.0,
            errors_after: Duration::ZERO,
            ready_after: Some(Duration::ZERO),
            crash_after: None,
            drain: Duration::ZERO,
            allow_faults: false,
        }
    }

    /// Opens a shop, asks it each of these, and gives back whole answers.
    fn ask(settings: Settings, requests: &'static [&str]) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(settings.address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let server =
                tokio::spawn(async { axum::serve(listener, router(Arc::new(Shop::open(settings)))).await });
            let ask = move |request: &&str| {
                let mut stream = TcpStream::connect(address).unwrap();
                write!(stream, "{request} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            };
            let answers =
                tokio::task::spawn_blocking(move || requests.iter().map(ask).collect()).await.unwrap();
            server.abort();
            answers
        })
    }

    #[track_caller]
    fn assert_answer(answer: &str, code: u16, text: &str) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")) && answer.contains(text), "{answer}");
    }

    #[test]
    fn a_healthy_shop_sells_and_says_so() {
        let answers = ask(healthy(), &["GET /", "GET /version", "GET /healthz", "GET /metrics"]);
        assert_answer(&answers[0], 200, "v7: sold");
        assert_answer(&answers[1], 200, "v7\n");
        assert_answer(&answers[2], 200, "ready");
        assert_answer(&answers[3], 200, "http_requests_total{code=\"200\",path=\"/\"} 1\n");
        assert_answer(&answers[3], 200, "application/openmetrics-text");
    }

    #[test]
    fn faults_can_be_set_at_runtime_where_they_are_allowed() {
        let requests = &["GET /", "POST /fault?error_rate=1", "GET /", "POST /fault?error_rate=2", "GET /"];
        let answers = ask(Settings { allow_faults: true, ..healthy() }, requests);
        assert_answer(&answers[0], 200, "sold");
        assert_answer(&answers[1], 200, "error_rate=1 latency_ms=0\n");
        assert_answer(&answers[2], 500, "the till is broken");
        assert_answer(&answers[3], 400, "error_rate is \"2\": write a share from 0 to 1");
        assert_answer(&answers[4], 500, "the till is broken");
    }

    #[test]
    fn faults_are_refused_where_nobody_allowed_them() {
        let answers = ask(healthy(), &["POST /fault?error_rate=1", "GET /"]);
        assert_answer(&answers[0], 403, "ALLOW_FAULTS");
        assert_answer(&answers[1], 200, "sold");
    }

    #[test]
    fn a_shop_that_is_not_ready_says_so() {
        let later = Settings { ready_after: Some(Duration::from_secs(3600)), ..healthy() };
        assert_answer(&ask(later, &["GET /healthz"])[0], 503, "not ready yet");
        assert_answer(
            &ask(Settings { ready_after: None, ..healthy() }, &["GET /healthz"])[0],
            503,
            "never ready",
        );
    }
}
