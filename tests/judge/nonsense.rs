//! No input makes the judge panic or say something firm.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate::decide::judge::{
    Bound, Criterion, Measure, OnLimit, OnUnknown, Reason, Revision, Settings, Slot, State, Verdict,
    begin_step, fold, judge, note_missing,
};

use super::{canary, errors, judged, latency};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(1.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e-300),
        0.0..1.0,
        0.0..1.0,
        any::<f64>(),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0_u64..100, any::<u64>()]
}

fn line() -> impl Strategy<Value = Slot> {
    let le = prop::collection::vec((number(), count()), 0..4);
    let t = prop_oneof![0_i64..20, any::<i64>()];
    (t, any::<bool>(), 0_u8..3, count(), count(), le).prop_map(|(t, is_canary, pod, requests, errors, le)| {
        Slot {
            t,
            revision: if is_canary { Revision::Canary } else { Revision::Stable },
            pod: pod.to_string(),
            requests,
            errors,
            untold: if requests % 5 == 1 { errors } else { 0 },
            le: le
                .into_iter()
                .filter_map(|(bound, count)| Some((Bound::new(bound)?, count)))
                .collect::<BTreeMap<_, _>>(),
            warming: requests % 3 == 1,
        }
    })
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let measure = prop_oneof![
        (number(), number()).prop_map(|(target, limit)| Measure::ErrorRate { target, limit }),
        (0.0..0.1, 0.1..1.0).prop_map(|(target, limit)| Measure::ErrorRate { target, limit }),
        (number(), number(), number()).prop_map(|(quantile, target, limit)| Measure::Latency {
            quantile,
            target,
            limit
        }),
        (number(), number())
            .prop_map(|(limit, ignore_below)| Measure::ErrorRateOfStable { limit, ignore_below }),
        (0.5..1.0, number(), number()).prop_map(|(quantile, limit, ignore_below)| {
            Measure::LatencyOfStable { quantile, limit, ignore_below }
        }),
        (0.5..1.0, 0.0..0.5, 0.5..3.0).prop_map(|(quantile, target, limit)| Measure::Latency {
            quantile,
            target,
            limit
        }),
    ];
    ("[ab]", measure, any::<bool>()).prop_map(|(name, measure, shadow)| Criterion {
        name,
        measure,
        on_limit: OnLimit::Notify,
        on_unknown: OnUnknown::Hold,
        shadow,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_state_survives_its_own_text(
        criteria in prop::collection::vec(criterion(), 0..4),
        batches in prop::collection::vec(prop::collection::vec(line(), 0..12), 0..4),
        alpha in number(),
        beta in number(),
        missing in any::<u32>(),
    ) {
        let settings = Settings { alpha, beta, slot_seconds: u32::MAX };
        let mut state = State::default();
        for (batch, lines) in batches.iter().enumerate() {
            fold(&criteria, &mut state, lines, &settings);
            note_missing(&mut state, batch as i64, missing);
            if batch == 1 {
                begin_step(&mut state);
            }
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), &state);
        }
        let judgements = judge(&criteria, &state, &settings);
        prop_assert_eq!(judgements.len(), criteria.len());
        for judgement in judgements {
            if let Some((low, high)) = judgement.interval {
                prop_assert!((0.0..=1.0).contains(&low) && (low..=1.0).contains(&high), "{:?}", judgement);
            }
            prop_assert!(!judgement.evidence.log_e.is_nan());
            prop_assert!(judgement.message.ends_with('.'));
        }
    }
}

#[test]
fn thresholds_without_sense_are_unknown_and_say_so() {
    let slots: Vec<Slot> = (0..30).map(|t| canary(t, 100, 100)).collect();
    for criterion in [
        errors(0.1, 0.05),
        errors(f64::NAN, 0.05),
        errors(-0.1, 0.05),
        errors(0.0, f64::INFINITY),
        latency(1.0, 0.5, 1.0),
        latency(0.99, 1.0, 0.5),
        latency(0.99, 0.5, f64::INFINITY),
    ] {
        let judgement = judged(&criterion, &slots);
        assert_eq!(judgement.verdict, Verdict::Unknown, "{criterion:?}");
        assert_eq!(judgement.reason, Reason::InvalidCriterion, "{criterion:?}");
    }
}

#[test]
fn a_limit_of_nothing_and_one_of_everything_are_judged() {
    let failing: Vec<Slot> = (0..30).map(|t| canary(t, 100, 5)).collect();
    assert_eq!(judged(&errors(0.0, 0.0), &failing).verdict, Verdict::Breach);
    assert_eq!(judged(&errors(1.0, 1.0), &failing).verdict, Verdict::Pass);
}

#[test]
fn more_errors_than_requests_count_as_all_of_them() {
    let strange: Vec<Slot> = (0..10).map(|t| canary(t, 10, 50)).collect();
    let judgement = judged(&errors(0.05, 0.05), &strange);
    assert_eq!(judgement.verdict, Verdict::Breach);
    assert_eq!(judgement.value, Some(1.0));
}

#[test]
fn bounds_read_and_write_as_prometheus_has_them() {
    for (text, written) in [("0.1", "0.1"), ("+Inf", "+Inf"), ("inf", "+Inf"), ("1e-3", "0.001"), ("-0", "0")]
    {
        assert_eq!(text.parse::<Bound>().unwrap().to_string(), written);
    }
    assert!("NaN".parse::<Bound>().is_err());
    assert!("fast".parse::<Bound>().is_err());
}
