//! The way back beyond its first order, where only a real control plane can tell: what pods wrote before they went, pods that are released from
//! their ReplicaSet, hooks, and what was put back being looked at.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::operator::NAMESPACE;
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage, paper_deployment, shop_deployment};

use crate::answers::{Answer, Answers};
use crate::given::{at_half, by_hand, ended, halves, say, until_given_back, until_soaking, with};

const REPORT: (&str, &str) = ("tidegate.dev/v1alpha1", "ReleaseReport");

/// The way back of the run that ended last, as its record has it.
async fn recorded(story: &Story<'_>) -> Value {
    let name = story.status().await["lastRun"]["report"].as_str().expect("a record").to_owned();
    story.get(REPORT.0, REPORT.1, &name).await["spec"]["undo"].take()
}

/// Pods that are kept for the story's Release.
async fn quarantined(story: &Story<'_>) -> Vec<Value> {
    let mut pods = story.pods().await;
    pods.retain(|pod| pod["metadata"]["labels"]["tidegate.dev/quarantine"] == "shop");
    pods
}

/// Ships versions and aborts each at half until all pods that are to be kept are, and says how that run was undone: the native controller
/// may be faster to end one of them, and that is nobody's fault.
async fn until_kept(story: &Story<'_>, version: &str) -> Value {
    let mut undo = Value::Null;
    for number in 1..=5 {
        story.ship_paper(&format!("{version}-{number}"), json!({})).await;
        until_soaking(story, "half").await;
        say(story, "Abort").await;
        ended(story, number, "Aborted").await;
        undo = recorded(story).await;
        let pods = undo["quarantined"].as_array().cloned().unwrap_or_default();
        assert!(!pods.is_empty(), "some were chosen: {undo:#}");
        if pods.iter().all(|pod| pod["state"] == "Kept") {
            return undo;
        }
        for pod in &pods {
            assert!(is_kept_or_ended_before(pod), "{undo:#}");
        }
        for pod in quarantined(story).await {
            story.delete("v1", "Pod", pod["metadata"]["name"].as_str().unwrap_or_default()).await;
        }
        story.until("none is kept", |story| async move { quarantined(story).await.is_empty() }).await;
    }
    panic!("the native controller was faster five times: {undo:#}")
}

/// Whether it came to one of the two ends that a pod chosen for quarantine comes to.
fn is_kept_or_ended_before(pod: &Value) -> bool {
    pod["state"] == "Kept"
        || pod["state"] == "Lost" && pod["message"] == "it went before its labels were changed"
}

/// What the installer would have written as `hookPatches`.
async fn may_patch_config_maps(stage: &Stage) {
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": "tidegate-hooks"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "tidegate-hooks"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "tidegate-hooks"},
        "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": NAMESPACE}],
    });
    for document in [role, binding] {
        stage::apply(&stage.client, &document, "story").await.expect("a role and its binding");
    }
}

#[test]
fn what_a_bad_pod_wrote_is_in_the_record_and_what_was_put_back_is_asked() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-evidence").await;
        let undo = json!({
            "budget": "10m", "phases": {"execution": "2m", "validation": "2m", "communication": "1m"},
            "validate": {"for": "5s", "checks": [{"name": "smoke", "http": {"podPath": "/healthz"}}]},
        });
        let errors = json!([{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]);
        let spec = with(by_hand(), json!({"criteria": errors, "undo": undo}));
        story.adopt(shop_deployment(4), story.release(spec)).await;
        let before = story.target().await["spec"].clone();
        story.ship("v2", &[("ERROR_RATE", "0")]).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        let last = ended(&story, 1, "Aborted").await;
        // Nothing is asked of these pods: whether they keep the limit cannot be told, and that is said.
        let undo = recorded(&story).await;
        let result = last["validation"]["result"].as_str().unwrap_or_default();
        assert!(["Undecided", "Validated"].contains(&result), "{last:#}");
        assert_eq!(undo["validation"], last["validation"], "{undo:#}");
        let phases: Vec<&Value> =
            undo["phases"].as_array().into_iter().flatten().map(|it| &it["phase"]).collect();
        assert_eq!(phases, ["Execution", "Validation", "Communication"], "{undo:#}");
        let pod = &undo["pods"][0];
        assert!(pod["pod"].is_string() && pod["ready"] == true, "{undo:#}");
        let events = pod["events"].to_string();
        assert!(events.contains("Scheduled"), "its events: {pod:#}");
        assert!(pod["logs"].to_string().contains("shop v2 listens on"), "its log: {pod:#}");
        assert!(pod["unread"].is_null(), "everything was read: {pod:#}");
        let mut after = story.target().await["spec"].clone();
        after["template"] = before["template"].clone();
        assert_eq!(after, before, "the owner's fields are back");
    });
}

