//! Whoever asks the API server waits for its answer for so long, and no longer: 2. How long a request was waited for is told by the server when somebody
//! has the answer, or waits no more.
//!
//! Nothing is said of a process that is dead: what it had asked is dropped with it, at some time. Nor of what comes after the head of an answer: here all of it
//! comes at once, and a watch may bring nothing for as long as nothing happens.

use crate::network::Purpose;
use crate::world::World;

/// Milliseconds that timers may be late.
const MARGIN: u64 = 100;

/// Milliseconds that a request is waited for at most: `docs/faults.md`, and of watches `src/run/link/patience.rs`, until they begin.
fn longest(purpose: Purpose) -> u64 {
    match purpose {
        Purpose::Lease => 5_000,
        Purpose::List | Purpose::Get => 30_000,
        Purpose::Watch
        | Purpose::Status
        | Purpose::Deployment
        | Purpose::Kept
        | Purpose::Job
        | Purpose::Pod
        | Purpose::Record
        | Purpose::Event
        | Purpose::Other => 10_000,
    }
}

impl World {
    /// A process has waited for so many milliseconds, and does no more.
    pub fn check_waited(&mut self, process: usize, purpose: Purpose, waited: u64, what: &str) {
        if !self.network.is_alive(process) {
            return;
        }
        let longest = longest(purpose);
        self.check("2 (a deadline)", waited <= longest + MARGIN, || {
            format!("operator-{process} waited {waited} ms for {what}, {longest} at most")
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use kube::Client;
    use serde_json::Value;
    use tidegate::report::Metrics;
    use tidegate::run::link::{Answers, Patience, UnderWay};

    use super::super::stage::said;
    use super::*;
    use crate::server;
    use crate::story::Setup;
    use crate::world::Shared;

    /// A client of a process to which nothing comes for so many seconds.
    fn cut_off(seconds: u64) -> (Shared, Client) {
        let shared = Shared::new(World::new(&Setup::default()));
        let process = shared.lock().network.join();
        shared.lock().network.cut_off(process, seconds * 1000);
        let metrics = Arc::new(Metrics::new());
        let patience = Patience::new(Arc::new(Answers::default()), UnderWay::default().follow(), metrics);
        let client = server::client(&shared, process, &patience);
        (shared, client)
    }

    /// What is said when this is waited for so many seconds, of which nothing comes for sixty. The link itself gives up after thirty.
    async fn waited(method: http::Method, path: &str, seconds: u64) -> usize {
        let (shared, client) = cut_off(60);
        let request = http::Request::builder().method(method).uri(path).body(Vec::new()).expect("a request");
        let asked = client.request::<Value>(request);
        let answered = tokio::time::timeout(Duration::from_secs(seconds), asked).await;
        assert!(!matches!(answered, Ok(Ok(_))), "{answered:?}");
        let world = shared.lock();
        assert_eq!(world.watchman.looked.get("2 (a deadline)"), Some(&1));
        said(&world, "2 (a deadline)")
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_waited_for_too_long_is_seen_whatever_it_is_for() {
        let pods = "/api/v1/namespaces/shop/pods";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases/tidegate";
        for (method, path, longest) in [
            (http::Method::POST, pods, 10),
            (http::Method::GET, lease, 5),
            (http::Method::PUT, lease, 5),
            (http::Method::GET, "/api/v1/namespaces/shop/pods?watch=true", 10),
        ] {
            assert_eq!(waited(method.clone(), path, longest).await, 0, "{method} {path}");
            let is_watch = path.ends_with("watch=true");
            assert_eq!(waited(method.clone(), path, longest + 1).await, usize::from(!is_watch), "{path}");
        }
        assert_eq!(waited(http::Method::GET, pods, 60).await, 0, "the link has an end for it");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_dead_process_nothing_is_said() {
        let (shared, client) = cut_off(60);
        let request = http::Request::post("/api/v1/namespaces/shop/pods").body(Vec::new());
        let asked = client.request::<Value>(request.expect("a request"));
        shared.lock().network.kill(0);
        let answered = tokio::time::timeout(Duration::from_secs(40), asked).await;
        assert!(matches!(answered, Ok(Err(_))), "{answered:?}");
        assert_eq!(said(&shared.lock(), "2 (a deadline)"), 0);
    }
}
