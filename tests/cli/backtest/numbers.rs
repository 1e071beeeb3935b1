//! Criteria that count no requests: what a query gave, and gauges of pods.

use serde_json::json;

use super::{BAD, END, backtest, document, moment, shop, text};
use crate::past::{BEGINNING, Curve, Gauge, HOUR, Number, Past};

/// Twelve hours without a release: 24 windows.
const HALF_A_DAY: [&str; 4] = ["--from", "2026-11-20T12:00:00Z", "-o", "json"];

fn number(query: &'static str, value: Curve) -> Number {
    Number { query, is_scalar: false, series: vec![("", value)] }
}

#[tokio::test]
async fn a_query_that_would_have_undone_for_nothing_gets_a_limit_with_which_it_would_not() {
    // Every three hours two bad minutes in the middle of a window; and one that is bad before a window begins.
    let backlog = |at: i64| {
        let spike = (600..720).contains(&(at - BEGINNING).rem_euclid(3 * HOUR));
        let before = (-10..60).contains(&(at - END + 5 * HOUR));
        Some(if spike || before { 130.0 } else { 40.0 })
    };
    let past = Past { numbers: vec![number("sum(backlog)", backlog)], ..Past::of(shop(&|_, _| 0.0)) };
    let criteria = json!([
        {"name": "errors", "errorRate": {"limit": "5%"}},
        {"name": "backlog", "value": {"promql": "sum(backlog)", "limit": "value > 100"}},
    ]);
    let output = backtest(&past, "backlog", &criteria, &HALF_A_DAY).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(1), "{told:#}");
    assert_eq!((&told["quiet"]["windows"], &told["quiet"]["replays"]), (&json!(24), &json!(96)));
    let backlog = &told["criteria"][1];
    // The same for every pod that is taken for the canary.
    assert_eq!((&told["quiet"]["falseUndos"], &backlog["verdicts"]["Breach"]), (&json!(16), &json!(16)));
    // One window ends ten seconds into the trouble before the next one.
    assert_eq!((&backlog["verdicts"]["Pass"], &backlog["verdicts"]["Unknown"]), (&json!(76), &json!(4)));
    assert_eq!((&backlog["limit"], &backlog["undoes"]), (&json!("value > 100"), &json!(true)));
    assert_eq!(told["suggested"]["limits"], json!({"backlog": "value > 150"}), "{told:#}");
    assert_eq!(told["data"]["samples"], 13 * 720);

    let asked = past.asked.lock().unwrap();
    let hours = asked.iter().filter(|(query, _)| query == "(sum(backlog)\n)[3600s:5s]").count();
    assert_eq!(hours, 13, "{asked:?}");
}

#[tokio::test]
async fn the_worst_country_of_a_query_catches_a_bad_release_that_no_error_rate_tells() {
    let fine = |_: i64| Some(3.0);
    let norway = |at: i64| Some(if (BAD + 120..BAD + 1200).contains(&at) { 900.0 } else { 3.0 });
    let pending = Number {
        query: "sum by (country) (pending)",
        is_scalar: false,
        series: vec![("SE", fine), ("NO", norway)],
    };
    let past = Past { numbers: vec![pending], ..Past::of(shop(&|_, _| 0.0)) };
    let criteria = |limit: &str| {
        json!([
            {"name": "errors", "errorRate": {"limit": "40%"}},
            {"name": "pending", "value": {"promql": "sum by (country) (pending)", "by": "country", "limit": limit}},
        ])
    };
    let bad = format!("{}/20m", moment(BAD));
    let more = ["--bad", bad.as_str(), "--from", "2026-11-20T06:00:00Z", "-o", "json"];
    let told = document(&backtest(&past, "pending", &criteria("value > 100"), &more).await);
    let release = &told["releases"][0];
    assert_eq!(release["assessment"], "Caught", "{told:#}");
    assert_eq!(release["undone"]["criterion"], "pending");
    let message = release["undone"]["message"].as_str().unwrap();
    assert!(message.contains("900 (country NO)"), "{message}");
    // Two minutes, and as long as the limit must be breached.
    let after = release["undone"]["after"].as_i64().unwrap();
    assert!((135..=150).contains(&after), "{after} s");
    assert_eq!(told["criteria"][1]["limits"][4]["caught"], 1);
    assert_eq!(told["suggested"]["missed"], 0);

    let told = document(&backtest(&past, "pending-blind", &criteria("value > 2000"), &more).await);
    assert_eq!(told["releases"][0]["assessment"], "Missed", "{told:#}");
}

