//! Which series mean requests, errors and latency: what the Release says, else the first of a table of well-known names
//! (`presets`).
//!
//! The choice is made once a run, over several pods together, and then kept: a choice made anew in every round would jump to
//! another family when one appears, and count its past as if it had just happened.
//!
//! A counter without a label that tells failed requests is not taken: no errors seen would look like no errors. For the same reason
//! the requests of a series without that label, as another version of the program may have them, are told as neither good nor failed.

mod survey;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::exposition::Label;
use super::native::Native;
pub use super::presets::IGNORED_PATHS;
use super::presets::{
    ENDINGS, GRPC_STATUS_LABELS, HTTP_LATENCY, IGNORED_VIEW, LATENCY_ENDINGS, MESH_GRPC_STATUS, Only,
    PATH_LABELS, PRESETS, Preset, RPC_HEALTH, RPC_LABELS, STATUS_LABELS, is_grpc, is_grpc_error,
    is_http_error, prefix, units_per_second,
};
use super::{Counts, ReadError, SeriesValue};
use crate::decide::Sampling;
use crate::decide::judge::Bound;
pub use survey::Survey;

/// From how many pods names are detected.
pub(super) const PODS_SURVEYED: usize = 16;
/// How many names, or words, a message lists.
const OTHERS_SAID: usize = 6;

/// What the Release says about names. Everything may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The counter of requests.
    pub requests: Option<RequestsMetric>,
    /// The histogram of durations.
    pub latency: Option<LatencyMetric>,
    /// Paths that are not traffic, beside [`IGNORED_PATHS`]; a `*` at the end stands for anything.
    pub ignore_paths: Vec<String>,
}

/// The counter of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestsMetric {
    /// A sample's name, or a histogram's or OpenMetrics family's, to which `_count` or `_total` belongs.
    pub name: String,
    /// The label that holds the status. `None`: detected.
    pub status_label: Option<String>,
}

/// The histogram of durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyMetric {
    /// With or without `_bucket`. Seconds, unless it ends with `_milliseconds`, `_ms`, `_microseconds` or `_nanoseconds`.
    pub name: String,
}

fn preset_of(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.requests == name)
}

/// A counter, and the label that tells its errors.
struct Chosen {
    requests: String,
    status_label: String,
    preset: Option<&'static Preset>,
}

impl Names {
    /// What a run is measured by.
    pub fn of(wanted: &Sampling) -> Self {
        Self {
            requests: wanted
                .requests
                .clone()
                .map(|(name, status_label)| RequestsMetric { name, status_label }),
            latency: wanted.latency.clone().map(|name| LatencyMetric { name }),
            ignore_paths: wanted.ignore_paths.clone(),
        }
    }

    /// An empty survey, which keeps what [`Names::choose`] needs.
    pub fn survey(&self) -> Survey {
        Survey {
            wanted: self.candidates().into_iter().collect(),
            named: self.requests.is_some(),
            status_label: self
                .requests
                .as_ref()
                .and_then(|metric| metric.status_label.as_deref())
                .map(|label| legacy(label).into_owned()),
            ignored: self.ignored(),
            found: BTreeMap::new(),
            prefixed: BTreeSet::new(),
            others: BTreeSet::new(),
            series: 0,
        }
    }

    /// The sample names that may be chosen, for a query that asks for all of them at once. Names with a prefix of the user's
    /// are beside these: [`Names::endings`].
    pub fn candidates(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        match &self.requests {
            Some(metric) => names.extend(spellings(&metric.name)),
            None => names.extend(PRESETS.iter().map(|preset| preset.requests.to_owned())),
        }
        match &self.latency {
            Some(metric) => {
                names.insert(format!("{}_bucket", histogram_base(&metric.name)));
            }
            None => {
                names.extend(
                    PRESETS.iter().flat_map(|preset| preset.latency).map(|base| format!("{base}_bucket")),
                );
                // A named counter may be a histogram's.
                names.extend(
                    self.requests.iter().map(|metric| format!("{}_bucket", histogram_base(&metric.name))),
                );
            }
        }
        names.into_iter().collect()
    }

    /// The same, and the names of the families of native histograms among them.
    pub fn query_names(&self) -> Vec<String> {
        let candidates = self.candidates();
        let native = candidates.iter().filter_map(|name| name.strip_suffix("_bucket").map(str::to_owned));
        let mut names: Vec<_> = native.collect();
        names.extend(candidates.iter().cloned());
        names
    }

