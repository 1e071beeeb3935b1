//! People are told: over HTTP, by mail, up a ladder; and nothing waits for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::given::{grant, may_read_secrets, quick, says, stands_still, with};
use crate::receivers::{Encryption, MailServer, Manner, Receiver};

/// A word that stands in Secrets and nowhere else.
const PLANTED: &str = "pl4nted-s3cret-w0rd";

async fn secret(story: &Story<'_>, name: &str, data: Value) {
    let metadata = json!({"name": name});
    story
        .apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}))
        .await;
}

async fn adopted(name: &str, spec: Value) -> Story<'static> {
    let story = Story::begin(Stage::shared().await, name).await;
    may_read_secrets(&story).await;
    story.adopt(story.deployment(2), story.release(with(quick(), spec))).await;
    grant(&story, "alice", "tidegate-release-manager").await;
    story
}

/// Everything that anybody can read of it: objects, events, records, the log and the metrics.
async fn told(story: &Story<'_>) -> String {
    let release = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
    let events = story.list("events.k8s.io/v1", "Event").await;
    let reports = story.list("tidegate.dev/v1alpha1", "ReleaseReport").await;
    let actions = story.list("tidegate.dev/v1alpha1", "ReleaseAction").await;
    let (log, address) = {
        let operator = story.stage.operator.lock().await;
        let operator = operator.as_ref().expect("an operator");
        (operator.read_log(), operator.address.clone())
    };
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let metrics = client.get(format!("http://{address}/metrics")).send().await.expect("a page");
    let metrics = metrics.text().await.expect("a page");
    format!("{release} {events:?} {reports:?} {actions:?} {log} {metrics}")
}

fn events_of(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["event"].as_str().unwrap_or_default()).collect()
}

