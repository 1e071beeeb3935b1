//! The trial pod: a pod of the new version that gets no traffic, asked before the Deployment's first.

use std::sync::Mutex;

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::given::{adopted, checked, grant, pods, quick, says, until_told, with};

const OURS: [&str; 2] = ["tidegate.dev/check", "tidegate.dev/release"];
/// What the Job controller writes.
const OF_JOBS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

fn starts(expected: &str) -> Value {
    json!({"name": "starts", "http": {"podPath": "/version", "expect": {"bodyMatches": expected}}})
}

fn is_of_trial(object: &Value) -> bool {
    object["metadata"]["labels"]["tidegate.dev/check"] == "Trial"
}

/// Waits until there is a trial pod.
async fn trial_pod(story: &Story<'_>) -> Value {
    let found = Mutex::new(Value::Null);
    let seen = &found;
    story
        .until("a trial pod", |story| async move {
            let pod = story.pods().await.into_iter().find(is_of_trial);
            let is_there = pod.is_some();
            *seen.lock().expect("no panic while noting") = pod.unwrap_or_default();
            is_there
        })
        .await;
    found.into_inner().expect("no panic while noting")
}

/// Waits until nothing of a trial is left.
async fn until_over(story: &Story<'_>) {
    story
        .until("the end of the trial pod", |story| async move {
            let (jobs, pods) = (story.list("batch/v1", "Job").await, story.list("v1", "Pod").await);
            jobs.is_empty() && !pods.iter().any(is_of_trial)
        })
        .await;
}

#[test]
fn it_is_asked_before_the_first_pod_of_the_deployment_and_carries_none_of_its_labels() {
    on_stage(async {
        let release =
            |expected: &str| with(quick(), json!({"criteria": [], "preflight": [starts(expected)]}));
        let story = Story::begin(Stage::shared().await, "trial").await;
        story.adopt(shop_deployment(2), story.release(release("v3"))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship("v2", &[]).await;
        let pod = trial_pod(&story).await;
        let labels = pod["metadata"]["labels"].as_object().expect("labels");
        let of_the_template: Vec<&String> = labels
            .keys()
            .filter(|name| !OURS.contains(&name.as_str()) && !OF_JOBS.contains(&name.as_str()))
            .collect();
        assert!(of_the_template.is_empty(), "{of_the_template:?}");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Job");
        // It says that it is what it is not expected to be: no pod of the Deployment is made, and it goes.
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        until_told(&story, "CheckFailed", &format!("check starts failed: trial pod {name} (")).await;
        until_told(&story, "CheckFailed", "): answered 200, but the body does not match v3").await;
        until_over(&story).await;
        story.apply(story.release(release("v2"))).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Succeeded", "{}", story.describe().await);
        let report = last["report"].as_str().unwrap_or_default();
        let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await;
        let check = &report["spec"]["checks"][0];
        assert!(
            check["message"].as_str().is_some_and(|words| words.starts_with("trial pod shop-trial-pod-")),
            "{check:#}"
        );
        until_over(&story).await;
        assert_eq!(pods(&story).await.values().copied().collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn one_that_does_not_start_says_why_and_an_abort_ends_one_that_is_under_way() {
    on_stage(async {
        let story = adopted("trial-fails", 2, checked(starts("v2"))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        let annotations = json!({"paper.tidegate.dev/exit-code": "3", "paper.tidegate.dev/termination-message": "no such table"});
        story.ship_paper("v2", annotations).await;
        until_told(&story, "CheckFailed", "ended with exit code 3 (Error) before it was asked").await;
        until_over(&story).await;
        let annotations =
            json!({"paper.tidegate.dev/exit-code": null, "paper.tidegate.dev/image-missing": "true"});
        story.ship_paper("v3", annotations).await;
        until_told(&story, "CheckFailed", "fails: ImagePullBackOff").await;
        until_told(&story, "CheckFailed", "see whether the image is there").await;
        let annotations =
            json!({"paper.tidegate.dev/image-missing": null, "paper.tidegate.dev/never-ready": "true"});
        story.ship_paper("v4", annotations).await;
        until_told(&story, "CheckRunning", "is not Ready yet: its readinessProbe does not succeed").await;
        says(&story, "alice", json!({"action": "Abort", "reason": "the story says so"})).await;
        let last = story.until_ended(3).await;
        assert_eq!(last["outcome"], "Aborted", "{}", story.describe().await);
        until_over(&story).await;
        assert_eq!(
            pods(&story).await.values().copied().collect::<Vec<_>>(),
            [2],
            "none of a new version was made"
        );
    });
}

#[test]
fn one_that_refuses_the_connection_has_failed_when_its_time_is_over() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "trial-refuses").await;
        let check =
            json!({"name": "starts", "timeout": "20s", "http": {"podPath": "/version", "podPort": 9}});
        let release = with(quick(), json!({"criteria": [], "preflight": [check]}));
        story.adopt(shop_deployment(2), story.release(release)).await;
        story.ship("v2", &[]).await;
        until_told(&story, "CheckUnknown", ":9): no answer: the connection is refused").await;
        until_told(&story, "CheckFailed", "no answer that tells anything in 20 s: trial pod shop-trial-pod-")
            .await;
        until_over(&story).await;
        assert_eq!(pods(&story).await.values().copied().collect::<Vec<_>>(), [2]);
    });
}
