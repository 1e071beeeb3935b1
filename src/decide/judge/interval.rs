//! A confidence interval for people: which rates the counts are compatible with, at any moment
//! they are looked at. No verdict rests on it.

use super::evidence::Trials;

/// Halvings of the search, at most: it ends where a double has no more digits.
const HALVINGS: usize = 100;

/// The beta-binomial confidence sequence: all p with
/// ln B(x+½, n−x+½) − ln B(½, ½) − x·ln p − (n−x)·ln(1−p) < ln(1/`error`),
/// by bisection. With probability 1 − `error` it holds at all sample sizes at once (Robbins 1970;
/// Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences").
/// Pods that differ or errors in bursts make it too narrow. `(0, 1)` without requests.
pub fn confidence(trials: Trials, error: f64) -> (f64, f64) {
    let Some(share) = trials.share() else {
        return (0.0, 1.0);
    };
    let budget = -error.ln();
    let any = log_any_rate(trials);
    let outside = |p: f64| any - log_exactly(trials, p) >= budget;
    let edge = |mut within: f64, mut beyond: f64| {
        for _ in 0..HALVINGS {
            let middle = 0.5 * (within + beyond);
            if middle == within || middle == beyond {
                break;
            }
            if outside(middle) {
                beyond = middle;
            } else {
                within = middle;
            }
        }
        within
    };
    let low = if outside(0.0) { edge(share, 0.0) } else { 0.0 };
    let high = if outside(1.0) { edge(share, 1.0) } else { 1.0 };
    (low, high)
}

/// ln of the Bayes factor of "any rate" (Beta(½, ½)) against "exactly `p`"; +∞ when `p` is
/// impossible.
pub fn log_beta_mixture(trials: Trials, p: f64) -> f64 {
    log_any_rate(trials) - log_exactly(trials, p)
}

/// ln of how likely these very trials are when any rate may be true: ln B(x+½, n−x+½) − ln B(½, ½).
fn log_any_rate(trials: Trials) -> f64 {
    let (bad, good) = counts(trials);
    log_gamma(bad + 0.5) + log_gamma(good + 0.5) - log_gamma(bad + good + 1.0) - std::f64::consts::PI.ln()
}

/// The same when the rate is `p`; −∞ when `p` is impossible.
fn log_exactly(trials: Trials, p: f64) -> f64 {
    let (bad, good) = counts(trials);
    times_log(bad, p.ln()) + times_log(good, (-p).ln_1p())
}

/// Bad and good requests.
fn counts(trials: Trials) -> (f64, f64) {
    (trials.bad as f64, trials.requests.saturating_sub(trials.bad) as f64)
}

/// count · log, where nothing times −∞ is nothing.
fn times_log(count: f64, log: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * log }
}

/// ln Γ(x) for x > 0: Stirling's series (Abramowitz & Stegun 6.1.41) at x ≥ 10, reached from below
/// by Γ(x) = Γ(x+1)/x. Good to about 1e-13, relative.
fn log_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}
