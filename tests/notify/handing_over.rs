//! From what status owes to a receiver, and what is said when it does not get there. Receivers and the API server are HTTP servers of the
//! test's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate::api::notify::{Event, Turn};
use tidegate::decide::Key;
use tidegate::decide::notify::{Channel, Delivery, TellResult, Template};
use tidegate::observe::reach::{ApiServer, Reach};
use tidegate::report::notify::Outside;
use tidegate::report::{Metrics, Notifier};

use super::message;
use crate::measure::pods::serve;

/// A word that stands in Secrets and nowhere else.
const PLANTED: &str = "s3cr3t-planted-word";

/// What a receiver got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    path: String,
    headers: HeaderMap,
    pub(super) body: Value,
}

#[derive(Clone, Default)]
pub(super) struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    /// How often it is away before it is there.
    pub(super) away: Arc<AtomicUsize>,
}

impl Receiver {
    pub(super) async fn start(&self) -> u16 {
        let answer = |State(this): State<Self>,
                      Path(path): Path<String>,
                      headers: HeaderMap,
                      Json(body): Json<Value>| async move {
            if path.starts_with("hang") {
                std::future::pending::<()>().await;
            }
            this.got.lock().unwrap().push(Got { path: path.clone(), headers, body });
            if path.starts_with("gone") {
                return (StatusCode::NOT_FOUND, format!("no such thing as {path}"));
            }
            let is_away = path.starts_with("dead")
                || this
                    .away
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            (if is_away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, String::new())
        };
        serve(Router::new().route("/{*path}", post(answer)).with_state(self.clone())).await
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

/// An API server with these Secrets, and no other.
pub(super) async fn cluster(secrets: BTreeMap<&'static str, Value>) -> kube::Client {
    let secret = move |Path((namespace, name)): Path<(String, String)>| {
        let found = secrets.get(name.as_str()).cloned();
        async move {
            let Some(data) = found else {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                                    "message": "secrets not found"});
                return (StatusCode::NOT_FOUND, Json(status));
            };
            let metadata = json!({"name": name, "namespace": namespace});
            (
                StatusCode::OK,
                Json(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})),
            )
        }
    };
    let router = Router::new().route("/api/v1/namespaces/{namespace}/secrets/{name}", get(secret));
    let _already = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://127.0.0.1:{}", serve(router).await);
    kube::Client::try_from(kube::Config::new(url.parse().expect("a URL"))).expect("a client")
}

/// As data of a Secret.
pub(super) fn encoded(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}

pub(super) fn key(namespace: &str) -> Key {
    Key { namespace: namespace.into(), name: "checkout".into() }
}

pub(super) fn delivery(channel: Channel) -> Delivery {
    let message = message(Event::Held, Turn::New);
    Delivery { to: "team".into(), channel, template: Template::default(), message }
}

fn slack(secret: &str) -> Channel {
    Channel::Slack(serde_json::from_value(json!({"secret": secret})).unwrap())
}

fn webhook(url: &str) -> Channel {
    Channel::Webhook(serde_json::from_value(json!({"url": url})).unwrap())
}

pub(super) struct Telling {
    pub(super) notifier: Notifier,
    metrics: Arc<Metrics>,
}

impl Telling {
    pub(super) fn new(client: kube::Client, reach: Reach) -> Self {
        let metrics = Arc::new(Metrics::new());
        let outside = Arc::new(Outside::new(client, reach));
        Self { notifier: Notifier::new(outside, metrics.clone(), |_| {}), metrics }
    }

