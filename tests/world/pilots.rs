//! Steps that count only those of their pods which are where they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::Placing;
use tidegate::decide::plan;
use tidegate::decide::snapshot::{Place, Placed, ProbeResult};

use super::measured::Traffic;
use super::{World, template};

/// Where the pods of the world are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Pods on a node with the label `tier=pilot`; all others are on one with `tier=common`.
    pub on_pilot_nodes: BTreeSet<String>,
    /// Pods that somebody has given the label `zone=a`.
    pub in_zone: BTreeSet<String>,
    /// Why it cannot be told.
    pub trouble: Option<&'static str>,
    /// How often it was read.
    pub reads: usize,
    placed: Option<Arc<Placed>>,
}

impl Places {
    pub fn read_last(&self) -> Option<Arc<Placed>> {
        self.placed.clone()
    }

    pub fn forget(&mut self) {
        self.placed = None;
    }
}

impl World {
    /// Reads where pods are.
    pub fn place(&mut self, wanted: Option<Placing>) {
        let Some(wanted) = wanted else { return };
        let labels = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(wanted.labels, labels("app", "shop"));
        let place = |uid: &String| {
            let tier = if self.places.on_pilot_nodes.contains(uid) { "pilot" } else { "common" };
            let mut own = labels("app", "shop");
            if self.places.in_zone.contains(uid) {
                own.insert("zone".to_owned(), "a".to_owned());
            }
            (uid.clone(), Place { labels: own, node_labels: wanted.nodes.then(|| labels("tier", tier)) })
        };
        let found = match self.places.trouble {
            None => Ok(wanted.pods.iter().map(place).collect()),
            Some(trouble) => Err(trouble.to_owned()),
        };
        self.places.reads += 1;
        self.places.placed = Some(Arc::new(Placed { at: self.now, asked: wanted.pods, found }));
    }

    /// New pods that are not on their way out.
    fn canaries(&self) -> Vec<String> {
        let newest = self.sets.iter().max_by_key(|set| set.born).expect("a set");
        let own = self.pods.iter().filter(|pod| pod.set == newest.name && pod.terminating_since.is_none());
        own.map(|pod| pod.name.clone()).collect()
    }
}

fn nodes() -> Value {
    json!({"matchLabels": {"tier": "pilot"}})
}

