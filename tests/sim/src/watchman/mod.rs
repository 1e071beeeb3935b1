//! Looks at every request of the operator, every write and every turn of the cluster, and says which of the invariants of `src/lib.rs`
//! does not hold, as far as it can be seen from outside: numbers in what it says are theirs.

mod beside;
mod borrowed;
mod calendar;
mod deadlines;
mod evidence;
mod fence;
mod held;
mod locks;
mod looks;
mod lost;
mod once;
mod others;
mod owner;
mod people;
mod pods;
mod quarantine;
#[cfg(test)]
pub(crate) mod stage;
mod stopped;
mod way_back;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use self::fence::Campaign;
pub use self::held::{Help, help, is_mended_by_a_push};
use crate::server::Who;
use crate::world::World;

/// Milliseconds in which the native controllers may still carry out what was asked for before.
pub const RECENTLY: u64 = 5_000;
/// Milliseconds in which they do what is ordered, and the operator sees it.
const AT_ONCE: u64 = 1_000;

/// All that the watchman holds a world to, but for what is said once of a whole story: whether it comes to rest, turns in circles, panics.
pub const RULES: [&str; 49] = [
    "1 (the same snapshot, the same decision)",
    "2 (a deadline)",
    "2 (field manager)",
    "2 (late, when another leads)",
    "2 (one leader)",
    "2 (the fence)",
    "4 (guarded)",
    "4 (one status write a look)",
    "4 (status last)",
    "5 (own writes)",
    "6 (one step)",
    "6 (the way back is open)",
    "6 (the way back waits for no window)",
    "7 (Unknown does not promote)",
    "7 (Unknown does not undo)",
    "7 (what heals is seen)",
    "7 (what is bad does not succeed)",
    "7 (what is good is not undone)",
    "7 (what works is not said to fail)",
    "8 (enough pods Ready on the way back)",
    "8 (enough pods Ready)",
    "8 (not too many pods on the way back)",
    "8 (not too many pods)",
    "8 (somebody serves)",
    "8 (stable pods stay on the way back)",
    "9 (a wake within the hour)",
    "10 (noted before it is told)",
    "10 (nothing owed is lost)",
    "10 (the end of a run is told)",
    "10 (told once)",
    "11 (others go on)",
    "12 (a template that somebody wrote)",
    "12 (nothing else is touched)",
    "13 (never unpaused and unparked)",
    "13 (paused between moves)",
    "hooks (each is done)",
    "hooks (once)",
    "locks (none moves without)",
    "locks (one run at a time)",
    "no approval forgotten",
    "no job run twice",
    "people (held for what waits for them)",
    "people (who stops a run has stopped it)",
    "quarantine (gone when it is over)",
    "quarantine (no more than asked for)",
    "quarantine (no other pod is deleted)",
    "quarantine (out of everything)",
    "records (a chain)",
    "undo (ends in time)",
];

