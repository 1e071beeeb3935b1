//! Where new pods are: their labels, and those of the nodes that they run on. Read while a step asks for it, and not watched: labels of all
//! pods and nodes would be kept in memory for the few steps that want to know of a few. What they mean is judged in `decide/pilots.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::Value;

use super::probes::list::{List, each};
use crate::decide::Placing;
use crate::decide::snapshot::Place;

/// Pages of pods with the labels of one template: 5,000 pods.
const MOST_PAGES: usize = 20;
/// Nodes that are read of one step's pods, and how many at a time.
const MOST_NODES: usize = 100;
const AT_A_TIME: usize = 8;
/// For all of it together.
const DEADLINE: Duration = Duration::from_secs(10);

/// Labels, by name.
type Known = BTreeMap<String, String>;

/// Reads where pods are, by uid. One that is gone is left out.
///
/// # Errors
/// A sentence: why it cannot be told, and what to do about it.
pub async fn read(
    client: &Client,
    namespace: &str,
    wanted: &Placing,
) -> Result<BTreeMap<String, Place>, String> {
    let late = |_| format!("no answer within {} s", DEADLINE.as_secs());
    tokio::time::timeout(DEADLINE, places(client, namespace, wanted)).await.map_err(late)?
}

async fn places(
    client: &Client,
    namespace: &str,
    wanted: &Placing,
) -> Result<BTreeMap<String, Place>, String> {
    let labels: Vec<String> = wanted.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let selectors = [("labelSelector", labels.join(","))];
    let selectors = selectors.each_ref().map(|(name, value)| (*name, value.as_str()));
    let list = List {
        asker: namespace,
        path: &path,
        selectors: &selectors,
        words: "pods",
        fields: &["metadata.uid", "metadata.labels", "spec.nodeName"],
        most_pages: MOST_PAGES,
    };
    let mut found: BTreeMap<String, (Known, Option<String>)> = BTreeMap::new();
    each(client, &list, |pod| {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        if wanted.pods.contains(uid) {
            let node = pod["spec"]["nodeName"].as_str().map(str::to_owned);
            found.insert(uid.to_owned(), (labels_of(&pod), node));
        }
    })
    .await?;
    let names: BTreeSet<String> = found.values().filter_map(|(_, node)| node.clone()).collect();
    let nodes = if wanted.nodes { nodes(client, namespace, names).await? } else { BTreeMap::new() };
    let place = |(uid, (labels, node)): (String, (Known, Option<String>))| {
        let node_labels = node.and_then(|node| nodes.get(&node).cloned());
        (uid, Place { labels, node_labels })
    };
    Ok(found.into_iter().map(place).collect())
}

/// The labels of these nodes; of one that is gone nothing.
async fn nodes(
    client: &Client,
    namespace: &str,
    names: BTreeSet<String>,
) -> Result<BTreeMap<String, Known>, String> {
    if names.len() > MOST_NODES {
        return Err(format!("they are on {} nodes, and no more than {MOST_NODES} are read", names.len()));
    }
    let read: Vec<Option<(String, Known)>> = stream::iter(names)
        .map(|name| node(client, namespace, name))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

/// A list of one, which takes no other right than `workload` checks do; to the API server it is as little work as a get.
async fn node(client: &Client, namespace: &str, name: String) -> Result<Option<(String, Known)>, String> {
    let field = format!("metadata.name={name}");
    let selectors = [("fieldSelector", field.as_str())];
    let list = List {
        asker: namespace,
        path: "/api/v1/nodes",
        selectors: &selectors,
        words: "nodes",
        fields: &["metadata.name", "metadata.labels"],
        most_pages: 1,
    };
    let mut found = None;
    each(client, &list, |node| {
        if node["metadata"]["name"] == name.as_str() {
            found = Some(labels_of(&node));
        }
    })
    .await?;
    Ok(found.map(|labels| (name, labels)))
}

fn labels_of(object: &Value) -> Known {
    serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
}
