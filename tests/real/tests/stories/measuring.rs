//! Where evidence comes from, and what happens without it: nothing goes on, and nothing goes back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tidegate_real::load::Load;
use tidegate_real::prometheus::Prometheus;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::given::{fail, measured, quick, stands_still, undo_in_order, until_at, version, with};

/// What is measured through a Prometheus comes in slots of 15 s, and a breach takes three of them.
const LONG: Duration = Duration::from_secs(150);

#[test]
fn a_good_version_passes_on_evidence() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "evidence").await;
        // Pods that go serve on until everybody knows, however busy the machine.
        let mut deployment = shop_deployment(4);
        let environment =
            deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().expect("a list");
        environment.push(json!({"name": "DRAIN_MS", "value": "1500"}));
        story.adopt(deployment, story.release(measured())).await;
        let load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[]).await;
        story
            .until(
                "a verdict",
                |story| async move { story.status().await["verdicts"][0]["verdict"] == "Pass" },
            )
            .await;
        let verdict = story.status().await["verdicts"][0].take();
        assert!(verdict["have"].as_i64().is_some_and(|have| have >= 50), "{verdict:#}");
        assert_eq!((&verdict["value"], &verdict["limit"]), (&json!("0%"), &json!("5%")), "{verdict:#}");
        assert!(
            verdict["source"].as_str().is_some_and(|source| source.contains("http_requests")),
            "{verdict:#}"
        );
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        let errors = load.seen.errors.load(Ordering::Relaxed);
        assert_eq!(errors, 0, "users saw nothing of it");
    });
}

#[test]
fn without_requests_it_stands_still_and_says_how_many_are_missing_and_goes_on_when_they_come() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "no-traffic").await;
        story.adopt(shop_deployment(4), story.release(measured())).await;
        story.ship("v2", &[]).await;
        story.until_blocked("NotEnoughEvidence").await;
        let status = story.status().await;
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("No requests reached the canary") && message.contains("needed"),
            "{message}"
        );
        let verdict = &status["verdicts"][0];
        assert_eq!((&verdict["verdict"], &verdict["have"]), (&json!("Unknown"), &json!(0)), "{verdict:#}");
        assert!(verdict["need"].as_i64().is_some_and(|need| need > 0), "{verdict:#}");
        stands_still(&story, Duration::from_secs(3)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_metrics_path_that_answers_404_in_mid_run_stops_it_until_the_release_is_corrected() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "metrics-404").await;
        let mut spec = measured();
        spec["steps"][0]["soak"] = json!("6s");
        story.adopt(shop_deployment(4), story.release(spec.clone())).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[]).await;
        until_at(&story, "tenth").await;
        let lost = with(spec.clone(), json!({"metrics": {"pods": {"path": "/nothing"}}}));
        story.apply(story.release(lost)).await;
        story.until_blocked("NoMeasurements").await;
        let status = story.status().await;
        assert_eq!(status["verdicts"][0]["verdict"], "Unknown", "{}", story.describe().await);
        let message = status["blockedBy"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("answered with status 404"), "{message}");
        stands_still(&story, Duration::from_secs(2)).await;
        story.apply(story.release(spec)).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_wrong_metrics_port_promotes_nothing_until_it_is_corrected() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "metrics-port").await;
        let wrong = with(measured(), json!({"metrics": {"pods": {"port": 9}}}));
        story.adopt(shop_deployment(2), story.release(wrong)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[]).await;
        story.until_blocked("NoMeasurements").await;
        stands_still(&story, Duration::from_secs(2)).await;
        story.apply(story.release(measured())).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_spec_that_became_impossible_in_mid_run_still_lets_a_breach_go_back() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "impossible").await;
        let spec = with(measured(), json!({"steps": [], "watch": [{"for": "120s", "every": "1s"}]}));
        let mut deployment = shop_deployment(2);
        deployment["spec"]["strategy"] = json!({"type": "Recreate"});
        story.adopt(deployment, story.release(spec.clone())).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        story.until_phase("Watching").await;
        // A step that a Deployment of this kind cannot take: the API server lets it through.
        let impossible = json!({"steps": [{"name": "tenth", "replicas": "10%"}]});
        story.apply(story.release(with(spec, impossible))).await;
        story.until_blocked("InvalidSpec").await;
        fail(&story, "v2", "0.5").await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        undo_in_order(&ended, true);
        assert_eq!(version(&story).await, "v1");
    });
}

