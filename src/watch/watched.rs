//! How the watch of a kind stands: whether it is heard, whether the operator can do without it, and what that takes.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::watcher;

use super::index::SharedIndex;
use super::streams::Listed;
use crate::api::Right;
use crate::decide::Key;
use crate::decide::snapshot::Unheard;
use crate::logged::logged;

/// Is told of rights that are missing.
pub type Refused = Arc<dyn Fn(&Right) + Send + Sync>;
/// Tells the time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a watch stands.
pub struct Watched {
    pub name: String,
    /// What it is about; `None`: all namespaces.
    pub namespace: Option<String>,
    pub need: Need,
    pub listed: Arc<Listed>,
    pub index: SharedIndex,
    pub refused: Refused,
    pub now: Now,
    /// Neither listed yet nor done without.
    pub is_new: bool,
    /// It has failed, and has not been listed since, nor has a watch gone on for a while.
    pub is_unheard: bool,
}

impl Watched {
    /// Returns the Releases that may have waited for it.
    pub fn is_heard(&mut self) -> Vec<Key> {
        if !std::mem::take(&mut self.is_unheard) {
            return Vec::new();
        }
        self.listed.lacking().remove(&self.name);
        let mut index = self.index.lock();
        index.unread.remove(&self.name);
        let unheard = index.unheard.remove(&self.name);
        if unheard.is_none_or(|unheard| !unheard.lasts((self.now)())) {
            return Vec::new();
        }
        let all = index.releases.iter().map(|(name, _)| name);
        let is_here = |namespace: &str| self.namespace.as_deref().is_none_or(|here| here == namespace);
        all.filter(|name| is_here(name.namespace())).map(Key::from).collect()
    }

    pub fn failed(&mut self, error: &watcher::Error) {
        self.is_unheard = true;
        match self.need {
            Need::Must => {
                let unheard = || Unheard {
                    kind: self.name.clone(),
                    namespace: self.namespace.clone(),
                    since: (self.now)(),
                    why: lacking(error).map_or_else(|| error.to_string(), |right| right.to_string()),
                };
                self.index.lock().unheard.entry(self.name.clone()).or_insert_with(unheard);
            }
            Need::May => {
                if let Some(why) = refusal(error, &self.name) {
                    self.index.lock().unread.insert(self.name.clone(), why);
                    self.is_settled();
                }
            }
            Need::IfServed => {
                if is_not_served(error) {
                    if self.is_new {
                        tracing::info!(kind = self.name, "is not served: there are none");
                    }
                    self.listed.lacking().remove(&self.name);
                    return self.is_settled();
                }
            }
        }
        match lacking(error) {
            Some(right) => {
                tracing::error!(kind = self.name, "{right}");
                (self.refused)(&right);
                self.listed.lacking().insert(self.name.clone(), right);
            }
            None => {
                tracing::warn!(kind = self.name, error = %logged(error), "a watch was interrupted; it goes on by itself")
            }
        }
    }

    /// Nobody waits for this kind any more.
    pub fn is_settled(&mut self) {
        if std::mem::take(&mut self.is_new) {
            self.listed.note_one();
        }
    }
}

/// Whether the operator can do without a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing is looked at before it has been listed.
    Must,
    /// The same; but where the API server says no, everything else goes on without.
    May,
    /// The same; but where the API server does not serve it, none has been there so far. It is asked for again all the same.
    IfServed,
}

/// Why a kind cannot be read at all: no right, or no such kind. `None`: it will be, later.
fn refusal(error: &watcher::Error, name: &str) -> Option<String> {
    if let Some(right) = lacking(error) {
        return Some(right.to_string());
    }
    is_not_served(error).then(|| format!("kind {name} is not served: apply the CRDs of this version"))
}

fn is_not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// The right that a watch failed for want of.
pub fn lacking(error: &watcher::Error) -> Option<Right> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            Right::within(error)
        }
        watcher::Error::WatchError(status) if status.code == 403 => Right::lacking(&status.message),
        _ => None,
    }
}
