//! Looks at Releases, against API servers that are slow, busy, or refuse. Time is virtual.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::super::errands::Hands;
use super::super::own_writes::LONGEST_WAIT;
use super::*;
use crate::act::writer::Leads;
use crate::decide::kept_name::template_name;
use crate::decide::snapshot::WayBack;
use crate::observe::gather::Gatherer;
use crate::observe::measure::scrape::Pages;
use crate::observe::measure::servers::Servers;
use crate::observe::measure::{self, Trust};
use crate::observe::reach::Reach;
use crate::report::Metrics;
use crate::report::notify::Outside;
use crate::watch::room::Room;
use crate::watch::{index, slim};

mod backing_off;
mod beside;
mod label;
mod meanwhile;
mod missing;
mod pruned;
mod unanswered;

type Written = Arc<Mutex<Vec<(String, Instant)>>>;

/// An API server that takes two seconds for each request, and lists nothing.
fn slow(written: Written) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let written = written.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if *request.method() == Method::PATCH {
                let path = request.uri().path().to_owned();
                written.lock().unwrap().push((path, clock::instant()));
            }
            let text = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}, "items": []});
            Ok::<_, std::io::Error>(Response::new(Body::from(text.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn reconciler(client: Client, turns: u16) -> Arc<Reconciler> {
    let metrics = Arc::new(Metrics::new());
    let queue = Arc::new(Queue::with_turns(turns));
    let findings = Arc::new(SharedFindings::new(Clock::machine()));
    let writer = Writer::new(client.clone(), Arc::new(Leads(Duration::from_secs(10))));
    let pages: Arc<dyn Pages> =
        Arc::new(measure::client(Trust::Nothing, &Reach::anywhere()).expect("a client"));
    let servers = Arc::new(Servers::within(Reach::anywhere()));
    Arc::new(Reconciler {
        notifier: Notifier::new(
            Arc::new(Outside::new(client.clone(), Reach::anywhere())),
            metrics.clone(),
            |_| {},
        ),
        index: SharedIndex::default(),
        reader: Reader::of(&client),
        reading: Reading::default(),
        errands: Errands::new(Hands {
            gatherer: Arc::new(Gatherer::start(client.clone())),
            client: client.clone(),
            reach: Reach::anywhere(),
            writer: writer.clone(),
            clock: Clock::machine(),
            findings: findings.clone(),
            queue: queue.clone(),
        }),
        prober: Prober::new(
            client.clone(),
            pages.clone(),
            Reach::anywhere(),
            servers.clone(),
            Clock::machine(),
            findings.clone(),
            queue.clone(),
        ),
        reporter: Reporter::start(writer.clone(), metrics),
        writer,
        sampler: Arc::new(Sampler::new(
            client,
            pages,
            servers,
            Clock::machine(),
            findings.clone(),
            queue.clone(),
            300,
        )),
        clock: Clock::machine(),
        queue,
        findings,
        own: OwnWrites::default(),
        own_status: OwnStatus::default(),
        missing: Missing::default(),
        let_go: LetGo::default(),
        rush: Rush::default(),
        unanswered: Unanswered::default(),
        onlooker: None,
    })
}

fn deployment(name: &str, more: &dyn Fn(&mut Value)) -> slim::Deployment {
    serde_json::from_value(deployment_object(name, more)).unwrap()
}

fn deployment_object(name: &str, more: &dyn Fn(&mut Value)) -> Value {
    let mut deployment = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1, "annotations": {}},
        "spec": {"replicas": 4, "strategy": {"type": "RollingUpdate"}, "template": {"metadata": {}, "spec": {"version": 2}}},
    });
    more(&mut deployment);
    deployment
}

fn release(name: &str) -> slim::Release {
    serde_json::from_value(release_object(name)).unwrap()
}

fn release_object(name: &str) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"targetRef": target}})
}

/// A list of this one object.
fn listed(object: &Value) -> Value {
    list_of(std::slice::from_ref(object))
}

fn list_of(objects: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": objects})
}

fn version(number: u8) -> Value {
    json!({"metadata": {}, "spec": {"version": number}})
}

/// The name under which a Deployment's template is kept.
fn name_of(deployment: &str, template: &Value) -> String {
    template_name(deployment, &slim::fingerprint(template))
}

