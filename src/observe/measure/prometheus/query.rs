//! Queries as text.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::names::{Detected, Family};
use super::stale_after;

/// The queries of a reading for people, who may ask them again: pods are told by what their names begin with, since they come and go.
pub fn queries<'a>(
    namespace: &str,
    pods: impl Iterator<Item = &'a str>,
    detected: &Detected,
    scrape_interval: Duration,
) -> Vec<String> {
    let sets: BTreeSet<&str> = pods.map(|pod| pod.rsplit_once('-').map_or(pod, |(set, _)| set)).collect();
    let pattern = format!("({})-.+", alternatives(sets.into_iter()));
    let window = stale_after(scrape_interval) * 2;
    let query = |Family { name, matcher }: Family| {
        let comma = if matcher.is_empty() { "" } else { "," };
        format!("{name}{{{}{comma}{matcher}}}[{window}s]", matchers(namespace, &pattern))
    };
    detected.families().into_iter().map(query).collect()
}

/// Matchers of the pods of a namespace whose names fit a pattern.
pub(in crate::observe) fn matchers(namespace: &str, pods: &str) -> String {
    format!("namespace={},pod=~{}", quoted(namespace), quoted(pods))
}

/// A pattern that matches these texts and no others (PromQL anchors patterns itself).
pub(in crate::observe) fn alternatives<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut pattern = String::new();
    for (place, text) in texts.enumerate() {
        if place > 0 {
            pattern.push('|');
        }
        for letter in text.chars() {
            if r"\.+*?()|[]{}^$".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
    }
    pattern
}

/// A PromQL string.
pub(in crate::observe) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
