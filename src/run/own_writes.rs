//! What this process wrote last about each Release, and how long it leaves one alone whose writes fail. It writes nothing, and decides nothing; where
//! what it wrote does not come back for long it reads what there is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::act::Applied;
use crate::decide::snapshot::{Labelled, LastWrite};
use crate::decide::{Key, Snapshot};
use crate::logged::logged;
use crate::watch::again::{NotRead, Reader};
use crate::watch::{ObjectKey, slim};

/// After so long what stands in the place of what was written is taken for what there is; what it was decided on only if the API server says so.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long it may take to ask whether it will ever come back.
const LONGEST_ASK: Duration = Duration::from_secs(2);

/// What we wrote last, by Release: a snapshot older than that is not decided on.
#[derive(Default)]
pub struct OwnWrites(Mutex<HashMap<Key, OwnWrite>>);

#[derive(Default)]
struct OwnWrite {
    /// The Deployment, by its generation.
    target: Option<Written<i64>>,
    /// The Release, by `status.revision`; what that was decided on has a resourceVersion.
    release: Option<Written<String>>,
    /// What template the last write to the Deployment was to leave there.
    last: Option<LastWrite>,
    /// Where it put the label, and when; until that is seen.
    labelled: Option<(Labelled, Instant)>,
    failures: u32,
    /// Since when something else is found in its place.
    waits_since: Option<Instant>,
    /// Since when what it was decided on is found in its place, or since it was last asked what there is.
    before_since: Option<Instant>,
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
    /// What our write was decided on: that has not come back to us yet, however long it takes. Or it is what there is again: a cluster may be
    /// brought back from a backup of right before.
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

/// Whether the API server has nothing else than this snapshot of the Release and its Deployment, of what is written.
async fn is_what_there_is(reader: &Reader, key: &Key, snapshot: &Snapshot) -> Result<bool, NotRead> {
    if let Some(release) = &snapshot.release {
        let now: slim::Release = reader.now(&ObjectKey::from(key)).await?;
        if *now.metadata.uid != *release.uid || *now.metadata.resource_version != *release.resource_version {
            return Ok(false);
        }
    }
    if let Some(target) = &snapshot.target {
        let now: slim::Deployment = reader.now(&ObjectKey::new(&key.namespace, &target.name)).await?;
        if *now.metadata.uid != *target.uid || now.metadata.generation != target.generation {
            return Ok(false);
        }
    }
    Ok(true)
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
        let shown = snapshot.target.as_ref().and_then(|target| target.release_label.as_deref());
        own.labelled = own.labelled.take().filter(|_| shown != Some(key.name.as_str()));
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
            own.before_since.get_or_insert_with(clock::instant);
            return true;
        }
        own.before_since = None;
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
            let before = target.fingerprint.clone();
            let meant = applied.template.clone().unwrap_or_else(|| before.clone());
            own.last = Some(LastWrite { uid: target.uid.clone(), generation: number, before, meant });
            // Any other write comes after it, or takes it off again.
            own.labelled = applied.labelled.then(|| {
                let labelled = Labelled { uid: target.uid.clone(), generation: number };
                (labelled, clock::instant())
            });
        }
        if let (Some(release), Some(number)) = (&snapshot.release, applied.revision) {
            let on = release.resource_version.clone();
            own.release = Some(Written { uid: release.uid.clone(), number, on });
        }
        (own.waits_since, own.before_since) = (None, None);
    }

    pub fn last_write(&self, key: &Key) -> Option<LastWrite> {
        self.lock().get(key)?.last.clone()
    }

    /// Where the label was put, and may not be shown yet. It is not waited for: whatever else is decided goes out as ever.
    pub fn labelled(&self, key: &Key) -> Option<Labelled> {
        let (labelled, at) = self.lock().get(key)?.labelled.clone()?;
        (clock::instant() < at + Labelled::UNSEEN).then_some(labelled)
    }

    /// Where our own last write has not come back for long, asks whether what this snapshot has is what there is. Then the write is forgotten; a watch
    /// that is only slow is waited for.
    pub async fn look_for(&self, reader: &Reader, key: &Key, snapshot: &Snapshot) {
        if !self.is_doubted(key) {
            return;
        }
        // What goes back may be waited for meanwhile.
        let asked = tokio::time::timeout(LONGEST_ASK, is_what_there_is(reader, key, snapshot)).await;
        match asked.unwrap_or(Err(NotRead::Late)) {
            Ok(true) => {
                tracing::warn!(release = %key, "what was written last is not there any more: what it was decided on is");
                return self.forget(key);
            }
            Ok(false) | Err(NotRead::Gone) => {}
            // Others read: it is tried again in the next look.
            Err(NotRead::NoTurn) => return,
            Err(error @ (NotRead::Late | NotRead::Api(_))) => {
                tracing::warn!(release = %key, error = %logged(&error), "it could not be read whether what was written last is there");
            }
        }
        if let Some(own) = self.lock().get_mut(key) {
            own.before_since = Some(clock::instant());
        }
    }

    fn is_doubted(&self, key: &Key) -> bool {
        let since = self.lock().get(key).and_then(|own| own.before_since);
        since.is_some_and(|since| clock::instant() >= since + LONGEST_WAIT)
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
            let OwnWrite { target, release, last, .. } = std::mem::take(own);
            *own = OwnWrite { target, release, last, ..OwnWrite::default() };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, OwnWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
