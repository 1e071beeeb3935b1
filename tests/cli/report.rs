//! Reports as documents, and that what people wrote stays text in them.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Value, json};
use tidegate::api::ReleaseReport;
use tidegate::cli::report::chain::{Newest, Record, walk};
use tidegate::cli::report::document::document;
use tidegate::cli::report::{html, markdown};

fn report(spec: Value) -> ReleaseReport {
    let mut all = json!({
        "release": "checkout", "releaseUid": "uid-1", "target": "deployment/checkout", "run": "r6",
        "outcome": "Undone", "message": "errors: 12.5% of requests fail, limit 5%",
        "startedAt": "2026-11-20T09:00:00Z", "endedAt": "2026-11-20T09:04:02Z", "changedBy": "argocd",
        "stable": {"revision": "checkout-7d9f", "fingerprint": "7d9f0", "images": ["shop/checkout:1.4.1"]},
        "canary": {"revision": "checkout-59c8", "fingerprint": "59c80", "images": ["shop/checkout:1.4.2"]},
        "writtenBy": "tidegate 0.1.0",
        "chain": {"digest": "5b1f", "previous": {"report": "checkout-r5-succeeded-20261118-100000", "digest": "77aa"}},
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseReport",
        "metadata": {"name": "checkout-r6-undone-20261120-090000", "namespace": "shop"}, "spec": all,
    }))
    .unwrap()
}

fn undone() -> ReleaseReport {
    report(json!({
        "checks": [
            {"name": "smoke", "state": "Passed", "attempt": 1, "message": "status 200 in 41 ms", "since": "2026-11-20T09:00:04Z"},
            {"name": "sign-off", "state": "Passed", "attempt": 1, "message": "signed as qa-manager", "since": "2026-11-20T09:01:00Z"},
        ],
        "signatures": [{"role": "qa-manager", "by": "alice@example.com", "at": "2026-11-20T09:01:00Z", "reason": "smoke tests green, see #4711"}],
        "steps": [{
            "name": "tenth", "pods": 1, "of": 10, "begun": "2026-11-20T09:01:01Z", "reached": "2026-11-20T09:01:05Z",
            "left": "2026-11-20T09:02:05Z",
        }],
        "evidence": [
            {
                "criterion": "errors", "verdict": "Breach", "value": "12.5%", "interval": ["8.1%", "17%"], "target": "1%",
                "limit": "5%", "have": 96, "message": "above the limit of 5 %", "source": "http_requests_total{status}",
                "window": {"from": "2026-11-20T09:01:05Z", "until": "2026-11-20T09:04:00Z"},
                "canary": {"requests": 96, "bad": 12}, "stable": {"requests": 860, "bad": 1},
                "tests": [{"of": "worse than stable", "evidence": "8.41", "threshold": "5.99"}],
            },
            {"criterion": "memory", "verdict": "Pass", "value": "0.4", "limit": "value > 0.8", "have": 9, "counted": "samples", "shadow": true},
        ],
        "undo": {
            "cause": "Breach", "message": "errors: 12.5% of requests fail, limit 5%", "budget": "5m",
            "times": {
                "breachAt": "2026-11-20T09:04:00.100Z", "decidedAt": "2026-11-20T09:04:00.500Z",
                "orderedAt": "2026-11-20T09:04:00.560Z", "restoredAt": "2026-11-20T09:04:01.700Z",
            },
        },
        "notes": ["memory: 3 pods could not be asked"],
    }))
}

