//! A Deployment goes in mid-run, or is kept from it since whoever deletes it may not hand it back; a Release goes while no operator runs, or is kept from it by the chart's guard.
//! What becomes of a Deployment when its Release, its namespace or the operator goes is the table of `hand_back`.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tidegate_real::cluster::repository;
use tidegate_real::stage::{self, Stage, usual};
use tidegate_real::story::Story;

use crate::given::{adopted, at_half, by_hand, ended, grant, halves, pods_of, say, until_given_back, with};
use crate::hand_back::{Moment, RELEASE, come_to, delete_namespace, is_left_alone, until_all_run};

#[test]
fn a_deployment_deleted_in_mid_run_ends_the_run_and_one_made_anew_is_adopted_anew() {
    tidegate_real::story::on_stage(async {
        let (story, _) = come_to(Stage::shared().await, Moment::Soaking, "Policy", "Undo").await;
        story.delete("apps/v1", "Deployment", "shop").await;
        story.until_blocked("TargetMissing").await;
        let status = story.status().await;
        assert_eq!(status["lastRun"]["outcome"], "Aborted", "{}", story.describe().await);
        assert!(status["run"].is_null());
        story.apply(story.deployment(2)).await;
        story
            .until("adopted anew", |story| async move {
                story.status().await["stable"]["fingerprint"].is_string()
            })
            .await;
        story.ship_paper("v3", json!({})).await;
        story.until_phase("Soaking").await;
        assert_eq!(story.status().await["run"]["number"], 2, "{}", story.describe().await);
    });
}

#[test]
fn a_release_deleted_while_no_operator_runs_is_seen_to_by_the_next_one() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let come = |moment, on_delete| come_to(&stage, moment, "Policy", on_delete);
        let (undone, finished) =
            futures::join!(come(Moment::Soaking, "Undo"), come(Moment::Soaking, "Finish"));
        stage.kill_operator().await.expect("killed");
        for (story, _) in [&undone, &finished] {
            story.delete(RELEASE, "Release", "shop").await;
        }
        undone
            .0
            .stays(Duration::from_secs(1), "paused, with nobody there", |story| async move {
                story.target().await["spec"]["paused"] == true
            })
            .await;
        stage.start_operator().await.expect("an operator");
        for ((story, before), version) in [(&undone, "v1"), (&finished, "v2")] {
            is_left_alone(story, before, version).await;
            until_all_run(story, version).await;
        }
    });
}

#[test]
fn a_template_that_is_written_while_it_goes_back_without_a_release_stays_and_the_deployment_says_so() {
    tidegate_real::story::on_stage(async {
        let (story, before) = come_to(Stage::shared().await, Moment::Undoing, "Policy", "Undo").await;
        story.delete(RELEASE, "Release", "shop").await;
        story
            .until("it goes back without one", |story| async move {
                let noted = &story.target().await["metadata"]["annotations"]["tidegate.dev/on-delete"];
                noted.as_str().is_some_and(|noted| noted.contains("orderedAt"))
            })
            .await;
        let well = json!({"paper.tidegate.dev/crash": null, "paper.tidegate.dev/ready-after": null});
        story.ship_paper("v3", well).await;
        is_left_alone(&story, &before, "v3").await;
        until_all_run(&story, "v3").await;
        story
            .until("events of the Deployment", |story| async move {
                let events = story.list("events.k8s.io/v1", "Event").await;
                ["GoingBack", "Superseded", "HandedBack"].iter().all(|reason| {
                    let is_of_it = |event: &Value| {
                        event["reason"] == *reason && event["regarding"]["kind"] == "Deployment"
                    };
                    events.iter().any(is_of_it)
                })
            })
            .await;
    });
}

/// Where Releases are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// In the story's namespace.
    Here,
    /// In all, as the chart has it.
    Everywhere,
}

/// The policy that the chart has for it (`policies.guardDelete`), and waits until it is in force: the story's Release is in an active run.
pub async fn guard(story: &Story<'_>, plays: Guarded) {
    let rendered = repository().join("tests/real/namespaced.yaml");
    let rendered = std::fs::read_to_string(rendered).expect("rendered");
    let mut documents = stage::documents(&rendered).expect("documents");
    documents.retain(|document| document["metadata"]["name"] == "tidegate-release-delete");
    assert_eq!(documents.len(), 2, "a policy and its binding");
    for mut document in documents {
        if document["kind"] == "ValidatingAdmissionPolicyBinding" {
            let here = json!({"matchLabels": {"kubernetes.io/metadata.name": story.namespace}});
            document["spec"]["matchResources"]["namespaceSelector"] = match plays {
                Guarded::Here => here,
                Guarded::Everywhere => json!({}),
            };
        }
        stage::apply(&story.client, &document, "story").await.expect("a guard");
    }
    let phase = story.status().await["phase"].as_str().unwrap_or_default().to_owned();
    let words = format!(
        "release {}/shop is {phase}: first kubectl tidegate abort (undo) or hand-back",
        story.namespace
    );
    let refused = &words;
    story
        .until(refused, |story| async move { said_of_deleting_release(story).await.contains(refused) })
        .await;
}

