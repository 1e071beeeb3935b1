//! Traffic that counts what users see: spread over the Ready pods, as a Service would, at a steady rate whatever the answers.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

/// What users have seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub total: AtomicU64,
    /// Answers of 500 and above, and requests without an answer.
    pub errors: AtomicU64,
    /// Those of the errors that were no answer at all.
    pub unanswered: AtomicU64,
    /// Milliseconds since the epoch of the first answer of 500 or above since `forget`; 0: none.
    first_bad: AtomicU64,
}

impl Seen {
    /// The first answer of 500 or above since `forget`.
    pub fn first_bad(&self) -> Option<Timestamp> {
        let at = i64::try_from(self.first_bad.load(Ordering::Acquire)).ok().filter(|at| *at > 0)?;
        Timestamp::from_millisecond(at).ok()
    }

    /// From now on.
    pub fn forget(&self) {
        self.first_bad.store(0, Ordering::Release);
    }
}

/// Traffic under way; ends when dropped.
pub struct Load {
    pub seen: Arc<Seen>,
    pods: Arc<RwLock<Vec<String>>>,
    /// Requests a second for each pod, as bits.
    rate: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many requests a second for each Ready pod, to `/` on this port.
    pub async fn start(client: &Client, namespace: &str, port: u16, per_pod: f64) -> Self {
        let seen = Arc::<Seen>::default();
        let pods: Arc<RwLock<Vec<String>>> = Arc::default();
        let follow = tokio::spawn(follow(Api::namespaced(client.clone(), namespace), pods.clone()));
        let rate = Arc::new(AtomicU64::new(per_pod.to_bits()));
        let send = tokio::spawn(send(pods.clone(), seen.clone(), port, rate.clone()));
        Self { seen, pods, rate, tasks: vec![follow, send] }
    }

    /// So many requests a second for each Ready pod from now on.
    pub fn set_rate(&self, per_pod: f64) {
        self.rate.store(per_pod.to_bits(), Ordering::Relaxed);
    }

    /// Pods that get traffic.
    pub fn pods(&self) -> usize {
        self.pods.read().expect("no panic while writing").len()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What an EndpointSlice would hold: addresses of pods that are Ready and not on their way out.
async fn follow(api: Api<Pod>, serving: Arc<RwLock<Vec<String>>>) {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => match address(&pod) {
                Some(address) => {
                    known.insert(pod.name_any(), address);
                }
                None => {
                    known.remove(&pod.name_any());
                }
            },
            Ok(Event::Delete(pod)) => {
                known.remove(&pod.name_any());
            }
            Ok(Event::Init) => known.clear(),
            Ok(Event::InitDone) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        *serving.write().expect("no panic while writing") = known.values().cloned().collect();
    }
}

fn address(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let ready = status.conditions.as_ref()?.iter().any(|one| one.type_ == "Ready" && one.status == "True");
    status.pod_ip.clone().filter(|_| ready)
}

async fn send(pods: Arc<RwLock<Vec<String>>>, seen: Arc<Seen>, port: u16, rate: Arc<AtomicU64>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .pool_max_idle_per_host(4)
        .timeout(Duration::from_secs(5))
        .build()
        .expect("a client without TLS");
    let next = Arc::new(AtomicUsize::new(0));
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut due = 0.0;
    loop {
        tick.tick().await;
        let count = pods.read().expect("no panic while writing").len();
        due += f64::from_bits(rate.load(Ordering::Relaxed)) * count as f64 / 100.0;
        while due >= 1.0 {
            due -= 1.0;
            let target = {
                let pods = pods.read().expect("no panic while writing");
                let place = next.fetch_add(1, Ordering::Relaxed);
                pods.get(place % pods.len().max(1)).cloned()
            };
            let Some(target) = target else { break };
            let (client, seen) = (client.clone(), seen.clone());
            tokio::spawn(async move {
                let answer = client.get(format!("http://{target}:{port}/")).send().await;
                seen.total.fetch_add(1, Ordering::Relaxed);
                let bad = answer.as_ref().is_ok_and(|answer| answer.status().as_u16() >= 500);
                if bad {
                    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
                    let _first = seen.first_bad.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
                }
                if answer.is_err() {
                    seen.unanswered.fetch_add(1, Ordering::Relaxed);
                }
                if bad || answer.is_err() {
                    seen.errors.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
}
