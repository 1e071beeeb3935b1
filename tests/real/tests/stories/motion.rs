//! Moves within the owner's limits: every shape of them, autoscalers that change the number in between, and Recreate.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tidegate::api::FIELD_MANAGER;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{
    adopted, at_half, autoscale, by_hand, ended, finish, halves, owners, pods_of, say, shipped,
    until_soaking, with_capture,
};

/// maxSurge and maxUnavailable, and how many pods they are of N.
type Shape = (Value, Value, fn(usize) -> (usize, usize));

fn shapes() -> [Shape; 5] {
    [
        (json!(0), json!(1), |_| (0, 1)),
        (json!(1), json!(0), |_| (1, 0)),
        (json!("25%"), json!("25%"), |n| (n.div_ceil(4), n / 4)),
        (json!("100%"), json!(0), |n| (n, 0)),
        (json!(2), json!(1), |_| (2, 1)),
    ]
}

async fn goes_out_within(stage: &Stage, replicas: usize, (surge, unavailable, limits): Shape) {
    let story = Story::begin(stage, "shape").await;
    let mut deployment = story.deployment(i32::try_from(replicas).expect("few"));
    deployment["spec"]["strategy"]["rollingUpdate"] =
        json!({"maxSurge": surge, "maxUnavailable": unavailable});
    story.adopt(deployment, story.release(halves())).await;
    let guard = story.guard().await;
    story.ship_paper("v2", json!({})).await;
    ended(&story, 1, "Succeeded").await;
    assert_eq!(pods_of(&story, "v2").await, replicas, "{}", story.describe().await);
    let (more, fewer) = limits(replicas);
    let worst = guard.worst();
    let kept = worst.least_ready >= replicas - fewer && worst.most_ordered <= replicas + more;
    assert!(
        kept,
        "{replicas} pods, maxSurge {surge}, maxUnavailable {unavailable}: {worst:?}\n{}",
        story.describe().await
    );
}

#[test]
fn every_shape_of_max_surge_and_max_unavailable_is_kept_to() {
    on_stage(async {
        let stage = Stage::shared().await;
        for replicas in [1, 2, 3, 10] {
            join_all(shapes().map(|shape| goes_out_within(stage, replicas, shape))).await;
        }
    });
}

#[test]
fn a_hundred_pods_go_out_within_the_owners_limits() {
    on_stage(async {
        let [_, _, usual, ..] = shapes();
        goes_out_within(Stage::shared().await, 100, usual).await;
    });
}

/// Waits until so many pods stand in this step, and the canary is not more of them than the step allows.
async fn until_stands(story: &Story<'_>, step: &str, replicas: i64, canary: std::ops::RangeInclusive<i64>) {
    let canary = &canary;
    story
        .until(&format!("{canary:?} of {replicas} pods in step {step}"), |story| async move {
            let status = story.status().await;
            let count = |which: &str| status["replicas"][which]["ready"].as_i64().unwrap_or(-1);
            status["phase"] == "Soaking"
                && status["step"]["name"] == step
                && status["replicas"]["desired"] == replicas
                && count("stable") + count("canary") == replicas
                && canary.contains(&count("canary"))
        })
        .await;
}

async fn scaled_in_every_soak(stage: &Stage, capture: &str) {
    let story = Story::begin(stage, "scaled-soak").await;
    let mut spec = with_capture(by_hand(), capture);
    spec["steps"] = json!([
        {"name": "tenth", "replicas": "10%", "soak": "1h"},
        {"name": "half", "replicas": "50%", "soak": "1h"},
        {"name": "all", "replicas": "100%", "soak": "1h"},
    ]);
    story.adopt(story.deployment(10), story.release(spec)).await;
    story
        .until(
            "caught in this mode",
            |story| async move { story.status().await["capture"]["mode"] == capture },
        )
        .await;
    let guard = story.guard().await;
    story.ship_paper("v2", json!({})).await;
    for (step, percent) in [("tenth", 10), ("half", 50), ("all", 100)] {
        let share = |replicas: i64| (replicas * percent / 100).max(1)..=(replicas * percent + 99) / 100;
        until_stands(&story, step, 10, share(10)).await;
        for replicas in [16, 6, 10] {
            story.scale(replicas).await;
            until_stands(&story, step, replicas.into(), share(replicas.into())).await;
        }
        say(&story, "Skip").await;
    }
    ended(&story, 1, "Succeeded").await;
    assert_eq!(pods_of(&story, "v2").await, 10, "{}", story.describe().await);
    let worst = guard.worst();
    // 25% of 6 is 1, of 16 it is 4.
    assert!(worst.least_ready >= 5 && worst.most_ordered <= 20, "{worst:?}");
}

