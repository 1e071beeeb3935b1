//! A test that notices faults which start late (judge.md L1), with a cap on what one slot can say
//! (C1), in constant space.
//!
//! # Why lanes
//!
//! A likelihood ratio that runs from the start sinks while all is well, and a fault that comes
//! later must first climb out of that hole. So the test starts with capital 1: 65 % is bet from
//! the start, the rest is cash of which a little, w_t, is bet anew at *every* slot:
//!
//! > M_t = cash_t + (1/K) Σ_k A_k(t),  A_k ← (A_k + w_t)·e^{min(ℓ_k, c_k)},  A_k = 0.65·v_k at first.
//!
//! The v_k have the mean 1: from the start more is bet on what is hard to see, twice or thrice the limit, than on an outage, which
//! speaks loud enough with a third of it. Unrolled, A_k is 0.65·v_k·(ratio from the start) + Σ_s w_s·(ratio from slot s): the mixture over all
//! starting times, a lane not yet started counting 1, in K numbers instead of K per lane.
//!
//! # Why it is valid
//!
//! Moving w_t from cash to A_k for every k leaves M unchanged. The factor e^{ℓ_k} has mean at most 1
//! given the past under the null, and min(ℓ_k, c_k) only lowers it. So M is a non-negative
//! supermartingale that starts at 1 as long as cash never turns negative and w_t is fixed before
//! the slot's errors are known: [`Schedule`] uses the count of slots with requests, the moments
//! steps began and nothing else. By Ville's inequality P(M ever ≥ 1/α') ≤ α'.
//!
//! Wealth above what one alternative needs alone, K/α', is thrown away, which only lowers M. So
//! evidence goes soon after its cause: M is about now, and what must stay is remembered elsewhere.
//!
//! # Why three slots
//!
//! `rest` B_k is what A_k would be had no slot ever spoken against the canary:
//! B_k ← (B_k + w_t)·e^{min(ℓ_k, 0)}, B_k = 0.65·v_k at first. The cap is
//! c_k = (ln(1/α') + ln K + ln(1/(B_k + w_t))) / 3. From the start that is C1
//! with the weight of the start for a half, and once the first lane has sunk it is
//! (ln(1/α') + ln K + ln(1/w))/3 for the late ones; in between it also covers the many lanes of a
//! quiet service that have not sunk at all. Let there be two slots with ℓ > 0, at s₁ < s₂. The lanes
//! that saw both weigh at most min(B(s₁), B(s₂)) =: b, so
//! they end at or below b·e^{c(s₁)+c(s₂)} ≤ (K/α')^{2/3}·b^{1/3}; those that saw only the second end
//! at or below (K/α')^{1/3}, those that saw neither at or below 1. All weights together are at most
//! 1, so the sum stays below 1/α' for every α' ≤ 0.01: no crossing from fewer than three slots, one
//! bad scrape decides nothing.

use super::evidence::{ALTERNATIVES, LOG_ALTERNATIVES, log_mean_exp, log_sum_exp};

/// Capital bet from the start.
const FROM_START: f64 = 0.65;

/// v_k: how it is spread over [`super::evidence::WORSE`]. Their mean is 1, and none is above 1/0.65, so that no bet exceeds one.
const SPREAD: [f64; ALTERNATIVES] = [1.0, 1.5, 1.5, 1.2, 0.8, 0.5, 0.5];

/// Share of the cash at hand that one step may spend on late lanes.
const STEP_SHARE: f64 = 0.8;

/// Slots at a step's start in which faults are likeliest: two minutes of one-second slots.
const YOUNG_SLOTS: f64 = 120.0;
/// Share of a step's allowance for the young slots, evenly.
const YOUNG_SHARE: f64 = 0.5;

/// Slots of the even stretch: a quarter of an hour at one second, over an hour at five.
const EVEN_SLOTS: f64 = 900.0;
/// Share of a step's allowance for the even stretch, the young slots included.
const EVEN_SHARE: f64 = 0.38;

/// Scale of the tail a/((a+j)(a+j+1)), which sums to 1 and never ends.
const TAIL_SLOTS: f64 = 1800.0;
/// What is left of the allowance.
const TAIL_SHARE: f64 = 1.0 - YOUNG_SHARE - EVEN_SHARE;

