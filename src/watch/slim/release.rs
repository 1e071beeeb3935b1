//! Releases. One may be such that this build cannot read its spec.

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Document;
use crate::watch::key::ObjectKey;
use crate::watch::meta::{LONGEST_NAME, Meta, Texts};
use crate::watch::room::{Place, Room};

/// A Release whose spec may not be readable by this build: one bad object must not stop the watch.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "SentRelease")]
pub struct Release {
    pub metadata: Meta,
    pub spec: ReleaseSpec,
    pub status: Document,
    /// Its status says that it has taken up a Deployment.
    pub has_stable: bool,
    /// Its status says that a run is under way.
    pub has_run: bool,
    /// Only what it is about and, of its status, what other Releases look at.
    pub is_outline: bool,
    place: Option<Place>,
}

#[derive(Deserialize)]
struct SentRelease {
    metadata: Meta,
    #[serde(default)]
    spec: ReleaseSpec,
    #[serde(default)]
    status: Document,
}

impl From<SentRelease> for Release {
    fn from(SentRelease { metadata, spec, status }: SentRelease) -> Self {
        let Known { stable, run } = known(&status);
        let (has_stable, has_run) = (stable.is_some(), run.is_some());
        Self { metadata, spec, status, has_stable, has_run, is_outline: false, place: None }
    }
}

/// What of a status is asked for at each event: it is read once.
#[derive(Deserialize, Default)]
struct Known {
    stable: Option<IgnoredAny>,
    run: Option<IgnoredAny>,
}

fn known(status: &Document) -> Known {
    status.read::<Option<Known>>().ok().flatten().unwrap_or_default()
}

impl Release {
    /// The Deployment that it is about.
    pub fn target(&self) -> Option<ObjectKey> {
        Some(self.metadata.key.beside(self.spec.target.as_ref()?))
    }

    /// All that says whose a Deployment is.
    pub fn claim(&self) -> (Option<&str>, Option<Timestamp>, bool) {
        (self.spec.target.as_deref(), self.metadata.created, self.has_stable)
    }

    /// Takes the room that it needs; false: there is none.
    pub fn takes(&mut self, room: &Room) -> bool {
        let labels = self.metadata.labels.as_ref().map_or(0, Texts::bytes);
        let bytes = self.spec.text.text().len() + self.status.text().len() + labels;
        self.place = room.place(&self.metadata.key, bytes);
        self.place.is_some()
    }

    pub fn outline(&mut self) {
        self.is_outline = true;
        self.metadata.labels = None;
        self.spec.text = Document::default();
        self.status = of_others(&self.status).unwrap_or_default();
    }
}

/// What other Releases look at in a status: the locks of its run.
fn of_others(status: &Document) -> Option<Document> {
    #[derive(Deserialize, Serialize)]
    struct Status {
        run: InRun,
    }
    #[derive(Deserialize, Serialize)]
    struct InRun {
        id: Box<RawValue>,
        locks: Box<RawValue>,
    }
    let text = serde_json::to_string(&status.read::<Status>().ok()?).ok()?;
    (text.len() <= LONGEST_LOCKS).then(|| Document(text.into()))
}

/// Bytes of what stands in a status of the locks of its run: at most four names, of 63 characters each.
const LONGEST_LOCKS: usize = 1024;

/// A Release's spec, and the name in `targetRef`, by which it is looked up.
#[derive(Clone, Debug, Default)]
pub struct ReleaseSpec {
    pub target: Option<Box<str>>,
    pub text: Document,
}

impl<'de> Deserialize<'de> for ReleaseSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Target {
            target_ref: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            name: Box<str>,
        }
        let text = Document::deserialize(deserializer)?;
        let target = text.read::<Target>().ok().map(|spec| spec.target_ref.name);
        Ok(Self { target: target.filter(|name| name.len() <= LONGEST_NAME), text })
    }
}
