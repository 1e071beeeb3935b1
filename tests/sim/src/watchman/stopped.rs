//! Who stops a run has stopped it: an abort or a refusal that is done is final, and none is turned down where the run would go on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::run_of;
use crate::world::World;

impl World {
    /// A status is written: what it says is done of an abort is a way back for good, until its run is over.
    pub(super) fn check_stopped(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let Some(before) = before else { return };
        let run = run_of(before);
        let known: BTreeSet<&str> = handled(before).filter_map(|one| one["uid"].as_str()).collect();
        let stops = |one: &&Value| {
            let is_refused = one["message"].as_str().is_some_and(|says| says.starts_with("refused"));
            one["action"] == "Abort" || (one["action"] == "Reject" && is_refused)
        };
        let said: Vec<&Value> = handled(after)
            .filter(|one| one["uid"].as_str().is_some_and(|uid| !known.contains(uid)))
            .filter(stops)
            .collect();
        let was_for_a_while = is_for_a_while(before);
        for one in &said {
            let is_of_the_run = one["done"] == false && one["message"] == "the run is going back";
            let is_turned_down = is_of_the_run && was_for_a_while && is_for_a_while(after);
            self.check("people (who stops a run has stopped it)", !is_turned_down, || one.to_string());
        }
        let is_stopped = said.iter().any(|one| one["done"] == true) && !run.1.is_empty();
        let present = run_of(after);
        let watched = self.watchman.of(name);
        if is_stopped {
            watched.stopped = Some(run);
        }
        watched.stopped = watched.stopped.take().filter(|stopped| *stopped == present);
        if watched.stopped.is_some() {
            let now = &after["status"]["run"];
            let is_final = !now["back"].is_null() && now["back"]["resume"].is_null();
            self.check("people (who stops a run has stopped it)", is_final, || {
                format!("run {} was stopped: {}", present.1, now["back"])
            });
        }
    }
}

fn handled(release: &Value) -> impl Iterator<Item = &Value> {
    release["status"]["handled"].as_array().into_iter().flatten()
}

/// Whether its run is back, and would go on.
fn is_for_a_while(release: &Value) -> bool {
    matches!(release["status"]["run"]["back"]["cause"].as_str(), Some("NoReplicas" | "TooMany"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{said, tell, world};
    use super::*;

    const RULE: &str = "people (who stops a run has stopped it)";

    /// A run that there are no replicas for.
    fn for_a_while() -> World {
        let mut world = world(&json!({}));
        let back = json!({"cause": "NoReplicas", "resume": "Steps"});
        tell(&mut world, |status| status["run"] = json!({"id": "r1", "stage": "Back", "back": back}));
        world
    }

    fn aborted(world: &mut World, done: bool, back: &Value) {
        tell(world, |status| {
            let message = if done { "going back for good" } else { "the run is going back" };
            status["handled"] = json!([{"uid": "a", "action": "Abort", "done": done, "message": message}]);
            status["run"]["back"] = back.clone();
        });
    }

    #[test]
    fn an_abort_that_is_done_is_final() {
        let mut world = for_a_while();
        aborted(&mut world, true, &json!({"cause": "Abort"}));
        tell(&mut world, |status| status["run"] = Value::Null);
        tell(&mut world, |status| status["run"] = json!({"id": "r2", "stage": "Steps"}));
        assert_eq!(said(&world, RULE), 0, "{:?}", world.watchman.violations);

        let mut world = for_a_while();
        aborted(&mut world, true, &json!({"cause": "Abort"}));
        tell(&mut world, |status| status["run"] = json!({"id": "r1", "stage": "Steps"}));
        assert_eq!(said(&world, RULE), 1, "{:?}", world.watchman.violations);

        let mut world = for_a_while();
        aborted(&mut world, true, &json!({"cause": "NoReplicas", "resume": "Steps"}));
        assert_eq!(said(&world, RULE), 1, "{:?}", world.watchman.violations);
    }

    #[test]
    fn none_is_turned_down_where_the_run_would_go_on() {
        let mut world = for_a_while();
        aborted(&mut world, false, &json!({"cause": "NoReplicas", "resume": "Steps"}));
        assert_eq!(said(&world, RULE), 1, "{:?}", world.watchman.violations);

        let mut world = for_a_while();
        aborted(&mut world, true, &json!({"cause": "Abort"}));
        tell(&mut world, |status| {
            let again =
                json!({"uid": "b", "action": "Abort", "done": false, "message": "the run is going back"});
            status["handled"].as_array_mut().unwrap().push(again);
        });
        assert_eq!(said(&world, RULE), 0, "{:?}", world.watchman.violations);
    }
}
