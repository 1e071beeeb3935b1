//! What must hold of the formulas whatever the counts: by exact sums over all outcomes where they are few, by chance otherwise.

use proptest::prelude::*;
use tidegate::decide::judge::evidence::{
    ALTERNATIVES, BETTER, Trials, WORSE, budget, compare, no_worse_than, temper, worse_than,
};
use tidegate::decide::judge::lanes::Lanes;

/// The chance of so many bad ones.
fn chance(trials: Trials, rate: f64) -> f64 {
    let (n, x) = (trials.requests, trials.bad);
    let ways: f64 = (0..x).map(|i| (n - i) as f64 / (i + 1) as f64).product();
    ways * rate.powi(i32::try_from(x).unwrap()) * (1.0 - rate).powi(i32::try_from(n - x).unwrap())
}

fn outcomes(requests: u64) -> impl Iterator<Item = Trials> {
    (0..=requests).map(move |bad| Trials::new(requests, bad))
}

/// Largest mean of e^ℓ_k over the alternatives.
fn largest_mean(outcomes: impl Iterator<Item = (f64, [f64; ALTERNATIVES])>) -> f64 {
    let mut means = [0.0; ALTERNATIVES];
    for (chance, logs) in outcomes {
        for (mean, log) in means.iter_mut().zip(logs) {
            *mean += chance * log.exp();
        }
    }
    means.into_iter().fold(0.0, f64::max)
}

const SURE: f64 = 1.0 + 1e-12;

#[test]
fn the_budget_test_is_worth_at_most_one_on_average_at_or_below_the_limit() {
    for requests in [1, 2, 5, 12] {
        for limit in [0.001, 0.01, 0.05, 0.3] {
            for rate in [0.0, 0.3 * limit, limit] {
                let of = |trials| (chance(trials, rate), budget(trials, limit, &WORSE));
                let mean = largest_mean(outcomes(requests).map(of));
                assert!(mean <= SURE, "{requests} requests at {rate} against {limit}: {mean}");
            }
            // And the pass side at or above it.
            for rate in [limit, (2.0 * limit).min(0.9)] {
                let of = |trials| (chance(trials, rate), budget(trials, limit, &BETTER));
                assert!(largest_mean(outcomes(requests).map(of)) <= SURE);
            }
        }
    }
}

#[test]
fn the_comparison_is_worth_at_most_one_on_average_while_the_canary_is_no_worse_also_when_tempered() {
    for (canary, stable) in [(1, 1), (2, 9), (5, 5), (6, 2)] {
        for usual in [0.01, 0.2, 0.6] {
            for worse in [1.5, 3.0] {
                let same = no_worse_than(worse);
                let rate = (usual * same).min(1.0);
                for spread in [1.0, 2.5, 40.0] {
                    let pairs = outcomes(canary).flat_map(|c| outcomes(stable).map(move |s| (c, s)));
                    let of = |(c, s): (Trials, Trials)| {
                        let logs = compare(c, s, same, &worse_than(worse)).unwrap();
                        (chance(c, rate) * chance(s, usual), temper(logs, spread))
                    };
                    let mean = largest_mean(pairs.map(of));
                    assert!(mean <= SURE, "{canary}/{stable} at {usual}, {spread}: {mean}");
                }
            }
        }
    }
}

/// The mean over all outcomes of what is left after so many slots, with bets placed anew in each.
fn mean_of_lanes(lanes: &Lanes, cash: f64, slots: u32, requests: u64, rate: f64) -> f64 {
    if slots == 0 {
        return lanes.log_evidence(cash).exp();
    }
    let bet = cash * 0.1;
    outcomes(requests)
        .map(|trials| {
            let mut next = *lanes;
            next.advance(&budget(trials, rate, &WORSE), bet, 100_f64.ln());
            chance(trials, rate) * mean_of_lanes(&next, cash - bet, slots - 1, requests, rate)
        })
        .sum()
}

#[test]
fn lanes_with_their_cap_keep_it_so_over_slots() {
    for rate in [0.01, 0.2] {
        let mean = mean_of_lanes(&Lanes::default(), 0.35, 5, 3, rate);
        assert!(mean <= SURE, "{rate}: {mean}");
    }
}

proptest! {
    #[test]
    fn slots_may_be_taken_together(one in 0_u64..10_000, other in 0_u64..10_000, shares in (0.0..1.0, 0.0..1.0), limit in 1e-6..0.9) {
        let trials = |requests: u64, share: f64| Trials::new(requests, (requests as f64 * share) as u64);
        let (one, other) = (trials(one, shares.0), trials(other, shares.1));
        let both = Trials::new(one.requests + other.requests, one.bad + other.bad);
        let (a, b, sum) = (budget(one, limit, &WORSE), budget(other, limit, &WORSE), budget(both, limit, &WORSE));
        for k in 0..ALTERNATIVES {
            prop_assert!((a[k] + b[k] - sum[k]).abs() <= 1e-9 * (1.0 + sum[k].abs()));
        }
    }

    #[test]
    fn a_comparison_of_a_canary_with_itself_speaks_against_nobody(requests in 1_u64..10_000, share in 0.0..1.0) {
        let trials = Trials::new(requests, (requests as f64 * share) as u64);
        let logs = compare(trials, trials, no_worse_than(1.5), &WORSE).unwrap();
        prop_assert!(logs.iter().all(|log| *log <= 1e-9), "{:?}", logs);
    }
}
