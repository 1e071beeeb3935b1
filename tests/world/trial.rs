//! The trial pod: a pod of the new version that gets no traffic, asked before the Deployment's first.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::{CHECK_LABEL, RELEASE_LABEL, TRIAL};
use tidegate::decide::snapshot::{ProbeAnswer, ProbeId, ProbeResult};

use super::{BADLY, World, second, template};

/// How a trial pod fares, a second after its Job was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fares {
    /// It is Ready.
    Well,
    /// It runs.
    NeverReady,
    /// With this code.
    Ends(i32),
    CannotBePulled,
    FindsNoNode,
    IsNotMade,
    /// Its node is drained.
    Goes,
}

impl Fares {
    /// The Job and its pod, as the cluster shows them.
    pub fn objects(
        self,
        name: &str,
        body: &Value,
        made: Timestamp,
        now: Timestamp,
    ) -> (Value, Option<Value>) {
        let is_up = now >= made + Duration::from_secs(1);
        let mut job = body.clone();
        job["metadata"]["uid"] = json!(format!("uid-{name}"));
        job["metadata"]["namespace"] = json!("ns");
        let ended = |word: &str| {
            json!({"conditions": [
                {"type": word, "status": "True", "reason": "BackoffLimitExceeded", "message": "it has reached its limit"},
            ]})
        };
        job["status"] = match self {
            Self::Ends(0) if is_up => ended("Complete"),
            Self::Ends(_) | Self::Goes if is_up => ended("Failed"),
            _ => json!({}),
        };
        let waiting = |reason: &str, message: &str| {
            json!({"phase": "Pending", "podIP": "10.9.9.9", "containerStatuses": [
                {"restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}},
            ]})
        };
        let running = |is_ready: bool| {
            let ready = if is_ready { "True" } else { "False" };
            json!({
                "phase": "Running", "podIP": "10.9.9.9", "containerStatuses": [{"restartCount": 0, "state": {"running": {}}}],
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": second(made)}],
            })
        };
        let status = match self {
            Self::IsNotMade => return (job, None),
            Self::Goes if is_up => return (job, None),
            Self::Well => running(is_up),
            Self::NeverReady | Self::Goes => running(false),
            Self::Ends(code) if is_up => {
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                let reason = if code == 0 { "Completed" } else { "Error" };
                json!({"phase": phase, "containerStatuses": [
                    {"restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason}}},
                ]})
            }
            Self::Ends(_) => running(false),
            Self::CannotBePulled => waiting("ImagePullBackOff", "no such manifest"),
            Self::FindsNoNode => json!({"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu.",
            }]}),
        };
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": format!("uid-{name}"), "controller": true});
        let pod = json!({
            "metadata": {
                "name": format!("{name}-x"), "namespace": "ns", "uid": format!("{name}-x"), "ownerReferences": [owner],
                "labels": body["spec"]["template"]["metadata"]["labels"],
            },
            "status": status,
        });
        (job, Some(pod))
    }
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn starts(more: Value) -> Value {
    let mut check = json!({"name": "starts", "http": {"podPath": "/version"}});
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check
}

/// A Deployment under these checks, to which nothing has been shipped.
fn world(checks: Value) -> World {
    let steps = json!([{"name": "half", "replicas": "50%"}, {"name": "all", "replicas": "100%"}]);
    World::new(4, rolling(), json!({"preflight": checks, "steps": steps, "watch": []}))
}

fn shipped(more: Value, fares: Fares) -> World {
    let mut world = world(json!([starts(more)]));
    world.trial = fares;
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn message(world: &World) -> String {
    world.status.blocked_by.as_ref().map_or_else(String::new, |blocker| blocker.message.clone())
}

fn succeeds(world: &mut World) {
    world.until("the end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.as_ref().unwrap();
    assert_eq!(format!("{:?}", last.outcome), "Succeeded", "{}", world.describe());
    assert!(world.trials.is_empty(), "its trial pod is gone: {:?}", world.trials);
}

/// No pod of the new version has been ordered.
fn is_untouched(world: &World) -> bool {
    world.sets.iter().all(|set| set.replicas == 0 || set.template == template("v1", false))
}

#[test]
fn a_pod_of_the_new_version_is_asked_before_the_first_one_of_the_deployment_and_goes() {
    let two = json!([starts(json!({})), {"name": "health", "http": {"podPath": "/healthz", "podPort": 81}}]);
    let mut world = world(two);
    let mut new = template("v2", false);
    new["spec"]["readinessGates"] = json!([{"conditionType": "balancer"}]);
    world.push(new);
    world.until("a trial", |world| !world.trials.is_empty());
    let (_, job) = world.trials.values().next().unwrap().clone();
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "Release", "{job:#}");
    assert_eq!(
        (&job["spec"]["backoffLimit"], &job["spec"]["activeDeadlineSeconds"]),
        (&json!(0), &json!(360))
    );
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 600);
    let pod = &job["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"], json!({RELEASE_LABEL: "shop", CHECK_LABEL: TRIAL}), "{job:#}");
    assert_eq!(pod["metadata"]["annotations"]["version"], "v2");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["readinessGates"], Value::Null);
    assert_eq!(pod["spec"]["unknownField"]["kept"], json!([1, 2, 3]));

    world.until("asked", |world| world.asked.len() == 2);
    assert!(is_untouched(&world), "{}", world.describe());
    for probe in &world.asked {
        let pod = &probe.pods[0];
        assert_eq!(
            (pod.name.as_str(), pod.ip.as_str(), pod.on_trial),
            (&*format!("{}-x", world.jobs[0]), "10.9.9.9", true)
        );
        assert_eq!(probe.timeout, Duration::from_secs(10), "one answer is not waited for as long as a start");
    }
    succeeds(&mut world);
    assert_eq!((world.jobs.len(), world.asked.len()), (1, 2), "both share it");
}

