//! A mail, and the conversation with the server that takes it. The connection is made by [`Reach`], and handed to the library; without the
//! encryption that was asked for nothing is said on it, and nothing that came before it is taken for an answer to what is said under it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::TlsConnector;

use super::attempt::Failure;
use crate::api::notify::{Email, MailTls};
use crate::decide::notify::{Message, Template};
use crate::letters::on_one_line;
use crate::observe::measure::innermost;
use crate::observe::reach::{ConnectError, Reach};

/// Right of the `@` in the ids of messages: the group of our kinds.
const DOMAIN: &str = crate::api::GROUP;
/// Letters of a subject.
const LONGEST_SUBJECT: usize = 200;
/// Bytes that are read in one conversation: answers are a line or a few each.
const MOST_SAID: usize = 64 << 10;
/// The same where certificates are among them.
const MOST_ENCRYPTED: usize = 256 << 10;

/// The mail.
///
/// # Errors
/// Whose address is none.
pub fn letter(mail: &Email, message: &Message, template: &Template) -> Result<Letter, String> {
    let address = |text: &str| -> Result<Mailbox, String> {
        let address =
            text.parse().map_err(|_| format!("'{text}' is not a mail address: write team@example.com"))?;
        Ok(Mailbox::new(None, address))
    };
    let subject: String = one_line(&message.title()).chars().take(LONGEST_SUBJECT).collect();
    // A mail has no date before that: the library would panic.
    let at = SystemTime::from(message.owed.at.0.max(Timestamp::UNIX_EPOCH));
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut letter = Letter::builder()
        .from(address(&mail.from)?)
        .subject(subject)
        .date(at)
        .message_id(Some(format!("<{}@{DOMAIN}>", message.owed.id)))
        // What is about the same run stands in one thread.
        .references(format!("<{}.{}@{DOMAIN}>", message.uid, message.owed.run))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        letter = letter.to(address(to)?);
    }
    let text = template.text(message, one_line);
    letter.body(format!("{text}\n")).map_err(|error| format!("the mail cannot be made: {error}"))
}

/// Without line breaks and other control characters: a value begins no header and no line of its own.
fn one_line(value: &str) -> String {
    on_one_line(value).collect()
}

/// Hands the mail over.
pub async fn send(
    reach: &Reach,
    mail: &Email,
    login: Option<(String, String)>,
    ca: Option<Vec<u8>>,
    letter: &Letter,
) -> Result<(), Failure> {
    let tls = mail.tls.unwrap_or_default();
    let host = mail.host.as_str();
    let port = mail.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(match tls {
        MailTls::StartTls => 587,
        MailTls::Implicit => 465,
        MailTls::None => 25,
    });
    if tls == MailTls::None && login.is_some() {
        return Err(Failure::Lasting("credentials are not sent without TLS".to_owned()));
    }
    let failed = |error: Error| failure(host, &error);
    let stream = reach.connect(host, port).await.map_err(|error| match error {
        ConnectError::Denied(denied) => Failure::Lasting(denied.to_string()),
        error @ ConnectError::Refused { .. } => Failure::passing(error.to_string()),
    })?;
    let peer = stream.peer_addr().ok();
    let us = ClientId::default();
    let mut connection = match tls {
        MailTls::None => {
            let stream = Bounded::new(stream, peer, MOST_SAID);
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &us).await.map_err(failed)?
        }
        MailTls::Implicit => {
            let encrypted = encrypted(ca.as_deref())?;
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| Failure::Lasting(format!("'{host}' is no name of a host")))?;
            let stream = Bounded::new(stream, peer, MOST_ENCRYPTED);
            let stream = encrypted.connect(name, stream).await.map_err(|error| no_tls(host, &error))?;
            let stream = Bounded::new(stream, peer, MOST_SAID);
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &us).await.map_err(failed)?
        }
        MailTls::StartTls => {
            // The library puts TLS over it.
            let stream = Bounded::new(LineByLine::new(stream), peer, MOST_ENCRYPTED);
            let mut connection =
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &us).await.map_err(failed)?;
            if !connection.can_starttls() {
                let said = format!("{host} does not offer STARTTLS: write tls: Implicit, or another port");
                return Err(Failure::Lasting(said));
            }
            let parameters = parameters(host, ca.as_deref())?;
            connection.starttls(parameters, &us).await.map_err(|error| match error.status() {
                Some(_) => failed(error),
                None => no_tls(host, &error),
            })?;
            connection
        }
    };
    if let Some((user, password)) = login {
        let credentials = Credentials::new(user, password);
        connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(|error| match error.status() {
            Some(code) if error.is_permanent() => {
                Failure::Lasting(format!("{host} refuses the user and the password of auth.secret ({code})"))
            }
            Some(_) | None => failed(error),
        })?;
    }
    connection.send(letter.envelope(), &letter.formatted()).await.map_err(failed)?;
    // It has been taken: what becomes of a farewell changes nothing.
    let _farewell = connection.quit().await;
    Ok(())
}

