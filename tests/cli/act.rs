use serde_json::json;
use tidegate::api::{Action, ReleaseActionStatus};
use tidegate::cli::Code;
use tidegate::cli::act::{Passing, Saying, can_i, compose, forbidden, outcome};

use super::{release, soaking};

fn saying(action: Action, role: Option<&str>) -> Saying {
    Saying {
        action,
        release: "checkout".into(),
        role: role.map(Into::into),
        check: None,
        undo: false,
        pass: None,
        reason: Some("green".into()),
        wait: None,
    }
}

#[test]
fn an_action_is_about_the_run_that_is_under_way() {
    let made =
        compose(&saying(Action::Approve, Some("qa-manager")), &soaking(), Some("alice".into())).unwrap();
    assert_eq!(
        serde_json::to_value(&made).unwrap(),
        json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction", "metadata": { "generateName": "checkout-" },
            "spec": {
                "release": "checkout", "action": "Approve", "role": "qa-manager", "run": "r7", "reason": "green", "by": "alice",
            },
        })
    );
    let at_rest = compose(&saying(Action::ClearRejection, None), &release(json!({})), None).unwrap();
    assert_eq!((at_rest.spec.run, at_rest.spec.by), (None, None));
}

#[test]
fn a_role_is_asked_for_and_never_guessed() {
    let waiting = release(json!({
        "blockedBy": { "reason": "AwaitingApproval", "message": "waiting for qa-manager or tech-lead" },
    }));
    let error = compose(&saying(Action::Approve, None), &waiting, None).unwrap_err();
    assert_eq!(error.to_string(), "approve needs --role: waiting for qa-manager or tech-lead");
    let error = compose(&saying(Action::Reject, None), &soaking(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reject needs --role: no approval is waited for now: kubectl tidegate status checkout -n shop shows what is"
    );
}

#[test]
fn a_missing_right_is_shown_by_a_command() {
    assert_eq!(
        can_i(&saying(Action::Approve, Some("qa-manager")), "shop"),
        "kubectl auth can-i approve releases.tidegate.dev/checkout --subresource=qa-manager -n shop"
    );
    assert_eq!(
        can_i(&saying(Action::Resume, None), "shop"),
        "kubectl auth can-i pause releases.tidegate.dev/checkout -n shop"
    );
    let pass = Passing { freeze: "year-end".into(), ground: "security".into() };
    let passing = Saying { pass: Some(pass), ..saying(Action::PassFreeze, None) };
    assert_eq!(
        can_i(&passing, "shop"),
        "kubectl auth can-i pass freezes.tidegate.dev/year-end --subresource=security"
    );
    let made = compose(&passing, &soaking(), None).unwrap().spec;
    assert_eq!((made.freeze.as_deref(), made.ground.as_deref()), (Some("year-end"), Some("security")));
    let sentence = "releaseactions.tidegate.dev is forbidden: User \"eve\" cannot create resource \"releaseactions\" in API group";
    let text = forbidden(sentence, &saying(Action::Abort, None), "shop");
    assert!(
        text.ends_with("\nshown by: kubectl auth can-i create releaseactions.tidegate.dev -n shop"),
        "{text}"
    );
}

#[test]
fn what_came_of_it_is_one_line() {
    let status = |result: &str| ReleaseActionStatus {
        result: result.into(),
        message: "there is no run".into(),
        at: None,
    };
    let said = saying(Action::Skip, None);
    assert_eq!(
        outcome(&said, "shop", &status("Done")),
        (Code::Yes, "skip shop/checkout: there is no run".into())
    );
    assert_eq!(
        outcome(&said, "shop", &status("Refused")),
        (Code::No, "skip shop/checkout refused: there is no run".into())
    );
    let turned = ReleaseActionStatus { result: "No\u{202e}\nwhere".into(), message: String::new(), at: None };
    assert_eq!(outcome(&said, "shop", &turned), (Code::No, "skip shop/checkout refused: No where".into()));
}
