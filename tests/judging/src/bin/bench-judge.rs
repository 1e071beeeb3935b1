//! `make bench-judge`: what one evaluation costs with an hour of slots behind it, and how large the state is that is kept in status.

use std::process::ExitCode;
use std::time::Instant;

use tidegate::decide::judge::{
    Criterion, Measure, OnLimit, OnUnknown, Revision, Settings, State, fold, judge, learn,
};
use tidegate_judging::worlds::{Defect, Play, World};

/// An hour in slots of five seconds.
const SLOTS: i64 = 720;
/// Slots that are timed.
const TIMED: i64 = 20_000;

fn main() -> ExitCode {
    let of = |name: &str, measure| Criterion {
        name: name.into(),
        measure,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    };
    let criteria = [
        of("errors", Measure::ErrorRate { target: 0.01, limit: 0.05 }),
        of("latency", Measure::Latency { quantile: 0.99, target: 0.5, limit: 1.0 }),
        of("slower", Measure::LatencyOfStable { quantile: 0.95, limit: 0.5, ignore_below: 0.1 }),
    ];
    let settings = Settings { slot_seconds: 5, ..Settings::default() };
    // Latencies are only counted in a world where something is slower, be it by nothing.
    let world = World { defect: Defect::Slow { times: 1.0 }, mean: 0.001, ..World::usual(20.0, 5) };
    let mut play = Play::new(world, 1);
    let mut state = State::default();
    state.read_with("0123456789ab");
    let history: Vec<_> = (-SLOTS..0).flat_map(|at| play.slots(at * 5)).collect();
    learn(&criteria, &mut state, &history);
    for at in 0..SLOTS {
        fold(&criteria, &mut state, &play.slots(at * 5), &settings);
    }
    let slots: Vec<Vec<_>> = (SLOTS..SLOTS + TIMED).map(|at| play.slots(at * 5)).collect();
    let pods = slots[0].iter().filter(|slot| slot.revision == Revision::Stable).count() + world.canary_pods;
    let began = Instant::now();
    for lines in &slots {
        fold(&criteria, &mut state, lines, &settings);
    }
    let folded = began.elapsed().as_secs_f64() * 1e6 / TIMED as f64;
    let began = Instant::now();
    let mut said = 0;
    for _ in 0..TIMED {
        said += judge(&criteria, &state, &settings).len();
    }
    let judged = began.elapsed().as_secs_f64() * 1e6 / TIMED as f64;
    let bytes = serde_json::to_string(&state).map_or(0, |text| text.len());
    println!("{pods} pods, {} criteria, {SLOTS} slots before; {said} judgements", criteria.len());
    let aims = [("slot_us", folded + judged, 50.0), ("state_bytes", bytes as f64, 4096.0)];
    for (name, value, aim) in aims {
        println!("{name}: {value:.1}, aim {aim}{}", if value <= aim { "" } else { ": MISSED" });
    }
    let line = format!(
        "bench-judge: fold_us={folded:.2} judge_us={judged:.2} slot_us={:.2} state_bytes={bytes}",
        folded + judged
    );
    let json = serde_json::json!({"fold_us": folded, "judge_us": judged, "state_bytes": bytes});
    let written = std::fs::create_dir_all("target/bench")
        .and_then(|()| std::fs::write("target/bench/bench-judge.json", json.to_string()));
    if let Err(error) = written {
        eprintln!("target/bench/bench-judge.json: {error}");
        return ExitCode::FAILURE;
    }
    println!("{line}");
    ExitCode::SUCCESS
}
