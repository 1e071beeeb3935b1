//! What a spec means, understood once: several rules ask for it in each look, and it follows from nothing but the spec, and from whether the
//! Deployment's strategy is Recreate. Whoever keeps a spec keeps this beside it; nothing is understood before somebody asks. Of a spec some of which
//! is withheld nothing is kept.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::{Measuring, Plan, PlanError, PlannedUndo, measuring, plan, undo};
use crate::api::ReleaseSpec;
use crate::decide::rights;
use crate::decide::snapshot::ReleaseFacts;

/// What one spec means, as far as somebody has asked.
#[derive(Debug, Default)]
pub struct Meaning {
    /// By whether the strategy is Recreate.
    plans: [OnceLock<Result<Plan, PlanError>>; 2],
    /// The same, of what is withheld too.
    written: [OnceLock<Option<Plan>>; 2],
    measuring: OnceLock<Option<Measuring>>,
    undo: OnceLock<PlannedUndo>,
}

impl ReleaseFacts {
    /// The plan.
    ///
    /// # Errors
    /// What the author wrote cannot be carried out, or be read; or it is not, while nobody sees to it that they have the rights for it.
    pub fn plan(&self, recreate: bool) -> Result<&Plan, &PlanError> {
        let understood = || match (&self.spec, &self.withheld) {
            (Ok(_), Some(withheld)) => Err(PlanError { field: "spec".into(), problem: withheld.sentence() }),
            (Ok(spec), None) => plan(spec, recreate),
            (Err(problem), _) => Err(PlanError { field: "spec".into(), problem: problem.clone() }),
        };
        self.meaning.plans[usize::from(recreate)].get_or_init(understood).as_ref()
    }

    /// The plan, also while some of it is withheld: what was begun by it is looked at, and nothing is begun.
    pub fn written(&self, recreate: bool) -> Option<&Plan> {
        if self.withheld.is_none() {
            return self.plan(recreate).ok();
        }
        let understood = || self.spec.as_deref().ok().and_then(|spec| plan(spec, recreate).ok());
        self.meaning.written[usize::from(recreate)].get_or_init(understood).as_ref()
    }

    /// What is measured, also when the rest of the plan cannot be carried out.
    pub fn measuring(&self) -> Option<&Measuring> {
        let understood = || self.carried_out().and_then(|spec| measuring(&spec).ok());
        self.meaning.measuring.get_or_init(understood).as_ref()
    }

    /// The way back, also when the rest of the plan cannot be carried out.
    pub fn undo(&self) -> &PlannedUndo {
        let understood = || self.carried_out().and_then(|spec| undo(&spec).ok()).unwrap_or_default();
        self.meaning.undo.get_or_init(understood)
    }

    /// The spec, without what is not done of it.
    fn carried_out(&self) -> Option<Cow<'_, ReleaseSpec>> {
        let spec = self.spec.as_deref().ok()?;
        Some(match &self.withheld {
            Some(_) => Cow::Owned(rights::without(spec)),
            None => Cow::Borrowed(spec),
        })
    }
}
