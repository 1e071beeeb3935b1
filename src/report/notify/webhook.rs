//! The body of a message to a webhook of one's own: all that is known of it, and the words.

use serde_json::{Value, json};

use crate::api::notify::Owed;
use crate::decide::notify::{Message, Template};

/// `id` is the same in each try.
pub fn body(message: &Message, template: &Template) -> Value {
    let Owed {
        id,
        event,
        turn,
        at,
        to: _,
        run,
        phase,
        step,
        share,
        reason,
        message: sentence,
        unblock,
        images,
        report,
    } = &message.owed;
    json!({
        "id": id,
        "event": event,
        "turn": turn,
        "at": at,
        "release": {"namespace": message.key.namespace, "name": message.key.name, "uid": message.uid},
        "run": run,
        "phase": phase,
        "step": step,
        "share": share,
        "reason": reason,
        "message": sentence,
        "unblock": unblock,
        "images": images,
        "report": report,
        "text": template.text(message, str::to_owned),
    })
}
