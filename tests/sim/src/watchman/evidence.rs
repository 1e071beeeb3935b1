//! Unknown neither promotes nor undoes, and what can be known is acted upon: 7.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tidegate::api::text::Span;
use tidegate::watch::slim::fingerprint;

use crate::prometheus::Lies;
use crate::story::USUAL;
use crate::time::stamp;
use crate::world::{Pages, World};

/// A step of so long, and of so many scrape intervals, is not passed by what was read before the source told nothing any more. In less time no server
/// need have come by at a new pod, and what others of its version did counts.
const LONG: Duration = Duration::from_secs(20);
const INTERVALS: u32 = 3;
/// Milliseconds after which a source that tells the truth again has told enough.
const HEALED: u64 = 110_000;

impl World {
    /// 7, of a run that began while nothing was known.
    pub(super) fn check_blind(&mut self, name: &str, old: &Value, new: &Value) {
        let id = new["id"].as_str().unwrap_or_default().to_owned();
        if old["id"] != new["id"] && !self.is_told(name) {
            self.watchman.of(name).blind = Some(id.clone());
        }
        self.check_judged(name, old, new);
        if self.watchman.of(name).blind.as_ref() == Some(&id) && self.measures(name) {
            let skipped = self.watchman.skipped;
            let went_on = new["stage"] == "Watch"
                || new["step"].as_i64().unwrap_or(0) > old["step"].as_i64().unwrap_or(0);
            self.check("7 (Unknown does not promote)", !went_on || skipped || old.is_null(), || {
                format!("run {id} went on")
            });
            self.check("7 (Unknown does not undo)", new["back"]["cause"] != "Breach", || {
                format!("run {id} went back")
            });
        }
    }

    /// 7, of what a single step is judged by: what was counted before it counts on, but not alone.
    fn check_judged(&mut self, name: &str, old: &Value, new: &Value) {
        if !self.measures(name) {
            return;
        }
        let id = new["id"].as_str().unwrap_or_default().to_owned();
        let step = |run: &Value| run["step"].as_i64().unwrap_or(0);
        let (from, to) = (step(old), step(new));
        let is_same = old["id"] == new["id"];
        let skipped = self.watchman.skipped;
        // By the name of what it left: steps are written anew, and the new one may ask for nothing.
        let passed = new["passed"].as_array().and_then(|passed| passed.last());
        let left = passed.and_then(|step| step["name"].as_str()).unwrap_or_default().to_owned();
        let was_blind = self.watchman.of(name).blind_step.as_ref() == Some(&(id.clone(), left));
        let went_on = to > from || (new["stage"] == "Watch" && old["stage"] == "Steps");
        self.check("7 (Unknown does not promote)", !(is_same && went_on && was_blind) || skipped, || {
            format!("run {id} went on from step {from}, of which nothing is known")
        });
        if !is_same || from != to {
            let step =
                self.release(name).map(|it| it["spec"]["steps"][usize::try_from(to).unwrap_or(0)].clone());
            let step = step.unwrap_or_default();
            let soak = step["soak"].as_str().and_then(|soak| Span(soak.to_owned()).parse());
            let called = step["name"].as_str().unwrap_or_default().to_owned();
            let interval = self.release(name).and_then(|it| {
                let text = it["spec"]["metrics"]["prometheus"]["scrapeInterval"].as_str()?;
                Span(text.to_owned()).parse()
            });
            let long = interval.map_or(LONG, |interval| LONG.max(interval * INTERVALS));
            let watched = self.watchman.of(name);
            let is_dark = watched.dark_since.is_some() && soak.is_some_and(|soak| soak >= long);
            watched.blind_step = is_dark.then_some((id.clone(), called));
        }
        let is_breach = new["back"]["cause"] == "Breach" && old["back"]["cause"] != "Breach";
        let is_good = self.errs(name) == Some(false);
        self.check("7 (what is good is not undone)", !(is_breach && is_good), || {
            format!("run {id}: {}", new["back"]["message"])
        });
    }

