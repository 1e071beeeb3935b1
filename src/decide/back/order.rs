//! The one write that goes back: which template, and how fast. It is the same for a run, for a Release that is gone, and for one that
//! was made while another one's way back was not over. What leads back, and what comes after, is not known here.

use serde_json::Value;

use super::super::fields::{Originals, Wanted, parked};
use super::super::pace::{self, Limits, Pace, Stand};
use super::super::scene;
use super::super::snapshot::{Snapshot, StoredTemplate, Workload};
use crate::api::{Capacity, OnDelete};

/// What it takes to go back.
pub struct GoingBack<'a> {
    pub snapshot: &'a Snapshot,
    pub target: &'a Workload,
    pub originals: &'a Originals,
    /// Name of the stable template, and what it is.
    pub stable: (&'a str, &'a StoredTemplate),
    pub stand: Stand,
    pub capacity: Capacity,
    pub on_delete: OnDelete,
}

impl<'a> GoingBack<'a> {
    /// Where nothing is known but what the Deployment itself says.
    pub fn noted(snapshot: &'a Snapshot, target: &'a Workload, originals: &'a Originals) -> Option<Self> {
        let name = target.stable.as_deref()?;
        let kept = snapshot.templates.get(name)?;
        let (stand, _) = scene::stand(snapshot, target, &kept.fingerprint, originals.min_ready());
        let (capacity, on_delete) = (Capacity::Auto, OnDelete::Undo);
        Some(Self { snapshot, target, originals, stable: (name, kept), stand, capacity, on_delete })
    }

    /// The order, or a wider one where it has been given.
    pub fn order(&self) -> Wanted {
        let (name, kept) = self.stable;
        let limits = Limits::of(&self.originals.strategy, self.target.replicas);
        let unschedulable = match self.capacity {
            Capacity::MitigateFirst => 0,
            Capacity::Auto | Capacity::CapacityFirst => self.unschedulable(),
        };
        let pace = pace::back(self.stand, limits, self.capacity, unschedulable);
        let template = (kept.fingerprint.clone(), kept.template.clone());
        let wanted = Wanted::back(self.originals, name, self.on_delete, template, self.strategy(pace));
        match self.is_at_stable() {
            true => wanted,
            false => wanted.numbered(&kept.fingerprint, &self.snapshot.sets),
        }
    }

    /// Whether the stable template is what the Deployment says.
    pub fn is_at_stable(&self) -> bool {
        self.target.fingerprint == self.stable.1.fingerprint
    }

    /// Whether nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.is_at_stable()
            && self.target.observed_generation >= self.target.generation
            && self.stand.canary == 0
            && self.stand.stable_ready >= self.stand.replicas
    }

    /// Stable pods that no node has room for.
    fn unschedulable(&self) -> i32 {
        let of_stable = self.snapshot.sets.iter().filter(|set| set.fingerprint == self.stable.1.fingerprint);
        let pods = of_stable.flat_map(|set| self.snapshot.pods_of(&set.uid));
        let waiting = pods.filter(|pod| !pod.terminating && pod.unschedulable).count();
        i32::try_from(waiting).unwrap_or(i32::MAX)
    }

    /// Under way, an order is only ever widened, so that pods becoming Ready do not cause a write each; nor does a change of replicas that it
    /// allows for. Still parked, the pace there is one that went forward: somebody else has put the template back.
    fn strategy(&self, pace: Pace) -> Value {
        let Workload { strategy: present, replicas, .. } = self.target;
        if !self.is_at_stable() || parked(self.target) {
            return pace.strategy_back(*replicas);
        }
        let current = Limits::of(present, *replicas);
        let is_enough = pace.unavailable <= current.unavailable && pace.surge <= current.surge;
        if is_enough && present["rollingUpdate"].is_object() {
            return present.clone();
        }
        let wider = Pace {
            unavailable: pace.unavailable.max(current.unavailable),
            surge: pace.surge.max(current.surge),
        };
        wider.strategy_back(*replicas)
    }
}
