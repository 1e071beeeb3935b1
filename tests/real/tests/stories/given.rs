//! What stories are given, say and ask again and again: Releases that measure nothing, and a person who says a word.

use serde_json::{Value, json};
use tidegate_real::story::Story;

/// Half of the pods for a moment, then all; no watch.
pub fn halves() -> Value {
    json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "1s"}, {"name": "all", "replicas": "100%"}],
        "criteria": [],
        "watch": [],
    })
}

/// The same, but every step waits for somebody to say skip.
pub fn by_hand() -> Value {
    let mut spec = halves();
    spec["steps"] = json!([
        {"name": "half", "replicas": "50%", "soak": "1h"},
        {"name": "all", "replicas": "100%", "soak": "1h"},
    ]);
    spec
}

/// The same, but nothing starts before somebody approves.
pub fn by_approval() -> Value {
    let mut spec = halves();
    spec["preflight"] = json!([{"name": "sign-off", "approval": {"roles": ["owner"], "allowAuthor": true}}]);
    spec
}

/// The same, with this mode of capture.
pub fn with_capture(mut spec: Value, capture: &str) -> Value {
    spec["capture"] = json!(capture);
    spec
}

/// The owner says something with a reason.
pub async fn say(story: &Story<'_>, action: &str) {
    let said =
        story.say("admin", json!({"action": action, "reason": "the story says so", "by": "admin"})).await;
    said.unwrap_or_else(|error| panic!("{action}: {error:#}"));
}

/// The owner approves.
pub async fn approve(story: &Story<'_>) {
    let spec = json!({"action": "Approve", "role": "owner", "reason": "the story says so", "by": "admin"});
    story.say("admin", spec).await.unwrap_or_else(|error| panic!("approve: {error:#}"));
}

/// Waits until this step soaks.
pub async fn until_soaking(story: &Story<'_>, step: &str) {
    story
        .until(&format!("soaking in step {step}"), |story| async move {
            let status = story.status().await;
            status["phase"] == "Soaking" && status["step"]["name"] == step
        })
        .await;
}

/// Waits until this step soaks, and leaves it.
pub async fn skip(story: &Story<'_>, step: &str) {
    until_soaking(story, step).await;
    say(story, "Skip").await;
}

/// Pods of this version that are not on their way out.
pub async fn pods_of(story: &Story<'_>, version: &str) -> usize {
    story.pods().await.iter().filter(|pod| pod["metadata"]["annotations"]["version"] == version).count()
}

/// Names of all pods that are not on their way out.
pub async fn pod_names(story: &Story<'_>) -> Vec<String> {
    let mut names: Vec<String> =
        story.pods().await.iter().map(|pod| pod["metadata"]["name"].to_string()).collect();
    names.sort();
    names
}

/// Sees to it that run `number` ended in this way, and gives what is said of it.
pub async fn ended(story: &Story<'_>, number: i64, outcome: &str) -> Value {
    let last = story.until_ended(number).await;
    assert_eq!(last["outcome"], outcome, "{}", story.describe().await);
    last
}

/// The owner's part of the Deployment's spec: everything but the template.
pub fn owners(target: &Value) -> Value {
    let mut spec = target["spec"].clone();
    spec.as_object_mut().expect("a Deployment").remove("template");
    spec
}
