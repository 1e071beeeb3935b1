//! Releases and other objects that are as large, as deep and as odd as the API server lets them be: they trouble nobody else.

use serde_json::{Value, json};
use tidegate_real::operator::Operator;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::{Story, on_stage};

use crate::given::{adopted, ended, halves, paste, with};

/// Everything at its bound.
fn largest() -> Value {
    let many = |count: usize, of: &dyn Fn(usize) -> Value| -> Value { (0..count).map(of).collect() };
    let name = |place: usize| format!("{place:0>63}");
    let keys =
        || many(64, &|place| json!({"key": format!("{place:0>253}"), "pattern": "(a{99}){99}".repeat(20)}));
    let headers: serde_json::Map<String, Value> =
        (0..16).map(|place| (format!("{place:a>64}"), json!("x".repeat(1024)))).collect();
    let url = format!("http://shop/{}", "x".repeat(1012));
    json!({
        "preflight": many(32, &|place| match place % 3 {
            0 => json!({"name": name(place), "timeout": "000000h000010m000000s", "http": {
                "url": url, "headers": headers, "expect": {"status": 599, "bodyMatches": "(a?){99}".repeat(32), "within": "999999.999s"},
            }}),
            1 => json!({"name": name(place), "approval": {"roles": many(8, &|role| json!(format!("{role:a>63}"))), "quorum": 8}}),
            _ => json!({"name": name(place), "config": {"configMaps": [{"name": "x".repeat(253), "keys": if place == 2 { keys() } else { json!([]) }}]}}),
        }),
        "steps": many(32, &|place| json!({
            "name": name(place), "replicas": place * 3000 + 1, "soak": "999999h999999m999999s", "deadline": "999999h999999m999999s",
            "checks": many(8, &|check| json!({
                "name": name(check), "every": "999999h999999m999999s", "retries": {"limit": 10, "backoff": "999999h"},
                "http": {"podPath": format!("/{}", "x".repeat(511)), "expect": {"headers": {"location": "(a?){99}".repeat(32)}}},
            })),
        })),
        "criteria": many(32, &|place| match place % 2 {
            0 => json!({"name": name(place), "value": {"promql": "x".repeat(2048), "limit": "value > 999999999999999.999999999e+99", "for": "999999h"}}),
            _ => json!({"name": name(place), "latency": {"quantile": 0.999_999_999, "limit": "999999.999s"}}),
        }),
        "metrics": {
            "prometheus": {"url": format!("http://prometheus/{}", "x".repeat(494)), "scrapeInterval": "999999h",
                "headers": many(8, &|place| json!({"name": format!("{place:a>64}"), "value": "x".repeat(256)}))},
            "ignorePaths": many(32, &|place| json!(format!("/{place:a>254}*"))),
        },
        "watch": many(8, &|place| json!({"for": format!("{}h", 100_000 * (place + 1)), "every": "99999h"})),
        "undo": {"budget": "999999h999999m999999s"},
    })
}

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
