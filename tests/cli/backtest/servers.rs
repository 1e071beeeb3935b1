//! Whom to ask for the past, and how.

use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{END, NAMES, backtest, command, document, file, of_the_release, release, text, usual};
use crate::past::{DAY, Past, Pod};
use crate::tls::CERTIFICATE;

const EVENING: [&str; 4] = ["--from", "2026-11-20T21:00:00Z", "-o", "json"];

fn a_quiet_day() -> Past {
    let pod = |name: &str| {
        Pod::new(&format!("checkout-5c8fd-{name}"), END - DAY, END, None, &|_| (4.0, 0.001, 0.0))
    };
    Past::of(NAMES.map(pod).to_vec())
}

#[tokio::test]
async fn credentials_come_from_a_file_or_the_environment_and_samples_may_be_further_apart() {
    let past = Past { wants: Some(("authorization", "Bearer let-me-in")), ..a_quiet_day() };
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

/// A server that lets nobody in, and what it was sent.
async fn closed() -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let heard = sent.clone();
    let router = axum::Router::new().fallback(move |headers: HeaderMap| {
        heard.lock().unwrap().push(headers);
        std::future::ready(StatusCode::UNAUTHORIZED)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, sent)
}

#[tokio::test]
async fn a_token_of_the_environment_goes_to_a_server_that_is_named_beside_it_and_not_where_a_release_says() {
    let (url, sent) = closed().await;
    let release = release(&usual()).replace("http://prometheus.monitoring:9090", &url);
    let file = file("foreign", &release);
    let mut foreign = of_the_release(&file, &EVENING);
    let foreign = foreign.env("PROMETHEUS_TOKEN", "let-me-in").output().await.unwrap();
    let asked = std::mem::take(&mut *sent.lock().unwrap());
    let mut named = command(&url, &file, &EVENING);
    let named = named.env("PROMETHEUS_TOKEN", "let-me-in").output().await.unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(!asked.is_empty(), "{}", text(&foreign.stderr));
    let is_secret = |headers: &HeaderMap| headers.contains_key("authorization");
    assert!(!asked.iter().any(is_secret), "{asked:?}");
    let said = text(&foreign.stderr);
    assert!(said.contains("PROMETHEUS_TOKEN is not sent to 127.0.0.1, which the Release names"), "{said}");
    assert!(!said.contains("let-me-in"), "{said}");
    let asked = std::mem::take(&mut *sent.lock().unwrap());
    assert!(!asked.is_empty() && asked.iter().all(|headers| headers["authorization"] == "Bearer let-me-in"));
    assert!(!text(&named.stderr).contains("PROMETHEUS_TOKEN"), "{}", text(&named.stderr));
}

#[tokio::test]
async fn a_release_of_the_cluster_says_whom_to_ask_and_with_which_secret() {
    let past = Past { wants: Some(("authorization", "Bearer let-me-in")), ..a_quiet_day() };
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
async fn a_password_comes_from_the_environment_and_is_not_told() {
    // alice:p4ss
    let past = Past { wants: Some(("authorization", "Basic YWxpY2U6cDRzcw==")), ..a_quiet_day() };
    let (url, file) = (past.serve().await, file("password", &release(&usual())));
    let with_user = [&EVENING[..], &["--user", "alice"]].concat();
    let read = command(&url, &file, &with_user).env("PROMETHEUS_PASSWORD", "p4ss").output().await.unwrap();
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    let wrong = command(&url, &file, &with_user).env("PROMETHEUS_PASSWORD", "s3same").output().await.unwrap();
    let none = command(&url, &file, &with_user).output().await.unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!((wrong.status.code(), none.status.code()), (Some(2), Some(2)));
    let said = text(&wrong.stderr);
    assert!(said.contains("status 401") && !said.contains("s3same"), "{said}");
    assert!(text(&none.stderr).contains("write the password of --user as PROMETHEUS_PASSWORD"));
}

#[tokio::test]
async fn a_tenant_is_named_by_a_header() {
    let past = Past { wants: Some(("x-scope-orgid", "shop")), ..a_quiet_day() };
    let with_tenant = [&EVENING[..], &["--header", "X-Scope-OrgID: shop"]].concat();
    let read = backtest(&past, "tenant", &usual(), &with_tenant).await;
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    let without = backtest(&past, "no-tenant", &usual(), &EVENING).await;
    assert_eq!(without.status.code(), Some(2));
    assert!(text(&without.stderr).contains("its tenant"), "{}", text(&without.stderr));
}

#[tokio::test]
async fn a_server_behind_a_ca_of_its_own_is_read_when_that_is_named() {
    let past = a_quiet_day();
    let (url, release) = (past.serve_tls(), file("tls", &release(&usual())));
    let ca = file("ca", std::str::from_utf8(CERTIFICATE).unwrap());
    let with_ca = [&EVENING[..], &["--ca", ca.to_str().unwrap()]].concat();
    let read = command(&url, &release, &with_ca).output().await.unwrap();
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    assert_eq!(document(&read)["quiet"]["windows"], 12);
    let untrusted = command(&url, &release, &EVENING).output().await.unwrap();
    for file in [release, ca] {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(untrusted.status.code(), Some(2));
    assert!(text(&untrusted.stderr).contains("no connection to prometheus"), "{}", text(&untrusted.stderr));
}

#[tokio::test]
async fn a_server_that_answers_slowly_is_waited_for() {
    let past = Past { slow: Duration::from_millis(300), ..a_quiet_day() };
    let read = backtest(&past, "slow", &usual(), &EVENING).await;
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    assert_eq!(document(&read)["quiet"]["windows"], 12);
}
