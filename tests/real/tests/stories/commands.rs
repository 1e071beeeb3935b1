//! Command lines of the manual and of status, pasted as they are: what the plugin says to a real API server, and what comes of it.

use serde_json::json;
use tidegate_real::story::{Story, on_stage};

use crate::given::{ended, grant, paste, shipped, unblock, with};
use crate::hand_back::{line, of_this_story};

/// Of the page on handing back: a command line in the block that begins so.
async fn paste_from_the_page(story: &Story<'_>, begins: &str) {
    let line = line(|line| line.starts_with(begins) && line.contains("--reason"));
    paste(story, &of_this_story(story, &line), &[]).await;
}

/// What a person says about the Release of the story.
async fn says(story: &Story<'_>, verb: &str) {
    paste(story, &format!("kubectl tidegate {verb} shop -n {} --reason 'as told'", story.namespace), &[])
        .await;
}

#[test]
fn what_the_plugin_says_is_done_and_shown_by_the_release() {
    on_stage(async {
        let steps =
            json!([{"name": "half", "replicas": "50%", "soak": "1h"}, {"name": "all", "replicas": "100%"}]);
        let asks = json!([{"name": "sign-off", "approval": {"roles": ["qa-manager"]}}]);
        let watch = json!([{"for": "1h", "every": "1s"}]);
        let spec = with(json!({"criteria": []}), json!({"preflight": asks, "steps": steps, "watch": watch}));
        let story = shipped("commands", 4, spec).await;

        // The plugin looks at what is signed.
        for role in ["tidegate-sign-as-qa-manager", "tidegate-view"] {
            grant(&story, "alice", role).await;
        }
        story.until_blocked("AwaitingApproval").await;
        let line = story.status().await["blockedBy"]["unblock"].as_str().unwrap_or_default().to_owned();
        // The API server may not know yet that she may.
        let signs = format!("for i in $(seq 100); do {line} --as alice && exit 0; sleep 0.1; done; exit 1");
        paste(&story, &signs, &[]).await;
        story.until_phase("Soaking").await;

        says(&story, "pause").await;
        story.until_blocked("Paused").await;
        unblock(&story).await;
        story.until_phase("Soaking").await;
        says(&story, "skip").await;
        story.until_phase("Watching").await;
        paste_from_the_page(&story, "kubectl tidegate abort").await;
        ended(&story, 1, "Aborted").await;

        story.until_phase("Rejected").await;
        says(&story, "retry").await;
        story.until_blocked("AwaitingApproval").await;
        paste_from_the_page(&story, "kubectl tidegate hand-back").await;
        ended(&story, 2, "HandedBack").await;
        says(&story, "resume").await;
        story
            .until("taken up again", |story| async move { story.status().await["handedBack"].is_null() })
            .await;
    });
}
