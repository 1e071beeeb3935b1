//! A fake Prometheus with a past: pods that were scraped every 15 s, their counts made from a seed. It understands the few queries that
//! are asked of it and no PromQL beyond.

mod numbers;

use std::fmt::Write as _;
use std::future::IntoFuture as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use jiff::Timestamp;

pub use self::numbers::{Curve, Gauge, Number};
use crate::tls;

pub const SCRAPE: i64 = 15;
/// 2026-11-18T00:00:00Z
pub const BEGINNING: i64 = 1_794_960_000;
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 86_400;

/// Ok, failed, within 0.1 s, 0.5 s and 2 s, all.
const SERIES: usize = 6;
const BOUNDS: [&str; 4] = ["0.1", "0.5", "2", "+Inf"];

/// What pods were like.
#[derive(Clone)]
pub struct Past {
    pub pods: Vec<Pod>,
    /// Seconds that the server's clock is ahead of the truth; `None`: its answers do not say what it shows.
    pub ahead: Option<i64>,
    /// The truth: nothing later is known. Set by tests that play the present.
    pub now: Arc<AtomicI64>,
    /// The queries, each with its moment.
    pub asked: Arc<Mutex<Vec<(String, i64)>>>,
    /// Stretches of which nothing was kept.
    pub gaps: Vec<(i64, i64)>,
    /// The longest range that is answered, in seconds.
    pub longest: i64,
    /// Whoever asks must have this header, with this value.
    pub wants: Option<(&'static str, &'static str)>,
    /// How long each answer takes.
    pub slow: Duration,
    /// Questions that have come in.
    pub questions: Arc<AtomicI64>,
    /// Queries of somebody's.
    pub numbers: Vec<Number>,
    /// Gauges of all pods.
    pub gauges: Vec<Gauge>,
}

#[derive(Clone)]
pub struct Pod {
    pub name: String,
    /// Its first scrape.
    pub from: i64,
    /// Counts after each scrape.
    counts: Vec<[u64; SERIES]>,
}

/// What a pod does at a moment: requests a second, the share that fails, the share slower than 0.5 s.
pub type Behaviour<'a> = &'a dyn Fn(i64) -> (f64, f64, f64);

impl Pod {
    /// A pod from its first scrape to its last. Where `restarts` says so its counters begin again.
    pub fn new(name: &str, from: i64, to: i64, restarts: Option<i64>, behaviour: Behaviour<'_>) -> Pod {
        let mut dice =
            Dice(name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))));
        let mut counts = Vec::new();
        let mut sums = [0; SERIES];
        let mut at = from;
        while at <= to {
            if restarts.is_some_and(|restart| at - SCRAPE < restart && restart <= at) {
                sums = [0; SERIES];
            }
            let (rate, failing, slow) = behaviour(at);
            let requests = dice.around(rate * SCRAPE as f64);
            let failed = dice.of(requests, failing);
            let late = dice.of(requests, slow);
            for (sum, more) in sums.iter_mut().zip([
                requests - failed,
                failed,
                (requests - late) * 9 / 10,
                requests - late,
                requests - late / 10,
                requests,
            ]) {
                *sum += more;
            }
            counts.push(sums);
            at += SCRAPE;
        }
        Pod { name: name.to_owned(), from, counts }
    }

    /// Its last scrape.
    fn to(&self) -> i64 {
        self.from + SCRAPE * i64::try_from(self.counts.len() - 1).expect("few")
    }

    /// Requests and failed ones that were counted up to a moment.
    pub fn counted(&self, at: i64) -> (u64, u64) {
        let scrapes = usize::try_from((at - self.from).div_euclid(SCRAPE)).expect("it is there");
        let [fine, failed, ..] = self.counts[scrapes.min(self.counts.len() - 1)];
        (fine + failed, failed)
    }
}

impl Past {
    pub fn of(pods: Vec<Pod>) -> Past {
        Past {
            pods,
            ahead: None,
            now: Arc::new(AtomicI64::new(i64::MAX)),
            asked: Arc::default(),
            gaps: Vec::new(),
            longest: i64::MAX,
            wants: None,
            slow: Duration::ZERO,
            questions: Arc::default(),
            numbers: Vec::new(),
            gauges: Vec::new(),
        }
    }

    /// Starts the server; its URL.
    pub async fn serve(&self) -> String {
        let past = self.clone();
        let query = move |headers: HeaderMap, body: String| async move {
            past.questions.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(past.slow).await;
            let said = |name: &str| headers.get(name).and_then(|header| header.to_str().ok());
            match past.wants {
                Some((name, value)) if said(name) != Some(value) => StatusCode::UNAUTHORIZED.into_response(),
                _ => past.answer(&body),
            }
        };
        let router = Router::new().route("/api/v1/query", post(query));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(axum::serve(listener, router).into_future());
        format!("http://127.0.0.1:{port}")
    }

