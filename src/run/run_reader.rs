//! What one run reads: its pods' pages, or what a Prometheus server says of them. It keeps which series were chosen, which credentials are in use, and
//! whether it is known what stable pods did before.
//!
//! When it is time to read is for the rounds that ask (`sampler`, `values`), and what comes of it is counted elsewhere (`counting`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::counting::Counting;
use super::findings::Origin;
use crate::api::release::PrometheusSource;
use crate::decide::judge::{Revision, Slot};
use crate::decide::plan::Source;
use crate::decide::values::Gauge;
use crate::decide::{SampledPod, Sampling, definition};
use crate::observe::credentials;
use crate::observe::measure::ReadError;
use crate::observe::measure::kept::{Passage, SERIES};
use crate::observe::measure::names::{Detected, Names};
use crate::observe::measure::prometheus::{Answers, Asker, Pod, Round, queries};
use crate::observe::measure::scrape::{self, PageRead, Pages, Target};
use crate::observe::measure::servers::{Server, Servers};
use crate::watch::ObjectKey;

/// Pods of one run read at the same time.
const AT_ONCE: usize = 64;
/// For each query to a Prometheus server.
pub(super) const QUERY: Duration = Duration::from_secs(5);
/// How much of a query is shown.
const QUERY_SHOWN: usize = 1024;
/// Credentials may change: they are read again after so long, and when the server refuses them.
const CREDENTIALS_KEPT: i64 = 300;

/// Where numbers come from.
#[derive(Clone)]
pub(super) struct Sources {
    /// For credentials.
    pub(super) client: Client,
    /// The pods' own pages.
    pub(super) pages: Arc<dyn Pages>,
    pub(super) servers: Arc<Servers>,
}

/// What a run keeps from one round to the next.
pub(super) struct RunReader {
    sources: Sources,
    known: Option<Known>,
    /// What `detected` was chosen for.
    asked: Option<(Source, Names)>,
    detected: Option<Detected>,
    /// What counts are read with.
    definition: String,
    /// What came of asking for what stable pods did before the run: asked once for what is counted.
    history: Option<Result<History, ReadError>>,
}

/// What stable pods did before the run.
struct History {
    /// Until they are handed on.
    slots: Vec<Slot>,
    pods: usize,
}

/// A server, and when its credentials were read.
struct Known {
    source: PrometheusSource,
    server: Arc<Server>,
    read_at: i64,
}

/// The canary's pods' pages, where gauges were asked for; what they count is not in them any more.
pub(super) type Gauged = Vec<(String, Result<PageRead, ReadError>)>;

