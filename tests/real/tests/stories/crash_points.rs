//! The operator is killed right after a write took effect, before it knows. Whatever the write was, the end is the same.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use serde_json::{Value, json};
use tidegate_real::guard::Guard;
use tidegate_real::operator::Operator;
use tidegate_real::relay::Relay;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::Story;

/// Every run ends within so many lives of an operator.
const MOST_LIVES: usize = 400;
/// ... and within this time.
const PATIENCE: Duration = Duration::from_secs(240);

fn quick() -> Value {
    json!({
        "steps": [{"name": "one", "replicas": 1}, {"name": "half", "replicas": "50%", "soak": "1s"}, {"name": "all", "replicas": "100%"}],
        "criteria": [],
        "watch": [{"for": "1s", "every": "1s"}],
    })
}

/// A run in a namespace of its own, what happens in it, and how it ends.
struct Plot<'s> {
    story: Story<'s>,
    before: Value,
    guard: Guard,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Crashing,
    Superseded,
    Aborted,
    Deleted,
}

const ALL: [Kind; 5] = [Kind::Good, Kind::Crashing, Kind::Superseded, Kind::Aborted, Kind::Deleted];

impl<'s> Plot<'s> {
    async fn begin(stage: &'s Stage, kind: Kind) -> Plot<'s> {
        let story = Story::begin(stage, &format!("{kind:?}").to_lowercase()).await;
        let mut deployment = story.deployment(4);
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] =
            json!("100ms");
        story.adopt(deployment, story.release(quick())).await;
        story
            .until("pods Ready", |story| async move { story.target().await["status"]["readyReplicas"] == 4 })
            .await;
        let before = story.target().await["spec"].clone();
        let guard = story.guard().await;
        Plot { story, before, guard, kind }
    }

    /// What its owner does while operators come and go, until it has come to its end.
    async fn play(&self) {
        let story = &self.story;
        let stuck = json!({"paper.tidegate.dev/never-ready": "true"});
        match self.kind {
            Kind::Good => story.ship_paper("v2", json!({})).await,
            Kind::Crashing => story.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await,
            Kind::Superseded => {
                story.ship_paper("v2", stuck).await;
                self.until("moving", |status, _| status["phase"] == "Moving").await;
                story.ship_paper("v3", json!({"paper.tidegate.dev/never-ready": null})).await;
            }
            Kind::Aborted => {
                story.ship_paper("v2", stuck).await;
                self.until("moving", |status, _| status["phase"] == "Moving").await;
                story.say("admin", json!({"action": "Abort", "reason": "enough"})).await.expect("said");
            }
            Kind::Deleted => {
                story.ship_paper("v2", stuck).await;
                self.until("moving", |status, _| status["phase"] == "Moving").await;
                story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
            }
        }
        let kind = self.kind;
        self.until("the end", move |status, target| match kind {
            Kind::Superseded => status["lastRun"]["number"] == 2,
            Kind::Deleted => target["metadata"]["labels"]["tidegate.dev/release"].is_null(),
            Kind::Good | Kind::Crashing | Kind::Aborted => status["lastRun"]["number"] == 1,
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Value, &Value) -> bool + Copy) {
        let what = format!("{:?}: {what}", self.kind);
        self.story
            .until_within(PATIENCE, &what, |story| async move {
                holds(&story.status().await, &story.target().await)
            })
            .await;
    }

    /// With an operator that is left alone: what stands there in the end. Gives how many things were looked at.
    async fn check(&self) -> usize {
        let (story, kind) = (&self.story, self.kind);
        let (outcome, phase, version) = match kind {
            Kind::Good => (json!("Succeeded"), json!("Idle"), "v2"),
            Kind::Crashing => (json!("Undone"), json!("Rejected"), "v1"),
            Kind::Superseded => (json!("Succeeded"), json!("Idle"), "v3"),
            Kind::Aborted => (json!("Aborted"), json!("Rejected"), "v1"),
            Kind::Deleted => (Value::Null, Value::Null, "v1"),
        };
        self.until("the owner's fields are back", |status, target| {
            let mut spec = target["spec"].clone();
            let at = spec["template"]["metadata"]["annotations"]["version"] == version;
            spec["template"] = self.before["template"].clone();
            at && spec == self.before && status["phase"] == phase && status["lastRun"]["outcome"] == outcome
        })
        .await;
        story
            .until("four pods, all of one version and Ready", |story| async move {
                let pods = story.pods().await;
                pods.len() == 4
                    && pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == version)
                    && story.target().await["status"]["availableReplicas"] == 4
            })
            .await;
        if kind == Kind::Deleted {
            story
                .until("nothing of ours is left", |story| async move {
                    story.list("apps/v1", "ControllerRevision").await.is_empty()
                })
                .await;
        }
        let worst = self.guard.worst();
        assert!(worst.least_ready >= 3, "{kind:?}: {worst:?}\n{}", story.describe().await);
        // Its end, the owner's fields, the pods, how few were Ready on the way; and what is left.
        4 + usize::from(kind == Kind::Deleted)
    }
}

