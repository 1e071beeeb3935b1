//! Checks before the first pod: what passes, what fails, what is not known yet, and what is never told.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::answers::{Answer, Answers};
use crate::given::{adopted, checked, grant, may_read_secrets, pods, quick, says, stands_still, with};

/// A version is shipped under this check.
async fn shipped(name: &str, check: Value) -> Story<'static> {
    let story = adopted(name, 2, checked(check)).await;
    grant(&story, "alice", "tidegate-release-manager").await;
    story.ship_paper("v2", json!({})).await;
    story
}

async fn blocked_saying(story: &Story<'_>, reason: &str, words: &str) {
    story.until_blocked(reason).await;
    let message = story.status().await["blockedBy"]["message"].clone();
    assert!(message.as_str().unwrap_or_default().contains(words), "{message}: {}", story.describe().await);
    stands_still(story, Duration::from_secs(1)).await;
    assert_eq!(pods(story).await.len(), 1, "no pod of the new version: {}", story.describe().await);
}

async fn succeeds(story: &Story<'_>) {
    assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
}

/// A Job of one paper pod that ends like this.
fn job(exit_code: &str) -> Value {
    let annotations =
        json!({"paper.tidegate.dev/ready-after": "200ms", "paper.tidegate.dev/exit-code": exit_code});
    let pod = json!({
        "restartPolicy": "Never",
        "nodeSelector": {"tidegate.dev/node": "paper"},
        "containers": [{"name": "smoke", "image": "smoke:v1"}],
    });
    json!({"name": "smoke", "job": {"template": {
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": annotations}, "spec": pod}},
    }}})
}

#[test]
fn a_job_that_succeeds_lets_it_go_on() {
    on_stage(async {
        let story = shipped("job", job("0")).await;
        succeeds(&story).await;
        let jobs = story.list("batch/v1", "Job").await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        assert_eq!(jobs[0]["metadata"]["ownerReferences"][0]["kind"], "Release");
    });
}

#[test]
fn a_job_that_fails_holds_it_until_a_retry_succeeds() {
    on_stage(async {
        let story = shipped("job-fails", job("3")).await;
        blocked_saying(&story, "CheckFailed", "check smoke failed: job shop-smoke-r1-").await;
        // The retry takes the Release as it is then.
        story.apply(story.release(checked(job("0")))).await;
        stands_still(&story, Duration::from_secs(1)).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
        assert_eq!(story.list("batch/v1", "Job").await.len(), 2);
    });
}

#[test]
fn a_job_that_takes_longer_than_its_timeout_has_failed_and_says_so() {
    on_stage(async {
        let mut check = job("0");
        check["timeout"] = json!("2s");
        let pod = &mut check["job"]["template"]["spec"]["template"];
        pod["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] = json!("1m");
        let story = shipped("job-slow", check).await;
        blocked_saying(&story, "CheckFailed", "active longer than specified deadline").await;
    });
}

#[test]
fn a_failed_check_can_be_skipped_and_never_an_approval() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "job-skipped").await;
        let approval = json!({"name": "sign-off", "approval": {"roles": ["qa-manager"]}});
        let spec = with(quick(), json!({"preflight": [job("3"), approval]}));
        story.adopt(story.deployment(2), story.release(spec)).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        grant(&story, "bob", "tidegate-sign-as-qa-manager").await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("CheckFailed").await;
        says(&story, "alice", json!({"action": "Skip", "reason": "a known fault"})).await;
        story.until_blocked("AwaitingApproval").await;
        let action = says(&story, "alice", json!({"action": "Skip", "reason": "no time"})).await;
        let action = action.as_str();
        story
            .until("the action's mark", |story| async move {
                let action = story.get("tidegate.dev/v1alpha1", "ReleaseAction", action).await;
                action["status"]["result"] == "Refused"
                    && action["status"]["message"] == "only signatures are waited for: they cannot be skipped"
            })
            .await;
        says(&story, "bob", json!({"action": "Approve", "role": "qa-manager"})).await;
        succeeds(&story).await;
    });
}

#[test]
fn a_job_that_the_api_server_refuses_says_so() {
    on_stage(async {
        let mut refused = job("0");
        refused["job"]["template"]["spec"]["template"]["spec"]["containers"] = json!([]);
        let story = shipped("job-refused", refused).await;
        blocked_saying(&story, "CheckFailed", "spec.template.spec.containers: Required value").await;
        story.apply(story.release(checked(job("0")))).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
    });
}

#[test]
fn an_http_answer_must_have_the_status_the_body_and_the_speed() {
    on_stage(async {
        let answers = Answers::start(Answer::of(503, ""));
        let expect = json!({"status": 200, "bodyMatches": "\"ready\": *true", "within": "500ms"});
        let story =
            shipped("http", json!({"name": "ready", "http": {"url": answers.url, "expect": expect}})).await;
        blocked_saying(&story, "CheckFailed", "check ready failed: answered 503, expected 200").await;
        answers.tell(Answer::of(200, "{\"ready\": false}"));
        says(&story, "alice", json!({"action": "Retry"})).await;
        until_told(&story, "answered 200, but the body does not match \"ready\": *true").await;
        answers.tell(Answer { after: Duration::from_secs(2), ..Answer::of(200, "{\"ready\": true}") });
        says(&story, "alice", json!({"action": "Retry"})).await;
        until_told(&story, "took longer than 500ms").await;
        answers.tell(Answer::of(200, "{\"ready\": true}"));
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
    });
}

async fn until_told(story: &Story<'_>, words: &str) {
    story
        .until(words, |story| async move {
            let status = story.status().await;
            status["blockedBy"]["message"].as_str().is_some_and(|message| message.contains(words))
        })
        .await;
}

