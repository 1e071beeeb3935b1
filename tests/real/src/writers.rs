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

    /// Whether it was to change anything.
    fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete")
    }

    /// Whether it changed anything.
    pub fn took_effect(&self) -> bool {
        self.is_write() && self.code < 300
    }

    fn is_about_the_lease(&self) -> bool {
        self.object.starts_with("leases/")
    }
}

/// All requests of operators, in the order in which they were answered.
pub fn requests(log: &Path) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    // The last line may not be whole yet.
    // Most are of others, and parsing takes its time.
    let lines = text.lines().filter(|line| line.contains("tidegate/"));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines.filter(|line| line["stage"] == "ResponseComplete");
    let mut requests: Vec<Request> = ended.filter_map(|line| Request::read(&line)).collect();
    requests.sort_by_key(|request| request.answered);
    Ok(requests)
}

/// Writes that took effect and that the API server received after it had told another operator that it leads.
pub fn of_deposed(requests: &[Request]) -> Vec<String> {
    after_their_term(requests, Request::took_effect)
}

/// The same, and those that the API server refused: whoever is deposed refuses them itself, before they go out. Where a network held what had gone
/// out before, that arrives late and is found too.
pub fn tried_by_deposed(requests: &[Request]) -> Vec<String> {
    after_their_term(requests, Request::is_write)
}

fn after_their_term(requests: &[Request], is_meant: impl Fn(&Request) -> bool) -> Vec<String> {
    let leads = |request: &&Request| request.is_about_the_lease() && request.took_effect();
    let terms: Vec<&Request> = requests.iter().filter(leads).collect();
    let writes = requests.iter().filter(|request| is_meant(request) && !request.is_about_the_lease());
    let by_another = |write: &&Request| {
        let known = terms.partition_point(|term| term.answered < write.received);
        known > 0 && terms[known - 1].agent != write.agent
    };
    writes
        .filter(by_another)
        .map(|write| {
            let Request { agent, received, verb, object, code, answered: _ } = write;
            format!("{received} {agent} {verb} {object}: {code}")
        })
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
    fn what_is_written_after_another_has_the_lease_is_found_whether_it_takes_effect_or_is_refused() {
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
        let refused = "1970-01-01T00:00:21Z a patch deployments/ns/shop: 422";
        assert_eq!(tried_by_deposed(&requests), [refused]);
        let late = request("a", 24, "patch", shop, 200);
        let all = [&requests[..], &[late]].concat();
        let done = "1970-01-01T00:00:24Z a patch deployments/ns/shop: 200";
        assert_eq!(of_deposed(&all), [done]);
        assert_eq!(tried_by_deposed(&all), [refused, done]);
    }
}
