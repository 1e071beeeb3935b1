//! `object` and `backup` checks: what is asked of the API server, and what its answers mean.

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tidegate::api::check::Check;
use tidegate::api::release::ReleaseSpec;
use tidegate::decide::plan::{CheckKind, Question, plan};
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::{About, Probe};

use super::{ask, cluster, failure, forbidden};

const NOW: &str = "2026-11-22T12:00:00Z";

/// A Release with this check.
pub(super) fn spec(check: &Value) -> ReleaseSpec {
    let mut whole = json!({"name": "it"});
    whole.as_object_mut().expect("an object").extend(check.as_object().expect("an object").clone());
    let check: Check = serde_json::from_value(whole).expect("a check");
    let target = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
    ReleaseSpec { preflight: vec![check], ..serde_json::from_value(target).expect("a spec") }
}

fn question(check: &Value) -> Question {
    let plan = plan(&spec(check), false).unwrap_or_else(|problem| panic!("{check}: {problem}"));
    match plan.checks.into_iter().next().expect("a check").kind {
        CheckKind::Asked(question) => question,
        CheckKind::Approval(_) | CheckKind::Attest(_) | CheckKind::Job(_) | CheckKind::Trial(_) => {
            panic!("nothing is asked")
        }
    }
}

async fn asked(client: &Client, check: Value) -> (ProbeResult, String) {
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "it".into(), attempt: 1, definition: None },
        question: question(&check),
        timeout: std::time::Duration::from_secs(10),
        pods: Vec::new(),
        about: About::Nothing,
    };
    let now: Timestamp = NOW.parse().expect("a moment");
    ask(client, &probe, now).await
}

async fn is(client: &Client, check: Value, result: ProbeResult, words: &str) {
    let (found, said) = asked(client, check.clone()).await;
    assert_eq!((found, said.as_str()), (result, words), "{check}");
}

fn backup(name: &str, phase: &str, created: &str, done: &str) -> Value {
    let mut status = json!({"phase": phase});
    if !done.is_empty() {
        status["completionTimestamp"] = json!(done);
    }
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "status": status,
        "metadata": {"name": name, "namespace": "velero", "creationTimestamp": created, "managedFields": [{"manager": "x"}]},
    })
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
}

const BACKUPS: &str = "/apis/velero.io/v1/namespaces/velero/backups?labelSelector=velero.io%2Fschedule-name%3Dnightly&limit=500";

#[tokio::test]
async fn a_backup_is_finished_and_new_enough_or_said_not_to_be() {
    let (old, new) = ("2026-11-20T01:00:00Z", "2026-11-22T01:30:00Z");
    let check = |hours: &str| json!({"backup": {"velero": {"selector": "velero.io/schedule-name=nightly"}, "maxAge": hours}});
    let words = "backups.velero.io of velero with velero.io/schedule-name=nightly";
    let both = [
        backup("nightly-1", "Completed", old, "2026-11-20T01:30:00Z"),
        backup("nightly-2", "Completed", "2026-11-22T01:00:00Z", new),
        // The newest is not one yet.
        backup("nightly-3", "InProgress", "2026-11-22T11:59:00Z", ""),
        backup("nightly-4", "PartiallyFailed", "2026-11-22T11:00:00Z", "2026-11-22T11:30:00Z"),
    ];
    let client = cluster([(BACKUPS, 200, list(&both))]).await;
    is(&client, check("24h"), ProbeResult::Passed, &format!("{words}: nightly-2 is 10h old")).await;
    let too_old = format!("{words}: nightly-2 is 10h old, maxAge is 4h: make a new one");
    is(&client, check("4h"), ProbeResult::Failed, &too_old).await;
    let client = cluster([(BACKUPS, 200, list(&both[2..]))]).await;
    let none = format!("{words}: none of 2 is Completed: make a new one, or wait for it");
    is(&client, check("24h"), ProbeResult::Failed, &none).await;
    let client = cluster([(BACKUPS, 200, list(&[]))]).await;
    is(&client, check("24h"), ProbeResult::Failed, &format!("there is no {words}")).await;

    let snapshot = |ready: Value| json!({"metadata": {"name": "data", "creationTimestamp": old}, "status": {"readyToUse": ready, "creationTime": new}});
    let path = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/data";
    let check = json!({"backup": {"volumeSnapshot": {"name": "data"}, "maxAge": "24h"}});
    let words = "volumesnapshots.snapshot.storage.k8s.io shop/data";
    let client = cluster([(path, 200, snapshot(json!(true)))]).await;
    is(&client, check.clone(), ProbeResult::Passed, &format!("{words}: data is 10h old")).await;
    let client = cluster([(path, 200, snapshot(json!(false)))]).await;
    let none = format!("{words}: none of 1 is ready to use: make a new one, or wait for it");
    is(&client, check.clone(), ProbeResult::Failed, &none).await;
    let client = cluster([(path, 200, json!({"metadata": {"name": "data"}}))]).await;
    is(&client, check, ProbeResult::Failed, &none).await;
}

