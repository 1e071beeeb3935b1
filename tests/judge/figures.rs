//! How soon and how wrongly, by simulation with fixed seeds.

use tidegate::decide::judge::{Settings, Slot, State, Verdict, begin_step, fold, judge};

use super::{Dice, canary, errors, stable};

/// Pods with the same load each.
struct World {
    canary_pods: f64,
    stable_pods: f64,
    limit: f64,
    /// Criteria α is split over.
    alpha: f64,
    /// Requests a second and pod.
    load: f64,
    /// Seconds a slot.
    slot: u32,
    /// Error rate at second `t`, of the canary and of stable (below 0: it does not report).
    rates: fn(t: f64, onset: f64) -> (f64, f64),
    /// Slots a run.
    slots: i64,
}

impl World {
    /// The slots of the first breach and of the first pass; stops at a breach, and at a pass if
    /// `until_pass`.
    fn run(&self, seed: u64, onset: f64, steps: &[i64], until_pass: bool) -> [Option<i64>; 2] {
        let criteria = [errors(self.limit, self.limit)];
        let settings = Settings { alpha: self.alpha, slot_seconds: self.slot, ..Settings::default() };
        let mut dice = Dice::new(seed);
        let mut state = State::default();
        let mean = self.load * f64::from(self.slot);
        for at in 0..self.slots {
            if steps.contains(&at) {
                begin_step(&mut state);
            }
            let t = at * i64::from(self.slot);
            let (bad, usual) = (self.rates)(t as f64, onset);
            let requests = dice.poisson(mean * self.canary_pods);
            let mut lines: Vec<Slot> = vec![canary(t, requests, dice.binomial(requests, bad))];
            if usual >= 0.0 {
                let requests = dice.poisson(mean * self.stable_pods);
                lines.push(stable(t, requests, dice.binomial(requests, usual)));
            }
            fold(&criteria, &mut state, &lines, &settings);
            if state.criteria["errors"].breached_at.is_some() {
                return [Some(at), None];
            }
            if until_pass && judge(&criteria, &state, &settings)[0].verdict == Verdict::Pass {
                return [None, Some(at)];
            }
        }
        [None, None]
    }

    /// Slots from the onset to the breach, the slow ones last.
    fn delays(&self, runs: u64, onset: impl Fn(&mut Dice) -> i64) -> Vec<i64> {
        let mut delays: Vec<i64> = (0..runs)
            .map(|seed| {
                let start = onset(&mut Dice::new(seed + 1_000_000));
                let seconds = (start * i64::from(self.slot)) as f64;
                match self.run(seed, seconds, &[], false)[0] {
                    Some(at) => at - start + 1,
                    None => i64::MAX,
                }
            })
            .collect();
        delays.sort_unstable();
        delays
    }

    fn breaches(&self, runs: u64, steps: &[i64]) -> usize {
        (0..runs).filter(|seed| self.run(seed + 5_000_000, 0.0, steps, false)[0].is_some()).count()
    }
}

/// (median, 95th percentile, 99th, largest)
fn summary(what: &str, delays: &[i64]) -> (i64, i64, i64, i64) {
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
    let summary = (at(0.5), at(0.95), at(0.99), at(1.0));
    println!("{what}: median, p95, p99, max = {summary:?} slots");
    summary
}

/// 0.3 % and then 20 %; stable 0.3 % throughout.
fn late_fifth(t: f64, onset: f64) -> (f64, f64) {
    (if t < onset { 0.003 } else { 0.2 }, 0.003)
}

/// The same with no stable pods that report.
fn late_fifth_alone(t: f64, onset: f64) -> (f64, f64) {
    (late_fifth(t, onset).0, -1.0)
}

fn within_two_minutes(dice: &mut Dice) -> i64 {
    (dice.uniform() * 121.0) as i64
}

#[test]
fn a_fault_that_starts_within_two_minutes_is_found_in_seconds() {
    for (load, rates, median, p95, max) in [
        (20.0, late_fifth as fn(f64, f64) -> (f64, f64), 6, 10, 20),
        (20.0, late_fifth_alone, 6, 10, 20),
        (100.0, late_fifth, 4, 4, 5),
        (100.0, late_fifth_alone, 4, 4, 5),
    ] {
        let world = World {
            canary_pods: 1.0,
            stable_pods: 9.0,
            limit: 0.05,
            alpha: 0.005,
            load,
            slot: 1,
            rates,
            slots: 200,
        };
        let delays = world.delays(1000, within_two_minutes);
        let before = delays.iter().filter(|delay| **delay < 1).count();
        assert_eq!(before, 0, "breaches before the fault");
        let seen = summary(&format!("20 % against 5 %, {load} rps"), &delays);
        assert!(seen.0 <= median && seen.1 <= p95 && seen.3 <= max, "{seen:?}");
    }
}

