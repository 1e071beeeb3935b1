//! What events say about pods.
//!
//! The API server keeps no index of events: each question makes it read all of a namespace's, and a hundred runs that go back in the same second would
//! ask a hundred times, just when it has stable pods to bring back. Events outlive their pods. So one question about a namespace is asked at a time, for
//! all who wait for an answer, and none before their orders have had a start; and of a few namespaces at once, so that one whose events are slow to
//! come costs no other its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::kept::shown;
use super::probes::list::{List, some};
use crate::turns::Turns;

/// How long it is waited for others who ask.
const START: Duration = Duration::from_secs(1);
/// For each namespace.
const DEADLINE: Duration = Duration::from_secs(4);
/// Namespaces that are asked about at the same time: each makes the API server read all that there is of one.
const AT_ONCE: usize = 4;
/// Events about a pod that are kept.
const EVENTS: usize = 20;
/// Pages of a namespace that are read: 10,000 events.
const PAGES: usize = 40;
/// What is read of an event.
const OF_AN_EVENT: &[&str] = &[
    "involvedObject.name",
    "type",
    "reason",
    "message",
    "count",
    "lastTimestamp",
    "eventTime",
    "metadata.creationTimestamp",
];
/// Questions that may wait.
const WAITING: usize = 1024;

/// Reads events for all who ask. Ends when dropped.
pub struct Happened {
    questions: mpsc::Sender<Question>,
    reading: AbortHandle,
}

/// What is known of one pod: a line an event, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub lines: Vec<String>,
    /// There are more events in the namespace than are read.
    pub in_part: bool,
}

struct Question {
    namespace: String,
    pod: String,
    answer: oneshot::Sender<Result<About, String>>,
}

impl Happened {
    /// Begins to wait for questions.
    pub fn start(client: Client) -> Self {
        let (questions, waiting) = mpsc::channel(WAITING);
        let reading = tokio::spawn(answer_all(client, waiting)).abort_handle();
        Self { questions, reading }
    }

    /// What events say about a pod.
    ///
    /// # Errors
    /// Why they could not be read, for people.
    pub async fn about(&self, namespace: &str, pod: &str) -> Result<About, String> {
        let (answer, answered) = oneshot::channel();
        let question = Question { namespace: namespace.to_owned(), pod: pod.to_owned(), answer };
        if self.questions.try_send(question).is_err() {
            return Err("too many others are being read".to_owned());
        }
        answered.await.unwrap_or_else(|_| Err("nobody reads them".to_owned()))
    }
}

