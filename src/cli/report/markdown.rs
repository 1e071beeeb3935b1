//! A report as Markdown (CommonMark with GitHub's tables), in which what people and servers wrote is text and nothing else: no HTML, no
//! link, no image, no mention, no cell or list of its own.

use std::fmt::Write as _;

use super::document::{Block, Document};

/// The text.
pub fn render(document: &Document) -> String {
    let mut text = format!("# {}\n", inline(&document.title));
    for section in &document.sections {
        let _ = write!(text, "\n## {}\n", inline(section.title));
        for block in &section.blocks {
            text.push('\n');
            write(&mut text, block);
        }
    }
    text
}

fn write(text: &mut String, block: &Block) {
    match block {
        Block::Said(said) => {
            let _ = writeln!(text, "{}", inline(said));
        }
        Block::Facts(facts) => facts.iter().for_each(|fact| text.push_str(&item("-", fact))),
        Block::Table { head, rows } => {
            let row = |cells: &mut dyn Iterator<Item = String>| {
                cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |")) + "\n"
            };
            text.push_str(&row(&mut head.iter().map(|cell| inline(cell))));
            text.push_str(&row(&mut head.iter().map(|_| "---".to_owned())));
            for cells in rows {
                text.push_str(&row(&mut cells.iter().map(|cell| inline(cell))));
            }
        }
        Block::Issues(issues) => {
            for (number, (what, about)) in issues.iter().enumerate() {
                let number = format!("{}.", number + 1);
                let indent = " ".repeat(number.len() + 1);
                let _ = writeln!(text, "{number} {}", inline(what));
                about.iter().for_each(|fact| text.push_str(&item(&format!("{indent}-"), fact)));
            }
        }
        Block::Verbatim(lines) => {
            // A fence that is longer than any in the text cannot be ended by it.
            let ticks = |line: &String| line.split(|letter| letter != '`').map(str::len).max();
            let fence = "`".repeat(lines.iter().filter_map(ticks).max().unwrap_or(0).max(2) + 1);
            let _ = writeln!(text, "{fence}text");
            lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            let _ = writeln!(text, "{fence}");
        }
        Block::Lines => text.push_str("-\n-\n-\n"),
        Block::Boxes => text.push_str("- [ ]\n- [ ]\n- [ ]\n"),
    }
}

fn item(mark: &str, (what, said): &(String, String)) -> String {
    let line = format!("{mark} {}: {}", inline(what), inline(said));
    format!("{}\n", line.trim_end())
}

/// Text of a line, or of a cell, that is only text. What renderers make links and mentions of by themselves (addresses, `@name`, `#7`)
/// stands as code.
///
/// ```
/// use tidegate::cli::report::markdown::inline;
/// assert_eq!(inline("5% of *all* <b>"), r"5% of \*all\* \<b\>");
/// assert_eq!(inline("ask alice@example.com"), "ask `alice@example.com`");
/// ```
pub fn inline(text: &str) -> String {
    let words: Vec<String> =
        text.split_whitespace().enumerate().map(|(index, word)| safe(word, index == 0)).collect();
    words.join(" ")
}

fn safe(word: &str, first: bool) -> String {
    let lower = word.to_ascii_lowercase();
    let is_linked = word.contains(['@', '#']) || lower.contains("://") || lower.contains("www.");
    if is_linked { code(word) } else { escaped(word, first) }
}

/// A span of code. A bar would end a cell even there, and what escapes it depends on where it stands: it becomes a broken one.
fn code(word: &str) -> String {
    let word = word.replace('|', "\u{a6}");
    let mut longest = 0;
    let mut run = 0;
    for letter in word.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let blank = if word.starts_with('`') || word.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{word}{blank}{fence}")
}

fn escaped(word: &str, first: bool) -> String {
    // What begins a list, a heading or a rule where it stands alone.
    let number =
        word.strip_suffix(['.', ')']).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let marks = word.chars().all(|letter| matches!(letter, '-' | '+' | '='));
    let mut safe = String::with_capacity(word.len());
    for (at, letter) in word.char_indices() {
        let within = matches!(letter, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '$');
        let begins = first && (marks && at == 0 || number && matches!(letter, '.' | ')'));
        if within || begins {
            safe.push('\\');
        }
        safe.push(letter);
    }
    safe
}
