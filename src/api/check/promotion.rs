//! `promotion` checks: the same images have ended well somewhere else.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::Span;

/// The images of the new template have been released before by another Release, and that ended well.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PromotionCheck {
    /// Where that Release is.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Its name. Default: the name of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub release: Option<String>,
    /// How long ago its run must have ended. Until then the check waits. Default: no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_soak: Option<Span>,
}
