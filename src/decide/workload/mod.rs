//! What `workload` checks mean, and what a template and its surroundings say to them.
//!
//! Reading the surroundings is not done here.

pub mod quantity;
pub mod room;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::room::{Change, Fits, Nodes, QuotaSays, list, listed, of_container, quota};
use super::images::{digest, identity, moves};
use super::snapshot::{ProbeResult, Template};
use crate::api::check::workload::WorkloadCheck;
use crate::api::labels::Labels;

/// Replicas that there must be where nothing is said.
const REPLICAS: i32 = 2;
/// Names that a message lists.
const SHOWN: usize = 4;
/// `kubectl rollout restart` writes it: a template that differs in nothing else is the same.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// What must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub probes: bool,
    pub resources: bool,
    pub budget: bool,
    pub replicas: Option<i32>,
    pub digests: bool,
    pub room: bool,
}

impl Wanted {
    /// What an author means. With nothing written all of it, but for digests.
    pub fn of(check: &WorkloadCheck) -> Self {
        let WorkloadCheck { probes, resources, pod_disruption_budget, min_replicas, image_by_digest, room } =
            check;
        let all = *check == WorkloadCheck::default();
        Self {
            probes: all || probes.is_some(),
            resources: all || resources.is_some(),
            budget: all || pod_disruption_budget.is_some(),
            replicas: if all { Some(REPLICAS) } else { *min_replicas },
            digests: image_by_digest.is_some(),
            room: all || room.is_some(),
        }
    }
}

/// What is about to be released.
#[derive(Clone, Debug)]
pub struct Subject {
    pub template: Template,
    /// What serves; `None`: it is not kept any more.
    pub stable: Option<Template>,
    pub replicas: i32,
    /// Pods that the run adds at most.
    pub surge: i32,
    /// The Deployment's pods, by name.
    pub own: BTreeSet<String>,
}

/// What is there, as far as it was asked for. `Err`: why it cannot be told.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// PodDisruptionBudgets of the namespace.
    pub budgets: Option<Result<Vec<Value>, String>>,
    /// ResourceQuotas of the namespace.
    pub quotas: Option<Result<Vec<Value>, String>>,
    pub nodes: Option<Result<Nodes, String>>,
}

/// What was found, in sentences.
#[derive(Default)]
struct Said {
    well: Vec<String>,
    wrong: Vec<String>,
    /// What cannot be told.
    unsure: Vec<String>,
    /// What stops nothing.
    beside: Vec<String>,
}

/// What a template and its surroundings say. All that is wrong is said at once.
pub fn judged(wanted: Wanted, subject: &Subject, around: &Around) -> (ProbeResult, String) {
    let template = subject.template.value();
    let mut said = Said::default();
    differs(subject, &template, &mut said);
    by_itself(wanted, Some(subject.replicas), &template, &mut said);
    if wanted.budget {
        budget(subject, &template, around.budgets.as_ref(), &mut said);
    }
    if wanted.room {
        quotas(subject, &template, around.quotas.as_ref(), &mut said);
        nodes(subject, &template, around.nodes.as_ref(), &mut said);
    }
    let Said { well, wrong, unsure, beside } = said;
    let told = |first: Vec<String>, rest: &[Vec<String>]| {
        first.into_iter().chain(rest.iter().flatten().cloned()).collect::<Vec<_>>().join("; ")
    };
    if !wrong.is_empty() {
        return (ProbeResult::Failed, told(wrong, &[unsure, beside]));
    }
    if !unsure.is_empty() {
        return (ProbeResult::Unknown, told(unsure, &[beside]));
    }
    (ProbeResult::Passed, told(well, &[beside]))
}

/// What a template lacks, whatever is around it.
pub fn lacking(wanted: Wanted, replicas: Option<i32>, template: &Value) -> Vec<String> {
    let mut said = Said::default();
    by_itself(wanted, replicas, template, &mut said);
    said.wrong
}

fn by_itself(wanted: Wanted, known: Option<i32>, template: &Value, said: &mut Said) {
    images(wanted, template, said);
    if let (Some(least), Some(known)) = (wanted.replicas, known) {
        replicas(known, least, said);
    }
    if wanted.probes {
        probes(template, said);
    }
    if wanted.resources {
        resources(template, said);
    }
}

fn containers<'t>(template: &'t Value, kind: &str) -> &'t [Value] {
    list(&template["spec"][kind])
}

fn all_containers(template: &Value) -> impl Iterator<Item = &Value> {
    containers(template, "initContainers").iter().chain(containers(template, "containers"))
}

/// Containers that run as long as the pod does.
fn lasting(template: &Value) -> impl Iterator<Item = &Value> {
    all_containers(template).filter(|container| {
        container["restartPolicy"] == "Always"
            || containers(template, "containers").iter().any(|own| std::ptr::eq(own, *container))
    })
}

fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

