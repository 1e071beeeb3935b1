//! Catching a change before its first pod, in each mode; and Deployments that come, go and come again.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{
    adopted, approve, at_half, by_approval, ended, halves, owners, pod_names, pods_of, say, unblock,
    until_soaking, with, with_capture,
};

/// Held with no canary pod; not even its ReplicaSet has been made.
async fn held_without_a_pod(story: &Story<'_>, sets: usize) {
    story.until_blocked("AwaitingApproval").await;
    story
        .stays(Duration::from_millis(700), "held without a pod", |story| async move {
            story.target().await["spec"]["paused"] == true
                && story.list("apps/v1", "ReplicaSet").await.len() == sets
        })
        .await;
}

async fn abort_and_forget(story: &Story<'_>, run: i64) {
    say(story, "Abort").await;
    ended(story, run, "Aborted").await;
}

#[test]
fn by_policy_a_change_is_held_before_its_first_pod_whoever_makes_it() {
    on_stage(async {
        let story = adopted("policy", 3, by_approval()).await;
        assert_eq!(story.status().await["capture"]["mode"], "Policy", "{}", story.describe().await);
        assert!(story.target().await["spec"]["paused"].is_null(), "at rest it is not paused");
        let before = owners(&story.target().await);
        let guard = story.guard().await;

        story.ship_paper("v2", json!({})).await;
        held_without_a_pod(&story, 1).await;
        abort_and_forget(&story, 1).await;

        let mut applied = story.deployment(3);
        applied["spec"]["template"]["metadata"]["annotations"]["version"] = json!("v3");
        story.try_apply(applied, "somebody-else").await.expect("applied");
        held_without_a_pod(&story, 1).await;
        abort_and_forget(&story, 2).await;

        let restart = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
        story.patch(json!({"spec": {"template": {"metadata": {"annotations": restart}}}})).await;
        held_without_a_pod(&story, 1).await;
        approve(&story).await;
        ended(&story, 3, "Succeeded").await;
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        assert!(guard.worst().most_ordered <= 4, "{:?}", guard.worst());
    });
}

#[test]
fn under_a_pause_of_the_owners_a_change_waits_and_is_held_in_the_write_that_resumes() {
    on_stage(async {
        let story = adopted("owner-pause", 3, by_approval()).await;
        let before = owners(&story.target().await);
        let guard = story.guard().await;
        story.patch(json!({"spec": {"paused": true}})).await;
        story.ship_paper("v2", json!({})).await;
        waits_for_its_owner(&story, &before).await;
        unblock(&story).await;
        held_without_a_pod(&story, 1).await;
        approve(&story).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");

        // The manifest says both, in one write; and says later that it goes on.
        let manifest = |paused: bool| {
            let mut manifest = story.deployment(3);
            manifest["spec"]["paused"] = json!(paused);
            manifest["spec"]["template"]["metadata"]["annotations"]["version"] = json!("v3");
            manifest
        };
        story.try_apply(manifest(true), "somebody-else").await.expect("applied");
        waits_for_its_owner(&story, &before).await;
        story.try_apply(manifest(false), "somebody-else").await.expect("applied");
        held_without_a_pod(&story, 2).await;
        approve(&story).await;
        ended(&story, 2, "Succeeded").await;
        assert_eq!(pods_of(&story, "v3").await, 3, "{}", story.describe().await);
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        assert!(guard.worst().most_ordered <= 4, "{:?}", guard.worst());
    });
}

/// No run, no pod, and the Deployment is as its owner wrote it: paused.
async fn waits_for_its_owner(story: &Story<'_>, before: &Value) {
    story.until_blocked("PausedByOwner").await;
    let pods = pod_names(story).await;
    let (before, pods) = (with(before.clone(), json!({"paused": true})), &pods);
    let before = &before;
    story
        .stays(Duration::from_secs(1), "left as its owner wrote it", |story| async move {
            owners(&story.target().await) == *before
                && story.status().await["run"].is_null()
                && pod_names(story).await == *pods
        })
        .await;
}

