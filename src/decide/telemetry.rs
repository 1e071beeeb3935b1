//! What `telemetry` checks mean: which criteria are asked about, of which pods, and what it means that a source gave nothing.
//!
//! Reading the sources is not done here.

use super::needs::{SampledValue, Sampling};
use super::plan::Measuring;
use super::snapshot::ProbeResult;
use crate::api::criterion::NoData;
use crate::decide::judge::Measure;

/// Criteria that a message names one by one.
const SHOWN: usize = 8;

/// What is asked, and of whom.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Stable pods only.
    pub sampling: Sampling,
    pub criteria: Criteria,
}

/// The criteria that are asked about, by what they need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// A counter of requests that tells errors.
    pub requests: Vec<String>,
    /// A histogram of durations.
    pub latency: Vec<String>,
    /// A number.
    pub values: Vec<(SampledValue, NoData)>,
    /// The pods' own status.
    pub of_pods: Vec<String>,
}

/// What a source gave for a criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gave {
    /// What, in words.
    Data(String),
    /// It answered, and there was none.
    Nothing(String),
    /// It could not be asked.
    NoAnswer(String),
}

/// The criteria of these names; `None`: all.
///
/// # Errors
/// What is wrong with the names.
pub fn criteria(measuring: &Measuring, names: Option<&[String]>) -> Result<Criteria, String> {
    let is_asked = |name: &String| names.is_none_or(|names| names.contains(name));
    let mut asked = Criteria::default();
    for criterion in measuring.criteria.iter().filter(|criterion| is_asked(&criterion.name)) {
        let list = match criterion.measure {
            Measure::ErrorRate { .. } | Measure::ErrorRateOfStable { .. } => &mut asked.requests,
            Measure::Latency { .. } | Measure::LatencyOfStable { .. } => &mut asked.latency,
        };
        list.push(criterion.name.clone());
    }
    for value in measuring.values.iter().filter(|value| is_asked(&value.name)) {
        if value.kind.is_of_pods() {
            asked.of_pods.push(value.name.clone());
        } else {
            let sampled = SampledValue { criterion: value.name.clone(), kind: value.kind.clone() };
            asked.values.push((sampled, value.no_data));
        }
    }
    let known = |name: &&String| {
        let counted = measuring.criteria.iter().map(|criterion| &criterion.name);
        counted.chain(measuring.values.iter().map(|value| &value.name)).any(|known| known == *name)
    };
    if let Some(name) = names.unwrap_or_default().iter().find(|name| !known(name)) {
        return Err(format!("there is no criterion '{name}': write the name of one"));
    }
    if asked == Criteria::default() {
        return Err("there is no criterion to ask about: write criteria, or leave this check out".into());
    }
    Ok(asked)
}

/// What the sources gave, by criterion. None of them without data, and none that could not be asked.
pub fn judged(pods: usize, gave: &[(String, Gave)]) -> (ProbeResult, String) {
    let (mut data, mut nothing, mut no_answer) = (Vec::new(), Vec::new(), Vec::new());
    for (name, gave) in gave {
        match gave {
            Gave::Data(words) => note(&mut data, name, words),
            Gave::Nothing(words) => note(&mut nothing, name, words),
            Gave::NoAnswer(words) => note(&mut no_answer, name, words),
        }
    }
    let (nothing, no_answer) = (told("no data: ", &nothing), told("", &no_answer));
    if !nothing.is_empty() {
        return (ProbeResult::Failed, [nothing, no_answer].concat().join("; "));
    }
    if !no_answer.is_empty() {
        return (ProbeResult::Unknown, no_answer.join("; "));
    }
    if data.is_empty() {
        return (ProbeResult::Unknown, "no criterion was asked about".into());
    }
    let of = if pods == 1 { "1 stable pod".to_owned() } else { format!("{pods} stable pods") };
    (ProbeResult::Passed, format!("of {of}: {}", told("", &data).join("; ")))
}

/// Criteria of which the same is said, together, in the order in which they are written.
type Alike<'a> = Vec<(&'a str, Vec<&'a str>)>;

fn note<'a>(list: &mut Alike<'a>, name: &'a str, words: &'a str) {
    match list.iter_mut().find(|(known, _)| *known == words) {
        Some((_, names)) => names.push(name),
        None => list.push((words, vec![name])),
    }
}

fn told(what: &str, list: &Alike<'_>) -> Vec<String> {
    let one = |(words, names): &(&str, Vec<&str>)| format!("{}: {what}{words}", names.join(", "));
    list.iter().take(SHOWN).map(one).collect()
}
