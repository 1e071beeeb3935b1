//! Migrations, in some stories: Jobs in their order, that are done once, fail, or take too long, and bar the way back.

use serde_json::{Value, json};

use super::job;
use crate::dice::Dice;
use crate::story::Story;

/// A run has a few of them, of every kind.
pub fn migrations(dice: &mut Dice, story: &mut Story) {
    if story.setup.replicas > 20 || !dice.once_in(10) {
        return;
    }
    let names = ["add", "move", "clean"];
    let many = usize::try_from(dice.between(1, 3)).unwrap_or(1);
    let all: Vec<Value> = names.into_iter().take(many).map(|name| migration(dice, name)).collect();
    story.setup.release["migrations"] = json!(all);
}

fn migration(dice: &mut Dice, name: &str) -> Value {
    let kind = *dice.pick(&["Expand", "Expand", "Contract", "Contract", "Irreversible"]);
    let mut migration = json!({"name": name, "kind": kind, "job": job(dice.once_in(8))});
    if dice.once_in(3) {
        migration["verify"] = job(dice.once_in(8));
    }
    if dice.once_in(8) {
        // A Job takes three seconds.
        migration["timeout"] = json!(*dice.pick(&["1s", "20s"]));
    }
    migration
}
