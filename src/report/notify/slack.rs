//! The body of a message to an incoming webhook of Slack.

use serde_json::{Value, json};

use crate::decide::notify::{Message, Template};

/// `text` is what a notification on a phone shows.
pub fn body(message: &Message, template: &Template) -> Value {
    let text = template.text(message, escaped);
    json!({
        "text": text,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
    })
}

/// Slack's own three: with them no value can call a channel, name a person or make a link.
fn escaped(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
