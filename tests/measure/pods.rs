use std::future::IntoFuture;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Redirect;
use axum::routing::get;
use tidegate::observe::measure::names::{Detected, Names};
use tidegate::observe::measure::scrape::{Pages, Target, detect, scrape_all};
use tidegate::observe::measure::{Asked, ReadError, SeriesValue, Trust, client};
use tidegate::observe::reach::Reach;

use super::{GO, PROM_CLIENT, chosen, totals};

const DEADLINE: Duration = Duration::from_secs(5);
const OPEN_METRICS: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")];

/// A port at which nobody listens. It stays taken while the tests run: at one that was free a moment ago another test may listen the next.
pub fn deaf() -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    Box::leak(Box::new(socket)).local_addr().expect("an address").port()
}

/// Serves on a free port until the test ends.
pub async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(axum::serve(listener, router).into_future());
    port
}

/// The chosen series of each target.
pub async fn scrape(
    from: &dyn Pages,
    targets: &[Target],
    detected: &Detected,
    deadline: Duration,
    at_once: usize,
) -> Vec<(String, Result<Vec<SeriesValue>, ReadError>)> {
    let read = scrape_all(from, targets, Some(detected), &[], deadline, at_once).await;
    read.into_iter().map(|(pod, page)| (pod, page.and_then(|page| page.counted))).collect()
}

fn target(port: u16, path: &str) -> Target {
    Target {
        namespace: "shop".to_owned(),
        pod: format!("pod{path}"),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        path: path.to_owned(),
    }
}

/// 6.8 MB of samples in 20 kB.
const BOMB: &[u8] = include_bytes!("pages/bomb.txt.gz");