    /// Waits until something has come of it.
    pub(super) async fn comes_to(&self, key: &Key, wanted: impl Fn(&TellResult) -> bool) -> TellResult {
        let waited = async {
            loop {
                let told = self.notifier.told(key);
                if let Some(told) = told.iter().find(|told| wanted(&told.result)) {
                    return told.result.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        waited.unwrap_or_else(|_| panic!("nothing has come of it: {:?}", self.notifier.told(key)))
    }

    pub(super) async fn given_up(&self, key: &Key) -> String {
        match self.comes_to(key, |result| matches!(result, TellResult::GivenUp(_))).await {
            TellResult::GivenUp(said) => said,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_gets_there_with_what_a_secret_holds_and_again_after_a_receiver_was_away() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    receiver.away.store(2, Ordering::SeqCst);
    let url = format!("http://127.0.0.1:{port}/services/{PLANTED}\n");
    let client = cluster(BTreeMap::from([("slack", json!({"url": encoded(&url)}))])).await;
    let telling = Telling::new(client, Reach::anywhere());
    let shop = key("shop");
    assert!(telling.notifier.deliver(&shop, vec![delivery(slack("slack")), delivery(slack("slack"))]));
    assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered);
    let got = receiver.got();
    assert_eq!(got.len(), 3, "two tries in vain, and one message at a time: {got:?}");
    assert!(got.iter().all(|got| got.path == format!("services/{PLANTED}")), "{got:?}");
    let page = telling.metrics.page();
    assert!(page.contains(r#"tidegate_notifications_total{kind="slack",result="retried"} 2"#), "{page}");
    assert!(page.contains(r#"tidegate_notifications_total{kind="slack",result="delivered"} 1"#), "{page}");
    // Status has counted it in.
    telling.notifier.prune(&shop, &[]);
    assert!(telling.notifier.told(&shop).is_empty());
}

#[tokio::test]
async fn who_says_it_is_owed_and_does_not_know_yet_that_it_was_told_has_nobody_told_twice() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    let url = format!("http://127.0.0.1:{port}/hook");
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let shop = key("shop");
    let mut later = delivery(webhook(&url));
    later.message.owed.id = "2".into();
    assert!(telling.notifier.deliver(&shop, vec![delivery(webhook(&url))]));
    assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered);
    // Looked at before that came back.
    assert!(telling.notifier.deliver(&shop, vec![delivery(webhook(&url)), later]));
    let waited = async {
        while telling.notifier.told(&shop).len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("the next is told");
    assert_eq!(receiver.got().len(), 2, "{:?}", receiver.got());
}

#[tokio::test]
async fn keys_go_where_their_receiver_looks_for_them() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let client = cluster(BTreeMap::from([
        ("duty", json!({"routing-key": encoded("R0UT1NG")})),
        ("genie", json!({"api-key": encoded("G3N13")})),
        ("token", json!({"token": encoded("T0K3N")})),
    ]))
    .await;
    let telling = Telling::new(client, Reach::anywhere());
    let duty = json!({"secret": "duty", "url": format!("{base}/v2/enqueue")});
    let genie = json!({"secret": "genie", "url": format!("{base}/v2/alerts")});
    let event = json!({"url": format!("{base}/events"), "auth": {"bearer": {"secret": "token"}}});
    let channels = [
        Channel::PagerDuty(serde_json::from_value(duty).unwrap()),
        Channel::Opsgenie(serde_json::from_value(genie).unwrap()),
        Channel::CloudEvents(serde_json::from_value(event).unwrap()),
    ];
    for (place, channel) in channels.into_iter().enumerate() {
        let namespace = key(&format!("shop-{place}"));
        telling.notifier.deliver(&namespace, vec![delivery(channel)]);
        assert_eq!(telling.comes_to(&namespace, |_| true).await, TellResult::Delivered);
    }
    let got = receiver.got();
    let header = |place: usize, name: &str| {
        got[place].headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!((got[0].path.as_str(), &got[0].body["routing_key"]), ("v2/enqueue", &json!("R0UT1NG")));
    assert_eq!(
        (got[1].path.as_str(), header(1, "authorization").as_deref()),
        ("v2/alerts", Some("GenieKey G3N13"))
    );
    assert_eq!(
        (got[2].path.as_str(), header(2, "authorization").as_deref()),
        ("events", Some("Bearer T0K3N"))
    );
    assert_eq!(header(2, "content-type").as_deref(), Some("application/cloudevents+json; charset=UTF-8"));
}

#[tokio::test]
async fn what_cannot_be_helped_is_given_up_and_no_sentence_tells_a_secret() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    let gone = format!("http://127.0.0.1:{port}/gone/{PLANTED}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/{PLANTED}", free.local_addr().unwrap());
    drop(free);
    let client = cluster(BTreeMap::from([
        ("gone", json!({"url": encoded(&gone)})),
        ("metadata", json!({"url": encoded(&format!("http://169.254.169.254/{PLANTED}"))})),
        ("nonsense", json!({"url": encoded(PLANTED)})),
        ("nobody", json!({"url": encoded(&nobody)})),
    ]))
    .await;
    let telling = Telling::new(client, Reach::guarded(ApiServer::default(), true));
    let told = async |name: &str, channel| {
        let namespace = key(name);
        telling.notifier.deliver(&namespace, vec![delivery(channel)]);
        match telling.comes_to(&namespace, |_| true).await {
            TellResult::Delivered => panic!("{name} was told"),
            TellResult::Failing(said) => format!("failing: {said}"),
            TellResult::GivenUp(said) => said,
        }
    };
    assert_eq!(told("a", slack("gone")).await, "the URL of secret gone, key url answered 404");
    assert_eq!(
        told("b", slack("metadata")).await,
        "the URL of secret metadata, key url leads where a Release must not send the operator: put another there"
    );
    assert_eq!(
        told("c", slack("nonsense")).await,
        "failing: secret nonsense, key url holds no URL: put one there"
    );
    assert_eq!(told("d", slack("nobody")).await, "failing: no answer from the URL of secret nobody, key url");
    assert_eq!(
        told("e", slack("missing")).await,
        "failing: notify.slack: there is no secret missing in namespace shop: create it, or name another"
    );
    assert!(told("f", webhook("http://169.254.169.254/")).await.contains("is not asked: it is link-local"));
    let mail = json!({"host": "169.254.169.254", "from": "a@example.com", "to": ["b@example.com"]});
    let mail = Channel::Email(serde_json::from_value(mail).unwrap());
    assert!(told("g", mail).await.contains("is not asked: it is link-local"));
    let page = telling.metrics.page();
    assert!(!page.contains(PLANTED), "{page}");
    assert!(page.contains(r#"tidegate_notifications_total{kind="slack",result="failed"} 2"#), "{page}");
}

#[tokio::test]
async fn a_namespace_whose_receivers_hang_keeps_only_itself_waiting() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let hanging: Vec<Delivery> = (0..100)
        .map(|number| Delivery { to: format!("team-{number}"), ..delivery(webhook(&format!("{base}/hang"))) })
        .collect();
    telling.notifier.deliver(&key("hangs"), hanging);
    let shop = key("shop");
    telling.notifier.deliver(&shop, vec![delivery(webhook(&format!("{base}/there")))]);
    let soon = tokio::time::timeout(Duration::from_secs(5), telling.comes_to(&shop, |_| true)).await;
    assert_eq!(soon, Ok(TellResult::Delivered));
    // A Release that is gone is told about no more.
    assert!(telling.notifier.deliver(&key("hangs"), Vec::new()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(telling.notifier.told(&key("hangs")).is_empty());
}

#[tokio::test]
async fn a_namespace_that_owes_more_than_its_share_leaves_room_for_others() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let owed = |url: &str, count: usize| -> Vec<Delivery> {
        let of = |number| Delivery {
            to: format!("team-{number:04}"),
            ..delivery(webhook(&format!("{base}/{url}")))
        };
        (0..count).map(of).collect()
    };
    let about = |name: &str| Key { name: name.into(), ..key("hangs") };
    assert!(telling.notifier.deliver(&about("first"), owed("hang", 150)));
    assert!(!telling.notifier.deliver(&about("second"), owed("hang", 1000)), "150 and 50 are 200");
    assert!(telling.notifier.deliver(&about("first"), owed("hang", 150)), "these are being told already");
    let shop = key("shop");
    assert!(telling.notifier.deliver(&shop, owed("there", 1)), "there is room");
    assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered);
    // What had no room is told once there is.
    assert!(!telling.notifier.deliver(&about("third"), owed("there", 1)));
    assert!(telling.notifier.deliver(&about("first"), Vec::new()));
    assert!(telling.notifier.deliver(&about("third"), owed("there", 1)));
}

#[tokio::test]
async fn a_few_namespaces_whose_receivers_are_away_leave_room_for_others() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let to =
        |number| Delivery { to: format!("team-{number:04}"), ..delivery(webhook(&format!("{base}/dead"))) };
    let owed: Vec<Delivery> = (0..1000).map(to).collect();
    for number in 0..6 {
        let dead = key(&format!("dead-{number}"));
        assert!(!telling.notifier.deliver(&dead, owed.clone()), "as many as it can have");
    }
    let shop = key("shop");
    assert!(telling.notifier.deliver(&shop, vec![delivery(webhook(&format!("{base}/there")))]));
    assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered);
}

#[tokio::test]
async fn a_lasting_failure_ends_it_with_the_status_alone() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let shop = key("shop");
    telling.notifier.deliver(&shop, vec![delivery(webhook(&format!("{base}/gone/there")))]);
    assert_eq!(telling.given_up(&shop).await, "127.0.0.1 answered 404");
    assert_eq!(receiver.got().len(), 1, "it is not tried again");
}

#[tokio::test]
async fn an_address_that_was_put_right_is_used_at_once_and_an_audience_that_is_gone_is_told_nothing() {
    let receiver = Receiver::default();
    let base = format!("http://127.0.0.1:{}", receiver.start().await);
    let telling = Telling::new(cluster(BTreeMap::new()).await, Reach::anywhere());
    let shop = key("shop");
    let wrong = delivery(webhook(&format!("{base}/hang")));
    telling.notifier.deliver(&shop, vec![wrong.clone(), Delivery { to: "other".into(), ..wrong }]);
    telling.notifier.deliver(&shop, vec![delivery(webhook(&format!("{base}/there")))]);
    assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered);
    assert_eq!(telling.notifier.told(&shop).len(), 1);
}
