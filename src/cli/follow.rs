//! `status --watch`: shows every change as it comes; on a terminal in place, elsewhere as one line each.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt};

use super::connect::{code, explain, refusal};
use super::status::{full_name, line, render, table};
use super::view::Look;
use super::{Code, terminal};
use crate::api::status::LastRun;
use crate::api::{Outcome, Release};

/// What to follow, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Follow<'a> {
    /// One Release, or all that the Api holds.
    pub name: Option<&'a str>,
    /// Releases of more than one namespace.
    pub namespaces: bool,
    pub wide: bool,
    /// The end of which run is waited for.
    pub until: Option<Until>,
}

/// Waiting for the end of a run: the one that was under way at first, or else the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The run that is waited for has at least this number.
    number: i64,
}

impl Until {
    /// Judges by what the Release says at first.
    pub fn seeing(release: &Release) -> Self {
        let status = release.status.as_ref();
        let under_way = status.and_then(|status| status.run.as_ref()).map(|run| run.number);
        let ended = status.and_then(|status| status.last_run.as_ref()).map_or(0, |last| last.number);
        Self { number: under_way.unwrap_or(ended.saturating_add(1)) }
    }

    /// How that run ended, once it has.
    pub fn ended(self, release: &Release) -> Option<&LastRun> {
        release.status.as_ref()?.last_run.as_ref().filter(|last| last.number >= self.number)
    }
}

/// What the end of a run means to whoever waited for it.
pub fn judge(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Succeeded => Code::Yes,
        Outcome::Undone | Outcome::Aborted | Outcome::Superseded | Outcome::HandedBack => Code::No,
    }
}

/// Shows every change until somebody interrupts, or the run that is waited for has ended.
///
/// # Errors
/// When the Release is deleted, or the API server refuses. A connection that is lost is taken up again.
pub async fn follow(api: Api<Release>, what: Follow<'_>) -> Result<Code> {
    let config = match what.name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    let mut changes = pin!(watcher(api, config).default_backoff());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut shown = Shown::new(what);
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(event)) => shown.take(event)?,
                Some(Err(error)) => shown.trouble(error)?,
                None => bail!("the watch ended: run it again"),
            },
            _ = tick.tick(), if terminal::is_watched() => shown.draw(),
            () = terminal::interrupted() => return Ok(Code::Interrupted),
        }
        if let Some(code) = shown.verdict() {
            return Ok(code);
        }
    }
}

/// What is on the screen, or in the log.
struct Shown<'a> {
    what: Follow<'a>,
    releases: BTreeMap<(String, String), Release>,
    /// What a list that is under way has brought so far.
    listed: BTreeMap<(String, String), Release>,
    complete: bool,
    /// The last line of each in the log.
    lines: BTreeMap<(String, String), String>,
    /// What is wrong with the connection.
    trouble: Option<String>,
    screen: terminal::Screen,
}

impl<'a> Shown<'a> {
    fn new(what: Follow<'a>) -> Self {
        Self {
            what,
            releases: BTreeMap::new(),
            listed: BTreeMap::new(),
            complete: false,
            lines: BTreeMap::new(),
            trouble: None,
            screen: terminal::Screen::default(),
        }
    }

    fn take(&mut self, event: watcher::Event<Release>) -> Result<()> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                return Ok(());
            }
            watcher::Event::InitApply(release) => {
                self.listed.insert(key(&release), release);
                return Ok(());
            }
            watcher::Event::InitDone => {
                self.releases = std::mem::take(&mut self.listed);
                self.complete = true;
            }
            watcher::Event::Apply(release) => {
                self.releases.insert(key(&release), release);
            }
            watcher::Event::Delete(release) => {
                self.releases.remove(&key(&release));
            }
        }
        self.trouble = None;
        if let Some(name) = self.what.name.filter(|_| self.complete && self.releases.is_empty()) {
            bail!("release {name} was deleted");
        }
        self.draw();
        Ok(())
    }

    /// Refusals end it; anything else passes.
    fn trouble(&mut self, error: watcher::Error) -> Result<()> {
        let error = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => explain(error),
            watcher::Error::WatchError(status) => refusal(*status),
            watcher::Error::NoResourceVersion => bail!("the API server does not serve watches of Releases"),
        };
        if matches!(code(&error), Some(401 | 403 | 404)) {
            return Err(error);
        }
        let text = format!("{error}: trying again");
        if self.trouble.as_ref() != Some(&text) && !terminal::is_watched() {
            terminal::complain(&text);
        }
        self.trouble = Some(text);
        self.draw();
        Ok(())
    }

    fn draw(&mut self) {
        if !self.complete {
            return;
        }
        let now = terminal::now();
        if !terminal::is_watched() {
            for (key, release) in &self.releases {
                let line = line(release, self.what.name.is_none());
                if self.lines.get(key) != Some(&line) {
                    terminal::print(&format!("{} {line}\n", now.strftime("%FT%TZ")));
                    self.lines.insert(key.clone(), line);
                }
            }
            let releases = &self.releases;
            self.lines.retain(|key, _| {
                let kept = releases.contains_key(key);
                if !kept {
                    terminal::print(&format!("{} {}/{} deleted\n", now.strftime("%FT%TZ"), key.0, key.1));
                }
                kept
            });
            return;
        }
        let look = Look { now, width: terminal::width(), wide: self.what.wide };
        let mut text = match self.what.name.and_then(|_| self.releases.values().next()) {
            Some(release) => render(release, look),
            None => table(&self.releases.values().cloned().collect::<Vec<_>>(), self.what.namespaces, look),
        };
        if let Some(trouble) = &self.trouble {
            text = format!("{text}\n{trouble}\n");
        }
        self.screen.draw(&text);
    }

    /// The end of the run that is waited for, said in a line.
    fn verdict(&self) -> Option<Code> {
        let until = self.what.until?;
        let release = self.releases.values().next()?;
        let last = until.ended(release)?;
        let name = full_name(release);
        terminal::complain(&super::view::plain(&format!(
            "{name}: run {} {:?}: {}",
            last.id, last.outcome, last.message
        )));
        Some(judge(last.outcome))
    }
}

fn key(release: &Release) -> (String, String) {
    (release.namespace().unwrap_or_default(), release.name_any())
}
