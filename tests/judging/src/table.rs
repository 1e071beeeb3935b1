//! The table: what must be reached in which world, and what is.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate::decide::judge::{
    Criterion, Measure, OnLimit, OnUnknown, Settings, State, Verdict, fold, judge, learn,
};

use crate::worlds::{Defect, Noise, Play, World};

/// How long a run is watched.
const RUN_SECONDS: i64 = 1800;
/// Seconds of stable pods before the run, in slots of [`HISTORY_SLOT`].
const HISTORY_SECONDS: i64 = 3600;
const HISTORY_SLOT: i64 = 15;

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Must {
    /// At most this share of the runs is gone back on, in percent.
    FalseAborts(f64),
    /// Seconds from the start, or from the defect's, to the breach: median and 95th percentile.
    Found(f64, f64),
    /// The same, 95th percentile only.
    FoundLate(f64),
    /// Seconds to the first Pass, median.
    Passes(f64),
    /// Runs with a Pass, at most.
    NeverPasses,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    pub world: World,
    pub criterion: Criterion,
    pub must: Must,
}

/// What was reached.
#[derive(Clone, Debug)]
pub struct Reached {
    /// For people.
    pub text: String,
    /// Whether it is what must be.
    pub held: bool,
}

/// Errors of at most 1 %.
fn errors() -> Criterion {
    let measure = Measure::ErrorRate { target: 0.01, limit: 0.01 };
    Criterion {
        name: "errors".into(),
        measure,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    }
}

/// 99 % faster than 500 ms.
fn latency() -> Criterion {
    let measure = Measure::Latency { quantile: 0.99, target: 0.5, limit: 0.5 };
    Criterion {
        name: "latency".into(),
        measure,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    }
}

