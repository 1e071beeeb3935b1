//! What people do in a story: what they push, write and say, and how they help where status asks for somebody.
//!
//! When they do it is for the story, and for the player.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tidegate::decide::kept_name::template_name;
use tidegate::watch::slim::fingerprint;

use super::Player;
use crate::cluster::named;
use crate::server::store::kind_of;
use crate::server::{Who, requests};
use crate::story::{Conduct, Setup};
use crate::watchman::{Help, help, is_mended_by_a_push};
use crate::world::{NAMESPACE, TARGET, World};

/// What an owner's manifest says.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) template: Value,
    pub(super) strategy: Value,
}

impl Manifest {
    /// As fields of a Deployment's spec.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let Self { template, strategy } = self.clone();
        [("template", template), ("strategy", strategy)]
            .map(|(field, value)| (field.to_owned(), value))
            .into_iter()
            .collect()
    }
}

/// Somebody deletes the ControllerRevision of the version that is being released, while it stands there.
pub(super) fn delete_copy(world: &mut World, name: &str) {
    let Some(present) = world.deployment(name).map(|it| fingerprint(&it["spec"]["template"])) else { return };
    let status = world.status(name);
    let is_released = status["canary"]["fingerprint"] == present.as_str()
        && status["stable"]["fingerprint"] != present.as_str();
    if is_released {
        let copy = template_name(name, &present);
        world.delete(&Who::Person("owner"), "controllerrevisions", &named(&copy));
    }
}

impl Player<'_> {
    /// People do what status asks them to do: what may hold a Release until somebody does something is `watchman::held`.
    pub(super) fn help(&mut self, long: bool) {
        let shared = self.shared.clone();
        let mut world = shared.lock();
        for name in world.targets() {
            if self.hostile.contains_key(name) {
                continue;
            }
            if world.at_rest(name).is_err() || world.status(name)["blockedBy"]["reason"] == "PausedByOwner" {
                self.help_one(&mut world, name, long);
            }
        }
    }

    fn help_one(&mut self, world: &mut World, name: &'static str, long: bool) {
        look_after(world, name, long);
        world.check_held(name, long);
        let status = world.status(name);
        let is_under_way = !status["run"].is_null();
        let [reason, unblock] = ["reason", "unblock"]
            .map(|field| status["blockedBy"][field].as_str().unwrap_or_default().to_owned());
        if long && !is_under_way && is_mended_by_a_push(&reason) && self.mended.insert(name) {
            // What nobody undoes, because nothing else is known to be good, its owner mends.
            let mended = template(1000, Conduct::Good);
            world.write_target(name, "owner", |object| object["spec"]["template"] = mended);
            return;
        }
        match help(&reason, &unblock, long) {
            Some(Help::Unpause) => resume(world, name),
            Some(Help::Scale) => scale_up(world, name),
            Some(Help::Sign) => {
                for (who, role) in lacking(world, name) {
                    say_as(world, who, name, "Approve", Some(&role));
                }
            }
            Some(Help::Say(action)) => say(world, name, action, None),
            Some(Help::GiveUp) => {
                world.check_seen(name, &reason);
                say(world, name, "Abort", None);
            }
            Some(Help::HandBack) => {
                say(world, name, "HandBack", None);
                // And then one is pushed that starts.
                self.mended.remove(name);
            }
            Some(Help::Amend) => write_release(world, name, |spec| {
                spec["steps"] = json!([{"name": "all", "replicas": "100%"}])
            }),
            Some(Help::GoOn) => write_release(world, name, |spec| spec["suspend"] = json!(false)),
            None => {}
        }
    }
}

/// What an owner does with a Deployment that no run has, whatever its Release says: it gets replicas; and where nobody releases it any more, it is resumed.
fn look_after(world: &mut World, name: &str, long: bool) {
    let status = world.status(name);
    let is_under_way = !status["run"].is_null();
    let is_handed_back = !status["handedBack"].is_null();
    if !is_under_way {
        scale_up(world, name);
    }
    let is_nobodys = long && world.release(name).is_none();
    let is_paused = world.deployment(name).is_some_and(|it| it["spec"]["paused"] == true);
    if (is_handed_back || is_nobodys) && is_paused {
        resume(world, name);
    }
}

/// Where there are no replicas, there are some again.
fn scale_up(world: &mut World, name: &str) {
    if world.deployment(name).is_some_and(|it| it["spec"]["replicas"] == 0) {
        world.scale_target(name, 3);
    }
}

fn resume(world: &mut World, name: &str) {
    world.write_target(name, "owner", |object| object["spec"]["paused"] = json!(false));
}

/// Who signs where somebody has to.
const SIGNERS: [&str; 2] = ["alice", "bob"];

