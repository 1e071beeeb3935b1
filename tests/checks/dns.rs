//! `dns` checks: a server on this machine that answers well, badly, in part, or not at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, NS, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::{Value, json};
use tidegate::api::check::dns::DnsCheck;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::observe::probes::dns;
use tidegate::observe::reach::{ApiServer, Reach};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::reach;

/// What the server does with a question.
enum Reply {
    Records(Vec<Record>),
    Code(ResponseCode),
    Silence,
    /// Not over UDP.
    TooLarge(Vec<Record>),
    /// Others are to be asked.
    Referral,
    /// First somebody else's answer, then its own.
    AfterForgeries(Vec<Record>),
    Garbage,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 60, data)
}

fn a(owner: &str, address: [u8; 4]) -> Record {
    record(owner, RData::A(A(Ipv4Addr::from(address))))
}

fn txt(owner: &str, pieces: &[&str]) -> Record {
    record(owner, RData::TXT(TXT::new(pieces.iter().map(|piece| (*piece).to_owned()).collect())))
}

/// The zone of the tests.
fn reply(asked: &str, kind: RecordType) -> Reply {
    match (asked, kind) {
        ("shop.example.com", RecordType::A) => {
            Reply::Records(vec![a("shop.example.com", [192, 0, 2, 1]), a("shop.example.com", [192, 0, 2, 2])])
        }
        ("shop.example.com", RecordType::AAAA) => {
            let address = "2001:db8::1".parse().expect("an address");
            Reply::Records(vec![record("shop.example.com", RData::AAAA(AAAA(address)))])
        }
        ("www.example.com", RecordType::A) => Reply::Records(vec![
            record("www.example.com", RData::CNAME(CNAME(name("Edge.example.net")))),
            record("edge.example.net", RData::CNAME(CNAME(name("shop.example.com")))),
            a("shop.example.com", [192, 0, 2, 1]),
            a("stray.example.com", [192, 0, 2, 66]),
        ]),
        ("www.example.com", RecordType::CNAME) => {
            Reply::Records(vec![record("www.example.com", RData::CNAME(CNAME(name("Edge.example.net"))))])
        }
        ("example.com", RecordType::TXT) => Reply::Records(vec![
            txt("example.com", &["v=spf1 include:", "_spf.example.net -all"]),
            txt("example.com", &["verify=\u{7}1"]),
        ]),
        ("example.com", RecordType::MX) => {
            Reply::Records(vec![record("example.com", RData::MX(MX::new(10, name("Mail.example.com"))))])
        }
        ("example.com", RecordType::NS) => {
            Reply::Records(vec![record("example.com", RData::NS(NS(name("ns1.example.net"))))])
        }
        ("example.com", RecordType::CAA) => {
            let issue = CAA::new_issue(false, Some(name("letsencrypt.org")), Vec::new());
            Reply::Records(vec![record("example.com", RData::CAA(issue))])
        }
        ("_sip._tcp.example.com", RecordType::SRV) => {
            let srv = SRV::new(1, 2, 5060, name("sip.example.com"));
            Reply::Records(vec![record("_sip._tcp.example.com", RData::SRV(srv))])
        }
        ("1.2.0.192.in-addr.arpa", RecordType::PTR) => {
            Reply::Records(vec![record("1.2.0.192.in-addr.arpa", RData::PTR(PTR(name("shop.example.com"))))])
        }
        ("large.example.com", _) => {
            Reply::TooLarge((0..40).map(|number| a("large.example.com", [192, 0, 2, number])).collect())
        }
        ("forged.example.com", _) => Reply::AfterForgeries(vec![a("forged.example.com", [192, 0, 2, 1])]),
        ("broken.example.com", _) => Reply::Code(ResponseCode::ServFail),
        ("refused.example.com", _) => Reply::Code(ResponseCode::Refused),
        ("silent.example.com", _) => Reply::Silence,
        ("garbage.example.com", _) => Reply::Garbage,
        ("else.example.com", _) => Reply::Referral,
        ("empty.example.com", _) => Reply::Records(Vec::new()),
        _ => Reply::Code(ResponseCode::NXDomain),
    }
}

