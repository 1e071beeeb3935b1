//! The way to the API server: which cluster, as whom, how long to wait, and what a failure means in a sentence.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Api, Client, Config, ResourceExt};

use super::view::plain;
use crate::api::Release;

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Where to connect to, as the flags say.
#[derive(clap::Args, Clone, Debug)]
pub struct Target {
    /// Namespace of the Release; default: the context's
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Path of the kubeconfig; default: KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Somebody to act as (impersonation)
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
}

/// A connection, and the namespace that is meant.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// When there is no usable kubeconfig. That the API server answers is not known yet.
    pub async fn connect(target: &Target) -> Result<Self> {
        let Target { namespace, context, kubeconfig, as_user } = target;
        let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
        let found = match kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        let mut config = match found {
            Ok(config) => config,
            // In a pod there is none, and none is needed.
            Err(_)
                if kubeconfig.is_none()
                    && context.is_none()
                    && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() =>
            {
                Config::incluster().context("the service account of this pod cannot be used")?
            }
            Err(error) => bail!("no cluster to talk to: {error}: see KUBECONFIG, --kubeconfig and --context"),
        };
        // A second try of a create would be a second action: whoever runs this decides.
        config.default_retry = false;
        config.connect_timeout = Some(DEADLINE);
        if as_user.is_some() {
            config.auth_info.impersonate.clone_from(as_user);
        }
        let namespace = namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, namespace })
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Release of that name.
    ///
    /// # Errors
    /// When there is none (the sentence says which there are), or no answer.
    pub async fn release(&self, name: &str) -> Result<Release> {
        if let Some(release) = answer(self.api::<Release>().get_opt(name)).await? {
            return Ok(release);
        }
        let others = answer(self.api::<Release>().list(&ListParams::default().limit(20))).await?;
        let names: Vec<String> = others.items.iter().map(ResourceExt::name_any).collect();
        let namespace = &self.namespace;
        if names.is_empty() {
            bail!(
                "no release {name} in namespace {namespace}, nor any other: kubectl tidegate status -A lists all there are"
            );
        }
        bail!("no release {name} in namespace {namespace}: there is {}", names.join(", "))
    }
}

/// Waits for an answer, but not for ever, and makes its failure a sentence.
///
/// # Errors
/// What the API server says, or why it says nothing.
pub async fn answer<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => answer.map_err(explain),
        Err(_) => bail!(
            "the API server did not answer within {} s: does kubectl get --raw /readyz?",
            DEADLINE.as_secs()
        ),
    }
}

/// The sentence of a failed call. The API server's own words where there are any; the [`Status`] stays in the chain.
pub fn explain(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => refusal(*status),
        other => {
            let cause = anyhow::Error::new(other);
            anyhow!("cannot reach the API server: {}", plain(&cause.root_cause().to_string()))
        }
    }
}

/// An answer of the API server that is no success.
pub fn refusal(status: Status) -> anyhow::Error {
    let message = plain(status.message.trim());
    let sentence = match status.code {
        404 if message.starts_with("404 page not found") || message.contains("could not find the requested resource") => {
            "this cluster does not know Releases: install Tidegate's CRDs (tidegate crds | kubectl apply -f -)".to_owned()
        }
        401 => format!("the API server does not know who you are: {message}: log in again, or choose another --context"),
        _ => message,
    };
    anyhow::Error::new(Answered(status)).context(sentence)
}

/// The API server's answer, kept for those who want to know its code.
#[derive(Debug, thiserror::Error)]
#[error("{} {}", .0.code, .0.reason)]
pub struct Answered(pub Status);

/// The HTTP code of the API server's answer, when there was one.
pub fn code(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Answered>().map(|answered| answered.0.code)
}
