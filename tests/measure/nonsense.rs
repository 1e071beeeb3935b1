//! Bad input, from pods, from a Prometheus server, and from JSON: each is one sentence that says what to write, and never a number.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tidegate::observe::measure::names::{Names, RequestsMetric};
use tidegate::observe::measure::prometheus::{Auth, Prometheus};
use tidegate::observe::measure::scrape::{Target, detect};
use tidegate::observe::measure::servers::{Server, Servers};
use tidegate::observe::measure::{Trust, client};
use tidegate::observe::reach::Reach;
use tidegate::observe::values::{of_json, of_query};

use super::chosen;
use super::pods::{scrape, serve};
use super::prometheus::{NOW, ROUND, asker, fake, pods, success};

const COUNTER: &str = "http_requests_total{code=\"200\"} 1";

fn ours() -> Names {
    let requests = RequestsMetric { name: "shop_calls_total".to_owned(), status_label: None };
    Names { requests: Some(requests), ..Names::default() }
}

/// What is said of this page.
async fn of_page(page: String) -> String {
    let port = serve(Router::new().route("/metrics", get(|| async { page }))).await;
    let target = Target {
        namespace: "shop".to_owned(),
        pod: "a".to_owned(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        path: "/metrics".to_owned(),
    };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let detected = chosen(&Names::default(), COUNTER).expect("fits");
    let answers = scrape(&client, &[target], &detected, Duration::from_secs(5), 1).await;
    answers[0].1.as_ref().expect_err("nothing to count").to_string()
}

#[tokio::test]
async fn nan_infinities_and_negative_counters_on_a_page_are_no_counts_and_say_what_to_write() {
    for value in ["NaN", "+Inf", "-Inf", "-3"] {
        let said = of_page(format!("http_requests_total{{code=\"200\"}} {value}\n")).await;
        let shown = match value {
            "+Inf" => "inf",
            "-Inf" => "-inf",
            plain => plain,
        };
        assert_eq!(
            said,
            format!(
                "http_requests_total is {shown}, which no counter can be; write the name of another as metrics.requests.name"
            )
        );
    }
}

#[tokio::test]
async fn a_label_explosion_on_a_page_says_what_to_drop() {
    let line = |user: u32| format!("http_requests_total{{code=\"200\",user=\"{user}\"}} 1\n");
    let said = of_page((0..20_001).map(line).collect()).await;
    assert_eq!(said, "more than 20000 series of the chosen metrics on one pod; drop a label from them");
    // So many that the page is not read to its end.
    let said = of_page((0..200_000).map(line).collect()).await;
    assert!(said.starts_with("answer larger than 4 MiB; drop a label"), "{said}");
}

/// A histogram with so many bounds.
fn histogram(bounds: u32) -> String {
    let line = |bound: u32| format!("http_request_duration_seconds_bucket{{le=\"{bound}\"}} 1\n");
    format!("{COUNTER}\n{}", (0..bounds).map(line).collect::<String>())
}

#[tokio::test]
async fn a_histogram_with_ever_more_bounds_says_to_give_it_fewer() {
    let says = "more than 320 different bounds (le) in the latency histogram of one pod; give it fewer buckets, or write another as metrics.latency.name";
    let detected = chosen(&Names::default(), &histogram(1)).expect("fits");
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let router = Router::new()
        .route("/most", get(|| async { histogram(320) }))
        .route("/more", get(|| async { histogram(321) }));
    let port = serve(router).await;
    let target = |path: &str| Target {
        namespace: "shop".to_owned(),
        pod: path.to_owned(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        path: path.to_owned(),
    };
    let answers =
        scrape(&client, &[target("/most"), target("/more")], &detected, Duration::from_secs(5), 1).await;
    assert_eq!(answers[0].1.as_ref().map(Vec::len), Ok(321));
    assert_eq!(answers[1].1.as_ref().expect_err("too many").to_string(), says);

    let (server, _) = fake(|query| {
        let bucket = |pod: &str, bound: u32| {
            let metric = json!({"namespace": "shop", "pod": pod, "le": bound.to_string()});
            json!({"metric": metric, "values": [[NOW, "1"]]})
        };
        let most = (0..320).map(|bound| bucket("most", bound));
        success(match query.starts_with("http_requests_total") {
            true => json!([]),
            false => most.chain((0..321).map(|bound| bucket("more", bound))).collect(),
        })
    })
    .await;
    let answers = server.read(&client, ROUND, &[asker("shop", &pods(&["most", "more"]), &detected)]).await;
    assert_eq!(answers[0][0].1.as_ref().map(Vec::len), Ok(320));
    assert_eq!(answers[0][1].1.as_ref().expect_err("too many").to_string(), says);
}

#[tokio::test]
async fn an_unknown_metric_says_which_are_there_and_where_to_write_one() {
    let port =
        serve(Router::new().route("/metrics", get(|| async { "shop_hits_total{code=\"200\"} 4\n" }))).await;
    let target = Target {
        namespace: "shop".to_owned(),
        pod: "a".to_owned(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        path: "/metrics".to_owned(),
    };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let of_pods = detect(&client, &[target], &ours(), Duration::from_secs(5), 1).await;
    let (server, _) = fake(|query| {
        success(if query.starts_with("group by") {
            json!([{"metric": {"__name__": "shop_hits_total"}, "value": [NOW, "1"]}])
        } else {
            json!([])
        })
    })
    .await;
    let of_server = server.detect(&client, ROUND, "shop", &pods(&["a"]), &ours()).await;
    for said in [of_pods, of_server] {
        let said = said.expect_err("it is not there").to_string();
        assert!(said.starts_with("no series shop_calls_total among "), "{said}");
        assert!(said.contains("correct metrics.requests.name"), "{said}");
        assert!(said.ends_with("counters seen: shop_hits_total"), "{said}");
    }
}

/// What is said when a Prometheus server answers so to what is asked about one pod.
async fn of_answer(answer: impl Fn(&str) -> (StatusCode, Value) + Clone + Send + Sync + 'static) -> String {
    let (server, _) = fake(answer).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let detected = chosen(&Names::default(), COUNTER).expect("fits");
    let answers = server.read(&client, ROUND, &[asker("shop", &pods(&["a"]), &detected)]).await;
    answers[0][0].1.as_ref().expect_err("nothing to count").to_string()
}

#[tokio::test]
async fn bad_counters_of_a_prometheus_server_say_what_to_write() {
    for (value, shown) in [("NaN", "NaN"), ("+Inf", "inf"), ("-3", "-3")] {
        let said = of_answer(move |_| {
            let metric = json!({"namespace": "shop", "pod": "a", "code": "200"});
            success(json!([{"metric": metric, "values": [[NOW, value]]}]))
        })
        .await;
        assert_eq!(
            said,
            format!(
                "the counter is {shown}, which no counter can be; write the name of another as metrics.requests.name"
            )
        );
    }
    let said = of_answer(|_| {
        let series = |user: u32| {
            let metric = json!({"namespace": "shop", "pod": "a", "code": "200", "user": user.to_string()});
            json!({"metric": metric, "values": [[NOW, "1"]]})
        };
        success((0..20_001).map(series).collect())
    })
    .await;
    assert_eq!(said, "more than 20000 series of the chosen metrics on one pod; drop a label from them");
    let said = of_answer(|_| {
        let refusal = json!({"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unclosed left parenthesis"});
        (StatusCode::BAD_REQUEST, refusal)
    })
    .await;
    assert!(said.starts_with("prometheus: 1:5: parse error: unclosed left parenthesis; "), "{said}");
    assert!(
        said.ends_with("name metrics with fewer series as metrics.requests and metrics.latency"),
        "{said}"
    );
}

/// A server that answers everything with fifty megabytes.
async fn endless() -> Arc<Server> {
    let series = r#"{"metric":{"namespace":"shop","pod":"a","code":"200"},"value":[1,"1"]},"#;
    let big = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        series.repeat((50 << 20) / series.len())
    );
    let port = serve(Router::new().route("/api/v1/query", post(|| async { big }))).await;
    let way = Prometheus { url: format!("http://127.0.0.1:{port}"), auth: Auth::Nobody, headers: vec![] };
    Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server")
}

#[tokio::test]
async fn fifty_megabytes_from_a_prometheus_server_are_not_read_to_their_end() {
    let server = endless().await;
    let detected = chosen(&Names::default(), COUNTER).expect("fits");
    let answers = server.read(ROUND, asker("shop", &pods(&["a"]), &detected)).await;
    let fix = "answer from prometheus larger than 16 MiB; drop a label from the chosen metrics, or write others as \
               metrics.requests and metrics.latency";
    assert_eq!(answers[0].1.as_ref().expect_err("too much").to_string(), fix);
    let of_number = of_query(&server, ROUND, "shop", "orders", None).await.expect_err("too much").to_string();
    assert!(of_number.starts_with("answer from prometheus larger than 2 MiB; "), "{of_number}");
}

#[tokio::test]
async fn a_series_with_more_labels_than_are_read_says_what_to_do() {
    let said = of_answer(|_| {
        let mut labels: serde_json::Map<String, Value> =
            (0..200).map(|label| (format!("label_{label}"), json!(""))).collect();
        labels.extend([("namespace".to_owned(), json!("shop")), ("pod".to_owned(), json!("a"))]);
        success(json!([{"metric": labels, "values": [[NOW, "1"]]}]))
    })
    .await;
    assert_eq!(said, "a series of the chosen metrics has more than 128 labels; drop labels from it");
}

#[tokio::test]
async fn a_query_that_gives_more_series_than_are_looked_at_says_how_to_have_fewer() {
    let (way, _) = fake(|_| {
        let series = |user: u32| json!({"metric": {"user": user.to_string()}, "value": [NOW, "1"]});
        let all: Value = (0..5_000).map(series).collect();
        (StatusCode::OK, json!({"status": "success", "data": {"resultType": "vector", "result": all}}))
    })
    .await;
    let server = Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server");
    let said =
        of_query(&server, ROUND, "shop", "orders", Some("user")).await.expect_err("too many").to_string();
    assert_eq!(
        said,
        "the query gives 5000 series, at most 100 are looked at: aggregate them, as with sum by (...)"
    );
}

#[tokio::test]
async fn what_is_no_number_in_a_json_answer_is_none() {
    let big = format!("{{\"queue\": 1, \"more\": \"{}\"}}", "x".repeat(50 << 20));
    let router = Router::new()
        .route("/nan", get(|| async { r#"{"queue": NaN}"# }))
        .route("/infinite", get(|| async { r#"{"queue": 1e999}"# }))
        .route("/text", get(|| async { r#"{"queue": "12"}"# }))
        .route("/big", get(|| async { big }));
    let port = serve(router).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    for (path, expected) in [
        ("nan", "the answer is no JSON ("),
        ("infinite", "the answer is no JSON (number out of range"),
        ("text", "what stands at /queue is a text: write a pointer to a number"),
        ("big", "the answer is larger than 64 KiB"),
    ] {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let said = of_json(&client, &url, "/queue", Duration::from_secs(5))
            .await
            .expect_err("no number")
            .to_string();
        assert!(said.starts_with(expected), "{path}: {said}");
    }
}