#[test]
fn a_lost_node_undoes_nothing() {
    on_stage(async {
        let stage = Stage::own(usual()).await.unwrap_or_else(|error| panic!("no stage: {error:#}"));
        let story = Story::begin(&stage, "node-loss").await;
        let mut spec = quick();
        spec["steps"][1]["soak"] = json!("12s");
        let mut deployment = story.deployment(8);
        deployment["spec"]["progressDeadlineSeconds"] = json!(5);
        story.adopt(deployment, story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        until_at(&story, "half").await;
        stage.cluster.control("nodes/paper-1/lose").await.expect("lost");
        story.until_blocked("NodesSilent").await;
        let guard = story.guard().await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Succeeded", "{}", story.describe().await);
        // Half of all pods may have been on the node; from there on it only gets better.
        assert!(guard.worst().least_ready >= 2, "{:?}", guard.worst());
    });
}

/// Four shops, traffic, and a Release that measures through a Prometheus.
async fn through_prometheus<'s>(stage: &'s Stage, name: &str) -> (Story<'s>, Prometheus, Load) {
    let story = Story::begin(stage, name).await;
    let prometheus = Prometheus::start(&story.client, &story.namespace, &[]).await.expect("a Prometheus");
    let mut spec = with(measured(), json!({"metrics": {"prometheus": {"url": prometheus.url}}}));
    spec["steps"][0]["soak"] = json!("1s");
    story.adopt(shop_deployment(4), story.release(spec)).await;
    let load = Load::start(&story.client, &story.namespace, 8080, 10.0).await;
    (story, prometheus, load)
}

async fn until_outcome(story: &Story<'_>, outcome: &str) {
    story
        .until_within(
            LONG,
            outcome,
            |story| async move { story.status().await["lastRun"]["outcome"] == outcome },
        )
        .await;
}

#[test]
fn a_good_version_goes_out_by_what_prometheus_says() {
    on_stage(async {
        let (story, _prometheus, _load) = through_prometheus(Stage::shared().await, "prom-good").await;
        story.ship("v2", &[]).await;
        story
            .until_within(LONG, "what was before the run", |story| async move {
                let source = &story.status().await["verdicts"][0]["source"];
                source.as_str().is_some_and(|source| source.contains("before the run"))
            })
            .await;
        until_outcome(&story, "Succeeded").await;
    });
}

#[test]
fn a_bad_version_goes_back_by_what_prometheus_says() {
    on_stage(async {
        let (story, _prometheus, _load) = through_prometheus(Stage::shared().await, "prom-bad").await;
        story.ship("v2", &[("ERROR_RATE", "0.5")]).await;
        until_outcome(&story, "Undone").await;
        undo_in_order(&story.status().await["lastRun"], true);
    });
}

#[test]
fn a_prometheus_that_dies_in_mid_run_promotes_nothing_and_undoes_nothing() {
    on_stage(async {
        let (story, mut prometheus, _load) = through_prometheus(Stage::shared().await, "prom-dies").await;
        story.ship("v2", &[]).await;
        until_at(&story, "tenth").await;
        prometheus.kill().await.expect("killed");
        story.until_blocked("NoMeasurements").await;
        stands_still(&story, Duration::from_secs(3)).await;
        story.say("admin", json!({"action": "Abort", "reason": "no eyes"})).await.expect("said");
        assert_eq!(story.until_ended(1).await["outcome"], "Aborted", "{}", story.describe().await);
    });
}
