use tidegate::decide::judge::Bound;
use tidegate::observe::measure::counters::Totals;
use tidegate::observe::measure::names::{LatencyMetric, Names, RequestsMetric};

use super::{GO, MICROMETER, OPENTELEMETRY, PROM_CLIENT, chosen, totals, values};

/// Requests, errors, and `bound=count` of each bucket.
fn measured(names: &Names, page: &str) -> (f64, f64, Vec<(Bound, f64)>) {
    let totals = totals(&values(&chosen(names, page).expect("something fits"), page));
    (totals.requests, totals.errors, totals.le.into_iter().collect())
}

fn bound(seconds: f64) -> Bound {
    Bound::new(seconds).expect("a number")
}

fn named(requests: &str, status_label: Option<&str>) -> Names {
    let requests =
        RequestsMetric { name: requests.to_owned(), status_label: status_label.map(str::to_owned) };
    Names { requests: Some(requests), ..Names::default() }
}

#[test]
fn the_pages_of_common_libraries_need_no_configuration() {
    let names = Names::default();
    let cases = [
        (GO, 122.0, 3.0, vec![(bound(0.005), 81.0), (bound(0.1), 113.0), (Bound::INFINITE, 120.0)]),
        (MICROMETER, 104.0, 4.0, vec![(bound(0.1), 94.0), (Bound::INFINITE, 104.0)]),
        (OPENTELEMETRY, 53.0, 3.0, vec![(bound(0.075), 40.0), (Bound::INFINITE, 50.0)]),
        (PROM_CLIENT, 9.0, 1.0, vec![(bound(0.05), 6.0), (Bound::INFINITE, 8.0)]),
    ];
    for (page, requests, errors, le) in cases {
        assert_eq!(measured(&names, page), (requests, errors, le));
    }
}

#[test]
fn the_choice_is_said_in_one_sentence() {
    assert_eq!(
        chosen(&Names::default(), GO).expect("fits").sentence(),
        "requests from http_requests_total, errors by its label code beginning with 5, latency from \
         http_request_duration_seconds_bucket; probes count too: no label tells paths"
    );
    let istio = r#"istio_requests_total{reporter="destination",response_code="503"} 2"#;
    assert_eq!(
        chosen(&Names::default(), istio).expect("fits").sentence(),
        "requests from istio_requests_total where reporter is destination, errors by its label response_code \
         beginning with 5, no histogram of latency found (write the name of one as metrics.latency.name); probes count \
         too: no label tells paths"
    );
}

#[test]
fn a_counter_whose_name_nobody_would_write_is_not_remembered() {
    let page = format!("{}_total 1\nshop_hits_total 2\n", "x".repeat(300));
    let said = chosen(&Names::default(), &page).expect_err("nothing fits");
    assert!(said.ends_with("counters seen: shop_hits_total"), "{said}");
}

#[test]
fn scrapes_of_the_metrics_page_are_never_taken_for_requests() {
    let page = r#"promhttp_metric_handler_requests_total{code="200"} 15724"#;
    assert_eq!(
        chosen(&Names::default(), page),
        Err("no known counter of requests among 1 series; write the name of yours as metrics.requests.name, or send the \
             pods a request"
            .to_owned())
    );
}

#[test]
fn a_counter_that_cannot_tell_errors_is_not_taken() {
    let page = "http_requests_total{path=\"/\"} 7\n";
    assert_eq!(
        chosen(&Names::default(), page),
        Err("http_requests_total has no label that says which requests failed; write its label as \
             metrics.requests.statusLabel, or another counter as metrics.requests.name"
            .to_owned())
    );
    let next = format!("{page}http_request_duration_seconds_count{{status=\"5xx\"}} 3\n");
    assert_eq!(measured(&Names::default(), &next), (3.0, 3.0, vec![]));
}

#[test]
fn a_request_is_counted_on_one_side_only() {
    let page = r#"
istio_requests_total{reporter="source",response_code="500"} 1000
istio_requests_total{reporter="destination",response_code="200",grpc_response_status=""} 90
istio_requests_total{reporter="destination",response_code="503"} 10
istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200",le="35"} 60
istio_request_duration_milliseconds_bucket{reporter="source",response_code="200",le="35"} 600
istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200",le="+Inf"} 90
"#;
    let expected = (100.0, 10.0, vec![(bound(0.035), 60.0), (Bound::INFINITE, 90.0)]);
    assert_eq!(measured(&Names::default(), page), expected);
    let client_only = r#"istio_requests_total{reporter="source",response_code="500"} 1000"#;
    assert!(chosen(&Names::default(), client_only).is_err());
}

