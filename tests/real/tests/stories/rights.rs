//! The operator's rights: each is taken away in turn, and what is missing then is said with the rule that gives it. A rule that nothing
//! here needs fails the story.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tidegate_real::operator::{NAMESPACE, Operator, kubeconfig};
use tidegate_real::stage::{self, Stage, documents, usual};
use tidegate_real::story::{Story, on_stage};

use crate::given::{by_hand, ended, halves, quick, say, until_at, with};

/// Group, resource, verb.
type Right = (String, String, String);

/// What a role of `install.yaml` gives.
fn rights_of(kind: &str, name: &str) -> BTreeSet<Right> {
    rights_in("install.yaml", kind, name, None)
}

/// What a role of a file gives; of several of one name, that of a namespace.
fn rights_in(file: &str, kind: &str, name: &str, namespace: Option<&str>) -> BTreeSet<Right> {
    let path = tidegate_real::cluster::repository().join(file);
    let text = std::fs::read_to_string(path).expect(file);
    let all = documents(&text).expect("YAML");
    let is_meant = |one: &&Value| {
        let metadata = &one["metadata"];
        one["kind"] == kind
            && metadata["name"] == name
            && namespace.is_none_or(|namespace| metadata["namespace"] == namespace)
    };
    let role = all.iter().find(is_meant).expect("a role");
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

fn rule((group, resource, verb): &Right) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
}

/// The rule as the operator says it.
fn said((group, resource, verb): &Right) -> String {
    let group = if group.is_empty() { "''" } else { group };
    format!("add {{apiGroups: [{group}], resources: [{resource}], verbs: [{verb}]}} to ")
}

/// Gives an account of the operator's namespace these rights: everywhere, or in one namespace.
async fn give(stage: &Stage, account: &str, name: &str, namespace: Option<&str>, rights: &[&Right]) {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": metadata,
        "rules": rights.iter().map(|right| rule(right)).collect::<Vec<_>>(),
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    });
    for document in [role, binding] {
        stage::apply(&stage.client, &document, "story").await.expect("a role and its binding");
    }
}

/// An operator with an account of its own, which watches with these rights and campaigns with those in a namespace of its own.
async fn lone(stage: &Stage, name: &str, everywhere: &[&Right], election: &[&Right]) -> Operator {
    account(stage, name).await;
    lone_as(stage, name, name, everywhere, election, &[]).await
}

async fn account(stage: &Stage, name: &str) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE},
    });
    stage::apply(&stage.client, &account, "story").await.expect("an account");
}

/// The same with an account that there is: the admission policies know the operator by its own. `watched`: of these namespaces only.
async fn lone_as(
    stage: &Stage,
    account: &str,
    name: &str,
    everywhere: &[&Right],
    election: &[&Right],
    watched: &[&str],
) -> Operator {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    stage::apply(&stage.client, &namespace, "story").await.expect("a namespace");
    // Who may not make one finds none.
    if election.iter().any(|(_, _, verb)| verb == "create") {
        stage::lease_of_nobody(&stage.client, name).await.expect("a lease of nobody");
    }
    give(stage, account, name, None, everywhere).await;
    give(stage, account, name, Some(name), election).await;
    let kubeconfig = kubeconfig(&stage.cluster, account).await.expect("a token");
    let launched = Operator::launch(&kubeconfig, |command| {
        command.env("POD_NAMESPACE", name);
        if !watched.is_empty() {
            command.env("TIDEGATE_WATCH_NAMESPACES", watched.join(","));
        }
    });
    launched.await.expect("an operator")
}

