//! The model of the native controllers (`tests/sim`) held against the native controllers: the same writes, and as many pods of each
//! version on both when nothing moves any more, by the same way, and as many of them in a Service; Jobs that end in the same
//! words; an autoscaler whose bounds change, and one that goes by what comes; and what is left of a Deployment that is deleted.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::guard::watch;
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};
use tidegate_sim::autoscaler::{self, BEGINS_WITH, RATED, RATES, TURNS, Turn};
use tidegate_sim::removals::{self, Left, names, second_version};
use tidegate_sim::scripts::{
    Counts, Rest, Script, Way, end_of_job, ending_on_the_model, job, job_on_the_model, on_the_model, scripts,
};
use tidegate_sim::story::USUAL;
use tokio::task::JoinHandle;

use crate::given::autoscale;

/// Looks in a row, 50 ms and more apart, in which it must stand: what only passes by is not what comes of a write.
const IN_A_ROW: u32 = 10;

/// Looks in a row in which it stood.
#[derive(Default)]
struct InARow(Cell<u32>);

impl InARow {
    /// One more look: whether it has stood often enough.
    fn look(&self, stands: bool) -> bool {
        self.0.set(if stands { self.0.get() + 1 } else { 0 });
        self.0.get() >= IN_A_ROW
    }
}

/// A version, and so many pods of it.
type Pods = (String, i64);

/// What the watches have brought.
#[derive(Default)]
struct Seen {
    way: Way,
    ordered: Counts,
    there: Counts,
}

/// Watches ReplicaSets and pods of a story, change by change: an API server leaves none out.
struct Watched {
    seen: Arc<Mutex<Seen>>,
    tasks: [JoinHandle<()>; 2],
}

impl Watched {
    /// From now on.
    async fn start(story: &Story<'_>) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (of_sets, of_pods) = (seen.clone(), seen.clone());
        let (sets, listed) = watch(&story.client, &story.namespace, pods_of_set, move |sets| {
            let mut seen = of_sets.lock().expect("no panic while noting");
            seen.ordered = together(sets.values());
            let Seen { way, ordered, .. } = &mut *seen;
            way.ordered(ordered);
        });
        let _listed = listed.await;
        let (pods, listed) = watch(&story.client, &story.namespace, version_of_pod, move |pods| {
            let mut seen = of_pods.lock().expect("no panic while noting");
            seen.there = together(pods.values());
            let Seen { way, there, .. } = &mut *seen;
            way.there(there);
        });
        let _listed = listed.await;
        Self { seen, tasks: [sets, pods] }
    }

    /// Whether all is seen that leads to this rest.
    fn is_at(&self, rest: &Rest) -> bool {
        let seen = self.seen.lock().expect("no panic while noting");
        seen.ordered == rest.ordered && seen.there == rest.ordered
    }

    /// How it came to this rest; the next way begins.
    fn rest(&self) -> Way {
        self.seen.lock().expect("no panic while noting").way.rest()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn pods_of_set(set: &ReplicaSet) -> Option<Pods> {
    let spec = set.spec.as_ref()?;
    let annotations = spec.template.as_ref()?.metadata.as_ref()?.annotations.as_ref()?;
    Some((annotations.get("version")?.clone(), i64::from(spec.replicas?)))
}

fn version_of_pod(pod: &Pod) -> Option<Pods> {
    Some((pod.annotations().get("version")?.clone(), 1))
}

fn together<'a>(all: impl Iterator<Item = &'a Pods>) -> Counts {
    let mut counts = Counts::new();
    for (version, pods) in all.filter(|(_, pods)| *pods > 0) {
        *counts.entry(version.clone()).or_default() += pods;
    }
    counts
}

/// Whether so many pods of each version are ordered, once the controller has seen the last write, and are there and Ready, and none is on
/// its way out.
async fn stands(story: &Story<'_>, wanted: &Rest) -> bool {
    let target = story.target().await;
    let seen = target["status"]["observedGeneration"] == target["metadata"]["generation"];
    let (mut ordered, mut there, mut ready) = (Counts::new(), Counts::new(), Counts::new());
    for set in story.list("apps/v1", "ReplicaSet").await {
        let pods = set["spec"]["replicas"].as_i64().unwrap_or(0);
        count(&mut ordered, &set["spec"]["template"], pods);
    }
    for pod in story.list("v1", "Pod").await {
        count(&mut there, &pod, 1);
        count(&mut ready, &pod, i64::from(is_ready(&pod)));
    }
    seen && ordered == wanted.ordered && there == wanted.ordered && ready == wanted.ready
}

/// The pods that a Service's EndpointSlices name as Ready, by version. One that is not there any more has none.
async fn served(story: &Story<'_>) -> Counts {
    let slices = story.list("discovery.k8s.io/v1", "EndpointSlice").await;
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let named: BTreeSet<&str> = ready.filter_map(|endpoint| endpoint["targetRef"]["name"].as_str()).collect();
    let pods = story.list("v1", "Pod").await;
    let mut served = Counts::new();
    for name in named {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name).cloned().unwrap_or_default();
        count(&mut served, &pod, 1);
    }
    served
}

