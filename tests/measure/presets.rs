//! What is chosen, and counted, on the pages that common libraries and proxies show with nothing configured.

use tidegate::decide::judge::Bound;
use tidegate::observe::measure::names::Names;

use super::{chosen, totals, values};

struct Case {
    /// Who shows such a page.
    of: &'static str,
    page: &'static str,
    /// The counter and its label, the histogram, and which label tells paths.
    taken: (&'static str, &'static str, Option<&'static str>, Option<&'static str>),
    requests: f64,
    errors: f64,
    /// A bound in seconds, and the requests within it.
    le: Option<(f64, f64)>,
}

const CASES: &[Case] = &[
    Case {
        of: "OpenTelemetry without units in names",
        page: r#"
http_server_request_duration_bucket{http_request_method="GET",http_response_status_code="200",http_route="/cart",le="0.25"} 6
http_server_request_duration_bucket{http_request_method="GET",http_response_status_code="200",http_route="/cart",le="+Inf"} 7
http_server_request_duration_count{http_request_method="GET",http_response_status_code="200",http_route="/cart"} 7
http_server_request_duration_count{http_request_method="GET",error_type="timeout",http_route="/cart"} 1
http_server_request_duration_count{http_request_method="GET",http_response_status_code="503",error_type="503",http_route="/cart"} 2
"#,
        taken: (
            "http_server_request_duration_count",
            "http_response_status_code",
            Some("http_server_request_duration"),
            Some("http_route"),
        ),
        requests: 10.0,
        errors: 3.0,
        le: Some((0.25, 6.0)),
    },
    Case {
        of: "OpenTelemetry, old names",
        page: r#"
http_server_duration_milliseconds_bucket{http_method="GET",http_status_code="200",net_host_name="a",le="250"} 5
http_server_duration_milliseconds_count{http_method="GET",http_status_code="200",net_host_name="a"} 6
http_server_duration_milliseconds_count{http_method="GET",http_status_code="500",net_host_name="a"} 1
"#,
        taken: (
            "http_server_duration_milliseconds_count",
            "http_status_code",
            Some("http_server_duration_milliseconds"),
            None,
        ),
        requests: 7.0,
        errors: 1.0,
        le: Some((0.25, 5.0)),
    },
    Case {
        of: "OpenTelemetry, old names without units",
        page: r#"
http_server_duration_bucket{http_status_code="200",http_target="/healthz",le="250"} 500
http_server_duration_count{http_status_code="200",http_target="/healthz"} 500
http_server_duration_bucket{http_status_code="200",http_target="/cart",le="250"} 5
http_server_duration_count{http_status_code="200",http_target="/cart"} 6
"#,
        taken: (
            "http_server_duration_count",
            "http_status_code",
            Some("http_server_duration"),
            Some("http_target"),
        ),
        requests: 6.0,
        errors: 0.0,
        le: Some((0.25, 5.0)),
    },
    Case {
        of: "Ktor",
        page: r#"
ktor_http_server_requests_seconds_bucket{address="x:8080",method="GET",route="/greet",status="200",throwable="n/a",le="0.1"} 3
ktor_http_server_requests_seconds_count{address="x:8080",method="GET",route="/greet",status="200",throwable="n/a"} 4
ktor_http_server_requests_seconds_count{address="x:8080",method="GET",route="/greet",status="500",throwable="X"} 2
ktor_http_server_requests_seconds_count{address="x:8080",method="GET",route="/metrics",status="200",throwable="n/a"} 70
"#,
        taken: (
            "ktor_http_server_requests_seconds_count",
            "status",
            Some("ktor_http_server_requests_seconds"),
            Some("route"),
        ),
        requests: 6.0,
        errors: 2.0,
        le: Some((0.1, 3.0)),
    },
    Case {
        of: "prometheus-fastapi-instrumentator",
        page: r#"
http_requests_total{handler="/items",method="GET",status="2xx"} 40
http_requests_total{handler="/items",method="GET",status="5xx"} 3
http_requests_total{handler="/metrics",method="GET",status="2xx"} 900
http_request_size_bytes_count{handler="/items"} 43
http_request_duration_highr_seconds_bucket{le="0.1"} 940
http_request_duration_highr_seconds_count 943
http_request_duration_seconds_bucket{handler="/items",le="0.1",method="GET"} 41
http_request_duration_seconds_count{handler="/items",method="GET"} 43
"#,
        taken: ("http_requests_total", "status", Some("http_request_duration_seconds"), Some("handler")),
        requests: 43.0,
        errors: 3.0,
        le: Some((0.1, 41.0)),
    },
    Case {
        of: "starlette_exporter",
        page: r#"
starlette_requests_total{app_name="starlette",method="GET",path="/",status_code="200"} 8
starlette_requests_total{app_name="starlette",method="GET",path="/",status_code="502"} 1
starlette_request_duration_seconds_bucket{app_name="starlette",le="0.1",method="GET",path="/",status_code="200"} 7
"#,
        taken: (
            "starlette_requests_total",
            "status_code",
            Some("starlette_request_duration_seconds"),
            Some("path"),
        ),
        requests: 9.0,
        errors: 1.0,
        le: Some((0.1, 7.0)),
    },
    Case {
        of: "django-prometheus",
        page: r#"
django_http_requests_before_middlewares_total 57
django_http_responses_total_by_status_total{status="200"} 55
django_http_responses_total_by_status_total{status="500"} 2
django_http_responses_total_by_status_view_method_total{method="GET",status="200",view="cart"} 5
django_http_responses_total_by_status_view_method_total{method="GET",status="500",view="cart"} 2
django_http_responses_total_by_status_view_method_total{method="GET",status="200",view="prometheus-django-metrics"} 50
django_http_requests_latency_seconds_by_view_method_bucket{le="0.1",method="GET",view="cart"} 4
django_http_requests_latency_seconds_by_view_method_bucket{le="0.1",method="GET",view="prometheus-django-metrics"} 50
"#,
        taken: (
            "django_http_responses_total_by_status_view_method_total",
            "status",
            Some("django_http_requests_latency_seconds_by_view_method"),
            Some("view"),
        ),
        requests: 7.0,
        errors: 2.0,
        le: Some((0.1, 4.0)),
    },
    Case {
        of: "prometheus-flask-exporter",
        page: r#"
flask_http_request_duration_seconds_bucket{le="0.1",method="GET",path="/",status="200"} 3
flask_http_request_duration_seconds_count{method="GET",path="/",status="200"} 4
flask_http_request_duration_seconds_count{method="GET",path="/",status="500"} 1
flask_http_request_duration_seconds_count{method="GET",path="/healthz",status="200"} 60
flask_http_request_total{method="GET",status="200"} 64
flask_http_request_total{method="GET",status="500"} 1
flask_http_request_exceptions_total{method="GET",status="500"} 1
"#,
        taken: (
            "flask_http_request_duration_seconds_count",
            "status",
            Some("flask_http_request_duration_seconds"),
            Some("path"),
        ),
        requests: 5.0,
        errors: 1.0,
        le: Some((0.1, 3.0)),
    },
    Case {
        of: "express-prom-bundle",
        page: r#"
up 1
http_request_duration_seconds_bucket{le="0.1",status_code="200",method="GET",path="/cart"} 5
http_request_duration_seconds_count{status_code="200",method="GET",path="/cart"} 6
http_request_duration_seconds_count{status_code="500",method="GET",path="/cart"} 2
"#,
        taken: (
            "http_request_duration_seconds_count",
            "status_code",
            Some("http_request_duration_seconds"),
            Some("path"),
        ),
        requests: 8.0,
        errors: 2.0,
        le: Some((0.1, 5.0)),
    },
    Case {
        of: "prometheus-net",
        page: r#"
http_requests_received_total{code="200",method="GET",controller="Cart",action="Get",endpoint="cart/{id}"} 9
http_requests_received_total{code="503",method="GET",controller="Cart",action="Get",endpoint="cart/{id}"} 1
http_request_duration_seconds_bucket{code="200",method="GET",controller="Cart",action="Get",endpoint="cart/{id}",le="0.128"} 8
http_request_duration_seconds_count{method="GET"} 10
"#,
        taken: (
            "http_requests_received_total",
            "code",
            Some("http_request_duration_seconds"),
            Some("endpoint"),
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.128, 8.0)),
    },
    Case {
        of: "axum-prometheus",
        page: r#"
axum_http_requests_total{method="GET",status="200",endpoint="/cart"} 9
axum_http_requests_total{method="GET",status="500",endpoint="/cart"} 3
axum_http_requests_total{method="GET",status="200",endpoint="/metrics"} 80
axum_http_requests_duration_seconds_bucket{method="GET",status="200",endpoint="/cart",le="0.25"} 8
axum_http_requests_pending{method="GET",endpoint="/cart"} 0
"#,
        taken: (
            "axum_http_requests_total",
            "status",
            Some("axum_http_requests_duration_seconds"),
            Some("endpoint"),
        ),
        requests: 12.0,
        errors: 3.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "actix-web-prom, whose prefix is the user's",
        page: r#"
api_http_requests_duration_seconds_bucket{endpoint="/cart",method="GET",status="200",le="0.25"} 8
api_http_requests_duration_seconds_count{endpoint="/cart",method="GET",status="200"} 9
api_http_requests_total{endpoint="/cart",method="GET",status="200"} 9
api_http_requests_total{endpoint="/cart",method="GET",status="500"} 3
"#,
        taken: (
            "api_http_requests_total",
            "status",
            Some("api_http_requests_duration_seconds"),
            Some("endpoint"),
        ),
        requests: 12.0,
        errors: 3.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "rocket_prometheus",
        page: r#"
rocket_http_requests_total{endpoint="/cart",method="GET",status="200"} 9
rocket_http_requests_total{endpoint="/cart",method="GET",status="503"} 1
rocket_http_requests_duration_seconds_bucket{endpoint="/cart",method="GET",status="200",le="0.25"} 8
"#,
        taken: (
            "rocket_http_requests_total",
            "status",
            Some("rocket_http_requests_duration_seconds"),
            Some("endpoint"),
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "gin",
        page: r#"
gin_requests_total{code="200",handler="main.cart",host="a",method="GET",url="/cart"} 9
gin_requests_total{code="500",handler="main.cart",host="a",method="GET",url="/cart"} 1
gin_requests_total{code="200",handler="main.health",host="a",method="GET",url="/healthz"} 50
gin_request_duration_seconds_bucket{code="200",method="GET",url="/cart",le="0.25"} 8
"#,
        taken: ("gin_requests_total", "code", Some("gin_request_duration_seconds"), Some("handler")),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "echo",
        page: r#"
echo_requests_total{code="200",host="localhost:8080",method="GET",url="/"} 9
echo_requests_total{code="500",host="localhost:8080",method="GET",url="/"} 1
echo_request_duration_seconds_bucket{code="200",host="localhost:8080",method="GET",url="/",le="0.25"} 8
"#,
        taken: ("echo_requests_total", "code", Some("echo_request_duration_seconds"), Some("url")),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "Ruby's prometheus-client",
        page: r#"
http_server_requests_total{code="200",method="get",path="/cart"} 9
http_server_requests_total{code="500",method="get",path="/cart"} 1
http_server_request_duration_seconds_bucket{method="get",path="/cart",le="0.25"} 8
"#,
        taken: (
            "http_server_requests_total",
            "code",
            Some("http_server_request_duration_seconds"),
            Some("path"),
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "gRPC: middlewares for Go and Python",
        page: r#"
grpc_server_handled_total{grpc_code="OK",grpc_method="Get",grpc_service="shop.Cart",grpc_type="unary"} 90
grpc_server_handled_total{grpc_code="NotFound",grpc_method="Get",grpc_service="shop.Cart",grpc_type="unary"} 5
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Get",grpc_service="shop.Cart",grpc_type="unary"} 5
grpc_server_handled_total{grpc_code="OK",grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unary"} 800
grpc_server_handling_seconds_bucket{grpc_method="Get",grpc_service="shop.Cart",grpc_type="unary",le="0.25"} 88
"#,
        taken: ("grpc_server_handled_total", "grpc_code", Some("grpc_server_handling_seconds"), None),
        requests: 100.0,
        errors: 5.0,
        le: Some((0.25, 88.0)),
    },
    Case {
        of: "gRPC: Java, where the label is code",
        page: r#"
grpc_server_handled_total{grpc_type="UNARY",grpc_service="shop.Cart",grpc_method="Get",code="OK"} 9
grpc_server_handled_total{grpc_type="UNARY",grpc_service="shop.Cart",grpc_method="Get",code="INTERNAL"} 1
"#,
        taken: ("grpc_server_handled_total", "code", None, None),
        requests: 10.0,
        errors: 1.0,
        le: None,
    },
    Case {
        of: "gRPC: OpenTelemetry",
        page: r#"
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",rpc_method="Get",rpc_service="shop.Cart",rpc_system="grpc",le="250"} 8
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="0",rpc_method="Get",rpc_service="shop.Cart",rpc_system="grpc"} 9
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="5",rpc_method="Get",rpc_service="shop.Cart",rpc_system="grpc"} 3
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="14",rpc_method="Get",rpc_service="shop.Cart",rpc_system="grpc"} 2
"#,
        taken: (
            "rpc_server_duration_milliseconds_count",
            "rpc_grpc_status_code",
            Some("rpc_server_duration_milliseconds"),
            None,
        ),
        requests: 14.0,
        errors: 2.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "gRPC's own, by OpenTelemetry",
        page: r#"
grpc_server_call_duration_seconds_bucket{grpc_method="shop.Cart/Get",grpc_status="OK",le="0.25"} 8
grpc_server_call_duration_seconds_count{grpc_method="shop.Cart/Get",grpc_status="OK"} 9
grpc_server_call_duration_seconds_count{grpc_method="shop.Cart/Get",grpc_status="DEADLINE_EXCEEDED"} 2
grpc_server_call_duration_seconds_count{grpc_method="grpc.health.v1.Health/Check",grpc_status="OK"} 99
"#,
        taken: (
            "grpc_server_call_duration_seconds_count",
            "grpc_status",
            Some("grpc_server_call_duration_seconds"),
            None,
        ),
        requests: 11.0,
        errors: 2.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "ingress-nginx",
        page: r#"
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",host="a",ingress="shop",method="GET",path="/",status="200"} 9
nginx_ingress_controller_requests{canary="",controller_class="k8s.io/ingress-nginx",host="a",ingress="shop",method="GET",path="/",status="502"} 1
nginx_ingress_controller_request_duration_seconds_bucket{host="a",ingress="shop",method="GET",path="/",status="200",le="0.25"} 8
"#,
        taken: (
            "nginx_ingress_controller_requests",
            "status",
            Some("nginx_ingress_controller_request_duration_seconds"),
            Some("path"),
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "Traefik",
        page: r#"
traefik_entrypoint_requests_total{code="200",entrypoint="traefik",method="GET",protocol="http"} 999
traefik_entrypoint_requests_total{code="200",entrypoint="web",method="GET",protocol="http"} 10
traefik_service_requests_total{code="200",method="GET",protocol="http",service="shop@kubernetes"} 9
traefik_service_requests_total{code="502",method="GET",protocol="http",service="shop@kubernetes"} 1
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="shop@kubernetes",le="0.3"} 8
"#,
        taken: (
            "traefik_service_requests_total",
            "code",
            Some("traefik_service_request_duration_seconds"),
            None,
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.3, 8.0)),
    },
    Case {
        of: "HAProxy",
        page: r#"
haproxy_frontend_http_requests_total{proxy="web"} 10
haproxy_frontend_http_responses_total{proxy="web",code="2xx"} 8
haproxy_frontend_http_responses_total{proxy="web",code="5xx"} 2
haproxy_frontend_http_responses_total{proxy="stats",code="2xx"} 777
"#,
        taken: ("haproxy_frontend_http_responses_total", "code", None, None),
        requests: 10.0,
        errors: 2.0,
        le: None,
    },
    Case {
        of: "Istio's sidecar, gRPC inside HTTP",
        page: r#"
istio_requests_total{reporter="destination",response_code="200",grpc_response_status="0",destination_app="cart"} 9
istio_requests_total{reporter="destination",response_code="200",grpc_response_status="13",destination_app="cart"} 2
istio_requests_total{reporter="source",response_code="503",grpc_response_status="",destination_app="bank"} 50
istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200",le="250"} 8
"#,
        taken: ("istio_requests_total", "response_code", Some("istio_request_duration_milliseconds"), None),
        requests: 11.0,
        errors: 2.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "Linkerd's proxy",
        page: r#"
response_total{direction="inbound",target_addr="10.0.0.1:80",status_code="200",classification="success"} 9
response_total{direction="inbound",target_addr="10.0.0.1:80",status_code="500",classification="failure"} 1
response_total{direction="inbound",target_addr="10.0.0.1:80",status_code="200",grpc_status="14",classification="failure"} 1
response_total{direction="inbound",target_addr="0.0.0.0:4191",status_code="200",classification="success"} 600
response_total{direction="outbound",authority="bank",status_code="500",classification="failure"} 70
response_latency_ms_bucket{direction="inbound",status_code="200",le="200"} 8
"#,
        taken: ("response_total", "status_code", Some("response_latency_ms"), None),
        requests: 11.0,
        errors: 2.0,
        le: Some((0.2, 8.0)),
    },
    Case {
        of: "Envoy as a front",
        page: r#"
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="shop"} 9
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="admin"} 700
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="ingress_http"} 9
envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="ingress_http"} 1
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="ingress_http",le="250"} 8
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="admin",le="250"} 700
"#,
        taken: (
            "envoy_http_downstream_rq_xx",
            "envoy_response_code_class",
            Some("envoy_http_downstream_rq_time"),
            None,
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
    Case {
        of: "Envoy, by its clusters",
        page: r#"
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="local_app"} 9
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="local_app"} 1
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="xds-grpc"} 44
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="outbound|80||bank.shop.svc.cluster.local"} 70
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="local_app",le="250"} 8
"#,
        taken: (
            "envoy_cluster_upstream_rq",
            "envoy_response_code",
            Some("envoy_cluster_upstream_rq_time"),
            None,
        ),
        requests: 10.0,
        errors: 1.0,
        le: Some((0.25, 8.0)),
    },
];

