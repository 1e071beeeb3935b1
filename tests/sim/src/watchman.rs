//! Looks at every request of the operator, every write and every turn of the cluster, and says which of the invariants of `src/lib.rs`
//! does not hold, as far as it can be seen from outside: numbers in what it says are theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use json_patch::PatchOperation;
use serde_json::{Map, Value, json};
use tidegate::api::text::Span;
use tidegate::api::{ORIGINALS, QUARANTINE, QUARANTINED_UNTIL, STABLE};
use tidegate::cli::report::chain::{Newest, Record, walk};
use tidegate::watch::slim::fingerprint;

use crate::cluster::named;
use crate::native::fenceposts;
use crate::prometheus::Lies;
use crate::server::{Name, Request, Who};
use crate::service::endpoints;
use crate::story::USUAL;
use crate::time::stamp;
use crate::world::{OPERATOR, Pages, World};

/// `minReadySeconds` of a parked Deployment.
const PARKED: i64 = 2_147_483_646;
/// Milliseconds in which the native controllers may still carry out what was asked for before.
const RECENTLY: u64 = 5_000;

/// A step of so long is not passed by what was read before the source told nothing any more.
const LONG: Duration = Duration::from_secs(20);
/// Milliseconds after which a source that tells the truth again has told enough.
const HEALED: u64 = 110_000;

/// How long the record of a run waits for hooks once stable stands, and how long what was put back is looked at where nobody says how long.
const LONGEST_BESIDE: Duration = Duration::from_secs(30);
const LONGEST_VALIDATION: Duration = Duration::from_secs(600);
/// What comes on top of that where processes die and requests fail.
const OUT_OF_ORDER: Duration = Duration::from_secs(120);
/// Milliseconds after which a pod in quarantine has been there too long, where nothing goes wrong any more.
const LATE: u64 = 30_000;

/// What the watchman remembers.
#[derive(Default)]
pub struct Watchman {
    pub violations: Vec<String>,
    /// Checks made.
    pub checks: u64,
    /// By the name of the Deployment, and of its Release.
    watched: BTreeMap<String, Watched>,
    /// Uid and generation of a Deployment after a process's last write to it.
    written: BTreeMap<(usize, String), (String, i64)>,
    /// Jobs that were made, by Release, run, check.
    jobs: BTreeMap<String, BTreeSet<String>>,
    /// A person said so much that more than one try is fine.
    pub retried: bool,
    /// Somebody has said that something may be passed over.
    pub skipped: bool,
    /// What the operator counts in seconds is not what passes here.
    pub clocks_jumped: bool,
    /// Requests of hooks that have arrived.
    pub hooks_arrived: u64,
    /// Those that were answered as they should be, by process.
    hooks_answered: BTreeMap<usize, usize>,
    /// Runs that have gone back with hooks: their Releases, and their ids.
    went_back: BTreeSet<(String, String)>,
    /// What a ConfigMap was to be, was written there so often.
    flags_written: u64,
    /// In so many records a hook is done, by its name.
    recorded: BTreeMap<String, u64>,
    /// Pods that were taken out of their ReplicaSet, by Release and run.
    kept: BTreeMap<(String, String), BTreeSet<String>>,
    /// Identity of each process in the Lease, where there is an election.
    pub identities: BTreeMap<usize, String>,
    /// Messages that a status has owed.
    noted: BTreeSet<Told>,
    /// Those that have come to whom they are for: from which processes, and whether they were told so.
    came: BTreeMap<Told, Vec<(usize, bool)>>,
    /// Those of which the receiver has said that it will not have them.
    refused: BTreeSet<Told>,
}

/// The id of a message, and an audience.
type Told = (String, String);

