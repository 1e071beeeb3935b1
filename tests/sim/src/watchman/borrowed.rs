//! No order touches anything of a Deployment but what a run borrows, and what says so: 12.

use json_patch::PatchOperation;
use serde_json::json;
use tidegate::api::{CHANGED_BY, FIELD_MANAGER, HELD, ON_DELETE, ORIGINALS, RELEASE_LABEL, STABLE};
use tidegate::decide::fields::REVISION;

use crate::server::Request;
use crate::server::managers::MANAGED;
use crate::world::World;

/// Annotations that the operator writes. The last is the native controller's number, which the order to go back foretells.
const ANNOTATIONS: [&str; 6] = [ORIGINALS, STABLE, HELD, ON_DELETE, CHANGED_BY, REVISION];

impl World {
    /// An order of the operator goes out: of `spec` it has the fields that a run borrows, and nothing that others write there, such as replicas.
    pub(super) fn check_borrowed(&mut self, request: &Request) {
        let touched = not_ours(request);
        self.check("12 (nothing else is touched)", touched.is_none(), || {
            format!("{} {}: {}", request.method, request.path, touched.unwrap_or_default())
        });
    }
}

/// What a request does to a Deployment that is not ours to do. `None`: nothing.
fn not_ours(request: &Request) -> Option<String> {
    let operations = match &request.patch {
        Some(patch) if request.method == http::Method::PATCH => &patch.0,
        Some(_) | None => return Some("it is no JSON patch".to_owned()),
    };
    let is_foreign = |operation: &&PatchOperation| !is_ours(operation, operations);
    operations.iter().find(is_foreign).map(ToString::to_string)
}

fn is_ours(operation: &PatchOperation, all: &[PatchOperation]) -> bool {
    let path = match operation {
        PatchOperation::Test(_) => return true,
        PatchOperation::Move(_) | PatchOperation::Copy(_) => return false,
        PatchOperation::Add(_) | PatchOperation::Replace(_) | PatchOperation::Remove(_) => {
            operation.path().as_str()
        }
    };
    if let Some(field) = path.strip_prefix("/spec/") {
        return MANAGED.contains(&field);
    }
    let Some(path) = path.strip_prefix("/metadata/") else { return false };
    // Where there is none of them the first needs a place.
    let is_place = matches!(operation, PatchOperation::Add(place) if place.value == json!({}));
    let is_missing = |other: &PatchOperation| matches!(other, PatchOperation::Test(test) if test.path.as_str() == "/metadata/labels" && test.value.is_null());
    match path.split_once('/') {
        None if path == "annotations" => is_place,
        // What others have labelled meanwhile no generation tells.
        None => is_place && path == "labels" && all.iter().any(is_missing),
        Some(("annotations", name)) => ANNOTATIONS.contains(&name.replace("~1", "/").as_str()),
        Some(("labels", name)) => name.replace("~1", "/") == RELEASE_LABEL,
        Some(("managedFields", place)) => {
            let manager = format!("/metadata/managedFields/{place}/manager");
            let is_known = |other: &PatchOperation| matches!(other, PatchOperation::Test(test) if test.path.as_str() == manager && test.value == FIELD_MANAGER);
            matches!(operation, PatchOperation::Remove(_)) && all.iter().any(is_known)
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::server::Who;

    fn sent(method: http::Method, patch: Option<Value>) -> Option<String> {
        not_ours(&Request {
            who: Who::Operator(0),
            method,
            path: "/apis/apps/v1/namespaces/shop/deployments/shop".to_owned(),
            query: String::new(),
            content_type: String::new(),
            metadata_only: false,
            body: bytes::Bytes::new(),
            patch: patch.map(|patch| serde_json::from_value(patch).expect("a patch")),
        })
    }

    fn patched(operation: Value) -> bool {
        let test = json!({"op": "test", "path": "/metadata/generation", "value": 1});
        sent(http::Method::PATCH, Some(json!([test, operation]))).is_none()
    }

    #[test]
    fn an_order_has_what_a_run_borrows_and_what_says_so() {
        for path in [
            "/spec/paused",
            "/spec/strategy",
            "/spec/template",
            "/metadata/annotations/tidegate.dev~1held",
            "/metadata/annotations/deployment.kubernetes.io~1revision",
            "/metadata/labels/tidegate.dev~1release",
        ] {
            assert!(patched(json!({"op": "add", "path": path, "value": "1"})), "{path}");
            assert!(patched(json!({"op": "remove", "path": path})), "{path}");
        }
        assert!(patched(json!({"op": "add", "path": "/metadata/annotations", "value": {}})));
        let taken_out = json!([
            {"op": "test", "path": "/metadata/managedFields/1/manager", "value": FIELD_MANAGER},
            {"op": "remove", "path": "/metadata/managedFields/1"},
        ]);
        assert_eq!(sent(http::Method::PATCH, Some(taken_out)), None);
        let labelled = json!([
            {"op": "test", "path": "/metadata/labels", "value": null},
            {"op": "add", "path": "/metadata/labels", "value": {}},
        ]);
        assert_eq!(sent(http::Method::PATCH, Some(labelled)), None);
    }

    #[test]
    fn an_order_has_nothing_that_others_write() {
        for path in [
            "/spec/replicas",
            "/spec",
            "/spec/strategy/rollingUpdate",
            "/spec/revisionHistoryLimit",
            "/metadata/annotations/team",
            "/metadata/labels/app",
            "/metadata/managedFields/0",
            "/status/replicas",
        ] {
            assert!(!patched(json!({"op": "add", "path": path, "value": 1})), "{path}");
            assert!(!patched(json!({"op": "remove", "path": path})), "{path}");
        }
        assert!(!patched(json!({"op": "add", "path": "/metadata/annotations", "value": {"team": "a"}})));
        assert!(!patched(json!({"op": "add", "path": "/metadata/labels", "value": {}})));
        assert!(!patched(json!({"op": "move", "from": "/spec/replicas", "path": "/spec/paused"})));
        assert!(sent(http::Method::DELETE, None).is_some() && sent(http::Method::PUT, None).is_some());
    }
}
