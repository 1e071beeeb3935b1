//! What is done beside the way back, one task an errand: reading what pods wrote, and hooks. What came of one goes to the findings and wakes
//! the Release; nobody waits for any of them here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use crate::act::{ActError, Writer, call};
use crate::api::undo::{HttpHook, SecretHeader};
use crate::decide::plan::ObjectPatch;
use crate::decide::snapshot::{Gathered, ProbeAnswer, ProbeResult};
use crate::decide::{Errand, ErrandKind, Key, hook_id};
use crate::observe::credentials;
use crate::observe::gather::Gatherer;
use crate::observe::reach::Reach;

/// Errands of a kind under way at most: hooks, and reading. Further ones are begun in a later look.
const MOST: usize = 64;
/// For each try of a hook.
const TRY: Duration = Duration::from_secs(10);
/// How long after a try that failed the next one comes; after the last there is none.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What an errand is run with.
#[derive(Clone)]
pub struct Hands {
    pub client: Client,
    pub reach: Reach,
    pub writer: Writer,
    pub clock: Clock,
    pub findings: Arc<SharedFindings>,
    pub queue: Arc<Queue>,
    pub gatherer: Arc<Gatherer>,
}

/// Errands, under way and done.
pub struct Errands {
    hands: Hands,
    begun: Mutex<Begun>,
}

#[derive(Default)]
struct Begun {
    /// By Release, those of the run that is going back.
    known: HashMap<Key, OfRun>,
    hooks: JoinSet<()>,
    /// Apart: what is read must not keep a hook waiting.
    reading: JoinSet<()>,
}

/// The errands of a run.
struct OfRun {
    run: String,
    names: HashSet<String>,
    /// Lives as long as anybody asks what came of them. A Release that is made anew counts its runs from 1 again: by the name of a run what
    /// came of the former one's would be taken for its own.
    asked: Arc<()>,
}

impl OfRun {
    fn new(run: &str) -> Self {
        Self { run: run.to_owned(), names: HashSet::new(), asked: Arc::default() }
    }
}

impl Errands {
    pub fn new(hands: Hands) -> Self {
        Self { hands, begun: Mutex::default() }
    }

    /// Begins what has not been begun in this process. `run`: the one that is under way; of others nothing is asked any more.
    pub fn begin(&self, key: &Key, run: Option<&str>, errands: &[Errand]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.known.get(key).is_some_and(|of| Some(of.run.as_str()) != run) {
            begun.known.remove(key);
        }
        let Begun { known, hooks, reading } = &mut *begun;
        while hooks.try_join_next().is_some() || reading.try_join_next().is_some() {}
        for Errand { run, name, kind } in errands {
            let tasks = if matches!(kind, ErrandKind::Gather(_)) { &mut *reading } else { &mut *hooks };
            if tasks.len() >= MOST {
                continue;
            }
            let of = known.entry(key.clone()).or_insert_with(|| OfRun::new(run));
            if !of.names.insert(name.clone()) {
                continue;
            }
            let asked = Arc::downgrade(&of.asked);
            let (hands, key, run, kind) = (self.hands.clone(), key.clone(), run.clone(), kind.clone());
            let name = name.clone();
            tasks.spawn(async move { hands.run(key, run, &name, kind, &asked).await });
        }
    }

    /// Another process led meanwhile: what it was told is not known here.
    pub fn clear(&self) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.known.clear();
        begun.hooks.abort_all();
        begun.reading.abort_all();
    }
}

/// Why a try came to nothing.
enum Failed {
    ForGood(String),
    ForNow(String),
}

