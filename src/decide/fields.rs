//! The handful of fields of the Deployment that a run owns: taking them, giving them back, and the patch from what is to what
//! shall be.
//!
//! A patch is a difference: what is already so is not written, and an empty difference is no write at all. Every patch begins
//! with a test of `metadata.generation`: whoever wrote the spec in between makes it fail.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pace::Pace;
use super::snapshot::{PodSet, Template, Workload};
use crate::api::{
    Authors, CHANGED_BY, FIELD_MANAGER, HELD, HELD_BY_OWNER, ON_DELETE, ORIGINALS, OnDelete, RELEASE_LABEL,
    STABLE,
};

/// `minReadySeconds` of a parked Deployment: new pods serve, but are never *available* to the native controller.
pub const PARKED_MIN_READY: i32 = 2_147_483_646;
/// `progressDeadlineSeconds` of a parked Deployment; must exceed `minReadySeconds`.
pub const PARKED_DEADLINE: i32 = 2_147_483_647;

/// `progressDeadlineSeconds` where its owner says nothing.
pub const NATIVE_DEADLINE: i32 = 600;

/// Annotation by which the native controller numbers templates, on the Deployment and on its ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// The owner's values of the fields that a run owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Originals {
    pub paused: Option<bool>,
    pub min_ready_seconds: Option<i32>,
    pub progress_deadline_seconds: Option<i32>,
    pub strategy: Value,
}

/// Why the originals cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {ORIGINALS} is {what}")]
pub struct OriginalsLost {
    pub what: String,
}

impl Originals {
    /// Takes the owner's values from a Deployment that is not parked. `paused` is the owner's unless the hold policy (or we, between
    /// runs) set it: then it was absent, or what the annotation says.
    pub fn take(workload: &Workload) -> Self {
        let noted = workload.originals.as_deref().and_then(|text| Self::parse(text).ok());
        let paused = match noted {
            Some(noted) => noted.paused,
            None if workload.held_by_us() => None,
            None => workload.paused.then_some(true),
        };
        Self {
            paused,
            min_ready_seconds: (workload.min_ready_seconds != 0).then_some(workload.min_ready_seconds),
            progress_deadline_seconds: workload.progress_deadline_seconds,
            strategy: workload.strategy.clone(),
        }
    }

    /// Reads what `to_value` wrote.
    pub fn parse(text: &str) -> Result<Self, OriginalsLost> {
        let lost = |what: &str| OriginalsLost { what: what.into() };
        let value: Value =
            serde_json::from_str(text).map_err(|error| lost(&format!("not JSON ({error})")))?;
        Self::from_value(&value).ok_or_else(|| lost("not what was written there"))
    }

    /// Reads the copy in status.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let number = |key: &str| -> Option<Option<i32>> {
            match map.get(key)? {
                Value::Null => Some(None),
                value => Some(Some(i32::try_from(value.as_i64()?).ok()?)),
            }
        };
        let paused = match map.get("paused")? {
            Value::Null => None,
            value => Some(value.as_bool()?),
        };
        let strategy = map.get("strategy")?.clone();
        strategy.get("type")?.as_str()?;
        Some(Self {
            paused,
            min_ready_seconds: number("minReadySeconds")?,
            progress_deadline_seconds: number("progressDeadlineSeconds")?,
            strategy,
        })
    }

    /// A merge patch of `spec`: anybody can give the fields back with one kubectl line. `null`: was absent.
    pub fn to_value(&self) -> Value {
        json!({
            "paused": self.paused,
            "minReadySeconds": self.min_ready_seconds,
            "progressDeadlineSeconds": self.progress_deadline_seconds,
            "strategy": self.strategy,
        })
    }

    /// The owner's minReadySeconds, in seconds.
    pub fn min_ready(&self) -> i32 {
        self.min_ready_seconds.unwrap_or(0)
    }

    /// The time a move may stand still before it counts as failed, in seconds. `None`: for ever, as the native controller has it with the
    /// highest number (`HasProgressDeadline`).
    pub fn deadline(&self) -> Option<i32> {
        let seconds = self.progress_deadline_seconds.unwrap_or(NATIVE_DEADLINE);
        (seconds < i32::MAX).then_some(seconds)
    }

    /// Whether all old pods go before the first new one comes.
    pub fn recreate(&self) -> bool {
        self.strategy["type"] == "Recreate"
    }
}

/// Whether the fields are ours at the moment.
pub fn parked(workload: &Workload) -> bool {
    workload.min_ready_seconds == PARKED_MIN_READY
}

