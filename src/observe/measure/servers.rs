//! The Prometheus servers that runs are measured by, and checks ask. Runs that ask the same server for the same families at the same moment are
//! asked for together: a hundred Releases in one cluster are two queries a round, not two hundred.
//!
//! A server is the same for runs that speak to it in the same way: URL, credentials, headers and CA. Nothing is kept from one
//! round to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

use super::earlier::Earlier;
use super::history::Stretch;
use super::instant::{InstantError, Number};
use super::names::{Detected, Family, Names};
use super::prometheus::{Answers, Asker, Pod, Prometheus, Round};
use super::{Asked, ReadError, Trust, client};
use crate::decide::judge::Slot;
use crate::observe::reach::{Client, Reach};

/// How long the first of a round waits for others. Rounds begin at the same second for all runs.
const GATHER: Duration = Duration::from_millis(100);
/// Readings of one server at the same time.
const AT_ONCE: usize = 2;
/// Queries for single numbers at the same time: they do not wait for readings, and readings not for them.
const NUMBERS_AT_ONCE: usize = 6;
/// Of these, those of one namespace: who asks what takes long waits for itself, and others do not.
const NUMBERS_OF_ONE: usize = 2;
/// Of these, those about the past, which take longest: the numbers of runs there do not wait for them.
const PAST_OF_ONE: usize = 1;
/// Numbers that are kept of the past of one query: many times as many as it has moments.
const MOST_OF_THE_PAST: usize = 20_000;

/// JSON answers that are read at the same time, from whomever: of what is not whole yet, each takes memory.
const JSON_AT_ONCE: usize = 32;
/// Of these, those of one namespace.
pub(in crate::observe) const JSON_OF_ONE: usize = 4;

/// All servers that are read from.
pub struct Servers {
    reach: Reach,
    known: Mutex<HashMap<(Prometheus, Trust), Weak<Server>>>,
    places_for_json: Semaphore,
    /// By namespace, while somebody there asks.
    shares_of_json: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A turn to read something beside the servers, until it is dropped.
pub struct Turn<'a> {
    _own: Option<OwnedSemaphorePermit>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Servers {
    /// None yet, and where they may be.
    pub fn within(reach: Reach) -> Self {
        Self {
            reach,
            known: Mutex::default(),
            places_for_json: Semaphore::new(JSON_AT_ONCE),
            shares_of_json: Mutex::default(),
        }
    }

    /// A client for what is read beside them.
    ///
    /// # Errors
    /// As [`client`].
    pub fn client(&self, trust: Trust) -> Result<Client, ReadError> {
        client(trust, &self.reach)
    }

    /// A turn to read a JSON answer for a run or a check of this namespace. Its share first, so that whoever waits for it keeps nobody waiting.
    pub async fn turn_for_json(&self, namespace: &str) -> Turn<'_> {
        let share = {
            let mut shares = self.shares_of_json.lock().unwrap_or_else(PoisonError::into_inner);
            shares.retain(|_, share| share.strong_count() > 0);
            let known = shares.get(namespace).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let share = Arc::new(Semaphore::new(JSON_OF_ONE));
                shares.insert(namespace.to_owned(), Arc::downgrade(&share));
                share
            })
        };
        // Neither is ever closed.
        let own = share.acquire_owned().await.ok();
        Turn { _own: own, _place: self.places_for_json.acquire().await.ok() }
    }

    /// The server to which this is the way. It is forgotten when nobody holds it any more.
    ///
    /// # Errors
    /// [`ReadError::Client`] or [`ReadError::Credentials`] when no client can be made for it.
    pub fn at(&self, prometheus: Prometheus, trust: Trust) -> Result<Arc<Server>, ReadError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, server| server.strong_count() > 0);
        let way = (prometheus, trust);
        if let Some(server) = known.get(&way).and_then(Weak::upgrade) {
            return Ok(server);
        }
        let server = Arc::new(Server {
            client: self.client(way.1.clone())?,
            prometheus: way.0.clone(),
            places: Semaphore::new(AT_ONCE),
            places_for_numbers: Semaphore::new(NUMBERS_AT_ONCE),
            shares: Mutex::default(),
            gathering: Mutex::default(),
        });
        known.insert(way, Arc::downgrade(&server));
        Ok(server)
    }
}

/// One server.
pub struct Server {
    prometheus: Prometheus,
    client: Client,
    places: Semaphore,
    places_for_numbers: Semaphore,
    /// By namespace, while somebody there asks.
    shares: Mutex<HashMap<String, Weak<Share>>>,
    gathering: Mutex<HashMap<Same, Vec<Waiting>>>,
}

