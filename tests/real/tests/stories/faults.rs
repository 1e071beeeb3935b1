//! The API server as it really is: slow, broken, overloaded, silent, restarted, upgraded; credentials and authorities that change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tidegate_real::cluster::Options;
use tidegate_real::credentials::Credentials;
use tidegate_real::guard::Guard;
use tidegate_real::load::Load;
use tidegate_real::operator::Operator;
use tidegate_real::relay::{Refused, Relay, Weather};
use tidegate_real::stage::{self, Stage, usual};
use tidegate_real::story::{Story, shop_deployment};
use tokio::process::Command;

use crate::given::{
    by_hand, ended, fail, halves, measured, quick, say, undo_in_order, until_at, until_soaking, version,
};

/// Watches the pods of each from now on.
async fn guards(stories: &[&Story<'_>]) -> Vec<Guard> {
    join_all(stories.iter().map(|story| story.guard())).await
}

/// Of four pods their owner lets one be away and one more be there; no bad version got further than its first pods.
fn kept_to_the_limits(guards: &[Guard]) {
    for worst in guards.iter().map(Guard::worst) {
        assert!(worst.least_ready >= 3 && worst.most_ordered <= 5, "{worst:?}");
    }
}

#[test]
fn an_api_server_and_an_etcd_that_restart_in_mid_run_are_waited_for() {
    tidegate_real::story::on_stage(async {
        // However long a restart takes: nodes that could not say that they live are not taken for lost, and their pods not for bad.
        let patient = Options { silent_nodes: Some("10m"), ..usual() };
        let stage = Stage::own(patient).await.expect("a stage");
        let good = Story::begin(&stage, "restart-good").await;
        let bad = Story::begin(&stage, "restart-bad").await;
        let slow = json!({"paper.tidegate.dev/ready-after": "3s"});
        good.adopt(good.deployment(4), good.release(quick())).await;
        bad.adopt(bad.deployment(4), bad.release(quick())).await;
        let guards = guards(&[&good, &bad]).await;
        good.ship_paper("v2", slow).await;
        good.until_phase("Moving").await;
        bad.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
        for component in ["kube-apiserver", "etcd"] {
            let restart = format!("components/{component}/restart");
            stage.cluster.control(&restart).await.expect("restarted");
        }
        for (story, outcome) in [(&good, "Succeeded"), (&bad, "Undone")] {
            let ended = story.until_ended(1).await;
            assert_eq!(ended["outcome"], outcome, "{}", story.describe().await);
        }
        kept_to_the_limits(&guards);
    });
}

/// A stage whose operator reaches the API server through a relay.
async fn behind_a_relay(more: impl FnOnce(&mut Command)) -> (Stage, Relay) {
    let stage = Stage::without_operator(usual()).await.expect("a stage");
    let relay = Relay::start(&stage.cluster).await.expect("a relay");
    let operator = Operator::start_through(&relay.kubeconfig, more).await.expect("an operator");
    *stage.operator.lock().await = Some(operator);
    (stage, relay)
}

/// Two Deployments of four, adopted.
async fn two<'s>(stage: &'s Stage, name: &str) -> [Story<'s>; 2] {
    let begin = |which: &'static str| async move {
        let story = Story::begin(stage, &format!("{name}-{which}")).await;
        story.adopt(story.deployment(4), story.release(halves())).await;
        story
    };
    let (good, bad) = futures::join!(begin("good"), begin("bad"));
    [good, bad]
}

/// A good version and a bad one.
async fn ship([good, bad]: &[Story<'_>; 2]) {
    good.ship_paper("v2", json!({})).await;
    bad.ship_paper("v2", json!({"paper.tidegate.dev/crash": "true"})).await;
}

async fn come_to_their_ends([good, bad]: &[Story<'_>; 2]) {
    ended(good, 1, "Succeeded").await;
    ended(bad, 1, "Undone").await;
    bad.until("four pods of version 1", |story| async move {
        let pods = story.pods().await;
        pods.len() == 4 && pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == "v1")
    })
    .await;
}

#[test]
fn whatever_the_weather_a_good_version_goes_out_and_a_bad_one_comes_back() {
    tidegate_real::story::on_stage(async {
        let (stage, relay) = behind_a_relay(|_| {}).await;
        let (slow, stormy) = futures::join!(two(&stage, "slow"), two(&stage, "stormy"));
        let guards = guards(&[&slow[0], &slow[1], &stormy[0], &stormy[1]]).await;
        relay.set_weather(Weather::Slow(Duration::from_secs(2)));
        ship(&slow).await;
        come_to_their_ends(&slow).await;
        let log = stage.operator.lock().await.as_ref().map(Operator::read_log).unwrap_or_default();
        assert!(log.contains("leading") && !log.contains("not leading any more"), "it leads on: {log}");

        relay.set_weather(Weather::Fair);
        ship(&stormy).await;
        relay.set_weather(Weather::Overloaded(3));
        let overloaded = Instant::now();
        stormy[1]
            .until("asked again, after having been asked to come back later", |_| async {
                let refused = relay.refused().await;
                refused.iter().any(|refused| refused.at > overloaded + Duration::from_secs(4))
            })
            .await;
        relay.set_weather(Weather::Broken);
        let broken = requests(&stage, "trouble").await;
        stormy[1]
            .until("some more are answered with an error", |_| async {
                requests(&stage, "trouble").await >= broken + 3.0
            })
            .await;
        relay.set_weather(Weather::Fair);
        come_to_their_ends(&stormy).await;
        assert_eq!(too_soon(&relay.refused().await, Duration::from_secs(3)), Vec::<String>::new());
        kept_to_the_limits(&guards);
    });
}

/// One pod, adopted.
async fn one<'s>(stage: &'s Stage, number: usize) -> Story<'s> {
    let story = Story::begin(stage, &format!("waits-{number}")).await;
    story.adopt(story.deployment(1), story.release(halves())).await;
    story
}

