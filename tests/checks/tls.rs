//! `tls` checks: good certificates and all that can be wrong with one, of Secrets and of hosts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::{Value, json};
use tidegate::api::check::tls::TlsCheck;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::observe::probes::tls;

use super::{cluster, forbidden, reach};
use crate::measure::pods::deaf;

/// Where it is in any message, a key was told.
const MARK: &str = "bWFya2Vk";

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority until that year.
pub(super) fn authority(name: &str, until: i32) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// An authority below another one.
fn below(above: &Authority, name: &str, until: i32) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), above).expect("an authority")
}

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: CertificateDer<'static>,
    pem: String,
    pub(super) key: KeyPair,
}

/// For `shop.example.com`, `api.example.com` and 127.0.0.1, from 2026-01-01 to 2027-01-01, as changed.
pub(super) fn pair(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let names = ["shop.example.com", "api.example.com", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, "shop");
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    Pair { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A server that shows this chain, and nothing else; its port.
pub(super) fn host(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit");
    let config = Arc::new(config);
    answering(move |mut connection| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a server");
        while tls.is_handshaking() && tls.complete_io(&mut connection).is_ok() {}
        let _rest = connection.read(&mut [0; 64]);
    })
}

pub(super) fn answering(answer: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(connection));
        }
    });
    port
}

fn check(fields: Value) -> TlsCheck {
    serde_json::from_value(fields).expect("a check")
}

fn base64(text: &str) -> String {
    let text = serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).expect("base64");
    text.as_str().expect("text").to_owned()
}

fn secret(data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, text)| ((*key).to_owned(), json!(base64(text)))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "any"}, "data": data})
}

pub(super) fn roots(pem: &str) -> (&'static str, u16, Value) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": {"ca.crt": pem}});
    ("/api/v1/namespaces/shop/configmaps/roots", 200, map)
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

/// What is said of what a host shows, in mid-2026.
async fn said_of_host(root: &Authority, port: u16, fields: Value) -> (ProbeResult, String) {
    let client = cluster([roots(&root.pem())]).await;
    let mut all = json!({"host": "127.0.0.1", "port": port, "ca": {"configMap": "roots"}});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    tls::ask(&client, &reach(), "shop", &check(all), at("2026-06-01T00:00:00Z")).await
}

fn is(answer: (ProbeResult, String), result: ProbeResult, words: &str) {
    assert_eq!(answer.0, result, "{}", answer.1);
    assert!(answer.1.contains(words), "'{}' does not say '{words}'", answer.1);
    assert!(answer.1.chars().count() <= 512, "{}", answer.1);
}

#[tokio::test]
async fn a_good_certificate_of_a_host_passes_and_says_what_it_is() {
    let root = authority("Root", 2036);
    let good = pair(&root, |_| {});
    let port = host(vec![good.certificate], &good.key, BOTH);
    let fields = json!({"serverName": "shop.example.com", "minValidity": "720h", "minVersion": "1.3"});
    let (result, said) = said_of_host(&root, port, fields).await;
    assert_eq!(result, ProbeResult::Passed, "{said}");
    assert_eq!(
        said,
        "CN=shop, for shop.example.com, api.example.com, 127.0.0.1, issued by CN=Root, until 2027-01-01T00:00:00Z, 214 days left, TLS 1.3"
    );
    let names = json!({"names": ["api.example.com", "127.0.0.1"]});
    is(said_of_host(&root, port, names).await, ProbeResult::Passed, "CN=shop");
}

#[tokio::test]
async fn an_expired_a_soon_expiring_and_an_early_certificate_fail_and_say_what_to_do() {
    let root = authority("Root", 2036);
    let expired = pair(&root, |params| params.not_after = date_time_ymd(2026, 5, 29));
    let port = host(vec![expired.certificate], &expired.key, BOTH);
    let words = "CN=shop expired 3 days ago (2026-05-29T00:00:00Z): renew the certificate of 127.0.0.1";
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Failed, words);
    let soon = pair(&root, |params| params.not_after = date_time_ymd(2026, 6, 13));
    let port = host(vec![soon.certificate], &soon.key, BOTH);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Passed, "12 days left");
    let words = "CN=shop expires in 12 days (2026-06-13T00:00:00Z), minValidity is 720h: renew the certificate of 127.0.0.1";
    is(said_of_host(&root, port, json!({"minValidity": "720h"})).await, ProbeResult::Failed, words);
    let early = pair(&root, |params| params.not_before = date_time_ymd(2026, 7, 1));
    let port = host(vec![early.certificate], &early.key, BOTH);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Failed, "is valid only from 2026-07-01");
}

