//! `promotion` checks: what the records of another Release's runs prove.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tidegate::api::check::promotion::PromotionCheck;
use tidegate::decide::plan::Question;
use tidegate::decide::promotion::{Subject, Wanted};
use tidegate::decide::snapshot::{ProbeId, ProbeResult};
use tidegate::decide::{About, Probe};

use super::{ask, cluster, forbidden};

const NOW: &str = "2026-11-22T12:00:00Z";
const HERE: &str = "shop.example.com/shop:v2@sha256:2222";
const THERE: &str = "staging.example.com/shop@sha256:2222";
const RELEASES: &str = "/apis/tidegate.dev/v1alpha1/namespaces/staging/releases?fieldSelector=metadata.name%3Dcheckout&limit=250";
const REPORTS: &str = "/apis/tidegate.dev/v1alpha1/namespaces/staging/releasereports?labelSelector=tidegate.dev%2Frelease%3Dcheckout&limit=250";

async fn asked(client: &Client, images: &[&str], soak: Option<&str>) -> (ProbeResult, String) {
    let check = json!({"namespace": "staging", "release": "checkout", "minSoak": soak});
    let check: PromotionCheck = serde_json::from_value(check).expect("a check");
    let images = images.iter().map(|image| (*image).to_owned()).collect();
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "staging".into(), attempt: 1 },
        question: Question::Promotion(Wanted::of(&check).expect("a check")),
        timeout: Duration::from_secs(10),
        pods: Vec::new(),
        about: About::Images(Subject { release: "checkout".into(), images }),
    };
    ask(client, &probe, NOW.parse::<Timestamp>().expect("a moment")).await
}

fn report(name: &str, outcome: &str, ended: &str, images: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"release": "checkout", "outcome": outcome, "endedAt": ended, "canary": {"images": images}},
    })
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// Staging, with the status of its Release and the records of its runs.
async fn staging(status: Value, reports: &[Value]) -> Client {
    let release = json!({"metadata": {"name": "checkout"}, "status": status});
    cluster([(RELEASES, 200, list(&[release])), (REPORTS, 200, list(reports))]).await
}

const IT: &str = "release checkout of namespace staging";

#[tokio::test]
async fn the_same_digests_that_ended_well_there_pass_when_they_have_soaked() {
    let ended = report("checkout-r7", "Succeeded", "2026-11-22T02:00:00Z", &[THERE, "sidecar:v1"]);
    let client = staging(json!({}), &[ended]).await;
    let well = format!("{IT}: it ended well 10h ago (releasereport checkout-r7), with the same digests");
    assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Passed, well.clone()));
    assert_eq!(asked(&client, &[HERE], Some("10h")).await, (ProbeResult::Passed, well));
    let early = format!(
        "{IT}: it ended well 10h ago (releasereport checkout-r7), and minSoak is 24h: this can pass from 2026-11-23T02:00:00Z on"
    );
    assert_eq!(asked(&client, &[HERE], Some("24h")).await, (ProbeResult::Unknown, early));
    // One of several images was not there.
    let (result, words) = asked(&client, &[HERE, "proxy@sha256:9999"], None).await;
    assert_eq!(result, ProbeResult::Failed);
    let lacking = format!(
        "{IT} has not released {HERE}, proxy@sha256:9999: its newest are {THERE}, sidecar:v1; release them there first"
    );
    assert_eq!(words, lacking);
}

#[tokio::test]
async fn a_tag_must_be_the_same_text_and_proves_less() {
    let ended = report("checkout-r7", "Succeeded", "2026-11-22T02:00:00Z", &["shop:v2"]);
    let client = staging(json!({}), &[ended]).await;
    let (result, words) = asked(&client, &["shop:v2"], None).await;
    assert_eq!(result, ProbeResult::Passed);
    assert!(
        words.ends_with("with the same names, of which shop:v2 has no digest: a tag proves less"),
        "{words}"
    );
    for other in ["shop:v3", "mirror/shop:v2", "shop:v2@sha256:2222"] {
        assert_eq!(asked(&client, &[other], None).await.0, ProbeResult::Failed, "{other}");
    }
}

