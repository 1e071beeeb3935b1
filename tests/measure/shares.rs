//! What a namespace asks of those who say nothing, or begin an answer and stop, keeps no other from being measured, however many it names.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http_body::{Body, Frame};
use serde_json::json;
use tidegate::observe::measure::history::Stretch;
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::prometheus::{Auth, Prometheus, Round};
use tidegate::observe::measure::scrape::Target;
use tidegate::observe::measure::servers::{Server, Servers};
use tidegate::observe::measure::{ReadError, Trust, client};
use tidegate::observe::reach::{Reach, Wire};
use tokio::time::{sleep, timeout};

use super::pods::scrape;
use super::prometheus::{NOW, ROUND, asker, pods, success};
use super::{chosen, totals};

const SECOND: Duration = Duration::from_secs(1);

/// Hosts that say nothing (`silent...`), and how often they were asked; such as begin an answer and stop (`stopping...`, 10.0.0.1); and others.
#[derive(Default)]
struct Network {
    silent: AtomicUsize,
}

impl Wire for Network {
    fn carry(&self, request: reqwest::Request) -> BoxFuture<'static, reqwest::Result<reqwest::Response>> {
        let host = request.url().host_str().unwrap_or_default();
        if host.starts_with("silent") {
            self.silent.fetch_add(1, Ordering::Relaxed);
            return std::future::pending().boxed();
        }
        let asked = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        let body: reqwest::Body = if host.starts_with("stopping") || host == "10.0.0.1" {
            reqwest::Body::wrap(Beginning(Some(Bytes::from_static(b"http"))))
        } else if asked.is_empty() {
            "http_requests_total{code=\"200\"} 3\n".into()
        } else if asked.starts_with(b"query=orders") {
            let number = json!([{"metric": {}, "value": [NOW, "3"]}]);
            json!({"status": "success", "data": {"resultType": "vector", "result": number}})
                .to_string()
                .into()
        } else {
            let series = |namespace: &str, pod: &str| {
                let metric = json!({"namespace": namespace, "pod": pod, "code": "200"});
                json!({"metric": metric, "values": [[NOW, "3"]]})
            };
            success(json!([series("noisy", "loud-1"), series("bank", "pay-1")])).1.to_string().into()
        };
        async move { Ok(Response::new(body).into()) }.boxed()
    }
}

/// The beginning of an answer, and nothing after it.
struct Beginning(Option<Bytes>);

