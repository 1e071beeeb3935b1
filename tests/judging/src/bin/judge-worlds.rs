//! `make judge-worlds`: what the judge must reach in each simulated world, and what it reaches.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tidegate_judging::table::cells;

/// Plays the worlds and prints the table; the exit code is 1 when something that must be reached is not.
#[derive(Parser)]
struct Args {
    /// Runs a cell.
    #[arg(long, default_value_t = 1000)]
    runs: u64,
    /// Only cells whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// No history of stable pods before the run.
    #[arg(long)]
    no_history: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let began = Instant::now();
    let (mut held, mut missed) = (0, 0);
    println!("{:<34} {:>6} {:>5}  {:<18} {:<18}", "world", "rps", "slot", "must", "reached");
    for cell in cells().iter().filter(|cell| cell.name.contains(&args.only)) {
        let reached = cell.play(args.runs, !args.no_history);
        let mark = if reached.held { "" } else { "MISSED" };
        *if reached.held { &mut held } else { &mut missed } += 1;
        let (load, slot) = (cell.world.load, cell.world.slot);
        println!("{:<34} {load:>6} {slot:>4}s  {:<18} {:<18} {mark}", cell.name, cell.wanted(), reached.text);
    }
    let seconds = began.elapsed().as_secs();
    println!("judge-worlds: held={held} missed={missed} runs={} seconds={seconds}", args.runs);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
