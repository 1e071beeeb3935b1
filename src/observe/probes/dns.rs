//! Answers of `dns` checks: one question to a server that resolves, over UDP, and over TCP when the answer does not fit.
//!
//! Names are whole: no search domain is appended. That a name or a record is not there is an answer; that a server cannot say is not.
//! Nothing is cached, and signatures (DNSSEC) are not verified: what is asked is what clients of that server see.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{self, Name, RData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Answer, Untried, failed, found, passed, unknown};
use crate::api::check::dns::{DnsCheck, RecordType};
use crate::observe::measure::shortened;
use crate::observe::reach::{ConnectError, Reach};

/// How long one server is waited for, and how often each is asked.
const WAIT: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// Servers of the operator's own that are asked.
const MOST_SERVERS: usize = 3;
/// Bytes of a datagram. Larger ones are asked for over TCP.
const DATAGRAM: usize = 4096;
/// Names that a name may stand for, one after the other.
const LONGEST_CHAIN: usize = 16;
/// Records that a message lists.
const SHOWN: usize = 5;
/// Where the operator's own servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks once.
pub async fn ask(reach: &Reach, namespace: &str, check: &DnsCheck) -> Answer {
    match asked(reach, namespace, check).await {
        Ok(evidence) => passed(evidence),
        Err(answer) => answer,
    }
}

async fn asked(reach: &Reach, namespace: &str, check: &DnsCheck) -> Result<String, Answer> {
    let (name, kind) = (&check.name, check.kind);
    let asked = Name::from_str_relaxed(name).map(|mut asked| {
        asked.set_fqdn(true);
        asked
    });
    let asked = asked.map_err(|_| failed(format!("'{}' is no DNS name", shortened(name, 100))))?;
    let (records, from) = match &check.server {
        Some(server) => {
            let server = address(server).ok_or_else(|| {
                failed(format!("server: '{}' is no address: write 192.0.2.53:53", shortened(server, 64)))
            })?;
            records(reach, &[server], &asked, kind).await?
        }
        // Not the author's choice: it may well be on the node, where a Release must not send the operator.
        None => records(&Reach::anywhere(), &own_servers()?, &asked, kind).await?,
    };
    let word = word(kind);
    let seen = listed(&records);
    match (&check.values, &check.pattern, check.absent) {
        (Some(values), None, None) => {
            let there: Vec<String> = records.iter().map(|record| plain(kind, record)).collect();
            let missing: Vec<&str> = values
                .iter()
                .filter(|value| !there.contains(&plain(kind, value)))
                .map(String::as_str)
                .collect();
            if missing.is_empty() {
                return Ok(format!("{name} has {word} {seen} (from {from})"));
            }
            let missing = listed(&missing);
            Err(failed(format!(
                "{name} has {word} {seen}, and not {missing} (from {from}): correct the zone"
            )))
        }
        (None, Some(pattern), None) => {
            for record in &records {
                match found(namespace, pattern, record.clone()).await {
                    Ok(true) => {
                        let record = shortened(record, 100);
                        return Ok(format!("{name} has {word} {record}, which matches (from {from})"));
                    }
                    Ok(false) => {}
                    Err(long @ Untried::TooLong) => {
                        return Err(failed(format!("a record of {name} ({word}) {long}")));
                    }
                    Err(problem @ (Untried::NoPattern(_) | Untried::BrokenOff)) => {
                        return Err(failed(format!("pattern {}", shortened(&problem.to_string(), 190))));
                    }
                }
            }
            Err(failed(format!(
                "{name} has {word} {seen}, and none matches {pattern} (from {from}): correct the zone"
            )))
        }
        (None, None, Some(true)) => {
            if records.is_empty() {
                return Ok(format!("{name} has no {word} (from {from})"));
            }
            Err(failed(format!(
                "{name} has {word} {seen}, and should have none (from {from}): correct the zone"
            )))
        }
        _ => Err(failed("dns needs exactly one of: values, pattern, absent: true".to_owned())),
    }
}

/// The servers of the operator's own pod.
fn own_servers() -> Result<Vec<SocketAddr>, Answer> {
    let text = std::fs::read_to_string(Path::new(RESOLV_CONF)).unwrap_or_default();
    let servers = servers(&text);
    if servers.is_empty() {
        return Err(unknown(format!("{RESOLV_CONF} of the operator names no server: write one as server")));
    }
    Ok(servers)
}

