//! Where a Release may send the operator, and where it may not, however it is written.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Url;
use serde_json::json;
use tidegate::act::call::{CallError, call};
use tidegate::observe::measure::prometheus::{Auth, Prometheus};
use tidegate::observe::measure::servers::Servers;
use tidegate::observe::measure::{Trust, client};
use tidegate::observe::reach::{ApiServer, Denied, Reach};

use crate::measure::prometheus::ROUND;

fn api_server() -> ApiServer {
    let advertised = ["10.1.0.5:6443".to_owned(), "apiserver".to_owned()];
    ApiServer::known("https://api.example.com:6443", Some("10.96.0.1"), &advertised)
}

fn said(url: &str) -> String {
    let url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    Reach::guarded(api_server(), false)
        .allows(&url)
        .err()
        .map(|denied| denied.to_string())
        .unwrap_or_default()
}

#[test]
fn metadata_is_never_asked_however_its_address_is_written() {
    for url in [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://169.254.170.2/v2/credentials",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://0xa9.254.0251.254/",
        "http://169.254.43518/",
        "http://169.254.169.254./",
        "http://１６９.２５４.１６９.２５４/",
        "http://169。254。169。254/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/latest",
        "http://[fd00:ec2::23]/v1/credentials",
        "http://[fd00:ec2:0:1::7]/",
        "http://[fd00:0ec2:ffff:ffff:ffff:ffff:ffff:ffff]/",
        "http://[fd20:ce::254]/",
        "http://[fd00:42::42]/conf",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://METADATA.google.internal./",
        "http://ⓜetadata.google.internal/",
        "https://metadata/",
        "http:\\\\169.254.169.254\\",
        "http://169.254.\t169.254/",
    ] {
        let said = said(url);
        assert!(said.contains("metadata"), "{url}: '{said}'");
    }
}

#[test]
fn the_operators_own_machine_and_addresses_of_nobody_are_never_asked() {
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433:8080/metrics",
        "http://0177.0.0.1/",
        "http://127.200.3.4/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:0:127.0.0.1]/",
    ] {
        assert!(said(url).contains("the operator's own machine"), "{url}: {}", said(url));
    }
    for url in [
        "http://0/",
        "http://0.1.2.3/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[ff02::1]/",
        "http://[::ffff:0.0.0.0]/",
    ] {
        assert!(said(url).contains("the address of no single host"), "{url}: {}", said(url));
    }
}

#[test]
fn the_api_server_is_never_asked_by_any_of_its_addresses() {
    for url in [
        "https://10.96.0.1/api",
        "http://10.96.0.1:8080/",
        "https://10.1.0.5:6443/version",
        "https://[::ffff:10.1.0.5]:6443/version",
        "https://api.example.com/",
        "https://API.example.com.:6443/",
        "https://kubernetes/",
        "https://kubernetes.default/api",
        "https://kubernetes.default.svc.cluster.local/api",
        "https://kubernetes.default.svc.other.domain./api",
    ] {
        assert!(said(url).contains("it is the API server"), "{url}: {}", said(url));
    }
    // Something else on the same machine: a pod with the host's network.
    assert_eq!(said("http://10.1.0.5:9100/metrics"), "");
}

#[test]
fn other_replicas_of_the_api_server_are_not_asked_once_they_are_known_and_no_longer_when_they_are_gone() {
    let reach = Reach::guarded(api_server(), false);
    let copy = reach.clone();
    let said = |url: &str| {
        let said = copy.allows(&Url::parse(url).expect("a url")).err();
        said.map(|denied| denied.to_string()).unwrap_or_default()
    };
    let at = |sockets: &[&str]| -> BTreeSet<SocketAddr> {
        sockets.iter().map(|one| one.parse().expect("a socket")).collect()
    };
    let [other, sixth, mapped] = [
        "https://10.1.0.6:6443/version",
        "https://[fd00::6]:6443/version",
        "https://[::ffff:10.1.0.6]:6443/version",
    ];
    assert_eq!(said(other), "");
    reach.api_server_is_at(at(&["10.1.0.5:6443", "10.1.0.6:6443", "[fd00::6]:6443"]));
    for url in [other, sixth, mapped] {
        assert!(said(url).contains("it is the API server"), "{url}: {}", said(url));
    }
    assert_eq!(said("http://10.1.0.6:9100/metrics"), "", "something else on the same machine");
    reach.api_server_is_at(at(&["10.1.0.7:6443"]));
    assert_eq!(said(other), "");
    assert!(said("https://10.1.0.7:6443/").contains("it is the API server"));
    assert!(said("https://10.1.0.5:6443/").contains("it is the API server"), "known from the start");
}

