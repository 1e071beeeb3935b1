//! A few scrapes of a few pods, and what the operator asks about such. The model of a Prometheus plays them here, a real one in `tests/real`: both must
//! answer with the same series, and these with the same samples, or the same value.
//!
//! Not asked about: a sample at the very beginning of a window, which Prometheus 2 counts into it, and 3 and the model do not.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::outside::Reply;
use crate::pages::{Counted, GAUGE};
use crate::prometheus::Prometheus;
use crate::time::stamp;
use crate::world::NAMESPACE;

/// Seconds between two of them.
const EVERY: u64 = 15;
/// How many there are.
const SCRAPES: u64 = 12;

/// Where the pods are.
pub const PLACE: &str = NAMESPACE;

/// A pod that counts nothing new, and answers no more after all of them.
pub const GOES: (&str, Counted) = ("shop-a-4", Counted { good: 5, failed: 1 });

/// A pod, and what it says when: seconds since the first scrape.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: &'static str,
    pub says: Vec<(i64, Counted)>,
}

/// One that counts more and more, one whose container was started again, and one that came later.
pub fn pods() -> [Pod; 3] {
    let pod = |name, from: u64, counted: fn(u64) -> Counted| {
        let says = (from..SCRAPES).map(|scrape| ((scrape * EVERY).cast_signed(), counted(scrape)));
        Pod { name, says: says.collect() }
    };
    [
        pod("shop-a-1", 0, |scrape| Counted { good: 7 * scrape * scrape, failed: scrape / 5 }),
        pod("shop-a-2", 0, |scrape| match scrape {
            0..4 => Counted { good: 100 + 10 * scrape, failed: 3 },
            _ => Counted { good: 9 * (scrape - 4), failed: 0 },
        }),
        pod("shop-b-3", 5, |scrape| Counted { good: scrape, failed: 2 }),
    ]
}

/// A question, about a moment: seconds since the first scrape.
#[derive(Clone, Debug)]
pub struct Ask {
    pub query: String,
    pub at: i64,
}

/// What is asked about what was scraped, once it was: how pods are read, and how it is found out what there is to read. Not about the pod that goes.
pub fn asks() -> Vec<Ask> {
    let names = pods().map(|pod| pod.name);
    let mut asks = Vec::new();
    for at in [3, 52, 90, 100, 172, 300] {
        for family in ["http_requests_total", GAUGE] {
            for (pods, window) in [(&names[..], 120), (&names[1..], 600), (&["shop-b-9"][..], 120)] {
                let query = format!("{family}{{{}}}[{window}s]", matchers(pods));
                asks.push(Ask { query, at });
            }
        }
    }
    // Five minutes after its last sample nothing is there any more.
    asks.extend([3, 172, 455, 475].map(|at| Ask { query: which_are_there(&names), at }));
    asks
}

/// Which pods have something to read, the one that goes included.
pub fn who_is_there() -> String {
    let [one, two, three] = pods().map(|pod| pod.name);
    which_are_there(&[one, two, three, GOES.0])
}

fn which_are_there(pods: &[&str]) -> String {
    format!(r#"{{__name__=~"http_requests_total",le=~"|[+]Inf",{}}}"#, matchers(pods))
}

fn matchers(pods: &[&str]) -> String {
    format!(r#"namespace="{PLACE}",pod=~"{}""#, pods.join("|"))
}

/// By what names and pods of series say: their samples, seconds since the first scrape and a value.
pub type Answer = BTreeMap<String, Vec<(i64, String)>>;

/// Reads an answer. `begun`: when the first scrape was, in unix seconds.
pub fn read(body: &str, begun: i64) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    if body["status"] != "success" {
        return Answer::from([(body.to_string(), Vec::new())]);
    }
    let sample = |sample: &Value| {
        // All moments are whole seconds.
        let at = sample[0].as_f64().unwrap_or_default() as i64 - begun;
        (at, sample[1].as_str().unwrap_or_default().to_owned())
    };
    let series = |series: &Value| {
        let labels = ["__name__", "code", "namespace", "pod"];
        let labels = labels.map(|label| series["metric"][label].as_str().unwrap_or_default()).join(" ");
        let samples: Vec<(i64, String)> = match &series["value"] {
            Value::Null => series["values"].as_array().into_iter().flatten().map(&sample).collect(),
            value => vec![sample(value)],
        };
        (labels, samples)
    };
    body["data"]["result"].as_array().into_iter().flatten().map(series).collect()
}

/// The model's server.
pub struct Model(Prometheus);

impl Model {
    /// All scrapes have been.
    pub fn scraped() -> Self {
        let mut model = Self(Prometheus::asked_by(&json!({})));
        for scrape in 0..SCRAPES {
            model.scrape(scrape, true);
        }
        model
    }

    /// Another one, which one pod does not answer.
    pub fn one_goes(&mut self) {
        self.scrape(SCRAPES, false);
    }

    fn scrape(&mut self, scrape: u64, all: bool) {
        let at = (scrape * EVERY).cast_signed();
        let said = pods().map(|pod| {
            let now = pod.says.iter().rfind(|(when, _)| *when <= at);
            now.map(|(_, counted)| (pod.name, *counted))
        });
        self.0.take(scrape * EVERY * 1000, said.into_iter().flatten().chain(all.then_some(GOES)));
    }

    /// What it says.
    pub fn answer(&self, query: &str, at: i64) -> Answer {
        let begun = stamp(0).as_second();
        let mut form = Serializer::new(String::new());
        form.append_pair("query", query).append_pair("time", &(begun + at).to_string());
        match self.0.answer(form.finish().as_bytes()) {
            Reply::Said { body, .. } => read(&body, begun),
            Reply::Refused | Reply::Nothing => Answer::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_was_scraped_within_it_and_who_went_is_not_there() {
        let mut model = Model::scraped();
        let young = r#"http_requests_total{namespace="shop",pod=~"shop-b-3"}[20s]"#;
        let series = |code: &str, of: [(i64, &str); 2]| {
            let samples = of.map(|(at, value)| (at, value.to_owned())).to_vec();
            (format!("http_requests_total {code} shop shop-b-3"), samples)
        };
        assert_eq!(
            model.answer(young, 91),
            Answer::from([series("200", [(75, "5"), (90, "6")]), series("500", [(75, "2"), (90, "2")])])
        );
        let there = |model: &Model| {
            let answer = model.answer(&who_is_there(), 200);
            assert!(answer.values().flatten().all(|(at, _)| *at == 200), "{answer:?}");
            (answer.len(), answer.keys().any(|labels| labels.ends_with(GOES.0)))
        };
        assert_eq!(there(&model), (8, true));
        model.one_goes();
        assert_eq!(there(&model), (6, false));
        let range = format!("http_requests_total{{{}}}[120s]", matchers(&[GOES.0]));
        assert_eq!(model.answer(&range, 200).len(), 2, "its samples are still there");
    }
}
