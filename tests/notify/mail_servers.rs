//! Mail servers that are not as they should be. One never ends a line: the conversation ends before much of it is read, and is tried again like
//! one that broke off. To another somebody is on the way, who answers beforehand what is said under TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tidegate::api::notify::{Email, Event, Turn};
use tidegate::decide::notify::Template;
use tidegate::observe::reach::Reach;
use tidegate::report::notify::{Failure, email};

use super::message;
use crate::tls::CERTIFICATE;

/// Far more than lies between two sockets.
const PIECES: usize = 1024;
static PIECE: [u8; 32 << 10] = [b'2'; 32 << 10];

/// Without an end of a line; whether all of it was taken.
fn on_and_on(mut to: impl Write) -> bool {
    (0..PIECES).all(|_| to.write_all(&PIECE).is_ok())
}

/// What comes, up to the end of a line.
fn line(from: &mut impl Read) -> Vec<u8> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while from.read(&mut byte).is_ok_and(|read| read == 1) {
        read.push(byte[0]);
        if byte == *b"\n" {
            break;
        }
    }
    read
}

/// A server's end of TLS.
fn under_tls(stream: TcpStream) -> impl Read + Write {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../measure/tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    rustls::StreamOwned::new(tls, stream)
}

/// The same under TLS.
fn encrypted(stream: TcpStream) -> bool {
    on_and_on(under_tls(stream))
}

/// Up to STARTTLS, and an answer to that.
fn starttls(stream: &mut TcpStream, answer: &str) {
    stream.write_all(b"220-mail\r\n220 at your service\r\n").unwrap();
    line(stream);
    stream.write_all(b"250-mail\r\n250 STARTTLS\r\n").unwrap();
    assert_eq!(line(stream), b"STARTTLS\r\n");
    stream.write_all(answer.as_bytes()).unwrap();
}

/// After STARTTLS was agreed to.
fn after_starttls(mut stream: TcpStream) -> bool {
    starttls(&mut stream, "220 go on\r\n");
    encrypted(stream)
}

/// Takes a mail under TLS; whether it came.
fn takes_it(mut stream: TcpStream) -> bool {
    starttls(&mut stream, "220 go on\r\n");
    let mut tls = under_tls(stream);
    for answer in ["250-mail\r\n250 8BITMIME\r\n", "250 sender\r\n", "250 receiver\r\n", "354 go on\r\n"] {
        line(&mut tls);
        tls.write_all(answer.as_bytes()).unwrap();
    }
    let is_whole = std::iter::repeat_with(|| line(&mut tls)).take(1000).any(|line| line == b".\r\n");
    tls.write_all(b"250 queued\r\n").unwrap();
    line(&mut tls);
    let _farewell = tls.write_all(b"221 bye\r\n");
    is_whole
}

/// Somebody on the way answers with STARTTLS all that comes after it, lets the handshake through, and drops what is said under TLS; whether there was
/// any.
fn answered_beforehand(mut stream: TcpStream) -> bool {
    let answers =
        "250-mail\r\n250 AUTH PLAIN\r\n250 sender\r\n250 receiver\r\n354 go on\r\n250 queued\r\n221 bye\r\n";
    starttls(&mut stream, &format!("220 go on\r\n{answers}"));
    !line(&mut under_tls(stream)).is_empty()
}

/// The port, and whether its one caller took everything.
fn server(talks: fn(TcpStream) -> bool) -> (u16, JoinHandle<bool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || talks(listener.accept().unwrap().0)))
}

/// What came of a mail, and what the server says of it.
async fn sent(tls: &str, talks: fn(TcpStream) -> bool) -> (Result<(), Failure>, bool) {
    let (port, end) = server(talks);
    let mail: Email = serde_json::from_value(json!({
        "host": "127.0.0.1", "port": port, "tls": tls, "from": "a@example.com", "to": ["b@example.com"],
    }))
    .unwrap();
    let letter = email::letter(&mail, &message(Event::Held, Turn::New), &Template::default()).unwrap();
    let reach = Reach::anywhere();
    let sending = email::send(&reach, &mail, None, Some(CERTIFICATE.to_vec()), &letter);
    let sent = tokio::time::timeout(Duration::from_secs(30), sending).await.expect("an end of it");
    (sent, end.join().unwrap())
}

async fn said(tls: &str, talks: fn(TcpStream) -> bool) -> String {
    let (sent, took_all) = sent(tls, talks).await;
    assert!(!took_all, "{tls}: all of it was read");
    match sent {
        Err(Failure::Passing { said, again_in: None }) => said,
        other => panic!("{tls}: {other:?}"),
    }
}

#[tokio::test]
async fn a_mail_server_that_never_ends_a_line_is_not_listened_to_for_long() {
    let broke_off = "the conversation with 127.0.0.1 broke off: it said more than";
    assert_eq!(said("None", on_and_on).await, format!("{broke_off} 64 KiB"));
    assert_eq!(said("Implicit", encrypted).await, format!("{broke_off} 64 KiB"));
    assert_eq!(said("StartTls", on_and_on).await, format!("{broke_off} 256 KiB"));
    let under_tls = said("StartTls", after_starttls).await;
    assert_eq!(under_tls, "no TLS with 127.0.0.1: it said more than 256 KiB");
}

#[tokio::test]
async fn a_mail_is_handed_over_under_tls_that_begins_with_starttls() {
    assert_eq!(sent("StartTls", takes_it).await, (Ok(()), true));
}

#[tokio::test]
async fn what_came_before_tls_answers_nothing_that_is_said_under_it() {
    let (sent, was_anything_said) = sent("StartTls", answered_beforehand).await;
    let Err(Failure::Passing { said, again_in: None }) = &sent else { panic!("{sent:?}") };
    assert!(said.starts_with("no TLS with 127.0.0.1: "), "{said}");
    assert!(!was_anything_said);
}
