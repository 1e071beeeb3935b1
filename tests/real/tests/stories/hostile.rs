//! Releases and other objects that are as large, as deep and as odd as the API server lets them be: they trouble nobody else.

mod largest;

use serde_json::{Value, json};
use tidegate_real::operator::Operator;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage};

use self::largest::largest;
use crate::given::{adopted, ended, halves, paste, with};

/// A Job's template that is nested deeper than parsers go.
fn deep(levels: usize) -> Value {
    let innermost = json!(1);
    let nested = (0..levels).fold(innermost, |inner, _| json!({ "a": inner }));
    with(
        halves(),
        json!({"preflight": [{"name": "deep", "job": {"template": {"spec": {"template": nested}}}}]}),
    )
}

/// One more of each list, and one letter more.
fn one_over() -> Vec<(&'static str, Value)> {
    let approval = json!({"roles": ["owner"]});
    let checks =
        (0..33).map(|place| json!({"name": format!("c{place}"), "approval": approval})).collect::<Vec<_>>();
    let http = |more: Value| json!({"preflight": [{"name": "http", "http": with(json!({"url": "http://shop/"}), more)}]});
    let headers: serde_json::Map<String, Value> =
        (0..17).map(|place| (format!("h{place}"), json!("x"))).collect();
    let value = |more: Value| json!({"criteria": [{"name": "v", "value": with(json!({"limit": "value > 1"}), more)}]});
    let labels = |key: &str, length: usize| json!({"matchLabels": {key: "x".repeat(length)}});
    let pilot = |of: &str, key: &str, length: usize| json!({"steps": [{"name": "one", "replicas": 1, "pilot": {of: labels(key, length)}}]});
    let promotion = |key: &str, length: usize| json!({"preflight": [{"name": "promotion", "promotion": {"selector": labels(key, length)}}]});
    vec![
        ("spec.preflight: Too many: 33", json!({"preflight": checks})),
        (
            "spec.steps: Too many: 33",
            json!({"steps": (1..34).map(|place| json!({"name": format!("s{place}"), "replicas": place})).collect::<Vec<_>>()}),
        ),
        (
            "spec.criteria: Too many: 33",
            json!({"criteria": (0..33).map(|place| json!({"name": format!("c{place}"), "restarts": {"limit": 1}})).collect::<Vec<_>>()}),
        ),
        (
            "spec.watch: Too many: 9",
            json!({"watch": (0..9).map(|_| json!({"for": "1h", "every": "1m"})).collect::<Vec<_>>()}),
        ),
        (
            "spec.notify: Too many: 17",
            json!({"notify": (0..17).map(|place| json!({"name": format!("n{place}"), "webhook": {"url": "http://shop/"}, "events": ["Held"]})).collect::<Vec<_>>()}),
        ),
        (
            "spec.migrations: Too many: 17",
            json!({"migrations": (0..17).map(|place| json!({"name": format!("m{place}"), "kind": "Expand", "job": {"template": {"spec": {"template": {}}}}})).collect::<Vec<_>>()}),
        ),
        ("spec.locks: Too many: 5", json!({"locks": ["a", "b", "c", "d", "e"]})),
        (
            "spec.undo.hooks: Too many: 9",
            json!({"undo": {"hooks": (0..9).map(|place| json!({"name": format!("h{place}"), "configMap": {"name": "a", "key": "b", "value": "c"}})).collect::<Vec<_>>()}}),
        ),
        (
            "spec.windows.allow: Too many: 9",
            json!({"windows": {"allow": (0..9).map(|_| json!({"cron": "0 9 * * *", "for": "1h"})).collect::<Vec<_>>()}}),
        ),
        ("Too long", http(json!({"expect": {"expression": "x".repeat(1025)}}))),
        (
            "Too long",
            json!({"notify": [{"name": "n", "webhook": {"url": "http://shop/"}, "events": ["Held"], "template": "x".repeat(1025)}]}),
        ),
        ("Too long", value(json!({"podGauge": {"name": "x", "labels": {"a": "x".repeat(257)}}}))),
        ("Too long", http(json!({"url": format!("http://shop/{}", "x".repeat(1013))}))),
        ("Too many", http(json!({"headers": headers}))),
        ("a header's name is made of", http(json!({"headers": {"x".repeat(65): "x"}}))),
        ("a header's name is made of", http(json!({"headers": {"a: b\r\nc": "x"}}))),
        ("not yours to write", http(json!({"headers": {"Host": "x"}}))),
        ("Too long", http(json!({"headers": {"a": "x".repeat(1025)}}))),
        ("is not a header's value", http(json!({"headers": {"a": "b\r\nhost: c"}}))),
        ("no user in the URL", http(json!({"url": "http://metrics@169.254.169.254/"}))),
        ("Too long", http(json!({"expect": {"bodyMatches": "x".repeat(257)}}))),
        ("Too long", http(json!({"expect": {"headers": {"location": "x".repeat(257)}}}))),
        ("Too long", pilot("nodes", "tier", 64)),
        ("Too long", pilot("pods", "tier", 64)),
        ("Too long", promotion("tier", 64)),
        ("a label's key has at most 317 characters", pilot("nodes", &"x".repeat(318), 1)),
        ("a label's key has at most 317 characters", promotion(&"x".repeat(318), 1)),
        ("is not a length of time", json!({"undo": {"budget": "9999999h"}})),
        (
            "timeout is at most 10m",
            json!({"preflight": [{"name": "http", "timeout": "10m1s", "http": {"url": "http://shop/"}}]}),
        ),
        ("no user in the URL", value(json!({"json": {"url": "http://a:b@shop/", "pointer": "/a"}}))),
        (
            "Too long",
            value(json!({"json": {"url": "http://shop/", "pointer": format!("/{}", "x".repeat(256))}})),
        ),
        (
            "is not a comparison",
            value(json!({"json": {"url": "http://shop/", "pointer": "/a"}, "limit": "value > 1e999"})),
        ),
    ]
}

