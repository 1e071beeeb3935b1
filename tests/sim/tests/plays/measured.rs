//! What is counted and what is not: pages that say nothing, a Prometheus server that tells what is not so, clocks that are set.

use tidegate_sim::prometheus::LIES;

use super::{second, told, told_by};

#[test]
fn what_cannot_be_measured_is_not_promoted_and_not_undone() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    for pages in ["silent", "nonsense"] {
        let outcome =
            told(&format!("{release}\nat 500 pages {pages}\nat 1000 push v2 good\nat 120000 pages {pages}"));
        let moved = |line: &&String| line.contains("operator 0 wrote deployments") && line.contains("\"v2\"");
        let before = outcome.log.iter().take_while(|line| !line.contains("120.")).filter(moved).count();
        assert!(before > 1, "{}", outcome.log.join("\n"));
    }
}

/// Too bad to be promoted and not bad enough to be undone: that is said, until somebody decides.
#[test]
fn what_can_be_measured_again_is_seen() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"60%"}}],"steps":[{"name":"half","replicas":"50%","soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    let outcome =
        told(&format!("{release}\nat 500 pages silent\nat 1000 push v2 errors\nat 60000 pages honest"));
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
    assert!(outcome.looked.contains_key("7 (what heals is seen)"), "{:?}", outcome.looked);
}

#[test]
fn a_version_that_answers_with_errors_comes_back_by_what_its_pods_say() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"2m"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    let outcome = told(&format!("{release}\nat 1000 push v2 errors"));
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Undone");
    let good = told(&format!("{release}\nat 1000 push v2 good"));
    assert_eq!(good.end.outcome, "Succeeded", "{}", good.log.join("\n"));
}

