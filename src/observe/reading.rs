//! What a Release in a run says, read once and understood once: it is looked at with each pod that becomes Ready, and written much less often. Of Releases at rest
//! nothing is kept: there may be thousands. Nor is anything of those for which there is no room: they are read at each look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::status::RevisionStatus;
use crate::api::{ReleaseSpec, ReleaseStatus};
use crate::decide::Key;
use crate::decide::content;
use crate::decide::plan::Meaning;
use crate::decide::snapshot::{ReleaseFacts, Template, Workload};
use crate::watch::ObjectKey;
use crate::watch::extent;
use crate::watch::room::{Place, Room};
use crate::watch::slim::{self, Document};

/// Bytes of texts of which it is kept what they say: read, they take several times as much. A spec counts twice: understood, it takes that once more.
const ROOM: usize = 8 << 20;

/// What was read of Releases in a run.
pub struct Reading {
    known: Mutex<HashMap<Key, Read>>,
    room: Room,
}

impl Default for Reading {
    fn default() -> Self {
        Self { known: Mutex::default(), room: Room::of(ROOM) }
    }
}

/// Each with the text that it was read of.
struct Read {
    spec_text: Document,
    spec: Result<Arc<ReleaseSpec>, String>,
    meaning: Arc<Meaning>,
    status_text: Document,
    status: Arc<ReleaseStatus>,
    /// What would be signed, of this template and that spec.
    content: Option<Content>,
    /// While it is kept.
    place: Option<Place>,
}

struct Content {
    template: Template,
    digest: String,
    _place: Place,
}

impl Reading {
    /// What a Release says.
    pub fn of(&self, key: &Key, release: &slim::Release) -> ReleaseFacts {
        let mut known = self.lock();
        let mut read = match known.remove(key) {
            Some(read) => read.renewed(release),
            None => Read::of(release),
        };
        let facts = ReleaseFacts {
            uid: release.metadata.uid.to_string(),
            generation: release.metadata.generation,
            resource_version: release.metadata.resource_version.to_string(),
            target: release.spec.target.as_deref().map(str::to_owned),
            spec: read.spec.clone(),
            meaning: read.meaning.clone(),
            status: read.status.clone(),
            withheld: None,
        };
        if facts.status.run.is_some() {
            // In the place of the one before, which is free again.
            read.place = None;
            read.place = self.room.place(&release.metadata.key, read.bytes());
            if read.place.is_some() {
                known.insert(key.clone(), read);
            }
        }
        facts
    }

