//! Each kind of check in five cases: it passes; it fails and says what to do; its source keeps it waiting; its source is away; the operator is
//! killed in the middle of it.
//!
//! What asks is put as a run puts it, to real sources, by the code that asks it in production; the run goes on from the answer. The table says where
//! else a cell is played, or why there is none. How each kind judges what it is told is in the files beside this one.

use std::collections::BTreeSet;
use std::future::pending;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use kube::Client;
use rcgen::date_time_ymd;
use serde_json::{Value, json};
use tidegate::api::status::{CheckState, CheckStatus, Stage};
use tidegate::decide::plan::plan;
use tidegate::decide::snapshot::ProbeResult;
use tokio::net::UdpSocket;

use super::{ask, client_of, cluster, dns, objects, tls};
use crate::measure::pods::{deaf, serve};
use crate::world::{World, template};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Passes,
    Fails,
    Silent,
    Away,
    Killed,
}

use Case::{Away, Fails, Killed, Passes, Silent};

const CASES: [Case; 5] = [Passes, Fails, Silent, Away, Killed];

/// Where a cell is played.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Here,
    /// In the test of this name, in whatever suite.
    By(&'static str),
    /// Nowhere, and why.
    Nowhere(&'static str),
}

use Cell::{By, Here, Nowhere};

/// An outage of the API server is one of the whole operator (docs/faults.md), and no answer of a check.
const KEPT: &str = "what somebody signs is an object of the API server, and there is no other source";

const TABLE: [(&str, [Cell; 5]); 12] = [
    (
        "approval",
        // Whoever says nothing is waited for; the ladder wakes somebody else.
        [Here, Here, By("a_wait_that_nobody_acknowledges_climbs_the_ladder"), Nowhere(KEPT), Here],
    ),
    (
        "attest",
        [Here, Here, By("what_nobody_attests_is_unknown_and_the_reason_is_kept"), Nowhere(KEPT), Here],
    ),
    (
        "job",
        [
            By("a_job_passes_when_what_it_says_is_as_expected_and_its_log_is_kept"),
            By("of_a_job_that_fails_the_end_of_its_log_says_why_unless_that_is_not_wanted"),
            By("a_job_that_takes_longer_than_its_timeout_has_failed_and_says_so"),
            By("what_cannot_be_read_is_unknown_and_read_again"),
            By("killed_after_its_job_was_made_it_finds_it_again"),
        ],
    ),
    ("http", [Here; 5]),
    ("config", [Here; 5]),
    ("tls", [Here; 5]),
    ("dns", [Here; 5]),
    ("object", [Here; 5]),
    ("backup", [Here; 5]),
    ("workload", [Here; 5]),
    ("promotion", [Here; 5]),
    ("telemetry", [Here; 5]),
];

#[test]
fn the_table_has_every_kind_and_names_tests_that_there_are() {
    let problem = plan(&objects::spec(&json!({})), false).expect_err("no kind").to_string();
    let (_, named) = problem.split_once("exactly one of: ").expect("all kinds");
    let kinds: BTreeSet<&str> = named.split(", ").collect();
    assert_eq!(TABLE.iter().map(|(kind, _)| *kind).collect::<BTreeSet<_>>(), kinds);
    let tests = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    for (kind, cells) in TABLE {
        for (case, cell) in CASES.into_iter().zip(cells) {
            match cell {
                Here => {}
                By(test) => assert!(
                    tests.contains(&format!("#[test]\nfn {test}()")),
                    "{kind}, {case:?}: no test {test}"
                ),
                Nowhere(why) => assert!(!why.is_empty(), "{kind}, {case:?}"),
            }
        }
    }
}

/// All Rust files below a directory, as one text.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(&path).expect("a file");
        }
    }
    text
}

/// A server that takes every request and answers none.
async fn silent() -> u16 {
    serve(Router::new().fallback(pending::<StatusCode>)).await
}

