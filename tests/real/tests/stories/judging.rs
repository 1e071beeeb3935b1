//! The judge on real pods under real traffic: what is the canary's fault, what is everybody's, and what cannot be told.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::load::Load;
use tidegate_real::prometheus::Prometheus;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::given::{ended, fail, stands_still, undo_in_order, until_at, with};

/// A quarter of the pods for long enough that only evidence ends it.
fn judged(criterion: Value) -> Value {
    json!({
        "steps": [{"name": "some", "replicas": "25%", "soak": "60s"}, {"name": "all", "replicas": "100%"}],
        "criteria": [criterion],
        "watch": [{"for": "1s", "every": "1s"}],
    })
}

/// A shop of four pods with traffic, adopted; faults can be made in both versions.
async fn shop<'s>(stage: &'s Stage, name: &str, spec: Value) -> (Story<'s>, Load) {
    let story = Story::begin(stage, name).await;
    let mut deployment = shop_deployment(4);
    let environment =
        deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().expect("a list");
    environment.push(json!({"name": "ALLOW_FAULTS", "value": "1"}));
    story.adopt(deployment, story.release(spec)).await;
    let load = Load::start(&story.client, &story.namespace, 8080, 40.0).await;
    (story, load)
}

#[test]
fn five_percent_of_errors_are_found_against_a_limit_of_one() {
    on_stage(async {
        let spec = judged(json!({"name": "errors", "errorRate": {"limit": "1%"}}));
        let (story, _load) = shop(Stage::shared().await, "five-percent", spec).await;
        story.ship("v2", &[("ERROR_RATE", "0.05")]).await;
        let last = ended(&story, 1, "Undone").await;
        undo_in_order(&last, true);
        let message = last["message"].as_str().unwrap_or_default();
        assert!(message.contains("above the limit of 1 %"), "{message}");
        recorded(&story, last["report"].as_str().unwrap_or_default()).await;
    });
}

