//! What stands outside a cluster, played on this machine: web servers, name servers, a backup that has just been made, and whoever is told
//! something.
//!
//! `outside.yaml` of a runbook says what they answer. The addresses in a Release are those of the real thing; only here are they
//! exchanged for the ones that play it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, MX, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use jiff::Timestamp;
use kube::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::heard::Heard;
use crate::stage;

/// Servers that answer as long as the process lives.
#[derive(Clone, Debug)]
pub struct Outside {
    http: SocketAddr,
    dns: SocketAddr,
    /// Addresses that something else plays.
    elsewhere: BTreeMap<String, String>,
    /// What was told to addresses here.
    pub heard: Heard,
}

/// The longest message that is taken.
const LONGEST: usize = 1 << 20;

/// What one address answers.
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: String,
}

/// By address, without its scheme's colon: `https/planner.example/`.
type Answers = Arc<(BTreeMap<String, Answer>, Heard)>;
/// By name and type.
type Zone = BTreeMap<(String, RecordType), Vec<RData>>;

impl Outside {
    /// Plays what all these files say.
    ///
    /// # Errors
    /// When there is no free port, or a file says something that cannot be played.
    pub async fn play(files: &[&Value]) -> Result<Self> {
        let mut answers = BTreeMap::new();
        let mut zone = Zone::new();
        for file in files {
            for said in list(file, "http") {
                let url = said["url"].as_str().context("http: an answer has a url")?;
                answers.insert(path(url).with_context(|| url.to_owned())?, answer(said)?);
            }
            for said in list(file, "dns") {
                let (name, records) = records(said)?;
                zone.insert(name, records);
            }
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let http = listener.local_addr()?;
        let heard = Heard::default();
        let pages = axum::Router::new().fallback(page).with_state(Arc::new((answers, heard.clone())));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        let socket = UdpSocket::bind("127.0.0.1:0").await.context("no free port")?;
        let dns = socket.local_addr()?;
        tokio::spawn(serve_names(socket, zone));
        Ok(Self { http, dns, elsewhere: BTreeMap::new(), heard })
    }

    /// This address is played by something else, there.
    pub fn lead(&mut self, url: &str, there: &str) {
        self.elsewhere.insert(url.to_owned(), there.to_owned());
    }

    /// An object that asks and tells these servers: each `url` of a Release or in a Secret, and the server of each `dns` check.
    pub fn reached_by(&self, mut document: Value) -> Value {
        for part in ["spec", "stringData"] {
            if let Some(part) = document.get_mut(part) {
                self.exchange(part);
            }
        }
        document
    }

    /// Where this address is played.
    pub fn played(&self, url: &str) -> Option<String> {
        match self.elsewhere.get(url) {
            Some(there) => Some(there.clone()),
            None => path(url).map(|place| format!("http://{}/{place}", self.http)),
        }
    }

    /// What was told to this address.
    pub fn told(&self, url: &str) -> Vec<String> {
        path(url).map(|place| self.heard.at(&place)).unwrap_or_default()
    }

    fn exchange(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                if let Some(there) =
                    members.get("url").and_then(Value::as_str).and_then(|url| self.played(url))
                {
                    members.insert("url".into(), json!(there));
                }
                if let Some(dns) = members.get_mut("dns").and_then(Value::as_object_mut) {
                    dns.entry("server").or_insert(json!(self.dns.to_string()));
                }
                members.values_mut().for_each(|member| self.exchange(member));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.exchange(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn list<'f>(file: &'f Value, name: &str) -> impl Iterator<Item = &'f Value> {
    file[name].as_array().into_iter().flatten()
}

/// `https://planner.example/x` as `https/planner.example/x`.
fn path(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}/{rest}"))
}

fn answer(said: &Value) -> Result<Answer> {
    let status = said["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let headers = said["headers"].as_object().into_iter().flatten();
    Ok(Answer {
        status: StatusCode::from_u16(status.context("http: an answer has a status")?)?,
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        body: said["body"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Takes what is told, and answers what is asked.
async fn page(State(played): State<Answers>, request: Request) -> Response<Body> {
    let (answers, heard) = &*played;
    let place = request.uri().path().trim_start_matches('/').to_owned();
    if request.method() != Method::GET {
        let body = to_bytes(request.into_body(), LONGEST).await.unwrap_or_default();
        heard.note(&place, String::from_utf8_lossy(&body).into_owned());
        return status(StatusCode::ACCEPTED, String::new());
    }
    let Some(found) = answers.get(&place) else {
        return status(StatusCode::NOT_FOUND, "nobody plays this address".to_owned());
    };
    let mut response = status(found.status, found.body.clone());
    for (name, value) in &found.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn status(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

/// The records of a name, of those types that runbooks ask for.
fn records(said: &Value) -> Result<((String, RecordType), Vec<RData>)> {
    let name = said["name"].as_str().context("dns: an answer has a name")?;
    let values = list(said, "values").filter_map(Value::as_str);
    let (kind, read): (_, fn(&str) -> Result<RData>) = match said["type"].as_str() {
        Some("A") => (RecordType::A, |value| Ok(RData::A(A(value.parse()?)))),
        Some("MX") => (RecordType::MX, |value| {
            let (preference, host) = value.split_once(' ').context("an MX is a preference and a name")?;
            Ok(RData::MX(MX::new(preference.parse()?, Name::from_ascii(format!("{host}."))?)))
        }),
        Some("TXT") => (RecordType::TXT, |value| Ok(RData::TXT(TXT::new(vec![value.to_owned()])))),
        other => bail!("dns: {name}: records of type {other:?} are not played"),
    };
    Ok(((name.to_lowercase(), kind), values.map(read).collect::<Result<_>>()?))
}

async fn serve_names(socket: UdpSocket, zone: Zone) -> Result<()> {
    let mut buffer = [0; 1232];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(query) = question.queries.first().cloned() else { continue };
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let asked = query.name.to_ascii().trim_end_matches('.').to_lowercase();
        match zone.get(&(asked, query.query_type)) {
            Some(records) => {
                let record = |data: &RData| Record::from_rdata(query.name.clone(), 60, data.clone());
                answer.add_answers(records.iter().map(record));
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        socket.send_to(&answer.to_vec()?, from).await?;
    }
}

/// A certificate for these names by an authority of its own, as a Secret: what an issuer would keep there.
///
/// # Errors
/// When a name is none.
pub fn certificate(namespace: &str, secret: &str, names: &[String]) -> Result<Value> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "an authority of the examples");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names.to_vec())?.signed_by(&key, &root)?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": secret, "namespace": namespace},
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem(), "ca.crt": root.pem()},
    }))
}

/// A kind like Velero's, in its namespace.
///
/// # Errors
/// When the API server takes neither.
pub async fn backups(client: &Client) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "velero"}});
    stage::apply(client, &namespace, "examples").await?;
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "backups.velero.io"},
        "spec": {
            "group": "velero.io", "scope": "Namespaced",
            "names": {"plural": "backups", "singular": "backup", "kind": "Backup", "listKind": "BackupList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": any}}],
        },
    });
    stage::apply(client, &kind, "examples").await?;
    Ok(())
}

