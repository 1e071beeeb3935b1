//! Locks: one run at a time.

use serde_json::Value;

use crate::world::World;

impl World {
    /// Locks: one run at a time has one, and none moves pods without.
    pub(super) fn check_locks(&mut self, name: &str, after: &Value) {
        let locks = |release: &Value, field: &str| -> Vec<String> {
            let all = release.pointer(field).and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let held = |release: &Value| match release["status"]["run"]["locks"]["standing"].as_str() {
            Some("Held") => locks(release, "/status/run/locks/names"),
            Some(_) | None => Vec::new(),
        };
        let wanted = locks(after, "/spec/locks");
        if wanted.is_empty() {
            return;
        }
        let mine = held(after);
        let others = self.store.all("releases").filter(|((_, other), _)| other != name);
        let twice: Vec<String> =
            others.flat_map(|(_, other)| held(other)).filter(|lock| mine.contains(lock)).collect();
        self.check("locks (one run at a time)", twice.is_empty(), || {
            format!("{name} has {twice:?}, and so has another Release")
        });
        let moves = after["status"]["run"]["stage"] == "Steps";
        self.check(
            "locks (none moves without)",
            !moves || wanted.iter().all(|lock| mine.contains(lock)),
            || format!("{name} has {mine:?} of {wanted:?}"),
        );
    }
}
