//! What this process wrote last about each Release, and how long it leaves one alone whose writes fail. It writes nothing, and decides nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::act::Applied;
use crate::decide::{Key, Snapshot};

/// After so long what stands in the place of what was written is taken for what there is.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What we wrote last, by Release: a snapshot older than that is not decided on.
#[derive(Default)]
pub struct OwnWrites(Mutex<HashMap<Key, OwnWrite>>);

#[derive(Default)]
struct OwnWrite {
    /// The Deployment, by its generation.
    target: Option<Written<i64>>,
    /// The Release, by `status.revision`; what that was decided on has a resourceVersion.
    release: Option<Written<String>>,
    failures: u32,
    /// Since when something else is found in its place.
    waits_since: Option<Instant>,
    /// Nothing is written before, whatever happens meanwhile; but what goes back is held up only by failures of its own.
    backs_off: Option<BackOff>,
}

/// An object after our last write to it.
struct Written<V> {
    /// One made anew counts from 1 again.
    uid: String,
    number: i64,
    /// The version that it was decided on, right before it: the write would not have gone through on another one.
    on: V,
}

/// What a snapshot has of an object that we wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Our write, or what came after it.
    Newer,
    /// What our write was decided on: that has not come back to us yet, however long it takes.
    Before,
    /// Neither: somebody has taken our status away, or put back what was there once. In time that is what there is.
    PutBack,
}

impl<V: PartialEq> Written<V> {
    fn seen(&self, uid: &str, number: i64, version: &V) -> Seen {
        if self.uid != uid || number >= self.number {
            Seen::Newer
        } else if self.on == *version {
            Seen::Before
        } else {
            Seen::PutBack
        }
    }
}

/// Whether status was decided on a later Deployment than this one: each kind is watched by itself, and another process may have seen more.
fn is_behind(snapshot: &Snapshot) -> bool {
    let (Some(release), Some(target)) = (&snapshot.release, &snapshot.target) else { return false };
    let status = &release.status;
    status.target_uid.as_ref() == Some(&target.uid) && status.target_generation > Some(target.generation)
}

/// Until when nothing is written about a Release, and whether that came of going back.
#[derive(Clone, Copy)]
pub struct BackOff {
    pub until: Instant,
    pub back: bool,
}

impl OwnWrites {
    /// Whether our own last write is not in this snapshot yet, or a Deployment of before what status was decided on, by whoever led then. What is
    /// decided on what was there before would be refused, too; but not a status that says what somebody has written in the Deployment.
    pub fn newer_than(&self, key: &Key, snapshot: &Snapshot) -> bool {
        let mut all = self.lock();
        let is_behind = is_behind(snapshot);
        if !is_behind && !all.contains_key(key) {
            return false;
        }
        let own = all.entry(key.clone()).or_default();
        let release = own.release.as_ref().zip(snapshot.release.as_ref()).map(|(written, release)| {
            written.seen(&release.uid, release.status.revision, &release.resource_version)
        });
        let target = own
            .target
            .as_ref()
            .zip(snapshot.target.as_ref())
            .map(|(written, target)| written.seen(&target.uid, target.generation, &target.generation));
        let seen = [release, target].map(|seen| seen.unwrap_or(Seen::Newer));
        if seen.contains(&Seen::Before) {
            return true;
        }
        if !is_behind && !seen.contains(&Seen::PutBack) {
            own.waits_since = None;
            return false;
        }
        let now = clock::instant();
        let waits = now < *own.waits_since.get_or_insert(now) + LONGEST_WAIT;
        if !waits {
            all.remove(key);
        }
        waits
    }

    pub fn note(&self, key: &Key, snapshot: &Snapshot, applied: &Applied) {
        let mut all = self.lock();
        let own = all.entry(key.clone()).or_default();
        if let (Some(target), Some(number)) = (&snapshot.target, applied.generation) {
            own.target = Some(Written { uid: target.uid.clone(), number, on: target.generation });
        }
        if let (Some(release), Some(number)) = (&snapshot.release, applied.revision) {
            let on = release.resource_version.clone();
            own.release = Some(Written { uid: release.uid.clone(), number, on });
        }
        own.waits_since = None;
    }

    pub fn succeeded(&self, key: &Key) {
        let mut all = self.lock();
        let own = all.entry(key.clone()).or_default();
        (own.failures, own.backs_off) = (0, None);
    }

    pub fn back_off(&self, key: &Key, how: BackOff) {
        self.lock().entry(key.clone()).or_default().backs_off = Some(how);
    }

    pub fn backs_off(&self, key: &Key, back: bool) -> Option<Instant> {
        let known = self.lock().get(key)?.backs_off?;
        (known.until > clock::instant() && (known.back || !back)).then_some(known.until)
    }

    pub fn count_failure(&self, key: &Key) -> u32 {
        let mut all = self.lock();
        let own = all.entry(key.clone()).or_default();
        own.failures += 1;
        own.failures
    }

    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Another process may have led meanwhile: of these Releases, in their order, it is still known what we wrote. What failed then says
    /// nothing of now.
    pub fn lead_again(&self, releases: &[Key]) {
        let mut all = self.lock();
        all.retain(|key, _| releases.binary_search(key).is_ok());
        for own in all.values_mut() {
            let OwnWrite { target, release, .. } = std::mem::take(own);
            *own = OwnWrite { target, release, ..OwnWrite::default() };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, OwnWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
