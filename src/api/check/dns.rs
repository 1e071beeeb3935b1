//! `dns` checks: a name has the records that it should have.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Records of a name. Exactly one of `values`, `pattern` and `absent`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.values), has(self.pattern), has(self.absent)].filter(x, x).size() == 1").message("dns needs exactly one of: values (all of them are there), pattern (a record matches), absent: true"))]
pub struct DnsCheck {
    /// The whole name: no domain is appended to it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9_*]([A-Za-z0-9_-]{0,62})[.])*[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})[.]?$')").message(Message::Expression("\"'\" + self + \"' is no DNS name: write _dmarc.example.com\"".into())))]
    pub name: String,
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// Records that must be there, written as in a zone: "10 mail.example.com" for MX, "0 issue \"letsencrypt.org\"" for CAA, the
    /// text without quotes for TXT. Others may be there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub values: Option<Vec<String>>,
    /// A regular expression that at least one record matches somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
    /// There must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("absent is true, or not written"))]
    pub absent: Option<bool>,
    /// Who is asked: an address, with or without a port. Default: the servers of the operator's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isIP(self) || self.matches('^([0-9.]+|\\\\[[0-9a-fA-F:.]+\\\\]):[0-9]{1,5}$')").message(Message::Expression("\"'\" + self + \"' is no address: write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53\"".into())))]
    pub server: Option<String>,
}

/// What kind of record.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
    #[serde(rename = "CNAME")]
    Cname,
    #[serde(rename = "TXT")]
    Txt,
    #[serde(rename = "MX")]
    Mx,
    #[serde(rename = "NS")]
    Ns,
    #[serde(rename = "CAA")]
    Caa,
    #[serde(rename = "SRV")]
    Srv,
    #[serde(rename = "PTR")]
    Ptr,
}
