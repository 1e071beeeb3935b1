//! A Release that is gone in mid-run: stable is put back once, what its owner writes then stays, and somebody is told. One that is made under its name
//! for another Deployment sees to that first.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::{Outcome, ReleaseStatus};
use tidegate::decide::{self, Intent, Key, Snapshot};
use tidegate::observe::reading::Reading;
use tidegate::observe::{Findings, observe};
use tidegate::watch::again::Again;

use super::{blocker, quarter, quick};
use crate::world::{World, template};

/// Five of ten pods are of version 2; and what the Deployment's spec was before.
pub(super) fn half_way() -> (World, Value) {
    let mut world = World::new(10, quarter(), quick());
    let before = world.deployment()["spec"].clone();
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    (world, before)
}

pub(super) fn version(world: &World) -> String {
    let version = &world.deployment()["spec"]["template"]["metadata"]["annotations"]["version"];
    version.as_str().expect("a version").to_owned()
}

pub(super) fn is_labelled(world: &World) -> bool {
    world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_some()
}

/// All pods of version 1 that there are now end again and again, or do so no more.
fn crash(world: &mut World, crashing: bool) {
    let stable = template("v1", false);
    let set = world.sets.iter().find(|set| set.template == stable).map(|set| set.name.clone());
    for pod in world.pods.iter_mut().filter(|pod| Some(&pod.set) == set.as_ref()) {
        pod.crashing = crashing;
        if crashing {
            pod.ready_since = None;
        }
    }
}

/// Time passes in which pods of version 1 crash, those that come too; how often it was written over another version.
fn pass_while_stable_fails(world: &mut World, time: Duration) -> usize {
    let until = world.now + time;
    let mut overwritten = 0;
    while world.now < until {
        crash(world, true);
        let before = version(world);
        world.tick();
        overwritten += usize::from(before != "v1" && version(world) == "v1");
    }
    overwritten
}

/// What was told, by its reason.
fn told<'w>(world: &'w World, reason: &str) -> Vec<&'w str> {
    let notices = world.notices.iter().filter(|notice| notice.reason == reason && notice.warning);
    notices.map(|notice| notice.note.as_str()).collect()
}

/// What was told with this reason, once.
pub(super) fn only<'w>(world: &'w World, reason: &str) -> &'w str {
    let all = told(world, reason);
    assert_eq!(all.len(), 1, "{reason}: {}", world.describe());
    all[0]
}

/// All pods are of this version, the fields are the owner's, and nothing of ours is left.
pub(super) fn is_its_owners_with(world: &World, wanted: &str, before: &Value) {
    let mut spec = world.deployment()["spec"].clone();
    assert_eq!(version(world), wanted, "{}", world.describe());
    let serves = world.sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
    assert!(serves && (world.ready(), world.alive()) == (10, 10), "{}", world.describe());
    spec["template"] = before["template"].clone();
    assert_eq!(spec, *before, "{}", world.describe());
    let annotations = world.deployment()["metadata"]["annotations"].as_object().unwrap();
    let ours = |name: &&String| name.starts_with("tidegate.dev/") && *name != "tidegate.dev/changed-by";
    assert_eq!(annotations.keys().find(ours), None);
    assert!(!is_labelled(world) && world.templates.is_empty(), "{:?}", world.templates.keys());
}

#[test]
fn a_newer_template_stays_where_its_release_is_gone_and_stable_fails() {
    let (mut world, before) = half_way();
    crash(&mut world, true);
    world.release = None;
    world.push(template("v3", false));
    let overwritten = pass_while_stable_fails(&mut world, Duration::from_secs(5 * 60));
    assert_eq!(overwritten, 0, "{}", world.describe());
    is_its_owners_with(&world, "v3", &before);
    let said = only(&world, "Superseded");
    assert!(said.contains("5 of 5 stable pods: CrashLoopBackOff (pod p"), "{said}");
    assert!(said.contains("template shop-") && said.contains("Deployment shop is given back"), "{said}");
}

