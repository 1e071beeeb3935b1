//! Namespaces as walls: an operator that looks at some of them only, and Releases that reach nothing of another's.

use serde_json::{Value, json};
use tidegate_real::operator::Operator;
use tidegate_real::stage::{self, Stage, install_from, usual};
use tidegate_real::story::{Story, on_stage};

use crate::given::{adopted, ended, grant, halves, with};

#[test]
fn an_operator_of_two_namespaces_needs_rights_in_no_other_and_leaves_others_alone() {
    on_stage(async {
        let stage = Stage::without_operator(usual()).await.expect("a stage");
        for name in ["team-a", "team-b", "elsewhere"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            stage::apply(&stage.client, &namespace, "story").await.expect("a namespace");
        }
        install_from(&stage.client, "tests/real/namespaced.yaml", Some("team-a")).await.expect("installed");
        let of = |namespace: &str| Story {
            stage: &stage,
            namespace: namespace.to_owned(),
            client: stage.client.clone(),
        };
        let (first, second, elsewhere) = (of("team-a"), of("team-b"), of("elsewhere"));
        elsewhere.apply(elsewhere.deployment(2)).await;
        elsewhere.apply(elsewhere.release(halves())).await;
        // Somebody may even have put the label there.
        elsewhere.patch(json!({"metadata": {"labels": {"tidegate.dev/release": "shop"}}})).await;
        let operator = Operator::start_with(&stage.cluster, |command| {
            command.env("TIDEGATE_WATCH_NAMESPACES", "team-a,team-b");
        });
        *stage.operator.lock().await = Some(operator.await.expect("an operator that is ready"));
        for story in [&first, &second] {
            story.adopt(story.deployment(2), story.release(halves())).await;
            story.ship_paper("v2", json!({})).await;
        }
        elsewhere.ship_paper("v2", json!({})).await;
        for story in [&first, &second] {
            assert_eq!(story.status().await["capture"]["mode"], "Policy");
            ended(story, 1, "Succeeded").await;
        }
        // There nothing is held, and nothing is said.
        elsewhere
            .until("the native controller's own rollout", |story| async move {
                let target = story.target().await;
                target["status"]["updatedReplicas"] == 2 && target["spec"]["paused"].is_null()
            })
            .await;
        assert!(elsewhere.status().await.is_null(), "{}", elsewhere.describe().await);
        let log = stage.log_tail("").await;
        assert!(!log.contains("may not") && !log.contains("elsewhere"), "{log}");
        // A freeze selects by the labels of these namespaces too.
        let labels = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-b", "labels": {"env": "production"}}});
        let freeze = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": "year-end"},
            "spec": {"reason": "year end", "namespaceSelector": {"matchLabels": {"env": "production"}}},
        });
        for document in [labels, freeze] {
            stage::apply(&stage.client, &document, "story").await.expect("a freeze of team-b");
        }
        // Only then in the other: the freeze and the label come by watches of their own, and a template that is pushed at once may come before them.
        first.ship_paper("v3", json!({})).await;
        ended(&first, 2, "Succeeded").await;
        second.ship_paper("v3", json!({})).await;
        second.until_blocked("Frozen").await;
        // Nodes are nobody's namespace: pilots are chosen by what stands on pods there.
        let by = |pilot: Value| {
            let mut spec = halves();
            spec["steps"][0]["pilot"] = pilot;
            first.release(spec)
        };
        first.apply(by(json!({"nodes": {"matchLabels": {"tidegate.dev/node": "paper"}}}))).await;
        first.ship_paper("v4", json!({})).await;
        first.until_blocked("PilotsUnknown").await;
        let blocker = first.status().await["blockedBy"].take();
        let says = |field: &str, words: &str| blocker[field].as_str().is_some_and(|it| it.contains(words));
        assert!(says("message", "may not list nodes") && says("unblock", "pilot.pods"), "{blocker}");
        first.apply(by(json!({"pods": {"matchLabels": {"app": "shop"}}}))).await;
        ended(&first, 3, "Succeeded").await;
    });
}