/// Waits until the operator says so, in its log or under a path.
async fn until_says(operator: &Operator, path: Option<&str>, words: &str) {
    let waited = async {
        loop {
            let text = match path {
                None => operator.read_log(),
                Some(path) => operator.says(path).await.unwrap_or_default(),
            };
            if text.contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waited).await;
    assert!(waited.is_ok(), "{path:?} does not say '{words}':\n{}", operator.read_log());
}

fn counted((_, resource, verb): &Right) -> String {
    format!(r#"tidegate_forbidden_total{{verb="{verb}",resource="{resource}"}}"#)
}

fn name_of((_, resource, verb): &Right) -> String {
    format!("no-{verb}-{}", resource.replace('/', "-"))
}

/// What is listed only when a check asks, or of a pod that goes.
const ASKED: [&str; 5] = ["poddisruptionbudgets", "resourcequotas", "nodes", "releasereports", "events"];

fn is_for_watching((_, resource, verb): &Right) -> bool {
    ["list", "watch"].contains(&verb.as_str()) && !ASKED.contains(&resource.as_str())
}

#[test]
fn an_operator_of_some_namespaces_has_in_each_what_is_shown_to_be_needed_and_elsewhere_next_to_nothing() {
    let file = "tests/real/namespaced.yaml";
    let everywhere = rights_in(file, "ClusterRole", "tidegate", None);
    for right in &everywhere {
        let (group, resource, verb) = right;
        let is_of_the_cluster =
            group == "admissionregistration.k8s.io" || ["freezes", "namespaces"].contains(&resource.as_str());
        assert!(is_of_the_cluster && ["list", "watch"].contains(&verb.as_str()), "{right:?} everywhere");
    }
    // Nodes are in no namespace: what they would tell is done without.
    let nodes = (String::new(), "nodes".to_owned(), "list".to_owned());
    for namespace in ["team-a", "team-b"] {
        let there = rights_in(file, "Role", "tidegate", Some(namespace));
        assert!(there.is_disjoint(&everywhere), "{namespace}");
        let all: BTreeSet<Right> = there.union(&everywhere).cloned().chain([nodes.clone()]).collect();
        assert_eq!(all, rights_of("ClusterRole", "tidegate"), "{namespace}");
    }
    for role in ["tidegate-leader", "tidegate-api-server"] {
        assert_eq!(rights_in(file, "Role", role, None), rights_of("Role", role), "{role}");
    }
}

#[test]
fn each_right_of_the_operator_is_needed_and_is_named_when_it_is_missing() {
    on_stage(async {
        let stage = Stage::without_operator(usual()).await.expect("a stage");
        let (everywhere, election) =
            (rights_of("ClusterRole", "tidegate"), rights_of("Role", "tidegate-leader"));
        let watching: Vec<&Right> = everywhere.iter().filter(|right| is_for_watching(right)).collect();
        let election: Vec<&Right> = election.iter().collect();
        let (stage, watching, election) = (&stage, &watching, &election);
        let without = |all: &Vec<&'_ Right>, lacking: &Right| -> Vec<Right> {
            all.iter().filter(|right| **right != lacking).map(|right| (*right).clone()).collect()
        };

        // Watches: an operator each, six at a time. It is not ready, and says why.
        let watches = watching.iter().map(|lacking| async move {
            let rest = without(watching, lacking);
            let rest: Vec<&Right> = rest.iter().collect();
            let operator = lone(stage, &name_of(lacking), &rest, election).await;
            until_says(&operator, Some("/readyz"), &said(lacking)).await;
            until_says(&operator, Some("/metrics"), &counted(lacking)).await;
            until_says(&operator, None, &said(lacking)).await;
        });
        let watches: Vec<BoxFuture<'_, ()>> = watches.map(|one| Box::pin(one) as BoxFuture<'_, ()>).collect();
        stream::iter(watches).buffer_unordered(6).collect::<Vec<()>>().await;

        of_two_namespaces(stage, election).await;

        // The election: an operator each, which never leads.
        join_all(election.iter().map(|lacking| async move {
            let rest = without(election, lacking);
            let rest: Vec<&Right> = rest.iter().collect();
            let operator = lone(stage, &name_of(lacking), watching, &rest).await;
            until_says(&operator, None, &said(lacking)).await;
            assert!(!operator.read_log().contains("leading"), "{}", operator.read_log());
        }))
        .await;

        // Where the API server's replicas are: an operator each, which does everything else.
        let replicas = &rights_of("Role", "tidegate-api-server");
        join_all(replicas.iter().map(|lacking| async move {
            let name = name_of(lacking);
            let rest: Vec<&Right> = replicas.iter().filter(|right| *right != lacking).collect();
            give(stage, &name, &name, Some("default"), &rest).await;
            let operator = lone(stage, &name, watching, election).await;
            until_says(&operator, None, &said(lacking)).await;
            until_says(&operator, Some("/metrics"), &counted(lacking)).await;
            until_says(&operator, None, "leading").await;
        }))
        .await;

        // Everything else: one operator that may watch everywhere, and in each namespace everything but one thing.
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {}});
        let bindings = stage::api_of(&stage.client, &binding).expect("a kind");
        bindings.delete("tidegate", &Default::default()).await.expect("taken away");
        without_freezes(stage, &everywhere, election).await;
        bindings.delete("no-freezes", &Default::default()).await.expect("taken away");
        give(stage, "tidegate", "story-watching", None, watching).await;
        stage.start_operator().await.expect("an operator");
        let others: Vec<&Right> = everywhere.iter().filter(|right| !is_for_watching(right)).collect();
        let others = &others;
        let mut stories: Vec<BoxFuture<'_, ()>> = vec![Box::pin(with_all(stage, others))];
        for lacking in others {
            let rest = without(others, lacking);
            stories.push(Box::pin(async move { lacking_one(stage, lacking, &rest).await }));
        }
        join_all(stories).await;
    });
}

