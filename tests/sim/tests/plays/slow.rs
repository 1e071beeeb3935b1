//! An API server that takes two seconds for each request, those about the Lease too.

use tidegate_sim::network::Purpose;

use super::{second, told};

#[test]
fn at_two_seconds_a_request_whoever_leads_leads_on_and_undoes_what_answers_with_errors() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"2m"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    let late: Vec<String> = (1..=2000)
        .map(|number| format!("request {number} late 2000\nlease-request {number} late 2000"))
        .collect();
    let outcome = told(&format!(
        "candidates 2\n{release}\nat 1000 push v2 errors\nat 200000 pages honest\n{}",
        late.join("\n")
    ));
    let log = outcome.log.join("\n");
    let (version, end) = (&outcome.end.version, &outcome.end.outcome);
    assert_eq!((version, end), (&"v1".into(), &"Undone".into()), "{log}");
    // Shown to be bad before the soak is over.
    let undone = second(&outcome, "was undone: ");
    assert!(undone.is_some_and(|second| second < 130.0), "{undone:?}\n{log}");
    let wrote = |who: &str| outcome.log.iter().any(|line| line.contains(&format!("{who} wrote deployments")));
    assert_ne!(wrote("operator 0"), wrote("operator 1"), "{log}");
    for (purpose, least) in [(Purpose::Lease, 6), (Purpose::Status, 3), (Purpose::Deployment, 2)] {
        let late = outcome.befallen.get(&("late", purpose)).copied().unwrap_or_default();
        assert!(late >= least, "{purpose:?}: {late}");
    }
}
