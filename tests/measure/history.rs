//! The past as a Prometheus server knows it, and a server whose clock is not ours.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tidegate::decide::judge::{self, Criterion, Measure, Revision, Settings, Slot, State};
use tidegate::observe::measure::counters::{Ledger, Reading};
use tidegate::observe::measure::history::{PodsLike, Rounds, Stretch};
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::prometheus::{Auth, Pod, Prometheus, Round};
use tidegate::observe::measure::{ReadError, Trust, client};
use tidegate::observe::reach::{Client, Reach};

use super::prometheus::{fake, success};
use super::{GO, chosen};
use crate::past::{self, BEGINNING, HOUR, Past, SCRAPE};

const NOW: i64 = BEGINNING + 2 * HOUR;

fn round(now: i64) -> Round {
    Round { now, scrape_interval: Duration::from_secs(15), deadline: Duration::from_secs(5) }
}

fn detected() -> Detected {
    chosen(&Names::default(), GO).expect("fits")
}

async fn server(past: &Past) -> (Prometheus, Client) {
    let prometheus = Prometheus { url: past.serve().await, auth: Auth::Nobody, headers: vec![] };
    (prometheus, client(Trust::Nothing, &Reach::anywhere()).expect("a client"))
}

fn nine() -> Vec<past::Pod> {
    let pod = |number: i64| {
        past::Pod::new(&format!("shop-{number}"), BEGINNING + number, NOW + HOUR, None, &|_| {
            (5.0, 0.01, 0.01)
        })
    };
    (0..9).map(pod).collect()
}

fn named(pods: &[past::Pod]) -> Vec<Pod> {
    pods.iter().map(|pod| Pod { name: pod.name.clone(), started_at: Some(pod.from - 5) }).collect()
}

