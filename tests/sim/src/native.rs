//! The native Deployment and ReplicaSet controllers, as a model: one round a call. Names follow their source
//! (k8s.io/kubernetes/pkg/controller/deployment, v1.37).
//!
//! It knows one Deployment, and nothing of an API server: what goes in is its spec, what comes out are ReplicaSets and pods. When pods
//! become Ready, and when they are gone after their end, is for whoever plays the kubelet.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// A ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    pub name: String,
    pub template: Value,
    pub replicas: i32,
    pub min_ready: i32,
    /// The Deployment's replicas when it was sized last, or scaled with others.
    pub desired: i32,
    /// The same with the surge.
    pub max: i32,
    pub born: u64,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    pub name: String,
    pub set: String,
    pub born: Timestamp,
    pub ready_since: Option<Timestamp>,
    pub terminating_since: Option<Timestamp>,
    pub crashing: bool,
    pub restarts: u32,
    /// Why its container ended before it was restarted.
    pub ended: Option<&'static str>,
    /// When that was.
    pub ended_at: Option<Timestamp>,
    /// What its container waits for: it does not become Ready.
    pub waits: Option<&'static str>,
}

/// What the controllers made, and the moment.
#[derive(Clone, Debug)]
pub struct Native {
    pub now: Timestamp,
    pub sets: Vec<Set>,
    pub pods: Vec<Pod>,
    made: u64,
}

impl Native {
    /// Nothing yet.
    pub fn new(now: Timestamp) -> Self {
        Self::numbered_from(0, now)
    }

    /// Nothing yet; what it makes is numbered from here on.
    pub fn numbered_from(made: u64, now: Timestamp) -> Self {
        Self { now, sets: Vec::new(), pods: Vec::new(), made }
    }

    /// Available pods of a set: Ready for its minReadySeconds.
    pub fn available(&self, set: &Set) -> i32 {
        let long_enough = |pod: &&Pod| {
            let Some(since) = pod.ready_since else { return false };
            let seconds = u64::try_from(set.min_ready).unwrap_or(0);
            pod.terminating_since.is_none() && self.now >= since + Duration::from_secs(seconds)
        };
        let pods = self.pods.iter().filter(|pod| pod.set == set.name);
        count(pods.filter(long_enough).count())
    }

    /// Pods of a set that are not on their way out, and those of them that are Ready.
    pub fn counted(&self, set: &Set) -> (usize, usize) {
        let alive = || self.pods.iter().filter(|pod| pod.set == set.name && pod.terminating_since.is_none());
        (alive().count(), alive().filter(|pod| pod.ready_since.is_some()).count())
    }

    /// Ready pods that are not on their way out.
    pub fn ready(&self) -> usize {
        self.pods.iter().filter(|pod| pod.ready_since.is_some() && pod.terminating_since.is_none()).count()
    }

    /// Pods that are not on their way out.
    pub fn alive(&self) -> usize {
        self.pods.iter().filter(|pod| pod.terminating_since.is_none()).count()
    }

    /// One sync of the Deployment with this spec, where there is one, and of each ReplicaSet.
    pub fn round(&mut self, spec: Option<&Value>) {
        if let Some(spec) = spec {
            self.sync(spec);
        }
        self.sync_sets();
    }

    fn sync(&mut self, spec: &Value) {
        let replicas = number(&spec["replicas"]);
        let paused = spec["paused"] == true;
        let min_ready = number(&spec["minReadySeconds"]);
        let mut new = self.sets.iter().position(|set| set.template == spec["template"]);
        // What its ReplicaSet says of it is of before, until that has heard for how long its pods are to be Ready.
        let known = new.map_or(0, |new| self.available(&self.sets[new]));
        if let Some(new) = new {
            self.sets[new].min_ready = min_ready;
        }
        let scaling = self.sets.iter().any(|set| set.replicas > 0 && set.desired != replicas);
        let (surge, unavailable) = fenceposts(&spec["strategy"], replicas);
        if paused || (scaling && new.is_some()) || (scaling && !self.sets.is_empty()) {
            return self.scale_sets(new, known, replicas, surge);
        }
        if new.is_none() {
            let total: i32 = self.sets.iter().map(|set| set.replicas).sum();
            let recreate = spec["strategy"]["type"] == "Recreate";
            // Not before the last pod is gone, and not only ordered away.
            if recreate && (total > 0 || self.has_pods_beside(None)) {
                self.sets.iter_mut().for_each(|set| set.replicas = 0);
                return;
            }
            self.made += 1;
            let first = if recreate { replicas } else { (replicas + surge - total).clamp(0, replicas) };
            self.sets.push(Set {
                name: format!("s{}", self.made),
                template: spec["template"].clone(),
                replicas: first,
                min_ready,
                desired: replicas,
                max: replicas + surge,
                born: self.made,
            });
            new = Some(self.sets.len() - 1);
            if first > 0 {
                return;
            }
        }
        let new = new.expect("made above");
        if spec["strategy"]["type"] == "Recreate" {
            return self.recreate(new, replicas);
        }
        self.roll(new, known, replicas, (surge, unavailable));
    }

