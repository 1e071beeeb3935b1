//! What is outside of the API server, as a process of the operator reaches it over HTTP: its own client makes the requests, and here they arrive.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Request, Response};
use serde_json::json;
use tidegate::observe::reach::Wire;

use crate::prometheus;
use crate::time::{date, stamp};
use crate::world::{Flags, Shared};

/// Milliseconds from a process to any of them, and as many back.
const WAY: u64 = 2;

/// Milliseconds that it takes whoever is slow: what waits for it still waits.
const SLOW: u64 = 8_000;
/// What pods are asked that takes them long, and the milliseconds that it takes.
const SELF_TEST: (&str, u64) = ("/self-test", 60_000);
/// What pods are asked that have much to say.
pub const LARGE: &str = "/large";
/// Where flags are, behind a URL.
pub const FLAGS_HOST: &str = "flags.shop";

/// Everything outside, for one process.
pub struct Outside {
    pub shared: Shared,
    pub process: usize,
}

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
        let (shared, process) = (self.shared.clone(), self.process);
        async move {
            tokio::time::sleep(Duration::from_millis(WAY)).await;
            let reply = arrived(&shared, process, &request);
            match reply {
                Reply::Said { status, body, after } => {
                    tokio::time::sleep(Duration::from_millis(after + WAY)).await;
                    if request.url().host_str() == Some(FLAGS_HOST) && status == 200 {
                        shared.lock().hook_answered(process);
                    }
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

fn arrived(shared: &Shared, process: usize, request: &Request) -> Reply {
    let mut world = shared.lock();
    if !world.network.is_alive(process) {
        return Reply::Nothing;
    }
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    match request.url().host_str() {
        Some(prometheus::HOST) => world.prometheus.answer(body),
        Some(FLAGS_HOST) => {
            world.watchman.hooks_arrived += 1;
            flags(world.flags)
        }
        // A pod.
        Some(host) => match host.parse() {
            Ok(address) if world.is_silent_at(address) => Reply::Nothing,
            Ok(address) if world.is_served_at(address) => {
                let (path, takes) = SELF_TEST;
                let after = if request.url().path() == path { takes } else { 0 };
                let body = if request.url().path() == LARGE { large() } else { "ok".to_owned() };
                Reply::Said { status: 200, body, after }
            }
            Ok(_) | Err(_) => Reply::Refused,
        },
        None => Reply::Refused,
    }
}

fn large() -> String {
    json!({"list": (0..12).collect::<Vec<u32>>(), "text": "a".repeat(1000)}).to_string()
}

fn flags(flags: Flags) -> Reply {
    match flags {
        Flags::Honest => Reply::said(200, "off".to_owned()),
        Flags::Down => Reply::Refused,
        Flags::Slow => Reply::Said { status: 200, body: "off".to_owned(), after: SLOW },
        Flags::Hanging => Reply::Nothing,
        Flags::Failing => Reply::said(503, "later".to_owned()),
        Flags::Refusing => Reply::said(403, "no".to_owned()),
    }
}

/// Only the client itself makes its errors: of an answer that breaks off before its first byte.
async fn refused() -> reqwest::Error {
    let broken =
        stream::once(async { Err::<Frame<bytes::Bytes>, _>(std::io::Error::other("connection refused")) });
    let answer = http::Response::new(Body::wrap(StreamBody::new(broken)));
    Response::from(answer).bytes().await.expect_err("it breaks off")
}
