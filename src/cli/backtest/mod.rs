//! `kubectl tidegate backtest`: a Release's criteria over the last days, by the same judge. Would it have undone good releases, and
//! let bad ones through?
//!
//! [`asking`] finds out what to replay and whom to ask, [`fetching`] asks hour by hour, [`replay`] is pure, [`text`] shows what came of
//! it. Reads, and changes nothing.

pub mod asking;
mod course;
mod fetching;
mod kept;
pub mod limits;
pub mod outcome;
pub mod replay;
mod revisions;
mod rotation;
pub mod spans;
mod tally;
pub mod text;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use futures::stream::{self, StreamExt};

use self::asking::{Asking, asking};
use self::fetching::{CHUNK, Hour, Number, Server};
use self::kept::HISTORY;
use self::outcome::{Called, Outcome, suggest};
use self::replay::{Replay, Task};
use self::spans::{When, moment, shown};
use self::tally::rfc3339;
use super::connect::Target;
use super::view::Look;
use super::{Code, span, terminal};
use crate::decide::plan::{self, Plan, Source};
use crate::decide::values;
use crate::observe::measure::client;
use crate::observe::measure::history::{PodsLike, Rounds, Stretch, stale_after};
use crate::observe::measure::names::Detected;
use crate::observe::reach::Reach;

/// Hours that are asked for at the same time.
const AT_ONCE: usize = 2;
/// The shortest window, in seconds.
const SHORTEST: i64 = 600;
/// There are at least so many windows, however long a run takes, unless their length is given.
const WINDOWS: i64 = 12;
/// The scrape interval where nothing says it.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

/// What to replay.
#[derive(Args, Debug)]
pub struct Flags {
    /// Release; with -f which one of the file
    pub name: Option<String>,
    /// Read the Release from a file: with --prometheus no cluster is needed
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Server to ask instead of the Release's: its URL in front of /api/v1. It must be reachable from here: for one within the cluster
    /// run kubectl port-forward beside this
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// File with a bearer token for it; default: with --prometheus PROMETHEUS_TOKEN of the environment, else what the Release names (read
    /// with your rights)
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// User for it; the password is PROMETHEUS_PASSWORD of the environment
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// File with the CA that signed its certificate
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Further header for it, such as 'X-Scope-OrgID: shop'
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Names of pods, a regular expression for the whole name; default: those of the Deployment's ReplicaSets
    #[arg(long, value_name = "REGEX")]
    pub pods: Option<String>,
    /// How many days back
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=60))]
    pub days: u8,
    /// From when, such as 2026-11-18T00:00:00Z; default: --days before the end
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "days")]
    pub from: Option<i64>,
    /// Until when; default: now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<i64>,
    /// Length of a window; default: as long as a run takes (soaks and watch), within reason
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub window: Option<Duration>,
    /// How often Prometheus scrapes the pods; default: what the Release says, else 15s
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub scrape_interval: Option<Duration>,
    /// A past release that should have gone back: FROM/TO or FROM/30m
    #[arg(long, value_name = "FROM/TO")]
    pub bad: Vec<When>,
    /// A past release that was rightly out
    #[arg(long, value_name = "FROM/TO")]
    pub good: Vec<When>,
    /// A past release. Those that pods' names tell are found without
    #[arg(long, value_name = "FROM/TO")]
    pub release: Vec<When>,
    /// Trouble that no release made: not a quiet window, and replayed by itself
    #[arg(long, value_name = "FROM/TO")]
    pub incident: Vec<When>,
    /// Expected false undos per run above which the exit code is 1
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = a_share)]
    pub max_false_undos: f64,
    /// One JSON document
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Another way to say it.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write 'X-Scope-OrgID: shop'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A part of a whole: `0.01` or `1%`.
///
/// # Errors
/// Says what to write.
pub fn a_share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    number.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write 0.01 or 1%".to_owned())
}

/// Replays, and says what came of it, unless somebody interrupts.
///
/// # Errors
/// When it could not be done: no such Release, no answer, or no quiet window at all.
pub async fn backtest(flags: &Flags, target: &Target) -> Result<Code> {
    tokio::select! {
        code = replayed(flags, target) => code,
        () = terminal::interrupted() => Ok(Code::Interrupted),
    }
}

