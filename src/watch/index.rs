//! Everything watched, in memory. Plain functions: an object goes in, the Releases that it concerns come out.

mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;
use serde::de::DeserializeOwned;

use super::claims::{Claims, Standing};
use super::key::ObjectKey;
use super::meta::Meta;
use super::room::Room;
use super::slim;
use super::table::Table;
use crate::decide::Key;
use crate::decide::snapshot::Unheard;

pub use kinds::{DESIRED, is_of_trial, quarantine_of, trials_of};

/// Bytes of texts that are kept of Releases, of Deployments that belong to one or are named by one, and of their templates, where nobody says how many.
const ROOM: usize = 64 << 20;
/// Bytes of templates that are kept of all other Deployments: one that a Release is made for is mostly known, then.
const SPARE: usize = 8 << 20;

/// Everything watched.
#[derive(Debug)]
pub struct Index {
    pub releases: Table<slim::Release>,
    pub deployments: Table<slim::Deployment>,
    pub sets: Table<slim::ReplicaSet>,
    pub pods: Table<slim::Pod>,
    pub templates: Table<slim::StoredTemplate>,
    pub jobs: Table<slim::Job>,
    pub actions: Table<slim::ReleaseAction>,
    pub freezes: Table<slim::Freeze>,
    /// By their own name twice: see [`slim::Namespace`].
    pub namespaces: Table<slim::Namespace>,
    /// Kinds that cannot be read and are done without, and why.
    pub unread: BTreeMap<String, String>,
    /// Kinds that cannot be done without and cannot be listed and watched at present, by the name of the watch.
    pub unheard: BTreeMap<String, Unheard>,
    /// Admission policies and bindings of ours that are there, as `Kind/name`; of bindings those that have an effect.
    pub policies: BTreeSet<String>,
    /// Whose Deployments are.
    pub(super) claims: Claims,
    /// Releases that were deleted, as their watch said, for as long as something of them is left.
    deleted_releases: BTreeSet<ObjectKey>,
    /// For texts of what belongs to a Release.
    room: Room,
    /// For texts of what does not, or not yet.
    spare: Room,
}

impl Default for Index {
    fn default() -> Self {
        Self::with(Room::of(ROOM), Room::of(SPARE))
    }
}

impl Index {
    /// Nothing is known yet. `room`: for texts of what belongs to a Release; `spare`: of what does not.
    pub fn with(room: Room, spare: Room) -> Self {
        Self {
            releases: Table::default(),
            deployments: Table::default(),
            sets: Table::default(),
            pods: Table::default(),
            templates: Table::default(),
            jobs: Table::default(),
            actions: Table::default(),
            freezes: Table::default(),
            namespaces: Table::default(),
            unread: BTreeMap::new(),
            unheard: BTreeMap::new(),
            policies: BTreeSet::new(),
            claims: Claims::default(),
            deleted_releases: BTreeSet::new(),
            room,
            spare,
        }
    }

    /// Whether a run of this Release is under way: its status says so; or it is gone, or has nothing in hand yet, while a Deployment that carries its name is
    /// in one. Beside a status that knows of no run a Deployment may be held as it is in one, for as long as its owner likes.
    pub fn is_under_way(&self, name: &ObjectKey) -> bool {
        let is_left = || self.deployments.children(name).any(|(_, found)| found.is_in_a_run());
        match self.releases.get(name) {
            Some(release) => release.has_run || (!release.has_stable && is_left()),
            None => is_left(),
        }
    }

    /// Whether it has been heard that this Release was deleted, and something of it is left. Of one that a list did not name, or that was never heard of, it
    /// has not been.
    pub fn was_deleted(&self, release: &ObjectKey) -> bool {
        self.deleted_releases.contains(release)
    }

