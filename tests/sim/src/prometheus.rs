//! A Prometheus server: it scrapes the pods that serve, keeps what they said, and answers the queries that the operator makes of it. Or it
//! lies, in one of the ways in which such servers, and what stands before them, do.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::outside::Reply;
use crate::pages::{Counted, GAUGE};
use crate::time::{second_of, stamp};
use crate::world::{NAMESPACE, World};

/// Its name, and its port is the usual one.
pub const HOST: &str = "prometheus.monitoring";
/// Samples of a pod that are kept.
const KEPT: usize = 720;
/// Milliseconds for which an instant query takes the last sample for the present one.
const LOOKBACK: u64 = 300_000;
/// Milliseconds that a slow answer takes: longer than anybody waits.
const SLOW: u64 = 7_000;
/// After so many requests a counter that is reset begins anew: no multiple of what pods count in a round.
const RESET: u64 = 97;

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// None: what the pods counted.
    Honest,
    /// The connection is refused.
    Down,
    /// It answers, but too late.
    Slow,
    /// It takes the connection, and says nothing.
    Hanging,
    /// No series at all.
    Empty,
    /// No numbers.
    Nan,
    Infinite,
    /// Less than nothing.
    Negative,
    /// Counters that begin anew again and again.
    Resets,
    /// It scrapes nobody any more: its samples grow old.
    Stale,
    /// It explains that it cannot say.
    Error,
    /// Who stands before it wants somebody to log in.
    Html,
    /// Samples of other types than the API has.
    Types,
    /// Samples of other pods.
    Strangers,
}

/// All of them, for seeds and for reading.
pub const LIES: [Lies; 14] = [
    Lies::Honest,
    Lies::Down,
    Lies::Slow,
    Lies::Hanging,
    Lies::Empty,
    Lies::Nan,
    Lies::Infinite,
    Lies::Negative,
    Lies::Resets,
    Lies::Stale,
    Lies::Error,
    Lies::Html,
    Lies::Types,
    Lies::Strangers,
];

impl Lies {
    /// Whether what it says tells something of what the pods do.
    pub fn tells(self) -> bool {
        match self {
            Self::Honest | Self::Resets => true,
            Self::Down
            | Self::Slow
            | Self::Hanging
            | Self::Empty
            | Self::Nan
            | Self::Infinite
            | Self::Negative
            | Self::Stale
            | Self::Error
            | Self::Html
            | Self::Types
            | Self::Strangers => false,
        }
    }

    /// Whether it can be told at once that nothing is known: samples have to grow old first.
    pub fn shows(self) -> bool {
        !self.tells() && self != Self::Stale
    }
}

/// The server.
pub struct Prometheus {
    pub lies: Lies,
    /// Milliseconds between two scrapes; none: nobody asks it in this world.
    every: Option<u64>,
    due: u64,
    samples: BTreeMap<String, VecDeque<Sample>>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    counted: Counted,
}

impl Prometheus {
    /// The one that a Release of this spec asks.
    pub fn asked_by(release: &Value) -> Self {
        let source = &release["metrics"]["prometheus"];
        let seconds =
            source["scrapeInterval"].as_str().and_then(|text| text.trim_end_matches('s').parse().ok());
        let every = source.is_object().then(|| seconds.unwrap_or(15).max(1) * 1000);
        let due = if every.is_some() { 0 } else { u64::MAX };
        Self { lies: Lies::Honest, every, due, samples: BTreeMap::new() }
    }

    /// When it scrapes next.
    pub fn due(&self) -> u64 {
        self.due
    }
}

impl World {
    /// The pods that serve are scraped, when that is due.
    pub fn scrape(&mut self) {
        let now = self.now;
        let Self { prometheus, clusters, .. } = self;
        let Some(every) = prometheus.every.filter(|_| prometheus.due <= now) else { return };
        prometheus.due = now - now % every + every;
        if prometheus.lies == Lies::Stale {
            return;
        }
        for (pod, counted) in clusters.iter_mut().flat_map(|cluster| cluster.counted(now)) {
            let samples = prometheus.samples.entry(pod.to_owned()).or_default();
            samples.push_back(Sample { at: now, counted });
            if samples.len() > KEPT {
                samples.pop_front();
            }
        }
    }

