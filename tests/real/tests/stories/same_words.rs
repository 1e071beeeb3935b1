//! The API server in memory (`tests/sim`) held against a real one: requests that go wrong, sent to both by the same code, and what the
//! operator reads of the answers must be the same. What it reads is what its writer makes of them, and codes and reasons where the elector and
//! the watches look at those.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tidegate::act::{ActError, Fence, Writer};
use tidegate::api::{Release, ReleaseAction};
use tidegate::decide::Key;
use tidegate::decide::plan::ObjectPatch;
use tidegate::watch::slim;
use tidegate_real::cluster::Options;
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage, paper_deployment};
use tidegate_sim::scripts::job;
use tidegate_sim::server::{Who, alone, managers};
use tidegate_sim::world::{Flags, NAMESPACE, Shared};

/// Leads for long enough.
struct Leads;

impl Fence for Leads {
    fn remaining(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

fn kept() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "kept"}, "revision": 1, "data": {"spec": {}}})
}

/// A Job of a Release that there is not.
fn orphan() -> Value {
    let mut orphan = job(false);
    let owner =
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "nobody", "uid": "x"});
    orphan["metadata"]["ownerReferences"] = json!([owner]);
    orphan
}

/// What there is on both, with the plurals of the kinds. The Release is about nothing that there is, and the action about no Release: nobody but who tries
/// it here writes them.
fn objects() -> [(&'static str, Value); 6] {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"});
    let release = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "other"}, "spec": {"targetRef": target},
    });
    let action = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction", "metadata": {"name": "said"},
        "spec": {"release": "nobody", "action": "Pause", "reason": "because"},
    });
    let flags = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"new": "on"}});
    [
        ("deployments", paper_deployment(1)),
        ("controllerrevisions", kept()),
        ("jobs", job(false)),
        ("releases", release),
        ("releaseactions", action),
        ("configmaps", flags),
    ]
}

/// A server in memory with these objects.
fn in_memory() -> (Shared, Client) {
    let (shared, client) = alone();
    for (plural, object) in objects() {
        shared.lock().make(&Who::Person(OWNER), plural, NAMESPACE, object);
    }
    (shared, client)
}

/// A namespace of a real one with these objects.
async fn real(name: &str) -> Story<'static> {
    let story = Story::begin(Stage::shared().await, name).await;
    for (_, object) in objects() {
        story.apply(object).await;
    }
    story
}

/// The owner's tool, on both: what it has applied first is its own.
const OWNER: &str = "story";

fn writer(client: &Client) -> Writer {
    Writer::new(client.clone(), Arc::new(Leads))
}

fn word<T>(result: Result<T, ActError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(error) => error.category(),
    }
}

/// Whether what has the name of a template that is to be kept is that.
fn there(found: Result<Option<slim::StoredTemplate>, ActError>) -> &'static str {
    let fingerprint = slim::fingerprint(&kept()["data"]);
    match found.expect("an answer") {
        Some(found) if *found.data.fingerprint == *fingerprint => "it",
        Some(_) => "another",
        None => "nothing",
    }
}

fn merge(group: &str, resource: &str, patch: Value) -> ObjectPatch {
    ObjectPatch {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        name: "flags".to_owned(),
        patch,
    }
}

