//! The calendar: daylight saving in both directions, windows over midnight, blackouts, cron form, and where a plan fits.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::api::windows::Windows;
use tidegate::decide::calendar::{By, Calendar, Fit, Short, Shut, calendar};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn of(windows: Value) -> Calendar {
    let windows: Windows = serde_json::from_value(windows).expect("windows");
    calendar(Some(&windows)).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn allow(window: Value) -> Calendar {
    of(json!({"allow": [window]}))
}

fn fit(calendar: &Calendar, now: &str, needed: Duration) -> Fit {
    calendar.fit(at(now), needed)
}

fn later(text: &str) -> Fit {
    Fit::Later { at: at(text), short: None }
}

/// When it is open first after a moment, and when it closes: found by asking, a minute at a time.
fn open_from_until(calendar: &Calendar, now: &str) -> (String, String) {
    let opens = match calendar.fit(at(now), Duration::ZERO) {
        Fit::Now => at(now),
        Fit::Later { at, .. } => at,
        Fit::Never { .. } => panic!("never open after {now}"),
    };
    let is_open = |moment: Timestamp| calendar.fit(moment, Duration::ZERO) == Fit::Now;
    let closes = (1..50 * 60).map(|minutes| opens + MINUTE * minutes).find(|moment| !is_open(*moment));
    (opens.to_string(), closes.expect("it closes within two days").to_string())
}

fn is_open(calendar: &Calendar, from: &str, until: &str) {
    let before = at(from) - HOUR;
    let found = open_from_until(calendar, &before.to_string());
    assert_eq!(found, (from.to_owned(), until.to_owned()));
}

#[test]
fn office_hours_are_those_of_the_zone_summer_and_winter() {
    let oslo = allow(
        json!({"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "16:00", "timeZone": "Europe/Oslo"}),
    );
    is_open(&oslo, "2026-03-27T08:00:00Z", "2026-03-27T15:00:00Z");
    // On 29 March 2026 the clocks are put forward, on 25 October back.
    is_open(&oslo, "2026-03-30T07:00:00Z", "2026-03-30T14:00:00Z");
    is_open(&oslo, "2026-10-23T07:00:00Z", "2026-10-23T14:00:00Z");
    is_open(&oslo, "2026-10-26T08:00:00Z", "2026-10-26T15:00:00Z");
    let new_york = allow(
        json!({"days": ["Fri", "Mon"], "from": "09:00", "to": "16:00", "timeZone": "America/New_York"}),
    );
    // 8 March and 1 November 2026.
    is_open(&new_york, "2026-03-06T14:00:00Z", "2026-03-06T21:00:00Z");
    is_open(&new_york, "2026-03-09T13:00:00Z", "2026-03-09T20:00:00Z");
    is_open(&new_york, "2026-10-30T13:00:00Z", "2026-10-30T20:00:00Z");
    is_open(&new_york, "2026-11-02T14:00:00Z", "2026-11-02T21:00:00Z");
}

#[test]
fn a_night_in_which_clocks_are_put_forward_is_an_hour_shorter_and_what_does_not_exist_begins_when_they_are() {
    let night = |from: &str, to: &str, zone: &str| {
        allow(json!({"days": ["Sun"], "from": from, "to": to, "timeZone": zone}))
    };
    is_open(&night("01:00", "05:00", "Europe/Oslo"), "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z");
    is_open(&night("02:30", "05:00", "Europe/Oslo"), "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z");
    is_open(&night("01:30", "02:30", "Europe/Oslo"), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z");
    is_open(&night("01:00", "05:00", "America/New_York"), "2026-03-08T06:00:00Z", "2026-03-08T09:00:00Z");
    is_open(&night("02:30", "05:00", "America/New_York"), "2026-03-08T07:00:00Z", "2026-03-08T09:00:00Z");
    // All of it is skipped: it opens a week later.
    let skipped = night("02:10", "02:50", "Europe/Oslo");
    is_open(&skipped, "2026-03-22T01:10:00Z", "2026-03-22T01:50:00Z");
    assert_eq!(fit(&skipped, "2026-03-23T00:00:00Z", MINUTE), later("2026-04-05T00:10:00Z"));
}

#[test]
fn a_night_in_which_clocks_are_put_back_is_an_hour_longer_and_what_comes_twice_counts_the_first_time() {
    let night = |from: &str, to: &str, zone: &str| {
        allow(json!({"days": ["Sun"], "from": from, "to": to, "timeZone": zone}))
    };
    is_open(&night("01:00", "05:00", "Europe/Oslo"), "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z");
    is_open(&night("02:30", "05:00", "Europe/Oslo"), "2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z");
    is_open(&night("01:00", "02:30", "Europe/Oslo"), "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z");
    is_open(&night("00:30", "05:00", "America/New_York"), "2026-11-01T04:30:00Z", "2026-11-01T10:00:00Z");
    is_open(&night("01:30", "05:00", "America/New_York"), "2026-11-01T05:30:00Z", "2026-11-01T10:00:00Z");
    // A plan of four and a half hours fits in this night and in no other.
    let oslo = night("01:00", "05:00", "Europe/Oslo");
    assert_eq!(fit(&oslo, "2026-10-01T00:00:00Z", 5 * HOUR), later("2026-10-24T23:00:00Z"));
}

#[test]
fn a_window_that_closes_before_it_opens_closes_the_next_day() {
    let night = allow(json!({"days": ["Fri"], "from": "22:00", "to": "06:00", "timeZone": "Europe/Oslo"}));
    is_open(&night, "2026-11-20T21:00:00Z", "2026-11-21T05:00:00Z");
    assert_eq!(fit(&night, "2026-11-21T04:00:00Z", HOUR), Fit::Now);
    assert_eq!(
        fit(&night, "2026-11-21T04:00:00Z", 2 * HOUR),
        Fit::Later {
            at: at("2026-11-27T21:00:00Z"),
            short: Some(Short { closes: at("2026-11-21T05:00:00Z"), missing: HOUR, by: None }),
        }
    );
    // Whole days follow each other without a break, and so do windows that touch.
    let weekend = allow(json!({"days": ["Sat", "Sun"]}));
    is_open(&weekend, "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z");
    let touching = of(json!({"allow": [
        {"days": ["Mon"], "from": "09:00", "to": "12:00"}, {"days": ["Mon"], "from": "12:00", "to": "16:00"},
        {"days": ["Mon"], "from": "15:00", "to": "17:00"},
    ]}));
    is_open(&touching, "2026-11-23T09:00:00Z", "2026-11-23T17:00:00Z");
}

#[test]
fn cron_form_opens_for_so_long() {
    let cron =
        |cron: &str, length: &str| allow(json!({"cron": cron, "for": length, "timeZone": "Europe/Oslo"}));
    let office = cron("0 9 * * Mon-Thu", "7h");
    is_open(&office, "2026-11-23T08:00:00Z", "2026-11-23T15:00:00Z");
    assert_eq!(fit(&office, "2026-11-19T15:00:00Z", HOUR), later("2026-11-23T08:00:00Z"));
    // Two hours are two hours, also when clocks are put forward meanwhile.
    is_open(&cron("30 1 * * Sun", "2h"), "2026-03-29T00:30:00Z", "2026-03-29T02:30:00Z");
    is_open(&cron("30 2 * * Sun", "2h"), "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z");
    // Openings that overlap are one.
    is_open(&cron("0 9,10,11 23 11 *", "90m"), "2026-11-23T08:00:00Z", "2026-11-23T11:30:00Z");
    // The first of a month, for ten days.
    assert_eq!(fit(&cron("0 0 1 * *", "240h"), "2026-11-05T00:00:00Z", 48 * HOUR), Fit::Now);
    assert_eq!(
        fit(&cron("0 0 1 * *", "240h"), "2026-11-20T00:00:00Z", 48 * HOUR),
        later("2026-11-30T23:00:00Z")
    );
}

#[test]
fn a_blackout_takes_whole_days_the_last_one_too_and_shortens_what_it_touches() {
    let windows = of(json!({
        "allow": [{"days": ["Fri", "Sat", "Mon"], "timeZone": "Europe/Oslo"}],
        "blackouts": [{"from": "2026-12-19", "to": "2027-01-03", "timeZone": "Europe/Oslo", "reason": "year end"}],
    }));
    let by = Some(By::Blackout("year end".into()));
    assert_eq!(
        fit(&windows, "2026-12-18T11:00:00Z", 13 * HOUR),
        Fit::Later {
            at: at("2027-01-03T23:00:00Z"),
            short: Some(Short { closes: at("2026-12-18T23:00:00Z"), missing: HOUR, by }),
        }
    );
    assert_eq!(fit(&windows, "2026-12-18T11:00:00Z", 12 * HOUR), Fit::Now);
    assert_eq!(fit(&windows, "2027-01-02T11:00:00Z", HOUR), later("2027-01-03T23:00:00Z"));
    let shut = windows.shut_at(at("2027-01-03T22:59:59Z")).expect("shut");
    assert_eq!((shut.until, &shut.by), (at("2027-01-03T23:00:00Z"), &By::Blackout("year end".into())));
    // Without windows everything else is open.
    let only = of(json!({"blackouts": [{"from": "2026-12-19", "to": "2026-12-19", "reason": "a day"}]}));
    assert_eq!(fit(&only, "2026-12-18T00:00:00Z", 24 * HOUR), Fit::Now);
    assert_eq!(fit(&only, "2026-12-19T00:00:00Z", 24 * HOUR), later("2026-12-20T00:00:00Z"));
}

#[test]
fn a_plan_that_fits_nowhere_is_told_from_a_window_that_never_opens() {
    let office = json!({"days": ["Mon", "Tue"], "from": "09:00", "to": "16:00"});
    assert_eq!(
        fit(&allow(office.clone()), "2026-11-23T10:00:00Z", 8 * HOUR),
        Fit::Never {
            longest: Some(7 * HOUR),
            short: Some(Short { closes: at("2026-11-23T16:00:00Z"), missing: 2 * HOUR, by: None }),
        }
    );
    assert_eq!(
        fit(&allow(json!({"cron": "0 9 30 2 *", "for": "7h"})), "2026-11-23T10:00:00Z", HOUR),
        Fit::Never { longest: None, short: None }
    );
    let shut = of(
        json!({"allow": [office], "blackouts": [{"from": "2026-01-01", "to": "2030-01-01", "reason": "sold"}]}),
    );
    assert_eq!(fit(&shut, "2026-11-23T10:00:00Z", HOUR), Fit::Never { longest: None, short: None });
}

#[test]
fn whatever_is_shut_besides_counts_as_a_blackout_does() {
    let freeze = |until| Shut { from: at("2026-11-23T12:00:00Z"), until, by: By::Freeze("f".into()) };
    let calendar = Calendar::always().shut_also([freeze(at("2026-11-24T00:00:00Z"))]);
    let short = |missing| {
        Some(Short { closes: at("2026-11-23T12:00:00Z"), missing, by: Some(By::Freeze("f".into())) })
    };
    assert_eq!(
        fit(&calendar, "2026-11-23T10:00:00Z", 3 * HOUR),
        Fit::Later { at: at("2026-11-24T00:00:00Z"), short: short(HOUR) }
    );
    assert_eq!(fit(&calendar, "2026-11-23T10:00:00Z", 2 * HOUR), Fit::Now);
    let endless = Calendar::always().shut_also([freeze(Timestamp::MAX)]);
    assert_eq!(
        fit(&endless, "2026-11-23T10:00:00Z", 3 * HOUR),
        Fit::Never { longest: Some(2 * HOUR), short: short(HOUR) }
    );
}

#[test]
fn the_zones_are_those_of_this_program_and_not_of_the_machine() {
    for zone in
        ["Europe/Oslo", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "Pacific/Apia"]
    {
        assert!(jiff::tz::TimeZoneDatabase::bundled().get(zone).is_ok(), "{zone}");
    }
}

#[test]
fn what_somebody_wrote_is_told_in_the_order_in_which_it_is_written_and_on_one_line() {
    let wrong = |windows: Value| {
        let windows: Windows = serde_json::from_value(windows).expect("windows");
        calendar(Some(&windows)).expect_err("it is no calendar").problem
    };
    let day = "2026\u{202e}-12\u{2028}or\u{200f}so";
    assert_eq!(
        wrong(json!({"blackouts": [{"from": day, "to": "2026-12-20", "reason": "x"}]})),
        "there is no day 2026-12 orso: write 2026-12-20"
    );
    assert_eq!(
        wrong(
            json!({"blackouts": [{"from": "2026-12-20", "to": "2026-12-20", "timeZone": "Eu\u{2066}rope\nOslo", "reason": "x"}]})
        ),
        "'Europe Oslo' is no time zone that is known here: write Europe/Oslo or UTC"
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
fn the_most_that_somebody_can_write_is_answered_soon() {
    let window = |place: u64| json!({"cron": "0,30 * * * *", "for": "1s", "timeZone": if place.is_multiple_of(2) { "Europe/Oslo" } else { "Pacific/Apia" }});
    let windows = of(json!({
        "allow": (0..8).map(window).collect::<Vec<_>>(),
        "blackouts": (0..32).map(|day| json!({"from": format!("2027-01-{:02}", day % 28 + 1), "to": "2027-02-01", "reason": "x"})).collect::<Vec<_>>(),
    }));
    let began = Instant::now();
    assert!(matches!(fit(&windows, "2026-11-23T10:00:00Z", HOUR), Fit::Never { longest: Some(_), .. }));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

fn window() -> impl Strategy<Value = Value> {
    let days = prop::sample::subsequence(vec!["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], 1..=7);
    let time = || (0..24u8, 0..60u8).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"));
    let zone = || {
        prop::sample::select(vec![
            "Europe/Oslo",
            "America/New_York",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "UTC",
        ])
    };
    let weekly = (days, time(), time(), zone())
        .prop_map(|(days, from, to, zone)| json!({"days": days, "from": from, "to": to, "timeZone": zone}));
    let cron = (0..60u8, 0..24u8, 0..8u8, 1..5000u32, zone()).prop_map(|(minute, hour, day, length, zone)| {
        json!({"cron": format!("{minute} {hour} * * {day}"), "for": format!("{length}m"), "timeZone": zone})
    });
    prop_oneof![weekly, cron]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Where it is said to fit it is open all through, and nowhere before.
    #[test]
    fn what_fits_is_open_all_through_and_is_the_first(
        windows in prop::collection::vec(window(), 1..4),
        seconds in 1_760_000_000i64..1_860_000_000,
        needed in 1u64..3000,
    ) {
        let calendar = of(json!({"allow": windows, "blackouts": [{"from": "2027-03-20", "to": "2027-04-02", "reason": "x"}]}));
        let now = Timestamp::from_second(seconds).unwrap();
        let needed = MINUTE * u32::try_from(needed).unwrap();
        let is_open = |at: Timestamp| calendar.fit(at, Duration::ZERO) == Fit::Now;
        let opens = match calendar.fit(now, needed) {
            Fit::Now => now,
            Fit::Later { at, short } => {
                prop_assert!(at > now);
                prop_assert_eq!(short.is_some(), is_open(now));
                if let Some(Short { closes, missing, .. }) = short {
                    prop_assert!(!is_open(closes) && is_open(closes - Duration::from_secs(1)));
                    let left = Duration::try_from(closes.duration_since(now)).unwrap();
                    prop_assert_eq!(left + missing, needed);
                }
                prop_assert!(!is_open(at - Duration::from_secs(1)), "it opens at {at}");
                at
            }
            Fit::Never { longest, .. } => {
                prop_assert!(longest.is_none_or(|longest| longest < needed));
                return Ok(());
            }
        };
        let parts = 40;
        for part in 0..parts {
            let moment = opens + needed * part / parts;
            prop_assert!(is_open(moment), "{moment}");
        }
    }
}
