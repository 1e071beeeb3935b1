use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate::decide::judge::Bound;
use tidegate::observe::measure::kept::{Passage, SERIES};
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::prometheus::{
    Answers, Asker, Auth, Pod, Prometheus, Round, queries as queries_of,
};
use tidegate::observe::measure::{Asked as Who, ReadError, SeriesValue, Trust, client};
use tidegate::observe::reach::Reach;
use tidegate::watch::ObjectKey;
use tidegate::watch::room::Room;

use super::pods::serve;
use super::{GO, chosen, totals};
use crate::tls::{self, CERTIFICATE};

pub const NOW: i64 = 1_700_000_000;

/// The forms that a fake server was sent.
pub type Asked = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// A fake server that gives every query the answer that `answer` makes of it.
pub async fn fake(
    answer: impl Fn(&str) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
) -> (Prometheus, Asked) {
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

pub fn success(result: Value) -> (StatusCode, Value) {
    (StatusCode::OK, json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
}

pub fn pods(names: &[&str]) -> Vec<Pod> {
    names.iter().map(|name| Pod { name: (*name).to_owned(), started_at: None }).collect()
}

pub const ROUND: Round =
    Round { now: NOW, scrape_interval: Duration::from_secs(15), deadline: Duration::from_secs(5) };

pub fn asker(namespace: &str, pods: &[Pod], detected: &Detected) -> Asker {
    asker_within(&SERIES, namespace, pods, detected)
}

fn asker_within(room: &Room, namespace: &str, pods: &[Pod], detected: &Detected) -> Asker {
    let passage = Passage::of(room, &ObjectKey::new(namespace, "shop"));
    Asker { namespace: namespace.to_owned(), pods: pods.to_vec(), detected: detected.clone(), passage }
}

async fn read(prometheus: &Prometheus, pods: &[Pod], detected: &Detected) -> Answers {
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let mut answers = prometheus.read(&client, ROUND, &[asker("shop", pods, detected)]).await;
    answers.remove(0)
}

pub fn queries(asked: &Asked) -> Vec<String> {
    asked.lock().expect("not poisoned").iter().map(|form| form["query"].clone()).collect()
}

#[tokio::test]
async fn the_newest_sample_of_each_series_is_read_with_one_query_a_family() {
    let (prometheus, asked) = fake(|query| {
        success(if query.starts_with("http_requests_total{") {
            json!([
                {"metric": {"__name__": "http_requests_total", "namespace": "shop", "pod": "a.1", "code": "200", "job": "one"},
                 "values": [[NOW - 20, "5"], [NOW - 5, "9"]]},
                {"metric": {"__name__": "http_requests_total", "namespace": "shop", "pod": "a.1", "code": "200", "job": "two"},
                 "values": [[NOW - 7, "8"]]},
                {"metric": {"__name__": "http_requests_total", "namespace": "shop", "pod": "a.1", "code": "500", "job": "one"},
                 "values": [[NOW - 5, "1"]]},
                {"metric": {"__name__": "http_requests_total", "namespace": "shop", "pod": "old", "code": "200"},
                 "values": [[NOW - 90, "3"]]},
                {"metric": {"__name__": "http_requests_total", "namespace": "shop", "pod": "stranger", "code": "200"},
                 "values": [[NOW, "3"]]},
            ])
        } else {
            json!([{"metric": {"__name__": "http_request_duration_seconds_bucket", "namespace": "shop", "pod": "a.1", "le": "+Inf"},
                    "values": [[NOW - 5, "10"]]}])
        })
    })
    .await;
    let detected = chosen(&Names::default(), GO).expect("fits");
    let pods = pods(&["old", "a.1", "unknown"]);
    let answers = read(&prometheus, &pods, &detected).await;
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
async fn what_a_namespaces_pods_are_answered_with_takes_its_share_of_the_room_until_it_is_counted() {
    let (prometheus, _) = fake(|_| {
        let series = |namespace: &str, pod: &str, user: u32| {
            let metric = json!({"namespace": namespace, "pod": pod, "code": "200", "user": user.to_string()});
            json!({"metric": metric, "values": [[NOW, "1"]]})
        };
        let loud = (0..600).map(|user| series("noisy", "loud", user));
        success(loud.chain([series("noisy", "quiet", 1), series("shop", "cart", 1)]).collect())
    })
    .await;
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    // Half of it is room for 585 series that are on their way, and for more that are told.
    let room = Room::of(128 << 10);
    let askers = [
        asker_within(&room, "noisy", &pods(&["loud", "quiet"]), &detected),
        asker_within(&room, "shop", &pods(&["cart"]), &detected),
    ];
    let answers = prometheus.read(&client, ROUND, &askers).await;
    assert_eq!(answers[0][0].1, Err(ReadError::NoRoom));
    assert_eq!(totals(answers[0][1].1.as_ref().expect("samples")).requests, 1.0);
    assert_eq!(totals(answers[1][0].1.as_ref().expect("samples")).requests, 1.0);
    assert_eq!(room.taken(), 2 * size_of::<SeriesValue>(), "what is told is not counted yet");
    let passage = askers[0].passage.clone();
    drop(askers);
    assert_eq!(room.taken(), size_of::<SeriesValue>(), "whoever counts it holds it");
    drop(passage);
    assert_eq!(room.taken(), 0);
}

#[tokio::test]
async fn samples_of_the_process_before_are_left_out() {
    let (prometheus, _) = fake(|_| {
        success(json!([
            {"metric": {"namespace": "shop", "pod": "a", "code": "500"}, "values": [[NOW - 30, "100"]]},
            {"metric": {"namespace": "shop", "pod": "a", "code": "200"}, "values": [[NOW - 30, "900"], [NOW - 5, "2"]]},
            {"metric": {"namespace": "shop", "pod": "b", "code": "500"}, "values": [[NOW - 30, "100"]]},
        ]))
    })
    .await;
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let pods: Vec<_> =
        pods(&["a", "b"]).into_iter().map(|pod| Pod { started_at: Some(NOW - 20), ..pod }).collect();
    let answers = read(&prometheus, &pods, &detected).await;
    let found = totals(answers[0].1.as_ref().expect("samples"));
    assert_eq!((found.requests, found.errors), (2.0, 0.0));
    assert_eq!(answers[1].1, Err(ReadError::NoSamples));
}

#[tokio::test]
async fn many_pods_are_split_over_several_queries() {
    let (prometheus, asked) = fake(|_| success(json!([]))).await;
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let names: Vec<_> = (0..1000).map(|number| format!("checkout-59c8fd7b4d-{number:05}")).collect();
    let pods = pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let answers = read(&prometheus, &pods, &detected).await;
    assert!(answers.iter().map(|(pod, _)| pod).eq(&names));
    let queries = queries(&asked);
    assert_eq!(queries.len(), 4);
    assert!(queries.iter().all(|query| query.len() <= 8 << 10));
    assert!(names.iter().all(|name| queries.iter().any(|query| query.contains(name))));
}

#[tokio::test]
async fn an_error_of_the_api_is_passed_on() {
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
        // What repeats what it was sent is not repeated here.
        (
            |_| (StatusCode::BAD_REQUEST, json!({"status": "error", "error": "no such token: secret!"})),
            ReadError::Api("no such token: ...!".to_owned()),
        ),
        (
            |_| (StatusCode::BAD_GATEWAY, json!("<html>")),
            ReadError::Status { asked: Who::Prometheus, status: 502 },
        ),
    ] {
        let (prometheus, _) = fake(answer).await;
        assert_eq!(read(&prometheus, &pods, &detected).await[0].1, Err(expected));
    }
    let (prometheus, _) = fake(|_| (StatusCode::OK, json!({"surprise": true}))).await;
    let answers = read(&prometheus, &pods, &detected).await;
    assert_eq!(answers[0].1.as_ref().map_err(ReadError::category), Err("not_metrics"));
    let nowhere = Prometheus { url: "not a url".to_owned(), ..prometheus };
    let answers = read(&nowhere, &pods, &detected).await;
    assert_eq!(answers[0].1.as_ref().map_err(ReadError::category), Err("settings"));
}

#[tokio::test]
async fn a_header_with_user_and_password_is_not_repeated_either() {
    let repeat = |headers: HeaderMap| async move {
        let sent = headers["authorization"].to_str().expect("a text");
        let error = format!("no such user: {sent} (ops, secret)");
        (StatusCode::BAD_REQUEST, Json(json!({"status": "error", "error": error})))
    };
    let url = format!("http://127.0.0.1:{}", serve(Router::new().fallback(repeat)).await);
    let auth = Auth::Basic { user: "ops".to_owned(), password: "secret".to_owned() };
    let prometheus = Prometheus { url, auth, headers: vec![] };
    let detected = chosen(&Names::default(), GO).expect("fits");
    let answers = read(&prometheus, &pods(&["a"]), &detected).await;
    assert_eq!(answers[0].1, Err(ReadError::Api("no such user: Basic ...== (ops, ...)".to_owned())));
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
    let round = Round { deadline, ..ROUND };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let answer = prometheus.detect(&client, round, "shop", &pods, &Names::default()).await;
    assert_eq!(answer, Err(ReadError::Timeout { asked: Who::Prometheus, after: deadline }));
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
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let pods = pods(&["a", "b"]);
    let detected = prometheus.detect(&client, ROUND, "shop", &pods, &Names::default()).await;
    assert_eq!(detected, Ok(chosen(&Names::default(), GO).expect("fits")));
    let queries = queries(&asked);
    assert_eq!(queries.len(), 1);
    assert!(queries[0].starts_with(r#"{__name__=~""#), "{}", queries[0]);
    assert!(queries[0].contains("|axum_http_requests_total|"), "{}", queries[0]);
    assert!(queries[0].contains("|.+(_http_requests_total|"), "{}", queries[0]);
    assert!(queries[0].ends_with(r#"le=~"|[+]Inf",namespace="shop",pod=~"a|b"}"#), "{}", queries[0]);
}

#[tokio::test]
async fn native_histograms_give_requests_and_latency() {
    let histogram = |count: u32, fast: u32, slow: u32| {
        json!({"count": count.to_string(), "sum": "12.5", "buckets": [
            [3, "-2.9e-39", "2.9e-39", "0"], [0, "0.25", "0.2973017787506803", fast.to_string()],
            [0, "1", "1.189207115002721", slow.to_string()],
        ]})
    };
    let ask = move |query: &str| {
        let labels = |code: &str| {
            json!({"__name__": "http_server_request_duration_seconds", "namespace": "shop", "pod": "a",
                   "http_response_status_code": code, "http_route": "/cart"})
        };
        success(if query.starts_with("{__name__") {
            json!([{"metric": labels("200"), "histogram": [NOW, histogram(8, 6, 2)]}])
        } else {
            json!([
                {"metric": labels("200"), "histograms": [[NOW - 20, histogram(5, 4, 1)], [NOW - 5, histogram(8, 6, 2)]]},
                {"metric": labels("500"), "histograms": [[NOW - 5, histogram(3, 0, 3)]]},
            ])
        })
    };
    let (prometheus, asked) = fake(ask).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let pods = pods(&["a"]);
    let detected =
        prometheus.detect(&client, ROUND, "shop", &pods, &Names::default()).await.expect("something fits");
    assert_eq!(
        detected.sentence(),
        "requests from http_server_request_duration_seconds_count (native histogram), errors by its label \
         http_response_status_code beginning with 5, latency from http_server_request_duration_seconds (native \
         histogram); probes, /metrics do not count (label http_route)"
    );
    let answers = read(&prometheus, &pods, &detected).await;
    let found = totals(answers[0].1.as_ref().expect("samples"));
    assert_eq!((found.requests, found.errors), (11.0, 3.0));
    let within = |seconds: f64| found.le.get(&Bound::new(seconds).expect("a number")).copied();
    assert_eq!(
        [within(0.25), within(0.3), within(0.5), within(1.0)],
        [Some(0.0), Some(6.0), Some(6.0), Some(6.0)]
    );
    assert_eq!([within(1.05), within(2.0), within(f64::INFINITY)], [None, Some(11.0), Some(11.0)]);
    let queries = queries(&asked);
    assert_eq!(queries[1], r#"http_server_request_duration_seconds{namespace="shop",pod=~"a"}[120s]"#);
    assert_eq!(queries.len(), 2, "one query for requests and latency");
}

#[tokio::test]
async fn when_nothing_fits_the_counters_that_the_server_has_are_named() {
    let (prometheus, asked) = fake(|query| {
        success(if query.starts_with("group by") {
            json!([{"metric": {"__name__": "shop_hits_total"}, "value": [NOW, "1"]}])
        } else {
            json!([])
        })
    })
    .await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let error = prometheus
        .detect(&client, ROUND, "shop", &pods(&["a"]), &Names::default())
        .await
        .expect_err("nothing fits");
    assert!(error.to_string().ends_with("counters seen: shop_hits_total"), "{error}");
    assert_eq!(
        queries(&asked)[1],
        r#"group by (__name__) ({__name__=~".+_(total|count)",namespace="shop",pod=~"a"})"#
    );
}

#[tokio::test]
async fn labels_of_the_collection_are_left_out_and_those_of_the_program_are_not() {
    let (prometheus, _) = fake(|_| {
        let series = |job: &str, endpoint: &str, value: &str| {
            json!({"metric": {"namespace": "shop", "pod": "a", "status": "200", "job": job, "container": job,
                              "endpoint": endpoint, "service": "cart"}, "values": [[NOW - 5, value]]})
        };
        success(json!([
            series("one", "/cart", "3"),
            series("one", "/pay", "4"),
            series("two", "/pay", "4"),
            series("one", "http-metrics", "5"),
            series("one", "web", "5"),
        ]))
    })
    .await;
    let detected = chosen(&Names::default(), "axum_http_requests_total{status=\"200\"} 1").expect("fits");
    let answers = read(&prometheus, &pods(&["a"]), &detected).await;
    assert_eq!(totals(answers[0].1.as_ref().expect("samples")).requests, 12.0);
}

#[tokio::test]
async fn every_trouble_with_a_server_says_what_to_do() {
    let detected = chosen(&Names::default(), GO).expect("fits");
    let pods = pods(&["a"]);
    let said = async |answer: fn(&str) -> (StatusCode, Value)| {
        let (prometheus, _) = fake(answer).await;
        read(&prometheus, &pods, &detected).await.remove(0).1.expect_err("an error").to_string()
    };
    assert_eq!(
        said(|_| (StatusCode::UNAUTHORIZED, json!({"status": "error", "error": "no org id"}))).await,
        "prometheus answered with status 401; write credentials that it accepts as metrics.prometheus.auth, and its \
         tenant as metrics.prometheus.headers"
    );
    assert_eq!(
        said(|_| (StatusCode::NOT_FOUND, json!("404 page not found"))).await,
        "prometheus answered with status 404; write the URL in front of /api/v1, with its path prefix, as \
         metrics.prometheus.url"
    );
    assert_eq!(
        said(|_| {
            let error = "query processing would load too many samples into memory in query execution";
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({"status": "error", "errorType": "execution", "error": error}),
            )
        })
        .await,
        "prometheus: query processing would load too many samples into memory in query execution; it is asked again in \
         the next round; if it stays so, name metrics with fewer series as metrics.requests and metrics.latency"
    );
    assert!(
        said(|_| (StatusCode::OK, json!("<html>Grafana</html>")))
            .await
            .starts_with("metrics.prometheus.url does not answer as Prometheus' API does (")
    );
    assert_eq!(
        said(|_| success(json!([]))).await,
        "prometheus has no samples of this pod; it must scrape the pod and give its series the labels namespace and pod"
    );
    assert_eq!(
        said(|_| {
            let metric = json!({"namespace": "shop", "pod": "a", "code": "200"});
            success(json!([{"metric": metric, "values": [[NOW, "NaN"]]}]))
        })
        .await,
        "the counter is NaN, which no counter can be; write the name of another as metrics.requests.name"
    );
}

#[tokio::test]
async fn an_answer_of_fifty_megabytes_is_asked_for_in_parts() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let big = move |body: String| async move {
        *count.lock().expect("not poisoned") += 1;
        let both = body.contains("a%7Cb");
        let pod = if body.contains("pod%3D%7E%22b") { "b" } else { "a" };
        let series = format!(
            r#"{{"metric":{{"namespace":"shop","pod":"{pod}","code":"200"}},"values":[[{NOW},"1"]]}}"#
        );
        let more = if both { format!(",{series}").repeat((50 << 20) / series.len()) } else { String::new() };
        format!(r#"{{"status":"success","data":{{"result":[{series}{more}]}}}}"#)
    };
    let port = serve(Router::new().route("/api/v1/query", post(big))).await;
    let url = format!("http://127.0.0.1:{port}");
    let prometheus = Prometheus { url, auth: Auth::Nobody, headers: vec![] };
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let answers = read(&prometheus, &pods(&["a", "b"]), &detected).await;
    let one = |answer: &Result<Vec<_>, _>| answer.as_ref().is_ok_and(|values| values.len() == 1);
    assert!(answers.iter().all(|(_, answer)| one(answer)), "{answers:?}");
    assert_eq!(*asked.lock().expect("not poisoned"), 3);
}

#[tokio::test]
async fn only_the_ca_that_is_named_is_trusted() {
    let nothing = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    let port = tls::serve(|_| nothing.to_owned());
    let url = format!("https://localhost:{port}");
    let prometheus = Prometheus { url, auth: Auth::Nobody, headers: vec![] };
    let detected = chosen(&Names::default(), GO).expect("fits");
    let read = async |trust| {
        let client = client(trust, &Reach::anywhere()).expect("a client");
        let answers = prometheus.read(&client, ROUND, &[asker("shop", &pods(&["a"]), &detected)]).await;
        answers[0][0].1.clone()
    };
    assert_eq!(read(Trust::Only(CERTIFICATE.to_vec())).await, Err(ReadError::NoSamples));
    let untrusted = read(Trust::Nothing).await.expect_err("nobody vouches for it");
    assert_eq!(untrusted.category(), "refused", "{untrusted}");
    assert!(untrusted.to_string().contains("metrics.prometheus.ca"), "{untrusted}");
    for nothing in [&b""[..], b"not a certificate"] {
        let error = client(Trust::Only(nothing.to_vec()), &Reach::anywhere()).expect_err("no certificate");
        assert_eq!(
            error.to_string(),
            "metrics.prometheus.ca: it holds no certificate: put one there in PEM (BEGIN CERTIFICATE)"
        );
    }
}

#[test]
fn people_are_told_queries_that_they_can_ask_again() {
    let detected = chosen(&Names::default(), GO).expect("fits");
    let names = ["cart-59c8fd7b4d-x2x4z", "cart-59c8fd7b4d-9b2kq", "cart-7d9f8c-aaaaa"];
    assert_eq!(
        queries_of("shop", names.into_iter(), &detected, Duration::from_secs(15)),
        [
            r#"http_requests_total{namespace="shop",pod=~"(cart-59c8fd7b4d|cart-7d9f8c)-.+"}[120s]"#,
            r#"http_request_duration_seconds_bucket{namespace="shop",pod=~"(cart-59c8fd7b4d|cart-7d9f8c)-.+"}[120s]"#,
        ]
    );
}
