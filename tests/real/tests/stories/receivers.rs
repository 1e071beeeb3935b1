//! Who is told things beside a story: an HTTP server of this process, and a real SMTP server.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tidegate_real::cluster::mail;
use tidegate_real::operator::unique;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes it, and answers this.
    Answers(u16),
    /// Takes it, and never answers.
    Hangs,
}

/// What it got.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub authorization: String,
    pub body: Value,
}

/// An HTTP server that notes what is posted to it. It ends with the process.
pub struct Receiver {
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    manner: Manner,
    got: Vec<Got>,
}

impl Receiver {
    /// Serves on a free port of this machine.
    pub async fn start(manner: Manner) -> Self {
        let shared = Arc::new(Mutex::new(Shared { manner, got: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let service = axum::Router::new().fallback(take).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, shared }
    }

    /// From now on.
    pub fn turns(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    pub fn got(&self) -> Vec<Got> {
        lock(&self.shared).got.clone()
    }

    /// What it got at this path.
    pub fn at(&self, path: &str) -> Vec<Value> {
        self.got().into_iter().filter(|got| got.path == path).map(|got| got.body).collect()
    }
}

async fn take(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> StatusCode {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let authorization = authorization.unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let manner = {
        let mut shared = lock(&shared);
        shared.got.push(Got { path, authorization, body });
        shared.manner
    };
    match manner {
        Manner::Answers(status) => StatusCode::from_u16(status).expect("a status"),
        Manner::Hangs => std::future::pending().await,
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a mail server encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    StartTls,
    Implicit,
}

/// `tests/mail`: an SMTP server that takes mail from whoever knows the password, and delivers none.
pub struct MailServer {
    _child: Child,
    pub port: u16,
    /// The authority that its certificate is signed by, in PEM.
    pub authority: String,
    took: Arc<Mutex<Vec<Value>>>,
    directory: PathBuf,
}

impl MailServer {
    /// Starts one, as 127.0.0.1: by any name that would be the API server, too.
    pub async fn start(encryption: Encryption, user: &str, password: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("tidegate-mail-{}", unique()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (certificate, key, authority) = certificate();
        let (certificate_path, key_path) = (directory.join("tls.crt"), directory.join("tls.key"));
        std::fs::write(&certificate_path, certificate).expect("written");
        std::fs::write(&key_path, key).expect("written");
        let mut child = Command::new(mail().await.expect("a mail server"))
            .arg("-certificate")
            .arg(certificate_path)
            .arg("-key")
            .arg(key_path)
            .args((encryption == Encryption::Implicit).then_some("-implicit"))
            .env("MAIL_USER", user)
            .env("MAIL_PASSWORD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = lines.next_line().await.expect("a line").expect("an address");
        let address: String = serde_json::from_str(&address).expect("an address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let took = Arc::<Mutex<Vec<Value>>>::default();
        let noted = took.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mail = serde_json::from_str(&line).unwrap_or(json!(line));
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
            }
        });
        Self { _child: child, port, authority, took, directory }
    }

    /// Mails that it took.
    pub fn took(&self) -> Vec<Value> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.directory);
    }
}

/// An authority that signs for itself.
pub fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A certificate for 127.0.0.1, its key, and the authority that signed it.
fn certificate() -> (String, String, String) {
    let root = authority("Mail Root");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &root).expect("a certificate");
    (certificate.pem(), key.serialize_pem(), root.pem())
}
