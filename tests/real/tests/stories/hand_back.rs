//! The table of `docs/hand-back.md`: where a Release stands, what happens, and what becomes of the Deployment and its pods. The table
//! stands here; the page is compared with it (`UPDATE=1` writes it), and each of its cells is played.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tidegate_real::cluster::repository;
use tidegate_real::guard::Guard;
use tidegate_real::stage::{self, Stage, usual};
use tidegate_real::story::{PATIENCE, Story, on_stage};

use crate::deletion::{Guarded, guard};
use crate::given::{may_patch, paste, pods_of, say, version};

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

/// A Deployment at some moment, what its spec was before the run, and its pods watched from that moment on.
struct Standing<'s> {
    moment: Moment,
    story: Story<'s>,
    before: Value,
    guard: Guard,
}

impl<'s> Standing<'s> {
    async fn come_to(stage: &'s Stage, moment: Moment, capture: &str, on_delete: &str) -> Self {
        let (story, before) = come_to(stage, moment, capture, on_delete).await;
        let guard = story.guard().await;
        Self { moment, story, before, guard }
    }

    /// Waits until it has come to what the table says of this event, with no fewer pods Ready on the way than its owner allows.
    async fn comes_to(&self, event: Event) {
        let Self { moment, story, before, guard } = self;
        let (.., ends) = TABLE.iter().find(|(known, ..)| known == moment).expect("a row");
        let column = EVENTS.iter().position(|(known, _)| *known == event).expect("a column");
        let version = match ends[column] {
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
        if version == "v2" && matches!(moment, Moment::Moving | Moment::RejectedAndHeld) {
            // Pods of version 2 are never Ready: the native controller stops there, and goes on with the next version.
            let well = json!({"paper.tidegate.dev/never-ready": null, "paper.tidegate.dev/crash": null});
            story.ship_paper("v3", well).await;
            until_all_run(story, "v3").await;
        } else {
            until_all_run(story, version).await;
        }
        let worst = guard.worst();
        assert!(worst.least_ready >= 3, "{moment:?} {event:?}: {worst:?}\n{}", story.describe().await);
    }
}

/// The column of the table for an event, played on a stage: all moments side by side.
async fn play(stage: &Stage, event: Event, capture: &str) {
    // Where the operator reacts, pods of a rejected template may have started before it is seen: it is gone back from, and not held.
    let is_come_to = |moment: Moment| capture != "React" || moment != Moment::RejectedAndHeld;
    let moments = TABLE.iter().map(|(moment, ..)| *moment).filter(|moment| is_come_to(*moment));
    let all = moments.map(|moment| async move {
        let on_delete = if event == Event::DeletedFinish { "Finish" } else { "Undo" };
        let standing = Standing::come_to(stage, moment, capture, on_delete).await;
        let story = &standing.story;
        match event {
            Event::HandBack => say(story, "HandBack").await,
            Event::DeletedUndo | Event::DeletedFinish => story.delete(RELEASE, "Release", "shop").await,
            Event::NamespaceDeleted => delete_namespace(story).await,
            Event::Uninstalled | Event::NeverBack => unreachable!("happens to the whole stage"),
        }
        standing.comes_to(event).await;
    });
    join_all(all).await;
}

#[test]
fn handed_back_in_any_phase() {
    on_stage(async { play(Stage::shared().await, Event::HandBack, "Policy").await });
}

#[test]
fn deleted_in_any_phase() {
    on_stage(async { play(Stage::shared().await, Event::DeletedUndo, "Policy").await });
}

#[test]
fn deleted_in_any_phase_with_finish() {
    on_stage(async { play(Stage::shared().await, Event::DeletedFinish, "Policy").await });
}

#[test]
fn a_namespace_deleted_in_any_phase_goes() {
    on_stage(async { play(Stage::shared().await, Event::NamespaceDeleted, "Policy").await });
}

/// Where the policies are served they hold a new template, whatever the Release's mode: so this is an API server that does not know them.
async fn play_without_policies(capture: &str) {
    let stage = Stage::shared_older().await;
    for event in [Event::HandBack, Event::DeletedUndo] {
        play(stage, event, capture).await;
    }
}

#[test]
fn kept_paused_it_is_given_back_in_any_phase_all_the_same() {
    on_stage(play_without_policies("Paused"));
}

#[test]
fn where_the_operator_reacts_it_is_given_back_in_any_phase_all_the_same() {
    on_stage(play_without_policies("React"));
}

/// How it stands: whether it is paused, whether the owner's fields are in the annotation, its pods of v1 and of v2, and how many of all are
/// Ready and how many available.
type Stand = (bool, bool, [usize; 2], [i64; 2]);

async fn stand(story: &Story<'_>) -> Stand {
    let target = story.target().await;
    let count = |name: &str| target["status"][name].as_i64().unwrap_or(0);
    (
        target["spec"]["paused"] == true,
        target["metadata"]["annotations"]["tidegate.dev/originals"].is_string(),
        [pods_of(story, "v1").await, pods_of(story, "v2").await],
        [count("readyReplicas"), count("availableReplicas")],
    )
}

/// Waits until it stands so, with no operator and nobody who acts, and sees to it that it stays.
async fn comes_to_stand(story: &Story<'_>, wanted: Stand) {
    let what = format!("{wanted:?}, with nobody there");
    story.until(&what, |story| async move { stand(story).await == wanted }).await;
    let so_long = Duration::from_secs(2);
    story.stays(so_long, &what, |story| async move { stand(story).await == wanted }).await;
}

#[test]
fn with_no_operator_any_more_it_stands_until_somebody_gives_it_back_by_hand_with_the_policies_or_without() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let come_to = |moment| Standing::come_to(&stage, moment, "Policy", "Undo");
        let moving = async {
            let story = Story::begin(&stage, "moving-slowly").await;
            story.adopt(story.deployment(4), story.release(Moment::Moving.spec())).await;
            story
        };
        let (idle, bare, moving, abandoned) = futures::join!(
            come_to(Moment::Idle),
            join_all([Moment::Preflight, Moment::Soaking].map(come_to)),
            moving,
            come_to_all(&stage),
        );
        moving.ship_paper("v2", json!({"paper.tidegate.dev/ready-after": "5s"})).await;
        moving.until("on its way", |story| async move { pods_of(story, "v2").await > 0 }).await;
        stage.kill_operator().await.expect("killed");

