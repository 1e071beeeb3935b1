//! `hand-back --without-operator`: gives a Deployment back to its owner when there is no operator to do it.
//!
//! Everything that is needed stands on the Deployment itself. Nothing is guessed: without the originals nothing is written.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use super::connect::{Cluster, answer, code};
use super::view::plain;
use super::{Code, act, terminal};
use crate::api::{Action, CHANGED_BY, GROUP, HELD, ORIGINALS, RELEASE_LABEL, Release, STABLE};
use crate::decide::fields::{Originals, PARKED_DEADLINE, PARKED_MIN_READY};
use crate::decide::kept_name::is_named_after;
use crate::watch::slim;

/// The fields of `spec` that a run owns. Nothing else is given back: whoever could write more into the annotation would have it written with the
/// rights of whoever hands back.
const OWNED: [&str; 4] = ["minReadySeconds", "paused", "progressDeadlineSeconds", "strategy"];
/// Letters that are shown of a field that is none of them.
const SHOWN: usize = 64;
/// Characters of a reason, at least.
const LEAST_REASON: usize = 3;
/// How often to try again when somebody else wrote in between.
const TRIES: usize = 5;

/// What will be written to a Deployment, and what that means.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// A merge patch of the Deployment. It carries the resourceVersion: it fits what was read, or it is refused.
    pub patch: Value,
    /// One line for each thing that changes.
    pub lines: Vec<String>,
}

/// Gives back the Deployment of the Release `name`, which need not exist any more.
///
/// # Errors
/// When there is nothing to give back, or it cannot be known what to give back.
pub async fn without_operator(cluster: &Cluster, name: &str, reason: Option<&str>) -> Result<Code> {
    let resource = ApiResource::erase::<Deployment>(&());
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let target = find(cluster, &deployments, name).await?;
    // Whoever may not read it is told no less than where it is gone.
    let known = answer(cluster.api::<Release>().get_opt(name)).await.ok().flatten();
    for attempt in 1..=TRIES {
        let deployment = answer(deployments.get(&target)).await?;
        let plan = plan(&deployment, name, known.as_ref())?;
        let full_name = format!("{}/{target}", cluster.namespace);
        let patch = Patch::Merge(&plan.patch);
        let parameters =
            PatchParams { field_manager: Some("kubectl-tidegate".to_owned()), ..PatchParams::default() };
        match answer(deployments.patch(&target, &parameters, &patch)).await {
            Ok(given) => {
                if put_back(&deployment, &given, &plan.patch) {
                    let again = json!({ "spec": plan.patch["spec"] });
                    answer(deployments.patch(&target, &parameters, &Patch::Merge(&again))).await?;
                }
                let because = reason.map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
                terminal::print(&format!(
                    "deployment {full_name} is its owner's again{because}:\n  {}\n{}\n",
                    plan.lines.join("\n  "),
                    next(&deployment)
                ));
                match tell(cluster, name, &target, reason).await {
                    Ok(told) => terminal::print(&told.unwrap_or_default()),
                    Err(not_told) => terminal::complain(&not_told),
                }
                return Ok(Code::Yes);
            }
            Err(error) if code(&error) == Some(409) && attempt < TRIES => {}
            Err(error) if code(&error) == Some(403) => {
                let namespace = &cluster.namespace;
                terminal::complain(&format!(
                    "{error}\nshown by: kubectl auth can-i patch deployments.apps/{target} -n {namespace}; kubectl auth can-i \
                     hand-back releases.tidegate.dev/{name} -n {namespace}"
                ));
                return Ok(Code::No);
            }
            Err(error) => return Err(error),
        }
    }
    bail!(
        "deployment {target} changed {TRIES} times while it was given back: is an operator running after all? \
         Then leave out --without-operator"
    )
}