    /// Endings of the names that may be chosen behind a prefix of the user's.
    pub fn endings(&self) -> Vec<String> {
        if self.requests.is_some() {
            return Vec::new();
        }
        let buckets = LATENCY_ENDINGS.iter().map(|ending| format!("{ending}_bucket"));
        ENDINGS.iter().map(|ending| (*ending).to_owned()).chain(buckets).collect()
    }

    /// Chooses, from what the survey saw.
    ///
    /// # Errors
    /// When there is no request counter, or none that says which requests failed. A missing histogram is no error: it is said
    /// in [`Detected::sentence`], and there are no buckets.
    pub fn choose(&self, survey: &Survey) -> Result<Detected, ReadError> {
        let Chosen { requests, status_label, preset } = match &self.requests {
            Some(metric) => named(metric, survey)?,
            None => known(survey)?,
        };
        let latency = match &self.latency {
            Some(metric) => Some(histogram_base(&metric.name)).filter(|base| survey.has_buckets(base)),
            None => latency(&requests, preset, survey),
        };
        let buckets = latency.map(|base| Buckets {
            native: survey.is_native(&format!("{base}_bucket")),
            units: units_per_second(&base),
            base,
        });
        Ok(Detected {
            grpc: is_grpc(&requests) || GRPC_STATUS_LABELS.contains(&status_label.as_str()),
            native: survey.is_native(&requests),
            path_label: survey.found.get(&requests).and_then(|found| found.path.clone()),
            other_histograms: if buckets.is_none() { survey.others(true) } else { String::new() },
            only: preset.map_or(&[], |preset| preset.only),
            words: survey.words(&requests, &status_label),
            requests,
            status_label,
            buckets,
            ignored: self.ignored(),
        })
    }

    fn ignored(&self) -> Vec<String> {
        let own = self.ignore_paths.iter().filter(|path| !IGNORED_PATHS.contains(&path.as_str())).cloned();
        IGNORED_PATHS.iter().map(|path| (*path).to_owned()).chain(own).collect()
    }
}

/// The counter that the Release names.
fn named(metric: &RequestsMetric, survey: &Survey) -> Result<Chosen, ReadError> {
    let requests = spellings(&metric.name)
        .into_iter()
        .find(|name| survey.found.contains_key(name))
        .ok_or_else(|| ReadError::NoSuchCounter {
            name: metric.name.clone(),
            series: survey.series,
            seen: survey.others(false),
        })?;
    let detected = || {
        survey
            .first_label(&requests, &STATUS_LABELS)
            .or_else(|| survey.first_label(&requests, &GRPC_STATUS_LABELS))
    };
    let status_label = match &survey.status_label {
        Some(label) if survey.has_label(&requests, label) => label.clone(),
        Some(label) => return Err(ReadError::NoSuchLabel { name: requests, label: label.clone() }),
        None => detected().ok_or_else(|| ReadError::NoStatusLabel { name: requests.clone() })?,
    };
    let preset = preset_of(&requests);
    Ok(Chosen { requests, status_label, preset })
}

/// The first well-known counter that tells errors; else the one with a known ending.
fn known(survey: &Survey) -> Result<Chosen, ReadError> {
    let fits = |preset: &'static Preset| {
        let status_label = survey.first_label(preset.requests, preset.status_labels)?;
        Some(Chosen { requests: preset.requests.to_owned(), status_label, preset: Some(preset) })
    };
    if let Some(chosen) = PRESETS.iter().find_map(fits) {
        return Ok(chosen);
    }
    let counters = || survey.prefixed.iter().filter(|name| prefix(name).is_some());
    let telling: BTreeMap<&str, (usize, &String, String)> = counters()
        .filter_map(|name| Some((name, survey.first_label(name, &STATUS_LABELS)?)))
        .fold(BTreeMap::new(), |mut by_prefix, (name, label)| {
            let place = ENDINGS.iter().position(|ending| name.ends_with(ending)).unwrap_or(usize::MAX);
            let best =
                by_prefix.entry(prefix(name).unwrap_or_default()).or_insert((place, name, label.clone()));
            if place < best.0 {
                *best = (place, name, label);
            }
            by_prefix
        });
    if telling.len() > 1 {
        let names: Vec<_> = telling.values().map(|(_, name, _)| name.as_str()).collect();
        return Err(ReadError::SeveralCounters { names: super::shortened(&names.join(", "), 300) });
    }
    if let Some((_, name, label)) = telling.into_values().next() {
        return Ok(Chosen { requests: name.clone(), status_label: label, preset: None });
    }
    let known = PRESETS.iter().map(|preset| preset.requests).filter(|name| survey.found.contains_key(*name));
    match known.chain(counters().map(String::as_str)).next() {
        Some(unlabelled) => Err(ReadError::NoStatusLabel { name: unlabelled.to_owned() }),
        None => Err(ReadError::NoCounter { series: survey.series, seen: survey.others(false) }),
    }
}

