//! What people said, until it is said on it what came of it.

use serde::{Deserialize, Deserializer};

use super::Document;
use crate::api::{Action, ReleaseActionSpec, ReleaseActionStatus};
use crate::watch::meta::Meta;
use crate::watch::room::{Place, Room};

/// A ReleaseAction, which may be of a kind that this build does not know.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "SentAction")]
pub struct ReleaseAction {
    pub metadata: Meta,
    pub spec: ActionSpec,
    /// It says what came of it.
    pub is_marked: bool,
    place: Option<Place>,
}

impl ReleaseAction {
    /// Takes the room that it needs; false: there is none.
    pub fn takes(&mut self, room: &Room) -> bool {
        self.place = room.place(&self.metadata.key, self.spec.text.text().len());
        self.place.is_some()
    }

    /// All but most of its reason: it is heard with or without room.
    pub fn outline(&mut self) {
        let spec = self.spec.text.read::<ReleaseActionSpec>().ok().map(|mut spec| {
            spec.reason = spec.reason.map(|reason| beginning_of_reason(&reason));
            spec
        });
        let text = spec.and_then(|spec| serde_json::to_string(&spec).ok());
        self.spec.text = text.map(|text| Document(text.into())).unwrap_or_default();
    }
}

/// Characters of a reason that are kept without room.
const BEGINNING_OF_REASON: usize = 64;

fn beginning_of_reason(reason: &str) -> String {
    match reason.char_indices().nth(BEGINNING_OF_REASON) {
        Some((end, _)) => format!("{}... (the rest stands in the ReleaseAction)", &reason[..end]),
        None => reason.to_owned(),
    }
}

#[derive(Deserialize)]
struct SentAction {
    metadata: Meta,
    spec: ActionSpec,
    #[serde(default)]
    status: Document,
}

impl From<SentAction> for ReleaseAction {
    fn from(SentAction { metadata, spec, status }: SentAction) -> Self {
        let status = status.read::<Option<ReleaseActionStatus>>().ok().flatten();
        let is_marked = status.is_some_and(|status| !status.result.is_empty());
        Self { metadata, spec, is_marked, place: None }
    }
}

/// What is said, and the name of the Release by which it is looked up.
#[derive(Clone, Debug)]
pub struct ActionSpec {
    pub release: Box<str>,
    /// `None`: this build does not know what that is.
    pub action: Option<Action>,
    pub text: Document,
}

impl<'de> Deserialize<'de> for ActionSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        struct Named {
            release: Box<str>,
            #[serde(default)]
            action: Document,
        }
        let text = Document::deserialize(deserializer)?;
        let Named { release, action } = text.read().unwrap_or_default();
        Ok(Self { release, action: action.read().ok(), text })
    }
}
