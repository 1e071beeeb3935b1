//! The only place that reads clocks.

use jiff::Timestamp;
use tokio::time::Instant;

/// Wall time, to the millisecond: what goes into snapshots and status.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Monotonic time: for deadlines and leases. Stands still with tokio's paused clock.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn instant() -> Instant {
    Instant::now()
}
