//! What holds a run that could go forward: freezes, the Release's own windows, and more traffic than it wants. Before the first pod the whole plan must fit; in
//! mid-run it only must be open. The way back never comes by here.

use std::time::Duration;

use jiff::Timestamp;

use super::calendar::{By, Calendar, Fit, Short, Shut};
use super::decision;
use super::evidence::shortened;
use super::migrations;
use super::needs::Probe;
use super::plan::{CheckKind, Plan};
use super::snapshot::{FreezeFacts, Snapshot};
use super::steps;
use super::traffic::{self, HIGH_TRAFFIC, TRAFFIC_UNKNOWN};
use crate::api::Action;
use crate::api::status::{CheckState, Passed, Run, Stage};

/// What the moves of a step count for in the length of a plan.
pub const MOVES_OF_A_STEP: Duration = Duration::from_secs(60);

/// A run is held by a [`Freeze`](crate::api::Freeze).
pub const FROZEN: &str = "Frozen";
/// ... by its windows, until one opens that is long enough.
pub const OUTSIDE_WINDOW: &str = "OutsideWindow";
/// ... by its windows, none of which is ever long enough.
pub const WINDOW_TOO_SHORT: &str = "WindowTooShort";
/// ... by its windows, none of which ever opens.
pub const WINDOW_NEVER_OPENS: &str = "WindowNeverOpens";

/// A run is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub reason: &'static str,
    pub message: String,
    pub until: Option<Timestamp>,
    /// What is open now, and too short, closes: another sentence is true then.
    pub closes: Option<Timestamp>,
    /// It is asked again then.
    pub again: Option<Timestamp>,
    /// What ends it sooner.
    pub unblock: String,
}

/// Whether this is the reason of a hold that the Release's windows make.
pub fn is_of_windows(reason: &str) -> bool {
    [OUTSIDE_WINDOW, WINDOW_TOO_SHORT, WINDOW_NEVER_OPENS, HIGH_TRAFFIC, TRAFFIC_UNKNOWN].contains(&reason)
}

