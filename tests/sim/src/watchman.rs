//! Looks at every request of the operator, every write and every turn of the cluster, and says which of the invariants of `src/lib.rs`
//! does not hold, as far as it can be seen from outside: numbers in what it says are theirs.

use std::collections::{BTreeMap, BTreeSet};

use json_patch::PatchOperation;
use serde_json::{Value, json};
use tidegate::api::{ORIGINALS, STABLE};
use tidegate::cli::report::chain::{Newest, Record, walk};
use tidegate::watch::slim::fingerprint;

use crate::cluster::target;
use crate::native::fenceposts;
use crate::server::{Request, Who};
use crate::world::{Pages, TARGET, World};

/// `minReadySeconds` of a parked Deployment.
const PARKED: i64 = 2_147_483_646;
/// Milliseconds in which the native controllers may still carry out what was asked for before.
const RECENTLY: u64 = 5_000;

/// What the watchman remembers.
#[derive(Default)]
pub struct Watchman {
    pub violations: Vec<String>,
    /// Checks made.
    pub checks: u64,
    /// What the owner wrote last into the fields that a run borrows: `paused`, `minReadySeconds`, `progressDeadlineSeconds`, `strategy`.
    pub owners: BTreeMap<&'static str, Value>,
    /// What they wrote there while a run had the fields, where no policy keeps them from it: it may be taken back, or taken for theirs.
    edited: BTreeMap<&'static str, Value>,
    /// The owner has written to a Deployment that moves, and no policy has paused it: until the operator has seen it, the native
    /// controller does what it likes.
    unseen: bool,
    /// Ready pods that there must be, once there have been so many.
    promised: i64,
    /// Pods that there may be.
    allowed: Option<i64>,
    /// Counts of pods say nothing before.
    pub excused_until: u64,
    /// Replicas asked for lately.
    wanted: Vec<(u64, i64)>,
    /// Generation of the Deployment after a process's last write to it.
    written: BTreeMap<usize, (String, i64)>,
    /// Jobs that were made, by Release, run, check.
    jobs: BTreeMap<String, BTreeSet<String>>,
    /// A person said so much that more than one try is fine.
    pub retried: bool,
    /// Identity of each process in the Lease, where there is an election.
    pub identities: BTreeMap<usize, String>,
    /// The run that began while the pages said nothing.
    blind: Option<String>,
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
        if request.path.ends_with("/deployments/shop") {
            let generation = tested("/metadata/generation").cloned();
            self.check("4 (guarded)", generation.is_some(), || what.clone());
            let known = self.watchman.written.get(&process).cloned();
            let uid =
                self.deployment().map(|it| it["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            if let (Some((written, own)), Some(uid)) = (known, uid)
                && written == uid
            {
                let decided_on = generation.and_then(|value| value.as_i64()).unwrap_or(0);
                self.check("5 (own writes)", decided_on >= own, || {
                    format!("decided on generation {decided_on}, wrote {own} itself")
                });
            }
        }
        if request.path.ends_with("/releases/shop/status") {
            let guarded = tested("/metadata/resourceVersion").is_some();
            self.check("4 (guarded)", guarded, || what);
        }
    }

    /// A write is about to take effect.
    pub fn check_write(&mut self, who: &Who, plural: &str, before: Option<&Value>, after: &Value) {
        match (who, plural) {
            (Who::Operator(process), "deployments") => {
                let metadata = &after["metadata"];
                let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
                self.watchman.written.insert(*process, (uid, metadata["generation"].as_i64().unwrap_or(0)));
                self.check_pace(before, after);
                if std::mem::take(&mut self.watchman.unseen) {
                    self.watchman.excused_until = self.watchman.excused_until.max(self.now + 2 * RECENTLY);
                }
            }
            (Who::Person(_), "deployments") => self.note_owner(before, after),
            (Who::Operator(_), "releases") => self.check_status(before, after),
            (Who::Operator(_), "jobs") => self.check_job(after),
            (Who::Operator(_) | Who::Person(_) | Who::Cluster, _) => {}
        }
    }

    /// What the owner wants is what they wrote, unless a run has the fields.
    fn note_owner(&mut self, before: Option<&Value>, after: &Value) {
        let taken = |it: &Value| !it["metadata"]["annotations"][ORIGINALS].is_null();
        let in_a_run = before.is_some_and(taken);
        let moves = before.is_some_and(|before| before["spec"]["paused"] != true);
        if in_a_run && !self.policies && (moves || after["spec"]["paused"] != true) {
            self.watchman.unseen = true;
        }
        for field in ["minReadySeconds", "progressDeadlineSeconds", "strategy"] {
            let value = &after["spec"][field];
            let is_other = before.is_none_or(|before| before["spec"][field] != *value);
            if in_a_run && is_other {
                self.watchman.edited.insert(field, value.clone());
            }
            if !in_a_run && is_other {
                self.watchman.edited.remove(field);
                self.watchman.owners.insert(field, value.clone());
                // What the new limits allow may be less than what stands there by the old ones.
                self.watchman.allowed = None;
                self.watchman.promised = 0;
            }
        }
    }

    /// 13: between moves it is paused; on a canary template it is never unpaused and unparked before the last step is done.
    fn check_pace(&mut self, before: Option<&Value>, after: &Value) {
        let spec = &after["spec"];
        // A label, an annotation: what moves there is none of its doing.
        if before.is_some_and(|before| before["spec"] == *spec) {
            return;
        }
        let stable = self.status()["stable"]["fingerprint"].as_str().map(str::to_owned);
        let Some(stable) = stable else { return };
        let parked = spec["minReadySeconds"] == PARKED;
        let paused = spec["paused"] == true;
        let recreate = spec["strategy"]["type"] == "Recreate";
        if paused || recreate {
            return;
        }
        let on_stable = stable == fingerprint(&spec["template"]);
        let sets = &self.cluster.native.sets;
        let all_out = sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
        let handed_back =
            self.store.all("releaseactions").any(|(_, action)| action["spec"]["action"] == "HandBack");
        let strategy = spec["strategy"].to_string();
        self.check("13 (never unpaused and unparked)", parked || on_stable || all_out || handed_back, || {
            format!("minReadySeconds {}, strategy {strategy}", after["spec"]["minReadySeconds"])
        });
    }

    /// Nobody told the process what came of its last write: it cannot know that it took effect.
    pub fn unanswered(&mut self, process: usize) {
        self.watchman.written.remove(&process);
    }

    fn check_status(&mut self, before: Option<&Value>, after: &Value) {
        let nothing = Value::Null;
        let (old, new) = (before.map_or(&nothing, |before| &before["status"]), &after["status"]);
        let revision = |status: &Value| status["revision"].as_i64().unwrap_or(0);
        let (was, is) = (revision(old), revision(new));
        self.check("4 (one status write a look)", is == was + 1 || was == 0, || {
            format!("revision {was}, then {is}")
        });
        if self.policies && new["phase"] == "Soaking" {
            let target = self.deployment().cloned();
            let ours = target.as_ref().is_some_and(|it| !it["metadata"]["annotations"][ORIGINALS].is_null());
            let moves = target.is_some_and(|it| it["spec"]["paused"] != true);
            self.check("13 (paused between moves)", !(ours && moves), || "it soaks and may move".to_owned());
        }
        let (old, new) = (&old["run"], &new["run"]);
        if new.is_null() {
            return;
        }
        let id = new["id"].as_str().unwrap_or_default().to_owned();
        if old["id"] != new["id"] && self.pages != Pages::Honest {
            self.watchman.blind = Some(id.clone());
        }
        if old["id"] == new["id"] {
            let step = |run: &Value| run["step"].as_i64().unwrap_or(0);
            let (from, to) = (step(old), step(new));
            self.check("6 (one step)", to <= from + 1, || format!("run {id}: step {from}, then {to}"));
            let skips = old["stage"] == "Preflight" && new["stage"] == "Watch";
            self.check("6 (one step)", !skips, || format!("run {id}: from the checks to the watch"));
        }
        if self.pages == Pages::Honest {
            self.watchman.blind = None;
        }
        if self.watchman.blind.as_ref() == Some(&id) && self.measures() {
            let skipped = !new["progress"]["skipped"].is_null() || !old["progress"]["skipped"].is_null();
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

    /// Whether the Release has criteria.
    fn measures(&self) -> bool {
        self.release()
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
    pub fn check_pods(&mut self) {
        let Some(deployment) = self.deployment().cloned() else {
            self.watchman.promised = 0;
            self.watchman.allowed = None;
            return;
        };
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let now = self.now;
        let before = self.watchman.wanted.last().map(|(_, wanted)| *wanted);
        let several = self.cluster.native.sets.iter().filter(|set| set.replicas > 0).count() > 1;
        if before.is_some_and(|before| before > replicas) && several {
            // The native controller shrinks revisions in proportion, those that serve with those that do not.
            self.watchman.promised = 0;
        }
        self.watchman.wanted.push((now, replicas));
        // The one before the window still counts at its beginning.
        let keep = self.watchman.wanted.iter().rposition(|(at, _)| *at + RECENTLY < now).unwrap_or(0);
        self.watchman.wanted.drain(..keep);
        let strategy = self.watchman.owners.get("strategy").cloned().unwrap_or_else(|| json!({}));
        if strategy["type"] == "Recreate" || deployment["spec"]["strategy"]["type"] == "Recreate" {
            return;
        }
        let least = self.watchman.wanted.iter().map(|(_, wanted)| *wanted).min().unwrap_or(0);
        let most = self.watchman.wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(0);
        let limits = |replicas: i64| fenceposts(&strategy, i32::try_from(replicas).unwrap_or(0));
        let ready = i64::try_from(self.cluster.native.ready()).unwrap_or(0);
        let alive = i64::try_from(self.cluster.native.alive()).unwrap_or(0);
        let floor = least - i64::from(limits(least).1);
        let ceiling = most + i64::from(limits(most).0);
        let undoing = !self.status()["run"]["back"].is_null() || self.goes_back_alone(&deployment);
        if now < self.watchman.excused_until || self.watchman.unseen {
            self.watchman.promised = 0;
            self.watchman.allowed = None;
            return;
        }
        self.watchman.promised = if ready >= floor { floor } else { self.watchman.promised.min(floor) };
        let promised = self.watchman.promised;
        self.check("8 (enough pods Ready)", ready >= promised || undoing, || {
            format!("{ready} Ready of {alive} pods, {promised} promised of {least} replicas")
        });
        if undoing {
            self.watchman.allowed = None;
            self.watchman.promised = self.watchman.promised.min(ready);
            return;
        }
        let allowed = match self.watchman.allowed {
            // Until it has come down once, what an undo has surged is on its way out.
            None if alive > ceiling => return,
            Some(before) if alive > ceiling => before.max(ceiling),
            None | Some(_) => ceiling,
        };
        self.watchman.allowed = Some(allowed);
        self.check("8 (not too many pods)", alive <= ceiling, || {
            format!("{alive} pods, {ceiling} allowed of {most} replicas")
        });
    }

    /// A deleted Release's Deployment goes back too.
    fn goes_back_alone(&self, deployment: &Value) -> bool {
        let gone = self.release().is_none();
        let forgotten = self.status()["stable"].is_null();
        (gone || forgotten) && !deployment["metadata"]["annotations"][STABLE].is_null()
    }

    /// 12: at rest the Deployment is as its owner wrote it. `None`: it is not at rest, and why.
    pub fn at_rest(&self) -> Result<(), String> {
        let Some(deployment) = self.store.get("deployments", &target()) else { return Ok(()) };
        let ready = self.cluster.native.ready();
        let alive = self.cluster.native.alive();
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
        if u64::try_from(ready) != Ok(replicas) || u64::try_from(alive) != Ok(replicas) {
            return Err(format!("{ready} Ready of {alive} pods, {replicas} wanted"));
        }
        let status = self.status();
        let released = self.release().is_some();
        let annotations = &deployment["metadata"]["annotations"];
        if released {
            let phase = status["phase"].as_str().unwrap_or_default();
            if !status["run"].is_null() || !matches!(phase, "Idle" | "Rejected") {
                return Err(format!("phase {phase}"));
            }
            if status["stable"].is_null() && status["handedBack"].is_null() {
                return Err("nothing is stable".to_owned());
            }
            if status["observedGeneration"]
                != self.release().map_or(Value::Null, |it| it["metadata"]["generation"].clone())
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
        for (field, wanted) in &self.watchman.owners {
            let found = &deployment["spec"][*field];
            if found != wanted && self.watchman.edited.get(field) != Some(found) {
                return Err(format!("spec.{field} is {found}, its owner wrote {wanted}"));
            }
        }
        if !annotations[ORIGINALS].is_null() || !annotations[STABLE].is_null() {
            return Err(format!("annotations are left: {annotations}"));
        }
        Ok(())
    }

    /// The records of runs are what was written, and none is missing between two.
    pub fn check_records(&mut self) {
        let all = self.store.all("releasereports");
        let records: Vec<Record> = all.map(|((_, name), it)| Record::of(name.clone(), &it["spec"])).collect();
        let release = self.release().cloned();
        let newest = release.and_then(|release| {
            let reports = &release["status"]["reports"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some(Newest {
                release_uid: text(&release["metadata"]["uid"])?,
                name: text(&reports["kept"].as_array()?.last()?["name"])?,
                digest: text(&reports["digest"]).unwrap_or_default(),
            })
        });
        let walked = walk(TARGET, &records, newest.as_ref());
        self.check("records (a chain)", !walked.broken, || walked.text);
    }

    /// Status waits for signatures: none that was given for this run may be missing.
    pub fn check_signatures(&mut self) {
        let run = self.status()["run"].clone();
        // Another Release of this name, before this one, had a run of this number too.
        let made = |object: &Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
        let since = self.release().and_then(|release| made(release));
        let given = |action: &Value| {
            action["spec"]["action"] == "Approve"
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
