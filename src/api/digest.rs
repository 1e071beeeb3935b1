//! The digest of a record, and the text that it is taken of: whoever has the record can take it again, with any tool.
//!
//! Canonical text: JSON in UTF-8 without blanks, the members of each object sorted by their names, and without members whose value is
//! `null`, `false`, `0`, `""`, `[]` or `{}`: an API server may add those by default. A record has no numbers but whole ones.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The digest of a record's `spec`: 64 hex digits, SHA-256 of its canonical text without `chain.digest`.
///
/// ```
/// use serde_json::json;
/// use tidegate::api::digest::of_record;
/// let one = json!({"run": "r7", "notes": [], "chain": {"digest": "?"}});
/// assert_eq!(of_record(&one), of_record(&json!({"run": "r7"})));
/// assert_ne!(of_record(&one), of_record(&json!({"run": "r8"})));
/// ```
pub fn of_record(spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Some(chain) = spec.get_mut("chain").and_then(Value::as_object_mut) {
        chain.remove("digest");
    }
    let mut text = String::new();
    write(&mut text, &without_nothings(spec));
    hex(&text)
}

/// The digest of any value: 64 hex digits, SHA-256 of its JSON with sorted members. Nothing is left out: an empty list is not none.
///
/// ```
/// use serde_json::json;
/// use tidegate::api::digest::of_value;
/// assert_eq!(of_value(&json!({"a": 1, "b": 2})), of_value(&json!({"b": 2, "a": 1})));
/// assert_ne!(of_value(&json!({"a": []})), of_value(&json!({})));
/// ```
pub fn of_value(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    hex(&text)
}

/// The first 12 hex digits of the SHA-256 of a text: enough to tell that something was changed, not to withstand somebody who looks for two of
/// the same.
///
/// ```
/// use tidegate::api::digest::short;
/// assert_eq!(short("shop"), "8d9001d32c6a");
/// ```
pub fn short(text: &str) -> String {
    let mut digits = hex(text);
    digits.truncate(12);
    digits
}

fn hex(text: &str) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digest = Sha256::digest(text);
    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

fn without_nothings(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().map(|(name, member)| (name, without_nothings(member)));
            Value::Object(kept.filter(|(_, member)| !is_nothing(member)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nothings).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// Whether a field that has this value reads as one that is not there.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Sorted here, whatever order the maps of this build keep.
fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, &Value::String(name.clone()));
                text.push(':');
                write(text, member);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_digest_is_of_this_text() {
        let spec = json!({
            "run": "r7", "canary": {"images": ["shop:2"], "fingerprint": ""}, "attempt": 0, "notes": [],
            "chain": {"digest": "what it was", "previous": {"report": "r6", "digest": "ab"}}, "a\"b": [0, {"x": null}],
        });
        let mut text = String::new();
        write(&mut text, &without_nothings(json!({"b": 1, "a": spec["a\"b"]})));
        assert_eq!(text, r#"{"a":[0,{}],"b":1}"#);
        let by_hand = r#"{"a\"b":[0,{}],"canary":{"images":["shop:2"]},"chain":{"previous":{"digest":"ab","report":"r6"}},"run":"r7"}"#;
        let wanted =
            Sha256::digest(by_hand).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(of_record(&spec), wanted);
    }

    #[test]
    fn every_part_of_a_record_counts() {
        let record = json!({"run": "r7", "steps": [{"pods": 1}, {"pods": 2}], "chain": {"previous": {"digest": "ab"}}});
        let turned = json!({"run": "r7", "steps": [{"pods": 2}, {"pods": 1}], "chain": {"previous": {"digest": "ab"}}});
        let other = json!({"run": "r7", "steps": [{"pods": 1}, {"pods": 2}], "chain": {"previous": {"digest": "cd"}}});
        assert_ne!(of_record(&record), of_record(&turned));
        assert_ne!(of_record(&record), of_record(&other));
    }
}
