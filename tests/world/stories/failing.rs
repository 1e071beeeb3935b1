//! Pods that fail by themselves: when that is the version's fault, and what follows from it.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_sim::native::Pod;

use super::{ends, quarter, quick};
use crate::world::{World, template};

/// `quick`, with a soak at half in which something can be seen.
fn slow_at_half() -> Value {
    let mut spec = quick();
    spec["steps"][1]["soak"] = json!("60s");
    spec
}

/// Ten pods, five of them on the new version.
fn at_half() -> World {
    let mut world = World::new(10, quarter(), slow_at_half());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "half")
    });
    world
}

/// The pods of a version that are not on their way out.
fn pods_of<'w>(world: &'w mut World, version: &str) -> impl Iterator<Item = &'w mut Pod> {
    let is_it =
        |set: &&tidegate_sim::native::Set| set.template["metadata"]["annotations"]["version"] == version;
    let set = world.sets.iter().find(is_it).map(|set| set.name.clone());
    world.pods.iter_mut().filter(move |pod| Some(&pod.set) == set.as_ref() && pod.terminating_since.is_none())
}

/// So many pods of a version were killed for their memory so long ago, and run again.
fn killed(world: &mut World, version: &str, pods: usize, ago: Duration) {
    let at = world.now - ago;
    for pod in pods_of(world, version).take(pods) {
        (pod.restarts, pod.ended, pod.ended_at) = (1, Some("OOMKilled"), Some(at));
    }
}

/// So many pods of a version, the last ones, wait for this, and are not Ready.
fn wait(world: &mut World, version: &str, pods: usize, reason: &'static str) {
    let all = pods_of(world, version).count();
    for pod in pods_of(world, version).skip(all - pods) {
        (pod.waits, pod.ready_since) = (Some(reason), None);
    }
}

fn said(world: &World) -> String {
    world.status.last_run.as_ref().map(|last| last.message.clone()).unwrap_or_default()
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_a_stable_pod_was_killed_for_before_the_run_excuses_no_canary() {
    let mut world = at_half();
    killed(&mut world, "v1", 5, LONG);
    killed(&mut world, "v2", 1, Duration::ZERO);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("1 of 5 canary pods: OOMKilled (pod "), "{}", said(&world));
}

#[test]
fn what_as_many_stable_pods_are_killed_for_is_not_the_versions_fault_and_what_more_canary_pods_are_is() {
    let mut world = at_half();
    killed(&mut world, "v1", 1, Duration::ZERO);
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.phase(), "Soaking", "{}", world.describe());
    killed(&mut world, "v2", 5, Duration::ZERO);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("5 of 5 canary pods: OOMKilled (pod "), "{}", said(&world));
}

#[test]
fn a_fault_that_stable_pods_share_hides_no_other_one() {
    let mut world = at_half();
    killed(&mut world, "v1", 1, Duration::ZERO);
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.phase(), "Soaking", "{}", world.describe());
    wait(&mut world, "v2", 2, "ImagePullBackOff");
    let since = world.now;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("2 of 5 canary pods: ImagePullBackOff (pod "), "{}", said(&world));
    let decided = world.status.last_run.as_ref().unwrap().undo.as_ref().unwrap().decided_at.0;
    assert!(decided.duration_since(since).as_secs() < 1, "{decided}");
}

/// Four pods, all on the new version, in a watch of a minute.
fn watching(on_limit: Option<&str>) -> World {
    let mut spec = quick();
    spec["watch"] = json!([{"for": "60s", "every": "1s", "onLimit": on_limit}]);
    let mut world = World::new(4, quarter(), spec);
    world.push(template("v2", false));
    world.until("watching", |world| world.phase() == "Watching" && world.alive() == 4);
    world
}

fn blocked(world: &World) -> (String, String) {
    let blocker = world.status.blocked_by.clone().unwrap_or_default();
    (blocker.reason, blocker.message)
}

fn told(world: &World) -> Vec<&str> {
    world.notices.iter().filter(|notice| notice.reason == "PodsFailing").map(|it| it.note.as_str()).collect()
}

#[test]
fn a_pod_that_fails_by_itself_in_the_watch_goes_back_where_its_stage_says_nothing_else() {
    for on_limit in [None, Some("Undo")] {
        let mut world = watching(on_limit);
        killed(&mut world, "v2", 1, Duration::ZERO);
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        assert!(said(&world).starts_with("1 of 4 canary pods: OOMKilled (pod "), "{}", said(&world));
    }
}

#[test]
fn a_pod_that_fails_by_itself_in_a_stage_that_holds_stands_still_until_it_is_gone_or_somebody_skips_it() {
    let mut world = watching(Some("Hold"));
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.until("held", |world| world.phase() == "Held");
    world.pass(Duration::from_secs(90));
    let (reason, message) = blocked(&world);
    assert_eq!(reason, "PodsFailing", "{}", world.describe());
    assert!(message.starts_with("1 of 4 canary pods: OOMKilled (pod "), "{message}");
    let unblock = world.status.blocked_by.as_ref().unwrap().unblock.clone();
    let ways = [
        "mend what keeps them, and it goes on by itself: kubectl get pods -n ns; or ",
        "kubectl tidegate skip shop -n ns",
        "kubectl tidegate abort shop -n ns",
    ];
    assert!(ways.iter().all(|way| unblock.contains(way)), "{unblock}");
    let mut other = world.copy();

    world.say("Skip");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    pods_of(&mut other, "v2").for_each(|pod| pod.ended = None);
    assert_eq!(ends(&mut other, 1), "Succeeded", "{}", other.describe());
}

