//! Windows, and what keeps them shut, on the time line: what is open from when until when, and where a length of time fits.
//!
//! Local times are turned into moments here, with the zones' rules built into this program: a process in an empty image knows them,
//! and the same snapshot gives the same answer on every machine. It knows nothing of runs: see [`super::gate`].

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::cron::Cron;
use super::plan::PlanError;
use crate::api::text::ZoneName;
use crate::api::windows::{Blackout, Window, Windows};
use crate::letters::on_one_line;

/// Days ahead in which openings are looked for: a year and a month.
pub const HORIZON_DAYS: i16 = 400;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Looks at the time line that one answer may take: two windows a day, of which none is long enough, for all these days.
const MOST_LOOKS: u32 = 2400;
/// The longest that a window in cron form may be open.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

/// The zones that this program knows, whatever the machine has.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Windows and blackouts, understood.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// None: always open.
    windows: Vec<Opening>,
    shut: Vec<Shut>,
}

/// A stretch of time in which nothing is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    pub from: Timestamp,
    /// Not included.
    pub until: Timestamp,
    pub by: By,
}

/// Why it is shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A blackout of the Release, with its reason.
    Blackout(String),
    /// A Freeze of this name.
    Freeze(String),
}

/// Where a length of time fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// From now on.
    Now,
    /// From then on. `short`: it is open now, but not for long enough.
    Later { at: Timestamp, short: Option<Short> },
    /// Nowhere in the next 400 days. `longest`: the longest stretch there is; `None`: there is none at all.
    Never { longest: Option<Duration>, short: Option<Short> },
}

/// What is open now, and not for long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    pub closes: Timestamp,
    /// By so much it is too short.
    pub missing: Duration,
    /// `None`: the window ends.
    pub by: Option<By>,
}

/// Times that come again and again.
#[derive(Clone, Debug)]
enum Opening {
    Weekly { days: Vec<Weekday>, from: Time, to: Time, zone: TimeZone },
    Cron { cron: Cron, length: Duration, zone: TimeZone },
}

/// Understands what a Release says of windows.
///
/// # Errors
/// Which field is wrong, and what to write.
pub fn calendar(windows: Option<&Windows>) -> Result<Calendar, PlanError> {
    let Some(Windows { allow, blackouts, low_traffic: _ }) = windows else {
        return Ok(Calendar { windows: Vec::new(), shut: Vec::new() });
    };
    Ok(Calendar {
        windows: allow.iter().enumerate().map(opening).collect::<Result<_, _>>()?,
        shut: blackouts.iter().enumerate().map(blackout).collect::<Result<_, _>>()?,
    })
}

