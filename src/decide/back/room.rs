//! Nodes without room for stable pods: which pods of other versions make it on the way back, when, and what is said meanwhile. That stable pods
//! come as others go is the native controller's doing: this is for where nothing comes.

use std::time::Duration;

use jiff::Timestamp;

use super::super::draft::Draft;
use super::super::pace::{self, Limits, Stand};
use super::super::podhealth;
use super::super::snapshot::{Pod, PodSet, Unheard};
use super::GoingBack;
use crate::api::Capacity;

/// What blocks a way back whose stable pods find no room, until that is made.
const NO_ROOM: &str = "NoRoom";
/// How long a pod that serves goes on before it makes room: what was on its way out has mostly gone by then, and left its own.
const FINDS_ROOM: Duration = Duration::from_secs(30);

/// Says of stable pods that find no room what is done about it, and what else could be.
pub fn say(draft: &mut Draft<'_>, way: &GoingBack<'_>) {
    let Some(message) = way.lacks_room() else { return };
    let see = draft.kubectl("get pods");
    let at_once = match way.capacity {
        Capacity::Auto | Capacity::CapacityFirst if way.stand.canary > 0 => {
            let edit = draft.edit();
            format!("; or have all others go, whoever is left, by undo.capacity MitigateFirst: {edit}")
        }
        Capacity::Auto | Capacity::CapacityFirst | Capacity::MitigateFirst => String::new(),
    };
    let unblock = format!("make room on the nodes, and it goes on by itself: {see}{at_once}");
    draft.blocked(NO_ROOM, message, unblock);
}

impl GoingBack<'_> {
    /// When stable pods that wait for room will have waited for so long that others may make it, if that is still to come.
    pub fn seeks_room_at(&self) -> Option<Timestamp> {
        let patient = self.stable_pods().filter_map(|pod| pod.unschedulable_since);
        patient.map(|since| since + FINDS_ROOM).filter(|at| *at > self.snapshot.now).min()
    }

    /// That stable pods have found no room for a while, and what comes of it; `None`: none has waited for so long.
    fn lacks_room(&self) -> Option<String> {
        if self.unschedulable_for(FINDS_ROOM) == 0 {
            return None;
        }
        let comes = match self.capacity {
            Capacity::Auto | Capacity::CapacityFirst if self.stand.canary == 0 => "",
            Capacity::Auto | Capacity::CapacityFirst if self.target.replicas > 1 => {
                ": pods that are to go make it, a few at a time, where nothing else does"
            }
            Capacity::Auto | Capacity::CapacityFirst if self.may_leave_nobody() => ": the only pod makes it",
            Capacity::Auto | Capacity::CapacityFirst => ": the only pod serves until there is",
            Capacity::MitigateFirst => "",
        };
        Some(format!("no node has room for some stable pods{comes}"))
    }

    /// By how many pods more than is allowed at once others are to make room for stable ones.
    pub(super) fn to_make_room(&self, limits: Limits) -> i32 {
        match self.capacity {
            // All of them go.
            Capacity::MitigateFirst => 0,
            Capacity::Auto | Capacity::CapacityFirst if self.target.replicas <= 1 => {
                self.made_by_the_only_one()
            }
            Capacity::Auto | Capacity::CapacityFirst => {
                self.made_by_those_that_fail(limits).max(self.made_by_those_that_serve(limits))
            }
        }
    }

    /// While it serves, the only pod that there is to be makes none for a while, and none at all where nobody wants it gone for good or its author
    /// puts capacity first: else its way back would not end.
    fn made_by_the_only_one(&self) -> i32 {
        match self.is_served_by_others() {
            false => self.unschedulable_for(Duration::ZERO),
            true if self.may_leave_nobody() => self.unschedulable_for(FINDS_ROOM),
            true => 0,
        }
    }

    /// Whether the only pod that there is to be may go before another one serves.
    fn may_leave_nobody(&self) -> bool {
        self.for_good && self.capacity != Capacity::CapacityFirst
    }

    /// Pods that fail by themselves serve nobody: they make room at once, and no other goes with them. Of several revisions the native controller takes
    /// pods of the oldest, whichever of them serve.
    fn made_by_those_that_fail(&self, limits: Limits) -> i32 {
        let stable = &self.stable.1.fingerprint;
        let is_out = |set: &&PodSet| set.replicas > 0 && set.fingerprint != *stable;
        if self.snapshot.sets.iter().filter(is_out).count() != 1 {
            return 0;
        }
        // One on a silent node leaves no room that anybody could take.
        let fails = |pod: &&Pod| !pod.serves() && !pod.cut_off && podhealth::fault(pod).is_some();
        let failing = self.snapshot.live_pods(|fingerprint| fingerprint != stable).filter(fails).count();
        let go = count(failing).min(self.unschedulable_for(Duration::ZERO)).min(self.stand.canary);
        if go == 0 {
            return 0;
        }
        let Stand { replicas, stable_ready, canary, .. } = self.stand;
        let stay = canary - go + stable_ready;
        (replicas - stay - pace::gone_at_once(self.capacity, limits, replicas)).max(0)
    }

    /// Where nothing else brings stable pods, and has not for a while: as many as their owner lets be unavailable, and at least one. Each that goes leaves
    /// a place to a stable pod; when that is Ready, the next ones go. More are not gone at once, whatever becomes of their places.
    fn made_by_those_that_serve(&self, limits: Limits) -> i32 {
        match self.is_coming() {
            true => 0,
            false => self.unschedulable_for(FINDS_ROOM).min(limits.unavailable.max(1)),
        }
    }

    /// Whether stable pods are on their way without anybody making room: one is starting, or somebody's place is about to be free, or just is. One may
    /// hang, a pod may not go, and others may have taken a place that is held by nobody of the Deployment: it is waited for as long as its owner waits.
    fn is_coming(&self) -> bool {
        if self.is_late {
            return false;
        }
        let has_place = |pod: &&Pod| pod.unschedulable_since.is_none();
        // On a silent node nothing starts, and no place is free.
        let starts = |pod: &Pod| pod.ready_since.is_none() && !pod.cut_off && podhealth::fault(pod).is_none();
        let leaves = |pod: &Pod| pod.lingers && !pod.cut_off;
        let placed = self.snapshot.live_pods(|_| true).filter(has_place).count();
        self.stable_pods().filter(has_place).any(starts)
            || self.snapshot.pods.iter().filter(has_place).any(leaves)
            || count(placed) < self.stand.replicas
    }

    fn stable_pods(&self) -> impl Iterator<Item = &Pod> {
        let stable = &self.stable.1.fingerprint;
        self.snapshot.live_pods(move |fingerprint| fingerprint == stable)
    }

    /// Whether a pod serves that is not of stable.
    fn is_served_by_others(&self) -> bool {
        let stable = &self.stable.1.fingerprint;
        self.snapshot.live_pods(|fingerprint| fingerprint != stable).any(Pod::serves)
    }

    /// Stable pods for which no node has had room for so long. While pods are not heard nobody knows whether one that has waited for a while waits still.
    fn unschedulable_for(&self, long: Duration) -> i32 {
        let is_unknown = self.snapshot.unheard.as_ref().is_some_and(Unheard::is_of_pods);
        if is_unknown && !long.is_zero() {
            return 0;
        }
        let waits =
            |pod: &&Pod| pod.unschedulable_since.is_some_and(|since| since + long <= self.snapshot.now);
        count(self.stable_pods().filter(waits).count())
    }
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}
