//! An answer of a Prometheus server, read series by series: of foreign bytes no more is ever held than of one of them. What the numbers mean is not known
//! here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::super::exposition::Label;
use super::super::{ReadError, native, shortened};

/// Labels of one series.
const MOST_LABELS: usize = 128;
/// Which series it is, and whose: these are known of every one, however many others it has.
const ALWAYS_KNOWN: [&str; 3] = ["__name__", "namespace", "pod"];
/// Labels that tell where a sample was collected, not what it counts: with two of a kind, one pod would count twice.
const COLLECTION_LABELS: [&str; 6] =
    ["job", "container", "prometheus", "prometheus_replica", "replica", "__replica__"];
/// The same, unless the program itself uses them, which their values tell: a path, a service of a proxy.
const PERHAPS_COLLECTION_LABELS: [&str; 2] = ["service", "endpoint"];

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(default, borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: &'a RawValue,
}

type Known<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// Labels of a series, as far as they are read.
pub struct Labels<'a> {
    known: Known<'a>,
    has_more: bool,
}

impl<'a> Labels<'a> {
    /// All of them.
    ///
    /// # Errors
    /// When there are more than are read: which series it is cannot be told then.
    pub fn all(&self) -> Result<&Known<'a>, ReadError> {
        if self.has_more { Err(ReadError::TooManyLabels { limit: MOST_LABELS }) } else { Ok(&self.known) }
    }
}

impl<'a> Deref for Labels<'a> {
    type Target = Known<'a>;

    fn deref(&self) -> &Known<'a> {
        &self.known
    }
}

/// A series of an answer with its samples, or with what is kept of them.
#[derive(Deserialize)]
#[serde(bound(deserialize = "V: Deserialize<'de> + Default, H: Deserialize<'de> + Default"))]
pub struct Series<'a, V, H> {
    #[serde(borrow, deserialize_with = "labels")]
    pub metric: Labels<'a>,
    /// Of a range.
    #[serde(default)]
    pub values: V,
    /// Of a range of native histograms.
    #[serde(default)]
    pub histograms: H,
    /// There in an instant vector of native histograms.
    #[serde(default)]
    pub histogram: Option<IgnoredAny>,
}

/// With its newest sample only.
pub type NewestSeries<'a> = Series<'a, Newest<&'a str>, Newest<native::Shown>>;

/// With all of its samples.
pub type WholeSeries<'a> = Series<'a, Vec<(f64, &'a str)>, Vec<(f64, native::Shown)>>;

impl<V, H> Series<'_, V, H> {
    /// Its labels, without those that tell where it was collected.
    pub fn counting_labels(&self) -> Vec<Label<'_>> {
        let counts = |label: &str, value: &str| {
            let perhaps = PERHAPS_COLLECTION_LABELS.contains(&label);
            label != "__name__" && !COLLECTION_LABELS.contains(&label) && !(perhaps && is_dns_label(value))
        };
        let borrowed = self.metric.iter().filter(|(label, value)| counts(label, value));
        borrowed
            .map(|(label, value)| (Cow::Borrowed(label.as_ref()), Cow::Borrowed(value.as_ref())))
            .collect()
    }
}

/// Whether this could be the name of a Service, or of a port.
fn is_dns_label(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The newest of a list of samples; the others are not kept.
pub struct Newest<T>(pub Option<(f64, T)>);

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Newest(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Newest<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Samples<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Samples<T> {
            type Value = Newest<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of samples")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut samples: A) -> Result<Newest<T>, A::Error> {
                let mut newest: Option<(f64, T)> = None;
                while let Some(sample) = samples.next_element::<(f64, T)>()? {
                    if newest.as_ref().is_none_or(|known| sample.0 > known.0) {
                        newest = Some(sample);
                    }
                }
                Ok(Newest(newest))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Newest<T>, E> {
                Ok(Newest(None))
            }
        }

        deserializer.deserialize_any(Samples(PhantomData))
    }
}

/// Labels, no more than are read of a series. One that has more is no fault of the others in the answer.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels<'de>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Labels<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("labels")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
            let mut labels = Labels { known: Known::new(), has_more: false };
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                if labels.known.len() < MOST_LABELS || ALWAYS_KNOWN.contains(&name.as_ref()) {
                    labels.known.insert(name, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                    labels.has_more = true;
                }
            }
            Ok(labels)
        }
    }

    deserializer.deserialize_map(Few)
}

/// Hands over the series of an answer one by one: together they would take many times the answer's bytes.
///
/// # Errors
/// When it is none of Prometheus', or says what went wrong (what was read of it before has been handed over then), and what `see` says.
pub fn each_series<'a, S: Deserialize<'a>>(
    body: &'a [u8],
    see: impl FnMut(S) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    struct Each<'p, S, F> {
        see: F,
        problem: &'p mut Option<ReadError>,
        series: PhantomData<S>,
    }

    impl<'de, S: Deserialize<'de>, F: FnMut(S) -> Result<(), ReadError>> Visitor<'de> for Each<'_, S, F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of series")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(series) = list.next_element()? {
                if let Err(problem) = (self.see)(series) {
                    *self.problem = Some(problem);
                    return Err(de::Error::custom("it is read no further"));
                }
            }
            Ok(())
        }
    }

    let unread = |error: serde_json::Error| ReadError::NotPrometheus(shortened(&error.to_string(), 200));
    let answer: Answer<'a> = serde_json::from_slice(body).map_err(unread)?;
    let result = match (answer.status.as_ref(), answer.data) {
        ("success", Some(data)) => data.result,
        (status, _) => {
            return Err(ReadError::Api(shortened(answer.error.as_deref().unwrap_or(status), 300)));
        }
    };
    let mut problem = None;
    let each = Each { see, problem: &mut problem, series: PhantomData };
    let read = serde_json::Deserializer::from_str(result.get()).deserialize_seq(each);
    match problem {
        Some(problem) => Err(problem),
        None => read.map_err(unread),
    }
}

/// What went wrong, where the answer says so.
pub(super) fn explained(body: &[u8]) -> Option<ReadError> {
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    answer.error.map(|error| ReadError::Api(shortened(&error, 300)))
}
