//! The main path: three steps, good; bad at a tenth, at half, and in the watch.

use std::time::Duration;

use serde_json::json;
use tidegate_real::load::Load;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, shop_deployment};

fn quick() -> serde_json::Value {
    json!({
        "steps": [
            {"name": "tenth", "replicas": "10%", "soak": "2s"},
            {"name": "half", "replicas": "50%", "soak": "2s"},
            {"name": "all", "replicas": "100%"},
        ],
        "criteria": [],
        "watch": [{"for": "2s", "every": "1s"}],
    })
}

#[test]
fn a_good_version_goes_out_in_three_steps_and_leaves_the_deployment_as_its_owner_wrote_it() {
    tidegate_real::story::on_stage(async {
        let story = Story::begin(Stage::shared().await, "good").await;
        story.adopt(story.deployment(10), story.release(quick())).await;
        let before = story.target().await["spec"].clone();
        let guard = story.guard().await;
        story.ship_paper("v2", json!({})).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Succeeded", "{}", story.describe().await);
        let mut after = story.target().await["spec"].clone();
        assert_eq!(after["template"]["metadata"]["annotations"]["version"], "v2");
        after["template"] = before["template"].clone();
        assert_eq!(after, before, "the owner's fields are back");
        let worst = guard.worst();
        assert!(worst.least_ready >= 8 && worst.most_pods <= 13, "{worst:?}");
    });
}

#[test]
fn errors_at_a_tenth_bring_the_old_version_back() {
    tidegate_real::story::on_stage(async {
        let story = Story::begin(Stage::shared().await, "bad-tenth").await;
        let mut spec = quick();
        spec["criteria"] = json!([{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]);
        spec["steps"][0]["soak"] = json!("60s");
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let guard = story.guard().await;
        story.ship("v2", &[("ERROR_RATE", "0.3")]).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        assert!(ended["undo"]["restoredAt"].is_string());
        assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
        story.until_phase("Rejected").await;
        story
            .stays(Duration::from_secs(2), "rejected", |story| async move {
                story.status().await["phase"] == "Rejected"
            })
            .await;
    });
}
