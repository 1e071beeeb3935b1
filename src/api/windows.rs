//! When a Release may start and move on: windows and blackouts, in the time of their zones.
//!
//! What they mean at a moment is [`crate::decide::calendar`]'s. Going back asks none of them.

use std::borrow::Cow;

use jiff::civil;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::{CronForm, Date, Span, TimeOfDay, ZoneName};

/// When runs may start and move on. Going back is never held.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.allow) || has(self.blackouts) || has(self.lowTraffic)").message("windows needs one of allow, blackouts, lowTraffic: write allow: [{days: [Mon, Tue], from: '09:00', to: '16:00', timeZone: Europe/Oslo}]"))]
pub struct Windows {
    /// A run starts while one of these is open and stays open for as long as the plan takes. Default: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<Window>,
    /// Days on which none is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub blackouts: Vec<Blackout>,
    /// A run starts, and moves on, only while little goes on. Default: whatever goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_traffic: Option<LowTraffic>,
}

/// What counts as little traffic. Asked of the server under `metrics.prometheus`; while it cannot be asked, nothing moves on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.over) || !self.over.matches('^([0-9]{1,6}[hms])+$') || duration(self.over) >= duration('1h') && duration(self.over) <= duration('744h')").message("over is at least 1h and at most 744h (31 days)"))]
pub struct LowTraffic {
    /// A query that gives one number: sum(rate(http_requests_total{namespace="shop"}[5m])).
    #[schemars(length(min = 1, max = 2048))]
    pub promql: String,
    /// A number that it must be below (200, or in quotes '12.5'), or a quantile of its own past that it must not be above (p20: the
    /// quietest fifth).
    pub below: LowMark,
    /// How much of its past the quantile is taken of. Default: 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Span>,
}

/// A number, in quotes where it is not whole, or a quantile from p1 to p99.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct LowMark(pub Value);

/// What a [`LowMark`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    Number(f64),
    /// In percent.
    Quantile(u8),
}

impl LowMark {
    /// What it says, or `None` when it is neither.
    ///
    /// ```
    /// use serde_json::json;
    /// use tidegate::api::windows::{LowMark, Mark};
    /// assert_eq!(LowMark(json!(200)).parse(), Some(Mark::Number(200.0)));
    /// assert_eq!(LowMark(json!("12.5")).parse(), Some(Mark::Number(12.5)));
    /// assert_eq!(LowMark(json!("p20")).parse(), Some(Mark::Quantile(20)));
    /// assert_eq!(LowMark(json!("20%")).parse(), None);
    /// ```
    pub fn parse(&self) -> Option<Mark> {
        match &self.0 {
            Value::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(Mark::Number),
            Value::String(text) => {
                let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e');
                let Some(digits) = text.strip_prefix('p') else {
                    let number = text.parse().ok().filter(|_| text.bytes().all(is_plain));
                    return number.filter(|number: &f64| number.is_finite()).map(Mark::Number);
                };
                let digits = Some(digits).filter(|digits| digits.bytes().all(|it| it.is_ascii_digit()))?;
                digits.parse().ok().filter(|percent| (1..=99).contains(percent)).map(Mark::Quantile)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl JsonSchema for LowMark {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "LowMark".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true, "maxLength": 64,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int || self.matches('^(p[1-9][0-9]?|-?[0-9]{1,15}([.][0-9]{1,9})?(e[+-]?[0-9]{1,2})?)$')",
                "messageExpression": "'\"' + string(self) + '\" is neither a number nor a quantile: write 200, \"12.5\" or p20 (p1 to p99)'",
                "message": "write a number (200, or in quotes \"12.5\") or a quantile (p20, p1 to p99)",
            }],
        })
    }
}

/// A time that comes again and again: on days of the week, or in cron form.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.days) != has(self.cron)").message("a window needs exactly one of: days (with from and to), cron (with for)"))]
#[x_kube(validation = Rule::new("has(self.days) || !has(self.from) && !has(self.to)").message("from and to go with days; a window in cron form has for: write cron: '0 9 * * Mon-Thu' and for: 7h"))]
#[x_kube(validation = Rule::new("has(self.cron) == has(self.__for__)").message("cron and for go together: write cron: '0 9 * * Mon-Thu' and for: 7h"))]
#[x_kube(validation = Rule::new("!has(self.__for__) || !self.__for__.matches('^([0-9]{1,6}[hms])+$') || duration(self.__for__) > duration('0s') && duration(self.__for__) <= duration('744h')").message("for is more than 0s and at most 744h (31 days)"))]
pub struct Window {
    /// Mon, Tue, Wed, Thu, Fri, Sat, Sun: the days on which it opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Weekday>,
    /// When it opens. Default: 00:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimeOfDay>,
    /// When it closes; not later than `from` means on the next day. Default: 00:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TimeOfDay>,
    /// When it opens, in cron form: minute, hour, day of the month, month, day of the week. At most 48 times a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronForm>,
    /// How long it is open then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
    /// Whose clocks. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<ZoneName>,
}

/// Whole days on which no window is open.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from <= self.to").message(Message::Expression("\"a blackout ends on the day it begins or later: to \" + self.to + \" is before from \" + self.from".into())))]
pub struct Blackout {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
    /// Whose days. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<ZoneName>,
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// A day of the week.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for civil::Weekday {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Mon => Self::Monday,
            Weekday::Tue => Self::Tuesday,
            Weekday::Wed => Self::Wednesday,
            Weekday::Thu => Self::Thursday,
            Weekday::Fri => Self::Friday,
            Weekday::Sat => Self::Saturday,
            Weekday::Sun => Self::Sunday,
        }
    }
}