/// All rows.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |name: String, world: World, criterion: Criterion, must: Must| {
        cells.push(Cell { name, world, criterion, must });
    };
    for slot in [1, 5] {
        for load in [0.1, 1.0, 10.0, 100.0, 1000.0] {
            let usual = World::usual(load, slot);
            let bursty = World { noise: Noise::Bursty, ..usual };
            for (name, world) in [
                ("steady 0.5 %", usual),
                ("bursty 0.5 %", bursty),
                ("shared incident", World { incident: Some(0.05), ..usual }),
                ("shared incident, bursty", World { incident: Some(0.05), ..bursty }),
                ("near budget, 0.9 %", World { mean: 0.009, ..usual }),
            ] {
                add(format!("good: {name}"), world, errors(), Must::FalseAborts(1.0));
            }
        }
    }
    for load in [1.0, 10.0, 100.0] {
        for (name, mean, extra) in
            [("0.9 %, stable 0.1 %", 0.001, 0.008), ("1 %, stable 0.5 %", 0.005, 0.005)]
        {
            let defect = Defect::Errors { share: extra, from: 0.0 };
            let world = World { mean, defect, ..World::usual(load, 5) };
            // Worse than stable: 5 % is what is promised. Going back on fewer of them would find 2.5 % too late.
            add(format!("within its limit: {name}"), world, errors(), Must::FalseAborts(2.0));
        }
    }
    let of = |load, slot, noise, defect| World { noise, defect, ..World::usual(load, slot) };
    let share = |share| Defect::Errors { share, from: 0.0 };
    let (steady, bursty) = (Noise::Steady, Noise::Bursty);
    for (load, slot, noise, median, p95) in [
        (20.0, 1, steady, 3.0, 3.0),
        (100.0, 1, steady, 3.0, 3.0),
        (1.0, 1, steady, 6.0, 11.0),
        (20.0, 1, bursty, 5.0, 7.0),
        (100.0, 1, bursty, 5.0, 7.0),
        (1.0, 5, steady, 15.0, 15.0),
        (10.0, 5, steady, 15.0, 15.0),
        (1.0, 5, bursty, 15.0, 25.0),
        (10.0, 5, bursty, 15.0, 25.0),
        (100.0, 5, bursty, 15.0, 25.0),
    ] {
        let world = of(load, slot, noise, Defect::Outage);
        add(format!("outage, {noise:?}"), world, errors(), Must::Found(median, p95));
    }
    for (extra, load, slot, noise, median, p95) in [
        (0.195, 20.0, 1, steady, 3.0, 5.0),
        (0.195, 100.0, 1, steady, 3.0, 5.0),
        (0.195, 1.0, 1, steady, 35.0, 76.0),
        (0.195, 20.0, 1, bursty, 28.0, 44.0),
        (0.195, 100.0, 1, bursty, 28.0, 44.0),
        (0.195, 10.0, 5, steady, 15.0, 15.0),
        (0.195, 100.0, 5, steady, 15.0, 15.0),
        (0.195, 1.0, 5, steady, 35.0, 65.0),
        (0.195, 10.0, 5, bursty, 25.0, 40.0),
        (0.195, 100.0, 5, bursty, 25.0, 40.0),
        (0.045, 10.0, 5, steady, 25.0, 50.0),
        (0.045, 100.0, 5, steady, 15.0, 15.0),
        (0.045, 1.0, 5, steady, 195.0, 420.0),
        (0.045, 10.0, 5, bursty, 190.0, 295.0),
        (0.045, 100.0, 5, bursty, 190.0, 295.0),
        (0.02, 10.0, 5, steady, 75.0, 145.0),
        (0.02, 100.0, 5, steady, 15.0, 25.0),
        (0.02, 100.0, 5, bursty, 360.0, 480.0),
    ] {
        let world = of(load, slot, noise, share(extra));
        add(format!("{} %, {noise:?}", (extra + 0.005) * 100.0), world, errors(), Must::Found(median, p95));
    }
    for (load, noise) in [(10.0, steady), (100.0, steady)] {
        let world = of(load, 5, noise, Defect::Errors { share: 0.045, from: 900.0 });
        add("5 % after 15 minutes".into(), world, errors(), Must::FoundLate(150.0));
    }
    // The usual criterion, far from what stable does: a fault that begins after a minute.
    for (load, canary_pods, median, p95) in [(20.0, 1, 5.0, 9.0), (100.0, 1, 3.0, 4.0), (20.0, 5, 3.0, 4.0)] {
        let defect = Defect::Errors { share: 0.2, from: 60.0 };
        let pods = World { canary_pods, stable_pods: 10 - canary_pods, ..World::usual(load, 1) };
        let world = World { mean: 0.0, defect, ..pods };
        let measure = Measure::ErrorRate { target: 0.01, limit: 0.05 };
        let criterion = Criterion { measure, ..errors() };
        add("20 % after a minute, limit 5 %".into(), world, criterion, Must::Found(median, p95));
    }
    for (load, seconds) in [(10.0, 205.0), (100.0, 30.0)] {
        add("a good one passes".into(), World::usual(load, 5), errors(), Must::Passes(seconds));
    }
    for load in [10.0, 100.0] {
        let world = of(load, 5, steady, share(0.045));
        add("5 % never passes".into(), world, errors(), Must::NeverPasses);
    }
    for (times, must) in [(1.0, Must::FalseAborts(0.0)), (1.5, Must::Found(225.0, 420.0))] {
        let world = of(1.0, 5, steady, Defect::Slow { times });
        add(format!("p99 of {:.0} ms against 500 ms", 350.0 * times), world, latency(), must);
    }
    cells
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    breach: Option<f64>,
    pass: Option<f64>,
}

