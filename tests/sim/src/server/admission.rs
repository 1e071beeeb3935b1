//! What the chart's admission policies do to a Deployment and to a ReleaseAction, as a model of charts/tidegate/templates/policies-*.

use serde_json::{Map, Value, json};
use tidegate::api::{Authors, CHANGED_BY, HELD, HELD_BY_OWNER, ON_DELETE, ORIGINALS, RELEASE_LABEL, STABLE};

/// Annotations that are nobody's but the operator's. The last is one that it does not write: the policies speak for it all the same.
const OURS: [&str; 4] = [ORIGINALS, STABLE, ON_DELETE, "tidegate.dev/run"];

/// Somebody who is not the operator writes a Deployment: `tidegate-workload-hold` and `tidegate-workload-pace`.
pub fn workload(before: Option<&Value>, object: &mut Value, user: &str) {
    let labelled = |object: &Value| object["metadata"]["labels"].get(RELEASE_LABEL).is_some();
    if !labelled(object) {
        return;
    }
    let joined = !before.is_some_and(labelled);
    let old = |name: &str| before.filter(|_| !joined).and_then(|before| annotation(before, name));
    let new = |object: &Value, name: &str| annotation(object, name);
    let changed = before.is_some_and(|before| before["spec"]["template"] != object["spec"]["template"]);
    let trusted = |object: &Value, name: &str| if joined { new(object, name) } else { old(name) };
    let running = trusted(object, ORIGINALS).is_some();
    let was_held = old(HELD).unwrap_or_default();
    let paused_by_owner = object["spec"]["paused"] == true && new(object, HELD).as_deref() != Some("true");
    let held = match was_held.as_str() {
        _ if running => was_held,
        "true" => was_held,
        "" if !changed => was_held,
        _ if paused_by_owner => HELD_BY_OWNER.to_owned(),
        _ => "true".to_owned(),
    };
    if changed || (!held.is_empty() && !running) {
        object["spec"]["paused"] = json!(true);
    }
    let authors = old(CHANGED_BY);
    let by = if changed || joined {
        let before = authors.as_deref().and_then(Authors::read);
        let all = Authors::together(before.as_ref(), Authors::read(user).as_ref());
        all.map(|all| all.text().to_owned())
    } else {
        authors
    };
    let kept = OURS.map(|name| (name, trusted(object, name)));
    if let Some(before) = before.filter(|before| annotation(before, ORIGINALS).is_some()) {
        pace(before, object);
    }
    annotate(object, CHANGED_BY, by);
    annotate(object, HELD, Some(held).filter(|held| !held.is_empty()));
    for (name, value) in kept {
        annotate(object, name, value);
    }
}

/// During a run the paced fields stay as they are.
fn pace(before: &Value, object: &mut Value) {
    for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
        match before["spec"].get(field) {
            Some(value) => object["spec"][field] = value.clone(),
            None => drop(object["spec"].as_object_mut().map(|spec| spec.remove(field))),
        }
    }
    let changed = before["spec"]["template"] != object["spec"]["template"];
    object["spec"]["paused"] = json!(changed || before["spec"]["paused"] == true);
}

/// Somebody, the operator or not, writes a Deployment through its status, and more than the status: `tidegate-workload-status`. What is refused.
pub fn through_status(before: &Value, object: &Value) -> Result<(), &'static str> {
    if before["metadata"]["labels"].get(RELEASE_LABEL).is_none() {
        return Ok(());
    }
    if guarded(before) != guarded(object) {
        return Err("annotations tidegate.dev/*");
    }
    match before["metadata"]["ownerReferences"] == object["metadata"]["ownerReferences"] {
        true => Ok(()),
        false => Err("who owns it"),
    }
}

/// Annotations that nobody writes through the status.
fn guarded(object: &Value) -> Map<String, Value> {
    let all = object["metadata"]["annotations"].as_object().into_iter().flatten();
    let guarded = all.filter(|(name, _)| name.starts_with("tidegate.dev/"));
    guarded.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `tidegate-action-identity` and `tidegate-action-run`: who said it, about which run, and what is signed.
pub fn action(object: &mut Value, user: &str, release: Option<&Value>) {
    object["spec"]["by"] = json!(user);
    let run = release.and_then(|release| release["status"]["run"]["id"].as_str());
    if object["spec"].get("run").is_none()
        && let Some(run) = run
    {
        object["spec"]["run"] = json!(run);
    }
    let content = release.and_then(|release| release["status"]["run"]["content"].as_str());
    if matches!(object["spec"]["action"].as_str(), Some("Approve" | "Attest"))
        && object["spec"]["undo"] != true
        && object["spec"].get("content").is_none()
        && let Some(content) = content
    {
        object["spec"]["content"] = json!(content);
    }
}

fn annotation(object: &Value, name: &str) -> Option<String> {
    object["metadata"]["annotations"].get(name).and_then(Value::as_str).map(str::to_owned)
}

fn annotate(object: &mut Value, name: &str, value: Option<String>) {
    match value {
        Some(value) => object["metadata"]["annotations"][name] = json!(value),
        None => drop(
            object["metadata"]["annotations"].as_object_mut().map(|annotations| annotations.remove(name)),
        ),
    }
}
