//! Slim views of cluster objects: only what is read is deserialised and kept, and what is read seldom stays text.
//!
//! One object that cannot be read must not stop the watch of all others, so whatever users write freely (a spec, a template that is
//! kept) is taken as it comes, however deep it is, and read where it is looked at. Of who manages which field only what is ours is
//! looked for, and no deeper than the names of a spec's fields.
//!
//! However large an object is, its view takes some kilobytes, but for texts: those of a Release, what people said, and templates. They take room (see [`super::room`]);
//! where there is none, an outline stands for the object, which says what it concerns, and what it was when it is told from others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::extent::{self, TooMuch};
use super::key::ObjectKey;
use super::meta::{Known, LONGEST_NAME, Meta, Texts};
use super::room::{Place, Room};
use crate::api::{Action, FIELD_MANAGER, ReleaseActionSpec, ReleaseActionStatus};
use crate::decide::images;
use crate::decide::snapshot::Template;

/// A part of an object, kept as JSON text: a tree of maps takes ten times the room, and is needed only for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Box<str>);

impl Document {
    /// What it says.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Document {
    fn default() -> Self {
        Self("null".into())
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A Release whose spec may not be readable by this build: one bad object must not stop the watch.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "SentRelease")]
pub struct Release {
    pub metadata: Meta,
    pub spec: ReleaseSpec,
    pub status: Document,
    /// Its status says that it has taken up a Deployment.
    pub has_stable: bool,
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
        let has_stable = has_stable(&status);
        Self { metadata, spec, status, has_stable, is_outline: false, place: None }
    }
}

/// Others ask for it at each event: it is read once.
fn has_stable(status: &Document) -> bool {
    #[derive(Deserialize)]
    struct Status {
        stable: Option<IgnoredAny>,
    }
    let status = status.read::<Option<Status>>().ok().flatten();
    status.is_some_and(|status| status.stable.is_some())
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

/// A Freeze, which may say what this build does not know.
#[derive(Deserialize, Clone, Debug)]
pub struct Freeze {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: Document,
}

/// A namespace: its labels.
#[derive(Deserialize, Clone, Debug)]
pub struct Namespace {
    #[serde(deserialize_with = "namespace_metadata")]
    pub metadata: Meta,
}

/// A Deployment.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "ManagedDeployment")]
pub struct Deployment {
    pub metadata: Meta,
    /// Which of `metadata.managedFields` says that we manage fields of its spec, other than `paused`, and that others manage some too.
    pub managed_by_us: Option<usize>,
    pub spec: DeploymentSpec,
    pub status: DeploymentStatus,
    /// Neither its annotations, nor its strategy, nor what its template says.
    pub is_outline: bool,
}

/// Bytes of a Deployment's strategy and annotations that take no room: they are short, unless somebody wants them not to be.
const BESIDE: usize = 2048;

impl Deployment {
    /// Takes the room that it needs; false: there is none.
    pub fn takes(&self, room: &Room) -> bool {
        let annotations = self.metadata.annotations.as_ref().map_or(0, Texts::bytes);
        let beside = annotations + self.spec.strategy.text().len();
        beside <= BESIDE && self.spec.template.takes(room, &self.metadata.key)
    }

    pub fn outline(&mut self) {
        self.is_outline = true;
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.keep(&[]);
        }
        self.spec.strategy = Document::default();
        self.spec.template = self.spec.template.outline();
    }
}

#[derive(Deserialize)]
struct ManagedDeployment {
    metadata: Known<Vec<Manager>>,
    spec: DeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

impl From<ManagedDeployment> for Deployment {
    fn from(read: ManagedDeployment) -> Self {
        let ManagedDeployment { mut metadata, spec, status } = read;
        let managers = metadata.managed_fields.take().unwrap_or_default();
        let ours = |manager: &Manager| {
            manager.manager == FIELD_MANAGER && manager.subresource.is_none() && manager.fields_v1.paces
        };
        // The API server takes a list without any for one that was forgotten.
        let managed_by_us = managers.iter().position(ours).filter(|_| managers.len() > 1);
        Self { metadata: metadata.into(), managed_by_us, spec, status, is_outline: false }
    }
}

/// Who manages fields.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Manager {
    manager: String,
    subresource: Option<String>,
    fields_v1: Fields,
}

