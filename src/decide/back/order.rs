//! The one write that goes back: which template, and how fast. It is the same for a run, for a Release that is gone, and for one that
//! was made while another one's way back was not over. What leads back, what comes after, and who makes room on full nodes, is not known here.

use serde_json::Value;

use super::super::fields::{Originals, Wanted, parked};
use super::super::orphan;
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
    /// Whether it goes back because of the version, or of somebody who does not want it: not for a newer template, nor to take a step again.
    pub for_good: bool,
    /// Whether stable does not stand, and its owner's deadline has passed.
    pub is_late: bool,
    /// What its author has said of that. Where the Release is gone it stays noted until what comes after stable is: the run's own does so by that.
    pub on_delete: OnDelete,
}

impl<'a> GoingBack<'a> {
    /// Where nothing is known but what the Deployment itself says: somebody has deleted the Release, and wants stable back.
    pub fn noted(snapshot: &'a Snapshot, target: &'a Workload, originals: &'a Originals) -> Option<Self> {
        let name = target.stable.as_deref()?;
        let kept = snapshot.kept_as(name)?;
        let (stand, _) = scene::stand(snapshot, target, &kept.fingerprint, originals.min_ready());
        let on_delete = if orphan::says_finish(target) { OnDelete::Finish } else { OnDelete::Undo };
        // Anybody may have written it.
        let since = orphan::ordered_at(target).map(|at| at.min(snapshot.now));
        let is_late = since.is_some_and(|since| super::late(snapshot, stand, originals, since, "").is_ok());
        Some(Self {
            snapshot,
            target,
            originals,
            stable: (name, kept),
            stand,
            capacity: Capacity::Auto,
            for_good: true,
            is_late,
            on_delete,
        })
    }

    /// The order, or a wider one where it has been given.
    pub fn order(&self) -> Wanted {
        let (name, kept) = self.stable;
        let limits = Limits::of(&self.originals.strategy, self.target.replicas);
        let pace = pace::back(self.stand, limits, self.capacity, self.to_make_room(limits));
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

    /// Under way, an order is widened, so that pods becoming Ready do not cause a write each; nor does a change of replicas that it allows for.
    /// What may be unavailable is not, while pods stand that could go: a percentage that was written for few replicas may come to more than their owner
    /// allows of many, and what made room has made it: the next is made when it is time.
    /// Still parked, the pace there is one that went forward: somebody else has put the template back.
    fn strategy(&self, pace: Pace) -> Value {
        let Workload { strategy: present, replicas, .. } = self.target;
        if !self.is_at_stable() || parked(self.target) {
            return pace.strategy_back(*replicas);
        }
        let Limits { surge, unavailable } = Limits::of(present, *replicas);
        let wider = Pace {
            unavailable: match self.stand.canary {
                0 => pace.unavailable.max(unavailable),
                _ => pace.unavailable,
            },
            surge: pace.surge.max(surge),
        };
        let is_enough = (wider.unavailable, wider.surge) == (unavailable, surge);
        if is_enough && present["rollingUpdate"].is_object() {
            return present.clone();
        }
        wider.strategy_back(*replicas)
    }
}
