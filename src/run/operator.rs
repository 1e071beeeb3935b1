//! The loop, from the watches to the writes, made of what it is given: a client, a clock, who fetches pods' pages, who carries messages, who
//! leads. It knows no process: no settings, no signals, no sockets of its own. Dropped, it ends as a process does that is killed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::errands::{Errands, Hands};
use super::findings::SharedFindings;
use super::let_go::LetGo;
use super::link::UnderWay;
use super::looks::Looks;
use super::missing::Missing;
use super::own_status::OwnStatus;
use super::own_writes::OwnWrites;
use super::prober::Prober;
use super::queue::Queue;
use super::reconcile::{Onlooker, Reconciler};
use super::rush::Rush;
use super::sampler::Sampler;
use super::unanswered::Unanswered;
use crate::act::{Fence, Writer};
use crate::api::Right;
use crate::decide::Key;
use crate::observe::gather::Gatherer;
use crate::observe::measure::scrape::Pages;
use crate::observe::measure::servers::Servers;
use crate::observe::reach::Reach;
use crate::observe::reading::Reading;
use crate::report::notify::Carrier;
use crate::report::{Metrics, Notifier, Reporter};
use crate::watch::again::Reader;
use crate::watch::{self as watches, FirstLists, ObjectKey, SharedIndex, Watching};

/// How long looks under way may take to end when a term of leading ends.
const LAST_LOOKS: Duration = Duration::from_secs(20);
/// The same when the process stops. After that no further write begins, and the Lease waits for those alone that have begun: what a look
/// has left to do another does, as after a kill.
const PARTING: Duration = Duration::from_millis(500);

/// What the loop is made of.
pub struct Parts {
    /// Every request of it has an end (`link`).
    pub client: Client,
    /// Where to watch; none: everywhere.
    pub namespaces: Vec<String>,
    pub clock: Clock,
    pub pages: Arc<dyn Pages>,
    pub reach: Reach,
    /// Hands messages over to people outside.
    pub carrier: Arc<dyn Carrier>,
    pub leadership: Leadership,
    /// Is told whether a run is under way.
    pub under_way: Arc<UnderWay>,
    pub metrics: Arc<Metrics>,
    /// Pods read in a second by all runs together.
    pub reads_per_second: u32,
    /// Releases of a namespace that are written about at the same time, but for those that go back.
    pub workers: u16,
    /// Bytes of texts that are kept of Releases and of what belongs to them.
    pub texts: usize,
    pub onlooker: Option<Onlooker>,
}

/// Whether this process leads, and whether it may still write.
pub struct Leadership {
    pub fence: Arc<dyn Fence>,
    /// Each change ends a term, though it may say the same again by the time it is looked at.
    pub leading: watch::Receiver<bool>,
}

/// The loop, under way.
pub struct Operator {
    index: SharedIndex,
    reconciler: Arc<Reconciler>,
    metrics: Arc<Metrics>,
    leading: watch::Receiver<bool>,
    watching: Watching,
    looks: Arc<Looks>,
    workers: JoinSet<()>,
    looks_stop: watch::Sender<bool>,
}

