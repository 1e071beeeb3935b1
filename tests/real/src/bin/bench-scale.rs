//! `make bench-scale`: many Releases at rest, many runs at once, and many breaches in the same second.
//!
//! All pods are reported by their status only. Breaches come from numbers that this program serves: it knows to the millisecond when the
//! operator was told, and the API server's audit log knows when the undo arrived. What must hold meanwhile fails it: see `figures.must`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_real::audit::{self, Requests};
use tidegate_real::by_hand;
use tidegate_real::cluster::{Options, scratch};
use tidegate_real::crowd::{self, Crowd, Releases};
use tidegate_real::figures::{self, Figures, Spread};
use tidegate_real::operator::{Operator, unique};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, paper_deployment};
use tidegate_real::told::Told;

/// Pods of each Deployment in a run.
const PODS: usize = 10;
/// Of them Ready at the least, as their owner says: `maxUnavailable` 25 %.
const LEAST_READY: usize = 8;
/// Runs that breach when all others are back: until then they are to be left alone.
const SPARED: usize = 10;
/// How long rest is looked at.
const REST: Duration = Duration::from_secs(60);
/// From the last change to rest.
const SETTLE: Duration = Duration::from_secs(20);
/// A bad number counts from its third reading on.
const BAD_READINGS: usize = 3;
/// A paper pod becomes Ready after one second.
const POD_START: f64 = 1.0;
/// Between two breaches that come one by one.
const ONE_BY_ONE: Duration = Duration::from_millis(700);

/// How many of what.
#[derive(Parser)]
struct Flags {
    /// Releases at rest, the first thousand of them looked at before the rest is made
    #[arg(long, default_value_t = 10_000)]
    releases: usize,
    /// Runs at once
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Breaches in the same second
    #[arg(long, default_value_t = 100)]
    breaches: usize,
    /// Of each run's pods, how many are bad when it breaches
    #[arg(long, default_value = "10%")]
    share: String,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    figures::run("bench-scale", async |figures: &mut Figures| bench(&flags, figures).await)
}

async fn bench(flags: &Flags, figures: &mut Figures) -> Result<()> {
    ensure!(
        flags.breaches + SPARED < flags.runs,
        "--breaches must be fewer than --runs by more than {SPARED}: the others breach one by one"
    );
    let audit = scratch()?.join(format!("audit-{}.log", unique()));
    let options = Options { paper_nodes: 30, audit: Some(audit.clone()), ..Options::default() };
    let stage = Stage::own(options).await?;
    let resting = Story::begin(&stage, "resting").await;
    let first = flags.releases.min(1000);
    adoption(&stage, &resting, 0, first, figures).await?;
    rest(&stage, &audit, first, figures).await?;
    if flags.releases > first {
        adoption(&stage, &resting, first, flags.releases, figures).await?;
        rest(&stage, &audit, flags.releases, figures).await?;
    }
    runs(&stage, &audit, flags, figures).await?;
    stage.kill_operator().await?;
    let by_hand = Story::begin(&stage, "by-hand").await;
    by_hand_alone(&by_hand, flags.breaches, figures).await?;
    stage.operator.lock().await.take();
    stage.cluster.stop().await?;
    std::fs::remove_file(audit)?;
    figures.add("releases", flags.releases);
    figures.add("runs", flags.runs);
    Ok(())
}

/// New Releases are there when the operator starts; then it is started again.
async fn adoption(
    stage: &Stage,
    story: &Story<'_>,
    from: usize,
    to: usize,
    figures: &mut Figures,
) -> Result<()> {
    println!("making {} Deployments with a pod each", to - from);
    crowd::make(story, from..to, |number| named(number, paper_deployment(1))).await?;
    story
        .until_within(Duration::from_secs(1800), "all pods Ready", async |story| {
            crowd::ready(story).await >= to
        })
        .await;
    stage.kill_operator().await?;
    crowd::make(story, from..to, |number| release(number, json!({}))).await?;
    let began = Instant::now();
    let releases = Releases::watch(story);
    stage.start_operator().await?;
    crowd::adopted(&releases, to, Duration::from_secs(900)).await?;
    let adopted = began.elapsed().as_secs_f64();
    println!("{} new Releases taken up in {adopted:.1} s from the operator's start", to - from);
    figures.add(&format!("adopted_{to}_s"), adopted);
    if from == 0 {
        figures.aim("a thousand new Releases taken up, in seconds", adopted, 10.0);
    }
    tokio::time::sleep(SETTLE).await;

    stage.kill_operator().await?;
    let began = Instant::now();
    stage.start_operator().await?;
    until_looked_at(stage, to).await?;
    let restarted = began.elapsed().as_secs_f64();
    println!("{to} Releases looked at {restarted:.2} s after a restart");
    figures.add(&format!("restart_{to}_s"), restarted);
    if from == 0 {
        figures.aim("a thousand Releases looked at after a restart, in seconds", restarted, 1.0);
    }
    Ok(())
}