/// Whether a run has the fields, or goes back from one.
pub fn lent(workload: &Workload) -> bool {
    parked(workload) || workload.originals.is_some() || workload.stable.is_some()
}

/// The operations that take us out of those who manage fields; none where we are not. What we gave back last would be ours by the
/// books for ever, and who applies a newer value server-side would be refused because of us. It changes no field: a write that did would
/// enter us anew.
pub fn managed_no_more(workload: &Workload) -> Vec<Value> {
    let Some(place) = workload.managed_by_us else { return Vec::new() };
    let ours = format!("/metadata/managedFields/{place}");
    vec![
        // Somebody may have been entered before us since.
        json!({"op": "test", "path": format!("{ours}/manager"), "value": FIELD_MANAGER}),
        remove(&ours),
    ]
}

/// The operations that put its label back; none where it is there.
pub fn labelling(workload: &Workload, release: &str) -> Vec<Value> {
    Wanted::default().labelled(Some(release.to_owned())).patch_label(workload)
}

/// Whether a patch puts the label there.
pub fn puts_label(patch: &[Value]) -> bool {
    let path = pointer("/metadata/labels", RELEASE_LABEL);
    patch.iter().any(|operation| operation["op"] == "add" && operation["path"] == path)
}

/// What the Deployment shall look like. `None`: as it is.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    paused: Option<bool>,
    min_ready_seconds: Option<i32>,
    progress_deadline_seconds: Option<Option<i32>>,
    strategy: Option<Value>,
    template: Option<(String, Template)>,
    annotations: BTreeMap<&'static str, Option<String>>,
    label: Option<Option<String>>,
}

impl Wanted {
    /// Held and parked, with everything on the Deployment that giving it back takes.
    pub fn held(originals: &Originals, stable: &str, on_delete: OnDelete, replicas: i32) -> Self {
        let mut wanted = Self::still(originals, stable, on_delete);
        if !originals.recreate() {
            wanted.strategy = Some(Pace::PARKED.strategy(replicas));
        }
        wanted
    }

    /// Paused and parked, and nothing else touched: for when something is wrong with what is noted.
    pub fn frozen(originals: &Originals) -> Self {
        let mut wanted = Self { paused: Some(true), ..Self::default() };
        if !originals.recreate() {
            wanted.park();
        }
        wanted
    }

    /// Standing still and parked; the pace stays as it is. Where its owner's strategy leaves nothing to park, the deadline is theirs: an order to go back
    /// parks that, and so the stable template that they write over what came after it is told from one that was ordered.
    pub fn still(originals: &Originals, stable: &str, on_delete: OnDelete) -> Self {
        let mut wanted = Self::frozen(originals).noting(originals, stable, on_delete);
        if originals.recreate() {
            wanted.progress_deadline_seconds = Some(originals.progress_deadline_seconds);
        }
        wanted
    }

    /// Standing still, and not parked: for the native controllers to count its pods as their owner would have them counted. The deadline is the owner's,
    /// which tells it from an order to go back.
    pub fn counted(originals: &Originals, stable: &str, on_delete: OnDelete) -> Self {
        Self {
            min_ready_seconds: Some(originals.min_ready()),
            progress_deadline_seconds: Some(originals.progress_deadline_seconds),
            ..Self::still(originals, stable, on_delete)
        }
    }

    /// A move.
    pub fn moving(
        originals: &Originals,
        stable: &str,
        on_delete: OnDelete,
        pace: Pace,
        replicas: i32,
    ) -> Self {
        let mut wanted = Self::still(originals, stable, on_delete);
        wanted.paused = Some(false);
        // A strategy that somebody wrote in mid-run is nobody's order: without a pace it would bring all pods at once.
        wanted.strategy = Some(match originals.recreate() {
            true => originals.strategy.clone(),
            false => pace.strategy_within(&originals.strategy, replicas),
        });
        wanted
    }

    /// Going back: the stable template, at once, with the owner's minReadySeconds, so that stable pods count as available. The
    /// deadline stays parked: given back here, the native controller would put its condition `Progressing` back before it makes a
    /// pod, and conflict with itself (see [`Self::numbered`]).
    pub fn back(
        originals: &Originals,
        stable: &str,
        on_delete: OnDelete,
        template: (String, Template),
        strategy: Value,
    ) -> Self {
        let mut wanted = Self::default().noting(originals, stable, on_delete);
        wanted.paused = Some(false);
        wanted.min_ready_seconds = Some(originals.min_ready());
        wanted.progress_deadline_seconds = Some(Some(PARKED_DEADLINE));
        wanted.template = Some(template);
        wanted.strategy = Some(match originals.recreate() {
            true => originals.strategy.clone(),
            false => strategy,
        });
        wanted
    }

