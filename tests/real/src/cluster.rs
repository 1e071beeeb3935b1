//! A control plane: our own program (`tests/cluster`), started as a child that ends with us, or a cluster of the user's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub process_nodes: u32,
    pub paper_nodes: u32,
    /// Images and the commands that they stand for on process nodes.
    pub images: Vec<(String, String)>,
    /// An older API server: `1.34` serves no mutating policies.
    pub emulate: Option<String>,
    /// The kubeconfig of an administrator of another cluster: only nodes are started, and join it.
    pub join: Option<PathBuf>,
    /// Where the API server writes its audit log.
    pub audit: Option<PathBuf>,
    /// How long a node may say nothing, as `40s`; without it a lost one is noticed within seconds.
    pub silent_nodes: Option<&'static str>,
}

/// A cluster.
pub struct Cluster {
    /// Ends when dropped: its stdin closes.
    child: Option<Child>,
    pub kubeconfig: PathBuf,
    users: BTreeMap<String, PathBuf>,
    /// Address of our own cluster's controls.
    control: Option<String>,
    pub pids: BTreeMap<String, i32>,
    /// What our own control plane has written.
    log: Option<PathBuf>,
}

impl Cluster {
    /// Brings up our own control plane; builds it first where it is not cached.
    pub async fn start(options: &Options) -> Result<Self> {
        let binary = binary().await?;
        let mut command = Command::new(binary);
        command.arg("up");
        command.args(["--process-nodes", &options.process_nodes.to_string()]);
        command.args(["--paper-nodes", &options.paper_nodes.to_string()]);
        for (image, run) in &options.images {
            command.args(["--image", &format!("{image}={run}")]);
        }
        if let Some(version) = &options.emulate {
            command.args(["--emulate", version]);
        }
        if let Some(audit) = &options.audit {
            command.arg("--audit").arg(audit);
        }
        if let Some(patience) = options.silent_nodes {
            command.args(["--silent-nodes", patience]);
        }
        if let Some(kubeconfig) = &options.join {
            command.arg("--join").arg(kubeconfig);
        }
        let log = scratch()?.join(format!("cluster-{}.log", std::process::id()));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the control plane")?;
        let stdout = child.stdout.take().context("the control plane has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let Some(line) = lines.next_line().await? else {
            bail!("the control plane ended before it was ready")
        };
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("not what a control plane says: {line}"))?;
        let path = |value: &Value| PathBuf::from(value.as_str().unwrap_or_default());
        let users = said["kubeconfigs"].as_object().cloned().unwrap_or_default();
        let pids = said["pids"].as_object().cloned().unwrap_or_default();
        Ok(Self {
            child: Some(child),
            kubeconfig: path(&said["kubeconfig"]),
            log: Some(log),
            users: users.iter().map(|(name, file)| (name.clone(), path(file))).collect(),
            control: said["control"].as_str().map(str::to_owned),
            pids: pids
                .iter()
                .filter_map(|(name, pid)| Some((name.clone(), i32::try_from(pid.as_i64()?).ok()?)))
                .collect(),
        })
    }

    /// A cluster of the user's own.
    pub fn of(kubeconfig: &Path) -> Self {
        let kubeconfig = kubeconfig.to_owned();
        Self {
            child: None,
            kubeconfig,
            users: BTreeMap::new(),
            control: None,
            pids: BTreeMap::new(),
            log: None,
        }
    }

    /// Ends our own control plane, with all its pods, and forgets its log. Nothing happens to a cluster of the user's.
    pub async fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // It ends with its stdin.
        drop(child.stdin.take());
        tokio::time::timeout(std::time::Duration::from_secs(20), child.wait())
            .await
            .context("the control plane did not stop")??;
        if let Some(log) = &self.log {
            std::fs::remove_file(log)?;
        }
        Ok(())
    }

    /// Where its API server is.
    pub fn server(&self) -> Result<String> {
        let config = Kubeconfig::read_from(&self.kubeconfig)?;
        let cluster = config.clusters.into_iter().find_map(|named| named.cluster?.server);
        cluster.context("the kubeconfig has no cluster")
    }

    /// Whether it is ours to disturb.
    pub fn is_ours(&self) -> bool {
        self.child.is_some()
    }

    /// A client as this user, in whose place `admin` speaks when the cluster has no such user.
    pub async fn client(&self, user: &str) -> Result<Client> {
        match self.users.get(user) {
            Some(file) => client(file).await,
            None if user == "admin" => client(&self.kubeconfig).await,
            None => client_as(&self.kubeconfig, user).await,
        }
    }

    /// A client in the place of this user, with an administrator's rights.
    pub async fn client_in_place_of(&self, user: &str) -> Result<Client> {
        in_place_of(&self.kubeconfig, user, Some(vec!["system:masters".to_owned()])).await
    }

    /// Sends one of our own cluster's controls: `nodes/process-1/lose`.
    pub async fn control(&self, what: &str) -> Result<String> {
        let base = self.control.as_ref().context("only our own cluster can be told things")?;
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let response = reqwest::Client::new().post(format!("{base}/{what}")).send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{what}: {status} {text}");
        }
        Ok(text)
    }
}

/// A client for a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let read = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A client for a kubeconfig whose user speaks in the place of another one.
///
/// # Errors
/// When the kubeconfig cannot be used.
pub async fn client_as(kubeconfig: &Path, user: &str) -> Result<Client> {
    in_place_of(kubeconfig, user, None).await
}

async fn in_place_of(kubeconfig: &Path, user: &str, groups: Option<Vec<String>>) -> Result<Client> {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let read = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = groups;
    Ok(Client::try_from(config)?)
}

/// The control plane's program. Its build says on stderr how far it is.
async fn binary() -> Result<PathBuf> {
    script("tests/cluster/build.sh").await
}

/// A Prometheus: the machine's own, or one that is fetched once.
pub async fn prometheus() -> Result<PathBuf> {
    script("tests/prometheus/get.sh").await
}

/// A real SMTP server, built once.
pub async fn mail() -> Result<PathBuf> {
    script("tests/mail/build.sh").await
}

/// The path that a script prints. What it does meanwhile it says on stderr.
async fn script(path: &str) -> Result<PathBuf> {
    let script = repository().join(path);
    let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        bail!("{path} failed");
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// `kubectl` of our own cluster program, beside it.
pub async fn kubectl() -> Result<PathBuf> {
    Ok(binary().await?.with_file_name("kubectl"))
}

/// Where logs and tokens of a run lie: out of the way, and gone with `make clean`.
pub fn scratch() -> Result<PathBuf> {
    let directory = repository().join("target/real");
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").components().collect()
}