/// How long a plan takes from here to all pods: checks, migrations and the trial pod's checks that are not done yet, a minute for the moves of each step, its checks, and the soaks. What
/// people take to sign, and the watch, are not in it. `run`: the one that is under way; `None`: nothing is done yet.
pub fn length(plan: &Plan, run: Option<&Run>) -> Duration {
    let is_done = |name: &str| {
        let mut checks = run.into_iter().flat_map(|run| &run.checks);
        let known = checks.find(|known| known.step.is_none() && known.name == name);
        known.is_some_and(|known| matches!(known.state, CheckState::Passed | CheckState::Skipped))
    };
    let lasts = |check: &super::plan::PlannedCheck| match check.kind {
        CheckKind::Approval(_) | CheckKind::Attest(_) => Duration::ZERO,
        CheckKind::Job(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => check.timeout,
    };
    let longest = |last: bool| {
        let checks = plan.checks.iter().filter(|check| check.kind.comes_last() == last);
        checks.filter(|check| !is_done(&check.name)).map(lasts).max().unwrap_or_default()
    };
    let before = longest(false).saturating_add(migrations::longest(plan, run)).saturating_add(longest(true));
    plan.steps.iter().fold(before, |sum, step| {
        let own = step.checks.iter().map(lasts).max().unwrap_or_default();
        sum.saturating_add(MOVES_OF_A_STEP).saturating_add(own).saturating_add(step.soak)
    })
}

/// What keeps the first pod, and the checks before it, waiting.
pub fn before_the_first_pod(snapshot: &Snapshot, plan: &Plan, run: &Run) -> Option<Hold> {
    hold(snapshot, plan, run, length(plan, Some(run)))
}

/// What keeps the next move of a run waiting, some pods of which are out.
pub fn before_a_move(snapshot: &Snapshot, plan: &Plan, run: &Run) -> Option<Hold> {
    hold(snapshot, plan, run, Duration::ZERO)
}

fn hold(snapshot: &Snapshot, plan: &Plan, run: &Run, needed: Duration) -> Option<Hold> {
    by_calendar(snapshot, plan, run, needed).or_else(|| traffic::hold(snapshot, plan, run))
}

/// The question how much goes on, when it is due, and when nothing else keeps the run from going on now or soon.
pub fn asks(snapshot: &Snapshot, plan: &Plan, run: &Run) -> Option<Probe> {
    let (ahead, now) = (traffic::ahead(plan), snapshot.now);
    let needed = match run.stage {
        Stage::Preflight => length(plan, Some(run)),
        Stage::Steps if steps::may_move_within(ahead, now, plan, run) => Duration::ZERO,
        Stage::Watch if migrations::may_begin_after_the_watch_within(ahead, now, plan, run) => Duration::ZERO,
        Stage::Steps | Stage::Watch | Stage::Back => return None,
    };
    let probe = traffic::due(snapshot, plan, run)?;
    by_calendar(snapshot, plan, run, needed).is_none().then_some(probe)
}

fn by_calendar(snapshot: &Snapshot, plan: &Plan, run: &Run, needed: Duration) -> Option<Hold> {
    let now = snapshot.now;
    let passed =
        |of: Passed, uid: &str| run.passes.iter().any(|pass| pass.of == of && pass.freeze_uid == uid);
    let ahead = || {
        let freezes = snapshot.freezes.known.iter();
        freezes.filter(|freeze| freeze.until > now && !passed(Passed::Freeze, &freeze.uid))
    };
    if let Some(freeze) = ahead().filter(|freeze| freeze.from <= now).max_by_key(|freeze| freeze.until) {
        return Some(frozen(snapshot, freeze, "holds it"));
    }
    let calendar = if passed(Passed::Windows, "") { Calendar::always() } else { plan.calendar.clone() };
    let calendar = calendar.shut_also(ahead().map(|freeze| Shut {
        from: freeze.from,
        until: freeze.until,
        by: By::Freeze(freeze.name.clone()),
    }));
    let fit = calendar.fit(now, needed);
    let short = match &fit {
        Fit::Now => return None,
        Fit::Later { short, .. } | Fit::Never { short, .. } => short.clone(),
    };
    let takes = format!("the plan takes {}", words(needed));
    if let Some(Short { closes, missing, by: Some(By::Freeze(name)) }) = &short
        && let Some(freeze) = ahead().find(|freeze| freeze.name == *name)
    {
        let missing = words(rounded_up(*missing));
        let does = format!("comes at {closes:.0}, {takes}: {missing} are missing; it holds");
        return Some(Hold { closes: Some(*closes), ..frozen(snapshot, freeze, &does) });
    }
    let skip = decision::command(&snapshot.key, Action::Skip);
    let closed = match (&short, calendar.shut_at(now)) {
        (Some(Short { closes, missing, by }), _) => {
            let what = match by {
                None => "the window closes".to_owned(),
                Some(By::Blackout(reason)) => format!("a blackout ({reason}) begins"),
                Some(By::Freeze(name)) => format!("freeze {name} begins"),
            };
            format!("{what} at {closes:.0}, {takes}: {} are missing", words(rounded_up(*missing)))
        }
        (None, Some(Shut { by: By::Blackout(reason), until, .. })) => {
            format!("a blackout holds it until {until:.0}: {reason}")
        }
        (None, _) => "no window is open".to_owned(),
    };
    let (reason, message, until, unblock) = match fit {
        Fit::Now => return None,
        Fit::Later { at, .. } => {
            let next = if needed.is_zero() {
                format!("{closed}. It goes on at {at:.0}")
            } else if short.is_some() {
                format!("{closed}. The next window that is long enough opens at {at:.0}")
            } else {
                format!("{closed}. It opens at {at:.0}, {takes}")
            };
            (OUTSIDE_WINDOW, next, Some(at), format!("wait, or {skip}"))
        }
        Fit::Never { longest: Some(longest), .. } => {
            let missing = words(rounded_up(needed.saturating_sub(longest)));
            let message = format!(
                "{takes}, the longest time that the windows leave is {}: {missing} are missing",
                words(longest)
            );
            (
                WINDOW_TOO_SHORT,
                message,
                None,
                format!("{} (longer windows or shorter soaks), or {skip}", edit(snapshot)),
            )
        }
        Fit::Never { longest: None, .. } => {
            let message =
                format!("{closed}, and none opens in the next {} days", super::calendar::HORIZON_DAYS);
            (WINDOW_NEVER_OPENS, message, None, format!("{} (spec.windows), or {skip}", edit(snapshot)))
        }
    };
    let closes = short.map(|short| short.closes);
    Some(Hold { reason, message: shortened(&message), until, closes, again: None, unblock })
}

fn edit(snapshot: &Snapshot) -> String {
    decision::kubectl(&snapshot.key, &format!("edit release {}", snapshot.key.name))
}

fn frozen(snapshot: &Snapshot, freeze: &FreezeFacts, does: &str) -> Hold {
    let FreezeFacts { name, uid: _, from: _, until, reason, grounds } = freeze;
    let until = Some(*until).filter(|until| *until < Timestamp::MAX);
    let end = until.map_or_else(|| "until it is deleted".to_owned(), |until| format!("until {until:.0}"));
    let (who, unblock) = if grounds.is_empty() {
        ("Nobody may pass it".to_owned(), "wait: it names no grounds on which it may be passed".to_owned())
    } else {
        let resources: Vec<String> = grounds.iter().map(|ground| format!("freezes/{ground}")).collect();
        let who = format!("Who has the verb pass on {} {name} may let the run pass", resources.join(" or "));
        (who, pass_command(snapshot, name, grounds))
    };
    let message = format!("freeze {name} {does} {end}: {reason}. {who}");
    Hold { reason: FROZEN, message: shortened(&message), until, closes: None, again: None, unblock }
}

/// The command line that lets the run pass a freeze.
pub fn pass_command(snapshot: &Snapshot, freeze: &str, grounds: &[String]) -> String {
    let words = format!("tidegate {} {}", Action::PassFreeze.command(), snapshot.key.name);
    let command = decision::kubectl(&snapshot.key, &words);
    format!("{command} --freeze {freeze} --ground {} --reason '...'", grounds.join("|"))
}

/// To whole minutes, so that a sentence does not change every second.
fn rounded_up(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(59) / 60 * 60)
}

/// `1h23m`, `90s`, `4h`
pub fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}
