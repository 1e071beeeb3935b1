//! What people sign: the new template and the plan that it is released by, as one digest. Another template or plan is another content, and no signature
//! of before is for it.
//!
//! Of the spec everything is part of it but what changes nothing about how it is released: `suspend`, who is told (`notify`) and which records
//! are kept (`reports`). How it goes back is: whoever signs signs what the operator does in that moment, hooks and all.

use super::approval;
use super::draft::Draft;
use super::scene::Scene;
use super::snapshot::Template;
use crate::api::{Authors, ReleaseSpec, digest};

/// Fields of a spec that nobody signs.
const UNSIGNED: [&str; 3] = ["suspend", "notify", "reports"];

/// The content of a run that releases this template. Taken when the snapshot is made, and only when one of the two is another: it is a digest
/// of all of both.
pub fn of(template: &Template, spec: &ReleaseSpec) -> String {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = spec.as_object_mut() {
        for field in UNSIGNED {
            fields.remove(field);
        }
    }
    // The whole template, and not its fingerprint: whoever has the record can take this digest again with any tool.
    digest::of_value(&serde_json::json!({ "template": template.text(), "spec": spec }))
}

/// Notes what the run's content is now, who has changed it since the run began, and which signatures were given for another one. A spec that cannot be
/// read voids none.
pub fn note(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let is_canary =
        draft.status.canary.as_ref().is_some_and(|canary| canary.fingerprint == scene.target.fingerprint);
    if !is_canary {
        return;
    }
    let run = draft.run();
    run.changed_by = Authors::together(run.changed_by.as_ref(), scene.target.changed_by.as_ref());
    let Some(content) = &scene.snapshot.content else { return };
    run.content.clone_from(content);
    approval::void(draft);
}