impl RunReader {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, known: None, asked: None, detected: None, definition: String::new(), history: None }
    }

    /// Where numbers are read that are not the server's.
    pub(super) fn servers(&self) -> &Servers {
        &self.sources.servers
    }

    /// Credentials were refused: they are read again before they are used again.
    pub(super) fn forget_credentials(&mut self) {
        self.known = None;
    }

    /// Whether other series are read from now on than in the rounds before: nothing can be compared then. Paths that are left
    /// out become more as the canary's probes become known, and never fewer.
    pub(super) fn starts_anew(&mut self, wanted: &Sampling) -> bool {
        let now = (wanted.source.clone(), Names::of(wanted));
        let other = self.asked.as_ref().is_some_and(|(source, names)| {
            *source != now.0 || names.requests != now.1.requests || names.latency != now.1.latency
        });
        if other {
            self.detected = None;
        }
        if let Some(detected) = &mut self.detected {
            detected.ignore(&now.1.ignore_paths);
        }
        self.asked = Some(now);
        let definition = definition::of_sampling(wanted);
        if self.definition != definition {
            // What is known is of other requests.
            (self.definition, self.history) = (definition, None);
        }
        other
    }

    pub(super) async fn read(
        &mut self,
        of: &ObjectKey,
        wanted: &Sampling,
        gauges: &[Gauge],
        at: i64,
        deadline: Duration,
        counting: Option<&mut Counting<'_>>,
    ) -> Gauged {
        let names = Names::of(wanted);
        match &wanted.source {
            Source::Pods { .. } => {
                self.read_pages(of.namespace(), wanted, &names, gauges, deadline, counting).await
            }
            Source::Prometheus { server, scrape_interval } => {
                let Some(counting) = counting else { return Vec::new() };
                let round = Round { now: at, scrape_interval: *scrape_interval, deadline: QUERY };
                let passage = Passage::of(&SERIES, of);
                match self.read_server(of.namespace(), wanted, server, &names, round, &passage).await {
                    Ok(answers) => answers.into_iter().for_each(|(pod, said)| counting.add(&pod, said)),
                    Err(error) => counting.fail(&error),
                }
                Vec::new()
            }
        }
    }

    /// What stable pods did before the run, once it is known; nothing where it has been handed on.
    pub(super) fn take_history(&mut self) -> Option<Vec<Slot>> {
        match &mut self.history {
            Some(Ok(history)) if !history.slots.is_empty() => Some(std::mem::take(&mut history.slots)),
            Some(_) | None => None,
        }
    }

    /// What counts are read with, as it was when somebody asked whether that starts anew.
    pub(super) fn definition(&self) -> &str {
        &self.definition
    }

    /// Nobody has room for it.
    pub(super) fn forget_history(&mut self) {
        self.history = Some(Err(ReadError::NoRoom));
    }

    /// What is to be said where nobody can tell which requests failed.
    pub(super) fn unlabelled(&self) -> Option<ReadError> {
        self.detected.as_ref().map(Detected::unlabelled)
    }

    /// Where counts come from.
    pub(super) fn origin(&self, namespace: &str, wanted: &Sampling) -> Origin {
        let query = match (&wanted.source, &self.detected) {
            (Source::Pods { .. }, _) => {
                let page = |pod: &SampledPod| format!("GET :{}{} of each pod", pod.port, pod.path);
                wanted
                    .pods
                    .iter()
                    .map(page)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            (Source::Prometheus { server, scrape_interval }, Some(detected)) => {
                let pods = wanted.pods.iter().map(|pod| pod.name.as_str());
                let queries = queries(namespace, pods, detected, *scrape_interval);
                format!("{} at {}", queries.join(" and "), server.url)
            }
            (Source::Prometheus { .. }, None) => String::new(),
        };
        Origin {
            definition: self.definition.clone(),
            source: self.sentence(),
            query: query.chars().take(QUERY_SHOWN).collect(),
        }
    }

    /// Which series are read, and how much is known from before the run.
    fn sentence(&self) -> String {
        let series = self.detected.as_ref().map(Detected::sentence).unwrap_or_default();
        match &self.history {
            None => series,
            Some(Ok(History { pods: 0, .. })) => {
                format!("{series}; nothing is known of stable pods before the run")
            }
            Some(Ok(History { pods, .. })) => {
                format!("{series}; learnt from the hour before the run on {pods} stable pods")
            }
            Some(Err(error)) => {
                format!(
                    "{series}; the hour before the run could not be read ({error}): learnt in the run instead"
                )
            }
        }
    }

    async fn read_server(
        &mut self,
        namespace: &str,
        wanted: &Sampling,
        source: &PrometheusSource,
        names: &Names,
        round: Round,
        passage: &Passage,
    ) -> Result<Answers, ReadError> {
        let server = self.server(namespace, source, round.now).await?;
        let read = self.ask(&server, namespace, wanted, names, round, passage).await;
        let refused = match &read {
            Ok(answers) => {
                answers.iter().any(|(_, answer)| answer.as_ref().is_err_and(ReadError::is_about_credentials))
            }
            Err(error) => error.is_about_credentials(),
        };
        if refused {
            self.forget_credentials();
        }
        read
    }

    async fn read_pages(
        &mut self,
        namespace: &str,
        wanted: &Sampling,
        names: &Names,
        gauges: &[Gauge],
        deadline: Duration,
        counting: Option<&mut Counting<'_>>,
    ) -> Gauged {
        let from = self.sources.pages.clone();
        let targets = |of: &dyn Fn(Revision) -> bool| -> Vec<Target> {
            let target = |pod: &SampledPod| {
                let ip = pod.ip.parse().ok()?;
                let namespace = namespace.to_owned();
                Some(Target { namespace, pod: pod.name.clone(), ip, port: pod.port, path: pod.path.clone() })
            };
            wanted.pods.iter().filter(|pod| of(pod.revision)).filter_map(target).collect()
        };
        let is_canary = |revision| revision == Revision::Canary;
        if let Some(counting) = counting {
            let all = targets(&|_| true);
            if self.detected.is_none() {
                match scrape::detect(&*from, &all, names, deadline, AT_ONCE).await {
                    Ok(found) => self.detected = Some(found),
                    Err(error) => counting.fail(&error),
                }
            }
            if let Some(known) = &self.detected {
                let of_canary: HashSet<&str> = wanted
                    .pods
                    .iter()
                    .filter(|pod| is_canary(pod.revision))
                    .map(|pod| pod.name.as_str())
                    .collect();
                let is_asked = |pod: &str| !gauges.is_empty() && of_canary.contains(pod);
                let mut pages = BTreeMap::new();
                let mut take = |place: usize, mut page: Result<PageRead, ReadError>| {
                    let pod = &all[place].pod;
                    let counted = match &mut page {
                        Ok(page) => std::mem::replace(&mut page.counted, Ok(Vec::new())),
                        Err(error) => Err(error.clone()),
                    };
                    counting.add(pod, counted);
                    if is_asked(pod) {
                        pages.insert(place, (pod.clone(), page));
                    }
                };
                scrape::scrape(&*from, &all, Some(known), gauges, deadline, AT_ONCE, &mut take).await;
                return pages.into_values().collect();
            }
        }
        // Gauges are there to be read also where no counter is.
        match gauges {
            [] => Vec::new(),
            gauges => scrape::scrape_all(&*from, &targets(&is_canary), None, gauges, deadline, AT_ONCE).await,
        }
    }

    /// The server, with credentials that are not old. Where they cannot be read just now, those known stay in use.
    pub(super) async fn server(
        &mut self,
        namespace: &str,
        source: &PrometheusSource,
        at: i64,
    ) -> Result<Arc<Server>, ReadError> {
        let known = self.known.as_ref().filter(|known| known.source == *source);
        if let Some(known) = known.filter(|known| (0..CREDENTIALS_KEPT).contains(&(at - known.read_at))) {
            return Ok(known.server.clone());
        }
        match credentials::way(&self.sources.client, namespace, source).await {
            Ok((prometheus, trust)) => {
                let server = self.sources.servers.at(prometheus, trust)?;
                self.known = Some(Known { source: source.clone(), server: server.clone(), read_at: at });
                Ok(server)
            }
            Err(ReadError::Credentials { lasting: false, .. }) if known.is_some() => {
                Ok(known.expect("just asked").server.clone())
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &mut self,
        server: &Arc<Server>,
        namespace: &str,
        wanted: &Sampling,
        names: &Names,
        round: Round,
        passage: &Passage,
    ) -> Result<Answers, ReadError> {
        let pods: Vec<Pod> = wanted
            .pods
            .iter()
            .map(|pod| Pod { name: pod.name.clone(), started_at: pod.started_at })
            .collect();
        let detected = match &self.detected {
            Some(known) => known.clone(),
            None => {
                let found = server.detect(round, namespace, &pods, names).await?;
                self.detected.insert(found).clone()
            }
        };
        if wanted.history && self.history.is_none() {
            let stable = |(_, wanted): &(&Pod, &SampledPod)| wanted.revision == Revision::Stable;
            let stable: Vec<Pod> =
                pods.iter().zip(&wanted.pods).filter(stable).map(|(pod, _)| pod.clone()).collect();
            let read = server.history(round, namespace, &stable, &detected).await;
            self.history = Some(read.map(|slots| History { pods: pods_in(&slots), slots }));
        }
        let asker = Asker { namespace: namespace.to_owned(), pods, detected, passage: passage.clone() };
        Ok(server.read(round, asker).await)
    }
}

fn pods_in(slots: &[Slot]) -> usize {
    slots.iter().map(|slot| slot.pod.as_str()).collect::<HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::super::counting::tests::wanted;
    use super::*;
    use crate::observe::measure::{self, Trust};
    use crate::observe::reach::Reach;

    #[tokio::test]
    async fn what_stable_pods_did_before_the_run_is_asked_again_when_other_requests_are_counted() {
        let silent = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, std::io::Error>>()
        });
        let reach = Reach::anywhere();
        let mut reader = RunReader::new(Sources {
            client: Client::new(silent, "default"),
            pages: Arc::new(measure::client(Trust::Nothing, &reach).expect("a client")),
            servers: Arc::new(Servers::within(reach)),
        });
        let server: PrometheusSource =
            serde_json::from_value(json!({"url": "http://prometheus:9090"})).expect("a server");
        let counting = |name: &str, seconds: u64| Sampling {
            source: Source::Prometheus {
                server: server.clone(),
                scrape_interval: Duration::from_secs(seconds),
            },
            requests: Some((name.to_owned(), None)),
            ..wanted(&[("old", Revision::Stable)])
        };
        let mut knows = |sampling: &Sampling| {
            let anew = reader.starts_anew(sampling);
            let knows = reader.sentence().contains("before the run");
            reader.history = Some(Ok(History { slots: Vec::new(), pods: 0 }));
            (anew, knows)
        };
        assert_eq!(knows(&counting("calls", 15)), (false, false));
        assert_eq!(knows(&counting("calls", 15)), (false, true));
        assert_eq!(knows(&counting("calls", 30)), (true, true), "they are the same requests");
        assert_eq!(knows(&counting("requests", 30)), (true, false));
        assert_eq!(knows(&counting("requests", 30)), (false, true));
    }
}
