//! `make chaos`: good versions go out, bad ones come back and runs are aborted while faults happen at random, for a stated time.
//!
//! What must hold of every run: it ends as it must, and once; the owner's limits are kept to all along; the Deployment's fields are
//! the owner's again; and no write of an operator took effect after the other one had been told that it leads. What happens is undone
//! each time, and has to heal; and of ten minutes or more there is no end before each kind of fault has come, however slow the machine is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use futures::FutureExt;
use futures::future::join_all;
use kube::api::ListParams;
use serde_json::{Value, json};
use tidegate_real::chaos::{Dice, Pair};
use tidegate_real::cluster::{Options, scratch};
use tidegate_real::operator::unique;
use tidegate_real::stage::{Stage, usual};
use tidegate_real::story::Story;
use tidegate_real::writers;
use tokio::sync::watch;

/// Pods of each Deployment.
const PODS: usize = 8;
/// The name of the criterion that is breached.
const CRITERION: &str = "ready";
/// The longest that a run may take among all the faults.
const PATIENCE: Duration = Duration::from_secs(360);
/// Who has it go on for so many minutes wants each kind of fault. On a machine with nothing else to do they take about five.
const ALL_KINDS: u64 = 10;
/// So many minutes longer it goes on for those that have not come. Each round of stories has at least one, and each heals in its time or is a
/// violation: with that many nothing but the stage itself can keep them from coming.
const LONGER: u64 = 60;

/// Stories among faults, for a stated time.
#[derive(Parser)]
struct Settings {
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Which faults. Default: others each time.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    /// Its pods crash before they are Ready.
    Bad,
    /// Its pods are not Ready any more after a while: a criterion breaches its limit.
    Breach,
    Aborted,
}

const KINDS: [Kind; 6] = [Kind::Good, Kind::Bad, Kind::Good, Kind::Aborted, Kind::Breach, Kind::Good];

/// What there has been.
#[derive(Default)]
struct Found {
    runs: usize,
    faults: usize,
    invariants: usize,
    violations: Vec<String>,
    /// Runs that were undone since a criterion had breached its limit.
    breached: usize,
}

/// What there was of one story.
struct Held {
    invariants: usize,
    breached: bool,
}

fn main() -> ExitCode {
    let settings = Settings::parse();
    let began = Instant::now();
    let mut found = Found::default();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(chaos(&settings, began, &mut found))
    }));
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => found.violated(format!("the stage failed: {error:#}")),
        Err(panic) => found.violated(format!("it broke off: {}", text_of(&*panic))),
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let Found { runs, faults, invariants, violations, breached: _ } = found;
    let violated = violations.len();
    println!(
        "chaos: minutes={minutes:.1} runs={runs} faults={faults} invariants={invariants} violations={violated}"
    );
    if violated == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Found {
    fn violated(&mut self, what: String) {
        println!("\nviolated: {what}");
        self.violations.push(what);
    }
}