#[tokio::test]
async fn numbers_alone_are_replayed_without_any_pod() {
    let health = |at: i64| Some(if (5..300).contains(&(at - BAD)) { 0.5 } else { 0.98 });
    let numbers = vec![Number { is_scalar: true, ..number("scalar(health) # of the shop", health) }];
    let past = Past { numbers, gaps: vec![(END - 2 * HOUR, END - HOUR)], ..Past::of(Vec::new()) };
    let criteria = json!([
        {"name": "health", "value": {"promql": "scalar(health) # of the shop", "limit": "value < 0.9", "for": "1m"}},
    ]);
    let bad = format!("{}/20m", moment(BAD));
    let more = ["--from", "2026-11-20T06:00:00Z", "--bad", bad.as_str()];
    let output = backtest(&past, "health", &criteria, &[&more[..], &["-o", "json"]].concat()).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{told:#}");
    assert_eq!(told["releases"][0]["undone"]["after"], 65);
    // 36 half hours, one for the release and five minutes after it, two of which nothing is known.
    assert_eq!((&told["quiet"]["windows"], &told["quiet"]["replays"]), (&json!(33), &json!(33)));
    let skipped: Vec<_> = told["skipped"].as_array().unwrap().iter().map(|one| &one["why"]).collect();
    assert_eq!(skipped, ["Release", "NoData", "NoData"]);
    assert_eq!(told["criteria"][0]["limits"][1]["limit"], "value < 0.6");
    assert!(told["notes"].to_string().contains("the pods have no known counter in Prometheus"), "{told:#}");

    let said = text(&backtest(&past, "health-text", &criteria, &more).await.stdout);
    assert!(said.contains("33 of 30m replayed; 3 left out"), "{said}");
    assert!(said.contains("13680 samples of other numbers; 0% of them could not be read"), "{said}");
    assert!(!said.contains("requests in slots"), "{said}");
}

#[tokio::test]
async fn a_gauge_is_that_of_the_pod_that_is_taken_for_the_canary() {
    let memory = |pod: &str, at: i64| {
        let leaks = pod.ends_with("-ccccc") && (0..3 * HOUR).contains(&(at - END + 6 * HOUR));
        if leaks || pod.starts_with("checkout-9b4cc") { 9e8 } else { 5e8 }
    };
    let past = Past { gauges: vec![("rss", memory)], ..Past::of(shop(&|_, _| 0.0)) };
    let criteria = json!([
        {"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 8e8", "for": "30s"}},
        {"name": "errors", "errorRate": {"limit": "40%"}},
    ]);
    let more = ["--from", "2026-11-20T08:00:00Z", "-o", "json"];
    let told = document(&backtest(&past, "memory", &criteria, &more).await);
    let release = &told["releases"][0];
    assert_eq!(
        (&release["assessment"], &release["undone"]["criterion"]),
        (&json!("WouldUndo"), &json!("memory"))
    );
    assert!(
        release["undone"]["message"].as_str().unwrap().contains("(pod checkout-9b4cc-zzzzz)"),
        "{release}"
    );
    // Six windows, four pods of six taken in each.
    let breaches = told["criteria"][1]["limits"][0]["breaches"].as_u64().unwrap();
    assert_eq!((&told["criteria"][1]["name"], breaches), (&json!("memory"), 4), "{told:#}");
    assert_eq!(told["suggested"]["limits"], json!({"memory": "value > 1200000000"}));
}

#[tokio::test]
async fn gauges_alone_take_their_own_pods_in_turn() {
    let queue = |pod: &str, at: i64| {
        let is_long = (300..600).contains(&(at - END + 3 * HOUR - 900)) && pod.ends_with("-bbbbb");
        if is_long { 50.0 } else { 1.0 }
    };
    let past = Past { gauges: vec![("queue", queue)], ..Past::of(shop(&|_, _| 0.0)) };
    let criteria =
        json!([{"name": "queue", "value": {"podGauge": {"name": "queue"}, "limit": "value > 10"}}]);
    let more = ["--from", "2026-11-20T21:00:00Z", "-o", "json"];
    let told = document(&backtest(&past, "queue", &criteria, &more).await);
    assert_eq!((&told["quiet"]["windows"], &told["quiet"]["replays"]), (&json!(12), &json!(48)), "{told:#}");
    assert_eq!(told["quiet"]["falseUndos"], 1, "{told:#}");
}