/// Which fields.
#[derive(Default)]
struct Fields {
    /// Some of a spec, other than `paused`.
    paces: bool,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Named {
            #[serde(rename = "f:spec")]
            spec: Names,
        }
        #[derive(Default)]
        struct Names(bool);
        impl<'de> Deserialize<'de> for Names {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(Self(false))
            }
        }
        impl<'de> Visitor<'de> for Names {
            type Value = Self;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("names of fields")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut names: A) -> Result<Self, A::Error> {
                while let Some((name, IgnoredAny)) = names.next_entry::<String, IgnoredAny>()? {
                    self.0 |= !matches!(name.as_str(), "." | "f:paused");
                }
                Ok(self)
            }
        }
        Named::deserialize(deserializer).map(|named| Self { paces: named.spec.0 })
    }
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    #[serde(default)]
    pub replicas: Option<i32>,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub min_ready_seconds: i32,
    #[serde(default)]
    pub progress_deadline_seconds: Option<i32>,
    #[serde(default)]
    pub strategy: Document,
    #[serde(deserialize_with = "template")]
    pub template: Arc<KeptTemplate>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    pub observed_generation: i64,
    pub replicas: i32,
    pub updated_replicas: i32,
    pub available_replicas: i32,
}

/// A template with its fingerprint. A Deployment at rest and the ControllerRevision of its template have one between them.
#[derive(Debug)]
pub struct KeptTemplate {
    pub fingerprint: Box<str>,
    pub images: Box<[String]>,
    pub text: Template,
    /// Why it is not read: there is no text then.
    pub too_much: Option<TooMuch>,
    /// Where its text is. All who have it have one.
    place: OnceLock<Place>,
}

impl PartialEq for KeptTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.text == other.text
    }
}

impl KeptTemplate {
    fn of(text: &str) -> Self {
        if let Err(too_much) = extent::is_read(text) {
            return Self { too_much: Some(too_much), ..Self::without_text(fingerprint_of_much(text)) };
        }
        let mut value: Value = serde_json::from_str(text).unwrap_or_default();
        without_hash(&mut value);
        let images = images::of_template(&value).into();
        let text = Template::new(&value);
        let fingerprint = fingerprint_of(text.text()).into();
        Self { fingerprint, images, text, too_much: None, place: OnceLock::new() }
    }

    fn without_text(fingerprint: impl Into<Box<str>>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            images: Box::default(),
            text: Template::new(&Value::Null),
            too_much: None,
            place: OnceLock::new(),
        }
    }

    /// Takes the room that it needs; false: there is none.
    fn takes(&self, room: &Room, of: &ObjectKey) -> bool {
        if self.place.get().is_some() {
            return true;
        }
        let images: usize = self.images.iter().map(String::len).sum();
        let Some(place) = room.place(of, self.text.text().len() + images) else { return false };
        // Whoever else has it has taken none meanwhile: the index is in one hand at a time.
        let _known = self.place.set(place);
        true
    }

    fn outline(&self) -> Arc<Self> {
        Arc::new(Self::without_text(self.fingerprint.clone()))
    }
}

/// A ReplicaSet: its template only as a fingerprint.
#[derive(Deserialize, Clone, Debug)]
pub struct ReplicaSet {
    pub metadata: Meta,
    pub spec: ReplicaSetSpec,
    #[serde(default)]
    pub status: ReplicaSetStatus,
}

#[derive(Deserialize, Clone, Debug)]
pub struct ReplicaSetSpec {
    #[serde(default)]
    pub replicas: Option<i32>,
    #[serde(rename = "template", deserialize_with = "template_fingerprint")]
    pub fingerprint: Box<str>,
}

/// What its controller has counted.
#[derive(Deserialize, Clone, Copy, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    pub observed_generation: i64,
    pub ready_replicas: i32,
}

/// A pod.
#[derive(Deserialize, Clone, Debug)]
pub struct Pod {
    pub metadata: Meta,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: PodPhase,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<Box<str>>,
    #[serde(deserialize_with = "conditions")]
    pub conditions: Box<[PodCondition]>,
    #[serde(deserialize_with = "containers")]
    pub container_statuses: Box<[ContainerStatus]>,
    #[serde(deserialize_with = "containers")]
    pub init_container_statuses: Box<[ContainerStatus]>,
}