/// What the server sends over UDP, or over TCP.
fn sent(question: &Message, over_tcp: bool) -> Vec<Vec<u8>> {
    let query = question.queries[0].clone();
    let asked = query.name.to_ascii().trim_end_matches('.').to_lowercase();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let whole = |mut answer: Message, records: Vec<Record>| {
        answer.add_answers(records);
        answer.to_vec().expect("an answer")
    };
    match reply(&asked, query.query_type) {
        Reply::Records(records) => vec![whole(answer, records)],
        Reply::Code(code) => {
            answer.metadata.response_code = code;
            vec![whole(answer, Vec::new())]
        }
        Reply::Silence => Vec::new(),
        Reply::TooLarge(records) if over_tcp => vec![whole(answer, records)],
        Reply::TooLarge(records) => {
            answer.metadata.truncation = true;
            vec![whole(answer, records.into_iter().take(3).collect())]
        }
        Reply::Referral => {
            answer.metadata.recursion_available = false;
            answer.add_authority(record("example.com", RData::NS(NS(name("ns1.example.net")))));
            vec![whole(answer, Vec::new())]
        }
        Reply::AfterForgeries(records) => {
            let mut of_other_number = answer.clone();
            of_other_number.metadata.id = answer.metadata.id.wrapping_add(1);
            let mut to_other_question = answer.clone();
            to_other_question.queries[0].name = name("other.example.com");
            let lie = vec![a("forged.example.com", [192, 0, 2, 66])];
            vec![whole(of_other_number, lie.clone()), whole(to_other_question, lie), whole(answer, records)]
        }
        Reply::Garbage => {
            let mut bytes = whole(answer, Vec::new());
            bytes[6..8].copy_from_slice(&9u16.to_be_bytes());
            bytes.extend_from_slice(&[0xc0, 0xff, 1]);
            vec![vec![1, 2, 3], bytes]
        }
    }
}

/// A server; where it is.
pub(super) async fn server() -> SocketAddr {
    // One port, for both.
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")).await {
            break (Arc::new(udp), tcp);
        }
    };
    let address = udp.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
            let question = Message::from_vec(&bytes[..length]).expect("a question");
            for answer in sent(&question, false) {
                udp.send_to(&answer, from).await.expect("sent");
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut bytes = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
            stream.read_exact(&mut bytes).await.expect("a question");
            for answer in sent(&Message::from_vec(&bytes).expect("a question"), true) {
                stream.write_u16(u16::try_from(answer.len()).expect("short")).await.expect("sent");
                stream.write_all(&answer).await.expect("sent");
            }
        }
    });
    address
}

async fn asked(server: SocketAddr, fields: Value) -> (ProbeResult, String) {
    let mut all = json!({"server": server.to_string()});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let check: DnsCheck = serde_json::from_value(all).expect("a check");
    dns::ask(&reach(), "shop", &check).await
}

async fn is(server: SocketAddr, fields: Value, result: ProbeResult, words: &str) {
    let (found, said) = asked(server, fields.clone()).await;
    assert_eq!(found, result, "{fields}: {said}");
    let words = words.replace("SERVER", &server.to_string());
    assert!(said.contains(&words), "{fields}: '{said}' does not say '{words}'");
    assert!(said.chars().count() <= 1000 && !said.contains('\u{7}'), "{said}");
}

#[tokio::test]
async fn records_of_every_kind_are_compared_however_they_are_written() {
    let server = server().await;
    for (name, kind, values) in [
        ("shop.example.com", "A", json!(["192.0.2.2"])),
        ("SHOP.example.com.", "A", json!(["192.0.2.2", "192.0.2.1"])),
        ("shop.example.com", "AAAA", json!(["2001:0DB8:0:0::1"])),
        ("www.example.com", "A", json!(["192.0.2.1"])),
        ("www.example.com", "CNAME", json!(["edge.EXAMPLE.net."])),
        ("example.com", "TXT", json!(["v=spf1 include:_spf.example.net -all"])),
        ("example.com", "MX", json!(["10  mail.example.com."])),
        ("example.com", "NS", json!(["ns1.example.net"])),
        ("example.com", "CAA", json!(["0 issue \"letsencrypt.org\""])),
        ("example.com", "CAA", json!(["0 issue letsencrypt.org"])),
        ("_sip._tcp.example.com", "SRV", json!(["1 2 5060 sip.example.com"])),
        ("1.2.0.192.in-addr.arpa", "PTR", json!(["shop.example.com"])),
    ] {
        is(
            server,
            json!({"name": name, "type": kind, "values": values}),
            ProbeResult::Passed,
            &format!("{name} has {kind} '"),
        )
        .await;
    }
    let spf = json!({"name": "example.com", "type": "TXT", "pattern": "^v=spf1 .*-all$"});
    let words = "example.com has TXT v=spf1 include:_spf.example.net -all, which matches (from SERVER)";
    is(server, spf, ProbeResult::Passed, words).await;
}

