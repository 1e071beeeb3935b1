//! How much of what people write is read. What is read takes several times as much as its text, and a hundred bytes for each entry of its lists
//! and objects, however short it is.

/// Bytes: as many as a Release has in which everything that can be written is there, as long as it may be, but not in each of its steps; and a hundred times a
/// usual template.
pub const MOST_BYTES: usize = 640 << 10;
/// Entries of lists and objects.
pub const MOST_ENTRIES: usize = 16_384;

/// Why something is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("it is larger than {} KiB: keep long texts in a ConfigMap or an image", MOST_BYTES >> 10)]
    Bytes,
    #[error(
        "its lists and objects have more than {MOST_ENTRIES} entries: keep long lists in a ConfigMap or an image"
    )]
    Entries,
}

/// Whether a JSON text is to be read.
///
/// # Errors
/// Why not.
pub fn is_read(text: &str) -> Result<(), TooMuch> {
    is_read_with(text, 0, 0)
}

/// The same of one that has so many bytes and entries which do not count.
pub(super) fn is_read_with(text: &str, bytes: usize, entries: usize) -> Result<(), TooMuch> {
    if text.len() > MOST_BYTES + bytes {
        return Err(TooMuch::Bytes);
    }
    // Each entry takes a byte at least: most texts need not be counted.
    if text.len() > MOST_ENTRIES && count(text) > MOST_ENTRIES + entries {
        return Err(TooMuch::Entries);
    }
    Ok(())
}

/// How many entries the lists and objects of a JSON text have, or some more: each stands behind a comma, or is the first of its list or object.
fn count(text: &str) -> usize {
    let (mut entries, mut quoted, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => entries += 1,
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_takes_much_room_is_not_read() {
        let of = |value: serde_json::Value| is_read(&value.to_string());
        assert_eq!(of(json!({"note": "x".repeat(MOST_BYTES)})), Err(TooMuch::Bytes));
        assert_eq!(of(json!({"zeros": vec![0; 20_000]})), Err(TooMuch::Entries));
        // Neither is what has many lists of one entry each.
        assert_eq!(of(json!({"nested": vec![json!([[[[[0]]]]]); 4_000]})), Err(TooMuch::Entries));
        assert_eq!(of(json!({"zeros": vec![0; 16_000]})), Ok(()));
    }

    #[test]
    fn what_stands_in_a_text_is_no_entry() {
        assert_eq!(count(r#"{"a": "b, [\", {c", "d": [1, 2, []]}"#), 6);
        assert_eq!(count("null"), 0);
    }
}