/// Two pods of four, a soak of a minute, and a check.
fn spec(pilot: Value) -> Value {
    json!({
        "steps": [
            {"name": "pilot", "replicas": 2, "soak": "60s", "pilot": pilot, "checks": [{"name": "smoke", "http": {"podPath": "/health"}}]},
            {"name": "all", "replicas": "100%"},
        ],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

fn shipped(spec: Value) -> World {
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    let mut world = World::new(4, strategy, spec);
    world.push(template("v2", false));
    world
}

/// Why it is held, and what is said of it.
fn blocked(world: &World) -> (&str, &str) {
    world.status.blocked_by.as_ref().map_or(("", ""), |by| (by.reason.as_str(), by.message.as_str()))
}

fn until_blocked(world: &mut World, reason: &str) {
    world.until(reason, |world| blocked(world).0 == reason);
}

fn soaked(world: &World) -> i64 {
    world.status.run.as_ref().expect("a run").progress.soaked
}

fn outcome(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

#[test]
fn a_step_is_reached_when_so_many_of_its_pods_are_on_such_nodes() {
    let mut world = shipped(spec(json!({"nodes": nodes(), "atLeast": 1})));
    until_blocked(&mut world, "PilotsMissing");
    let message = "step pilot: 0 of 1 new pods are on nodes tier=pilot; 2 elsewhere";
    assert_eq!(blocked(&world).1, message);
    let unblock = world.status.blocked_by.as_ref().unwrap().unblock.clone();
    assert!(unblock.contains("nodeSelector") && unblock.contains("tidegate skip shop"), "{unblock}");
    world.pass(Duration::from_secs(30));
    let progress = world.status.run.as_ref().unwrap().progress.clone();
    assert_eq!((progress.reached, progress.soaking_since, progress.soaked), (None, None, 0));
    assert_eq!(world.asked.len(), 0, "its checks have not begun");
    assert_eq!((world.phase().as_str(), &world.deployment()["spec"]["paused"]), ("Held", &json!(true)));
    let one = world.canaries().remove(0);
    world.places.on_pilot_nodes.insert(one);
    world.until("it soaks", |world| world.phase() == "Soaking");
    assert_eq!(world.asked.len(), 1);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    let report = world.reports.values().next().unwrap();
    let pilots: Vec<_> = report.steps.iter().map(|step| (step.name.as_str(), step.pilots)).collect();
    assert_eq!(pilots, [("pilot", Some(1)), ("all", None)]);
}

#[test]
fn where_nothing_is_said_all_pods_of_the_step_are_pilots() {
    let mut world = shipped(spec(json!({"nodes": nodes()})));
    world.until("two pods", |world| world.canaries().len() == 2);
    let mut canaries = world.canaries();
    world.places.on_pilot_nodes.insert(canaries.remove(0));
    until_blocked(&mut world, "PilotsMissing");
    assert_eq!(blocked(&world).1, "step pilot: 1 of 2 new pods are on nodes tier=pilot; 1 elsewhere");
    world.places.on_pilot_nodes.insert(canaries.remove(0));
    world.until("it soaks", |world| world.phase() == "Soaking");
}

#[test]
fn a_pod_must_be_all_that_is_asked_for() {
    let pods = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]});
    let mut world = shipped(spec(json!({"nodes": nodes(), "pods": pods, "atLeast": 1})));
    world.until("two pods", |world| world.canaries().len() == 2);
    let canaries = world.canaries();
    world.places.on_pilot_nodes.insert(canaries[0].clone());
    world.places.in_zone.insert(canaries[1].clone());
    until_blocked(&mut world, "PilotsMissing");
    let message = "step pilot: 0 of 1 new pods are on nodes tier=pilot and labelled zone in (a,b); 2 others";
    assert_eq!(blocked(&world).1, message);
    world.places.in_zone.insert(canaries[0].clone());
    world.until("it soaks", |world| world.phase() == "Soaking");
    // By labels alone no node is read.
    let mut world = shipped(spec(json!({"pods": pods, "atLeast": 1})));
    world.until("two pods", |world| world.canaries().len() == 2);
    world.places.in_zone.extend(world.canaries());
    world.until("it soaks", |world| world.phase() == "Soaking");
    let placed = world.places.read_last().unwrap();
    assert!(placed.found.as_ref().unwrap().values().all(|place| place.node_labels.is_none()));
}

#[test]
fn its_soak_stands_still_while_pilots_are_missing() {
    let mut world = shipped(spec(json!({"nodes": nodes(), "atLeast": 1})));
    world.until("two pods", |world| world.canaries().len() == 2);
    world.places.on_pilot_nodes.extend(world.canaries());
    world.until("it soaks", |world| world.phase() == "Soaking");
    world.pass(Duration::from_secs(10));
    // Somebody gives the node another label: found out within a minute.
    let nodes = std::mem::take(&mut world.places.on_pilot_nodes);
    let lost = world.now;
    until_blocked(&mut world, "PilotsMissing");
    assert!(world.now < lost + Duration::from_secs(61));
    let before = soaked(&world);
    assert!((10_000..60_000).contains(&before), "{before}");
    world.pass(Duration::from_secs(40));
    assert_eq!((soaked(&world), blocked(&world).0), (before, "PilotsMissing"));
    world.places.on_pilot_nodes = nodes;
    world.until("it goes on", |world| world.phase() == "Soaking");
    // Both pods are lost, and others come elsewhere.
    let now = world.now;
    let gone = world.canaries();
    for pod in world.pods.iter_mut().filter(|pod| gone.contains(&pod.name)) {
        pod.terminating_since = Some(now);
    }
    until_blocked(&mut world, "PilotsMissing");
    assert_eq!(world.canaries().len(), 2);
    let left = 60_000 - soaked(&world);
    world.places.on_pilot_nodes.extend(world.canaries());
    world.until("it goes on again", |world| world.phase() == "Soaking");
    let again = world.now;
    assert_eq!(outcome(&mut world), "Succeeded");
    let took = world.now.as_millisecond() - again.as_millisecond();
    assert!(took >= left, "{took} of {left} ms");
}

#[test]
fn what_cannot_be_told_is_not_passed() {
    let mut world = shipped(spec(json!({"nodes": nodes(), "atLeast": 1})));
    world.until("two pods", |world| world.canaries().len() == 2);
    world.places.on_pilot_nodes.extend(world.canaries());
    world.places.trouble = Some("the operator may not list nodes: add a rule");
    until_blocked(&mut world, "PilotsUnknown");
    let message = "step pilot: it cannot be told which pods are on nodes tier=pilot: the operator may not list nodes: add a rule";
    assert_eq!(blocked(&world).1, message);
    assert!(world.status.blocked_by.as_ref().unwrap().unblock.contains("pilot.pods"));
    world.pass(Duration::from_secs(40));
    assert_eq!((blocked(&world).0, soaked(&world)), ("PilotsUnknown", 0));
    // Another process that has not asked yet says nothing else: whoever is told of holds is told once.
    let writes = world.status_writes;
    world.begin_anew();
    world.pass(Duration::from_secs(10));
    assert_eq!((blocked(&world).0, world.status_writes), ("PilotsUnknown", writes));
    world.say("Skip");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn nothing_of_it_is_in_the_way_of_an_undo() {
    let held = || {
        let mut spec = spec(json!({"nodes": nodes()}));
        spec["criteria"] = json!([{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]);
        let mut world = shipped(spec);
        world.meters.traffic = Some(Traffic { requests: 100, ..Traffic::default() });
        until_blocked(&mut world, "PilotsMissing");
        world
    };
    let mut aborted = held();
    aborted.say("Abort");
    assert_eq!(outcome(&mut aborted), "Aborted", "{}", aborted.describe());
    let mut breached = held();
    breached.meters.traffic = Some(Traffic { requests: 100, errors: 30, ..Traffic::default() });
    assert_eq!(outcome(&mut breached), "Undone", "{}", breached.describe());
    let mut crashed = held();
    let newest = crashed.canaries();
    for pod in crashed.pods.iter_mut().filter(|pod| newest.contains(&pod.name)) {
        (pod.crashing, pod.restarts, pod.ready_since) = (true, 5, None);
    }
    assert_eq!(outcome(&mut crashed), "Undone", "{}", crashed.describe());
}

#[test]
fn what_a_failed_check_asks_before_it_leads_back_is_asked_when_the_pilots_are_gone_too() {
    let mut spec = spec(json!({"nodes": nodes()}));
    spec["steps"][0]["checks"][0]["every"] = json!("10s");
    spec["undo"] = json!({"approval": {"roles": ["owner"], "timeout": "30s"}});
    let mut world = shipped(spec);
    world.until("two pods", |world| world.canaries().len() == 2);
    world.places.on_pilot_nodes.extend(world.canaries());
    world.until("it soaks", |world| world.phase() == "Soaking");
    world.answers.insert("pilot/smoke", (ProbeResult::Failed, "answered 500"));
    until_blocked(&mut world, "AwaitingUndoApproval");
    world.say_of("Reject", json!({"role": "owner", "undo": true}));
    until_blocked(&mut world, "UndoRefused");
    world.places.on_pilot_nodes.clear();
    world.places.forget();
    world.say("Resume");
    until_blocked(&mut world, "AwaitingUndoApproval");
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
}

#[test]
fn where_they_are_is_read_once_a_minute_and_a_restart_costs_no_soak() {
    let mut lasting = spec(json!({"nodes": nodes()}));
    lasting["steps"][0]["soak"] = json!("90s");
    let mut world = shipped(lasting);
    world.until("two pods", |world| world.canaries().len() == 2);
    world.places.on_pilot_nodes.extend(world.canaries());
    world.until("it soaks", |world| world.phase() == "Soaking");
    let (reads, writes) = (world.places.reads, world.status_writes);
    world.pass(Duration::from_secs(65));
    assert_eq!(world.places.reads - reads, 1);
    world.begin_anew();
    world.look();
    assert_eq!(world.phase(), "Soaking");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.phase(), "Soaking");
    // But no step is left before it was looked at anew.
    let mut late = world.copy();
    late.begin_anew();
    late.now += Duration::from_secs(60);
    late.look();
    assert_eq!((late.phase().as_str(), late.status.run.as_ref().unwrap().step), ("Soaking", 0));
    late.places.on_pilot_nodes.clear();
    late.places.forget();
    until_blocked(&mut late, "PilotsMissing");
    assert!(world.status_writes - writes <= 4, "{}", world.status_writes - writes);
    // Before the step and after it nobody reads where pods are.
    let reads = world.places.reads;
    assert_eq!(outcome(&mut world), "Succeeded");
    world.pass(Duration::from_secs(20));
    assert!(world.places.reads - reads <= 1);
    let mut plain = shipped(json!({
        "steps": [{"name": "half", "replicas": 2, "soak": "10s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    }));
    assert_eq!((outcome(&mut plain).as_str(), plain.places.reads), ("Succeeded", 0));
}

#[test]
fn with_fewer_pods_than_pilots_the_way_out_is_more_pods() {
    let mut spec = spec(json!({"nodes": nodes(), "atLeast": 2}));
    spec["steps"][0]["replicas"] = json!("25%");
    let mut world = shipped(spec);
    world.until("a pod", |world| world.canaries().len() == 1);
    world.places.on_pilot_nodes.extend(world.canaries());
    until_blocked(&mut world, "PilotsMissing");
    assert_eq!(blocked(&world).1, "step pilot: 1 of 2 new pods are on nodes tier=pilot; 0 elsewhere");
    let unblock = world.status.blocked_by.as_ref().unwrap().unblock.clone();
    assert!(unblock.starts_with("more replicas in the step (it has 1 pods)"), "{unblock}");
}

#[test]
fn what_makes_no_sense_is_refused_with_the_field_that_says_it() {
    let refused = |pilot: Value, replicas: Value| {
        let mut spec = spec(pilot);
        spec["targetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
        spec["steps"][0]["replicas"] = replicas;
        let spec = serde_json::from_value(spec).unwrap();
        plan::plan(&spec, false).map(|_| String::new()).unwrap_or_else(|refused| refused.to_string())
    };
    let pilot = |more: Value| {
        let mut pilot = json!({"nodes": nodes()});
        pilot.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pilot
    };
    assert_eq!(refused(pilot(json!({"atLeast": 2})), json!(2)), "");
    assert_eq!(refused(pilot(json!({"atLeast": 2})), json!("10%")), "");
    assert_eq!(
        refused(json!({}), json!(2)),
        "spec.steps[0].pilot: write nodes or pods: which of the step's pods count"
    );
    assert_eq!(
        refused(pilot(json!({"pods": {}})), json!(2)),
        "spec.steps[0].pilot.pods: write matchLabels or matchExpressions"
    );
    assert_eq!(
        refused(json!({"pods": {"matchLabels": {"a b": "c"}}}), json!(2)),
        "spec.steps[0].pilot.pods: 'a b' is not the key or the value of a label"
    );
    assert_eq!(
        refused(pilot(json!({"atLeast": 3})), json!(2)),
        "spec.steps[0].pilot.atLeast: 3 is more than the step's replicas (2)"
    );
    assert_eq!(
        refused(pilot(json!({})), json!("100%")),
        "spec.steps[0].pilot: pilots go before others, and after 100% nobody is left: write it in a smaller step"
    );
}
