//! The operator.

use std::process::ExitCode;

use clap::Parser;
use tidegate::api::crds;
use tidegate::run::settings::{Command, Settings};

fn main() -> ExitCode {
    let settings = Settings::parse();
    let done = match settings.command.clone() {
        Some(Command::Crds { out }) => print_crds(out.as_deref()),
        None => operate(settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn operate(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(tidegate::run::run(settings))
}

fn print_crds(out: Option<&std::path::Path>) -> anyhow::Result<()> {
    for (name, yaml) in crds::all() {
        match out {
            Some(directory) => {
                std::fs::create_dir_all(directory)?;
                std::fs::write(directory.join(name), yaml)?;
            }
            None => println!("---\n{yaml}"),
        }
    }
    Ok(())
}
