//! The house keeps its order: what a file's place says it may do, it does, and no more.

use std::path::{Path, PathBuf};

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(below)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "nothing below src/{below}");
    found
}

/// Lines of code, numbered from 1: no comments, and nothing that only tests have.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..).map(|(line, number)| (number, line));
    while let Some((number, line)) = lines.next() {
        let begins = line.trim_start();
        if begins.starts_with("#[cfg(test)]") {
            skip_item(&line[..line.len() - begins.len()], &mut lines);
        } else if !begins.starts_with("//") {
            found.push((number, line));
        }
    }
    found
}

/// Goes past an item that is indented so, formatted as everything here is: it ends on its first line, or with a brace below that.
fn skip_item<'t>(indent: &str, lines: &mut impl Iterator<Item = (usize, &'t str)>) {
    let mut lines = lines.map(|(_, line)| line).skip_while(|line| line.trim_start().starts_with("#["));
    let is_whole = lines.next().is_none_or(|first| first.ends_with([';', '}']));
    if !is_whole {
        let closes = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}'));
        lines.find(|line| closes(line));
    }
}

#[test]
fn what_only_tests_have_is_no_code_and_what_stands_below_it_is() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\nuse b;\n#[cfg(test)]\n#[derive(Debug)]\npub struct T {\n    c: u8,\n}\n// d\nfn e() {\n    #[cfg(test)]\n    if f {\n        g();\n    }\n}\n";
    let found: Vec<usize> = code(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(found, [1, 4, 11, 16]);
}

fn nowhere(below: &str, forbidden: &[&str], unless: impl Fn(&Path) -> bool) {
    let mut found = Vec::new();
    for (path, text) in sources(below) {
        if unless(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            if let Some(word) = forbidden.iter().find(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_under_decide_is_async_or_knows_a_client_a_clock_or_a_log() {
    let forbidden = [
        "async ",
        ".await",
        "kube::Client",
        "Client,",
        "tokio::",
        "reqwest",
        "Timestamp::now",
        "Instant",
        "SystemTime",
        "tracing::",
        "rand::",
        "Mutex",
        "crate::run",
        "crate::act",
        "crate::watch",
        "crate::observe",
        "crate::report",
    ];
    nowhere("decide", &forbidden, |_| false);
}

#[test]
fn only_act_writes() {
    let writes = ["PostParams", "PatchParams", "DeleteParams", ".patch_status(", ".patch_metadata("];
    for below in ["api", "observe", "report", "watch"] {
        nowhere(below, &writes, |path| path.ends_with("watch/index.rs") || path.ends_with("watch/table.rs"));
    }
    // The Lease is not about the cluster's workloads: it decides who may use the writer at all.
    nowhere("run", &writes, |path| path.ends_with("run/leader.rs"));
    // The plugin says what its user wants, and hands a Deployment back where no operator is left: it is a program of its own.
    nowhere("cli", &writes, |path| path.ends_with("cli/act.rs") || path.ends_with("cli/hand_back.rs"));
    for below in ["decide", "bin", "main.rs"] {
        nowhere(below, &writes, |_| false);
    }
    // Within act/ one file holds the client.
    nowhere("act", &["Client"], |path| path.ends_with("act/writer.rs"));
}

#[test]
fn only_run_reads_clocks_and_there_one_file() {
    let clocks = ["Timestamp::now", "Instant::now", "SystemTime::now", "Zoned::now"];
    for below in ["act", "api", "decide", "observe", "report", "watch"] {
        nowhere(below, &clocks, |_| false);
    }
    nowhere("run", &clocks, |path| path.ends_with("run/clock.rs"));
    // The plugin is a program of its own: it looks at the clock in one file too.
    nowhere("cli", &clocks, |path| path.ends_with("cli/terminal.rs"));
}

#[test]
fn nobody_asks_anybody_but_through_a_client_that_looks_where_it_goes() {
    let ways = ["reqwest::Client", "reqwest::get", "TcpStream", "UdpSocket", "hyper_util"];
    // The last one makes the clients of the API server.
    let apart = ["observe/reach.rs", "observe/measure/mod.rs", "run/http.rs", "run/link/mod.rs"];
    nowhere("", &ways, |path| apart.iter().any(|known| path.ends_with(known)));
    // There others ask, and nobody is asked.
    nowhere("run", &["connect(", "hyper_util::client"], |path| !path.ends_with("run/http.rs"));
    // There a builder is made, and handed on.
    nowhere("observe/measure", &["build()", "http: reqwest"], |_| false);
}

#[test]
fn no_line_of_the_log_has_an_error_as_others_put_it() {
    // Through `logged` it is one line, which ends.
    nowhere("", &["%error", "%said", "%message", "%why"], |_| false);
}

#[test]
fn what_users_write_knows_nothing_of_those_who_carry_it_out() {
    nowhere("api", &["crate::decide", "crate::act", "crate::run", "crate::watch", "crate::observe"], |_| {
        false
    });
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let vague = ["common", "util", "utils", "helper", "helpers", "misc"];
    for (path, _) in sources("") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!vague.contains(&name.as_str()), "{}", path.display());
    }
}
