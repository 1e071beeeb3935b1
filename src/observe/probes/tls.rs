//! Answers of `tls` checks: the certificate of a Secret, or the one that a host shows.
//!
//! A host's chain is taken as it is shown, and judged afterwards in the same way as a Secret's, so that what is wrong can be said: a
//! handshake that fails says only that it failed. Nothing is sent after the handshake. Who signed what is for rustls to verify; a
//! certificate is read here for what a message says of it. Keys are in no message.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys,
    ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{Answer, failed, passed, unknown};
use crate::api::Right;
use crate::api::check::tls::{TlsAuthority, TlsCheck, TlsVersion};
use crate::api::text::is_object_name;
use crate::observe::measure::shortened;
use crate::observe::reach::{ConnectError, Reach};

/// Certificates of one chain.
const LONGEST_CHAIN: usize = 16;
/// Certificates of authorities.
const MOST_AUTHORITIES: usize = 1000;
/// Names of a certificate that a message lists.
const NAMES_SHOWN: usize = 5;

type Chain = Vec<CertificateDer<'static>>;

/// Asks once.
pub async fn ask(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    check: &TlsCheck,
    now: Timestamp,
) -> Answer {
    match asked(client, reach, namespace, check, now).await {
        Ok(evidence) => passed(evidence),
        Err(answer) => answer,
    }
}

async fn asked(
    client: &Client,
    reach: &Reach,
    namespace: &str,
    check: &TlsCheck,
    now: Timestamp,
) -> Result<String, Answer> {
    let validity = match &check.min_validity {
        None => Duration::ZERO,
        Some(span) => span.parse().ok_or_else(|| {
            failed(format!("minValidity: '{}' is not a length of time: write 720h", span.0))
        })?,
    };
    let roots = roots(client, namespace, check.ca.as_ref()).await?;
    let (chain, version, renew) = match (&check.secret, &check.host) {
        (Some(secret), None) => {
            (of_secret(client, namespace, secret).await?, None, format!("renew secret {secret}"))
        }
        (None, Some(host)) => {
            let (chain, version) = of_host(reach, host, check).await?;
            (chain, Some(version), format!("renew the certificate of {host}"))
        }
        _ => return Err(failed("tls needs one of: secret, host".to_owned())),
    };
    let shown = check.server_name.as_ref().or(check.host.as_ref());
    let names: Vec<&str> = match (check.names.as_slice(), shown) {
        ([], Some(name)) => vec![name.as_str()],
        (names, _) => names.iter().map(String::as_str).collect(),
    };
    let asked = Asked { names: &names, validity, renew: &renew, authority: &authority(check.ca.as_ref()) };
    let mut evidence = judged(&chain, &roots, &asked, now).map_err(failed)?;
    if let Some(version) = version {
        if check.min_version.is_some_and(|least| version < least) {
            return Err(failed(format!(
                "the host agrees to {}, minVersion is {}: switch the newer one on",
                words(version),
                words(check.min_version.unwrap_or(version)),
            )));
        }
        evidence = format!("{evidence}, {}", words(version));
    }
    Ok(evidence)
}

fn words(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "TLS 1.2",
        TlsVersion::V1_3 => "TLS 1.3",
    }
}

/// What is asked of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Names that it must be for.
    pub names: &'a [&'a str],
    /// How long it must hold still.
    pub validity: Duration,
    /// What to do when it does not, as a command.
    pub renew: &'a str,
    /// Whose certificates the roots are.
    pub authority: &'a str,
}

/// What a chain is worth: what it is, or what is wrong with it and what to do.
///
/// # Errors
/// A sentence.
pub fn judged(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    asked: &Asked<'_>,
    now: Timestamp,
) -> Result<String, String> {
    let Some((end, intermediates)) = chain.split_first() else {
        return Err("there is no certificate".to_owned());
    };
    let unreadable = || "the certificate cannot be read".to_owned();
    let certificate = Certificate::from_der(end).map_err(|_| unreadable())?;
    let shown = Shown::of(&certificate);
    let subject = &shown.subject;
    let (days, day) = (shown.days_left(now), &shown.not_after);
    if shown.not_before > now {
        return Err(format!(
            "{subject} is valid only from {}: check the clock of who issued it",
            shown.not_before
        ));
    }
    if shown.not_after < now {
        return Err(format!("{subject} expired {} ago ({day}): {}", in_days(-days), asked.renew));
    }
    let still = |seconds: i64| i64::try_from(asked.validity.as_secs()).is_ok_and(|least| seconds >= least);
    if !still(shown.not_after.as_second() - now.as_second()) {
        let least = in_hours(asked.validity);
        return Err(format!(
            "{subject} expires in {} ({day}), minValidity is {least}: {}",
            in_days(days),
            asked.renew
        ));
    }
    let parsed = ParsedCertificate::try_from(end).map_err(|_| unreadable())?;
    for name in asked.names {
        let server =
            ServerName::try_from(*name).map_err(|_| format!("'{}' is no name", shortened(name, 100)))?;
        if verify_server_name(&parsed, &server).is_err() {
            let names = shown.names();
            return Err(format!(
                "{subject} is for {names}, not for {name}: issue one that is, and put it there"
            ));
        }
    }
    let provider = ring::default_provider();
    let verified = |at: Timestamp| {
        let at = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
        let algorithms = provider.signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(at);
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, at, algorithms)
    };
    verified(now).map_err(|error| distrusted(&shown, &error, asked))?;
    // The certificate itself lasts: one above it may not.
    let later =
        now.checked_add(jiff::SignedDuration::try_from(asked.validity).unwrap_or_default()).unwrap_or(now);
    if verified(later).is_err() {
        let least = in_hours(asked.validity);
        return Err(format!(
            "the chain of {subject} does not hold for another {least}, though the certificate does: renew what stands above it"
        ));
    }
    Ok(format!(
        "{subject}, for {}, issued by {}, until {day}, {} left",
        shown.names(),
        shown.issuer,
        in_days(days)
    ))
}

