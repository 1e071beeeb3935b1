//! What the API server refuses of a Release, and the sentence it says.

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{halves, with};

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
