//! The model of the chart's admission policies (`tests/sim`) held against the policies: the same Deployment on both, the same write by the same
//! user, and what comes of it must be the same. Deployments are as the operator left them at rest, held and in mid-run; the real API server is
//! only asked what would come of a write (a dry run), so they stay so.

use axum::body::Bytes;
use axum::http::Method;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use tidegate::api::{CHANGED_BY, HELD, ON_DELETE, ORIGINALS, RELEASE_LABEL, STABLE};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};
use tidegate_sim::cluster::named;
use tidegate_sim::server::{Answer, Request, Who, alone, requests};
use tidegate_sim::world::{NAMESPACE, TARGET};

use crate::given::{adopted, at_half, by_approval, by_hand, shipped};

const OWNER: &str = "owner";
const TOOL: &str = "argocd";
/// Those whom the policies leave alone.
const OPERATOR: &str = "system:serviceaccount:tidegate-system:tidegate";
const NATIVE: &str = "system:serviceaccount:kube-system:deployment-controller";

/// Somebody merges this into the Deployment.
struct Write {
    what: &'static str,
    user: &'static str,
    patch: Value,
    /// By the subresource.
    through_status: bool,
}

fn by(user: &'static str, what: &'static str, patch: Value) -> Write {
    Write { what, user, patch, through_status: false }
}

/// The same through its status, which takes more than the status.
fn through_status(user: &'static str, what: &'static str, patch: Value) -> Write {
    Write { through_status: true, ..by(user, what, patch) }
}

/// A new template, and more of the spec.
fn template_and(more: Value) -> Value {
    let mut spec = more;
    spec["template"] = json!({"metadata": {"annotations": {"version": "v9"}}});
    json!({"spec": spec})
}

fn paced() -> Value {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 1}});
    json!({"minReadySeconds": 7, "progressDeadlineSeconds": 700, "strategy": strategy})
}

/// What the policies speak for, as somebody else would have it.
fn forged() -> Value {
    json!({
        CHANGED_BY: "nobody", HELD: "true", ORIGINALS: r#"{"paused":null}"#, STABLE: "another", ON_DELETE: "Finish",
        "tidegate.dev/run": "r9",
    })
}

fn annotations(annotations: Value) -> Value {
    json!({"metadata": {"annotations": annotations}})
}

fn writes() -> Vec<Write> {
    let nothing: Map<String, Value> =
        forged().as_object().expect("annotations").keys().map(|name| (name.clone(), Value::Null)).collect();
    let nothing = annotations(Value::Object(nothing));
    let native = annotations(json!({"deployment.kubernetes.io/revision": "9"}));
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "no-such-uid"});
    let release = |name: Value| json!({"metadata": {"labels": {RELEASE_LABEL: name}}});
    let joins = json!({"metadata": {"labels": {RELEASE_LABEL: "another"}, "annotations": forged()}});
    let mut joins_anew = joins.clone();
    joins_anew["spec"] = template_and(json!({}))["spec"].take();
    vec![
        by(OWNER, "nothing", json!({})),
        by(OWNER, "a new template", template_and(json!({}))),
        by(OWNER, "a new template and replicas", template_and(json!({"replicas": 7}))),
        by(OWNER, "replicas alone", json!({"spec": {"replicas": 7}})),
        by(OWNER, "paced fields alone", json!({"spec": paced()})),
        by(OWNER, "a new template and paced fields", template_and(paced())),
        by(
            OWNER,
            "another kind of strategy",
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
        ),
        by(OWNER, "a pause", json!({"spec": {"paused": true}})),
        by(OWNER, "the end of a pause", json!({"spec": {"paused": false}})),
        by(OWNER, "a new template under a pause", template_and(json!({"paused": true}))),
        by(OWNER, "a new template that goes on", template_and(json!({"paused": false}))),
        by(OWNER, "a label", json!({"metadata": {"labels": {"team": "a"}}})),
        by(OWNER, "forged annotations", annotations(forged())),
        by(OWNER, "annotations taken away", nothing.clone()),
        by(OWNER, "all annotations taken away", annotations(Value::Null)),
        by(OWNER, "another Release", release(json!("another"))),
        by(OWNER, "no Release", release(Value::Null)),
        by(OWNER, "another Release and forged annotations", joins),
        by(OWNER, "another Release, forged annotations and a new template", joins_anew),
        by(TOOL, "a new template", template_and(json!({}))),
        by(OPERATOR, "a new template", template_and(json!({}))),
        by(OPERATOR, "paced fields and no pause", json!({"spec": {"paused": false, "minReadySeconds": 7}})),
        by(OPERATOR, "annotations of its own", annotations(forged())),
        by(NATIVE, "its own annotation", native.clone()),
        through_status(NATIVE, "a status", json!({"status": {"observedGeneration": 1}})),
        through_status(NATIVE, "its own annotation by the status", native),
        through_status(OWNER, "no Release and a new template by the status", {
            let mut all = release(Value::Null);
            all["spec"] = template_and(json!({}))["spec"].take();
            all
        }),
        through_status(OWNER, "forged annotations by the status", annotations(forged())),
        through_status(
            OWNER,
            "an empty annotation by the status",
            annotations(json!({"tidegate.dev/run": ""})),
        ),
        through_status(OWNER, "annotations taken away by the status", nothing),
        through_status(OWNER, "all annotations taken away by the status", annotations(Value::Null)),
        through_status(
            OWNER,
            "another owner by the status",
            json!({"metadata": {"ownerReferences": [owner]}}),
        ),
        through_status(OPERATOR, "annotations of its own by the status", annotations(forged())),
    ]
}

