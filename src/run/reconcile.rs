//! One look at one Release: observe → decide → act → report, and what is needed for the next look.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::clock::{self, Clock};
use super::errands::Errands;
use super::findings::{News, SharedFindings};
use super::let_go::LetGo;
use super::missing::Missing;
use super::own_status::OwnStatus;
use super::own_writes::{BackOff, OwnWrites};
use super::prober::{Asker, Prober};
use super::queue::Queue;
use super::rush::Rush;
use super::sampler::Sampler;
use super::unanswered::Unanswered;
use crate::act::{self, Applied, Failed, Meanwhile, Writer};
use crate::api::status::Run;
use crate::decide::refusal::{self, Refusal, Why};
use crate::decide::snapshot::{ProbeAnswer, ProbeResult, ReleaseFacts};
use crate::decide::{self, Decision, Errand, Key, Notice, Snapshot};
use crate::logged::logged;
use crate::observe::{self, reading::Reading};
use crate::report::{Notifier, Reporter};
use crate::watch::SharedIndex;
use crate::watch::again::{Again, NotRead, Outlined, Reader};

/// How often to look whether our own last write has come back to us.
const OWN_WRITE: Duration = Duration::from_millis(250);
/// When to look again at what has to be read again, and cannot be before others have been.
const NO_TURN: Duration = Duration::from_millis(500);
/// The same, where the API server has not said what it is.
const NOT_READ: Duration = Duration::from_secs(2);
/// How often something is read again for one look: what is an outline only since the last time has changed meanwhile.
const READINGS: usize = 4;
/// How often to look whether a rush is over.
const RUSH: Duration = Duration::from_millis(500);
/// When to look again whether there is room to tell something.
const ROOM: Duration = Duration::from_secs(10);
/// When to look again whether something is to be said of writes that are done without.
const SAID_IN: Duration = Duration::from_secs(1);
/// A write that another was quicker than is tried again at once, so often.
const QUICK_LOOKS: u32 = 5;
/// When to look again, at the earliest, for what was decided and not carried out: it may have been due at once, and cannot be done yet.
const NOT_DONE: Duration = Duration::from_secs(1);
/// The same for what was.
const DONE: Duration = Duration::from_millis(50);
/// While a look writes: how often it is seen whether its own Release has to go back meanwhile.
const GLANCE: Duration = Duration::from_secs(1);
/// What goes back, and hangs, is tried again soon: for so long it waits until that is said, where perhaps nothing else is answered either.
const SAID_WITHIN: Duration = Duration::from_secs(5);
/// Longest back-off of a Release whose writes fail.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// The same while it goes back: that is tried again as soon as it can succeed.
const LONGEST_BACKOFF_BACK: Duration = Duration::from_secs(3);

/// Sees each decision before anything of it is done, and what it was made of. It can only look on; in production there is none.
pub type Onlooker = Arc<dyn Fn(&Snapshot, &Decision) + Send + Sync>;

/// What a look needs.
pub struct Reconciler {
    pub clock: Clock,
    pub index: SharedIndex,
    pub reader: Reader,
    pub reading: Reading,
    pub writer: Writer,
    pub queue: Arc<Queue>,
    pub findings: Arc<SharedFindings>,
    pub sampler: Arc<Sampler>,
    pub prober: Prober,
    pub errands: Errands,
    pub notifier: Notifier,
    pub reporter: Reporter,
    pub own: OwnWrites,
    pub own_status: OwnStatus,
    pub missing: Missing,
    pub let_go: LetGo,
    pub rush: Rush,
    pub unanswered: Unanswered,
    pub onlooker: Option<Onlooker>,
}

impl Reconciler {
    /// Looks at one Release.
    pub async fn look(&self, key: &Key) {
        let wait = match self.see(key).await {
            Ok(snapshot) if self.own.newer_than(key, &snapshot) => {
                self.own.look_for(&self.reader, key, &snapshot).await;
                OWN_WRITE
            }
            Ok(snapshot) => return self.look_at(key, &snapshot).await,
            Err(wait) => wait,
        };
        self.queue.wake_at(key.clone(), clock::instant() + wait);
        self.queue.not_looked_at(key);
    }

