//! The record of a run that ends: everything status knew of it, before status forgets it.
//!
//! It is made in the look that ends the run and written before the status that says so, under a name that is the run's own: killed in
//! between, the next look finds it written. Should that look see the run end otherwise, both are kept, and status names the right one.

use super::back;
use super::conditions::outcome_reason;
use super::draft::Draft;
use super::evidence::shortened;
use super::judge;
use crate::api::report::{Chain, Counted, Evidence, Link, ReleaseReportSpec, Suspicion, Test, Undo};
use crate::api::status::{LastRun, ReportsStatus, RevisionStatus, Run, Stamp, VerdictStatus};
use crate::api::{Outcome, digest};

/// The name of the record of a run, `checkout-r7-undone-20261121-101500`: with its start, since another Release of the same name counts
/// its runs from 1 again.
pub fn name_of(release: &str, run: &Run, outcome: Outcome) -> String {
    let outcome = outcome_reason(outcome).to_lowercase();
    format!("{release}-{}-{outcome}-{}", run.id, run.started_at.0.strftime("%Y%m%d-%H%M%S"))
}

fn undo_of(draft: &Draft<'_>, run: &Run) -> Option<Undo> {
    let back = run.back.as_ref()?;
    let undo = Undo {
        cause: back.cause,
        message: shortened(&back.message),
        times: back.times(),
        budget: None,
        over_budget: false,
        phases: Vec::new(),
        validation: None,
        hooks: Vec::new(),
        pods: Vec::new(),
        quarantined: Vec::new(),
    };
    Some(back::recorded(draft, run, draft.release.spec.as_deref().ok(), undo))
}

/// The record of a run that has ended. `canary` is what it released; stable is still what served before.
pub fn of(draft: &Draft<'_>, run: Run, canary: RevisionStatus, last: &LastRun) -> ReleaseReportSpec {
    let state: judge::State = run.judge.read().unwrap_or_default();
    let evidence = |verdict: &VerdictStatus| {
        let memory = state.criteria.get(&verdict.criterion);
        memory.map_or_else(
            || Evidence { verdict: verdict.clone(), ..Evidence::default() },
            |memory| in_full(verdict, memory),
        )
    };
    let target = draft.release.spec.as_ref().map_or("", |spec| &spec.target_ref.name);
    let mut record = ReleaseReportSpec {
        release: draft.name().to_owned(),
        release_uid: draft.release.uid.clone(),
        target: format!("deployment/{target}"),
        run: run.id.clone(),
        outcome: last.outcome,
        message: shortened(&last.message),
        started_at: run.started_at,
        ended_at: last.ended_at,
        changed_by: run.changed_by.clone(),
        stable: draft.status.stable.clone().unwrap_or_default(),
        canary,
        evidence: draft.status.verdicts.iter().map(evidence).collect(),
        undo: undo_of(draft, &run),
        checks: run.checks,
        migrations: run.migrations,
        signatures: run.signatures,
        passes: run.passes,
        steps: run.passed,
        notes: run.notes.iter().map(|note| shortened(note)).collect(),
        written_by: concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned(),
        chain: Chain { digest: String::new(), previous: draft.status.reports.as_ref().and_then(newest) },
    };
    record.chain.digest = digest::of_record(&serde_json::to_value(&record).unwrap_or_default());
    record
}

fn newest(reports: &ReportsStatus) -> Option<Link> {
    let report = reports.kept.last()?.name.clone();
    Some(Link { report, digest: reports.digest.clone() })
}

fn in_full(verdict: &VerdictStatus, memory: &judge::Memory) -> Evidence {
    let account = memory.account(&judge::Settings::default());
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let counted = |requests: u64, bad: u64| Counted { requests: number(requests), bad: number(bad) };
    let suspicion = account.suspicion.and_then(|(since, trials)| {
        let since = Stamp(jiff::Timestamp::from_second(since).ok()?);
        Some(Suspicion { since, requests: number(trials.requests), bad: number(trials.bad) })
    });
    let test = |of: &str, evidence: judge::Evidence| Test {
        of: of.to_owned(),
        evidence: format!("{:.2}", evidence.log_e),
        threshold: format!("{:.2}", evidence.threshold),
    };
    let above = match (&memory.no_worse, &memory.bounds) {
        (None, _) => "above the limit",
        (Some(_), None) => "above what is ignored",
        (Some(_), Some(_)) => "above its quantile",
    };
    let tests = [
        Some(test("worse than stable", account.worse)),
        account.above_limit.map(|evidence| test(above, evidence)),
        account.above_target.map(|evidence| test("above the target", evidence)),
    ];
    let bounds = account.bounds.map(|bounds| {
        let judge::count::Bounds { limit, target, pass, stable } = bounds;
        let all = [("limit", Some(limit)), ("target", Some(target)), ("pass", pass), ("stable", stable)];
        let named = |(of, bound): (&str, Option<judge::Bound>)| Some(format!("{of} {}", bound?));
        // Whoever serves them may write any number: a record is not refused for its length.
        all.into_iter().filter_map(named).map(|bound| bound.chars().take(32).collect::<String>()).collect()
    });
    Evidence {
        verdict: verdict.clone(),
        canary: Some(counted(account.canary.requests, account.canary.bad)),
        stable: Some(counted(account.stable.requests, account.stable.bad)),
        suspicion,
        tests: tests.into_iter().flatten().collect(),
        divided_by: account.divided_by.to_string(),
        bounds: bounds.unwrap_or_default(),
    }
}
