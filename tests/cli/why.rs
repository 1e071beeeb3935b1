use serde_json::json;
use tidegate::cli::why::explain;

use super::{action, bare, look, release, run, soaking, undone};

#[test]
fn a_run_is_explained_with_its_evidence_and_the_seconds_of_the_last_one() {
    insta::assert_snapshot!(bare(&explain(&soaking(), &[], look(Some(100)))), @r#"
    shop/checkout is Soaking: soaking at tenth: latency has 40 of about 300 requests.

    What is happening
      Run r7 began 2d 3h ago (2026-11-19 11:30:00Z). argocd changed the template.
      It is at step tenth (2 of 4), begun 42m ago (13:47:50Z), its pods stood 42m ago (13:48:00Z).
      Soaked with a Pass: 42m of 1h; over at 14:48:00Z if nothing gets in between.
      Pods: 10 wanted: stable 9 (9 ready), canary 1 (1 ready), real share 10%.
      Changes are caught in mode Policy: the API server holds a new template before its first pod.

    The evidence
      errors: Pass, measured 0.04%, really between 0.01% and 0.2%, target 1%, limit 5%, 12000 requests
      seen, about 900 needed.
        at most 0.2% of requests fail.
        Read from http_requests_total{status}.
      latency: Unknown, no value, target 500ms, limit 2s, 40 requests seen, about 300 needed.
        too few requests. About 260 more requests would settle it.

    Who said what
      - alice approved as qa-manager 2d 2h ago: "smoke tests green"

    How the last run ended
      Run r6: Undone 1d 5h ago (2026-11-20 09:04:02Z), after 4m 2s. argocd had changed the template.
      errors: 12.5% of requests fail, limit 5%.
      2026-11-20 09:00:00.000Z              the run began
      2026-11-20 09:04:00.100Z         +4m  first evidence of a breach
      2026-11-20 09:04:00.500Z     +0.40 s  decided to go back
      2026-11-20 09:04:00.560Z     +0.06 s  the last canary pod ordered away
      2026-11-20 09:04:01.700Z     +1.14 s  all stable pods ready and no canary pod serving
                                            that is 1.60 s from the first sign until stable stood again
      2026-11-20 09:04:02.000Z     +0.30 s  the run was over
    "#);
}

#[test]
fn a_signature_that_stands_as_an_action_is_told_once() {
    let approved = action(
        json!({ "release": "checkout", "action": "Approve", "role": "qa-manager", "run": "r7", "by": "alice", "reason": "smoke tests green" }),
        "2026-11-19T12:00:00Z",
        json!({ "result": "Done", "message": "signed as qa-manager" }),
    );
    let text = bare(&explain(&soaking(), &[approved], look(None)));
    assert_eq!(text.matches("alice").count(), 1, "{text}");
    assert!(text.contains(
        "alice said Approve as qa-manager to r7 2d 2h ago: \"smoke tests green\". Done: signed as qa-manager."
    ));
}

#[test]
fn a_rejection_says_what_starts_again() {
    let rejected = release(json!({
        "phase": "Rejected",
        "summary": { "message": "template 41aa0 was undone and is not started again" },
        "blockedBy": {
            "reason": "RejectedRevision", "message": "the template was rejected in r6",
            "unblock": "push a new template, or kubectl tidegate clear-rejection checkout -n shop --reason ...",
        },
        "lastRun": undone(),
        "rejected": [{ "fingerprint": "41aa0", "at": "2026-11-20T09:04:02Z", "run": "r6", "reason": "errors breached its limit" }],
    }));
    insta::assert_snapshot!(bare(&explain(&rejected, &[], look(Some(100)))), @"
    shop/checkout is Rejected: template 41aa0 was undone and is not started again.

    What is happening
      No run is under way.
      Template 41aa0 was rejected 1d 5h ago (2026-11-20 09:04:02Z) in run r6: errors breached its limit.
      It is not started again: nothing starts until there is a new template, or somebody clears the
      rejection.

    What blocks it
      RejectedRevision: the template was rejected in r6.
      What unblocks it: push a new template, or kubectl tidegate clear-rejection checkout -n shop --reason ...

    How the last run ended
      Run r6: Undone 1d 5h ago (2026-11-20 09:04:02Z), after 4m 2s. argocd had changed the template.
      errors: 12.5% of requests fail, limit 5%.
      2026-11-20 09:00:00.000Z              the run began
      2026-11-20 09:04:00.100Z         +4m  first evidence of a breach
      2026-11-20 09:04:00.500Z     +0.40 s  decided to go back
      2026-11-20 09:04:00.560Z     +0.06 s  the last canary pod ordered away
      2026-11-20 09:04:01.700Z     +1.14 s  all stable pods ready and no canary pod serving
                                            that is 1.60 s from the first sign until stable stood again
      2026-11-20 09:04:02.000Z     +0.30 s  the run was over
    ");
}

#[test]
fn going_back_says_why_and_by_whom() {
    let undoing = release(json!({
        "phase": "Undoing",
        "summary": { "message": "going back" },
        "run": run("Back", json!({ "step": 1, "paused": { "by": "bob", "at": "2026-11-21T14:00:00Z", "reason": "lunch" }, "back": {
            "cause": "Abort", "message": "customers complain", "by": "bob", "decidedAt": "2026-11-21T14:29:58Z",
        } })),
    }));
    let text = bare(&explain(&undoing, &[], look(None)));
    assert!(text.contains("It goes back to stable: somebody said so (bob): customers complain."), "{text}");
    assert!(text.contains("2026-11-21 14:29:58.000Z      +2d 2h  decided to go back"), "{text}");
    assert!(text.contains("Paused by bob 30m ago: \"lunch\"."), "{text}");
}

#[test]
fn what_holds_a_run_is_told_with_its_end_and_what_was_passed_with_who_let_it() {
    let held = release(json!({
        "phase": "Held",
        "summary": { "message": "freeze year-end holds it until 2026-11-22T14:30:00Z: year end" },
        "blockedBy": {
            "reason": "Frozen", "message": "freeze year-end holds it until 2026-11-22T14:30:00Z: year end",
            "until": "2026-11-22T14:30:00Z",
            "unblock": "kubectl tidegate pass-freeze checkout -n shop --freeze year-end --ground security --reason '...'",
        },
        "run": run("Preflight", json!({ "passes": [
            { "of": "Windows", "by": "alice", "at": "2026-11-21T13:30:00Z", "reason": "INC-4711", "action": "a1" },
            {
                "of": "Freeze", "freeze": "audit", "freezeUid": "f1", "ground": "incident",
                "by": "bob", "at": "2026-11-21T14:00:00Z", "reason": "payments fail", "action": "a2",
            },
        ] })),
    }));
    let text = bare(&explain(&held, &[], look(None)));
    for line in [
        "  Its windows do not hold it: alice said so 1h ago: \"INC-4711\".",
        "  Freeze audit does not hold it, on grounds of incident: bob said so 30m ago: \"payments fail\".",
        "  Frozen: freeze year-end holds it until 2026-11-22T14:30:00Z: year end.",
        "  Until 2026-11-22 14:30:00Z, in 1d.",
        "  What unblocks it: kubectl tidegate pass-freeze checkout -n shop --freeze year-end --ground security --reason '...'",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn who_could_not_be_told_is_named_and_who_knows_of_a_hold() {
    let held = release(json!({
        "phase": "Held",
        "summary": { "message": "bob said pause: lunch" },
        "blockedBy": { "reason": "Paused", "message": "bob said pause: lunch", "unblock": "kubectl tidegate resume checkout -n shop" },
        "run": run("Preflight", json!({})),
        "notifications": {
            "standing": {
                "event": "Held", "reason": "Paused", "run": "r7", "since": "2026-11-21T14:00:00Z",
                "acknowledged": { "by": "alice", "at": "2026-11-21T14:00:00Z", "reason": "at my desk" },
            },
            "troubles": [{
                "to": "team", "at": "2026-11-21T14:00:00Z", "id": "x", "givenUp": true,
                "message": "the URL of secret slack, key url answered 404",
            }],
        },
    }));
    let text = bare(&explain(&held, &[], look(None)));
    assert!(text.contains("  Acknowledged by alice 30m ago: \"at my desk\"."), "{text}");
    let named = "  team, since 14:00:00Z: the URL of secret slack, key url answered 404 (given up).";
    assert!(text.lines().any(|line| line == named), "{text}");
}

#[test]
fn when_the_last_message_about_an_undo_got_through_is_told_and_that_it_took_too_long() {
    let of = |communication: serde_json::Value| {
        let mut last = undone();
        last["communication"] = communication;
        bare(&explain(&release(json!({ "phase": "Idle", "lastRun": last })), &[], look(None)))
    };
    let open = of(json!({}));
    assert!(open.lines().any(|line| line == "  Messages about it are still to be delivered."), "{open}");
    let late = of(json!({ "toldAt": "2026-11-20T09:10:02Z", "over": true, "overBudget": true }));
    for line in [
        "  2026-11-20 09:10:02.000Z   +360.00 s  the last message about it was delivered, or given up",
        "  Its communication took longer than the budget of that phase.",
        "  It took longer than its budget.",
    ] {
        assert!(late.lines().any(|found| found == line), "{line}\n{late}");
    }
}

#[test]
fn what_comes_of_a_breach_in_this_stage_of_the_watch_is_said() {
    let stages = json!([
        { "for": "1h", "every": "5s" },
        { "for": "2h", "every": "5s", "onLimit": "Hold" },
        { "for": "3h", "every": "5s", "onLimit": "Notify" },
    ]);
    for (since, does) in [
        ("2026-11-21T14:00:00Z", "a breach goes back."),
        ("2026-11-21T13:00:00Z", "a breach holds it, and pods that fail do."),
        ("2026-11-21T12:00:00Z", "a breach is only told, and so are pods that fail."),
        // It waits to be signed off.
        ("2026-11-20T12:00:00Z", "a breach is only told, and so are pods that fail."),
        // Somebody else wrote it.
        ("9999-12-30T22:00:00Z", "a breach goes back."),
    ] {
        let mut watching =
            release(json!({ "phase": "Watching", "run": run("Watch", json!({ "allSince": since })) }));
        watching.spec.watch = Some(serde_json::from_value(stages.clone()).unwrap());
        let text = bare(&explain(&watching, &[], look(None)));
        assert!(text.contains(&format!("still measured: {does}")), "{since}: {text}");
    }
}

#[test]
fn where_the_stage_says_nothing_a_breach_does_what_its_criterion_says() {
    let criterion =
        |name: &str, does: &str| json!({ "name": name, "errorRate": { "limit": "5%", "onLimit": does } });
    let restarts = |does: &str| json!({ "name": "restarts", "restarts": { "limit": 3, "onLimit": does } });
    let shadow = json!({ "name": "slower", "errorRate": { "limit": "5%", "shadow": true } });
    for (criteria, stage, does) in [
        (json!([criterion("errors", "Undo")]), None, "a breach goes back."),
        (
            json!([criterion("errors", "Hold"), shadow]),
            None,
            "a breach holds it, and pods that fail go back.",
        ),
        (json!([criterion("errors", "Notify")]), None, "a breach is only told, and pods that fail go back."),
        (
            json!([
                criterion("errors", "Undo"),
                restarts("Hold"),
                criterion("more", "Undo"),
                criterion("odd", "Notify")
            ]),
            None,
            "a breach of errors or more goes back, one of restarts holds it, one of odd is only told, and pods that fail go back.",
        ),
        (json!([criterion("errors", "Hold"), restarts("Notify")]), Some("Undo"), "a breach goes back."),
        (
            json!([criterion("errors", "Undo"), restarts("Notify")]),
            Some("Hold"),
            "a breach holds it, and pods that fail do.",
        ),
        (json!([shadow]), None, "pods that fail go back."),
        (json!([]), Some("Hold"), "pods that fail hold it."),
    ] {
        let status = json!({
            "phase": "Watching", "run": run("Watch", json!({ "allSince": "2026-11-21T14:00:00Z" })),
        });
        let mut watching = release(status);
        watching.spec.criteria = Some(serde_json::from_value(criteria).unwrap());
        let stage = json!([{ "for": "1h", "every": "5s", "onLimit": stage }]);
        watching.spec.watch = Some(serde_json::from_value(stage).unwrap());
        let text = bare(&explain(&watching, &[], look(None)));
        assert!(text.contains(&format!("still measured: {does}")), "{does}: {text}");
    }
}

#[test]
fn where_the_spec_does_not_say_what_to_measure_it_is_not_said_that_it_is() {
    let mut watching = release(json!({
        "phase": "Watching", "run": run("Watch", json!({ "allSince": "2026-11-21T14:00:00Z" })),
    }));
    let asking = json!([
        { "name": "errors", "errorRate": { "limit": "5%" } },
        { "name": "queue", "value": { "promql": "queue", "limit": "value > 8" } },
    ]);
    watching.spec.criteria = Some(serde_json::from_value(asking).unwrap());
    let text = bare(&explain(&watching, &[], look(None)));
    assert!(
        text.contains(
            "and nothing is measured, for the spec is not valid (spec.criteria[1].value.promql: there is no server to ask: write its url as \
             metrics.prometheus.url): pods that fail go back."
        ),
        "{text}"
    );
    assert!(!text.contains("still measured"), "{text}");
}