#[test]
fn a_run_that_was_undone_is_a_report_in_the_form_of_a_runbooks() {
    insta::assert_snapshot!(markdown::render(&document(&undone())), @r#"
    # Deployment Report - 2026-11-20

    ## Summary

    - Version: shop/checkout:1.4.2 (checkout-59c8)
    - Version before: shop/checkout:1.4.1 (checkout-7d9f)
    - Deployed by: argocd
    - Date: 2026-11-20 09:00:00Z to 2026-11-20 09:04:02Z
    - Duration: 4m 2s
    - Status: Failed (Undone): errors: 12.5% of requests fail, limit 5%
    - Release: shop/checkout
    - Workload: deployment/checkout
    - Run: r6

    ## Metrics

    - User impact: 12 of 96 requests to new pods were bad by errors

    | Criterion | Verdict | Value | Really between | Target | Limit | Window | Samples | Read from |
    | --- | --- | --- | --- | --- | --- | --- | --- | --- |
    | errors | Breach | 12.5% | 8.1% and 17% | 1% | 5% | 2026-11-20 09:01:05Z to 2026-11-20 09:04:00Z | 96 requests | http\_requests\_total{status} |
    | memory (shadow: not enforced) | Pass | 0.4 |  |  | value \> 0.8 |  | 9 samples |  |

    - errors: above the limit of 5 %; new pods: 12 bad of 96 requests; stable pods: 1 bad of 860 requests; worse than stable: ln(e) 8.41 of 5.99

    ## Issues

    1. errors breached its limit of 5%: above the limit of 5 %
       - Impact: 12 of 96 requests to new pods were bad
       - Resolution: put back: stable stood again 1.60 s after the first sign

    ## Rollback

    - Cause: Breach: errors: 12.5% of requests fail, limit 5%
    - Took: 1.60 s
    - Budget: 5m, kept

    | When | After | What |
    | --- | --- | --- |
    | 2026-11-20 09:04:00.100Z |  | first evidence of a breach |
    | 2026-11-20 09:04:00.500Z | 0.40 s | decided to go back |
    | 2026-11-20 09:04:00.560Z | 0.06 s | the last canary pod ordered away |
    | 2026-11-20 09:04:01.700Z | 1.14 s | all stable pods ready and no canary pod serving |
    | 2026-11-20 09:04:02.000Z |  | the run was over |

    ## Known Issues

    1. memory: 3 pods could not be asked

    ## Steps

    | Step | New pods when left | Begun | Pods stood | Left | Stood for |  |
    | --- | --- | --- | --- | --- | --- | --- |
    | tenth | 1 of 10 (10%) | 2026-11-20 09:01:01Z | 2026-11-20 09:01:05Z | 2026-11-20 09:02:05Z | 1m |  |

    ## Checks

    | Check | Step | Result | Try | Since | What was found |
    | --- | --- | --- | --- | --- | --- |
    | smoke |  | Passed | 1 | 2026-11-20 09:00:04Z | status 200 in 41 ms |
    | sign-off |  | Passed | 1 | 2026-11-20 09:01:00Z | signed as qa-manager |

    ## Sign-Off

    | Role | Who | When | What | Reason |
    | --- | --- | --- | --- | --- |
    | qa-manager | `alice@example.com` | 2026-11-20 09:01:00Z | approval | smoke tests green, see `#4711` |

    ## Lessons Learned

    -
    -
    -

    ## Action Items

    - [ ]
    - [ ]
    - [ ]

    ## Record

    - ReleaseReport: checkout-r6-undone-20261120-090000
    - Digest: 5b1f
    - Follows: checkout-r5-succeeded-20261118-100000
    - Written by: tidegate 0.1.0
    "#);
}

#[test]
fn a_run_that_went_well_has_no_issues_and_leaves_room_for_lessons() {
    let good = report(
        json!({"outcome": "Succeeded", "message": "checkout-59c8 is out after 62 s", "chain": {"digest": "5b1f"}}),
    );
    insta::assert_snapshot!(markdown::render(&document(&good)), @r#"
    # Deployment Report - 2026-11-20

    ## Summary

    - Version: shop/checkout:1.4.2 (checkout-59c8)
    - Version before: shop/checkout:1.4.1 (checkout-7d9f)
    - Deployed by: argocd
    - Date: 2026-11-20 09:00:00Z to 2026-11-20 09:04:02Z
    - Duration: 4m 2s
    - Status: Success (Succeeded): checkout-59c8 is out after 62 s
    - Release: shop/checkout
    - Workload: deployment/checkout
    - Run: r6

    ## Metrics

    - User impact: no requests were counted

    Nothing was measured.

    ## Issues

    None.

    ## Known Issues

    None.

    ## Checks

    None were asked for.

    ## Lessons Learned

    -
    -
    -

    ## Action Items

    - [ ]
    - [ ]
    - [ ]

    ## Record

    - ReleaseReport: checkout-r6-undone-20261120-090000
    - Digest: 5b1f
    - Follows: nothing: the first
    - Written by: tidegate 0.1.0
    "#);
}

#[test]
fn a_failed_check_is_told_with_where_it_was_done_and_what_came_of_it() {
    let failed = |step: Value| json!({"name": "smoke", "step": step, "state": "Failed", "attempt": 1, "message": "status 500", "log": ["no"]});
    let back = |cause: &str| {
        json!({
            "cause": cause, "message": "smoke: status 500",
            "times": {"decidedAt": "2026-11-20T09:04:00Z", "restoredAt": "2026-11-20T09:04:01.700Z"},
        })
    };
    let written = |spec: Value| markdown::render(&document(&report(spec)));
    let issues = |written: &str| {
        let (_, rest) = written.split_once("## Issues\n\n").expect("issues");
        rest.split("\n\n").next().unwrap().to_owned()
    };

    let early = written(json!({"outcome": "Aborted", "checks": [failed(Value::Null)]}));
    insta::assert_snapshot!(issues(&early), @r#"
    1. check smoke failed: status 500
       - Impact: none: it was done before the first pod
    "#);

    let checks = json!([failed(json!("half")), failed(json!("undo.validate"))]);
    let of_steps = written(json!({"checks": checks, "undo": back("CheckFailed")}));
    insta::assert_snapshot!(issues(&of_steps), @r#"
    1. check smoke of step half failed: status 500
       - Impact: new pods were in service
       - Resolution: put back: stable stood again 1.70 s after the first sign
    2. check smoke of undo.validate failed: status 500
       - Impact: it was done on what was put back, after stable stood again
    "#);
    for line in
        ["| smoke | half | Failed | 1 |", "| smoke | undo.validate | Failed | 1 |", "| smoke, half | no |"]
    {
        assert!(of_steps.contains(line), "{line}: {of_steps}");
    }

    let for_another_reason = written(json!({"checks": [failed(json!("half"))], "undo": back("Abort")}));
    assert!(issues(&for_another_reason).contains("- Resolution: none by the run itself"));
}

#[test]
fn the_page_holds_the_same_and_loads_nothing() {
    let page = html::render(&document(&undone()));
    for told in ["<h2>Lessons Learned</h2>", "alice@example.com", "1.60 s", "<td>12.5%</td>", "5m, kept"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    for loaded in ["<script", "<link", "<img", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

/// A report in which every text is this one.
fn all_of(text: &str) -> ReleaseReport {
    report(json!({
        "release": text, "target": text, "run": text, "message": text, "changedBy": text, "writtenBy": text,
        "stable": {"revision": text, "fingerprint": text, "images": [text]},
        "canary": {"images": [text, text]},
        "checks": [{"name": text, "step": text, "state": "Failed", "message": text}],
        "signatures": [{"role": text, "by": text, "at": "2026-11-20T09:01:00Z", "reason": text}],
        "steps": [{"name": text, "pods": 1, "of": 10, "left": "2026-11-20T09:02:05Z", "skippedBy": text}],
        "evidence": [{
            "criterion": text, "verdict": "Breach", "value": text, "interval": [text, text], "target": text, "limit": text,
            "have": 1, "message": text, "source": text, "counted": text, "tests": [{"of": text, "evidence": text, "threshold": text}],
        }],
        "undo": {"cause": "Breach", "message": text, "budget": text, "times": {"decidedAt": "2026-11-20T09:04:00Z", "by": text}},
        "notes": [text, text],
        "chain": {"digest": text, "previous": {"report": text, "digest": text}},
    }))
}

/// What a reader of Markdown sees: how often each kind of element is begun, and everything in words.
fn seen(text: &str) -> (std::collections::BTreeMap<String, usize>, String) {
    let all = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let (mut kinds, mut words) = (std::collections::BTreeMap::new(), String::new());
    for event in Parser::new_ext(text, all) {
        let kind = match event {
            Event::Start(tag) => match tag {
                Tag::Heading { .. } => "heading".to_owned(),
                Tag::List(start) => format!("list {}", start.is_some()),
                Tag::Item | Tag::Paragraph | Tag::TableHead | Tag::TableRow | Tag::TableCell => {
                    format!("{tag:?}")
                }
                Tag::Table(columns) => format!("table of {}", columns.len()),
                other => panic!("foreign text became {other:?}\n{text}"),
            },
            Event::End(_) => continue,
            Event::Text(said) | Event::Code(said) => {
                words.push_str(&said);
                continue;
            }
            Event::SoftBreak => {
                words.push(' ');
                continue;
            }
            Event::TaskListMarker(_) => "box".to_owned(),
            other => panic!("foreign text became {other:?}\n{text}"),
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    (kinds, words)
}

fn stays_text(text: &str) {
    let written = markdown::render(&document(&all_of(text)));
    let (kinds, words) = seen(&written);
    let (usual, _) = seen(&markdown::render(&document(&all_of("x"))));
    assert_eq!(kinds, usual, "other elements with {text:?}\n{written}");
    for lost in text
        .split_whitespace()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|'))
    {
        assert!(words.contains(lost), "{lost:?} is lost\n{written}");
    }
    let page = html::render(&document(&all_of(text)));
    let tags = |page: &str| (page.matches('<').count(), page.matches('>').count(), page.matches('"').count());
    assert_eq!(tags(&page), tags(&html::render(&document(&all_of("x")))), "{text:?}\n{page}");
    assert!(
        !page.contains('\'') || page.matches('\'').count() == 4,
        "only the policy of the page has quotes"
    );
}

#[test]
fn nothing_that_people_write_becomes_markup() {
    for text in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](http://evil.test)",
        "![x](http://evil.test/x.png)",
        "http://evil.test/a www.evil.test mailto:a@b.test",
        "<http://evil.test>",
        "a | b | c\n| --- | --- |\n| d |",
        r"back\slash \| pipe \\| `a|b` ``",
        "`` ` code @all ` ``",
        "# heading\n\n- item\n\n1. one",
        "1) one",
        "- one",
        "+ one",
        "=== ",
        "--- ",
        "> quoted",
        "~~gone~~ **bold** __bold__ *i* _i_",
        "$x^2$ $$y$$",
        "&lt;b&gt; &#x41; &copy;",
        "[^1] [^1]: note",
        "<!-- comment -->",
        "<?php ?> <![CDATA[x]]>",
        "' \" onmouseover='x'",
        "\u{202e}evil\u{2066} \u{1b}[31mred\u{7}",
        "a@b\\|c `@|` @`` ",
        "[x]",
        "[ ] todo",
        "\\",
        "`",
    ] {
        stays_text(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_text_becomes_markup(text in r#"[ \n\t<>&|\\`*_\[\]()!#@~$'"=+.:/a-z0-9é☃\u{2028}-]{0,40}"#) {
        stays_text(&format!("x{text}"));
        stays_text(&text);
    }
}

#[test]
fn a_chain_is_told_from_the_oldest_to_the_newest() {
    let spec = |run: u32, previous: Value| {
        let mut spec = json!({
            "releaseUid": "u1", "run": format!("r{run}"), "endedAt": format!("2026-11-20T09:0{run}:00Z"),
            "chain": {"digest": "", "previous": previous},
        });
        spec["chain"]["digest"] = json!(tidegate::api::digest::of_record(&spec));
        spec
    };
    let two = spec(2, json!({"report": "checkout-r1", "digest": "aa"}));
    let three = spec(3, json!({"report": "checkout-r2", "digest": two["chain"]["digest"]}));
    let four = spec(4, json!({"report": "checkout-r3"}));
    let records = [("checkout-r4", &four), ("checkout-r2", &two), ("checkout-r3", &three)]
        .map(|(name, spec)| Record::of(name.to_owned(), spec));
    let newest = Newest {
        release_uid: "u1".into(),
        name: "checkout-r4".into(),
        digest: four["chain"]["digest"].as_str().unwrap().into(),
    };
    insta::assert_snapshot!(walk("checkout", &records, Some(&newest)).text, @r#"
    checkout (uid u1): 3 records
      checkout-r2: follows checkout-r1, which was removed with all before it
      checkout-r3: follows checkout-r2
      checkout-r4: follows checkout-r3 by name only: its digest was not known
    the chain holds; its newest digest is 59f2ff02c3d7f1bc91b042ff08b552b64cb5c4f30a1eca5a1b9d951aa5083cfc
    "#);
    let newest = Newest { digest: "bb".into(), ..newest };
    let told = walk("checkout", &records[..2], Some(&newest));
    assert!(told.broken);
    insta::assert_snapshot!(told.text, @r#"
    checkout (uid u1): 2 records
      checkout-r2: follows checkout-r1, which was removed with all before it
      checkout-r4: BROKEN: follows checkout-r3, which is missing, and there are older ones
      checkout-r4: BROKEN: status has another digest of it: it was put in the place of another
    the chain is BROKEN
    "#);
}
