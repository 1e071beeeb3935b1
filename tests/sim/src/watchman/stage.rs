//! A world for stories about the watchman itself: what is wrong is said, and what is right is not.

use serde_json::{Value, json};
use tidegate::api::RELEASE_LABEL;
use tidegate::watch::slim::fingerprint;

use crate::cluster::named;
use crate::play::template;
use crate::server::Who;
use crate::story::{Conduct, Setup};
use crate::world::{NAMESPACE, TARGET, World};

/// The operator that leads.
pub const OPERATOR: Who = Who::Operator(0);
/// Whose Deployment it is.
pub const OWNER: Who = Who::Person("owner");

/// Version 1 is stable, and all its pods are there. `release`: what its Release says.
pub fn world(release: &Value) -> World {
    let mut world = World::new(&Setup::default());
    let labels = json!({"app": TARGET, RELEASE_LABEL: TARGET});
    let spec = json!({"replicas": 4, "selector": {"matchLabels": {"app": TARGET}}, "template": version(1)});
    world.make(
        &OWNER,
        "deployments",
        NAMESPACE,
        json!({"metadata": {"name": TARGET, "labels": labels}, "spec": spec}),
    );
    world.begin_ready();
    let uid = world.deployment(TARGET).map(|it| it["metadata"]["uid"].clone());
    let status =
        json!({"targetUid": uid, "phase": "Idle", "stable": {"fingerprint": fingerprint(&version(1))}});
    world.make(
        &OWNER,
        "releases",
        NAMESPACE,
        json!({"metadata": {"name": TARGET}, "spec": release, "status": status}),
    );
    world
}

/// The template of a version.
pub fn version(number: u32) -> Value {
    template(number, Conduct::Good)
}

/// Somebody writes the Deployment, and no policy changes what they write.
pub fn write(world: &mut World, who: &Who, change: impl FnOnce(&mut Value)) {
    write_to(world, who, "deployments", change);
}

/// The operator writes status.
pub fn tell(world: &mut World, change: impl FnOnce(&mut Value)) {
    write_to(world, &OPERATOR, "releases", |release| {
        let revision = release["status"]["revision"].as_i64().unwrap_or(0);
        release["status"]["revision"] = json!(revision + 1);
        change(&mut release["status"]);
    });
}

fn write_to(world: &mut World, who: &Who, plural: &'static str, change: impl FnOnce(&mut Value)) {
    let before = world.store.get(plural, &named(TARGET)).cloned().expect("it is there");
    let mut after = (**before).clone();
    change(&mut after);
    world.commit(who, plural, named(TARGET), Some(&before), after);
}

/// What the watchman has said of one invariant.
pub fn said(world: &World, invariant: &str) -> usize {
    world.watchman.violations.iter().filter(|violation| violation.starts_with(invariant)).count()
}