/// Logarithms in the state are whole millionths of a nat, rounded against the claim, so that the state stays small and exact:
/// 100,000 slots lose a tenth of a nat.
pub const GRAIN: f64 = 1e6;

/// Nothing sinks deeper, in nats: what is left there is nothing by any count.
const LEAST: f64 = -1e6;

/// How much cash is bet anew in each slot.
///
/// A step's allowance is 80 % of the cash at hand when it begins: in the first step
/// −ln w is 7.1 for 120 slots, then 8.8 to 8.9 until slot 900, and grows like 2·ln(slot) thereafter. What a step did not
/// spend is there for the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Capital not bet.
    pub cash: f64,
    /// What this step may spend.
    pub allowance: f64,
    /// Slots with requests since the step began.
    pub age: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        let cash = 1.0 - FROM_START;
        Self { cash, allowance: STEP_SHARE * cash, age: 0 }
    }
}

impl Schedule {
    /// A new step: the young slots' share is renewed out of the cash that is left.
    pub fn begin_step(&mut self) {
        self.allowance = STEP_SHARE * self.cash;
        self.age = 0;
    }

    /// Takes the next slot's bet out of the cash and returns it.
    pub fn spend(&mut self) -> f64 {
        let age = f64::from(self.age);
        let young = if age < YOUNG_SLOTS { YOUNG_SHARE / YOUNG_SLOTS } else { 0.0 };
        let even = if age < EVEN_SLOTS { EVEN_SHARE / EVEN_SLOTS } else { 0.0 };
        let tail = TAIL_SHARE * TAIL_SLOTS / ((TAIL_SLOTS + age) * (TAIL_SLOTS + age + 1.0));
        let bet = (self.allowance * (young + even + tail)).min(self.cash);
        self.cash -= bet;
        self.age = self.age.saturating_add(1);
        bet
    }
}

/// The bets of one test: ln A_k and ln B_k of the module's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes<const K: usize = ALTERNATIVES> {
    /// ln A_k: what the bets on each alternative are worth.
    pub wealth: [f64; K],
    /// ln B_k: what they would be worth had no slot spoken for the alternative.
    pub rest: [f64; K],
}

impl Default for Lanes {
    fn default() -> Self {
        Self::betting(FROM_START, SPREAD)
    }
}

impl<const K: usize> Lanes<K> {
    /// So much of the capital is bet from the start, spread like this: numbers whose mean is 1.
    pub fn betting(from_start: f64, spread: [f64; K]) -> Self {
        let start = spread.map(|part| ((from_start * part).ln() * GRAIN).floor() / GRAIN);
        Self { wealth: start, rest: start }
    }

    /// Bets `bet` anew on each alternative, then lets the slot's `ratios` (ℓ_k) speak, capped so
    /// that three slots are needed to reach `threshold` = ln(1/α').
    pub fn advance(&mut self, ratios: &[f64; K], bet: f64, threshold: f64) {
        let log_bet = bet.ln();
        let ceiling = threshold + (K as f64).ln();
        for (k, &ratio) in ratios.iter().enumerate() {
            let rest = log_sum_exp(&[self.rest[k], log_bet]);
            let wealth = log_sum_exp(&[self.wealth[k], log_bet]);
            let wealth = (wealth + ratio.min(cap(threshold, rest))).min(ceiling);
            self.wealth[k] = ((wealth * GRAIN).floor() / GRAIN).max(LEAST);
            self.rest[k] = (((rest + ratio.min(0.0)) * GRAIN).ceil() / GRAIN).max(LEAST);
        }
    }

    /// ln M: the evidence, with `cash` not yet bet.
    pub fn log_evidence(&self, cash: f64) -> f64 {
        log_sum_exp(&[log_mean_exp(&self.wealth), cash.ln()])
    }

    /// How far any alternative stands above its rest, in nats: about 0 when what was seen speaks
    /// for no fault, or did so long ago that fresh lanes outweigh it.
    pub fn excess(&self) -> f64 {
        (0..K).map(|k| self.wealth[k] - self.rest[k]).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// C1: the most one slot may add in nats, (threshold + ln K − `log_rest`) / 3.
pub fn cap(threshold: f64, log_rest: f64) -> f64 {
    (threshold + LOG_ALTERNATIVES - log_rest) / 3.0
}
