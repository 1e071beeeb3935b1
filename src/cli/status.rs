//! `status`: where releases stand, as a table, a view of one, or a line of a log. Pure: what is shown comes in as objects.

use kube::ResourceExt;
use owo_colors::OwoColorize;

use super::view::{Look, Page, Table, ago, harmless, moment, span};
use super::{steps, undo};
use crate::api::status::{
    CheckState, CheckStatus, JobStatus, MigrationStatus, ReleaseStatus, ReplicasStatus, RevisionStatus, Run,
    Stage, StepStatus, VerdictStatus,
};
use crate::api::{Phase, Release};

/// What to say of a release without a status.
pub const UNSEEN: &str = "has no status yet: no operator has looked at it. Is one running? \
                          kubectl get pods -A -l app.kubernetes.io/name=tidegate";

/// One row a release.
pub fn table(releases: &[Release], namespaces: bool, look: Look) -> String {
    let mut head = vec!["NAME", "PHASE", "STEP", "SHARE", "WORST", "BLOCKED-BY", "AGE"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    if look.wide {
        head.extend(["TARGET", "MESSAGE"]);
    }
    let mut table = Table::new(&head);
    for release in releases {
        table.row(row(&harmless(release), namespaces, look));
    }
    let mut page = Page::new(None);
    table.lines().iter().for_each(|line| page.raw(line));
    page.into_text()
}

/// A view of one release.
pub fn render(release: &Release, look: Look) -> String {
    let release = harmless(release);
    let mut page = Page::new(look.width);
    let name = full_name(&release);
    let Some(status) = &release.status else {
        page.hang("", &format!("{} {UNSEEN}", name.bold()));
        return page.into_text();
    };
    page.raw(&format!("{}  {}", name.bold(), phase(status.phase)));
    if let Some(summary) = &status.summary {
        page.hang("", &summary.message);
    }
    page.blank();
    let bar = steps::bar(&release);
    if !bar.is_empty() {
        page.field(if status.run.is_some() { "Steps" } else { "Plan" }, &bar);
    }
    pods(&mut page, status, look);
    if let Some(run) = &status.run {
        under_way(&mut page, run, look);
    }
    page.blank();
    criteria(&mut page, &status.verdicts, look);
    page.blank();
    if let Some(run) = status.run.as_ref().filter(|run| run.stage == Stage::Preflight || look.wide) {
        checks(&mut page, &run.checks, look);
        migrations(&mut page, &run.migrations, look);
    }
    page.blank();
    blocked(&mut page, status, look);
    page.blank();
    behind(&mut page, status, look);
    page.into_text()
}

/// One line of a log, without its time: `Soaking 2/4 tenth 10% the sentence`. `named` puts the release's name in front.
pub fn line(release: &Release, named: bool) -> String {
    let release = harmless(release);
    let status = release.status.clone().unwrap_or_default();
    let summary = status.summary.unwrap_or_default();
    let share = status.replicas.unwrap_or_default().share;
    let mut words = vec![phase(status.phase), dash(&summary.step), dash(&share), dash(&summary.message)];
    if named {
        words.insert(0, full_name(&release));
    }
    words.join(" ")
}

/// `shop/checkout`
pub fn full_name(release: &Release) -> String {
    format!("{}/{}", release.namespace().unwrap_or_default(), release.name_any())
}

/// The phase in its colour.
pub fn phase(phase: Option<Phase>) -> String {
    let Some(phase) = phase else { return "-".to_owned() };
    let word = format!("{phase:?}");
    match phase {
        Phase::Idle => word.green().to_string(),
        Phase::Preflight | Phase::Moving | Phase::Soaking | Phase::Watching => word.cyan().to_string(),
        Phase::Held => word.yellow().to_string(),
        Phase::Undoing | Phase::Rejected => word.red().to_string(),
    }
}

/// The verdict in its colour.
pub fn verdict(word: &str) -> String {
    match word {
        "Pass" => word.green().to_string(),
        "Hold" => word.yellow().to_string(),
        "Breach" => word.red().to_string(),
        "Unknown" => word.magenta().to_string(),
        other => other.to_owned(),
    }
}

/// The state of a check in its colour.
pub fn check_state(state: CheckState) -> String {
    let word = format!("{state:?}");
    match state {
        CheckState::Waiting => word.cyan().to_string(),
        CheckState::Passed => word.green().to_string(),
        CheckState::Failed => word.red().to_string(),
        CheckState::Unknown => word.magenta().to_string(),
        CheckState::Skipped => word.dimmed().to_string(),
    }
}

/// `10 wanted: stable 9 (9 ready), canary 1 (1 ready), real share 10%`
pub fn replicas(replicas: &ReplicasStatus) -> String {
    let ReplicasStatus { desired, stable, canary, share } = replicas;
    let share = if share.is_empty() { String::new() } else { format!(", real share {share}") };
    format!(
        "{desired} wanted: stable {} ({} ready), canary {} ({} ready){share}",
        stable.pods, stable.ready, canary.pods, canary.ready
    )
}

fn row(release: &Release, namespaces: bool, look: Look) -> Vec<String> {
    let status = release.status.clone().unwrap_or_default();
    let summary = status.summary.unwrap_or_default();
    let worst = match summary.worst.rsplit_once(' ') {
        Some((criterion, word)) => format!("{criterion} {}", verdict(word)),
        None => dash(&summary.worst),
    };
    let age = release.creation_timestamp().map(|at| span(look.now.duration_since(at.0)));
    let mut row = vec![
        release.name_any(),
        phase(status.phase),
        dash(&summary.step),
        dash(&status.replicas.unwrap_or_default().share),
        worst,
        dash(&status.blocked_by.unwrap_or_default().reason),
        dash(&age.unwrap_or_default()),
    ];
    if namespaces {
        row.insert(0, release.namespace().unwrap_or_default());
    }
    if look.wide {
        row.extend([release.spec.target_ref.name.clone(), dash(&summary.message)]);
    }
    row
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn pods(page: &mut Page, status: &ReleaseStatus, look: Look) {
    let moving = status.run.as_ref().is_some_and(|run| run.stage != Stage::Preflight);
    if let Some(step) = status.step.as_ref().filter(|_| moving) {
        page.field("", &step_times(step, look));
    }
    if let Some(counts) = &status.replicas {
        page.field("Replicas", &replicas(counts));
    }
    for (label, side) in [("Stable", &status.stable), ("Canary", &status.canary)] {
        if let Some(side) = side {
            page.field(label, &revision(side, look));
        }
    }
}

fn step_times(step: &StepStatus, look: Look) -> String {
    let StepStatus { index, of, name, since, until, pods: _ } = step;
    let since =
        since.map(|since| format!(" for {}", span(look.now.duration_since(since.0)))).unwrap_or_default();
    let until = until.map_or_else(String::new, |until| {
        let left = until.0.duration_since(look.now);
        if left.is_positive() {
            format!(", soak over in {} ({})", span(left), moment(until.0, look.now))
        } else {
            ", soaked".to_owned()
        }
    });
    format!("{name} ({index} of {of}){since}{until}")
}

fn revision(revision: &RevisionStatus, look: Look) -> String {
    let RevisionStatus { revision, fingerprint, images, changed_by } = revision;
    let what = format!("{revision} {}", images.join(" "));
    let by = changed_by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
    let print = if look.wide && !fingerprint.is_empty() {
        format!(", fingerprint {fingerprint}")
    } else {
        String::new()
    };
    format!("{}{by}{print}", what.trim())
}

fn under_way(page: &mut Page, run: &Run, look: Look) {
    let by = run.changed_by.as_ref().map(|by| format!(", changed by {by}")).unwrap_or_default();
    page.field("Run", &format!("{}, began {}{by}", run.id, ago(run.started_at.0, look.now)));
    if look.wide && !run.content.is_empty() {
        page.field("Content", &run.content);
    }
    if let Some(back) = &run.back {
        page.field("Undo", &undo::line(&back.times(), false));
    }
    for note in &run.notes {
        page.field("Note", note);
    }
}

fn criteria(page: &mut Page, verdicts: &[VerdictStatus], look: Look) {
    if verdicts.is_empty() {
        return;
    }
    let mut table =
        Table::new(&["CRITERION", "VERDICT", "VALUE", "INTERVAL", "TARGET", "LIMIT", "HAVE/NEED"]);
    for now in verdicts {
        table.row(vec![
            now.criterion.clone(),
            verdict(&now.verdict),
            dash(now.value.as_deref().unwrap_or_default()),
            dash(&now.interval.join(" to ")),
            dash(&now.target),
            dash(&now.limit),
            now.need.map_or_else(|| now.have.to_string(), |need| format!("{}/{need}", now.have)),
        ]);
    }
    let lines = table.lines();
    page.raw(&lines[0]);
    for (line, now) in lines[1..].iter().zip(verdicts) {
        page.raw(line);
        if !now.message.is_empty() {
            page.hang("  ", &now.message);
        }
        if look.wide && !now.source.is_empty() {
            page.hang("  from ", &now.source);
        }
    }
}

fn checks(page: &mut Page, checks: &[CheckStatus], look: Look) {
    if checks.is_empty() {
        return;
    }
    let mut table = Table::new(&["CHECK", "STATE", "TRY", "FOR", ""]);
    for check in checks {
        let CheckStatus {
            name,
            step,
            state,
            attempt,
            retried: _,
            retry_at: _,
            definition: _,
            job: _,
            message: _,
            since,
            log: _,
        } = check;
        let since = since.map(|since| span(look.now.duration_since(since.0))).unwrap_or_default();
        let name = step.as_ref().map_or_else(|| name.clone(), |step| format!("{step}/{name}"));
        table.row(vec![name, check_state(*state), attempt.to_string(), dash(&since), String::new()]);
    }
    let lines = table.lines();
    page.raw(&lines[0]);
    for (line, check) in lines[1..].iter().zip(checks) {
        page.hang(line, &check.message);
    }
}

fn migrations(page: &mut Page, migrations: &[MigrationStatus], look: Look) {
    if migrations.is_empty() {
        return;
    }
    let mut table = Table::new(&["MIGRATION", "KIND", "STATE", "TRY", "FOR", ""]);
    let mut messages = Vec::new();
    for MigrationStatus { name, kind, begun: _, work, verify } in migrations {
        let parts = [(name.clone(), Some(work)), (format!("{name}, verify"), verify.as_ref())];
        for (name, part) in parts {
            let Some(JobStatus { state, attempt, job: _, message, since, log: _ }) = part else { continue };
            let since = since.map(|since| span(look.now.duration_since(since.0))).unwrap_or_default();
            table.row(vec![
                name,
                format!("{kind:?}"),
                check_state(*state),
                attempt.to_string(),
                dash(&since),
                String::new(),
            ]);
            messages.push(message);
        }
    }
    let lines = table.lines();
    page.raw(&lines[0]);
    for (line, message) in lines[1..].iter().zip(messages) {
        page.hang(line, message);
    }
}

fn blocked(page: &mut Page, status: &ReleaseStatus, look: Look) {
    let Some(blocker) = &status.blocked_by else { return };
    let until =
        blocker.until.map(|until| format!(", until {}", moment(until.0, look.now))).unwrap_or_default();
    // A hold says the same sentence twice in status; once is enough.
    let said = status.summary.as_ref().is_some_and(|summary| summary.message == blocker.message);
    let message = if said { String::new() } else { format!(": {}", blocker.message) };
    page.field("Blocked", &format!("{}{until}{message}", blocker.reason.yellow()));
    if !blocker.unblock.is_empty() {
        page.whole_field("Unblock", &blocker.unblock.bold().to_string());
    }
}

/// How changes are caught, and what happened before.
fn behind(page: &mut Page, status: &ReleaseStatus, look: Look) {
    if let Some(said) = &status.handed_back {
        page.field("Handed", &format!("back by {} {}: {}", said.by, ago(said.at.0, look.now), said.reason));
    }
    if let Some(capture) = &status.capture {
        page.field("Capture", &format!("{}: {}", capture.mode, dash(&capture.message)));
    }
    if let Some(last) = &status.last_run {
        let outcome = format!("{:?}", last.outcome);
        let ended = ago(last.ended_at.0, look.now);
        page.field("Last run", &format!("{} {} {ended}: {}", last.id, outcome.bold(), last.message));
        if let Some(times) = &last.undo {
            page.field("", &undo::line(times, true));
        }
    }
    let shown = if look.wide { status.rejected.len() } else { 2 };
    for rejected in status.rejected.iter().take(shown) {
        let when = ago(rejected.at.0, look.now);
        page.field(
            "Rejected",
            &format!("{} {when} ({}): {}", rejected.fingerprint, dash(&rejected.run), rejected.reason),
        );
    }
    if status.rejected.len() > shown {
        page.field("", &format!("and {} more: -o wide", status.rejected.len() - shown));
    }
}
