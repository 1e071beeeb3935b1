//! A HorizontalPodAutoscaler of the first Deployment, by the rules and defaults of the real one: every 15 s it wants as many pods as what comes
//! to the Service takes, each of which has what it is used to. It starts pods at once, and takes none that it has wanted within five minutes.

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
    fn where_nobody_wants_any_it_starts_none() {
        assert_eq!(Autoscaler::within((1, 10)).look(0, 0, 1000), 0);
    }
}
