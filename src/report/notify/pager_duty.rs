//! An event of PagerDuty's Events API v2. What stands opens an incident, which is acknowledged and resolved with it; an undo opens one that
//! a person resolves.

use serde_json::{Value, json};

use super::urgency::Urgency;
use super::webhook;
use crate::api::notify::Turn;
use crate::decide::notify::{Message, Template};

/// Of the service region in the United States.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Of its Secret.
pub const KEY: &str = "routing-key";
/// Letters that PagerDuty takes.
const LONGEST_SUMMARY: usize = 1024;
const LONGEST_KEY: usize = 255;

/// `routing_key`: which service.
pub fn body(message: &Message, template: &Template, routing_key: &str) -> Value {
    let action = match message.owed.turn {
        Turn::New | Turn::Still => "trigger",
        Turn::Acknowledged => "acknowledge",
        Turn::Over => "resolve",
    };
    let summary: String = template.text(message, str::to_owned).chars().take(LONGEST_SUMMARY).collect();
    let dedup_key: String = message.incident().chars().take(LONGEST_KEY).collect();
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": dedup_key,
        "client": "Tidegate",
        "payload": {
            "summary": summary,
            "source": message.key.to_string(),
            "severity": severity(Urgency::of(message)),
            "timestamp": message.owed.at,
            "component": message.key.name,
            "group": message.key.namespace,
            "class": message.owed.event,
            "custom_details": webhook::body(message, template),
        },
    })
}

fn severity(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Now => "critical",
        Urgency::High => "error",
        Urgency::Moderate => "warning",
        Urgency::Low => "info",
    }
}