/// The counter's own histogram first: then requests and buckets speak of the same requests.
fn latency(requests: &str, preset: Option<&'static Preset>, survey: &Survey) -> Option<String> {
    let own = requests.strip_suffix("_count").map(str::to_owned);
    let beside = prefix(requests)
        .into_iter()
        .flat_map(|prefix| LATENCY_ENDINGS.iter().map(move |ending| format!("{prefix}{ending}")));
    let known = preset.map_or(HTTP_LATENCY.as_slice(), |preset| preset.latency);
    own.into_iter()
        .chain(beside)
        .chain(known.iter().map(|base| (*base).to_owned()))
        .find(|base| survey.has_buckets(base))
}

/// A histogram of durations.
#[derive(Debug, Clone, PartialEq)]
struct Buckets {
    /// Without `_bucket`.
    base: String,
    /// How many of its unit make a second.
    units: f64,
    /// Whether it is a native one, with all its buckets in one sample.
    native: bool,
}

/// A family to ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The samples' name; a native histogram's is the family's.
    pub name: String,
    /// What a series must match, in PromQL; may be empty.
    pub matcher: String,
}

/// Which series are read, for the length of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    requests: String,
    status_label: String,
    grpc: bool,
    /// Whether the requests are a native histogram's.
    native: bool,
    only: &'static [Only],
    buckets: Option<Buckets>,
    path_label: Option<String>,
    /// Values of the status label that are no codes.
    words: String,
    other_histograms: String,
    ignored: Vec<String>,
}

impl Detected {
    /// What was taken, in one sentence for people.
    pub fn sentence(&self) -> String {
        let only: Vec<_> = self.only.iter().map(|only| only.sentence()).collect();
        let only = if only.is_empty() { String::new() } else { format!(" where {}", only.join(" and ")) };
        let failed = if self.grpc { "a server-side gRPC code" } else { "beginning with 5" };
        // A word for an error that is not known shows here.
        let words = if self.grpc || self.words.is_empty() {
            String::new()
        } else {
            format!(" or a word for an error (it holds {})", self.words)
        };
        let kind = |native: bool| if native { " (native histogram)" } else { "" };
        let latency = match &self.buckets {
            Some(buckets) if buckets.native => format!("latency from {} (native histogram)", buckets.base),
            Some(buckets) => format!("latency from {}_bucket", buckets.base),
            None if self.other_histograms.is_empty() => {
                "no histogram of latency found (write the name of one as metrics.latency.name)".to_owned()
            }
            None => format!(
                "no histogram of latency found (write the name of one as metrics.latency.name; there are {})",
                self.other_histograms
            ),
        };
        let also: String = self
            .own_ignored()
            .map(|path| format!(", {}", super::shortened(path, 64)))
            .take(OTHERS_SAID)
            .collect();
        let probes = match &self.path_label {
            Some(label) => format!("probes, /metrics{also} do not count (label {label})"),
            None if self.grpc => "calls of grpc.health do not count".to_owned(),
            None => "probes count too: no label tells paths".to_owned(),
        };
        format!(
            "requests from {}{}{only}, errors by its label {} {failed}{words}, {latency}; {probes}",
            self.requests,
            kind(self.native),
            self.status_label
        )
    }

    /// Leaves these paths out too. None is ever taken in again: its past would count as if it had just happened.
    pub fn ignore(&mut self, paths: &[String]) {
        for path in paths {
            if !self.ignored.contains(path) {
                self.ignored.push(path.clone());
            }
        }
    }

    fn own_ignored(&self) -> impl Iterator<Item = &String> {
        self.ignored.iter().filter(|path| !IGNORED_PATHS.contains(&path.as_str()))
    }

    /// Whether there are latency buckets.
    pub fn has_latency(&self) -> bool {
        self.buckets.is_some()
    }

    /// What to ask for.
    pub fn families(&self) -> Vec<Family> {
        let matcher = self.only.iter().map(|only| only.matcher()).collect::<Vec<_>>().join(",");
        let requests = if self.native { histogram_base(&self.requests) } else { self.requests.clone() };
        let buckets = self.buckets.as_ref().map(|buckets| match buckets.native {
            true => buckets.base.clone(),
            false => format!("{}_bucket", buckets.base),
        });
        let buckets = buckets.filter(|name| *name != requests);
        std::iter::once(requests)
            .chain(buckets)
            .map(|name| Family { name, matcher: matcher.clone() })
            .collect()
    }

