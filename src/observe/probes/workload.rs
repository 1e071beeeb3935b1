//! Answers of `workload` checks: lists what the check needs to know of, and no more. What it says is judged in `decide/workload/`.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use super::list::{List, each};
use super::{Answer, unknown};
use crate::decide::workload::room::Nodes;
use crate::decide::workload::{Around, Subject, Wanted, judged};

/// Pages of what a namespace has few of.
const FEW: usize = 4;
/// Pages of nodes, and of pods: 5,000 and 50,000.
const NODES: usize = 20;
const PODS: usize = 200;

/// Asks once.
pub async fn ask(client: &Client, namespace: &str, wanted: Wanted, subject: &Subject) -> Answer {
    let mut around = Around::default();
    if wanted.budget {
        let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
        around.budgets = Some(all(client, namespace, &path, "poddisruptionbudgets").await);
    }
    if wanted.room {
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas");
        around.quotas = Some(all(client, namespace, &path, "resourcequotas").await);
        around.nodes = Some(nodes(client, namespace, subject).await);
    }
    let subject = subject.clone();
    let judged = tokio::task::spawn_blocking(move || judged(wanted, &subject, &around)).await;
    judged.unwrap_or_else(|_| unknown("it could not be judged".to_owned()))
}

async fn all(client: &Client, namespace: &str, path: &str, words: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    let list = List { asker: namespace, path, selectors: &[], words, most_pages: FEW };
    each(client, &list, |mut object| {
        // Annotations, and who manages what, may be large, and nobody looks at them.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| field == "name");
        }
        found.push(object);
    })
    .await?;
    Ok(found)
}

/// Nodes, and of all pods in the cluster what they ask for.
async fn nodes(client: &Client, namespace: &str, subject: &Subject) -> Result<Nodes, String> {
    let mut nodes = Nodes::of(&subject.template.value());
    let path = "/api/v1/nodes";
    let list = List { asker: namespace, path, selectors: &[], words: "nodes", most_pages: NODES };
    each(client, &list, |node| nodes.see_node(&node)).await?;
    let on_nodes = [("fieldSelector", "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed")];
    let path = "/api/v1/pods";
    let list = List { asker: namespace, path, selectors: &on_nodes, words: "pods", most_pages: PODS };
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
