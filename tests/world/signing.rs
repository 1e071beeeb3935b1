//! Signatures in the small world: how long they count and for what, what is attested, the sign-off after the watch, and who is asked before an undo.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::{Cause, Stamp};
use tidegate::decide::snapshot::ProbeResult;

use super::authors::authors;
use super::{World, template};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn quarter() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn quick(more: Value) -> Value {
    let mut spec = json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

pub(super) fn before(check: Value) -> Value {
    quick(json!({"preflight": [check]}))
}

pub(super) fn sign_off(more: Value) -> Value {
    let mut approval = json!({"roles": ["qa-manager"]});
    approval.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "sign-off", "approval": approval})
}

fn rehearsed(more: Value) -> Value {
    let mut attest = json!({"text": "the rollback was rehearsed", "roles": ["qa-manager"], "link": "https://wiki/rollback"});
    attest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "rehearsed", "attest": attest})
}

fn shipped(spec: Value) -> World {
    let mut world = World::new(4, quarter(), spec);
    world.push(template("v2", false));
    world
}

pub(super) fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

pub(super) fn message(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.message.as_str())
}

fn unblock(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.unblock.as_str())
}

pub(super) fn until_blocked(world: &mut World, wanted: &str) {
    world.until(wanted, |world| reason(world) == wanted);
}

