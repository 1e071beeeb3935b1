//! The native Deployment controller, as a model: one sync a call. Names follow its source.

use serde_json::Value;

use super::{Pod, Set, World};

impl World {
    /// Available pods of a set: Ready for its minReadySeconds.
    pub fn available(&self, set: &Set) -> i32 {
        let long_enough = |pod: &&Pod| {
            let Some(since) = pod.ready_since else { return false };
            let seconds = u64::try_from(set.min_ready).unwrap();
            pod.terminating_since.is_none() && self.now >= since + std::time::Duration::from_secs(seconds)
        };
        let pods = self.pods.iter().filter(|pod| pod.set == set.name);
        i32::try_from(pods.filter(long_enough).count()).unwrap()
    }

    /// One sync of the Deployment, and of each ReplicaSet.
    pub fn native(&mut self) {
        if self.deployment.is_some() {
            self.sync();
        }
        self.sync_sets();
    }

    fn sync(&mut self) {
        let spec = self.deployment()["spec"].clone();
        let replicas = self.replicas();
        let paused = spec["paused"] == true;
        let min_ready = i32::try_from(spec["minReadySeconds"].as_i64().unwrap_or(0)).unwrap();
        let mut new = self.sets.iter().position(|set| set.template == spec["template"]);
        if let Some(new) = new {
            self.sets[new].min_ready = min_ready;
        }
        let scaling = self.sets.iter().any(|set| set.replicas > 0 && set.desired != replicas);
        let (surge, unavailable) = fenceposts(&spec["strategy"], replicas);
        if paused || (scaling && new.is_some()) || (scaling && !self.sets.is_empty()) {
            return self.scale_sets(new, replicas, surge);
        }
        if new.is_none() {
            let total: i32 = self.sets.iter().map(|set| set.replicas).sum();
            let recreate = spec["strategy"]["type"] == "Recreate";
            if recreate && self.pods.iter().any(|pod| pod.terminating_since.is_none() || total > 0) {
                self.sets.iter_mut().for_each(|set| set.replicas = 0);
                return;
            }
            self.next += 1;
            let first = if recreate { replicas } else { (replicas + surge - total).clamp(0, replicas) };
            self.sets.push(Set {
                name: format!("s{}", self.next),
                template: spec["template"].clone(),
                replicas: first,
                min_ready,
                desired: replicas,
                max: replicas + surge,
                born: self.next,
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
        self.roll(new, replicas, surge, unavailable);
    }

    fn recreate(&mut self, new: usize, replicas: i32) {
        let name = self.sets[new].name.clone();
        let old = self.sets.iter_mut().filter(|set| set.name != name);
        let mut any = false;
        for set in old {
            any |= set.replicas > 0;
            set.replicas = 0;
        }
        if any || self.pods.iter().any(|pod| pod.set != name) {
            return;
        }
        self.set_replicas(new, replicas, replicas, 0);
    }

    fn roll(&mut self, new: usize, replicas: i32, surge: i32, unavailable: i32) {
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
        let new_unavailable = current - self.available(&self.sets[new]);
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
    fn scale_sets(&mut self, new: Option<usize>, replicas: i32, surge: i32) {
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
            && self.available(&self.sets[new]) == replicas
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
            self.set_replicas(set, size, replicas, surge);
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
            size.round() as i32 - set.replicas
        };
        let allowed = to_add - added;
        if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
    }

    fn set_replicas(&mut self, set: usize, to: i32, desired: i32, surge: i32) {
        let set = &mut self.sets[set];
        set.replicas = to;
        set.desired = desired;
        set.max = desired + surge;
    }

    /// The ReplicaSet controller: makes and deletes pods; those that are not Ready go first, then the youngest.
    fn sync_sets(&mut self) {
        for set in self.sets.clone() {
            let crashing = set.template["metadata"]["annotations"]["crash"] == "true";
            let mut alive: Vec<usize> = (0..self.pods.len())
                .filter(|pod| self.pods[*pod].set == set.name && self.pods[*pod].terminating_since.is_none())
                .collect();
            let want = usize::try_from(set.replicas).unwrap();
            for _ in alive.len()..want {
                self.next += 1;
                let name = format!("p{}", self.next);
                let pod = Pod {
                    name,
                    set: set.name.clone(),
                    born: self.now,
                    ready_since: None,
                    terminating_since: None,
                    crashing,
                    restarts: 0,
                    ended: None,
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

fn fenceposts(strategy: &Value, replicas: i32) -> (i32, i32) {
    let of = |value: &Value, up: bool| match value.as_str() {
        Some(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap();
            if up { (replicas * percent + 99) / 100 } else { replicas * percent / 100 }
        }
        None => i32::try_from(value.as_i64().unwrap_or(0)).unwrap(),
    };
    let rolling = &strategy["rollingUpdate"];
    match (of(&rolling["maxSurge"], true), of(&rolling["maxUnavailable"], false)) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(replicas)),
    }
}
