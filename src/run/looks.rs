//! When Releases are looked at: from when this process leads and knows everything that is there, until it leads no more; and when the last look of
//! that time has ended. Which Release is looked at says the queue; what is written after that is the fence's to refuse.

use tokio::sync::{RwLock, RwLockReadGuard, watch};

/// Looks of the workers. Shared by reference.
#[derive(Default)]
pub struct Looks {
    may_begin: watch::Sender<bool>,
    /// Each look holds it for reading.
    under_way: RwLock<()>,
}

impl Looks {
    /// From now on they may begin.
    pub fn open(&self) {
        self.may_begin.send_replace(true);
    }

    /// From now on none begins. Those that have begun go on.
    pub fn close(&self) {
        self.may_begin.send_replace(false);
    }

    /// Waits until they may begin.
    pub async fn are_open(&self) {
        let mut may_begin = self.may_begin.subscribe();
        // It cannot fail: the sender is ours.
        drop(may_begin.wait_for(|may| *may).await);
    }

    /// A look, under way until this is dropped; `None`: it may not begin.
    pub async fn begin(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let look = self.under_way.read().await;
        let may_begin = *self.may_begin.borrow();
        may_begin.then_some(look)
    }

    /// Waits until all that began have ended; none begins meanwhile.
    pub async fn have_ended(&self) {
        drop(self.under_way.write().await);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn none_begins_before_this_process_leads_and_none_after() {
        let looks = Looks::default();
        assert!(looks.begin().await.is_none());
        assert!(tokio::time::timeout(LONG, looks.are_open()).await.is_err());
        looks.open();
        looks.are_open().await;
        assert!(looks.begin().await.is_some());
        looks.close();
        assert!(looks.begin().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_when_the_last_one_that_began_has_ended() {
        let looks = Looks::default();
        looks.open();
        let first = looks.begin().await.expect("one look");
        let second = looks.begin().await.expect("and another beside it");
        looks.close();
        drop(first);
        assert!(tokio::time::timeout(LONG, looks.have_ended()).await.is_err());
        drop(second);
        tokio::time::timeout(LONG, looks.have_ended()).await.expect("both have ended");
    }
}
