//! Pods that have only just come, of which a Prometheus server cannot tell yet.

use super::told;

const GOES_OUT: &str = r#""steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"5s","for":"30s"}]"#;
const ERRORS: &str = r#"{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}"#;
const QUEUE: &str = r#"{"name":"queue","value":{"limit":"value > 100","podGauge":{"name":"shop_queue"}}}"#;

fn asked_every(seconds: u32, criteria: &str) -> String {
    format!(
        r#"release {{"criteria":[{criteria}],"metrics":{{"prometheus":{{"scrapeInterval":"{seconds}s","url":"http://prometheus.monitoring:9090"}}}},{GOES_OUT}}}"#
    )
}

#[test]
fn a_gauge_of_which_a_server_cannot_know_yet_holds_nothing() {
    for (seconds, after) in [(2, 1000), (5, 3000), (15, 1000)] {
        let release = asked_every(seconds, QUEUE);
        let outcome = told(&format!("replicas 7\n{release}\nready-after {after}\nat 1542 push v2 good"));
        let log = outcome.log.join("\n");
        assert!(!log.contains("no such gauge") && !log.contains("no such number"), "{seconds}\n{log}");
        assert_eq!(outcome.end.outcome, "Succeeded", "{seconds}\n{log}");
    }
}

#[test]
fn a_pod_is_not_missing_before_there_can_be_something_to_read_of_it() {
    for (seconds, after) in [(5, 20_000), (15, 20_000), (15, 1000)] {
        let release = asked_every(seconds, ERRORS);
        let outcome = told(&format!("replicas 4\n{release}\nready-after {after}\nat 1542 push v2 good"));
        let log = outcome.log.join("\n");
        assert!(!log.contains("were missing lately"), "{seconds}\n{log}");
        assert_eq!(outcome.end.outcome, "Succeeded", "{seconds}\n{log}");
    }
}

#[test]
fn a_version_is_given_up_for_unseen_only_where_its_pods_have_been_there_for_a_while() {
    let check = r#""preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{"fails":"true"}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}]"#;
    let release = asked_every(15, ERRORS);
    let release = release.replacen(r#""steps""#, &format!(r#"{check},"steps""#), 1);
    told(&format!("replicas 3\n{release}\nready-after 20000\nat 1959 push v4 errors"));
}
