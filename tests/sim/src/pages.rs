//! What the pods answer on `/metrics`: what its Service has sent there, counted, or lies.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate::observe::measure::scrape::{Page, Pages, Target};
use tidegate::observe::measure::{Asked, ReadError};

use crate::world::{self, Shared};

/// From a process to a pod and back.
const WAY: Duration = Duration::from_millis(2);

/// The pods of a world, to be read.
pub struct Pods(pub Shared);

impl Pages for Pods {
    fn page<'a>(&'a self, target: &'a Target, deadline: Duration) -> BoxFuture<'a, Result<Page, ReadError>> {
        let shared = self.0.clone();
        async move {
            tokio::time::sleep(WAY.min(deadline)).await;
            let is_silent = shared.lock().is_silent_at(target.ip);
            if is_silent {
                tokio::time::sleep(deadline.saturating_sub(WAY)).await;
                return Err(ReadError::Timeout { asked: Asked::Pod, after: deadline });
            }
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

/// A gauge that the pods have: what waits in them, which is much where they answer with errors.
pub const GAUGE: &str = "shop_queue";
const SHORT_QUEUE: u64 = 7;
const LONG_QUEUE: u64 = 500;

impl Counted {
    /// What the gauge shows.
    pub fn waiting(&self) -> u64 {
        if self.failed > 0 { LONG_QUEUE } else { SHORT_QUEUE }
    }

    /// The page that says so; `at`: when it was so, in unix milliseconds.
    pub fn page(&self, at: Option<i64>) -> String {
        let Self { good, failed } = self;
        let (waiting, at) = (self.waiting(), at.map(|at| format!(" {at}")).unwrap_or_default());
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {good}{at}\nhttp_requests_total{{code=\"500\"}} {failed}{at}\n# TYPE {GAUGE} gauge\n{GAUGE} {waiting}{at}\n"
        )
    }
}

fn page(shared: &Shared, target: &Target) -> Result<Page, ReadError> {
    let mut world = shared.lock();
    let now = world.now;
    let refused = || ReadError::Refused { asked: Asked::Pod, problem: "connection refused".to_owned() };
    let mut clusters = world.clusters.iter_mut();
    let counted = clusters.find_map(|cluster| cluster.at(target.ip, now)).ok_or_else(refused)?;
    let text = match world.pages {
        world::Pages::Honest => counted.page(None),
        world::Pages::Silent => return Err(refused()),
        world::Pages::Nonsense => {
            "http_requests_total{code=\"200\"} NaN\nhttp_requests_total{code=\"500\"} NaN\n".to_owned()
        }
        world::Pages::Stuck => Counted { good: 7, failed: 0 }.page(None),
    };
    Ok(Page::text(text.into_bytes()))
}
