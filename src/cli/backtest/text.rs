//! What came of a back-test, for people. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use owo_colors::OwoColorize;

use super::outcome::{Assessment, Called, OfCriterion, OfRelease, Outcome, Went, Why};
use crate::cli::view::{Look, Page, Table, count, plain, sentence, span};
use crate::decide::percent;

/// All of it.
pub fn render(outcome: &Outcome, look: Look) -> String {
    let mut page = Page::new(look.width);
    let Outcome { release, source, from, to, interval, window, data, quiet, .. } = outcome;
    page.raw(&release.bold().to_string());
    page.field("replayed", &format!("{} to {}, after an hour to learn from", moment(from), moment(to)));
    page.field("source", &plain(source));
    let mut read = Vec::new();
    if data.slots > 0 || data.samples == 0 {
        read.push(format!(
            "{}, {} requests in slots of {interval} s; {} of the pods' slots are missing",
            count(signed(data.pods), "pod"),
            data.requests,
            percent(ratio(data.missing, data.slots))
        ));
    }
    if data.samples > 0 {
        let unread = percent(ratio(data.unread, data.samples));
        read.push(format!("{} samples of other numbers; {unread} of them could not be read", data.samples));
    }
    page.field("data", &read.join("; "));
    let length = span(SignedDuration::from_secs(*window));
    let mut windows = format!("{} of {length} replayed", quiet.windows);
    if quiet.replays > quiet.windows {
        let times = count(signed(quiet.replays), "time");
        windows.push_str(&format!(", {times} with one pod or another as the canary"));
    }
    page.field("windows", &format!("{windows}; {}", skipped(outcome)));
    page.heading("Quiet windows");
    criteria(&mut page, &outcome.criteria, quiet.replays);
    if !outcome.releases.is_empty() {
        page.heading("Releases");
        releases(&mut page, &outcome.releases);
    }
    if !outcome.incidents.is_empty() {
        page.heading("Incidents");
        for incident in &outcome.incidents {
            let said = match incident.replays {
                0 => "too little was read of it".to_owned(),
                replays => format!(
                    "a release meanwhile would have been undone {} of {replays} times",
                    incident.undone
                ),
            };
            page.raw(&format!("{} to {}: {said}", moment(&incident.from), moment(&incident.to)));
        }
    }
    if !outcome.ok {
        page.heading("With other limits");
        limits(&mut page, &outcome.criteria);
    }
    page.blank();
    verdict(&mut page, outcome);
    for note in &outcome.notes {
        page.field("note", &sentence(note));
    }
    page.into_text()
}

/// Why no window was replayed.
pub fn why_none(outcome: &Outcome) -> String {
    let by_reason = reasons(outcome);
    if by_reason.is_empty() {
        return "what is replayed is shorter than a window".to_owned();
    }
    listed(&by_reason)
}

fn verdict(page: &mut Page, outcome: &Outcome) {
    let Outcome { quiet, max_false_undos, suggested, ok, .. } = outcome;
    if quiet.replays == 0 {
        return;
    }
    let most = percent(*max_false_undos);
    let seen = format!(
        "{} of {} would have been undone for nothing: {} a run (with 95 % confidence in no more than {} of all windows)",
        quiet.false_undos,
        quiet.replays,
        percent(quiet.per_run),
        percent(quiet.at_most)
    );
    let judged = if *ok { format!("within {most}") } else { format!("more than {most}") };
    let judged = if *ok { judged.green().to_string() } else { judged.red().to_string() };
    page.field("verdict", &format!("{seen}: {judged}."));
    let advice = match suggested {
        Some(suggested) if suggested.limits.is_empty() => "limits can stay as they are.".to_owned(),
        Some(suggested) => {
            let limits: Vec<String> =
                suggested.limits.iter().map(|(criterion, limit)| format!("{criterion} {limit}")).collect();
            let missed = match suggested.missed {
                0 => String::new(),
                missed => format!("; {} would go out with them", count(signed(missed), "bad release")),
            };
            format!("{}: {} a run{missed}.", limits.join(", "), percent(suggested.per_run))
        }
        None => {
            "no limit up to five times as high is enough: see what happens in these windows first.".to_owned()
        }
    };
    page.field("suggested", &advice);
}