/// A backup that was finished just now, with the label that a check selects.
pub fn backup(name: &str, selector: &str) -> Value {
    let (label, value) = selector.split_once('=').unwrap_or((selector, ""));
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": "velero", "labels": {label: value}},
        "status": {"phase": "Completed", "completionTimestamp": Timestamp::now().to_string()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_of_the_real_thing_lead_to_what_plays_it() {
        let file = json!({
            "http": [{"url": "https://planner.example/health", "status": 200, "body": "well"}],
            "dns": [{"name": "planner.example", "type": "A", "values": ["192.0.2.10"]}],
        });
        let outside = Outside::play(&[&file]).await.unwrap();
        let release = outside.reached_by(json!({"spec": {"preflight": [
            {"name": "health", "http": {"url": "https://planner.example/health"}},
            {"name": "address", "dns": {"name": "planner.example", "type": "A", "values": ["192.0.2.10"]}},
        ]}}));
        let url = release["spec"]["preflight"][0]["http"]["url"].as_str().unwrap();
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "well".to_owned()));
        assert_eq!(release["spec"]["preflight"][1]["dns"]["server"], outside.dns.to_string());
    }

    #[tokio::test]
    async fn what_is_told_to_an_address_of_a_secret_is_heard() {
        let outside = Outside::play(&[]).await.unwrap();
        let hook = "https://hooks.chat.internal/services/planner";
        let secret = outside.reached_by(json!({"kind": "Secret", "stringData": {"url": hook}}));
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let url = secret["stringData"]["url"].as_str().unwrap();
        client.post(url).body("it has begun").send().await.unwrap();
        assert_eq!(outside.told(hook), ["it has begun"]);
        assert!(outside.told("https://hooks.chat.internal/services/other").is_empty());
    }

    #[test]
    fn records_that_cannot_be_played_are_refused() {
        assert!(records(&json!({"name": "x", "type": "SRV", "values": ["1 2 3 x"]})).is_err());
        assert!(records(&json!({"name": "x", "type": "MX", "values": ["x"]})).is_err());
    }
}
