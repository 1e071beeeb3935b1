//! A hundred bad versions taken back in the same second by nobody's operator: what the native controllers need for it.
//!
//! The Deployments stand as a run would have them, and each gets the one patch that the operator would write. No operator runs, no Release,
//! no status and no record is written: whoever has Deployments go back by their template cannot be faster than this on the same machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::crowd::{self, Crowd};
use crate::figures::Spread;
use crate::story::Story;

/// Patches under way at the same time.
const AT_ONCE: usize = 16;
/// From the first step to rest.
const SETTLE: Duration = Duration::from_secs(20);

/// How long each took, in seconds.
#[derive(Default)]
pub struct WaysBack {
    /// From the patch until the last bad pod was ordered away.
    pub ordered: Spread,
    /// From the patch until all stable pods were Ready.
    pub restored: Spread,
}

/// Moves so many Deployments of this shape, of ten pods each, to one bad pod, and patches all of them back at once.
///
/// # Errors
/// When the API server refuses something, or it does not come to an end.
pub async fn go_back(
    story: &Story<'_>,
    number: usize,
    deployment: impl Fn(usize) -> Value,
) -> Result<WaysBack> {
    crowd::make(story, 0..number, deployment).await?;
    until_ready(story, number).await;
    let crowd = Crowd::watch(&story.client, &story.namespace);
    let parked = json!({"spec": {
        "minReadySeconds": 2_147_483_646, "progressDeadlineSeconds": 2_147_483_647,
        "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}},
        "template": {"metadata": {"annotations": {"version": "v2"}}},
    }});
    patch(story, number, &parked).await?;
    let at_first_step = async |story: &Story<'_>| {
        let sets = story.list("apps/v1", "ReplicaSet").await;
        let of = |pods: u64| sets.iter().filter(|set| set["status"]["readyReplicas"] == pods).count();
        of(9) == number && of(1) == number
    };
    story.until_within(Duration::from_secs(300), "all at the first step", at_first_step).await;
    tokio::time::sleep(SETTLE).await;
    let back = json!({
        // As the operator numbers it, so that the native controller does not conflict with itself.
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": "3"}},
        "spec": {
            "minReadySeconds": 0,
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "20%"}},
            "template": {"metadata": {"annotations": {"version": "v1"}}},
        },
    });
    let patched = patch(story, number, &back).await?;
    until_ready(story, number).await;
    let mut ways = WaysBack::default();
    for (name, at) in patched {
        let (ordered, restored) = crowd.way_back(&name, at).with_context(|| format!("{name} is not back"))?;
        let seconds = |to: Timestamp| to.duration_since(at).as_secs_f64().max(0.0);
        ways.ordered.add(seconds(ordered));
        ways.restored.add(seconds(restored));
    }
    Ok(ways)
}

/// Waits until so many have all their pods Ready.
async fn until_ready(story: &Story<'_>, number: usize) {
    let all = async |story: &Story<'_>| {
        let sets = story.list("apps/v1", "ReplicaSet").await;
        sets.iter().filter(|set| set["status"]["readyReplicas"] == 10).count() >= number
    };
    story.until_within(Duration::from_secs(600), "all pods Ready", all).await;
}

/// Patches them all; when each was sent.
async fn patch(story: &Story<'_>, number: usize, patch: &Value) -> Result<BTreeMap<String, Timestamp>> {
    let api = &story.api("apps/v1", "Deployment");
    let sent = futures::stream::iter(0..number).map(|number| async move {
        let (name, at) = (crowd::name(number), Timestamp::now());
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        anyhow::Ok((name, at))
    });
    sent.buffer_unordered(AT_ONCE).try_collect().await
}
