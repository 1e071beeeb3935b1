//! `workload` checks: what a template says, and whether there is room for its pods.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tidegate::api::check::workload::WorkloadCheck;
use tidegate::decide::plan::Question;
use tidegate::decide::snapshot::{ProbeId, ProbeResult, Template};
use tidegate::decide::workload::room::{Nodes, QuotaSays, of_pod};
use tidegate::decide::workload::{Around, Subject, Wanted, judged};
use tidegate::decide::{About, Probe};

use super::{ask, cluster, forbidden};

const ONE: &str = "shop@sha256:1111";
const TWO: &str = "shop@sha256:2222";

/// A template that lacks nothing.
fn whole(image: &str) -> Value {
    let get = json!({"httpGet": {"path": "/ready", "port": 8080}});
    let resources = json!({"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}});
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{
            "name": "shop", "image": image, "readinessProbe": get, "livenessProbe": get, "resources": resources,
        }]},
    })
}

fn with(mut template: Value, pointer: &str, value: Value) -> Value {
    *template.pointer_mut(pointer).expect("a place") = value;
    template
}

fn subject(stable: &Value, template: &Value) -> Subject {
    Subject {
        template: Template::new(template),
        stable: Some(Template::new(stable)),
        replicas: 2,
        surge: 1,
        own: BTreeSet::from(["shop-a".to_owned(), "shop-b".to_owned()]),
    }
}

fn wanted(check: Value) -> Wanted {
    let check: WorkloadCheck = serde_json::from_value(check).expect("a check");
    Wanted::of(&check)
}

/// What the template alone says.
fn said(check: Value, template: &Value) -> (ProbeResult, String) {
    judged(wanted(check), &subject(&whole(ONE), template), &Around::default())
}

fn failed(words: &str) -> (ProbeResult, String) {
    (ProbeResult::Failed, words.to_owned())
}

fn passed(words: &str) -> (ProbeResult, String) {
    (ProbeResult::Passed, words.to_owned())
}

