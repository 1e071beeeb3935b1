//! Templates that the API server stores as others than were written, because somebody's admission changes them: each is known by what was written, so that
//! what is made of the stable one is stable, and nothing that its owner wrote. What is to be done about it is not known here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::ReleaseStatus;
use crate::api::status::StoredAs;
use crate::decide::snapshot::{LastWrite, PodSet, Stored, StoredTemplate, Workload};

/// How many are remembered. Of one template there is one, unless each write makes another one of it.
const REMEMBERED: usize = 16;

/// Has the Deployment, its sets and what is kept known by what was written, as far as status or the last write tells.
pub fn known(
    status: &ReleaseStatus,
    last: Option<&LastWrite>,
    target: &mut Workload,
    sets: &mut [PodSet],
    templates: &mut BTreeMap<String, StoredTemplate>,
) -> Stored {
    if status.target_uid.as_ref() != Some(&target.uid) {
        return Stored::default();
    }
    let mut known = status.stored_as.clone();
    let mut otherwise = None;
    let stands = target.fingerprint.clone();
    target.fingerprint = written(&known, &stands);
    let came_of_it = last.filter(|last| last.uid == target.uid && last.generation == target.generation);
    if let Some(last) = came_of_it.filter(|last| last.meant != target.fingerprint) {
        let made = StoredAs { written: last.meant.clone(), stored: stands.clone() };
        if is_made_of_it(status, last, target, templates) {
            known.retain(|known| known.stored != made.stored);
            known.insert(0, made);
            known.truncate(REMEMBERED);
            target.fingerprint.clone_from(&last.meant);
        } else {
            otherwise = Some(made);
        }
    }
    for set in sets {
        let written = written(&known, &set.fingerprint);
        set.outdated = set.fingerprint != stands && written == target.fingerprint;
        set.fingerprint = written;
    }
    for StoredAs { written, stored } in &known {
        let is_kept = templates.values().any(|kept| kept.fingerprint == *written);
        let made = templates.values_mut().find(|kept| kept.fingerprint == *stored);
        if let Some(made) = made.filter(|_| !is_kept) {
            made.fingerprint.clone_from(written);
        }
    }
    Stored { known, otherwise }
}

/// What was written of which this is what was stored.
fn written(known: &[StoredAs], stored: &str) -> String {
    let made = known.iter().find(|made| made.stored == stored);
    made.map_or(stored, |made| made.written.as_str()).to_owned()
}

/// Whether the API server has made what stands there of what was written, and has not put another known template in its place. A write that changed
/// nothing shows less: an earlier one may have come to the same, of which nobody knows any more, or what its owner wrote is kept against ours.
fn is_made_of_it(
    status: &ReleaseStatus,
    last: &LastWrite,
    target: &Workload,
    templates: &BTreeMap<String, StoredTemplate>,
) -> bool {
    let stands = &target.fingerprint;
    // Where a Release has just been made there is nothing to hold it against.
    if status.stable.is_none() {
        return false;
    }
    let known = status.stable.iter().chain(&status.canary).map(|known| &known.fingerprint);
    let mut known = known.chain(status.rejected.iter().map(|known| &known.fingerprint));
    if target.too_much.is_some() || known.any(|known| known == stands) {
        return false;
    }
    if last.before != *stands {
        let back = status.run.as_ref().and_then(|run| run.back.as_ref());
        let next = back.and_then(|back| back.next.as_ref());
        return next.is_none_or(|next| next.fingerprint != *stands);
    }
    let sent = templates.values().find(|kept| kept.fingerprint == last.meant);
    sent.is_some_and(|sent| says_all_of(&target.template.value(), &sent.template.value()))
}

/// Whether one says all that the other says, and perhaps more: images by their digests, too.
fn says_all_of(stored: &Value, sent: &Value) -> bool {
    match (stored, sent) {
        (Value::Object(stored), Value::Object(sent)) => {
            let is_said = |(key, sent): (&String, &Value)| {
                stored.get(key).is_some_and(|stored| says_all_of(stored, sent))
            };
            sent.iter().all(is_said)
        }
        (Value::Array(stored), Value::Array(sent)) => {
            sent.iter().all(|sent| stored.iter().any(|stored| says_all_of(stored, sent)))
        }
        (Value::String(stored), Value::String(sent)) => {
            let more = stored.strip_prefix(sent.as_str());
            more.is_some_and(|more| more.is_empty() || more.starts_with("@sha256:"))
        }
        _ => stored == sent,
    }
}
