//! Days with releases, good and bad, and days of which little is known.

use serde_json::{Value, json};

use super::{BAD, END, GOOD, backtest, command, document, file, flaky, moment, release, shop, text, usual};
use crate::expression::of_twenty_thousand;
use crate::past::{BEGINNING, DAY, HOUR, Past, Pod};

#[tokio::test]
async fn three_days_with_a_good_release_and_a_bad_one() {
    let past = Past::of(shop(&|_, _| 0.0));
    let (good, bad) = (format!("{}/30m", moment(GOOD)), format!("{}/20m", moment(BAD)));
    let known = ["--good", good.as_str(), "--bad", bad.as_str(), "-o", "json"];
    let output = backtest(&past, "three-days", &usual(), &known).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "no bar where nobody looks");

    assert_eq!((&told["release"], &told["ok"]), (&json!("shop/checkout"), &json!(true)));
    assert_eq!(told["window"], 1800);
    // One in a hundred is what the judge is allowed.
    let rate = told["quiet"]["perRun"].as_f64().unwrap();
    assert!(rate <= 0.01, "{told:#}");
    assert_eq!(told["suggested"], json!({"limits": {}, "perRun": rate, "missed": 0}));
    // 144 half hours: both releases take theirs, and what lies within five minutes of them.
    let windows = told["quiet"]["windows"].as_u64().unwrap();
    assert!((138..=142).contains(&windows), "{windows}");
    assert_eq!(told["quiet"]["replays"], windows * 4);
    let skipped = told["skipped"].as_array().unwrap();
    assert_eq!(skipped.len() as u64 + windows, 144);
    assert!(skipped.iter().all(|skipped| skipped["why"] == "Release"), "{skipped:?}");

    let releases = told["releases"].as_array().unwrap();
    let of = |at: usize, field: &str| releases[at][field].as_str().unwrap_or_default();
    assert_eq!(releases.len(), 2, "{releases:#?}");
    assert_eq!([of(0, "went"), of(0, "called"), of(0, "assessment")], ["Through", "Good", "Right"]);
    assert_eq!(of(0, "revision"), "checkout-7d9fb");
    assert_eq!([of(1, "went"), of(1, "called"), of(1, "assessment")], ["Back", "Bad", "Caught"]);
    assert_eq!(releases[1]["undone"]["criterion"], "errors");
    let after = releases[1]["undone"]["after"].as_i64().unwrap();
    assert!((30..=90).contains(&after), "{after} s");

    let errors = &told["criteria"][0];
    assert_eq!((&errors["limit"], &errors["limits"][1]["limit"]), (&json!("5%"), &json!("7.5%")));
    assert_eq!(
        errors["limits"][4],
        json!({"factor": 5.0, "limit": "25%", "breaches": 0, "perRun": 0.0, "caught": 0})
    );
    assert_eq!(errors["limits"][0]["caught"], 1);
    assert!(errors["verdicts"]["Pass"].as_u64().unwrap() > windows * 3, "{errors}");
    assert_eq!(told["criteria"][2]["limit"], "stable +100%");

    // An hour at a time, and two families.
    let asked = past.asked.lock().unwrap();
    let hours = asked.iter().filter(|(query, _)| query.ends_with("[3600s]")).count();
    assert_eq!(hours, 2 * 73);
    assert!(asked.iter().filter(|(query, _)| query.ends_with("s]")).all(|(_, at)| at % HOUR == 0));
}

