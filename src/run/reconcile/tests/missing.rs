//! What is not known to be there, and is all the same, or is not: the watch of one kind is behind those of the others.

use tokio::task::JoinHandle;

use super::*;
use crate::watch::ObjectKey;

/// What lists bring, whatever is listed; `None`: nothing is answered but that there is trouble.
type There = Arc<Mutex<Option<Vec<Value>>>>;
type Asked = Arc<Mutex<Vec<(Method, String)>>>;

struct Stage {
    reconciler: Arc<Reconciler>,
    there: There,
    asked: Asked,
}

/// What the API server never says anything about.
const SILENT: &str = "silent";

/// Whether it is a Deployment, where these are listed, or no one, where others are.
fn is_listed(path: &str, object: &Value) -> bool {
    path.ends_with("/deployments") == object["spec"]["template"].is_object()
}

/// An API server that takes everything that is written.
fn server(there: There, asked: Asked) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_silent = request.uri().query().is_some_and(|query| query.contains(SILENT));
        let (code, text) = match (method == Method::GET, &*there.lock().unwrap()) {
            (false, _) => (
                http::StatusCode::OK,
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 7}}),
            ),
            (true, Some(objects)) => {
                let listed: Vec<Value> =
                    objects.iter().filter(|object| is_listed(&path, object)).cloned().collect();
                (http::StatusCode::OK, list_of(&listed))
            }
            (true, None) => (
                http::StatusCode::INTERNAL_SERVER_ERROR,
                json!({"kind": "Status", "status": "Failure", "message": "etcdserver: request timed out", "reason": "InternalError", "code": 500}),
            ),
        };
        if !is_silent {
            asked.lock().unwrap().push((method, path));
        }
        let mut response = Response::new(Body::from(text.to_string().into_bytes()));
        *response.status_mut() = code;
        async move {
            if is_silent {
                return std::future::pending().await;
            }
            Ok::<_, std::io::Error>(response)
        }
    });
    Client::new(service, "default")
}

impl Stage {
    fn of(there: Option<Vec<Value>>) -> Self {
        let (there, asked) = (Arc::new(Mutex::new(there)), Asked::default());
        let reconciler = reconciler(server(there.clone(), asked.clone()), 8);
        Self { reconciler, there, asked }
    }

    fn is_there_now(&self, objects: Vec<Value>) {
        *self.there.lock().unwrap() = Some(objects);
    }

