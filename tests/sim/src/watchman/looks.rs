//! Each look decides once, and writes status once, last: 1, 4, 9. What it decides comes from its onlooker, which also says where one look ends and the
//! next begins; what it writes comes from the network.
//!
//! Nothing is said of what is written beside looks (events, what hooks ask for), nor of a status of which nobody was told that it was written.

use std::time::Duration;

use serde_json::Value;
use tidegate::api::RELEASE_LABEL;
use tidegate::decide::{self, Decision, Snapshot};

use crate::cluster::named;
use crate::server::Request;
use crate::world::World;

/// Of so many decisions one is made again: that takes as long as the first time.
const AGAIN: u64 = 8;
/// No decision sleeps longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A status that was written in a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Why a run goes back, which is noted before it is ordered.
    First,
    /// What was done before.
    Last,
}

impl World {
    /// A process has looked at a Release, and decided: a look begins to write.
    pub fn decided(&mut self, process: usize, snapshot: &Snapshot, decision: &Decision) {
        self.watchman.said.remove(&(process, snapshot.key.name.clone()));
        let is_in_time = match decision.wake {
            Some(wake) => wake <= snapshot.now + LONGEST_SLEEP,
            None => snapshot.release.is_none() && snapshot.target.is_none(),
        };
        self.check("9 (a wake within the hour)", is_in_time, || {
            format!("at {} it is to be looked at again at {:?}", snapshot.now, decision.wake)
        });
        self.check_calendar(snapshot, decision);
        self.note_calls(snapshot, decision);
        self.watchman.decisions += 1;
        if self.watchman.decisions.is_multiple_of(AGAIN) {
            let again = decide::decide(snapshot);
            self.check("1 (the same snapshot, the same decision)", is_same(decision, &again), || {
                format!("{decision:?}, and then {again:?}")
            });
        }
    }

    /// A status is being written.
    pub(super) fn note_status(&mut self, process: usize, name: &str, before: Option<&Value>, after: &Value) {
        let new = &after["status"]["run"];
        let old = before.map(|before| &before["status"]["run"]);
        let is_another = |field: &str| old.and_then(|old| old.pointer(field)) != new.pointer(field);
        // What it goes back to is noted with why.
        let is_note =
            !new["back"].is_null() && ["/back/cause", "/back/next", "/originals"].into_iter().any(is_another);
        let said = if is_note { Said::First } else { Said::Last };
        self.watchman.said.insert((process, name.to_owned()), said);
    }

    /// A write of the operator's goes out.
    pub(super) fn check_order(&mut self, process: usize, request: &Request) {
        let status = request.path.split_once("/releases/").and_then(|(_, path)| path.strip_suffix("/status"));
        if let Some(name) = status {
            let said = self.watchman.said.get(&(process, name.to_owned())).copied();
            self.check("4 (one status write a look)", said.is_none(), || {
                format!("operator-{process} writes that of {name} once more in the same look")
            });
        } else if let Some(name) = self.about(request) {
            let said = self.watchman.said.get(&(process, name.clone())).copied();
            self.check("4 (status last)", said != Some(Said::Last), || {
                let (method, path) = (&request.method, &request.path);
                format!("{method} {path} by operator-{process} after the status of {name}, in the same look")
            });
        }
    }

    /// The Release that something is written for in its look.
    fn about(&self, request: &Request) -> Option<String> {
        let (_, path) = request.path.split_once("/namespaces/")?;
        let mut parts = path.split('/').skip(1);
        match (parts.next()?, parts.next()) {
            ("deployments", Some(name)) => Some(name.to_owned()),
            ("releaseactions", Some(name)) => {
                let action = self.store.get("releaseactions", &named(name))?;
                action["spec"]["release"].as_str().map(str::to_owned)
            }
            ("controllerrevisions" | "releasereports", None) => {
                let body: Value = serde_json::from_slice(&request.body).ok()?;
                body["metadata"]["labels"][RELEASE_LABEL].as_str().map(str::to_owned)
            }
            _ => None,
        }
    }
}