    fn recreate(&mut self, new: usize, replicas: i32) {
        let name = self.sets[new].name.clone();
        let old = self.sets.iter_mut().filter(|set| set.name != name);
        let mut any = false;
        for set in old {
            any |= set.replicas > 0;
            set.replicas = 0;
        }
        if any || self.has_pods_beside(Some(&name)) {
            return;
        }
        self.set_replicas(new, replicas, replicas, 0);
    }

    /// Whether pods of other ReplicaSets than this one are there, also those on their way out. Of a Deployment that is gone they are nobody's.
    fn has_pods_beside(&self, set: Option<&str>) -> bool {
        let is_of_another = |known: &Set, pod: &Pod| known.name == pod.set && Some(pod.set.as_str()) != set;
        self.pods.iter().any(|pod| self.sets.iter().any(|known| is_of_another(known, pod)))
    }

    /// So many pods of the new set are known to be available.
    fn roll(&mut self, new: usize, known: i32, replicas: i32, (surge, unavailable): (i32, i32)) {
        let total: i32 = self.sets.iter().map(|set| set.replicas).sum();
        let current = self.sets[new].replicas;
        // reconcileNewReplicaSet
        if current > replicas {
            return self.set_replicas(new, replicas, replicas, surge);
        }
        if current < replicas && total < replicas + surge {
            let more = (replicas + surge - total).min(replicas - current);
            return self.set_replicas(new, current + more, replicas, surge);
        }
        // reconcileOldReplicaSets
        let name = self.sets[new].name.clone();
        let mut old: Vec<usize> = (0..self.sets.len())
            .filter(|set| self.sets[*set].name != name && self.sets[*set].replicas > 0)
            .collect();
        if old.is_empty() {
            return;
        }
        old.sort_by_key(|set| self.sets[*set].born);
        let min_available = replicas - unavailable;
        let new_unavailable = current - known;
        let max_scaled_down = total - min_available - new_unavailable;
        if max_scaled_down <= 0 {
            return;
        }
        let mut cleaned = 0;
        for set in &old {
            let unhealthy = self.sets[*set].replicas - self.available(&self.sets[*set]);
            let down = unhealthy.min(max_scaled_down - cleaned).max(0);
            let to = self.sets[*set].replicas - down;
            self.set_replicas(*set, to, replicas, surge);
            cleaned += down;
        }
        let available: i32 = self.sets.iter().map(|set| self.available(set)).sum();
        let mut down = (available - min_available).max(0);
        for set in &old {
            let take = self.sets[*set].replicas.min(down);
            let to = self.sets[*set].replicas - take;
            self.set_replicas(*set, to, replicas, surge);
            down -= take;
        }
    }

