//! Nodes that are drained, or lost, while pods of a new version are on their way: nobody's fault, and least of all the version's. What an eviction
//! takes is not the operator's to hold; how many pods are ordered is. The model's nodes (`tests/sim`) are held against these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tidegate_real::guard::watch;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage};
use tidegate_sim::losses::{self, Fate, Pods, Seen, Shown};
use tokio::task::JoinHandle;

use crate::given::{by_hand, ended, finish, owners, paste, pods_of, quick, until_soaking};

/// Pods that the owner wants.
const PODS: usize = 8;
/// So many more there may be, and so many fewer Ready.
const A_QUARTER: usize = PODS / 4;

async fn stage() -> Stage {
    Stage::own(usual()).await.unwrap_or_else(|error| panic!("no stage: {error:#}"))
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Waits until pods of version 2 are on their way, and one of them is on a node, Ready where that is asked for; which node it is.
async fn until_under_way(story: &Story<'_>, ready: bool) -> String {
    let node = &Mutex::new(String::new());
    let words = "a pod of version 2 on a node, in the middle of a move";
    story
        .until(words, |story| async move {
            let is_it = |pod: &&Value| {
                pod["metadata"]["annotations"]["version"] == "v2"
                    && pod["spec"]["nodeName"].is_string()
                    && (!ready || is_ready(pod))
            };
            let pods = story.pods().await;
            let Some(found) = pods.iter().find(is_it) else { return false };
            *node.lock().expect("no panic while noting") =
                found["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
            story.status().await["phase"] == "Moving"
        })
        .await;
    node.lock().expect("no panic while noting").clone()
}

/// Cordons the node and evicts its pods, as people do. What is on it comes again elsewhere.
async fn drain(story: &Story<'_>, node: &str) {
    let mut on_it = story.pods().await;
    on_it.retain(|pod| pod["spec"]["nodeName"] == node);
    paste(story, &format!("kubectl drain {node} --timeout=45s"), &[]).await;
    let left = story.pods().await;
    let is_left = |pod: &Value| left.iter().any(|other| other["metadata"]["uid"] == pod["metadata"]["uid"]);
    assert!(!on_it.is_empty() && !on_it.iter().any(is_left), "{}", story.describe().await);
}

async fn uncordon(story: &Story<'_>, node: &str) {
    paste(story, &format!("kubectl uncordon {node}"), &[]).await;
}

async fn until_all_ready(story: &Story<'_>) {
    story
        .until("all pods Ready", |story| async move {
            let pods = story.pods().await;
            pods.len() == PODS && pods.iter().all(is_ready)
        })
        .await;
}

/// How long pods stay on a node that is not heard from.
fn tolerates(seconds: u32) -> Value {
    let stays = |taint: &str| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    json!([stays("node.kubernetes.io/unreachable"), stays("node.kubernetes.io/not-ready")])
}

/// A Deployment beside a story, and nobody releases it: what becomes of its pods is held against the model.
struct Beside<'s> {
    story: Story<'s>,
    deployment: Value,
    fate: Fate,
    /// Where its pods were.
    nodes: BTreeMap<String, String>,
    /// Its pods after each change.
    history: Arc<Mutex<Vec<Pods>>>,
    task: JoinHandle<()>,
}

impl<'s> Beside<'s> {
    /// With pods on both of the nodes that only report.
    async fn begin(stage: &'s Stage, fate: Fate) -> Self {
        let story = Story::begin(stage, &format!("model-{fate:?}").to_lowercase()).await;
        let mut deployment = story.deployment(4);
        let spec = &mut deployment["spec"]["template"]["spec"];
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "shop"}},
        }]);
        spec["tolerations"] = match fate {
            Fate::Lost => tolerates(20),
            // As long as the node is away, and longer.
            Fate::Back => tolerates(3600),
            Fate::Drained => json!([]),
        };
        story.apply(deployment.clone()).await;
        story
            .until("all of it Ready", |story| async move {
                story.target().await["status"]["availableReplicas"] == 4
            })
            .await;
        let history: Arc<Mutex<Vec<Pods>>> = Arc::default();
        let noted = history.clone();
        let as_shown = |pod: &Pod| serde_json::to_value(pod).ok().map(|pod| Shown::of(&pod));
        let (task, listed) = watch(&story.client, &story.namespace, as_shown, move |pods| {
            noted.lock().expect("no panic while noting").push(pods.clone());
        });
        let _listed = listed.await;
        let node = |pod: &Value| {
            let node = pod["spec"]["nodeName"].as_str()?;
            Some((pod["metadata"]["name"].as_str()?.to_owned(), node.to_owned()))
        };
        let nodes = story.pods().await.iter().filter_map(node).collect();
        Self { story, deployment, fate, nodes, history, task }
    }

    fn seen(&self, on_it: &BTreeSet<String>) -> Seen {
        Seen::read(&self.history.lock().expect("no panic while noting"), on_it)
    }

    /// What has become of its pods on this node becomes of as many on the model.
    async fn agrees(&self, node: &str) {
        let mut on_it: BTreeSet<String> = self.nodes.keys().cloned().collect();
        on_it.retain(|pod| self.nodes[pod] == node);
        assert!(!on_it.is_empty() && on_it.len() < self.nodes.len(), "on both nodes: {:?}", self.nodes);
        let (on_it, modelled) = (&on_it, &losses::on_the_model(&self.deployment, self.fate, on_it.len()));
        self.story
            .until(&format!("{modelled:?}"), |_| async move { self.seen(on_it).came_through(modelled) })
            .await;
        let seen = self.seen(on_it);
        assert_eq!(seen.ways, modelled.ways, "{:?}: {seen:?}", self.fate);
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A good version whose first pods are drained, with half of the stable ones: it goes out, and within the owner's limits once the drain is over. Which
/// node was drained.
async fn goes_out(stage: &Stage) -> String {
    let story = Story::begin(stage, "drain-good").await;
    story.adopt(story.deployment(8), story.release(by_hand())).await;
    let before = owners(&story.target().await);
    let orders = story.guard().await;
    story.ship_paper("v2", json!({"paper.tidegate.dev/ready-after": "2s"})).await;
    let node = until_under_way(&story, false).await;
    drain(&story, &node).await;
    assert_eq!(story.status().await["run"]["number"], 1, "in mid-run: {}", story.describe().await);
    until_soaking(&story, "half").await;
    until_all_ready(&story).await;
    assert_eq!(pods_of(&story, "v2").await, 4, "{}", story.describe().await);
    let pods = story.guard().await;
    uncordon(&story, &node).await;
    finish(&story, 1).await;
    assert_eq!(pods_of(&story, "v2").await, PODS, "{}", story.describe().await);
    assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
    let (orders, pods) = (orders.worst(), pods.worst());
    assert!(orders.most_ordered <= PODS + A_QUARTER, "{orders:?}");
    assert!(pods.least_ready >= PODS - A_QUARTER, "{pods:?}");
    node
}

/// A bad one: it goes back all the same, and what was drained of the stable pods is there again.
async fn goes_back(stage: &Stage) {
    let story = Story::begin(stage, "drain-bad").await;
    let mut deployment = story.deployment(8);
    deployment["spec"]["progressDeadlineSeconds"] = json!(10);
    story.adopt(deployment, story.release(quick())).await;
    let before = owners(&story.target().await);
    let orders = story.guard().await;
    story.ship_paper("v2", json!({"paper.tidegate.dev/never-ready": "true"})).await;
    let node = until_under_way(&story, false).await;
    drain(&story, &node).await;
    let last = ended(&story, 1, "Undone").await;
    until_all_ready(&story).await;
    assert_eq!(pods_of(&story, "v1").await, PODS, "{last:#}\n{}", story.describe().await);
    assert_eq!(owners(&story.target().await), before, "the owner's fields are back");
    uncordon(&story, &node).await;
    // It never came further than its first step.
    let orders = orders.worst();
    assert!(orders.most_ordered <= PODS + A_QUARTER, "{orders:?}");
}

#[test]
fn a_node_that_is_drained_in_the_middle_of_a_move_keeps_no_good_version_back_and_no_bad_one_out() {
    on_stage(async {
        let stage = stage().await;
        let beside = Beside::begin(&stage, Fate::Drained).await;
        let node = goes_out(&stage).await;
        beside.agrees(&node).await;
        goes_back(&stage).await;
    });
}

#[test]
fn a_node_lost_in_the_middle_of_a_move_undoes_nothing() {
    on_stage(async {
        let stage = stage().await;
        let beside = join_all([Fate::Lost, Fate::Back].map(|fate| Beside::begin(&stage, fate))).await;
        let story = Story::begin(&stage, "node-loss-moving").await;
        let mut deployment = story.deployment(8);
        // Much longer than it takes to notice that a node is silent, and shorter than until its pods are made elsewhere.
        deployment["spec"]["progressDeadlineSeconds"] = json!(25);
        deployment["spec"]["template"]["spec"]["tolerations"] = tolerates(35);
        story.adopt(deployment, story.release(quick())).await;
        let orders = story.guard().await;
        story.ship_paper("v2", json!({"paper.tidegate.dev/ready-after": "4s"})).await;
        story.until("step half", |story| async move { story.status().await["step"]["name"] == "half" }).await;
        let node = until_under_way(&story, true).await;
        stage.cluster.control(&format!("nodes/{node}/lose")).await.expect("lost");
        story.until_blocked("NodesSilent").await;
        let patience = Duration::from_secs(150);
        story
            .until_within(patience, "pods come again elsewhere, and the run to its end", |story| async move {
                story.status().await["lastRun"]["number"] == 1
            })
            .await;
        ended(&story, 1, "Succeeded").await;
        let pods = story.pods().await;
        let stands = pods.len() == PODS && pods.iter().all(is_ready);
        assert!(stands && pods_of(&story, "v2").await == PODS, "{}", story.describe().await);
        let orders = orders.worst();
        assert!(orders.most_ordered <= PODS + A_QUARTER, "{orders:?}");
        stage.cluster.control(&format!("nodes/{node}/return")).await.expect("back");
        for one in &beside {
            one.agrees(&node).await;
        }
    });
}
