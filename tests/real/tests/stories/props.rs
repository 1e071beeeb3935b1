//! What stories have in common: short steps, traffic faults, rights of people, a server that answers as it is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_real::story::Story;

/// Three short steps, two seconds of watch, nothing measured.
pub fn quick() -> Value {
    json!({
        "steps": [
            {"name": "tenth", "replicas": "10%", "soak": "1s"},
            {"name": "half", "replicas": "50%", "soak": "1s"},
            {"name": "all", "replicas": "100%"},
        ],
        "criteria": [],
        "watch": [{"for": "1s", "every": "1s"}],
    })
}

/// The same, and at most 5 % errors.
pub fn measured() -> Value {
    with(quick(), json!({"criteria": [{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]}))
}

/// A spec with some of its fields replaced.
pub fn with(mut spec: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("fields") {
        spec[name] = value.clone();
    }
    spec
}

/// Tells the pods of this version to fail so many of their requests from now on. They have to be shipped with `ALLOW_FAULTS`.
pub async fn fail(story: &Story<'_>, version: &str, error_rate: &str) {
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client without TLS");
    for pod in story.pods().await {
        let environment = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        let is = environment.iter().any(|one| one["name"] == "VERSION" && one["value"] == version);
        let Some(ip) = pod["status"]["podIP"].as_str().filter(|_| is) else { continue };
        let told = client.post(format!("http://{ip}:8080/fault?error_rate={error_rate}")).send().await;
        assert!(
            told.is_ok_and(|told| told.status().is_success()),
            "pod {} heeds /fault",
            pod["metadata"]["name"]
        );
    }
}

/// The moments of an undo are all there, in order; `breached`: there was a breach before.
pub fn undo_in_order(ended: &Value, breached: bool) {
    let at = |name: &str| ended["undo"][name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let moments = [at("decidedAt"), at("orderedAt"), at("restoredAt")];
    assert!(moments.iter().all(Option::is_some) && moments.is_sorted(), "{ended:#}");
    assert_eq!(at("breachAt").is_some(), breached, "{ended:#}");
    assert!(!breached || at("breachAt") <= at("decidedAt"), "{ended:#}");
}

/// Which version the Deployment's template is.
pub async fn version(story: &Story<'_>) -> Value {
    let target = story.target().await;
    let template = &target["spec"]["template"];
    match &template["metadata"]["annotations"]["version"] {
        Value::Null => template["spec"]["containers"][0]["env"][0]["value"].clone(),
        version => version.clone(),
    }
}

/// Waits until the run stands in this step, soaking or held.
pub async fn until_at(story: &Story<'_>, step: &str) {
    story
        .until(&format!("standing in step {step}"), |story| async move {
            let status = story.status().await;
            status["step"]["name"] == step && matches!(status["phase"].as_str(), Some("Soaking" | "Held"))
        })
        .await;
}

/// Pods of the Deployment by the hash of their template.
pub async fn pods(story: &Story<'_>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in story.pods().await {
        if let Some(hash) = pod["metadata"]["labels"]["pod-template-hash"].as_str() {
            *counts.entry(hash.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Sees to it that nothing goes on and nothing goes back: the same step of the same run with the same pods for so long.
pub async fn stands_still(story: &Story<'_>, so_long: Duration) {
    let (status, before) = (story.status().await, pods(story).await);
    let (run, step, before) = (&status["run"]["id"], &status["run"]["step"], &before);
    assert!(run.is_string(), "a run is under way: {}", story.describe().await);
    story
        .stays(so_long, "standing still", |story| async move {
            let now = story.status().await;
            let same =
                now["run"]["id"] == *run && now["run"]["step"] == *step && now["run"]["back"].is_null();
            same && pods(story).await == *before
        })
        .await;
}

/// Gives a user a ClusterRole in the story's namespace.
pub async fn grant(story: &Story<'_>, user: &str, role: &str) {
    story
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{user}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }))
        .await;
}

/// Says something as soon as the API server knows that this user may; the name of the action.
pub async fn says(story: &Story<'_>, user: &str, spec: Value) -> String {
    let name = Mutex::new(String::new());
    let (said, spec) = (&name, &spec);
    story
        .until(&format!("{user} says {spec}"), |story| async move {
            let made = story.say(user, spec.clone()).await;
            let is_made = made.is_ok();
            if let Ok(made) = made {
                *said.lock().expect("no panic while noting") = made;
            }
            is_made
        })
        .await;
    name.into_inner().expect("no panic while noting")
}

/// A server on loopback that answers as it is told; ends with the process.
pub struct Answers {
    pub url: String,
    told: Arc<Mutex<Answer>>,
}

/// One answer; status 0 hangs up.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub body: &'static str,
    pub after: Duration,
}

impl Answer {
    /// At once.
    pub fn of(status: u16, body: &'static str) -> Self {
        Self { status, body, after: Duration::ZERO }
    }
}

impl Answers {
    /// Answers so until told otherwise.
    pub fn start(first: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(first));
        let answer = told.clone();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                let Answer { status, body, after } = answer.lock().expect("no panic while telling").clone();
                std::thread::spawn(move || {
                    let _read = connection.read(&mut [0; 4096]);
                    std::thread::sleep(after);
                    if status == 0 {
                        return;
                    }
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} So\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    let _sent = connection.write_all(format!("{head}{body}").as_bytes());
                });
            }
        });
        Self { url, told }
    }

    /// From now on.
    pub fn tell(&self, answer: Answer) {
        *self.told.lock().expect("no panic while telling") = answer;
    }
}
