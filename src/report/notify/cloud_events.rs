//! A CloudEvent 1.0 in structured mode: the envelope, and what a webhook gets as its data.

use serde_json::{Value, json};

use super::webhook;
use crate::decide::notify::{Message, Template};

/// Of the whole event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// `source` and `id` together are the same in each try, and no others'.
pub fn body(message: &Message, template: &Template) -> Value {
    let (key, owed) = (&message.key, &message.owed);
    let mut event = json!({
        "specversion": "1.0",
        "id": owed.id,
        "source": format!("/apis/tidegate.dev/v1alpha1/namespaces/{}/releases/{}", key.namespace, key.name),
        "type": format!("dev.tidegate.release.{:?}", owed.event).to_lowercase(),
        "time": owed.at,
        "datacontenttype": "application/json",
        "data": webhook::body(message, template),
    });
    // An attribute that is there is not empty.
    if !owed.run.is_empty() {
        event["subject"] = json!(owed.run);
    }
    event
}
