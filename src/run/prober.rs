//! Asking what checks ask, reading what their Jobs said and where new pods are, one task a question; the answer goes to the findings and
//! wakes the Release. A namespace that asks somebody who says nothing has its share of the places, and waits for itself alone.
//!
//! What is being asked is never broken off. It may be answered when its run is over, or its Release gone: then it is nobody's answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use super::shares::{Shares, Turn};
use crate::decide::jobs::EndedJob;
use crate::decide::snapshot::{JobOutput, Placed, ProbeAnswer, ProbeId, ReleaseFacts};
use crate::decide::{Key, Placing, Probe};
use crate::observe::measure::scrape::Pages;
use crate::observe::measure::servers::Servers;
use crate::observe::probes::Means;
use crate::observe::reach::Reach;
use crate::observe::{outputs, places, probes};

/// Questions under way, and those that wait.
pub struct Prober {
    hands: Arc<Hands>,
    /// By the uid of the Release that asks, too: of one that was made anew, what the former one asks holds nothing up.
    asked: Arc<Line<(String, ProbeId), Probe>>,
    read: Arc<Line<String, EndedJob>>,
    placing: Arc<Line<(), Placing>>,
}

/// What questions are asked with, and where answers go.
struct Hands {
    client: Client,
    pages: Arc<dyn Pages>,
    reach: Reach,
    servers: Arc<Servers>,
    clock: Clock,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    /// Who asks now, by Release.
    askers: Mutex<HashMap<Key, Asker>>,
}

/// A run that asks. A Release that is made anew counts its runs from 1 again: by the name of a run alone what the former one was answered would be
/// taken for an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Of the Release.
    uid: String,
    run: String,
}

impl Asker {
    /// The run that is under way.
    pub fn of(release: &ReleaseFacts) -> Option<Self> {
        let run = release.status.run.as_ref()?.id.clone();
        Some(Self { uid: release.uid.clone(), run })
    }
}

impl Prober {
    pub fn new(
        client: Client,
        pages: Arc<dyn Pages>,
        reach: Reach,
        servers: Arc<Servers>,
        clock: Clock,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            hands: Arc::new(Hands {
                client,
                pages,
                reach,
                servers,
                clock,
                findings,
                queue,
                askers: Mutex::default(),
            }),
            asked: Line::of(|hands, key, (uid, id), probe| hands.ask(key, uid, id, probe).boxed()),
            read: Line::of(|hands, key, name, job| hands.read(key, name, job).boxed()),
            placing: Line::of(|hands, key, (), wanted| hands.place(key, wanted).boxed()),
        }
    }

    /// Asks all that a Release asks now, but for what is being asked already. `asker`: the run that is under way; answers to others are nobody's.
    pub fn ask(&self, key: &Key, asker: Option<Asker>, wanted: Vec<Probe>) {
        let uid = asker.as_ref().map(|asker| asker.uid.clone()).unwrap_or_default();
        {
            let mut askers = self.hands.askers();
            match asker {
                Some(asker) => askers.insert(key.clone(), asker),
                None => askers.remove(key),
            };
        }
        let wanted = wanted.into_iter().map(|probe| ((uid.clone(), probe.id.clone()), probe));
        self.asked.want(&self.hands, key, wanted);
    }

    /// Reads where its pods are, where that is not being read already.
    pub fn place(&self, key: &Key, wanted: Option<Placing>) {
        self.placing.want(&self.hands, key, wanted.map(|wanted| ((), wanted)));
    }

    /// Reads what its Jobs said, where that is not being read already.
    pub fn read(&self, key: &Key, wanted: Vec<EndedJob>) {
        self.read.want(&self.hands, key, wanted.into_iter().map(|job| (job.name.clone(), job)));
    }

    /// Another process leads, and asks. What is being asked is let be answered, and counts if its run asks here again by then.
    pub fn stop(&self) {
        self.hands.askers().clear();
        self.asked.lock().clear();
        self.read.lock().clear();
        self.placing.lock().clear();
    }
}