impl Operator {
    /// Starts watching, and looks at Releases as soon as it leads and everything has been listed once.
    pub async fn start(parts: Parts) -> Self {
        let Parts {
            client,
            namespaces,
            clock,
            pages,
            reach,
            carrier,
            leadership,
            under_way,
            metrics,
            onlooker,
            ..
        } = parts;
        let Leadership { fence, leading } = leadership;
        let (index, queue) =
            (SharedIndex::with_room_for(parts.texts), Arc::new(Queue::with_turns(parts.workers)));
        let (waker, seen) = (queue.clone(), index.clone());
        let wake = move |keys: Vec<Key>| {
            // Whether or not this process leads: when it begins to, its watches are to be as quick as those of the one before.
            {
                let index = seen.lock();
                for key in &keys {
                    under_way.note(key, index.is_under_way(&ObjectKey::from(key)));
                }
            }
            for key in keys {
                waker.wake(key);
            }
        };
        let counted = metrics.clone();
        let refused = move |right: &Right| counted.forbidden(right);
        let told = clock.clone();
        let watching = watches::start(&client, &index, &namespaces, wake, refused, move || told.now()).await;
        let writer = Writer::new(client.clone(), fence);
        let findings = Arc::new(SharedFindings::new(clock.clone()));
        // Of each server a namespace has one share, whether runs ask it or checks.
        let servers = Arc::new(Servers::within(reach.clone()));
        let sampler = Arc::new(Sampler::new(
            client.clone(),
            pages.clone(),
            servers.clone(),
            clock.clone(),
            findings.clone(),
            queue.clone(),
            parts.reads_per_second,
        ));
        let errands = Errands::new(Hands {
            gatherer: Arc::new(Gatherer::start(client.clone())),
            client: client.clone(),
            reach: reach.clone(),
            writer: writer.clone(),
            clock: clock.clone(),
            findings: findings.clone(),
            queue: queue.clone(),
        });
        let reader = Reader::of(&client);
        let waker = queue.clone();
        let notifier = Notifier::new(carrier, metrics.clone(), move |key| waker.wake(key));
        let reconciler = Arc::new(Reconciler {
            errands,
            notifier,
            prober: Prober::new(
                client,
                pages,
                reach,
                servers,
                clock.clone(),
                findings.clone(),
                queue.clone(),
            ),
            clock,
            index: index.clone(),
            reader,
            reading: Reading::default(),
            reporter: Reporter::start(writer.clone(), metrics.clone()),
            writer,
            queue,
            findings,
            sampler,
            own: OwnWrites::default(),
            own_status: OwnStatus::default(),
            missing: Missing::default(),
            let_go: LetGo::default(),
            rush: Rush::default(),
            unanswered: Unanswered::default(),
            onlooker,
        });
        let looks = Arc::new(Looks::default());
        let (looks_stop, stop) = watch::channel(false);
        let mut workers = JoinSet::new();
        for _ in 0..reconciler.queue.places() {
            workers.spawn(work(reconciler.clone(), looks.clone(), stop.clone()));
        }
        Self { index, reconciler, metrics, leading, watching, looks, workers, looks_stop }
    }

    /// Complete once the operator knows everything that is there.
    pub fn first_lists(&self) -> FirstLists {
        self.watching.first_lists.clone()
    }

    /// Goes on until asked to stop. Then looks under way end, or the writes of those that are slow; nothing is written after that.
    pub async fn until(mut self, asked_to_stop: impl Future<Output = ()>) {
        let (leading, first_lists) = (self.leading.clone(), self.first_lists());
        let lead = lead(&self.index, &self.reconciler, &self.looks, &self.metrics, leading, first_lists);
        tokio::select! {
            biased;
            () = asked_to_stop => tracing::info!("asked to stop"),
            () = lead => {}
            ended = self.watching.tasks.join_next() => tracing::error!(?ended, "a watch ended"),
        }
        let _told = self.looks_stop.send(true);
        self.reconciler.sampler.stop();
        self.reconciler.prober.stop();
        self.reconciler.notifier.stop();
        let all_ended = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(PARTING, all_ended).await.is_err() {
            tracing::info!("a look is still under way: it ends with its next write");
        }
        self.reconciler.writer.close().await;
    }
}

/// A worker: one look after the other, in the times in which there are any.
async fn work(reconciler: Arc<Reconciler>, looks: Arc<Looks>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = looks.are_open() => {}
        }
        let key = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            key = reconciler.queue.next() => key,
        };
        match looks.begin().await {
            Some(_look) => reconciler.look(&key).await,
            // Deposed while it waited: whoever leads looks, and so do we when we lead again.
            None => reconciler.queue.give_back(key),
        }
    }
}

