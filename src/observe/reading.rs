//! What a Release in a run says, read once: it is looked at with each pod that becomes Ready, and written much less often. Of Releases at rest
//! nothing is kept: there may be thousands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use crate::api::status::RevisionStatus;
use crate::api::{ReleaseSpec, ReleaseStatus};
use crate::decide::Key;
use crate::decide::content;
use crate::decide::snapshot::{ReleaseFacts, Template, Workload};
use crate::watch::slim::{self, Document};

/// Bytes of a spec: more than one has in which everything is as large as its schema lets it be. Read, it takes several times as much, and of all
/// Releases in a run it is kept.
const LARGEST: usize = 640 << 10;
/// Entries of its lists and objects: each takes a hundred bytes, however short it is.
const MOST_ENTRIES: usize = 16_384;

/// What was read of Releases in a run.
#[derive(Default)]
pub struct Reading(Mutex<HashMap<Key, Read>>);

/// Each with the text that it was read of.
struct Read {
    spec_text: Document,
    spec: Result<Arc<ReleaseSpec>, String>,
    status_text: Document,
    status: Arc<ReleaseStatus>,
    /// What would be signed, of this template and that spec.
    content: Option<(Template, String)>,
}

impl Reading {
    /// What a Release says.
    pub fn of(&self, key: &Key, release: &slim::Release) -> ReleaseFacts {
        let mut known = self.lock();
        let read = match known.remove(key) {
            Some(read) => read.renewed(release),
            None => Read::of(release),
        };
        let facts = ReleaseFacts {
            uid: release.metadata.uid.to_string(),
            generation: release.metadata.generation,
            resource_version: release.metadata.resource_version.to_string(),
            spec: read.spec.clone(),
            status: read.status.clone(),
        };
        if facts.status.run.is_some() {
            known.insert(key.clone(), read);
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
        let now = || content::of(&target.template, spec);
        let mut known = self.lock();
        let Some(read) = known.get_mut(key) else { return Some(now()) };
        let before = read.content.take().filter(|(template, _)| *template == target.template);
        let (_, content) = read.content.insert(before.unwrap_or_else(|| (target.template.clone(), now())));
        Some(content.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn of(release: &slim::Release) -> Self {
        let (spec_text, status_text) = (release.spec.text.clone(), release.status.clone());
        let (spec, status) = (spec_of(&spec_text), status_of(&status_text));
        Self { spec_text, spec, status_text, status, content: None }
    }

    /// The same, but for what has changed.
    fn renewed(mut self, release: &slim::Release) -> Self {
        if self.spec_text != release.spec.text {
            self.spec_text = release.spec.text.clone();
            self.spec = spec_of(&self.spec_text);
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
    let written: Box<RawValue> = text.read().map_err(unread)?;
    if written.get().len() > LARGEST {
        let most = LARGEST >> 10;
        return Err(format!("it is larger than {most} KiB: keep long texts in a ConfigMap or an image"));
    }
    if entries(written.get()) > MOST_ENTRIES {
        return Err(format!(
            "its lists and objects have more than {MOST_ENTRIES} entries: keep long lists in a ConfigMap or an image"
        ));
    }
    text.read().map(Arc::new).map_err(unread)
}

/// How many entries the lists and objects of a JSON text have, or some more: each stands behind a comma, or is the first of its list or object.
fn entries(text: &str) -> usize {
    let (mut entries, mut quoted, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => entries += 1,
            _ => {}
        }
    }
    entries
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
        let large = said_of(json!({"note": "x".repeat(LARGEST)})).unwrap_err();
        assert_eq!(large, "it is larger than 640 KiB: keep long texts in a ConfigMap or an image");
        let long =
            "its lists and objects have more than 16384 entries: keep long lists in a ConfigMap or an image";
        assert_eq!(said_of(json!({"zeros": vec![0; 20_000]})).unwrap_err(), long);
        // Neither is one whose lists have one entry each.
        let nested = vec![json!([[[[[0]]]]]); 4_000];
        assert_eq!(said_of(json!({"nested": nested})).unwrap_err(), long);
    }

    #[test]
    fn what_stands_in_a_text_is_no_entry() {
        assert_eq!(entries(r#"{"a": "b, [\", {c", "d": [1, 2, []]}"#), 6);
        assert_eq!(entries("null"), 0);
    }
}
