//! What a Job said at its end: the end of its pod's log, and the pod's termination message. Read once it has ended, as far as it is
//! wanted, and told then what must hold of it; what it means is judged in `decide/jobs.rs`.
//!
//! Of a Job with several pods the one that ended well counts, and of those the last. Of a pod with several containers, the one that
//! the annotation `kubectl.kubernetes.io/default-container` names, else the first. The annotation chooses among the containers that there are: anybody
//! may write anything into it, and it is no text to make a request of.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body::Body as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::client::Body;
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::probes::in_turn;
use super::probes::list::{List, each};
use crate::api::Right;
use crate::api::check::JobResult;
use crate::decide::jobs::{self, EndedJob};
use crate::decide::snapshot::{JobAnswer, LogEnd};
use crate::letters::turns_writing;
use crate::observe::measure::shortened;
use crate::turns::Turns;

/// Bytes of a log that are read.
const READ: usize = 64 * 1024;
/// Lines of a log that are asked for, and kept.
const LINES: usize = 20;
/// Bytes of them that are kept, and characters of one.
const KEPT: usize = 2 * 1024;
const KEPT_OF_A_LINE: usize = 512;
/// Pages of pods of one Job: 1,000 pods.
const MOST_PAGES: usize = 4;
/// What is read of a pod.
const READ_OF_A_POD: &[&str] = &[
    "metadata.name",
    "metadata.creationTimestamp",
    "metadata.annotations",
    "metadata.ownerReferences",
    "spec.containers.name",
    "status.phase",
    "status.containerStatuses.name",
    "status.containerStatuses.state.terminated",
];
/// For all of it together.
const DEADLINE: Duration = Duration::from_secs(10);

/// What must hold of what Jobs said is told of so many at once, and of one namespace.
static TURNS: Turns = Turns::of(2, 1);

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The end of the log, and the termination message: as far as they are wanted, and nothing otherwise.
pub type Said = (Result<LogEnd, String>, Result<String, String>);

/// Reads what a Job said.
pub async fn read(client: &Client, namespace: &str, job: &EndedJob) -> Said {
    let read = async {
        let (pod, container) = match pod(client, namespace, &job.name).await {
            Ok(found) => found,
            Err(problem) => return (Err(problem.clone()), Err(problem)),
        };
        let termination = if job.termination { terminated(&pod, &container) } else { Ok(String::new()) };
        let log = if job.log {
            log(client, namespace, &pod.name_any(), &container).await
        } else {
            Ok(LogEnd::default())
        };
        (log, termination)
    };
    match tokio::time::timeout(DEADLINE, read).await {
        Ok(said) => said,
        Err(_) => {
            let late = format!("no answer within {} s", DEADLINE.as_secs());
            (Err(late.clone()), Err(late))
        }
    }
}

/// Whether what must hold of it does. Off the threads that everything else runs on, and in this namespace's turn. `None`: nothing must, or it broke
/// off.
pub async fn answer(namespace: &str, result: Option<JobResult>, said: &Said) -> Option<JobAnswer> {
    let result = result?;
    let (log, termination) = said.clone();
    let turn = TURNS.take(namespace).await;
    in_turn(turn, move || jobs::answer(&result, &log, &termination)).await.ok()
}

/// The pod that counts, and the container. No other is kept: they may be many, and large.
async fn pod(client: &Client, namespace: &str, job: &str) -> Result<(Pod, String), String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let label = format!("batch.kubernetes.io/job-name={job}");
    let selectors = [("labelSelector", label.as_str())];
    let words = format!("pods in namespace {namespace}");
    let list = List {
        asker: namespace,
        path: &path,
        selectors: &selectors,
        words: &words,
        fields: READ_OF_A_POD,
        most_pages: MOST_PAGES,
    };
    let mut best: Option<(Rank, Pod)> = None;
    each(client, &list, |pod| {
        let Ok(pod) = serde_json::from_value::<Pod>(pod) else { return };
        let rank = rank(&pod);
        if is_of(job, &pod) && best.as_ref().is_none_or(|(known, _)| rank >= *known) {
            best = Some((rank, pod));
        }
    })
    .await?;
    let (_, pod) = best.ok_or("its pod is gone")?;
    let container = container(&pod).ok_or("its pod has no container")?;
    Ok((pod, container))
}

