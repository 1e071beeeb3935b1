//! Who wrote what when, by the API server's audit log, held against who held the Lease: whether there were ever two writers.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

/// One request of an operator that the API server has answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// The operator: what it calls itself.
    pub agent: String,
    pub received: Timestamp,
    pub answered: Timestamp,
    pub verb: String,
    /// `deployments/ns/shop/status`
    pub object: String,
    pub code: i64,
}

impl Request {
    fn read(line: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let agent = line["userAgent"].as_str().filter(|agent| agent.starts_with("tidegate/"))?;
        let object = &line["objectRef"];
        let names = ["resource", "namespace", "name", "subresource"].map(|part| text(&object[part]));
        Some(Self {
            agent: agent.to_owned(),
            received: line["requestReceivedTimestamp"].as_str()?.parse().ok()?,
            answered: line["stageTimestamp"].as_str()?.parse().ok()?,
            verb: text(&line["verb"]),
            object: names.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"),
            code: line["responseStatus"]["code"].as_i64()?,
        })
    }

    /// Whether it changed anything.
    pub fn took_effect(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete") && self.code < 300
    }

    fn is_about_the_lease(&self) -> bool {
        self.object.starts_with("leases/")
    }
}

/// All requests of operators, in the order in which they were answered.
pub fn requests(log: &Path) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    // The last line may not be whole yet.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines.filter(|line| line["stage"] == "ResponseComplete");
    let mut requests: Vec<Request> = ended.filter_map(|line| Request::read(&line)).collect();
    requests.sort_by_key(|request| request.answered);
    Ok(requests)
}

/// Writes that took effect and that the API server received after it had told another operator that it leads.
pub fn of_deposed(requests: &[Request]) -> Vec<String> {
    let leads = |request: &&Request| request.is_about_the_lease() && request.took_effect();
    let terms: Vec<&Request> = requests.iter().filter(leads).collect();
    let writes = requests.iter().filter(|request| request.took_effect() && !request.is_about_the_lease());
    let by_another = |write: &&Request| {
        let known = terms.partition_point(|term| term.answered < write.received);
        known > 0 && terms[known - 1].agent != write.agent
    };
    writes
        .filter(by_another)
        .map(|write| format!("{} {} {} {}", write.received, write.agent, write.verb, write.object))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(agent: &str, second: i64, verb: &str, object: &str, code: i64) -> Request {
        let at = Timestamp::from_second(second).unwrap();
        let (agent, verb, object) = (agent.to_owned(), verb.to_owned(), object.to_owned());
        Request { agent, received: at, answered: at, verb, object, code }
    }

    #[test]
    fn a_write_that_takes_effect_after_another_has_the_lease_is_found() {
        let lease = "leases/tidegate-system/tidegate";
        let shop = "deployments/ns/shop";
        let requests = [
            request("a", 1, "update", lease, 200),
            request("a", 2, "patch", shop, 200),
            request("b", 3, "update", lease, 409),
            request("a", 4, "patch", shop, 200),
            request("b", 20, "update", lease, 200),
            request("a", 21, "patch", shop, 422),
            request("a", 22, "get", shop, 200),
            request("b", 23, "patch", shop, 200),
        ];
        assert_eq!(of_deposed(&requests), Vec::<String>::new());
        let late = request("a", 24, "patch", shop, 200);
        let found = of_deposed(&[&requests[..], &[late]].concat());
        assert_eq!(found, ["1970-01-01T00:00:24Z a patch deployments/ns/shop"]);
    }
}
