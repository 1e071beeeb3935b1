//! What people say: who may say it, and what comes of it.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};

use crate::given::{adopted, grant, quick, says, shipped, ships, stands_still, until_at, version, with};

const SHORT: Duration = Duration::from_secs(2);

fn signed_before(approval: Value) -> Value {
    with(quick(), json!({"preflight": [{"name": "sign-off", "approval": approval}]}))
}

/// Version 1 stands, as its owner wrote it, and version 2 is rejected.
async fn rejected(story: &Story<'_>, outcome: &str) {
    let ended = story.until_ended(1).await;
    assert_eq!(ended["outcome"], outcome, "{}", story.describe().await);
    story.until_phase("Rejected").await;
    let mut spec = story.target().await["spec"].clone();
    assert_eq!(version(story).await, "v1", "{}", story.describe().await);
    assert!(spec["paused"].is_null() && spec["minReadySeconds"].is_null(), "{spec:#}");
    assert_eq!(spec["strategy"]["rollingUpdate"].take(), json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
    let pods = story.pods().await;
    let old = pods.iter().all(|pod| pod["metadata"]["annotations"]["version"] == "v1");
    assert!(pods.len() == 4 && old, "{}", story.describe().await);
}

#[test]
fn an_approval_counts_in_a_role_that_one_has_and_in_no_other() {
    on_stage(async {
        let story = shipped("approve", 4, signed_before(json!({"roles": ["qa-manager", "tech-lead"]}))).await;
        grant(&story, "alice", "tidegate-sign-as-qa-manager").await;
        story.until_blocked("AwaitingApproval").await;
        stands_still(&story, SHORT).await;
        let status = story.status().await;
        let unblock =
            format!("kubectl tidegate approve shop -n {} --role qa-manager|tech-lead", story.namespace);
        assert_eq!(status["blockedBy"]["unblock"], unblock);
        let refused = story
            .say("alice", json!({"action": "Approve", "role": "tech-lead"}))
            .await
            .expect_err("not hers");
        let sentence = format!(
            "alice may not approve release {}/shop as tech-lead: it takes the verb approve on releases.tidegate.dev/tech-lead",
            story.namespace
        );
        assert!(refused.to_string().contains(&sentence), "{refused}");
        // Whoever is named, the API server writes who it was.
        let action =
            says(&story, "alice", json!({"action": "Approve", "role": "qa-manager", "by": "bob"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        let action = story.get("tidegate.dev/v1alpha1", "ReleaseAction", &action).await;
        assert_eq!(
            (&action["spec"]["by"], &action["spec"]["run"]),
            (&json!("alice"), &json!("r1")),
            "{action:#}"
        );
        assert_eq!(action["status"]["result"], "Done", "{action:#}");
        assert_eq!(action["status"]["message"], "signed as qa-manager", "{action:#}");
    });
}

#[test]
fn the_author_of_a_change_may_not_approve_it() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "author").await;
        story
            .adopt(story.deployment(4), story.release(signed_before(json!({"roles": ["qa-manager"]}))))
            .await;
        for user in ["alice", "bob"] {
            grant(&story, user, "tidegate-sign-as-qa-manager").await;
        }
        ships(&story, "alice", "v2").await;
        story.until_blocked("AwaitingApproval").await;
        assert_eq!(story.status().await["run"]["changedBy"], "alice", "{}", story.describe().await);
        let refused = story
            .say("alice", json!({"action": "Approve", "role": "qa-manager"}))
            .await
            .expect_err("her own");
        let sentence = format!(
            "alice made the change that release {}/shop is about: somebody else must approve it",
            story.namespace
        );
        assert!(refused.to_string().contains(&sentence), "{refused}");
        says(&story, "bob", json!({"action": "Approve", "role": "qa-manager"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

/// Who has changed the template, by the Deployment.
async fn noted(story: &Story<'_>) -> Value {
    story.target().await["metadata"]["annotations"]["tidegate.dev/changed-by"].take()
}

/// Waits until a run of these authors asks for a signature.
async fn until_asked(story: &Story<'_>, authors: &str) {
    story
        .until(&format!("a run of {authors}"), |story| async move {
            let status = story.status().await;
            status["run"]["changedBy"] == authors && status["blockedBy"]["reason"] == "AwaitingApproval"
        })
        .await;
}

#[test]
fn who_changed_it_before_somebody_else_did_may_not_approve_it_and_the_next_version_begins_anew() {
    on_stage(async {
        let approval = signed_before(json!({"roles": ["qa-manager"]}));
        let story = adopted("authors", 4, approval).await;
        for user in ["alice", "bob", "carol"] {
            grant(&story, user, "tidegate-sign-as-qa-manager").await;
        }
        let approve = json!({"action": "Approve", "role": "qa-manager"});
        ships(&story, "alice", "v2").await;
        until_asked(&story, "alice").await;
        ships(&story, "bob", "v3").await;
        assert_eq!(noted(&story).await, "alice\nbob", "{}", story.describe().await);
        // What others write there changes nothing.
        story.patch(json!({"metadata": {"annotations": {"tidegate.dev/changed-by": "carol"}}})).await;
        assert_eq!(noted(&story).await, "alice\nbob", "{}", story.describe().await);
        until_asked(&story, "alice\nbob").await;
        for user in ["alice", "bob"] {
            let refused = story.say(user, approve.clone()).await.expect_err("their own");
            let sentence = format!("{user} made the change that release {}/shop is about", story.namespace);
            assert!(refused.to_string().contains(&sentence), "{refused}");
        }
        says(&story, "carol", approve.clone()).await;
        assert_eq!(story.until_ended(2).await["outcome"], "Succeeded", "{}", story.describe().await);
        assert_eq!(noted(&story).await, Value::Null, "{}", story.describe().await);
        ships(&story, "carol", "v4").await;
        until_asked(&story, "carol").await;
        says(&story, "alice", approve).await;
        assert_eq!(story.until_ended(3).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

/// What the API server says when somebody merges this into the Deployment through its status; empty where it takes it.
async fn said_of_status(somebody: &Story<'_>, metadata: &Value, dry_run: bool) -> String {
    let params = PatchParams { dry_run, ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let patched = somebody.api("apps/v1", "Deployment").patch_status("shop", &params, &patch).await;
    patched.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn through_the_status_of_a_deployment_nobody_forges_who_changed_it_nor_gives_it_another_owner() {
    on_stage(async {
        let story = adopted("forged-status", 4, signed_before(json!({"roles": ["qa-manager"]}))).await;
        for user in ["alice", "bob"] {
            grant(&story, user, "tidegate-sign-as-qa-manager").await;
        }
        let writer = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "story-status-writer"},
            "rules": [{"apiGroups": ["apps"], "resources": ["deployments/status"], "verbs": ["patch"]}],
        });
        stage::apply(&story.client, &writer, "story").await.expect("a role");
        grant(&story, "bob", "story-status-writer").await;
        // Under a pause of the owner's the annotation is all that remembers who it was.
        story.patch(json!({"spec": {"paused": true}})).await;
        ships(&story, "bob", "v2").await;
        story.until_blocked("PausedByOwner").await;
        let client = story.stage.cluster.client("bob").await.expect("a client");
        let bob = &Story { stage: story.stage, namespace: story.namespace.clone(), client };
        let place = format!("Deployment {}/shop through its status: nobody may", story.namespace);
        let refused = &format!("bob may not write annotations tidegate.dev/* of {place}");
        let forged = &json!({"annotations": {"tidegate.dev/changed-by": null}});
        story
            .until(refused, |_| async move { said_of_status(bob, forged, true).await.contains(refused) })
            .await;
        for annotations in [
            json!(null),
            json!({"tidegate.dev/changed-by": null}),
            json!({"tidegate.dev/changed-by": "carol"}),
            json!({"tidegate.dev/held": "true"}),
            json!({"tidegate.dev/originals": ""}),
        ] {
            let said = said_of_status(bob, &json!({"annotations": annotations}), false).await;
            assert!(said.contains(refused), "{annotations}: {said}");
        }
        let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "no-such-uid"});
        let said = said_of_status(bob, &json!({"ownerReferences": [nobody]}), false).await;
        assert!(said.contains(&format!("bob may not write who owns {place}")), "{said}");
        // What is not ours to guard is taken.
        assert_eq!(said_of_status(bob, &json!({"annotations": {"team": "a"}}), false).await, "");
        assert_eq!(noted(&story).await, "bob", "{}", story.describe().await);
        bob.patch(json!({"spec": {"paused": false}})).await;
        until_asked(&story, "bob").await;
        let approve = json!({"action": "Approve", "role": "qa-manager"});
        let said = story.say("bob", approve.clone()).await.expect_err("his own");
        let sentence = format!("bob made the change that release {}/shop is about", story.namespace);
        assert!(said.to_string().contains(&sentence), "{said}");
        // The native controller writes its status as ever.
        says(&story, "alice", approve).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn where_more_have_changed_it_than_are_noted_nobody_may_approve_it() {
    on_stage(async {
        let spec = signed_before(json!({"roles": ["qa-manager"]}));
        let story = adopted("too-many", 4, with(spec.clone(), json!({"suspend": true}))).await;
        grant(&story, "alice", "tidegate-sign-as-qa-manager").await;
        let bots: Vec<String> = (1..=17).map(|number| format!("bot-{number}")).collect();
        for (bot, version) in bots.iter().zip(2..) {
            ships(&story, bot, &format!("v{version}")).await;
        }
        let authors = format!("{}\n*", bots[..16].join("\n"));
        assert_eq!(noted(&story).await, json!(authors), "{}", story.describe().await);
        // One who stands there already moves to the end, and is not lost.
        ships(&story, "bot-1", "v19").await;
        let authors = format!("{}\n*\nbot-1", bots[1..16].join("\n"));
        assert_eq!(noted(&story).await, json!(authors), "{}", story.describe().await);
        story.apply(story.release(spec)).await;
        until_asked(&story, &authors).await;
        let words = "than are noted, and anybody may be one of them";
        let approve = json!({"action": "Approve", "role": "qa-manager"});
        story
            .until("what alice is told", |story| {
                let approve = approve.clone();
                async move {
                    let said = story.say("alice", approve).await;
                    said.is_err_and(|refused| refused.to_string().contains(words))
                }
            })
            .await;
        stands_still(&story, SHORT).await;
    });
}

#[test]
fn a_quorum_takes_different_people_in_different_roles_in_whatever_order_they_sign() {
    on_stage(async {
        let approval = json!({"roles": ["qa-manager", "tech-lead"], "quorum": 2});
        let story = shipped("quorum", 4, signed_before(approval)).await;
        for role in ["tidegate-sign-as-qa-manager", "tidegate-sign-as-tech-lead"] {
            grant(&story, "alice", role).await;
        }
        grant(&story, "bob", "tidegate-sign-as-qa-manager").await;
        story.until_blocked("AwaitingApproval").await;
        for role in ["qa-manager", "tech-lead"] {
            says(&story, "alice", json!({"action": "Approve", "role": role})).await;
        }
        story
            .until("both signatures", |story| async move {
                story.status().await["run"]["signatures"].as_array().is_some_and(|all| all.len() == 2)
            })
            .await;
        let message = story.status().await["blockedBy"]["message"].clone();
        assert_eq!(
            message,
            "check sign-off: 1 of 2 signatures, roles: qa-manager, tech-lead",
            "{}",
            story.describe().await
        );
        stands_still(&story, SHORT).await;
        says(&story, "bob", json!({"action": "Approve", "role": "qa-manager"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_refusal_sends_it_back() {
    on_stage(async {
        let story = shipped("reject", 4, signed_before(json!({"roles": ["qa-manager"]}))).await;
        grant(&story, "alice", "tidegate-sign-as-qa-manager").await;
        story.until_blocked("AwaitingApproval").await;
        says(
            &story,
            "alice",
            json!({"action": "Reject", "role": "qa-manager", "reason": "the prices are wrong"}),
        )
        .await;
        rejected(&story, "Aborted").await;
        let message = story.status().await["lastRun"]["message"].clone();
        assert_eq!(
            message,
            "alice refused it as qa-manager: the prices are wrong",
            "{}",
            story.describe().await
        );
    });
}

#[test]
fn an_approval_of_a_step_is_asked_for_when_its_pods_stand() {
    on_stage(async {
        let mut spec = quick();
        spec["steps"][0]["approval"] = json!({"roles": ["tech-lead"]});
        let story = shipped("approve-step", 4, spec).await;
        grant(&story, "bob", "tidegate-sign-as-tech-lead").await;
        story.until_blocked("AwaitingApproval").await;
        let status = story.status().await;
        assert_eq!(
            (&status["phase"], &status["replicas"]["canary"]["ready"]),
            (&json!("Held"), &json!(1)),
            "{status:#}"
        );
        let condition = status["conditions"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["type"] == "AwaitingApproval"));
        assert!(condition.is_some_and(|one| one["status"] == "True"), "{status:#}");
        says(&story, "bob", json!({"action": "Approve", "role": "tech-lead"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

/// Somebody aborts in this phase.
async fn abort_in(phase: &str, spec: Value, annotations: Value) {
    let story = adopted(&format!("abort-{}", phase.to_lowercase()), 4, spec).await;
    grant(&story, "bob", "tidegate-edit").await;
    let guard = story.guard().await;
    story.ship_paper("v2", annotations).await;
    story.until_phase(phase).await;
    says(&story, "bob", json!({"action": "Abort", "reason": "lunch"})).await;
    rejected(&story, "Aborted").await;
    let status = story.status().await;
    assert_eq!(status["lastRun"]["message"], "bob said abort: lunch", "{}", story.describe().await);
    assert_eq!(status["lastRun"]["undo"]["by"], "bob", "{}", story.describe().await);
    assert!(guard.worst().least_ready >= 3, "{:?}", guard.worst());
}

#[test]
fn an_abort_before_the_first_pod_puts_the_stable_template_back() {
    on_stage(abort_in("Preflight", signed_before(json!({"roles": ["qa-manager"]})), json!({})));
}

#[test]
fn an_abort_in_mid_move_goes_back() {
    on_stage(abort_in("Moving", quick(), json!({"paper.tidegate.dev/never-ready": "true"})));
}

#[test]
fn an_abort_in_a_soak_goes_back() {
    let mut spec = quick();
    spec["steps"][1]["soak"] = json!("10m");
    on_stage(abort_in("Soaking", with(spec, json!({})), json!({})));
}

#[test]
fn an_abort_of_a_held_run_goes_back() {
    let mut spec = quick();
    spec["steps"][1]["approval"] = json!({"roles": ["qa-manager"]});
    on_stage(abort_in("Held", spec, json!({})));
}

#[test]
fn an_abort_in_the_watch_goes_back() {
    on_stage(abort_in(
        "Watching",
        with(quick(), json!({"watch": [{"for": "10m", "every": "1s"}]})),
        json!({}),
    ));
}

#[test]
fn an_abort_on_the_way_back_and_at_rest_is_refused_and_changes_nothing() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "abort-late").await;
        let mut deployment = story.deployment(4);
        // A pod of the old version goes first, and takes its time to come back.
        deployment["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 1});
        deployment["spec"]["template"]["metadata"]["annotations"]["paper.tidegate.dev/ready-after"] =
            json!("4s");
        story.adopt(deployment, story.release(quick())).await;
        let before = story.target().await["spec"].clone();
        let refused = async |words: &str| {
            let name =
                story.say("admin", json!({"action": "Abort", "reason": "enough"})).await.expect("said");
            let name = &name;
            story
                .until(&format!("refused: {words}"), |story| async move {
                    let action = story.get("tidegate.dev/v1alpha1", "ReleaseAction", name).await;
                    action["status"]["result"] == "Refused" && action["status"]["message"] == words
                })
                .await;
        };
        refused("no run is under way").await;
        let bad = json!({"paper.tidegate.dev/crash": "true", "paper.tidegate.dev/ready-after": "200ms"});
        story.ship_paper("v2", bad).await;
        story.until_phase("Undoing").await;
        refused("the run is going back").await;
        assert_eq!(story.until_ended(1).await["outcome"], "Undone", "{}", story.describe().await);
        story.until_phase("Rejected").await;
        refused("no run is under way").await;
        assert_eq!(story.target().await["spec"], before, "{}", story.describe().await);
    });
}

#[test]
fn who_has_no_right_to_stop_it_is_told_what_it_takes() {
    on_stage(async {
        let mut spec = quick();
        spec["steps"][0]["soak"] = json!("10m");
        let story = shipped("rights", 4, spec).await;
        grant(&story, "bob", "tidegate-edit").await;
        until_at(&story, "tenth").await;
        says(&story, "bob", json!({"action": "Pause"})).await;
        let refused =
            story.say("bob", json!({"action": "Skip", "reason": "no time"})).await.expect_err("not his");
        let sentence = format!(
            "bob may not skip release {}/shop: it takes the verb skip on releases.tidegate.dev",
            story.namespace
        );
        assert!(refused.to_string().contains(&sentence), "{refused}");
        story
            .say("alice", json!({"action": "Abort", "reason": "why not"}))
            .await
            .expect_err("no rights here");
    });
}

#[test]
fn a_pause_stands_still_and_a_resume_goes_on() {
    on_stage(async {
        let mut spec = quick();
        spec["steps"][0]["soak"] = json!("3s");
        let story = shipped("pause", 4, spec).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        until_at(&story, "tenth").await;
        says(&story, "alice", json!({"action": "Pause", "reason": "fire drill"})).await;
        story.until_blocked("Paused").await;
        let message = story.status().await["blockedBy"]["message"].clone();
        assert_eq!(message, "alice said pause: fire drill", "{}", story.describe().await);
        stands_still(&story, Duration::from_secs(4)).await;
        says(&story, "alice", json!({"action": "Resume"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

#[test]
fn a_skip_counts_what_is_waited_for_as_done() {
    on_stage(async {
        let mut spec = with(quick(), json!({"watch": [{"for": "10m", "every": "1s"}]}));
        spec["steps"][0]["soak"] = json!("10m");
        let story = shipped("skip", 4, spec).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        until_at(&story, "tenth").await;
        says(&story, "alice", json!({"action": "Skip", "reason": "seen enough"})).await;
        story.until_phase("Watching").await;
        says(&story, "alice", json!({"action": "Skip", "reason": "seen enough"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

/// A run of `v2` that was aborted.
async fn aborted(name: &str) -> Story<'static> {
    let mut spec = quick();
    spec["steps"][0]["soak"] = json!("3s");
    let story = shipped(name, 4, spec).await;
    grant(&story, "alice", "tidegate-release-manager").await;
    until_at(&story, "tenth").await;
    says(&story, "alice", json!({"action": "Abort", "reason": "not now"})).await;
    rejected(&story, "Aborted").await;
    story
}

#[test]
fn a_retry_puts_the_rejected_template_back_and_tries_it_again() {
    on_stage(async {
        let story = aborted("retry").await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        let ended = story.until_ended(2).await;
        assert_eq!(ended["outcome"], "Succeeded", "{}", story.describe().await);
        assert_eq!(version(&story).await, "v2");
        story.until_phase("Idle").await;
    });
}

#[test]
fn a_rejected_template_that_is_pushed_again_is_held_until_the_rejection_is_cleared() {
    on_stage(async {
        let story = aborted("clear").await;
        story.ship_paper("v2", json!({})).await;
        story
            .until("held", |story| async move {
                let target = story.target().await;
                target["spec"]["paused"] == true
                    && target["metadata"]["annotations"]["tidegate.dev/originals"].is_string()
            })
            .await;
        story
            .stays(SHORT, "held", |story| async move {
                let status = story.status().await;
                status["phase"] == "Rejected" && status["run"].is_null() && story.pods().await.len() == 4
            })
            .await;
        let status = story.status().await;
        assert_eq!(status["blockedBy"]["reason"], "RejectedRevision", "{}", story.describe().await);
        says(&story, "alice", json!({"action": "ClearRejection", "reason": "it was the network"})).await;
        assert_eq!(story.until_ended(2).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}

/// Nothing of ours is on the Deployment any more.
async fn handed_back(story: &Story<'_>) {
    story.until_blocked("HandedBack").await;
    let target = story.target().await;
    let text = target["metadata"]["annotations"].to_string() + &target["metadata"]["labels"].to_string();
    let left: Vec<&str> = text.split('"').filter(|word| word.starts_with("tidegate.dev/")).collect();
    assert!(left.is_empty() || left == ["tidegate.dev/changed-by"], "{left:?}");
    let mut spec = target["spec"].clone();
    assert_eq!(spec["strategy"]["rollingUpdate"].take(), json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
    assert!(spec["paused"].is_null() && spec["minReadySeconds"].is_null(), "{spec:#}");
}

async fn uids(story: &Story<'_>, version: &str) -> Vec<String> {
    let pods = story.pods().await;
    let of = pods.iter().filter(|pod| pod["metadata"]["annotations"]["version"] == version);
    let mut uids: Vec<String> = of.map(|pod| pod["metadata"]["uid"].to_string()).collect();
    uids.sort();
    uids
}

#[test]
fn a_deployment_at_rest_is_handed_back_without_a_restart_and_taken_up_again() {
    on_stage(async {
        let story = adopted("hand-back", 4, quick()).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        let before = uids(&story, "v1").await;
        says(&story, "alice", json!({"action": "HandBack", "reason": "by hand today"})).await;
        handed_back(&story).await;
        assert_eq!(uids(&story, "v1").await, before, "nothing was restarted: {}", story.describe().await);
        // The native controller rolls what is pushed now.
        story.ship_paper("v2", json!({})).await;
        story.until("version 2", |story| async move { uids(story, "v2").await.len() == 4 }).await;
        says(&story, "alice", json!({"action": "Resume"})).await;
        story
            .until("taken up again", |story| async move {
                story.status().await["stable"]["fingerprint"].is_string()
            })
            .await;
        assert_eq!(story.target().await["metadata"]["labels"]["tidegate.dev/release"], "shop");
        story.ship_paper("v3", json!({})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
        assert_eq!(version(&story).await, "v3");
    });
}

#[test]
fn a_run_that_is_handed_back_is_finished_by_the_native_controller() {
    on_stage(async {
        let mut spec = quick();
        spec["steps"][1]["soak"] = json!("10m");
        let story = shipped("hand-back-run", 4, spec).await;
        grant(&story, "alice", "tidegate-release-manager").await;
        until_at(&story, "half").await;
        let canary = uids(&story, "v2").await;
        says(&story, "alice", json!({"action": "HandBack", "reason": "by hand today"})).await;
        assert_eq!(story.until_ended(1).await["outcome"], "HandedBack", "{}", story.describe().await);
        handed_back(&story).await;
        story.until("version 2", |story| async move { uids(story, "v2").await.len() == 4 }).await;
        let all = uids(&story, "v2").await;
        assert!(
            canary.iter().all(|uid| all.contains(uid)),
            "nothing was restarted: {}",
            story.describe().await
        );
        says(&story, "alice", json!({"action": "Resume"})).await;
        story
            .until("taken up again", |story| async move {
                story.status().await["stable"]["fingerprint"].is_string()
            })
            .await;
    });
}

#[test]
fn a_suspended_release_holds_a_new_version_and_stands_still_in_mid_run() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "suspend").await;
        let mut spec = quick();
        spec["steps"][1]["soak"] = json!("2s");
        let suspended = with(spec.clone(), json!({"suspend": true}));
        story.adopt(story.deployment(4), story.release(suspended.clone())).await;
        story.ship_paper("v2", json!({})).await;
        story.until_blocked("Suspended").await;
        story
            .stays(SHORT, "held", |story| async move {
                story.status().await["run"].is_null() && story.pods().await.len() == 4
            })
            .await;
        story.apply(story.release(spec.clone())).await;
        until_at(&story, "half").await;
        story.apply(story.release(suspended)).await;
        story.until_blocked("Suspended").await;
        stands_still(&story, Duration::from_secs(3)).await;
        story.apply(story.release(spec)).await;
        assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
    });
}