    async fn look_at(&self, key: &Key, snapshot: &Snapshot) {
        let began = clock::instant();
        self.findings.see_ready_ahead(key, &snapshot.pods, snapshot.now);
        let decision = decide::decide(snapshot);
        if let Some(onlooker) = &self.onlooker {
            onlooker(snapshot, &decision);
        }
        let needs = decide::needs(snapshot);
        let run = snapshot.release.as_ref().and_then(|release| release.status.run.as_ref());
        let decided = decision.status.as_ref().and_then(|status| status.run.as_ref());
        self.errands.see(key, run, decided);
        self.errands.begin_reading(key, &decision.errands);
        if is_noted(run, decided) {
            self.errands.begin_hooks(key, &decision.errands);
        }
        self.prober.ask(key, snapshot.release.as_ref().and_then(Asker::of), needs.probes);
        self.prober.read(key, needs.outputs);
        self.prober.place(key, needs.placing);
        self.sampler.ensure(key, needs.sampling);
        self.tell(key, snapshot);
        let way_back = decision.way_back(snapshot);
        let goes_back = way_back.as_ref().is_some_and(|way| way.back.restored_at.is_none());
        self.findings.see_way_back(key, way_back);
        self.rush.note(key, goes_back, clock::instant());
        let (mut is_done, mut is_overtaken) = (false, false);
        if decision.only_tells() && self.rush.has_it_wait(key, clock::instant()) {
            self.queue.wake_at(key.clone(), clock::instant() + RUSH);
        } else if let Some(until) = self.own.backs_off(key, decision.urgent).filter(|_| decision.writes()) {
            self.queue.wake_at(key.clone(), until);
        } else if decision.urgent || !decision.writes() || self.queue.may_write(key) {
            let mut beside = Beside { reconciler: self, key, errands: &decision.errands, glanced: began };
            let (applied, outcome) =
                act::carry_out(&self.writer, key, snapshot.release.as_ref(), &decision, &mut beside).await;
            let tried = decision.intents.get(..applied.tried).unwrap_or_default();
            self.unanswered.note(key, tried, &applied.unanswered, clock::instant());
            self.note(key, snapshot, &applied, &outcome);
            is_done = outcome.is_ok() && !applied.cut_short;
            is_overtaken = applied.cut_short;
            if applied.revision.is_some() || is_done {
                // Also where what was ordered after it failed: no later look decides once more what status says already.
                self.reporter.tell(snapshot, &decision);
            }
            match outcome {
                Ok(()) if is_overtaken => {
                    tracing::info!(release = %key, writes = applied.writes, "something that goes first came up while it was written");
                    self.queue.wake(key.clone());
                }
                Ok(()) => self.done(key, snapshot, &applied),
                Err(failed) => {
                    self.failed(key, &failed, decision.urgent);
                    // Status that went out in this look is another one than that of the snapshot.
                    if let (Some(refusal), None) = (failed.refusal(), applied.revision) {
                        self.refused(key, snapshot, &decision, &refusal).await;
                    }
                }
            }
            // Of a Release that is gone nothing is forgotten before what it takes has gone out.
            if is_done || snapshot.release.is_some() {
                self.findings.prune(key, snapshot.release.as_ref());
            }
        }
        // Also where nothing could be written: what the clock brings may have to go back, and waits for no turn and for no back-off of other
        // writes.
        if let Some(wake) = decision.wake {
            let wait = Duration::try_from(wake - snapshot.now).unwrap_or_default();
            let soonest = clock::instant() + if is_done { DONE } else { NOT_DONE };
            self.queue.wake_at(key.clone(), soonest.max(began + wait));
        }
        self.queue.done(key, decision.urgent || is_overtaken);
    }

