//! The text in which programs expose metrics: Prometheus text 0.0.4 and OpenMetrics 1.0, with UTF-8 names.
//!
//! A visitor over borrowed text: nothing is kept but what the visitor keeps. Forgiving line by line (a line that cannot be
//! read is skipped and counted), strict about size. It does not check types, units, exemplars or the order of families, and
//! `_created` samples are samples like any other.

use std::borrow::Cow;

/// A label's name and value.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// How much of a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole page; a longer one is an error.
    pub bytes: usize,
    /// Samples; more is an error, because a page read in part would look like one whose series vanished.
    pub samples: usize,
    /// Bytes of one line; a longer one is skipped.
    pub line: usize,
    /// Labels of one sample; a sample with more is skipped.
    pub labels: usize,
}

impl Default for Limits {
    /// 4 MiB, 200,000 samples, 64 KiB a line, 64 labels a sample.
    fn default() -> Self {
        Limits { bytes: 4 << 20, samples: 200_000, line: 64 << 10, labels: 64 }
    }
}

/// One sample. Borrows from the page, except where an escape had to be undone.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'page, 'labels> {
    /// The sample's name, with suffixes such as `_total` or `_bucket`.
    pub name: Cow<'page, str>,
    /// In the page's order.
    pub labels: &'labels [Label<'page>],
    /// May be infinite or NaN.
    pub value: f64,
}

/// What reading a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Samples handed to the visitor.
    pub samples: usize,
    /// Lines that could not be read.
    pub skipped: usize,
    /// Whether the page ended with OpenMetrics' `# EOF`. What follows that line is not read.
    pub eof: bool,
}

/// Why a page gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpositionError {
    /// Longer than [`Limits::bytes`].
    #[error("page of {bytes} bytes, {limit} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::samples`].
    #[error("more than {limit} samples")]
    TooManySamples {
        /// The limit.
        limit: usize,
    },
    /// Not one sample: an empty page, or HTML.
    #[error("no sample in {bytes} bytes, {skipped} lines cannot be read")]
    Nothing {
        /// The page's length.
        bytes: usize,
        /// Lines that are neither a sample nor a comment.
        skipped: usize,
    },
}

/// Reads a page and hands every sample to `visit`.
///
/// # Errors
/// When the page is larger than `limits` allow (the visitor may have seen the samples up to there) or holds no sample.
pub fn read(
    page: &[u8],
    limits: Limits,
    mut visit: impl FnMut(&Sample<'_, '_>),
) -> Result<Read, ExpositionError> {
    if page.len() > limits.bytes {
        return Err(ExpositionError::TooLong { bytes: page.len(), limit: limits.bytes });
    }
    let mut read = Read::default();
    let mut labels = Vec::new();
    for line in page.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(b"#") {
            if line == b"# EOF" {
                read.eof = true;
                break;
            }
            continue;
        }
        let sample = match std::str::from_utf8(line) {
            Ok(text) if text.len() <= limits.line => sample(text, limits.labels, std::mem::take(&mut labels)),
            Ok(_) | Err(_) => None,
        };
        let Some((name, found, value)) = sample else {
            read.skipped += 1;
            continue;
        };
        if read.samples == limits.samples {
            return Err(ExpositionError::TooManySamples { limit: limits.samples });
        }
        read.samples += 1;
        visit(&Sample { name, labels: &found, value });
        labels = found;
        labels.clear();
    }
    if read.samples == 0 {
        return Err(ExpositionError::Nothing { bytes: page.len(), skipped: read.skipped });
    }
    Ok(read)
}

/// One line: `name{label="value",} value [timestamp] [# exemplar]`, or `{"name",label="value"} value`. The vector is handed
/// in to be used again.
fn sample<'a>(
    line: &'a str,
    most_labels: usize,
    mut labels: Vec<Label<'a>>,
) -> Option<(Cow<'a, str>, Vec<Label<'a>>, f64)> {
    let mut rest = Cursor { text: line };
    let mut name = rest.metric_name().map(Cow::Borrowed);
    rest.blanks();
    if rest.take('{') {
        loop {
            rest.blanks();
            if rest.take('}') {
                break;
            }
            let (key, quoted) = if rest.text.starts_with('"') {
                (rest.quoted()?, true)
            } else {
                (Cow::Borrowed(rest.label_name()?), false)
            };
            rest.blanks();
            if rest.take('=') {
                rest.blanks();
                let value = rest.quoted()?;
                if labels.len() == most_labels {
                    return None;
                }
                labels.push((key, value));
            } else if quoted && name.is_none() && !key.is_empty() {
                name = Some(key);
            } else {
                return None;
            }
            rest.blanks();
            if !rest.take(',') && !rest.text.starts_with('}') {
                return None;
            }
        }
        rest.blanks();
    } else if !rest.text.is_empty()
        && rest.text.len() + name.as_ref().map_or(0, |name| name.len()) == line.len()
    {
        return None; // no blank between name and value
    }
    let mut words = rest.text.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = number(words.next()?)?;
    match words.next() {
        None | Some("#") => {}
        Some(timestamp) => {
            number(timestamp)?;
            if !matches!(words.next(), None | Some("#")) {
                return None;
            }
        }
    }
    Some((name?, labels, value))
}

/// A Go-style number: `+Inf`, `NaN`, `1e-3`. Rust's `infinity` is Go's too.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// What is left of a line.
struct Cursor<'a> {
    text: &'a str,
}

impl<'a> Cursor<'a> {
    fn blanks(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, letter: char) -> bool {
        match self.text.strip_prefix(letter) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn metric_name(&mut self) -> Option<&'a str> {
        self.word(|byte| byte == b':')
    }

    fn label_name(&mut self) -> Option<&'a str> {
        self.word(|_| false)
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, and what else is allowed.
    fn word(&mut self, also: impl Fn(u8) -> bool) -> Option<&'a str> {
        let length = self
            .text
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || also(*byte))
            .count();
        if length == 0 || self.text.as_bytes()[0].is_ascii_digit() {
            return None;
        }
        // All of it is ASCII, so this is a boundary.
        let (word, rest) = self.text.split_at(length);
        self.text = rest;
        Some(word)
    }

    /// `"..."` with `\\`, `\"` and `\n`; any other escape stays as it is written, as in Prometheus' own parser.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let inside = self.text.strip_prefix('"')?;
        let end = inside.find(['"', '\\'])?;
        if inside.as_bytes()[end] == b'"' {
            self.text = &inside[end + 1..];
            return Some(Cow::Borrowed(&inside[..end]));
        }
        let mut text = String::from(&inside[..end]);
        let mut letters = inside[end..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.text = &inside[end + at + 1..];
                    return Some(Cow::Owned(text));
                }
                '\\' => match letters.next()?.1 {
                    'n' => text.push('\n'),
                    escaped @ ('"' | '\\') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                plain => text.push(plain),
            }
        }
        None
    }
}