/// How far a pod has come.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    Succeeded,
    Failed,
    /// It may yet run, or does.
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    #[serde(rename = "type")]
    pub is: PodIs,
    pub status: Holds,
    #[serde(default, deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    /// There is one only where something is not as it should be.
    #[serde(default, deserialize_with = "beginning")]
    pub message: Option<Box<str>>,
    #[serde(default, deserialize_with = "time")]
    pub last_transition_time: Option<Timestamp>,
}

/// Conditions of pods that are read.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodIs {
    Ready,
    ContainersReady,
    PodScheduled,
    #[serde(other)]
    Other,
}

/// Whether a condition holds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    True,
    False,
    #[serde(other)]
    Unknown,
}

impl PodStatus {
    /// What is said of it, if something is.
    pub fn condition(&self, is: PodIs) -> Option<&PodCondition> {
        self.conditions.iter().find(|condition| condition.is == is)
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub restart_count: i32,
    pub state: ContainerState,
    pub last_state: ContainerState,
}

/// Most containers run: what there is to say of others is kept apart.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    pub waiting: Option<Box<Waiting>>,
    pub running: Option<Running>,
    pub terminated: Option<Box<Terminated>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Waiting {
    #[serde(deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    /// What its node says of it, as far as is kept: a message that names an image is as long as its name.
    #[serde(deserialize_with = "longer_beginning")]
    pub message: Option<Box<str>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    #[serde(deserialize_with = "time")]
    pub started_at: Option<Timestamp>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    #[serde(deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    pub exit_code: i32,
    /// What the container said of its end, as far as is kept.
    #[serde(deserialize_with = "beginning")]
    pub message: Option<Box<str>>,
}

/// A ControllerRevision that keeps a template.
#[derive(Deserialize, Clone, Debug)]
pub struct StoredTemplate {
    pub metadata: Meta,
    #[serde(deserialize_with = "template")]
    pub data: Arc<KeptTemplate>,
    /// Not what its template says.
    #[serde(skip)]
    pub is_outline: bool,
}

impl StoredTemplate {
    /// Takes the room that it needs; false: there is none.
    pub fn takes(&self, room: &Room) -> bool {
        self.data.takes(room, &self.metadata.key)
    }

    pub fn outline(&mut self) {
        self.is_outline = true;
        self.data = self.data.outline();
    }
}

/// A Job of a check or a migration.
#[derive(Deserialize, Clone, Debug)]
pub struct Job {
    pub metadata: Meta,
    #[serde(default)]
    pub status: JobStatus,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct JobStatus {
    pub conditions: Vec<JobCondition>,
}

#[derive(Deserialize, Clone, Debug)]
pub struct JobCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

/// A fingerprint of a pod template: the same for a Deployment and for the ReplicaSet that the native controller makes of it, whose
/// template carries a `pod-template-hash` besides. SHA-256 of the JSON with sorted keys, 16 hex digits.
pub fn fingerprint(template: &Value) -> String {
    let mut template = template.clone();
    without_hash(&mut template);
    fingerprint_of(Template::new(&template).text())
}

/// Of the text of a template without a hash.
fn fingerprint_of(text: &str) -> String {
    shown(&Sha256::digest(text))
}

/// Of a template that is too large to be read: what it takes to tell it from others. The API server writes the template of a Deployment and that of its
/// ReplicaSet in the same way, so of all but the labels the text will do.
fn fingerprint_of_much(text: &str) -> String {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        metadata: BTreeMap<String, &'a RawValue>,
        #[serde(borrow)]
        spec: &'a RawValue,
    }
    let Ok(Parts { mut metadata, spec }) = serde_json::from_str::<Parts<'_>>(text) else {
        return fingerprint_of(text);
    };
    metadata.remove("creationTimestamp");
    let labels = metadata.remove("labels").map(RawValue::get).unwrap_or_default();
    let mut labels: BTreeMap<String, &RawValue> = serde_json::from_str(labels).unwrap_or_default();
    labels.remove("pod-template-hash");
    let mut digest = Sha256::new();
    for (name, value) in labels.iter().chain(&metadata) {
        for part in [name.as_str(), value.get()] {
            // No two texts run into each other: neither has a zero in it.
            digest.update(part);
            digest.update([0_u8]);
        }
    }
    digest.update(spec.get());
    shown(&digest.finalize())
}