fn distrusted(shown: &Shown, error: &rustls::Error, asked: &Asked<'_>) -> String {
    let Shown { subject, issuer, .. } = shown;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "{subject} is issued by {issuer}, and no chain leads from there to {}: add the certificates in between, or name the authority as ca",
            asked.authority
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => format!("a certificate in the chain of {subject} has expired: renew what stands above it"),
        rustls::Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => format!("{subject} is not for servers (extended key usage): issue one that is"),
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            format!("a signature in the chain of {subject} is wrong: {}", asked.renew)
        }
        other => format!("the chain of {subject} does not hold: {}", shortened(&other.to_string(), 160)),
    }
}

/// What a message says of a certificate.
struct Shown {
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Shown {
    fn of(certificate: &Certificate) -> Self {
        let body = certificate.tbs_certificate();
        // The last moment of the year 9999 stands for "for ever", and is none for us.
        let moment = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        let names = body.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0);
        let names = names.unwrap_or_default().into_iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(shortened(name.as_str(), 100)),
            GeneralName::IpAddress(address) => {
                let bytes = address.as_bytes();
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
            }
            _ => None,
        });
        let names: Vec<String> = names.collect();
        let subject = shortened(&body.subject().to_string(), 100);
        let issuer = shortened(&body.issuer().to_string(), 100);
        Self {
            subject: if subject.is_empty() { "the certificate".to_owned() } else { subject },
            issuer: if issuer.is_empty() { "nobody that it names".to_owned() } else { issuer },
            names,
            not_before: moment(body.validity().not_before),
            not_after: moment(body.validity().not_after),
        }
    }

    fn names(&self) -> String {
        if self.names.is_empty() {
            return "no name".to_owned();
        }
        let mut listed = self.names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if self.names.len() > NAMES_SHOWN {
            listed = format!("{listed} and {} more", self.names.len() - NAMES_SHOWN);
        }
        listed
    }

    /// Whole days; negative when they are over.
    fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_second() - now.as_second()) / 86_400
    }
}

fn in_days(days: i64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn in_hours(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds.is_multiple_of(3600) { format!("{}h", seconds / 3600) } else { format!("{seconds}s") }
}

/// The certificates of a text, in their order. Other things in it are passed over.
///
/// # Errors
/// A sentence, when there is none or one of them cannot be read.
pub fn certificates(pem: &[u8], most: usize) -> Result<Chain, String> {
    let found = CertificateDer::pem_slice_iter(pem).take(most + 1).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err("holds no certificate (BEGIN CERTIFICATE)".to_owned()),
        Ok(found) if found.len() > most => Err(format!("holds more than {most} certificates")),
        Ok(found) => Ok(found),
        Err(_) => Err("cannot be read as PEM".to_owned()),
    }
}

async fn of_secret(client: &Client, namespace: &str, name: &str) -> Result<Chain, Answer> {
    let data = secret(client, namespace, name).await?;
    let part = |key: &str| {
        let part = data.get(key).filter(|bytes| !bytes.0.is_empty());
        part.ok_or_else(|| {
            failed(format!("secret {name} has no {key}: it must be of type kubernetes.io/tls"))
        })
    };
    let (pem, key) = (part("tls.crt")?, part("tls.key")?);
    let chain = certificates(&pem.0, LONGEST_CHAIN)
        .map_err(|problem| failed(format!("tls.crt of secret {name} {problem}")))?;
    // A key of a kind that is not known here is not looked at.
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&key.0) {
        let pair = CertifiedKey::from_der(chain.clone(), key, &ring::default_provider());
        if matches!(pair, Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch))) {
            return Err(failed(format!(
                "tls.key of secret {name} is not the key of its tls.crt: replace both"
            )));
        }
    }
    Ok(chain)
}

