//! Nodes that are not heard from, and nodes that are drained, in the middle of a run: neither is the version's fault, and nobody waits for pods that are on
//! their way out where nobody ends them.

use tidegate_sim::play::Outcome;

use super::{second, told};

/// Pods that are lost: one stable one, all stable ones, all there are.
const LOST: [usize; 3] = [1, 4, 99];
/// For how many seconds: nobody comes to know; it is known; the pods are deleted meanwhile. And whether the node comes back.
const SILENT: [(u64, bool); 5] = [(30, true), (90, true), (400, true), (30, false), (400, false)];
/// Until then people wait, and help nobody.
const LATER: &str = "at 600000 pages honest";

fn ends(outcome: &Outcome, version: &str, how: &str, story: &str) {
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.version, version, "{story}\n{log}");
    assert_eq!(outcome.end.outcome, how, "{story}\n{log}");
    if how == "Succeeded" {
        assert!(!log.contains("\"Undoing\""), "{story}\n{log}");
    }
}

/// A pod takes twenty seconds to start: after five the first new one is on its way, after forty it serves and the second one is.
#[test]
fn a_move_goes_on_when_a_node_that_was_silent_comes_back_or_its_pods_are_replaced() {
    for pods in LOST {
        for (seconds, comes_back) in SILENT {
            for at in [5000, 40_000] {
                let what = format!("at {at} lose {pods} {seconds} {comes_back}");
                ends(
                    &told(&format!("ready-after 20000\nat 1000 push v2 good\n{what}\n{LATER}")),
                    "v2",
                    "Succeeded",
                    &what,
                );
            }
        }
    }
}

#[test]
fn a_bad_version_comes_back_whatever_nodes_are_silent() {
    for pods in LOST {
        for (seconds, comes_back) in SILENT {
            for conduct in ["stuck", "crash"] {
                let what = format!("at 1000 push v2 {conduct}\nat 5000 lose {pods} {seconds} {comes_back}");
                let story = format!("deadline 60\nready-after 20000\n{what}\n{LATER}");
                ends(&told(&story), "v1", "Undone", &what);
            }
        }
    }
}

/// In the soak of the half.
#[test]
fn new_pods_on_a_silent_node_hold_a_run_until_they_are_replaced_and_those_on_their_way_out_do_not() {
    let held = "canary pods are on nodes that are not heard from";
    let unnoticed = told("at 1000 push v2 good\nat 8000 lose 99 30 true");
    assert_eq!(second(&unnoticed, held), None, "{}", unnoticed.log.join("\n"));
    let usual = second(&unnoticed, "step half passed").expect("it has passed");
    for (seconds, comes_back) in [(900, true), (900, false)] {
        let what = format!("at 8000 lose 99 {seconds} {comes_back}");
        let outcome = told(&format!("at 1000 push v2 good\n{what}"));
        ends(&outcome, "v2", "Succeeded", &what);
        let log = outcome.log.join("\n");
        assert!(second(&outcome, held).is_some_and(|at| (58.0..65.0).contains(&at)), "{log}");
        // They are deleted after 358 s, and on their way out for nine minutes more.
        let passed = second(&outcome, "step half passed").expect("it has passed");
        assert!((usual + 250.0..500.0).contains(&passed), "{passed}, usually {usual}\n{log}");
    }
}

#[test]
fn a_run_goes_on_while_nodes_are_drained_one_after_the_other() {
    for replicas in [1, 4] {
        for from in [2500, 10_000] {
            let drains = [("n1", from), ("n2", from + 20_000), ("n3", from + 40_000)];
            let drains = drains.map(|(node, at)| format!("at {at} drain {node} 15")).join("\n");
            let what = format!("replicas {replicas}\nready-after 4000\nat 1000 push v2 good\n{drains}");
            ends(&told(&what), "v2", "Succeeded", &what);
        }
    }
}

#[test]
fn a_bad_version_comes_back_while_a_node_is_drained() {
    for node in ["n1", "n2", "n3"] {
        for conduct in ["stuck", "crash"] {
            let what = format!("at 1000 push v2 {conduct}\nat 2500 drain {node} 60");
            ends(&told(&format!("deadline 60\nready-after 4000\n{what}")), "v1", "Undone", &what);
        }
    }
}

/// Nobody pushes anything: what ends their pods is over with the story.
#[test]
fn stable_pods_that_fail_between_runs_are_themselves_again_when_nothing_goes_wrong_any_more() {
    let outcome = told("at 1000 fail\nat 60000 pages honest");
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.version, "v1", "{log}");
    assert!(outcome.end.outcome.is_null(), "{log}");
}
