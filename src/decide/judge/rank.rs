//! R1 of judge.md: where the canary pods stand among the stable pods, block by block.
//!
//! Whatever the noise, and however it clumps: while the canary is no worse than stable, a canary pod's place among m stable pods is
//! any of m + 1 with the same chance. So the rank speaks where counts must keep silent. It needs blocks that know little of
//! each other, and can say little in each of them.

use super::evidence::Trials;

/// θ: under Lehmann's alternative the canary pod's rate is the largest of θ draws.
pub const DRAWS: [u32; 4] = [2, 4, 8, 16];
/// How the capital is spread over them, with a mean of 1. What is a little worse is found by counts; a rank is wanted where those are
/// divided by much noise, and there each block counts.
pub const SPREAD: [f64; DRAWS.len()] = [0.2, 0.4, 1.0, 2.4];

/// A canary pod with less than this share of the requests of the stable pods (on average) is not ranked: few requests make extreme
/// rates, and extreme rates extreme ranks.
const LEAST_REQUESTS: f64 = 0.5;

/// e_θ(j) = (m+1)·θ·Π_{i=1}^{θ−1}(j+i) / Π_{i=1}^{θ}(m+i) for j = `below` of m = `stable` pods; its mean over j = 0..=m is 1.
pub fn e_value(below: usize, stable: usize, draws: u32) -> f64 {
    let (below, pods) = (below as f64, stable as f64);
    let first = (pods + 1.0) * f64::from(draws) / (pods + f64::from(draws));
    (1..draws).map(f64::from).fold(first, |product, i| product * (below + i) / (pods + i))
}

/// One block: ln of the mean over canary pods of e_θ, for each θ, with the canary's rates divided by `no_worse` (√ρ). Of tied
/// places each is as good as the other. `None`: nobody to rank, or nobody to rank among.
pub fn block(canary: &[Trials], stable: &[Trials], no_worse: f64) -> Option<[f64; DRAWS.len()]> {
    let served: Vec<f64> = stable.iter().filter_map(|pod| pod.share()).collect();
    if served.is_empty() {
        return None;
    }
    let requests: f64 = stable.iter().map(|pod| pod.requests as f64).sum();
    let least = LEAST_REQUESTS * requests / served.len() as f64;
    let ranked = canary.iter().filter(|pod| pod.requests as f64 >= least).filter_map(|pod| pod.share());
    let (mut sum, mut pods) = ([0.0; DRAWS.len()], 0.0);
    for rate in ranked {
        let rate = rate / no_worse;
        let below = served.iter().filter(|other| **other < rate).count();
        let tied = served.iter().filter(|other| **other == rate).count();
        for (total, draws) in sum.iter_mut().zip(DRAWS) {
            let places = below..=below + tied;
            let all: f64 = places.map(|place| e_value(place, served.len(), draws)).sum();
            *total += all / (tied + 1) as f64;
        }
        pods += 1.0;
    }
    (pods > 0.0).then(|| sum.map(|total| (total / pods).ln()))
}