async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<std::collections::BTreeMap<String, k8s_openapi::ByteString>, Answer> {
    if !is_object_name(name) {
        return Err(failed(format!("'{}' is not the name of a Secret", shortened(name, 100))));
    }
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
    match found {
        Ok(Some(secret)) => Ok(secret.data.unwrap_or_default()),
        Ok(None) => Err(failed(format!("there is no secret {name}"))),
        Err(error) => Err(unread("secret", name, &error)),
    }
}

fn unread(kind: &str, name: &str, error: &kube::Error) -> Answer {
    unknown(match Right::within(error) {
        Some(right) => format!("the operator may not read {kind} {name}: {}", right.remedy()),
        None => format!("{kind} {name} could not be read"),
    })
}

fn authority(ca: Option<&TlsAuthority>) -> String {
    match ca {
        None => "an authority that the operator's image knows".to_owned(),
        Some(TlsAuthority { secret: Some(name), key, .. }) => format!("one of key {key} of secret {name}"),
        Some(TlsAuthority { config_map, key, .. }) => {
            format!("one of key {key} of configmap {}", config_map.as_deref().unwrap_or_default())
        }
    }
}

async fn roots(client: &Client, namespace: &str, ca: Option<&TlsAuthority>) -> Result<RootCertStore, Answer> {
    let mut roots = RootCertStore::empty();
    let Some(TlsAuthority { secret: of_secret, config_map, key }) = ca else {
        // Read from files.
        let found = tokio::task::spawn_blocking(|| rustls_native_certs::load_native_certs().certs).await;
        roots.add_parsable_certificates(found.unwrap_or_default());
        if roots.is_empty() {
            return Err(unknown("the operator's image knows no authority: name one as ca".to_owned()));
        }
        return Ok(roots);
    };
    let (kind, name, pem) = match (of_secret, config_map) {
        (Some(name), None) => {
            ("secret", name, secret(client, namespace, name).await?.get(key).map(|bytes| bytes.0.clone()))
        }
        (None, Some(name)) if is_object_name(name) => {
            let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await;
            let found = found.map_err(|error| unread("configmap", name, &error))?;
            let found = found.ok_or_else(|| failed(format!("there is no configmap {name}")))?;
            ("configmap", name, found.data.unwrap_or_default().get(key).map(|text| text.clone().into_bytes()))
        }
        _ => return Err(failed("ca needs one of: secret, configMap".to_owned())),
    };
    let pem = pem.ok_or_else(|| failed(format!("{kind} {name} has no key {}", shortened(key, 100))))?;
    let found = certificates(&pem, MOST_AUTHORITIES)
        .map_err(|problem| failed(format!("key {key} of {kind} {name} {problem}")))?;
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(failed(format!("key {key} of {kind} {name} holds no certificate of an authority")));
    }
    Ok(roots)
}

async fn of_host(reach: &Reach, host: &str, check: &TlsCheck) -> Result<(Chain, TlsVersion), Answer> {
    let port = match check.port {
        None => 443,
        Some(port) => {
            u16::try_from(port).map_err(|_| failed(format!("port {port} is none: write 1 to 65535")))?
        }
    };
    let name = check.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| failed(format!("'{}' is no name", shortened(name, 100))))?;
    let stream = reach.connect(host, port).await.map_err(|error| match error {
        ConnectError::Denied(denied) => failed(denied.to_string()),
        ConnectError::Refused { .. } => unknown(shortened(&error.to_string(), 200)),
    })?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unknown(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakenAsShown::new(&provider)))
        .with_no_client_auth();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = connected.map_err(|error| unshaken(host, port, &error))?;
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    };
    let chain = connection.peer_certificates().unwrap_or_default();
    let chain = chain.iter().take(LONGEST_CHAIN).map(|one| one.clone().into_owned()).collect();
    Ok((chain, version))
}

/// A handshake that came to nothing: an answer is one that is not as expected, no answer is Unknown.
fn unshaken(host: &str, port: u16, error: &std::io::Error) -> Answer {
    let said = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match said {
        Some(
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(_),
        ) => failed(format!("{host} agrees to neither TLS 1.2 nor TLS 1.3: switch one of them on")),
        Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            failed(format!("{host} has no certificate for that name: see serverName"))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            failed(format!("what answers at {host}:{port} does not speak TLS"))
        }
        _ => unknown(format!("no TLS handshake with {host}:{port}: {}", shortened(&error.to_string(), 160))),
    }
}

/// Takes any chain, and looks only whether who shows it has its key. What the chain is worth is judged from it afterwards.
struct TakenAsShown(WebPkiSupportedAlgorithms);

impl TakenAsShown {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl fmt::Debug for TakenAsShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TakenAsShown")
    }
}

impl ServerCertVerifier for TakenAsShown {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
