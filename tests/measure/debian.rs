//! A real Prometheus, where one is installed (Debian's package `prometheus`): it scrapes a page and itself, over TLS and behind
//! a password.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tidegate::decide::judge::Bound;
use tidegate::observe::measure::history::{MOST_SAMPLES, Stretch};
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::prometheus::{Asking, Auth, Pod, Prometheus, Round};
use tidegate::observe::measure::{Asked, ReadError, SeriesValue, Trust, client};
use tidegate::observe::reach::Reach;

use super::pods::serve;
use super::prometheus::{asker, pods};
use super::{GO, totals};
use crate::tls::CERTIFICATE;

/// Of the password `test`.
const HASH: &str = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay";

struct Running {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _ended = self.process.wait();
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}

/// `None` where no Prometheus is installed.
fn start(page: u16) -> Option<Running> {
    Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let directory = std::env::temp_dir().join(format!("tidegate-prometheus-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let write = |name: &str, text: String| {
        let mut file = std::fs::File::create(directory.join(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    };
    let scraped = format!(
        "static_configs: [{{targets: ['127.0.0.1:{page}'], labels: {{namespace: shop, pod: cart-1}}}}]"
    );
    write(
        "prometheus.yml",
        format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: one, {scraped}}}\n\
             - {{job_name: two, {scraped}}}\n\
             - job_name: native\n  metrics_path: /native\n  \
               static_configs: [{{targets: ['127.0.0.1:{page}'], labels: {{namespace: shop, pod: native-1}}}}]\n\
             - job_name: self\n  scheme: https\n  metrics_path: /metrics-of-all/metrics\n  tls_config: {{insecure_skip_verify: true}}\n  \
               basic_auth: {{username: alice, password: test}}\n  \
               static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{namespace: monitoring, pod: prometheus-0}}}}]\n"
        ),
    );
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/measure/tls");
    write(
        "web.yml",
        format!(
            "tls_server_config: {{cert_file: '{0}/server.crt', key_file: '{0}/server.key'}}\nbasic_auth_users: {{alice: '{HASH}'}}\n",
            tls.display()
        ),
    );
    let process = Command::new("prometheus")
        .current_dir(&directory)
        .args(["--config.file=prometheus.yml", "--web.config.file=web.yml", "--storage.tsdb.path=data"])
        .args(["--enable-feature=native-histograms", "--web.external-url=/metrics-of-all"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    Some(Running { process, directory, port })
}

/// A page in Prometheus' binary format, the only one with native histograms: 6 requests between 210 and 250 ms, and 2 between 1
/// and 1.19 s.
fn native_page() -> Vec<u8> {
    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).expect("seven bits"));
        bytes
    }
    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }
    fn signed(field: u64, value: i64) -> Vec<u8> {
        number(field, ((value << 1) ^ (value >> 63)).cast_unsigned())
    }
    fn double(field: u64, value: f64) -> Vec<u8> {
        [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
    }
    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }
    let span = |offset, length| bytes(12, &[signed(1, offset), number(2, length)].concat());
    let (schema, zero_threshold) = (signed(5, 2), double(6, 1e-128));
    let buckets = [span(-8, 1), span(8, 1), signed(13, 6), signed(13, -4)].concat();
    let histogram = [number(1, 8), double(2, 3.5), schema, zero_threshold, number(7, 0), buckets].concat();
    let label = [bytes(1, b"http_response_status_code"), bytes(2, b"200")].concat();
    let metric = [bytes(1, &label), bytes(7, &histogram)].concat();
    let family =
        [bytes(1, b"http_server_request_duration_seconds"), number(3, 4), bytes(4, &metric)].concat();
    [varint(family.len() as u64), family].concat()
}

#[expect(clippy::disallowed_methods, reason = "the server that is asked has no other clock")]
fn round() -> Round {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Round {
        now: i64::try_from(now.as_secs()).expect("small"),
        scrape_interval: Duration::from_secs(1),
        deadline: Duration::from_secs(5),
    }
}

