//! A HorizontalPodAutoscaler of the first Deployment, by the rules and defaults of the real one: every 15 s it wants as many pods as what comes
//! to the Service takes, each of which has what it is used to. It starts pods at once, as many as the usual policy lets it, and takes none that it has wanted
//! within five minutes. What is outside its bounds it mends at once, whatever comes. Held against a real one in `tests/real`, but for the five minutes.
//!
//! It has one metric, which is of the Service and not of pods: so pods that are not Ready yet, or of which nothing is measured, change nothing. Left out
//! are behaviours other than the usual ones, several metrics, and metrics that cannot be read.

use std::collections::VecDeque;

use crate::story::USUAL;
use crate::world::{TARGET, World};

/// Milliseconds between two looks.
const PERIOD: u64 = 15_000;
/// Milliseconds for which a pod stays that was wanted.
const STAYS: u64 = 300_000;
/// Percent too many or too few that are as good as what is wanted.
const TOLERANCE: u64 = 10;
/// Pods that one look may start where there are fewer to double.
const AT_ONCE: i32 = 4;

/// An autoscaler.
pub struct Autoscaler {
    least: i32,
    most: i32,
    due: u64,
    /// When it wanted how many.
    wanted: VecDeque<(u64, i32)>,
}

impl Autoscaler {
    /// One that wants so many pods at least, and at most.
    pub fn within((least, most): (i32, i32)) -> Self {
        Self { least, most, due: PERIOD, wanted: VecDeque::new() }
    }

    /// When it looks next.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// How many there are to be, where there are so many and so many requests come a second. Whoever wants none wants none of it.
    fn look(&mut self, now: u64, replicas: i32, rate: u64) -> i32 {
        self.due = now + PERIOD;
        if replicas == 0 {
            return 0;
        }
        if self.wanted.is_empty() {
            self.wanted.push_back((now, replicas));
        }
        if replicas < self.least || replicas > self.most {
            return replicas.clamp(self.least, self.most);
        }
        let usual = u64::from(replicas.unsigned_abs()) * USUAL;
        let wanted = if rate.abs_diff(usual) * 100 <= usual * TOLERANCE {
            replicas
        } else {
            i32::try_from(rate.div_ceil(USUAL)).unwrap_or(i32::MAX)
        };
        let wanted = wanted.clamp(self.least, self.most);
        self.wanted.push_back((now, wanted));
        self.wanted.retain(|(at, _)| at + STAYS >= now);
        if wanted >= replicas {
            return wanted.min((2 * replicas).max(replicas + AT_ONCE));
        }
        let lately = self.wanted.iter().map(|(_, wanted)| *wanted).fold(wanted, i32::max);
        lately.min(replicas)
    }
}

/// What is done to a Deployment that an autoscaler without metrics scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The autoscaler is to want so many pods at least, and at most.
    Bounds(i32, i32),
    /// Somebody else scales it.
    Scale(i32),
}

/// Pods, and the bounds of the autoscaler, before the first turn.
pub const BEGINS_WITH: (i32, Turn) = (4, Turn::Bounds(2, 10));

/// What happens then, one after the other.
pub const TURNS: [Turn; 7] = [
    Turn::Bounds(6, 10),
    Turn::Bounds(20, 30),
    Turn::Bounds(1, 3),
    Turn::Scale(0),
    Turn::Scale(12),
    Turn::Bounds(5, 8),
    Turn::Scale(1),
];

/// How many pods the model has at rest after each turn.
pub fn on_the_model() -> Vec<i32> {
    let (mut replicas, begins) = BEGINS_WITH;
    let mut autoscaler = Autoscaler::within((replicas, replicas));
    let mut now = 0;
    let mut rest_after = |turn: Turn| {
        match turn {
            Turn::Bounds(least, most) => (autoscaler.least, autoscaler.most) = (least, most),
            Turn::Scale(to) => replicas = to,
        }
        // Longer than a pod stays that was wanted. Without metrics it is as if each had what it is used to.
        for _ in 0..2 * STAYS / PERIOD {
            now += PERIOD;
            replicas = autoscaler.look(now, replicas, u64::from(replicas.unsigned_abs()) * USUAL);
        }
        replicas
    };
    rest_after(begins);
    TURNS.into_iter().map(rest_after).collect()
}

