//! What may hold a Release until somebody does something, and what they do, by the reason that status gives. Whoever helps in the end does that and nothing
//! else: who helped whatever it is would hide what is held wrongly.
//!
//! The reasons are those of docs/notifications.md, and of blockers that are no holds. Each stands in one list.

use crate::world::World;

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// The Deployment is resumed: `kubectl rollout resume`.
    Unpause,
    /// It gets replicas.
    Scale,
    /// Whoever has not signed yet signs.
    Sign,
    /// Somebody says it.
    Say(&'static str),
    /// Somebody does not wait any longer for what is measured, and aborts: that may be said at any time.
    GiveUp,
    /// Another version is to serve than the one that does not stand.
    HandBack,
    /// The Release gets steps that can be carried out.
    Amend,
    /// The Release is suspended no more.
    GoOn,
}

/// What waits for people.
struct Wait {
    reasons: &'static [&'static str],
    /// What `unblock` says where it waits for them: with the same reason it may go on by itself.
    named: &'static str,
    help: Help,
    /// It may still go on by itself: nobody does it before a while has passed.
    waits: bool,
}

const fn at_once(reasons: &'static [&'static str], named: &'static str, help: Help) -> Wait {
    Wait { reasons, named, help, waits: false }
}

const fn after_a_while(reasons: &'static [&'static str], named: &'static str, help: Help) -> Wait {
    Wait { reasons, named, help, waits: true }
}

/// Everything that legitimately waits for people.
const WAITS: [Wait; 12] = [
    at_once(&["PausedByOwner", "AwaitingStable"], "rollout resume", Help::Unpause),
    at_once(&["NoReplicas"], "scale deployment", Help::Scale),
    at_once(&["AwaitingApproval"], "tidegate approve", Help::Sign),
    at_once(&["Paused", "OriginalsTampered"], "tidegate resume", Help::Say("Resume")),
    at_once(
        &["CheckFailed", "MigrationFailed", "MigrationUnknown", "PilotsMissing"],
        "tidegate skip",
        Help::Say("Skip"),
    ),
    at_once(&["Suspended"], "set spec.suspend to false", Help::GoOn),
    at_once(&["InvalidSpec"], "edit release", Help::Amend),
    // What stands still because the way back is barred; where that is for want of replicas, it gets some first.
    after_a_while(&["Irreversible"], "tidegate abort", Help::Say("Abort")),
    at_once(&["Irreversible"], "scale deployment", Help::Scale),
    after_a_while(
        &["OutsideWindow", "WindowTooShort", "WindowNeverOpens"],
        "tidegate skip",
        Help::Say("Skip"),
    ),
    // What was taken for stable before any pod of it was there will never stand, and what is kept nowhere will not come back.
    after_a_while(
        &["StablePodsFailing", "StablePodsNotReady", "StableTemplateLost"],
        "tidegate hand-back",
        Help::HandBack,
    ),
    after_a_while(
        &["NoMeasurements", "NotEnoughEvidence", "AboveTarget", "AboveLimit", "StableAsBad"],
        "tidegate skip",
        Help::GiveUp,
    ),
];

/// Where nothing is under way, reasons that a template that starts takes away, as their `unblock` says or their owner knows; and none, where pods of what is
/// stable do not stand.
const MENDED_BY_A_PUSH: [&str; 6] =
    ["", "AwaitingStable", "StablePodsFailing", "RejectedRevision", "ValidationFailed", "HandedBack"];

/// What goes on by itself, however long it takes: that it does not take for ever is said where it has to come to rest.
const GO_ON: [&str; 15] = [
    "AwaitingUndoApproval",
    "CheckRunning",
    "CheckUnknown",
    "ClusterUnheard",
    "ControllerSilent",
    "HighTraffic",
    "Locked",
    "MigrationRunning",
    "NoRoom",
    "NodesSilent",
    "OldPodsRemain",
    "PilotsUnknown",
    "PodsFailing",
    "TargetMissing",
    "TrafficUnknown",
];

/// What nothing in a story leads to, or nothing any more once nothing goes wrong, and why: whatever it still holds then is held wrongly.
#[cfg(test)]
const WRONG: [(&str, &str); 8] = [
    ("AwaitingAttestation", "no Release of a story asks for one"),
    ("Frozen", "the freeze is gone"),
    ("OriginalsLost", "nobody takes them away"),
    ("PolicyMissing", "the policies are there"),
    ("TemplateChanged", "nobody changes what is stored"),
    ("TemplateTooLarge", "no template is"),
    ("UndoRefused", "no Release of a story asks for an approval that is refused"),
    ("WriteRefused", "the API server refuses nothing any more"),
];

