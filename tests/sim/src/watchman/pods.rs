//! Enough pods are Ready, somebody serves, and there are not too many: 8.

use serde_json::{Value, json};
use tidegate::api::{ORIGINALS, STABLE};
use tidegate::watch::slim::fingerprint;

use super::RECENTLY;
use super::writing::PARKED;
use crate::native::{Set, fenceposts};
use crate::service::endpoints;
use crate::world::World;

impl World {
    /// 8: enough Ready pods, and not too many in all.
    pub fn check_pods(&mut self, name: &str) {
        let Some(deployment) = self.deployment(name).cloned() else {
            let watched = self.watchman.of(name);
            watched.served = false;
            watched.promised = 0;
            watched.has_come_down = false;
            return;
        };
        let uid = deployment["metadata"]["uid"].as_str().unwrap_or_default();
        let watched = self.watchman.of(name);
        if watched.uid != uid {
            // Made anew before anybody had looked: what was promised of the one before went with it.
            uid.clone_into(&mut watched.uid);
            (watched.served, watched.promised, watched.has_come_down) = (false, 0, false);
        }
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let now = self.now;
        let before = self.watchman.of(name).wanted.last().map(|(_, wanted)| *wanted);
        let several = self.native(name).sets.iter().filter(|set| set.replicas > 0).count() > 1;
        if before.is_some_and(|before| before > replicas) && several {
            // The native controller shrinks revisions in proportion, those that serve with those that do not.
            self.watchman.of(name).promised = 0;
            self.watchman.of(name).served = false;
        }
        let moves = deployment["spec"]["paused"] != true
            && !deployment["metadata"]["annotations"][ORIGINALS].is_null();
        let order = fenceposts(&deployment["spec"]["strategy"], i32::try_from(replicas).unwrap_or(0));
        let unattended = self.watchman.of(name).is_unattended(now);
        let all_at_once = i64::from(order.1) >= replicas;
        if before.is_some_and(|before| before > replicas)
            && moves
            && (order == (0, 1) || all_at_once)
            && unattended
        {
            // Of so few pods what a move may take comes to nothing, and then the native controller takes one; or it is a number, as of so many
            // pods no percentage comes to so few, and is all of what is left. Nobody can order less. Who has seen it carried out pauses.
            self.watchman.of(name).excuse(now + RECENTLY);
        }
        self.watchman.of(name).wanted.push((now, replicas));
        // The one before the window still counts at its beginning.
        let keep =
            self.watchman.of(name).wanted.iter().rposition(|(at, _)| *at + RECENTLY < now).unwrap_or(0);
        self.watchman.of(name).wanted.drain(..keep);
        let strategy = self.watchman.of(name).owners.get("strategy").cloned().unwrap_or_else(|| json!({}));
        if strategy["type"] == "Recreate" || deployment["spec"]["strategy"]["type"] == "Recreate" {
            // Nobody is promised anything: whatever goes meanwhile has to come back first.
            let watched = self.watchman.of(name);
            (watched.served, watched.promised, watched.has_come_down) = (false, 0, false);
            return;
        }
        if self.has_no_room(name, replicas) {
            // What is not there is not there because of the nodes.
            self.watchman.of(name).excuse(now + RECENTLY);
        }
        let least = self.watchman.of(name).wanted.iter().map(|(_, wanted)| *wanted).min().unwrap_or(0);
        let most = self.watchman.of(name).wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(0);
        // What they wrote where a run has the fields may be taken back, or taken for theirs.
        let edited = self.watchman.of(name).edited.get("strategy").cloned().unwrap_or_default();
        let limits = |replicas: i64| {
            let all = edited.iter().chain([&strategy]);
            let all = all.map(|it| fenceposts(it, i32::try_from(replicas).unwrap_or(0)));
            all.fold((0, 0), |most, it| (most.0.max(it.0), most.1.max(it.1)))
        };
        let ready = i64::try_from(self.native(name).ready()).unwrap_or(0);
        let alive = i64::try_from(self.native(name).alive()).unwrap_or(0);
        let floor = least - i64::from(limits(least).1);
        let ceiling = most + i64::from(limits(most).0);
        let undoing = !self.status(name)["run"]["back"].is_null()
            || self.goes_back_alone(name, &deployment)
            || self.goes_back_unnoted(name, &deployment);
        // Those that are away are no doing of ours, and what takes their place comes in addition.
        let away = self.watchman.of(name).are_away(now);
        if now < self.watchman.of(name).excused_until || self.watchman.of(name).unseen {
            self.watchman.of(name).served = false;
            self.watchman.of(name).promised = 0;
            self.watchman.of(name).has_come_down = false;
            return;
        }
        self.watchman.of(name).promised =
            if ready >= floor { floor } else { self.watchman.of(name).promised.min(floor) };
        let promised = self.watchman.of(name).promised;
        self.check("8 (enough pods Ready)", ready >= promised - away || undoing, || {
            format!("{ready} Ready of {alive} pods, {promised} promised of {least} replicas, {away} away")
        });
        self.check_service(name, floor, away, replicas, undoing);
        if undoing {
            self.watchman.of(name).has_come_down = false;
            self.watchman.of(name).promised = self.watchman.of(name).promised.min(ready);
            return;
        }
        // Until it has come down once to what is wanted by now, what an undo has surged is on its way out: at the owner's pace that takes new pods that serve.
        self.watchman.of(name).has_come_down |= alive <= replicas + i64::from(limits(replicas).0);
        if !self.watchman.of(name).has_come_down {
            return;
        }
        self.check("8 (not too many pods)", alive <= ceiling + away, || {
            format!("{alive} pods, {ceiling} allowed of {most} replicas, {away} away")
        });
    }

