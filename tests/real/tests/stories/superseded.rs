//! Templates that come at the wrong moment: newer ones, rejected ones, the same one, the stable one.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{
    adopted, at_half, by_hand, ended, finish, halves, owners, pod_names, pods_of, say, skip, until_soaking,
    with_capture,
};

/// The Deployment as it stands in Git.
fn in_git(story: &Story<'_>, version: &str, annotations: Value) -> Value {
    let mut deployment = story.deployment(4);
    let all = &mut deployment["spec"]["template"]["metadata"]["annotations"];
    all.as_object_mut().expect("annotations").extend(annotations.as_object().cloned().unwrap_or_default());
    all["version"] = json!(version);
    deployment
}

fn crash() -> Value {
    json!({"paper.tidegate.dev/crash": "true"})
}

#[test]
fn a_newer_template_in_mid_run_goes_out_after_stable_stands_again() {
    on_stage(async {
        let story = adopted("newer", 4, by_hand()).await;
        let before = owners(&story.target().await);
        let guard = story.guard().await;
        story.ship_paper("v2", json!({})).await;
        until_soaking(&story, "half").await;
        story.ship_paper("v3", json!({})).await;
        ended(&story, 1, "Superseded").await;
        assert_eq!(pods_of(&story, "v2").await, 0, "{}", story.describe().await);
        skip(&story, "half").await;
        skip(&story, "all").await;
        let last = ended(&story, 2, "Succeeded").await;
        assert_eq!(last["changedBy"], "admin", "{last}");
        assert_eq!(pods_of(&story, "v3").await, 4, "{}", story.describe().await);
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        let worst = guard.worst();
        assert!(worst.least_ready >= 3, "{worst:?}");
    });
}

#[test]
fn a_newer_template_while_there_are_no_replicas_takes_the_place_of_the_run() {
    on_stage(async {
        let story = at_half("newer-at-nothing", 4).await;
        story.scale(0).await;
        story.until_blocked("NoReplicas").await;
        story.ship_paper("v3", json!({})).await;
        ended(&story, 1, "Superseded").await;
        story.until_blocked("NoReplicas").await;
        let target = story.target().await;
        assert_eq!(
            target["spec"]["template"]["metadata"]["annotations"]["version"],
            "v1",
            "{}",
            story.describe().await
        );
        story.scale(4).await;
        until_soaking(&story, "half").await;
        assert_eq!(
            (pods_of(&story, "v1").await, pods_of(&story, "v3").await),
            (2, 2),
            "{}",
            story.describe().await
        );
        finish(&story, 2).await;
    });
}

#[test]
fn a_newer_template_during_the_watch_follows_the_one_that_is_out() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "newer-in-watch").await;
        let mut spec = by_hand();
        spec["watch"] = json!([{"for": "1h", "every": "1m"}]);
        story.adopt(story.deployment(4), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        skip(&story, "half").await;
        skip(&story, "all").await;
        story.until_phase("Watching").await;
        story.ship_paper("v3", json!({})).await;
        ended(&story, 1, "Superseded").await;
        until_soaking(&story, "half").await;
        assert_eq!(
            (pods_of(&story, "v2").await, pods_of(&story, "v3").await),
            (2, 2),
            "{}",
            story.describe().await
        );
        say(&story, "Abort").await;
        ended(&story, 2, "Aborted").await;
        assert_eq!(pods_of(&story, "v2").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn a_rejected_template_that_git_applies_ten_times_moves_nothing_and_a_fixed_one_goes_out() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "ten-times").await;
        story.adopt(in_git(&story, "v1", json!({})), story.release(halves())).await;
        story.apply(in_git(&story, "v2", crash())).await;
        ended(&story, 1, "Undone").await;
        let pods = pod_names(&story).await;
        for _ in 0..10 {
            story.apply(in_git(&story, "v2", crash())).await;
            story.until_blocked("RejectedRevision").await;
        }
        let (story, pods) = (&story, &pods);
        story
            .stays(
                Duration::from_secs(1),
                "nothing moves",
                |_| async move { pod_names(story).await == *pods },
            )
            .await;
        let status = story.status().await;
        assert_eq!(
            (&status["phase"], &status["lastRun"]["number"]),
            (&json!("Rejected"), &json!(1)),
            "{status:#}"
        );
        assert_eq!(status["rejected"].as_array().map(Vec::len), Some(1), "{status:#}");
        // Git removes what it no longer says: the annotation that makes pods crash.
        let mut fixed = in_git(story, "v3", json!({}));
        fixed["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/crash"] = json!("false");
        story.apply(fixed).await;
        ended(story, 2, "Succeeded").await;
        assert_eq!(pods_of(story, "v3").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn a_rejected_template_applied_again_while_it_is_being_undone_is_undone_once_and_then_held() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "again").await;
        story.adopt(in_git(&story, "v1", json!({})), story.release(halves())).await;
        let guard = story.guard().await;
        story.apply(in_git(&story, "v2", crash())).await;
        story.until_phase("Undoing").await;
        story
            .until("the end, whatever Git says", |story| async move {
                story.apply(in_git(story, "v2", crash())).await;
                story.status().await["lastRun"]["number"] == 1
            })
            .await;
        ended(&story, 1, "Undone").await;
        story
            .until("all pods are stable", |story| async move {
                pods_of(story, "v1").await == 4 && story.pods().await.len() == 4
            })
            .await;
        story.until_blocked("RejectedRevision").await;
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
    });
}

