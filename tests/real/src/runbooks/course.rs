//! One runbook from beginning to end: what its people put into the cluster, the good version, the bad one, and what they say meanwhile.
//!
//! People here do what a status asks them for, and nothing else. What came of it is read in the record of the run, and in what those who
//! are told have heard.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::check::{Approval, Check};
use tidegate::api::report::Undo;
use tidegate::api::signing::AttestCheck;
use tidegate::api::status::{
    CheckState, CheckStatus, JobStatus, LastRun, MigrationStatus, Outcome, ReleaseStatus, Run, Stage,
    UndoTimes,
};
use tidegate::api::undo::{HookState, QuarantineState, ValidationResult};
use tidegate::api::{Release, ReleaseReport, ReleaseSpec};

use super::heard::Audience;
use super::outside::{self, Outside};
use super::people::{self, People};
use super::upstream::Upstream;
use super::{Ends, Expected, Runbook, speed};
use crate::cluster::client_as;
use crate::load::Load;
use crate::prometheus::Prometheus;
use crate::stage;

/// Requests a second for each pod.
const RATE: f64 = 15.0;
/// The longest that one version may take beside its soaks and watches.
const PATIENCE: Duration = Duration::from_secs(240);
/// More than all soaks and watches of any runbook together, as its file says them.
const SOAKS_AND_WATCHES: Duration = Duration::from_secs(21 * 24 * 3600);
/// So much more than what is to be waited for: the operator asks a moment later.
const CLEARLY: f64 = 1.05;
/// How long it may take until requests of the last minute are those of a busy hour.
const BUSY_WITHIN: Duration = Duration::from_secs(120);
/// How long a message may take beside the longest rung of a ladder.
const HEARD: Duration = Duration::from_secs(20);
/// The longest rung of any ladder, as its file says it.
const LONGEST_RUNG: Duration = Duration::from_secs(24 * 3600);
/// How long the API server may take until it knows a new right.
const RIGHTS_KNOWN: Duration = Duration::from_secs(15);

/// Which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Good,
    Bad,
}

impl Way {
    /// As the line says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// What came of a version.
#[derive(Clone, Debug)]
pub struct Seen {
    pub way: Way,
    /// `Succeeded`, `Undone`, `Held` ...
    pub outcome: String,
    /// Why, in a sentence.
    pub message: String,
    pub checks: usize,
    pub passed: usize,
    /// Signatures: approvals, attestations, a sign-off, consent before an undo.
    pub signatures: usize,
    /// Migrations that were done, with what verifies them.
    pub migrations: usize,
    /// Messages that people were sent.
    pub told: usize,
    /// From the decision until stable stood again.
    pub undo: Option<Duration>,
    pub as_expected: bool,
    /// What the record says of the way back that should not be.
    amiss: Option<String>,
}

impl Seen {
    /// The line of `make examples`.
    pub fn line(&self, runbook: &str) -> String {
        let undo = self.undo.map_or("none".to_owned(), |undo| format!("{:.1}s", undo.as_secs_f64()));
        format!(
            "examples: {runbook:<20} {:<4} outcome={:<9} checks={}/{} migrations={} signatures={} told={} undo={undo}",
            self.way.word(),
            self.outcome,
            self.passed,
            self.checks,
            self.migrations,
            self.signatures,
            self.told,
        )
    }
}

/// A runbook that is being carried out.
pub struct Course {
    pub expected: Expected,
    runbook: Runbook,
    people: People,
    kubeconfig: PathBuf,
    admin: Client,
    began: Instant,
    /// The longest that one version may take.
    patience: Duration,
    /// How long a message may take.
    heard_within: Duration,
    /// What was said already: a person does not say it twice.
    said: BTreeSet<String>,
    outside: Outside,
    audiences: Vec<Audience>,
    /// Why the run that is under way stands still and does not go back by itself.
    stood: String,
    load: Load,
    prometheus: Option<Prometheus>,
}

impl Course {
    /// Everything that stands before the first version is shipped; with it the environments before production.
    ///
    /// # Errors
    /// What the API server answers, or that nobody takes the Release up.
    pub async fn set_up(
        expected: Expected,
        runbook: Runbook,
        (kubeconfig, admin): (PathBuf, Client),
        (mut outside, speed, began): (Outside, u32, Instant),
    ) -> Result<(Self, Upstream)> {
        let prometheus = prometheus(&admin, &runbook, &mut outside).await?;
        let course = Self {
            people: People::of(&runbook.people),
            load: Load::start(&admin, runbook.namespace(), 8080, RATE).await,
            audiences: Audience::all(&runbook.outside)?,
            expected,
            runbook,
            kubeconfig,
            admin,
            began,
            patience: PATIENCE + SOAKS_AND_WATCHES / speed.max(1),
            heard_within: HEARD + LONGEST_RUNG / speed.max(1),
            said: BTreeSet::new(),
            outside,
            stood: String::new(),
            prometheus,
        };
        let runbook = &course.runbook;
        course.apply_all(&runbook.people).await?;
        course.apply_all(&course.provided()?).await?;
        course.apply_all(&runbook.workload).await?;
        course.apply_all(&runbook.freeze).await?;
        for document in runbook.upstream.iter().chain([&runbook.release]) {
            if document["kind"] == "Release" {
                let release = quiet_below(speed::shortened(document.clone(), speed), &runbook.outside);
                let release = course.outside.reached_by(release);
                course.apply_as_deployer(&release).await.context("the Release")?;
            } else {
                course.apply_all(std::slice::from_ref(document)).await?;
            }
        }
        let upstream = Upstream::of(runbook, expected.name, &course.kubeconfig, began).await?;
        upstream.until_adopted().await?;
        course.until_adopted().await?;
        Ok((course, upstream))
    }

