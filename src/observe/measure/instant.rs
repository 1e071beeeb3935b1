//! What a query of the user's gives now: one number, or one a series. Asked of the server as it is; nothing is differenced.
//!
//! What it gives stays text until it is known of what kind it is, and of its series no more are read than are looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::ReadError;
use super::prometheus::{Asking, Clock, NUMBERS_BYTES, Prometheus, Round};
use crate::decide::values::MOST_SERIES;

/// What tells series apart.
pub type Labels = BTreeMap<String, String>;

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    pub labels: Labels,
    /// May be NaN or infinite.
    pub value: f64,
}

/// Why there are no numbers, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// The server could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// The server says what is wrong with the query, or with itself.
    #[error("prometheus: {0}; if it stays so, correct the query")]
    Refused(String),
    /// What answered is no Prometheus, or not in the way that was asked for.
    #[error("the answer cannot be read ({0})")]
    Unreadable(String),
    /// No vector and no scalar.
    #[error("the query gives {0}: write one that gives a number, or one number a series")]
    NoNumbers(&'static str),
    /// More series than are looked at.
    #[error(
        "the query gives {found} series, at most {MOST_SERIES} are looked at: aggregate them, as with sum by (...)"
    )]
    TooManySeries {
        /// How many there are.
        found: usize,
    },
}

impl InstantError {
    /// Whether nobody answered, or whoever did could not say.
    pub fn is_an_outage(&self) -> bool {
        match self {
            Self::Read(error) => error.is_an_outage(),
            // The server's trouble and the query's are told in the same words.
            Self::Refused(_) => true,
            Self::Unreadable(_) | Self::NoNumbers(_) | Self::TooManySeries { .. } => false,
        }
    }

    /// Whether other credentials may help.
    pub fn is_about_credentials(&self) -> bool {
        match self {
            Self::Read(error) => error.is_about_credentials(),
            Self::Refused(_) | Self::Unreadable(_) | Self::NoNumbers(_) | Self::TooManySeries { .. } => false,
        }
    }
}

impl Prometheus {
    /// The series that a query gives at the round's moment; none is an answer too.
    ///
    /// # Errors
    /// When the server cannot be read, refuses the query, or gives something else than at most 100 numbers.
    pub async fn instant(
        &self,
        asking: Asking<'_>,
        round: Round,
        query: &str,
    ) -> Result<Vec<Number>, InstantError> {
        let mut clock = Clock::present(round.now);
        numbers(&self.query(asking, query, &mut clock, round.deadline, NUMBERS_BYTES).await?)
    }

    /// Of what kind the answer to an instant query is.
    pub(super) async fn kind(
        &self,
        asking: Asking<'_>,
        query: &str,
        clock: &mut Clock,
        deadline: Duration,
    ) -> Result<Kind, InstantError> {
        let body = self.query(asking, query, clock, deadline, NUMBERS_BYTES).await?;
        Ok(data_in(&body)?.result_type)
    }
}

/// What the body of an answer says.
///
/// # Errors
/// As [`Prometheus::instant`].
pub fn numbers(body: &[u8]) -> Result<Vec<Number>, InstantError> {
    let Data { result_type, result } = data_in(body)?;
    match result_type {
        Kind::Scalar => {
            let (_, value): (f64, Cow<'_, str>) = read(result.get())?;
            Ok(vec![Number { labels: Labels::new(), value: number(&value)? }])
        }
        Kind::Vector => {
            let Vector { found, numbers } = read(result.get())?;
            if found > MOST_SERIES { Err(InstantError::TooManySeries { found }) } else { numbers }
        }
        Kind::Matrix => Err(InstantError::NoNumbers("a range")),
        Kind::String => Err(InstantError::NoNumbers("a text")),
    }
}

fn data_in(body: &[u8]) -> Result<Data<'_>, InstantError> {
    let Answer { status, error, data } =
        serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    data.filter(|_| status == "success")
        .ok_or_else(|| InstantError::Refused(super::shortened(&error.unwrap_or(status), 300)))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, InstantError> {
    serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))
}

