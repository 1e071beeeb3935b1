//! Whose fields are whose: other writers in mid-run, annotations that somebody takes away, two Releases, fields nobody knows.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{
    adopted, by_hand, ended, finish, halves, owners, pod_names, pods_of, say, skip, until_soaking,
    with_capture,
};

const ORIGINALS: &str = "tidegate.dev/originals";

/// At half of four pods, and what the Deployment looked like at rest.
async fn half_way(stage: &'static Stage, name: &str, capture: &str) -> (Story<'static>, Value) {
    let story = Story::begin(stage, name).await;
    story.adopt(story.deployment(4), story.release(with_capture(by_hand(), capture))).await;
    if capture == "Paused" {
        story
            .until("paused at rest", |story| async move { story.target().await["spec"]["paused"] == true })
            .await;
    }
    let before = owners(&story.target().await);
    story.ship_paper("v2", json!({})).await;
    until_soaking(&story, "half").await;
    (story, before)
}

async fn finishes(story: &Story<'_>, before: &Value) {
    finish(story, 1).await;
    assert_eq!(owners(&story.target().await), *before, "the owner's fields are back");
}

async fn nothing_moves(story: &Story<'_>) {
    let pods = pod_names(story).await;
    let pods = &pods;
    story
        .stays(
            Duration::from_millis(700),
            "nothing moves",
            |story| async move { pod_names(story).await == *pods },
        )
        .await;
}

#[test]
fn paced_fields_that_somebody_edits_in_mid_run_stay_as_they_are_and_the_originals_come_back() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "edited", "Policy").await;
        let parked = owners(&story.target().await);
        let edit = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
            "spec": {
                "paused": false, "minReadySeconds": 0, "progressDeadlineSeconds": 100,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "100%"}},
            },
        });
        story.try_apply(edit, "somebody-else").await.expect("the write succeeds");
        assert_eq!(owners(&story.target().await), parked, "the pace does not change");
        story.patch(json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}})).await;
        assert_eq!(owners(&story.target().await), parked, "the pace does not change");
        nothing_moves(&story).await;
        finishes(&story, &before).await;
    });
}

/// A tool applies server-side, without force.
async fn applies(story: &Story<'_>, spec: Value) -> Result<(), String> {
    let manifest =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec});
    let api = story.api("apps/v1", "Deployment");
    let applied = api.patch("shop", &PatchParams::apply("helm"), &Patch::Apply(&manifest)).await;
    applied.map(|_| ()).map_err(|error| error.to_string())
}

/// By the books no field of its spec is the operator's, other than `paused`.
async fn until_nothing_is_ours(story: &Story<'_>) {
    let nothing = |target: Value| {
        let mut managers = target["metadata"]["managedFields"].as_array().into_iter().flatten();
        !managers.any(|entry| {
            let fields = entry["fieldsV1"]["f:spec"].as_object();
            entry["manager"] == "tidegate"
                && fields.is_some_and(|fields| fields.keys().any(|field| field != "f:paused"))
        })
    };
    story.until("nothing is ours", |story| async move { nothing(story.target().await) }).await;
}

#[test]
fn who_applies_server_side_is_refused_because_of_us_in_mid_run_and_never_after_it() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "unmanaged", "Policy").await;
        let strategy = |surge: i32| json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}}});
        let refused = applies(&story, strategy(2)).await.expect_err("a run has these fields");
        assert!(refused.contains("with \"tidegate\""), "{refused}");
        finishes(&story, &before).await;
        until_nothing_is_ours(&story).await;
        applies(&story, strategy(2)).await.expect("what was given back is the owner's to change");
        story.ship_paper("v3", json!({})).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        ended(&story, 2, "Aborted").await;
        until_nothing_is_ours(&story).await;
        let newer = json!({"template": {"metadata": {"annotations": {"version": "v4"}}}});
        applies(&story, newer).await.expect("a newer template after an undo");
    });
}

#[test]
fn pausing_and_resuming_the_deployment_in_mid_run_moves_nothing() {
    on_stage(async {
        for capture in ["Policy", "React"] {
            let (story, before) = half_way(Stage::shared().await, "resumed", capture).await;
            for paused in [false, true, false] {
                story.patch(json!({"spec": {"paused": paused}})).await;
                nothing_moves(&story).await;
            }
            story
                .until("paused again", |story| async move { story.target().await["spec"]["paused"] == true })
                .await;
            finishes(&story, &before).await;
        }
    });
}

#[test]
fn by_policy_the_originals_cannot_be_taken_away_or_changed_in_mid_run() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "guarded", "Policy").await;
        let noted = story.target().await["metadata"]["annotations"][ORIGINALS].clone();
        assert!(noted.is_string(), "{}", story.describe().await);
        for garbled in [json!(null), json!("{}")] {
            story.patch(json!({"metadata": {"annotations": {ORIGINALS: garbled}}})).await;
            assert_eq!(
                story.target().await["metadata"]["annotations"][ORIGINALS],
                noted,
                "{}",
                story.describe().await
            );
        }
        finishes(&story, &before).await;
    });
}

