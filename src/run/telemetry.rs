//! Logs: plain for people, JSON for machines. `RUST_LOG` overrides what is said, but for what could hold a Secret.

use tracing_subscriber::EnvFilter;

use super::settings::LogFormat;

/// The client warns of answers that it cannot read, with all that is in them: a Secret's values too. It stands behind the environment's filter, and so
/// counts whatever level `RUST_LOG` gives the client.
const NEVER_MORE: &str = "kube_client::client=error";

/// Starts logging. A second call changes nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=error,kube_runtime=error"))
        .add_directive(NEVER_MORE.parse().expect("it is a directive"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Fails only when logging has been started already, by a test or a host of this library.
    let _started = match format {
        LogFormat::Plain => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}
