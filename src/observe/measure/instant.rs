//! What a query of the user's gives now: one number, or one a series. Asked of the server as it is; nothing is differenced.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

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

    /// The answer to an instant query as it is.
    pub(super) async fn data(
        &self,
        asking: Asking<'_>,
        query: &str,
        clock: &mut Clock,
        deadline: Duration,
    ) -> Result<Data, InstantError> {
        data_in(&self.query(asking, query, clock, deadline, NUMBERS_BYTES).await?)
    }
}

/// What the body of an answer says.
///
/// # Errors
/// As [`Prometheus::instant`].
pub fn numbers(body: &[u8]) -> Result<Vec<Number>, InstantError> {
    match data_in(body)? {
        Data::Scalar((_, value)) => Ok(vec![Number { labels: Labels::new(), value: number(&value)? }]),
        Data::Vector(series) if series.len() > MOST_SERIES => {
            Err(InstantError::TooManySeries { found: series.len() })
        }
        Data::Vector(series) => series
            .into_iter()
            .map(|Series { metric, value }| {
                let (_, value) = value.ok_or(InstantError::NoNumbers("native histograms"))?;
                Ok(Number { labels: metric, value: number(&value)? })
            })
            .collect(),
        Data::Matrix(_) => Err(InstantError::NoNumbers("a range")),
        Data::String(_) => Err(InstantError::NoNumbers("a text")),
    }
}

fn data_in(body: &[u8]) -> Result<Data, InstantError> {
    let Answer { status, error, data } =
        serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    data.filter(|_| status == "success")
        .ok_or_else(|| InstantError::Refused(super::shortened(&error.unwrap_or(status), 300)))
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
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct Series {
    metric: Labels,
    #[serde(default)]
    value: Option<(f64, String)>,
}
