//! What stories are given, say and ask again and again: Releases with short steps, people and their rights, what stands there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::cluster::kubectl;
use tidegate_real::operator::binary;
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::Story;
use tokio::process::Command;

/// Three short steps, two seconds of watch, nothing measured.
pub fn quick() -> Value {
    json!({
        "steps": [
            {"name": "tenth", "replicas": "10%", "soak": "1s"},
            {"name": "half", "replicas": "50%", "soak": "1s"},
            {"name": "all", "replicas": "100%"},
        ],
        "criteria": [],
        "watch": [{"for": "1s", "every": "1s"}],
    })
}

/// The same, and this check before the first pod.
pub fn checked(check: Value) -> Value {
    with(quick(), json!({"preflight": [check]}))
}

/// The same, and at most 5 % errors.
pub fn measured() -> Value {
    with(quick(), json!({"criteria": [{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]}))
}

/// Half of the pods for a moment, then all; no watch.
pub fn halves() -> Value {
    json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "1s"}, {"name": "all", "replicas": "100%"}],
        "criteria": [],
        "watch": [],
    })
}

/// The same, but every step waits for somebody to say skip.
pub fn by_hand() -> Value {
    let steps = json!([
        {"name": "half", "replicas": "50%", "soak": "1h"},
        {"name": "all", "replicas": "100%", "soak": "1h"},
    ]);
    with(halves(), json!({"steps": steps}))
}

/// The same, but nothing starts before somebody approves.
pub fn by_approval() -> Value {
    let approval = json!({"roles": ["owner"], "allowAuthor": true});
    with(halves(), json!({"preflight": [{"name": "sign-off", "approval": approval}]}))
}

/// The same, with this mode of capture.
pub fn with_capture(spec: Value, capture: &str) -> Value {
    with(spec, json!({"capture": capture}))
}

/// A spec with some of its fields replaced.
pub fn with(mut spec: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("fields") {
        spec[name] = value.clone();
    }
    spec
}

/// So many pods of version 1 on the stage that stories share, under a Release of this spec.
pub async fn adopted(name: &str, replicas: i32, spec: Value) -> Story<'static> {
    let story = Story::begin(Stage::shared().await, name).await;
    story.adopt(story.deployment(replicas), story.release(spec)).await;
    story
}

/// The same, and version 2 has been shipped.
pub async fn shipped(name: &str, replicas: i32, spec: Value) -> Story<'static> {
    let story = adopted(name, replicas, spec).await;
    story.ship_paper("v2", json!({})).await;
    story
}

/// The same by hand, and version 2 stands in half of them.
pub async fn at_half(name: &str, replicas: i32) -> Story<'static> {
    let story = shipped(name, replicas, by_hand()).await;
    until_soaking(&story, "half").await;
    story
}

/// The owner says something with a reason.
pub async fn say(story: &Story<'_>, action: &str) {
    let said =
        story.say("admin", json!({"action": action, "reason": "the story says so", "by": "admin"})).await;
    said.unwrap_or_else(|error| panic!("{action}: {error:#}"));
}

/// The owner approves.
pub async fn approve(story: &Story<'_>) {
    let spec = json!({"action": "Approve", "role": "owner", "reason": "the story says so", "by": "admin"});
    story.say("admin", spec).await.unwrap_or_else(|error| panic!("approve: {error:#}"));
}

/// Gives a user a ClusterRole in the story's namespace.
pub async fn grant(story: &Story<'_>, user: &str, role: &str) {
    story
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{user}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }))
        .await;
}

/// Gives a user what it takes to change the Deployment, and no more.
pub async fn may_patch(story: &Story<'_>, user: &str) {
    let deployer = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "story-deployer"},
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}],
    });
    stage::apply(&story.client, &deployer, "story").await.expect("a role");
    grant(story, user, "story-deployer").await;
}

