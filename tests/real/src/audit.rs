//! What the operator asked of the API server, from the API server's own audit log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::operator::NAMESPACE;

/// Requests of the operator.
#[derive(Default)]
pub struct Requests {
    /// By verb and resource: watches and the Lease's left out.
    counted: BTreeMap<(String, String), u64>,
    pub lease: u64,
    /// Answered with 400 and above; counted above too.
    pub failed: u64,
}

impl Requests {
    /// Reads those of a time out of an audit log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(audit: &Path, from: Timestamp, to: Timestamp) -> Result<Self> {
        let mut requests = Self::default();
        each(audit, from, to, |_, event| requests.count(event))?;
        Ok(requests)
    }

    fn count(&mut self, event: &Value) {
        let verb = event["verb"].as_str().unwrap_or_default();
        let object = &event["objectRef"];
        let resource = object["resource"].as_str().or(event["requestURI"].as_str()).unwrap_or_default();
        if verb == "watch" {
            return;
        }
        if resource == "leases" {
            self.lease += 1;
            return;
        }
        let resource = match object["subresource"].as_str() {
            Some(part) => format!("{resource}/{part}"),
            None => resource.to_owned(),
        };
        self.failed += u64::from(event["responseStatus"]["code"].as_i64().is_some_and(|code| code >= 400));
        *self.counted.entry((verb.to_owned(), resource)).or_default() += 1;
    }

    /// All that are no reads.
    pub fn writes(&self) -> u64 {
        self.counted.iter().filter(|((verb, _), _)| !is_read(verb)).map(|(_, number)| number).sum()
    }

    /// Gets and lists.
    pub fn reads(&self) -> u64 {
        self.counted.iter().filter(|((verb, _), _)| is_read(verb)).map(|(_, number)| number).sum()
    }

    /// Writes of a resource.
    pub fn of(&self, resource: &str) -> u64 {
        let these = self.counted.iter().filter(|((verb, of), _)| of == resource && !is_read(verb));
        these.map(|(_, number)| number).sum()
    }

    /// A line for each kind.
    pub fn print(&self) {
        for ((verb, resource), number) in &self.counted {
            println!("  {number:4}  {verb:8} {resource}");
        }
        println!("  {:4}  failed of these; {} of the Lease besides", self.failed, self.lease);
    }

    /// For the file.
    pub fn json(&self) -> Value {
        let counted = self
            .counted
            .iter()
            .map(|((verb, resource), number)| (format!("{verb} {resource}"), json!(number)));
        Value::Object(counted.collect())
    }
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list")
}

/// When the operator's patches of Deployments of a namespace reached the API server, by name, in order.
///
/// # Errors
/// When the log cannot be read.
pub fn patches(
    audit: &Path,
    namespace: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<String, Vec<Timestamp>>> {
    let mut patches = BTreeMap::<String, Vec<Timestamp>>::new();
    each(audit, from, to, |at, event| {
        let object = &event["objectRef"];
        if event["verb"] == "patch" && object["resource"] == "deployments" && object["namespace"] == namespace
        {
            let name = object["name"].as_str().unwrap_or_default().to_owned();
            patches.entry(name).or_default().push(at);
        }
    })?;
    patches.values_mut().for_each(|moments| moments.sort());
    Ok(patches)
}

/// Completed requests of the operator that were received in a stretch of time.
fn each(audit: &Path, from: Timestamp, to: Timestamp, mut take: impl FnMut(Timestamp, &Value)) -> Result<()> {
    let user = format!("system:serviceaccount:{NAMESPACE}:tidegate");
    let log = std::fs::File::open(audit).context("the audit log")?;
    for line in BufReader::new(log).lines() {
        let line = line.context("the audit log")?;
        // Most lines are of others, and parsing takes its time.
        if !line.contains(&user) {
            continue;
        }
        let event: Value = serde_json::from_str(&line).context("a line of the audit log")?;
        if event["stage"] != "ResponseComplete" || event["user"]["username"] != user.as_str() {
            continue;
        }
        let at: Timestamp = event["requestReceivedTimestamp"].as_str().context("no time")?.parse()?;
        if at >= from && at < to {
            take(at, &event);
        }
    }
    Ok(())
}
