//! Words that stand for what somebody meant to write.

/// Words that mean it wherever they stand alone, in small letters.
const WORDS: [&str; 9] =
    ["todo", "tbd", "fixme", "changeme", "change_me", "change-me", "yourdomain", "replaceme", "replace-me"];
/// How words begin that mean it.
const BEGINNINGS: [&str; 4] = ["your_", "your-", "yourdomain", "changeme"];
/// Names that belong to nobody (RFC 2606).
const EXAMPLES: [&str; 3] = ["example.com", "example.org", "example.net"];

/// Bytes of a text that is looked at: nobody leaves one for somebody to fill in that has more.
pub const LONGEST: usize = 4 << 10;

/// The placeholder in a text, if there is one: `TODO`, `your_key`, `example.com`, `<host>`, `[TARGET]`. A text of more than 4 KiB is not
/// looked at, and has none.
///
/// ```
/// use tidegate::decide::lint::placeholder;
/// assert_eq!(placeholder("https://shop.example.com/health"), Some("example.com"));
/// assert_eq!(placeholder("Bearer <token>"), Some("<token>"));
/// assert_eq!(placeholder("https://myexample.com/todos?rate<5&x>3"), None);
/// ```
pub fn placeholder(text: &str) -> Option<&str> {
    if text.len() > LONGEST {
        return None;
    }
    bracketed(text, '<', '>', |inner| {
        let starts = inner.starts_with(|first: char| first.is_ascii_alphabetic());
        starts && inner.chars().all(|letter| letter.is_ascii_alphanumeric() || "_- .".contains(letter))
    })
    .or_else(|| {
        bracketed(text, '[', ']', |inner| {
            inner.len() > 2
                && inner.chars().all(|letter| letter.is_ascii_uppercase() || "_ ".contains(letter))
        })
    })
    .or_else(|| word(text))
    .or_else(|| example(text))
}

/// The first of its kind that is one. There are no brackets in one: what closes belongs to the last that was opened before it, so that each letter is
/// looked at as often, however many there are.
fn bracketed(text: &str, open: char, close: char, is_one: impl Fn(&str) -> bool) -> Option<&str> {
    let mut from = 0;
    while let Some(end) = text[from..].find(close).map(|at| from + at) {
        if let Some(start) = text[from..end].rfind(open).map(|at| from + at) {
            // A named group of a regular expression looks the same.
            let grouped = text[..start].ends_with("(?P") || text[..start].ends_with("(?");
            if end > start + 1 && !grouped && is_one(&text[start + 1..end]) {
                return Some(&text[start..=end]);
            }
        }
        from = end + close.len_utf8();
    }
    None
}

fn word(text: &str) -> Option<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.split(|letter: char| !is_part(letter)).find(|word| {
        let word = word.to_ascii_lowercase();
        WORDS.contains(&&*word) || BEGINNINGS.iter().any(|beginning| word.starts_with(beginning))
    })
}

fn example(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    EXAMPLES.iter().find_map(|name| {
        lower.match_indices(name).find_map(|(start, _)| {
            let end = start + name.len();
            let before = lower[..start].chars().next_back();
            let after = lower[end..].chars().next();
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            let alone =
                !before.is_some_and(is_name) && !after.is_some_and(|letter| is_name(letter) || letter == '.');
            alone.then(|| &text[start..end])
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{LONGEST, bracketed, placeholder};

    #[test]
    fn what_stands_for_something_else_is_found() {
        for (text, wanted) in [
            ("TODO", "TODO"),
            ("TBD: ask ops", "TBD"),
            ("http://prometheus.monitoring:9090/your_tenant", "your_tenant"),
            ("https://yourdomain.com", "yourdomain"),
            ("registry.example.org/smoke:v1", "example.org"),
            ("ChangeMe!", "ChangeMe"),
            ("[TARGET]", "[TARGET]"),
            ("a < b, <your host>", "<your host>"),
            ("a > b, <your host>", "<your host>"),
            ("[[TARGET]]", "[TARGET]"),
            ("[a] [] (?P<code>5..) <x><y>", "<x>"),
            ("<5><host>", "<host>"),
        ] {
            assert_eq!(placeholder(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn one_is_found_behind_as_many_brackets_as_there_are() {
        for brackets in ["[", "]", "<", ">", "[]", "<>", "][", "[<"] {
            let before = brackets.repeat(1000);
            assert_eq!(placeholder(&format!("{before} [TARGET]")), Some("[TARGET]"), "{brackets}");
            assert_eq!(placeholder(&format!("{before} <host>")), Some("<host>"), "{brackets}");
        }
    }

    #[test]
    fn brackets_without_end_are_looked_at_once() {
        let looked_at = |text: &str, open: char, close: char| {
            let bytes = Cell::new(0);
            let is_one = |inner: &str| {
                bytes.set(bytes.get() + inner.len());
                false
            };
            assert_eq!(bracketed(text, open, close, is_one), None);
            bytes.get()
        };
        let most = 1 << 20;
        for (opened, closed) in [("[", "]"), ("[A", "]"), ("[A", "A]"), ("[]", "[]")] {
            let text = opened.repeat(most / 2 / opened.len()) + &closed.repeat(most / 2 / closed.len());
            assert!(looked_at(&text, '[', ']') <= text.len(), "{opened} {closed}");
            let text = text.replace('[', "<").replace(']', ">");
            assert!(looked_at(&text, '<', '>') <= text.len(), "{opened} {closed}");
        }
    }

    #[test]
    fn a_long_text_is_not_looked_at() {
        let long = |length: usize| format!("TODO{}", " ".repeat(length - 4));
        assert_eq!(placeholder(&long(LONGEST)), Some("TODO"));
        assert_eq!(placeholder(&long(LONGEST + 1)), None);
        for bracket in ["[", "]", "<", ">"] {
            assert_eq!(placeholder(&bracket.repeat(1 << 20)), None);
        }
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        for text in [
            "https://todo-app.shop.svc/api",
            "http://todos.svc",
            "value < 8 and value > 3",
            "(?P<code>5..)",
            "example.community",
            "notexample.com",
            "[A-Z]+",
            "example.com.shop.svc",
            "ünïcödé < ☃ >",
            "",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