    /// Something brings ten looks a second.
    async fn look_for(&self, key: &Key, time: Duration) {
        let until = clock::instant() + time;
        while clock::instant() < until {
            self.reconciler.queue.wake(key.clone());
            let key = self.reconciler.queue.next().await;
            self.reconciler.look(&key).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Others of the namespace have all its turns to read, until they are aborted.
    async fn others_read(&self) -> Vec<JoinHandle<()>> {
        let one = |_| {
            let reconciler = self.reconciler.clone();
            tokio::spawn(async move {
                let silent = ObjectKey::new("ns", SILENT);
                while let Err(NotRead::Late) = reconciler.reader.now::<slim::Deployment>(&silent).await {}
            })
        };
        let others = (0..8).map(one).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        others
    }

    fn asked(&self, is_it: impl Fn(&Method, &str) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|(method, path)| is_it(method, path)).count()
    }

    /// How often it was asked what Releases or Deployments there are.
    fn reads(&self) -> usize {
        let lists = |path: &str| path.ends_with("/releases") || path.ends_with("/deployments");
        self.asked(|method, path| *method == Method::GET && lists(path))
    }

    fn writes(&self) -> usize {
        self.asked(|method, _| *method != Method::GET)
    }

    /// Kept templates that were.
    fn dropped(&self) -> usize {
        self.asked(|method, path| *method == Method::DELETE && path.contains("/controllerrevisions/"))
    }

    fn orders(&self) -> usize {
        self.asked(|method, path| *method == Method::PATCH && path.contains("/deployments/"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_has_not_been_heard_of_yet_is_not_gone() {
    let stage = Stage::of(Some(vec![release_object("bad")]));
    let key = bad(&mut stage.reconciler.index.lock());
    stage.look_for(&key, Duration::from_secs(60)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    let reads = stage.reads();
    assert!((30..=61).contains(&reads), "asked again and again, and not in each look: {reads}");
    assert_eq!(stage.asked(|_, path| path.ends_with("/namespaces/ns/releases")), reads);
    // And then it is deleted.
    stage.is_there_now(Vec::new());
    stage.look_for(&key, Duration::from_secs(20)).await;
    assert_eq!((stage.reads(), stage.orders()), (reads + 1, 1), "asked once, and ordered");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_release_is_not_dropped_before_that_is_known_to_be_gone() {
    let stage = Stage::of(Some(vec![release_object("bad")]));
    let key = bad(&mut stage.reconciler.index.lock());
    // Its Deployment has not been heard of either.
    index::delete(&mut stage.reconciler.index.lock(), &deployment("bad", &|_| {}));
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    stage.is_there_now(Vec::new());
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert!(stage.dropped() > 0);
}

/// A Release in a run about a Deployment that has this uid, and whether its spec can be read.
fn running(name: &str, uid: &str, is_readable: bool) -> slim::Release {
    let run = json!({"id": "r1", "number": 1, "startedAt": "2026-12-01T12:00:00Z", "originals": {}, "stage": "Steps"});
    let mut release = release_object(name);
    release["status"] = json!({"targetUid": uid, "run": run});
    if !is_readable {
        release["spec"]["steps"] = json!("many");
    }
    serde_json::from_str(&release.to_string()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_run_does_not_end_for_a_deployment_that_has_not_been_heard_of_yet() {
    let of = |uid: &'static str| move |deployment: &mut Value| deployment["metadata"]["uid"] = json!(uid);
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let cases = [
        (None, Vec::new()),
        (Some("former"), vec![deployment_object("shop", &of("former"))]),
        (Some("former"), vec![deployment_object("shop", &of("latter"))]),
    ];
    for ((known, in_the_end), is_readable) in cases.iter().flat_map(|case| [(case, true), (case, false)]) {
        let stage = Stage::of(Some(vec![deployment_object("shop", &of("present"))]));
        {
            let mut index = stage.reconciler.index.lock();
            index::apply(&mut index, running("shop", "present", is_readable));
            if let Some(uid) = *known {
                index::apply(&mut index, deployment("shop", &of(uid)));
            }
        }
        stage.look_for(&key, Duration::from_secs(60)).await;
        assert_eq!(stage.writes(), 0, "{known:?} {is_readable}: {:?}", stage.asked.lock().unwrap());
        let reads = stage.reads();
        assert!((30..=61).contains(&reads), "asked again and again, and not in each look: {reads}");
        stage.is_there_now(in_the_end.clone());
        stage.look_for(&key, Duration::from_secs(2)).await;
        assert!(stage.writes() > 0, "{known:?} {is_readable}: it was deleted after all");
        assert_eq!(stage.reads(), reads + 1, "{known:?} {is_readable}: asked once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stable_is_not_forgotten_for_a_deployment_that_has_not_been_heard_of_yet() {
    let of = |uid: &'static str| move |deployment: &mut Value| deployment["metadata"]["uid"] = json!(uid);
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    for known in [None, Some("former")] {
        let stage = Stage::of(Some(vec![deployment_object("shop", &of("present"))]));
        {
            let mut release = release_object("shop");
            let fingerprint = slim::fingerprint(&version(2));
            let stable = json!({"revision": name_of("shop", &version(2)), "fingerprint": fingerprint});
            release["status"] = json!({"targetUid": "present", "stable": stable});
            let mut index = stage.reconciler.index.lock();
            index::apply(&mut index, serde_json::from_value::<slim::Release>(release).unwrap());
            if let Some(uid) = known {
                index::apply(&mut index, deployment("shop", &of(uid)));
            }
        }
        stage.look_for(&key, Duration::from_secs(5)).await;
        assert_eq!(stage.writes(), 0, "{known:?}: {:?}", stage.asked.lock().unwrap());
        let reads = stage.reads();
        assert!(reads > 0, "{known:?}");
        stage.is_there_now(Vec::new());
        stage.look_for(&key, Duration::from_secs(2)).await;
        assert!(stage.writes() > 0, "{known:?}: it was deleted after all");
        assert_eq!(stage.reads(), reads + 1, "{known:?}: asked once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_there_and_is_not_in_the_hand_of_a_release_that_cannot_be_read_is_not_waited_for()
 {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let stage = Stage::of(Some(vec![deployment_object("shop", &|_| {})]));
    {
        let mut index = stage.reconciler.index.lock();
        index::apply(&mut index, running("shop", "shop", false));
        // Somebody has given it back, and taken the label off.
        index::apply(&mut index, deployment("shop", &|_| {}));
    }
    stage.look_for(&key, Duration::from_secs(2)).await;
    assert!(stage.writes() > 0);
    assert_eq!(stage.reads(), 1, "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_cannot_be_read_waits_for_a_deployment_that_is_known_as_it_was_before_its_run() {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let at = |generation: i64| {
        move |deployment: &mut Value| deployment["metadata"]["generation"] = json!(generation)
    };
    let stage = Stage::of(Some(vec![deployment_object("shop", &at(2))]));
    {
        let mut index = stage.reconciler.index.lock();
        index::apply(&mut index, running("shop", "shop", false));
        index::apply(&mut index, deployment("shop", &at(1)));
    }
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    let reads = stage.reads();
    assert!(reads > 0);
    index::apply(&mut stage.reconciler.index.lock(), deployment("shop", &at(2)));
    stage.look_for(&key, Duration::from_secs(2)).await;
    assert!(stage.writes() > 0, "it is known as it is, and is not in its hand");
    assert_eq!(stage.reads(), reads + 1);
}

/// A Release at rest, of this version; its Deployment is on a way back to version 2, and version 3 is kept to come after that.
fn at_rest_beside_a_way_back(index: &mut index::Index, resource_version: &str) {
    owing(index, None);
    let release = resting(resource_version);
    index::apply(index, serde_json::from_value::<slim::Release>(release).unwrap());
}

fn resting(resource_version: &str) -> Value {
    let stable =
        json!({"revision": name_of("shop", &version(2)), "fingerprint": slim::fingerprint(&version(2))});
    let mut release = release_object("shop");
    release["metadata"]["resourceVersion"] = json!(resource_version);
    release["status"] = json!({"targetUid": "shop", "stable": stable});
    release
}

#[tokio::test(start_paused = true)]
async fn who_has_just_begun_to_lead_breaks_into_no_way_back_of_a_run_that_has_not_been_heard_of_yet() {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let stage = Stage::of(Some(vec![resting("2")]));
    stage.reconciler.missing.begin_term();
    at_rest_beside_a_way_back(&mut stage.reconciler.index.lock(), "1");
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    let reads = stage.reads();
    assert!((3..=6).contains(&reads), "asked again and again, and not in each look: {reads}");
    // It is at rest after all.
    at_rest_beside_a_way_back(&mut stage.reconciler.index.lock(), "2");
    stage.look_for(&key, Duration::from_secs(2)).await;
    assert!(stage.orders() > 0, "{:?}", stage.asked.lock().unwrap());
    assert_eq!(stage.reads(), reads + 1, "asked once");

    // Who has led for long, or has written its status, has written itself what there is.
    for has_led_for in [Duration::from_secs(91), Duration::ZERO] {
        let stage = Stage::of(None);
        stage.reconciler.missing.begin_term();
        tokio::time::sleep(has_led_for).await;
        stage.reconciler.missing.note_written(&key);
        at_rest_beside_a_way_back(&mut stage.reconciler.index.lock(), "1");
        stage.look_for(&key, Duration::from_secs(1)).await;
        assert!(stage.orders() > 0, "{:?}", stage.asked.lock().unwrap());
        assert_eq!(stage.reads(), 0);
    }
}

/// At rest.
fn labelled(generation: i64) -> impl Fn(&mut Value) {
    move |deployment| {
        deployment["metadata"]["generation"] = json!(generation);
        deployment["metadata"]["labels"] = json!({"tidegate.dev/release": "shop"});
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_just_begun_to_lead_forgets_no_template_that_a_run_may_have_kept() {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let stage = Stage::of(Some(vec![resting("2")]));
    stage.reconciler.missing.begin_term();
    {
        let mut index = stage.reconciler.index.lock();
        at_rest_beside_a_way_back(&mut index, "1");
        // Of the run that has kept version 3 nothing else has been heard.
        index::apply(&mut index, deployment("shop", &labelled(1)));
    }
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    index::apply(
        &mut stage.reconciler.index.lock(),
        serde_json::from_value::<slim::Release>(resting("2")).unwrap(),
    );
    stage.look_for(&key, Duration::from_secs(2)).await;
    assert!(stage.writes() > 0, "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn at_rest_and_in_a_run_of_what_is_there_nothing_is_asked() {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    for release in [release("shop"), running("shop", "shop", true)] {
        let stage = Stage::of(Some(Vec::new()));
        {
            let mut index = stage.reconciler.index.lock();
            index::apply(&mut index, release);
            index::apply(&mut index, deployment("shop", &|_| {}));
        }
        stage.look_for(&key, Duration::from_secs(2)).await;
        assert!(stage.writes() > 0);
        assert_eq!(stage.reads(), 0, "{:?}", stage.asked.lock().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_a_release_is_gone_in_time_and_what_goes_back_already_goes_on() {
    let stage = Stage::of(None);
    let key = bad(&mut stage.reconciler.index.lock());
    stage.look_for(&key, Duration::from_secs(25)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    stage.look_for(&key, Duration::from_secs(10)).await;
    assert_eq!(stage.orders(), 1, "{:?}", stage.asked.lock().unwrap());

    let stage = Stage::of(None);
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    owing(&mut stage.reconciler.index.lock(), None);
    stage.reconciler.queue.wake(key);
    let key = stage.reconciler.queue.next().await;
    stage.reconciler.look(&key).await;
    assert_eq!((stage.reads(), stage.orders()), (1, 1), "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn while_others_read_nothing_is_taken_for_gone_whether_or_not_it_goes_back_already() {
    for goes_back in [false, true] {
        let stage = Stage::of(Some(Vec::new()));
        let others = stage.others_read().await;
        let key = match goes_back {
            false => bad(&mut stage.reconciler.index.lock()),
            true => {
                owing(&mut stage.reconciler.index.lock(), None);
                Key { namespace: "ns".into(), name: "shop".into() }
            }
        };
        stage.look_for(&key, Duration::from_secs(60)).await;
        assert_eq!((stage.reads(), stage.writes()), (0, 0), "{:?}", stage.asked.lock().unwrap());
        others.iter().for_each(JoinHandle::abort);
        stage.look_for(&key, Duration::from_secs(1)).await;
        assert_eq!((stage.reads(), stage.orders()), (1, 1), "{:?}", stage.asked.lock().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_others_read_is_none_in_which_nobody_answers() {
    let stage = Stage::of(None);
    let key = bad(&mut stage.reconciler.index.lock());
    stage.look_for(&key, Duration::from_secs(10)).await;
    let others = stage.others_read().await;
    let reads = stage.reads();
    assert!(reads > 0);
    stage.look_for(&key, Duration::from_secs(60)).await;
    assert_eq!((stage.reads(), stage.writes()), (reads, 0), "{:?}", stage.asked.lock().unwrap());
    others.iter().for_each(JoinHandle::abort);
    stage.look_for(&key, Duration::from_secs(15)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    stage.look_for(&key, Duration::from_secs(10)).await;
    assert_eq!(stage.orders(), 1, "{:?}", stage.asked.lock().unwrap());
}

/// A Release whose run has left a Deployment is deleted, and that is heard.
fn deleted(index: &mut index::Index) -> Key {
    let key = bad(index);
    index::apply(index, release("bad"));
    index::delete(index, &release("bad"));
    key
}

#[tokio::test(start_paused = true)]
async fn a_release_of_which_it_was_heard_that_it_was_deleted_is_gone_at_once_and_nothing_is_asked() {
    let stage = Stage::of(None);
    let others = stage.others_read().await;
    let key = deleted(&mut stage.reconciler.index.lock());
    stage.reconciler.queue.wake(key);
    let key = stage.reconciler.queue.next().await;
    stage.reconciler.look(&key).await;
    assert_eq!((stage.reads(), stage.orders()), (0, 1), "{:?}", stage.asked.lock().unwrap());
    others.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_heard_also_while_it_is_asked_about_the_deployment() {
    let stage = Stage::of(None);
    let release = || running("bad", "former", true);
    let key = {
        let mut index = stage.reconciler.index.lock();
        index::apply(&mut index, release());
        bad(&mut index)
    };
    stage.look_for(&key, Duration::from_secs(5)).await;
    let reads = stage.reads();
    assert!(reads > 0);
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    index::delete(&mut stage.reconciler.index.lock(), &release());
    stage.look_for(&key, Duration::from_secs(1)).await;
    assert_eq!((stage.reads(), stage.orders()), (reads, 1), "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_a_list_does_not_name_is_asked_about() {
    let stage = Stage::of(Some(vec![release_object("bad")]));
    let key = {
        let mut index = stage.reconciler.index.lock();
        let key = bad(&mut index);
        index::apply(&mut index, release("bad"));
        index.releases.begin_listing(None);
        index::end_listing::<slim::Release>(&mut index, None);
        key
    };
    stage.look_for(&key, Duration::from_secs(5)).await;
    assert!(stage.reads() > 0);
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_has_just_begun_to_lead_does_not_go_by_a_deletion_that_may_be_of_before() {
    // It was made anew, and whoever led then began a run of it.
    let stage = Stage::of(Some(vec![release_object("bad")]));
    stage.reconciler.missing.begin_term();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let key = deleted(&mut stage.reconciler.index.lock());
    stage.look_for(&key, Duration::from_secs(60)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());

    let stage = Stage::of(None);
    stage.reconciler.missing.begin_term();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let key = deleted(&mut stage.reconciler.index.lock());
    stage.look_for(&key, Duration::from_secs(1)).await;
    assert_eq!((stage.reads(), stage.orders()), (0, 1), "{:?}", stage.asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_deleted_release_is_not_dropped_before_its_deployment_is_known_to_be_at_rest() {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    // Another process has begun a run, and kept version 3.
    let stage = Stage::of(Some(vec![deployment_object("shop", &labelled(2))]));
    {
        let mut index = stage.reconciler.index.lock();
        owing(&mut index, None);
        index::apply(&mut index, deployment("shop", &labelled(1)));
        index::apply(&mut index, release("shop"));
        index::delete(&mut index, &release("shop"));
    }
    stage.look_for(&key, Duration::from_secs(60)).await;
    assert_eq!(stage.writes(), 0, "{:?}", stage.asked.lock().unwrap());
    let reads = stage.reads();
    assert!((60..=122).contains(&reads), "asked again and again, and not in each look: {reads}");
    // It is at rest.
    index::apply(&mut stage.reconciler.index.lock(), deployment("shop", &labelled(2)));
    stage.look_for(&key, Duration::from_secs(2)).await;
    assert!(stage.dropped() >= 2, "{:?}", stage.asked.lock().unwrap());
    assert_eq!(stage.reads(), reads + 2, "of both it was asked once");
}