#[test]
fn kept_paused_a_change_is_held_before_its_first_pod_and_the_owner_may_edit_the_rest() {
    on_stage(async {
        let story = adopted("paused", 3, with_capture(by_approval(), "Paused")).await;
        story
            .until("paused at rest", |story| async move { story.target().await["spec"]["paused"] == true })
            .await;
        assert_eq!(story.status().await["capture"]["mode"], "Paused", "{}", story.describe().await);
        // Between runs the other fields are the owner's.
        let pace = json!({"spec": {"minReadySeconds": 1, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}});
        story.patch(pace).await;
        let before = owners(&story.target().await);
        assert_eq!(before["minReadySeconds"], 1, "{}", story.describe().await);
        let guard = story.guard().await;
        story.ship_paper("v2", json!({})).await;
        held_without_a_pod(&story, 1).await;
        approve(&story).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(owners(&story.target().await), before, "paused again, the rest as its owner wrote it");
        let worst = guard.worst();
        assert!(worst.least_ready >= 3 && worst.most_ordered <= 4, "{worst:?}");
        story
            .stays(Duration::from_millis(500), "paused", |story| async move {
                story.target().await["spec"]["paused"] == true
            })
            .await;
        // Handing back lets go of the pause too.
        say(&story, "HandBack").await;
        story.until_blocked("HandedBack").await;
        assert!(story.target().await["spec"]["paused"].is_null(), "{}", story.describe().await);
    });
}

#[test]
fn by_reaction_what_moved_before_the_hold_goes_back_first() {
    on_stage(async {
        // Where the policies are served they hold it, whatever the Release's mode.
        let story = Story::begin(Stage::shared_older().await, "react").await;
        let spec = with_capture(by_approval(), "React");
        story.adopt(story.deployment(10), story.release(spec)).await;
        let before = owners(&story.target().await);
        assert!(before["paused"].is_null(), "{}", story.describe().await);
        assert_eq!(story.status().await["capture"]["mode"], "React", "{}", story.describe().await);
        let guard = story.guard().await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("AwaitingApproval").await;
        story.until("no canary pod", |story| async move { pods_of(story, "v2").await == 0 }).await;
        story
            .stays(Duration::from_millis(700), "held", |story| async move {
                story.target().await["spec"]["paused"] == true && pods_of(story, "v2").await == 0
            })
            .await;
        approve(&story).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        let worst = guard.worst();
        assert!(worst.least_ready >= 8 && worst.most_ordered <= 13, "{worst:?}");
    });
}

#[test]
fn an_api_server_without_mutating_policies_means_kept_paused() {
    on_stage(async {
        let story = Story::begin(Stage::shared_older().await, "older").await;
        story.adopt(story.deployment(3), story.release(by_approval())).await;
        story
            .until("paused at rest", |story| async move { story.target().await["spec"]["paused"] == true })
            .await;
        assert_eq!(story.status().await["capture"]["mode"], "Paused", "{}", story.describe().await);
        let before = owners(&story.target().await);
        story.ship_paper("v2", json!({})).await;
        held_without_a_pod(&story, 1).await;
        approve(&story).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(owners(&story.target().await), before, "paused again, the rest as its owner wrote it");
        story.ship_paper("v3", json!({"paper.tidegate.dev/crash": "true"})).await;
        story.until_blocked("AwaitingApproval").await;
        approve(&story).await;
        ended(&story, 2, "Undone").await;
        assert_eq!(pods_of(&story, "v2").await, 3, "{}", story.describe().await);
    });
}

#[test]
fn the_first_deployment_goes_out_natively_and_becomes_stable() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "first").await;
        story.apply(story.release(halves())).await;
        story.until_blocked("TargetMissing").await;
        story.apply(story.deployment(3)).await;
        story
            .until(
                "adopted",
                |story| async move { story.status().await["stable"]["fingerprint"].is_string() },
            )
            .await;
        let status = story.status().await;
        assert!(status["run"].is_null() && status["lastRun"].is_null(), "{status:#}");
        assert_eq!(pods_of(&story, "v1").await, 3, "{}", story.describe().await);
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
    });
}

#[test]
fn a_deployment_deleted_in_mid_run_and_made_anew_is_another_one() {
    on_stage(async {
        let story = at_half("anew", 3).await;
        story.delete("apps/v1", "Deployment", "shop").await;
        let last = ended(&story, 1, "Aborted").await;
        assert!(last["message"].as_str().is_some_and(|message| message.contains("deleted")), "{last}");
        let mut anew = story.deployment(2);
        anew["spec"]["template"]["metadata"]["annotations"]["version"] = json!("v3");
        story.apply(anew).await;
        story
            .until("adopted anew", |story| async move {
                story.status().await["stable"]["fingerprint"].is_string()
            })
            .await;
        assert_eq!(pods_of(&story, "v3").await, 2, "{}", story.describe().await);
        let said = story.status().await["summary"]["message"].clone();
        assert!(said.as_str().is_some_and(|said| said.ends_with("was not released")), "{said}");
        story.ship_paper("v4", json!({})).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        ended(&story, 2, "Aborted").await;
        assert_eq!(pods_of(&story, "v3").await, 2, "{}", story.describe().await);
    });
}
