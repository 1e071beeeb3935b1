//! A Release lends nobody the operator's rights: who writes it must hold each right that it uses.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage, usual};
use tidegate_real::story::{Story, on_stage};

use crate::given::{ended, halves, with};

/// A role of this namespace, and that bob has it.
async fn give(story: &Story<'_>, namespace: &str, name: &str, rules: Value) {
    let metadata = json!({"name": name, "namespace": namespace});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}],
    });
    for object in [role, binding] {
        stage::apply(&story.client, &object, "story").await.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// What the API server says when bob writes this; empty when it takes it.
async fn said_to_bob(story: &Story<'_>, spec: Value) -> String {
    let client = story.stage.cluster.client("bob").await.expect("a client");
    let mut release = story.release(with(halves(), spec));
    release["metadata"]["namespace"] = json!(story.namespace);
    match stage::apply(&client, &release, "bob").await {
        Ok(_) => String::new(),
        Err(error) => format!("{error:#}"),
    }
}

async fn until_told(story: &Story<'_>, spec: &Value, words: &str) {
    story
        .until(&format!("bob is told: {words}"), |story| async move {
            let said = said_to_bob(story, spec.clone()).await;
            if words.is_empty() { said.is_empty() } else { said.contains(words) }
        })
        .await;
}

fn config(kind: &str, elsewhere: Option<&str>) -> Value {
    let mut key = json!({"key": "key"});
    if let Some(namespace) = elsewhere {
        key["differsFrom"] = json!({"namespace": namespace});
    }
    json!({"name": "config", "config": {kind: [{"name": "shop", "keys": [key]}]}})
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!([{"apiGroups": [group], "resources": [resource], "verbs": verbs}])
}

/// Bob may write Releases there.
async fn may_write_releases(story: &Story<'_>, namespace: &str) {
    let verbs = ["get", "create", "patch", "update"];
    give(story, namespace, "writes", rule("tidegate.dev", "releases", &verbs)).await;
}

/// Bob may write Releases there, of any Deployment, and that has come to be so.
async fn may_release(story: &Story<'_>, namespace: &str) {
    may_write_releases(story, namespace).await;
    give(story, namespace, "patches", rule("apps", "deployments", &["patch"])).await;
    until_told(story, &json!({}), "").await;
}

#[test]
fn a_check_takes_the_rights_that_it_uses_from_whoever_writes_it() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "lending").await;
        let other = Story::begin(stage, "lending-staging").await;
        let (here, there) = (story.namespace.clone(), other.namespace.clone());
        may_write_releases(&story, &here).await;
        let nothing = json!({});
        until_told(&story, &nothing, "bob may not release deployments shop: it takes the verb patch on it")
            .await;
        give(&story, &here, "patches", rule("apps", "deployments", &["patch"])).await;
        until_told(&story, &nothing, "").await;

        let job = json!({"name": "smoke", "job": {"template": {"spec": {"template": {"spec": {}}}}}});
        let mut silent = job.clone();
        silent["job"]["logs"] = json!("None");
        let secrets = config("secrets", None);
        let maps = config("configMaps", None);
        let mut migration = job["job"].clone();
        migration["logs"] = json!("None");
        let migrated = json!({"migrations": [{"name": "add", "kind": "Expand", "job": migration}]});
        until_told(&story, &migrated, "without the verb create on jobs.batch").await;
        let tried = json!({"preflight": [{"name": "starts", "http": {"podPath": "/healthz"}}]});
        until_told(&story, &tried, "without the verb create on jobs.batch").await;
        let kinds = [
            (
                silent,
                "bob may not write a job check, a migration or a preflight check with podPath without the verb create on jobs.batch",
                ("batch", "jobs", "create"),
            ),
            (
                job,
                "bob may not write a job whose log is kept or judged without the verb get on pods/log",
                ("", "pods/log", "get"),
            ),
            (secrets, "bob may not name a Secret without the verb get on secrets", ("", "secrets", "get")),
            (
                maps,
                "bob may not name a ConfigMap without the verb get on configmaps",
                ("", "configmaps", "get"),
            ),
        ];
        for (check, words, (group, resource, verb)) in kinds {
            let before = json!({"preflight": [check]});
            let at_a_step = json!({"steps": [{"name": "half", "replicas": "50%", "checks": [check]}]});
            until_told(&story, &before, words).await;
            until_told(&story, &at_a_step, words).await;
            give(&story, &here, &resource.replace('/', "-"), rule(group, resource, &[verb])).await;
            until_told(&story, &before, "").await;
            until_told(&story, &at_a_step, "").await;
        }
        for (kind, resource, object) in
            [("secrets", "secrets", "Secret"), ("configMaps", "configmaps", "ConfigMap")]
        {
            let check = json!({"preflight": [config(kind, Some(&there))]});
            let words = format!(
                "bob may not compare with a {object} of another namespace without the verb get on {resource} there"
            );
            until_told(&story, &check, &words).await;
            give(&story, &there, resource, rule("", resource, &["get"])).await;
            until_told(&story, &check, "").await;
            // However many keys: the API server asks once.
            let mut many = check.clone();
            let keys: Vec<Value> = (0..64)
                .map(|number| json!({"key": format!("k{number}"), "differsFrom": {"namespace": there}}))
                .collect();
            many["preflight"][0]["config"][kind][0]["keys"] = json!(keys);
            until_told(&story, &many, "").await;
            many["preflight"][0]["config"][kind][0]["keys"][63]["differsFrom"]["namespace"] = json!(here);
            until_told(&story, &many, "with those of one other namespace").await;
        }
    });
}