/// Pods, and the bounds of an autoscaler that goes by what comes.
pub const RATED: (i32, (i32, i32)) = (4, (2, 30));

/// Requests a second that come then, one after the other: a little more and a little less than the pods are used to, much more, more than there may be
/// pods for, much less, and none.
pub const RATES: [u64; 6] = [4 * USUAL + 15, 4 * USUAL - 15, 18 * USUAL - 3, 100 * USUAL, 5 * USUAL, 0];

/// How many pods the model has with each of them, one size after the other, from one rest to the next.
pub fn by_rates_on_the_model() -> Vec<Vec<i64>> {
    let (mut replicas, bounds) = RATED;
    let mut autoscaler = Autoscaler::within(bounds);
    let mut now = 0;
    let sizes = |rate: u64| {
        let mut sizes = vec![i64::from(replicas)];
        for _ in 0..2 * STAYS / PERIOD {
            now += PERIOD;
            replicas = autoscaler.look(now, replicas, rate);
            sizes.push(i64::from(replicas));
        }
        sizes.dedup();
        sizes
    };
    RATES.into_iter().map(sizes).collect()
}

impl World {
    /// The autoscaler looks, where there is one and it is due.
    pub fn autoscale(&mut self) {
        let now = self.now;
        if self.autoscaler.as_ref().is_none_or(|it| it.due > now) {
            return;
        }
        let replicas = self.deployment(TARGET).and_then(|it| it["spec"]["replicas"].as_i64()).unwrap_or(0);
        let replicas = i32::try_from(replicas).unwrap_or(0);
        let rate = self.cluster(TARGET).map_or(0, |cluster| cluster.service.rate(now));
        if let Some(autoscaler) = &mut self.autoscaler {
            let wanted = autoscaler.look(now, replicas, rate);
            self.scale_target(TARGET, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_comes_up_at_once_and_down_after_five_minutes() {
        let mut autoscaler = Autoscaler::within((2, 10));
        let mut replicas = 4;
        let mut looks = |from: u64, to: u64, rate: u64| {
            (from / PERIOD..to / PERIOD).for_each(|look| {
                replicas = autoscaler.look(look * PERIOD, replicas, rate);
            });
            replicas
        };
        assert_eq!(looks(0, 60_000, 4 * USUAL + 15), 4, "a little more is no news");
        assert_eq!(looks(60_000, 75_000, 9 * USUAL), 8, "twice as many at once");
        assert_eq!(looks(75_000, 90_000, 9 * USUAL), 9);
        assert_eq!(looks(90_000, 105_000, 90 * USUAL), 10);
        assert_eq!(looks(105_000, 390_000, 3 * USUAL + 1), 10, "they stay");
        assert_eq!(looks(390_000, 420_000, 3 * USUAL + 1), 4);
        assert_eq!(looks(420_000, 900_000, 0), 2);
    }

    #[test]
    fn what_is_out_of_bounds_comes_into_them_at_once() {
        let mut autoscaler = Autoscaler::within((20, 30));
        assert_eq!(autoscaler.look(0, 4, 4 * USUAL), 20, "more than twice as many");
        (autoscaler.least, autoscaler.most) = (1, 3);
        assert_eq!(autoscaler.look(PERIOD, 20, 20 * USUAL), 3, "none stays that was wanted");
        assert_eq!(on_the_model(), [6, 20, 3, 0, 3, 5, 5]);
    }

    #[test]
    fn more_pods_come_in_steps_and_fewer_at_once() {
        let sizes = by_rates_on_the_model();
        let expected: [&[i64]; 6] = [&[4], &[4], &[4, 8, 16, 18], &[18, 30], &[30, 5], &[5, 2]];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn where_nobody_wants_any_it_starts_none() {
        assert_eq!(Autoscaler::within((1, 10)).look(0, 0, 1000), 0);
    }
}