#[test]
fn what_is_written_after_stable_was_ordered_stays_where_its_release_is_gone() {
    let (mut world, before) = half_way();
    world.release = None;
    world.until("stable is ordered", |world| version(world) == "v1");
    pass_while_stable_fails(&mut world, Duration::from_secs(10));
    world.push(template("v3", false));
    let mut overwritten = pass_while_stable_fails(&mut world, Duration::from_secs(5));
    // A tool applies it again and again.
    for _ in 0..20 {
        world.push(template("v3", false));
        overwritten += pass_while_stable_fails(&mut world, Duration::from_secs(5));
    }
    assert_eq!(overwritten, 0, "{}", world.describe());
    is_its_owners_with(&world, "v3", &before);
    assert_eq!(told(&world, "GoingBack").len(), 1, "{}", world.describe());
}

#[test]
fn stable_pods_that_fail_without_a_release_are_told_with_what_to_do_and_mended_they_end_it() {
    let (mut world, before) = half_way();
    world.release = None;
    world.until("stable is ordered", |world| version(world) == "v1");
    let writes = world.writes_to_deployment;
    pass_while_stable_fails(&mut world, Duration::from_secs(60));
    assert!(is_labelled(&world) && version(&world) == "v1", "{}", world.describe());
    assert!(world.writes_to_deployment - writes <= 2, "{}", world.describe());
    let said = only(&world, "StablePodsFailing");
    assert!(said.contains("stable pods: CrashLoopBackOff (pod p"), "{said}");
    assert!(said.contains("kubectl patch deploy shop -n ns --type merge -p "), "{said}");
    assert!(said.len() < 1000, "{said}");
    crash(&mut world, false);
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(5));
    is_its_owners_with(&world, "v1", &before);
}

#[test]
fn stable_pods_that_do_not_come_without_a_release_are_told_when_their_deadline_is_over() {
    let (mut world, before) = half_way();
    world.ready_after = Duration::from_secs(100_000);
    world.release = None;
    world.pass(Duration::from_secs(590));
    assert!(told(&world, "StablePodsFailing").is_empty(), "{}", world.describe());
    world.pass(Duration::from_secs(20));
    let said = only(&world, "StablePodsFailing");
    assert!(said.contains("5 of 10 stable pods are Ready, 600 s after stable was ordered"), "{said}");
    // From here on the version of the run is its owner's word, too.
    world.push(template("v2", false));
    world.ready_after = Duration::from_secs(1);
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(20));
    is_its_owners_with(&world, "v2", &before);
}

#[test]
fn a_newer_template_comes_after_stable_where_its_release_goes_in_the_same_moment() {
    // `seen`: its Release was still there, and the run has gone back for it.
    for seen in [false, true] {
        let (mut world, before) = half_way();
        if seen {
            world.push(template("v3", false));
            world.until("stable is ordered", |world| version(world) == "v1");
            world.release = None;
        } else {
            world.release = None;
            world.push(template("v3", false));
            world.until("stable is ordered", |world| version(world) == "v1");
        }
        let (mut least, mut overwritten, until) = (world.ready(), 0, world.now + Duration::from_secs(60));
        while is_labelled(&world) && world.now < until {
            let was = version(&world);
            world.tick();
            overwritten += usize::from(was == "v3" && version(&world) == "v1");
            least = least.min(world.ready());
        }
        assert_eq!((overwritten, least >= 8), (0, true), "seen {seen}\n{}", world.describe());
        world.pass(Duration::from_secs(20));
        is_its_owners_with(&world, "v3", &before);
        let said = told(&world, "GoingBack");
        assert_eq!(said.len(), 1 + usize::from(seen), "{said:#?}");
        assert!(said[usize::from(seen)].contains(", which its owner has written meanwhile"), "{said:#?}");
    }
}