#[test]
fn a_clock_that_is_set_hides_no_errors() {
    let steps = r#""steps":[{"name":"one","replicas":1,"soak":"40s"},{"name":"half","replicas":"50%","soak":"40s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"2m","every":"5s"}]"#;
    let counted = r#"{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}"#;
    let server =
        r#""metrics":{"prometheus":{"url":"http://prometheus.monitoring:9090","scrapeInterval":"5s"}},"#;
    for metrics in ["", server] {
        let release = format!(r#"release {{{metrics}"criteria":[{counted}],{steps}}}"#);
        for set in ["-3600", "-30", "-7", "3600"] {
            for at in [2500, 5000, 9000] {
                let by = format!("{metrics}{set} at {at}");
                let outcome = told(&format!("{release}\nat 1000 push v2 errors\nat {at} clock {set}"));
                assert_eq!(outcome.end.outcome, "Undone", "{by}: {}", outcome.log.join("\n"));
                let undone = second(&outcome, "\"Undoing\"");
                assert!(
                    undone.is_some_and(|second| second < 80.0),
                    "{by}: {undone:?}\n{}",
                    outcome.log.join("\n")
                );
            }
            let good = told(&format!("{release}\nat 1000 push v2 good\nat 29000 clock {set}"));
            assert_eq!(good.end.outcome, "Succeeded", "{metrics}{set}: {}", good.log.join("\n"));
        }
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_leave_a_bad_version_where_somebody_is_asked_about_its_undo() {
    let release = r#"release {"undo":{"approval":{"roles":["sre"],"timeout":"4m"}},"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"5m"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"5s"}]}"#;
    let outcome =
        told(&format!("{release}\nat 1000 push v2 errors\nat 120000 clock -7200\nat 500000 pages honest"));
    assert_eq!(outcome.end.outcome, "Undone", "{}", outcome.log.join("\n"));
    let undone = second(&outcome, "\"Undoing\"");
    // Four minutes after they are asked at the soonest, and after the clock was set at the latest.
    let in_time = undone.is_some_and(|second| (240.0..370.0).contains(&second));
    assert!(in_time, "{undone:?}\n{}", outcome.log.join("\n"));
}

#[test]
fn what_another_process_counted_long_ago_promotes_nothing() {
    let server =
        r#""metrics":{"prometheus":{"url":"http://prometheus.monitoring:9090","scrapeInterval":"15s"}},"#;
    for metrics in ["", server] {
        let release = format!(
            r#"release {{{metrics}"criteria":[{{"name":"errors","errorRate":{{"target":"1%","limit":"5%"}}}}],"steps":[{{"name":"one","replicas":1,"soak":"180s"}},{{"name":"all","replicas":"100%"}}],"watch":[{{"for":"1m","every":"5s"}}]}}"#
        );
        let silence = "pages silent\nat 150100 prometheus down";
        let voice = "pages honest\nat 260100 prometheus honest";
        let outcome = told(&format!(
            "{release}\nat 1000 push v2 good\nat 150000 clock -3600\nat 150000 kill 1\nat 150050 {silence}\nat 260000 {voice}"
        ));
        assert_eq!(outcome.end.outcome, "Succeeded", "{metrics} {}", outcome.log.join("\n"));
        let all = second(&outcome, "step all");
        assert!(all.is_some_and(|second| second > 260.0), "{metrics} {all:?}\n{}", outcome.log.join("\n"));
    }
}

const ASKS_PROMETHEUS: &str = r#"release {"metrics":{"prometheus":{"url":"http://prometheus.monitoring:9090","scrapeInterval":"5s"}},"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"5s"}]}"#;

#[test]
fn whatever_a_prometheus_says_that_tells_nothing_a_release_waits_until_it_tells_something() {
    for lies in LIES.into_iter().filter(|lies| !lies.tells()) {
        let lies = format!("{lies:?}").to_lowercase();
        for (conduct, end) in [("good", "Succeeded"), ("errors", "Undone")] {
            let outcome = told(&format!(
                "{ASKS_PROMETHEUS}\nat 500 prometheus {lies}\nat 1000 push v2 {conduct}\nat 150000 prometheus honest"
            ));
            let shown = || format!("{lies}, {conduct}\n{}", outcome.log.join("\n"));
            assert_eq!(outcome.end.outcome, end, "{}", shown());
            let before = outcome.log.iter().take_while(|line| !line.contains("-- prometheus honest"));
            let is_order = |line: &&String| line.contains("operator 0 wrote deployments/shop");
            // It is taken up, one pod is moved, and there it stands.
            let (orders, last) =
                before.filter(is_order).fold((0, ""), |(orders, _), line| (orders + 1, line));
            assert!(orders > 1 && last.contains("\"v2\""), "{}", shown());
            let second: f64 = last.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::MAX);
            assert!(second < 20.0, "{}", shown());
        }
    }
}

#[test]
fn what_prometheus_tells_sends_out_what_is_good_and_brings_back_what_is_bad_though_its_counters_begin_anew() {
    for lies in LIES.into_iter().filter(|lies| lies.tells()) {
        let lies = format!("{lies:?}").to_lowercase();
        for (conduct, end) in [("good", "Succeeded"), ("errors", "Undone")] {
            let outcome = told(&format!(
                "{ASKS_PROMETHEUS}\nat 500 prometheus {lies}\nat 1000 push v2 {conduct}\nat 120000 prometheus {lies}"
            ));
            assert_eq!(outcome.end.outcome, end, "{lies}, {conduct}\n{}", outcome.log.join("\n"));
        }
    }
}

#[test]
fn what_was_counted_in_one_step_is_not_enough_for_the_next_when_nothing_is_known_any_more() {
    let steps = r#"{"name":"one","replicas":1,"soak":"30s"},{"name":"two","replicas":2,"soak":"60s"},{"name":"all","replicas":"100%"}"#;
    let release = ASKS_PROMETHEUS
        .replace(r#"{"name":"one","replicas":1,"soak":"20s"},{"name":"all","replicas":"100%"}"#, steps);
    let usual = told(&format!("{release}\nat 1000 push v2 good\nat 120000 prometheus honest"));
    let is_second = |line: &&String| line.contains("wrote releases/shop \"Soaking\"") && line.ends_with(" 1");
    let begins =
        usual.log.iter().find(is_second).and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    let dark_from = begins.map(|second| format!("{:.0}", second * 1000.0)).expect("there is a second step");
    for lies in LIES.into_iter().filter(|lies| lies.shows()) {
        let lies = format!("{lies:?}").to_lowercase();
        let outcome = told(&format!(
            "{release}\nat 1000 push v2 good\nat {dark_from} prometheus {lies}\nat 300000 prometheus honest\nat 700000 prometheus honest"
        ));
        let before = outcome.log.iter().take_while(|line| !line.contains("-- prometheus honest"));
        let went_on =
            before.filter(|line| line.contains("wrote releases/shop ") && line.ends_with(" 2")).count();
        assert_eq!(went_on, 0, "{lies}\n{}", outcome.log.join("\n"));
        assert_eq!(outcome.end.outcome, "Succeeded", "{lies}\n{}", outcome.log.join("\n"));
    }
}

#[test]
fn samples_that_have_grown_old_tell_of_a_step_that_began_while_nothing_could_be_told() {
    told_by(
        748_105,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"metrics":{"prometheus":{"scrapeInterval":"5s","url":"http://prometheus.monitoring:9090"}},"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 1000
at 3534 push v2 good
at 22573 prometheus strangers
at 30174 prometheus stale
at 56859 prometheus infinite"#,
    );
}

#[test]
fn a_server_that_answers_with_other_pods_says_nothing_of_those_it_was_asked_for() {
    told_by(
        53_707,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":2},"type":"RollingUpdate"}
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"},{"name":"queue","value":{"limit":"value > 100","podGauge":{"name":"shop_queue"}}}],"metrics":{"prometheus":{"scrapeInterval":"5s","url":"http://prometheus.monitoring:9090"}},"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 1000
at 5241 push v2 good
at 7034 flap 3 16
at 12172 push v3 errors
at 15203 prometheus strangers
at 51067 prometheus types"#,
    );
}

#[test]
fn what_another_process_counted_in_its_first_round_passes_no_step_of_this_one() {
    // That round was shorter than the others: what it counted had ended before this process began.
    told_by(
        72946,
        r#"replicas 1
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":2},"type":"RollingUpdate"}
min-ready 1
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"metrics":{"prometheus":{"scrapeInterval":"15s","url":"http://prometheus.monitoring:9090"}},"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 1000
policies false
candidates 0
beside 0
at 922 push v2 good
at 1966 kill 3
at 17663 prometheus error
at 54337 prometheus honest"#,
    );
}
