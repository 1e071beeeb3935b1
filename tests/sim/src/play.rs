//! Plays a story: lets time pass in a world, does what the story says, and sees to it that an operator lives. When the story is over
//! nothing goes wrong any more, people do what they are asked for, and it has to come to rest.

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use tokio::runtime::Builder;

use self::people::{
    Manifest, delete_copy, freeze, make_deployment, make_release, push, say, say_as, write_release,
};
use crate::cluster::{Cluster, ELSEWHERE, named};
use crate::network::{Befallen, Fault};
use crate::panics;
use crate::process::Process;
use crate::prometheus::Lies;
use crate::server::Who;
use crate::story::{Conduct, Event, Story};
use crate::world::{Flags, Pages, Receivers, Shared, TARGET, World};

pub use self::people::template;

/// Milliseconds until another process comes for one that died.
const NEXT_PROCESS: u64 = 1_500;
/// Milliseconds between two looks whether it rests.
const LOOK: u64 = 5_000;
/// Milliseconds between two things that people say who have said much.
const SELDOM: u64 = 60_000;
/// Milliseconds until it has to rest once the story is over, beside its soaks: every wake is within the hour.
const PATIENCE: u64 = 4 * 3_600_000;
/// Milliseconds after which somebody gives up on a version that nothing is known of.
const LONG: u64 = 120_000;

/// Milliseconds after which nothing is left of what went wrong before nothing went wrong any more.
const CALM: u64 = 90_000;

/// Turns and requests after which a story is said to turn in circles: the longest of a hundred thousand has a fifth of them.
pub const MOST_STEPS: u64 = 1_000_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    /// Every change of an object that somebody made.
    pub log: Vec<String>,
    /// Turns of the world and requests.
    pub steps: u64,
    pub checks: u64,
    /// Of each invariant.
    pub looked: BTreeMap<&'static str, u64>,
    /// Faults of the network that took effect.
    pub befallen: Befallen,
    /// Writes of operators.
    pub writes: u32,
    /// Those since the Deployment was adopted.
    pub writes_in_story: u32,
    /// The world as it was in the end.
    pub end: End,
    /// What there was in the end, where something did not hold.
    pub described: String,
}

/// What two plays of a story must have in common.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct End {
    pub version: Value,
    pub phase: Value,
    pub outcome: Value,
    pub pods: usize,
    pub jobs: usize,
    pub rejected: usize,
}

/// Plays it. `seed`: for what libraries throw dice for.
pub fn play(story: &Story, seed: u64) -> Outcome {
    play_within(story, seed, MOST_STEPS)
}

/// The same, given up after so many steps.
pub fn play_within(story: &Story, seed: u64, steps: u64) -> Outcome {
    fastrand::seed(seed);
    panics::begin(story);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads");
    let played = || runtime.block_on(async { Player::new(story, steps).play().await });
    // A panic in a task ends the task; of one here nothing is left but that it came.
    let mut outcome = catch_unwind(AssertUnwindSafe(played)).unwrap_or_default();
    // What waits for ever is dropped with it.
    runtime.shutdown_background();
    if panics::end() > 0 {
        outcome.violations.insert(0, "1 (it does not panic): somebody did".to_owned());
    }
    outcome
}

struct Player<'s> {
    story: &'s Story,
    shared: Shared,
    clock_off: Arc<AtomicI64>,
    processes: Vec<Process>,
    /// When another one comes.
    next_process: u64,
    next_event: usize,
    /// When the world was ready for the story.
    began: Option<u64>,
    /// What the owners' manifests say, by Deployment.
    manifests: BTreeMap<&'static str, Manifest>,
    steps: u64,
    most_steps: u64,
    last: End,
    /// Writes that each process lives for.
    mortal: Option<u32>,
    /// What Releases said before somebody wrote what means no good, until that is taken out.
    hostile: BTreeMap<&'static str, Value>,
    /// Deployments that their owners have mended.
    mended: BTreeSet<&'static str>,
    writes_before: u32,
}

