//! What is kept of a body of JSON, as values: the fields that somebody reads, and no more than there is room for. A value takes up to a hundred times the room that its
//! text has, and what is not kept takes none: it is skipped where it stands.
//!
//! What is counted is memory, about; how large a text may be is its reader's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Bytes of memory that the values of one body may take.
pub const MOST: usize = 64 << 20;
/// Bytes of a value: a list has room for as many again, once it has grown.
const VALUE: usize = 64;
/// Bytes of the fields of an object, if there are some: room for eleven is made at once.
const FIELDS: usize = 640;
/// Bytes of a name or a text, beside its letters.
const TEXT: usize = 32;

/// Why nothing is kept of a body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    #[error("more than {} MiB in memory", MOST >> 20)]
    TooMuch,
    #[error("no JSON, or too deep")]
    NotRead,
}

/// Reads a body. `keeps` is asked about each field, by the names on the way to it; those within a list are asked about as if they were not within one.
///
/// # Errors
/// When it has too much of what is kept, or is no JSON.
pub fn read(body: &[u8], keeps: &dyn Fn(&[String]) -> bool) -> Result<Value, NotKept> {
    let mut reading = Reading { keeps, path: Vec::new(), left: Some(MOST) };
    let mut text = serde_json::Deserializer::from_slice(body);
    let value = reading.deserialize(&mut text);
    match (value, reading.left) {
        (_, None) => Err(NotKept::TooMuch),
        (Err(_), Some(_)) => Err(NotKept::NotRead),
        (Ok(value), Some(_)) => text.end().map(|()| value).map_err(|_| NotKept::NotRead),
    }
}

/// Whether names lead to a field (`spec.nodeName`), or to something within it.
pub fn leads_to(path: &[String], field: &str) -> bool {
    path.iter().zip(field.split('.')).all(|(name, wanted)| name == wanted)
}

/// Bytes of memory that a value takes, about.
pub fn size(value: &Value) -> usize {
    let within = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => TEXT + text.len(),
        Value::Array(values) => values.iter().map(size).sum::<usize>(),
        Value::Object(fields) if fields.is_empty() => 0,
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| TEXT + name.len() + size(value);
            FIELDS + fields.iter().map(field).sum::<usize>()
        }
    };
    VALUE + within
}

/// A body that is being read.
struct Reading<'k> {
    keeps: &'k dyn Fn(&[String]) -> bool,
    /// Names of the fields that it is in.
    path: Vec<String>,
    /// Bytes of memory that are left; `None`: there were too few.
    left: Option<usize>,
}

impl Reading<'_> {
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.left = self.left.and_then(|left| left.checked_sub(bytes));
        if self.left.is_some() { Ok(()) } else { Err(E::custom(NotKept::TooMuch)) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take::<D::Error>(VALUE)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.take::<E>(TEXT + text.len())?;
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(value) = values.next_element_seed(&mut *self)? {
            kept.push(value);
        }
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let bytes = TEXT + name.len() + if kept.is_empty() { FIELDS } else { 0 };
            self.path.push(name);
            if (self.keeps)(&self.path) {
                self.take::<A::Error>(bytes)?;
                let value = fields.next_value_seed(&mut *self)?;
                kept.extend(self.path.pop().map(|name| (name, value)));
            } else {
                fields.next_value::<IgnoredAny>()?;
                self.path.pop();
            }
        }
        Ok(Value::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &str, fields: &[&str]) -> Result<Value, NotKept> {
        read(body.as_bytes(), &|path| fields.iter().any(|field| leads_to(path, field)))
    }

    /// As many objects as this, each of which is thirteen bytes with its comma.
    fn objects(number: usize) -> String {
        format!("[{}0]", r#"{"name":"a"},"#.repeat(number))
    }

    #[test]
    fn what_nobody_reads_is_not_kept_however_much_or_deep_it_is() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let many = objects(200_000);
        let body = format!(
            r#"{{"metadata": {{"name": "a", "labels": {{"x.y/z": "1"}}, "managedFields": {many}}}, "spec": {{"nodeName": 7, "deep": {deep}}},
                "items": [{{"metadata": {{"name": "b"}}, "names": 1}}, "odd", null], "name": 2.5}}"#
        );
        assert_eq!(of(&body, &["metadata.name"]), Ok(json!({"metadata": {"name": "a"}})));
        let fields = ["metadata.labels", "spec.nodeName", "items.metadata.name", "name"];
        let kept = json!({
            "metadata": {"labels": {"x.y/z": "1"}}, "spec": {"nodeName": 7}, "name": 2.5,
            "items": [{"metadata": {"name": "b"}}, "odd", null],
        });
        assert_eq!(of(&body, &fields), Ok(kept));
        assert_eq!(of(&body, &["spec.deep"]), Err(NotKept::NotRead), "who wants it cannot have it");
    }

    #[test]
    fn what_is_small_as_a_text_and_large_in_memory_is_too_much() {
        let keep_all = |body: &str| read(body.as_bytes(), &|_| true);
        assert_eq!(keep_all(&objects(100_000)), Err(NotKept::TooMuch));
        assert_eq!(keep_all(&format!("[{}0]", "[],".repeat(2_000_000))), Err(NotKept::TooMuch));
        assert!(keep_all(&objects(50_000)).is_ok());
    }

    #[test]
    fn what_is_taken_is_what_is_kept() {
        let body = json!({
            "text": "é\n", "numbers": [1, -1, 0.5, u64::MAX], "nothing": [null, true, {}, []],
            "objects": [{"a": "b", "c": {"d": [{"e": 1}]}}],
        });
        let text = body.to_string();
        let mut reading = Reading { keeps: &|_| true, path: Vec::new(), left: Some(MOST) };
        let read = reading.deserialize(&mut serde_json::Deserializer::from_str(&text));
        assert_eq!(read.ok().as_ref(), Some(&body));
        assert_eq!(reading.left, Some(MOST - size(&body)));
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for body in ["", "{", "[1,]", "{} x", "oops", r#"{"a": "\ud800"}"#] {
            assert_eq!(read(body.as_bytes(), &|_| true), Err(NotKept::NotRead), "{body}");
        }
    }
}
