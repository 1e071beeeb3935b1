//! Single stories in the simulated cluster.

#[path = "plays/beside.rs"]
mod beside;
#[path = "plays/days.rs"]
mod days;
#[path = "plays/full_nodes.rs"]
mod full_nodes;
#[path = "plays/hostile.rs"]
mod hostile;
#[path = "plays/kept.rs"]
mod kept;
#[path = "plays/left_behind.rs"]
mod left_behind;
#[path = "plays/lost.rs"]
mod lost;
#[path = "plays/measured.rs"]
mod measured;
#[path = "plays/missing.rs"]
mod missing;
#[path = "plays/nodes.rs"]
mod nodes;
#[path = "plays/own_writes.rs"]
mod own_writes;
#[path = "plays/owners_fields.rs"]
mod owners_fields;
#[path = "plays/promised.rs"]
mod promised;
#[path = "plays/records.rs"]
mod records;
#[path = "plays/scaled.rs"]
mod scaled;
#[path = "plays/slow.rs"]
mod slow;
#[path = "plays/too_old.rs"]
mod too_old;
#[path = "plays/trials.rs"]
mod trials;
#[path = "plays/two_leaders.rs"]
mod two_leaders;
#[path = "plays/unheard.rs"]
mod unheard;
#[path = "plays/way_back.rs"]
mod way_back;
#[path = "plays/windows.rs"]
mod windows;
#[path = "plays/young_pods.rs"]
mod young_pods;

use tidegate_sim::play::{Outcome, play, play_within};
use tidegate_sim::story::Story;

fn told(text: &str) -> Outcome {
    told_by(1, text)
}

/// `seed`: of what waits are jittered with.
fn told_by(seed: u64, text: &str) -> Outcome {
    let outcome = play(&text.parse().expect("a story"), seed);
    let shown = || format!("{:#?}\n{}\n{}", outcome.violations, outcome.log.join("\n"), outcome.described);
    assert!(outcome.violations.is_empty(), "{}", shown());
    outcome
}

#[test]
fn a_good_version_goes_out_through_the_whole_loop() {
    let outcome = told("at 1000 push v2 good");
    assert_eq!(outcome.end.version, "v2", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Succeeded");
}

#[test]
fn a_version_whose_pods_crash_comes_back() {
    let outcome = told("at 1000 push v2 crash");
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Undone");
    // Its pods crash a second after they start: what waits for anything else is later.
    let ordered = outcome.log.iter().rev().find(|line| line.contains("operator 0 wrote deployments/shop"));
    let seconds: Option<f64> = ordered.and_then(|line| line.split(' ').next()?.parse().ok());
    assert!(seconds.is_some_and(|seconds| seconds < 6.0), "{}", outcome.log.join("\n"));
}

#[test]
fn a_version_that_has_no_image_comes_back_before_its_deadline() {
    let outcome = told("at 1000 push v2 missing");
    let end = (outcome.end.version.as_str(), outcome.end.outcome.as_str());
    assert_eq!(end, (Some("v1"), Some("Undone")), "{}", outcome.log.join("\n"));
    assert!(second(&outcome, "ImagePullBackOff").is_some(), "{}", outcome.log.join("\n"));
    let undone = second(&outcome, "was undone: ");
    assert!(undone.is_some_and(|undone| undone < 60.0), "{undone:?}\n{}", outcome.log.join("\n"));
}

#[test]
fn pods_that_are_not_ready_for_a_moment_hold_a_run_up_and_no_more() {
    let outcome = told("at 1000 push v2 good\nat 20000 flap 4 10\nat 60000 flap 1 3");
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
}

#[test]
fn one_that_is_cut_off_from_the_lease_writes_no_more_when_another_leads() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"for":"20s","every":"5s"}]}"#;
    let outcome = told(&format!(
        "candidates 2\n{release}\nat 1000 push v2 good\nat 6000 cut-off 60\nat 90000 pages honest"
    ));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    let wrote = |who: &str| outcome.log.iter().any(|line| line.contains(&format!("{who} wrote deployments")));
    assert!(wrote("operator 0") && wrote("operator 1"), "{}", outcome.log.join("\n"));
}

