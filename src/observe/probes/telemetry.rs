//! Answers of `telemetry` checks: asks the sources of criteria as a run would, once, about stable pods, and a server in the share of the
//! namespace. What it means that they gave nothing is judged in `decide/telemetry.rs`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Answer, Means};
use crate::api::criterion::NoData;
use crate::decide::plan::Source;
use crate::decide::telemetry::{Gave, Subject, judged};
use crate::decide::values::{Found, Gauge, Kind};
use crate::decide::{SampledValue, Sampling};
use crate::observe::measure::kept::{Passage, SERIES};
use crate::observe::measure::names::{Detected, Names};
use crate::observe::measure::prometheus::{Answers, Asker, Pod, Round};
use crate::observe::measure::scrape::{self, PageRead, Target};
use crate::observe::measure::servers::Server;
use crate::observe::measure::{Counts, ReadError, SeriesValue, Trust};
use crate::observe::{credentials, values};
use crate::watch::ObjectKey;

/// For one question of several.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pods read at the same time.
const AT_ONCE: usize = 16;

/// Asks all sources once.
pub async fn ask(
    means: Means<'_>,
    namespace: &str,
    subject: &Subject,
    timeout: Duration,
    now: Timestamp,
) -> Answer {
    let sampling = &subject.sampling;
    let pods = sampling.pods.len();
    let criteria = &subject.criteria;
    let asking = Asking {
        means,
        namespace,
        sampling,
        // Two questions, one after the other, and time to say what came of them.
        deadline: DEADLINE.min(timeout.mul_f64(0.4)),
        server: server(means, namespace, sampling, timeout, now).await,
    };
    let none = || Gave::Nothing("no stable pod is Ready".to_owned());
    let mut gave = Vec::new();
    if !criteria.requests.is_empty() || !criteria.latency.is_empty() {
        let (requests, latency) = match pods {
            0 => (none(), none()),
            _ => asking.counted().await,
        };
        gave.extend(criteria.requests.iter().map(|name| (name.clone(), requests.clone())));
        gave.extend(criteria.latency.iter().map(|name| (name.clone(), latency.clone())));
    }
    // A list first, as for pages.
    let mut asked = Vec::new();
    for (value, no_data) in &criteria.values {
        asked.push(asking.value(value, *no_data));
    }
    gave.extend(futures::future::join_all(asked).await);
    gave.extend(criteria.of_pods.iter().map(|name| {
        let gave = if pods == 0 { none() } else { Gave::Data("the pods' status".to_owned()) };
        (name.clone(), gave)
    }));
    judged(pods, &gave)
}

/// The server that all of this is asked of, where it is one.
async fn server(
    means: Means<'_>,
    namespace: &str,
    sampling: &Sampling,
    timeout: Duration,
    now: Timestamp,
) -> Option<Result<(Arc<Server>, Round), ReadError>> {
    let Source::Prometheus { server, scrape_interval } = &sampling.source else { return None };
    let round = Round {
        now: now.as_second(),
        scrape_interval: *scrape_interval,
        deadline: DEADLINE.min(timeout.mul_f64(0.4)),
    };
    let way = credentials::way(means.client, namespace, server).await;
    Some(way.and_then(|(prometheus, trust)| Ok((means.servers.at(prometheus, trust)?, round))))
}

/// One try.
struct Asking<'a> {
    means: Means<'a>,
    namespace: &'a str,
    sampling: &'a Sampling,
    deadline: Duration,
    server: Option<Result<(Arc<Server>, Round), ReadError>>,
}

fn without(error: &ReadError) -> Gave {
    told(error.is_an_outage(), error.to_string())
}

fn told(is_an_outage: bool, why: String) -> Gave {
    if is_an_outage { Gave::NoAnswer(why) } else { Gave::Nothing(why) }
}

