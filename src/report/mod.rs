//! Telling people: log lines, events, metrics, notifications. Follows what was done; can neither delay nor fail it.

mod events;
mod metrics;
pub mod notify;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::task::AbortHandle;

use crate::act::{ActError, Applied, Failed, Writer};
use crate::decide::refusal::Why;
use crate::decide::{Decision, Key, Notice, Snapshot};
use crate::logged::logged;
pub use events::{Regarding, Telling};
pub use metrics::Metrics;
pub use notify::Notifier;

/// What lasts is told again after so long, since the API server keeps an event no longer unless it is told to.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Tells people what was done.
pub struct Reporter {
    waiting: Arc<events::Waiting>,
    writing: AbortHandle,
    metrics: Arc<Metrics>,
    /// What lasts and was told, by Release and reason, and when. A process that starts anew tells it once more.
    lasting: Mutex<BTreeMap<(Key, &'static str), Timestamp>>,
}

impl Reporter {
    /// Starts the task that writes events.
    pub fn start(writer: Writer, metrics: Arc<Metrics>) -> Self {
        let waiting = Arc::<events::Waiting>::default();
        let writing =
            tokio::spawn(events::write_all(writer, waiting.clone(), metrics.clone())).abort_handle();
        Self { waiting, writing, metrics, lasting: Mutex::default() }
    }

    /// A round of writing ended, with its last write or with one that failed.
    pub fn wrote(&self, applied: &Applied, outcome: &Result<(), Failed>) {
        self.metrics.looked();
        self.metrics.wrote("ok", applied.writes);
        if let Err(Failed { error, .. }) = outcome {
            self.metrics.wrote(error.category(), 1);
            if let ActError::Forbidden(right) = error {
                self.metrics.forbidden(right);
            }
        }
        for refusal in applied.done_without.values().flatten() {
            match &refusal.why {
                Why::Right(right) => {
                    self.metrics.wrote("forbidden", 1);
                    self.metrics.forbidden(right);
                }
                Why::Taken { .. } => self.metrics.wrote("taken", 1),
                Why::Words(_) => self.metrics.wrote("refused", 1),
                Why::Unanswered => self.metrics.wrote("deadline", 1),
                Why::Failed { category, words: _ } => self.metrics.wrote(category, 1),
            }
        }
    }

    /// A decision was carried out.
    pub fn tell(&self, snapshot: &Snapshot, decision: &Decision) {
        let Snapshot { key, release, .. } = snapshot;
        if release.is_none() {
            self.metrics.forget(key);
        }
        let before = release.as_ref().map(|release| &*release.status);
        if let Some(status) = &decision.status {
            if before.and_then(|before| before.phase) != status.phase {
                let message =
                    status.summary.as_ref().map(|summary| summary.message.as_str()).unwrap_or_default();
                let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
                tracing::info!(release = %key, phase, "{}", logged(message));
            }
            self.metrics.status(before, status);
        }
        for notice in &decision.notices {
            if notice.reason == crate::decide::notify::DROPPED {
                self.metrics.notified("any", "dropped");
            }
            self.say(snapshot, notice.clone());
        }
        // Of most Releases a process that starts anew never writes the status: they are at rest.
        let phase = decision.status.as_ref().or(before).and_then(|status| status.phase);
        if let Some(phase) = phase.filter(|_| release.is_some()) {
            self.metrics.in_phase(key, phase);
        }
    }

    /// Says one thing, in the log and as an event of the Release, or of the Deployment that it has left behind.
    pub fn say(&self, snapshot: &Snapshot, notice: Notice) {
        let Snapshot { key, now: at, .. } = snapshot;
        if notice.lasts && !self.is_news(key, notice.reason, *at) {
            return;
        }
        log(key, &notice);
        let Some(regarding) = Regarding::of(snapshot) else { return };
        let telling = Telling { key: key.clone(), regarding, notice, at: *at };
        if self.waiting.push(telling).is_some() {
            self.metrics.event_dropped();
        }
    }

    /// Whether what lasts has not been told for so long, or not at all; from here on it has. A moment that is yet to come is of a clock that was set.
    fn is_news(&self, key: &Key, reason: &'static str, at: Timestamp) -> bool {
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.retain(|_, told| *told <= at && at.duration_since(*told) < KNOWN_FOR);
        let is_news = !lasting.contains_key(&(key.clone(), reason));
        if is_news {
            lasting.insert((key.clone(), reason), at);
        }
        is_news
    }
}

impl Drop for Reporter {
    /// Whoever does not act any more tells nothing any more.
    fn drop(&mut self) {
        self.writing.abort();
    }
}

/// A line of the log.
fn log(key: &Key, notice: &Notice) {
    let note = logged(&notice.note);
    if notice.warning {
        tracing::warn!(release = %key, reason = notice.reason, "{note}");
    } else {
        tracing::info!(release = %key, reason = notice.reason, "{note}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::act::writer::Leads;

    /// What is logged meanwhile, for people.
    fn lines(what: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);

        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let log = Log::default();
        let written = log.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        tracing::subscriber::with_default(format.with_writer(move || log.clone()).finish(), what);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_notice_is_one_line_of_the_log_whatever_people_have_written_and_no_longer_than_an_event() {
        let key = Key { namespace: "shop".into(), name: "checkout".into() };
        let forged = "run r7: eve\u{202e} changed the template (x\n INFO run r7 has ended)";
        assert_eq!(
            lines(|| log(&key, &Notice::warning("RunStarted", forged))),
            " WARN run r7: eve changed the template (x  INFO run r7 has ended) release=shop/checkout reason=\"RunStarted\"\n"
        );
        let long = lines(|| log(&key, &Notice::normal("RunStarted", "x".repeat(100_000))));
        assert!(long.starts_with(" INFO xxx") && long.contains("x… release=") && long.len() < 1100, "{long}");
    }

    #[tokio::test]
    async fn what_lasts_is_told_again_after_an_hour() {
        let silent = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, std::io::Error>>()
        });
        let writer = Writer::new(Client::new(silent, "default"), Arc::new(Leads(Duration::from_secs(10))));
        let reporter = Reporter::start(writer, Arc::new(Metrics::new()));
        let told = |name: &str, reason: &'static str, second: i64| {
            let key = Key { namespace: "ns".into(), name: name.into() };
            reporter.is_news(&key, reason, Timestamp::from_second(second).unwrap())
        };
        assert!(told("shop", "Late", 7200));
        assert!(!told("shop", "Late", 7230));
        assert!(told("shop", "Failing", 7230), "something else");
        assert!(told("other", "Late", 7230), "of somebody else");
        assert!(!told("shop", "Late", 10_799));
        assert!(told("shop", "Late", 10_800));
        assert!(told("shop", "Late", 3600), "the clock was set back");
        assert!(!told("shop", "Late", 3630));
    }
}
