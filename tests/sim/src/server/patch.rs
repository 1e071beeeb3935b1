//! A JSON patch, applied as the API server's library (evanphx/json-patch, v4) applies it. It knows the operations that the other library knows, and
//! differs in one: a `test` of a member that is not there holds where it is tested for null.

use json_patch::{PatchError, PatchOperation, TestOperation};
use serde_json::Value;

/// Applies it. What is left of the object where an operation does not apply is nothing to go on with.
///
/// # Errors
/// Which operation does not.
pub fn apply(object: &mut Value, patch: &[PatchOperation]) -> Result<(), PatchError> {
    for operation in patch {
        let holds = matches!(operation, PatchOperation::Test(test) if is_missing(object, test));
        if !holds {
            json_patch::patch_unsafe(object, std::slice::from_ref(operation))?;
        }
    }
    Ok(())
}

/// Whether it is tested that a member is missing, and it is. What would have it has to be there.
fn is_missing(object: &Value, TestOperation { path, value }: &TestOperation) -> bool {
    let parent = path.as_str().rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
    value.is_null() && object.pointer(path.as_str()).is_none() && parent.is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_null_to_who_tests_it_and_what_is_there_is_not() {
        let object = json!({"metadata": {"name": "shop", "labels": {}, "owners": []}});
        let holds = |path: &str, value: Value| {
            let patch = json!([
                {"op": "test", "path": path, "value": value},
                {"op": "add", "path": "/metadata/seen", "value": true},
            ]);
            let patch: Vec<PatchOperation> = serde_json::from_value(patch).unwrap();
            let mut object = object.clone();
            apply(&mut object, &patch).is_ok_and(|()| object["metadata"]["seen"] == true)
        };
        assert!(holds("/metadata/annotations", Value::Null));
        assert!(holds("/metadata/labels/app", Value::Null));
        assert!(holds("/metadata/name", json!("shop")));
        for path in
            ["/metadata/name", "/metadata/labels", "/spec/template", "/metadata/owners/0", "/metadata/name/a"]
        {
            assert!(!holds(path, Value::Null), "{path}");
        }
        assert!(!holds("/metadata/annotations", json!({})));
    }
}
