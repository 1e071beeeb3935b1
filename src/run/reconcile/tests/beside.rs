//! What a look begins beside what it writes.

use http::StatusCode;

use super::*;

/// A Release in mid-run that somebody aborts, with a flag to be turned off.
fn aborted(index: &mut index::Index) -> Key {
    for name in ["tidegate-release-rights", "tidegate-release-undo"] {
        index.policies.insert(format!("ValidatingAdmissionPolicy/{name}"));
        index.policies.insert(format!("ValidatingAdmissionPolicyBinding/{name}"));
    }
    let stable = version(1);
    let revision = |template: &Value| json!({"revision": name_of("shop", template), "fingerprint": slim::fingerprint(template)});
    let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
    let parked = |deployment: &mut Value| {
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
        deployment["metadata"]["annotations"] = json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": name_of("shop", &stable)});
        deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
    };
    index::apply(index, deployment("shop", &parked));
    let kept = json!({
        "metadata": {
            "name": name_of("shop", &stable), "namespace": "ns", "labels": {"tidegate.dev/release": "shop"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "shop"}],
        },
        "data": stable,
    });
    index::apply(index, serde_json::from_value::<slim::StoredTemplate>(kept).unwrap());
    let mut release = release_object("shop");
    let hook = json!({"name": "flag", "configMap": {"name": "flags", "key": "new", "value": "off"}});
    release["spec"]["undo"] = json!({"hooks": [hook]});
    let run = json!({
        "id": "r1", "number": 1, "startedAt": "2026-01-01T00:00:00Z", "stage": "Steps", "originals": originals,
    });
    release["status"] = json!({
        "targetUid": "shop", "stable": revision(&stable), "canary": revision(&version(2)), "run": run,
    });
    index::apply(index, serde_json::from_value::<slim::Release>(release).unwrap());
    let action = json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "a"},
        "spec": {"release": "shop", "action": "Abort", "reason": "because"},
    });
    index::apply(index, serde_json::from_value::<slim::ReleaseAction>(action).unwrap());
    Key { namespace: "ns".into(), name: "shop".into() }
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_called_where_it_is_certain_that_the_run_goes_back_and_not_before() {
    let status = "/releases/shop/status";
    // Somebody has written the Release since what this was decided on; status cannot be written; everything can.
    let (stale, refused) =
        ((StatusCode::CONFLICT, "Conflict"), (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"));
    for (answer, end, goes_back) in
        [(stale, status, false), (refused, status, true), (refused, "/nothing", true)]
    {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing_as(answer, end, asked.clone()), 8);
        let shop = aborted(&mut reconciler.index.lock());
        reconciler.queue.wake(shop);
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        // What was begun in that look goes out.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = asked.lock().unwrap();
        let place = |end: &str| asked.iter().position(|(path, _)| path.ends_with(end));
        let (noted, ordered, called) =
            (place(status), place("/deployments/shop"), place("/configmaps/flags"));
        assert!(noted.is_some(), "{asked:?}");
        assert_eq!(
            (ordered.is_some(), called.is_some()),
            (goes_back, goes_back),
            "{answer:?} {end}: {asked:?}"
        );
        assert!(!goes_back || noted < called, "{asked:?}");
    }
}
