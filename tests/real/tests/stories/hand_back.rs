//! The table of `docs/hand-back.md`: where a Release stands, what happens, and what becomes of the Deployment and its pods. The table
//! stands here; the page is compared with it (`UPDATE=1` writes it), and each of its cells is played.

use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_real::cluster::repository;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{PATIENCE, Story};

use crate::given::{paste, say};

pub const RELEASE: &str = "tidegate.dev/v1alpha1";

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Somebody says `hand-back`.
    HandBack,
    DeletedUndo,
    DeletedFinish,
    /// By the commands of the manual, in their order.
    Uninstalled,
    /// The operator never comes back, and somebody runs the line of the manual.
    NeverBack,
    NamespaceDeleted,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Every pod is stable, the owner's fields are back.
    Stable,
    /// The owner's fields are back around the new template: the native controller finishes it.
    New,
    Gone,
}

use End::{Gone, New, Stable};

const EVENTS: [(Event, &str); 6] = [
    (Event::HandBack, "`hand-back`"),
    (Event::DeletedUndo, "Release deleted, `onDelete: Undo`"),
    (Event::DeletedFinish, "Release deleted, `onDelete: Finish`"),
    (Event::Uninstalled, "uninstalled as below"),
    (Event::NeverBack, "the operator never comes back, and one of the lines below"),
    (Event::NamespaceDeleted, "namespace deleted"),
];

const TABLE: [(Moment, &str, [End; 6]); 9] = [
    (Moment::Idle, "`Idle`", [Stable, Stable, Stable, Stable, Stable, Gone]),
    (Moment::Preflight, "`Preflight`", [New, Stable, New, Stable, New, Gone]),
    (Moment::Moving, "`Moving`", [New, Stable, New, Stable, New, Gone]),
    (Moment::Soaking, "`Soaking`", [New, Stable, New, Stable, New, Gone]),
    (Moment::Held, "`Held`", [New, Stable, New, Stable, New, Gone]),
    (Moment::Undoing, "`Undoing`", [Stable, Stable, Stable, Stable, Stable, Gone]),
    (Moment::Watching, "`Watching`", [New, New, New, New, New, Gone]),
    (Moment::Rejected, "`Rejected`", [Stable, Stable, Stable, Stable, Stable, Gone]),
    (Moment::RejectedAndHeld, "`Rejected`, and applied again", [New, Stable, New, Stable, New, Gone]),
];

fn page() -> PathBuf {
    repository().join("docs/hand-back.md")
}

/// The table as the page has it.
fn rendered() -> String {
    let head: Vec<&str> = EVENTS.iter().map(|(_, words)| *words).collect();
    let mut lines = vec![format!("| phase | {} |", head.join(" | ")), "|---".repeat(EVENTS.len() + 1) + "|"];
    for (_, phase, ends) in &TABLE {
        let ends: Vec<&str> = ends
            .iter()
            .map(|end| match end {
                Stable => "stable",
                New => "new",
                Gone => "gone",
            })
            .collect();
        lines.push(format!("| {phase} | {} |", ends.join(" | ")));
    }
    lines.join("\n")
}

#[test]
fn the_page_has_the_table_that_is_played() {
    let text = std::fs::read_to_string(page()).expect("the manual");
    let begin = text.find("| phase | `hand-back`").expect("the table");
    let end = begin + text[begin..].find("\n\n").expect("the end of the table");
    if std::env::var_os("UPDATE").is_some() {
        let written = format!("{}{}{}", &text[..begin], rendered(), &text[end..]);
        std::fs::write(page(), written).expect("written");
    } else {
        assert_eq!(&text[begin..end], rendered(), "UPDATE=1 writes it");
    }
}

