//! The Prometheus servers that runs are measured by, and checks ask. Runs that ask the same server for the same families at the same moment are
//! asked for together: a hundred Releases in one cluster are two queries a round, not two hundred.
//!
//! A server is the same for runs that speak to it in the same way: URL, credentials, headers and CA. Nothing is kept from one
//! round to the next.
//!
//! A namespace has its share of what a server is asked, and of what all are asked together: whoever names many that say nothing waits for them alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::earlier::Earlier;
use super::history::Stretch;
use super::instant::{InstantError, Number};
use super::names::{Detected, Family, Names};
use super::prometheus::{Answers, Asker, Asking, Pod, Prometheus, Round};
use super::{Asked, ReadError, Trust, client};
use crate::decide::judge::Slot;
use crate::observe::reach::{Client, Reach};
use crate::turns::{Turn, Turns};

/// How long the first of a round waits for others. Rounds begin at the same second for all runs.
const GATHER: Duration = Duration::from_millis(100);
/// Readings of one server at the same time.
const AT_ONCE: usize = 2;
/// Of these, one namespace's looks for series, or for what they were before.
const LOOKS_OF_ONE: usize = 1;
/// Queries for single numbers at the same time: they do not wait for readings, and readings not for them.
const NUMBERS_AT_ONCE: usize = 6;
/// Of these, those of one namespace: who asks what takes long waits for itself, and others do not.
const NUMBERS_OF_ONE: usize = 2;
/// Of these, those about the past, which take longest: the numbers of runs there do not wait for them.
const PAST_OF_ONE: usize = 1;
/// What one namespace asks of all servers at the same time: as much as it may ask of so many of them. Who names so many different ones, all of them slow,
/// waits; each question that hangs has a connection, which reads ahead.
const SERVERS_OF_ONE: usize = 8;
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
    of_all: Arc<OfAll>,
    json: Turns,
}

/// What each namespace asks of all servers together.
struct OfAll {
    /// Readings of pods, and looks for series.
    readings: Turns,
    numbers: Turns,
}

impl Servers {
    /// None yet, and where they may be.
    pub fn within(reach: Reach) -> Self {
        let of_all = OfAll {
            readings: Turns::of_each(SERVERS_OF_ONE * AT_ONCE),
            numbers: Turns::of_each(SERVERS_OF_ONE * NUMBERS_OF_ONE),
        };
        let json = Turns::of(JSON_AT_ONCE, JSON_OF_ONE);
        Self { reach, known: Mutex::default(), of_all: Arc::new(of_all), json }
    }

    /// A client for what is read beside them.
    ///
    /// # Errors
    /// As [`client`].
    pub fn client(&self, trust: Trust) -> Result<Client, ReadError> {
        client(trust, &self.reach)
    }

    /// A turn to read a JSON answer for a run or a check of this namespace.
    pub async fn turn_for_json(&self, namespace: &str) -> Turn<'_> {
        self.json.take(namespace).await
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
            looks: Turns::of_each(LOOKS_OF_ONE),
            past: Turns::of_each(PAST_OF_ONE),
            numbers: Turns::of_each(NUMBERS_OF_ONE),
            of_all: self.of_all.clone(),
            places: Semaphore::new(AT_ONCE),
            places_for_numbers: Semaphore::new(NUMBERS_AT_ONCE),
            gathering: Mutex::default(),
        });
        known.insert(way, Arc::downgrade(&server));
        Ok(server)
    }
}

/// One server.
///
/// Turns are taken in the order in which they stand here, so that nobody waits for each other. A namespace's own come before the places that all have
/// together, so that whoever waits for them keeps no other waiting; and those at this server before those at all of them, so that what waits for a server
/// that is silent keeps nothing waiting that its namespace asks another.
pub struct Server {
    prometheus: Prometheus,
    client: Client,
    /// Of each namespace: which series there are, and what they were before a run.
    looks: Turns,
    /// What a query gave in the past.
    past: Turns,
    /// What queries give: now, and in the past.
    numbers: Turns,
    of_all: Arc<OfAll>,
    places: Semaphore,
    places_for_numbers: Semaphore,
    gathering: Mutex<HashMap<Same, Gathered>>,
}

