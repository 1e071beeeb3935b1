//! How pods' pages, and a Prometheus server's answers, become slots.

mod counters;
mod credentials;
mod debian;
mod earlier;
mod exposition;
mod history;
mod names;
mod nonsense;
pub mod pods;
mod presets;
pub mod prometheus;
mod servers;
mod shares;
mod values;

use tidegate::observe::measure::SeriesValue;
use tidegate::observe::measure::counters::Totals;
use tidegate::observe::measure::exposition::{Limits, read};
use tidegate::observe::measure::names::{Detected, Names};

const GO: &str = include_str!("pages/go_promhttp.txt");
const MICROMETER: &str = include_str!("pages/micrometer.txt");
const OPENTELEMETRY: &str = include_str!("pages/opentelemetry.txt");
const PROM_CLIENT: &str = include_str!("pages/prom_client.txt");

/// What is chosen on this page.
fn chosen(names: &Names, page: &str) -> Result<Detected, String> {
    let mut survey = names.survey();
    read(page.as_bytes(), Limits::default(), |sample| survey.see(&sample.name, sample.labels))
        .expect("a page");
    names.choose(&survey).map_err(|error| error.to_string())
}

/// The chosen series of this page.
fn values(detected: &Detected, page: &str) -> Vec<SeriesValue> {
    let mut values = Vec::new();
    read(page.as_bytes(), Limits::default(), |sample| {
        values.extend(detected.value(&sample.name, sample.labels, sample.value));
    })
    .expect("a page");
    values
}

fn totals(values: &[SeriesValue]) -> Totals {
    let mut totals = Totals::default();
    for value in values {
        totals.add(value.counts, value.value);
    }
    totals
}