#[test]
fn what_a_container_left_at_its_end_is_why_its_pod_is_the_worst() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-termination").await;
        story.adopt(story.deployment(4), story.release(by_hand())).await;
        let left = "config \u{7}invalid: no key payments.url\nsee the manual";
        let annotations =
            json!({"paper.tidegate.dev/crash": "true", "paper.tidegate.dev/termination-message": left});
        story.ship_paper("v2", annotations).await;
        ended(&story, 1, "Undone").await;
        let undo = recorded(&story).await;
        let pod = &undo["pods"][0];
        let said = pod["ended"].as_str().unwrap_or_default();
        assert_eq!(said, "Error: config invalid: no key payments.url see the manual", "{undo:#}");
        assert_eq!(pod["ready"], json!(null), "{undo:#}");
        // It is what sends it back, too.
        assert!(undo["message"].as_str().is_some_and(|message| message.contains("CrashLoopBackOff")));
        assert!(pod["waiting"].as_str().is_some_and(|why| why.starts_with("CrashLoopBackOff: back-off")));
    });
}

#[test]
fn bad_pods_are_kept_out_of_their_set_and_out_of_traffic_until_their_time_is_over() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-quarantine").await;
        let spec = with(by_hand(), json!({"undo": {"quarantine": {"pods": 2, "for": "15s"}}}));
        story.adopt(story.deployment(6), story.release(spec)).await;
        let undo = until_kept(&story, "v2").await;
        assert!(story.status().await["lastRun"]["undo"]["restoredAt"].is_string());
        let kept = quarantined(&story).await;
        assert_eq!(kept.len(), 2, "{undo:#}");
        for pod in &kept {
            let metadata = &pod["metadata"];
            assert_eq!(metadata["labels"], json!({"tidegate.dev/quarantine": "shop"}), "{metadata:#}");
            assert_eq!(metadata["ownerReferences"][0]["kind"], "Deployment", "{metadata:#}");
            assert_eq!(metadata["ownerReferences"].as_array().map(Vec::len), Some(1), "{metadata:#}");
            assert!(metadata["annotations"]["tidegate.dev/quarantined-labels"].to_string().contains("app"));
        }
        // The sets are as they would be without: six stable pods, none of the other.
        story
            .until("six pods and two beside", |story| async move {
                let of_sets = story.pods().await.len() - quarantined(story).await.len();
                of_sets == 6 && story.target().await["status"]["replicas"] == 6
            })
            .await;
        assert_eq!(story.status().await["quarantined"].as_array().map(Vec::len), Some(2));
        story.until("their end", |story| async move { quarantined(story).await.is_empty() }).await;
        assert_eq!(story.pods().await.len(), 6);
    });
}

#[test]
fn a_pod_in_quarantine_goes_in_its_time_also_when_its_release_is_gone_and_with_its_deployment() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-orphans").await;
        let spec = with(by_hand(), json!({"undo": {"quarantine": {"pods": 1, "for": "12s"}}}));
        story.adopt(story.deployment(2), story.release(spec.clone())).await;
        until_kept(&story, "v2").await;
        assert_eq!(quarantined(&story).await.len(), 1);
        story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
        story
            .until("given back", |story| async move {
                story.target().await["metadata"]["labels"]["tidegate.dev/release"].is_null()
            })
            .await;
        assert_eq!(quarantined(&story).await.len(), 1, "it is kept for as long as was said");
        story.until("its end", |story| async move { quarantined(story).await.is_empty() }).await;

        let spec = with(by_hand(), json!({"undo": {"quarantine": {"pods": 1, "for": "1h"}}}));
        story.apply(story.release(spec)).await;
        story
            .until(
                "adopted",
                |story| async move { story.status().await["stable"]["fingerprint"].is_string() },
            )
            .await;
        until_kept(&story, "v3").await;
        assert_eq!(quarantined(&story).await.len(), 1);
        story.delete("apps/v1", "Deployment", "shop").await;
        story.until("it goes too", |story| async move { quarantined(story).await.is_empty() }).await;
    });
}

