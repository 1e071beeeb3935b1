//! How long a purchase takes and whether it fails.
//!
//! Chance is an argument's business: the dice are an xorshift, so that a test can roll the same ones again. Nothing here
//! waits or reads a clock.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::settings::{Invalid, Settings, parse_milliseconds, parse_share};

/// The faults in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    pub latency: Duration,
    /// The share of purchases that fail, 0 to 1.
    pub error_rate: f64,
    /// Counted from the start of the process.
    pub errors_after: Duration,
}

/// What is going to happen to one purchase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    pub takes: Duration,
    pub fails: bool,
}

impl Faults {
    pub fn at_start(settings: &Settings) -> Self {
        Self {
            latency: settings.latency,
            error_rate: settings.error_rate,
            errors_after: settings.errors_after,
        }
    }

    /// Rolls the dice for a purchase that is asked for `age` after the start. It takes the latency, give or take a fifth.
    pub fn fate(&self, age: Duration, dice: &mut Dice) -> Fate {
        let takes = self.latency.mul_f64(0.8 + 0.4 * dice.roll());
        let fails = age >= self.errors_after && dice.roll() < self.error_rate;
        Fate { takes, fails }
    }

    /// These faults with what a query like `error_rate=0.2&latency_ms=300` changes. An error rate that is told at
    /// runtime holds from now on, whatever `ERRORS_AFTER` said.
    pub fn told(self, query: &str) -> Result<Self, Invalid> {
        query.split('&').try_fold(self, |faults, pair| match pair.split_once('=') {
            Some((name @ "error_rate", value)) => {
                Ok(Self { error_rate: parse_share(name, value)?, errors_after: Duration::ZERO, ..faults })
            }
            Some((name @ "latency_ms", value)) => {
                Ok(Self { latency: parse_milliseconds(name, value)?, ..faults })
            }
            _ => Err(Invalid {
                name: "the query".to_owned(),
                value: query.to_owned(),
                write: "error_rate=0.2, latency_ms=300 or both with an & between",
            }),
        })
    }
}

/// Marsaglia's xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators, scrambled"):
/// good enough to fail one purchase in twenty, and no more than that.
#[derive(Clone, Debug)]
pub struct Dice {
    /// Never 0, which xorshift does not leave.
    state: u64,
}

impl Dice {
    /// Dice that roll differently in each process.
    pub fn new() -> Self {
        Self::from_seed(RandomState::new().build_hasher().finish())
    }

    fn from_seed(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// At least 0, less than 1.
    pub fn roll(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        // 53 bits are what an f64 holds exactly.
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: Faults =
        Faults { latency: Duration::from_millis(100), error_rate: 0.0, errors_after: Duration::ZERO };

    fn failed_of_ten_thousand(faults: Faults, age: Duration) -> usize {
        let mut dice = Dice::from_seed(7);
        (0..10_000).filter(|_| faults.fate(age, &mut dice).fails).count()
    }

    #[test]
    fn the_error_rate_is_the_share_that_fails() {
        let share = |error_rate| failed_of_ten_thousand(Faults { error_rate, ..HEALTHY }, Duration::ZERO);
        assert_eq!(share(0.0), 0);
        assert!((400..600).contains(&share(0.05)), "{}", share(0.05));
        assert_eq!(share(1.0), 10_000);
    }

    #[test]
    fn nothing_fails_before_errors_after() {
        let faults = Faults { error_rate: 1.0, errors_after: Duration::from_secs(5), ..HEALTHY };
        assert_eq!(failed_of_ten_thousand(faults, Duration::from_millis(4_999)), 0);
        assert_eq!(failed_of_ten_thousand(faults, Duration::from_secs(5)), 10_000);
    }

    #[test]
    fn a_purchase_takes_the_latency_give_or_take_a_fifth() {
        let mut dice = Dice::from_seed(0);
        let takes: Vec<_> =
            (0..10_000).map(|_| HEALTHY.fate(Duration::ZERO, &mut dice).takes.as_millis()).collect();
        assert_eq!((takes.iter().min(), takes.iter().max()), (Some(&80), Some(&119)));
    }

    #[test]
    fn the_longest_latency_there_is_does_not_overflow() {
        let latency = parse_milliseconds("LATENCY_MS", &u32::MAX.to_string()).unwrap();
        assert!(Faults { latency, ..HEALTHY }.fate(Duration::MAX, &mut Dice::new()).takes > latency / 2);
    }

    #[test]
    fn what_is_told_changes_and_what_is_not_stays() {
        let waiting = Faults { errors_after: Duration::from_secs(60), ..HEALTHY };
        let slow = waiting.told("latency_ms=300").unwrap();
        assert_eq!(slow, Faults { latency: Duration::from_millis(300), ..waiting });
        let failing = slow.told("error_rate=0.2").unwrap();
        assert_eq!(failing, Faults { error_rate: 0.2, errors_after: Duration::ZERO, ..slow });
        assert_eq!(failing.told("latency_ms=100&error_rate=0"), Ok(HEALTHY));
    }

    #[test]
    fn a_query_that_makes_no_sense_changes_nothing_and_says_so() {
        for query in ["", "error_rate", "rate=1", "error_rate=0.2&", "error_rate=1.1", "latency_ms=fast"] {
            assert!(HEALTHY.told(query).is_err(), "{query}");
        }
    }
}