impl Body for Beginning {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut().0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

fn network() -> (Arc<Network>, Reach) {
    let network = Arc::new(Network::default());
    (network.clone(), Reach::anywhere().over(network))
}

fn way(host: &str) -> Prometheus {
    Prometheus { url: format!("http://{host}"), auth: Auth::Nobody, headers: vec![] }
}

fn at(servers: &Servers, host: &str) -> Arc<Server> {
    servers.at(way(host), Trust::Nothing).expect("a server")
}

fn counted() -> Detected {
    chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits")
}

#[tokio::test(start_paused = true)]
async fn pages_that_begin_and_stop_leave_room_for_those_of_other_namespaces() {
    let client = client(Trust::Nothing, &network().1).expect("a client");
    let detected = counted();
    let target = |namespace: &str, pod: usize, host: u8| Target {
        namespace: namespace.to_owned(),
        pod: format!("{namespace}-{pod}"),
        ip: [10, 0, 0, host].into(),
        port: 80,
        path: "/metrics".to_owned(),
    };
    // More than there are places for small pages.
    let noisy: Vec<Target> = (0..500).map(|pod| target("noisy", pod, 1)).collect();
    let bank = [target("bank", 0, 2)];
    let later = async {
        sleep(SECOND).await;
        scrape(&client, &bank, &detected, SECOND, 1).await
    };
    let (noisy, bank) = tokio::join!(scrape(&client, &noisy, &detected, SECOND * 5, 500), later);
    assert_eq!(totals(bank[0].1.as_ref().expect("a page")).requests, 3.0);
    assert!(noisy.iter().all(|(_, page)| matches!(page, Err(ReadError::Timeout { .. }))), "{noisy:?}");
}

#[tokio::test(start_paused = true)]
async fn servers_that_begin_an_answer_and_stop_leave_room_for_what_others_answer_other_namespaces() {
    let client = client(Trust::Nothing, &network().1).expect("a client");
    let detected = counted();
    // Half of them are named by two namespaces, and asked about the pods of both together.
    let noisy = (0..800).map(|number: usize| {
        let mut askers = vec![asker("noisy", &pods(&["loud-1"]), &detected)];
        if number.is_multiple_of(2) {
            askers.push(asker("noisier", &pods(&["loud-1"]), &detected));
        }
        let client = &client;
        async move {
            let server = way(&format!("stopping-{number}"));
            server.read(client, ROUND, &askers).await
        }
    });
    let noisy = join_all(noisy);
    let later = async {
        sleep(SECOND).await;
        let round = Round { deadline: SECOND, ..ROUND };
        way("there").read(&client, round, &[asker("bank", &pods(&["pay-1"]), &detected)]).await
    };
    let (noisy, bank) = tokio::join!(noisy, later);
    assert_eq!(totals(bank[0][0].1.as_ref().expect("samples")).requests, 3.0);
    let is_late = |answer: &Result<_, ReadError>| matches!(answer, Err(ReadError::Timeout { .. }));
    assert!(noisy.iter().flatten().flatten().all(|(_, answer)| is_late(answer)));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_names_many_silent_servers_has_a_share_of_questions_under_way_and_keeps_nobody_waiting()
 {
    let (network, reach) = network();
    let servers = Servers::within(reach);
    for number in 0..100 {
        let server = at(&servers, &format!("silent-{number}"));
        for _ in 0..3 {
            let server = server.clone();
            tokio::spawn(async move { server.instant(ROUND, "noisy", "orders").await });
        }
        let asked = server.clone();
        let stretch = Stretch { from: NOW - 3600, to: NOW };
        tokio::spawn(async move { asked.earlier(ROUND, "noisy", "orders", stretch, 60).await });
        let (asked, loud) = (server.clone(), pods(&["loud-1"]));
        tokio::spawn(async move { asked.detect(ROUND, "noisy", &loud, &Names::default()).await });
        let loud = asker("noisy", &pods(&["loud-1"]), &counted());
        tokio::spawn(async move { server.read(ROUND, loud).await });
    }
    sleep(SECOND).await;
    assert_eq!(network.silent.load(Ordering::Relaxed), 32, "16 numbers and 16 readings");

    let there = at(&servers, "there");
    let number = timeout(SECOND, there.instant(ROUND, "bank", "orders")).await.expect("nobody waits");
    assert_eq!(number.map(|numbers| numbers[0].value), Ok(3.0));
    let of_bank = || asker("bank", &pods(&["pay-1"]), &counted());
    let alone = timeout(SECOND, there.read(ROUND, of_bank())).await.expect("nobody waits");
    assert!(alone[0].1.is_ok(), "{alone:?}");
    // Asked for together: it has no turn of its own left, and is read in the other's.
    let round = Round { now: NOW + 1, ..ROUND };
    let (asked, loud) = (there.clone(), asker("noisy", &pods(&["loud-1"]), &counted()));
    let noisy = tokio::spawn(async move { asked.read(round, loud).await });
    sleep(SECOND / 2).await;
    assert!(!noisy.is_finished());
    let bank = timeout(SECOND, there.read(round, of_bank())).await.expect("it waits for no other");
    assert!(bank[0].1.is_ok(), "{bank:?}");
    let noisy = timeout(SECOND, noisy).await.expect("it is asked for with the other").expect("no panic");
    assert!(noisy[0].1.is_ok(), "{noisy:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_keeps_nothing_waiting_that_its_namespace_asks_another() {
    let (network, reach) = network();
    let servers = Servers::within(reach);
    let (silent, there) = (at(&servers, "silent"), at(&servers, "there"));
    for _ in 0..100 {
        let (asked, loud) = (silent.clone(), pods(&["loud-1"]));
        tokio::spawn(async move { asked.detect(ROUND, "noisy", &loud, &Names::default()).await });
        let asked = silent.clone();
        tokio::spawn(async move { asked.instant(ROUND, "noisy", "orders").await });
    }
    sleep(SECOND).await;
    assert_eq!(network.silent.load(Ordering::Relaxed), 3, "two numbers, and one look for series");
    let loud = pods(&["loud-1"]);
    let number = timeout(SECOND, there.instant(ROUND, "noisy", "orders")).await;
    assert!(number.is_ok_and(|numbers| numbers.is_ok()));
    assert!(timeout(SECOND, there.detect(ROUND, "noisy", &loud, &Names::default())).await.is_ok());
    let read = timeout(SECOND, there.read(ROUND, asker("noisy", &loud, &counted()))).await;
    assert!(read.is_ok_and(|answers| answers[0].1.is_ok()));
}
