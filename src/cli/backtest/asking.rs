//! What is replayed and whom to ask for it: the Release from a file or the cluster, the Prometheus server as the Release or the flags
//! say. With a file and `--prometheus` no cluster is needed, and none is asked.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;

use super::Flags;
use super::spans::pods_of;
use crate::api::Release;
use crate::api::release::PrometheusSource;
use crate::cli::connect::{Cluster, Target, answer};
use crate::cli::terminal;
use crate::decide::needs::probed_paths;
use crate::observe::credentials;
use crate::observe::measure::history::PodsLike;
use crate::observe::measure::prometheus::{Auth, Prometheus};
use crate::observe::measure::{Trust, names};

/// Everything to begin with.
pub struct Asking {
    pub release: Release,
    pub prometheus: Prometheus,
    pub trust: Trust,
    pub pods: PodsLike,
    pub names: names::Names,
    /// What people should know about it.
    pub notes: Vec<String>,
}

/// Finds out.
///
/// # Errors
/// When there is no such Release, or nothing says whom to ask and how.
pub async fn asking(flags: &Flags, target: &Target) -> Result<Asking> {
    let mut notes = Vec::new();
    let mut cluster = None;
    let (release, template) = match (&flags.file, &flags.name) {
        (Some(file), name) => from_file(file, name.as_deref())?,
        (None, Some(name)) => {
            let connected = cluster.insert(Cluster::connect(target).await?);
            let release = connected.release(name).await?;
            let deployments: Api<Deployment> = connected.api();
            let deployment = answer(deployments.get_opt(&release.spec.target_ref.name)).await?;
            let template =
                deployment.and_then(|deployment| serde_json::to_value(deployment.spec?.template).ok());
            (release, template)
        }
        (None, None) => bail!("which Release? name one, or write -f release.yaml"),
    };
    let metrics = release.spec.metrics.clone().unwrap_or_default();
    if let (None, Some(source)) = (&flags.prometheus, &metrics.prometheus) {
        say_who_has_no_token(flags, &source.url);
    }
    let (prometheus, trust) = match (&flags.prometheus, &metrics.prometheus) {
        (Some(url), _) => by_flags(url, flags, terminal::environment(TOKEN))?,
        (None, Some(source)) if flags.say_how() || !names_objects(source) => {
            let (by_flags, trust) = by_flags(&source.url, flags, None)?;
            let mut headers: Vec<_> =
                source.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
            headers.extend(by_flags.headers);
            (Prometheus { headers, ..by_flags }, trust)
        }
        (None, Some(source)) => {
            let connected = match &cluster {
                Some(connected) => connected,
                None => cluster.insert(Cluster::connect(target).await.context(
                    "metrics.prometheus names a Secret or ConfigMap: write --prometheus URL and its credentials to do without the cluster",
                )?),
            };
            let namespace = release.metadata.namespace.as_ref().unwrap_or(&connected.namespace);
            credentials::way(&connected.client, namespace, source).await.map_err(|error| {
                anyhow!("{error} (read with your rights; or write --token-file, --user or --ca)")
            })?
        }
        (None, None) => bail!(
            "release {} does not say where a Prometheus is (metrics.prometheus.url): write --prometheus URL; the pods' own /metrics know no past",
            release.metadata.name.as_deref().unwrap_or_default()
        ),
    };
    let namespace = target
        .namespace
        .clone()
        .or_else(|| release.metadata.namespace.clone())
        .or_else(|| cluster.as_ref().map(|cluster| cluster.namespace.clone()))
        .ok_or_else(|| anyhow!("which namespace? write -n NAMESPACE: the file does not say"))?;
    let pattern = flags.pods.clone().unwrap_or_else(|| pods_of(&release.spec.target_ref.name));
    let mut ignore_paths = metrics.ignore_paths;
    match &template {
        Some(template) => ignore_paths.extend(probed_paths(template)),
        None => notes.push(
            "paths of the pods' probes are not known without their Deployment (from the cluster, or in the same file): name those that are not usual as metrics.ignorePaths".to_owned(),
        ),
    }
    ignore_paths.sort();
    ignore_paths.dedup();
    let names = names::Names {
        requests: metrics.requests.map(|requests| names::RequestsMetric {
            name: requests.name,
            status_label: requests.status_label,
        }),
        latency: metrics.latency.map(|latency| names::LatencyMetric { name: latency.name }),
        ignore_paths,
    };
    Ok(Asking { release, prometheus, trust, pods: PodsLike { namespace, pattern }, names, notes })
}

