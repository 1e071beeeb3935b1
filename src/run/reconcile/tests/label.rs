//! The label that names the Release raises no generation: nothing of the Deployment but itself shows that it was written.

use super::*;
use crate::decide::snapshot::Labelled;

fn with_label(deployment: &mut Value) {
    deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
}

/// Of a Deployment that is not adopted yet, and of one in a run that somebody has paused in the watch.
fn statuses() -> [Value; 2] {
    let revision = |number: u8| {
        let template = version(number);
        json!({"revision": name_of("shop", &template), "fingerprint": slim::fingerprint(&template)})
    };
    let at = "2026-01-01T00:00:00Z";
    let run = json!({
        "id": "r1", "number": 1, "startedAt": at, "allSince": at, "stage": "Watch", "originals": {},
        "paused": {"by": "alice", "at": at, "reason": "because"},
    });
    [json!({}), json!({"targetUid": "shop", "stable": revision(1), "canary": revision(2), "run": run})]
}

/// The Release, and this status of it.
fn release_with(status: &Value) -> slim::Release {
    let mut release = release_object("shop");
    (release["spec"]["capture"], release["spec"]["criteria"]) = (json!("React"), json!([]));
    release["status"] = status.clone();
    serde_json::from_value(release).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_put_there_and_is_not_shown_yet_is_not_put_there_in_each_look() {
    for status in statuses() {
        let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
        let reconciler = reconciler(refusing("/nothing", asked.clone()), 8);
        let shop = Key { namespace: "ns".into(), name: "shop".into() };
        let show = |more: &dyn Fn(&mut Value)| {
            let shown = |deployment: &mut Value| {
                deployment["metadata"]["generation"] = json!(7);
                more(deployment);
            };
            index::apply(&mut reconciler.index.lock(), deployment("shop", &shown));
        };
        show(&|_| {});
        index::apply(&mut reconciler.index.lock(), release_with(&status));
        // Of the Release everything is heard at once.
        let look = async || {
            reconciler.queue.wake(shop.clone());
            let key = reconciler.queue.next().await;
            reconciler.look(&key).await;
            let asked = asked.lock().unwrap();
            if let Some((_, body)) = asked.iter().rfind(|(path, _)| path.ends_with("/status")) {
                let patch: Value = serde_json::from_str(body).unwrap();
                index::apply(&mut reconciler.index.lock(), release_with(&patch[1]["value"]));
            }
            asked.iter().filter(|(_, body)| body.contains("tidegate.dev~1release")).count()
        };
        let until = clock::instant() + Labelled::UNSEEN;
        while clock::instant() < until {
            assert_eq!(look().await, 1, "{:?}", asked.lock().unwrap());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Nobody says anything of it any more.
        let put_again = async || {
            while asked
                .lock()
                .unwrap()
                .iter()
                .filter(|(_, body)| body.contains("tidegate.dev~1release"))
                .count()
                < 2
            {
                let key = reconciler.queue.next().await;
                reconciler.look(&key).await;
            }
        };
        let waited = tokio::time::timeout(Labelled::UNSEEN + Duration::from_secs(1), put_again()).await;
        waited.expect("in time what is shown is what there is");
        show(&with_label);
        assert_eq!(look().await, 2, "{:?}", asked.lock().unwrap());
        show(&|_| {});
        assert_eq!(look().await, 3, "somebody has taken it off: {:?}", asked.lock().unwrap());
    }
}
