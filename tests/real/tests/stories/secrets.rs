//! What stands in Secrets is told nowhere: each kind of check and source that reads some, what is told to people, and what is called on the way back, is
//! given values that can be recognised, each is made to fail, and then everything that the operator and the plugin say is looked through for them. Mail
//! and pagers, which take more than an address, are looked through in `notifying`.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::operator::{Operator, binary};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};
use tokio::process::Command;

use crate::answers::{Answer, Answers};
use crate::given::{grant, may_read_secrets, quick, says, with};
use crate::receivers::{Manner, Receiver, authority};

/// How each planted value begins.
const MARK: &str = "planted0";
/// The same in base64, at each of the three places where it may begin.
const ENCODED: [&str; 3] = ["cGxhbnRlZD", "BsYW50ZWQw", "wbGFudGVkM"];
/// What servers say that repeat what they were sent.
const REPEATS_TOKEN: &str =
    r#"{"status":"error","errorType":"internal","error":"no such token: planted0-bearer"}"#;
const REPEATS_PASSWORD: &str =
    r#"{"status":"error","errorType":"internal","error":"no such password: planted0-password"}"#;

fn secret(name: &str, kind: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "stringData": data})
}

/// What the plugin prints.
async fn plugin(story: &Story<'_>, words: &[&str]) -> String {
    let run = Command::new(binary("kubectl-tidegate").expect("the plugin"))
        .args(words)
        .args(["-n", &story.namespace])
        .env("KUBECONFIG", &story.stage.cluster.kubeconfig)
        .output()
        .await
        .expect("it runs");
    let (said, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(!said.is_empty(), "{words:?} says nothing: {complained}");
    format!("{said}{complained}")
}

/// Everything that is told about the Release; `people`: who get a message at each turn.
async fn told(story: &Story<'_>, people: &Receiver) -> Vec<(&'static str, String)> {
    let all = async |group: &str, kind: &str| format!("{:?}", story.list(group, kind).await);
    let operator = story.stage.operator.lock().await;
    let operator = operator.as_ref().expect("an operator");
    vec![
        ("the Release", all("tidegate.dev/v1alpha1", "Release").await),
        ("actions", all("tidegate.dev/v1alpha1", "ReleaseAction").await),
        ("records", all("tidegate.dev/v1alpha1", "ReleaseReport").await),
        ("events", all("events.k8s.io/v1", "Event").await),
        ("the Deployment", story.target().await.to_string()),
        ("the log", Operator::read_log(operator)),
        ("metrics", operator.says("/metrics").await.expect("metrics")),
        ("readyz", operator.says("/readyz").await.expect("readyz")),
        ("status", plugin(story, &["status", "shop", "-o", "wide"]).await),
        ("why", plugin(story, &["why", "shop"]).await),
        ("messages", people.got().iter().map(|got| got.body.to_string()).collect()),
    ]
}

async fn nothing_is_told(story: &Story<'_>, people: &Receiver) {
    for (place, text) in told(story, people).await {
        for mark in [MARK].iter().chain(&ENCODED) {
            assert!(!text.contains(mark), "a value of a Secret is told in {place}: {text}");
        }
    }
}

async fn until_said(story: &Story<'_>, people: &Receiver, words: &str) {
    story
        .until(words, |story| async move {
            let message = story.status().await["blockedBy"]["message"].clone();
            message.as_str().unwrap_or_default().contains(words)
        })
        .await;
    nothing_is_told(story, people).await;
}

fn checks(elsewhere: &str) -> Value {
    let config = |name: &str, key: Value| json!({"name": name, "severity": "Warning", "config": {"secrets": [{"name": "stripe", "keys": [key]}]}});
    let tls = |name: &str, tls: Value| json!({"name": name, "severity": "Warning", "tls": tls});
    json!([
        config("pattern", json!({"key": "pattern", "pattern": "^sk_live_"})),
        config("short", json!({"key": "short", "minLength": 60})),
        config("placeholder", json!({"key": "placeholder"})),
        config("same", json!({"key": "same", "differsFrom": {"namespace": elsewhere}})),
        config("well", json!({"key": "same"})),
        tls("certificate", json!({"secret": "shop-tls"})),
        tls("authority", json!({"secret": "shop-tls", "ca": {"secret": "authority", "key": "ca.crt"}})),
    ])
}

#[test]
fn no_value_of_a_secret_is_told_by_any_check_source_record_log_or_command() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "planted").await;
        let other = Story::begin(stage, "planted-staging").await;
        may_read_secrets(&story).await;
        may_read_secrets(&other).await;
        let same = "planted0-same";
        let stripe = json!({"pattern": "planted0-pattern", "short": "planted0-short", "placeholder": "your_planted0_key", "same": same});
        story.apply(secret("stripe", "Opaque", stripe)).await;
        other.apply(secret("stripe", "Opaque", json!({"same": same}))).await;
        let pem = |what: &str| {
            format!("-----BEGIN {what}-----\nplanted0+{}\n-----END {what}-----\n", what.replace(' ', "+"))
        };
        let tls = json!({"tls.crt": pem("CERTIFICATE"), "tls.key": pem("PRIVATE KEY")});
        story.apply(secret("shop-tls", "kubernetes.io/tls", tls)).await;
        // One that is none, and one that is, with a name and a comment of its own.
        let broken = pem("CERTIFICATE").replace('+', "!");
        let whole = format!("planted0-comment\n{}", authority("planted0-authority").pem());
        story.apply(secret("authority", "Opaque", json!({"ca.crt": broken, "whole.crt": whole}))).await;
        story
            .apply(secret(
                "token",
                "Opaque",
                json!({"token": "planted0-bearer", "broken": "planted0 with\nbreaks", "header": "planted0-header"}),
            ))
            .await;
        let basic = json!({"username": "planted0-user", "password": "planted0-password"});
        story.apply(secret("basic", "kubernetes.io/basic-auth", basic)).await;

        // Who is told: one at an address that is a secret, one that refuses, one that nobody reaches.
        let people = Receiver::start(Manner::Answers(200)).await;
        let refuses = Receiver::start(Manner::Answers(404)).await;
        let chats = json!({
            "chat": format!("{}/planted0-chat", people.url), "deaf": format!("{}/planted0-deaf", refuses.url),
            "gone": "http://127.0.0.1:1/planted0-gone",
        });
        story.apply(secret("chats", "Opaque", chats)).await;
        let events = ["Started", "Held", "StepPassed", "Undoing", "Aborted"];
        let slack =
            |key: &str| json!({"name": key, "slack": {"secret": "chats", "key": key}, "events": events});
        let card = json!({"name": "card", "teams": {"secret": "chats", "key": "deaf"}, "events": events});
        let login = json!({"basic": {"secret": "basic"}});
        let hook = json!({"name": "hook", "webhook": {"url": people.url, "auth": login}, "events": events});
        let sealed = people.url.replace("http:", "https:");
        let sealed = |name: &str, key: &str| {
            let ca = json!({"secret": "authority", "key": key});
            json!({"name": name, "webhook": {"url": sealed, "ca": ca}, "events": events})
        };
        let (broken, whole) = (sealed("broken", "ca.crt"), sealed("whole", "whole.crt"));
        let notify = json!([slack("chat"), slack("deaf"), slack("gone"), card, hook, broken, whole]);
        // What is called on the way back: with a header that is a secret.
        let header =
            json!({"name": "Authorization", "prefix": "Bearer ", "secret": "token", "key": "header"});
        let flag = json!({"name": "flag", "http": {"url": refuses.url, "secretHeader": header}});

        let answers = Answers::start(Answer::of(500, REPEATS_TOKEN));
        let from = |more: Value| with(json!({"url": answers.url.trim_end_matches('/')}), more);
        let bearer = |key: &str| from(json!({"auth": {"bearer": {"secret": "token", "key": key}}}));
        let spec = |prometheus: Value| {
            story.release(with(
                quick(),
                json!({
                    "preflight": checks(&other.namespace),
                    "criteria": [
                        {"name": "errors", "errorRate": {"limit": "5%"}},
                        {"name": "queue", "value": {"promql": "queue", "limit": "value > 10"}},
                    ],
                    "notify": notify,
                    "undo": {"hooks": [flag]},
                    "windows": {"lowTraffic": {"promql": "sum(rate(requests[5m]))", "below": "12.5"}},
                    "metrics": {"prometheus": with(prometheus, json!({"scrapeInterval": "1s"}))},
                }),
            ))
        };
        story.adopt(story.deployment(4), spec(bearer("token"))).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        story.ship_paper("v2", json!({})).await;

        // Before the first pod: how much goes on is asked of a server that repeats what it was sent.
        until_said(&story, &people, "no such token: ...").await;
        says(&story, "alice", json!({"action": "Skip", "reason": "it is known"})).await;
        // Each check has looked at its values, and told what it thinks of them.
        story
            .until("the checks are done", |story| async move {
                let checks = story.status().await["run"]["checks"].clone();
                let is_done = |check: &Value| match check["name"].as_str() {
                    Some("well") => check["state"] == "Passed",
                    _ => check["state"] == "Failed",
                };
                checks.as_array().is_some_and(|all| all.len() == 7 && all.iter().all(is_done))
            })
            .await;
        nothing_is_told(&story, &people).await;
        // In the step: a token that repeats, one that is none, a password, and a CA that is none.
        until_said(&story, &people, "no such token: ...").await;
        story.apply(spec(bearer("broken"))).await;
        until_said(
            &story,
            &people,
            "secret token, key broken is no token: it has blanks or line breaks in it",
        )
        .await;
        answers.tell(Answer::of(500, REPEATS_PASSWORD));
        story.apply(spec(from(json!({"auth": {"basic": {"secret": "basic"}}})))).await;
        until_said(&story, &people, "no such password: ...").await;
        let encrypted = answers.url.trim_end_matches('/').replace("http:", "https:");
        story.apply(spec(json!({"url": encrypted, "ca": {"secret": "authority", "key": "ca.crt"}}))).await;
        until_said(&story, &people, "metrics.prometheus.ca").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        nothing_is_told(&story, &people).await;

        says(&story, "alice", json!({"action": "Abort", "reason": "seen enough"})).await;
        story.until_ended(1).await;
        let called = refuses.got().into_iter().any(|got| got.authorization == "Bearer planted0-header");
        assert!(called, "the hook has its header");
        let record = story.status().await["lastRun"]["report"].as_str().expect("a record").to_owned();
        let record = story.get("tidegate.dev/v1alpha1", "ReleaseReport", &record).await;
        assert_eq!(record["spec"]["undo"]["hooks"][0]["message"], "answered 404, expected 2xx", "{record:#}");
        story
            .until("who cannot be told is named", |story| async move {
                let troubles = story.status().await["notifications"]["troubles"].clone();
                let named: Vec<&Value> =
                    troubles.as_array().into_iter().flatten().map(|trouble| &trouble["to"]).collect();
                ["deaf", "gone", "card", "broken", "whole"]
                    .iter()
                    .all(|to| named.iter().any(|name| *name == to))
            })
            .await;
        assert!(people.got().len() > 4, "the others are told");
        nothing_is_told(&story, &people).await;
        for form in ["markdown", "html", "yaml", "json"] {
            let report = plugin(&story, &["report", "shop", "-o", form]).await;
            assert!(report.contains("pattern"), "{report}");
            assert!(!report.contains(MARK) && ENCODED.iter().all(|mark| !report.contains(mark)), "{report}");
        }
        // Whoever is told to look would find one: the Secrets are there.
        let stored = format!("{:?}", story.list("v1", "Secret").await);
        assert!(ENCODED.iter().any(|mark| stored.contains(mark)), "{stored}");
    });
}
