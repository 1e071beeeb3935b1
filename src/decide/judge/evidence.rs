//! The likelihood ratios behind every verdict (judge.md §2.2: A1 budget, B1 compare and the pass
//! side), as natural logarithms. Each is an e-value for one slot: under its null its mean is at
//! most 1, whatever happened before.

/// Alternatives per test.
pub const ALTERNATIVES: usize = 7;

/// One logarithm per alternative.
pub type Logs = [f64; ALTERNATIVES];

/// R: multiples of the odds at the limit (A1) or of stable's rate (B1) that a fault is tried at.
pub const WORSE: Logs = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];

/// Multiples of the odds at the limit that a good release is tried at.
pub const BETTER: Logs = [0.8, 2.0 / 3.0, 0.5, 1.0 / 3.0, 0.2, 0.1, 0.01];

/// ρ: how many times stable's rate is worse than stable, where nothing else is said.
pub const WORSE_THAN_STABLE: f64 = 1.5;

/// Ratios of the canary's rate to stable's that a release no worse than stable is tried at (pass side of B1).
pub const NO_WORSE: [f64; 5] = [1.0, 0.8, 0.5, 0.25, 0.1];

/// ln K, the price of not knowing which alternative is true.
pub const LOG_ALTERNATIVES: f64 = 1.945_910_149_055_313_3;

/// Requests and how many of them were bad (failed, or slow).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// All requests.
    pub requests: u64,
    /// Bad ones, at most `requests`.
    pub bad: u64,
}

impl Trials {
    /// More bad ones than requests are counted as all of them.
    pub fn new(requests: u64, bad: u64) -> Self {
        Self { requests, bad: bad.min(requests) }
    }

    /// Share of bad requests; `None` without requests.
    pub fn share(self) -> Option<f64> {
        (self.requests > 0).then(|| self.bad as f64 / self.requests as f64)
    }
}

/// A1: ℓ_k = x·ln(p_k/p₀) + (n−x)·(ln(1−p_k) − ln(1−p₀)), where p_k has `odds`_k times the odds of
/// `null` (p₀, strictly inside 0..1).
///
/// With [`WORSE`] an e-value for "the rate is at most p₀", with [`BETTER`] for "at least p₀"; valid
/// for every mean rate of the slot on that side, requests independent given their rates.
pub fn budget(trials: Trials, null: f64, odds: &Logs) -> Logs {
    sum_up(trials, &odds.map(|multiple| log_ratios(multiple, null)))
}

/// The same, from what one bad and one good request add to each alternative.
pub fn sum_up(trials: Trials, each: &[(f64, f64); ALTERNATIVES]) -> Logs {
    let bad = trials.bad as f64;
    let good = (trials.requests - trials.bad.min(trials.requests)) as f64;
    each.map(|(if_bad, if_good)| bad * if_bad + good * if_good)
}

/// What one bad and one good request add to an alternative of A1: ln(p_k/p₀) and
/// ln(1−p_k) − ln(1−p₀), with p_k = m·p₀/(1 + (m−1)·p₀) for odds multiplied by m.
pub fn log_ratios(multiple: f64, null: f64) -> (f64, f64) {
    let scale = -((multiple - 1.0) * null).ln_1p();
    (multiple.ln() + scale, scale)
}

/// B1: ℓ_k = (x_C+x_B)·[ln(θ₀n_C+n_B) − ln(θ_k n_C+n_B)] + x_C·ln(θ_k/θ₀), an e-value for "the
/// canary's rate is at most `same` (θ₀) times stable's", whatever stable's rate and the split.
/// `None` unless both sides had requests: there is nothing to compare.
pub fn compare<const K: usize>(
    canary: Trials,
    stable: Trials,
    same: f64,
    ratios: &[f64; K],
) -> Option<[f64; K]> {
    if canary.requests == 0 || stable.requests == 0 {
        return None;
    }
    let (canary_requests, stable_requests) = (canary.requests as f64, stable.requests as f64);
    let canary_bad = canary.bad as f64;
    let bad = canary_bad + stable.bad as f64;
    let base = (same * canary_requests + stable_requests).ln();
    Some(ratios.map(|ratio| {
        bad * (base - (ratio * canary_requests + stable_requests).ln()) + canary_bad * (ratio / same).ln()
    }))
}

/// R·ρ/1.5: the ratios to stable's rate that a canary is tried at which may be ρ = `worse` times as bad as stable.
pub fn worse_than(worse: f64) -> Logs {
    WORSE.map(|ratio| ratio / WORSE_THAN_STABLE * worse)
}

/// θ₀ = √ρ: what is no worse than stable, when ρ = `worse` times is worse. In between is indifference.
pub fn no_worse_than(worse: f64) -> f64 {
    worse.sqrt()
}

/// ℓ/φ: evidence of counts whose variance is φ times that of independent requests (O1). E[LR^{1/φ}] ≤ 1 by Jensen: an e-value
/// all the same.
pub fn temper<const K: usize>(logs: [f64; K], spread: f64) -> [f64; K] {
    logs.map(|log| log / spread)
}

/// ln of the mean of exp over the alternatives: the uniform mixture.
pub fn log_mean_exp<const K: usize>(logs: &[f64; K]) -> f64 {
    log_sum_exp(logs) - (K as f64).ln()
}

/// ln Σ exp, by subtracting the largest; −∞ for nothing.
pub fn log_sum_exp(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln()
}
