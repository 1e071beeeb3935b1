//! The garbage collector.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::Name;
use crate::world::World;

impl World {
    /// What belongs to something that is gone goes too.
    pub(super) fn collect_garbage(&mut self) {
        if !std::mem::take(&mut self.litter) {
            return;
        }
        let mut living: BTreeSet<String> = BTreeSet::new();
        for plural in ["deployments", "releases"] {
            living.extend(
                self.store
                    .all(plural)
                    .filter_map(|(_, it)| it["metadata"]["uid"].as_str().map(str::to_owned)),
            );
        }
        for plural in ["controllerrevisions", "jobs"] {
            let orphan = |object: &Value| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| {
                    !owners.is_empty()
                        && owners
                            .iter()
                            .all(|owner| owner["uid"].as_str().is_none_or(|uid| !living.contains(uid)))
                })
            };
            let gone: Vec<Name> = self
                .store
                .all(plural)
                .filter(|(_, object)| orphan(object))
                .map(|(name, _)| name.clone())
                .collect();
            for name in gone {
                self.store.remove(plural, &name);
            }
        }
    }
}
