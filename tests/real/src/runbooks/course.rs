//! One runbook from beginning to end: what its people put into the cluster, the good version, the bad one, and what they say meanwhile.
//!
//! People here do what a status asks them for, and nothing else. What came of it is read in the record of the run.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::check::Approval;
use tidegate::api::status::{CheckState, CheckStatus, LastRun, Outcome, Run, Stage, UndoTimes};
use tidegate::api::{Release, ReleaseReport};

use super::outside::{self, Outside};
use super::people::{self, People, client_as};
use super::{Ends, Expected, Runbook, speed};
use crate::load::Load;
use crate::stage;

/// Requests a second for each pod.
const RATE: f64 = 15.0;
/// The longest that one version may take beside its soaks and watches.
const PATIENCE: Duration = Duration::from_secs(240);
/// More than all soaks and watches of any runbook together, as its file says them.
const SOAKS_AND_WATCHES: Duration = Duration::from_secs(14 * 24 * 3600);
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
    pub approvals: usize,
    /// From the decision until stable stood again.
    pub undo: Option<Duration>,
    pub as_expected: bool,
}

impl Seen {
    /// The line of `make examples`.
    pub fn line(&self, runbook: &str) -> String {
        let undo = self.undo.map_or("none".to_owned(), |undo| format!("{:.1}s", undo.as_secs_f64()));
        format!(
            "examples: {runbook:<20} {:<4} outcome={:<9} checks={}/{} approvals={} undo={undo}",
            self.way.word(),
            self.outcome,
            self.passed,
            self.checks,
            self.approvals,
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
    /// What was said already: a person does not say it twice.
    said: BTreeSet<String>,
}

impl Course {
    /// Everything that stands before the first version is shipped.
    ///
    /// # Errors
    /// What the API server answers, or that nobody takes the Release up.
    pub async fn set_up(
        expected: Expected,
        runbook: Runbook,
        (kubeconfig, admin): (PathBuf, Client),
        (outside, speed, began): (Outside, u32, Instant),
    ) -> Result<(Self, Load)> {
        let course = Self {
            people: People::of(&runbook.people),
            expected,
            runbook,
            kubeconfig,
            admin,
            began,
            patience: PATIENCE + SOAKS_AND_WATCHES / speed.max(1),
            said: BTreeSet::new(),
        };
        let runbook = &course.runbook;
        course.apply_all(&runbook.people).await?;
        course.apply_all(&course.provided()?).await?;
        course.apply_all(&runbook.workload).await?;
        course.apply_all(&runbook.freeze).await?;
        let release = outside.reached_by(speed::shortened(runbook.release.clone(), speed));
        course.apply_as_deployer(&release).await.context("the Release")?;
        let load = Load::start(&course.admin, runbook.namespace(), 8080, RATE).await;
        course.until_adopted().await?;
        Ok((course, load))
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
                    return Ok(seen);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        match tokio::time::timeout(patience, ends).await {
            Ok(seen) => {
                if let Ok(seen) = &seen {
                    self.tell(&format!("{}: {}", seen.outcome, seen.message));
                }
                seen
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
        if let Some(last) = status.last_run.filter(|last| last.number > before) {
            return self.ended(way, &last).await.map(Some);
        }
        let (Some(run), Some(blocker)) = (status.run, status.blocked_by) else { return Ok(None) };
        match blocker.reason.as_str() {
            "AwaitingApproval" => self.sign(&release.spec, &run).await?,
            "OutsideWindow" => self.skip_window(&run, &blocker.message).await?,
            "Frozen" => self.pass_freeze(&run).await?,
            "CheckFailed" => return Ok(Some(self.held(way, &run, blocker.message))),
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
            Ends::Held(_) => false,
        };
        Ok(Seen {
            way,
            outcome: format!("{:?}", report.outcome),
            message: report.message,
            checks: report.checks.len(),
            passed: passed(&report.checks),
            approvals: report.signatures.len(),
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
            approvals: run.signatures.len(),
            undo: None,
            as_expected,
        }
    }

    /// Whoever can sign where the run stands does.
    async fn sign(&mut self, spec: &tidegate::api::ReleaseSpec, run: &Run) -> Result<()> {
        let step = usize::try_from(run.step).ok().and_then(|step| spec.steps.get(step));
        let approvals: Vec<(String, Approval)> = match run.stage {
            Stage::Preflight => spec
                .preflight
                .iter()
                .filter_map(|check| Some((check.name.clone(), check.approval.clone()?)))
                .collect(),
            Stage::Steps => step
                .and_then(|step| Some((format!("step {}", step.name), step.approval.clone()?)))
                .into_iter()
                .collect(),
            Stage::Watch | Stage::Back => Vec::new(),
        };
        for (place, approval) in approvals {
            let quorum = usize::try_from(approval.quorum).unwrap_or(1);
            for role in approval.roles.iter().take(quorum) {
                let person =
                    self.people.signer(role).with_context(|| format!("nobody signs as {role}"))?.to_owned();
                let spec = json!({"action": "Approve", "role": role, "reason": format!("{place}: as the runbook says")});
                self.say(run, &format!("{place}/{role}"), &person, spec).await?;
            }
        }
        Ok(())
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

/// Does something again while the API server says that it may not be done.
async fn known<F: Future<Output = Result<()>>>(does: impl Fn() -> F) -> Result<()> {
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

fn took(times: &UndoTimes) -> Option<Duration> {
    times.restored_at.as_ref()?.0.duration_since(times.decided_at.0).try_into().ok()
}
