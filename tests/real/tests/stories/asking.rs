//! Checks of certificates, objects and backups: with a right that is missing, with what is wrong, and with an operator that is killed.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tidegate_real::stage::{self, Stage, usual};
use tidegate_real::story::{Story, on_stage};

use crate::given::{checked, grant, may_read_secrets, pods, says, stands_still, until_told};

async fn shipped(story: &Story<'_>, check: Value) {
    story.adopt(story.deployment(2), story.release(checked(check))).await;
    grant(story, "alice", "tidegate-release-manager").await;
    story.ship_paper("v2", json!({})).await;
}

async fn succeeds(story: &Story<'_>) {
    assert_eq!(story.until_ended(1).await["outcome"], "Succeeded", "{}", story.describe().await);
}

/// Days from today, as a date.
fn in_days(days: i64) -> (i32, u8, u8) {
    let at = jiff::Timestamp::now() + Duration::from_secs(86_400) * u32::try_from(days).expect("days");
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    (at.year().into(), at.month().unsigned_abs(), at.day().unsigned_abs())
}

/// A Secret with a certificate that holds so long, and its authority.
fn certificate(days: i64) -> (Value, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "Shop Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let mut params = CertificateParams::new(vec!["shop.example.com".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "shop");
    let (year, month, day) = in_days(days);
    params.not_after = date_time_ymd(year, month, day);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &root).expect("a certificate");
    let key = key.serialize_pem();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "shop-tls"},
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key, "ca.crt": root.pem()},
    });
    (secret, key)
}

#[test]
fn a_certificate_of_a_secret_must_last_and_its_key_is_never_told() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "tls").await;
        let (soon, first_key) = certificate(12);
        story.apply(soon).await;
        let ca = json!({"secret": "shop-tls"});
        let tls =
            json!({"secret": "shop-tls", "names": ["shop.example.com"], "minValidity": "720h", "ca": ca});
        shipped(&story, json!({"name": "certificate", "tls": tls})).await;
        let hint =
            "the operator may not read secret shop-tls: bind ClusterRole tidegate-secrets in namespace tls-";
        until_told(&story, "CheckUnknown", hint).await;
        may_read_secrets(&story).await;
        until_told(&story, "CheckFailed", "minValidity is 720h: renew secret shop-tls").await;
        stands_still(&story, Duration::from_secs(1)).await;
        let (renewed, second_key) = certificate(90);
        story.apply(renewed).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
        let release = story.get("tidegate.dev/v1alpha1", "Release", "shop").await;
        let events = story.list("events.k8s.io/v1", "Event").await;
        let reports = story.list("tidegate.dev/v1alpha1", "ReleaseReport").await;
        let log = story
            .stage
            .operator
            .lock()
            .await
            .as_ref()
            .map(|operator| operator.read_log())
            .unwrap_or_default();
        let told = format!("{release} {events:?} {reports:?} {log}");
        for key in [first_key, second_key] {
            let line = key.lines().nth(1).expect("a line of the key");
            assert!(!told.contains(line), "a key was told");
        }
    });
}

/// A kind like Velero's, which is not installed here.
fn backups() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "backups.velero.io"},
        "spec": {
            "group": "velero.io", "scope": "Namespaced",
            "names": {"plural": "backups", "singular": "backup", "kind": "Backup", "listKind": "BackupList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": any}}],
        },
    })
}

fn backup(namespace: &str, phase: &str, ago: Duration) -> Value {
    let done = (jiff::Timestamp::now() - ago).to_string();
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": "nightly", "namespace": namespace, "labels": {"app": "shop"}},
        "status": {"phase": phase, "completionTimestamp": done},
    })
}

/// What the installer adds with `objectChecks`.
async fn may_read_backups(stage: &Stage) {
    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": "tidegate-objects"},
        "rules": [{"apiGroups": ["velero.io"], "resources": ["backups"], "verbs": ["get", "list"]}],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "tidegate-objects"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "tidegate-objects"},
        "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": "tidegate-system"}],
    });
    for object in [role, binding] {
        stage::apply(&stage.client, &object, "story").await.expect("a role and its binding");
    }
}

async fn until_served(stage: &Stage, story: &Story<'_>) {
    stage::apply(&stage.client, &backups(), "story").await.expect("a CRD");
    story
        .until("backups are served", |story| async move {
            let backup = backup(&story.namespace, "New", Duration::ZERO);
            stage::apply(&story.client, &backup, "story").await.is_ok()
        })
        .await;
}

