//! Signatures on the real API server: what does not count is refused, by whom and with which words; what is attested; the sign-off; the undo that
//! somebody is asked about.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, on_stage};

use crate::answers::{Answer, Answers};
use crate::given::{grant, quick, says, shipped, ships, stands_still, with};

const SHORT: Duration = Duration::from_secs(2);

fn signed_before(approval: Value) -> Value {
    with(quick(), json!({"preflight": [{"name": "sign-off", "approval": approval}]}))
}

/// What came of an action.
async fn answer(story: &Story<'_>, action: &str) -> (Value, Value) {
    story
        .until("an answer", |story| async move {
            story.get("tidegate.dev/v1alpha1", "ReleaseAction", action).await["status"]["result"].is_string()
        })
        .await;
    let status = story.get("tidegate.dev/v1alpha1", "ReleaseAction", action).await["status"].take();
    (status["result"].clone(), status["message"].clone())
}

async fn refused(story: &Story<'_>, user: &str, spec: Value) -> String {
    let said = story.say(user, spec.clone()).await;
    format!("{:#}", said.err().unwrap_or_else(|| panic!("{user} may say {spec}")))
}

#[test]
fn a_signature_that_does_not_count_is_refused_by_whoever_knows_and_in_which_words() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "sign").await;
        let spec = signed_before(json!({"roles": ["qa-manager"], "validFor": "6s"}));
        story.adopt(story.deployment(4), story.release(spec.clone())).await;
        for user in ["alice", "bob"] {
            grant(&story, user, "tidegate-sign-as-qa-manager").await;
        }
        ships(&story, "bob", "v2").await;
        story.until_blocked("AwaitingApproval").await;
        let approve = json!({"action": "Approve", "role": "qa-manager"});
        let place = format!("{}/shop", story.namespace);
        // By the API server: a role that is not hers, and her own change. What she attests and that she will not have it undone too.
        let words = refused(&story, "alice", with(approve.clone(), json!({"role": "tech-lead"}))).await;
        assert!(words.contains(&format!("alice may not approve release {place} as tech-lead: it takes the verb approve on releases.tidegate.dev/tech-lead")), "{words}");
        let own = format!("bob made the change that release {place} is about: somebody else must");
        let attest =
            json!({"action": "Attest", "role": "qa-manager", "check": "rehearsed", "reason": "I say so"});
        let keep = json!({"action": "Reject", "role": "qa-manager", "undo": true, "reason": "I say so"});
        for (spec, what) in
            [(approve.clone(), "approve it"), (attest, "attest it"), (keep, "say that it stays")]
        {
            let words = refused(&story, "bob", spec).await;
            assert!(words.contains(&format!("{own} {what}")), "{words}");
        }
        for (more, words) in [
            (
                json!({"action": "Approve", "role": "qa-manager", "check": "x"}),
                "check goes with Attest, and only with it",
            ),
            (
                json!({"action": "Attest", "role": "qa-manager", "reason": "so it is"}),
                "check goes with Attest, and only with it",
            ),
            (
                json!({"action": "Attest", "role": "qa-manager", "check": "x"}),
                "Attest needs a reason of at least 3 characters",
            ),
            (
                json!({"action": "Abort", "undo": true, "reason": "so it is"}),
                "undo goes with Approve and Reject",
            ),
            (
                json!({"action": "Skip", "content": "x", "reason": "so it is"}),
                "content goes with Approve and Attest",
            ),
        ] {
            let said = refused(&story, "alice", more).await;
            assert!(said.contains(words), "{said}");
        }
        // By the operator: another plan, another run.
        let content = story.status().await["run"]["content"].clone();
        let other = says(&story, "alice", with(approve.clone(), json!({"content": "0".repeat(64)}))).await;
        let changed = "the plan has changed since: look at it again, and sign again";
        assert_eq!(answer(&story, &other).await, (json!("Refused"), json!(changed)));
        let other = says(&story, "alice", with(approve.clone(), json!({"run": "r7"}))).await;
        assert_eq!(
            answer(&story, &other).await,
            (json!("Refused"), json!("it is about run r7; the run under way is r1"))
        );
        stands_still(&story, SHORT).await;
        // A name that is forged is overwritten, and what is signed is written by the API server.
        let again = with(
            spec.clone(),
            json!({"windows": {"allow": [{"days": ["Mon"], "from": "00:00", "to": "00:01"}]}}),
        );
        story.apply(story.release(again.clone())).await;
        story.until_blocked("WindowTooShort").await;
        let forged = says(&story, "alice", with(approve.clone(), json!({"by": "bob"}))).await;
        assert_eq!(answer(&story, &forged).await, (json!("Done"), json!("signed as qa-manager")));
        let action = story.get("tidegate.dev/v1alpha1", "ReleaseAction", &forged).await["spec"].take();
        let status = story.status().await;
        assert_eq!((&action["by"], &action["content"]), (&json!("alice"), &status["run"]["content"]));
        assert_ne!(action["content"], content, "the window is part of what is signed");
        // A plan that changes voids it, and one that is over does not count: both are said.
        let message = async |words: &str| {
            story
                .until(words, |story| async move {
                    let message = story.status().await["blockedBy"]["message"].clone();
                    message.as_str().unwrap_or_default().contains(words)
                })
                .await;
        };
        message("the signature of alice (qa-manager) counted until").await;
        story.apply(story.release(spec)).await;
        message("what alice (qa-manager) signed has changed since: sign again").await;
        let status = story.status().await;
        assert_eq!(status["blockedBy"]["reason"], "AwaitingApproval", "{}", story.describe().await);
        story
            .until("it is told", |story| async move {
                let events = story.list("events.k8s.io/v1", "Event").await;
                events.iter().filter(|event| event["reason"] == "SignatureVoided").count() == 1
            })
            .await;
        stands_still(&story, SHORT).await;
        says(&story, "alice", approve).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn what_is_attested_and_signed_off_stands_in_the_record_with_who_and_why() {
    on_stage(async {
        let attest = json!({"text": "the rollback was rehearsed", "roles": ["qa-manager"], "link": "https://wiki.shop.test/rollback"});
        let spec = json!({"preflight": [{"name": "rehearsed", "attest": attest}], "signOff": {"roles": ["tech-lead"]}});
        let story = shipped("attest", 4, with(quick(), spec)).await;
        grant(&story, "alice", "tidegate-sign-as-qa-manager").await;
        grant(&story, "bob", "tidegate-sign-as-tech-lead").await;
        story.until_blocked("AwaitingAttestation").await;
        let status = story.status().await;
        assert_eq!(status["run"]["checks"][0]["state"], "Unknown", "{status:#}");
        let words = refused(
            &story,
            "bob",
            json!({"action": "Attest", "role": "qa-manager", "check": "rehearsed", "reason": "so it is"}),
        )
        .await;
        assert!(words.contains("it takes the verb attest on releases.tidegate.dev/qa-manager"), "{words}");
        says(&story, "alice", json!({"action": "Attest", "role": "qa-manager", "check": "rehearsed", "reason": "on Tuesday, INC-4711"})).await;
        story
            .until("the sign-off is waited for", |story| async move {
                let status = story.status().await;
                status["phase"] == "Watching" && status["blockedBy"]["reason"] == "AwaitingApproval"
            })
            .await;
        stands_still(&story, SHORT).await;
        says(
            &story,
            "bob",
            json!({"action": "Approve", "role": "tech-lead", "reason": "the numbers are well"}),
        )
        .await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        let reports = story.list("tidegate.dev/v1alpha1", "ReleaseReport").await;
        let signatures = &reports[0]["spec"]["signatures"];
        let told = |place: usize| {
            ["by", "role", "of", "check", "reason"].map(|field| signatures[place][field].clone())
        };
        assert_eq!(
            told(0),
            [
                json!("alice"),
                json!("qa-manager"),
                json!("Attestation"),
                json!("rehearsed"),
                json!("on Tuesday, INC-4711")
            ]
        );
        assert_eq!(
            told(1),
            [json!("bob"), json!("tech-lead"), Value::Null, Value::Null, json!("the numbers are well")]
        );
    });
}