/// What the writer makes of each, and what it is to make of it.
async fn written(client: &Client, namespace: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    let writer = writer(client);
    let mut all = Vec::new();
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    let pause = json!({"op": "add", "path": "/spec/paused", "value": true});
    let none = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}});
    let patches = [
        (
            "a generation that is another",
            vec![test("/metadata/generation", json!(999)), pause.clone()],
            "stale",
        ),
        (
            "a field tested that is not there",
            vec![test("/metadata/labels/none", json!("x")), pause.clone()],
            "stale",
        ),
        (
            "a member that is there, tested to be missing",
            vec![test("/metadata/name", Value::Null), pause.clone()],
            "stale",
        ),
        ("one below what is not there", vec![test("/spec/none/none", Value::Null), pause.clone()], "stale"),
        (
            "a member that is missing, tested to be",
            vec![test("/spec/none", Value::Null), pause.clone()],
            "done",
        ),
        (
            "an entry tested after the last",
            vec![test("/metadata/managedFields/99/manager", json!("x")), pause],
            "stale",
        ),
        ("a field removed that is not there", vec![json!({"op": "remove", "path": "/spec/none"})], "stale"),
        (
            "a pace that stands still",
            vec![json!({"op": "add", "path": "/spec/strategy", "value": none})],
            "refused",
        ),
    ];
    for (what, operations, wanted) in patches {
        all.push((what, word(writer.patch_deployment(namespace, "shop", &operations).await), wanted));
    }
    let test = [test("/metadata/generation", json!(1))];
    let gone = writer.patch_deployment(namespace, "nobody", &test).await;
    all.push(("a Deployment that is gone", word(gone), "gone"));
    for (what, name, wanted) in
        [("an older status", "other", "stale"), ("a Release that is gone", "nobody", "gone")]
    {
        let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
        all.push((what, word(writer.patch_release_status(&key, "1", &json!({})).await), wanted));
    }
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let result = json!({"result": "Done", "message": "not what this one says"});
    all.extend([
        ("a template kept twice", word(writer.create_revision(namespace, "kept", &kept()).await), "done"),
        ("what stands there then", there(writer.create_revision(namespace, "kept", &kept()).await), "it"),
        (
            "another template of this name",
            word(writer.delete_revision(namespace, "kept", "another").await),
            "stale",
        ),
        ("a template that is gone", word(writer.delete_revision(namespace, "nobody", "x").await), "done"),
        ("a Job of a Release that is gone", word(writer.create_job(namespace, &orphan()).await), "gone"),
        ("another Job of this name", word(writer.delete_job(namespace, "once", "another").await), "stale"),
        ("a Job that is gone", word(writer.delete_job(namespace, "nobody", "x").await), "done"),
        ("a pod to patch that is gone", word(writer.patch_pod(namespace, "nobody", &labels).await), "gone"),
        ("a pod to delete that is gone", word(writer.delete_pod(namespace, "nobody", "x").await), "done"),
        (
            "an action that is gone",
            word(writer.patch_action_status(namespace, "nobody", "x", &result).await),
            "done",
        ),
        (
            "another action of this name",
            word(writer.patch_action_status(namespace, "said", "another", &result).await),
            "done",
        ),
        ("a record that is gone", word(writer.delete_report(namespace, "nobody").await), "done"),
    ]);
    let actions: Api<ReleaseAction> = Api::namespaced(client.clone(), namespace);
    let said = actions.get("said").await.expect("an action").status.is_some();
    all.push(("what that one says", if said { "marked" } else { "nothing" }, "nothing"));
    let unserved = merge("nobody.example.com", "things", json!({"spec": {}}));
    all.push((
        "a kind that is not served",
        word(writer.patch_object(namespace, &unserved).await),
        "not_served",
    ));
    let served =
        ObjectPatch { name: "nobody".to_owned(), ..merge("", "configmaps", json!({"data": {"a": "b"}})) };
    all.push(("an object that is gone", word(writer.patch_object(namespace, &served).await), "gone"));
    all
}

#[test]
fn the_writer_reads_the_same_of_both_servers_where_a_write_goes_wrong() {
    on_stage(async {
        let story = real("words").await;
        let (_shared, client) = in_memory();
        for (server, answers) in [
            ("real", written(&story.client, &story.namespace).await),
            ("in memory", written(&client, NAMESPACE).await),
        ] {
            let others: Vec<_> = answers.iter().filter(|(_, word, wanted)| word != wanted).collect();
            assert!(
                others.is_empty(),
                "what, what is read, and what was to be read of the server {server}: {others:?}"
            );
        }
    });
}

