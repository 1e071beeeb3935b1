//! A small world without a cluster: the native Deployment controller as a model, pods that become Ready after a while, and the real
//! `observe` and `decide` of the operator, under a virtual clock. What the operator orders is applied as the JSON patch it is.
//!
//! The model of the native controller is the simulated cluster's (`tests/sim`), where the operator's whole loop runs behind an API
//! server; what only a real one can tell (admission, rights) is told by the stories there.

mod authors;
mod checks;
mod jobs;
mod letters;
mod locks;
mod measured;
mod migrations;
mod notify;
mod orders;
mod pilots;
mod random;
mod records;
mod refused;
mod seen;
mod signed_where;
mod signing;
mod sources;
mod stories;
mod traffic;
mod trial;
mod undoing;
mod windows;
mod withheld;

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::{Authors, ReleaseReportSpec, ReleaseStatus, Right};
use tidegate::decide::notify::Told;
use tidegate::decide::refusal::{DoneWithout, Missed, Refusal, Why};
use tidegate::decide::snapshot::{
    Gathered, JobOutput, LastWrite, ProbeAnswer, ProbeId, ProbeResult, WayBack,
};
use tidegate::decide::values::Sample;
use tidegate::decide::{self, Decision, Errand, Intent, Key, Notice, Probe, Sampling, Snapshot};
use tidegate::observe::reading::Reading;
use tidegate::observe::{Findings, observe};
use tidegate::watch::again::Again;
use tidegate::watch::index::Index;
use tidegate_sim::native::Native;

/// One tick of the world.
const TICK: Duration = Duration::from_millis(100);

/// The world.
pub struct World {
    /// ReplicaSets, pods, and the moment.
    native: Native,
    /// `None`: deleted.
    pub release: Option<Value>,
    pub status: ReleaseStatus,
    pub deployment: Option<Value>,
    pub templates: BTreeMap<String, Value>,
    pub actions: Vec<Value>,
    pub freezes: Vec<Value>,
    /// Other Releases of the namespace.
    pub others: Vec<Value>,
    /// Other Deployments.
    pub deployments: Vec<Value>,
    pub reports: BTreeMap<String, ReleaseReportSpec>,
    pub policy: bool,
    /// A policy that is not in force, of those that ask whether the author of a Release may do what it does.
    pub unguarded: Option<&'static str>,
    /// Somebody's admission: what it makes of each template that is written.
    pub mutates: Option<fn(&mut Value)>,
    pub ready_after: Duration,
    /// Pods for which no node has room.
    pub without_room: Vec<String>,
    /// Pods on nodes that are not heard from.
    pub silent: BTreeMap<String, seen::Silent>,
    pub notices: Vec<Notice>,
    pub writes_to_deployment: usize,
    pub status_writes: usize,
    /// Replicas asked for lately: pods of a scale-up take a while.
    wanted_lately: VecDeque<(Timestamp, i32)>,
    next: u64,
    /// What the criterion `memory` reads every 5 s.
    pub memory: Option<f64>,
    readings: Vec<Sample>,
    /// What else is measured.
    pub meters: measured::Meters,
    /// The most intents carried out before the operator dies in mid-look.
    pub dies_after: Option<usize>,
    /// Status cannot be written.
    pub status_unwritten: bool,
    /// What checks that ask are told, by `check` or `step/check`; passed, where nothing is said.
    pub answers: BTreeMap<&'static str, (ProbeResult, &'static str)>,
    /// What was asked, and what it was told.
    pub probes: BTreeMap<ProbeId, ProbeAnswer>,
    pub asked: Vec<Probe>,
    /// Jobs that were made, in their order.
    pub jobs: Vec<String>,
    /// What came of telling people.
    pub told: Vec<Told>,
    /// How they end, by the label that says what they are for. Without a word here nothing of one is ever seen.
    pub job_ends: BTreeMap<&'static str, Ending>,
    /// When those were made of which something is seen, and their labels.
    job_objects: BTreeMap<String, (Timestamp, Value)>,
    /// How trial pods fare.
    pub trial: trial::Fares,
    /// Their Jobs that are there: when each was made, and as what.
    pub trials: BTreeMap<String, (Timestamp, Value)>,
    /// What was read of them.
    outputs: BTreeMap<String, JobOutput>,
    /// What was begun beside the way back.
    pub errands: Vec<Errand>,
    /// Hooks and checks of which nothing is ever heard.
    pub hangs: Vec<&'static str>,
    pub gathered: Option<Gathered>,
    /// Where pods are.
    pub places: pilots::Places,
    /// Nobody reads what pods wrote.
    pub gathers_nothing: bool,
    /// What only tells something is not written.
    pub rush: bool,
    way_back: Option<WayBack>,
    /// What this process wrote last to the Deployment.
    last_write: Option<LastWrite>,
    /// Pods in quarantine, as objects.
    pub quarantined: Vec<Value>,
    /// What is to be measured, as of the last look.
    pub sampling: Option<Sampling>,
    /// The intents of the look that decided to go back, in a word each.
    pub first_intents: Vec<&'static str>,
    /// Kept templates have lost their owner.
    pub orphaned_templates: bool,
    /// The native controllers stand still: the generation of the Deployment that they saw last.
    pub stand_still: Option<Value>,
    /// Pods and their sets are not heard: since when, and how they were then.
    pub unheard: Option<(Timestamp, Native)>,
    /// Jobs are not heard since then: they are known as they were.
    pub jobs_unheard: Option<Timestamp>,
    /// Kept templates are not heard: since when, and those that are known.
    pub templates_unheard: Option<(Timestamp, BTreeMap<String, Value>)>,
    /// Since when this process looks; `None`: since ever.
    looking_since: Option<Timestamp>,
    /// By how much the operator's clock is ahead of the API server's.
    pub ahead: Duration,
    /// Actions are not heard: how they were last.
    pub actions_unheard: Option<Vec<Value>>,
    /// Writes that are refused, each by the word for its intent, or by what it writes: `ReleaseAction a2`.
    pub refuses: Vec<&'static str>,
    /// Those of them that were done without.
    missed: BTreeMap<DoneWithout, Missed>,
    /// What its watches have told the operator so far.
    seen: seen::Seen,
    /// Actions that were marked, and when.
    marked: BTreeMap<String, Timestamp>,
}

