//! What `kubectl tidegate lint` says of files.

mod calls;
mod rules;

use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::cli::lint::schema::{TextRule, schema};
use tidegate::cli::lint::{Linted, lint, manifests, text};

use crate::expression::of_twenty_thousand;

/// A check whose Job runs this container.
fn job(name: &str, container: Value) -> Value {
    let pods = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    json!({"name": name, "job": {"template": {"spec": {"template": pods}}}})
}

fn migration(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "job": {"template": {"spec": {"template": {"spec": {}}}}}})
}

fn linted(yaml: &str) -> Linted {
    lint(&manifests::read("shop.yaml", yaml).unwrap())
}

fn release(spec: Value) -> Value {
    let mut whole = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": whole,
    })
}

fn deployment(spec: Value) -> Value {
    let mut whole = json!({"replicas": 4, "template": {"spec": {"containers": [
        {"name": "shop", "image": "shop:1.4.2", "readinessProbe": {"httpGet": {"path": "/healthz"}}},
    ]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout", "namespace": "shop"}, "spec": whole,
    })
}

/// What is found in a Release and its Deployment: `error steps spec.steps[1].replicas`.
fn found(spec: Value, workload: Value) -> Vec<String> {
    let told = linted(&json!({"kind": "List", "items": [release(spec), deployment(workload)]}).to_string());
    told.findings.iter().map(|it| format!("{} {} {}", it.severity, it.rule, it.field)).collect()
}

#[test]
fn it_is_said_with_the_file_the_field_and_what_to_write() {
    let yaml = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: tidegate.dev/v1alpha1
kind: Release
metadata: {name: checkout, namespace: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  steps:
    - {name: tenth, replicas: 10%, soaks: 1h}
    - {name: half, replicas: 5%, soak: 2h, deadline: 1h}
  criteria:
    - {name: errors, errorRate: {target: 6%, limit: 5%}}
  preflight:
    - {name: smoke, http: {url: "https://shop.example.com/health"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: shop}
spec:
  replicas: 1
  template: {spec: {containers: [{name: shop, image: "shop:latest"}]}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Release
metadata: {name: again, namespace: shop}
spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}}
---
apiVersion: tidegate.dev/v1
kind: Release
metadata: {name: alone}
spec: {targetRef: {apiVersion: apps/v1, kind: StatefulSet, name: alone}}
"#;
    insta::assert_snapshot!(text(&linted(yaml)), @r#"
    shop.yaml: Release shop/checkout: error: spec.steps[0].soaks: there is no such field; did you mean soak?
    shop.yaml: Release shop/checkout: error: spec.steps[1].replicas: 5% is not more than the 10% of the step before; let steps grow: first numbers of pods, then percentages
    shop.yaml: Release shop/checkout: error: spec.steps[1].soak: the soak of 2h is longer than the step's deadline of 1h; leave deadline out (twice the soak) or make it longer
    shop.yaml: Release shop/checkout: error: spec.criteria[0].errorRate.target: target 6% is above limit 5%; a target is at most the limit: exchange them
    shop.yaml: Release shop/checkout: error: spec.preflight[0].http.url: 'example.com' stands for something; write what is meant
    shop.yaml: Deployment shop/checkout: error: spec.template.spec.containers[0].image: image shop:latest has no tag but latest: it changes without a release, and going back starts it again; pin it by digest (name@sha256:...) or by a tag that is never moved
    shop.yaml: Release shop/checkout: warning: spec.steps: the Deployment has one replica: a step of any share is all of it; have more replicas, or one step of 100%
    shop.yaml: Deployment shop/checkout: warning: spec.template.spec.containers: no container has a readinessProbe: a pod counts as Ready before it can serve; write one
    shop.yaml: Release shop/again: error: spec.targetRef.name: Release shop/checkout has Deployment checkout too; a Deployment belongs to one Release: delete one of them
    shop.yaml: Release shop/again: warning: spec.steps: the Deployment has one replica: a step of any share is all of it; have more replicas, or one step of 100%
    shop.yaml: Release alone: error: apiVersion: tidegate.dev/v1 is not served; write tidegate.dev/v1alpha1
    shop.yaml: Release alone: error: spec.targetRef.kind: there is no such value as 'StatefulSet'; write Deployment
    Release alone: its Deployment is in none of the files: its images, strategy and probes were not looked at
    9 errors, 3 warnings in 3 Releases
    "#);
}

#[test]
fn every_rule_of_the_crd_about_one_text_is_held() {
    // A text with a rule that is not understood here is told by a function of its own, or not before the API server.
    fn walk(schema: &Value, path: &str, not_held: &mut Vec<String>) {
        if schema["type"] == "string" {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                if TextRule::read(rule["rule"].as_str().unwrap()).is_none() {
                    not_held.push(format!("{path}: {}", rule["message"].as_str().unwrap_or_default()));
                }
            }
        }
        for part in ["properties", "items", "additionalProperties"] {
            match &schema[part] {
                Value::Object(all) if part == "properties" => {
                    all.iter().for_each(|(name, inner)| walk(inner, &format!("{path}.{name}"), not_held));
                }
                inner @ Value::Object(_) => walk(inner, &format!("{path}[]"), not_held),
                _ => {}
            }
        }
    }
    let mut not_held = Vec::new();
    walk(schema(), "spec", &mut not_held);
    insta::assert_snapshot!(not_held.join("\n"), @r#"
    spec.criteria[].value.json.url: is not an http(s) URL
    spec.metrics.prometheus.url: is not an http(s) URL
    spec.metrics.prometheus.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.notify[].cloudEvents.url: is not an http(s) URL
    spec.notify[].cloudEvents.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.notify[].email.host: host is a name or an address: write smtp.example.com
    spec.notify[].opsgenie.url: is not an http(s) URL without a user
    spec.notify[].pagerDuty.url: is not an http(s) URL without a user
    spec.notify[].webhook.url: is not an http(s) URL
    spec.notify[].webhook.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.preflight[].attest.link: is not an http(s) URL
    spec.preflight[].dns.server: 
    spec.preflight[].http.url: is not an http(s) URL
    spec.steps[].checks[].attest.link: is not an http(s) URL
    spec.steps[].checks[].dns.server: 
    spec.steps[].checks[].http.url: is not an http(s) URL
    spec.undo.hooks[].http.url: is not an http(s) URL
    spec.undo.validate.checks[].attest.link: is not an http(s) URL
    spec.undo.validate.checks[].dns.server: 
    spec.undo.validate.checks[].http.url: is not an http(s) URL
    "#);
}

fn run(arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
        .arg("lint")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read all of it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_code_says_whether_there_are_errors() {
    let good = run(&["-"], &release(json!({})).to_string());
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("0 errors, 0 warnings in 1 Release"), "{good:?}");
    let bad = run(&["-", "-o", "json"], &release(json!({"criteria": []})).to_string());
    assert_eq!(bad.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(told["findings"][0]["field"], "spec.criteria");
    assert_eq!((&told["errors"], &told["findings"][0]["file"]), (&json!(1), &json!("standard input")));
    let none = run(&["-"], "kind: ConfigMap");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no Release of tidegate.dev in -"), "{none:?}");
}

#[test]
fn a_file_that_nobody_wrote_is_refused_in_a_sentence() {
    let bomb = {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        text
    };
    let deep = "[".repeat(100_000);
    let deep_block = (0..5000).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    let long = "x: y\n".repeat(2_000_000);
    let many = "- {}\n".repeat(200_000);
    for (what, text) in [
        ("bomb", &bomb),
        ("deep", &deep),
        ("deep blocks", &deep_block),
        ("long", &long),
        ("many", &many),
        ("broken", &"a: [".to_owned()),
    ] {
        let told = run(&["-"], text);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(2), "{what}: {said}");
        assert!(
            said.starts_with("error: ") && said.len() < 500 && said.contains("standard input"),
            "{what}: {said}"
        );
    }
}

#[test]
fn an_expression_of_twenty_thousand_terms_is_named_with_how_long_it_may_be() {
    for text in of_twenty_thousand() {
        let job = json!({"template": {"spec": {"template": {"spec": {}}}}, "result": {"from": "LastLogLine", "expression": text}});
        let object = json!({"apiVersion": "v1", "resource": "nodes", "name": "a", "scope": "Cluster", "expression": text});
        let aged = json!({"apiVersion": "v1", "resource": "configmaps", "name": "a", "maxAge": "1h", "timestamp": text});
        let checks = json!([
            {"name": "node", "object": object},
            {"name": "map", "object": aged},
            {"name": "health", "http": {"url": "http://shop.shop/health", "expect": {"expression": text}}},
            {"name": "tests", "job": job},
        ]);
        let told = run(&["-"], &release(json!({"preflight": checks})).to_string());
        let said = String::from_utf8_lossy(&told.stdout);
        assert_eq!(told.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&told.stderr));
        let fields =
            ["object.expression", "object.timestamp", "http.expect.expression", "job.result.expression"];
        for (place, field) in fields.into_iter().enumerate() {
            let letters = text.chars().count();
            let wrong =
                format!("spec.preflight[{place}].{field}: it has {letters} characters; write at most 1024");
            assert!(said.contains(&wrong), "{wrong}: {said}");
        }
    }
}

#[test]
fn no_value_of_an_environment_is_told() {
    let env = json!({"template": {"spec": {"containers": [{
        "name": "shop", "image": "shop:1", "readinessProbe": {}, "env": [{"name": "KEY", "value": "s3cret TODO s3cret"}],
    }]}}});
    let told = linted(&json!([release(json!({})), deployment(env)]).to_string());
    assert_eq!(told.errors, 1);
    assert!(!text(&told).contains("s3cret"), "{}", text(&told));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in r#"(?s)[ \n\t{}\[\]:,&*!|>'"%@`#?a-z0-9<.~-]{0,200}"#) {
        if let Ok(read) = manifests::read("x", &text) {
            drop(lint(&read));
        }
    }
}
