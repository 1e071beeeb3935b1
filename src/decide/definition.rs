//! What counts are read with, in a word: which pages or server, which counter and label, which histogram. Whoever keeps counts keeps the word beside them:
//! counts of one are not compared with those of another.
//!
//! How often they are read, with which credentials, and which paths are left out make no difference.

use super::needs::Sampling;
use super::plan::Source;
use crate::api::ReleaseSpec;
use crate::api::digest::short;

/// What is counted for a run that is sampled so.
pub fn of_sampling(sampling: &Sampling) -> String {
    let requests = sampling.requests.as_ref().map(|(name, label)| (name.as_str(), label.as_deref()));
    word(&sampling.source, requests, sampling.latency.as_deref())
}

/// What is to be counted by a spec, and from where: a [`Measuring`](super::plan::Measuring) knows its own.
pub fn of_spec(spec: &ReleaseSpec, source: &Source) -> String {
    let metrics = spec.metrics.as_ref();
    let requests = metrics.and_then(|metrics| metrics.requests.as_ref());
    let requests = requests.map(|requests| (requests.name.as_str(), requests.status_label.as_deref()));
    let latency = metrics.and_then(|metrics| metrics.latency.as_ref()).map(|latency| latency.name.as_str());
    word(source, requests, latency)
}

fn word(source: &Source, requests: Option<(&str, Option<&str>)>, latency: Option<&str>) -> String {
    let source = match source {
        Source::Pods { port, path } => format!("pods {port:?} {path:?}"),
        Source::Prometheus { server, scrape_interval: _ } => {
            let headers: Vec<_> = server.headers.iter().map(|header| (&header.name, &header.value)).collect();
            format!("prometheus {:?} {headers:?}", server.url)
        }
    };
    short(&format!("{source} {requests:?} {latency:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::plan;

    fn word_of(metrics: Value) -> String {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
        let spec: ReleaseSpec =
            serde_json::from_value(json!({"targetRef": target, "metrics": metrics})).expect("a spec");
        plan::measuring(&spec).expect("it is understood").definition
    }

    #[test]
    fn another_counter_label_histogram_or_source_is_another_word_and_how_often_it_is_read_is_not() {
        let server = |more: Value| {
            let mut server = json!({"url": "http://prometheus:9090"});
            server.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
            json!({"prometheus": server})
        };
        let others = [
            json!({}),
            json!({"pods": {"port": 9100}}),
            json!({"pods": {"path": "/internal/metrics"}}),
            json!({"requests": {"name": "calls"}}),
            json!({"requests": {"name": "calls", "statusLabel": "result"}}),
            json!({"latency": {"name": "calls"}}),
            server(json!({})),
            server(json!({"url": "http://other:9090"})),
            server(json!({"headers": [{"name": "X-Scope-OrgID", "value": "shop"}]})),
        ];
        let words: std::collections::BTreeSet<String> = others.iter().cloned().map(word_of).collect();
        assert_eq!(words.len(), others.len());
        let same = [json!({"scrapeInterval": "30s"}), json!({"ca": {"configMap": "monitoring-ca"}})];
        for more in same {
            assert_eq!(word_of(server(more)), word_of(server(json!({}))));
        }
        assert_eq!(word_of(json!({"ignorePaths": ["/internal/sync"]})), word_of(json!({})));
    }
}
