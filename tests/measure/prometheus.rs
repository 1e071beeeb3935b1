use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate::observe::measure::names::Names;
use tidegate::observe::measure::prometheus::{Auth, Pod, Prometheus, Question};
use tidegate::observe::measure::{ReadError, Trust, client};

use super::pods::serve;
use super::{GO, chosen, totals};

const NOW: i64 = 1_700_000_000;

/// The forms that a fake server was sent.
type Asked = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// A fake server that gives every query the answer that `answer` makes of it.
async fn fake(answer: fn(&str) -> (StatusCode, Value)) -> (Prometheus, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let query = move |headers: HeaderMap, body: String| async move {
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        let form = reqwest::Url::parse(&format!("http://form/?{body}")).expect("a form");
        let form: BTreeMap<_, _> = form.query_pairs().into_owned().collect();
        assert_eq!(headers["authorization"], "Bearer secret");
        assert_eq!(headers["x-scope-orgid"], "shop");
        let (status, body) = answer(&form["query"]);
        log.lock().expect("not poisoned").push(form);
        (status, Json(body))
    };
    let port = serve(Router::new().route("/prefix/api/v1/query", post(query))).await;
    let prometheus = Prometheus {
        url: format!("http://127.0.0.1:{port}/prefix/"),
        auth: Auth::Bearer("secret".to_owned()),
        headers: vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())],
    };
    (prometheus, asked)
}

fn success(result: Value) -> (StatusCode, Value) {
    (StatusCode::OK, json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
}

fn pods(names: &[&str]) -> Vec<Pod> {
    names.iter().map(|name| Pod { name: (*name).to_owned(), started_at: None }).collect()
}

fn question(pods: &[Pod]) -> Question<'_> {
    Question {
        namespace: "shop",
        pods,
        now: NOW,
        scrape_interval: Duration::from_secs(15),
        deadline: Duration::from_secs(5),
    }
}

fn queries(asked: &Asked) -> Vec<String> {
    asked.lock().expect("not poisoned").iter().map(|form| form["query"].clone()).collect()
}

#[tokio::test]
async fn the_newest_sample_of_each_series_is_read_with_one_query_a_family() {
    let (prometheus, asked) = fake(|query| {
        success(if query.starts_with("http_requests_total{") {
            json!([
                {"metric": {"__name__": "http_requests_total", "pod": "a.1", "code": "200", "job": "one"},
                 "values": [[NOW - 20, "5"], [NOW - 5, "9"]]},
                {"metric": {"__name__": "http_requests_total", "pod": "a.1", "code": "200", "job": "two"},
                 "values": [[NOW - 7, "8"]]},
                {"metric": {"__name__": "http_requests_total", "pod": "a.1", "code": "500", "job": "one"},
                 "values": [[NOW - 5, "1"]]},
                {"metric": {"__name__": "http_requests_total", "pod": "old", "code": "200"},
                 "values": [[NOW - 90, "3"]]},
                {"metric": {"__name__": "http_requests_total", "pod": "stranger", "code": "200"},
                 "values": [[NOW, "3"]]},
            ])
        } else {
            json!([{"metric": {"__name__": "http_request_duration_seconds_bucket", "pod": "a.1", "le": "+Inf"},
                    "values": [[NOW - 5, "10"]]}])
        })
    })
    .await;
    let client = client(Trust::Nothing).expect("a client");
    let detected = chosen(&Names::default(), GO).expect("fits");
    let pods = pods(&["old", "a.1", "unknown"]);
    let answers = prometheus.read(&client, &question(&pods), &detected).await;
    assert_eq!(answers[0], ("old".to_owned(), Err(ReadError::Stale { age_seconds: 90 })));
    assert_eq!(answers[2], ("unknown".to_owned(), Err(ReadError::NoSamples)));
    let found = totals(answers[1].1.as_ref().expect("samples"));
    assert_eq!((found.requests, found.errors, found.le.into_values().sum::<f64>()), (10.0, 1.0, 10.0));
    assert_eq!(
        queries(&asked),
        [
            r#"http_requests_total{namespace="shop",pod=~"old|a\\.1|unknown"}[120s]"#,
            r#"http_request_duration_seconds_bucket{namespace="shop",pod=~"old|a\\.1|unknown"}[120s]"#
        ]
    );
    assert_eq!(asked.lock().expect("not poisoned")[0]["time"], NOW.to_string());
}