/// What an operator of two namespaces watches in them: an operator each, which lacks it in the second one, or, of what no namespace
/// gives, everywhere. It is not ready, and says why, and where.
async fn of_two_namespaces(stage: &Stage, election: &[&Right]) {
    const TWO: [&str; 2] = ["two-first", "two-second"];
    for name in TWO {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        stage::apply(&stage.client, &namespace, "story").await.expect("a namespace");
    }
    let file = "tests/real/namespaced.yaml";
    let everywhere = rights_in(file, "ClusterRole", "tidegate", None);
    let there = rights_in(file, "Role", "tidegate", Some("team-a"));
    let (everywhere, there) = (&everywhere, &there);
    // Everything else that it watches it watches as one of all namespaces does.
    let by_name = everywhere.iter().filter(|(_, resource, _)| resource == "namespaces");
    let operators =
        there.iter().filter(|right| is_for_watching(right)).chain(by_name).map(|lacking| async move {
            let name = format!("two-{}", name_of(lacking));
            let rest = |all: &BTreeSet<Right>| -> Vec<Right> {
                all.iter().filter(|right| *right != lacking).cloned().collect()
            };
            let (first, second, outside) = (there.iter().collect::<Vec<_>>(), rest(there), rest(everywhere));
            account(stage, &name).await;
            give(stage, &name, &name, Some(TWO[0]), &first).await;
            give(stage, &name, &name, Some(TWO[1]), &second.iter().collect::<Vec<_>>()).await;
            let outside: Vec<&Right> = outside.iter().collect();
            let operator = lone_as(stage, &name, &name, &outside, election, &TWO).await;
            let words = match there.contains(lacking) {
                true => format!("in namespace {}: {}", TWO[1], said(lacking)),
                false => said(lacking),
            };
            until_says(&operator, Some("/readyz"), &words).await;
            until_says(&operator, Some("/metrics"), &counted(lacking)).await;
            until_says(&operator, None, &words).await;
        });
    let operators: Vec<BoxFuture<'_, ()>> = operators.map(|one| Box::pin(one) as BoxFuture<'_, ()>).collect();
    stream::iter(operators).buffer_unordered(6).collect::<Vec<()>>().await;
}

