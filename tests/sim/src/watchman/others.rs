//! What somebody writes into one Release troubles no other: 11. That nothing of it ends the process is seen wherever somebody panics (`panics`).

use crate::world::World;

impl World {
    /// A story is over, and what means no good still stands in some Releases. `why`: another one does not come to rest for that.
    pub fn check_others(&mut self, why: Option<&str>) {
        self.check("11 (others go on)", why.is_none(), || {
            format!("beside a Release that means no good: {}", why.unwrap_or_default())
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{said, world};

    #[test]
    fn one_that_does_not_rest_beside_a_hostile_one_is_seen() {
        let mut world = world(&json!({}));
        world.check_others(None);
        assert_eq!(said(&world, "11 (others go on)"), 0);
        world.check_others(Some("till: 3 Ready of 4 pods, 4 wanted"));
        assert_eq!(said(&world, "11 (others go on)"), 1);
    }
}