    /// Forgets of these that they were deleted, where they are there again or nothing is left of them.
    fn forget_deleted(&mut self, releases: &[Key]) {
        if self.deleted_releases.is_empty() {
            return;
        }
        for name in releases.iter().map(ObjectKey::from) {
            let has_deployment = self.deployments.children(&name).next().is_some();
            let is_left = has_deployment || self.templates.children(&name).next().is_some();
            if !is_left || self.releases.get(&name).is_some() {
                self.deleted_releases.remove(&name);
            }
        }
    }
}

/// The index, shared between the watches that fill it and those who read it. Never held across an await.
#[derive(Clone, Debug, Default)]
pub struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    /// Nothing is known yet. `texts`: bytes of texts that are kept of what belongs to Releases.
    pub fn with_room_for(texts: usize) -> Self {
        Self(Arc::new(Mutex::new(Index::with(Room::of(texts), Room::of(SPARE)))))
    }

    /// The index. A panic while it was held does not make it unusable: what is in it is replaced object by object.
    pub fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kind that the index keeps.
pub trait Indexed: DeserializeOwned + Clone + std::fmt::Debug + Send + 'static {
    /// What the API calls it.
    type Kind: Resource<DynamicType = ()>;
    /// Its table.
    fn table(index: &mut Index) -> &mut Table<Self>;
    fn metadata(&self) -> &Meta;
    /// By what it is looked up besides its name.
    fn parent(&self) -> Option<ObjectKey>;
    /// Takes out of its metadata what nobody reads.
    fn strip(&mut self);
    /// Takes what it has in common with another object from there.
    fn share(&mut self, _: &Index) {}
    /// Nobody looks at it any more: it is not kept.
    fn is_over(&self) -> bool {
        false
    }
    /// Takes the room that it needs; where there is none, only an outline of it stays.
    fn settle(&mut self, _: &Index) {}
    /// It is kept from now on.
    fn enter(&self, _: &mut Index) {}
    /// It is kept no more.
    fn leave(&self, _: &mut Index) {}
    /// Its watch says that it was deleted.
    fn note_deleted(&self, _: &mut Index) {}
    /// The Deployments that may be another Release's, or not be there any more, when this one comes in the place of what is kept.
    fn disputes(_: &Index, _: &ObjectKey, _: Option<&Self>) -> Vec<ObjectKey> {
        Vec::new()
    }
    /// The Releases that it concerns.
    fn concerns(&self, index: &Index) -> Vec<Key>;
}

/// An object came or changed.
pub fn apply<T: Indexed>(index: &mut Index, mut object: T) -> Vec<Key> {
    object.strip();
    object.share(index);
    let key = object.metadata().key.clone();
    let standing = Standing::of(index, T::disputes(index, &key, Some(&object)));
    let mut concerned = take_out::<T>(index, &key);
    if object.is_over() {
        return each_once(index, concerned);
    }
    // In the place of the one before, which is free again.
    object.settle(index);
    concerned.extend(object.concerns(index));
    object.enter(index);
    let parent = object.parent();
    T::table(index).apply(key, parent, object);
    concerned.extend(standing.waiting(index));
    each_once(index, concerned)
}

/// An object was deleted: its watch said so.
pub fn delete<T: Indexed>(index: &mut Index, object: &T) -> Vec<Key> {
    let key = &object.metadata().key;
    let standing = Standing::of(index, T::disputes(index, key, None));
    let is_kept = |kept: &T| kept.metadata().uid == object.metadata().uid;
    let was_kept = T::table(index).get(key).is_some_and(is_kept);
    let mut concerned = object.concerns(index);
    concerned.extend(take_out::<T>(index, key));
    if was_kept {
        object.note_deleted(index);
    }
    concerned.extend(standing.waiting(index));
    each_once(index, concerned)
}

