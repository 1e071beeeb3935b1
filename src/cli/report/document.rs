//! What a report says, in the form of a runbook's own: summary, metrics, issues, lessons, actions; without how it is written.
//!
//! Text is as it stands in the record, on one line, without what could move a cursor or turn the direction of writing; whoever writes it
//! out escapes it.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::report::{Counted, Evidence, ReleaseReportSpec, Undo};
use crate::api::status::{
    Cause, CheckState, CheckStatus, JobStatus, MigrationStatus, RevisionStatus, Signature, SignatureOf,
    StepPassed, VerdictStatus, Window,
};
use crate::api::undo::{
    ContainerLog, HookStatus, PhaseTook, PodEvidence, QuarantineState, QuarantinedPod, UndoPhase, Validation,
};
use crate::api::{Outcome, ReleaseReport};
use crate::cli::undo;
use crate::cli::view::{plain, seconds, span};
use crate::decide::VALIDATION;

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub title: String,
    pub sections: Vec<Section>,
}

/// A part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

/// What stands in a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A sentence.
    Said(String),
    /// What it is, and what is to be said of it.
    Facts(Vec<(String, String)>),
    Table {
        head: Vec<&'static str>,
        rows: Vec<Vec<String>>,
    },
    /// What happened, with what is to be said of it.
    Issues(Vec<(String, Vec<(String, String)>)>),
    /// Lines that are shown as they were written.
    Verbatim(Vec<String>),
    /// Lines for people to fill in.
    Lines,
    /// The same with boxes to tick.
    Boxes,
}

/// A report of a run.
pub fn document(report: &ReleaseReport) -> Document {
    let spec = &report.spec;
    let mut sections = vec![summary(report), metrics(spec), issues(spec)];
    sections.extend(spec.undo.as_ref().map(|undo| way_back(undo, spec.ended_at.0)));
    sections.extend(spec.undo.as_ref().and_then(pods));
    sections.push(known(spec));
    sections.extend(steps(&spec.steps));
    sections.push(checks(&spec.checks));
    sections.extend(migrations(&spec.migrations));
    sections.extend(signatures(&spec.signatures));
    sections.push(Section { title: "Lessons Learned", blocks: vec![Block::Lines] });
    sections.push(Section { title: "Action Items", blocks: vec![Block::Boxes] });
    sections.push(record(report));
    let mut document =
        Document { title: format!("Deployment Report - {}", spec.ended_at.0.strftime("%F")), sections };
    document.tidy();
    document
}

fn summary(report: &ReleaseReport) -> Section {
    let spec = &report.spec;
    let status = match spec.outcome {
        Outcome::Succeeded => "Success",
        Outcome::Undone | Outcome::Aborted => "Failed",
        Outcome::Superseded | Outcome::HandedBack => "Partial",
    };
    let lasted = span(spec.ended_at.0.duration_since(spec.started_at.0));
    let facts = vec![
        fact("Version", version(&spec.canary)),
        fact("Version before", version(&spec.stable)),
        fact(
            "Deployed by",
            spec.changed_by.as_ref().map_or_else(|| "not known".to_owned(), ToString::to_string),
        ),
        fact("Date", format!("{} to {}", moment(spec.started_at.0), moment(spec.ended_at.0))),
        fact("Duration", lasted),
        fact("Status", format!("{status} ({:?}): {}", spec.outcome, spec.message)),
        fact("Release", format!("{}/{}", report.namespace().unwrap_or_default(), spec.release)),
        fact("Workload", spec.target.clone()),
        fact("Run", spec.run.clone()),
    ];
    Section { title: "Summary", blocks: vec![Block::Facts(facts)] }
}

fn version(revision: &RevisionStatus) -> String {
    let RevisionStatus { revision, fingerprint, images, changed_by: _ } = revision;
    let images = if images.is_empty() { "images not known".to_owned() } else { images.join(", ") };
    match (revision.as_str(), fingerprint.as_str()) {
        ("", "") => images,
        ("", fingerprint) => format!("{images} (template {fingerprint})"),
        (revision, _) => format!("{images} ({revision})"),
    }
}

