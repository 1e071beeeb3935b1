//! How long ago something was, by a clock that may have been set back since, or be another leader's that is behind. Of what is yet to come by it nobody can
//! tell: who waited for so long has waited.

use std::time::Duration;

use jiff::Timestamp;

use super::judge::is_ahead;

/// When so long will have passed since then; `None`: it has.
pub fn yet_to_come(since: Timestamp, long: Duration, now: Timestamp) -> Option<Timestamp> {
    let end = since.saturating_add(long).unwrap_or(now);
    let can_be_told = !is_ahead(Some(since.as_second()), now.as_second());
    (can_be_told && end > now).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_moment_that_a_clock_which_was_set_back_makes_far_away() {
        let (now, minute) =
            (Timestamp::from_second(1_800_000_000).expect("a moment"), Duration::from_secs(60));
        let after = |since: i64| {
            let since = Timestamp::from_second(1_800_000_000 + since).expect("a moment");
            yet_to_come(since, minute, now).map(|end| end.as_second() - 1_800_000_000)
        };
        for (since, wanted) in [
            (-7200, None),
            (-60, None),
            (-59, Some(1)),
            (0, Some(60)),
            // As far as the clocks of two leaders are apart.
            (2, Some(62)),
            (3, None),
            (7200, None),
        ] {
            assert_eq!(after(since), wanted, "{since}");
        }
    }
}
