//! A Release that is gone in mid-run, and what its owner writes then.

use super::told;

#[test]
fn a_newer_template_is_what_serves_in_the_end_just_before_its_release_goes_or_after() {
    let story = |policies: bool, pushed: u64| {
        let (push, delete) = (format!("at {pushed} push v3 good"), "at 30000 delete-release".to_owned());
        let then = if pushed < 30_000 { [push, delete] } else { [delete, push] }.join("\n");
        format!("replicas 10\nready-after 4000\npolicies {policies}\nat 1000 push v2 good\n{then}")
    };
    for policies in [true, false] {
        for pushed in [29_900, 29_999, 30_001, 30_050, 30_500, 32_000, 60_000] {
            let outcome = told(&story(policies, pushed));
            let log = outcome.log.join("\n");
            assert_eq!(outcome.end.version, "v3", "{policies} {pushed}\n{log}");
            assert_eq!(outcome.end.pods, 10, "{policies} {pushed}\n{log}");
        }
    }
}
