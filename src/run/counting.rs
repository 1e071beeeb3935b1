//! A round of counting: what each pod says goes into the run's ledger as it comes, so that no more than one pod's series are in memory beside it; and why there is
//! nothing to judge, where there is nothing.

use std::collections::{HashMap, HashSet};

use crate::decide::judge::Revision;
use crate::decide::judge::count::MOST_UNTOLD;
use crate::decide::{SampledPod, Sampling};
use crate::observe::measure::counters::{Ledger, Reading, Taken, Taking, Totals};
use crate::observe::measure::{Counts, ReadError, SeriesValue};

/// One round of one run.
pub(super) struct Counting<'a> {
    wanted: &'a Sampling,
    at: i64,
    round: Taking<'a>,
    /// Pods of which nothing has come yet.
    open: HashMap<&'a str, &'a SampledPod>,
    /// What is wrong with others.
    errors: HashMap<&'a str, ReadError>,
    /// Pods of whose requests nobody can tell which failed.
    untold: HashSet<&'a str>,
}

impl<'a> Counting<'a> {
    pub(super) fn begin(ledger: &'a mut Ledger, wanted: &'a Sampling, at: i64) -> Self {
        let open: HashMap<&str, &SampledPod> =
            wanted.pods.iter().map(|pod| (pod.name.as_str(), pod)).collect();
        let round = ledger.begin(at, open.keys().copied());
        Self { wanted, at, round, open, errors: HashMap::new(), untold: HashSet::new() }
    }

    /// What a pod said, once for each.
    pub(super) fn add(&mut self, pod: &str, said: Result<Vec<SeriesValue>, ReadError>) {
        let Some((name, pod)) = self.open.remove_entry(pod) else { return };
        if said.as_deref().is_ok_and(is_untold) {
            self.untold.insert(name);
        }
        if let Err(error) = self.round.add(reading(pod, self.at, said)) {
            self.errors.insert(name, error);
        }
    }

    /// No pod can be read.
    pub(super) fn fail(&mut self, error: &ReadError) {
        let wanted = self.wanted;
        for pod in &wanted.pods {
            self.add(&pod.name, Err(error.clone()));
        }
    }

    /// What the round came to, and why there is nothing to judge. Pods that nobody could be asked about are missing, too. `unlabelled`: what is to
    /// be said where nobody can tell which requests failed.
    pub(super) fn end(mut self, unlabelled: Option<&ReadError>) -> (Taken, Option<String>) {
        let untold = || unlabelled.and_then(|why| of_untold(self.wanted, &self.untold, why));
        let trouble = trouble(self.wanted, &self.errors, self.at).or_else(untold);
        for pod in self.open.into_values() {
            let _why = self.round.add(reading(pod, self.at, Err(ReadError::NoSamples)));
        }
        (self.round.end(), trouble)
    }
}

fn reading(pod: &SampledPod, at: i64, result: Result<Vec<SeriesValue>, ReadError>) -> Reading {
    Reading {
        pod: pod.name.clone(),
        revision: pod.revision,
        started_at: pod.started_at,
        container_restarts: pod.restarts,
        is_due: pod.is_due(at),
        result,
    }
}

/// Whether too many of all its requests have no status.
fn is_untold(series: &[SeriesValue]) -> bool {
    let mut totals = Totals::default();
    let is_count = |one: &&SeriesValue| one.value.is_finite() && one.value >= 0.0;
    series
        .iter()
        .filter(is_count)
        .filter(|one| matches!(one.counts, Counts::Requests { .. }))
        .for_each(|one| totals.add(one.counts, one.value));
    totals.untold > MOST_UNTOLD * totals.requests
}

/// Why errors cannot be judged: a canary pod, or each of stable's, does not tell which of its requests failed.
fn of_untold(wanted: &Sampling, untold: &HashSet<&str>, why: &ReadError) -> Option<String> {
    let of = |revision| wanted.pods.iter().filter(move |pod| pod.revision == revision);
    let is_untold = |pod: &&SampledPod| untold.contains(pod.name.as_str());
    let of_stable =
        || of(Revision::Stable).next().filter(|_| of(Revision::Stable).all(|pod| is_untold(&pod)));
    let pod = of(Revision::Canary).find(is_untold).or_else(of_stable)?;
    Some(format!("pod {}: {why}", pod.name))
}

