//! `Freeze`: a time in which nothing new goes out, in all namespaces or in some. Cluster-scoped: whoever writes one holds many releases.
//!
//! Who may pass is RBAC's business: a ground is a subresource, `freezes/security`, with the verb `pass`. Going back asks no freeze.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Labels that an object must have: all of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<LabelRule>,
}

/// What must be so of one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) : !has(self.values)").message("values go with In and NotIn, and only with them"))]
pub struct LabelRule {
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub values: Vec<String>,
}

/// How a label is looked at.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Labels {
    /// Whether these labels are such. No rule is true of any.
    ///
    /// ```
    /// use tidegate::api::freeze::Labels;
    /// let wanted: Labels = serde_json::from_str(
    ///     r#"{"matchLabels": {"env": "production"}, "matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["web"]}]}"#,
    /// ).unwrap();
    /// let labels = |text: &str| serde_json::from_str(text).unwrap();
    /// assert!(wanted.match_these(&labels(r#"{"env": "production"}"#)));
    /// assert!(!wanted.match_these(&labels(r#"{"env": "production", "team": "web"}"#)));
    /// assert!(!wanted.match_these(&labels("{}")));
    /// assert!(Labels::default().match_these(&labels("{}")));
    /// ```
    pub fn match_these(&self, labels: &BTreeMap<String, String>) -> bool {
        let rule = |LabelRule { key, operator, values }: &LabelRule| {
            let value = labels.get(key);
            match operator {
                Operator::In => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(rule)
    }
}
