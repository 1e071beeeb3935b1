//! Where the replicas of the API server are: the EndpointSlices of Service `default/kubernetes`, which each replica writes itself into.
//!
//! A watch apart from the others: nobody waits for it, it concerns no Release, and the operator may lack the right.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};

use super::pages;
use super::streams::{Pauses, config};
use super::watched::lacking;
use crate::api::Right;
use crate::logged::logged;

/// Those of the API server, whatever they are called.
const SLICES: &str = "kubernetes.io/service-name=kubernetes";
/// Until it is tried again where the operator may not.
const LATER: Duration = Duration::from_secs(600);
/// Sockets of one EndpointSlice that are kept: an API server has a handful.
const MOST: usize = 256;

/// Watches them for ever. `tell` is told all of them whenever they may have changed, `refused` which right is missing; neither must block.
pub async fn follow(
    client: Client,
    tell: impl Fn(BTreeSet<SocketAddr>) + Send + Sync,
    refused: impl Fn(&Right) + Send + Sync,
) {
    let slices: Api<EndpointSlice> = Api::namespaced(pages::bounded(&client), "default");
    let mut last: Option<Right> = None;
    loop {
        let right = until_refused(&slices, &tell).await;
        refused(&right);
        if last.as_ref() != Some(&right) {
            tracing::error!(
                "{right}. Until then a Release is kept from those replicas of the API server only that are known otherwise"
            );
        }
        last = Some(right);
        tokio::time::sleep(LATER).await;
    }
}

/// Goes on until a right is missing.
async fn until_refused(
    slices: &Api<EndpointSlice>,
    tell: &(impl Fn(BTreeSet<SocketAddr>) + Send + Sync),
) -> Right {
    let mut known: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    loop {
        let slices = watcher(slices.clone(), config().labels(SLICES));
        let mut events = pin!(slices.backoff(Pauses::default()));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(slice)) => {
                    listed.insert(slice.name_any(), sockets(&slice));
                    continue;
                }
                Ok(Event::InitDone) => known = std::mem::take(&mut listed),
                Ok(Event::Apply(slice)) => _ = known.insert(slice.name_any(), sockets(&slice)),
                Ok(Event::Delete(slice)) => _ = known.remove(&slice.name_any()),
                Err(error) => {
                    if let Some(right) = lacking(&error) {
                        return right;
                    }
                    tracing::warn!(error = %logged(&error), "the watch of the API server's replicas was interrupted; it goes on by itself");
                    continue;
                }
            }
            tell(known.values().flatten().copied().collect());
        }
    }
}

/// Ready or not: a replica that is about to answer, or answers for a while yet, is one.
fn sockets(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let ports: Vec<u16> =
        slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok()).collect();
    addresses
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port)))
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn slice(name: &str, addresses: &[&str]) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": "default", "resourceVersion": "2"},
            "endpoints": addresses.iter().map(|address| json!({"addresses": [address]})).collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": 6443}],
        })
    }

    /// An API server of two replicas that gets a third one, and refuses this verb (`list`, `watch`) until it has been asked once.
    fn of_two(refuses: Option<&'static str>) -> Client {
        let open = Arc::new(Mutex::new(refuses));
        let watched = Arc::new(Mutex::new(false));
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            assert_eq!(request.uri().path(), "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
            assert!(query.contains("kubernetes.io%2Fservice-name%3Dkubernetes"), "{query}");
            let verb = if query.contains("watch=") { "watch" } else { "list" };
            let mut open = open.lock().unwrap();
            let refused = *open == Some(verb);
            if refused {
                *open = None;
            }
            let again = !refused && verb == "watch" && std::mem::replace(&mut *watched.lock().unwrap(), true);
            async move {
                if again {
                    return std::future::pending().await;
                }
                let (code, text) = match verb {
                    _ if refused => (
                        StatusCode::FORBIDDEN,
                        json!({
                            "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403,
                            "message": format!("endpointslices.discovery.k8s.io is forbidden: User \"tidegate\" cannot {verb} resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"default\""),
                        }),
                    ),
                    "watch" => (
                        StatusCode::OK,
                        json!({
                            "type": "MODIFIED", "object": slice("kubernetes", &["10.1.0.5", "10.1.0.6", "10.1.0.7"]),
                        }),
                    ),
                    _ => (
                        StatusCode::OK,
                        json!({
                            "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {"resourceVersion": "1"},
                            "items": [slice("kubernetes", &["10.1.0.5", "10.1.0.6", "a name"])],
                        }),
                    ),
                };
                let mut response = Response::new(Body::from(format!("{text}\n").into_bytes()));
                *response.status_mut() = code;
                Ok::<_, std::io::Error>(response)
            }
        });
        Client::new(service, "default")
    }

    /// What was told and which rights were missing, after so many seconds.
    async fn told(client: Client, seconds: u64) -> (Vec<Vec<String>>, Vec<String>) {
        let (told, lacked) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let follows = follow(
            client,
            |sockets| told.lock().unwrap().push(sockets.iter().map(SocketAddr::to_string).collect()),
            |right| lacked.lock().unwrap().push(right.to_string()),
        );
        let _later = tokio::time::timeout(Duration::from_secs(seconds), follows).await;
        (told.into_inner().unwrap(), lacked.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_are_told_as_they_are_listed_and_as_they_come() {
        let (told, lacked) = told(of_two(None), 30).await;
        let two = vec!["10.1.0.5:6443".to_owned(), "10.1.0.6:6443".to_owned()];
        let three = [two.clone(), vec!["10.1.0.7:6443".to_owned()]].concat();
        assert_eq!(told, [two, three]);
        assert!(lacked.is_empty(), "{lacked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_missing_is_named_and_is_asked_for_again_later() {
        for (verb, known) in [("list", 0), ("watch", 1)] {
            let (told_soon, lacked) = told(of_two(Some(verb)), 60).await;
            assert_eq!(told_soon.len(), known, "{told_soon:?}");
            assert_eq!(
                lacked,
                [format!(
                    "the operator may not {verb} endpointslices in namespace default: add {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [{verb}]}} to Role tidegate-api-server in namespace default"
                )]
            );
            let (told_later, lacked) = told(of_two(Some(verb)), 700).await;
            assert_eq!(told_later.last().map(Vec::len), Some(3), "{told_later:?}");
            assert_eq!(lacked.len(), 1);
        }
    }
}