/// What it remembers of one Deployment.
#[derive(Default)]
pub struct Watched {
    /// What the owner wrote last into the fields that a run borrows: `paused`, `minReadySeconds`, `progressDeadlineSeconds`, `strategy`.
    owners: BTreeMap<&'static str, Value>,
    /// What they wrote there while a run had the fields, where no policy keeps them from it: it may be taken back, or taken for theirs.
    edited: BTreeMap<&'static str, Value>,
    /// The owner has written to a Deployment that moves, and no policy has paused it: until the operator has seen it, the native
    /// controller does what it likes.
    unseen: bool,
    /// The Service has had as many pods as the owner promises, and nobody has taken them but, perhaps, the operator.
    served: bool,
    /// Ready pods that there must be, once there have been so many.
    promised: i64,
    /// Pods that there may be.
    allowed: Option<i64>,
    /// Counts of pods say nothing before.
    excused_until: u64,
    /// Replicas asked for lately.
    wanted: Vec<(u64, i64)>,
    /// The run that began while the source of its counts told nothing.
    blind: Option<String>,
    /// The run and the step that began when that could be seen to be so.
    blind_step: Option<(String, i64)>,
    /// Since when it can be seen.
    dark_since: Option<u64>,
    /// Since when the source tells the truth.
    told_since: u64,
    /// The run of which stable stands again, and since when.
    restored: Option<(String, u64)>,
}

impl Watched {
    /// Counts of pods say nothing before then.
    pub fn excuse(&mut self, until: u64) {
        self.excused_until = self.excused_until.max(until);
    }
}

impl Watchman {
    /// What it remembers of a Deployment.
    pub fn of(&mut self, name: &str) -> &mut Watched {
        if !self.watched.contains_key(name) {
            self.watched.insert(name.to_owned(), Watched::default());
        }
        self.watched.get_mut(name).expect("it is there now")
    }
}

impl World {
    /// Something does not hold.
    pub fn violated(&mut self, invariant: &str, what: String) {
        if self.watchman.violations.len() < 20 {
            let seconds = format!("{}.{:03}", self.now / 1000, self.now % 1000);
            self.watchman.violations.push(format!("{invariant} at {seconds} s: {what}"));
        }
    }

    fn check(&mut self, invariant: &str, holds: bool, what: impl FnOnce() -> String) {
        self.watchman.checks += 1;
        if !holds {
            self.violated(invariant, what());
        }
    }

