//! What the Lease says by which one of several operators leads: others may have written anything into it.

use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tidegate::act::Fence;
use tidegate::run::Clock;
use tidegate::run::leader::{Elector, LeaseFence};
use tokio::sync::watch;

use super::answers::awaited;
use super::split;

/// Who we are.
const US: &str = "tidegate-7d9f_6f1e";

/// A status, a line break, and the Lease as the API server answers it. Looked at once, by one who is told to stop then: what is taken is given up
/// again, and what another has is left alone.
pub fn lease(data: &[u8]) {
    let (status, body) = split(data);
    let status = StatusCode::from_bytes(status).unwrap_or_default();
    let writes = written(status, body);
    for (place, write) in writes.iter().enumerate() {
        let spec = &write["spec"];
        let (holder, seconds) = if place == 0 { (json!(US), 15) } else { (Value::Null, 1) };
        assert_eq!((&spec["holderIdentity"], &spec["leaseDurationSeconds"]), (&holder, &json!(seconds)));
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let is_read = !status.is_client_error() && !status.is_server_error();
    let Some(lease) = serde_json::from_str::<Lease>(text).ok().filter(|_| is_read) else {
        // Where it was said that there is none, one was made.
        let is_new = writes.first().is_none_or(|made| made["metadata"]["resourceVersion"].is_null());
        return assert!(is_new && matches!(writes.len(), 0 | 2), "{writes:?}");
    };
    let before = lease.spec.unwrap_or_default();
    let holder = before.holder_identity.unwrap_or_default();
    let is_free = holder.is_empty() || holder == US;
    // Who says that it lasts for no time has had it for so long.
    if !is_free && before.lease_duration_seconds.is_none_or(|seconds| seconds > 0) {
        return assert!(writes.is_empty(), "it is another's: {writes:?}");
    }
    let [taken, _given_up] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(
        taken["metadata"]["resourceVersion"],
        json!(lease.metadata.resource_version),
        "as it was read"
    );
    let transitions = before.lease_transitions.unwrap_or_default();
    let transitions = transitions.saturating_add(i32::from(holder != US));
    assert_eq!(taken["spec"]["leaseTransitions"], json!(transitions));
    if holder == US && before.acquire_time.is_some() {
        assert_eq!(taken["spec"]["acquireTime"], json!(before.acquire_time), "it has been ours since then");
    }
}

/// What one writes who finds this, in its order.
fn written(status: StatusCode, body: &[u8]) -> Vec<Value> {
    let writes: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (kept, body) = (writes.clone(), body.to_vec());
    awaited(async move {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (kept, body) = (kept.clone(), body.clone());
            async move {
                if request.method() == Method::GET {
                    let mut response = http::Response::new(Body::from(body));
                    *response.status_mut() = status;
                    return Ok::<_, std::io::Error>(response);
                }
                let sent = request.into_body().collect_bytes().await.expect("what we send");
                kept.lock().expect("not poisoned").push(serde_json::from_slice(&sent).expect("a Lease"));
                Ok(http::Response::new(Body::from(sent.to_vec())))
            }
        });
        let fence = Arc::new(LeaseFence::default());
        let (leading, leads) = watch::channel(false);
        let (_stop, stopped) = watch::channel(true);
        let clock = Clock::new(|| Timestamp::from_second(1_795_000_000).expect("a moment"));
        let client = Client::new(service, "ns");
        Elector::new(client, clock, "ns", US.to_owned(), fence.clone(), leading).campaign(stopped).await;
        assert!(fence.remaining().is_zero() && !*leads.borrow(), "nobody writes after it has stopped");
    });
    let writes = writes.lock().expect("not poisoned");
    writes.clone()
}