#[test]
fn who_cannot_renew_the_lease_writes_nothing_after_ten_seconds_though_nobody_else_leads() {
    // A step each second or two: something is written all the time. The Lease is not renewed for half a minute, from the beginning on.
    let steps: Vec<String> =
        (1..=10).map(|step| format!(r#"{{"name":"s{step}","replicas":"{step}0%","soak":"1s"}}"#)).collect();
    let release = format!(
        r#"release {{"criteria":[],"steps":[{}],"watch":[{{"for":"3s","every":"1s"}}]}}"#,
        steps.join(",")
    );
    let faults: Vec<String> = (1..=15).map(|number| format!("lease-request {number} failed")).collect();
    let outcome = told(&format!(
        "replicas 10\ncandidates 1\n{release}\nready-after 300\nat 100 push v2 good\nat 60000 pages honest\n{}",
        faults.join("\n")
    ));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    // It has waited for the Lease, with the run under way.
    let passed = ["s1", "s9"].map(|step| second(&outcome, &format!("step {step} passed")));
    assert!(matches!(passed, [Some(first), Some(last)] if first < 10.0 && last > 25.0), "{passed:?}");
}

#[test]
fn what_is_not_answered_is_waited_for_as_long_as_is_promised_and_no_longer() {
    // The first soak ends while nothing comes through: what is written then is not answered for half a minute.
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;
    let outcome = told(&format!("{release}\nat 1000 push v2 good\nat 4500 cut-off 40"));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    assert!(outcome.looked.contains_key("2 (a deadline)"), "{:?}", outcome.looked);
}

#[test]
fn a_lease_that_somebody_deletes_is_made_anew_by_who_leads_and_nobody_else_writes() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"half","replicas":"50%","soak":"5s"}],"watch":[{"for":"5s","every":"1s"}]}"#;
    // Each time a little later after a renewal.
    let deleted: Vec<String> = (0..8).map(|time| format!("at {} delete-lease", 1001 + 2300 * time)).collect();
    let outcome = told(&format!("candidates 2\n{release}\nat 1000 push v2 good\n{}", deleted.join("\n")));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    let wrote = |who: &str| outcome.log.iter().any(|line| line.contains(&format!("{who} wrote deployments")));
    assert_ne!(wrote("operator 0"), wrote("operator 1"), "{}", outcome.log.join("\n"));
}

#[test]
fn what_a_deposed_leader_had_under_way_arrives_when_another_leads_and_is_refused_where_that_has_decided() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"for":"20s","every":"5s"}]}"#;
    // Those that are late arrive whether anybody waits for them or not: what is sent while it is cut off, after a minute.
    let late: Vec<String> = (1..=2000).map(|number| format!("request {number} late 1")).collect();
    let outcome = told(&format!(
        "candidates 2\n{release}\nat 1000 push v2 good\nat 4500 cut-off 60\nat 90000 pages honest\n{}",
        late.join("\n")
    ));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    assert!(outcome.looked.contains_key("2 (late, when another leads)"), "{:?}", outcome.looked);
}

/// One after the other may not be renewed for so long that another one has to lead, or nobody does.
#[test]
fn whatever_becomes_of_requests_about_the_lease_one_leads_at_a_time_and_the_version_goes_out() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"for":"20s","every":"5s"}]}"#;
    let passed = |fault: &str| {
        let faults: Vec<String> = (1..=40).map(|number| format!("lease-request {number} {fault}")).collect();
        let faults = if fault.is_empty() { String::new() } else { faults.join("\n") };
        let outcome =
            told(&format!("candidates 2\n{release}\nat 1000 push v2 good\nat 90000 pages honest\n{faults}"));
        assert_eq!(outcome.end.outcome, "Succeeded", "{fault}\n{}", outcome.log.join("\n"));
        second(&outcome, "step one passed").expect("it has passed")
    };
    let usual = passed("");
    for fault in ["failed", "lost", "throttled", "throttled 1"] {
        let late = passed(fault);
        assert!(usual + 10.0 < late, "{fault}: {late} s, usually {usual} s");
    }
    for fault in ["answerless", "swallowed", "late 3000", "late 7000"] {
        passed(fault);
    }
}

#[test]
fn while_its_watches_bring_nothing_it_does_not_decide_on_what_was_before_its_own_writes() {
    let outcome = told("at 1000 push v2 good\nat 1003 hold-watches 3000\nat 9000 hold-watches 4000");
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
}

