//! What a Release names for its Prometheus server, and for those whom it tells things: Secrets and ConfigMaps of its own namespace, read by
//! name. What is in them goes into the requests to those servers and nowhere else: messages name objects and keys.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::measure::prometheus::{Auth, Prometheus};
use super::measure::{ReadError, Trust};
use crate::api::Right;
use crate::api::release::{CaSource, PrometheusAuth, PrometheusSource};
use crate::api::text::is_object_name;

/// For each object.
const DEADLINE: Duration = Duration::from_secs(5);

/// The way to a server.
///
/// # Errors
/// [`ReadError::Credentials`], with the field that names what is missing.
pub async fn way(
    client: &Client,
    namespace: &str,
    source: &PrometheusSource,
) -> Result<(Prometheus, Trust), ReadError> {
    let PrometheusSource { url, auth, ca, headers, scrape_interval: _ } = source;
    let auth = match auth {
        None => Auth::Nobody,
        Some(PrometheusAuth { bearer: Some(bearer), .. }) => {
            let object = Object::secret("metrics.prometheus.auth.bearer", &bearer.secret);
            let data = object.read(client, namespace).await?;
            Auth::Bearer(object.header_text(&data, &bearer.key)?)
        }
        Some(PrometheusAuth { basic: Some(basic), .. }) => {
            let object = Object::secret("metrics.prometheus.auth.basic", &basic.secret);
            let data = object.read(client, namespace).await?;
            let text = |key| object.text(&data, key);
            Auth::Basic { user: text("username")?, password: text("password")? }
        }
        Some(PrometheusAuth { bearer: None, basic: None }) => {
            return Err(lacking("metrics.prometheus.auth", "write bearer or basic".to_owned()));
        }
    };
    let trust = match ca {
        Some(ca) => Trust::Only(authorities(client, namespace, "metrics.prometheus.ca", ca).await?),
        None if url.starts_with("https:") => Trust::System,
        None => Trust::Nothing,
    };
    let headers = headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
    Ok((Prometheus { url: url.clone(), auth, headers }, trust))
}

/// A text of a Secret that fits into a header or a URL. `field`: the one that names it.
///
/// # Errors
/// [`ReadError::Credentials`], as everywhere here.
pub async fn token(
    client: &Client,
    namespace: &str,
    field: &'static str,
    secret: &str,
    key: &str,
) -> Result<String, ReadError> {
    let object = Object::secret(field, secret);
    object.header_text(&object.read(client, namespace).await?, key)
}

/// User and password, of a Secret as in type kubernetes.io/basic-auth.
///
/// # Errors
/// As [`token`].
pub async fn login(
    client: &Client,
    namespace: &str,
    field: &'static str,
    secret: &str,
) -> Result<(String, String), ReadError> {
    let object = Object::secret(field, secret);
    let data = object.read(client, namespace).await?;
    Ok((object.text(&data, "username")?, object.text(&data, "password")?))
}

/// Certificates in PEM.
///
/// # Errors
/// As [`token`].
pub async fn authorities(
    client: &Client,
    namespace: &str,
    field: &'static str,
    ca: &CaSource,
) -> Result<Vec<u8>, ReadError> {
    let CaSource { secret, config_map, key } = ca;
    let object = match (secret, config_map) {
        (Some(name), _) => Object::secret(field, name),
        (None, Some(name)) => Object { field, kind: Kind::ConfigMap, name },
        (None, None) => return Err(lacking(field, "write secret or configMap".to_owned())),
    };
    object.bytes(&object.read(client, namespace).await?, key)
}

fn lacking(field: &'static str, problem: String) -> ReadError {
    ReadError::Credentials { field, problem, lasting: true }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
}

/// An object that a field names.
struct Object<'a> {
    field: &'static str,
    kind: Kind,
    name: &'a str,
}

type Data = std::collections::BTreeMap<String, Vec<u8>>;

impl<'a> Object<'a> {
    fn secret(field: &'static str, name: &'a str) -> Self {
        Object { field, kind: Kind::Secret, name }
    }

    async fn read(&self, client: &Client, namespace: &str) -> Result<Data, ReadError> {
        let Object { field, kind, name } = *self;
        let found = async {
            Ok::<Option<Data>, kube::Error>(match kind {
                Kind::Secret => {
                    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
                    let found = api.get_opt(name).await?;
                    found.map(|secret| {
                        secret
                            .data
                            .unwrap_or_default()
                            .into_iter()
                            .map(|(key, value)| (key, value.0))
                            .collect()
                    })
                }
                Kind::ConfigMap => {
                    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
                    let found = api.get_opt(name).await?;
                    found.map(|map| {
                        let text = map.data.unwrap_or_default();
                        text.into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
                    })
                }
            })
        };
        let what = self.what();
        if !is_object_name(name) {
            return Err(lacking(field, format!("{what} cannot be: write the name of one")));
        }
        let unread = |why: &str| ReadError::Credentials {
            field,
            problem: format!("{what} could not be read: {why}; it is tried again"),
            lasting: false,
        };
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(Ok(Some(data))) => Ok(data),
            Ok(Ok(None)) => Err(lacking(
                field,
                format!("there is no {what} in namespace {namespace}: create it, or name another"),
            )),
            Ok(Err(error)) => match Right::within(&error) {
                Some(right) => {
                    Err(lacking(field, format!("the operator may not read {what}: {}", right.remedy())))
                }
                None => Err(unread("the API server gave an error")),
            },
            Err(_) => Err(unread("the API server did not answer")),
        }
    }

    fn what(&self) -> String {
        let kind = match self.kind {
            Kind::Secret => "secret",
            Kind::ConfigMap => "configmap",
        };
        format!("{kind} {}", self.name)
    }

    fn bytes(&self, data: &Data, key: &str) -> Result<Vec<u8>, ReadError> {
        let found = data.get(key).filter(|value| !value.is_empty()).cloned();
        found.ok_or_else(|| {
            lacking(self.field, format!("{} has no key {key}, or it is empty: put it there", self.what()))
        })
    }

    /// Without the line break that many editors leave at the end.
    fn text(&self, data: &Data, key: &str) -> Result<String, ReadError> {
        let text = String::from_utf8(self.bytes(data, key)?)
            .map_err(|_| lacking(self.field, format!("{}, key {key} is not UTF-8", self.what())))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// A text that a header can hold.
    fn header_text(&self, data: &Data, key: &str) -> Result<String, ReadError> {
        let text = self.text(data, key)?;
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(text);
        }
        let problem = format!("{}, key {key} is no token: it has blanks or line breaks in it", self.what());
        Err(lacking(self.field, problem))
    }
}
