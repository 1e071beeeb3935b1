//! What a query of somebody's gave in the past.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate::decide::values::{Found, Point};
use tidegate::observe::measure::history::{MOST_SAMPLES, Stretch};
use tidegate::observe::measure::instant::InstantError;
use tidegate::observe::measure::prometheus::{Asking, Prometheus};
use tidegate::observe::measure::{ReadError, Trust, client};
use tidegate::observe::reach::Reach;
use tidegate::observe::values::{of_earlier, of_pods_earlier};

use super::prometheus::{fake, queries, success};

const NOON: i64 = 1_700_000_000 / 3600 * 3600;
const DEADLINE: Duration = Duration::from_secs(5);

type Moments = Vec<(i64, Result<Found, String>)>;

async fn read(prometheus: &Prometheus, seconds: i64, by: Option<&str>) -> Result<Moments, InstantError> {
    let stretch = Stretch { from: NOON, to: NOON + seconds };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let earlier =
        prometheus.earlier(Asking::alone(&client), "(q\n)", stretch, 5, DEADLINE, MOST_SAMPLES).await?;
    Ok(of_earlier(&earlier, by))
}

fn points(found: &[(&str, f64)]) -> Result<Found, String> {
    let point = |(series, value): &(&str, f64)| Point { series: (*series).to_owned(), value: *value };
    Ok(Found { points: found.iter().map(point).collect(), ..Found::default() })
}

#[tokio::test]
async fn every_moment_has_what_the_query_gave_then() {
    let (prometheus, asked) = fake(|_| {
        success(json!([
            {"metric": {"country": "NO"}, "values": [[NOON, "7"], [NOON + 5, "1"], [NOON + 10, "NaN"]]},
            {"metric": {"country": "SE"}, "values": [[NOON + 5, "2"], [NOON + 20, "+Inf"]]},
        ]))
    })
    .await;
    let moments = read(&prometheus, 22, Some("country")).await.expect("an answer");
    // The beginning belongs to the stretch before, as newer versions of Prometheus have it too.
    assert_eq!(moments.iter().map(|(at, _)| at - NOON).collect::<Vec<_>>(), [5, 10, 15, 20]);
    assert_eq!(moments[0].1, points(&[("NO", 1.0), ("SE", 2.0)]));
    assert!(moments[1].1.as_ref().expect("read").points[0].value.is_nan());
    assert_eq!(moments[2].1, points(&[]), "nothing is an answer");
    assert_eq!(moments[3].1, points(&[("SE", f64::INFINITY)]));
    assert_eq!(queries(&asked), ["(q\n)[20s:5s]"]);
    assert_eq!(asked.lock().expect("not poisoned")[0]["time"], (NOON + 20).to_string());

    // What it means is what it means live, moment by moment.
    let moments = read(&prometheus, 20, None).await.expect("an answer");
    let several = moments[0].1.as_ref().expect_err("two series");
    assert!(several.starts_with("the query gives 2 series: write the label"), "{several}");
    assert_eq!(moments[3].1, points(&[("", f64::INFINITY)]));
    let moments = read(&prometheus, 20, Some("land")).await.expect("an answer");
    let expected = "a series of the query has no label land: correct by";
    assert_eq!(moments[0].1.as_ref().expect_err("no such label"), expected);
}

#[tokio::test]
async fn more_than_a_hundred_series_at_a_moment_are_too_many_then_and_only_then() {
    let series = |number: i64| {
        let first = if number < 60 { NOON + 5 } else { NOON + 10 };
        json!({"metric": {"country": number.to_string()}, "values": [[first, "1"], [NOON + 15, "1"]]})
    };
    let all: Value = (0..120).map(series).collect();
    let (prometheus, _) = fake(move |_| success(all.clone())).await;
    let moments = read(&prometheus, 15, Some("country")).await.expect("an answer");
    assert_eq!(moments[0].1.as_ref().expect("sixty").points.len(), 60);
    assert!(
        moments[2].1.as_ref().is_err_and(|why| why.starts_with("the query gives 120 series, at most 100"))
    );
}

