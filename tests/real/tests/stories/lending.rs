//! A Release lends nobody the operator's rights: who writes it must hold each right that it uses.

use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage};
use tidegate_real::story::{Story, on_stage};

use crate::given::{halves, with};

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

#[test]
fn a_check_takes_the_rights_that_it_uses_from_whoever_writes_it() {
    on_stage(async {
        let stage = Stage::shared().await;
        let story = Story::begin(stage, "lending").await;
        let other = Story::begin(stage, "lending-staging").await;
        let (here, there) = (story.namespace.clone(), other.namespace.clone());
        give(
            &story,
            &here,
            "writes",
            rule("tidegate.dev", "releases", &["get", "create", "patch", "update"]),
        )
        .await;
        let nothing = json!({});
        until_told(&story, &nothing, "bob may not release deployments shop: it takes the verb patch on it")
            .await;
        give(&story, &here, "patches", rule("apps", "deployments", &["patch"])).await;
        until_told(&story, &nothing, "").await;

        let job = json!({"name": "smoke", "job": {"template": {"spec": {"template": {"spec": {}}}}}});
        let secrets = config("secrets", None);
        let maps = config("configMaps", None);
        let kinds = [
            (
                job,
                "bob may not write a job check without the verb create on jobs.batch",
                ("batch", "jobs", "create"),
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
            give(&story, &here, resource, rule(group, resource, &[verb])).await;
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
        give(
            &story,
            &here,
            "writes",
            rule("tidegate.dev", "releases", &["get", "create", "patch", "update"]),
        )
        .await;
        give(&story, &here, "patches", rule("apps", "deployments", &["patch"])).await;
        until_told(&story, &json!({}), "").await;
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