#[test]
fn pods_that_fail_in_a_stage_that_notifies_are_told_once_for_each_way_and_stop_nothing() {
    let mut world = watching(Some("Notify"));
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.pass(Duration::from_secs(10));
    wait(&mut world, "v2", 1, "CrashLoopBackOff");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    let told = told(&world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("1 of 4 canary pods: OOMKilled (pod "), "{told:?}");
    assert!(told[1].starts_with("1 of 4 canary pods: CrashLoopBackOff (pod "), "{told:?}");
    let report = world.reports.values().next().expect("a record");
    let notes =
        ["canary pods failed by themselves: OOMKilled", "canary pods failed by themselves: CrashLoopBackOff"];
    assert_eq!(report.notes, notes);
}

#[test]
fn a_version_of_which_most_pods_fail_does_not_become_stable_in_a_stage_that_notifies() {
    let mut world = watching(Some("Notify"));
    wait(&mut world, "v2", 1, "CrashLoopBackOff");
    world.pass(Duration::from_secs(10));
    assert_eq!(told(&world).len(), 1, "{}", world.describe());
    wait(&mut world, "v2", 4, "CrashLoopBackOff");
    world.until("held", |world| world.phase() == "Held");
    let (by, message) = blocked(&world);
    assert_eq!(by, "PodsFailing", "{}", world.describe());
    assert!(message.starts_with("4 of 4 canary pods: CrashLoopBackOff (pod "), "{message}");
    assert_eq!(told(&world).len(), 2, "{}", world.describe());
    pods_of(&mut world, "v2").for_each(|pod| pod.waits = None);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn what_keeps_a_few_pods_from_beginning_in_the_watch_undoes_no_version_whose_other_pods_are_ready() {
    for (reason, another) in
        [("ImagePullBackOff", Some("ErrImagePull")), ("CreateContainerConfigError", None)]
    {
        let mut world = watching(None);
        wait(&mut world, "v2", 1, reason);
        world.until("held", |world| world.phase() == "Held");
        let (by, message) = blocked(&world);
        assert_eq!(by, "PodsFailing", "{}", world.describe());
        assert!(message.starts_with(&format!("1 of 4 canary pods: {reason} (pod ")), "{message}");
        assert!(
            message.ends_with("; most pods of the version are Ready, so it is not undone for that"),
            "{message}"
        );
        if let Some(another) = another {
            // It is tried again.
            wait(&mut world, "v2", 1, another);
            world.pass(Duration::from_secs(5));
            assert_eq!(blocked(&world).0, "PodsFailing", "{}", world.describe());
            wait(&mut world, "v2", 1, reason);
        }
        world.pass(Duration::from_secs(90));
        assert_eq!((blocked(&world).0.as_str(), world.ready()), ("PodsFailing", 3), "{}", world.describe());
        pods_of(&mut world, "v2").for_each(|pod| pod.waits = None);
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn it_is_undone_where_no_more_than_half_of_its_pods_are_ready_or_one_has_begun_and_crashes() {
    for (pods, reason) in [(2, "ImagePullBackOff"), (1, "CrashLoopBackOff")] {
        let mut world = watching(None);
        wait(&mut world, "v2", pods, reason);
        assert_eq!(ends(&mut world, 1), "Undone", "{reason}: {}", world.describe());
        let expected = format!("{pods} of 4 canary pods: {reason} (pod ");
        assert!(said(&world).starts_with(&expected), "{}", said(&world));
    }
    // What the version is to blame for is not hidden by what it is not.
    let mut world = watching(None);
    wait(&mut world, "v2", 1, "ImagePullBackOff");
    world.until("held", |world| world.phase() == "Held");
    killed(&mut world, "v2", 1, Duration::ZERO);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("1 of 4 canary pods: OOMKilled (pod "), "{}", said(&world));
}

#[test]
fn a_newer_template_follows_a_version_that_is_not_to_blame_and_undoes_one_that_is() {
    for (reason, outcome) in [("ImagePullBackOff", "Superseded"), ("CrashLoopBackOff", "Undone")] {
        let mut world = watching(None);
        let [v1, v2] = [&world.status.stable, &world.status.canary].map(|it| it.clone().unwrap().fingerprint);
        wait(&mut world, "v2", 1, reason);
        world.push(template("v3", false));
        assert_eq!(ends(&mut world, 1), outcome, "{reason}: {}", world.describe());
        let stable = world.status.stable.clone().unwrap().fingerprint;
        assert_eq!(stable, if outcome == "Superseded" { v2 } else { v1 }, "{reason}: {}", world.describe());
    }
}
