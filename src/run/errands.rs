//! What is done beside the way back, one task an errand: reading what pods wrote, and hooks. What came of one goes to the findings and wakes
//! the Release; nobody waits for any of them here.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use crate::act::{ActError, Writer, call};
use crate::api::status::Run;
use crate::api::undo::{HookStatus, HttpHook, SecretHeader};
use crate::decide::plan::ObjectPatch;
use crate::decide::snapshot::{Gathered, ProbeAnswer, ProbeResult};
use crate::decide::{Errand, ErrandKind, Key, hook_errand, hook_id};
use crate::logged::logged;
use crate::observe::credentials;
use crate::observe::gather::Gatherer;
use crate::observe::reach::Reach;

/// Errands of a kind under way at most: hooks, and reading. Further ones are begun in a later look.
///
/// A namespace has no more than it leaves to all others: hooks that hang in a few hold up none of another.
const MOST: usize = 64;
/// For each try of a hook.
const TRY: Duration = Duration::from_secs(10);
/// How long after a try that failed the next one comes; after the last there is none.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How often one that may not be done now looks whether it may.
const LOOK: Duration = Duration::from_secs(1);

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
    hooks: Places,
    /// Apart: what is read must not keep a hook waiting.
    reading: Places,
}

/// Errands of a kind that are under way.
#[derive(Default)]
struct Places {
    tasks: JoinSet<()>,
    /// By namespace. Each errand holds one more.
    held: HashMap<String, Arc<()>>,
}

impl Places {
    /// Forgets those that have ended.
    fn tidy(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.held.retain(|_, held| Arc::strong_count(held) > 1);
    }

    /// A place for one of this namespace, to be held for as long as it is under way; `None`: there is none for it.
    fn take(&mut self, namespace: &str) -> Option<Arc<()>> {
        let held = self.held.entry(namespace.to_owned()).or_default();
        let own = Arc::strong_count(held) - 1;
        (own < MOST.saturating_sub(self.tasks.len())).then(|| held.clone())
    }
}

/// The errands of a run.
struct OfRun {
    run: String,
    names: HashSet<String>,
    /// Lives as long as anybody asks what came of them. A Release that is made anew counts its runs from 1 again: by the name of a run what
    /// came of the former one's would be taken for its own.
    asked: Arc<Asked>,
}

/// Somebody asks.
#[derive(Default)]
struct Asked {
    /// Errands whose Jobs have been seen, by name: whether or not it was answered that they were made, and whether or not they are there any more.
    made: Mutex<HashSet<String>>,
}

impl Asked {
    fn note_made(&self, hooks: &[HookStatus]) {
        let made = hooks.iter().filter(|hook| hook.job.is_some()).map(|hook| hook_errand(&hook.name));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
    }

    fn is_made(&self, name: &str) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
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

    /// Of runs but the one that is under way, as status has it, nothing is asked any more. `decided`: the same run as it is from this look on, whether or not
    /// that is written yet: whose Job has been seen then has been seen.
    pub fn see(&self, key: &Key, run: Option<&Run>, decided: Option<&Run>) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = begun.known.get(key) else { return };
        if run.is_none_or(|run| run.id != of.run) {
            begun.known.remove(key);
            return;
        }
        for run in run.into_iter().chain(decided).filter(|run| run.id == of.run) {
            of.asked.note_made(run.back.as_ref().map(|back| back.hooks.as_slice()).unwrap_or_default());
        }
    }

    /// Begins to read what has not been begun to be read in this process. That changes nothing, and waits for nothing.
    pub fn begin_reading(&self, key: &Key, errands: &[Errand]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Begun { known, hooks: _, reading } = &mut *begun;
        reading.tidy();
        for errand in errands.iter().filter(|errand| reads(errand)) {
            self.begin(known, reading, key, errand);
        }
    }

    /// Begins what changes something and has not been begun in this process. It cannot be taken back: it is for whoever is certain that the run goes back.
    pub fn begin_hooks(&self, key: &Key, errands: &[Errand]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Begun { known, hooks, reading: _ } = &mut *begun;
        hooks.tidy();
        for errand in errands.iter().filter(|errand| !reads(errand)) {
            self.begin(known, hooks, key, errand);
        }
    }

    fn begin(
        &self,
        known: &mut HashMap<Key, OfRun>,
        places: &mut Places,
        key: &Key,
        Errand { run, name, kind }: &Errand,
    ) {
        let Some(place) = places.take(&key.namespace) else { return };
        let of = known.entry(key.clone()).or_insert_with(|| OfRun::new(run));
        if !of.names.insert(name.clone()) {
            return;
        }
        let asked = Arc::downgrade(&of.asked);
        let (hands, key, run, kind) = (self.hands.clone(), key.clone(), run.clone(), kind.clone());
        let name = name.clone();
        places.tasks.spawn(async move {
            hands.run(key, run, &name, kind, &asked).await;
            drop(place);
        });
    }

    /// Another process led meanwhile: what it was told is not known here.
    pub fn clear(&self) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.known.clear();
        begun.hooks.tasks.abort_all();
        begun.reading.tasks.abort_all();
    }
}

