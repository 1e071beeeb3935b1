//! `promotion` checks: what the records of another Release's runs prove.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tidegate::api::check::promotion::PromotionCheck;
use tidegate::api::digest;
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
    asked_of(client, json!({"namespace": "staging", "release": "checkout", "minSoak": soak}), images).await
}

/// In namespace shop, of Release checkout.
async fn asked_of(client: &Client, check: Value, images: &[&str]) -> (ProbeResult, String) {
    let check: PromotionCheck = serde_json::from_value(check).expect("a check");
    let images = images.iter().map(|image| (*image).to_owned()).collect();
    let probe = Probe {
        id: ProbeId { run: "r1".into(), check: "staging".into(), attempt: 1, definition: None },
        question: Question::Promotion(Wanted::of(&check).expect("a check")),
        timeout: Duration::from_secs(10),
        pods: Vec::new(),
        about: About::Images(Subject { namespace: "shop".into(), release: "checkout".into(), images }),
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

#[tokio::test]
async fn a_run_under_way_there_is_waited_for() {
    let under_way = json!({
        "canary": {"images": [THERE]},
        "run": {"id": "r9", "number": 9, "startedAt": "2026-11-22T11:00:00Z", "originals": {}, "stage": "Watch"},
    });
    let undone = report("checkout-r8", "Undone", "2026-11-22T06:00:00Z", &[THERE]);
    let words = format!("{IT}: its run r9 with these images is under way: it must end well first");
    for before in [vec![], vec![undone]] {
        let client = staging(under_way.clone(), &before).await;
        assert_eq!(asked(&client, &[HERE], None).await, (ProbeResult::Unknown, words.clone()));
        assert_eq!(asked(&client, &["shop@sha256:3333"], None).await.0, ProbeResult::Failed);
    }
    let well = report("checkout-r7", "Succeeded", "2026-11-22T02:00:00Z", &[THERE]);
    assert_eq!(asked(&staging(under_way, &[well]).await, &[HERE], None).await.0, ProbeResult::Passed);
}

const PILOTS: &str =
    "/apis/tidegate.dev/v1alpha1/namespaces/shop/releases?labelSelector=tier%3Dpilot&limit=250";

/// Namespace shop with these pilots, each with the records of its runs. The Release itself has their label too.
async fn pilots(pilots: &[(&str, &[Value])]) -> Client {
    let names = pilots.iter().map(|(name, _)| *name).chain(["checkout"]);
    let releases: Vec<Value> = names.map(|name| json!({"metadata": {"name": name}})).collect();
    let mut answers = vec![(PILOTS, 200, list(&releases))];
    for (name, records) in pilots {
        let path = format!(
            "/apis/tidegate.dev/v1alpha1/namespaces/shop/releasereports?labelSelector=tidegate.dev%2Frelease%3D{name}&limit=250"
        );
        let of_it = |record: &Value| {
            let mut record = record.clone();
            record["spec"]["release"] = json!(name);
            record
        };
        let records: Vec<Value> = records.iter().map(of_it).collect();
        answers.push((path.leak(), 200, list(&records)));
    }
    cluster(answers).await
}

#[tokio::test]
async fn pilots_are_chosen_by_label_and_all_of_them_must_have_ended_well() {
    let check = |more: Value| {
        let mut check = json!({"selector": {"matchLabels": {"tier": "pilot"}}});
        check.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        check
    };
    let well = |name: &str| report(name, "Succeeded", "2026-11-22T02:00:00Z", &[THERE]);
    let undone = report("undone", "Undone", "2026-11-22T02:00:00Z", &[THERE]);
    let those = "releases of namespace shop with tier=pilot";
    let a_well =
        "release a of namespace shop: it ended well 10h ago (releasereport a-r1), with the same digests";

    let both = pilots(&[("a", &[well("a-r1")]), ("b", &[well("b-r3")])]).await;
    let words = format!(
        "with 2 of 2 {those} it ended well, 2 needed: {a_well}; release b of namespace shop: it ended well 10h ago (releasereport b-r3), with the same digests"
    );
    assert_eq!(asked_of(&both, check(json!({})), &[HERE]).await, (ProbeResult::Passed, words));
    let (result, words) = asked_of(&both, check(json!({"minSoak": "24h"})), &[HERE]).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert!(
        words.starts_with(&format!("with 0 of 2 {those} it ended well, 2 needed: release a of")),
        "{words}"
    );
    assert!(words.contains("this can pass from 2026-11-23T02:00:00Z on"), "{words}");

    // Given the version in the same moment, and not begun with it yet: it is waited for.
    let one = pilots(&[("a", &[well("a-r1")]), ("b", &[])]).await;
    let words = format!(
        "with 1 of 2 {those} it ended well, 2 needed: release b of namespace shop has not released {HERE}: no run has ended there; release them there first"
    );
    assert_eq!(asked_of(&one, check(json!({})), &[HERE]).await, (ProbeResult::Unknown, words));
    let words = format!("with 1 of 2 {those} it ended well, 1 needed: {a_well}");
    assert_eq!(asked_of(&one, check(json!({"atLeast": 1})), &[HERE]).await, (ProbeResult::Passed, words));

    let bad = pilots(&[("a", &[well("a-r1")]), ("b", &[undone])]).await;
    let words = format!(
        "with 1 of 2 {those} it ended well, 2 needed: release b of namespace shop: the newest run with these images was undone 10h ago (releasereport undone): release them there again, and let it end well"
    );
    assert_eq!(asked_of(&bad, check(json!({})), &[HERE]).await, (ProbeResult::Failed, words));
    assert_eq!(asked_of(&bad, check(json!({"atLeast": 1})), &[HERE]).await.0, ProbeResult::Passed);
    let words = format!("there are 2 {those}, and atLeast is 3: label more, or write less");
    assert_eq!(asked_of(&bad, check(json!({"atLeast": 3})), &[HERE]).await, (ProbeResult::Unknown, words));

    // It is not its own pilot.
    let words = format!("there are no {those}: label the Releases that go first, or mend the selector");
    assert_eq!(asked_of(&pilots(&[]).await, check(json!({})), &[HERE]).await, (ProbeResult::Unknown, words));
    let own = "/apis/tidegate.dev/v1alpha1/namespaces/shop/releases?fieldSelector=metadata.name%3Dcheckout&limit=250";
    let records = REPORTS.replace("staging", "shop").leak();
    let client = cluster([(own, 200, list(&[])), (records, 200, list(&[]))]).await;
    let words = "release checkout of namespace shop is this one: name another, which goes first";
    let itself = asked_of(&client, json!({"namespace": "shop"}), &[HERE]).await;
    assert_eq!(itself, (ProbeResult::Failed, words.to_owned()));
    let names: Vec<String> = (0..17).map(|number| format!("p{number}")).collect();
    let many: Vec<(&str, &[Value])> = names.iter().map(|name| (name.as_str(), &[] as &[Value])).collect();
    let (result, words) = asked_of(&pilots(&many).await, check(json!({})), &[HERE]).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert_eq!(words, format!("there are more than 16 {those}: write a narrower selector"));
}

#[test]
fn what_is_written_wrong_is_said_where_it_stands() {
    let wrong = |check: Value| {
        let check: PromotionCheck = serde_json::from_value(check).expect("a check");
        Wanted::of(&check).expect_err("it is wrong")
    };
    let labels = json!({"matchLabels": {"tier": "pilot"}});
    for (check, field, words) in [
        (json!({}), "", "promotion needs one of: namespace, release, selector, record"),
        (json!({"minSoak": "1d"}), ".minSoak", "write 90m, 24h or 168h"),
        (
            json!({"release": "a", "selector": labels}),
            "",
            "promotion takes one of: release, selector, record",
        ),
        (
            json!({"selector": labels, "record": record_at()}),
            "",
            "promotion takes one of: release, selector, record",
        ),
        (
            json!({"namespace": "a", "record": record_at()}),
            ".namespace",
            "a record is in the Release's own: leave it out",
        ),
        (json!({"release": "a", "atLeast": 1}), ".atLeast", "it goes with selector"),
        (json!({"selector": labels, "atLeast": 0}), ".atLeast", "write how many, from 1 on"),
        (json!({"selector": {}}), ".selector", "write matchLabels or matchExpressions"),
        (
            json!({"selector": {"matchLabels": {"tier": "a b"}}}),
            ".selector",
            "'a b' is not the key or the value of a label",
        ),
    ] {
        assert_eq!(wrong(check.clone()), (field, words.to_owned()), "{check}");
    }
}

fn record_at() -> Value {
    json!({"configMap": {"name": "staging", "key": "record.yaml"}})
}

/// What `kubectl tidegate report checkout -o yaml` gives of a run, as an object.
fn record(outcome: &str) -> Value {
    let mut record = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseReport",
        "metadata": {"name": "checkout-r7", "namespace": "shop"},
        "spec": {
            "release": "checkout", "releaseUid": "u", "run": "r7", "outcome": outcome, "notes": [],
            "message": "all is well: \"yes\"\nand more # of it ", "endedAt": "2026-11-22T02:00:00Z",
            "canary": {"images": [THERE], "fingerprint": "1e5"}, "chain": {"digest": "", "previous": {"report": "checkout-r6", "digest": "0123"}},
        },
    });
    record["spec"]["chain"]["digest"] = json!(digest::of_record(&record["spec"]));
    record
}

