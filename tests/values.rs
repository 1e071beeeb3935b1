//! Numbers that are read now and then become verdicts: by cases.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::api::ReleaseSpec;
use tidegate::api::criterion::{NoData, OnLimit, OnUnknown};
use tidegate::decide::judge::Judgement;
use tidegate::decide::plan;
use tidegate::decide::values::{
    Bound, Criterion, Found, Gauge, Kind, Pods, Point, Sample, State, fold, judge,
};

const T0: i64 = 1_800_000_000;

fn bound(text: &str) -> Bound {
    let mut words = text.split(' ');
    Bound::new(words.next().unwrap(), words.next().unwrap().parse().unwrap()).unwrap()
}

fn criterion(limit: &str, target: &str, seconds: u64) -> Criterion {
    Criterion {
        name: "memory".into(),
        place: 0,
        kind: Kind::Promql { query: "memory".into(), by: Some("country".into()) },
        limit: bound(limit),
        target: (!target.is_empty()).then(|| bound(target)),
        held_for: Duration::from_secs(seconds),
        no_data: NoData::Unknown,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    }
}

/// A sample as a word: `7`, `a=7,b=9`, `7+3?` (three series could not be read), `nan`, `-` (no data), `error`, `7!` (blameless).
fn sample(t: i64, every: u32, word: &str) -> Sample {
    let (word, blameless) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
    let found = match word {
        "error" => Err("no connection".to_owned()),
        "-" => Ok(Found::default()),
        word => {
            let (word, missing) = match word.strip_suffix('?').and_then(|word| word.split_once('+')) {
                Some((word, missing)) => (word, missing.parse().unwrap()),
                None => (word, 0),
            };
            let point = |word: &str| {
                let (series, value) = word.split_once('=').unwrap_or(("", word));
                Point { series: series.into(), value: value.parse().unwrap() }
            };
            let points = word.split(',').filter(|word| !word.is_empty()).map(point).collect();
            Ok(Found { points, missing, trouble: "pod x is silent".into() })
        }
    };
    Sample { t, criterion: "memory".into(), definition: String::new(), every, blameless, found }
}

/// Verdicts after each sample, by their first letters; `.` is a sample that never came.
fn verdicts(criterion: &Criterion, every: u32, words: &str) -> String {
    let mut state = State::default();
    let criteria = std::slice::from_ref(criterion);
    let mut letters = String::new();
    for (place, word) in words.split_whitespace().enumerate() {
        let t = T0 + i64::try_from(place).unwrap() * i64::from(every);
        if word != "." {
            fold(criteria, &mut state, &[sample(t, every, word)]);
            // A restart: what is not in status is gone.
            state = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
        }
        letters.push_str(&format!("{:?}", judge(criteria, &state, t)[0].verdict)[..1]);
    }
    letters
}

fn after(criterion: &Criterion, every: u32, words: &str) -> Judgement {
    let mut state = State::default();
    let samples: Vec<Sample> = (0..)
        .zip(words.split_whitespace())
        .map(|(place, word)| sample(T0 + place * i64::from(every), every, word))
        .collect();
    fold(std::slice::from_ref(criterion), &mut state, &samples);
    judge(std::slice::from_ref(criterion), &state, samples.last().unwrap().t).remove(0)
}

