//! Criteria that do not count requests: what the API server takes and refuses, and what a number that goes wrong leads to.

use serde_json::{Value, json};
use tidegate_real::load::Load;
use tidegate_real::prometheus::Prometheus;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage, shop_deployment};

use crate::answers::{Answer, Answers};
use crate::given::{fail, quick, undo_in_order, until_at, version, with};

fn criterion(kind: &str, body: Value) -> Value {
    json!({"criteria": [{"name": "a", kind: body}]})
}

fn value(body: Value) -> Value {
    criterion("value", body)
}

fn gauge(more: Value) -> Value {
    value(with(json!({"podGauge": {"name": "rss"}, "limit": "value > 10"}), more))
}

fn prometheus(spec: Value) -> Value {
    with(spec, json!({"metrics": {"prometheus": {"url": "http://prometheus.monitoring:9090"}}}))
}

#[test]
fn the_api_server_takes_every_kind_and_says_what_to_write_instead_of_nonsense() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "criteria-cel").await;
        let taken = [
            gauge(json!({"target": "value < 8", "for": "30s", "noData": "Hold", "onLimit": "Notify"})),
            gauge(
                json!({"podGauge": {"name": "rss", "labels": {"kind": "a-b \"c\""}}, "limit": "value <= -1.5e3"}),
            ),
            gauge(
                json!({"limit": "value < 2", "target": "value >= 4", "onUnknown": "Extend", "shadow": true}),
            ),
            prometheus(value(json!({
                "promql": "sum by (country) (orders_pending{app=\"shop\"})", "by": "country",
                "limit": "value > 100", "onLimit": "Hold", "noData": "Pass",
            }))),
            value(
                json!({"json": {"url": "http://shop:8080/stats", "pointer": "/queue/length"}, "limit": "value > 50"}),
            ),
            value(json!({"json": {"url": "https://shop/stats", "pointer": ""}, "limit": "value > 50"})),
            criterion("availability", json!({"limit": "90%", "for": "1m", "onLimit": "Hold"})),
            criterion("restarts", json!({"limit": 0, "shadow": true})),
            json!({"steps": [{"name": "some", "replicas": "10%", "soak": "1h", "advanceEarly": true}]}),
        ];
        let page = include_str!("../../../../docs/metrics.md");
        let section = page.split("## Other criteria").nth(1).expect("the section");
        let example =
            section.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let example: Value = serde_saphyr::from_str(example).expect("YAML");
        let documented =
            json!({"criteria": example["spec"]["criteria"], "metrics": example["spec"]["metrics"]});
        for spec in taken.into_iter().chain([documented]) {
            let said = story.try_apply(story.release(spec.clone()), "story").await;
            assert!(said.is_ok(), "{spec}: {said:?}");
        }
        let json_of = |more: Value| {
            value(with(json!({"json": {"url": "http://shop/", "pointer": "/a"}, "limit": "value > 1"}), more))
        };
        let both = json!({"criteria": [{
            "name": "a", "restarts": {"limit": 1}, "availability": {"limit": "90%"},
        }]});
        let kinds = "criterion 'a' needs exactly one of: errorRate, latency, value, availability, restarts";
        let sources = "value needs exactly one of: podGauge, promql, json";
        let refused = [
            (both, kinds),
            (json!({"criteria": [{"name": "a"}]}), kinds),
            (value(json!({"limit": "value > 1"})), sources),
            (gauge(json!({"promql": "up"})), sources),
            (
                gauge(json!({"limit": "memory is large"})),
                "'memory is large' is not a comparison: write value > 0.8",
            ),
            (gauge(json!({"limit": "value>8"})), "'value>8' is not a comparison: write value > 0.8"),
            (gauge(json!({"limit": "value == 8"})), "'value == 8' is not a comparison: write value > 0.8"),
            (gauge(json!({"limit": "value > 8GB"})), "'value > 8GB' is not a comparison: write value > 0.8"),
            (
                gauge(json!({"target": "value > 5"})),
                "limit 'value > 10' and target 'value > 5' look the same way: with limit 'value > 10' write a target such as \
                 'value < 8'",
            ),
            (gauge(json!({"target": "value < 12"})), "target 'value < 12' is beyond limit 'value > 10'"),
            (
                gauge(json!({"limit": "value < 10", "target": "value > 8"})),
                "target 'value > 8' is beyond limit 'value < 10'",
            ),
            (gauge(json!({"by": "pod"})), "by goes with promql: it is a label of the query's answer"),
            (gauge(json!({"for": "a while"})), "'a while' is not a length of time: write 90s"),
            (gauge(json!({"podGauge": {"name": "r-s-s"}})), "'r-s-s' is not a metric's name"),
            (
                gauge(json!({"podGauge": {"name": "rss", "labels": {"a-b": "c"}}})),
                "a label's name is made of letters",
            ),
            (gauge(json!({"noData": "Undo"})), "Unsupported value"),
            (
                value(json!({"promql": "up", "limit": "value < 1"})),
                "a criterion with promql needs a server to ask: write its url as metrics.prometheus.url",
            ),
            (prometheus(value(json!({"promql": "x".repeat(2049), "limit": "value < 1"}))), "Too long"),
            (json_of(json!({"json": {"url": "ftp://shop/", "pointer": "/a"}})), "is not an http(s) URL"),
            (json_of(json!({"json": {"url": "http://shop/", "pointer": "a"}})), "pointer begins with '/'"),
            (criterion("availability", json!({"limit": "0%"})), "limit is more than 0%: write 90%"),
            (criterion("restarts", json!({"limit": -1})), "should be greater than or equal to 0"),
            (
                json!({"steps": [{"name": "some", "replicas": "10%", "advanceEarly": true}]}),
                "advanceEarly cuts a soak short: write soak beside it",
            ),
            (
                with(
                    criterion("restarts", json!({"limit": 1})),
                    json!({"steps": [{"name": "some", "replicas": "10%", "soak": "1h", "advanceEarly": true}]}),
                ),
                "advanceEarly rests on evidence: write a criterion that measures something",
            ),
        ];
        for (spec, sentence) in refused {
            let said = story.try_apply(story.release(spec.clone()), "story").await;
            let said = said.map(|_| ()).expect_err(&format!("{spec} is not to be taken"));
            let said = format!("{said:#}");
            assert!(said.contains(sentence), "{spec}:\n{said}\nlacks\n{sentence}");
        }
    });
}

