//! Who manages which field of a Deployment's spec, in its `metadata.managedFields`, as far as a server-side apply asks: by whole fields, and
//! without the times.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fields of which it is known.
pub const MANAGED: [&str; 5] =
    ["paused", "minReadySeconds", "progressDeadlineSeconds", "strategy", "template"];

/// Managers, and what each manages, as `f:field`.
type Managers = BTreeMap<String, Map<String, Value>>;

fn read(object: &Value) -> Managers {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let each = |entry: &Value| {
        if entry.get("subresource").is_some() {
            return None;
        }
        let fields = entry["fieldsV1"]["f:spec"].as_object().cloned().unwrap_or_default();
        Some((entry["manager"].as_str()?.to_owned(), fields))
    };
    entries.filter_map(each).collect()
}

fn write(object: &mut Value, managers: Managers) {
    let entry = |(manager, fields): (String, Map<String, Value>)| json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}});
    let entries = managers.into_iter().filter(|(_, fields)| !fields.is_empty()).map(entry);
    // Whoever writes its status is there too, whatever becomes of the others.
    let of_status = json!({"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {}}, "subresource": "status"});
    object["metadata"]["managedFields"] = entries.chain([of_status]).collect();
}

/// Whoever changes a field manages it, and nobody else does.
pub fn note(manager: &str, before: Option<&Value>, object: &mut Value) {
    let changed =
        |field: &&str| object["spec"].get(*field) != before.and_then(|before| before["spec"].get(*field));
    let changed: Vec<&str> = MANAGED.into_iter().filter(changed).collect();
    if changed.is_empty() {
        return;
    }
    let mut managers = read(object);
    for field in changed {
        let name = format!("f:{field}");
        managers.values_mut().for_each(|fields| drop(fields.remove(&name)));
        if object["spec"].get(field).is_some() {
            managers.entry(manager.to_owned()).or_default().insert(name, json!({}));
        }
    }
    write(object, managers);
}

/// Whoever applies what is there already manages it too.
pub fn share(manager: &str, fields: &Map<String, Value>, object: &mut Value) {
    let mut managers = read(object);
    for field in MANAGED {
        if fields.get(field).is_some_and(|value| object["spec"].get(field) == Some(value)) {
            managers.entry(manager.to_owned()).or_default().insert(format!("f:{field}"), json!({}));
        }
    }
    write(object, managers);
}

/// Fields that somebody else manages, and in which there is something else.
pub fn conflicts(manager: &str, fields: &Map<String, Value>, object: &Value) -> Vec<(&'static str, String)> {
    let managers = read(object);
    let differs =
        |field: &&str| fields.get(*field).is_some_and(|value| object["spec"].get(*field) != Some(value));
    let others = |field: &'static str| {
        let name = format!("f:{field}");
        let manages = move |(other, fields): &(&String, &Map<String, Value>)| {
            *other != manager && fields.contains_key(&name)
        };
        managers.iter().filter(manages).map(move |(other, _)| (field, other.clone()))
    };
    MANAGED.into_iter().filter(differs).flat_map(others).collect()
}

/// The fields that somebody manages.
pub fn of(manager: &str, object: &Value) -> Vec<&'static str> {
    let fields = read(object).remove(manager).unwrap_or_default();
    MANAGED.into_iter().filter(|field| fields.contains_key(&format!("f:{field}"))).collect()
}
