//! Whether little enough goes on for a run to start or move on: what is asked of the metrics server, how often, and what holds while the answer is
//! another one or there is none. Going back does not come by here.

use std::time::Duration;

use jiff::Timestamp;

use super::decision;
use super::gate::Hold;
use super::needs::{About, Probe};
use super::plan::{Plan, PlanError, Question, Source};
use super::snapshot::{ProbeAnswer, ProbeId, ProbeResult, Snapshot};
use crate::api::digest;
use crate::api::release::PrometheusSource;
use crate::api::status::{Passed, Run};
use crate::api::windows::{LowTraffic, Mark};
use crate::api::{Action, ReleaseSpec};

/// More goes on than the Release wants.
pub const HIGH_TRAFFIC: &str = "HighTraffic";
/// Nobody knows how much goes on.
pub const TRAFFIC_UNKNOWN: &str = "TrafficUnknown";

/// A name that no check can have.
const QUESTION: &str = "windows.lowTraffic";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a number is asked for.
const EVERY: Duration = Duration::from_secs(30);
/// How often it is, with a quantile of its past, which changes slowly and costs the server more.
const EVERY_PAST: Duration = Duration::from_secs(300);
/// How much of the past, where nothing is said.
const OVER: Duration = Duration::from_secs(168 * 3600);
const LEAST_OVER: Duration = Duration::from_secs(3600);
const MOST_OVER: Duration = Duration::from_secs(744 * 3600);

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    pub query: String,
    pub mark: PlannedMark,
    pub server: PrometheusSource,
    pub scrape_interval: Duration,
    /// The digest of what is written.
    pub definition: String,
}

/// What it is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlannedMark {
    /// Below it.
    Number(f64),
    /// Not above this quantile, in percent, of so much of its past.
    Quantile { percent: u8, over: Duration },
}

impl Traffic {
    fn every(&self) -> Duration {
        match self.mark {
            PlannedMark::Number(_) => EVERY,
            PlannedMark::Quantile { .. } => EVERY_PAST,
        }
    }
}

/// Understands what is written.
pub fn traffic(spec: &ReleaseSpec, source: &Source) -> Result<Option<Traffic>, PlanError> {
    let Some(written) = spec.windows.as_ref().and_then(|windows| windows.low_traffic.as_ref()) else {
        return Ok(None);
    };
    let LowTraffic { promql, below, over } = written;
    let wrong = |field: &str, problem: &str| PlanError {
        field: format!("spec.windows.lowTraffic{field}"),
        problem: problem.to_owned(),
    };
    let Source::Prometheus { server, scrape_interval } = source else {
        return Err(wrong("", "there is no server to ask: write its url as metrics.prometheus.url"));
    };
    let length = match over {
        Some(over) => over
            .parse()
            .filter(|length| (LEAST_OVER..=MOST_OVER).contains(length))
            .ok_or_else(|| wrong(".over", "write a length of time from 1h to 744h, such as 168h"))?,
        None => OVER,
    };
    let mark = match below.parse() {
        Some(Mark::Number(number)) if over.is_none() => PlannedMark::Number(number),
        Some(Mark::Number(_)) => {
            return Err(wrong(".over", "goes with a quantile: write below: p20, or leave it out"));
        }
        Some(Mark::Quantile(percent)) => PlannedMark::Quantile { percent, over: length },
        None => {
            return Err(wrong(
                ".below",
                "write a number such as 200 or '12.5', or a quantile such as p20 (p1 to p99)",
            ));
        }
    };
    let definition = digest::short(&serde_json::to_string(&(written, server)).unwrap_or_default());
    let (server, scrape_interval) = (server.clone(), *scrape_interval);
    Ok(Some(Traffic { query: promql.clone(), mark, server, scrape_interval, definition }))
}

fn id(run: &Run, traffic: &Traffic) -> ProbeId {
    let definition = Some(traffic.definition.clone());
    ProbeId { run: run.id.clone(), check: QUESTION.to_owned(), attempt: 0, definition }
}

/// The answer, unless it is too old to go by.
fn answer<'s>(snapshot: &'s Snapshot, run: &Run, traffic: &Traffic) -> Option<&'s ProbeAnswer> {
    let answer = snapshot.probes.get(&id(run, traffic))?;
    let old = answer.at + traffic.every() * 2 + TIMEOUT;
    (snapshot.now <= old).then_some(answer)
}

/// When it is asked again.
fn again(answer: &ProbeAnswer, traffic: &Traffic) -> Timestamp {
    match answer.result {
        ProbeResult::Passed | ProbeResult::Failed => answer.at + traffic.every(),
        ProbeResult::Unknown => answer.at + EVERY,
    }
}

/// What keeps a run waiting.
pub fn hold(snapshot: &Snapshot, plan: &Plan, run: &Run) -> Option<Hold> {
    let traffic = plan.traffic.as_ref()?;
    if run.passes.iter().any(|pass| pass.of == Passed::Windows) {
        return None;
    }
    let answer = answer(snapshot, run, traffic);
    let (reason, message) = match answer.map(|answer| (answer.result, &answer.message)) {
        Some((ProbeResult::Passed, _)) => return None,
        Some((ProbeResult::Failed, message)) => (HIGH_TRAFFIC, message.clone()),
        Some((ProbeResult::Unknown, message)) => (
            TRAFFIC_UNKNOWN,
            format!("how much goes on is not known, and what is not known lets nothing go on: {message}"),
        ),
        None => (TRAFFIC_UNKNOWN, "it is asked how much goes on".to_owned()),
    };
    let skip = decision::command(&snapshot.key, Action::Skip);
    Some(Hold {
        reason,
        message: super::evidence::shortened(&message),
        until: None,
        closes: None,
        again: Some(answer.map_or(snapshot.now + EVERY, |answer| again(answer, traffic))),
        unblock: format!("wait, or {skip}"),
    })
}

/// The question, when it is due.
pub fn due(snapshot: &Snapshot, plan: &Plan, run: &Run) -> Option<Probe> {
    let traffic = plan.traffic.as_ref()?;
    let id = id(run, traffic);
    let is_due = snapshot.probes.get(&id).is_none_or(|answer| again(answer, traffic) <= snapshot.now);
    is_due.then(|| Probe {
        id,
        question: Question::Traffic(Box::new(traffic.clone())),
        timeout: TIMEOUT,
        pods: Vec::new(),
        about: About::Nothing,
    })
}

/// For how long before a step may be left, or the watch is over, it is asked: so that the answer is there then, and not old.
pub fn ahead(plan: &Plan) -> Duration {
    plan.traffic.as_ref().map(Traffic::every).unwrap_or_default()
}
