//! Scripts for the native controllers alone: what is written to a Deployment, one write after the other, and Jobs. The model plays them
//! here; a real control plane plays them in `tests/real`. The pods of each version must be as many on both at every rest, and the way
//! from one rest to the next the same, as far as it does not depend on how fast pods are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::named;
use crate::native::{Native, Pod};
use crate::server::Who;
use crate::service::endpoints;
use crate::story::Setup;
use crate::time::stamp;
use crate::world::{NAMESPACE, World};

/// A script.
pub struct Script {
    pub name: &'static str,
    pub replicas: i32,
    /// Pods that the nodes have room for, where that is not all. Then all versions become Ready: who crashes has a place as well.
    pub room: Option<usize>,
    /// Merge patches of the Deployment's spec. One of `replicas` alone is what an autoscaler writes, and goes where it writes it.
    pub writes: Vec<Value>,
    /// Whether each version is ordered in the same sizes, one after the other, however long pods take to become Ready and to end. It is so
    /// where at each moment what the controller may take and add follows from sizes alone: all new pods are never available, or those
    /// that become it meanwhile raise a bound that did not bind. Who begins from a rest then has one way to the next.
    pub has_one_way: bool,
}

/// Pods, by version; versions without pods are left out.
pub type Counts = BTreeMap<String, i64>;

/// What comes of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rest: Rest,
    /// The pods to which a Service's requests go at that rest.
    pub served: Counts,
    pub way: Way,
}

/// What stands when nothing moves any more. So many pods are there as are ordered, and none is on its way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    pub ordered: Counts,
    pub ready: Counts,
}

/// What is seen from one rest to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The sizes in which each version was ordered, one after the other. Not those of all versions together: a controller that changes
    /// several writes one after the other, and the model does not.
    pub sizes: BTreeMap<String, Vec<i64>>,
    /// The most versions that had pods at one moment, pods on their way out included.
    pub versions_at_once: usize,
}

impl Way {
    /// So much is ordered now.
    pub fn ordered(&mut self, now: &Counts) {
        for version in now.keys() {
            self.sizes.entry(version.clone()).or_insert_with(|| vec![0]);
        }
        for (version, sizes) in &mut self.sizes {
            let size = now.get(version).copied().unwrap_or(0);
            if sizes.last() != Some(&size) {
                sizes.push(size);
            }
        }
    }

    /// So many pods there are now.
    pub fn there(&mut self, now: &Counts) {
        self.versions_at_once = self.versions_at_once.max(now.len());
    }

    /// What was seen until this rest; the next way begins.
    pub fn rest(&mut self) -> Self {
        let way = std::mem::take(self);
        let last = |(version, sizes): (&String, &Vec<i64>)| {
            let size = *sizes.last()?;
            (size > 0).then(|| (version.clone(), vec![size]))
        };
        self.sizes = way.sizes.iter().filter_map(last).collect();
        self.versions_at_once = self.sizes.len();
        way
    }

    /// Whether each version grew or shrank, and in what turns. A rolling update takes from the old and gives to the new, and nothing back: so this is
    /// the same however fast pods are, where the sizes in between are not.
    pub fn turns(&self) -> BTreeMap<String, Vec<Ordering>> {
        let turns = |sizes: &Vec<i64>| {
            let mut turns: Vec<Ordering> = sizes.windows(2).map(|two| two[1].cmp(&two[0])).collect();
            turns.dedup();
            turns
        };
        self.sizes.iter().map(|(version, sizes)| (version.clone(), turns(sizes))).collect()
    }
}

fn scale(replicas: i32) -> Value {
    json!({"replicas": replicas})
}

fn paused(paused: bool) -> Value {
    json!({"paused": paused})
}

/// Pods that become Ready.
fn version(version: &str) -> Value {
    pods(version, false, false)
}

/// Pods that end again and again.
fn crashing(version: &str) -> Value {
    pods(version, true, false)
}

/// Pods that run, and never become Ready.
pub fn never_ready(version: &str) -> Value {
    pods(version, false, true)
}

/// What pods do is said to the model, and to the nodes that only report.
fn pods(version: &str, crash: bool, never_ready: bool) -> Value {
    let said = |it: bool| if it { json!("true") } else { Value::Null };
    json!({"template": {"metadata": {"annotations": {
        "version": version,
        "crash": said(crash), "paper.tidegate.dev/crash": said(crash),
        "never-ready": said(never_ready), "paper.tidegate.dev/never-ready": said(never_ready),
    }}}})
}

fn recreate() -> Value {
    json!({"strategy": {"type": "Recreate", "rollingUpdate": null}})
}