#[test]
fn however_long_its_answer_may_take_it_is_not_asked_for_longer_than_anybody_else() {
    let http = json!({"podPath": "/version", "expect": {"within": "999999s"}});
    let mut world = shipped(json!({"timeout": "30m", "http": http}), Fares::Well);
    world.until("asked", |world| !world.asked.is_empty());
    assert_eq!(world.asked[0].timeout, Duration::from_secs(600));
    succeeds(&mut world);
}

#[test]
fn it_comes_after_everything_else_before_the_first_pod() {
    let approval = json!({"name": "sign-off", "approval": {"roles": ["qa-manager"]}});
    let mut world = world(json!([starts(json!({})), approval]));
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    world.release.as_mut().unwrap()["migrations"] = json!([{"name": "add", "kind": "Expand", "job": job}]);
    world.job_ends.insert("migration.add", super::WELL);
    world.push(template("v2", false));
    world.pass(Duration::from_secs(60));
    assert_eq!(reason(&world), "AwaitingApproval");
    assert_eq!(world.jobs, [""; 0], "nothing runs that nobody said yes to");
    // It is not waited for yet: nobody skips it by mistake.
    world.say("Skip");
    world.until("refused", |world| world.actions.iter().all(|action| !action["status"].is_null()));
    assert_eq!(world.actions[0]["status"]["result"], "Refused", "{:?}", world.actions);
    world.say_of("Approve", json!({"role": "qa-manager", "by": "bob"}));
    succeeds(&mut world);
    assert!(
        world.jobs[0].contains("-migration-add-") && world.jobs[1].contains("-trial-pod-"),
        "{:?}",
        world.jobs
    );
}

#[test]
fn a_wrong_answer_holds_it_without_a_pod_and_a_retry_starts_another_one() {
    let mut world = shipped(json!({}), Fares::Well);
    world.answers.insert("starts", (ProbeResult::Failed, "answered 500, expected 200"));
    world.until("held", |world| reason(world) == "CheckFailed");
    assert_eq!(message(&world), "check starts failed: answered 500, expected 200");
    world.until("gone", |world| world.trials.is_empty());
    world.pass(Duration::from_secs(30));
    assert!(is_untouched(&world) && world.jobs.len() == 1, "{}", world.describe());
    world.answers.clear();
    world.say("Retry");
    succeeds(&mut world);
    assert_eq!(world.jobs.len(), 2);
}

