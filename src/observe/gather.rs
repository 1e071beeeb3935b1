//! What pods wrote, and what was written about them, read before they are gone: bounded in lines and bytes, and only what can be printed.
//! What cannot be read is noted, and nothing else comes of it.

use std::time::Duration;

use futures::future::join_all;
use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, LogParams};

use super::happened::{About, Happened};
use super::kept::{Unread, shown};
use crate::api::undo::{ContainerLog, PodEvidence};
use crate::decide::{Gather, Witness};
use crate::turns::Turns;

/// For each log, once it is its turn.
const DEADLINE: Duration = Duration::from_secs(4);
/// For a pod's events, and for each of its logs, those who asked before included. What takes longer is named, and the rest kept: soon after that the
/// record waits for none of it.
const DEADLINE_OF_ALL: Duration = Duration::from_secs(8);
/// Logs that are read at the same time, of all namespaces and of one: each is a request to a node, and one that says nothing takes its whole time.
/// Twice so many of one are read, where no node answers, before their time is over.
const LOGS_AT_ONCE: usize = 32;
const LOGS_OF_A_NAMESPACE: usize = 8;
/// Bytes of a log that are read, and those of its end that are kept.
const READ: u64 = 1024 * 1024;
const KEPT: usize = 16 * 1024;
/// Bytes of all logs of a pod that are kept.
const OF_A_POD: usize = 48 * 1024;
/// What could not be read that is named.
const UNREAD: usize = 8;

/// Reads what is left of pods, for all runs that go back.
pub struct Gatherer {
    client: Client,
    happened: Happened,
    logs: Turns,
}

impl Gatherer {
    pub fn start(client: Client) -> Self {
        let logs = Turns::of(LOGS_AT_ONCE, LOGS_OF_A_NAMESPACE);
        Self { happened: Happened::start(client.clone()), client, logs }
    }

    /// Reads events and logs of pods, all at the same time.
    pub async fn gather(&self, namespace: &str, wanted: &Gather) -> Vec<PodEvidence> {
        join_all(wanted.pods.iter().map(|pod| self.one(namespace, pod, wanted))).await
    }

    async fn one(&self, namespace: &str, witness: &Witness, wanted: &Gather) -> PodEvidence {
        let Gather { pods: _, containers, log_lines } = wanted;
        let Witness { pod, began_again } = witness;
        let times: &[bool] = if *began_again { &[true, false] } else { &[false] };
        let asked = containers
            .iter()
            .filter(|_| *log_lines > 0)
            .flat_map(|name| times.iter().map(move |previous| (name, *previous)));
        let logs = asked.map(|(container, previous)| async move {
            let read = async {
                let _turn = self.logs.take(namespace).await;
                log(&self.client, namespace, pod, container, previous, *log_lines).await
            };
            let lines = tokio::time::timeout(DEADLINE_OF_ALL, read).await;
            (container, previous, lines.unwrap_or_else(|_| Err(Unread::because("not read in time"))))
        });
        let events = tokio::time::timeout(DEADLINE_OF_ALL, self.happened.about(namespace, pod));
        let (events, logs) = futures::join!(events, join_all(logs));
        let events = events.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        evidence(pod, events, logs)
    }
}

/// A container, whether the log is of the time before its restart, and what was read of it.
type LogRead<'a> = (&'a String, bool, Result<Vec<String>, Unread>);

fn evidence(pod: &str, events: Result<About, String>, logs: Vec<LogRead<'_>>) -> PodEvidence {
    let mut evidence = PodEvidence { pod: pod.to_owned(), ..PodEvidence::default() };
    match events {
        Ok(About { lines, in_part }) => {
            evidence.events = lines;
            if in_part {
                evidence.unread.push("events: the namespace has more than are read".to_owned());
            }
        }
        Err(unread) => evidence.unread.push(shown(&format!("events: {unread}"))),
    }
    let mut bytes = 0;
    for (container, previous, lines) in logs {
        match lines {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => {
                bytes += lines.iter().map(String::len).sum::<usize>();
                if bytes > OF_A_POD {
                    evidence.unread.push(format!("log of {container}: there is no room for it"));
                    continue;
                }
                evidence.logs.push(ContainerLog { container: container.clone(), previous, lines });
            }
            // Most containers were never restarted.
            Err(Unread { is_absent: true, .. }) if previous => {}
            Err(Unread { why, .. }) => {
                let of = if previous { " before its restart" } else { "" };
                evidence.unread.push(shown(&format!("log of {container}{of}: {why}")));
            }
        }
    }
    evidence.unread.dedup();
    evidence.unread.truncate(UNREAD);
    evidence
}