    /// Everything as its owner wrote it.
    pub fn given_back(originals: &Originals) -> Self {
        let annotations = [ORIGINALS, STABLE, HELD, ON_DELETE].into_iter().map(|name| (name, None)).collect();
        Self {
            paused: Some(originals.paused.unwrap_or(false)),
            min_ready_seconds: Some(originals.min_ready()),
            progress_deadline_seconds: Some(originals.progress_deadline_seconds),
            strategy: Some(originals.strategy.clone()),
            annotations,
            ..Self::default()
        }
    }

    /// Nobody's until now. What our annotations say on a Deployment that is not parked came from an old ReplicaSet.
    pub fn adopted(workload: &Workload) -> Self {
        let stale = [ORIGINALS, STABLE, ON_DELETE].into_iter().filter(|_| !parked(workload));
        Self { annotations: stale.map(|name| (name, None)).collect(), ..Self::default() }
    }

    /// Everything as its owner wrote it, and not paused, whoever paused it.
    pub fn let_go(originals: &Originals) -> Self {
        Self { paused: Some(false), ..Self::given_back(originals) }
    }

    /// Everything as its owner wrote it, but paused: nobody knows what it would go back to, and it goes no further by itself.
    pub fn left_standing(originals: &Originals) -> Self {
        Self { paused: Some(true), ..Self::given_back(originals) }
    }

    /// At rest in capture mode `Paused`: only `paused` is ours, and only where the owner has not paused it too.
    pub fn kept_paused(originals: &Originals) -> Self {
        let mut wanted = Self::given_back(originals);
        wanted.paused = Some(true);
        wanted.annotations.insert(HELD, (originals.paused != Some(true)).then(|| "true".to_owned()));
        wanted
    }

    /// A new template under a pause of the owner's: the hold policy makes that pause ours in the write that ends it.
    pub fn left_paused(originals: &Originals) -> Self {
        let mut wanted = Self::given_back(originals);
        wanted.annotations.insert(HELD, Some(HELD_BY_OWNER.to_owned()));
        wanted
    }

    /// The same with another template.
    pub fn with_template(mut self, fingerprint: String, template: Template) -> Self {
        self.template = Some((fingerprint, template));
        self
    }

    /// Fingerprint of the template that is to stand there; `None`: the one that does.
    pub fn template(&self) -> Option<&str> {
        self.template.as_ref().map(|(fingerprint, _)| fingerprint.as_str())
    }

    /// The same, with a note of who has changed the template that stands there; `None`: whoever changes it next is the first.
    pub fn by(mut self, authors: Option<&Authors>) -> Self {
        self.annotations.insert(CHANGED_BY, authors.map(|authors| authors.text().to_owned()));
        self
    }

    /// The same, with this in the place of what `onDelete` said.
    pub fn on_deletion(mut self, noted: String) -> Self {
        self.annotations.insert(ON_DELETE, Some(noted));
        self
    }

    /// The same, numbered as the native controller will number it (`SetNewReplicaSetAnnotations`): one more than every other
    /// template, or what it has. Where it finds another number on the Deployment it writes its own, forgets what the API server
    /// answered, so that its next write in the same look conflicts, and takes the Deployment up again only after a while: ten a
    /// second of all that conflicted, when many go back at once.
    pub fn numbered(mut self, fingerprint: &str, sets: &[PodSet]) -> Self {
        let (mut own, mut others) = (0, 0);
        for set in sets {
            let number = if set.fingerprint == fingerprint { &mut own } else { &mut others };
            *number = set.revision.unwrap_or(0).max(*number);
        }
        if others > 0 {
            self.annotations.insert(REVISION, Some(own.max(others.saturating_add(1)).to_string()));
        }
        self
    }

    /// The same, belonging to this Release, or (`None`) to none.
    pub fn labelled(mut self, release: Option<String>) -> Self {
        self.label = Some(release);
        self
    }

    fn park(&mut self) {
        self.min_ready_seconds = Some(PARKED_MIN_READY);
        self.progress_deadline_seconds = Some(Some(PARKED_DEADLINE));
    }

    fn noting(mut self, originals: &Originals, stable: &str, on_delete: OnDelete) -> Self {
        self.annotations.insert(ORIGINALS, Some(originals.to_value().to_string()));
        self.annotations.insert(STABLE, Some(stable.to_owned()));
        let on_delete = match on_delete {
            OnDelete::Undo => None,
            OnDelete::Finish => Some("Finish".to_owned()),
        };
        self.annotations.insert(ON_DELETE, on_delete);
        self
    }