/// What is compared of a Deployment: all that a write may change.
fn shown(object: &Value) -> Value {
    let metadata = &object["metadata"];
    // None is left out by the one, and empty with the other.
    let some = |field: &str| metadata[field].as_object().filter(|all| !all.is_empty());
    json!({
        "spec": object["spec"], "labels": some("labels"), "annotations": some("annotations"),
        "generation": metadata["generation"], "owners": metadata["ownerReferences"],
    })
}

/// What is shown of a write that a policy refuses.
fn refused() -> Value {
    json!({"refused": 403})
}

/// What would come of it on the real API server.
async fn really(story: &Story<'_>, write: &Write, params: PatchParams, patch: &Patch<Value>) -> Value {
    let (user, what) = (write.user, write.what);
    let client = story.stage.cluster.client_in_place_of(user).await.expect("a client");
    let target =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": story.namespace}});
    let api = stage::api_of(&client, &target).expect("a kind");
    let params = PatchParams { dry_run: true, ..params };
    let answer = match write.through_status {
        true => api.patch_status(TARGET, &params, patch).await,
        false => api.patch(TARGET, &params, patch).await,
    };
    match answer {
        Ok(answer) => shown(&serde_json::to_value(answer).expect("JSON")),
        Err(kube::Error::Api(status)) if status.code == 403 => refused(),
        Err(error) => panic!("{what} by {user}: {patch:?}: {error}"),
    }
}

/// The same of what somebody merges.
async fn really_merged(story: &Story<'_>, write: &Write) -> Value {
    really(story, write, PatchParams::default(), &Patch::Merge(write.patch.clone())).await
}

/// What comes of it on the model's, which begins with this Deployment.
fn modelled(base: &Value, write: &Write) -> Value {
    let (shared, _client) = alone();
    let mut world = shared.lock();
    world.store.put("deployments", named(TARGET), base.clone());
    let who = match write.user {
        OPERATOR => Who::Operator(0),
        NATIVE => Who::Cluster,
        person => Who::Person(person),
    };
    let below = if write.through_status { "/status" } else { "" };
    let request = Request {
        who,
        method: Method::PATCH,
        path: format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{TARGET}{below}"),
        query: String::new(),
        content_type: "application/merge-patch+json".to_owned(),
        metadata_only: false,
        body: Bytes::from(write.patch.to_string()),
        patch: None,
    };
    match requests::answer(&mut world, &request) {
        Answer::Whole(200, text) => shown(&serde_json::from_slice::<Value>(&text).expect("JSON")),
        Answer::Whole(403, _) => refused(),
        Answer::Whole(code, text) => panic!("{}: {code} {}", write.what, String::from_utf8_lossy(&text)),
        Answer::Watch(_) => panic!("{}: a write is no watch", write.what),
    }
}

/// Fields of the spec that a tool applies: a whole manifest, as far as it is not about who is selected.
fn manifest(base: &Value) -> Map<String, Value> {
    let mut fields = paced();
    fields["paused"] = json!(false);
    fields["replicas"] = json!(7);
    fields["template"] = base["spec"]["template"].clone();
    fields["template"]["metadata"]["annotations"]["version"] = json!("v9");
    fields.as_object().expect("fields").clone()
}

/// The same fields applied server-side, by a tool that insists.
async fn really_applied(story: &Story<'_>, fields: &Map<String, Value>) -> Value {
    let document = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": TARGET, "namespace": story.namespace}, "spec": fields,
    });
    let write = by(TOOL, "a manifest", document.clone());
    really(story, &write, PatchParams::apply(TOOL).force(), &Patch::Apply(document)).await
}

fn modelled_applied(base: &Value, fields: &Map<String, Value>) -> Value {
    let (shared, _client) = alone();
    let mut world = shared.lock();
    world.store.put("deployments", named(TARGET), base.clone());
    world.apply_target(TARGET, TOOL, fields, true);
    shown(world.deployment(TARGET).expect("it is there"))
}

