//! O1 of judge.md: how much more than independent requests errors clump, learnt from stable pods.
//!
//! Retries, time-outs and slow neighbours make errors come in bursts. A test that takes them for independent goes back for nothing:
//! up to 97 of 100 good runs in the bursty world of `make judge-worlds`. So evidence is divided by φ, the variance of
//! counts over that of independent requests, estimated on stable pods' blocks of one and of five minutes: from before the run where
//! there is a history, and from what stable pods did so far in the run; only ever from the past, which keeps the test valid.
//!
//! Before anything was seen, bursts are assumed (a CV² of 3 from minute to minute); what is seen outweighs that after an hour of a
//! pod, and after nine it counts alone. Until then judgements say that they are not calibrated.

use std::collections::BTreeMap;

use super::evidence::Trials;

/// Seconds a block.
pub const BLOCKS: [i64; 2] = [60, 300];
/// Pods of a revision whose blocks are kept; further ones are not looked at.
const MOST_PODS: usize = 12;
/// Pod-minutes of stable pods from which on a judgement is called calibrated.
const ENOUGH: f64 = 540.0;
/// CV² of a pod's rate of errors from minute to minute that is assumed before anything was seen.
const ASSUMED_OF_ERRORS: f64 = 3.0;
/// The same of requests that are too slow: they are more, and clump less.
const ASSUMED_OF_SLOW: f64 = 0.5;
/// No larger rate is assumed to burst any more for being larger: half of all requests cannot fail ten times as often.
const LARGEST_BURSTING: f64 = 0.01;
/// The assumption weighs as much as so many pod-minutes.
const ASSUMED_MINUTES: f64 = 60.0;
/// Bad requests that were seen before anything was seen (Jeffreys).
const BEFORE: f64 = 0.5;
/// Where nothing is known of stable's rate it is taken for this share of the limit.
const UNKNOWN_RATE: f64 = 0.1;
/// κ: how much more than estimated is allowed for where α rests on it.
const MARGIN: f64 = 1.25;
/// The same beside a comparison with stable, on which α rests there.
const MARGIN_BESIDE: f64 = 0.85;
/// λ₃₀₀/λ₆₀ from which neighbouring minutes know too much of each other to be ranked one by one: a lag-1 correlation of 0.35.
const CORRELATED: f64 = 1.74;

/// Blocks that are not over, of the first pods of each revision, by a hash of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks {
    /// Number of the block under way, by length.
    pub number: [i64; 2],
    /// Counts so far, by length.
    pub stable: BTreeMap<u32, [Trials; 2]>,
    /// The same.
    pub canary: BTreeMap<u32, [Trials; 2]>,
}

/// A block that is over: what each pod counted.
pub struct Ended {
    /// Which length, an index into [`BLOCKS`].
    pub length: usize,
    /// Its start, seconds.
    pub begin: i64,
    /// Pods without a request in it are left out.
    pub stable: Vec<Trials>,
    /// The same.
    pub canary: Vec<Trials>,
}

impl Blocks {
    /// Time has come to `t`: what is over, and a fresh start for it.
    pub fn turn(&mut self, t: i64) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (length, seconds) in BLOCKS.into_iter().enumerate() {
            let number = t.div_euclid(seconds);
            let is_first = self.stable.is_empty() && self.canary.is_empty();
            if number <= self.number[length] && !is_first {
                continue;
            }
            let begin = self.number[length].saturating_mul(seconds);
            self.number[length] = number;
            let take = |pods: &mut BTreeMap<u32, [Trials; 2]>| {
                let counts = pods.values_mut().map(|counts| std::mem::take(&mut counts[length]));
                counts.filter(|counts| counts.requests > 0).collect::<Vec<_>>()
            };
            let (stable, canary) = (take(&mut self.stable), take(&mut self.canary));
            if length + 1 == BLOCKS.len() {
                // Whoever counted nothing in the longest block makes room.
                self.stable.retain(|_, counts| counts.iter().any(|counts| counts.requests > 0));
                self.canary.retain(|_, counts| counts.iter().any(|counts| counts.requests > 0));
            }
            ended.push(Ended { length, begin, stable, canary });
        }
        ended
    }

    /// The clock was set back, and what was counted ended at `t` by it: the blocks under way are those of then.
    pub fn set_back(&mut self, t: i64) {
        for (number, seconds) in self.number.iter_mut().zip(BLOCKS) {
            *number = (*number).min(t.div_euclid(seconds));
        }
    }

    /// A stable pod's slot.
    pub fn count_stable(&mut self, pod: &str, trials: Trials) {
        count(&mut self.stable, pod, trials);
    }

    /// A canary pod's slot.
    pub fn count_canary(&mut self, pod: &str, trials: Trials) {
        count(&mut self.canary, pod, trials);
    }
}

fn count(pods: &mut BTreeMap<u32, [Trials; 2]>, pod: &str, trials: Trials) {
    let id = hash(pod);
    if trials.requests == 0 || (pods.len() >= MOST_PODS && !pods.contains_key(&id)) {
        return;
    }
    for counts in pods.entry(id).or_default() {
        counts.requests = counts.requests.saturating_add(trials.requests);
        counts.bad = counts.bad.saturating_add(trials.bad);
    }
}