fn rolling(unavailable: i32, surge: i32) -> Value {
    json!({"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}})
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

/// Version 2 went out beside one that never starts; its owner has gone back to it, and it was parked since.
fn went_out_unheld() -> Vec<Value> {
    let held =
        json!({"paused": true, "minReadySeconds": 2_147_483_646, "progressDeadlineSeconds": 2_147_483_647});
    // One more is wanted than it has: else the others go at once, paused as it is.
    vec![rolling(0, 4), version("v2"), never_ready("v3"), held, scale(5), version("v2")]
}

/// Paused as it is, its pods count as its owner has them count.
fn counted() -> Value {
    json!({"minReadySeconds": 0, "progressDeadlineSeconds": 600})
}

/// One pod on each of the two nodes that only report.
const ROOM: usize = 2;

/// All of them.
pub fn scripts() -> Vec<Script> {
    let script = |name, replicas, writes| Script { name, replicas, room: None, writes, has_one_way: true };
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
        Script {
            has_one_way: false,
            ..script("its own rolling update", 7, vec![version("v2"), scale(3), version("v3"), scale(9)])
        },
        script(
            "a version that crashes comes as far as the fences, shares what an autoscaler writes, paused or not, and goes at once",
            10,
            vec![crashing("v2"), scale(20), scale(5), paused(true), scale(12), paused(false), version("v1")],
        ),
        script(
            "a version that crashes at a pace is held like any other, and goes back in one move",
            10,
            vec![paused(true), crashing("v2"), parked("10%", 0), parked("10%", 3), back("v1", 5, 3)],
        ),
        script(
            "a version that never becomes Ready is parked, scaled while paused, and goes back in one move",
            10,
            vec![paused(true), never_ready("v2"), parked("50%", 0), paused(true), scale(6), back("v1", 3, 3)],
        ),
        Script {
            has_one_way: false,
            ..script(
                "a third version takes the place of one that never becomes Ready",
                8,
                vec![never_ready("v2"), version("v3"), scale(4)],
            )
        },
        script(
            "with Recreate the last pod is gone before the first of the next version is made",
            5,
            vec![
                recreate(),
                version("v2"),
                scale(3),
                crashing("v3"),
                scale(6),
                version("v2"),
                paused(true),
                version("v1"),
                paused(false),
            ],
        ),
        Script {
            has_one_way: false,
            ..script(
                "pods that were parked last count for nothing, and go before those that never start",
                4,
                then(went_out_unheld(), vec![back("v1", 0, 4)]),
            )
        },
        Script {
            has_one_way: false,
            ..script(
                "counted again while paused they stay, and the others go",
                4,
                then(went_out_unheld(), vec![counted(), back("v1", 0, 4)]),
            )
        },
        Script {
            room: Some(ROOM),
            ..script(
                "where the nodes are full the new version waits for the old one's place, and who waits goes first",
                2,
                vec![version("v2"), rolling(1, 1), scale(4), scale(2)],
            )
        },
    ]
}

/// What the model makes of it: what comes of each write.
pub fn on_the_model(deployment: &Value, script: &Script) -> Vec<Outcome> {
    let mut spec = deployment["spec"].clone();
    spec["replicas"] = json!(script.replicas);
    let mut native = Native::new(stamp(0));
    let (mut now, mut way) = (0, Way::default());
    let room = script.room.unwrap_or(usize::MAX);
    settle(&mut native, &mut now, &spec, room, &mut way);
    way.rest();
    let play = |write: &Value| {
        json_patch::merge(&mut spec, write);
        settle(&mut native, &mut now, &spec, room, &mut way);
        let rest = Rest { ordered: ordered(&native), ready: there(&native, true) };
        Outcome { rest, served: served(&native), way: way.rest() }
    };
    script.writes.iter().map(play).collect()
}

/// A Deployment is scaled from so many pods to so many, and none has ended yet: the pods that are there, and those to which a Service's
/// requests go.
pub fn ending_on_the_model(deployment: &Value, [from, to]: [i32; 2]) -> (Counts, Counts) {
    let mut spec = deployment["spec"].clone();
    spec["replicas"] = json!(from);
    let mut native = Native::new(stamp(0));
    settle(&mut native, &mut 0, &spec, usize::MAX, &mut Way::default());
    spec["replicas"] = json!(to);
    native.round(Some(&spec));
    (there(&native, false), served(&native))
}

/// A minute, in which pods become Ready after a moment and are gone after another.
fn settle(native: &mut Native, now: &mut u64, spec: &Value, room: usize, way: &mut Way) {
    for _ in 0..120 {
        *now += 500;
        native.now = stamp(*now);
        native.pods.retain(|pod| pod.terminating_since.is_none());
        become_ready(native, room);
        for _ in 0..4 {
            native.round(Some(spec));
            way.ordered(&ordered(native));
            way.there(&there(native, false));
        }
    }
}

/// In the order in which they were made, as far as there is room; who is Ready has a place.
fn become_ready(native: &mut Native, room: usize) {
    let never: BTreeSet<String> = native
        .sets
        .iter()
        .filter(|set| set.template["metadata"]["annotations"]["never-ready"] == "true")
        .map(|set| set.name.clone())
        .collect();
    let free = room.saturating_sub(native.ready());
    let now = native.now;
    let waits = |pod: &&mut Pod| {
        pod.ready_since.is_none() && pod.born < now && !pod.crashing && !never.contains(&pod.set)
    };
    for pod in native.pods.iter_mut().filter(waits).take(free) {
        pod.ready_since = Some(now);
    }
}

fn ordered(native: &Native) -> Counts {
    let mut counts = Counts::new();
    for set in native.sets.iter().filter(|set| set.replicas > 0) {
        *counts.entry(version_of(&set.template)).or_default() += i64::from(set.replicas);
    }
    counts
}

/// Pods, those on their way out included; or the Ready ones.
fn there(native: &Native, ready: bool) -> Counts {
    by_version(native, native.pods.iter().filter(|pod| !ready || pod.ready_since.is_some()))
}

fn served(native: &Native) -> Counts {
    by_version(native, endpoints(native))
}

fn by_version<'n>(native: &Native, pods: impl Iterator<Item = &'n Pod>) -> Counts {
    let mut counts = Counts::new();
    for pod in pods {
        let set = native.sets.iter().find(|set| set.name == pod.set);
        let version = set.map(|set| version_of(&set.template)).unwrap_or_default();
        *counts.entry(version).or_default() += 1;
    }
    counts
}

fn version_of(template: &Value) -> String {
    template["metadata"]["annotations"]["version"].as_str().unwrap_or_default().to_owned()
}

/// A Job that is tried once, and succeeds or fails, in the words of the model and of the nodes that only report.
pub fn job(fails: bool) -> Value {
    let annotations = if fails {
        json!({"fails": "true", "paper.tidegate.dev/exit-code": "3", "paper.tidegate.dev/ready-after": "500ms"})
    } else {
        json!({"paper.tidegate.dev/ready-after": "500ms"})
    };
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"annotations": annotations},
            "spec": {
                "restartPolicy": "Never", "nodeSelector": {"tidegate.dev/node": "paper"},
                "containers": [{"name": "job", "image": "shop:v1"}],
            },
        }},
    })
}

