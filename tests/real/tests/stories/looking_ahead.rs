//! Checks of what is about to be released, of what it was before, and of what it will be judged by: failing, Unknown, passing, and with an
//! operator that is killed.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::answers::{Answer, Answers};
use crate::given::{checked, ended, grant, quick, says, stands_still, until_told, with};

async fn retry(story: &Story<'_>) {
    says(story, "alice", json!({"action": "Retry"})).await;
}

/// What the first check of a run that has ended rests on.
async fn evidence(story: &Story<'_>, last: &Value) -> String {
    let report = last["report"].as_str().unwrap_or_default();
    let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await;
    report["spec"]["checks"][0]["message"].as_str().unwrap_or_default().to_owned()
}

fn image(name: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": name}]}}}})
}

#[test]
fn a_run_begins_when_there_is_a_budget_and_room_in_the_quota_and_on_nodes() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "workload").await;
        let wanted = json!({"podDisruptionBudget": "Required", "minReplicas": 2, "room": "Required"});
        story
            .adopt(
                story.deployment(2),
                story.release(checked(json!({"name": "workload", "workload": wanted}))),
            )
            .await;
        grant(&story, "alice", "tidegate-release-manager").await;
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}});
        story.apply(quota).await;
        story
            .until("the quota is counted", |story| async move {
                story.get("v1", "ResourceQuota", "small").await["status"]["used"]["pods"] == "2"
            })
            .await;
        story.ship_paper("v2", json!({})).await;
        until_told(
            &story,
            "CheckFailed",
            "check workload failed: no PodDisruptionBudget selects the pods: make one",
        )
        .await;
        let full =
            "resourcequota small has pods 0 left, and the run needs 1 (1 more pod of maxSurge): raise it";
        until_told(&story, "CheckFailed", full).await;
        stands_still(&story, Duration::from_secs(1)).await;
        story
            .apply(json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "shop"}}},
            }))
            .await;
        story.delete("v1", "ResourceQuota", "small").await;
        retry(&story).await;
        let last = ended(&story, 1, "Succeeded").await;
        let evidence = evidence(&story, &last).await;
        for words in ["2 replicas", "poddisruptionbudget shop", "room on nodes for "] {
            assert!(evidence.contains(words), "{evidence}");
        }
    });
}

#[test]
fn a_template_that_lacks_something_or_is_the_same_as_stable_waits_for_a_better_one() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "template").await;
        let wanted = json!({"probes": "Required", "resources": "Required"});
        story
            .adopt(
                story.deployment(2),
                story.release(checked(json!({"name": "workload", "workload": wanted}))),
            )
            .await;
        story.patch_strategic(image("shop:v2")).await;
        until_told(&story, "CheckFailed", "no readinessProbe in container shop: write one (probes)").await;
        until_told(
            &story,
            "CheckFailed",
            "not written: limits.memory of container shop, requests.cpu of container shop",
        )
        .await;
        let container = json!({
            "name": "shop", "image": "shop:v3", "readinessProbe": {"tcpSocket": {"port": 8080}},
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"memory": "2Mi"}},
        });
        story.patch_strategic(json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
        story
            .until("the better one has been released", |story| async move {
                let last = story.status().await["lastRun"].clone();
                last["outcome"] == "Succeeded"
            })
            .await;
        // kubectl rollout restart: going back would change nothing.
        let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-28T01:00:00Z"});
        story.patch(json!({"spec": {"template": {"metadata": {"annotations": restarted}}}})).await;
        until_told(
            &story,
            "CheckFailed",
            "the new template is the same as stable: it only starts the pods anew",
        )
        .await;
    });
}