#[test]
fn a_release_reaches_no_secret_and_no_workload_of_another_namespace() {
    on_stage(async {
        let stage = Stage::shared().await;
        let rich = Story::begin(stage, "rich").await;
        rich.apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "t0ken", "key": "x"},
        }))
        .await;
        rich.apply(rich.deployment(1)).await;
        rich.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "tidegate-secrets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": "tidegate-system"}],
        }))
        .await;
        let check =
            json!({"name": "config", "config": {"secrets": [{"name": "token", "keys": [{"key": "key"}]}]}});
        let poor = adopted("poor", 2, with(halves(), json!({"preflight": [check]}))).await;
        grant(&poor, "alice", "tidegate-release-manager").await;
        poor.ship_paper("v2", json!({})).await;
        let told = async |words: &str| {
            poor.until(words, |story| async move {
                let status = story.status().await;
                status["blockedBy"]["message"].as_str().is_some_and(|message| message.contains(words))
            })
            .await;
        };
        told("the operator may not read secret token: bind ClusterRole tidegate-secrets in namespace poor-")
            .await;
        // A namespace cannot be named: not of a workload, not of a Secret.
        for (field, spec) in [
            (
                ".spec.targetRef.namespace",
                json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "namespace": rich.namespace}}),
            ),
            (
                ".spec.preflight",
                json!({"preflight": [{"name": "c", "config": {"secrets": [{"name": "token", "namespace": rich.namespace}]}}]}),
            ),
            (
                ".spec.metrics.prometheus.auth.bearer.namespace",
                json!({"metrics": {"prometheus": {
                    "url": "http://prometheus:9090", "auth": {"bearer": {"secret": "token", "namespace": rich.namespace}},
                }}}),
            ),
        ] {
            let refused = poor.try_apply(poor.release(with(halves(), spec)), "story").await;
            let refused = format!("{:#}", refused.expect_err("no such field"));
            assert!(refused.contains(field) && refused.contains("not declared in schema"), "{refused}");
        }
        for name in [format!("{}/token", rich.namespace), format!("../../{}/secrets/token", rich.namespace)] {
            let check =
                json!({"name": "config", "config": {"secrets": [{"name": name, "keys": [{"key": "key"}]}]}});
            let refused =
                poor.try_apply(poor.release(with(halves(), json!({"preflight": [check]}))), "story").await;
            let refused = format!("{:#}", refused.expect_err("no name"));
            assert!(refused.contains("name in body should match"), "{refused}");
        }
        // Nor does a Release of the same name as another namespace's take it up.
        assert!(rich.target().await["metadata"]["labels"]["tidegate.dev/release"].is_null());
    });
}

/// A spec with this one audience.
fn told(channel: Value) -> Value {
    json!({"notify": [with(json!({"name": "team", "events": ["Held"]}), channel)]})
}

/// A spec with this one hook.
fn hooked(kind: Value) -> Value {
    json!({"undo": {"hooks": [with(json!({"name": "flag"}), kind)]}})
}

#[test]
fn a_release_names_nobody_to_tell_and_no_secret_of_a_hook_in_another_namespace() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "walls").await;
        let refused = async |spec: Value| {
            let said = story.try_apply(story.release(with(halves(), spec.clone())), "story").await;
            format!("{:#}", said.err().unwrap_or_else(|| panic!("taken: {spec}")))
        };
        // A namespace cannot be named.
        let mail = |more: Value| {
            let to = json!({"host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]});
            told(json!({"email": with(to, more)}))
        };
        let elsewhere = json!({"secret": "token", "namespace": "rich"});
        let hook = json!({"url": "https://flags.shop/", "secretHeader": {"name": "Authorization", "secret": "token", "namespace": "rich"}});
        for (field, spec) in [
            (".spec.notify", told(json!({"slack": elsewhere}))),
            (".spec.notify", told(json!({"pagerDuty": elsewhere}))),
            (
                ".spec.notify",
                told(json!({"webhook": {"url": "https://shop/", "auth": {"bearer": elsewhere}}})),
            ),
            (".spec.notify", told(json!({"cloudEvents": {"url": "https://shop/", "ca": elsewhere}}))),
            (".spec.notify", mail(json!({"auth": elsewhere}))),
            (".spec.undo.hooks", hooked(json!({"http": hook}))),
            (
                ".spec.undo.hooks",
                hooked(
                    json!({"configMap": {"name": "flags", "namespace": "rich", "key": "a", "value": "b"}}),
                ),
            ),
            (
                ".spec.undo.hooks",
                hooked(json!({"patch": {
                    "apiVersion": "v1", "resource": "configmaps", "name": "flags", "namespace": "rich", "patch": {},
                }})),
            ),
        ] {
            let said = refused(spec).await;
            assert!(said.contains(field) && said.contains("not declared in schema"), "{field}: {said}");
        }
        // Nor does a name lead there.
        for name in ["rich/token", "../token", "../../rich/secrets/token", "token?watch=1"] {
            let there = json!({"secret": name});
            let header = json!({"name": "Authorization", "secret": name});
            for spec in [
                told(json!({"teams": there})),
                told(json!({"opsgenie": there})),
                told(json!({"webhook": there})),
                told(json!({"webhook": {"url": "https://shop/", "auth": {"bearer": there}}})),
                told(json!({"cloudEvents": {"url": "https://shop/", "ca": {"configMap": name}}})),
                mail(json!({"auth": there})),
                mail(json!({"ca": there})),
                hooked(json!({"http": {"url": "https://flags.shop/", "secretHeader": header}})),
                hooked(json!({"configMap": {"name": name, "key": "a", "value": "b"}})),
                hooked(
                    json!({"patch": {"apiVersion": "v1", "resource": "configmaps", "name": name, "patch": {}}}),
                ),
            ] {
                let said = refused(spec).await;
                assert!(said.contains(&format!("'{name}' is not the name of an object")), "{said}");
            }
        }
    });
}