#[test]
fn a_flag_is_turned_off_and_somebody_is_called_beside_the_way_back() {
    on_stage(async {
        let stage = Stage::shared().await;
        may_patch_config_maps(stage).await;
        let answers = Answers::start(Answer::of(204, ""));
        let (deaf, never) = (Answers::start(Answer::of(404, "")), Answers::start(Answer::of(0, "")));
        let story = Story::begin(stage, "undo-hooks").await;
        story
            .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"payments": "on"}}))
            .await;
        let hooks = json!([
            {"name": "map", "configMap": {"name": "flags", "key": "payments", "value": "off"}},
            {"name": "call", "http": {"url": answers.url, "body": "{}"}},
            {"name": "deaf", "http": {"url": deaf.url, "method": "PUT"}},
            {"name": "never", "http": {"url": never.url}},
            {"name": "object", "patch": {"apiVersion": "coordination.k8s.io/v1", "resource": "leases", "name": "shop", "patch": {"spec": {}}}},
        ]);
        let spec = with(by_hand(), json!({"undo": {"hooks": hooks}}));
        story.adopt(story.deployment(2), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        let last = ended(&story, 1, "Aborted").await;
        let map = story.get("v1", "ConfigMap", "flags").await;
        assert_eq!(map["data"]["payments"], "off");
        let undo = recorded(&story).await;
        let hook = |name: &str| {
            let all = undo["hooks"].as_array().into_iter().flatten();
            let one = all.clone().find(|hook| hook["name"] == name).cloned().unwrap_or_default();
            (one["state"].to_string(), one["message"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(hook("map"), ("\"Done\"".to_owned(), "patched configmaps flags".to_owned()));
        assert_eq!(hook("call"), ("\"Done\"".to_owned(), "answered 204".to_owned()));
        assert_eq!(hook("deaf"), ("\"Failed\"".to_owned(), "answered 404, expected 2xx".to_owned()));
        let (state, message) = hook("never");
        assert!(state == "\"Failed\"" && message.contains("(tried 3 times)"), "{message}");
        let (state, message) = hook("object");
        assert!(
            state == "\"Failed\"" && message.contains("name it in hookPatches of the chart"),
            "{message}"
        );
        let at = |name: &str| {
            last["undo"][name].as_str().expect("a moment").parse::<jiff::Timestamp>().expect("one")
        };
        let took = at("restoredAt") - at("decidedAt");
        assert!(took.total(jiff::Unit::Second).expect("seconds") < 5.0, "no hook was waited for: {took}");
    });
}

#[test]
fn what_does_not_work_either_is_told_and_a_newer_template_does_not_wait_for_it() {
    on_stage(async {
        let answers = Answers::start(Answer::of(500, ""));
        let story = Story::begin(Stage::shared().await, "undo-failed").await;
        let check = json!({"name": "door", "http": {"url": answers.url}});
        let spec = with(by_hand(), json!({"undo": {"validate": {"checks": [check]}}}));
        story.adopt(story.deployment(2), story.release(spec)).await;
        story.ship_paper("v2", json!({})).await;
        until_soaking(&story, "half").await;
        say(&story, "Abort").await;
        let last = ended(&story, 1, "Aborted").await;
        assert_eq!(last["validation"]["result"], "ValidationFailed", "{last:#}");
        story.until_blocked("ValidationFailed").await;
        // Measured for an hour, and a newer template ends that.
        let spec = with(
            halves(),
            json!({"undo": {"validate": {"for": "1h"}}, "criteria": [{"name": "e", "errorRate": {"limit": "5%"}}]}),
        );
        let spec = with(spec, json!({"steps": by_hand()["steps"]}));
        story.apply(story.release(spec)).await;
        story.ship_paper("v3", json!({})).await;
        story
            .until("standing at half", |story| async move {
                let status = story.status().await;
                status["step"]["name"] == "half" && status["run"]["progress"]["reached"].is_string()
            })
            .await;
        say(&story, "Abort").await;
        until_given_back(&story).await;
        assert_eq!(story.target().await["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        story.ship_paper("v4", json!({})).await;
        let last = ended(&story, 2, "Aborted").await;
        assert_eq!(last["validation"]["message"], "a newer template has come", "{last:#}");
    });
}

/// What the API server says when bob writes this; empty when it takes it.
async fn said_to_bob(story: &Story<'_>, undo: &Value) -> String {
    let client = story.stage.cluster.client("bob").await.expect("a client");
    // Another spec each time: what was taken before the policy was there is asked about again.
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let reports = json!({"keep": 1 + WRITES.fetch_add(1, Ordering::Relaxed) % 100});
    let mut release = story.release(with(halves(), json!({"undo": undo, "reports": reports})));
    release["metadata"]["namespace"] = json!(story.namespace);
    let api = stage::api_of(&client, &release).expect("a kind");
    let written = api.patch("shop", &PatchParams::apply("bob").force(), &Patch::Apply(&release)).await;
    written.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn what_is_done_on_the_way_back_takes_the_rights_of_whoever_writes_it() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-lending").await;
        let give = async |name: &str, rules: Value| {
            let group = "rbac.authorization.k8s.io";
            let role = json!({
                "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules,
            });
            let binding = json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"kind": "User", "apiGroup": group, "name": "bob"}],
            });
            story.apply(role).await;
            story.apply(binding).await;
        };
        let until_told = async |undo: &Value, words: &str| {
            let what = format!("bob is told of {undo}: {words}");
            story
                .until(&what, |story| async move {
                    let said = said_to_bob(story, undo).await;
                    if words.is_empty() { said.is_empty() } else { said.contains(words) }
                })
                .await;
        };
        let rule = |group: &str, resource: &str, verbs: &[&str], names: &[&str]| json!([{"apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": names}]);
        give("writes", rule("tidegate.dev", "releases", &["get", "create", "patch", "update"], &[])).await;
        give("patches", rule("apps", "deployments", &["patch"], &[])).await;
        until_told(&json!({"capacity": "Auto"}), "").await;
        let hook = |kind: &str, what: Value| json!({"hooks": [{"name": "one", kind: what}]});
        let object = |name: &str| json!({"apiVersion": "core.openfeature.dev/v1beta1", "resource": "featureflags", "name": name, "patch": {"spec": {}}});
        let header = json!({"name": "Authorization", "secret": "flags"});
        let cases = [
            (
                hook("configMap", json!({"name": "flags", "key": "a", "value": "b"})),
                "may not write a hook that patches configmaps flags without the verb patch on it",
                rule("", "configmaps", &["patch"], &["flags"]),
            ),
            (
                hook("patch", object("shop")),
                "may not write a hook that patches featureflags shop without the verb patch on it",
                rule("core.openfeature.dev", "featureflags", &["patch"], &["shop"]),
            ),
            (
                hook("job", json!({"template": {"spec": {"template": {"spec": {}}}}, "logs": "None"})),
                "may not write a job hook without the verb create on jobs.batch",
                rule("batch", "jobs", &["create"], &[]),
            ),
            (
                hook("http", json!({"url": "http://flags.shop/", "secretHeader": header})),
                "may not name a Secret in a hook without the verb get on secrets",
                rule("", "secrets", &["get"], &[]),
            ),
            (
                json!({"quarantine": {"pods": 1, "for": "1h"}}),
                "may not put pods into quarantine without the verbs patch and delete on pods",
                rule("", "pods", &["patch", "delete"], &[]),
            ),
            (
                hook("job", json!({"template": {"spec": {"template": {"spec": {}}}}})),
                "may not have logs kept without the verb get on pods/log",
                rule("", "pods/log", &["get"], &[]),
            ),
            (
                json!({"validate": {"checks": [{"name": "c", "config": {"configMaps": [{"name": "shop"}]}}]}}),
                "may not name a ConfigMap without the verb get on configmaps",
                rule("", "configmaps", &["get"], &[]),
            ),
        ];
        for (place, (undo, words, rules)) in cases.into_iter().enumerate() {
            until_told(&undo, words).await;
            give(&format!("right-{place}"), rules).await;
            until_told(&undo, "").await;
        }
        until_told(&json!({"evidence": {"pods": 1}}), "").await;
        until_told(&hook("patch", object("other")), "patches featureflags other").await;
        // What nobody may have done, whatever they may do themselves.
        let workload =
            json!({"apiVersion": "apps/v1", "resource": "deployments", "name": "shop", "patch": {}});
        until_told(&hook("patch", workload), "hooks change no workloads").await;
        let asks = |check: Value| json!({"validate": {"checks": [check]}});
        let signed = json!({"name": "c", "attest": {"text": "it works", "roles": ["qa-manager"]}});
        until_told(&asks(signed), "nobody is asked once stable stands").await;
        let early = json!({"name": "c", "telemetry": {}});
        until_told(&asks(early), "are asked before the first pod: write them in preflight").await;
        until_told(
            &json!({"budget": "1m", "phases": {"execution": "50s", "validation": "20s"}}),
            "the phases together may take longer than the budget",
        )
        .await;
    });
}