#[test]
fn a_job_that_failed_is_run_once_more_when_somebody_says_retry() {
    let job = r#"{"name":"backup","job":{"template":{"spec":{"template":{"metadata":{"annotations":{"fails":"true"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"c"}]}}}}}}"#;
    let release = format!(
        r#"release {{"criteria":[],"preflight":[{job}],"steps":[{{"name":"all","replicas":"100%"}}],"watch":[{{"for":"3s","every":"1s"}}]}}"#
    );
    let outcome =
        told(&format!("{release}\nat 1000 push v2 good\nat 20000 say Retry\nat 60000 pages honest"));
    assert_eq!(outcome.end.jobs, 2, "{}", outcome.log.join("\n"));
}

#[test]
fn a_rejected_version_that_is_applied_again_is_held_and_no_run_begins() {
    let outcome = told("at 1000 push v2 crash\nat 20000 apply\nat 40000 apply");
    assert_eq!(outcome.end.phase, "Rejected", "{}", outcome.log.join("\n"));
    assert!(!outcome.log.iter().any(|line| line.contains("run r2")), "{}", outcome.log.join("\n"));
}

#[test]
fn a_story_told_twice_is_the_same_story_to_the_last_write() {
    let text = "candidates 2\nat 1000 push v2 good\nat 20000 kill 2\nat 30000 scale 7\nat 31000 cut-off 20\nrequest 60 swallowed\nrequest 90 late 4000\nrequest 95 throttled";
    let story: Story = text.parse().expect("a story");
    let (one, other) = (play(&story, 3), play(&story, 3));
    assert_eq!(one.log, other.log);
    assert!(one.writes > 5, "{}", one.log.join("\n"));
    assert_eq!(story.to_string().parse::<Story>().as_ref(), Ok(&story));
}

/// The second at which a line of the log says this first.
fn second(outcome: &Outcome, what: &str) -> Option<f64> {
    outcome.log.iter().find(|line| line.contains(what))?.split(' ').next()?.parse().ok()
}

const SIGNED: &str = r#"release {"criteria":[],"preflight":[{"name":"sign-off","approval":{"roles":["qa"]}}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;

#[test]
fn a_signature_counts_whichever_clock_runs_ahead() {
    for clock in ["7200", "-7200"] {
        let outcome = told(&format!(
            "{SIGNED}\nat 1000 clock {clock}\nat 2000 push v2 good\nat 9000 say Approve qa\nat 60000 pages honest"
        ));
        let moved = second(&outcome, "\"Moving\"");
        assert!(moved.is_some_and(|second| second < 10.0), "{moved:?}\n{}", outcome.log.join("\n"));
    }
}

#[test]
fn whoever_goes_on_may_have_another_time_than_whoever_began() {
    for clocks in ["600 -600", "-600 600"] {
        let text =
            format!("candidates 2\nclocks {clocks}\nat 1000 push v2 good\nat 20000 kill 0\nat 90000 kill 0");
        let story: Story = text.parse().expect("a story");
        assert_eq!(story.to_string().parse().as_ref(), Ok(&story));
        let outcome = told(&text);
        let (version, end) = (&outcome.end.version, &outcome.end.outcome);
        assert_eq!((version, end), (&"v2".into(), &"Succeeded".into()), "{}", outcome.log.join("\n"));
    }
}

#[test]
fn who_changed_the_template_before_somebody_else_did_does_not_approve_it_and_the_next_one_they_may() {
    let outcome = told(&format!(
        "{SIGNED}\nat 1000 push-by alice v2 good\nat 4000 push v3 good\nat 30000 say Approve qa\nat 35000 says check sign-off: 0 of 1 signatures\nat 36000 say Abort\nat 60000 push v4 good\nat 70000 say Approve qa\nat 120000 pages honest"
    ));
    let (version, end) = (&outcome.end.version, &outcome.end.outcome);
    assert_eq!((version, end), (&"v4".into(), &"Succeeded".into()), "{}", outcome.log.join("\n"));
}

