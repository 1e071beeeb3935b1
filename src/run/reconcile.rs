//! One look at one Release: observe → decide → act → report, and what is needed for the next look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{self, Clock};
use super::findings::SharedFindings;
use super::prober::Prober;
use super::queue::Queue;
use super::sampler::Sampler;
use crate::act::{self, ActError, Applied, Writer};
use crate::decide::snapshot::{ProbeAnswer, ProbeResult, ReleaseFacts};
use crate::decide::{self, Decision, Key, Snapshot};
use crate::observe;
use crate::report::Reporter;
use crate::watch::SharedIndex;

/// How long to wait for our own last write to come back to us before looking anyway.
const OWN_WRITE: Duration = Duration::from_millis(250);
/// Longest back-off of a Release whose writes fail.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What a look needs.
pub struct Reconciler {
    pub clock: Clock,
    pub index: SharedIndex,
    pub writer: Writer,
    pub queue: Arc<Queue>,
    pub findings: Arc<SharedFindings>,
    pub sampler: Arc<Sampler>,
    pub prober: Prober,
    pub reporter: Reporter,
    pub own: OwnWrites,
}

/// What we wrote last, by Release: a snapshot older than that is not decided on.
#[derive(Default)]
pub struct OwnWrites(Mutex<HashMap<Key, OwnWrite>>);

#[derive(Default, Clone)]
struct OwnWrite {
    /// The Deployment's uid and generation. One made anew counts from 1 again.
    target: Option<(String, i64)>,
    /// The Release's uid and `status.revision`.
    release: Option<(String, i64)>,
    failures: u32,
}

impl Reconciler {
    /// Looks at one Release.
    pub async fn look(&self, key: &Key) {
        let now = self.clock.now();
        let findings = self.findings.of(key, now);
        let snapshot = observe::observe(&self.index.lock(), key, findings, now);
        if self.own.newer_than(key, &snapshot) {
            self.queue.wake_at(key.clone(), clock::instant() + OWN_WRITE);
            self.queue.done(key, false);
            return;
        }
        let decision = decide::decide(&snapshot);
        let result = act::carry_out(&self.writer, key, snapshot.release.as_ref(), &decision).await;
        self.reporter.wrote(&result);
        match result {
            Ok(applied) => self.done(key, &snapshot, &decision, applied),
            Err(error) => self.failed(key, &error),
        }
        let needs = decide::needs(&snapshot);
        self.prober.ask(key, needs.probes);
        self.sampler.ensure(key, needs.sampling);
        self.findings.prune(key, snapshot.release.as_ref());
        self.queue.done(key, decision.urgent);
    }

    fn done(&self, key: &Key, snapshot: &Snapshot, decision: &Decision, applied: Applied) {
        self.own.note(key, snapshot, &applied);
        for (id, message) in &applied.refused {
            let answer =
                ProbeAnswer { at: snapshot.now, result: ProbeResult::Failed, message: message.clone() };
            self.findings.add_answer(key, id.clone(), answer);
        }
        self.reporter.tell(key, snapshot.release.as_ref(), decision, snapshot.now);
        if snapshot.release.is_none() && snapshot.target.is_none() {
            self.own.forget(key);
            return;
        }
        if let Some(wake) = decision.wake {
            let wait = Duration::try_from(wake - snapshot.now).unwrap_or_default();
            self.queue.wake_at(key.clone(), clock::instant() + wait.max(Duration::from_millis(50)));
        }
        if !applied.refused.is_empty() {
            self.queue.wake(key.clone());
        }
    }

    fn failed(&self, key: &Key, error: &ActError) {
        let failures = self.own.count_failure(key);
        let wait = if error.look_again() && failures < 5 {
            Duration::from_millis(20)
        } else {
            Duration::from_millis(500).saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF)
        };
        if !error.look_again() {
            tracing::warn!(release = %key, %error, retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a write failed");
        }
        self.queue.wake_at(key.clone(), clock::instant() + wait);
    }
}

impl OwnWrites {
    /// Whether our own last write is not in this snapshot yet.
    fn newer_than(&self, key: &Key, snapshot: &Snapshot) -> bool {
        let Some(own) = self.lock().get(key).cloned() else { return false };
        let lags = |own: Option<(String, i64)>, uid: &str, seen: i64| {
            own.is_some_and(|(written, number)| written == uid && seen < number)
        };
        let release = snapshot.release.as_ref();
        let status_lags = release
            .is_some_and(|release: &ReleaseFacts| lags(own.release, &release.uid, release.status.revision));
        let target_lags =
            snapshot.target.as_ref().is_some_and(|target| lags(own.target, &target.uid, target.generation));
        // Somebody may have taken our status away: after a while what was written is no measure any more.
        (status_lags || target_lags) && !self.give_up_waiting(key)
    }

    fn give_up_waiting(&self, key: &Key) -> bool {
        let mut all = self.lock();
        let Some(own) = all.get_mut(key) else { return true };
        own.failures += 1;
        if own.failures > 20 {
            all.remove(key);
            return true;
        }
        false
    }

    fn note(&self, key: &Key, snapshot: &Snapshot, applied: &Applied) {
        let mut all = self.lock();
        let own = all.entry(key.clone()).or_default();
        let target = snapshot.target.as_ref().map(|target| target.uid.clone());
        let release = snapshot.release.as_ref().map(|release| release.uid.clone());
        own.target = target.zip(applied.generation).or(own.target.take());
        own.release = release.zip(applied.revision).or(own.release.take());
        own.failures = 0;
    }

    fn count_failure(&self, key: &Key) -> u32 {
        let mut all = self.lock();
        let own = all.entry(key.clone()).or_default();
        own.failures += 1;
        own.failures
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Another process led meanwhile.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, OwnWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
