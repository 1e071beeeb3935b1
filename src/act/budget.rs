//! How many writes may go out in a second: what the API server sees of us when everything happens at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

const WINDOW: Duration = Duration::from_secs(1);

/// So many writes in any second. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    pub fn per_second(writes: usize) -> Self {
        Self(Arc::new(Semaphore::new(writes)))
    }

    /// Waits, in the order in which it is asked, until there is one left; it is there again a second later.
    pub async fn spend(&self) {
        let spent = self.0.clone().acquire_owned().await.expect("it is never closed");
        tokio::spawn(async move {
            tokio::time::sleep(WINDOW).await;
            drop(spent);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_any_second_no_more_than_the_budget_goes_out() {
        let budget = Budget::per_second(2);
        let within = |time| tokio::time::timeout(Duration::from_millis(time), budget.spend());
        assert!(within(1).await.is_ok() && within(1).await.is_ok());
        assert!(within(900).await.is_err(), "a third within the second");
        assert!(within(200).await.is_ok(), "one that was spent a second ago is there again");
    }
}
