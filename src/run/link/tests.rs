//! Patience, with API servers that never answer, fall silent, or ask to be left alone. Time is virtual.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::{Body, ClientBuilder};
use kube::runtime::watcher;
use kube::{Api, Client};

use super::super::clock;
use super::{Answers, Patience, UnderWay};
use crate::answered::Answered;
use crate::decide::Key;
use crate::report::Metrics;

struct Stage {
    client: Client,
    answers: Arc<Answers>,
    runs: Arc<UnderWay>,
    metrics: Arc<Metrics>,
    /// When what was asked.
    asked: Arc<Mutex<Vec<(Duration, String)>>>,
}

/// A client of an API server that answers like this; `None`: never.
fn stage(answer: impl Fn(&Request<Body>) -> Option<Response<Answered>> + Send + Sync + 'static) -> Stage {
    let (answers, runs, metrics) =
        (Arc::new(Answers::default()), Arc::new(UnderWay::default()), Arc::new(Metrics::new()));
    let asked = Arc::<Mutex<Vec<(Duration, String)>>>::default();
    let (noted, start) = (asked.clone(), clock::instant());
    let service = tower::service_fn(move |request: Request<Body>| {
        noted.lock().unwrap().push((clock::instant() - start, request.uri().to_string()));
        let response = answer(&request);
        async move {
            match response {
                Some(response) => Ok::<_, Infallible>(response),
                None => std::future::pending().await,
            }
        }
    });
    let patience = Patience::new(answers.clone(), runs.follow(), metrics.clone());
    let client = ClientBuilder::new(service, "default").with_layer(&patience).build();
    Stage { client, answers, runs, metrics, asked }
}

fn maps(stage: &Stage) -> Api<ConfigMap> {
    Api::namespaced(stage.client.clone(), "default")
}

fn key() -> Key {
    Key { namespace: "ns".into(), name: "shop".into() }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_fails_in_time_and_is_said() {
    let stage = stage(|_| None);
    let began = clock::instant();
    let error = maps(&stage).get("a").await.expect_err("no answer").to_string();
    assert!(error.contains("no answer within 30 s"), "{error}");
    assert_eq!(clock::instant() - began, Duration::from_secs(30));
    let said = stage.answers.trouble().expect("trouble");
    assert!(said.contains("has not answered for 30 s: no answer within 30 s"), "{said}");
    let page = stage.metrics.page();
    assert!(
        page.contains(r#"tidegate_api_requests_total{request="read",outcome="late"} 1"#),
        "what came of requests is counted:\n{page}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_in_silence_is_not_waited_for() {
    let stage = stage(|_| Some(Response::new(Answered::Silence)));
    let began = clock::instant();
    assert!(maps(&stage).get("a").await.is_err());
    assert_eq!(clock::instant() - began, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_trouble_counts_as_none() {
    for (status, is_trouble) in [(500, true), (401, true), (403, false), (404, false)] {
        let stage = stage(move |_| {
            let text = r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no"}"#;
            let mut response = Response::new(Answered::text(text));
            *response.status_mut() = status.try_into().unwrap();
            Some(response)
        });
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(maps(&stage).get("a").await.is_err());
        assert_eq!(stage.answers.trouble().is_some(), is_trouble, "{status}");
    }
}

/// Lists that are empty, watches that never say anything.
fn silent_watches(request: &Request<Body>) -> Option<Response<Answered>> {
    let list =
        r#"{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}"#;
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    Some(Response::new(if watches { Answered::Silence } else { Answered::text(list) }))
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_noticed_within_twelve_seconds_of_a_run_and_goes_on_from_where_it_was() {
    let stage = stage(silent_watches);
    let config = watcher::Config::default().timeout(60);
    let mut events = pin!(watcher(maps(&stage), config));
    let watch_for = Duration::from_secs(100);
    let at_rest = async { while events.next().await.is_some() {} };
    assert!(tokio::time::timeout(watch_for, at_rest).await.is_err(), "a watch does not end by itself");
    stage.runs.note(&key(), true);
    let in_a_run = async { while events.next().await.is_some() {} };
    assert!(tokio::time::timeout(Duration::from_secs(35), in_a_run).await.is_err());
    stage.runs.note(&key(), false);

    let asked = stage.asked.lock().unwrap().clone();
    let watches: Vec<(u64, &str)> = asked
        .iter()
        .filter(|(_, uri)| uri.contains("watch=true"))
        .map(|(at, uri)| (at.as_secs(), uri.as_str()))
        .collect();
    let moments: Vec<u64> = watches.iter().map(|(at, _)| *at).collect();
    assert_eq!(moments, [0, 65, 110, 122, 134], "{watches:#?}");
    for (at, uri) in &watches {
        let seconds = if *at < 100 { 60 } else { 10 };
        assert!(uri.contains(&format!("timeoutSeconds={seconds}&")), "{at}: {uri}");
        assert!(uri.contains("resourceVersion=7"), "{uri}");
    }
    assert_eq!(asked.len(), watches.len() + 1, "nothing was listed again");
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_come_back_later_does_and_a_write_is_told_at_once() {
    let stage = stage(|_| {
        let mut response = Response::new(Answered::text("Too many requests, please try again later."));
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert("retry-after", "7".parse().unwrap());
        Some(response)
    });
    let wait = |error: kube::Error| match error {
        kube::Error::Api(status) => (status.code, status.details.map(|details| details.retry_after_seconds)),
        other => panic!("{other}"),
    };
    let began = clock::instant();
    let read = maps(&stage).get("a").await.expect_err("throttled");
    assert_eq!(wait(read), (429, Some(7)));
    assert_eq!(clock::instant() - began, Duration::from_secs(7), "a read comes back no sooner");
    let began = clock::instant();
    let patch = Request::patch("/api/v1/namespaces/default/configmaps/a").body(Vec::new()).unwrap();
    let written = stage.client.request::<ConfigMap>(patch).await.expect_err("throttled");
    assert_eq!(wait(written), (429, Some(7)));
    assert_eq!(clock::instant(), began);
    assert_eq!(stage.answers.trouble(), None, "it is there, only busy");
}