    /// What has answered with errors all the time has not succeeded.
    pub(super) fn check_success(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let (Some(before), last) = (before, &after["status"]["lastRun"]) else { return };
        let ended = before["status"]["lastRun"]["number"] != last["number"] && last["outcome"] == "Succeeded";
        if !ended || !self.measures(name) {
            return;
        }
        let errs = self.errs(name) == Some(true);
        let passed_over = self.watchman.skipped;
        self.check("7 (what is bad does not succeed)", !errs || passed_over, || {
            format!("run {}", last["id"])
        });
    }

    /// Whether pods of the version that is released answer with errors; `None`: it is not known which that is.
    pub fn errs(&self, name: &str) -> Option<bool> {
        let canary = self.status(name)["canary"]["fingerprint"].as_str()?;
        let mut sets = self.native(name).sets.iter();
        let set = sets.find(|set| fingerprint(&set.template) == canary)?;
        let annotations = &set.template["metadata"]["annotations"];
        annotations["errors-late"].is_null().then(|| !annotations["errors"].is_null())
    }

    /// Whether whoever counts for the pods of a Release tells something of what they do.
    fn is_told(&self, name: &str) -> bool {
        match self.asks_prometheus(name) {
            true => {
                self.prometheus.lies.tells() || (self.prometheus.lies == Lies::Stale && self.gauges(name))
            }
            false => self.pages == Pages::Honest,
        }
    }

    /// Whether it has a criterion of a gauge: what a server scraped last it gives for the present for minutes.
    fn gauges(&self, name: &str) -> bool {
        let criteria = self.release(name).and_then(|it| it["spec"]["criteria"].as_array().cloned());
        criteria.into_iter().flatten().any(|criterion| !criterion["value"].is_null())
    }

    fn asks_prometheus(&self, name: &str) -> bool {
        self.release(name).is_some_and(|release| !release["spec"]["metrics"]["prometheus"].is_null())
    }

    /// Pages, or Prometheus, say something else from now on.
    pub fn source_changed(&mut self) {
        let now = self.now;
        for name in self.targets() {
            let told = self.is_told(name);
            let shows = match self.asks_prometheus(name) {
                true => self.prometheus.lies.shows(),
                false => matches!(self.pages, Pages::Silent | Pages::Nonsense),
            };
            // What has grown old was true once: it tells of a step that began while nothing could be told.
            let tells_of_before = self.asks_prometheus(name) && self.prometheus.lies == Lies::Stale;
            let watched = self.watchman.of(name);
            if told || tells_of_before {
                (watched.blind, watched.blind_step) = (None, None);
            }
            if told {
                watched.told_since = now;
            }
            watched.dark_since = if shows { watched.dark_since.or(Some(now)) } else { None };
        }
    }

    /// When the source tells the truth again, what it shows is seen, and acted upon: once there is something to show, which pods that have only
    /// just come have not.
    pub fn check_seen(&mut self, name: &str, reason: &str) {
        let progress = &self.status(name)["run"]["progress"];
        let come = [&progress["reached"], &progress["begun"]].into_iter().find_map(Value::as_str);
        let come = come.and_then(|text| text.parse::<Timestamp>().ok());
        let come = come.map_or(0, |at| at.as_millisecond() - stamp(0).as_millisecond());
        // Said by its clock of now, or of before it was set.
        let come = come.max(come - self.watchman.clock_off);
        let seen = self.watchman.of(name).told_since.max(self.watchman.clock_set_at);
        // Nobody reads pods on nodes that are not heard from.
        let heard_from = self.cluster(name).map_or(0, |cluster| cluster.heard_from);
        let since = seen.max(heard_from).max(u64::try_from(come).unwrap_or(0));
        let is_quiet = self.cluster(name).is_none_or(|cluster| cluster.service.least() < USUAL);
        if since + HEALED > self.now || !self.is_told(name) || is_quiet {
            return;
        }
        let errs = self.errs(name) == Some(true);
        let is_blind = reason == "NoMeasurements" || (errs && reason == "NotEnoughEvidence");
        let status = self.status(name)["summary"]["message"].to_string();
        self.check("7 (what heals is seen)", !is_blind, || format!("{reason}: {status}"));
    }

    /// Whether the Release has criteria.
    fn measures(&self, name: &str) -> bool {
        self.release(name)
            .is_some_and(|release| release["spec"]["criteria"].as_array().is_none_or(|all| !all.is_empty()))
    }
}
