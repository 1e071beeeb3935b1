//! What the native controllers take and make under an order of the operator's to go back: enough pods stay Ready, stable ones stay, and there are not
//! too many: 8. And whatever a run stands on, what it would go back to is kept: 6; or somebody has deleted that, and it is said of the run as soon as it can be
//! heard.
//!
//! Pods are looked at only where nobody but the operator has a part in it. Not from when somebody has written the Deployment on the way back, or where they have
//! written fields that a run has; not while a scaling is being carried out. On nodes that have ever been full only Ready pods are counted, of several
//! replicas that nobody has scaled, and of versions whose pods do not fail by themselves: these make room at once. `MitigateFirst` promises no Ready
//! pods. Of how many there may be nothing is said where it was ever scaled, or of nodes that have lately been silent: how many were missing is not known then.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tidegate::api::{ORIGINALS, STABLE};
use tidegate::watch::slim::fingerprint;

use super::Watchman;
use super::once::HEARD;
use super::writing::PARKED;
use crate::native::{Pod, Set, fenceposts};
use crate::time::stamp;
use crate::world::World;

/// Milliseconds for which a stable pod finds no room before others make it, as long as two clocks may round them.
const FINDS_ROOM: u64 = 28_000;

/// A way back that the operator has ordered.
pub(super) struct WayBack {
    /// Of the Deployment.
    uid: String,
    /// The stable one.
    template: Value,
    /// Pods that there may be. `None`: nodes have fallen silent, and how many are missing is not known.
    most: Option<i64>,
    /// Somebody else has written the Deployment since.
    is_disturbed: bool,
    /// The operator has ordered something else since.
    is_over: bool,
    /// A stable pod has found no room for so long that others may make it.
    lacks_room: bool,
    /// Pods that are to go have failed by themselves.
    fails: bool,
}

/// How pods stood on the way back before the native controllers looked.
pub struct Standing {
    replicas: i64,
    /// Those that were Ready, and whether they are stable ones.
    ready: Vec<(String, bool)>,
    /// Revisions with pods that are to go.
    old: usize,
    /// The nodes have been full.
    was_full: bool,
}

impl World {
    /// The operator writes the Deployment: it may order to go back, or something else.
    pub(super) fn note_order(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let was_taken = before.is_some_and(is_taken);
        let watched = self.watchman.of(name);
        let taken_at = watched.taken_at.filter(|_| was_taken);
        let known = watched.way_back.take();
        let is_known =
            |way: &WayBack| !way.is_over && after["metadata"]["uid"].as_str() == Some(way.uid.as_str());
        let way_back = match (goes_back(after), known.filter(is_known)) {
            (true, Some(way)) => Some(way),
            (true, None) => Some(self.begin_way_back(name, after, taken_at)),
            (false, way) => way.map(|way| WayBack { is_over: true, ..way }),
        };
        let now = self.now;
        let watched = self.watchman.of(name);
        watched.way_back = way_back;
        watched.taken_at = is_taken(after).then(|| taken_at.unwrap_or(now));
    }

    /// Somebody else writes it.
    pub(super) fn note_disturbed(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let replicas = |it: &Value| it["spec"]["replicas"].clone();
        let watched = self.watchman.of(name);
        watched.was_scaled |= before.is_some_and(|before| replicas(before) != replicas(after));
        if let Some(way) = &mut watched.way_back {
            way.is_disturbed = true;
        }
    }

    /// Somebody writes a Release.
    pub(super) fn note_capacity(&mut self, name: &str, after: &Value) {
        self.watchman.of(name).mitigates |= after["spec"]["undo"]["capacity"] == "MitigateFirst";
    }

