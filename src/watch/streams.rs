//! One watch a kind, for ever, with back-off; each event goes into the index and wakes the Releases that it concerns.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::alive::Begun;
use super::index::{self, Indexed, SharedIndex};
use super::pages;
use super::sent::Sent;
use super::slim;
use super::watched::{Need, Now, Refused, Watched};
use crate::api::{RELEASE_LABEL, Right};
use crate::decide::Key;
use crate::logged::logged;

/// Seconds after which the API server ends a watch by itself; one that it does not end is ended here, five seconds later. So long a
/// silence can go unnoticed at rest; whoever makes the client sees to it that it is shorter while a run is under way.
const WATCH_SECONDS: u32 = 60;
/// The longest pause after a watch could not be begun: an API server that is back is heard again soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Label of our admission policies and their bindings.
const OURS: &str = "app.kubernetes.io/part-of=tidegate";

/// The watches under way.
pub struct Watching {
    /// Ends when a watch ends, which none does by itself.
    pub tasks: JoinSet<()>,
    pub first_lists: FirstLists,
}

/// How many kinds still have to be listed for the first time.
#[derive(Clone, Default)]
pub struct FirstLists(Arc<Listed>);

#[derive(Default)]
pub(super) struct Listed {
    missing: AtomicUsize,
    changed: Notify,
    /// Rights without which a kind cannot be watched, by kind.
    lacking: Mutex<BTreeMap<String, Right>>,
}

impl Listed {
    /// One kind more is known.
    pub(super) fn note_one(&self) {
        self.missing.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(super) fn lacking(&self) -> MutexGuard<'_, BTreeMap<String, Right>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FirstLists {
    /// Waits until every kind has been listed once: before that, "not there" may be a lie.
    pub async fn complete(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.are_complete() {
                return;
            }
            changed.await;
        }
    }

    /// Rights that are missing to watch everything.
    pub fn lacking(&self) -> Vec<Right> {
        self.0.lacking().values().cloned().collect()
    }

    /// Whether every kind has been listed once.
    pub fn are_complete(&self) -> bool {
        self.0.missing.load(Ordering::Acquire) == 0
    }
}

/// Starts all watches, of these namespaces or, where none are named, of all. `wake` is told which Releases a change concerns, `refused` which right is missing, and `now` tells the time; none must block.
pub async fn start(
    client: &Client,
    index: &SharedIndex,
    namespaces: &[String],
    wake: impl Fn(Vec<Key>) + Clone + Send + 'static,
    refused: impl Fn(&Right) + Send + Sync + 'static,
    now: impl Fn() -> Timestamp + Send + Sync + 'static,
) -> Watching {
    let listed = FirstLists::default();
    let mut tasks = JoinSet::new();
    let client = &pages::bounded(client);
    let mut starter = Starter {
        client,
        index,
        namespaces,
        listed: &listed,
        tasks: &mut tasks,
        refused: Arc::new(refused),
        now: Arc::new(now),
    };
    let labelled = || config().labels(RELEASE_LABEL);
    starter.kind::<slim::Release>(config(), &wake);
    starter.kind::<slim::ReleaseAction>(config(), &wake);
    starter.kind::<slim::Deployment>(config(), &wake);
    starter.kind::<slim::ReplicaSet>(config(), &wake);
    starter.kind::<slim::Pod>(config(), &wake);
    starter.kind::<slim::StoredTemplate>(labelled(), &wake);
    starter.kind::<slim::Job>(labelled(), &wake);
    starter.freezes(&wake);
    for kind in served_policies(client).await {
        starter.policies(kind, &wake);
    }
    Watching { tasks, first_lists: listed }
}

pub(super) fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Pauses after failures: those of the library, up to a limit of ours. They begin anew only by time, two minutes after the last failure: the library
/// says that it begins to list before it asks for anything, so what comes without an error says nothing of whether the next request is answered.
#[derive(Default)]
pub(super) struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