/// A Deployment in mid-run whose Release is gone: it goes back, and nobody knows before it has been looked at.
fn bad(index: &mut index::Index) -> Key {
    let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
    let parked = |deployment: &mut Value| {
        deployment["metadata"]["generation"] = json!(2);
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "bad"});
        let stable = name_of("bad", &version(1));
        deployment["metadata"]["annotations"] =
            json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": stable});
        deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
    };
    index::apply(index, deployment("bad", &parked));
    let kept = json!({
        "metadata": {
            "name": name_of("bad", &version(1)), "namespace": "ns", "labels": {"tidegate.dev/release": "bad"},
            "annotations": {"tidegate.dev/fingerprint": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "bad", "uid": "bad"}],
        },
        "data": version(1),
    });
    index::apply(index, serde_json::from_value::<slim::StoredTemplate>(kept).unwrap());
    Key { namespace: "ns".into(), name: "bad".into() }
}

/// An API server that asks everybody to come back in twenty seconds; when it was asked.
fn busy(asked: Arc<Mutex<Vec<Instant>>>) -> Client {
    let service = tower::service_fn(move |_: Request<Body>| {
        asked.lock().unwrap().push(clock::instant());
        let text = json!({
            "kind": "Status", "status": "Failure", "message": "busy", "reason": "TooManyRequests", "code": 429,
            "details": {"retryAfterSeconds": 20},
        });
        let mut response = Response::new(Body::from(text.to_string().into_bytes()));
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        async move { Ok::<_, std::io::Error>(response) }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_meanwhile_a_busy_api_server_is_left_alone_for_as_long_as_it_asks() {
    let asked = Arc::<Mutex<Vec<Instant>>>::default();
    let reconciler = reconciler(busy(asked.clone()), 8);
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    {
        let mut index = reconciler.index.lock();
        index::apply(&mut index, deployment("shop", &|_| {}));
        index::apply(&mut index, release("shop"));
    }
    for _ in 0..300 {
        reconciler.queue.wake(shop.clone());
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "in thirty seconds: {asked:?}");
    assert!(asked[1] - asked[0] >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn what_went_out_before_a_write_that_failed_is_waited_for_like_any_other() {
    let wrote = Arc::<Mutex<Vec<String>>>::default();
    let (noted, there) = (wrote.clone(), Arc::new(AtomicI64::new(7)));
    let is_there = there.clone();
    let somebody_was_first = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let is_read = *request.method() == Method::GET;
        let generation = is_there.load(Ordering::Relaxed);
        let (code, text) = match path.rsplit('/').next() {
            Some("status") => (
                http::StatusCode::CONFLICT,
                json!({"kind": "Status", "status": "Failure", "message": "modified", "reason": "Conflict", "code": 409}),
            ),
            Some("releases") => (http::StatusCode::OK, listed(&release_object("shop"))),
            Some("deployments") => (
                http::StatusCode::OK,
                listed(&deployment_object("shop", &|shop: &mut Value| {
                    shop["metadata"]["generation"] = json!(generation)
                })),
            ),
            _ => (
                http::StatusCode::OK,
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}}),
            ),
        };
        if !is_read {
            noted.lock().unwrap().push(path);
        }
        let mut response = Response::new(Body::from(text.to_string().into_bytes()));
        *response.status_mut() = code;
        async move { Ok::<_, std::io::Error>(response) }
    });
    let reconciler = reconciler(Client::new(somebody_was_first, "default"), 8);
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    let shown = |generation: i64| {
        let at = |deployment: &mut Value| deployment["metadata"]["generation"] = json!(generation);
        index::apply(&mut reconciler.index.lock(), deployment("shop", &at));
    };
    shown(6);
    index::apply(&mut reconciler.index.lock(), release("shop"));
    let look = async || {
        reconciler.queue.wake(shop.clone());
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        wrote.lock().unwrap().len()
    };
    let until = clock::instant() + 3 * LONGEST_WAIT;
    while clock::instant() < until {
        assert_eq!(look().await, 2, "the Deployment, and status: {:?}", wrote.lock().unwrap());
    }
    // A cluster that is brought back from a backup counts from there.
    shown(4);
    let until = clock::instant() + LONGEST_WAIT;
    while clock::instant() < until {
        assert_eq!(look().await, 2, "a watch that says twice what it has said");
    }
    assert_eq!(look().await, 4, "it stays so: {:?}", wrote.lock().unwrap());
    // And from what it was decided on, where that is what the backup has. It is asked for some time after that.
    there.store(4, Ordering::Relaxed);
    let until = clock::instant() + 2 * LONGEST_WAIT;
    let mut writes = look().await;
    while writes == 4 && clock::instant() < until {
        writes = look().await;
    }
    assert!(writes > 4, "it stays so: {:?}", wrote.lock().unwrap());
    shown(7);
    assert!(look().await > writes, "it has been seen: {:?}", wrote.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_before_what_status_was_decided_on_is_waited_for_as_long_as_it_can_come() {
    for (uid, generation, waits) in [("shop", 5, true), ("shop", 6, false), ("another", 5, false)] {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing("/nothing", asked.clone()), 8);
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        let at = |deployment: &mut Value| deployment["metadata"]["generation"] = json!(generation);
        index::apply(&mut reconciler.index.lock(), deployment("shop", &at));
        let release = json!({
            "metadata": {"name": "shop", "namespace": "ns", "uid": "release"},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
            "status": {"targetUid": uid, "targetGeneration": 6},
        });
        let release: slim::Release = serde_json::from_value(release).unwrap();
        index::apply(&mut reconciler.index.lock(), release);
        let look = async || {
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            asked.lock().unwrap().len()
        };
        // However often something brings a look: pods may change many times a second.
        let until = clock::instant() + LONGEST_WAIT;
        while waits && clock::instant() < until {
            assert_eq!(look().await, 0, "{:?}", asked.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // In time it is what there is: somebody has written that status.
        assert!(look().await > 0, "{uid}, {generation}");
    }
}

/// An API server that lists nothing, and takes everything but writes to paths that end so; what was to be written, and the bodies.
fn refusing(end: &'static str, asked: Arc<Mutex<Vec<(String, String)>>>) -> Client {
    refusing_as((http::StatusCode::UNPROCESSABLE_ENTITY, "Invalid"), end, asked)
}

/// The same, with this answer.
fn refusing_as(
    (code, reason): (http::StatusCode, &'static str),
    end: &'static str,
    asked: Arc<Mutex<Vec<(String, String)>>>,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = asked.clone();
        async move {
            let path = request.uri().path().to_owned();
            let is_read = *request.method() == Method::GET;
            let body = request.into_body().collect_bytes().await.expect("a body");
            let refused = path.ends_with(end);
            if !is_read {
                asked.lock().unwrap().push((path, String::from_utf8_lossy(&body).into_owned()));
            }
            let (code, text) = match refused {
                true => (
                    code,
                    json!({"kind": "Status", "status": "Failure", "message": "denied by policy\nx", "reason": reason, "code": code.as_u16()}),
                ),
                false => (
                    http::StatusCode::OK,
                    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}, "items": []}),
                ),
            };
            let mut response = Response::new(Body::from(text.to_string().into_bytes()));
            *response.status_mut() = code;
            Ok::<_, std::io::Error>(response)
        }
    });
    Client::new(service, "default")
}

