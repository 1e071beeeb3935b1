//! Where a check must not send the operator.

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::answers::{Answer, Answers};
use crate::given::{adopted, grant, quick, says, with};

fn asking(url: &str) -> Value {
    with(quick(), json!({"preflight": [{"name": "ready", "http": {"url": url}}]}))
}

async fn told(story: &Story<'_>, words: &str) {
    story
        .until(words, |story| async move {
            let status = story.status().await;
            status["blockedBy"]["reason"] == "CheckFailed"
                && status["blockedBy"]["message"].as_str().is_some_and(|message| message.contains(words))
        })
        .await;
}

#[test]
fn a_check_is_not_sent_to_metadata_nor_to_the_api_server_nor_there_by_a_redirect() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = adopted("reach", 2, asking("http://169.254.169.254/latest/meta-data/")).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship_paper("v2", json!({})).await;
        told(&story, "check ready failed: 169.254.169.254 is not asked: it is link-local").await;
        let again = async |url: &str, words: &str| {
            story.apply(story.release(asking(url))).await;
            says(&story, "alice", json!({"action": "Retry"})).await;
            told(&story, words).await;
        };
        again(&stage.cluster.server().expect("an address"), "is not asked: it is the API server").await;
        again("http://metadata.google.internal/", "is not asked: it is where a cloud keeps").await;
        let answers = Answers::start(Answer::of(302, "").to("http://169.254.169.254/latest/meta-data/"));
        again(&answers.url, "check ready failed: answered 302, expected 200").await;
        answers.tell(Answer::of(200, ""));
        says(&story, "alice", json!({"action": "Retry"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}