    /// Whether what is known of a Release by now is something that goes before everything else. What has to be read again for that is for the next look.
    fn goes_first(&self, key: &Key) -> bool {
        let seen = self.observe(key, &Again::default(), self.clock.now());
        seen.is_ok_and(|snapshot| decide::decide(&snapshot).urgent)
    }

    fn observe(&self, key: &Key, again: &Again, now: Timestamp) -> Result<Snapshot, Vec<Outlined>> {
        let snapshot = self.observe_once(key, again, now)?;
        match self.own_status.sees_less(key, snapshot.release.as_ref()) {
            true => self.observe_once(key, again, now),
            false => Ok(snapshot),
        }
    }

    fn observe_once(&self, key: &Key, again: &Again, now: Timestamp) -> Result<Snapshot, Vec<Outlined>> {
        let mut findings = self.findings.of(key, now);
        findings.told = self.notifier.told(key);
        findings.last_write = self.own.last_write(key);
        findings.labelled = self.own.labelled(key);
        findings.let_go = self.let_go.of(key);
        findings.pruned = self.own_status.pruned(key);
        observe::observe(&self.index.lock(), again, &self.reading, key, findings, now)
    }

    /// What is known of a Release. `Err`: something of it has to be read again or asked about, and cannot be now, or is there and not heard of; it can be tried
    /// again after so long.
    async fn see(&self, key: &Key) -> Result<Snapshot, Duration> {
        let mut again = Again::default();
        for _ in 0..READINGS {
            let lacking = match self.observe(key, &again, self.clock.now()) {
                Ok(snapshot) if self.missing.is_known(&self.index, key, &snapshot) => return Ok(snapshot),
                Ok(snapshot) => {
                    let asked = self.missing.ask(&self.index, &self.reader, key, &snapshot).await;
                    asked.map_err(|wait| spread(key, wait))?;
                    continue;
                }
                Err(lacking) => lacking,
            };
            match self.reader.read(&key.namespace, lacking, &mut again).await {
                Ok(()) => {}
                Err(NotRead::NoTurn | NotRead::Gone) => break,
                Err(error @ (NotRead::Late | NotRead::Api(_))) => {
                    tracing::warn!(release = %key, error = %logged(&error), "what is not kept in memory could not be read again");
                    return Err(NOT_READ);
                }
            }
        }
        Err(spread(key, NO_TURN))
    }

    /// Another process may lead from here on: what was begun for Releases stops, and what was found is forgotten.
    pub fn end_term(&self) {
        self.sampler.stop();
        self.prober.stop();
        self.notifier.stop();
        self.errands.clear();
        self.findings.clear();
        self.unanswered.clear();
        self.own_status.clear();
    }

    /// Has people told what status owes them.
    fn tell(&self, key: &Key, snapshot: &Snapshot) {
        let known = |release: &ReleaseFacts| release.status.notifications.clone().unwrap_or_default().owed;
        let owed = snapshot.release.as_ref().map(known).unwrap_or_default();
        self.notifier.prune(key, &owed);
        if !self.notifier.deliver(key, decide::notify::owed(snapshot)) {
            self.queue.wake_at(key.clone(), clock::instant() + ROOM);
        }
    }

    /// What was written is known from here on, whether or not something failed after it: the next look waits until it sees that.
    fn note(&self, key: &Key, snapshot: &Snapshot, applied: &Applied, outcome: &Result<(), Failed>) {
        self.reporter.wrote(applied, outcome);
        self.own.note(key, snapshot, applied);
        self.own_status.note(key, snapshot.release.as_ref(), applied);
        if applied.revision.is_some() {
            self.missing.note_written(key);
        }
        self.let_go.note(key, &applied.let_go);
        for (id, message) in &applied.refused {
            let answer =
                ProbeAnswer { at: snapshot.now, result: ProbeResult::Failed, message: message.clone() };
            self.findings.add_answer(key, id.clone(), answer);
        }
        for (what, refusal) in &applied.done_without {
            let news = self.findings.see_done_without(key, what, refusal.as_ref(), snapshot.now);
            if news != News::Nothing {
                // Said in status by the next look. Of many marks some go out in each.
                self.queue.wake_at(key.clone(), clock::instant() + SAID_IN);
            }
            if let Some(refusal) = refusal.as_ref().filter(|_| news == News::ForPeople) {
                let notice = Notice::warning(refusal.reason(), refusal.sentence());
                self.reporter.say(snapshot, notice);
            }
        }
    }

