//! How much goes on: a query of the Release's metrics server, held against a number or against a quantile of its own past.
//!
//! Two questions a time at most, and the past in steps of 5 minutes to an hour. What cannot be read, and a query that gives something else
//! than one number, is Unknown.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

use super::{Answer, failed, passed, unknown};
use crate::decide::traffic::{PlannedMark, Traffic};
use crate::decide::values::plain;
use crate::observe::credentials;
use crate::observe::measure::history::Stretch;
use crate::observe::measure::prometheus::{Prometheus, Round};
use crate::observe::measure::{ReadError, client as client_for};
use crate::observe::reach::{self, Reach};

/// For each query.
const QUERY: Duration = Duration::from_secs(10);
/// Moments of the past that are looked at, at most, unless an hour lies between two of them.
const MOMENTS: i64 = 2016;
/// Seconds between two of them.
const SHORTEST_STEP: i64 = 300;
const LONGEST_STEP: i64 = 3600;
/// Of so many moments one must be known.
const KNOWN_OF: usize = 10;

pub(super) async fn ask(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    wanted: &Traffic,
    now: Timestamp,
) -> Answer {
    match read(client, reach, namespace, wanted, now.as_second()).await {
        Ok(answer) => answer,
        Err(why) => unknown(why),
    }
}

async fn read(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    wanted: &Traffic,
    now: i64,
) -> Result<Answer, String> {
    let said = |error: ReadError| error.to_string();
    let (server, trust) = credentials::way(client, namespace, &wanted.server).await.map_err(said)?;
    let http = client_for(trust, reach).map_err(said)?;
    let round = Round { now, scrape_interval: wanted.scrape_interval, deadline: QUERY };
    let numbers = server.instant(&http, round, &wanted.query).await.map_err(|error| error.to_string())?;
    let value = match numbers.as_slice() {
        [one] if one.value.is_finite() => one.value,
        [one] => return Err(format!("the query gives {}, which is no number", one.value)),
        [] => return Err("the query gives nothing: there are no such series now".to_owned()),
        several => {
            return Err(format!(
                "the query gives {} series: aggregate them, as with sum(...)",
                several.len()
            ));
        }
    };
    let shown = plain(value);
    match wanted.mark {
        PlannedMark::Number(number) if value < number => {
            Ok(passed(format!("the traffic is {shown}, below {}", plain(number))))
        }
        PlannedMark::Number(number) => {
            Ok(failed(format!("the traffic is {shown}: it waits until it is below {}", plain(number))))
        }
        PlannedMark::Quantile { percent, over } => {
            let mark = quantile(&server, &http, &wanted.query, percent, over, now).await?;
            let of = format!("{}, p{percent} of its last {}h", plain(mark), over.as_secs() / 3600);
            Ok(if value <= mark {
                passed(format!("the traffic is {shown}, not above {of}"))
            } else {
                failed(format!("the traffic is {shown}: it waits until it is not above {of}"))
            })
        }
    }
}

/// A quantile of what the query gave (the nearest rank).
async fn quantile(
    server: &Prometheus,
    http: &reach::Client,
    query: &str,
    percent: u8,
    over: Duration,
    now: i64,
) -> Result<f64, String> {
    let length = i64::try_from(over.as_secs()).unwrap_or(i64::MAX);
    let step = (length / MOMENTS).clamp(SHORTEST_STEP, LONGEST_STEP);
    let stretch = Stretch { from: now.saturating_sub(length), to: now };
    let query = server.over_time(http, query, now, QUERY).await.map_err(|error| error.to_string())?;
    let earlier =
        server.earlier(http, &query, stretch, step, QUERY).await.map_err(|error| error.to_string())?;
    let moments = earlier.moments();
    let one = |numbers: Vec<(&_, f64)>| match numbers.as_slice() {
        [(_, value)] if value.is_finite() => Some(*value),
        _ => None,
    };
    let asked = moments.len();
    let mut known: Vec<f64> = moments.into_values().filter_map(|numbers| one(numbers.ok()?)).collect();
    if known.is_empty() || known.len() * KNOWN_OF < asked {
        return Err(format!(
            "the server knows one number at {} of {asked} moments of its last {}h: too few for a quantile",
            known.len(),
            length / 3600
        ));
    }
    known.sort_by(f64::total_cmp);
    let rank = (known.len() * usize::from(percent)).div_ceil(100).clamp(1, known.len());
    Ok(known[rank - 1])
}
