//! Turns at what is done so many times at once and no more: so many for all, and of these so many for one namespace.
//!
//! Whoever wants one waits for one of the namespace's own first, and then for one of all: who does much, or waits for somebody who says nothing, keeps
//! only themselves waiting. A namespace is forgotten when nobody there has a turn or waits for one.
//!
//! It is for those who can wait, or go without. Work that is begun elsewhere when its turn comes is in `run/shares.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::select_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// So many for all, and so many for one namespace.
pub struct Turns {
    all: Semaphore,
    of_one: usize,
    /// By namespace, while somebody there has a turn or waits for one.
    own: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// A turn, until it is dropped.
pub struct Turn<'a> {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// So many for all, and of these so many for one namespace.
    pub const fn of(all: usize, of_one: usize) -> Self {
        Self { all: Semaphore::const_new(all), of_one, own: Mutex::new(BTreeMap::new()) }
    }

    /// So many for each namespace, however many namespaces there are.
    pub const fn of_each(of_one: usize) -> Self {
        Self::of(Semaphore::MAX_PERMITS, of_one)
    }

    /// A turn for this namespace, when there is one.
    pub async fn take(&self, namespace: &str) -> Turn<'_> {
        self.take_for_any(&[namespace]).await
    }

    /// A turn for what is done for several namespaces together: one of the own turns of whichever has one first. Where it is for none, one of all
    /// is enough.
    pub async fn take_for_any(&self, namespaces: &[&str]) -> Turn<'_> {
        let own = self.own(namespaces).into_iter().map(|own| Box::pin(own.acquire_owned()));
        // Nothing here is ever closed.
        let own = if namespaces.is_empty() { None } else { select_all(own).await.0.ok() };
        Turn { _own: own, _of_all: self.all.acquire().await.ok() }
    }

    /// A turn for this namespace, if there is one now.
    pub fn try_take(&self, namespace: &str) -> Option<Turn<'_>> {
        let own = self.own(&[namespace]).pop()?.try_acquire_owned().ok()?;
        Some(Turn { _own: Some(own), _of_all: Some(self.all.try_acquire().ok()?) })
    }

    fn own(&self, namespaces: &[&str]) -> Vec<Arc<Semaphore>> {
        let mut known = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, own| own.strong_count() > 0);
        let mut all = Vec::with_capacity(namespaces.len());
        for namespace in namespaces {
            let own = known.get(*namespace).and_then(Weak::upgrade).unwrap_or_else(|| {
                let own = Arc::new(Semaphore::new(self.of_one));
                known.insert((*namespace).to_owned(), Arc::downgrade(&own));
                own
            });
            all.push(own);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    /// As many as there are now.
    fn all<'a>(turns: &'a Turns, namespaces: &[&str]) -> Vec<Turn<'a>> {
        std::iter::from_fn(|| turns.take_for_any(namespaces).now_or_never()).collect()
    }

    #[test]
    fn a_namespace_has_its_share_and_the_next_finds_its_own() {
        let turns = Turns::of(5, 2);
        let noisy = all(&turns, &["noisy"]);
        assert_eq!(noisy.len(), 2);
        assert!(turns.try_take("noisy").is_none());
        let mut waits = Box::pin(turns.take("noisy"));
        assert!(waits.as_mut().now_or_never().is_none());
        let shop = all(&turns, &["shop"]);
        let bank = all(&turns, &["bank"]);
        assert_eq!((shop.len(), bank.len()), (2, 1), "who waits for its own takes none of all");
        assert!(turns.try_take("bank").is_none(), "no more than for all");
        drop(shop);
        assert!(waits.as_mut().now_or_never().is_none(), "those were not its own");
        assert!(turns.try_take("bank").is_some());
        drop(noisy);
        assert!(waits.as_mut().now_or_never().is_some());
    }

    #[test]
    fn what_is_for_several_waits_only_while_all_of_them_have_their_share() {
        let turns = Turns::of(10, 2);
        let noisy = all(&turns, &["noisy"]);
        let both = all(&turns, &["noisy", "shop"]);
        assert_eq!((noisy.len(), both.len()), (2, 2), "in the share of the other");
        assert!(turns.try_take("shop").is_none());
        assert!(turns.try_take("bank").is_some());
        assert_eq!(all(&turns, &[]).len(), 6, "what is for nobody takes what there is for all");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_for_several_has_its_turn_as_soon_as_one_of_them_has_one() {
        let turns = Turns::of(10, 1);
        let (noisy, shop) = (turns.take("noisy").await, turns.take("shop").await);
        let given_back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(shop);
        };
        let both = tokio::time::timeout(Duration::from_secs(2), turns.take_for_any(&["noisy", "shop"]));
        let (both, ()) = tokio::join!(both, given_back);
        assert!(both.is_ok() && turns.try_take("shop").is_none());
        drop(noisy);
        assert!(turns.try_take("noisy").is_some(), "whoever waited there does so no more");
    }

    #[test]
    fn a_namespace_is_forgotten_when_nobody_there_has_a_turn() {
        let turns = Turns::of_each(2);
        let known = || turns.own.lock().unwrap().keys().cloned().collect::<Vec<_>>();
        let shop = turns.try_take("shop");
        drop(all(&turns, &["noisy", "bank"]));
        drop(turns.try_take("other"));
        assert_eq!(known(), ["other", "shop"]);
        drop(shop);
        drop(turns.try_take("other"));
        assert_eq!(known(), ["other"]);
    }
}
