//! What the API server answers to checks that ask it for objects: any object, backups, and what is in Secrets and ConfigMaps.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tidegate::api::check::object::{BackupCheck, ObjectCheck};
use tidegate::api::check::{ConfigCheck, ConfigKey, ConfigObject, OtherKey};
use tidegate::decide::objects::{Objects, Which};
use tidegate::decide::plan::Question;
use tidegate::decide::promotion;
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::{About, Probe};
use tidegate::observe::measure::servers::Servers;
use tidegate::observe::measure::{self, Trust};
use tidegate::observe::probes::{self, Means};
use tidegate::observe::reach::Reach;

use super::answers::awaited;
use super::people::{MARK, kept_secret};
use super::split;

/// Letters of any sentence that is told of them, but for names that the API server bounds.
const LONGEST: usize = 2048;

/// Asks once, for the namespace `shop`.
pub(super) async fn asked(
    client: &Client,
    reach: &Reach,
    question: Question,
    about: About,
    now: Timestamp,
) -> (ProbeResult, String) {
    let pages = measure::client(Trust::Nothing, reach).expect("a client");
    let servers = Servers::within(reach.clone());
    let means = Means { client, reach, pages: &pages, servers: &servers };
    let probe = Probe {
        id: ProbeId { run: "r1".to_owned(), check: "it".to_owned(), attempt: 1, definition: None },
        question,
        timeout: Duration::from_secs(60),
        pods: Vec::new(),
        about,
    };
    probes::ask(means, "shop", &probe, now).await
}

/// An API server that gives every question the answer that this makes of its path.
fn cluster(answer: impl Fn(&str) -> (StatusCode, Vec<u8>) + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (status, body) = answer(request.uri().path());
        let mut response = http::Response::new(Body::from(body));
        *response.status_mut() = status;
        async move { Ok::<_, std::io::Error>(response) }
    });
    Client::new(service, "shop")
}

/// An `object` or a `backup` check, a line break, a status, a line break, and what the API server answers.
pub fn objects(data: &[u8]) {
    let (check, answer) = split(data);
    let (status, body) = split(answer);
    let status = StatusCode::from_bytes(status).unwrap_or_default();
    let understood = match serde_json::from_slice::<ObjectCheck>(check) {
        Ok(check) => Objects::of(&check),
        Err(_) => match serde_json::from_slice::<BackupCheck>(check) {
            Ok(check) => Objects::of_backup(&check),
            Err(_) => return,
        },
    };
    let objects = match understood {
        Ok(objects) => objects,
        Err((field, problem)) => {
            assert!(field.is_empty() || field.starts_with('.'), "{field}");
            return assert!(!problem.is_empty() && problem.chars().count() < 300, "{problem}");
        }
    };
    // As many letters as the API server lets through.
    if matches!(&objects.which, Which::Labelled(labels) if labels.chars().count() > 512) {
        return;
    }
    let now = Timestamp::from_second(1_795_000_000).expect("a moment");
    let reach = Reach::anywhere();
    let (result, said) = awaited(async {
        let answer = body.to_vec();
        let client = cluster(move |_| (status, answer.clone()));
        asked(&client, &reach, Question::Objects(Box::new(objects.clone())), About::Nothing, now).await
    });
    let found: Value = serde_json::from_slice(body).unwrap_or_default();
    let names = found["items"].as_array().into_iter().flatten().chain([&found]);
    let name = |object: &Value| object["metadata"]["name"].as_str().map_or(0, |name| name.chars().count());
    let longest = LONGEST + names.map(name).max().unwrap_or_default();
    assert!(!said.is_empty() && said.chars().count() <= longest, "{said}");
    // It is said of what panics on a thread of its own.
    assert_ne!(said, "it could not be evaluated");
    match status.as_u16() {
        200 => {}
        400 | 404 => assert_ne!(result, ProbeResult::Passed, "{said}"),
        _ => assert_eq!(result, ProbeResult::Unknown, "an outage says nothing of objects: {said}"),
    }
    if result == ProbeResult::Passed {
        let is_there = match &objects.which {
            Which::Named(_) => found.is_object(),
            Which::Labelled(_) => found["items"].as_array().is_some_and(|items| !items.is_empty()),
        };
        assert!(is_there, "{said}");
    }
    in_any_order(&objects, found, now);
    listed(status, body, now);
}

/// The same as pages of a list that is read to its end.
fn listed(status: StatusCode, body: &[u8], now: Timestamp) {
    let wanted = promotion::Wanted {
        others: promotion::Others::Named(None),
        namespace: Some("staging".into()),
        soak: Duration::from_secs(3600),
    };
    let subject = promotion::Subject {
        namespace: "shop".into(),
        release: "checkout".into(),
        images: vec!["shop@sha256:11".into()],
    };
    let reach = Reach::anywhere();
    let (result, said) = awaited(async {
        let body = body.to_vec();
        let client = cluster(move |_| (status, body.clone()));
        asked(&client, &reach, Question::Promotion(wanted), About::Images(subject), now).await
    });
    assert!(!said.is_empty(), "something is said");
    assert!(status == StatusCode::OK || result != ProbeResult::Passed, "{said}");
}

