//! An alert of Opsgenie. What stands opens one, which is acknowledged and closed with it; an undo opens one that a person closes.

use serde_json::{Value, json};

use super::urgency::Urgency;
use crate::api::notify::{Owed, Turn};
use crate::decide::notify::{Message, Template};

/// Of the instance in the United States.
pub const URL: &str = "https://api.opsgenie.com/v2/alerts";
/// Of its Secret.
pub const KEY: &str = "api-key";
/// Letters that Opsgenie takes.
const LONGEST_MESSAGE: usize = 130;
const LONGEST_DESCRIPTION: usize = 15_000;
const LONGEST_NOTE: usize = 25_000;

/// Where to post to: an alert is made at the base, and acknowledged and closed by its alias below.
pub fn url(base: &str, message: &Message) -> String {
    let base = base.trim_end_matches('/');
    // Letters, digits, '.' and '-': nothing in it needs escaping.
    let alias = message.incident();
    match message.owed.turn {
        Turn::New | Turn::Still => base.to_owned(),
        Turn::Acknowledged => format!("{base}/{alias}/acknowledge?identifierType=alias"),
        Turn::Over => format!("{base}/{alias}/close?identifierType=alias"),
    }
}

/// What is posted there.
pub fn body(message: &Message, template: &Template) -> Value {
    let text = template.text(message, str::to_owned);
    let first = |most: usize, text: &str| text.chars().take(most).collect::<String>();
    let source = "Tidegate";
    let Owed { id, event, run, phase, step, share, reason, unblock, images, report, .. } = &message.owed;
    match message.owed.turn {
        Turn::Acknowledged | Turn::Over => json!({"source": source, "note": first(LONGEST_NOTE, &text)}),
        Turn::New | Turn::Still => json!({
            "message": first(LONGEST_MESSAGE, &message.title()),
            "alias": message.incident(),
            "description": first(LONGEST_DESCRIPTION, &text),
            "entity": message.key.to_string(),
            "source": source,
            "priority": priority(Urgency::of(message)),
            "details": {
                "id": id, "event": event, "run": run, "phase": phase, "step": step, "share": share, "reason": reason,
                "unblock": unblock, "images": images.join(", "), "report": report,
            },
        }),
    }
}

fn priority(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Now => "P1",
        Urgency::High => "P2",
        Urgency::Moderate => "P3",
        Urgency::Low => "P5",
    }
}