impl Hands {
    async fn ask(self: Arc<Self>, key: Key, uid: String, id: ProbeId, probe: Probe) {
        let (client, reach, pages) = (&self.client, &self.reach, &*self.pages);
        let means = Means { client, reach, pages, servers: &self.servers };
        let (result, message) = probes::ask(means, &key.namespace, &probe, self.clock.now()).await;
        let answer = ProbeAnswer { at: self.clock.now(), result, message };
        // Nobody else asks before it is handed on.
        let askers = self.askers();
        if askers.get(&key).is_some_and(|asker| asker.uid == uid && asker.run == id.run) {
            self.findings.add_answer(&key, id, answer);
        }
    }

    fn askers(&self) -> MutexGuard<'_, HashMap<Key, Asker>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(self: Arc<Self>, key: Key, name: String, job: EndedJob) {
        let said = outputs::read(&self.client, &key.namespace, &job).await;
        let answer = outputs::answer(&key.namespace, job.result, &said).await;
        let (log, termination) = said;
        self.findings.add_output(&key, name, JobOutput { at: self.clock.now(), log, termination, answer });
    }

    async fn place(self: Arc<Self>, key: Key, wanted: Placing) {
        let found = places::read(&self.client, &key.namespace, &wanted).await;
        self.findings.add_placed(&key, Placed { at: self.clock.now(), asked: wanted.pods, found });
    }
}

/// Questions of one sort.
struct Line<I, W> {
    shares: Mutex<Shares<I, W>>,
    work: Work<I, W>,
}

/// Does one of them.
type Work<I, W> = fn(Arc<Hands>, Key, I, W) -> BoxFuture<'static, ()>;

impl<I: Ord + Clone + Send + 'static, W: Send + 'static> Line<I, W> {
    fn of(work: Work<I, W>) -> Arc<Self> {
        Arc::new(Self { shares: Mutex::default(), work })
    }

    fn want(self: &Arc<Self>, hands: &Arc<Hands>, key: &Key, wanted: impl IntoIterator<Item = (I, W)>) {
        let begins = self.lock().want(key, wanted);
        self.begin(hands, begins);
    }