#[test]
fn an_address_of_the_api_server_is_the_same_one_however_whoever_lists_it_has_written_it() {
    let advertised = ["[::ffff:10.1.0.5]:6443".to_owned()];
    let api = ApiServer::known("https://[::ffff:10.1.0.4]:6443", Some("::ffff:10.96.0.1"), &advertised);
    let reach = Reach::guarded(api, false);
    reach.api_server_is_at(BTreeSet::from(["[::ffff:10.1.0.6]:6443".parse().expect("a socket")]));
    let denied = |url: &str| reach.allows(&Url::parse(url).expect("a url")).is_err();
    for address in ["10.1.0.4:6443", "10.1.0.5:6443", "10.1.0.6:6443", "10.96.0.1:443"] {
        let (host, port) = address.split_once(':').expect("a port");
        for url in [format!("http://{address}"), format!("http://[::ffff:{host}]:{port}")] {
            assert!(denied(&url), "{url}");
        }
    }
    assert!(!denied("http://10.1.0.6:9100/metrics"), "something else on the same machine");
}

#[test]
fn a_user_in_a_url_and_other_schemes_are_refused() {
    assert_eq!(
        said("http://prometheus@10.0.0.1/"),
        "the address of 10.0.0.1 holds a user: write it without, and nothing secret"
    );
    assert!(said("http://:secret@shop/").contains("holds a user"));
    assert!(!said("http://:secret@shop/").contains(":secret"));
    for url in ["ftp://shop/", "file:///etc/passwd", "unix:/run/x", "gopher://10.0.0.1/"] {
        assert!(said(url).contains("no address of http"), "{url}: {}", said(url));
    }
}

#[test]
fn everybody_else_may_be_asked() {
    for url in [
        "http://shop.shop.svc:8080/ready",
        "http://10.244.1.7:9090/metrics",
        "https://192.168.1.1/",
        "https://status.example.com/",
        "http://[fd00::7]/",
        "http://[fd00:ec1:ffff::7]/",
        "http://[fd00:ec3::7]/",
        "http://[fd00:42::43]/",
        "http://[2001:db8::1]:8080/",
        "http://kubernetes.example.com/",
        "http://localhost.example.com/",
    ] {
        assert_eq!(said(url), "", "{url}");
    }
}

/// A server that answers so to everybody, and how many came.
fn server(address: &str, answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let socket = listener.local_addr().expect("an address");
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _read = connection.read(&mut [0; 4096]);
            let _sent = connection.write_all(answer.as_bytes());
        }
    });
    (socket, came)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Names resolve to these, one answer after the other; the last one stays. Counts.
fn resolver(answers: &[&[&str]]) -> (tidegate::observe::reach::Lookup, Arc<AtomicUsize>) {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|all| all.iter().map(|one| one.parse().expect("an address")).collect()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answers) = (asked.clone(), Arc::new(Mutex::new(answers)));
    let lookup: tidegate::observe::reach::Lookup = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut answers = answers.lock().expect("no panic while resolving");
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    });
    (lookup, asked)
}