    /// The same over TLS.
    pub fn serve_tls(&self) -> String {
        let past = self.clone();
        let port = tls::serve(move |body| past.text(body));
        format!("https://localhost:{port}")
    }

    fn answer(&self, body: &str) -> Response {
        let mut response = ([("content-type", "application/json")], self.text(body)).into_response();
        if let Some(ahead) = self.ahead {
            let shown = Timestamp::from_second(self.now.load(Ordering::Relaxed) + ahead).expect("a moment");
            let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&shown);
            response.headers_mut().insert("date", date.expect("a date").parse().expect("a header"));
        }
        response
    }

    fn text(&self, body: &str) -> String {
        let form = reqwest::Url::parse(&format!("http://form/?{body}")).expect("a form");
        let field = |name: &str| {
            form.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).expect(name)
        };
        let (query, time) = (field("query"), field("time").parse::<i64>().expect("a moment"));
        self.asked.lock().expect("not poisoned").push((query.clone(), time));
        self.number(&query, time).unwrap_or_else(|| self.result(&query, time))
    }

    /// `time` is by the server's clock.
    fn result(&self, query: &str, time: i64) -> String {
        let ahead = self.ahead.unwrap_or(0);
        let Some(pattern) = query.split("pod=~\"").nth(1).and_then(|rest| rest.split('"').next()) else {
            return r#"{"status":"error","errorType":"bad_data","error":"parse error: unclosed ("}"#
                .to_owned();
        };
        let pattern =
            regex_lite::Regex::new(&format!("^(?:{})$", pattern.replace("\\\\", "\\"))).expect("a pattern");
        let range = query
            .strip_suffix("s]")
            .and_then(|query| query.rsplit_once('['))
            .map(|(_, range)| range.parse::<i64>().expect("a range"));
        if range.is_some_and(|range| range > self.longest) {
            return r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#
                .to_owned();
        }
        let from = time - range.unwrap_or(300);
        let now = self.now.load(Ordering::Relaxed);
        let mut results = Vec::new();
        for pod in self.pods.iter().filter(|pod| pattern.is_match(&pod.name)) {
            for series in 0..SERIES {
                let (name, label, value) = match series {
                    0 => ("http_requests_total", "code", "200"),
                    1 => ("http_requests_total", "code", "500"),
                    bound => ("http_request_duration_seconds_bucket", "le", BOUNDS[bound - 2]),
                };
                if query.starts_with("{__name__") {
                    if label == "le" && value != "+Inf" {
                        continue;
                    }
                } else if !query.starts_with(&format!("{name}{{")) {
                    continue;
                }
                let mut samples = String::new();
                let place = |stamp: i64| (stamp - ahead - pod.from).div_euclid(SCRAPE) + 1;
                let scrapes =
                    place(from).max(0)..place(time).min(i64::try_from(pod.counts.len()).expect("few"));
                let kept = scrapes.filter_map(|scrape| {
                    let at = pod.from + scrape * SCRAPE;
                    let stamp = at + ahead;
                    let counts = pod.counts[usize::try_from(scrape).expect("not before the first")];
                    let lost = self.gaps.iter().any(|(from, to)| (*from..*to).contains(&at));
                    (stamp > from && stamp <= time && at <= now && !lost).then_some((stamp, counts[series]))
                });
                for (stamp, count) in kept {
                    let comma = if samples.is_empty() { "" } else { "," };
                    write!(samples, r#"{comma}[{stamp},"{count}"]"#).expect("memory");
                }
                if samples.is_empty() {
                    continue;
                }
                let metric = format!(
                    r#"{{"__name__":"{name}","namespace":"shop","pod":"{}","{label}":"{value}"}}"#,
                    pod.name
                );
                results.push(match range {
                    Some(_) => format!(r#"{{"metric":{metric},"values":[{samples}]}}"#),
                    None => format!(r#"{{"metric":{metric},"value":[{time},"1"]}}"#),
                });
            }
        }
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, results.join(","))
    }
}

struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About so many.
    fn around(&mut self, mean: f64) -> u64 {
        let noise = (0..12).map(|_| self.share()).sum::<f64>() - 6.0;
        (mean + noise * mean.sqrt()).max(0.0).round() as u64
    }

    /// So many of them.
    fn of(&mut self, all: u64, share: f64) -> u64 {
        (0..all).filter(|_| self.share() < share).count() as u64
    }
}
