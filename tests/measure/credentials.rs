//! Secrets and ConfigMaps that a Release names for its Prometheus server.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate::api::release::PrometheusSource;
use tidegate::observe::credentials::way;
use tidegate::observe::measure::Trust;
use tidegate::observe::measure::prometheus::{Auth, Prometheus};

use super::pods::serve;

fn failure(code: u16, reason: &str) -> (StatusCode, Json<Value>) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
                        "message": reason});
    (StatusCode::from_u16(code).expect("a status"), Json(status))
}

/// An API server with a few objects in it.
async fn cluster() -> kube::Client {
    let secret = |Path((namespace, name)): Path<(String, String)>| async move {
        // Base64 of: alice, p:ss and a line break, t0ken and a line break, two words.
        let data = match name.as_str() {
            "basic" => json!({"username": "YWxpY2U=", "password": "cDpzcwo="}),
            "token" => json!({"token": "dDBrZW4K", "empty": "", "words": "dHdvIHdvcmRz"}),
            "hidden" => {
                let words = "secrets \"hidden\" is forbidden: User \"operator\" cannot get resource \"secrets\" in API group \"\" \
                             in the namespace \"shop\"";
                return failure(403, words);
            }
            "broken" => return failure(400, "BadRequest"),
            _ => return failure(404, "NotFound"),
        };
        let metadata = json!({"name": name, "namespace": namespace});
        (
            StatusCode::OK,
            Json(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})),
        )
    };
    let config_map = || async {
        let metadata = json!({"name": "roots", "namespace": "shop"});
        Json(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": "PEM"}}),
        )
    };
    let router = Router::new()
        .route("/api/v1/namespaces/{namespace}/secrets/{name}", get(secret))
        .route("/api/v1/namespaces/{namespace}/configmaps/{name}", get(config_map));
    let _already = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://127.0.0.1:{}", serve(router).await);
    kube::Client::try_from(kube::Config::new(url.parse().expect("a URL"))).expect("a client")
}

fn source(fields: Value) -> PrometheusSource {
    let mut source = json!({"url": "https://prometheus.monitoring:9090"});
    source.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    serde_json::from_value(source).expect("a source")
}

#[tokio::test]
async fn what_a_release_names_becomes_the_way_to_its_server() {
    let client = cluster().await;
    let auth = async |fields| way(&client, "shop", &source(fields)).await.expect("all is there");
    let (Prometheus { auth: basic, .. }, trust) = auth(json!({"auth": {"basic": {"secret": "basic"}}})).await;
    assert!(basic == Auth::Basic { user: "alice".to_owned(), password: "p:ss".to_owned() });
    assert_eq!(trust, Trust::System);
    let (way, trust) = auth(json!({
        "auth": {"bearer": {"secret": "token"}}, "ca": {"configMap": "roots"},
        "headers": [{"name": "X-Scope-OrgID", "value": "shop"}],
    }))
    .await;
    assert!(way.auth == Auth::Bearer("t0ken".to_owned()));
    assert_eq!(way.headers, [("X-Scope-OrgID".to_owned(), "shop".to_owned())]);
    assert_eq!(trust, Trust::Only(b"PEM".to_vec()));
    assert!(!format!("{way:?}").contains("t0ken"));
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_field_and_the_fix() {
    let client = cluster().await;
    let bearer = |secret: &str, key: &str| json!({"auth": {"bearer": {"secret": secret, "key": key}}});
    for (fields, expected) in [
        (
            bearer("nobody", "token"),
            "metrics.prometheus.auth.bearer: there is no secret nobody in namespace shop: create it, or name another",
        ),
        (
            bearer("token", "other"),
            "metrics.prometheus.auth.bearer: secret token has no key other, or it is empty: put it there",
        ),
        (
            bearer("token", "empty"),
            "metrics.prometheus.auth.bearer: secret token has no key empty, or it is empty: put it there",
        ),
        (
            bearer("token", "words"),
            "metrics.prometheus.auth.bearer: secret token, key words is no token: it has blanks or line breaks in it",
        ),
        (
            bearer("hidden", "token"),
            "metrics.prometheus.auth.bearer: the operator may not read secret hidden: bind ClusterRole tidegate-secrets \
             in namespace shop (secrets.namespaces of the chart)",
        ),
        (
            bearer("broken", "token"),
            "metrics.prometheus.auth.bearer: secret broken could not be read: the API server gave an error; it is tried \
             again",
        ),
        (
            json!({"auth": {"basic": {"secret": "token"}}}),
            "metrics.prometheus.auth.basic: secret token has no key username, or it is empty: put it there",
        ),
        (
            json!({"ca": {"secret": "nobody"}}),
            "metrics.prometheus.ca: there is no secret nobody in namespace shop: create it, or name another",
        ),
        (
            json!({"ca": {"configMap": "roots", "key": "tls.crt"}}),
            "metrics.prometheus.ca: configmap roots has no key tls.crt, or it is empty: put it there",
        ),
    ] {
        let error = way(&client, "shop", &source(fields)).await.expect_err(expected);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.category(), "settings");
    }
}