#[test]
fn an_undo_that_is_asked_about_waits_for_an_answer_or_for_its_time_and_no_longer() {
    on_stage(async {
        let answers = Answers::start(Answer::of(500, ""));
        let spec = |timeout: &str| {
            let mut spec = with(
                quick(),
                json!({"undo": {"approval": {"roles": ["owner", "tech-lead"], "timeout": timeout}}}),
            );
            spec["steps"][0]["checks"] = json!([{"name": "smoke", "http": {"url": answers.url}}]);
            spec
        };
        let story = shipped("undo-asked", 4, spec("10m")).await;
        grant(&story, "alice", "tidegate-sign-as-tech-lead").await;
        let too_long = story.try_apply(story.release(spec("16m")), "story").await;
        let too_long = format!("{:#}", too_long.expect_err("too long"));
        assert!(
            too_long.contains("timeout is at most 15m: an undo waits no longer for anybody"),
            "{too_long}"
        );
        story.until_blocked("AwaitingUndoApproval").await;
        assert_eq!(story.target().await["spec"]["paused"], true, "{}", story.describe().await);
        stands_still(&story, SHORT).await;
        says(
            &story,
            "alice",
            json!({"action": "Reject", "role": "tech-lead", "undo": true, "reason": "the check is wrong"}),
        )
        .await;
        story.until_blocked("UndoRefused").await;
        stands_still(&story, SHORT).await;
        // Asked again, and agreed to.
        says(&story, "admin", json!({"action": "Retry"})).await;
        story.until_blocked("AwaitingUndoApproval").await;
        says(&story, "alice", json!({"action": "Approve", "role": "tech-lead", "undo": true})).await;
        let ended = story.until_ended(1).await;
        assert_eq!(ended["outcome"], "Undone", "{}", story.describe().await);
        assert!(
            ended["message"]
                .as_str()
                .unwrap_or_default()
                .ends_with("Going back was agreed to by alice (tech-lead)"),
            "{ended:#}"
        );
        // The next one is asked about for two seconds.
        story.apply(story.release(spec("2s"))).await;
        story.ship_paper("v3", json!({})).await;
        let ended = story.until_ended(2).await;
        assert!(
            ended["message"].as_str().unwrap_or_default().ends_with("Who was asked said nothing in 2 s"),
            "{ended:#}"
        );
    });
}