#[test]
fn what_was_said_about_an_older_release_of_the_name_is_not_about_this_one() {
    let outcome = told(&format!(
        "{SIGNED}\nat 1000 push v2 good\nat 3000 cut-off 12\nat 4000 say Approve qa\nat 6000 delete-release\nat 8000 make-release\nat 40000 push v3 good\nat 60000 pages honest"
    ));
    let said = outcome.log.iter().find(|line| line.contains("alice made releaseactions/"));
    let said = said.and_then(|line| line.split(' ').nth(3)).expect("somebody signed");
    let taken = outcome.log.iter().any(|line| line.contains(&format!("operator 0 wrote {said}")));
    assert!(!taken, "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.version, "v3", "{}", outcome.log.join("\n"));
}

#[test]
fn whichever_request_is_refused_a_newer_template_is_not_lost() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;
    let mut waited = false;
    for request in 8..26 {
        let [one, other] = ["throttled", "throttled 3"].map(|throttled| {
            let outcome = told(&format!(
                "{release}\nat 1000 push v2 stuck\nat 5000 push v3 good\nrequest {request} {throttled}"
            ));
            let log = outcome.log.join("\n");
            let (version, end) = (&outcome.end.version, &outcome.end.outcome);
            assert_eq!(
                (version, end),
                (&"v3".into(), &"Succeeded".into()),
                "request {request} {throttled}\n{log}"
            );
            log
        });
        waited |= one.lines().zip(other.lines()).any(|(one, other)| one != other);
    }
    assert!(waited, "whoever is asked to come back in three seconds comes when it likes");
}

#[test]
fn a_job_that_arrives_when_its_run_is_over_is_no_second_try() {
    let job = r#"release {"criteria":[],"preflight":[{"name":"backup","job":{"template":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"c"}]}}}}}}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;
    told(&format!(
        "policies false\n{job}\nat 1732 push v2 good\nat 11047 push v3 good\nrequest 2 failed\nrequest 4 failed\nrequest 7 late 12059"
    ));
}

/// What the native controller does by itself, and what the owner writes where no policy keeps it from taking effect.
#[test]
fn what_others_do_is_not_held_against_the_operator() {
    let slow = r#"strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}"#;
    let all = r#"release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}"#;
    // Scaled down in mid-move it shrinks the pods that serve with those that do not.
    told(&format!("replicas 16\n{slow}\n{all}\nat 1000 push v3 stuck\nat 100000 scale 8"));
    // Nobody sees a template that comes in mid-move.
    told(&format!(
        "replicas 10\npolicies false\n{slow}\n{all}\nat 1000 push v2 good\nat 1500 hold-watches 8000\nat 3000 push v3 good"
    ));
    // Held without a run, the owner writes another strategy.
    let steps = r#"release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"2s"},{"name":"half","replicas":"50%","soak":"2s"}],"watch":[{"every":"1s","for":"3s"}]}"#;
    let rolling = r#"{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}"#;
    told(&format!(
        "replicas 2\npolicies false\nstrategy {{\"type\":\"Recreate\"}}\n{steps}\nat 5450 push v2 good\nat 6920 edit {rolling}"
    ));
    // The Deployment is made anew while a run of the old one ends, and rolls out by itself before it is taken up.
    told(&format!(
        "{steps}\nready-after 4000\nat 1383 push v2 crash\nat 11266 delete-deployment\nat 20566 make-deployment\nat 24585 push v4 errors\nrequest 13 late 7052\nrequest 22 failed\nrequest 28 late 11677"
    ));
    // Made anew before anybody has seen that it was gone: its pods begin anew with it.
    told(&format!("replicas 4\n{all}\nat 22529 delete-deployment\nat 22536 make-deployment"));
    // Handed back, and paused by its owner.
    told(&format!("replicas 1\n{all}\nat 1000 push v3 stuck\nat 6000 say HandBack\nat 9000 pause true"));
}

#[test]
fn a_story_that_does_not_end_says_so() {
    let story: Story = "at 1000 push v2 good".parse().expect("a story");
    let outcome = play_within(&story, 1, 60);
    assert!(
        outcome.violations.iter().all(|what| what.starts_with("9 (no circles)")),
        "{:?}",
        outcome.violations
    );
    assert_eq!(outcome.violations.len(), 1);
}

#[test]
fn an_undo_that_is_ordered_only_now_has_not_come_to_its_end() {
    // The owner has put the stable template back while nobody looked: no canary pod is there, but the fields are those of a move.
    told(
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
at 3295 push v2 errors
at 3583 kill 2
at 20438 push v1 good
at 26445 say Abort
request 4 throttled
request 12 swallowed"#,
    );
}

#[test]
fn a_version_that_mends_a_stable_one_of_which_no_pod_is_ready_goes_out() {
    let outcome = told(
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":2},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"2s"},{"name":"half","replicas":"50%","soak":"2s"}],"watch":[{"every":"1s","for":"3s"}]}
at 1132 push v2 crash
at 21702 delete-release
at 25315 apply
at 27211 scale 0
at 29095 make-release
at 30900 scale 3
at 50000 push v3 good"#,
    );
    assert_eq!(outcome.end.version, "v3", "{}", outcome.log.join("\n"));
}

