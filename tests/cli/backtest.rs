//! Three days of a shop, replayed by the program itself against a fake Prometheus, without any cluster.

use std::future::IntoFuture as _;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use tidegate::cli::backtest::outcome::{
    Assessment, AtLimit, Breach, Called, Data, OfCriterion, OfIncident, OfRelease, Outcome as Document,
    Quiet, Skipped, Suggested, Went, Why,
};
use tidegate::cli::backtest::text::render;

use super::{bare, look};
use crate::past::{BEGINNING, DAY, HOUR, Past, Pod};

/// The first release goes out, this one comes back.
const GOOD: i64 = BEGINNING + DAY + 10 * HOUR;
const BAD: i64 = BEGINNING + 2 * DAY + 9 * HOUR;
const END: i64 = BEGINNING + 3 * DAY;

const NAMES: [&str; 6] = ["bbbbb", "ccccc", "ddddd", "fffff", "ggggg", "hhhhh"];

/// Six pods at four requests a second each with 0.2 % errors, but for what `trouble` adds to a pod at a moment.
fn shop(trouble: &dyn Fn(usize, i64) -> f64) -> Vec<Pod> {
    let mut pods = Vec::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        let moved = GOOD + 60 * i64::try_from(number).unwrap();
        let usual = |at: i64| (4.0, 0.002 + trouble(number, at), 0.003);
        let phase = BEGINNING - HOUR + i64::try_from(number).unwrap();
        pods.push(Pod::new(&format!("checkout-5c8fd-{name}"), phase, moved, None, &usual));
        pods.push(Pod::new(&format!("checkout-7d9fb-{name}"), moved + 5, END, None, &usual));
    }
    let fails = |_: i64| (4.0, 0.25, 0.003);
    pods.push(Pod::new("checkout-9b4cc-zzzzz", BAD, BAD + 1200, None, &fails));
    pods
}

/// Every four hours a pod has fifteen bad minutes with 4 % errors.
fn flaky(number: usize, at: i64) -> f64 {
    let slice = (at - BEGINNING).div_euclid(4 * HOUR);
    let begins = (at - BEGINNING).rem_euclid(4 * HOUR);
    let mine = slice.rem_euclid(6) == i64::try_from(number).unwrap();
    if mine && (3 * HOUR..3 * HOUR + 900).contains(&begins) { 0.04 } else { 0.0 }
}

fn release(criteria: &Value) -> String {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "checkout"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
            "steps": [{"name": "tenth", "replicas": "10%", "soak": "20m"}, {"name": "all", "replicas": "100%"}],
            "watch": [{"for": "10m", "every": "15s"}],
            "criteria": criteria,
        },
    })
    .to_string()
}

