//! The CRDs, printed from the types. `crds/` in the repository holds what this prints; a test keeps the two equal.

use kube::CustomResourceExt;
use serde_json::Value;

use super::{Freeze, Release, ReleaseAction, ReleaseReport};

/// Every CRD with the name of its file in `crds/`, as YAML.
///
/// # Panics
/// Never in a build that passed its tests: the types are fixed.
pub fn all() -> Vec<(&'static str, String)> {
    let render = |crd| {
        let mut value = serde_json::to_value(crd).expect("a CRD is JSON");
        tidy(&mut value);
        serde_saphyr::to_string(&value).expect("JSON is YAML")
    };
    vec![
        ("releases.yaml", render(Release::crd())),
        ("releaseactions.yaml", render(ReleaseAction::crd())),
        ("releasereports.yaml", render(ReleaseReport::crd())),
        ("freezes.yaml", render(Freeze::crd())),
    ]
}

/// An optional enum lists `null` among its values: kubectl would show it in messages.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
