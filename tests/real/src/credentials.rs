//! Credentials of an operator that lie in files, as in a pod, and change under it: a token of its own ServiceAccount, and the cluster's
//! authority. On a cluster of one's own only: the account is everybody's.
//!
//! Also what makes the account's tokens void, and a token in a file alone, for who comes to the API server otherwise.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams};
use kube::config::AuthInfo;
use serde_json::{Value, json};

use crate::cluster::{Cluster, scratch};
use crate::operator::{NAMESPACE, config, token, unique, write_private};
use crate::stage;

/// The operator's own account: the admission policies know it by its name.
const ACCOUNT: &str = "tidegate";

/// A token of the operator's own account, in a file; gone when dropped.
pub struct TokenFile(pub PathBuf);

impl TokenFile {
    pub async fn begin(cluster: &Cluster) -> Result<Self> {
        let file = Self(scratch()?.join(format!("operator-{}.token", unique())));
        file.renew(cluster).await?;
        Ok(file)
    }

    /// A new one in its place.
    pub async fn renew(&self, cluster: &Cluster) -> Result<()> {
        Ok(std::fs::write(&self.0, token(cluster, ACCOUNT).await?)?)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

/// The account is made anew: its tokens are void, as soon as the API server has forgotten that it knew them (ten seconds).
pub async fn void(cluster: &Cluster) -> Result<()> {
    let client = cluster.client("admin").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    match accounts.delete(ACCOUNT, &DeleteParams::default()).await {
        // Tried again: deleted before, and not made yet.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => drop(other?),
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE},
    });
    stage::apply(&client, &account, "story").await.context("the account, made anew")?;
    Ok(())
}

/// Credentials in files; gone when dropped.
pub struct Credentials {
    /// Names the files of the other two.
    pub kubeconfig: PathBuf,
    token: TokenFile,
    authority: PathBuf,
}

impl Credentials {
    /// The first token and the first authority.
    pub async fn begin(cluster: &Cluster) -> Result<Self> {
        let token = TokenFile::begin(cluster).await?;
        let authority = scratch()?.join(format!("operator-{}.authority", unique()));
        let user = AuthInfo { token_file: Some(token.0.display().to_string()), ..AuthInfo::default() };
        let mut config = config(cluster, user)?;
        let server = rotate(cluster, &authority).await?;
        for named in &mut config.clusters {
            let cluster = named.cluster.get_or_insert_default();
            cluster.server = Some(server.clone());
            cluster.certificate_authority = Some(authority.display().to_string());
            cluster.certificate_authority_data = None;
        }
        let kubeconfig = write_private(&config)?;
        Ok(Self { kubeconfig, token, authority })
    }

    /// The API server is known by another authority from now on, and what was open is closed.
    pub async fn rotate_authority(&self, cluster: &Cluster) -> Result<()> {
        rotate(cluster, &self.authority).await.map(|_| ())
    }

    /// The account is made anew: its tokens are void. A new one is put in the place of the old.
    pub async fn renew(&self, cluster: &Cluster) -> Result<()> {
        void(cluster).await?;
        self.token.renew(cluster).await
    }
}

/// Where the API server is, under an authority that nobody has seen before and that is in the file now.
async fn rotate(cluster: &Cluster, file: &Path) -> Result<String> {
    let made: Value = serde_json::from_str(&cluster.control("front?name=operator").await?)?;
    std::fs::copy(made["ca"].as_str().context("no authority")?, file)?;
    Ok(made["server"].as_str().context("no address")?.to_owned())
}

impl Drop for Credentials {
    fn drop(&mut self) {
        for file in [&self.authority, &self.kubeconfig] {
            let _gone_already = std::fs::remove_file(file);
        }
    }
}