#[test]
fn a_newer_template_that_is_seen_late_to_be_kept_comes_after_stable_where_its_release_goes_meanwhile() {
    let (mut world, before) = half_way();
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    let is_newer = |kept: &Value| kept.to_string().contains(r#""v3""#);
    let (name, kept) = world.templates.extract_if(.., |_, kept| is_newer(kept)).next().expect("it is kept");
    world.release = None;
    world.pass(Duration::from_secs(20));
    assert!(is_labelled(&world) && version(&world) == "v1", "{}", world.describe());
    world.templates.insert(name, kept);
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(20));
    is_its_owners_with(&world, "v3", &before);
    let is_said = world.notices.iter().any(|notice| notice.note.ends_with("is rolled out, and not judged"));
    assert!(is_said, "{}", world.describe());
}

#[test]
fn another_template_under_the_name_of_what_comes_after_stable_is_not_put_there() {
    let (mut world, before) = half_way();
    world.ready_after = Duration::from_secs(20);
    world.release = None;
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    let kept = world.templates.values_mut().find(|kept| kept.to_string().contains(r#""v3""#));
    *kept.expect("it is kept") = template("another", false);
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(40));
    is_its_owners_with(&world, "v1", &before);
    let said = only(&world, "TemplateLost");
    assert!(said.ends_with("could not be kept: push it again"), "{said}");
}

/// What the first look would keep of the Deployment's template, and in whose place, where this process has let that one go.
fn would_keep(world: &mut World, let_go: &str) -> Option<(String, Option<String>)> {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let findings = Findings { let_go: [let_go.to_owned()].into(), ..world.findings() };
    let (index, again) = (world.index(), Again::default());
    let snapshot = observe(&index, &again, &Reading::default(), &key, findings, world.now);
    let decision = decide::decide(&snapshot.expect("nothing is an outline"));
    decision.intents.into_iter().find_map(|intent| {
        let Intent::KeepTemplate { name, let_go, .. } = intent else { return None };
        Some((name, let_go))
    })
}

#[test]
fn what_comes_after_stable_is_kept_anew_where_it_was_let_go_and_is_shown_all_the_same() {
    let (mut world, _) = half_way();
    world.release = None;
    let newer = template("v3", false);
    world.push(newer.clone());
    let (name, none) = would_keep(&mut world, "").expect("it is kept");
    assert_eq!(none, None);
    world.templates.insert(name.clone(), newer);
    assert_eq!(would_keep(&mut world, "uid-another"), None);
    let uid = format!("uid-{name}");
    assert_eq!(would_keep(&mut world, &uid), Some((name, Some(uid.clone()))));
}

#[test]
fn a_newer_template_is_released_after_stable_where_the_release_is_made_anew_meanwhile() {
    for kept in [true, false] {
        let (mut world, before) = half_way();
        world.ready_after = Duration::from_secs(20);
        let release = world.release.take();
        world.refuses.extend((!kept).then_some("keep"));
        world.push(template("v3", false));
        world.until("stable is ordered", |world| version(world) == "v1");
        (world.release, world.status) = (release, ReleaseStatus::default());
        world.pass(Duration::from_secs(5));
        assert_eq!(
            (version(&world).as_str(), world.phase().as_str()),
            ("v1", "Idle"),
            "{}",
            world.describe()
        );
        if kept {
            world.until("v3 is released", |world| {
                world.status.last_run.as_ref().is_some_and(|last| last.outcome == Outcome::Succeeded)
            });
            assert_eq!(version(&world), "v3", "{}", world.describe());
            assert!(told(&world, "TemplateLost").is_empty(), "{}", world.describe());
        } else {
            world.until("v1 is stable", |world| world.status.stable.is_some());
            let said = only(&world, "TemplateLost");
            assert!(said.ends_with("could not be kept: push it again"), "{said}");
            let mut spec = world.deployment()["spec"].clone();
            spec["template"] = before["template"].clone();
            assert_eq!(spec, before, "{}", world.describe());
        }
    }
}

#[test]
fn a_newer_template_that_no_status_names_is_released_though_the_first_order_for_it_fails() {
    // `stands`: stable stands by then.
    for stands in [false, true] {
        let (mut world, _) = half_way();
        world.ready_after = Duration::from_secs(20);
        world.push(template("v3", false));
        world.until("stable is ordered", |world| version(world) == "v1");
        // Deleted and made anew before anybody looks.
        world.status = ReleaseStatus::default();
        for _ in 0..if stands { 600 } else { 0 } {
            world.quiet_tick();
        }
        assert!(!stands || (world.ready(), world.alive()) == (10, 10), "{}", world.describe());
        world.refuses = vec!["patch"];
        world.pass(Duration::from_secs(5));
        let noted = &world.deployment()["metadata"]["annotations"]["tidegate.dev/on-delete"];
        assert_eq!((noted, version(&world).as_str()), (&Value::Null, "v1"), "{}", world.describe());
        world.refuses.clear();
        world.until("v3 is released", |world| {
            world.status.last_run.as_ref().is_some_and(|last| last.outcome == Outcome::Succeeded)
        });
        assert_eq!(version(&world), "v3", "stands {stands}\n{}", world.describe());
    }
}

#[test]
fn what_anybody_has_noted_as_the_name_of_what_comes_next_is_told_on_one_line_and_no_longer_than_a_name() {
    let (mut world, _) = half_way();
    world.ready_after = Duration::from_secs(20);
    world.release = None;
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    let noted = &mut world.deployment.as_mut().expect("a Deployment")["metadata"]["annotations"];
    let noted = &mut noted["tidegate.dev/on-delete"];
    let mut other: Value = serde_json::from_str(noted.as_str().expect("a note")).unwrap();
    other["then"] = json!(format!("shop\u{202e}\n{}", "x".repeat(500)));
    *noted = json!(other.to_string());
    world.until("the end", |world| !told(world, "TemplateLost").is_empty());
    let name = format!("shop {}", "x".repeat(248));
    let said = format!("template {name}, which was to come after stable, could not be kept: push it again");
    assert_eq!(only(&world, "TemplateLost"), said, "{}", world.describe());
}

/// Stable is ordered without a Release, version 3 comes after it, and the Release is made anew; and the name of version 3.
fn made_anew_while_it_goes_back() -> (World, String) {
    let (mut world, _) = half_way();
    let release = world.release.take();
    world.push(template("v3", false));
    world.until("stable is ordered", |world| version(world) == "v1");
    (world.release, world.status) = (release, ReleaseStatus::default());
    let noted = world.deployment()["metadata"]["annotations"]["tidegate.dev/on-delete"].as_str();
    let noted: Value = serde_json::from_str(noted.expect("a note")).unwrap();
    let owed = noted["then"].as_str().expect("what comes after stable").to_owned();
    (world, owed)
}

/// Version 3 is released, once nothing keeps stable pods any more.
fn is_released(mut world: World) {
    world.until("v3 is released", |world| {
        world.status.last_run.as_ref().is_some_and(|last| last.outcome == Outcome::Succeeded)
    });
    assert_eq!(version(&world), "v3", "{}", world.describe());
}

#[test]
fn a_release_made_anew_says_that_stable_pods_fail_and_puts_nothing_in_their_place() {
    let (mut world, owed) = made_anew_while_it_goes_back();
    pass_while_stable_fails(&mut world, Duration::from_secs(30));
    assert_eq!((version(&world).as_str(), world.phase().as_str()), ("v1", "Idle"), "{}", world.describe());
    let (reason, unblock) = blocker(&world);
    assert_eq!(reason, "StablePodsFailing", "{}", world.describe());
    assert!(unblock.contains("kubectl describe pod p") && unblock.contains("hand-back"), "{unblock}");
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert!(message.contains("stable pods: CrashLoopBackOff (pod p"), "{message}");
    assert!(message.contains(&format!("; {owed}, which was to come after stable")), "{message}");
    // Who has another version serve is told what does not come.
    let mut handed_back = world.copy();
    handed_back.say("HandBack");
    let answer = |world: &World| world.actions[0]["status"]["message"].as_str().map(str::to_owned);
    handed_back.until("answered", |world| answer(world).is_some());
    let words =
        format!("template {owed} was not put back (it is kept as ControllerRevision {owed}): push it again");
    assert_eq!(answer(&handed_back), Some(format!("the Deployment is its owner's again; {words}")));
    assert!(only(&handed_back, "TemplateLost").starts_with(&words), "{}", handed_back.describe());
    assert!(handed_back.templates.contains_key(&owed), "{}", handed_back.describe());
    crash(&mut world, false);
    is_released(world);
}

#[test]
fn a_release_made_anew_says_that_stable_pods_do_not_come_when_their_deadline_is_over() {
    let (mut world, owed) = made_anew_while_it_goes_back();
    world.ready_after = Duration::from_secs(100_000);
    world.pass(Duration::from_secs(590));
    assert_eq!(blocker(&world).0, "AwaitingStable", "{}", world.describe());
    world.pass(Duration::from_secs(20));
    assert_eq!((blocker(&world).0, version(&world).as_str()), ("StablePodsFailing", "v1"));
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert!(message.contains("stable pods are Ready, 600 s after stable was ordered"), "{message}");
    assert!(message.contains(&owed), "{message}");
    world.ready_after = Duration::from_secs(1);
    is_released(world);
}

#[test]
fn a_release_made_anew_in_the_moment_of_an_undo_says_when_the_deadline_of_stable_pods_is_over() {
    let (mut world, before) = half_way();
    world.ready_after = Duration::from_secs(100_000);
    world.say("Abort");
    world.until("stable is ordered", |world| version(world) == "v1");
    world.until("it is said on the action", |world| world.actions[0]["status"]["result"].is_string());
    // Deleted and made anew before anybody looks.
    world.status = ReleaseStatus::default();
    world.pass(Duration::from_secs(590));
    assert_eq!(blocker(&world).0, "AwaitingStable", "{}", world.describe());
    world.pass(Duration::from_secs(20));
    assert_eq!((blocker(&world).0, version(&world).as_str()), ("StablePodsFailing", "v1"));
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert!(message.ends_with("stable pods are Ready, 600 s after stable was ordered"), "{message}");
    world.ready_after = Duration::from_secs(1);
    world.until("v1 is stable", |world| world.status.stable.is_some());
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
    assert!(world.deployment()["metadata"]["annotations"]["tidegate.dev/on-delete"].is_null());
}

#[test]
fn a_newer_template_that_cannot_be_kept_is_said_to_be_lost_where_its_release_is_gone() {
    let (mut world, before) = half_way();
    world.release = None;
    world.refuses = vec!["keep"];
    world.push(template("v3", false));
    world.until("its owner's", |world| !is_labelled(world));
    world.pass(Duration::from_secs(5));
    is_its_owners_with(&world, "v1", &before);
    let said = only(&world, "TemplateLost");
    assert!(said.ends_with("could not be kept: push it again"), "{said}");
}

#[test]
fn the_version_of_the_run_that_a_tool_writes_again_goes_out_only_once_stable_stands() {
    let (mut world, before) = half_way();
    world.ready_after = Duration::from_secs(20);
    world.release = None;
    for _ in 0..100 {
        if is_labelled(&world) {
            world.push(template("v2", false));
            world.pass(Duration::from_secs(2));
        }
    }
    world.pass(Duration::from_secs(5));
    is_its_owners_with(&world, "v1", &before);
}

#[test]
fn a_deployment_in_mid_run_of_which_nobody_knows_the_owners_fields_is_told_when_its_release_is_gone() {
    for garbled in [None, Some("{}")] {
        let (mut world, _) = half_way();
        let annotations = &mut world.deployment.as_mut().unwrap()["metadata"]["annotations"];
        annotations.as_object_mut().unwrap().remove("tidegate.dev/originals");
        if let Some(garbled) = garbled {
            annotations["tidegate.dev/originals"] = json!(garbled);
        }
        world.release = None;
        let writes = world.writes_to_deployment;
        world.pass(Duration::from_secs(60));
        assert_eq!(world.writes_to_deployment, writes, "{}", world.describe());
        let said = only(&world, "OriginalsLost");
        assert!(said.contains("annotation tidegate.dev/originals is "), "{said}");
        assert!(said.ends_with("kubectl edit deployment/shop -n ns"), "{said}");
    }
}

#[test]
fn what_is_refused_where_a_release_is_gone_is_told() {
    let (mut world, _) = half_way();
    world.release = None;
    world.refuses = vec!["patch"];
    world.pass(Duration::from_secs(10));
    let said = only(&world, "WriteRefused");
    assert!(said.contains("go back to stable) was refused: a policy says no"), "{said}");
}

/// A Release of this name, about this Deployment, of which nothing is known yet.
pub(super) fn new_release(name: &str, target: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}},
    })
}

