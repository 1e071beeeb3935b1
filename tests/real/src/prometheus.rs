//! A Prometheus of Debian's beside a story or a runbook, or by itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::cluster;
use crate::operator::unique;

/// A Prometheus with a scrape every second of the pods of one namespace, as `namespace` and `pod`, or of pages that stand for some.
pub struct Prometheus {
    child: Child,
    /// Where it answers, also after it was killed and started again.
    pub url: String,
    program: PathBuf,
    port: u16,
    follow: Option<tokio::task::JoinHandle<()>>,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts it, with nothing stored. `pages` are read besides pods: `http://127.0.0.1:9090/metrics`.
    ///
    /// # Errors
    /// When there is none, or it cannot be started.
    pub async fn start(client: &Client, namespace: &str, pages: &[String]) -> Result<Self> {
        let directory = directory()?;
        let targets = directory.join("targets.json");
        std::fs::write(&targets, "[]")?;
        let mut jobs = vec![
            json!({"job_name": "pods", "file_sd_configs": [{"files": [targets], "refresh_interval": "1s"}]}),
        ];
        for (number, page) in pages.iter().enumerate() {
            let (host, path) = page
                .strip_prefix("http://")
                .and_then(|page| page.split_once('/'))
                .with_context(|| format!("{page} is no page to read"))?;
            let path = format!("/{path}");
            let host = json!([{"targets": [host]}]);
            jobs.push(
                json!({"job_name": format!("page-{number}"), "metrics_path": path, "static_configs": host}),
            );
        }
        let mut prometheus = Self::with(directory, &json!(jobs)).await?;
        let pods = Api::namespaced(client.clone(), namespace);
        prometheus.follow = Some(tokio::spawn(follow(pods, namespace.to_owned(), targets)));
        Ok(prometheus)
    }

    /// Starts one that reads pages and asks no cluster: of each of these pods the one at `http://{host}/{pod}`.
    ///
    /// # Errors
    /// As above.
    pub async fn of_pages(host: &str, namespace: &str, pods: &[&str]) -> Result<Self> {
        let page = |pod: &&str| {
            let labels = json!({"namespace": namespace, "pod": pod, "__metrics_path__": format!("/{pod}")});
            json!({"targets": [host], "labels": labels})
        };
        let pages: Vec<Value> = pods.iter().map(page).collect();
        Self::with(directory()?, &json!([{"job_name": "pages", "static_configs": pages}])).await
    }

    async fn with(directory: PathBuf, jobs: &Value) -> Result<Self> {
        let program = cluster::prometheus().await?;
        let every = json!({"scrape_interval": "1s", "scrape_timeout": "1s"});
        let config = json!({"global": every, "scrape_configs": jobs});
        std::fs::write(directory.join("prometheus.yml"), config.to_string())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = spawn(&program, &directory, port)?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { child, url, program, port, follow: None, directory })
    }

    /// What it says to a query about a moment (unix seconds), as text.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn answer(&self, query: &str, at: i64) -> Result<String> {
        self.ask(&[("query", query), ("time", &at.to_string())]).await
    }

    async fn ask(&self, form: &[(&str, &str)]) -> Result<String> {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), form)?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(client.get(url).send().await?.text().await?)
    }

    /// The one number that a query gives; `None` when it gives none, or several.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn number(&self, query: &str) -> Result<Option<f64>> {
        let answer: Value = serde_json::from_str(&self.ask(&[("query", query)]).await?)?;
        let series = answer["data"]["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        let [series] = series else { return Ok(None) };
        Ok(series["value"][1].as_str().and_then(|number| number.parse().ok()))
    }

    /// Kills it.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again after it was killed, with what it had stored.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn revive(&mut self) -> Result<()> {
        self.child = spawn(&self.program, &self.directory, self.port)?;
        Ok(())
    }
}

/// A new one.
fn directory() -> std::io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("tidegate-prometheus-{}", unique()));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn spawn(program: &Path, directory: &Path, port: u16) -> std::io::Result<Child> {
    Command::new(program)
        .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some(follow) = &self.follow {
            follow.abort();
        }
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}

/// Writes what Prometheus would have discovered in a cluster.
async fn follow(pods: Api<Pod>, namespace: String, targets: PathBuf) {
    let mut written = Value::Null;
    loop {
        let found = pods.list(&ListParams::default()).await.map(|all| all.items).unwrap_or_default();
        let target = |pod: &Pod| {
            let address = pod.status.as_ref()?.pod_ip.as_ref()?;
            let labels = json!({"namespace": namespace, "pod": pod.name_any()});
            Some(json!({"targets": [format!("{address}:8080")], "labels": labels}))
        };
        let now = Value::Array(found.iter().filter_map(target).collect());
        let draft = targets.with_extension("draft");
        // What cannot be written is written in the next round.
        if now != written
            && std::fs::write(&draft, now.to_string())
                .and_then(|()| std::fs::rename(&draft, &targets))
                .is_ok()
        {
            written = now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