    /// Ships one version, plays the people, and looks on until it has ended or stands still for good.
    ///
    /// # Errors
    /// When neither comes, or the API server refuses something.
    pub async fn see_through(&mut self, way: Way) -> Result<Seen> {
        let before =
            self.release().await?.status.and_then(|status| status.last_run).map_or(0, |last| last.number);
        let documents = match way {
            Way::Good => self.runbook.good.clone(),
            Way::Bad => self.runbook.bad.clone(),
        };
        self.stood.clear();
        if way == Way::Bad {
            self.until_busy().await?;
        }
        let heard_before = self.heard();
        self.tell(&format!("the {} version is shipped", way.word()));
        for document in &documents {
            if document["kind"] == "Deployment" {
                self.apply_as_deployer(document).await?;
            } else {
                stage::apply(&self.admin, document, "version").await?;
            }
        }
        let patience = self.patience;
        let ends = async {
            loop {
                if let Some(seen) = self.look(way, before).await? {
                    return anyhow::Ok(seen);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        match tokio::time::timeout(patience, ends).await {
            Ok(seen) => {
                let mut seen = seen?;
                self.tell(&format!("{}: {}", seen.outcome, seen.message));
                let (told, missed) = self.until_heard(way, &heard_before).await?;
                seen.told = told;
                if let Some(missed) = missed.or(self.amiss(way).await?).or(seen.amiss.take()) {
                    seen.as_expected = false;
                    seen.message = format!("{}; and {missed}", seen.message);
                }
                Ok(seen)
            }
            Err(_) => {
                let status = self.release().await?.status.unwrap_or_default();
                bail!(
                    "{}: the {} version has not ended after {} s: phase {:?}, blocked by {:?}, verdicts {:?}",
                    self.expected.name,
                    way.word(),
                    patience.as_secs(),
                    status.phase,
                    status.blocked_by,
                    status.verdicts,
                )
            }
        }
    }

    /// What came of it, once it has.
    async fn look(&mut self, way: Way, before: i64) -> Result<Option<Seen>> {
        let release = self.release().await?;
        let status = release.status.unwrap_or_default();
        if let Some(last) = status.last_run.as_ref().filter(|last| last.number > before) {
            return self.ended(way, last).await.map(Some);
        }
        if let (Way::Good, Some(rate), Some(Stage::Watch)) =
            (way, self.busy(), status.run.as_ref().map(|run| run.stage))
        {
            self.load.set_rate(rate);
        }
        let (Some(run), Some(blocker)) = (&status.run, &status.blocked_by) else { return Ok(None) };
        match blocker.reason.as_str() {
            "AwaitingApproval" | "AwaitingAttestation" => self.sign(&release.spec, run).await?,
            "AwaitingUndoApproval" => self.agree(&release.spec, run).await?,
            "OutsideWindow" => self.skip_window(run, &blocker.message).await?,
            "HighTraffic" => self.wait_for_the_evening(run, &blocker.message),
            "Frozen" => self.pass_freeze(run).await?,
            "Irreversible" => self.decide(run, &status, &blocker.message).await?,
            "CheckFailed" => return Ok(Some(self.held(way, run, blocker.message.clone()))),
            _ => {}
        }
        Ok(None)
    }

    /// From the record of the run.
    async fn ended(&self, way: Way, last: &LastRun) -> Result<Seen> {
        let reports: Api<ReleaseReport> = Api::namespaced(self.admin.clone(), self.runbook.namespace());
        let report =
            reports.get(&last.report).await.with_context(|| format!("the record of {}", last.id))?.spec;
        let expected = match way {
            Way::Good => Ends::Succeeded,
            Way::Bad => self.expected.bad,
        };
        let as_expected = match expected {
            Ends::Succeeded => report.outcome == Outcome::Succeeded,
            Ends::Undone(because) => report.outcome == Outcome::Undone && report.message.contains(because),
            Ends::Aborted(because) => report.outcome == Outcome::Aborted && self.stood.contains(because),
            Ends::Held(_) => false,
        };
        Ok(Seen {
            way,
            outcome: format!("{:?}", report.outcome),
            message: report.message,
            checks: report.checks.len(),
            passed: passed(&report.checks),
            signatures: report.signatures.len(),
            migrations: done(&report.migrations),
            told: 0,
            amiss: report
                .undo
                .as_ref()
                .and_then(|undo| beside(undo, self.runbook.release["spec"].get("undo"))),
            undo: report.undo.and_then(|undo| took(&undo.times)),
            as_expected,
        })
    }

    /// From a run that stands still.
    fn held(&self, way: Way, run: &Run, message: String) -> Seen {
        let expected = way == Way::Bad;
        let as_expected =
            expected && matches!(self.expected.bad, Ends::Held(because) if message.contains(because));
        Seen {
            way,
            outcome: "Held".to_owned(),
            message,
            checks: run.checks.len(),
            passed: passed(&run.checks),
            signatures: run.signatures.len(),
            migrations: done(&run.migrations),
            told: 0,
            undo: None,
            as_expected,
            amiss: None,
        }
    }

    /// Whoever can sign where the run stands does, and whoever knows what is asked says that it is so.
    async fn sign(&mut self, spec: &ReleaseSpec, run: &Run) -> Result<()> {
        let step = usize::try_from(run.step).ok().and_then(|step| spec.steps.get(step));
        let (approvals, checks): (Vec<(String, Approval)>, &[Check]) = match run.stage {
            Stage::Preflight => (
                spec.preflight
                    .iter()
                    .filter_map(|check| Some((check.name.clone(), check.approval.clone()?)))
                    .collect(),
                &spec.preflight,
            ),
            Stage::Steps => (
                step.and_then(|step| Some((format!("step {}", step.name), step.approval.clone()?)))
                    .into_iter()
                    .collect(),
                step.map_or(&[], |step| &step.checks),
            ),
            Stage::Watch => (
                spec.sign_off.iter().map(|approval| ("sign-off".to_owned(), approval.clone())).collect(),
                &[],
            ),
            Stage::Back => (Vec::new(), &[]),
        };
        for (place, approval) in approvals {
            let quorum = usize::try_from(approval.quorum).unwrap_or(1);
            for role in approval.roles.iter().take(quorum) {
                let person =
                    self.people.signer(role).with_context(|| format!("nobody signs as {role}"))?.to_owned();
                let spec = json!({"action": "Approve", "role": role, "reason": format!("{place}: as the runbook says")});
                let once = format!("{:?}/{place}/{role}", run.stage);
                self.say(run, &once, &person, spec).await?;
            }
        }
        for check in checks {
            let Some(AttestCheck { text, roles, .. }) = &check.attest else { continue };
            let (person, role) = self
                .people
                .attester(roles)
                .with_context(|| format!("nobody attests check {}", check.name))?;
            let (person, role) = (person.to_owned(), role.to_owned());
            let reason: String = format!("seen to: {text}").chars().take(500).collect();
            let spec = json!({"action": "Attest", "role": role, "check": check.name, "reason": reason});
            self.say(run, &format!("attest/{}", check.name), &person, spec).await?;
        }
        Ok(())
    }

    /// Who is asked before an undo agrees to it.
    async fn agree(&mut self, spec: &ReleaseSpec, run: &Run) -> Result<()> {
        let approval = spec.undo.as_ref().and_then(|undo| undo.approval.as_ref());
        let approval = approval.context("somebody is asked, and nobody is named")?;
        let quorum = usize::try_from(approval.quorum).unwrap_or(1);
        for role in approval.roles.iter().take(quorum) {
            let person =
                self.people.signer(role).with_context(|| format!("nobody agrees as {role}"))?.to_owned();
            let spec =
                json!({"action": "Approve", "role": role, "undo": true, "reason": "users see it: go back"});
            self.say(run, &format!("undo/{role}"), &person, spec).await?;
        }
        Ok(())
    }

    /// Nothing goes back by itself after an irreversible migration. Whoever is on call says that they know, and once nobody else is called
    /// for it, that it goes back.
    async fn decide(&mut self, run: &Run, status: &ReleaseStatus, message: &str) -> Result<()> {
        message.clone_into(&mut self.stood);
        let manager = self.people.manager().context("nobody may abort")?.to_owned();
        self.say(run, "acknowledge", &manager, json!({"action": "Acknowledge"})).await?;
        let standing = status.notifications.as_ref().and_then(|known| known.standing.as_ref());
        if standing.is_some_and(|standing| standing.acknowledgement_told) {
            let reason = "the version before can live with what was migrated, as was rehearsed: go back";
            self.say(run, "abort", &manager, json!({"action": "Abort", "reason": reason})).await?;
        }
        Ok(())
    }

    /// Requests a second for each pod in a busy hour, where a runbook waits for a quiet one.
    fn busy(&self) -> Option<f64> {
        self.runbook.outside["busy"].as_f64()
    }

    /// Where a runbook waits for a quiet time, it is busy before the bad version is shipped: from the good one's watch on.
    async fn until_busy(&self) -> Result<()> {
        let low = &self.runbook.release["spec"]["windows"]["lowTraffic"];
        let asked = (low["promql"].as_str(), self.runbook.outside["quiet"].as_f64());
        let (Some(prometheus), Some(rate), (Some(query), Some(below))) =
            (&self.prometheus, self.busy(), asked)
        else {
            return Ok(());
        };
        self.load.set_rate(rate);
        let busy = async {
            while prometheus.number(query).await?.is_none_or(|traffic| traffic < below * CLEARLY) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(BUSY_WITHIN, busy).await.context("it does not become busy")?
    }

    /// Too much goes on: customers go home.
    fn wait_for_the_evening(&mut self, run: &Run, message: &str) {
        if self.said.insert(format!("{}/evening", run.id)) {
            self.load.set_rate(RATE);
            self.tell(&format!("it waits for a quieter time: {message}"));
        }
    }

    fn told(&self, audience: &Audience) -> Vec<String> {
        audience.own(self.outside.told(&audience.url))
    }

    /// Messages that each audience has got so far.
    fn heard(&self) -> BTreeMap<String, usize> {
        let count = |audience: &Audience| (audience.url.clone(), self.told(audience).len());
        self.audiences.iter().map(count).collect()
    }

    /// How many messages came since, and what is wrong with them. What is still to be told is waited for.
    async fn until_heard(
        &self,
        way: Way,
        before: &BTreeMap<String, usize>,
    ) -> Result<(usize, Option<String>)> {
        let began = Instant::now();
        loop {
            let notifications = self.release().await?.status.and_then(|status| status.notifications);
            let is_all_told = notifications.is_none_or(|known| known.owed.is_empty());
            let mut told = 0;
            let mut missed = None;
            for audience in &self.audiences {
                let messages = self.told(audience);
                let since = before.get(&audience.url).copied().unwrap_or_default();
                let messages = messages.get(since..).unwrap_or_default();
                told += messages.len();
                missed = missed.or(audience.misses(way, messages));
            }
            if (is_all_told && missed.is_none()) || began.elapsed() > self.heard_within {
                return Ok((told, missed));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Outside its hours a runbook is not carried out; here the release manager lets it pass, which goes on record.
    async fn skip_window(&mut self, run: &Run, message: &str) -> Result<()> {
        let manager = self.people.manager().context("nobody may skip")?.to_owned();
        let reason = format!("make examples does not wait for the hours: {message}");
        let reason: String = reason.chars().take(500).collect();
        self.say(run, "window", &manager, json!({"action": "Skip", "reason": reason})).await
    }

    async fn pass_freeze(&mut self, run: &Run) -> Result<()> {
        let freeze = self.runbook.freeze.first().and_then(|freeze| freeze["metadata"]["name"].as_str());
        let freeze = freeze.context("frozen by a freeze that is not the runbook's")?.to_owned();
        let (person, ground) = self.people.passer(&freeze).context("nobody may pass the freeze")?;
        let (person, ground) = (person.to_owned(), ground.to_owned());
        let spec = json!({"action": "PassFreeze", "freeze": freeze, "ground": ground, "reason": "this is what the freeze was for"});
        self.say(run, "freeze", &person, spec).await
    }

    /// Says something once in a run. What the API server refuses is said again later: a right that was just given is not known at once.
    async fn say(&mut self, run: &Run, about: &str, person: &str, mut spec: Value) -> Result<()> {
        let once = format!("{}/{about}", run.id);
        if self.said.contains(&once) {
            return Ok(());
        }
        spec["release"] = json!(self.runbook.release_name());
        spec["run"] = json!(run.id);
        let action = spec["action"].as_str().unwrap_or_default().to_owned();
        let role = spec["role"].as_str().map_or(String::new(), |role| format!(" as {role}"));
        known(|| people::say(&self.kubeconfig, person, self.runbook.namespace(), spec.clone()))
            .await
            .with_context(|| format!("{person} says {action}"))?;
        self.tell(&format!("{person} says {action}{role}"));
        self.said.insert(once);
        Ok(())
    }

    /// What should stand in a ConfigMap after this version, and does not.
    async fn amiss(&self, way: Way) -> Result<Option<String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), self.runbook.namespace());
        for wanted in self.runbook.outside["stands"].as_array().into_iter().flatten() {
            let name = wanted["configMap"].as_str().context("stands: which configMap")?;
            let key = wanted["key"].as_str().context("stands: which key")?;
            let value = maps.get(name).await?.data.unwrap_or_default().remove(key);
            if value.as_deref() != wanted[way.word()].as_str() {
                return Ok(Some(format!("{key} of configmap {name} is {value:?}")));
            }
        }
        Ok(None)
    }

    /// What others provide: certificates, and a backup.
    fn provided(&self) -> Result<Vec<Value>> {
        let mut provided = Vec::new();
        for check in self.runbook.checks() {
            if let Some(secret) = check["tls"]["secret"].as_str() {
                let names: Vec<String> = serde_json::from_value(check["tls"]["names"].clone())?;
                provided.push(outside::certificate(self.runbook.namespace(), secret, &names)?);
            }
            if let Some(selector) = check["backup"]["velero"]["selector"].as_str() {
                provided.push(outside::backup(self.runbook.release_name(), selector));
            }
        }
        Ok(provided)
    }

    async fn apply_all(&self, documents: &[Value]) -> Result<()> {
        for document in documents {
            stage::apply(&self.admin, document, "examples").await.with_context(|| {
                format!("{}: {} {}", self.expected.name, document["kind"], document["metadata"]["name"])
            })?;
        }
        Ok(())
    }

    /// Applies it as the account of CI does: with the rights of `people.yaml` and no others.
    async fn apply_as_deployer(&self, document: &Value) -> Result<()> {
        let account = format!("system:serviceaccount:{}:deployer", self.runbook.namespace());
        let client = client_as(&self.kubeconfig, &account).await?;
        known(|| async { stage::apply(&client, document, "version").await.map(|_| ()) }).await
    }

    async fn release(&self) -> Result<Release> {
        let releases: Api<Release> = Api::namespaced(self.admin.clone(), self.runbook.namespace());
        Ok(releases.get(self.runbook.release_name()).await?)
    }

    async fn until_adopted(&self) -> Result<()> {
        let adopted = async {
            while self.release().await?.status.and_then(|status| status.stable).is_none() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(60), adopted)
            .await
            .with_context(|| format!("{}: the operator does not take up the Release", self.expected.name))?
    }

    fn tell(&self, what: &str) {
        println!("{:6.1} s  {:<20} {what}", self.began.elapsed().as_secs_f64(), self.expected.name);
    }
}

/// The Prometheus that a runbook measures with, where it does: a real one.
async fn prometheus(admin: &Client, runbook: &Runbook, outside: &mut Outside) -> Result<Option<Prometheus>> {
    let said = &runbook.outside["prometheus"];
    let Some(url) = said["url"].as_str() else { return Ok(None) };
    let pages: Vec<String> = said["scrapes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|page| outside.played(page.as_str()?))
        .collect();
    let prometheus = Prometheus::start(admin, runbook.namespace(), &pages).await?;
    outside.lead(url, &prometheus.url);
    Ok(Some(prometheus))
}

/// A number in the place of a quantile of a past that a new Prometheus does not have, where a runbook says one.
fn quiet_below(mut release: Value, outside: &Value) -> Value {
    let low = release.pointer_mut("/spec/windows/lowTraffic").and_then(Value::as_object_mut);
    if let (Some(low), Some(quiet)) = (low, outside["quiet"].as_i64()) {
        low.insert("below".to_owned(), json!(quiet));
        low.remove("over");
    }
    release
}

/// Does something again while the API server says that it may not be done.
pub async fn known<F: Future<Output = Result<()>>>(does: impl Fn() -> F) -> Result<()> {
    let began = Instant::now();
    loop {
        match does().await {
            Err(error) if is_forbidden(&error) && began.elapsed() < RIGHTS_KNOWN => {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            other => return other,
        }
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 403)
}

fn passed(checks: &[CheckStatus]) -> usize {
    checks.iter().filter(|check| check.state == CheckState::Passed).count()
}

/// What was to be done beside the way back and after it, and was not.
fn beside(undo: &Undo, wanted: Option<&Value>) -> Option<String> {
    let is_wanted = |field: &str| wanted.is_some_and(|wanted| !wanted[field].is_null());
    if let Some(hook) = undo.hooks.iter().find(|hook| hook.state != HookState::Done) {
        return Some(format!("hook {} is {:?}: {}", hook.name, hook.state, hook.message));
    }
    if is_wanted("hooks") && undo.hooks.is_empty() {
        return Some("no hook was called".to_owned());
    }
    let found = undo.validation.as_ref().map(|found| found.result);
    if is_wanted("validate") && found != Some(ValidationResult::Validated) {
        return Some(format!("what was put back: {:?}", undo.validation));
    }
    if is_wanted("quarantine") && !undo.quarantined.iter().any(|pod| pod.state == QuarantineState::Kept) {
        return Some(format!("no pod was kept: {:?}", undo.quarantined));
    }
    undo.phases.iter().find(|phase| phase.over).map(|phase| format!("{} took too long", phase.phase.word()))
}

fn took(times: &UndoTimes) -> Option<Duration> {
    times.restored_at.as_ref()?.0.duration_since(times.decided_at.0).try_into().ok()
}

fn done(migrations: &[MigrationStatus]) -> usize {
    let is_done = |work: &JobStatus| work.state == CheckState::Passed;
    let is_verified = |migration: &&MigrationStatus| {
        is_done(&migration.work) && migration.verify.as_ref().is_none_or(is_done)
    };
    migrations.iter().filter(is_verified).count()
}