/// Code and reason; 200 where nothing is wrong.
fn said<T>(result: Result<T, kube::Error>) -> (u16, String) {
    match result {
        Ok(_) => (200, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        Err(other) => panic!("no answer: {other}"),
    }
}

/// A Lease of this version, and of this uid.
fn lease(version: Option<&str>, uid: Option<&str>) -> Lease {
    let metadata = json!({"name": "turn", "resourceVersion": version, "uid": uid});
    serde_json::from_value(json!({"metadata": metadata, "spec": {"holderIdentity": "somebody"}}))
        .expect("a Lease")
}

/// What is said to somebody who wants to lead.
async fn about_leading(client: &Client, namespace: &str) -> Vec<(&'static str, (u16, String))> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let post = PostParams::default();
    let made = api.create(&post, &lease(None, None)).await.expect("made");
    let uid = made.metadata.uid.as_deref();
    let mut all = vec![
        ("made twice", said(api.create(&post, &lease(None, None)).await)),
        ("of an older version", said(api.replace("turn", &post, &lease(Some("1"), uid)).await)),
        ("of no version", said(api.replace("turn", &post, &lease(None, uid)).await)),
        ("another one", said(api.replace("turn", &post, &lease(None, Some("another"))).await)),
    ];
    api.delete("turn", &DeleteParams::default()).await.expect("deleted");
    all.push(("read, and gone", said(api.get("turn").await)));
    all.push(("renewed, and gone", said(api.replace("turn", &post, &made).await)));
    all.push(("made by writing it", said(api.replace("turn", &post, &lease(None, None)).await)));
    all
}

#[test]
fn who_wants_to_lead_is_told_the_same_by_both_servers() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "words-lease").await;
        let (_shared, client) = alone();
        let real = about_leading(&story.client, &story.namespace).await;
        assert_eq!(about_leading(&client, NAMESPACE).await, real);
        let codes: Vec<u16> = real.iter().map(|(_, (code, _))| *code).collect();
        assert_eq!(codes, [409, 409, 422, 409, 404, 409, 200], "{real:?}");
    });
}

/// What a watch is told that goes on from the first version that there ever was.
async fn from_long_ago(client: &Client, namespace: &str) -> (u16, String) {
    let api: Api<Release> = Api::namespaced(client.clone(), namespace);
    let events = api.watch(&WatchParams::default(), "1").await.expect("a watch begins");
    match pin!(events).next().await {
        Some(Ok(WatchEvent::Error(status))) => (status.code, status.reason.clone()),
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_watch_from_long_ago_is_told_within_it_that_it_is_too_old_by_both_servers() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "words-watch").await;
        let (shared, client) = in_memory();
        shared.lock().store.compact();
        let real = from_long_ago(&story.client, &story.namespace).await;
        assert_eq!(real, (410, "Expired".to_owned()));
        assert_eq!(from_long_ago(&client, NAMESPACE).await, real);
    });
}

/// What is said to who asks for the next page.
async fn next_page(leases: &Api<Lease>, token: &str) -> (u16, String) {
    said(leases.list(&ListParams::default().limit(2).continue_token(token)).await)
}

/// What comes of a list of five in pages of two, of which the second is asked for when all is forgotten: the next page itself, and then what
/// the library makes of it that the operator lists with.
async fn in_pages(
    client: &Client,
    namespace: &str,
    forget: impl AsyncFnOnce(&Api<Lease>, &str),
) -> Vec<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    for name in ["a", "b", "c", "d", "e"] {
        let mut one = lease(None, None);
        one.metadata.name = Some(name.to_owned());
        leases.create(&PostParams::default(), &one).await.expect("made");
    }
    let mut events = pin!(watcher::watcher(leases.clone(), watcher::Config::default().page_size(2)));
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(word_of(events.next().await));
    }
    let page = leases.list(&ListParams::default().limit(2)).await.expect("a page");
    let token = page.metadata.continue_.expect("there is more");
    forget(&leases, &token).await;
    let (code, reason) = next_page(&leases, &token).await;
    told.push(format!("{code} {reason}"));
    while told.last().is_none_or(|last| last != LISTED) {
        told.push(word_of(events.next().await));
    }
    told
}

/// All of it has come.
const LISTED: &str = "has listed";

fn word_of(event: Option<Result<Event<Lease>, watcher::Error>>) -> String {
    match event {
        Some(Ok(Event::Init)) => "lists".to_owned(),
        Some(Ok(Event::InitApply(_))) => "an object".to_owned(),
        Some(Ok(Event::InitDone)) => LISTED.to_owned(),
        Some(Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))) => {
            format!("{} {}", status.code, status.reason)
        }
        other => panic!("no list: {other:?}"),
    }
}

#[test]
fn a_list_whose_next_page_is_too_old_is_told_so_by_both_servers_and_begins_anew() {
    on_stage(async {
        let stage = Stage::without_operator(Options::default()).await.expect("a stage");
        let story = Story::begin(&stage, "words-pages").await;
        let (here, control_plane) = (&story, &stage.cluster);
        let compacted = async |leases: &Api<Lease>, token: &str| {
            // What is forgotten is what was before the last that happened.
            let later = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}});
            here.apply(later).await;
            control_plane.control("components/etcd/compact").await.expect("compacted");
            let is_refused = async |_: &Story<'_>| next_page(leases, token).await.0 == 410;
            here.until("the page is too old", is_refused).await;
        };
        let real = in_pages(&story.client, &story.namespace, compacted).await;
        let (shared, client) = alone();
        let forgotten = async |_: &Api<Lease>, _: &str| shared.lock().store.forget();
        assert_eq!(in_pages(&client, NAMESPACE, forgotten).await, real);
        let mut wanted = vec!["lists", "an object", "an object", "410 Expired", "410 Expired", "lists"];
        wanted.extend(["an object"; 5]);
        wanted.push(LISTED);
        assert_eq!(real, wanted);
    });
}

