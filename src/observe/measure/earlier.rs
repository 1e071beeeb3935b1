//! What a query of the user's gave in the past, moment by moment: a subquery, asked as an instant query. A moment without any series
//! is one at which the query gave nothing.
//!
//! It does not say what was down then: a server that was away has no samples of that time, and answers today as if it had been asked
//! and there had been nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ReadError;
use super::history::{SHORTEST_STRETCH, Stretch};
use super::instant::{InstantError, Kind, Labels};
use super::prometheus::{ANSWER_BYTES, Asking, Clock, Prometheus, WholeSeries, each_series};

/// Bytes that a sample takes.
const SAMPLE: usize = size_of::<(i64, f64)>();
/// How often a stretch is asked for in parts because the server refuses it, or its answer is too large.
const DIVISIONS: usize = 16;

/// What a query gave in a stretch of time.
#[derive(Debug, Default)]
pub struct Earlier {
    step: i64,
    /// From the first moment on.
    stretch: Option<Stretch>,
    series: BTreeMap<Labels, Vec<(i64, f64)>>,
    /// How many samples there are, and what labels take, as samples.
    count: usize,
    most: usize,
    /// Parts that could not be read, and why.
    unread: Vec<(Stretch, InstantError)>,
}

/// What the query gave at a moment.
pub type Then<'a> = Result<Vec<(&'a Labels, f64)>, InstantError>;

impl Earlier {
    /// Whether there never was any number.
    pub fn is_empty(&self) -> bool {
        self.series.values().all(Vec::is_empty)
    }

    /// Each moment with its series, or why they could not be read.
    pub fn moments(&self) -> BTreeMap<i64, Then<'_>> {
        let mut moments = BTreeMap::new();
        if let Some(Stretch { from, to }) = self.stretch {
            let mut at = from + self.step;
            while at <= to {
                let within = |(part, _): &&(Stretch, InstantError)| part.from < at && at <= part.to;
                let read = self.unread.iter().find(within);
                moments.insert(at, read.map_or_else(|| Ok(Vec::new()), |(_, error)| Err(error.clone())));
                at += self.step;
            }
        }
        for (labels, values) in &self.series {
            for (at, value) in values {
                if let Some(Ok(numbers)) = moments.get_mut(at) {
                    numbers.push((labels, *value));
                }
            }
        }
        moments
    }
}

impl Prometheus {
    /// The query as it can be asked for a stretch of time: of a scalar a vector has to be made. Asked at one moment.
    ///
    /// # Errors
    /// When the server cannot be read, refuses the query, or it gives no numbers.
    pub async fn over_time(
        &self,
        asking: Asking<'_>,
        query: &str,
        at: i64,
        deadline: Duration,
    ) -> Result<String, InstantError> {
        // A line break: the query may end with a comment.
        match self.kind(asking, query, &mut Clock::past(at), deadline).await? {
            Kind::Vector => Ok(format!("({query}\n)")),
            Kind::Scalar => Ok(format!("vector({query}\n)")),
            Kind::Matrix => Err(InstantError::NoNumbers("a range")),
            Kind::String => Err(InstantError::NoNumbers("a text")),
        }
    }

    /// What the query gave at each multiple of `step` seconds in a stretch of time: `most` samples at most. An answer that is too large, or more
    /// than the server will give, is asked for again in halves; what is refused even so is unread.
    ///
    /// # Errors
    /// When the server cannot be read, or there are more samples.
    pub async fn earlier(
        &self,
        asking: Asking<'_>,
        query: &str,
        Stretch { from, to }: Stretch,
        step: i64,
        deadline: Duration,
        most: usize,
    ) -> Result<Earlier, InstantError> {
        let step = step.max(1);
        let whole = |at: i64| at.div_euclid(step) * step;
        let stretch = Stretch { from: whole(from), to: whole(to) };
        let mut earlier = Earlier { step, stretch: Some(stretch), most, ..Earlier::default() };
        let mut open = if stretch.from < stretch.to { vec![stretch] } else { Vec::new() };
        let mut divisions = DIVISIONS;
        while let Some(part) = open.pop() {
            let Stretch { from, to } = part;
            let is_divisible = to - from > SHORTEST_STRETCH.max(step) && divisions > 0;
            let error = match self.part(asking, query, part, &mut earlier, deadline).await {
                Ok(()) => continue,
                Err(error) => error,
            };
            match error {
                InstantError::Refused(_) | InstantError::Read(ReadError::TooLarge { .. }) if is_divisible => {
                    divisions -= 1;
                    let middle = whole(from + (to - from) / 2).max(from + step);
                    open.push(Stretch { from: middle, to });
                    open.push(Stretch { from, to: middle });
                }
                InstantError::Read(ReadError::TooLarge { .. })
                | InstantError::Refused(_)
                | InstantError::NoNumbers(_)
                | InstantError::TooManySeries { .. } => earlier.unread.push((part, error)),
                InstantError::Read(_) | InstantError::Unreadable(_) => return Err(error),
            }
        }
        Ok(earlier)
    }

    async fn part(
        &self,
        asking: Asking<'_>,
        query: &str,
        Stretch { from, to }: Stretch,
        earlier: &mut Earlier,
        deadline: Duration,
    ) -> Result<(), InstantError> {
        let step = earlier.step;
        let query = format!("{query}[{}s:{step}s]", to - from);
        let body = self.query(asking, &query, &mut Clock::past(to), deadline, ANSWER_BYTES).await?;
        let mut are_histograms = false;
        each_series(&body, |series: WholeSeries<'_>| {
            are_histograms |= !series.histograms.is_empty();
            let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let labels: Labels = series.metric.all()?.iter().map(|(name, value)| own(name, value)).collect();
            let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
            earlier.count += bytes / SAMPLE;
            let known = earlier.series.entry(labels).or_default();
            for (at, value) in series.values {
                #[expect(clippy::cast_possible_truncation, reason = "saturates, and is a moment in seconds")]
                let at = at.round() as i64;
                // The beginning is part of the answer, or is not, as the server's version has it.
                if let Ok(value) = value.parse()
                    && from < at
                    && at <= to
                {
                    known.push((at, value));
                    earlier.count += 1;
                }
            }
            if earlier.count > earlier.most {
                return Err(ReadError::TooManySamples { limit: earlier.most });
            }
            Ok(())
        })?;
        if are_histograms { Err(InstantError::NoNumbers("native histograms")) } else { Ok(()) }
    }
}
