//! A step that counts pods on nodes of choice: where pods are is the scheduler's, and what nodes are like whoever labels them.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};

use crate::given::{ended, quick, stands_still, with};

/// Gives nodes the label, and takes it from all others that had it of the story.
async fn label(story: &Story<'_>, label: &str, nodes: &[String]) {
    for node in ["paper-1", "paper-2"].map(str::to_owned) {
        let labels = if nodes.contains(&node) { json!({label: "pilot"}) } else { json!({}) };
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}});
        stage::apply(&story.client, &node, &story.namespace).await.expect("a label");
    }
}

/// The one new pod: its name, and its node.
async fn canary(story: &Story<'_>) -> (String, String) {
    let pods = story.pods().await;
    let is_new = |pod: &&Value| pod["metadata"]["annotations"]["version"] == "v2";
    let pod = pods.iter().find(is_new).expect("a new pod");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]))
}

#[test]
fn a_step_waits_until_its_pod_is_on_a_node_of_choice_and_its_soak_while_it_is_not() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "pilots").await;
        // Others have pods on these nodes, too: a label of this story's own.
        let tier = format!("{}/tier", story.namespace);
        let nodes = json!({"matchLabels": {&tier: "pilot"}});
        let steps = json!([
            {"name": "pilot", "replicas": 1, "soak": "8s", "pilot": {"nodes": nodes}},
            {"name": "all", "replicas": "100%"},
        ]);
        story.adopt(story.deployment(4), story.release(with(quick(), json!({"steps": steps})))).await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("PilotsMissing").await;
        let message = format!("step pilot: 0 of 1 new pods are on nodes {tier}=pilot; 1 elsewhere");
        assert_eq!(story.status().await["blockedBy"]["message"], message);
        stands_still(&story, Duration::from_secs(2)).await;
        let (_, node) = canary(&story).await;
        label(&story, &tier, &[node]).await;
        story.until_phase("Soaking").await;

        // Its node is no pilots' any more, and a new pod comes in the place of the one that was lost.
        label(&story, &tier, &[]).await;
        let (lost, _) = canary(&story).await;
        story.delete("v1", "Pod", &lost).await;
        story.until_blocked("PilotsMissing").await;
        let soaked = story.status().await["run"]["progress"]["soaked"].as_i64().unwrap_or_default();
        assert!(soaked < 8000, "{soaked}");
        stands_still(&story, Duration::from_secs(6)).await;
        let nodes = ["paper-1", "paper-2"].map(str::to_owned);
        label(&story, &tier, &nodes).await;
        let last = ended(&story, 1, "Succeeded").await;
        let name = last["report"].as_str().unwrap_or_default();
        let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", name).await;
        assert_eq!(report["spec"]["steps"][0]["pilots"], 1, "{report:#}");
        label(&story, &tier, &[]).await;
    });
}

#[test]
fn what_no_pod_can_be_and_what_leaves_nobody_to_follow_is_refused() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "pilots-refused").await;
        let nodes = || json!({"matchLabels": {"tier": "pilot"}});
        let refused = [
            (
                json!(1),
                json!({"atLeast": 1}),
                "pilot needs nodes (labels of the nodes that the step's pods run on) or pods",
            ),
            (json!(1), json!({"nodes": {}}), "nodes needs matchLabels or matchExpressions"),
            (
                json!(1),
                json!({"nodes": nodes(), "pods": {"matchLabels": {}}}),
                "pods needs matchLabels or matchExpressions",
            ),
            (
                json!(2),
                json!({"nodes": nodes(), "atLeast": 3}),
                "pilot.atLeast is more than the step's replicas",
            ),
            (json!(2), json!({"nodes": nodes(), "atLeast": 0}), "should be greater than or equal to 1"),
            (
                json!("100%"),
                json!({"nodes": nodes()}),
                "pilots go before others: a step of 100% has no pilot",
            ),
        ];
        for (replicas, pilot, sentence) in refused {
            let steps = json!([{"name": "some", "replicas": replicas, "pilot": pilot}]);
            let said = story.try_apply(story.release(json!({"steps": steps})), "story").await;
            let said = format!("{:#}", said.map(|_| ()).expect_err("not to be taken"));
            assert!(said.contains(sentence), "{pilot}:\n{said}\nlacks\n{sentence}");
        }
        let taken = json!([
            {"name": "some", "replicas": 2, "pilot": {"nodes": nodes(), "pods": nodes(), "atLeast": 2}},
            {"name": "more", "replicas": "50%", "pilot": {"pods": nodes(), "atLeast": 20}},
        ]);
        story.apply(story.release(json!({"steps": taken}))).await;
    });
}
