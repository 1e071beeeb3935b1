//! New versions that are tried before and while they go out, in some stories: a pod of their own is asked first, and the first pods go to nodes of pilots.

use serde_json::json;

use crate::dice::Dice;
use crate::story::Story;

/// A trial pod, or pilots, or both.
pub fn tried(dice: &mut Dice, story: &mut Story) {
    let release = &mut story.setup.release;
    if dice.once_in(15) {
        let check = json!({"name": "starts", "http": {"podPath": "/version", "podPort": 8080}});
        match release["preflight"].as_array_mut() {
            Some(checks) => checks.push(check),
            None => release["preflight"] = json!([check]),
        }
    }
    if dice.once_in(20) {
        let pilot = json!({"nodes": {"matchLabels": {"tier": "pilot"}}, "atLeast": 1});
        release["steps"][0]["pilot"] = pilot;
    }
}