/// The row of the table for an event, played on a stage: all moments side by side.
async fn play(stage: &Stage, event: Event) {
    let column = EVENTS.iter().position(|(known, _)| *known == event).expect("a column");
    let all = TABLE.iter().map(|(moment, _, ends)| async move {
        let on_delete = if event == Event::DeletedFinish { "Finish" } else { "Undo" };
        let (story, before) = come_to(stage, *moment, on_delete).await;
        let guard = story.guard().await;
        match event {
            Event::HandBack => say(&story, "HandBack").await,
            Event::DeletedUndo | Event::DeletedFinish => story.delete(RELEASE, "Release", "shop").await,
            Event::NamespaceDeleted => delete_namespace(&story).await,
            Event::Uninstalled | Event::NeverBack => unreachable!("happens to the whole stage"),
        }
        comes_to(&story, &before, *moment, ends[column], event).await;
        if event == Event::DeletedUndo {
            let worst = guard.worst();
            assert!(worst.least_ready >= 2, "{moment:?} {worst:?}\n{}", story.describe().await);
        }
    });
    futures::future::join_all(all).await;
}

async fn comes_to(story: &Story<'_>, before: &Value, moment: Moment, end: End, event: Event) {
    let version = match end {
        Gone => return,
        Stable => "v1",
        New => "v2",
    };
    match event {
        // The Release is still there, or nobody who would forget what was kept for it.
        Event::HandBack | Event::NeverBack => is_given_back(story, before, version).await,
        Event::DeletedUndo | Event::DeletedFinish | Event::Uninstalled | Event::NamespaceDeleted => {
            is_left_alone(story, before, version).await;
        }
    }
    match end {
        Gone => {}
        Stable => until_all_run(story, "v1").await,
        New => {
            if matches!(moment, Moment::Moving | Moment::RejectedAndHeld) {
                // Pods of version 2 are never Ready: the native controller stops there, and goes on with the next version.
                let well = json!({"paper.tidegate.dev/never-ready": null, "paper.tidegate.dev/crash": null});
                story.ship_paper("v3", well).await;
                until_all_run(story, "v3").await;
            } else {
                until_all_run(story, "v2").await;
            }
        }
    }
}

#[test]
fn handed_back_in_any_phase() {
    tidegate_real::story::on_stage(async { play(Stage::shared().await, Event::HandBack).await });
}

#[test]
fn deleted_in_any_phase() {
    tidegate_real::story::on_stage(async { play(Stage::shared().await, Event::DeletedUndo).await });
}

#[test]
fn deleted_in_any_phase_with_finish() {
    tidegate_real::story::on_stage(async { play(Stage::shared().await, Event::DeletedFinish).await });
}

#[test]
fn a_namespace_deleted_in_any_phase_goes() {
    tidegate_real::story::on_stage(async { play(Stage::shared().await, Event::NamespaceDeleted).await });
}

#[test]
fn with_no_operator_any_more_by_hand_and_uninstalled_in_mid_run() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        if !stage.cluster.is_ours() {
            return;
        }
        let abandoned = come_to_all(&stage).await;
        stage.kill_operator().await.expect("killed");
        let column = |event| EVENTS.iter().position(|(known, _)| *known == event).expect("a column");
        let by_hand = abandoned.iter().zip(&TABLE).map(|((story, before), (moment, _, ends))| async move {
            story.delete(RELEASE, "Release", "shop").await;
            hand_back_by_hand(story).await;
            comes_to(story, before, *moment, ends[column(Event::NeverBack)], Event::NeverBack).await;
        });
        futures::future::join_all(by_hand).await;

        stage.start_operator().await.expect("an operator");
        let uninstalled = come_to_all(&stage).await;
        let [first, second] =
            ["kubectl delete releases -A", "kubectl get deployments -A -l tidegate.dev/release"]
                .map(|words| line(|line| line.trim_start().starts_with(words)));
        let (story, _) = &uninstalled[0];
        paste(story, &first, &[]).await;
        let none = format!("test -z \"$({second} -o name)\"");
        let labelled = format!("for i in $(seq 600); do {none} && exit 0; sleep 0.1; done; exit 1");
        paste(story, &labelled, &[]).await;
        let last = line(|line| line.contains("kubectl delete -f install.yaml"));
        assert!(last.contains("`kubectl delete -f install.yaml`"), "{last}");
        stage.kill_operator().await.expect("removed");
        let install = repository().join("install.yaml");
        paste(story, &format!("kubectl delete --wait=false -f {}", install.display()), &[]).await;
        let all = uninstalled.iter().zip(&TABLE).map(|((story, before), (moment, _, ends))| async move {
            comes_to(story, before, *moment, ends[column(Event::Uninstalled)], Event::Uninstalled).await;
        });
        futures::future::join_all(all).await;
    });
}