/// The Release of the world is deleted, and made anew for another Deployment before anybody has looked.
fn make_anew_for_another(world: &mut World) {
    world.release = Some(new_release("shop", "other")["spec"].take());
    world.status = ReleaseStatus::default();
}

pub(super) fn seen_by(world: &mut World, release: &str) -> Snapshot {
    let key = Key { namespace: "ns".into(), name: release.into() };
    let (index, findings) = (world.index(), world.findings());
    observe(&index, &Again::default(), &Reading::default(), &key, findings, world.now)
        .expect("nothing is an outline")
}

#[test]
fn a_former_deployment_is_given_back_first_also_where_another_release_waits_for_it() {
    for waits in [false, true] {
        let (mut world, before) = half_way();
        world.others.extend(waits.then(|| new_release("second", "shop")));
        make_anew_for_another(&mut world);
        world.until("given back first", |world| blocker(world).0 == "FormerTarget");
        if waits {
            assert_eq!(seen_by(&mut world, "second").rival.as_deref(), Some("shop"));
        }
        world.until("its owner's", |world| !is_labelled(world));
        world.pass(Duration::from_secs(5));
        is_its_owners_with(&world, "v1", &before);
        if waits {
            let second = seen_by(&mut world, "second");
            assert_eq!((second.rival, second.target.is_some()), (None, true));
        }
        assert_eq!(blocker(&world).0, "TargetMissing", "{}", world.describe());
    }
}

