//! Pods, and as much of what nodes and containers say of them as is ever told.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::api::status::sensible;
use crate::watch::meta::Meta;

/// A pod.
#[derive(Deserialize, Clone, Debug)]
pub struct Pod {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: PodSpec,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct PodSpec {
    #[serde(rename = "nodeName", deserialize_with = "node")]
    pub node: Option<Node>,
}

/// A node, told from others. What it is called is kept of no pod: it is long, and never said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(u64);

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: PodPhase,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<Box<str>>,
    #[serde(deserialize_with = "conditions")]
    pub conditions: Box<[PodCondition]>,
    #[serde(deserialize_with = "containers")]
    pub container_statuses: Box<[ContainerStatus]>,
    #[serde(deserialize_with = "containers")]
    pub init_container_statuses: Box<[ContainerStatus]>,
}

/// How far a pod has come.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    Succeeded,
    Failed,
    /// It may yet run, or does.
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    #[serde(rename = "type")]
    pub is: PodIs,
    pub status: Holds,
    #[serde(default, deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    /// There is one only where something is not as it should be.
    #[serde(default, deserialize_with = "beginning")]
    pub message: Option<Box<str>>,
    #[serde(default, deserialize_with = "time")]
    pub last_transition_time: Option<Timestamp>,
}

/// Conditions of pods that are read.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodIs {
    Ready,
    ContainersReady,
    PodScheduled,
    #[serde(other)]
    Other,
}

/// Whether a condition holds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    True,
    False,
    #[serde(other)]
    Unknown,
}

impl PodStatus {
    /// What is said of it, if something is.
    pub fn condition(&self, is: PodIs) -> Option<&PodCondition> {
        self.conditions.iter().find(|condition| condition.is == is)
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub restart_count: i32,
    pub state: ContainerState,
    pub last_state: ContainerState,
}

/// Most containers run: what there is to say of others is kept apart.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    pub waiting: Option<Box<Waiting>>,
    pub running: Option<Running>,
    pub terminated: Option<Box<Terminated>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Waiting {
    #[serde(deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    /// What its node says of it, as far as is kept: a message that names an image is as long as its name.
    #[serde(deserialize_with = "longer_beginning")]
    pub message: Option<Box<str>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    #[serde(deserialize_with = "time")]
    pub started_at: Option<Timestamp>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    #[serde(deserialize_with = "beginning")]
    pub reason: Option<Box<str>>,
    pub exit_code: i32,
    #[serde(deserialize_with = "time")]
    pub finished_at: Option<Timestamp>,
    /// What the container said of its end, as far as is kept.
    #[serde(deserialize_with = "beginning")]
    pub message: Option<Box<str>>,
}

fn node<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Node>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.map(|name| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Node(hasher.finish())
    }))
}

/// Those that are read.
fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[PodCondition]>, D::Error> {
    let all = Vec::<PodCondition>::deserialize(deserializer)?.into_iter();
    Ok(all.filter(|condition| condition.is != PodIs::Other).take(MOST_CONDITIONS).collect())
}

/// Each is there once.
const MOST_CONDITIONS: usize = 8;
/// Containers of a pod that are looked at.
const MOST_CONTAINERS: usize = 64;
/// Of these, those of which it is kept what is said of them.
const TOLD_OF: usize = 8;

fn containers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[ContainerStatus]>, D::Error> {
    let mut all = Option::<Vec<ContainerStatus>>::deserialize(deserializer)?.unwrap_or_default();
    all.truncate(MOST_CONTAINERS);
    for ContainerStatus { state, last_state, restart_count: _ } in all.iter_mut().skip(TOLD_OF) {
        for ContainerState { waiting, terminated, running: _ } in [state, last_state] {
            if let Some(waiting) = waiting {
                waiting.message = None;
            }
            if let Some(terminated) = terminated {
                terminated.message = None;
            }
        }
    }
    Ok(all.into())
}

/// A moment that somebody wrote into a status: one that is none is left out, one that is out of all sense is taken for the nearest that is not.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    Ok(time.map(sensible))
}

/// Characters of a text that a container may write as it likes.
const BEGINNING: usize = 256;

fn beginning<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    first::<BEGINNING, D>(deserializer)
}

fn longer_beginning<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    first::<{ 2 * BEGINNING }, D>(deserializer)
}

fn first<'de, const CHARACTERS: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<str>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| text.chars().take(CHARACTERS).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_at_the_end_of_all_time_can_be_added_to() {
        for written in ["9999-12-30T22:00:00Z", "-009999-01-02T02:00:00Z"] {
            let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": written});
            let pod: Pod = serde_json::from_value(
                json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": written}, "status": {"conditions": [condition]}}),
            )
            .unwrap();
            let since = pod.status.condition(PodIs::Ready).and_then(|ready| ready.last_transition_time);
            let long = jiff::SignedDuration::from_secs(i32::MAX.into());
            for at in [since.unwrap(), pod.metadata.created.unwrap()] {
                assert!(at.checked_add(long).is_ok() && at.checked_sub(long).is_ok(), "{at}");
            }
        }
    }

    #[test]
    fn a_pods_view_is_small_whatever_its_node_says() {
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "x".repeat(1000)}});
        let status = json!({"restartCount": 1, "state": state, "lastState": {"terminated": {"exitCode": 1, "message": "x".repeat(1000)}}});
        let condition = json!({"type": "Ready", "status": "False", "message": "x".repeat(1000)});
        let pod = json!({
            "metadata": {"name": "shop-1"},
            "status": {"conditions": vec![condition; 100], "containerStatuses": vec![status; 1000], "initContainerStatuses": null},
        });
        let PodStatus { conditions, container_statuses, init_container_statuses, .. } =
            serde_json::from_str::<Pod>(&pod.to_string()).unwrap().status;
        assert_eq!((conditions.len(), init_container_statuses.len()), (MOST_CONDITIONS, 0));
        assert_eq!(container_statuses.len(), MOST_CONTAINERS);
        let said: Vec<usize> = container_statuses
            .iter()
            .map(|status| {
                let waiting = status.state.waiting.as_ref().and_then(|waiting| waiting.message.as_deref());
                let ended = status.last_state.terminated.as_ref().and_then(|end| end.message.as_deref());
                waiting.map_or(0, str::len) + ended.map_or(0, str::len)
            })
            .collect();
        assert_eq!(said[..TOLD_OF], [3 * BEGINNING; TOLD_OF]);
        assert!(said[TOLD_OF..].iter().all(|said| *said == 0), "{said:?}");
    }
}