/// The servers that a `resolv.conf` names.
///
/// ```
/// use tidegate::observe::probes::dns::servers;
/// let found = servers("search shop.svc\nnameserver 10.96.0.10 # cluster\nnameserver fe80::1%eth0\nnameserver ::1\n");
/// assert_eq!(found, ["10.96.0.10:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
/// ```
pub fn servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    named.take(MOST_SERVERS).map(|address| SocketAddr::new(address, 53)).collect()
}

/// An address with or without a port.
fn address(text: &str) -> Option<SocketAddr> {
    let whole = text.parse::<SocketAddr>().ok();
    whole.or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)))
}

/// The records of a name, as text, and who said so.
async fn records(
    reach: &Reach,
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> Result<(Vec<String>, SocketAddr), Answer> {
    let mut problem = String::new();
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        let exchanged = tokio::time::timeout(WAIT, exchange(reach, *server, name, kind)).await;
        let late = || ExchangeError::Nothing(format!("no answer within {} s", WAIT.as_secs()));
        match exchanged.unwrap_or_else(|_| Err(late())).and_then(|answer| records_in(&answer, name, kind)) {
            Ok(records) => return Ok((records, *server)),
            Err(ExchangeError::Denied(why)) => return Err(failed(why)),
            Err(ExchangeError::Nothing(why)) => problem = format!("{server}: {why}"),
        }
    }
    Err(unknown(format!("{} of {}: {problem}", word(kind), shortened(&name.to_ascii(), 100))))
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The server must not be asked.
    #[error("{0}")]
    Denied(String),
    /// It does not answer, or cannot say.
    #[error("{0}")]
    Nothing(String),
}

impl From<ConnectError> for ExchangeError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Denied(denied) => Self::Denied(denied.to_string()),
            ConnectError::Refused { problem, .. } => Self::Nothing(shortened(&problem, 100)),
        }
    }
}

impl From<std::io::Error> for ExchangeError {
    fn from(error: std::io::Error) -> Self {
        Self::Nothing(shortened(&error.to_string(), 100))
    }
}

async fn exchange(
    reach: &Reach,
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> Result<Vec<u8>, ExchangeError> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), of(kind)));
    let sent =
        question.to_vec().map_err(|error| ExchangeError::Nothing(shortened(&error.to_string(), 100)))?;
    let socket = reach.datagrams(server).await?;
    socket.send(&sent).await?;
    let mut answer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Whoever can guess neither the port nor the number cannot answer in the server's place.
        if answers(&answer[..length], &question) {
            answer.truncate(length);
            break;
        }
    }
    let truncated =
        Message::from_vec(&answer).is_ok_and(|answer| answer.metadata.truncation) || has_tc(&answer);
    if !truncated {
        return Ok(answer);
    }
    let mut stream = reach.connect(&server.ip().to_string(), server.port()).await?;
    let length = u16::try_from(sent.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], &sent].concat()).await?;
    let mut whole = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut whole).await?;
    if !answers(&whole, &question) {
        return Err(ExchangeError::Nothing("the answer over TCP is to another question".to_owned()));
    }
    Ok(whole)
}

/// Whether these bytes begin like an answer to this question. The question stands in front of all that may be cut off.
fn answers(bytes: &[u8], question: &Message) -> bool {
    let id = question.metadata.id.to_be_bytes();
    let is_response = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
    if bytes.len() < 12 || bytes[..2] != id || !is_response {
        return false;
    }
    match Message::from_vec(bytes) {
        Ok(answer) => answer.queries.is_empty() || answer.queries == question.queries,
        // Cut off in the middle of a record: some servers do.
        Err(_) => has_tc(bytes),
    }
}

