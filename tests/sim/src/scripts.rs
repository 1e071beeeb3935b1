//! Scripts for the native controllers alone: what is written to a Deployment, one write after the other. The model plays them here; a
//! real control plane plays them in `tests/real`, and the pods of each version must be as many on both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::native::Native;
use crate::time::stamp;

/// A script.
pub struct Script {
    pub name: &'static str,
    pub replicas: i32,
    /// Merge patches of the Deployment's spec.
    pub writes: Vec<Value>,
}

/// Pods ordered, by version; versions without pods are left out.
pub type Counts = BTreeMap<String, i64>;

fn scale(replicas: i32) -> Value {
    json!({"replicas": replicas})
}

fn paused(paused: bool) -> Value {
    json!({"paused": paused})
}

fn version(version: &str) -> Value {
    json!({"template": {"metadata": {"annotations": {"version": version}}}})
}

/// New pods are never available: it stops where the pace says.
fn parked(unavailable: impl Into<Value>, surge: impl Into<Value>) -> Value {
    json!({
        "paused": false, "minReadySeconds": 2_147_483_646, "progressDeadlineSeconds": 2_147_483_647,
        "strategy": {"rollingUpdate": {"maxUnavailable": unavailable.into(), "maxSurge": surge.into()}},
    })
}

fn back(to: &str, unavailable: impl Into<Value>, surge: impl Into<Value>) -> Value {
    let mut write = json!({
        "paused": false, "minReadySeconds": 0, "progressDeadlineSeconds": 600,
        "strategy": {"rollingUpdate": {"maxUnavailable": unavailable.into(), "maxSurge": surge.into()}},
    });
    json_patch::merge(&mut write, &version(to));
    write
}

/// All of them.
pub fn scripts() -> Vec<Script> {
    let script = |name, replicas, writes| Script { name, replicas, writes };
    let at_half = || vec![paused(true), version("v2"), parked("50%", 0), paused(true)];
    let then = |mut writes: Vec<Value>, more: Vec<Value>| {
        writes.extend(more);
        writes
    };
    vec![
        script(
            "a pace is walked in moves of at most three, and back",
            10,
            vec![
                paused(true),
                version("v2"),
                parked(0, 1),
                parked("10%", 0),
                parked("10%", 3),
                parked("40%", 0),
                parked("40%", 1),
                parked("50%", 0),
                back("v1", 5, 3),
            ],
        ),
        script(
            "scaled while paused the share holds, until nothing is left",
            10,
            then(at_half(), [16, 6, 10, 11, 7, 0, 10].map(scale).to_vec()),
        ),
        script(
            "a shrink may take the canary",
            10,
            vec![paused(true), version("v2"), parked("10%", 0), paused(true), scale(3), scale(10)],
        ),
        script("a shrink may take the last stable pod", 2, then(at_half(), [1, 3].map(scale).to_vec())),
        script(
            "a third template moves nothing while paused",
            10,
            then(at_half(), vec![version("v3"), scale(13), scale(8)]),
        ),
        script(
            "with nothing active the newest is scaled, or what stands in the template",
            6,
            then(at_half(), vec![scale(0), version("v1"), scale(6)]),
        ),
        script(
            "scaled in mid-move it is scaled before it is moved",
            9,
            vec![paused(true), version("v2"), parked("33%", 2), scale(14), scale(4)],
        ),
        script("its own rolling update", 7, vec![version("v2"), scale(3), version("v3"), scale(9)]),
    ]
}

/// What the model makes of it: the counts after each write, when nothing moves any more.
pub fn on_the_model(deployment: &Value, script: &Script) -> Vec<Counts> {
    let mut spec = deployment["spec"].clone();
    spec["replicas"] = json!(script.replicas);
    let mut native = Native::new(stamp(0));
    let mut now = 0;
    settle(&mut native, &mut now, &spec);
    let counts = |native: &Native| -> Counts {
        let of = |set: &crate::native::Set| {
            let version = set.template["metadata"]["annotations"]["version"].as_str().unwrap_or_default();
            (version.to_owned(), i64::from(set.replicas))
        };
        native.sets.iter().map(of).filter(|(_, pods)| *pods > 0).collect()
    };
    let play = |write: &Value| {
        json_patch::merge(&mut spec, write);
        settle(&mut native, &mut now, &spec);
        counts(&native)
    };
    script.writes.iter().map(play).collect()
}

/// A minute, in which pods become Ready after a moment and are gone after another.
fn settle(native: &mut Native, now: &mut u64, spec: &Value) {
    for _ in 0..120 {
        *now += 500;
        native.now = stamp(*now);
        native.pods.retain(|pod| pod.terminating_since.is_none());
        for pod in native.pods.iter_mut().filter(|pod| pod.born < stamp(*now)) {
            pod.ready_since.get_or_insert(stamp(*now));
        }
        for _ in 0..4 {
            native.round(Some(spec));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_does_what_was_seen_on_a_real_control_plane() {
        let deployment = json!({"spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"annotations": {"version": "v1"}}},
        }});
        let played = |name: &str| {
            let script = scripts().into_iter().find(|script| script.name.contains(name)).expect("a script");
            on_the_model(&deployment, &script)
        };
        let pods = |counts: &Counts| {
            (counts.get("v1").copied().unwrap_or(0), counts.get("v2").copied().unwrap_or(0))
        };
        let walked: Vec<_> = played("a pace is walked").iter().map(pods).collect();
        assert_eq!(walked, [(10, 0), (10, 0), (10, 1), (9, 1), (9, 4), (6, 4), (6, 5), (5, 5), (10, 0)]);
        let scaled: Vec<_> = played("the share holds").iter().skip(4).map(pods).collect();
        assert_eq!(scaled[..3], [(8, 8), (3, 3), (5, 5)]);
        assert_eq!(scaled[5..], [(0, 0), (0, 10)]);
    }
}
