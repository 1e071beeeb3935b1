//! The cluster behind the API server: for each Deployment the native controllers' model, a Service, a kubelet, nodes that fall silent or are drained; Jobs, garbage collection. What
//! they do shows as objects, as it would in a real one.

mod garbage;
mod jobs;
mod nodes;
mod shown;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::nodes::Silence;
pub use self::nodes::{ELSEWHERE, GRACE, TOLERATED};
use self::shown::{ShownPod, ShownSet};
use crate::native::{Native, Pod, crashes};
use crate::pages::Counted;
use crate::server::{Name, Object, Who};
use crate::service::Service;
use crate::time::{second, stamp};
use crate::watchman::RECENTLY;
use crate::world::{NAMESPACE, TARGETS, World};

/// How long a pod takes to end.
const ENDING: u64 = 300;
/// Rounds of the controllers until nothing moves any more; more is a loop.
const ROUNDS: usize = 40;

/// Pods of another Deployment have other numbers, and so other names and addresses.
const NUMBERS: u64 = 1_000_000;

/// What the controllers and kubelets keep to themselves about one Deployment.
pub struct Cluster {
    /// Of the Deployment.
    pub name: &'static str,
    pub native: Native,
    pub service: Service,
    /// Milliseconds from a pod's start to its readiness.
    pub ready_after: u64,
    /// The controllers look at nothing before.
    pub asleep_until: u64,
    /// When something is due without anybody doing anything.
    due: u64,
    /// The Deployment whose pods these are.
    uid: String,
    /// It was deleted, and what belonged to it was left as it is, until another one of its name takes it.
    left_alone: bool,
    revision: u64,
    newest: Option<String>,
    /// By their numbers.
    shown_pods: BTreeMap<u64, ShownPod>,
    shown_sets: BTreeMap<String, ShownSet>,
    /// Pods on nodes that are not heard from.
    silent: BTreeMap<String, Silence>,
    /// From when on all nodes are heard from, as far as is known.
    pub heard_from: u64,
    /// Nodes that take no new pods, by their numbers, and until when.
    cordoned: BTreeMap<usize, u64>,
    /// Pods, by their numbers, that are on another node than their number says.
    elsewhere: BTreeMap<u64, usize>,
    /// Pods that do not answer their kubelet, until when.
    unready: BTreeMap<String, u64>,
    /// Pods that the nodes have room for.
    room: usize,
    /// And had, when that was changed last.
    room_before: (usize, u64),
    /// Pods that no node has room for.
    waiting: BTreeSet<String>,
    /// When those got a place that had waited for one.
    placed_at: BTreeMap<String, u64>,
    /// Pods that belong to no ReplicaSet any more, and when they are gone.
    pub kept: BTreeMap<String, u64>,
}