impl Asking<'_> {
    fn targets(&self) -> Vec<Target> {
        let target = |pod: &crate::decide::SampledPod| {
            let ip = pod.ip.parse().ok()?;
            let namespace = self.namespace.to_owned();
            Some(Target { namespace, pod: pod.name.clone(), ip, port: pod.port, path: pod.path.clone() })
        };
        self.sampling.pods.iter().filter_map(target).collect()
    }

    /// What counts requests, and what counts their durations.
    async fn counted(&self) -> (Gave, Gave) {
        match self.series().await {
            Err(error) => (without(&error), without(&error)),
            Ok((detected, answers)) => {
                let is_told = |counts: &Counts| matches!(counts, Counts::Requests { error: Some(_) });
                let is_untold = |counts: &Counts| matches!(counts, Counts::Requests { error: None });
                let requests = match of(&detected, &answers, is_untold) {
                    Gave::Data(_) => Gave::Nothing(detected.unlabelled().to_string()),
                    Gave::Nothing(_) | Gave::NoAnswer(_) => of(&detected, &answers, is_told),
                };
                let latency = match detected.has_latency() {
                    true => of(&detected, &answers, |counts| matches!(counts, Counts::Bucket(_))),
                    false => Gave::Nothing(detected.sentence()),
                };
                (requests, latency)
            }
        }
    }

    async fn series(&self) -> Result<(Detected, Answers), ReadError> {
        let names = Names::of(self.sampling);
        match &self.server {
            None => {
                let (targets, pages) = (self.targets(), self.means.pages);
                let detected = scrape::detect(pages, &targets, &names, self.deadline, AT_ONCE).await?;
                let mut answers: Answers =
                    targets.iter().map(|target| (target.pod.clone(), Ok(Vec::new()))).collect();
                let mut take = |place: usize, page: Result<PageRead, ReadError>| {
                    answers[place].1 = page.and_then(|page| page.counted).map(|series| one_of_each(&series));
                };
                let of = Some(&detected);
                scrape::scrape(pages, &targets, of, &[], self.deadline, AT_ONCE, &mut take).await;
                Ok((detected, answers))
            }
            Some(Err(error)) => Err(error.clone()),
            Some(Ok((server, round))) => {
                let pod = |pod: &crate::decide::SampledPod| Pod {
                    name: pod.name.clone(),
                    started_at: pod.started_at,
                };
                let pods: Vec<Pod> = self.sampling.pods.iter().map(pod).collect();
                let detected = server.detect(*round, self.namespace, &pods, &names).await?;
                let namespace = self.namespace.to_owned();
                let passage = Passage::of(&SERIES, &ObjectKey::new(self.namespace, ""));
                let asker = Asker { namespace, pods, detected: detected.clone(), passage: passage.clone() };
                let read = server.read(*round, asker).await.into_iter();
                let answers =
                    read.map(|(pod, answer)| (pod, answer.map(|series| one_of_each(&series)))).collect();
                // Its room is free again now that they are few.
                drop(passage);
                Ok((detected, answers))
            }
        }
    }

    async fn value(&self, value: &SampledValue, no_data: NoData) -> (String, Gave) {
        let gave = match self.number(&value.kind).await {
            Ok(found) => of_found(&found, no_data),
            Err(gave) => gave,
        };
        (value.criterion.clone(), gave)
    }

    async fn number(&self, kind: &Kind) -> Result<Found, Gave> {
        match (kind, &self.server) {
            (Kind::Json { url, pointer }, _) => {
                let trust = if url.starts_with("https:") { Trust::System } else { Trust::Nothing };
                let client = self.means.servers.client(trust).map_err(|error| without(&error))?;
                let (servers, namespace) = (self.means.servers, self.namespace);
                let read =
                    values::of_json_in_turn(servers, namespace, &client, url, pointer, self.deadline).await;
                read.map_err(|error| told(error.is_an_outage(), error.to_string()))
            }
            (Kind::PodGauge(gauge), None) => self.of_pages(gauge).await,
            (Kind::PodGauge(_) | Kind::Promql { .. }, Some(Err(error))) => Err(without(error)),
            (Kind::PodGauge(gauge), Some(Ok((server, round)))) => {
                let pods: Vec<(&str, bool)> =
                    self.sampling.pods.iter().map(|pod| (pod.name.as_str(), true)).collect();
                let read = values::of_pods(server, *round, self.namespace, &pods, gauge).await;
                read.map_err(|error| told(error.is_an_outage(), error.to_string()))
            }
            (Kind::Promql { query, by }, Some(Ok((server, round)))) => {
                let read = values::of_query(server, *round, self.namespace, query, by.as_deref()).await;
                let read = read.map_err(|error| told(error.is_an_outage(), error.to_string()))?;
                read.map_err(Gave::Nothing)
            }
            (Kind::Promql { .. }, None) => Err(Gave::Nothing("there is no server to ask".to_owned())),
            (Kind::Availability | Kind::Restarts, _) => Err(Gave::Nothing("it is not read".to_owned())),
        }
    }

    async fn of_pages(&self, gauge: &Gauge) -> Result<Found, Gave> {
        let (targets, gauges) = (self.targets(), [gauge.clone()]);
        let pages: Vec<(String, Result<PageRead, ReadError>)> =
            scrape::scrape_all(self.means.pages, &targets, None, &gauges, self.deadline, AT_ONCE).await;
        let away =
            pages.iter().find_map(|(_, page)| page.as_ref().err().filter(|error| error.is_an_outage()));
        if let Some(error) = away {
            return Err(without(error));
        }
        values::of_pages(0, &pages).map_err(Gave::Nothing)
    }
}

