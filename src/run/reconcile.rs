//! One look at one Release: observe → decide → act → report, and what is needed for the next look.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::clock::{self, Clock};
use super::errands::Errands;
use super::findings::SharedFindings;
use super::link::UnderWay;
use super::own_writes::{BackOff, OwnWrites};
use super::prober::Prober;
use super::queue::Queue;
use super::rush::Rush;
use super::sampler::Sampler;
use crate::act::{self, Applied, Failed, Writer};
use crate::decide::refusal::{self, Missed, Refusal};
use crate::decide::snapshot::{ProbeAnswer, ProbeResult, ReleaseFacts};
use crate::decide::{self, Decision, Key, Notice, Snapshot};
use crate::observe::{self, reading::Reading};
use crate::report::{Notifier, Reporter};
use crate::watch::SharedIndex;
use crate::watch::again::{Again, NotRead, Reader};

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
/// Longest back-off of a Release whose writes fail.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// The same while it goes back: that is tried again as soon as it can succeed.
const LONGEST_BACKOFF_BACK: Duration = Duration::from_secs(3);

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
    pub under_way: Arc<UnderWay>,
    pub rush: Rush,
}

impl Reconciler {
    /// Looks at one Release.
    pub async fn look(&self, key: &Key) {
        let snapshot = match self.see(key).await {
            Ok(snapshot) => snapshot,
            Err(wait) => {
                self.queue.wake_at(key.clone(), clock::instant() + wait);
                self.queue.done(key, false);
                return;
            }
        };
        if self.own.newer_than(key, &snapshot) {
            self.queue.wake_at(key.clone(), clock::instant() + OWN_WRITE);
            self.queue.done(key, false);
            return;
        }
        self.findings.see_ready_ahead(key, &snapshot.pods, snapshot.now);
        let decision = decide::decide(&snapshot);
        let runs = |release: &ReleaseFacts| release.status.run.is_some();
        self.under_way.note(key, decision.urgent || snapshot.release.as_ref().is_some_and(runs));
        let needs = decide::needs(&snapshot);
        let run = |release: &ReleaseFacts| Some(release.status.run.as_ref()?.id.clone());
        self.errands.begin(key, snapshot.release.as_ref().and_then(run).as_deref(), &decision.errands);
        self.prober.ask(key, needs.probes);
        self.prober.read(key, needs.outputs);
        self.prober.place(key, needs.placing);
        self.sampler.ensure(key, needs.sampling);
        self.tell(key, &snapshot);
        let way_back = decision.way_back(&snapshot);
        let goes_back = way_back.as_ref().is_some_and(|way| way.back.restored_at.is_none());
        if snapshot.release.is_some() {
            self.findings.see_way_back(key, way_back);
        }
        self.rush.note(key, goes_back, clock::instant());
        if decision.only_tells() && self.rush.has_it_wait(key, clock::instant()) {
            self.queue.wake_at(key.clone(), clock::instant() + RUSH);
        } else if let Some(until) = self.own.backs_off(key, decision.urgent).filter(|_| decision.writes()) {
            self.queue.wake_at(key.clone(), until);
        } else if decision.urgent || !decision.writes() || self.queue.may_write(key) {
            let (applied, outcome) =
                act::carry_out(&self.writer, key, snapshot.release.as_ref(), &decision).await;
            self.note(key, &snapshot, &applied, &outcome);
            let is_done = outcome.is_ok();
            match outcome {
                Ok(()) => self.done(key, &snapshot, &decision, &applied),
                Err(failed) => {
                    self.failed(key, &failed, decision.urgent);
                    // Status that went out in this look is another one than that of the snapshot.
                    if let (Some(refusal), None) = (failed.refusal(), applied.revision) {
                        self.refused(key, &snapshot, &refusal).await;
                    }
                }
            }
            // Where there is no status any more, what the run was about to put back is known until it stands on the Deployment.
            if is_done || snapshot.release.is_some() {
                self.findings.prune(key, snapshot.release.as_ref());
            }
        }
        self.queue.done(key, decision.urgent);
    }