    /// There may be as many as there are, as many as the owner allows, and those that are missing. `taken_at`: since when a run has the fields. What was
    /// Ready before has been seen to be.
    fn begin_way_back(&self, name: &str, after: &Value, taken_at: Option<u64>) -> WayBack {
        let replicas = after["spec"]["replicas"].as_i64().unwrap_or(0);
        let template = after["spec"]["template"].clone();
        let native = self.native(name);
        let stable = native.sets.iter().find(|set| set.template == template).map(|set| set.name.as_str());
        let is_seen = |pod: &&Pod| {
            let since = pod.ready_since.zip(taken_at);
            let is_stable = stable == Some(pod.set.as_str());
            is_stable
                && pod.terminating_since.is_none()
                && since.is_some_and(|(ready, taken)| ready <= stamp(taken))
        };
        let missing = replicas - counted(native.pods.iter().filter(is_seen).count());
        let ordered: i64 = native.sets.iter().map(|set| i64::from(set.replicas)).sum();
        let standing = ordered.max(counted(native.alive()));
        let pace = self.owners_pace(name, replicas);
        let (surge, _) = pace.unwrap_or_default();
        // Of more than a hundred a percentage is no exact number.
        let rounded = ((replicas + 99) / 100 - 1).max(0);
        WayBack {
            uid: after["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            template,
            most: Some(standing.max(replicas + surge.max(missing)) + rounded),
            is_disturbed: pace.is_none(),
            is_over: false,
            lacks_room: false,
            fails: false,
        }
    }

    /// The owner's maxSurge and maxUnavailable, in pods. `None`: there are none; or somebody has written where a run has the fields.
    fn owners_pace(&self, name: &str, replicas: i64) -> Option<(i64, i64)> {
        let watched = self.watchman.watched.get(name)?;
        let strategy = watched.owners.get("strategy")?;
        if !watched.edited.is_empty() || strategy["type"] == "Recreate" {
            return None;
        }
        let (surge, unavailable) = fenceposts(strategy, i32::try_from(replicas).ok()?);
        Some((i64::from(surge), i64::from(unavailable)))
    }

    /// The native controllers are about to look. `None`: there is no way back, or what becomes of it is not the operator's doing alone.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        let deployment = self.deployment(name)?;
        let way = self.watchman.watched.get(name)?.way_back.as_ref()?;
        let is_ours =
            is_taken(deployment) && deployment["metadata"]["uid"].as_str() == Some(way.uid.as_str());
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let native = self.native(name);
        let active: Vec<&Set> = native.sets.iter().filter(|set| set.replicas > 0).collect();
        let is_scaled = active.iter().any(|set| i64::from(set.desired) != replicas);
        if !is_ours || way.is_disturbed || is_scaled || replicas == 0 {
            return None;
        }
        let was_full = !self.always_had_room(name);
        let stable = native.sets.iter().find(|set| set.template == way.template);
        let is_stable = |set: &str| stable.is_some_and(|stable| stable.name == set);
        let ready = native
            .pods
            .iter()
            .filter(|pod| pod.ready_since.is_some() && pod.terminating_since.is_none())
            .map(|pod| (pod.name.clone(), is_stable(&pod.set)));
        let old = active.iter().filter(|set| !is_stable(&set.name)).count();
        Some(Standing { replicas, ready: ready.collect(), old, was_full })
    }

    /// Whether pods that serve may make room for stable ones by now: asked before there may be any again, which the operator has not been told of. It is
    /// told no more than what is so.
    pub fn note_room(&mut self, name: &str) {
        let known = self.watchman.watched.get(name).and_then(|watched| watched.way_back.as_ref());
        let Some(way) = known.filter(|way| !way.is_over && !self.always_had_room(name)) else { return };
        // By its own clock it may be later.
        let patience = if self.watchman.clocks_jumped { 0 } else { FINDS_ROOM };
        let (native, now) = (self.native(name), stamp(self.now));
        let is_stable =
            |pod: &Pod| native.sets.iter().any(|set| set.name == pod.set && set.template == way.template);
        let has_waited = |pod: &Pod| pod.born + Duration::from_millis(patience) <= now;
        let lacks_room =
            native.pods.iter().any(|pod| self.waits_for_room(name, pod) && is_stable(pod) && has_waited(pod));
        let fails = native.pods.iter().any(|pod| !is_stable(pod) && self.fails(name, pod));
        if let Some(way) = &mut self.watchman.of(name).way_back {
            way.lacks_room |= lacks_room;
            way.fails |= fails;
        }
    }