#[test]
fn grpc_codes_that_are_the_servers_fault_are_errors() {
    let page = r#"
grpc_server_handled_total{grpc_code="OK",grpc_method="Get"} 100
grpc_server_handled_total{grpc_code="NotFound",grpc_method="Get"} 20
grpc_server_handled_total{grpc_code="Internal",grpc_method="Get"} 3
grpc_server_handled_total{grpc_code="DEADLINE_EXCEEDED",grpc_method="Get"} 4
http_requests_total{code="200",path="/healthz"} 5000
"#;
    assert_eq!(measured(&Names::default(), page), (127.0, 7.0, vec![]));
}

#[test]
fn probes_do_not_count_and_neither_do_paths_the_release_names() {
    let page = r#"
http_requests_total{code="200",path="/"} 1
http_requests_total{code="500",path="/ready/"} 2
http_requests_total{code="500",handler="/metrics"} 4
http_requests_total{code="500",route="/internal/sync"} 8
http_requests_total{code="500",path="/live/stream"} 16
"#;
    assert_eq!(measured(&Names::default(), page), (25.0, 24.0, vec![]));
    let names = Names { ignore_paths: vec!["/internal/*".to_owned()], ..Names::default() };
    assert_eq!(measured(&names, page), (17.0, 16.0, vec![]));
    let mut detected = chosen(&names, page).expect("fits");
    assert!(detected.sentence().ends_with("probes, /metrics, /internal/* do not count (label path)"));
    // What the canary's probes ask for becomes known later.
    detected.ignore(&["/live/stream".to_owned(), "/metrics".to_owned()]);
    assert_eq!(totals(&values(&detected, page)).requests, 1.0);
    assert!(detected.sentence().ends_with("/metrics, /internal/*, /live/stream do not count (label path)"));
}

#[test]
fn names_in_the_release_come_first_however_they_are_spelt() {
    for name in ["http_request_duration_seconds", "http_request_duration_seconds_count"] {
        let (requests, errors, le) = measured(&named(name, None), GO);
        assert_eq!((requests, errors, le.len()), (120.0, 3.0, 3));
    }
    assert_eq!(measured(&named("http_requests", Some("method")), GO).1, 0.0);
    let page =
        "shop_hits_total{kind=\"5xx\"} 2\nshop_hits_total{kind=\"2xx\"} 8\nshop_ms_bucket{le=\"250\"} 9\n";
    let names = Names {
        latency: Some(LatencyMetric { name: "shop_ms_bucket".to_owned() }),
        ..named("shop_hits_total", Some("kind"))
    };
    assert_eq!(measured(&names, page), (10.0, 2.0, vec![(bound(0.25), 9.0)]));
    assert_eq!(
        chosen(&named("shop_hits_total", None), page),
        Err("shop_hits_total has no label that says which requests failed; write its label as \
             metrics.requests.statusLabel, or another counter as metrics.requests.name"
            .to_owned())
    );
    assert_eq!(
        chosen(&named("nope", None), page),
        Err("no series nope among 3 series; correct metrics.requests.name, or send the pods a request; counters seen: \
             shop_hits_total"
            .to_owned())
    );
}

#[test]
fn names_with_dots_are_found_too() {
    let page = r#"
{"http.server.request.duration_seconds_count","http.response.status_code"="500"} 3
{"http.server.request.duration_seconds_bucket","http.response.status_code"="500",le="+Inf"} 3
"#;
    assert_eq!(measured(&Names::default(), page), (3.0, 3.0, vec![(Bound::INFINITE, 3.0)]));
}

#[test]
fn a_series_has_the_same_identity_in_whatever_order_its_labels_come() {
    let detected = chosen(&Names::default(), "http_requests_total{code=\"200\",a=\"b\"} 1").expect("fits");
    let identity = |line: &str| values(&detected, line)[0].series;
    let one = identity("http_requests_total{code=\"200\",a=\"b\"} 1");
    assert_eq!(one, identity("http_requests_total{a=\"b\",code=\"200\",} 7"));
    assert_ne!(one, identity("http_requests_total{code=\"b\",a=\"200\"} 1"));
    assert_ne!(one, identity("http_requests_total{code=\"200\"} 1"));
}

