//! `Freeze`: a time in which nothing new goes out, in all namespaces or in some. Cluster-scoped: whoever writes one holds many releases.
//!
//! Who may pass is RBAC's business: a ground is a subresource, `freezes/security`, with the verb `pass`. Going back asks no freeze.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::status::Stamp;

/// A time in which no run starts and none moves forward. Going back is never held.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Freeze",
    category = "tidegate",
    doc = "A time in which no run starts and none moves forward. Going back is never held.",
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("name is at most 63 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.from) || !has(self.to) || self.from < self.to").message("to is not after from"))]
pub struct FreezeSpec {
    /// From this moment on. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Stamp>,
    /// Until this moment. Default: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Stamp>,
    /// Why: whoever is held reads it.
    #[schemars(length(min = 3, max = 256))]
    pub reason: String,
    /// Namespaces, by their labels. Default: all. `kubernetes.io/metadata.name` is a namespace's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Labels>,
    /// Releases in them, by their labels. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_selector: Option<Labels>,
    /// Grounds on which somebody may pass. Default: nobody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ground".into()]))]
    pub passes: Vec<Ground>,
}

/// A ground on which somebody may pass: an RBAC subresource, `freezes/security`, verb `pass`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ground {
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub ground: String,
    /// What counts as one, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
}