fn ended(world: &mut World, wanted: &str) {
    world.until("an end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.as_ref().unwrap();
    assert_eq!(format!("{:?}", last.outcome), wanted, "{}", world.describe());
}

fn said(world: &World) -> &str {
    &world.status.last_run.as_ref().unwrap().message
}

/// What came of the action that was said last.
pub(super) fn answer(world: &mut World) -> String {
    world.until("an answer", |world| world.actions.last().is_some_and(|action| !action["status"].is_null()));
    let status = &world.actions.last().unwrap()["status"];
    format!("{}: {}", status["result"].as_str().unwrap(), status["message"].as_str().unwrap())
}

pub(super) fn say_as(world: &mut World, action: &str, more: Value) -> String {
    let mut fields = json!({"role": "qa-manager"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.say_of(action, fields);
    answer(world)
}

fn content(world: &World) -> String {
    world.status.run.as_ref().unwrap().content.clone()
}

fn told(world: &World, reason: &str) -> usize {
    world.notices.iter().filter(|notice| notice.reason == reason).count()
}

#[test]
fn a_signature_counts_for_as_long_as_it_is_valid_while_other_things_are_waited_for() {
    let mut spec = before(sign_off(json!({"validFor": "1h"})));
    spec["preflight"].as_array_mut().unwrap().push(json!({"name": "ready", "http": {"url": "http://shop/"}}));
    let mut world = World::new(4, quarter(), spec);
    world.answers.insert("ready", (ProbeResult::Unknown, "no answer"));
    world.push(template("v2", false));
    until_blocked(&mut world, "CheckUnknown");
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    world.now += HOUR - 10 * SECOND;
    world.pass(SECOND);
    assert_eq!(reason(&world), "CheckUnknown", "{}", world.describe());
    // Nobody but the clock says so: the look is due by itself.
    world.pass(15 * SECOND);
    world.answers.clear();
    until_blocked(&mut world, "AwaitingApproval");
    assert!(
        message(&world).contains("the signature of alice (qa-manager) counted until"),
        "{}",
        message(&world)
    );
    world.pass(30 * SECOND);
    assert_eq!(world.alive(), 4, "{}", world.describe());
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    ended(&mut world, "Succeeded");
}

#[test]
fn a_signature_for_another_plan_than_the_one_that_stands_is_refused() {
    let mut world = shipped(before(sign_off(json!({}))));
    until_blocked(&mut world, "AwaitingApproval");
    let signed_for = content(&world);
    assert_eq!(signed_for.len(), 64);
    // What nobody signs changes nothing.
    world.release.as_mut().unwrap()["reports"] = json!({"keep": 3});
    world.pass(SECOND);
    assert_eq!(content(&world), signed_for);
    world.release.as_mut().unwrap()["steps"][0]["soak"] = json!("1s");
    world.pass(SECOND);
    assert_ne!(content(&world), signed_for);
    let refused = say_as(&mut world, "Approve", json!({"content": signed_for}));
    assert_eq!(refused, "Refused: the plan has changed since: look at it again, and sign again");
    let now = content(&world);
    assert_eq!(say_as(&mut world, "Approve", json!({"content": now})), "Done: signed as qa-manager");
    ended(&mut world, "Succeeded");
}

#[test]
fn an_empty_list_of_criteria_is_another_plan_than_none() {
    let mut world = shipped(before(sign_off(json!({}))));
    until_blocked(&mut world, "AwaitingApproval");
    let before = content(&world);
    world.release.as_mut().unwrap().as_object_mut().unwrap().remove("criteria");
    world.pass(SECOND);
    assert_ne!(content(&world), before);
}

#[test]
fn a_plan_that_changes_before_the_first_pod_voids_what_was_signed_and_says_so_once() {
    let mut spec = before(sign_off(json!({})));
    spec["windows"] = json!({"allow": [{"days": ["Fri"], "from": "09:00", "to": "16:00"}]});
    let mut world = shipped(spec);
    until_blocked(&mut world, "OutsideWindow");
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    world.pass(SECOND);
    world.release.as_mut().unwrap()["steps"][0]["replicas"] = json!("75%");
    world.pass(SECOND);
    assert!(
        message(&world).contains("what alice (qa-manager) signed has changed since: sign again"),
        "{}",
        message(&world)
    );
    // Also when the first plan is written back: what is void stays so.
    world.release.as_mut().unwrap()["steps"][0]["replicas"] = json!("50%");
    world.now += HOUR;
    until_blocked(&mut world, "AwaitingApproval");
    world.pass(10 * SECOND);
    assert_eq!(world.alive(), 4, "{}", world.describe());
    assert_eq!(told(&world, "SignatureVoided"), 1, "{}", world.describe());
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    ended(&mut world, "Succeeded");
    let report = world.reports.values().next().unwrap();
    assert_eq!(report.signatures.len(), 2);
    assert!(report.signatures[0].voided.is_some() && report.signatures[1].voided.is_none());
}

#[test]
fn a_plan_that_changes_in_mid_run_goes_no_step_further_until_it_is_signed_again() {
    let mut world = shipped(before(sign_off(json!({}))));
    until_blocked(&mut world, "AwaitingApproval");
    say_as(&mut world, "Approve", json!({}));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.release.as_mut().unwrap()["watch"] = json!([{"for": "1s", "every": "1s"}]);
    until_blocked(&mut world, "AwaitingApproval");
    let expected = "the plan has changed: check sign-off: 0 of 1 signatures, roles: qa-manager; \
                    what alice (qa-manager) signed has changed since: sign again";
    assert_eq!(message(&world), expected);
    world.pass(30 * SECOND);
    assert_eq!(world.phase(), "Held", "{}", world.describe());
    say_as(&mut world, "Approve", json!({}));
    ended(&mut world, "Succeeded");
}

#[test]
fn nothing_that_nobody_signed_is_asked_for_when_the_plan_changes_in_mid_run() {
    let mut world = shipped(quick(json!({})));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.release.as_mut().unwrap()["watch"] = json!([{"for": "1s", "every": "1s"}]);
    ended(&mut world, "Succeeded");
    assert_eq!(told(&world, "SignatureVoided"), 0);
}

#[test]
fn what_nobody_attests_is_unknown_and_the_reason_is_kept() {
    let mut world = shipped(before(rehearsed(json!({}))));
    until_blocked(&mut world, "AwaitingAttestation");
    let expected = "check rehearsed: nobody attests that \"the rollback was rehearsed\" (https://wiki/rollback), roles: qa-manager";
    assert_eq!(message(&world), expected);
    assert_eq!(
        unblock(&world),
        "kubectl tidegate attest shop -n ns --check rehearsed --role qa-manager --reason '...'"
    );
    let check = &world.status.run.as_ref().unwrap().checks[0];
    assert_eq!(format!("{:?}", check.state), "Unknown");
    let waits = world.status.conditions.iter().find(|condition| condition.type_ == "AwaitingApproval");
    assert!(waits.is_some_and(|waits| waits.status == "True"), "{}", world.describe());
    // An approval is no attestation, nobody skips one, and the wrong check and role are told apart.
    assert_eq!(
        say_as(&mut world, "Approve", json!({})),
        "Refused: no approval of this release asks for role qa-manager"
    );
    world.say("Skip");
    assert_eq!(answer(&mut world), "Refused: only signatures are waited for: they cannot be skipped");
    let attest = |world: &mut World, more: Value| say_as(world, "Attest", more);
    assert_eq!(
        attest(&mut world, json!({"check": "other"})),
        "Refused: where the run stands no check other is to be attested"
    );
    assert_eq!(
        attest(&mut world, json!({"check": "rehearsed", "role": "tech-lead"})),
        "Refused: check rehearsed is attested in one of the roles qa-manager"
    );
    assert_eq!(
        attest(&mut world, json!({"check": "rehearsed", "by": "owner"})),
        "Refused: owner made the change that this run is about: somebody else must attest it"
    );
    let done = attest(&mut world, json!({"check": "rehearsed", "reason": "on Tuesday, INC-12"}));
    assert_eq!(done, "Done: attested as qa-manager: \"the rollback was rehearsed\" (https://wiki/rollback)");
    ended(&mut world, "Succeeded");
    let report = world.reports.values().next().unwrap();
    let told = "\"the rollback was rehearsed\" (https://wiki/rollback), attested by alice (qa-manager): on Tuesday, INC-12";
    assert_eq!(report.checks[0].message, told);
    let signature = &report.signatures[0];
    assert_eq!((signature.check.as_str(), signature.reason.as_str()), ("rehearsed", "on Tuesday, INC-12"));
}

#[test]
fn what_is_attested_at_a_step_is_asked_for_when_its_pods_stand_and_counts_for_that_step() {
    let mut spec = quick(json!({}));
    spec["steps"][0]["checks"] = json!([rehearsed(json!({}))]);
    spec["steps"][0]["soak"] = json!("20s");
    let mut world = shipped(spec);
    world.until("moving", |world| world.phase() == "Moving" && world.alive() > 4);
    let early = say_as(&mut world, "Attest", json!({"check": "rehearsed"}));
    assert_eq!(early, "Refused: check rehearsed is not asked yet: attest it when the step's pods stand");
    until_blocked(&mut world, "AwaitingAttestation");
    assert_eq!(world.phase(), "Held");
    assert!(message(&world).starts_with("step half: check rehearsed: nobody attests"), "{}", message(&world));
    world.say("Skip");
    assert_eq!(answer(&mut world), "Refused: only signatures are waited for: they cannot be skipped");
    assert!(say_as(&mut world, "Attest", json!({"check": "rehearsed"})).starts_with("Done"));
    world.until("soaking", |world| world.phase() == "Soaking");
    // What is skipped now is the soak.
    world.say("Skip");
    ended(&mut world, "Succeeded");
}

/// Something is attested at the first of three steps.
fn attested_at_tenth(preflight: Value) -> World {
    let mut spec = quick(json!({"preflight": preflight}));
    spec["steps"] = json!([
        {"name": "tenth", "replicas": "25%", "soak": "5s", "checks": [rehearsed(json!({}))]},
        {"name": "half", "replicas": "50%", "soak": "20s"},
        {"name": "all", "replicas": "100%"},
    ]);
    let mut world = shipped(spec);
    until_blocked(&mut world, "AwaitingAttestation");
    if preflight != json!([]) {
        assert!(say_as(&mut world, "Attest", json!({"check": "rehearsed"})).starts_with("Done"));
        world.until("asked at the step", |world| message(world).starts_with("step tenth: "));
    }
    assert!(say_as(&mut world, "Attest", json!({"check": "rehearsed"})).starts_with("Done"));
    world
}

fn stands_at(world: &mut World, step: &str, phase: &str) {
    world.until(step, |world| {
        world.phase() == phase && world.status.step.as_ref().is_some_and(|known| known.name == step)
    });
}

#[test]
fn what_was_attested_at_a_step_that_is_left_is_attested_again_when_the_plan_has_changed() {
    for (step, phase) in [("half", "Soaking"), ("watch", "Watching")] {
        let mut world = attested_at_tenth(json!([]));
        stands_at(&mut world, step, phase);
        let unasked = say_as(&mut world, "Attest", json!({"check": "rehearsed"}));
        assert_eq!(unasked, "Refused: where the run stands no check rehearsed is to be attested");
        world.release.as_mut().unwrap()["watch"] = json!([{"for": "6s", "every": "1s"}]);
        until_blocked(&mut world, "AwaitingAttestation");
        let expected = "the plan has changed: check tenth/rehearsed: nobody attests that \"the rollback was rehearsed\" \
                        (https://wiki/rollback), roles: qa-manager; what is released has changed since alice did: attest it again";
        assert_eq!(message(&world), expected);
        let command = "kubectl tidegate attest shop -n ns --check rehearsed --role qa-manager --reason '...'";
        assert_eq!(unblock(&world), command);
        world.pass(10 * SECOND);
        assert_eq!(reason(&world), "AwaitingAttestation", "{}", world.describe());
        let done = say_as(&mut world, "Attest", json!({"check": "rehearsed"}));
        assert!(done.starts_with("Done: attested as qa-manager"), "{done}");
        ended(&mut world, "Succeeded");
        let signatures = &world.reports.values().next().unwrap().signatures;
        let places: Vec<&str> = signatures.iter().map(|signature| signature.check.as_str()).collect();
        assert_eq!(places, ["tenth/rehearsed", "tenth/rehearsed"]);
    }
}

#[test]
fn what_is_to_be_attested_since_somebody_asked_for_it_in_the_watch_can_be() {
    let mut world =
        shipped(quick(json!({"preflight": [sign_off(json!({}))], "watch": [{"for": "1m", "every": "1s"}]})));
    until_blocked(&mut world, "AwaitingApproval");
    say_as(&mut world, "Approve", json!({}));
    world.until("watching", |world| world.phase() == "Watching");
    let checks = &mut world.release.as_mut().unwrap()["preflight"];
    checks.as_array_mut().unwrap().push(rehearsed(json!({})));
    until_blocked(&mut world, "AwaitingApproval");
    say_as(&mut world, "Approve", json!({}));
    until_blocked(&mut world, "AwaitingAttestation");
    let done = say_as(&mut world, "Attest", json!({"check": "rehearsed"}));
    assert!(done.starts_with("Done: attested as qa-manager"), "{done}");
    ended(&mut world, "Succeeded");
}

#[test]
fn of_several_checks_with_one_name_the_one_is_attested_that_is_asked_for() {
    let mut world = attested_at_tenth(json!([rehearsed(json!({}))]));
    stands_at(&mut world, "half", "Soaking");
    world.release.as_mut().unwrap()["watch"] = json!([{"for": "6s", "every": "1s"}]);
    for place in ["rehearsed", "tenth/rehearsed"] {
        let asks = format!("the plan has changed: check {place}: ");
        world.until(place, |world| message(world).starts_with(&asks));
        assert!(say_as(&mut world, "Attest", json!({"check": "rehearsed"})).starts_with("Done"));
    }
    ended(&mut world, "Succeeded");
    let signatures = &world.reports.values().next().unwrap().signatures;
    let places: Vec<&str> = signatures.iter().map(|signature| signature.check.as_str()).collect();
    assert_eq!(places, ["rehearsed", "tenth/rehearsed", "rehearsed", "tenth/rehearsed"]);
}

#[test]
fn a_run_has_not_succeeded_before_it_is_signed_off_and_is_watched_until_then() {
    let mut world = shipped(quick(json!({
        "signOff": {"roles": ["qa-manager"]},
        "criteria": [{"name": "memory", "value": {"json": {"url": "http://shop/", "pointer": "/m"}, "limit": "value > 10"}}],
    })));
    world.memory = Some(1.0);
    until_blocked(&mut world, "AwaitingApproval");
    assert_eq!(world.phase(), "Watching");
    assert_eq!(message(&world), "sign-off: 0 of 1 signatures, roles: qa-manager");
    world.say("Skip");
    assert_eq!(answer(&mut world), "Refused: only signatures are waited for: they cannot be skipped");
    world.pass(60 * SECOND);
    assert!(
        world.status.last_run.is_none() && world.deployment()["spec"]["paused"].is_null(),
        "{}",
        world.describe()
    );
    let mut breached = world.copy();
    assert_eq!(say_as(&mut world, "Approve", json!({"reason": "looks well"})), "Done: signed as qa-manager");
    ended(&mut world, "Succeeded");
    assert_eq!(world.reports.values().next().unwrap().signatures[0].reason, "looks well");
    // A breach meanwhile goes back, and so does who refuses it.
    let mut refused = breached.copy();
    breached.memory = Some(11.0);
    ended(&mut breached, "Undone");
    assert_eq!(say_as(&mut refused, "Reject", json!({})), "Done: refused: going back");
    ended(&mut refused, "Aborted");
    assert_eq!(said(&refused), "alice refused it as qa-manager: because");
}

#[test]
fn a_signature_of_before_the_watch_is_no_sign_off() {
    let mut world = shipped(quick(json!({
        "preflight": [sign_off(json!({}))],
        "signOff": {"roles": ["qa-manager"]},
    })));
    until_blocked(&mut world, "AwaitingApproval");
    say_as(&mut world, "Approve", json!({}));
    world.until("watching", |world| world.phase() == "Watching");
    until_blocked(&mut world, "AwaitingApproval");
    assert_eq!(message(&world), "sign-off: 0 of 1 signatures, roles: qa-manager");
    world.pass(2 * SECOND);
    say_as(&mut world, "Approve", json!({}));
    ended(&mut world, "Succeeded");
}

#[test]
fn whoever_signs_what_is_asked_for_has_signed_though_the_operators_clock_is_ahead() {
    let early = 3 * 60 * SECOND;
    let run = |world: &World| json!({"run": world.status.run.as_ref().unwrap().id});
    let with = |mut fields: Value, run: Value| {
        fields.as_object_mut().unwrap().extend(run.as_object().unwrap().clone());
        fields
    };
    let mut undo = asked(json!({}));
    undo.ahead = early;
    let agreed = with(json!({"role": "sre", "undo": true}), run(&undo));
    assert_eq!(say_as(&mut undo, "Approve", agreed), "Done: agreed to the undo as sre");
    undo.pass(SECOND);
    assert_eq!(undo.phase(), "Undoing", "{}", undo.describe());

    let mut spec = quick(json!({"signOff": {"roles": ["qa-manager"]}}));
    spec["steps"][0]["checks"] = json!([rehearsed(json!({}))]);
    let mut world = shipped(spec);
    world.ahead = early;
    until_blocked(&mut world, "AwaitingAttestation");
    let attested = with(json!({"check": "rehearsed"}), run(&world));
    assert!(say_as(&mut world, "Attest", attested).starts_with("Done"), "{}", world.describe());
    until_blocked(&mut world, "AwaitingApproval");
    assert_eq!(world.phase(), "Watching");
    let signed = run(&world);
    assert_eq!(say_as(&mut world, "Approve", signed), "Done: signed as qa-manager");
    world.pass(SECOND);
    ended(&mut world, "Succeeded");
}

/// Version 2 is breached at half of the pods, and somebody is asked whether to go back.
fn asked(more: Value) -> World {
    let mut approval = json!({"roles": ["sre"], "timeout": "2m"});
    approval.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut world = shipped(quick(json!({
        "undo": {"approval": approval},
        "steps": [{"name": "half", "replicas": "50%", "soak": "1m"}, {"name": "all", "replicas": "100%"}],
        "criteria": [{"name": "memory", "value": {"json": {"url": "http://shop/", "pointer": "/m"}, "limit": "value > 10"}}],
    })));
    world.memory = Some(1.0);
    world.until("soaking", |world| world.phase() == "Soaking");
    world.memory = Some(11.0);
    until_blocked(&mut world, "AwaitingUndoApproval");
    world
}

#[test]
fn an_undo_that_is_asked_about_stands_still_meanwhile_and_goes_back_when_the_time_is_over() {
    let mut world = asked(json!({}));
    let since = world.now;
    assert_eq!(world.phase(), "Held");
    assert_eq!(
        unblock(&world),
        "kubectl tidegate approve shop -n ns --undo --role sre, or to stay kubectl tidegate reject shop -n ns --undo --role sre --reason '...'"
    );
    let until = world.status.blocked_by.as_ref().unwrap().until.unwrap().0;
    let wait = (until - since).total(jiff::Unit::Second).unwrap();
    assert!((119.0..=120.0).contains(&wait), "{wait}");
    assert_eq!(told(&world, "UndoAsked"), 1);
    // Whoever starts anew goes on with the same clock, whatever is measured meanwhile, and pauses and skips delay nothing.
    world.memory = None;
    world.say("Pause");
    assert_eq!(answer(&mut world), "Done: standing still");
    for action in ["Skip", "Retry"] {
        world.say(action);
        assert!(answer(&mut world).starts_with("Refused: it is asked about an undo"), "{}", world.describe());
    }
    world.pass(90 * SECOND);
    assert_eq!(reason(&world), "AwaitingUndoApproval", "{}", world.describe());
    assert_eq!(
        (world.alive(), world.deployment()["spec"]["paused"] == true),
        (4, true),
        "{}",
        world.describe()
    );
    world.until("going back", |world| world.phase() == "Undoing");
    let late = (world.now - until).total(jiff::Unit::Second).unwrap();
    assert!((0.0..0.5).contains(&late), "{late}");
    ended(&mut world, "Undone");
    assert!(said(&world).ends_with("Who was asked said nothing in 120 s"), "{}", said(&world));
    assert_eq!(told(&world, "UndoAsked"), 1);
}

#[test]
fn a_clock_that_is_set_back_lets_a_breached_version_serve_no_longer_than_somebody_may_be_asked() {
    let mut world = asked(json!({}));
    world.pass(10 * SECOND);
    // By the clock of the next leader they are asked in two hours.
    let asked = world.status.run.as_mut().and_then(|run| run.undo_asked.as_mut()).unwrap();
    (asked.at, asked.until) = (Stamp(asked.at.0 + 2 * HOUR), Stamp(asked.until.0 + 2 * HOUR));
    let (at, since) = (asked.at, world.now);
    world.tick();
    let until = world.status.blocked_by.as_ref().unwrap().until.unwrap().0;
    assert!(until <= since + 121 * SECOND, "{until}, at {since}");
    let mut agreed = world.copy();
    let run = agreed.status.run.as_ref().unwrap().id.clone();
    let agree = json!({"role": "sre", "undo": true, "run": run});
    assert_eq!(say_as(&mut agreed, "Approve", agree), "Done: agreed to the undo as sre");
    agreed.pass(SECOND);
    assert_eq!(agreed.phase(), "Undoing", "what is signed counts: {}", agreed.describe());
    // Once its time is bounded it is not bounded anew.
    world.pass(60 * SECOND);
    let asked = world.status.run.as_ref().and_then(|run| run.undo_asked.as_ref()).unwrap();
    assert_eq!((asked.at, asked.until.0), (at, until));
    world.until("going back", |world| world.phase() == "Undoing");
    assert!(world.now <= until + SECOND, "{}, until {until}", world.now);
    ended(&mut world, "Undone");
    assert!(said(&world).ends_with("Who was asked said nothing in time"), "{}", said(&world));
}

#[test]
fn a_newer_template_in_the_watch_does_not_make_what_is_asked_about_stable() {
    let mut world = shipped(quick(json!({
        "undo": {"approval": {"roles": ["sre"], "timeout": "5m"}},
        "watch": [{"for": "10m", "every": "1s"}],
        "criteria": [{"name": "memory", "value": {"json": {"url": "http://shop/", "pointer": "/m"}, "limit": "value > 10"}}],
    })));
    world.memory = Some(1.0);
    world.until("watching", |world| world.phase() == "Watching");
    let stable = world.status.stable.clone().unwrap().fingerprint;
    world.memory = Some(11.0);
    until_blocked(&mut world, "AwaitingUndoApproval");
    world.memory = Some(1.0);
    world.push_by("bob", template("v3", false));
    ended(&mut world, "Undone");
    assert!(said(&world).ends_with("wrote a newer template while somebody was asked"), "{}", said(&world));
    let rejected = &world.status.rejected[0].fingerprint;
    let known = world.status.stable.as_ref().unwrap().fingerprint.clone();
    assert!(known == stable && *rejected != stable, "{}", world.describe());
    world.until("a run of v3", |world| world.status.run.as_ref().is_some_and(|run| run.number == 2));
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false), "{}", world.describe());
    // What he wrote it over has not become stable.
    assert_eq!(authors(&world), "owner\nbob", "{}", world.describe());
}

#[test]
fn an_undo_that_is_agreed_to_goes_back_at_once() {
    let mut world = asked(json!({"quorum": 2}));
    let agree = |world: &mut World, more: Value| {
        let mut fields = json!({"role": "sre", "undo": true});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        say_as(world, "Approve", fields)
    };
    assert_eq!(
        agree(&mut world, json!({"role": "qa-manager"})),
        "Refused: role qa-manager is not asked about an undo of this release"
    );
    assert_eq!(agree(&mut world, json!({})), "Done: agreed to the undo as sre");
    world.pass(5 * SECOND);
    assert!(message(&world).ends_with("1 of 2 signatures, roles: sre"), "{}", message(&world));
    // Who made the change may say that it goes back.
    assert_eq!(agree(&mut world, json!({"by": "owner"})), "Done: agreed to the undo as sre");
    ended(&mut world, "Undone");
    assert!(
        said(&world).ends_with("Going back was agreed to by alice (sre), owner (sre)"),
        "{}",
        said(&world)
    );
    assert_eq!(world.reports.values().next().unwrap().signatures.len(), 2);
}

#[test]
fn an_undo_that_is_refused_is_asked_about_again_only_when_somebody_goes_on() {
    let mut world = asked(json!({}));
    let refuse = json!({"role": "sre", "undo": true, "reason": "the probe is wrong"});
    let mut by_owner = refuse.clone();
    by_owner["by"] = json!("owner");
    assert_eq!(
        say_as(&mut world, "Reject", by_owner),
        "Refused: owner made the change that this run is about: somebody else must say that it stays"
    );
    assert_eq!(say_as(&mut world, "Reject", refuse), "Done: it does not go back: the run stands still");
    until_blocked(&mut world, "UndoRefused");
    assert!(
        message(&world).starts_with(
            "alice decided not to go back: the probe is wrong. It would go back because: memory"
        ),
        "{}",
        message(&world)
    );
    let stalled = world.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
    assert!(stalled.is_some_and(|stalled| stalled.status == "True"), "{}", world.describe());
    world.memory = Some(100.0);
    world.pass(300 * SECOND);
    assert_eq!((reason(&world), world.alive()), ("UndoRefused", 4), "{}", world.describe());
    let mut aborted = world.copy();
    aborted.say("Abort");
    ended(&mut aborted, "Aborted");
    let note = &aborted.reports.values().next().unwrap().notes[0];
    assert!(note.starts_with("alice decided as sre not to go back: the probe is wrong"), "{note}");
    world.say("Resume");
    assert_eq!(answer(&mut world), "Done: going on: what is still wrong asks again");
    until_blocked(&mut world, "AwaitingUndoApproval");
    assert_eq!(told(&world, "UndoAsked"), 2);
    ended(&mut world, "Undone");
}

#[test]
fn an_undo_that_was_refused_is_not_carried_out_while_a_newer_template_cannot_be_kept_unless_pods_fail() {
    let mut world = asked(json!({}));
    say_as(&mut world, "Reject", json!({"role": "sre", "undo": true, "reason": "the probe is wrong"}));
    until_blocked(&mut world, "UndoRefused");
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    until_blocked(&mut world, "WriteRefused");
    world.pass(120 * SECOND);
    assert_eq!((reason(&world), world.alive()), ("WriteRefused", 4), "{}", world.describe());
    crash_new(&mut world);
    ended(&mut world, "Undone");
    let undo = world.reports.values().next().unwrap().undo.clone().unwrap();
    assert_eq!(undo.cause, Cause::PodsFailing, "{}", world.describe());
}

#[test]
fn nobody_is_asked_when_pods_fail_or_somebody_aborts_or_refuses_the_release() {
    let mut world = asked(json!({}));
    let mut crashing = world.copy();
    crash_new(&mut crashing);
    ended(&mut crashing, "Undone");
    assert!(crashing.now < world.now + 30 * SECOND, "{}", crashing.describe());
    let begun = world.now;
    world.say("Abort");
    ended(&mut world, "Aborted");
    assert!(world.now < begun + 30 * SECOND, "{}", world.describe());
}

/// All pods of the new version end again and again.
fn crash_new(world: &mut World) {
    let new = new_set(world);
    for pod in world.pods.iter_mut().filter(|pod| pod.set == new) {
        pod.crashing = true;
        pod.ready_since = None;
    }
}

/// The name of the new version's ReplicaSet.
fn new_set(world: &World) -> String {
    let set = world.sets.iter().find(|set| set.template["metadata"]["annotations"]["version"] == "v2");
    set.unwrap().name.clone()
}

#[test]
fn a_failed_check_of_a_step_asks_too_and_may_be_tried_again_once_the_undo_is_refused() {
    let mut spec = quick(json!({"undo": {"approval": {"roles": ["sre"]}}}));
    spec["steps"][0]["checks"] = json!([{"name": "smoke", "http": {"podPath": "/health"}}]);
    let mut world = World::new(4, quarter(), spec);
    world.answers.insert("half/smoke", (ProbeResult::Failed, "answered 500"));
    world.push(template("v2", false));
    until_blocked(&mut world, "AwaitingUndoApproval");
    assert!(
        message(&world).starts_with("step half: check smoke failed: answered 500. It goes back at"),
        "{}",
        message(&world)
    );
    say_as(&mut world, "Reject", json!({"role": "sre", "undo": true}));
    until_blocked(&mut world, "UndoRefused");
    world.answers.clear();
    world.say("Retry");
    assert_eq!(answer(&mut world), "Done: 1 checks are tried again");
    ended(&mut world, "Succeeded");
}

#[test]
fn who_is_not_asked_any_more_holds_nothing_up() {
    let mut world = asked(json!({}));
    world.release.as_mut().unwrap()["undo"] = json!({});
    ended(&mut world, "Undone");
    assert!(said(&world).ends_with("Nobody is asked any more"), "{}", said(&world));
}

#[test]
fn an_answer_without_a_question_is_refused() {
    let mut world = shipped(quick(json!({"undo": {"approval": {"roles": ["sre"]}}})));
    world.until("soaking", |world| world.phase() == "Soaking");
    for action in ["Approve", "Reject"] {
        let refused = say_as(&mut world, action, json!({"role": "sre", "undo": true}));
        assert_eq!(refused, "Refused: nobody is asked about an undo now");
    }
    ended(&mut world, "Succeeded");
}