    /// There is no such Release.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// What would be signed of this Deployment now. `None`: no run is under way and none can begin, or nobody can read how it would be released.
    pub fn content(&self, key: &Key, release: &ReleaseFacts, target: &Workload) -> Option<String> {
        let spec = release.spec.as_ref().ok()?;
        let is_new = |stable: &RevisionStatus| stable.fingerprint != target.fingerprint;
        if release.status.run.is_none() && !release.status.stable.as_ref().is_some_and(is_new) {
            return None;
        }
        let mut known = self.lock();
        let Some(read) = known.get_mut(key) else { return Some(content::of(&target.template, spec)) };
        if let Some(before) = read.content.take().filter(|content| content.template == target.template) {
            return Some(read.content.insert(before).digest.clone());
        }
        let digest = content::of(&target.template, spec);
        let template = target.template.clone();
        let place = self.room.place(&ObjectKey::from(key), template.text().len());
        read.content = place.map(|place| Content { template, digest: digest.clone(), _place: place });
        Some(digest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Read>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn of(release: &slim::Release) -> Self {
        let (spec_text, status_text) = (release.spec.text.clone(), release.status.clone());
        let (spec, status) = (spec_of(&spec_text), status_of(&status_text));
        Self { spec_text, spec, meaning: Arc::default(), status_text, status, content: None, place: None }
    }

    fn bytes(&self) -> usize {
        2 * self.spec_text.text().len() + self.status_text.text().len()
    }

    /// The same, but for what has changed.
    fn renewed(mut self, release: &slim::Release) -> Self {
        if self.spec_text != release.spec.text {
            self.spec_text = release.spec.text.clone();
            self.spec = spec_of(&self.spec_text);
            self.meaning = Arc::default();
            self.content = None;
        }
        if self.status_text != release.status {
            self.status_text = release.status.clone();
            self.status = status_of(&self.status_text);
        }
        self
    }
}

fn spec_of(text: &Document) -> Result<Arc<ReleaseSpec>, String> {
    let unread = |error: serde_json::Error| format!("cannot be read: {error}");
    extent::is_read(text.text()).map_err(|too_much| format!("is not read: {too_much}"))?;
    text.read().map(Arc::new).map_err(unread)
}

fn status_of(text: &Document) -> Arc<ReleaseStatus> {
    Arc::new(text.read::<Option<ReleaseStatus>>().ok().flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said_of(more: Value) -> Result<Arc<ReleaseSpec>, String> {
        let mut spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
        spec["preflight"] =
            json!([{"name": "smoke", "job": {"template": {"spec": {"template": {"spec": more}}}}}]);
        spec_of(&serde_json::from_str(&spec.to_string()).unwrap())
    }

    #[test]
    fn a_spec_that_takes_much_room_is_not_read() {
        let large = said_of(json!({"note": "x".repeat(extent::MOST_BYTES)})).unwrap_err();
        assert_eq!(
            large,
            "is not read: it is larger than 640 KiB: keep long texts in a ConfigMap or an image"
        );
        let long = "is not read: its lists and objects have more than 16384 entries: keep long lists in a ConfigMap or an image";
        assert_eq!(said_of(json!({"zeros": vec![0; 20_000]})).unwrap_err(), long);
    }

    /// A Release about this Deployment, whose run has come so far.
    fn in_a_run(key: &Key, target: &str, stage: &str) -> slim::Release {
        let Key { namespace, name } = key;
        let run = json!({"id": "r1", "number": 1, "startedAt": "2026-12-01T12:00:00Z", "originals": {}, "stage": stage});
        let release = json!({
            "metadata": {"name": name, "namespace": namespace, "uid": name},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}, "suspend": target == "another"},
            "status": {"run": run},
        });
        serde_json::from_str(&release.to_string()).unwrap()
    }

    #[test]
    fn what_a_spec_means_is_understood_once_and_anew_when_it_is_another() {
        let (reading, key) = (Reading::default(), Key { namespace: "ns".into(), name: "shop".into() });
        let look = |target: &str, stage: &str| reading.of(&key, &in_a_run(&key, target, stage));
        let (first, later) = (look("shop", "Steps"), look("shop", "Watch"));
        assert_ne!(first.status, later.status);
        assert!(
            std::ptr::eq(first.plan(false).unwrap(), later.plan(false).unwrap()),
            "status has no part in it"
        );
        assert!(std::ptr::eq(first.undo(), later.undo()));
        let steps = |facts: &ReleaseFacts, recreate: bool| facts.plan(recreate).unwrap().steps.len();
        assert_eq!((steps(&later, false), steps(&later, true)), (3, 1), "the Deployment's strategy has");
        let other = look("another", "Watch");
        assert!(other.plan(false).unwrap().suspend && !later.plan(false).unwrap().suspend);
    }

    #[test]
    fn what_releases_in_a_run_say_is_kept_as_far_as_there_is_room() {
        let reading = Reading { known: Mutex::default(), room: Room::of(16384) };
        let look = |namespace: &str, name: &str, note: usize| {
            let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
            let facts = reading.of(&key, &in_a_run(&key, &"x".repeat(note), "Watch"));
            assert!(facts.status.run.is_some() && facts.spec.is_ok(), "it is read all the same");
            reading.lock().contains_key(&key)
        };
        assert!(look("ns", "small", 10));
        assert!(!look("ns", "large", 6000));
        assert!(!look("ns", "small", 6000), "there is none for it any more");
        assert!(look("ns", "small", 3000));
        assert!(!look("ns", "another", 1000), "its namespace has half");
        assert!(look("other", "small", 1000));
        reading.forget(&Key { namespace: "ns".into(), name: "small".into() });
        assert!(look("ns", "another", 1000));
    }
}