fn checked() -> Value {
    let pod = json!({
        "restartPolicy": "Never", "nodeSelector": {"tidegate.dev/node": "paper"},
        "containers": [{"name": "smoke", "image": "smoke:v1"}],
    });
    let annotations = json!({"paper.tidegate.dev/ready-after": "200ms", "paper.tidegate.dev/exit-code": "0"});
    let template = json!({"metadata": {"annotations": annotations}, "spec": pod});
    let smoke =
        json!({"name": "smoke", "job": {"template": {"spec": {"backoffLimit": 0, "template": template}}}});
    let config = json!({"name": "config", "config": {"configMaps": [{"name": "kube-root-ca.crt", "keys": [{"key": "ca.crt"}]}]}});
    with(halves(), json!({"preflight": [smoke, config]}))
}

fn before_the_first_pod(check: Value) -> Value {
    with(halves(), json!({"preflight": [check]}))
}

async fn begun<'s>(stage: &'s Stage, name: &str, rights: &[&Right]) -> Story<'s> {
    let story = Story::begin(stage, name).await;
    give(stage, "tidegate", "story", Some(&story.namespace), rights).await;
    story
}

/// With all of them everything works.
async fn with_all(stage: &Stage, rights: &[&Right]) {
    let story = begun(stage, "all-rights", rights).await;
    story.adopt(story.deployment(2), story.release(checked())).await;
    story.ship_paper("v2", json!({})).await;
    ended(&story, 1, "Succeeded").await;
}

/// Freezes, and the namespaces that they select, are done without: that they are is said, and kept in the record.
async fn without_freezes(stage: &Stage, everywhere: &BTreeSet<Right>, election: &[&Right]) {
    let rest: Vec<&Right> = everywhere
        .iter()
        .filter(|(_, resource, _)| !["freezes", "namespaces"].contains(&resource.as_str()))
        .collect();
    let operator = lone_as(stage, "tidegate", "no-freezes", &rest, election, &[]).await;
    let lacking = ("tidegate.dev".to_owned(), "freezes".to_owned(), "list".to_owned());
    until_says(&operator, Some("/readyz"), &said(&lacking)).await;
    let story = Story::begin(stage, "without-freezes").await;
    story.adopt(story.deployment(2), story.release(halves())).await;
    story.ship_paper("v2", json!({})).await;
    let last = ended(&story, 1, "Succeeded").await;
    let report = last["report"].as_str().unwrap_or_default();
    let report = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await;
    let notes = report["spec"]["notes"].to_string();
    assert!(notes.contains("freezes may not all be known") && notes.contains(&said(&lacking)), "{report:#}");
    // It goes back as ever.
    story.apply(story.release(by_hand())).await;
    story.ship_paper("v3", json!({})).await;
    until_at(&story, "half").await;
    say(&story, "Abort").await;
    ended(&story, 2, "Aborted").await;
    // The next operator has nothing to do here.
    story.delete("tidegate.dev/v1alpha1", "Release", "shop").await;
    story
        .until("given back", |story| async move {
            story.target().await["metadata"]["labels"]["tidegate.dev/release"].is_null()
        })
        .await;
}

/// Two pods at half, and back again, with a pod kept for so long.
async fn aborted(story: &Story<'_>, kept_for: &str) {
    let undo = json!({"quarantine": {"pods": 1, "for": kept_for}});
    story.adopt(story.deployment(2), story.release(with(by_hand(), json!({"undo": undo})))).await;
    story.ship_paper("v2", json!({})).await;
    until_at(story, "half").await;
    say(story, "Abort").await;
    ended(story, 1, "Aborted").await;
}

/// The record of the way back says which right was missing to keep something of a pod.
async fn not_kept(story: &Story<'_>, lacking: &Right) {
    let report = story.status().await["lastRun"]["report"].take();
    let report = report.as_str().unwrap_or_default();
    let undo = story.get("tidegate.dev/v1alpha1", "ReleaseReport", report).await["spec"]["undo"].take();
    let said = said(lacking);
    let words = format!("{} {}", undo["quarantined"], undo["pods"][0]["unread"]);
    assert!(words.contains(&said), "{said}: {undo:#}");
}

