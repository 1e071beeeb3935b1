//! The environments before production: in each a Deployment and its Release, through which a version goes in their order, as in production
//! but without people. Production reads the records of that (`promotion`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::{Outcome, Release};

use super::Runbook;
use super::course::known;
use crate::cluster::client_as;
use crate::stage;

/// The longest that a version may take in one of them.
const PATIENCE: Duration = Duration::from_secs(180);

/// The environments of one runbook, in the order in which a version goes through them.
pub struct Upstream {
    runbook: &'static str,
    releases: Vec<Api<Release>>,
    /// Namespaces, in the same order.
    namespaces: Vec<String>,
    release_name: String,
    /// The account of CI.
    deployer: Client,
    began: Instant,
}

impl Upstream {
    /// Those of `upstream.yaml`, none where there is no such file. They have been applied.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn of(
        runbook: &Runbook,
        name: &'static str,
        kubeconfig: &std::path::Path,
        began: Instant,
    ) -> Result<Self> {
        let account = format!("system:serviceaccount:{}:deployer", runbook.namespace());
        let deployer = client_as(kubeconfig, &account).await?;
        let namespaces: Vec<String> = runbook
            .upstream
            .iter()
            .filter(|document| document["kind"] == "Release")
            .filter_map(|release| release["metadata"]["namespace"].as_str().map(str::to_owned))
            .collect();
        let releases = namespaces.iter().map(|namespace| Api::namespaced(deployer.clone(), namespace));
        Ok(Self {
            runbook: name,
            releases: releases.collect(),
            namespaces,
            release_name: runbook.release_name().to_owned(),
            deployer,
            began,
        })
    }

    /// Ships a version through all of them, and waits in each until it has ended well.
    ///
    /// # Errors
    /// When it ends otherwise, or not at all.
    pub async fn release(&self, documents: &[Value]) -> Result<()> {
        for (releases, namespace) in self.releases.iter().zip(&self.namespaces) {
            let before = self.last_run(releases).await?.map_or(0, |(number, _)| number);
            for document in documents.iter().filter(|document| document["kind"] == "Deployment") {
                let mut document = document.clone();
                document["metadata"]["namespace"] = json!(namespace);
                known(|| async { stage::apply(&self.deployer, &document, "version").await.map(|_| ()) })
                    .await?;
            }
            let ended = async {
                loop {
                    match self.last_run(releases).await? {
                        Some((number, outcome)) if number > before => return anyhow::Ok(outcome),
                        _ => tokio::time::sleep(Duration::from_millis(200)).await,
                    }
                }
            };
            let Ok(ended) = tokio::time::timeout(PATIENCE, ended).await else {
                let status = releases.get(&self.release_name).await?.status.unwrap_or_default();
                bail!("{namespace}: has not ended: {:?}, blocked by {:?}", status.phase, status.blocked_by);
            };
            let outcome = ended.with_context(|| namespace.clone())?;
            if outcome != Outcome::Succeeded {
                bail!("{namespace}: ended as {outcome:?}");
            }
            let seconds = self.began.elapsed().as_secs_f64();
            println!("{seconds:6.1} s  {:<20} it has ended well in {namespace}", self.runbook);
        }
        Ok(())
    }

    async fn last_run(&self, releases: &Api<Release>) -> Result<Option<(i64, Outcome)>> {
        let status = releases.get(&self.release_name).await?.status.unwrap_or_default();
        Ok(status.last_run.map(|last| (last.number, last.outcome)))
    }

    /// Waits until the operator has taken all of them up.
    ///
    /// # Errors
    /// When it does not.
    pub async fn until_adopted(&self) -> Result<()> {
        for (releases, namespace) in self.releases.iter().zip(&self.namespaces) {
            let adopted = async {
                while releases
                    .get(&self.release_name)
                    .await?
                    .status
                    .and_then(|status| status.stable)
                    .is_none()
                {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(Duration::from_secs(60), adopted)
                .await
                .with_context(|| format!("{namespace}: the operator does not take up the Release"))??;
        }
        Ok(())
    }
}
