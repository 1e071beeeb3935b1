//! Watches of an API server that fails, refuses, or has nothing to tell. Time is virtual.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::answered::Answered;

/// An answer.
struct Said(StatusCode, Answered);

/// An API server that says this to a list or a watch at a path, and takes a while for each answer.
fn server(says: impl Fn(&str, bool) -> Said + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        let Said(code, body) = says(request.uri().path(), watches);
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut response = Response::new(body);
            *response.status_mut() = code;
            Ok::<_, Infallible>(response)
        }
    });
    Client::new(service, "default")
}

/// Time does not matter.
fn began() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn list(items: &[Value]) -> Said {
    let list =
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
    Said(StatusCode::OK, Answered::text(list.to_string()))
}

fn quiet() -> Said {
    Said(StatusCode::OK, Answered::Silence)
}

fn trouble() -> Said {
    Said(StatusCode::INTERNAL_SERVER_ERROR, Answered::text("not now"))
}

fn forbidden(verb: &str, plural: &str, group: &str) -> Said {
    let message = format!(
        "{plural} is forbidden: User \"tidegate\" cannot {verb} resource \"{plural}\" in API group \"{group}\" at the cluster scope"
    );
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message,
    });
    Said(StatusCode::FORBIDDEN, Answered::text(status.to_string()))
}

/// An API server that cannot say what it serves, and does not serve mutating policies before it is told to. Of each kind of policy that
/// it serves there is one.
fn that_cannot_say(mutating: Arc<AtomicBool>) -> Client {
    server(move |path, watches| {
        if watches {
            return quiet();
        }
        match path.strip_prefix("/apis/admissionregistration.k8s.io/v1") {
            Some("") => trouble(),
            Some(kind) if kind.starts_with("/mutating") && !mutating.load(Ordering::Relaxed) => {
                Said(StatusCode::NOT_FOUND, Answered::text("404 page not found"))
            }
            Some(_) => list(&[policy("tidegate", &["Deny"])]),
            None => list(&[]),
        }
    })
}

/// A policy or a binding that does this where something is against it, as far as bindings say so.
fn policy(name: &str, actions: &[&str]) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "1"}, "spec": {"validationActions": actions}})
}

