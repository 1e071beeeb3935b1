//! A Release, its Deployment or its namespace goes in mid-run; and hand-back by hand.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::cluster::repository;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::Story;

use crate::given::paste;

const RELEASE: &str = "tidegate.dev/v1alpha1";

/// Where a run stands when something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Preflight,
    Moving,
    Soaking,
    Held,
    Undoing,
    Watching,
    Rejected,
    RejectedAndHeld,
}

const MOMENTS: [Moment; 8] = [
    Moment::Preflight,
    Moment::Moving,
    Moment::Soaking,
    Moment::Held,
    Moment::Undoing,
    Moment::Watching,
    Moment::Rejected,
    Moment::RejectedAndHeld,
];

impl Moment {
    fn spec(self) -> Value {
        let mut spec = json!({
            "steps": [{"name": "half", "replicas": "50%", "soak": "1s"}, {"name": "all", "replicas": "100%"}],
            "criteria": [],
            "watch": [{"for": "1h", "every": "1s"}],
        });
        let approval = json!({"roles": ["tech-lead"], "quorum": 1});
        match self {
            Self::Preflight => spec["preflight"] = json!([{"name": "sign-off", "approval": approval}]),
            Self::Soaking => spec["steps"][0]["soak"] = json!("1h"),
            Self::Held => spec["steps"][0]["approval"] = approval,
            Self::Moving | Self::Undoing | Self::Watching | Self::Rejected | Self::RejectedAndHeld => {}
        }
        spec
    }

    /// What the pods of the new version do.
    fn pods(self) -> Value {
        match self {
            Self::Moving => json!({"paper.tidegate.dev/never-ready": "true"}),
            Self::Undoing | Self::Rejected | Self::RejectedAndHeld => {
                json!({"paper.tidegate.dev/crash": "true"})
            }
            Self::Preflight | Self::Soaking | Self::Held | Self::Watching => json!({}),
        }
    }

    fn phase(self) -> &'static str {
        match self {
            Self::Preflight => "Preflight",
            Self::Held => "Held",
            Self::Moving => "Moving",
            Self::Soaking => "Soaking",
            Self::Undoing => "Undoing",
            Self::Watching => "Watching",
            Self::Rejected | Self::RejectedAndHeld => "Rejected",
        }
    }
}

/// A story that has come to this moment, and the Deployment's spec before the run.
async fn come_to<'s>(stage: &'s Stage, moment: Moment, on_delete: &str) -> (Story<'s>, Value) {
    let story = Story::begin(stage, &format!("{moment:?}-{on_delete}").to_lowercase()).await;
    let mut spec = moment.spec();
    spec["onDelete"] = json!(on_delete);
    let mut deployment = story.deployment(4);
    if moment == Moment::Undoing {
        // Pods of the old version take their time to come back.
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] =
            json!("4s");
    }
    story.adopt(deployment, story.release(spec)).await;
    let before = story.target().await["spec"].clone();
    story.ship_paper("v2", moment.pods()).await;
    story.until_phase(moment.phase()).await;
    if moment == Moment::Preflight {
        story.until_blocked("AwaitingApproval").await;
    }
    if moment == Moment::RejectedAndHeld {
        story
            .until("at rest", |story| async move {
                story.target().await["metadata"]["annotations"]["tidegate.dev/stable"].is_null()
            })
            .await;
        story.ship_paper("v2", moment.pods()).await;
        story.until("held", |story| async move { story.target().await["spec"]["paused"] == true }).await;
        story.until_phase("Rejected").await;
    }
    (story, before)
}

/// Waits until nothing of ours is left, and the owner's fields are back around this version.
async fn is_left_alone(story: &Story<'_>, before: &Value, version: &str) {
    story
        .until(&format!("the owner's fields, with {version}"), |story| async move {
            let target = story.target().await;
            let mut spec = target["spec"].clone();
            let at = spec["template"]["metadata"]["annotations"]["version"] == version;
            spec["template"] = before["template"].clone();
            let ours = |map: &Value| {
                // Who changed the template last stays true.
                let ours =
                    |name: &String| name.starts_with("tidegate.dev/") && name != "tidegate.dev/changed-by";
                map.as_object().is_some_and(|map| map.keys().any(ours))
            };
            at && spec == *before
                && !ours(&target["metadata"]["labels"])
                && !ours(&target["metadata"]["annotations"])
        })
        .await;
    story
        .until("no template is kept", |story| async move {
            story.list("apps/v1", "ControllerRevision").await.is_empty()
        })
        .await;
}

