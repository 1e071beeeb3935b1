//! What the API server answers to the operator itself, or who stands before it: refusals of writes, where its replicas are, which policies are in force,
//! where pods are, and what a Job has left. Over the client that the operator has, and in no time, however long it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::client::{Body, ClientBuilder};
use kube::core::{ObjectList, Status};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tidegate::act::{self, ActError, Failed, Fence, Writer};
use tidegate::api::RELEASE_LABEL;
use tidegate::decide::jobs::EndedJob;
use tidegate::decide::refusal::{self, Refusal};
use tidegate::decide::snapshot::Template;
use tidegate::decide::{Awaited, Decision, Intent, Key, Owner, Placing};
use tidegate::observe::reach::{ApiServer, Reach};
use tidegate::observe::reading::Reading;
use tidegate::observe::{self, Findings, outputs, places};
use tidegate::report::Metrics;
use tidegate::run::link::{Patience, UnderWay};
use tidegate::watch::again::Again;
use tidegate::watch::{self, SharedIndex, api_server, slim};

use super::answers::{harmless, response};
use super::cluster::IN_MID_RUN;
use super::{a_world, index_of, split};

/// Letters of any sentence that is told of them.
const LONGEST: usize = 2048;
/// Requests that are answered. Whoever is told of ever more pages waits for the next one, as long as they wait for anything.
const ANSWERED: usize = 64;

type Answer = http::Response<Vec<u8>>;

/// What is asked, a line break, and the answer: a status, a header a line, an empty line, and the body.
pub fn answers_of_the_api_server(data: &[u8]) {
    let (asked, answer) = split(data);
    let answer = response(answer);
    match asked {
        b"write" => write(&answer),
        b"kept" => kept(&answer),
        b"replicas" => replicas(&answer),
        b"policies" => policies(&answer),
        b"places" => places(&answer),
        b"log" => log(&answer),
        _ => {}
    }
}

/// What comes of something that waits, on this thread, where time goes by as soon as there is nothing else to do.
fn at_once<T>(waiting: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(waiting)
}

/// The operator's client of an API server that answers so; `None`: never.
fn client(answer: impl Fn(&http::Request<Body>) -> Option<Answer> + Send + 'static) -> Client {
    let mut left = ANSWERED;
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let answer = answer(&request).filter(|_| left > 0);
        left = left.saturating_sub(1);
        async move {
            match answer {
                Some(answer) => Ok::<_, std::io::Error>(answer.map(Body::from)),
                None => std::future::pending().await,
            }
        }
    });
    let patience = Patience::new(Arc::default(), UnderWay::default().follow(), Arc::new(Metrics::new()));
    ClientBuilder::new(service, "shop").with_layer(&patience).build()
}

/// The same answer with this for its body.
fn with(answer: &Answer, body: &[u8]) -> Answer {
    answer.clone().map(|_| body.to_vec())
}

fn is_watch(request: &http::Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("watch="))
}