/// What the watchman remembers.
#[derive(Default)]
pub struct Watchman {
    pub violations: Vec<String>,
    /// Checks made.
    pub checks: u64,
    /// Of each invariant.
    pub looked: BTreeMap<&'static str, u64>,
    /// Of kept templates, by uid.
    fingerprints: BTreeMap<String, String>,
    /// When somebody has deleted the copy of a template, by its fingerprint, where it was not seen to be kept since.
    copies_deleted: BTreeMap<String, u64>,
    /// By the name of the Deployment, and of its Release.
    watched: BTreeMap<String, Watched>,
    /// Uid and generation of a Deployment after a process's last write to it.
    written: BTreeMap<(usize, String), (String, i64)>,
    /// Uid and `status.revision` of a Release after a process's last write of its status.
    told: BTreeMap<(usize, String), (String, i64)>,
    /// What the status was that a process has written of a Release in its look at it, once it has.
    said: BTreeMap<(usize, String), looks::Said>,
    /// Decisions that were made.
    decisions: u64,
    /// Jobs that were made, by Release, run, check.
    jobs: BTreeMap<String, BTreeSet<String>>,
    /// How often somebody has said that checks are tried again, or has changed them: there may be so many more tries of each.
    pub more_tries: usize,
    /// Somebody has said that something may be passed over.
    pub skipped: bool,
    /// What the operator counts in seconds is not what passes here.
    pub clocks_jumped: bool,
    /// By how many milliseconds the operator's clock is ahead, of several the one that is behind the others, and when it was set.
    pub clock_off: i64,
    pub clock_set_at: u64,
    /// Requests of hooks that have arrived.
    pub hooks_arrived: u64,
    /// Those that were answered as they should be, by process, since it leads.
    hooks_answered: BTreeMap<usize, usize>,
    /// When each process that knows that it has the Lease has sent the request that it knows it from.
    leads_from: BTreeMap<usize, u64>,
    /// When each process has last sent a renewal of the Lease.
    renewing: BTreeMap<usize, u64>,
    /// When the request was sent that is answered just now, where it was long on its way.
    sent_late: Option<u64>,
    /// Until when whoever has sent the request that arrives may have heard of everything.
    heard: u64,
    /// When Releases were deleted, by uid.
    deleted_at: BTreeMap<String, u64>,
    /// Which process wrote the Lease last, and when it sent that.
    renewed: Option<(usize, u64)>,
    /// Runs that have gone back with hooks.
    went_back: BTreeSet<RunOf>,
    /// What a ConfigMap was to be, was written there so often.
    flags_written: u64,
    /// Runs of which a record says that a hook is done, by its name.
    recorded: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Pods that were taken out of their ReplicaSet, by run.
    kept: BTreeMap<RunOf, BTreeSet<String>>,
    /// There is no election, and several processes write at the same time.
    pub several_lead: bool,
    /// Identity of each process in the Lease, where there is an election.
    pub identities: BTreeMap<usize, String>,
    /// Messages that a status has owed.
    noted: BTreeSet<Told>,
    /// Those that have come to whom they are for: from which processes, and whether they were told so.
    came: BTreeMap<Told, Vec<(usize, bool)>>,
    /// Those of which the receiver has said that it will not have them.
    refused: BTreeSet<Told>,
    /// So often a process has tried in vain to tell them.
    in_vain: BTreeMap<(usize, Told), u32>,
}

/// Uid of a Release, and the id of a run: a Release that is made anew under the same name counts from 1 again.
type RunOf = (String, String);

/// The run that a Release has under way; without one, an id that no run has.
fn run_of(release: &Value) -> RunOf {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&release["metadata"]["uid"]), text(&release["status"]["run"]["id"]))
}

/// The id of a message, and an audience.
type Told = (String, String);

/// What it remembers of one Deployment.
#[derive(Default)]
pub struct Watched {
    /// What the owner wrote last into the fields that a run borrows: `paused`, `minReadySeconds`, `progressDeadlineSeconds`, `strategy`.
    owners: BTreeMap<&'static str, Value>,
    /// All that they wrote there while a run had the fields, where no policy keeps them from it: each may be taken back, or taken for theirs.
    edited: BTreeMap<&'static str, Vec<Value>>,
    /// Whether the owner wants it paused. `None`: what they wrote in a run, where no policy keeps them from it, may be taken back, or taken for theirs.
    pause: Option<bool>,
    /// Templates that people have written.
    templates: Vec<Value>,
    /// Its Release was deleted after it was handed back, and before the operator took itself out of those who manage its fields: nobody is left who would.
    stays_managed: bool,
    /// The owner has written to a Deployment that moves, and no policy has paused it: until the operator has seen it, the native
    /// controller does what it likes.
    unseen: bool,
    /// The Service has had as many pods as the owner promises, and nobody has taken them but, perhaps, the operator.
    served: bool,
    /// Of the Deployment of which all this is.
    uid: String,
    /// Ready pods that there must be, once there have been so many.
    promised: i64,
    /// There have been no more pods than there may be: from then on there are not.
    has_come_down: bool,
    /// Counts of pods say nothing before.
    excused_until: u64,
    /// So many pods that served may not be Ready, by their nodes or kubelets, and others may stand for them: until then.
    away: Vec<(u64, usize)>,
    /// When the operator wrote it last, and which process of it.
    ordered_at: u64,
    ordered_by: Option<usize>,
    /// So often it has written the status of its Release since.
    looks: u32,
    /// Replicas asked for lately.
    wanted: Vec<(u64, i64)>,
    /// The run that began while the source of its counts told nothing.
    blind: Option<String>,
    /// The run and the step that began when that could be seen to be so.
    blind_step: Option<(String, String)>,
    /// Since when it can be seen.
    dark_since: Option<u64>,
    /// Since when the source tells the truth.
    told_since: u64,
    /// The run of which stable stands again, and since when.
    restored: Option<(String, u64)>,
    /// The template that somebody wrote last.
    last: Option<lost::Last>,
    /// Since when a run has the fields.
    taken_at: Option<u64>,
    /// The way back that was ordered last.
    way_back: Option<way_back::WayBack>,
    /// Somebody has scaled it.
    was_scaled: bool,
    /// Its Release has said that bad pods go before stable ones are there.
    mitigates: bool,
    /// The run that somebody has stopped.
    stopped: Option<RunOf>,
}