#[tokio::test]
async fn samples_of_the_process_before_are_left_out() {
    let (prometheus, _) = fake(|_| {
        success(json!([
            {"metric": {"pod": "a", "code": "500"}, "values": [[NOW - 30, "100"]]},
            {"metric": {"pod": "a", "code": "200"}, "values": [[NOW - 30, "900"], [NOW - 5, "2"]]},
            {"metric": {"pod": "b", "code": "500"}, "values": [[NOW - 30, "100"]]},
        ]))
    })
    .await;
    let client = client(Trust::Nothing).expect("a client");
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let pods: Vec<_> =
        pods(&["a", "b"]).into_iter().map(|pod| Pod { started_at: Some(NOW - 20), ..pod }).collect();
    let answers = prometheus.read(&client, &question(&pods), &detected).await;
    let found = totals(answers[0].1.as_ref().expect("samples"));
    assert_eq!((found.requests, found.errors), (2.0, 0.0));
    assert_eq!(answers[1].1, Err(ReadError::NoSamples));
}

#[tokio::test]
async fn many_pods_are_split_over_several_queries() {
    let (prometheus, asked) = fake(|_| success(json!([]))).await;
    let client = client(Trust::Nothing).expect("a client");
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let names: Vec<_> = (0..1000).map(|number| format!("checkout-59c8fd7b4d-{number:05}")).collect();
    let pods = pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let answers = prometheus.read(&client, &question(&pods), &detected).await;
    assert!(answers.iter().map(|(pod, _)| pod).eq(&names));
    let queries = queries(&asked);
    assert_eq!(queries.len(), 4);
    assert!(queries.iter().all(|query| query.len() <= 8 << 10));
    assert!(names.iter().all(|name| queries.iter().any(|query| query.contains(name))));
}

#[tokio::test]
async fn an_error_of_the_api_is_passed_on() {
    let client = client(Trust::Nothing).expect("a client");
    let detected = chosen(&Names::default(), GO).expect("fits");
    let pods = pods(&["a"]);
    for (answer, expected) in [
        (
            (|_| {
                let body = json!({"status": "error", "errorType": "execution", "error": "query\ntimed out"});
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }) as fn(&str) -> (StatusCode, Value),
            ReadError::Api("query timed out".to_owned()),
        ),
        (|_| (StatusCode::OK, json!({"status": "error", "error": "no"})), ReadError::Api("no".to_owned())),
        (|_| (StatusCode::BAD_GATEWAY, json!("<html>")), ReadError::Status(502)),
    ] {
        let (prometheus, _) = fake(answer).await;
        assert_eq!(prometheus.read(&client, &question(&pods), &detected).await[0].1, Err(expected));
    }
    let (prometheus, _) = fake(|_| (StatusCode::OK, json!({"surprise": true}))).await;
    let answers = prometheus.read(&client, &question(&pods), &detected).await;
    assert_eq!(answers[0].1.as_ref().map_err(ReadError::category), Err("api"));
    let nowhere = Prometheus { url: "not a url".to_owned(), ..prometheus };
    let answers = nowhere.read(&client, &question(&pods), &detected).await;
    assert_eq!(answers[0].1.as_ref().map_err(ReadError::category), Err("settings"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let slow = Router::new().fallback(|| async { std::future::pending::<&str>().await });
    let url = format!("http://127.0.0.1:{}", serve(slow).await);
    let basic = Auth::Basic { user: "me".to_owned(), password: "secret".to_owned() };
    let prometheus = Prometheus { url, auth: basic, headers: vec![] };
    assert!(!format!("{prometheus:?}").contains("secret"));
    let deadline = Duration::from_millis(200);
    let pods = pods(&["a"]);
    let question = Question { deadline, ..question(&pods) };
    let client = client(Trust::Nothing).expect("a client");
    let answer = prometheus.detect(&client, &question, &Names::default()).await;
    assert_eq!(answer, Err(ReadError::Timeout(deadline)));
}

#[tokio::test]
async fn names_are_detected_with_one_query() {
    let (prometheus, asked) = fake(|_| {
        success(json!([
            {"metric": {"__name__": "http_requests_total", "pod": "a", "code": "200"}, "value": [NOW, "5"]},
            {"metric": {"__name__": "http_request_duration_seconds_bucket", "pod": "a", "le": "+Inf"}, "value": [NOW, "5"]},
        ]))
    })
    .await;
    let client = client(Trust::Nothing).expect("a client");
    let pods = pods(&["a", "b"]);
    let detected = prometheus.detect(&client, &question(&pods), &Names::default()).await;
    assert_eq!(detected, Ok(chosen(&Names::default(), GO).expect("fits")));
    let queries = queries(&asked);
    assert_eq!(queries.len(), 1);
    assert!(queries[0].starts_with(r#"{__name__=~"axum_http_requests_total|"#), "{}", queries[0]);
    assert!(queries[0].ends_with(r#"le=~"|[+]Inf",namespace="shop",pod=~"a|b"}"#), "{}", queries[0]);
}