        idle.story.ship_paper("v2", json!({})).await;
        futures::join!(
            // A new template is held, and nothing starts.
            comes_to_stand(&idle.story, (true, false, [4, 0], [4, 4])),
            // The pods of the move become Ready: there it stops.
            comes_to_stand(&moving, (false, true, [3, 2], [5, 3])),
            join_all(abandoned.iter().map(|one| comes_to_stand(&one.story, one.moment.abandoned()))),
        );

        let by_hand = abandoned.iter().enumerate().map(|(number, one)| async move {
            one.story.delete(RELEASE, "Release", "shop").await;
            match number % 2 {
                0 => hand_back_by_hand(&one.story).await,
                _ => hand_back_without_operator(&one.story).await,
            }
            one.comes_to(Event::NeverBack).await;
        });
        let held = async {
            hand_back_by_hand(&idle.story).await;
            is_given_back(&idle.story, &idle.before, "v2").await;
            until_all_run(&idle.story, "v2").await;
        };
        futures::join!(join_all(by_hand), held);

        helm_uninstall(&stage).await;
        for one in &bare {
            may_patch(&one.story, "carol").await;
            hand_back_by_hand_as_carol(&one.story).await;
        }
        let crds = line(|line| line.trim_start().starts_with("kubectl delete crd "));
        paste(&idle.story, &crds, &[]).await;
        paste(&idle.story, "! kubectl get crd -o name | grep tidegate.dev", &[]).await;
        join_all(bare.iter().map(|one| one.comes_to(Event::NeverBack))).await;
    });
}

#[test]
fn uninstalled_in_mid_run() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let uninstalled = come_to_all(&stage).await;
        uninstall(&stage, &uninstalled, &["kubectl delete releases -A"]).await;
    });
}

#[test]
fn uninstalled_in_mid_run_where_releases_are_guarded() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let come_to = |moment| Standing::come_to(&stage, moment, "Policy", "Undo");
        let uninstalled = join_all([Moment::Soaking, Moment::Watching, Moment::Idle].map(come_to)).await;
        guard(&uninstalled[0].story, Guarded::Everywhere).await;
        let commands = ["kubectl annotate releases -A", "kubectl delete releases -A"];
        uninstall(&stage, &uninstalled, &commands).await;
    });
}

