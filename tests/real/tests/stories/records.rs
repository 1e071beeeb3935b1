//! Records of runs: nobody changes one, the plugin shows and verifies them, and those that are too many go.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate_real::operator::binary;
use tidegate_real::story::{Story, on_stage};
use tokio::process::Command;

use crate::given::{adopted, ended, halves, with};

const API: &str = "tidegate.dev/v1alpha1";
const KIND: &str = "ReleaseReport";

/// What the plugin says, and its exit code.
async fn plugin(story: &Story<'_>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary("kubectl-tidegate").expect("the plugin"))
        .arg("--kubeconfig")
        .arg(&story.stage.cluster.kubeconfig)
        .args(["--namespace", &story.namespace])
        .args(arguments)
        .output()
        .await
        .expect("it runs");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

async fn runs(story: &Story<'_>) -> Vec<String> {
    let reports = story.list(API, KIND).await;
    let mut runs: Vec<String> =
        reports.iter().filter_map(|it| it["spec"]["run"].as_str().map(str::to_owned)).collect();
    runs.sort();
    runs
}

/// The condition; `null` where there is none.
async fn questionable(story: &Story<'_>) -> Value {
    let conditions = story.status().await["conditions"].take();
    let all = conditions.as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == "Questionable").unwrap_or_default()
}

#[test]
fn records_form_a_chain_that_the_plugin_verifies_and_the_oldest_go() {
    on_stage(async {
        let spec = with(halves(), json!({"reports": {"keep": 2}}));
        let story = adopted("records", 2, spec).await;
        for number in 1..=3 {
            story.ship_paper(&format!("v{}", number + 1), json!({})).await;
            ended(&story, number, "Succeeded").await;
            // Defaults that the API server adds do not change a digest.
            let (code, said) = plugin(&story, &["report", "shop", "--verify"]).await;
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains("the chain holds; its newest digest is"), "{said}");
        }
        story.until("two records", |story| async move { runs(story).await == ["r2", "r3"] }).await;
        let (code, said) = plugin(&story, &["report", "shop", "--verify"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("which was removed with all before it"), "{said}");

        let (code, said) = plugin(&story, &["report", "shop"]).await;
        assert_eq!(code, Some(0), "{said}");
        for part in ["# Deployment Report", "Status: Success", "| half | 1 of 2 (50%)", "## Lessons Learned"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (code, said) = plugin(&story, &["report", "shop", "--run", "r2", "-o", "html"]).await;
        assert!(code == Some(0) && said.starts_with("<!DOCTYPE html>"), "{said}");
        let (code, said) = plugin(&story, &["report", "shop", "--run", "r1"]).await;
        assert!(code == Some(2) && said.contains("there is r2, r3"), "{said}");

        // Whoever takes the newest away is found out.
        let last = story.status().await["lastRun"]["report"].as_str().expect("a name").to_owned();
        let reports = story.api(API, KIND);
        reports.delete(&last, &DeleteParams::default()).await.expect("an administrator may");
        let (code, said) = plugin(&story, &["report", "shop", "--verify"]).await;
        assert!(code == Some(1) && said.contains("the newest record by status is missing"), "{said}");
    });
}

#[test]
fn not_even_an_administrator_changes_a_record_or_makes_one() {
    on_stage(async {
        let story = adopted("fixed-records", 2, halves()).await;
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
        let name = story.status().await["lastRun"]["report"].as_str().expect("a name").to_owned();
        let reports = story.api(API, KIND);
        let refused = [
            (json!({"spec": {"message": "all went well"}}), "it cannot be changed"),
            (json!({"spec": {"chain": {"digest": "0"}}}), "it cannot be changed"),
            (json!({"metadata": {"labels": {"tidegate.dev/release": "other"}}}), "cannot be changed"),
            (json!({"metadata": {"annotations": {"note": "x"}}}), "cannot be changed"),
        ];
        for (patch, words) in refused {
            let answer = reports.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            let answer = answer.expect_err("a record was changed").to_string();
            assert!(answer.contains(words), "{patch}: {answer}");
        }
        let mut forged = story.get(API, KIND, &name).await;
        forged["metadata"] =
            json!({"name": "shop-r2-succeeded-20300101-000000", "namespace": story.namespace});
        let object = serde_json::from_value(forged).expect("an object");
        let made = reports.create(&PostParams::default(), &object).await;
        let answer = made.expect_err("a record was made").to_string();
        assert!(answer.contains("only the Tidegate operator writes reports"), "{answer}");
    });
}

#[test]
fn a_release_that_contradicts_itself_says_so_and_is_released_all_the_same() {
    on_stage(async {
        let story = adopted("questionable", 2, halves()).await;
        let condition = questionable(&story).await;
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Contradictions")));
        let message = condition["message"].as_str().unwrap_or_default();
        assert!(message.contains("spec.criteria: there is no limit"), "{message}");
        story.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
        let mended = json!({"criteria": [{"name": "restarts", "restarts": {"limit": 3}}]});
        story.apply(story.release(with(halves(), mended))).await;
        story
            .until("no limit is no longer remarked upon", |story| async move {
                let condition = questionable(story).await;
                !condition["message"].as_str().unwrap_or_default().contains("there is no limit")
            })
            .await;
    });
}