/// A Service before the pods of a story.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn count(counts: &mut Counts, of: &Value, pods: i64) {
    let version = of["metadata"]["annotations"]["version"].as_str().unwrap_or_default();
    if pods > 0 {
        *counts.entry(version.to_owned()).or_default() += pods;
    }
}

/// The native controllers tell the newer of two ReplicaSets by the second in which it was made, and of the same second by its name.
async fn may_make_another(story: &Story<'_>) -> bool {
    let sets = story.list("apps/v1", "ReplicaSet").await;
    let made = |set: &Value| set["metadata"]["creationTimestamp"].as_str()?.parse::<Timestamp>().ok();
    let newest = sets.iter().filter_map(made).max();
    newest.is_none_or(|newest| Timestamp::now().as_second() > newest.as_second())
}

/// An autoscaler writes the scale, everybody else the Deployment.
async fn write(story: &Story<'_>, spec: &Value) {
    let patch = json!({"spec": spec});
    let fields = spec.as_object().expect("fields");
    if fields.keys().eq(["replicas"]) {
        let api = story.api("apps/v1", "Deployment");
        let scaled = api.patch_scale("shop", &PatchParams::default(), &Patch::Merge(&patch)).await;
        scaled.expect("scaled");
    } else {
        story.patch(patch).await;
    }
}

/// At most one pod on each node: there is room for as many as there are nodes, and nobody else's is taken.
fn one_a_node() -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "labelSelector": {"matchLabels": {"app": "shop"}}, "topologyKey": "kubernetes.io/hostname",
    }]}})
}

async fn until_available(story: &Story<'_>, replicas: i32) {
    story
        .until("all of it Ready", |story| async move {
            story.target().await["status"]["availableReplicas"] == replicas
        })
        .await;
}

async fn until_served(story: &Story<'_>, wanted: &Counts) {
    let what = format!("{wanted:?} in the Service");
    story.until(&what, |story| async move { served(story).await == *wanted }).await;
}

async fn agrees(stage: &Stage, script: Script) {
    let story = Story::begin(stage, "model").await;
    let mut deployment = story.deployment(script.replicas);
    if script.room.is_some() {
        deployment["spec"]["template"]["spec"]["affinity"] = one_a_node();
    }
    let modelled = on_the_model(&deployment, &script);
    // Nobody's Deployment: no Release, no label, no policy.
    deployment["spec"]["replicas"] = json!(script.replicas);
    story.apply(deployment).await;
    story.apply(service()).await;
    until_available(&story, script.replicas).await;
    let watched = &Watched::start(&story).await;
    watched.rest();
    for (spec, outcome) in script.writes.iter().zip(&modelled) {
        let later = "the newest ReplicaSet is of a second that is over";
        story.until(later, |story| async move { may_make_another(story).await }).await;
        write(&story, spec).await;
        let wanted = &outcome.rest;
        let what = format!("{}: {wanted:?} after {spec}", script.name);
        let in_a_row = &InARow::default();
        story
            .until(&what, |story| async move {
                in_a_row.look(stands(story, wanted).await && watched.is_at(wanted))
            })
            .await;
        until_served(&story, &outcome.served).await;
        let way = watched.rest();
        assert_eq!(way.turns(), outcome.way.turns(), "{what}: {way:?}");
        if script.has_one_way {
            assert_eq!(way, outcome.way, "{what}");
        }
    }
}

#[test]
fn the_model_and_the_native_controllers_have_as_many_pods_of_each_version_after_every_write() {
    on_stage(async {
        let stage = Stage::shared().await;
        join_all(scripts().into_iter().map(|script| agrees(stage, script))).await;
    });
}

