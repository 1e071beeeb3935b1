//! Processes of the operator: each the whole loop of production, with a client to the world's API server, until it is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidegate::act::Fence;
use tidegate::decide::{Decision, Snapshot};
use tidegate::observe::reach::{ApiServer, Reach};
use tidegate::report::Metrics;
use tidegate::run::leader::{Elector, LeaseFence};
use tidegate::run::link::{Answers, Patience, UnderWay};
use tidegate::run::{Clock, Leadership, Onlooker, Operator, Parts};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::outside::Outside;
use crate::pages::Pods;
use crate::receivers::People;
use crate::server;
use crate::story::Setup;
use crate::time::stamp;
use crate::world::Shared;

/// A process.
pub struct Process {
    /// Its number in the network.
    pub number: usize,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Leads by itself: nobody else is there.
struct Alone;

impl Fence for Alone {
    fn remaining(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

impl Process {
    /// Starts one. `elects`: it leads only when it has the Lease. `hurries`: watches are begun anew every ten seconds of a run, as in
    /// production, else every minute. `clock_off`: by how many milliseconds all clocks are off, beside what each is for itself (`setup`).
    pub fn start(
        shared: &Shared,
        setup: &Setup,
        clock_off: &Arc<AtomicI64>,
        elects: bool,
        hurries: bool,
    ) -> Self {
        let number = shared.lock().network.join();
        let (world, off, own) = (shared.clone(), clock_off.clone(), setup.clock_of(number));
        let clock = Clock::new(move || {
            stamp(world.now()) + jiff::SignedDuration::from_millis(own + off.load(Ordering::Relaxed))
        });
        let (stop, mut asked) = watch::channel(false);
        let (metrics, under_way) = (Arc::new(Metrics::new()), Arc::new(UnderWay::default()));
        let hurry = if hurries { under_way.follow() } else { UnderWay::default().follow() };
        let patience = Patience::new(Arc::new(Answers::default()), hurry, metrics.clone());
        let mut tasks = Vec::new();
        let (leadership, last) = if elects {
            let identity = format!("operator-{number}");
            shared.lock().watchman.identities.insert(number, identity.clone());
            let fence = Arc::new(LeaseFence::default());
            let (leading, follow) = watch::channel(false);
            let client = server::client(shared, number, &patience);
            let elector =
                Elector::new(client, clock.clone(), "tidegate-system", identity, fence.clone(), leading);
            // Given up last, as the process does it.
            let (ended, given_up) = watch::channel(false);
            tasks.push(tokio::spawn(elector.campaign(given_up)));
            (Leadership { fence, leading: follow }, ended)
        } else {
            let (leads, follow) = watch::channel(true);
            (Leadership { fence: Arc::new(Alone), leading: follow }, leads)
        };
        let world = shared.clone();
        let onlooker: Onlooker = Arc::new(move |snapshot: &Snapshot, decision: &Decision| {
            world.lock().decided(number, snapshot, decision);
        });
        let parts = Parts {
            client: server::client(shared, number, &patience),
            namespaces: Vec::new(),
            clock,
            pages: Arc::new(Pods(shared.clone())),
            reach: Reach::guarded(ApiServer::known("https://api", None, &[]), false)
                .over(Arc::new(Outside { shared: shared.clone(), process: number })),
            carrier: Arc::new(People { shared: shared.clone(), process: number }),
            leadership,
            under_way,
            metrics,
            reads_per_second: 300,
            workers: 2,
            texts: 64 << 20,
            onlooker: Some(onlooker),
        };
        tasks.push(tokio::spawn(async move {
            let operator = Operator::start(parts).await;
            operator.until(async { drop(asked.wait_for(|asked| *asked).await) }).await;
            let _told = last.send(true);
        }));
        Self { number, stop, tasks }
    }

    /// As SIGTERM does.
    pub fn ask_to_stop(&self) {
        let _told = self.stop.send(true);
    }

    /// Whether it has come to its end by itself.
    pub fn has_ended(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// As SIGKILL does.
    pub fn kill(self, shared: &Shared) {
        shared.lock().network.kill(self.number);
        for task in self.tasks {
            task.abort();
        }
    }
}
