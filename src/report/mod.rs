//! Telling people: log lines, events, metrics, notifications. Follows what was done; can neither delay nor fail it.

mod events;
mod metrics;
pub mod notify;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::act::{ActError, Applied, Failed, Writer};
use crate::decide::refusal::Why;
use crate::decide::snapshot::ReleaseFacts;
use crate::decide::{Decision, Key, Notice};
pub use events::Telling;
pub use metrics::Metrics;
pub use notify::Notifier;

/// Events that may wait to be written; further ones are dropped and counted.
const WAITING: usize = 2000;

/// Tells people what was done.
pub struct Reporter {
    events: mpsc::Sender<Telling>,
    writing: AbortHandle,
    metrics: Arc<Metrics>,
}

impl Reporter {
    /// Starts the task that writes events.
    pub fn start(writer: Writer, metrics: Arc<Metrics>) -> Self {
        let (events, waiting) = mpsc::channel(WAITING);
        let writing = tokio::spawn(events::write_all(writer, waiting, metrics.clone())).abort_handle();
        Self { events, writing, metrics }
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
                Why::Words(_) => self.metrics.wrote("refused", 1),
            }
        }
    }

    /// A decision was carried out.
    pub fn tell(&self, key: &Key, release: Option<&ReleaseFacts>, decision: &Decision, at: Timestamp) {
        if release.is_none() {
            self.metrics.forget(key);
        }
        let before = release.map(|release| &*release.status);
        if let Some(status) = &decision.status {
            if before.and_then(|before| before.phase) != status.phase {
                let message =
                    status.summary.as_ref().map(|summary| summary.message.as_str()).unwrap_or_default();
                let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
                tracing::info!(release = %key, phase, "{message}");
            }
            self.metrics.status(key, before, status);
        }
        for notice in &decision.notices {
            if notice.reason == crate::decide::notify::DROPPED {
                self.metrics.notified("any", "dropped");
            }
            self.say(key, release, notice.clone(), at);
        }
    }

    /// Says one thing, in the log and as an event of the Release.
    pub fn say(&self, key: &Key, release: Option<&ReleaseFacts>, notice: Notice, at: Timestamp) {
        if notice.warning {
            tracing::warn!(release = %key, reason = notice.reason, "{}", notice.note);
        } else {
            tracing::info!(release = %key, reason = notice.reason, "{}", notice.note);
        }
        let Some(release) = release else { return };
        let telling = Telling { key: key.clone(), uid: release.uid.clone(), notice, at };
        if self.events.try_send(telling).is_err() {
            self.metrics.event_dropped();
        }
    }
}

impl Drop for Reporter {
    /// Whoever does not act any more tells nothing any more.
    fn drop(&mut self) {
        self.writing.abort();
    }
}