#[test]
fn a_backup_must_be_finished_and_new_with_the_right_to_see_it_and_whoever_is_killed_meanwhile() {
    on_stage(async {
        let stage = Stage::own(usual()).await.expect("a stage");
        let story = Story::begin(&stage, "backup").await;
        let place = json!({"selector": "app=shop", "namespace": story.namespace});
        let check = json!({"name": "backup", "backup": {"velero": place, "maxAge": "24h"}});
        shipped(&story, check).await;
        let right = "the operator may not list backups.velero.io: add {apiGroups: [velero.io], resources: [backups]} to objectChecks of the chart";
        until_told(&story, "CheckUnknown", right).await;
        may_read_backups(&stage).await;
        until_told(&story, "CheckUnknown", "the API server knows no backups.velero.io in version v1").await;
        until_served(&stage, &story).await;
        until_told(&story, "CheckFailed", "none of 1 is Completed: make a new one, or wait for it").await;
        let apply = async |phase: &str, ago: Duration| {
            let backup = backup(&story.namespace, phase, ago);
            stage::apply(&story.client, &backup, "story").await.expect("a backup");
        };
        apply("Completed", Duration::from_secs(30 * 3600)).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        until_told(&story, "CheckFailed", "nightly is 30h old, maxAge is 24h: make a new one").await;
        // Killed, and what is said meanwhile is heard by the next one.
        stage.kill_operator().await.expect("killed");
        apply("Completed", Duration::from_secs(3600)).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        assert_eq!(pods(&story).await.len(), 1, "{}", story.describe().await);
        stage.start_operator().await.expect("an operator");
        succeeds(&story).await;
    });
}

#[test]
fn any_object_is_held_against_an_expression() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "object").await;
        let map = |state: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "migration"}, "data": {"state": state}});
        story.apply(map("running")).await;
        let expression = "object.data.state == 'done'";
        let object = json!({"apiVersion": "v1", "resource": "configmaps", "name": "migration", "expression": expression});
        shipped(&story, json!({"name": "migrated", "object": object})).await;
        until_told(&story, "CheckFailed", "/migration: object.data.state == 'done' does not hold").await;
        story.apply(map("done")).await;
        says(&story, "alice", json!({"action": "Retry"})).await;
        succeeds(&story).await;
    });
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_write() {
    on_stage(async {
        let story = Story::begin(Stage::shared().await, "meant").await;
        let refused = async |check: Value| {
            let mut whole = json!({"name": "it"});
            whole.as_object_mut().expect("an object").extend(check.as_object().expect("an object").clone());
            let release = story.release(checked(whole));
            match story.try_apply(release, "story").await {
                Ok(_) => panic!("{check} is taken"),
                Err(error) => format!("{error:#}"),
            }
        };
        let object = |field: &str, value: Value| {
            let mut object = json!({"apiVersion": "velero.io/v1", "resource": "backups", "name": "nightly"});
            object[field] = value;
            json!({"object": object})
        };
        let dns = |field: &str, value: Value| {
            let mut dns = json!({"name": "example.com", "type": "TXT"});
            dns[field] = value;
            json!({"dns": dns})
        };
        for (check, words) in [
            (json!({"tls": {}}), "tls needs one of: secret (of type kubernetes.io/tls), host"),
            (
                json!({"tls": {"secret": "x", "minVersion": "1.3"}}),
                "port, serverName and minVersion are for a host",
            ),
            (json!({"tls": {"host": "x", "ca": {}}}), "ca needs one of: secret, configMap"),
            (
                json!({"tls": {"host": "https://shop"}}),
                "'https://shop' is no host: write shop.example.com or 10.0.0.1",
            ),
            (dns("values", json!(["x"])), ""),
            (dns("pattern", json!("x")), ""),
            (dns("absent", json!(false)), "absent is true, or not written"),
            (json!({"dns": {"name": "example.com", "type": "A"}}), "dns needs exactly one of: values"),
            (
                json!({"dns": {"name": "a b", "type": "A", "absent": true}}),
                "'a b' is no DNS name: write _dmarc.example.com",
            ),
            (
                json!({"dns": {"name": "a", "type": "A", "absent": true, "server": "dns:53"}}),
                "'dns:53' is no address: write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53",
            ),
            (object("selector", json!("a=b")), "object needs one of: name, selector"),
            (object("resource", json!("Backup")), "'Backup' is no resource: write the plural in lower case"),
            (
                object("apiVersion", json!("velero.io")),
                "'velero.io' is no apiVersion: write v1 or velero.io/v1",
            ),
            (
                object("timestamp", json!("''")),
                "timestamp says what maxAge is counted from: write maxAge too",
            ),
            (
                json!({"object": {"apiVersion": "v1", "resource": "secrets", "name": "stripe"}}),
                "object does not read Secrets: write a config check, whose patterns show no value",
            ),
            (json!({"backup": {"maxAge": "24h"}}), "backup needs one of: velero, volumeSnapshot"),
            (
                json!({"tls": {"host": "x"}, "dns": {"name": "a", "type": "A", "absent": true}}),
                "check 'it' needs exactly one of:",
            ),
        ] {
            if words.is_empty() {
                story
                    .apply(story.release(checked({
                        let mut whole = json!({"name": "it"});
                        whole
                            .as_object_mut()
                            .expect("an object")
                            .extend(check.as_object().expect("an object").clone());
                        whole
                    })))
                    .await;
                continue;
            }
            let said = refused(check.clone()).await;
            assert!(said.contains(words), "{check}: {said}");
        }
    });
}