/// Operators that live for so many writes, one after the other, until the plots have come to their ends. Says how many were killed.
async fn live_for(stage: &Stage, relay: &Relay, plots: &[Plot<'_>], writes: usize) -> usize {
    let mut killed = 0;
    let mut written = Vec::new();
    let played = async { join_all(plots.iter().map(Plot::play)).await };
    let lives = async {
        while killed < MOST_LIVES {
            stage.kill_operator().await.expect("killed");
            relay.close_after(writes).await;
            let started = Operator::start_through(&relay.kubeconfig, |_| {});
            // One that leads before it is ready may have died by then.
            tokio::select! {
                operator = started => *stage.operator.lock().await = Some(operator.expect("an operator")),
                () = relay.closed() => {}
            }
            relay.closed().await;
            written.extend(relay.writes().await);
            killed += 1;
        }
    };
    tokio::select! {
        _ = played => {}
        () = lives => {}
    }
    assert!(killed < MOST_LIVES, "no end after {killed} operators, which wrote {written:#?}");
    killed
}

async fn plots(stage: &Stage) -> Vec<Plot<'_>> {
    join_all(ALL.map(|kind| Plot::begin(stage, kind))).await
}

/// What there has been.
#[derive(Default)]
struct Found {
    runs: usize,
    killed: usize,
    invariants: usize,
    violations: usize,
}

impl Found {
    /// Every plot once, with operators that live for so many writes each. What breaks a round off has been said.
    async fn round(&mut self, stage: &Stage, relay: &Relay, writes: usize) {
        let plots = plots(stage).await;
        self.runs += plots.len();
        let killed = live_for(stage, relay, &plots, writes).await;
        self.killed += killed;
        assert!(killed >= 50 / writes, "only {killed} operators were killed");
        stage.kill_operator().await.expect("killed");
        stage.start_operator().await.expect("an operator");
        let checks = plots.iter().map(|plot| AssertUnwindSafe(plot.check()).catch_unwind());
        for looked_at in join_all(checks).await {
            self.invariants += looked_at.as_ref().map_or(1, |looked_at| *looked_at);
            self.violations += usize::from(looked_at.is_err());
        }
    }
}

#[test]
fn killed_after_every_single_write_every_run_comes_to_the_same_end() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let relay = Relay::start(&stage.cluster).await.expect("a relay");
        let lifetimes: &[usize] = if all() { &[1, 2, 3, 4, 5, 6, 7] } else { &[1] };
        let mut found = Found::default();
        for writes in lifetimes {
            let round = AssertUnwindSafe(found.round(&stage, &relay, *writes)).catch_unwind().await;
            found.violations += usize::from(round.is_err());
        }
        let Found { runs, killed, invariants, violations } = found;
        println!("crash-real: runs={runs} killed={killed} invariants={invariants} violations={violations}");
        assert_eq!(violations, 0);
    });
}

/// A Deployment of four that stands, and nobody's yet.
async fn stands<'s>(stage: &'s Stage, name: &str) -> (Story<'s>, Value) {
    let story = Story::begin(stage, name).await;
    story.apply(story.deployment(4)).await;
    story
        .until("pods Ready", |story| async move { story.target().await["status"]["availableReplicas"] == 4 })
        .await;
    let before = story.target().await["spec"].clone();
    (story, before)
}

/// Adopted as it stands: the template is kept once, nothing else has changed, and the next version goes out.
async fn is_adopted(story: &Story<'_>, before: &Value) {
    story
        .until("adopted", |story| async move {
            let status = story.status().await;
            status["phase"] == "Idle"
                && status["blockedBy"].is_null()
                && status["stable"]["revision"].is_string()
        })
        .await;
    assert_eq!(story.target().await["spec"], *before, "{}", story.describe().await);
    let kept = story.list("apps/v1", "ControllerRevision").await;
    let stable = story.status().await["stable"]["revision"].take();
    assert!(kept.len() == 1 && kept[0]["metadata"]["name"] == stable, "{kept:#?}");
    story.ship_paper("v2", json!({})).await;
    assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
}

#[test]
fn killed_at_any_write_of_an_adoption_the_next_operator_adopts_all_the_same() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::without_operator(usual()).await.expect("a stage");
        let relay = Relay::start(&stage.cluster).await.expect("a relay");
        let operator = Operator::start_through(&relay.kubeconfig, |_| {}).await.expect("an operator");
        *stage.operator.lock().await = Some(operator);
        let (story, before) = stands(&stage, "adopted").await;
        relay.open().await;
        story.apply(story.release(quick())).await;
        story
            .until("adopted", |story| async move { story.status().await["stable"]["revision"].is_string() })
            .await;
        let writes = relay.writes().await;
        is_adopted(&story, &before).await;
        let keeps = |write: &String| write.contains("/controllerrevisions");
        let kept = writes.iter().position(keeps).expect("the template is kept");
        assert!(kept > 0 && kept + 1 < writes.len(), "writes before it and after it: {writes:#?}");
        for number in 1..=writes.len() {
            let (story, before) = stands(&stage, &format!("adopted-{number}")).await;
            relay.close_after(number).await;
            story.apply(story.release(quick())).await;
            relay.closed().await;
            let is_kept = !story.list("apps/v1", "ControllerRevision").await.is_empty();
            assert_eq!(is_kept, number > kept, "after write {number} of {writes:#?}");
            stage.kill_operator().await.expect("killed");
            relay.open().await;
            let operator = Operator::start_through(&relay.kubeconfig, |_| {}).await.expect("an operator");
            *stage.operator.lock().await = Some(operator);
            is_adopted(&story, &before).await;
        }
    });
}

/// Whether operators that live for more than a write come too (`make crash-real`), which takes minutes.
fn all() -> bool {
    std::env::var_os("TIDEGATE_ALL_CRASH_POINTS").is_some()
}
