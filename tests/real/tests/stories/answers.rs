//! A server that answers as it is told, for checks that ask one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server on loopback that answers as it is told; ends with the process.
pub struct Answers {
    pub url: String,
    told: Arc<Mutex<Answer>>,
}

/// One answer; status 0 hangs up.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub body: &'static str,
    pub after: Duration,
    /// Where it sends whoever asks.
    pub location: Option<&'static str>,
}

impl Answer {
    /// At once.
    pub fn of(status: u16, body: &'static str) -> Self {
        Self { status, body, after: Duration::ZERO, location: None }
    }

    /// A redirect.
    pub fn to(self, location: &'static str) -> Self {
        Self { location: Some(location), ..self }
    }
}

impl Answers {
    /// Answers so until told otherwise.
    pub fn start(first: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(first));
        let answer = told.clone();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                let Answer { status, body, after, location } =
                    answer.lock().expect("no panic while telling").clone();
                std::thread::spawn(move || {
                    let _read = connection.read(&mut [0; 4096]);
                    std::thread::sleep(after);
                    if status == 0 {
                        return;
                    }
                    let length = body.len();
                    let location = location.map(|to| format!("location: {to}\r\n")).unwrap_or_default();
                    let head = format!(
                        "HTTP/1.1 {status} So\r\n{location}content-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    let _sent = connection.write_all(format!("{head}{body}").as_bytes());
                });
            }
        });
        Self { url, told }
    }

    /// From now on.
    pub fn tell(&self, answer: Answer) {
        *self.told.lock().expect("no panic while telling") = answer;
    }
}