/// Two shops, a long soak at half, and a bad thing that begins there.
async fn undone_at_half(story: &Story<'_>, spec: Value, go_wrong: impl AsyncFnOnce()) -> String {
    let mut spec = with(quick(), spec);
    spec["steps"] =
        json!([{"name": "half", "replicas": "50%", "soak": "120s"}, {"name": "all", "replicas": "100%"}]);
    story.adopt(shop_deployment(2), story.release(spec)).await;
    story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
    until_at(story, "half").await;
    story
        .until("Pass", |story| async move { story.status().await["verdicts"][0]["verdict"] == "Pass" })
        .await;
    go_wrong().await;
    let ended = story.until_ended(1).await;
    assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
    undo_in_order(&ended, true);
    assert_eq!(version(story).await, "v1");
    ended["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_number_in_a_json_answer_brings_the_old_version_back() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "json-limit").await;
        let answers = Answers::start(Answer::of(200, r#"{"queue": {"length": 3}}"#));
        let source = json!({"url": answers.url, "pointer": "/queue/length"});
        let criteria =
            json!([{"name": "queue", "value": {"json": source, "limit": "value > 50", "for": "5s"}}]);
        let message = undone_at_half(&story, json!({"criteria": criteria}), async || {
            answers.tell(Answer::of(500, "no"));
            story
                .until_within(std::time::Duration::from_secs(30), "Unknown", |story| async move {
                    let verdict = story.status().await["verdicts"][0].clone();
                    verdict["verdict"] == "Unknown"
                        && verdict["message"].as_str().is_some_and(|said| said.contains("status 500"))
                })
                .await;
            answers.tell(Answer::of(200, r#"{"queue": {"length": 120}}"#));
        })
        .await;
        assert!(
            message.starts_with(
                "queue: The value is 120: breaches the limit (value > 50) for 10 s in 3 samples"
            ),
            "{message}"
        );
    });
}

#[test]
fn a_gauge_on_the_canarys_own_pages_brings_the_old_version_back() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "gauge-limit").await;
        let failures = json!({"name": "http_requests_total", "labels": {"code": "500"}});
        let criteria = json!([{
            "name": "failures", "value": {"podGauge": failures, "limit": "value > 10", "for": "5s", "noData": "Pass"},
        }]);
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let message =
            undone_at_half(&story, json!({"criteria": criteria}), async || fail(&story, "v2", "0.9").await)
                .await;
        assert!(message.starts_with("failures: The value is "), "{message}");
        assert!(
            message.contains("(pod shop-") && message.contains("breaches the limit (value > 10)"),
            "{message}"
        );
    });
}

#[test]
fn a_query_by_country_brings_the_old_version_back_for_the_worst_of_them() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "query-limit").await;
        let server = Answers::start(Answer::of(
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[
                {"metric":{"country":"NO"},"value":[1,"2"]},{"metric":{"country":"SE"},"value":[1,"3"]}]}}"#,
        ));
        let query = json!({
            "promql": "sum by (country) (orders_pending)", "by": "country", "limit": "value > 100", "for": "5s",
        });
        let criteria = json!([{"name": "backlog", "value": query}]);
        let metrics =
            json!({"prometheus": {"url": server.url.trim_end_matches('/'), "scrapeInterval": "5s"}});
        let spec = json!({"criteria": criteria, "metrics": metrics});
        let message = undone_at_half(&story, spec, async || {
            server.tell(Answer::of(
                200,
                r#"{"status":"success","data":{"resultType":"vector","result":[
                    {"metric":{"country":"NO"},"value":[1,"250"]},{"metric":{"country":"SE"},"value":[1,"3"]}]}}"#,
            ));
        })
        .await;
        let expected =
            "backlog: The value is 250 (country NO): breaches the limit (value > 100) for 10 s in 3 samples";
        assert!(message.starts_with(expected), "{message}");
    });
}

#[test]
fn a_gauge_that_prometheus_knows_brings_the_old_version_back() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "gauge-prometheus").await;
        let prometheus = Prometheus::start(&story.client, &story.namespace, &[]).await.expect("a Prometheus");
        let failures = json!({"name": "http_requests_total", "labels": {"code": "500"}});
        let value = json!({"podGauge": failures, "limit": "value > 10", "for": "5s", "noData": "Pass"});
        let spec = json!({
            "criteria": [{"name": "failures", "value": value}],
            "metrics": {"prometheus": {"url": prometheus.url}},
        });
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let message = undone_at_half(&story, spec, async || fail(&story, "v2", "0.9").await).await;
        assert!(message.starts_with("failures: The value is "), "{message}");
        assert!(
            message.contains("(pod shop-") && message.contains("breaches the limit (value > 10)"),
            "{message}"
        );
    });
}