/// What is to be written to give a Deployment back. `known`: its Release, where that is still there.
///
/// # Errors
/// When it is not in anybody's hands but its owner's, or its originals cannot be read.
pub fn plan(deployment: &DynamicObject, release: &str, known: Option<&Release>) -> Result<Plan> {
    let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
    let annotations = deployment.annotations();
    let spec = &deployment.data["spec"];
    let labelled = deployment.labels().get(RELEASE_LABEL);
    if let Some(other) = labelled.filter(|other| *other != release) {
        bail!(
            "deployment {name} belongs to release {other}, not {release}: \
             kubectl tidegate hand-back --without-operator {other} -n {namespace}"
        );
    }
    let originals: Map<String, Value> = match annotations.get(ORIGINALS) {
        Some(text) => serde_json::from_str(text).map_err(|_| {
            anyhow!(
                "the annotation {ORIGINALS} of deployment {name} is not a JSON object, so its owner's fields are not \
                 known: a copy \
                 may be in kubectl get release {release} -n {namespace} -o jsonpath={{.status.run.originals}}"
            )
        })?,
        // Also where it was held before: in a run that is noted as well.
        None => match parked_by(deployment, known) {
            Some((field, is)) => bail!(
                "deployment {name} {is} in a run (spec.{field} is {value}), but its annotation {ORIGINALS} is gone, so its owner's fields are not known: a \
                 copy may be in kubectl get release {release} -n {namespace} -o jsonpath={{.status.run.originals}}; write spec.paused, \
                 minReadySeconds, progressDeadlineSeconds and strategy as they are to be, and take the label {RELEASE_LABEL} and the annotations \
                 {GROUP}/* off in the same write: kubectl edit deployment {name} -n {namespace} (a progressDeadlineSeconds of 2147483647 may be its \
                 owner's own: no deadline)",
                value = spec[field]
            ),
            // Held by the API server's policy and not yet taken up by an operator: only `paused` is not the owner's.
            None if annotations.get(HELD).is_some_and(|held| held == "true") => {
                Map::from_iter([("paused".to_owned(), Value::Null)])
            }
            None => Map::new(),
        },
    };
    let (originals, others): (Map<String, Value>, Map<String, Value>) =
        originals.into_iter().partition(|(field, _)| OWNED.contains(&field.as_str()));
    // Whatever version of an operator put it there. Who has changed the template stays: it is still true.
    let ours = |key: &&String| key.starts_with(&format!("{GROUP}/")) && *key != CHANGED_BY;
    let present: Vec<&String> = annotations.keys().filter(ours).collect();
    if originals.is_empty() && present.is_empty() && labelled.is_none() {
        bail!("there is nothing to hand back: deployment {name} carries no label or annotation of Tidegate");
    }
    let mut lines: Vec<String> =
        originals.iter().map(|(field, value)| change(field, &spec[field], value)).collect();
    lines.extend(others.keys().next().map(|field| left_alone(field, others.len())));
    lines.extend(present.iter().map(|key| format!("annotation {key} taken off")));
    lines.extend(labelled.map(|_| format!("label {RELEASE_LABEL} taken off")));
    let gone: Map<String, Value> = present.into_iter().map(|key| (key.clone(), Value::Null)).collect();
    let mut patch = json!({
        "metadata": { "labels": { RELEASE_LABEL: null }, "annotations": gone,
            "resourceVersion": deployment.resource_version() },
    });
    if !originals.is_empty() {
        patch["spec"] = Value::Object(originals);
    }
    Ok(Plan { patch, lines })
}

/// The field by which it is seen that a run has a Deployment, or goes back, and how sure that is. An owner may want no deadline as well: without our label
/// that is theirs, and where the Release says that no run is under way; with the name of what a run goes back to it is not.
fn parked_by(deployment: &DynamicObject, known: Option<&Release>) -> Option<(&'static str, &'static str)> {
    let waits = |field: &str, parked: i32| deployment.data["spec"][field] == json!(parked);
    if waits("minReadySeconds", PARKED_MIN_READY) {
        return Some(("minReadySeconds", "is"));
    }
    let is_ours = deployment.labels().contains_key(RELEASE_LABEL);
    if !is_ours || !waits("progressDeadlineSeconds", PARKED_DEADLINE) {
        return None;
    }
    let is_noted = deployment.annotations().contains_key(STABLE);
    let is_at_rest = known.is_some_and(|release| rests(release, &deployment.name_any()));
    (is_noted || !is_at_rest).then_some(("progressDeadlineSeconds", if is_noted { "is" } else { "may be" }))
}