/// A Deployment in each phase. The shortest of them is come to last.
async fn come_to_all(stage: &Stage) -> Vec<(Story<'_>, Value)> {
    let lasts = |moment: Moment| moment != Moment::Undoing;
    let lasting = TABLE.iter().filter(|(moment, ..)| lasts(*moment));
    let lasting = lasting.map(|(moment, ..)| come_to(stage, *moment, "Undo"));
    let mut all = futures::future::join_all(lasting).await;
    let place = TABLE.iter().position(|(moment, ..)| !lasts(*moment)).expect("a row");
    all.insert(place, come_to(stage, Moment::Undoing, "Undo").await);
    all
}

pub async fn delete_namespace(story: &Story<'_>) {
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(story.client.clone());
    namespaces.delete(&story.namespace, &kube::api::DeleteParams::default()).await.expect("deleted");
    story
        // The namespace controller takes its time with nine of them on a busy machine.
        .until_within(3 * PATIENCE, "the namespace is gone", |story| {
            let namespaces = namespaces.clone();
            async move { namespaces.get_opt(&story.namespace).await.is_ok_and(|found| found.is_none()) }
        })
        .await;
}

/// A line of the manual.
fn line(is_it: impl Fn(&str) -> bool) -> String {
    let manual = std::fs::read_to_string(page()).expect("the manual");
    manual.lines().find(|line| is_it(line)).expect("the line").to_owned()
}

/// Runs the line that the manual gives for a Deployment like this, as it stands there.
async fn hand_back_by_hand(story: &Story<'_>) {
    let originals = &story.target().await["metadata"]["annotations"]["tidegate.dev/originals"];
    let wanted = if originals.is_string() { "originals}" } else { "{\"paused\":null}" };
    let line = line(|line| line.starts_with("kubectl patch deploy $D") && line.contains(wanted));
    paste(story, &line, &[("D", "shop"), ("NS", &story.namespace)]).await;
}

/// Where a Release stands when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Idle,
    Preflight,
    Moving,
    Soaking,
    Held,
    Undoing,
    Watching,
    Rejected,
    RejectedAndHeld,
}

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
            Self::Idle
            | Self::Moving
            | Self::Undoing
            | Self::Watching
            | Self::Rejected
            | Self::RejectedAndHeld => {}
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
            Self::Idle | Self::Preflight | Self::Soaking | Self::Held | Self::Watching => json!({}),
        }
    }

    pub fn phase(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
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
pub async fn come_to<'s>(stage: &'s Stage, moment: Moment, on_delete: &str) -> (Story<'s>, Value) {
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
    if moment == Moment::Idle {
        return (story, before);
    }
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

/// Waits until nothing of ours is left: no template either.
pub async fn is_left_alone(story: &Story<'_>, before: &Value, version: &str) {
    is_given_back(story, before, version).await;
    story
        .until("no template is kept", |story| async move {
            story.list("apps/v1", "ControllerRevision").await.is_empty()
        })
        .await;
}

/// Waits until nothing of ours is on the Deployment, and the owner's fields are back around this version.
async fn is_given_back(story: &Story<'_>, before: &Value, version: &str) {
    story
        .until(&format!("the owner's fields, with {version}"), |story| async move {
            let target = story.target().await;
            let mut spec = target["spec"].clone();
            let at = spec["template"]["metadata"]["annotations"]["version"] == version;
            spec["template"] = before["template"].clone();
            let ours = |map: &Value| {
                // Who has changed the template stays true.
                let ours =
                    |name: &String| name.starts_with("tidegate.dev/") && name != "tidegate.dev/changed-by";
                map.as_object().is_some_and(|map| map.keys().any(ours))
            };
            at && spec == *before
                && !ours(&target["metadata"]["labels"])
                && !ours(&target["metadata"]["annotations"])
        })
        .await;
}

pub async fn until_all_run(story: &Story<'_>, version: &str) {
    story
        .until(&format!("four pods of {version}"), |story| async move {
            let pods = story.pods().await;
            pods.len() == 4 && pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == version)
        })
        .await;
}