/// Reads one pod, over and over until it has been scraped.
#[expect(clippy::disallowed_methods, reason = "a server that never answers must not hang the tests")]
async fn read(prometheus: &Prometheus, namespace: &str, pods: &[Pod]) -> (Detected, Vec<SeriesValue>) {
    let client = client(Trust::Only(CERTIFICATE.to_vec()), &Reach::anywhere()).expect("a client");
    let begun = Instant::now();
    loop {
        let error = match prometheus.detect(&client, round(), namespace, pods, &Names::default()).await {
            Ok(detected) => {
                let asker = asker(namespace, pods, &detected);
                match prometheus.read(&client, round(), &[asker]).await.remove(0).remove(0).1 {
                    Ok(values) if !values.is_empty() => return (detected, values),
                    other => format!("{other:?}"),
                }
            }
            Err(error) => error.to_string(),
        };
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_real_prometheus_is_read() {
    let binary = [(
        header::CONTENT_TYPE,
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    )];
    let pages = Router::new()
        .route("/metrics", get(|| async { GO }))
        .route("/native", get(move || async move { (binary, native_page()) }));
    let page = serve(pages).await;
    let Some(running) = start(page) else {
        eprintln!("no prometheus is installed: nothing was tried");
        return;
    };
    let url = format!("https://127.0.0.1:{}/metrics-of-all/", running.port);
    let auth = Auth::Basic { user: "alice".to_owned(), password: "test".to_owned() };
    let prometheus = Prometheus { url, auth, headers: vec![] };

    // Two jobs scrape this page: it counts once.
    let (detected, values) = read(&prometheus, "shop", &pods(&["cart-1"])).await;
    assert_eq!(totals(&values).requests, 122.0);
    assert_eq!(totals(&values).errors, 3.0);
    assert_eq!(totals(&values).le[&Bound::new(0.1).expect("a number")], 113.0);

    let (native, values) = read(&prometheus, "shop", &pods(&["native-1"])).await;
    assert!(
        native.sentence().contains("latency from http_server_request_duration_seconds (native histogram)")
    );
    let found = totals(&values);
    let within = |seconds: f64| found.le.get(&Bound::new(seconds).expect("a number")).copied();
    assert_eq!((found.requests, found.errors), (8.0, 0.0));
    assert_eq!(
        [within(0.2), within(0.25), within(1.0), within(2.0), within(f64::INFINITY)],
        [Some(0.0), Some(6.0), Some(6.0), Some(8.0), Some(8.0)]
    );

    let (own, values) = read(&prometheus, "monitoring", &pods(&["prometheus-0"])).await;
    assert!(own.sentence().starts_with("requests from prometheus_http_requests_total"), "{}", own.sentence());
    assert!(own.has_latency(), "{}", own.sentence());
    let found = totals(&values);
    assert!(found.requests > 0.0 && found.le[&Bound::INFINITE] > 0.0, "{found:?}");

    let client = client(Trust::Only(CERTIFICATE.to_vec()), &Reach::anywhere()).expect("a client");
    let instant = async |query: &str| {
        let found = prometheus
            .instant(Asking::alone(&client), round(), query)
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(found.iter().map(|number| number.value).collect::<Vec<_>>())
    };
    assert_eq!(
        instant(r#"count by (pod) (up{namespace="shop"} >= 0)"#).await.map(|found| found.len()),
        Ok(2)
    );
    assert_eq!(instant("scalar(vector(0.5))").await, Ok(vec![0.5]));
    assert_eq!(instant("1 / vector(0)").await, Ok(vec![f64::INFINITY]));
    assert_eq!(instant("nowhere").await, Ok(Vec::new()));
    let said = instant("sum(").await.expect_err("no query");
    assert!(said.contains("parse error") && said.ends_with("correct the query"), "{said}");
    let said = instant("up[1m]").await.expect_err("no numbers");
    assert!(said.starts_with("the query gives a range"), "{said}");
    let said = instant("http_server_request_duration_seconds").await.expect_err("no numbers");
    assert!(said.starts_with("the query gives native histograms"), "{said}");

    let round = round();
    let stretch = Stretch { from: round.now - 20, to: round.now };
    for query in ["0.5 # half", "vector(0.5)"] {
        let query = prometheus
            .over_time(Asking::alone(&client), query, round.now, round.deadline)
            .await
            .expect(query);
        let earlier = prometheus
            .earlier(Asking::alone(&client), &query, stretch, 5, round.deadline, MOST_SAMPLES)
            .await
            .expect("a past");
        let moments = earlier.moments();
        assert_eq!(moments.len(), 4, "{moments:?}");
        let half = |numbers: &Vec<(_, f64)>| numbers.iter().map(|(_, value)| *value).eq([0.5]);
        assert!(moments.values().all(|read| read.as_ref().is_ok_and(half)), "{moments:?}");
    }

    let wrong = Prometheus { auth: Auth::Nobody, ..prometheus };
    let asker = asker("shop", &pods(&["cart-1"]), &detected);
    let refused = Err(ReadError::Status { asked: Asked::Prometheus, status: 401 });
    assert_eq!(wrong.read(&client, round, &[asker]).await[0][0].1, refused);
}
