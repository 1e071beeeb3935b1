//! What there is to choose from: the candidates among the series of one or more pods, and a little of the others for the message.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::super::exposition::Label;
use super::super::presets::{GRPC_STATUS_LABELS, PATH_LABELS, STATUS_LABELS, is_grpc, prefix, tells_errors};
use super::super::shortened;
use super::{OTHERS_SAID, is_ignored, legacy, preset_of};

/// How many names of counters, and of histograms, that fit nothing are remembered for the message.
const OTHERS_KEPT: usize = 500;
/// Longer names are not remembered.
const LONGEST_NAME: usize = 256;
/// How many values of status labels that are no codes are remembered of a counter, and how much of each.
const WORDS_KEPT: usize = 16;
const LONGEST_WORD: usize = 32;
/// How many counters with a prefix of the user's are remembered.
const PREFIXED_KEPT: usize = 32;

/// What is there to choose from: the candidates among the series of one or more pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    pub(super) wanted: BTreeSet<String>,
    pub(super) named: bool,
    /// The label that the Release says holds the status.
    pub(super) status_label: Option<String>,
    pub(super) ignored: Vec<String>,
    pub(super) found: BTreeMap<String, Found>,
    pub(super) prefixed: BTreeSet<String>,
    pub(super) others: BTreeSet<String>,
    pub(super) series: usize,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// The labels that the choice depends on.
    labels: BTreeSet<String>,
    /// Values that are no codes, with their labels.
    words: BTreeSet<(String, String)>,
    /// The label that holds the path.
    pub(super) path: Option<String>,
    /// Whether it is there as a series of its own, not only within a native histogram.
    classic: bool,
}

impl Survey {
    /// How many series it has seen.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Takes note of one series.
    pub fn see(&mut self, name: &str, labels: &[Label<'_>]) {
        self.series += 1;
        self.note(legacy(name).as_ref(), labels, true);
    }

    /// Takes note of a native histogram: it counts requests and holds buckets at once.
    pub fn see_native(&mut self, base: &str, labels: &[Label<'_>]) {
        self.series += 1;
        let base = legacy(base);
        self.note(&format!("{base}_count"), labels, false);
        let with_bound: Vec<_> =
            labels.iter().cloned().chain([(Cow::Borrowed("le"), Cow::Borrowed("+Inf"))]).collect();
        self.note(&format!("{base}_bucket"), &with_bound, false);
    }

    /// Takes note of a counter or histogram only to name it when nothing fits.
    pub fn see_other(&mut self, name: &str) {
        let is_bound = |name: &str| name.ends_with("_bucket");
        if (name.ends_with("_total") || name.ends_with("_count") || is_bound(name))
            && !name.starts_with("promhttp_")
            && name.len() <= LONGEST_NAME
            && self.others.len() < OTHERS_KEPT
            && !self.others.contains(name)
        {
            self.others.insert(name.to_owned());
        }
    }

    fn note(&mut self, name: &str, labels: &[Label<'_>], classic: bool) {
        let known = self.wanted.contains(name);
        if !known && !self.is_prefixed(name) {
            self.see_other(name);
            return;
        }
        if is_ignored(&self.ignored, labels) {
            return;
        }
        let preset = preset_of(name);
        if preset.is_some_and(|preset| !preset.only.iter().all(|only| only.fits(labels))) {
            return;
        }
        if !known {
            self.prefixed.insert(name.to_owned());
        }
        let grpc = is_grpc(name);
        let seen = self.found.entry(name.to_owned()).or_default();
        seen.classic |= classic;
        for (label, value) in labels {
            let label = legacy(label);
            if seen.path.is_none() && PATH_LABELS.contains(&label.as_ref()) {
                seen.path = Some(label.clone().into_owned());
            }
            // Only the labels that the choice depends on are kept.
            let is_written = self.status_label.as_deref() == Some(label.as_ref());
            let is_status =
                is_written || STATUS_LABELS.iter().chain(&GRPC_STATUS_LABELS).any(|known| *known == label);
            if is_status && is_word(value) && seen.words.len() < WORDS_KEPT {
                seen.words.insert((label.clone().into_owned(), shortened(value, LONGEST_WORD)));
            }
            let matters = label == "le" || is_written || (is_status && tells_errors(grpc, &label, value));
            if matters && !value.is_empty() && !seen.labels.contains(label.as_ref()) {
                seen.labels.insert(label.into_owned());
            }
        }
    }

    /// Whether this is a counter with a prefix of the user's, or a histogram that goes with one.
    fn is_prefixed(&self, name: &str) -> bool {
        let counter = prefix(name).is_some();
        let histogram =
            || name.strip_suffix("_bucket").is_some_and(|base| prefix(&format!("{base}_count")).is_some());
        !self.named
            && name.len() <= LONGEST_NAME
            && (counter || histogram())
            && (self.prefixed.len() < PREFIXED_KEPT || self.prefixed.contains(name))
    }

    pub(super) fn first_label(&self, name: &str, labels: &[&str]) -> Option<String> {
        let seen = self.found.get(name)?;
        labels.iter().find(|label| seen.labels.contains(**label)).map(|label| (*label).to_owned())
    }

    pub(super) fn has_label(&self, name: &str, label: &str) -> bool {
        self.found.get(name).is_some_and(|found| found.labels.contains(label))
    }

    /// What a label holds that is no code, a few of them.
    pub(super) fn words(&self, name: &str, label: &str) -> String {
        let all = self.found.get(name).into_iter().flat_map(|found| &found.words);
        let words: Vec<&str> =
            all.filter(|(of, _)| of == label).map(|(_, word)| word.as_str()).take(OTHERS_SAID).collect();
        words.join(", ")
    }

    pub(super) fn has_buckets(&self, base: &str) -> bool {
        self.found.get(&format!("{base}_bucket")).is_some_and(|found| found.labels.contains("le"))
    }

    pub(super) fn is_native(&self, name: &str) -> bool {
        self.found.get(name).is_some_and(|found| !found.classic)
    }

    /// A few counters that were seen and fit nothing, those that look like requests first.
    pub(super) fn others(&self, buckets: bool) -> String {
        let is_about_requests =
            |name: &&String| ["http", "request", "rpc", "response"].iter().any(|part| name.contains(part));
        let of_kind = || self.others.iter().filter(|name| name.ends_with("_bucket") == buckets);
        let mut names: Vec<_> = of_kind().filter(is_about_requests).collect();
        names.extend(of_kind().filter(|name| !is_about_requests(name)));
        names.truncate(OTHERS_SAID);
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        shortened(&names.join(", "), 300)
    }
}

/// Whether a status is no code and no class of codes.
fn is_word(status: &str) -> bool {
    status.starts_with(|letter: char| !letter.is_ascii_digit())
}