#[tokio::test]
async fn a_record_that_is_not_there_fails_and_says_what_is() {
    let server = server().await;
    let of = |name: &str, kind: &str, values: Value| json!({"name": name, "type": kind, "values": values});
    let words = "shop.example.com has A '192.0.2.1', '192.0.2.2', and not '192.0.2.3' (from SERVER): correct the zone";
    is(server, of("shop.example.com", "A", json!(["192.0.2.1", "192.0.2.3"])), ProbeResult::Failed, words)
        .await;
    let words = "www.example.com has A '192.0.2.1', and not '192.0.2.66'";
    is(server, of("www.example.com", "A", json!(["192.0.2.66"])), ProbeResult::Failed, words).await;
    let words = "nothing.example.com has MX no record, and not '10 mail.example.com'";
    is(server, of("nothing.example.com", "MX", json!(["10 mail.example.com"])), ProbeResult::Failed, words)
        .await;
    let pattern = |pattern: &str| json!({"name": "example.com", "type": "TXT", "pattern": pattern});
    is(server, pattern("^v=DMARC1"), ProbeResult::Failed, "'verify= 1', and none matches ^v=DMARC1").await;
    is(server, pattern("("), ProbeResult::Failed, "pattern is no regular expression").await;
    let absent = |name: &str| json!({"name": name, "type": "A", "absent": true});
    is(
        server,
        absent("nothing.example.com"),
        ProbeResult::Passed,
        "nothing.example.com has no A (from SERVER)",
    )
    .await;
    is(server, absent("empty.example.com"), ProbeResult::Passed, "empty.example.com has no A").await;
    is(server, absent("shop.example.com"), ProbeResult::Failed, "and should have none").await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = server().await;
    let fields = json!({"name": "large.example.com", "type": "A", "values": ["192.0.2.0", "192.0.2.39"]});
    is(server, fields, ProbeResult::Passed, "'192.0.2.4' and 35 more (from SERVER)").await;
}

#[tokio::test]
async fn an_answer_of_somebody_else_or_to_another_question_is_not_taken() {
    let fields = json!({"name": "forged.example.com", "type": "A", "values": ["192.0.2.1"]});
    is(server().await, fields, ProbeResult::Passed, "has A '192.0.2.1' (from SERVER)").await;
}

#[tokio::test]
async fn a_server_that_cannot_say_is_unknown() {
    let server = server().await;
    let of = |name: &str| json!({"name": name, "type": "A", "absent": true});
    let words = "A of broken.example.com.: SERVER: it answers ServFail";
    is(server, of("broken.example.com"), ProbeResult::Unknown, words).await;
    is(server, of("refused.example.com"), ProbeResult::Unknown, "it answers Refused").await;
    is(server, of("else.example.com"), ProbeResult::Unknown, "it only knows others to ask").await;
    let closed = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port").local_addr().expect("an address");
    is(
        closed,
        of("shop.example.com"),
        ProbeResult::Unknown,
        "A of shop.example.com.: SERVER: Connection refused",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_or_talks_nonsense_is_unknown_in_good_time() {
    let server = server().await;
    for name in ["silent.example.com", "garbage.example.com"] {
        let fields = json!({"name": name, "type": "A", "absent": true});
        let told = is(server, fields, ProbeResult::Unknown, "no answer within 2 s");
        tokio::time::timeout(Duration::from_secs(6), told).await.expect(name);
    }
}

#[tokio::test]
async fn a_server_must_be_one_that_a_release_may_send_the_operator_to() {
    let api = ApiServer::known("https://10.1.0.5:6443", Some("10.96.0.1"), &[]);
    let reach = Reach::guarded(api, false);
    for (server, words) in [
        ("169.254.169.254:53", "metadata"),
        ("169.254.169.254", "metadata"),
        ("127.0.0.1:53", "the operator's own machine"),
        ("[::1]:53", "the operator's own machine"),
        ("10.96.0.1:443", "the API server"),
        ("10.1.0.5:6443", "the API server"),
        ("0.0.0.0:53", "the address of no single host"),
        ("localhost:53", "is no address"),
    ] {
        let check = json!({"name": "shop.example.com", "type": "A", "absent": true, "server": server});
        let check: DnsCheck = serde_json::from_value(check).expect("a check");
        let (result, said) = dns::ask(&reach, "shop", &check).await;
        assert_eq!(result, ProbeResult::Failed, "{server}: {said}");
        assert!(said.contains(words), "{server}: {said}");
    }
}