#[test]
fn pods_that_are_ordered_away_are_in_no_service_of_the_model_and_in_no_real_one_while_they_end() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "model-service").await;
        let mut deployment = story.deployment(4);
        // Longer than it takes to see it.
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/terminate-after"] =
            json!("150s");
        let modelled = &ending_on_the_model(&deployment, [4, 1]);
        story.apply(deployment).await;
        story.apply(service()).await;
        until_available(&story, 4).await;
        let (there, one) = modelled;
        until_served(&story, there).await;
        write(&story, &json!({"replicas": 1})).await;
        story
            .until(&format!("{modelled:?}"), |story| async move {
                let mut pods = Counts::new();
                for pod in story.list("v1", "Pod").await {
                    count(&mut pods, &pod, 1);
                }
                pods == *there && served(story).await == *one
            })
            .await;
    });
}

/// All ends that are shown of a Job, from none on.
async fn ends_of(story: &Story<'_>, job: Value) -> Vec<Value> {
    let ends: Arc<Mutex<Vec<Value>>> = Arc::new(Mutex::new(vec![Value::Null]));
    let noted = ends.clone();
    let as_it_is = |job: &Job| serde_json::to_value(job).ok();
    let (task, listed) = watch(&story.client, &story.namespace, as_it_is, move |jobs| {
        let mut ends = noted.lock().expect("no panic while noting");
        for end in jobs.values().map(end_of_job) {
            if ends.last() != Some(&end) {
                ends.push(end);
            }
        }
    });
    let _listed = listed.await;
    story.apply(job).await;
    let known = &ends;
    story
        .until("it has ended", |_| async move { known.lock().expect("no panic while noting").len() > 1 })
        .await;
    task.abort();
    let ends = ends.lock().expect("no panic while noting");
    ends.clone()
}

#[test]
fn a_job_of_the_model_ends_in_the_words_of_a_real_one() {
    on_stage(async {
        let stage = Stage::shared().await;
        let (good, bad) =
            (Story::begin(stage, "model-job").await, Story::begin(stage, "model-job-fails").await);
        let ends = futures::future::join(ends_of(&good, job(false)), ends_of(&bad, job(true))).await;
        assert_eq!(ends, (job_on_the_model(&job(false)), job_on_the_model(&job(true))));
    });
}

async fn turn(story: &Story<'_>, turn: Turn) {
    match turn {
        Turn::Bounds(least, most) => autoscale(story, least.into(), most.into()).await,
        Turn::Scale(replicas) => write(story, &json!({"replicas": replicas})).await,
    }
}

/// An autoscaler that has been asked for none says that it does nothing: until then it may not have looked.
async fn is_out_of_work(story: &Story<'_>) -> bool {
    let autoscaler = story.get("autoscaling/v2", "HorizontalPodAutoscaler", "shop").await;
    let mut conditions = autoscaler["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "ScalingActive" && one["reason"] == "ScalingDisabled")
}

#[test]
fn when_the_bounds_of_an_autoscaler_change_the_model_and_a_real_one_come_to_as_many_pods() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "model-bounds").await;
        let (replicas, begins) = BEGINS_WITH;
        story.apply(story.deployment(replicas)).await;
        turn(&story, begins).await;
        for (one, replicas) in TURNS.into_iter().zip(autoscaler::on_the_model()) {
            turn(&story, one).await;
            let mut pods = Counts::from([("v1".to_owned(), i64::from(replicas))]);
            pods.retain(|_, pods| *pods > 0);
            let wanted = &Rest { ordered: pods.clone(), ready: pods };
            let in_a_row = &InARow::default();
            story
                .until(&format!("{replicas} pods after {one:?}"), |story| async move {
                    let has_looked = replicas > 0 || is_out_of_work(story).await;
                    in_a_row.look(has_looked && stands(story, wanted).await)
                })
                .await;
        }
    });
}

/// The kind by which a metric is told, and the metric's name: autoscalers list what is of its name, whoever serves it.
const METRIC: (&str, &str) = ("ExternalMetricValue", "externalmetricvalues");

/// Metrics that are objects: in place of a server that measures.
fn metrics() -> Value {
    let (kind, plural) = METRIC;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.external.metrics.k8s.io"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, in place of a metrics server in tests"},
        },
        "spec": {
            "group": "external.metrics.k8s.io", "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
            },
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// So many requests come a second.
async fn come(story: &Story<'_>, rate: u64) {
    let (kind, metric) = METRIC;
    story
        .apply(json!({
            "apiVersion": "external.metrics.k8s.io/v1beta1", "kind": kind, "metadata": {"name": "shop"},
            "metricName": metric, "metricLabels": {}, "timestamp": Timestamp::now().to_string(), "value": rate.to_string(),
        }))
        .await;
}

