//! At rest the Deployment is as its owner wrote it, in the books too: 12.

use serde_json::Value;
use tidegate::api::{CHANGED_BY, FIELD_MANAGER, HELD, ORIGINALS, STABLE};

use super::writing::PARKED;
use crate::server::managers;
use crate::world::World;

impl World {
    /// What the owner wants is what they wrote, unless a run has the fields.
    pub(super) fn note_owner(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        self.note_pause(name, before, after);
        let in_a_run = before.is_some_and(is_taken);
        let moves = before.is_some_and(|before| before["spec"]["paused"] != true);
        let policies = self.policies;
        let is_new = before.is_some_and(|before| before["spec"]["template"] != after["spec"]["template"]);
        // With capture React a new template is on its way before anybody holds it, and what that may take is looked at.
        let reacts = self.release(name).is_some_and(|release| release["spec"]["capture"] == "React");
        let watched = self.watchman.of(name);
        let template = &after["spec"]["template"];
        if before.is_none_or(|before| before["spec"]["template"] != *template)
            && !watched.templates.contains(template)
        {
            watched.templates.push(template.clone());
        }
        if in_a_run && !policies && (moves || after["spec"]["paused"] != true) {
            watched.unseen = true;
        }
        // Nobody keeps it paused yet.
        if !in_a_run && !policies && !reacts && is_new && after["spec"]["paused"] != true {
            watched.unseen = true;
        }
        // Where somebody takes the parking off all of it is taken for theirs, what is as it was, too.
        let unparks = before.is_some_and(|before| before["spec"]["minReadySeconds"] == PARKED)
            && after["spec"]["minReadySeconds"] != PARKED;
        for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
            let value = &after["spec"][field];
            let is_other = before.is_none_or(|before| before["spec"][field] != *value);
            if in_a_run && (is_other || unparks) {
                // Not the last alone: held without a run, only `paused` of a Recreate is not the owner's.
                watched.edited.entry(field).or_default().push(value.clone());
            }
            if !in_a_run && is_other {
                watched.edited.remove(field);
                watched.owners.insert(field, value.clone());
                // What the new limits allow may be less than what stands there by the old ones.
                watched.has_come_down = false;
                watched.promised = 0;
            }
        }
    }

    fn note_pause(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let is_other = |before: &Value| {
            before["spec"]["paused"] != after["spec"]["paused"]
                || is_the_owners(before) != is_the_owners(after)
        };
        if !before.is_none_or(is_other) {
            return;
        }
        let in_a_run = before.is_some_and(is_taken);
        let policies = self.policies;
        let watched = self.watchman.of(name);
        watched.pause = match in_a_run {
            // The policy has paused it, or left it as it was.
            true if policies => watched.pause,
            true => None,
            false => Some(is_the_owners(after)),
        };
    }

    /// The operator writes it. Where it is kept paused between runs a pause of the owner's says no more than ours, and may go with it: what goes back
    /// without a run is let go before it is kept paused again.
    pub(super) fn note_let_go(&mut self, name: &str, after: &Value) {
        let keeps = self.keeps_paused(name) || self.status(name)["capture"]["mode"] == "Paused";
        if keeps && !is_taken(after) && !is_the_owners(after) {
            let watched = self.watchman.of(name);
            watched.pause = watched.pause.map(|_| false);
        }
    }

    /// 12: what the operator puts back is what somebody has written there.
    pub(super) fn check_template(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let template = &after["spec"]["template"];
        if before.is_some_and(|before| before["spec"]["template"] == *template) {
            return;
        }
        let is_known = self.watchman.of(name).templates.contains(template);
        self.check("12 (a template that somebody wrote)", is_known, || template.to_string());
    }

    /// Whether it is kept paused between runs: asked for, or for want of policies.
    fn keeps_paused(&self, name: &str) -> bool {
        let Some(release) = self.release(name) else { return false };
        match release["spec"]["capture"].as_str() {
            Some("Paused") => true,
            Some("React") => false,
            Some(_) | None => !self.policies,
        }
    }

    /// 12, of the pause, at rest. Whoever helps would end a pause, or mend what is wrong with another template: so it is asked apart.
    pub fn is_paused_as_written(&self, name: &str) -> Result<(), String> {
        let Some(deployment) = self.deployment(name).filter(|it| !is_taken(it)) else { return Ok(()) };
        let is_handed_back = !self.status(name)["handedBack"].is_null();
        let wanted = match self.keeps_paused(name) && !is_handed_back {
            true => Some(true),
            false => self.watchman.watched.get(name).and_then(|watched| watched.pause),
        };
        let found = deployment["spec"]["paused"] == true;
        match wanted {
            Some(wanted) if wanted != found => {
                Err(format!("spec.paused is {found}, and is to be {wanted} at rest"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// 12: at rest the Deployment is as its owner wrote it. `None`: it is not at rest, and why.
    pub fn at_rest(&self, name: &str) -> Result<(), String> {
        let Some(deployment) = self.deployment(name) else {
            let run = &self.status(name)["run"];
            return if run.is_null() {
                Ok(())
            } else {
                Err(format!("a run of no Deployment: {}", run["id"]))
            };
        };
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
        let stays = !released && watched.is_some_and(|watched| watched.stays_managed);
        if ours.iter().any(|field| *field != "paused") && !stays {
            return Err(format!("the operator still manages {ours:?}"));
        }
        Ok(())
    }
}

/// Whether a run has the fields, or goes back from one.
fn is_taken(deployment: &Value) -> bool {
    !deployment["metadata"]["annotations"][ORIGINALS].is_null()
}

/// Whether it is paused, and that is the owner's: neither the policy's nor ours.
fn is_the_owners(deployment: &Value) -> bool {
    deployment["spec"]["paused"] == true && deployment["metadata"]["annotations"][HELD] != "true"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{OPERATOR, OWNER, said, tell, version, world, write};
    use super::*;
    use crate::world::TARGET;

    #[test]
    fn a_pause_of_the_owners_that_is_gone_at_rest_is_seen() {
        let mut world = world(&json!({}));
        write(&mut world, &OWNER, |it| it["spec"]["paused"] = json!(true));
        assert_eq!(world.is_paused_as_written(TARGET), Ok(()));
        write(&mut world, &OPERATOR, |it| it["spec"]["paused"] = Value::Null);
        assert!(world.is_paused_as_written(TARGET).is_err());
    }

    #[test]
    fn a_pause_that_is_left_where_the_owner_wants_none_is_seen() {
        let mut world = world(&json!({}));
        write(&mut world, &OPERATOR, |it| it["spec"]["paused"] = json!(true));
        assert!(world.is_paused_as_written(TARGET).is_err());
        // Nobody has taken it for theirs by scaling.
        world.scale_target(TARGET, 7);
        assert!(world.is_paused_as_written(TARGET).is_err());
    }

    #[test]
    fn where_it_is_kept_paused_it_is_until_it_is_handed_back() {
        let mut world = world(&json!({"capture": "Paused"}));
        assert!(world.is_paused_as_written(TARGET).is_err());
        write(&mut world, &OPERATOR, |it| {
            it["spec"]["paused"] = json!(true);
            it["metadata"]["annotations"][HELD] = json!("true");
        });
        assert_eq!(world.is_paused_as_written(TARGET), Ok(()));
        tell(&mut world, |status| status["handedBack"] = json!({"by": "alice"}));
        assert!(world.is_paused_as_written(TARGET).is_err());
    }

    #[test]
    fn a_template_that_nobody_wrote_is_seen() {
        let mut world = world(&json!({}));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(1));
        assert_eq!(said(&world, "12 (a template"), 0, "{:?}", world.watchman.violations);
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(3));
        assert_eq!(said(&world, "12 (a template"), 1, "{:?}", world.watchman.violations);
    }
}
