//! Whether a watch that was begun again lives. The library tells of changes and of errors, and keeps to itself that a watch has begun and what bookmarks
//! say: of one that has nothing to tell it cannot be known by its events that it is heard again.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

use super::too_old;

/// A watch that has gone on for so long since it began tells whatever there is to tell: one that begins too long ago, or of what cannot be read, is
/// told so at once.
const LIVES: Duration = Duration::from_secs(5);

/// Whether one of a client's watches has begun, and again with each that does: it is for one kind.
#[derive(Clone, Default)]
pub struct Begun(Arc<watch::Sender<bool>>);

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
                    begun.send_replace(true);
                }
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(service, client.default_namespace())
    }

    /// What has begun so far is over.
    pub fn forget(&self) {
        self.0.send_replace(false);
    }

    /// A watch has begun and lived for a while, for as long as this is asked.
    pub async fn lives(&self) {
        let mut begun = self.0.subscribe();
        loop {
            let has_begun = *begun.borrow_and_update();
            let changes = begun.changed();
            if has_begun {
                if tokio::time::timeout(LIVES, changes).await.is_err() {
                    return;
                }
            } else {
                // Whoever tells of it is held here.
                let _begins = changes.await;
            }
        }
    }
}