impl<'s> Player<'s> {
    fn new(story: &'s Story, most_steps: u64) -> Self {
        let setup = &story.setup;
        let mut world = World::new(setup);
        // Of two that lead one after the other each has its own: to who reads what the other wrote it is as if one had jumped.
        world.watchman.clocks_jumped = !setup.clocks.is_empty();
        world.watchman.clock_off = setup.slowest_clock();
        world.watchman.several_lead = setup.several_lead();
        let manifest = Manifest { template: template(1, Conduct::Good), strategy: setup.strategy.clone() };
        let manifests: BTreeMap<&'static str, Manifest> =
            world.targets().map(|name| (name, manifest.clone())).collect();
        for name in world.targets() {
            make_deployment(&mut world, name, setup, &manifest);
        }
        world.begin_ready();
        for name in world.targets() {
            make_release(&mut world, name, setup);
        }
        if setup.early {
            befall(&mut world, story);
        }
        Self {
            story,
            shared: Shared::new(world),
            clock_off: Arc::default(),
            processes: Vec::new(),
            next_process: 0,
            next_event: 0,
            began: None,
            manifests,
            steps: 0,
            most_steps,
            last: End::default(),
            mortal: None,
            hostile: BTreeMap::new(),
            mended: BTreeSet::new(),
            writes_before: 0,
        }
    }