/// Kinds of admission policies that this API server serves: an old one has no mutating ones, and says so once, here. Where it cannot be
/// asked all are tried, and what it does not serve is found out then ([`Need::IfServed`]).
async fn served_policies(client: &Client) -> Vec<&'static str> {
    let wanted = [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    match client.list_api_group_resources("admissionregistration.k8s.io/v1").await {
        Ok(served) => wanted
            .into_iter()
            .filter(|kind| served.resources.iter().any(|resource| resource.kind == *kind))
            .collect(),
        Err(error) => {
            tracing::warn!(error = %logged(&error), "cannot tell which admission policies are served; trying all");
            wanted.to_vec()
        }
    }
}

struct Starter<'a> {
    client: &'a Client,
    index: &'a SharedIndex,
    namespaces: &'a [String],
    listed: &'a FirstLists,
    tasks: &'a mut JoinSet<()>,
    refused: Refused,
    now: Now,
}

impl Starter<'_> {
    fn kind<K>(&mut self, config: watcher::Config, wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static))
    where
        K: Indexed<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        if self.namespaces.is_empty() {
            return self.kind_in::<K>(None, config, wake);
        }
        for namespace in self.namespaces {
            self.kind_in::<K>(Some(namespace), config.clone(), wake);
        }
    }

    fn kind_in<K>(
        &mut self,
        namespace: Option<&str>,
        config: watcher::Config,
        wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static),
    ) where
        K: Indexed<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        let (client, begun) = self.noticed();
        let kind = K::Kind::kind(&());
        let (api, name): (Api<Sent<K>>, String) = match namespace {
            None => (Api::all(client), kind.into_owned()),
            Some(namespace) => (Api::namespaced(client, namespace), format!("{kind} in {namespace}")),
        };
        self.index_what_comes(name, Need::Must, begun, api, namespace, config, wake);
    }

    /// Freezes, and the labels of the namespaces that they may select. Where they cannot be read everything else goes on, the way
    /// back before all: that they cannot is said.
    fn freezes(&mut self, wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static)) {
        let (client, begun) = self.noticed();
        let all: Api<Sent<slim::Freeze>> = Api::all(client);
        self.index_what_comes("Freeze".to_owned(), Need::May, begun, all, None, config(), wake);
        if self.namespaces.is_empty() {
            return self.namespace("Namespace".to_owned(), None, config(), wake);
        }
        for name in self.namespaces {
            let this = config().fields(&format!("metadata.name={name}"));
            self.namespace(format!("Namespace {name}"), Some(name), this, wake);
        }
    }

    fn namespace(
        &mut self,
        kind: String,
        name: Option<&str>,
        config: watcher::Config,
        wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static),
    ) {
        let (client, begun) = self.noticed();
        let all: Api<Sent<slim::Namespace>> = Api::all(client);
        self.index_what_comes(kind, Need::May, begun, all, name, config, wake);
    }

    /// A client for one watch, and whether that has begun.
    fn noticed(&self) -> (Client, Begun) {
        let begun = Begun::default();
        (begun.noticing(self.client), begun)
    }

    /// Watches, and keeps what comes. `namespace`: what a listing is complete of; `None`: of everything.
    #[expect(clippy::too_many_arguments, reason = "a watch is all of this")]
    fn index_what_comes<K: Indexed>(
        &mut self,
        name: String,
        need: Need,
        begun: Begun,
        api: Api<Sent<K>>,
        namespace: Option<&str>,
        config: watcher::Config,
        wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static),
    ) {
        let namespace = namespace.map(str::to_owned);
        let index = self.index.clone();
        let stream = watch(api, config).backoff(Pauses::default());
        let watched = self.watched(name, need, namespace.clone());
        self.run(watched, begun, stream, wake.clone(), move |event| {
            let mut index = index.lock();
            match event {
                Event::Apply(sent) | Event::InitApply(sent) => index::apply(&mut index, sent.object),
                Event::Delete(sent) => index::delete(&mut index, &sent.object),
                Event::Init => {
                    K::table(&mut index).begin_listing(namespace.as_deref());
                    Vec::new()
                }
                Event::InitDone => index::end_listing::<K>(&mut index, namespace.as_deref()),
            }
        });
    }

    /// Policies are known by name only, and bindings that have no effect not at all; a change may concern every Release.
    fn policies(&mut self, kind: &'static str, wake: &(impl Fn(Vec<Key>) + Clone + Send + 'static)) {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let resource = ApiResource { plural: plural(kind), ..resource };
        let (client, begun) = self.noticed();
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let index = self.index.clone();
        let stream = watch(api, config().labels(OURS)).backoff(Pauses::default());
        let watched = self.watched(kind.to_owned(), Need::IfServed, None);
        let mut listing = std::collections::BTreeSet::new();
        self.run(watched, begun, stream, wake.clone(), move |event: Event<DynamicObject>| {
            let mut index = index.lock();
            let before = index.policies.clone();
            let name = |object: &DynamicObject| format!("{kind}/{}", object.name_any());
            match event {
                Event::Apply(object) if is_in_force(kind, &object) => {
                    index.policies.insert(name(&object));
                }
                Event::InitApply(object) if is_in_force(kind, &object) => {
                    listing.insert(name(&object));
                }
                Event::InitApply(_) => {}
                Event::Apply(object) | Event::Delete(object) => {
                    index.policies.remove(&name(&object));
                }
                Event::Init => listing.clear(),
                Event::InitDone => {
                    index.policies.retain(|known| !known.starts_with(&format!("{kind}/")));
                    index.policies.append(&mut listing);
                }
            }
            if index.policies == before {
                Vec::new()
            } else {
                index.releases.iter().map(|(name, _)| name.into()).collect()
            }
        });
    }

    fn watched(&self, name: String, need: Need, namespace: Option<String>) -> Watched {
        Watched {
            name,
            namespace,
            need,
            listed: self.listed.0.clone(),
            index: self.index.clone(),
            refused: self.refused.clone(),
            now: self.now.clone(),
            is_new: true,
            is_unheard: false,
        }
    }

    /// `take` keeps what comes, and says which Releases it concerns.
    fn run<K: Send + 'static>(
        &mut self,
        mut watched: Watched,
        begun: Begun,
        stream: impl futures::Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
        wake: impl Fn(Vec<Key>) + Send + 'static,
        mut take: impl FnMut(Event<K>) -> Vec<Key> + Send + 'static,
    ) {
        watched.listed.missing.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            let mut stream = pin!(stream);
            let mut lives = pin!(begun.lives());
            loop {
                let event = tokio::select! {
                    biased;
                    event = stream.next() => event,
                    () = &mut lives, if watched.is_unheard => {
                        lives.set(begun.lives());
                        wake(watched.is_heard());
                        continue;
                    }
                };
                let Some(event) = event else { break };
                match event {
                    Ok(event) => {
                        let is_listed = matches!(event, Event::InitDone);
                        wake(take(event));
                        // Of a list that fails a part may have come, and of what a watch has to tell the first: the rest is heard when it has
                        // gone on for a while.
                        if is_listed {
                            wake(watched.is_heard());
                            watched.is_settled();
                        }
                    }
                    Err(error) => {
                        begun.forget();
                        watched.failed(&error);
                    }
                }
            }
        });
    }
}

/// Whether it has an effect: the binding of a validating policy that denies nothing, as one on trial, has none.
fn is_in_force(kind: &str, object: &DynamicObject) -> bool {
    let actions = object.data["spec"]["validationActions"].as_array();
    kind != "ValidatingAdmissionPolicyBinding"
        || actions.is_some_and(|actions| actions.iter().any(|action| action == "Deny"))
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests;