async fn until_all_told(story: &Story<'_>) {
    story
        .until("nothing is owed", |story| async move {
            story.status().await["notifications"]["owed"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
}

#[test]
fn each_audience_is_told_what_it_asked_for_and_no_secret_is_told_to_anybody_else() {
    on_stage(async {
        let receiver = Receiver::start(Manner::Answers(200)).await;
        let all =
            json!(["Started", "Held", "StepPassed", "Undoing", "Undone", "Succeeded", "Aborted", "Rejected"]);
        let bad = json!(["Held", "Undone", "Aborted"]);
        let notify = json!([
            {"name": "chat", "slack": {"secret": "urls", "key": "slack"}, "events": ["Started", "Succeeded"], "template": "<!here> {{release}}: {{event}} of {{images}}"},
            {"name": "teams", "teams": {"secret": "urls", "key": "teams"}, "events": ["Succeeded"]},
            {"name": "hook", "webhook": {"secret": "urls", "key": "hook", "auth": {"basic": {"secret": "login"}}}, "events": all},
            {"name": "events", "cloudEvents": {"url": format!("{}/events", receiver.url), "auth": {"bearer": {"secret": "urls", "key": "token"}}}, "events": all},
            {"name": "duty", "pagerDuty": {"secret": "urls", "key": "token", "url": format!("{}/enqueue", receiver.url)}, "events": bad},
            {"name": "genie", "opsgenie": {"secret": "urls", "key": "token", "url": format!("{}/alerts", receiver.url)}, "events": bad},
        ]);
        let story = adopted("told", json!({"notify": notify})).await;
        let url = |name: &str| format!("{}/{name}/{PLANTED}", receiver.url);
        let urls =
            json!({"slack": url("slack"), "teams": url("teams"), "hook": url("hook"), "token": PLANTED});
        secret(&story, "urls", urls).await;
        secret(&story, "login", json!({"username": "tidegate", "password": PLANTED})).await;
        story.ship_paper("v2", json!({})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        until_all_told(&story).await;
        let slack = receiver.at(&format!("/slack/{PLANTED}"));
        let texts: Vec<&str> = slack.iter().map(|body| body["text"].as_str().unwrap_or_default()).collect();
        assert_eq!(texts, ["<!here> shop: Started of shop:v1", "<!here> shop: Succeeded of shop:v1"]);
        assert_eq!(receiver.at(&format!("/teams/{PLANTED}")).len(), 1);
        let hook = receiver.at(&format!("/hook/{PLANTED}"));
        assert_eq!(events_of(&hook), ["Started", "StepPassed", "StepPassed", "StepPassed", "Succeeded"]);
        let record = story.status().await["lastRun"]["report"].clone();
        assert_eq!(hook[4]["report"], record, "{hook:#?}");
        let events = receiver.at("/events");
        let data: Vec<Value> = events.iter().map(|event| event["data"].clone()).collect();
        assert_eq!(events_of(&data), events_of(&hook));
        assert!(events.iter().zip(&hook).all(|(event, hook)| event["id"] == hook["id"]), "{events:#?}");
        let authorization = |path: &str| {
            let found = receiver.got().into_iter().find(|got| got.path.starts_with(path));
            found.map(|got| got.authorization).unwrap_or_default()
        };
        assert_eq!(authorization("/events"), format!("Bearer {PLANTED}"));
        assert!(authorization("/hook").starts_with("Basic "));
        assert!(receiver.at("/enqueue").is_empty() && receiver.at("/alerts").is_empty(), "nobody is woken");

        // A hold: opened, acknowledged, resolved.
        story
            .apply(story.release(with(
                quick(),
                json!({"notify": notify, "steps": [{"name": "half", "replicas": "50%", "soak": "1h"}]}),
            )))
            .await;
        story.ship_paper("v3", json!({})).await;
        story.until_phase("Soaking").await;
        says(&story, "alice", json!({"action": "Pause", "reason": "fire drill"})).await;
        story.until("an incident", |_| async { receiver.at("/enqueue").len() == 1 }).await;
        says(&story, "alice", json!({"action": "Acknowledge"})).await;
        story.until("acknowledged", |_| async { receiver.at("/enqueue").len() == 2 }).await;
        says(&story, "alice", json!({"action": "Resume"})).await;
        story.until("resolved", |_| async { receiver.at("/enqueue").len() == 3 }).await;
        says(&story, "alice", json!({"action": "Abort", "reason": "enough"})).await;
        assert_eq!(story.until_ended(2).await["outcome"], "Aborted", "{}", story.describe().await);
        until_all_told(&story).await;
        let duty = receiver.at("/enqueue");
        let actions: Vec<&str> =
            duty.iter().map(|event| event["event_action"].as_str().unwrap_or_default()).collect();
        assert_eq!(actions, ["trigger", "acknowledge", "resolve", "trigger"]);
        assert!(duty[..3].iter().all(|event| event["dedup_key"] == duty[0]["dedup_key"]), "{duty:#?}");
        assert_ne!(duty[3]["dedup_key"], duty[0]["dedup_key"]);
        assert_eq!(duty[0]["routing_key"], PLANTED);
        assert_eq!(
            receiver.at("/alerts").len(),
            2,
            "made by the hold and by the abort: {:#?}",
            receiver.got()
        );
        assert_eq!(authorization("/alerts"), format!("GenieKey {PLANTED}"));
        assert!(!told(&story).await.contains(PLANTED), "a secret was told");
    });
}

#[test]
fn mails_reach_a_server_under_tls_with_the_password_of_a_secret() {
    on_stage(async {
        let starttls = MailServer::start(Encryption::StartTls, "tidegate", PLANTED).await;
        let implicit = MailServer::start(Encryption::Implicit, "tidegate", PLANTED).await;
        let mail = |server: &MailServer, tls: &str, ca: &str, login: &str| {
            json!({
                "host": "127.0.0.1", "port": server.port, "tls": tls, "ca": {"secret": ca}, "auth": {"secret": login},
                "from": "tidegate@example.com", "to": ["team@example.com", "boss@example.com"],
            })
        };
        let events = json!(["Started", "Succeeded"]);
        let notify = json!([
            {"name": "starttls", "email": mail(&starttls, "StartTls", "starttls", "login"), "events": events},
            {"name": "implicit", "email": mail(&implicit, "Implicit", "implicit", "login"), "events": events},
            {"name": "stranger", "email": mail(&starttls, "StartTls", "starttls", "stranger"), "events": events},
            {"name": "distrusted", "email": mail(&starttls, "StartTls", "implicit", "login"), "events": events},
        ]);
        let story = adopted("mailed", json!({"notify": notify})).await;
        secret(&story, "starttls", json!({"ca.crt": starttls.authority})).await;
        secret(&story, "implicit", json!({"ca.crt": implicit.authority})).await;
        secret(&story, "login", json!({"username": "tidegate", "password": PLANTED})).await;
        secret(&story, "stranger", json!({"username": "stranger", "password": format!("{PLANTED}-2")})).await;
        story.ship_paper("v2", json!({})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        for server in [&starttls, &implicit] {
            story.until("two mails", |_| async { server.took().len() == 2 }).await;
            let took = server.took();
            for mail in &took {
                assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("tidegate")), "{mail:#}");
                assert_eq!(mail["to"], json!(["team@example.com", "boss@example.com"]));
            }
            let data = took[1]["data"].as_str().unwrap_or_default();
            let subject = format!("Subject: {}/shop, run r1, has succeeded", story.namespace);
            assert!(data.contains(&subject) && data.contains("Auto-Submitted: auto-generated"), "{data}");
            assert!(data.contains("Message-ID: <") && data.contains("@tidegate.dev>"), "{data}");
        }
        story
            .until("those that cannot be told are named", |story| async move {
                let troubles = story.status().await["notifications"]["troubles"].clone();
                let said = |to: &str, words: &str| {
                    let found = troubles.as_array().into_iter().flatten().find(|trouble| trouble["to"] == to);
                    found.is_some_and(|trouble| {
                        trouble["message"].as_str().unwrap_or_default().contains(words)
                    })
                };
                said("stranger", "127.0.0.1 refuses the user and the password of auth.secret (535)")
                    && said("distrusted", "no TLS with 127.0.0.1: invalid peer certificate")
            })
            .await;
        assert!(!told(&story).await.contains(PLANTED), "a secret was told");
    });
}

#[test]
fn a_receiver_that_is_down_is_tried_again_also_by_another_operator_and_the_run_goes_on() {
    on_stage(async {
        let receiver = Receiver::start(Manner::Answers(503)).await;
        let stage = Stage::own(tidegate_real::stage::usual()).await.expect("a stage");
        let story = Story::begin(&stage, "down").await;
        let url = format!("{}/hook", receiver.url);
        let notify = json!([{"name": "hook", "webhook": {"url": url}, "events": ["Started", "Succeeded"]}]);
        story.adopt(story.deployment(2), story.release(with(quick(), json!({"notify": notify})))).await;
        story.ship_paper("v2", json!({})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        story
            .until("it is said", |story| async move {
                let status = story.status().await;
                let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
                conditions
                    .iter()
                    .any(|one| one["type"] == "NotificationsFailing" && one["reason"] == "TriedAgain")
            })
            .await;
        let first = receiver.at("/hook")[0]["id"].clone();
        story.stage.kill_operator().await.expect("killed");
        receiver.turns(Manner::Answers(200));
        let before = receiver.at("/hook").len();
        story.stage.start_operator().await.expect("started");
        until_all_told(&story).await;
        let after: Vec<Value> = receiver.at("/hook").split_off(before);
        assert_eq!(events_of(&after), ["Started", "Succeeded"], "{after:#?}");
        assert_eq!(after[0]["id"], first, "the same id as before");
        story
            .until("it is not said any more", |story| async move {
                let status = story.status().await;
                let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
                !conditions.iter().any(|one| one["type"] == "NotificationsFailing")
            })
            .await;
    });
}

#[test]
fn an_undo_waits_for_no_receiver() {
    on_stage(async {
        let receiver = Receiver::start(Manner::Hangs).await;
        let everything = json!(["Started", "Held", "StepPassed", "Undoing", "Undone", "Aborted", "Rejected"]);
        let notify: Vec<Value> = (0..16)
            .map(|number| {
                let url = format!("{}/{number}", receiver.url);
                json!({"name": format!("hook-{number}"), "webhook": {"url": url}, "events": everything})
            })
            .collect();
        let steps = json!([{"name": "half", "replicas": "50%", "soak": "1h"}]);
        let story = adopted("hanging", json!({"notify": notify, "steps": steps})).await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Soaking").await;
        story.until("they hang", |_| async { !receiver.got().is_empty() }).await;
        let began = Instant::now();
        says(&story, "alice", json!({"action": "Abort", "reason": "enough"})).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Aborted", "{}", story.describe().await);
        // Three tries at one of them take longer, on however busy a machine.
        assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
        let at = |name: &str| {
            let text = ended["undo"][name].as_str().unwrap_or_default();
            text.parse::<jiff::Timestamp>().expect("a moment")
        };
        let took = at("orderedAt") - at("decidedAt");
        assert!(took.total(jiff::Unit::Second).expect("seconds") < 3.0, "{took}: {ended:#}");
    });
}

#[test]
fn a_hold_that_nobody_acknowledges_is_told_to_others() {
    on_stage(async {
        let receiver = Receiver::start(Manner::Answers(200)).await;
        let hook = |name: &str, after: Option<&str>| {
            let url = format!("{}/{name}", receiver.url);
            let mut one = json!({"name": name, "webhook": {"url": url}, "events": ["AwaitingApproval"]});
            if let Some(after) = after {
                one["after"] = json!(after);
            }
            one
        };
        let notify = json!([hook("team", None), hook("lead", Some("2s")), hook("boss", Some("1h"))]);
        let approval = json!({"roles": ["qa-manager"]});
        let spec = json!({"notify": notify, "preflight": [{"name": "sign-off", "approval": approval}]});
        let story = adopted("ladder", spec).await;
        story.ship_paper("v2", json!({})).await;
        story.until("the lead is told", |_| async { !receiver.at("/lead").is_empty() }).await;
        assert_eq!(receiver.at("/team").len(), 1);
        assert_eq!(receiver.at("/lead")[0]["turn"], "Still");
        let unblock = receiver.at("/lead")[0]["unblock"].clone();
        assert!(unblock.as_str().is_some_and(|unblock| unblock.contains("approve shop")), "{unblock}");
        // Who may not say so does not silence anybody.
        let refused = story.say("bob", json!({"action": "Acknowledge"})).await.expect_err("not bob's");
        assert!(refused.to_string().contains("forbidden"), "{refused}");
        says(&story, "alice", json!({"action": "Acknowledge"})).await;
        story
            .until("acknowledged", |story| async move {
                story.status().await["notifications"]["standing"]["acknowledged"]["by"] == "alice"
            })
            .await;
        stands_still(&story, Duration::from_secs(1)).await;
        assert!(receiver.at("/boss").is_empty());
    });
}
