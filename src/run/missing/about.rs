//! What may be missing in a snapshot, and whether it is, by what the API server says now. When that is asked, and for how long an answer is waited for, is not
//! known here.

use std::collections::BTreeSet;

use crate::decide::fields::lent;
use crate::decide::kept_name::deployment_in;
use crate::decide::{self, Key, Snapshot};
use crate::watch::again::{NotRead, Reader};
use crate::watch::{ObjectKey, SharedIndex, slim};

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The Release, while something of it is left.
    Release,
    /// The same, while nothing shows that a run of it is under way: the templates that are kept for it are dropped next. They are of Deployments of these
    /// names; one that is in a run after all could not go back without them.
    Kept(BTreeSet<String>),
    /// The Deployment that status is about, in a run or at rest. Another one may have its name.
    Deployment { name: String, uid: String },
    /// A later version of a Release that is at rest in this one, while its Deployment, or what is kept for it, is as in a run.
    Later { uid: String, resource_version: String },
}

impl About {
    /// What is missing in a snapshot, if anything is.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let Some(release) = &snapshot.release else { return Self::left(snapshot) };
        let target = snapshot.target.as_ref();
        if let (Some(uid), Some(name)) = (&release.status.target_uid, &release.target)
            && target.is_none_or(|target| target.uid != *uid)
        {
            return Some(Self::Deployment { name: name.clone(), uid: uid.clone() });
        }
        let is_at_rest = release.status.run.is_none() && snapshot.rival.is_none();
        let looks_otherwise = target.is_some_and(lent)
            || snapshot.templates.values().any(|kept| !decide::is_needed(&release.status, kept));
        (is_at_rest && looks_otherwise).then(|| Self::Later {
            uid: release.uid.clone(),
            resource_version: release.resource_version.clone(),
        })
    }

    /// The same, without a Release.
    fn left(snapshot: &Snapshot) -> Option<Self> {
        let target = snapshot.target.as_ref();
        if snapshot.templates.is_empty() || target.is_some_and(lent) {
            return target.map(|_| Self::Release);
        }
        // The longest names are kept cut off: nothing is there of these.
        let of = |kept: &String| deployment_in(kept).map(str::to_owned);
        Some(Self::Kept(snapshot.templates.keys().filter_map(of).collect()))
    }

    /// Whether what is known is what there is, by what the API server says now. Where it is there after all, its watch may have brought it meanwhile, as it
    /// is now; or had before, and what this Release has in hand is not that: one that cannot be read goes by the label.
    pub async fn is_so(&self, index: &SharedIndex, reader: &Reader, key: &Key) -> Result<bool, NotRead> {
        match self {
            Self::Release => is_gone(index, reader, key).await,
            Self::Kept(deployments) => {
                if !is_gone(index, reader, key).await? {
                    return Ok(false);
                }
                for name in deployments {
                    if !is_heard(index, reader, &ObjectKey::new(&key.namespace, name), None).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Deployment { name, uid } => {
                is_heard(index, reader, &ObjectKey::new(&key.namespace, name), Some(uid)).await
            }
            Self::Later { uid, resource_version } => {
                let there = if_there(reader.now::<slim::Release>(&ObjectKey::from(key)).await)?;
                Ok(there.is_some_and(|slim::Release { metadata, .. }| {
                    *metadata.uid == **uid && *metadata.resource_version == **resource_version
                }))
            }
        }
    }
}

/// Whether a Release is gone, or its watch has brought it meanwhile.
async fn is_gone(index: &SharedIndex, reader: &Reader, key: &Key) -> Result<bool, NotRead> {
    let name = ObjectKey::from(key);
    let there = if_there(reader.now::<slim::Release>(&name).await)?;
    Ok(there.is_none() || index.lock().releases.get(&name).is_some())
}

/// Whether a Deployment is known as it is; that of this uid, or whichever there is.
async fn is_heard(
    index: &SharedIndex,
    reader: &Reader,
    name: &ObjectKey,
    uid: Option<&str>,
) -> Result<bool, NotRead> {
    let Some(there) = if_there(reader.now::<slim::Deployment>(name).await)? else { return Ok(true) };
    let uid = uid.unwrap_or(&there.metadata.uid);
    let index = index.lock();
    let heard = index.deployments.get(name).and_then(|found| generation_of(uid, found));
    Ok(heard >= generation_of(uid, &there))
}

/// What was read, if it is there.
fn if_there<K>(read: Result<K, NotRead>) -> Result<Option<K>, NotRead> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(NotRead::Gone) => Ok(None),
        Err(error @ (NotRead::NoTurn | NotRead::Late | NotRead::Api(_))) => Err(error),
    }
}

/// The generation of a Deployment that is this one, and not on its way out.
fn generation_of(uid: &str, found: &slim::Deployment) -> Option<i64> {
    let is_it = *found.metadata.uid == *uid && !found.metadata.deleted;
    is_it.then_some(found.metadata.generation)
}
