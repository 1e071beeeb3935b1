//! Credentials of an operator that lie in files, as in a pod, and change under it: a ServiceAccount of its own with the operator's
//! rights, its token, and the cluster's authority. On our own cluster only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams};
use kube::config::AuthInfo;
use serde_json::{Value, json};

use crate::cluster::{Cluster, scratch};
use crate::operator::{NAMESPACE, config, token, write_private};
use crate::stage;

/// Credentials in files; gone when dropped.
pub struct Credentials {
    /// Names the files of the other two.
    pub kubeconfig: PathBuf,
    account: String,
    token: PathBuf,
    authority: PathBuf,
}

impl Credentials {
    /// Makes the account and its first token.
    pub async fn begin(cluster: &Cluster, account: &str) -> Result<Self> {
        let client = cluster.client("admin").await?;
        let subject = json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]);
        let role = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        for document in [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": NAMESPACE}}),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": account},
                "roleRef": role("ClusterRole", "tidegate"), "subjects": subject,
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": account, "namespace": NAMESPACE},
                "roleRef": role("Role", "tidegate-leader"), "subjects": subject,
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": account, "namespace": "default"},
                "roleRef": role("Role", "tidegate-api-server"), "subjects": subject,
            }),
        ] {
            stage::apply(&client, &document, "story").await?;
        }
        let directory = scratch()?;
        let [file, authority] =
            ["token", "authority"].map(|kind| directory.join(format!("{account}.{kind}")));
        std::fs::write(&file, token(cluster, account).await?)?;
        let user = AuthInfo { token_file: Some(file.display().to_string()), ..AuthInfo::default() };
        let mut config = config(cluster, user)?;
        let server = rotate(cluster, account, &authority).await?;
        for named in &mut config.clusters {
            let cluster = named.cluster.get_or_insert_default();
            cluster.server = Some(server.clone());
            cluster.certificate_authority = Some(authority.display().to_string());
            cluster.certificate_authority_data = None;
        }
        let kubeconfig = write_private(&config)?;
        Ok(Self { kubeconfig, account: account.to_owned(), token: file, authority })
    }

    /// The API server is known by another authority from now on, and what was open is closed.
    pub async fn rotate_authority(&self, cluster: &Cluster) -> Result<()> {
        rotate(cluster, &self.account, &self.authority).await.map(|_| ())
    }

    /// The account is made anew: its tokens are void. A new one is put in the place of the old.
    pub async fn renew(&self, cluster: &Cluster) -> Result<()> {
        let client = cluster.client("admin").await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        accounts.delete(&self.account, &DeleteParams::default()).await?;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.account, "namespace": NAMESPACE},
        });
        stage::apply(&client, &account, "story").await.context("the account, made anew")?;
        Ok(std::fs::write(&self.token, token(cluster, &self.account).await?)?)
    }
}

/// Where the API server is, under an authority that nobody has seen before and that is in the file now.
async fn rotate(cluster: &Cluster, name: &str, file: &Path) -> Result<String> {
    let made: Value = serde_json::from_str(&cluster.control(&format!("front?name={name}")).await?)?;
    std::fs::copy(made["ca"].as_str().context("no authority")?, file)?;
    Ok(made["server"].as_str().context("no address")?.to_owned())
}

impl Drop for Credentials {
    fn drop(&mut self) {
        for file in [&self.token, &self.authority, &self.kubeconfig] {
            let _gone_already = std::fs::remove_file(file);
        }
    }
}
