//! An API server in memory, as a service that a client is made of: the operator's requests arrive here as they would arrive at a real
//! one, but for the bytes on the wire.

pub mod admission;
pub mod managers;
pub mod patch;
mod purposes;
pub mod requests;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::Response;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use serde_json::Value;
use tidegate::report::Metrics;
use tidegate::run::link::{Answers, Patience, UnderWay};
use tower::BoxError;

use crate::network::{Fault, Purpose};
use crate::story::Setup;
use crate::watchman::Campaign;
use crate::world::{Shared, World};
pub use requests::{Answer, Request, Who};
pub use store::{Name, Object, Store};

/// Milliseconds from a process to the server.
const WAY: u64 = 1;

/// Milliseconds after which a connection breaks on which nothing comes.
const SILENCE: u64 = 60_000;

/// Milliseconds in which most requests are answered: who has waited for no longer has shown no patience.
const SOON: u64 = 1_000;

type Reply = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A client of one process of the operator, as patient as in production.
pub fn client(shared: &Shared, process: usize, patience: &Patience) -> Client {
    let shared = shared.clone();
    let service = tower::service_fn(move |request| serve(shared.clone(), process, request));
    ClientBuilder::new(service, "default").with_layer(patience).build()
}

/// A world that nobody plays in, and a client of its API server: for whoever asks what it says. Time passes as it does outside.
pub fn alone() -> (Shared, Client) {
    let shared = Shared::new(World::new(&Setup::default()));
    let process = shared.lock().network.join();
    let (answers, metrics) = (Arc::new(Answers::default()), Arc::new(Metrics::new()));
    let patience = Patience::new(answers, UnderWay::default().follow(), metrics);
    let client = client(&shared, process, &patience);
    (shared, client)
}