    /// What a sample counts, or `None` when it is not one of those that are read.
    pub fn value(&self, name: &str, labels: &[Label<'_>], value: f64) -> Option<SeriesValue> {
        let name = legacy(name);
        let is_requests = !self.native && name == self.requests;
        let buckets = self.buckets.as_ref().filter(|buckets| {
            !buckets.native && name.strip_suffix("_bucket").is_some_and(|base| base == buckets.base)
        });
        if !(is_requests || buckets.is_some()) || !self.is_traffic(labels) {
            return None;
        }
        let counts = match buckets {
            Some(buckets) => {
                Counts::Bucket(Bound::new(find(labels, "le")?.parse::<f64>().ok()? / buckets.units)?)
            }
            None => Counts::Requests { error: self.is_error(labels) },
        };
        Some(SeriesValue { series: identity(&name, labels), counts, value })
    }

    /// What a native histogram counts: its requests, and the requests within each bound of a grid that it can tell exactly.
    pub fn native_values(&self, base: &str, labels: &[Label<'_>], histogram: &Native) -> Vec<SeriesValue> {
        let base = legacy(base);
        let mut values = Vec::new();
        if !self.is_traffic(labels) {
            return values;
        }
        if self.native && self.requests.strip_suffix("_count").is_some_and(|requests| requests == base) {
            let counts = Counts::Requests { error: self.is_error(labels) };
            values.push(SeriesValue {
                series: identity(&self.requests, labels),
                counts,
                value: histogram.count,
            });
        }
        if let Some(buckets) = self.buckets.as_ref().filter(|buckets| buckets.native && buckets.base == base)
        {
            let series = identity(&format!("{base}_bucket"), labels);
            values.extend(histogram.at_bounds(buckets.units).into_iter().map(|(bound, value)| SeriesValue {
                series:
                    series.wrapping_add(identity("le", &[(Cow::Borrowed("le"), bound.to_string().into())])),
                counts: Counts::Bucket(bound),
                value,
            }));
        }
        values
    }

    fn is_traffic(&self, labels: &[Label<'_>]) -> bool {
        self.only.iter().all(|only| only.fits(labels)) && !is_ignored(&self.ignored, labels)
    }

    /// Why a pod's requests tell nothing of errors, where its series have not the status label.
    pub fn unlabelled(&self) -> ReadError {
        ReadError::NoSuchLabel { name: self.requests.clone(), label: self.status_label.clone() }
    }

    /// `None`: nobody can tell.
    fn is_error(&self, labels: &[Label<'_>]) -> Option<bool> {
        let is_there = |value: &&str| !value.is_empty();
        match find(labels, &self.status_label).filter(is_there) {
            Some(code) if self.grpc => Some(is_grpc_error(code)),
            // A mesh counts a failed gRPC call as an answered HTTP request.
            Some(code) => {
                let mesh = || MESH_GRPC_STATUS.iter().filter_map(|label| find(labels, label));
                Some(is_http_error(code) || mesh().any(is_grpc_error))
            }
            // OpenTelemetry: a request that ended without any status has only a type of error.
            None => find(labels, "error_type").filter(is_there).map(|_| true),
        }
    }
}

/// How a counter's samples may be named for a name in the spec.
fn spellings(name: &str) -> [String; 3] {
    [legacy(name).into_owned(), format!("{}_total", legacy(name)), format!("{}_count", legacy(name))]
}

fn histogram_base(name: &str) -> String {
    let name = legacy(name);
    name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_count")).unwrap_or(&name).to_owned()
}

/// A UTF-8 name as an older exposition would write it: `http.route` is `http_route`.
fn legacy(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(name.replace('.', "_")) } else { Cow::Borrowed(name) }
}

pub(super) fn find<'a>(labels: &'a [Label<'_>], name: &str) -> Option<&'a str> {
    labels.iter().find(|(label, _)| legacy(label) == name).map(|(_, value)| value.as_ref())
}

fn is_ignored(ignored: &[String], labels: &[Label<'_>]) -> bool {
    let fits = |path: &str| {
        path == IGNORED_VIEW
            || ignored.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => path == pattern,
            })
    };
    labels.iter().any(|(label, value)| {
        let label = legacy(label);
        let path = || value.trim_end_matches('/');
        (PATH_LABELS.contains(&label.as_ref()) && fits(path()))
            || (RPC_LABELS.contains(&label.as_ref()) && value.starts_with(RPC_HEALTH))
    })
}

/// The same for the same name and labels, in whatever order they come.
fn identity(name: &str, labels: &[Label<'_>]) -> u64 {
    let one = |part: (&str, &str)| {
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        hasher.finish()
    };
    labels.iter().fold(one((name, "")), |sum, (label, value)| sum.wrapping_add(one((label, value))))
}
