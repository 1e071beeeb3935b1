//! What a Prometheus server still knows of the past, and how much it says is going on: read over what answers everything alike.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tidegate::api::windows::{LowMark, Mark};
use tidegate::decide::About;
use tidegate::decide::judge::Revision;
use tidegate::decide::plan::Question;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::decide::traffic::{PlannedMark, Traffic};
use tidegate::observe::measure::history::Stretch;
use tidegate::observe::measure::instant;
use tidegate::observe::measure::names::Names;
use tidegate::observe::measure::prometheus::{Asking, Auth, Pod, Prometheus, Round};
use tidegate::observe::measure::{self, Trust};
use tidegate::observe::reach::{self, Reach, Wire};
use tidegate::observe::values;

use super::answers::awaited;
use super::checks::asked;
use super::split;

/// A whole hour.
const NOW: i64 = 1_700_000_000 / 3600 * 3600;
/// For each question.
const DEADLINE: Duration = Duration::from_secs(60);
/// Seconds from one moment of the past to the next, and how many are asked for.
const STEP: i64 = 5;
const MOMENTS: i64 = 60;
/// Numbers of the past that are read.
const MOST: usize = 1000;
/// Letters of any sentence that is told of them.
const LONGEST: usize = 2048;
/// Where the server is.
const URL: &str = "http://prometheus.shop:9090";

/// Answers everything alike.
pub(super) struct Alike(pub(super) http::Response<Vec<u8>>);

type Carried = Pin<Box<dyn Future<Output = reqwest::Result<reqwest::Response>> + Send>>;

impl Wire for Alike {
    fn carry(&self, _: reqwest::Request) -> Carried {
        let answer = self.0.clone();
        Box::pin(async move { Ok(reqwest::Response::from(answer)) })
    }
}

/// A mark for traffic, a line break, and what the server answers, whatever it is asked.
pub fn past(data: &[u8]) {
    let (mark, body) = split(data);
    let reach = Reach::anywhere().over(Arc::new(Alike(http::Response::new(body.to_vec()))));
    let server = Prometheus { url: URL.to_owned(), auth: Auth::Nobody, headers: Vec::new() };
    let client = measure::client(Trust::Nothing, &reach).expect("a client");
    awaited(async {
        of_a_query(&server, &client).await;
        of_pods(&server, &client).await;
    });
    let mark = serde_json::from_slice::<LowMark>(mark).ok().and_then(|mark| mark.parse());
    traffic(&reach, mark.unwrap_or(Mark::Number(3.0)), body);
}

/// Each moment that was asked for, and no other, with no more than is read: the same again.
async fn of_a_query(server: &Prometheus, client: &reach::Client) {
    let stretch = Stretch { from: NOW - MOMENTS * STEP, to: NOW };
    let read = || server.earlier(Asking::alone(client), "(q\n)", stretch, STEP, DEADLINE, MOST);
    let (Ok(once), Ok(again)) = (read().await, read().await) else { return };
    let moments = once.moments();
    assert!(moments.keys().copied().eq((1..=MOMENTS).map(|place| stretch.from + place * STEP)), "{once:?}");
    assert!(moments.values().flatten().map(Vec::len).sum::<usize>() <= MOST, "{once:?}");
    for by in [None, Some("pod")] {
        let found = values::of_earlier(&once, by);
        // As text: NaN is not itself.
        assert_eq!(format!("{found:?}"), format!("{:?}", values::of_earlier(&again, by)));
        assert_eq!(found.len(), moments.len());
        for (_, found) in found {
            match found {
                Ok(found) => assert!(found.points.len() <= 100, "{found:?}"),
                Err(why) => assert!(!why.is_empty() && why.chars().count() <= LONGEST, "{why}"),
            }
        }
    }
}

/// What stable pods counted: of these pods only, and of the hour before.
async fn of_pods(server: &Prometheus, client: &reach::Client) {
    let round = Round { now: NOW, scrape_interval: Duration::from_secs(15), deadline: DEADLINE };
    let pods = ["shop-1", "shop-2"].map(|name| Pod { name: name.to_owned(), started_at: None });
    let Ok(detected) = server.detect(client, round, "shop", &pods, &Names::default()).await else { return };
    let read = || server.history(client, round, "shop", &pods, &detected);
    let (Ok(slots), Ok(again)) = (read().await, read().await) else { return };
    for slot in &slots {
        assert!(slot.revision == Revision::Stable && (NOW - 3600..NOW).contains(&slot.t), "{slot:?}");
        assert!(slot.errors <= slot.requests && slot.le.values().is_sorted(), "{slot:?}");
        assert!(pods.iter().any(|pod| pod.name == slot.pod), "{slot:?}");
    }
    assert_eq!(format!("{slots:?}"), format!("{again:?}"), "the same twice");
}

/// What is below a number is told by the number alone, and what is not above a low quantile is not above a high one. What is not one number is neither
/// little nor much.
fn traffic(reach: &Reach, mark: Mark, body: &[u8]) {
    let of = |percent| PlannedMark::Quantile { percent, over: Duration::from_secs(7200) };
    let (number, middle) = match mark {
        Mark::Number(number) => (number, 50),
        Mark::Quantile(percent) => (3.0, percent),
    };
    let below = told(reach, PlannedMark::Number(number));
    let now = match instant::numbers(body).as_deref() {
        Ok([one]) if one.value.is_finite() => Some(one.value),
        _ => None,
    };
    let expected = match now {
        Some(now) if now < number => ProbeResult::Passed,
        Some(_) => ProbeResult::Failed,
        None => ProbeResult::Unknown,
    };
    assert_eq!(below, expected, "{now:?} and {number}");
    let results = [1, middle, 99].map(|percent| told(reach, of(percent)));
    assert!(now.is_some() || results == [ProbeResult::Unknown; 3], "{results:?}");
    let unknown = results.iter().filter(|result| **result == ProbeResult::Unknown).count();
    assert!(unknown == 0 || unknown == 3, "{results:?}");
    let passed = results.map(|result| result == ProbeResult::Passed);
    assert!(passed.is_sorted(), "{results:?}");
}

fn told(reach: &Reach, mark: PlannedMark) -> ProbeResult {
    let traffic = Traffic {
        query: "q".to_owned(),
        mark,
        server: serde_json::from_value(json!({"url": URL})).expect("a server"),
        scrape_interval: Duration::from_secs(15),
        definition: String::new(),
    };
    let (result, said) = awaited(async {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, std::io::Error>(http::Response::new(Body::empty()))
        });
        let client = Client::new(service, "shop");
        let now = Timestamp::from_second(NOW).expect("a moment");
        asked(&client, reach, Question::Traffic(Box::new(traffic)), About::Nothing, now).await
    });
    assert!(!said.is_empty() && said.chars().count() <= LONGEST, "{said}");
    result
}