/// FNV-1a: the same in every build, and short in the state.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Sums over ended blocks of stable pods, of one length.
///
/// Pods are held against their fellows in the same block, so what befalls all of them at once (a shared incident, a busy hour) is no
/// noise: whether the canary is worse than stable is asked at the same moment too. Of a pod that is alone nothing is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Σ(x − np̂)².
    pub squares: f64,
    /// Σnp̂(1−p̂), what that would be of independent requests.
    pub noise: f64,
    /// Σn².
    pub weight: f64,
}

impl Sums {
    fn add(&mut self, pods: &[Trials]) {
        let count = |sum: fn(&Trials) -> u64| pods.iter().map(|pod| sum(pod) as f64).sum::<f64>();
        if pods.len() < 2 {
            return;
        }
        let rate = count(|pod| pod.bad) / count(|pod| pod.requests);
        let freedom = 1.0 - 1.0 / pods.len() as f64;
        for pod in pods {
            let (n, x) = (pod.requests as f64, pod.bad as f64);
            self.squares += (x - n * rate) * (x - n * rate);
            self.noise += freedom * n * rate * (1.0 - rate);
            self.weight += freedom * n * n;
        }
    }

    /// τ² = max(0, Σ[(x−np̂)² − np̂(1−p̂)]/Σn²): the variance of pods' rates from block to block.
    fn variance(&self) -> f64 {
        if self.weight > 0.0 { ((self.squares - self.noise) / self.weight).max(0.0) } else { 0.0 }
    }
}

/// What was learnt of stable pods.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Pod-blocks of a minute that ended with requests in them.
    pub minutes: f64,
    /// By length of block.
    pub sums: [Sums; 2],
    /// All requests and bad ones of stable pods so far, ended blocks or not.
    pub seen: Trials,
}

impl Spread {
    /// A block is over.
    pub fn learn(&mut self, ended: &Ended) {
        self.sums[ended.length].add(&ended.stable);
        if ended.length == 0 && ended.stable.len() > 1 {
            self.minutes += ended.stable.len() as f64;
        }
    }

    /// Requests of stable pods.
    pub fn see(&mut self, trials: Trials) {
        self.seen.requests = self.seen.requests.saturating_add(trials.requests);
        self.seen.bad = self.seen.bad.saturating_add(trials.bad);
    }

    /// Whether enough was seen to need no assumption.
    pub fn is_calibrated(&self) -> bool {
        self.minutes >= ENOUGH
    }

    /// Which length of block is ranked, an index into [`BLOCKS`].
    pub fn ranked(&self) -> usize {
        usize::from(self.lambda(1) > CORRELATED * self.lambda(0))
    }

    /// What evidence is tempered by. `null`: the limit's share, a part of which stands in for stable's rate while nothing is known
    /// of it.
    pub fn tempering(&self, null: f64, of_slow: bool) -> Tempering {
        let before = BEFORE / (UNKNOWN_RATE * null);
        let rate = (self.seen.bad as f64 + BEFORE) / (self.seen.requests as f64 + before);
        let measured = self.lambda(0).max(self.lambda(1));
        let square = if of_slow { ASSUMED_OF_SLOW } else { ASSUMED_OF_ERRORS };
        // Whoever keeps the limit has no more than it, whatever an incident makes of stable.
        let usual = rate.min(null);
        let assumed = (BLOCKS[0] as f64 * square * usual * usual.min(LARGEST_BURSTING)).max(measured);
        let trust = if self.is_calibrated() { 1.0 } else { self.minutes / (self.minutes + ASSUMED_MINUTES) };
        Tempering { lambda: trust * measured + (1.0 - trust) * assumed, rate }
    }

    /// λ_L = L·τ²_L: noise per second.
    fn lambda(&self, length: usize) -> f64 {
        BLOCKS[length] as f64 * self.sums[length].variance()
    }
}

/// Noise that errors of independent requests do not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tempering {
    /// λ, in seconds: the long-run variance of a pod's rate per second.
    pub lambda: f64,
    /// Stable's rate p̂.
    pub rate: f64,
}

/// Requests of one revision in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests a second, all pods together.
    pub rate: f64,
    /// Pods that had any; at least 1.
    pub pods: f64,
}

impl Tempering {
    /// φ of A1 where it stands for the comparison with stable, or is about stable itself: 1 + κ·(n_C/Δ)·(λ/m_C)/(p₀(1−p₀)).
    pub fn of_budget_alone(self, load: Load, null: f64) -> f64 {
        1.0 + MARGIN * self.of_budget_plain(load, null)
    }

    /// φ of A1 beside a comparison with stable, with a smaller κ.
    pub fn of_budget(self, load: Load, null: f64) -> f64 {
        1.0 + MARGIN_BESIDE * self.of_budget_plain(load, null)
    }

    fn of_budget_plain(self, load: Load, null: f64) -> f64 {
        load.rate * (self.lambda / load.pods) / (null * (1.0 - null))
    }

    /// φ of B1: 1 + κ·(1−q)·(n_C/Δ)·(λ/p̂_B)·(1/m_C + 1/m_B) with q = n_C/(n_C+n_B).
    pub fn of_compare(self, canary: Load, stable: Load) -> f64 {
        let others = stable.rate / (canary.rate + stable.rate);
        let pods = 1.0 / canary.pods + 1.0 / stable.pods;
        1.0 + MARGIN * others * canary.rate * (self.lambda / self.rate) * pods
    }
}