/// Whether it only reads.
fn reads(errand: &Errand) -> bool {
    match &errand.kind {
        ErrandKind::Gather(_) => true,
        ErrandKind::Call(_) | ErrandKind::Patch(_) | ErrandKind::MakeJob { .. } => false,
    }
}

/// Why a try came to nothing.
enum Failed {
    ForGood(String),
    ForNow(String),
}

impl Hands {
    async fn run(self, key: Key, run: String, name: &str, kind: ErrandKind, asked: &Weak<Asked>) {
        let answer = match kind {
            ErrandKind::Gather(wanted) => {
                let pods = self.gatherer.gather(&key.namespace, &wanted).await;
                if asked.strong_count() == 0 {
                    return;
                }
                self.findings.add_gathered(&key, Gathered { run, pods });
                return self.queue.wake(key);
            }
            ErrandKind::Call(hook) => self.tried(asked, || self.call(&key, &hook)).await,
            ErrandKind::Patch(patch) => self.tried(asked, || self.patch(&key, &patch)).await,
            ErrandKind::MakeJob { body } => {
                self.tried(asked, || async {
                    // Who is gone has taken the Job along, if it was made, and that may not have been heard of: it is not made a second time.
                    // Nor does this one ask, for as long as it takes to make it: the others of its run would go on.
                    match asked.upgrade().map(|run| run.is_made(name)) {
                        None => return Err(Failed::ForGood("its run is over".to_owned())),
                        Some(true) => return Ok("made".to_owned()),
                        Some(false) => {}
                    }
                    let made = self.writer.create_job(&key.namespace, &body).await;
                    made.map(|()| "made".to_owned()).map_err(refused)
                })
                .await
            }
        };
        let (result, message) = match answer {
            Some(Ok(message)) => (ProbeResult::Passed, message),
            Some(Err(message)) => (ProbeResult::Failed, message),
            None => return,
        };
        let hook = name.strip_prefix("hook/").unwrap_or(name);
        tracing::info!(release = %key, run, hook, ?result, said = %logged(&message), "a hook of the way back ended");
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

    /// A few times, unless it is in vain; by the leader only. That this process may not act now says nothing of what it is asked to do: it waits
    /// until it may, which is no try. `None`: nobody asks any more.
    async fn tried<F>(&self, asked: &Weak<Asked>, again: impl Fn() -> F) -> Option<Result<String, String>>
    where
        F: Future<Output = Result<String, Failed>>,
    {
        let mut waits = WAITS.into_iter();
        loop {
            while !self.writer.may_write() {
                if asked.strong_count() == 0 {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
            // Broken off because another may lead, it was no try.
            let Some(answer) = self.while_it_may_write(tokio::time::timeout(TRY, again())).await else {
                continue;
            };
            let failed = match answer {
                Ok(Ok(message)) => return Some(Ok(message)),
                Ok(Err(Failed::ForGood(message))) => return Some(Err(message)),
                Ok(Err(Failed::ForNow(message))) => message,
                Err(_) => format!("no answer within {} s", TRY.as_secs()),
            };
            // So it was where a write of its was refused for that.
            if !self.writer.may_write() {
                continue;
            }
            let Some(wait) = waits.next() else {
                return Some(Err(format!("{failed} (tried {} times)", WAITS.len() + 1)));
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// What comes of it, for as long as this process leads. `None`: it leads no more, or not for certain.
    async fn while_it_may_write<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let led_for = self.writer.may_write_for();
            if led_for.is_zero() {
                return None;
            }
            if let Ok(done) = tokio::time::timeout(led_for, &mut work).await {
                return Some(done);
            }
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
            Err(ActError::NotServed(_)) => Err(Failed::ForNow(format!("{resource} are not served"))),
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
        ActError::Refused(_) | ActError::Forbidden(_) | ActError::Taken { .. } | ActError::Gone => {
            Failed::ForGood(error.to_string())
        }
        ActError::Fenced
        | ActError::Stale(_)
        | ActError::Deadline(_)
        | ActError::Unanswered
        | ActError::Throttled(_)
        | ActError::Unreachable(_)
        | ActError::NotServed(_)
        | ActError::WebhookSilent(_) => Failed::ForNow(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::act::Fence;

    /// A fence that is there, or not.
    struct Leads(AtomicBool);

    impl Fence for Leads {
        fn remaining(&self) -> Duration {
            if self.0.load(Ordering::Relaxed) { Duration::from_secs(10) } else { Duration::ZERO }
        }
    }

    type Asked = Arc<Mutex<Vec<String>>>;

    /// Errands of an API server that answers nothing, and what it was asked for.
    fn to_nobody() -> (Errands, Asked) {
        to_nobody_behind(Arc::new(Leads(AtomicBool::new(true))))
    }

    /// The same, of one that may act as this fence says.
    fn to_nobody_behind(fence: Arc<Leads>) -> (Errands, Asked) {
        let asked = Asked::default();
        let heard = asked.clone();
        let silent = tower::service_fn(move |request: Request<Body>| {
            heard.lock().unwrap().push(request.uri().path().to_owned());
            std::future::pending::<Result<Response<Body>, std::io::Error>>()
        });
        let client = Client::new(silent, "default");
        let hands = Hands {
            gatherer: Arc::new(Gatherer::start(client.clone())),
            reach: Reach::anywhere(),
            writer: Writer::new(client.clone(), fence),
            clock: Clock::machine(),
            findings: Arc::new(SharedFindings::new(Clock::machine())),
            queue: Arc::new(Queue::with_turns(8)),
            client,
        };
        (Errands::new(hands), asked)
    }

    fn begin(errands: &Errands, namespace: &str, number: usize) {
        begin_hook(errands, namespace, number, "flag");
    }

    fn begin_hook(errands: &Errands, namespace: &str, number: usize, hook: &str) {
        let key = Key { namespace: namespace.to_owned(), name: format!("shop-{number}") };
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "flag-off"}});
        let errand = Errand { run: "r1".into(), name: hook_errand(hook), kind: ErrandKind::MakeJob { body } };
        errands.begin_hooks(&key, &[errand]);
    }

    fn run() -> Run {
        let run = json!({"id": "r1", "number": 1, "startedAt": "2026-01-01T00:00:00Z", "stage": "Steps", "originals": {}});
        serde_json::from_value(run).expect("a run")
    }

    fn of(asked: &Asked, namespace: &str) -> usize {
        let place = format!("/namespaces/{namespace}/");
        asked.lock().unwrap().iter().filter(|path| path.contains(&place)).count()
    }

    async fn until_begun() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_that_hang_in_one_namespace_hold_up_none_of_another() {
        let (errands, asked) = to_nobody();
        (0..100).for_each(|number| begin(&errands, "busy", number));
        begin(&errands, "other", 0);
        until_begun().await;
        assert_eq!((of(&asked, "busy"), of(&asked, "other")), (MOST / 2, 1));
        (1..100).for_each(|number| begin(&errands, "other", number));
        for namespace in ["third", "fourth", "fifth"] {
            (0..100).for_each(|number| begin(&errands, namespace, number));
        }
        begin(&errands, "sixth", 0);
        until_begun().await;
        let begun = ["busy", "other", "third", "fourth", "fifth", "sixth"].map(|of_it| of(&asked, of_it));
        assert_eq!(begun, [32, 16, 8, 4, 2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_found_no_place_begins_once_there_is_one() {
        let (errands, asked) = to_nobody();
        (0..=MOST / 2).for_each(|number| begin(&errands, "busy", number));
        until_begun().await;
        assert_eq!(of(&asked, "busy"), MOST / 2);
        // All tries of all that are under way come to nothing.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let before = of(&asked, "busy");
        begin(&errands, "busy", MOST / 2);
        until_begun().await;
        assert_eq!(of(&asked, "busy"), before + 1);
    }
    /// What came of the hook of this Release, where that is known.
    fn answer(errands: &Errands, number: usize) -> Option<String> {
        let key = Key { namespace: "shop".to_owned(), name: format!("shop-{number}") };
        let Hands { findings, clock, .. } = &errands.hands;
        findings.of(&key, clock.now()).probes.into_values().next().map(|answer| answer.message)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_may_not_be_done_now_waits_and_has_all_its_tries_then() {
        let fence = Arc::new(Leads(AtomicBool::new(false)));
        let (errands, asked) = to_nobody_behind(fence.clone());
        begin(&errands, "shop", 0);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!((of(&asked, "shop"), answer(&errands, 0)), (0, None));
        fence.0.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(of(&asked, "shop"), 1);
        // The first try is broken off.
        fence.0.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!((of(&asked, "shop"), answer(&errands, 0)), (1, None));
        fence.0.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(of(&asked, "shop"), 4);
        let said = answer(&errands, 0).expect("an answer");
        assert!(said.ends_with("(tried 3 times)"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_was_seen_is_not_made_again_though_nobody_has_answered_that_it_was_made() {
        let hook = json!({"name": "flag", "state": "Started", "job": "flag-off"});
        let back =
            json!({"cause": "Breach", "message": "", "decidedAt": "2026-01-01T00:00:00Z", "hooks": [hook]});
        let back = serde_json::from_value(back).expect("a way back");
        let seen = Run { back: Some(back), ..run() };
        let another = Run { id: "r2".to_owned(), ..seen.clone() };
        // Status says so; it will, and is not written yet; and it will of another run.
        for (noted, decided, tries) in
            [(&seen, None, 1), (&run(), Some(&seen), 1), (&run(), Some(&another), 3)]
        {
            let (errands, asked) = to_nobody();
            begin(&errands, "shop", 0);
            until_begun().await;
            assert_eq!(of(&asked, "shop"), 1);
            let key = Key { namespace: "shop".to_owned(), name: "shop-0".to_owned() };
            errands.see(&key, Some(noted), decided);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(of(&asked, "shop"), tries);
            assert_eq!(answer(&errands, 0).as_deref() == Some("made"), tries == 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_being_made_has_no_other_made_for_a_run_that_is_over() {
        let (errands, asked) = to_nobody();
        begin_hook(&errands, "shop", 0, "flag");
        tokio::time::sleep(Duration::from_secs(6)).await;
        begin_hook(&errands, "shop", 0, "script");
        // The second try of the first is under way, and so is the first of the second: neither ends before the other begins anew.
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(of(&asked, "shop"), 3);
        let key = Key { namespace: "shop".to_owned(), name: "shop-0".to_owned() };
        errands.see(&key, None, None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((of(&asked, "shop"), answer(&errands, 0)), (3, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_on_for_as_long_as_the_lease_is_renewed() {
        let fence = Arc::new(Leads(AtomicBool::new(true)));
        let (errands, _) = to_nobody_behind(fence.clone());
        let longer_than_the_fence = || tokio::time::sleep(Duration::from_secs(25));
        assert_eq!(errands.hands.while_it_may_write(longer_than_the_fence()).await, Some(()));
        let lapses = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fence.0.store(false, Ordering::Relaxed);
        };
        let (done, ()) = tokio::join!(errands.hands.while_it_may_write(longer_than_the_fence()), lapses);
        assert_eq!(done, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_may_not_be_done_ends_without_an_answer_once_nobody_asks() {
        let fence = Arc::new(Leads(AtomicBool::new(false)));
        let (errands, asked) = to_nobody_behind(fence.clone());
        begin(&errands, "shop", 0);
        until_begun().await;
        let key = Key { namespace: "shop".to_owned(), name: "shop-0".to_owned() };
        errands.see(&key, None, None);
        tokio::time::sleep(2 * LOOK).await;
        fence.0.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((of(&asked, "shop"), answer(&errands, 0)), (0, None));
    }
}