/// The record of the run says everything that the verdict rests on, and nobody can make it say something else.
async fn recorded(story: &Story<'_>, name: &str) {
    let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", name).await;
    let spec = &report["spec"];
    let evidence = &spec["evidence"][0];
    assert_eq!(
        (&spec["release"], &spec["outcome"], &evidence["verdict"], &evidence["uncalibrated"]),
        (&json!("shop"), &json!("Undone"), &json!("Breach"), &json!(true)),
        "{report:#}"
    );
    for part in ["source", "query", "window", "interval", "limit", "settle", "canary", "stable", "suspicion"]
    {
        assert!(!evidence[part].is_null(), "no {part}: {report:#}");
    }
    assert!(evidence["canary"]["bad"].as_i64() > Some(0), "{report:#}");
    let number = |text: &Value| text.as_str().and_then(|text| text.parse::<f64>().ok());
    let tests = evidence["tests"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(tests.len(), 2, "{report:#}");
    for test in tests {
        assert!(number(&test["evidence"]) >= number(&test["threshold"]), "{report:#}");
    }
    let other = json!({"spec": {"outcome": "Succeeded"}});
    let reports = story.api("tidegate.dev/v1alpha1", "ReleaseReport");
    let refusal = reports.patch(name, &PatchParams::default(), &Patch::Merge(other)).await;
    let refusal = refusal.expect_err("a record was changed").to_string();
    assert!(refusal.contains("it cannot be changed"), "{refusal}");
}

#[test]
fn an_incident_that_everybody_shares_is_not_this_releases_fault() {
    on_stage(async {
        let mut spec = judged(json!({"name": "errors", "errorRate": {"limit": "5%"}}));
        spec["steps"][0]["soak"] = json!("20s");
        let (story, _load) = shop(Stage::shared().await, "incident", spec).await;
        story.ship("v2", &[]).await;
        until_at(&story, "some").await;
        story
            .until("a pass", |story| async move { story.status().await["verdicts"][0]["verdict"] == "Pass" })
            .await;
        for version in ["v1", "v2"] {
            fail(&story, version, "0.4").await;
        }
        story.until_blocked("StableAsBad").await;
        stands_still(&story, Duration::from_secs(5)).await;
        for version in ["v1", "v2"] {
            fail(&story, version, "0").await;
        }
        ended(&story, 1, "Succeeded").await;
    });
}

#[test]
fn a_canary_that_is_slower_than_stable_goes_back() {
    on_stage(async {
        let latency = json!({"quantile": 0.95, "relativeTo": "stable", "limit": "50%"});
        let spec = judged(json!({"name": "slower", "latency": latency}));
        let (story, _load) = shop(Stage::shared().await, "slower", spec).await;
        story.ship("v2", &[("LATENCY_MS", "120")]).await;
        // Half a minute is warm-up.
        story
            .until("warming up", |story| async move {
                story.status().await["verdicts"][0]["reason"] == "WarmingUp"
            })
            .await;
        let long = Duration::from_secs(150);
        story
            .until_within(long, "the end", |story| async move { !story.status().await["lastRun"].is_null() })
            .await;
        let last = ended(&story, 1, "Undone").await;
        undo_in_order(&last, true);
        let message = last["message"].as_str().unwrap_or_default();
        assert!(message.contains("times stable's"), "{message}");
    });
}

#[test]
fn a_shadow_is_reported_and_holds_nothing_up() {
    on_stage(async {
        let mut spec = judged(json!({"name": "strict", "errorRate": {"limit": "1%", "shadow": true}}));
        spec["steps"][0]["soak"] = json!("8s");
        let (story, _load) = shop(Stage::shared().await, "shadow", spec).await;
        story.ship("v2", &[("ERROR_RATE", "0.3")]).await;
        story
            .until("a breach in the shadow", |story| async move {
                let status = story.status().await;
                status["verdicts"][0]["verdict"] == "Breach" && status["verdicts"][0]["shadow"] == true
            })
            .await;
        ended(&story, 1, "Succeeded").await;
    });
}

#[test]
fn what_is_unknown_at_the_deadline_does_what_it_was_told_to() {
    on_stage(async {
        for (what, outcome) in [("Promote", "Succeeded"), ("Undo", "Undone")] {
            let name = format!("unknown-{}", what.to_lowercase());
            let story = Story::begin(Stage::shared().await, &name).await;
            let errors = json!({"limit": "5%", "onUnknown": what});
            let mut spec = judged(json!({"name": "errors", "errorRate": errors}));
            spec["steps"] = json!([
                {"name": "some", "replicas": "25%", "soak": "1s", "deadline": "4s"},
                {"name": "all", "replicas": "100%", "deadline": "4s"},
            ]);
            // Nobody sends a request.
            story.adopt(shop_deployment(4), story.release(spec)).await;
            story.ship("v2", &[]).await;
            story.until_blocked("NotEnoughEvidence").await;
            let message = story.status().await["blockedBy"]["message"].to_string();
            assert!(message.contains(&format!("onUnknown: {what}")), "{message}");
            ended(&story, 1, outcome).await;
        }
    });
}

#[test]
fn a_prometheus_that_is_away_for_a_while_costs_time_and_no_verdict() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "prom-away").await;
        let mut prometheus =
            Prometheus::start(&story.client, &story.namespace, &[]).await.expect("a Prometheus");
        let spec = with(
            judged(json!({"name": "errors", "errorRate": {"limit": "1%"}})),
            json!({"metrics": {"prometheus": {"url": prometheus.url, "scrapeInterval": "5s"}}}),
        );
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 40.0).await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        until_at(&story, "some").await;
        prometheus.kill().await.expect("killed");
        let long = Duration::from_secs(150);
        story
            .until_within(long, "blocked by NoMeasurements", |story| async move {
                story.status().await["blockedBy"]["reason"] == "NoMeasurements"
            })
            .await;
        stands_still(&story, Duration::from_secs(3)).await;
        prometheus.revive().expect("started");
        fail(&story, "v2", "0.05").await;
        story
            .until_within(long, "Undone", |story| async move {
                story.status().await["lastRun"]["outcome"] == "Undone"
            })
            .await;
        let last = story.status().await["lastRun"].take();
        undo_in_order(&last, true);
        let name = last["report"].as_str().unwrap_or_default();
        let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", name).await;
        let query = report["spec"]["evidence"][0]["query"].as_str().unwrap_or_default();
        assert!(
            query.contains(r#"-.+"}["#) && query.ends_with(&format!(" at {}", prometheus.url)),
            "{query}"
        );
    });
}

#[test]
fn evidence_cuts_a_long_soak_short_after_a_minute_where_the_step_says_so() {
    on_stage(async {
        let mut spec = judged(json!({"name": "errors", "errorRate": {"limit": "5%"}}));
        spec["steps"][0] = json!({"name": "some", "replicas": "25%", "soak": "48h", "advanceEarly": true});
        let (story, _load) = shop(Stage::shared().await, "early", spec).await;
        story.ship("v2", &[]).await;
        until_at(&story, "some").await;
        let begun = std::time::Instant::now();
        let long = Duration::from_secs(150);
        story
            .until_within(long, "the end", |story| async move { !story.status().await["lastRun"].is_null() })
            .await;
        ended(&story, 1, "Succeeded").await;
        assert!(begun.elapsed() >= Duration::from_secs(55), "a minute is the least");
    });
}