#[test]
fn what_is_written_in_the_middle_of_a_run_counts_when_it_goes_back() {
    on_stage(async {
        // At half by hand without a quarantine, then with one: what is written in mid-run counts.
        let story = at_half("undo-late", 4).await;
        let spec = with(by_hand(), json!({"undo": {"quarantine": {"pods": 1, "for": "1h"}}}));
        story.apply(story.release(spec)).await;
        story
            .until("it is heard", |story| async move { story.status().await["observedGeneration"] == 2 })
            .await;
        say(&story, "Abort").await;
        ended(&story, 1, "Aborted").await;
        let undo = recorded(&story).await;
        let chosen = undo["quarantined"].as_array().cloned().unwrap_or_default();
        assert_eq!(chosen.len(), 1, "{undo:#}");
        assert!(is_kept_or_ended_before(&chosen[0]), "{undo:#}");
        let kept = usize::from(chosen[0]["state"] == "Kept");
        story
            .stays(Duration::from_secs(2), "as it is said", |story| async move {
                quarantined(story).await.len() == kept
            })
            .await;
    });
}

/// The native controller writes nothing twice for it: its own number of the template is what we wrote.
#[test]
fn the_native_controller_finds_the_stable_template_numbered_as_it_would_number_it() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "undo-number").await;
        story.adopt(paper_deployment(4), story.release(with(by_hand(), json!({})))).await;
        for (run, version, number) in [(1, "v2", "3"), (2, "v3", "5")] {
            story.ship_paper(version, json!({})).await;
            until_soaking(&story, "half").await;
            say(&story, "Abort").await;
            ended(&story, run, "Aborted").await;
            let annotation = "deployment.kubernetes.io/revision";
            let target = story.target().await;
            assert_eq!(target["metadata"]["annotations"][annotation], number, "{target:#}");
            let managers = target["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let owns = |entry: &&Value| {
                !entry["fieldsV1"]["f:metadata"]["f:annotations"][format!("f:{annotation}")].is_null()
            };
            let owners: Vec<&Value> = managers.iter().filter(owns).map(|entry| &entry["manager"]).collect();
            let is_ours = owners.iter().all(|owner| *owner == "tidegate");
            assert!(is_ours, "whoever wrote another number would own it: {target:#}");
            let sets = story.list("apps/v1", "ReplicaSet").await;
            let highest = sets.iter().find(|set| set["metadata"]["annotations"][annotation] == number);
            assert_eq!(highest.map(|set| &set["spec"]["replicas"]), Some(&json!(4)), "{sets:#?}");
        }
    });
}
