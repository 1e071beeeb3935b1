//! What is to happen once does, and what was said is not forgotten: Jobs, signatures, records.

use serde_json::Value;
use tidegate::cli::report::chain::{Newest, Record, walk};

use crate::world::World;

impl World {
    /// A job is run once for each run and try.
    pub(super) fn check_job(&mut self, job: &Value) {
        let name = job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let owner = job["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned();
        let check = job["metadata"]["labels"]["tidegate.dev/check"].as_str().unwrap_or_default();
        // It is named after its run, which may be over when it arrives, and its try.
        let run = name.rsplit_once('-').map_or_else(String::new, |(run, _)| run.to_owned());
        let key = format!("{owner} {run} {check}");
        let made = self.watchman.jobs.entry(key).or_default();
        let first = made.is_empty();
        let again = !made.insert(name.clone());
        let retried = self.watchman.retried;
        self.check("no job run twice", !again && (first || retried), || format!("job {name} of run {run}"));
    }

    /// The records of runs are what was written, and none is missing between two.
    pub fn check_records(&mut self, name: &str) {
        let all = self.store.all("releasereports").filter(|(_, it)| it["spec"]["release"] == name);
        let records: Vec<Record> = all.map(|((_, name), it)| Record::of(name.clone(), &it["spec"])).collect();
        let release = self.release(name).cloned();
        let newest = release.and_then(|release| {
            let reports = &release["status"]["reports"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some(Newest {
                release_uid: text(&release["metadata"]["uid"])?,
                name: text(&reports["kept"].as_array()?.last()?["name"])?,
                digest: text(&reports["digest"]).unwrap_or_default(),
            })
        });
        let walked = walk(name, &records, newest.as_ref());
        self.check("records (a chain)", !walked.broken, || walked.text);
    }

    /// Status waits for signatures: none that was given for this run may be missing.
    pub fn check_signatures(&mut self, name: &str) {
        let run = self.status(name)["run"].clone();
        // Another Release of this name, before this one, had a run of this number too.
        let made = |object: &Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
        let since = self.release(name).and_then(|release| made(release));
        let given = |action: &Value| {
            action["spec"]["action"] == "Approve"
                && action["spec"]["release"] == name
                && made(action) > since
                && action["spec"]["run"] == run["id"]
                && action["status"]["result"] == "Done"
        };
        let given: Vec<String> = self
            .store
            .all("releaseactions")
            .filter(|(_, action)| given(action))
            .map(|((_, name), _)| name.clone())
            .collect();
        let signed = run["signatures"].as_array().map_or(0, Vec::len);
        self.check("no approval forgotten", given.is_empty() || signed > 0, || {
            format!("{given:?} of run {}", run["id"])
        });
    }
}
