use kube::api::DynamicObject;
use serde_json::{Value, json};
use tidegate::api::{Action, Release};
use tidegate::cli::hand_back::{about_another, next, one_of, plan, saying};
use tidegate::decide::kept_name::template_name;
use tidegate::watch::slim::fingerprint;

use super::{release, run};

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
        None,
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
    let plan = plan(&deployment(&of_checkout(), &annotations, &paced), "checkout", None).unwrap();
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
    let plan = plan(&deployment(&of_checkout(), &annotations, &json!({})), "checkout", None).unwrap();
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
    assert_eq!(plan(&held, "checkout", None).unwrap().patch["spec"], json!({ "paused": null }));
}

#[test]
fn at_rest_only_the_label_is_taken_off() {
    let plan = plan(&deployment(&of_checkout(), &json!({}), &json!({})), "checkout", None).unwrap();
    assert_eq!(plan.patch.get("spec"), None);
    assert_eq!(plan.lines, ["label tidegate.dev/release taken off"]);
}

#[test]
fn nothing_is_guessed() {
    let refused = |object| plan(&object, "checkout", None).unwrap_err().to_string();
    assert_eq!(
        refused(deployment(&json!({}), &json!({}), &json!({}))),
        "there is nothing to hand back: deployment checkout carries no label or annotation of Tidegate"
    );
    let lost = refused(deployment(&of_checkout(), &json!({}), &json!({ "minReadySeconds": 2_147_483_646 })));
    assert!(lost.contains("but its annotation tidegate.dev/originals is gone"), "{lost}");
    let without_deadline = json!({ "progressDeadlineSeconds": 2_147_483_647 });
    let theirs = refused(deployment(&json!({}), &json!({}), &without_deadline));
    assert!(theirs.starts_with("there is nothing to hand back"), "{theirs}");
    // Held at rest, as the policies and capture mode Paused have it, which a native rollout undo brings back in mid-run.
    let held = json!({ "tidegate.dev/held": "true" });
    for (field, said) in [
        (json!({ "minReadySeconds": 2_147_483_646 }), "is in a run (spec.minReadySeconds is 2147483646)"),
        (without_deadline, "may be in a run (spec.progressDeadlineSeconds is 2147483647)"),
    ] {
        let lost = refused(deployment(&of_checkout(), &held, &field));
        assert!(lost.starts_with(&format!("deployment checkout {said}")), "{lost}");
        assert!(lost.contains("but its annotation tidegate.dev/originals is gone"), "{lost}");
        assert!(
            lost.contains("in kubectl get release checkout -n shop -o jsonpath={.status.run.originals}"),
            "{lost}"
        );
    }
    let broken = refused(deployment(&of_checkout(), &json!({ "tidegate.dev/originals": "[" }), &json!({})));
    assert!(broken.contains("is not a JSON object"), "{broken}");
    let other = refused(deployment(&json!({ "tidegate.dev/release": "cart" }), &json!({}), &json!({})));
    assert!(other.contains("belongs to release cart, not checkout"), "{other}");
}

#[test]
fn where_its_release_says_that_no_run_is_under_way_a_long_deadline_is_its_owners() {
    let without_deadline = json!({ "progressDeadlineSeconds": 2_147_483_647 });
    let of = |annotations: Value, known: &Release| {
        plan(&deployment(&of_checkout(), &annotations, &without_deadline), "checkout", Some(known))
    };
    let adopted = json!({ "revision": "checkout-7d9f", "fingerprint": "7d9f0" });
    let at_rest = release(json!({ "phase": "Idle", "stable": adopted }));
    let given = of(json!({}), &at_rest).unwrap();
    assert_eq!(given.patch.get("spec"), None);
    assert_eq!(given.lines, ["label tidegate.dev/release taken off"]);
    let refused = |annotations: Value, known: &Release| of(annotations, known).unwrap_err().to_string();
    let going_back = release(json!({ "phase": "Undoing", "stable": adopted, "run": run("Back", json!({})) }));
    let mut of_another = at_rest.clone();
    of_another.spec.target_ref.name = "cart".into();
    for known in [going_back, of_another, release(json!({ "phase": "Idle" })), release(Value::Null)] {
        let lost = refused(json!({}), &known);
        assert!(lost.starts_with("deployment checkout may be in a run (spec.progressDeadline"), "{lost}");
    }
    // What a run goes back to is noted there: whatever a Release says that somebody made anew.
    let noted = refused(json!({ "tidegate.dev/stable": "checkout-7d9f" }), &at_rest);
    assert!(noted.starts_with("deployment checkout is in a run (spec.progressDeadlineSeconds"), "{noted}");
}

/// What is said next, of a Deployment of this template whose stable one is that of `v1`.
fn said_of(version: &str, fields: &Value) -> String {
    let template = |version: &str| json!({"spec": {"containers": [{"name": "shop", "image": format!("shop:{version}")}]}});
    let stable = template_name("checkout", &fingerprint(&template("v1")));
    let annotations =
        json!({"tidegate.dev/originals": "{}", "tidegate.dev/stable": stable, "tidegate.dev/held": "true"});
    let mut spec = fields.clone();
    spec["template"] = template(version);
    let said = next(&deployment(&of_checkout(), &annotations, &spec));
    said.replace(&stable, "STABLE")
}