/// Whether there is a write about it among these.
fn is_written(story: &Story<'_>, writes: &[String]) -> bool {
    let namespace = format!("/namespaces/{}/", story.namespace);
    writes.iter().any(|write| write.contains(&namespace))
}

#[test]
fn on_a_slow_api_server_one_that_goes_back_overtakes_those_that_wait_for_their_turn() {
    tidegate_real::story::on_stage(async {
        // Two may be written about at once, of different namespaces.
        let (stage, relay) = behind_a_relay(|command| {
            command.env("TIDEGATE_WORKERS", "1");
        })
        .await;
        let crowd = join_all((0..16).map(|number| one(&stage, number))).await;
        let back = Story::begin(&stage, "overtakes").await;
        back.adopt(back.deployment(4), back.release(by_hand())).await;
        let guard = back.guard().await;
        back.ship_paper("v2", json!({})).await;
        until_soaking(&back, "half").await;

        relay.set_weather(Weather::Slow(Duration::from_secs(2)));
        relay.open().await;
        join_all(crowd.iter().map(|story| story.ship_paper("v2", json!({})))).await;
        back.until("something is written about them", |_| async { !relay.writes().await.is_empty() }).await;
        let before = relay.writes().await;
        let waiting: Vec<&Story<'_>> = crowd.iter().filter(|story| !is_written(story, &before)).collect();
        say(&back, "Abort").await;
        let order = format!("PATCH /apis/apps/v1/namespaces/{}/deployments/shop", back.namespace);
        back.until("it is ordered to go back", |_| async { relay.writes().await.contains(&order) }).await;
        let mut until_ordered = relay.writes().await;
        until_ordered.truncate(until_ordered.iter().position(|write| *write == order).expect("an order"));
        let overtaken = waiting.iter().filter(|story| !is_written(story, &until_ordered)).count();
        assert!(overtaken > 0, "of {} that waited all were first: {until_ordered:#?}", waiting.len());

        relay.set_weather(Weather::Fair);
        ended(&back, 1, "Aborted").await;
        let worst = guard.worst();
        // On the way back all that is missing comes at once.
        assert!(worst.least_ready >= 3 && worst.most_ordered <= 6, "{worst:?}");
    });
}

