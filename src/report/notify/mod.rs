//! Telling people: what status owes is sent, one message after the other to each audience, and tried again for an hour. One file a kind of
//! receiver.
//!
//! Nothing waits for it. What comes of it is kept until status has counted it in; a restart loses that, and sends again under the same id.

mod attempt;
pub mod cloud_events;
pub mod email;
pub mod opsgenie;
pub mod pager_duty;
mod post;
pub mod slack;
pub mod teams;
mod urgency;
pub mod webhook;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Metrics;
use crate::api::notify::Owed;
use crate::decide::Key;
use crate::decide::notify::{Delivery, TellResult, Told};
use crate::turns::Turns;
pub use attempt::{Carrier, Failure, Outside};
pub use post::Address;

/// Requests under way at the same time, of all namespaces and of one.
const AT_ONCE: usize = 16;
const AT_ONCE_IN_A_NAMESPACE: usize = 4;
/// Audiences that are being told at the same time, those that wait to be tried again among them: of all namespaces, and of one at most. Nor has one
/// more than it leaves to all others: a few whose receivers are away do not keep all others from being told.
const MOST: usize = 1000;
const MOST_OF_A_NAMESPACE: usize = 200;
/// Tries of one message.
const TRIES: u32 = 19;
/// The longest time between two of them: with it they take about an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// From this try on it is said that it does not get through.
const SAID_AFTER: u32 = 3;

/// Sends messages.
pub struct Notifier(Arc<Shared>);

struct Shared {
    carrier: Arc<dyn Carrier>,
    metrics: Arc<Metrics>,
    /// Has a Release looked at.
    wake: Box<dyn Fn(Key) + Send + Sync>,
    /// For requests: a namespace whose receivers hang keeps only itself waiting.
    turns: Turns,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told: HashMap<Key, Vec<Told>>,
    /// By Release and audience.
    under_way: HashMap<(Key, String), Telling>,
}

/// A message that is being sent, or waits to be tried again.
struct Telling {
    handle: AbortHandle,
    delivery: Delivery,
}

impl Notifier {
    /// `carrier` hands messages over; `wake` has a Release looked at, once something has come of telling about it.
    pub fn new(
        carrier: Arc<dyn Carrier>,
        metrics: Arc<Metrics>,
        wake: impl Fn(Key) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            carrier,
            metrics,
            wake: Box::new(wake),
            turns: Turns::of(AT_ONCE, AT_ONCE_IN_A_NAMESPACE),
            state: Mutex::default(),
        }))
    }

    /// What came of telling about a Release, and is not known to be in status.
    pub fn told(&self, key: &Key) -> Vec<Told> {
        self.0.lock().told.get(key).cloned().unwrap_or_default()
    }

    /// Sends what is owed, not told and not being sent already: to each audience the oldest first. What is being sent and not owed any
    /// more, or to be sent elsewhere by now, ends. False: there is no room for all of it, or none in its namespace's share.
    pub fn deliver(&self, key: &Key, owed: Vec<Delivery>) -> bool {
        let mut state = self.0.lock();
        let mut next: BTreeMap<String, Delivery> = BTreeMap::new();
        // Whoever says what is owed may not know yet what was told a moment ago.
        let told = state.told.get(key).map(Vec::as_slice).unwrap_or_default();
        for delivery in owed.into_iter().filter(|delivery| !told.iter().any(|told| told.settles(delivery))) {
            next.entry(delivery.to.clone()).or_insert(delivery);
        }
        state.under_way.retain(|(about, to), telling| {
            let goes_on =
                about != key || (next.get(to) == Some(&telling.delivery) && !telling.handle.is_finished());
            if !goes_on {
                telling.handle.abort();
            }
            goes_on
        });
        let is_of_its_namespace = |(about, _): &&(Key, String)| about.namespace == key.namespace;
        let mut of_its_namespace = state.under_way.keys().filter(is_of_its_namespace).count();
        for (to, delivery) in next {
            let place = (key.clone(), to);
            if state.under_way.contains_key(&place) {
                continue;
            }
            let left = MOST.saturating_sub(state.under_way.len());
            if of_its_namespace >= MOST_OF_A_NAMESPACE.min(left) {
                return false;
            }
            of_its_namespace += 1;
            let handle = tokio::spawn(self.0.clone().tell(key.clone(), delivery.clone())).abort_handle();
            state.under_way.insert(place, Telling { handle, delivery });
        }
        true
    }

    /// Forgets what came of messages that status does not owe any more.
    pub fn prune(&self, key: &Key, owed: &[Owed]) {
        let mut state = self.0.lock();
        if let Some(told) = state.told.get_mut(key) {
            let still_owed =
                |told: &Told| owed.iter().any(|owed| owed.id == told.id && owed.to.contains(&told.to));
            told.retain(still_owed);
            if told.is_empty() {
                state.told.remove(key);
            }
        }
    }

    /// Another process leads, and sends what is owed.
    pub fn stop(&self) {
        let mut state = self.0.lock();
        state.under_way.values().for_each(|telling| telling.handle.abort());
        *state = State::default();
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Tries until it is delivered, or will not be.
    async fn tell(self: Arc<Self>, key: Key, delivery: Delivery) {
        let kind = delivery.channel.kind();
        let mut problem = String::new();
        for tried in 1..=TRIES {
            let attempt = {
                let _turn = self.turns.take(&key.namespace).await;
                attempt::attempt(&*self.carrier, &delivery).await
            };
            let (said, again_in, early) = match attempt {
                Ok(()) => {
                    self.metrics.notified(kind, "delivered");
                    tracing::debug!(release = %key, to = delivery.to, id = delivery.message.owed.id, "told");
                    return self.settle(&key, &delivery, TellResult::Delivered);
                }
                Err(Failure::Lasting(said)) => {
                    self.metrics.notified(kind, "failed");
                    return self.settle(&key, &delivery, TellResult::GivenUp(said));
                }
                Err(Failure::Passing { said, again_in }) => (said, again_in, false),
                Err(Failure::Lacking(said)) => (said, None, true),
            };
            self.metrics.notified(kind, "retried");
            if early || tried >= SAID_AFTER {
                self.settle(&key, &delivery, TellResult::Failing(said.clone()));
            }
            problem = said;
            let wait = Duration::from_secs(1 << (tried - 1).min(16)).max(again_in.unwrap_or_default());
            if tried < TRIES {
                tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
            }
        }
        self.metrics.notified(kind, "failed");
        self.settle(&key, &delivery, TellResult::GivenUp(format!("{problem} ({TRIES} tries)")));
    }

    /// Notes what came of it, and has the Release looked at.
    fn settle(&self, key: &Key, delivery: &Delivery, result: TellResult) {
        let Delivery { to, message, .. } = delivery;
        let id = message.owed.id.clone();
        let is_over = !matches!(result, TellResult::Failing(_));
        {
            let mut state = self.lock();
            let told = state.told.entry(key.clone()).or_default();
            told.retain(|known| known.id != id || known.to != *to);
            told.push(Told { id, to: to.clone(), result });
            if is_over {
                state.under_way.remove(&(key.clone(), to.clone()));
            }
        }
        (self.wake)(key.clone());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