#[test]
fn what_counts_as_little_traffic_is_taken_as_it_is_meant() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "traffic").await;
        let low = |low: Value, metrics: Value| {
            story.release(with(quick(), json!({"windows": {"lowTraffic": low}, "metrics": metrics})))
        };
        let server = json!({"prometheus": {"url": "http://127.0.0.1:1"}});
        for (spec, words) in [
            (low(json!({"promql": "x", "below": 1}), json!({})), "windows.lowTraffic needs a server to ask"),
            (
                low(json!({"promql": "x", "below": "20%"}), server.clone()),
                "\"20%\" is neither a number nor a quantile: write 200, \"12.5\" or p20",
            ),
            (low(json!({"promql": "x", "below": {"a": 1}}), server.clone()), "spec.windows.lowTraffic.below"),
            (low(json!({"promql": "x", "below": 12.5}), server.clone()), "spec.windows.lowTraffic.below"),
            (
                low(json!({"promql": "x", "below": "p5", "over": "5m"}), server.clone()),
                "over is at least 1h and at most 744h",
            ),
            (low(json!({"promql": "x"}), server.clone()), "below: Required value"),
        ] {
            let said = format!("{:#}", story.try_apply(spec, "story").await.expect_err("refused"));
            assert!(said.contains(words), "{said}");
        }
        for below in [json!("12.5"), json!(12), json!("p20")] {
            let spec = low(json!({"promql": "x", "below": below}), server.clone());
            story.apply(spec).await;
            let stored = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
            assert_eq!(stored["spec"]["windows"]["lowTraffic"]["below"], below);
        }
        story.apply(story.deployment(2)).await;
        story
            .until(
                "adopted",
                |story| async move { story.status().await["stable"]["fingerprint"].is_string() },
            )
            .await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("TrafficUnknown").await;
        stands_still(&story, SHORT).await;
    });
}