#[tokio::test]
async fn a_certificate_for_other_names_of_nobody_known_or_not_for_servers_fails() {
    let root = authority("Root", 2036);
    let good = pair(&root, |_| {});
    let port = host(vec![good.certificate.clone()], &good.key, BOTH);
    let words = "CN=shop is for shop.example.com, api.example.com, 127.0.0.1, not for www.example.com: issue one that is";
    is(said_of_host(&root, port, json!({"serverName": "www.example.com"})).await, ProbeResult::Failed, words);
    let words = "not for 10.0.0.1: ";
    is(
        said_of_host(&root, port, json!({"names": ["127.0.0.1", "10.0.0.1"]})).await,
        ProbeResult::Failed,
        words,
    );
    let words = "CN=shop is issued by CN=Root, and no chain leads from there to one of key ca.crt of configmap roots: ";
    is(said_of_host(&authority("Root", 2036), port, json!({})).await, ProbeResult::Failed, "a signature");
    is(said_of_host(&authority("Another", 2036), port, json!({})).await, ProbeResult::Failed, words);
    let client = pair(&root, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let port = host(vec![client.certificate], &client.key, BOTH);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Failed, "CN=shop is not for servers");
}

#[tokio::test]
async fn a_chain_needs_what_stands_between_and_lasts_no_longer_than_it() {
    let root = authority("Root", 2036);
    let middle = below(&root, "Middle", 2036);
    let good = pair(&middle, |_| {});
    let port = host(vec![good.certificate.clone(), middle.der().clone()], &good.key, BOTH);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Passed, "issued by CN=Middle");
    let port = host(vec![good.certificate], &good.key, BOTH);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Failed, "add the certificates in between");
    let short = below(&root, "Short", 2027);
    let long = pair(&short, |params| params.not_after = date_time_ymd(2028, 1, 1));
    let port = host(vec![long.certificate, short.der().clone()], &long.key, BOTH);
    is(said_of_host(&root, port, json!({"minValidity": "720h"})).await, ProbeResult::Passed, "579 days left");
    let words = "the chain of CN=shop does not hold for another 7200h, though the certificate does";
    is(said_of_host(&root, port, json!({"minValidity": "7200h"})).await, ProbeResult::Failed, words);
}

#[tokio::test]
async fn a_host_that_only_speaks_an_older_version_fails_where_the_newer_is_asked_for() {
    let root = authority("Root", 2036);
    let good = pair(&root, |_| {});
    let port = host(vec![good.certificate], &good.key, &[&rustls::version::TLS12]);
    is(said_of_host(&root, port, json!({"minVersion": "1.2"})).await, ProbeResult::Passed, ", TLS 1.2");
    let words = "the host agrees to TLS 1.2, minVersion is TLS 1.3: switch the newer one on";
    is(said_of_host(&root, port, json!({"minVersion": "1.3"})).await, ProbeResult::Failed, words);
}

#[tokio::test]
async fn a_host_that_is_away_or_hangs_up_is_unknown_and_one_without_tls_failed() {
    let root = authority("Root", 2036);
    let port = deaf();
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Unknown, "no connection to 127.0.0.1: ");
    let port = answering(drop);
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Unknown, "no TLS handshake with 127.0.0.1:");
    let port = answering(|mut connection| {
        let _sent = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let _rest = connection.read(&mut [0; 1024]);
    });
    is(said_of_host(&root, port, json!({})).await, ProbeResult::Failed, "does not speak TLS");
}

