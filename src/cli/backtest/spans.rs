//! Stretches of time as people write them, and what the names of pods tell.

use std::str::FromStr;

use jiff::Timestamp;

use crate::api::text::Span;

/// From when to when, in unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The first second.
    pub from: i64,
    /// The first second after it.
    pub to: i64,
}

impl When {
    /// Whether the two have a second in common.
    pub fn overlaps(self, other: When) -> bool {
        self.from < other.to && other.from < self.to
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write FROM/TO, such as 2026-11-20T09:00:00Z/2026-11-20T09:30:00Z or 2026-11-20T09:00:00Z/30m"
                .to_owned()
        };
        let (from, to) = text.split_once('/').ok_or_else(wrong)?;
        let from = moment(from).map_err(|_| wrong())?;
        let to = match Span(to.to_owned()).parse() {
            Some(length) => from + i64::try_from(length.as_secs()).unwrap_or(0),
            None => moment(to).map_err(|_| wrong())?,
        };
        if to <= from {
            return Err("it ends before it begins".to_owned());
        }
        Ok(When { from, to })
    }
}

/// A moment in unix seconds.
///
/// # Errors
/// Says what to write.
pub fn moment(text: &str) -> Result<i64, String> {
    let at: Timestamp = text.trim().parse().map_err(|_| "write 2026-11-20T09:00:00Z".to_owned())?;
    Ok(at.as_second())
}

/// A moment of the past, to the second.
pub fn shown(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.strftime("%F %TZ").to_string())
}

/// Letters that Kubernetes makes names of.
const LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The ReplicaSet's part of a pod's name, when it is a Deployment's: `checkout-59c8fd7b4d-x2x4z` is of `checkout-59c8fd7b4d`.
pub fn revision_of(pod: &str) -> Option<&str> {
    let made = |text: &str| !text.is_empty() && text.chars().all(|letter| LETTERS.contains(letter));
    let (set, own) = pod.rsplit_once('-')?;
    let (_, hash) = set.rsplit_once('-')?;
    (own.len() == 5 && made(own) && hash.len() <= 10 && made(hash)).then_some(set)
}

/// A pattern for the names of a Deployment's pods.
pub fn pods_of(deployment: &str) -> String {
    format!("{}-[{LETTERS}]{{1,10}}-[{LETTERS}]{{5}}", deployment.replace('.', "[.]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_of_time_is_two_moments_or_one_and_a_length() {
        let nine = "2026-11-20T09:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let half_past = When { from: nine, to: nine + 1800 };
        assert_eq!("2026-11-20T09:00:00Z/2026-11-20T09:30:00Z".parse(), Ok(half_past));
        assert_eq!("2026-11-20T10:00:00+01:00/30m".parse(), Ok(half_past));
        for wrong in ["", "2026-11-20T09:00:00Z", "yesterday/1h", "2026-11-20T09:00:00Z/2026-11-20T08:00:00Z"]
        {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_replicaset_is_in_the_name_of_a_deployments_pod() {
        assert_eq!(revision_of("check-out-59c8fd7b4d-x2x4z"), Some("check-out-59c8fd7b4d"));
        for other in ["checkout-0", "checkout", "redis-master-0", "a-b-c"] {
            assert_eq!(revision_of(other), None, "{other}");
        }
    }
}
