//! A right that the operator lacks: read out of the API server's refusal, and said as the rule that gives it.

use std::fmt;

/// Longer words are none of ours, nor those with a gap in them: whoever has a request refused can write anything around them.
const LONGEST: usize = 100;

/// What the operator may not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    pub verb: String,
    pub group: String,
    /// With its subresource: `releases/status`.
    pub resource: String,
    /// Where; `None`: in the whole cluster.
    pub namespace: Option<String>,
}

impl Right {
    /// What a failed request lacked. `None` when it failed for another reason; policies refuse with the same code.
    pub fn within(error: &kube::Error) -> Option<Self> {
        match error {
            kube::Error::Api(status) if status.code == 403 => Self::lacking(&status.message),
            _ => None,
        }
    }

    /// The same from the message alone.
    ///
    /// ```
    /// use tidegate::api::right::Right;
    /// let said = r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "shop""#;
    /// let right = Right::lacking(said).unwrap();
    /// assert_eq!((right.verb.as_str(), right.resource.as_str()), ("list", "pods"));
    /// assert_eq!(right.rule(), "{apiGroups: [''], resources: [pods], verbs: [list]}");
    /// ```
    pub fn lacking(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once(" is forbidden: User ")?;
        let (_, rest) = rest.split_once(" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest.split_once("in the namespace \"").and_then(|(_, rest)| rest.split_once('"'));
        let namespace = namespace.map(|(namespace, _)| namespace);
        let is_word = |word: &&str| word.len() <= LONGEST && word.bytes().all(|byte| byte.is_ascii_graphic());
        if ![verb, resource, group].iter().chain(&namespace).all(is_word) {
            return None;
        }
        Some(Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        })
    }

    /// The rule that gives it.
    pub fn rule(&self) -> String {
        let Self { verb, group, resource, namespace: _ } = self;
        let group = if group.is_empty() { "''" } else { group };
        format!("{{apiGroups: [{group}], resources: [{resource}], verbs: [{verb}]}}")
    }

    /// What gives it, as a sentence.
    pub fn remedy(&self) -> String {
        match self.resource.as_str() {
            "secrets" => {
                let namespace = self.namespace.as_deref().unwrap_or_default();
                format!(
                    "bind ClusterRole tidegate-secrets in namespace {namespace} (secrets.namespaces of the chart)"
                )
            }
            "leases" => format!("add {} to Role tidegate-leader", self.rule()),
            "endpointslices" => {
                format!("add {} to Role tidegate-api-server in namespace default", self.rule())
            }
            _ => format!("add {} to the role tidegate", self.rule()),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operator may not {} {}", self.verb, self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        write!(f, ": {}", self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_verb_resource_or_namespace_is_no_right() {
        let lacking = |verb: &str, resource: &str, group: &str, namespace: &str| {
            Right::lacking(&format!(
                r#"x is forbidden: User "u" cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}""#
            ))
        };
        let right = lacking("patch", "releases/status", "tidegate.dev", "shop").expect("a right");
        assert_eq!((right.resource.as_str(), right.namespace.as_deref()), ("releases/status", Some("shop")));
        let long = "x".repeat(LONGEST + 1);
        for odd in [long.as_str(), "two words", "\u{1b}[2J", "a\nb", "\u{202e}"] {
            assert_eq!(lacking(odd, "pods", "", "shop"), None, "{odd:?}");
            assert_eq!(lacking("list", odd, "", "shop"), None, "{odd:?}");
            assert_eq!(lacking("list", "pods", odd, "shop"), None, "{odd:?}");
            assert_eq!(lacking("list", "pods", "", odd), None, "{odd:?}");
        }
    }
}
