//! Nothing that somebody writes is lost: the template that was written last stands in the Deployment, or it is said what became of it.

use serde_json::Value;
use tidegate::api::{FIELD_MANAGER, ON_DELETE, ORIGINALS, RELEASE_LABEL, STABLE};
use tidegate::decide::kept_name::DIGITS_IN_NAME;
use tidegate::watch::slim::fingerprint;

use super::Watchman;
use crate::server::managers;
use crate::world::World;

/// The template that somebody wrote last.
pub(super) struct Last {
    fingerprint: String,
    /// It has been said what became of it, or whoever wrote it has given it up.
    is_told: bool,
    /// The process that alone knows that it comes after stable, until that is noted on the Deployment.
    known_to: Option<usize>,
}

impl Last {
    fn of(template: &Value) -> Self {
        Self { fingerprint: fingerprint(template), is_told: false, known_to: None }
    }
}

impl World {
    /// Somebody writes another template.
    pub(super) fn note_last(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let template = &after["spec"]["template"];
        if before.is_none_or(|before| before["spec"]["template"] != *template) {
            self.watchman.of(name).last = Some(Last::of(template));
        }
    }

    /// The operator puts another template in the place of that. It has noted before that it does, and what of it comes back; where it goes back without
    /// (status cannot be written, or there is none; or somebody has a rejected one tried again), what is noted on the Deployment is all that it owes.
    pub(super) fn note_replaced(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let template = &after["spec"]["template"];
        let Some(replaced) = before.map(|before| &before["spec"]["template"]) else { return };
        if replaced == template || self.untold(name) != Some(fingerprint(replaced).as_str()) {
            return;
        }
        let is_noted = match self.release(name) {
            Some(release) => {
                let status = &release["status"];
                let back = &status["run"]["back"];
                let last = self.untold(name);
                let is_owed =
                    [&back["next"], &status["canary"]].iter().any(|it| it["fingerprint"].as_str() == last);
                // What comes after stable is not to be put over what its owner has written since. Without policies nothing tells that from stable as it was
                // ordered where both had been written once already.
                let comes_after = status["stable"]["fingerprint"] != fingerprint(template);
                !back.is_null() && (is_owed || (comes_after && self.policies))
            }
            None => {
                let noted = after["metadata"]["annotations"][ON_DELETE].as_str();
                noted.is_some_and(|noted| noted.contains("\"then\""))
            }
        };
        if !is_noted {
            self.told(name);
        }
    }

    /// The operator writes the Deployment. Another process than that which ordered stable need not know what comes after it.
    pub(super) fn note_forgotten(&mut self, process: usize, name: &str, before: Option<&Value>) {
        let last = self.watchman.watched.get(name).and_then(|watched| watched.last.as_ref());
        let known_to = last.and_then(|last| last.known_to);
        let is_noted = before.is_some_and(|before| before["metadata"]["annotations"][ON_DELETE] != "Finish");
        if known_to.is_some_and(|known_to| known_to != process) && !is_noted {
            self.told(name);
        }
    }

    /// The operator writes status: it may say what became of that.
    pub(super) fn note_said(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let Some(last) = self.untold(name) else { return };
        let new = &after["status"];
        let ended = &new["lastRun"];
        let is_new = before.is_some_and(|before| before["status"]["lastRun"]["number"] != ended["number"]);
        let of_the_run = match ended["outcome"].as_str() {
            Some("Undone" | "Aborted" | "HandedBack") => ended["fingerprint"] == last,
            Some(_) | None => false,
        };
        let words = ended["message"].as_str().unwrap_or_default();
        // Handed back it stands as it stood then: what was to come is named.
        let is_named = last.get(..DIGITS_IN_NAME).is_some_and(|short| words.contains(short));
        let is_gone = words.contains("could not be kept")
            || words.contains("is not kept any more")
            || (is_named && (words.contains("was not put back") || words.contains("does not come any more")));
        // Somebody may have rejections forgotten in the same look.
        let was_rejected = before.is_some_and(|before| rejects(&before["status"], last));
        if was_rejected || rejects(new, last) || (is_new && (of_the_run || is_gone)) {
            self.told(name);
        }
    }

    /// The operator tells of something.
    pub(super) fn note_event(&mut self, event: &Value) {
        let about = event["regarding"]["name"].as_str();
        let is_lost = matches!(event["reason"].as_str(), Some("TemplateLost" | "TemplateDropped"));
        let words = event["note"].as_str().unwrap_or_default();
        let is_named = |last: &str| last.get(..DIGITS_IN_NAME).is_some_and(|short| words.contains(short));
        if let Some(name) = about.filter(|name| is_lost && self.untold(name).is_some_and(is_named)) {
            self.told(name);
        }
    }

