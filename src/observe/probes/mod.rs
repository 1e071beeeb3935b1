//! Answers of checks that ask: over the network, and of the API server. One file a kind.
//!
//! An outage on the way is Unknown; an answer that is not the expected one is Failed, and says what to do.

mod config;
pub mod dns;
mod http;
mod object;
pub mod tls;

use jiff::Timestamp;
use kube::Client;
use regex_lite::RegexBuilder;

pub(super) use http::{beginning, get};

use super::reach::Reach;
use crate::decide::Probe;
use crate::decide::plan::Question;
use crate::decide::snapshot::ProbeResult;

/// Bytes of an answer that are looked at.
pub(super) const LOOKED_AT: usize = 64 * 1024;

/// What a regular expression may take when it is understood.
const PATTERN_BYTES: usize = 64 * 1024;

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

/// Asks once, for as long as the check's timeout.
pub async fn ask(client: &Client, reach: &Reach, namespace: &str, probe: &Probe, now: Timestamp) -> Answer {
    let asked = async {
        match &probe.question {
            Question::Http(check) => http::ask(check, &probe.pods, reach).await,
            Question::Config(check) => config::ask(client, namespace, check).await,
            Question::Tls(check) => tls::ask(client, reach, namespace, check, now).await,
            Question::Dns(check) => dns::ask(reach, check).await,
            Question::Objects(objects) => object::ask(client, namespace, objects, now).await,
        }
    };
    match tokio::time::timeout(probe.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => unknown(format!("no answer within {} s", probe.timeout.as_secs())),
    }
}

/// Whether a text has something that matches. Off the threads that everything else runs on: a pattern can be slow.
async fn found(pattern: &str, text: String) -> Result<bool, String> {
    let pattern = pattern.to_owned();
    let searched = tokio::task::spawn_blocking(move || matches(&pattern, &text)).await;
    searched.unwrap_or_else(|_| Err("it could not be searched for".into()))
}

/// Whether a text has something that matches: in time that grows with the pattern, and with the text, and no faster.
///
/// # Errors
/// What is wrong with the pattern; that it says more than it has room for is one such thing (`(a{500}){500}`).
pub fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let wanted = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    Ok(wanted.map_err(|error| error.to_string())?.is_match(text))
}