#[tokio::test]
async fn a_query_that_is_refused_ends_it_and_says_so() {
    let past = Past::of(shop(&|_, _| 0.0));
    let criteria = json!([{"name": "orders", "value": {"promql": "sum(", "limit": "value > 1"}}]);
    let output = backtest(&past, "refused", &criteria, &HALF_A_DAY).await;
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("criterion orders: prometheus:") && said.contains("correct the query"), "{said}");
}

#[tokio::test]
async fn readiness_and_restarts_are_replayed_where_kube_state_metrics_tells_them() {
    // The bad one is Ready for two minutes and then no more; it is restarted twice, as one of the others was long before.
    let is_bad = |pod: &str| pod.starts_with("checkout-9b4cc");
    fn ready(pod: &str, at: i64) -> f64 {
        let ends = pod.starts_with("checkout-9b4cc") && at > BAD + 120;
        let reload = pod.ends_with("-ddddd") && (0..40).contains(&(at - END + HOUR));
        if ends || reload { 0.0 } else { 1.0 }
    }
    fn restarts(pod: &str, at: i64) -> f64 {
        match (pod.starts_with("checkout-9b4cc"), pod.ends_with("-fffff")) {
            (true, _) => {
                if at > BAD + 300 {
                    2.0
                } else {
                    0.0
                }
            }
            (false, true) => 7.0,
            (false, false) => 0.0,
        }
    }
    let gauges: Vec<Gauge> =
        vec![("kube_pod_status_ready", ready), ("kube_pod_container_status_restarts_total", restarts)];
    let past = Past { gauges, ..Past::of(shop(&|_, _| 0.0)) };
    let ready = json!({"name": "ready", "availability": {"limit": "90%"}});
    let restarts = json!({"name": "restarts", "restarts": {"limit": 1}});
    let more = ["--from", "2026-11-20T08:00:00Z", "-o", "json"];
    let told = document(&backtest(&past, "ready", &json!([ready, restarts]), &more).await);
    let release = &told["releases"][0];
    assert!(is_bad(&format!("{}-zzzzz", release["revision"].as_str().unwrap())), "{told:#}");
    assert_eq!(release["undone"]["criterion"], "ready", "{told:#}");
    // Two minutes and one.
    let after = release["undone"]["after"].as_i64().unwrap();
    assert!((180..=200).contains(&after), "{after} s");
    assert_eq!(told["quiet"]["falseUndos"], 0, "{told:#}");
    assert!(told["quiet"]["replays"].as_u64().unwrap() >= 100, "{told:#}");
    assert_eq!(told["criteria"][0]["limits"][1]["limit"], "60%");
    assert_eq!(told["criteria"][1]["limits"][1]["limit"], "2");

    let told = document(&backtest(&past, "restarts", &json!([restarts]), &more).await);
    assert_eq!(told["releases"][0]["undone"]["criterion"], "restarts", "{told:#}");
    assert_eq!(told["quiet"]["falseUndos"], 0, "{told:#}");
    assert!(!told["notes"].to_string().contains("not replayed"), "{told:#}");
}

#[tokio::test]
async fn each_criterion_that_cannot_be_replayed_is_named_with_the_reason() {
    let criteria = json!([
        {"name": "errors", "errorRate": {"limit": "40%"}},
        {"name": "queue", "value": {"json": {"url": "http://shop/stats", "pointer": "/queue"}, "limit": "value > 10"}},
        {"name": "ready", "availability": {"limit": "90%"}},
        {"name": "restarts", "restarts": {"limit": 1}},
    ]);
    let past = Past::of(shop(&|_, _| 0.0));
    let evening = ["--from", "2026-11-20T21:00:00Z"];
    let told =
        document(&backtest(&past, "unread", &criteria, &[&evening[..], &["-o", "json"]].concat()).await);
    let why = "kube-state-metrics' series of these pods are not in Prometheus";
    let expected =
        format!("not replayed: queue (a JSON answer has no past), ready ({why}), restarts ({why})");
    assert!(told["notes"].as_array().unwrap().contains(&json!(expected)), "{told:#}");
    assert_eq!(told["criteria"].as_array().unwrap().len(), 1, "{told:#}");
    let said = text(&backtest(&past, "unread-text", &criteria, &evening).await.stdout);
    assert!(said.contains("not replayed: queue (a JSON answer has no past), ready ("), "{said}");

    let alone = json!([{"name": "ready", "availability": {"limit": "90%"}}]);
    let output = backtest(&past, "unread-alone", &alone, &evening).await;
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("no criteria of which Prometheus knows the past; "), "{said}");
    assert!(said.contains(&format!("not replayed: ready ({why})")), "{said}");
}
