//! Counts of the last minutes: what was missing long ago is no reason to wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds a stretch; two of them are remembered, the one under way and the one before.
const STRETCH: i64 = 120;

/// A count over the last two to four minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Recent {
    /// Number of the stretch under way.
    pub stretch: i64,
    /// Counted in it.
    pub now: u64,
    /// Counted in the one before.
    pub before: u64,
}

impl Recent {
    /// Counts, at second `t`. What is counted late counts as of now.
    pub fn add(&mut self, t: i64, count: u64) {
        self.turn(t);
        self.now = self.now.saturating_add(count);
    }

    /// Time has come to `t`.
    pub fn turn(&mut self, t: i64) {
        let stretch = t.div_euclid(STRETCH);
        match stretch.saturating_sub(self.stretch) {
            ..=0 => {}
            1 => *self = Self { stretch, now: 0, before: self.now },
            _ => *self = Self { stretch, now: 0, before: 0 },
        }
    }

    /// The clock was set back, and what was counted ended at `t` by it.
    pub fn set_back(&mut self, t: i64) {
        self.stretch = self.stretch.min(t.div_euclid(STRETCH));
    }

    /// The count.
    pub fn total(&self) -> u64 {
        self.now.saturating_add(self.before)
    }
}