/// A listing of a namespace, or of all, ended: what it did not name is gone.
pub fn end_listing<T: Indexed>(index: &mut Index, namespace: Option<&str>) -> Vec<Key> {
    let gone = T::table(index).end_listing(namespace);
    for (_, object) in &gone {
        object.leave(index);
    }
    let concerned = gone.iter().flat_map(|(_, object)| object.concerns(index));
    // How they stood is not known any more.
    let disputed = gone.iter().flat_map(|(key, object)| T::disputes(index, key, Some(object)));
    let disputed: BTreeSet<ObjectKey> = disputed.collect();
    let waiting = disputed.iter().flat_map(|deployment| index.candidates(deployment).collect::<Vec<_>>());
    let concerned = concerned.chain(waiting).collect();
    each_once(index, concerned)
}

/// Takes out what is kept under a name. The Releases that it concerned.
fn take_out<T: Indexed>(index: &mut Index, key: &ObjectKey) -> Vec<Key> {
    let Some(old) = T::table(index).delete(key) else { return Vec::new() };
    old.leave(index);
    old.concerns(index)
}

/// Those that something concerned. That may have been the last that was left of them.
fn each_once(index: &mut Index, mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort();
    keys.dedup();
    index.forget_deleted(&keys);
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{HELD, RELEASE_LABEL};
    use crate::decide::fields::REVISION;

    fn of<T: Indexed>(index: &mut Index, object: &Value) -> Vec<Key> {
        apply::<T>(index, serde_json::from_str(&object.to_string()).expect("an object"))
    }

    fn deployment(namespace: &str, name: &str, release: Option<&str>, note: usize) -> Value {
        let mut deployment = json!({
            "metadata": {"name": name, "namespace": namespace, "uid": name},
            "spec": {"strategy": {"type": "Recreate"}, "template": {"spec": {"note": "x".repeat(note)}}},
        });
        if let Some(release) = release {
            deployment["metadata"]["labels"] = json!({RELEASE_LABEL: release});
        }
        deployment
    }

    fn release(name: &str, note: usize) -> Value {
        let locks = json!({"names": ["database"], "standing": "Held", "asked": "2026-12-01T12:00:00Z"});
        json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"tier": "front"}},
            "spec": {"targetRef": {"name": "shop"}, "note": "x".repeat(note)},
            "status": {"phase": "Soaking", "run": {"id": "r7", "number": 7, "locks": locks}},
        })
    }

    fn stored(name: &str, note: usize) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {RELEASE_LABEL: "shop"}},
            "data": {"spec": {"note": "x".repeat(note)}},
        })
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    /// Room for so many bytes, of which a namespace has half, and a quarter as much for what no Release names.
    fn index(bytes: usize) -> Index {
        Index::with(Room::of(bytes), Room::of(bytes / 4))
    }

    fn is_outline(index: &Index, name: &str) -> bool {
        index.deployments.get(&key(name)).expect("it is known").is_outline
    }

    #[test]
    fn of_what_finds_no_room_it_is_known_whom_it_concerns_and_what_it_was() {
        let (mut small, mut large) = (index(1 << 20), index(8000));
        let all = |index: &mut Index| {
            let shop = Key { namespace: "ns".into(), name: "shop".into() };
            assert_eq!(of::<slim::Release>(index, &release("shop", 5000)), std::slice::from_ref(&shop));
            assert_eq!(
                of::<slim::Deployment>(index, &deployment("ns", "shop", None, 5000)),
                std::slice::from_ref(&shop)
            );
            assert_eq!(of::<slim::StoredTemplate>(index, &stored("shop-1", 6000)), [shop]);
        };
        all(&mut small);
        all(&mut large);
        assert!(!is_outline(&small, "shop") && is_outline(&large, "shop"));
        let of_deployment =
            |index: &Index| index.deployments.get(&key("shop")).unwrap().spec.template.clone();
        assert_eq!(of_deployment(&small).fingerprint, of_deployment(&large).fingerprint);
        assert_eq!(of_deployment(&large).text.text(), "null");
        let kept = large.templates.get(&key("shop-1")).expect("it is known");
        assert!(kept.is_outline && kept.data.text.text() == "null");
        let outline = large.releases.get(&key("shop")).expect("it is known");
        assert!(outline.is_outline && outline.metadata.label("tier").is_none());
        let status: Value = outline.status.read().expect("a status");
        assert_eq!(status["run"]["locks"]["names"], json!(["database"]), "others look at its locks");
        assert_eq!((&status["run"]["id"], status.get("phase")), (&json!("r7"), None));
    }

    #[test]
    fn an_object_has_its_place_until_it_goes_and_one_that_has_grown_too_large_has_none() {
        let mut index = index(8000);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 2000));
        of::<slim::Deployment>(&mut index, &deployment("ns", "cart", Some("cart"), 3000));
        assert!(!is_outline(&index, "shop") && is_outline(&index, "cart"), "a namespace has half");
        for _ in 0..5 {
            of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 2500));
        }
        assert!(!is_outline(&index, "shop"));
        of::<slim::Deployment>(&mut index, &deployment("other", "shop", Some("shop"), 1500));
        assert!(!index.deployments.get(&ObjectKey::new("other", "shop")).unwrap().is_outline);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 4500));
        assert!(is_outline(&index, "shop"));
        let shop = serde_json::from_value(deployment("other", "shop", Some("shop"), 0)).unwrap();
        delete::<slim::Deployment>(&mut index, &shop);
        assert_eq!(index.room.taken(), 0);
        of::<slim::Deployment>(&mut index, &deployment("ns", "cart", Some("cart"), 3000));
        assert!(!is_outline(&index, "cart"));
        index.deployments.begin_listing(None);
        end_listing::<slim::Deployment>(&mut index, None);
        assert_eq!(index.room.taken(), 0);
    }

    #[test]
    fn a_deployment_and_what_is_kept_of_it_have_one_place() {
        let mut index = index(8000);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 3000));
        let taken = index.room.taken();
        of::<slim::StoredTemplate>(&mut index, &stored("shop-1", 3000));
        assert_eq!(index.room.taken(), taken);
        // It comes again, as it does with each pod: the place is the one that the other has.
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 3000));
        assert_eq!(index.room.taken(), taken);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 10));
        assert!(!is_outline(&index, "shop"));
        assert!(!index.templates.get(&key("shop-1")).expect("it is known").is_outline);
    }

    #[test]
    fn what_no_release_names_takes_nothing_from_what_one_does() {
        let mut index = index(8000);
        for number in 0..10 {
            of::<slim::Deployment>(&mut index, &deployment("ns", &format!("other-{number}"), None, 500));
        }
        assert!(!is_outline(&index, "other-0") && is_outline(&index, "other-9"));
        assert_eq!(index.room.taken(), 0);
        of::<slim::Release>(&mut index, &release("shop", 0));
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", None, 3000));
        assert!(!is_outline(&index, "shop"), "a Release names it");
    }

    fn action(name: &str, reason: &str, result: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"release": "shop", "action": "Abort", "by": "ada", "reason": reason},
            "status": {"result": result},
        })
    }

    #[test]
    fn a_run_is_under_way_where_its_release_says_so_or_is_gone_and_has_left_one() {
        let (mut index, shop) = (index(1 << 20), key("shop"));
        of::<slim::Release>(&mut index, &release("shop", 0));
        assert!(index.is_under_way(&shop));
        let mut at_rest = release("shop", 0);
        at_rest["status"] = json!({"stable": {"fingerprint": "abc"}, "run": null});
        of::<slim::Release>(&mut index, &at_rest);
        let mut parked = deployment("ns", "shop", Some("shop"), 0);
        parked["spec"]["minReadySeconds"] = json!(2_147_483_646);
        of::<slim::Deployment>(&mut index, &parked);
        assert!(!index.is_under_way(&shop), "it is held");
        delete::<slim::Release>(&mut index, &parsed(&at_rest));
        assert!(index.is_under_way(&shop));
        at_rest["status"] = json!({"phase": "Idle"});
        of::<slim::Release>(&mut index, &at_rest);
        assert!(index.is_under_way(&shop), "it was made anew, and takes it up");
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("shop"), 0));
        assert!(!index.is_under_way(&shop));
    }

    #[test]
    fn that_a_release_was_deleted_is_known_until_it_is_there_again_or_nothing_is_left_of_it() {
        let (shop, labelled) = (key("shop"), deployment("ns", "shop", Some("shop"), 0));
        let left = || {
            let mut index = index(1 << 20);
            of::<slim::Release>(&mut index, &release("shop", 0));
            of::<slim::Deployment>(&mut index, &labelled);
            of::<slim::StoredTemplate>(&mut index, &stored("shop-1", 0));
            assert!(!index.was_deleted(&shop));
            delete::<slim::Release>(&mut index, &parsed(&release("shop", 0)));
            assert!(index.was_deleted(&shop));
            index
        };
        let mut given_back = left();
        of::<slim::Deployment>(&mut given_back, &labelled);
        of::<slim::Deployment>(&mut given_back, &deployment("ns", "shop", None, 0));
        assert!(given_back.was_deleted(&shop), "a template is kept of it");
        delete::<slim::StoredTemplate>(&mut given_back, &parsed(&stored("shop-1", 0)));
        assert!(given_back.deleted_releases.is_empty());
        let mut gone = left();
        gone.templates.begin_listing(None);
        end_listing::<slim::StoredTemplate>(&mut gone, None);
        assert!(gone.was_deleted(&shop), "its Deployment is there");
        delete::<slim::Deployment>(&mut gone, &parsed(&labelled));
        assert!(gone.deleted_releases.is_empty());
        let mut anew = left();
        of::<slim::Release>(&mut anew, &release("shop", 0));
        assert!(anew.deleted_releases.is_empty());
        anew.releases.begin_listing(None);
        end_listing::<slim::Release>(&mut anew, None);
        assert!(!anew.was_deleted(&shop), "it may have been deleted and made anew since");
        delete::<slim::Release>(&mut anew, &parsed(&release("shop", 0)));
        assert!(!anew.was_deleted(&shop), "it was not known");
        let mut other = release("shop", 0);
        other["metadata"]["uid"] = json!("another");
        of::<slim::Release>(&mut anew, &other);
        delete::<slim::Release>(&mut anew, &parsed(&release("shop", 0)));
        assert!(!anew.was_deleted(&shop), "another one was deleted");
        of::<slim::Release>(&mut anew, &release("alone", 0));
        delete::<slim::Release>(&mut anew, &parsed(&release("alone", 0)));
        assert!(anew.deleted_releases.is_empty(), "nothing was left of it");
    }

    #[test]
    fn an_action_is_kept_until_it_is_marked_and_then_wakes_its_release_once_more() {
        let mut index = index(1 << 20);
        let shop = [Key { namespace: "ns".into(), name: "shop".into() }];
        assert_eq!(of::<slim::ReleaseAction>(&mut index, &action("a", "it is slow", "")), shop);
        assert_eq!(index.actions.children(&key("shop")).count(), 1);
        assert!(index.room.taken() > 0);
        assert_eq!(of::<slim::ReleaseAction>(&mut index, &action("a", "it is slow", "Done")), shop);
        assert_eq!(of::<slim::ReleaseAction>(&mut index, &action("b", "it is slow", "Refused")), []);
        assert_eq!((index.actions.iter().count(), index.room.taken()), (0, 0));
        let mut unknown = action("c", "it is slow", "");
        unknown["spec"]["action"] = json!("Dance");
        assert_eq!(of::<slim::ReleaseAction>(&mut index, &unknown), []);
        assert_eq!(index.actions.iter().count(), 0);
    }

    #[test]
    fn an_action_that_finds_no_room_is_heard_with_the_beginning_of_its_reason() {
        let mut index = index(0);
        let reason = "because ".repeat(50);
        of::<slim::ReleaseAction>(&mut index, &action("a", &reason, ""));
        of::<slim::ReleaseAction>(&mut index, &action("b", "it is slow", ""));
        let said = |name: &str| -> Value { index.actions.get(&key(name)).unwrap().spec.text.read().unwrap() };
        let long = said("a");
        assert_eq!((&long["action"], &long["by"]), (&json!("Abort"), &json!("ada")));
        let kept = format!("{}... (the rest stands in the ReleaseAction)", &reason[..64]);
        assert_eq!(long["reason"], kept);
        assert_eq!(said("b")["reason"], "it is slow");
    }

    /// A Release about Deployment `shop`, the younger the greater its number.
    fn candidate(number: usize) -> Value {
        let mut release = release(&format!("release-{number:04}"), 0);
        let (minute, second) = (number / 60, number % 60);
        release["metadata"]["creationTimestamp"] = json!(format!("2026-12-01T12:{minute:02}:{second:02}Z"));
        release
    }

    fn named(number: usize) -> Key {
        Key { namespace: "ns".into(), name: format!("release-{number:04}") }
    }

    fn parsed<T: Indexed>(object: &Value) -> T {
        serde_json::from_str(&object.to_string()).expect("an object")
    }

    const MANY: usize = 1000;

    /// A Deployment with a pod and a thousand Releases, of which the oldest was heard of last.
    fn contested(label: Option<&str>) -> (Index, Value) {
        let mut index = index(64 << 20);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", label, 0));
        for number in (0..MANY).rev() {
            of::<slim::Release>(&mut index, &candidate(number));
        }
        let owned = |kind: &str, owner: &str, name: &str| {
            let owner = json!([{"kind": kind, "name": owner, "uid": owner, "controller": true}]);
            json!({
                "metadata": {"name": name, "namespace": "ns", "uid": name, "ownerReferences": owner},
                "spec": {"template": {}},
            })
        };
        of::<slim::ReplicaSet>(&mut index, &owned("Deployment", "shop", "shop-1"));
        (index, owned("ReplicaSet", "shop-1", "shop-1-a"))
    }

    #[test]
    fn what_happens_to_a_deployment_wakes_who_holds_it_and_not_all_that_wait_for_it() {
        for (label, concerned) in [
            (None, vec![named(0)]),
            (Some("release-0007"), vec![named(7)]),
            (Some("gone"), vec![Key { namespace: "ns".into(), name: "gone".into() }]),
        ] {
            let (mut index, pod) = contested(label);
            assert_eq!(of::<slim::Pod>(&mut index, &pod), concerned);
            assert_eq!(of::<slim::Deployment>(&mut index, &deployment("ns", "shop", label, 5)), concerned);
            let mut waiting = candidate(500);
            waiting["status"] = json!({"phase": "Idle"});
            assert_eq!(of::<slim::Release>(&mut index, &waiting), [named(500)]);
            assert_eq!(delete::<slim::Release>(&mut index, &parsed(&waiting)), [named(500)]);
        }
    }

    #[test]
    fn those_that_wait_for_a_deployment_are_woken_when_another_release_holds_it() {
        let (mut index, pod) = contested(None);
        let woken = delete::<slim::Release>(&mut index, &parsed(&candidate(0)));
        assert_eq!((woken.len(), woken.contains(&named(1))), (MANY, true), "the oldest is deleted");
        assert_eq!(of::<slim::Pod>(&mut index, &pod), [named(1)]);
        let mut elsewhere = candidate(1);
        elsewhere["spec"]["targetRef"]["name"] = json!("cart");
        assert_eq!(of::<slim::Release>(&mut index, &elsewhere).len(), MANY - 1, "it is about another one");
        let labelled = |label| deployment("ns", "shop", label, 0);
        let woken = of::<slim::Deployment>(&mut index, &labelled(Some("release-0002")));
        assert_eq!(woken, [named(2)], "it held it already");
        assert_eq!(of::<slim::Deployment>(&mut index, &labelled(Some("release-0009"))).len(), MANY - 2);
        assert_eq!(
            delete::<slim::Release>(&mut index, &parsed(&candidate(9))),
            [named(9)],
            "it gives it back"
        );
        assert_eq!(of::<slim::Deployment>(&mut index, &labelled(None)).len(), MANY - 2);
        assert_eq!(delete::<slim::Deployment>(&mut index, &parsed(&labelled(None))).len(), MANY - 3);
        assert_eq!(of::<slim::Deployment>(&mut index, &labelled(None)).len(), MANY - 3, "it is there again");
        index.releases.begin_listing(None);
        for number in 3..MANY {
            of::<slim::Release>(&mut index, &candidate(number));
        }
        assert!(end_listing::<slim::Release>(&mut index, None).contains(&named(MANY - 1)));
        assert_eq!(of::<slim::Pod>(&mut index, &pod), [named(3)]);
    }

    #[test]
    fn a_release_made_anew_for_another_deployment_holds_what_carries_its_name_until_somebody_has_that_in_hand()
     {
        let mut index = index(1 << 20);
        of::<slim::Deployment>(&mut index, &deployment("ns", "shop", Some("old"), 0));
        let (waiting, old) = (candidate(1), Key { namespace: "ns".into(), name: "old".into() });
        assert_eq!(of::<slim::Release>(&mut index, &waiting), [named(1)]);
        let mut anew = release("old", 0);
        anew["spec"]["targetRef"]["name"] = json!("cart");
        of::<slim::Release>(&mut index, &anew);
        let again = deployment("ns", "shop", Some("old"), 1);
        assert_eq!(of::<slim::Deployment>(&mut index, &again), std::slice::from_ref(&old));
        let mut in_hand = waiting.clone();
        in_hand["status"]["stable"] = json!({"fingerprint": "abc"});
        of::<slim::Release>(&mut index, &in_hand);
        assert_eq!(
            of::<slim::Deployment>(&mut index, &again),
            [old.clone(), named(1)],
            "somebody has changed the label"
        );
        of::<slim::Release>(&mut index, &waiting);
        anew["status"]["stable"] = json!({"fingerprint": "abc"});
        assert_eq!(of::<slim::Release>(&mut index, &anew), [old, named(1)], "it has taken up its own");
    }

    #[test]
    fn annotations_and_a_strategy_that_are_longer_than_they_ever_are_stay_in_no_memory() {
        let mut index = index(1 << 20);
        let mut long = deployment("ns", "shop", Some("shop"), 10);
        long["metadata"]["annotations"] = json!({HELD: "x".repeat(5000)});
        of::<slim::Deployment>(&mut index, &long);
        assert!(is_outline(&index, "shop"));
        let held = index.deployments.get(&key("shop")).unwrap().metadata.annotation(HELD);
        assert_eq!(held, None);
        let mut long = deployment("ns", "cart", Some("cart"), 10);
        long["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": format!("{}1%", "0".repeat(5000))}});
        of::<slim::Deployment>(&mut index, &long);
        assert!(is_outline(&index, "cart"));
        let set = json!({
            "metadata": {
                "name": "shop-1", "namespace": "ns", "annotations": {DESIRED: "1".repeat(5000), REVISION: "7"},
                "ownerReferences": [
                    {"kind": "Deployment", "name": "x".repeat(5000), "uid": "long", "controller": true},
                    {"kind": "Deployment", "name": "shop", "uid": "shop", "controller": true},
                ],
            },
            "spec": {"template": {}},
        });
        of::<slim::ReplicaSet>(&mut index, &set);
        let set = index.sets.get(&key("shop-1")).expect("it is known");
        assert_eq!((set.metadata.annotation(DESIRED), set.metadata.annotation(REVISION)), (None, Some("7")));
        assert_eq!(set.metadata.owners.len(), 1);
    }
}
