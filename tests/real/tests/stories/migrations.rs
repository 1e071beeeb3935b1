//! Migrations and locks on a real control plane: what passes, what fails and what it says, and what runs once whoever is killed.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage, paper_deployment};

use crate::given::{adopted, by_hand, grant, pods, quick, say, says, stands_still, with};

/// A Job of one paper pod that takes so long and ends like this.
fn job(takes: &str, exit_code: &str) -> Value {
    let annotations =
        json!({"paper.tidegate.dev/ready-after": takes, "paper.tidegate.dev/exit-code": exit_code});
    let pod = json!({
        "restartPolicy": "Never",
        "nodeSelector": {"tidegate.dev/node": "paper"},
        "containers": [{"name": "migrate", "image": "migrate:v1"}],
    });
    json!({"template": {
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": annotations}, "spec": pod}},
    }})
}

fn migration(name: &str, kind: &str, exit_code: &str) -> Value {
    json!({"name": name, "kind": kind, "job": job("200ms", exit_code)})
}

fn migrated(migrations: Value) -> Value {
    with(quick(), json!({"migrations": migrations}))
}

/// Labels of the Jobs that were made, in their order.
async fn made(story: &Story<'_>) -> Vec<String> {
    let mut jobs = story.list("batch/v1", "Job").await;
    jobs.sort_by_key(|job| job["metadata"]["creationTimestamp"].to_string());
    let label = |job: &Value| job["metadata"]["labels"]["tidegate.dev/check"].as_str().map(str::to_owned);
    jobs.iter().filter_map(label).collect()
}

#[test]
fn they_run_before_the_first_pod_and_after_the_watch_and_stand_in_the_record() {
    on_stage(async {
        let mut add = migration("add", "Expand", "0");
        add["verify"] = job("200ms", "0");
        let story =
            adopted("migrations", 2, migrated(json!([add, migration("clean", "Contract", "0")]))).await;
        story.ship_paper("v2", json!({})).await;
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Succeeded", "{}", story.describe().await);
        let mut made = made(&story).await;
        made.sort();
        assert_eq!(made, ["migration.add", "migration.add.verify", "migration.clean"]);
        let report = last["report"].as_str().unwrap_or_default();
        let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await;
        let known = report["spec"]["migrations"].as_array().expect("migrations");
        assert_eq!(known.len(), 2, "{report:#}");
        assert!(known.iter().all(|known| known["work"]["state"] == "Passed"), "{report:#}");
    });
}

#[test]
fn one_that_fails_holds_before_the_first_pod_and_says_what_to_do() {
    on_stage(async {
        let story = adopted("migration-fails", 2, migrated(json!([migration("add", "Expand", "3")]))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("MigrationFailed").await;
        let blocker = story.status().await["blockedBy"].take();
        let message = blocker["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("migration add: job shop-migration-add-"), "{blocker:#}");
        let namespace = &story.namespace;
        let retry = format!("kubectl tidegate retry shop -n {namespace}, or ");
        assert!(blocker["unblock"].as_str().is_some_and(|words| words.starts_with(&retry)), "{blocker:#}");
        stands_still(&story, Duration::from_secs(1)).await;
        assert_eq!(pods(&story).await.len(), 1, "no pod of the new version");
        story.apply(story.release(migrated(json!([migration("add", "Expand", "0")])))).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Succeeded", "{}", story.describe().await);
        assert_eq!(made(&story).await.len(), 2);
    });
}

#[test]
fn after_an_irreversible_one_pods_that_crash_wait_for_a_person() {
    on_stage(async {
        let story =
            adopted("irreversible", 2, migrated(json!([migration("drop", "Irreversible", "0")]))).await;
        story.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
        story.until_blocked("Irreversible").await;
        let message = story.status().await["blockedBy"]["message"].take();
        let words = "It does not go back by itself: migration drop (Irreversible) has begun at ";
        assert!(message.as_str().is_some_and(|message| message.contains(words)), "{message}");
        stands_still(&story, Duration::from_secs(2)).await;
        say(&story, "Abort").await;
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Aborted", "{}", story.describe().await);
    });
}

#[test]
fn killed_while_one_runs_the_next_operator_waits_for_its_end_and_makes_no_other() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "migration-killed").await;
        let add = json!({"name": "add", "kind": "Expand", "job": job("4s", "0")});
        let release = migrated(json!([add, migration("drop", "Irreversible", "0")]));
        story.adopt(story.deployment(2), story.release(release)).await;
        story.ship_paper("v2", json!({})).await;
        story.until("a job", |story| async move { !story.list("batch/v1", "Job").await.is_empty() }).await;
        stage.kill_operator().await.expect("killed");
        stage.start_operator().await.expect("an operator");
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Succeeded", "{}", story.describe().await);
        let mut made = made(&story).await;
        made.sort();
        assert_eq!(made, ["migration.add", "migration.drop"]);
    });
}

#[test]
fn of_two_releases_with_one_lock_the_second_waits_for_the_first() {
    on_stage(async {
        let locked = |spec: Value| with(spec, json!({"locks": ["orders-db"]}));
        let story = adopted("locks", 2, locked(by_hand())).await;
        let renamed = |mut object: Value| {
            object["metadata"]["name"] = json!("billing");
            object
        };
        let mut billing = renamed(paper_deployment(2));
        for place in ["/spec/selector/matchLabels/app", "/spec/template/metadata/labels/app"] {
            *billing.pointer_mut(place).expect("a label") = json!("billing");
        }
        story.apply(billing.clone()).await;
        let mut release = renamed(story.release(locked(quick())));
        release["spec"]["targetRef"]["name"] = json!("billing");
        story.apply(release).await;
        let status =
            || async { story.get("tidegate.dev/v1alpha1", "Release", "billing").await["status"].take() };
        let status = &status;
        story
            .until("billing adopted", |_| async move { status().await["stable"]["fingerprint"].is_string() })
            .await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Soaking").await;
        billing["spec"]["template"]["metadata"]["annotations"]["version"] = json!("v2");
        story.apply(billing).await;
        story
            .until("billing waits", |_| async move { status().await["blockedBy"]["reason"] == "Locked" })
            .await;
        let message = status().await["blockedBy"]["message"].take();
        let words = "lock orders-db: held by run r1 of release shop since ";
        assert!(message.as_str().is_some_and(|message| message.starts_with(words)), "{message}");
        // Going back waits for nobody, and frees it.
        say(&story, "Abort").await;
        assert_eq!(story.until_ended(1).await["outcome"], "Aborted");
        story
            .until_within(Duration::from_secs(30), "billing has had its turn", |_| async move {
                status().await["lastRun"]["outcome"] == "Succeeded"
            })
            .await;
    });
}