/// Where a page of JSON is that does what the case says.
async fn page(case: Case, good: Value, bad: (StatusCode, Value)) -> String {
    let (status, body) = if case == Fails { bad } else { (StatusCode::OK, good) };
    let port = match case {
        Passes | Fails | Killed => {
            serve(Router::new().fallback(async move || (status, axum::Json(body.clone())))).await
        }
        Silent => silent().await,
        Away => deaf(),
    };
    format!("http://127.0.0.1:{port}/")
}

/// An API server that does what the case says, with an object that is as it should be and one that is not.
async fn api_server(case: Case, path: &'static str, good: Value, bad: Value) -> Client {
    match case {
        Passes | Killed => cluster([(path, 200, good)]).await,
        Fails => cluster([(path, 200, bad)]).await,
        Silent => client_of(silent().await),
        Away => client_of(deaf()),
    }
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// What a check of this kind says about itself, the API server that it is asked with, and what it says when it fails.
async fn placed(kind: &str, case: Case) -> (Value, Client, &'static str) {
    match kind {
        "http" => {
            let bad = (StatusCode::INTERNAL_SERVER_ERROR, json!({}));
            let url = page(case, json!({}), bad).await;
            (json!({"url": url}), cluster([]).await, "answered 500, expected 200")
        }
        "telemetry" => {
            // Its criterion stands in the spec.
            (json!({"criteria": ["queue"]}), cluster([]).await, "queue: no data: ")
        }
        "config" => {
            let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": data});
            let path = "/api/v1/namespaces/shop/configmaps/shop";
            let client = api_server(case, path, map(json!({"currency": "NOK"})), map(json!({}))).await;
            let check = json!({"configMaps": [{"name": "shop", "keys": [{"key": "currency"}]}]});
            (check, client, "configmap shop has no key currency, or it is empty")
        }
        "tls" => {
            let root = tls::authority("Root", 2036);
            let until = if case == Fails { 2027 } else { 2035 };
            let pair = tls::pair(&root, |params| params.not_after = date_time_ymd(until, 1, 1));
            let port = match case {
                Passes | Fails | Killed => tls::host(vec![pair.certificate], &pair.key, tls::BOTH),
                Silent => tls::answering(
                    |mut connection| {
                        while connection.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
                    },
                ),
                Away => deaf(),
            };
            let check = json!({"host": "127.0.0.1", "port": port, "ca": {"configMap": "roots"}});
            (check, cluster([tls::roots(&root.pem())]).await, "renew the certificate of 127.0.0.1")
        }
        "dns" => {
            let server = match case {
                Away => UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port").local_addr(),
                Passes | Fails | Silent | Killed => Ok(dns::server().await),
            };
            let name = if case == Silent { "silent.example.com" } else { "shop.example.com" };
            let value = if case == Fails { "192.0.2.9" } else { "192.0.2.1" };
            let server = server.expect("an address").to_string();
            let check = json!({"name": name, "type": "A", "values": [value], "server": server});
            (check, cluster([]).await, "correct the zone")
        }
        "object" => {
            let service = |ports: Value| json!({"metadata": {"name": "shop"}, "spec": {"ports": ports}});
            let path = "/api/v1/namespaces/shop/services/shop";
            let client = api_server(case, path, service(json!([{"port": 80}])), service(json!([]))).await;
            let expression = "size(object.spec.ports) > 0";
            let check =
                json!({"apiVersion": "v1", "resource": "services", "name": "shop", "expression": expression});
            (check, client, "size(object.spec.ports) > 0 does not hold")
        }
        "backup" => {
            let snapshot = |at: &str| json!({"metadata": {"name": "data"}, "status": {"readyToUse": true, "creationTime": at}});
            let path = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/data";
            let (new, old) = (snapshot("2027-01-15T07:00:00Z"), snapshot("2027-01-13T07:00:00Z"));
            let client = api_server(case, path, new, old).await;
            (json!({"volumeSnapshot": {"name": "data"}, "maxAge": "24h"}), client, "make a new one")
        }
        "workload" => {
            let budget =
                json!({"metadata": {"name": "shop"}, "spec": {"selector": {"matchLabels": {"app": "shop"}}}});
            let path = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets?limit=250";
            let client = api_server(case, path, list(&[budget]), list(&[])).await;
            let words = "no PodDisruptionBudget selects the pods: make one";
            (json!({"podDisruptionBudget": "Required"}), client, words)
        }
        "promotion" => {
            let words = "release them there again, and let it end well";
            (json!({"namespace": "staging"}), staging(case).await, words)
        }
        other => panic!("{other} asks nothing"),
    }
}

/// Another stage, where these images have ended well, or not.
async fn staging(case: Case) -> Client {
    let releases = "/apis/tidegate.dev/v1alpha1/namespaces/staging/releases?fieldSelector=metadata.name%3Dshop&limit=250";
    let reports = "/apis/tidegate.dev/v1alpha1/namespaces/staging/releasereports?labelSelector=tidegate.dev%2Frelease%3Dshop&limit=250";
    let outcome = if case == Fails { "Undone" } else { "Succeeded" };
    let release = json!({"metadata": {"name": "shop"}, "status": {}});
    let report = json!({
        "metadata": {"name": "shop-r7"},
        "spec": {"release": "shop", "outcome": outcome, "endedAt": "2027-01-14T08:00:00Z", "canary": {"images": ["shop:v1"]}},
    });
    match case {
        Passes | Fails | Killed => {
            cluster([(releases, 200, list(&[release])), (reports, 200, list(&[report]))]).await
        }
        Silent => client_of(silent().await),
        Away => client_of(deaf()),
    }
}

/// A version is shipped under this check, of which nothing has been heard yet.
fn shipped(kind: &str, check: Value, criteria: Value) -> World {
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    let mut one = json!({"name": "it"});
    one[kind] = check;
    if !["approval", "attest"].contains(&kind) {
        one["timeout"] = json!("2s");
    }
    let steps = json!([{"name": "half", "replicas": "50%"}, {"name": "all", "replicas": "100%"}]);
    let spec = json!({"preflight": [one], "criteria": criteria, "steps": steps, "watch": []});
    let mut world = World::new(4, strategy, spec);
    world.hangs = vec!["it"];
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn check(world: &World) -> CheckStatus {
    world.status.run.as_ref().expect("a run").checks[0].clone()
}

/// The run has left its checks behind, at the first try.
fn goes_on(world: &mut World, what: &str) {
    world.until(what, |world| world.status.run.as_ref().is_some_and(|run| run.stage == Stage::Steps));
    assert_eq!((check(world).state, check(world).attempt), (CheckState::Passed, 1), "{what}");
}

/// One kind that asks, in one case: a run that has put its question.
struct Asked {
    kind: &'static str,
    case: Case,
    world: World,
    client: Client,
    /// What it says when it fails.
    words: &'static str,
}

impl Asked {
    async fn of(kind: &'static str, case: Case) -> Self {
        let (fields, client, words) = placed(kind, case).await;
        let mut criteria = json!([]);
        if kind == "telemetry" {
            let bad = (StatusCode::OK, json!({"length": "long"}));
            let value = json!({"url": page(case, json!({"length": 12}), bad).await, "pointer": "/length"});
            criteria = json!([{"name": "queue", "value": {"json": value, "limit": "value > 90"}}]);
        }
        let mut world = shipped(kind, fields, criteria);
        world.until("asked", |world| !world.asked.is_empty());
        if case == Killed {
            let first = world.asked[0].id.clone();
            world.begin_anew();
            world.asked.clear();
            world.until("asked again", |world| !world.asked.is_empty());
            assert_eq!(world.asked[0].id, first, "{kind}: the same try");
        }
        Self { kind, case, world, client, words }
    }

    /// The run goes on from the answer.
    fn answered(self, result: ProbeResult, said: String) {
        let Self { kind, case, mut world, client: _, words } = self;
        let what = format!("{kind}, {case:?}: {said}");
        world.hangs.clear();
        // Tests have answers for as long as they run.
        world.answers.insert("it", (result, String::leak(said.clone())));
        match case {
            Passes | Killed => {
                assert_eq!(result, ProbeResult::Passed, "{what}");
                goes_on(&mut world, &what);
            }
            Fails => {
                assert_eq!(result, ProbeResult::Failed, "{what}");
                assert!(said.contains(words), "{what}");
                world.until(&what, |world| reason(world) == "CheckFailed");
                let blocker = world.status.blocked_by.clone().expect("a blocker");
                assert!(blocker.message.contains(words), "{what}: {blocker:?}");
                assert!(
                    blocker.unblock.starts_with("kubectl tidegate retry shop -n ns"),
                    "{what}: {blocker:?}"
                );
                assert_eq!(world.alive(), 4, "{what}: no pod of the new version");
            }
            Silent | Away => {
                assert_eq!(result, ProbeResult::Unknown, "{what}");
                assert!(!said.is_empty(), "{what}");
                world.until(&what, |world| reason(world) == "CheckUnknown");
                world.pass(Duration::from_secs(40));
                assert_eq!(reason(&world), "CheckUnknown", "{what}: {}", world.describe());
                assert_eq!(world.alive(), 4, "{what}: no pod of the new version");
                assert!(world.asked.len() >= 3, "{what}: it is asked again");
                world.answers.clear();
                goes_on(&mut world, &what);
            }
        }
    }
}

#[tokio::test]
async fn what_asks_passes_fails_waits_and_begins_again_as_the_table_says() {
    let mut all = Vec::new();
    for (kind, cells) in TABLE.into_iter().filter(|(kind, _)| !["approval", "attest", "job"].contains(kind)) {
        for (case, _) in CASES.into_iter().zip(cells).filter(|(_, cell)| matches!(cell, Here)) {
            all.push(Asked::of(kind, case).await);
        }
    }
    assert_eq!(all.len(), 45);
    let asks = all.iter().map(|asked| ask(&asked.client, &asked.world.asked[0], asked.world.now));
    let answers = futures::future::join_all(asks).await;
    for (asked, (result, said)) in all.into_iter().zip(answers) {
        asked.answered(result, said);
    }
}

/// What is asked of people of this kind, and how they say yes.
fn signed(kind: &str) -> (Value, &'static str, Value) {
    match kind {
        "approval" => (json!({"roles": ["qa"]}), "Approve", json!({"role": "qa"})),
        "attest" => {
            let check = json!({"text": "the support team is briefed", "roles": ["qa"]});
            (check, "Attest", json!({"role": "qa", "check": "it"}))
        }
        other => panic!("nobody signs {other}"),
    }
}

#[test]
fn what_people_sign_passes_fails_and_is_not_lost_as_the_table_says() {
    for kind in ["approval", "attest"] {
        let (fields, action, how) = signed(kind);
        let asked = || {
            let mut world = shipped(kind, fields.clone(), json!([]));
            world.until("it is waited for", |world| reason(world).starts_with("Awaiting"));
            world
        };
        let mut world = asked();
        let unblock = world.status.blocked_by.clone().expect("a blocker").unblock;
        let command = format!("kubectl tidegate {} shop -n ns", action.to_lowercase());
        assert!(unblock.starts_with(&command), "{unblock}");
        world.say_of(action, how.clone());
        goes_on(&mut world, kind);

        let mut world = asked();
        world.say_of("Reject", json!({"role": "qa", "reason": "numbers do not add up"}));
        world.until("the end", |world| world.status.last_run.is_some());
        let last = world.status.last_run.clone().expect("an end");
        assert_eq!(format!("{:?}", last.outcome), "Aborted");
        assert_eq!(last.message, "alice refused it as qa: numbers do not add up", "{kind}");
        assert_eq!(world.alive(), 4, "{kind}: no pod of the new version");

        // After each number of writes in the look that counts the signature, and in the one after it.
        for (looks, after) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut world = asked();
            world.say_of(action, how.clone());
            (0..looks).for_each(|_| world.tick());
            world.dies_after = Some(after);
            world.tick();
            world.begin_anew();
            goes_on(&mut world, kind);
            let signatures = &world.status.run.as_ref().expect("a run").signatures;
            assert_eq!(signatures.len(), 1, "{kind}, killed in look {looks} after {after}: {signatures:?}");
        }
    }
}
