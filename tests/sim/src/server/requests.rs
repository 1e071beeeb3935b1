//! One request and its answer: paths, verbs, patches, the status subresource, generations, conflicts; in the words of the real server
//! (v1.37) where the operator reads them.
//!
//! It answers what the operator asks for. Anything else is 404 or 405, and fails whoever relies on it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use json_patch::PatchOperation;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::admission;
use super::store::{self, KINDS, Kind, Name, Object, Selector, kind_of};
use crate::time::second;
use crate::world::World;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A process of the operator.
    Operator(usize),
    /// A person or a tool of theirs.
    Person(&'static str),
    /// Controllers of the cluster itself.
    Cluster,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub who: Who,
    pub method: http::Method,
    pub path: String,
    pub query: String,
    pub content_type: String,
    /// Asks for metadata only.
    pub metadata_only: bool,
    pub body: Bytes,
    /// The body, where it is a JSON patch.
    pub patch: Option<json_patch::Patch>,
}

/// Its answer.
pub enum Answer {
    Whole(u16, Bytes),
    Watch(UnboundedReceiver<Bytes>),
}

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    pub code: u16,
    reason: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// As an answer.
    pub fn answer(&self) -> Answer {
        said(self.code, &self.status())
    }

    fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

/// What a path names.
struct Place {
    kind: &'static Kind,
    namespace: String,
    name: Option<String>,
    status: bool,
}

fn said(code: u16, value: &Value) -> Answer {
    Answer::Whole(code, Bytes::from(store::text_of(value)))
}

/// Answers.
pub fn answer(world: &mut World, request: &Request) -> Answer {
    match respond(world, request) {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    }
}