/// What a promotion from a ConfigMap with this record says.
async fn brought(text: &str, soak: Option<&str>, images: &[&str]) -> (ProbeResult, String) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "staging"}, "data": {"record.yaml": text}});
    let client = cluster([("/api/v1/namespaces/shop/configmaps/staging", 200, map)]).await;
    asked_of(&client, json!({"record": record_at(), "minSoak": soak}), images).await
}

const PLACE: &str = "configmap staging, key record.yaml";

#[tokio::test]
async fn a_record_from_another_cluster_passes_as_yaml_and_as_json() {
    let well = record("Succeeded");
    let yaml = serde_saphyr::to_string(&well).expect("YAML");
    let words = format!("{PLACE}: its run r7 ended well 10h ago (by the record), with the same digests");
    for text in [yaml.as_str(), &well.to_string()] {
        assert_eq!(brought(text, Some("10h"), &[HERE]).await, (ProbeResult::Passed, words.clone()), "{text}");
    }
    let (result, words) = brought(&yaml, Some("24h"), &[HERE]).await;
    assert_eq!(result, ProbeResult::Unknown);
    assert!(words.ends_with("and minSoak is 24h: this can pass from 2026-11-23T02:00:00Z on"), "{words}");
    // The record of the version before still lies there.
    let words = format!("{PLACE}: its run r7 released {THERE}: bring the record of shop@sha256:3333");
    assert_eq!(brought(&yaml, None, &["shop@sha256:3333"]).await, (ProbeResult::Unknown, words));
}

