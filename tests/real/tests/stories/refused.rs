//! What the API server refuses, of a Release and of what the operator writes, and the sentence it says.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};

use crate::given::{adopted, ended, halves, unblock, with};

/// What is said of these steps, applied server-side.
async fn said_of(story: &Story<'_>, steps: Value) -> String {
    let release = story.release(with(halves(), json!({"steps": steps})));
    format!("{:#}", story.try_apply(release, "story").await.expect_err("refused"))
}

#[test]
fn a_check_that_asks_a_trial_pod_is_asked_once() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "refused-trial").await;
        let check = |every: Value| json!([{"name": "starts", "every": every, "http": {"podPath": "/"}}]);
        let release = |every: Value| story.release(with(halves(), json!({"preflight": check(every)})));
        let said = story.try_apply(release(json!("5m")), "story").await.expect_err("refused");
        let words =
            "preflight: a check with podPath asks a trial pod right before the first pod: leave every out";
        assert!(format!("{said:#}").contains(words), "{said:#}");
        story.try_apply(release(Value::Null), "story").await.expect("taken");
    });
}

#[test]
fn steps_without_a_name_or_with_the_same_one_are_refused_with_a_sentence() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "refused").await;
        let nameless =
            said_of(&story, json!([{"replicas": "10%"}, {"name": "all", "replicas": "100%"}])).await;
        assert!(nameless.contains("spec.steps[0].name: Required value"), "{nameless}");
        let twice = json!([{"name": "all", "replicas": "10%"}, {"name": "all", "replicas": "100%"}]);
        let twice = said_of(&story, twice).await;
        assert!(twice.contains("two steps have the same name"), "{twice}");
        // What is applied is all there is: nothing is left over from before.
        let two = json!([{"name": "half", "replicas": "50%"}, {"name": "all", "replicas": "100%"}]);
        story.apply(story.release(with(halves(), json!({"steps": two})))).await;
        let one = json!([{"name": "all", "replicas": "100%"}]);
        let release = story.release(with(halves(), json!({"steps": one})));
        story.try_apply(release, "somebody-else").await.expect("applied");
        let release = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
        assert_eq!(release["spec"]["steps"], one, "{release:#}");
    });
}

/// Once what refuses is gone the run goes on by itself.
async fn goes_on_without(story: &Story<'_>, refuses: &Value) {
    let refusing = stage::api_of(&story.client, refuses).expect("a kind");
    refusing.delete(&story.namespace, &Default::default()).await.expect("deleted");
    ended(story, 1, "Succeeded").await;
    assert!(story.status().await["blockedBy"].is_null(), "{}", story.describe().await);
}

/// Nobody may have a Deployment here that waits so long for its pods; the policy, and how it is bound.
fn nobody_waits(namespace: &str) -> [Value; 2] {
    let deployments = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]});
    let rule = json!({
        "expression": "object.spec.?minReadySeconds.orValue(0) <= 3600",
        "message": "minReadySeconds is an hour at most",
    });
    stage::denying(namespace, &deployments, &rule)
}

#[test]
fn a_policy_that_refuses_the_pace_of_a_run_is_named_until_it_is_gone() {
    on_stage(async {
        let story = adopted("refused-pace", 2, halves()).await;
        let [policy, binding] = nobody_waits(&story.namespace);
        for document in [&policy, &binding] {
            stage::apply(&story.client, document, "story").await.expect("a policy");
        }
        let parked = json!({"spec": {"minReadySeconds": 4000, "progressDeadlineSeconds": 5000}});
        let parked = &parked;
        story
            .until("it is in force", |story| async move {
                let only_asked = PatchParams { dry_run: true, ..PatchParams::default() };
                let api = story.api("apps/v1", "Deployment");
                api.patch("shop", &only_asked, &Patch::Merge(parked)).await.is_err()
            })
            .await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("WriteRefused").await;
        let status = story.status().await;
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("the patch of Deployment shop ("), "{status:#}");
        let name = format!("ValidatingAdmissionPolicy '{}'", story.namespace);
        let words = "minReadySeconds is an hour at most";
        assert!(message.contains(&name) && message.contains(words), "{status:#}");
        let stalled =
            status["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == "Stalled");
        assert!(
            stalled.is_some_and(|it| it["status"] == "True" && it["reason"] == "WriteRefused"),
            "{status:#}"
        );
        goes_on_without(&story, &binding).await;
    });
}

/// A webhook at this address that is asked about each template that is kept here; how long it is waited for is what Kubernetes says where nobody does.
fn asked_about_templates(namespace: &str, url: &str) -> Value {
    let revisions = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["controllerrevisions"], "operations": ["CREATE"]});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": namespace},
        "webhooks": [{
            "name": "nobody.example.com", "clientConfig": {"url": url}, "rules": [revisions],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    })
}

/// A version is shipped while that webhook keeps its template from being kept: what is said of it then. Without the webhook it goes on by itself.
async fn said_of_webhook(story: &Story<'_>, url: &str) -> String {
    let webhook = asked_about_templates(&story.namespace, url);
    stage::apply(&story.client, &webhook, "story").await.expect("a webhook");
    let probe = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "probe"}, "revision": 1});
    let probe = &probe;
    story
        .until("it is in force", |story| async move {
            let only_asked = PatchParams { dry_run: true, ..PatchParams::apply("story") };
            let api = story.api("apps/v1", "ControllerRevision");
            api.patch("probe", &only_asked, &Patch::Apply(probe)).await.is_err()
        })
        .await;
    story.ship_paper("v2", json!({})).await;
    story.until_blocked("WriteRefused").await;
    let status = story.status().await;
    let message = status["blockedBy"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with("the creation of ControllerRevision shop-"), "{status:#}");
    goes_on_without(story, &webhook).await;
    message
}

#[test]
fn a_webhook_that_does_not_answer_is_named_until_it_is_gone() {
    on_stage(async {
        let story = adopted("refused-webhook", 2, halves()).await;
        let message = said_of_webhook(&story, "https://127.0.0.1:1/").await;
        assert!(message.contains("failed calling webhook \"nobody.example.com\""), "{message}");
    });
}

#[test]
fn a_webhook_that_hangs_for_longer_than_a_write_is_waited_for_is_said_until_it_is_gone() {
    on_stage(async {
        let story = adopted("refused-hanging", 2, halves()).await;
        // Who connects waits to be greeted.
        let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}/", hangs.local_addr().expect("its address"));
        let message = said_of_webhook(&story, &url).await;
        assert!(message.contains("was not answered in time, again and again"), "{message}");
    });
}

#[test]
fn a_kept_template_that_has_lost_its_label_is_in_the_way_until_somebody_puts_that_back() {
    on_stage(async {
        let story = adopted("refused-kept", 2, halves()).await;
        let kept = story.list("apps/v1", "ControllerRevision").await;
        let name = kept[0]["metadata"]["name"].as_str().expect("a name").to_owned();
        let stripped = json!({"metadata": {"labels": {"tidegate.dev/release": null}}});
        let api = story.api("apps/v1", "ControllerRevision");
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&stripped)).await.expect("stripped");
        story.until_blocked("WriteRefused").await;
        let status = story.status().await;
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        let words =
            format!("the creation of ControllerRevision {name} failed: one of this name is there already");
        assert!(message.starts_with(&words), "{status:#}");
        unblock(&story).await;
        story
            .until("it is seen again", |story| async move { story.status().await["blockedBy"].is_null() })
            .await;
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
    });
}