/// Whether two decisions say the same.
fn is_same(one: &Decision, other: &Decision) -> bool {
    let Decision { intents, status, notices, wake, note_first, only_noted, urgent, errands } = one;
    *intents == other.intents
        && *status == other.status
        && *notices == other.notices
        && *wake == other.wake
        && (*note_first, *only_noted, *urgent) == (other.note_first, other.only_noted, other.urgent)
        && format!("{errands:?}") == format!("{:?}", other.errands)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{OPERATOR, said, tell, world, write};
    use super::*;
    use crate::server::Who;
    use crate::world::TARGET;

    const ONCE: &str = "4 (one status write a look)";
    const LAST: &str = "4 (status last)";

    fn sends(world: &mut World, path: &str, body: &Value) {
        let request = Request {
            who: OPERATOR,
            metadata_only: false,
            path: format!("/apis/any/v1/namespaces/shop/{path}"),
            query: "fieldManager=tidegate".to_owned(),
            patch: None,
            method: http::Method::PATCH,
            content_type: String::new(),
            body: body.to_string().into(),
        };
        world.check_order(0, &request);
    }

    fn status() -> String {
        format!("releases/{TARGET}/status")
    }

    #[test]
    fn a_second_status_in_the_same_look_is_seen_whatever_its_revision() {
        let mut world = world(&json!({}));
        sends(&mut world, &status(), &Value::Null);
        tell(&mut world, |status| status["phase"] = json!("Moving"));
        assert_eq!(said(&world, ONCE), 0);
        sends(&mut world, &status(), &Value::Null);
        assert_eq!(said(&world, ONCE), 1, "{:?}", world.watchman.violations);
    }

    #[test]
    fn what_another_look_or_another_process_writes_or_nobody_was_told_of_is_not_a_second_one() {
        let mut world = world(&json!({}));
        tell(&mut world, |status| status["phase"] = json!("Moving"));
        world.unanswered(0);
        sends(&mut world, &status(), &Value::Null);
        tell(&mut world, |status| status["phase"] = json!("Soaking"));
        world.watchman.said.remove(&(0, TARGET.to_owned()));
        sends(&mut world, &status(), &Value::Null);
        world.watchman.said.insert((1, TARGET.to_owned()), Said::Last);
        sends(&mut world, &status(), &Value::Null);
        assert_eq!(said(&world, ONCE), 0, "{:?}", world.watchman.violations);
    }

    #[test]
    fn what_is_ordered_after_status_is_seen_unless_status_says_why_it_goes_back() {
        let body = json!({"metadata": {"labels": {(RELEASE_LABEL): TARGET}}});
        for path in [format!("deployments/{TARGET}"), "controllerrevisions".to_owned()] {
            let mut world = world(&json!({}));
            sends(&mut world, &path, &body);
            tell(&mut world, |status| status["run"] = json!({"id": "r1", "back": {"cause": "Breach"}}));
            sends(&mut world, &path, &body);
            assert_eq!(said(&world, LAST), 0, "{:?}", world.watchman.violations);
            tell(&mut world, |status| status["phase"] = json!("Undoing"));
            sends(&mut world, &path, &body);
            assert_eq!(said(&world, LAST), 1, "{:?}", world.watchman.violations);
        }
    }

    #[test]
    fn what_people_say_or_is_ordered_of_another_comes_when_it_likes() {
        let mut world = world(&json!({}));
        tell(&mut world, |status| status["phase"] = json!("Moving"));
        sends(&mut world, "deployments/till", &Value::Null);
        sends(&mut world, "events", &Value::Null);
        write(&mut world, &Who::Person("owner"), |it| it["spec"]["replicas"] = json!(5));
        assert_eq!(said(&world, LAST), 0, "{:?}", world.watchman.violations);
    }
}