    fn done(&self, key: &Key, snapshot: &Snapshot, applied: &Applied) {
        self.own.succeeded(key);
        if snapshot.release.is_none() && snapshot.target.is_none() {
            self.own.forget(key);
            self.unanswered.forget(key);
        }
        if !applied.refused.is_empty() {
            self.queue.wake(key.clone());
        }
    }

    /// Says in status what was refused, and why, if that can be said.
    async fn refused(&self, key: &Key, snapshot: &Snapshot, failed: &Decision, refusal: &Refusal) {
        let decision = refusal::decide(snapshot, failed.status.as_ref(), refusal);
        let (release, mut never) = (snapshot.release.as_ref(), || false);
        let said = act::carry_out(&self.writer, key, release, &decision, &mut never);
        let said = match failed.urgent && refusal.why == Why::Unanswered {
            true => tokio::time::timeout(SAID_WITHIN, said).await.ok(),
            false => Some(said.await),
        };
        let Some((applied, outcome)) = said else { return };
        self.note(key, snapshot, &applied, &outcome);
        if outcome.is_ok() {
            self.reporter.tell(snapshot, &decision);
        }
    }

    fn failed(&self, key: &Key, Failed { what, error }: &Failed, back: bool) {
        let failures = self.own.count_failure(key);
        let wait = if error.look_again() && failures < QUICK_LOOKS {
            Duration::from_millis(20)
        } else {
            let longest = if back { LONGEST_BACKOFF_BACK } else { LONGEST_BACKOFF };
            let wait = Duration::from_millis(500).saturating_mul(1 << failures.min(10));
            spread(key, wait.max(error.come_back_in()).min(longest))
        };
        if !error.look_again() {
            self.own.back_off(key, BackOff { until: clock::instant() + wait, back });
        }
        // What comes too late again and again is no race.
        if !error.look_again() || failures >= QUICK_LOOKS {
            tracing::warn!(release = %key, what, error = %logged(error), retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a write failed");
        }
        self.queue.wake_at(key.clone(), clock::instant() + wait);
    }
}

/// Whether status says already that the run goes back, and that it is this way back. `decided`: as it will be, if there is something to write.
fn is_noted(run: Option<&Run>, decided: Option<&Run>) -> bool {
    let since = |run: &Run| Some(run.back.as_ref()?.decided_at);
    let noted = run.and_then(since);
    noted.is_some() && decided.is_none_or(|decided| since(decided) == noted)
}

/// What goes on beside the writes of a look.
struct Beside<'l> {
    reconciler: &'l Reconciler,
    key: &'l Key,
    errands: &'l [Errand],
    /// When it was last seen whether the Release has to go back meanwhile.
    glanced: Instant,
}

impl Meanwhile for Beside<'_> {
    fn is_overtaken(&mut self) -> bool {
        let now = clock::instant();
        let is_time = now >= self.glanced + GLANCE;
        if is_time {
            self.glanced = now;
        }
        is_time && self.reconciler.goes_first(self.key)
    }

    fn stands(&mut self) {
        self.reconciler.errands.begin_hooks(self.key, self.errands);
    }

    fn was_unanswered(&self, what: &str) -> bool {
        self.reconciler.unanswered.has(self.key, what, clock::instant())
    }
}

/// Up to a quarter longer, each Release in a way of its own: those that failed together do not come again together.
fn spread(key: &Key, wait: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let part = u32::try_from(hasher.finish() % 1000).unwrap_or(0);
    wait + wait.mul_f64(f64::from(part) / 4000.0)
}

#[cfg(test)]
mod tests;