/// Why there is nothing to judge: no pod of a revision could be read. What is wrong with one of several shows in their number.
fn trouble(wanted: &Sampling, errors: &HashMap<&str, ReadError>, at: i64) -> Option<String> {
    let of = |revision| {
        let is_one = |pod: &&SampledPod| pod.revision == revision && pod.is_due(at);
        let mut pods = wanted.pods.iter().filter(is_one).peekable();
        pods.peek()?;
        let failed: Option<Vec<_>> =
            pods.map(|pod| Some((pod.name.as_str(), errors.get(pod.name.as_str())?))).collect();
        failed
    };
    let failed = of(Revision::Canary).or_else(|| of(Revision::Stable))?;
    let (pod, error) = failed.first()?;
    let same = errors.len() == wanted.pods.len() && errors.values().all(|other| other == *error);
    Some(if same { error.to_string() } else { format!("pod {pod}: {error}") })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decide::judge::Bound;
    use crate::decide::plan::Source;
    use crate::watch::ObjectKey;
    use crate::watch::room::Room;

    /// What is to be read of these pods, page by page.
    pub fn wanted(pods: &[(&str, Revision)]) -> Sampling {
        let pod = |&(name, revision): &(&str, Revision)| SampledPod {
            name: name.to_owned(),
            revision,
            ip: "10.0.0.1".to_owned(),
            port: 80,
            path: "/metrics".to_owned(),
            started_at: None,
            warm_from: None,
            known_from: Some(0),
            restarts: 0,
        };
        Sampling {
            run: "r1".to_owned(),
            source: Source::Pods { port: None, path: None },
            counted: true,
            values: Vec::new(),
            requests: None,
            latency: None,
            ignore_paths: Vec::new(),
            every: None,
            young: false,
            history: false,
            pods: pods.iter().map(pod).collect(),
        }
    }

    fn unlabelled() -> ReadError {
        ReadError::NoSuchLabel { name: "http_requests_total".to_owned(), label: "code".to_owned() }
    }

    #[test]
    fn a_pod_of_whose_requests_nobody_can_tell_which_failed_says_which_label_it_lacks() {
        let pods = wanted(&[("a", Revision::Stable), ("b", Revision::Stable), ("c", Revision::Canary)]);
        let series = |series, error, value| SeriesValue { series, counts: Counts::Requests { error }, value };
        let told = |untold: f64| Ok(vec![series(1, Some(false), 80.0), series(2, None, untold)]);
        let said = |untold: [f64; 3]| {
            let said = ["a", "b", "c"].into_iter().zip(untold.map(told)).collect();
            let mut ledger = Ledger::new();
            let (taken, trouble) = first(&pods, 1, &mut ledger, said);
            assert!(taken.missing.is_empty(), "they were read");
            trouble
        };
        let of = |pod: &str| Some(format!("pod {pod}: {}", unlabelled()));
        assert!(of("c").is_some_and(|why| why.contains("metrics.requests.statusLabel")));
        assert_eq!(said([0.0, 0.0, 20.0]), None, "few of them are left out");
        assert_eq!(said([0.0, 0.0, 21.0]), of("c"));
        assert_eq!(said([21.0, 0.0, 0.0]), None, "others of stable tell");
        assert_eq!(said([21.0, 21.0, 0.0]), of("a"));
    }

    /// What a first round says in which these pods answer so, one after the other.
    fn first(
        wanted: &Sampling,
        at: i64,
        ledger: &mut Ledger,
        said: Vec<(&str, Result<Vec<SeriesValue>, ReadError>)>,
    ) -> (Taken, Option<String>) {
        let mut counting = Counting::begin(ledger, wanted, at);
        said.into_iter().for_each(|(pod, said)| counting.add(pod, said));
        counting.end(Some(&unlabelled()))
    }

    #[test]
    fn trouble_is_said_when_no_pod_of_a_revision_can_be_read() {
        let pods = wanted(&[("a", Revision::Stable), ("b", Revision::Stable), ("c", Revision::Canary)]);
        let said = |missing: &[&str]| {
            let said = ["a", "b", "c"].map(|name| match missing.contains(&name) {
                true => (name, Err(ReadError::NoSamples)),
                false => (name, Ok(Vec::new())),
            });
            let (taken, trouble) = first(&pods, 1, &mut Ledger::new(), said.into());
            assert_eq!(taken.missing.len(), missing.len());
            trouble
        };
        let why = ReadError::NoSamples.to_string();
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["a"]), None);
        assert_eq!(said(&["c"]), Some(format!("pod c: {why}")));
        assert_eq!(said(&["a", "b"]), Some(format!("pod a: {why}")));
        assert_eq!(said(&["a", "b", "c"]), Some(why.clone()));
        assert_eq!(first(&wanted(&[]), 1, &mut Ledger::new(), Vec::new()).1, None);
        let young = {
            let mut pods = pods.clone();
            pods.pods[2].known_from = Some(2);
            pods
        };
        let of_young = |at| {
            let said = vec![("a", Ok(Vec::new())), ("c", Err(ReadError::NoSamples))];
            first(&young, at, &mut Ledger::new(), said).1
        };
        assert_eq!(of_young(1), None);
        assert_eq!(of_young(2), Some(format!("pod c: {why}")));
    }

    #[test]
    fn a_pod_that_nobody_was_asked_about_is_missing_without_a_reason_of_its_own() {
        let pods = wanted(&[("a", Revision::Stable), ("c", Revision::Canary)]);
        let said = vec![("a", Ok(Vec::new())), ("stranger", Ok(Vec::new()))];
        let (taken, trouble) = first(&pods, 1, &mut Ledger::new(), said);
        assert_eq!((taken.missing, trouble), (vec![(Revision::Canary, "c".to_owned())], None));

        let mut ledger = Ledger::new();
        let mut counting = Counting::begin(&mut ledger, &pods, 1);
        counting.fail(&ReadError::NoSamples);
        let (taken, trouble) = counting.end(None);
        assert_eq!((taken.missing.len(), trouble), (2, Some(ReadError::NoSamples.to_string())));
    }

    #[test]
    fn a_namespace_whose_pods_answer_with_ever_more_series_is_told_so_and_others_are_counted() {
        let series = |from: u64, many: u64| {
            let counts = Counts::Requests { error: Some(false) };
            Ok((from..from + many).map(|series| SeriesValue { series, counts, value: 1.0 }).collect())
        };
        let room = Room::of(64 << 10);
        let noisy = wanted(&[("a", Revision::Canary), ("b", Revision::Canary)]);
        let mut ledger = Ledger::within(&room, &ObjectKey::new("noisy", "loud"));
        // Half of the room is 2,048 series.
        let (taken, trouble) =
            first(&noisy, 1, &mut ledger, vec![("a", series(0, 2000)), ("b", series(0, 49))]);
        assert_eq!((taken.missing.len(), trouble), (1, None), "one of the two is read");
        let all = vec![("a", series(0, 2049)), ("b", series(0, 2049))];
        let (taken, trouble) = first(&noisy, 2, &mut ledger, all);
        assert_eq!((taken.slots.len(), taken.missing.len()), (0, 2), "nothing of them is counted");
        let trouble = trouble.expect("a reason");
        assert!(trouble.starts_with("no room for the series of this pod: "), "{trouble}");

        let shop = wanted(&[("a", Revision::Canary)]);
        let mut of_shop = Ledger::within(&room, &ObjectKey::new("shop", "cart"));
        let mut round = |at, many| first(&shop, at, &mut of_shop, vec![("a", series(0, many))]);
        assert_eq!(round(1, 60).1, None);
        let counted: u64 = round(2, 65).0.slots.iter().map(|slot| slot.requests).sum();
        assert_eq!(counted, 5);
    }

    #[test]
    fn pods_that_all_have_other_bounds_are_unknown_from_where_those_of_a_run_are_too_many() {
        let names: Vec<String> = (0..4).map(|number| format!("pod-{number}")).collect();
        let pods: Vec<(&str, Revision)> =
            names.iter().map(|name| (name.as_str(), Revision::Canary)).collect();
        let histogram = |of: u32| {
            let bound = |number: u32| Bound::new(f64::from(of * 1000 + number)).expect("a number");
            let bucket = |number: u32| SeriesValue {
                series: u64::from(number),
                counts: Counts::Bucket(bound(number)),
                value: 1.0,
            };
            Ok((0..300).map(bucket).collect())
        };
        let pods = wanted(&pods);
        let said = names.iter().zip(0..).map(|(name, of)| (name.as_str(), histogram(of))).collect();
        let mut ledger = Ledger::new();
        assert_eq!(first(&pods, 1, &mut ledger, said).0.missing.len(), 2);
        let again = vec![("pod-1", histogram(1)), ("pod-2", histogram(0)), ("pod-3", histogram(3))];
        let (taken, _) = first(&pods, 2, &mut ledger, again);
        let missing: Vec<&str> = taken.missing.iter().map(|(_, pod)| pod.as_str()).collect();
        assert_eq!(missing, ["pod-0", "pod-3"], "it is read as soon as it has what others have");
    }
}