async fn asked(reach: &Reach, url: &str) -> Result<u16, String> {
    let client = client(Trust::Nothing, reach).expect("a client");
    let request = client.get(Url::parse(url).expect("a url")).map_err(|denied| denied.to_string())?;
    match request.send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(Denied::within(&error).map_or(format!("{error:?}"), |denied| denied.to_string())),
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_something_else_the_second_time_leads_nowhere() {
    let (shop, _) = server("127.0.0.2", OK.to_owned());
    let listener = TcpListener::bind(("127.0.0.3", shop.port())).expect("the same port on another address");
    listener.set_nonblocking(true).expect("a socket");
    let api = ApiServer::known(&format!("https://127.0.0.3:{}", shop.port()), None, &[]);
    let (lookup, lookups) = resolver(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let reach = Reach::guarded(api, true).resolving(lookup);
    let url = format!("http://rebinding.example:{}/", shop.port());
    assert_eq!(asked(&reach, &url).await, Ok(200));
    assert_eq!(lookups.load(Ordering::SeqCst), 1, "resolved once: what is looked at is what is connected to");
    assert_eq!(
        asked(&reach, &url).await,
        Err("rebinding.example is not asked: its address 127.0.0.3 is the API server; use a config check, or a job check with rights of its own".to_owned())
    );
    assert!(listener.accept().is_err(), "nobody came");
}

#[tokio::test]
async fn one_bad_address_among_those_of_a_name_is_one_too_many() {
    let (shop, came) = server("127.0.0.1", OK.to_owned());
    for bad in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::23", "fe80::1", "0.0.0.0"] {
        let (lookup, _) = resolver(&[&["127.0.0.1", bad]]);
        let reach = Reach::guarded(ApiServer::default(), true).resolving(lookup);
        let said = asked(&reach, &format!("http://several.example:{}/", shop.port())).await;
        assert!(said.as_ref().is_err_and(|said| said.contains(&format!("its address {bad} is"))), "{said:?}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn loopback_behind_a_name_is_refused_unless_it_is_allowed() {
    let (shop, came) = server("127.0.0.1", OK.to_owned());
    let url = format!("http://localhost:{}/", shop.port());
    let said = asked(&Reach::guarded(ApiServer::default(), false), &url).await;
    assert!(said.as_ref().is_err_and(|said| said.contains("is the operator's own machine")), "{said:?}");
    assert_eq!(came.load(Ordering::SeqCst), 0);
    assert_eq!(asked(&Reach::guarded(ApiServer::default(), true), &url).await, Ok(200));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, came) = server("127.0.0.4", OK.to_owned());
    let location =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let (first, _) = server("127.0.0.1", location);
    assert_eq!(
        asked(&Reach::guarded(ApiServer::default(), true), &format!("http://{first}/")).await,
        Ok(302)
    );
    assert_eq!(asked(&Reach::anywhere(), &format!("http://{first}/")).await, Ok(302));
    assert_eq!(came.load(Ordering::SeqCst), 0, "nobody was sent there");
}

/// What comes of a hook of a way back that goes there, with what its Secret holds.
async fn called(reach: &Reach, url: &str) -> Result<u16, CallError> {
    let hook = serde_json::from_value(json!({"url": url})).expect("a hook");
    call(reach, &hook, Some("s3cret")).await
}

/// What comes of a query of a Prometheus server there.
async fn queried(reach: &Reach, url: &str) -> Result<(), String> {
    let way =
        Prometheus { url: url.to_owned(), auth: Auth::Bearer("s3cret".to_owned()), headers: Vec::new() };
    let server = Servers::within(reach.clone()).at(way, Trust::Nothing).expect("a server");
    let answer = server.instant(ROUND, "shop", "up").await;
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn hooks_and_prometheus_servers_are_never_where_a_check_must_not_go() {
    let reach = Reach::guarded(api_server(), false);
    for (url, what) in [
        ("http://169.254.169.254/latest/meta-data/iam", "link-local, where clouds"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local, where clouds"),
        ("http://metadata.google.internal/computeMetadata/v1/", "where a cloud keeps"),
        ("http://127.0.0.1:8080/metrics", "the operator's own machine"),
        ("http://10.96.0.1/api", "the API server"),
        ("http://10.1.0.5:6443/", "the API server"),
        ("http://kubernetes.default.svc/api", "the API server"),
    ] {
        let words = format!(" is not asked: it is {what}");
        let refused = called(&reach, url).await.expect_err(url);
        assert!(refused.to_string().contains(&words), "{url}: {refused}");
        assert!(refused.is_lasting(), "{url}: another try comes to the same");
        let refused = queried(&reach, url).await.expect_err(url);
        assert!(refused.contains(&words), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_metadata_or_to_the_api_server_leads_no_hook_and_no_query_there() {
    for (address, what) in
        [("169.254.169.254", "link-local"), ("10.1.0.5", "the API server"), ("10.96.0.1", "the API server")]
    {
        let (lookup, _) = resolver(&[&[address]]);
        let reach = Reach::guarded(api_server(), false).resolving(lookup);
        let words = format!("shop.example is not asked: its address {address} is {what}");
        let refused = called(&reach, "http://shop.example/flag").await.expect_err(address);
        assert!(refused.to_string().contains(&words), "{refused}");
        assert!(refused.is_lasting());
        let refused = queried(&reach, "http://shop.example:9090").await.expect_err(address);
        assert!(refused.contains(&words), "{refused}");
    }
}

#[tokio::test]
async fn no_redirect_takes_a_hook_or_a_query_elsewhere() {
    let (elsewhere, came) = server("127.0.0.5", OK.to_owned());
    let reach = Reach::guarded(ApiServer::default(), true);
    // With 307 and 308 the request would be repeated there with its body.
    for status in [302, 307, 308] {
        let (first, asked) = server(
            "127.0.0.1",
            format!(
                "HTTP/1.1 {status} Elsewhere\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
        );
        let refused = called(&reach, &format!("http://{first}/")).await.expect_err("a redirect");
        assert_eq!(refused.to_string(), format!("answered {status}, expected 2xx"));
        queried(&reach, &format!("http://{first}")).await.expect_err("a redirect");
        assert!(asked.load(Ordering::SeqCst) >= 2, "both came");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0, "nobody was sent there");
}
