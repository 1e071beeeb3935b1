//! What those answer to whom messages are handed over: receivers of HTTP, and servers of mail.

use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tidegate::api::notify::{Email, Endpoint};
use tidegate::decide::notify::{Channel, Delivery, Template};
use tidegate::observe::reach::Reach;
use tidegate::report::notify::{Carrier, Failure, Outside, email};

use super::answers::{awaited, response};
use super::past::Alike;
use super::people::{MARK, a_message, kept_secret};

/// Letters of any sentence that is told of them.
const LONGEST: usize = 2048;
/// Lines of a mail server until it has taken a mail: its greeting, and an answer each to who speaks, from whom, to whom, that there is a mail, and to it.
const TAKEN: usize = 6;

/// What a receiver answers: a status, a header a line, an empty line, and the body. The same bytes once more as the answers of a mail server. In
/// the place of each `~` stands a mark: nothing that they say is told.
pub fn receivers(data: &[u8]) {
    let said = data.iter().flat_map(|byte| match byte {
        b'~' => MARK.as_bytes().to_vec(),
        byte => vec![*byte],
    });
    let said: Vec<u8> = said.collect();
    posted(&said);
    mailed(said);
}

fn told(said: &str) {
    assert!(!said.is_empty() && said.chars().count() <= LONGEST, "{said}");
    kept_secret(said);
}

fn posted(answer: &[u8]) {
    let answer = response(answer);
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let reach = Reach::anywhere().over(Arc::new(Alike(answer)));
    let endpoint = Endpoint { url: Some("http://hooks.shop/".to_owned()), ..Endpoint::default() };
    let delivery = Delivery {
        to: "team".to_owned(),
        channel: Channel::Webhook(endpoint),
        template: Template::default(),
        message: a_message("alice said pause"),
    };
    let handed_over = awaited(async {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, std::io::Error>(http::Response::new(Body::empty()))
        });
        Outside::new(Client::new(service, "shop"), reach).carry(&delivery).await
    });
    let passes = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
    match handed_over {
        Ok(()) => assert!(status.is_success(), "{status}"),
        Err(Failure::Passing { said, again_in }) => {
            assert!(passes, "{status}: {said}");
            assert_eq!(again_in, after.map(Duration::from_secs), "{said}");
            told(&said);
        }
        Err(Failure::Lasting(said)) => {
            assert!(!passes && !status.is_success(), "{status}: {said}");
            told(&said);
        }
        Err(Failure::Lacking(said)) => panic!("nothing lacks: {said}"),
    }
}

fn mailed(answers: Vec<u8>) {
    let Ok(listener) = TcpListener::bind(("127.0.0.1", 0)) else { return };
    let port = listener.local_addr().expect("a port").port();
    let positive =
        answers.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"2") || line.starts_with(b"3"));
    let positive = positive.count();
    let server = std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        // Whoever called may have gone already.
        let _said = stream.write_all(&answers).and_then(|()| stream.shutdown(Shutdown::Write));
        let _heard = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mail = json!({
        "host": "127.0.0.1", "port": port, "tls": "None", "from": "a@example.com", "to": ["b@example.com"],
    });
    let mail: Email = serde_json::from_value(mail).expect("a mail");
    let letter =
        email::letter(&mail, &a_message("alice said pause"), &Template::default()).expect("a letter");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sent = runtime.block_on(email::send(&Reach::anywhere(), &mail, None, None, &letter));
    // Where nobody called, somebody does now.
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    server.join().expect("a server that ends");
    match sent {
        Ok(()) => assert!(positive >= TAKEN, "taken after {positive} lines"),
        Err(Failure::Passing { said, again_in: None } | Failure::Lasting(said)) => told(&said),
        Err(failure) => panic!("of a server without TLS: {failure:?}"),
    }
}
