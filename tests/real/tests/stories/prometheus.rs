//! A Prometheus of Debian's beside a story.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::cluster::prometheus;
use tidegate_real::operator::unique;
use tidegate_real::story::Story;
use tokio::process::{Child, Command};

/// A Prometheus with a scrape every second of the pods of one story, as `namespace` and `pod`.
pub struct Prometheus {
    child: Child,
    /// Where it answers, also after it was killed and started again.
    pub url: String,
    program: PathBuf,
    port: u16,
    follow: tokio::task::JoinHandle<()>,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts it, with nothing stored.
    pub async fn start(story: &Story<'_>) -> Self {
        let program = prometheus().await.expect("a Prometheus");
        let directory = std::env::temp_dir().join(format!("tidegate-prometheus-{}", unique()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let targets = directory.join("targets.json");
        std::fs::write(&targets, "[]").expect("written");
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "pods", "file_sd_configs": [{"files": [targets], "refresh_interval": "1s"}]}],
        });
        std::fs::write(directory.join("prometheus.yml"), config.to_string()).expect("written");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port")
            .port();
        let child = spawn(&program, &directory, port);
        let follow = tokio::spawn(follow(story.api("v1", "Pod"), story.namespace.clone(), targets));
        Self { child, url: format!("http://127.0.0.1:{port}"), program, port, follow, directory }
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Starts it again after it was killed, with what it had stored.
    pub fn revive(&mut self) {
        self.child = spawn(&self.program, &self.directory, self.port);
    }
}

fn spawn(program: &Path, directory: &Path, port: u16) -> Child {
    Command::new(program)
        .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("started")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.follow.abort();
        let _removed = std::fs::remove_dir_all(&self.directory);
    }
}

/// Writes what Prometheus would have discovered in a cluster.
async fn follow(pods: kube::Api<kube::api::DynamicObject>, namespace: String, targets: PathBuf) {
    let mut written = Value::Null;
    loop {
        let found =
            pods.list(&kube::api::ListParams::default()).await.map(|all| all.items).unwrap_or_default();
        let target = |pod: &kube::api::DynamicObject| {
            let ip = pod.data["status"]["podIP"].as_str()?;
            Some(
                json!({"targets": [format!("{ip}:8080")], "labels": {"namespace": namespace, "pod": pod.metadata.name}}),
            )
        };
        let now = Value::Array(found.iter().filter_map(target).collect());
        if now != written {
            let draft = targets.with_extension("draft");
            std::fs::write(&draft, now.to_string())
                .and_then(|()| std::fs::rename(&draft, &targets))
                .expect("written");
            written = now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