#[tokio::test]
async fn the_newest_run_with_these_images_decides() {
    let first = report("checkout-r7", "Succeeded", "2026-11-20T00:00:00Z", &[THERE]);
    let undone = report("checkout-r9", "Undone", "2026-11-22T06:00:00Z", &[THERE]);
    let other = report("checkout-r10", "Undone", "2026-11-22T08:00:00Z", &["shop@sha256:3333"]);
    let superseded = report("checkout-r11", "Superseded", "2026-11-22T09:00:00Z", &[THERE]);
    let client = staging(json!({}), &[first.clone(), undone, other.clone()]).await;
    let words = format!(
        "{IT}: the newest run with these images was undone 6h ago (releasereport checkout-r9): release them there again, and let it end well"
    );
    assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Failed, words));
    let client = staging(json!({}), &[superseded.clone(), other, first]).await;
    assert_eq!(asked(&client, &[HERE], None).await.0, ProbeResult::Passed);
    let client = staging(json!({}), &[superseded]).await;
    let (_, words) = asked(&client, &[HERE], None).await;
    assert!(words.ends_with("their run there was broken off; release them there first"), "{words}");
}

#[tokio::test]
async fn status_says_it_where_the_record_is_no_longer_kept() {
    let status = |outcome: &str| {
        json!({
            "stable": {"fingerprint": "f2", "images": [THERE]},
            "lastRun": {
                "id": "r7", "number": 7, "outcome": outcome, "message": "", "fingerprint": "f2",
                "startedAt": "2026-11-22T01:00:00Z", "endedAt": "2026-11-22T02:00:00Z",
            },
        })
    };
    let client = staging(status("Succeeded"), &[]).await;
    let well = format!("{IT}: it ended well 10h ago (its status), with the same digests");
    assert_eq!(asked(&client, &[HERE], Some("2h")).await, (ProbeResult::Passed, well));
    // To serve there is not to have ended well there.
    let mut adopted = status("Succeeded");
    adopted.as_object_mut().expect("an object").remove("lastRun");
    let client = staging(adopted, &[]).await;
    let (result, words) = asked(&client, &[HERE], None).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(
        words.ends_with("they serve there, but no run has ended well with them; release them there first"),
        "{words}"
    );
}

#[tokio::test]
async fn what_is_not_there_fails_and_what_cannot_be_read_is_unknown() {
    let client = cluster([(RELEASES, 200, list(&[])), (REPORTS, 200, list(&[]))]).await;
    assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Failed, format!("there is no {IT}")));
    let client = staging(json!({}), &[]).await;
    let (_, words) = asked(&client, &[HERE], None).await;
    assert!(words.ends_with("no run has ended there; release them there first"), "{words}");
    let client = cluster([
        (RELEASES, 200, list(&[])),
        (REPORTS, 403, forbidden("list", "releasereports", "tidegate.dev")),
    ])
    .await;
    let words = "the operator may not list releasereports of namespace staging: add {apiGroups: [tidegate.dev], resources: \
        [releasereports], verbs: [list]} to the role tidegate";
    assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Unknown, words.to_owned()));
    let client = cluster([(RELEASES, 500, json!({}))]).await;
    let words = "releases of namespace staging could not be read: status 500";
    assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Unknown, words.to_owned()));
    // Another Release's record under the same label is none of it; one that cannot be read proves nothing.
    let mut foreign = report("x", "Succeeded", "2026-11-22T02:00:00Z", &[THERE]);
    foreign["spec"]["release"] = json!("cart");
    let client = staging(json!({}), &[foreign, json!({"metadata": {"name": "odd"}, "spec": 7})]).await;
    assert_eq!(asked(&client, &[HERE], None).await.0, ProbeResult::Failed);
    let ahead = report("checkout-r7", "Succeeded", "2026-11-23T00:00:00Z", &[THERE]);
    let (result, words) = asked(&staging(json!({}), &[ahead]).await, &[HERE], None).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert!(words.ends_with("is of 2026-11-23T00:00:00Z, which is yet to come"), "{words}");
}
