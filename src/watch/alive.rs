//! Whether a watch that was begun again lives. The library tells of changes and of errors, and keeps to itself that a watch has begun and what bookmarks
//! say: of one that has nothing to tell it cannot be known by its events that it is heard again.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::Request;
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;

use super::too_old;

/// A watch that has gone on for so long since it began tells whatever there is to tell: one that begins too long ago, or of what cannot be read, is
/// told so at once.
const LIVES: Duration = Duration::from_secs(5);

/// Which of a client's watches have begun: it is for one kind.
#[derive(Clone, Default)]
pub struct Begun(Arc<Notify>);

impl Begun {
    /// The same client, whose watches are noticed here.
    pub fn noticing(&self, client: &Client) -> Client {
        let (noticed, begun) = (client.clone(), self.0.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, begun) = (noticed.clone(), begun.clone());
            async move {
                let is_watch = too_old::is_watch(request.uri());
                let response = client.send(request).await?;
                if is_watch && response.status().is_success() {
                    begun.notify_one();
                }
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(service, client.default_namespace())
    }

    /// What has begun so far is over.
    pub fn forget(&self) {
        let _over = self.0.notified().now_or_never();
    }

    /// A watch has begun and lived for a while. Whoever stops waiting waits for another one from then on.
    pub async fn lives(&self) {
        self.0.notified().await;
        tokio::time::sleep(LIVES).await;
    }
}
