//! What people are told: the words, the shapes of seven receivers, and how it is handed over.

mod every_kind;
mod handing_over;
mod mail_servers;
mod shapes;
mod words;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::notify::{Event, Owed, Turn};
use tidegate::api::status::Stamp;
use tidegate::decide::Key;
use tidegate::decide::notify::{Message, Template};

fn message(event: Event, turn: Turn) -> Message {
    let at: Timestamp = "2026-11-28T09:30:00Z".parse().unwrap();
    let (message, unblock) = match event {
        Event::Held => ("alice said pause: fire drill", "kubectl tidegate resume checkout -n shop"),
        _ => ("errors: 7.4% is above the limit 5%", ""),
    };
    let reason = if event == Event::Held { "Paused" } else { "" };
    Message {
        key: Key { namespace: "shop".into(), name: "checkout".into() },
        uid: "6f1e".into(),
        owed: Owed {
            id: "6f1e.r7.held.12".into(),
            event,
            turn,
            at: Stamp(at),
            to: vec!["team".into()],
            run: "r7".into(),
            phase: "Held".into(),
            step: "tenth".into(),
            share: "10%".into(),
            reason: reason.into(),
            message: message.into(),
            unblock: unblock.into(),
            images: vec!["registry/checkout:v2".into(), "registry/proxy:v9".into()],
            report: String::new(),
        },
    }
}

/// The same with a sentence of somebody else's.
fn saying(event: Event, sentence: &str) -> Message {
    let mut message = message(event, Turn::New);
    message.owed.message = sentence.into();
    message
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// A Release with these audiences.
fn release(notify: &Value) -> tidegate::api::ReleaseSpec {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"});
    serde_json::from_value(json!({"targetRef": target, "notify": notify})).unwrap()
}
