//! How much goes on: a query of the Release's metrics server, held against a number or against a quantile of its own past.
//!
//! Two questions a time at most, and the past in steps of 5 minutes to an hour. What cannot be read, and a query that gives something else
//! than one number, is Unknown. The server is asked in the share of the namespace, as runs ask it; what waits for its turn has the time of the
//! answer for it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Answer, Means, failed, passed, unknown};
use crate::decide::traffic::{PlannedMark, Traffic};
use crate::decide::values::plain;
use crate::observe::credentials;
use crate::observe::measure::ReadError;
use crate::observe::measure::history::Stretch;
use crate::observe::measure::instant::InstantError;
use crate::observe::measure::prometheus::Round;
use crate::observe::measure::servers::Server;

/// For each query.
const QUERY: Duration = Duration::from_secs(10);
/// Moments of the past that are looked at, at most, unless an hour lies between two of them.
const MOMENTS: i64 = 2016;
/// Seconds between two of them.
const SHORTEST_STEP: i64 = 300;
const LONGEST_STEP: i64 = 3600;
/// Of so many moments one must be known.
const KNOWN_OF: usize = 10;

pub(super) async fn ask(means: Means<'_>, namespace: &str, wanted: &Traffic, now: Timestamp) -> Answer {
    match read(means, namespace, wanted, now.as_second()).await {
        Ok(answer) => answer,
        Err(why) => unknown(why),
    }
}

async fn read(means: Means<'_>, namespace: &str, wanted: &Traffic, now: i64) -> Result<Answer, String> {
    let said = |error: ReadError| error.to_string();
    let (way, trust) = credentials::way(means.client, namespace, &wanted.server).await.map_err(said)?;
    let server = means.servers.at(way, trust).map_err(said)?;
    let round = Round { now, scrape_interval: wanted.scrape_interval, deadline: QUERY };
    let numbers = server.instant(round, namespace, &wanted.query).await.map_err(|error| error.to_string())?;
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
            let mark = quantile(&server, round, namespace, &wanted.query, percent, over).await?;
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
    server: &Server,
    round: Round,
    namespace: &str,
    query: &str,
    percent: u8,
    over: Duration,
) -> Result<f64, String> {
    let length = i64::try_from(over.as_secs()).unwrap_or(i64::MAX);
    let step = (length / MOMENTS).clamp(SHORTEST_STEP, LONGEST_STEP);
    let stretch = Stretch { from: round.now.saturating_sub(length), to: round.now };
    let said = |error: InstantError| match error {
        InstantError::Read(ReadError::TooManySamples { .. }) => {
            "the query gave many series in its past: aggregate them, as with sum(...)".to_owned()
        }
        other => other.to_string(),
    };
    let earlier = server.earlier(round, namespace, query, stretch, step).await.map_err(said)?;
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