    async fn play(mut self) -> Outcome {
        let (mut look_at, mut help_at, mut helps) = (0, 0, 0);
        let mut over_at = None;
        let mut rested = false;
        loop {
            let now = self.turn();
            self.see_that_it_goes_on();
            if !self.shared.lock().watchman.violations.is_empty() {
                break;
            }
            if self.began.is_none() && self.all_adopted() {
                let mut world = self.shared.lock();
                if !self.story.setup.early {
                    befall(&mut world, self.story);
                }
                self.writes_before = world.network.writes();
                self.began = Some(now);
            }
            let next_event = self.next_event_at();
            if next_event.is_some_and(|at| at <= now) {
                self.happen(now);
                continue;
            }
            if self.began.is_some() && next_event.is_none() && now >= look_at {
                look_at = now + LOOK;
                let over = *over_at.get_or_insert_with(|| {
                    self.shared.lock().calm();
                    now
                });
                let stays = !self.hostile.is_empty();
                if now > over + CALM && !stays {
                    self.shared.lock().check_let_go();
                }
                match self.rests() {
                    Ok(()) if rested => break,
                    Ok(()) => rested = true,
                    Err(why) => {
                        rested = false;
                        let is_taken_out = stays && self.hostile.is_empty();
                        if now >= help_at && !is_taken_out {
                            helps += 1;
                            // Who has said the same ten times says it less often.
                            help_at = now + if helps < 10 { LOOK } else { SELDOM };
                            self.help(now > over + LONG);
                        }
                        if is_taken_out {
                            over_at = Some(now);
                        } else if now > over + PATIENCE + 3 * self.story.setup.soaks() {
                            let mut world = self.shared.lock();
                            match stays {
                                true => world.check_others(Some(&why)),
                                false => world.violated("9 (it comes to rest)", why),
                            }
                            break;
                        }
                    }
                }
            }
            if self.began.is_none() && now > PATIENCE {
                self.shared
                    .lock()
                    .violated("9 (it comes to rest)", "the Deployment is not adopted".to_owned());
                break;
            }
            let next = self.next_turn().min(next_event.unwrap_or(if self.began.is_some() {
                look_at
            } else {
                u64::MAX
            }));
            let wait = tokio::time::sleep_until(self.shared.epoch.at(next.max(now + 1)));
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => {}
                () = wait => {}
            }
        }
        self.outcome()
    }

    fn all_adopted(&self) -> bool {
        let world = self.shared.lock();
        world.targets().all(|name| !world.status(name)["stable"].is_null())
    }

    /// A story that does not end is a story that fails.
    fn see_that_it_goes_on(&self) {
        let spins = self.shared.spins();
        let mut world = self.shared.lock();
        if spins {
            world.violated("9 (no circles)", "somebody turns in circles while no time passes".to_owned());
        } else if self.steps + world.network.requests() > self.most_steps {
            let steps = format!("{} turns and {} requests", self.steps, world.network.requests());
            world.violated("9 (no circles)", format!("it has not ended after {steps}"));
        }
    }

    /// What is due now is done.
    fn turn(&mut self) -> u64 {
        self.steps += 1;
        let now = {
            let mut world = self.shared.lock();
            let now = world.now;
            world.store.flush(now);
            world.autoscale();
            world.settle();
            world.scrape();
            now
        };
        let (dead, alive): (Vec<Process>, Vec<Process>) = {
            let world = self.shared.lock();
            let lives = |process: &Process| world.network.is_alive(process.number) && !process.has_ended();
            std::mem::take(&mut self.processes).into_iter().partition(|process| !lives(process))
        };
        self.processes = alive;
        for process in dead {
            process.kill(&self.shared);
            self.next_process = now + NEXT_PROCESS;
        }
        let elects = self.story.setup.candidates > 0;
        if self.processes.len() < self.story.setup.processes() && now >= self.next_process {
            let (setup, silences) = (&self.story.setup, self.story.silences());
            let process = Process::start(&self.shared, setup, &self.clock_off, elects, silences);
            if let Some(writes) = self.mortal {
                self.shared.lock().network.dies_after(process.number, writes);
            }
            self.processes.push(process);
        }
        now
    }

    fn next_turn(&self) -> u64 {
        let missing = self.processes.len() < self.story.setup.processes();
        let world = self.shared.lock();
        let due = world.clusters.iter().map(Cluster::due).fold(world.store.flush_due(), u64::min);
        let due = due.min(world.prometheus.due());
        let due = world.autoscaler.as_ref().map_or(due, |autoscaler| due.min(autoscaler.due()));
        if missing { due.min(self.next_process) } else { due }
    }

    fn next_event_at(&self) -> Option<u64> {
        let (at, _) = self.story.events.get(self.next_event)?;
        Some(self.began? + at)
    }

    fn happen(&mut self, now: u64) {
        let (_, event) = &self.story.events[self.next_event];
        self.next_event += 1;
        let leader = self.leader();
        let number = leader.map(|index| self.processes[index].number);
        let mut world = self.shared.lock();
        let seconds = format!("{}.{:03}", now / 1000, now % 1000);
        world.log.push(format!("{seconds} -- {event}"));
        let (name, event) = match event {
            Event::Beside(name, event) => (*name, &**event),
            event => (TARGET, event),
        };
        let Some(manifest) = self.manifests.get_mut(name) else { return };
        match event {
            Event::Push(version, conduct) => {
                push(&mut world, name, "owner", manifest, template(*version, *conduct));
            }
            Event::PushBy(who, version, conduct) => {
                push(&mut world, name, who, manifest, template(*version, *conduct));
            }
            Event::Apply => {
                let Manifest { template, strategy } = manifest.clone();
                world.write_target(name, "gitops", |object| {
                    object["spec"]["template"] = template;
                    object["spec"]["strategy"] = strategy;
                });
            }
            Event::ApplyServerSide(insists) => {
                let fields = manifest.fields();
                world.apply_target(name, "gitops", &fields, *insists);
            }
            Event::Scale(replicas) => world.scale_target(name, *replicas),
            Event::Say(action, role) => say(&mut world, name, action, *role),
            Event::SayBy(who, action, role) => say_as(&mut world, who, name, action, *role),
            Event::Pause(paused) => {
                world.write_target(name, "owner", |object| object["spec"]["paused"] = json!(paused))
            }
            Event::Edit(strategy) => {
                manifest.strategy = strategy.clone();
                world.write_target(name, "owner", |object| object["spec"]["strategy"] = strategy.clone());
                if !world.policies {
                    // Nobody keeps the owner from it: until it is taken back, the native controller does what the owner wrote.
                    world.watchman.of(name).excuse(now + 10_000);
                }
            }
            Event::Set(change) => {
                world.write_target(name, "owner", |object| json_patch::merge(&mut object["spec"], change));
            }
            Event::Amend(change) => write_release(&mut world, name, |spec| json_patch::merge(spec, change)),
            Event::Hostile(change) => {
                if let Some(release) = world.release(name) {
                    self.hostile.entry(name).or_insert_with(|| release["spec"].clone());
                }
                write_release(&mut world, name, |spec| json_patch::merge(spec, change));
            }
            Event::Suspend(suspend) => {
                write_release(&mut world, name, |spec| spec["suspend"] = json!(suspend))
            }
            Event::Freeze(frozen) => freeze(&mut world, *frozen),
            Event::DeleteRelease => world.delete(&Who::Person("owner"), "releases", &named(name)),
            Event::MakeRelease => make_release(&mut world, name, &self.story.setup),
            Event::DeleteDeployment => world.delete(&Who::Person("owner"), "deployments", &named(name)),
            Event::MakeDeployment => make_deployment(&mut world, name, &self.story.setup, manifest),
            Event::DeleteCopy => delete_copy(&mut world, name),
            Event::Lose(pods, seconds, comes_back) => {
                let until = now + seconds * 1000;
                if let Some(cluster) = world.cluster(name) {
                    cluster.lose(*pods, now, until, *comes_back);
                }
                world.watchman.of(name).note_away(until + ELSEWHERE, *pods);
            }
            Event::Drain(node, seconds) => world.drain(node, now + seconds * 1000),
            Event::Flap(pods, seconds) => {
                let until = now + seconds * 1000;
                if let Some(cluster) = world.cluster(name) {
                    cluster.flap(*pods, now, until);
                }
                world.watchman.of(name).note_away(until + ELSEWHERE, *pods);
            }
            Event::Fail => {
                if let Some(cluster) = world.cluster(name) {
                    cluster.fail(now);
                }
                world.watchman.of(name).excuse(now + 1_800_000);
            }
            Event::Clock(seconds) => {
                let off = self.clock_off.fetch_add(seconds * 1000, Ordering::Relaxed) + seconds * 1000;
                world.watchman.clocks_jumped = true;
                let slowest = off + self.story.setup.slowest_clock();
                (world.watchman.clock_off, world.watchman.clock_set_at) = (slowest, now);
            }
            Event::Pages(pages) => world.say_on_pages(*pages),
            Event::Prometheus(lies) => world.say_by_prometheus(*lies),
            Event::Receivers(receivers) => world.receivers = *receivers,
            Event::Flags(flags) => world.flags = *flags,
            Event::Room(pods) => {
                let room = if *pods == 0 { usize::MAX } else { *pods };
                if let Some(cluster) = world.cluster(name) {
                    cluster.make_room(room, now);
                }
            }
            // Those beside the first have none beside them.
            Event::Beside(_, _) => {}
            Event::Kill(writes) => {
                if let Some(number) = number {
                    match writes {
                        0 => world.network.kill(number),
                        writes => world.network.dies_after(number, *writes),
                    }
                }
            }
            Event::Mortal(writes) => {
                self.mortal = Some(*writes);
                for process in &self.processes {
                    world.network.dies_after(process.number, *writes);
                }
            }
            Event::Restart => {
                if let Some(index) = leader {
                    self.processes[index].ask_to_stop();
                }
            }
            Event::CutOff(seconds) => {
                if let Some(number) = number {
                    let until = now + seconds * 1000;
                    world.network.cut_off(number, until);
                    world.store.hold(Some(number), None, until);
                }
            }
            Event::DeleteLease => {
                let lease = ("tidegate-system".to_owned(), "tidegate".to_owned());
                world.delete(&Who::Person("owner"), "leases", &lease);
            }
            Event::DropWatches => world.store.drop_watches(),
            Event::HoldWatches(wait) => {
                let until = now + wait;
                world.store.hold(None, None, until);
            }
            Event::HoldStandby(plural, wait) => {
                let until = now + wait;
                let all = self.processes.iter().map(|process| process.number);
                for standby in all.filter(|process| Some(*process) != number) {
                    world.store.hold(Some(standby), Some(*plural), until);
                }
            }
            Event::Unread(plural, wait) => {
                world.unread = Some((*plural, now + wait));
                world.store.drop_watches();
            }
            Event::Out(purpose, wait) => {
                world.network.out.insert(*purpose, now + wait);
            }
            Event::Compact => world.store.compact(),
            Event::Replay(changes) => {
                for plural in ["deployments", "releases", "replicasets", "pods"] {
                    world.store.replay(plural, *changes);
                }
            }
            Event::Sleep(wait) => {
                for name in world.targets() {
                    if let Some(cluster) = world.cluster(name) {
                        cluster.asleep_until = now + wait;
                    }
                    world.watchman.of(name).excuse(now + wait + 10_000);
                }
            }
            Event::Says(words) => {
                let said = world.status(name)["blockedBy"]["message"].to_string();
                if !said.contains(words) {
                    world.violated("story (it says so)", format!("{said}, not {words}"));
                }
            }
        }
    }

    /// The process that holds the Lease, or the only one.
    fn leader(&self) -> Option<usize> {
        let world = self.shared.lock();
        let holder = world
            .store
            .all("leases")
            .next()
            .and_then(|(_, lease)| lease["spec"]["holderIdentity"].as_str().map(str::to_owned));
        let leads = |process: &Process| {
            let identity = world.watchman.identities.get(&process.number);
            identity.is_none() || identity == holder.as_ref()
        };
        self.processes.iter().position(leads)
    }

    fn rests(&mut self) -> Result<(), String> {
        let mut world = self.shared.lock();
        for name in world.targets().filter(|name| !self.hostile.contains_key(name)) {
            world.at_rest(name).map_err(|why| format!("{name}: {why}"))?;
            world.is_paused_as_written(name).map_err(|why| format!("{name}: {why}"))?;
            if world.status(name)["blockedBy"]["reason"] == "PausedByOwner" {
                return Err(format!("{name}: the owner has paused it"));
            }
            if let Some(open) = world.not_answered(name) {
                return Err(format!("{name}: {open}"));
            }
        }
        if !self.hostile.is_empty() {
            if self.hostile.len() < world.targets().count() {
                world.check_others(None);
            }
            for (name, spec) in std::mem::take(&mut self.hostile) {
                write_release(&mut world, name, |written| *written = spec);
            }
            return Err("what meant no good was taken out a moment ago".to_owned());
        }
        let end = end(&world);
        if end != self.last {
            self.last = end;
            return Err("it was another one a moment ago".to_owned());
        }
        // Whoever helps would write another one over it.
        if let Some(lost) = world.targets().find_map(|name| world.lost(name)) {
            return Err(lost);
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let mut world = self.shared.lock();
        for name in world.targets() {
            world.check_records(name);
        }
        let requests = world.network.requests();
        let violations = std::mem::take(&mut world.watchman.violations);
        let described = if violations.is_empty() { String::new() } else { world.describe() };
        Outcome {
            violations,
            log: std::mem::take(&mut world.log),
            steps: self.steps + requests,
            checks: world.watchman.checks,
            looked: std::mem::take(&mut world.watchman.looked),
            befallen: std::mem::take(&mut world.network.befallen),
            writes: world.network.writes(),
            writes_in_story: world.network.writes() - self.writes_before,
            end: end(&world),
            described,
        }
    }
}

