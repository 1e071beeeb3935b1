//! Copies the tree, makes one bug after the other in the copy, and runs the tests that have to notice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Error, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Parser;
use tidegate_sim::mutants::{MUTANTS, Mutant};

/// Tests of which none has ended for so long do not pass: a bug can make them turn in circles.
const LONGEST: Duration = Duration::from_secs(1800);

/// Bugs made on purpose: which do the tests notice?
#[derive(Parser)]
struct Asked {
    /// Where the copy goes.
    #[arg(long, default_value = "target/mutants")]
    copy: PathBuf,
    /// Only bugs with these words in their names.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    if let Err(error) = copy(&asked.copy) {
        eprintln!("mutants: cannot copy the tree: {error}");
        return ExitCode::FAILURE;
    }
    let wanted: Vec<&Mutant> = MUTANTS.iter().filter(|mutant| mutant.name.contains(&asked.only)).collect();
    if wanted.is_empty() {
        eprintln!("mutants: no bug has these words in its name: {}", asked.only);
        return ExitCode::FAILURE;
    }
    // What fails anyway notices nothing.
    let runs: BTreeSet<&[&str]> = wanted.iter().map(|mutant| mutant.noticed_by).collect();
    for run in runs {
        let ended = builds(&asked.copy, run).and_then(|_| test(&asked.copy, run));
        let failed = match ended {
            Ok(Ended::Passed) => continue,
            Ok(Ended::Failed(test)) => test,
            Ok(Ended::Never) => never(),
            Err(error) => error.to_string(),
        };
        eprintln!("mutants: without any bug, cargo test {} fails: {failed}", run.join(" "));
        return ExitCode::FAILURE;
    }
    let mut caught = 0;
    for mutant in &wanted {
        match noticed(&asked.copy, mutant) {
            Ok(Noticed::By(test)) => {
                caught += 1;
                println!("caught: {} (by {test})", mutant.name);
            }
            Ok(Noticed::ByNobody) => {
                println!("NOT CAUGHT: {} ({})", mutant.name, mutant.noticed_by.join(" "))
            }
            Ok(Noticed::ByNoEnd) => println!("NOT CAUGHT: {}: {}", mutant.name, never()),
            Ok(Noticed::ByTheCompiler) => println!("does not compile: {}", mutant.name),
            Err(error) => println!("could not be tried: {}: {error}", mutant.name),
        }
    }
    println!("mutants: bugs={} caught={caught}", wanted.len());
    if caught == wanted.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Noticed {
    /// The first test that failed.
    By(String),
    ByNobody,
    /// No test has failed, and none comes to its end.
    ByNoEnd,
    ByTheCompiler,
}

fn noticed(copy: &Path, mutant: &Mutant) -> Result<Noticed> {
    let file = copy.join(mutant.file);
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replacen(mutant.finds, mutant.becomes, 1))?;
    let noticed = match builds(copy, mutant.noticed_by) {
        Ok(true) => test(copy, mutant.noticed_by).map(|ended| match ended {
            Ended::Passed => Noticed::ByNobody,
            Ended::Failed(test) => Noticed::By(test),
            Ended::Never => Noticed::ByNoEnd,
        }),
        Ok(false) => Ok(Noticed::ByTheCompiler),
        Err(error) => Err(error),
    };
    std::fs::write(&file, text)?;
    noticed
}

enum Ended {
    Passed,
    Failed(String),
    /// No test has ended for [`LONGEST`].
    Never,
}

fn never() -> String {
    format!("no test has ended for {} s", LONGEST.as_secs())
}

/// Builds tests, for as long as that takes.
fn builds(copy: &Path, tests: &[&str]) -> Result<bool> {
    Ok(cargo(copy, tests).arg("--no-run").stdout(Stdio::null()).status()?.success())
}

/// Runs tests that are built, until one fails.
fn test(copy: &Path, tests: &[&str]) -> Result<Ended> {
    let mut child = cargo(copy, tests).stdout(Stdio::piped()).spawn()?;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let (sender, said) = mpsc::channel();
    // It ends with the last process that can write to the pipe.
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    loop {
        match said.recv_timeout(LONGEST) {
            Ok(line) => {
                let failed = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
                if let Some(test) = failed {
                    end(&mut child)?;
                    return Ok(Ended::Failed(test.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child)?;
                return Ok(Ended::Never);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    Ok(if status.success() { Ended::Passed } else { Ended::Failed(status.to_string()) })
}

/// Ends cargo, and all that it has started.
fn end(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status()?;
    child.wait()?;
    if killed.success() { Ok(()) } else { Err(Error::other(format!("kill: {killed}"))) }
}

fn cargo(copy: &Path, tests: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    // In a directory of its own: cargo takes the copy's packages for those that they are copies of.
    command.current_dir(copy).args(["test", "--workspace", "--target-dir", "target"]).args(tests);
    command.stdin(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command
}

/// What git knows of, as it stands here.
fn copy(to: &Path) -> Result<()> {
    let listed =
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    for file in String::from_utf8_lossy(&listed.stdout).lines().map(Path::new).filter(|file| file.exists()) {
        let there = to.join(file);
        if let Some(parent) = there.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Left alone where nothing has changed: it would be built anew.
        let text = std::fs::read(file)?;
        if std::fs::read(&there).ok().as_ref() != Some(&text) {
            std::fs::write(&there, text)?;
        }
    }
    Ok(())
}