/// What one namespace may ask at the same time. It is taken before what all have together, so that whoever waits for it keeps nobody waiting; and
/// always in the order in which it stands here, so that nobody waits for each other.
struct Share {
    /// Which series there are, and what they were before a run.
    series: Semaphore,
    /// What a query gave in the past.
    past: Semaphore,
    /// What queries give: now, and in the past.
    numbers: Semaphore,
}

/// What runs must have in common to be asked for together.
type Same = (Round, Vec<Family>);

/// A run that waits for its part of an answer.
struct Waiting {
    asker: Asker,
    answer: oneshot::Sender<Answers>,
}

impl Server {
    /// Finds out which series to read: see [`Prometheus::detect`].
    ///
    /// # Errors
    /// As there.
    pub async fn detect(
        &self,
        round: Round,
        namespace: &str,
        pods: &[Pod],
        names: &Names,
    ) -> Result<Detected, ReadError> {
        let share = self.share(namespace);
        let _own = share.series.acquire().await;
        let _place = self.places.acquire().await;
        self.prometheus.detect(&self.client, round, namespace, pods, names).await
    }

    /// What stable pods counted before the run: see [`Prometheus::history`].
    ///
    /// # Errors
    /// As there.
    pub async fn history(
        &self,
        round: Round,
        namespace: &str,
        stable: &[Pod],
        detected: &Detected,
    ) -> Result<Vec<Slot>, ReadError> {
        let share = self.share(namespace);
        let _own = share.series.acquire().await;
        let _place = self.places.acquire().await;
        self.prometheus.history(&self.client, round, namespace, stable, detected).await
    }

    /// What a query gives now, asked for a run of this namespace: see [`Prometheus::instant`].
    ///
    /// # Errors
    /// As there.
    pub async fn instant(
        &self,
        round: Round,
        namespace: &str,
        query: &str,
    ) -> Result<Vec<Number>, InstantError> {
        let share = self.share(namespace);
        let _own = share.numbers.acquire().await;
        let _place = self.places_for_numbers.acquire().await;
        self.prometheus.instant(&self.client, round, query).await
    }

    /// What a query gave at each multiple of `step` seconds in a stretch of the past, asked for a check of this namespace: see
    /// [`Prometheus::over_time`] and [`Prometheus::earlier`].
    ///
    /// # Errors
    /// As there.
    pub async fn earlier(
        &self,
        round: Round,
        namespace: &str,
        query: &str,
        stretch: Stretch,
        step: i64,
    ) -> Result<Earlier, InstantError> {
        let share = self.share(namespace);
        let _past = share.past.acquire().await;
        let _own = share.numbers.acquire().await;
        let _place = self.places_for_numbers.acquire().await;
        let Round { now, deadline, scrape_interval: _ } = round;
        let query = self.prometheus.over_time(&self.client, query, now, deadline).await?;
        let most = MOST_OF_THE_PAST;
        self.prometheus.earlier(&self.client, &query, stretch, step, deadline, most).await
    }

    /// Reads the pods of one run, together with all who ask for the same families in the same round: see [`Prometheus::read`].
    pub async fn read(self: &Arc<Self>, round: Round, asker: Asker) -> Answers {
        let pods: Vec<_> = asker.pods.iter().map(|pod| pod.name.clone()).collect();
        let same = (round, asker.detected.families());
        let (sender, receiver) = oneshot::channel();
        let first = {
            let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = gathering.entry(same.clone()).or_default();
            waiting.push(Waiting { asker, answer: sender });
            waiting.len() == 1
        };
        if first {
            // A task of its own: the run that asked first may end before the others have their answers.
            tokio::spawn(self.clone().ask(same));
        }
        let gone = |_| {
            let problem = "whoever asked for all is gone".to_owned();
            let error = ReadError::Broken { asked: Asked::Prometheus, problem };
            pods.into_iter().map(|pod| (pod, Err(error.clone()))).collect()
        };
        receiver.await.unwrap_or_else(gone)
    }

    /// It is forgotten when nobody there asks any more.
    fn share(&self, namespace: &str) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(namespace).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share {
            series: Semaphore::new(1),
            past: Semaphore::new(PAST_OF_ONE),
            numbers: Semaphore::new(NUMBERS_OF_ONE),
        });
        shares.insert(namespace.to_owned(), Arc::downgrade(&share));
        share
    }

    async fn ask(self: Arc<Self>, same: Same) {
        tokio::time::sleep(GATHER).await;
        let _place = self.places.acquire().await;
        let waiting =
            self.gathering.lock().unwrap_or_else(PoisonError::into_inner).remove(&same).unwrap_or_default();
        let (askers, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|Waiting { asker, answer }| (asker, answer)).unzip();
        let answers = self.prometheus.read(&self.client, same.0, &askers).await;
        for (sender, answer) in senders.into_iter().zip(answers) {
            // Fails when that run has ended meanwhile.
            let _gone = sender.send(answer);
        }
    }
}