#[test]
fn the_same_template_again_is_no_run() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "same").await;
        story.adopt(in_git(&story, "v1", json!({})), story.release(halves())).await;
        let pods = pod_names(&story).await;
        let mut again = in_git(&story, "v1", json!({}));
        again["metadata"]["annotations"] = json!({"team": "shop"});
        story.try_apply(again, "somebody-else").await.expect("applied");
        let (story, pods) = (&story, &pods);
        story
            .stays(Duration::from_secs(1), "no run", |_| async move {
                let status = story.status().await;
                status["run"].is_null() && status["lastRun"].is_null() && pod_names(story).await == *pods
            })
            .await;
    });
}

#[test]
fn the_stable_template_again_in_mid_run_ends_it_as_undone_by_a_person() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "reverted").await;
        story.adopt(in_git(&story, "v1", json!({})), story.release(by_hand())).await;
        let before = owners(&story.target().await);
        story.apply(in_git(&story, "v2", json!({}))).await;
        until_soaking(&story, "half").await;
        let guard = story.guard().await;
        story.apply(in_git(&story, "v1", json!({}))).await;
        let last = ended(&story, 1, "Undone").await;
        assert_eq!(last["undo"]["by"], "admin", "{last:#}");
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
        story.until_phase("Idle").await;
        assert!(
            story.status().await["rejected"].as_array().is_none_or(Vec::is_empty),
            "{}",
            story.describe().await
        );
        assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
        // Not rejected: it may be tried again.
        story.apply(in_git(&story, "v2", json!({}))).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        ended(&story, 2, "Aborted").await;
    });
}

/// What `kubectl rollout undo` writes: the template of an old ReplicaSet, and its annotations for all of the Deployment's.
async fn rollout_undo(story: &Story<'_>, version: &str) {
    let sets = story.list("apps/v1", "ReplicaSet").await;
    let of = |set: &&Value| set["spec"]["template"]["metadata"]["annotations"]["version"] == version;
    let set = sets.iter().find(of).expect("an old ReplicaSet");
    let mut template = set["spec"]["template"].clone();
    template["metadata"]["labels"].as_object_mut().expect("labels").remove("pod-template-hash");
    let mut annotations = set["metadata"]["annotations"].clone();
    annotations
        .as_object_mut()
        .expect("annotations")
        .retain(|name, _| !name.starts_with("deployment.kubernetes.io/"));
    let target = story.target().await;
    for (name, value) in target["metadata"]["annotations"].as_object().into_iter().flatten() {
        if name.starts_with("deployment.kubernetes.io/") {
            annotations[name] = value.clone();
        }
    }
    let operations = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations},
    ]);
    let patch = kube::api::Patch::Json::<()>(serde_json::from_value(operations).expect("a JSON patch"));
    let api = story.api("apps/v1", "Deployment");
    api.patch("shop", &kube::api::PatchParams::default(), &patch).await.expect("undone");
}

async fn undone_at_rest(capture: &str) {
    let story = adopted("undo-at-rest", 4, with_capture(halves(), capture)).await;
    let before = owners(&story.target().await);
    story.ship_paper("v2", json!({})).await;
    ended(&story, 1, "Succeeded").await;
    rollout_undo(&story, "v1").await;
    ended(&story, 2, "Succeeded").await;
    assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
    let target = story.target().await;
    assert_eq!(owners(&target), before, "the owner's fields are back");
    let annotations = target["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let ours: Vec<&String> = annotations
        .keys()
        .filter(|name| name.starts_with("tidegate.dev/") && *name != "tidegate.dev/changed-by")
        .collect();
    assert!(ours.is_empty(), "{ours:?} is left");
}

#[test]
fn kubectl_rollout_undo_at_rest_is_a_change_like_any_other() {
    on_stage(undone_at_rest("Policy"));
}

#[test]
fn kubectl_rollout_undo_at_rest_is_a_change_like_any_other_also_in_mode_react() {
    on_stage(undone_at_rest("React"));
}

async fn undone_in_mid_run(capture: &str) {
    let story = adopted("undo-in-run", 4, with_capture(by_hand(), capture)).await;
    let before = owners(&story.target().await);
    story.ship_paper("v2", json!({})).await;
    until_soaking(&story, "half").await;
    let guard = story.guard().await;
    rollout_undo(&story, "v1").await;
    ended(&story, 1, "Undone").await;
    story.until_phase("Idle").await;
    assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
    assert_eq!(
        owners(&story.target().await),
        before,
        "the owner's fields are back\n{}",
        story.describe().await
    );
    assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
}

#[test]
fn kubectl_rollout_undo_in_mid_run_ends_it_as_undone() {
    on_stage(undone_in_mid_run("Policy"));
}

#[test]
fn kubectl_rollout_undo_in_mid_run_ends_it_as_undone_also_in_mode_react() {
    on_stage(undone_in_mid_run("React"));
}
