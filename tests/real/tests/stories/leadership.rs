//! Two operators: one leads. Its Lease is deleted, it is frozen, cut off, asked to end, killed: the other takes over, and there are never two who write.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use tidegate_real::cluster::{Options, scratch};
use tidegate_real::operator::{NAMESPACE, Operator, kubeconfig_behind, unique};
use tidegate_real::relay::Relay;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::Story;
use tidegate_real::writers;

use crate::given::{ended, quick, skip};

/// How often an operator has begun to lead.
fn led(operator: &Operator) -> usize {
    operator.read_log().matches("leading ident").count()
}

/// How often it has noticed that it leads no more.
fn deposed(operator: &Operator) -> usize {
    operator.read_log().matches("not leading any more").count()
}

async fn behind(stage: &Stage, proxy: &str) -> Operator {
    let kubeconfig = kubeconfig_behind(&stage.cluster, proxy).await.expect("a proxy");
    Operator::start_through(&kubeconfig, |_| {}).await.expect("an operator")
}

/// When the soak of its step is over.
fn soaked_at(status: &Value) -> Timestamp {
    let until = status["step"]["until"].as_str().and_then(|until| until.parse().ok());
    until.unwrap_or_else(|| panic!("it does not soak: {status:#}"))
}

/// Waits until an operator has asked who leads, since then: who does leads on without a question.
async fn asks_who_leads(story: &Story<'_>, log: &Path, since: Timestamp) {
    let asked = |request: &writers::Request| {
        request.received > since && request.verb == "get" && request.object.starts_with("leases/")
    };
    let asked = &asked;
    story
        .until("whoever woke asks who leads", |_| async move {
            writers::requests(log).expect("the audit log").iter().any(asked)
        })
        .await;
}

#[test]
fn who_is_asked_to_end_while_a_write_is_under_way_lets_nobody_write_before_it_has_ended() {
    tidegate_real::story::on_stage(async {
        let log = scratch().expect("a directory").join(format!("audit-{}.log", unique()));
        let options = Options { audit: Some(log.clone()), ..usual() };
        let stage = Stage::without_operator(options).await.expect("a stage");
        let relay = Relay::start(&stage.cluster).await.expect("a relay");
        let mut first = Operator::start_through(&relay.kubeconfig, |_| {}).await.expect("an operator");
        let story = Story::begin(&stage, "asked-to-end").await;
        story.until("the first leads", |_| async { led(&first) == 1 }).await;
        story.adopt(story.deployment(4), story.release(quick())).await;
        let second = Operator::start(&stage.cluster).await.expect("an operator");

        relay.hang("/deployments/shop").await;
        story.ship_paper("v2", json!({})).await;
        story.until("a write hangs", |_| async { relay.hung().await }).await;
        let asked = Instant::now();
        first.stop().await.expect("stopped");
        assert!(asked.elapsed() < Duration::from_secs(15), "it took {:?}", asked.elapsed());
        story.until("the second leads", |_| async { led(&second) == 1 }).await;
        ended(&story, 1, "Succeeded").await;
        let requests = writers::requests(&log).expect("the audit log");
        assert_eq!(writers::tried_by_deposed(&requests), Vec::<String>::new());
        std::fs::remove_file(log).expect("removed");
    });
}

