//! Writes that are refused, for whatever reason: going back waits for none that it can do without, and what is refused is said.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use tidegate::api::status::Cause;
use tidegate::decide::{Decision, Intent};

use super::measured::Traffic;
use super::{World, template};

const SECOND: Duration = Duration::from_secs(1);

/// Half of the pods are of the new version, for as long as nobody says anything.
fn at_half() -> World {
    let mut world = going_out(json!({}));
    world.until("half of them", |world| world.phase() == "Soaking");
    world
}

/// A new version was pushed. `more`: what else its Release says.
fn going_out(more: Value) -> World {
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    let steps =
        json!([{"name": "half", "replicas": "50%", "soak": "1h"}, {"name": "all", "replicas": "100%"}]);
    let mut release = json!({"steps": steps, "watch": [{"for": "1h", "every": "1s"}]});
    release.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut world = World::new(4, strategy, release);
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn message(world: &World) -> &str {
    world.status.summary.as_ref().map_or("", |summary| summary.message.as_str())
}

fn version(world: &World) -> Value {
    world.deployment()["spec"]["template"]["metadata"]["annotations"]["version"].clone()
}

fn stalled(world: &World) -> bool {
    world.status.conditions.iter().any(|it| it.type_ == "Stalled" && it.status == "True")
}

fn is_marked(world: &World) -> bool {
    world.actions.iter().all(|action| action["status"]["result"].is_string())
}

/// The names of the actions that are marked by this.
fn marks(decision: &Decision) -> Vec<String> {
    let name = |intent: &Intent| match intent {
        Intent::MarkAction { name, .. } => Some(name.clone()),
        _ => None,
    };
    decision.intents.iter().filter_map(name).collect()
}

/// How often each action is marked in that time, ten looks a second.
fn marks_within(world: &mut World, time: Duration) -> BTreeMap<String, u32> {
    let (mut marked, until) = (BTreeMap::new(), world.now + time);
    while world.now < until {
        world.quiet_tick();
        for name in marks(&world.look()) {
            *marked.entry(name).or_default() += 1;
        }
    }
    marked
}

#[test]
fn an_abort_is_carried_out_where_nobody_may_say_on_actions_what_came_of_them() {
    let mut world = at_half();
    world.refuses = vec!["mark"];
    world.say("Pause");
    world.until("it stands still", |world| reason(world) == "Paused");
    world.say("Abort");
    let said = world.now;
    world.until("the end", |world| world.status.last_run.is_some());
    assert!(world.now < said + 10 * SECOND, "{}", world.describe());
    assert_eq!(version(&world), "v1");
    world.pass(20 * SECOND);
    assert_eq!(reason(&world), "RejectedRevision");
    let words = "what came of 2 actions could not be said on them: the patch of the status of ReleaseAction";
    assert!(
        message(&world).contains(words) && message(&world).contains("a policy says no"),
        "{}",
        message(&world)
    );
    // Each took effect once: the next run has nothing to do with them.
    world.push(template("v3", false));
    world.until("the next run", |world| world.phase() == "Soaking");
    assert_eq!(world.status.last_run.as_ref().map(|last| last.id.as_str()), Some("r1"));
    assert!(!is_marked(&world));
    world.refuses.clear();
    world.until("they are marked", is_marked);
    world.until("it is said no more", |world| !message(world).contains("a policy says no"));
    world.until("they are forgotten", |world| world.status.handled.is_empty());
}

#[test]
fn an_order_to_go_back_goes_out_before_what_came_of_an_action_is_said_on_it() {
    let mut world = at_half();
    world.say("Resume");
    world.look();
    assert_eq!(world.status.handled.len(), 1, "{}", world.describe());
    world.say("Abort");
    world.look();
    assert_eq!(world.first_intents, ["patch", "mark"], "{}", world.describe());
}

#[test]
fn what_blocks_a_release_at_rest_is_that_nothing_can_be_said_on_actions() {
    let mut world = at_half();
    world.refuses = vec!["mark"];
    world.say("Skip");
    world.until("the watch", |world| world.phase() == "Watching");
    assert_eq!(reason(&world), "", "the run goes on");
    assert!(
        message(&world).contains("what came of an action could not be said on it: "),
        "{}",
        message(&world)
    );
    assert!(message(&world).contains("a policy says no"), "{}", message(&world));
    world.say("Skip");
    world.until("the end", |world| world.status.last_run.is_some());
    world.pass(SECOND);
    assert_eq!(reason(&world), "WriteRefused");
    assert!(stalled(&world), "{:?}", world.status.conditions);
    world.refuses.clear();
    world.until("it is said no more", |world| reason(world).is_empty() && !stalled(world));
    assert!(is_marked(&world));
}

#[test]
fn a_bad_version_goes_where_a_newer_template_cannot_be_kept_and_that_is_told() {
    let mut world = at_half();
    let before = world.deployment()["metadata"]["annotations"]["tidegate.dev/originals"].clone();
    assert!(before.is_string(), "{}", world.describe());
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    world.say("Abort");
    world.until("it stands on v1 again", |world| version(world) == "v1");
    world.until("it is said", |world| message(world).contains("a policy says no"));
    let told =
        "(shop:v1) is not kept, and will have to be pushed again: the creation of ControllerRevision shop-";
    assert!(message(&world).contains(told), "{}", message(&world));
    assert_eq!(reason(&world), "", "it goes back");
    world.until("the end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.clone().unwrap();
    assert!(
        last.message.contains("which its owner wrote meanwhile, could not be kept: push it again"),
        "{last:?}"
    );
    assert!(world.notices.iter().any(|notice| notice.reason == "TemplateLost"));
    world.pass(SECOND);
    assert_eq!((version(&world), reason(&world)), (json!("v1"), "RejectedRevision"));
    assert!(world.deployment()["spec"]["minReadySeconds"].is_null(), "{}", world.describe());
    assert!(world.deployment()["metadata"]["annotations"]["tidegate.dev/originals"].is_null());
}

#[test]
fn killed_before_it_was_known_that_a_newer_template_is_lost_the_run_ends_all_the_same() {
    let mut world = at_half();
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    world.say("Abort");
    world.until("it stands on v1 again", |world| version(world) == "v1");
    world.missed.clear();
    world.until("the end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.clone().unwrap();
    assert!(last.message.contains("could not be kept: push it again"), "{last:?}");
}

#[test]
fn a_newer_template_that_cannot_be_kept_stays_where_nothing_is_wrong_with_what_serves() {
    let mut world = at_half();
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    world.until("it is said", |world| reason(world) == "WriteRefused");
    assert!(message(&world).contains("the creation of ControllerRevision shop-"), "{}", message(&world));
    world.pass(20 * SECOND);
    assert_eq!(version(&world), "v3");
    world.refuses.clear();
    world.until("r1 is over", |world| world.status.last_run.is_some());
    world.until("v3 goes out", |world| world.phase() == "Soaking" && version(world) == "v3");
}

/// A newer template comes, and cannot be kept: the version that is out serves on.
fn overtaken_by_what_cannot_be_kept(world: &mut World) {
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    world.until("it is said", |world| reason(world) == "WriteRefused");
    world.pass(5 * SECOND);
    assert_eq!(version(world), "v3", "{}", world.describe());
    let unblock = &world.status.blocked_by.as_ref().unwrap().unblock;
    assert!(unblock.ends_with("kubectl tidegate abort shop -n ns --reason '...'"), "{unblock}");
}

/// The version that was out is gone for good, for this cause, and the newer template is told to be lost.
fn goes_without_it(world: &mut World, cause: Cause) {
    world.until("the end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.clone().unwrap();
    let undo = world.reports[&last.report].undo.clone().expect("a way back");
    assert_eq!(undo.cause, cause, "{}", world.describe());
    assert!(last.message.ends_with("could not be kept: push it again"), "{last:?}");
    assert!(world.notices.iter().any(|notice| notice.reason == "TemplateLost"), "{}", world.describe());
    world.pass(5 * SECOND);
    assert_eq!((version(world), world.ready(), world.alive()), (json!("v1"), 4, 4), "{}", world.describe());
    let rejected: Vec<&str> = world.status.rejected.iter().map(|known| known.fingerprint.as_str()).collect();
    assert_eq!(rejected, [last.fingerprint.as_str()]);
}

#[test]
fn who_aborts_a_version_that_serves_while_a_newer_template_cannot_be_kept_has_it_go() {
    let mut world = at_half();
    overtaken_by_what_cannot_be_kept(&mut world);
    world.say("Abort");
    goes_without_it(&mut world, Cause::Abort);
    world.until("it is marked", is_marked);
    let answer = &world.actions[0]["status"]["message"];
    let words = "going back to stable, and not for the newer template any more: where that is not kept it has to be pushed again";
    assert_eq!(*answer, words);
}

#[test]
fn a_version_that_serves_while_a_newer_template_cannot_be_kept_goes_when_its_pods_fail() {
    let mut world = at_half();
    overtaken_by_what_cannot_be_kept(&mut world);
    let canary = world.sets.iter().find(|set| set.template == template("v2", false));
    let canary = canary.expect("it is out").name.clone();
    let pod = world.pods.iter_mut().find(|pod| pod.set == canary).expect("a pod");
    (pod.crashing, pod.ready_since) = (true, None);
    goes_without_it(&mut world, Cause::PodsFailing);
}

#[test]
fn it_is_measured_meanwhile_and_goes_when_it_breaches_a_limit() {
    let mut world = going_out(json!({"criteria": [{"name": "errors", "errorRate": {"limit": "5%"}}]}));
    world.meters.traffic = Some(Traffic { requests: 100, ..Traffic::default() });
    world.until("half of them", |world| world.phase() == "Soaking");
    world.pass(10 * SECOND);
    overtaken_by_what_cannot_be_kept(&mut world);
    assert!(world.sampling.as_ref().is_some_and(|sampling| sampling.run == "r1"), "{:?}", world.sampling);
    world.meters.traffic = Some(Traffic { requests: 100, errors: 50, ..Traffic::default() });
    let since = world.now;
    goes_without_it(&mut world, Cause::Breach);
    assert!(world.now < since + 60 * SECOND, "{}", world.describe());
}

#[test]
fn what_is_judged_meanwhile_is_written_so_that_who_leads_next_knows_it() {
    let mut world = going_out(json!({"criteria": [{"name": "errors", "errorRate": {"limit": "5%"}}]}));
    world.meters.traffic = Some(Traffic { requests: 100, ..Traffic::default() });
    world.until("half of them", |world| world.phase() == "Soaking");
    overtaken_by_what_cannot_be_kept(&mut world);
    let judged = |world: &World| {
        let run = world.status.run.clone().expect("a run");
        (run.judge, world.status.verdicts.clone())
    };
    let (before, writes) = (judged(&world), world.status_writes);
    world.pass(90 * SECOND);
    assert_eq!(reason(&world), "WriteRefused", "{}", world.describe());
    let after = judged(&world);
    assert!(after.0 != before.0 && after.1 != before.1, "{}", world.describe());
    assert!(world.status_writes <= writes + 10, "{} writes", world.status_writes - writes);
}

#[test]
fn no_hook_is_called_where_a_run_is_aborted_so_before_its_first_pod() {
    let mut world = going_out(json!({
        "preflight": [{"name": "sign-off", "approval": {"roles": ["qa"]}}],
        "undo": {"hooks": [{"name": "flag", "http": {"url": "http://flags/"}}]},
    }));
    world.until("somebody is to sign", |world| reason(world) == "AwaitingApproval");
    overtaken_by_what_cannot_be_kept(&mut world);
    world.say("Abort");
    goes_without_it(&mut world, Cause::Abort);
    assert!(world.errands.is_empty(), "{:?}", world.errands);
}

#[test]
fn a_write_that_is_refused_is_said_with_the_words_of_who_refuses_it_until_it_goes_out() {
    let mut world = at_half();
    world.refuses = vec!["patch"];
    world.say("Skip");
    world.until("it is said", |world| reason(world) == "WriteRefused");
    let blocker = world.status.blocked_by.clone().unwrap();
    assert!(blocker.message.starts_with("the patch of Deployment shop ("), "{blocker:?}");
    assert!(blocker.message.ends_with(") was refused: a policy says no"), "{blocker:?}");
    assert!(blocker.unblock.contains("kubectl get validatingadmissionpolicies"), "{blocker:?}");
    assert!(stalled(&world), "{:?}", world.status.conditions);
    let writes = world.status_writes;
    world.pass(SECOND);
    assert_eq!(world.status_writes, writes, "it is said once");
    world.refuses.clear();
    world.until("all of them", |world| world.phase() == "Watching");
    assert_eq!((reason(&world), stalled(&world)), ("", false));
}

#[test]
fn a_deployment_that_is_parked_in_the_watch_without_a_note_of_its_fields_is_said_to_be() {
    let mut world = at_half();
    world.say("Skip");
    world.until("the watch", |world| world.phase() == "Watching");
    let before = world.deployment()["spec"].clone();
    world.write(|spec| {
        spec["minReadySeconds"] = json!(2_147_483_646);
        spec["progressDeadlineSeconds"] = json!(2_147_483_647);
    });
    world.until("it is said", |world| reason(world) == "OriginalsLost");
    assert!(stalled(&world), "{:?}", world.status.conditions);
    world.write(|spec| *spec = before);
    world.until("the watch goes on", |world| world.phase() == "Watching" && reason(world).is_empty());
}

#[test]
fn an_abort_is_heard_after_any_number_of_actions_that_cannot_be_marked() {
    let mut world = at_half();
    world.refuses = vec!["mark"];
    for _ in 0..200 {
        world.say("Resume");
    }
    world.until("it is said", |world| message(world).contains("none but abort and pause is heard"));
    assert_eq!(world.status.handled.len(), 48, "{}", world.describe());
    world.say("Abort");
    world.until("the end", |world| world.status.last_run.is_some());
    world.refuses.clear();
    world.until("all are marked", is_marked);
}

#[test]
fn a_few_of_many_actions_are_marked_in_one_look_those_about_the_run_first_and_the_others_soon() {
    let mut world = at_half();
    for _ in 0..9 {
        world.say("Resume");
    }
    world.say_of("Resume", json!({"run": "r1"}));
    let about_the_run = world.actions[9]["metadata"]["name"].clone();
    world.look();
    assert_eq!(world.status.handled.len(), 10, "{}", world.describe());
    let decision = world.look();
    let marked = marks(&decision);
    assert_eq!((marked.len(), json!(marked[0])), (4, about_the_run), "{marked:?}");
    assert!(decision.wake.is_some_and(|wake| wake <= world.now + SECOND), "{:?}", decision.wake);
    world.look();
    world.look();
    assert!(is_marked(&world), "{}", world.describe());
}

#[test]
fn of_many_actions_that_cannot_be_marked_each_is_tried_in_time() {
    let mut world = at_half();
    for _ in 0..12 {
        world.say("Resume");
    }
    world.refuses = vec!["mark"];
    world.look();
    let tried = marks_within(&mut world, 150 * SECOND);
    assert!(tried.len() == 12 && tried.values().all(|times| (2..=3).contains(times)), "{tried:?}");
}

#[test]
fn that_some_marks_are_refused_is_said_for_as_long_as_they_are_however_many_others_go_out() {
    let mut world = at_half();
    for _ in 0..6 {
        world.say("Resume");
    }
    world.refuses = vec!["ReleaseAction a2", "ReleaseAction a5"];
    let words = "what came of 2 actions could not be said on them: the patch of the status of ReleaseAction a2 was refused: a policy says no";
    world.until("it is said", |world| message(world).contains(words));
    for tick in 0..1200 {
        if tick % 100 == 0 {
            world.say("Resume");
        }
        world.tick();
        assert!(message(&world).contains(words), "{}", message(&world));
    }
    let is_open = |action: &&Value| !action["status"]["result"].is_string();
    let open: Vec<&Value> =
        world.actions.iter().filter(is_open).map(|action| &action["metadata"]["name"]).collect();
    assert_eq!(open, ["a2", "a5"], "{}", world.describe());
    world.refuses.clear();
    world.until("all are marked", is_marked);
    world.until("it is said no more", |world| !message(world).contains("a policy says no"));
}

#[test]
fn what_was_marked_is_not_marked_again_for_minutes_while_actions_are_not_heard() {
    let mut world = at_half();
    for _ in 0..6 {
        world.say("Resume");
    }
    world.actions_unheard = Some(world.actions.clone());
    let times = |marked: &BTreeMap<String, u32>| marked.values().copied().collect::<Vec<_>>();
    let marked = marks_within(&mut world, 290 * SECOND);
    assert_eq!(times(&marked), [1; 6], "{marked:?}");
    // It may be that they are not there any more: a cluster is brought back from a backup.
    let marked = marks_within(&mut world, 20 * SECOND);
    assert_eq!(times(&marked), [1; 6], "{marked:?}");
    world.actions_unheard = None;
    world.until("they are forgotten", |world| world.status.handled.is_empty());
}

/// How often an action took effect.
fn taken(world: &World) -> usize {
    world.notices.iter().filter(|notice| notice.reason == "ActionTaken").count()
}

#[test]
fn an_action_takes_effect_once_also_where_who_leads_next_has_not_heard_of_it_or_of_its_mark() {
    for marked in [false, true] {
        // An older build does not say when.
        for says_when in [true, false] {
            let mut world = at_half();
            world.say("Pause");
            let said = world.actions.clone();
            world.look();
            assert_eq!(taken(&world), 1, "{}", world.describe());
            if marked {
                world.until("it is marked, and that is seen", is_marked);
                world.look();
            }
            if !says_when {
                world.status.handled.iter_mut().for_each(|handled| handled.at = None);
            }
            world.begin_anew();
            world.actions_unheard = Some(if marked { said } else { Vec::new() });
            world.pass(2 * SECOND);
            world.actions_unheard = None;
            world.pass(2 * SECOND);
            assert_eq!((taken(&world), reason(&world)), (1, "Paused"), "{}", world.describe());
            assert!(is_marked(&world), "{:?}", world.actions);
            world.until("it is forgotten", |world| world.status.handled.is_empty());
            assert_eq!(taken(&world), 1, "{}", world.describe());
        }
    }
}

#[test]
fn where_the_crd_does_not_know_when_an_action_took_effect_that_is_not_written_again_and_again() {
    let mut world = at_half();
    // It counts from when it was marked, however long this process has looked before.
    world.begin_anew();
    world.pass(400 * SECOND);
    world.say("Pause");
    world.until("it is marked", is_marked);
    let (since, mut looks, mut writes) = (world.now, 0, 0);
    while !world.status.handled.is_empty() {
        // The API server leaves out what the CRD does not know.
        world.status.handled.iter_mut().for_each(|handled| handled.at = None);
        world.quiet_tick();
        looks += 1;
        writes += usize::from(world.look().status.is_some());
        assert!(world.now < since + 400 * SECOND, "it is forgotten in the end: {}", world.describe());
    }
    assert!(world.now > since + 290 * SECOND, "who leads next may not have heard of its mark: {looks} looks");
    assert!(writes < looks / 4, "status was written {writes} times in {looks} looks");
}

#[test]
fn however_many_actions_take_effect_in_minutes_none_waits_for_those_that_are_marked() {
    let mut world = at_half();
    let mut most = 0;
    for _ in 0..100 {
        world.say("Resume");
        world.pass(SECOND);
        assert!(is_marked(&world), "{}", world.describe());
        most = most.max(world.status.handled.len());
    }
    assert_eq!(most, 64, "as many as status has room for");
    world.say("Abort");
    world.until("the end", |world| world.status.last_run.is_some());
}

#[test]
fn what_came_of_an_action_is_not_said_on_another_of_its_name() {
    let mut world = at_half();
    world.say("Pause");
    world.look();
    assert_eq!(world.status.handled.len(), 1, "{}", world.describe());
    // `kubectl replace --force`, which has not been heard when the mark goes out.
    world.actions_unheard = Some(world.actions.clone());
    world.actions[0]["metadata"]["uid"] = json!("another");
    world.actions[0]["spec"]["action"] = json!("Abort");
    assert_eq!(marks(&world.look()), [world.actions[0]["metadata"]["name"].as_str().unwrap()]);
    assert!(!is_marked(&world), "{:?}", world.actions);
    world.actions_unheard = None;
    world.until("it is heard", |world| world.status.last_run.is_some());
    assert_eq!(version(&world), "v1", "{}", world.describe());
    world.until("it is marked", is_marked);
}

#[test]
fn a_newer_template_that_was_kept_and_is_not_seen_yet_is_not_lost() {
    for action in [None, Some("Abort")] {
        let mut world = at_half();
        world.push(template("v3", false));
        if let Some(action) = action {
            world.say(action);
        }
        world.until("it goes back", |world| version(world) == "v1");
        let kept = world.templates.clone();
        world.templates.retain(|_, template| template["metadata"]["annotations"]["version"] != "v3");
        assert_eq!(world.templates.len() + 1, kept.len(), "{}", world.describe());
        world.pass(20 * SECOND);
        assert!(world.status.last_run.is_none(), "{}", world.describe());
        world.templates = kept;
        world.until("v3 is put back", |world| version(world) == "v3");
        world.until("it goes out", |world| world.phase() == "Soaking");
    }
}
