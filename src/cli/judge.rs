//! `kubectl tidegate judge`: the judge over slots in a file. No cluster is asked; the same slots give the same lines, byte for byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Code;
use super::terminal;
use crate::api::criterion;
use crate::decide::judge::{
    self, Bound, Criterion, Judgement, Reason, Revision, Settings, Slot, State, Verdict,
};
use crate::decide::plan;

/// The longest line that is read.
const LONGEST_LINE: usize = 1 << 20;
/// Lines that are named when they cannot be read; of the others the number is told.
const LINES_NAMED: usize = 20;
/// A canary pod that reported within so many seconds should report again.
const SHOULD_REPORT: i64 = 60;
/// Slots in a row in which nobody has a line: of a longer gap only the first are told.
const MOST_SILENT: i64 = 3600;
/// The largest count that a float holds exactly.
const LARGEST_COUNT: f64 = 9_007_199_254_740_992.0;

/// Which files.
#[derive(Args, Debug)]
pub struct Files {
    /// YAML: the `criteria:` of a Release, as a list, under `criteria:`, or in a whole manifest; `history:` may name a file of slots of
    /// stable pods before the run
    #[arg(long, value_name = "FILE")]
    pub criteria: PathBuf,
    /// One JSON line a slot and pod: {"t": 0, "revision": "stable"|"canary", "pod": "p1", "requests": 120, "errors": 3, "le": {"0.5": 118}}
    #[arg(long, value_name = "FILE")]
    pub slots: PathBuf,
    /// How to say it
    #[arg(short, long, value_enum, default_value_t = Output::Json)]
    pub output: Output,
}

/// How to say it.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One JSON line a slot
    Json,
    /// A sentence whenever the verdict changes
    Text,
}

/// Reads, judges, prints.
///
/// # Errors
/// When a file cannot be read, or the criteria are wrong. A line of slots that is wrong is named, and passed over.
pub fn judge(files: &Files) -> Result<Code> {
    let text = terminal::read_text(&files.criteria)?;
    let asked = parse(&text).with_context(|| files.criteria.display().to_string())?;
    for name in &asked.uncounted {
        terminal::complain(&format!(
            "criterion {name} counts no requests: slots say nothing of it; passed over"
        ));
    }
    let mut trouble = Trouble::default();
    let history = match &asked.history {
        Some(name) => {
            let beside = files.criteria.parent().unwrap_or(Path::new("."));
            read_slots(&beside.join(name), &mut trouble)?
        }
        None => Vec::new(),
    };
    let slots = read_slots(&files.slots, &mut trouble)?;
    let mut said = None;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in replay(&asked.criteria, &history, &slots) {
        match files.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string(&line)?)?,
            Output::Text => {
                let Said { t, word, judgement } = &line;
                let saying = (*word, judgement.criterion.clone(), judgement.reason);
                if said.as_ref() != Some(&saying) {
                    writeln!(out, "{t:>8}  {word:<8?}  {}: {}", judgement.criterion, judgement.message)?;
                    said = Some(saying);
                }
            }
        }
    }
    out.flush()?;
    trouble.tell();
    Ok(Code::Yes)
}

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Understood.
    pub criteria: Vec<Criterion>,
    /// A file of slots of stable pods before the run.
    pub history: Option<String>,
    /// Names of those that count no requests: of them slots say nothing.
    pub uncounted: Vec<String>,
}

/// Reads criteria: a list, a mapping with `criteria:` and `history:`, or a Release.
///
/// # Errors
/// Says which field is wrong, and what to write.
pub fn parse(text: &str) -> Result<Asked> {
    let document: Value = serde_saphyr::from_str(text).context("not YAML, or too much of it")?;
    let history = document.get("history").and_then(Value::as_str).map(str::to_owned);
    let list = match &document {
        Value::Array(_) => &document,
        _ => match (document.get("criteria"), document.pointer("/spec/criteria")) {
            (Some(list), _) | (None, Some(list)) => list,
            (None, None) => bail!("there are no criteria: write a list under `criteria:`"),
        },
    };
    let Value::Array(items) = list else { bail!("criteria: write a list") };
    let (mut criteria, mut uncounted) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let field = format!("criteria[{index}]");
        let read: criterion::Criterion =
            serde_json::from_value(item.clone()).with_context(|| field.clone())?;
        if let Some(unknown) = unknown_field(item, &serde_json::to_value(&read)?) {
            bail!("{field}.{unknown}: there is no such field");
        }
        match plan::criterion((index, &read))? {
            Some(counted) => criteria.push(counted),
            None => uncounted.push(read.name),
        }
    }
    match (criteria.as_slice(), uncounted.as_slice()) {
        ([], []) => bail!("criteria: the list is empty"),
        ([], _) => bail!(
            "criteria: none counts requests, and slots say nothing of others: write errorRate or latency"
        ),
        (_, _) => Ok(Asked { criteria, history, uncounted }),
    }
}

