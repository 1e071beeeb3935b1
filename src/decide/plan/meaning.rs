//! What a spec means, understood once: several rules ask for it in each look, and it follows from nothing but the spec, and from whether the
//! Deployment's strategy is Recreate. Whoever keeps a spec keeps this beside it; nothing is understood before somebody asks.

use std::sync::OnceLock;

use super::{Measuring, Plan, PlanError, PlannedUndo, measuring, plan, undo};
use crate::decide::snapshot::ReleaseFacts;

/// What one spec means, as far as somebody has asked.
#[derive(Debug, Default)]
pub struct Meaning {
    /// By whether the strategy is Recreate.
    plans: [OnceLock<Result<Plan, PlanError>>; 2],
    measuring: OnceLock<Option<Measuring>>,
    undo: OnceLock<PlannedUndo>,
}

impl ReleaseFacts {
    /// The plan.
    ///
    /// # Errors
    /// What the author wrote cannot be carried out, or be read.
    pub fn plan(&self, recreate: bool) -> Result<&Plan, &PlanError> {
        let understood = || match &self.spec {
            Ok(spec) => plan(spec, recreate),
            Err(problem) => Err(PlanError { field: "spec".into(), problem: problem.clone() }),
        };
        self.meaning.plans[usize::from(recreate)].get_or_init(understood).as_ref()
    }

    /// What is measured, also when the rest of the plan cannot be carried out.
    pub fn measuring(&self) -> Option<&Measuring> {
        let understood = || self.spec.as_deref().ok().and_then(|spec| measuring(spec).ok());
        self.meaning.measuring.get_or_init(understood).as_ref()
    }

    /// The way back, also when the rest of the plan cannot be carried out.
    pub fn undo(&self) -> &PlannedUndo {
        let understood = || self.spec.as_deref().ok().and_then(|spec| undo(spec).ok()).unwrap_or_default();
        self.meaning.undo.get_or_init(understood)
    }
}
