//! Where new pods are, asked of an API server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate::decide::Placing;
use tidegate::decide::snapshot::Place;
use tidegate::observe::places::read;

use super::{cluster, forbidden};

const PODS: &str = "/api/v1/namespaces/shop/pods?labelSelector=app%3Dshop%2Ctier%3Dweb&limit=250";

fn node_path(name: &str) -> &'static str {
    match name {
        "n1" => "/api/v1/nodes?fieldSelector=metadata.name%3Dn1&limit=250",
        _ => "/api/v1/nodes?fieldSelector=metadata.name%3Dgone&limit=250",
    }
}

fn list(items: &[Value]) -> Value {
    json!({"items": items, "metadata": {}})
}

fn pod(uid: &str, node: Option<&str>) -> Value {
    json!({"metadata": {"uid": uid, "labels": {"app": "shop", "zone": "a"}}, "spec": {"nodeName": node}})
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn wanted(nodes: bool) -> Placing {
    let pods = BTreeSet::from(["a", "b", "c", "d"].map(str::to_owned));
    Placing { pods, labels: labels(&[("app", "shop"), ("tier", "web")]), nodes }
}

#[tokio::test]
async fn pods_are_listed_by_the_labels_of_their_template_and_each_of_their_nodes_is_read() {
    let pods = [pod("a", Some("n1")), pod("b", Some("gone")), pod("c", None), pod("stable", Some("another"))];
    let own = labels(&[("app", "shop"), ("zone", "a")]);
    let place = |node_labels| Place { labels: own.clone(), node_labels };
    let node = json!({"metadata": {"name": "n1", "labels": {"tier": "pilot"}}});
    let server = cluster([
        (PODS, 200, list(&pods)),
        (node_path("n1"), 200, list(&[node])),
        (node_path("gone"), 200, list(&[])),
    ])
    .await;
    let found = read(&server, "shop", &wanted(true)).await.unwrap();
    let tier = labels(&[("tier", "pilot")]);
    // One that is gone is left out; one of another version is none of them.
    let all = [("a", place(Some(tier))), ("b", place(None)), ("c", place(None))]
        .map(|(uid, it)| (uid.to_owned(), it));
    assert_eq!(found, BTreeMap::from(all));
    // By labels of pods no node is asked for: there is no answer for any.
    let server = cluster([(PODS, 200, list(&pods))]).await;
    let found = read(&server, "shop", &wanted(false)).await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.values().all(|it| *it == place(None)), "{found:?}");
}

#[tokio::test]
async fn what_cannot_be_read_says_what_to_do() {
    let refused = forbidden("list", "nodes", "");
    let server = cluster([(PODS, 200, list(&[pod("a", Some("n1"))])), (node_path("n1"), 403, refused)]).await;
    let said = read(&server, "shop", &wanted(true)).await.unwrap_err();
    let rule = "{apiGroups: [''], resources: [nodes], verbs: [list]}";
    assert_eq!(said, format!("the operator may not list nodes: add {rule} to the role tidegate"));
    let server = cluster([(PODS, 500, json!({}))]).await;
    assert_eq!(read(&server, "shop", &wanted(true)).await.unwrap_err(), "pods could not be read: status 500");
    let crowd: Vec<Value> =
        (0..101).map(|number| pod(&format!("p{number}"), Some(&format!("n{number}")))).collect();
    let server = cluster([(PODS, 200, list(&crowd))]).await;
    let many = Placing { pods: (0..101).map(|number| format!("p{number}")).collect(), ..wanted(true) };
    assert_eq!(
        read(&server, "shop", &many).await.unwrap_err(),
        "they are on 101 nodes, and no more than 100 are read"
    );
}