/// The first 16 hex digits.
fn shown(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = digest.iter().take(8).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn without_hash(template: &mut Value) {
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("creationTimestamp");
    let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) else { return };
    labels.remove("pod-template-hash");
    if labels.is_empty() {
        metadata.remove("labels");
    }
}

/// A namespace is kept as if it lay in itself: so each has a listing of its own, where the operator sees some only.
fn namespace_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Meta, D::Error> {
    let metadata = Meta::deserialize(deserializer)?;
    let name = metadata.key.name();
    Ok(Meta { key: ObjectKey::new(name, name), ..metadata })
}

/// Those that are read.
fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[PodCondition]>, D::Error> {
    let all = Vec::<PodCondition>::deserialize(deserializer)?.into_iter();
    Ok(all.filter(|condition| condition.is != PodIs::Other).take(MOST_CONDITIONS).collect())
}

/// Each is there once.
const MOST_CONDITIONS: usize = 8;
/// Containers of a pod that are looked at.
const MOST_CONTAINERS: usize = 64;
/// Of these, those of which it is kept what is said of them.
const TOLD_OF: usize = 8;

fn containers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[ContainerStatus]>, D::Error> {
    let mut all = Option::<Vec<ContainerStatus>>::deserialize(deserializer)?.unwrap_or_default();
    all.truncate(MOST_CONTAINERS);
    for ContainerStatus { state, last_state, restart_count: _ } in all.iter_mut().skip(TOLD_OF) {
        for ContainerState { waiting, terminated, running: _ } in [state, last_state] {
            if let Some(waiting) = waiting {
                waiting.message = None;
            }
            if let Some(terminated) = terminated {
                terminated.message = None;
            }
        }
    }
    Ok(all.into())
}

/// A moment that somebody wrote into a status: one that is none is left out.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Characters of a text that a container may write as it likes.
const BEGINNING: usize = 256;

fn beginning<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    first::<BEGINNING, D>(deserializer)
}

fn longer_beginning<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    first::<{ 2 * BEGINNING }, D>(deserializer)
}

fn first<'de, const CHARACTERS: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<str>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| text.chars().take(CHARACTERS).collect()))
}

/// A template, and whatever else somebody keeps under our label: that has no fingerprint that a template has.
fn template<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<KeptTemplate>, D::Error> {
    let text = Document::deserialize(deserializer)?;
    Ok(Arc::new(KeptTemplate::of(text.text())))
}

/// What the template of a ReplicaSet has more than its Deployment's: a label.
const HASH_BYTES: usize = 256;
const HASH_ENTRIES: usize = 4;

