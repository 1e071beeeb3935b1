//! What a Release has done with rights of the operator's: whoever writes it must have these rights themselves, which the API server asks when it is
//! written (policies tidegate-release-rights and tidegate-release-undo). Where one of the two is not in force nobody has been asked, and nothing of
//! it is done: no Job, no Secret, no object that is read, no hook. Going back needs none of it.
//!
//! Who may do what is not decided here, nor whether the author of this Release may: that was for the API server.

use std::sync::Arc;

use super::draft::Draft;
use super::plan::{HookKind, PlanError};
use super::snapshot::{ReleaseFacts, Withheld};
use crate::api::check::workload::WorkloadCheck;
use crate::api::notify::{Endpoint, Notify};
use crate::api::release::Undo;
use crate::api::undo::{UndoEvidence, UndoHook};
use crate::api::{Check, ReleaseSpec};

/// The policies that see to it. What is lent is not told apart by them: it takes both.
pub const POLICIES: [&str; 2] = ["tidegate-release-rights", "tidegate-release-undo"];
/// Reason while one of them is not in force.
pub const POLICY_MISSING: &str = "PolicyMissing";

/// Fields that are named at most.
const MOST_FIELDS: usize = 3;

impl Withheld {
    /// What is wrong, bounded.
    pub fn sentence(&self) -> String {
        let Self { policy, fields } = self;
        let named: Vec<&str> = fields.iter().take(MOST_FIELDS).map(String::as_str).collect();
        let more = fields.len().saturating_sub(named.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!(
            "policy {policy} is not in force: who wrote the Release may lack the rights for {}{more}, and nothing of it is done",
            named.join(", ")
        )
    }

    fn unblock(&self) -> String {
        format!(
            "install the policies of this version, each with a binding that denies: kubectl get validatingadmissionpolicybindings {}",
            POLICIES.join(" ")
        )
    }
}

/// Notes what is not done for a Release while this policy is not in force. Nothing of what was understood of it before counts.
pub fn withhold(release: &mut ReleaseFacts, policy: Option<&'static str>) {
    let (Some(policy), Ok(spec)) = (policy, &release.spec) else { return };
    let fields = fields(spec);
    if !fields.is_empty() {
        release.meaning = Arc::default();
        release.withheld = Some(Withheld { policy, fields });
    }
}

/// Reason, message and way out where a plan cannot be carried out.
pub fn refused(draft: &Draft<'_>, problem: &PlanError) -> (&'static str, String, String) {
    match &draft.release.withheld {
        Some(withheld) => (POLICY_MISSING, withheld.sentence(), withheld.unblock()),
        None => ("InvalidSpec", problem.to_string(), draft.edit()),
    }
}

/// Says it where a run goes back, or none is under way, beside what is said already. Where nothing else stands in the way it is what people see first.
pub fn mention(draft: &mut Draft<'_>) {
    let release = draft.release;
    let Some(withheld) = &release.withheld else { return };
    draft.mention(POLICY_MISSING, withheld.sentence(), withheld.unblock());
}

/// Whether a run is measured by a server that is asked with such rights. It is not asked meanwhile: what it says without credentials may be of something else.
pub fn server_is_withheld(release: &ReleaseFacts) -> bool {
    let metrics = release.spec.as_ref().ok().and_then(|spec| spec.metrics.as_ref());
    let server = metrics.and_then(|metrics| metrics.prometheus.as_ref());
    release.withheld.is_some() && server.is_some_and(|server| server.auth.is_some() || server.ca.is_some())
}

/// The same spec, as far as going back goes by it, without what uses such rights, but for hooks and checks: what becomes of each of those is told.
pub fn without(spec: &ReleaseSpec) -> ReleaseSpec {
    let mut spec = spec.clone();
    if let Some(undo) = &mut spec.undo {
        undo.quarantine = None;
        if undo.evidence.as_ref().is_some_and(keeps_logs) {
            undo.evidence = None;
        }
    }
    spec
}

/// Whether a hook uses such rights. Each is in the plan of the way back all the same, so that what became of it is told.
pub fn hook(kind: &HookKind) -> bool {
    match kind {
        HookKind::Call(call) => call.secret_header.is_some(),
        HookKind::Patch(_) | HookKind::Job(_) => true,
    }
}

/// Whether telling somebody does. What they are owed stays owed.
pub fn notify(one: &Notify) -> bool {
    let names = |endpoint: &Endpoint| {
        let Endpoint { url: _, secret, key: _, auth, ca } = endpoint;
        secret.is_some() || auth.is_some() || ca.is_some()
    };
    let Notify {
        name: _,
        slack,
        teams,
        webhook,
        cloud_events,
        email,
        pager_duty,
        opsgenie,
        events: _,
        reasons: _,
        except_reasons: _,
        template: _,
        after: _,
    } = one;
    let secret = slack.is_some() || teams.is_some() || pager_duty.is_some() || opsgenie.is_some();
    let mail = email.as_ref().is_some_and(|email| email.auth.is_some() || email.ca.is_some());
    secret || mail || [webhook, cloud_events].into_iter().flatten().any(names)
}

/// What uses such rights, by where it is written.
fn fields(spec: &ReleaseSpec) -> Vec<String> {
    let ReleaseSpec {
        target_ref: _,
        metrics,
        windows: _,
        preflight,
        migrations,
        locks: _,
        steps,
        criteria: _,
        sign_off: _,
        watch: _,
        undo,
        downtime: _,
        reports: _,
        notify: told,
        on_delete: _,
        capture: _,
        suspend: _,
    } = spec;
    let checks = |checks: &[Check], field: &str, first: bool| -> Vec<String> {
        let lent = checks.iter().enumerate().filter(|(_, one)| check(one, first));
        lent.map(|(place, _)| format!("{field}[{place}]")).collect()
    };
    let mut fields = checks(preflight, "spec.preflight", true);
    for (place, step) in steps.iter().enumerate() {
        fields.extend(checks(&step.checks, &format!("spec.steps[{place}].checks"), false));
    }
    if !migrations.is_empty() {
        fields.push("spec.migrations".to_owned());
    }
    let server = metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
    if server.is_some_and(|server| server.auth.is_some() || server.ca.is_some()) {
        fields.push("spec.metrics.prometheus".to_owned());
    }
    if let Some(undo) = undo {
        let Undo { capacity: _, budget: _, approval: _, phases: _, hooks, validate, evidence, quarantine } =
            undo;
        let hooks = hooks.iter().enumerate().filter(|(_, hook)| is_lent(hook));
        fields.extend(hooks.map(|(place, _)| format!("spec.undo.hooks[{place}]")));
        if let Some(validate) = validate {
            fields.extend(checks(&validate.checks, "spec.undo.validate.checks", false));
        }
        if evidence.as_ref().is_some_and(keeps_logs) {
            fields.push("spec.undo.evidence".to_owned());
        }
        if quarantine.is_some() {
            fields.push("spec.undo.quarantine".to_owned());
        }
    }
    let told = told.iter().enumerate().filter(|(_, one)| notify(one));
    fields.extend(told.map(|(place, _)| format!("spec.notify[{place}]")));
    fields
}

/// Whether a check does. `first`: before the first pod, where a path of pods is asked of one that is started for it.
pub fn check(check: &Check, first: bool) -> bool {
    let Check {
        name: _,
        timeout: _,
        severity: _,
        retries: _,
        every: _,
        on_failure: _,
        approval: _,
        attest: _,
        job,
        http,
        config,
        tls,
        dns: _,
        object,
        backup,
        workload,
        promotion,
        telemetry: _,
    } = check;
    let trial = first && http.as_ref().is_some_and(|http| http.pod_path.is_some());
    let reads = config.is_some() || object.is_some() || backup.is_some() || promotion.is_some();
    let certificate = tls.as_ref().is_some_and(|tls| tls.secret.is_some() || tls.ca.is_some());
    trial || reads || certificate || job.is_some() || workload.as_ref().is_some_and(lists)
}

/// Whether budgets or quotas are listed. With nothing written all of it is asked.
fn lists(check: &WorkloadCheck) -> bool {
    let WorkloadCheck { probes, resources, pod_disruption_budget, min_replicas, image_by_digest, room } =
        check;
    let nothing = min_replicas.is_none()
        && [probes, resources, pod_disruption_budget, image_by_digest, room].into_iter().all(Option::is_none);
    nothing || pod_disruption_budget.is_some() || room.is_some()
}

fn is_lent(hook: &UndoHook) -> bool {
    let UndoHook { name: _, http, config_map, patch, job } = hook;
    let header = http.as_ref().is_some_and(|http| http.secret_header.is_some());
    header || config_map.is_some() || patch.is_some() || job.is_some()
}

/// With nothing written about evidence some lines are kept, too: that takes no right of its own.
fn keeps_logs(evidence: &UndoEvidence) -> bool {
    let UndoEvidence { pods, log_lines } = evidence;
    pods.is_none_or(|pods| pods > 0) && log_lines.is_none_or(|lines| lines > 0)
}