/// Memory, CPU and requests at rest.
async fn rest(stage: &Stage, audit: &Path, number: usize, figures: &mut Figures) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let (began, cpu) = (Timestamp::now(), with_operator(stage, Operator::cpu_seconds).await?);
    tokio::time::sleep(REST).await;
    let cpu = with_operator(stage, Operator::cpu_seconds).await? - cpu;
    let requests = Requests::read(audit, began, Timestamp::now())?;
    let resident = with_operator(stage, Operator::resident).await? as f64 / 1e6;
    let other = requests.reads() + requests.writes();
    println!(
        "{number} Releases at rest: {resident:.1} MB, {cpu:.2} CPU s a minute, {other} requests besides the Lease's {}",
        requests.lease
    );
    figures.add(&format!("rest_{number}_mb"), resident);
    figures.add(&format!("rest_{number}_cpu_s_per_min"), cpu);
    figures.add(&format!("rest_{number}_requests_per_min"), other);
    if number > 1000 {
        figures.aim("resident memory at rest, in MB", resident, 150.0);
        figures.aim("CPU at rest, in seconds a minute", cpu, 0.1);
    }
    figures.must(&format!("{number} at rest: {other} requests a minute besides the Lease's"), other == 0);
    Ok(())
}

/// Many runs at once; some breach one by one, then many in the same second, then the rest.
async fn runs(stage: &Stage, audit: &Path, flags: &Flags, figures: &mut Figures) -> Result<()> {
    let told = Told::serve().await?;
    let story = Story::begin(stage, "running").await;
    let pods = i32::try_from(PODS)?;
    println!("making {} Deployments with {PODS} pods each", flags.runs);
    crowd::make(&story, 0..flags.runs, |number| named(number, paper_deployment(pods))).await?;
    let all = async |story: &Story<'_>| crowd::pods_ready(story).await >= flags.runs * PODS;
    story.until_within(Duration::from_secs(900), "all pods Ready", all).await;
    crowd::make(&story, 0..flags.runs, |number| release(number, judged(&told.url(number), &flags.share)))
        .await?;
    let releases = Releases::watch(&story);
    crowd::adopted(&releases, flags.runs, Duration::from_secs(300)).await?;

    let crowd = Crowd::watch(&story.client, &story.namespace);
    let shipped = Timestamp::now();
    crowd::ship(&story, 0..flags.runs).await?;
    let soaks = |_: &str, status: &Value| status["phase"] == "Soaking";
    releases.until(flags.runs, Duration::from_secs(300), "all in the first soak", soaks).await?;
    tokio::time::sleep(SETTLE).await;
    let requests = Requests::read(audit, shipped, Timestamp::now())?;
    let each = (requests.writes() - requests.of("events")) as f64 / flags.runs as f64;
    let resident = with_operator(stage, Operator::resident).await? as f64 / 1e6;
    let cpu = with_operator(stage, Operator::cpu_seconds).await?;
    tokio::time::sleep(REST).await;
    let cpu = with_operator(stage, Operator::cpu_seconds).await? - cpu;
    println!(
        "{} runs at once: {resident:.1} MB, {each:.1} writes each to come to {}, {cpu:.2} CPU s a minute there",
        flags.runs, flags.share
    );
    figures.add("runs_mb", resident);
    figures.add("run_writes_to_first_soak", each);
    figures.add("runs_cpu_s_per_min", cpu);

    let seen = Seen { audit, crowd: &crowd, told: &told, releases: &releases };
    let last = flags.runs - SPARED..flags.runs;
    let began = Timestamp::now();
    let alone = flags.breaches..last.start;
    turn_bad_one_by_one(&told, alone.clone()).await;
    let undone = seen.undone(&story, alone, began, figures).await?;
    undone.sum_up("alone", "one by one, with the other runs beside them", figures);
    seen.must_be_left_alone((0..flags.breaches).chain(last.clone()), figures);

    let began = Timestamp::now();
    (0..flags.breaches).for_each(|number| told.turn_bad(number));
    let undone = seen.undone(&story, 0..flags.breaches, began, figures).await?;
    undone.sum_up("together", "in the same second", figures);
    figures.aim("undo patch after the verdict at p99, in seconds", undone.patch.p99(), 0.5);
    figures.aim("last bad pod ordered away after the patch at p99, in seconds", undone.ordered.p99(), 2.0);
    figures.aim("restored after the patch at p99, in seconds", undone.restored.p99(), POD_START + 2.0);
    seen.must_be_left_alone(last.clone(), figures);

    let began = Timestamp::now();
    turn_bad_one_by_one(&told, last.clone()).await;
    seen.undone(&story, last, began, figures).await?;
    tokio::time::sleep(SETTLE).await;
    seen.all_must_have_gone_back_once(flags.runs, figures);
    whole_runs(&Requests::read(audit, shipped, Timestamp::now())?, flags.runs, figures);
    Ok(())
}

