//! A story: how a world is made, what happens in it and when, and what goes wrong in the network. As text it can be pasted into a test.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::network::{Fault, Purpose};
use crate::prometheus::{LIES, Lies};
use crate::server::store::kind_of;
use crate::world::{Flags, NODES, Pages, Receivers, TARGETS};

/// How a world is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    pub replicas: i32,
    /// `spec.strategy` of the Deployment.
    pub strategy: Value,
    /// `spec.minReadySeconds` of the Deployment.
    pub min_ready: i32,
    /// `spec.progressDeadlineSeconds` of the Deployment.
    pub deadline: i32,
    /// `spec` of the Release, but for its target.
    pub release: Value,
    /// Milliseconds from a pod's start to its readiness.
    pub ready_after: u64,
    /// The API server has mutating admission policies.
    pub policies: bool,
    /// Processes of the operator, which elect a leader; 0: there is no election.
    pub candidates: usize,
    /// Without an election: processes that all lead, each by itself, as where two believe that they do.
    pub leaders: usize,
    /// Deployments beside the first, each with such a Release.
    pub beside: usize,
    /// Requests a second that come to each Deployment's Service: one minute after the other, and from the first again. None: as many as its
    /// pods are used to.
    pub traffic: Vec<u64>,
    /// Objects on a page of a list, at most; 0: as many as are asked for.
    pub page: usize,
    /// A watch that begins too long ago is refused, and not told so within it.
    pub refuses_old: bool,
    /// Requests are counted from the first one of all, so that faults befall those by which the Deployments are adopted; else from when they are.
    pub early: bool,
    /// Pods that an autoscaler starts of the first Deployment, at least and at most; `None`: there is no autoscaler.
    pub autoscaler: Option<(i32, i32)>,
    /// By how many seconds the clock of each process of the operator is ahead: of one after the other as they come, and from the first again. None:
    /// all are right, until they jump.
    pub clocks: Vec<i64>,
}

/// Requests a second that a pod is used to.
pub const USUAL: u64 = 40;

impl Setup {
    /// What comes to each Service.
    pub fn traffic(&self) -> Vec<u64> {
        match self.traffic.as_slice() {
            [] => vec![u64::from(self.replicas.unsigned_abs()) * USUAL],
            rates => rates.to_vec(),
        }
    }

    /// Processes of the operator that there are to be.
    pub fn processes(&self) -> usize {
        match self.candidates {
            0 => self.leaders.max(1),
            candidates => candidates,
        }
    }

    /// Whether more than one of them writes at the same time.
    pub fn several_lead(&self) -> bool {
        self.candidates == 0 && self.leaders > 1
    }

    /// By how many milliseconds the clock of a process is ahead that has this number.
    pub fn clock_of(&self, process: usize) -> i64 {
        self.clocks.get(process % self.clocks.len().max(1)).map_or(0, |seconds| seconds * 1000)
    }

    /// The same of the one that is behind all others.
    pub fn slowest_clock(&self) -> i64 {
        self.clocks.iter().min().map_or(0, |seconds| seconds * 1000)
    }

    /// Milliseconds of all soaks.
    pub fn soaks(&self) -> u64 {
        let soak = |step: &Value| {
            let text = step["soak"].as_str().unwrap_or("0s");
            let (number, unit) = text.split_at(text.len().saturating_sub(1));
            let seconds = match unit {
                "h" => 3600,
                "m" => 60,
                _ => 1,
            };
            number.parse::<u64>().unwrap_or(0) * seconds * 1000
        };
        self.release["steps"].as_array().into_iter().flatten().map(soak).sum()
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 4,
            strategy: json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
            min_ready: 0,
            deadline: 600,
            release: json!({
                "criteria": [],
                "steps": [{"name": "one", "replicas": 1}, {"name": "half", "replicas": "50%", "soak": "1m"}, {"name": "all", "replicas": "100%"}],
                "watch": [{"for": "2m", "every": "30s"}],
            }),
            ready_after: 1000,
            policies: true,
            candidates: 0,
            leaders: 1,
            beside: 0,
            traffic: Vec::new(),
            page: 0,
            refuses_old: false,
            early: false,
            autoscaler: None,
            clocks: Vec::new(),
        }
    }
}