/// The flag that says that an answer is cut off.
fn has_tc(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// The records of a name in an answer, as text.
///
/// # Errors
/// When the server says that it cannot say, or nothing that can be read.
pub fn records_in(bytes: &[u8], name: &Name, kind: RecordType) -> Result<Vec<String>, ExchangeError> {
    let nothing = |problem: String| Err(ExchangeError::Nothing(problem));
    let Ok(answer) = Message::from_vec(bytes) else {
        return nothing("what it answers cannot be read".to_owned());
    };
    if answer.metadata.message_type != MessageType::Response {
        return nothing("what it answers is no answer".to_owned());
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Ok(Vec::new()),
        code => return nothing(format!("it answers {code:?} ({code})")),
    }
    let is_last_word = answer.metadata.authoritative || answer.metadata.recursion_available;
    if answer.answers.is_empty() && !is_last_word {
        return nothing("it only knows others to ask: name a server that resolves".to_owned());
    }
    let mut owner = name.clone();
    if kind != RecordType::Cname {
        for _ in 0..LONGEST_CHAIN {
            let next = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == owner => Some(target.0.clone()),
                _ => None,
            });
            let Some(next) = next else { break };
            owner = next;
        }
    }
    let records = answer.answers.iter().filter(|record| record.name == owner);
    Ok(records.filter_map(|record| text(kind, &record.data)).collect())
}

/// A record of this kind as a zone file has it, names without their last dot. `None` for another kind.
fn text(kind: RecordType, data: &RData) -> Option<String> {
    let name = |name: &Name| name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    Some(match (kind, data) {
        (RecordType::A, RData::A(address)) => address.0.to_string(),
        (RecordType::Aaaa, RData::AAAA(address)) => address.0.to_string(),
        (RecordType::Cname, RData::CNAME(target)) => name(&target.0),
        (RecordType::Ns, RData::NS(target)) => name(&target.0),
        (RecordType::Ptr, RData::PTR(target)) => name(&target.0),
        (RecordType::Txt, RData::TXT(text)) => String::from_utf8_lossy(&text.txt_data.concat()).into_owned(),
        (RecordType::Mx, RData::MX(mx)) => format!("{} {}", mx.preference, name(&mx.exchange)),
        (RecordType::Srv, RData::SRV(srv)) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target))
        }
        (RecordType::Caa, RData::CAA(caa)) => {
            format!(
                "{} {} \"{}\"",
                caa.flags(),
                caa.tag.to_ascii_lowercase(),
                String::from_utf8_lossy(&caa.value)
            )
        }
        _ => return None,
    })
}

/// A record as it is compared: the same one may be written in several ways.
fn plain(kind: RecordType, record: &str) -> String {
    let words = || record.split_whitespace();
    match kind {
        RecordType::Txt => record.to_owned(),
        RecordType::A | RecordType::Aaaa => {
            record.trim().parse::<IpAddr>().map_or_else(|_| record.to_owned(), |address| address.to_string())
        }
        RecordType::Cname | RecordType::Ns | RecordType::Ptr | RecordType::Mx | RecordType::Srv => {
            words().map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect::<Vec<_>>().join(" ")
        }
        RecordType::Caa => words()
            .enumerate()
            .map(|(place, word)| {
                if place < 2 {
                    word.to_ascii_lowercase()
                } else {
                    word.trim_matches('"').trim_end_matches('.').to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn listed<T: AsRef<str>>(records: &[T]) -> String {
    if records.is_empty() {
        return "no record".to_owned();
    }
    let shown = records.iter().take(SHOWN).map(|record| format!("'{}'", shortened(record.as_ref(), 100)));
    let mut listed = shown.collect::<Vec<_>>().join(", ");
    if records.len() > SHOWN {
        listed = format!("{listed} and {} more", records.len() - SHOWN);
    }
    listed
}

fn word(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::Aaaa => "AAAA",
        RecordType::Cname => "CNAME",
        RecordType::Txt => "TXT",
        RecordType::Mx => "MX",
        RecordType::Ns => "NS",
        RecordType::Caa => "CAA",
        RecordType::Srv => "SRV",
        RecordType::Ptr => "PTR",
    }
}

fn of(kind: RecordType) -> rr::RecordType {
    match kind {
        RecordType::A => rr::RecordType::A,
        RecordType::Aaaa => rr::RecordType::AAAA,
        RecordType::Cname => rr::RecordType::CNAME,
        RecordType::Txt => rr::RecordType::TXT,
        RecordType::Mx => rr::RecordType::MX,
        RecordType::Ns => rr::RecordType::NS,
        RecordType::Caa => rr::RecordType::CAA,
        RecordType::Srv => rr::RecordType::SRV,
        RecordType::Ptr => rr::RecordType::PTR,
    }
}
