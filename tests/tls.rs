//! A server behind TLS, with a certificate that signs itself.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub const CERTIFICATE: &[u8] = include_bytes!("measure/tls/server.crt");

/// Answers one request on each connection, by its body; the port.
pub fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("measure/tls/server.key")).expect("a key");
    let _already = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit");
    let (config, answer) = (Arc::new(config), Arc::new(answer));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut tls = rustls::ServerConnection::new(config).expect("a server");
                let mut stream = rustls::Stream::new(&mut tls, &mut connection);
                // None when the client does not trust us.
                if let Some(body) = request(&mut stream) {
                    let body = answer(&body);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    let _sent = stream.write_all((head + &body).as_bytes());
                    stream.conn.send_close_notify();
                    let _flushed = stream.flush();
                }
            });
        }
    });
    port
}

fn request(stream: &mut impl Read) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let mut more = [0; 4096];
        let length = stream.read(&mut more).ok().filter(|length| *length > 0)?;
        read.extend_from_slice(&more[..length]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = lengths.next().and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some(body.to_owned());
        }
    }
}
