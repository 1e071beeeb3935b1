//! Labels that an object must have, written as Kubernetes writes a LabelSelector.

use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule of a field that must choose something: without one of the two all labels are right.
pub const NOT_EMPTY: &str = "has(self.matchLabels) && self.matchLabels.size() > 0 || has(self.matchExpressions) && self.matchExpressions.size() > 0";

/// Labels that an object must have: all of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317)").message("a label's key has at most 317 characters"))]
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
    /// use tidegate::api::labels::Labels;
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

    /// Whether there is no rule at all: true of any labels.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// What is not the key or the value of a label, so that nothing can have it.
    pub fn odd(&self) -> Option<&str> {
        let labels = self.match_labels.iter().find_map(|(key, value)| odd(key, [value]));
        labels.or_else(|| self.match_expressions.iter().find_map(|rule| odd(&rule.key, &rule.values)))
    }
}

/// As kubectl and the API server take them: `tier=pilot,region in (eu,us),!old`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = |LabelRule { key, operator, values }: &LabelRule| match operator {
            Operator::In => format!("{key} in ({})", values.join(",")),
            Operator::NotIn => format!("{key} notin ({})", values.join(",")),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        };
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = labels.chain(self.match_expressions.iter().map(rule)).collect();
        f.write_str(&all.join(","))
    }
}

fn odd<'a>(key: &'a str, values: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("any", key));
    let is_prefix = prefix.len() <= 253 && is_word(prefix, "-.") && prefix == prefix.to_ascii_lowercase();
    if !(is_prefix && is_word(name, "-_.") && name.len() <= 63) {
        return Some(key);
    }
    let is_value = |value: &str| value.is_empty() || value.len() <= 63 && is_word(value, "-_.");
    values.into_iter().map(String::as_str).find(|value| !is_value(value))
}

/// Letters and digits, and between them these too.
fn is_word(text: &str, between: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let mut bytes = text.bytes();
    is_end(bytes.clone().next())
        && is_end(bytes.clone().last())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || between.as_bytes().contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn labels(value: Value) -> Labels {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn they_are_written_as_the_api_server_takes_them() {
        let all = labels(json!({
            "matchLabels": {"example.com/tier": "pilot", "old": ""},
            "matchExpressions": [
                {"key": "region", "operator": "In", "values": ["eu", "us"]}, {"key": "team", "operator": "NotIn", "values": ["web"]},
                {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"},
            ],
        }));
        assert_eq!(all.to_string(), "example.com/tier=pilot,old=,region in (eu,us),team notin (web),a,!b");
        assert_eq!((all.odd(), all.is_empty(), Labels::default().is_empty()), (None, false, true));
    }

    #[test]
    fn what_can_be_no_label_is_named() {
        for key in
            ["", "a b", "a,b", "-a", "a-", "Upper.example.com/a", "/a", "a/", "a/b/c d", &"a".repeat(64)]
        {
            let rules = labels(json!({"matchExpressions": [{"key": key, "operator": "Exists"}]}));
            assert_eq!(rules.odd(), Some(key), "{key}");
        }
        for value in ["a b", "a)", "a,b=c", ".a", &"a".repeat(64)] {
            assert_eq!(labels(json!({"matchLabels": {"a": value}})).odd(), Some(value), "{value}");
        }
    }
}
