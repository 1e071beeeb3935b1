//! How much goes on, of a server that speaks Prometheus' query API.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::release::PrometheusSource;
use tidegate::decide::Probe;
use tidegate::decide::plan::Question;
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::traffic::{PlannedMark, Traffic};

use super::cluster;
use crate::measure::prometheus::{fake, queries, success};

const NOW: i64 = 1_700_000_000 / 3600 * 3600;

/// What comes of asking a server that says so much is going on, and knows these moments of the past, a multiple of five minutes apart.
async fn asked(mark: PlannedMark, now: &[&str], past: Vec<Value>) -> ((ProbeResult, String), Vec<String>) {
    let series: Value =
        now.iter().map(|value| json!({"metric": {"pod": value}, "value": [NOW, value]})).collect();
    let (server, requests) = fake(move |query| match query.ends_with(']') {
        true => success(json!([{"metric": {}, "values": past}])),
        false => (
            axum::http::StatusCode::OK,
            json!({"status": "success", "data": {"resultType": "vector", "result": series}}),
        ),
    })
    .await;
    let source = json!({
        "url": server.url, "auth": {"bearer": {"secret": "prometheus"}},
        "headers": [{"name": "X-Scope-OrgID", "value": "shop"}],
    });
    let source: PrometheusSource = serde_json::from_value(source).expect("a source");
    let token = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus"}, "data": {"token": "c2VjcmV0"}});
    let cluster = cluster([("/api/v1/namespaces/shop/secrets/prometheus", 200, token)]).await;
    let traffic = Traffic {
        query: "q".to_owned(),
        mark,
        server: source,
        scrape_interval: Duration::from_secs(15),
        definition: String::new(),
    };
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "windows.lowTraffic".into(), attempt: 0, definition: None },
        question: Question::Traffic(Box::new(traffic)),
        timeout: Duration::from_secs(30),
        pods: Vec::new(),
        about: tidegate::decide::About::Nothing,
    };
    let now = Timestamp::from_second(NOW).expect("a moment");
    let answer = super::ask(&cluster, &probe, now).await;
    (answer, queries(&requests))
}

const BELOW: PlannedMark = PlannedMark::Number(12.5);

fn p20() -> PlannedMark {
    PlannedMark::Quantile { percent: 20, over: Duration::from_secs(3600) }
}

#[tokio::test]
async fn little_is_what_is_below_a_number() {
    let (answer, _) = asked(BELOW, &["12.4"], Vec::new()).await;
    assert_eq!(answer, (ProbeResult::Passed, "the traffic is 12.4, below 12.5".to_owned()));
    let (answer, asked) = asked(BELOW, &["12.5"], Vec::new()).await;
    assert_eq!(
        answer,
        (ProbeResult::Failed, "the traffic is 12.5: it waits until it is below 12.5".to_owned())
    );
    assert_eq!(asked, ["q"]);
}

#[tokio::test]
async fn what_is_no_single_number_is_unknown() {
    for (now, words) in [
        (&[][..], "the query gives nothing"),
        (&["NaN"][..], "the query gives NaN, which is no number"),
        (&["1", "2"][..], "the query gives 2 series: aggregate them, as with sum(...)"),
    ] {
        let ((result, message), _) = asked(BELOW, now, Vec::new()).await;
        assert_eq!(result, ProbeResult::Unknown, "{message}");
        assert!(message.starts_with(words), "{message}");
    }
}

#[tokio::test]
async fn little_is_what_is_not_above_a_quantile_of_its_own_past() {
    let past =
        || (0..12).map(|place| json!([NOW - 300 * place, (place + 1).to_string()])).collect::<Vec<_>>();
    // Of twelve numbers, 20 % are the third smallest or less.
    let (answer, asked_for) = asked(p20(), &["3"], past()).await;
    assert_eq!(answer, (ProbeResult::Passed, "the traffic is 3, not above 3, p20 of its last 1h".to_owned()));
    assert_eq!(asked_for, ["q", "q", "(q\n)[3600s:300s]"]);
    let (answer, _) = asked(p20(), &["3.1"], past()).await;
    let expected = "the traffic is 3.1: it waits until it is not above 3, p20 of its last 1h";
    assert_eq!(answer, (ProbeResult::Failed, expected.to_owned()));
}

#[tokio::test]
async fn a_past_of_which_little_is_known_has_no_quantile() {
    let ((result, message), _) = asked(p20(), &["3"], vec![json!([NOW - 300, "1"])]).await;
    assert_eq!(result, ProbeResult::Unknown, "{message}");
    assert_eq!(
        message,
        "the server knows one number at 1 of 12 moments of its last 1h: too few for a quantile"
    );
}