impl Drop for Happened {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn answer_all(client: Client, mut questions: mpsc::Receiver<Question>) {
    let turns = Arc::new(Turns::of(AT_ONCE, 1));
    let mut under_way = JoinSet::new();
    while let Some(first) = questions.recv().await {
        tokio::time::sleep(START).await;
        while under_way.try_join_next().is_some() {}
        let mut asked = BTreeMap::<String, Vec<Question>>::new();
        let others = std::iter::from_fn(|| questions.try_recv().ok());
        for question in std::iter::once(first).chain(others) {
            asked.entry(question.namespace.clone()).or_default().push(question);
        }
        for (namespace, mut asked) in asked {
            let (client, turns) = (client.clone(), turns.clone());
            under_way.spawn(async move {
                let _turn = turns.take(&namespace).await;
                asked.retain(|question| !question.answer.is_closed());
                answer(&client, &namespace, asked).await;
            });
        }
    }
}

async fn answer(client: &Client, namespace: &str, asked: Vec<Question>) {
    let mut pods: BTreeMap<&str, Told> = asked.iter().map(|question| (&*question.pod, Told::new())).collect();
    if pods.is_empty() {
        return;
    }
    let read = tokio::time::timeout(DEADLINE, read(client, namespace, &mut pods)).await;
    let read = read.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let about = |told: &Told| About { lines: latest(told.clone()), in_part: read == Ok(false) };
    let answers: Vec<_> = asked
        .iter()
        .map(|question| match &read {
            Ok(_) => Ok(pods.get(&*question.pod).map(about).unwrap_or_default()),
            Err(why) => Err(why.clone()),
        })
        .collect();
    for (question, answer) in asked.into_iter().zip(answers) {
        // Who does not wait any more needs no answer.
        let _gone = question.answer.send(answer);
    }
}

/// When, and the line.
type Told = Vec<(Timestamp, String)>;

/// Adds what is said about these pods; whether that is all.
async fn read(client: &Client, namespace: &str, pods: &mut BTreeMap<&str, Told>) -> Result<bool, String> {
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let mut about = "involvedObject.kind=Pod".to_owned();
    if let Some((pod, _)) = pods.first_key_value().filter(|_| pods.len() == 1) {
        about.push_str(&format!(",involvedObject.name={pod}"));
    }
    let list = List {
        asker: namespace,
        path: &path,
        selectors: &[("fieldSelector", about.as_str())],
        words: &format!("events in namespace {namespace}"),
        fields: OF_AN_EVENT,
        most_pages: PAGES,
    };
    some(client, &list, |event| {
        let Ok(event) = serde_json::from_value::<Event>(event) else { return };
        let name = event.involved_object.name.as_deref().unwrap_or_default();
        let Some(told) = pods.get_mut(name) else { return };
        told.push(line(&event));
        if told.len() > 4 * EVENTS {
            *told = keep_latest(std::mem::take(told));
        }
    })
    .await
}

fn keep_latest(mut told: Told) -> Told {
    told.sort();
    let excess = told.len().saturating_sub(EVENTS);
    told.split_off(excess)
}

fn latest(told: Told) -> Vec<String> {
    keep_latest(told).into_iter().map(|(_, line)| line).collect()
}

/// When, and what: `2026-11-20T09:04:00Z Warning BackOff (5 times): Back-off restarting failed container`
pub fn line(event: &Event) -> (Timestamp, String) {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let at = last.or(event.event_time.as_ref().map(|time| time.0));
    let at = at.or(event.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let times = event.count.filter(|count| *count > 1).map(|count| format!(" ({count} times)"));
    let line = format!(
        "{} {} {}{}: {}",
        Timestamp::from_second(at.as_second()).unwrap_or(at),
        word(&event.type_),
        word(&event.reason),
        times.unwrap_or_default(),
        word(&event.message)
    );
    (at, shown(&line))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// An API server with two pages of events in each namespace.
    fn server(asked: Asked) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let is_second = uri.contains("continue=more");
            asked.lock().unwrap().push(uri);
            let about = |pod: &str, reason: &str| {
                json!({
                    "metadata": {"name": format!("{pod}.{reason}")}, "type": "Warning", "reason": reason, "message": "so",
                    "involvedObject": {"kind": "Pod", "name": pod}, "lastTimestamp": "2026-11-20T09:04:00Z",
                })
            };
            let (items, token) = match is_second {
                false => (vec![about("a", "BackOff"), about("other", "Failed")], "more"),
                true => (vec![about("b", "Unhealthy"), about("a", "Killing")], ""),
            };
            let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {"continue": token}, "items": items});
            async move { Ok::<_, std::io::Error>(Response::new(Body::from(list.to_string().into_bytes()))) }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_that_ask_at_once_make_one_question() {
        let asked = Asked::default();
        let happened = Happened::start(server(asked.clone()));
        let pods = (0..100).map(|number| ["a", "b", "c"][number % 3]);
        let answers = futures::future::join_all(pods.map(|pod| happened.about("ns", pod))).await;
        let lines = |pod: usize| answers[pod].as_ref().unwrap().lines.clone();
        assert_eq!(
            lines(0),
            ["2026-11-20T09:04:00Z Warning BackOff: so", "2026-11-20T09:04:00Z Warning Killing: so"]
        );
        assert_eq!(lines(1), ["2026-11-20T09:04:00Z Warning Unhealthy: so"]);
        assert!(
            lines(2).is_empty()
                && answers.iter().all(|answer| answer.as_ref().is_ok_and(|about| !about.in_part))
        );
        assert_eq!(asked.lock().unwrap().len(), 2, "two pages, once: {asked:?}");
    }

