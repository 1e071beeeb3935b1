//! `http` checks: the status, headers and body of a real server's answers, and those of each new pod.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tidegate::api::check::HttpCheck;
use tidegate::decide::plan::Question;
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::{About, Probe, ProbedPod};

use super::{ask, cluster};
use crate::measure::pods::{deaf, serve};

/// A server with a page of JSON, one of text, and a redirect.
async fn server() -> u16 {
    let status = json!({"status": "ok", "version": "2.1.0", "checks": [{"name": "db", "ms": 12}]});
    let router = Router::new()
        .route("/json", get(async move || axum::Json(status.clone())))
        .route("/text", get(async || ([("strict-transport-security", "max-age=31536000")], "fine")))
        .route(
            "/moved",
            get(async || (StatusCode::MOVED_PERMANENTLY, [("location", "https://shop.test/")], "")),
        );
    serve(router).await
}

async fn asked(check: Value, pods: Vec<ProbedPod>) -> (ProbeResult, String) {
    let check: HttpCheck = serde_json::from_value(check).expect("a check");
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "health".into(), attempt: 1, definition: None },
        question: Question::Http(check),
        timeout: Duration::from_secs(10),
        pods,
        about: About::Nothing,
    };
    let client = cluster([]).await;
    ask(&client, &probe, jiff::Timestamp::UNIX_EPOCH).await
}

async fn expecting(page: &str, expect: Value) -> (ProbeResult, String) {
    let url = format!("http://127.0.0.1:{}{page}", server().await);
    asked(json!({"url": url, "expect": expect}), Vec::new()).await
}

fn failed(message: &str) -> (ProbeResult, String) {
    (ProbeResult::Failed, message.to_owned())
}

#[tokio::test]
async fn a_body_of_json_is_held_against_an_expression() {
    let with = |text: &str| json!({"expression": text});
    let well = expecting("/json", with("body.status == 'ok' && body.checks.all(c, c.ms < 50)")).await;
    assert_eq!(well, (ProbeResult::Passed, "answered 200".to_owned()));
    let old = expecting("/json", with("body.version.startsWith('3.')")).await;
    assert_eq!(old, failed("the body is not as expected: body.version.startsWith('3.')"));
    let (result, message) = expecting("/json", with("body.queue.length < 5")).await;
    assert_eq!(result, ProbeResult::Unknown, "{message}");
    assert!(message.starts_with("expect.expression cannot be told: "), "{message}");
    let text = expecting("/text", with("body.status == 'ok'")).await;
    assert_eq!(text, failed("the body is no JSON of at most 64 KiB, as expect.expression needs"));
    let odd = expecting("/json", with("body.status = 'ok'")).await;
    assert_eq!(odd.0, ProbeResult::Failed, "{}", odd.1);
}

#[tokio::test]
async fn headers_and_redirects_are_part_of_the_answer() {
    let with = |header: &str, pattern: &str| json!({"headers": {header: pattern}});
    let page = "/text";
    assert_eq!(
        expecting(page, with("Strict-Transport-Security", "max-age=31536000")).await.0,
        ProbeResult::Passed
    );
    let other = expecting(page, with("strict-transport-security", "preload")).await;
    assert_eq!(
        other,
        failed("answered 200, but the header strict-transport-security does not match preload")
    );
    let none = expecting(page, with("x-frame-options", "DENY")).await;
    assert_eq!(none, failed("answered 200, without the header x-frame-options"));
    let moved = json!({"status": 301, "headers": {"location": "^https://"}});
    assert_eq!(expecting("/moved", moved).await.0, ProbeResult::Passed);
}

#[tokio::test]
async fn each_new_pod_is_asked_and_the_first_that_is_not_as_expected_decides() {
    let port = server().await;
    let pod = |name: &str, port: Option<u16>| ProbedPod {
        name: name.into(),
        ip: "127.0.0.1".into(),
        port,
        on_trial: false,
    };
    let check = json!({"podPath": "/json", "expect": {"expression": "body.status == 'ok'"}});
    let two = vec![pod("shop-a", Some(port)), pod("shop-b", Some(port))];
    let all = asked(check.clone(), two.clone()).await;
    let well = "2 of 2 pods asked, all as expected; pod shop-b: answered 200";
    assert_eq!(all, (ProbeResult::Passed, well.to_owned()));
    let mut with_a_bad_one = two;
    with_a_bad_one.push(pod("shop-c", None));
    let told = asked(check.clone(), with_a_bad_one).await;
    assert_eq!(told, failed("pod shop-c: its containers name no port: write podPort"));
    let on_trial = vec![ProbedPod { on_trial: true, ..pod("shop-trial", Some(port)) }];
    let one = asked(check.clone(), on_trial).await;
    assert_eq!(one, (ProbeResult::Passed, format!("trial pod shop-trial (127.0.0.1:{port}): answered 200")));
    let closed = deaf();
    let deaf = vec![ProbedPod { on_trial: true, ..pod("shop-trial", Some(closed)) }];
    let why = "no answer: the connection is refused: nothing listens on that port, or only for its own machine (127.0.0.1)";
    let told = asked(check.clone(), deaf).await;
    assert_eq!(told, (ProbeResult::Unknown, format!("trial pod shop-trial (127.0.0.1:{closed}): {why}")));
    let none = asked(check, Vec::new()).await;
    assert_eq!(none, (ProbeResult::Unknown, "no pod to ask is Ready".to_owned()));
}