const LOCKED: &str = r#"release {"locks":["db"],"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;

#[test]
fn of_releases_that_want_one_lock_one_run_at_a_time_moves_and_each_has_its_turn() {
    let begin = "at 1000 push v2 good\nat 1000 beside till push v2 good\nat 1001 beside depot push v2 crash";
    for more in ["", "at 1004 hold-watches 900\n", "at 1006 kill 0\n", "at 1500 beside till say Abort\n"] {
        let outcome = told(&format!("beside 2\n{LOCKED}\n{more}{begin}"));
        let moved = |name: &str| {
            let wrote = format!("wrote releases/{name} ");
            let moving = |line: &&String| line.contains(&wrote) && line.contains("\"Moving\"");
            outcome.log.iter().filter(moving).count()
        };
        assert!(moved("shop") > 0 && moved("depot") > 0, "{more}\n{}", outcome.log.join("\n"));
        assert_eq!(outcome.end.outcome, "Succeeded", "{more}\n{}", outcome.log.join("\n"));
    }
}

const TELLS: &str = r#"release {"notify":[{"name":"team","webhook":{"url":"https://team.example/hook"},"events":["Started","Held","StepPassed","Undoing","Undone","Succeeded","Aborted","Rejected"]},{"name":"later","slack":{"secret":"slack"},"after":"5s","events":["Held","AwaitingApproval"]}],"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;