    #[tokio::test]
    async fn events_that_are_more_than_is_read_at_once_are_asked_for_a_few_at_a_time() {
        let asked = Asked::default();
        let seen = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let message = if uri.contains("limit=8") { "so".to_owned() } else { "x".repeat(17 << 20) };
            seen.lock().unwrap().push(uri);
            let event = json!({
                "metadata": {"name": "a.1", "managedFields": vec![json!({"manager": "a"}); 100_000]}, "type": "Warning", "reason": "BackOff",
                "message": message, "involvedObject": {"kind": "Pod", "name": "a"}, "lastTimestamp": "2026-11-20T09:04:00Z",
            });
            let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": [event]});
            async move { Ok::<_, std::io::Error>(Response::new(Body::from(list.to_string().into_bytes()))) }
        });
        let mut pods = BTreeMap::from([("a", Told::new())]);
        let whole = read(&Client::new(service, "default"), "ns", &mut pods).await;
        assert_eq!(whole, Ok(true));
        let lines = latest(pods.remove("a").unwrap());
        assert_eq!(lines, ["2026-11-20T09:04:00Z Warning BackOff: so"]);
        assert_eq!(asked.lock().unwrap().len(), 2, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn for_one_pod_the_server_is_asked_for_that_pod() {
        let asked = Asked::default();
        let happened = Happened::start(server(asked.clone()));
        assert!(happened.about("ns", "a").await.is_ok());
        assert!(asked.lock().unwrap()[0].contains("involvedObject.name%3Da"), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_waited_for_no_longer_than_its_time() {
        let silent = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, std::io::Error>>()
        });
        let happened = Happened::start(Client::new(silent, "default"));
        let answer = tokio::time::timeout(START + DEADLINE * 2, happened.about("ns", "a")).await;
        assert_eq!(answer.expect("in time"), Err("no answer in time".to_owned()));
    }
    /// An API server that says nothing of namespaces whose names begin with `a`, and of others that there are no events.
    fn slow_of_some(asked: Asked) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let is_slow = path.contains("/namespaces/a");
            asked.lock().unwrap().push(path);
            async move {
                if is_slow {
                    std::future::pending::<()>().await;
                }
                let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": []});
                Ok::<_, std::io::Error>(Response::new(Body::from(list.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn namespaces_whose_events_are_slow_to_come_cost_no_other_its_own() {
        let happened = Happened::start(slow_of_some(Asked::default()));
        let slow = futures::future::join(happened.about("a", "a"), happened.about("aa", "a"));
        let other = tokio::time::timeout(START + DEADLINE / 2, happened.about("shop", "a"));
        let mut slow = std::pin::pin!(slow);
        tokio::select! {
            biased;
            _ = &mut slow => panic!("they say nothing"),
            answer = other => assert_eq!(answer.expect("in time"), Ok(About::default())),
        }
        // Nor do they cost those who ask while they are read.
        let later = tokio::time::timeout(START + DEADLINE / 4, happened.about("shop", "a"));
        tokio::select! {
            biased;
            _ = &mut slow => panic!("they say nothing"),
            answer = later => assert_eq!(answer.expect("in time"), Ok(About::default())),
        }
        let none = || -> Result<About, String> { Err("no answer in time".to_owned()) };
        assert_eq!(slow.await, (none(), none()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_namespaces_are_asked_about_at_once_and_none_that_nobody_waits_for_any_more() {
        let asked = Asked::default();
        let happened = Happened::start(slow_of_some(asked.clone()));
        let names: Vec<String> = (0..3 * AT_ONCE).map(|number| format!("a{number}")).collect();
        let all = futures::future::join_all(names.iter().map(|name| happened.about(name, "a")));
        assert!(tokio::time::timeout(START + DEADLINE / 2, all).await.is_err(), "they say nothing");
        assert_eq!(asked.lock().unwrap().len(), AT_ONCE, "{asked:?}");
        assert_eq!(happened.about("shop", "a").await, Ok(About::default()));
        assert_eq!(asked.lock().unwrap().len(), AT_ONCE + 1, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_is_asked_about_once_at_a_time() {
        let asked = Asked::default();
        let happened = Happened::start(slow_of_some(asked.clone()));
        let count = || asked.lock().unwrap().len();
        let mut first = std::pin::pin!(happened.about("a", "a"));
        assert!(tokio::time::timeout(START + DEADLINE / 4, &mut first).await.is_err(), "it is being read");
        let mut second = std::pin::pin!(happened.about("a", "b"));
        assert!(tokio::time::timeout(START + DEADLINE / 4, &mut second).await.is_err(), "it waits");
        assert_eq!(count(), 1);
        assert!(first.await.is_err() && second.await.is_err());
        assert_eq!(count(), 2);
    }
}
