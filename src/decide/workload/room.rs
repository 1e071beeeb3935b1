//! Whether pods of a template fit: into ResourceQuotas, and onto nodes.
//!
//! Nodes: what each can give, less what the pods on it ask for; all new pods ask for the same, so how many fit is a division. Looked at
//! are readiness, cordons, taints, nodeSelector and required node affinity. Affinity among pods, spread over zones, volumes and ports of
//! nodes are not: a scheduler that knows them may find less room. Nor is anybody pushed out by priority.

use std::collections::BTreeMap;

use serde_json::Value;

use super::quantity::{Amounts, amounts, in_words};

/// More pods than these on one node are not told apart.
const MOST_PODS: i128 = 1_000_000;
/// The resource that counts pods.
const PODS: &str = "pods";

/// What a pod of this spec asks for (`kind`: `requests`) or may take (`limits`), as the scheduler and quotas count it: its containers
/// and sidecars together, or whatever its most demanding init container needs, and its overhead.
pub fn of_pod(spec: &Value, kind: &str) -> Amounts {
    let mut sum = Amounts::new();
    for container in list(&spec["containers"]) {
        add(&mut sum, &of_container(container, kind));
    }
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in list(&spec["initContainers"]) {
        let own = of_container(container, kind);
        if container["restartPolicy"] == "Always" {
            add(&mut sidecars, &own);
            raise(&mut most, &sidecars);
        } else {
            let mut with_sidecars = own;
            add(&mut with_sidecars, &sidecars);
            raise(&mut most, &with_sidecars);
        }
    }
    add(&mut sum, &sidecars);
    raise(&mut sum, &most);
    // What is said of the pod as a whole counts instead.
    sum.extend(asked_for(&spec["resources"], kind));
    if kind == "requests" {
        add(&mut sum, &amounts(&spec["overhead"]));
    }
    sum
}

/// What one container asks for or may take.
pub fn of_container(container: &Value, kind: &str) -> Amounts {
    asked_for(&container["resources"], kind)
}

/// A limit stands for a request that is not written.
fn asked_for(resources: &Value, kind: &str) -> Amounts {
    let mut all = amounts(&resources[kind]);
    if kind == "requests" {
        for (name, amount) in amounts(&resources["limits"]) {
            all.entry(name).or_insert(amount);
        }
    }
    all
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_default();
        *known = known.saturating_add(*amount);
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let known = most.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

/// `cpu 500m, memory 256Mi`
pub fn listed(amounts: &Amounts) -> String {
    let words: Vec<String> =
        amounts.iter().map(|(name, amount)| format!("{name} {}", in_words(name, *amount))).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// The nodes that take pods of a template, and what is left on them.
#[derive(Clone, Debug)]
pub struct Nodes {
    spec: Value,
    asked: Amounts,
    /// Those that take such pods: what is left, and of it what the Deployment's own pods hold.
    places: BTreeMap<String, (Amounts, Amounts)>,
    seen: usize,
}

/// How many pods fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fits {
    /// Beside all that is there.
    pub beside: i128,
    /// When the Deployment's own pods are gone.
    pub instead: i128,
    /// Nodes that take such pods, of those there are.
    pub nodes: usize,
    pub of: usize,
    /// For each resource, the most that is left on one of these nodes.
    pub most_left: Amounts,
}

impl Nodes {
    /// No node yet, for pods of this template.
    pub fn of(template: &Value) -> Self {
        let mut asked = of_pod(&template["spec"], "requests");
        asked.retain(|_, amount| *amount > 0);
        asked.insert(PODS.to_owned(), 1000);
        Self { spec: template["spec"].clone(), asked, places: BTreeMap::new(), seen: 0 }
    }

    /// Takes a node in. All nodes come before the first pod.
    pub fn see_node(&mut self, node: &Value) {
        self.seen += 1;
        if takes(node, &self.spec) {
            let mut left = amounts(&node["status"]["allocatable"]);
            left.retain(|name, _| self.asked.contains_key(name));
            let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.places.insert(name, (left, Amounts::new()));
        }
    }

    /// Takes a pod in, wherever it is. `own`: it is one of the Deployment's.
    pub fn see_pod(&mut self, pod: &Value, own: bool) {
        let Some(node) = pod["spec"]["nodeName"].as_str() else { return };
        let Some((left, held)) = self.places.get_mut(node) else { return };
        if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return;
        }
        let mut taken = of_pod(&pod["spec"], "requests");
        taken.insert(PODS.to_owned(), 1000);
        for (name, amount) in left.iter_mut() {
            let taken = taken.get(name).copied().unwrap_or_default();
            *amount = amount.saturating_sub(taken);
            if own {
                let held = held.entry(name.clone()).or_default();
                *held = held.saturating_add(taken);
            }
        }
    }

    /// What a pod of the template asks for.
    pub fn asked(&self) -> Amounts {
        let mut asked = self.asked.clone();
        asked.remove(PODS);
        asked
    }

    /// How many pods of the template fit.
    pub fn fits(&self) -> Fits {
        let on = |left: &dyn Fn(&str) -> i128| {
            let each = self.asked.iter().map(|(name, amount)| left(name).max(0) / amount);
            each.min().unwrap_or(0).min(MOST_PODS)
        };
        let get = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or_default();
        let mut fits = Fits {
            beside: 0,
            instead: 0,
            nodes: self.places.len(),
            of: self.seen,
            most_left: Amounts::new(),
        };
        for (left, held) in self.places.values() {
            fits.beside += on(&|name| get(left, name));
            fits.instead += on(&|name| get(left, name).saturating_add(get(held, name)));
            let mut left = left.clone();
            left.values_mut().for_each(|amount| *amount = (*amount).max(0));
            raise(&mut fits.most_left, &left);
        }
        fits
    }
}

