//! The body of what the API server answers: a small one is read at once, and what is left of a larger one in its namespace's turn. What a turn is at, and
//! what becomes of the bytes, is the asker's.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http_body::Body as _;
use kube::client::Body;

use crate::turns::{Turn, Turns};

/// Bytes of a body that is read without waiting for anybody.
pub const SMALL: usize = 64 << 10;
/// What is left of a larger one comes in this time: others wait to read theirs.
pub const REST: Duration = Duration::from_secs(10);

/// A body, as far as it has come.
pub struct Arrived {
    pub come: Come,
    pub bytes: Vec<u8>,
    /// What lets a larger one be in memory.
    pub turn: Option<Turn<'static>>,
}

/// How far a body has come.
#[derive(Debug)]
pub enum Come {
    Whole,
    /// It is more than was wanted.
    More,
    BrokenOff,
}

/// Reads a body of at most so many bytes.
pub async fn read(mut body: Body, namespace: &str, turns: &'static Turns, most: usize) -> Arrived {
    let (mut bytes, mut turn) = (Vec::new(), None);
    let mut come = read_on(&mut body, &mut bytes, SMALL).await;
    if matches!(come, Come::More) {
        turn = Some(turns.take(namespace).await);
        let rest = tokio::time::timeout(REST, read_on(&mut body, &mut bytes, most)).await;
        come = rest.unwrap_or(Come::BrokenOff);
    }
    Arrived { come, bytes, turn }
}

/// Reads on, until there is more of it than so many bytes, or no more.
async fn read_on(body: &mut Body, bytes: &mut Vec<u8>, most: usize) -> Come {
    while bytes.len() <= most {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Come::Whole,
            Some(Err(_)) => return Come::BrokenOff,
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    }
    Come::More
}