    /// `scale` of the real controller: one active set takes all, several share in proportion.
    fn scale_sets(&mut self, new: Option<usize>, known: i32, replicas: i32, surge: i32) {
        let active: Vec<usize> = (0..self.sets.len()).filter(|set| self.sets[*set].replicas > 0).collect();
        let latest = || (0..self.sets.len()).max_by_key(|set| self.sets[*set].born);
        let only = match active.as_slice() {
            [] => new.or_else(latest),
            [only] => Some(*only),
            _ => None,
        };
        if let Some(only) = only {
            return self.set_replicas(only, replicas, replicas, surge);
        }
        if let Some(new) = new
            && self.sets[new].desired == replicas
            && self.sets[new].replicas == replicas
            && known == replicas
        {
            for set in active.into_iter().filter(|set| *set != new) {
                self.set_replicas(set, 0, replicas, surge);
            }
            return;
        }
        let all: i32 = active.iter().map(|set| self.sets[*set].replicas).sum();
        let allowed = if replicas > 0 { replicas + surge } else { 0 };
        let to_add = allowed - all;
        let mut order = active;
        if to_add > 0 {
            order.sort_by_key(|set| (-self.sets[*set].replicas, std::cmp::Reverse(self.sets[*set].born)));
        } else {
            order.sort_by_key(|set| (-self.sets[*set].replicas, self.sets[*set].born));
        }
        let mut added = 0;
        let mut sizes = Vec::new();
        for set in &order {
            let share = if to_add == 0 { 0 } else { self.proportion(*set, replicas, surge, to_add, added) };
            added += share;
            sizes.push(self.sets[*set].replicas + share);
        }
        if to_add != 0
            && let Some(first) = sizes.first_mut()
        {
            *first = (*first + to_add - added).max(0);
        }
        for (set, size) in order.into_iter().zip(sizes) {
            self.note(set, size, replicas, surge);
        }
    }

    fn proportion(&self, set: usize, replicas: i32, surge: i32, to_add: i32, added: i32) -> i32 {
        let set = &self.sets[set];
        if set.replicas == 0 || to_add == added {
            return 0;
        }
        let fraction = if replicas == 0 {
            -set.replicas
        } else {
            let annotated = f64::from(if set.max > 0 { set.max } else { set.replicas });
            let size = f64::from(set.replicas) * f64::from(replicas + surge) / annotated;
            // Pods are few: the number fits.
            size.round() as i32 - set.replicas
        };
        let allowed = to_add - added;
        if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
    }

    /// One that has its size keeps its notes, too.
    fn set_replicas(&mut self, set: usize, to: i32, desired: i32, surge: i32) {
        if self.sets[set].replicas != to {
            self.note(set, to, desired, surge);
        }
    }

    fn note(&mut self, set: usize, to: i32, desired: i32, surge: i32) {
        let set = &mut self.sets[set];
        set.replicas = to;
        set.desired = desired;
        set.max = desired + surge;
    }

    /// The ReplicaSet controller: makes and deletes pods; those that are not Ready go first, then the youngest.
    fn sync_sets(&mut self) {
        let wanted = |set: &Set| (set.name.clone(), set.replicas, crashes(&set.template));
        for (name, replicas, crashing) in self.sets.iter().map(wanted).collect::<Vec<_>>() {
            let mut alive: Vec<usize> = (0..self.pods.len())
                .filter(|pod| self.pods[*pod].set == name && self.pods[*pod].terminating_since.is_none())
                .collect();
            let want = usize::try_from(replicas).unwrap_or(0);
            for _ in alive.len()..want {
                self.made += 1;
                let pod = Pod {
                    name: format!("p{}", self.made),
                    set: name.clone(),
                    born: self.now,
                    ready_since: None,
                    terminating_since: None,
                    crashing,
                    restarts: 0,
                    ended: None,
                    ended_at: None,
                    waits: None,
                };
                self.pods.push(pod);
            }
            if alive.len() > want {
                alive.sort_by_key(|pod| {
                    (self.pods[*pod].ready_since.is_some(), std::cmp::Reverse(self.pods[*pod].born))
                });
                for pod in &alive[..alive.len() - want] {
                    self.pods[*pod].terminating_since = Some(self.now);
                }
            }
        }
    }
}

/// What a pod of this template does: `crash` says that it ends again and again.
pub fn crashes(template: &Value) -> bool {
    template["metadata"]["annotations"]["crash"] == "true"
}

fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

/// maxSurge and maxUnavailable in pods.
pub fn fenceposts(strategy: &Value, replicas: i32) -> (i32, i32) {
    let of = |value: &Value, up: bool| match value.as_str() {
        Some(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(25);
            if up { (replicas * percent + 99) / 100 } else { replicas * percent / 100 }
        }
        None => number(value),
    };
    let rolling = &strategy["rollingUpdate"];
    match (of(&rolling["maxSurge"], true), of(&rolling["maxUnavailable"], false)) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(replicas)),
    }
}
