//! What objects of a cluster say, as text that comes over a watch.

use serde_json::json;
use tidegate::api::{Authors, CHANGED_BY, ORIGINALS};
use tidegate::decide::fields::Originals;
use tidegate::watch::index::{self, Index, Indexed};
use tidegate::watch::slim;

use super::{a_world, index_of, look, split};

/// Places of worlds: one in mid-run, and one without a run whose Deployment is held.
const IN_MID_RUN: usize = 8;
const HELD: usize = 5;

/// What annotations of a Deployment say: who has changed its template, and what its owner's fields were.
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
        let mut world = a_world(place);
        let annotations = &mut world["deployments"][0]["metadata"]["annotations"];
        annotations[ORIGINALS] = json!(text);
        annotations[CHANGED_BY] = json!(text);
        look(&index_of(&world));
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