#[test]
fn numbers_become_verdicts() {
    let usual = criterion("> 10", "", 15);
    let with_target = criterion("> 10", "< 8", 15);
    let short = criterion("> 10", "", 0);
    let low = criterion("<= 2", ">= 4", 15);
    let no_data = |no_data| Criterion { no_data, ..criterion("> 10", "", 15) };
    let (pass, hold) = (no_data(NoData::Pass), no_data(NoData::Hold));
    let cases: &[(&str, &Criterion, u32, &str, &str)] = &[
        ("it passes when it has been well for as long", &usual, 5, "7 7 7 7 7", "UUUPP"),
        (
            "a limit that is breached for so long is a breach, for good",
            &usual,
            5,
            "7 11 11 11 11 7 7 7 7 error",
            "UUUUBBBBBB",
        ),
        ("one bad sample decides nothing", &short, 5, "7 7 7 99 7 7 7 7", "UUPUUUPP"),
        ("nor do two, whatever for says", &short, 5, "99 99 7 99 99 7", "UUUUUU"),
        ("but three do", &short, 5, "99 99 99", "UUB"),
        ("a break begins it anew", &usual, 5, "11 11 11 10 11 11 11 11", "UUUUUUUB"),
        (
            "between target and limit it stands still",
            &with_target,
            5,
            "7 7 7 7 9 9 9 9 9 7 7 7 7",
            "UUUPUUUHHUUUP",
        ),
        ("less may be worse", &low, 5, "5 5 5 5 3 3 3 3 2 2 2 2", "UUUPUUUHHHHB"),
        ("errors neither pass nor breach", &usual, 5, "error error error error error", "UUUUU"),
        ("nor does what is no number", &usual, 5, "nan nan nan nan inf inf inf inf inf", "UUUUUUUUU"),
        (
            "an error in between does not hide a breach, and is not counted",
            &usual,
            5,
            "11 error 11 11 11",
            "UUUBB",
        ),
        ("two samples are too few over any time", &usual, 5, "11 error error 11 error error", "UUUUUU"),
        (
            "what was half a minute ago is no part of it",
            &usual,
            5,
            "11 11 11 . . . . . . 11 11 11 11",
            "UUUUUUUUUUUUB",
        ),
        ("a verdict without news becomes Unknown", &usual, 5, "7 7 7 7 . . . . . . .", "UUUPPPPPPPU"),
        ("an hour between samples is no gap where that is asked for", &usual, 3600, "11 11 11", "UUB"),
        ("each series has its own time", &usual, 5, "a=11,b=1 a=1,b=11 a=11,b=1 a=1,b=11 a=11,b=1", "UUUHH"),
        ("the worst series decides", &usual, 5, "a=1,b=1 a=1,b=11 a=1,b=11 a=1,b=11 a=1,b=11", "UUUUB"),
        (
            "a series that is gone is not over the limit any more",
            &usual,
            5,
            "a=1,b=11 a=1,b=11 a=1,b=11 a=1 a=1,b=11",
            "UUUUU",
        ),
        ("unless it could not be read", &usual, 5, "a=1,b=11 a=1,b=11 a=1,b=11 a=1+1? a=1,b=11", "UUUUB"),
        ("a fifth may be missing", &usual, 5, "1,1,1,1+1? 1,1,1,1+1? 1,1,1,1+1? 1,1,1,1+1?", "UUUP"),
        ("more may not", &usual, 5, "1,1,1+1? 1,1,1+1? 1,1,1+1? 1,1,1+1? 1,1,1+1?", "UUUUU"),
        ("no data is Unknown", &usual, 5, "- - - - -", "UUUUU"),
        ("or well, where that is said", &pass, 5, "- - - - 11 11 11 - 11 11 11 11", "UUUPUUUUUUUB"),
        ("or a reason to stand still", &hold, 5, "7 7 7 7 - - - - 7 7", "UUUPUUUHPP"),
        ("an error is not no data", &pass, 5, "error error error error error", "UUUUU"),
        (
            "what was so before the canary is not its fault",
            &usual,
            5,
            "11! 11! 11 11 11 11 11 11",
            "HHHHHHHH",
        ),
        ("also not after an outage", &usual, 5, "11! 11! . . . . . . . . 11 11 11 11 11", "HHHHHHHHUUHHHHH"),
        ("until it was well once", &usual, 5, "11! 11! 11 7 11 11 11 11", "HHHUUUUB"),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .map(|(name, criterion, every, words, expected)| (name, expected, verdicts(criterion, *every, words)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(name, expected, found)| format!("{name}: expected {expected}, found {found}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_same_samples_give_the_same_state_in_any_batches() {
    let criterion = criterion("> 10", "< 8", 15);
    let words = ["7", "a=11,b=3", "error", "-", "12", "nan", "11", "11", "9", "11", "11", "11", "11", "2"];
    let samples: Vec<Sample> =
        (0..).zip(words).map(|(place, word)| sample(T0 + place * 5, 5, word)).collect();
    let criteria = std::slice::from_ref(&criterion);
    let mut at_once = State::default();
    fold(criteria, &mut at_once, &samples);
    for parts in 1..samples.len() {
        let mut state = State::default();
        for part in samples.chunks(parts) {
            fold(criteria, &mut state, part);
            // What comes again is known.
            fold(criteria, &mut state, &samples[..parts]);
            assert!(part.iter().all(|sample| !state.lacks(sample, T0 + 1000)));
            state = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
        }
        assert_eq!(serde_json::to_string(&state).unwrap(), serde_json::to_string(&at_once).unwrap());
    }
    let size = serde_json::to_string(&at_once).unwrap().len();
    assert!(size < 1000, "{size} bytes");
}

#[test]
fn what_has_lasted_goes_on_when_the_clock_is_set_back() {
    let criterion = criterion("> 10", "", 15);
    let criteria = std::slice::from_ref(&criterion);
    for back in [3, 30, 3600] {
        let mut state = State::default();
        let over = |t: i64| sample(t, 5, "11");
        fold(criteria, &mut state, &[over(T0), over(T0 + 5), over(T0 + 10)]);
        let now = T0 + 10 - back;
        assert!(state.lacks(&over(now), now));
        assert!(state.set_back(now));
        assert!(!state.set_back(now), "once");
        fold(criteria, &mut state, &[over(now)]);
        assert_eq!(state.breached_at("memory"), Some(now), "{back} s");
        assert_eq!(state.breached_since("memory"), Some(now - 15), "{back} s");
    }
    // Two leaders' clocks are a little apart.
    let mut state = State::default();
    fold(criteria, &mut state, &[sample(T0, 5, "11")]);
    assert!(!state.set_back(T0 - 2));
}

#[test]
fn another_limit_starts_afresh_and_what_is_not_asked_for_is_forgotten() {
    let (strict, loose) = (criterion("> 10", "", 0), criterion("> 20", "", 0));
    let mut state = State::default();
    let samples: Vec<Sample> = (0..3).map(|place| sample(T0 + place * 5, 5, "15")).collect();
    fold(&[strict], &mut state, &samples);
    assert_eq!(state.breached_since("memory"), Some(T0));
    fold(&[loose], &mut state, &[]);
    assert_eq!(state.breached_since("memory"), None);
    fold(&[], &mut state, &samples);
    assert_eq!(state, State::default());
}

#[test]
fn a_sentence_says_the_numbers_and_what_is_missing() {
    let usual = criterion("> 10", "< 8", 30);
    let gauge = Gauge { name: "queue".into(), labels: BTreeMap::from([("kind".into(), "mail".into())]) };
    let of_pods = Criterion { kind: Kind::PodGauge(gauge), ..usual.clone() };
    let cases = [
        (
            &usual,
            "NO=12.5,SE=3 NO=12.5,SE=3",
            "The value is 12.5 (country NO): breaches the limit (value > 10) for 5 s of 30 s, in 2 samples of 3.",
        ),
        (
            &usual,
            "NO=9",
            "The value is 9 (country NO): misses the target (value < 8) for 0 s of 30 s, in 1 samples of 3.",
        ),
        (
            &usual,
            "NO=7 NO=7 NO=7 NO=7",
            "The value is 7 (country NO): within the target (value < 8) for 15 s of 30 s.",
        ),
        (
            &usual,
            "NO=7 NO=7 NO=7 NO=7 NO=7 NO=7 NO=7",
            "The value is 7 (country NO): within the target (value < 8).",
        ),
        (
            &of_pods,
            "a=12 a=12 a=12 a=12 a=12 a=12 a=13",
            "The value is 13 (pod a): breaches the limit (value > 10) for 30 s in 7 samples.",
        ),
        (&usual, "error", "It cannot be read: no connection."),
        (
            &usual,
            "nan",
            "It cannot be read: NaN is no number; divide only where there is something to divide by, as in a / (b > 0).",
        ),
        (
            &usual,
            "-",
            "Its source answers and has no such number, for 0 s. If that is well, write noData: Pass.",
        ),
        (
            &usual,
            "NO=12! NO=12",
            "The value is 12 (country NO): breaches the limit (value > 10) for 5 s in 2 samples, but it was so before the first canary pod ran: not this release's fault. It goes on when the target (value < 8) is met.",
        ),
    ];
    for (criterion, words, expected) in cases {
        assert_eq!(after(criterion, 5, words).message, expected);
    }
    assert_eq!(of_pods.kind.source(), "queue{kind=\"mail\"} of each canary pod");
    let judgement = after(&usual, 5, "NO=12.5 NO=12.5");
    assert_eq!((judgement.have, judgement.need, judgement.value), (2, Some(7), Some(12.5)));
}

fn of_pods(kind: Kind, limit: &str, seconds: u64) -> Criterion {
    Criterion { kind, ..criterion(limit, "", seconds) }
}

#[test]
fn the_pods_status_is_a_criterion() {
    let availability = of_pods(Kind::Availability, "< 90", 60);
    let restarts = of_pods(Kind::Restarts, "> 1", 0);
    let well = Pods { canary: 4, canary_ready: 4, stable: 6, stable_ready: 6, restarts: 0 };
    let bad = Pods { canary_ready: 3, ..well };
    let starting = Pods { canary: 8, ..well };
    let shared = Pods { canary_ready: 2, stable_ready: 3, ..well };
    type Look = (i64, Pods);
    let cases: &[(&str, &Criterion, &[Look], &str)] = &[
        (
            "pods that are not there yet are not missing",
            &availability,
            &[(0, Pods { canary: 4, ..Pods::default() }), (90, starting)],
            "UP",
        ),
        (
            "too few for too long",
            &availability,
            &[(0, well), (10, bad), (69, bad), (70, bad), (80, well)],
            "PUUBB",
        ),
        (
            "not for so long",
            &availability,
            &[(0, well), (10, bad), (69, well), (75, bad), (130, bad)],
            "PUPUU",
        ),
        (
            "stable is no better",
            &availability,
            &[(0, well), (10, shared), (100, shared), (110, bad), (169, bad), (170, bad)],
            "PHHHHB",
        ),
        (
            "a smaller canary is whole",
            &availability,
            &[
                (0, well),
                (10, Pods { canary: 2, canary_ready: 2, ..well }),
                (90, Pods { canary: 6, canary_ready: 2, ..well }),
            ],
            "PPP",
        ),
        (
            "restarts at their limit",
            &restarts,
            &[(0, Pods { restarts: 1, ..well }), (5, Pods { restarts: 2, ..well }), (6, well)],
            "PBB",
        ),
    ];
    for (name, criterion, looks, expected) in cases {
        let criteria = std::slice::from_ref(*criterion);
        let mut state = State::default();
        let mut letters = String::new();
        for (t, pods) in *looks {
            let samples = state.look(criteria, *pods, T0 + t, Some(T0 - 5));
            fold(criteria, &mut state, &samples);
            letters.push_str(&format!("{:?}", judge(criteria, &state, T0 + t)[0].verdict)[..1]);
        }
        assert_eq!(letters, *expected, "{name}");
    }
}

#[test]
fn what_no_process_saw_has_not_lasted() {
    let criteria = [of_pods(Kind::Availability, "< 90", 60)];
    let well = Pods { canary: 4, canary_ready: 4, stable: 6, stable_ready: 6, restarts: 0 };
    let bad = Pods { canary_ready: 1, ..well };
    let mut state = State::default();
    let mut look = |t: i64, pods, since: i64| {
        let samples = state.look(&criteria, pods, T0 + t, Some(T0 + since));
        fold(&criteria, &mut state, &samples);
        (
            format!("{:?}", judge(&criteria, &state, T0 + t)[0].verdict),
            state.due(&criteria[0]).map(|due| due - T0),
        )
    };
    assert_eq!(look(0, well, 0), ("Pass".into(), None));
    assert_eq!(look(10, bad, 0), ("Unknown".into(), Some(70)));
    // Another process looks.
    assert_eq!(look(100, bad, 100), ("Unknown".into(), Some(160)));
    assert_eq!(look(160, bad, 100), ("Breach".into(), None));
}

#[test]
fn what_is_written_is_understood_or_refused_with_the_field() {
    let measuring = |more: serde_json::Value| {
        let mut spec =
            serde_json::json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec: ReleaseSpec = serde_json::from_value(spec).unwrap();
        plan::measuring(&spec).map_err(|error| error.to_string())
    };
    let of = |criteria: serde_json::Value| measuring(serde_json::json!({"criteria": criteria}));
    let errors = serde_json::json!({"name": "errors", "errorRate": {"limit": "5%"}});
    let found = of(serde_json::json!([
        {"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 8e8", "target": "value < 7e8"}},
        errors,
        {"name": "ready", "availability": {"limit": "90%"}},
        {"name": "restarts", "restarts": {"limit": 3, "onLimit": "Hold"}},
    ]))
    .unwrap();
    assert_eq!(found.criteria.len(), 1);
    let seen: Vec<_> = found
        .values
        .iter()
        .map(|value| {
            (value.place, value.kind.show_bound(value.limit), value.held_for.as_secs(), value.on_limit)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, "value > 800000000".to_owned(), 15, OnLimit::Undo),
            (2, "90%".to_owned(), 60, OnLimit::Undo),
            (3, "3".to_owned(), 0, OnLimit::Hold),
        ]
    );
    // Nothing written is the default; an empty list is nothing.
    assert_eq!(measuring(serde_json::json!({})).unwrap().criteria.len(), 2);
    assert!(of(serde_json::json!([])).unwrap().criteria.is_empty());

    // What may have been stored under an older rule.
    let value = |value: serde_json::Value| {
        of(serde_json::json!([errors, {"name": "a", "value": value}])).unwrap_err()
    };
    let gauge = |limit: &str, target: &str| {
        value(serde_json::json!({"podGauge": {"name": "rss"}, "limit": limit, "target": target}))
    };
    assert_eq!(
        value(serde_json::json!({"promql": "up", "limit": "value < 1"})),
        "spec.criteria[1].value.promql: there is no server to ask: write its url as metrics.prometheus.url"
    );
    assert_eq!(
        value(serde_json::json!({"limit": "value < 1"})),
        "spec.criteria[1].value: needs exactly one of: podGauge, promql, json"
    );
    assert_eq!(
        gauge("large", "value < 1"),
        "spec.criteria[1].value.limit: write value > 0.8, with >, >=, < or <="
    );
    assert_eq!(
        gauge("value > 10", "value > 5"),
        "spec.criteria[1].value.target: target 'value > 5' looks the same way as limit 'value > 10'; with limit 'value > 10' write a target such as 'value < 8'"
    );
    assert_eq!(
        gauge("value > 10", "value < 12"),
        "spec.criteria[1].value.target: target 'value < 12' is beyond limit 'value > 10'; a target lies on the good side of the limit"
    );
    assert_eq!(
        value(serde_json::json!({"podGauge": {"name": "rss\"}"}, "limit": "value < 1"})),
        "spec.criteria[1].value.podGauge: names of metrics and labels are made of letters, digits and '_'"
    );
    assert_eq!(
        of(serde_json::json!([{"name": "a"}])).unwrap_err(),
        "spec.criteria[0]: needs exactly one of: errorRate, latency, value, availability, restarts"
    );
}

#[test]
fn a_criterion_that_asks_for_something_else_is_not_judged_by_what_was_read_before() {
    let of = |query: &str, limit: &str| Criterion {
        kind: Kind::Promql { query: query.into(), by: None },
        ..criterion(limit, "", 10)
    };
    // Bytes are fine below a thousand million, and would be far above 800 MiB.
    let (bytes, mebibytes) = (of("memory", "> 1e9"), of("memory / 1048576", "> 800"));
    let read = |t: i64, criterion: &Criterion, word: &str| Sample {
        definition: criterion.kind.definition(),
        ..sample(T0 + t, 5, word)
    };
    let late: Vec<Sample> = (0..6).map(|place| read(5 * place, &bytes, "5e8")).collect();
    let mut state = State::default();
    fold(std::slice::from_ref(&bytes), &mut state, &late[..2]);
    let asked = std::slice::from_ref(&mebibytes);
    let said = |state: &State, t: i64| format!("{:?}", judge(asked, state, T0 + t)[0].verdict);
    fold(asked, &mut state, &late);
    assert_eq!(said(&state, 25), "Unknown", "{state:?}");
    let now: Vec<Sample> = (6..9).map(|place| read(5 * place, &mebibytes, "477")).collect();
    fold(asked, &mut state, &now);
    assert_eq!(said(&state, 40), "Pass", "{state:?}");

    // Neither does what was well with another query make it pass.
    let mut state = State::default();
    fold(std::slice::from_ref(&bytes), &mut state, &late);
    assert_eq!(format!("{:?}", judge(std::slice::from_ref(&bytes), &state, T0 + 25)[0].verdict), "Pass");
    let other = [of("errors", "> 1e9")];
    fold(&other, &mut state, &late);
    assert_eq!(format!("{:?}", judge(&other, &state, T0 + 25)[0].verdict), "Unknown");
    // With another limit on the same number, what was read counts.
    let stricter = [of("memory", "> 1e8")];
    fold(&stricter, &mut state, &late);
    assert_eq!(format!("{:?}", judge(&stricter, &state, T0 + 25)[0].verdict), "Breach");
}

#[test]
fn a_breach_tells_the_number_of_the_series_that_it_names() {
    let usual = criterion("> 0.8", "", 10);
    let judgement = after(&usual, 5, "a=0.81,b=0.1 a=0.81,b=0.1 a=0.82,b=0.99");
    assert_eq!(judgement.value, Some(0.82), "{}", judgement.message);
    assert!(judgement.message.starts_with("The value is 0.82 (country a)"), "{}", judgement.message);
    // Of several that have been over for as long, the worst one.
    let judgement = after(&usual, 5, "a=0.81,b=0.85 a=0.81,b=0.9 a=0.82,b=0.99");
    assert!(judgement.message.starts_with("The value is 0.99 (country b)"), "{}", judgement.message);
}