async fn log(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
    lines: u32,
) -> Result<Vec<String>, Unread> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = LogParams {
        container: Some(container.to_owned()),
        previous,
        tail_lines: Some(i64::from(lines)),
        limit_bytes: i64::try_from(READ).ok(),
        ..LogParams::default()
    };
    let read = async {
        let stream = api.log_stream(pod, &params).await?;
        end_of(stream).await.map_err(|error| Unread::because(error.to_string()))
    };
    let read = tokio::time::timeout(DEADLINE, read).await;
    let read = read.unwrap_or_else(|_| Err(Unread::because("no answer in time")))?;
    Ok(last_lines(&read, lines))
}

/// The end of what comes, whatever comes before it.
async fn end_of(stream: impl AsyncRead) -> Result<Vec<u8>, std::io::Error> {
    let mut stream = std::pin::pin!(stream.take(READ));
    let (mut end, mut piece) = (Vec::new(), vec![0; KEPT]);
    loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(end);
        }
        end.extend_from_slice(&piece[..read]);
        let excess = end.len().saturating_sub(KEPT);
        end.drain(..excess);
    }
}

/// The last lines of what a container wrote, whatever bytes these are; each as far as it can be printed.
///
/// ```
/// use tidegate::observe::gather::last_lines;
/// let wrote = b"one\ntwo \x1b[31mred\x07\nthree \xff\n";
/// assert_eq!(last_lines(wrote, 2), ["two red", "three \u{fffd}"]);
/// ```
pub fn last_lines(wrote: &[u8], most: u32) -> Vec<String> {
    let text = String::from_utf8_lossy(wrote);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
    lines.into_iter().skip(skipped).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server with no events, and with a log of each pod but of those in one namespace: the nodes of all but one there say nothing.
    fn server() -> Client {
        let service = tower::service_fn(async |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            if path.ends_with("/log") && path.contains("/noisy/") && !path.contains("/well/") {
                pending::<()>().await;
            }
            let events = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": []});
            let answer = if path.ends_with("/log") { "panic\n".to_owned() } else { events.to_string() };
            Ok::<_, Infallible>(Response::new(Body::from(answer.into_bytes())))
        });
        Client::new(service, "default")
    }

    fn wanted(pods: usize) -> Gather {
        let witness = |number: usize| Witness { pod: format!("shop-{number}"), began_again: false };
        Gather { pods: (0..pods).map(witness).collect(), containers: vec!["app".to_owned()], log_lines: 50 }
    }

    #[tokio::test(start_paused = true)]
    async fn more_logs_than_can_be_read_in_time_are_named_and_the_rest_is_there() {
        let gatherer = Gatherer::start(server());
        let mut all = wanted(3 * LOGS_OF_A_NAMESPACE);
        all.pods.insert(0, Witness { pod: "well".to_owned(), began_again: false });
        let read = tokio::time::timeout(DEADLINE_OF_ALL + DEADLINE / 4, gatherer.gather("noisy", &all));
        let read = read.await.expect("before the record waits for none of it any more");
        let named =
            |why: &str| read.iter().filter(|pod| pod.unread == [format!("log of app: {why}")]).count();
        let (silent, late) = (named("no answer in time"), named("not read in time"));
        assert!(silent >= LOGS_OF_A_NAMESPACE && late >= LOGS_OF_A_NAMESPACE, "{read:?}");
        assert_eq!(silent + late, 3 * LOGS_OF_A_NAMESPACE, "{read:?}");
        assert_eq!((read[0].pod.as_str(), read[0].logs.len()), ("well", 1), "{read:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_whose_nodes_say_nothing_keeps_no_others_logs_waiting() {
        let gatherer = Gatherer::start(server());
        let (many, one) = (wanted(3 * LOGS_AT_ONCE), wanted(1));
        let noisy = gatherer.gather("noisy", &many);
        // Less than a log that says nothing takes, and more than its events do.
        let other = tokio::time::timeout(DEADLINE / 2, gatherer.gather("shop", &one));
        tokio::select! {
            biased;
            _ = noisy => panic!("its nodes say nothing"),
            read = other => {
                let read = read.expect("its turn comes at once");
                assert_eq!(read[0].logs.len(), 1, "{read:?}");
                assert_eq!(read[0].logs[0].lines, ["panic"]);
            }
        }
    }
}