#[test]
fn a_check_of_an_object_takes_the_right_to_read_it_where_it_is() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "lending-objects").await;
        let other = Story::begin(stage, "lending-elsewhere").await;
        let (here, there) = (story.namespace.clone(), other.namespace.clone());
        may_release(&story, &here).await;
        let object = |fields: Value| {
            let mut object = json!({"apiVersion": "velero.io/v1", "resource": "backups"});
            object.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
            json!({"name": "backup", "object": object})
        };
        let own = object(json!({"name": "nightly"}));
        let selected = object(json!({"selector": "a=b"}));
        let elsewhere = object(json!({"name": "nightly", "namespace": there}));
        let velero = json!({"name": "backup", "backup": {"velero": {"selector": "a=b", "namespace": there}, "maxAge": "1h"}});
        let of_cluster = object(json!({"name": "nightly", "scope": "Cluster"}));
        let before = |checks: &[&Value]| json!({"preflight": checks});
        let at_a_step =
            |check: &Value| json!({"steps": [{"name": "half", "replicas": "50%", "checks": [check]}]});
        let words = |verb: &str, place: &str| {
            format!(
                "bob may not write a check of backups without the verb {verb} on backups.velero.io{place}"
            )
        };
        let (within, without) = (format!(" in namespace {here}"), format!(" in namespace {there}"));
        until_told(&story, &before(&[&own]), &words("get", &within)).await;
        until_told(&story, &at_a_step(&own), &words("get", &within)).await;
        give(&story, &here, "gets", rule("velero.io", "backups", &["get"])).await;
        until_told(&story, &before(&[&own]), "").await;
        until_told(&story, &at_a_step(&own), "").await;
        until_told(&story, &before(&[&selected]), &words("list", &within)).await;
        until_told(&story, &before(&[&elsewhere]), &words("get", &without)).await;
        // Each of several is asked for, wherever it stands.
        let of = |number: usize, last: &Value| {
            let named = |place| {
                let mut own = own.clone();
                own["name"] = json!(format!("backup-{place}"));
                own
            };
            json!({"preflight": (1..number).map(named).chain([last.clone()]).collect::<Vec<_>>()})
        };
        until_told(&story, &of(12, &velero), &words("list", &without)).await;
        give(&story, &there, "lists", rule("velero.io", "backups", &["list"])).await;
        until_told(&story, &of(12, &velero), "").await;
        until_told(&story, &of(13, &velero), "a Release has at most 12 object and backup checks").await;
        until_told(&story, &before(&[&of_cluster]), &words("get", " in the whole cluster")).await;
        let secret = json!({"name": "tls", "tls": {"secret": "shop-tls"}});
        let map = json!({"name": "tls", "tls": {"host": "shop.example.com", "ca": {"configMap": "roots"}}});
        let record = json!({"configMap": {"name": "staging", "key": "record.yaml"}});
        let brought = json!({"name": "staging", "promotion": {"record": record}});
        let words = "bob may not name a ConfigMap without the verb get on configmaps";
        until_told(&story, &before(&[&brought]), words).await;
        until_told(&story, &before(&[&secret]), "bob may not name a Secret without the verb get on secrets")
            .await;
        until_told(
            &story,
            &at_a_step(&map),
            "bob may not name a ConfigMap without the verb get on configmaps",
        )
        .await;
    });
}

