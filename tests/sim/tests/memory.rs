//! What the operator keeps of the cluster in memory, counted byte by byte as the system's allocator would give them out: objects as an
//! API server sends them, of Releases at rest, and as large as anybody makes them. It stands here for a process of its own, in which nothing else
//! takes memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tidegate::watch::index::{self, Index, Indexed};
use tidegate::watch::room::Room;
use tidegate::watch::slim;

/// Bytes that are held, each piece with what glibc puts around it.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(chunk(layout.size()), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        HELD.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        unsafe { System.dealloc(piece, layout) }
    }
}

fn chunk(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

const RELEASES: usize = 1000;

/// Whoever counts is alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Has the index take an object of this number.
type Take = fn(&mut Index, usize);

#[test]
fn a_release_at_rest_takes_eight_kilobytes_with_all_its_objects() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut index = Index::default();
    let kinds: [(&str, Take); 5] = [
        ("Deployment", |index, number| take::<slim::Deployment>(index, &deployment(number))),
        ("StoredTemplate", |index, number| take::<slim::StoredTemplate>(index, &stored(number))),
        ("ReplicaSet", |index, number| take::<slim::ReplicaSet>(index, &set(number))),
        ("Pod", |index, number| take::<slim::Pod>(index, &pod(number))),
        ("Release", |index, number| take::<slim::Release>(index, &release(number))),
    ];
    let mut all = 0;
    for (kind, take) in kinds {
        let before = HELD.load(Ordering::Relaxed);
        (0..RELEASES).for_each(|number| take(&mut index, number));
        let each = (HELD.load(Ordering::Relaxed) - before) / RELEASES;
        println!("{kind}: {each} bytes");
        all += each;
    }
    println!("together: {all} bytes");
    assert!(all < 8_000, "{all} bytes");
}

#[test]
fn however_large_objects_are_they_take_some_kilobytes_each_and_the_room_that_there_is() {
    const OBJECTS: usize = 30;
    const ROOM: usize = 1 << 20;
    const SPARE: usize = 256 << 10;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = || Value::from("x".repeat(48 << 10));
    let long = |mut object: Value, field: &str| {
        object["metadata"]["annotations"] = json!({
            "tidegate.dev/originals": text(), "deployment.kubernetes.io/desired-replicas": text(),
            "tidegate.dev/quarantined-until": text(), "other": text(),
        });
        let owner = json!({"apiVersion": "v1", "kind": "Deployment", "name": text(), "uid": text()});
        object["metadata"]["ownerReferences"] = json!(vec![owner; 3]);
        object[field]["note"] = text();
        object[field]["template"]["spec"]["note"] = text();
        object
    };
    let mut index = Index::with(Room::of(ROOM), Room::of(SPARE));
    let before = HELD.load(Ordering::Relaxed);
    for number in 0..OBJECTS {
        take::<slim::Deployment>(&mut index, &long(deployment(number), "spec"));
        let mut large = deployment(RELEASES + number);
        large["spec"]["template"]["spec"]["note"] = text();
        take::<slim::Deployment>(&mut index, &large);
        large["metadata"]["name"] = json!(name(2 * RELEASES + number));
        large["metadata"]["labels"] = json!({});
        take::<slim::Deployment>(&mut index, &large);
        take::<slim::StoredTemplate>(&mut index, &long(stored(number), "data"));
        take::<slim::ReplicaSet>(&mut index, &long(set(number), "spec"));
        let mut large = long(pod(number), "spec");
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "x".repeat(1000)}});
        large["status"]["containerStatuses"] =
            json!(vec![json!({"restartCount": 1, "state": state, "lastState": state}); 200]);
        take::<slim::Pod>(&mut index, &large);
        take::<slim::Release>(&mut index, &long(release(number), "spec"));
    }
    let held = HELD.load(Ordering::Relaxed) - before;
    assert!(held > ROOM / 4, "there is room for some: {held} bytes");
    let each = held.saturating_sub(ROOM + SPARE) / OBJECTS;
    println!("{held} bytes, {each} for the seven of a number beside the room");
    assert!(each < 64 << 10, "{each} bytes");
}

#[test]
fn actions_take_the_room_that_there_is_until_it_is_said_on_them_what_came_of_them() {
    const ROOM: usize = 64 << 10;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut index = Index::with(Room::of(ROOM), Room::of(0));
    let before = HELD.load(Ordering::Relaxed);
    (0..RELEASES).for_each(|number| take::<slim::ReleaseAction>(&mut index, &action(number, "Done")));
    // What tests before this one have left to be given back may go meanwhile.
    let held = HELD.load(Ordering::Relaxed).saturating_sub(before);
    assert!(held < 1024, "{held} bytes of those that are marked");
    (0..RELEASES).for_each(|number| take::<slim::ReleaseAction>(&mut index, &action(number, "")));
    let each = HELD.load(Ordering::Relaxed).saturating_sub(before + ROOM) / RELEASES;
    println!("ReleaseAction: {each} bytes beside the room");
    assert!(each < 2048, "{each} bytes");
}

fn take<T: Indexed>(index: &mut Index, object: &Value) {
    let text = object.to_string();
    index::apply(index, serde_json::from_str::<T>(&text).expect("as an API server sends it"));
}

fn name(number: usize) -> String {
    format!("checkout-{number}")
}

/// No two are the same.
fn uid(kind: usize, number: usize) -> String {
    format!("{kind:08x}-1b5e-4c2d-9f60-{number:012x}")
}