async fn chaos(settings: &Settings, began: Instant, found: &mut Found) -> Result<()> {
    let seed = settings.seed.unwrap_or_else(|| {
        u64::from(std::process::id()) ^ jiff::Timestamp::now().as_millisecond().unsigned_abs()
    });
    println!("seed {seed}");
    let log = scratch()?.join(format!("audit-{}.log", unique()));
    let stage = Stage::without_operator(Options { audit: Some(log.clone()), ..usual() }).await?;
    let mut pair = Pair::start(&stage).await?;
    let mut dice = Dice::new(seed);
    let time = Duration::from_secs(settings.minutes * 60);
    while goes_on(settings.minutes, began.elapsed(), &pair.not_played()) && found.violations.is_empty() {
        if began.elapsed() >= time {
            println!(
                "its {} minutes are over; until these have come: {}",
                settings.minutes,
                pair.not_played().join(", ")
            );
        }
        let (stop, stopped) = watch::channel(false);
        let stories = async {
            let ends = join_all(KINDS.map(|kind| told(&stage, kind))).await;
            stop.send_replace(true);
            ends
        };
        let (ends, suffered) = futures::join!(stories, pair.suffer(&mut dice, stopped));
        found.faults = pair.faults();
        // What does not heal is said first: the stories that end badly thereafter may do so because of it.
        if let Err(error) = suffered {
            found.violated(format!("it does not heal: {error:#}"));
        }
        for end in ends {
            found.runs += 1;
            match end {
                Ok(held) => {
                    found.invariants += held.invariants;
                    found.breached += usize::from(held.breached);
                }
                Err(violated) => found.violated(violated),
            }
        }
        found.invariants += 1;
        for write in writers::of_deposed(&writers::requests(&log)?) {
            found.violated(format!("a deposed operator wrote: {write}"));
        }
        println!(
            "{} s: {} runs, {} faults, {} violations",
            began.elapsed().as_secs(),
            found.runs,
            found.faults,
            found.violations.len()
        );
    }
    println!("faults of each kind: {}", pair.of_each_kind());
    // One that found something has ended before its time.
    if settings.minutes >= ALL_KINDS && found.violations.is_empty() {
        found.invariants += 2;
        if found.breached == 0 {
            found.violated("no run was undone for the criterion that was breached".to_owned());
        }
        let lacking = pair.not_played();
        if !lacking.is_empty() {
            let lacking = lacking.join(", ");
            found.violated(format!(
                "in {} minutes and {LONGER} more these kinds of faults did not come: {lacking}",
                settings.minutes
            ));
        }
    }
    if found.violations.is_empty() {
        std::fs::remove_file(log)?;
    } else {
        println!("\nseed {seed}\n{}{}", pair.logs(), log.display());
    }
    drop(pair);
    stage.cluster.stop().await
}

/// Whether there is another round of stories: its time is not over, or (where all kinds are wanted) some have not come.
fn goes_on(minutes: u64, elapsed: Duration, lacking: &[String]) -> bool {
    let until = match minutes >= ALL_KINDS && !lacking.is_empty() {
        true => minutes + LONGER,
        false => minutes,
    };
    elapsed < Duration::from_secs(until * 60)
}

/// What a panic says.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic, see above").to_owned()
}

/// Plays one, and says what held.
async fn told(stage: &Stage, kind: Kind) -> Result<Held, String> {
    let told = AssertUnwindSafe(tell(stage, kind)).catch_unwind().await;
    told.unwrap_or_else(|panic| Err(text_of(&*panic))).map_err(|violated| format!("{kind:?}: {violated}"))
}

async fn tell(stage: &Stage, kind: Kind) -> Result<Held, String> {
    // What a story itself asks may meet a control plane that is away: it begins when it can.
    let story = begin(stage, kind).await;
    let before =
        until_some(|| async { Some(story.target().await["spec"].clone()).filter(Value::is_object) }).await;
    let guard = story.guard().await;
    let version = match kind {
        Kind::Good | Kind::Aborted => json!({"version": "v2"}),
        Kind::Bad => json!({"version": "v2", "paper.tidegate.dev/crash": "true"}),
        Kind::Breach => json!({"version": "v2", "paper.tidegate.dev/unready-after": "5s"}),
    };
    let shipped = json!({"spec": {"template": {"metadata": {"annotations": version}}}});
    until_some(|| async { story.try_patch(shipped.clone()).await.ok() }).await;
    if matches!(kind, Kind::Aborted) {
        let abort = json!({"action": "Abort", "reason": "the story says so"});
        let past_preflight = |status: &Value| status["run"]["id"].is_string();
        story
            .until_within(PATIENCE, "a run", |story| async move { past_preflight(&story.status().await) })
            .await;
        until_some(|| async { story.say("admin", abort.clone()).await.ok() }).await;
    }
    let (outcome, at_the_end) = match kind {
        Kind::Good => ("Succeeded", "v2"),
        Kind::Bad | Kind::Breach => ("Undone", "v1"),
        Kind::Aborted => ("Aborted", "v1"),
    };
    let ends = |story| ended(story, &before, outcome, at_the_end);
    story.until_within(PATIENCE, &format!("{outcome}, and {at_the_end} with the owner's fields"), ends).await;
    let worst = guard.worst();
    drop(guard);
    // A quarter each of eight may be missing or over; on the way back the missing stable pods are surged all at once: half of them, or all
    // where a fault kept the word from being said until the second step had begun.
    let reports = story.api("tidegate.dev/v1alpha1", "ReleaseReport");
    let reports = until_some(|| async { reports.list(&ListParams::default()).await.ok() }).await;
    let mut passed =
        reports.items.iter().filter_map(|report| report.data["spec"]["steps"].as_array()).flatten();
    let was_half = passed.any(|step| step["name"] == "half");
    let most = match kind {
        Kind::Good => PODS + 2,
        Kind::Breach | Kind::Aborted if was_half => PODS + PODS,
        Kind::Bad | Kind::Breach | Kind::Aborted => PODS + PODS / 2,
    };
    // Half of them are of the bad version at most, and cease to be Ready by themselves.
    let least = if matches!(kind, Kind::Breach) { PODS / 2 } else { PODS - 2 };
    if worst.least_ready < least || worst.most_ordered > most {
        return Err(format!("the owner's limits: {worst:?}\n{}", story.describe().await));
    }
    let number = until_some(|| async { story.status().await["lastRun"]["number"].as_i64() }).await;
    if number != 1 {
        return Err(format!("one run, not {number}\n{}", story.describe().await));
    }
    let why =
        until_some(|| async { story.status().await["lastRun"]["message"].as_str().map(str::to_owned) }).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": story.namespace}});
    let namespaces =
        tidegate_real::stage::api_of(&story.client, &namespace).map_err(|error| error.to_string())?;
    until_some(|| async { namespaces.delete(&story.namespace, &Default::default()).await.ok() }).await;
    // Whoever was away while its pods were Ready goes back when they are late.
    Ok(Held { invariants: 5, breached: matches!(kind, Kind::Breach) && why.contains(CRITERION) })
}