    /// The JSON patch from what is to what shall be; `None` when it is so already.
    pub fn patch(&self, workload: &Workload) -> Option<Vec<Value>> {
        let mut operations = Vec::new();
        if let Some((fingerprint, template)) = &self.template
            && *fingerprint != workload.fingerprint
        {
            operations.push(set("/spec/template", template.value()));
        }
        if let Some(paused) = self.paused
            && paused != workload.paused
        {
            operations.push(if paused { set("/spec/paused", json!(true)) } else { remove("/spec/paused") });
        }
        if let Some(seconds) = self.min_ready_seconds
            && seconds != workload.min_ready_seconds
        {
            operations.push(set("/spec/minReadySeconds", json!(seconds)));
        }
        if let Some(seconds) = self.progress_deadline_seconds
            && seconds != workload.progress_deadline_seconds
        {
            operations.push(match seconds {
                Some(seconds) => set("/spec/progressDeadlineSeconds", json!(seconds)),
                None => remove("/spec/progressDeadlineSeconds"),
            });
        }
        if let Some(strategy) = &self.strategy
            && *strategy != workload.strategy
        {
            operations.push(set("/spec/strategy", strategy.clone()));
        }
        operations.extend(self.patch_annotations(workload));
        operations.extend(self.patch_label(workload));
        if operations.is_empty() {
            return None;
        }
        Some(guarded(workload, operations))
    }

    fn patch_annotations(&self, workload: &Workload) -> Vec<Value> {
        let mut operations = Vec::new();
        let mut missing_map = !workload.has_annotations;
        for (name, wanted) in &self.annotations {
            let current = match *name {
                ORIGINALS => workload.originals.as_deref(),
                STABLE => workload.stable.as_deref(),
                ON_DELETE => workload.on_delete.as_deref(),
                REVISION => workload.revision.as_deref(),
                CHANGED_BY => workload.changed_by.as_ref().map(Authors::text),
                _ => workload.held.as_deref(),
            };
            if wanted.as_deref() == current {
                continue;
            }
            let path = pointer("/metadata/annotations", name);
            match wanted {
                Some(value) => {
                    if std::mem::take(&mut missing_map) {
                        operations.push(set("/metadata/annotations", json!({})));
                    }
                    operations.push(set(&path, json!(value)));
                }
                None => operations.push(remove(&path)),
            }
        }
        operations
    }

    fn patch_label(&self, workload: &Workload) -> Vec<Value> {
        let path = pointer("/metadata/labels", RELEASE_LABEL);
        match &self.label {
            Some(wanted) if *wanted != workload.release_label => match wanted {
                Some(release) if workload.has_labels => vec![set(&path, json!(release))],
                // A label that somebody has written since raises no generation, and would go with all others.
                Some(release) => {
                    let all = "/metadata/labels";
                    vec![is_missing(all), set(all, json!({})), set(&path, json!(release))]
                }
                // No generation tells that somebody has taken it up meanwhile.
                None => {
                    let is_labelled = json!({"op": "test", "path": path, "value": workload.release_label});
                    vec![is_labelled, remove(&path)]
                }
            },
            _ => Vec::new(),
        }
    }
}

/// The operations, if nobody has changed the Deployment since. One that was made anew under its name counts its generations from 1 again.
pub fn guarded(workload: &Workload, mut operations: Vec<Value>) -> Vec<Value> {
    operations.insert(0, json!({"op": "test", "path": "/metadata/generation", "value": workload.generation}));
    operations.insert(1, json!({"op": "test", "path": "/metadata/uid", "value": workload.uid}));
    operations
}

fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A test that it is not there: the API server's library takes a member that is missing for null.
fn is_missing(path: &str) -> Value {
    json!({"op": "test", "path": path, "value": null})
}

fn set(path: &str, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

fn remove(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_numbered_after_all_others_and_never_lower_than_it_is() {
        let set = |fingerprint: &str, number: i64| PodSet {
            fingerprint: fingerprint.into(),
            revision: Some(number),
            ..PodSet::default()
        };
        let number = |sets: &[PodSet]| {
            let wanted = Wanted::default().numbered("stable", sets);
            wanted.annotations.get(REVISION).cloned().flatten()
        };
        assert_eq!(number(&[set("stable", 1), set("canary", 4), set("older", 2)]).as_deref(), Some("5"));
        assert_eq!(number(&[set("stable", 7), set("canary", 4)]).as_deref(), Some("7"));
        assert_eq!(number(&[set("canary", 4)]).as_deref(), Some("5"), "its ReplicaSet is gone");
        assert_eq!(number(&[set("stable", 1)]), None, "nothing says what the controller has counted");
    }
}
