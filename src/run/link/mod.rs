//! The link to the API server: clients whose every request has an end (`patience`), and what is known of how it answers (`answers`).
//!
//! Nothing is repeated here: a write that failed is decided on anew, a watch goes on by itself.

mod answers;
mod patience;
#[cfg(test)]
mod tests;
mod under_way;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::{HeaderName, HeaderValue};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};
use tower_http::decompression::DecompressionLayer;

use super::Settings;
use crate::observe::reach::ApiServer;
use crate::report::Metrics;
pub use answers::Answers;
pub use patience::Patience;
pub use under_way::UnderWay;

/// How long the kernel goes on sending what the other side does not acknowledge. It is what lies between the end of our fence and the
/// end of our lease: what was written just before the fence ended has reached the API server by then, or never will.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// The link to one API server.
pub struct Link {
    config: Config,
    patience: Patience,
    pub answers: Arc<Answers>,
    pub runs: Arc<UnderWay>,
}

impl Link {
    /// The cluster that we run in, or that a kubeconfig names.
    ///
    /// # Errors
    /// When it names none.
    pub async fn find(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let mut config = match &settings.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
                let authority = authority_file(&read);
                let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
                // Read again every minute, as in a cluster: authorities change.
                config.root_cert_file = authority;
                config
            }
            None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Config::incluster()?,
            None => Config::infer().await.context("no cluster: neither in one nor a kubeconfig")?,
        };
        anyhow::ensure!(
            config.proxy_url.is_none(),
            "a proxy to the API server is not supported: take proxy-url out"
        );
        // The API server's audit log says which of the replicas it was.
        let agent = format!("tidegate/{} ({})", env!("CARGO_PKG_VERSION"), settings.identity());
        let agent = HeaderValue::try_from(agent).context("the identity is not fit for a header")?;
        config.headers.push((HeaderName::from_static("user-agent"), agent));
        let (answers, runs) = (Arc::new(Answers::default()), Arc::new(UnderWay::default()));
        let patience = Patience::new(answers.clone(), runs.follow(), metrics);
        Ok(Self { config, patience, answers, runs })
    }

    /// Where the API server is, so that no Release can send us there. What it says of itself is asked for once; without an answer the
    /// rest must do. Its other replicas are watched (`watch::api_server`).
    pub async fn api_server(&self, client: &Client) -> ApiServer {
        let service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
        let said = tokio::time::timeout(Duration::from_secs(5), client.list_core_api_versions()).await;
        let advertised = match said {
            Ok(Ok(said)) => {
                said.server_address_by_client_cidrs.into_iter().map(|one| one.server_address).collect()
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        ApiServer::known(&self.config.cluster_url.to_string(), service.as_deref(), &advertised)
    }

    /// A client with connections of its own.
    ///
    /// # Errors
    /// When the credentials or authorities cannot be used.
    pub fn client(&self) -> anyhow::Result<Client> {
        let Self { config, patience, answers: _, runs: _ } = self;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(UNACKNOWLEDGED));
        connector.set_keepalive(Some(UNACKNOWLEDGED));
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let connector = config.rustls_https_connector_with_connector(connector)?;
        let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(DecompressionLayer::new().gzip(!config.disable_compression))
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(client);
        Ok(ClientBuilder::new(service, config.default_namespace.clone()).with_layer(patience).build())
    }
}

/// The file that a kubeconfig names for the cluster that it means, where nothing in it comes before.
fn authority_file(kubeconfig: &Kubeconfig) -> Option<PathBuf> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?;
    let wanted = &context.context.as_ref()?.cluster;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == *wanted)?.cluster.as_ref()?;
    if cluster.certificate_authority_data.is_some() {
        return None;
    }
    cluster.certificate_authority.as_ref().map(PathBuf::from)
}
