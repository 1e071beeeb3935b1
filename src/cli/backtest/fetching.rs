//! Fetching the past: which series there are, then hour by hour the pods' counters and what other numbers were. What a server does not
//! answer is asked once more. Nothing is kept here.

use std::time::Duration;

use anyhow::{Context, Result};

use super::kept::Moment;
use super::spans::{When, shown};
use crate::decide::values::{Criterion, Kind};
use crate::observe::measure::ReadError;
use crate::observe::measure::history::{MOST_SAMPLES, PodsLike, Samples, Stretch};
use crate::observe::measure::instant::InstantError;
use crate::observe::measure::names::{Detected, Names};
use crate::observe::measure::prometheus::{Asking, Prometheus};
use crate::observe::reach::Client;
use crate::observe::values::{EVERY, of_earlier, of_pods_earlier, readiness, restarts, selector};

/// Seconds fetched with one query a family, and one a number.
pub const CHUNK: i64 = 3600;
/// For each query.
const QUERY: Duration = Duration::from_secs(60);
/// Moments at which names are looked for, from the end on.
const LOOKS: i64 = 8;

/// Whom to ask, and about which pods.
pub struct Server {
    pub prometheus: Prometheus,
    pub client: Client,
    pub pods: PodsLike,
}

/// A number, as it can be asked for a stretch of time.
pub struct Number {
    criterion: String,
    kind: Kind,
    query: String,
}

/// What was read of an hour at most.
pub struct Hour {
    pub stretch: Stretch,
    pub samples: Samples,
    /// By number.
    pub numbers: Vec<Vec<Moment>>,
}

impl Server {
    /// Which counters the pods had at one time or another.
    pub async fn detect(&self, within: When, names: &Names) -> Result<Detected, ReadError> {
        let mut detected = Err(ReadError::NoSamples);
        for look in 0..LOOKS {
            let at = within.to - look * (within.to - within.from) / LOOKS;
            detected = self.prometheus.detect_like(&self.client, &self.pods, at, QUERY, names).await;
            if !matches!(detected, Err(ReadError::NoCounter { .. } | ReadError::NoSuchCounter { .. })) {
                break;
            }
        }
        detected
    }

    /// How to ask for a number, or why its past is not in Prometheus.
    ///
    /// # Errors
    /// When the server cannot be read, or a query is refused, or gives no numbers.
    pub async fn number(&self, criterion: &Criterion, within: When) -> Result<Result<Number, &'static str>> {
        let PodsLike { namespace, pattern } = &self.pods;
        let asking = Asking::alone(&self.client);
        let context = || format!("criterion {}", criterion.name);
        let query = match &criterion.kind {
            Kind::Promql { query, .. } => {
                let read = self.prometheus.over_time(asking, query, within.to, QUERY).await;
                read.with_context(context)?
            }
            Kind::PodGauge(gauge) => format!("({})", selector(namespace, pattern, gauge)),
            Kind::Availability => format!("({})", readiness(namespace, pattern)),
            Kind::Restarts => format!("({})", restarts(namespace, pattern)),
            Kind::Json { .. } => return Ok(Err("a JSON answer has no past")),
        };
        if criterion.kind.is_of_pods() {
            let stretch = Stretch { from: within.from, to: within.to };
            let step = (within.to - within.from) / LOOKS;
            let looks = self.prometheus.earlier(asking, &query, stretch, step, QUERY, MOST_SAMPLES).await;
            if looks.with_context(context)?.is_empty() {
                return Ok(Err("kube-state-metrics' series of these pods are not in Prometheus"));
            }
        }
        let (criterion, kind) = (criterion.name.clone(), criterion.kind.clone());
        Ok(Ok(Number { criterion, kind, query }))
    }

    /// All of it in a stretch of time.
    ///
    /// # Errors
    /// When the server cannot be read.
    pub async fn hour(
        &self,
        detected: Option<&Detected>,
        numbers: &[Number],
        stretch: Stretch,
    ) -> Result<Hour> {
        let until = || format!("the hour until {} cannot be read", shown(stretch.to));
        let Self { prometheus, client, pods } = self;
        let samples = match detected {
            Some(detected) => match prometheus.samples(client, pods, detected, stretch, QUERY).await {
                Err(error) if is_passing(&error) => {
                    prometheus.samples(client, pods, detected, stretch, QUERY).await
                }
                read => read,
            }
            .with_context(until)?,
            None => Samples::default(),
        };
        let step = i64::try_from(EVERY.as_secs()).unwrap_or(i64::MAX);
        let asking = Asking::alone(client);
        let mut read = Vec::new();
        for Number { criterion, kind, query } in numbers {
            let earlier = match prometheus.earlier(asking, query, stretch, step, QUERY, MOST_SAMPLES).await {
                Err(InstantError::Read(error)) if is_passing(&error) => {
                    prometheus.earlier(asking, query, stretch, step, QUERY, MOST_SAMPLES).await
                }
                read => read,
            };
            let earlier = earlier.with_context(|| format!("criterion {criterion}")).with_context(until)?;
            read.push(match kind {
                Kind::Promql { by, .. } => of_earlier(&earlier, by.as_deref()),
                Kind::PodGauge(_) | Kind::Json { .. } | Kind::Availability | Kind::Restarts => {
                    of_pods_earlier(&earlier)
                }
            });
        }
        Ok(Hour { stretch, samples, numbers: read })
    }
}

/// Three days are many questions.
fn is_passing(error: &ReadError) -> bool {
    matches!(error, ReadError::Timeout { .. } | ReadError::Broken { .. } | ReadError::Refused { .. })
}
