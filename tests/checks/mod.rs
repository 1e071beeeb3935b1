//! What checks ask, of real servers on this machine.

mod answers;
mod dns;
mod kinds;
mod objects;
mod pilots;
mod promotion;
mod telemetry;
mod tls;
mod traffic;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tidegate::decide::Probe;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::observe::measure::servers::Servers;
use tidegate::observe::measure::{Trust, client};
use tidegate::observe::probes::{self, Means};
use tidegate::observe::reach::{ApiServer, Reach};

use crate::measure::pods::serve;

/// Where checks of tests may connect to: this machine too.
fn reach() -> Reach {
    Reach::guarded(ApiServer::default(), true)
}

/// Asks once.
async fn ask(api_server: &Client, probe: &Probe, now: Timestamp) -> (ProbeResult, String) {
    let reach = reach();
    let pages = client(Trust::Nothing, &reach).expect("a client");
    let servers = Servers::within(reach.clone());
    let means = Means { client: api_server, reach: &reach, pages: &pages, servers: &servers };
    probes::ask(means, "shop", probe, now).await
}

/// An API server that answers these paths, with their query, like this; everything else is not there.
async fn cluster(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> kube::Client {
    let answers: BTreeMap<_, _> =
        answers.into_iter().map(|(path, status, body)| (path.to_owned(), (status, body))).collect();
    let answers = Arc::new(answers);
    let router = Router::new().fallback(move |uri: Uri| {
        let answers = Arc::clone(&answers);
        async move {
            let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let (status, body) = answers.get(&path).cloned().unwrap_or_else(|| {
                let name = uri.path().rsplit('/').next().unwrap_or_default();
                (404, failure(404, "NotFound", &format!("\"{name}\" not found"), Some(name)))
            });
            let status = StatusCode::from_u16(status).expect("a status");
            let body = Body::from(serde_json::to_vec(&body).expect("JSON"));
            Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .body(body)
                .expect("an answer")
        }
    });
    client_of(serve(router).await)
}

/// A client of the API server at a port of this machine.
fn client_of(port: u16) -> kube::Client {
    let _already = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://127.0.0.1:{port}");
    kube::Client::try_from(kube::Config::new(url.parse().expect("a URL"))).expect("a client")
}

fn failure(code: u16, reason: &str, message: &str, name: Option<&str>) -> Value {
    let details = name.map_or(json!({}), |name| json!({"name": name}));
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
        "message": message, "details": details,
    })
}

fn forbidden(verb: &str, resource: &str, group: &str) -> Value {
    let message = format!(
        "{resource} is forbidden: User \"operator\" cannot {verb} resource \"{resource}\" in API group \"{group}\" in the namespace \"shop\""
    );
    failure(403, "Forbidden", &message, None)
}
