//! Another machine's clock, told from its answers.

use std::time::Duration;

use jiff::Timestamp;

/// Seconds that a server's clock may differ from ours: a machine that takes its local time for UTC is off by half a day or more.
const MOST_AHEAD: i64 = 26 * 3600;

/// The moment a question is about, and how the server's clock stands to ours.
///
/// Samples are stamped by Prometheus' clock, slots by ours. A server that is half a minute behind would seem to have nothing new, and
/// one that is ahead would pass samples of a container's former process off as the new one's. So the `Date` of its answers is
/// compared with ours, and questions are about *its* present.
#[derive(Debug, Clone, Copy)]
pub(in crate::observe::measure) struct Clock {
    /// By our clock, unix seconds.
    now: i64,
    /// How many seconds the server's is ahead of ours.
    pub ahead: i64,
    /// Whether `now` is the present, so that the two can be compared.
    compares: bool,
    /// How much later than `now` a question may be asked.
    later: Duration,
}

impl Clock {
    /// The present, by our clock.
    pub fn present(now: i64) -> Self {
        Clock { now, ahead: 0, compares: true, later: Duration::ZERO }
    }

    /// Some moment of the past, by the server's clock.
    pub fn past(at: i64) -> Self {
        Clock { now: at, ahead: 0, compares: false, later: Duration::ZERO }
    }

    /// The moment by the server's clock, unix seconds.
    pub fn asked_about(&self) -> i64 {
        self.now.saturating_add(self.ahead)
    }

    /// From now on questions are asked up to so much later than the moment they are about.
    pub fn asks_later_by(&mut self, later: Duration) {
        self.later = later;
    }

    /// What the answer says of the server's clock. A difference that the answer's own duration may explain, or how late it was asked for, is none, and
    /// one of more than [`MOST_AHEAD`] is no clock to go by. Whether there is something new to it.
    pub fn compare(&mut self, answered: Option<Timestamp>, deadline: Duration) -> bool {
        let Some(answered) = answered.filter(|_| self.compares) else { return false };
        let ahead = answered.as_second() - self.now;
        let tolerance = i64::try_from((deadline + self.later).as_secs()).unwrap_or(MOST_AHEAD);
        let known = if (tolerance + 1..=MOST_AHEAD).contains(&ahead.abs()) { ahead } else { 0 };
        let is_news = (known - self.ahead).abs() > tolerance;
        if is_news {
            self.ahead = known;
        }
        is_news
    }
}

/// What the server's clock showed when it answered. An answer out of a cache (it has an `Age`) shows another moment.
pub fn shown_by(headers: &reqwest::header::HeaderMap) -> Option<Timestamp> {
    let date = headers.get("date").filter(|_| !headers.contains_key("age"))?;
    Some(jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok()?.timestamp())
}