#[tokio::test]
async fn each_pod_is_read_or_has_its_own_error() {
    let router = Router::new()
        .route("/go", get(|| async { GO }))
        .route("/idle", get(|| async { "go_goroutines 5\n" }))
        .route("/html", get(|| async { "<html><body>It works</body></html>" }))
        .route("/open", get(|| async { (OPEN_METRICS, PROM_CLIENT) }))
        .route("/cut", get(|| async { (OPEN_METRICS, "http_requests_total{code=\"200\"} 1\n") }))
        .route("/broken", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/away", get(|| async { Redirect::temporary("/go") }))
        .route("/big", get(|| async { "http_requests_total{code=\"200\"} 1\n".repeat(200_000) }))
        .route("/bomb", get(|| async { ([(header::CONTENT_ENCODING, "gzip")], BOMB) }))
        .route("/slow", get(|| async { std::future::pending::<&str>().await }));
    let port = serve(router).await;
    let nobody = deaf();

    let detected = chosen(&Names::default(), GO).expect("fits");
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let paths = ["/slow", "/go", "/idle", "/html", "/cut", "/broken", "/away", "/big", "/bomb", "/nothing"];
    let mut targets: Vec<_> = paths.iter().map(|path| target(port, path)).collect();
    targets.push(Target { pod: "nobody".to_owned(), port: nobody, ..target(port, "/") });
    targets.push(Target {
        pod: "six".to_owned(),
        ip: IpAddr::V6(Ipv6Addr::LOCALHOST),
        ..target(nobody, "/")
    });

    let answers = scrape(&client, &targets, &detected, Duration::from_millis(1500), 4).await;
    let pods: Vec<_> = answers.iter().map(|(pod, _)| pod.as_str()).collect();
    assert_eq!(pods, targets.iter().map(|target| target.pod.as_str()).collect::<Vec<_>>());
    let categories: Vec<_> = answers
        .iter()
        .map(|(_, answer)| {
            answer
                .as_ref()
                .map_or_else(|error| error.category().to_owned(), |values| format!("{} series", values.len()))
        })
        .collect();
    assert_eq!(
        categories,
        [
            "timeout",
            "9 series",
            "0 series",
            "not_metrics",
            "not_metrics",
            "status",
            "status",
            "too_large",
            "too_large",
            "status",
            "refused",
            "refused"
        ]
    );
    assert_eq!(answers[5].1, Err(ReadError::Status { asked: Asked::Pod, status: 503 }));
    assert_eq!(answers[6].1, Err(ReadError::Status { asked: Asked::Pod, status: 307 }));
    for packed_or_not in [7, 8] {
        assert_eq!(answers[packed_or_not].1, Err(ReadError::TooLarge { asked: Asked::Pod, limit: 4 << 20 }));
    }
    assert_eq!(
        answers[0].1.clone().map_err(|error| error.to_string()),
        Err("no answer within 1500 ms; is metrics.pods.port the port of the metrics page?".to_owned())
    );

    let open = scrape(
        &client,
        &[target(port, "/open")],
        &chosen(&Names::default(), PROM_CLIENT).expect("fits"),
        DEADLINE,
        0,
    )
    .await;
    assert_eq!(totals(open[0].1.as_ref().expect("a page")).requests, 9.0);
}

#[tokio::test]
async fn names_are_detected_over_several_pods() {
    let router = Router::new()
        .route("/go", get(|| async { GO }))
        .route("/idle", get(|| async { "go_goroutines 5\n" }))
        .route("/broken", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let port = serve(router).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let seen = async |paths: &[&str]| {
        let targets: Vec<_> = paths.iter().map(|path| target(port, path)).collect();
        detect(&client, &targets, &Names::default(), DEADLINE, 8).await
    };
    assert_eq!(seen(&["/broken", "/idle", "/go"]).await, Ok(chosen(&Names::default(), GO).expect("fits")));
    assert_eq!(
        seen(&["/broken", "/idle"]).await,
        Err(ReadError::NoCounter { series: 1, seen: String::new() })
    );
    assert_eq!(seen(&["/broken"]).await, Err(ReadError::Status { asked: Asked::Pod, status: 503 }));
    assert_eq!(seen(&[]).await, Err(ReadError::NoCounter { series: 0, seen: String::new() }));
}

#[tokio::test]
async fn both_formats_are_asked_for_and_a_path_cannot_become_a_host() {
    let echo = |uri: axum::http::Uri, headers: HeaderMap| async move {
        let accepted =
            headers[header::ACCEPT].to_str().expect("text").contains("application/openmetrics-text");
        assert!(accepted && headers[header::ACCEPT_ENCODING] == "gzip");
        format!("http_requests_total{{code=\"200\",uri=\"{uri}\"}} 1\n")
    };
    let port = serve(Router::new().fallback(echo)).await;
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let detected = chosen(&Names::default(), GO).expect("fits");
    for path in ["metrics?name=a&b=c", "/x/../metrics", "@example.com/", "//example.com/", ""] {
        let answers = scrape(&client, &[target(port, path)], &detected, DEADLINE, 1).await;
        assert!(answers[0].1.is_ok(), "{path}: {answers:?}");
    }
}

/// Answers every connection with these bytes and closes it: what axum would never send.
async fn raw(answer: Vec<u8>) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = connection.read(&mut request).await;
            // Fails when the reader has had enough.
            let _sent = connection.write_all(&answer).await;
            let _shut = connection.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn what_is_no_page_of_metrics_says_what_to_write() {
    let counter = "http_requests_total{code=\"200\"} 12";
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n");
    let many: String =
        (0..20_001).map(|id| format!("http_requests_total{{code=\"200\",user=\"{id}\"}} 1\n")).collect();
    let cases: [(String, &str); 10] = [
        (
            head("content-type: text/html\r\n") + "<!DOCTYPE html>\n<html>sign in</html>\n",
            "not a metrics page: it is an HTML page; write where the page is as metrics.pods.port and metrics.pods.path",
        ),
        (
            head("content-type: application/json\r\n") + "{\"status\":\"up\"}\n",
            "not a metrics page: it is JSON; write where the page is as metrics.pods.port and metrics.pods.path",
        ),
        (
            head("connection: close\r\n") + counter,
            "not a metrics page: it was cut off within a line: what is left of its last value would look like a restart; \
             write where the page is as metrics.pods.port and metrics.pods.path",
        ),
        (
            head("content-length: 500\r\n") + counter,
            "the answer broke off: end of file before message length reached; it is read again in the next round",
        ),
        (
            head("") + "http_requests_total{code=\"200\"} NaN\nhttp_requests_total{code=\"500\"} -1\n",
            "http_requests_total is NaN, which no counter can be; write the name of another as metrics.requests.name",
        ),
        (
            head("content-length: 52428800\r\n"),
            "answer larger than 4 MiB; drop a label from the page's largest metric, or use metrics.prometheus",
        ),
        (head("") + &many, "more than 20000 series of the chosen metrics on one pod; drop a label from them"),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
            "answered with status 404; write where the page is as metrics.pods.port and metrics.pods.path",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\n\r\n".to_owned(),
            "answered with status 401; pages are read without credentials: let the operator read it, or use \
             metrics.prometheus",
        ),
        // A page under a name that no metrics have is a page all the same, and what is no number is left out.
        (
            head("content-type: application/octet-stream\r\n")
                + "http_requests_total{code=\"200\"} 3\nhttp_requests_total{code=\"500\"} +Inf\n",
            "1 series",
        ),
    ];
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\"} 1").expect("fits");
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    for (answer, expected) in cases {
        let port = raw(answer.into_bytes()).await;
        let answers = scrape(&client, &[target(port, "/")], &detected, DEADLINE, 1).await;
        let said = match &answers[0].1 {
            Ok(values) => format!("{} series", values.len()),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn fifty_megabytes_are_not_read_to_their_end() {
    let line = "http_requests_total{code=\"200\"} 1\n";
    let page = line.repeat((50 << 20) / line.len());
    let port = raw(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{page}").into_bytes()).await;
    let detected = chosen(&Names::default(), GO).expect("fits");
    let client = client(Trust::Nothing, &Reach::anywhere()).expect("a client");
    let answers = scrape(&client, &[target(port, "/")], &detected, DEADLINE, 1).await;
    assert_eq!(answers[0].1, Err(ReadError::TooLarge { asked: Asked::Pod, limit: 4 << 20 }));
}