/// Takes the annotation away, or writes something else there, where no policy guards it.
async fn tamper(story: &Story<'_>, value: Value) {
    // The guard policy is about every labelled Deployment, whatever mode its Release is in: only where it is not served can
    // the annotation be lost.
    story.patch(json!({"metadata": {"annotations": {ORIGINALS: value}}})).await;
    story.until_blocked("OriginalsTampered").await;
}

#[test]
fn where_no_policy_guards_them_lost_originals_hold_the_run_until_somebody_resumes_or_aborts() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared_older().await, "tampered", "Paused").await;
        tamper(&story, json!(null)).await;
        nothing_moves(&story).await;
        say(&story, "Resume").await;
        until_soaking(&story, "half").await;
        tamper(&story, json!("what?")).await;
        say(&story, "Resume").await;
        until_soaking(&story, "half").await;
        finishes(&story, &before).await;

        let (story, before) = half_way(Stage::shared_older().await, "tampered", "React").await;
        tamper(&story, json!(r#"{"paused":true,"minReadySeconds":null,"progressDeadlineSeconds":5,"strategy":{"type":"Recreate"}}"#)).await;
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn where_no_policy_guards_the_pace_an_edit_in_mid_run_is_taken_back() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared_older().await, "unguarded", "Paused").await;
        let all_at_once = json!({"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}});
        story.patch(json!({"spec": {"paused": false, "minReadySeconds": 0, "strategy": all_at_once}})).await;
        story
            .until("held at half again", |story| async move {
                let spec = story.target().await["spec"].take();
                let halves = (pods_of(story, "v1").await, pods_of(story, "v2").await) == (2, 2);
                halves
                    && spec["paused"] == true
                    && spec["minReadySeconds"] != 0
                    && spec["minReadySeconds"].is_number()
            })
            .await;
        finishes(&story, &before).await;
    });
}

#[test]
fn what_the_owner_edits_during_the_watch_is_what_an_undo_leaves() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "edited-in-watch").await;
        let mut spec = halves();
        spec["watch"] = json!([{"for": "1h", "every": "1m"}]);
        story.adopt(story.deployment(4), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Watching").await;
        let slowly = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        story.patch(json!({"spec": {"minReadySeconds": 1, "strategy": slowly}})).await;
        let before = owners(&story.target().await);
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        assert_eq!(owners(&story.target().await), before, "{}", story.describe().await);
        assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn a_good_run_restarts_no_pod_at_its_end_and_leaves_the_spec_as_its_owner_wrote_it() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "quiet-end", "Policy").await;
        skip(&story, "half").await;
        until_soaking(&story, "all").await;
        let pods = pod_names(&story).await;
        say(&story, "Skip").await;
        ended(&story, 1, "Succeeded").await;
        let (story, pods) = (&story, &pods);
        story
            .stays(
                Duration::from_secs(1),
                "no pod restarts",
                |_| async move { pod_names(story).await == *pods },
            )
            .await;
        let target = story.target().await;
        assert_eq!(owners(&target), before, "the owner's fields are back");
        let mut template = story.deployment(4)["spec"]["template"].clone();
        template["metadata"]["annotations"]["version"] = json!("v2");
        assert_eq!(
            target["spec"]["template"]["metadata"]["annotations"],
            template["metadata"]["annotations"]
        );
    });
}

#[test]
fn without_old_replica_sets_an_undo_from_the_watch_still_finds_the_stable_template() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "no-history").await;
        let mut deployment = story.deployment(3);
        deployment["spec"]["revisionHistoryLimit"] = json!(0);
        let mut spec = halves();
        spec["watch"] = json!([{"for": "1h", "every": "1m"}]);
        story.adopt(deployment, story.release(spec)).await;
        let before = story.target().await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Watching").await;
        story
            .until("no old ReplicaSet", |story| async move {
                story.list("apps/v1", "ReplicaSet").await.len() == 1
            })
            .await;
        let guard = story.guard().await;
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        assert_eq!(story.target().await["spec"], before["spec"], "{}", story.describe().await);
        assert_eq!(pods_of(&story, "v1").await, 3, "{}", story.describe().await);
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
    });
}

#[test]
fn fields_that_this_build_does_not_know_survive_an_undo() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "unknown-fields").await;
        let mut deployment = story.deployment(3);
        let spec = &mut deployment["spec"]["template"]["spec"];
        spec["hostnameOverride"] = json!("shop");
        spec["containers"][0]["restartPolicy"] = json!("Never");
        spec["containers"][0]["restartPolicyRules"] =
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
        story.adopt(deployment, story.release(halves())).await;
        let before = story.target().await["spec"]["template"].clone();
        assert_eq!(before["spec"]["hostnameOverride"], "shop", "{before:#}");
        assert!(before["spec"]["containers"][0]["restartPolicyRules"].is_array(), "{before:#}");
        story.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
        ended(&story, 1, "Undone").await;
        assert_eq!(story.target().await["spec"]["template"], before, "{}", story.describe().await);
        assert_eq!(story.list("apps/v1", "ReplicaSet").await.len(), 2, "the old ReplicaSet serves again");
    });
}

