//! Rules about the Deployment: its images, its strategy, its pods' readiness, and how many they are.

use serde_json::Value;

use super::spec::texts;
use super::{Found, Subject, placeholder};
use crate::api::release::{Downtime, Pilot};
use crate::decide::images::{moves, of_template};
use crate::decide::workload::{Wanted, lacking};

/// The containers of a template of pods, those that come first before the others, each with its path.
pub fn containers(template: &Value) -> impl Iterator<Item = (String, &Value)> {
    ["initContainers", "containers"].into_iter().flat_map(move |list| {
        let all = template["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        let path = move |index| format!("spec.template.spec.{list}[{index}]");
        all.iter().enumerate().map(move |(index, container)| (path(index), container))
    })
}

/// An image says which one it is.
pub fn images(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    for (path, container) in containers(workload.template) {
        if let Some(image) = container["image"].as_str().filter(|image| moves(image)) {
            let problem = format!(
                "image {image} has no tag but latest: it changes without a release, and going back starts it again"
            );
            found.add(
                format!("{path}.image"),
                problem,
                "pin it by digest (name@sha256:...) or by a tag that is never moved",
            );
        }
    }
}

/// Going back starts other images than those that are left. Told of images that may have been pushed anew.
pub fn same_image(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    let images = of_template(workload.template);
    if !workload.stable_images.is_empty()
        && images == workload.stable_images
        && images.iter().any(|image| moves(image))
    {
        let problem = "stable and new template name the same images by tags that move: going back may start what was left";
        found.add("spec.template.spec.containers", problem, "pin images by digest");
    }
}

/// Users go without only when that was said.
pub fn downtime(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    match (workload.recreate, subject.spec.downtime) {
        (true, None) => {
            let problem =
                "the Deployment's strategy is Recreate: there is no pod between the old ones and the new";
            found.add("spec.downtime", problem, "write downtime: Accepted, or the strategy RollingUpdate");
        }
        (false, Some(Downtime::Accepted)) => {
            let problem = "downtime is accepted, and the Deployment's strategy has none";
            found.add("spec.downtime", problem, "leave it out");
        }
        (true, Some(Downtime::Accepted)) | (false, None) => {}
    }
}

/// Nothing in the template stands for something that was to be written.
pub fn placeholders(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    for (path, container) in containers(workload.template) {
        let mut see = |field: &str, text: &str| {
            if let Some(word) = placeholder(text) {
                found.add(field, format!("'{word}' stands for something"), "write what is meant");
            }
        };
        texts(&format!("{path}.image"), &container["image"], &mut see);
        texts(&format!("{path}.env"), &container["env"], &mut see);
    }
}

/// What the Release checks of the Deployment before the first pod, it has.
pub fn checked(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    for (index, check) in subject.spec.preflight.iter().enumerate() {
        let Some(written) = &check.workload else { continue };
        let lacking = lacking(Wanted::of(written), workload.replicas, workload.template);
        if !lacking.is_empty() {
            let problem = format!("this check fails: {}", lacking.join("; "));
            found.add(format!("spec.preflight[{index}].workload"), problem, "");
        }
    }
}

/// A share of one pod is all of it.
pub fn one_replica(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    let shares = subject.spec.steps.is_empty() || subject.spec.steps.len() > 1;
    if workload.replicas == Some(1) && !workload.recreate && shares {
        let problem = "the Deployment has one replica: a step of any share is all of it";
        found.add("spec.steps", problem, "have more replicas, or one step of 100%");
    }
}

/// Somebody asks a pod whether it can serve.
pub fn readiness(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    let all = workload.template["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !all.is_empty() && all.iter().all(|container| container["readinessProbe"].is_null()) {
        let problem = "no container has a readinessProbe: a pod counts as Ready before it can serve";
        found.add("spec.template.spec.containers", problem, "write one");
    }
}

/// Pilots that a step waits for can be there.
pub fn pilots(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    let node_selector = &workload.template["spec"]["nodeSelector"];
    let own_labels = &workload.template["metadata"]["labels"];
    for (index, step) in subject.spec.steps.iter().enumerate() {
        let Some(Pilot { nodes, pods, at_least: _ }) = &step.pilot else { continue };
        for (field, wanted, chosen, place) in [
            ("nodes", nodes, node_selector, "spec.nodeSelector"),
            ("pods", pods, own_labels, "metadata.labels"),
        ] {
            let wanted = wanted.iter().flat_map(|labels| &labels.match_labels);
            for (label, value) in wanted {
                let Some(other) = chosen[label].as_str().filter(|other| other != value) else { continue };
                let problem =
                    format!("no pod can be one: {place} of the template says {label}: {other}, not {value}");
                found.add(
                    format!("spec.steps[{index}].pilot.{field}.matchLabels.{label}"),
                    problem,
                    "write the same in both, or leave one out",
                );
            }
        }
    }
}

/// A trial pod finds a place beside the pods that serve.
pub fn trial(subject: &Subject<'_>, found: &mut Found) {
    let Some(workload) = subject.workload else { return };
    let spec = &workload.template["spec"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has_node_port = spec["hostNetwork"] == true
        || containers(workload.template).any(|(_, container)| {
            list(&container["ports"])
                .iter()
                .any(|port| port["hostPort"].as_i64().is_some_and(|port| port > 0))
        });
    let has_claim = list(&spec["volumes"]).iter().any(|volume| !volume["persistentVolumeClaim"].is_null());
    let problem = if has_node_port {
        "the Deployment's pods take ports of their nodes: a trial pod starts only where a node without one takes it"
    } else if has_claim && workload.recreate {
        "the trial pod shares a PersistentVolumeClaim with the pods that serve: ReadWriteOncePod keeps it from starting, and so does \
         ReadWriteOnce on another node"
    } else {
        return;
    };
    for (index, check) in subject.spec.preflight.iter().enumerate() {
        if check.http.as_ref().is_some_and(|http| http.pod_path.is_some()) {
            found.add(format!("spec.preflight[{index}].http.podPath"), problem, "ask at a step instead");
        }
    }
}
