//! What the pods answer on `/metrics`: counters that grow with the time a pod has served, as its template says, or lies.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
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

fn page(shared: &Shared, target: &Target) -> Result<Page, ReadError> {
    let world = shared.lock();
    let refused = || ReadError::Refused { asked: Asked::Pod, problem: "connection refused".to_owned() };
    let mut clusters = world.clusters.iter();
    let (pod, template) = clusters.find_map(|cluster| cluster.at(target.ip)).ok_or_else(refused)?;
    let since = pod.ready_since.unwrap_or(pod.born);
    let served_for = stamp(world.now).as_millisecond() - since.as_millisecond();
    let served = u64::try_from(served_for).unwrap_or(0) * REQUESTS / 1000;
    let annotation = |name: &str| -> u64 {
        template["metadata"]["annotations"][name].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let counts = |served: u64| {
        let failed = (served * annotation("errors")
            + served.saturating_sub(LATE * REQUESTS) * annotation("errors-late"))
            / 100;
        let good = served - failed;
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {good}\nhttp_requests_total{{code=\"500\"}} {failed}\n"
        )
    };
    let text = match world.pages {
        world::Pages::Honest => counts(served),
        world::Pages::Silent => return Err(refused()),
        world::Pages::Nonsense => {
            "http_requests_total{code=\"200\"} NaN\nhttp_requests_total{code=\"500\"} NaN\n".to_owned()
        }
        world::Pages::Stuck => counts(7),
    };
    Ok(Page::text(text.into_bytes()))
}
