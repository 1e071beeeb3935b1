//! What benchmarks have in common: a spread of figures, aims that are compared and not enforced, a file and a line for machines.

use std::fmt;

use anyhow::Result;
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

/// What a benchmark found.
#[derive(Default)]
pub struct Figures {
    name: &'static str,
    line: Vec<String>,
    file: Map<String, Value>,
    missed: Vec<String>,
    /// How often something was held against what must be so.
    checked: usize,
    broken: Vec<String>,
}

impl Figures {
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// A figure for the line and the file.
    pub fn add(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let text = match &value {
            Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or(f64::NAN)),
            other => other.to_string(),
        };
        self.line.push(format!("{key}={text}"));
        self.file.insert(key.into(), value);
    }

    /// Only for the file.
    pub fn keep(&mut self, key: &str, value: Value) {
        self.file.insert(key.into(), value);
    }

    /// What was hoped for. Missing it is said, and fails nothing.
    pub fn aim(&mut self, what: &str, reached: f64, at_most: f64) {
        if reached > at_most {
            self.missed.push(format!("{what}: {reached:.3} instead of at most {at_most:.3}"));
        }
    }

    /// What must hold.
    pub fn must(&mut self, what: &str, holds: bool) {
        self.checked += 1;
        if !holds {
            self.broken.push(what.into());
        }
    }

    /// Writes `target/bench/NAME.json` and the line for machines; says whether all that must hold held.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(mut self) -> Result<bool> {
        for missed in &self.missed {
            println!("aim missed: {missed}");
        }
        for broken in &self.broken {
            println!("broken: {broken}");
        }
        self.keep("aimsMissed", json!(self.missed));
        self.keep("broken", json!(self.broken));
        self.add("invariants", self.checked);
        self.add("violations", self.broken.len());
        let directory = repository().join("target/bench");
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{}.json", self.name));
        std::fs::write(file, serde_json::to_string_pretty(&Value::Object(self.file))? + "\n")?;
        println!("{}: {}", self.name, self.line.join(" "));
        Ok(self.broken.is_empty())
    }
}
