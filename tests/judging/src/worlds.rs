//! Worlds: what the pods of a run count, second by second. Requests are Poisson, errors binomial, a defect adds to the noise.
//!
//! Everything follows from a seed.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp, Poisson};
use rand_pcg::Pcg64Mcg;
use tidegate::decide::judge::{Bound, Revision, Slot};

/// Seconds that a burst lasts on average.
const BURST: f64 = 20.0;
/// Share of the time that a pod is in a burst.
const BURST_SHARE: f64 = 0.05;
/// How many times its mean rate a pod has in a burst.
const BURST_HEIGHT: f64 = 10.0;

/// How errors that nobody is to blame for come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// At one rate.
    Steady,
    /// In bursts of each pod's own; the mean over time is the same.
    Bursty,
}

/// What is wrong with the canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Defect {
    /// Nothing.
    None,
    /// This share of requests fails besides, from this second on.
    Errors { share: f64, from: f64 },
    /// Every request fails.
    Outage,
    /// Every request takes so many times as long.
    Slow { times: f64 },
}

/// A world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub noise: Noise,
    /// Share of requests that fail anyway.
    pub mean: f64,
    /// Everybody, stable and canary, fails at this rate for three minutes, from a minute that the seed chooses.
    pub incident: Option<f64>,
    pub defect: Defect,
    /// Requests a second and pod.
    pub load: f64,
    /// Seconds a slot.
    pub slot: i64,
    pub stable_pods: usize,
    pub canary_pods: usize,
}

impl World {
    /// One canary pod and nine stable ones, half a percent of errors.
    pub fn usual(load: f64, slot: i64) -> Self {
        Self {
            noise: Noise::Steady,
            mean: 0.005,
            incident: None,
            defect: Defect::None,
            load,
            slot,
            stable_pods: 9,
            canary_pods: 1,
        }
    }
}

/// A world being played.
pub struct Play {
    world: World,
    dice: Pcg64Mcg,
    pods: Vec<Pod>,
    incident_from: f64,
}

struct Pod {
    revision: Revision,
    name: String,
    in_burst: bool,
    /// Seconds until it changes.
    left: f64,
}

/// Latencies are normal with this mean and deviation, in seconds: the 99th percentile is 350 ms.
const LATENCY: (f64, f64) = (0.300, 0.0215);
/// Bucket bounds that pods have.
const BOUNDS: [f64; 6] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Play {
    /// The world of this seed.
    pub fn new(world: World, seed: u64) -> Self {
        let mut dice = Pcg64Mcg::seed_from_u64(seed);
        let kinds = [(Revision::Stable, world.stable_pods), (Revision::Canary, world.canary_pods)];
        let mut pods = Vec::new();
        for (revision, count) in kinds {
            for number in 0..count {
                let in_burst = dice.random::<f64>() < BURST_SHARE;
                let left = holding(in_burst, &mut dice);
                let name = format!("{revision:?}-{number}").to_lowercase();
                pods.push(Pod { revision, name, in_burst, left });
            }
        }
        let incident_from = 300.0 + 60.0 * f64::from(dice.random_range(0..15_u32));
        Self { world, dice, pods, incident_from }
    }

    /// The slots that start at `t`; before 0 there are no canaries.
    pub fn slots(&mut self, t: i64) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.pods.len());
        for place in 0..self.pods.len() {
            if t < 0 && self.pods[place].revision == Revision::Canary {
                continue;
            }
            slots.push(self.slot(place, t));
        }
        slots
    }

    fn slot(&mut self, place: usize, t: i64) -> Slot {
        let world = self.world;
        let seconds = world.slot as f64;
        let pod = &mut self.pods[place];
        let mut rate = match world.noise {
            Noise::Steady => world.mean,
            Noise::Bursty => pod.rate(world.mean, seconds, &mut self.dice),
        };
        let now = t as f64;
        if let Some(height) = world.incident
            && (self.incident_from..self.incident_from + 180.0).contains(&now)
        {
            rate = height;
        }
        let is_canary = pod.revision == Revision::Canary;
        let mut slower = 1.0;
        match world.defect {
            Defect::Errors { share, from } if is_canary && now >= from => rate = (rate + share).min(1.0),
            Defect::Outage if is_canary => rate = 1.0,
            Defect::Slow { times } if is_canary => slower = times,
            Defect::None | Defect::Errors { .. } | Defect::Outage | Defect::Slow { .. } => {}
        }
        let requests = poisson(world.load * seconds, &mut self.dice);
        let errors = binomial(requests, rate, &mut self.dice);
        let le = if matches!(world.defect, Defect::Slow { .. }) {
            latencies(requests, slower, &mut self.dice)
        } else {
            BTreeMap::new()
        };
        let (revision, pod) = (pod.revision, pod.name.clone());
        Slot { t, revision, pod, requests, errors, untold: 0, le, warming: false }
    }
}

impl Pod {
    /// The mean rate of the next `seconds`.
    fn rate(&mut self, mean: f64, seconds: f64, dice: &mut Pcg64Mcg) -> f64 {
        let mut burst_time = 0.0;
        let mut rest = seconds;
        while rest > 0.0 {
            let stretch = rest.min(self.left);
            if self.in_burst {
                burst_time += stretch;
            }
            self.left -= stretch;
            rest -= stretch;
            if self.left <= 0.0 {
                self.in_burst = !self.in_burst;
                self.left = holding(self.in_burst, dice);
            }
        }
        let quiet = mean * (1.0 - BURST_SHARE * BURST_HEIGHT) / (1.0 - BURST_SHARE);
        let share = burst_time / seconds;
        share * mean * BURST_HEIGHT + (1.0 - share) * quiet
    }
}

fn holding(in_burst: bool, dice: &mut Pcg64Mcg) -> f64 {
    let mean = if in_burst { BURST } else { BURST * (1.0 - BURST_SHARE) / BURST_SHARE };
    Exp::new(1.0 / mean).map_or(mean, |exponential| exponential.sample(dice))
}

fn poisson(mean: f64, dice: &mut Pcg64Mcg) -> u64 {
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(dice) as u64)
}

fn binomial(trials: u64, share: f64, dice: &mut Pcg64Mcg) -> u64 {
    Binomial::new(trials, share).map_or(0, |binomial| binomial.sample(dice))
}

fn latencies(requests: u64, slower: f64, dice: &mut Pcg64Mcg) -> BTreeMap<Bound, u64> {
    let normal = rand_distr::Normal::new(LATENCY.0, LATENCY.1);
    let mut counts = BOUNDS.map(|_| 0);
    for _ in 0..requests {
        let took = normal.map_or(0.0, |normal| normal.sample(dice)) * slower;
        for (bound, count) in BOUNDS.iter().zip(&mut counts) {
            *count += u64::from(took <= *bound);
        }
    }
    let finite = BOUNDS.iter().zip(counts).filter_map(|(bound, count)| Some((Bound::new(*bound)?, count)));
    finite.chain([(Bound::INFINITE, requests)]).collect()
}
