use kube::api::DynamicObject;
use serde_json::{Value, json};
use tidegate::cli::hand_back::plan;

fn deployment(labels: &Value, annotations: &Value, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "checkout", "namespace": "shop", "resourceVersion": "41", "labels": labels, "annotations": annotations },
        "spec": spec,
    }))
    .unwrap()
}

fn of_checkout() -> Value {
    json!({ "tidegate.dev/release": "checkout" })
}

#[test]
fn the_owners_fields_go_back_in_one_patch_with_all_that_is_ours() {
    let annotations = json!({
        "tidegate.dev/originals": r#"{"paused":null,"progressDeadlineSeconds":600}"#, "tidegate.dev/stable": "checkout-7d9f",
        "tidegate.dev/changed-by": "argocd", "example.com/mine": "kept",
    });
    let plan = plan(
        &deployment(
            &of_checkout(),
            &annotations,
            &json!({ "paused": true, "progressDeadlineSeconds": 2_147_483_647 }),
        ),
        "checkout",
    )
    .unwrap();
    assert_eq!(
        plan.patch,
        json!({
            "metadata": {
                "resourceVersion": "41",
                "labels": { "tidegate.dev/release": null },
                "annotations": { "tidegate.dev/originals": null, "tidegate.dev/stable": null },
            },
            "spec": { "paused": null, "progressDeadlineSeconds": 600 },
        })
    );
    assert_eq!(
        plan.lines,
        [
            "spec.paused true → absent",
            "spec.progressDeadlineSeconds 2147483647 → 600",
            "annotation tidegate.dev/originals taken off",
            "annotation tidegate.dev/stable taken off",
            "label tidegate.dev/release taken off",
        ]
    );
}

#[test]
fn only_what_a_run_owns_is_given_back_and_what_else_stands_there_moves_no_cursor() {
    let originals = json!({
        "minReadySeconds": 5, "paused": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate\u{202e}"},
        "replicas": 0, "template": {"spec": {"serviceAccountName": "admin"}}, "\u{1b}[2Jrevision\u{202e}HistoryLimit": 0,
    });
    let annotations = json!({ "tidegate.dev/originals": originals.to_string() });
    let paced = json!({ "replicas": 3, "minReadySeconds": 2_147_483_646, "paused": true });
    let plan = plan(&deployment(&of_checkout(), &annotations, &paced), "checkout").unwrap();
    let fields: Vec<&String> = plan.patch["spec"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["minReadySeconds", "paused", "progressDeadlineSeconds", "strategy"]);
    assert_eq!(
        plan.lines,
        [
            "spec.minReadySeconds 2147483646 → 5",
            "spec.paused true → absent",
            "spec.progressDeadlineSeconds stays absent",
            r#"spec.strategy absent → {"type":"RollingUpdate"}"#,
            "spec. [2JrevisionHistoryLimit and 2 more left alone: tidegate.dev/originals names what no run owns; who wrote it there?",
            "annotation tidegate.dev/originals taken off",
            "label tidegate.dev/release taken off",
        ]
    );
}

#[test]
fn where_nothing_that_a_run_owns_is_noted_no_field_is_written() {
    let annotations = json!({ "tidegate.dev/originals": r#"{"template":{"spec":{}}}"# });
    let plan = plan(&deployment(&of_checkout(), &annotations, &json!({})), "checkout").unwrap();
    assert_eq!(plan.patch.get("spec"), None);
    assert_eq!(
        plan.lines[0],
        "spec.template left alone: tidegate.dev/originals names what no run owns; who wrote it there?"
    );
}

#[test]
fn a_deployment_that_was_only_held_is_unpaused() {
    let held =
        deployment(&of_checkout(), &json!({ "tidegate.dev/held": "true" }), &json!({ "paused": true }));
    assert_eq!(plan(&held, "checkout").unwrap().patch["spec"], json!({ "paused": null }));
}

#[test]
fn at_rest_only_the_label_is_taken_off() {
    let plan = plan(&deployment(&of_checkout(), &json!({}), &json!({})), "checkout").unwrap();
    assert_eq!(plan.patch.get("spec"), None);
    assert_eq!(plan.lines, ["label tidegate.dev/release taken off"]);
}

#[test]
fn nothing_is_guessed() {
    let refused = |object| plan(&object, "checkout").unwrap_err().to_string();
    assert_eq!(
        refused(deployment(&json!({}), &json!({}), &json!({}))),
        "there is nothing to hand back: deployment checkout carries no label or annotation of Tidegate"
    );
    let lost = refused(deployment(&of_checkout(), &json!({}), &json!({ "minReadySeconds": 2_147_483_646 })));
    assert!(lost.contains("is in a run, but its annotation tidegate.dev/originals is gone"), "{lost}");
    let broken = refused(deployment(&of_checkout(), &json!({ "tidegate.dev/originals": "[" }), &json!({})));
    assert!(broken.contains("is not a JSON object"), "{broken}");
    let other = refused(deployment(&json!({ "tidegate.dev/release": "cart" }), &json!({}), &json!({})));
    assert!(other.contains("belongs to release cart, not checkout"), "{other}");
}
