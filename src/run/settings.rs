//! Flags and environment, resolved once.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand, ValueEnum};

/// The Tidegate operator: carries out Releases.
#[derive(Parser, Debug, Clone)]
#[command(name = "tidegate", version, about)]
pub struct Settings {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How logs are written.
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", default_value = "plain", global = true)]
    pub log_format: LogFormat,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Kubeconfig to use outside a cluster. Default: in-cluster, else the usual one.
    #[arg(long, env = "TIDEGATE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease that elects the leader.
    #[arg(long, env = "POD_NAMESPACE", default_value = "tidegate-system")]
    pub lease_namespace: String,
    /// Name of this process in the Lease, which no other has. Default: its pod's name, else a new one for each process.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Pods read in a second by all runs together.
    #[arg(long, env = "TIDEGATE_READS_PER_SECOND", default_value_t = 300)]
    pub reads_per_second: u32,
    /// Releases of a namespace that are written about at the same time, but for those that go back; of all namespaces twice as many.
    #[arg(long, env = "TIDEGATE_WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Namespaces whose Releases are carried out, separated by commas. Default: all.
    #[arg(long, env = "TIDEGATE_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Let Releases send the operator to its own machine (127.0.0.0/8, ::1). For tests, whose pods are there.
    #[arg(long, env = "TIDEGATE_ALLOW_LOOPBACK")]
    pub allow_loopback: bool,
}

/// What else the binary does.
#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Print the CRDs, or write them into a directory, a file each.
    Crds {
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// How logs are written.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Plain,
    Json,
}

impl Settings {
    /// Who we are in the Lease: unique for each process, also when two run on one machine, or each in a container of which it is the first
    /// process. A container that is started again in its pod takes up its own Lease at once.
    pub fn identity(&self) -> String {
        static NAMELESS: LazyLock<String> =
            LazyLock::new(|| format!("tidegate-{:016x}", RandomState::new().hash_one(())));
        let name = self.identity.as_ref().unwrap_or(&NAMELESS);
        format!("{name}_{}", std::process::id())
    }
}
