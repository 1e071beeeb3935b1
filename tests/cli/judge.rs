//! Slots in a file, one line out for each slot.

use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate::cli::judge::{parse, replay};
use tidegate::decide::judge::{Revision, Slot};

fn slots(count: i64, errors: u64) -> Vec<Slot> {
    let line = |t: i64, revision: Revision, errors: u64| Slot {
        t,
        revision,
        pod: format!("{revision:?}"),
        requests: 100,
        errors,
        untold: 0,
        le: Default::default(),
        warming: false,
    };
    (0..count).flat_map(|t| [line(t, Revision::Canary, errors), line(t, Revision::Stable, 0)]).collect()
}

#[test]
fn criteria_are_read_from_a_list_a_mapping_and_a_manifest() {
    let list = "- {name: errors, errorRate: {limit: 1%}}\n";
    assert_eq!(parse(list).unwrap().criteria.len(), 1);
    let asked =
        parse("history: before.ndjson\ncriteria:\n- {name: errors, errorRate: {limit: 1%}}\n").unwrap();
    assert_eq!(asked.history.as_deref(), Some("before.ndjson"));
    // What slots say nothing of is passed over, and named.
    let both = "- {name: errors, errorRate: {limit: 1%}}\n- {name: ready, availability: {limit: 90%}}\n";
    let asked = parse(both).unwrap();
    assert_eq!((asked.criteria.len(), asked.uncounted.as_slice()), (1, ["ready".to_owned()].as_slice()));
    let manifest = "kind: Release\nspec:\n  criteria:\n  - {name: slower, latency: {quantile: 0.95, relativeTo: stable, limit: 50%}}\n";
    assert_eq!(parse(manifest).unwrap().criteria[0].name, "slower");
}

#[test]
fn a_wrong_criterion_is_named() {
    for (text, wanted) in [
        (
            "- {name: errors, errorRate: {limt: 1%, limit: 1%}}",
            "criteria[0].errorRate.limt: there is no such field",
        ),
        ("- {name: errors, errorRate: {limit: five}}", "criteria[0]"),
        ("- {name: errors}", "exactly one of"),
        ("{}", "there are no criteria"),
        ("[]", "the list is empty"),
        ("- {name: ready, availability: {limit: 90%}}", "none counts requests"),
        ("a: [", "not YAML"),
    ] {
        let error = format!("{:#}", parse(text).unwrap_err());
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn one_line_a_slot_says_what_the_judge_says() {
    let asked = parse("- {name: errors, errorRate: {target: 0.1%, limit: 1%}}").unwrap();
    let said: Vec<Value> = replay(&asked.criteria, &[], &slots(60, 0)).map(|said| json!(said)).collect();
    assert_eq!(said.len(), 60);
    assert_eq!(said[0]["verdict"], "Continue", "{}", said[0]);
    assert_eq!(said[59]["verdict"], "Pass", "{}", said[59]);
    for field in ["t", "criterion", "reason", "value", "interval", "limit", "have", "need", "evidence"] {
        assert!(said[59].get(field).is_some(), "{field}");
    }
    let said: Vec<Value> = replay(&asked.criteria, &[], &slots(60, 40)).map(|said| json!(said)).collect();
    let breach = said.iter().position(|line| line["verdict"] == "Breach").unwrap();
    assert!((2..6).contains(&breach), "{breach}");
    assert!(said[breach..].iter().all(|line| line["verdict"] == "Breach"));
}

#[test]
fn canary_pods_that_stop_reporting_are_missing_and_no_requests_are_unknown() {
    let asked = parse("- {name: errors, errorRate: {limit: 5%}}").unwrap();
    let mut lines = slots(20, 0);
    lines.extend(slots(60, 0).into_iter().filter(|slot| slot.t >= 20 && slot.revision == Revision::Stable));
    let last = replay(&asked.criteria, &[], &lines).last().map(|said| json!(said)).unwrap();
    assert_eq!(
        (last["verdict"].as_str(), last["reason"].as_str()),
        (Some("Unknown"), Some("MissingData")),
        "{last}"
    );
    let idle: Vec<Slot> = slots(20, 0).into_iter().map(|slot| Slot { requests: 0, ..slot }).collect();
    let last = replay(&asked.criteria, &[], &idle).last().map(|said| json!(said)).unwrap();
    assert_eq!((last["verdict"].as_str(), last["reason"].as_str()), (Some("Unknown"), Some("NoRequests")));
    assert!(last["need"].as_u64().is_some());
}

#[test]
fn a_slot_in_which_nobody_has_a_line_is_missing_to_all_who_reported() {
    let asked = parse("- {name: errors, errorRate: {limit: 5%}}").unwrap();
    let replayed = |lines: &[Slot]| -> Vec<Value> {
        replay(&asked.criteria, &[], lines).map(|said| json!(said)).collect()
    };
    // Nothing is measured for half a minute.
    let lines: Vec<Slot> = slots(60, 0).into_iter().filter(|slot| !(20..50).contains(&slot.t)).collect();
    let said = replayed(&lines);
    let starts: Vec<i64> = said.iter().filter_map(|line| line["t"].as_i64()).collect();
    assert_eq!(starts, (0..60).collect::<Vec<_>>());
    assert_eq!((&said[19]["verdict"], &said[49]["reason"]), (&json!("Pass"), &json!("MissingData")));
    // First a slot a second, then one every five.
    let slower = |slot: Slot| Slot { t: if slot.t < 20 { slot.t } else { 20 + (slot.t - 20) * 5 }, ..slot };
    let lines: Vec<Slot> = slots(30, 0).into_iter().map(slower).collect();
    let said = replayed(&lines);
    assert_eq!(said.len(), 30);
    assert!(said.iter().all(|line| line["reason"] != "MissingData"), "{said:#?}");
    // However far apart, it has an end.
    let far = |slot: Slot| Slot { t: if slot.t < 5 { slot.t } else { slot.t + 1_000_000_000 }, ..slot };
    let lines: Vec<Slot> = slots(10, 0).into_iter().map(far).collect();
    assert!(replayed(&lines).len() < 4000);
}

#[test]
fn lines_that_cannot_be_read_are_named_by_number_and_passed_over() {
    let directory = std::env::temp_dir().join(format!("tidegate-judge-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let criteria = file("criteria.yaml", "- {name: errors, errorRate: {limit: 5%}}\n");
    let lines = [
        r#"{"t": 0, "revision": "canary", "pod": "c", "requests": 20, "errors": 0}"#,
        r#"{"t": 1, "revision": "canary", "pod": "c", "requests": NaN, "errors": 0}"#,
        r#"{"t": 2, "revision": "canary", "pod": "c", "requests": -5, "errors": 0}"#,
        "",
        "not json",
        r#"{"t": 3, "revision": "canary", "pod": "c", "requests": 20.0, "errors": 0, "le": {"NaN": 3}}"#,
        r#"{"t": 4, "revision": "canary", "pod": "c", "requests": 20.0, "errors": 0}"#,
    ];
    let slots = file("slots.ndjson", &lines.join("\n"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
        .args(["judge", "--criteria", criteria.to_str().unwrap(), "--slots", slots.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    for number in [2, 3, 5, 6] {
        assert!(told.contains(&format!("line {number}:")), "{number}: {told}");
    }
    assert!(told.contains("requests is -5: write a whole number"), "{told}");
    let said = String::from_utf8_lossy(&output.stdout).lines().count();
    assert_eq!(said, 2);
    std::fs::remove_dir_all(&directory).unwrap();
}
