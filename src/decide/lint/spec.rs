//! Rules about steps, the watch, the way back, and what is written in general.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Found, Subject, placeholder};
use crate::api::text::{Share, Span};
use crate::api::windows::Windows;
use crate::decide::calendar::{self, Fit};
use crate::decide::{asking, gate, plan};

/// First numbers of pods, then shares, each more than the one before; each with a name of its own.
pub fn steps(subject: &Subject<'_>, found: &mut Found) {
    let steps = &subject.spec.steps;
    for (index, step) in steps.iter().enumerate() {
        if steps[..index].iter().any(|before| before.name == step.name) {
            let problem = format!("another step is called {} too", step.name);
            found.add(format!("spec.steps[{index}].name"), problem, "give each a name of its own");
        }
        let Some(before) = index.checked_sub(1).map(|before| &steps[before]) else { continue };
        let (now, then) = (shown(&step.replicas), shown(&before.replicas));
        let field = || format!("spec.steps[{index}].replicas");
        let problem = match (&before.replicas.0, &step.replicas.0) {
            (IntOrString::Int(before), IntOrString::Int(now)) if now <= before => {
                format!("{} is not more than the {} of the step before", shown(&step.replicas), before)
            }
            (IntOrString::String(_), IntOrString::Int(_)) => {
                format!("a number of pods ({now}) comes after a share ({then})")
            }
            (IntOrString::String(_), IntOrString::String(_))
                if percent(&step.replicas) <= percent(&before.replicas) =>
            {
                format!("{now} is not more than the {then} of the step before")
            }
            (IntOrString::Int(_) | IntOrString::String(_), IntOrString::Int(_) | IntOrString::String(_)) => {
                continue;
            }
        };
        found.add(field(), problem, "let steps grow: first numbers of pods, then percentages");
    }
}

