//! Since when the API server has not answered, for `/readyz` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::clock;

/// Without an answer for so long we say that we are not ready. The Lease alone is asked about every two seconds.
const LONG: Duration = Duration::from_secs(30);

/// What is known of its answers.
pub struct Answers {
    /// Where monotonic time is counted from.
    epoch: Instant,
    /// Milliseconds since `epoch`.
    last: AtomicU64,
    trouble: Mutex<String>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { epoch: clock::instant(), last: AtomicU64::new(0), trouble: Mutex::default() }
    }
}

impl Answers {
    /// It answered, and not that it is in trouble.
    pub fn came(&self) {
        let now = clock::instant().saturating_duration_since(self.epoch).as_millis();
        self.last.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// It did not, or not as it should.
    pub fn failed(&self, why: impl Into<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.into();
    }

    /// How long ago the last answer came.
    pub fn silent_for(&self) -> Duration {
        let last = self.epoch + Duration::from_millis(self.last.load(Ordering::Acquire));
        clock::instant().saturating_duration_since(last)
    }

    /// What to say when there has been none for long.
    pub fn trouble(&self) -> Option<String> {
        let silent = self.silent_for();
        (silent >= LONG).then(|| {
            let why = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            format!("the API server has not answered for {} s: {why}", silent.as_secs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_trouble_once_nothing_has_come_for_long_and_no_more_once_something_has() {
        let answers = Answers::default();
        answers.came();
        answers.failed("no answer in time");
        tokio::time::advance(LONG - Duration::from_millis(1)).await;
        assert_eq!(answers.trouble(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        let said = answers.trouble().expect("trouble");
        assert_eq!(said, "the API server has not answered for 30 s: no answer in time");
        answers.came();
        assert_eq!(answers.trouble(), None);
    }
}