#[tokio::test]
async fn limits_that_undo_for_nothing_end_with_one_and_a_suggestion() {
    let past = Past::of(shop(&flaky));
    let tight = json!([{"name": "errors", "errorRate": {"limit": "1%"}}]);
    let bad = format!("{}/20m", moment(BAD));
    let output = backtest(&past, "tight", &tight, &["--bad", &bad, "-o", "json"]).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(1), "{told:#}");
    let false_undos = told["quiet"]["falseUndos"].as_u64().unwrap();
    assert!(false_undos >= 6, "{told:#}");
    assert_eq!(told["suggested"]["limits"], json!({"errors": "5%"}), "{told:#}");
    assert_eq!(told["suggested"]["missed"], 0);
    assert!(told["quiet"]["atMost"].as_f64() > told["quiet"]["perRun"].as_f64());
    let breaches: Vec<u64> = told["criteria"][0]["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| limit["breaches"].as_u64().unwrap())
        .collect();
    assert!(breaches.is_sorted_by(|one, other| one >= other), "{breaches:?}");
    assert_eq!(breaches[0], false_undos);

    // Once more for people, with so much allowed.
    let output =
        backtest(&past, "tight-text", &tight, &["--bad", &bad, "--from", "2026-11-19T12:00:00Z"]).await;
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    for words in [
        "would have been undone for nothing",
        "With other limits",
        "a release was under way (",
        "more than 1%",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let more = ["--max-false-undos", "50%", "--from", "2026-11-20T00:00:00Z"];
    let output = backtest(&past, "allowed", &tight, &more).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[tokio::test]
async fn a_bad_release_that_would_have_gone_out_is_named_and_so_is_an_incident() {
    let all = |_: usize, at: i64| if (0..900).contains(&(at - BEGINNING - 40 * HOUR)) { 0.3 } else { 0.0 };
    let past = Past::of(shop(&all));
    let blind = json!([{"name": "errors", "errorRate": {"limit": "40%"}}]);
    let bad = format!("{}/20m", moment(BAD));
    let incident = format!("{}/15m", moment(BEGINNING + 40 * HOUR));
    let more = ["--bad", bad.as_str(), "--incident", incident.as_str(), "--from", "2026-11-19T12:00:00Z"];
    let output = backtest(&past, "blind", &blind, &[&more[..], &["-o", "json"]].concat()).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{told:#}");
    assert_eq!(told["releases"][0]["assessment"], "Missed");
    assert_eq!(told["incidents"][0]["undone"], 0, "all pods had it: not a release's fault");
    assert_eq!(told["incidents"][0]["replays"], 4);
    assert!(told["skipped"].as_array().unwrap().iter().any(|skipped| skipped["why"] == "Incident"));
    let said = text(&backtest(&past, "blind-text", &blind, &more).await.stdout);
    assert!(said.contains("MISSED: would have gone out"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_done_ends_with_two_and_says_why() {
    let empty = Past::of(Vec::new());
    let output = backtest(&empty, "empty", &usual(), &["--days", "1"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no known counter of requests"), "{}", text(&output.stderr));

    let quiet = Pod::new("checkout-5c8fd-bbbbb", END - DAY, END, None, &|_| (4.0, 0.0, 0.0));
    let output = backtest(&Past::of(vec![quiet.clone()]), "one", &usual(), &["--days", "1"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("fewer than two pods stayed through it (48)"),
        "{}",
        text(&output.stderr)
    );

    let outside =
        backtest(&Past::of(vec![quiet]), "outside", &usual(), &["--bad", "2026-10-01T00:00:00Z/1h"]).await;
    assert_eq!(outside.status.code(), Some(2));
    assert!(text(&outside.stderr).contains("widen it with --days"), "{}", text(&outside.stderr));
}

#[tokio::test]
async fn an_expression_of_twenty_thousand_terms_is_refused_before_anybody_is_asked() {
    for (place, text) in of_twenty_thousand().into_iter().enumerate() {
        let mut whole: Value = serde_json::from_str(&release(&usual())).unwrap();
        let object = json!({"apiVersion": "v1", "resource": "nodes", "name": "a", "scope": "Cluster", "expression": text});
        whole["spec"]["preflight"] = json!([{"name": "node", "object": object}]);
        let file = file(&format!("long-{place}"), &whole.to_string());
        let output = command("http://127.0.0.1:9", &file, &["--days", "1"]).output().await.unwrap();
        std::fs::remove_file(file).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said, "error: spec.preflight[0].object.expression: is longer than 1024 characters\n");
    }
}

#[tokio::test]
async fn windows_without_data_are_left_out_and_never_taken_for_calm() {
    let gap = (END - 12 * HOUR, END - 9 * HOUR);
    let past = Past { gaps: vec![gap], ..Past::of(shop(&|_, _| 0.0)) };
    let more = ["--from", "2026-11-20T10:00:00Z", "-o", "json"];
    let mut fixed: Vec<_> = usual().as_array().unwrap()[..2].to_vec();
    fixed.push(json!({"name": "ready", "availability": {"limit": "90%"}}));
    let output = backtest(&past, "gap", &json!(fixed), &more).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{told:#}");
    let without =
        told["skipped"].as_array().unwrap().iter().filter(|skipped| skipped["why"] == "NoData").count();
    assert_eq!(without, 6, "{told:#}");
    assert_eq!(told["quiet"]["falseUndos"], 0);
    assert!(
        told["notes"].to_string().contains("not replayed: ready (kube-state-metrics' series"),
        "{told:#}"
    );
    assert_eq!(told["criteria"].as_array().unwrap().len(), 2);
    assert!(told["data"]["emptyRounds"].as_u64().unwrap() >= 700, "{}", told["data"]);
}
