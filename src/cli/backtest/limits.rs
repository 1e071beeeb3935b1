//! Limits as they are, and more generous ones: of what counts requests, and of other numbers.

use crate::decide::judge::{Criterion, Measure, OnLimit};
use crate::decide::values::{self, Bound, Kind};
use crate::decide::{duration, percent};

/// How many times its limit each criterion is replayed with.
pub const FACTORS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, 5.0];

/// A criterion that can be replayed, by what both kinds have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Limited {
    /// It counts requests.
    Counted(Criterion),
    /// It is any other number.
    Number(values::Criterion),
}

/// All of a Release: what counts requests first.
pub fn all(counted: &[Criterion], numbers: &[values::Criterion]) -> Vec<Limited> {
    let counted = counted.iter().cloned().map(Limited::Counted);
    counted.chain(numbers.iter().cloned().map(Limited::Number)).collect()
}

impl Limited {
    /// As its author calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Counted(criterion) => &criterion.name,
            Self::Number(criterion) => &criterion.name,
        }
    }

    /// Whether a breach goes back.
    pub fn undoes(&self) -> bool {
        let (on_limit, shadow) = match self {
            Self::Counted(criterion) => (criterion.on_limit, criterion.shadow),
            Self::Number(criterion) => (criterion.on_limit, criterion.shadow),
        };
        !shadow && on_limit == OnLimit::Undo
    }

    /// The criterion with its limit so many times as generous; `None`: no such limit can be written.
    pub fn scaled(&self, factor: f64) -> Option<Self> {
        Some(match self {
            Self::Counted(criterion) => Self::Counted(of_requests(criterion, factor)?),
            Self::Number(criterion) => Self::Number(of_number(criterion, factor)?),
        })
    }

    /// The limit as it stands in a Release.
    pub fn limit(&self) -> String {
        match self {
            Self::Number(criterion) => criterion.kind.show_bound(criterion.limit),
            Self::Counted(criterion) => match criterion.measure {
                Measure::ErrorRate { limit, .. }
                | Measure::ErrorRateOfStable { limit, .. }
                | Measure::LatencyOfStable { limit, .. } => percent(limit),
                Measure::Latency { limit, .. } => duration(limit),
            },
        }
    }

    /// The same for people who do not have the Release before them.
    pub fn described(&self) -> String {
        let limit = self.limit();
        let Self::Counted(criterion) = self else { return limit };
        match criterion.measure {
            Measure::ErrorRate { .. } => limit,
            Measure::Latency { quantile, .. } => {
                format!("p{} < {limit}", percent(quantile).trim_end_matches('%'))
            }
            Measure::ErrorRateOfStable { .. } => format!("stable +{limit}"),
            Measure::LatencyOfStable { quantile, .. } => {
                format!("p{} stable +{limit}", percent(quantile).trim_end_matches('%'))
            }
        }
    }
}

fn of_requests(criterion: &Criterion, factor: f64) -> Option<Criterion> {
    let mut scaled = criterion.clone();
    match &mut scaled.measure {
        Measure::ErrorRate { limit, .. } => {
            *limit *= factor;
            if *limit >= 1.0 {
                return None;
            }
        }
        Measure::Latency { limit, .. }
        | Measure::ErrorRateOfStable { limit, .. }
        | Measure::LatencyOfStable { limit, .. } => *limit *= factor,
    }
    Some(scaled)
}

/// More of a number that must not be above something, less of one that must not be below. So many times zero is zero, and of a negative
/// number nobody can say what is more generous.
fn of_number(criterion: &values::Criterion, factor: f64) -> Option<values::Criterion> {
    let limit = criterion.limit;
    let number = match limit.is_upward() {
        _ if factor == 1.0 => limit.number,
        _ if limit.number <= 0.0 => return None,
        true if criterion.kind == Kind::Restarts => (limit.number * factor).ceil(),
        true => limit.number * factor,
        false => limit.number / factor,
    };
    Some(values::Criterion { limit: Bound { number, ..limit }, ..criterion.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::criterion::{NoData, OnUnknown};

    fn number(comparison: &str, number: f64) -> Limited {
        Limited::Number(values::Criterion {
            name: "queue".to_owned(),
            place: 0,
            kind: Kind::Promql { query: "queue".to_owned(), by: None },
            limit: Bound::new(comparison, number).unwrap(),
            target: None,
            held_for: Duration::from_secs(15),
            no_data: NoData::Unknown,
            on_limit: OnLimit::Undo,
            on_unknown: OnUnknown::Hold,
            shadow: false,
        })
    }

    #[test]
    fn a_more_generous_limit_of_a_number_is_further_away_on_the_side_it_guards() {
        let scaled = |limited: Limited| limited.scaled(2.0).map(|scaled| scaled.limit());
        assert_eq!(scaled(number(">", 100.0)), Some("value > 200".to_owned()));
        assert_eq!(scaled(number("<=", 0.9)), Some("value <= 0.45".to_owned()));
        for none in [number(">", 0.0), number(">=", -3.0), number("<", -3.0)] {
            assert_eq!(scaled(none.clone()), None, "{}", none.limit());
            assert_eq!(none.scaled(1.0), Some(none));
        }
    }
}