#[test]
fn a_word_that_is_no_status_does_not_make_a_counter_tell_errors() {
    let page = "http_requests_total{status=\"done\"} 7\n";
    let error = chosen(&Names::default(), page).expect_err("nothing tells errors");
    assert!(error.contains("statusLabel"), "{error}");
    let words = format!("{page}http_requests_total{{status=\"error\"}} 2\n");
    assert_eq!(measured(&Names::default(), &words), (9.0, 2.0, vec![]));
}

#[test]
fn when_nothing_fits_a_few_counters_that_are_there_are_named() {
    let page = "jobs_done_total 3\norders_placed_total 2\nshop_web_requests_total{result=\"x\"} 5\ngo_goroutines 8\n";
    assert_eq!(
        chosen(&Names::default(), page),
        Err("no known counter of requests among 4 series; write the name of yours as metrics.requests.name, or send the \
             pods a request; counters seen: shop_web_requests_total, jobs_done_total, orders_placed_total"
            .to_owned())
    );
    let counter_only = "http_requests_total{code=\"200\"} 1\nshop_wait_seconds_bucket{le=\"+Inf\"} 1\n";
    let sentence = chosen(&Names::default(), counter_only).expect("fits").sentence();
    let wanted = "no histogram of latency found (write the name of one as metrics.latency.name; there are \
                  shop_wait_seconds_bucket)";
    assert!(sentence.contains(wanted), "{sentence}");
}

#[test]
fn a_prefix_of_the_users_is_found_when_only_one_counter_has_it() {
    let page = r#"
shop_http_requests_total{status="500"} 2
shop_http_requests_total{status="200"} 8
shop_http_requests_duration_seconds_count{status="200"} 8
shop_http_requests_duration_seconds_bucket{status="200",le="0.5"} 7
payment_client_http_requests_total{status="500"} 99
"#;
    assert_eq!(measured(&Names::default(), page), (10.0, 2.0, vec![(bound(0.5), 7.0)]));
    let two = format!("{page}legacy_http_requests_total{{status=\"200\"}} 1\n");
    assert_eq!(
        chosen(&Names::default(), &two),
        Err("several counters may be the requests: legacy_http_requests_total, shop_http_requests_total; write one of \
             them as metrics.requests.name"
            .to_owned())
    );
}

#[test]
fn a_status_label_that_no_series_has_is_told_and_not_taken_for_no_errors() {
    let page = "shop_calls_total{status=\"500\"} 2\nshop_calls_total{status=\"200\"} 8\n";
    assert_eq!(
        chosen(&named("shop_calls_total", Some("staus")), page),
        Err("shop_calls_total has no label staus here, so nobody can tell which requests failed; write the label that \
             holds their status as metrics.requests.statusLabel, or another counter as metrics.requests.name"
            .to_owned())
    );
    assert_eq!(measured(&named("shop_calls_total", Some("status")), page), (10.0, 2.0, vec![]));
}

#[test]
fn requests_of_series_without_the_status_label_are_neither_good_nor_failed() {
    let old = "http_requests_total{code=\"200\"} 8\nhttp_requests_total{code=\"500\"} 1\n";
    let detected = chosen(&Names::default(), old).expect("fits");
    let counted = |page: &str| {
        let Totals { requests, errors, untold, le: _ } = totals(&values(&detected, page));
        (requests, errors, untold)
    };
    assert_eq!(counted(old), (9.0, 1.0, 0.0));
    // The new version's library calls the label otherwise.
    let new = "http_requests_total{status=\"500\"} 90\nhttp_requests_total{status=\"200\"} 10\n";
    assert_eq!(counted(new), (100.0, 0.0, 100.0));
    // Of requests that ended without an answer some libraries know no status, and OpenTelemetry what went wrong.
    let mixed =
        format!("{old}http_requests_total{{code=\"\"}} 2\nhttp_requests_total{{error_type=\"timeout\"}} 3\n");
    assert_eq!(counted(&mixed), (14.0, 4.0, 2.0));
}

#[test]
fn words_of_a_status_label_are_told_so_that_those_that_are_not_known_show() {
    let page = "shop_calls_total{result=\"ok\"} 8\nshop_calls_total{result=\"KO\"} 1\nshop_calls_total{result=\"refused\"} 2\n";
    let detected = chosen(&named("shop_calls_total", Some("result")), page).expect("fits");
    assert_eq!(totals(&values(&detected, page)).errors, 1.0);
    let sentence = detected.sentence();
    let wanted =
        "errors by its label result beginning with 5 or a word for an error (it holds KO, ok, refused)";
    assert!(sentence.contains(wanted), "{sentence}");
}
