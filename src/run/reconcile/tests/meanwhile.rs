//! What is found out while writing takes long, or cannot be done: of others, and of a Release itself.

use super::*;

/// A Deployment in mid-run whose Release is gone: it goes back, and nobody knows before it has been looked at.
fn bad(index: &mut index::Index) -> Key {
    let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
    let parked = |deployment: &mut Value| {
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "bad"});
        deployment["metadata"]["annotations"] =
            json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": "bad-1"});
        deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
    };
    index::apply(index, deployment("bad", &parked));
    let kept = json!({
        "metadata": {
            "name": "bad-1", "namespace": "ns", "labels": {"tidegate.dev/release": "bad"},
            "annotations": {"tidegate.dev/fingerprint": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "bad", "uid": "bad"}],
        },
        "data": {"metadata": {}, "spec": {"version": 1}},
    });
    index::apply(index, serde_json::from_value::<slim::StoredTemplate>(kept).unwrap());
    Key { namespace: "ns".into(), name: "bad".into() }
}

#[tokio::test(start_paused = true)]
async fn what_goes_back_is_not_held_up_by_a_hundred_that_wait_for_a_slow_server() {
    let written = Written::default();
    let reconciler = reconciler(slow(written.clone()), 8);
    let mut keys = Vec::new();
    let bad = {
        let mut index = reconciler.index.lock();
        for number in 0..100 {
            let name = format!("shop-{number}");
            index::apply(&mut index, deployment(&name, &|_| {}));
            index::apply(&mut index, release(&name));
            keys.push(Key { namespace: "ns".into(), name });
        }
        bad(&mut index)
    };
    for key in keys {
        reconciler.queue.wake(key);
    }
    reconciler.queue.wake(bad);
    let began = clock::instant();
    for _ in 0..reconciler.queue.places() {
        let reconciler = reconciler.clone();
        tokio::spawn(async move {
            loop {
                let key = reconciler.queue.next().await;
                reconciler.look(&key).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let written = written.lock().unwrap().clone();
    let when = |path: &str| {
        let at = written.iter().find(|(written, _)| written.ends_with(path)).map(|(_, at)| *at - began);
        at.unwrap_or_else(|| panic!("{path} was not written: {written:?}"))
    };
    let all: Vec<_> = (0..100).map(|number| when(&format!("/deployments/shop-{number}"))).collect();
    assert!(all.iter().max() > Some(&Duration::from_secs(20)), "they do wait for each other: {all:?}");
    let back = when("/deployments/bad");
    assert!(back < Duration::from_millis(2100), "it went back after {back:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_clock_brings_is_looked_at_in_time_though_nothing_can_be_written_yet() {
    for turn_is_taken in [true, false] {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let reconciler = reconciler(busy(asked.clone()), 1);
        let [shop, other] = ["shop", "other"].map(|name| Key { namespace: "ns".into(), name: name.into() });
        {
            let mut index = reconciler.index.lock();
            index::apply(&mut index, deployment("shop", &|_| {}));
            // Of so many some wait for the others, a second.
            owing_marks(&mut index, "shop", 5);
        }
        if turn_is_taken {
            reconciler.queue.wake(other.clone());
            assert_eq!(reconciler.queue.next().await, other);
            assert!(reconciler.queue.may_write(&other));
        }
        reconciler.queue.wake(shop.clone());
        for _ in 0..3 {
            let woken = tokio::time::timeout(Duration::from_secs(2), reconciler.queue.next()).await;
            assert_eq!(woken.as_ref(), Ok(&shop), "the turn is taken: {turn_is_taken}");
            reconciler.look(&shop).await;
        }
        let writes = asked.lock().unwrap().len();
        assert_eq!(writes, usize::from(!turn_is_taken), "looking is not writing");
    }
}