#[tokio::test]
async fn an_hour_of_nine_pods_is_enough_to_need_no_assumption() {
    let pods = nine();
    for ahead in [-30, 0, 30] {
        let past = Past { ahead: Some(ahead), ..Past::of(pods.clone()) };
        past.now.store(NOW, Ordering::Relaxed);
        let (prometheus, client) = server(&past).await;
        let slots = prometheus
            .history(&client, round(NOW), "shop", &named(&pods), &detected())
            .await
            .expect("a past");
        assert!(slots.iter().all(|slot| slot.revision == Revision::Stable && !slot.le.is_empty()));
        assert!(slots.iter().all(|slot| slot.t >= NOW - HOUR && slot.t < NOW));
        let of = |pod: &past::Pod| -> u64 {
            slots.iter().filter(|slot| slot.pod == pod.name).map(|slot| slot.requests).sum()
        };
        for pod in &pods {
            let all = pod.counted(NOW).0 - pod.counted(NOW - HOUR + SCRAPE).0;
            assert_eq!(of(pod), all, "{ahead} {}", pod.name);
        }

        let criteria = [Criterion {
            name: "errors".to_owned(),
            measure: Measure::ErrorRate { target: 0.01, limit: 0.05 },
            on_limit: judge::OnLimit::Undo,
            on_unknown: judge::OnUnknown::Hold,
            shadow: false,
        }];
        let mut state = State::default();
        judge::learn(&criteria, &mut state, &slots);
        let slot = |t, revision, pod: &str| Slot {
            t,
            revision,
            pod: pod.to_owned(),
            requests: 75,
            errors: 0,
            untold: 0,
            le: Default::default(),
            warming: false,
        };
        let first = [slot(NOW, Revision::Stable, "shop-1"), slot(NOW, Revision::Canary, "shop-new")];
        judge::fold(&criteria, &mut state, &first, &Settings::default());
        assert!(judge::judge(&criteria, &state, &Settings::default())[0].calibrated);
        // The queries: one a family, and once more where the first answer told of another clock.
        let asked = past.asked.lock().expect("not poisoned").len();
        assert_eq!(asked, if ahead == 0 { 2 } else { 3 });
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_half_a_minute_off_loses_doubles_and_misplaces_nothing() {
    let steady = |_: i64| (5.0, 0.02, 0.01);
    let old = past::Pod::new("shop-old", BEGINNING + 3, NOW + HOUR, None, &steady);
    // Its container restarts, and what it counted before is in the samples for a while.
    let restarted = past::Pod::new("shop-restarted", BEGINNING + 7, NOW + HOUR, Some(NOW + 200), &steady);
    let fails = |at: i64| (5.0, if at < NOW + 160 { 0.5 } else { 0.0 }, 0.0);
    let new = past::Pod::new("shop-new", NOW + 111, NOW + HOUR, None, &fails);
    let mut told: Vec<Vec<Slot>> = Vec::new();
    for ahead in [0, -30, 30] {
        let past = Past { ahead: Some(ahead), ..Past::of(vec![old.clone(), restarted.clone(), new.clone()]) };
        let (prometheus, client) = server(&past).await;
        let mut ledger = Ledger::new();
        let mut slots = Vec::new();
        for now in (NOW..NOW + 600).step_by(15) {
            past.now.store(now, Ordering::Relaxed);
            let is_again = now >= NOW + 201;
            let mut pods = vec![
                ("shop-old", Revision::Stable, BEGINNING, 0),
                (
                    "shop-restarted",
                    Revision::Stable,
                    if is_again { NOW + 200 } else { BEGINNING },
                    u32::from(is_again),
                ),
            ];
            if now >= NOW + 109 {
                pods.push(("shop-new", Revision::Canary, NOW + 108, 0));
            }
            let asked: Vec<Pod> = pods
                .iter()
                .map(|(name, _, started, _)| Pod { name: (*name).to_owned(), started_at: Some(*started) })
                .collect();
            let asker = super::prometheus::asker("shop", &asked, &detected());
            let answers = prometheus.read(&client, round(now), &[asker]).await.remove(0);
            let readings =
                answers.into_iter().zip(&pods).map(|((pod, result), (_, revision, started, restarts))| {
                    Reading {
                        pod,
                        revision: *revision,
                        started_at: Some(*started),
                        container_restarts: *restarts,
                        is_due: true,
                        result,
                    }
                });
            slots.extend(ledger.take(now, readings.collect()).slots);
        }
        let sum = |pod: &str| {
            let of = slots.iter().filter(|slot| slot.pod == pod);
            of.fold((0, 0), |(requests, errors), slot| (requests + slot.requests, errors + slot.errors))
        };
        let end = NOW + 585;
        let since = |(now, failed): (u64, u64), (before, other): (u64, u64)| (now - before, failed - other);
        assert_eq!(sum("shop-old"), since(old.counted(end), old.counted(NOW)), "{ahead}");
        assert_eq!(sum("shop-new"), new.counted(end), "{ahead}");
        let before = since(restarted.counted(NOW + 199), restarted.counted(NOW));
        let after = restarted.counted(end);
        assert_eq!(sum("shop-restarted"), (before.0 + after.0, before.1 + after.1), "{ahead}");
        told.push(slots);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[tokio::test]
async fn the_past_is_read_in_rounds_like_the_present() {
    let steady = |_: i64| (5.0, 0.02, 0.01);
    let stays = past::Pod::new("shop-stays", BEGINNING + 3, NOW, None, &steady);
    let comes = past::Pod::new("shop-comes", BEGINNING + 1805, NOW, None, &steady);
    let goes = past::Pod::new("shop-goes", BEGINNING + 2, BEGINNING + 1800, None, &steady);
    let gap = (BEGINNING + 2700, BEGINNING + 2850);
    let past =
        Past { gaps: vec![gap], longest: 1000, ..Past::of(vec![stays.clone(), comes.clone(), goes.clone()]) };
    let (prometheus, client) = server(&past).await;
    let pods = PodsLike { namespace: "shop".to_owned(), pattern: "shop-.+".to_owned() };
    let mut rounds = Rounds::new(BEGINNING, Duration::from_secs(15));
    let mut slots: Vec<Slot> = Vec::new();
    let mut missing = 0;
    for to in [BEGINNING + HOUR, NOW] {
        let stretch = Stretch { from: to - HOUR, to };
        let deadline = Duration::from_secs(5);
        rounds
            .add(prometheus.samples(&client, &pods, &detected(), stretch, deadline).await.expect("samples"));
        let until = if to == NOW { to } else { to - 120 };
        while let Some((at, taken)) = rounds.next_until(until) {
            assert!(taken.slots.iter().all(|slot| slot.t == at - SCRAPE));
            slots.extend(taken.slots);
            missing += taken.missing.len();
        }
    }
    let sum = |pod: &str| slots.iter().filter(|slot| slot.pod == pod).map(|slot| slot.requests).sum::<u64>();
    assert_eq!(sum("shop-stays"), stays.counted(NOW).0 - stays.counted(BEGINNING + 15).0);
    assert_eq!(sum("shop-comes"), comes.counted(NOW).0, "a new pod counts from zero");
    assert_eq!(sum("shop-goes"), goes.counted(BEGINNING + 1800).0 - goes.counted(BEGINNING + 15).0);
    // Newer than a minute counts as read: of 150 s without samples a few rounds are missing, and none is zero for it.
    assert!((10..=14).contains(&missing), "{missing}");
    // The server refused an hour at once.
    let asked = past.asked.lock().expect("not poisoned");
    assert!(asked.iter().any(|(query, _)| query.ends_with("[3600s]")));
    assert!(asked.iter().any(|(query, _)| query.ends_with("[900s]")));
}

#[tokio::test]
async fn a_server_that_answers_with_pods_nobody_asked_about_adds_none_to_the_past() {
    let (prometheus, _) = fake(|_| {
        let series = |pod: String| {
            let values: Vec<_> = (0..20).map(|number| json!([NOW - 300 + 15 * number, "1"])).collect();
            json!({"metric": {"namespace": "shop", "pod": pod, "code": "200"}, "values": values})
        };
        let strangers = (0..50).map(|number| series(format!("stranger-{number}")));
        success(strangers.chain([series("shop-1".to_owned())]).collect())
    })
    .await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let pods = [Pod { name: "shop-1".to_owned(), started_at: None }];
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let slots = prometheus.history(&client, round(NOW), "shop", &pods, &detected).await.expect("a past");
    assert!(!slots.is_empty() && slots.iter().all(|slot| slot.pod == "shop-1"), "{slots:?}");
}

#[tokio::test]
async fn a_past_that_cannot_be_read_says_why() {
    let pods = nine();
    let past = Past { longest: 600, ..Past::of(pods.clone()) };
    let (prometheus, client) = server(&past).await;
    let error = prometheus.history(&client, round(NOW), "shop", &named(&pods), &detected()).await;
    assert!(matches!(error, Err(ReadError::Api(_))), "{error:?}");
}