fn is_of(job: &str, pod: &Pod) -> bool {
    let owners = pod.owner_references();
    owners.iter().any(|owner| owner.kind == "Job" && owner.name == job && owner.controller == Some(true))
}

/// Whether it ended well, when it ended, and when it began: the greatest counts.
type Rank = (bool, Option<Timestamp>, Option<Timestamp>);

fn rank(pod: &Pod) -> Rank {
    let ended_well = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    let ended = statuses(pod)
        .iter()
        .filter_map(|container| Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    (ended_well, ended.max(), pod.creation_timestamp().map(|time| time.0))
}

/// The container that counts.
fn container(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let wanted = pod.annotations().get(DEFAULT_CONTAINER);
    let found = containers.iter().find(|container| Some(&container.name) == wanted);
    found.or(containers.first()).map(|container| container.name.clone())
}

fn statuses(pod: &Pod) -> &[ContainerStatus] {
    let status = pod.status.as_ref();
    status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn terminated(pod: &Pod, container: &str) -> Result<String, String> {
    let status = statuses(pod).iter().find(|status| status.name == container);
    let state = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
    match state {
        // The kubelet keeps 4 KiB; whoever else writes a pod's status may write more.
        Some(ended) => Ok(ended.message.clone().unwrap_or_default().chars().take(READ).collect()),
        None => Err(format!("container {container} of its pod is not known to have ended")),
    }
}

async fn log(client: &Client, namespace: &str, pod: &str, container: &str) -> Result<LogEnd, String> {
    let (text, is_whole) = tail(client, namespace, pod, container, LINES).await?;
    if is_whole {
        return Ok(end_of(&text, true));
    }
    // The bound counts from the first of the lines: what matters most is behind it.
    let (text, is_whole) = tail(client, namespace, pod, container, 1).await?;
    Ok(end_of(&text, is_whole))
}

/// So many last lines, and whether that was all of them.
async fn tail(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
    lines: usize,
) -> Result<(String, bool), String> {
    // All parts are names of objects, and of a container of the pod: nothing in them needs to be escaped.
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&tailLines={lines}&limitBytes={READ}"
    );
    let request = Request::get(path).body(Body::empty()).map_err(|_| "it cannot be asked for".to_owned())?;
    let response = client.send(request).await.map_err(|_| "there was no answer".to_owned())?;
    let status = response.status();
    let bytes = beginning(response.into_body()).await.ok_or("the answer broke off")?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if status == StatusCode::OK {
        return Ok((text, bytes.len() < READ));
    }
    let refused: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = refused["message"].as_str().unwrap_or_default();
    match Right::lacking(message).filter(|_| status == StatusCode::FORBIDDEN) {
        Some(right) => Err(right.to_string()),
        None => Err(format!("status {}: {}", status.as_u16(), shortened(message, 200))),
    }
}

/// A body, as far as it is read.
async fn beginning(mut body: Body) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < READ {
        let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await else { break };
        let Ok(data) = frame.ok()?.into_data() else { continue };
        bytes.extend_from_slice(&data[..data.len().min(READ - bytes.len())]);
    }
    Some(bytes)
}

/// The end of a log. `is_whole`: its last line is all there.
pub fn end_of(text: &str, is_whole: bool) -> LogEnd {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let (mut kept, mut left) = (Vec::new(), KEPT);
    for line in lines.iter().rev().take(LINES) {
        let line: String = printable(line).chars().take(KEPT_OF_A_LINE).collect();
        if line.len() > left {
            break;
        }
        left -= line.len();
        kept.push(line);
    }
    kept.reverse();
    let last = is_whole.then(|| lines.last().copied().unwrap_or_default().to_owned());
    LogEnd { last, lines: kept }
}