fn metadata(kind: usize, number: usize, name: &str, labels: Value, annotations: Value) -> Value {
    json!({
        "name": name, "namespace": "production", "uid": uid(kind, number), "resourceVersion": "184467",
        "generation": 3, "creationTimestamp": "2026-11-28T12:00:00Z", "labels": labels, "annotations": annotations,
        "managedFields": [{
            "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-28T12:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:replicas": {}}},
        }],
    })
}

fn owned(mut metadata: Value, kind: &str, name: &str, uid: &str, controller: bool) -> Value {
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": controller, "blockOwnerDeletion": true,
    }]);
    metadata
}

fn template(number: usize) -> Value {
    json!({
        "metadata": {
            "labels": {"app": name(number), "app.kubernetes.io/part-of": "shop"},
            "annotations": {"prometheus.io/port": "8080", "prometheus.io/path": "/metrics"},
        },
        "spec": {
            "containers": [{
                "name": "shop", "image": format!("registry.example.com/shop/{}:v1.4.2", name(number)), "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {
                    "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 5, "timeoutSeconds": 1,
                    "successThreshold": 1, "failureThreshold": 3,
                },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler",
        },
    })
}

fn deployment(number: usize) -> Value {
    let labels = json!({"app": name(number), "app.kubernetes.io/part-of": "shop", "tidegate.dev/release": name(number)});
    let annotations = json!({"deployment.kubernetes.io/revision": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": metadata(1, number, &name(number), labels, annotations),
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name(number)}}, "template": template(number),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        },
        "status": {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    })
}

fn stored(number: usize) -> Value {
    let labels = json!({"tidegate.dev/release": name(number)});
    let annotations = json!({"tidegate.dev/fingerprint": "c75226aa0e754e94"});
    let own = metadata(2, number, &format!("{}-c75226aa0e", name(number)), labels, annotations);
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": template(number),
        "metadata": owned(own, "Deployment", &name(number), &uid(1, number), false),
    })
}

fn set(number: usize) -> Value {
    let labels = json!({"app": name(number), "pod-template-hash": "6b7f8d9c5"});
    let annotations = json!({
        "deployment.kubernetes.io/desired-replicas": "1", "deployment.kubernetes.io/max-replicas": "2",
        "deployment.kubernetes.io/revision": "1",
    });
    let own = metadata(3, number, &format!("{}-6b7f8d9c5", name(number)), labels, annotations);
    let mut template = template(number);
    template["metadata"]["labels"]["pod-template-hash"] = json!("6b7f8d9c5");
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 1, "template": template},
        "metadata": owned(own, "Deployment", &name(number), &uid(1, number), true),
        "status": {"replicas": 1, "readyReplicas": 1},
    })
}

fn pod(number: usize) -> Value {
    let set = format!("{}-6b7f8d9c5", name(number));
    let labels = json!({"app": name(number), "pod-template-hash": "6b7f8d9c5"});
    let own = metadata(4, number, &format!("{set}-x7k2q"), labels, json!({"prometheus.io/port": "8080"}));
    let condition = |is: &str| json!({"type": is, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-11-28T12:00:02Z"});
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(condition);
    let mut spec = template(number)["spec"].take();
    spec["nodeName"] = json!("ip-10-0-123-45.eu-north-1.compute.internal");
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": owned(own, "ReplicaSet", &set, &uid(3, number), true),
        "spec": spec,
        "status": {
            "phase": "Running", "podIP": "10.244.17.113", "podIPs": [{"ip": "10.244.17.113"}], "startTime": "2026-11-28T12:00:00Z",
            "conditions": conditions,
            "containerStatuses": [{
                "name": "shop", "ready": true, "started": true, "restartCount": 0, "image": "registry.example.com/shop:v1.4.2",
                "state": {"running": {"startedAt": "2026-11-28T12:00:01Z"}}, "lastState": {},
            }],
        },
    })
}

fn action(number: usize, result: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction",
        "metadata": metadata(6, number, &format!("{}-abort", name(number)), json!({}), json!({})),
        "spec": {
            "release": name(0), "action": "Abort", "run": "r7", "by": "ada@example.com", "reason": "x".repeat(4096),
        },
        "status": {"result": result},
    })
}

fn release(number: usize) -> Value {
    let says = "at rest: nothing has changed since checkout was released";
    let condition = |is: &str| {
        json!({
            "type": is, "status": "False", "reason": "NothingToRelease", "message": says, "observedGeneration": 3,
            "lastTransitionTime": "2026-11-28T12:00:02Z",
        })
    };
    let conditions =
        ["Ready", "Reconciling", "Stalled", "Succeeded", "Undone", "AwaitingApproval"].map(condition);
    let mut own = metadata(5, number, &name(number), json!({"tier": "front"}), json!({}));
    own["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": own,
        "spec": {
            "capture": "Policy", "criteria": [],
            "steps": [{"name": "pilot", "replicas": 1, "soak": "10m"}, {"name": "half", "replicas": "50%", "soak": "20m"}],
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name(number)},
            "watch": [{"every": "1m", "for": "1h"}],
        },
        "status": {
            "at": "2026-11-28T12:00:02.2Z", "observedGeneration": 3, "phase": "Idle", "revision": 2, "targetUid": uid(1, number),
            "capture": {"message": "the API server pauses the Deployment in the same write that changes its template", "mode": "Policy"},
            "conditions": conditions,
            "replicas": {"canary": {"pods": 0, "ready": 0}, "desired": 1, "share": "0%", "stable": {"pods": 1, "ready": 1}},
            "stable": {
                "changedBy": "ada@example.com", "fingerprint": "c75226aa0e754e94", "images": ["registry.example.com/shop:v1.4.2"],
                "revision": format!("{}-c75226aa0e", name(number)),
            },
            "summary": {"message": says, "step": "", "worst": ""},
        },
    })
}