#[test]
fn pages_of_common_libraries_and_proxies_need_no_configuration() {
    for Case { of, page, taken: (counter, label, histogram, path), requests, errors, le } in CASES {
        let detected = chosen(&Names::default(), page).unwrap_or_else(|error| panic!("{of}: {error}"));
        let sentence = detected.sentence();
        assert!(sentence.starts_with(&format!("requests from {counter}")), "{of}: {sentence}");
        assert!(sentence.contains(&format!("errors by its label {label} ")), "{of}: {sentence}");
        match histogram {
            Some(base) => {
                assert!(sentence.contains(&format!("latency from {base}_bucket;")), "{of}: {sentence}")
            }
            None => assert!(sentence.contains("no histogram of latency found"), "{of}: {sentence}"),
        }
        match path {
            Some(label) => {
                assert!(sentence.ends_with(&format!("do not count (label {label})")), "{of}: {sentence}")
            }
            None => assert!(!sentence.contains("(label"), "{of}: {sentence}"),
        }
        let totals = totals(&values(&detected, page));
        assert_eq!((totals.requests, totals.errors), (*requests, *errors), "{of}");
        let told = le.map(|(seconds, _)| {
            let bound = Bound::new(seconds).expect("a number");
            (seconds, totals.le.get(&bound).copied().unwrap_or(f64::NAN))
        });
        assert_eq!(told, *le, "{of}: {:?}", totals.le);
    }
}
