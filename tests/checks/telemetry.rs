//! `telemetry` checks: which sources give data of stable pods, and which do not and why.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use serde_json::{Value, json};
use tidegate::api::release::ReleaseSpec;
use tidegate::decide::judge::Revision;
use tidegate::decide::plan::{self, Question, plan};
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::telemetry::{Subject, criteria};
use tidegate::decide::{About, Probe, SampledPod, Sampling};

use super::{ask, cluster};
use crate::measure::pods::serve;

const COUNTED: &str = "http_requests_total{code=\"200\"} 7\n";
const TIMED: &str = "http_request_duration_seconds_bucket{code=\"200\",le=\"0.5\"} 7\n\
    http_request_duration_seconds_bucket{code=\"200\",le=\"+Inf\"} 7\nhttp_request_duration_seconds_count{code=\"200\"} 7\n";

fn spec(more: Value) -> ReleaseSpec {
    let mut spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    serde_json::from_value(spec).expect("a spec")
}

/// Asks about the criteria of this Release, of stable pods whose pages are at these paths.
async fn asked(more: Value, port: u16, pages: &[&str]) -> (ProbeResult, String) {
    let measuring = plan::measuring(&spec(more)).expect("it is understood");
    let pod = |path: &&str| SampledPod {
        name: format!("shop-{}", path.trim_start_matches('/')),
        revision: Revision::Stable,
        ip: "127.0.0.1".into(),
        port,
        path: (*path).to_owned(),
        started_at: None,
        warm_from: None,
        known_from: None,
        restarts: 0,
    };
    let sampling = Sampling {
        run: "r1".into(),
        source: measuring.source.clone(),
        counted: true,
        values: Vec::new(),
        requests: None,
        latency: None,
        ignore_paths: Vec::new(),
        every: None,
        young: false,
        history: false,
        pods: pages.iter().map(pod).collect(),
    };
    let criteria = criteria(&measuring, None).expect("criteria");
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "telemetry".into(), attempt: 1, definition: None },
        question: Question::Telemetry(None),
        timeout: Duration::from_secs(2),
        pods: Vec::new(),
        about: About::Measured(Box::new(Subject { sampling, criteria })),
    };
    ask(&cluster([]).await, &probe, "2026-12-01T12:00:00Z".parse().expect("a moment")).await
}