    /// 8, on the way back: the native controllers have looked. The rule for Ready pods is about what they take: nodes and kubelets may take others.
    pub fn check_way_back(&mut self, name: &str, before: &Standing) {
        let native = self.native(name);
        let ends = |pod: &&Pod| pod.terminating_since.is_some();
        let ending: BTreeSet<&str> = native.pods.iter().filter(ends).map(|pod| pod.name.as_str()).collect();
        let taken = before.ready.iter().filter(|(pod, _)| ending.contains(pod.as_str()));
        let taken: Vec<bool> = taken.map(|(_, is_stable)| *is_stable).collect();
        let stable = taken.iter().filter(|is_stable| **is_stable).count();
        let taken = taken.len();
        let (ready, alive) = (counted(native.ready()), counted(native.alive()));
        if before.was_full {
            return self.check_room_is_made(name, before, taken, ready);
        }
        // Paused in mid-run by somebody and scaled, the native controller makes more of them than there are to be.
        let stood = before.ready.iter().filter(|(_, is_stable)| *is_stable).count();
        let too_many = counted(stood) - before.replicas;
        self.check("8 (stable pods stay on the way back)", counted(stable) <= too_many.max(0), || {
            format!("{stable} Ready stable pods are taken, {ready} pods are left Ready")
        });
        let replicas = before.replicas;
        let pace = self.owners_pace(name, replicas);
        let now = self.now;
        let watched = self.watchman.of(name);
        let (mitigates, was_scaled) = (watched.mitigates, watched.was_scaled);
        let is_excused = now < watched.excused_until || watched.are_away(now) > 0;
        let Some(way) = watched.way_back.as_mut().filter(|way| !way.is_over) else { return };
        if is_excused {
            way.most = None;
        }
        let most = way.most.filter(|_| !was_scaled);
        let Some((_, unavailable)) = pace else { return };
        // Of several old revisions the oldest goes first, whichever of them serves.
        if taken > 0 && before.old < 2 && !mitigates {
            self.check("8 (enough pods Ready on the way back)", ready >= replicas - unavailable, || {
                format!("{taken} Ready pods are taken, and {ready} are left of {replicas} replicas, of which {unavailable} may lack")
            });
        }
        if let Some(most) = most {
            self.check("8 (not too many pods on the way back)", alive <= most, || {
                format!("{alive} pods, {most} allowed of {replicas} replicas")
            });
        }
    }

    /// 8, on the way back on full nodes: until a stable pod has found no room for a while, nothing more is taken than where there is room; then as many
    /// more as the owner lets be unavailable, and at least one. Each leaves its place to a stable pod.
    fn check_room_is_made(&mut self, name: &str, before: &Standing, taken: usize, ready: i64) {
        let replicas = before.replicas;
        let pace = self.owners_pace(name, replicas);
        let watched = self.watchman.of(name);
        let is_exempt = watched.mitigates || watched.was_scaled || replicas == 1;
        let Some(way) = watched.way_back.as_ref().filter(|way| !way.is_over && !way.fails) else { return };
        let lacks_room = way.lacks_room;
        let Some((_, unavailable)) = pace.filter(|_| taken > 0 && before.old < 2 && !is_exempt) else {
            return;
        };
        let may_lack = unavailable + if lacks_room { unavailable.max(1) } else { 0 };
        self.check("8 (enough pods Ready on the way back)", ready >= replicas - may_lack, || {
            format!("{taken} Ready pods are taken on full nodes, and {ready} are left of {replicas} replicas, of which {may_lack} may lack")
        });
    }

    /// Somebody deletes the copy of a template: whoever goes on with it cannot have heard that yet.
    pub fn note_copy_deleted(&mut self, copy: &Value) {
        let now = self.now;
        self.watchman.copies_deleted.insert(fingerprint(&copy["data"]), now);
    }