fn respond(world: &mut World, request: &Request) -> Result<Answer, Refusal> {
    let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    if let ["apis", group, version] = segments.as_slice() {
        return Ok(said(200, &resources(world, &format!("{group}/{version}"))));
    }
    if let Some(answer) = of_pods(world, &segments) {
        return answer;
    }
    let place = place(&segments)
        .ok_or_else(|| Refusal::new(404, "NotFound", "the server could not find the requested resource"))?;
    let query = |name: &str| -> Option<Cow<'_, str>> {
        url::form_urlencoded::parse(request.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let Place { kind, namespace, name, status } = place;
    let plural = kind.plural;
    let whole = |code: u16, object: &Object| {
        if request.metadata_only {
            let metadata = &object["metadata"];
            let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
            return Ok(said(code, &partial));
        }
        Ok(Answer::Whole(code, object.text().clone()))
    };
    match (request.method.as_str(), name) {
        ("GET", None) if world.is_unread(plural) => {
            Err(Refusal::new(500, "InternalError", "etcdserver: request timed out"))
        }
        ("GET", None) => {
            let selector = Selector::of_fields(query("fieldSelector").as_deref())
                .unwrap_or_else(|| Selector::parse(query("labelSelector").as_deref()));
            if query("watch").as_deref() == Some("true") {
                return watch(
                    world,
                    request,
                    plural,
                    selector,
                    query("resourceVersion").as_deref(),
                    query("timeoutSeconds").as_deref(),
                    query("allowWatchBookmarks").as_deref() == Some("true"),
                );
            }
            list(world, request, kind, &selector, query("limit").as_deref(), query("continue").as_deref())
        }
        ("GET", Some(name)) => {
            let found = world
                .store
                .get(plural, &(namespace, name.clone()))
                .ok_or_else(|| not_found(plural, &name))?;
            whole(200, found)
        }
        ("POST", None) => {
            let object: Value = read(&request.body)?;
            let made = create(world, &request.who, kind, &namespace, object)?;
            whole(201, &made)
        }
        ("PUT" | "PATCH", Some(name)) => {
            let name: Name = (namespace, name);
            let before = match world.store.get(plural, &name).cloned() {
                Some(before) => before,
                // A Lease is made by writing it, too; but not a certain one that is gone.
                None if plural == "leases" && request.method == http::Method::PUT => {
                    let object: Value = read(&request.body)?;
                    if !object["metadata"]["uid"].is_null() {
                        return Err(conflict(plural, &name.1, "the UID in the precondition does not match"));
                    }
                    let made = create(world, &request.who, kind, &name.0, object)?;
                    return whole(201, &made);
                }
                None => return Err(not_found(plural, &name.1)),
            };
            let changed = match request.method.as_str() {
                "PUT" => read(&request.body)?,
                _ => patched(&before, request)?,
            };
            if changed["metadata"]["uid"] != before["metadata"]["uid"] {
                return Err(conflict(plural, &name.1, "the UID in the precondition does not match"));
            }
            if plural == "configmaps"
                && let Some((code, reason)) = world.flags.refuses()
            {
                return Err(Refusal::new(
                    code,
                    reason,
                    format!("configmaps \"{}\" cannot be patched", name.1),
                ));
            }
            let stored = update(world, &request.who, kind, &name, &before, changed, status)?;
            whole(200, &stored)
        }
        ("DELETE", Some(name)) => {
            let key = (namespace, name.clone());
            let before = world.store.get(plural, &key).cloned().ok_or_else(|| not_found(plural, &name))?;
            let options: Value = if request.body.is_empty() { Value::Null } else { read(&request.body)? };
            let wanted = &options["preconditions"]["uid"];
            if !wanted.is_null() && *wanted != before["metadata"]["uid"] {
                return Err(conflict(plural, &name, "the UID in the precondition does not match"));
            }
            world.delete(&request.who, plural, &key);
            Ok(said(200, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
        }
        _ => Err(Refusal::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
    }
}

/// What pods wrote, and what was written about them; as much as shows that it was read.
fn of_pods(world: &World, segments: &[&str]) -> Option<Result<Answer, Refusal>> {
    match segments {
        ["api", "v1", "namespaces", namespace, "pods", name, "log"] => {
            let pod = world.store.get("pods", &((*namespace).to_owned(), (*name).to_owned()));
            let text = Bytes::from_static(b"it began\nit went on\n");
            Some(pod.map(|_| Answer::Whole(200, text)).ok_or_else(|| not_found("pods", name)))
        }
        ["api", "v1", "namespaces", _, "events"] => {
            let none = json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []});
            Some(Ok(said(200, &none)))
        }
        _ => None,
    }
}

fn place(segments: &[&str]) -> Option<Place> {
    let (api_version, rest) = match segments {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let kind = kind_of(rest.first()?).filter(|kind| kind.api_version == api_version)?;
    // Of what is below an object only its status is here.
    if rest.get(2).is_some_and(|below| *below != "status") {
        return None;
    }
    Some(Place {
        kind,
        namespace: namespace.to_owned(),
        name: rest.get(1).map(|name| (*name).to_owned()),
        status: rest.get(2) == Some(&"status"),
    })
}

/// What a group serves; an old server has no mutating admission policies.
fn resources(world: &World, group: &str) -> Value {
    let served = KINDS
        .iter()
        .filter(|kind| kind.api_version == group)
        .filter(|kind| world.policies || !kind.kind.starts_with("Mutating"));
    let resource = |kind: &Kind| {
        json!({"name": kind.plural, "singularName": "", "namespaced": false, "kind": kind.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]})
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": served.map(resource).collect::<Vec<_>>()})
}

/// Who goes on from so long ago is told that it cannot.
fn too_old(world: &mut World, who: &Who, plural: &str, message: String) -> Refusal {
    if let Who::Operator(process) = who {
        let seconds = format!("{}.{:03}", world.now / 1000, world.now % 1000);
        world.log.push(format!("{seconds} operator {process} was told of {plural}: {message}"));
    }
    Refusal::new(410, "Expired", message)
}

fn list(
    world: &mut World,
    request: &Request,
    kind: &Kind,
    selector: &Selector,
    limit: Option<&str>,
    from: Option<&str>,
) -> Result<Answer, Refusal> {
    let limit: Option<usize> = limit.and_then(|limit| limit.parse().ok());
    let limit = limit.map_or(usize::MAX, |limit| if world.page == 0 { limit } else { limit.min(world.page) });
    // The version of the first page is that of all: what happens in between comes again with the watch.
    let (revision, after) = match from {
        Some(token) => {
            let mut parts = token.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            let (revision, after) = (part(), (part(), part()));
            if world.store.is_too_old(revision.parse().unwrap_or(0)) {
                let message =
                    "The provided continue parameter is too old to display a consistent list result.";
                return Err(too_old(world, &request.who, kind.plural, message.to_owned()));
            }
            (revision, Some(after))
        }
        None => (world.store.revision().to_string(), None),
    };
    let mut items: Vec<&[u8]> = Vec::new();
    let mut last: Option<&Name> = None;
    let mut next = String::new();
    for (name, object) in world.store.page(kind.plural, selector, after.as_ref()) {
        if items.len() == limit {
            let (namespace, name) = last.cloned().unwrap_or_default();
            next = format!("{revision}/{namespace}/{name}");
            break;
        }
        last = Some(name);
        items.push(object.text());
    }
    let metadata = json!({"resourceVersion": revision, "continue": next});
    let mut text = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{metadata},"items":["#,
        kind.kind, kind.api_version
    )
    .into_bytes();
    text.extend(items.join(&b','));
    text.extend_from_slice(b"]}");
    Ok(Answer::Whole(200, Bytes::from(text)))
}

fn watch(
    world: &mut World,
    request: &Request,
    plural: &'static str,
    selector: Selector,
    since: Option<&str>,
    seconds: Option<&str>,
    bookmarks: bool,
) -> Result<Answer, Refusal> {
    let Who::Operator(process) = request.who else {
        return Err(Refusal::new(405, "MethodNotAllowed", "only the operator watches here"));
    };
    let since = since.and_then(|since| since.parse().ok()).unwrap_or(0);
    let seconds: u64 = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let (sender, receiver) = mpsc::unbounded_channel();
    let ends_at = world.now + seconds * 1000;
    let held_until = world.watch_held_until(process);
    let bookmark_at = if bookmarks { store::next_bookmark(world.now, ends_at) } else { u64::MAX };
    if !world.store.watch(plural, selector, since, process, held_until, ends_at, bookmark_at, sender) {
        let message = format!("too old resource version: {since}");
        let refusal = too_old(world, &request.who, plural, message);
        // Most API servers say it within a watch that has begun.
        return if world.refuses_old {
            Err(refusal)
        } else {
            Ok(Answer::Watch(store::ended(&refusal.status())))
        };
    }
    Ok(Answer::Watch(receiver))
}

fn patched(before: &Value, request: &Request) -> Result<Value, Refusal> {
    let mut object = match request.patch.as_ref().map(|patch| patch.0.as_slice()) {
        // Written anew as a whole: the one before need not be copied.
        Some([PatchOperation::Test(_), PatchOperation::Add(status)]) if status.path.as_str() == "/status" => {
            let fields = before.as_object().into_iter().flatten().filter(|(field, _)| *field != "status");
            fields.map(|(field, value)| (field.clone(), value.clone())).collect()
        }
        Some(_) | None => before.clone(),
    };
    match request.content_type.as_str() {
        "application/json-patch+json" => {
            let patch = request
                .patch
                .as_ref()
                .ok_or_else(|| Refusal::new(400, "BadRequest", "the body is no JSON patch"))?;
            // Which operation it was, and why, a real server keeps to itself.
            super::patch::apply(&mut object, &patch.0).map_err(|_| {
                Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request")
            })?;
        }
        "application/merge-patch+json" => json_patch::merge(&mut object, &read(&request.body)?),
        other => {
            return Err(Refusal::new(
                415,
                "UnsupportedMediaType",
                format!("the body of the request was in an unknown format: {other}"),
            ));
        }
    }
    Ok(object)
}

/// Makes an object.
pub fn create(
    world: &mut World,
    who: &Who,
    kind: &'static Kind,
    namespace: &str,
    mut object: Value,
) -> Result<Arc<Object>, Refusal> {
    let plural = kind.plural;
    let number = world.store.number();
    let name = match (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(start)) => format!("{start}{number:05}"),
        (None, None) => {
            return Err(Refusal::new(
                422,
                "Invalid",
                format!("{} \"\" is invalid: metadata.name: Required value", kind.kind),
            ));
        }
    };
    let key = (namespace.to_owned(), name.clone());
    if world.store.get(plural, &key).is_some() {
        return Err(Refusal::new(409, "AlreadyExists", format!("{plural} \"{name}\" already exists")));
    }
    object["apiVersion"] = json!(kind.api_version);
    object["kind"] = json!(kind.kind);
    let now = world.now;
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name);
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata["uid"] = json!(format!("u{number}"));
    metadata["creationTimestamp"] = json!(second(now));
    metadata["generation"] = json!(1);
    if plural == "releaseactions" {
        let release = object["spec"]["release"].as_str().unwrap_or_default().to_owned();
        let release = world.store.get("releases", &(namespace.to_owned(), release)).cloned();
        if let Who::Person(user) = who {
            admission::action(&mut object, user, release.as_ref().map(|release| &***release));
        }
    }
    if plural == "deployments" {
        if let (Who::Person(user), true) = (who, world.policies) {
            admission::workload(None, &mut object, user);
        }
        defaults(&mut object);
    }
    Ok(world.commit(who, plural, key, None, object))
}

/// Stores a newer version of an object.
pub fn update(
    world: &mut World,
    who: &Who,
    kind: &'static Kind,
    name: &Name,
    before: &Value,
    mut object: Value,
    status: bool,
) -> Result<Arc<Object>, Refusal> {
    let plural = kind.plural;
    let known = &before["metadata"]["resourceVersion"];
    let sent = &object["metadata"]["resourceVersion"];
    if !sent.is_null() && sent != known {
        return Err(conflict(
            plural,
            &name.1,
            "the object has been modified; please apply your changes to the latest version and try again",
        ));
    }
    if plural == "leases" && sent.is_null() {
        return Err(Refusal::new(
            422,
            "Invalid",
            "metadata.resourceVersion: Invalid value: must be specified for an update",
        ));
    }
    if status {
        // The status subresource changes nothing else; but these two of a Deployment.
        let also = ["annotations", "ownerReferences"].into_iter().filter(|_| plural == "deployments");
        let also = also.map(|field| (field, object["metadata"].get(field).cloned().unwrap_or_default()));
        let also: Vec<(&str, Value)> =
            also.filter(|(field, value)| *value != before["metadata"][*field]).collect();
        for field in ["metadata", "spec"] {
            if object[field] != before[field] {
                object[field] = before[field].clone();
            }
        }
        for (field, value) in also {
            match value {
                Value::Null => drop(object["metadata"].as_object_mut().map(|all| all.remove(field))),
                value => object["metadata"][field] = value,
            }
        }
        if plural == "deployments" {
            admission::through_status(before, &object).map_err(|what| {
                let words =
                    format!("deployments.apps \"{}\" is forbidden: {what} through its status", name.1);
                Refusal::new(403, "Forbidden", words)
            })?;
        }
    } else {
        match before.get("status") {
            Some(status) if has_status(plural) => object["status"] = status.clone(),
            None if has_status(plural) => drop(object.as_object_mut().map(|object| object.remove("status"))),
            Some(_) | None => {}
        }
        for field in ["uid", "creationTimestamp", "name", "namespace", "generation"] {
            if let Some(value) = before["metadata"].get(field) {
                object["metadata"][field] = value.clone();
            }
        }
        if plural == "deployments" {
            if let (Who::Person(user), true) = (who, world.policies) {
                admission::workload(Some(before), &mut object, user);
            }
            defaults(&mut object);
            possible(&object)?;
        }
        let annotated =
            plural == "deployments" && object["metadata"]["annotations"] != before["metadata"]["annotations"];
        if object["spec"] != before["spec"] || annotated {
            object["metadata"]["generation"] =
                json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
    }
    Ok(world.commit(who, plural, name.clone(), Some(before), object))
}

fn has_status(plural: &str) -> bool {
    matches!(plural, "deployments" | "releases" | "releaseactions" | "replicasets" | "pods" | "jobs")
}

/// What the API server fills in, and leaves out.
fn defaults(deployment: &mut Value) {
    let Some(spec) = deployment["spec"].as_object_mut() else { return };
    for (field, nothing) in [("minReadySeconds", json!(0)), ("paused", json!(false))] {
        if spec.get(field).is_some_and(|value| *value == nothing || value.is_null()) {
            spec.remove(field);
        }
    }
    for (field, usual) in
        [("replicas", json!(1)), ("progressDeadlineSeconds", json!(600)), ("revisionHistoryLimit", json!(10))]
    {
        if spec.get(field).is_none_or(Value::is_null) {
            spec.insert(field.to_owned(), usual);
        }
    }
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    if strategy["type"].is_null() {
        strategy["type"] = json!("RollingUpdate");
    }
    if strategy["type"] == "RollingUpdate" {
        for field in ["maxSurge", "maxUnavailable"] {
            if strategy["rollingUpdate"][field].is_null() {
                strategy["rollingUpdate"][field] = json!("25%");
            }
        }
    }
    if deployment["metadata"]["annotations"].as_object().is_some_and(serde_json::Map::is_empty) {
        drop(deployment["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations")));
    }
}

/// What validation refuses.
fn possible(deployment: &Value) -> Result<(), Refusal> {
    let spec = &deployment["spec"];
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let invalid = |what: &str| {
        Err(Refusal::new(422, "Invalid", format!("Deployment.apps \"{name}\" is invalid: {what}")))
    };
    let min_ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
    if spec["progressDeadlineSeconds"].as_i64().unwrap_or(600) <= min_ready {
        return invalid("spec.progressDeadlineSeconds: Invalid value: must be greater than minReadySeconds");
    }
    let rolling = &spec["strategy"]["rollingUpdate"];
    if spec["strategy"]["type"] == "Recreate" && !rolling.is_null() {
        return invalid(
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        );
    }
    let nothing = |value: &Value| *value == json!(0) || *value == json!("0%");
    if nothing(&rolling["maxSurge"]) && nothing(&rolling["maxUnavailable"]) {
        return invalid(
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        );
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(400, "BadRequest", error.to_string()))
}

fn not_found(plural: &str, name: &str) -> Refusal {
    Refusal::new(404, "NotFound", format!("{plural} \"{name}\" not found"))
}

/// Somebody else was first.
pub fn conflict(plural: &str, name: &str, why: &str) -> Refusal {
    Refusal::new(409, "Conflict", format!("Operation cannot be fulfilled on {plural} \"{name}\": {why}"))
}
