//! The model of the native controllers (`tests/sim`) held against the native controllers: the same writes, and as many pods of each
//! version on both.

use std::cell::Cell;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};
use tidegate_sim::scripts::{Counts, Script, on_the_model, scripts};

/// Looks in a row, 50 ms and more apart, in which it must stand: what only passes by is not what comes of a write.
const IN_A_ROW: u32 = 10;

/// Whether so many pods of each version are ordered, once the controller has seen the last write, and are there.
async fn stands(story: &Story<'_>, wanted: &Counts) -> bool {
    let target = story.target().await;
    let seen = target["status"]["observedGeneration"] == target["metadata"]["generation"];
    let (mut ordered, mut there) = (Counts::new(), Counts::new());
    for set in story.list("apps/v1", "ReplicaSet").await {
        let pods = set["spec"]["replicas"].as_i64().unwrap_or(0);
        count(&mut ordered, &set["spec"]["template"], pods);
    }
    for pod in story.pods().await {
        count(&mut there, &pod, 1);
    }
    seen && ordered == *wanted && there == *wanted
}

fn count(counts: &mut Counts, of: &Value, pods: i64) {
    let version = of["metadata"]["annotations"]["version"].as_str().unwrap_or_default();
    if pods > 0 {
        *counts.entry(version.to_owned()).or_default() += pods;
    }
}

/// The native controllers tell the newer of two ReplicaSets by the second in which it was made, and of the same second by its name.
async fn may_make_another(story: &Story<'_>) -> bool {
    let sets = story.list("apps/v1", "ReplicaSet").await;
    let made = |set: &Value| set["metadata"]["creationTimestamp"].as_str()?.parse::<Timestamp>().ok();
    let newest = sets.iter().filter_map(made).max();
    newest.is_none_or(|newest| Timestamp::now().as_second() > newest.as_second())
}

async fn agrees(stage: &Stage, script: Script) {
    let story = Story::begin(stage, "model").await;
    let mut deployment = story.deployment(script.replicas);
    let modelled = on_the_model(&deployment, &script);
    // Nobody's Deployment: no Release, no label, no policy.
    deployment["spec"]["replicas"] = json!(script.replicas);
    story.apply(deployment).await;
    story
        .until("all of it Ready", |story| async move {
            story.target().await["status"]["availableReplicas"] == script.replicas
        })
        .await;
    for (write, wanted) in script.writes.iter().zip(&modelled) {
        let later = "the newest ReplicaSet is of a second that is over";
        story.until(later, |story| async move { may_make_another(story).await }).await;
        story.patch(json!({"spec": write})).await;
        let what = format!("{}: {wanted:?} after {write}", script.name);
        let in_a_row = &Cell::new(0);
        story
            .until(&what, |story| async move {
                in_a_row.set(if stands(story, wanted).await { in_a_row.get() + 1 } else { 0 });
                in_a_row.get() >= IN_A_ROW
            })
            .await;
    }
}

#[test]
fn the_model_and_the_native_controllers_have_as_many_pods_of_each_version_after_every_write() {
    on_stage(async {
        let stage = Stage::shared().await;
        join_all(scripts().into_iter().map(|script| agrees(stage, script))).await;
    });
}
