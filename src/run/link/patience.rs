//! How long we wait for the API server: an end for every request, of whatever kind, in one place.
//!
//! - A request that is not answered in time fails. kube's own client would wait for ever, and a watch with it.
//! - A watch lives for a minute, and for ten seconds while a run is under way; then the next one goes on from where it was. The server
//!   ends it by itself; one that has gone silent, whose server is gone or whose network swallows what is sent, we end. So silence is
//!   noticed within twelve seconds of a run, whatever its cause. Bookmarks would not do: they come once a minute, and not at all for
//!   a kind of which nothing has changed.
//! - "Come back later" (429 and 503 with `Retry-After`): the answer to a read is kept back until then, so that nobody asks again before.
//!   A write is told at once, and how long: its Release may have to go back meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Layer, Service};

use super::Answers;
use super::under_way::AnyUnderWay;
use crate::report::Metrics;

/// Until an answer begins: a list of five hundred objects from a busy server.
const HEAD: Duration = Duration::from_secs(30);
/// A watch has nothing to wait for before it begins.
const WATCH_HEAD: Duration = Duration::from_secs(10);
/// From the beginning of an answer to its end.
const WHOLE: Duration = Duration::from_secs(60);
/// How long a watch lives while a run is under way.
const WATCH_UNDER_WAY: u32 = 10;
/// How much later than the server we end a watch.
const MARGIN: Duration = Duration::from_secs(2);
/// No answer is kept back for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Puts an end to every request of a client.
#[derive(Clone)]
pub struct Patience {
    answers: Arc<Answers>,
    under_way: AnyUnderWay,
    metrics: Arc<Metrics>,
}

impl Patience {
    pub fn new(answers: Arc<Answers>, under_way: AnyUnderWay, metrics: Arc<Metrics>) -> Self {
        Self { answers, under_way, metrics }
    }

    fn note(&self, kind: Kind, outcome: Outcome, why: &str) {
        self.metrics.asked(kind.as_str(), outcome.as_str());
        match outcome {
            Outcome::Ok | Outcome::Refused | Outcome::Throttled => self.answers.came(),
            Outcome::Unauthorized | Outcome::Trouble | Outcome::Late | Outcome::Unreachable => {
                self.answers.failed(why);
            }
        }
    }
}

/// What is asked for. For metric labels too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Watch,
    Read,
    Write,
    Lease,
}

impl Kind {
    fn of(request: &Request<Body>) -> Self {
        let watches = |query: &str| query.split('&').any(|part| part == "watch=true");
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if request.uri().query().is_some_and(watches) {
            Self::Watch
        } else if request.uri().path().contains("/leases") {
            Self::Lease
        } else if reads {
            Self::Read
        } else {
            Self::Write
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Write => "write",
            Self::Lease => "lease",
        }
    }

    fn head(self) -> Duration {
        match self {
            Self::Watch => WATCH_HEAD,
            Self::Read | Self::Write | Self::Lease => HEAD,
        }
    }
}

/// What came of it.
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    Refused,
    Throttled,
    Unauthorized,
    Trouble,
    Late,
    Unreachable,
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized,
            429 => Self::Throttled,
            400..500 => Self::Refused,
            500.. => Self::Trouble,
            _ => Self::Ok,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Trouble => "trouble",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
        }
    }
}

impl<S> Layer<S> for Patience {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient { inner, patience: self.clone() }
    }
}

/// A client that does not wait for ever.
pub struct Patient<S> {
    inner: S,
    patience: Patience,
}

/// It did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
struct Late(Duration);

impl<S, B> Service<Request<Body>> for Patient<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let kind = Kind::of(&request);
        let hurried = kind == Kind::Watch && self.patience.under_way.is();
        if hurried && let Some(uri) = living(request.uri(), WATCH_UNDER_WAY) {
            *request.uri_mut() = uri;
        }
        let asked = self.inner.call(request);
        let patience = self.patience.clone();
        Box::pin(async move {
            let response = match tokio::time::timeout(kind.head(), asked).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    let error = error.into();
                    patience.note(kind, Outcome::Unreachable, &error.to_string());
                    return Err(error);
                }
                Err(_) => {
                    let late = Late(kind.head());
                    patience.note(kind, Outcome::Late, &late.to_string());
                    return Err(late.into());
                }
            };
            let status = response.status();
            patience.note(kind, Outcome::of(status), &format!("it answered {status}"));
            if let Some(wait) = retry_after(&response) {
                return Ok(come_back(kind, status, wait).await);
            }
            let end: BoxFuture<'static, ()> = match kind {
                Kind::Watch if hurried => Box::pin(tokio::time::sleep(lifetime() + MARGIN)),
                Kind::Watch => Box::pin(end_of_rest(patience.under_way)),
                Kind::Read | Kind::Write | Kind::Lease => Box::pin(tokio::time::sleep(WHOLE)),
            };
            let is_watch = kind == Kind::Watch;
            Ok(response.map(|inner| Answer::Streamed { inner: Box::pin(inner), end, is_watch, ended: false }))
        })
    }
}

fn lifetime() -> Duration {
    Duration::from_secs(u64::from(WATCH_UNDER_WAY))
}

/// A watch that began at rest: once a run is under way it has as long to live as those that begin then.
async fn end_of_rest(under_way: AnyUnderWay) {
    under_way.begins().await;
    tokio::time::sleep(lifetime()).await;
}

/// The same watch, which the server ends after so many seconds.
fn living(uri: &Uri, seconds: u32) -> Option<Uri> {
    let query = uri.query()?;
    let parts = query.split('&').map(|part| match part.starts_with("timeoutSeconds=") {
        true => format!("timeoutSeconds={seconds}"),
        false => part.to_owned(),
    });
    let query = parts.collect::<Vec<_>>().join("&");
    let mut whole = uri.clone().into_parts();
    whole.path_and_query = Some(format!("{}?{query}", uri.path()).parse().ok()?);
    Uri::from_parts(whole).ok()
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What the caller is told, as the API server says it where it has the time: its own overload it says in plain text.
async fn come_back<B>(kind: Kind, code: StatusCode, wait: Duration) -> Response<Answer<B>> {
    if matches!(kind, Kind::Watch | Kind::Read) {
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "TooManyRequests", "code": code.as_u16(),
        "message": format!("it asks to come back in {} s", wait.as_secs()),
        "details": { "retryAfterSeconds": u32::try_from(wait.as_secs()).unwrap_or(u32::MAX) },
    });
    let mut response = Response::new(Answer::Said(Some(Bytes::from(status.to_string()))));
    *response.status_mut() = code;
    response
}

/// An answer's body.
pub enum Answer<B> {
    /// As it comes, up to an end.
    Streamed { inner: Pin<Box<B>>, end: BoxFuture<'static, ()>, is_watch: bool, ended: bool },
    /// What we say in its place.
    Said(Option<Bytes>),
}

impl<B> HttpBody for Answer<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Said(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Streamed { ended: true, .. } => Poll::Ready(None),
            Self::Streamed { inner, end, is_watch, ended } => {
                if let Poll::Ready(frame) = inner.as_mut().poll_frame(context) {
                    return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
                }
                if end.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                *ended = true;
                Poll::Ready((!*is_watch).then(|| Err(Late(WHOLE).into())))
            }
        }
    }
}