/// `a, b and 3 more`
pub fn shown<T: AsRef<str>>(names: &[T]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let first = names.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn counted(number: impl Into<i128>, one: &str) -> String {
    let number = number.into();
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Going back has to change something.
fn differs(subject: &Subject, template: &Value, said: &mut Said) {
    let Some(stable) = &subject.stable else {
        said.unsure
            .push("the stable template is not kept: whether the new one differs cannot be told".into());
        return;
    };
    let stable = stable.value();
    if bare(template) == bare(&stable) {
        let restarted = !template["metadata"]["annotations"][RESTARTED].is_null();
        let how = if restarted { ": it only starts the pods anew" } else { ", by the digests of its images" };
        said.wrong.push(format!(
            "the new template is the same as stable{how}, and going back would change nothing: change it, or skip this check"
        ));
        return;
    }
    let images = |template: &Value| -> Vec<String> {
        all_containers(template)
            .map(|container| identity(container["image"].as_str().unwrap_or_default()).to_owned())
            .collect()
    };
    let (new, old) = (images(template), images(&stable));
    if new == old {
        said.well.push("the template differs from stable, its images do not".into());
        if let Some(image) = new.iter().find(|image| moves(image)) {
            said.beside.push(format!(
                "warning: stable names image {image} too, whose tag moves: going back may start what was left"
            ));
        }
    } else {
        said.well.push("images differ from stable's".into());
    }
}

/// A template without what makes no difference to what runs.
fn bare(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(RESTARTED);
        }
        metadata.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
    for list in ["initContainers", "containers"] {
        let containers = template.get_mut("spec").and_then(|spec| spec.get_mut(list)?.as_array_mut());
        for container in containers.into_iter().flatten() {
            if let Some(image) = container["image"].as_str().map(|image| identity(image).to_owned()) {
                container["image"] = Value::from(image);
            }
        }
    }
    template
}

fn images(wanted: Wanted, template: &Value, said: &mut Said) {
    let images: BTreeSet<&str> =
        all_containers(template).filter_map(|container| container["image"].as_str()).collect();
    let tagged: Vec<&str> = images.iter().copied().filter(|image| digest(image).is_none()).collect();
    if wanted.digests && !tagged.is_empty() {
        let (images, name) = (shown(&tagged), "name@sha256:...");
        said.wrong.push(format!("no digest in image {images}: write {name} (imageByDigest)"));
        return;
    }
    let moving: Vec<&str> = tagged.iter().copied().filter(|image| moves(image)).collect();
    if !moving.is_empty() {
        said.beside.push(format!(
            "warning: image {} has no tag but latest: it changes without a release, so pin it by digest",
            shown(&moving)
        ));
    }
    if tagged.is_empty() {
        said.well.push("images by digest".into());
    }
}

fn replicas(replicas: i32, least: i32, said: &mut Said) {
    if replicas < least {
        said.wrong.push(format!("{}, and minReplicas is {least}: have more", counted(replicas, "replica")));
    } else {
        said.well.push(counted(replicas, "replica"));
    }
}

fn probes(template: &Value, said: &mut Said) {
    let without = |probe: &str| -> Vec<&str> {
        lasting(template).filter(|container| container[probe].is_null()).map(name).collect()
    };
    let unready = without("readinessProbe");
    if !unready.is_empty() {
        said.wrong.push(format!("no readinessProbe in container {}: write one (probes)", shown(&unready)));
        return;
    }
    said.well.push("readinessProbes".into());
    let immortal = without("livenessProbe");
    if !immortal.is_empty() {
        said.beside.push(format!("no livenessProbe in container {}", shown(&immortal)));
    }
}

fn resources(template: &Value, said: &mut Said) {
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let whole = |kind: &str, resource: &str| of_container(&template["spec"], kind).contains_key(resource);
    for container in lasting(template) {
        for (kind, resource, field) in [
            ("requests", "cpu", "requests.cpu"),
            ("requests", "memory", "requests.memory"),
            ("limits", "memory", "limits.memory"),
        ] {
            if !of_container(container, kind).contains_key(resource) && !whole(kind, resource) {
                lacking.entry(field).or_default().push(name(container));
            }
        }
    }
    if lacking.is_empty() {
        said.well.push("requests and limits".into());
        return;
    }
    let words: Vec<String> = lacking
        .iter()
        .map(|(field, containers)| format!("{field} of container {}", shown(containers)))
        .collect();
    said.wrong.push(format!("not written: {} (resources)", words.join(", ")));
}

fn budget(
    subject: &Subject,
    template: &Value,
    budgets: Option<&Result<Vec<Value>, String>>,
    said: &mut Said,
) {
    let budgets = match budgets {
        Some(Ok(budgets)) => budgets,
        Some(Err(why)) => return said.unsure.push(why.clone()),
        None => return said.unsure.push("poddisruptionbudgets were not asked for".into()),
    };
    let labels: BTreeMap<String, String> =
        serde_json::from_value(template["metadata"]["labels"].clone()).unwrap_or_default();
    let selects = |budget: &&Value| {
        let selector = serde_json::from_value::<Labels>(budget["spec"]["selector"].clone());
        selector.is_ok_and(|selector| selector.match_these(&labels))
    };
    let names: Vec<&str> = budgets
        .iter()
        .filter(selects)
        .map(|budget| budget["metadata"]["name"].as_str().unwrap_or_default())
        .collect();
    match names.as_slice() {
        [] => said.wrong.push(
            "no PodDisruptionBudget selects the pods: make one, so that a drain leaves enough of them (podDisruptionBudget)"
                .into(),
        ),
        [one] => {
            said.well.push(format!("poddisruptionbudget {one}"));
            let spec = budgets.iter().find(selects).map(|budget| &budget["spec"]);
            if spec.is_some_and(|spec| lets_none_go(spec, subject.replicas)) {
                said.beside.push(format!(
                    "warning: poddisruptionbudget {one} lets no pod go: nodes cannot be drained"
                ));
            }
        }
        several => {
            said.well.push(format!("poddisruptionbudgets {}", shown(several)));
            said.beside.push("warning: with several budgets the API server evicts no pod".into());
        }
    }
}

fn lets_none_go(spec: &Value, replicas: i32) -> bool {
    let is = |value: &Value, number: i32, percent: &str| {
        value.as_i64().is_some_and(|pods| pods >= i64::from(number)) || *value == percent
    };
    let none = &spec["maxUnavailable"];
    *none == 0 || *none == "0%" || is(&spec["minAvailable"], replicas.max(1), "100%")
}

fn quotas(subject: &Subject, template: &Value, quotas: Option<&Result<Vec<Value>, String>>, said: &mut Said) {
    let quotas = match quotas {
        Some(Ok(quotas)) => quotas,
        Some(Err(why)) => return said.unsure.push(why.clone()),
        None => return said.unsure.push("resourcequotas were not asked for".into()),
    };
    let stable = subject.stable.as_ref().map(Template::value);
    let change = Change {
        template,
        stable: stable.as_ref(),
        surge: subject.surge.into(),
        replicas: subject.replicas.into(),
    };
    let more = counted(subject.surge, "more pod");
    let mut fits = 0;
    for one in quotas {
        let name = one["metadata"]["name"].as_str().unwrap_or_default();
        match quota(one, &change) {
            QuotaSays::Nothing => {}
            QuotaSays::Fits => fits += 1,
            QuotaSays::Full { resource, left, needed, grows } => {
                let grows = if grows { ", each asking for more than stable's" } else { "" };
                said.wrong.push(format!(
                    "resourcequota {name} has {resource} {left} left, and the run needs {needed} ({more} of maxSurge{grows}): raise it, or ask for less"
                ));
            }
            QuotaSays::Unsaid { resource } => said.beside.push(format!(
                "warning: resourcequota {name} counts {resource}, which the template does not say: no pod starts unless a LimitRange says it"
            )),
            QuotaSays::NotKnown { scope } => {
                said.beside.push(format!("resourcequota {name} was not looked at: its scope is {scope}"));
            }
        }
    }
    if fits > 0 {
        said.well.push(format!("{more} fit into {}", counted(fits, "resourcequota")));
    }
}

fn nodes(subject: &Subject, template: &Value, nodes: Option<&Result<Nodes, String>>, said: &mut Said) {
    let nodes = match nodes {
        Some(Ok(nodes)) => nodes,
        Some(Err(why)) => return said.unsure.push(why.clone()),
        None => return said.unsure.push("nodes were not asked for".into()),
    };
    let Fits { beside, instead, nodes: taking, of, most_left } = nodes.fits();
    let asked = listed(&nodes.asked());
    let left = || {
        let mut left = most_left.clone();
        left.remove("pods");
        left.retain(|name, _| nodes.asked().contains_key(name));
        if left.is_empty() { String::new() } else { format!(", at most {} is left on one", listed(&left)) }
    };
    let place = format!("{taking} of {}", counted(i128::try_from(of).unwrap_or_default(), "node"));
    if taking == 0 {
        said.wrong.push(format!(
            "no node of {of} takes such pods: it is not ready, cordoned, tainted, or not one that the template selects"
        ));
    } else if beside < i128::from(subject.surge) {
        said.wrong.push(format!(
            "room for {beside} of {} (maxSurge), each asking for {asked}: {place} take such pods{}; free some, or surge less",
            counted(subject.surge, "more pod"),
            left()
        ));
    } else if instead < i128::from(subject.replicas) {
        said.wrong.push(format!(
            "room for {instead} of {} when the old ones are gone, each asking for {asked}: {place} take such pods{}; ask for less, or free some",
            counted(subject.replicas, "replica"),
            left()
        ));
    } else {
        said.well.push(format!(
            "room on nodes for {}, {} needed, each asking for {asked} ({place} take such pods)",
            counted(beside, "more pod"),
            subject.surge
        ));
    }
    let spec = &template["spec"];
    let affinity = &spec["affinity"];
    let hard = "requiredDuringSchedulingIgnoredDuringExecution";
    let spreads = list(&spec["topologySpreadConstraints"])
        .iter()
        .any(|spread| spread["whenUnsatisfiable"] == "DoNotSchedule");
    if spreads || !affinity["podAntiAffinity"][hard].is_null() || !affinity["podAffinity"][hard].is_null() {
        said.beside.push("affinity among pods and spread over zones were not looked at".into());
    }
}