/// What people do about this, as `unblock` says. `long`: they have seen that it does not go on by itself.
pub fn help(reason: &str, unblock: &str, long: bool) -> Option<Help> {
    let is_it = |wait: &&Wait| {
        wait.reasons.contains(&reason) && unblock.contains(wait.named) && (long || !wait.waits)
    };
    WAITS.iter().find(is_it).map(|wait| wait.help)
}

/// Whether an owner pushes another template because of this.
pub fn is_mended_by_a_push(reason: &str) -> bool {
    MENDED_BY_A_PUSH.contains(&reason)
}

/// Whether there is a place for it among what waits for people and what goes on.
fn is_known(reason: &str) -> bool {
    WAITS.iter().any(|wait| wait.reasons.contains(&reason))
        || is_mended_by_a_push(reason)
        || GO_ON.contains(&reason)
}

impl World {
    /// Somebody comes to see what holds a Release. `long`: nothing has gone wrong for a while, and what went wrong is over.
    pub fn check_held(&mut self, name: &str, long: bool) {
        let status = self.status(name);
        let blocker = &status["blockedBy"];
        let reason = blocker["reason"].as_str().unwrap_or_default();
        let is_unnamed = status["phase"] == "Held" && reason.is_empty();
        let is_held_wrongly = long && (is_unnamed || !is_known(reason));
        let said = format!("{reason:?}: {}", blocker["message"]);
        self.check("people (held for what waits for them)", !is_held_wrongly, || format!("{name}: {said}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{said, tell, world};
    use super::*;
    use crate::world::TARGET;

    const RULE: &str = "people (held for what waits for them)";
    const PAGE: &str = include_str!("../../../../docs/notifications.md");

    /// What is said of a Release that this holds.
    fn held(reason: &str, long: bool) -> usize {
        let mut world = world(&json!({}));
        tell(&mut world, |status| {
            status["phase"] = json!("Held");
            status["blockedBy"] = json!({"reason": reason, "message": "so", "unblock": "wait"});
        });
        world.check_held(TARGET, long);
        said(&world, RULE)
    }

    #[test]
    fn a_release_that_nothing_known_holds_is_held_wrongly_once_everything_is_over() {
        for reason in ["Frozen", "OriginalsLost", "SomethingNew", ""] {
            assert_eq!((held(reason, false), held(reason, true)), (0, 1), "{reason:?}");
        }
        for reason in ["Paused", "Locked", "AwaitingApproval", "NodesSilent"] {
            assert_eq!(held(reason, true), 0, "{reason}");
        }
    }

    #[test]
    fn people_do_what_they_are_told_and_nothing_where_they_are_told_to_wait() {
        let skip = "kubectl tidegate skip shop -n shop --reason '...'";
        assert_eq!(help("CheckFailed", skip, false), Some(Help::Say("Skip")));
        assert_eq!(help("CheckFailed", "wait", true), None);
        assert_eq!(help("CheckUnknown", skip, true), None, "it is asked again");
        assert_eq!(help("OutsideWindow", skip, false), None);
        assert_eq!(help("OutsideWindow", skip, true), Some(Help::Say("Skip")));
        assert_eq!(help("AwaitingStable", "kubectl rollout status deployment/shop -n shop", true), None);
        assert_eq!(help("StablePodsNotReady", "see why stable pods are not Ready", true), None);
        assert!(is_mended_by_a_push("AwaitingStable") && !is_mended_by_a_push("Suspended"));
    }

    #[test]
    fn every_reason_of_a_hold_that_the_page_names_has_its_place() {
        let table = PAGE.split("| what holds | reasons |").nth(1).and_then(|rest| rest.split("\n\n").next());
        let reasons: Vec<&str> = table.expect("the table").split('`').skip(1).step_by(2).collect();
        assert!(reasons.len() > 30, "{reasons:?}");
        for reason in reasons {
            let is_wrong = WRONG.iter().any(|(known, _)| *known == reason);
            assert_ne!(is_known(reason), is_wrong, "{reason}");
        }
    }
}
