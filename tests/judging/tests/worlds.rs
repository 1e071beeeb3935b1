//! The table of `make judge-worlds`, shortened: few runs, and not the worlds that take long.

use tidegate_judging::table::{Cell, cells};

fn held(wanted: impl Fn(&Cell) -> bool, runs: u64) {
    let mut missed = Vec::new();
    let mut played = 0;
    for cell in cells().iter().filter(|cell| wanted(cell)) {
        let reached = cell.play(runs, true);
        played += 1;
        if !reached.held {
            missed.push(format!(
                "{} at {} rps, slots of {} s: {}, wanted {}",
                cell.name,
                cell.world.load,
                cell.world.slot,
                reached.text,
                cell.wanted()
            ));
        }
    }
    assert!(played > 0);
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn good_releases_are_left_alone_also_when_errors_come_in_bursts_and_everybody_fails() {
    let few = |cell: &Cell| cell.world.slot == 5 && cell.world.load == 10.0;
    held(|cell| cell.name.starts_with("good: ") && few(cell), 20);
}

#[test]
fn what_is_wrong_is_found_in_time() {
    held(|cell| cell.name.starts_with("outage") && cell.world.load <= 20.0, 100);
    held(|cell| cell.name.starts_with("20 %, Steady") && cell.world.load <= 20.0, 100);
    held(|cell| cell.name.starts_with("p99"), 20);
}