fn one_line(said: &str) {
    assert!(!said.is_empty() && said.chars().count() <= LONGEST, "{said}");
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

/// Leads for as long as anything takes.
struct Leads;

impl Fence for Leads {
    fn remaining(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

fn key() -> Key {
    Key { namespace: "ns".to_owned(), name: "shop".to_owned() }
}

/// An answer to a write: what of it is a refusal is said in a sentence, and how long to stay away is as long as it says.
fn write(answer: &Answer) {
    let (status, given) = (answer.status(), answer.clone());
    let written = at_once(async {
        let writer = Writer::new(client(move |_| Some(given.clone())), Arc::new(Leads));
        writer.patch_release_status(&key(), "41", &json!({})).await
    });
    let is_error = status.is_client_error() || status.is_server_error();
    let Err(error) = written else { return assert!(!is_error, "{status}") };
    let is_asked_away = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let after = answer.headers().get(RETRY_AFTER).filter(|_| is_asked_away);
    let after: Option<u64> = after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
    // The code in the body is the one that counts, as for the library.
    let said = serde_json::from_slice::<Status>(answer.body()).ok().filter(|_| after.is_none());
    let code = said.map_or(status.as_u16(), |said| said.code);
    let is_one_of = |codes: &[u16]| assert!(is_error && codes.contains(&code), "{code}: {error}");
    match &error {
        ActError::Gone | ActError::NotServed(_) => is_one_of(&[404]),
        ActError::Stale(_) => is_one_of(&[409, 422]),
        ActError::Refused(_) => is_one_of(&[400, 403, 405, 413, 415, 422]),
        ActError::Forbidden(_) => is_one_of(&[403]),
        ActError::WebhookSilent(_) => is_one_of(&[500]),
        ActError::Throttled(wait) => {
            is_one_of(&[429, 503]);
            assert!(!wait.is_zero(), "{error}");
        }
        ActError::Unreachable(_) => {}
        ActError::Fenced | ActError::Taken { .. } | ActError::Deadline(_) | ActError::Unanswered => {
            panic!("{error}")
        }
    }
    if let Some(after) = after {
        let most = after.min(u64::from(u32::MAX));
        assert_eq!(error.come_back_in(), Duration::from_secs(most), "{error}");
    }
    let Some(why) = error.refusal() else { return };
    let refusal = Refusal { what: "the patch of Deployment shop".to_owned(), why };
    one_line(&refusal.sentence());
    let (index, again, reading) = (index_of(&a_world(IN_MID_RUN)), Again::default(), Reading::default());
    let now = Timestamp::from_second(1_790_000_000).expect("a moment");
    let snapshot = observe::observe(&index, &again, &reading, &key(), Findings::default(), now);
    let Ok(snapshot) = snapshot else { panic!("a world of ours") };
    let decided = || format!("{:?}", refusal::decide(&snapshot, None, &refusal));
    assert_eq!(decided(), decided(), "the same twice");
}

/// What has the name already under which a template is to be kept, as the list in which it stands. It is kept there only as what it was to be.
fn kept(answer: &Answer) {
    let template = json!({"spec": {"version": 1}});
    let owner =
        Owner { api_version: "apps/v1", kind: "Deployment", name: "shop".to_owned(), uid: "d1".to_owned() };
    let keep = Intent::KeepTemplate {
        name: "shop-1".to_owned(),
        fingerprint: slim::fingerprint(&template),
        template: Template::new(&template),
        owner,
        awaited: Awaited::Always,
        let_go: None,
    };
    let decision = Decision { intents: vec![keep], ..Decision::default() };
    let given = answer.clone();
    let (_, outcome) = at_once(async {
        let client = client(move |request| match *request.method() {
            Method::POST => {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "AlreadyExists", "code": 409,
                    "message": "controllerrevisions.apps \"shop-1\" already exists",
                });
                let mut taken = Answer::new(status.to_string().into_bytes());
                *taken.status_mut() = StatusCode::CONFLICT;
                Some(taken)
            }
            _ => Some(given.clone()),
        });
        let writer = Writer::new(client, Arc::new(Leads));
        act::carry_out(&writer, &key(), None, &decision, &mut || false).await
    });
    match outcome {
        Ok(()) => {
            // What nobody reads may be no number, or go too deep for this.
            let Ok(found) = serde_json::from_slice::<Value>(answer.body()) else { return };
            let is_it = |item: &Value| {
                let metadata = &item["metadata"];
                metadata["name"] == "shop-1" && metadata["labels"][RELEASE_LABEL] == "shop"
            };
            let mut items = found["items"].as_array().into_iter().flatten();
            assert!(items.any(is_it), "it is found there: {found}");
        }
        Err(Failed { error: ActError::Taken { words, remedy }, what: _ }) => {
            one_line(&words);
            one_line(&remedy);
        }
        Err(Failed { error, what }) => assert!(!what.is_empty() && !error.to_string().is_empty()),
    }
}

/// EndpointSlices of the API server as a list, a line break, and what the watch sends then. Each address that is told is asked by no Release.
fn replicas(answer: &Answer) {
    let (list, events) = split(answer.body());
    let (listed, sent) = (with(answer, list), with(answer, events));
    let (told, lacked) = (Mutex::new(Vec::<BTreeSet<SocketAddr>>::new()), Mutex::new(Vec::<String>::new()));
    at_once(async {
        let client =
            client(move |request| Some(if is_watch(request) { sent.clone() } else { listed.clone() }));
        let follows = api_server::follow(
            client,
            |sockets| told.lock().expect("not poisoned").push(sockets),
            |right| lacked.lock().expect("not poisoned").push(right.to_string()),
        );
        let _goes_on = tokio::time::timeout(Duration::from_secs(60), follows).await;
    });
    let (told, lacked) =
        (told.into_inner().expect("not poisoned"), lacked.into_inner().expect("not poisoned"));
    lacked.iter().for_each(|lacked| one_line(lacked));
    let reach = Reach::guarded(ApiServer::default(), false);
    for sockets in &told {
        reach.api_server_is_at(sockets.clone());
        for socket in sockets {
            let url = reqwest::Url::parse(&format!("http://{socket}/")).expect("an address");
            assert!(reach.allows(&url).is_err(), "{url}");
        }
    }
    let slices = serde_json::from_slice::<ObjectList<EndpointSlice>>(list).map(|list| list.items);
    let (Some(first), Ok(slices)) = (told.first(), slices) else { return };
    // Of two with one name the last one counts, and of one that has too many some.
    let by_name: BTreeMap<String, Vec<SocketAddr>> =
        slices.iter().map(|slice| (slice.name_any(), sockets(slice))).collect();
    let wanted = by_name.values().filter(|sockets| sockets.len() <= 256).flatten();
    wanted.for_each(|socket| assert!(first.contains(socket), "{socket} of {first:?}"));
}

/// Each address with each port.
fn sockets(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for port in slice.ports.iter().flatten().filter_map(|port| port.port) {
        let Ok(port) = u16::try_from(port) else { continue };
        for address in slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            found.extend(address.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)));
        }
    }
    found
}