fn criteria(page: &mut Page, criteria: &[OfCriterion], replays: usize) {
    let mut table = Table::new(&[
        "CRITERION",
        "LIMIT",
        "BREACHED",
        "PER RUN",
        "PASS",
        "HOLD",
        "UNKNOWN",
        "MOSTLY",
        "UNDOES",
    ]);
    for criterion in criteria {
        let of = |verdict: &str| share_of(criterion.verdicts.get(verdict).copied().unwrap_or(0), replays);
        let breaches = criterion.limits.first().map_or(0, |limit| limit.breaches);
        let mostly = criterion.unknown.iter().max_by_key(|(_, times)| **times);
        table.row(vec![
            plain(&criterion.name),
            criterion.limit.clone(),
            format!("{breaches} of {replays}"),
            share_of(breaches, replays),
            of("Pass"),
            of("Hold"),
            of("Unknown"),
            mostly.map_or_else(|| "-".to_owned(), |(reason, _)| reason.clone()),
            if criterion.undoes { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.lines().iter().for_each(|line| page.raw(line));
}

fn releases(page: &mut Page, releases: &[OfRelease]) {
    let mut table = Table::new(&["FROM", "TOOK", "REVISION", "WENT", "CALLED", "JUDGE"]);
    for release in releases {
        let took = match (release.from.parse::<Timestamp>(), release.to.parse::<Timestamp>()) {
            (Ok(from), Ok(to)) => span(to.duration_since(from)),
            _ => "-".to_owned(),
        };
        let went = match release.went {
            Went::Through => "through",
            Went::Back => "back",
            Went::Superseded => "superseded",
            Went::Unknown => "-",
        };
        let called = match release.called {
            Some(Called::Bad) => "bad",
            Some(Called::Good) => "good",
            Some(Called::Release) | None => "-",
        };
        let judge = match (&release.undone, release.assessment) {
            (_, Assessment::NoData) => "too little was read of it".to_owned(),
            (Some(breach), assessment) => {
                let after = span(SignedDuration::from_secs(breach.after));
                let worth = if assessment == Assessment::FalseUndo { "FALSE UNDO" } else { "undone" };
                format!("{worth} after {after}: {}: {}", plain(&breach.criterion), plain(&breach.message))
            }
            (None, Assessment::Missed) => "MISSED: would have gone out".to_owned(),
            (None, _) => "would have gone out".to_owned(),
        };
        let revision = release.revision.clone().unwrap_or_else(|| "-".to_owned());
        table.row(vec![moment(&release.from), took, revision, went.to_owned(), called.to_owned(), judge]);
    }
    table.lines().iter().for_each(|line| page.raw(line));
}

fn limits(page: &mut Page, criteria: &[OfCriterion]) {
    let mut table = Table::new(&["CRITERION", "LIMIT", "BREACHED", "PER RUN", "BAD RELEASES CAUGHT"]);
    for criterion in criteria.iter().filter(|criterion| criterion.undoes) {
        for at in &criterion.limits {
            table.row(vec![
                plain(&criterion.name),
                at.limit.clone(),
                at.breaches.to_string(),
                percent(at.per_run),
                at.caught.to_string(),
            ]);
        }
    }
    table.lines().iter().for_each(|line| page.raw(line));
}

fn reasons(outcome: &Outcome) -> BTreeMap<Why, usize> {
    let mut by_reason = BTreeMap::new();
    for skipped in &outcome.skipped {
        *by_reason.entry(skipped.why).or_default() += 1;
    }
    by_reason
}

fn listed(by_reason: &BTreeMap<Why, usize>) -> String {
    let one = |(why, times): (&Why, &usize)| format!("{} ({times})", why.words());
    by_reason.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn skipped(outcome: &Outcome) -> String {
    match outcome.skipped.len() {
        0 => "none left out".to_owned(),
        many => format!("{many} left out: {}", listed(&reasons(outcome))),
    }
}

fn moment(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| plain(text), |at| at.strftime("%F %TZ").to_string())
}

fn share_of(part: usize, all: usize) -> String {
    if all == 0 { "-".to_owned() } else { percent(super::outcome::share(part, all)) }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
