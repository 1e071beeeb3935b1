//! A world: what the API server stores, the cluster behind it, the network in between, and the watchman who looks at every step.
//!
//! It is plain data and knows no task. `play` lets time pass in it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tidegate::api::FIELD_MANAGER;
use tokio::sync::Notify;

use crate::autoscaler::Autoscaler;
use crate::cluster::{Cluster, named};
use crate::network::Network;
use crate::prometheus::{Lies, Prometheus};
use crate::server::store::kind_of;
use crate::server::{Name, Object, Store, Who};
use crate::server::{managers, requests};
use crate::story::Setup;
use crate::time::Epoch;
use crate::watchman::Watchman;

/// Where everything happens.
pub const NAMESPACE: &str = "shop";
/// The Deployment of every world, and its Release.
pub const TARGET: &str = "shop";
/// The Deployments that a world may have, each with a Release of its name.
pub const TARGETS: [&str; 3] = [TARGET, "till", "depot"];
/// Nodes, and what their label `tier` says. Pods are on one after the other.
pub const NODES: [(&str, &str); 3] = [("n1", "pilot"), ("n2", "common"), ("n3", "common")];
/// The ConfigMap that hooks write.
pub const FLAGS: &str = "flags";
/// Milliseconds until the native controllers look at a change.
const LAG: u64 = 8;
/// How often the time is asked for within one millisecond of it, at most: reading five hundred pods takes a thousand.
const MOST_IN_A_MOMENT: u64 = 200_000;

/// Everything there is.
pub struct World {
    /// Milliseconds since it began.
    pub now: u64,
    /// The API server has mutating admission policies.
    pub policies: bool,
    /// Objects on a page of a list, at most; 0: as many as are asked for.
    pub page: usize,
    /// A watch that begins too long ago is refused, and not told so within it.
    pub refuses_old: bool,
    /// The kind that cannot be listed or watched, and until when.
    pub unread: Option<(&'static str, u64)>,
    pub store: Store,
    /// One for each Deployment.
    pub clusters: Vec<Cluster>,
    /// Of the first.
    pub autoscaler: Option<Autoscaler>,
    pub network: Network,
    pub watchman: Watchman,
    /// Something was made that belongs to something, or something that others belong to went.
    pub litter: bool,
    /// Changes of objects, one line each.
    pub log: Vec<String>,
    /// What the pods' pages say.
    pub pages: Pages,
    /// What the pods counted, as it is told by somebody else.
    pub prometheus: Prometheus,
    /// What comes of telling people.
    pub receivers: Receivers,
    /// What those do whom hooks ask.
    pub flags: Flags,
}

/// What the pods' pages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// What they count.
    Honest,
    /// Nothing: the connection is refused.
    Silent,
    /// No numbers.
    Nonsense,
    /// The same counts again and again, and now and then fewer.
    Stuck,
}

/// What those do who are told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// They take it, and say so.
    Honest,
    /// They say that it may be tried again.
    Failing,
    /// They say that there is no use in it.
    Refusing,
    /// They say nothing.
    Hanging,
    /// They take it, and say nothing.
    Answerless,
}

/// What becomes of what a hook asks for: of a flag behind a URL, and of one in a ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// It is done.
    Honest,
    /// Nobody is there.
    Down,
    /// It is done, after a while.
    Slow,
    /// Nothing is said.
    Hanging,
    /// Whoever is there cannot do it now.
    Failing,
    /// It must not be done.
    Refusing,
}

impl Flags {
    /// How the API server refuses to change a ConfigMap.
    pub fn refuses(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Honest | Self::Slow => None,
            Self::Down | Self::Hanging | Self::Failing => Some((500, "InternalError")),
            Self::Refusing => Some((403, "Forbidden")),
        }
    }
}

/// A world that several may look at; a change tells whoever lets time pass.
#[derive(Clone)]
pub struct Shared {
    world: Arc<Mutex<World>>,
    pub changed: Arc<Notify>,
    pub epoch: Epoch,
    asked: Arc<Asked>,
}

