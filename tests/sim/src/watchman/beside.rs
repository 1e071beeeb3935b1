//! What is done beside the way back and after it: hooks, validation.

use std::time::Duration;

use serde_json::Value;
use tidegate::api::text::Span;
use tidegate::decide::decision::ErrandKind;
use tidegate::decide::{Decision, Snapshot};
use tidegate::watch::slim::fingerprint;

use super::run_of;
use crate::world::World;

/// How long the record of a run waits for hooks once stable stands, and how long what was put back is looked at where nobody says how long.
const LONGEST_BESIDE: Duration = Duration::from_secs(30);
const LONGEST_VALIDATION: Duration = Duration::from_secs(600);
/// What comes on top of that where processes die and requests fail.
const OUT_OF_ORDER: Duration = Duration::from_secs(120);

impl World {
    /// What is done beside and after the way back: the end of a run waits for it as long as is said, and no longer; and what was put back, and is
    /// good, is not said to be bad.
    pub(super) fn check_beside(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let nothing = Value::Null;
        let old = before.map_or(&nothing, |before| &before["status"]);
        let (was, is) = (&old["run"], &after["status"]["run"]);
        let id = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
        if is["back"]["hooks"].as_array().is_some_and(|hooks| !hooks.is_empty()) {
            self.watchman.went_back.insert(run_of(after));
        }
        let (now, jumped) = (self.now, self.watchman.clocks_jumped);
        let goes_on = matches!(was["back"]["cause"].as_str(), Some("NoReplicas" | "TooMany" | "Superseded"));
        let restored = !was["back"]["restoredAt"].is_null() && !goes_on;
        let watched = self.watchman.of(name);
        watched.restored = match watched.restored.take() {
            Some((run, since)) if run == id(was) && restored => Some((run, since)),
            Some(_) | None => restored.then(|| (id(was), now)),
        };
        if let Some((run, since)) = watched.restored.clone() {
            let undo = &after["spec"]["undo"];
            let seconds = |text: &Value| text.as_str().and_then(|text| Span(text.to_owned()).parse());
            let validation = match undo["validate"].is_null() {
                true => Duration::ZERO,
                false => seconds(&undo["phases"]["validation"]).unwrap_or(LONGEST_VALIDATION),
            };
            let longest = LONGEST_BESIDE + validation + OUT_OF_ORDER;
            let in_time = Duration::from_millis(now - since) <= longest;
            self.check("undo (ends in time)", in_time || jumped, || {
                format!("run {run} has not ended {} s after stable stood again", (now - since) / 1000)
            });
        }
        let last = &after["status"]["lastRun"];
        let failed = last["validation"]["result"] == "ValidationFailed" && old["lastRun"]["id"] != last["id"];
        let works = failed && self.works(name, after["status"]["stable"]["fingerprint"].as_str());
        self.check("7 (what works is not said to fail)", !works, || last["validation"].to_string());
    }

    /// Hooks may be under way before status says so, of a way back that comes to be another one before it ever does.
    pub(super) fn note_calls(&mut self, snapshot: &Snapshot, decision: &Decision) {
        let Some(release) = &snapshot.release else { return };
        let calls = decision.errands.iter().filter(|errand| matches!(errand.kind, ErrandKind::Call(_)));
        self.watchman.went_back.extend(calls.map(|errand| (release.uid.clone(), errand.run.clone())));
    }

    /// Whether pods of a template become Ready, and answer as they should.
    fn works(&self, name: &str, wanted: Option<&str>) -> bool {
        let mut sets = self.native(name).sets.iter();
        let set = sets.find(|set| Some(fingerprint(&set.template).as_str()) == wanted);
        let bad = ["crash", "never-ready", "image-missing", "errors", "errors-late"];
        set.is_some_and(|set| bad.iter().all(|bad| set.template["metadata"]["annotations"][bad].is_null()))
    }

    /// A record says of no hook that it is done which has never come to whom it asks.
    pub(super) fn check_recorded(&mut self, record: &Value) {
        let is_done = |hook: &&Value| hook["state"] == "Done";
        let hooks = record["spec"]["undo"]["hooks"].as_array();
        for hook in hooks.into_iter().flatten().filter(is_done) {
            let name = hook["name"].as_str().unwrap_or_default();
            let came = match name {
                "flag" => self.watchman.hooks_arrived,
                "map" => self.watchman.flags_written,
                _ => continue,
            };
            let recorded = self.watchman.recorded.entry(name.to_owned()).or_default();
            // A run has two where whoever wrote the first one died before status said so, and it ends otherwise.
            let [uid, run] = ["releaseUid", "run"].map(|field| record["spec"][field].to_string());
            recorded.insert((uid, run));
            let recorded = u64::try_from(recorded.len()).unwrap_or(u64::MAX);
            self.check("hooks (each is done)", recorded <= came, || {
                format!("{name} is done in the records of {recorded} runs, and came {came} times")
            });
        }
    }

    /// Whoever is behind a hook's URL has answered a process: once for each way back, as long as it leads without a break.
    pub fn hook_answered(&mut self, process: usize) {
        let most = self.watchman.went_back.len();
        let answered = self.watchman.hooks_answered.entry(process).or_default();
        *answered += 1;
        let answered = *answered;
        self.check("hooks (once)", answered <= most, || {
            format!("process {process} has called {answered} times since it leads, in {most} ways back")
        });
    }
}
