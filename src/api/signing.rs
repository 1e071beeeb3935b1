//! Signatures: in which roles they are given, and those that are no approval of a change: what somebody attests, and who is asked before an undo.
//!
//! A role is an RBAC subresource, as in an approval: `releases/qa-manager`, with the verb `attest` or `approve`.

use std::borrow::Cow;
use std::ops::Deref;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::text::Span;

/// Roles that may sign.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct Roles(pub Vec<String>);

impl Deref for Roles {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl JsonSchema for Roles {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Roles".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "x-kubernetes-list-type": "set", "minItems": 1, "maxItems": 8,
            "items": {"type": "string", "minLength": 1, "maxLength": 63},
        })
    }
}

/// A sentence that somebody attests, and with what reason. As long as nobody has, it is Unknown: not passed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AttestCheck {
    /// What is attested: The rollback was rehearsed on staging.
    #[schemars(length(min = 1, max = 512))]
    pub text: String,
    /// Roles, one of which it is attested in: RBAC subresources, such as `releases/qa-manager`, with the verb `attest`.
    pub roles: Roles,
    /// Where it says how to find out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    pub link: Option<String>,
    /// Whoever changed the template may attest it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_author: bool,
    /// How long it counts before the first pod, from when it was said. Default: as long as what is released has not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Span>,
}

/// Who is asked before an undo that nobody has said, and how long.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.quorum <= self.roles.size() || self.roles.size() == 1").message("quorum is more than the roles that can sign"))]
#[x_kube(validation = Rule::new("!has(self.timeout) || !self.timeout.matches('^([0-9]{1,6}[hms])+$') || duration(self.timeout) <= duration('15m')").message("timeout is at most 15m: an undo waits no longer for anybody"))]
pub struct UndoApproval {
    /// Roles that may agree to it, or refuse it: RBAC subresources with the verb `approve`.
    pub roles: Roles,
    /// How many different people must agree, each in a role of the list. With several roles each for another role. One refusal is enough.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 8))]
    pub quorum: i32,
    /// How long they are asked; then it goes back without them. At most 15m. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

fn one() -> i32 {
    1
}
