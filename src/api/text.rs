//! Scalars written as text. Each is a newtype, so that length, rule, message and meaning are said once.
//!
//! The API server refuses what does not fit, with the sentence given here; `parse` still returns an `Option`, because an object
//! may have been stored under an older rule.

use std::borrow::Cow;
use std::time::Duration;

use jiff::civil;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $message:literal) => {
        text!($(#[$doc])* $name, 64, $rule, $message);
    };
    ($(#[$doc:meta])* $name:ident, $longest:literal, $rule:literal, $message:literal) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "maxLength": $longest,
                    "x-kubernetes-validations": [{
                        "rule": $rule,
                        "messageExpression": concat!("\"'\" + self + \"' ", $message, "\""),
                        "message": $message,
                    }],
                })
            }
        }
    };
}

text!(
    /// A length of time: 90s, 15m, 1h30m, 48h.
    Span,
    "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && self != ''",
    "is not a length of time: write 90s, 15m, 1h30m or 48h"
);
text!(
    /// A latency: 250us, 500ms, 1.5s.
    Latency,
    "self.matches('^[0-9]{1,6}([.][0-9]{1,3})?(us|ms|s)$')",
    "is not a latency: write 500ms or 1.5s"
);
text!(
    /// A share in percent: 5%, 0.1%.
    Percent,
    "self.matches('^(100|[0-9]{1,2}([.][0-9]{1,3})?)%$')",
    "is not a percentage from 0% to 100%: write 0.1% or 5%"
);

text!(
    /// A share in percent, or how much more than something else: 5%, 0.1%, 150%.
    Percentage,
    "self.matches('^[0-9]{1,4}([.][0-9]{1,3})?%$')",
    "is not a percentage: write 0.1%, 5% or 150%"
);
text!(
    /// A latency, or how much more than stable's: 500ms, 1.5s, 50%.
    LatencyLimit,
    "self.matches('^[0-9]{1,6}([.][0-9]{1,3})?(us|ms|s)$') || self.matches('^[0-9]{1,4}([.][0-9]{1,3})?%$')",
    "is neither a latency nor a percentage: write 500ms or 1.5s, or 50% with relativeTo: stable"
);

text!(
    /// A comparison of what was measured with a number: value > 0.8, value <= -3, value > 8e8.
    Condition,
    "self.matches('^value (>|>=|<|<=) -?[0-9]{1,15}([.][0-9]{1,9})?(e[+-]?[0-9]{1,2})?$')",
    "is not a comparison: write value > 0.8, with >, >=, < or <=, and blanks around it"
);

text!(
    /// The value of a header.
    HeaderText,
    1024,
    "self.matches('^[ -~]*$')",
    "is not a header's value: write printable ASCII"
);

text!(
    /// A time of day: 09:00, 16:30.
    TimeOfDay,
    "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
    "is not a time of day: write 09:00 or 16:30, in quotes"
);
text!(
    /// A day: 2026-12-20.
    Date,
    "self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$')",
    "is not a day: write 2026-12-20, in quotes"
);
text!(
    /// A time zone of the IANA database: Europe/Oslo, UTC.
    ZoneName,
    "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')",
    "is not a time zone: write Europe/Oslo, America/New_York or UTC"
);
text!(
    /// Moments that come again, in cron form: 0 9 * * Mon-Thu.
    CronForm,
    128,
    "self.matches('^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$')",
    "is not in cron form: write five fields with a blank between them, as in 0 9 * * Mon-Thu (minute, hour, day of the month, month, day of the week)"
);

/// Whether this can be the name of an object: one that cannot might make another request of ours than the one that was meant.
///
/// ```
/// use tidegate::api::text::is_object_name;
/// assert!(is_object_name("prometheus-token.v2"));
/// assert!(!is_object_name("../../../other/secrets/token") && !is_object_name("token?watch=1"));
/// ```
pub fn is_object_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && text.bytes().all(fits)
}

impl Condition {
    /// The comparison and the number, or `None` when the text is not a condition.
    ///
    /// ```
    /// use tidegate::api::text::Condition;
    /// assert_eq!(Condition("value >= 8e8".into()).parse(), Some((">=", 8e8)));
    /// assert_eq!(Condition("value is large".into()).parse(), None);
    /// ```
    pub fn parse(&self) -> Option<(&str, f64)> {
        let (comparison, number) = self.0.strip_prefix("value ")?.split_once(' ')?;
        let is_number = number.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        let number: f64 = number.parse().ok().filter(|_| is_number)?;
        ([">", ">=", "<", "<="].contains(&comparison) && number.is_finite()).then_some((comparison, number))
    }
}

impl TimeOfDay {
    /// The time, or `None` when the text is not one.
    ///
    /// ```
    /// use tidegate::api::text::TimeOfDay;
    /// assert_eq!(TimeOfDay("16:30".into()).parse(), Some(jiff::civil::time(16, 30, 0, 0)));
    /// assert_eq!(TimeOfDay("9:00".into()).parse(), None);
    /// ```
    pub fn parse(&self) -> Option<civil::Time> {
        let (hour, minute) = self.0.split_once(':')?;
        let two = |text: &str| {
            let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            fits.then(|| text.parse::<i8>().ok()).flatten()
        };
        civil::Time::new(two(hour)?, two(minute)?, 0, 0).ok()
    }
}

impl Date {
    /// The day, or `None` when there is none such.
    ///
    /// ```
    /// use tidegate::api::text::Date;
    /// assert_eq!(Date("2028-02-29".into()).parse(), Some(jiff::civil::date(2028, 2, 29)));
    /// assert_eq!(Date("2026-02-29".into()).parse(), None);
    /// ```
    pub fn parse(&self) -> Option<civil::Date> {
        let fits = self.0.len() == 10 && self.0.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        fits.then(|| self.0.parse().ok()).flatten()
    }
}