impl Cluster {
    /// `index`: of the Deployment in a world's.
    pub fn new(index: usize, ready_after: u64, traffic: Vec<u64>) -> Self {
        let numbered_from = u64::try_from(index).unwrap_or(0) * NUMBERS;
        Self {
            name: TARGETS[index],
            native: Native::numbered_from(numbered_from, stamp(0)),
            service: Service::with(traffic),
            ready_after,
            asleep_until: 0,
            due: 0,
            uid: String::new(),
            left_alone: false,
            revision: 0,
            newest: None,
            shown_pods: BTreeMap::new(),
            shown_sets: BTreeMap::new(),
            silent: BTreeMap::new(),
            heard_from: 0,
            cordoned: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            unready: BTreeMap::new(),
            room: usize::MAX,
            room_before: (usize::MAX, 0),
            waiting: BTreeSet::new(),
            placed_at: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// A pod without the labels by which it was known is nobody's: its ReplicaSet may make another one. One that is ending ends.
    fn let_go(&mut self, name: &str, now: u64) -> bool {
        self.service.count(&self.native, now);
        let Some(place) = self.native.pods.iter().position(|pod| pod.name == name) else { return false };
        let pod = self.native.pods.remove(place);
        let gone_at = pod.terminating_since.map_or(u64::MAX, |since| milliseconds(since) + ENDING);
        self.shown_pods.remove(&number(name));
        self.silent.remove(name);
        self.unready.remove(name);
        self.waiting.remove(name);
        self.kept.insert(pod.name, gone_at);
        self.due = self.due.min(now);
        true
    }

    /// Pods that are nobody's end.
    fn end_kept(&mut self, of: impl Fn(&str) -> bool, now: u64) {
        for (_, gone_at) in self.kept.iter_mut().filter(|(name, _)| of(name)) {
            *gone_at = (*gone_at).min(now + ENDING);
        }
        self.due = self.due.min(now);
    }

    /// Something has changed: the controllers look at it after so many milliseconds.
    pub fn touch(&mut self, now: u64, lag: u64) {
        self.due = self.due.min(now + lag);
    }

    /// When they look next.
    pub fn due(&self) -> u64 {
        self.due.max(self.asleep_until)
    }

    /// Some of the pods that serve do not answer their kubelet for a while: they are not Ready, and then they are again.
    pub fn flap(&mut self, pods: usize, now: u64, until: u64) {
        self.service.count(&self.native, now);
        self.touch(now, 0);
        let unready = self.serving(pods);
        for pod in self.native.pods.iter_mut().filter(|pod| unready.contains(&pod.name)) {
            pod.ready_since = None;
        }
        self.unready.extend(unready.into_iter().map(|pod| (pod, until)));
    }

    /// The pods of the newest version that are there end again and again.
    pub fn fail(&mut self, now: u64) {
        self.service.count(&self.native, now);
        self.touch(now, 0);
        let Native { sets, pods, .. } = &mut self.native;
        let Some(newest) = sets.iter().max_by_key(|set| set.born) else { return };
        for pod in pods.iter_mut().filter(|pod| pod.set == newest.name) {
            (pod.crashing, pod.ready_since) = (true, None);
        }
    }

    /// Pods that end again and again, and not because of their template, do so no more.
    pub fn mend(&mut self, now: u64) {
        let Native { sets, pods, .. } = &mut self.native;
        let ends = |pod: &Pod| sets.iter().any(|set| set.name == pod.set && crashes(&set.template));
        let mut is_mended = false;
        for pod in pods.iter_mut().filter(|pod| pod.crashing && !ends(pod)) {
            (pod.crashing, is_mended) = (false, true);
        }
        if is_mended {
            self.touch(now, 0);
        }
    }

    /// From now on the nodes have room for so many pods of it.
    pub fn make_room(&mut self, room: usize, now: u64) {
        if room != self.room {
            self.room_before = (std::mem::replace(&mut self.room, room), now);
        }
        self.due = self.due.min(now);
    }

    /// Pods get a place in the order in which they were made; those that have one keep it to their end.
    fn schedule(&mut self, now: u64) {
        if self.room == usize::MAX && self.waiting.is_empty() {
            return;
        }
        let Self { native, shown_pods, waiting, placed_at, room, .. } = self;
        waiting.retain(|name| {
            native.pods.iter().any(|pod| pod.name == *name && pod.terminating_since.is_none())
        });
        let has_one =
            |pod: &&Pod| shown_pods.contains_key(&number(&pod.name)) && !waiting.contains(&pod.name);
        let mut taken = native.pods.iter().filter(has_one).count();
        for pod in native.pods.iter().filter(|pod| pod.terminating_since.is_none()) {
            let is_new = !shown_pods.contains_key(&number(&pod.name));
            if !is_new && !waiting.contains(&pod.name) {
                continue;
            }
            if taken < *room {
                taken += 1;
                if waiting.remove(&pod.name) {
                    placed_at.insert(pod.name.clone(), now);
                }
            } else {
                waiting.insert(pod.name.clone());
            }
        }
    }

    /// What the pod at this address has counted, if it serves pages.
    pub fn at(&mut self, address: std::net::IpAddr, now: u64) -> Option<Counted> {
        let std::net::IpAddr::V4(address) = address else { return None };
        let wanted = u64::from(u32::from(address) & 0x00FF_FFFF);
        self.service.count(&self.native, now);
        let pod = self.native.pods.iter().find(|pod| number(&pod.name) & 0x00FF_FFFF == wanted)?;
        self.serves(pod).then(|| self.service.counted(&pod.name))
    }

    /// What the pods that serve pages have counted.
    pub fn counted(&mut self, now: u64) -> impl Iterator<Item = (&str, Counted)> {
        self.service.count(&self.native, now);
        let pods = self.native.pods.iter().filter(|pod| self.serves(pod));
        pods.map(|pod| (pod.name.as_str(), self.service.counted(&pod.name)))
    }

    fn serves(&self, pod: &Pod) -> bool {
        pod.ready_since.is_some() && !self.silent.contains_key(&pod.name)
    }

    fn shape(&self) -> (Vec<i32>, usize) {
        let native = &self.native;
        (native.sets.iter().map(|set| set.replicas).collect(), native.alive())
    }

    fn ready_at(&self, pod: &Pod) -> u64 {
        // Some pods take longer to start than others.
        let spread = number(&pod.name).wrapping_mul(37) % 4;
        let since = self.placed_at.get(&pod.name).copied().unwrap_or(milliseconds(pod.born));
        since + self.ready_after + spread * (self.ready_after / 12)
    }

    fn kubelet(&mut self, now: u64) {
        let never: BTreeSet<String> = self
            .native
            .sets
            .iter()
            .filter(|set| is_never_ready(&set.template))
            .map(|set| set.name.clone())
            .collect();
        self.silences(now);
        let mut pods = std::mem::take(&mut self.native.pods);
        self.unready.retain(|_, until| *until > now);
        // Nobody but their kubelet says that they have ended.
        let silent = &self.silent;
        let is_there = |pod: &Pod| {
            let goes_on = pod.terminating_since.is_none_or(|since| now < milliseconds(since) + ENDING);
            goes_on || silent.contains_key(&pod.name)
        };
        pods.retain(is_there);
        for pod in &mut pods {
            let up = !pod.crashing && pod.terminating_since.is_none() && !never.contains(&pod.set);
            if up
                && pod.ready_since.is_none()
                && !self.silent.contains_key(&pod.name)
                && !self.unready.contains_key(&pod.name)
                && !self.waiting.contains(&pod.name)
                && now >= self.ready_at(pod)
            {
                pod.ready_since = Some(stamp(now));
            }
        }
        self.native.pods = pods;
        self.schedule(now);
    }

    fn next_due(&self, now: u64) -> u64 {
        let of_pod = |pod: &Pod| match (pod.terminating_since, pod.ready_since) {
            (Some(since), _) => milliseconds(since) + ENDING,
            (None, None) => self.ready_at(pod),
            (None, Some(since)) => {
                let set = self.native.sets.iter().find(|set| set.name == pod.set);
                let seconds = set.map_or(0, |set| u64::try_from(set.min_ready).unwrap_or(0));
                // Parked is never.
                if seconds > 100_000 { 0 } else { milliseconds(since) + seconds * 1000 }
            }
        };
        let pods = self.native.pods.iter().map(of_pod);
        let silent = self.silent.values().flat_map(Silence::moments);
        let others = self.unready.values().chain(self.kept.values()).copied();
        pods.chain(silent).chain(others).filter(|at| *at > now).min().unwrap_or(u64::MAX)
    }
}

/// Whether there is no image for the pods of a template.
fn lacks_image(template: &Value) -> bool {
    template["metadata"]["annotations"]["image-missing"] == "true"
}

/// Whether the pods of a template never become Ready.
fn is_never_ready(template: &Value) -> bool {
    template["metadata"]["annotations"]["never-ready"] == "true" || lacks_image(template)
}

/// Where an object of this name is.
pub fn named(name: &str) -> Name {
    (NAMESPACE.to_owned(), name.to_owned())
}

/// Whether there is room for fewer pods than these.
fn is_less(room: usize, replicas: i64) -> bool {
    i64::try_from(room).is_ok_and(|room| room < replicas)
}

impl World {
    /// Controllers and kubelets do what is due.
    pub fn settle(&mut self) {
        for of in 0..self.clusters.len() {
            if self.clusters[of].due() <= self.now {
                self.settle_one(of);
            }
        }
    }

    fn settle_one(&mut self, of: usize) {
        let now = self.now;
        let Cluster { name, service, native, .. } = &mut self.clusters[of];
        service.count(native, now);
        let name = *name;
        let deployment = self.deployment(name).cloned();
        let uid = deployment.as_ref().map(|it| it["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
        if uid.as_deref().is_none_or(|uid| uid != self.clusters[of].uid) {
            self.orphaned(of, uid.unwrap_or_default());
        }
        self.end_pods(of);
        self.note_room(name);
        self.clusters[of].native.now = stamp(now);
        self.clusters[of].kubelet(now);
        let spec = deployment.as_ref().map(|deployment| &deployment["spec"]);
        self.excuse_what_counts_for_nothing(name);
        let standing = self.standing(name);
        let mut before = self.clusters[of].shape();
        for round in 0..ROUNDS {
            self.clusters[of].native.round(spec);
            let after = self.clusters[of].shape();
            if after == before {
                break;
            }
            before = after;
            if round + 1 == ROUNDS {
                self.violated("model", "the native controller does not come to rest".to_owned());
            }
        }
        self.clusters[of].schedule(now);
        self.clusters[of].place(now);
        if let Some(before) = standing {
            self.check_way_back(name, &before);
        }
        let mut next = u64::MAX;
        if of == 0 {
            // Whose Jobs they are is nothing to those who run them.
            self.jobs();
            self.collect_garbage();
            self.trials();
            next = self.next_job();
        }
        self.show(of, deployment);
        self.clusters[of].due = self.clusters[of].next_due(now).min(next);
        self.check_pods(name);
        self.check_way_is_open(name);
    }

    /// A pod has other labels: it may be known no more.
    pub fn relabelled(&mut self, pod: &Object) {
        let is_known = !pod["metadata"]["labels"]["pod-template-hash"].is_null();
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let now = self.now;
        let let_go = !is_known && self.clusters.iter_mut().any(|cluster| cluster.let_go(name, now));
        if let_go {
            self.check_kept(pod);
        }
    }

    /// Somebody deletes a pod: it ends, and then it is gone.
    pub fn delete_pod(&mut self, who: &Who, name: &Name) {
        let now = self.now;
        self.check_pod_deleted(who, name);
        self.clusters.iter_mut().for_each(|cluster| cluster.end_kept(|kept| kept == name.1, now));
        let ends = |cluster: &Cluster| cluster.kept.contains_key(&name.1);
        if let Some(pod) = self.store.get("pods", name).cloned().filter(|_| self.clusters.iter().any(ends)) {
            let mut object = (**pod).clone();
            object["metadata"]["deletionTimestamp"] = json!(second(now));
            let stored = self.store.put("pods", name.clone(), object);
            self.counted(who, "pods", "deleted", &stored);
        }
    }

    /// Those that belong to nobody are gone when they have ended.
    fn end_pods(&mut self, of: usize) {
        let Self { now, store, clusters, .. } = self;
        clusters[of].kept.retain(|name, gone_at| {
            let lives = *gone_at > *now;
            if !lives {
                store.remove("pods", &named(name));
            }
            lives
        });
    }

    /// Everything in it is as it was once the world began: all pods of the first template are there and Ready.
    pub fn begin_ready(&mut self) {
        self.settle();
        let now = self.now;
        for cluster in &mut self.clusters {
            for pod in &mut cluster.native.pods {
                pod.ready_since = Some(stamp(now));
            }
            cluster.due = now;
        }
        self.settle();
    }

    /// Whether the nodes have no room for so many pods of a Deployment.
    pub fn has_no_room(&self, name: &str, replicas: i64) -> bool {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        cluster.is_some_and(|cluster| is_less(cluster.room, replicas))
    }

    /// Whether they have always had room for any number of them.
    pub fn always_had_room(&self, name: &str) -> bool {
        let has = |cluster: &Cluster| cluster.room == usize::MAX && cluster.room_before.0 == usize::MAX;
        self.clusters.iter().any(|cluster| cluster.name == name && has(cluster))
    }

    /// Whether no node has room for a pod.
    pub fn waits_for_room(&self, name: &str, pod: &Pod) -> bool {
        self.clusters.iter().any(|cluster| cluster.name == name && cluster.waiting.contains(&pod.name))
    }

    /// Whether a pod fails by itself, or will.
    pub fn fails(&self, name: &str, pod: &Pod) -> bool {
        let mut sets = self.native(name).sets.iter();
        pod.crashing || sets.any(|set| set.name == pod.set && lacks_image(&set.template))
    }

    /// Whether they have no room for so many, or had none a moment ago.
    pub fn had_no_room(&self, name: &str, replicas: i64) -> bool {
        let before = |cluster: &Cluster| {
            let (room, until) = cluster.room_before;
            self.now < until + RECENTLY && is_less(room, replicas)
        };
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        cluster.is_some_and(|cluster| is_less(cluster.room, replicas) || before(cluster))
    }

    /// The cluster of a Deployment.
    pub fn cluster(&mut self, name: &str) -> Option<&mut Cluster> {
        self.clusters.iter_mut().find(|cluster| cluster.name == name)
    }

    /// What the native controllers know of a Deployment.
    pub fn native(&self, name: &str) -> &Native {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        &cluster.expect("every Deployment of a world has one").native
    }

    /// Somebody deletes a Deployment, and has its ReplicaSets left as they are (`--cascade=orphan`).
    pub fn delete_alone(&mut self, who: &Who, name: &str) {
        if self.deployment(name).is_some()
            && let Some(cluster) = self.cluster(name)
        {
            cluster.left_alone = true;
            self.delete(who, "deployments", &named(name));
        }
    }

    /// The Deployment is another one, or gone: what the last one had goes, unless it was left.
    fn orphaned(&mut self, of: usize, uid: String) {
        let now = stamp(self.now);
        let cluster = &mut self.clusters[of];
        let before = std::mem::replace(&mut cluster.uid, uid);
        cluster.revision = 0;
        cluster.newest = None;
        if cluster.left_alone {
            if before != cluster.uid {
                // They are somebody else's now, or nobody's.
                cluster.shown_sets.clear();
            }
            cluster.left_alone = cluster.uid.is_empty();
            return;
        }
        cluster.end_kept(|_| true, self.now);
        for pod in &mut cluster.native.pods {
            pod.terminating_since.get_or_insert(now);
        }
        for set in std::mem::take(&mut cluster.native.sets) {
            cluster.shown_sets.remove(&set.name);
            self.store.remove("replicasets", &(NAMESPACE.to_owned(), set.name));
        }
    }
}

fn milliseconds(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_millisecond() - stamp(0).as_millisecond()).unwrap_or(0)
}

/// The number of a pod.
pub fn number(name: &str) -> u64 {
    name.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0)
}