fn metrics(spec: &ReleaseReportSpec) -> Section {
    let impact = |evidence: &Evidence| {
        let Counted { requests, bad } = evidence.canary?;
        Some(format!("{bad} of {requests} requests to new pods were bad by {}", evidence.verdict.criterion))
    };
    let impact: Vec<String> = spec.evidence.iter().filter_map(impact).collect();
    let impact = if impact.is_empty() { "no requests were counted".to_owned() } else { impact.join("; ") };
    let mut blocks = vec![Block::Facts(vec![fact("User impact", impact)])];
    if spec.evidence.is_empty() {
        blocks.push(Block::Said("Nothing was measured.".to_owned()));
        return Section { title: "Metrics", blocks };
    }
    let head = vec![
        "Criterion",
        "Verdict",
        "Value",
        "Really between",
        "Target",
        "Limit",
        "Window",
        "Samples",
        "Read from",
    ];
    let row = |evidence: &Evidence| {
        let verdict = &evidence.verdict;
        let shadow = if verdict.shadow { " (shadow: not enforced)" } else { "" };
        let counted = if verdict.counted.is_empty() { "requests" } else { &verdict.counted };
        vec![
            format!("{}{shadow}", verdict.criterion),
            verdict.verdict.clone(),
            verdict.value.clone().unwrap_or_else(|| "none".to_owned()),
            verdict.interval.join(" and "),
            verdict.target.clone(),
            verdict.limit.clone(),
            verdict.window.as_ref().map(window).unwrap_or_default(),
            format!("{} {counted}", verdict.have),
            verdict.source.clone(),
        ]
    };
    blocks.push(Block::Table { head, rows: spec.evidence.iter().map(row).collect() });
    let grounds =
        spec.evidence.iter().map(|evidence| (evidence.verdict.criterion.clone(), grounds(evidence)));
    blocks.push(Block::Facts(grounds.filter(|(_, said)| !said.is_empty()).collect()));
    Section { title: "Metrics", blocks }
}

