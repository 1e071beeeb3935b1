//! What comes of what the operator orders and asks for.

use serde_json::{Value, json};
use tidegate::api::undo::{ContainerLog, PodEvidence};
use tidegate::api::{CHECK_LABEL, TRIAL};
use tidegate::decide::jobs::{self, EndedJob};
use tidegate::decide::refusal::Why;
use tidegate::decide::snapshot::{Gathered, JobOutput, LogEnd, Measured, ProbeAnswer, ProbeResult};
use tidegate::decide::values::{Found, Point, Sample};
use tidegate::decide::{self, Decision, Errand, ErrandKind, Gather, Intent, Probe, Relabelled, Witness};
use tidegate::observe::Findings;
use tidegate::watch::slim;

use super::{World, word};

/// Applies a JSON patch as the API server does.
pub fn apply(object: &mut Value, operations: &[Value]) -> Result<(), json_patch::PatchError> {
    let patch: json_patch::Patch = serde_json::from_value(json!(operations)).expect("a JSON patch");
    tidegate_sim::server::patch::apply(object, &patch.0)
}

impl World {
    /// Answers what checks ask, at once.
    pub fn answer(&mut self, probes: Vec<Probe>) {
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
    pub fn read(&mut self, wanted: Vec<EndedJob>) {
        for job in wanted {
            let label = self
                .job_objects
                .get(&job.name)
                .map_or(TRIAL, |(_, labels)| labels[CHECK_LABEL].as_str().unwrap_or_default());
            let log = match self.job_ends.get(label).and_then(|ending| ending.says) {
                Some(line) => Ok(LogEnd { last: Some(line.to_owned()), lines: vec![line.to_owned()] }),
                None => Err("its pod is gone".to_owned()),
            };
            let termination = Ok(String::new());
            let answer = job.result.map(|result| jobs::answer(&result, &log, &termination));
            let output = JobOutput { at: self.now, log, termination, answer };
            self.outputs.insert(job.name, output);
        }
    }

    /// What is done beside the way back is done at once.
    pub fn run_errands(&mut self, errands: &[Errand]) {
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
                    let read = |witness: &Witness| PodEvidence {
                        pod: witness.pod.clone(),
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

    fn make_job(&mut self, name: &str, body: &Value) {
        let label = body["metadata"]["labels"][CHECK_LABEL].as_str().unwrap_or_default();
        assert!(!self.jobs.iter().any(|job| job == name), "job {name} is made once: {}", self.describe());
        self.jobs.push(name.to_owned());
        if label == TRIAL {
            self.trials.insert(name.to_owned(), (self.now, body.clone()));
        } else if self.job_ends.contains_key(label) {
            self.job_objects.insert(name.to_owned(), (self.now, body["metadata"]["labels"].clone()));
        }
    }

    pub fn findings(&mut self) -> Findings {
        let t = self.now.as_second();
        if let Some(value) = self.memory
            && self.readings.last().is_none_or(|last| t >= last.t + 5)
        {
            let found = Found { points: vec![Point { series: "pod".into(), value }], ..Found::default() };
            let (criterion, definition) = ("memory".into(), String::new());
            let (every, blameless, found) = (5, false, Ok(found));
            self.readings.push(Sample { t, criterion, definition, every, blameless, found });
        }
        let stable = self.status.stable.as_ref().map(|stable| stable.fingerprint.clone()).unwrap_or_default();
        let mut measured: Measured = self.meters.read(&self.native, &stable);
        measured.values.extend(self.readings.iter().cloned());
        let (probes, told, outputs) = (self.probes.clone(), self.told.clone(), self.outputs.clone());
        let (gathered, way_back) = (self.gathered.clone(), self.way_back.clone());
        let last_write = self.last_write.clone();
        let placed = self.places.read_last();
        let (missed, marked) = (self.missed.clone(), self.marked.clone());
        Findings {
            measured,
            probes,
            told,
            outputs,
            gathered,
            placed,
            way_back,
            last_write,
            labelled: None,
            let_go: Default::default(),
            looking_since: self.looking_since,
            ready_ahead: Default::default(),
            missed,
            marked,
            pruned: None,
        }
    }

    pub fn note(&mut self, decision: &Decision) {
        self.tell(decision);
        let Some(status) = decision.status.as_ref().filter(|_| self.release.is_some()) else { return };
        self.status = serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap();
        self.status_writes += 1;
        if let Some(last) = &self.status.last_run {
            let report = self.reports.get(&last.report).expect("a run that has ended has its record");
            assert_eq!((&report.run, report.outcome), (&last.id, last.outcome));
        }
    }

    /// What people are told of it.
    pub fn tell(&mut self, decision: &Decision) {
        // What lasts is told once an hour; here, once.
        for notice in &decision.notices {
            let is_known = self.notices.iter().any(|known| known.lasts && known.reason == notice.reason);
            if !notice.lasts || !is_known {
                self.notices.push(notice.clone());
            }
        }
    }

    /// Why the API server does not do it, or what is there already is not what was to be made.
    pub fn why_refused(&self, intent: &Intent) -> Option<Why> {
        let is_it = |refused: &&str| *refused == word(intent) || intent.what().ends_with(*refused);
        if self.refuses.iter().any(is_it) {
            return Some(Why::Words("a policy says no".to_owned()));
        }
        let Intent::KeepTemplate { name, template, .. } = intent else { return None };
        let is_another = self.templates.get(name).is_some_and(|there| *there != template.value());
        is_another.then(|| Why::Taken {
            words: "one of this name is there already, and holds another template".to_owned(),
            remedy: format!("if nobody needs it: kubectl delete controllerrevision {name} -n ns"),
        })
    }

    pub fn carry_out(&mut self, intent: &Intent) {
        match intent {
            Intent::PatchWorkload { patch, .. } => {
                let deployment = self.deployment.as_mut().expect("a Deployment");
                let before = deployment["spec"].clone();
                apply(deployment, patch).expect("the patch fits");
                self.writes_to_deployment += 1;
                // The API server leaves out what is nothing.
                if deployment["spec"]["minReadySeconds"] == json!(0) {
                    deployment["spec"].as_object_mut().unwrap().remove("minReadySeconds");
                }
                self.check_spec();
                if let Some(mutates) = self.mutates {
                    mutates(&mut self.deployment.as_mut().expect("a Deployment")["spec"]["template"]);
                }
                if self.deployment()["spec"] != before {
                    self.changed();
                }
            }
            // Nobody keeps these books here.
            Intent::StopManaging { .. } => {}
            Intent::LetCopyGo { name, patch } => {
                let is_it = |other: &&mut Value| other["metadata"]["name"] == **name;
                let other = self.deployments.iter_mut().find(is_it).expect("another Deployment");
                apply(other, patch).expect("the patch fits");
            }
            Intent::KeepTemplate { name, template, .. } => {
                self.templates.insert(name.clone(), template.value());
            }
            Intent::DropTemplate { name, uid } => {
                assert_eq!(*uid, format!("uid-{name}"));
                self.templates.remove(name);
            }
            Intent::MarkAction { uid, name, done, message, at: _ } => {
                let is_it = |action: &&mut Value| {
                    action["metadata"]["name"] == **name && action["metadata"]["uid"] == **uid
                };
                // One that is gone needs no mark, and another of its name gets none.
                if let Some(action) = self.actions.iter_mut().find(is_it) {
                    let result = if *done { "Done" } else { "Refused" };
                    action["status"] = json!({"result": result, "message": message});
                }
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

    /// Whether a template is the one of this fingerprint, or what somebody's admission makes of it.
    fn is_made_of(&self, fingerprint: &str, template: &Value) -> bool {
        let is_it = |kept: &&Value| slim::fingerprint(kept) == fingerprint;
        let made = self.mutates.zip(self.templates.values().find(is_it)).map(|(mutates, kept)| {
            let mut made = kept.clone();
            mutates(&mut made);
            made
        });
        slim::fingerprint(template) == fingerprint || made.as_ref() == Some(template)
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
            .is_some_and(|stable| self.is_made_of(&stable.fingerprint, &spec["template"]));
        let all_out = self.sets.iter().all(|set| set.replicas == 0 || set.template == spec["template"]);
        let recreate = spec["strategy"]["type"] == "Recreate";
        // Without a stable template nothing is known to be a canary.
        let unknown = self.release.is_none() || self.status.stable.is_none();
        assert!(
            paused || parked || on_stable || all_out || recreate || unknown,
            "unpaused and unparked on a canary: {spec}"
        );
    }
}
