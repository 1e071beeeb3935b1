//! The operator as a process: killed in every phase, started anew, watched from outside.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::operator::Operator;
use tidegate_real::relay::Relay;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::Story;

use crate::given::quick;

/// One run, killed in one phase.
struct Cut {
    phase: &'static str,
    spec: Value,
    /// What pods of the new version do.
    pods: Value,
    outcome: &'static str,
}

fn cuts() -> Vec<Cut> {
    let approval = json!({"roles": ["tech-lead"], "quorum": 1, "allowAuthor": true});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut spec = quick();
        change(&mut spec);
        spec
    };
    let crash = json!({"paper.tidegate.dev/crash": "true"});
    vec![
        Cut {
            phase: "Preflight",
            spec: with(&|spec| spec["preflight"] = json!([{"name": "sign-off", "approval": approval}])),
            pods: json!({}),
            outcome: "Succeeded",
        },
        Cut {
            phase: "Moving",
            spec: quick(),
            pods: json!({"paper.tidegate.dev/ready-after": "3s"}),
            outcome: "Succeeded",
        },
        Cut {
            phase: "Soaking",
            spec: with(&|spec| spec["steps"][0]["soak"] = json!("10s")),
            pods: json!({}),
            outcome: "Succeeded",
        },
        Cut {
            phase: "Held",
            spec: with(&|spec| spec["steps"][1]["approval"] = approval.clone()),
            pods: json!({}),
            outcome: "Succeeded",
        },
        Cut { phase: "Undoing", spec: quick(), pods: crash.clone(), outcome: "Undone" },
        Cut {
            phase: "Watching",
            spec: with(&|spec| spec["watch"] = json!([{"for": "10s", "every": "1s"}])),
            pods: json!({}),
            outcome: "Succeeded",
        },
        Cut { phase: "Rejected", spec: quick(), pods: crash, outcome: "Undone" },
    ]
}

#[test]
fn killed_in_any_phase_the_next_operator_comes_to_the_same_end() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let cuts = cuts();
        let begun = futures::future::join_all(cuts.iter().map(|cut| begin(&stage, cut))).await;
        // Those whose phase lasts wait for those whose phase is short.
        let (lasting, short): (Vec<_>, Vec<_>) = cuts
            .iter()
            .zip(&begun)
            .partition(|(cut, _)| matches!(cut.phase, "Preflight" | "Held" | "Rejected"));
        for (cut, (story, _)) in &lasting {
            ship(story, cut).await;
        }
        for (cut, (story, _)) in &lasting {
            story.until_phase(cut.phase).await;
        }
        let all = short.iter().map(|(cut, (story, _))| async move {
            ship(story, cut).await;
            story.until_phase(cut.phase).await;
        });
        futures::future::join_all(all).await;
        stage.kill_operator().await.expect("killed");
        stage.start_operator().await.expect("an operator");
        let all = cuts.iter().zip(&begun).map(|(cut, (story, before))| async move {
            if matches!(cut.phase, "Preflight" | "Held") {
                story
                    .say(
                        "admin",
                        json!({"action": "Approve", "role": "tech-lead", "reason": "tests are green"}),
                    )
                    .await
                    .expect("said");
            }
            let ended = story.until_ended(1).await;
            assert_eq!(ended["outcome"], cut.outcome, "{}: {}", cut.phase, story.describe().await);
            story.until_phase(if cut.outcome == "Undone" { "Rejected" } else { "Idle" }).await;
            let version = if cut.outcome == "Undone" { "v1" } else { "v2" };
            story
                .until(&format!("{}: the owner's fields, with {version}", cut.phase), |story| async move {
                    let mut spec = story.target().await["spec"].clone();
                    let at = spec["template"]["metadata"]["annotations"]["version"] == version;
                    spec["template"] = before["template"].clone();
                    at && spec == *before
                })
                .await;
        });
        futures::future::join_all(all).await;
    });
}

async fn begin<'s>(stage: &'s Stage, cut: &Cut) -> (Story<'s>, Value) {
    let story = Story::begin(stage, &format!("cut-{}", cut.phase.to_lowercase())).await;
    let mut deployment = story.deployment(4);
    if cut.phase == "Undoing" {
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] =
            json!("4s");
        deployment["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 1});
    }
    story.adopt(deployment, story.release(cut.spec.clone())).await;
    let before = story.target().await["spec"].clone();
    (story, before)
}

async fn ship(story: &Story<'_>, cut: &Cut) {
    story.ship_paper("v2", cut.pods.clone()).await;
}