/// Kinds of admission policies.
const POLICIES: [&str; 4] = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Policies or bindings as a list, a line break, and which kinds of them are served. What is in force stands there, and denies where it says what it does.
fn policies(answer: &Answer) {
    let (list, served) = split(answer.body());
    let (listed, served) = (with(answer, list), with(answer, served));
    let index = SharedIndex::default();
    at_once(async {
        let client = client(move |request| {
            match request.uri().path().strip_prefix("/apis/admissionregistration.k8s.io/v1") {
                _ if is_watch(request) => None,
                Some("") => Some(served.clone()),
                Some(_) => Some(listed.clone()),
                None => {
                    let none = json!({
                        "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [],
                    });
                    Some(Answer::new(none.to_string().into_bytes()))
                }
            }
        });
        let watching = watch::start(&client, &index, &[], |_| {}, |_| {}, || Timestamp::UNIX_EPOCH).await;
        let complete = watching.first_lists.complete();
        let _listed = tokio::time::timeout(Duration::from_secs(20), complete).await;
    });
    // What nobody reads may be no number, or go too deep for this.
    let Ok(found) = serde_json::from_slice::<Value>(list) else { return };
    let items = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for known in &index.lock().policies {
        let (kind, name) = known.split_once('/').expect("a kind and a name");
        assert!(POLICIES.contains(&kind), "{known}");
        let is_it = |item: &Value| {
            let metadata = &item["metadata"];
            let named = metadata["name"].as_str().or(metadata["generateName"].as_str());
            let actions = item["spec"]["validationActions"].as_array();
            let denies = actions.is_some_and(|actions| actions.iter().any(|action| action == "Deny"));
            named.unwrap_or_default() == name && (kind != "ValidatingAdmissionPolicyBinding" || denies)
        };
        assert!(items.iter().any(is_it), "{known} is in force: {found}");
    }
}

/// Pods as a list, a line break, and nodes as one: where the pods are of which it is asked, and no others.
fn places(answer: &Answer) {
    let (pods, nodes) = split(answer.body());
    let (pods, nodes) = (with(answer, pods), with(answer, nodes));
    let wanted = Placing {
        pods: ["p1", "p2"].map(str::to_owned).into(),
        labels: [("app".to_owned(), "shop".to_owned())].into(),
        nodes: true,
    };
    let read = at_once(async {
        let client = client(move |request| {
            Some(if request.uri().path() == "/api/v1/nodes" { nodes.clone() } else { pods.clone() })
        });
        places::read(&client, "shop", &wanted).await
    });
    match read {
        Ok(found) => {
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(found.keys().all(|uid| wanted.pods.contains(uid)), "{found:?}");
        }
        Err(why) => one_line(&why),
    }
}

/// A Job's pods as a list, a line break, and what the API server answers who asks for the log.
fn log(answer: &Answer) {
    let (pods, log) = split(answer.body());
    let (pods, log) = (Answer::new(pods.to_vec()), with(answer, log));
    let job = EndedJob { name: "load".to_owned(), log: true, termination: true, result: None };
    let (log, termination) = at_once(async {
        let client = client(move |request| {
            Some(if request.uri().path().contains("/pods/") { log.clone() } else { pods.clone() })
        });
        outputs::read(&client, "shop", &job).await
    });
    match log {
        Ok(end) => {
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(
                end.lines.len() <= 20 && end.lines.iter().map(String::len).sum::<usize>() <= 2048,
                "{end:?}"
            );
            end.lines.iter().for_each(|line| harmless(line, 512));
        }
        Err(why) => one_line(&why),
    }
    let (Ok(said) | Err(said)) = termination;
    assert!(said.chars().count() <= 64 << 10, "{}", said.len());
}
