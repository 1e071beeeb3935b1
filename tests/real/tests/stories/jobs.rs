//! What a check's Job says: read from a real kubelet's log.

use serde_json::{Value, json};
use tidegate_real::story::{Story, on_stage};

use crate::given::{adopted, grant, quick, says, with};

/// A version is shipped under a Job that prints this.
async fn shipped(name: &str, prints: &str, more: Value) -> Story<'static> {
    let story = adopted(name, 2, release(prints, more)).await;
    grant(&story, "alice", "tidegate-release-manager").await;
    story.ship_paper("v2", json!({})).await;
    story
}

fn release(prints: &str, more: Value) -> Value {
    let pod = json!({
        "restartPolicy": "Never",
        "nodeSelector": {"tidegate.dev/node": "process"},
        "containers": [{"name": "tests", "image": "local/tests", "command": ["sh", "-c", prints]}],
    });
    let mut job = json!({
        "template": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        "result": {"from": "LastLogLine", "expression": "result.failed == 0"},
    });
    job.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
    with(quick(), json!({"preflight": [{"name": "tests", "job": job}]}))
}

async fn check(story: &Story<'_>) -> Value {
    let last = story.until_ended(1).await;
    let report = last["report"].as_str().unwrap_or_default();
    story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await["spec"]["checks"][0].take()
}

#[test]
fn its_last_line_decides_and_the_end_of_its_log_stands_in_the_record() {
    on_stage(async {
        let prints = "echo 12 tests; echo '{\"failed\": 2}'";
        let story = shipped("job-result", prints, json!({})).await;
        story.until_blocked("CheckFailed").await;
        let message = story.status().await["blockedBy"]["message"].take();
        let words = "succeeded, but its result is not as expected: result.failed == 0";
        assert!(message.as_str().is_some_and(|message| message.ends_with(words)), "{message}");
        story.apply(story.release(release("echo 12 tests; echo '{\"failed\": 0}'", json!({})))).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        let check = check(&story).await;
        assert_eq!(check["state"], "Passed", "{check:#}");
        assert_eq!(check["log"], json!(["12 tests", "{\"failed\": 0}"]));
    });
}

#[test]
fn one_that_fails_says_why_with_its_last_line_and_keeps_nothing_where_that_is_not_wanted() {
    on_stage(async {
        let prints = "echo connection refused; exit 1";
        let story = shipped("job-says", prints, json!({})).await;
        story.until_blocked("CheckFailed").await;
        let status = story.status().await;
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        assert!(message.ends_with("; it said: connection refused"), "{message}");
        assert_eq!(status["run"]["checks"][0]["log"], json!(["connection refused"]));
        let prints = "echo '{\"failed\": 0}'";
        story.apply(story.release(release(prints, json!({"logs": "None"})))).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        let check = check(&story).await;
        assert_eq!((&check["state"], &check["log"]), (&json!("Passed"), &Value::Null), "{check:#}");
    });
}