/// What the same objects say does not hang on the order in which they come, where something tells each from the others.
fn in_any_order(objects: &Objects, mut found: Value, now: Timestamp) {
    let items = found.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    let (Which::Labelled(_), Some(items)) = (&objects.which, items) else { return };
    let order = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("creationTimestamp"), text("name"))
    };
    let mut orders: Vec<_> = items.iter().map(order).collect();
    orders.sort();
    orders.dedup();
    // What loops over an object's fields has no order to keep to.
    let debug = format!("{objects:?}");
    if orders.len() < items.len() || debug.contains(".map(") || debug.contains(".filter(") {
        return;
    }
    let turned = items.iter().rev().cloned().collect();
    assert_eq!(objects.judged("shop", items, now), objects.judged("shop", turned, now));
}

/// Whether the API server lets it through, and it is not much to do.
fn is_let_through(check: &ConfigCheck) -> bool {
    let is_short = |text: &str, most: usize| text.chars().count() <= most;
    let is_key = |key: &ConfigKey| {
        let ConfigKey { key, pattern, min_length: _, allow_placeholder: _, differs_from } = key;
        let is_other = |OtherKey { namespace, name, key }: &OtherKey| {
            is_short(namespace, 63) && [name, key].into_iter().flatten().all(|text| is_short(text, 253))
        };
        is_short(key, 253)
            && pattern.as_ref().is_none_or(|pattern| is_short(pattern, 256))
            && differs_from.as_ref().is_none_or(is_other)
    };
    let is_object = |object: &ConfigObject| {
        is_short(&object.name, 253) && object.keys.len() <= 4 && object.keys.iter().all(is_key)
    };
    check.secrets.len() + check.config_maps.len() <= 4
        && check.secrets.iter().chain(&check.config_maps).all(is_object)
}

/// A `config` check, a line break, and what is in every key that it names, with a mark in the place of the first line break: no answer tells it.
/// The same bytes once more as what the API server answers.
pub fn config(data: &[u8]) {
    let (check, value) = split(data);
    let Ok(check) = serde_json::from_slice::<ConfigCheck>(check) else { return };
    if !is_let_through(&check) || String::from_utf8_lossy(data).contains(MARK) {
        return;
    }
    let (before, after) = split(value);
    let (before, after) = (&before[..before.len().min(512)], &after[..after.len().min(512)]);
    let value = [before, MARK.as_bytes(), after].concat();
    let now = Timestamp::from_second(1_795_000_000).expect("a moment");
    let reach = Reach::anywhere();
    let keys = || check.secrets.iter().chain(&check.config_maps).flat_map(|object| &object.keys);
    let others = keys().filter_map(|key| key.differs_from.as_ref()?.key.as_ref());
    let names: Vec<&String> = keys().map(|key| &key.key).chain(others).collect();
    let held: BTreeMap<_, _> =
        names.into_iter().map(|name| (name.clone(), ByteString(value.clone()))).collect();
    let secret = serde_json::to_vec(&Secret { data: Some(held.clone()), ..Secret::default() });
    let map = serde_json::to_vec(&ConfigMap { binary_data: Some(held), ..ConfigMap::default() });
    let (secret, map) = (secret.expect("a Secret"), map.expect("a ConfigMap"));
    let (result, said) = awaited(async {
        let client = cluster(move |path| {
            let is_secret = path.contains("/secrets/");
            (StatusCode::OK, if is_secret { secret.clone() } else { map.clone() })
        });
        asked(&client, &reach, Question::Config(check.clone()), About::Nothing, now).await
    });
    told(&said);
    assert_ne!(result, ProbeResult::Unknown, "all of it can be read: {said}");
    if result == ProbeResult::Passed {
        let text = String::from_utf8_lossy(&value);
        for key in keys() {
            assert!(key.differs_from.is_none(), "it is the same everywhere: {said}");
            assert!(
                key.pattern.as_ref().is_none_or(|pattern| probes::matches(pattern, &text) == Ok(true)),
                "{said}"
            );
            let least = usize::try_from(key.min_length.unwrap_or_default()).unwrap_or_default();
            assert!(text.chars().count() >= least, "{said}");
        }
    }
    let (_, said) = awaited(async {
        let client = cluster(move |_| (StatusCode::OK, value.clone()));
        asked(&client, &reach, Question::Config(check.clone()), About::Nothing, now).await
    });
    told(&said);
}

fn told(said: &str) {
    assert!(!said.is_empty() && said.chars().count() <= LONGEST, "{said}");
    kept_secret(said);
}