#[test]
fn in_mid_run_it_is_said_how_to_write_the_stable_template_and_not_to_take_the_one_before() {
    let moving = json!({"minReadySeconds": 2_147_483_646, "progressDeadlineSeconds": 2_147_483_647});
    let mut soaking = moving.clone();
    soaking["paused"] = json!(true);
    let recreated = json!({"paused": true, "progressDeadlineSeconds": 600});
    for fields in [moving, soaking, recreated] {
        assert_eq!(
            said_of("v2", &fields),
            "the native controller now completes the template that is in shop/checkout; to go back instead: kubectl patch deployment checkout \
             -n shop --type json -p \"[{\\\"op\\\":\\\"replace\\\",\\\"path\\\":\\\"/spec/template\\\",\\\"value\\\":$(kubectl get \
             controllerrevision STABLE -n shop -o jsonpath='{.data}')}]\""
        );
    }
}

#[test]
fn on_the_way_back_nobody_is_told_to_roll_back() {
    let ordered = json!({"progressDeadlineSeconds": 2_147_483_647});
    let put_back_by_somebody = json!({"minReadySeconds": 2_147_483_646, "paused": true});
    // What admission made of the stable template is known by the order alone.
    for (version, fields) in [("v1", &ordered), ("v1-as-admitted", &ordered), ("v1", &put_back_by_somebody)] {
        let said = said_of(version, fields);
        assert!(said.starts_with("the stable template is in place in shop/checkout"), "{said}");
        assert!(
            said.contains("Do not roll back: kubectl rollout undo would bring the version out"),
            "{said}"
        );
    }
}

#[test]
fn what_no_run_has_stays_and_what_was_held_goes_on() {
    let of = |annotations: Value| next(&deployment(&of_checkout(), &annotations, &json!({"paused": true})));
    assert_eq!(of(json!({})), "no run had the fields of shop/checkout: its pods stay as they are");
    let held = of(json!({"tidegate.dev/held": "true"}));
    assert_eq!(
        held,
        "the native controller now completes whatever template is in shop/checkout: it was held"
    );
}

#[test]
fn a_name_that_somebody_made_up_is_in_no_command() {
    for stable in ["x; rm -rf $HOME", "--all-namespaces", ""] {
        let annotations = json!({"tidegate.dev/originals": "{}", "tidegate.dev/stable": stable});
        let said = next(&deployment(&of_checkout(), &annotations, &json!({"template": {}})));
        assert!(said.ends_with("to go back instead, apply the previous manifest"), "{said}");
    }
}

#[test]
fn where_all_old_pods_go_first_a_deadline_that_its_owner_wants_is_no_order_to_go_back() {
    let template = |version: &str| json!({"spec": {"containers": [{"name": "shop", "image": version}]}});
    let owners = json!({
        "paused": null, "minReadySeconds": null, "progressDeadlineSeconds": 2_147_483_647,
        "strategy": {"type": "Recreate"},
    });
    let annotations = json!({
        "tidegate.dev/originals": owners.to_string(),
        "tidegate.dev/stable": template_name("checkout", &fingerprint(&template("v1"))),
    });
    for (version, begins) in
        [("v1", "the stable template is in place"), ("v2", "the native controller now completes")]
    {
        let spec = json!({"progressDeadlineSeconds": 2_147_483_647, "template": template(version)});
        let said = next(&deployment(&of_checkout(), &annotations, &spec));
        assert!(said.starts_with(begins), "{version}: {said}");
    }
}

#[test]
fn where_nobody_noted_what_is_stable_it_is_not_said_that_no_run_had_the_fields() {
    let annotations = json!({"tidegate.dev/originals": "{}"});
    let said = next(&deployment(&of_checkout(), &annotations, &json!({"minReadySeconds": 2_147_483_646})));
    assert_eq!(
        said,
        "the native controller now completes the template that is in shop/checkout; to go back instead, apply the previous manifest"
    );
}

#[test]
fn a_release_that_is_still_there_is_told_with_a_reason_that_is_taken() {
    for (given, told) in
        [(Some("fire in the hall"), "fire in the hall"), (None, "handed back without the operator")]
    {
        let said = saying("checkout", given);
        assert_eq!((said.action, said.reason.as_deref(), said.wait), (Action::HandBack, Some(told), None));
    }
    assert_eq!(saying("checkout", Some("!!")).reason, saying("checkout", None).reason);
    // A copy has the label, and the one that the Release names does not.
    let said = about_another("checkout", "shop", "checkout-eu", "checkout");
    assert!(
        said.contains("release shop/checkout is about deployment checkout, and not about checkout-eu"),
        "{said}"
    );
}

#[test]
fn of_several_that_carry_the_label_the_one_that_the_release_names_is_given_back() {
    let both = || vec!["checkout".to_owned(), "checkout-eu".to_owned()];
    assert_eq!(one_of(both(), Some("checkout".to_owned()), "checkout", "shop").unwrap(), "checkout");
    for target in [None, Some("cart".to_owned())] {
        let refused = one_of(both(), target, "checkout", "shop").unwrap_err().to_string();
        assert!(refused.starts_with(
            "2 deployments carry the label tidegate.dev/release=checkout: checkout, checkout-eu;"
        ));
        assert!(
            refused.ends_with("kubectl label deployment NAME tidegate.dev/release- -n shop"),
            "{refused}"
        );
    }
}