#[tokio::test]
async fn a_record_that_was_changed_or_is_another_or_no_record_fails() {
    let bring = "bring what kubectl tidegate report checkout -o yaml gives";
    let undone = format!(
        "{PLACE}: its run r7 was undone at 2026-11-22T02:00:00Z: release these images there again, let it end well, and bring that record"
    );
    let said = brought(&record("Undone").to_string(), None, &[HERE]).await;
    assert_eq!(said, (ProbeResult::Failed, undone));
    let mut changed = record("Undone");
    changed["spec"]["outcome"] = json!("Succeeded");
    let mut other = record("Succeeded");
    other["spec"]["release"] = json!("cart");
    other["spec"]["chain"]["digest"] = json!(digest::of_record(&other["spec"]));
    let mut empty = record("Succeeded");
    empty["spec"].as_object_mut().expect("an object").remove("endedAt");
    empty["spec"]["chain"]["digest"] = json!(digest::of_record(&empty["spec"]));
    let several = json!({"apiVersion": "v1", "kind": "List", "items": [record("Succeeded")]});
    let long = format!("{}{}", record("Succeeded"), " ".repeat(512 * 1024));
    let bomb =
        format!("a: &a [{0}]\nb: &b [{1}]\nc: [{2}]", "x,".repeat(999), "*a,".repeat(999), "*b,".repeat(999));
    for (text, words) in [
        (changed.to_string(), "its content is not what was written: it says digest "),
        (other.to_string(), "it is of release cart, and this one is checkout"),
        (empty.to_string(), "how its run ended cannot be read"),
        (several.to_string(), "it is not one ReleaseReport: "),
        ("{".to_owned(), "it is neither YAML nor JSON, or too much of it: "),
        (bomb, "it is neither YAML nor JSON, or too much of it: "),
        (long, "it is larger than 512 KiB: "),
        (String::new(), "it is "),
    ] {
        let (result, said) = brought(&text, None, &[HERE]).await;
        assert_eq!(result, ProbeResult::Failed, "{said}");
        assert!(said.starts_with(&format!("{PLACE}: {words}")), "{said}");
        assert!(said.len() < 900 && !said.contains('\n'), "{said}");
        assert!(words.starts_with("it is of") || said.contains(bring), "{said}");
    }
}

#[tokio::test]
async fn a_record_that_nobody_has_brought_yet_is_waited_for() {
    let asked = |client| async move { asked_of(&client, json!({"record": record_at()}), &[HERE]).await };
    let bring = "bring the record of the run that has ended there";
    let nothing = cluster([]).await;
    let words = format!("there is no configmap staging: {bring}");
    assert_eq!(asked(nothing).await, (ProbeResult::Unknown, words));
    let path = "/api/v1/namespaces/shop/configmaps/staging";
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "staging"}});
    let words = format!("configmap staging has no key record.yaml: {bring}");
    assert_eq!(asked(cluster([(path, 200, empty)]).await).await, (ProbeResult::Unknown, words));
    let words = "the operator may not read configmap staging: add {apiGroups: [''], resources: [configmaps], verbs: [get]} to the role tidegate";
    let refused = cluster([(path, 403, forbidden("get", "configmaps", ""))]).await;
    assert_eq!(asked(refused).await, (ProbeResult::Unknown, words.to_owned()));
}