#[test]
fn a_version_that_goes_bad_when_all_pods_are_of_it_leaves_somebody_to_serve_while_it_goes_back() {
    for replicas in [1, 4, 10] {
        let outcome = told(&format!(
            r#"replicas {replicas}
strategy {{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":1,"maxUnavailable":0}}}}
release {{"criteria":[{{"name":"errors","errorRate":{{"target":"1%","limit":"5%"}}}}],"steps":[{{"name":"all","replicas":"100%"}}],"watch":[{{"for":"15m","every":"5s"}}]}}
ready-after 4000
traffic 200
at 1000 push v2 late"#
        ));
        assert_eq!(outcome.end.outcome, "Undone", "{}", outcome.log.join("\n"));
    }
}

/// What the operator wrote to the Deployment, without the moment, and the moment of the last.
fn orders(outcome: &Outcome) -> (Vec<String>, f64) {
    let orders = outcome.log.iter().filter(|line| line.contains("operator 0 wrote deployments/shop"));
    let apart: Vec<(&str, &str)> = orders.filter_map(|line| line.split_once(' ')).collect();
    let last = apart.last().and_then(|(second, _)| second.parse().ok()).unwrap_or(0.0);
    (apart.into_iter().map(|(_, order)| order.to_owned()).collect(), last)
}

#[test]
fn whoever_does_not_listen_keeps_nothing_waiting_and_is_told_in_the_end() {
    for conduct in ["good", "crash"] {
        let story = |receivers: &str| {
            format!(
                "{TELLS}\nat 500 receivers {receivers}\nat 1000 push v2 {conduct}\nat 90000 receivers honest"
            )
        };
        let (usual, last) = orders(&told(&story("honest")));
        for receivers in ["failing", "refusing", "hanging", "answerless"] {
            let (orders, then) = orders(&told(&story(receivers)));
            assert_eq!(orders, usual, "{receivers}");
            assert!(then < last + 0.2, "{receivers}: {then} s, usually {last} s");
        }
    }
}

#[test]
fn what_is_owed_is_told_by_whoever_comes_after_the_one_that_noted_it() {
    for death in 1..16 {
        told(&format!(
            "{TELLS}\nat 500 receivers failing\nat 900 kill {death}\nat 1000 push v2 crash\nat 20000 receivers honest"
        ));
    }
}

#[test]
fn whoever_hands_back_a_stable_version_that_never_started_pushes_one_that_does() {
    told_by(
        63578,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":4,"maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 4000
at 3397 delete-release
at 4987 push v2 crash
at 5892 make-release
at 9167 scale 0
at 12009 scale 8
at 12378 flap 3 58"#,
    );
    // A run that waits for it after a scale-up from nothing.
    let outcome = told(&format!(
        "policies false\n{LOCKED}\nat 1000 delete-release\nat 2000 scale 0\nat 3000 push v2 stuck\nat 4000 make-release\nat 9000 push v3 good"
    ));
    assert_eq!(outcome.end.version, "v1000", "{}", outcome.log.join("\n"));
}

#[test]
fn an_undo_that_is_ordered_before_status_says_so_may_surge_like_any_other() {
    told_by(
        70605,
        r#"replicas 7
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":2},"type":"RollingUpdate"}
release {"criteria":[],"locks":["db"],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"10s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
beside 1
at 74340 push v2 good
at 74345 beside till push v2 good
at 74350 beside till push v2 errors
at 116651 beside till say Abort
at 149162 push v3 good
request 6 lost
request 10 failed
request 11 answerless
request 15 swallowed
request 29 late 2108
request 36 answerless
request 57 lost
request 67 lost
request 70 throttled
request 88 answerless
request 89 swallowed
request 91 conflict
request 94 throttled
request 95 answerless"#,
    );
}

#[test]
fn who_aborts_and_then_hands_back_while_nobody_looks_gets_the_owners_fields_back() {
    for conduct in ["crash", "good"] {
        let outcome = told_by(
            73983,
            &format!(
                r#"replicas 4
strategy {{"rollingUpdate":{{"maxSurge":2,"maxUnavailable":0}},"type":"RollingUpdate"}}
release {{"criteria":[],"steps":[{{"name":"pilot","replicas":1,"soak":"20s"}},{{"name":"half","replicas":"50%","soak":"20s"}}],"watch":[{{"every":"5s","for":"30s"}}]}}
ready-after 1000
policies false
at 1244 push v2 {conduct}
at 1454 cut-off 29
at 1535 say Abort
at 2116 say HandBack"#
            ),
        );
        assert_eq!(outcome.end.outcome, "HandedBack", "{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_template_that_comes_before_the_kept_one_is_seen_is_held_without_its_owners_fields_being_lost() {
    told_by(
        73464,
        r#"replicas 1
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"10s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 1251 push v2 crash
at 1863 delete-deployment
at 2122 drop-watches
at 4389 push v1 good
at 4534 make-deployment
at 6866 push v3 crash
request 16 late 9590"#,
    );
}

#[test]
fn of_a_deployment_made_anew_no_version_is_stable_yet_whatever_a_status_says_that_is_of_the_one_before() {
    told_by(
        713533,
        r#"replicas 10
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}
deadline 60
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"metrics":{"prometheus":{"scrapeInterval":"15s","url":"http://prometheus.monitoring:9090"}},"onDelete":"Finish","preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 4000
at 1162 push v2 stuck
at 4756 push v3 stuck
at 5406 delete-deployment
at 6553 make-deployment
at 8051 push v4 crash
request 1 answerless
request 5 conflict
request 8 answerless
request 9 lost
request 12 failed
request 13 throttled
request 15 conflict
request 17 answerless
request 30 late 2379
request 37 failed
request 40 throttled
request 71 answerless
request 76 answerless
request 79 late 1278
request 82 answerless
request 84 lost
request 94 failed
request 104 swallowed"#,
    );
}

#[test]
fn a_step_waits_for_pods_on_nodes_of_choice_through_deaths_and_lost_answers() {
    let step = |tier: &str, more: &str| {
        format!(
            r#"{{"name":"half","replicas":"50%","soak":"20s","pilot":{{"nodes":{{"matchLabels":{{"tier":"{tier}"}}}}{more}}}}}"#
        )
    };
    let (nobody, pilot) = (step("nobody", ""), step("pilot", r#","atLeast":1"#));
    let outcome = told(&format!(
        r#"replicas 10
release {{"criteria":[],"steps":[{nobody}],"watch":[{{"for":"10s","every":"5s"}}]}}
at 1000 push v2 good
at 30000 kill 0
at 45000 drop-watches
at 60000 amend {{"steps":[{pilot}]}}
at 70000 kill 0"#
    ));
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.outcome, "Succeeded", "{log}");
    let held = r#""Held" "step half: 0 of 5 new pods are on nodes tier=nobody; 5 elsewhere""#;
    assert!(log.contains(held), "{log}");
    let seconds = |line: &str| line.split(' ').next()?.parse::<f64>().ok();
    let passed = outcome.log.iter().find(|line| line.contains("step half passed"));
    assert!(passed.and_then(|line| seconds(line)).is_some_and(|at| at > 80.0), "{log}");
}