#[test]
fn a_template_says_what_it_lacks_all_at_once() {
    let container = "/spec/containers/0";
    let all = json!({"probes": "Required", "resources": "Required", "minReplicas": 2});
    let well =
        "images differ from stable's; images by digest; 2 replicas; readinessProbes; requests and limits";
    assert_eq!(said(all.clone(), &whole(TWO)), passed(well));
    let bare = with(whole(TWO), container, json!({"name": "shop", "image": TWO}));
    let lacking = "3 replicas".to_owned();
    let three = json!({"probes": "Required", "resources": "Required", "minReplicas": 3});
    let words = "2 replicas, and minReplicas is 3: have more; no readinessProbe in container shop: write one (probes); \
        not written: limits.memory of container shop, requests.cpu of container shop, requests.memory of container shop (resources)";
    assert_eq!(said(three, &bare), failed(words), "{lacking}");
    // What is not asked for is not looked at.
    assert_eq!(
        said(json!({"minReplicas": 1}), &bare),
        passed("images differ from stable's; images by digest; 2 replicas")
    );
    // A limit stands for a request; what is said of the pod, for each container.
    let limited =
        with(whole(TWO), "/spec/containers/0/resources", json!({"limits": {"cpu": 1, "memory": "1Gi"}}));
    assert_eq!(said(all.clone(), &limited).0, ProbeResult::Passed);
    let mut of_pod = bare.clone();
    of_pod["spec"]["resources"] =
        json!({"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}});
    assert_eq!(said(json!({"resources": "Required"}), &of_pod).0, ProbeResult::Passed);
    // A sidecar lasts as long as the others; what only comes before them needs no probe.
    let mut more = whole(TWO);
    more["spec"]["initContainers"] = json!([{"name": "migrate", "image": TWO}, {"name": "proxy", "image": TWO, "restartPolicy": "Always"}]);
    let (result, words) = said(json!({"probes": "Required"}), &more);
    assert_eq!(
        (result, words.as_str()),
        (ProbeResult::Failed, "no readinessProbe in container proxy: write one (probes)")
    );
    let mortal = with(whole(TWO), "/spec/containers/0/livenessProbe", Value::Null);
    let told =
        "images differ from stable's; images by digest; readinessProbes; no livenessProbe in container shop";
    assert_eq!(said(json!({"probes": "Required"}), &mortal), passed(told));
}

#[test]
fn an_image_without_a_digest_fails_where_one_is_asked_for_and_else_a_moving_tag_is_told() {
    let digests = json!({"imageByDigest": "Required"});
    assert_eq!(said(digests.clone(), &whole(TWO)), passed("images differ from stable's; images by digest"));
    let tagged = failed("no digest in image shop:v2: write name@sha256:... (imageByDigest)");
    assert_eq!(said(digests, &whole("shop:v2")), tagged);
    let told = "images differ from stable's; 2 replicas; warning: image shop:latest has no tag but latest: it changes \
        without a release, so pin it by digest";
    assert_eq!(said(json!({"minReplicas": 1}), &whole("shop:latest")), passed(told));
    assert_eq!(
        said(json!({"minReplicas": 1}), &whole("shop:v2")),
        passed("images differ from stable's; 2 replicas")
    );
}

#[test]
fn the_new_template_must_be_another_one_than_stable() {
    let least = || json!({"minReplicas": 1});
    let same = "the new template is the same as stable, by the digests of its images, and going back would change nothing: \
        change it, or skip this check";
    assert_eq!(said(least(), &whole("mirror.example.com/shop:v2@sha256:1111")), failed(same));
    let mut restarted = whole(ONE);
    restarted["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/restartedAt": "2026-11-28T01:00:00Z"});
    let (result, words) = said(least(), &restarted);
    assert_eq!(result, ProbeResult::Failed);
    assert!(
        words.starts_with("the new template is the same as stable: it only starts the pods anew, and"),
        "{words}"
    );
    // Configuration alone is a difference.
    let mut configured = whole(ONE);
    configured["spec"]["containers"][0]["env"] = json!([{"name": "CURRENCY", "value": "NOK"}]);
    let told = "the template differs from stable, its images do not; images by digest; 2 replicas";
    assert_eq!(said(least(), &configured), passed(told));
    // With a tag that moves, going back may not go back.
    let moving = subject(&whole("shop"), &with(configured, "/spec/containers/0/image", json!("shop")));
    let (result, words) = judged(wanted(least()), &moving, &Around::default());
    assert_eq!(result, ProbeResult::Passed);
    assert!(
        words.contains("stable names image shop too, whose tag moves: going back may start what was left"),
        "{words}"
    );
    let lost = Subject { stable: None, ..subject(&whole(ONE), &whole(TWO)) };
    assert_eq!(judged(wanted(least()), &lost, &Around::default()).0, ProbeResult::Unknown);
}

#[test]
fn nothing_written_is_all_of_it_but_digests() {
    let all =
        Wanted { probes: true, resources: true, budget: true, replicas: Some(2), digests: false, room: true };
    assert_eq!(wanted(json!({})), all);
    let none =
        Wanted { probes: false, resources: false, budget: false, replicas: None, digests: true, room: false };
    assert_eq!(wanted(json!({"imageByDigest": "Required"})), none);
}

fn node(name: &str, cpu: &str, more: Value) -> Value {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"pool": "shop"}}, "spec": {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10", "ephemeral-storage": "1Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    for (pointer, value) in more.as_object().into_iter().flatten() {
        let (above, last) = pointer.rsplit_once('/').expect("a pointer");
        node.pointer_mut(above).expect("a place")[last] = value.clone();
    }
    node
}

fn pod(name: &str, node: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu, "memory": "256Mi"}}}]},
        "status": {"phase": "Running"},
    })
}

fn budget(name: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "shop"}}});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

const BUDGETS: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets?limit=250";
const QUOTAS: &str = "/api/v1/namespaces/shop/resourcequotas?limit=250";
const NODES: &str = "/api/v1/nodes?limit=250";
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=250";

async fn asked(client: &Client, check: Value) -> (ProbeResult, String) {
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "workload".into(), attempt: 1, definition: None },
        question: Question::Workload(wanted(check)),
        timeout: Duration::from_secs(10),
        pods: Vec::new(),
        about: About::Workload(Box::new(subject(&whole(ONE), &whole(TWO)))),
    };
    ask(client, &probe, Timestamp::UNIX_EPOCH).await
}

/// A cluster with these budgets, quotas, nodes and pods.
async fn around(budgets: &[Value], quotas: &[Value], nodes: &[Value], pods: &[Value]) -> Client {
    cluster([
        (BUDGETS, 200, list(budgets)),
        (QUOTAS, 200, list(quotas)),
        (NODES, 200, list(nodes)),
        (PODS, 200, list(pods)),
    ])
    .await
}