#[test]
fn a_former_deployment_whose_stable_pods_fail_is_said_to_wait_for_them_and_how_to_have_it_back() {
    let (mut world, _) = half_way();
    make_anew_for_another(&mut world);
    pass_while_stable_fails(&mut world, Duration::from_secs(30));
    let (reason, unblock) = blocker(&world);
    assert_eq!(reason, "FormerTarget", "{}", world.describe());
    assert!(unblock.contains("kubectl patch deploy shop -n ns --type merge -p "), "{unblock}");
    let message = &world.status.blocked_by.as_ref().expect("blocked").message;
    assert!(message.contains("stable pods: CrashLoopBackOff (pod p"), "{message}");
    // Its owner need not wait for that.
    world.push(template("v3", false));
    assert_eq!(pass_while_stable_fails(&mut world, Duration::from_secs(30)), 0, "{}", world.describe());
    assert_eq!(
        (blocker(&world).0, version(&world).as_str()),
        ("TargetMissing", "v3"),
        "{}",
        world.describe()
    );
}

#[test]
fn a_label_that_somebody_writes_on_a_deployment_in_mid_run_takes_it_from_no_release() {
    let (mut world, _) = half_way();
    world.others.push(new_release("second", "other"));
    world.deployment.as_mut().unwrap()["metadata"]["labels"]["tidegate.dev/release"] = json!("second");
    assert_eq!(seen_by(&mut world, "shop").rival, None);
    assert!(seen_by(&mut world, "second").target.is_none());
}