/// The first field that was written and not understood.
fn unknown_field(written: &Value, understood: &Value) -> Option<String> {
    let fields = written.as_object()?;
    fields.iter().filter(|(_, value)| !value.is_null() && **value != Value::Bool(false)).find_map(
        |(name, value)| match understood.get(name) {
            None => Some(name.clone()),
            Some(inner) => unknown_field(value, inner).map(|rest| format!("{name}.{rest}")),
        },
    )
}

/// Lines that could not be read.
#[derive(Debug, Default)]
pub struct Trouble {
    told: Vec<String>,
    lines: usize,
}

impl Trouble {
    fn note(&mut self, file: &Path, number: usize, what: &str) {
        self.lines += 1;
        if self.told.len() < LINES_NAMED {
            self.told.push(format!("{}: line {number}: {what}; passed over", file.display()));
        }
    }

    fn tell(&self) {
        for line in &self.told {
            terminal::complain(line);
        }
        if self.lines > self.told.len() {
            terminal::complain(&format!("... and {} lines more", self.lines - self.told.len()));
        }
    }
}

fn read_slots(file: &Path, trouble: &mut Trouble) -> Result<Vec<Slot>> {
    let open = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    slots_of(BufReader::new(open), file, trouble).with_context(|| format!("cannot read {}", file.display()))
}

/// Slots, one a line. `file` names it where a line is wrong.
///
/// # Errors
/// When it cannot be read at all.
pub fn slots_of(mut reader: impl BufRead, file: &Path, trouble: &mut Trouble) -> std::io::Result<Vec<Slot>> {
    let (mut slots, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        // One byte more than is allowed, to tell; what is left of such a line is passed over without being kept.
        let read = reader.by_ref().take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(slots);
        }
        if line.len() > LONGEST_LINE && !line.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        if line.len() > LONGEST_LINE {
            trouble.note(file, number, &format!("longer than {LONGEST_LINE} bytes"));
            continue;
        }
        match serde_json::from_slice::<Line>(text).map_err(|error| error.to_string()).and_then(Line::slot) {
            Ok(slot) => slots.push(slot),
            Err(what) => trouble.note(file, number, &what),
        }
    }
}

/// A line as people write it: counts may be floats, as long as they are whole.
#[derive(Deserialize)]
struct Line {
    t: f64,
    revision: Revision,
    pod: String,
    requests: f64,
    #[serde(default)]
    errors: f64,
    #[serde(default)]
    untold: f64,
    #[serde(default)]
    le: BTreeMap<String, f64>,
    #[serde(default)]
    warming: bool,
}

impl Line {
    fn slot(self) -> Result<Slot, String> {
        let count = |name: &str, value: f64| {
            if (0.0..=LARGEST_COUNT).contains(&value) && value.fract() == 0.0 {
                Ok(value as u64)
            } else {
                Err(format!("{name} is {value}: write a whole number, 0 or more"))
            }
        };
        if self.t.fract() != 0.0 || self.t.abs() > LARGEST_COUNT {
            return Err(format!("t is {}: write whole seconds", self.t));
        }
        let bucket = |(bound, value): (String, f64)| {
            let bound: Bound = bound.parse().map_err(|error: judge::BoundError| error.to_string())?;
            Ok((bound, count("a count under le", value)?))
        };
        Ok(Slot {
            t: self.t as i64,
            revision: self.revision,
            pod: self.pod,
            requests: count("requests", self.requests)?,
            errors: count("errors", self.errors)?,
            untold: count("untold", self.untold)?,
            le: self.le.into_iter().map(bucket).collect::<Result<_, String>>()?,
            warming: self.warming,
        })
    }
}

