//! YAML of users that grows when it is read, or has no bottom. How much of it is read is for the reader to say: nobody here waits for it, or has no
//! memory left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tidegate::cli::backtest::asking;
use tidegate::cli::judge;
use tidegate::cli::lint::manifests;
use tidegate::decide::promotion::{self, Others, Subject, Wanted};
use tidegate::decide::snapshot::ProbeResult;

/// The files that read YAML of users, each by a function that [`refusals`] calls.
const READERS: [&str; 4] =
    ["cli/backtest/asking.rs", "cli/judge.rs", "cli/lint/manifests.rs", "decide/promotion/brought.rs"];

/// Lists of ten times the one before: a thousand million of these in the last.
fn growing(leaf: &str) -> String {
    let list = |level: usize, item: &str| format!("a{level}: &a{level} [{}]\n", [item; 10].join(", "));
    let mut text = format!("leaf: &leaf {leaf}\n{}", list(0, "*leaf"));
    for level in 1..9 {
        text.push_str(&list(level, &format!("*a{}", level - 1)));
    }
    text
}

/// Texts that nobody writes who wants something released.
fn bombs() -> Vec<(&'static str, String)> {
    const DEEP: usize = 10_000;
    vec![
        ("a thousand million numbers", growing("1")),
        ("a thousand million long texts", growing(&"x".repeat(10_000))),
        ("ten thousand lists in one another", "[".repeat(DEEP) + &"]".repeat(DEEP)),
        ("ten thousand mappings in one another", "{a: ".repeat(DEEP) + "1" + &"}".repeat(DEEP)),
        ("ten thousand lists without an end", "[".repeat(DEEP)),
        ("ten thousand lists in block style", "- ".repeat(DEEP) + "1"),
        ("a thousand mappings in block style", (0..1000).map(|deep| " ".repeat(deep) + "a:\n").collect()),
    ]
}

/// What each reader has against it; `None`: nothing.
fn refusals(text: &str) -> [Option<String>; READERS.len()] {
    let wanted = Wanted {
        others: Others::Brought { config_map: "staging".into(), key: "record".into() },
        namespace: None,
        soak: Duration::from_secs(3600),
    };
    let subject = Subject {
        namespace: "shop".into(),
        release: "checkout".into(),
        images: vec!["shop@sha256:11".into()],
    };
    let (result, said) =
        promotion::brought::judged(&wanted, &subject, "configmap staging", text, Timestamp::UNIX_EPOCH);
    [
        asking::release_in(text, "a file", None).err().map(|error| format!("{error:#}")),
        judge::parse(text).err().map(|error| format!("{error:#}")),
        manifests::read("a file", text).err().map(|error| format!("{error:#}")),
        (result == ProbeResult::Failed).then_some(said),
    ]
}

#[test]
fn yaml_that_grows_or_has_no_bottom_is_refused_wherever_it_is_read() {
    for (what, text) in bombs() {
        for (reader, refused) in READERS.iter().zip(refusals(&text)) {
            let refused = refused.unwrap_or_else(|| panic!("{reader} reads {what}"));
            assert!(refused.contains("too much of it"), "{reader}, {what}: {refused}");
            let is_bound = |words: &&str| refused.contains(*words);
            let bounds = ["budget breached", "recursion limit exceeded"];
            assert!(bounds.iter().any(is_bound), "{reader}, {what}: {refused}");
        }
    }
}

#[test]
fn whoever_reads_yaml_is_known_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut open) = (Vec::new(), vec![root.clone()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if std::fs::read_to_string(&path).unwrap().contains("serde_saphyr::from_") {
            found.push(path);
        }
    }
    found.sort();
    let known: Vec<PathBuf> = READERS.iter().map(|reader| root.join(reader)).collect();
    assert_eq!(found, known);
}