#[tokio::test]
async fn a_host_must_be_one_that_a_release_may_send_the_operator_to() {
    let client = cluster([roots(&authority("Root", 2036).pem())]).await;
    let guarded = tidegate::observe::reach::Reach::guarded(
        tidegate::observe::reach::ApiServer::known("https://10.1.0.5:6443", Some("10.96.0.1"), &[]),
        false,
    );
    for (host, words) in [
        ("169.254.169.254", "metadata"),
        ("127.0.0.1", "the operator's own machine"),
        ("localhost", "the operator's own machine"),
        ("10.96.0.1", "the API server"),
        ("kubernetes.default.svc", "the API server"),
        ("metadata.google.internal", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
    ] {
        let check = check(json!({"host": host, "ca": {"configMap": "roots"}}));
        is(
            tls::ask(&client, &guarded, "shop", &check, at("2026-06-01T00:00:00Z")).await,
            ProbeResult::Failed,
            words,
        );
    }
}

#[tokio::test]
async fn a_certificate_of_a_secret_is_judged_like_a_hosts_and_its_key_is_never_told() {
    let root = authority("Root", 2036);
    let middle = below(&root, "Middle", 2036);
    let (good, other) = (pair(&middle, |_| {}), pair(&middle, |_| {}));
    let chain = good.pem.clone() + &middle.pem();
    let marked = format!("-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n");
    let path = |name: &'static str, data: &[(&str, &str)]| (name, 200, secret(data));
    let client = cluster([
        roots(&root.pem()),
        path(
            "/api/v1/namespaces/shop/secrets/good",
            &[("tls.crt", &chain), ("tls.key", &good.key.serialize_pem()), ("ca.crt", &root.pem())],
        ),
        path("/api/v1/namespaces/shop/secrets/marked", &[("tls.crt", &chain), ("tls.key", &marked)]),
        path(
            "/api/v1/namespaces/shop/secrets/swapped",
            &[("tls.crt", &chain), ("tls.key", &other.key.serialize_pem())],
        ),
        path("/api/v1/namespaces/shop/secrets/keyless", &[("tls.crt", &chain), ("tls.key", "")]),
        path("/api/v1/namespaces/shop/secrets/broken", &[("tls.crt", &marked), ("tls.key", &marked)]),
        path(
            "/api/v1/namespaces/shop/secrets/nonsense",
            &[
                ("tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                ("tls.key", &marked),
            ],
        ),
        ("/api/v1/namespaces/shop/secrets/hidden", 403, forbidden("get", "secrets", "")),
    ])
    .await;
    let asked = async |fields: Value, now: &str| {
        let answer = tls::ask(&client, &reach(), "shop", &check(fields), at(now)).await;
        assert!(!answer.1.contains(MARK), "{}", answer.1);
        answer
    };
    let ca = json!({"configMap": "roots"});
    let of = |name: &str| json!({"secret": name, "ca": {"configMap": "roots"}, "minValidity": "720h"});
    let now = "2026-06-01T00:00:00Z";
    is(
        asked(of("good"), now).await,
        ProbeResult::Passed,
        "issued by CN=Middle, until 2027-01-01T00:00:00Z, 214 days left",
    );
    is(
        asked(json!({"secret": "good", "ca": {"secret": "good"}}), now).await,
        ProbeResult::Passed,
        "214 days left",
    );
    is(asked(of("marked"), now).await, ProbeResult::Passed, "214 days left");
    let words = "CN=shop expires in 20 days (2027-01-01T00:00:00Z), minValidity is 720h: renew secret good";
    is(asked(of("good"), "2026-12-12T00:00:00Z").await, ProbeResult::Failed, words);
    is(
        asked(json!({"secret": "good", "names": ["www.example.com"], "ca": ca}), now).await,
        ProbeResult::Failed,
        "not for www.example.com",
    );
    is(
        asked(of("swapped"), now).await,
        ProbeResult::Failed,
        "tls.key of secret swapped is not the key of its tls.crt: replace both",
    );
    is(
        asked(of("keyless"), now).await,
        ProbeResult::Failed,
        "secret keyless has no tls.key: it must be of type kubernetes.io/tls",
    );
    is(asked(of("broken"), now).await, ProbeResult::Failed, "tls.crt of secret broken holds no certificate");
    is(asked(of("nonsense"), now).await, ProbeResult::Failed, "the certificate cannot be read");
    is(asked(of("nobody"), now).await, ProbeResult::Failed, "there is no secret nobody");
    is(asked(of("../x"), now).await, ProbeResult::Failed, "is not the name of a Secret");
    let words =
        "the operator may not read secret hidden: bind ClusterRole tidegate-secrets in namespace shop";
    is(asked(of("hidden"), now).await, ProbeResult::Unknown, words);
    is(
        asked(json!({"secret": "good", "ca": {"configMap": "other"}}), now).await,
        ProbeResult::Failed,
        "there is no configmap other",
    );
    is(
        asked(json!({"secret": "good", "ca": {"configMap": "roots", "key": "other"}}), now).await,
        ProbeResult::Failed,
        "configmap roots has no key other",
    );
}

#[test]
fn a_certificate_that_lasts_for_ever_and_a_validity_beyond_all_time_are_no_trouble() {
    let root = authority("Root", 4095);
    let good = pair(&root, |params| params.not_after = date_time_ymd(9999, 12, 31));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).expect("an authority");
    let asked = |validity| tls::Asked { names: &[], validity, renew: "renew it", authority: "ours" };
    let judged = |validity| {
        tls::judged(
            std::slice::from_ref(&good.certificate),
            &roots,
            &asked(validity),
            at("2026-06-01T00:00:00Z"),
        )
    };
    assert!(judged(Duration::ZERO).is_ok());
    let said = judged(Duration::from_secs(u64::MAX)).expect_err("nothing lasts so long");
    assert!(said.contains("expires in 2912"), "{said}");
    assert!(tls::judged(&[], &roots, &asked(Duration::ZERO), at("2026-06-01T00:00:00Z")).is_err());
}