/// The words of the server are not told: they may repeat what it was told.
fn failure(host: &str, error: &Error) -> Failure {
    if let Some(code) = error.status() {
        let said = format!("{host} answered {code}");
        return if error.is_permanent() { Failure::Lasting(said) } else { Failure::passing(said) };
    }
    if error.is_response() {
        return Failure::passing(format!("{host} answered what is no SMTP"));
    }
    Failure::passing(format!("the conversation with {host} broke off: {}", innermost(error)))
}

/// A host that shows a wrong certificate may show another one soon.
fn no_tls(host: &str, error: &dyn std::error::Error) -> Failure {
    Failure::passing(format!("no TLS with {host}: {}", innermost(error)))
}

fn no_certificates() -> Failure {
    Failure::Lacking(
        "there are no certificates to trust: what ca names holds none, or the image has none".to_owned(),
    )
}

/// For STARTTLS, which the library does.
fn parameters(host: &str, ca: Option<&[u8]>) -> Result<TlsParameters, Failure> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(pem) = ca {
        let certificate = Certificate::from_pem(pem).map_err(|_| no_certificates())?;
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    parameters.build().map_err(|_| no_certificates())
}

/// For TLS from the first byte, which it does only on connections that it makes itself.
fn encrypted(ca: Option<&[u8]>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    let found = match ca {
        Some(pem) => CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificates())?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(no_certificates());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| no_certificates())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, as the library takes one, on which so much is read and no more: it looks how much it was told only at the end of a line, and
/// whose server ends none would be kept until there is no memory.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    peer: Option<SocketAddr>,
    most: usize,
    left: usize,
}

impl<S> Bounded<S> {
    fn new(stream: S, peer: Option<SocketAddr>, most: usize) -> Self {
        Self { stream, peer, most, left: most }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        let read = into.filled().len().saturating_sub(before);
        if let Some(left) = this.left.checked_sub(read) {
            this.left = left;
            return Poll::Ready(Ok(()));
        }
        // Nor is anything read after it.
        this.left = 0;
        into.set_filled(before);
        Poll::Ready(Err(std::io::Error::other(format!("it said more than {} KiB", this.most / 1024))))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> std::io::Result<SocketAddr> {
        self.peer.ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

/// A connection of which no read goes past the end of a line. The library keeps what it has read ahead when TLS begins: whoever is on the way and
/// sends more with the answer to STARTTLS would have answered all that is said under TLS. So it has nothing to keep, and what follows that answer
/// comes to the handshake, which fails of it.
#[derive(Debug)]
struct LineByLine<S>(BufReader<S>);

impl<S: AsyncRead> LineByLine<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LineByLine<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut stream = Pin::new(&mut self.get_mut().0);
        let ahead = ready!(stream.as_mut().poll_fill_buf(context))?;
        let line = ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |end| end + 1);
        let taken = line.min(into.remaining());
        into.put_slice(&ahead[..taken]);
        stream.consume(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LineByLine<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
