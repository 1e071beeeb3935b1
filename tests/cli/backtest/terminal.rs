//! On a terminal: a bar that shows how far it has come, and an end when somebody wants one.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout, Command};

use super::{command, file, release, shop, text, usual};
use crate::past::Past;

/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_secs(60);
/// What takes the bar away.
const CLEARED: &str = "\r\u{1b}[K";

/// The program on a terminal of its own (util-linux' `script` makes one), of which both streams are read.
fn on_a_terminal(url: &str, file: &Path) -> Child {
    let direct = command(url, file, &["--from", "2026-11-20T21:00:00Z", "-o", "json"]);
    let direct = direct.as_std();
    let words = std::iter::once(direct.get_program()).chain(direct.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    Command::new("script")
        .args(["-qefc", &format!("exec {}", words.join(" ")), "/dev/null"])
        .env("KUBECONFIG", "/nowhere")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script, of util-linux")
}

/// Reads until this is said, or to the end.
async fn read_until(stdout: &mut ChildStdout, so_far: &mut String, words: Option<&str>) {
    let reading = async {
        while words.is_none_or(|words| !so_far.contains(words)) {
            let mut more = [0; 4096];
            let length = stdout.read(&mut more).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            so_far.push_str(&String::from_utf8_lossy(&more[..length]));
        }
    };
    let is_in_time = tokio::time::timeout(DEADLINE, reading).await.is_ok();
    assert!(is_in_time, "{so_far:?}");
}

#[tokio::test]
async fn a_bar_shows_how_far_it_has_come_and_is_gone_in_the_end() {
    let past = Past { slow: Duration::from_millis(50), ..Past::of(shop(&|_, _| 0.0)) };
    let file = file("bar", &release(&usual()));
    let mut child = on_a_terminal(&past.serve().await, &file);
    let (mut said, mut stdout) = (String::new(), child.stdout.take().unwrap());
    read_until(&mut stdout, &mut said, None).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{said:?}");
    std::fs::remove_file(file).unwrap();
    let (bars, document) = said.split_once(CLEARED).expect("the bar is taken away");
    let shown: Vec<&str> = bars.split('\r').filter(|bar| !bar.is_empty()).collect();
    let full = |hashes: usize| format!("[{}{}]", "#".repeat(hashes), ".".repeat(30 - hashes));
    let expected: Vec<String> =
        (0..=4).map(|hour| format!("{} {hour} of 4 hours", full(30 * hour / 4))).collect();
    assert_eq!(shown, expected);
    assert!(document.starts_with("{\r\n") && !document.contains(" of 4 hours"), "{document:?}");
}

#[tokio::test]
async fn ctrl_c_ends_it_at_once_and_leaves_no_half_line() {
    let past = Past { slow: Duration::from_secs(1), ..Past::of(shop(&|_, _| 0.0)) };
    let file = file("ctrl-c", &release(&usual()));
    let mut child = on_a_terminal(&past.serve().await, &file);
    let (mut said, mut stdout) = (String::new(), child.stdout.take().unwrap());
    read_until(&mut stdout, &mut said, Some("0 of 4 hours")).await;
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"\x03").await.unwrap();
    read_until(&mut stdout, &mut said, None).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130), "{said:?}");
    std::fs::remove_file(file).unwrap();
    assert!(said.ends_with(CLEARED), "{said:?}");
    assert!(!said.contains('{'), "{said:?}");
}

#[tokio::test]
async fn whoever_is_no_terminal_is_ended_in_the_same_way() {
    let past = Past { slow: Duration::from_secs(30), ..Past::of(shop(&|_, _| 0.0)) };
    let file = file("interrupt", &release(&usual()));
    let mut asked = command(&past.serve().await, &file, &[]);
    let child = asked.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().unwrap().to_string();
    let ready = async {
        // It has asked something: signals are its own by then.
        while past.questions.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.expect("it asks");
    let killed = Command::new("sh").args(["-c", &format!("kill -INT {process}")]).status().await.unwrap();
    assert!(killed.success());
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}