    /// 6: whatever a run stands on, the stable template is kept where it is looked for: by its fingerprint, and without a Release by the name that
    /// is noted on the Deployment.
    pub fn check_way_is_open(&mut self, name: &str) {
        let Some(deployment) = self.deployment(name).cloned() else { return };
        let (metadata, status) = (&deployment["metadata"], self.status(name));
        let runs = !status["run"].is_null() && status["targetUid"] == metadata["uid"];
        let is_said = status["blockedBy"]["reason"] == "StableTemplateLost";
        let stable = status["stable"]["fingerprint"].as_str().filter(|_| runs).map(str::to_owned);
        let noted = metadata["annotations"][STABLE].as_str().filter(|_| is_taken(&deployment));
        if stable.is_none() && noted.is_none() {
            return;
        }
        let present = fingerprint(&deployment["spec"]["template"]);
        let stable = stable.filter(|stable| *stable != present);
        let noted = noted.filter(|noted| !is_named_after(noted, &present));
        // Of several who write at the same time one may note what the other has dropped: what stands there is stable by now, or its Release is gone.
        let is_over = status.is_null() || status["stable"]["fingerprint"] == present.as_str();
        let noted = noted.filter(|_| !(self.watchman.several_lead && is_over));
        if stable.is_none() && noted.is_none() {
            return;
        }
        let is_owned = |kept: &Value| {
            let owners = kept["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == metadata["uid"]))
        };
        let kept: Vec<(String, String)> = self
            .store
            .all("controllerrevisions")
            .filter(|(_, kept)| is_owned(kept))
            .map(|((_, name), kept)| {
                (name.clone(), self.watchman.fingerprint(&kept["metadata"], &kept["data"]))
            })
            .collect();
        let now = self.now;
        let deleted = &mut self.watchman.copies_deleted;
        deleted.retain(|gone, _| kept.iter().all(|(_, kept)| kept != gone));
        let may_lack = deleted.iter().filter(|(_, at)| is_said || now < **at + HEARD);
        let was_deleted: Vec<String> = may_lack.map(|(gone, _)| gone.clone()).collect();
        if let Some(stable) = stable {
            let is_kept = kept.iter().any(|(_, kept)| *kept == stable) || was_deleted.contains(&stable);
            self.check("6 (the way back is open)", is_kept, || format!("{stable} of {kept:?}"));
        }
        if let Some(noted) = noted {
            let is_it = |(name, kept): &(String, String)| *name == noted && is_named_after(name, kept);
            let is_kept =
                kept.iter().any(is_it) || was_deleted.iter().any(|gone| is_named_after(noted, gone));
            self.check("6 (the way back is open)", is_kept, || format!("{noted} of {kept:?}"));
        }
    }
}

impl Watchman {
    /// Fingerprint of a kept template, which nobody changes: worked out once.
    fn fingerprint(&mut self, metadata: &Value, template: &Value) -> String {
        let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
        let known = self.fingerprints.entry(uid).or_insert_with(|| fingerprint(template));
        known.clone()
    }
}

/// Whether a run has the fields, or goes back from one.
fn is_taken(deployment: &Value) -> bool {
    !deployment["metadata"]["annotations"][ORIGINALS].is_null()
}

/// Whether it is on its way to the template that is noted as stable.
fn goes_back(deployment: &Value) -> bool {
    let spec = &deployment["spec"];
    let stable = deployment["metadata"]["annotations"][STABLE].as_str();
    is_taken(deployment)
        && spec["paused"] != true
        && spec["minReadySeconds"] != PARKED
        && spec["strategy"]["type"] != "Recreate"
        && stable.is_some_and(|stable| is_named_after(stable, &fingerprint(&spec["template"])))
}

/// Whether this is the name under which the template with this fingerprint is kept.
fn is_named_after(name: &str, fingerprint: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, short)| fingerprint.starts_with(short))
}