async fn begin<'s>(stage: &'s Stage, kind: Kind) -> Story<'s> {
    // An abort is heard before the run is through, however long a fault keeps it from being said.
    let half = if matches!(kind, Kind::Aborted) { "1h" } else { "3s" };
    let release = json!({
        "steps": [
            {"name": "quarter", "replicas": "25%", "soak": "3s"},
            {"name": "half", "replicas": "50%", "soak": half},
            {"name": "all", "replicas": "100%"},
        ],
        "criteria": [{"name": CRITERION, "availability": {"limit": "80%", "for": "2s"}}],
        "watch": [{"for": "3s", "every": "1s"}],
    });
    let tried = || async {
        let story = Story::begin(stage, &format!("{kind:?}").to_lowercase()).await;
        let replicas = i32::try_from(PODS).expect("few");
        let mut deployment = story.deployment(replicas);
        if matches!(kind, Kind::Breach) {
            deployment["spec"]["progressDeadlineSeconds"] = json!(60);
        }
        story.apply(deployment).await;
        story.apply(story.release(release.clone())).await;
        story
    };
    let story = until_some(|| async { AssertUnwindSafe(tried()).catch_unwind().await.ok() }).await;
    let adopted = |story| async move { Story::status(story).await["stable"]["fingerprint"].is_string() };
    story.until_within(PATIENCE, "adopted", adopted).await;
    story
}

/// Whether all of it has come to this end.
async fn ended(story: &Story<'_>, before: &Value, outcome: &str, version: &str) -> bool {
    if story.status().await["lastRun"]["outcome"] != outcome {
        return false;
    }
    let mut spec = story.target().await["spec"].take();
    let at = spec["template"]["metadata"]["annotations"]["version"] == version;
    spec["template"] = before["template"].clone();
    let pods = story.pods().await;
    let all = pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == version);
    at && spec == *before && pods.len() == PODS && all
}

/// Tries until there is an answer.
async fn until_some<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_each_kind_has_come_and_not_for_ever() {
        let after = |minutes: u64| Duration::from_secs(minutes * 60);
        let (none, lacking): ([String; 0], _) = ([], ["Kill".to_owned()]);
        for (minutes, elapsed, lacking, goes_on_then) in [
            (10, 9, &none[..], true),
            (10, 10, &none[..], false),
            (10, 10, &lacking[..], true),
            // On a slow machine.
            (10, 25, &lacking[..], true),
            (30, 61, &lacking[..], true),
            (10, 10 + LONGER, &lacking[..], false),
            // A look at it.
            (1, 1, &lacking[..], false),
        ] {
            assert_eq!(goes_on(minutes, after(elapsed), lacking), goes_on_then, "{minutes}, {elapsed}");
        }
    }
}