async fn replayed(flags: &Flags, target: &Target) -> Result<Code> {
    let Asking { release, prometheus, trust, pods, names, mut notes } = asking(flags, target).await?;
    let plan = plan::plan(&release.spec, false)?;
    let counted = plan.measuring.criteria.clone();
    let scrape_interval = match (flags.scrape_interval, &plan.measuring.source) {
        (Some(said), _) => said.max(Duration::from_secs(1)),
        (None, Source::Prometheus { scrape_interval, .. }) => *scrape_interval,
        (None, Source::Pods { .. }) => SCRAPE_INTERVAL,
    };
    let interval = whole_seconds(scrape_interval).max(1);
    let within = range(flags, interval)?;
    let (window, steps) = window(flags, &plan, within, &mut notes)?;
    let releases = releases(flags, within)?;
    // Whoever runs this could ask there without us.
    let client = client(trust, &Reach::anywhere())?;
    let server = Server { prometheus, client, pods };
    let detected: Option<Detected> = match server.detect(within, &names).await {
        Err(error) if counted.is_empty() && error.category() == "no_counter" => {
            notes.push(
                "the pods have no known counter in Prometheus: name past releases with --release, --good and --bad"
                    .to_owned(),
            );
            None
        }
        detected => {
            let PodsLike { namespace, pattern } = &server.pods;
            let url = &server.prometheus.url;
            let which = || format!("cannot read pods {pattern} of namespace {namespace} from {url}");
            Some(detected.with_context(which)?)
        }
    };
    let (numbers, asked) = numbers(&server, &plan.measuring.values, within, &mut notes).await?;
    if counted.is_empty() && numbers.is_empty() {
        bail!("the Release has no criteria of which Prometheus knows the past; {}", notes.join("; "));
    }

    let watch = plan.measuring.watch.last().map_or(0, |stage| whole_seconds(stage.until)).min(CHUNK);
    let is_latency = counted.iter().any(|criterion| criterion.measure.is_latency());
    let incidents = flags.incident.clone();
    let task = Task { counted, numbers, within, interval, window, steps, watch, incidents, releases };
    let criteria = limits::all(&task.counted, &task.numbers);
    let mut replay = Replay::new(task);
    let from = within.from - HISTORY;
    let mut rounds = Rounds::new(from, scrape_interval);
    let hours: Vec<Stretch> = (0..)
        .map(|hour| from + hour * CHUNK)
        .take_while(|from| *from < within.to)
        .map(|from| Stretch { from, to: (from + CHUNK).min(within.to) })
        .collect();
    let mut progress = terminal::Progress::new(hours.len(), "hours");
    let mut apart = None;
    let fetch = |stretch: Stretch| server.hour(detected.as_ref(), &asked, stretch);
    let mut fetched = stream::iter(hours).map(fetch).buffered(AT_ONCE);
    while let Some(hour) = fetched.next().await {
        let Hour { stretch, samples, numbers } = hour?;
        for (place, moments) in numbers.into_iter().enumerate() {
            replay.take_number(place, moments);
        }
        apart = apart.or(samples.apart());
        rounds.add(samples);
        let is_last = stretch.to >= within.to;
        let until = if is_last { stretch.to } else { stretch.to - 2 * stale_after(scrape_interval) };
        while let Some((at, taken)) = rounds.next_until(until) {
            replay.take(at, taken);
            // Whoever interrupts need not wait for the end of an hour.
            tokio::task::yield_now().await;
        }
        progress.step();
    }
    progress.end();

    let replayed = replay.finish();
    notes.extend(replayed.notes.iter().cloned());
    if let Some(apart) = apart.filter(|apart| *apart > 1.5 * scrape_interval.as_secs_f64()) {
        notes.push(format!(
            "samples are {apart:.0} s apart: write metrics.prometheus.scrapeInterval: {apart:.0}s into the Release (here --scrape-interval), or every other slot is empty"
        ));
    }
    if is_latency && detected.as_ref().is_some_and(|detected| !detected.has_latency()) {
        notes.push("there is no histogram of latency: its criteria stay Unknown".to_owned());
    }
    let quiet = replayed.quiet();
    let name = release.metadata.name.clone().unwrap_or_default();
    let series = detected.as_ref().map_or_else(|| "no counters".to_owned(), Detected::sentence);
    let outcome = Outcome {
        release: format!("{}/{name}", server.pods.namespace),
        source: format!("{}: {series}", server.prometheus.url),
        from: rfc3339(within.from),
        to: rfc3339(within.to),
        interval,
        window,
        data: replayed.data.clone(),
        criteria: replayed.criteria(),
        suggested: suggest(&criteria, &replayed.quiet, &replayed.releases, flags.max_false_undos),
        ok: quiet.per_run <= flags.max_false_undos,
        releases: replayed.releases,
        incidents: replayed.incidents,
        skipped: replayed.skipped,
        max_false_undos: flags.max_false_undos,
        notes,
        quiet,
    };
    match flags.output {
        Some(Format::Json) => terminal::print(&format!("{}\n", serde_json::to_string_pretty(&outcome)?)),
        None => {
            let look = Look { now: terminal::now(), width: terminal::width(), wide: false };
            terminal::print(&text::render(&outcome, look));
        }
    }
    if outcome.quiet.windows == 0 {
        bail!("no window could be replayed: {}", text::why_none(&outcome));
    }
    Ok(if outcome.ok { Code::Yes } else { Code::No })
}