#[test]
fn of_two_operators_one_writes_whoever_is_frozen_cut_off_asked_to_end_or_killed() {
    tidegate_real::story::on_stage(async {
        let log = scratch().expect("a directory").join(format!("audit-{}.log", unique()));
        let options = Options { audit: Some(log.clone()), ..usual() };
        let stage = Stage::without_operator(options).await.expect("a stage");
        let mut first = behind(&stage, "first").await;
        let story = Story::begin(&stage, "two").await;
        story.until("the first leads", |_| async { led(&first) == 1 }).await;
        let begun = Timestamp::now();
        let mut second = behind(&stage, "second").await;
        asks_who_leads(&story, &log, begun).await;

        // Whoever leads makes it anew, and the other knows that somebody may.
        let leases: Api<Lease> = Api::namespaced(stage.client.clone(), NAMESPACE);
        leases.delete("tidegate", &DeleteParams::default()).await.expect("deleted");
        story
            .until("the Lease is there again", |_| async {
                leases.get_opt("tidegate").await.is_ok_and(|lease| lease.is_some())
            })
            .await;
        assert_eq!((led(&first), deposed(&first), led(&second)), (1, 0, 0), "{}", second.read_log());

        let mut spec = quick();
        // Nothing comes due as long as who is cut off may still write (10 s): what a network holds is no write of one who is deposed.
        spec["steps"][0]["soak"] = json!("13s");
        story.adopt(story.deployment(10), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Soaking").await;
        assert_eq!(led(&second), 0, "{}", second.read_log());

        // By all that the first knows a step is due when it wakes, and nobody has ordered it: who takes over soaks anew, from when it looks.
        // It hears that it leads no more only when what it orders has long gone out.
        let soaked_at = soaked_at(&story.status().await);
        first.signal("STOP").await.expect("frozen");
        story.until("the second leads", |_| async { led(&second) == 1 }).await;
        story.until("a step is due", |_| async { Timestamp::now() > soaked_at }).await;
        stage.cluster.control("proxies/first/delay?ms=1000").await.expect("slowed down");
        let woken = Timestamp::now();
        first.signal("CONT").await.expect("woken");
        asks_who_leads(&story, &log, woken).await;
        let requests = writers::requests(&log).expect("the audit log");
        assert_eq!(writers::tried_by_deposed(&requests), Vec::<String>::new(), "nothing went out");
        assert_eq!(story.status().await["step"]["name"], "tenth", "it was due until now");
        story.until("the first knows", |_| async { deposed(&first) == 1 }).await;
        stage.cluster.control("proxies/first/delay?ms=0").await.expect("as fast as before");
        skip(&story, "tenth").await;
        ended(&story, 1, "Succeeded").await;

        story.ship_paper("v3", json!({})).await;
        story.until_phase("Soaking").await;
        stage.cluster.control("proxies/second/hang").await.expect("cut off");
        story.until("the first leads again", |_| async { led(&first) == 2 }).await;
        assert_eq!(deposed(&second), 1, "it knew before that it might not lead: {}", second.read_log());
        skip(&story, "tenth").await;
        ended(&story, 2, "Succeeded").await;
        story
            .until("the second says that it is cut off", |_| async {
                let (ready, why) = second.ask("readyz").await.expect("an answer");
                !ready && why.contains("has not answered for")
            })
            .await;
        let silent = second.counter("tidegate_api_unanswered_seconds").await.expect("a metric");
        assert!(silent >= 30.0, "{silent}");
        story.ship_paper("v4", json!({})).await;
        story.until_phase("Soaking").await;
        stage.cluster.control("proxies/second/resume").await.expect("healed");
        story
            .until("the second is ready again", |_| async {
                second.ask("readyz").await.is_ok_and(|(ready, _)| ready)
            })
            .await;

        let asked = Instant::now();
        first.stop().await.expect("stopped");
        story.until("the second leads again", |_| async { led(&second) == 2 }).await;
        let handed_over = asked.elapsed();

        let third = Operator::start(&stage.cluster).await.expect("an operator");
        let killed = Instant::now();
        second.kill().await.expect("killed");
        story.until("the third leads", |_| async { led(&third) == 1 }).await;
        let taken_over = killed.elapsed();
        skip(&story, "tenth").await;
        ended(&story, 3, "Succeeded").await;
        println!("handed over after {handed_over:?}, taken over after {taken_over:?}");
        // What may take time is the same half second each time, in which the other has not looked at the Lease; before it at most half a
        // second for looks under way, or the 15 s of the Lease. The rest is for a machine that is busy with other stories.
        assert!(handed_over < Duration::from_secs(2), "handed over after {handed_over:?}");
        assert!(taken_over < Duration::from_secs(16), "taken over after {taken_over:?}");

        let requests = writers::requests(&log).expect("the audit log");
        let writers =
            |request: &&writers::Request| request.took_effect() && !request.object.starts_with("leases");
        let agents: std::collections::BTreeSet<&str> =
            requests.iter().filter(writers).map(|request| request.agent.as_str()).collect();
        assert_eq!(agents.len(), 3, "each of the three has written: {agents:?}");
        assert_eq!(writers::of_deposed(&requests), Vec::<String>::new());
        std::fs::remove_file(log).expect("removed");
    });
}