    /// A request of the operator goes out.
    pub fn check_sent(&mut self, process: usize, request: &Request) {
        if request.method == http::Method::GET {
            return;
        }
        if request.path.contains("/leases") {
            return;
        }
        let managed =
            request.query.contains("fieldManager=tidegate") || request.method == http::Method::DELETE;
        let what = format!("{} {}", request.method, request.path);
        self.check("2 (field manager)", managed, || what.clone());
        if let Some(mine) = self.watchman.identities.get(&process).cloned() {
            let lease =
                self.store.all("leases").next().map(|(_, lease)| lease["spec"]["holderIdentity"].clone());
            let other = lease
                .and_then(|holder| holder.as_str().map(str::to_owned))
                .filter(|holder| *holder != mine && !holder.is_empty());
            self.check("2 (one leader)", other.is_none(), || {
                format!("{what} by {mine}, and {} leads", other.unwrap_or_default())
            });
        }
        // What has to be so before anything of a patch is done.
        let tested = |path: &str| match request.patch.as_ref()?.0.first()? {
            PatchOperation::Test(test) if test.path.as_str() == path => Some(&test.value),
            _ => None,
        };
        if let Some((_, name)) = request.path.split_once("/deployments/") {
            let generation = tested("/metadata/generation").cloned();
            self.check("4 (guarded)", generation.is_some(), || what.clone());
            let known = self.watchman.written.get(&(process, name.to_owned())).cloned();
            let uid =
                self.deployment(name).map(|it| it["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            if let (Some((written, own)), Some(uid)) = (known, uid)
                && written == uid
            {
                let decided_on = generation.and_then(|value| value.as_i64()).unwrap_or(0);
                self.check("5 (own writes)", decided_on >= own, || {
                    format!("decided on generation {decided_on}, wrote {own} itself")
                });
            }
        }
        if request.path.contains("/releases/") && request.path.ends_with("/status") {
            let guarded = tested("/metadata/resourceVersion").is_some();
            self.check("4 (guarded)", guarded, || what);
        }
    }

    /// A write is about to take effect.
    pub fn check_write(&mut self, who: &Who, plural: &str, before: Option<&Value>, after: &Value) {
        let metadata = &after["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        match (who, plural) {
            (Who::Operator(process), "deployments") => {
                let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
                let generation = metadata["generation"].as_i64().unwrap_or(0);
                self.watchman.written.insert((*process, name.to_owned()), (uid, generation));
                self.check_pace(name, before, after);
                let now = self.now;
                let watched = self.watchman.of(name);
                if std::mem::take(&mut watched.unseen) {
                    watched.excuse(now + 2 * RECENTLY);
                }
            }
            (Who::Person(_), "deployments") => self.note_owner(name, before, after),
            (Who::Operator(_), "releases") => {
                self.check_status(name, before, after);
                self.check_success(name, before, after);
                self.check_beside(name, before, after);
                self.check_owed(before, after);
                self.check_locks(name, after);
            }
            (Who::Operator(_), "jobs") => self.check_job(after),
            (Who::Operator(_), "configmaps") => self.watchman.flags_written += 1,
            (Who::Operator(_), "releasereports") => self.check_recorded(after),
            (Who::Operator(_) | Who::Person(_) | Who::Cluster, _) => {}
        }
    }

    /// What the owner wants is what they wrote, unless a run has the fields.
    fn note_owner(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let taken = |it: &Value| !it["metadata"]["annotations"][ORIGINALS].is_null();
        let in_a_run = before.is_some_and(taken);
        let moves = before.is_some_and(|before| before["spec"]["paused"] != true);
        let policies = self.policies;
        let watched = self.watchman.of(name);
        if in_a_run && !policies && (moves || after["spec"]["paused"] != true) {
            watched.unseen = true;
        }
        for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
            let value = &after["spec"][field];
            let is_other = before.is_none_or(|before| before["spec"][field] != *value);
            if in_a_run && is_other {
                watched.edited.insert(field, value.clone());
            }
            if !in_a_run && is_other {
                watched.edited.remove(field);
                watched.owners.insert(field, value.clone());
                // What the new limits allow may be less than what stands there by the old ones.
                watched.allowed = None;
                watched.promised = 0;
            }
        }
    }

    /// 13: between moves it is paused; on a canary template it is never unpaused and unparked before the last step is done.
    fn check_pace(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let spec = &after["spec"];
        // A label, an annotation: what moves there is none of its doing.
        if before.is_some_and(|before| before["spec"] == *spec) {
            return;
        }
        let stable = self.status(name)["stable"]["fingerprint"].as_str().map(str::to_owned);
        let Some(stable) = stable else { return };
        let parked = spec["minReadySeconds"] == PARKED;
        let paused = spec["paused"] == true;
        let recreate = spec["strategy"]["type"] == "Recreate";
        if paused || recreate {
            return;
        }
        let on_stable = stable == fingerprint(&spec["template"]);
        let sets = &self.native(name).sets;
        let all_out = sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
        let hands_back =
            |action: &Value| action["spec"]["action"] == "HandBack" && action["spec"]["release"] == name;
        let handed_back = self.store.all("releaseactions").any(|(_, action)| hands_back(action));
        let strategy = spec["strategy"].to_string();
        self.check("13 (never unpaused and unparked)", parked || on_stable || all_out || handed_back, || {
            format!("minReadySeconds {}, strategy {strategy}", after["spec"]["minReadySeconds"])
        });
    }

    /// Nobody told the process what came of its last write: it cannot know that it took effect.
    pub fn unanswered(&mut self, process: usize) {
        self.watchman.written.retain(|(writer, _), _| *writer != process);
    }

    fn check_status(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let nothing = Value::Null;
        let (old, new) = (before.map_or(&nothing, |before| &before["status"]), &after["status"]);
        let revision = |status: &Value| status["revision"].as_i64().unwrap_or(0);
        let (was, is) = (revision(old), revision(new));
        self.check("4 (one status write a look)", is == was + 1 || was == 0, || {
            format!("revision {was}, then {is}")
        });
        if self.policies && new["phase"] == "Soaking" {
            let target = self.deployment(name).cloned();
            let ours = target.as_ref().is_some_and(|it| !it["metadata"]["annotations"][ORIGINALS].is_null());
            let moves = target.is_some_and(|it| it["spec"]["paused"] != true);
            self.check("13 (paused between moves)", !(ours && moves), || "it soaks and may move".to_owned());
        }
        let (old, new) = (&old["run"], &new["run"]);
        if new.is_null() {
            return;
        }
        let id = new["id"].as_str().unwrap_or_default().to_owned();
        if old["id"] != new["id"] && !self.is_told(name) {
            self.watchman.of(name).blind = Some(id.clone());
        }
        if old["id"] == new["id"] {
            let step = |run: &Value| run["step"].as_i64().unwrap_or(0);
            let (from, to) = (step(old), step(new));
            self.check("6 (one step)", to <= from + 1, || format!("run {id}: step {from}, then {to}"));
            let skips = old["stage"] == "Preflight" && new["stage"] == "Watch";
            self.check("6 (one step)", !skips, || format!("run {id}: from the checks to the watch"));
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
        let was_blind = self.watchman.of(name).blind_step.as_ref() == Some(&(id.clone(), from));
        let went_on = to > from || (new["stage"] == "Watch" && old["stage"] == "Steps");
        self.check("7 (Unknown does not promote)", !(is_same && went_on && was_blind) || skipped, || {
            format!("run {id} went on from step {from}, of which nothing is known")
        });
        if !is_same || from != to {
            let step =
                self.release(name).map(|it| it["spec"]["steps"][usize::try_from(to).unwrap_or(0)].clone());
            let soak = step.and_then(|step| Span(step["soak"].as_str()?.to_owned()).parse());
            let watched = self.watchman.of(name);
            let is_dark = watched.dark_since.is_some() && soak.is_some_and(|soak| soak >= LONG);
            watched.blind_step = is_dark.then_some((id.clone(), to));
        }
        let is_breach = new["back"]["cause"] == "Breach" && old["back"]["cause"] != "Breach";
        let is_good = self.errs(name) == Some(false);
        self.check("7 (what is good is not undone)", !(is_breach && is_good), || {
            format!("run {id}: {}", new["back"]["message"])
        });
    }

    /// What has answered with errors all the time has not succeeded.
    fn check_success(&mut self, name: &str, before: Option<&Value>, after: &Value) {
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
            let watched = self.watchman.of(name);
            if told {
                (watched.blind, watched.blind_step) = (None, None);
                watched.told_since = now;
            }
            watched.dark_since = if shows { watched.dark_since.or(Some(now)) } else { None };
        }
    }

    /// When the source tells the truth again, what it shows is seen, and acted upon.
    pub fn check_seen(&mut self, name: &str, reason: &str) {
        let since = self.watchman.of(name).told_since;
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

    /// A job is run once for each run and try.
    fn check_job(&mut self, job: &Value) {
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

    /// 8: enough Ready pods, and not too many in all.
    pub fn check_pods(&mut self, name: &str) {
        let Some(deployment) = self.deployment(name).cloned() else {
            let watched = self.watchman.of(name);
            watched.served = false;
            watched.promised = 0;
            watched.allowed = None;
            return;
        };
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let now = self.now;
        let before = self.watchman.of(name).wanted.last().map(|(_, wanted)| *wanted);
        let several = self.native(name).sets.iter().filter(|set| set.replicas > 0).count() > 1;
        if before.is_some_and(|before| before > replicas) && several {
            // The native controller shrinks revisions in proportion, those that serve with those that do not.
            self.watchman.of(name).promised = 0;
            self.watchman.of(name).served = false;
        }
        self.watchman.of(name).wanted.push((now, replicas));
        // The one before the window still counts at its beginning.
        let keep =
            self.watchman.of(name).wanted.iter().rposition(|(at, _)| *at + RECENTLY < now).unwrap_or(0);
        self.watchman.of(name).wanted.drain(..keep);
        let strategy = self.watchman.of(name).owners.get("strategy").cloned().unwrap_or_else(|| json!({}));
        if strategy["type"] == "Recreate" || deployment["spec"]["strategy"]["type"] == "Recreate" {
            return;
        }
        if self.has_no_room(name, replicas) {
            // What is not there is not there because of the nodes.
            self.watchman.of(name).excuse(now + RECENTLY);
        }
        let least = self.watchman.of(name).wanted.iter().map(|(_, wanted)| *wanted).min().unwrap_or(0);
        let most = self.watchman.of(name).wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(0);
        let limits = |replicas: i64| fenceposts(&strategy, i32::try_from(replicas).unwrap_or(0));
        let ready = i64::try_from(self.native(name).ready()).unwrap_or(0);
        let alive = i64::try_from(self.native(name).alive()).unwrap_or(0);
        let floor = least - i64::from(limits(least).1);
        let ceiling = most + i64::from(limits(most).0);
        let undoing = !self.status(name)["run"]["back"].is_null() || self.goes_back_alone(name, &deployment);
        if now < self.watchman.of(name).excused_until || self.watchman.of(name).unseen {
            self.watchman.of(name).served = false;
            self.watchman.of(name).promised = 0;
            self.watchman.of(name).allowed = None;
            return;
        }
        self.watchman.of(name).promised =
            if ready >= floor { floor } else { self.watchman.of(name).promised.min(floor) };
        let promised = self.watchman.of(name).promised;
        self.check("8 (enough pods Ready)", ready >= promised || undoing, || {
            format!("{ready} Ready of {alive} pods, {promised} promised of {least} replicas")
        });
        self.check_service(name, floor, undoing);
        if undoing {
            self.watchman.of(name).allowed = None;
            self.watchman.of(name).promised = self.watchman.of(name).promised.min(ready);
            return;
        }
        let allowed = match self.watchman.of(name).allowed {
            // Until it has come down once, what an undo has surged is on its way out.
            None if alive > ceiling => return,
            Some(before) if alive > ceiling => before.max(ceiling),
            None | Some(_) => ceiling,
        };
        self.watchman.of(name).allowed = Some(allowed);
        self.check("8 (not too many pods)", alive <= ceiling, || {
            format!("{alive} pods, {ceiling} allowed of {most} replicas")
        });
    }

    /// 8, as users see it: there is always somebody who answers, on the way back too. Unless the owner allows that there is nobody, or wants bad
    /// pods gone first.
    fn check_service(&mut self, name: &str, floor: i64, undoing: bool) {
        let ready = i64::try_from(endpoints(self.native(name)).count()).unwrap_or(0);
        let mitigates =
            self.release(name).is_some_and(|it| it["spec"]["undo"]["capacity"] == "MitigateFirst");
        let watched = self.watchman.of(name);
        watched.served |= ready >= floor.max(1);
        let is_allowed = floor < 1 || (undoing && mitigates);
        if is_allowed {
            watched.served = false;
        }
        let served = watched.served;
        self.check("8 (somebody serves)", ready > 0 || !served, || {
            format!("no pod is left to serve; {floor} were promised")
        });
    }

    /// What is done beside and after the way back: the end of a run waits for it as long as is said, and no longer; and what was put back, and is
    /// good, is not said to be bad.
    fn check_beside(&mut self, name: &str, before: Option<&Value>, after: &Value) {
        let nothing = Value::Null;
        let old = before.map_or(&nothing, |before| &before["status"]);
        let (was, is) = (&old["run"], &after["status"]["run"]);
        let id = |run: &Value| run["id"].as_str().unwrap_or_default().to_owned();
        if is["back"]["hooks"].as_array().is_some_and(|hooks| !hooks.is_empty()) {
            self.watchman.went_back.insert((name.to_owned(), id(is)));
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

    /// Whether pods of a template become Ready, and answer as they should.
    fn works(&self, name: &str, wanted: Option<&str>) -> bool {
        let mut sets = self.native(name).sets.iter();
        let set = sets.find(|set| Some(fingerprint(&set.template).as_str()) == wanted);
        let bad = ["crash", "never-ready", "errors", "errors-late"];
        set.is_some_and(|set| bad.iter().all(|bad| set.template["metadata"]["annotations"][bad].is_null()))
    }

    /// A record says of no hook that it is done which has never come to whom it asks.
    fn check_recorded(&mut self, record: &Value) {
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
            *recorded += 1;
            let recorded = *recorded;
            self.check("hooks (each is done)", recorded <= came, || {
                format!("{name} is done in {recorded} records, and came {came} times")
            });
        }
    }

    /// Whoever is behind a hook's URL has answered a process: once for each way back, as long as it lives.
    pub fn hook_answered(&mut self, process: usize) {
        let is_new = |name: &&str| {
            let run = self.status(name)["run"]["id"].as_str().unwrap_or_default().to_owned();
            !self.watchman.went_back.contains(&((*name).to_owned(), run))
        };
        // It may be under way before status says so.
        let most = self.watchman.went_back.len() + self.targets().filter(is_new).count();
        let answered = self.watchman.hooks_answered.entry(process).or_default();
        *answered += 1;
        let answered = *answered;
        self.check("hooks (once)", answered <= most, || {
            format!("process {process} has called {answered} times, in {most} ways back")
        });
    }

    /// A pod has been taken out of its ReplicaSet: out of the Service too, and with no more of them than was asked for.
    pub fn check_kept(&mut self, pod: &Value) {
        let metadata = &pod["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        let release = metadata["labels"][QUARANTINE].as_str().unwrap_or_default().to_owned();
        let owners = &metadata["ownerReferences"];
        let is_out = metadata["labels"]["app"].is_null()
            && owners.as_array().is_some_and(|owners| owners.len() == 1)
            && owners[0]["kind"] == "Deployment"
            && metadata["annotations"][QUARANTINED_UNTIL].is_string();
        self.check("quarantine (out of everything)", is_out, || metadata.to_string());
        let Some(found) = self.release(&release).cloned() else { return };
        let most = found["spec"]["undo"]["quarantine"]["pods"].as_u64().unwrap_or(1);
        let run = found["status"]["run"]["id"].as_str().unwrap_or_default().to_owned();
        let kept = self.watchman.kept.entry((release, run)).or_default();
        kept.insert(name);
        let kept = kept.len();
        self.check(
            "quarantine (no more than asked for)",
            u64::try_from(kept).is_ok_and(|kept| kept <= most),
            || format!("{kept} pods, {most} asked for"),
        );
    }

    /// The operator deletes no pod but those, and not before their time is over.
    pub fn check_pod_deleted(&mut self, who: &Who, name: &Name) {
        let (Who::Operator(_), Some(pod)) = (who, self.store.get("pods", name).cloned()) else { return };
        let metadata = &pod["metadata"];
        let until: Option<Timestamp> =
            metadata["annotations"][QUARANTINED_UNTIL].as_str().and_then(|text| text.parse().ok());
        let is_kept = !metadata["labels"][QUARANTINE].is_null();
        let is_over = until.is_some_and(|until| until <= stamp(self.now)) || self.watchman.clocks_jumped;
        self.check("quarantine (no other pod is deleted)", is_kept && is_over, || metadata.to_string());
    }

    /// Pods whose time has been over for a while.
    pub fn check_let_go(&mut self) {
        if self.watchman.clocks_jumped {
            return;
        }
        let late = stamp(self.now.saturating_sub(LATE));
        let is_late = |pod: &Value| {
            let until = pod["metadata"]["annotations"][QUARANTINED_UNTIL].as_str();
            until.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|until| until < late)
        };
        let kept = self.clusters.iter().flat_map(|cluster| cluster.kept.keys());
        let found: Vec<String> = kept
            .filter(|name| self.store.get("pods", &named(name)).is_some_and(|pod| is_late(pod)))
            .cloned()
            .collect();
        self.check("quarantine (gone when it is over)", found.is_empty(), || format!("{found:?}"));
    }

    /// A deleted Release's Deployment goes back too.
    fn goes_back_alone(&self, name: &str, deployment: &Value) -> bool {
        let gone = self.release(name).is_none();
        let forgotten = self.status(name)["stable"].is_null();
        (gone || forgotten) && !deployment["metadata"]["annotations"][STABLE].is_null()
    }

    /// 12: at rest the Deployment is as its owner wrote it. `None`: it is not at rest, and why.
    pub fn at_rest(&self, name: &str) -> Result<(), String> {
        let Some(deployment) = self.deployment(name) else { return Ok(()) };
        let ready = self.native(name).ready();
        let alive = self.native(name).alive();
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
        if u64::try_from(ready) != Ok(replicas) || u64::try_from(alive) != Ok(replicas) {
            return Err(format!("{ready} Ready of {alive} pods, {replicas} wanted"));
        }
        if self.clusters.iter().any(|cluster| cluster.name == name && !cluster.kept.is_empty()) {
            return Err("pods are in quarantine".to_owned());
        }
        let status = self.status(name);
        let released = self.release(name).is_some();
        let annotations = &deployment["metadata"]["annotations"];
        let owed = status["notifications"]["owed"].as_array().map_or(0, Vec::len);
        if owed > 0 {
            return Err(format!("{owed} messages are still to be told"));
        }
        if released {
            let phase = status["phase"].as_str().unwrap_or_default();
            if !status["run"].is_null() || !matches!(phase, "Idle" | "Rejected") {
                return Err(format!("phase {phase}"));
            }
            if status["stable"].is_null() && status["handedBack"].is_null() {
                return Err("nothing is stable".to_owned());
            }
            if status["observedGeneration"]
                != self.release(name).map_or(Value::Null, |it| it["metadata"]["generation"].clone())
            {
                return Err("the Release was not looked at".to_owned());
            }
            let held = phase == "Rejected"
                && deployment["spec"]["paused"] == true
                && !annotations[ORIGINALS].is_null();
            if held {
                return Ok(());
            }
        } else if !deployment["metadata"]["labels"][tidegate::api::RELEASE_LABEL].is_null() {
            return Err("the label of a Release that is gone".to_owned());
        }
        let watched = self.watchman.watched.get(name);
        for (field, wanted) in watched.into_iter().flat_map(|watched| &watched.owners) {
            let found = &deployment["spec"][*field];
            if found != wanted && watched.is_some_and(|watched| watched.edited.get(field) != Some(found)) {
                return Err(format!("spec.{field} is {found}, its owner wrote {wanted}"));
            }
        }
        if !annotations[ORIGINALS].is_null() || !annotations[STABLE].is_null() {
            return Err(format!("annotations are left: {annotations}"));
        }
        Ok(())
    }

    /// 12: no run that is over stands in the way of who applies the owner's fields server-side.
    pub fn check_conflicts(&mut self, name: &str, fields: &Map<String, Value>) {
        if self.at_rest(name).is_err() || self.status(name)["phase"] == "Rejected" {
            return;
        }
        // What was undone is for its owner to write anew, and so is what a policy has put back.
        let owners = &self.watchman.of(name).owners;
        let fields: Map<String, Value> = fields
            .iter()
            .filter(|(field, value)| owners.get(field.as_str()) == Some(value))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        let conflicts = self.conflicts(name, "gitops", &fields);
        let ours: Vec<&str> =
            conflicts.iter().filter(|(_, manager)| *manager == OPERATOR).map(|(field, _)| *field).collect();
        self.check("12 (no conflicts are left)", ours.is_empty(), || format!("{ours:?} of {name}"));
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

    /// Locks: one run at a time has one, and none moves pods without.
    fn check_locks(&mut self, name: &str, after: &Value) {
        let locks = |release: &Value, field: &str| -> Vec<String> {
            let all = release.pointer(field).and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let held = |release: &Value| match release["status"]["run"]["locks"]["standing"].as_str() {
            Some("Held") => locks(release, "/status/run/locks/names"),
            Some(_) | None => Vec::new(),
        };
        let wanted = locks(after, "/spec/locks");
        if wanted.is_empty() {
            return;
        }
        let mine = held(after);
        let others = self.store.all("releases").filter(|((_, other), _)| other != name);
        let twice: Vec<String> =
            others.flat_map(|(_, other)| held(other)).filter(|lock| mine.contains(lock)).collect();
        self.check("locks (one run at a time)", twice.is_empty(), || {
            format!("{name} has {twice:?}, and so has another Release")
        });
        let moves = after["status"]["run"]["stage"] == "Steps";
        self.check(
            "locks (none moves without)",
            !moves || wanted.iter().all(|lock| mine.contains(lock)),
            || format!("{name} has {mine:?} of {wanted:?}"),
        );
    }

    /// What status owes to people is told, or known not to be wanted, before it is owed no more; and each end of a run is owed.
    fn check_owed(&mut self, before: Option<&Value>, after: &Value) {
        let Some(audiences) = after["spec"]["notify"].as_array() else { return };
        let owed = |release: &Value| -> BTreeSet<Told> {
            let all = release["status"]["notifications"]["owed"].as_array();
            let each = |owed: &Value| -> Vec<Told> {
                let id = owed["id"].as_str().unwrap_or_default().to_owned();
                let to = owed["to"].as_array().into_iter().flatten().filter_map(Value::as_str);
                to.map(|to| (id.clone(), to.to_owned())).collect()
            };
            all.into_iter().flatten().flat_map(each).collect()
        };
        let (was, is) = (before.map(owed).unwrap_or_default(), owed(after));
        let names: Vec<&str> = audiences.iter().filter_map(|one| one["name"].as_str()).collect();
        let forgotten: Vec<Told> = was
            .into_iter()
            .filter(|told| !is.contains(told) && names.contains(&told.1.as_str()))
            .filter(|told| !self.watchman.came.contains_key(told) && !self.watchman.refused.contains(told))
            .collect();
        self.check("10 (nothing owed is lost)", forgotten.is_empty(), || format!("{forgotten:?}"));
        let last = &after["status"]["lastRun"];
        let ended = before.is_some_and(|before| before["status"]["lastRun"]["number"] != last["number"]);
        if ended && last["outcome"] != "HandedBack" {
            let hears = |one: &&Value| {
                one["after"].is_null()
                    && one["events"].as_array().is_some_and(|events| events.contains(&last["outcome"]))
            };
            let all = after["status"]["notifications"]["owed"].as_array();
            let is_owed = |one: &Value| {
                all.into_iter().flatten().any(|owed| {
                    owed["event"] == last["outcome"]
                        && owed["run"] == last["id"]
                        && owed["to"].as_array().is_some_and(|to| to.contains(&one["name"]))
                })
            };
            let untold =
                audiences.iter().filter(hears).find(|one| !is_owed(one)).map(|one| one["name"].clone());
            self.check("10 (the end of a run is told)", untold.is_none(), || {
                format!("{untold:?} is not told of the end of run {}", last["id"])
            });
        }
        self.watchman.noted.extend(is);
    }

    /// A message has come to whom it is for. `answered`: who sent it knows.
    pub fn came(&mut self, process: usize, id: &str, to: &str, answered: bool) {
        let told = (id.to_owned(), to.to_owned());
        let noted = self.watchman.noted.contains(&told);
        self.check("10 (noted before it is told)", noted, || format!("{told:?}"));
        // One that leads again, after another one or after a while, does not know what it knew.
        let knows = self.watchman.identities.is_empty();
        let before = self.watchman.came.get(&told);
        let again = before.is_some_and(|all| all.contains(&(process, true)));
        self.check("10 (told once)", !(again && knows), || format!("{told:?} once more"));
        self.watchman.came.entry(told).or_default().push((process, answered));
    }

    /// A receiver has said that it will not have it, however often it is tried.
    pub fn refused(&mut self, id: &str, to: &str) {
        self.watchman.refused.insert((id.to_owned(), to.to_owned()));
    }
}