#[tokio::test]
async fn a_list_of_what_are_no_objects_is_looked_at_like_any_other() {
    let path = "/apis/example.com/v1/namespaces/shop/things?labelSelector=app%3Dshop&limit=500";
    let client = cluster([(path, 200, list(&[json!("text"), json!(7), json!([])]))]).await;
    let check = json!({"object": {
        "apiVersion": "example.com/v1", "resource": "things", "selector": "app=shop", "expression": "objects.size() == 3",
    }});
    let holds = "things.example.com of shop with app=shop: objects.size() == 3 holds";
    is(&client, check, ProbeResult::Passed, holds).await;
}

#[tokio::test]
async fn any_object_is_held_against_an_expression_and_an_age() {
    let certificate = json!({
        "metadata": {"name": "shop", "creationTimestamp": "2026-11-01T00:00:00Z", "managedFields": [{"manager": "marked"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T11:00:00Z"}]},
    });
    let node = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-01T00:00:00Z"}, "spec": {}});
    let other = json!({"metadata": {"name": "b", "creationTimestamp": "2026-11-02T00:00:00Z"}, "spec": {"unschedulable": true}});
    let path = "/apis/cert-manager.io/v1/namespaces/shop/certificates/shop";
    let client = cluster([
        (path, 200, certificate),
        ("/api/v1/nodes?labelSelector=pool%3Dshop&limit=500", 200, list(&[node, other])),
    ])
    .await;
    let object = |more: Value| {
        let mut object =
            json!({"apiVersion": "cert-manager.io/v1", "resource": "certificates", "name": "shop"});
        object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"object": object})
    };
    let words = "certificates.cert-manager.io shop/shop";
    is(&client, object(json!({})), ProbeResult::Passed, &format!("{words}: is there")).await;
    let ready = "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
    is(
        &client,
        object(json!({"expression": ready})),
        ProbeResult::Passed,
        &format!("{words}: {ready} holds"),
    )
    .await;
    let no = "has(object.metadata.managedFields)";
    is(
        &client,
        object(json!({"expression": no})),
        ProbeResult::Failed,
        &format!("{words}: {no} does not hold"),
    )
    .await;
    let lacks = "object.status.ready";
    let unsure = format!("{words}: {lacks}: there is no ready: write has(...), or .?ready and orValue(...)");
    is(&client, object(json!({"expression": lacks})), ProbeResult::Unknown, &unsure).await;
    let since = "object.status.conditions.filter(c, c.type == 'Ready')[0].lastTransitionTime";
    let aged = |timestamp: &str| object(json!({"maxAge": "90m", "timestamp": timestamp}));
    is(&client, aged(since), ProbeResult::Passed, &format!("{words}: shop is 60m old")).await;
    let old = format!("{words}: shop is 516h old, maxAge is 90m: make a new one");
    is(&client, object(json!({"maxAge": "90m"})), ProbeResult::Failed, &old).await;
    let none = format!(
        "{words}: timestamp: it gives no moment: it must give a text like 2026-11-22T09:00:00Z, or ''"
    );
    is(&client, aged("object.metadata.name"), ProbeResult::Unknown, &none).await;
    is(&client, aged("''"), ProbeResult::Failed, &format!("{words}: timestamp gives no moment for any of 1"))
        .await;
    let later = format!("{words}: shop is of 2027-01-01T00:00:00Z, which is yet to come");
    is(&client, aged("'2027-01-01T00:00:00Z'"), ProbeResult::Unknown, &later).await;

    let nodes = |expression: &str| json!({"object": {"apiVersion": "v1", "resource": "nodes", "scope": "Cluster", "selector": "pool=shop", "expression": expression}});
    let some = "objects.exists(n, !n.spec.?unschedulable.orValue(false))";
    is(&client, nodes(some), ProbeResult::Passed, &format!("nodes with pool=shop: {some} holds")).await;
    let newest = "objects[0].metadata.name == 'b' && size(objects) == 2";
    is(&client, nodes(newest), ProbeResult::Passed, &format!("nodes with pool=shop: {newest} holds")).await;
    let much = (0..6).fold("true".to_owned(), |within, _| format!("[0,0,0,0,0,0,0,0,0,0].all(n, {within})"));
    let (result, said) = asked(&client, nodes(&much)).await;
    assert_eq!(result, ProbeResult::Unknown, "{said}");
    assert!(said.contains("the expression takes too much work"), "{said}");
}

#[tokio::test]
async fn who_manages_what_of_objects_takes_no_memory() {
    let entries: Vec<Value> = vec![json!({"manager": "a"}); 100_000];
    let with_entries = |mut object: Value| {
        object["metadata"]["managedFields"] = json!(entries);
        object
    };
    let done = "2026-11-22T01:30:00Z";
    let nightly = with_entries(backup("nightly", "Completed", done, done));
    let named = "/apis/velero.io/v1/namespaces/velero/backups/nightly";
    let client = cluster([(named, 200, nightly.clone()), (BACKUPS, 200, list(&[nightly]))]).await;
    let of = |objects: Value| json!({"backup": {"velero": objects, "maxAge": "24h"}});
    for objects in [json!({"name": "nightly"}), json!({"selector": "velero.io/schedule-name=nightly"})] {
        let (result, said) = asked(&client, of(objects)).await;
        assert_eq!(result, ProbeResult::Passed, "{said}");
    }
}

#[tokio::test]
async fn many_objects_have_one_budget_that_is_enough_for_what_is_usual() {
    let spec: Vec<usize> = (0..300).collect();
    let backups: Vec<Value> = (0..500)
        .map(|number| {
            let done = "2026-11-22T01:30:00Z";
            let mut backup = backup(&format!("nightly-{number}"), "Completed", done, done);
            backup["spec"] = json!(spec);
            backup
        })
        .collect();
    let client = cluster([(BACKUPS, 200, list(&backups))]).await;
    let words = "backups.velero.io of velero with velero.io/schedule-name=nightly";
    let usual =
        json!({"backup": {"velero": {"selector": "velero.io/schedule-name=nightly"}, "maxAge": "24h"}});
    let (result, said) = asked(&client, usual).await;
    assert_eq!(result, ProbeResult::Passed, "{said}");
    // One alone is within what an evaluation may spend.
    let much = (0..4).fold("true".to_owned(), |within, _| format!("[0,0,0,0,0,0,0,0,0,0].all(n, {within})"));
    let costly = json!({"object": {
        "apiVersion": "velero.io/v1", "resource": "backups", "namespace": "velero", "selector": "velero.io/schedule-name=nightly",
        "maxAge": "24h", "timestamp": format!("{much} ? object.metadata.creationTimestamp : ''"),
    }});
    let fix = "timestamp: the expression takes too much work: nest fewer loops, or loop over less";
    is(&client, costly.clone(), ProbeResult::Unknown, &format!("{words}: {fix}")).await;
    let client = cluster([(BACKUPS, 200, list(&backups[..1]))]).await;
    is(&client, costly, ProbeResult::Passed, &format!("{words}: nightly-0 is 10h old")).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_says_what_gives_it() {
    let named = |name: &str| json!({"object": {"apiVersion": "velero.io/v1", "resource": "backups", "name": name, "namespace": "velero"}});
    let labelled = |selector: &str| json!({"object": {"apiVersion": "velero.io/v1", "resource": "backups", "selector": selector}});
    let mut more = list(&[]);
    more["metadata"]["continue"] = json!("next");
    let huge = json!({"metadata": {"name": "huge"}, "data": "x".repeat(5 << 20)});
    let dense = json!({"metadata": {"name": "dense"}, "list": vec![json!({"name": "a"}); 100_000]});
    let client = cluster([
        (
            "/apis/velero.io/v1/namespaces/velero/backups/hidden",
            403,
            forbidden("get", "backups", "velero.io"),
        ),
        (
            "/apis/velero.io/v1/namespaces/velero/backups/nowhere",
            404,
            failure(404, "NotFound", "the server could not find the requested resource", None),
        ),
        ("/apis/velero.io/v1/namespaces/velero/backups/broken", 500, json!("oops")),
        ("/apis/velero.io/v1/namespaces/velero/backups/huge", 200, huge),
        ("/apis/velero.io/v1/namespaces/velero/backups/dense", 200, dense),
        ("/apis/velero.io/v1/namespaces/velero/backups/odd", 200, json!([1, 2])),
        ("/apis/velero.io/v1/namespaces/shop/backups?labelSelector=many&limit=500", 200, more),
        (
            "/apis/velero.io/v1/namespaces/shop/backups?labelSelector=%3D%3D&limit=500",
            400,
            failure(400, "BadRequest", "unable to parse requirement", None),
        ),
    ])
    .await;
    let right = "the operator may not get backups.velero.io: add {apiGroups: [velero.io], resources: [backups]} to objectChecks of the chart";
    is(&client, named("hidden"), ProbeResult::Unknown, right).await;
    let missing = "the API server knows no backups.velero.io in version v1: is its CRD installed, and is it namespaced?";
    is(&client, named("nowhere"), ProbeResult::Unknown, missing).await;
    is(&client, named("gone"), ProbeResult::Failed, "there is no backups.velero.io velero/gone").await;
    is(
        &client,
        named("broken"),
        ProbeResult::Unknown,
        "backups.velero.io velero/broken could not be read: status 500",
    )
    .await;
    is(&client, named("odd"), ProbeResult::Unknown, "backups.velero.io velero/odd could not be read").await;
    let huge = "backups.velero.io velero/huge: more than 4 MiB: write a narrower selector";
    is(&client, named("huge"), ProbeResult::Unknown, huge).await;
    let dense = "backups.velero.io velero/dense: more than 64 MiB in memory: write a narrower selector";
    is(&client, named("dense"), ProbeResult::Unknown, dense).await;
    let many = "backups.velero.io of shop with many: there are more than 500: write a narrower selector";
    is(&client, labelled("many"), ProbeResult::Unknown, many).await;
    let wrong = "backups.velero.io of shop with ==: unable to parse requirement";
    is(&client, labelled("=="), ProbeResult::Failed, wrong).await;
}

#[test]
fn what_is_wrong_with_a_check_is_said_with_its_field() {
    let said = |object: Value| plan(&spec(&json!({"object": object})), false).expect_err("wrong").to_string();
    let object = |field: &str, value: Value| {
        let mut object = json!({"apiVersion": "velero.io/v1", "resource": "backups", "name": "nightly"});
        object[field] = value;
        object
    };
    let field = "spec.preflight[0].object";
    assert_eq!(
        said(object("expression", json!("objct.status"))),
        format!("{field}.expression: there is no objct here: it is about object")
    );
    assert!(
        said(object("expression", json!("object.a = 1")))
            .starts_with(&format!("{field}.expression: line 1, column 10: "))
    );
    assert!(
        said(object("timestamp", json!("objects[0]")))
            .starts_with(&format!("{field}.timestamp: there is no objects here"))
    );
    assert_eq!(said(object("maxAge", json!("soon"))), format!("{field}.maxAge: write 90m, 24h or 168h"));
    assert_eq!(
        said(object("namespace", json!("../x"))),
        format!("{field}.namespace: is not the name of a namespace")
    );
    assert_eq!(said(object("name", json!("x/../y"))), format!("{field}.name: is not the name of an object"));
    assert_eq!(
        said(object("resource", json!("pods/log"))),
        format!("{field}.resource: write the plural in lower case, as in backups")
    );
    assert_eq!(
        said(object("apiVersion", json!("a/b/c"))),
        format!("{field}.apiVersion: write v1 or velero.io/v1")
    );
    assert_eq!(
        said(object("selector", json!("a=b"))),
        format!("{field}: object needs one of: name, selector")
    );
    let secrets = json!({"apiVersion": "v1", "resource": "secrets", "name": "stripe"});
    assert_eq!(said(secrets), format!("{field}.resource: Secrets are read by config checks only"));
}
