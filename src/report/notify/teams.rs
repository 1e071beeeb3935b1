//! The body of a message to a Microsoft Teams workflow: a message with an Adaptive Card.

use serde_json::{Value, json};

use crate::decide::notify::{Message, Template};
use crate::letters::breaks_line;

/// One block of text for each line: a card joins lines of one block.
pub fn body(message: &Message, template: &Template) -> Value {
    let text = template.text(message, escaped);
    let blocks: Vec<Value> =
        text.lines().map(|line| json!({"type": "TextBlock", "text": line, "wrap": true})).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "fallbackText": message.title(),
                "body": blocks,
            },
        }],
    })
}

/// Text of a card is Markdown: what a value holds stays as it is, on one line.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '~' | '|' | '<' | '>' => {
                text.extend(['\\', letter]);
            }
            letter if breaks_line(letter) => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}
