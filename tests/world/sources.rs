//! A source that is down, slow, wrong or empty: each kind of criterion is Unknown with the reason, nothing goes on, and nothing goes back.
//! What the readers of real sources say is handed to a run in the small world.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tidegate::decide::judge::Verdict;
use tidegate::decide::values::{self, Found, Gauge};
use tidegate::observe::measure::names::Names;
use tidegate::observe::measure::prometheus::{Auth, Pod, Prometheus, Round};
use tidegate::observe::measure::scrape::{Target, detect, scrape_all};
use tidegate::observe::measure::servers::{Server, Servers};
use tidegate::observe::measure::{ReadError, Trust, client};
use tidegate::observe::reach::Reach;
use tidegate::observe::values::{of_json, of_pages, of_pods, of_query};

use super::{World, template};
use crate::measure::pods::{deaf, serve};

const DEADLINE: Duration = Duration::from_millis(400);

/// What is the matter with a source.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Matter {
    Down,
    Slow,
    Wrong,
    Empty,
}

const ALL: [Matter; 4] = [Matter::Down, Matter::Slow, Matter::Wrong, Matter::Empty];

/// A server that is so: its port. `empty` is what it says when it has nothing to say.
async fn source(matter: Matter, empty: &'static str) -> u16 {
    let router = match matter {
        Matter::Down => return deaf(),
        Matter::Slow => Router::new().fallback(|| async { std::future::pending::<&str>().await }),
        Matter::Wrong => Router::new().fallback(|| async { "<html>sign in</html>" }),
        Matter::Empty => Router::new().fallback(move || async move { empty }),
    };
    serve(router).await
}