fn opening((index, window): (usize, &Window)) -> Result<Opening, PlanError> {
    let wrong = |field: &str, problem: String| PlanError {
        field: format!("spec.windows.allow[{index}]{field}"),
        problem,
    };
    let Window { days, from, to, cron, r#for, time_zone } = window;
    let zone = zone(time_zone.as_ref()).map_err(|problem| wrong(".timeZone", problem))?;
    match (days.as_slice(), cron, r#for) {
        ([_, ..], None, None) => {
            let time = |field: &str, text: &Option<crate::api::text::TimeOfDay>| {
                let parsed = text.as_ref().map_or(Some(Time::midnight()), |text| text.parse());
                parsed.ok_or_else(|| wrong(field, "write \"09:00\" or \"16:30\"".into()))
            };
            let (from, to) = (time(".from", from)?, time(".to", to)?);
            Ok(Opening::Weekly { days: days.iter().copied().map(Weekday::from).collect(), from, to, zone })
        }
        ([], Some(cron), Some(length)) if from.is_none() && to.is_none() => {
            let cron = Cron::parse(&cron.0).map_err(|problem| wrong(".cron", problem))?;
            let length = length.parse().filter(|length| !length.is_zero() && *length <= LONGEST);
            let length =
                length.ok_or_else(|| wrong(".for", "write 7h or 90m, at most 744h (31 days)".into()))?;
            Ok(Opening::Cron { cron, length, zone })
        }
        _ => Err(wrong("", "needs exactly one of: days (with from and to), cron (with for)".into())),
    }
}

fn blackout((index, blackout): (usize, &Blackout)) -> Result<Shut, PlanError> {
    let wrong = |field: &str, problem: String| PlanError {
        field: format!("spec.windows.blackouts[{index}]{field}"),
        problem,
    };
    let Blackout { from, to, time_zone, reason } = blackout;
    let zone = zone(time_zone.as_ref()).map_err(|problem| wrong(".timeZone", problem))?;
    let day = |field: &str, text: &crate::api::text::Date| {
        text.parse()
            .ok_or_else(|| wrong(field, format!("there is no day {}: write 2026-12-20", shown(&text.0))))
    };
    let (first, last) = (day(".from", from)?, day(".to", to)?);
    if last < first {
        return Err(wrong(".to", format!("{last} is before from {first}")));
    }
    let begins = |day: Date| moment(&zone, day.to_datetime(Time::midnight()));
    let until = last.tomorrow().map_or(Timestamp::MAX, begins);
    Ok(Shut { from: begins(first), until, by: By::Blackout(reason.clone()) })
}

fn zone(name: Option<&ZoneName>) -> Result<TimeZone, String> {
    let Some(ZoneName(name)) = name else { return Ok(TimeZone::UTC) };
    let unknown =
        || format!("'{}' is no time zone that is known here: write Europe/Oslo or UTC", shown(name));
    if name.len() > 64 { Err(unknown()) } else { ZONES.get(name).map_err(|_| unknown()) }
}

/// What somebody wrote, as much of it as fits into a sentence.
fn shown(text: &str) -> String {
    on_one_line(text).take(64).collect()
}

/// The first moment at which the clocks of a zone show so much or more. Where they are put forward past it, that is when they are put
/// forward; where they show it twice, the first time.
fn moment(zone: &TimeZone, wall: DateTime) -> Timestamp {
    let moment = match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
        AmbiguousOffset::Gap { after, .. } => after
            .to_timestamp(wall)
            .ok()
            .and_then(|just_before| zone.following(just_before).next().map(|change| change.timestamp())),
    };
    moment.unwrap_or(Timestamp::MAX)
}

/// So much later, and no later than there is time.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn between(from: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

impl Calendar {
    /// Open at every time.
    pub fn always() -> Self {
        Self { windows: Vec::new(), shut: Vec::new() }
    }

    /// The same, shut at these times too.
    pub fn shut_also(mut self, shut: impl IntoIterator<Item = Shut>) -> Self {
        self.shut.extend(shut);
        self
    }

    /// What shuts it at a moment.
    pub fn shut_at(&self, at: Timestamp) -> Option<&Shut> {
        self.shut.iter().filter(|shut| shut.from <= at && at < shut.until).max_by_key(|shut| shut.until)
    }

    /// Where so long a time fits, from now on.
    pub fn fit(&self, now: Timestamp, needed: Duration) -> Fit {
        let last = later(now, DAY * HORIZON_DAYS.unsigned_abs().into());
        let mut looks = MOST_LOOKS;
        let (mut short, mut longest) = (None, None);
        let mut from = now;
        while let Some(stretch) = self.stretch(from, needed, last, &mut looks) {
            let length = between(stretch.from, stretch.until);
            if length >= needed {
                return if stretch.from == now { Fit::Now } else { Fit::Later { at: stretch.from, short } };
            }
            if stretch.from == now {
                short = Some(Short { closes: stretch.until, missing: needed - length, by: stretch.by });
            }
            longest = longest.max(Some(length));
            from = stretch.until;
        }
        Fit::Never { longest, short }
    }

    /// The first stretch that is open at this moment or later. It may end later than is said, when it is as long as `enough`.
    fn stretch(&self, at: Timestamp, enough: Duration, last: Timestamp, looks: &mut u32) -> Option<Stretch> {
        let mut from = at;
        let mut until = loop {
            *looks = looks.checked_sub(1)?;
            if from > last {
                return None;
            }
            match (self.shut_at(from), self.open_until(from)) {
                (Some(shut), _) => from = shut.until,
                (None, Some(until)) => break until,
                (None, None) => from = self.next_opening(from, last)?,
            }
        };
        let shuts = self.shut.iter().filter(|shut| shut.from > from && shut.from < shut.until);
        let shuts = shuts.min_by_key(|shut| shut.from);
        loop {
            if let Some(shut) = shuts.filter(|shut| shut.from <= until) {
                return Some(Stretch { from, until: shut.from, by: Some(shut.by.clone()) });
            }
            *looks = looks.checked_sub(1)?;
            let is_enough = between(from, until) >= enough || until > last;
            match self.open_until(until).filter(|further| *further > until && !is_enough) {
                Some(further) => until = further,
                None => return Some(Stretch { from, until, by: None }),
            }
        }
    }

