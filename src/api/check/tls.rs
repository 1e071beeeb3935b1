//! `tls` checks: a certificate is what it should be, for long enough.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::Span;

/// A certificate: of a Secret, or the one that a host shows. Its chain is verified, and the chain must hold for servers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secret) != has(self.host)").message("tls needs one of: secret (of type kubernetes.io/tls), host"))]
#[x_kube(validation = Rule::new("has(self.host) || !has(self.port) && !has(self.serverName) && !has(self.minVersion)").message("port, serverName and minVersion are for a host: a Secret has none"))]
#[x_kube(validation = Rule::new("!has(self.ca) || has(self.ca.secret) != has(self.ca.configMap)").message("ca needs one of: secret, configMap"))]
pub struct TlsCheck {
    /// A Secret of type kubernetes.io/tls in the Release's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret: Option<String>,
    /// A host: a name or an address. A TLS connection is made and closed; nothing is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-fA-F:.]+$')").message(Message::Expression("\"'\" + self + \"' is no host: write shop.example.com or 10.0.0.1, and the port as port\"".into())))]
    pub host: Option<String>,
    /// Default: 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The name that the host is asked for. Default: `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub server_name: Option<String>,
    /// Names or addresses that it must be for (of *.example.com a name that it stands for). Default: `serverName`, or `host`; none for a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9.:-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// How long it must hold still. Default: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_validity: Option<Span>,
    /// The version of TLS that the host must agree to, or a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Who must have issued it. Default: one of the authorities that the operator's image knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<TlsAuthority>,
}

/// Certificates of authorities, in PEM, in the Release's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TlsAuthority {
    /// The name of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret: Option<String>,
    /// The name of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub config_map: Option<String>,
    /// The key in it. Default: ca.crt.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// A version of TLS.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}
