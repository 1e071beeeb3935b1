//! The terminal and the clock: the only place of the CLI that asks the machine it runs on.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 120;
/// Longer files are not read.
const LONGEST_FILE: u64 = 4 << 20;

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a person looks at this: ages and countdowns are about now")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Whether somebody looks at what is printed.
pub fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// A variable of the environment, unless it is empty.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file that somebody names, as text.
///
/// # Errors
/// When it cannot be read, is no UTF-8, or is longer than any manifest.
pub fn read_text(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut text = String::new();
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > LONGEST_FILE {
        bail!("{shown} is longer than {} MiB", LONGEST_FILE >> 20);
    }
    Ok(text)
}

/// What is piped in, as text.
///
/// # Errors
/// When it cannot be read, is no UTF-8, or is longer than any manifest.
pub fn read_standard_input() -> Result<String> {
    let mut text = String::new();
    io::stdin().take(LONGEST_FILE + 1).read_to_string(&mut text).context("cannot read the standard input")?;
    if text.len() as u64 > LONGEST_FILE {
        bail!("the standard input is longer than {} MiB", LONGEST_FILE >> 20);
    }
    Ok(text)
}

/// Waits until somebody wants this to end: the terminal is to be left as it was found.
pub async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Columns to wrap at, or `None` when the output goes into a pipe or a file.
pub fn width() -> Option<usize> {
    is_watched().then(|| size().map_or(80, |(_, columns)| columns.clamp(40, WIDEST)))
}

/// Lines and columns of the terminal, as `stty` knows them.
pub fn size() -> Option<(usize, usize)> {
    let terminal = File::open("/dev/tty").ok()?;
    let output = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (lines, columns) = text.trim().split_once(' ')?;
    let size = (lines.parse().ok()?, columns.parse().ok()?);
    (size > (0, 0)).then_some(size)
}

/// Prints text for people, with or without colours as they want it. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line of diagnosis.
pub fn complain(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// How far a long run has come: a bar on standard error while that is a terminal, nothing otherwise.
#[derive(Debug)]
pub struct Progress {
    done: usize,
    of: usize,
    what: &'static str,
    shown: bool,
}

impl Progress {
    /// Nothing done of so many.
    pub fn new(of: usize, what: &'static str) -> Self {
        let progress = Self { done: 0, of, what, shown: io::stderr().is_terminal() };
        progress.draw();
        progress
    }

    /// One more.
    pub fn step(&mut self) {
        self.done += 1;
        self.draw();
    }

    /// Takes the bar away.
    pub fn end(self) {}

    fn draw(&self) {
        const WIDTH: usize = 30;
        if self.shown {
            let full = (WIDTH * self.done / self.of.max(1)).min(WIDTH);
            let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r[{bar}] {} of {} {}", self.done, self.of, self.what)
                .and_then(|()| out.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

/// A text that is drawn again and again in the same place.
#[derive(Debug, Default)]
pub struct Screen {
    lines: usize,
}

impl Screen {
    /// Puts `text` in the place of what was drawn before. What does not fit is cut off: a line above the top of the terminal
    /// cannot be drawn again.
    pub fn draw(&mut self, text: &str) {
        let height = size().map_or(24, |(lines, _)| lines).saturating_sub(1).max(2);
        let all: Vec<&str> = text.lines().collect();
        let mut shown = all[..all.len().min(height)].join("\n");
        if all.len() > height {
            shown = all[..height - 1].join("\n") + "\n… the terminal is too low for the rest";
        }
        // 7l: a line that is too long is cut off and not wrapped, so that lines can be counted. 25l: no cursor.
        let up = if self.lines > 0 { format!("\x1b[{}A", self.lines) } else { String::new() };
        control(&format!("{up}\r\x1b[J\x1b[?7l\x1b[?25l"));
        print(&(shown + "\n"));
        self.lines = all.len().min(height);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.lines > 0 {
            control("\x1b[?7h\x1b[?25h");
        }
    }
}

/// Past `anstream`, which takes away cursor movements together with colours.
fn control(codes: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(codes.as_bytes()).and_then(|()| out.flush());
}