#[tokio::test]
async fn all_of_it_passes_with_its_numbers() {
    let quota = json!({
        "metadata": {"name": "compute"},
        "status": {"hard": {"requests.cpu": "4", "pods": "10", "services": "5"}, "used": {"requests.cpu": "1", "pods": "2"}},
    });
    let nodes = [node("a", "2", json!({})), node("b", "1", json!({"/spec/unschedulable": true}))];
    let pods = [pod("shop-a", "a", "500m"), pod("shop-b", "b", "500m")];
    let client = around(&[budget("shop", json!({"maxUnavailable": 1}))], &[quota], &nodes, &pods).await;
    let words = "images differ from stable's; images by digest; 2 replicas; readinessProbes; requests and limits; \
        poddisruptionbudget shop; 1 more pod fit into 1 resourcequota; room on nodes for 3 more pods, 1 needed, each asking for \
        cpu 500m, memory 256Mi (1 of 2 nodes take such pods)";
    assert_eq!(asked(&client, json!({})).await, passed(words));
}

#[tokio::test]
async fn a_budget_selects_the_pods_and_lets_one_go() {
    let check = || json!({"podDisruptionBudget": "Required"});
    let other = json!({"metadata": {"name": "other"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    let none = "no PodDisruptionBudget selects the pods: make one, so that a drain leaves enough of them (podDisruptionBudget)";
    assert_eq!(asked(&around(&[other], &[], &[], &[]).await, check()).await, failed(none));
    for (budgets, told) in [
        (vec![budget("shop", json!({"minAvailable": 1}))], "poddisruptionbudget shop"),
        (
            vec![budget("shop", json!({"minAvailable": 2}))],
            "poddisruptionbudget shop; warning: poddisruptionbudget shop lets no pod go: nodes cannot be drained",
        ),
        (
            vec![budget("shop", json!({"maxUnavailable": "0%"}))],
            "poddisruptionbudget shop; warning: poddisruptionbudget shop lets no pod go: nodes cannot be drained",
        ),
        (
            vec![budget("one", json!({})), budget("two", json!({}))],
            "poddisruptionbudgets one, two; warning: with several budgets the API server evicts no pod",
        ),
    ] {
        let words = format!("images differ from stable's; images by digest; {told}");
        assert_eq!(asked(&around(&budgets, &[], &[], &[]).await, check()).await, passed(&words));
    }
}

#[tokio::test]
async fn pods_that_do_not_fit_onto_nodes_or_into_a_quota_fail_with_the_numbers() {
    let check = || json!({"room": "Required"});
    let full = [pod("web", "a", "1600m"), pod("shop-a", "a", "100m")];
    let client = around(&[], &[], &[node("a", "2", json!({}))], &full).await;
    let words = "room for 0 of 1 more pod (maxSurge), each asking for cpu 500m, memory 256Mi: 1 of 1 node take such pods, \
        at most cpu 300m, memory 3584Mi is left on one; free some, or surge less";
    assert_eq!(asked(&client, check()).await, failed(words));
    // One more fits, and then only one of two: the new ones ask for more than the old ones hold.
    let tight = [pod("web", "a", "1300m"), pod("shop-a", "a", "100m"), pod("shop-b", "a", "100m")];
    let client = around(&[], &[], &[node("a", "2", json!({}))], &tight).await;
    let words = "room for 1 of 2 replicas when the old ones are gone, each asking for cpu 500m, memory 256Mi: 1 of 1 node take \
        such pods, at most cpu 500m, memory 3328Mi is left on one; ask for less, or free some";
    assert_eq!(asked(&client, check()).await, failed(words));
    let client = around(&[], &[], &[node("a", "2", json!({"/spec/unschedulable": true}))], &[]).await;
    let words = "no node of 1 takes such pods: it is not ready, cordoned, tainted, or not one that the template selects";
    assert_eq!(asked(&client, check()).await, failed(words));
    let quota = json!({
        "metadata": {"name": "compute"},
        "status": {"hard": {"requests.cpu": "1", "limits.memory": "8Gi"}, "used": {"requests.cpu": "800m"}},
    });
    let client = around(&[], &[quota], &[node("a", "4", json!({}))], &[]).await;
    let words = "resourcequota compute has requests.cpu 200m left, and the run needs 500m (1 more pod of maxSurge): raise it, \
        or ask for less";
    assert_eq!(asked(&client, check()).await, failed(words));
}

#[tokio::test]
async fn what_may_not_be_read_is_unknown_and_says_which_rule_gives_it() {
    let client = cluster([
        (BUDGETS, 403, forbidden("list", "poddisruptionbudgets", "policy")),
        (QUOTAS, 200, list(&[])),
        (NODES, 403, forbidden("list", "nodes", "")),
    ])
    .await;
    let words = "the operator may not list poddisruptionbudgets: add {apiGroups: [policy], resources: [poddisruptionbudgets], \
        verbs: [list]} to the role tidegate; the operator may not list nodes: add {apiGroups: [''], resources: [nodes], verbs: \
        [list]} to the role tidegate";
    assert_eq!(asked(&client, json!({})).await, (ProbeResult::Unknown, words.to_owned()));
    // What is wrong is wrong, whatever else cannot be told.
    let (result, said) = asked(&client, json!({"minReplicas": 9, "podDisruptionBudget": "Required"})).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(
        said.starts_with("2 replicas, and minReplicas is 9: have more; the operator may not list"),
        "{said}"
    );
    let client = cluster([(BUDGETS, 500, json!("oops"))]).await;
    let words = "poddisruptionbudgets could not be read: status 500";
    assert_eq!(
        asked(&client, json!({"podDisruptionBudget": "Required"})).await,
        (ProbeResult::Unknown, words.to_owned())
    );
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let mut first = list(&[node("a", "2", json!({}))]);
    first["metadata"]["continue"] = json!("next");
    let client = cluster([
        (QUOTAS, 200, list(&[])),
        (NODES, 200, first),
        ("/api/v1/nodes?limit=250&continue=next", 200, list(&[node("b", "2", json!({}))])),
        (PODS, 200, list(&[])),
    ])
    .await;
    let (result, words) = asked(&client, json!({"room": "Required"})).await;
    assert_eq!(result, ProbeResult::Passed);
    assert!(words.contains("room on nodes for 8 more pods") && words.contains("2 of 2 nodes"), "{words}");
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_again_a_few_at_a_time() {
    let few = "/api/v1/nodes?limit=8";
    let mut large = node("a", "2", json!({}));
    large["metadata"]["annotations"] = json!({"note": "x".repeat(17 << 20)});
    let mut first = list(&[node("a", "2", json!({}))]);
    first["metadata"]["continue"] = json!("next");
    let client = cluster([
        (QUOTAS, 200, list(&[])),
        (NODES, 200, list(&[large.clone()])),
        (few, 200, first),
        ("/api/v1/nodes?limit=8&continue=next", 200, list(&[node("b", "2", json!({}))])),
        (PODS, 200, list(&[])),
    ])
    .await;
    let (result, words) = asked(&client, json!({"room": "Required"})).await;
    assert_eq!(result, ProbeResult::Passed, "{words}");
    assert!(words.contains("2 of 2 nodes"), "{words}");
    // There is an end to it.
    let one = "/api/v1/nodes?limit=1";
    let alone = list(&[large]);
    let client = cluster([
        (QUOTAS, 200, list(&[])),
        (NODES, 200, alone.clone()),
        (few, 200, alone.clone()),
        (one, 200, alone),
    ])
    .await;
    let too_large = (ProbeResult::Unknown, "nodes: more than 16 MiB".to_owned());
    assert_eq!(asked(&client, json!({"room": "Required"})).await, too_large);
}

/// The same question about pods, of so many on a page.
const FEW_PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=8";
const ONE_POD: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=1";

/// A pod with so many containers: each of them is short as a text, and takes more than two kilobytes in memory.
fn crowded(name: &str, containers: usize) -> Value {
    let container = json!({"resources": {"requests": {"cpu": "1m"}}});
    with(pod(name, "a", "0"), "/spec/containers", json!(vec![container; containers]))
}

#[tokio::test]
async fn pods_that_take_much_memory_are_read_one_at_a_time_and_keep_nobody_from_the_others() {
    let crowd = [crowded("x", 20_000), crowded("y", 20_000), pod("web", "a", "500m")];
    assert!(list(&crowd).to_string().len() < 2 << 20, "as texts they are small");
    let page = |number: usize| {
        let mut page = list(&crowd[number..=number]);
        let next = ["x", "y", ""][number];
        page["metadata"]["continue"] = json!(next);
        page
    };
    let after = |name: &str| -> &'static str { format!("{ONE_POD}&continue={name}").leak() };
    let client = cluster([
        (QUOTAS, 200, list(&[])),
        (NODES, 200, list(&[node("a", "50", json!({}))])),
        (PODS, 200, list(&crowd)),
        (FEW_PODS, 200, list(&crowd)),
        (ONE_POD, 200, page(0)),
        (after("x"), 200, page(1)),
        (after("y"), 200, page(2)),
    ])
    .await;
    let (result, words) = asked(&client, json!({"room": "Required"})).await;
    assert_eq!(result, ProbeResult::Passed, "{words}");
    assert!(words.contains("room on nodes for 7 more pods"), "{words}");
    // There is an end to it.
    let alone = list(&[crowded("x", 40_000)]);
    let client = cluster([
        (QUOTAS, 200, list(&[])),
        (NODES, 200, list(&[])),
        (PODS, 200, alone.clone()),
        (FEW_PODS, 200, alone.clone()),
        (ONE_POD, 200, alone),
    ])
    .await;
    let too_much = (ProbeResult::Unknown, "pods: more than 64 MiB in memory".to_owned());
    assert_eq!(asked(&client, json!({"room": "Required"})).await, too_much);
}

#[tokio::test]
async fn what_is_not_looked_at_of_a_pod_takes_no_memory() {
    let mut noted = pod("web", "a", "500m");
    noted["metadata"]["managedFields"] = json!(vec![json!({"manager": "a"}); 200_000]);
    noted["spec"]["volumes"] = json!(vec![json!({"name": "a"}); 200_000]);
    let client = around(&[], &[], &[node("a", "2", json!({}))], &[noted]).await;
    let (result, words) = asked(&client, json!({"room": "Required"})).await;
    assert_eq!(result, ProbeResult::Passed, "{words}");
    assert!(words.contains("room on nodes for 3 more pods"), "{words}");
}

#[tokio::test]
async fn budgets_of_a_namespace_take_only_so_much_memory_together() {
    let selector = json!({"matchExpressions": vec![json!({"key": "a", "operator": "Exists"}); 1000]});
    let budgets: Vec<Value> =
        (0..5).map(|number| budget(&number.to_string(), json!({"selector": selector}))).collect();
    let check = || json!({"podDisruptionBudget": "Required"});
    let words = "poddisruptionbudgets: more than 4 MiB in memory: so much is not read".to_owned();
    let client = around(&budgets, &[], &[], &[]).await;
    assert_eq!(asked(&client, check()).await, (ProbeResult::Unknown, words));
    let (result, words) = asked(&around(&budgets[..4], &[], &[], &[]).await, check()).await;
    assert_eq!(result, ProbeResult::Failed, "{words}");
}

fn fits(template: &Value, nodes: &[Value]) -> usize {
    let mut seen = Nodes::of(template);
    nodes.iter().for_each(|node| seen.see_node(node));
    seen.fits().nodes
}

#[test]
fn a_node_takes_pods_that_select_and_tolerate_it() {
    let tainted = |effect: &str| {
        node("a", "2", json!({"/spec/taints": [{"key": "gpu", "value": "yes", "effect": effect}]}))
    };
    let tolerating = |toleration: Value| {
        let mut template = whole(TWO);
        template["spec"]["tolerations"] = json!([toleration]);
        template
    };
    assert_eq!(fits(&whole(TWO), &[tainted("NoSchedule")]), 0);
    assert_eq!(fits(&whole(TWO), &[tainted("PreferNoSchedule")]), 1);
    assert_eq!(fits(&tolerating(json!({"operator": "Exists"})), &[tainted("NoExecute")]), 1);
    assert_eq!(
        fits(
            &tolerating(json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"})),
            &[tainted("NoSchedule")]
        ),
        1
    );
    assert_eq!(fits(&tolerating(json!({"key": "gpu", "value": "no"})), &[tainted("NoSchedule")]), 0);
    assert_eq!(
        fits(
            &tolerating(json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"})),
            &[tainted("NoSchedule")]
        ),
        0
    );
    let unready = node("a", "2", json!({"/status/conditions": [{"type": "Ready", "status": "Unknown"}]}));
    assert_eq!(fits(&whole(TWO), &[unready]), 0);
    let selecting = |field: &str, value: Value| {
        let mut template = whole(TWO);
        template["spec"][field] = value;
        fits(&template, &[node("a", "2", json!({}))])
    };
    assert_eq!(selecting("nodeSelector", json!({"pool": "shop"})), 1);
    assert_eq!(selecting("nodeSelector", json!({"pool": "web"})), 0);
    let affinity = |term: Value| {
        let required = json!({"nodeSelectorTerms": [term]});
        selecting(
            "affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}),
        )
    };
    let rule = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "pool", "operator": operator, "values": values}]});
    assert_eq!(affinity(rule("In", &["web", "shop"])), 1);
    assert_eq!(affinity(rule("NotIn", &["shop"])), 0);
    assert_eq!(affinity(rule("Exists", &[])), 1);
    assert_eq!(affinity(rule("DoesNotExist", &[])), 0);
    assert_eq!(affinity(rule("Gt", &["1"])), 0, "it is no number");
    assert_eq!(
        affinity(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]})),
        1
    );
    assert_eq!(affinity(json!({})), 0);
}