#[test]
fn a_server_that_is_down_is_unknown_and_asked_again() {
    on_stage(async {
        // Hangs up without an answer.
        let answers = Answers::start(Answer::of(0, ""));
        let story = shipped("http-down", json!({"name": "ready", "http": {"url": answers.url}})).await;
        blocked_saying(&story, "CheckUnknown", "check ready: no answer").await;
        answers.tell(Answer::of(200, ""));
        story
            .until_within(Duration::from_secs(18), "asked again after 15 s", |story| async move {
                story.status().await["blockedBy"]["reason"] != "CheckUnknown"
            })
            .await;
        succeeds(&story).await;
    });
}

#[test]
fn a_configmap_must_have_its_keys_as_they_should_be() {
    on_stage(async {
        let keys = json!([{"key": "currency", "pattern": "^[A-Z]{3}$"}]);
        let check = json!({"name": "config", "config": {"configMaps": [{"name": "shop", "keys": keys}]}});
        let story = shipped("config", check).await;
        blocked_saying(&story, "CheckFailed", "there is no configmap shop").await;
        for (data, words) in [
            (json!({"other": "1"}), "configmap shop has no key currency, or it is empty"),
            (json!({"currency": "crowns"}), "configmap shop, key currency does not match ^[A-Z]{3}$"),
            (json!({"currency": "changeme"}), "configmap shop, key currency looks like a placeholder"),
        ] {
            story.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": data})).await;
            says(&story, "alice", json!({"action": "Retry"})).await;
            until_told(&story, words).await;
        }
        let data = json!({"currency": "NOK"});
        story
            .apply(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": data}),
            )
            .await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
    });
}

#[test]
fn production_needs_a_value_of_its_own_and_long_enough() {
    on_stage(async {
        let staging = Story::begin(Stage::shared().await, "staging").await;
        let map = |key: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"client": key}});
        staging.apply(map("c0rrecthorse")).await;
        let other = json!({"namespace": staging.namespace});
        let keys = json!([{"key": "client", "minLength": 12, "differsFrom": other}]);
        let check = json!({"name": "config", "config": {"configMaps": [{"name": "shop", "keys": keys}]}});
        let story = Story::begin(Stage::shared().await, "production").await;
        story.apply(map("c0rrecthorse")).await;
        story.adopt(story.deployment(2), story.release(checked(check))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship_paper("v2", json!({})).await;
        let same = format!(
            "configmap shop, key client is the same as that of namespace {}: it needs a value of its own",
            staging.namespace
        );
        blocked_saying(&story, "CheckFailed", &same).await;
        story.apply(map("battery")).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        until_told(&story, "configmap shop, key client is shorter than 12 characters").await;
        story.apply(map("batterystaple")).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
    });
}

#[test]
fn each_new_pod_is_asked_by_its_own_address_before_its_step_counts() {
    on_stage(async {
        let smoke = |version: &str| json!({"name": "smoke", "http": {"podPath": "/version", "expect": {"bodyMatches": version, "headers": {"content-type": "^text/plain"}}}});
        let release = |version: &str| {
            let half = json!({"name": "half", "replicas": "50%", "checks": [smoke(version)]});
            with(quick(), json!({"criteria": [], "steps": [half, {"name": "all", "replicas": "100%"}]}))
        };
        let story = Story::begin(Stage::shared().await, "smoke").await;
        story.adopt(shop_deployment(4), story.release(release("v2"))).await;
        story.ship("v2", &[]).await;
        succeeds(&story).await;
        // The next one says that it is what it is not.
        story.ship("v3", &[]).await;
        let last = story.until_ended(2).await;
        assert_eq!(last["outcome"], "Undone", "{}", story.describe().await);
        let message = last["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("step half: check smoke failed: pod shop-"), "{message}");
        assert!(message.ends_with("answered 200, but the body does not match v2"), "{message}");
        let report = last["report"].as_str().unwrap_or_default();
        let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await;
        assert_eq!(report["spec"]["checks"][0]["step"], "half", "{report:#}");
    });
}

#[test]
fn a_secret_is_unknown_without_rights_and_its_value_is_never_told() {
    on_stage(async {
        let keys = json!([{"key": "api-key", "pattern": "^sk_live_"}]);
        let check = json!({"name": "stripe", "config": {"secrets": [{"name": "stripe", "keys": keys}]}});
        let story = Story::begin(Stage::shared().await, "secret").await;
        let secret = |value: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stripe"}, "stringData": {"api-key": value},
            })
        };
        story.apply(secret("sk_test_correcthorse")).await;
        story.adopt(story.deployment(2), story.release(checked(check))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship_paper("v2", json!({})).await;
        let hint =
            "the operator may not read secret stripe: bind ClusterRole tidegate-secrets in namespace secret-";
        blocked_saying(&story, "CheckUnknown", hint).await;
        may_read_secrets(&story).await;
        story.until_blocked("CheckFailed").await;
        until_told(&story, "secret stripe, key api-key does not match ^sk_live_").await;
        story.apply(secret("sk_live_batterystaple")).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
        let release = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
        let events = story.list("events.k8s.io/v1", "Event").await;
        let actions = story.list("tidegate.dev/v1alpha1", "ReleaseAction").await;
        assert!(!events.is_empty());
        let mut told = format!("{release} {events:?} {actions:?}");
        told += &story
            .stage
            .operator
            .lock()
            .await
            .as_ref()
            .map(|operator| operator.read_log())
            .unwrap_or_default();
        for value in ["correcthorse", "batterystaple"] {
            assert!(!told.contains(value), "a Secret's value was told");
        }
    });
}
