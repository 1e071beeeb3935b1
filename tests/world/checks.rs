//! Checks before the first pod and at steps: tried again, asked again, told, and what a failure does.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::status::Stamp;
use tidegate::decide::About;
use tidegate::decide::judge::Revision;
use tidegate::decide::plan;
use tidegate::decide::promotion::{self, Other, Others, Subject};
use tidegate::decide::snapshot::{ProbeResult, Template};

use super::{World, template};

const FAILED: (ProbeResult, &str) = (ProbeResult::Failed, "answered 500, expected 200");
const UNKNOWN: (ProbeResult, &str) = (ProbeResult::Unknown, "no answer");

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

/// A check that asks, with more to it.
fn check(name: &str, more: Value) -> Value {
    let mut check = json!({"name": name, "http": {"url": "http://shop/"}});
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check
}

fn before(check: Value) -> Value {
    json!({
        "preflight": [check],
        "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

fn at_half(check: Value) -> Value {
    let mut spec = before(json!({}));
    spec["preflight"] = json!([]);
    spec["steps"][0]["checks"] = json!([check]);
    spec
}

fn smoke(more: Value) -> Value {
    let mut smoke = json!({"name": "smoke", "http": {"podPath": "/health"}});
    smoke.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    smoke
}

fn shipped(spec: Value, answers: &[(&'static str, (ProbeResult, &'static str))]) -> World {
    let mut world = World::new(4, rolling(), spec);
    world.answers = answers.iter().copied().collect();
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn outcome(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

fn asked(world: &World) -> usize {
    world.asked.len()
}

#[test]
fn a_failure_is_tried_again_each_time_later_before_it_counts() {
    let retries = json!({"retries": {"limit": 3, "backoff": "10s"}});
    let mut world = shipped(before(check("ready", retries)), &[("ready", FAILED)]);
    let begun = world.now;
    let mut tries = Vec::new();
    while reason(&world) != "CheckFailed" {
        let number = asked(&world);
        world.tick();
        if asked(&world) > number {
            tries.push((world.now - begun).total(jiff::Unit::Second).unwrap());
        }
        assert!(world.now < begun + Duration::from_secs(200), "{}", world.describe());
    }
    assert_eq!(tries.len(), 4, "{tries:?}");
    for (index, least) in [10.0, 20.0, 40.0].into_iter().enumerate() {
        let wait = tries[index + 1] - tries[index];
        assert!((least..least * 1.25 + 1.0).contains(&wait), "{wait} after try {index}: {tries:?}");
    }
    assert_eq!(world.asked.last().unwrap().id.attempt, 4);
    world.pass(Duration::from_secs(120));
    assert_eq!(asked(&world), 4, "it is not asked any more");
}

#[test]
fn a_failure_that_passes_in_a_later_try_lets_it_go_on() {
    let retries = json!({"retries": {"limit": 3, "backoff": "5s"}});
    let mut world = shipped(before(check("ready", retries)), &[("ready", FAILED)]);
    world.until("asked twice", |world| asked(world) == 2);
    let message = &world.status.run.as_ref().unwrap().checks[0].message;
    assert!(message.starts_with("tried again (1 of 3); it failed: answered 500"), "{message}");
    world.answers.clear();
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_clock_that_is_set_back_puts_no_try_off_by_more_than_the_longest_wait() {
    let retries = json!({"retries": {"limit": 1, "backoff": "10s"}});
    let mut world = shipped(before(check("ready", retries)), &[("ready", FAILED)]);
    let put_off = |world: &World| world.status.run.as_ref().and_then(|run| run.checks.first()?.retry_at);
    world.until("failed once", |world| put_off(world).is_some());
    // By the clock of the next leader it is tried again in two hours.
    let known = &mut world.status.run.as_mut().unwrap().checks[0];
    known.retry_at = known.retry_at.map(|at| Stamp(at.0 + Duration::from_secs(7200)));
    world.pass(Duration::from_secs(700));
    assert_eq!(asked(&world), 1, "{}", world.describe());
    world.pass(Duration::from_secs(60));
    assert_eq!((asked(&world), reason(&world)), (2, "CheckFailed"), "{}", world.describe());
}

#[test]
fn a_clock_that_is_set_back_leaves_no_source_unasked_that_was_away() {
    let mut world = shipped(before(check("ready", json!({}))), &[("ready", UNKNOWN)]);
    world.until("asked", |world| reason(world) == "CheckUnknown");
    world.answers.clear();
    // By its clock of now it was answered in two hours.
    for answer in world.probes.values_mut() {
        answer.at += Duration::from_secs(7200);
    }
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_warning_is_told_and_holds_nothing_up() {
    let spec = before(check("nice", json!({"severity": "Warning"})));
    let mut world = shipped(spec, &[("nice", FAILED)]);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    let told =
        |reason: &str| world.notices.iter().find(|notice| notice.reason == reason).map(|notice| &notice.note);
    assert_eq!(told("CheckFailed").unwrap(), "check nice failed: answered 500, expected 200");
    assert!(told("ChecksPassed").unwrap().ends_with("the checks passed, but for warnings: nice"));
}

#[test]
fn what_passed_on_friday_is_asked_again_while_somebody_is_waited_for() {
    let mut spec = before(check("certificate", json!({"every": "1h"})));
    let approval = json!({"name": "sign-off", "approval": {"roles": ["qa-manager"], "quorum": 1}});
    spec["preflight"].as_array_mut().unwrap().push(approval);
    let mut world = shipped(spec, &[]);
    world.until("it passed", |world| reason(world) == "AwaitingApproval");
    assert_eq!(asked(&world), 1);
    world.now += Duration::from_secs(3599);
    world.pass(Duration::from_secs(30));
    assert_eq!(asked(&world), 2, "{}", world.describe());
    world.answers.insert("certificate", FAILED);
    world.now += Duration::from_secs(3600);
    world.until("it failed since", |world| reason(world) == "CheckFailed");
    assert_eq!(asked(&world), 3);
}

#[test]
fn a_source_that_is_away_is_no_failure_and_needs_no_try() {
    let spec = before(check("ready", json!({"retries": {"limit": 1}})));
    let mut world = shipped(spec, &[("ready", UNKNOWN)]);
    world.pass(Duration::from_secs(120));
    assert_eq!(reason(&world), "CheckUnknown", "{}", world.describe());
    assert!(asked(&world) >= 7, "asked again every 15 s: {}", asked(&world));
    world.answers.clear();
    assert_eq!(outcome(&mut world), "Succeeded");
}

#[test]
fn a_step_counts_as_reached_when_its_checks_have_passed() {
    let mut world = shipped(at_half(smoke(json!({}))), &[("half/smoke", UNKNOWN)]);
    world.until("asked", |world| reason(world) == "CheckUnknown");
    world.pass(Duration::from_secs(60));
    let run = world.status.run.clone().unwrap();
    assert_eq!((run.step, run.progress.reached), (0, None), "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["paused"], true, "it stands still meanwhile");
    let asked = world.asked.last().unwrap().clone();
    assert_eq!(asked.pods.len(), 2, "each new pod is asked: {asked:?}");
    world.answers.clear();
    world.until("reached", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.reached.is_some())
    });
    let number = world.asked.len();
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.asked.len(), number, "once passed it is not asked again");
}

#[test]
fn a_check_that_fails_at_a_step_goes_back() {
    let mut world = shipped(at_half(smoke(json!({}))), &[("half/smoke", FAILED)]);
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
    let last = world.status.last_run.clone().unwrap();
    assert_eq!(last.message, "step half: check smoke failed: answered 500, expected 200");
    assert_eq!((world.ready(), world.alive()), (4, 4));
    let report = &world.reports[&last.report];
    assert_eq!(report.checks.len(), 1, "the record has it: {:?}", report.checks);
}

#[test]
fn what_failed_a_check_of_a_step_is_rejected_and_held_when_a_tool_applies_it_again() {
    let mut world = shipped(at_half(smoke(json!({}))), &[("half/smoke", FAILED)]);
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
    world.push(template("v2", false));
    world.pass(Duration::from_secs(60));
    assert_eq!((world.phase().as_str(), reason(&world)), ("Rejected", "RejectedRevision"));
    assert!(world.status.run.is_none() && world.status.last_run.as_ref().unwrap().number == 1);
    assert_eq!(world.alive(), 4, "no pod of it came");
    world.answers.clear();
    world.say("Retry");
    world.until("tried again", |world| world.status.last_run.as_ref().is_some_and(|last| last.number == 2));
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn or_holds_where_that_is_said_until_somebody_says_retry() {
    let mut world = shipped(at_half(smoke(json!({"onFailure": "Hold"}))), &[("half/smoke", FAILED)]);
    world.until("held", |world| reason(world) == "CheckFailed");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.phase(), "Held");
    world.answers.clear();
    world.say("Retry");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.asked.last().unwrap().id.attempt, 2);
}

#[test]
fn a_skip_passes_over_a_step_and_its_checks() {
    let mut world = shipped(at_half(smoke(json!({"onFailure": "Hold"}))), &[("half/smoke", FAILED)]);
    world.until("held", |world| reason(world) == "CheckFailed");
    world.say("Skip");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    let last = world.status.last_run.clone().unwrap();
    assert_eq!(format!("{:?}", world.reports[&last.report].checks[0].state), "Skipped");
}

#[test]
fn a_step_that_is_taken_again_is_checked_again() {
    let mut world = shipped(at_half(smoke(json!({}))), &[]);
    world.until("soaking", |world| world.phase() == "Soaking");
    assert_eq!(asked(&world), 1);
    // All pods go, and come back: the run goes back, and begins anew.
    world.scale(0);
    world.until("none", |world| world.alive() == 0);
    world.scale(4);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(asked(&world), 2, "{:?}", world.asked);
}

#[test]
fn what_passed_is_asked_again_through_the_soak_where_that_is_said() {
    let mut spec = at_half(smoke(json!({"every": "10s"})));
    spec["steps"][0]["soak"] = json!("1m");
    let mut world = shipped(spec, &[]);
    world.until("asked three times", |world| asked(world) == 3);
    world.answers.insert("half/smoke", FAILED);
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
}

#[test]
fn a_job_that_was_made_and_is_gone_is_not_made_again() {
    let template = json!({"spec": {"template": {"spec": {}}}});
    let spec = before(json!({"name": "migrate", "job": {"template": template}}));
    let mut world = shipped(spec, &[]);
    world.until("made", |world| !world.jobs.is_empty());
    assert_eq!(world.jobs.len(), 1);
    // Nothing of it is ever seen.
    world.until("held", |world| reason(world) == "CheckFailed");
    let message = &world.status.run.as_ref().unwrap().checks[0].message;
    assert!(message.ends_with("is gone, and nobody knows what it did"), "{message}");
    assert_eq!(world.jobs.len(), 1, "{:?}", world.jobs);
    world.say("Retry");
    world.until("made again, because somebody says so", |world| world.jobs.len() == 2);
}

#[test]
fn a_workload_check_is_told_what_is_released_and_what_the_owner_lets_it_add() {
    let workload = || before(json!({"name": "workload", "http": null, "workload": {}}));
    let mut world = shipped(workload(), &[("workload", FAILED)]);
    world.until("it failed", |world| reason(world) == "CheckFailed");
    let About::Workload(subject) = world.asked[0].about.clone() else { panic!("{:?}", world.asked) };
    let version = |template: &Template| template.value()["metadata"]["annotations"]["version"].clone();
    assert_eq!(version(&subject.template), "v2");
    assert_eq!(version(subject.stable.as_ref().unwrap()), "v1");
    assert_eq!((subject.replicas, subject.surge, subject.own.len()), (4, 1, 4));
    world.answers.clear();
    world.say("Retry");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    // Where all go at once none is added.
    let mut spec = workload();
    spec["steps"] = json!([]);
    let mut world = World::new(4, json!({"type": "Recreate"}), spec);
    world.push(template("v2", false));
    world.until("asked", |world| !world.asked.is_empty());
    let About::Workload(subject) = world.asked[0].about.clone() else { panic!("{:?}", world.asked) };
    assert_eq!(subject.surge, 0);
}

#[test]
fn a_promotion_check_is_told_the_images_and_passes_by_itself_when_they_have_soaked() {
    let promotion = json!({"namespace": "staging", "minSoak": "24h"});
    let spec = before(json!({"name": "staging", "http": null, "promotion": promotion}));
    let mut world = shipped(spec, &[("staging", UNKNOWN)]);
    world.until("it is waited for", |world| reason(world) == "CheckUnknown");
    let About::Images(subject) = world.asked[0].about.clone() else { panic!("{:?}", world.asked) };
    assert_eq!(
        (subject.is("ns", "shop"), subject.images.as_slice()),
        (true, ["shop:v1".to_owned()].as_slice())
    );
    world.pass(Duration::from_secs(60));
    world.answers.clear();
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

/// What staging says of them, whose newest run released these images and ended well.
fn promoted(subject: &Subject, released: &[String], now: Timestamp) -> ProbeResult {
    let wanted = promotion::Wanted {
        others: Others::Named(None),
        namespace: Some("staging".to_owned()),
        soak: Duration::ZERO,
    };
    let record = json!({
        "metadata": {"name": "shop-r7"},
        "spec": {"release": "shop", "outcome": "Succeeded", "endedAt": "2027-01-14T08:00:00Z", "canary": {"images": released}},
    });
    let staging = Other { namespace: "staging", name: "shop", release: None, reports: &[record] };
    promotion::judged(&wanted, subject, &staging, now).0
}

/// Version 2 with these lists of containers, while its promotion is waited for; and what it would promote.
fn promoting(containers: Value) -> (World, Subject) {
    let promotion = json!({"namespace": "staging"});
    let spec = before(json!({"name": "staging", "http": null, "promotion": promotion}));
    let mut world = World::new(4, rolling(), spec);
    world.answers.insert("staging", UNKNOWN);
    let mut new = template("v2", false);
    new["spec"].as_object_mut().unwrap().extend(containers.as_object().unwrap().clone());
    world.push(new);
    world.until("it is waited for", |world| reason(world) == "CheckUnknown");
    let About::Images(subject) = world.asked[0].about.clone() else { panic!("{:?}", world.asked) };
    world.answers.clear();
    (world, subject)
}

#[test]
fn a_promotion_check_asks_for_the_images_of_init_containers_and_sidecars_too() {
    let (mut world, subject) = promoting(json!({"initContainers": [
        {"name": "setup", "image": "x@sha256:9"},
        {"name": "migrate", "image": "shop:v1"},
        {"name": "proxy", "image": "proxy:v3", "restartPolicy": "Always"},
    ]}));
    let images = ["shop:v1", "x@sha256:9", "proxy:v3"].map(str::to_owned);
    assert_eq!(subject.images, images, "each once, and the main one first");
    let main = &images[..1];
    assert_eq!(promoted(&subject, main, world.now), ProbeResult::Failed);
    assert_eq!(promoted(&subject, &images[..2], world.now), ProbeResult::Failed);
    assert_eq!(promoted(&subject, &images, world.now), ProbeResult::Passed);
    // What ends well here proves the same to the next stage.
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.reports.values().next().unwrap().canary.images, images);
    assert_eq!(world.status.stable.as_ref().unwrap().images, images);
}

#[test]
fn a_pod_of_many_containers_can_be_promoted_and_one_of_too_many_to_be_recorded_cannot() {
    let containers = |count: usize| {
        let one = |number| json!({"name": format!("c{number}"), "image": format!("c{number}:v2")});
        json!({"containers": (0..count).map(one).collect::<Vec<Value>>()})
    };
    let released = |world: &World| world.reports.values().next().unwrap().canary.images.clone();
    let (mut world, subject) = promoting(containers(20));
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(released(&world).len(), 20);
    assert_eq!(promoted(&subject, &released(&world), world.now), ProbeResult::Passed);
    let begun = world.notices.iter().find(|notice| notice.reason == "RunStarted").unwrap();
    assert!(begun.note.ends_with("(c0:v2, c1:v2, c2:v2, c3:v2 and 16 more)"), "{}", begun.note);

    let (mut world, subject) = promoting(containers(65));
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(released(&world).len(), 64);
    assert_eq!(promoted(&subject, &released(&world), world.now), ProbeResult::Unknown);
    assert_eq!(promoted(&subject, &subject.images, world.now), ProbeResult::Unknown);
}

#[test]
fn a_telemetry_check_asks_stable_pods_as_a_run_would() {
    let mut spec = before(json!({"name": "telemetry", "http": null, "telemetry": {"criteria": ["errors"]}}));
    spec["criteria"] = json!([
        {"name": "errors", "errorRate": {"limit": "5%"}}, {"name": "slow", "latency": {"quantile": 0.99, "limit": "2s"}},
    ]);
    spec["metrics"] = json!({"requests": {"name": "orders_total"}});
    let mut world = shipped(spec, &[("telemetry", UNKNOWN)]);
    world.until("it is waited for", |world| reason(world) == "CheckUnknown");
    let About::Measured(subject) = world.asked[0].about.clone() else { panic!("{:?}", world.asked) };
    assert_eq!(
        (subject.criteria.requests.as_slice(), subject.criteria.latency.len()),
        (["errors".to_owned()].as_slice(), 0)
    );
    assert_eq!(subject.sampling.pods.len(), 4, "{subject:?}");
    assert!(subject.sampling.pods.iter().all(|pod| pod.revision == Revision::Stable), "{subject:?}");
    assert_eq!(subject.sampling.requests, Some(("orders_total".to_owned(), None)));
}

#[test]
fn nobody_is_asked_for_longer_than_others_can_wait() {
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    let url = |timeout: &str| json!({"name": "c", "timeout": timeout, "http": {"url": "http://shop/"}});
    let pods = |timeout: &str| json!({"name": "c", "timeout": timeout, "http": {"podPath": "/"}});
    let of = |kind: &str, timeout: &str, check: &Value| json!({"name": "c", "timeout": timeout, kind: check});
    let before = |check: Value| json!({"preflight": [check]});
    let at_step = |check: Value| json!({"steps": [{"name": "half", "replicas": "50%", "checks": [check]}]});
    let after = |check: Value| json!({"undo": {"validate": {"checks": [check]}}});
    let approval = json!({"roles": ["qa"]});
    let dns = json!({"name": "shop.example.com", "type": "A"});
    for (mut spec, refused) in [
        (before(url("10m")), ""),
        (before(url("10m1s")), "spec.preflight[0]"),
        (before(of("dns", "999999h", &dns)), "spec.preflight[0]"),
        (before(of("telemetry", "1h", &json!({}))), "spec.preflight[0]"),
        (at_step(pods("600s")), ""),
        (at_step(pods("11m")), "spec.steps[0].checks[0]"),
        (after(pods("11m")), "spec.undo.validate.checks[0]"),
        // They keep nobody waiting.
        (before(pods("30m")), ""),
        (before(of("job", "2h", &job)), ""),
        (at_step(of("job", "2h", &job)), ""),
        (before(of("approval", "48h", &approval)), ""),
    ] {
        spec["targetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
        let read = serde_json::from_value(spec.clone()).unwrap_or_else(|problem| panic!("{spec}: {problem}"));
        match plan::plan(&read, false) {
            Ok(_) => assert_eq!(refused, "", "{spec}"),
            Err(problem) => {
                assert_eq!(problem.field, format!("{refused}.timeout"), "{spec}: {problem}");
                assert!(problem.problem.ends_with("write 10m or less, or let a job ask"), "{problem}");
            }
        }
    }
}
