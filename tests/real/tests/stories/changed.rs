//! What somebody's admission policy makes of a template that the operator writes counts as what was written.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{at_half, ended, finish, owners, pods_of, say};

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// All pods are stamped here; the policy, and how it is bound.
fn stamping(namespace: &str) -> [Value; 2] {
    let deployments = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]});
    let stamp =
        r#"[JSONPatch{op: "add", path: "/spec/template/metadata/annotations/stamped", value: "here"}]"#;
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let policy = json!({
        "apiVersion": GROUP, "kind": "MutatingAdmissionPolicy", "metadata": {"name": namespace},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [deployments]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": stamp}}],
        },
    });
    let binding = json!({
        "apiVersion": GROUP, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "matchResources": here},
    });
    [policy, binding]
}

fn is_stamped(annotated: &Value) -> bool {
    annotated["metadata"]["annotations"]["stamped"] == "here"
}

/// All pods are of this version, and stamped.
async fn all_stamped(story: &Story<'_>, version: &str) -> bool {
    let pods = story.pods().await;
    pods.len() == 4 && pods.iter().all(is_stamped) && pods_of(story, version).await == 4
}

#[test]
fn a_policy_that_changes_the_stable_template_keeps_no_way_back_from_its_end() {
    on_stage(async {
        let story = at_half("changed-stable", 4).await;
        for document in stamping(&story.namespace) {
            stage::apply(&story.client, &document, "story").await.expect("a policy");
        }
        story
            .until("it is in force", |story| async move {
                let only_asked = PatchParams { dry_run: true, ..PatchParams::default() };
                let api = story.api("apps/v1", "Deployment");
                let probe = json!({"metadata": {"annotations": {"probe": "here"}}});
                let answer = api.patch("shop", &only_asked, &Patch::Merge(&probe)).await;
                answer.is_ok_and(|answer| is_stamped(&answer.data["spec"]["template"]))
            })
            .await;
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        story.until("all are stable", |story| async move { all_stamped(story, "v1").await }).await;
        let status = story.status().await;
        let known = status["storedAs"].as_array().cloned().unwrap_or_default();
        let is_of_stable = |made: &Value| made["written"] == status["stable"]["fingerprint"];
        assert!(known.len() == 1 && known.iter().all(is_of_stable), "{status:#}");
        let target = story.target().await;
        assert!(is_stamped(&target["spec"]["template"]), "{target:#}");
        assert_eq!(owners(&target)["strategy"]["rollingUpdate"]["maxSurge"], "25%", "{target:#}");
        // What is stamped by then is the next version's own.
        story.ship_paper("v3", json!({})).await;
        finish(&story, 2).await;
        story.until("all are new", |story| async move { all_stamped(story, "v3").await }).await;
    });
}