async fn serve(shared: Shared, process: usize, request: http::Request<Body>) -> Result<Reply, BoxError> {
    let request = read(process, request).await?;
    let purpose = purposes::of(&request);
    let waiting = Waiting::begin(&shared, process, purpose, &request);
    let sent = waiting.since;
    let campaign = Campaign::of(&request);
    let about_leading = purpose == Purpose::Lease;
    let is_change = matches!(request.method.as_str(), "PATCH" | "PUT");
    let (fault, wait, heard) = {
        let mut world = shared.lock();
        world.check_sent(process, &request);
        let fault = world.network.request(purpose, is_change, sent);
        let cut_off = world.watch_held_until(process).saturating_sub(world.now);
        // Who is cut off does not hear of what is done meanwhile.
        let heard = if cut_off > 0 { 0 } else { sent };
        (fault, cut_off + WAY, heard)
    };
    let broken = || Err("connection reset by peer".into());
    // Of the Lease nobody but whoever renews it knows anything.
    let unanswered = move |shared: &Shared| {
        if !about_leading {
            shared.lock().unanswered(process);
        }
    };
    let answer = match fault {
        Some(Fault::Late(late)) => {
            // It arrives, whether or not the operator still waits.
            let shared = shared.clone();
            let arrives = async move {
                tokio::time::sleep(Duration::from_millis(wait + late)).await;
                shared.lock().arrives_late(Some(sent));
                let answer = answer(&shared, &request, heard);
                let is_done = matches!(answer, Answer::Whole(code, _) if code < 300);
                let mut world = shared.lock();
                world.arrives_late(None);
                world.check_arrived(process, &request, is_done);
                drop(world);
                unanswered(&shared);
                answer
            };
            tokio::spawn(arrives).await?
        }
        Some(Fault::Failed) => {
            on_its_way(&shared, process, wait).await;
            refuse(500, "InternalError", "etcdserver: request timed out")
        }
        Some(Fault::Throttled(seconds)) => {
            on_its_way(&shared, process, wait).await;
            let why = "the server has received too many requests and has asked us to try again later";
            let mut told = reply(refuse(429, "TooManyRequests", why))?;
            if seconds > 0 {
                told.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            return Ok(told);
        }
        Some(Fault::Conflict) => {
            on_its_way(&shared, process, wait).await;
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            requests::conflict("objects", "this", why).answer()
        }
        Some(Fault::Lost) => {
            on_its_way(&shared, process, wait).await;
            return broken();
        }
        Some(Fault::Answerless) => {
            on_its_way(&shared, process, wait).await;
            drop(answer(&shared, &request, heard));
            unanswered(&shared);
            return broken();
        }
        Some(Fault::Swallowed) => {
            on_its_way(&shared, process, wait).await;
            drop(answer(&shared, &request, heard));
            unanswered(&shared);
            // Nobody waits so long but who has no patience of their own; then what lies between breaks the connection.
            on_its_way(&shared, process, SILENCE).await;
            return broken();
        }
        Some(Fault::Forgotten) => {
            on_its_way(&shared, process, wait).await;
            shared.lock().store.forget();
            answer(&shared, &request, heard)
        }
        None => {
            on_its_way(&shared, process, wait).await;
            answer(&shared, &request, heard)
        }
    };
    // A process that has died right after its write does not learn of it.
    alive(&shared, process).await;
    if let (Some(campaign), Answer::Whole(200..300, _)) = (campaign, &answer) {
        shared.lock().campaigned(process, campaign, waiting.since);
    }
    reply(answer)
}

/// Somebody waits for an answer. It is dropped when they have it, or wait no more: then the watchman is told for how long they did.
struct Waiting {
    shared: Shared,
    process: usize,
    purpose: Purpose,
    what: String,
    since: u64,
}

impl Waiting {
    fn begin(shared: &Shared, process: usize, purpose: Purpose, request: &Request) -> Self {
        let what = format!("{} {}", request.method, request.path);
        Self { shared: shared.clone(), process, purpose, what, since: shared.epoch.now() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.shared.epoch.now().saturating_sub(self.since);
        if waited > SOON {
            self.shared.lock().check_waited(self.process, self.purpose, waited, &self.what);
        }
    }
}

async fn on_its_way(shared: &Shared, process: usize, milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    alive(shared, process).await;
}

/// Goes on only for a process that lives.
async fn alive(shared: &Shared, process: usize) {
    let lives = shared.lock().network.is_alive(process);
    if !lives {
        std::future::pending::<()>().await;
    }
}

fn answer(shared: &Shared, request: &Request, heard: u64) -> Answer {
    let mut world = shared.lock();
    world.arrives(heard);
    let answer = requests::answer(&mut world, request);
    drop(world);
    shared.changed.notify_one();
    answer
}

fn refuse(code: u16, reason: &'static str, message: &str) -> Answer {
    requests::Refusal::new(code, reason, message).answer()
}

async fn read(process: usize, request: http::Request<Body>) -> Result<Request, BoxError> {
    let (parts, body) = request.into_parts();
    let header = |name| {
        parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default()
    };
    let content_type = header(CONTENT_TYPE).to_owned();
    let body = body.collect().await?.to_bytes();
    let is_patch = content_type == "application/json-patch+json";
    Ok(Request {
        who: Who::Operator(process),
        metadata_only: header(ACCEPT).contains("as=PartialObjectMetadata"),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        patch: if is_patch { json_patch(&body) } else { None },
        method: parts.method,
        content_type,
        body,
    })
}

/// Taken apart by hand: a reader that does not know yet which operation it reads copies all of it, and a status is long.
fn json_patch(body: &[u8]) -> Option<Patch> {
    let operations: Vec<Value> = serde_json::from_slice(body).ok()?;
    let operation = |mut operation: Value| {
        let value = operation["value"].take();
        let path = PointerBuf::parse(operation["path"].as_str()?).ok()?;
        Some(match operation["op"].as_str()? {
            "test" => PatchOperation::Test(TestOperation { path, value }),
            "add" => PatchOperation::Add(AddOperation { path, value }),
            "replace" => PatchOperation::Replace(ReplaceOperation { path, value }),
            "remove" => PatchOperation::Remove(RemoveOperation { path }),
            _ => return None,
        })
    };
    operations.into_iter().map(operation).collect::<Option<_>>().map(Patch)
}

fn reply(answer: Answer) -> Result<Reply, BoxError> {
    Ok(match answer {
        Answer::Whole(code, text) => {
            let body = Full::new(text).map_err(|never: std::convert::Infallible| match never {});
            Response::builder()
                .status(code)
                .header(CONTENT_TYPE, "application/json")
                .body(body.boxed_unsync())?
        }
        Answer::Watch(receiver) => {
            let lines = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|line| (line, receiver))
            });
            let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line))));
            Response::builder()
                .status(200)
                .header(CONTENT_TYPE, "application/json")
                .body(body.boxed_unsync())?
        }
    })
}