/// Waits until the policies are in force, and the last write to the Deployment has been seen by everybody.
async fn until_in_force(story: &Story<'_>) {
    story
        .until("the policies are in force", |story| async move {
            let joins =
                json!({"metadata": {"labels": {RELEASE_LABEL: "another"}}, "spec": template_and(json!({}))["spec"]});
            let answer = really_merged(story, &by(OWNER, "a label", joins)).await;
            let forged = through_status(OWNER, "forged annotations", annotations(forged()));
            let target = story.target().await;
            let is_guarded = target["metadata"]["labels"][RELEASE_LABEL].is_string();
            if is_guarded && really_merged(story, &forged).await != refused() {
                return false;
            }
            let authors = answer["annotations"][CHANGED_BY].as_str().unwrap_or_default();
            authors.contains(OWNER) && target["status"]["observedGeneration"] == target["metadata"]["generation"]
        })
        .await;
}

/// Sends all of it to both, and gives what really comes of each write.
async fn agree(state: &str, story: &Story<'_>) -> Vec<Value> {
    until_in_force(story).await;
    let base = story.target().await;
    let (mut answers, mut others) = (Vec::new(), Vec::new());
    for write in writes() {
        let real = really_merged(story, &write).await;
        let modelled = modelled(&base, &write);
        if modelled != real {
            others.push(format!("{} by {}: {modelled:#}\nand not {real:#}", write.what, write.user));
        }
        answers.push(real);
    }
    let fields = manifest(&base);
    let (real, modelled) = (really_applied(story, &fields).await, modelled_applied(&base, &fields));
    if modelled != real {
        others.push(format!("applied server-side by {TOOL}: {modelled:#}\nand not {real:#}"));
    }
    assert_eq!(shown(&story.target().await), shown(&base), "{state}: nobody has written anything meanwhile");
    assert!(others.is_empty(), "{state}: the model says of\n{}", others.join("\n"));
    answers
}

/// How many of the writes are refused.
fn refusals(answers: &[Value]) -> usize {
    answers.iter().filter(|answer| **answer == refused()).count()
}

/// Nobody's: there is no Release.
async fn without_a_release() {
    let story = Story::begin(Stage::shared().await, "same-nobodys").await;
    story.apply(story.deployment(4)).await;
    let answers = agree("without a Release", &story).await;
    assert!(answers[1]["spec"]["paused"].is_null(), "a new template goes out: {:#}", answers[1]);
    assert_eq!(refusals(&answers), 0, "nobody is kept from what is nobody's");
}

async fn at_rest() {
    let story = adopted("same-rest", 4, by_hand()).await;
    story
        .until("it is labelled", |story| async move {
            story.target().await["metadata"]["labels"][RELEASE_LABEL] == "shop"
        })
        .await;
    let answers = agree("at rest", &story).await;
    assert_eq!(answers[1]["spec"]["paused"], true, "a new template is held: {:#}", answers[1]);
    assert_eq!(answers[4]["spec"]["minReadySeconds"], 7, "paced fields are the owner's: {:#}", answers[4]);
    // What is not there cannot be taken away.
    assert_eq!(refusals(&answers), 4, "all that somebody forges through the status");
}

async fn held_before_the_first_pod() {
    let story = shipped("same-held", 4, by_approval()).await;
    story.until_blocked("AwaitingApproval").await;
    let answers = agree("held", &story).await;
    assert_eq!(answers[8]["spec"]["paused"], true, "nobody ends the hold: {:#}", answers[8]);
}

async fn under_a_pause_of_the_owners() {
    let story = adopted("same-paused", 4, by_hand()).await;
    story.patch(json!({"spec": {"paused": true}})).await;
    story.ship_paper("v2", json!({})).await;
    story.until_blocked("PausedByOwner").await;
    let answers = agree("paused by its owner", &story).await;
    assert_eq!(answers[8]["annotations"][HELD], "true", "the pause becomes ours: {:#}", answers[8]);
}

async fn in_mid_run() {
    let story = at_half("same-run", 4).await;
    let answers = agree("in mid-run", &story).await;
    assert_eq!(answers[4], answers[0], "paced fields stay as they are");
    assert_eq!(refusals(&answers), 6, "all that somebody forges or takes away through the status");
}

#[test]
fn what_the_policies_make_of_a_write_is_what_the_model_makes_of_it() {
    on_stage(async {
        futures::join!(
            without_a_release(),
            at_rest(),
            held_before_the_first_pod(),
            under_a_pause_of_the_owners(),
            in_mid_run(),
        );
    });
}