async fn pages() -> u16 {
    let router = Router::new()
        .route("/both", get(async || format!("{COUNTED}{TIMED}")))
        .route("/counted", get(async || format!("{COUNTED}heap_bytes 8e8\n")))
        .route("/idle", get(async || "go_goroutines 5\n"))
        .route("/other", get(async || "http_requests_total{state=\"200\"} 7\n"))
        .route("/html", get(async || "<html><body>It works</body></html>"))
        .route("/broken", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/json", get(async || axum::Json(json!({"queue": {"length": 12}, "name": "mail"}))));
    serve(router).await
}

fn errors() -> Value {
    json!([{"name": "errors", "errorRate": {"limit": "5%"}}])
}

#[tokio::test]
async fn each_source_that_gives_data_is_named_with_its_series() {
    let port = pages().await;
    // The default criteria: errors and latency.
    let (result, words) = asked(json!({}), port, &["/both", "/both"]).await;
    assert_eq!(result, ProbeResult::Passed, "{words}");
    assert!(words.starts_with("of 2 stable pods: errors, latency: requests from http_re"), "{words}");
    let values = json!({"criteria": [
        {"name": "heap", "value": {"podGauge": {"name": "heap_bytes"}, "limit": "value > 9e8"}},
        {"name": "queue", "value": {"json": {"url": format!("http://127.0.0.1:{port}/json"), "pointer": "/queue/length"}, "limit": "value > 90"}},
        {"name": "ready", "availability": {"limit": "90%"}},
    ]});
    let (result, words) = asked(values, port, &["/counted"]).await;
    let told = "of 1 stable pod: heap: it gives 800000000; queue: it gives 12; ready: the pods' status";
    assert_eq!((result, words.as_str()), (ProbeResult::Passed, told));
}

#[tokio::test]
async fn a_source_that_answers_without_data_fails_and_says_why() {
    let port = pages().await;
    let (result, words) = asked(json!({}), port, &["/counted"]).await;
    assert_eq!(result, ProbeResult::Failed, "{words}");
    assert!(
        words.starts_with("latency: no data: ") && words.contains("no histogram of latency found"),
        "{words}"
    );
    assert!(!words.contains("errors:"), "{words}");
    let of_errors = |pages: &'static [&'static str]| asked(json!({"criteria": errors()}), port, pages);
    let (result, words) = of_errors(&["/idle"]).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(words.contains("no known counter of requests among 1 series"), "{words}");
    let (result, words) = of_errors(&["/counted", "/html"]).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(words.contains("1 of 2 pods, such as shop-html: not a metrics page"), "{words}");
    let (result, words) = of_errors(&["/counted", "/other"]).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(words.contains("http_requests_total has no label code here"), "{words}");
    let gauge = json!({"criteria": [{"name": "heap", "value": {"podGauge": {"name": "heap_bytes"}, "limit": "value > 9e8"}}]});
    let (result, words) = asked(gauge.clone(), port, &["/idle"]).await;
    assert_eq!(
        (result, words.as_str()),
        (ProbeResult::Failed, "heap: no data: it answers, and gives no number")
    );
    let (_, words) = asked(gauge, port, &["/idle", "/counted"]).await;
    assert_eq!(words, "heap: no data: pod shop-idle has no such gauge, others have");
    let json = json!({"criteria": [{"name": "queue", "value": {"json": {"url": format!("http://127.0.0.1:{port}/json"), "pointer": "/name"}, "limit": "value > 9"}}]});
    let (_, words) = asked(json, port, &["/idle"]).await;
    assert_eq!(words, "queue: no data: what stands at /name is a text: write a pointer to a number");
    let (result, words) = asked(json!({"criteria": errors()}), port, &[]).await;
    assert_eq!((result, words.as_str()), (ProbeResult::Failed, "errors: no data: no stable pod is Ready"));
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_no_failure() {
    let port = pages().await;
    let (result, words) = asked(json!({"criteria": errors()}), port, &["/counted", "/broken"]).await;
    assert_eq!(result, ProbeResult::Unknown, "{words}");
    assert!(
        words.starts_with("errors: 1 of 2 pods, such as shop-broken: answered with status 503"),
        "{words}"
    );
    let json = |url: &str| json!({"criteria": [{"name": "queue", "value": {"json": {"url": url, "pointer": "/a"}, "limit": "value > 9"}}]});
    let (result, words) = asked(json("http://127.0.0.1:1/"), port, &["/counted"]).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert!(words.starts_with("queue: no answer: "), "{words}");
    // Where nobody may be sent is no outage.
    assert_eq!(asked(json("http://169.254.169.254/"), port, &["/counted"]).await.0, ProbeResult::Failed);
    let of_server = |url: &str| json!({"metrics": {"prometheus": {"url": url}}, "criteria": errors()});
    let (result, words) = asked(of_server("http://127.0.0.1:1"), port, &["/counted"]).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert!(words.starts_with("errors: no connection to prometheus"), "{words}");
}

#[tokio::test]
async fn a_server_says_what_a_query_gives() {
    let vector =
        |result: Value| json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    let router = Router::new()
        .route("/some/api/v1/query", any(async move || axum::Json(vector(json!([{"metric": {}, "value": [1, "0.5"]}])))))
        .route("/none/api/v1/query", any(async move || axum::Json(vector(json!([])))))
        .route("/nan/api/v1/query", any(async move || axum::Json(vector(json!([{"metric": {}, "value": [1, "NaN"]}])))))
        .route("/many/api/v1/query", any(async move || {
            axum::Json(vector(json!([{"metric": {"a": "1"}, "value": [1, "1"]}, {"metric": {"a": "2"}, "value": [1, "2"]}])))
        }))
        .route("/away/api/v1/query", any(async || StatusCode::SERVICE_UNAVAILABLE));
    let port = serve(router).await;
    let of = |path: &str, no_data: Option<&str>| {
        let mut value = json!({"promql": "sum(x)", "limit": "value > 1"});
        if let Some(no_data) = no_data {
            value["noData"] = json!(no_data);
        }
        let url = format!("http://127.0.0.1:{port}/{path}");
        asked(
            json!({"metrics": {"prometheus": {"url": url}}, "criteria": [{"name": "load", "value": value}]}),
            1,
            &["/pod"],
        )
    };
    let (failed, passed) = (ProbeResult::Failed, ProbeResult::Passed);
    assert_eq!(of("some", None).await, (passed, "of 1 stable pod: load: it gives 0.5".to_owned()));
    assert_eq!(of("none", None).await, (failed, "load: no data: it answers, and gives no number".to_owned()));
    assert_eq!(of("none", Some("Pass")).await.0, passed);
    assert_eq!(of("nan", None).await, (failed, "load: no data: what it gives is no number (NaN)".to_owned()));
    let (result, words) = of("many", None).await;
    assert_eq!(result, failed);
    assert!(words.starts_with("load: no data: the query gives 2 series"), "{words}");
    let (result, words) = of("away", None).await;
    assert_eq!(result, ProbeResult::Unknown, "{words}");
}

#[test]
fn a_check_about_no_criterion_or_an_unknown_one_is_not_understood() {
    let said = |more: Value| plan(&spec(more), false).expect_err("wrong").to_string();
    let check = |telemetry: Value| json!([{"name": "telemetry", "telemetry": telemetry}]);
    assert_eq!(
        said(json!({"preflight": check(json!({"criteria": ["load"]}))})),
        "spec.preflight[0].telemetry: there is no criterion 'load': write the name of one"
    );
    assert_eq!(
        said(json!({"criteria": [], "preflight": check(json!({}))})),
        "spec.preflight[0].telemetry: there is no criterion to ask about: write criteria, or leave this check out"
    );
    let late = json!({"steps": [{"name": "half", "replicas": "50%", "checks": check(json!({}))}]});
    assert_eq!(
        said(late),
        "spec.steps[0].checks[0]: workload, promotion and telemetry are asked before the first pod: write them in preflight"
    );
    let only = spec(json!({"preflight": check(json!({"criteria": ["latency"]}))}));
    assert!(plan(&only, false).is_ok());
    let measuring = plan::measuring(&only).expect("it is understood");
    let asked = criteria(&measuring, Some(&["latency".to_owned()])).expect("criteria");
    assert_eq!((asked.requests.len(), asked.latency), (0, vec!["latency".to_owned()]));
}
