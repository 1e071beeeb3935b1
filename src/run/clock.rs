//! The only place that reads clocks.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

/// Wall time as this process sees it: what goes into snapshots and status. It may jump; whatever must not be fooled by that goes by
/// [`instant`].
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn machine() -> Self {
        Self::new(Timestamp::now)
    }

    /// One that tells what it is given.
    pub fn new(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Now, to the millisecond.
    pub fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// Monotonic time: for deadlines and leases. Stands still with tokio's paused clock.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn instant() -> Instant {
    Instant::now()
}
