//! Windows and freezes on the real API server: what it refuses, who may pass a freeze, and what is held until when.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};

use crate::given::{
    adopted, by_hand, ended, grant, halves, pods_of, quick, say, says, shipped, stands_still, until_at, with,
};

const SHORT: Duration = Duration::from_secs(2);

/// A freeze of this story's namespace only, which has the same name.
fn freeze(story: &Story<'_>, more: Value) -> Value {
    let spec = json!({
        "reason": "year end",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": story.namespace}},
    });
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": story.namespace},
        "spec": with(spec, more),
    })
}

async fn apply(story: &Story<'_>, document: Value) {
    stage::apply(&story.client, &document, "story")
        .await
        .unwrap_or_else(|error| panic!("{document:#}: {error:#}"));
}

async fn lift(story: &Story<'_>) {
    let api = stage::api_of(&story.client, &freeze(story, json!({}))).expect("a kind");
    api.delete(&story.namespace, &Default::default()).await.expect("deleted");
}

/// The days of the week from the one after tomorrow on.
fn other_days() -> Vec<String> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    (2..6).map(|days| (today + jiff::Span::new().days(days)).strftime("%a").to_string()).collect()
}

fn closed() -> Value {
    json!({"allow": [{"days": other_days(), "from": "01:00", "to": "23:00"}]})
}

#[test]
fn a_freeze_holds_and_only_who_has_the_right_passes_it_on_one_of_its_grounds() {
    on_stage(async {
        let story = adopted("freeze", 4, halves()).await;
        apply(&story, freeze(&story, json!({"passes": [{"ground": "security"}, {"ground": "incident"}]})))
            .await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("Frozen").await;
        let blocker = story.status().await["blockedBy"].take();
        let name = &story.namespace;
        assert_eq!(
            blocker["message"],
            format!(
                "freeze {name} holds it until it is deleted: year end. Who has the verb pass on freezes/security or \
                 freezes/incident {name} may let the run pass"
            )
        );
        assert_eq!(
            blocker["unblock"],
            format!(
                "kubectl tidegate pass-freeze shop -n {name} --freeze {name} --ground security|incident --reason '...'"
            )
        );
        stands_still(&story, SHORT).await;
        assert_eq!(pods_of(&story, "v2").await, 0, "{}", story.describe().await);
        // Bob may say things, and not this.
        grant(&story, "bob", "tidegate-edit").await;
        let pass = |ground: &str| json!({"action": "PassFreeze", "freeze": name, "ground": ground, "reason": "a hole is being exploited"});
        let sentence = format!(
            "bob may not pass freeze {name} on grounds of security: it takes the verb pass on freezes.tidegate.dev/security"
        );
        let (sentence, refused) = (&sentence, &pass("security"));
        story
            .until("a refusal that says what it takes", |story| async move {
                let said = story.say("bob", refused.clone()).await.expect_err("not his");
                said.to_string().contains(sentence)
            })
            .await;
        // Alice may pass this freeze on grounds of security, no other and on no other.
        let group = "rbac.authorization.k8s.io";
        let role = format!("pass-{name}");
        for document in [
            json!({
                "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": role},
                "rules": [{"apiGroups": ["tidegate.dev"], "resources": ["freezes/security"], "resourceNames": [name], "verbs": ["pass"]}],
            }),
            json!({
                "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": role},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "apiGroup": group, "name": "alice"}],
            }),
        ] {
            apply(&story, document).await;
        }
        grant(&story, "alice", "tidegate-edit").await;
        let action = says(&story, "alice", pass("security")).await;
        let other = story.say("alice", pass("incident")).await.expect_err("another ground");
        assert!(other.to_string().contains("alice may not pass freeze"), "{other}");
        let last = ended(&story, 1, "Succeeded").await;
        let action = story.get("tidegate.dev/v1alpha1", "ReleaseAction", &action).await;
        assert_eq!(action["status"]["result"], "Done", "{action:#}");
        assert_eq!(action["status"]["message"], format!("freeze {name} does not hold this run any more"));
        let report = story
            .get("tidegate.dev/v1alpha1", "ReleaseReport", last["report"].as_str().unwrap_or_default())
            .await;
        let pass = &report["spec"]["passes"][0];
        assert_eq!(
            (&pass["of"], &pass["freeze"], &pass["ground"], &pass["by"], &pass["reason"]),
            (
                &json!("Freeze"),
                &json!(name),
                &json!("security"),
                &json!("alice"),
                &json!("a hole is being exploited")
            ),
            "{report:#}"
        );
        // What passed was the run, not the Release.
        story.ship_paper("v3", json!({})).await;
        story.until_blocked("Frozen").await;
        lift(&story).await;
        ended(&story, 2, "Succeeded").await;
    });
}