/// Whether a node takes pods of this spec at all.
fn takes(node: &Value, spec: &Value) -> bool {
    let conditions = list(&node["status"]["conditions"]);
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let tolerates = |taint: &Value| {
        let harmless = !matches!(taint["effect"].as_str(), Some("NoSchedule" | "NoExecute"));
        harmless || list(&spec["tolerations"]).iter().any(|toleration| is_tolerated(taint, toleration))
    };
    let labels = &node["metadata"]["labels"];
    let mut selected = spec["nodeSelector"].as_object().into_iter().flatten();
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(&required["nodeSelectorTerms"]);
    node["spec"]["unschedulable"] != true
        && ready.is_none_or(|ready| ready["status"] == "True")
        && list(&node["spec"]["taints"]).iter().all(tolerates)
        && selected.all(|(key, value)| labels[key] == *value)
        && (required.is_null() || terms.iter().any(|term| fits_term(node, term)))
}

/// The items of a list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_tolerated(taint: &Value, toleration: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    let is_value = toleration["operator"] == "Exists" || text(&toleration["value"]) == text(&taint["value"]);
    (key.is_empty() && toleration["operator"] == "Exists" || key == text(&taint["key"]))
        && (effect.is_empty() || effect == text(&taint["effect"]))
        && is_value
}

/// A term without a rule is true of no node.
fn fits_term(node: &Value, term: &Value) -> bool {
    let (labels, fields) = (list(&term["matchExpressions"]), list(&term["matchFields"]));
    let label = |rule: &Value| {
        let key = rule["key"].as_str().unwrap_or_default();
        node["metadata"]["labels"][key].as_str()
    };
    let name = node["metadata"]["name"].as_str();
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|rule| fits_rule(label(rule), rule))
        && fields.iter().all(|rule| rule["key"] == "metadata.name" && fits_rule(name, rule))
}

fn fits_rule(found: Option<&str>, rule: &Value) -> bool {
    let is_one_of = |found: &str| list(&rule["values"]).iter().any(|value| value == found);
    let compared = || Some(found?.parse::<i64>().ok()?.cmp(&rule["values"][0].as_str()?.parse().ok()?));
    match rule["operator"].as_str() {
        Some("In") => found.is_some_and(is_one_of),
        Some("NotIn") => !found.is_some_and(is_one_of),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some("Gt") => compared().is_some_and(std::cmp::Ordering::is_gt),
        Some("Lt") => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

/// What a run does to a quota.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub template: &'a Value,
    pub stable: Option<&'a Value>,
    /// Pods that are added.
    pub surge: i128,
    /// Pods that are exchanged.
    pub replicas: i128,
}

/// What a ResourceQuota says to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaSays {
    /// It does not count such pods.
    Nothing,
    Fits,
    /// Its resource, what is left of it, what the run needs, and whether a pod of the new template takes more than one of stable.
    Full {
        resource: String,
        left: String,
        needed: String,
        grows: bool,
    },
    /// It counts what the template does not say.
    Unsaid {
        resource: String,
    },
    /// Its scope is one that is not known here.
    NotKnown {
        scope: String,
    },
}