#[test]
fn who_is_told_by_a_secret_takes_the_right_to_read_secrets() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "lending-told").await;
        let here = story.namespace.clone();
        may_release(&story, &here).await;
        let told = |channel: Value| {
            let mut one = json!({"name": "team", "events": ["Held"]});
            one.as_object_mut().expect("an object").extend(channel.as_object().expect("an object").clone());
            json!({"notify": [one]})
        };
        let mail = json!({"host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]});
        let with_login = with(mail.clone(), json!({"auth": {"secret": "login"}}));
        let hook = json!({"url": "https://hooks.example.com/"});
        let with_token = with(hook.clone(), json!({"auth": {"bearer": {"secret": "token"}}}));
        let open = [
            told(json!({"webhook": hook})),
            told(json!({"cloudEvents": hook})),
            told(json!({"email": mail})),
        ];
        let by_secret = [
            told(json!({"slack": {"secret": "slack"}})),
            told(json!({"teams": {"secret": "teams"}})),
            told(json!({"webhook": {"secret": "hook"}})),
            told(json!({"cloudEvents": with_token})),
            told(json!({"email": with_login})),
            told(json!({"pagerDuty": {"secret": "duty"}})),
            told(json!({"opsgenie": {"secret": "genie"}})),
        ];
        for spec in &open {
            until_told(&story, spec, "").await;
        }
        for spec in &by_secret {
            until_told(&story, spec, "bob may not name a Secret without the verb get on secrets").await;
        }
        give(&story, &here, "secrets", rule("", "secrets", &["get"])).await;
        for spec in &by_secret {
            until_told(&story, spec, "").await;
        }
        let with_map = with(hook, json!({"ca": {"configMap": "roots"}}));
        let words = "bob may not name a ConfigMap without the verb get on configmaps";
        until_told(&story, &told(json!({"webhook": with_map})), words).await;
        // What the API server says of an audience that cannot be.
        let both = told(json!({"slack": {"secret": "slack"}, "teams": {"secret": "teams"}}));
        until_told(&story, &both, "a notification needs exactly one of: slack, teams").await;
        let mut waking = told(json!({"pagerDuty": {"secret": "duty"}}));
        waking["notify"][0]["events"] = json!(["Succeeded"]);
        until_told(&story, &waking, "pagerDuty and opsgenie wake people").await;
        let mut late = told(json!({"slack": {"secret": "slack"}}));
        late["notify"][0]["after"] = json!("30m");
        late["notify"][0]["events"] = json!(["Undone"]);
        until_told(&story, &late, "after is for what stands").await;
    });
}