/// Has an autoscaler keep as many pods as come requests for. How long pods stay that it has wanted is not waited for.
async fn autoscale_by_rate(story: &Story<'_>, (least, most): (i32, i32)) {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
    let each = json!({"type": "AverageValue", "averageValue": USUAL.to_string()});
    story
        .apply(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"},
            "spec": {
                "scaleTargetRef": target, "minReplicas": least, "maxReplicas": most,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
                "metrics": [{"type": "External", "external": {"metric": {"name": METRIC.1}, "target": each}}],
            },
        }))
        .await;
}

/// Whether the autoscaler has seen that so many requests come to so many pods.
async fn has_seen(story: &Story<'_>, rate: u64, pods: i64) -> bool {
    let autoscaler = story.get("autoscaling/v2", "HorizontalPodAutoscaler", "shop").await;
    let shown = &autoscaler["status"]["currentMetrics"][0]["external"]["current"]["averageValue"];
    let milli = |text: &str| match text.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => text.parse::<u64>().ok().map(|whole| whole * 1000),
    };
    shown.as_str().and_then(milli) == Some((rate * 1000).div_ceil(pods.unsigned_abs()))
}

#[test]
fn by_what_comes_the_model_of_an_autoscaler_and_a_real_one_take_the_same_steps_to_as_many_pods() {
    // A cluster of the user's may have metrics of its own, and these would take their place.
    if std::env::var_os("TIDEGATE_TEST_KUBECONFIG").is_some() {
        return;
    }
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "model-rates").await;
        let (replicas, bounds) = RATED;
        stage::apply(&story.client, &metrics(), "story").await.expect("a kind of metrics");
        come(&story, RATES[0]).await;
        story.apply(story.deployment(replicas)).await;
        until_available(&story, replicas).await;
        let watched = &Watched::start(&story).await;
        watched.rest();
        autoscale_by_rate(&story, bounds).await;
        for (rate, sizes) in RATES.into_iter().zip(autoscaler::by_rates_on_the_model()) {
            come(&story, rate).await;
            let last = sizes.last().copied().expect("it has a size");
            let pods = Counts::from([("v1".to_owned(), last)]);
            let wanted = &Rest { ordered: pods.clone(), ready: pods };
            let in_a_row = &InARow::default();
            story
                .until(&format!("{last} pods for {rate} requests a second"), |story| async move {
                    let has_seen = has_seen(story, rate, last).await;
                    in_a_row.look(has_seen && stands(story, wanted).await && watched.is_at(wanted))
                })
                .await;
            let way = watched.rest();
            assert_eq!(way.sizes.get("v1"), Some(&sizes), "{rate} requests a second");
        }
    });
}

async fn until_left(story: &Story<'_>, before: &BTreeSet<String>, wanted: &Left) {
    let in_a_row = &InARow::default();
    story
        .until(&format!("{wanted:?}"), |story| async move {
            let (sets, pods) = (story.list("apps/v1", "ReplicaSet").await, story.list("v1", "Pod").await);
            in_a_row.look(Left::read(&sets, &pods, before) == *wanted)
        })
        .await;
}

async fn is_deleted_and_made_anew(stage: &Stage, alone: bool) {
    let story = Story::begin(stage, if alone { "model-alone" } else { "model-deleted" }).await;
    let deployment = story.deployment(4);
    let [begun, gone, anew] = removals::on_the_model(&deployment, alone);
    story.apply(deployment.clone()).await;
    until_available(&story, 4).await;
    story.until("another second", |story| async move { may_make_another(story).await }).await;
    write(&story, &second_version()).await;
    until_left(&story, &BTreeSet::new(), &Left { stayed: 0, ..begun.clone() }).await;
    let before = names(&story.list("v1", "Pod").await);
    assert_eq!(before.len(), begun.stayed, "{before:?}");

    let how = if alone { DeleteParams::orphan() } else { DeleteParams::background() };
    story.api("apps/v1", "Deployment").delete("shop", &how).await.expect("deleted");
    story.until("it is gone", |story| async move { story.target().await.is_null() }).await;
    until_left(&story, &before, &gone).await;
    story.apply(deployment).await;
    until_left(&story, &before, &anew).await;
}

#[test]
fn the_model_and_the_real_garbage_collector_leave_the_same_of_a_deployment_deleted_with_its_pods_or_alone() {
    on_stage(async {
        let stage = Stage::shared().await;
        join_all([false, true].map(|alone| is_deleted_and_made_anew(stage, alone))).await;
    });
}
