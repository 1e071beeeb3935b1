//! Rules about migrations: what changes a schema is written in `spec.migrations`, where it has its order and its moment, and not in a check, nor
//! in the pods themselves.
//!
//! What a container runs is evidence: a call of one of [`TOOLS`] that changes something. A name is a guess, and warned of at most, unless it
//! contradicts the `kind` that stands beside it.

use serde_json::Value;

use super::command::{commands, program};
use super::workload::containers;
use super::{Found, Subject};
use crate::api::Check;
use crate::api::migration::{Migration, MigrationKind};

/// Words in a row.
type Words = &'static [&'static str];

/// A tool of migrations.
struct Tool {
    /// What it is called by.
    programs: Words,
    /// What follows, somewhere behind it, when it is to change something.
    calls: &'static [Words],
}

const TOOLS: [Tool; 20] = [
    tool(&["flyway"], &[&["migrate"]]),
    tool(&["liquibase"], &[&["update"], &["update-count"], &["update-to-tag"]]),
    tool(&["alembic"], &[&["upgrade"]]),
    tool(&["flask"], &[&["db", "upgrade"]]),
    tool(&["prisma"], &[&["migrate", "deploy"], &["db", "push"]]),
    tool(&["rails", "rake"], &[&["db:migrate"], &["db:prepare"]]),
    tool(&["manage.py", "django-admin"], &[&["migrate"]]),
    tool(&["goose"], &[&["up"], &["up-to"], &["up-by-one"]]),
    tool(&["dbmate"], &[&["up"], &["migrate"]]),
    // Of golang-migrate.
    tool(&["migrate"], &[&["up"], &["goto"]]),
    tool(&["atlas"], &[&["migrate", "apply"], &["schema", "apply"]]),
    tool(&["knex"], &[&["migrate:latest"], &["migrate:up"]]),
    tool(&["sequelize", "sequelize-cli"], &[&["db:migrate"]]),
    tool(&["typeorm", "typeorm-ts-node-commonjs", "typeorm-ts-node-esm"], &[&["migration:run"]]),
    tool(&["sqlx"], &[&["migrate", "run"]]),
    tool(&["diesel"], &[&["migration", "run"]]),
    // Of Laravel.
    tool(&["artisan"], &[&["migrate"]]),
    // Of Doctrine.
    tool(&["console", "doctrine"], &[&["doctrine:migrations:migrate"], &["migrations:migrate"]]),
    tool(&["dotnet", "dotnet-ef"], &[&["database", "update"]]),
    tool(&["mix"], &[&["ecto.migrate"]]),
];

const fn tool(programs: Words, calls: &'static [Words]) -> Tool {
    Tool { programs, calls }
}

/// Options with which a tool says what it would do, and does not.
const ONLY_SAYS: [&str; 8] = ["dry-run", "dryrun", "dryrunoutput", "plan", "check", "pretend", "sql", "help"];
/// What these are given is not run.
const PRINTS: [&str; 2] = ["echo", "printf"];

/// The call by which a container changes a schema, in the words of [`TOOLS`]: `flyway migrate`.
fn call(container: &Value) -> Option<String> {
    commands(container).iter().find_map(|words| called(words))
}

fn called(words: &[String]) -> Option<String> {
    TOOLS.iter().find_map(|Tool { programs, calls }| {
        let at = words.iter().position(|word| programs.contains(&program(word)))?;
        let (before, rest) = (&words[..at], &words[at + 1..]);
        let is_run = !before.iter().any(|word| PRINTS.contains(&program(word)));
        let call = calls.iter().find(|call| rest.windows(call.len()).any(|window| window == **call))?;
        (is_run && !rest.iter().any(|word| only_says(word)))
            .then(|| format!("{} {}", program(&words[at]), call.join(" ")))
    })
}

fn only_says(word: &str) -> bool {
    let option = word.strip_prefix('-').map(|option| option.trim_start_matches('-'));
    let name = option.and_then(|option| option.split('=').next()).unwrap_or_default();
    ONLY_SAYS.contains(&&*name.to_ascii_lowercase())
}