#[test]
fn time_without_an_operator_is_not_soaked() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "unattended").await;
        let mut spec = quick();
        spec["steps"][0]["soak"] = json!("12s");
        story.adopt(story.deployment(4), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Soaking").await;
        stage.kill_operator().await.expect("killed");
        let soaks = |story: Value| story["phase"] == "Soaking" && story["step"]["name"] == "tenth";
        story
            .stays(Duration::from_secs(13), "soaking", |story| async move { soaks(story.status().await) })
            .await;
        stage.start_operator().await.expect("an operator");
        story
            .stays(Duration::from_secs(6), "soaking", |story| async move { soaks(story.status().await) })
            .await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_restart_at_rest_writes_nothing() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let plain = async {
            let story = Story::begin(&stage, "rest").await;
            story.adopt(story.deployment(3), story.release(quick())).await;
            story
        };
        let out = async {
            let story = Story::begin(&stage, "rest-out").await;
            story.adopt(story.deployment(3), story.release(quick())).await;
            story.ship_paper("v2", json!({})).await;
            story.until_ended(1).await;
            story.until_phase("Idle").await;
            story
        };
        let rejected = async {
            let story = Story::begin(&stage, "rest-rejected").await;
            story.adopt(story.deployment(3), story.release(quick())).await;
            story.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
            story.until_phase("Rejected").await;
            story
        };
        let (plain, out, rejected) = futures::join!(plain, out, rejected);
        let stories = [&plain, &out, &rejected];
        let relay = Relay::start(&stage.cluster).await.expect("a relay");
        for story in stories {
            settled(story).await;
        }
        stage.kill_operator().await.expect("killed");
        let before = futures::future::join_all(stories.map(versions)).await;
        let operator = Operator::start_through(&relay.kubeconfig, |_| {}).await.expect("an operator");
        *stage.operator.lock().await = Some(operator);
        plain
            .stays(Duration::from_secs(5), "nothing is written", |_| async {
                relay.writes().await.is_empty()
            })
            .await;
        assert!(until_it_says(&stage, "leading").await, "it leads");
        assert_eq!(relay.writes().await, Vec::<String>::new());
        assert_eq!(futures::future::join_all(stories.map(versions)).await, before);
        let operator = stage.operator.lock().await;
        let (_, page) = operator.as_ref().expect("it runs").ask("metrics").await.expect("its metrics");
        for counted in [r#"tidegate_releases{phase="Idle"} 2"#, r#"tidegate_releases{phase="Rejected"} 1"#] {
            assert!(page.lines().any(|line| line == counted), "{counted}, though it only looked:\n{page}");
        }
    });
}

/// Waits until status has caught up with the last pods that went.
async fn settled(story: &Story<'_>) {
    story
        .until("three pods, and status says so", |story| async move {
            let replicas = story.status().await["replicas"].take();
            story.pods().await.len() == 3
                && replicas["stable"]["ready"] == 3
                && replicas["canary"]["pods"] == 0
        })
        .await;
}

async fn versions(story: &Story<'_>) -> Value {
    let (target, release) =
        (story.target().await, story.get("tidegate.dev/v1alpha1", "Release", "shop").await);
    json!([
        target["metadata"]["generation"],
        release["metadata"]["resourceVersion"],
        release["status"]["revision"]
    ])
}

async fn until_it_says(stage: &Stage, what: &str) -> bool {
    stage.operator.lock().await.as_ref().is_some_and(|operator| operator.read_log().contains(what))
}

#[test]
fn a_run_is_told_in_a_few_lines_of_json_and_in_events_and_its_endpoints_answer() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::without_operator(usual()).await.expect("a stage");
        let operator = Operator::start_with(&stage.cluster, |command| {
            command.env("TIDEGATE_LOG_FORMAT", "json");
        })
        .await
        .expect("an operator");
        let address = operator.address.clone();
        *stage.operator.lock().await = Some(operator);
        let story = Story::begin(&stage, "told").await;
        story.adopt(story.deployment(10), story.release(quick())).await;
        story.ship_paper("v2", json!({})).await;
        story.until_ended(1).await;
        story.until_phase("Idle").await;
        // What is said of the adoption may come after status shows it.
        let lines = about(&story).await;
        let begins = lines.iter().position(|line| line["why"] == "hold the new template");
        let run = &lines[begins.expect("its first order")..];
        assert!(
            run.len() <= 25,
            "{} lines:\n{}",
            run.len(),
            run.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
        );
        assert!(run.iter().all(|line| line["level"] == "INFO"), "{run:?}");
        story
            .until("events of all transitions", |story| async move {
                let events = story.list("events.k8s.io/v1", "Event").await;
                ["Adopted", "RunStarted", "StepPassed", "AllPods", "Succeeded"].iter().all(|reason| {
                    events
                        .iter()
                        .any(|event| event["reason"] == *reason && event["regarding"]["kind"] == "Release")
                })
            })
            .await;
        for (path, wanted) in [("healthz", "ok"), ("readyz", "ok"), ("metrics", "tidegate_")] {
            let answer = reqwest::get(format!("http://{address}/{path}")).await.expect("an answer");
            assert!(answer.status().is_success(), "{path}");
            let text = answer.text().await.expect("text");
            assert!(text.contains(wanted), "{path}: {text}");
        }
    });
}

/// Log lines about a story. Each line of the log is JSON.
async fn about(story: &Story<'_>) -> Vec<Value> {
    let log = story.stage.operator.lock().await.as_ref().map(Operator::read_log).unwrap_or_default();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines
        .filter(|line| line["release"].as_str().is_some_and(|release| release.starts_with(&story.namespace)))
        .collect()
}