/// What is read of a Job: how it ended, in its words, and with how many pods. What leads to an end is no end; `null` until there is one.
pub fn end_of_job(job: &Value) -> Value {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut ends = conditions
        .filter(|one| (one["type"] == "Complete" || one["type"] == "Failed") && one["status"] == "True");
    let Some(end) = ends.next() else { return Value::Null };
    let pods = |field: &str| job["status"][field].as_i64().unwrap_or(0);
    json!({
        "type": end["type"], "reason": end["reason"], "message": end["message"], "another": ends.next(),
        "active": pods("active"), "succeeded": pods("succeeded"), "failed": pods("failed"),
    })
}

/// How it ends on the model: each end that is shown, one after the other.
pub fn job_on_the_model(job: &Value) -> Vec<Value> {
    let mut world = World::new(&Setup::default());
    world.make(&Who::Person("owner"), "jobs", NAMESPACE, job.clone());
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let mut ends = vec![Value::Null];
    while world.clusters[0].due() < u64::MAX {
        world.now = world.clusters[0].due();
        world.settle();
        let end = world.store.get("jobs", &named(name)).map_or(Value::Null, |job| end_of_job(job));
        if ends.last() != Some(&end) {
            ends.push(end);
        }
    }
    ends
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
        let pods = |outcome: &Outcome| {
            let of = |version: &str| outcome.rest.ordered.get(version).copied().unwrap_or(0);
            (of("v1"), of("v2"))
        };
        let walked: Vec<_> = played("a pace is walked").iter().map(pods).collect();
        assert_eq!(walked, [(10, 0), (10, 0), (10, 1), (9, 1), (9, 4), (6, 4), (6, 5), (5, 5), (10, 0)]);
        let scaled: Vec<_> = played("the share holds").iter().skip(4).map(pods).collect();
        assert_eq!(scaled[..3], [(8, 8), (3, 3), (5, 5)]);
        assert_eq!(scaled[5..], [(0, 0), (0, 10)]);
        let crashed: Vec<_> = played("comes as far as the fences").iter().map(pods).collect();
        assert_eq!(crashed, [(8, 5), (15, 10), (4, 3), (4, 3), (9, 6), (9, 6), (12, 0)]);
        let recreated = played("with Recreate");
        assert!(recreated.iter().all(|outcome| outcome.way.versions_at_once == 1), "{recreated:#?}");
        let full: Vec<_> = played("the nodes are full").iter().map(pods).collect();
        assert_eq!(full, [(2, 1), (0, 2), (0, 4), (0, 2)]);
    }

    #[test]
    fn requests_go_to_no_pod_that_is_on_its_way_out() {
        let deployment = json!({"spec": {"template": {"metadata": {"annotations": {"version": "v1"}}}}});
        let pods = |pods| Counts::from([("v1".to_owned(), pods)]);
        assert_eq!(ending_on_the_model(&deployment, [4, 1]), (pods(4), pods(1)));
    }

    #[test]
    fn a_job_ends_once() {
        for (fails, word) in [(false, "Complete"), (true, "Failed")] {
            let ends = job_on_the_model(&job(fails));
            assert_eq!(ends.len(), 2, "{ends:?}");
            assert_eq!(ends[1]["type"], word);
        }
    }
}