fn counted(pods: usize) -> i64 {
    i64::try_from(pods).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate::decide::kept_name::template_name;

    use super::super::stage::{OPERATOR, OWNER, said, tell, version, world, write};
    use super::*;
    use crate::cluster::named;
    use crate::world::{NAMESPACE, TARGET};

    const ENOUGH: &str = "8 (enough pods Ready on the way back)";
    const NOT_TOO_MANY: &str = "8 (not too many pods on the way back)";
    const STABLE_STAYS: &str = "8 (stable pods stay on the way back)";
    const IS_OPEN: &str = "6 (the way back is open)";

    fn name_of(version: &Value) -> String {
        template_name(TARGET, &fingerprint(version))
    }

    fn pace((unavailable, surge): (i32, i32)) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
    }

    fn settle(world: &mut World, now: u64) {
        world.now = now;
        world.settle();
    }

    /// Version 2 has gone out so far in a run, of four replicas of which one may lack and one may be too many.
    fn moved(release: &Value, forward: (i32, i32)) -> World {
        let mut world = world(release);
        write(&mut world, &OWNER, |it| it["spec"]["template"] = version(2));
        write(&mut world, &OPERATOR, |it| {
            it["metadata"]["annotations"] = json!({ORIGINALS: "{}", STABLE: name_of(&version(1))});
            it["spec"]["minReadySeconds"] = json!(PARKED);
            it["spec"]["strategy"] = pace(forward);
        });
        settle(&mut world, 100);
        settle(&mut world, 5_000);
        assert_eq!(world.native(TARGET).ready(), world.native(TARGET).alive());
        world
    }

    fn order(world: &mut World, min_ready: i32, back: (i32, i32)) {
        write(world, &OPERATOR, |it| {
            it["spec"]["template"] = version(1);
            it["spec"]["minReadySeconds"] = json!(min_ready);
            it["spec"]["strategy"] = pace(back);
        });
    }

    fn looked(world: &World, invariant: &str) -> bool {
        world.watchman.looked.get(invariant).is_some_and(|looked| *looked > 0)
    }

    #[test]
    fn an_order_that_takes_more_ready_pods_than_may_lack_is_seen() {
        for (release, unavailable, seen) in
            [(json!({}), 1, 0), (json!({}), 4, 1), (json!({"undo": {"capacity": "MitigateFirst"}}), 4, 0)]
        {
            let mut world = moved(&release, (2, 0));
            order(&mut world, 0, (unavailable, 2));
            settle(&mut world, 5_100);
            assert_eq!(
                said(&world, ENOUGH),
                seen,
                "{release} {unavailable}: {:?}",
                world.watchman.violations
            );
            assert_eq!(looked(&world, ENOUGH), release == json!({}));
        }
    }

    #[test]
    fn on_full_nodes_pods_that_make_room_too_early_are_seen_and_too_many_at_once() {
        for (waited, unavailable, seen) in [(0, 1, 0), (0, 2, 1), (40_000, 2, 0), (40_000, 3, 1)] {
            let mut world = moved(&json!({}), (3, 0));
            world.cluster(TARGET).expect("it has one").make_room(4, 5_000);
            order(&mut world, 0, (0, 3));
            settle(&mut world, 5_100);
            settle(&mut world, 5_100 + waited);
            assert_eq!(world.native(TARGET).ready(), 4, "nobody has made room");
            order(&mut world, 0, (unavailable, 3));
            settle(&mut world, 5_200 + waited);
            let shown = || format!("{waited} {unavailable}: {:?}", world.watchman.violations);
            assert_eq!(said(&world, ENOUGH), seen, "{}", shown());
            assert!(looked(&world, ENOUGH), "{}", shown());
        }
    }

    #[test]
    fn more_pods_than_the_owner_allows_and_than_are_missing_are_seen() {
        for (surge, seen) in [(1, 0), (2, 1)] {
            let mut world = moved(&json!({}), (1, 1));
            assert_eq!(world.native(TARGET).alive(), 5);
            order(&mut world, 60, (1, surge));
            settle(&mut world, 5_100);
            assert_eq!(said(&world, NOT_TOO_MANY), seen, "{surge}: {:?}", world.watchman.violations);
            assert!(looked(&world, NOT_TOO_MANY));
        }
    }

    #[test]
    fn a_pause_on_the_way_that_takes_stable_pods_is_seen_unless_somebody_else_has_written_it() {
        for (is_disturbed, seen) in [(false, 1), (true, 0)] {
            let mut world = moved(&json!({}), (2, 0));
            order(&mut world, 60, (1, 2));
            settle(&mut world, 5_100);
            settle(&mut world, 9_000);
            assert_eq!(world.native(TARGET).ready(), 6);
            if is_disturbed {
                write(&mut world, &OWNER, |it| it["metadata"]["annotations"]["note"] = json!("mine"));
            }
            write(&mut world, &OPERATOR, |it| {
                it["spec"]["paused"] = json!(true);
                it["spec"]["strategy"] = pace((1, 0));
            });
            settle(&mut world, 9_100);
            assert_eq!(said(&world, STABLE_STAYS), seen, "{:?}", world.watchman.violations);
            assert!(looked(&world, STABLE_STAYS));
        }
    }

    #[test]
    fn a_stable_template_that_somebody_has_deleted_is_said_to_be_lost_once_that_can_be_heard() {
        let copy = named(&name_of(&version(1)));
        for (waited, says, is_kept_anew, seen) in [
            (0, "", false, false),
            (HEARD, "", false, true),
            (HEARD, "StableTemplateLost", false, false),
            (0, "StableTemplateLost", true, true),
        ] {
            let mut world = moved(&json!({}), (2, 0));
            let mine = world.deployment(TARGET).map(|it| it["metadata"]["uid"].clone());
            let object = json!({
                "metadata": {"name": copy.1, "ownerReferences": [{"uid": mine}]},
                "data": version(1),
            });
            world.make(&OPERATOR, "controllerrevisions", NAMESPACE, object.clone());
            world.delete(&OWNER, "controllerrevisions", &copy);
            if is_kept_anew {
                world.make(&OPERATOR, "controllerrevisions", NAMESPACE, object);
                world.check_way_is_open(TARGET);
                world.delete(&OPERATOR, "controllerrevisions", &copy);
            }
            tell(&mut world, |status| {
                status["run"] = json!({"id": "r1"});
                status["blockedBy"] = json!({"reason": says});
            });
            world.now += waited;
            let before = said(&world, IS_OPEN);
            world.check_way_is_open(TARGET);
            assert_eq!(said(&world, IS_OPEN) > before, seen, "{waited} {says} {is_kept_anew}");
        }
    }

    #[test]
    fn a_stable_template_that_is_not_kept_is_seen_with_a_release_and_without() {
        // Nothing, the template of another Deployment, another template, it.
        let all = [(None, 1), (Some(("another", 1)), 1), (Some(("mine", 3)), 1), (Some(("mine", 1)), 0)];
        for (kept, lacks) in all {
            let mut world = moved(&json!({}), (2, 0));
            let mine = world.deployment(TARGET).map(|it| it["metadata"]["uid"].clone());
            if let Some((owner, number)) = kept {
                let owner = if owner == "mine" { mine.unwrap_or_default() } else { json!("another") };
                let object = json!({
                    "metadata": {"name": name_of(&version(1)), "ownerReferences": [{"uid": owner}]},
                    "data": version(number),
                });
                world.make(&OPERATOR, "controllerrevisions", NAMESPACE, object);
            }
            tell(&mut world, |status| status["run"] = json!({"id": "r1"}));
            let before = said(&world, IS_OPEN);
            world.check_way_is_open(TARGET);
            // By its fingerprint, and by its name.
            assert_eq!(
                said(&world, IS_OPEN) - before,
                2 * lacks,
                "{kept:?}: {:?}",
                world.watchman.violations
            );
            world.delete(&OWNER, "releases", &named(TARGET));
            let before = said(&world, IS_OPEN);
            world.check_way_is_open(TARGET);
            assert_eq!(said(&world, IS_OPEN) - before, lacks, "{kept:?}: {:?}", world.watchman.violations);
            // On the stable template there is nothing to go back to.
            let before = said(&world, IS_OPEN);
            order(&mut world, 0, (1, 2));
            world.check_way_is_open(TARGET);
            assert_eq!(said(&world, IS_OPEN), before, "{kept:?}");
        }
    }
}
