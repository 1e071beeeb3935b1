use std::future::IntoFuture;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Redirect;
use axum::routing::get;
use tidegate::observe::measure::names::Names;
use tidegate::observe::measure::scrape::{Target, detect, scrape};
use tidegate::observe::measure::{ReadError, Trust, client};

use super::{GO, PROM_CLIENT, chosen, totals};

const DEADLINE: Duration = Duration::from_secs(5);
const OPEN_METRICS: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")];

/// Serves on a free port until the test ends.
pub async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(axum::serve(listener, router).into_future());
    port
}

fn target(port: u16, path: &str) -> Target {
    Target { pod: format!("pod{path}"), ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port, path: path.to_owned() }
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
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let nobody = free.local_addr().expect("an address").port();
    drop(free);

    let detected = chosen(&Names::default(), GO).expect("fits");
    let client = client(Trust::Nothing).expect("a client");
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
    assert_eq!(answers[5].1, Err(ReadError::Status(503)));
    assert_eq!(answers[6].1, Err(ReadError::Status(307)));
    for packed_or_not in [7, 8] {
        assert_eq!(answers[packed_or_not].1, Err(ReadError::TooLarge { limit: 4 << 20 }));
    }
    assert_eq!(
        answers[0].1.clone().map_err(|error| error.to_string()),
        Err("no answer within 1500 ms".to_owned())
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
    let client = client(Trust::Nothing).expect("a client");
    let seen = async |paths: &[&str]| {
        let targets: Vec<_> = paths.iter().map(|path| target(port, path)).collect();
        detect(&client, &targets, &Names::default(), DEADLINE, 8).await
    };
    assert_eq!(seen(&["/broken", "/idle", "/go"]).await, Ok(chosen(&Names::default(), GO).expect("fits")));
    assert_eq!(seen(&["/broken", "/idle"]).await, Err(ReadError::NoCounter { series: 1 }));
    assert_eq!(seen(&["/broken"]).await, Err(ReadError::Status(503)));
    assert_eq!(seen(&[]).await, Err(ReadError::NoCounter { series: 0 }));
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
    let client = client(Trust::Nothing).expect("a client");
    let detected = chosen(&Names::default(), GO).expect("fits");
    for path in ["metrics?name=a&b=c", "/x/../metrics", "@example.com/", "//example.com/", ""] {
        let answers = scrape(&client, &[target(port, path)], &detected, DEADLINE, 1).await;
        assert!(answers[0].1.is_ok(), "{path}: {answers:?}");
    }
}
