//! A Deployment goes in mid-run; a Release goes while no operator runs. What becomes of a Deployment when its Release, its namespace
//! or the operator goes is the table of `hand_back`.

use std::time::Duration;

use serde_json::json;
use tidegate_real::stage::{Stage, usual};

use crate::hand_back::{Moment, RELEASE, come_to, is_left_alone, until_all_run};

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
fn a_release_deleted_while_no_operator_runs_is_seen_to_by_the_next_one() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let come = |moment, on_delete| come_to(&stage, moment, on_delete);
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
