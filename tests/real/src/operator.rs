//! The operator as a process of its own, under its own ServiceAccount's token: what it may not do in a cluster it may not do here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use kube::config::{AuthInfo, Context as KubeContext, Kubeconfig, NamedAuthInfo, NamedContext};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::cluster::{Cluster, repository, scratch};

/// Namespace of the operator.
pub const NAMESPACE: &str = "tidegate-system";

/// One operator process.
pub struct Operator {
    child: Child,
    pub log: PathBuf,
    pub address: String,
    /// The kubeconfig with its token, where it was made for this process alone: removed with it.
    token: Option<PathBuf>,
}

impl Operator {
    /// Starts one. It leads as soon as nobody else does.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        Self::start_with(cluster, |_| {}).await
    }

    /// Starts one with further environment or flags.
    pub async fn start_with(cluster: &Cluster, more: impl FnOnce(&mut Command)) -> Result<Self> {
        let kubeconfig = kubeconfig(cluster, "tidegate").await?;
        let mut operator = Self::start_through(&kubeconfig, more).await?;
        operator.token = Some(kubeconfig);
        Ok(operator)
    }

    /// Starts one that reaches the API server through this kubeconfig.
    pub async fn start_through(kubeconfig: &Path, more: impl FnOnce(&mut Command)) -> Result<Self> {
        let operator = Self::launch(kubeconfig, more).await?;
        operator.until_ready().await?;
        Ok(operator)
    }

    /// The same, and does not wait until it is ready.
    pub async fn launch(kubeconfig: &Path, more: impl FnOnce(&mut Command)) -> Result<Self> {
        let port = free_port()?;
        let log = scratch()?.join(format!("operator-{}-{port}.log", std::process::id()));
        let address = format!("127.0.0.1:{port}");
        // Tests end without dropping what they share: the operator ends with the thread that started it, which is one of the
        // runtime's own and lives as long as the process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary("tidegate")?);
        command
            .args(["--listen", &address])
            // Pods of our own control plane are processes here.
            .arg("--allow-loopback")
            .env("TIDEGATE_KUBECONFIG", kubeconfig)
            .env("NO_COLOR", "1")
            .env("POD_NAMESPACE", NAMESPACE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true);
        more(&mut command);
        let child = tokio::spawn(async move { command.spawn() })
            .await?
            .context("cannot start the operator (with setpriv)")?;
        Ok(Self { child, log, address, token: None })
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// kill -9.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal("TERM").await?;
        tokio::time::timeout(Duration::from_secs(40), self.child.wait())
            .await
            .context("the operator did not stop")??;
        Ok(())
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid().context("the operator has ended")?.to_string();
        let done = Command::new("kill").args([&format!("-{signal}"), &pid]).status().await?;
        if !done.success() {
            bail!("kill -{signal} {pid} failed");
        }
        Ok(())
    }

    /// What one of its endpoints answers: whether it is well, and the text.
    pub async fn ask(&self, path: &str) -> Result<(bool, String)> {
        let answer = reqwest::get(format!("http://{}/{path}", self.address)).await?;
        Ok((answer.status().is_success(), answer.text().await?))
    }

    /// One of its counters, with these labels; 0 as long as there is none.
    pub async fn counter(&self, series: &str) -> Result<f64> {
        let (_, page) = self.ask("metrics").await?;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.map(str::parse).transpose()?.unwrap_or(0.0))
    }

    /// What it has written.
    pub fn read_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let pid = self.pid().context("the operator has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with(field)).context("no such field")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// What it says under this path: `/metrics`, `/readyz`.
    pub async fn says(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::new();
        Ok(client.get(format!("http://{}{path}", self.address)).send().await?.text().await?)
    }

    /// CPU time used so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        /// Clock ticks a second in /proc: 100 on every Linux.
        const TICKS: f64 = 100.0;
        let pid = self.pid().context("the operator has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').context("no stat")?.1;
        let mut fields = after_name.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let (user, system) = (ticks().context("no user time")?, ticks().context("no system time")?);
        Ok((user + system) / TICKS)
    }

    async fn until_ready(&self) -> Result<()> {
        let client = reqwest::Client::new();
        let asked = async {
            loop {
                let answer = client.get(format!("http://{}/readyz", self.address)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), asked).await.is_err() {
            bail!("the operator is not ready after 30 s:\n{}", self.read_log());
        }
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            let _gone_already = std::fs::remove_file(token);
        }
    }
}

/// A program of this workspace: built by the same cargo that built us, beside us.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found =
        own.ancestors().skip(1).take(3).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built: run cargo build --workspace ({})", repository().display())
    })
}

/// A kubeconfig with a token of an account in the operator's namespace: `tidegate` is the operator's own.
pub async fn kubeconfig(cluster: &Cluster, account: &str) -> Result<PathBuf> {
    let token = token(cluster, account).await?;
    write_private(&config(cluster, AuthInfo { token: Some(token.into()), ..AuthInfo::default() })?)
}

/// The same, and between the two is a proxy of our own cluster's (`POST /proxy`), which is told what to do by this name.
pub async fn kubeconfig_behind(cluster: &Cluster, proxy: &str) -> Result<PathBuf> {
    let token = token(cluster, "tidegate").await?;
    let user = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    write_private(&config_behind(cluster, proxy, user).await?)
}

/// The same with these credentials.
pub async fn config_behind(cluster: &Cluster, proxy: &str, user: AuthInfo) -> Result<Kubeconfig> {
    let mut config = config(cluster, user)?;
    let made: Value = serde_json::from_str(&cluster.control(&format!("proxy?name={proxy}")).await?)?;
    let server = made["server"].as_str().context("the proxy has no address")?;
    for named in &mut config.clusters {
        named.cluster.get_or_insert_default().server = Some(server.to_owned());
    }
    Ok(config)
}

/// A token of a ServiceAccount of the operator's namespace.
pub async fn token(cluster: &Cluster, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client("admin").await?, NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: Vec::new(),
            expiration_seconds: Some(24 * 3600),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("the token request has no answer")?.token)
}

/// A kubeconfig for the cluster with these credentials.
pub fn config(cluster: &Cluster, user: AuthInfo) -> Result<Kubeconfig> {
    let mut config = Kubeconfig::read_from(&cluster.kubeconfig)?;
    let current = config.current_context.clone().unwrap_or_default();
    let context = config
        .contexts
        .iter()
        .find(|context| context.name == current)
        .and_then(|named| named.context.clone());
    let context = context.context("the kubeconfig has no current context")?;
    config.auth_infos =
        vec![NamedAuthInfo { name: "operator".into(), auth_info: Some(user), ..NamedAuthInfo::default() }];
    config.contexts = vec![NamedContext {
        name: current,
        context: Some(KubeContext { user: Some("operator".into()), ..context }),
        ..NamedContext::default()
    }];
    Ok(config)
}

/// Writes a kubeconfig that only we can read.
pub fn write_private(config: &Kubeconfig) -> Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = scratch()?.join(format!("operator-{}.kubeconfig", unique()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    serde_json::to_writer(file, config)?;
    Ok(path)
}

fn free_port() -> Result<u16> {
    // Who was given one before may not listen yet.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}

/// A number that no other in this process has, with the process's own.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