/// Nobody may turn off what is new here; the policy, and how it is bound.
fn nobody_turns_off(namespace: &str) -> [Value; 2] {
    let maps = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["UPDATE"]});
    let rule = json!({
        "expression": "!has(object.data) || !('new' in object.data) || object.data['new'] != 'off'",
        "message": "new stays on", "reason": "Forbidden",
    });
    stage::denying(namespace, &maps, &rule)
}

#[test]
fn what_a_policy_denies_is_refused_and_no_missing_right_on_both_servers() {
    on_stage(async {
        let story = real("words-policy").await;
        let (shared, client) = in_memory();
        let documents = nobody_turns_off(&story.namespace);
        for document in &documents {
            stage::apply(&story.client, document, "story").await.expect("a policy");
        }
        let off = json!({"data": {"new": "off"}});
        let body = &off;
        story
            .until("it is in force", |story| async move {
                let only_asked = PatchParams { dry_run: true, ..PatchParams::default() };
                story.api("v1", "ConfigMap").patch("flags", &only_asked, &Patch::Merge(body)).await.is_err()
            })
            .await;
        shared.lock().flags = Flags::Refusing;
        let patch = merge("", "configmaps", off.clone());
        let real = word(writer(&story.client).patch_object(&story.namespace, &patch).await);
        let in_memory = word(writer(&client).patch_object(NAMESPACE, &patch).await);
        assert_eq!((real, in_memory), ("refused", "refused"));
        for document in documents.iter().rev() {
            let api = stage::api_of(&story.client, document).expect("a kind");
            api.delete(&story.namespace, &DeleteParams::default()).await.expect("deleted");
        }
    });
}

/// Fields of the spec that another tool would take from those who manage them, and from whom; by whole fields, as the model knows them.
fn conflicts(error: &kube::Error) -> BTreeSet<(String, String)> {
    let kube::Error::Api(status) = error else { panic!("no answer: {error}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"), "{status:?}");
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let each = |cause: &kube::core::response::StatusCause| {
        let field = cause.field.strip_prefix(".spec.")?.split('.').next()?;
        let manager = cause.message.split('"').nth(1)?;
        Some((field.to_owned(), manager.to_owned()))
    };
    causes.filter_map(each).collect()
}

#[test]
fn who_applies_what_others_manage_is_refused_the_same_fields_by_both_servers() {
    on_stage(async {
        let story = real("words-apply").await;
        let (shared, client) = in_memory();
        let add = |field: &str, value: Value| json!({"op": "add", "path": format!("/spec/{field}"), "value": value});
        let ours = [
            add("paused", json!(true)),
            add("minReadySeconds", json!(5)),
            add("progressDeadlineSeconds", json!(700)),
        ];
        for (client, namespace) in [(&story.client, story.namespace.as_str()), (&client, NAMESPACE)] {
            writer(client).patch_deployment(namespace, "shop", &ours).await.expect("written");
        }
        // One that stands as it is wanted is nobody's loss.
        let wanted = json!({
            "paused": false, "minReadySeconds": 9, "progressDeadlineSeconds": 700, "strategy": {"rollingUpdate": {"maxSurge": 2}},
        });
        let document = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": wanted});
        let api = story.api("apps/v1", "Deployment");
        let applied = api.patch("shop", &PatchParams::apply("argocd"), &Patch::Apply(&document)).await;
        let real = conflicts(&applied.expect_err("a conflict"));
        let wanted = wanted.as_object().expect("fields");
        let world = shared.lock();
        let modelled = managers::conflicts("argocd", wanted, world.deployment("shop").expect("there"));
        let modelled: BTreeSet<(String, String)> =
            modelled.into_iter().map(|(field, manager)| (field.to_owned(), manager)).collect();
        assert_eq!(modelled, real);
        assert_eq!(real.len(), 3, "{real:?}");
    });
}
