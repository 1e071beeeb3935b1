//! What a request is for, by its path: each kind of fault is to befall each purpose (`reach::pairs`).

use super::Request;
use crate::network::Purpose;

/// What it is for.
pub fn of(request: &Request) -> Purpose {
    let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let is_read = request.method == http::Method::GET;
    let watches = || request.query.split('&').any(|part| part == "watch=true");
    match resource(&segments) {
        ["leases", ..] => Purpose::Lease,
        [_] if is_read && watches() => Purpose::Watch,
        [_] if is_read => Purpose::List,
        _ if is_read => Purpose::Get,
        ["releases", _, "status"] => Purpose::Status,
        ["deployments", ..] => Purpose::Deployment,
        ["controllerrevisions", ..] => Purpose::Kept,
        ["jobs", ..] => Purpose::Job,
        ["pods", ..] => Purpose::Pod,
        ["releasereports", ..] => Purpose::Record,
        ["events", ..] => Purpose::Event,
        _ => Purpose::Other,
    }
}

/// The kind, and what of it: a path without its group, version and namespace.
fn resource<'p, 's>(segments: &'p [&'s str]) -> &'p [&'s str] {
    let of_group = match segments {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    match of_group {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::server::Who;

    fn purpose(method: http::Method, path: &str, query: &str) -> Purpose {
        of(&Request {
            who: Who::Operator(0),
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            content_type: String::new(),
            metadata_only: false,
            body: Bytes::new(),
            patch: None,
        })
    }

    #[test]
    fn what_is_read_is_a_list_a_watch_or_one_object() {
        let read = |path, query| purpose(http::Method::GET, path, query);
        assert_eq!(read("/api/v1/pods", "limit=500"), Purpose::List);
        assert_eq!(read("/api/v1/namespaces/shop/pods", ""), Purpose::List);
        assert_eq!(read("/apis/apps/v1/deployments", "watch=true&limit=500"), Purpose::Watch);
        assert_eq!(read("/apis/apps/v1/namespaces/shop/deployments/shop", ""), Purpose::Get);
        assert_eq!(read("/api/v1/namespaces/shop/pods/shop-1/log", ""), Purpose::Get);
        assert_eq!(read("/apis/batch/v1", ""), Purpose::Get);
    }

    #[test]
    fn what_is_written_is_told_apart_by_its_kind_and_the_lease_is_always_the_lease() {
        let release = "/apis/tidegate.dev/v1alpha1/namespaces/shop/releases/shop/status";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases/tidegate";
        for (method, path, expected) in [
            (http::Method::PATCH, release, Purpose::Status),
            (http::Method::PATCH, "/apis/apps/v1/namespaces/shop/deployments/shop", Purpose::Deployment),
            (http::Method::POST, "/apis/apps/v1/namespaces/shop/controllerrevisions", Purpose::Kept),
            (http::Method::POST, "/apis/batch/v1/namespaces/shop/jobs", Purpose::Job),
            (http::Method::DELETE, "/api/v1/namespaces/shop/pods/shop-1", Purpose::Pod),
            (http::Method::POST, "/apis/events.k8s.io/v1/namespaces/shop/events", Purpose::Event),
            (http::Method::PATCH, "/api/v1/namespaces/shop/configmaps/flags", Purpose::Other),
            (http::Method::PUT, lease, Purpose::Lease),
            (http::Method::GET, lease, Purpose::Lease),
        ] {
            assert_eq!(purpose(method, path, ""), expected, "{path}");
        }
    }
}