    /// What the server says to a form with a query.
    pub fn queried(&self, form: &[u8]) -> Reply {
        let Prometheus { lies, samples, .. } = &self.prometheus;
        match lies {
            Lies::Down => return Reply::Refused,
            Lies::Hanging => return Reply::Nothing,
            Lies::Error => {
                let why = json!({"status": "error", "errorType": "unavailable", "error": "no store can be reached"});
                return Reply::said(503, why.to_string());
            }
            Lies::Html => return Reply::said(200, "<html><body>Log in</body></html>".to_owned()),
            Lies::Honest
            | Lies::Slow
            | Lies::Empty
            | Lies::Nan
            | Lies::Infinite
            | Lies::Negative
            | Lies::Resets
            | Lies::Stale
            | Lies::Types
            | Lies::Strangers => {}
        }
        let field = |name: &str| {
            let mut all = form_urlencoded::parse(form);
            all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let (query, time) = (field("query"), field("time"));
        let Some(asked) = Asked::parse(&query, &time) else {
            let why =
                json!({"status": "error", "errorType": "bad_data", "error": format!("parse error: {query}")});
            return Reply::said(400, why.to_string());
        };
        let mut series = Vec::new();
        for pod in asked.pods.iter().filter(|_| *lies != Lies::Empty) {
            let Some(samples) = samples.get(*pod) else { continue };
            let fits = |sample: &&Sample| sample.at <= asked.until && sample.at + asked.window > asked.until;
            let samples: Vec<Sample> = samples.iter().filter(fits).copied().collect();
            if !samples.is_empty() {
                series.extend(asked.series(*lies, pod, &samples));
            }
        }
        let kind = if asked.is_range { "matrix" } else { "vector" };
        let answer = json!({"status": "success", "data": {"resultType": kind, "result": series}});
        Reply::Said {
            status: 200,
            body: answer.to_string(),
            after: if *lies == Lies::Slow { SLOW } else { 0 },
        }
    }
}

/// What a query of the operator's is about.
struct Asked<'q> {
    pods: Vec<&'q str>,
    /// Milliseconds since the world began.
    until: u64,
    /// So many before that.
    window: u64,
    is_range: bool,
    is_gauge: bool,
}

impl<'q> Asked<'q> {
    fn parse(query: &'q str, time: &str) -> Option<Self> {
        let (_, pods) = query.split_once("pod=~\"")?;
        let (pods, rest) = pods.split_once('"')?;
        let window =
            rest.rsplit_once('[').and_then(|(_, window)| window.strip_suffix("s]")?.parse::<u64>().ok());
        let time: i64 = time.parse().ok()?;
        Some(Self {
            pods: pods.split('|').collect(),
            until: u64::try_from(time * 1000 - stamp(0).as_millisecond()).unwrap_or(0),
            window: window.map_or(LOOKBACK, |seconds| seconds * 1000),
            is_range: window.is_some(),
            is_gauge: query.starts_with(GAUGE),
        })
    }

    /// The two counters of a pod, or its gauge.
    fn series(&self, lies: Lies, pod: &str, samples: &[Sample]) -> Vec<Value> {
        if self.is_gauge {
            return vec![self.one(lies, json!({"__name__": GAUGE}), pod, samples, Counted::waiting)];
        }
        let of = |code: &str, count: fn(&Counted) -> u64| {
            let metric = json!({"__name__": "http_requests_total", "code": code});
            self.one(lies, metric, pod, samples, count)
        };
        vec![of("200", |counted| counted.good), of("500", |counted| counted.failed)]
    }

    fn one(
        &self,
        lies: Lies,
        mut metric: Value,
        pod: &str,
        samples: &[Sample],
        count: impl Fn(&Counted) -> u64,
    ) -> Value {
        let pod = if lies == Lies::Strangers { format!("other-{pod}") } else { pod.to_owned() };
        for (label, value) in [("pod", pod.as_str()), ("namespace", NAMESPACE), ("job", "shop")] {
            metric[label] = json!(value);
        }
        let value = |sample: &Sample| {
            let count = count(&sample.counted);
            let said = match lies {
                Lies::Nan => json!("NaN"),
                Lies::Infinite => json!("+Inf"),
                Lies::Negative => json!(format!("-{}", count + 1)),
                Lies::Resets => json!((count % RESET).to_string()),
                Lies::Types => json!(count),
                Lies::Honest
                | Lies::Down
                | Lies::Slow
                | Lies::Hanging
                | Lies::Empty
                | Lies::Stale
                | Lies::Error
                | Lies::Html
                | Lies::Strangers => json!(count.to_string()),
            };
            json!([second_of(sample.at), said])
        };
        match (self.is_range, samples.last()) {
            (false, Some(last)) => json!({"metric": metric, "value": value(last)}),
            (true, _) | (false, None) => {
                json!({"metric": metric, "values": samples.iter().map(value).collect::<Vec<_>>()})
            }
        }
    }
}