/// A Release of which so many actions took effect, which does not stand on them yet.
fn owing_marks(index: &mut index::Index, name: &str, marks: usize) {
    let mut release = release_object(name);
    let mut handled = Vec::new();
    for number in 0..marks {
        let action = format!("a{number}");
        handled.push(json!({"uid": action, "action": "Pause", "done": true, "message": "standing still"}));
        let action = json!({
            "metadata": {"name": action, "namespace": "ns", "uid": action},
            "spec": {"release": name, "action": "Pause", "reason": "because"},
        });
        index::apply(index, serde_json::from_value::<slim::ReleaseAction>(action).unwrap());
    }
    release["status"] = json!({"handled": handled});
    index::apply(index, serde_json::from_value::<slim::Release>(release).unwrap());
}

async fn look_once(client: Client, marks: usize) {
    let reconciler = reconciler(client, 8);
    {
        let mut index = reconciler.index.lock();
        index::apply(&mut index, deployment("shop", &|_| {}));
        owing_marks(&mut index, "shop", marks);
    }
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    reconciler.queue.wake(shop);
    let key = reconciler.queue.next().await;
    reconciler.look(&key).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_on_an_action_comes_last_and_keeps_nothing_from_being_written() {
    let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
    look_once(refusing("/releaseactions/a0/status", asked.clone()), 1).await;
    let paths: Vec<String> = asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    let paths: Vec<&str> =
        paths.iter().filter_map(|path| Some(path.split_once("/namespaces/ns/")?.1)).collect();
    let wanted = ["deployments/shop", "releaseactions/a0/status", "releases/shop/status"];
    assert_eq!(paths[..3], wanted, "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_said_in_status_in_the_words_of_the_api_server() {
    let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
    look_once(refusing("/deployments/shop", asked.clone()), 0).await;
    let asked = asked.lock().unwrap();
    let (path, body) = asked.last().expect("a write");
    assert!(path.ends_with("/releases/shop/status"), "{asked:?}");
    let said: Value = serde_json::from_str(body).unwrap();
    let blocker = &said[1]["value"]["blockedBy"];
    assert_eq!(blocker["reason"], "WriteRefused");
    assert_eq!(blocker["message"], "the patch of Deployment shop (adopt) was refused: denied by policy x");
}

/// An API server with one Release and its Deployment, which it lists by their names and nothing else; what it was asked.
fn listing(asked: Arc<Mutex<Vec<String>>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (uri, is_read) = (request.uri().clone(), *request.method() == Method::GET);
        asked.lock().unwrap().push(format!("{} {uri}", request.method()));
        async move {
            let is_named = uri.query().is_some_and(|query| query.contains("metadata.name%3Dshop"));
            let metadata =
                json!({"name": "shop", "namespace": "ns", "uid": "shop", "generation": 1, "annotations": {}});
            let item = match uri.path().rsplit('/').next() {
                Some("releases") => {
                    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
                    json!({"metadata": metadata, "spec": {"targetRef": target}})
                }
                Some("deployments") => json!({
                    "metadata": metadata,
                    "spec": {"replicas": 4, "strategy": {"type": "RollingUpdate"}, "template": {"spec": {"version": 2}}},
                }),
                _ => {
                    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}})
                }
            };
            let answer = match (is_read, is_named) {
                (false, _) => item,
                (true, true) => {
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [item]})
                }
                (true, false) => json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
            };
            Ok::<_, std::io::Error>(Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_in_memory_is_read_again_and_decided_on_all_the_same() {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let reconciler = reconciler(listing(asked.clone()), 8);
    {
        let mut index = reconciler.index.lock();
        *index = index::Index::with(Room::of(0), Room::of(0));
        index::apply(&mut index, deployment("shop", &|_| {}));
        index::apply(&mut index, release("shop"));
    }
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    reconciler.queue.wake(shop);
    let key = reconciler.queue.next().await;
    reconciler.look(&key).await;
    let asked = asked.lock().unwrap();
    let began = |place: usize, with: &str| asked.get(place).is_some_and(|asked| asked.starts_with(with));
    assert!(began(0, "GET /apis/tidegate.dev/v1alpha1/namespaces/ns/releases?"), "{asked:?}");
    assert!(began(1, "GET /apis/apps/v1/namespaces/ns/deployments?"), "{asked:?}");
    assert!(began(2, "PATCH /apis/apps/v1/namespaces/ns/deployments/shop"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_again_is_looked_at_again_and_not_taken_for_what_is_gone() {
    let reconciler = reconciler(slow(Written::default()), 8);
    {
        let mut index = reconciler.index.lock();
        *index = index::Index::with(Room::of(0), Room::of(0));
        index::apply(&mut index, release("shop"));
    }
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    reconciler.queue.wake(shop.clone());
    for _ in 0..3 {
        let woken = tokio::time::timeout(Duration::from_secs(10), reconciler.queue.next()).await;
        assert_eq!(woken.as_ref(), Ok(&shop), "it comes again by itself");
        reconciler.look(&shop).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_lasts_where_a_release_is_gone_is_one_event_of_its_deployment() {
    let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
    let reconciler = reconciler(refusing("/nothing", asked.clone()), 8);
    let without_originals = |deployment: &mut Value| {
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "gone"});
        deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
    };
    index::apply(&mut reconciler.index.lock(), deployment("shop", &without_originals));
    let gone = Key { namespace: "ns".into(), name: "gone".into() };
    for _ in 0..20 {
        reconciler.queue.wake(gone.clone());
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = asked.lock().unwrap();
    let [(path, event)] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(path.ends_with("/namespaces/ns/events"), "{path}");
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("OriginalsLost")));
    let regarding = &event["regarding"];
    assert_eq!((&regarding["kind"], &regarding["name"]), (&json!("Deployment"), &json!("shop")));
    assert_eq!((&regarding["apiVersion"], &regarding["uid"]), (&json!("apps/v1"), &json!("shop")));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_tried_again_less_and_less_often() {
    let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
    let reconciler = reconciler(refusing("/deployments/shop", asked.clone()), 8);
    index::apply(&mut reconciler.index.lock(), deployment("shop", &|_| {}));
    index::apply(&mut reconciler.index.lock(), release("shop"));
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    let tried =
        || asked.lock().unwrap().iter().filter(|(path, _)| path.ends_with("/deployments/shop")).count();
    let begun = clock::instant();
    let mut shown = 0;
    while clock::instant() < begun + Duration::from_secs(120) {
        // The watch brings what was written.
        if let Some((_, status)) =
            asked.lock().unwrap().iter().rfind(|(path, _)| path.ends_with("/releases/shop/status"))
        {
            let written: Value = serde_json::from_str(status).unwrap();
            let mut release = json!({"metadata": {"name": "shop", "namespace": "ns", "uid": "shop", "resourceVersion": "2"}});
            let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
            (release["spec"], release["status"]) =
                (json!({"targetRef": target}), written[1]["value"].clone());
            index::apply(
                &mut reconciler.index.lock(),
                serde_json::from_value::<slim::Release>(release).unwrap(),
            );
            shown += 1;
        }
        reconciler.queue.wake(shop.clone());
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(shown > 0, "it was said");
    assert!((4..12).contains(&tried()), "{} times in two minutes", tried());
}

/// A Deployment on the way back of a run whose Release was deleted: stable stands there, and what its owner wrote over the run's is kept. Only
/// the process that ordered it knows that this comes next.
fn owing(index: &mut index::Index, on_delete: Option<&str>) -> WayBack {
    let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
    let goes_back = |deployment: &mut Value| {
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
        let stable = name_of("shop", &version(2));
        deployment["metadata"]["annotations"] =
            json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": stable});
        if let Some(noted) = on_delete {
            deployment["metadata"]["annotations"]["tidegate.dev/on-delete"] = json!(noted);
            deployment["metadata"]["generation"] = json!(7);
        }
        deployment["spec"]["progressDeadlineSeconds"] = json!(2_147_483_647);
    };
    index::apply(index, deployment("shop", &goes_back));
    for template in [2, 3].map(version) {
        let kept = json!({
            "metadata": {
                "name": name_of("shop", &template), "namespace": "ns", "labels": {"tidegate.dev/release": "shop"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "shop"}],
            },
            "data": template,
        });
        index::apply(index, serde_json::from_value::<slim::StoredTemplate>(kept).unwrap());
    }
    let back = json!({
        "cause": "Superseded", "message": "a newer template has come", "decidedAt": "2026-01-01T00:00:00Z",
        "next": {"revision": name_of("shop", &version(3)), "fingerprint": slim::fingerprint(&version(3))},
    });
    let back = serde_json::from_value(back).unwrap();
    WayBack { run: "r1".into(), canary: "canary".into(), back, decided_on: 1 }
}

#[tokio::test(start_paused = true)]
async fn what_no_status_says_of_a_way_back_is_known_until_it_is_seen_on_the_deployment() {
    // Whether its Release was made anew, and whether the note is refused, or taken and not seen yet.
    for (anew, refused) in
        [(true, "/deployments/shop"), (true, "/nothing"), (false, "/deployments/shop"), (false, "/nothing")]
    {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing(refused, asked.clone()), 8);
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        let known = || reconciler.findings.of(&shop, reconciler.clock.now()).way_back;
        assert!(known().is_none());
        let way_back = owing(&mut reconciler.index.lock(), None);
        if anew {
            index::apply(&mut reconciler.index.lock(), release("shop"));
        }
        reconciler.findings.see_way_back(&shop, Some(way_back));
        let look = async || {
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
        };
        look().await;
        let next = name_of("shop", &version(3));
        let is_note = |(path, body): &(String, String)| {
            path.ends_with("/deployments/shop") && body.contains("on-delete") && body.contains(&next)
        };
        assert!(asked.lock().unwrap().iter().any(is_note), "{anew} {refused}: {:?}", asked.lock().unwrap());
        assert!(known().is_some(), "{anew} {refused}");
        if !anew {
            let noted = json!({"orderedAt": "2026-01-01T00:00:01Z", "then": next}).to_string();
            owing(&mut reconciler.index.lock(), Some(&noted));
            look().await;
            assert!(known().is_none(), "it is noted: {refused}");
        }
    }
}
