//! Pods in quarantine are out of everything, few, and gone in time.

use jiff::Timestamp;
use serde_json::Value;
use tidegate::api::{QUARANTINE, QUARANTINED_UNTIL};

use super::run_of;
use crate::cluster::named;
use crate::server::{Name, Who};
use crate::time::stamp;
use crate::world::World;

/// Milliseconds after which a pod in quarantine has been there too long, where nothing goes wrong any more.
const LATE: u64 = 30_000;

impl World {
    /// A pod has been taken out of its ReplicaSet: out of the Service too, and with no more of them than was asked for.
    pub fn check_kept(&mut self, pod: &Value) {
        let metadata = &pod["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        let release = metadata["labels"][QUARANTINE].as_str().unwrap_or_default().to_owned();
        let owners = &metadata["ownerReferences"];
        let is_out = metadata["labels"]["app"].is_null()
            && owners.as_array().is_some_and(|owners| owners.len() == 1)
            && owners[0]["kind"] == "Deployment"
            && metadata["annotations"][QUARANTINED_UNTIL].is_string();
        self.check("quarantine (out of everything)", is_out, || metadata.to_string());
        let Some(found) = self.release(&release).cloned() else { return };
        let most = found["spec"]["undo"]["quarantine"]["pods"].as_u64().unwrap_or(1);
        let kept = self.watchman.kept.entry(run_of(&found)).or_default();
        kept.insert(name);
        let kept = kept.len();
        self.check(
            "quarantine (no more than asked for)",
            u64::try_from(kept).is_ok_and(|kept| kept <= most),
            || format!("{kept} pods, {most} asked for"),
        );
    }

    /// The operator deletes no pod but those, and not before their time is over.
    pub fn check_pod_deleted(&mut self, who: &Who, name: &Name) {
        let (Who::Operator(_), Some(pod)) = (who, self.store.get("pods", name).cloned()) else { return };
        let metadata = &pod["metadata"];
        let until: Option<Timestamp> =
            metadata["annotations"][QUARANTINED_UNTIL].as_str().and_then(|text| text.parse().ok());
        let is_kept = !metadata["labels"][QUARANTINE].is_null();
        let is_over = until.is_some_and(|until| until <= stamp(self.now)) || self.watchman.clocks_jumped;
        self.check("quarantine (no other pod is deleted)", is_kept && is_over, || metadata.to_string());
    }

    /// Pods whose time has been over for a while.
    pub fn check_let_go(&mut self) {
        if self.watchman.clocks_jumped {
            return;
        }
        let late = stamp(self.now.saturating_sub(LATE));
        let is_late = |pod: &Value| {
            let until = pod["metadata"]["annotations"][QUARANTINED_UNTIL].as_str();
            until.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|until| until < late)
        };
        let kept = self.clusters.iter().flat_map(|cluster| cluster.kept.keys());
        let found: Vec<String> = kept
            .filter(|name| self.store.get("pods", &named(name)).is_some_and(|pod| is_late(pod)))
            .cloned()
            .collect();
        self.check("quarantine (gone when it is over)", found.is_empty(), || format!("{found:?}"));
    }
}