impl Span {
    /// The length of time, 116 years at most, or `None` when the text is not one.
    ///
    /// ```
    /// use tidegate::api::text::Span;
    /// assert_eq!(Span("1h30m".into()).parse().map(|d| d.as_secs()), Some(5400));
    /// assert_eq!(Span("7d".into()).parse(), None);
    /// assert_eq!(Span("1000000h".into()).parse(), None);
    /// ```
    pub fn parse(&self) -> Option<Duration> {
        let mut seconds = 0u64;
        let mut digits = String::new();
        let mut order = 0;
        for character in self.0.chars() {
            if character.is_ascii_digit() && digits.len() < 6 {
                digits.push(character);
                continue;
            }
            let (factor, place) = match character {
                'h' => (3600, 1),
                'm' => (60, 2),
                's' => (1, 3),
                _ => return None,
            };
            if place <= order {
                return None;
            }
            order = place;
            seconds += digits.parse::<u64>().ok()? * factor;
            digits.clear();
        }
        (order > 0 && digits.is_empty()).then(|| Duration::from_secs(seconds))
    }
}

impl Latency {
    /// The latency in seconds, or `None` when the text is not one.
    pub fn seconds(&self) -> Option<f64> {
        let (number, factor) = if let Some(number) = self.0.strip_suffix("us") {
            (number, 1e6)
        } else if let Some(number) = self.0.strip_suffix("ms") {
            (number, 1e3)
        } else {
            (self.0.strip_suffix('s')?, 1.0)
        };
        let value: f64 = number.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(value / factor)
    }
}

impl Percent {
    /// The share, 0 to 1, or `None` when the text is not a percentage.
    pub fn share(&self) -> Option<f64> {
        Percentage(self.0.clone()).factor().filter(|share| *share <= 1.0)
    }
}

impl Percentage {
    /// The number that it is of one: 1.5 for 150%; `None` when the text is not a percentage.
    pub fn factor(&self) -> Option<f64> {
        let value: f64 = self.0.strip_suffix('%')?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(value / 100.0)
    }
}

impl LatencyLimit {
    /// In seconds; `None` when it is not a latency.
    pub fn seconds(&self) -> Option<f64> {
        Latency(self.0.clone()).seconds()
    }

    /// How much more than stable's, 0.5 for 50%; `None` when it is not a percentage.
    pub fn factor(&self) -> Option<f64> {
        Percentage(self.0.clone()).factor()
    }
}

/// A number of pods (3) or a share of them ("10%").
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct Share(pub IntOrString);

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true, "maxLength": 64,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 1 && self <= 100000 : self.matches('^(100|[1-9][0-9]?)%$')",
                "messageExpression": "'\"' + string(self) + '\" is neither a number of pods nor a share of them: write 3 (no quotes) or 10% (1% to 100%)'",
                "message": "write a number of pods (3) or a share of them (\"10%\", 1% to 100%)",
            }],
        })
    }
}

impl Share {
    /// A share in percent, for the default plan.
    pub fn percent(percent: u32) -> Self {
        Self(IntOrString::String(format!("{percent}%")))
    }

    /// How many of `replicas` pods: `floor(replicas * percent / 100)`, at least 1 and at most `replicas`; 0 of 0.
    /// The same rounding that Kubernetes uses for `maxUnavailable`. `None` when the text is neither number nor share.
    pub fn of(&self, replicas: i32) -> Option<i32> {
        let wanted = match &self.0 {
            IntOrString::Int(pods) if *pods >= 1 => *pods,
            IntOrString::Int(_) => return None,
            IntOrString::String(text) => {
                i32::try_from(i64::from(replicas) * whole_percent(text)? / 100).ok()?
            }
        };
        Some(wanted.max(1).min(replicas))
    }

    /// The most that native proportional scaling may make of it (rounded up) without the share being another one.
    pub fn at_most_of(&self, replicas: i32) -> Option<i32> {
        match &self.0 {
            IntOrString::Int(_) => self.of(replicas),
            IntOrString::String(text) => {
                let up = (i64::from(replicas) * whole_percent(text)? + 99) / 100;
                Some(i32::try_from(up).ok()?.max(1).min(replicas))
            }
        }
    }
}

/// `10%`, from 1% to 100%.
fn whole_percent(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| (1..=100).contains(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_down_but_never_to_nothing() {
        let tenth = Share::percent(10);
        assert_eq!(tenth.of(10), Some(1));
        assert_eq!(tenth.of(3), Some(1));
        assert_eq!(tenth.of(19), Some(1));
        assert_eq!(tenth.of(0), Some(0));
        assert_eq!(Share::percent(50).of(3), Some(1));
        assert_eq!(Share::percent(100).of(7), Some(7));
        assert_eq!(Share(IntOrString::Int(5)).of(3), Some(3));
        assert_eq!(Share(IntOrString::String("ten".into())).of(3), None);
        assert_eq!(tenth.at_most_of(16), Some(2));
    }

    #[test]
    fn latencies_are_seconds() {
        assert_eq!(Latency("500ms".into()).seconds(), Some(0.5));
        assert_eq!(Latency("1.5s".into()).seconds(), Some(1.5));
        assert_eq!(Latency("soon".into()).seconds(), None);
    }

    #[test]
    fn a_percentage_is_a_share() {
        assert_eq!(Percent("5%".into()).share(), Some(0.05));
        assert_eq!(Percent("101%".into()).share(), None);
    }
}