#[test]
fn what_keeps_it_from_answering_is_said_with_what_to_do() {
    for (fares, after, words) in [
        (Fares::Ends(3), 5, "ended with exit code 3 (Error) before it was asked; it said: no such table"),
        (
            Fares::Ends(0),
            5,
            "ended by itself, without a fault, before it was asked: its containers are to go on running",
        ),
        (
            Fares::CannotBePulled,
            5,
            "fails: ImagePullBackOff: no such manifest; see whether the image is there, and may be pulled",
        ),
        (
            Fares::FindsNoNode,
            22,
            "is not Ready after 20 s: no node takes it (0/3 nodes are available: 3 Insufficient cpu.); make room",
        ),
        (Fares::NeverReady, 22, "is not Ready after 20 s: its readinessProbe does not succeed; see why"),
        (
            Fares::IsNotMade,
            22,
            "no trial pod was made in 20 s: a ResourceQuota is used up, or an admission policy refuses it; see kubectl events",
        ),
    ] {
        let mut world = shipped(json!({"timeout": "20s"}), fares);
        world.job_ends.insert(TRIAL, BADLY);
        world.pass(Duration::from_secs(after));
        assert_eq!(reason(&world), "CheckFailed", "{fares:?}: {}", world.describe());
        assert!(message(&world).contains(words), "{fares:?}: {}", message(&world));
        world.until("gone", |world| world.trials.is_empty());
        assert!(is_untouched(&world));
    }
}

#[test]
fn a_job_that_the_api_server_refuses_says_so() {
    let mut world = world(json!([starts(json!({}))]));
    let id = ProbeId { run: "r1".into(), check: "Trial/pod".into(), attempt: 1, definition: None };
    let message = "pods must run as nobody".to_owned();
    world.probes.insert(id, ProbeAnswer { at: world.now, result: ProbeResult::Failed, message });
    world.push(template("v2", false));
    world.until("held", |world| reason(world) == "CheckFailed");
    assert_eq!(
        self::message(&world),
        "check starts failed: the job of the trial pod was refused: pods must run as nobody"
    );
    world.say("Retry");
    succeeds(&mut world);
}

#[test]
fn a_job_that_is_refused_in_the_look_that_notes_it_says_so_and_is_not_tried_again_and_again() {
    let mut world = world(json!([starts(json!({}))]));
    world.push(template("v2", false));
    let is_noted = |world: &World| {
        world.status.run.as_ref().is_some_and(|run| run.checks.iter().any(|check| check.job.is_some()))
    };
    world.until("noted", is_noted);
    world.job_objects.clear();
    world.trials.clear();
    let id = ProbeId { run: "r1".into(), check: "Trial/pod".into(), attempt: 1, definition: None };
    let message = "pods must run as nobody".to_owned();
    world.probes.insert(id, ProbeAnswer { at: world.now, result: ProbeResult::Failed, message });
    world.until("held", |world| reason(world) == "CheckFailed");
    let words = "check starts failed: the job of the trial pod was refused: pods must run as nobody";
    assert_eq!(self::message(&world), words);
    let jobs = world.jobs.len();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.jobs.len(), jobs, "{}", world.describe());
}

#[test]
fn retries_start_another_one_each_and_a_warning_holds_nothing_up() {
    let mut world = shipped(json!({"retries": {"limit": 2, "backoff": "5s"}}), Fares::Ends(1));
    world.until("held", |world| reason(world) == "CheckFailed");
    assert_eq!(world.jobs.len(), 3, "{:?}", world.jobs);
    let mut world = shipped(json!({"severity": "Warning"}), Fares::Ends(1));
    succeeds(&mut world);
}

/// It is Ready, and does not listen.
const REFUSED: (ProbeResult, &str) =
    (ProbeResult::Unknown, "trial pod x (10.9.9.9:80): no answer: the connection is refused");

#[test]
fn one_that_is_ready_before_it_listens_is_asked_again() {
    let mut world = shipped(json!({}), Fares::Well);
    world.answers.insert("starts", REFUSED);
    world.until("unknown", |world| reason(world) == "CheckUnknown");
    world.pass(Duration::from_secs(50));
    assert_eq!((world.jobs.len(), world.asked.len()), (1, 4), "{}", world.describe());
    world.answers.clear();
    succeeds(&mut world);
    assert_eq!(world.jobs.len(), 1);
}