/// Each time this process becomes the leader everything is looked at anew, and not before everything has been listed once: a Release that has
/// not been listed yet looks like one that was deleted.
async fn lead(
    index: &SharedIndex,
    reconciler: &Reconciler,
    looks: &Looks,
    metrics: &Metrics,
    mut leading: watch::Receiver<bool>,
    first_lists: FirstLists,
) {
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            return;
        }
        first_lists.complete().await;
        metrics.set_leading(true);
        let all = everything(index);
        reconciler.own.lead_again(&all);
        reconciler.missing.begin_term();
        reconciler.rush.clear();
        // What was asked in an earlier term may have been answered since.
        reconciler.findings.clear();
        looks.open();
        for key in all {
            reconciler.queue.wake(key);
        }
        // Lost, and perhaps won again already: that is another term.
        if leading.changed().await.is_err() {
            return;
        }
        metrics.set_leading(false);
        looks.close();
        reconciler.end_term();
        // A look that was under way may have begun something since. It has no more to write, and ends soon: within the deadline of a write.
        if tokio::time::timeout(LAST_LOOKS, looks.have_ended()).await.is_err() {
            tracing::warn!("a look of the term that has ended goes on");
        }
        reconciler.end_term();
    }
}

/// Every Release, and what deleted ones left behind.
fn everything(index: &SharedIndex) -> Vec<Key> {
    let index = index.lock();
    let releases = index.releases.iter().map(|(name, _)| name.into());
    let labelled = index.deployments.iter().filter_map(|(_, deployment)| deployment.metadata.release());
    let kept = index.templates.iter().filter_map(|(_, template)| template.metadata.release());
    let quarantined = index.pods.iter().filter_map(|(_, pod)| pod.quarantined_for());
    let named = labelled.chain(kept).map(|release| Key::from(&release));
    let mut all: Vec<Key> = releases.chain(named).chain(quarantined).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Method, Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::act::writer::Leads;
    use crate::observe::measure::{self, Trust};
    use crate::report::notify::Outside;

    /// How often a Deployment was to be patched.
    type Tried = Arc<Mutex<usize>>;

    /// An API server that has this to say to whoever lists, and this to whoever writes.
    fn serving<F>(
        listed: impl Fn(&str) -> Value + Send + 'static,
        write: impl Fn(Method, &str) -> F + Send + 'static,
    ) -> Client
    where
        F: Future<Output = (StatusCode, Value)> + Send + 'static,
    {
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
            let reads = *request.method() == Method::GET;
            let written = (!reads).then(|| write(request.method().clone(), &path));
            let read = listed(&path);
            async move {
                if watches {
                    return std::future::pending().await;
                }
                let (code, text) = match written {
                    None => (StatusCode::OK, read),
                    Some(answer) => answer.await,
                };
                let mut response = Response::new(Body::from(text.to_string().into_bytes()));
                *response.status_mut() = code;
                Ok::<_, std::io::Error>(response)
            }
        });
        Client::new(service, "default")
    }

    /// One that asks whoever writes to come back in fifty seconds.
    fn busy(tried: Tried) -> Client {
        serving(listed, move |method, path| {
            if method == Method::PATCH && path.ends_with("/deployments/shop") {
                *tried.lock().unwrap() += 1;
            }
            std::future::ready((
                StatusCode::TOO_MANY_REQUESTS,
                json!({
                    "kind": "Status", "status": "Failure", "message": "busy", "reason": "TooManyRequests",
                    "code": 429, "details": {"retryAfterSeconds": 50},
                }),
            ))
        })
    }

    /// Writes that an API server has taken on, and how many of them it has answered.
    #[derive(Default)]
    struct Writes {
        begun: AtomicUsize,
        answered: AtomicUsize,
    }

    /// One that takes five seconds for a write.
    fn slow(writes: Arc<Writes>) -> Client {
        serving(listed, move |_, _| {
            writes.begun.fetch_add(1, Ordering::Relaxed);
            let writes = writes.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                writes.answered.fetch_add(1, Ordering::Relaxed);
                let metadata = json!({"name": "shop", "namespace": "ns", "uid": "shop", "generation": 1});
                (StatusCode::OK, json!({"metadata": metadata}))
            }
        })
    }

    /// One Release, of a Deployment.
    fn listed(path: &str) -> Value {
        if path == "/apis/admissionregistration.k8s.io/v1" {
            return json!({"groupVersion": "admissionregistration.k8s.io/v1", "resources": []});
        }
        let metadata = json!({"name": "shop", "namespace": "ns", "uid": "shop", "generation": 1, "resourceVersion": "1"});
        let items = match path.rsplit('/').next() {
            Some("releases") => {
                let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
                json!([{"metadata": metadata, "spec": {"targetRef": target}}])
            }
            Some("deployments") => json!([{
                "metadata": metadata,
                "spec": {
                    "replicas": 4, "strategy": {"type": "RollingUpdate"},
                    "template": {"metadata": {}, "spec": {"version": 2}},
                },
            }]),
            Some(_) | None => json!([]),
        };
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }

    async fn start(client: Client, leading: watch::Receiver<bool>) -> Operator {
        start_saying(client, leading, Arc::default()).await
    }

    /// The same; `under_way`: is told whether a run is.
    async fn start_saying(
        client: Client,
        leading: watch::Receiver<bool>,
        under_way: Arc<UnderWay>,
    ) -> Operator {
        Operator::start(Parts {
            carrier: Arc::new(Outside::new(client.clone(), Reach::anywhere())),
            client,
            namespaces: Vec::new(),
            clock: Clock::machine(),
            pages: Arc::new(measure::client(Trust::Nothing, &Reach::anywhere()).expect("a client")),
            reach: Reach::anywhere(),
            leadership: Leadership { fence: Arc::new(Leads(Duration::from_secs(10))), leading },
            under_way,
            metrics: Arc::new(Metrics::new()),
            reads_per_second: 300,
            workers: 8,
            texts: 64 << 20,
            onlooker: None,
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn leadership_that_was_lost_for_a_moment_begins_anew() {
        let tried = Tried::default();
        let (leading, leads) = watch::channel(false);
        tokio::spawn(start(busy(tried.clone()), leads).await.until(std::future::pending()));
        let tries_after = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            *tried.lock().unwrap()
        };
        assert_eq!(tries_after(10).await, 0, "it does not lead");
        leading.send_replace(true);
        assert_eq!(tries_after(10).await, 1, "and then it is asked to wait");
        leading.send_replace(false);
        leading.send_replace(true);
        assert_eq!(tries_after(10).await, 2, "what was asked of an earlier term says nothing of this one");
        leading.send_replace(false);
        assert_eq!(tries_after(600).await, 2, "it does not lead any more");
        leading.send_replace(true);
        assert_eq!(tries_after(10).await, 3, "what was woken meanwhile is looked at");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_knows_all_the_same_whether_a_run_is_under_way() {
        for (run, is_under_way) in [(json!({"id": "r1"}), true), (Value::Null, false)] {
            let shown = move |path: &str| {
                let mut list = listed(path);
                if path.ends_with("/releases") {
                    list["items"][0]["status"] = json!({"run": run});
                }
                list
            };
            let client = serving(shown, |_, _| std::future::ready((StatusCode::OK, Value::Null)));
            let (_leading, leads) = watch::channel(false);
            let under_way = Arc::<UnderWay>::default();
            let operator = start_saying(client, leads, under_way.clone()).await;
            operator.first_lists().complete().await;
            assert_eq!(under_way.follow().is(), is_under_way);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asked_to_stop_it_waits_for_the_write_under_way_and_not_for_all_that_a_look_has_left() {
        let writes = Arc::new(Writes::default());
        let (_leading, leads) = watch::channel(true);
        let operator = start(slow(writes.clone()), leads).await;
        let (asked, mut is_asked) = watch::channel(false);
        let goes_on = tokio::spawn(operator.until(async move {
            let _asked = is_asked.changed().await;
        }));
        let writing = async {
            while writes.begun.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), writing).await.expect("a look is under way");
        let begun = writes.begun.load(Ordering::Relaxed);
        assert_eq!(writes.answered.load(Ordering::Relaxed), 0);
        asked.send_replace(true);
        let ended = tokio::time::timeout(Duration::from_secs(6), goes_on).await;
        ended.expect("in time for who comes next").expect("in good order");
        assert_eq!(writes.answered.load(Ordering::Relaxed), begun, "what had begun was waited for");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(writes.begun.load(Ordering::Relaxed), begun, "nothing was written after it");
    }
}