/// Whether a Release has taken this Deployment up, and says that no run is under way.
fn rests(release: &Release, deployment: &str) -> bool {
    let status = release.status.as_ref();
    release.spec.target_ref.name == deployment
        && status.is_some_and(|status| status.stable.is_some() && status.run.is_none())
}

/// Whether a field is as it was in spite of the patch: an admission policy put it back. With the label off, none does any more.
fn put_back(before: &DynamicObject, after: &DynamicObject, patch: &Value) -> bool {
    let as_it_was = |field: &String| before.data["spec"][field] == after.data["spec"][field];
    patch["spec"].as_object().is_some_and(|spec| {
        spec.iter().any(|(field, wanted)| as_it_was(field) && before.data["spec"][field] != *wanted)
    })
}

fn left_alone(field: &str, fields: usize) -> String {
    let field: String = plain(field).chars().take(SHOWN).collect();
    let more = if fields > 1 { format!(" and {} more", fields - 1) } else { String::new() };
    format!("spec.{field}{more} left alone: {ORIGINALS} names what no run owns; who wrote it there?")
}

fn change(field: &str, now: &Value, then: &Value) -> String {
    let show = |value: &Value| if value.is_null() { "absent".to_owned() } else { plain(&value.to_string()) };
    if now == then {
        format!("spec.{field} stays {}", show(then))
    } else {
        format!("spec.{field} {} → {}", show(now), show(then))
    }
}

/// What happens to the pods now, and what to do if that is not wanted. A native `rollout undo` takes the template before by its number: on the way back that
/// is the version which is gone back from.
pub fn next(deployment: &DynamicObject) -> String {
    let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
    let annotations = deployment.annotations();
    let is_held = annotations.get(HELD).is_some_and(|held| held == "true");
    match (annotations.get(ORIGINALS), annotations.get(STABLE)) {
        (Some(_), Some(stable)) if is_back(deployment, stable) => format!(
            "the stable template is in place in {namespace}/{name}, and the native controller brings its pods. Do not roll back: kubectl rollout undo \
             would bring the version out that the run went back from"
        ),
        (Some(_), stable) => format!(
            "the native controller now completes the template that is in {namespace}/{name}; to go back instead{}",
            write_stable(&name, &namespace, stable.map_or("", String::as_str))
        ),
        _ if is_held => format!(
            "the native controller now completes whatever template is in {namespace}/{name}: it was held"
        ),
        _ => format!("no run had the fields of {namespace}/{name}: its pods stay as they are"),
    }
}

/// Whether the template that stands there is the stable one: by the name under which that is kept, or (where admission has changed it) by what only the
/// order back leaves. Where all old pods go first a run parks nothing else, and a deadline that its owner wants as long says nothing.
fn is_back(deployment: &DynamicObject, stable: &str) -> bool {
    let spec = &deployment.data["spec"];
    let is_parked = spec["minReadySeconds"] == json!(PARKED_MIN_READY);
    let originals = deployment.annotations().get(ORIGINALS).and_then(|text| Originals::parse(text).ok());
    let is_theirs = originals.is_some_and(|theirs| theirs.recreate() && theirs.deadline().is_none());
    let waits_back = spec["progressDeadlineSeconds"] == json!(PARKED_DEADLINE) && !is_theirs;
    let is_ordered = waits_back && !is_parked && spec["paused"] != true;
    is_ordered || is_named_after(stable, &slim::fingerprint(&spec["template"]))
}

/// The command that writes the stable template, where what is noted is a name: anybody may have written it.
fn write_stable(name: &str, namespace: &str, stable: &str) -> String {
    let is_name =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.');
    // One that begins with a dash would be an option.
    if !stable.starts_with(|letter: char| letter.is_ascii_alphanumeric()) || !stable.chars().all(is_name) {
        return ", apply the previous manifest".to_owned();
    }
    let data = format!("kubectl get controllerrevision {stable} -n {namespace} -o jsonpath='{{.data}}'");
    format!(
        r#": kubectl patch deployment {name} -n {namespace} --type json -p "[{{\"op\":\"replace\",\"path\":\"/spec/template\",\"value\":$({data})}}]""#
    )
}