#[test]
fn an_autoscaler_may_change_the_number_in_every_soak() {
    on_stage(async { scaled_in_every_soak(Stage::shared().await, "Policy").await });
}

#[test]
fn an_autoscaler_may_change_the_number_in_every_soak_where_the_operator_reacts() {
    on_stage(async { scaled_in_every_soak(Stage::shared_older().await, "React").await });
}

#[test]
fn an_autoscaler_may_change_the_number_in_every_soak_of_a_deployment_that_is_kept_paused() {
    on_stage(async { scaled_in_every_soak(Stage::shared_older().await, "Paused").await });
}

#[test]
fn an_autoscaler_may_change_the_number_in_the_middle_of_a_move() {
    on_stage(async {
        let story = adopted("scaled-move", 10, by_hand()).await;
        let guard = story.guard().await;
        story.ship_paper("v2", json!({"paper.tidegate.dev/ready-after": "700ms"})).await;
        for (canary, replicas) in [(2, 16), (4, 6), (2, 10)] {
            story
                .until(&format!("{canary} canary pods"), |story| async move {
                    pods_of(story, "v2").await >= canary
                })
                .await;
            story.scale(replicas).await;
        }
        until_stands(&story, "half", 10, 5..=5).await;
        say(&story, "Skip").await;
        until_soaking(&story, "all").await;
        say(&story, "Skip").await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(pods_of(&story, "v2").await, 10, "{}", story.describe().await);
        let worst = guard.worst();
        assert!(worst.least_ready >= 5 && worst.most_ordered <= 20, "{worst:?}\n{}", story.describe().await);
    });
}

/// Sees to it that one other than the Deployment's author wrote the number of pods last, and that it was not the operator.
async fn only_the_autoscaler_wrote_replicas(story: &Story<'_>) {
    let target = story.target().await;
    let entries = target["metadata"]["managedFields"].as_array().expect("entries");
    let wrote = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null();
    let writers: Vec<&Value> = entries.iter().filter(wrote).map(|entry| &entry["manager"]).collect();
    let is_another = |writer: &&Value| !["story", FIELD_MANAGER].iter().any(|known| *writer == known);
    assert!(writers.len() == 1 && writers.iter().all(is_another), "{writers:?}");
}

#[test]
fn a_real_autoscaler_whose_bounds_change_in_mid_run_has_the_last_word_about_replicas() {
    on_stage(async {
        let story = adopted("autoscaled", 10, by_hand()).await;
        autoscale(&story, 10, 10).await;
        let guard = story.guard().await;
        story.ship_paper("v2", json!({})).await;
        until_stands(&story, "half", 10, 5..=5).await;
        for replicas in [16, 6] {
            autoscale(&story, replicas, replicas).await;
            until_stands(&story, "half", replicas, replicas / 2..=replicas / 2).await;
            only_the_autoscaler_wrote_replicas(&story).await;
        }
        finish(&story, 1).await;
        assert_eq!(pods_of(&story, "v2").await, 6, "{}", story.describe().await);
        only_the_autoscaler_wrote_replicas(&story).await;
        let worst = guard.worst();
        // 25% of 6 is 1, of 16 it is 4.
        assert!(worst.least_ready >= 5 && worst.most_ordered <= 20, "{worst:?}\n{}", story.describe().await);
        story.delete("autoscaling/v2", "HorizontalPodAutoscaler", "shop").await;
    });
}

