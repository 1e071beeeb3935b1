//! The model of a Prometheus (`tests/sim`) held against a real one: of the same pods, which said the same at the same moments, both answer the same
//! when they are asked as the operator asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use jiff::Timestamp;
use tidegate_real::prometheus::Prometheus;
use tidegate_real::story::{PATIENCE, on_stage};
use tidegate_sim::scrapes::{self, Answer, GOES, Model, PLACE};
use tokio::net::TcpListener;

/// How long ago the first scrape was: all of them are over, and none has grown too old.
const AGO: i64 = 200;

/// What the pods say.
struct Pages {
    texts: BTreeMap<&'static str, String>,
    /// One of them does not answer any more.
    gone: AtomicBool,
}

impl Pages {
    /// A page tells all that a pod has said, with its moments: Prometheus takes it as if it had been there. The one that goes says what it says now.
    fn since(begun: i64) -> Self {
        let mut texts = BTreeMap::from([(GOES.0, GOES.1.page(None))]);
        for pod in scrapes::pods() {
            let said = pod.says.iter().map(|(at, counted)| counted.page(Some((begun + at) * 1000)));
            texts.insert(pod.name, said.collect());
        }
        Self { texts, gone: AtomicBool::new(false) }
    }
}

async fn page(Path(pod): Path<String>, State(pages): State<Arc<Pages>>) -> Result<String, StatusCode> {
    if pod == GOES.0 && pages.gone.load(Ordering::Relaxed) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    pages.texts.get(pod.as_str()).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// A real one and the model.
struct Both {
    begun: i64,
    real: Prometheus,
    model: Model,
}

impl Both {
    /// Waits until they say the same about this moment, in seconds since the first scrape.
    async fn say_the_same(&self, query: &str, at: impl Fn() -> i64) {
        let Self { begun, real, model } = self;
        let (mut said, mut modelled) = (Answer::new(), Answer::new());
        let waited = async {
            loop {
                let at = at();
                modelled = model.answer(query, at);
                // It may not serve yet.
                let answer = real.answer(query, begun + at).await.unwrap_or_default();
                said = scrapes::read(&answer, *begun);
                if said == modelled {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waited).await.is_ok();
        assert!(in_time, "{query} at {}: {said:#?}, and on the model {modelled:#?}", at());
    }
}

#[test]
fn the_model_of_a_prometheus_and_a_real_one_say_the_same_of_counters_that_begin_anew_and_of_pods_that_come_and_go()
 {
    on_stage(async {
        let begun = Timestamp::now().as_second() - AGO;
        let pages = Arc::new(Pages::since(begun));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let router = Router::new().route("/{pod}", get(page)).with_state(pages.clone());
        let served = tokio::spawn(async move { axum::serve(listener, router).await });
        let pods: Vec<&str> = pages.texts.keys().copied().collect();
        let real = Prometheus::of_pages(&host, PLACE, &pods).await.expect("a Prometheus");
        let mut both = Both { begun, real, model: Model::scraped() };
        let now = || Timestamp::now().as_second() - begun;
        // Then all have been read.
        both.say_the_same(&scrapes::who_is_there(), now).await;
        for ask in scrapes::asks() {
            both.say_the_same(&ask.query, || ask.at).await;
        }
        pages.gone.store(true, Ordering::Relaxed);
        both.model.one_goes();
        both.say_the_same(&scrapes::who_is_there(), now).await;
        served.abort();
    });
}
