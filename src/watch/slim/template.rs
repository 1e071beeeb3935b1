//! Pod templates: each with its fingerprint, and read no further than there is room for what it says.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Document;
use crate::decide::images;
use crate::decide::snapshot::Template;
use crate::watch::extent::{self, TooMuch};
use crate::watch::key::ObjectKey;
use crate::watch::meta::Meta;
use crate::watch::room::{Place, Room};

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
    pub(super) fn takes(&self, room: &Room, of: &ObjectKey) -> bool {
        if self.place.get().is_some() {
            return true;
        }
        let images: usize = self.images.iter().map(String::len).sum();
        let Some(place) = room.place(of, self.text.text().len() + images) else { return false };
        // Whoever else has it has taken none meanwhile: the index is in one hand at a time.
        let _known = self.place.set(place);
        true
    }

    pub(super) fn outline(&self) -> Arc<Self> {
        Arc::new(Self::without_text(self.fingerprint.clone()))
    }
}

/// A ControllerRevision that keeps a template.
#[derive(Deserialize, Clone, Debug)]
pub struct StoredTemplate {
    pub metadata: Meta,
    #[serde(deserialize_with = "kept")]
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

/// A template, and whatever else somebody keeps under our label: that has no fingerprint that a template has.
pub(super) fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<KeptTemplate>, D::Error> {
    let text = Document::deserialize(deserializer)?;
    Ok(Arc::new(KeptTemplate::of(text.text())))
}

/// What the template of a ReplicaSet has more than its Deployment's: a label.
const HASH_BYTES: usize = 256;
const HASH_ENTRIES: usize = 4;

pub(super) fn only_its_fingerprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    let text = Document::deserialize(deserializer)?;
    if extent::is_read_with(text.text(), HASH_BYTES, HASH_ENTRIES).is_err() {
        return Ok(fingerprint_of_much(text.text()).into());
    }
    let mut template: Value = text.read().map_err(serde::de::Error::custom)?;
    without_hash(&mut template);
    Ok(fingerprint_of(Template::new(&template).text()).into())
}

/// A fingerprint of a pod template: the same for a Deployment and for the ReplicaSet that the native controller makes of it, whose
/// template carries a `pod-template-hash` besides. SHA-256 of the JSON with sorted keys, 40 hex digits
/// of it: what has the fingerprint of stable is taken for stable, so nobody may be able to look for two templates with the same.
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

/// The first 40 hex digits.
fn shown(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = digest.iter().take(20).flat_map(|byte| [byte >> 4, byte & 15]);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::watch::slim::{Deployment, ReplicaSet};

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
    fn nobody_can_look_for_two_templates_with_the_same_fingerprint() {
        // Half of the digits' bits is what it takes to look for: 2^80 templates.
        let template = json!({"spec": {"b": 1}});
        assert_eq!([fingerprint(&template).len(), fingerprint_of_much("{}").len()], [40, 40]);
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
}
