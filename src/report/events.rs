//! Kubernetes events on transitions: one for each notice, those of a namespace written one after the other, tried once.

mod waiting;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use tokio::task::JoinSet;

use super::Metrics;
use crate::act::{ActError, Budget, Writer};
use crate::decide::decision::LONGEST_NOTE;
use crate::decide::{Key, Notice, Snapshot};
use crate::letters::bounded;
use crate::logged::logged;
pub use waiting::Waiting;

/// A notice about a Release.
#[derive(Debug, Clone)]
pub struct Telling {
    pub key: Key,
    pub regarding: Regarding,
    pub notice: Notice,
    pub at: Timestamp,
}

/// Where people look for it: the Release, or the Deployment that one has left behind which is gone.
#[derive(Debug, Clone)]
pub struct Regarding {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    uid: String,
}

impl Regarding {
    /// `None`: there is neither.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        if let Some(release) = &snapshot.release {
            let (name, uid) = (snapshot.key.name.clone(), release.uid.clone());
            return Some(Self { api_version: "tidegate.dev/v1alpha1", kind: "Release", name, uid });
        }
        let target = snapshot.target.as_ref()?;
        let (name, uid) = (target.name.clone(), target.uid.clone());
        Some(Self { api_version: "apps/v1", kind: "Deployment", name, uid })
    }
}

/// Events that go out in a second: when much happens at once, what is done goes before what is said of it.
const PER_SECOND: usize = 25;

/// Events under way at once, each of another namespace: one that hangs (a webhook, say, that is asked about one namespace only) holds up its
/// namespace's alone.
const AT_ONCE: usize = 32;

/// Writes events, without end.
pub async fn write_all(writer: Writer, waiting: Arc<Waiting>, metrics: Arc<Metrics>) {
    let budget = Budget::per_second(PER_SECOND);
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        if under_way.len() == AT_ONCE {
            under_way.join_next().await;
        }
        let telling = waiting.next().await;
        budget.spend().await;
        let (writer, waiting, metrics) = (writer.clone(), waiting.clone(), metrics.clone());
        under_way.spawn(async move {
            write(&writer, &telling, &metrics).await;
            waiting.done(&telling.key.namespace);
        });
    }
}

async fn write(writer: &Writer, telling: &Telling, metrics: &Metrics) {
    let Err(error) = writer.create_event(&telling.key.namespace, &event(telling)).await else { return };
    match &error {
        ActError::Forbidden(right) => {
            metrics.forbidden(right);
            tracing::warn!(release = %telling.key, error = %logged(&error), "an event could not be written");
        }
        _ => {
            tracing::debug!(release = %telling.key, error = %logged(&error), "an event could not be written")
        }
    }
    metrics.event_dropped();
}

fn event(telling: &Telling) -> Event {
    let Telling { key, regarding, notice, at } = telling;
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", key.name)),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(*at)),
        action: Some(notice.reason.into()),
        reason: Some(notice.reason.into()),
        note: Some(bounded(&notice.note, LONGEST_NOTE)),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.into()),
        reporting_controller: Some("tidegate.dev/operator".into()),
        reporting_instance: Some("tidegate".into()),
        regarding: Some(ObjectReference {
            api_version: Some(regarding.api_version.into()),
            kind: Some(regarding.kind.into()),
            name: Some(regarding.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(regarding.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::act::writer::Leads;

    pub(super) fn telling(namespace: &str, number: usize, warning: bool) -> Telling {
        let name = number.to_string();
        Telling {
            key: Key { namespace: namespace.into(), name: name.clone() },
            regarding: Regarding {
                api_version: "tidegate.dev/v1alpha1",
                kind: "Release",
                name: name.clone(),
                uid: name,
            },
            notice: Notice { warning, ..Notice::normal("Told", "something") },
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_note_of_an_event_is_read_as_it_is_written_and_is_one_line() {
        let said = "alice\u{202e} said: ko\u{2069}\u{2028}run r7\nhas ended\u{200f}";
        let told = Telling { notice: Notice::normal("Told", said), ..telling("shop", 1, false) };
        assert_eq!(event(&told).note.as_deref(), Some("alice said: ko run r7 has ended"));
    }

    #[test]
    fn a_note_takes_no_more_bytes_than_an_event_has_whatever_its_letters() {
        let noted = |said: &str| {
            let notice = Notice::normal("Told", said);
            event(&Telling { notice, ..telling("shop", 1, false) }).note.unwrap()
        };
        let whole = "中".repeat(333);
        assert_eq!(noted(&whole), whole, "999 bytes");
        assert_eq!(noted(&"中".repeat(400)), "中".repeat(332) + "…");
        assert_eq!(noted(&format!("a{}", "é".repeat(500))), format!("a{}…", "é".repeat(498)));
        assert_eq!(noted(&"a".repeat(1000)), "a".repeat(1000));
        assert_eq!(noted(&"a".repeat(5000)), "a".repeat(997) + "…");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_in_one_namespace_holds_up_what_is_told_there_and_nowhere_else() {
        let written = Arc::<Mutex<Vec<String>>>::default();
        let noted = written.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let noted = noted.clone();
            async move {
                let path = request.uri().path().to_owned();
                if path.contains("/namespaces/slow/") {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                }
                noted.lock().unwrap().push(path);
                let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {}});
                Ok::<_, std::io::Error>(Response::new(Body::from(event.to_string().into_bytes())))
            }
        });
        let writer = Writer::new(Client::new(service, "default"), Arc::new(Leads(Duration::from_secs(10))));
        let waiting = Arc::new(Waiting::default());
        for number in 0..100 {
            waiting.push(telling("slow", number, true));
        }
        for number in 0..3 {
            waiting.push(telling("other", number, false));
        }
        tokio::spawn(write_all(writer, waiting, Arc::new(Metrics::new())));
        let written_of = |namespace: &str| {
            let part = format!("/namespaces/{namespace}/");
            written.lock().unwrap().iter().filter(|path| path.contains(&part)).count()
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((written_of("slow"), written_of("other")), (0, 3));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(written_of("slow"), 3, "one after the other");
    }
}
