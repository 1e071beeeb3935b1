//! Words on a screen: wrapping, columns, colours, lengths of time. Knows nothing of releases and reads nothing.
//!
//! Everything here writes colours; whoever prints takes them away where they are not wanted (`anstream`).

use anstream::adapter::strip_str;
use jiff::{SignedDuration, Timestamp};
use owo_colors::OwoColorize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::letters::{breaks_line, on_one_line, turns_writing};

/// What a rendering depends on besides what it shows.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The moment that "ago" is counted from.
    pub now: Timestamp,
    /// Columns to wrap at; `None`: do not wrap.
    pub width: Option<usize>,
    /// Show also what is rarely needed.
    pub wide: bool,
}

/// Joins words that are not to be parted by a line break.
pub const TIE: char = '\u{a0}';

/// Text without control characters and line breaks, and without what turns the direction of writing. Reasons are written by people and
/// messages by servers: none of them may move the cursor of whoever reads them, or be read as other words than it is written in.
pub fn plain(text: &str) -> String {
    on_one_line(text).collect()
}

/// The field in which authors stand, a name a line (`api::Authors`): shown they are one line all the same.
const AUTHORS: &str = "changedBy";

/// The same object with every text in it made [`plain`], and of authors every name.
pub fn harmless<T: Serialize + DeserializeOwned + Clone>(object: &T) -> T {
    fn clean(value: &mut Value) {
        match value {
            Value::String(text)
                if text.chars().any(|letter| breaks_line(letter) || turns_writing(letter)) =>
            {
                *text = plain(text);
            }
            Value::Array(values) => values.iter_mut().for_each(clean),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| match value {
                Value::String(names) if name == AUTHORS => {
                    *names = names.split('\n').map(plain).collect::<Vec<_>>().join("\n");
                }
                value => clean(value),
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(object) else { return object.clone() };
    clean(&mut value);
    serde_json::from_value(value).unwrap_or_else(|_| object.clone())
}

/// A page of text that grows downwards.
#[derive(Debug)]
pub struct Page {
    width: Option<usize>,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(width: Option<usize>) -> Self {
        Self { width, text: String::new() }
    }

    /// A line as it is, whatever its length.
    pub fn raw(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line, once.
    pub fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A headline, with an empty line before it.
    pub fn heading(&mut self, text: &str) {
        self.blank();
        self.raw(&text.bold().to_string());
    }

    /// `lead`, then `text`, wrapped under itself.
    pub fn hang(&mut self, lead: &str, text: &str) {
        let indent = visible(lead);
        let room = self.width.map(|width| width.saturating_sub(indent).max(20));
        let mut lead = lead.to_owned();
        for line in wrap(text, room) {
            self.raw(&format!("{lead}{line}"));
            lead = " ".repeat(indent);
        }
    }

    /// A labelled line: the label in a column of its own, and the text wrapped beside it.
    pub fn field(&mut self, label: &str, text: &str) {
        self.hang(&format!("{}", format!("{label:<10}").dimmed()), text);
    }

    /// The same in one line, however long: a command that is broken cannot be pasted.
    pub fn whole_field(&mut self, label: &str, text: &str) {
        self.raw(&format!("{}{text}", format!("{label:<10}").dimmed()));
    }

    /// The page, without empty lines at its end.
    pub fn into_text(self) -> String {
        self.text.trim_end().to_owned() + "\n"
    }
}

/// Columns, each as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headline.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|text| bold(text)).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One line a row, the headline first, each as long as the others.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column: usize| cells(column).map(|cell: &String| visible(cell)).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        let pad = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width - visible(cell)));
        let line = |row: &Vec<String>| row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ");
        self.rows.iter().map(line).collect()
    }
}

/// Nothing stays nothing: colours around it would not be trimmed.
fn bold(text: &str) -> String {
    if text.is_empty() { String::new() } else { text.bold().to_string() }
}

/// How many columns a text takes when it is shown, colours not counted.
pub fn visible(text: &str) -> usize {
    strip_str(text).to_string().chars().count()
}

/// Text in lines of at most `room` columns; a word that is longer stands alone.
pub fn wrap(text: &str, room: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let width = visible(word);
        if column > 0 && room.is_some_and(|room| column + 1 + width > room) {
            lines.push(std::mem::take(&mut line));
            column = 0;
        }
        if column > 0 {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += width;
    }
    lines.push(line);
    lines.iter().map(|line| line.replace(TIE, " ")).collect()
}

/// A length of time in at most two units: `42s`, `3m 5s`, `42m`, `3h 5m`, `2d 3h`. What lies in the future is `0s` ago.
///
/// ```
/// use jiff::SignedDuration;
/// use tidegate::cli::view::span;
/// assert_eq!(span(SignedDuration::from_secs(185)), "3m 5s");
/// assert_eq!(span(SignedDuration::from_hours(51)), "2d 3h");
/// ```
pub fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let two = |first: i64, unit: &str, second: i64, smaller: &str| {
        if second == 0 { format!("{first}{unit}") } else { format!("{first}{unit} {second}{smaller}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => two(minutes, "m", seconds % 60, "s"),
        600..3600 => format!("{minutes}m"),
        3600..86400 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// How long ago.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(now.duration_since(at)))
}

/// A length of time in seconds, to the hundredth: `1.14 s`.
pub fn seconds(length: SignedDuration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

/// A moment in UTC, without its date when that is today's: `14:32:05Z`.
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%F").to_string();
    if day(at) == day(now) { at.strftime("%TZ").to_string() } else { at.strftime("%F %TZ").to_string() }
}

/// `1 pod`, `3 pods`.
pub fn count(number: impl Into<i64>, one: &str) -> String {
    let number = number.into();
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A sentence with a full stop, whoever wrote it.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}
