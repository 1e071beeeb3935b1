//! How the chance of a false abort, α a run, is shared among the criteria (Bonferroni), and what becomes of it when criteria change
//! in the middle of a run.
//!
//! Each criterion holds a share of α, and its test crosses at 1/(α·share). Together they are one bet: M = Σ share_i·M_i is an
//! e-process, and a test that crosses carries M over 1/α. So shares may be moved at any time between slots as wealth is moved between
//! bets: a test that is dropped gives back share·min(1, M_i), what it was worth and no more than it was given, and a test that comes
//! later begins with what is given to it. However often criteria change, the chance of a false abort in the run stays at α.

use std::collections::BTreeMap;

/// A test under way: the share of α it holds, and what it is worth now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stake {
    /// Of α, 0..=1.
    pub share: f64,
    /// ln M.
    pub log_worth: f64,
}

impl Stake {
    /// What it can be exchanged for.
    fn refund(self) -> f64 {
        self.share * self.log_worth.min(0.0).exp()
    }
}

/// Shares after a change: `kept` tests go on, `dropped` ones end, `newcomers` begin, and `unspent` is what nobody held.
/// Returns the kept ones' shares, what each newcomer gets, and what is unspent now.
///
/// Everybody is to have the same where that costs nothing. What newcomers lack is taken from the kept ones in proportion.
pub fn share_out(
    kept: &BTreeMap<String, Stake>,
    dropped: &[Stake],
    newcomers: usize,
    unspent: f64,
) -> (BTreeMap<String, f64>, f64, f64) {
    let freed = unspent + dropped.iter().map(|stake| stake.refund()).sum::<f64>();
    let shares = |scale: f64| kept.iter().map(|(name, stake)| (name.clone(), stake.share * scale)).collect();
    if newcomers == 0 {
        return (shares(1.0), 0.0, freed);
    }
    let fair = newcomers as f64 / (kept.len() + newcomers) as f64;
    let held: f64 = kept.values().map(|stake| stake.share).sum();
    // Each kept test gives the same part of itself: what is given is worth no more than what it can be exchanged for.
    let part = if held > 0.0 { ((fair - freed) / held).clamp(0.0, fair) } else { 0.0 };
    let given: f64 = kept.values().map(|stake| stake.refund() * part).sum();
    (shares(1.0 - part), (freed + given) / newcomers as f64, 0.0)
}