/// What a verdict rests on.
fn grounds(evidence: &Evidence) -> String {
    let mut parts = vec![evidence.verdict.message.clone()];
    let counted = |who: &str, counted: Option<Counted>| {
        counted.map(|Counted { requests, bad }| format!("{who}: {bad} bad of {requests} requests"))
    };
    parts.extend(counted("new pods", evidence.canary));
    parts.extend(counted("stable pods", evidence.stable));
    if let Some(suspicion) = &evidence.suspicion {
        let since = moment(suspicion.since.0);
        parts.push(format!("since {since}: {} bad of {} requests", suspicion.bad, suspicion.requests));
    }
    for test in &evidence.tests {
        parts.push(format!("{}: ln(e) {} of {}", test.of, test.evidence, test.threshold));
    }
    let VerdictStatus { settle, query, message, .. } = &evidence.verdict;
    if !settle.is_empty() && !message.contains(settle) {
        parts.push(format!("settled {settle}"));
    }
    if !query.is_empty() {
        parts.push(format!("asked for by {query}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn issues(spec: &ReleaseReportSpec) -> Section {
    let resolution = |enforced: bool| match (&spec.undo, enforced) {
        (Some(undo), true) => undo::total(&undo.times).map_or_else(
            || "put back, and stable did not stand again".to_owned(),
            |took| format!("put back: stable stood again {} after the first sign", seconds(took)),
        ),
        (Some(_) | None, _) => "none by the run itself".to_owned(),
    };
    let mut found = Vec::new();
    for check in spec.checks.iter().filter(|check| check.state == CheckState::Failed) {
        let CheckStatus { name, message, .. } = check;
        let of_its_own = |at: &str| format!("check {name} of {at} failed: {message}");
        found.push(match check.step.as_deref() {
            None => {
                let impact = "none: it was done before the first pod";
                (format!("check {name} failed: {message}"), vec![fact("Impact", impact.to_owned())])
            }
            // Nothing more is put back for it.
            Some(VALIDATION) => {
                let impact = "it was done on what was put back, after stable stood again";
                (of_its_own(VALIDATION), vec![fact("Impact", impact.to_owned())])
            }
            Some(step) => {
                let sent_back = spec.undo.as_ref().is_some_and(|undo| undo.cause == Cause::CheckFailed);
                let impact = "new pods were in service".to_owned();
                let about = vec![fact("Impact", impact), fact("Resolution", resolution(sent_back))];
                (of_its_own(&format!("step {step}")), about)
            }
        });
    }
    for evidence in spec.evidence.iter().filter(|evidence| evidence.verdict.verdict == "Breach") {
        let impact = evidence.canary.map_or_else(
            || "not counted in requests".to_owned(),
            |Counted { requests, bad }| format!("{bad} of {requests} requests to new pods were bad"),
        );
        let verdict = &evidence.verdict;
        let what =
            format!("{} breached its limit of {}: {}", verdict.criterion, verdict.limit, verdict.message);
        found.push((what, vec![fact("Impact", impact), fact("Resolution", resolution(!verdict.shadow))]));
    }
    if let (true, Some(undo)) = (found.is_empty(), &spec.undo) {
        let what = format!("{:?}: {}", undo.cause, undo.message);
        found.push((what, vec![fact("Resolution", resolution(true))]));
    }
    let block = if found.is_empty() { Block::Said("None.".to_owned()) } else { Block::Issues(found) };
    Section { title: "Issues", blocks: vec![block] }
}

fn way_back(undo: &Undo, ended_at: Timestamp) -> Section {
    let Undo { cause, message, times, budget, over_budget, phases, validation, hooks, pods: _, quarantined } =
        undo;
    let mut facts = vec![fact("Cause", format!("{cause:?}: {message}"))];
    facts.extend(times.by.as_ref().map(|by| fact("Said by", by.clone())));
    let total = undo::total(times);
    facts.push(fact("Took", total.map_or_else(|| "stable did not stand again".to_owned(), seconds)));
    if let Some(budget) = budget {
        let kept = if *over_budget { "exceeded" } else { "kept" };
        facts.push(fact("Budget", format!("{}, {kept}", budget.0)));
    }
    facts.extend(validation.as_ref().map(|found| {
        let Validation { result, message } = found;
        fact("Validation", format!("{result:?}: {message}"))
    }));
    facts.extend(hooks.iter().map(|hook| {
        let HookStatus { name, state, message, job: _, log: _ } = hook;
        fact(&format!("Hook {name}"), format!("{state:?}: {message}"))
    }));
    facts.extend(quarantined.iter().map(|pod| {
        let QuarantinedPod { pod, uid: _, until, state, message } = pod;
        let said = match state {
            QuarantineState::Ordered | QuarantineState::Kept => format!("until {}", moment(until.0)),
            QuarantineState::Lost => format!("not kept: {message}"),
        };
        fact(&format!("Quarantine of {pod}"), said)
    }));
    let legs = undo::legs(times).into_iter();
    let mut rows: Vec<Vec<String>> = legs
        .map(|leg| vec![precise(leg.at), leg.took.map(seconds).unwrap_or_default(), leg.words.to_owned()])
        .collect();
    rows.push(vec![precise(ended_at), String::new(), "the run was over".to_owned()]);
    let table = Block::Table { head: vec!["When", "After", "What"], rows };
    let mut blocks = vec![Block::Facts(facts), table];
    if phases.iter().any(|phase| phase.budget.is_some()) {
        let row = |took: &PhaseTook| {
            let PhaseTook { phase, milliseconds, budget, over } = took;
            let (budget, kept) = match budget {
                Some(budget) => (budget.0.clone(), if *over { "exceeded" } else { "kept" }),
                None => (String::new(), ""),
            };
            let took = seconds(SignedDuration::from_millis(*milliseconds));
            // It goes on until people have been told, after this was written.
            let until = if *phase == UndoPhase::Communication { ", until this record" } else { "" };
            vec![format!("{}{until}", phase.word()), took, budget, kept.to_owned()]
        };
        let head = vec!["Phase", "Took", "Budget", ""];
        blocks.push(Block::Table { head, rows: phases.iter().map(row).collect() });
    }
    blocks.extend(logs(hooks.iter().map(|hook| (hook.name.as_str(), hook.log.as_slice()))));
    Section { title: "Rollback", blocks }
}

/// The worst pods of the new version, as they were before they went.
fn pods(undo: &Undo) -> Option<Section> {
    let mut blocks = Vec::new();
    for pod in &undo.pods {
        let PodEvidence { pod, uid: _, ready, restarts, waiting, ended, events, logs, unread } = pod;
        let ready = if *ready { "ready" } else { "not ready" };
        let mut facts =
            vec![fact("Pod", pod.clone()), fact("State", format!("{ready}, {restarts} restarts"))];
        facts.extend((!waiting.is_empty()).then(|| fact("Waits", waiting.clone())));
        facts.extend((!ended.is_empty()).then(|| fact("Ended", ended.clone())));
        facts.extend(unread.iter().map(|unread| fact("Not read", unread.clone())));
        blocks.push(Block::Facts(facts));
        if !events.is_empty() {
            blocks.push(Block::Said("Its events:".to_owned()));
            blocks.push(Block::Verbatim(events.clone()));
        }
        for ContainerLog { container, previous, lines } in logs {
            let of = if *previous { ", before its restart" } else { "" };
            blocks.push(Block::Said(format!("The last lines of container {container}{of}:")));
            blocks.push(Block::Verbatim(lines.clone()));
        }
    }
    (!blocks.is_empty()).then_some(Section { title: "Pods Before They Went", blocks })
}

fn known(spec: &ReleaseReportSpec) -> Section {
    let block = if spec.notes.is_empty() {
        Block::Said("None.".to_owned())
    } else {
        Block::Issues(spec.notes.iter().map(|note| (note.clone(), Vec::new())).collect())
    };
    Section { title: "Known Issues", blocks: vec![block] }
}

fn steps(steps: &[StepPassed]) -> Option<Section> {
    let row = |step: &StepPassed| {
        let StepPassed { name, pods, of, pilots, begun, reached, left, skipped_by } = step;
        let pilots = pilots.map(|pilots| format!(", {pilots} as pilots")).unwrap_or_default();
        let share = if *of > 0 {
            format!("{pods} of {of} ({}%){pilots}", i64::from(*pods) * 100 / i64::from(*of))
        } else {
            String::new()
        };
        let when = |at: &Option<crate::api::status::Stamp>| at.map(|at| moment(at.0)).unwrap_or_default();
        let soaked = reached.map(|at| span(left.0.duration_since(at.0))).unwrap_or_default();
        let skipped = skipped_by.as_ref().map(|by| format!("skipped by {by}")).unwrap_or_default();
        vec![name.clone(), share, when(begun), when(reached), moment(left.0), soaked, skipped]
    };
    let head = vec!["Step", "New pods when left", "Begun", "Pods stood", "Left", "Stood for", ""];
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    (!rows.is_empty()).then(|| Section { title: "Steps", blocks: vec![Block::Table { head, rows }] })
}

fn checks(checks: &[CheckStatus]) -> Section {
    let row = |check: &CheckStatus| {
        let since = check.since.map(|at| moment(at.0)).unwrap_or_default();
        vec![
            check.name.clone(),
            check.step.clone().unwrap_or_default(),
            format!("{:?}", check.state),
            check.attempt.to_string(),
            since,
            check.message.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
    let head = vec!["Check", "Step", "Result", "Try", "Since", "What was found"];
    let block = if rows.is_empty() {
        Block::Said("None were asked for.".to_owned())
    } else {
        Block::Table { head, rows }
    };
    let mut blocks = vec![block];
    let named = |check: &CheckStatus| match &check.step {
        Some(step) => format!("{}, {step}", check.name),
        None => check.name.clone(),
    };
    let said: Vec<_> = checks.iter().map(|check| (named(check), check.log.as_slice())).collect();
    blocks.extend(logs(said.iter().map(|(name, log)| (name.as_str(), *log))));
    Section { title: "Checks", blocks }
}

fn migrations(migrations: &[MigrationStatus]) -> Option<Section> {
    let (mut rows, mut said) = (Vec::new(), Vec::new());
    for MigrationStatus { name, kind, begun, work, verify } in migrations {
        let parts = [(name.clone(), Some(work)), (format!("{name}, verify"), verify.as_ref())];
        for (name, part) in parts {
            let Some(JobStatus { state, attempt, job: _, message, since: _, log }) = part else { continue };
            rows.push(vec![
                name.clone(),
                format!("{kind:?}"),
                format!("{state:?}"),
                attempt.to_string(),
                begun.map(|at| moment(at.0)).unwrap_or_default(),
                message.clone(),
            ]);
            said.push((name, log.as_slice()));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let head = vec!["Migration", "Kind", "Result", "Try", "Begun", "What was found"];
    let mut blocks = vec![Block::Table { head, rows }];
    blocks.extend(logs(said.iter().map(|(name, log)| (name.as_str(), *log))));
    Some(Section { title: "Migrations", blocks })
}

/// What Jobs said last: a line a row.
fn logs<'r>(jobs: impl Iterator<Item = (&'r str, &'r [String])>) -> Option<Block> {
    let of_one = |(name, log): (&str, &'r [String])| {
        let name = name.to_owned();
        let named = move |(place, line): (usize, &String)| {
            vec![if place == 0 { name.clone() } else { String::new() }, line.clone()]
        };
        log.iter().enumerate().map(named).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = jobs.flat_map(of_one).collect();
    (!rows.is_empty()).then(|| Block::Table { head: vec!["Job of", "The end of its log"], rows })
}

fn signatures(signatures: &[Signature]) -> Option<Section> {
    let row = |signature: &Signature| {
        let Signature { role, by, at, reason, action: _, asked: _, of, check, content: _, voided } =
            signature;
        let what = match of {
            SignatureOf::Approval => "approval".to_owned(),
            SignatureOf::Attestation => format!("attests {check}"),
            SignatureOf::Undo => "agrees to going back".to_owned(),
        };
        let voided = voided.map(|at| format!(", void since {}: the plan had changed", moment(at.0)));
        let what = what + &voided.unwrap_or_default();
        vec![role.clone(), by.clone(), moment(at.0), what, reason.clone()]
    };
    let rows: Vec<Vec<String>> = signatures.iter().map(row).collect();
    let head = vec!["Role", "Who", "When", "What", "Reason"];
    (!rows.is_empty()).then(|| Section { title: "Sign-Off", blocks: vec![Block::Table { head, rows }] })
}

fn record(report: &ReleaseReport) -> Section {
    let chain = &report.spec.chain;
    let follows =
        chain.previous.as_ref().map_or_else(|| "nothing: the first".to_owned(), |link| link.report.clone());
    let facts = vec![
        fact("ReleaseReport", report.name_any()),
        fact("Digest", chain.digest.clone()),
        fact("Follows", follows),
        fact("Written by", report.spec.written_by.clone()),
    ];
    Section { title: "Record", blocks: vec![Block::Facts(facts)] }
}

fn fact(what: &str, said: String) -> (String, String) {
    (what.to_owned(), said)
}

fn moment(at: Timestamp) -> String {
    at.strftime("%F %TZ").to_string()
}

fn precise(at: Timestamp) -> String {
    at.strftime("%F %T%.3fZ").to_string()
}

fn window(window: &Window) -> String {
    format!("{} to {}", moment(window.from.0), moment(window.until.0))
}

impl Document {
    fn tidy(&mut self) {
        line(&mut self.title);
        for block in self.sections.iter_mut().flat_map(|section| &mut section.blocks) {
            match block {
                Block::Said(said) => line(said),
                Block::Facts(facts) => facts.iter_mut().for_each(pair),
                Block::Table { head: _, rows } => rows.iter_mut().flatten().for_each(line),
                Block::Issues(issues) => {
                    for (what, about) in issues {
                        line(what);
                        about.iter_mut().for_each(pair);
                    }
                }
                Block::Verbatim(lines) => lines.iter_mut().for_each(line),
                Block::Lines | Block::Boxes => {}
            }
        }
    }
}

fn pair((what, said): &mut (String, String)) {
    line(what);
    line(said);
}

/// One line, [`plain`], blanks once.
fn line(text: &mut String) {
    *text = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
}