/// Without what colours a terminal, moves its cursor or turns the direction of writing.
pub(super) fn printable(line: &str) -> String {
    let mut letters = line.trim_end().chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                // ESC [ ... up to a letter; of any other sequence only what is not printable goes.
                let mut rest = letters.clone();
                if rest.next() == Some('[') && rest.any(|letter| ('@'..='~').contains(&letter)) {
                    letters = rest;
                }
            }
            '\t' => text.push_str("  "),
            // They have no width.
            '\u{200b}'..='\u{200d}' | '\u{feff}' => {}
            letter if letter.is_control() || turns_writing(letter) => {}
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Response;
    use serde_json::json;

    use super::*;

    /// What is asked of the API server for the log of a Job, whose pod has these containers and this annotation.
    async fn asked(containers: &[&str], default: Option<&str>) -> Vec<String> {
        let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
        let pods = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{
            "metadata": {
                "name": "load-x", "namespace": "shop", "annotations": default.map(|name| json!({DEFAULT_CONTAINER: name})),
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "load", "uid": "1", "controller": true}],
            },
            "spec": {"containers": containers},
        }]});
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let is_list = uri.starts_with("/api/v1/namespaces/shop/pods?");
            let body = if is_list { pods.to_string() } else { "done\n".to_owned() };
            if !is_list {
                seen.lock().unwrap().push(uri);
            }
            async move { Ok::<_, std::io::Error>(Response::new(Body::from(body.into_bytes()))) }
        });
        let job = EndedJob { name: "load".into(), log: true, termination: false, result: None };
        let _said = read(&Client::new(service, "default"), "shop", &job).await;
        let asked = asked.lock().unwrap();
        asked.clone()
    }

    #[tokio::test]
    async fn the_annotation_chooses_among_the_containers_that_there_are() {
        let path = |container: &str| {
            [format!(
                "/api/v1/namespaces/shop/pods/load-x/log?container={container}&tailLines=20&limitBytes=65536"
            )]
        };
        let two = ["proxy", "tests"];
        assert_eq!(asked(&two, None).await, path("proxy"));
        assert_eq!(asked(&two, Some("tests")).await, path("tests"));
        for odd in
            ["", "gone", "tests&limitBytes=999999999&x=", "tests&follow=true#", "../../../x", "tests\r\nx: y"]
        {
            assert_eq!(asked(&two, Some(odd)).await, path("proxy"), "{odd}");
        }
        assert!(asked(&[], Some("tests&follow=true")).await.is_empty());
    }

    #[test]
    fn of_several_pods_one_that_ended_well_counts_and_of_those_the_last() {
        let pod = |phase: &str, ended: &str| -> Pod {
            let status = json!({
                "name": "load", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "finishedAt": ended}},
            });
            let pod = json!({"metadata": {"name": "load-x"}, "status": {"phase": phase, "containerStatuses": [status]}});
            serde_json::from_value(pod).unwrap()
        };
        let (early, late) = ("2026-11-22T01:00:00Z", "2026-11-22T02:00:00Z");
        assert!(rank(&pod("Succeeded", early)) > rank(&pod("Failed", late)));
        assert!(rank(&pod("Succeeded", late)) > rank(&pod("Succeeded", early)));
    }

    #[test]
    fn the_end_of_a_log_is_printable_and_bounded_and_its_last_line_is_as_it_is() {
        let end = end_of("one\n\u{1b}[1;31mred\u{1b}[0m\ttwo\u{7}\u{202e}\n{\"failed\": 0}\n\n", true);
        assert_eq!(end.lines, ["one", "red  two", "{\"failed\": 0}"]);
        assert_eq!(end.last.as_deref(), Some("{\"failed\": 0}"));

        let many: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let end = end_of(&many, true);
        assert_eq!((end.lines.len(), end.lines[0].as_str()), (20, "line 80"));

        let long = format!("{}\n{}\nend\n", "x".repeat(5000), "é".repeat(5000));
        let end = end_of(&long, true);
        assert!(end.lines.iter().map(String::len).sum::<usize>() <= KEPT, "{end:?}");
        assert_eq!(end.lines.last().map(String::as_str), Some("end"));

        assert_eq!(end_of("half of a li", false).last, None);
        assert_eq!(end_of("", true), LogEnd { last: Some(String::new()), lines: Vec::new() });
    }
}