/// How a Job ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    pub after: Duration,
    pub well: bool,
    /// The last line of its log; `None`: it cannot be read.
    pub says: Option<&'static str>,
}

/// A Job that ends well after a second.
pub const WELL: Ending = Ending { after: Duration::from_secs(1), well: true, says: Some("done") };
/// One that fails.
pub const BADLY: Ending = Ending { well: false, says: Some("no such table"), ..WELL };

/// A template of this version; `bad` ones crash.
pub fn template(version: &str, bad: bool) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}, "annotations": {"version": version, "crash": bad.to_string()}},
        "spec": {"containers": [{"name": "shop", "image": "shop:v1"}], "unknownField": {"kept": [1, 2, 3]}},
    })
}

impl Deref for World {
    type Target = Native;

    fn deref(&self) -> &Native {
        &self.native
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Native {
        &mut self.native
    }
}

fn set_paused(spec: &mut Value, paused: bool) {
    if paused {
        spec["paused"] = json!(true);
    } else {
        spec.as_object_mut().unwrap().remove("paused");
    }
}

impl World {
    /// A Deployment at rest with its Release, not yet adopted.
    pub fn new(replicas: i32, strategy: Value, release: Value) -> Self {
        let mut spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}, "criteria": []});
        spec.as_object_mut().unwrap().extend(release.as_object().unwrap().clone());
        let deployment = json!({
            "metadata": {"name": "shop", "namespace": "ns", "uid": "d1", "generation": 1, "labels": {"app": "shop"}, "annotations": {}},
            "spec": {"replicas": replicas, "progressDeadlineSeconds": 600, "strategy": strategy, "template": template("v1", false)},
            "status": {},
        });
        let mut world = Self {
            native: Native::new(Timestamp::from_second(1_800_000_000).unwrap()),
            release: Some(spec),
            status: ReleaseStatus::default(),
            deployment: Some(deployment),
            templates: BTreeMap::new(),
            actions: Vec::new(),
            freezes: Vec::new(),
            others: Vec::new(),
            deployments: Vec::new(),
            reports: BTreeMap::new(),
            policy: true,
            unguarded: None,
            mutates: None,
            ready_after: Duration::from_millis(1000),
            without_room: Vec::new(),
            silent: BTreeMap::new(),
            notices: Vec::new(),
            writes_to_deployment: 0,
            status_writes: 0,
            wanted_lately: VecDeque::new(),
            next: 0,
            memory: None,
            readings: Vec::new(),
            meters: measured::Meters::default(),
            dies_after: None,
            status_unwritten: false,
            answers: BTreeMap::new(),
            probes: BTreeMap::new(),
            asked: Vec::new(),
            jobs: Vec::new(),
            told: Vec::new(),
            job_ends: BTreeMap::new(),
            job_objects: BTreeMap::new(),
            trial: trial::Fares::Well,
            trials: BTreeMap::new(),
            outputs: BTreeMap::new(),
            errands: Vec::new(),
            hangs: Vec::new(),
            gathered: None,
            places: pilots::Places::default(),
            gathers_nothing: false,
            rush: false,
            way_back: None,
            last_write: None,
            quarantined: Vec::new(),
            sampling: None,
            first_intents: Vec::new(),
            orphaned_templates: false,
            stand_still: None,
            unheard: None,
            jobs_unheard: None,
            templates_unheard: None,
            looking_since: None,
            ahead: Duration::ZERO,
            actions_unheard: None,
            refuses: Vec::new(),
            missed: BTreeMap::new(),
            seen: seen::Seen::default(),
            marked: BTreeMap::new(),
        };
        world.until("adopted", |world| world.status.stable.is_some());
        world
    }

    pub fn deployment(&self) -> &Value {
        self.deployment.as_ref().expect("a Deployment")
    }

    pub fn replicas(&self) -> i32 {
        i32::try_from(self.deployment()["spec"]["replicas"].as_i64().unwrap()).unwrap()
    }

    /// The owner writes a template.
    pub fn push(&mut self, template: Value) {
        self.push_by("owner", template);
    }

    /// Somebody does.
    pub fn push_by(&mut self, who: &str, template: Value) {
        self.write_by(who, |spec| spec["template"] = template);
    }

    /// Anybody sets replicas.
    pub fn scale(&mut self, replicas: i32) {
        self.write(|spec| spec["replicas"] = json!(replicas));
    }

    /// `kubectl rollout pause` and `resume`, by the owner.
    pub fn pause(&mut self, paused: bool) {
        self.write(|spec| set_paused(spec, paused));
    }

    /// The owner writes the spec.
    pub fn write(&mut self, change: impl FnOnce(&mut Value)) {
        self.write_by("owner", change);
    }

    /// Somebody who is not the operator does, and the admission policies have their say (charts/, policies-workload.yaml).
    fn write_by(&mut self, who: &str, change: impl FnOnce(&mut Value)) {
        let before = self.deployment().clone();
        let deployment = self.deployment.as_mut().expect("a Deployment");
        change(&mut deployment["spec"]);
        if let Some(mutates) = self.mutates {
            mutates(&mut deployment["spec"]["template"]);
        }
        let changed = deployment["spec"]["template"] != before["spec"]["template"];
        let annotations = &before["metadata"]["annotations"];
        let running = annotations.get("tidegate.dev/originals").is_some();
        let was = annotations["tidegate.dev/held"].as_str().unwrap_or_default().to_owned();
        if self.policy {
            let paused = deployment["spec"]["paused"] == true;
            let held = match was.as_str() {
                "owner" if !running && !paused => "true",
                "" if !running && changed => {
                    if paused {
                        "owner"
                    } else {
                        "true"
                    }
                }
                was => was,
            };
            if !held.is_empty() {
                deployment["metadata"]["annotations"]["tidegate.dev/held"] = json!(held);
            }
            if running {
                set_paused(&mut deployment["spec"], changed || before["spec"]["paused"] == true);
            } else if changed || !held.is_empty() {
                set_paused(&mut deployment["spec"], true);
            }
        }
        if changed {
            let before = annotations["tidegate.dev/changed-by"].as_str().and_then(Authors::read);
            let authors = Authors::together(before.as_ref(), Authors::read(who).as_ref());
            deployment["metadata"]["annotations"]["tidegate.dev/changed-by"] = json!(authors);
        }
        if *deployment != before {
            self.changed();
        }
    }

    /// Somebody says something.
    pub fn say(&mut self, action: &str) {
        self.say_of(action, json!({}));
    }

    /// The same, with more fields.
    pub fn say_of(&mut self, action: &str, more: Value) {
        self.next += 1;
        let name = format!("a{}", self.next);
        let mut spec = json!({"release": "shop", "action": action, "by": "alice", "reason": "because"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.actions.push(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": second(self.now - self.ahead)},
            "spec": spec,
        }));
    }

    fn changed(&mut self) {
        let metadata = &mut self.deployment.as_mut().expect("a Deployment")["metadata"];
        metadata["generation"] = json!(metadata["generation"].as_i64().unwrap() + 1);
    }

    /// The same world, to try something on.
    pub fn copy(&self) -> Self {
        Self {
            release: self.release.clone(),
            status: self.status.clone(),
            deployment: self.deployment.clone(),
            native: self.native.clone(),
            reports: self.reports.clone(),
            without_room: self.without_room.clone(),
            silent: self.silent.clone(),
            templates: self.templates.clone(),
            actions: self.actions.clone(),
            freezes: self.freezes.clone(),
            others: self.others.clone(),
            deployments: self.deployments.clone(),
            notices: self.notices.clone(),
            wanted_lately: self.wanted_lately.clone(),
            readings: self.readings.clone(),
            meters: self.meters.clone(),
            answers: self.answers.clone(),
            probes: self.probes.clone(),
            asked: self.asked.clone(),
            jobs: self.jobs.clone(),
            told: self.told.clone(),
            job_ends: self.job_ends.clone(),
            job_objects: self.job_objects.clone(),
            trials: self.trials.clone(),
            outputs: self.outputs.clone(),
            errands: self.errands.clone(),
            hangs: self.hangs.clone(),
            gathered: self.gathered.clone(),
            places: self.places.clone(),
            way_back: self.way_back.clone(),
            last_write: self.last_write.clone(),
            quarantined: self.quarantined.clone(),
            sampling: self.sampling.clone(),
            first_intents: self.first_intents.clone(),
            stand_still: self.stand_still.clone(),
            unheard: self.unheard.clone(),
            templates_unheard: self.templates_unheard.clone(),
            actions_unheard: self.actions_unheard.clone(),
            refuses: self.refuses.clone(),
            missed: self.missed.clone(),
            seen: seen::Seen::default(),
            marked: self.marked.clone(),
            ..*self
        }
    }

    /// One tick: pods, the native controller, the operator.
    pub fn tick(&mut self) {
        self.quiet_tick();
        self.look();
    }

    /// The same without an operator.
    pub fn quiet_tick(&mut self) {
        self.now += TICK;
        let now = self.now;
        let ready_after = self.ready_after;
        let Self { native, without_room, silent, .. } = self;
        let is_ending = |since: Timestamp| now < since + Duration::from_millis(300);
        // On a silent node nobody says that it is gone.
        native
            .pods
            .retain(|pod| silent.contains_key(&pod.name) || pod.terminating_since.is_none_or(is_ending));
        for pod in &mut native.pods {
            if silent.contains_key(&pod.name) {
                pod.ready_since = None;
                continue;
            }
            let is_kept = pod.crashing || pod.waits.is_some() || without_room.contains(&pod.name);
            let starts = !is_kept && pod.terminating_since.is_none();
            if starts && now >= pod.born + ready_after && pod.ready_since.is_none() {
                pod.ready_since = Some(now);
            }
        }
        if self.deployment.is_some() {
            let replicas = self.replicas();
            self.wanted_lately.push_back((now, replicas));
            while self.wanted_lately.front().is_some_and(|(at, _)| *at < now - Duration::from_secs(4)) {
                self.wanted_lately.pop_front();
            }
        }
        for _ in 0..if self.stand_still.is_some() { 0 } else { 4 } {
            let spec = self.deployment.as_ref().map(|deployment| &deployment["spec"]);
            self.native.round(spec);
        }
    }

    /// The operator looks once.
    pub fn look(&mut self) -> Decision {
        let mut seen = std::mem::take(&mut self.seen);
        seen.hear(self);
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let snapshot = snapshot_of(&seen.index, &seen.reading, &key, self.findings(), self.now);
        self.seen = seen;
        let decision = decide::decide(&snapshot);
        assert!(is_looked_at_again(&snapshot, &decision), "a wake within the hour: {:?}", decision.wake);
        let needs = decide::needs(&snapshot);
        self.answer(needs.probes);
        self.read(needs.outputs);
        self.place(needs.placing);
        self.sampling = needs.sampling;
        self.run_errands(&decision.errands);
        self.way_back = decision.way_back(&snapshot);
        if self.rush && decision.only_tells() {
            return decision;
        }
        let goes_back = |status: &ReleaseStatus| status.run.as_ref().is_some_and(|run| run.back.is_some());
        if !goes_back(&self.status) && decision.status.as_ref().is_some_and(goes_back) {
            self.first_intents = decision.intents.iter().map(word).collect();
        }
        let dies_after = self.dies_after.take();
        if decision.note_first {
            match self.status_unwritten {
                false => self.note(&decision),
                true if decision.only_noted => return decision,
                true => self.tell(&decision),
            }
        }
        for (count, intent) in decision.intents.iter().enumerate() {
            if dies_after.is_some_and(|most| count >= most) {
                return decision;
            }
            let without = intent.done_without();
            if let Some(why) = self.why_refused(intent) {
                let refusal = Refusal { what: intent.what(), why };
                if let Some(without) = without {
                    self.missed.insert(without, Missed { at: self.now, refusal });
                    continue;
                }
                if !decision.note_first {
                    self.note(&decide::refusal::decide(&snapshot, decision.status.as_ref(), &refusal));
                }
                return decision;
            }
            without.map(|without| self.missed.remove(&without));
            if let Intent::MarkAction { uid, .. } = intent {
                self.marked.insert(uid.clone(), self.now);
            }
            self.carry_out(intent);
            if let (Intent::PatchWorkload { template, .. }, Some(target)) = (intent, &snapshot.target) {
                let before = target.fingerprint.clone();
                self.last_write = Some(LastWrite {
                    uid: target.uid.clone(),
                    generation: self.deployment()["metadata"]["generation"].as_i64().unwrap(),
                    meant: template.clone().unwrap_or_else(|| before.clone()),
                    before,
                });
            }
        }
        if dies_after.is_none() && !decision.note_first && !self.status_unwritten {
            self.note(&decision);
        }
        decision
    }

    /// The operator looks, and what it would write is refused for want of a right: it says so.
    pub fn lack(&mut self, right: &Right) {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let snapshot = snapshot_of(&self.index(), &Reading::default(), &key, self.findings(), self.now);
        let refusal = Refusal { what: "this".to_owned(), why: Why::Right(right.clone()) };
        self.note(&decide::refusal::decide(&snapshot, None, &refusal));
    }

    /// Another process leads: what this one has begun, asked and read it does not know.
    pub fn begin_anew(&mut self) {
        self.errands.clear();
        self.probes.clear();
        self.outputs.clear();
        self.gathered = None;
        self.marked.clear();
        (self.last_write, self.way_back) = (None, None);
        self.places.forget();
        self.looking_since = Some(self.now);
        self.seen = seen::Seen::default();
    }

    /// That what the watches have told, one change after the other, comes to the same as what they would tell if they began now.
    pub fn assert_that_it_is_seen_as_it_is(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.hear(self);
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let findings = self.findings();
        // What was read once already is not what is compared.
        let reading = Reading::default;
        let of = |index| format!("{:#?}", snapshot_of(index, &reading(), &key, findings.clone(), self.now));
        assert_eq!(of(&seen.index), of(&self.index()));
        self.seen = seen;
    }

    /// Pods and their sets cannot be listed and watched any more.
    pub fn stop_hearing(&mut self) {
        self.unheard = Some((self.now, self.native.clone()));
    }

    /// Ticks until a condition holds.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..6000 {
            if condition(self) {
                return;
            }
            self.tick();
        }
        panic!("ten minutes passed without: {what}\n{}", self.describe());
    }

    /// Ticks for so long.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    pub fn phase(&self) -> String {
        self.status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default()
    }

    /// The fewest and the most replicas asked for lately.
    pub fn wanted_lately(&self) -> (i32, i32) {
        let counts = || self.wanted_lately.iter().map(|(_, replicas)| *replicas);
        (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
    }

    pub fn describe(&self) -> String {
        let mut status = serde_json::to_value(&self.status).unwrap();
        status.as_object_mut().unwrap().remove("conditions");
        let sets: Vec<String> = self
            .sets
            .iter()
            .map(|set| {
                format!(
                    "{} {} x{} (desired {})",
                    set.name, set.template["metadata"]["annotations"]["version"], set.replicas, set.desired
                )
            })
            .collect();
        let said: Vec<&str> = self.notices.iter().map(|notice| notice.note.as_str()).collect();
        format!(
            "{}\nspec {:#}\nannotations {:#}\nsets {sets:#?}\nready {} of {} pods\nstatus {status:#}\nsaid {said:#?}",
            self.now,
            self.deployment.as_ref().map(|all| all["spec"].clone()).unwrap_or_default(),
            self.deployment.as_ref().map(|all| all["metadata"]["annotations"].clone()).unwrap_or_default(),
            self.ready(),
            self.alive(),
        )
    }
}