    /// Somebody deletes a Release. In mid-run it goes back: that is what deleting one does. Where it is to be finished and was going back, what was to come
    /// after stable is owed all the same, by who knows of it.
    pub fn note_release_deleted(&mut self, name: &str) {
        let uid =
            self.release(name).and_then(|release| release["metadata"]["uid"].as_str().map(str::to_owned));
        let now = self.now;
        self.watchman.deleted_at.extend(uid.map(|uid| (uid, now)));
        let is_handed_back = self.deployment(name).is_some_and(|it| {
            it["metadata"]["labels"][RELEASE_LABEL].is_null() && !managers::of(FIELD_MANAGER, it).is_empty()
        });
        self.watchman.of(name).stays_managed = is_handed_back;
        let annotations = self.deployment(name).map(|it| &it["metadata"]["annotations"]);
        let is_taken = annotations.is_some_and(|it| !it[ORIGINALS].is_null() || !it[STABLE].is_null());
        if !is_taken && self.status(name)["run"].is_null() {
            return;
        }
        match self.knows_what_is_owed(name) {
            None => self.told(name),
            process @ Some(_) => {
                if let Some(last) = &mut self.watchman.of(name).last {
                    last.known_to = process;
                }
            }
        }
    }

    /// Which process knows that what was written last comes after stable, which it has ordered, though its Release goes and is to be finished. Where no policy
    /// tells an order from what its owner writes, or another may lead, or the time is not to be known in which a template may yet be seen to be kept, none has to.
    fn knows_what_is_owed(&self, name: &str) -> Option<usize> {
        let (last, status, deployment) = (self.untold(name)?, self.status(name), self.deployment(name)?);
        let back = &status["run"]["back"];
        let is_next = match back["next"]["fingerprint"].as_str() {
            Some(next) => next == last,
            None => {
                matches!(back["cause"].as_str(), Some("NoReplicas" | "TooMany"))
                    && status["canary"]["fingerprint"] == last
            }
        };
        let is_ordered = status["stable"]["fingerprint"] == fingerprint(&deployment["spec"]["template"]);
        let is_finished = deployment["metadata"]["annotations"][ON_DELETE] == "Finish";
        let is_kept =
            self.store.all("controllerrevisions").any(|(_, kept)| fingerprint(&kept["data"]) == last);
        let Watchman { identities, several_lead, clocks_jumped, .. } = &self.watchman;
        let is_alone = self.policies && identities.is_empty() && !several_lead && !clocks_jumped;
        let ordered_by = self.watchman.watched.get(name)?.ordered_by;
        ordered_by.filter(|_| is_next && is_ordered && is_finished && is_kept && is_alone)
    }

    /// What is lost of a Deployment at rest.
    pub fn lost(&self, name: &str) -> Option<String> {
        let template = &self.deployment(name)?["spec"]["template"];
        let last = self.untold(name)?;
        let is_there = fingerprint(template) == last || rejects(self.status(name), last);
        (!is_there).then(|| {
            let version = &template["metadata"]["annotations"]["version"];
            format!("{name} runs {version}, and nothing says what became of template {last}, which was written last")
        })
    }

    /// Fingerprint of the template that was written last, as long as it is not said what became of it.
    fn untold(&self, name: &str) -> Option<&str> {
        let last = self.watchman.watched.get(name)?.last.as_ref()?;
        (!last.is_told).then_some(last.fingerprint.as_str())
    }

    fn told(&mut self, name: &str) {
        if let Some(last) = &mut self.watchman.of(name).last {
            last.is_told = true;
        }
    }
}

