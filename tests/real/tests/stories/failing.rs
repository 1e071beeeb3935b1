//! A version that is bad: by its answers, by their time, or by pods that never stand. Stable comes back within the owner's limits.

use serde_json::json;
use tidegate_real::load::Load;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::given::{adopted, fail, measured, quick, undo_in_order, until_at, version, with};

#[test]
fn errors_that_begin_at_half_bring_the_old_version_back_within_the_owners_limits() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "bad-half").await;
        let mut spec = measured();
        spec["steps"][1]["soak"] = json!("60s");
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let guard = story.guard().await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        until_at(&story, "half").await;
        fail(&story, "v2", "0.5").await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        undo_in_order(&ended, true);
        assert_eq!(version(&story).await, "v1");
        let worst = guard.worst();
        assert!(worst.least_ready >= 3, "{worst:?}");
        story.until_phase("Rejected").await;
    });
}

#[test]
fn errors_in_the_watch_bring_the_old_version_back_though_its_replicaset_is_long_gone() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "bad-watch").await;
        let spec = with(measured(), json!({"watch": [{"for": "120s", "every": "1s"}]}));
        let mut deployment = shop_deployment(4);
        deployment["spec"]["revisionHistoryLimit"] = json!(0);
        story.adopt(deployment, story.release(spec)).await;
        let before = story.target().await["spec"].clone();
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let guard = story.guard().await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        story.until_phase("Watching").await;
        story
            .until(
                "one ReplicaSet",
                |story| async move { story.list("apps/v1", "ReplicaSet").await.len() == 1 },
            )
            .await;
        fail(&story, "v2", "0.5").await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        undo_in_order(&ended, true);
        let worst = guard.worst();
        assert!(worst.least_ready >= 3, "{worst:?}");
        story.until_phase("Rejected").await;
        assert_eq!(
            story.target().await["spec"],
            before,
            "all is as the owner wrote it: {}",
            story.describe().await
        );
    });
}

#[test]
fn a_breach_goes_back_while_the_release_is_suspended() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "bad-suspended").await;
        let mut spec = measured();
        spec["steps"][0]["soak"] = json!("60s");
        story.adopt(shop_deployment(2), story.release(spec.clone())).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        until_at(&story, "tenth").await;
        story.apply(story.release(with(spec, json!({"suspend": true})))).await;
        story.until_blocked("Suspended").await;
        fail(&story, "v2", "0.5").await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        undo_in_order(&ended, true);
    });
}

#[test]
fn a_slow_version_goes_back() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "slow").await;
        let criteria = json!([{"name": "latency", "latency": {"quantile": 0.9, "limit": "250ms"}}]);
        let mut spec = with(quick(), json!({"criteria": criteria}));
        spec["steps"][0]["soak"] = json!("60s");
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[("LATENCY_MS", "400")]).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        let message = ended["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("latency: ") && message.contains("took longer than 250 ms"), "{message}");
        undo_in_order(&ended, true);
    });
}

#[test]
fn a_version_that_never_becomes_ready_goes_back_at_the_owners_deadline() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "never-ready").await;
        let mut deployment = story.deployment(4);
        deployment["spec"]["progressDeadlineSeconds"] = json!(5);
        story.adopt(deployment, story.release(quick())).await;
        let guard = story.guard().await;
        story.ship_paper("v2", json!({"paper.tidegate.dev/never-ready": "true"})).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        assert_eq!(ended["message"], "0 of 1 canary pods are Ready after 5 s without progress");
        undo_in_order(&ended, false);
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
        assert_eq!(story.target().await["spec"]["progressDeadlineSeconds"], 5, "{}", story.describe().await);
    });
}

/// The pods themselves say that it is no use waiting.
async fn hopeless(name: &str, annotation: &str, reason: &str) {
    let story = adopted(name, 4, quick()).await;
    let guard = story.guard().await;
    story.ship_paper("v2", json!({annotation: "true"})).await;
    let ended = story.until_ended(1).await;
    assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
    let message = ended["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&format!("1 of 1 canary pods: {reason} (pod shop-")), "{message}");
    undo_in_order(&ended, false);
    assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
    story.until_phase("Rejected").await;
    let status = story.status().await;
    assert!(
        status["rejected"][0]["reason"].as_str().unwrap_or_default().contains(reason),
        "{}",
        story.describe().await
    );
}

#[test]
fn a_crash_loop_goes_back_at_once() {
    on_stage(hopeless("crash", "paper.tidegate.dev/crash", "CrashLoopBackOff"));
}

#[test]
fn an_image_that_is_not_there_goes_back_at_once() {
    on_stage(hopeless("no-image", "paper.tidegate.dev/image-missing", "ImagePullBackOff"));
}

#[test]
fn a_missing_configmap_goes_back_at_once() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "no-map").await;
        story.adopt(shop_deployment(2), story.release(quick())).await;
        let from = json!([{"configMapRef": {"name": "nowhere"}}]);
        story
            .patch_strategic(
                json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "envFrom": from}]}}}}),
            )
            .await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        let message = ended["message"].as_str().unwrap_or_default();
        assert!(message.contains("CreateContainerConfigError") && message.contains("nowhere"), "{message}");
    });
}