/// Of each kind one: it is only asked whether there are any, and all series of all pods may be many. Requests without a status only where it has
/// no others.
fn one_of_each(series: &[SeriesValue]) -> Vec<SeriesValue> {
    let is_bucket = |one: &&SeriesValue| matches!(one.counts, Counts::Bucket(_));
    let is_told = |one: &&SeriesValue| matches!(one.counts, Counts::Requests { error: Some(_) });
    let is_counted = |one: &&SeriesValue| !is_bucket(one) && one.value > 0.0;
    let requests = series.iter().find(is_told).or_else(|| series.iter().find(is_counted));
    requests.into_iter().chain(series.iter().find(is_bucket)).copied().collect()
}

/// What pods' series give: data, when every pod was read and one has such series. (A counter with labels is there only after the first
/// request.)
fn of(detected: &Detected, answers: &Answers, is_such: impl Fn(&Counts) -> bool) -> Gave {
    let failed = answers.iter().filter_map(|(pod, answer)| Some((pod, answer.as_ref().err()?)));
    let failed: Vec<(&String, &ReadError)> = failed.collect();
    let worst = failed.iter().find(|(_, error)| !error.is_an_outage()).or(failed.first());
    if let Some((pod, error)) = worst {
        let why = format!("{} of {} pods, such as {pod}: {error}", failed.len(), answers.len());
        return told(error.is_an_outage(), why);
    }
    let has = |(_, answer): &&(String, _)| {
        let series: &Result<Vec<SeriesValue>, ReadError> = answer;
        series.as_ref().is_ok_and(|series| series.iter().any(|one| is_such(&one.counts)))
    };
    match answers.iter().filter(has).count() {
        0 => Gave::Nothing(format!("{}, and no pod has counted a request", detected.sentence())),
        _ => Gave::Data(detected.sentence()),
    }
}

/// What a reading gives.
fn of_found(found: &Found, no_data: NoData) -> Gave {
    let numbers: Vec<f64> = found.points.iter().map(|point| point.value).filter(|it| !it.is_nan()).collect();
    if found.missing > 0 {
        return Gave::Nothing(found.trouble.clone());
    }
    match numbers.as_slice() {
        [] if found.points.is_empty() && no_data == NoData::Pass => {
            Gave::Data("it answers, with nothing (noData: Pass)".to_owned())
        }
        [] if found.points.is_empty() => Gave::Nothing("it answers, and gives no number".to_owned()),
        [] => Gave::Nothing("what it gives is no number (NaN)".to_owned()),
        [one] => Gave::Data(format!("it gives {one}")),
        [first, rest @ ..] => Gave::Data(format!("it gives {first} and {} more numbers", rest.len())),
    }
}