/// What the operator makes of what its watches have told it.
fn snapshot_of(index: &Index, reading: &Reading, key: &Key, findings: Findings, now: Timestamp) -> Snapshot {
    let again = Again::default();
    observe(index, &again, reading, key, findings, now).expect("all of it is known")
}

/// Whether that is within the hour. A Release that is gone, and of which nothing is left, is not looked at again.
fn is_looked_at_again(snapshot: &Snapshot, decision: &Decision) -> bool {
    let is_left = snapshot.release.is_some()
        || snapshot.target.is_some()
        || snapshot.quarantined.iter().any(|pod| pod.until > snapshot.now);
    decision.wake.map_or(!is_left, |wake| wake <= snapshot.now + Duration::from_secs(3600))
}

/// An intent in a word.
fn word(intent: &Intent) -> &'static str {
    match intent {
        Intent::PatchWorkload { .. } => "patch",
        Intent::StopManaging { .. } => "stop managing",
        Intent::LetCopyGo { .. } => "let a copy go",
        Intent::KeepTemplate { .. } => "keep",
        Intent::DropTemplate { .. } => "drop",
        Intent::MarkAction { .. } => "mark",
        Intent::KeepReport { .. } => "report",
        Intent::DropReport { .. } => "drop report",
        Intent::CreateJob { .. } => "job",
        Intent::DeleteJob { .. } => "delete job",
        Intent::Quarantine { .. } => "quarantine",
        Intent::DeletePod { .. } => "delete pod",
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of the world")
}

/// Kubernetes times are whole seconds.
fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}