/// By the commands of the manual, of which the first ones begin so, in their order.
async fn uninstall(stage: &Stage, uninstalled: &[Standing<'_>], first: &[&str]) {
    let story = &uninstalled[0].story;
    let command = |words: &str| line(|line| line.trim_start().starts_with(words));
    for words in first {
        paste(story, &command(words), &[]).await;
    }
    let none =
        format!("test -z \"$({} -o name)\"", command("kubectl get deployments -A -l tidegate.dev/release"));
    let labelled = format!("for i in $(seq 600); do {none} && exit 0; sleep 0.1; done; exit 1");
    paste(story, &labelled, &[]).await;
    let last = line(|line| line.contains("kubectl delete -f install.yaml"));
    assert!(last.contains("`kubectl delete -f install.yaml`"), "{last}");
    stage.kill_operator().await.expect("removed");
    let install = repository().join("install.yaml");
    paste(story, &format!("kubectl delete --wait=false -f {}", install.display()), &[]).await;
    join_all(uninstalled.iter().map(|one| one.comes_to(Event::Uninstalled))).await;
}

/// A Deployment in each phase. The shortest of them is come to last.
async fn come_to_all(stage: &Stage) -> Vec<Standing<'_>> {
    let come_to = |moment| Standing::come_to(stage, moment, "Policy", "Undo");
    let moments = TABLE.iter().map(|(moment, ..)| *moment);
    let mut all = join_all(moments.filter(|moment| *moment != Moment::Undoing).map(come_to)).await;
    all.push(come_to(Moment::Undoing).await);
    all
}

/// Takes away what `helm uninstall` does: all that was installed but the CRDs, which Helm keeps, and the namespace.
async fn helm_uninstall(stage: &Stage) {
    let install = std::fs::read_to_string(repository().join("install.yaml")).expect("a manifest");
    for document in stage::documents(&install).expect("documents") {
        let kind = document["kind"].as_str().unwrap_or_default();
        if matches!(kind, "" | "CustomResourceDefinition" | "Namespace") {
            continue;
        }
        let name = document["metadata"]["name"].as_str().expect("a name");
        let api = stage::api_of(&stage.client, &document).expect("a kind");
        api.delete(name, &DeleteParams::background()).await.expect("deleted");
    }
}

pub async fn delete_namespace(story: &Story<'_>) {
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(story.client.clone());
    namespaces.delete(&story.namespace, &DeleteParams::default()).await.expect("deleted");
    story
        // The namespace controller takes its time with nine of them on a busy machine.
        .until_within(3 * PATIENCE, "the namespace is gone", |story| {
            let namespaces = namespaces.clone();
            async move { namespaces.get_opt(&story.namespace).await.is_ok_and(|found| found.is_none()) }
        })
        .await;
}

/// A line of the manual.
pub fn line(is_it: impl Fn(&str) -> bool) -> String {
    let manual = std::fs::read_to_string(page()).expect("the manual");
    manual.lines().find(|line| is_it(line)).expect("the line").to_owned()
}

/// The line that the manual gives for a Deployment like this, as it stands there.
async fn line_by_hand(story: &Story<'_>) -> String {
    let originals = &story.target().await["metadata"]["annotations"]["tidegate.dev/originals"];
    let wanted = if originals.is_string() { "originals}" } else { "{\"paused\":null}" };
    line(|line| line.starts_with("kubectl patch deploy $D") && line.contains(wanted))
}

async fn hand_back_by_hand(story: &Story<'_>) {
    paste(story, &line_by_hand(story).await, &[("D", "shop"), ("NS", &story.namespace)]).await;
}

/// The same with the plugin, as the manual has it.
async fn hand_back_without_operator(story: &Story<'_>) {
    let said = line(|line| line.contains("`kubectl tidegate hand-back checkout -n shop --without-operator`"));
    let line = said.split('`').find(|words| words.starts_with("kubectl tidegate")).expect("a command line");
    paste(story, &of_this_story(story, line), &[]).await;
}

/// A line of the manual, where Releases are called `checkout` and are in `shop`.
pub fn of_this_story(story: &Story<'_>, line: &str) -> String {
    line.replace("checkout -n shop", &format!("shop -n {}", story.namespace))
}