fn shown(share: &Share) -> String {
    match &share.0 {
        IntOrString::Int(pods) => pods.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// Of a hundred; one that cannot be read is the plan's to tell.
fn percent(share: &Share) -> Option<i32> {
    share.of(100)
}

/// A soak ends before the deadline of its step does, and what is to cut it short can.
pub fn soak(subject: &Subject<'_>, found: &mut Found) {
    for (index, step) in subject.spec.steps.iter().enumerate() {
        let field = || format!("spec.steps[{index}].advanceEarly");
        if step.advance_early && step.soak.is_none() {
            found.add(field(), "there is no soak to cut short", "write soak beside it");
        } else if step.advance_early && !super::criteria::could_pass(subject) {
            let problem = "no criterion that is enforced measures anything, so nothing cuts the soak short";
            found.add(field(), problem, "write errorRate, latency or value, or leave criteria out");
        }
        let (Some(soak), Some(deadline)) = (&step.soak, &step.deadline) else { continue };
        if soak.parse() > deadline.parse() && deadline.parse().is_some() {
            let problem =
                format!("the soak of {} is longer than the step's deadline of {}", soak.0, deadline.0);
            found.add(
                format!("spec.steps[{index}].soak"),
                problem,
                "leave deadline out (twice the soak) or make it longer",
            );
        }
    }
}

/// Stages of the watch grow, and measure at least once.
pub fn watch(subject: &Subject<'_>, found: &mut Found) {
    let stages = subject.spec.watch.as_deref().unwrap_or_default();
    for (index, stage) in stages.iter().enumerate() {
        if let (Some(until), Some(every)) = (stage.r#for.parse(), stage.every.parse())
            && every > until
        {
            let problem = format!("every {} is longer than for {}", stage.every.0, stage.r#for.0);
            found.add(
                format!("spec.watch[{index}].every"),
                problem,
                "measure at least once: write a shorter every",
            );
        }
        let before = index.checked_sub(1).and_then(|before| stages[before].r#for.parse());
        if let (Some(before), Some(until)) = (before, stage.r#for.parse())
            && until < before
        {
            let problem = format!("{} is less than the for of the stage before", stage.r#for.0);
            found.add(
                format!("spec.watch[{index}].for"),
                problem,
                "each for is counted from 100%: let them grow",
            );
        }
    }
}

/// A moment like any other: windows come again and again. Blackouts do not, and are left to the moment of a run.
const SOME_DAY: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// There is a window into which all of the plan fits.
pub fn windows(subject: &Subject<'_>, found: &mut Found) {
    let Some(written) = subject.spec.windows.as_ref().filter(|written| !written.allow.is_empty()) else {
        return;
    };
    let often = Windows { blackouts: Vec::new(), ..written.clone() };
    let recreate = subject.workload.is_some_and(|workload| workload.recreate);
    // What is wrong with either of them is the rule of the plan's to tell.
    let (Ok(plan), Ok(calendar)) = (plan::plan(subject.spec, recreate), calendar::calendar(Some(&often)))
    else {
        return;
    };
    let needed = gate::length(&plan, None);
    let Fit::Never { longest, short: _ } = calendar.fit(SOME_DAY, needed) else { return };
    let (field, fix) = ("spec.windows.allow".to_owned(), "open one for longer, or let steps soak for less");
    let Some(longest) = longest else {
        return found.add(field, "none of them ever opens", "write days and hours that come");
    };
    let open = gate::words(longest);
    let too_long = subject.spec.steps.iter().zip(&plan.steps).position(|(_, step)| step.soak > longest);
    match too_long {
        Some(index) => {
            let soak = gate::words(plan.steps[index].soak);
            let problem =
                format!("the soak of {soak} is longer than every window: none is open for more than {open}");
            found.add(format!("spec.steps[{index}].soak"), problem, fix);
        }
        None => {
            let takes = gate::words(needed);
            let problem = format!("the plan takes {takes}, and none of them is open for more than {open}");
            found.add(field, problem, fix);
        }
    }
}

/// What the way back must wait for fits its budget.
pub fn undo_budget(subject: &Subject<'_>, found: &mut Found) {
    let Some(undo) = &subject.spec.undo else { return };
    let execution = undo.phases.as_ref().and_then(|phases| phases.execution.as_ref());
    within(subject, "spec.undo.budget", undo.budget.as_ref(), found);
    within(subject, "spec.undo.phases.execution", execution, found);
    let Some(approval) = &undo.approval else { return };
    let asks = asking::timeout(approval);
    let decision = undo.phases.as_ref().and_then(|phases| phases.decision.as_ref());
    for (field, budget) in
        [("spec.undo.phases.decision", decision), ("spec.undo.budget", undo.budget.as_ref())]
    {
        let Some(budget) = budget.filter(|budget| budget.parse().is_some_and(|length| length < asks)) else {
            continue;
        };
        let seconds = asks.as_secs();
        let problem = format!("it is {}, and who is asked before an undo has {seconds} s of it", budget.0);
        found.add(field, problem, format!("write more than {seconds}s, or a shorter undo.approval.timeout"));
    }
}

fn within(subject: &Subject<'_>, field: &str, budget: Option<&Span>, found: &mut Found) {
    let Some(budget) = budget else { return };
    let Some(length) = budget.parse() else { return };
    if length.is_zero() {
        return found.add(field, "no way back takes no time", "write how long it may take, such as 5m");
    }
    let Some(workload) = subject.workload else { return };
    let waits = least_wait(workload.template);
    if length < waits {
        let problem = format!(
            "it is {}, and a stable pod is not Ready before {} s: the first tries of its probes are so long after its start",
            budget.0,
            waits.as_secs()
        );
        found.add(
            field,
            problem,
            format!("write more than {}s, or shorter initialDelaySeconds", waits.as_secs()),
        );
    }
}

/// The time before which no pod of a template is Ready.
fn least_wait(template: &Value) -> Duration {
    let delay =
        |container: &Value, probe: &str| container[probe]["initialDelaySeconds"].as_u64().unwrap_or(0);
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    // The readiness probe begins when the startup probe has passed, but counts from the container's start.
    let waits =
        containers.map(|container| delay(container, "startupProbe").max(delay(container, "readinessProbe")));
    Duration::from_secs(waits.max().unwrap_or(0))
}

/// Every `url` is one of http or https, without a user in it.
pub fn urls(subject: &Subject<'_>, found: &mut Found) {
    each_text(subject, &mut |field, text| {
        if !field.ends_with(".url") {
            return;
        }
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match host {
            None | Some("") => found.add(field, "it is not an http(s) URL", "write http://HOST:PORT/PATH"),
            Some(host) if host.contains('@') => {
                found.add(
                    field,
                    "there is a user in it: whoever reads the Release reads it",
                    "leave user and password out",
                );
            }
            Some(_) => {}
        }
    });
}

/// Nothing stands for something that was to be written.
pub fn placeholders(subject: &Subject<'_>, found: &mut Found) {
    // Languages of their own, in which the same signs mean other things.
    let other = ["promql", "bodyMatches", "pattern", "args", "command"];
    each_text(subject, &mut |field, text| {
        let is_other = field.split(['.', '[']).any(|part| other.contains(&part));
        if let Some(word) = placeholder(text).filter(|_| !is_other) {
            let problem = format!("'{word}' stands for something");
            found.add(field, problem, "write what is meant");
        }
    });
}

/// Each text of the spec with the path of its field.
fn each_text(subject: &Subject<'_>, see: &mut dyn FnMut(&str, &str)) {
    let spec = serde_json::to_value(subject.spec).unwrap_or_default();
    texts("spec", &spec, see);
}

/// Bytes of a path. What lies below a longer one, where a template may have names of any length, is no field that anybody reads: written out for
/// each of its texts, the path alone would take thousands of times as much as was written.
const LONGEST_PATH: usize = 1024;

/// Each text in a value with its path.
pub fn texts(path: &str, value: &Value, see: &mut dyn FnMut(&str, &str)) {
    if path.len() > LONGEST_PATH {
        return;
    }
    match value {
        Value::String(text) => see(path, text),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| texts(&format!("{path}[{index}]"), item, see));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| texts(&format!("{path}.{name}"), member, see));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Everything that a run could not begin with.
pub fn plan(subject: &Subject<'_>, found: &mut Found) {
    let recreate = subject.workload.is_some_and(|workload| workload.recreate);
    if let Err(refused) = plan::plan(subject.spec, recreate) {
        found.add(refused.field, refused.problem, "");
    }
    super::signing::quorum(subject, found);
}
