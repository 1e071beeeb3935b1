//! Answers of `object` and `backup` checks: reads the objects, as JSON. What they say is judged in `decide/objects.rs`, off the threads
//! that everything else runs on.

use std::future::poll_fn;
use std::pin::Pin;

use http::{Request, Response, StatusCode};
use http_body::Body as _;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Answer, failed, in_turn, unknown};
use crate::api::Right;
use crate::decide::objects::{Objects, Which};
use crate::observe::measure::shortened;

/// Bytes of an answer of the API server.
const LARGEST: usize = 4 << 20;
/// Objects that one selector may find.
const MOST: usize = 500;

/// One check of the process has its objects in memory at a time: as values they are many times their bytes. That is a matter of
/// milliseconds; the API server's own time is not in it.
static TURN: Semaphore = Semaphore::const_new(1);

/// Asks once.
pub async fn ask(client: &Client, namespace: &str, objects: &Objects, now: Timestamp) -> Answer {
    let words = objects.words(namespace);
    let Ok(request) = Request::get(path(objects, namespace)).body(Body::empty()) else {
        return failed(format!("{words} cannot be asked for"));
    };
    let Ok(response) = client.send(request).await else { return unread(&words) };
    let turn = TURN.acquire().await.ok();
    let found = match read(response, namespace, objects, &words).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let (objects, namespace) = (objects.clone(), namespace.to_owned());
    let judged = in_turn(turn, move || objects.judged(&namespace, found, now)).await;
    judged.unwrap_or_else(|_| unknown("it could not be evaluated".into()))
}

fn unread(words: &str) -> Answer {
    unknown(format!("{words} could not be read"))
}

/// The objects of an answer.
async fn read(
    response: Response<Body>,
    namespace: &str,
    objects: &Objects,
    words: &str,
) -> Result<Vec<Value>, Answer> {
    let status = response.status();
    let mut bytes = Vec::new();
    match read_on(&mut response.into_body(), &mut bytes, LARGEST).await {
        Come::Whole => {}
        Come::More => {
            let most = LARGEST >> 20;
            return Err(unknown(format!("{words}: more than {most} MiB: write a narrower selector")));
        }
        Come::BrokenOff => return Err(unread(words)),
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
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

/// How far a body has come.
pub(super) enum Come {
    Whole,
    /// It is more than was wanted.
    More,
    BrokenOff,
}

/// Reads on in a body, until there is more of it than so many bytes, or no more.
pub(super) async fn read_on(body: &mut Body, bytes: &mut Vec<u8>, most: usize) -> Come {
    while bytes.len() <= most {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Come::Whole,
            Some(Err(_)) => return Come::BrokenOff,
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    }
    Come::More
}
