//! A watch that begins too long ago (410). Most API servers say so within it, and then kube's watcher lists anew. One that is refused for it would
//! begin again at the same version for ever: so it is told here as the others are.
//!
//! A list whose next page is refused needs no help: the watcher begins it anew.

use http::{Request, Response, StatusCode, Uri};
use kube::Client;
use kube::client::Body;

/// What is said within a watch.
const SAID: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410,"message":"the watch begins too long ago"}}"#;

/// Sends what is no page of a list.
pub async fn send(client: &Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let is_watch = is_watch(request.uri());
    let response = client.send(request).await?;
    if is_watch && response.status() == StatusCode::GONE {
        return Ok(Response::new(Body::from(format!("{SAID}\n").into_bytes())));
    }
    Ok(response)
}

/// Whether a request is one for a watch.
pub fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::Api;
    use kube::runtime::watcher::{self, Event};
    use serde_json::json;

    use super::super::pages;
    use super::*;

    /// An API server that refuses to go on from its first list.
    fn server() -> Client {
        let lists = Arc::new(AtomicUsize::new(0));
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let lists = lists.clone();
            async move {
                let (code, answer) = if !query.contains("watch=true") {
                    let version = (lists.fetch_add(1, Ordering::Relaxed) + 1).to_string();
                    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": []});
                    (StatusCode::OK, list)
                } else if query.contains("resourceVersion=1") {
                    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
                    (StatusCode::GONE, gone)
                } else {
                    return std::future::pending().await;
                };
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = code;
                Ok::<_, std::io::Error>(response)
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn one_that_is_refused_for_it_lists_anew() {
        let maps: Api<ConfigMap> = Api::default_namespaced(pages::bounded(&server()));
        let word = |event: Result<Event<ConfigMap>, watcher::Error>| match event {
            Ok(Event::Init) => "lists",
            Ok(Event::InitDone) => "has listed",
            Ok(Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) => "an object",
            Err(_) => "is told",
        };
        let events = kube::runtime::watcher(maps, watcher::Config::default());
        let told: Vec<&str> = events.map(word).take(5).collect().await;
        assert_eq!(told, ["lists", "has listed", "is told", "lists", "has listed"]);
    }
}