fn template_fingerprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    let text = Document::deserialize(deserializer)?;
    if extent::is_read_with(text.text(), HASH_BYTES, HASH_ENTRIES).is_err() {
        return Ok(fingerprint_of_much(text.text()).into());
    }
    let mut template: Value = text.read().map_err(serde::de::Error::custom)?;
    without_hash(&mut template);
    Ok(fingerprint_of(Template::new(&template).text()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_replica_sets_template_is_its_deployments_whatever_the_order_of_keys() {
        let deployment: Value =
            serde_json::from_str(r#"{"spec":{"b":1,"a":2},"metadata":{"labels":{"app":"x"}}}"#).unwrap();
        let set: Value = serde_json::from_str(
            r#"{"metadata":{"labels":{"pod-template-hash":"abc","app":"x"}},"spec":{"a":2,"b":1}}"#,
        )
        .unwrap();
        assert_eq!(fingerprint(&deployment), fingerprint(&set));
        assert_ne!(fingerprint(&deployment), fingerprint(&json!({"spec": {"b": 1}})));
    }

    #[test]
    fn a_template_that_is_too_large_is_told_from_others_and_is_its_replica_sets() {
        let template = |version: &str, labels: Value| {
            let zeros = vec![0; 20_000];
            json!({"metadata": {"labels": labels, "annotations": {"a": "b"}}, "spec": {"version": version, "zeros": zeros}})
        };
        let deployment = |template: Value| {
            let deployment = json!({"metadata": {"name": "shop"}, "spec": {"template": template}});
            serde_json::from_str::<Deployment>(&deployment.to_string()).unwrap().spec.template
        };
        let set = |template: Value| {
            let set = json!({"metadata": {"name": "shop-1"}, "spec": {"template": template}});
            serde_json::from_str::<ReplicaSet>(&set.to_string()).unwrap().spec.fingerprint
        };
        let own = deployment(template("v1", json!({"app": "shop"})));
        assert_eq!((own.too_much, own.text.text()), (Some(TooMuch::Entries), "null"));
        assert_eq!(own.fingerprint, set(template("v1", json!({"app": "shop", "pod-template-hash": "abc"}))));
        assert_ne!(own.fingerprint, set(template("v2", json!({"app": "shop", "pod-template-hash": "abc"}))));
        assert_ne!(own.fingerprint, set(template("v1", json!({"app": "cart", "pod-template-hash": "abc"}))));
        let none = deployment(json!("x".repeat(extent::MOST_BYTES)));
        assert_eq!(none.too_much, Some(TooMuch::Bytes), "whatever it is");
    }

    #[test]
    fn a_pods_view_is_small_whatever_its_node_says() {
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "x".repeat(1000)}});
        let status = json!({"restartCount": 1, "state": state, "lastState": {"terminated": {"exitCode": 1, "message": "x".repeat(1000)}}});
        let condition = json!({"type": "Ready", "status": "False", "message": "x".repeat(1000)});
        let pod = json!({
            "metadata": {"name": "shop-1"},
            "status": {"conditions": vec![condition; 100], "containerStatuses": vec![status; 1000], "initContainerStatuses": null},
        });
        let PodStatus { conditions, container_statuses, init_container_statuses, .. } =
            serde_json::from_str::<Pod>(&pod.to_string()).unwrap().status;
        assert_eq!((conditions.len(), init_container_statuses.len()), (MOST_CONDITIONS, 0));
        assert_eq!(container_statuses.len(), MOST_CONTAINERS);
        let said: Vec<usize> = container_statuses
            .iter()
            .map(|status| {
                let waiting = status.state.waiting.as_ref().and_then(|waiting| waiting.message.as_deref());
                let ended = status.last_state.terminated.as_ref().and_then(|end| end.message.as_deref());
                waiting.map_or(0, str::len) + ended.map_or(0, str::len)
            })
            .collect();
        assert_eq!(said[..TOLD_OF], [3 * BEGINNING; TOLD_OF]);
        assert!(said[TOLD_OF..].iter().all(|said| *said == 0), "{said:?}");
    }

    #[test]
    fn what_we_manage_of_a_deployment_is_found_however_deep_it_is() {
        let deep = format!("{}{{}}{}", r#"{"f:x":"#.repeat(500), "}".repeat(500));
        let owner = format!(
            r#"{{"manager":"owner","operation":"Apply","fieldsV1":{{"f:spec":{{"f:template":{deep}}}}}}}"#
        );
        let status =
            r#"{"manager":"tidegate","subresource":"status","fieldsV1":{"f:spec":{"f:strategy":{}}}}"#;
        let ours = |fields: &str| format!(r#"{{"manager":"tidegate","fieldsV1":{fields}}}"#);
        let paces =
            ours(&format!(r#"{{"f:metadata":{{}},"f:spec":{{"f:paused":{{}},"f:strategy":{deep}}}}}"#));
        let read = |managers: &[&str]| {
            let text = format!(
                r#"{{"metadata":{{"name":"shop","managedFields":[{}]}},"spec":{{"template":{{}}}}}}"#,
                managers.join(",")
            );
            serde_json::from_str::<Deployment>(&text).unwrap().managed_by_us
        };
        assert_eq!(read(&[&owner, status, &paces]), Some(2));
        assert_eq!(read(&[&owner, status]), None);
        assert_eq!(read(&[&owner, &ours(r#"{"f:spec":{"f:paused":{}}}"#)]), None, "a hold is ours");
        assert_eq!(read(&[&owner, &ours(r#"{"f:metadata":{"f:labels":{}}}"#)]), None);
        assert_eq!(read(&[&paces]), None, "a list without any is taken for one that was forgotten");
        let none = r#"{"metadata":{"name":"shop"},"spec":{"template":{}}}"#;
        assert_eq!(serde_json::from_str::<Deployment>(none).unwrap().managed_by_us, None);
    }
}
