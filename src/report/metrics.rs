//! Every metric of the operator, in one place. Labels come from closed sets; names of objects stand only in logs and events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::{Phase, ReleaseStatus, Right};
use crate::decide::Key;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Written {
    result: &'static str,
}

/// Closed sets: what the operator itself asks for.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Lacked {
    verb: String,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    request: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Notified {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InPhase {
    phase: String,
}

/// Every metric of the operator.
pub struct Metrics {
    registry: Registry,
    looks: Counter,
    writes: Family<Written, Counter>,
    runs: Family<Outcome, Counter>,
    undo_seconds: Histogram,
    events_dropped: Counter,
    notifications: Family<Notified, Counter>,
    forbidden: Family<Lacked, Counter>,
    leading: Gauge<i64, AtomicI64>,
    requests: Family<Asked, Counter>,
    unanswered: Gauge<f64, AtomicU64>,
    phases: Family<InPhase, Gauge>,
    known: Mutex<HashMap<Key, Phase>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let looks = Counter::default();
        let writes = Family::<Written, Counter>::default();
        let runs = Family::<Outcome, Counter>::default();
        let undo_seconds = Histogram::new([0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0]);
        let events_dropped = Counter::default();
        let notifications = Family::<Notified, Counter>::default();
        let forbidden = Family::<Lacked, Counter>::default();
        let leading = Gauge::<i64, AtomicI64>::default();
        let requests = Family::<Asked, Counter>::default();
        let unanswered = Gauge::<f64, AtomicU64>::default();
        let phases = Family::<InPhase, Gauge>::default();
        registry.register("looks", "Looks at a Release", looks.clone());
        registry.register("writes", "Writes to the cluster, by what came of them", writes.clone());
        registry.register("runs_ended", "Runs that ended, by outcome", runs.clone());
        registry.register(
            "undo_seconds",
            "From the decision to go back until stable stood again",
            undo_seconds.clone(),
        );
        registry.register("events_dropped", "Events that could not be written", events_dropped.clone());
        registry.register(
            "notifications",
            "Tries to tell somebody, by kind of receiver and by what came of them",
            notifications.clone(),
        );
        registry.register(
            "forbidden",
            "Requests that failed because the operator lacks a right",
            forbidden.clone(),
        );
        registry.register("leading", "1 while this process leads", leading.clone());
        registry.register(
            "api_requests",
            "Requests to the API server, by kind and by what came of them",
            requests.clone(),
        );
        registry.register(
            "api_unanswered_seconds",
            "How long ago the API server last answered (the lease alone is asked about every two seconds)",
            unanswered.clone(),
        );
        registry.register(
            "releases",
            "Releases by phase, each from the first look of this process on",
            phases.clone(),
        );
        Self {
            registry,
            looks,
            writes,
            runs,
            undo_seconds,
            events_dropped,
            notifications,
            forbidden,
            leading,
            requests,
            unanswered,
            phases,
            known: Mutex::default(),
        }
    }

    /// A look at a Release.
    pub fn looked(&self) {
        self.looks.inc();
    }

    /// So many writes, with what came of them.
    pub fn wrote(&self, result: &'static str, count: usize) {
        self.writes.get_or_create(&Written { result }).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// An event could not be written.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// A try to tell somebody, and what came of it: each out of a closed set.
    pub fn notified(&self, kind: &'static str, result: &'static str) {
        self.notifications.get_or_create(&Notified { kind, result }).inc();
    }

    /// A request failed because a right is missing.
    pub fn forbidden(&self, right: &Right) {
        let lacked = Lacked { verb: right.verb.clone(), resource: right.resource.clone() };
        self.forbidden.get_or_create(&lacked).inc();
    }

    /// Whether this process leads.
    pub fn set_leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// A request to the API server, and what came of it: each out of a closed set.
    pub fn asked(&self, request: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Asked { request, outcome }).inc();
    }

    /// How long ago the API server last answered.
    pub fn set_unanswered(&self, silence: Duration) {
        self.unanswered.set(silence.as_secs_f64());
    }

    /// Status was written.
    pub fn status(&self, before: Option<&ReleaseStatus>, after: &ReleaseStatus) {
        let ended_before = before.and_then(|before| before.last_run.as_ref()).map(|last| last.number);
        if let Some(last) = &after.last_run
            && ended_before != Some(last.number)
        {
            self.runs.get_or_create(&Outcome { outcome: format!("{:?}", last.outcome) }).inc();
            if let Some(undo) = &last.undo
                && let Some(restored) = undo.restored_at
            {
                let seconds = (restored.0 - undo.decided_at.0).total(jiff::Unit::Second).unwrap_or(0.0);
                self.undo_seconds.observe(seconds);
            }
        }
    }

    /// A Release was found in this phase, or brought into it.
    pub fn in_phase(&self, key: &Key, phase: Phase) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = known.get(key).copied();
        if earlier == Some(phase) {
            return;
        }
        known.insert(key.clone(), phase);
        if let Some(earlier) = earlier {
            self.gauge(earlier).dec();
        }
        self.gauge(phase).inc();
    }

    /// A Release is gone.
    pub fn forget(&self, key: &Key) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = known.remove(key) {
            self.gauge(phase).dec();
        }
    }

    fn gauge(&self, phase: Phase) -> Gauge {
        self.phases.get_or_create(&InPhase { phase: format!("{phase:?}") }).clone()
    }

    /// The page in OpenMetrics text.
    pub fn page(&self) -> String {
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => page,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_counts_once_however_often_it_is_looked_at() {
        let metrics = Metrics::new();
        let [shop, other] = ["shop", "other"].map(|name| Key { namespace: "ns".into(), name: name.into() });
        for phase in [Phase::Idle, Phase::Idle, Phase::Soaking, Phase::Soaking, Phase::Idle] {
            metrics.in_phase(&shop, phase);
            metrics.in_phase(&other, Phase::Idle);
        }
        let counted = |phase: &str, number: usize| {
            let line = format!("tidegate_releases{{phase=\"{phase}\"}} {number}");
            let page = metrics.page();
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        };
        counted("Idle", 2);
        counted("Soaking", 0);
        metrics.forget(&shop);
        counted("Idle", 1);
    }
}