impl Cell {
    /// Plays so many runs, on both cores.
    pub fn play(&self, runs: u64, history: bool) -> Reached {
        let next = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut ended = Vec::new();
        std::thread::scope(|scope| {
            let work = || {
                let mut mine = Vec::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        return mine;
                    }
                    mine.push(self.run(seed, history));
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                ended.extend(worker.join().unwrap_or_default());
            }
        });
        self.reached(&ended)
    }

    fn run(&self, seed: u64, history: bool) -> Ended {
        let criteria = [self.criterion.clone()];
        let settings = Settings { slot_seconds: self.world.slot as u32, ..Settings::default() };
        let mut state = State::default();
        if history {
            let mut before = Play::new(World { slot: HISTORY_SLOT, ..self.world }, seed ^ 0x5EED_0000_0000);
            for at in 0..HISTORY_SECONDS / HISTORY_SLOT {
                let slots = before.slots(at * HISTORY_SLOT - HISTORY_SECONDS);
                learn(&criteria, &mut state, &slots);
            }
        }
        let mut play = Play::new(self.world, seed);
        let until_pass = matches!(self.must, Must::Passes(_) | Must::NeverPasses);
        let mut ended = Ended::default();
        for at in 0..RUN_SECONDS / self.world.slot {
            let t = at * self.world.slot;
            fold(&criteria, &mut state, &play.slots(t), &settings);
            let now = (t + self.world.slot) as f64;
            if state.criteria.values().any(|memory| memory.breached_at.is_some()) {
                ended.breach = Some(now);
                return ended;
            }
            if until_pass && judge(&criteria, &state, &settings)[0].verdict == Verdict::Pass {
                ended.pass = Some(now);
                return ended;
            }
        }
        ended
    }

    fn reached(&self, ended: &[Ended]) -> Reached {
        let runs = ended.len() as f64;
        let quantile = |mut times: Vec<f64>, share: f64| {
            times.sort_by(f64::total_cmp);
            times[((times.len() - 1) as f64 * share).round() as usize]
        };
        let from = match self.world.defect {
            Defect::Errors { from, .. } => from,
            Defect::None | Defect::Outage | Defect::Slow { .. } => 0.0,
        };
        let breaches = |share| {
            let time = |end: &Ended| end.breach.map_or(f64::INFINITY, |at| at - from);
            quantile(ended.iter().map(time).collect(), share)
        };
        match self.must {
            Must::FalseAborts(most) => {
                let aborts = ended.iter().filter(|end| end.breach.is_some()).count() as f64;
                // What chance adds at so few runs is not held against it.
                let spread =
                    if runs >= 10_000.0 { 0.0 } else { 2.6 * (most.max(0.01) / 100.0 / runs).sqrt() };
                let share = aborts / runs;
                Reached { text: format!("{:.2} %", share * 100.0), held: share <= most / 100.0 + spread }
            }
            Must::Found(median, p95) => {
                let (m, p) = (breaches(0.5), breaches(0.95));
                let early = ended.iter().filter(|end| end.breach.is_some_and(|at| at <= from)).count();
                Reached { text: format!("{m:.0} / {p:.0} s"), held: m <= median && p <= p95 && early == 0 }
            }
            Must::FoundLate(p95) => {
                let p = breaches(0.95);
                Reached { text: format!("p95 {p:.0} s"), held: p <= p95 }
            }
            Must::Passes(median) => {
                let times = ended.iter().map(|end| end.pass.unwrap_or(f64::INFINITY)).collect();
                let m = quantile(times, 0.5);
                Reached { text: format!("{m:.0} s"), held: m <= median }
            }
            Must::NeverPasses => {
                let passes = ended.iter().filter(|end| end.pass.is_some()).count();
                Reached { text: format!("{passes} of {runs}"), held: passes == 0 }
            }
        }
    }

    /// What must be, for people.
    pub fn wanted(&self) -> String {
        match self.must {
            Must::FalseAborts(most) => format!("<= {most} %"),
            Must::Found(median, p95) => format!("<= {median} / {p95} s"),
            Must::FoundLate(p95) => format!("p95 <= {p95} s"),
            Must::Passes(median) => format!("<= {median} s"),
            Must::NeverPasses => "0".into(),
        }
    }
}