#[test]
fn a_freeze_that_comes_in_mid_run_holds_the_next_step_and_no_undo() {
    on_stage(async {
        let story = shipped("freeze-mid-run", 4, by_hand()).await;
        until_at(&story, "half").await;
        apply(&story, freeze(&story, json!({}))).await;
        say(&story, "Skip").await;
        story.until_blocked("Frozen").await;
        let status = story.status().await;
        assert_eq!(
            (&status["phase"], &status["step"]["name"]),
            (&json!("Held"), &json!("half")),
            "{status:#}"
        );
        stands_still(&story, SHORT).await;
        assert_eq!(pods_of(&story, "v2").await, 2, "{}", story.describe().await);
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        assert_eq!(pods_of(&story, "v1").await, 4, "{}", story.describe().await);
        lift(&story).await;
    });
}

#[test]
fn outside_its_windows_a_run_waits_and_begins_when_they_are_open() {
    on_stage(async {
        let story = shipped("window", 4, with(quick(), json!({"windows": closed()}))).await;
        story.until_blocked("OutsideWindow").await;
        let blocker = story.status().await["blockedBy"].take();
        let until: jiff::Timestamp =
            blocker["until"].as_str().and_then(|text| text.parse().ok()).expect("until when");
        assert!(until > jiff::Timestamp::now() && until.to_string().ends_with("T01:00:00Z"), "{blocker:#}");
        let message = blocker["message"].as_str().unwrap_or_default();
        assert_eq!(message, format!("no window is open. It opens at {until}, the plan takes 3m2s"));
        stands_still(&story, SHORT).await;
        assert_eq!(pods_of(&story, "v2").await, 0, "{}", story.describe().await);
        let open = json!({"allow": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]}]});
        story.apply(story.release(with(quick(), json!({"windows": open})))).await;
        ended(&story, 1, "Succeeded").await;
        // Closed again, it goes back all the same.
        story.apply(story.release(by_hand())).await;
        story.ship_paper("v3", json!({})).await;
        until_at(&story, "half").await;
        story.apply(story.release(with(by_hand(), json!({"windows": closed()})))).await;
        say(&story, "Skip").await;
        story.until_blocked("OutsideWindow").await;
        say(&story, "Abort").await;
        ended(&story, 2, "Aborted").await;
        assert_eq!(pods_of(&story, "v2").await, 4, "{}", story.describe().await);
    });
}