fn usual() -> Value {
    json!([
        {"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}},
        {"name": "latency", "latency": {"quantile": 0.99, "target": "500ms", "limit": "2s"}},
        {"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "100%"}},
    ])
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("backtest-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

async fn backtest(past: &Past, name: &str, criteria: &Value, more: &[&str]) -> Output {
    let url = past.serve().await;
    let file = file(name, &release(criteria));
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
        .env_clear()
        .env("KUBECONFIG", "/nowhere")
        .args(["backtest", "-n", "shop", "--prometheus", &url, "--to", "2026-11-21T00:00:00Z", "-f"])
        .arg(&file)
        .args(more)
        .output()
        .await
        .unwrap();
    std::fs::remove_file(file).unwrap();
    output
}

fn moment(at: i64) -> String {
    jiff::Timestamp::from_second(at).unwrap().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

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
async fn credentials_come_from_a_file_or_the_environment_and_samples_may_be_further_apart() {
    let pod = |name: &str| {
        Pod::new(&format!("checkout-5c8fd-{name}"), END - DAY, END, None, &|_| (4.0, 0.001, 0.0))
    };
    let past = Past { token: Some("let-me-in"), ..Past::of(NAMES.map(pod).to_vec()) };
    let token = file("secret", "let-me-in\n");
    let more = ["--from", "2026-11-20T12:00:00Z", "--scrape-interval", "5s", "-o", "json", "--token-file"];
    let output = backtest(&past, "token", &usual(), &[&more[..], &[token.to_str().unwrap()]].concat()).await;
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let notes = told["notes"].to_string();
    assert!(notes.contains("samples are 15 s apart"), "{notes}");

    std::fs::write(&token, "sesame").unwrap();
    let output =
        backtest(&past, "wrong-token", &usual(), &[&more[..], &[token.to_str().unwrap()]].concat()).await;
    std::fs::remove_file(token).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("status 401") && !said.contains("sesame"), "{said}");
}

#[tokio::test]
async fn a_release_of_the_cluster_says_whom_to_ask_and_with_which_secret() {
    let pod = |name: &str| {
        Pod::new(&format!("checkout-5c8fd-{name}"), END - DAY, END, None, &|_| (4.0, 0.001, 0.0))
    };
    let past = Past { token: Some("let-me-in"), ..Past::of(NAMES.map(pod).to_vec()) };
    let mut release: Value = serde_json::from_str(&release(&usual())).unwrap();
    release["metadata"]["namespace"] = json!("shop");
    release["spec"]["metrics"] = json!({"prometheus": {
        "url": past.serve().await, "auth": {"bearer": {"secret": "reader", "key": "token"}},
    }});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "shop"}]}}},
    });
    // bGV0LW1lLWlu: let-me-in
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "bGV0LW1lLWlu"}});
    let get = |object: Value| axum::routing::get(move || std::future::ready(axum::Json(object.clone())));
    let api = axum::Router::new()
        .route("/apis/tidegate.dev/v1alpha1/namespaces/shop/releases/checkout", get(release))
        .route("/apis/apps/v1/namespaces/shop/deployments/checkout", get(deployment))
        .route("/api/v1/namespaces/shop/secrets/reader", get(secret));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, api).into_future());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    });
    let kubeconfig = file("kubeconfig", &kubeconfig.to_string());
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
        .env_clear()
        .args([
            "backtest",
            "checkout",
            "--from",
            "2026-11-20T12:00:00Z",
            "--to",
            "2026-11-21T00:00:00Z",
            "-o",
            "json",
        ])
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .output()
        .await
        .unwrap();
    std::fs::remove_file(kubeconfig).unwrap();
    let told = document(&output);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(told["release"], "shop/checkout");
    assert_eq!(told["notes"], json!([]), "probes are known from the Deployment");
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
        told["notes"].to_string().contains("not replayed, for they do not count requests: ready"),
        "{told:#}"
    );
    assert_eq!(told["criteria"].as_array().unwrap().len(), 2);
    assert!(told["data"]["emptyRounds"].as_u64().unwrap() >= 700, "{}", told["data"]);
}

/// One of everything.
fn made_up() -> Document {
    let [from, to] = [BEGINNING, END].map(moment);
    let at = |factor: f64, limit: &str, breaches: usize, per_run: f64, caught: usize| AtLimit {
        factor,
        limit: limit.to_owned(),
        breaches,
        per_run,
        caught,
    };
    Document {
        release: "shop/checkout".to_owned(),
        source: "http://prometheus:9090: requests from http_requests_total".to_owned(),
        from: from.clone(),
        to: to.clone(),
        interval: 15,
        window: 1800,
        data: Data {
            pods: 7,
            slots: 120_000,
            missing: 600,
            rounds: 17_520,
            empty_rounds: 3,
            requests: 6_000_000,
        },
        quiet: Quiet { windows: 50, replays: 200, false_undos: 4, per_run: 0.02, at_most: 0.12 },
        criteria: vec![OfCriterion {
            name: "errors".to_owned(),
            limit: "5%".to_owned(),
            undoes: true,
            verdicts: [("Pass".to_owned(), 190), ("Unknown".to_owned(), 6), ("Breach".to_owned(), 4)].into(),
            unknown: [("TooFewRequests".to_owned(), 6)].into(),
            limits: vec![at(1.0, "5%", 4, 0.02, 1), at(1.5, "7.5%", 0, 0.0, 0)],
        }],
        releases: vec![OfRelease {
            from: moment(BAD),
            to: moment(BAD + 1200),
            revision: Some("checkout-9b4cc".to_owned()),
            went: Went::Back,
            called: Some(Called::Bad),
            pods: 1,
            undone: Some(Breach {
                criterion: "errors".to_owned(),
                after: 45,
                message: "The error rate is 20 %\u{1b}[31m.".to_owned(),
            }),
            assessment: Assessment::Caught,
            breached: vec![vec![true, false]],
        }],
        incidents: vec![OfIncident { from, to: moment(BEGINNING + 900), replays: 4, undone: 1 }],
        skipped: vec![Skipped { from: moment(END - 1800), to, why: Why::NoData }],
        max_false_undos: 0.01,
        suggested: Some(Suggested {
            limits: [("errors".to_owned(), "7.5%".to_owned())].into(),
            per_run: 0.0,
            missed: 1,
        }),
        notes: vec!["something to know".to_owned()],
        ok: false,
    }
}

