//! Stands between an operator and the API server, counts its writes, and after a chosen one lets no answer through any more: the
//! moment between a write and knowing about it, at which a process can be killed. It also makes the weather: an API server that is
//! slow, broken, or asks to be left alone, a write that is never answered, and watches that fall silent.
//!
//! Plain HTTP on the operator's side. What it forwards it sends as the operator's own ServiceAccount; or, where it only makes the weather,
//! with the credentials that came, many requests side by side. Where there is no API server it closes the connection, as whoever stood
//! there without it would find it closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kube::config::{
    AuthInfo, Cluster as KubeCluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext,
};
use kube::{Client, Config};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::operator;

/// Longest body that an operator sends.
const LONGEST: usize = 4 << 20;

/// A relay; ends when dropped.
pub struct Relay {
    /// Through which an operator reaches it.
    pub kubeconfig: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    /// Whether it only makes the weather: counts nothing, and has no credentials of its own.
    only_weather: bool,
    gate: Mutex<Gate>,
    closed: Notify,
    weather: watch::Sender<Weather>,
    /// How often the watches that were open have fallen silent.
    silences: watch::Sender<u32>,
    refused: Mutex<Vec<Refused>>,
    /// How the path ends of a write that is to hang.
    hanging: Mutex<Option<String>>,
}

/// How the API server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    #[default]
    Fair,
    /// Every request takes so much longer.
    Slow(Duration),
    /// Every request but those about the Lease is answered with 500.
    Broken,
    /// Every request but those about the Lease is answered with 429, in plain text as by the API server's own overload, and asked to
    /// come back after so many seconds.
    Overloaded(u64),
}

/// A request that was asked to come back later.
#[derive(Clone, Debug)]
pub struct Refused {
    pub at: Instant,
    /// Method and path.
    pub what: String,
}

#[derive(Default)]
struct Gate {
    /// Writes that took effect since it was armed: method and path.
    writes: Vec<String>,
    /// The write whose answer is kept back; none: never.
    last: Option<usize>,
}

impl Gate {
    fn is_closed(&self) -> bool {
        self.last.is_some_and(|last| self.writes.len() >= last)
    }
}

