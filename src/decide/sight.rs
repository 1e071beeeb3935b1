//! What a run can see: the smallest rate that each step would find at the traffic there is, and whether a criterion is blind.

use std::time::Duration;

use super::evidence::percent;
use super::judge::{Judgement, Settings, State, need};
use super::scene::Scene;

/// Steps that are told of.
const STEPS_TOLD: usize = 8;
/// How many times its limit a criterion should find at least.
const TIMES_LIMIT: f64 = 3.0;

/// What one criterion would find.
#[derive(Debug, Default, PartialEq)]
pub struct Sight {
    /// By step: `tenth 2.3%, half 1.4%`; empty while nothing is known of the traffic.
    pub finds: String,
    /// Why not even three times the limit would be found; empty when it would.
    pub blind: String,
}

/// At the traffic seen so far in the run: requests = a pod's requests a second · the step's pods · its soak, the watch with the last.
pub fn of(scene: &Scene<'_>, state: &State, settings: &Settings, judgement: &Judgement) -> Sight {
    let (Some(traffic), Ok(plan)) = (state.traffic(), scene.plan) else { return Sight::default() };
    let Some(memory) = state.criteria.get(&judgement.criterion) else { return Sight::default() };
    let threshold = settings.thresholds(memory.share.0).worse;
    let limit = judgement.limit;
    if limit <= 0.0 || limit >= 1.0 {
        return Sight::default();
    }
    let watched = plan.measuring.watch.last().map_or(Duration::ZERO, |stage| stage.until);
    let mut finds = Vec::new();
    let mut all = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        let is_last = index + 1 == plan.steps.len();
        let time = if is_last { step.soak + watched } else { step.soak };
        let pods = step.share.of(scene.stand.replicas).unwrap_or(0).max(0);
        let expected = (traffic * f64::from(pods) * time.as_secs_f64()).round() as u64;
        all += expected;
        let name = if is_last { format!("{} and watch", step.name) } else { step.name.clone() };
        finds.push(match need::smallest(expected, limit, threshold, memory.tempered.0) {
            Some(share) => format!("{name} {}", percent(share)),
            None => format!("{name} nothing"),
        });
    }
    finds.truncate(STEPS_TOLD);
    let share = (limit * TIMES_LIMIT).min(1.0);
    let blind = match need::to_breach(share, limit, threshold, memory.tempered.0) {
        Some(needed) if needed > all => format!(
            "{}: about {all} requests expected in all steps and the watch, {needed} needed to find {}",
            judgement.criterion,
            percent(share)
        ),
        Some(_) | None => String::new(),
    };
    Sight { finds: finds.join(", "), blind }
}
