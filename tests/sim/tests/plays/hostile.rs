//! Releases in which somebody has written what means no good: they trouble no other, and come to rest once it is taken out.

use super::told;

#[test]
fn what_means_no_good_in_a_release_keeps_no_other_waiting_and_leaves_nothing_when_it_is_taken_out() {
    let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    let nested = "body.list.all(a, body.list.all(b, body.list.all(c, body.list.all(d, a + b + c + d >= 0))))";
    let check = |expect: String| {
        format!(r#"{{"preflight":[{{"name":"odd","http":{{"podPath":"/large","expect":{expect}}}}}]}}"#)
    };
    for written in [
        check(format!(r#"{{"expression":"{deep}"}}"#)),
        check(format!(r#"{{"expression":"{nested}"}}"#)),
        check(format!(r#"{{"bodyMatches":"{}"}}"#, "(a?){99}".repeat(32))),
        r#"{"windows":{"allow":[{"cron":"* * * * *","for":"744h"}]}}"#.to_owned(),
        r#"{"windows":{"allow":[{"cron":"59 23 31 2 *","for":"1s"}]}}"#.to_owned(),
        r#"{"steps":[{"name":"ever","replicas":1,"soak":"999999h999999m999999s"}]}"#.to_owned(),
    ] {
        let outcome = told(&format!(
            "beside 1\nat 500 hostile {written}\nat 1000 push v2 good\nat 1000 beside till push v2 good"
        ));
        let log = outcome.log.join("\n");
        assert_eq!(outcome.end.version, "v2", "{written}\n{log}");
        assert!(outcome.looked.contains_key("11 (others go on)"), "{written}\n{log}");
    }
}

#[test]
fn a_check_that_is_changed_in_mid_run_is_tried_anew_once_for_each_change() {
    let check = |expect: String| {
        format!(r#"{{"preflight":[{{"name":"odd","http":{{"podPath":"/large","expect":{expect}}}}}]}}"#)
    };
    let one = check(format!(r#"{{"bodyMatches":"{}"}}"#, "(a?){99}".repeat(32)));
    let other = check(format!(r#"{{"expression":"{}true{}"}}"#, "(".repeat(500), ")".repeat(500)));
    let outcome = told(&format!(
        "replicas 1\nstrategy {{\"rollingUpdate\":{{\"maxSurge\":1,\"maxUnavailable\":0}},\"type\":\"RollingUpdate\"}}\nready-after 1000\n\
         at 1607 hostile {one}\nat 3093 push v2 good\nat 3285 hostile {other}\nat 20000 pages honest"
    ));
    let jobs = outcome.log.iter().filter(|line| line.contains("made jobs/")).count();
    assert_eq!(jobs, 2, "{}", outcome.log.join("\n"));
}