/// The same as somebody who has no verb but on the Deployment. The API server may not have noticed yet that the policies are gone.
async fn hand_back_by_hand_as_carol(story: &Story<'_>) {
    let line = line_by_hand(story).await.replace("kubectl ", "kubectl --as carol ");
    let again = format!("for i in $(seq 100); do {line} && exit 0; sleep 0.1; done; exit 1");
    paste(story, &again, &[("D", "shop"), ("NS", &story.namespace)]).await;
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

    /// How it comes to stand, and stays, where the operator is killed at this moment and nobody acts.
    fn abandoned(self) -> Stand {
        match self {
            Self::Idle | Self::Rejected => (false, false, [4, 0], [4, 4]),
            Self::Preflight | Self::RejectedAndHeld => (true, true, [4, 0], [4, 4]),
            Self::Moving => (false, true, [3, 2], [3, 3]),
            Self::Soaking | Self::Held => (true, true, [2, 2], [4, 2]),
            Self::Undoing => (false, true, [4, 0], [4, 4]),
            Self::Watching => (false, false, [0, 4], [4, 4]),
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

/// A story that has come to this moment, and the Deployment's spec before the run, as its owner wrote it.
pub async fn come_to<'s>(
    stage: &'s Stage,
    moment: Moment,
    capture: &str,
    on_delete: &str,
) -> (Story<'s>, Value) {
    let story = Story::begin(stage, &format!("{moment:?}-{on_delete}").to_lowercase()).await;
    let mut spec = moment.spec();
    spec["onDelete"] = json!(on_delete);
    spec["capture"] = json!(capture);
    let mut deployment = story.deployment(4);
    if moment == Moment::Undoing {
        // Pods of the old version take their time to come back.
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] =
            json!("4s");
    }
    story.adopt(deployment, story.release(spec)).await;
    assert_eq!(story.status().await["capture"]["mode"], capture, "{}", story.describe().await);
    until_at_rest(&story, capture).await;
    let mut before = story.target().await["spec"].clone();
    // Kept paused it is by the operator.
    before.as_object_mut().expect("a Deployment").remove("paused");
    if moment == Moment::Idle {
        return (story, before);
    }
    story.ship_paper("v2", moment.pods()).await;
    story.until_phase(moment.phase()).await;
    match moment {
        Moment::Preflight => until_held_without_a_pod(&story).await,
        Moment::Held => story.until_blocked("AwaitingApproval").await,
        Moment::Undoing => {
            // It is noted before it is ordered. Where the operator reacts it may have gone back before, to begin anew.
            story
                .until("gone back from for good", |story| async move {
                    story.status().await["run"]["back"]["cause"] == "PodsFailing"
                        && version(story).await == "v1"
                })
                .await;
        }
        Moment::RejectedAndHeld => {
            until_at_rest(&story, capture).await;
            story.ship_paper("v2", moment.pods()).await;
            story
                .until("held", |story| async move {
                    let target = story.target().await;
                    target["spec"]["paused"] == true
                        && target["metadata"]["annotations"]["tidegate.dev/stable"].is_string()
                })
                .await;
            story.until_phase("Rejected").await;
        }
        Moment::Idle | Moment::Moving | Moment::Soaking | Moment::Watching | Moment::Rejected => {}
    }
    (story, before)
}

/// Waits until no run has the Deployment's fields, and it is paused where it is kept so.
async fn until_at_rest(story: &Story<'_>, capture: &str) {
    story
        .until("at rest", |story| async move {
            let target = story.target().await;
            target["metadata"]["annotations"]["tidegate.dev/stable"].is_null()
                && (capture != "Paused" || target["spec"]["paused"] == true)
        })
        .await;
}

/// Waits until somebody is waited for, and no pod of version 2 is there or on its way: those that had started before it was held are gone.
async fn until_held_without_a_pod(story: &Story<'_>) {
    story
        .until("held without a pod", |story| async move {
            let (status, target) = (story.status().await, story.target().await);
            let sets = story.list("apps/v1", "ReplicaSet").await;
            let is_stable =
                |set: &Value| set["spec"]["template"]["metadata"]["annotations"]["version"] == "v1";
            status["blockedBy"]["reason"] == "AwaitingApproval"
                && target["spec"]["paused"] == true
                && target["status"]["observedGeneration"] == target["metadata"]["generation"]
                && sets.iter().all(|set| is_stable(set) || set["spec"]["replicas"] == 0)
        })
        .await;
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
