//! Answers of `workload` checks: lists what the check needs to know of, and no more. What it says is judged in `decide/workload/`.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use super::extract::size;
use super::list::{List, each};
use super::{Answer, unknown};
use crate::decide::workload::room::Nodes;
use crate::decide::workload::{Around, Subject, Wanted, judged};

/// Pages of what a namespace has few of.
const FEW: usize = 4;
/// Bytes of memory that these may take.
const KEPT: usize = 4 << 20;
/// Pages of nodes, and of pods: 5,000 and 50,000.
const NODES: usize = 20;
const PODS: usize = 200;

/// What is read of each.
const OF_A_BUDGET: &[&str] = &["metadata.name", "spec.selector", "spec.minAvailable", "spec.maxUnavailable"];
const OF_A_QUOTA: &[&str] =
    &["metadata.name", "spec.hard", "spec.scopes", "spec.scopeSelector", "status.hard", "status.used"];
const OF_A_NODE: &[&str] = &[
    "metadata.name",
    "metadata.labels",
    "spec.unschedulable",
    "spec.taints",
    "status.allocatable",
    "status.conditions.type",
    "status.conditions.status",
];
const OF_A_POD: &[&str] = &[
    "metadata.namespace",
    "metadata.name",
    "spec.nodeName",
    "spec.containers.resources",
    "spec.initContainers.resources",
    "spec.initContainers.restartPolicy",
    "spec.resources",
    "spec.overhead",
    "status.phase",
];

/// Asks once.
pub async fn ask(client: &Client, namespace: &str, wanted: Wanted, subject: &Subject) -> Answer {
    let mut around = Around::default();
    if wanted.budget {
        let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
        around.budgets = Some(all(client, namespace, &path, "poddisruptionbudgets", OF_A_BUDGET).await);
    }
    if wanted.room {
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas");
        around.quotas = Some(all(client, namespace, &path, "resourcequotas", OF_A_QUOTA).await);
        around.nodes = Some(nodes(client, namespace, subject).await);
    }
    let subject = subject.clone();
    let judged = tokio::task::spawn_blocking(move || judged(wanted, &subject, &around)).await;
    judged.unwrap_or_else(|_| unknown("it could not be judged".to_owned()))
}

async fn all(
    client: &Client,
    namespace: &str,
    path: &str,
    words: &str,
    fields: &'static [&'static str],
) -> Result<Vec<Value>, String> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let list = List { asker: namespace, path, selectors: &[], words, fields, most_pages: FEW };
    each(client, &list, |object| {
        bytes += size(&object);
        if bytes <= KEPT {
            found.push(object);
        }
    })
    .await?;
    if bytes > KEPT {
        return Err(format!("{words}: more than {} MiB in memory: so much is not read", KEPT >> 20));
    }
    Ok(found)
}

/// Nodes, and of all pods in the cluster what they ask for.
async fn nodes(client: &Client, namespace: &str, subject: &Subject) -> Result<Nodes, String> {
    let mut nodes = Nodes::of(&subject.template.value());
    let path = "/api/v1/nodes";
    let list =
        List { asker: namespace, path, selectors: &[], words: "nodes", fields: OF_A_NODE, most_pages: NODES };
    each(client, &list, |node| nodes.see_node(&node)).await?;
    let on_nodes = [("fieldSelector", "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed")];
    let path = "/api/v1/pods";
    let list = List {
        asker: namespace,
        path,
        selectors: &on_nodes,
        words: "pods",
        fields: OF_A_POD,
        most_pages: PODS,
    };
    let own: &BTreeSet<String> = &subject.own;
    each(client, &list, |pod| {
        let metadata = &pod["metadata"];
        let is_own = metadata["namespace"] == namespace
            && metadata["name"].as_str().is_some_and(|name| own.contains(name));
        nodes.see_pod(&pod, is_own);
    })
    .await?;
    Ok(nodes)
}
