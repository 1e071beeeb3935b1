//! At rest the Deployment is as its owner wrote it, in the books too: 12.

use serde_json::Value;
use tidegate::api::{CHANGED_BY, FIELD_MANAGER, ORIGINALS, STABLE};

use crate::server::managers;
use crate::world::World;

impl World {
    /// What the owner wants is what they wrote, unless a run has the fields.
    pub(super) fn note_owner(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let taken = |it: &Value| !it["metadata"]["annotations"][ORIGINALS].is_null();
        let in_a_run = before.is_some_and(taken);
        let moves = before.is_some_and(|before| before["spec"]["paused"] != true);
        let policies = self.policies;
        let watched = self.watchman.of(name);
        if in_a_run && !policies && (moves || after["spec"]["paused"] != true) {
            watched.unseen = true;
        }
        for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
            let value = &after["spec"][field];
            let is_other = before.is_none_or(|before| before["spec"][field] != *value);
            if in_a_run && is_other {
                // Not the last alone: held without a run, only `paused` of a Recreate is not the owner's.
                watched.edited.entry(field).or_default().push(value.clone());
            }
            if !in_a_run && is_other {
                watched.edited.remove(field);
                watched.owners.insert(field, value.clone());
                // What the new limits allow may be less than what stands there by the old ones.
                watched.allowed = None;
                watched.promised = 0;
            }
        }
    }

    /// 12: at rest the Deployment is as its owner wrote it. `None`: it is not at rest, and why.
    pub fn at_rest(&self, name: &str) -> Result<(), String> {
        let Some(deployment) = self.deployment(name) else { return Ok(()) };
        let ready = self.native(name).ready();
        let alive = self.native(name).alive();
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
        if u64::try_from(ready) != Ok(replicas) || u64::try_from(alive) != Ok(replicas) {
            return Err(format!("{ready} Ready of {alive} pods, {replicas} wanted"));
        }
        if self.clusters.iter().any(|cluster| cluster.name == name && !cluster.kept.is_empty()) {
            return Err("pods are in quarantine".to_owned());
        }
        let status = self.status(name);
        let released = self.release(name).is_some();
        let annotations = &deployment["metadata"]["annotations"];
        let owed = status["notifications"]["owed"].as_array().map_or(0, Vec::len);
        if owed > 0 {
            return Err(format!("{owed} messages are still to be told"));
        }
        if released {
            let phase = status["phase"].as_str().unwrap_or_default();
            if !status["run"].is_null() || !matches!(phase, "Idle" | "Rejected") {
                return Err(format!("phase {phase}"));
            }
            if status["stable"].is_null() && status["handedBack"].is_null() {
                return Err("nothing is stable".to_owned());
            }
            if status["observedGeneration"]
                != self.release(name).map_or(Value::Null, |it| it["metadata"]["generation"].clone())
            {
                return Err("the Release was not looked at".to_owned());
            }
            let held = phase == "Rejected"
                && deployment["spec"]["paused"] == true
                && !annotations[ORIGINALS].is_null();
            if held {
                return Ok(());
            }
            // Handed back it is guarded no more: what is noted there means nothing.
            if status["handedBack"].is_null() && !annotations[CHANGED_BY].is_null() {
                return Err(format!(
                    "{} is still noted, and would not be another one",
                    annotations[CHANGED_BY]
                ));
            }
        } else if !deployment["metadata"]["labels"][tidegate::api::RELEASE_LABEL].is_null() {
            return Err("the label of a Release that is gone".to_owned());
        }
        let watched = self.watchman.watched.get(name);
        for (field, wanted) in watched.into_iter().flat_map(|watched| &watched.owners) {
            let found = &deployment["spec"][*field];
            let edited = watched.and_then(|watched| watched.edited.get(field)).into_iter().flatten();
            if found != wanted && !edited.into_iter().any(|edited| edited == found) {
                return Err(format!("spec.{field} is {found}, its owner wrote {wanted}"));
            }
        }
        if !annotations[ORIGINALS].is_null() || !annotations[STABLE].is_null() {
            return Err(format!("annotations are left: {annotations}"));
        }
        // A pause may be ours between runs; nothing else may stand in the way of who applies server-side.
        let ours = managers::of(FIELD_MANAGER, deployment);
        if ours.iter().any(|field| *field != "paused") {
            return Err(format!("the operator still manages {ours:?}"));
        }
        Ok(())
    }
}