/// Without one of them it is said which.
async fn lacking_one(stage: &Stage, lacking: &Right, rest: &[Right]) {
    let rights: Vec<&Right> = rest.iter().collect();
    let story = begun(stage, &name_of(lacking), &rights).await;
    let log = stage.operator.lock().await.as_ref().expect("an operator").log.clone();
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    let told = async |reason: &str| {
        story.until_blocked(reason).await;
        let blocker = story.status().await["blockedBy"].take();
        assert!(
            blocker["message"].as_str().is_some_and(|words| words.contains(&said(lacking))),
            "{blocker:#}"
        );
    };
    let (_, resource, verb) = lacking;
    match (resource.as_str(), verb.as_str()) {
        // Taking the Deployment up.
        ("deployments", "patch") | ("controllerrevisions", "create") => {
            story.apply(story.deployment(2)).await;
            story.apply(story.release(quick())).await;
            told("MissingRight").await;
            // Given back, it goes on by itself.
            let all: Vec<&Right> = rights.iter().copied().chain([lacking]).collect();
            give(stage, "tidegate", "story", Some(&story.namespace), &all).await;
            story
                .until("adopted", |story| async move {
                    let status = story.status().await;
                    status["stable"]["fingerprint"].is_string() && status["blockedBy"].is_null()
                })
                .await;
        }
        // Forgetting the template before the last one.
        ("controllerrevisions", "delete") => {
            story.adopt(story.deployment(2), story.release(halves())).await;
            story.ship_paper("v2", json!({})).await;
            told("MissingRight").await;
        }
        ("jobs", "create") => {
            story.adopt(story.deployment(2), story.release(checked())).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckFailed").await;
        }
        // A trial pod that is not ended ends by itself, later.
        ("jobs", "delete") => {
            let starts = json!({"name": "starts", "http": {"podPath": "/", "podPort": 80}});
            story.adopt(story.deployment(2), story.release(before_the_first_pod(starts))).await;
            story.ship_paper("v2", json!({})).await;
            story.until_blocked("CheckFailed").await;
            let logged = &logged;
            story.until("a line in the log", |_| async move { logged().contains(&said(lacking)) }).await;
        }
        // What a job said: where its result is asked for, it is not known. Nor is it kept what pods wrote that go.
        ("pods/log", "get") => {
            let mut spec = with(checked(), json!({"steps": by_hand()["steps"]}));
            spec["preflight"][0]["job"]["result"] =
                json!({"from": "LastLogLine", "expression": "result.failed == 0"});
            story.adopt(story.deployment(2), story.release(spec)).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
            say(&story, "Skip").await;
            until_at(&story, "half").await;
            say(&story, "Abort").await;
            ended(&story, 1, "Aborted").await;
            not_kept(&story, lacking).await;
        }
        ("configmaps", "get") => {
            story.adopt(story.deployment(2), story.release(checked())).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
        }
        ("poddisruptionbudgets", "list") => {
            let budget = json!({"name": "workload", "workload": {"podDisruptionBudget": "Required"}});
            story.adopt(story.deployment(2), story.release(before_the_first_pod(budget))).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
        }
        ("resourcequotas", "list") => {
            let room = json!({"name": "workload", "workload": {"room": "Required"}});
            story.adopt(story.deployment(2), story.release(before_the_first_pod(room))).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
        }
        // Nodes are in no namespace: whoever may list them may list all.
        ("nodes", "list") => {
            let room = json!({"name": "workload", "workload": {"room": "Required"}});
            story.adopt(story.deployment(2), story.release(before_the_first_pod(room))).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
            give(stage, "tidegate", "story-nodes", None, &[lacking]).await;
            ended(&story, 1, "Succeeded").await;
        }
        ("releasereports", "list") => {
            let promotion = json!({"name": "staging", "promotion": {"namespace": story.namespace}});
            story.adopt(story.deployment(2), story.release(before_the_first_pod(promotion))).await;
            story.ship_paper("v2", json!({})).await;
            told("CheckUnknown").await;
        }
        ("releaseactions/status", "patch") => {
            story.adopt(story.deployment(2), story.release(by_hand())).await;
            let spec = json!({"action": "Pause", "by": "admin"});
            story.say("admin", spec).await.expect("said");
            told("MissingRight").await;
            // Nothing waits for it: neither a run, nor going back.
            story.ship_paper("v2", json!({})).await;
            until_at(&story, "half").await;
            say(&story, "Abort").await;
            ended(&story, 1, "Aborted").await;
            let message = story.status().await["summary"]["message"].take();
            assert!(message.as_str().is_some_and(|words| words.contains(&said(lacking))), "{message}");
            let all: Vec<&Right> = rights.iter().copied().chain([lacking]).collect();
            give(stage, "tidegate", "story", Some(&story.namespace), &all).await;
            story
                .until("both are marked", |story| async move {
                    let actions = story.list("tidegate.dev/v1alpha1", "ReleaseAction").await;
                    actions.len() == 2 && actions.iter().all(|it| it["status"]["result"].is_string())
                })
                .await;
            let said = &said(lacking);
            story
                .until("it is said no more", |story| async move {
                    let message = story.status().await["summary"]["message"].take();
                    message.as_str().is_some_and(|words| !words.contains(said))
                })
                .await;
        }
        // The record of a run stops no run.
        ("releasereports", "create") => {
            story.adopt(story.deployment(2), story.release(halves())).await;
            story.ship_paper("v2", json!({})).await;
            ended(&story, 1, "Succeeded").await;
            let logged = &logged;
            story.until("a line in the log", |_| async move { logged().contains(&said(lacking)) }).await;
        }
        // Too many of them stay until there is the right to delete them.
        ("releasereports", "delete") => {
            let spec = with(halves(), json!({"reports": {"keep": 1}}));
            story.adopt(story.deployment(2), story.release(spec)).await;
            for number in 1..=2 {
                story.ship_paper(&format!("v{}", number + 1), json!({})).await;
                ended(&story, number, "Succeeded").await;
            }
            told("MissingRight").await;
        }
        // A record whose status could not be written: the next one follows it, and cannot know its digest.
        ("releasereports", "get") => {
            let spec = with(halves(), json!({"watch": [{"for": "3s", "every": "1s"}]}));
            story.adopt(story.deployment(2), story.release(spec)).await;
            story.ship_paper("v2", json!({})).await;
            story.until_phase("Watching").await;
            let silent: Vec<&Right> =
                rights.iter().copied().filter(|right| right.1 != "releases/status").collect();
            give(stage, "tidegate", "story", Some(&story.namespace), &silent).await;
            story
                .until("a record", |story| async move {
                    !story.list("tidegate.dev/v1alpha1", "ReleaseReport").await.is_empty()
                })
                .await;
            give(stage, "tidegate", "story", Some(&story.namespace), &rights).await;
            ended(&story, 1, "Succeeded").await;
            let digest = story.status().await["reports"]["digest"].take();
            assert!(digest.as_str().unwrap_or_default().is_empty(), "it cannot be known: {digest}");
            let logged = &logged;
            story.until("a line in the log", |_| async move { logged().contains(&said(lacking)) }).await;
        }
        // What is kept of pods that go: the record says what could not be.
        ("pods", "patch") | ("events", "list") => {
            aborted(&story, "1h").await;
            not_kept(&story, lacking).await;
        }
        ("pods", "delete") => {
            aborted(&story, "1s").await;
            let logged = &logged;
            story.until("a line in the log", |_| async move { logged().contains(&said(lacking)) }).await;
        }
        // What can be said nowhere else is in the log.
        ("releases/status", "patch") | ("events", "create") => {
            story.apply(story.deployment(2)).await;
            story.apply(story.release(halves())).await;
            story.ship_paper("v2", json!({})).await;
            let logged = &logged;
            story.until("a line in the log", |_| async move { logged().contains(&said(lacking)) }).await;
        }
        _ => panic!("no story shows that {lacking:?} is needed"),
    }
}