/// What the API server says when somebody deletes the Release; empty where they may.
async fn said_of_deleting_release(somebody: &Story<'_>) -> String {
    let only_asked = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let deleted = somebody.api(RELEASE, "Release").delete("shop", &only_asked).await;
    deleted.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_guarded_release_may_be_deleted_once_its_deployment_is_its_owners_again() {
    tidegate_real::story::on_stage(async {
        let story = at_half("deletion-guarded", 2).await;
        guard(&story, Guarded::Here).await;
        // What goes with a namespace or an owner: the account of controllers that have one for all of them.
        let client = story.stage.cluster.client_in_place_of("system:kube-controller-manager").await;
        let client = client.expect("a client");
        let controllers = Story { stage: story.stage, namespace: story.namespace.clone(), client };
        assert_eq!(said_of_deleting_release(&controllers).await, "");
        let errors = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
        let looked_at = json!({"criteria": errors, "undo": {"validate": {"for": "1h"}}});
        story.apply(story.release(with(by_hand(), looked_at))).await;
        story
            .until("it is heard", |story| async move { story.status().await["observedGeneration"] == 2 })
            .await;
        say(&story, "Abort").await;
        until_given_back(&story).await;
        assert_eq!(story.status().await["phase"], "Undoing", "{}", story.describe().await);
        story.delete(RELEASE, "Release", "shop").await;
        story
            .until("two pods of v1, and nothing of ours", |story| async move {
                let ours = &story.target().await["metadata"]["labels"]["tidegate.dev/release"];
                ours.is_null() && pods_of(story, "v1").await == 2 && story.pods().await.len() == 2
            })
            .await;
    });
}

/// What the API server says when somebody deletes the Deployment; empty where they may.
async fn said_of_deleting(somebody: &Story<'_>, how: &DeleteParams) -> String {
    let deleted = somebody.api("apps/v1", "Deployment").delete("shop", how).await;
    deleted.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
}

/// The condition that says that nobody has released what serves.
async fn replaced(story: &Story<'_>) -> Value {
    let conditions = story.status().await["conditions"].take();
    let mut of_it = conditions.as_array().into_iter().flatten();
    of_it.find(|one| one["type"] == "DeploymentReplaced").cloned().unwrap_or_default()
}

#[test]
fn who_may_not_hand_a_deployment_back_may_not_delete_it_nor_have_it_go_with_another_owner() {
    tidegate_real::story::on_stage(async {
        let story = adopted("deletion-rights", 2, halves()).await;
        let client = story.stage.cluster.client("carol").await.expect("a client");
        let carol = &Story { stage: story.stage, namespace: story.namespace.clone(), client };
        grant(&story, "carol", "admin").await;
        let refused = &format!(
            "carol may not delete Deployment {}/shop, which release shop is about: it takes the verb hand-back on releases.tidegate.dev",
            story.namespace
        );
        let only_asked = &DeleteParams { dry_run: true, ..DeleteParams::default() };
        story
            .until(refused, |_| async move { said_of_deleting(carol, only_asked).await.contains(refused) })
            .await;
        for how in [DeleteParams::background(), DeleteParams::foreground(), DeleteParams::orphan()] {
            let said = said_of_deleting(carol, &how).await;
            assert!(said.contains(refused), "{said}");
        }
        let all = carol.api("apps/v1", "Deployment");
        let said = all.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        let said = said.map(|_| String::new()).unwrap_or_else(|error| error.to_string());
        assert!(said.contains(refused), "{said}");
        // The garbage collector would take one whose owner is not found for one that is to go.
        let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "no-such-uid"});
        let owned = carol.try_patch(json!({"metadata": {"ownerReferences": [nobody]}})).await;
        let said = owned.expect_err("refused").to_string();
        let words = format!("carol may not give another owner to Deployment {}/shop", story.namespace);
        assert!(said.contains(&words), "{said}");

        // In place it is anybody's who may patch it.
        carol.ship_paper("v2", json!({})).await;
        ended(&story, 1, "Succeeded").await;
        assert_eq!(replaced(&story).await, Value::Null, "{}", story.describe().await);

        grant(&story, "carol", "tidegate-release-manager").await;
        story.until("she may", |_| async move { said_of_deleting(carol, only_asked).await.is_empty() }).await;
        carol.delete("apps/v1", "Deployment", "shop").await;
        story.until_blocked("TargetMissing").await;
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
        let uid = carol.apply(owner).await.metadata.uid;
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid});
        let mut anew = story.deployment(2);
        anew["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
        anew["metadata"]["ownerReferences"] = json!([owner]);
        anew["spec"]["template"]["metadata"]["annotations"]["version"] = json!("v3");
        carol.apply(anew).await;
        let found = async |story: &Story<'_>| replaced(story).await["status"] == "True";
        story.until("what serves is said not to be released", found).await;
        let said = replaced(&story).await["message"].take();
        let words = "carol made the Deployment anew with template shop-";
        assert!(said.as_str().is_some_and(|said| said.starts_with(words)), "{said}");
        assert_eq!(pods_of(&story, "v3").await, 2, "{}", story.describe().await);

        // It goes with its owner, and its namespace with all that is in it: those who see to that need no such verb.
        story.delete("v1", "ConfigMap", "owner").await;
        story.until_blocked("TargetMissing").await;
        story.apply(story.deployment(2)).await;
        let labelled = async |story: &Story<'_>| {
            story.target().await["metadata"]["labels"]["tidegate.dev/release"] == "shop"
        };
        story.until("taken up", labelled).await;
        delete_namespace(&story).await;
    });
}
