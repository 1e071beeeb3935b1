//! The network between the operator's processes and the API server, and what goes wrong in it: each fault falls on a request by its
//! number, so that a story can name it. Requests about the Lease are counted by themselves: those of a story keep their numbers, however
//! often a Lease is renewed meanwhile.

use std::collections::BTreeMap;
use std::fmt;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error of the server's before it took effect.
    Failed,
    /// The connection breaks before it took effect.
    Lost,
    /// It took effect, and the connection breaks.
    Answerless,
    /// It took effect, and nothing is answered until the connection breaks.
    Swallowed,
    /// It is on its way for so many milliseconds, whoever waits for it or not.
    Late(u64),
    /// Somebody else was first, says the server.
    Conflict,
    /// Too many requests, says the server; and to come back after so many seconds, where it says that too (0: it does not).
    Throttled(u64),
    /// The server has just forgotten how everything came to be: what goes on from before is too old.
    Forgotten,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => out.write_str("failed"),
            Self::Lost => out.write_str("lost"),
            Self::Answerless => out.write_str("answerless"),
            Self::Swallowed => out.write_str("swallowed"),
            Self::Late(wait) => write!(out, "late {wait}"),
            Self::Conflict => out.write_str("conflict"),
            Self::Throttled(0) => out.write_str("throttled"),
            Self::Throttled(seconds) => write!(out, "throttled {seconds}"),
            Self::Forgotten => out.write_str("forgotten"),
        }
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = || rest.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        Ok(match word {
            "failed" => Self::Failed,
            "lost" => Self::Lost,
            "answerless" => Self::Answerless,
            "swallowed" => Self::Swallowed,
            "late" => Self::Late(number()?),
            "conflict" => Self::Conflict,
            "throttled" if rest.is_empty() => Self::Throttled(0),
            "throttled" => Self::Throttled(number()?),
            "forgotten" => Self::Forgotten,
            _ => return Err(format!("no fault: {text}")),
        })
    }
}

impl Fault {
    /// What it is called, whatever its number.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Answerless => "answerless",
            Self::Swallowed => "swallowed",
            Self::Late(_) => "late",
            Self::Conflict => "conflict",
            Self::Throttled(_) => "throttled",
            Self::Forgotten => "forgotten",
        }
    }
}

/// All kinds of them.
pub const KINDS: [&str; 9] =
    ["failed", "lost", "answerless", "swallowed", "late", "conflict", "throttled", "forgotten", OUT];
/// What it is called that all writes of a kind fail for a while.
pub const OUT: &str = "out";

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    List,
    /// A single object, or what kinds there are.
    Get,
    Watch,
    /// The status of a Release is written.
    Status,
    /// A Deployment is written.
    Deployment,
    /// A template is kept, or is not any more.
    Kept,
    /// A Job is made or deleted.
    Job,
    /// A pod is labelled or deleted.
    Pod,
    /// The record of a run is written.
    Record,
    Event,
    /// What is said is answered, and what hooks ask for is written.
    Other,
    /// Whatever is about the Lease.
    Lease,
}

/// All of them, and what they are called.
pub const PURPOSES: [(Purpose, &str); 12] = [
    (Purpose::List, "lists"),
    (Purpose::Get, "single reads"),
    (Purpose::Watch, "watches"),
    (Purpose::Status, "status"),
    (Purpose::Deployment, "Deployments"),
    (Purpose::Kept, "kept templates"),
    (Purpose::Job, "Jobs"),
    (Purpose::Pod, "pods"),
    (Purpose::Record, "records"),
    (Purpose::Event, "events"),
    (Purpose::Other, "other writes"),
    (Purpose::Lease, "the Lease"),
];

impl Purpose {
    /// What it is called.
    pub fn name(self) -> &'static str {
        PURPOSES.iter().find(|(purpose, _)| *purpose == self).map_or("", |(_, name)| *name)
    }

    /// The one that is called so.
    pub fn called(name: &str) -> Option<Self> {
        PURPOSES.iter().find(|(_, known)| *known == name).map(|(purpose, _)| *purpose)
    }
}

/// How often a fault of a kind took effect on a request.
pub type Befallen = BTreeMap<(&'static str, Purpose), u64>;

/// A process of the operator, as the network sees it.
#[derive(Clone, Debug)]
pub struct Process {
    pub alive: bool,
    /// Nothing of it goes through, and nothing comes to it, before.
    pub cut_off_until: u64,
    writes: u32,
    dies_after: Option<u32>,
}

/// The network.
#[derive(Default)]
pub struct Network {
    pub processes: Vec<Process>,
    /// By the number of the request.
    pub faults: BTreeMap<u64, Fault>,
    /// By the number of the request about the Lease.
    pub lease_faults: BTreeMap<u64, Fault>,
    /// Until when all of these fail.
    pub out: BTreeMap<Purpose, u64>,
    /// What took effect of those: the number of some is never reached, and others can do nothing to what they fall on.
    pub befallen: Befallen,
    requests: u64,
    about_leading: u64,
}

impl Network {
    /// A new process.
    pub fn join(&mut self) -> usize {
        self.processes.push(Process { alive: true, cut_off_until: 0, writes: 0, dies_after: None });
        self.processes.len() - 1
    }

    /// One more request, and what happens to it. `is_change`: of an object that is there, so that somebody else can have been first.
    pub fn request(&mut self, purpose: Purpose, is_change: bool, now: u64) -> Option<Fault> {
        let fault = if purpose == Purpose::Lease {
            self.about_leading += 1;
            self.lease_faults.get(&self.about_leading)
        } else {
            self.requests += 1;
            self.faults.get(&self.requests)
        };
        let fault = fault.copied().filter(|fault| is_change || *fault != Fault::Conflict);
        if fault.is_none() && self.out.get(&purpose).is_some_and(|until| now < *until) {
            *self.befallen.entry((OUT, purpose)).or_default() += 1;
            return Some(Fault::Failed);
        }
        let fault = fault?;
        *self.befallen.entry((fault.kind(), purpose)).or_default() += 1;
        Some(fault)
    }

    /// So many there were, without those about the Lease.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// So many about the Lease there were.
    pub fn requests_about_leading(&self) -> u64 {
        self.about_leading
    }

    pub fn is_alive(&self, process: usize) -> bool {
        self.processes.get(process).is_some_and(|process| process.alive)
    }

    /// A process is to die right after so many more writes.
    pub fn dies_after(&mut self, process: usize, writes: u32) {
        if let Some(process) = self.processes.get_mut(process) {
            process.dies_after = Some(process.writes + writes);
        }
    }

    pub fn kill(&mut self, process: usize) {
        if let Some(process) = self.processes.get_mut(process) {
            process.alive = false;
        }
    }

    pub fn wrote(&mut self, process: usize) {
        let Some(process) = self.processes.get_mut(process) else { return };
        process.writes += 1;
        if process.dies_after == Some(process.writes) {
            process.alive = false;
        }
    }

    /// Writes of all processes.
    pub fn writes(&self) -> u32 {
        self.processes.iter().map(|process| process.writes).sum()
    }

    pub fn cut_off(&mut self, process: usize, until: u64) {
        if let Some(process) = self.processes.get_mut(process) {
            process.cut_off_until = until;
        }
    }

    /// Until when a process is cut off.
    pub fn held_until(&self, process: usize) -> Option<u64> {
        self.processes.get(process).map(|process| process.cut_off_until)
    }
}