fn names_objects(source: &PrometheusSource) -> bool {
    source.auth.is_some() || source.ca.is_some()
}

/// The Release of a file, and its Deployment's template if that is there too.
fn from_file(path: &Path, name: Option<&str>) -> Result<(Release, Option<Value>)> {
    let shown = path.display().to_string();
    let text = terminal::read_text(path)?;
    release_in(&text, &shown, name)
}

/// The same from a file's text. `shown`: how the file is called.
///
/// # Errors
/// When it is no YAML, or so much of it that nobody wrote it, or which Release is meant cannot be told.
pub fn release_in(text: &str, shown: &str, name: Option<&str>) -> Result<(Release, Option<Value>)> {
    let documents = serde_saphyr::from_multiple::<Value>(text)
        .with_context(|| format!("{shown} is not YAML, or too much of it"))?;
    let wanted = |document: &&Value| {
        document["kind"] == "Release" && name.is_none_or(|name| document["metadata"]["name"] == name)
    };
    let found: Vec<&Value> = documents.iter().filter(wanted).collect();
    let release = match found.as_slice() {
        [one] => (*one).clone(),
        [] => {
            bail!("there is no Release{} in {shown}", name.map(|name| format!(" {name}")).unwrap_or_default())
        }
        _ => bail!("there are several Releases in {shown}: name one"),
    };
    let release: Release =
        serde_json::from_value(release).with_context(|| format!("{shown}: not a Release"))?;
    let target = &release.spec.target_ref.name;
    let is_target = |document: &&Value| {
        document["kind"] == "Deployment" && document["metadata"]["name"] == target.as_str()
    };
    let template = documents.iter().find(is_target).map(|found| found["spec"]["template"].clone());
    Ok((release, template))
}

impl Flags {
    /// Whether they say how to speak to the server.
    fn say_how(&self) -> bool {
        self.say_who() || self.ca.is_some()
    }

    /// Whether they say who asks.
    fn say_who(&self) -> bool {
        self.token_file.is_some() || self.user.is_some()
    }
}

/// Environment variables: what is secret is not written on a command line.
const TOKEN: &str = "PROMETHEUS_TOKEN";
const PASSWORD: &str = "PROMETHEUS_PASSWORD";

/// The token of the environment is for a server that is named beside it. A Release may name any, and who has written it is not who asks.
fn say_who_has_no_token(flags: &Flags, url: &str) {
    if flags.say_who() || terminal::environment(TOKEN).is_none() {
        return;
    }
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_else(|| "the server".to_owned());
    terminal::complain(&format!(
        "{TOKEN} is not sent to {host}, which the Release names: if it is for that server, write --prometheus URL"
    ));
}

/// `token`: of the environment.
fn by_flags(url: &str, flags: &Flags, token: Option<String>) -> Result<(Prometheus, Trust)> {
    if url.split("//").nth(1).unwrap_or(url).split('/').next().is_some_and(|host| host.contains('@')) {
        bail!("no user in the URL of Prometheus: write --user NAME, and the password as {PASSWORD}");
    }
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let auth = match (&flags.token_file, &flags.user) {
        (Some(file), _) => {
            let token = String::from_utf8(read(file)?).context("the token is not UTF-8")?;
            Auth::Bearer(token.trim().to_owned())
        }
        (None, Some(user)) => Auth::Basic {
            user: user.clone(),
            password: terminal::environment(PASSWORD)
                .ok_or_else(|| anyhow!("write the password of --user as {PASSWORD} into the environment"))?,
        },
        (None, None) => token.map_or(Auth::Nobody, Auth::Bearer),
    };
    let trust = match &flags.ca {
        Some(file) => Trust::Only(read(file)?),
        None if url.starts_with("https:") => Trust::System,
        None => Trust::Nothing,
    };
    Ok((Prometheus { url: url.to_owned(), auth, headers: flags.headers.clone() }, trust))
}