/// Numbers of which Prometheus knows the past, and how to ask for them; of the others a note says why not.
async fn numbers(
    server: &Server,
    criteria: &[values::Criterion],
    within: When,
    notes: &mut Vec<String>,
) -> Result<(Vec<values::Criterion>, Vec<Number>)> {
    let (mut numbers, mut asked, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for criterion in criteria {
        match server.number(criterion, within).await? {
            Ok(number) => {
                numbers.push(criterion.clone());
                asked.push(number);
            }
            Err(why) => others.push(format!("{} ({why})", criterion.name)),
        }
    }
    if !others.is_empty() {
        notes.push(format!("not replayed: {}", others.join(", ")));
    }
    Ok((numbers, asked))
}

/// Past releases that somebody knows of.
fn releases(flags: &Flags, within: When) -> Result<Vec<(When, Called)>> {
    let called = [(&flags.bad, Called::Bad), (&flags.good, Called::Good), (&flags.release, Called::Release)];
    let releases: Vec<(When, Called)> = called
        .into_iter()
        .flat_map(|(known, called)| known.iter().map(move |when| (*when, called)))
        .collect();
    let outside = |when: &&When| when.from < within.from || when.to > within.to;
    let mut known = releases.iter().map(|(when, _)| when).chain(&flags.incident);
    if let Some(outside) = known.find(outside) {
        bail!(
            "{} to {} is not within what is replayed, {} to {}: widen it with --days, or --from and --to",
            shown(outside.from),
            shown(outside.to),
            shown(within.from),
            shown(within.to)
        );
    }
    Ok(releases)
}

fn range(flags: &Flags, interval: i64) -> Result<When> {
    let to = flags.to.unwrap_or_else(|| terminal::now().as_second());
    let to = to.div_euclid(interval) * interval;
    let from = flags.from.unwrap_or(to - i64::from(flags.days) * 86_400);
    let from = from.div_euclid(interval) * interval;
    if to - from < SHORTEST {
        bail!(
            "from {} to {} there is nothing to replay: at least 10 minutes are needed",
            shown(from),
            shown(to)
        );
    }
    Ok(When { from, to })
}

/// How long windows are, and where in them steps begin.
fn window(flags: &Flags, plan: &Plan, within: When, notes: &mut Vec<String>) -> Result<(i64, Vec<i64>)> {
    let all = within.to - within.from;
    let mut steps = Vec::new();
    let mut run = 0;
    for step in &plan.steps {
        run += whole_seconds(step.soak);
        steps.push(run);
    }
    run += plan.measuring.watch.last().map_or(0, |stage| whole_seconds(stage.until));
    let window = match flags.window {
        Some(window) => whole_seconds(window),
        None => run.clamp(SHORTEST, (all / WINDOWS).max(SHORTEST)),
    };
    if window < 60 || window > all {
        bail!("--window: write from 1m to the length of all that is replayed");
    }
    if window < run {
        let [window, run] =
            [window, run].map(|long| super::view::span(jiff::SignedDuration::from_secs(long)));
        notes
            .push(format!("a run takes {run}, a window {window}: what is rare may show in a whole run only"));
    }
    steps.retain(|step| *step > 0 && *step < window);
    steps.dedup();
    Ok((window, steps))
}

fn whole_seconds(length: Duration) -> i64 {
    i64::try_from(length.as_secs()).unwrap_or(i64::MAX)
}
