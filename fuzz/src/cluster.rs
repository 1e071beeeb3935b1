//! What objects of a cluster say, as text that comes over a watch.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::{Value, json};
use tidegate::api::{self, Authors, CHANGED_BY, ON_DELETE, ORIGINALS, RELEASE_LABEL, STABLE};
use tidegate::cli::hand_back;
use tidegate::decide::fields::Originals;
use tidegate::watch::index::{self, Index, Indexed};
use tidegate::watch::slim;

use super::{a_world, index_of, look, split};

/// Places of worlds: one in mid-run, and one without a run whose Deployment is held.
pub(super) const IN_MID_RUN: usize = 8;
const HELD: usize = 5;

/// What annotations of a Deployment say: who has changed its template, what its owner's fields were, which template is stable, whether it is held, and what
/// becomes of it without its Release.
pub fn annotations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(authors) = Authors::read(text) {
        assert!(authors.text().chars().count() <= 16 * 513 + 1, "{authors}");
        assert_eq!(Authors::read(authors.text()).as_ref(), Some(&authors), "as it was written");
        assert_eq!(Authors::together(Some(&authors), Some(&authors)).as_ref(), Some(&authors));
        let mut names = text.split('\n').filter(|name| !name.is_empty());
        assert!(names.all(|name| authors.may_include(name)), "nobody is given up: {authors}");
        assert!(authors.last().is_none_or(|last| authors.include(last)), "{authors}");
    }
    match Originals::parse(text) {
        Ok(originals) => {
            assert_eq!(Originals::from_value(&originals.to_value()).as_ref(), Some(&originals));
            let again =
                Originals::parse(&originals.to_value().to_string()).expect("what was written is read");
            assert_eq!((again.paused, again.min_ready()), (originals.paused, originals.min_ready()));
            assert_eq!((again.deadline(), again.recreate()), (originals.deadline(), originals.recreate()));
        }
        Err(lost) => assert!(lost.to_string().chars().count() < 300, "{lost}"),
    }
    for place in [IN_MID_RUN, HELD] {
        look(&index_of(&annotated(a_world(place), &[ORIGINALS, CHANGED_BY], text)));
        look(&index_of(&annotated(a_world(place), &[STABLE, api::HELD], text)));
    }
    look(&index_of(&annotated(a_world(IN_MID_RUN), &[ON_DELETE], text)));
    for names in [&[ON_DELETE][..], &[STABLE], &[ORIGINALS, api::HELD]] {
        look(&index_of(&annotated(without_release(a_world(IN_MID_RUN)), names, text)));
    }
}

/// A world in which these annotations of the Deployment say this.
fn annotated(mut world: Value, names: &[&str], text: &str) -> Value {
    for name in names {
        world["deployments"][0]["metadata"]["annotations"][*name] = json!(text);
    }
    world
}

/// The same world, whose Release is gone: it is looked at by the name of `gone`.
fn without_release(mut world: Value) -> Value {
    world["releases"] = json!([]);
    for kind in ["deployments", "templates"] {
        for object in world[kind].as_array_mut().into_iter().flatten() {
            object["metadata"]["labels"][RELEASE_LABEL] = json!("gone");
        }
    }
    world
}

/// Fields of `spec` that a run owns.
const OWNED: [&str; 4] = ["minReadySeconds", "paused", "progressDeadlineSeconds", "strategy"];