    /// What is known of a Release. `Err`: something of it has to be read again, and cannot be now; it can be tried again after so long.
    async fn see(&self, key: &Key) -> Result<Snapshot, Duration> {
        let mut again = Again::default();
        for _ in 0..READINGS {
            let now = self.clock.now();
            let mut findings = self.findings.of(key, now);
            findings.told = self.notifier.told(key);
            let seen = observe::observe(&self.index.lock(), &again, &self.reading, key, findings, now);
            let lacking = match seen {
                Ok(snapshot) => return Ok(snapshot),
                Err(lacking) => lacking,
            };
            match self.reader.read(&key.namespace, lacking, &mut again).await {
                Ok(()) => {}
                Err(NotRead::NoTurn | NotRead::Gone) => break,
                Err(error @ (NotRead::Late | NotRead::Api(_))) => {
                    tracing::warn!(release = %key, %error, "what is not kept in memory could not be read again");
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
        self.under_way.clear();
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
        for (id, message) in &applied.refused {
            let answer =
                ProbeAnswer { at: snapshot.now, result: ProbeResult::Failed, message: message.clone() };
            self.findings.add_answer(key, id.clone(), answer);
        }
        for (what, refusal) in &applied.done_without {
            let missed = refusal.clone().map(|refusal| Missed { at: snapshot.now, refusal });
            if !self.findings.see_missed(key, what.clone(), missed) {
                continue;
            }
            // Said in status by the next look.
            self.queue.wake(key.clone());
            if let Some(refusal) = refusal {
                let notice = Notice::warning(refusal.reason(), refusal.sentence());
                self.reporter.say(snapshot, notice);
            }
        }
    }

    fn done(&self, key: &Key, snapshot: &Snapshot, decision: &Decision, applied: &Applied) {
        self.own.succeeded(key);
        self.reporter.tell(snapshot, decision);
        if snapshot.release.is_none() && snapshot.target.is_none() {
            self.own.forget(key);
        }
        if let Some(wake) = decision.wake {
            let wait = Duration::try_from(wake - snapshot.now).unwrap_or_default();
            self.queue.wake_at(key.clone(), clock::instant() + wait.max(Duration::from_millis(50)));
        }
        if !applied.refused.is_empty() {
            self.queue.wake(key.clone());
        }
    }

    /// Says in status what was refused, and why, if that can be said.
    async fn refused(&self, key: &Key, snapshot: &Snapshot, refusal: &Refusal) {
        let decision = refusal::decide(snapshot, refusal);
        let (applied, outcome) =
            act::carry_out(&self.writer, key, snapshot.release.as_ref(), &decision).await;
        self.note(key, snapshot, &applied, &outcome);
        if outcome.is_ok() {
            self.reporter.tell(snapshot, &decision);
        }
    }

    fn failed(&self, key: &Key, Failed { what, error }: &Failed, back: bool) {
        let failures = self.own.count_failure(key);
        let wait = if error.look_again() && failures < 5 {
            Duration::from_millis(20)
        } else {
            let longest = if back { LONGEST_BACKOFF_BACK } else { LONGEST_BACKOFF };
            let wait = Duration::from_millis(500).saturating_mul(1 << failures.min(10));
            spread(key, wait.max(error.come_back_in()).min(longest))
        };
        if !error.look_again() {
            self.own.back_off(key, BackOff { until: clock::instant() + wait, back });
            tracing::warn!(release = %key, what, %error, retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a write failed");
        }
        self.queue.wake_at(key.clone(), clock::instant() + wait);
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
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::super::errands::Hands;
    use super::super::own_writes::MOST_WAITS;
    use super::*;
    use crate::act::writer::Leads;
    use crate::observe::gather::Gatherer;
    use crate::observe::measure::scrape::Pages;
    use crate::observe::measure::servers::Servers;
    use crate::observe::measure::{self, Trust};
    use crate::observe::reach::Reach;
    use crate::report::Metrics;
    use crate::report::notify::Outside;
    use crate::watch::room::Room;
    use crate::watch::{index, slim};

    type Written = Arc<Mutex<Vec<(String, Instant)>>>;

    /// An API server that takes two seconds for each request.
    fn slow(written: Written) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let written = written.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if *request.method() == Method::PATCH {
                    let path = request.uri().path().to_owned();
                    written.lock().unwrap().push((path, clock::instant()));
                }
                let text =
                    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}});
                Ok::<_, std::io::Error>(Response::new(Body::from(text.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    fn reconciler(client: Client, turns: u16) -> Arc<Reconciler> {
        let metrics = Arc::new(Metrics::new());
        let queue = Arc::new(Queue::with_turns(turns));
        let findings = Arc::new(SharedFindings::new(Clock::machine()));
        let writer = Writer::new(client.clone(), Arc::new(Leads(Duration::from_secs(10))));
        let pages: Arc<dyn Pages> =
            Arc::new(measure::client(Trust::Nothing, &Reach::anywhere()).expect("a client"));
        let servers = Arc::new(Servers::within(Reach::anywhere()));
        Arc::new(Reconciler {
            notifier: Notifier::new(
                Arc::new(Outside::new(client.clone(), Reach::anywhere())),
                metrics.clone(),
                |_| {},
            ),
            index: SharedIndex::default(),
            reader: Reader::of(&client),
            reading: Reading::default(),
            errands: Errands::new(Hands {
                gatherer: Arc::new(Gatherer::start(client.clone())),
                client: client.clone(),
                reach: Reach::anywhere(),
                writer: writer.clone(),
                clock: Clock::machine(),
                findings: findings.clone(),
                queue: queue.clone(),
            }),
            prober: Prober::new(
                client.clone(),
                pages.clone(),
                Reach::anywhere(),
                servers.clone(),
                Clock::machine(),
                findings.clone(),
                queue.clone(),
            ),
            reporter: Reporter::start(writer.clone(), metrics),
            writer,
            sampler: Arc::new(Sampler::new(
                client,
                pages,
                servers,
                Clock::machine(),
                findings.clone(),
                queue.clone(),
                300,
            )),
            clock: Clock::machine(),
            queue,
            findings,
            own: OwnWrites::default(),
            under_way: Arc::default(),
            rush: Rush::default(),
        })
    }

    fn deployment(name: &str, more: &dyn Fn(&mut Value)) -> slim::Deployment {
        let mut deployment = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1, "annotations": {}},
            "spec": {"replicas": 4, "strategy": {"type": "RollingUpdate"}, "template": {"metadata": {}, "spec": {"version": 2}}},
        });
        more(&mut deployment);
        serde_json::from_value(deployment).unwrap()
    }

    fn release(name: &str) -> slim::Release {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        let release = json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"targetRef": target}});
        serde_json::from_value(release).unwrap()
    }

    /// A Deployment in mid-run whose Release is gone: it goes back, and nobody knows before it has been looked at.
    fn bad(index: &mut index::Index) -> Key {
        let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
        let parked = |deployment: &mut Value| {
            deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "bad"});
            deployment["metadata"]["annotations"] =
                json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": "bad-1"});
            deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
        };
        index::apply(index, deployment("bad", &parked));
        let kept = json!({
            "metadata": {
                "name": "bad-1", "namespace": "ns", "labels": {"tidegate.dev/release": "bad"},
                "annotations": {"tidegate.dev/fingerprint": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "bad", "uid": "bad"}],
            },
            "data": {"metadata": {}, "spec": {"version": 1}},
        });
        index::apply(index, serde_json::from_value::<slim::StoredTemplate>(kept).unwrap());
        Key { namespace: "ns".into(), name: "bad".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_back_is_not_held_up_by_a_hundred_that_wait_for_a_slow_server() {
        let written = Written::default();
        let reconciler = reconciler(slow(written.clone()), 8);
        let mut keys = Vec::new();
        let bad = {
            let mut index = reconciler.index.lock();
            for number in 0..100 {
                let name = format!("shop-{number}");
                index::apply(&mut index, deployment(&name, &|_| {}));
                index::apply(&mut index, release(&name));
                keys.push(Key { namespace: "ns".into(), name });
            }
            bad(&mut index)
        };
        for key in keys {
            reconciler.queue.wake(key);
        }
        reconciler.queue.wake(bad);
        let began = clock::instant();
        for _ in 0..reconciler.queue.places() {
            let reconciler = reconciler.clone();
            tokio::spawn(async move {
                loop {
                    let key = reconciler.queue.next().await;
                    reconciler.look(&key).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let written = written.lock().unwrap().clone();
        let when = |path: &str| {
            let at = written.iter().find(|(written, _)| written.ends_with(path)).map(|(_, at)| *at - began);
            at.unwrap_or_else(|| panic!("{path} was not written: {written:?}"))
        };
        let all: Vec<_> = (0..100).map(|number| when(&format!("/deployments/shop-{number}"))).collect();
        assert!(all.iter().max() > Some(&Duration::from_secs(20)), "they do wait for each other: {all:?}");
        let back = when("/deployments/bad");
        assert!(back < Duration::from_millis(2100), "it went back after {back:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_happens_meanwhile_a_busy_api_server_is_left_alone_for_as_long_as_it_asks() {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let noted = asked.clone();
        let busy = tower::service_fn(move |_: Request<Body>| {
            noted.lock().unwrap().push(clock::instant());
            let text = json!({
                "kind": "Status", "status": "Failure", "message": "busy", "reason": "TooManyRequests", "code": 429,
                "details": {"retryAfterSeconds": 20},
            });
            let mut response = Response::new(Body::from(text.to_string().into_bytes()));
            *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            async move { Ok::<_, std::io::Error>(response) }
        });
        let reconciler = reconciler(Client::new(busy, "default"), 8);
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        {
            let mut index = reconciler.index.lock();
            index::apply(&mut index, deployment("shop", &|_| {}));
            index::apply(&mut index, release("shop"));
        }
        for _ in 0..300 {
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 2, "in thirty seconds: {asked:?}");
        assert!(asked[1] - asked[0] >= Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_went_out_before_a_write_that_failed_is_waited_for_like_any_other() {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = asked.clone();
        let somebody_was_first = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let (code, text) = match path.ends_with("/status") {
                true => (
                    http::StatusCode::CONFLICT,
                    json!({"kind": "Status", "status": "Failure", "message": "modified", "reason": "Conflict", "code": 409}),
                ),
                false => (
                    http::StatusCode::OK,
                    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}}),
                ),
            };
            noted.lock().unwrap().push(path);
            let mut response = Response::new(Body::from(text.to_string().into_bytes()));
            *response.status_mut() = code;
            async move { Ok::<_, std::io::Error>(response) }
        });
        let reconciler = reconciler(Client::new(somebody_was_first, "default"), 8);
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        let shown = |generation: i64| {
            let at = |deployment: &mut Value| deployment["metadata"]["generation"] = json!(generation);
            index::apply(&mut reconciler.index.lock(), deployment("shop", &at));
        };
        shown(6);
        index::apply(&mut reconciler.index.lock(), release("shop"));
        let look = async || {
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            asked.lock().unwrap().len()
        };
        for _ in 0..2 * MOST_WAITS {
            assert_eq!(look().await, 2, "the Deployment, and status: {:?}", asked.lock().unwrap());
        }
        // A cluster that is brought back from a backup counts from there.
        shown(4);
        for _ in 0..MOST_WAITS {
            assert_eq!(look().await, 2, "a watch that says twice what it has said");
        }
        assert_eq!(look().await, 4, "it stays so: {:?}", asked.lock().unwrap());
        shown(7);
        assert!(look().await > 4, "it has been seen: {:?}", asked.lock().unwrap());
    }

    /// An API server that takes everything but writes to paths that end so; what it was asked, and the bodies.
    fn refusing(end: &'static str, asked: Arc<Mutex<Vec<(String, String)>>>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let asked = asked.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.expect("a body");
                let refused = path.ends_with(end);
                asked.lock().unwrap().push((path, String::from_utf8_lossy(&body).into_owned()));
                let (code, text) = match refused {
                    true => (
                        http::StatusCode::UNPROCESSABLE_ENTITY,
                        json!({"kind": "Status", "status": "Failure", "message": "denied by policy\nx", "reason": "Invalid", "code": 422}),
                    ),
                    false => (
                        http::StatusCode::OK,
                        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}}),
                    ),
                };
                let mut response = Response::new(Body::from(text.to_string().into_bytes()));
                *response.status_mut() = code;
                Ok::<_, std::io::Error>(response)
            }
        });
        Client::new(service, "default")
    }

    async fn look_once(client: Client, marks: bool) {
        let reconciler = reconciler(client, 8);
        {
            let mut index = reconciler.index.lock();
            index::apply(&mut index, deployment("shop", &|_| {}));
            let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
            let mut release = json!({"metadata": {"name": "shop", "namespace": "ns", "uid": "shop"}, "spec": {"targetRef": target}});
            if marks {
                let handled =
                    json!({"uid": "a", "action": "Pause", "done": true, "message": "standing still"});
                release["status"] = json!({"handled": [handled]});
                let action = json!({
                    "metadata": {"name": "a", "namespace": "ns", "uid": "a"},
                    "spec": {"release": "shop", "action": "Pause", "reason": "because"},
                });
                index::apply(&mut index, serde_json::from_value::<slim::ReleaseAction>(action).unwrap());
            }
            index::apply(&mut index, serde_json::from_value::<slim::Release>(release).unwrap());
        }
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        reconciler.queue.wake(shop);
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_said_on_an_action_comes_last_and_keeps_nothing_from_being_written() {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        look_once(refusing("/releaseactions/a/status", asked.clone()), true).await;
        let paths: Vec<String> = asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
        let paths: Vec<&str> =
            paths.iter().filter_map(|path| Some(path.split_once("/namespaces/ns/")?.1)).collect();
        let wanted = ["deployments/shop", "releaseactions/a/status", "releases/shop/status"];
        assert_eq!(paths[..3], wanted, "{paths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_said_in_status_in_the_words_of_the_api_server() {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        look_once(refusing("/deployments/shop", asked.clone()), false).await;
        let asked = asked.lock().unwrap();
        let (path, body) = asked.last().expect("a write");
        assert!(path.ends_with("/releases/shop/status"), "{asked:?}");
        let said: Value = serde_json::from_str(body).unwrap();
        let blocker = &said[1]["value"]["blockedBy"];
        assert_eq!(blocker["reason"], "WriteRefused");
        assert_eq!(
            blocker["message"],
            "the patch of Deployment shop (adopt) was refused: denied by policy x"
        );
    }

    /// An API server with one Release and its Deployment, which it lists by their names and nothing else; what it was asked.
    fn listing(asked: Arc<Mutex<Vec<String>>>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let (uri, is_read) = (request.uri().clone(), *request.method() == Method::GET);
            asked.lock().unwrap().push(format!("{} {uri}", request.method()));
            async move {
                let is_named = uri.query().is_some_and(|query| query.contains("metadata.name%3Dshop"));
                let metadata = json!({"name": "shop", "namespace": "ns", "uid": "shop", "generation": 1, "annotations": {}});
                let item = match uri.path().rsplit('/').next() {
                    Some("releases") => {
                        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
                        json!({"metadata": metadata, "spec": {"targetRef": target}})
                    }
                    Some("deployments") => json!({
                        "metadata": metadata,
                        "spec": {"replicas": 4, "strategy": {"type": "RollingUpdate"}, "template": {"spec": {"version": 2}}},
                    }),
                    _ => {
                        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}})
                    }
                };
                let answer = match (is_read, is_named) {
                    (false, _) => item,
                    (true, true) => {
                        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [item]})
                    }
                    (true, false) => json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
                };
                Ok::<_, std::io::Error>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_in_memory_is_read_again_and_decided_on_all_the_same() {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let reconciler = reconciler(listing(asked.clone()), 8);
        {
            let mut index = reconciler.index.lock();
            *index = index::Index::with(Room::of(0), Room::of(0));
            index::apply(&mut index, deployment("shop", &|_| {}));
            index::apply(&mut index, release("shop"));
        }
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        reconciler.queue.wake(shop);
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        let asked = asked.lock().unwrap();
        let began = |place: usize, with: &str| asked.get(place).is_some_and(|asked| asked.starts_with(with));
        assert!(began(0, "GET /apis/tidegate.dev/v1alpha1/namespaces/ns/releases?"), "{asked:?}");
        assert!(began(1, "GET /apis/apps/v1/namespaces/ns/deployments?"), "{asked:?}");
        assert!(began(2, "PATCH /apis/apps/v1/namespaces/ns/deployments/shop"), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_again_is_looked_at_again_and_not_taken_for_what_is_gone() {
        let reconciler = reconciler(slow(Written::default()), 8);
        {
            let mut index = reconciler.index.lock();
            *index = index::Index::with(Room::of(0), Room::of(0));
            index::apply(&mut index, release("shop"));
        }
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        reconciler.queue.wake(shop.clone());
        for _ in 0..3 {
            let woken = tokio::time::timeout(Duration::from_secs(10), reconciler.queue.next()).await;
            assert_eq!(woken.as_ref(), Ok(&shop), "it comes again by itself");
            reconciler.look(&shop).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_where_a_release_is_gone_is_one_event_of_its_deployment() {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing("/nothing", asked.clone()), 8);
        let without_originals = |deployment: &mut Value| {
            deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "gone"});
            deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
        };
        index::apply(&mut reconciler.index.lock(), deployment("shop", &without_originals));
        let gone = Key { namespace: "ns".into(), name: "gone".into() };
        for _ in 0..20 {
            reconciler.queue.wake(gone.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = asked.lock().unwrap();
        let [(path, event)] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(path.ends_with("/namespaces/ns/events"), "{path}");
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("OriginalsLost")));
        let regarding = &event["regarding"];
        assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("Deployment"), &json!("shop")));
        assert_eq!((&regarding["apiVersion"], &regarding["uid"]), (&json!("apps/v1"), &json!("shop")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_tried_again_less_and_less_often() {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing("/deployments/shop", asked.clone()), 8);
        index::apply(&mut reconciler.index.lock(), deployment("shop", &|_| {}));
        index::apply(&mut reconciler.index.lock(), release("shop"));
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        let tried =
            || asked.lock().unwrap().iter().filter(|(path, _)| path.ends_with("/deployments/shop")).count();
        let begun = clock::instant();
        let mut shown = 0;
        while clock::instant() < begun + Duration::from_secs(120) {
            // The watch brings what was written.
            if let Some((_, status)) =
                asked.lock().unwrap().iter().rfind(|(path, _)| path.ends_with("/releases/shop/status"))
            {
                let written: Value = serde_json::from_str(status).unwrap();
                let mut release = json!({"metadata": {"name": "shop", "namespace": "ns", "uid": "shop", "resourceVersion": "2"}});
                let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
                (release["spec"], release["status"]) =
                    (json!({"targetRef": target}), written[1]["value"].clone());
                index::apply(
                    &mut reconciler.index.lock(),
                    serde_json::from_value::<slim::Release>(release).unwrap(),
                );
                shown += 1;
            }
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(shown > 0, "it was said");
        assert!((4..12).contains(&tried()), "{} times in two minutes", tried());
    }
}