    fn begin(self: &Arc<Self>, hands: &Arc<Hands>, begins: Vec<Turn<I, W>>) {
        for Turn { key, id, work } in begins {
            let (line, hands) = (self.clone(), hands.clone());
            tokio::spawn(async move {
                (line.work)(hands.clone(), key.clone(), id.clone(), work).await;
                let begins = line.lock().done(&key, &id);
                hands.queue.wake(key);
                line.begin(&hands, begins);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shares<I, W>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::super::shares::{OF_A_NAMESPACE, PLACES};
    use super::*;
    use crate::decide::About;
    use crate::decide::plan::Question;
    use crate::decide::snapshot::ProbeResult;
    use crate::decide::traffic::{PlannedMark, Traffic};
    use crate::observe::measure::prometheus::{Auth, Prometheus, Round};
    use crate::observe::measure::{self, Trust};
    use crate::observe::reach::Wire;

    /// Answers everybody but those who ask the silent host, or ask for what takes long, and counts those. What is asked for otherwise is 3.
    #[derive(Default)]
    struct Network(Mutex<usize>);

    impl Network {
        fn waiting(&self) -> usize {
            *self.0.lock().unwrap()
        }
    }

    impl Wire for Network {
        fn carry(&self, request: reqwest::Request) -> BoxFuture<'static, reqwest::Result<reqwest::Response>> {
            let asked = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
            let is_slow = asked.starts_with(b"query=slow");
            if is_slow || request.url().host_str() == Some("silent") {
                *self.0.lock().unwrap() += 1;
                return std::future::pending().boxed();
            }
            let number = json!({"metric": {}, "value": [1, "3"]});
            let answer = json!({"status": "success", "data": {"resultType": "vector", "result": [number]}});
            async move { Ok(Response::new(answer.to_string()).into()) }.boxed()
        }
    }

    struct World {
        prober: Prober,
        network: Arc<Network>,
        servers: Arc<Servers>,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
    }

    impl World {
        fn new() -> Self {
            let unused = tower::service_fn(async |_: Request<Body>| {
                Ok::<_, std::io::Error>(Response::new(Body::empty()))
            });
            let network = Arc::new(Network::default());
            let reach = Reach::anywhere().over(network.clone());
            let (findings, queue) =
                (Arc::new(SharedFindings::new(Clock::machine())), Arc::new(Queue::with_turns(8)));
            let servers = Arc::new(Servers::within(reach.clone()));
            let prober = Prober::new(
                Client::new(unused, "default"),
                Arc::new(measure::client(Trust::Nothing, &reach).expect("a client")),
                reach,
                servers.clone(),
                Clock::machine(),
                findings.clone(),
                queue.clone(),
            );
            Self { prober, network, servers, findings, queue }
        }

        /// Asks for the first run of a Release.
        fn ask(&self, key: &Key, wanted: Vec<Probe>) {
            self.prober.ask(key, Some(asker("first", "r1")), wanted);
        }

        fn answers(&self, key: &Key) -> Vec<ProbeResult> {
            let found = self.findings.of(key, Clock::machine().now());
            found.probes.values().map(|answer| answer.result).collect()
        }
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    fn asker(uid: &str, run: &str) -> Asker {
        Asker { uid: uid.into(), run: run.into() }
    }

    /// Checks that ask this host.
    fn asking(host: &str, count: usize) -> Vec<Probe> {
        let http = serde_json::from_value(json!({"url": format!("http://{host}/")})).expect("a check");
        let question = Question::Http(http);
        let probe = |number| Probe {
            id: ProbeId { run: "r1".into(), check: format!("check-{number}"), attempt: 1, definition: None },
            question: question.clone(),
            timeout: Duration::from_secs(10),
            pods: Vec::new(),
            about: About::Nothing,
        };
        (0..count).map(probe).collect()
    }

    /// Checks of how much goes on, which ask a Prometheus server so.
    fn counting(query: &str, count: usize) -> Vec<Probe> {
        let traffic = Traffic {
            query: query.to_owned(),
            mark: PlannedMark::Number(5.0),
            server: serde_json::from_value(json!({"url": "http://prometheus"})).expect("a server"),
            scrape_interval: Duration::from_secs(15),
            definition: String::new(),
        };
        let question = Question::Traffic(Box::new(traffic));
        let probe =
            |probe: Probe| Probe { question: question.clone(), timeout: Duration::from_secs(30), ..probe };
        asking("prometheus", count).into_iter().map(probe).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn checks_ask_a_server_in_their_namespaces_share_and_wait_no_longer_than_for_an_answer() {
        let world = World::new();
        let (slow, shop) = (key("slow", "shop"), key("shop", "shop"));
        world.ask(&slow, counting("slow", OF_A_NAMESPACE));
        world.ask(&shop, counting("orders", 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.answers(&shop), [ProbeResult::Passed], "it has not waited for those");
        assert_eq!(world.network.waiting(), 2, "the share of a namespace");
        // Two at once, for ten seconds each: what has not had its turn by then has had the time of an answer for it.
        tokio::time::sleep(Duration::from_secs(28)).await;
        assert_eq!(world.network.waiting(), 6);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.answers(&slow), [ProbeResult::Unknown; OF_A_NAMESPACE]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_ask_a_server_and_what_checks_ask_it_is_of_one_share() {
        let world = World::new();
        let way = Prometheus { url: "http://prometheus".to_owned(), auth: Auth::Nobody, headers: Vec::new() };
        let server = world.servers.at(way, Trust::Nothing).expect("a server");
        let five = Duration::from_secs(5);
        let round = Round { now: 1, scrape_interval: five, deadline: five };
        for _ in 0..2 {
            let server = server.clone();
            tokio::spawn(async move { server.instant(round, "shop", "slow").await });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (shop, other) = (key("shop", "shop"), key("other", "shop"));
        world.ask(&shop, counting("orders", 1));
        world.ask(&other, counting("orders", 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.answers(&other), [ProbeResult::Passed]);
        assert_eq!(world.answers(&shop), [], "its namespace asks as much as it may");
        tokio::time::sleep(five).await;
        assert_eq!(world.answers(&shop), [ProbeResult::Passed]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_asks_somebody_silent_keeps_no_other_waiting() {
        let world = World::new();
        let silent: Vec<Key> = (0..5).map(|number| key("silent", &format!("shop-{number}"))).collect();
        for key in &silent {
            world.ask(key, asking("silent", 20));
        }
        let shop = key("shop", "shop");
        world.ask(&shop, asking("there", 1));
        let woken = tokio::time::timeout(Duration::from_secs(5), world.queue.next()).await;
        assert_eq!(woken.as_ref(), Ok(&shop), "it is answered before anything silent is given up");
        assert_eq!(world.answers(&shop), [ProbeResult::Passed]);
        assert_eq!(world.network.waiting(), OF_A_NAMESPACE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_asked_in_its_turn_though_nobody_looks_again() {
        let world = World::new();
        let (first, second) = (key("silent", "first"), key("silent", "second"));
        world.ask(&first, asking("silent", PLACES));
        world.ask(&second, asking("there", 1));
        let waited = async {
            while world.answers(&second).is_empty() {
                let woken = world.queue.next().await;
                world.queue.done(&woken, false);
            }
        };
        // In eights, for ten seconds each.
        tokio::time::timeout(Duration::from_secs(81), waited).await.expect("an answer");
        assert_eq!(world.answers(&second), [ProbeResult::Passed]);
        assert_eq!(world.answers(&first), [ProbeResult::Unknown; PLACES]);
        assert_eq!(world.network.waiting(), PLACES, "each is asked once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wanted_no_more_or_by_another_process_is_not_asked() {
        let world = World::new();
        let (first, second) = (key("silent", "first"), key("silent", "second"));
        world.ask(&first, asking("silent", 20));
        world.ask(&first, Vec::new());
        world.ask(&second, asking("silent", 20));
        world.prober.stop();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.network.waiting(), OF_A_NAMESPACE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_run_was_answered_after_its_end_is_no_answer_to_the_next_one() {
        let world = World::new();
        let shop = key("shop", "shop");
        world.ask(&shop, asking("silent", 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.network.waiting(), 1);
        world.prober.ask(&shop, Some(asker("first", "r2")), Vec::new());
        let hook = ProbeId { run: "r2".into(), check: "hook".into(), attempt: 1, definition: None };
        let (result, message) = (ProbeResult::Passed, String::new());
        world.findings.add_answer(&shop, hook, ProbeAnswer { at: Clock::machine().now(), result, message });
        let woken = tokio::time::timeout(Duration::from_secs(20), world.queue.next()).await;
        assert_eq!(woken.as_ref(), Ok(&shop), "what was asked has come to its end");
        assert_eq!(world.answers(&shop), [ProbeResult::Passed]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_made_anew_asks_for_itself_and_takes_no_answer_of_the_former_one() {
        let world = World::new();
        let shop = key("shop", "shop");
        world.ask(&shop, asking("silent", 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.network.waiting(), 1);
        // Its first run is called as that was, and so is its check.
        world.prober.ask(&shop, Some(asker("second", "r1")), asking("there", 1));
        let comes = || tokio::time::timeout(Duration::from_secs(20), world.queue.next());
        for said in ["its own answer", "that of the former one"] {
            let woken = comes().await;
            assert_eq!(woken.as_ref(), Ok(&shop), "{said}");
            world.queue.done(&shop, false);
            assert_eq!(world.answers(&shop), [ProbeResult::Passed], "{said}");
        }
    }
}