#[test]
fn without_replicas_a_run_waits_on_the_stable_template_and_starts_again() {
    on_stage(async {
        let story = at_half("nothing", 10).await;
        story.scale(0).await;
        story.until_blocked("NoReplicas").await;
        let target = story.target().await;
        assert_eq!(
            target["spec"]["template"]["metadata"]["annotations"]["version"],
            "v1",
            "{}",
            story.describe().await
        );
        let guard = story.guard().await;
        story.scale(10).await;
        until_stands(&story, "half", 10, 5..=5).await;
        assert!(guard.worst().most_ordered <= 13, "{:?}", guard.worst());
        finish(&story, 1).await;
        assert_eq!(pods_of(&story, "v2").await, 10, "{}", story.describe().await);
    });
}

#[test]
fn a_change_without_replicas_waits_for_them_and_stable_pods_come_first() {
    on_stage(async {
        let story = adopted("from-nothing", 4, by_hand()).await;
        story.scale(0).await;
        story.until("no pods", |story| async move { story.pods().await.is_empty() }).await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("NoReplicas").await;
        story.scale(4).await;
        until_stands(&story, "half", 4, 2..=2).await;
        finish(&story, 1).await;
        assert_eq!(pods_of(&story, "v2").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn a_shrink_that_takes_the_last_stable_pod_is_answered_by_stable_first() {
    on_stage(async {
        let story = shipped("shrink", 2, by_hand()).await;
        until_stands(&story, "half", 2, 1..=1).await;
        story.scale(1).await;
        until_stands(&story, "half", 1, 1..=1).await;
        story.scale(3).await;
        until_stands(&story, "half", 3, 1..=1).await;
        assert_eq!(pods_of(&story, "v1").await, 2, "{}", story.describe().await);
        let said = story.list("events.k8s.io/v1", "Event").await;
        let words = "3 canary pods where step half allows 1";
        assert!(
            said.iter().any(|event| event["note"].as_str().is_some_and(|note| note.contains(words))),
            "{said:#?}"
        );
        finish(&story, 1).await;
        assert_eq!(pods_of(&story, "v2").await, 3, "{}", story.describe().await);
    });
}

fn recreated(story: &Story<'_>) -> Value {
    let mut deployment = story.deployment(3);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    deployment
}

fn all_at_once() -> Value {
    json!({"steps": [{"name": "all", "replicas": "100%", "soak": "1s"}], "criteria": [], "watch": []})
}

#[test]
fn a_recreate_deployment_changes_all_at_once_after_its_checks() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "recreate").await;
        story.adopt(recreated(&story), story.release(all_at_once())).await;
        let before = owners(&story.target().await);
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(pods_of(&story, "v2").await, 3, "{}", story.describe().await);
        assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
    });
}

#[test]
fn a_bad_version_of_a_recreate_deployment_is_undone() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "recreate-bad").await;
        story.adopt(recreated(&story), story.release(all_at_once())).await;
        let before = owners(&story.target().await);
        story.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
        ended(&story, 1, "Undone").await;
        assert_eq!(pods_of(&story, "v1").await, 3, "{}", story.describe().await);
        assert_eq!(pods_of(&story, "v2").await, 0, "{}", story.describe().await);
        story.until_phase("Rejected").await;
        story
            .until("the owner's fields", |story| {
                let before = before.clone();
                async move { owners(&story.target().await) == before }
            })
            .await;
    });
}

#[test]
fn shares_of_a_recreate_deployment_are_refused_with_a_sentence() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "recreate-shares").await;
        story.adopt(recreated(&story), story.release(halves())).await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("InvalidSpec").await;
        let status = story.status().await;
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("Recreate") && message.contains("100%"), "{message}");
        story
            .stays(
                Duration::from_secs(1),
                "no canary pod",
                |story| async move { pods_of(story, "v2").await == 0 },
            )
            .await;
        story.apply(story.release(all_at_once())).await;
        ended(&story, 1, "Succeeded").await;
    });
}