impl Watched {
    /// What was ordered last is being carried out, or nobody has looked since: whoever ordered it wrote status, and no more.
    fn is_unattended(&self, now: u64) -> bool {
        now < self.ordered_at + AT_ONCE || self.looks < 2
    }

    /// Until then so many pods that served may not be Ready, whoever does what.
    pub fn note_away(&mut self, until: u64, pods: usize) {
        self.away.push((until, pods));
    }

    /// How many are. Where some are not any more, and did not come back either, nothing is promised until there are as many as before.
    fn are_away(&mut self, now: u64) -> i64 {
        let before = self.away.len();
        self.away.retain(|(until, _)| now < *until);
        if self.away.len() < before {
            (self.served, self.promised, self.has_come_down) = (false, 0, false);
        }
        i64::try_from(self.away.iter().map(|(_, pods)| pods).sum::<usize>()).unwrap_or(i64::MAX)
    }

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

    fn check(&mut self, invariant: &'static str, holds: bool, what: impl FnOnce() -> String) {
        self.watchman.checks += 1;
        let looked = self.watchman.looked.entry(invariant).or_default();
        *looked += 1;
        if *looked == 1 && !RULES.contains(&invariant) {
            self.violated("the watchman (a rule that is on its list)", invariant.to_owned());
        }
        if !holds {
            self.violated(invariant, what());
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
                self.check_template(name, before, after);
                self.note_let_go(name, after);
                self.note_forgotten(*process, name, before);
                self.note_replaced(name, before, after);
                self.note_order(name, before, after);
                let now = self.now;
                let watched = self.watchman.of(name);
                (watched.ordered_at, watched.looks) = (now, 0);
                watched.ordered_by = Some(*process);
                if std::mem::take(&mut watched.unseen) {
                    watched.excuse(now + 2 * RECENTLY);
                }
            }
            (Who::Person(_), "deployments") => {
                self.note_owner(name, before, after);
                self.note_last(name, before, after);
                self.note_disturbed(name, before, after);
            }
            (Who::Person(_), "releases") => self.note_capacity(name, after),
            (Who::Operator(process), "releases") => {
                let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
                let revision = after["status"]["revision"].as_i64().unwrap_or(0);
                self.watchman.told.insert((*process, name.to_owned()), (uid, revision));
                self.watchman.of(name).looks += 1;
                self.note_status(*process, name, before, after);
                self.note_said(name, before, after);
                self.check_status(*process, name, before, after);
                self.check_success(name, before, after);
                self.check_beside(name, before, after);
                self.check_owed(before, after);
                self.check_locks(name, after);
                self.check_heard(name, before, after);
                self.check_signatures(name, before, after);
                self.check_stopped(name, before, after);
            }
            (Who::Operator(_), "events") => self.note_event(after),
            (Who::Operator(_), "jobs") => self.check_job(after),
            (Who::Operator(_), "configmaps") => self.watchman.flags_written += 1,
            (Who::Operator(_), "releasereports") => self.check_recorded(after),
            (Who::Operator(_) | Who::Person(_) | Who::Cluster, _) => {}
        }
    }
}