async fn until_all_run(story: &Story<'_>, version: &str) {
    story
        .until(&format!("four pods of {version}"), |story| async move {
            let pods = story.pods().await;
            pods.len() == 4 && pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == version)
        })
        .await;
}

#[test]
fn a_release_deleted_in_any_phase_goes_back_to_stable_and_leaves_nothing_behind() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::shared().await;
        let all = MOMENTS.map(|moment| async move {
            let (story, before) = come_to(stage, moment, "Undo").await;
            let guard = story.guard().await;
            story.delete(RELEASE, "Release", "shop").await;
            // After 100 % the owner's fields are back already and the new version serves: there is nothing to go back from.
            let version = if moment == Moment::Watching { "v2" } else { "v1" };
            is_left_alone(&story, &before, version).await;
            until_all_run(&story, version).await;
            assert!(
                guard.worst().least_ready >= 2,
                "{moment:?} {:?}\n{}",
                guard.worst(),
                story.describe().await
            );
        });
        futures::future::join_all(all).await;
    });
}

#[test]
fn a_release_deleted_in_any_phase_with_finish_gives_the_deployment_back_at_once_as_it_stands() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::shared().await;
        let all = MOMENTS.map(|moment| async move {
            let (story, before) = come_to(stage, moment, "Finish").await;
            story.delete(RELEASE, "Release", "shop").await;
            // What its owner is given back is what stands there: on the way back, and after it, the stable template.
            let back = matches!(moment, Moment::Undoing | Moment::Rejected);
            let version = if back { "v1" } else { "v2" };
            is_left_alone(&story, &before, version).await;
            if matches!(moment, Moment::Moving | Moment::RejectedAndHeld) {
                // Pods of version 2 are never Ready: the native controller stops there, and goes on with the next version.
                let well = json!({"paper.tidegate.dev/never-ready": null, "paper.tidegate.dev/crash": null});
                story.ship_paper("v3", well).await;
                until_all_run(&story, "v3").await;
            } else {
                until_all_run(&story, version).await;
            }
        });
        futures::future::join_all(all).await;
    });
}

#[test]
fn a_namespace_deleted_in_mid_run_goes() {
    tidegate_real::story::on_stage(async {
        let (story, _) = come_to(Stage::shared().await, Moment::Soaking, "Undo").await;
        let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(story.client.clone());
        namespaces.delete(&story.namespace, &kube::api::DeleteParams::default()).await.expect("deleted");
        story
            .until("the namespace is gone", |story| {
                let namespaces = namespaces.clone();
                async move { namespaces.get_opt(&story.namespace).await.is_ok_and(|found| found.is_none()) }
            })
            .await;
    });
}

#[test]
fn a_deployment_deleted_in_mid_run_ends_the_run_and_one_made_anew_is_adopted_anew() {
    tidegate_real::story::on_stage(async {
        let (story, _) = come_to(Stage::shared().await, Moment::Soaking, "Undo").await;
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
fn while_no_operator_runs_the_one_line_of_the_manual_hands_back_and_a_deleted_release_is_seen_to_later() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let come = |moment, on_delete| come_to(&stage, moment, on_delete);
        let (undone, finished, by_hand) = futures::join!(
            come(Moment::Soaking, "Undo"),
            come(Moment::Soaking, "Finish"),
            come(Moment::Held, "Undo")
        );
        stage.kill_operator().await.expect("killed");
        for (story, _) in [&undone, &finished, &by_hand] {
            story.delete(RELEASE, "Release", "shop").await;
        }
        hand_back_by_hand(&by_hand.0).await;
        until_all_run(&by_hand.0, "v2").await;
        undone
            .0
            .stays(Duration::from_secs(1), "paused, with nobody there", |story| async move {
                story.target().await["spec"]["paused"] == true
            })
            .await;
        stage.start_operator().await.expect("an operator");
        for ((story, before), version) in [(&undone, "v1"), (&finished, "v2"), (&by_hand, "v2")] {
            is_left_alone(story, before, version).await;
            until_all_run(story, version).await;
        }
    });
}

/// Runs the line that the manual gives, as it stands there.
async fn hand_back_by_hand(story: &Story<'_>) {
    let manual = std::fs::read_to_string(repository().join("docs/hand-back.md")).expect("the manual");
    let line = manual
        .lines()
        .find(|line| line.starts_with("kubectl patch deploy $D") && line.contains("originals}"));
    paste(story, line.expect("the line"), &[("D", "shop"), ("NS", &story.namespace)]).await;
}