/// The same, and has them ship a version.
pub async fn ships(story: &Story<'_>, user: &str, version: &str) {
    may_patch(story, user).await;
    let client = story.stage.cluster.client(user).await.expect("a client");
    let target =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": story.namespace}});
    let target = stage::api_of(&client, &target).expect("a kind");
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}});
    let (target, patch) = (&target, &patch);
    story
        .until(&format!("{version} by {user}"), |_| async move {
            target.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await.is_ok()
        })
        .await;
}

/// Says something as soon as the API server knows that this user may; the name of the action.
pub async fn says(story: &Story<'_>, user: &str, spec: Value) -> String {
    let name = Mutex::new(String::new());
    let (said, spec) = (&name, &spec);
    story
        .until(&format!("{user} says {spec}"), |story| async move {
            let made = story.say(user, spec.clone()).await;
            let is_made = made.is_ok();
            if let Ok(made) = made {
                *said.lock().expect("no panic while noting") = made;
            }
            is_made
        })
        .await;
    name.into_inner().expect("no panic while noting")
}

/// Has an autoscaler keep so many pods at least, and at most, whatever they measure: what is outside its bounds it mends before it asks anybody.
pub async fn autoscale(story: &Story<'_>, least: i64, most: i64) {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}});
    story
        .apply(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"},
            "spec": {
                "scaleTargetRef": target, "minReplicas": least, "maxReplicas": most,
                "metrics": [{"type": "Resource", "resource": cpu}],
            },
        }))
        .await;
}

/// Lets the operator read Secrets where the story plays.
pub async fn may_read_secrets(story: &Story<'_>) {
    story
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "tidegate-secrets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": "tidegate-system"}],
        }))
        .await;
}

/// Waits until the run is blocked for this reason, in these words, and no pod of the new version has been made.
pub async fn until_told(story: &Story<'_>, reason: &str, words: &str) {
    story
        .until(words, |story| async move {
            let blocked = story.status().await["blockedBy"].clone();
            blocked["reason"] == reason && blocked["message"].as_str().unwrap_or_default().contains(words)
        })
        .await;
    assert_eq!(pods(story).await.len(), 1, "no pod of the new version: {}", story.describe().await);
}

/// Waits until this step soaks.
pub async fn until_soaking(story: &Story<'_>, step: &str) {
    story
        .until(&format!("soaking in step {step}"), |story| async move {
            let status = story.status().await;
            status["phase"] == "Soaking" && status["step"]["name"] == step
        })
        .await;
}

/// Waits until this step soaks, and leaves it.
pub async fn skip(story: &Story<'_>, step: &str) {
    until_soaking(story, step).await;
    say(story, "Skip").await;
}

/// Leaves both steps by hand: run `number` succeeds.
pub async fn finish(story: &Story<'_>, number: i64) {
    skip(story, "half").await;
    skip(story, "all").await;
    ended(story, number, "Succeeded").await;
}

/// Pods of this version that are not on their way out.
pub async fn pods_of(story: &Story<'_>, version: &str) -> usize {
    story.pods().await.iter().filter(|pod| pod["metadata"]["annotations"]["version"] == version).count()
}

/// Runs a command line as somebody who pastes it, in whatever namespace that is.
pub async fn paste(story: &Story<'_>, line: &str, variables: &[(&str, &str)]) {
    let programs = [kubectl().await.expect("kubectl"), binary("kubectl-tidegate").expect("the plugin")];
    let directories = programs.iter().map(|program| program.parent().expect("a directory").display());
    let path = std::env::var("PATH").unwrap_or_default();
    let path = directories.fold(path, |path, directory| format!("{directory}:{path}"));
    let said = Command::new("sh")
        .args(["-c", line])
        .envs(variables.iter().copied())
        .env("PATH", path)
        .env("KUBECONFIG", &story.stage.cluster.kubeconfig)
        .output()
        .await
        .expect("a shell");
    assert!(said.status.success(), "{line}: {}", String::from_utf8_lossy(&said.stderr));
}

/// Runs the command line that the Release names to unblock it.
pub async fn unblock(story: &Story<'_>) {
    let status = story.status().await;
    let line = status["blockedBy"]["unblock"].as_str().unwrap_or_default();
    assert!(line.starts_with("kubectl "), "{status:#}");
    paste(story, line, &[]).await;
}