/// Requests of the operator that came to this.
async fn requests(stage: &Stage, outcome: &str) -> f64 {
    let operator = stage.operator.lock().await;
    let operator = operator.as_ref().expect("an operator");
    let mut sum = 0.0;
    for kind in ["read", "write", "watch", "lease"] {
        let series = format!(r#"tidegate_api_requests_total{{request="{kind}",outcome="{outcome}"}}"#);
        sum += operator.counter(&series).await.unwrap_or_default();
    }
    sum
}

/// What was asked again before the time that it had been asked to wait. Two Releases of one namespace would be two.
fn too_soon(refused: &[Refused], wait: Duration) -> Vec<String> {
    let mut last = BTreeMap::<&str, Instant>::new();
    let mut found = Vec::new();
    for Refused { at, what } in refused {
        // Events are tried once each, one after the other: each is another one.
        let before = last.insert(what, *at).filter(|_| !what.contains("/events"));
        if let Some(before) = before
            && *at < before + wait - Duration::from_millis(100)
        {
            found.push(format!("{what} after {:?}", *at - before));
        }
    }
    found
}

#[test]
fn a_write_that_is_never_answered_is_tried_again_and_an_abort_is_heard_though_every_watch_has_fallen_silent()
{
    tidegate_real::story::on_stage(async {
        let (stage, relay) = behind_a_relay(|_| {}).await;
        let story = Story::begin(&stage, "silent").await;
        story.adopt(story.deployment(4), story.release(by_hand())).await;
        relay.hang("/deployments/shop").await;
        // At rest a silence lasts longer; what is shipped into it is seen when the next watch begins.
        story.ship_paper("v2", json!({})).await;
        story.until("a write hangs", |_| async { relay.hung().await }).await;
        story
            .until_within(Duration::from_secs(30), "the run goes on all the same", |story| async move {
                let status = story.status().await;
                status["phase"] == "Soaking" && status["step"]["name"] == "half"
            })
            .await;
        relay.silence_watches();
        let silent = Instant::now();
        say(&story, "Abort").await;
        let last = story.until_ended(1).await;
        assert_eq!(last["outcome"], "Aborted", "{}", story.describe().await);
        // Twelve seconds, then one pod start.
        assert!(silent.elapsed() < Duration::from_secs(20), "heard after {:?}", silent.elapsed());
    });
}

#[test]
fn a_crd_is_upgraded_under_a_running_operator() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "upgraded").await;
        let mut spec = by_hand();
        spec["watch"] = json!([{"for": "1s", "every": "1s"}]);
        story.adopt(story.deployment(4), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        until_soaking(&story, "half").await;

        let crd = stage::newer_releases_crd().expect("the CRD");
        stage::apply(&story.client, &crd, "upgrade").await.expect("upgraded");
        story
            .until("the new version is served, with the new field", |story| async move {
                let dreams = kube::api::Patch::Merge(json!({"spec": {"dreams": "of sheep"}}));
                let newer = story.api("tidegate.dev/v1beta1", "Release");
                let patched = newer.patch("shop", &kube::api::PatchParams::default(), &dreams).await;
                patched.is_ok_and(|release| release.data["spec"]["dreams"] == "of sheep")
            })
            .await;
        until_soaking(&story, "half").await;
        say(&story, "Skip").await;
        until_soaking(&story, "all").await;

        let crd = stage::releases_crd_that_stores_the_newer().expect("the CRD");
        stage::apply(&story.client, &crd, "upgrade").await.expect("upgraded again");
        let crds = stage::api_of(&story.client, &crd).expect("a kind");
        story
            .until("Releases are stored as the newer version has them", |_| async {
                let found = crds.get("releases.tidegate.dev").await;
                found.is_ok_and(|crd| {
                    let stored = crd.data["status"]["storedVersions"].as_array();
                    stored.is_some_and(|stored| stored.contains(&json!("v1beta1")))
                })
            })
            .await;
        say(&story, "Skip").await;
        ended(&story, 1, "Succeeded").await;
        story.ship_paper("v3", json!({"paper.tidegate.dev/crash": "true"})).await;
        ended(&story, 2, "Undone").await;
        let release = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
        assert_eq!(release["spec"]["dreams"], "of sheep", "what this build does not know is kept");
    });
}

#[test]
fn a_leader_whose_token_is_void_and_whose_authority_is_another_undoes_what_turns_bad_meanwhile() {
    tidegate_real::story::on_stage(async {
        let stage = Stage::without_operator(usual()).await.expect("a stage");
        let credentials = Credentials::begin(&stage.cluster).await.expect("credentials");
        let operator = Operator::start_through(&credentials.kubeconfig, |_| {}).await.expect("an operator");
        *stage.operator.lock().await = Some(operator);
        let story = Story::begin(&stage, "rotated").await;
        let mut spec = measured();
        spec["steps"][1]["soak"] = json!("1h");
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
        let guard = story.guard().await;
        story.ship("v2", &[("ALLOW_FAULTS", "1")]).await;
        until_at(&story, "half").await;

        let (refused, unheard) =
            (requests(&stage, "unauthorized").await, requests(&stage, "unreachable").await);
        credentials.renew(&stage.cluster).await.expect("renewed");
        story
            .until("its token is refused", |_| async { requests(&stage, "unauthorized").await > refused })
            .await;
        credentials.rotate_authority(&stage.cluster).await.expect("rotated");
        story.until("it trusts no more", |_| async { requests(&stage, "unreachable").await > unheard }).await;
        fail(&story, "v2", "0.5").await;
        // Both files are read again within a minute.
        story
            .until_within(Duration::from_secs(150), "the end of the run", |story| async move {
                story.status().await["lastRun"]["number"] == 1
            })
            .await;
        let last = ended(&story, 1, "Undone").await;
        undo_in_order(&last, true);
        assert_eq!(version(&story).await, "v1");
        let worst = guard.worst();
        // On the way back all that is missing comes at once.
        assert!(worst.least_ready >= 3 && worst.most_ordered <= 6, "{worst:?}");
        story
            .until("the same operator is ready", |_| async {
                let operator = stage.operator.lock().await;
                let said = operator.as_ref().expect("an operator").ask("readyz").await;
                said.is_ok_and(|(ready, _)| ready)
            })
            .await;
    });
}