/// Whether status says that a template is rejected, and why.
fn rejects(status: &Value, template: &str) -> bool {
    let has_reason = |known: &Value| known["reason"].as_str().is_some_and(|reason| !reason.is_empty());
    let mut rejected = status["rejected"].as_array().into_iter().flatten();
    rejected.any(|known| known["fingerprint"] == template && has_reason(known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{OPERATOR, OWNER, tell, version, world, write};
    use super::*;
    use crate::cluster::named;
    use crate::server::Who;
    use crate::world::{NAMESPACE, TARGET};

    /// Version 2 is written, and the operator goes back to version 1. `noted`: status has said so before.
    fn gone_back(noted: bool) -> World {
        let mut world = world(&json!({}));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
        if noted {
            let canary = json!({"fingerprint": fingerprint(&version(2))});
            tell(&mut world, |status| {
                status["run"] = json!({"id": "r1", "back": {"cause": "PodsFailing"}});
                status["canary"] = canary;
            });
        }
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(1));
        world
    }

    fn ends(world: &mut World, rejected: bool) {
        tell(world, |status| {
            status["run"] = Value::Null;
            if rejected {
                status["rejected"] =
                    json!([{"fingerprint": fingerprint(&version(2)), "reason": "it crashes"}]);
            }
        });
    }

    #[test]
    fn what_was_written_last_stands_there_or_is_lost() {
        let mut world = gone_back(true);
        ends(&mut world, false);
        assert!(world.lost(TARGET).is_some());
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(2));
        assert_eq!(world.lost(TARGET), None);
    }

    #[test]
    fn what_is_rejected_is_not_lost_also_when_that_is_forgotten() {
        let mut world = gone_back(true);
        ends(&mut world, true);
        assert_eq!(world.lost(TARGET), None);
        tell(&mut world, |status| status["rejected"] = json!([]));
        assert_eq!(world.lost(TARGET), None);
        // Written once more it is another matter.
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(3));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(1));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
        tell(&mut world, |status| status["run"] = json!({"id": "r2", "back": {"cause": "Superseded"}}));
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(1));
        assert!(world.lost(TARGET).is_some());
    }

    #[test]
    fn what_a_run_ended_with_or_an_event_said_is_told() {
        let undone = json!({"number": 1, "outcome": "Undone", "fingerprint": fingerprint(&version(2))});
        let handed_back =
            json!({"number": 1, "outcome": "HandedBack", "fingerprint": fingerprint(&version(2))});
        let words =
            format!("template {TARGET}-{} was not put back", &fingerprint(&version(2))[..DIGITS_IN_NAME]);
        let named = json!({"number": 1, "outcome": "HandedBack", "message": words});
        let unkept =
            json!({"number": 1, "outcome": "Undone", "message": "template shop-2 could not be kept"});
        for ended in [undone, handed_back, named, unkept] {
            let mut world = gone_back(true);
            tell(&mut world, |status| status["lastRun"] = ended);
            assert_eq!(world.lost(TARGET), None);
        }
        let of_another = json!({"number": 1, "outcome": "HandedBack", "message": "shop-1 was not put back"});
        let mut world = gone_back(true);
        tell(&mut world, |status| status["lastRun"] = of_another);
        assert!(world.lost(TARGET).is_some());
        for (version_named, is_told) in [(2, true), (3, false)] {
            let mut world = gone_back(true);
            let named = &fingerprint(&version(version_named))[..DIGITS_IN_NAME];
            let event = json!({
                "metadata": {"name": "e"}, "reason": "TemplateLost", "regarding": {"name": TARGET},
                "note": format!("template {TARGET}-{named} could not be kept"),
            });
            world.make(&OPERATOR, "events", NAMESPACE, event);
            assert_eq!(world.lost(TARGET).is_none(), is_told, "{version_named}");
        }
    }

    #[test]
    fn what_goes_back_without_a_note_or_with_its_release_is_not_owed() {
        assert_eq!(gone_back(false).lost(TARGET), None);
        let mut world = gone_back(true);
        world.delete(&OWNER, "releases", &named(TARGET));
        assert_eq!(world.lost(TARGET), None);
    }

    #[test]
    fn what_was_to_come_after_stable_is_owed_by_who_knows_of_it_where_its_release_is_to_be_finished() {
        for (on_delete, process, is_lost) in
            [("Finish", 0, true), ("Finish", 1, false), ("Undo", 0, false), ("Undo", 1, false)]
        {
            let mut world = world(&json!({}));
            write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
            let kept = json!({"metadata": {"name": "shop-2"}, "data": version(2)});
            world.make(&OPERATOR, "controllerrevisions", NAMESPACE, kept);
            let next = json!({"fingerprint": fingerprint(&version(2))});
            tell(&mut world, |status| {
                status["run"] = json!({"id": "r1", "back": {"cause": "Superseded", "next": next}});
            });
            write(&mut world, &OPERATOR, |it| {
                it["spec"]["template"] = version(1);
                it["metadata"]["annotations"][ON_DELETE] = json!(on_delete);
            });
            world.delete(&OWNER, "releases", &named(TARGET));
            write(&mut world, &Who::Operator(process), |it| {
                it["metadata"]["annotations"][ON_DELETE] = Value::Null;
            });
            assert_eq!(world.lost(TARGET).is_some(), is_lost, "{on_delete} {process}");
        }
    }

    #[test]
    fn what_comes_after_stable_is_not_put_over_what_its_owner_has_written_since() {
        let mut world = gone_back(true);
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(3));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(1));
        assert_eq!(world.lost(TARGET), None);
        write(&mut world, &OPERATOR, |it| it["spec"]["template"] = version(3));
        assert!(world.lost(TARGET).is_some());
    }

    #[test]
    fn what_is_to_come_after_stable_is_owed_without_a_release_too() {
        let mut world = world(&json!({}));
        world.delete(&OWNER, "releases", &named(TARGET));
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
        write(&mut world, &OPERATOR, |it| {
            it["spec"]["template"] = version(1);
            it["metadata"]["annotations"][ON_DELETE] =
                json!(r#"{"orderedAt":"2027-01-01T00:00:00Z","then":"shop-2"}"#);
        });
        assert!(world.lost(TARGET).is_some());
    }
}