/// The call by which the Job of a check changes a schema.
fn call_of(check: &Check) -> Option<String> {
    let job = check.job.as_ref()?;
    let pods = &job.template["spec"]["template"];
    containers(pods).find_map(|(_, container)| call(container))
}

/// A check that only has the name of one.
fn is_called_so(check: &Check) -> bool {
    check.job.is_some() && check.name.contains("migrat")
}

/// What a step's check changes, the code that needs it came before.
pub fn late(subject: &Subject<'_>, found: &mut Found) {
    for (step, index, check) in of_steps(subject) {
        let Some(call) = call_of(check) else { continue };
        let problem = format!(
            "code before its migration: check '{}' runs {call} when pods of the new version serve already",
            check.name
        );
        let fix = "write it in spec.migrations: with kind Expand it runs before the first pod";
        found.add(format!("spec.steps[{step}].checks[{index}]"), problem, fix);
    }
}

fn of_steps<'s>(subject: &Subject<'s>) -> impl Iterator<Item = (usize, usize, &'s Check)> {
    let steps = subject.spec.steps.iter().enumerate();
    steps.flat_map(|(step, it)| it.checks.iter().enumerate().map(move |(index, check)| (step, index, check)))
}

/// A migration is not called the contrary of its kind.
pub fn kinds(subject: &Subject<'_>, found: &mut Found) {
    for (index, Migration { name, kind, .. }) in subject.spec.migrations.iter().enumerate() {
        let says = |word: &str| name.split('-').any(|part| part == word);
        // `add-contract-number` adds something to a table of contracts.
        let contracts = says("contract") && !["expand", "add", "create"].iter().any(|word| says(word));
        let expands = says("expand") && !says("contract");
        let (problem, fix) = match kind {
            MigrationKind::Contract if expands => (
                "code before its expand migration: by its name it expands, and kind Contract runs after the watch",
                "write kind: Expand, or name it for what it does",
            ),
            MigrationKind::Expand if contracts => (
                "by its name it contracts, and kind Expand runs before the first pod, while the stable version still needs what it takes away",
                "write kind: Contract, or name it for what it does",
            ),
            MigrationKind::Contract | MigrationKind::Expand | MigrationKind::Irreversible => continue,
        };
        found.add(format!("spec.migrations[{index}].kind"), format!("migration '{name}': {problem}"), fix);
    }
}

/// What runs before the first pod has the order in which it is written.
pub fn unordered(subject: &Subject<'_>, found: &mut Found) {
    let fix = "write it in spec.migrations, which run in their order before the first pod";
    for (index, check) in subject.spec.preflight.iter().enumerate() {
        let Check { name, .. } = check;
        let problem = match call_of(check) {
            Some(call) => {
                format!(
                    "check '{name}' runs {call}: checks run all at the same time, and wait for no signature"
                )
            }
            None if is_called_so(check) => {
                format!("check '{name}' looks like a migration: checks run all at the same time")
            }
            None => continue,
        };
        found.add(format!("spec.preflight[{index}]"), problem, fix);
    }
    for (step, index, check) in of_steps(subject).filter(|(_, _, check)| is_called_so(check)) {
        let problem = format!(
            "check '{}' looks like a migration: it runs when pods of the new version serve already",
            check.name
        );
        found.add(format!("spec.steps[{step}].checks[{index}]"), problem, fix);
    }
    let written = &subject.spec.migrations;
    let contracts = |migration: &Migration| migration.kind == MigrationKind::Contract;
    let first = written.iter().position(contracts).unwrap_or(written.len());
    for (index, later) in written.iter().enumerate().skip(first).filter(|(_, later)| !contracts(later)) {
        let problem = format!(
            "migration '{}' is written after '{}' and runs before it: those of kind Contract run after the watch",
            later.name, written[first].name
        );
        found.add(format!("spec.migrations[{index}]"), problem, "write those of kind Contract last");
    }
}

/// Pods change no schema as they start.
pub fn of_each_pod(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    for (path, container) in containers(workload.template) {
        let Some(call) = call(container) else { continue };
        let problem = format!(
            "it runs {call}: each new pod does so for itself as it starts, while the stable version serves, and no run knows how it ended"
        );
        let fix = "write it in spec.migrations of the Release: once, in its order, before the first pod";
        found.add(path, problem, fix);
    }
}
