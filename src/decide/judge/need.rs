//! How many requests a verdict takes: for messages and plans, never for a verdict.

use super::evidence::{BETTER, LOG_ALTERNATIVES, Logs, Trials, WORSE, log_mean_exp, log_ratios, sum_up};

/// Halvings of a search: three digits are enough for people.
const HALVINGS: usize = 20;

/// So many bad requests in a row are looked at, at most.
const MOST_IN_A_ROW: u64 = 1 << 40;

/// Below this growth (nats a request) the answer would be "for ever".
const NO_GROWTH: f64 = 1e-15;

/// Requests until a Pass: (ln(1/β) + ln K) / growth at a true rate of `share` against a limit of
/// `null` (judge.md §2.6). `None` when this rate is too near the limit to ever pass.
///
/// ```
/// use tidegate::decide::judge::need::to_pass;
/// assert_eq!(to_pass(0.0, 0.01, 20_f64.ln()), Some(497));
/// ```
pub fn to_pass(share: f64, null: f64, threshold: f64) -> Option<u64> {
    requests(threshold + LOG_ALTERNATIVES, growth(share, null, &BETTER))
}

/// Requests until a Breach: (ln(1/α') + ln K + ln 2) / growth at a true rate of `share`; at least
/// three slots besides. `None` when this rate is not above the limit far enough.
/// `spread` is φ: how many times as many requests it takes because errors clump; 1 when they do not.
pub fn to_breach(share: f64, null: f64, threshold: f64, spread: f64) -> Option<u64> {
    let start = threshold + LOG_ALTERNATIVES + std::f64::consts::LN_2;
    requests(start * spread, growth(share, null, &WORSE))
}

/// The smallest rate above `null` that so many requests can be expected to show; `None` when not even an outage would be.
pub fn smallest(have: u64, null: f64, threshold: f64, spread: f64) -> Option<f64> {
    let enough = |share: f64| to_breach(share, null, threshold, spread).is_some_and(|need| need <= have);
    let (mut below, mut above) = (null, 1.0);
    if !enough(above) {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (below + above);
        if enough(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above)
}

/// How many bad requests, one after the other, would take a Pass back.
pub(super) fn bad_in_a_row(seen: Trials, null: f64, threshold: f64) -> u64 {
    let each = BETTER.map(|multiple| log_ratios(multiple, null));
    let passes = |more: u64| {
        let trials = Trials::new(seen.requests.saturating_add(more), seen.bad.saturating_add(more));
        log_mean_exp(&sum_up(trials, &each)) >= threshold
    };
    let mut above = 1;
    while passes(above) && above < MOST_IN_A_ROW {
        above *= 2;
    }
    let mut below = above / 2;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if passes(middle) {
            below = middle;
        } else {
            above = middle;
        }
    }
    above
}

/// Requests for `nats` more of evidence at the rate that suits `odds` best.
pub(super) fn more(nats: f64, share: f64, null: f64, odds: &Logs) -> Option<u64> {
    requests(nats, growth(share, null, odds))
}

/// The fastest expected growth over the alternatives, nats a request.
fn growth(share: f64, null: f64, odds: &Logs) -> f64 {
    odds.iter()
        .map(|&multiple| {
            let (if_bad, if_good) = log_ratios(multiple, null);
            share * if_bad + (1.0 - share) * if_good
        })
        .fold(f64::NEG_INFINITY, f64::max)
}

fn requests(nats: f64, growth: f64) -> Option<u64> {
    (growth > NO_GROWTH).then(|| (nats.max(0.0) / growth).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::evidence::budget;
    use super::*;

    #[test]
    fn one_bad_request_fewer_and_it_would_still_pass() {
        for (requests, bad) in [(497, 0), (1000, 1), (20_000, 90), (1_000_000, 100)] {
            let (seen, threshold) = (Trials::new(requests, bad), 20_f64.ln());
            let more = bad_in_a_row(seen, 0.01, threshold);
            let evidence =
                |more: u64| log_mean_exp(&budget(Trials::new(requests + more, bad + more), 0.01, &BETTER));
            assert!(
                evidence(more) < threshold && evidence(more - 1) >= threshold,
                "{requests} {bad}: {more}"
            );
        }
    }
}
