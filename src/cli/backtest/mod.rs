//! `kubectl tidegate backtest`: a Release's criteria over the last days, by the same judge. Would it have undone good releases, and
//! let bad ones through?
//!
//! [`asking`] finds out what to replay and whom to ask, this file fetches hour by hour, [`replay`] is pure, [`text`] shows what came
//! of it. Reads, and changes nothing.

pub mod asking;
pub mod limits;
pub mod outcome;
pub mod replay;
pub mod spans;
pub mod text;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use futures::stream::{self, StreamExt};

use self::asking::{Asking, asking};
use self::outcome::{Called, Outcome, suggest};
use self::replay::{HISTORY, Replay, Task};
use self::spans::{When, moment, shown};
use super::connect::Target;
use super::view::Look;
use super::{Code, span, terminal};
use crate::decide::plan::{self, Plan, Source};
use crate::observe::measure::history::{PodsLike, Rounds, Samples, Stretch, stale_after};
use crate::observe::measure::names::Detected;
use crate::observe::measure::{ReadError, client};
use crate::observe::reach::Reach;

/// Seconds fetched with one query a family.
const CHUNK: i64 = 3600;
/// Queries at the same time.
const AT_ONCE: usize = 2;
/// For each query.
const QUERY: Duration = Duration::from_secs(60);
/// Moments at which names are looked for, from the end on.
const LOOKS: i64 = 8;
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
    /// File with a bearer token for it; default: PROMETHEUS_TOKEN of the environment, else what the Release names (read with your
    /// rights; never sent to the server of --prometheus)
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

fn a_share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    number.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write 0.01 or 1%".to_owned())
}

/// Replays, and says what came of it.
///
/// # Errors
/// When it could not be done: no such Release, no answer, or no quiet window at all.
pub async fn backtest(flags: &Flags, target: &Target) -> Result<Code> {
    let Asking { release, prometheus, trust, pods, names, mut notes } = asking(flags, target).await?;
    let plan = plan::plan(&release.spec, false)?;
    let criteria = plan.measuring.criteria.clone();
    let others: Vec<&str> = plan.measuring.values.iter().map(|criterion| criterion.name.as_str()).collect();
    if criteria.is_empty() {
        bail!("the Release has no criteria of error rates or latency: nothing could be replayed");
    }
    if !others.is_empty() {
        notes.push(format!("not replayed, for they do not count requests: {}", others.join(", ")));
    }
    let scrape_interval = match (flags.scrape_interval, &plan.measuring.source) {
        (Some(said), _) => said.max(Duration::from_secs(1)),
        (None, Source::Prometheus { scrape_interval, .. }) => *scrape_interval,
        (None, Source::Pods { .. }) => SCRAPE_INTERVAL,
    };
    let interval = whole_seconds(scrape_interval).max(1);
    let within = range(flags, interval)?;
    // Whoever runs this could ask there without us.
    let client = client(trust, &Reach::anywhere())?;

    let mut detected = Err(ReadError::NoSamples);
    for look in 0..LOOKS {
        let at = within.to - look * (within.to - within.from) / LOOKS;
        detected = prometheus.detect_like(&client, &pods, at, QUERY, &names).await;
        if !matches!(detected, Err(ReadError::NoCounter { .. } | ReadError::NoSuchCounter { .. })) {
            break;
        }
    }
    let detected: Detected = detected.with_context(|| {
        let PodsLike { namespace, pattern } = &pods;
        format!("cannot read pods {pattern} of namespace {namespace} from {}", prometheus.url)
    })?;

    let (window, steps) = window(flags, &plan, within, &mut notes)?;
    let mut releases = Vec::new();
    for (known, called) in
        [(&flags.bad, Called::Bad), (&flags.good, Called::Good), (&flags.release, Called::Release)]
    {
        releases.extend(known.iter().map(|when| (*when, called)));
    }
    let outside = |when: &&When| when.from < within.from || when.to > within.to;
    let known = releases.iter().map(|(when, _)| when).chain(&flags.incident);
    if let Some(outside) = known.clone().find(outside) {
        bail!(
            "{} to {} is not within what is replayed, {} to {}: widen it with --days, or --from and --to",
            shown(outside.from),
            shown(outside.to),
            shown(within.from),
            shown(within.to)
        );
    }
    let watch = plan.measuring.watch.last().map_or(0, |stage| whole_seconds(stage.until)).min(CHUNK);
    let incidents = flags.incident.clone();
    let task =
        Task { criteria: criteria.clone(), within, interval, window, steps, watch, incidents, releases };

    let mut replay = Replay::new(task);
    let from = within.from - HISTORY;
    let mut rounds = Rounds::new(from, scrape_interval);
    let hours: Vec<Stretch> = (0..)
        .map(|hour| from + hour * CHUNK)
        .take_while(|from| *from < within.to)
        .map(|from| Stretch { from, to: (from + CHUNK).min(within.to) })
        .collect();
    let mut progress = terminal::Progress::new(hours.len(), "hours");
    let fetch = |stretch: Stretch| {
        let (prometheus, client, pods, detected) = (&prometheus, &client, &pods, &detected);
        async move {
            let read = prometheus.samples(client, pods, detected, stretch, QUERY).await;
            let read = match read {
                // Once more: three days are many questions.
                Err(ReadError::Timeout { .. } | ReadError::Broken { .. } | ReadError::Refused { .. }) => {
                    prometheus.samples(client, pods, detected, stretch, QUERY).await
                }
                read => read,
            };
            (stretch, read)
        }
    };
    let mut apart = None;
    let mut fetched = stream::iter(hours).map(fetch).buffered(AT_ONCE);
    while let Some((stretch, read)) = fetched.next().await {
        let samples: Samples =
            read.with_context(|| format!("the hour until {} cannot be read", shown(stretch.to)))?;
        apart = apart.or(samples.apart());
        rounds.add(samples);
        let is_last = stretch.to >= within.to;
        let until = if is_last { stretch.to } else { stretch.to - 2 * stale_after(scrape_interval) };
        while let Some((at, taken)) = rounds.next_until(until) {
            replay.take(at, taken);
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
    if !detected.has_latency() && criteria.iter().any(|criterion| criterion.measure.is_latency()) {
        notes.push("there is no histogram of latency: its criteria stay Unknown".to_owned());
    }
    let quiet = replayed.quiet(&criteria);
    let name = release.metadata.name.clone().unwrap_or_default();
    let outcome = Outcome {
        release: format!("{}/{name}", pods.namespace),
        source: format!("{}: {}", prometheus.url, detected.sentence()),
        from: rfc3339(within.from)?,
        to: rfc3339(within.to)?,
        interval,
        window,
        data: replayed.data.clone(),
        criteria: replayed.criteria(&criteria),
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

fn rfc3339(at: i64) -> Result<String> {
    let at = jiff::Timestamp::from_second(at).map_err(|error| anyhow!("{error}"))?;
    Ok(at.to_string())
}