#[test]
fn what_is_at_its_bound_or_deeper_than_parsers_go_stops_nobody_else() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "hostile").await;
        let release = |name: &str, spec: Value| {
            let mut release = story.release(spec);
            release["metadata"]["name"] = json!(name);
            release["spec"]["targetRef"]["name"] = json!(name);
            release
        };
        for (place, (words, spec)) in one_over().into_iter().enumerate() {
            let refused = story.try_apply(release(&format!("over-{place}"), spec.clone()), "story").await;
            let refused = format!("{:#}", refused.err().unwrap_or_else(|| panic!("taken: {spec}")));
            assert!(refused.contains(words), "'{words}' is not said: {refused}");
        }
        story.apply(release("largest", largest())).await;
        // The API server takes it; what it answers cannot be read here either.
        let taken = async |manifest: Value| {
            let answer = story.try_apply(manifest, "story").await;
            let answer = format!("{:#}", answer.expect_err("an answer that is too deep"));
            assert!(answer.contains("recursion limit exceeded"), "{answer}");
        };
        taken(release("deep", deep(400))).await;
        for name in ["largest", "deep"] {
            let mut deployment = story.deployment(2);
            deployment["metadata"]["name"] = json!(name);
            story.apply(deployment).await;
        }
        // Under our label anybody may keep anything.
        taken(json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
                "metadata": {"name": "odd", "labels": {"tidegate.dev/release": "deep"}, "annotations": {"odd": "yes"}},
                "data": (0..400).fold(json!({}), |inner, _| json!({"a": inner})),
            }))
        .await;
        // The watch goes on, and whoever lists everything anew reads everything.
        let other = adopted("not-hostile", 2, halves()).await;
        let mut standby = Operator::start(&stage.cluster).await.expect("an operator that has read all of it");
        other.ship_paper("v2", json!({})).await;
        ended(&other, 1, "Succeeded").await;
        standby.stop().await.expect("it ends");
        // Each is told what stands against it. (The deep one can be read by nobody who reads JSON as we do: kubectl can.)
        story
            .until("what is said of the largest", |story| async move {
                story.get("tidegate.dev/v1alpha1", "Release", "largest").await["status"]["phase"].is_string()
            })
            .await;
        let largest = story.get("tidegate.dev/v1alpha1", "Release", "largest").await;
        let told = &largest["status"]["blockedBy"];
        assert_ne!(told["reason"], "InvalidSpec", "all of it is understood: {told}");
        let says = format!(
            "kubectl get release deep -n {} -o 'jsonpath={{.status.blockedBy.message}}'",
            story.namespace
        );
        paste(&story, &format!("for i in $(seq 100); do {says} | grep 'spec cannot be read: recursion' && exit; sleep 0.1; done; exit 1"), &[]).await;
    });
}

#[test]
fn templates_as_large_as_the_api_server_takes_them_do_not_fill_the_operators_memory() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "large").await;
        let note = "x".repeat(1_000_000);
        let name = |place: usize| format!("large-{place}");
        for place in 0..80 {
            let mut deployment = story.deployment(0);
            deployment["metadata"]["name"] = json!(name(place));
            deployment["spec"]["template"]["spec"]["containers"][0]["env"] =
                json!([{"name": "NOTE", "value": note}]);
            story.apply(deployment).await;
        }
        let mut release = story.release(halves());
        release["metadata"]["name"] = json!(name(0));
        release["spec"]["targetRef"]["name"] = json!(name(0));
        story.apply(release).await;
        // Each of them has a ReplicaSet as large as it is: in pages of five hundred that were 160 MB.
        let mut standby = Operator::start(&stage.cluster).await.expect("an operator that has read all of it");
        let peak = standby.peak().expect("a figure");
        assert!(peak < 160 << 20, "{} MiB", peak >> 20);
        standby.stop().await.expect("it ends");
        let other = Story::begin(&stage, "not-large").await;
        other.adopt(other.deployment(2), other.release(halves())).await;
        other.ship_paper("v2", json!({})).await;
        ended(&other, 1, "Succeeded").await;
        story
            .until("what is said of it", |story| async move {
                let release = story.get("tidegate.dev/v1alpha1", "Release", "large-0").await;
                release["status"]["blockedBy"]["reason"] == "TemplateTooLarge"
            })
            .await;
    });
}
