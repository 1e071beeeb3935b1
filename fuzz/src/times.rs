//! When runs may go on: windows, and how little must go on meanwhile. And when they went on: what `backtest` is told of the past.

use std::time::Duration;

use serde_json::json;
use tidegate::api::ReleaseSpec;
use tidegate::api::text::{CronForm, Span, ZoneName};
use tidegate::api::windows::{LowMark, LowTraffic, Mark, Window, Windows};
use tidegate::cli::backtest::a_share;
use tidegate::cli::backtest::spans::{When, moment, revision_of, shown};
use tidegate::decide::calendar::{Fit, calendar};
use tidegate::decide::plan::Source;
use tidegate::decide::traffic::{self, PlannedMark};

/// What a Release says of windows, as JSON; where it is none, a cron form and a mark for traffic. What opens is open then, and not before.
pub fn windows(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let windows = serde_json::from_str::<Windows>(text).unwrap_or_else(|_| Windows {
        allow: vec![Window {
            cron: Some(CronForm(text.to_owned())),
            r#for: Some(Span("90m".to_owned())),
            time_zone: Some(ZoneName("Europe/Oslo".to_owned())),
            ..Window::default()
        }],
        blackouts: Vec::new(),
        low_traffic: Some(LowTraffic { promql: text.to_owned(), below: LowMark(json!(text)), over: None }),
    });
    low_traffic(&windows);
    // As many as the API server lets through.
    let windows = Windows {
        allow: windows.allow.into_iter().take(8).collect(),
        blackouts: windows.blackouts.into_iter().take(32).collect(),
        low_traffic: windows.low_traffic,
    };
    let calendar = match calendar(Some(&windows)) {
        Ok(calendar) => calendar,
        Err(wrong) => return assert!(wrong.field.starts_with("spec.windows.") && !wrong.problem.is_empty()),
    };
    for second in [1_790_000_000, 0, -377_000_000_000, 253_000_000_000] {
        let now = jiff::Timestamp::from_second(second).expect("a moment");
        let needed = Duration::from_secs(2 * 3600);
        if let Fit::Later { at, .. } = calendar.fit(now, needed) {
            assert!(at > now, "{at}");
            assert_eq!(calendar.fit(at, needed), Fit::Now, "{at}");
        }
    }
}

/// A mark is one that can be held against something, and is itself when it is written again.
fn low_traffic(windows: &Windows) {
    let Some(low) = &windows.low_traffic else { return };
    let mark = low.below.parse();
    let written = mark.map(|mark| match mark {
        Mark::Number(number) => json!(number),
        Mark::Quantile(percent) => json!(format!("p{percent}")),
    });
    assert_eq!(written.and_then(|written| LowMark(written).parse()), mark, "{low:?}");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
    let spec = serde_json::from_value::<ReleaseSpec>(json!({"targetRef": target})).expect("a spec");
    let spec = ReleaseSpec { windows: Some(windows.clone()), ..spec };
    let server = serde_json::from_value(json!({"url": "http://prometheus:9090"})).expect("a server");
    let source = Source::Prometheus { server, scrape_interval: Duration::from_secs(15) };
    match traffic::traffic(&spec, &source) {
        Ok(planned) => match planned.expect("it is written").mark {
            PlannedMark::Number(number) => {
                assert!(number.is_finite() && mark == Some(Mark::Number(number)), "{low:?}")
            }
            PlannedMark::Quantile { percent, over } => {
                let is_of_days = (3600..=744 * 3600).contains(&over.as_secs());
                assert!((1..=99).contains(&percent) && is_of_days, "{low:?}");
            }
        },
        Err(wrong) => {
            assert!(wrong.field.starts_with("spec.windows.lowTraffic") && !wrong.problem.is_empty())
        }
    }
}

/// Stretches of time, moments, shares and names of pods, as `kubectl tidegate backtest` reads them.
pub(super) fn of_backtest(text: &str) {
    if let Ok(when) = text.parse::<When>() {
        assert!(when.from < when.to && when.overlaps(when), "{text}: {when:?}");
        assert!([when.from, when.to].iter().all(|at| !shown(*at).is_empty()), "{text}");
    }
    if let Ok(at) = moment(text) {
        assert!(!shown(at).is_empty(), "{text}");
    }
    if let Ok(share) = a_share(text) {
        assert!((0.0..=1.0).contains(&share), "{text}: {share}");
    }
    if let Some(set) = revision_of(text) {
        assert!(text.starts_with(set) && set.contains('-'), "{text}: {set}");
    }
}