#[tokio::test]
async fn what_the_server_will_not_give_at_once_is_asked_for_in_halves_and_what_it_never_gives_is_unread() {
    let (prometheus, asked) = fake(|query| match query {
        "(q\n)[300s:5s]" | "(q\n)[150s:5s]" => {
            (StatusCode::UNPROCESSABLE_ENTITY, json!({"status": "error", "error": "too many samples"}))
        }
        query => success(match query.contains("[75s") {
            true => json!([{"metric": {}, "values": [[NOON + 5, "1"], [NOON + 80, "2"], [NOON + 230, "3"]]}]),
            false => json!([]),
        }),
    })
    .await;
    let moments = read(&prometheus, 300, None).await.expect("an answer");
    assert_eq!(moments.len(), 60);
    assert!(moments.iter().all(|(_, found)| found.is_ok()), "{moments:?}");
    let lengths: Vec<String> = queries(&asked).iter().map(|query| query.replace("(q\n)", "")).collect();
    assert_eq!(
        lengths,
        ["[300s:5s]", "[150s:5s]", "[75s:5s]", "[75s:5s]", "[150s:5s]", "[75s:5s]", "[75s:5s]"]
    );

    let refuses = json!({"status": "error", "error": "many-to-many matching not allowed"});
    let (prometheus, asked) = fake(move |_| (StatusCode::UNPROCESSABLE_ENTITY, refuses.clone())).await;
    let moments = read(&prometheus, 3600, None).await.expect("unread is no failure");
    assert_eq!(moments.len(), 720);
    let expected = "prometheus: many-to-many matching not allowed; if it stays so, correct the query";
    assert!(moments.iter().all(|(_, found)| found.as_ref().is_err_and(|why| why == expected)));
    assert!(queries(&asked).len() <= 33, "it does not ask for ever: {}", queries(&asked).len());
}

#[tokio::test]
async fn of_a_scalar_a_vector_is_made_and_a_comment_does_not_swallow_the_rest() {
    let kinds = Arc::new(Mutex::new(vec!["string", "matrix", "vector", "scalar"]));
    let (prometheus, _) = fake(move |_| {
        let kind = kinds.lock().expect("not poisoned").pop().expect("four questions");
        let result = match kind {
            "scalar" | "string" => json!([NOON, "1"]),
            _ => json!([]),
        };
        (StatusCode::OK, json!({"status": "success", "data": {"resultType": kind, "result": result}}))
    })
    .await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let over_time = async || {
        let query = prometheus.over_time(Asking::alone(&client), "time() # now", NOON, DEADLINE).await;
        query.map_err(|error| error.to_string())
    };
    assert_eq!(over_time().await, Ok("vector(time() # now\n)".to_owned()));
    assert_eq!(over_time().await, Ok("(time() # now\n)".to_owned()));
    let refused = |what: &str| {
        Err(format!("the query gives {what}: write one that gives a number, or one number a series"))
    };
    assert_eq!(over_time().await, refused("a range"));
    assert_eq!(over_time().await, refused("a text"));
}

#[tokio::test]
async fn gauges_of_pods_may_have_several_series_of_one_pod() {
    let (prometheus, _) = fake(|_| {
        let series = |pod: &str, kind: &str, value: &str| json!({"metric": {"pod": pod, "kind": kind}, "values": [[NOON + 5, value]]});
        success(json!([series("a", "mail", "3"), series("a", "print", "9"), series("b", "mail", "1")]))
    })
    .await;
    let stretch = Stretch { from: NOON, to: NOON + 10 };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let earlier = prometheus
        .earlier(Asking::alone(&client), "(q)", stretch, 5, DEADLINE, MOST_SAMPLES)
        .await
        .expect("an answer");
    let moments = of_pods_earlier(&earlier);
    assert_eq!(moments[0].1, points(&[("a", 3.0), ("b", 1.0), ("a", 9.0)]));
    assert_eq!(moments[1], (NOON + 10, points(&[])));
}

#[tokio::test]
async fn no_more_is_kept_of_the_past_than_was_asked_for_labels_included() {
    let (prometheus, _) = fake(|_| {
        let series = |number: usize| {
            json!({"metric": {"path": format!("{number}{}", "x".repeat(1600))}, "values": [[NOON + 5, "1"]]})
        };
        success((0..5).map(series).collect())
    })
    .await;
    let stretch = Stretch { from: NOON, to: NOON + 10 };
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let read =
        async |most| prometheus.earlier(Asking::alone(&client), "(q)", stretch, 5, DEADLINE, most).await;
    let error = read(100).await.expect_err("five labels as long as a hundred samples");
    assert_eq!(error, InstantError::Read(ReadError::TooManySamples { limit: 100 }));
    assert!(read(1000).await.is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_past_without_trouble() {
    let (prometheus, _) = fake(|_| success(json!([]))).await;
    let nobody = Prometheus { url: "http://127.0.0.1:1".to_owned(), ..prometheus };
    let error = read(&nobody, 60, None).await.expect_err("nobody is there");
    assert!(matches!(error, InstantError::Read(ReadError::Refused { .. })), "{error}");
}