#[test]
fn for_people_it_is_tables_and_a_verdict() {
    insta::assert_snapshot!(bare(&render(&made_up(), look(None))), @r#"
    shop/checkout
    replayed  2026-11-18 00:00:00Z to 2026-11-21 00:00:00Z, after an hour to learn from
    source    http://prometheus:9090: requests from http_requests_total
    data      7 pods, 6000000 requests in slots of 15 s; 0.5% of the pods' slots are missing
    windows   50 of 30m replayed, 200 times with one pod or another as the canary; 1 left out: Prometheus has no data of more than a fifth of it (1)

    Quiet windows
    CRITERION  LIMIT  BREACHED  PER RUN  PASS  HOLD  UNKNOWN  MOSTLY          UNDOES
    errors     5%     4 of 200  2%       95%   0%    3%       TooFewRequests  yes

    Releases
    FROM                  TOOK  REVISION        WENT  CALLED  JUDGE
    2026-11-20 09:00:00Z  20m   checkout-9b4cc  back  bad     undone after 45s: errors: The error rate is 20 % [31m.

    Incidents
    2026-11-18 00:00:00Z to 2026-11-18 00:15:00Z: a release meanwhile would have been undone 1 of 4 times

    With other limits
    CRITERION  LIMIT  BREACHED  PER RUN  BAD RELEASES CAUGHT
    errors     5%     4         2%       1
    errors     7.5%   0         0%       0

    verdict   4 of 200 would have been undone for nothing: 2% a run (with 95 % confidence in no more than 12% of all windows): more than 1%.
    suggested errors 7.5%: 0% a run; 1 bad release would go out with them.
    note      something to know.
    "#);
}

#[test]
fn for_machines_it_is_one_document() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&made_up()).unwrap(), @r#"
    {
      "release": "shop/checkout",
      "source": "http://prometheus:9090: requests from http_requests_total",
      "from": "2026-11-18T00:00:00Z",
      "to": "2026-11-21T00:00:00Z",
      "interval": 15,
      "window": 1800,
      "data": {
        "pods": 7,
        "slots": 120000,
        "missing": 600,
        "rounds": 17520,
        "emptyRounds": 3,
        "requests": 6000000
      },
      "quiet": {
        "windows": 50,
        "replays": 200,
        "falseUndos": 4,
        "perRun": 0.02,
        "atMost": 0.12
      },
      "criteria": [
        {
          "name": "errors",
          "limit": "5%",
          "undoes": true,
          "verdicts": {
            "Breach": 4,
            "Pass": 190,
            "Unknown": 6
          },
          "unknown": {
            "TooFewRequests": 6
          },
          "limits": [
            {
              "factor": 1.0,
              "limit": "5%",
              "breaches": 4,
              "perRun": 0.02,
              "caught": 1
            },
            {
              "factor": 1.5,
              "limit": "7.5%",
              "breaches": 0,
              "perRun": 0.0,
              "caught": 0
            }
          ]
        }
      ],
      "releases": [
        {
          "from": "2026-11-20T09:00:00Z",
          "to": "2026-11-20T09:20:00Z",
          "revision": "checkout-9b4cc",
          "went": "Back",
          "called": "Bad",
          "pods": 1,
          "undone": {
            "criterion": "errors",
            "after": 45,
            "message": "The error rate is 20 %\u001b[31m."
          },
          "assessment": "Caught"
        }
      ],
      "incidents": [
        {
          "from": "2026-11-18T00:00:00Z",
          "to": "2026-11-18T00:15:00Z",
          "replays": 4,
          "undone": 1
        }
      ],
      "skipped": [
        {
          "from": "2026-11-20T23:30:00Z",
          "to": "2026-11-21T00:00:00Z",
          "why": "NoData"
        }
      ],
      "maxFalseUndos": 0.01,
      "suggested": {
        "limits": {
          "errors": "7.5%"
        },
        "perRun": 0.0,
        "missed": 1
      },
      "notes": [
        "something to know"
      ],
      "ok": false
    }
    "#);
}
