//! A mail server that never ends a line: the conversation ends before much of it is read, and is tried again like one that broke off.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

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

fn line(from: &mut impl Read) {
    let mut byte = [0];
    while from.read(&mut byte).is_ok_and(|read| read == 1) && byte != *b"\n" {}
}

/// The same under TLS.
fn encrypted(stream: TcpStream) -> bool {
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
    on_and_on(rustls::StreamOwned::new(tls, stream))
}

/// After STARTTLS was agreed to.
fn after_starttls(mut stream: TcpStream) -> bool {
    stream.write_all(b"220 mail\r\n").unwrap();
    line(&mut stream);
    stream.write_all(b"250-mail\r\n250 STARTTLS\r\n").unwrap();
    line(&mut stream);
    stream.write_all(b"220 go on\r\n").unwrap();
    encrypted(stream)
}

/// The port, and whether its one caller took everything.
fn server(talks: fn(TcpStream) -> bool) -> (u16, JoinHandle<bool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || talks(listener.accept().unwrap().0)))
}

async fn said(tls: &str, talks: fn(TcpStream) -> bool) -> String {
    let (port, took_all) = server(talks);
    let mail: Email = serde_json::from_value(json!({
        "host": "127.0.0.1", "port": port, "tls": tls, "from": "a@example.com", "to": ["b@example.com"],
    }))
    .unwrap();
    let letter = email::letter(&mail, &message(Event::Held, Turn::New), &Template::default()).unwrap();
    let sent = email::send(&Reach::anywhere(), &mail, None, Some(CERTIFICATE.to_vec()), &letter).await;
    assert!(!took_all.join().unwrap(), "{tls}: all of it was read");
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