/// How often somebody asked what time it is, or what there is, and how often since time passed last.
#[derive(Default)]
struct Asked {
    at: AtomicU64,
    since: AtomicU64,
    spins: AtomicBool,
}

impl Shared {
    pub fn new(world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::default(),
            epoch: Epoch::begin(),
            asked: Arc::default(),
        }
    }

    /// The world as it is now. Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.now = self.now();
        world
    }

    /// Milliseconds since the world began. Whoever asks and asks while no time passes is found out: virtual time stands still until
    /// everybody waits, so it would never pass again.
    pub fn now(&self) -> u64 {
        let now = self.epoch.now();
        let Asked { at, since, spins } = &*self.asked;
        if at.swap(now, Ordering::Relaxed) != now {
            since.store(0, Ordering::Relaxed);
        } else if since.fetch_add(1, Ordering::Relaxed) > MOST_IN_A_MOMENT {
            spins.store(true, Ordering::Relaxed);
            self.changed.notify_one();
        }
        now
    }

    /// Somebody turns in circles, and no time passes any more.
    pub fn spins(&self) -> bool {
        self.asked.spins.load(Ordering::Relaxed)
    }
}

impl World {
    /// As it is set up, with nothing in it.
    pub fn new(setup: &Setup) -> Self {
        let Setup { beside, policies, ready_after, page, refuses_old, autoscaler, .. } = *setup;
        let cluster = |index| Cluster::new(index, ready_after, setup.traffic());
        let clusters = (0..(1 + beside).clamp(1, TARGETS.len())).map(cluster);
        let mut world = Self {
            now: 0,
            policies,
            page,
            refuses_old,
            unread: None,
            store: Store::default(),
            clusters: clusters.collect(),
            autoscaler: autoscaler.map(Autoscaler::within),
            network: Network::default(),
            watchman: Watchman::default(),
            litter: false,
            log: Vec::new(),
            pages: Pages::Honest,
            prometheus: Prometheus::asked_by(&setup.release),
            receivers: Receivers::Honest,
            flags: Flags::Honest,
        };
        world.install();
        // Of nobody, so that a story need not wait for whoever may lead before it begins.
        if setup.candidates > 0 {
            let lease = json!({"metadata": {"name": "tidegate"}, "spec": {}});
            world.make(&Who::Cluster, "leases", "tidegate-system", lease);
        }
        world
    }

    /// The admission policies of the chart, by name: what they do is `server::admission`'s.
    fn install(&mut self) {
        for (node, tier) in NODES {
            let object = json!({"metadata": {"name": node, "labels": {"tier": tier}}});
            self.make(&Who::Cluster, "nodes", "", object);
        }
        self.make(
            &Who::Cluster,
            "configmaps",
            NAMESPACE,
            json!({"metadata": {"name": FLAGS}, "data": {"new": "on"}}),
        );
        let mut names = ["tidegate-action-rights", "tidegate-release-rights", "tidegate-release-undo"]
            .map(|name| ("validatingadmissionpolicies", name))
            .to_vec();
        if self.policies {
            names.push(("mutatingadmissionpolicies", "tidegate-workload-hold"));
            names.push(("mutatingadmissionpolicies", "tidegate-workload-pace"));
        }
        for (plural, name) in names {
            let binding = match plural {
                "validatingadmissionpolicies" => "validatingadmissionpolicybindings",
                _ => "mutatingadmissionpolicybindings",
            };
            for plural in [plural, binding] {
                let labels = json!({"app.kubernetes.io/part-of": "tidegate"});
                let object = json!({
                    "metadata": {"name": name, "labels": labels}, "spec": {"validationActions": ["Deny"]},
                });
                self.make(&Who::Cluster, plural, "", object);
            }
        }
    }

    /// Whether nobody can list or watch this kind now.
    pub fn is_unread(&self, plural: &str) -> bool {
        self.unread.is_some_and(|(unread, until)| unread == plural && self.now < until)
    }

