//! Answers of `object` and `backup` checks: reads the objects, as JSON. What they say is judged in `decide/objects.rs`, off the threads
//! that everything else runs on. Turns are by namespace, and nobody is waited for in one that others of all namespaces wait for.

use http::{Request, StatusCode};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use reqwest::Url;
use serde_json::Value;

use super::body::{self, Arrived, Come};
use super::extract::{self, NotKept};
use super::{Answer, failed, in_turn, unknown};
use crate::api::Right;
use crate::decide::objects::{Objects, Which};
use crate::observe::measure::shortened;
use crate::turns::{Turn, Turns};

/// Bytes of an answer of the API server.
const LARGEST: usize = 4 << 20;
/// Objects that one selector may find.
const MOST: usize = 500;

/// Larger answers of the process that are in memory, and of one namespace. Whoever serves a kind may take their time for the rest of one.
static READING: Turns = Turns::of(8, 1);
/// One check of the process has its objects in memory at a time: as values they are many times their bytes ([`extract::MOST`] at most). That is a matter of
/// milliseconds; the time of whoever serves them is not in it.
static TURN: Turns = Turns::of(1, 1);

/// Asks once.
pub async fn ask(client: &Client, namespace: &str, objects: &Objects, now: Timestamp) -> Answer {
    let words = objects.words(namespace);
    let Ok(request) = Request::get(path(objects, namespace)).body(Body::empty()) else {
        return failed(format!("{words} cannot be asked for"));
    };
    let Ok(response) = client.send(request).await else { return unread(&words) };
    let status = response.status();
    let reply = match read(namespace, status, response.into_body(), &words).await {
        Ok(reply) => reply,
        Err(answer) => return answer,
    };
    let turn = TURN.take(namespace).await;
    let (objects, namespace) = (objects.clone(), namespace.to_owned());
    let judged = in_turn(turn, move || match reply.found(&namespace, &objects, &words) {
        Ok(found) => objects.judged(&namespace, found, now),
        Err(answer) => answer,
    });
    judged.await.unwrap_or_else(|_| unknown("it could not be evaluated".into()))
}

fn unread(words: &str) -> Answer {
    unknown(format!("{words} could not be read"))
}

/// What the API server said.
struct Reply {
    status: StatusCode,
    bytes: Vec<u8>,
    /// What lets a large one be in memory.
    _reading: Option<Turn<'static>>,
}

async fn read(namespace: &str, status: StatusCode, body: Body, words: &str) -> Result<Reply, Answer> {
    let Arrived { come, bytes, turn } = body::read(body, namespace, &READING, LARGEST).await;
    match come {
        Come::Whole => Ok(Reply { status, bytes, _reading: turn }),
        Come::More => {
            let most = LARGEST >> 20;
            Err(unknown(format!("{words}: more than {most} MiB: write a narrower selector")))
        }
        Come::BrokenOff => Err(unread(words)),
    }
}

impl Reply {
    /// The objects in it.
    fn found(self, namespace: &str, objects: &Objects, words: &str) -> Result<Vec<Value>, Answer> {
        let Self { status, bytes, _reading } = self;
        let answer = match extract::read(&bytes, &|path| !is_of_managers(path)) {
            Ok(answer) => answer,
            Err(error @ NotKept::TooMuch) => {
                return Err(unknown(format!("{words}: {error}: write a narrower selector")));
            }
            // Its status says what it is.
            Err(NotKept::NotRead) => Value::Null,
        };
        let message = answer["message"].as_str().unwrap_or_default();
        match status {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(unknown(forbidden(objects, words, message))),
            // Without a name in it: it is the resource that is not there.
            StatusCode::NOT_FOUND if answer["details"]["name"].is_string() => return Ok(Vec::new()),
            StatusCode::NOT_FOUND => {
                return Err(unknown(format!(
                    "the API server knows no {} in version {}: is its CRD installed, and is it {}?",
                    objects.full_resource(),
                    objects.version,
                    if objects.namespace(namespace).is_some() { "namespaced" } else { "of the cluster" },
                )));
            }
            StatusCode::BAD_REQUEST => return Err(failed(format!("{words}: {}", shortened(message, 200)))),
            status => return Err(unknown(format!("{words} could not be read: status {}", status.as_u16()))),
        }
        match (&objects.which, answer) {
            (Which::Named(_), answer) if answer.is_object() => Ok(vec![answer]),
            (Which::Labelled(_), mut answer) if answer["items"].is_array() => {
                if answer["metadata"]["continue"].as_str().is_some_and(|next| !next.is_empty()) {
                    return Err(unknown(format!(
                        "{words}: there are more than {MOST}: write a narrower selector"
                    )));
                }
                match answer["items"].take() {
                    Value::Array(items) => Ok(items),
                    _ => Err(unread(words)),
                }
            }
            (Which::Named(_) | Which::Labelled(_), _) => Err(unread(words)),
        }
    }
}

