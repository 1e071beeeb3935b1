//! Virtual time: milliseconds since the world began. It passes when everybody waits.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::{Duration, Instant};

/// When every world begins, in unix seconds.
const BEGINNING: i64 = 1_800_000_000;

/// Where a world counts from.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(Instant);

impl Epoch {
    /// Now is 0.
    pub fn begin() -> Self {
        Self(instant())
    }

    /// Milliseconds since.
    pub fn now(self) -> u64 {
        u64::try_from((instant() - self.0).as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment of this millisecond.
    pub fn at(self, milliseconds: u64) -> Instant {
        // A year is as good as never.
        self.0 + Duration::from_millis(milliseconds.min(31_536_000_000))
    }
}

#[expect(clippy::disallowed_methods, reason = "tokio's clock is the virtual one here")]
fn instant() -> Instant {
    Instant::now()
}

/// Wall time of a millisecond.
pub fn stamp(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(0);
    Timestamp::from_millisecond(BEGINNING * 1000 + milliseconds).unwrap_or_default()
}

/// As Kubernetes writes it: whole seconds.
pub fn second(milliseconds: u64) -> String {
    Timestamp::from_second(stamp(milliseconds).as_second()).unwrap_or_default().to_string()
}

/// Seconds of the wall clock, and what is below them.
pub fn second_of(milliseconds: u64) -> f64 {
    stamp(milliseconds).as_millisecond() as f64 / 1000.0
}

/// As HTTP writes it.
pub fn date(at: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}