/// Holds what a run adds against a ResourceQuota.
pub fn quota(quota: &Value, change: &Change<'_>) -> QuotaSays {
    let spec = &change.template["spec"];
    let of =
        |template: Option<&Value>, kind| template.map(|it| of_pod(&it["spec"], kind)).unwrap_or_default();
    let new = ["requests", "limits"].map(|kind| of(Some(change.template), kind));
    let old = ["requests", "limits"].map(|kind| of(change.stable, kind));
    let best_effort = new.iter().flat_map(Amounts::keys).all(|name| name != "cpu" && name != "memory");
    match in_scope(quota, spec, best_effort) {
        Ok(true) => {}
        Ok(false) => return QuotaSays::Nothing,
        Err(scope) => return QuotaSays::NotKnown { scope },
    }
    let hard = match &quota["status"]["hard"] {
        Value::Null => amounts(&quota["spec"]["hard"]),
        hard => amounts(hard),
    };
    let used = amounts(&quota["status"]["used"]);
    let mut says = QuotaSays::Nothing;
    for (resource, hard) in &hard {
        let of_one = |amounts: &[Amounts; 2]| match resource.as_str() {
            "pods" | "count/pods" => Some(1000),
            "cpu" | "memory" | "ephemeral-storage" => amounts[0].get(resource).copied(),
            other => match (other.strip_prefix("requests."), other.strip_prefix("limits.")) {
                (Some(name), _) => amounts[0].get(name).copied(),
                (None, Some(name)) => amounts[1].get(name).copied(),
                (None, None) => None,
            },
        };
        let Some(each) = of_one(&new) else {
            // Of what is not cpu and memory, a pod that says nothing takes nothing.
            if ["cpu", "memory"].iter().any(|name| resource.split('.').next_back() == Some(name)) {
                return QuotaSays::Unsaid { resource: resource.clone() };
            }
            continue;
        };
        let growth = match change.stable {
            Some(_) => each.saturating_sub(of_one(&old).unwrap_or_default()).max(0),
            None => 0,
        };
        let left = hard.saturating_sub(used.get(resource).copied().unwrap_or_default()).max(0);
        let needed = each.saturating_mul(change.surge).saturating_add(growth.saturating_mul(change.replicas));
        if needed > left {
            let words = |amount| in_words(resource, amount);
            let resource = resource.clone();
            return QuotaSays::Full {
                resource: resource.clone(),
                left: words(left),
                needed: words(needed),
                grows: growth > 0,
            };
        }
        says = QuotaSays::Fits;
    }
    says
}

/// Whether a quota counts such pods. `Err`: a scope that is not known here.
fn in_scope(quota: &Value, spec: &Value, best_effort: bool) -> Result<bool, String> {
    let class = spec["priorityClassName"].as_str();
    let plain = list(&quota["spec"]["scopes"]).iter().map(|scope| (scope, "Exists", None));
    let selected = list(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    let selected = selected
        .iter()
        .map(|rule| (&rule["scopeName"], rule["operator"].as_str().unwrap_or_default(), Some(rule)));
    for (scope, operator, rule) in plain.chain(selected) {
        let counts = match (scope.as_str().unwrap_or_default(), operator) {
            // A Deployment's pods have no end of their own.
            ("Terminating", "Exists") => false,
            ("NotTerminating", "Exists") => true,
            ("BestEffort", "Exists") => best_effort,
            ("NotBestEffort", "Exists") => !best_effort,
            ("PriorityClass", "Exists") => class.is_some(),
            ("PriorityClass", _) => rule.is_some_and(|rule| fits_rule(class, rule)),
            (other, _) => return Err(other.to_owned()),
        };
        if !counts {
            return Ok(false);
        }
    }
    Ok(true)
}