/// What pods of a template do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Good,
    /// They end again and again.
    Crash,
    /// They never become Ready.
    Stuck,
    /// There is no image for them.
    Missing,
    /// A fifth of their answers are errors.
    Errors,
    /// The same, but good for the first three minutes.
    Late,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The owner writes a template of this version.
    Push(u32, Conduct),
    /// Somebody else does.
    PushBy(&'static str, u32, Conduct),
    /// A tool applies the owner's manifest once more: template and strategy, whatever stands there.
    Apply,
    /// The same server-side: where somebody else manages what differs it is refused, unless the tool insists.
    ApplyServerSide(bool),
    Scale(i32),
    /// Somebody says it, in a role or in none.
    Say(&'static str, Option<&'static str>),
    /// The same, and it is not alice who says it.
    SayBy(&'static str, &'static str, Option<&'static str>),
    /// `kubectl rollout pause` and `resume`.
    Pause(bool),
    /// Somebody writes the strategy.
    Edit(Value),
    /// Somebody merges this into the Deployment's spec.
    Set(Value),
    /// Somebody merges this into the Release's spec.
    Amend(Value),
    /// The same, and it means no good. Its owner takes it out once every other Release has come to rest.
    Hostile(Value),
    /// The Release's `spec.suspend`.
    Suspend(bool),
    /// Somebody freezes everything, or lets it go on.
    Freeze(bool),
    DeleteRelease,
    MakeRelease,
    DeleteDeployment,
    MakeDeployment,
    /// Somebody deletes the ControllerRevision of the version that is being released, while it stands there.
    DeleteCopy,
    /// So many pods are on a node that is not heard from for so many seconds, and then it comes back, or is taken out of the cluster. What becomes
    /// of its pods meanwhile is as everywhere: `cluster::nodes`.
    Lose(usize, u64, bool),
    /// A node is drained, and takes no new pods for so many seconds.
    Drain(&'static str, u64),
    /// So many pods are not Ready for so many seconds, by their kubelet, and then they are again.
    Flap(usize, u64),
    /// From here on the pods of its newest version that are there end again and again.
    Fail,
    /// The clocks of all processes of the operator jump by so many seconds.
    Clock(i64),
    Pages(Pages),
    Prometheus(Lies),
    Receivers(Receivers),
    Flags(Flags),
    /// The nodes have room for so many pods of it; 0: for all.
    Room(usize),
    /// It happens to this Deployment, or its Release, and not to the first.
    Beside(&'static str, Box<Event>),
    /// The operator that leads dies right after so many more writes; 0: now.
    Kill(u32),
    /// From here on every operator dies right after so many writes.
    Mortal(u32),
    /// The operator that leads is asked to stop, and another one comes.
    Restart,
    /// The operator that leads is cut off for so many seconds.
    CutOff(u64),
    /// Somebody deletes the Lease.
    DeleteLease,
    /// All watches end.
    DropWatches,
    /// Watches bring nothing for so many milliseconds.
    HoldWatches(u64),
    /// Those of this kind bring nothing to who does not lead, for so many milliseconds.
    HoldStandby(&'static str, u64),
    /// All watches end, and for so many milliseconds whoever lists or watches this kind is told of an error.
    Unread(&'static str, u64),
    /// For so many milliseconds each write of this kind fails.
    Out(Purpose, u64),
    /// The API server forgets how things came to be as they are.
    Compact,
    /// Watches bring the last so many changes again.
    Replay(usize),
    /// The native controllers do nothing for so many milliseconds.
    Sleep(u64),
    /// Nothing happens; but what blocks the run is said in these words, or the story is not the one that is meant.
    Says(String),
}

/// A story.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Story {
    pub setup: Setup,
    /// Milliseconds since the world was ready, and what happens then.
    pub events: Vec<(u64, Event)>,
    /// By the number of the request.
    pub faults: BTreeMap<u64, Fault>,
    /// By the number of the request about the Lease.
    pub lease_faults: BTreeMap<u64, Fault>,
}

impl Story {
    /// Whether a watch may fall silent in it. Only then does it matter how soon one is begun anew, which is a third of what a story takes.
    pub fn silences(&self) -> bool {
        let silent = |event: &Event| {
            matches!(event, Event::CutOff(_) | Event::HoldWatches(_) | Event::HoldStandby(_, _))
        };
        self.events.iter().any(|(_, event)| silent(event))
    }
}

const SAID: [&str; 9] =
    ["Approve", "Reject", "Abort", "Pause", "Resume", "Retry", "Skip", "ClearRejection", "HandBack"];

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(version, conduct) => {
                write!(out, "push v{version} {}", format!("{conduct:?}").to_lowercase())
            }
            Self::PushBy(who, version, conduct) => {
                write!(out, "push-by {who} v{version} {}", format!("{conduct:?}").to_lowercase())
            }
            Self::Apply => out.write_str("apply"),
            Self::ApplyServerSide(insists) => write!(out, "apply-server-side {insists}"),
            Self::Scale(replicas) => write!(out, "scale {replicas}"),
            Self::Say(action, None) => write!(out, "say {action}"),
            Self::Say(action, Some(role)) => write!(out, "say {action} {role}"),
            Self::SayBy(who, action, None) => write!(out, "say-by {who} {action}"),
            Self::SayBy(who, action, Some(role)) => write!(out, "say-by {who} {action} {role}"),
            Self::Pause(paused) => write!(out, "pause {paused}"),
            Self::Edit(strategy) => write!(out, "edit {strategy}"),
            Self::Set(change) => write!(out, "set {change}"),
            Self::Amend(change) => write!(out, "amend {change}"),
            Self::Hostile(change) => write!(out, "hostile {change}"),
            Self::Suspend(suspend) => write!(out, "suspend {suspend}"),
            Self::Freeze(freeze) => write!(out, "freeze {freeze}"),
            Self::DeleteRelease => out.write_str("delete-release"),
            Self::MakeRelease => out.write_str("make-release"),
            Self::DeleteDeployment => out.write_str("delete-deployment"),
            Self::MakeDeployment => out.write_str("make-deployment"),
            Self::DeleteCopy => out.write_str("delete-copy"),
            Self::Lose(pods, seconds, back) => write!(out, "lose {pods} {seconds} {back}"),
            Self::Drain(node, seconds) => write!(out, "drain {node} {seconds}"),
            Self::Flap(pods, seconds) => write!(out, "flap {pods} {seconds}"),
            Self::Clock(seconds) => write!(out, "clock {seconds}"),
            Self::Pages(pages) => write!(out, "pages {}", format!("{pages:?}").to_lowercase()),
            Self::Prometheus(lies) => write!(out, "prometheus {}", format!("{lies:?}").to_lowercase()),
            Self::Receivers(receivers) => {
                write!(out, "receivers {}", format!("{receivers:?}").to_lowercase())
            }
            Self::Flags(flags) => write!(out, "flags {}", format!("{flags:?}").to_lowercase()),
            Self::Fail => out.write_str("fail"),
            Self::Room(pods) => write!(out, "room {pods}"),
            Self::Beside(name, event) => write!(out, "beside {name} {event}"),
            Self::Kill(writes) => write!(out, "kill {writes}"),
            Self::Mortal(writes) => write!(out, "mortal {writes}"),
            Self::Restart => out.write_str("restart"),
            Self::CutOff(seconds) => write!(out, "cut-off {seconds}"),
            Self::DeleteLease => out.write_str("delete-lease"),
            Self::DropWatches => out.write_str("drop-watches"),
            Self::HoldWatches(wait) => write!(out, "hold-watches {wait}"),
            Self::HoldStandby(plural, wait) => write!(out, "hold-standby {plural} {wait}"),
            Self::Unread(plural, wait) => write!(out, "unread {plural} {wait}"),
            Self::Out(purpose, wait) => write!(out, "out {wait} {}", purpose.name()),
            Self::Compact => out.write_str("compact"),
            Self::Replay(changes) => write!(out, "replay {changes}"),
            Self::Sleep(wait) => write!(out, "sleep {wait}"),
            Self::Says(words) => write!(out, "says {words}"),
        }
    }
}

/// A version, and what its pods do.
fn pushed(version: &str, conduct: &str) -> Result<(u32, Conduct), String> {
    let number = version.trim_start_matches('v').parse::<u32>();
    let conduct = match conduct {
        "good" => Conduct::Good,
        "crash" => Conduct::Crash,
        "stuck" => Conduct::Stuck,
        "missing" => Conduct::Missing,
        "errors" => Conduct::Errors,
        "late" => Conduct::Late,
        other => return Err(format!("no conduct: {other}")),
    };
    Ok((number.map_err(|error| format!("no version: {version}: {error}"))?, conduct))
}

/// One of the words that are known.
fn known(words: &[&'static str], word: &str) -> Result<&'static str, String> {
    words.iter().copied().find(|known| *known == word).ok_or_else(|| format!("{word}: none of {words:?}"))
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let of = |index: usize| words.get(index).copied().unwrap_or_default();
        let number = |index: usize| of(index).parse::<i64>().map_err(|error| format!("{text}: {error}"));
        let natural = |index: usize| of(index).parse::<u64>().map_err(|error| format!("{text}: {error}"));
        let small = |index: usize| of(index).parse::<u32>().map_err(|error| format!("{text}: {error}"));
        let count = |index: usize| of(index).parse::<usize>().map_err(|error| format!("{text}: {error}"));
        let plural = |index: usize| {
            let kind = kind_of(of(index)).ok_or_else(|| format!("{text}: no such kind"))?;
            Ok::<_, String>(kind.plural)
        };
        Ok(match word {
            "push" => {
                let (version, conduct) = pushed(of(0), of(1))?;
                Self::Push(version, conduct)
            }
            "push-by" => {
                let (version, conduct) = pushed(of(1), of(2))?;
                Self::PushBy(known(&PEOPLE, of(0))?, version, conduct)
            }
            "apply" => Self::Apply,
            "apply-server-side" => Self::ApplyServerSide(of(0) == "true"),
            "scale" => Self::Scale(i32::try_from(number(0)?).map_err(|error| error.to_string())?),
            "say" => Self::Say(known(&SAID, of(0))?, known(&ROLES, of(1)).ok()),
            "say-by" => Self::SayBy(known(&PEOPLE, of(0))?, known(&SAID, of(1))?, known(&ROLES, of(2)).ok()),
            "pause" => Self::Pause(of(0) == "true"),
            "edit" => Self::Edit(serde_json::from_str(rest).map_err(|error| error.to_string())?),
            "set" => Self::Set(serde_json::from_str(rest).map_err(|error| error.to_string())?),
            "amend" => Self::Amend(serde_json::from_str(rest).map_err(|error| error.to_string())?),
            "hostile" => Self::Hostile(serde_json::from_str(rest).map_err(|error| error.to_string())?),
            "suspend" => Self::Suspend(of(0) == "true"),
            "freeze" => Self::Freeze(of(0) == "true"),
            "delete-release" => Self::DeleteRelease,
            "make-release" => Self::MakeRelease,
            "delete-deployment" => Self::DeleteDeployment,
            "make-deployment" => Self::MakeDeployment,
            "delete-copy" => Self::DeleteCopy,
            "lose" => Self::Lose(count(0)?, natural(1)?, of(2) == "true"),
            "drain" => {
                let node = NODES.into_iter().map(|(node, _)| node).find(|known| *known == of(0));
                Self::Drain(node.ok_or_else(|| format!("no such node: {}", of(0)))?, natural(1)?)
            }
            "flap" => Self::Flap(count(0)?, natural(1)?),
            "fail" => Self::Fail,
            "clock" => Self::Clock(number(0)?),
            "pages" => Self::Pages(match of(0) {
                "honest" => Pages::Honest,
                "silent" => Pages::Silent,
                "nonsense" => Pages::Nonsense,
                "stuck" => Pages::Stuck,
                other => return Err(format!("no such pages: {other}")),
            }),
            "prometheus" => {
                let lies = LIES.into_iter().find(|lies| format!("{lies:?}").to_lowercase() == of(0));
                Self::Prometheus(lies.ok_or_else(|| format!("no such lies: {}", of(0)))?)
            }
            "receivers" => Self::Receivers(match of(0) {
                "honest" => Receivers::Honest,
                "failing" => Receivers::Failing,
                "refusing" => Receivers::Refusing,
                "hanging" => Receivers::Hanging,
                "answerless" => Receivers::Answerless,
                other => return Err(format!("no such receivers: {other}")),
            }),
            "flags" => Self::Flags(match of(0) {
                "honest" => Flags::Honest,
                "down" => Flags::Down,
                "slow" => Flags::Slow,
                "hanging" => Flags::Hanging,
                "failing" => Flags::Failing,
                "refusing" => Flags::Refusing,
                other => return Err(format!("no such flags: {other}")),
            }),
            "room" => Self::Room(count(0)?),
            "beside" => {
                let (name, event) = rest.split_once(' ').ok_or_else(|| format!("{text}: nothing happens"))?;
                let name = TARGETS.into_iter().skip(1).find(|known| *known == name);
                let name = name.ok_or_else(|| format!("{text}: no such Deployment"))?;
                Self::Beside(name, Box::new(event.parse()?))
            }
            "kill" => Self::Kill(small(0)?),
            "mortal" => Self::Mortal(small(0)?),
            "restart" => Self::Restart,
            "cut-off" => Self::CutOff(natural(0)?),
            "delete-lease" => Self::DeleteLease,
            "drop-watches" => Self::DropWatches,
            "hold-watches" => Self::HoldWatches(natural(0)?),
            "hold-standby" => Self::HoldStandby(plural(0)?, natural(1)?),
            "unread" => Self::Unread(plural(0)?, natural(1)?),
            "out" => {
                let (_, name) = rest.split_once(' ').unwrap_or_default();
                let purpose = Purpose::called(name).ok_or_else(|| format!("{text}: no such writes"))?;
                Self::Out(purpose, natural(0)?)
            }
            "compact" => Self::Compact,
            "replay" => Self::Replay(count(0)?),
            "sleep" => Self::Sleep(natural(0)?),
            "says" => Self::Says(rest.to_owned()),
            _ => return Err(format!("nothing that happens: {text}")),
        })
    }
}

/// Whoever says something, and others who write templates.
const PEOPLE: [&str; 4] = ["alice", "bob", "owner", "gitops"];

/// Roles in which people approve.
const ROLES: [&str; 2] = [ROLE, "ops"];
/// The one in which they do where there is but one.
pub const ROLE: &str = "qa";

impl fmt::Display for Story {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup {
            replicas,
            strategy,
            min_ready,
            deadline,
            release,
            ready_after,
            policies,
            candidates,
            leaders,
            beside,
            traffic,
            page,
            refuses_old,
            early,
            autoscaler,
            clocks,
        } = &self.setup;
        writeln!(out, "replicas {replicas}")?;
        writeln!(out, "strategy {strategy}")?;
        writeln!(out, "min-ready {min_ready}")?;
        writeln!(out, "deadline {deadline}")?;
        writeln!(out, "release {release}")?;
        writeln!(out, "ready-after {ready_after}")?;
        writeln!(out, "policies {policies}")?;
        writeln!(out, "candidates {candidates}")?;
        if *leaders > 1 {
            writeln!(out, "leaders {leaders}")?;
        }
        writeln!(out, "beside {beside}")?;
        if !traffic.is_empty() {
            let rates: Vec<String> = traffic.iter().map(u64::to_string).collect();
            writeln!(out, "traffic {}", rates.join(" "))?;
        }
        if *page > 0 {
            writeln!(out, "page {page}")?;
        }
        if *refuses_old {
            writeln!(out, "refuses-old {refuses_old}")?;
        }
        if *early {
            writeln!(out, "early {early}")?;
        }
        if let Some((least, most)) = autoscaler {
            writeln!(out, "autoscaler {least} {most}")?;
        }
        if !clocks.is_empty() {
            let clocks: Vec<String> = clocks.iter().map(i64::to_string).collect();
            writeln!(out, "clocks {}", clocks.join(" "))?;
        }
        for (at, event) in &self.events {
            writeln!(out, "at {at} {event}")?;
        }
        for (number, fault) in &self.faults {
            writeln!(out, "request {number} {fault}")?;
        }
        for (number, fault) in &self.lease_faults {
            writeln!(out, "lease-request {number} {fault}")?;
        }
        Ok(())
    }
}

impl FromStr for Story {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut story = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, rest) = line.split_once(' ').ok_or_else(|| format!("half a line: {line}"))?;
            let wrong = |error: &dyn fmt::Display| format!("{line}: {error}");
            let setup = &mut story.setup;
            match word {
                "replicas" => setup.replicas = rest.parse().map_err(|error| wrong(&error))?,
                "strategy" => setup.strategy = serde_json::from_str(rest).map_err(|error| wrong(&error))?,
                "min-ready" => setup.min_ready = rest.parse().map_err(|error| wrong(&error))?,
                "deadline" => setup.deadline = rest.parse().map_err(|error| wrong(&error))?,
                "release" => setup.release = serde_json::from_str(rest).map_err(|error| wrong(&error))?,
                "ready-after" => setup.ready_after = rest.parse().map_err(|error| wrong(&error))?,
                "policies" => setup.policies = rest == "true",
                "candidates" => setup.candidates = rest.parse().map_err(|error| wrong(&error))?,
                "leaders" => setup.leaders = rest.parse().map_err(|error| wrong(&error))?,
                "beside" => setup.beside = rest.parse().map_err(|error| wrong(&error))?,
                "page" => setup.page = rest.parse().map_err(|error| wrong(&error))?,
                "refuses-old" => setup.refuses_old = rest == "true",
                "early" => setup.early = rest == "true",
                "autoscaler" => {
                    let (least, most) = rest.split_once(' ').ok_or_else(|| wrong(&"no bound"))?;
                    let number = |text: &str| text.parse::<i32>().map_err(|error| wrong(&error));
                    setup.autoscaler = Some((number(least)?, number(most)?));
                }
                "traffic" => {
                    let rates: Result<_, _> = rest.split(' ').map(str::parse).collect();
                    setup.traffic = rates.map_err(|error| wrong(&error))?;
                }
                "clocks" => {
                    let clocks: Result<_, _> = rest.split(' ').map(str::parse).collect();
                    setup.clocks = clocks.map_err(|error| wrong(&error))?;
                }
                "at" => {
                    let (at, event) = rest.split_once(' ').ok_or_else(|| wrong(&"nothing happens"))?;
                    story.events.push((at.parse().map_err(|error| wrong(&error))?, event.parse()?));
                }
                "request" | "lease-request" => {
                    let (number, fault) = rest.split_once(' ').ok_or_else(|| wrong(&"no fault"))?;
                    let faults = if word == "request" { &mut story.faults } else { &mut story.lease_faults };
                    faults.insert(number.parse().map_err(|error| wrong(&error))?, fault.parse()?);
                }
                _ => return Err(wrong(&"no such word")),
            }
        }
        Ok(story)
    }
}