#[test]
fn one_that_is_ready_and_gives_no_answer_in_its_time_has_failed_and_so_has_each_retry() {
    let mut world = shipped(json!({"timeout": "60s", "retries": {"limit": 1}}), Fares::Well);
    world.answers.insert("starts", REFUSED);
    world.until("another one", |world| world.jobs.len() == 2);
    assert_eq!(world.status.run.as_ref().unwrap().checks[0].retried, 1);
    assert_eq!(world.trials.len(), 1, "the first one is gone: {:?}", world.trials);
    world.until("held", |world| reason(world) == "CheckFailed");
    assert_eq!(
        message(&world),
        "check starts failed: no answer that tells anything in 60 s: trial pod x (10.9.9.9:80): no answer: the connection is refused; \
         see why, or write a longer timeout"
    );
    world.until("gone", |world| world.trials.is_empty());
    world.pass(Duration::from_secs(300));
    assert!(is_untouched(&world) && world.jobs.len() == 2, "no further one by itself: {:?}", world.jobs);
    world.answers.clear();
    world.say("Retry");
    succeeds(&mut world);
}

#[test]
fn those_that_are_lost_one_after_the_other_come_later_each_time() {
    let mut world = shipped(json!({"retries": {"limit": 1}}), Fares::Goes);
    world.pass(Duration::from_secs(900));
    // After 15 s, 30 s, 60 s, 2 min and 4 min, each and up to a quarter more.
    assert_eq!(world.jobs.len(), 6, "{:?}", world.jobs);
    assert_eq!(reason(&world), "CheckUnknown", "{}", world.describe());
    assert_eq!(world.status.run.as_ref().unwrap().checks[0].retried, 0);
    world.trial = Fares::Well;
    world.until("the end", |world| world.status.last_run.is_some());
}

#[test]
fn one_that_goes_with_its_node_has_not_failed() {
    let mut world = shipped(json!({}), Fares::Goes);
    world.until("unknown", |world| reason(world) == "CheckUnknown");
    assert!(
        message(&world).contains("ended before its pod was asked: BackoffLimitExceeded"),
        "{}",
        message(&world)
    );
    world.trial = Fares::Well;
    succeeds(&mut world);
    assert_eq!(world.jobs.len(), 2);
    // And so has one that somebody deletes.
    let mut world = shipped(json!({}), Fares::NeverReady);
    world.until("made", |world| !world.trials.is_empty());
    world.trials.clear();
    world.pass(Duration::from_secs(31));
    assert!(
        message(&world).contains("is gone, and its pod was not asked; another trial pod is started"),
        "{}",
        message(&world)
    );
    world.trial = Fares::Well;
    succeeds(&mut world);
}

#[test]
fn killed_in_the_middle_it_finds_the_same_pod_again() {
    let mut world = shipped(json!({}), Fares::Well);
    // Each look that makes it dies before status is written.
    while world.trials.is_empty() {
        world.dies_after = Some(1);
        world.tick();
        if world.status.run.is_none() {
            world.tick();
        }
    }
    world.until("asked", |world| world.asked.len() == 1);
    // What it answered is lost.
    world.begin_anew();
    succeeds(&mut world);
    assert_eq!((world.jobs.len(), world.asked.len()), (1, 2));
}

#[test]
fn it_ends_with_its_run_and_when_it_is_skipped() {
    let mut world = shipped(json!({}), Fares::NeverReady);
    world.until("a trial", |world| !world.trials.is_empty());
    world.say("Abort");
    world.until("aborted", |world| world.status.last_run.is_some());
    world.until("gone", |world| world.trials.is_empty());
    assert!(is_untouched(&world));

    let mut world = shipped(json!({}), Fares::NeverReady);
    world.until("a trial", |world| !world.trials.is_empty());
    world.push(template("v3", false));
    world.until("another one", |world| world.jobs.len() == 2);
    world.trial = Fares::Well;
    world.until("the end", |world| world.status.last_run.as_ref().is_some_and(|last| last.number == 2));
    assert!(world.trials.is_empty(), "{:?}", world.trials);

    let mut world = shipped(json!({}), Fares::NeverReady);
    world.until("a trial", |world| !world.trials.is_empty());
    world.tick();
    world.say("Skip");
    succeeds(&mut world);
}

#[test]
fn at_a_step_each_new_pod_is_asked_as_ever() {
    let mut world = shipped(json!({}), Fares::Well);
    world.release.as_mut().unwrap()["steps"][0]["checks"] = json!([starts(json!({}))]);
    succeeds(&mut world);
    let on_trial: Vec<Vec<bool>> =
        world.asked.iter().map(|probe| probe.pods.iter().map(|pod| pod.on_trial).collect()).collect();
    assert_eq!(on_trial, [vec![true], vec![false, false]]);
}
