//! What benchmarks have in common: a spread of figures, aims that are compared and not enforced, a file and a line for machines, which
//! comes however a benchmark ends.

use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::cluster::repository;

/// Figures of the same thing, in the unit their name says.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// One more.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The lower one of the two in the middle, when there are two.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
    }

    /// The 99th percentile, by the nearest rank.
    pub fn p99(&self) -> f64 {
        let rank = (self.0.len() * 99).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    pub fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// For the file.
    pub fn json(&self) -> Value {
        json!({"min": self.least(), "median": self.median(), "max": self.most(), "all": self.0})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.3} {:7.3} {:7.3}", self.least(), self.median(), self.most())
    }
}

/// Runs a benchmark to its end, and says its last line there. One that breaks off, by an error or by a panic, has broken something: that
/// is one violation more.
pub fn run(name: &'static str, bench: impl AsyncFnOnce(&mut Figures) -> Result<()>) -> ExitCode {
    let mut figures = Figures { name, found: Arc::default() };
    // As benchmarks are built a panic ends the program (`panic = "abort"`): what is still to be said is said here.
    let (panicked, before) = (figures.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        panicked.broke_off("a panic, see above");
        panicked.end();
        std::process::exit(1);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.context("no runtime").and_then(|runtime| runtime.block_on(bench(&mut figures)));
    if let Err(error) = ended {
        figures.broke_off(&format!("{error:#}"));
    }
    if figures.end() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a benchmark found.
#[derive(Clone)]
pub struct Figures {
    name: &'static str,
    found: Arc<Mutex<Found>>,
}

#[derive(Default)]
struct Found {
    line: Vec<String>,
    file: Map<String, Value>,
    missed: Vec<String>,
    /// How often something was held against what must be so.
    checked: usize,
    broken: Vec<String>,
}

impl Found {
    fn add(&mut self, key: &str, value: Value) {
        let text = match &value {
            Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or(f64::NAN)),
            other => other.to_string(),
        };
        self.line.push(format!("{key}={text}"));
        self.file.insert(key.into(), value);
    }

    fn write(&self, name: &str) -> Result<()> {
        let directory = repository().join("target/bench");
        std::fs::create_dir_all(&directory)?;
        let text = serde_json::to_string_pretty(&self.file)? + "\n";
        Ok(std::fs::write(directory.join(format!("{name}.json")), text)?)
    }
}

impl Figures {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A figure for the line and the file.
    pub fn add(&mut self, key: &str, value: impl Into<Value>) {
        self.found().add(key, value.into());
    }

    /// Only for the file.
    pub fn keep(&mut self, key: &str, value: Value) {
        self.found().file.insert(key.into(), value);
    }

    /// What was hoped for. Missing it is said, and fails nothing; what was not reached at all is missed.
    pub fn aim(&mut self, what: &str, reached: f64, at_most: f64) {
        if reached.is_nan() || reached > at_most {
            self.found().missed.push(format!("{what}: {reached:.3} instead of at most {at_most:.3}"));
        }
    }

    /// What must hold.
    pub fn must(&mut self, what: &str, holds: bool) {
        let mut found = self.found();
        found.checked += 1;
        if !holds {
            found.broken.push(what.into());
        }
    }

    /// It has not come to its end.
    fn broke_off(&self, why: &str) {
        self.found().broken.push(format!("it broke off: {why}"));
    }

    /// Writes `target/bench/NAME.json` and the line for machines; says whether all that must hold held.
    fn end(&self) -> bool {
        let mut found = std::mem::take(&mut *self.found());
        found.file.insert("aimsMissed".into(), json!(found.missed));
        found.file.insert("broken".into(), json!(found.broken));
        found.add("aims_missed", json!(found.missed.len()));
        found.add("invariants", json!(found.checked));
        found.file.insert("violations".into(), json!(found.broken.len()));
        if let Err(error) = found.write(self.name) {
            found.broken.push(format!("target/bench/{}.json: {error:#}", self.name));
        }
        found.add("violations", json!(found.broken.len()));
        for missed in &found.missed {
            println!("aim missed: {missed}");
        }
        for broken in &found.broken {
            println!("broken: {broken}");
        }
        println!("{}: {}", self.name, found.line.join(" "));
        found.broken.is_empty()
    }
}
