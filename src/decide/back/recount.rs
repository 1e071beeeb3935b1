//! Pods that serve, and that the native controllers count for nothing: to be counted before stable is ordered, where others stand that would be let
//! go after them.
//!
//! A ReplicaSet counts its pods as available by a minReadySeconds of its own, which is written only while its template is that of the Deployment: one
//! that was parked last has none. On the way back pods that are not available go first, those of older sets before others, as many as there are more than
//! there must be. Alone, a set loses those that are not Ready; beside a younger one, which can have come where nobody held it, it loses all that serve.

use std::time::Duration;

use jiff::Timestamp;

use super::super::fields::{PARKED_DEADLINE, parked};
use super::super::pace::{self, Limits, Stand};
use super::super::snapshot::PodSet;
use super::GoingBack;

/// How long the native controllers are waited for: they are quick, or stand still.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

impl GoingBack<'_> {
    /// Until when pods of the Deployment's own template are to be counted before stable is ordered, as was decided then; `None`: they need not, or
    /// that has had its time.
    pub fn recounts_until(&self, decided_at: Timestamp) -> Option<Timestamp> {
        let (now, until) = (self.snapshot.now, decided_at + COUNTED_WITHIN);
        let has_time = (decided_at..until).contains(&now);
        (has_time && self.may_be_counted() && self.is_short() && self.has_younger()).then_some(until)
    }

    /// Whether the Deployment is held, on another template than stable: nothing moves while it waits. Ordered once, it is not parked, and its deadline is.
    fn may_be_counted(&self) -> bool {
        let is_recounting =
            self.target.paused && self.target.progress_deadline_seconds != Some(PARKED_DEADLINE);
        !self.is_at_stable() && !self.originals.recreate() && (parked(self.target) || is_recounting)
    }

    /// Whether the native controllers know of fewer pods than serve, and than there must be.
    fn is_short(&self) -> bool {
        let Stand { replicas, stable_ready, .. } = self.stand;
        let limits = Limits::of(&self.originals.strategy, replicas);
        let least = replicas - pace::gone_at_once(self.capacity, limits, replicas);
        let own = self.snapshot.live_pods(|fingerprint| fingerprint == self.target.fingerprint);
        let own = i32::try_from(own.filter(|pod| pod.serves()).count()).unwrap_or(i32::MAX);
        let serve = stable_ready.saturating_add(own);
        own > 0 && stable_ready < least && self.target.available_replicas < serve.min(least)
    }

    /// Whether pods stand that are neither stable nor of the Deployment's own template, and more in all than there are to be.
    fn has_younger(&self) -> bool {
        let Stand { replicas, stable, canary, .. } = self.stand;
        let known = [&self.stable.1.fingerprint, &self.target.fingerprint];
        let is_another = |set: &PodSet| set.replicas > 0 && !known.contains(&&set.fingerprint);
        stable + canary > replicas && self.snapshot.sets.iter().any(is_another)
    }
}