/// What is said of one slot: the judgement that decides. As JSON its fields, with `t` (the slot's start, seconds) and `verdict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Start of the slot, seconds.
    pub t: i64,
    /// What it means for the release.
    pub word: Word,
    /// Why.
    pub judgement: Judgement,
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut said = serde_json::to_value(&self.judgement).map_err(serde::ser::Error::custom)?;
        said["t"] = self.t.into();
        said["verdict"] = serde_json::to_value(self.word).map_err(serde::ser::Error::custom)?;
        said.serialize(serializer)
    }
}

/// A verdict as a release goes on with it, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Word {
    /// The limit is breached.
    Breach,
    /// Stand still.
    Hold,
    /// Nothing can be told: no requests, or nothing measured.
    Unknown,
    /// Requests come in, and do not suffice yet.
    Continue,
    /// Go on.
    Pass,
}

impl Word {
    fn of(judgement: &Judgement) -> Self {
        match (judgement.verdict, judgement.reason) {
            (Verdict::Breach, _) => Self::Breach,
            (Verdict::Hold, _) => Self::Hold,
            (Verdict::Pass, _) => Self::Pass,
            (Verdict::Unknown, Reason::TooFewRequests | Reason::NearLimit | Reason::Worsening) => {
                Self::Continue
            }
            (Verdict::Unknown, _) => Self::Unknown,
        }
    }
}

/// Judges slot by slot. A canary pod that reported in the minute before and has no line in a slot is missing in it. A slot in which nobody
/// has a line is one all the same: whoever reported before is missing.
pub fn replay(criteria: &[Criterion], history: &[Slot], slots: &[Slot]) -> impl Iterator<Item = Said> {
    let mut by_start = BTreeMap::<i64, Vec<Slot>>::new();
    for slot in slots {
        by_start.entry(slot.t).or_default().push(slot.clone());
    }
    let starts: Vec<i64> = by_start.keys().copied().collect();
    let shortest = starts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(1);
    let settings =
        Settings { slot_seconds: u32::try_from(shortest).unwrap_or(1).clamp(1, 3600), ..Settings::default() };
    let first = starts.first().copied();
    let before: Vec<Slot> =
        history.iter().filter(|slot| first.is_none_or(|first| slot.t < first)).cloned().collect();
    let mut state = State::default();
    judge::learn(criteria, &mut state, &before);
    let criteria = criteria.to_vec();
    by_start.extend(silent(&starts).map(|t| (t, Vec::new())));
    let mut reported = BTreeMap::<String, i64>::new();
    by_start.into_iter().filter_map(move |(t, lines)| {
        if !lines.is_empty() {
            judge::fold(&criteria, &mut state, &lines, &settings);
            for slot in lines.iter().filter(|slot| slot.revision == Revision::Canary) {
                reported.insert(slot.pod.clone(), t);
            }
            reported.retain(|_, last| t - *last <= SHOULD_REPORT);
        }
        let missing = reported.values().filter(|last| **last < t).count();
        if missing > 0 {
            judge::note_missing(&mut state, t, u32::try_from(missing).unwrap_or(u32::MAX));
        }
        let judgements = judge::judge(&criteria, &state, &settings);
        let enforced = |judgement: &&Judgement| {
            criteria.iter().any(|criterion| criterion.name == judgement.criterion && !criterion.shadow)
        };
        let decides = judgements
            .iter()
            .filter(enforced)
            .min_by_key(|judgement| Word::of(judgement))
            .or_else(|| judgements.first())?;
        Some(Said { t, word: Word::of(decides), judgement: decides.clone() })
    })
}

/// Starts of slots in which nobody has a line. Where the cadence changes for good nothing is missing: a gap is one only if it is longer
/// than the slots on both sides of it.
fn silent(starts: &[i64]) -> impl Iterator<Item = i64> {
    let lengths: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gaps = (0..lengths.len().saturating_sub(1)).map(move |gap| {
        let before = gap.checked_sub(1).map_or(0, |before| lengths[before]);
        (gap, lengths[gap], before.max(lengths[gap + 1]))
    });
    gaps.flat_map(move |(gap, length, usual)| {
        let count = ((length - 1) / usual).min(MOST_SILENT);
        (1..=count).map(move |number| starts[gap] + number * usual)
    })
}