/// The originals on a Deployment that is in a run, a line break, and its other annotations as JSON: what `hand-back --without-operator` writes. Only what
/// a run owns, as it is said there, and nothing where that cannot be read.
pub fn cli_hand_back(data: &[u8]) {
    let (originals, others) = split(data);
    let Ok(text) = std::str::from_utf8(originals) else { return };
    let mut annotations: BTreeMap<String, String> = serde_json::from_slice(others).unwrap_or_default();
    // As the API server lets names through.
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    annotations.retain(|name, _| name.bytes().all(is_of_a_name));
    if !text.is_empty() {
        annotations.insert(ORIGINALS.to_owned(), text.to_owned());
    }
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "checkout", "namespace": "shop", "resourceVersion": "41", "labels": {RELEASE_LABEL: "checkout"},
            "annotations": annotations,
        },
        "spec": {"replicas": 3, "minReadySeconds": 2_147_483_646, "paused": true},
    });
    let deployment: DynamicObject = serde_json::from_value(deployment).expect("a Deployment");
    let said: Value =
        annotations.get(ORIGINALS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let planned = match hand_back::plan(&deployment, "checkout", None) {
        Ok(planned) => planned,
        Err(error) => return assert!(!said.is_object() && !error.to_string().is_empty(), "{error}"),
    };
    let is_held = annotations.get(api::HELD).is_some_and(|held| held == "true");
    assert!(said.is_object() || (is_held && !annotations.contains_key(ORIGINALS)), "nothing is guessed");
    let patch = planned.patch.as_object().expect("a merge patch");
    assert!(patch.keys().all(|part| ["metadata", "spec"].contains(&part.as_str())), "{patch:?}");
    let metadata = &patch["metadata"];
    let taken_off = metadata["annotations"].as_object().expect("annotations");
    let is_taken_off = |(name, value): (&String, &Value)| {
        name.starts_with("tidegate.dev/") && value.is_null() && annotations.contains_key(name)
    };
    assert!(taken_off.iter().all(is_taken_off), "{taken_off:?}");
    let label = json!({RELEASE_LABEL: null});
    assert_eq!((&metadata["labels"], &metadata["resourceVersion"]), (&label, &json!("41")));
    let spec = patch.get("spec").and_then(Value::as_object);
    for (field, value) in spec.into_iter().flatten() {
        assert!(OWNED.contains(&field.as_str()), "no run owns {field}");
        assert_eq!(*value, said[field], "{field}");
    }
    for line in &planned.lines {
        assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
    }
}

/// A kind, a line break, and an object of it as a watch sends it to those that have a run under way.
pub fn watched(data: &[u8]) {
    let (kind, text) = split(data);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let index = match kind {
        b"Deployment" => with::<slim::Deployment>(text),
        b"ReplicaSet" => with::<slim::ReplicaSet>(text),
        b"Pod" => with::<slim::Pod>(text),
        b"Job" => with::<slim::Job>(text),
        b"ControllerRevision" => with::<slim::StoredTemplate>(text),
        b"ReleaseAction" => with::<slim::ReleaseAction>(text),
        b"Freeze" => with::<slim::Freeze>(text),
        b"Namespace" => with::<slim::Namespace>(text),
        _ => None,
    };
    let of_both =
        (serde_json::from_str::<slim::Deployment>(text), serde_json::from_str::<slim::ReplicaSet>(text));
    if let (Ok(deployment), Ok(set)) = of_both {
        assert_eq!(deployment.spec.template.fingerprint, set.spec.fingerprint, "of one template");
    }
    let Some(index) = index else { return };
    index.pods.iter().for_each(|(_, pod)| small(pod));
    look(&index);
}

/// A cluster in mid-run with one object more, or another in the place of one; `None`: it cannot be read.
fn with<T: Indexed>(text: &str) -> Option<Index> {
    let object = serde_json::from_str::<T>(text).ok()?;
    assert!(object.metadata().owners.len() <= 8, "{object:?}");
    let mut index = index_of(&a_world(IN_MID_RUN));
    index::apply(&mut index, object);
    Some(index)
}

/// Whatever its node says of it.
fn small(pod: &slim::Pod) {
    let status = &pod.status;
    let containers = || status.container_statuses.iter().chain(status.init_container_statuses.iter());
    assert!(status.conditions.len() <= 8 && containers().count() <= 2 * 64, "{pod:?}");
    let of_conditions = status.conditions.iter().flat_map(|said| [&said.reason, &said.message]);
    let states = containers().flat_map(|container| [&container.state, &container.last_state]);
    let of_states = states.flat_map(|state| {
        let waiting = state.waiting.as_ref().map(|waiting| [&waiting.reason, &waiting.message]);
        let ended = state.terminated.as_ref().map(|ended| [&ended.reason, &ended.message]);
        waiting.into_iter().chain(ended).flatten()
    });
    let mut texts = of_conditions.chain(of_states).flatten();
    assert!(texts.all(|text| text.chars().count() <= 512), "{pod:?}");
}
