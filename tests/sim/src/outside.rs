//! What is outside of the API server, as a process of the operator reaches it over HTTP: its own client makes the requests, and here they arrive.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Request, Response};
use tidegate::observe::reach::Wire;

use crate::prometheus;
use crate::time::{date, stamp};
use crate::world::Shared;

/// Milliseconds from a process to any of them, and as many back.
const WAY: u64 = 2;

/// Everything outside, for one process.
pub struct Outside(pub Shared);

/// What somebody says.
pub enum Reply {
    Said {
        status: u16,
        body: String,
        /// Milliseconds that it takes.
        after: u64,
    },
    Refused,
    /// The connection stays open, and nothing comes.
    Nothing,
}

impl Reply {
    /// At once.
    pub fn said(status: u16, body: String) -> Self {
        Self::Said { status, body, after: 0 }
    }
}

impl Wire for Outside {
    fn carry(&self, request: Request) -> BoxFuture<'static, reqwest::Result<Response>> {
        let shared = self.0.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(WAY)).await;
            let reply = arrived(&shared, &request);
            match reply {
                Reply::Said { status, body, after } => {
                    tokio::time::sleep(Duration::from_millis(after + WAY)).await;
                    let at = shared.lock().now;
                    let answer = http::Response::builder().status(status).header("date", date(stamp(at)));
                    Ok(answer.body(body).unwrap_or_default().into())
                }
                Reply::Refused => Err(refused().await),
                Reply::Nothing => std::future::pending().await,
            }
        }
        .boxed()
    }
}

fn arrived(shared: &Shared, request: &Request) -> Reply {
    let world = shared.lock();
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    match request.url().host_str() {
        Some(prometheus::HOST) => world.queried(body),
        Some(_) | None => Reply::Refused,
    }
}

/// Only the client itself makes its errors: of an answer that breaks off before its first byte.
async fn refused() -> reqwest::Error {
    let broken =
        stream::once(async { Err::<Frame<bytes::Bytes>, _>(std::io::Error::other("connection refused")) });
    let answer = http::Response::new(Body::wrap(StreamBody::new(broken)));
    Response::from(answer).bytes().await.expect_err("it breaks off")
}
