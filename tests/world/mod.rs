//! A small world without a cluster: the native Deployment controller as a model, pods that become Ready after a while, and the real
//! `observe` and `decide` of the operator, under a virtual clock. What the operator orders is applied as the JSON patch it is.
//!
//! The model of the native controller is the simulated cluster's (`tests/sim`), where the operator's whole loop runs behind an API
//! server; what only a real one can tell (admission, rights) is told by the stories there.

mod checks;
mod jobs;
mod locks;
mod measured;
mod migrations;
mod notify;
mod random;
mod records;
mod signing;
mod sources;
mod stories;
mod traffic;
mod trial;
mod undoing;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::undo::{ContainerLog, PodEvidence};
use tidegate::api::{CHECK_LABEL, RELEASE_LABEL, ReleaseReportSpec, ReleaseStatus, Right, TRIAL};
use tidegate::decide::jobs::EndedJob;
use tidegate::decide::notify::Told;
use tidegate::decide::snapshot::{
    Gathered, JobOutput, LogEnd, Measured, ProbeAnswer, ProbeId, ProbeResult, WayBack,
};
use tidegate::decide::values::{Found, Point, Sample};
use tidegate::decide::{
    self, Decision, Errand, ErrandKind, Gather, Intent, Key, Notice, Probe, Relabelled, Sampling,
};
use tidegate::observe::reading::Reading;
use tidegate::observe::{Findings, observe};
use tidegate::watch::index::{self, Index};
use tidegate::watch::slim;
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
    pub reports: BTreeMap<String, ReleaseReportSpec>,
    pub policy: bool,
    pub ready_after: Duration,
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
    /// When those were made of which something is seen, and what they are for.
    job_objects: BTreeMap<String, (Timestamp, String)>,
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
    /// Nobody reads what pods wrote.
    pub gathers_nothing: bool,
    /// What only tells something is not written.
    pub rush: bool,
    way_back: Option<WayBack>,
    /// Pods in quarantine, as objects.
    pub quarantined: Vec<Value>,
    /// What is to be measured, as of the last look.
    pub sampling: Option<Sampling>,
    /// The intents of the look that decided to go back, in a word each.
    pub first_intents: Vec<&'static str>,
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
            reports: BTreeMap::new(),
            policy: true,
            ready_after: Duration::from_millis(1000),
            notices: Vec::new(),
            writes_to_deployment: 0,
            status_writes: 0,
            wanted_lately: VecDeque::new(),
            next: 0,
            memory: None,
            readings: Vec::new(),
            meters: measured::Meters::default(),
            dies_after: None,
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
            gathers_nothing: false,
            rush: false,
            way_back: None,
            quarantined: Vec::new(),
            sampling: None,
            first_intents: Vec::new(),
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
        self.write(|spec| spec["template"] = template);
    }

    /// Anybody sets replicas.
    pub fn scale(&mut self, replicas: i32) {
        self.write(|spec| spec["replicas"] = json!(replicas));
    }

    /// `kubectl rollout pause` and `resume`, by the owner.
    pub fn pause(&mut self, paused: bool) {
        self.write(|spec| set_paused(spec, paused));
    }

    /// Somebody who is not the operator writes the spec, and the admission policies have their say (charts/, policies-workload.yaml).
    pub fn write(&mut self, change: impl FnOnce(&mut Value)) {
        let before = self.deployment().clone();
        let deployment = self.deployment.as_mut().expect("a Deployment");
        change(&mut deployment["spec"]);
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
            deployment["metadata"]["annotations"]["tidegate.dev/changed-by"] = json!("owner");
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
            "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": second(self.now)},
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
            templates: self.templates.clone(),
            actions: self.actions.clone(),
            freezes: self.freezes.clone(),
            others: self.others.clone(),
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
            way_back: self.way_back.clone(),
            quarantined: self.quarantined.clone(),
            sampling: self.sampling.clone(),
            first_intents: self.first_intents.clone(),
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
        self.pods
            .retain(|pod| pod.terminating_since.is_none_or(|since| now < since + Duration::from_millis(300)));
        for pod in &mut self.pods {
            let up = now >= pod.born + ready_after && !pod.crashing && pod.terminating_since.is_none();
            if up && pod.ready_since.is_none() {
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
        for _ in 0..4 {
            let spec = self.deployment.as_ref().map(|deployment| &deployment["spec"]);
            self.native.round(spec);
        }
    }

    /// The operator looks once.
    pub fn look(&mut self) -> Decision {
        let index = self.index();
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let snapshot = observe(&index, &Reading::default(), &key, self.findings(), self.now);
        let decision = decide::decide(&snapshot);
        let needs = decide::needs(&snapshot);
        self.answer(needs.probes);
        self.read(needs.outputs);
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
        assert!(
            decision.wake.is_none_or(|wake| wake <= self.now + Duration::from_secs(3600)),
            "a wake within the hour"
        );
        let dies_after = self.dies_after.take();
        if decision.note_first {
            self.note(&decision);
        }
        for (count, intent) in decision.intents.iter().enumerate() {
            if dies_after.is_some_and(|most| count >= most) {
                return decision;
            }
            self.carry_out(intent);
        }
        if dies_after.is_none() && !decision.note_first {
            self.note(&decision);
        }
        decision
    }

    /// The operator looks, and what it would write is refused for want of a right: it says so.
    pub fn lack(&mut self, right: &Right) {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let snapshot = observe(&self.index(), &Reading::default(), &key, self.findings(), self.now);
        self.note(&decide::lacking::decide(&snapshot, right));
    }

    /// Answers what checks ask, at once.
    fn answer(&mut self, probes: Vec<Probe>) {
        for probe in probes {
            if self.hangs.contains(&probe.id.check.as_str()) {
                if !self.asked.iter().any(|asked| asked.id == probe.id) {
                    self.asked.push(probe);
                }
                continue;
            }
            let told = self.answers.get(probe.id.check.as_str());
            let (result, message) = told.copied().unwrap_or((ProbeResult::Passed, "answered 200"));
            let answer = ProbeAnswer { at: self.now, result, message: message.to_owned() };
            self.probes.insert(probe.id.clone(), answer);
            self.asked.push(probe);
        }
    }

    /// Reads what Jobs said, at once.
    fn read(&mut self, wanted: Vec<EndedJob>) {
        for job in wanted {
            let label = self.job_objects.get(&job.name).map_or(TRIAL, |(_, label)| label.as_str());
            let log = match self.job_ends.get(label).and_then(|ending| ending.says) {
                Some(line) => Ok(LogEnd { last: Some(line.to_owned()), lines: vec![line.to_owned()] }),
                None => Err("its pod is gone".to_owned()),
            };
            let output = JobOutput { at: self.now, log, termination: Ok(String::new()) };
            self.outputs.insert(job.name, output);
        }
    }

    /// What is done beside the way back is done at once.
    fn run_errands(&mut self, errands: &[Errand]) {
        for errand in errands {
            let Errand { run, name, kind } = errand;
            if self.errands.iter().any(|known| known.run == *run && known.name == *name) {
                continue;
            }
            self.errands.push(errand.clone());
            let hook = name.strip_prefix("hook/").unwrap_or_default();
            match kind {
                ErrandKind::Gather(Gather { pods, .. }) => {
                    let log = ContainerLog {
                        container: "shop".into(),
                        lines: vec!["panic".into()],
                        previous: true,
                    };
                    let read = |pod: &String| PodEvidence {
                        pod: pod.clone(),
                        events: vec!["BackOff".into()],
                        logs: vec![log.clone()],
                        ..PodEvidence::default()
                    };
                    let gathered = Gathered { run: run.clone(), pods: pods.iter().map(read).collect() };
                    self.gathered = Some(gathered).filter(|_| !self.gathers_nothing);
                }
                ErrandKind::Call(_) | ErrandKind::Patch(_) | ErrandKind::MakeJob { .. }
                    if self.hangs.contains(&hook) => {}
                ErrandKind::MakeJob { body } => {
                    // One that is there already is the same.
                    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                    if !self.jobs.contains(&name) {
                        self.make_job(&name, body);
                    }
                    let answer =
                        ProbeAnswer { at: self.now, result: ProbeResult::Passed, message: "made".into() };
                    self.probes.insert(decide::hook_id(run, hook), answer);
                }
                ErrandKind::Call(_) | ErrandKind::Patch(_) => {
                    let told = self.answers.get(hook).copied();
                    let (result, message) = told.unwrap_or((ProbeResult::Passed, "answered 200"));
                    let answer = ProbeAnswer { at: self.now, result, message: message.to_owned() };
                    self.probes.insert(decide::hook_id(run, hook), answer);
                }
            }
        }
    }

    /// Another process leads: what this one has begun, asked and read it does not know.
    pub fn begin_anew(&mut self) {
        self.errands.clear();
        self.probes.clear();
        self.outputs.clear();
        self.gathered = None;
    }

    fn make_job(&mut self, name: &str, body: &Value) {
        let label = body["metadata"]["labels"][CHECK_LABEL].as_str().unwrap_or_default();
        assert!(!self.jobs.iter().any(|job| job == name), "job {name} is made once: {}", self.describe());
        self.jobs.push(name.to_owned());
        if label == TRIAL {
            self.trials.insert(name.to_owned(), (self.now, body.clone()));
        } else if self.job_ends.contains_key(label) {
            self.job_objects.insert(name.to_owned(), (self.now, label.to_owned()));
        }
    }

    fn findings(&mut self) -> Findings {
        let t = self.now.as_second();
        if let Some(value) = self.memory
            && self.readings.last().is_none_or(|last| t >= last.t + 5)
        {
            let found = Found { points: vec![Point { series: "pod".into(), value }], ..Found::default() };
            let criterion = "memory".into();
            self.readings.push(Sample { t, criterion, every: 5, blameless: false, found: Ok(found) });
        }
        let stable = self.status.stable.as_ref().map(|stable| stable.fingerprint.clone()).unwrap_or_default();
        let mut measured: Measured = self.meters.read(&self.native, &stable);
        measured.values.extend(self.readings.iter().cloned());
        let (probes, told, outputs) = (self.probes.clone(), self.told.clone(), self.outputs.clone());
        let (gathered, way_back) = (self.gathered.clone(), self.way_back.clone());
        Findings { measured, probes, told, outputs, gathered, way_back, ..Findings::default() }
    }

    fn note(&mut self, decision: &Decision) {
        let Some(status) = decision.status.as_ref().filter(|_| self.release.is_some()) else { return };
        self.status = serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap();
        self.status_writes += 1;
        if let Some(last) = &self.status.last_run {
            let report = self.reports.get(&last.report).expect("a run that has ended has its record");
            assert_eq!((&report.run, report.outcome), (&last.id, last.outcome));
        }
        self.notices.extend(decision.notices.iter().cloned());
    }

    fn carry_out(&mut self, intent: &Intent) {
        match intent {
            Intent::PatchWorkload { patch, .. } => {
                let deployment = self.deployment.as_mut().expect("a Deployment");
                let before = deployment["spec"].clone();
                let patch: json_patch::Patch = serde_json::from_value(json!(patch)).unwrap();
                json_patch::patch(deployment, &patch).expect("the patch fits");
                self.writes_to_deployment += 1;
                // The API server leaves out what is nothing.
                if deployment["spec"]["minReadySeconds"] == json!(0) {
                    deployment["spec"].as_object_mut().unwrap().remove("minReadySeconds");
                }
                self.check_spec();
                if self.deployment()["spec"] != before {
                    self.changed();
                }
            }
            // Nobody keeps these books here.
            Intent::StopManaging { .. } => {}
            Intent::KeepTemplate { name, template, .. } => {
                self.templates.insert(name.clone(), template.value());
            }
            Intent::DropTemplate { name } => {
                self.templates.remove(name);
            }
            Intent::MarkAction { name, done, message, .. } => {
                let action =
                    self.actions.iter_mut().find(|action| action["metadata"]["name"] == **name).unwrap();
                action["status"] =
                    json!({"result": if *done { "Done" } else { "Refused" }, "message": message});
            }
            Intent::KeepReport { name, report } => {
                // Written in JSON as the API server gets it; a second one of the same name is refused, and the first stays.
                let read = serde_json::from_value(json!(report)).expect("a report reads back");
                self.reports.entry(name.clone()).or_insert(read);
            }
            Intent::DropReport { name } => {
                self.reports.remove(name);
            }
            Intent::CreateJob { name, body, .. } => self.make_job(name, body),
            Intent::DeleteJob { name, uid } => {
                assert_eq!(*uid, format!("uid-{name}"));
                self.trials.remove(name);
            }
            Intent::Quarantine { pods, .. } => {
                for Relabelled { pod, patch } in pods {
                    let Some(place) = self.pods.iter().position(|known| known.name == *pod) else { continue };
                    self.pods.remove(place);
                    let mut object = json!({"metadata": {"name": pod, "namespace": "ns"}});
                    json_patch::merge(&mut object, patch);
                    self.quarantined.push(object);
                }
            }
            Intent::DeletePod { name, uid } => {
                self.quarantined
                    .retain(|pod| pod["metadata"]["name"] != **name || pod["metadata"]["uid"] != **uid);
            }
        }
    }

    /// What the API server would refuse.
    fn check_spec(&self) {
        let spec = &self.deployment()["spec"];
        let min_ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
        let deadline = spec["progressDeadlineSeconds"].as_i64().unwrap_or(600);
        assert!(deadline > min_ready, "progressDeadlineSeconds must exceed minReadySeconds");
        let rolling = &spec["strategy"]["rollingUpdate"];
        let nothing = |value: &Value| matches!(value.as_str(), Some("0%")) || value == &json!(0);
        assert!(
            !(nothing(&rolling["maxSurge"]) && nothing(&rolling["maxUnavailable"])),
            "both are 0: {spec}"
        );
        let parked = min_ready == 2_147_483_646;
        let paused = spec["paused"] == json!(true);
        let on_stable = self
            .status
            .stable
            .as_ref()
            .is_some_and(|stable| stable.fingerprint == slim::fingerprint(&spec["template"]));
        let all_out = self.sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
        let recreate = spec["strategy"]["type"] == "Recreate";
        // Without a stable template nothing is known to be a canary.
        let unknown = self.release.is_none() || self.status.stable.is_none();
        assert!(
            paused || parked || on_stable || all_out || recreate || unknown,
            "unpaused and unparked on a canary: {spec}"
        );
    }

    fn index(&self) -> Index {
        let mut index = Index::default();
        if let Some(spec) = &self.release {
            let release = json!({
                "metadata": {
                    "name": "shop", "namespace": "ns", "uid": "r", "generation": 1, "resourceVersion": "1",
                    "labels": {"tier": "front"},
                },
                "spec": spec, "status": self.status,
            });
            index::apply::<slim::Release>(&mut index, from(release));
        }
        for other in &self.others {
            index::apply::<slim::Release>(&mut index, from(other.clone()));
        }
        let namespace = json!({"metadata": {"name": "ns", "labels": {"env": "production"}}});
        index::apply::<slim::Namespace>(&mut index, from(namespace));
        for freeze in &self.freezes {
            index::apply::<slim::Freeze>(&mut index, from(freeze.clone()));
        }
        for pod in &self.quarantined {
            index::apply::<slim::Pod>(&mut index, from(pod.clone()));
        }
        let Some(deployment) = &self.deployment else { return index };
        let mut deployment = deployment.clone();
        deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"].clone();
        let current = deployment["spec"]["template"].clone();
        let updated: i32 =
            self.sets.iter().filter(|set| set.template == current).map(|set| set.replicas).sum();
        deployment["status"]["updatedReplicas"] = json!(updated);
        deployment["status"]["replicas"] = json!(self.sets.iter().map(|set| set.replicas).sum::<i32>());
        deployment["status"]["availableReplicas"] =
            json!(self.sets.iter().map(|set| self.available(set)).sum::<i32>());
        index::apply::<slim::Deployment>(&mut index, from(deployment));
        let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        for set in &self.sets {
            let mut template = set.template.clone();
            template["metadata"]["labels"]["pod-template-hash"] = json!(set.name);
            let (alive, ready) = self.counted(set);
            let set = json!({
                "metadata": {
                    "name": set.name, "namespace": "ns", "uid": set.name, "ownerReferences": owner("Deployment", "shop", "d1"),
                    "annotations": {index::DESIRED: set.desired.to_string()},
                },
                "spec": {"replicas": set.replicas, "template": template},
                "status": {"replicas": alive, "readyReplicas": ready},
            });
            index::apply::<slim::ReplicaSet>(&mut index, from(set));
        }
        for pod in &self.pods {
            let ready = pod.ready_since;
            let waiting = if pod.crashing {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            } else {
                json!({"running": {"startedAt": second(pod.born)}})
            };
            // One that waited for something and had to begin again: nothing of note.
            let waited =
                json!({"restartCount": 0, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}});
            let last = pod.ended.map(|reason| json!({"terminated": {"reason": reason, "exitCode": 137}}));
            let pod = json!({
                "metadata": {
                    "name": pod.name, "namespace": "ns", "uid": pod.name, "ownerReferences": owner("ReplicaSet", &pod.set, &pod.set),
                    "deletionTimestamp": pod.terminating_since.map(second),
                },
                "status": {
                    "phase": "Running", "podIP": "10.0.0.1",
                    "conditions": [{"type": "Ready", "status": if ready.is_some() { "True" } else { "False" }, "lastTransitionTime": second(ready.unwrap_or(pod.born))}],
                    "initContainerStatuses": [waited],
                    "containerStatuses": [{"restartCount": pod.restarts, "state": waiting, "lastState": last.unwrap_or(json!({}))}],
                },
            });
            index::apply::<slim::Pod>(&mut index, from(pod));
        }
        for (name, template) in &self.templates {
            let kept = json!({
                "metadata": {
                    "name": name, "namespace": "ns", "labels": {RELEASE_LABEL: "shop"}, "annotations": {"tidegate.dev/fingerprint": "x"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "d1"}],
                },
                "data": template,
            });
            index::apply::<slim::StoredTemplate>(&mut index, from(kept));
        }
        for (name, (made, label)) in &self.job_objects {
            let ending = self.job_ends[label.as_str()];
            let word = if ending.well { "Complete" } else { "Failed" };
            let ended = json!([{"type": word, "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}]);
            let job = json!({
                "metadata": {
                    "name": name, "namespace": "ns", "labels": {RELEASE_LABEL: "shop"},
                    "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": "r"}],
                },
                "status": {"conditions": if self.now >= *made + ending.after { ended } else { json!([]) }},
            });
            index::apply::<slim::Job>(&mut index, from(job));
        }
        for (name, (made, body)) in &self.trials {
            let (job, pod) = self.trial.objects(name, body, *made, self.now);
            index::apply::<slim::Job>(&mut index, from(job));
            if let Some(pod) = pod {
                index::apply::<slim::Pod>(&mut index, from(pod));
            }
        }
        for action in &self.actions {
            index::apply::<slim::ReleaseAction>(&mut index, from(action.clone()));
        }
        let mut policies = vec![
            "ValidatingAdmissionPolicy/tidegate-action-rights",
            "ValidatingAdmissionPolicyBinding/tidegate-action-rights",
        ];
        if self.policy {
            policies.extend([
                "MutatingAdmissionPolicy/tidegate-workload-hold",
                "MutatingAdmissionPolicyBinding/tidegate-workload-hold",
                "MutatingAdmissionPolicy/tidegate-workload-pace",
                "MutatingAdmissionPolicyBinding/tidegate-workload-pace",
            ]);
        }
        index.policies = policies.into_iter().map(str::to_owned).collect();
        index
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

/// An intent in a word.
fn word(intent: &Intent) -> &'static str {
    match intent {
        Intent::PatchWorkload { .. } => "patch",
        Intent::StopManaging { .. } => "stop managing",
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
