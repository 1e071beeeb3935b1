//! Copies the tree, makes one bug after the other in the copy, and runs the tests that have to notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use clap::Parser;
use tidegate_sim::mutants::{MUTANTS, Mutant};

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
    // What fails anyway notices nothing.
    let runs: BTreeSet<&[&str]> = wanted.iter().map(|mutant| mutant.noticed_by).collect();
    for run in runs {
        if !cargo(&asked.copy, run, true).is_ok_and(|status| status.success()) {
            eprintln!("mutants: without any bug, cargo test {} fails", run.join(" "));
            return ExitCode::FAILURE;
        }
    }
    let mut caught = 0;
    for mutant in &wanted {
        let what = match noticed(&asked.copy, mutant) {
            Ok(Noticed::Tests) => {
                caught += 1;
                "caught"
            }
            Ok(Noticed::Nobody) => "NOT CAUGHT",
            Ok(Noticed::Compiler) => "does not compile",
            Err(error) => {
                eprintln!("{}: {error}", mutant.name);
                "could not be tried"
            }
        };
        println!("{what}: {} ({})", mutant.name, mutant.noticed_by.join(" "));
    }
    println!("mutants: bugs={} caught={caught}", wanted.len());
    if caught == wanted.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Noticed {
    Tests,
    Nobody,
    Compiler,
}

fn noticed(copy: &Path, mutant: &Mutant) -> std::io::Result<Noticed> {
    let file = copy.join(mutant.file);
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replacen(mutant.finds, mutant.becomes, 1))?;
    let built = cargo(copy, mutant.noticed_by, false);
    let passed = match &built {
        Ok(status) if status.success() => cargo(copy, mutant.noticed_by, true).map(|status| status.success()),
        Ok(_) | Err(_) => Ok(false),
    };
    std::fs::write(&file, text)?;
    Ok(match (built?.success(), passed?) {
        (false, _) => Noticed::Compiler,
        (true, true) => Noticed::Nobody,
        (true, false) => Noticed::Tests,
    })
}

/// Builds tests, and runs them or not.
fn cargo(copy: &Path, tests: &[&str], run: bool) -> std::io::Result<ExitStatus> {
    let mut command = Command::new("cargo");
    command.current_dir(copy).args(["test", "--workspace", "--quiet"]).args(tests);
    if !run {
        command.arg("--no-run");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
}

/// What git knows of, as it stands here.
fn copy(to: &Path) -> std::io::Result<()> {
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