/// What is said of the counters on pods' own pages, and of a gauge there.
async fn pages(matter: Matter) -> (ReadError, Result<Found, String>) {
    let port = source(matter, "go_goroutines 5\n").await;
    let client = client(Trust::Nothing, &Reach::anywhere()).unwrap();
    let target = Target {
        namespace: "ns".to_owned(),
        pod: "shop-2-a".to_owned(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        path: "/metrics".to_owned(),
    };
    let targets = [target];
    let counters =
        detect(&client, &targets, &Names::default(), DEADLINE, 1).await.expect_err("nothing to count");
    let gauge = Gauge { name: "queue".to_owned(), labels: Default::default() };
    let read = scrape_all(&client, &targets, None, &[gauge], DEADLINE, 1).await;
    (counters, of_pages(0, &read))
}

fn server(port: u16) -> Arc<Server> {
    let prometheus =
        Prometheus { url: format!("http://127.0.0.1:{port}"), auth: Auth::Nobody, headers: vec![] };
    Servers::within(Reach::anywhere()).at(prometheus, Trust::Nothing).unwrap()
}

/// The same of a Prometheus server, and of a query there.
async fn prometheus(matter: Matter) -> (ReadError, Result<Found, String>, Result<Found, String>) {
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let server = server(source(matter, empty).await);
    let round = Round { now: 1_700_000_000, scrape_interval: Duration::from_secs(15), deadline: DEADLINE };
    let pod = Pod { name: "shop-2-a".to_owned(), started_at: None };
    let counters = server.detect(round, "ns", &[pod], &Names::default()).await.expect_err("nothing to count");
    let gauge = Gauge { name: "queue".to_owned(), labels: Default::default() };
    let gauge =
        of_pods(&server, round, "ns", &[("shop-2-a", true)], &gauge).await.map_err(|error| error.to_string());
    let query = of_query(&server, round, "ns", "sum(orders)", None).await.map_err(|error| error.to_string());
    (counters, gauge, query.and_then(|found| found))
}

async fn answer(matter: Matter) -> Result<Found, String> {
    let port = source(matter, "{}").await;
    let client = client(Trust::Nothing, &Reach::anywhere()).unwrap();
    of_json(&client, &format!("http://127.0.0.1:{port}/stats"), "/queue", DEADLINE)
        .await
        .map_err(|error| error.to_string())
}

/// A run in which this is all that can be read, and what its criteria say then.
fn stands(criteria: Value, counters: Option<&ReadError>, number: Option<Result<Found, String>>) -> World {
    let mut world = World::new(
        4,
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
        json!({
            "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
            "criteria": criteria,
            "metrics": {"prometheus": {"url": "http://prometheus:9090"}},
        }),
    );
    world.meters.trouble = counters.map(ToString::to_string);
    if let Some(number) = number {
        world.meters.numbers.insert("number", number);
    }
    world.push(template("v2", false));
    world.until("held", |world| world.phase() == "Held");
    world.pass(Duration::from_secs(20));
    assert!(world.status.last_run.is_none(), "{}", world.describe());
    assert_eq!(
        world.status.step.as_ref().map(|step| step.name.as_str()),
        Some("half"),
        "{}",
        world.describe()
    );
    let blocker = world.status.blocked_by.clone().expect("something stands in the way");
    assert_eq!(blocker.reason, "NoMeasurements", "{}", world.describe());
    world
}

/// All are Unknown, and each says why.
fn are_unknown(world: &World, reason: &str) {
    assert!(!world.status.verdicts.is_empty());
    for verdict in &world.status.verdicts {
        assert_eq!(verdict.verdict, "Unknown", "{verdict:?}");
        assert!(
            verdict.message.contains(reason),
            "{}: {} has no {reason}",
            verdict.criterion,
            verdict.message
        );
    }
}

fn counted() -> Value {
    json!([
        {"name": "errors", "errorRate": {"limit": "5%"}},
        {"name": "latency", "latency": {"quantile": 0.99, "limit": "2s"}},
        {"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "50%"}},
        {"name": "slower", "latency": {"quantile": 0.95, "relativeTo": "stable", "limit": "50%"}},
    ])
}

#[tokio::test]
async fn a_source_that_is_down_slow_wrong_or_empty_is_unknown_with_its_reason_for_what_counts_requests() {
    for matter in ALL {
        let expected = |of_pods: bool| match (matter, of_pods) {
            (Matter::Down, true) => "write the port of the metrics page as metrics.pods.port",
            (Matter::Down, false) => "no connection to prometheus",
            (Matter::Slow, true) => "is metrics.pods.port the port of the metrics page?",
            (Matter::Slow, false) => "no answer from prometheus within 400 ms",
            (Matter::Wrong, true) => "write where the page is as metrics.pods.port and metrics.pods.path",
            (Matter::Wrong, false) => "does not answer as Prometheus' API does",
            (Matter::Empty, _) => {
                "write the name of yours as metrics.requests.name, or send the pods a request"
            }
        };
        let (of_pages, of_server) = (pages(matter).await.0, prometheus(matter).await.0);
        for (error, is_of_pods) in [(of_pages, true), (of_server, false)] {
            let world = stands(counted(), Some(&error), None);
            are_unknown(&world, &error.to_string());
            are_unknown(&world, expected(is_of_pods));
        }
    }
}

#[tokio::test]
async fn a_source_that_is_down_slow_wrong_or_empty_is_unknown_with_its_reason_for_any_other_number() {
    let gauge = json!([{"name": "number", "value": {"podGauge": {"name": "queue"}, "limit": "value > 10"}}]);
    let query = json!([{"name": "number", "value": {"promql": "sum(orders)", "limit": "value > 10"}}]);
    let json = json!([{"name": "number", "value": {"json": {"url": "http://shop/stats", "pointer": "/queue"}, "limit": "value > 10"}}]);
    for matter in ALL {
        let (_, of_pages) = pages(matter).await;
        let (_, of_pods, of_query) = prometheus(matter).await;
        let of_json = answer(matter).await;
        let said = match matter {
            Matter::Down => {
                ["no connection", "no connection to prometheus", "no connection to prometheus", "no answer"]
            }
            Matter::Slow => [
                "no answer within 400 ms",
                "from prometheus within 400 ms",
                "from prometheus within 400 ms",
                "no answer within 400 ms",
            ],
            Matter::Wrong => [
                "not a metrics page",
                "the answer cannot be read",
                "the answer cannot be read",
                "the answer is no JSON",
            ],
            Matter::Empty => ["Its source answers and has no such number"; 4],
        };
        let all = [(&gauge, of_pages), (&gauge, of_pods), (&query, of_query), (&json, of_json)];
        for ((criteria, found), said) in all.into_iter().zip(said) {
            assert_eq!(found.is_ok(), matter == Matter::Empty, "{matter:?}: {found:?}");
            are_unknown(&stands(criteria.clone(), None, Some(found)), said);
        }
    }
}

#[test]
fn what_the_pods_status_does_not_tell_is_unknown_too() {
    use tidegate::api::ReleaseSpec;
    use tidegate::decide::plan;
    let spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "criteria": [{"name": "ready", "availability": {"limit": "90%"}}, {"name": "restarts", "restarts": {"limit": 0}}],
    });
    let spec: ReleaseSpec = serde_json::from_value(spec).unwrap();
    let criteria = plan::measuring(&spec).unwrap().values;
    // Nobody has looked, and then there are pods of which none was Ready: nothing is known of them, whatever stable's are like.
    let mut state = values::State::default();
    for pods in
        [None, Some(values::Pods { canary: 2, stable: 4, stable_ready: 4, ..values::Pods::default() })]
    {
        if let Some(pods) = pods {
            let looked = state.look(&criteria[..1], pods, 100, Some(0));
            values::fold(&criteria[..1], &mut state, &looked);
        }
        for judgement in values::judge(&criteria, &state, 100) {
            assert_eq!(judgement.verdict, Verdict::Unknown, "{judgement:?}");
            assert_eq!(judgement.message, "No canary pod has been Ready yet.");
        }
    }
}
