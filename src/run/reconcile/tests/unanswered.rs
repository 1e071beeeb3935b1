//! What nobody ever answers, such as what a webhook that hangs is asked about. Everything else goes on.

use super::*;
use crate::decide::refusal::DoneWithout;

/// What was to be written, the bodies, and when.
type Asked = Arc<Mutex<Vec<(String, String, Instant)>>>;

/// An API server that lists nothing, and takes everything but writes to such paths, which it never answers.
fn hanging(hangs: fn(&str) -> bool, asked: Asked) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = asked.clone();
        async move {
            let path = request.uri().path().to_owned();
            let is_read = *request.method() == Method::GET;
            let body = request.into_body().collect_bytes().await.expect("a body");
            if !is_read {
                let body = String::from_utf8_lossy(&body).into_owned();
                asked.lock().unwrap().push((path.clone(), body, clock::instant()));
            }
            if !is_read && hangs(&path) {
                return std::future::pending().await;
            }
            let text = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}, "items": []});
            Ok::<_, std::io::Error>(Response::new(Body::from(text.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

struct Stage {
    reconciler: Arc<Reconciler>,
    asked: Asked,
}

impl Stage {
    fn of(hangs: fn(&str) -> bool) -> Self {
        let asked = Asked::default();
        Self { reconciler: reconciler(hanging(hangs, asked.clone()), 8), asked }
    }

    /// What was written of Release shop, in its order, and when it began.
    fn written(&self) -> Vec<(String, Instant)> {
        let asked = self.asked.lock().unwrap();
        let of_shop = |(path, _, at): &(String, String, Instant)| {
            let path = path.split_once("/namespaces/ns/")?.1;
            (path != "events").then(|| (path.to_owned(), *at))
        };
        asked.iter().filter_map(of_shop).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.written().into_iter().map(|(path, _)| path).collect()
    }

    /// Looks once, when it is time to.
    async fn look(&self) {
        let key = self.reconciler.queue.next().await;
        self.reconciler.look(&key).await;
    }

    /// The status that was written last.
    fn said(&self) -> Option<Value> {
        let asked = self.asked.lock().unwrap();
        let (_, body, _) = asked.iter().rfind(|(path, _, _)| path.ends_with("/releases/shop/status"))?;
        Some(serde_json::from_str::<Value>(body).unwrap()[1]["value"].take())
    }
}

/// The Release, and this status of it.
fn release_with(status: &Value) -> slim::Release {
    let mut release = release_object("shop");
    release["status"] = status.clone();
    serde_json::from_value(release).unwrap()
}

fn shop() -> Key {
    Key { namespace: "ns".into(), name: "shop".into() }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_once_may_be_a_hiccup_and_what_is_not_again_is_said() {
    let stage = Stage::of(|path| path.ends_with("/deployments/shop"));
    {
        let mut index = stage.reconciler.index.lock();
        index::apply(&mut index, deployment("shop", &|_| {}));
        index::apply(&mut index, release("shop"));
    }
    stage.reconciler.queue.wake(shop());
    stage.look().await;
    assert_eq!((stage.paths(), stage.said()), (vec!["deployments/shop".to_owned()], None));
    let again = stage.written().len() + 1;
    while stage.written().len() < again {
        stage.look().await;
    }
    let blocker = stage.said().expect("it is said")["blockedBy"].take();
    let words = "the patch of Deployment shop (adopt) was not answered in time, again and again: a webhook that is asked about it hangs, or the API server does";
    assert_eq!((&blocker["reason"], &blocker["message"]), (&json!("WriteRefused"), &json!(words)));
}

/// A run that goes back for good, as status says; this version stands there.
fn going_back(index: &mut index::Index, stands: u8) {
    let stable = version(1);
    let revision = |template: &Value| json!({"revision": name_of("shop", template), "fingerprint": slim::fingerprint(template)});
    let originals = json!({"paused": null, "minReadySeconds": null, "progressDeadlineSeconds": null, "strategy": {"type": "RollingUpdate"}});
    let parked = |deployment: &mut Value| {
        deployment["metadata"]["generation"] = json!(7);
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
        deployment["metadata"]["annotations"] = json!({"tidegate.dev/originals": originals.to_string(), "tidegate.dev/stable": name_of("shop", &stable)});
        deployment["spec"]["minReadySeconds"] = json!(2_147_483_646);
        deployment["spec"]["template"] = version(stands);
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
    let back =
        json!({"cause": "Abort", "message": "somebody said abort", "decidedAt": "2026-01-01T00:00:00Z"});
    let run = json!({
        "id": "r1", "number": 1, "startedAt": "2026-01-01T00:00:00Z", "stage": "Back", "originals": originals, "back": back,
    });
    let status = json!({
        "targetUid": "shop", "stable": revision(&stable), "canary": revision(&version(2)), "run": run,
    });
    index::apply(index, release_with(&status));
}

#[tokio::test(start_paused = true)]
async fn an_undo_does_not_wait_for_ever_for_a_newer_template_that_cannot_be_kept() {
    let stage = Stage::of(|path| path.ends_with("/controllerrevisions"));
    going_back(&mut stage.reconciler.index.lock(), 3);
    stage.reconciler.queue.wake(shop());
    let begun = clock::instant();
    stage.look().await;
    let (noted, kept) = ("releases/shop/status", "controllerrevisions");
    assert_eq!(stage.paths(), [noted, kept], "it may be a hiccup: the template would be lost for it");
    index::apply(&mut stage.reconciler.index.lock(), release_with(&stage.said().expect("it is noted")));
    while stage.paths().len() < 4 {
        stage.look().await;
    }
    assert_eq!(stage.paths()[..4], [noted, kept, kept, "deployments/shop"], "it is ordered");
    assert!(clock::instant() < begun + Duration::from_secs(25), "{:?}", clock::instant() - begun);
    let newer = DoneWithout::Template(slim::fingerprint(&version(3)));
    let missed = stage.reconciler.findings.of(&shop(), stage.reconciler.clock.now()).missed;
    let refusal = &missed[&newer].refusal;
    let words = format!(
        "the creation of ControllerRevision {} was not answered in time, again and again",
        name_of("shop", &version(3))
    );
    assert!(refusal.sentence().starts_with(&words), "{}", refusal.sentence());
}

#[tokio::test(start_paused = true)]
async fn what_goes_back_is_not_tried_less_often_where_what_is_to_be_said_hangs_too() {
    let stage = Stage::of(|path| !path.ends_with("/events"));
    going_back(&mut stage.reconciler.index.lock(), 2);
    stage.reconciler.queue.wake(shop());
    let ordered = || {
        let written = stage.written();
        let orders = written.iter().filter(|(path, _)| path == "deployments/shop");
        orders.map(|(_, at)| *at).collect::<Vec<_>>()
    };
    while ordered().len() < 5 {
        stage.look().await;
    }
    let between: Vec<Duration> = ordered().windows(2).map(|two| two[1] - two[0]).collect();
    assert!(between.iter().all(|between| *between < Duration::from_secs(16)), "{between:?}");
    assert!(stage.said().is_some(), "that is tried, too");
}
