use serde_json::json;
use tidegate::cli::status::{line, render, table};
use tidegate::cli::steps::bar;
use tidegate::cli::view::{Look, visible};
use tidegate::cli::why::explain;

use super::{bare, look, release, run, soaking, undone};

#[test]
fn a_view_says_where_a_run_stands_and_why() {
    insta::assert_snapshot!(bare(&render(&soaking(), look(Some(100)))), @"
    shop/checkout  Soaking
    soaking at tenth: latency has 40 of about 300 requests

    Steps     ● pilot 1 pod  ◐ tenth 10%  ○ half 50%  ○ all 100%
              tenth (2 of 4) for 42m, soak over in 18m (14:48:00Z)
    Replicas  10 wanted: stable 9 (9 ready), canary 1 (1 ready), real share 10%
    Stable    checkout-7d9f shop/checkout:1.4.1
    Canary    checkout-59c8 shop/checkout:1.4.2, by argocd
    Run       r7, began 2d 3h ago, changed by argocd

    CRITERION  VERDICT  VALUE  INTERVAL       TARGET  LIMIT  HAVE/NEED
    errors     Pass     0.04%  0.01% to 0.2%  1%      5%     12000/900
      at most 0.2% of requests fail
    latency    Unknown  -      -              500ms   2s     40/300
      too few requests

    Capture   Policy: the API server holds a new template before its first pod
    Last run  r6 Undone 1d 5h ago: errors: 12.5% of requests fail, limit 5%
              breach → decided 0.40 s → ordered 0.06 s → restored 1.14 s (1.60 s in all)
    Rejected  41aa0 1d 5h ago (r6): errors breached its limit
    ");
}

#[test]
fn a_hold_names_its_blocker_and_the_command_that_unblocks() {
    let held = release(json!({
        "phase": "Held",
        "summary": { "step": "2/4 tenth", "message": "waiting for a signature as qa-manager" },
        "step": { "index": 2, "of": 4, "name": "tenth", "pods": 1 },
        "blockedBy": {
            "reason": "AwaitingApproval", "message": "waiting for a signature as qa-manager",
            "until": "2026-11-22T14:30:00Z", "unblock": "kubectl tidegate approve checkout -n shop --role qa-manager",
        },
        "run": run("Steps", json!({ "step": 1 })),
    }));
    insta::assert_snapshot!(bare(&render(&held, look(Some(100)))), @"
    shop/checkout  Held
    waiting for a signature as qa-manager

    Steps     ● pilot 1 pod  ◐ tenth 10%  ○ half 50%  ○ all 100%
              tenth (2 of 4)
    Run       r7, began 2d 3h ago, changed by argocd

    Blocked   AwaitingApproval, until 2026-11-22 14:30:00Z
    Unblock   kubectl tidegate approve checkout -n shop --role qa-manager
    ");
}

#[test]
fn checks_are_shown_in_preflight() {
    let held = release(json!({
        "phase": "Preflight",
        "summary": { "message": "1 of 3 checks passed" },
        "step": { "index": 1, "of": 4, "name": "pilot", "pods": 1 },
        "run": run("Preflight", json!({ "checks": [
            { "name": "config", "state": "Passed", "attempt": 1, "since": "2026-11-21T14:29:00Z", "message": "all keys are there" },
            { "name": "backup", "state": "Failed", "attempt": 2, "since": "2026-11-21T14:28:00Z", "message": "job checkout-r7-backup-2 failed: BackoffLimitExceeded" },
            { "name": "sign-off", "state": "Waiting", "attempt": 1 },
        ] })),
    }));
    insta::assert_snapshot!(bare(&render(&held, look(Some(80)))), @"
    shop/checkout  Preflight
    1 of 3 checks passed

    Steps     ○ pilot 1 pod  ○ tenth 10%  ○ half 50%  ○ all 100%
    Run       r7, began 2d 3h ago, changed by argocd

    CHECK     STATE    TRY  FOR
    config    Passed   1    1m   all keys are there
    backup    Failed   2    2m   job checkout-r7-backup-2 failed:
                                 BackoffLimitExceeded
    sign-off  Waiting  1    -
    ");
}

#[test]
fn an_undo_under_way_shows_its_seconds() {
    let undoing = release(json!({
        "phase": "Undoing",
        "summary": { "step": "2/4 tenth", "message": "going back: errors breached its limit" },
        "step": { "index": 2, "of": 4, "name": "tenth", "pods": 1 },
        "run": run("Back", json!({ "step": 1, "back": {
            "cause": "Breach", "message": "errors breached its limit",
            "breachAt": "2026-11-21T14:29:58.100Z", "decidedAt": "2026-11-21T14:29:58.400Z",
        } })),
    }));
    insta::assert_snapshot!(bare(&render(&undoing, look(Some(100)))), @"
    shop/checkout  Undoing
    going back: errors breached its limit

    Steps     ● pilot 1 pod  ◐ tenth 10%  ○ half 50%  ○ all 100%
              tenth (2 of 4)
    Run       r7, began 2d 3h ago, changed by argocd
    Undo      breach → decided 0.30 s → ordered not yet → restored not yet
    ");
}

#[test]
fn at_rest_the_plan_and_the_last_run_are_shown() {
    let mut idle = release(json!({
        "phase": "Idle", "summary": { "message": "at rest" }, "lastRun": undone(),
    }));
    idle.spec.steps.clear();
    insta::assert_snapshot!(bare(&render(&idle, look(Some(100)))), @"
    shop/checkout  Idle
    at rest

    Plan      ○ tenth 10%  ○ half 50%  ○ all 100%

    Last run  r6 Undone 1d 5h ago: errors: 12.5% of requests fail, limit 5%
              breach → decided 0.40 s → ordered 0.06 s → restored 1.14 s (1.60 s in all)
    ");
}

#[test]
fn without_a_status_it_says_what_to_look_for() {
    insta::assert_snapshot!(bare(&render(&release(json!(null)), look(None))), @"
    shop/checkout has no status yet: no operator has looked at it. Is one running? kubectl get pods -A -l app.kubernetes.io/name=tidegate
    ");
}

#[test]
fn a_table_has_a_row_for_each_release() {
    let all = [soaking(), release(json!(null))];
    insta::assert_snapshot!(bare(&table(&all, true, look(None))), @"
    NAMESPACE  NAME      PHASE    STEP       SHARE  WORST            BLOCKED-BY  AGE
    shop       checkout  Soaking  2/4 tenth  10%    latency Unknown  -           20d 14h
    shop       checkout  -        -          -      -                -           20d 14h
    ");
}

#[test]
fn a_log_line_changes_only_with_what_it_says() {
    assert_eq!(
        bare(&line(&soaking(), false)),
        "Soaking 2/4 tenth 10% soaking at tenth: latency has 40 of about 300 requests"
    );
    assert_eq!(bare(&line(&release(json!(null)), true)), "shop/checkout - - - -");
}

#[test]
fn a_step_that_counts_some_of_its_pods_says_which() {
    let mut release = soaking();
    let pilot = json!({"nodes": {"matchLabels": {"tier": "pilot"}}, "pods": {"matchLabels": {"zone": "a"}}});
    release.spec.steps[0].pilot = serde_json::from_value(pilot).unwrap();
    let shown = |release: &tidegate::api::Release| bare(&bar(release)).replace('\u{a0}', " ");
    assert!(
        shown(&release).starts_with("● pilot 1 pod (on nodes tier=pilot and labelled zone=a)"),
        "{}",
        shown(&release)
    );
    release.spec.steps[0].pilot.as_mut().unwrap().at_least = Some(1);
    assert!(shown(&release).contains("1 pod (1 on nodes tier=pilot"), "{}", shown(&release));
}

#[test]
fn a_spec_that_was_changed_in_mid_run_does_not_name_the_steps_of_the_run() {
    let mut changed = soaking();
    changed.spec.steps.truncate(1);
    assert_eq!(bare(&bar(&changed)).replace('\u{a0}', " "), "● 1  ◐ tenth  ○ 3  ○ 4");
}

#[test]
fn nothing_but_a_table_is_wider_than_the_terminal() {
    let text = bare(&render(&soaking(), look(Some(72))));
    assert!(text.lines().all(|line| visible(line) <= 72), "{text}");
}

#[test]
fn wide_adds_where_numbers_come_from() {
    let wide = Look { wide: true, ..look(None) };
    assert!(bare(&render(&soaking(), wide)).contains("from http_requests_total{status}"));
    assert!(!bare(&render(&soaking(), look(None))).contains("http_requests_total"));
}

#[test]
fn what_people_write_cannot_move_the_cursor() {
    let evil = release(json!({ "phase": "Idle", "summary": { "message": "hi\u{1b}[2J\nyou" } }));
    assert!(render(&evil, look(None)).contains("hi [2J you"));
}

#[test]
fn what_people_write_is_read_in_the_order_it_is_written_in() {
    let turned = release(json!({ "phase": "Idle", "summary": { "message": "un\u{202e}do\u{2066}ne" } }));
    let table = table(std::slice::from_ref(&turned), false, Look { wide: true, ..look(None) });
    for text in [render(&turned, look(None)), explain(&turned, &[], look(None)), line(&turned, true), table] {
        assert!(text.contains("undone") && !text.contains(['\u{202e}', '\u{2066}']), "{text:?}");
    }
}

#[test]
fn whoever_changed_a_template_is_named_apart_from_whoever_else_did() {
    let authors = json!({ "step": 1, "changedBy": "alice\nci\u{1b}[2Jbot\n*" });
    let held = release(json!({ "phase": "Held", "run": run("Steps", authors) }));
    let named = "alice, ci [2Jbot, others";
    let text = render(&held, look(None));
    assert!(text.contains(&format!(", changed by {named}\n")), "{text}");
    let text = explain(&held, &[], look(None));
    assert!(text.contains(&format!(" {named} changed the template.")), "{text}");
}