    /// Stores a change that has passed everything that could refuse it.
    pub fn commit(
        &mut self,
        who: &Who,
        plural: &'static str,
        name: Name,
        before: Option<&Value>,
        mut object: Value,
    ) -> Arc<Object> {
        self.check_write(who, plural, before, &object);
        let manager = match who {
            Who::Operator(_) => Some(FIELD_MANAGER),
            Who::Person(person) => Some(*person),
            Who::Cluster => None,
        };
        if let Some(manager) = manager.filter(|_| plural == "deployments") {
            managers::note(manager, before, &mut object);
        }
        let concerns = match plural {
            "deployments" => self.clusters.iter().position(|cluster| cluster.name == name.1),
            "jobs" | "releases" => Some(0),
            _ => None,
        };
        let stored = self.store.put(plural, name, object);
        if plural == "pods" {
            self.relabelled(&stored);
        }
        self.litter |= matches!(plural, "controllerrevisions" | "jobs");
        if let Some(of) = concerns {
            self.clusters[of].touch(self.now, LAG);
        }
        self.counted(who, plural, before.map_or("made", |_| "wrote"), &stored);
        stored
    }

    /// Takes an object out.
    pub fn delete(&mut self, who: &Who, plural: &'static str, name: &Name) {
        if plural == "pods" {
            return self.delete_pod(who, name);
        }
        if plural == "releases" {
            self.note_release_deleted(&name.1);
        }
        if let Some(gone) = self.store.remove(plural, name) {
            if plural == "controllerrevisions" && matches!(who, Who::Person(_)) {
                self.note_copy_deleted(&gone);
            }
            self.litter = true;
            self.clusters.iter_mut().for_each(|cluster| cluster.touch(self.now, LAG));
            self.counted(who, plural, "deleted", &gone);
        }
    }

    /// A line in the log; and a process may die after its nth write.
    pub fn counted(&mut self, who: &Who, plural: &str, verb: &str, object: &Value) {
        if plural == "leases" {
            if let Who::Operator(process) = who {
                self.renewed(*process);
            }
            return;
        }
        let who = match who {
            Who::Operator(process) => {
                if plural != "events" {
                    self.network.wrote(*process);
                }
                format!("operator {process}")
            }
            Who::Person(name) => (*name).to_owned(),
            Who::Cluster => return,
        };
        let metadata = &object["metadata"];
        let spec = &object["spec"];
        let about = match plural {
            "deployments" => format!(
                " generation {} of {} version {} paused {} minReadySeconds {} strategy {} replicas {}",
                metadata["generation"],
                metadata["labels"][tidegate::api::RELEASE_LABEL],
                spec["template"]["metadata"]["annotations"]["version"],
                spec["paused"],
                spec["minReadySeconds"],
                spec["strategy"]["rollingUpdate"],
                spec["replicas"],
            ),
            "releases" => format!(
                " {} {} {}",
                object["status"]["phase"],
                object["status"]["summary"]["message"],
                object["status"]["run"]["step"]
            ),
            "events" => format!(" {}", object["note"]),
            _ => String::new(),
        };
        let seconds = format!("{}.{:03}", self.now / 1000, self.now % 1000);
        let name = metadata["name"].as_str().unwrap_or_default();
        self.log.push(format!("{seconds} {who} {verb} {plural}/{name}{about}"));
    }

    /// Somebody makes an object; one that is there already stays.
    pub fn make(&mut self, who: &Who, plural: &str, namespace: &str, object: Value) {
        let Some(kind) = kind_of(plural) else { return };
        // The only refusal is that it is there.
        drop(requests::create(self, who, kind, namespace, object));
    }

    /// Somebody writes a Deployment; what the API server refuses is not written.
    pub fn write_target(&mut self, name: &str, who: &'static str, change: impl FnOnce(&mut Value)) {
        let (Some(before), Some(kind)) = (self.deployment(name).cloned(), kind_of("deployments")) else {
            return;
        };
        let mut object = (**before).clone();
        change(&mut object);
        drop(requests::update(self, &Who::Person(who), kind, &named(name), &before, object, false));
    }

