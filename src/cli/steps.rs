//! The bar of steps: which are behind, which one it is at, which are to come.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use owo_colors::OwoColorize;

use super::view::{TIE, count};
use crate::api::Release;
use crate::api::status::{Run, Stage, StepStatus};
use crate::api::text::Share;
use crate::decide::pilots;
use crate::decide::plan::{PlannedStep, plan};

/// `● pilot 1 pod  ◐ tenth 10%  ○ all 100%`; without a run every step is to come.
pub fn bar(release: &Release) -> String {
    let names = names(release);
    let run = release.status.as_ref().and_then(|status| status.run.as_ref());
    let (behind, at, back) = run.map_or((0, None, false), |run| position(run, names.len()));
    let mark = |(index, name): (usize, String)| {
        let name = name.replace(' ', &TIE.to_string());
        if index < behind {
            format!("{}{TIE}{name}", "●".green())
        } else if Some(index) == at && back {
            format!("{}{TIE}{}", "◐".red(), name.bold())
        } else if Some(index) == at {
            format!("{}{TIE}{}", "◐".cyan(), name.bold())
        } else {
            format!("○{TIE}{name}")
        }
    };
    names.into_iter().enumerate().map(mark).collect::<Vec<_>>().join(&format!("{TIE} "))
}

/// What each step is called: as planned, where the plan agrees with the run. A spec that was changed in mid-run says nothing
/// about the steps of that run.
fn names(release: &Release) -> Vec<String> {
    let label = |step: &PlannedStep| format!("{} {}{}", step.name, share(&step.share), of_pilots(step));
    match release.status.as_ref().and_then(|status| status.step.as_ref()) {
        Some(step) => planned(release, step).map_or_else(
            || {
                (1..=step.of.min(32))
                    .map(|index| if index == step.index { step.name.clone() } else { index.to_string() })
                    .collect()
            },
            |steps| steps.iter().map(label).collect(),
        ),
        None => {
            plan(&release.spec, false).map(|plan| plan.steps.iter().map(label).collect()).unwrap_or_default()
        }
    }
}

/// The steps of the run, when the spec still says what it said when the run began.
pub fn planned(release: &Release, step: &StepStatus) -> Option<Vec<PlannedStep>> {
    let index = usize::try_from(step.index).ok()?.checked_sub(1)?;
    let of = usize::try_from(step.of).ok()?;
    // With the strategy Recreate a plan has other defaults, and the Deployment is not at hand.
    let plans = [false, true].into_iter().filter_map(|recreate| plan(&release.spec, recreate).ok());
    let agrees = |steps: &Vec<PlannedStep>| {
        steps.len() == of && steps.get(index).is_some_and(|planned| planned.name == step.name)
    };
    plans.map(|plan| plan.steps).find(agrees)
}

fn share(share: &Share) -> String {
    match &share.0 {
        IntOrString::Int(pods) => count(*pods, "pod"),
        IntOrString::String(text) => text.clone(),
    }
}

/// ` (1 on nodes tier=pilot)`
fn of_pilots(step: &PlannedStep) -> String {
    let Some(pilot) = &step.pilot else { return String::new() };
    match pilot.at_least {
        Some(least) => format!(" ({least} {})", pilots::words(pilot)),
        None => format!(" ({})", pilots::words(pilot)),
    }
}

/// How many steps are behind, which one it is at, and whether it goes back from there.
fn position(run: &Run, of: usize) -> (usize, Option<usize>, bool) {
    let at = usize::try_from(run.step).unwrap_or(0);
    match run.stage {
        Stage::Preflight => (0, None, false),
        Stage::Steps => (at, Some(at), false),
        Stage::Watch => (of, None, false),
        Stage::Back => (at, Some(at), true),
    }
}