/// What runs must have in common to be asked for together.
type Same = (Round, Vec<Family>);

/// Runs that are asked for together, as soon as one of their namespaces has its turn.
#[derive(Default)]
struct Gathered {
    waiting: Vec<Waiting>,
    /// By namespace, who is on the way to ask for all of them; dropped when somebody has.
    on_the_way: BTreeMap<String, oneshot::Sender<()>>,
}

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
        let _look = self.looks.take(namespace).await;
        let _own = self.of_all.readings.take(namespace).await;
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
        let _look = self.looks.take(namespace).await;
        let _own = self.of_all.readings.take(namespace).await;
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
        let _number = self.numbers.take(namespace).await;
        let _own = self.of_all.numbers.take(namespace).await;
        let _place = self.places_for_numbers.acquire().await;
        self.prometheus.instant(Asking::of(&self.client, &[namespace]), round, query).await
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
        let _past = self.past.take(namespace).await;
        let _number = self.numbers.take(namespace).await;
        let _own = self.of_all.numbers.take(namespace).await;
        let _place = self.places_for_numbers.acquire().await;
        let Round { now, deadline, scrape_interval: _ } = round;
        let namespaces = [namespace];
        let asking = Asking::of(&self.client, &namespaces);
        let query = self.prometheus.over_time(asking, query, now, deadline).await?;
        let most = MOST_OF_THE_PAST;
        self.prometheus.earlier(asking, &query, stretch, step, deadline, most).await
    }

    /// Reads the pods of one run, together with all who ask for the same families in the same round: see [`Prometheus::read`].
    pub async fn read(self: &Arc<Self>, round: Round, asker: Asker) -> Answers {
        let pods: Vec<_> = asker.pods.iter().map(|pod| pod.name.clone()).collect();
        let same = (round, asker.detected.families());
        let (sender, receiver) = oneshot::channel();
        {
            let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
            let gathered = gathering.entry(same.clone()).or_default();
            let namespace = asker.namespace.clone();
            gathered.waiting.push(Waiting { asker, answer: sender });
            gathered.on_the_way.entry(namespace.clone()).or_insert_with(|| {
                let (on_the_way, is_asked) = oneshot::channel();
                // A task of its own: the run that asked first may end before the others have their answers.
                tokio::spawn(self.clone().ask(same, namespace, is_asked));
                on_the_way
            });
        }
        let gone = |_| {
            let problem = "whoever asked for all is gone".to_owned();
            let error = ReadError::Broken { asked: Asked::Prometheus, problem };
            pods.into_iter().map(|pod| (pod, Err(error.clone()))).collect()
        };
        receiver.await.unwrap_or_else(gone)
    }

    /// Asks for all who wait, in the share of this namespace, unless another of them has its turn before: who shares a server with those whose turns
    /// are all taken does not wait for these.
    async fn ask(self: Arc<Self>, same: Same, namespace: String, is_asked: oneshot::Receiver<()>) {
        let turn = async {
            tokio::time::sleep(GATHER).await;
            let own = self.of_all.readings.take(&namespace).await;
            (own, self.places.acquire().await)
        };
        let _turn = tokio::select! {
            biased;
            _ = is_asked => return,
            turn = turn => turn,
        };
        let Some(waiting) = self.gathered(&same, &namespace) else { return };
        let (askers, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|Waiting { asker, answer }| (asker, answer)).unzip();
        let answers = self.prometheus.read(&self.client, same.0, &askers).await;
        for (sender, answer) in senders.into_iter().zip(answers) {
            // Fails when that run has ended meanwhile.
            let _gone = sender.send(answer);
        }
    }

    /// All who wait, if some of this namespace do.
    fn gathered(&self, same: &Same, namespace: &str) -> Option<Vec<Waiting>> {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        if !gathering.get(same)?.on_the_way.contains_key(namespace) {
            return None;
        }
        gathering.remove(same).map(|gathered| gathered.waiting)
    }
}
