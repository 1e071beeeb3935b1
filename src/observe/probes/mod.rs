//! Answers of checks that ask: over the network, and of the API server. One file a kind.
//!
//! An outage on the way is Unknown; an answer that is not the expected one is Failed, and says what to do.

mod body;
mod config;
pub mod dns;
mod extract;
pub mod http;
pub(super) mod list;
mod object;
mod promotion;
mod telemetry;
pub mod tls;
mod traffic;
mod workload;

use jiff::Timestamp;
use kube::Client;
use regex_lite::RegexBuilder;
use tokio::task::JoinError;

pub(super) use http::{GetError, beginning, get};

use super::measure::scrape::Pages;
use super::measure::servers::Servers;
use super::reach::Reach;
use crate::decide::plan::Question;
use crate::decide::snapshot::ProbeResult;
use crate::decide::{About, Probe};
use crate::turns::{Turn, Turns};

/// Bytes of an answer that are looked at.
pub(super) const LOOKED_AT: usize = 64 * 1024;

/// What a regular expression may take when it is understood.
const PATTERN_BYTES: usize = 64 * 1024;

/// Patterns of the process that are tried at the same time, and of one namespace.
static PATTERNS: Turns = Turns::of(2, 1);

/// What came of asking, and a sentence.
type Answer = (ProbeResult, String);

fn passed(message: String) -> Answer {
    (ProbeResult::Passed, message)
}

fn failed(message: String) -> Answer {
    (ProbeResult::Failed, message)
}

fn unknown(message: String) -> Answer {
    (ProbeResult::Unknown, message)
}

/// What questions are asked with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub client: &'a Client,
    pub reach: &'a Reach,
    /// The pods' own pages.
    pub pages: &'a dyn Pages,
    /// The servers that runs are measured by, too: of each a namespace has one share, whatever it asks.
    pub servers: &'a Servers,
}

/// Asks once, for as long as the check's timeout.
pub async fn ask(means: Means<'_>, namespace: &str, probe: &Probe, now: Timestamp) -> Answer {
    let Means { client, reach, pages: _, servers: _ } = means;
    let asked = async {
        match (&probe.question, &probe.about) {
            (Question::Http(check), _) => http::ask(reach, namespace, check, &probe.pods).await,
            (Question::Config(check), _) => config::ask(client, namespace, check).await,
            (Question::Tls(check), _) => tls::ask(client, reach, namespace, check, now).await,
            (Question::Dns(check), _) => dns::ask(reach, namespace, check).await,
            (Question::Objects(objects), _) => object::ask(client, namespace, objects, now).await,
            (Question::Traffic(wanted), _) => traffic::ask(means, namespace, wanted, now).await,
            (Question::Workload(wanted), About::Workload(subject)) => {
                workload::ask(client, namespace, *wanted, subject).await
            }
            (Question::Promotion(wanted), About::Images(subject)) => {
                promotion::ask(client, wanted, subject, now).await
            }
            (Question::Telemetry(_), About::Measured(subject)) => {
                telemetry::ask(means, namespace, subject, probe.timeout, now).await
            }
            (Question::Workload(_) | Question::Promotion(_) | Question::Telemetry(_), _) => {
                unknown("what it is about is not known yet".to_owned())
            }
        }
    };
    match tokio::time::timeout(probe.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => unknown(format!("no answer within {} s", probe.timeout.as_secs())),
    }
}

/// Does what keeps a thread busy off those that everything else runs on. The turn ends with the work: nobody may wait for it any more, and it takes
/// its memory and its thread all the same.
pub(super) async fn in_turn<T: Send + 'static>(
    turn: Turn<'static>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    done.await
}

/// Why it is not known whether a pattern matches. It goes behind what the text is of, or what the pattern stands in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Untried {
    #[error("is longer than {} KiB: a pattern is not tried on so much", LOOKED_AT >> 10)]
    TooLong,
    #[error("is no regular expression: {0}")]
    NoPattern(String),
    #[error("could not be searched for")]
    BrokenOff,
}

/// Whether a text has something that matches. Off the threads that everything else runs on, and in this namespace's turn: a pattern can be slow, and
/// goes on when nobody waits for it any more.
async fn found(namespace: &str, pattern: &str, text: String) -> Result<bool, Untried> {
    if text.len() > LOOKED_AT {
        return Err(Untried::TooLong);
    }
    let pattern = pattern.to_owned();
    let turn = PATTERNS.take(namespace).await;
    let searched = in_turn(turn, move || matches(&pattern, &text)).await;
    searched.map_err(|_| Untried::BrokenOff)?.map_err(Untried::NoPattern)
}

/// Whether a text has something that matches: in time that grows with the pattern, and with the text, and no faster.
///
/// # Errors
/// What is wrong with the pattern; that it says more than it has room for is one such thing (`(a{500}){500}`).
pub fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let wanted = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    Ok(wanted.map_err(|error| error.to_string())?.is_match(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn patterns_that_wait_in_one_namespace_keep_no_other_waiting() {
        let slow = PATTERNS.take("noisy").await;
        let tried = |namespace| Box::pin(found(namespace, "b+", "abc".to_owned()));
        let mut noisy: Vec<_> = (0..64).map(|_| tried("noisy")).collect();
        assert!(noisy.iter_mut().all(|waits| waits.as_mut().now_or_never().is_none()));
        let shop = tokio::time::timeout(Duration::from_secs(10), tried("shop")).await;
        assert_eq!(shop, Ok(Ok(true)));
        assert!(noisy.iter_mut().all(|waits| waits.as_mut().now_or_never().is_none()));
        drop(slow);
        let all = tokio::time::timeout(Duration::from_secs(10), futures::future::join_all(noisy)).await;
        assert!(all.is_ok_and(|all| all.iter().all(|found| *found == Ok(true))));
    }
}