/// Who manages what of an object may be half of it, and no expression sees it.
fn is_of_managers(path: &[String]) -> bool {
    path == ["metadata", "managedFields"] || path == ["items", "metadata", "managedFields"]
}

/// Where the API server has them. Parts of it are words without a `/` (`decide/objects.rs`).
fn path(objects: &Objects, namespace: &str) -> String {
    let root = match objects.group.as_str() {
        "" => format!("/api/{}", objects.version),
        group => format!("/apis/{group}/{}", objects.version),
    };
    let place = match objects.namespace(namespace) {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{}", objects.resource),
        None => format!("{root}/{}", objects.resource),
    };
    match &objects.which {
        Which::Named(name) => format!("{place}/{name}"),
        Which::Labelled(labels) => {
            let limit = MOST.to_string();
            let query = [("labelSelector", labels.as_str()), ("limit", limit.as_str())];
            let query = Url::parse_with_params("http://any", query).ok();
            format!("{place}?{}", query.as_ref().and_then(Url::query).unwrap_or_default())
        }
    }
}

fn forbidden(objects: &Objects, words: &str, message: &str) -> String {
    match Right::lacking(message) {
        Some(Right { verb, group, resource, .. }) => {
            let group = if group.is_empty() { "''" } else { &group };
            format!(
                "the operator may not {verb} {}: add {{apiGroups: [{group}], resources: [{resource}]}} to objectChecks of the chart",
                objects.full_resource()
            )
        }
        None => format!("{words} may not be read: {}", shortened(message, 200)),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Response;
    use serde_json::json;

    use super::super::body::{REST, SMALL};
    use super::*;
    use crate::answered::Answered;
    use crate::decide::snapshot::ProbeResult;

    /// More than is read without waiting for anybody.
    fn large() -> String {
        json!({"metadata": {"name": "there"}, "data": "x".repeat(SMALL)}).to_string()
    }

    #[tokio::test]
    async fn whose_objects_never_come_to_their_end_keeps_no_other_namespace_waiting() {
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            let is_whole = request.uri().path().contains("/shop/");
            let body = if is_whole { Answered::text(large()) } else { Answered::begun(large()) };
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let client = Client::new(service, "default");
        let check = json!({"apiVersion": "example.com/v1", "resource": "things", "name": "there"});
        let objects = Objects::of(&serde_json::from_value(check).unwrap()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        // As many as have room together, and one more.
        for _ in 0..9 {
            let (client, objects) = (client.clone(), objects.clone());
            tokio::spawn(async move { ask(&client, "noisy", &objects, now).await });
        }
        let shop = async {
            while served.load(Ordering::Relaxed) < 9 {
                tokio::task::yield_now().await;
            }
            ask(&client, "shop", &objects, now).await
        };
        let shop = tokio::time::timeout(REST / 2, shop).await;
        let is_there = "things.example.com shop/there: is there".to_owned();
        assert_eq!(shop, Ok((ProbeResult::Passed, is_there)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_objects_is_not_waited_for_for_ever() {
        let service = tower::service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Answered::begun(large())))
        });
        let client = Client::new(service, "default");
        let check = json!({"apiVersion": "example.com/v1", "resource": "things", "name": "there"});
        let objects = Objects::of(&serde_json::from_value(check).unwrap()).unwrap();
        let asked = ask(&client, "slow", &objects, Timestamp::UNIX_EPOCH);
        let answer = tokio::time::timeout(REST * 2, asked).await;
        assert_eq!(answer, Ok(unread("things.example.com slow/there")));
    }
}