#[test]
fn a_pod_asks_for_what_its_containers_do_or_for_what_starts_them() {
    let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    let mut sidecar = asks("200m");
    sidecar["restartPolicy"] = json!("Always");
    let cpu = |spec: Value| of_pod(&spec, "requests").get("cpu").copied();
    assert_eq!(cpu(json!({"containers": [asks("1"), asks("500m")]})), Some(1500));
    assert_eq!(cpu(json!({"initContainers": [asks("3")], "containers": [asks("1")]})), Some(3000));
    assert_eq!(cpu(json!({"initContainers": [sidecar, asks("3")], "containers": [asks("1")]})), Some(3200));
    assert_eq!(cpu(json!({"initContainers": [sidecar], "containers": [asks("1")]})), Some(1200));
    assert_eq!(cpu(json!({"containers": [asks("1")], "overhead": {"cpu": "250m"}})), Some(1250));
    assert_eq!(cpu(json!({"containers": [asks("1")], "resources": {"requests": {"cpu": "2"}}})), Some(2000));
    assert_eq!(cpu(json!({"containers": [{}]})), None);
}

#[test]
fn a_quota_counts_the_pods_that_its_scope_names() {
    let says = |mut quota: Value, stable: &Value, template: &Value| {
        quota["metadata"] = json!({"name": "compute"});
        let change = tidegate::decide::workload::room::Change {
            template,
            stable: Some(stable),
            surge: 1,
            replicas: 2,
        };
        tidegate::decide::workload::room::quota(&quota, &change)
    };
    let full = |more: Value| {
        let mut spec = json!({"hard": {"pods": "2"}});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        let quota = json!({"spec": spec, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}});
        says(quota, &whole(ONE), &whole(TWO))
    };
    let is_full = |says: &QuotaSays| matches!(says, QuotaSays::Full { .. });
    let selects = |operator: &str, values: &[&str]| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    assert!(is_full(&full(json!({}))));
    assert!(is_full(&full(json!({"scopes": ["NotTerminating", "NotBestEffort"]}))));
    assert_eq!(full(json!({"scopes": ["Terminating"]})), QuotaSays::Nothing);
    assert_eq!(full(json!({"scopes": ["BestEffort"]})), QuotaSays::Nothing);
    assert_eq!(full(selects("In", &["high"])), QuotaSays::Nothing);
    assert!(is_full(&full(selects("NotIn", &["high"]))));
    let scope = "CrossNamespacePodAffinity".to_owned();
    assert_eq!(full(json!({"scopes": [scope]})), QuotaSays::NotKnown { scope });
    // Of what grows, all replicas' growth is needed too.
    let larger = with(whole(TWO), "/spec/containers/0/resources/requests/cpu", json!("1"));
    let quota =
        |hard: &str| json!({"status": {"hard": {"requests.cpu": hard}, "used": {"requests.cpu": "1"}}});
    let needed = QuotaSays::Full {
        resource: "requests.cpu".into(),
        left: "1".into(),
        needed: "2".into(),
        grows: true,
    };
    assert_eq!(says(quota("2"), &whole(ONE), &larger), needed);
    assert_eq!(says(quota("3"), &whole(ONE), &larger), QuotaSays::Fits);
    let silent = with(whole(TWO), "/spec/containers/0/resources", json!({}));
    assert_eq!(says(quota("3"), &whole(ONE), &silent), QuotaSays::Unsaid { resource: "requests.cpu".into() });
}
