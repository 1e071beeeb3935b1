//! A Prometheus server: it scrapes the pods that serve, keeps what they said, and answers the queries that the operator makes of it. Or it
//! lies, in one of the ways in which such servers, and what stands before them, do.
//!
//! It knows the queries that the operator makes, and no PromQL. What it says when it does not lie is held against a real one (`scrapes`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

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
    /// By pod.
    scraped: BTreeMap<String, Scraped>,
}

/// What a pod said.
#[derive(Default)]
struct Scraped {
    samples: VecDeque<Sample>,
    /// When it answered no more, after the last of them.
    gone_at: Option<u64>,
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
        Self { lies: Lies::Honest, every, due, scraped: BTreeMap::new() }
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
        prometheus.take(now, clusters.iter_mut().flat_map(|cluster| cluster.counted(now)));
    }
}

impl Prometheus {
    /// A scrape: what the pods say that answer. Who answered the last time is marked as gone.
    pub fn take<'p>(&mut self, now: u64, pods: impl Iterator<Item = (&'p str, Counted)>) {
        for (pod, counted) in pods {
            let Scraped { samples, gone_at } = self.scraped.entry(pod.to_owned()).or_default();
            *gone_at = None;
            samples.push_back(Sample { at: now, counted });
            if samples.len() > KEPT {
                samples.pop_front();
            }
        }
        for Scraped { samples, gone_at } in self.scraped.values_mut() {
            if samples.back().is_some_and(|last| last.at < now) {
                gone_at.get_or_insert(now);
            }
        }
    }

    /// What the server says to a form with a query.
    pub fn answer(&self, form: &[u8]) -> Reply {
        let Self { lies, scraped, .. } = self;
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
            let Some(Scraped { samples, gone_at }) = scraped.get(*pod) else { continue };
            // Its samples are still there for who asks for a range.
            if !asked.is_range && gone_at.is_some_and(|at| at <= asked.until) {
                continue;
            }
            let from = samples.partition_point(|sample| sample.at + asked.window <= asked.until);
            let to = samples.partition_point(|sample| sample.at <= asked.until);
            if from < to {
                series.extend(asked.series(*lies, pod, || samples.range(from..to)));
            }
        }
        let kind = if asked.is_range { "matrix" } else { "vector" };
        let series = series.join(",");
        Reply::Said {
            status: 200,
            body: format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{series}]}}}}"#),
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

    /// The two counters of a pod, or its gauge, as text: a page of samples is long, and as a tree of values it would be written twice.
    fn series<'s, Samples>(&self, lies: Lies, pod: &str, samples: impl Fn() -> Samples) -> Vec<String>
    where
        Samples: DoubleEndedIterator<Item = &'s Sample>,
    {
        if self.is_gauge {
            return vec![self.one(
                lies,
                &format!(r#""__name__":"{GAUGE}""#),
                pod,
                samples(),
                Counted::waiting,
            )];
        }
        let of = |code: &str, count: fn(&Counted) -> u64| {
            let metric = format!(r#""__name__":"http_requests_total","code":"{code}""#);
            self.one(lies, &metric, pod, samples(), count)
        };
        vec![of("200", |counted| counted.good), of("500", |counted| counted.failed)]
    }

    fn one<'s>(
        &self,
        lies: Lies,
        metric: &str,
        pod: &str,
        mut samples: impl DoubleEndedIterator<Item = &'s Sample>,
        count: impl Fn(&Counted) -> u64,
    ) -> String {
        let other = if lies == Lies::Strangers { "other-" } else { "" };
        let mut text = format!(
            r#"{{"metric":{{{metric},"job":"shop","namespace":"{NAMESPACE}","pod":"{other}{pod}"}},"#
        );
        let mut say = |before: &str, at: u64, sample: &Sample| {
            let (at, all) = (second_of(at), sample.counted.good + sample.counted.failed);
            let count = count(&sample.counted);
            let written = match lies {
                Lies::Nan => write!(text, r#"{before}[{at},"NaN"]"#),
                Lies::Infinite => write!(text, r#"{before}[{at},"+Inf"]"#),
                Lies::Negative => write!(text, r#"{before}[{at},"-{}"]"#, count + 1),
                // All that a pod counts begins anew at once, as where its process does.
                Lies::Resets => write!(text, r#"{before}[{at},"{}"]"#, count * (all % RESET) / all.max(1)),
                Lies::Types => write!(text, "{before}[{at},{count}]"),
                Lies::Honest
                | Lies::Down
                | Lies::Slow
                | Lies::Hanging
                | Lies::Empty
                | Lies::Stale
                | Lies::Error
                | Lies::Html
                | Lies::Strangers => write!(text, r#"{before}[{at},"{count}"]"#),
            };
            written.expect("a string takes everything");
        };
        if self.is_range {
            let mut before = r#""values":["#;
            for sample in samples {
                say(before, sample.at, sample);
                before = ",";
            }
            text.push(']');
        } else if let Some(last) = samples.next_back() {
            // It says what holds at the moment that was asked about.
            say(r#""value":"#, self.until, last);
        }
        text.push('}');
        text
    }
}
