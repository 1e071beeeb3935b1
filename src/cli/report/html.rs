//! A report as one HTML page: nothing in it is loaded from anywhere, nothing runs, and every text is escaped.

use std::fmt::Write as _;

use super::document::{Block, Document};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1b1b1b;background:#fff}\
table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}\
th,td{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}\
th{background:#f3f3f3}dt{font-weight:600}dd{margin:0 0 .4em 1.5em;overflow-wrap:anywhere}\
pre{overflow-x:auto;background:#f3f3f3;padding:.6em}\
.fill{border-bottom:1px dotted #888;min-height:1.6em;margin:.5em 0}\
@media print{body{margin:0;max-width:none}}";

/// The page.
pub fn render(document: &Document) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n"
    );
    for section in &document.sections {
        let _ = writeln!(page, "<h2>{}</h2>", escaped(section.title));
        section.blocks.iter().for_each(|block| write(&mut page, block));
    }
    page + "</body>\n</html>\n"
}

fn write(page: &mut String, block: &Block) {
    match block {
        Block::Said(said) => page.push_str(&format!("<p>{}</p>\n", escaped(said))),
        Block::Facts(all) => page.push_str(&facts(all)),
        Block::Table { head, rows } => {
            let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
                let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
                format!("<tr>{cells}</tr>\n")
            };
            page.push_str("<table>\n<thead>\n");
            page.push_str(&row("th", &mut head.iter().copied()));
            page.push_str("</thead>\n<tbody>\n");
            for cells in rows {
                page.push_str(&row("td", &mut cells.iter().map(String::as_str)));
            }
            page.push_str("</tbody>\n</table>\n");
        }
        Block::Issues(issues) => {
            page.push_str("<ol>\n");
            for (what, about) in issues {
                let more = if about.is_empty() { String::new() } else { facts(about) };
                page.push_str(&format!("<li>{}{more}</li>\n", escaped(what)));
            }
            page.push_str("</ol>\n");
        }
        Block::Verbatim(lines) => page.push_str(&format!("<pre>{}</pre>\n", escaped(&lines.join("\n")))),
        Block::Lines => page.push_str(&"<div class=\"fill\"></div>\n".repeat(3)),
        Block::Boxes => page.push_str(&"<div class=\"fill\">&#9744;</div>\n".repeat(3)),
    }
}

fn facts(facts: &[(String, String)]) -> String {
    let one =
        |(what, said): &(String, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(what), escaped(said));
    format!("<dl>\n{}</dl>\n", facts.iter().map(one).collect::<String>())
}

/// Text that is text, also within an attribute.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