    /// A tool applies its fields of a Deployment's spec server-side: not at all where there is a conflict, unless it insists.
    pub fn apply_target(
        &mut self,
        name: &str,
        who: &'static str,
        fields: &Map<String, Value>,
        insists: bool,
    ) {
        let Some(deployment) = self.deployment(name) else { return };
        let conflicts = managers::conflicts(who, fields, deployment);
        if !conflicts.is_empty() && !insists {
            let seconds = format!("{}.{:03}", self.now / 1000, self.now % 1000);
            self.log.push(format!("{seconds} {who} was refused deployments/{name}: conflicts {conflicts:?}"));
            return;
        }
        self.write_target(name, who, |object| {
            for (field, value) in fields {
                object["spec"][field] = value.clone();
            }
        });
        let Some(deployment) = self.deployment(name).cloned() else { return };
        let mut object = (**deployment).clone();
        managers::share(who, fields, &mut object);
        self.commit(&Who::Cluster, "deployments", named(name), Some(&deployment), object);
    }

    /// Somebody scales it: the scale subresource is no business of the policies.
    pub fn scale_target(&mut self, name: &str, replicas: i32) {
        let Some(before) = self.deployment(name).cloned() else { return };
        if before["spec"]["replicas"] == replicas {
            return;
        }
        let mut object = (**before).clone();
        object["spec"]["replicas"] = json!(replicas);
        object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        self.commit(&Who::Person("autoscaler"), "deployments", named(name), Some(&before), object);
    }

    /// Until when watches that this process starts now are held back.
    pub fn watch_held_until(&self, process: usize) -> u64 {
        self.network.held_until(process).filter(|until| *until > self.now).unwrap_or(0)
    }

    /// The Deployments that there may be, each with its Release.
    pub fn targets(&self) -> impl Iterator<Item = &'static str> + use<> {
        TARGETS.into_iter().take(self.clusters.len())
    }

    /// A Deployment.
    pub fn deployment(&self, name: &str) -> Option<&Arc<Object>> {
        self.store.get("deployments", &named(name))
    }

    /// A Release.
    pub fn release(&self, name: &str) -> Option<&Arc<Object>> {
        self.store.get("releases", &named(name))
    }

    /// Its status; null where there is none.
    pub fn status(&self, name: &str) -> &Value {
        static NOTHING: Value = Value::Null;
        self.release(name).map_or(&NOTHING, |release| &release["status"])
    }

    /// Whether a pod answers at this address.
    pub fn is_served_at(&mut self, address: IpAddr) -> bool {
        let now = self.now;
        self.is_on_trial_at(address)
            || self.clusters.iter_mut().any(|cluster| cluster.at(address, now).is_some())
    }

    /// From now on the pods' pages say this.
    pub fn say_on_pages(&mut self, pages: Pages) {
        self.pages = pages;
        self.source_changed();
    }

    /// From now on this is what Prometheus says.
    pub fn say_by_prometheus(&mut self, lies: Lies) {
        self.prometheus.lies = lies;
        self.source_changed();
    }

    /// Everything about the Deployments, their Releases and their pods, for people.
    pub fn describe(&self) -> String {
        let all: Vec<String> = self.targets().map(|name| self.describe_one(name)).collect();
        format!("at {} s\n{}", self.now / 1000, all.join("\n"))
    }

    fn describe_one(&self, name: &str) -> String {
        let deployment = self.deployment(name).map(|it| (***it).clone()).unwrap_or_default();
        let mut status = self.status(name).clone();
        if let Some(status) = status.as_object_mut() {
            status.remove("conditions");
        }
        let native = self.native(name);
        let sets = native.sets.iter().map(|set| {
            let version = &set.template["metadata"]["annotations"]["version"];
            format!("{} {version} x{} (desired {})", set.name, set.replicas, set.desired)
        });
        format!(
            "{name}\nspec {:#}\nannotations {:#}\nsets {:#?}\n{} Ready of {} pods\nstatus {status:#}",
            deployment["spec"],
            deployment["metadata"]["annotations"],
            sets.collect::<Vec<_>>(),
            native.ready(),
            native.alive(),
        )
    }
}
