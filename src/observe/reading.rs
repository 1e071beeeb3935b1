//! What a Release in a run says, read once: it is looked at with each pod that becomes Ready, and written much less often. Of Releases at rest
//! nothing is kept: there may be thousands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::status::RevisionStatus;
use crate::api::{ReleaseSpec, ReleaseStatus};
use crate::decide::Key;
use crate::decide::content;
use crate::decide::snapshot::{ReleaseFacts, Template, Workload};
use crate::watch::slim::{self, Document};

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
    text.read().map(Arc::new).map_err(|error| format!("cannot be read: {error}"))
}

fn status_of(text: &Document) -> Arc<ReleaseStatus> {
    Arc::new(text.read::<Option<ReleaseStatus>>().ok().flatten().unwrap_or_default())
}
