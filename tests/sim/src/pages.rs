//! What the pods answer on `/metrics`: counters that grow with the time a pod has served, as its template says, or lies.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tidegate::observe::measure::scrape::{Page, Pages, Target};
use tidegate::observe::measure::{Asked, ReadError};

use crate::time::stamp;
use crate::world::{self, Shared};

/// Requests a pod serves in a second.
const REQUESTS: u64 = 40;

/// Seconds until those go bad that go bad late.
const LATE: u64 = 180;

/// The pods of a world, to be read.
pub struct Pods(pub Shared);

impl Pages for Pods {
    fn page<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<Page, ReadError>> {
        let shared = self.0.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2).min(deadline)).await;
            page(&shared, target)
        }
        .boxed()
    }
}

/// What a pod has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub good: u64,
    pub failed: u64,
}

impl Counted {
    /// What a pod of this template counts that serves since then.
    pub fn since(ready_since: Timestamp, template: &Value, now: u64) -> Self {
        let served_for = stamp(now).as_millisecond() - ready_since.as_millisecond();
        Self::of(u64::try_from(served_for).unwrap_or(0) * REQUESTS / 1000, template)
    }

    /// Of so many requests.
    fn of(served: u64, template: &Value) -> Self {
        let annotation = |name: &str| -> u64 {
            let text = template["metadata"]["annotations"][name].as_str();
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let failed = (served * annotation("errors")
            + served.saturating_sub(LATE * REQUESTS) * annotation("errors-late"))
            / 100;
        Self { good: served - failed, failed }
    }
}

fn page(shared: &Shared, target: &Target) -> Result<Page, ReadError> {
    let world = shared.lock();
    let refused = || ReadError::Refused { asked: Asked::Pod, problem: "connection refused".to_owned() };
    let mut clusters = world.clusters.iter();
    let (pod, template) = clusters.find_map(|cluster| cluster.at(target.ip)).ok_or_else(refused)?;
    let shown = |Counted { good, failed }: Counted| {
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {good}\nhttp_requests_total{{code=\"500\"}} {failed}\n"
        )
    };
    let text = match world.pages {
        world::Pages::Honest => {
            shown(Counted::since(pod.ready_since.unwrap_or(pod.born), template, world.now))
        }
        world::Pages::Silent => return Err(refused()),
        world::Pages::Nonsense => {
            "http_requests_total{code=\"200\"} NaN\nhttp_requests_total{code=\"500\"} NaN\n".to_owned()
        }
        world::Pages::Stuck => shown(Counted::of(7, template)),
    };
    Ok(Page::text(text.into_bytes()))
}