#[test]
fn images_that_ended_well_elsewhere_follow_when_they_have_soaked_whoever_is_killed_meanwhile() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let staging = Story::begin(&stage, "staging").await;
        staging.adopt(staging.deployment(2), staging.release(quick())).await;
        let story = Story::begin(&stage, "production").await;
        let promotion = json!({"namespace": staging.namespace, "minSoak": "25s"});
        story
            .adopt(
                story.deployment(2),
                story.release(checked(json!({"name": "staging", "promotion": promotion}))),
            )
            .await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.patch_strategic(image("shop:v2")).await;
        let first = format!("release shop of namespace {} has not released shop:v2", staging.namespace);
        until_told(&story, "CheckFailed", &first).await;
        stands_still(&story, Duration::from_secs(1)).await;
        staging.patch_strategic(image("shop:v2")).await;
        let there = ended(&staging, 1, "Succeeded").await;
        retry(&story).await;
        let record = there["report"].as_str().unwrap_or_default();
        until_told(
            &story,
            "CheckUnknown",
            &format!("(releasereport {record}), and minSoak is 25s: this can pass from "),
        )
        .await;
        stage.kill_operator().await.expect("killed");
        stage.start_operator().await.expect("an operator");
        let last = ended(&story, 1, "Succeeded").await;
        let (begun, soaked) = (&last["endedAt"], &there["endedAt"]);
        let moment = |text: &Value| {
            text.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).expect("a moment")
        };
        assert!(moment(begun) >= moment(soaked) + Duration::from_secs(25), "{last:#} {there:#}");
        let evidence = evidence(&story, &last).await;
        assert!(evidence.contains(record) && evidence.contains("a tag proves less"), "{evidence}");
    });
}

#[test]
fn pilots_that_are_given_the_version_in_the_same_moment_go_first() {
    on_stage(async {
        let stage = Stage::shared().await;
        let pilot = Story::begin(stage, "pilot").await;
        let spec = with(quick(), json!({"steps": [{"name": "half", "replicas": "50%", "soak": "5s"}]}));
        let mut release = pilot.release(spec);
        pilot.adopt(pilot.deployment(2), release.clone()).await;
        let story = Story::begin(stage, "followers").await;
        let labels = json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["pilot"]}]});
        let promotion = json!({"namespace": pilot.namespace, "selector": labels, "minSoak": "5s"});
        let pilots = json!({"name": "pilots", "every": "1s", "promotion": promotion});
        story.adopt(story.deployment(2), story.release(checked(pilots))).await;
        story.patch_strategic(image("shop:v2")).await;
        let nobody = format!(
            "there are no releases of namespace {} with tier in (pilot): label the Releases that go first",
            pilot.namespace
        );
        until_told(&story, "CheckUnknown", &nobody).await;
        release["metadata"]["labels"] = json!({"tier": "pilot"});
        pilot.apply(release).await;
        until_told(&story, "CheckUnknown", "has not released shop:v2").await;
        pilot.patch_strategic(image("shop:v2")).await;
        until_told(&story, "CheckUnknown", "its run r1 with these images is under way").await;
        stands_still(&story, Duration::from_secs(1)).await;
        let there = ended(&pilot, 1, "Succeeded").await;
        let last = ended(&story, 1, "Succeeded").await;
        let evidence = evidence(&story, &last).await;
        let record = there["report"].as_str().unwrap_or_default();
        assert!(evidence.starts_with("with 1 of 1 releases") && evidence.contains(record), "{evidence}");
    });
}

#[test]
fn a_record_that_is_brought_from_elsewhere_lets_its_images_follow() {
    on_stage(async {
        let stage = Stage::shared().await;
        let elsewhere = Story::begin(stage, "elsewhere").await;
        elsewhere.adopt(elsewhere.deployment(2), elsewhere.release(quick())).await;
        elsewhere.patch_strategic(image("shop:v2")).await;
        let there = ended(&elsewhere, 1, "Succeeded").await;
        let record = there["report"].as_str().unwrap_or_default();
        let record = elsewhere.get("tidegate.dev/v1alpha1", "ReleaseReport", record).await;
        let story = Story::begin(stage, "brought").await;
        let promotion = json!({"record": {"configMap": {"name": "record", "key": "record.json"}}});
        let staging = json!({"name": "staging", "every": "1s", "promotion": promotion});
        story.adopt(story.deployment(2), story.release(checked(staging))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.patch_strategic(image("shop:v2")).await;
        let brought = async |record: &Value| {
            let data = json!({"record.json": record.to_string()});
            let metadata = json!({"name": "record"});
            story
                .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
                .await;
        };
        until_told(&story, "CheckUnknown", "there is no configmap record: bring the record of the run").await;
        let mut changed = record.clone();
        changed["spec"]["canary"]["images"] = json!(["shop:v2", "other:v1"]);
        brought(&changed).await;
        until_told(&story, "CheckFailed", "its content is not what was written: it says digest").await;
        stands_still(&story, Duration::from_secs(1)).await;
        brought(&record).await;
        retry(&story).await;
        let last = ended(&story, 1, "Succeeded").await;
        let evidence = evidence(&story, &last).await;
        assert!(evidence.contains("its run r1 ended well"), "{evidence}");
    });
}

#[test]
fn a_source_of_a_criterion_without_data_is_named_before_the_first_pod() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "telemetry").await;
        let spec = |path: &str| {
            let criteria = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
            let steps = json!([{"name": "half", "replicas": "50%", "soak": "1h"}]);
            with(
                checked(json!({"name": "telemetry", "telemetry": {}})),
                json!({"criteria": criteria, "metrics": {"pods": {"path": path}}, "steps": steps}),
            )
        };
        story.adopt(shop_deployment(2), story.release(spec("/nothing"))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story
            .until("Ready", |story| async move { story.target().await["status"]["readyReplicas"] == 2 })
            .await;
        story.ship("v2", &[]).await;
        let wrong = "errors: no data: answered with status 404; write where the page is as metrics.pods.port and metrics.pods.path";
        until_told(&story, "CheckFailed", wrong).await;
        story.apply(story.release(spec("/metrics"))).await;
        retry(&story).await;
        story
            .until("its checks have passed", |story| async move {
                story.status().await["run"]["stage"] == "Steps"
            })
            .await;
        let check = story.status().await["run"]["checks"][0].take();
        let evidence = check["message"].as_str().unwrap_or_default();
        assert!(evidence.starts_with("of 2 stable pods: errors: requests from "), "{check:#}");
    });
}