/// A Release that is still there is told, as by an operator's hand-back: one that returns leaves the Deployment to its owner then. The Deployment is given
/// back whatever comes of it. What people are told of that; nothing, where the Release is gone.
///
/// # Errors
/// In words why it was not told, and what comes of that.
async fn tell(
    cluster: &Cluster,
    name: &str,
    target: &str,
    reason: Option<&str>,
) -> Result<Option<String>, String> {
    let namespace = &cluster.namespace;
    let not_told = |why: &str| untold(name, namespace, why);
    let known = answer(cluster.api::<Release>().get_opt(name)).await;
    let Some(release) = known.map_err(|error| not_told(&error.to_string()))? else { return Ok(None) };
    let names = &release.spec.target_ref.name;
    if names != target {
        return Err(about_another(name, namespace, target, names));
    }
    match act::say(cluster, &saying(name, reason)).await {
        Ok(Code::Yes) => Ok(Some(format!(
            "release {namespace}/{name} is still there: an operator that returns leaves the deployment alone until kubectl tidegate \
             resume {name} -n {namespace}\n"
        ))),
        Ok(Code::No | Code::Interrupted) => Err(not_told("it is refused")),
        Err(error) => Err(not_told(&error.to_string())),
    }
}

/// What a Release is told. A reason that is too short for the API server is left out.
pub fn saying(name: &str, reason: Option<&str>) -> act::Saying {
    let reason = reason.filter(|reason| reason.chars().count() >= LEAST_REASON);
    act::Saying {
        action: Action::HandBack,
        release: name.to_owned(),
        role: None,
        check: None,
        undo: false,
        pass: None,
        reason: Some(reason.unwrap_or("handed back without the operator").to_owned()),
        wait: None,
    }
}

/// A copy that has the label, or what the Release was about before: what is done with the one that it names is not for this command to say.
pub fn about_another(name: &str, namespace: &str, target: &str, names: &str) -> String {
    let names = plain(names);
    format!(
        "release {namespace}/{name} is about deployment {names}, and not about {target}: it is not told, and an operator that returns goes on with \
         {names}"
    )
}

fn untold(name: &str, namespace: &str, why: &str) -> String {
    format!(
        "release {namespace}/{name} could not be told ({why}): where it is still there, an operator that returns may take the deployment \
         again, and back to stable. Delete it first: kubectl delete release {name} -n {namespace}",
        why = plain(why)
    )
}

/// The Deployment's name: by its label, else as the Release says, else as the Release is called. A copy of it may have the label too.
async fn find(cluster: &Cluster, deployments: &Api<DynamicObject>, release: &str) -> Result<String> {
    let labelled = ListParams::default().labels(&format!("{RELEASE_LABEL}={release}"));
    let found: Vec<String> =
        answer(deployments.list(&labelled)).await?.items.iter().map(ResourceExt::name_any).collect();
    if let [one] = &found[..] {
        return Ok(one.clone());
    }
    // The CRDs may be gone too: not found either way.
    let known = answer(cluster.api::<Release>().get_opt(release)).await?;
    let target = known.map(|release| release.spec.target_ref.name);
    if !found.is_empty() {
        return one_of(found, target, release, &cluster.namespace);
    }
    let name = target.unwrap_or_else(|| release.to_owned());
    if answer(deployments.get_opt(&name)).await?.is_none() {
        let namespace = &cluster.namespace;
        bail!(
            "there is nothing to hand back: no deployment {name} in namespace {namespace}, and none \
             with the label {RELEASE_LABEL}={release}"
        );
    }
    Ok(name)
}

