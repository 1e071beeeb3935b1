//! The judge as its users see it: slots in, judgements out; and its formulas against the vectors.

mod noise;
mod nonsense;
mod properties;
mod replay;
mod vectors;
mod warm_up;
mod zones;

use std::collections::BTreeMap;

use tidegate::decide::judge::{
    Criterion, Judgement, Measure, OnLimit, OnUnknown, Revision, Settings, Slot, State, fold, judge, learn,
};

fn errors(target: f64, limit: f64) -> Criterion {
    Criterion {
        name: "errors".to_owned(),
        measure: Measure::ErrorRate { target, limit },
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    }
}

fn latency(quantile: f64, target: f64, limit: f64) -> Criterion {
    Criterion {
        name: "latency".to_owned(),
        measure: Measure::Latency { quantile, target, limit },
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    }
}

fn slot(t: i64, revision: Revision, requests: u64, errors: u64) -> Slot {
    let pod = format!("{revision:?}-1").to_lowercase();
    Slot { t, revision, pod, requests, errors, untold: 0, le: BTreeMap::new(), warming: false }
}

fn canary(t: i64, requests: u64, errors: u64) -> Slot {
    slot(t, Revision::Canary, requests, errors)
}

fn stable(t: i64, requests: u64, errors: u64) -> Slot {
    slot(t, Revision::Stable, requests, errors)
}

/// Cumulative counts by bound, as the lines of slots have them.
fn with_le(mut slot: Slot, le: &[(&str, u64)]) -> Slot {
    slot.le = le.iter().map(|(bound, count)| (bound.parse().unwrap(), *count)).collect();
    slot
}

/// A state that has learnt from nine calm stable pods for an hour: what is said then rests on no assumption.
fn calm(criteria: &[Criterion]) -> State {
    let mut state = State::default();
    let pods = |t: i64| {
        (0..9).map(move |pod| Slot {
            pod: format!("calm{pod}"),
            ..with_le(
                stable(t, 300, 0),
                &[("0.1", 300), ("0.5", 300), ("2", 300), ("2.5", 300), ("+Inf", 300)],
            )
        })
    };
    let history: Vec<Slot> = (-240..0).flat_map(|at| pods(at * 15)).collect();
    learn(criteria, &mut state, &history);
    state
}

/// The only judgement after an hour of calm and then folding all slots at once.
fn judged(criterion: &Criterion, slots: &[Slot]) -> Judgement {
    let criteria = [criterion.clone()];
    let settings = Settings::default();
    let mut state = calm(&criteria);
    fold(&criteria, &mut state, slots, &settings);
    judge(&criteria, &state, &settings).remove(0)
}

/// A linear congruential generator (Knuth's MMIX constants): the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
        for _ in 0..4 {
            dice.uniform();
        }
        dice
    }

    /// In 0..1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Poisson by counting exponential gaps.
    fn poisson(&mut self, mean: f64) -> u64 {
        let (mut count, mut time) = (0, 0.0);
        loop {
            time -= (1.0 - self.uniform()).ln();
            if time > mean {
                return count;
            }
            count += 1;
        }
    }

    /// Binomial by jumping from hit to hit.
    fn binomial(&mut self, trials: u64, share: f64) -> u64 {
        if share <= 0.0 {
            return 0;
        }
        if share >= 1.0 {
            return trials;
        }
        let (mut hits, mut at) = (0, 0.0);
        let miss = (-share).ln_1p();
        loop {
            at += ((1.0 - self.uniform()).ln() / miss).floor() + 1.0;
            if at > trials as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}
