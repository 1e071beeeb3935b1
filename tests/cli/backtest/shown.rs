//! What came of it, as it is shown.

use tidegate::cli::backtest::outcome::{
    Assessment, AtLimit, Breach, Called, Data, OfCriterion, OfIncident, OfRelease, Outcome as Document,
    Quiet, Skipped, Suggested, Went, Why,
};
use tidegate::cli::backtest::text::render;

use super::{BAD, END, moment};
use crate::cli::{bare, look};
use crate::past::BEGINNING;

/// One of everything.
fn made_up() -> Document {
    let [from, to] = [BEGINNING, END].map(moment);
    let at = |factor: f64, limit: &str, breaches: usize, per_run: f64, caught: usize| AtLimit {
        factor,
        limit: limit.to_owned(),
        breaches,
        per_run,
        caught,
    };
    Document {
        release: "shop/checkout".to_owned(),
        source: "http://prometheus:9090: requests from http_requests_total".to_owned(),
        from: from.clone(),
        to: to.clone(),
        interval: 15,
        window: 1800,
        data: Data {
            pods: 7,
            slots: 120_000,
            missing: 600,
            rounds: 17_520,
            empty_rounds: 3,
            requests: 6_000_000,
            samples: 51_840,
            unread: 720,
        },
        quiet: Quiet { windows: 50, replays: 200, false_undos: 4, per_run: 0.02, at_most: 0.12 },
        criteria: vec![OfCriterion {
            name: "errors".to_owned(),
            limit: "5%".to_owned(),
            undoes: true,
            verdicts: [("Pass".to_owned(), 190), ("Unknown".to_owned(), 6), ("Breach".to_owned(), 4)].into(),
            unknown: [("TooFewRequests".to_owned(), 6)].into(),
            limits: vec![at(1.0, "5%", 4, 0.02, 1), at(1.5, "7.5%", 0, 0.0, 0)],
        }],
        releases: vec![OfRelease {
            from: moment(BAD),
            to: moment(BAD + 1200),
            revision: Some("checkout-9b4cc".to_owned()),
            went: Went::Back,
            called: Some(Called::Bad),
            pods: 1,
            undone: Some(Breach {
                criterion: "errors".to_owned(),
                after: 45,
                message: "The error rate is 20 %\u{1b}[31m.".to_owned(),
            }),
            assessment: Assessment::Caught,
            breached: vec![vec![true, false]],
        }],
        incidents: vec![OfIncident { from, to: moment(BEGINNING + 900), replays: 4, undone: 1 }],
        skipped: vec![Skipped { from: moment(END - 1800), to, why: Why::NoData }],
        max_false_undos: 0.01,
        suggested: Some(Suggested {
            limits: [("errors".to_owned(), "7.5%".to_owned())].into(),
            per_run: 0.0,
            missed: 1,
        }),
        notes: vec!["something to know".to_owned()],
        ok: false,
    }
}

#[test]
fn for_people_it_is_tables_and_a_verdict() {
    insta::assert_snapshot!(bare(&render(&made_up(), look(None))), @r#"
    shop/checkout
    replayed  2026-11-18 00:00:00Z to 2026-11-21 00:00:00Z, after an hour to learn from
    source    http://prometheus:9090: requests from http_requests_total
    data      7 pods, 6000000 requests in slots of 15 s; 0.5% of the pods' slots are missing; 51840 samples of other numbers; 1.39% of them could not be read
    windows   50 of 30m replayed, 200 times with one pod or another as the canary; 1 left out: Prometheus has no data of more than a fifth of it (1)

    Quiet windows
    CRITERION  LIMIT  BREACHED  PER RUN  PASS  HOLD  UNKNOWN  MOSTLY          UNDOES
    errors     5%     4 of 200  2%       95%   0%    3%       TooFewRequests  yes

    Releases
    FROM                  TOOK  REVISION        WENT  CALLED  JUDGE
    2026-11-20 09:00:00Z  20m   checkout-9b4cc  back  bad     undone after 45s: errors: The error rate is 20 % [31m.

    Incidents
    2026-11-18 00:00:00Z to 2026-11-18 00:15:00Z: a release meanwhile would have been undone 1 of 4 times

    With other limits
    CRITERION  LIMIT  BREACHED  PER RUN  BAD RELEASES CAUGHT
    errors     5%     4         2%       1
    errors     7.5%   0         0%       0

    verdict   4 of 200 would have been undone for nothing: 2% a run (with 95 % confidence in no more than 12% of all windows): more than 1%.
    suggested errors 7.5%: 0% a run; 1 bad release would go out with them.
    note      something to know.
    "#);
}

#[test]
fn for_machines_it_is_one_document() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&made_up()).unwrap(), @r#"
    {
      "release": "shop/checkout",
      "source": "http://prometheus:9090: requests from http_requests_total",
      "from": "2026-11-18T00:00:00Z",
      "to": "2026-11-21T00:00:00Z",
      "interval": 15,
      "window": 1800,
      "data": {
        "pods": 7,
        "slots": 120000,
        "missing": 600,
        "rounds": 17520,
        "emptyRounds": 3,
        "requests": 6000000,
        "samples": 51840,
        "unread": 720
      },
      "quiet": {
        "windows": 50,
        "replays": 200,
        "falseUndos": 4,
        "perRun": 0.02,
        "atMost": 0.12
      },
      "criteria": [
        {
          "name": "errors",
          "limit": "5%",
          "undoes": true,
          "verdicts": {
            "Breach": 4,
            "Pass": 190,
            "Unknown": 6
          },
          "unknown": {
            "TooFewRequests": 6
          },
          "limits": [
            {
              "factor": 1.0,
              "limit": "5%",
              "breaches": 4,
              "perRun": 0.02,
              "caught": 1
            },
            {
              "factor": 1.5,
              "limit": "7.5%",
              "breaches": 0,
              "perRun": 0.0,
              "caught": 0
            }
          ]
        }
      ],
      "releases": [
        {
          "from": "2026-11-20T09:00:00Z",
          "to": "2026-11-20T09:20:00Z",
          "revision": "checkout-9b4cc",
          "went": "Back",
          "called": "Bad",
          "pods": 1,
          "undone": {
            "criterion": "errors",
            "after": 45,
            "message": "The error rate is 20 %\u001b[31m."
          },
          "assessment": "Caught"
        }
      ],
      "incidents": [
        {
          "from": "2026-11-18T00:00:00Z",
          "to": "2026-11-18T00:15:00Z",
          "replays": 4,
          "undone": 1
        }
      ],
      "skipped": [
        {
          "from": "2026-11-20T23:30:00Z",
          "to": "2026-11-21T00:00:00Z",
          "why": "NoData"
        }
      ],
      "maxFalseUndos": 0.01,
      "suggested": {
        "limits": {
          "errors": "7.5%"
        },
        "perRun": 0.0,
        "missed": 1
      },
      "notes": [
        "something to know"
      ],
      "ok": false
    }
    "#);
}