#[test]
fn a_fault_that_starts_after_a_quarter_of_an_hour_is_found() {
    for (load, bad, limit_p95) in [(10.0, 0.2, 6), (10.0, 0.05, 30), (100.0, 0.05, 6)] {
        let world = World {
            canary_pods: 1.0,
            stable_pods: 9.0,
            limit: 0.01,
            alpha: 0.01,
            load,
            slot: 5,
            rates: if bad == 0.2 {
                |t, onset| (if t < onset { 0.005 } else { 0.2 }, 0.005)
            } else {
                |t, onset| (if t < onset { 0.005 } else { 0.05 }, 0.005)
            },
            slots: 360,
        };
        let delays = world.delays(200, |_| 180);
        let what = format!("{bad} against 1 % after 15 min, {load} rps, slots of 5 s");
        let seen = summary(&what, &delays);
        assert!(seen.1 <= limit_p95, "{seen:?}");
    }
}

#[test]
fn a_fault_from_the_start_is_found_as_soon_as_the_prototype_found_it() {
    let outage: fn(f64, f64) -> (f64, f64) = |_, _| (1.0, 0.005);
    let fifth: fn(f64, f64) -> (f64, f64) = |_, _| (0.2, 0.005);
    let twentieth: fn(f64, f64) -> (f64, f64) = |_, _| (0.05, 0.005);
    for (what, rates, load, slot, median, p95) in [
        ("outage", outage, 20.0, 1, 3, 3),
        ("outage", outage, 1.0, 1, 6, 11),
        ("outage", outage, 1.0, 5, 3, 3),
        ("20 %", fifth, 20.0, 1, 3, 5),
        ("20 %", fifth, 1.0, 1, 35, 76),
        ("20 %", fifth, 10.0, 5, 3, 3),
        ("20 %", fifth, 1.0, 5, 7, 13),
        ("5 %", twentieth, 10.0, 5, 5, 10),
        ("5 %", twentieth, 100.0, 5, 3, 3),
        ("5 %", twentieth, 1.0, 5, 39, 84),
    ] {
        let world = World {
            canary_pods: 1.0,
            stable_pods: 9.0,
            limit: 0.01,
            alpha: 0.01,
            load,
            slot,
            rates,
            slots: 360,
        };
        let delays = world.delays(400, |_| 0);
        let seen = summary(&format!("{what} against 1 %, {load} rps, slots of {slot} s"), &delays);
        assert!(seen.0 <= median && seen.1 <= p95, "{seen:?}");
    }
}

#[test]
fn a_release_that_is_no_worse_than_its_limit_is_hardly_ever_undone() {
    let at_limit: fn(f64, f64) -> (f64, f64) = |_, _| (0.01, -1.0);
    let half: fn(f64, f64) -> (f64, f64) = |_, _| (0.005, -1.0);
    let near: fn(f64, f64) -> (f64, f64) = |_, _| (0.009, 0.009);
    let incident: fn(f64, f64) -> (f64, f64) = |t, _| {
        let rate = if (300.0..480.0).contains(&t) { 0.05 } else { 0.005 };
        (rate, rate)
    };
    for (what, rates, stable_pods, load, slot, slots) in [
        ("at the limit, 10 rps", at_limit, 0.0, 10.0, 1, 1800),
        ("at the limit, 0.5 rps", at_limit, 0.0, 0.5, 1, 1800),
        ("at the limit, 100 rps", at_limit, 0.0, 100.0, 5, 360),
        ("0.5 %, 20 rps", half, 0.0, 20.0, 1, 1800),
        ("near the budget", near, 9.0, 20.0, 1, 600),
        ("shared incident, 10 rps", incident, 9.0, 10.0, 1, 600),
        ("shared incident, 1 rps", incident, 9.0, 1.0, 5, 360),
        ("shared incident, half and half", incident, 1.0, 10.0, 1, 600),
        ("shared incident, little traffic", incident, 1.0, 1.0, 1, 600),
    ] {
        let world =
            World { canary_pods: 1.0, stable_pods, limit: 0.01, alpha: 0.01, load, slot, rates, slots };
        let runs = 200;
        let undone = world.breaches(runs, &[60, 300]);
        println!("{what}: {undone} of {runs} undone");
        assert!(undone * 100 <= runs as usize, "{what}: {undone}");
    }
}

#[test]
fn a_bad_canary_never_passes_and_a_good_one_does() {
    let world = |rates, load, slots| World {
        canary_pods: 1.0,
        stable_pods: 9.0,
        limit: 0.01,
        alpha: 0.01,
        load,
        slot: 5,
        rates,
        slots,
    };
    let bad = world(|_, _| (0.05, 0.005), 10.0, 360);
    let passed = (0..400).filter(|seed| bad.run(*seed, 0.0, &[], true)[1].is_some());
    assert_eq!(passed.count(), 0);
    // 205 s and 30 s.
    for (load, slots) in [(10.0, 41), (100.0, 6)] {
        let good = world(|_, _| (0.005, 0.005), load, slots);
        let passed = (0..400).filter(|seed| good.run(*seed, 0.0, &[], true)[1].is_some());
        let passed = passed.count();
        println!("0.5 % against 1 % at {load} rps: {passed} of 400 within {slots} slots");
        assert!(passed >= 200);
    }
}