#[test]
fn what_is_documented_is_taken_and_what_makes_no_sense_is_refused_with_a_sentence() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "windows-cel").await;
        let page = include_str!("../../../../docs/windows.md");
        let examples: Vec<Value> = page
            .split("```yaml")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .map(|text| serde_saphyr::from_str(text).expect("YAML"))
            .collect();
        let of = |kind: &str| examples.iter().find(|example| example["kind"] == kind).expect(kind).clone();
        story.try_apply(of("Release"), "story").await.expect("the documented Release");
        apply(&story, of("Freeze")).await;
        let api = stage::api_of(&story.client, &of("Freeze")).expect("a kind");
        api.delete("year-end", &Default::default()).await.expect("deleted");
        let allow = |window: Value| json!({"allow": [window]});
        let one_of = "a window needs exactly one of: days (with from and to), cron (with for)";
        let together = "cron and for go together: write cron: '0 9 * * Mon-Thu' and for: 7h";
        let blackout =
            |from: &str, to: &str| json!({"blackouts": [{"from": from, "to": to, "reason": "year end"}]});
        for (windows, sentence) in [
            (json!({}), "windows needs one of allow, blackouts, lowTraffic"),
            (allow(json!({"from": "09:00", "to": "16:00"})), one_of),
            (allow(json!({"days": ["Mon"], "cron": "0 9 * * *", "for": "1h"})), one_of),
            (allow(json!({"cron": "0 9 * * *"})), together),
            (allow(json!({"days": ["Mon"], "for": "1h"})), together),
            (allow(json!({"cron": "0 9 * * *", "for": "1h", "from": "09:00"})), "from and to go with days"),
            (
                allow(json!({"cron": "0 9 * * *", "for": "0s"})),
                "for is more than 0s and at most 744h (31 days)",
            ),
            (
                allow(json!({"cron": "0 9 * * *", "for": "1000h"})),
                "for is more than 0s and at most 744h (31 days)",
            ),
            (
                allow(json!({"cron": "@daily", "for": "1h"})),
                "'@daily' is not in cron form: write five fields",
            ),
            (allow(json!({"days": ["Mon"], "from": "9:00"})), "'9:00' is not a time of day: write 09:00"),
            (allow(json!({"days": ["Mon"], "to": "24:00"})), "'24:00' is not a time of day: write 09:00"),
            (allow(json!({"days": ["Monday"]})), "Unsupported value: \"Monday\": supported values: \"Mon\""),
            (
                allow(json!({"days": ["Mon"], "timeZone": "Oslo time"})),
                "'Oslo time' is not a time zone: write Europe/Oslo",
            ),
            (blackout("20.12.2026", "2027-01-03"), "'20.12.2026' is not a day: write 2026-12-20"),
            (blackout("2026-12-20", "2026-01-03"), "to 2026-01-03 is before from 2026-12-20"),
        ] {
            let release = story.release(with(halves(), json!({"windows": windows})));
            let refused = format!("{:#}", story.try_apply(release, "story").await.expect_err(sentence));
            assert!(refused.contains(sentence), "{windows}: {refused}");
        }
        for (spec, sentence) in [
            (json!({"from": "2026-12-20T00:00:00Z", "to": "2026-12-20T00:00:00Z"}), "to is not after from"),
            (json!({"to": "next week"}), "must be of type date-time"),
            (json!({"reason": ""}), "spec.reason"),
            (json!({"passes": [{"ground": "Security Fix"}]}), "'Security Fix' is not a name"),
            (
                json!({"releaseSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
                "values go with In and NotIn, and only with them",
            ),
        ] {
            let refused = stage::apply(&story.client, &freeze(&story, spec.clone()), "story").await;
            let refused = format!("{:#}", refused.expect_err(sentence));
            assert!(refused.contains(sentence), "{spec}: {refused}");
        }
        for (action, sentence) in [
            (
                json!({"action": "PassFreeze", "reason": "why not"}),
                "freeze and ground go with PassFreeze, and only with it",
            ),
            (
                json!({"action": "Abort", "reason": "why not", "freeze": "f", "ground": "g"}),
                "freeze and ground go with PassFreeze, and only with it",
            ),
            (
                json!({"action": "PassFreeze", "freeze": "f", "ground": "g"}),
                "PassFreeze needs a reason of at least 3 characters",
            ),
        ] {
            let refused = story.say("admin", action.clone()).await.expect_err(sentence).to_string();
            assert!(refused.contains(sentence), "{action}: {refused}");
        }
    });
}