    /// 8, as users see it: there is always somebody who answers, on the way back too. Unless the owner allows that there is nobody, or wants bad
    /// pods gone first; or it is the only one there is to be, and makes room. Nor while so many are `away` that all of those may be who are promised, or it
    /// goes back meanwhile: whom it counted on may be gone.
    fn check_service(&mut self, name: &str, floor: i64, away: i64, replicas: i64, undoing: bool) {
        let ready = i64::try_from(endpoints(self.native(name)).count()).unwrap_or(0);
        let mitigates =
            self.release(name).is_some_and(|it| it["spec"]["undo"]["capacity"] == "MitigateFirst");
        let makes_room = self.only_pod_makes_room(name, replicas);
        let watched = self.watchman.of(name);
        watched.served |= ready >= floor.max(1);
        let promised = watched.promised;
        let is_allowed = promised - away < 1 || (undoing && (mitigates || makes_room || away > 0));
        if is_allowed {
            watched.served = false;
        }
        let served = watched.served;
        self.check("8 (somebody serves)", ready > 0 || !served, || {
            format!("no pod is left to serve; {promised} were promised")
        });
    }

    /// On nodes that have no room for a second pod, the way back of the only one ends when that makes room for the stable one, or not at all: so it does
    /// where its version is bad, or somebody wants it gone. What only waits for a newer template, or takes a step again, can wait for room.
    fn only_pod_makes_room(&self, name: &str, replicas: i64) -> bool {
        let cause = self.status(name)["run"]["back"]["cause"].as_str();
        let can_wait = matches!(cause, Some("Superseded" | "NoReplicas" | "TooMany"));
        let stays = self.release(name).is_some_and(|it| it["spec"]["undo"]["capacity"] == "CapacityFirst");
        // There may be room a moment after it has made room.
        replicas == 1 && self.had_no_room(name, 2) && !can_wait && !stays
    }

    /// Status could not be written, and it goes back all the same.
    fn goes_back_unnoted(&self, name: &str, deployment: &Value) -> bool {
        let spec = &deployment["spec"];
        let ordered = !deployment["metadata"]["annotations"][STABLE].is_null()
            && spec["paused"] != true
            && spec["minReadySeconds"] != PARKED;
        ordered && self.status(name)["stable"]["fingerprint"] == fingerprint(&spec["template"])
    }