#[test]
fn a_check_of_what_surrounds_a_workload_or_came_before_it_takes_the_right_to_see_that() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "lending-around").await;
        let other = Story::begin(stage, "lending-before").await;
        let (here, there) = (story.namespace.clone(), other.namespace.clone());
        may_release(&story, &here).await;
        let workload = |fields: Value| json!({"preflight": [{"name": "workload", "workload": fields}]});
        let own = workload(json!({"probes": "Required", "minReplicas": 2, "imageByDigest": "Required"}));
        until_told(&story, &own, "").await;
        // Under a name of its own: server-side apply takes an object away of which the last field goes.
        let whole = json!({"preflight": [{"name": "whole", "workload": {}}]});
        let budget = workload(json!({"podDisruptionBudget": "Required"}));
        let words = "bob may not write a workload check of podDisruptionBudget without the verb list on poddisruptionbudgets.policy";
        until_told(&story, &budget, words).await;
        until_told(&story, &whole, words).await;
        give(&story, &here, "budgets", rule("policy", "poddisruptionbudgets", &["list"])).await;
        until_told(&story, &budget, "").await;
        let words = "bob may not write a workload check of room without the verb list on resourcequotas";
        until_told(&story, &workload(json!({"room": "Required"})), words).await;
        until_told(&story, &whole, words).await;
        give(&story, &here, "quotas", rule("", "resourcequotas", &["list"])).await;
        until_told(&story, &whole, "").await;

        let promotion = json!({"preflight": [{"name": "staging", "promotion": {"namespace": there}}]});
        let words = |resource: &str| {
            format!(
                "bob may not write a check of {resource} without the verb get on {resource}.tidegate.dev in namespace {there}"
            )
        };
        until_told(&story, &promotion, &words("releases")).await;
        give(&story, &there, "releases", rule("tidegate.dev", "releases", &["get"])).await;
        until_told(&story, &promotion, &words("releasereports")).await;
        give(&story, &there, "reports", rule("tidegate.dev", "releasereports", &["get"])).await;
        until_told(&story, &promotion, "").await;
        let labels = json!({"matchLabels": {"tier": "pilot"}});
        let pilots = json!({"preflight": [{"name": "pilots", "promotion": {"selector": labels}}]});
        for resource in ["releases", "releasereports"] {
            let words = format!(
                "bob may not write a check of {resource} without the verb list on {resource}.tidegate.dev in namespace {here}"
            );
            until_told(&story, &pilots, &words).await;
            give(&story, &here, &format!("lists-{resource}"), rule("tidegate.dev", resource, &["list"]))
                .await;
        }
        until_told(&story, &pilots, "").await;
        // Metrics are read as the Release says anyway.
        until_told(&story, &json!({"criteria": [{"name": "errors", "errorRate": {"limit": "5%"}}], "preflight": [{"name": "telemetry", "telemetry": {}}]}), "").await;
    });
}

/// What the binding of the policy that asks for rights does from now on.
async fn bind(story: &Story<'_>, actions: &[&str]) {
    let kind =
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding"});
    let bindings = stage::api_of(&story.client, &kind).expect("a kind");
    let patch = Patch::Merge(json!({"spec": {"validationActions": actions}}));
    bindings.patch("tidegate-release-rights", &PatchParams::default(), &patch).await.expect("bound");
}

#[test]
fn while_the_policy_is_on_trial_nothing_is_lent_and_the_release_says_so() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "on-trial").await;
        let map = json!({"name": "kube-root-ca.crt", "keys": [{"key": "ca.crt"}]});
        let check = json!({"name": "config", "config": {"configMaps": [map]}});
        let spec = with(halves(), json!({"preflight": [check]}));
        story.adopt(story.deployment(2), story.release(spec)).await;
        bind(&story, &["Audit"]).await;
        story.until_blocked("PolicyMissing").await;
        story.ship_paper("v2", json!({})).await;
        story.until_phase("Held").await;
        let blocker = story.status().await["blockedBy"].take();
        assert_eq!(blocker["reason"], "PolicyMissing", "{}", story.describe().await);
        let message = blocker["message"].as_str().unwrap_or_default();
        assert!(message.contains("the rights for spec.preflight[0], and"), "{message}");
        bind(&story, &["Deny"]).await;
        ended(&story, 1, "Succeeded").await;
    });
}
