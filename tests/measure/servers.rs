//! Runs that share a server are asked for together, and no one of them spoils it for the others.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::prometheus::{Auth, Prometheus, Round};
use tidegate::observe::measure::servers::Servers;
use tidegate::observe::measure::{Asked as Who, ReadError, Trust};
use tidegate::observe::reach::Reach;

use super::pods::serve;
use super::prometheus::{NOW, ROUND, asker, fake, pods, queries, success};
use super::{chosen, totals};

fn counted() -> Detected {
    chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits")
}

#[tokio::test]
async fn runs_of_one_round_share_their_queries() {
    let (way, asked) = fake(|_| {
        let series = |namespace: &str, pod: &str, value: &str| {
            let metric = json!({"namespace": namespace, "pod": pod, "code": "200"});
            json!({"metric": metric, "values": [[NOW, value]]})
        };
        // Of the same name in another namespace there is a pod that nobody asked about.
        success(json!([
            series("shop", "cart-1", "3"),
            series("bank", "pay-1", "4"),
            series("bank", "cart-1", "5"),
        ]))
    })
    .await;
    let servers = Servers::within(Reach::anywhere());
    let read = async |namespace: &str, pod: &str, names: &Names| {
        let server = servers.at(way.clone(), Trust::Nothing).expect("a server");
        let detected = chosen(names, "http_requests_total{code=\"200\"} 1").expect("fits");
        server.read(ROUND, asker(namespace, &pods(&[pod]), &detected)).await.remove(0)
    };
    // Paths that are left out do not make other queries.
    let own = Names { ignore_paths: vec!["/internal".to_owned()], ..Names::default() };
    let default = Names::default();
    let (cart, pay) = tokio::join!(read("shop", "cart-1", &default), read("bank", "pay-1", &own));
    assert_eq!(totals(&cart.1.expect("samples")).requests, 3.0);
    assert_eq!(totals(&pay.1.expect("samples")).requests, 4.0);
    assert_eq!(queries(&asked), [r#"http_requests_total{namespace=~"bank|shop",pod=~"pay-1|cart-1"}[120s]"#]);
}

#[tokio::test]
async fn a_hundred_runs_are_a_few_queries() {
    let (way, asked) = fake(|_| success(json!([]))).await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let detected = counted();
    let runs = (0..100).map(|run| {
        let names: Vec<_> = (0..10).map(|pod| format!("shop-{run}-59c8fd7b4d-{pod:05}")).collect();
        let pods = pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
        server.read(ROUND, asker(&format!("team-{}", run % 20), &pods, &detected))
    });
    let answers = futures::future::join_all(runs).await;
    assert!(answers.iter().all(|pods| pods.len() == 10));
    let queries = queries(&asked);
    assert!(queries.len() <= 6, "{} queries", queries.len());
    assert!(queries.iter().all(|query| query.len() <= 8 << 10));
}

#[tokio::test]
async fn what_goes_wrong_for_one_run_does_not_go_wrong_for_others() {
    let (way, asked) = fake(|query| {
        if query.contains("noisy") {
            return (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({"status": "error", "error": "too many samples"}),
            );
        }
        let metric = json!({"namespace": "shop", "pod": "cart-1", "code": "200"});
        success(json!([{"metric": metric, "values": [[NOW, "3"]]}]))
    })
    .await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let detected = counted();
    let (cart, noisy) = tokio::join!(
        server.read(ROUND, asker("shop", &pods(&["cart-1"]), &detected)),
        server.read(ROUND, asker("noisy", &pods(&["loud-1", "loud-2"]), &detected)),
    );
    assert!(cart[0].1.is_ok(), "{cart:?}");
    let error = ReadError::Api("too many samples".to_owned());
    assert!(noisy.iter().all(|(_, answer)| *answer == Err(error.clone())), "{noisy:?}");
    assert_eq!(queries(&asked).len(), 3);
}

#[tokio::test]
async fn a_series_with_too_many_labels_is_its_own_pods_trouble() {
    let (way, asked) = fake(|_| {
        let mut labels: serde_json::Map<String, Value> =
            (0..200).map(|label| (format!("label_{label:03}"), json!("x"))).collect();
        labels.extend([("namespace".to_owned(), json!("noisy")), ("pod".to_owned(), json!("loud-1"))]);
        let series = |namespace: &str, pod: &str, value: &str| {
            let metric = json!({"namespace": namespace, "pod": pod, "code": "200"});
            json!({"metric": metric, "values": [[NOW, value]]})
        };
        success(json!([
            series("noisy", "loud-1", "7"),
            {"metric": labels, "values": [[NOW, "1"]]},
            series("noisy", "loud-2", "4"),
            series("shop", "cart-1", "3"),
        ]))
    })
    .await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let detected = counted();
    let (cart, noisy) = tokio::join!(
        server.read(ROUND, asker("shop", &pods(&["cart-1"]), &detected)),
        server.read(ROUND, asker("noisy", &pods(&["loud-1", "loud-2"]), &detected)),
    );
    let requests = |answer: &Result<Vec<_>, ReadError>| totals(answer.as_ref().expect("samples")).requests;
    assert_eq!(requests(&cart[0].1), 3.0);
    assert_eq!(noisy[0].1, Err(ReadError::TooManyLabels { limit: 128 }));
    assert_eq!(requests(&noisy[1].1), 4.0);
    assert_eq!(queries(&asked).len(), 1);
}

/// A server that never answers a question about pods of `noisy`, and others at once.
async fn deaf_to_noisy() -> Prometheus {
    let query = |body: String| async move {
        if body.contains("noisy") {
            std::future::pending::<()>().await;
        }
        let metric = json!({"namespace": "shop", "pod": "cart-1", "code": "200"});
        success(json!([{"metric": metric, "values": [[NOW, "3"]]}])).1.to_string()
    };
    let port = serve(Router::new().route("/api/v1/query", post(query))).await;
    Prometheus { url: format!("http://127.0.0.1:{port}"), auth: Auth::Nobody, headers: vec![] }
}

#[tokio::test]
async fn whoever_is_slow_leaves_the_others_their_numbers() {
    let way = deaf_to_noisy().await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let detected = counted();
    let round = Round { deadline: Duration::from_millis(500), ..ROUND };
    // Many runs, and more pods than one question has room for: all of it waits behind the first question of others.
    let names: Vec<_> = (0..200).map(|pod| format!("loud-59c8fd7b4d-{pod:05}")).collect();
    let loud = pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let noisy =
        futures::future::join_all((0..20).map(|_| server.read(round, asker("noisy", &loud, &detected))));
    let (cart, noisy) = tokio::join!(server.read(round, asker("shop", &pods(&["cart-1"]), &detected)), noisy);
    assert_eq!(totals(cart[0].1.as_ref().expect("samples")).requests, 3.0);
    let is_late = |answer: &Result<_, ReadError>| {
        answer.as_ref().is_err_and(|error| matches!(error, ReadError::Timeout { .. }))
    };
    assert!(noisy.iter().flatten().all(|(_, answer)| is_late(answer)));
    assert_eq!(noisy.iter().map(Vec::len).sum::<usize>(), 20 * 200);
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_not_asked_for_each_run() {
    let (way, asked) = fake(|_| (StatusCode::UNAUTHORIZED, json!("who are you?"))).await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let detected = counted();
    let runs = ["shop", "bank", "mail"].map(|of| server.read(ROUND, asker(of, &pods(&["a"]), &detected)));
    let answers = futures::future::join_all(runs).await;
    let refused = ReadError::Status { asked: Who::Prometheus, status: 401 };
    assert!(answers.iter().flatten().all(|(_, answer)| *answer == Err(refused.clone())), "{answers:?}");
    assert_eq!(queries(&asked).len(), 1);
}

#[tokio::test]
async fn the_server_is_given_a_second_less_than_is_waited_for_it() {
    let (way, asked) = fake(|_| success(json!([]))).await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    for deadline in [Duration::from_secs(5), Duration::from_millis(800)] {
        let round = Round { deadline, ..ROUND };
        server.read(round, asker("shop", &pods(&["cart-1"]), &counted())).await;
    }
    let asked = asked.lock().expect("not poisoned");
    let timeouts: Vec<&str> = asked.iter().map(|form| form["timeout"].as_str()).collect();
    assert_eq!(timeouts, ["4000ms", "1000ms"]);
}

#[tokio::test]
async fn queries_of_one_namespace_that_take_long_keep_no_other_waiting() {
    let query = |form: String| async move {
        if form.contains("slow") {
            std::future::pending::<()>().await;
        }
        let result = json!([{"metric": {}, "value": [NOW, "3"]}]);
        Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    };
    let port = serve(Router::new().route("/api/v1/query", post(query))).await;
    let way = Prometheus { url: format!("http://127.0.0.1:{port}"), auth: Auth::Nobody, headers: vec![] };
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let noisy = futures::future::join_all((0..10).map(|_| server.instant(ROUND, "noisy", "slow")));
    let shop = server.instant(ROUND, "shop", "orders");
    let found = tokio::select! {
        biased;
        _ = noisy => panic!("that is never answered"),
        found = shop => found,
    };
    assert_eq!(found.map(|numbers| numbers[0].value), Ok(3.0));
}

#[tokio::test]
async fn a_server_is_the_same_only_for_those_who_speak_to_it_in_the_same_way() {
    let (way, _) = fake(|_| success(json!([]))).await;
    let servers = Servers::within(Reach::anywhere());
    let at = |way: &_| servers.at(Clone::clone(way), Trust::Nothing).expect("a server");
    let first = at(&way);
    assert!(Arc::ptr_eq(&first, &at(&way)));
    let other_token = Prometheus { auth: Auth::Bearer("other".to_owned()), ..way.clone() };
    assert!(!Arc::ptr_eq(&first, &at(&other_token)));
    let other_tenant = Prometheus { headers: vec![("X-Scope-OrgID".to_owned(), "bank".to_owned())], ..way };
    assert!(!Arc::ptr_eq(&first, &at(&other_tenant)));
}