/// Names of all pods that are not on their way out.
pub async fn pod_names(story: &Story<'_>) -> Vec<String> {
    let mut names: Vec<String> =
        story.pods().await.iter().map(|pod| pod["metadata"]["name"].to_string()).collect();
    names.sort();
    names
}

/// Sees to it that run `number` ended in this way, and gives what is said of it.
pub async fn ended(story: &Story<'_>, number: i64, outcome: &str) -> Value {
    let last = story.until_ended(number).await;
    assert_eq!(last["outcome"], outcome, "{}", story.describe().await);
    last
}

/// The owner's part of the Deployment's spec: everything but the template.
pub fn owners(target: &Value) -> Value {
    let mut spec = target["spec"].clone();
    spec.as_object_mut().expect("a Deployment").remove("template");
    spec
}

/// Tells the pods of this version to fail so many of their requests from now on. They have to be shipped with `ALLOW_FAULTS`.
pub async fn fail(story: &Story<'_>, version: &str, error_rate: &str) {
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client without TLS");
    for pod in story.pods().await {
        let environment = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        let is = environment.iter().any(|one| one["name"] == "VERSION" && one["value"] == version);
        let Some(ip) = pod["status"]["podIP"].as_str().filter(|_| is) else { continue };
        let told = client.post(format!("http://{ip}:8080/fault?error_rate={error_rate}")).send().await;
        assert!(
            told.is_ok_and(|told| told.status().is_success()),
            "pod {} heeds /fault",
            pod["metadata"]["name"]
        );
    }
}

/// The moments of an undo are all there, in order; `breached`: there was a breach before.
pub fn undo_in_order(ended: &Value, breached: bool) {
    let at = |name: &str| ended["undo"][name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let moments = [at("decidedAt"), at("orderedAt"), at("restoredAt")];
    assert!(moments.iter().all(Option::is_some) && moments.is_sorted(), "{ended:#}");
    assert_eq!(at("breachAt").is_some(), breached, "{ended:#}");
    assert!(!breached || at("breachAt") <= at("decidedAt"), "{ended:#}");
}

/// Which version the Deployment's template is.
pub async fn version(story: &Story<'_>) -> Value {
    let target = story.target().await;
    let template = &target["spec"]["template"];
    match &template["metadata"]["annotations"]["version"] {
        Value::Null => template["spec"]["containers"][0]["env"][0]["value"].clone(),
        version => version.clone(),
    }
}

/// Waits until the run stands in this step, soaking or held.
pub async fn until_at(story: &Story<'_>, step: &str) {
    story
        .until(&format!("standing in step {step}"), |story| async move {
            let status = story.status().await;
            status["step"]["name"] == step && matches!(status["phase"].as_str(), Some("Soaking" | "Held"))
        })
        .await;
}

/// Pods of the Deployment by the hash of their template.
pub async fn pods(story: &Story<'_>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in story.pods().await {
        if let Some(hash) = pod["metadata"]["labels"]["pod-template-hash"].as_str() {
            *counts.entry(hash.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Sees to it that nothing goes on and nothing goes back: the same step of the same run with the same pods for so long.
pub async fn stands_still(story: &Story<'_>, so_long: Duration) {
    let (status, before) = (story.status().await, pods(story).await);
    let (run, step, before) = (&status["run"]["id"], &status["run"]["step"], &before);
    assert!(run.is_string(), "a run is under way: {}", story.describe().await);
    story
        .stays(so_long, "standing still", |story| async move {
            let now = story.status().await;
            let same =
                now["run"]["id"] == *run && now["run"]["step"] == *step && now["run"]["back"].is_null();
            same && pods(story).await == *before
        })
        .await;
}

/// Waits until an undo has given the Deployment back, and what it put back is only still looked at.
pub async fn until_given_back(story: &Story<'_>) {
    let given_back = async |story: &Story<'_>| story.status().await["run"]["back"]["givenBackAt"].is_string();
    story.until("given back", given_back).await;
}