/// Of several that carry the label, the one that the Release names.
///
/// # Errors
/// Where none of them is, or there is no Release: it is not guessed.
pub fn one_of(
    labelled: Vec<String>,
    target: Option<String>,
    release: &str,
    namespace: &str,
) -> Result<String> {
    let all = labelled.join(", ");
    match target.filter(|target| labelled.contains(target)) {
        Some(target) => Ok(target),
        None => bail!(
            "{} deployments carry the label {RELEASE_LABEL}={release}: {all}; take it off those that are copies: kubectl label deployment NAME \
             {RELEASE_LABEL}- -n {namespace}",
            labelled.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;

    type Answer = (u16, Value);

    fn failure(code: u16, reason: &str, message: &str) -> Answer {
        let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code});
        (code, status)
    }

    fn about(target: &str) -> Answer {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target});
        (200, json!({"metadata": {"name": "checkout", "namespace": "shop"}, "spec": {"targetRef": target}}))
    }

    fn taken() -> Answer {
        (
            201,
            json!({"metadata": {"name": "checkout-x"}, "spec": {"release": "checkout", "action": "HandBack"}}),
        )
    }

    /// What comes of telling that Deployment checkout was given back, where an API server answers so when it is asked about the Release, and when
    /// an action is made; and the actions that it was to make.
    async fn told(release: Answer, action: Answer) -> (Result<Option<String>, String>, Vec<Value>) {
        let made = Arc::<Mutex<Vec<Value>>>::default();
        let noted = made.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (noted, release, action) = (noted.clone(), release.clone(), action.clone());
            async move {
                let path = request.uri().path().to_owned();
                let (code, body) = if path.ends_with("/namespaces/shop/releases/checkout") {
                    release
                } else if path.ends_with("/namespaces/shop/releaseactions") {
                    let body = request.into_body().collect_bytes().await.expect("a body");
                    noted.lock().expect("whole").push(serde_json::from_slice(&body).expect("JSON"));
                    action
                } else {
                    failure(404, "NotFound", "the server could not find the requested resource")
                };
                let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, std::io::Error>(answer.expect("a response"))
            }
        });
        let cluster = Cluster { client: Client::new(service, "shop"), namespace: "shop".to_owned() };
        let told = tell(&cluster, "checkout", "checkout", Some("fire in the hall")).await;
        let made = made.lock().expect("whole").clone();
        (told, made)
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_still_there_is_told_that_its_deployment_was_handed_back() {
        let (told, made) = told(about("checkout"), taken()).await;
        let told = told.expect("it is told").expect("it is there");
        assert!(
            told.starts_with("release shop/checkout is still there: an operator that returns leaves"),
            "{told}"
        );
        let [action] = &made[..] else { panic!("one action, not {made:?}") };
        let spec = &action["spec"];
        let said = [&spec["action"], &spec["release"], &spec["reason"]];
        assert_eq!(said, [&json!("HandBack"), &json!("checkout"), &json!("fire in the hall")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_gone_is_not_told_and_nothing_is_said_of_it() {
        let gone = failure(404, "NotFound", "releases.tidegate.dev \"checkout\" not found");
        assert_eq!(told(gone, taken()).await, (Ok(None), Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_about_another_deployment_is_not_told_and_that_is_said() {
        let (told, made) = told(about("checkout-eu"), taken()).await;
        let told = told.expect_err("it is not told");
        assert!(
            told.contains("is about deployment checkout-eu, and not about checkout: it is not told"),
            "{told}"
        );
        assert!(made.is_empty(), "{made:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_release_could_not_be_told_it_is_said_why_and_to_delete_it_first() {
        let refused = failure(403, "Forbidden", "bob may not hand-back release checkout");
        let away = failure(503, "ServiceUnavailable", "etcd is away");
        for (release, action, why, actions) in
            [(about("checkout"), refused, "it is refused", 1), (away, taken(), "etcd is away", 0)]
        {
            let (told, made) = told(release, action).await;
            let told = told.expect_err("it is not told");
            assert!(
                told.starts_with(&format!("release shop/checkout could not be told ({why}): ")),
                "{told}"
            );
            assert!(told.ends_with("Delete it first: kubectl delete release checkout -n shop"), "{told}");
            assert_eq!(made.len(), actions, "{made:?}");
        }
    }
}