    /// The native controllers are about to look. Without a run they go by their own rules: pods of several old revisions stand there, and of one of
    /// them some are Ready and not available. These they take before all others, whoever serves beside them. It may be that they have not been Ready
    /// for their owner's minReadySeconds; or that their ReplicaSet is still parked, for only the native controller writes ReplicaSets, and it unparks
    /// none but that of the Deployment's template.
    pub fn excuse_what_counts_for_nothing(&mut self, name: &str) {
        let Some(deployment) = self.deployment(name) else { return };
        let in_run = !deployment["metadata"]["annotations"][ORIGINALS].is_null();
        let native = self.native(name);
        let is_old = |set: &&Set| set.replicas > 0 && set.template != deployment["spec"]["template"];
        let counts = |set: &Set| usize::try_from(native.available(set)) == Ok(native.counted(set).1);
        let old: Vec<&Set> = native.sets.iter().filter(is_old).collect();
        if !in_run && old.len() > 1 && !old.into_iter().all(counts) {
            let now = self.now;
            self.watchman.of(name).excuse(now + RECENTLY);
        }
    }

    /// A deleted Release's Deployment goes back too.
    fn goes_back_alone(&self, name: &str, deployment: &Value) -> bool {
        let gone = self.release(name).is_none();
        let forgotten = self.status(name)["stable"].is_null();
        (gone || forgotten) && !deployment["metadata"]["annotations"][STABLE].is_null()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{said, world};
    use super::*;
    use crate::world::TARGET;

    const ENOUGH: &str = "8 (enough pods Ready)";

    /// Of four pods, three of which are promised, so many are not Ready, and so many are known to be away for three minutes.
    fn stands(unready: usize, away: usize) -> World {
        let mut world = world(&json!({}));
        world.check_pods(TARGET);
        world.cluster(TARGET).expect("it is there").flap(unready, 0, 600_000);
        world.watchman.of(TARGET).note_away(180_000, away);
        world.check_pods(TARGET);
        world
    }

    #[test]
    fn of_pods_that_are_away_as_many_may_be_missing_more_and_no_others() {
        for (unready, away, expected) in [(1, 0, 0), (2, 0, 1), (2, 1, 0), (3, 1, 1), (3, 2, 0)] {
            let world = stands(unready, away);
            let found = said(&world, ENOUGH);
            assert_eq!(found, expected, "{unready} {away}: {:?}", world.watchman.violations);
        }
    }

    #[test]
    fn somebody_serves_as_long_as_those_that_are_away_are_not_all_that_are_promised() {
        for (away, expected) in [(2, 1), (3, 0)] {
            let world = stands(4, away);
            let found = said(&world, "8 (somebody serves)");
            assert_eq!(found, expected, "{away}: {:?}", world.watchman.violations);
        }
    }

    #[test]
    fn after_more_are_wanted_as_many_are_promised_as_there_were() {
        for (away, expected) in [(2, 1), (3, 0)] {
            let mut world = world(&json!({}));
            world.check_pods(TARGET);
            world.scale_target(TARGET, 7);
            world.check_pods(TARGET);
            world.now = 2 * RECENTLY;
            world.check_pods(TARGET);
            world.cluster(TARGET).expect("it is there").flap(4, 0, 600_000);
            world.watchman.of(TARGET).note_away(180_000, away);
            world.check_pods(TARGET);
            let found = said(&world, "8 (somebody serves)");
            assert_eq!(found, expected, "{away}: {:?}", world.watchman.violations);
        }
    }

    #[test]
    fn what_goes_while_all_may_go_first_is_not_promised_after_it() {
        let strategy = |world: &mut World, kind: Value| {
            world.write_target(TARGET, "owner", |it| it["spec"]["strategy"] = kind);
            world.check_pods(TARGET);
        };
        let mut world = stands(0, 0);
        strategy(&mut world, json!({"type": "Recreate"}));
        world.cluster(TARGET).expect("it is there").flap(4, 0, 600_000);
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        strategy(&mut world, rolling);
        assert!(world.watchman.violations.is_empty(), "{:?}", world.watchman.violations);
    }

    #[test]
    fn those_that_were_away_for_long_enough_are_waited_for_until_there_are_as_many_as_are_promised() {
        let mut world = stands(2, 1);
        world.now = 180_000;
        world.check_pods(TARGET);
        assert_eq!(said(&world, ENOUGH), 0, "{:?}", world.watchman.violations);
    }
}