impl Hands {
    async fn run(self, key: Key, run: String, name: &str, kind: ErrandKind, asked: &Weak<()>) {
        let answer = match kind {
            ErrandKind::Gather(wanted) => {
                let pods = self.gatherer.gather(&key.namespace, &wanted).await;
                if asked.strong_count() == 0 {
                    return;
                }
                self.findings.add_gathered(&key, Gathered { run, pods });
                return self.queue.wake(key);
            }
            ErrandKind::Call(hook) => self.tried(|| self.call(&key, &hook)).await,
            ErrandKind::Patch(patch) => self.tried(|| self.patch(&key, &patch)).await,
            ErrandKind::MakeJob { body } => {
                self.tried(|| async {
                    // Who is gone has taken the Job along, if it was made: it is not made a second time.
                    if asked.strong_count() == 0 {
                        return Err(Failed::ForGood("its run is over".to_owned()));
                    }
                    let made = self.writer.create_job(&key.namespace, &body).await;
                    made.map(|()| "made".to_owned()).map_err(refused)
                })
                .await
            }
        };
        let (result, message) = match answer {
            Ok(message) => (ProbeResult::Passed, message),
            Err(message) => (ProbeResult::Failed, message),
        };
        let hook = name.strip_prefix("hook/").unwrap_or(name);
        tracing::info!(release = %key, run, hook, ?result, message, "a hook of the way back ended");
        if asked.strong_count() == 0 {
            return;
        }
        self.findings.add_answer(
            &key,
            hook_id(&run, hook),
            ProbeAnswer { at: self.clock.now(), result, message },
        );
        self.queue.wake(key);
    }

    /// A few times, unless it is in vain; by the leader only.
    async fn tried<F>(&self, again: impl Fn() -> F) -> Result<String, String>
    where
        F: Future<Output = Result<String, Failed>>,
    {
        let mut waits = WAITS.into_iter();
        loop {
            if !self.writer.may_write() {
                return Err("another process may be the leader: it was not done".to_owned());
            }
            let failed = match tokio::time::timeout(TRY, again()).await {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(Failed::ForGood(message))) => return Err(message),
                Ok(Err(Failed::ForNow(message))) => message,
                Err(_) => format!("no answer within {} s", TRY.as_secs()),
            };
            let Some(wait) = waits.next() else {
                return Err(format!("{failed} (tried {} times)", WAITS.len() + 1));
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn call(&self, key: &Key, hook: &HttpHook) -> Result<String, Failed> {
        let secret = match &hook.secret_header {
            Some(header) => {
                let SecretHeader { secret, key: data, .. } = header;
                let read =
                    credentials::token(&self.client, &key.namespace, "secretHeader", secret, data).await;
                Some(read.map_err(|error| Failed::ForNow(error.to_string()))?)
            }
            None => None,
        };
        match call::call(&self.reach, hook, secret.as_deref()).await {
            Ok(status) => Ok(format!("answered {status}")),
            Err(error) if error.is_lasting() => Err(Failed::ForGood(error.to_string())),
            Err(error) => Err(Failed::ForNow(error.to_string())),
        }
    }

    async fn patch(&self, key: &Key, patch: &ObjectPatch) -> Result<String, Failed> {
        let ObjectPatch { resource, name, .. } = patch;
        match self.writer.patch_object(&key.namespace, patch).await {
            Ok(()) => Ok(format!("patched {resource} {name}")),
            Err(ActError::Gone) => Err(Failed::ForGood(format!("there is no {resource} {name}"))),
            Err(ActError::Forbidden(right)) => Err(Failed::ForGood(format!(
                "the operator may not patch {resource} in namespace {}: name it in hookPatches of the chart ({})",
                key.namespace,
                right.rule()
            ))),
            Err(error) => Err(refused(error)),
        }
    }
}

fn refused(error: ActError) -> Failed {
    match error {
        ActError::Refused(_) | ActError::Forbidden(_) | ActError::Gone => Failed::ForGood(error.to_string()),
        ActError::Fenced
        | ActError::Stale(_)
        | ActError::Deadline
        | ActError::Throttled(_)
        | ActError::Unreachable(_)
        | ActError::WebhookSilent(_) => Failed::ForNow(error.to_string()),
    }
}