impl From<ReadError> for InstantError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Api(what) => Self::Refused(what),
            other => Self::Read(other),
        }
    }
}

fn unreadable(what: &str) -> InstantError {
    InstantError::Unreadable(super::shortened(what, 200))
}

fn number(text: &str) -> Result<f64, InstantError> {
    text.parse().map_err(|_| unreadable(text))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(default, borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: Kind,
    /// It may come before its kind does.
    #[serde(borrow)]
    result: &'a RawValue,
}

/// What a query may give.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Vector,
    Scalar,
    Matrix,
    String,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    #[serde(default)]
    value: Option<(f64, String)>,
}

impl Series {
    fn number(self) -> Result<Number, InstantError> {
        let Self { metric, value } = self;
        let (_, value) = value.ok_or(InstantError::NoNumbers("native histograms"))?;
        Ok(Number { labels: metric, value: number(&value)? })
    }
}

/// A vector, as far as it is looked at.
struct Vector {
    /// How many series it has.
    found: usize,
    /// The first ones, or what is wrong with one.
    numbers: Result<Vec<Number>, InstantError>,
}

impl Vector {
    /// Takes the next series in; whether there is one.
    fn take<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let Some(numbers) = self.numbers.as_mut().ok().filter(|numbers| numbers.len() < MOST_SERIES) else {
            return Ok(list.next_element::<IgnoredAny>()?.is_some());
        };
        let Some(series) = list.next_element::<Series>()? else { return Ok(false) };
        match series.number() {
            Ok(number) => numbers.push(number),
            Err(error) => self.numbers = Err(error),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vector, A::Error> {
                let mut vector = Vector { found: 0, numbers: Ok(Vec::new()) };
                while vector.take(&mut list)? {
                    vector.found += 1;
                }
                Ok(vector)
            }
        }

        deserializer.deserialize_seq(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer in which what the query gives stands before its kind.
    fn of(kind: &str, result: &str) -> Result<Vec<Number>, InstantError> {
        let body = format!(r#"{{"status":"success","data":{{"result":{result},"resultType":"{kind}"}}}}"#);
        numbers(body.as_bytes())
    }

    const SERIES: &str = r#"{"metric":{"a":"b"},"value":[1,"2"]}"#;

    #[test]
    fn what_a_query_gives_is_text_until_its_kind_is_known() {
        let two = |labels: Labels| vec![Number { labels, value: 2.0 }];
        assert_eq!(of("vector", &format!("[{SERIES}]")), Ok(two([("a".to_owned(), "b".to_owned())].into())));
        assert_eq!(of("scalar", r#"[1,"2"]"#), Ok(two(Labels::new())));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(of("matrix", &deep), Err(InstantError::NoNumbers("a range")));
        assert_eq!(of("string", &deep), Err(InstantError::NoNumbers("a text")));
        for kind in ["vector", "scalar"] {
            let said = of(kind, &deep);
            assert!(matches!(said, Err(InstantError::Unreadable(_))), "{said:?}");
        }
    }

    #[test]
    fn of_more_series_than_are_looked_at_the_others_are_counted_and_not_read() {
        let first = vec![SERIES; MOST_SERIES].join(",");
        assert_eq!(of("vector", &format!("[{first}]")).map(|numbers| numbers.len()), Ok(MOST_SERIES));
        let too_many = |found| Err(InstantError::TooManySeries { found });
        assert_eq!(of("vector", &format!("[{first},[[7]],null]")), too_many(MOST_SERIES + 2));
        // What is wrong with one of the first is no matter then.
        let odd = r#"{"metric":{},"histogram":[1,{"count":"1"}]}"#;
        assert_eq!(of("vector", &format!("[{odd},{first}]")), too_many(MOST_SERIES + 1));
        assert_eq!(of("vector", &format!("[{odd},7]")), Err(InstantError::NoNumbers("native histograms")));
    }
}