impl Relay {
    /// Listens from now on, and lets everything through.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let token = operator::kubeconfig(cluster, "tidegate").await?;
        let read = Kubeconfig::read_from(&token)?;
        std::fs::remove_file(token)?;
        Self::between(None, read).await
    }

    /// Only makes the weather, for an operator whose token is in this file; between it and the API server is a proxy of our own
    /// cluster's, of this name.
    pub async fn before(cluster: &Cluster, proxy: &str, token: &Path) -> Result<Self> {
        let user = AuthInfo { token_file: Some(token.display().to_string()), ..AuthInfo::default() };
        let server = operator::config_behind(cluster, proxy, AuthInfo::default()).await?;
        Self::between(Some(user), server).await
    }

    async fn between(user: Option<AuthInfo>, server: Kubeconfig) -> Result<Self> {
        let mut config = Config::from_custom_kubeconfig(server, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let shared = Arc::new(Shared {
            client: Client::try_from(config)?,
            only_weather: user.is_some(),
            gate: Mutex::default(),
            closed: Notify::new(),
            weather: watch::Sender::default(),
            silences: watch::Sender::default(),
            refused: Mutex::default(),
            hanging: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let server = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(relay).with_state(shared.clone());
        let task = tokio::spawn(async move {
            let _ended = axum::serve(listener, router).await;
        });
        let kubeconfig = operator::write_private(&to(server, user))?;
        Ok(Self { kubeconfig, shared, task })
    }

    /// Counts anew, and closes once so many writes have taken effect.
    pub async fn close_after(&self, writes: usize) {
        *self.shared.gate.lock().await = Gate { writes: Vec::new(), last: Some(writes) };
    }

    /// Counts anew, and stays open.
    pub async fn open(&self) {
        *self.shared.gate.lock().await = Gate::default();
    }

    /// Waits until it has closed.
    pub async fn closed(&self) {
        loop {
            let changed = self.shared.closed.notified();
            if self.shared.gate.lock().await.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// Changes the weather for requests that come from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// The watches that are open fall silent: they stay open, and nothing comes any more. New ones are well.
    pub fn silence_watches(&self) {
        self.shared.silences.send_modify(|times| *times += 1);
    }

    /// The next write to a path that ends so is never answered, and has no effect.
    pub async fn hang(&self, path: &str) {
        *self.shared.hanging.lock().await = Some(path.to_owned());
    }

    /// Whether that write has come.
    pub async fn hung(&self) -> bool {
        self.shared.hanging.lock().await.is_none()
    }

    /// Requests that were asked to come back later.
    pub async fn refused(&self) -> Vec<Refused> {
        self.shared.refused.lock().await.clone()
    }

    /// Writes that took effect since it began to count.
    pub async fn writes(&self) -> Vec<String> {
        self.shared.gate.lock().await.writes.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        let _gone_already = std::fs::remove_file(&self.kubeconfig);
    }
}

fn to(server: String, user: Option<AuthInfo>) -> Kubeconfig {
    let name = "relay".to_owned();
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: name.clone(),
            cluster: Some(KubeCluster { server: Some(server), ..KubeCluster::default() }),
            ..NamedCluster::default()
        }],
        contexts: vec![NamedContext {
            name: name.clone(),
            context: Some(Context {
                cluster: name.clone(),
                user: user.is_some().then(|| name.clone()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        auth_infos: user
            .map(|user| NamedAuthInfo {
                name: name.clone(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            })
            .into_iter()
            .collect(),
        current_context: Some(name),
        ..Kubeconfig::default()
    }
}

async fn relay(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let weather = *shared.weather.borrow();
    let is_spared = request.uri().path().contains("/leases");
    match weather {
        Weather::Fair => {}
        Weather::Slow(so_much) => tokio::time::sleep(so_much).await,
        Weather::Broken | Weather::Overloaded(_) if is_spared => {}
        Weather::Broken => return (StatusCode::INTERNAL_SERVER_ERROR, "it is broken").into_response(),
        Weather::Overloaded(seconds) => {
            let what = format!("{} {}", request.method(), request.uri().path());
            shared.refused.lock().await.push(Refused { at: Instant::now(), what });
            let later = [(header::RETRY_AFTER, seconds.to_string())];
            let text = "Too many requests, please try again later.";
            return (StatusCode::TOO_MANY_REQUESTS, later, text).into_response();
        }
    }
    if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
        return heard(&shared, forward(&shared, request).await);
    }
    if shared.only_weather || !counts(&request) {
        return forward(&shared, request).await;
    }
    let path = request.uri().path().to_owned();
    if shared.hanging.lock().await.take_if(|end| path.ends_with(end.as_str())).is_some() {
        return std::future::pending().await;
    }
    // One at a time: exactly so many take effect.
    let mut gate = shared.gate.lock().await;
    if gate.is_closed() {
        drop(gate);
        return std::future::pending().await;
    }
    let what = format!("{} {}", request.method(), request.uri().path());
    let response = forward(&shared, request).await;
    if response.status().is_success() {
        gate.writes.push(what);
    }
    if gate.is_closed() {
        drop(gate);
        shared.closed.notify_waiters();
        return std::future::pending().await;
    }
    response
}

/// A watch, as long as it is not told to be silent.
fn heard(shared: &Shared, response: Response) -> Response {
    let mut silences = shared.silences.subscribe();
    let before = *silences.borrow_and_update();
    response.map(|body| {
        let events = (body.into_data_stream(), silences);
        Body::from_stream(futures::stream::unfold(events, move |(mut events, mut silences)| async move {
            let silenced = async { silences.wait_for(|times| *times > before).await.is_ok() };
            tokio::select! {
                biased;
                _ = silenced => std::future::pending().await,
                event = events.next() => event.map(|event| (event, (events, silences))),
            }
        }))
    })
}

/// Whether it is a write that the end of a run rests on.
fn counts(request: &Request) -> bool {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && !path.contains("/leases") && !path.contains("/events")
}

async fn forward(shared: &Shared, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::ACCEPT_ENCODING] {
        parts.headers.remove(name);
    }
    if !shared.only_weather {
        parts.headers.remove(header::AUTHORIZATION);
    }
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    match shared.client.send(request).await {
        Ok(response) => response.map(Body::new),
        // An answer that breaks off before anything of it is sent: the connection is closed.
        Err(error) => {
            let nothing = futures::stream::once(std::future::ready(Err::<Bytes, _>(error)));
            (StatusCode::BAD_GATEWAY, Body::from_stream(nothing)).into_response()
        }
    }
}