async fn turn_bad_one_by_one(told: &Told, which: Range<usize>) {
    for number in which {
        told.turn_bad(number);
        tokio::time::sleep(ONE_BY_ONE).await;
    }
}

/// What a run cost, from its new template until it was undone.
fn whole_runs(requests: &Requests, runs: usize, figures: &mut Figures) {
    let each = |number: u64| number as f64 / runs as f64;
    let (reads, events) = (requests.reads(), requests.of("events"));
    let writes = requests.writes() - events;
    println!(
        "requests of a whole run: {:.1} writes, {:.1} events, {:.1} reads; of all {runs}, but the Lease's and watches:",
        each(writes),
        each(events),
        each(reads)
    );
    requests.print();
    figures.add("run_requests", each(writes + events + reads));
    figures.add("run_writes", each(writes));
    figures.add("run_events", each(events));
    figures.add("run_reads", each(reads));
    figures.keep("runsRequests", requests.json());
}

/// The same without an operator: what the native controllers need for as many at once.
async fn by_hand_alone(story: &Story<'_>, number: usize, figures: &mut Figures) -> Result<()> {
    let pods = i32::try_from(PODS)?;
    let ways = by_hand::go_back(story, number, |number| named(number, paper_deployment(pods))).await?;
    println!(
        "{number} Deployments patched back at once, without an operator or a Release, in seconds: median and p99"
    );
    for (name, of, spread) in [
        ("ordered", "from the patch until the last bad pod was ordered away", &ways.ordered),
        ("restored", "from the patch until all stable pods were Ready", &ways.restored),
    ] {
        println!("  {:7.3} {:7.3}  {of}", spread.median(), spread.p99());
        figures.add(&format!("by_hand_{name}_p50_s"), spread.median());
        figures.add(&format!("by_hand_{name}_p99_s"), spread.p99());
    }
    Ok(())
}

/// How long each undo took, in seconds.
#[derive(Default)]
struct Undone {
    verdict: Spread,
    patch: Spread,
    told_to_patch: Spread,
    ordered: Spread,
    restored: Spread,
}

/// The moments of one.
struct Times {
    /// When the third bad number was told.
    told: Timestamp,
    verdict: Timestamp,
    patch: Timestamp,
    ordered: Timestamp,
    restored: Timestamp,
}

impl Undone {
    fn add(&mut self, times: &Times) {
        let Times { told, verdict, patch, ordered, restored } = *times;
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
        self.verdict.add(seconds(told, verdict));
        self.patch.add(seconds(verdict, patch));
        self.told_to_patch.add(seconds(told, patch));
        self.ordered.add(seconds(patch, ordered));
        self.restored.add(seconds(patch, restored));
    }

    fn sum_up(&self, key: &str, what: &str, figures: &mut Figures) {
        println!("breaches {what}, in seconds: median and p99");
        for (name, of, spread) in [
            ("verdict", "from the third bad number to the verdict", &self.verdict),
            ("patch", "from the verdict to the undo patch", &self.patch),
            ("breach_to_patch", "from the third bad number to the undo patch", &self.told_to_patch),
            ("ordered", "from the patch until the last bad pod was ordered away", &self.ordered),
            ("restored", "from the patch until all stable pods were Ready", &self.restored),
        ] {
            println!("  {:7.3} {:7.3}  {of}", spread.median(), spread.p99());
            figures.add(&format!("{key}_{name}_p50_s"), spread.median());
            figures.add(&format!("{key}_{name}_p99_s"), spread.p99());
            figures.keep(&format!("{key}_{name}"), spread.json());
        }
    }
}

/// Who saw what.
struct Seen<'a> {
    audit: &'a Path,
    crowd: &'a Crowd,
    told: &'a Told,
    releases: &'a Releases,
}