#[tokio::test(start_paused = true)]
async fn policies_that_are_not_served_keep_nobody_waiting_and_are_known_once_they_are() {
    let mutating = Arc::new(AtomicBool::new(false));
    let index = SharedIndex::default();
    let client = that_cannot_say(mutating.clone());
    let watching = start(&client, &index, &[], |_| {}, |_| {}, began).await;
    let listed = watching.first_lists.complete();
    tokio::time::timeout(Duration::from_secs(60), listed).await.expect("everything is listed");
    let known = || index.lock().policies.clone();
    let named = |kinds: &[&str]| -> BTreeSet<String> {
        kinds.iter().map(|kind| format!("{kind}/tidegate")).collect()
    };
    let validating = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    assert_eq!(known(), named(&validating));
    mutating.store(true, Ordering::Relaxed);
    tokio::time::sleep(2 * LONGEST_PAUSE).await;
    let all = [["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"], validating].concat();
    assert_eq!(known(), named(&all));
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_denies_nothing_counts_as_none() {
    let client = server(|path, watches| match path.strip_prefix("/apis/admissionregistration.k8s.io/v1") {
        _ if watches => quiet(),
        Some("") => trouble(),
        Some(_) => list(&[policy("denies", &["Audit", "Deny"]), policy("on-trial", &["Audit", "Warn"])]),
        None => list(&[]),
    });
    let index = SharedIndex::default();
    let watching = start(&client, &index, &[], |_| {}, |_| {}, began).await;
    let listed = watching.first_lists.complete();
    tokio::time::timeout(Duration::from_secs(60), listed).await.expect("everything is listed");
    let known = index.lock().policies.clone();
    let is_known = |kind: &str, name: &str| known.contains(&format!("{kind}/{name}"));
    assert!(is_known("ValidatingAdmissionPolicy", "on-trial"), "{known:?}");
    assert!(is_known("ValidatingAdmissionPolicyBinding", "denies"), "{known:?}");
    assert!(!is_known("ValidatingAdmissionPolicyBinding", "on-trial"), "{known:?}");
    assert!(is_known("MutatingAdmissionPolicyBinding", "on-trial"), "those have no such actions: {known:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_again_and_again_is_asked_for_ever_more_seldom_and_never_given_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let client = server(move |path, watches| match (path, watches) {
        ("/api/v1/pods", _) => {
            counted.fetch_add(1, Ordering::Relaxed);
            trouble()
        }
        (_, false) => list(&[]),
        (_, true) => quiet(),
    });
    let _watching = start(&client, &SharedIndex::default(), &[], |_| {}, |_| {}, began).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let first = asked.swap(0, Ordering::Relaxed);
    assert!((10..=16).contains(&first), "{first} lists in the first minute");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let later = asked.load(Ordering::Relaxed);
    assert!((100..=120).contains(&later), "{later} lists in the next ten");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_known_between_two_tries_too() {
    let client = server(|path, watches| match (path, watches) {
        ("/api/v1/pods", _) => forbidden("list", "pods", ""),
        (_, false) => list(&[]),
        (_, true) => quiet(),
    });
    let Watching { tasks: _tasks, first_lists } =
        start(&client, &SharedIndex::default(), &[], |_| {}, |_| {}, began).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for tenths in 0..600 {
        let lacking: Vec<String> = first_lists.lacking().into_iter().map(|right| right.resource).collect();
        assert_eq!(lacking, ["pods"], "after {tenths} tenths of a second");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_done_without_is_known_again_once_its_watch_may_go_on_though_nothing_changes() {
    let may = Arc::new(AtomicBool::new(false));
    let allowed = may.clone();
    let client = server(move |path, watches| match (path, watches) {
        ("/apis/tidegate.dev/v1alpha1/freezes", true) if !allowed.load(Ordering::Relaxed) => {
            forbidden("watch", "freezes", "tidegate.dev")
        }
        (_, false) => list(&[]),
        (_, true) => quiet(),
    });
    let index = SharedIndex::default();
    let Watching { tasks: _tasks, first_lists } = start(&client, &index, &[], |_| {}, |_| {}, began).await;
    let unread = || index.lock().unread.keys().cloned().collect::<Vec<_>>();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((unread(), first_lists.lacking().len()), (vec!["Freeze".to_owned()], 1));
    }
    may.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!((unread(), first_lists.lacking()), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_unheard_since_it_failed_first_until_it_is_listed_or_its_watch_goes_on() {
    let (lists, watches) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let (can_list, can_watch) = (lists.clone(), watches.clone());
    let client = server(move |path, is_watch| match (path, is_watch) {
        ("/api/v1/pods", true) if !can_watch.load(Ordering::Relaxed) => {
            // It is too old: what comes next is a list.
            let status = json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
            Said(StatusCode::OK, Answered::text(format!("{}\n", json!({"type": "ERROR", "object": status}))))
        }
        ("/api/v1/pods", false) if !can_list.load(Ordering::Relaxed) => trouble(),
        ("/apis/apps/v1/replicasets", true) if !can_watch.load(Ordering::Relaxed) => trouble(),
        ("/apis/tidegate.dev/v1alpha1/releases", false) => list(&[
            json!({"metadata": {"name": "shop", "namespace": "ns", "uid": "r", "resourceVersion": "1"}}),
        ]),
        (_, false) => list(&[]),
        (_, true) => quiet(),
    });
    let index = SharedIndex::default();
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = woken.clone();
    let wake = move |keys: Vec<Key>| _ = counted.fetch_add(keys.len(), Ordering::Relaxed);
    let second = Arc::new(AtomicUsize::new(0));
    let told = second.clone();
    let now = move || {
        let seconds = i64::try_from(told.load(Ordering::Relaxed)).expect("few");
        Timestamp::from_second(seconds).expect("within time")
    };
    let _watching = start(&client, &index, &[], wake, |_| {}, now).await;
    let pass = async |seconds: usize| {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            second.fetch_add(1, Ordering::Relaxed);
        }
    };
    let unheard = || {
        let index = index.lock();
        index.unheard.iter().map(|(kind, it)| (kind.clone(), it.since.as_second())).collect::<Vec<_>>()
    };
    pass(10).await;
    assert_eq!(unheard(), vec![], "all is listed and watched");

    // Watches live for a minute, and then the next one begins.
    lists.store(false, Ordering::Relaxed);
    watches.store(false, Ordering::Relaxed);
    pass(70).await;
    let first = unheard();
    assert_eq!(first.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["Pod", "ReplicaSet"]);
    pass(60).await;
    assert_eq!(unheard(), first, "it is since the first time");

    woken.store(0, Ordering::Relaxed);
    watches.store(true, Ordering::Relaxed);
    pass(15).await;
    assert_eq!(unheard(), first[..1], "a watch that goes on is heard, though it has nothing to tell");
    assert_eq!(woken.swap(0, Ordering::Relaxed), 1, "whoever waited for it is looked at");
    lists.store(true, Ordering::Relaxed);
    pass(15).await;
    assert_eq!(unheard(), vec![]);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}