fn second(story: &Story<'_>) -> Value {
    let mut release = story.release(halves());
    release["metadata"]["name"] = json!("second");
    release
}

async fn until_second(story: &Story<'_>, what: &str, holds: impl Fn(&Value) -> bool) {
    let holds = &holds;
    story
        .until(what, |story| async move {
            holds(&story.get("tidegate.dev/v1alpha1", "Release", "second").await["status"])
        })
        .await;
}

#[test]
fn a_second_release_of_a_deployment_waits_until_the_first_is_gone() {
    on_stage(async {
        let story = adopted("two", 3, halves()).await;
        story.apply(second(&story)).await;
        until_second(&story, "the second says who has it", |status| {
            status["blockedBy"]["reason"] == "TargetTaken"
                && status["blockedBy"]["message"].as_str().is_some_and(|message| message.contains("shop"))
        })
        .await;
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
        story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
        until_second(&story, "the second takes over", |status| status["stable"]["fingerprint"].is_string())
            .await;
        story.ship_paper("v3", json!({})).await;
        until_second(&story, "its run", |status| status["lastRun"]["outcome"] == "Succeeded").await;
        assert_eq!(pods_of(&story, "v3").await, 3, "{}", story.describe().await);
    });
}

#[test]
fn a_release_deleted_in_mid_run_goes_back_before_the_second_takes_over() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "two-in-run", "Policy").await;
        story.apply(second(&story)).await;
        until_second(&story, "the second waits", |status| status["blockedBy"]["reason"] == "TargetTaken")
            .await;
        let guard = story.guard().await;
        story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
        until_second(&story, "the second takes over", |status| status["stable"]["fingerprint"].is_string())
            .await;
        assert_eq!(
            (pods_of(&story, "v1").await, pods_of(&story, "v2").await),
            (4, 0),
            "{}",
            story.describe().await
        );
        let target = story.target().await;
        assert_eq!(owners(&target), before, "{}", story.describe().await);
        assert_eq!(target["metadata"]["labels"]["tidegate.dev/release"], "second", "{target:#}");
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
    });
}

/// Deletes the Release, and makes it anew at once for another Deployment, which is there.
async fn make_anew_for_another(story: &Story<'_>) {
    let mut other = story.deployment(2);
    other["metadata"]["name"] = json!("other");
    other["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    other["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    story.apply(other).await;
    let mut release = story.release(halves());
    release["spec"]["targetRef"]["name"] = json!("other");
    story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
    story.apply(release).await;
}

async fn until_the_other_is_adopted(story: &Story<'_>) {
    story
        .until("the other is adopted", |story| async move {
            story.status().await["stable"]["fingerprint"].is_string()
                && story.get("apps/v1", "Deployment", "other").await["metadata"]["labels"]["tidegate.dev/release"] == "shop"
        })
        .await;
}

#[test]
fn a_release_made_anew_for_another_deployment_gives_the_former_one_back_before_a_second_takes_it_up() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "another-target-two", "Policy").await;
        story.apply(second(&story)).await;
        until_second(&story, "the second waits", |status| status["blockedBy"]["reason"] == "TargetTaken")
            .await;
        let guard = story.guard().await;
        make_anew_for_another(&story).await;
        until_second(&story, "the second takes over", |status| status["stable"]["fingerprint"].is_string())
            .await;
        let pods = story.pods().await;
        let of_shop = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "shop");
        let versions = of_shop.map(|pod| &pod["metadata"]["annotations"]["version"]);
        assert_eq!(versions.collect::<Vec<_>>(), ["v1"; 4], "{}", story.describe().await);
        let former = story.target().await;
        assert_eq!(owners(&former), before, "{}", story.describe().await);
        assert_eq!(former["metadata"]["labels"]["tidegate.dev/release"], "second", "{former:#}");
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
        until_the_other_is_adopted(&story).await;
    });
}

#[test]
fn a_release_made_anew_for_another_deployment_gives_the_former_one_back_first() {
    on_stage(async {
        let (story, before) = half_way(Stage::shared().await, "another-target", "Policy").await;
        let guard = story.guard().await;
        make_anew_for_another(&story).await;
        until_the_other_is_adopted(&story).await;
        let former = story.target().await;
        assert_eq!(former["metadata"]["labels"]["tidegate.dev/release"], json!(null), "{former:#}");
        assert_eq!(owners(&former), before, "{}", story.describe().await);
        assert_eq!(former["spec"]["template"]["metadata"]["annotations"]["version"], "v1", "{former:#}");
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
    });
}
