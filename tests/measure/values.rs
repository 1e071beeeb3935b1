//! Numbers of criteria that do not count requests: from pages, queries and JSON answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use serde_json::{Value, json};
use tidegate::decide::values::{Found, Gauge, Point};
use tidegate::observe::measure::names::Names;
use tidegate::observe::measure::scrape::{Target, scrape_all};
use tidegate::observe::measure::servers::{Server, Servers};
use tidegate::observe::measure::{Trust, client};
use tidegate::observe::reach::Reach;
use tidegate::observe::values::{JsonError, of_json, of_json_in_turn, of_pages, of_pods, of_query};

use super::pods::serve;
use super::prometheus::{NOW, ROUND, fake, queries};
use super::{chosen, totals};

const DEADLINE: Duration = Duration::from_secs(5);

fn gauge(name: &str, labels: &[(&str, &str)]) -> Gauge {
    let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    Gauge { name: name.to_owned(), labels: labels.collect() }
}

fn points(found: &[(&str, f64)]) -> Found {
    let point = |(series, value): &(&str, f64)| Point { series: (*series).to_owned(), value: *value };
    Found { points: found.iter().map(point).collect(), ..Found::default() }
}

#[tokio::test]
async fn gauges_are_read_on_the_same_page_as_the_counters() {
    let page = |memory: &str| {
        format!(
            "http_requests_total{{code=\"200\"}} 7\nrss {memory}\n\
             queue{{kind=\"mail\",host=\"a\"}} 3\nqueue{{kind=\"mail\",host=\"b\"}} 4\nqueue{{kind=\"print\"}} 9\n"
        )
    };
    let (one, other) = (page("8e8"), page("NaN"));
    let many: String =
        (0..101).map(|number| format!("queue{{kind=\"mail\",host=\"{number}\"}} 1\n")).collect();
    let many = format!("rss 5\n{many}");
    let router = Router::new()
        .route("/one", get(|| async { one }))
        .route("/other", get(|| async { other }))
        .route("/none", get(|| async { "http_requests_total{code=\"200\"} 1\n" }))
        .route("/many", get(|| async { many }))
        .route("/broken", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let port = serve(router).await;
    let target = |path: &str| Target {
        namespace: "shop".to_owned(),
        pod: path.to_owned(),
        ip: [127, 0, 0, 1].into(),
        port,
        path: format!("/{path}"),
    };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let gauges = [gauge("rss", &[]), gauge("queue", &[("kind", "mail")]), gauge("rss", &[("kind", "mail")])];
    let read = async |pods: &[&str]| {
        let targets: Vec<_> = pods.iter().map(|pod| target(pod)).collect();
        scrape_all(&client, &targets, Some(&detected), &gauges, DEADLINE, 4).await
    };

    let pages = read(&["one"]).await;
    let counted = pages[0].1.as_ref().expect("a page").counted.as_ref().expect("counters");
    assert_eq!(totals(counted).requests, 7.0);
    assert_eq!(of_pages(0, &pages), Ok(points(&[("one", 8e8)])));
    assert_eq!(of_pages(1, &pages), Ok(points(&[("one", 3.0), ("one", 4.0)])));
    assert_eq!(of_pages(2, &pages), Ok(Found::default()), "no such series is no data");

    let pages = read(&["one", "other", "none", "many", "broken"]).await;
    let memory = of_pages(0, &pages).expect("some could be read");
    assert_eq!((memory.points.len(), memory.missing), (3, 2));
    assert!(memory.points[1].value.is_nan());
    assert!(memory.trouble.starts_with("pod broken: answered with status 503"), "{}", memory.trouble);
    let queue = of_pages(1, &pages).expect("some could be read");
    assert_eq!((queue.points.len(), queue.missing), (4, 3));
    let expected = "pod many: more than 100 series of the chosen metrics on one pod; drop a label from them";
    assert_eq!(queue.trouble, expected);

    let refused = of_pages(0, &read(&["broken"]).await).expect_err("no page");
    assert!(refused.starts_with("pod broken: answered with status 503"), "{refused}");

    // Pods without any counter are read all the same.
    let alone = scrape_all(&client, &[target("many")], None, &gauges, DEADLINE, 1).await;
    assert_eq!(of_pages(0, &alone), Ok(points(&[("many", 5.0)])));
    assert_eq!(alone[0].1.as_ref().expect("a page").counted, Ok(Vec::new()));
}

fn vector(series: Value) -> (StatusCode, Value) {
    (StatusCode::OK, json!({"status": "success", "data": {"resultType": "vector", "result": series}}))
}

async fn server(
    answer: impl Fn(&str) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
) -> (std::sync::Arc<Server>, super::prometheus::Asked) {
    let (way, asked) = fake(answer).await;
    (Servers::within(Reach::anywhere()).at(way, Trust::Nothing).expect("a server"), asked)
}

#[tokio::test]
async fn a_query_gives_a_number_or_one_a_series() {
    let country = |name: &str, value: &str| json!({"metric": {"country": name}, "value": [NOW, value]});
    let cases: Vec<(Value, Option<&str>, Result<Found, &str>)> = vec![
        (json!({"resultType": "scalar", "result": [NOW, "3.5"]}), None, Ok(points(&[("", 3.5)]))),
        (
            json!({"resultType": "vector", "result": [country("NO", "1e3")]}),
            None,
            Ok(points(&[("", 1000.0)])),
        ),
        (
            json!({"resultType": "vector", "result": [country("NO", "1"), country("SE", "+Inf")]}),
            Some("country"),
            Ok(points(&[("NO", 1.0), ("SE", f64::INFINITY)])),
        ),
        (json!({"resultType": "vector", "result": []}), Some("country"), Ok(Found::default())),
        (
            json!({"resultType": "vector", "result": [country("NO", "1"), country("SE", "2")]}),
            None,
            Err(
                "the query gives 2 series: write the label that tells them apart as by, or aggregate them, as with sum(...)",
            ),
        ),
        (
            json!({"resultType": "vector", "result": [country("NO", "1")]}),
            Some("land"),
            Err("a series of the query has no label land: correct by"),
        ),
        (
            json!({"resultType": "matrix", "result": []}),
            None,
            Err("the query gives a range: write one that gives a number, or one number a series"),
        ),
        (
            json!({"resultType": "vector", "result": [{"metric": {}, "histogram": [NOW, {"count": "1"}]}]}),
            None,
            Err("the query gives native histograms: write one that gives a number, or one number a series"),
        ),
        (
            json!({"resultType": "vector", "result": vec![country("NO", "1"); 101]}),
            Some("country"),
            Err(
                "the query gives 101 series, at most 100 are looked at: aggregate them, as with sum by (...)",
            ),
        ),
        (
            json!({"resultType": "vector", "result": [country("NO", "many")]}),
            None,
            Err("the answer cannot be read (many)"),
        ),
    ];
    for (data, by, expected) in cases {
        let (server, asked) =
            server(move |_| (StatusCode::OK, json!({"status": "success", "data": data}))).await;
        let found = of_query(&server, ROUND, "shop", "sum(orders)", by).await;
        let found = found.map_err(|error| error.to_string()).and_then(|found| found);
        assert_eq!(found, expected.map_err(str::to_owned));
        assert_eq!(queries(&asked), ["sum(orders)"]);
        assert_eq!(asked.lock().expect("not poisoned")[0]["time"], NOW.to_string());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_query_or_its_server_is_said() {
    let refusal =
        json!({"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unclosed (" });
    let cases: Vec<(StatusCode, Value, &str)> = vec![
        (
            StatusCode::BAD_REQUEST,
            refusal,
            "prometheus: 1:5: parse error: unclosed (; if it stays so, correct the query",
        ),
        (
            StatusCode::UNAUTHORIZED,
            json!({}),
            "prometheus answered with status 401; write credentials that it accepts as metrics.prometheus.auth, and its \
             tenant as metrics.prometheus.headers",
        ),
        (
            StatusCode::BAD_GATEWAY,
            json!("no"),
            "prometheus answered with status 502; it is asked again in the next round",
        ),
        (
            StatusCode::OK,
            json!({"status": "success"}),
            "prometheus: success; if it stays so, correct the query",
        ),
        (
            StatusCode::OK,
            json!([1]),
            "the answer cannot be read (invalid type: integer `1`, expected a string at line 1 column 2)",
        ),
    ];
    for (status, body, expected) in cases {
        let (server, _) = server(move |_| (status, body.clone())).await;
        let error = of_query(&server, ROUND, "shop", "sum(", None).await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.is_about_credentials(), status == StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn gauges_of_pods_are_asked_for_by_their_names() {
    let series = |pod: &str, value: &str| json!({"metric": {"pod": pod}, "value": [NOW, value]});
    let (server, asked) = server(move |query| {
        vector(match query.starts_with("rss") {
            true => json!([series("a.1", "5"), series("a.1", "7"), series("b", "6")]),
            false => json!([]),
        })
    })
    .await;
    let memory = gauge("rss", &[("kind", "a\"b")]);
    let pods = [("a.1", true), ("b", true), ("c", true), ("d", false)];
    let found = of_pods(&server, ROUND, "shop", &pods, &memory).await.expect("read");
    let trouble = "pod c has no such gauge, others have".to_owned();
    let expected = points(&[("a.1", 5.0), ("a.1", 7.0), ("b", 6.0)]);
    assert_eq!(found, Found { missing: 1, trouble, ..expected });
    let nothing = of_pods(&server, ROUND, "shop", &[("c", true)], &gauge("queue", &[])).await;
    assert_eq!(nothing.expect("read"), Found::default());
    assert_eq!(
        queries(&asked),
        [r#"rss{namespace="shop",pod=~"a\\.1|b|c|d",kind="a\"b"}"#, r#"queue{namespace="shop",pod=~"c"}"#]
    );
}

#[tokio::test]
async fn a_number_is_read_where_the_pointer_points() {
    let stats = json!({"queue": {"length": 12, "a/b": -1.5, "name": "mail", "gone": null}, "list": [1, 2]});
    let long = format!("{{\"length\": 1, \"more\": \"{}\"}}", "x".repeat(70_000));
    let router = Router::new()
        .route("/stats", get(move || async move { stats.to_string() }))
        .route("/long", get(|| async { long }))
        .route("/text", get(|| async { "12 orders" }))
        .route("/away", get(|| async { Redirect::temporary("/stats") }))
        .route("/slow", get(|| async { std::future::pending::<&str>().await }));
    let port = serve(router).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    type Pointed<'a> = Vec<(&'a str, Result<Found, &'a str>)>;
    let cases: [(&str, Pointed<'_>); 5] = [
        (
            "/stats",
            vec![
                ("/queue/length", Ok(points(&[("", 12.0)]))),
                ("/queue/a~1b", Ok(points(&[("", -1.5)]))),
                ("/list/1", Ok(points(&[("", 2.0)]))),
                ("/queue/nothing", Ok(Found::default())),
                ("/queue/gone", Ok(Found::default())),
                ("/queue/name", Err("what stands at /queue/name is a text: write a pointer to a number")),
                ("/list", Err("what stands at /list is a list: write a pointer to a number")),
            ],
        ),
        ("/long", vec![("/length", Err("the answer is larger than 64 KiB"))]),
        ("/text", vec![("", Err("the answer is no JSON (trailing characters at line 1 column 4)"))]),
        ("/away", vec![("/queue/length", Err("{url} answered with status 307"))]),
        ("/slow", vec![("/queue/length", Err("no answer within 300 ms"))]),
    ];
    for (path, pointers) in cases {
        let url = format!("http://127.0.0.1:{port}{path}");
        for (pointer, expected) in pointers {
            let found = of_json(&client, &url, pointer, Duration::from_millis(300)).await;
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(|why| why.replace("{url}", &url)), "{path} {pointer}");
        }
    }
    let nobody = of_json(&client, "http://127.0.0.1:1/", "", Duration::from_millis(300)).await;
    assert!(nobody.is_err_and(|error| error.is_an_outage() && error.to_string().starts_with("no answer: ")));
}

#[tokio::test]
async fn what_stands_in_the_query_of_a_url_is_told_to_nobody() {
    let away = |status: StatusCode| get(move || async move { status });
    let router = Router::new()
        .route("/refused", away(StatusCode::UNAUTHORIZED))
        .route("/broken", away(StatusCode::INTERNAL_SERVER_ERROR))
        .route("/text", get(|| async { "12 orders" }))
        .route("/slow", get(|| async { std::future::pending::<&str>().await }));
    let port = serve(router).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let host = format!("http://127.0.0.1:{port}");
    let cases = [
        (format!("{host}/refused"), format!("{host}/refused answered with status 401")),
        (format!("{host}/broken"), format!("{host}/broken answered with status 500")),
        (format!("{host}/text"), "the answer is no JSON".to_owned()),
        (format!("{host}/slow"), "no answer within 300 ms".to_owned()),
        ("http://127.0.0.1:1/".to_owned(), "no answer: ".to_owned()),
    ];
    for (url, said) in cases {
        for behind in ["?api_key=k-4711", "?a=b&key=k-4711#k-4711", "#k-4711"] {
            let read = of_json(&client, &format!("{url}{behind}"), "", Duration::from_millis(300)).await;
            let why = read.expect_err("no number").to_string();
            assert!(why.starts_with(&said) && !why.contains("4711"), "{url}{behind}: {why}");
        }
    }
}

#[tokio::test]
async fn json_answers_are_read_a_few_at_a_time_and_who_is_silent_keeps_no_other_namespace_waiting() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let silent = move || {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<&str>().await
        }
    };
    let router =
        Router::new().route("/silent", get(silent)).route("/stats", get(|| async { r#"{"queue": 3}"# }));
    let port = serve(router).await;
    let servers = Servers::within(Reach::anywhere());
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    let (silent, stats) = (url("silent"), url("stats"));
    // The first four have more time, so that nobody's turn comes when theirs is over.
    let time = |place| Duration::from_secs(if place < 4 { 3 } else { 2 });
    let noisy =
        (0..100).map(|place| of_json_in_turn(&servers, "noisy", &client, &silent, "/queue", time(place)));
    let noisy = futures::future::join_all(noisy);
    let shop = async {
        // They have begun by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        of_json_in_turn(&servers, "shop", &client, &stats, "/queue", Duration::from_secs(1)).await
    };
    let (noisy, shop) = tokio::join!(noisy, shop);
    assert_eq!(shop.map_err(|error| error.to_string()), Ok(points(&[("", 3.0)])));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let count =
        |of: fn(&JsonError) -> bool| noisy.iter().filter(|read| read.as_ref().is_err_and(&of)).count();
    assert_eq!(count(|error| matches!(error, JsonError::Late(_))), 4);
    assert_eq!(count(|error| matches!(error, JsonError::NoTurn(_))), 96);
    // Whoever gave up has given their place back.
    assert!(of_json_in_turn(&servers, "noisy", &client, &stats, "/queue", DEADLINE).await.is_ok());
}

#[tokio::test]
async fn no_more_json_answers_are_read_at_once_than_there_are_places_for() {
    let servers = Servers::within(Reach::anywhere());
    let names: Vec<String> = (0..10).map(|namespace| format!("team-{namespace}")).collect();
    let turns = names.iter().flat_map(|name| (0..5).map(|_| servers.turn_for_json(name)).collect::<Vec<_>>());
    let mut waiting: futures::stream::FuturesUnordered<_> = turns.collect();
    let mut taken = Vec::new();
    while let Ok(Some(turn)) =
        tokio::time::timeout(Duration::from_millis(100), futures::StreamExt::next(&mut waiting)).await
    {
        taken.push(turn);
    }
    assert_eq!(taken.len(), 32);
    taken.clear();
    let next = tokio::time::timeout(DEADLINE, futures::StreamExt::next(&mut waiting)).await;
    assert!(next.is_ok_and(|turn| turn.is_some()));
}