/// Who has not signed yet what the checks before the first pod ask for, and in which role. What is signed and counts is not signed again: where it is
/// not counted, nothing goes on.
fn lacking(world: &World, name: &str) -> BTreeSet<(&'static str, String)> {
    let Some(release) = world.release(name) else { return BTreeSet::new() };
    let asked = |check: &Value| -> Vec<(&'static str, String)> {
        let roles: Vec<&str> =
            check["approval"]["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let quorum = usize::try_from(check["approval"]["quorum"].as_u64().unwrap_or(1)).unwrap_or(1);
        // With several roles each in another one.
        let pairs = SIGNERS.into_iter().zip(roles.iter().cycle()).take(quorum);
        pairs.map(|(who, role)| (who, (*role).to_owned())).collect()
    };
    let run = &release["status"]["run"];
    // To the second; what was said before the run began is not about it.
    let second = |at: &Value| at.as_str().and_then(|at| at.get(..19)).unwrap_or_default().to_owned();
    let began = second(&run["startedAt"]);
    let counts = |one: &Value| one["voided"].is_null() && second(&one["at"]) >= began;
    let is_signed = |(who, role): &(&'static str, String)| {
        let mut signatures = run["signatures"].as_array().into_iter().flatten();
        signatures.any(|one| one["by"] == *who && one["role"] == role.as_str() && counts(one))
    };
    let checks = release["spec"]["preflight"].as_array();
    checks.into_iter().flatten().flat_map(asked).filter(|pair| !is_signed(pair)).collect()
}

/// A template of this version.
pub fn template(version: u32, conduct: Conduct) -> Value {
    let mut annotations = json!({"version": format!("v{version}")});
    match conduct {
        Conduct::Good => {}
        Conduct::Crash => annotations["crash"] = json!("true"),
        Conduct::Stuck => annotations["never-ready"] = json!("true"),
        Conduct::Missing => annotations["image-missing"] = json!("true"),
        Conduct::Errors => annotations["errors"] = json!("20"),
        Conduct::Late => annotations["errors-late"] = json!("20"),
    }
    json!({
        "metadata": {"labels": {"app": TARGET}, "annotations": annotations},
        "spec": {"containers": [{"name": "shop", "image": format!("shop:v{version}"), "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

/// Somebody writes a template, which is in the manifest from then on.
pub(super) fn push(
    world: &mut World,
    name: &str,
    who: &'static str,
    manifest: &mut Manifest,
    template: Value,
) {
    manifest.template = template.clone();
    world.write_target(name, who, |object| object["spec"]["template"] = template);
}

pub(super) fn make_deployment(world: &mut World, name: &str, setup: &Setup, manifest: &Manifest) {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"app": TARGET}},
        "spec": {
            "replicas": setup.replicas, "progressDeadlineSeconds": setup.deadline, "strategy": manifest.strategy,
            "selector": {"matchLabels": {"app": TARGET}}, "template": manifest.template,
        },
    });
    if setup.min_ready > 0 {
        object["spec"]["minReadySeconds"] = json!(setup.min_ready);
    }
    if let Some(kind) = kind_of("deployments") {
        drop(requests::create(world, &Who::Person("owner"), kind, NAMESPACE, object));
    }
}

pub(super) fn make_release(world: &mut World, name: &str, setup: &Setup) {
    let mut spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
    for (field, value) in setup.release.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    world.make(
        &Who::Person("owner"),
        "releases",
        NAMESPACE,
        json!({"metadata": {"name": name}, "spec": spec}),
    );
}

pub(super) fn write_release(world: &mut World, name: &str, change: impl FnOnce(&mut Value)) {
    let (Some(before), Some(kind)) = (world.release(name).cloned(), kind_of("releases")) else { return };
    let mut object = (**before).clone();
    change(&mut object["spec"]);
    if object["spec"]["preflight"] != before["spec"]["preflight"] {
        world.watchman.more_tries += 1;
    }
    drop(requests::update(world, &Who::Person("owner"), kind, &named(name), &before, object, false));
}

/// Somebody freezes everything, or lets it go on.
pub(super) fn freeze(world: &mut World, frozen: bool) {
    let (name, who) = ("stop", Who::Person("alice"));
    match frozen {
        true => {
            let object = json!({"metadata": {"name": name}, "spec": {"reason": "year end"}});
            world.make(&who, "freezes", "", object);
        }
        false => world.delete(&who, "freezes", &(String::new(), name.to_owned())),
    }
}

pub(super) fn say(world: &mut World, name: &str, action: &str, role: Option<&str>) {
    say_as(world, "alice", name, action, role);
}

pub(super) fn say_as(world: &mut World, who: &'static str, name: &str, action: &str, role: Option<&str>) {
    if matches!(action, "Retry") {
        world.watchman.more_tries += 1;
    }
    world.watchman.skipped |= action == "Skip";
    let mut spec = json!({"release": name, "action": action, "reason": "because"});
    if let Some(role) = role {
        spec["role"] = json!(role);
    }
    let object = json!({"metadata": {"generateName": "said-"}, "spec": spec});
    world.make(&Who::Person(who), "releaseactions", NAMESPACE, object);
}