#[test]
fn a_source_that_is_down_holds_the_run_and_lets_it_go_on_when_it_answers() {
    on_stage(async {
        // Hangs up without an answer.
        let answers = Answers::start(Answer::of(0, ""));
        let story = Story::begin(Stage::shared().await, "telemetry-down").await;
        let value = json!({"json": {"url": answers.url, "pointer": "/length"}, "limit": "value > 90"});
        let criteria = json!({"criteria": [{"name": "queue", "value": value}]});
        let spec = with(checked(json!({"name": "telemetry", "telemetry": {}})), criteria);
        story.adopt(story.deployment(2), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        until_told(&story, "CheckUnknown", "check telemetry: queue: no answer").await;
        stands_still(&story, Duration::from_secs(1)).await;
        answers.tell(Answer::of(200, "{\"length\": 12}"));
        ended(&story, 1, "Succeeded").await;
    });
}

#[test]
fn what_is_asked_before_the_first_pod_stands_nowhere_else() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "before").await;
        let refused = async |spec: Value| match story.try_apply(story.release(spec), "story").await {
            Ok(_) => panic!("it is taken"),
            Err(error) => format!("{error:#}"),
        };
        for check in [
            json!({"workload": {}}),
            json!({"promotion": {"namespace": "staging"}}),
            json!({"telemetry": {}}),
        ] {
            let mut named = json!({"name": "it"});
            named.as_object_mut().expect("an object").extend(check.as_object().expect("an object").clone());
            let late =
                with(quick(), json!({"steps": [{"name": "half", "replicas": "50%", "checks": [named]}]}));
            let said = refused(late).await;
            let words =
                "workload, promotion and telemetry are asked before the first pod: write them in preflight";
            assert!(said.contains(words), "{check}: {said}");
        }
        let labels = json!({"matchLabels": {"tier": "pilot"}});
        for (promotion, words) in [
            (json!({"minSoak": "1h"}), "promotion needs one of: namespace, release, selector, record"),
            (
                json!({"release": "shop", "selector": labels}),
                "promotion takes one of: release, selector, record",
            ),
            (json!({"release": "shop", "atLeast": 2}), "atLeast goes with selector"),
            (
                json!({"namespace": "a", "record": {"configMap": {"name": "a", "key": "b"}}}),
                "a record is in the Release's own namespace: leave namespace out",
            ),
            (json!({"selector": {"matchLabels": {}}}), "selector needs matchLabels or matchExpressions"),
        ] {
            let said = refused(checked(json!({"name": "it", "promotion": promotion}))).await;
            assert!(said.contains(words), "{promotion}: {said}");
        }
        let said = refused(checked(json!({"name": "it", "workload": {"probes": "Wanted"}}))).await;
        assert!(said.contains("Unsupported value: \"Wanted\""), "{said}");
    });
}