/// From here on faults fall on the requests of the story.
fn befall(world: &mut World, story: &Story) {
    let network = &mut world.network;
    network.faults = from_here(&story.faults, network.requests());
    network.lease_faults = from_here(&story.lease_faults, network.requests_about_leading());
}

/// Faults of a story count from its beginning.
fn from_here(faults: &BTreeMap<u64, Fault>, before: u64) -> BTreeMap<u64, Fault> {
    faults.iter().map(|(number, fault)| (before + number, *fault)).collect()
}

fn end(world: &World) -> End {
    let status = world.status(TARGET);
    End {
        version: world
            .deployment(TARGET)
            .map_or(Value::Null, |it| it["spec"]["template"]["metadata"]["annotations"]["version"].clone()),
        phase: status["phase"].clone(),
        outcome: status["lastRun"]["outcome"].clone(),
        pods: world.targets().map(|name| world.native(name).ready()).sum(),
        jobs: world.store.all("jobs").count(),
        rejected: status["rejected"].as_array().map_or(0, Vec::len),
    }
}

impl World {
    /// From here on nothing goes wrong any more.
    fn calm(&mut self) {
        self.network.faults.clear();
        self.network.lease_faults.clear();
        self.say_on_pages(Pages::Honest);
        self.say_by_prometheus(Lies::Honest);
        self.receivers = Receivers::Honest;
        self.flags = Flags::Honest;
        self.unread = None;
        freeze(self, false);
        let now = self.now;
        for cluster in &mut self.clusters {
            cluster.make_room(usize::MAX, now);
            cluster.mend(now);
        }
    }
}