impl Seen<'_> {
    /// Waits until all of these are undone, and says how long it took.
    async fn undone(
        &self,
        story: &Story<'_>,
        which: Range<usize>,
        began: Timestamp,
        figures: &mut Figures,
    ) -> Result<Undone> {
        let names: BTreeSet<String> = which.clone().map(crowd::name).collect();
        let is_undone =
            |name: &str, status: &Value| names.contains(name) && status["lastRun"]["outcome"] == "Undone";
        let all = self.releases.until(names.len(), Duration::from_secs(300), "all undone", is_undone).await;
        if let Err(late) = all {
            println!("{late:#}");
        }
        let patches = audit::patches(self.audit, &story.namespace, began, Timestamp::now())?;
        let mut undone = Undone::default();
        for number in which {
            let name = crowd::name(number);
            let times = self.times(number, patches.get(&name).map(Vec::as_slice).unwrap_or_default());
            let why = times.as_ref().err().map(ToString::to_string).unwrap_or_default();
            figures.must(&format!("{name} breached: {why}"), times.is_ok());
            if let Ok(times) = times {
                undone.add(&times);
            }
        }
        Ok(undone)
    }

    fn times(&self, number: usize, patches: &[Timestamp]) -> Result<Times> {
        let name = crowd::name(number);
        let bad = self.told.bad_readings(number);
        let (first, third) = (bad.first().copied(), bad.get(BAD_READINGS - 1).copied());
        let (first, told) = first.zip(third).context("it has asked too seldom")?;
        let verdict = self.releases.decided(&name).context("it has no verdict")?;
        ensure!(verdict >= first, "its verdict is older than the first bad number");
        let patch = patches.iter().copied().find(|at| *at >= verdict).context("it was never patched")?;
        let (ordered, restored) = self.crowd.way_back(&name, patch).context("its pods are not back")?;
        Ok(Times { told, verdict, patch, ordered, restored })
    }

    /// Nothing is wrong with these yet.
    fn must_be_left_alone(&self, which: impl Iterator<Item = usize>, figures: &mut Figures) {
        for name in which.map(crowd::name) {
            let undos = self.releases.undos(&name);
            figures.must(&format!("{name} was undone with no breach"), undos == 0);
        }
    }

    /// At the end: once, for good, and with enough pods Ready all the time.
    fn all_must_have_gone_back_once(&self, runs: usize, figures: &mut Figures) {
        for name in (0..runs).map(crowd::name) {
            let (undos, (number, outcome)) = (self.releases.undos(&name), self.releases.last_run(&name));
            let once = undos == 1 && number == 1 && outcome == "Undone";
            figures.must(&format!("{name}: run {number} ended {outcome}, undone {undos} times"), once);
            let fewest = self.crowd.fewest(&name);
            let enough = fewest.is_some_and(|fewest| fewest >= LEAST_READY);
            figures.must(&format!("{name}: Ready pods under {LEAST_READY}: {fewest:?}"), enough);
        }
    }
}

fn named(number: usize, mut deployment: Value) -> Value {
    let name = crowd::name(number);
    deployment["metadata"]["name"] = json!(name);
    deployment["spec"]["selector"]["matchLabels"]["app"] = json!(name);
    let metadata = &mut deployment["spec"]["template"]["metadata"];
    metadata["labels"]["app"] = json!(name);
    metadata["annotations"]["paper.tidegate.dev/ready-after"] = json!(format!("{POD_START}s"));
    deployment
}

fn release(number: usize, more: Value) -> Value {
    let name = crowd::name(number);
    let mut spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": name}, "spec": spec})
}

fn judged(url: &str, share: &str) -> Value {
    json!({
        "steps": [{"name": "some", "replicas": share, "soak": "1h"}, {"name": "all", "replicas": "100%"}],
        "criteria": [{
            "name": "number",
            "value": {"json": {"url": url, "pointer": "/value"}, "limit": "value > 1", "for": "5s"},
        }],
    })
}

/// Waits until the operator has looked at so many Releases since it started: it counts each once, by the phase it is in.
async fn until_looked_at(stage: &Stage, number: usize) -> Result<()> {
    let address = stage.operator.lock().await.as_ref().context("no operator")?.address.clone();
    let client = reqwest::Client::new();
    let looked = async {
        loop {
            let page = client.get(format!("http://{address}/metrics")).send().await?.text().await?;
            let phases = page.lines().filter(|line| line.starts_with("tidegate_releases{"));
            let counts = phases.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
            if counts.sum::<usize>() >= number {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), looked).await.context("not all were looked at")?
}

async fn with_operator<T>(stage: &Stage, of: impl Fn(&Operator) -> Result<T>) -> Result<T> {
    of(stage.operator.lock().await.as_ref().context("no operator")?)
}