    /// Until when a window is open that is open at this moment; another may open before that.
    fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        if self.windows.is_empty() {
            return Some(Timestamp::MAX).filter(|until| at < *until);
        }
        self.windows.iter().filter_map(|window| window.open_until(at)).max()
    }

    /// When the next one opens after this moment.
    fn next_opening(&self, after: Timestamp, last: Timestamp) -> Option<Timestamp> {
        self.windows.iter().filter_map(|window| window.next_opening(after, last)).min()
    }
}

/// A stretch that is open.
struct Stretch {
    from: Timestamp,
    until: Timestamp,
    by: Option<By>,
}

impl Opening {
    fn zone(&self) -> &TimeZone {
        match self {
            Self::Weekly { zone, .. } | Self::Cron { zone, .. } => zone,
        }
    }

    /// Until when it is open, if it is open at this moment.
    fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone().to_datetime(at).date();
        // Tomorrow may have begun once already, where clocks were put back past midnight.
        let mut day = today.tomorrow().unwrap_or(today);
        let days_it_reaches = match self {
            Self::Weekly { .. } => 1,
            Self::Cron { length, .. } => length.as_secs() / DAY.as_secs() + 1,
        };
        for _ in 0..days_it_reaches + 2 {
            match self {
                Self::Weekly { days, from, to, zone } => {
                    let open = weekly(days, *from, *to, zone, day);
                    if let Some((_, closes)) = open.filter(|(opens, closes)| *opens <= at && at < *closes) {
                        return Some(closes);
                    }
                }
                Self::Cron { cron, length, zone } => {
                    let minutes = cron.minutes_of(day);
                    let begun = minutes.partition_point(|minute| on(day, *minute, zone) <= at);
                    if let Some(last) = begun.checked_sub(1).and_then(|place| minutes.get(place)) {
                        // Those before it close before it.
                        return Some(later(on(day, *last, zone), *length)).filter(|closes| at < *closes);
                    }
                }
            }
            day = day.yesterday().ok()?;
        }
        None
    }

    /// When it opens next, after this moment and not after the last one.
    fn next_opening(&self, after: Timestamp, last: Timestamp) -> Option<Timestamp> {
        let today = self.zone().to_datetime(after).date();
        let mut day = today.yesterday().unwrap_or(today);
        for _ in 0..HORIZON_DAYS + 3 {
            let opens = match self {
                Self::Weekly { days, from, to, zone } => {
                    weekly(days, *from, *to, zone, day).map(|(opens, _)| opens).filter(|opens| *opens > after)
                }
                Self::Cron { cron, length: _, zone } => {
                    let minutes = cron.minutes_of(day);
                    let begun = minutes.partition_point(|minute| on(day, *minute, zone) <= after);
                    minutes.get(begun).map(|minute| on(day, *minute, zone))
                }
            };
            if opens.is_some() {
                return opens.filter(|opens| *opens <= last);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }
}

/// When a window of days is open that opens on this one. Clocks that are put forward past all of it leave nothing of it.
fn weekly(
    days: &[Weekday],
    from: Time,
    to: Time,
    zone: &TimeZone,
    day: Date,
) -> Option<(Timestamp, Timestamp)> {
    if !days.contains(&day.weekday()) {
        return None;
    }
    let closes_on = if to <= from { day.tomorrow().ok()? } else { day };
    let span = (moment(zone, day.to_datetime(from)), moment(zone, closes_on.to_datetime(to)));
    Some(span).filter(|(opens, closes)| opens < closes)
}

/// The moment so many minutes after midnight by the clock.
fn on(day: Date, minute: i16, zone: &TimeZone) -> Timestamp {
    let part = |number: i16| i8::try_from(number).unwrap_or(0);
    moment(zone, day.at(part(minute / 60), part(minute % 60), 0, 0))
}
