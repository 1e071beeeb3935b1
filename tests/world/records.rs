//! Records of runs: their chain, and which of them stay.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::report::Link;
use tidegate::cli::report::chain::{Newest, Record, Walked, walk};
use tidegate::decide::Intent;

use super::{World, template};

fn quick(reports: Value) -> Value {
    json!({"steps": [{"name": "all", "replicas": "100%"}], "watch": [{"for": "1s", "every": "1s"}], "reports": reports})
}

fn world(reports: Value) -> World {
    World::new(2, json!({"type": "RollingUpdate"}), quick(reports))
}

/// So many good versions, one after the other.
fn ship(world: &mut World, versions: std::ops::RangeInclusive<i64>) {
    for number in versions {
        world.push(template(&format!("v{}", number + 1), false));
        world.until(&format!("the end of run {number}"), |world| {
            world.status.last_run.as_ref().is_some_and(|last| last.number >= number)
        });
    }
    world.pass(Duration::from_secs(2));
}

fn walked(world: &World) -> Walked {
    let records: Vec<Record> =
        world.reports.iter().map(|(name, report)| Record::of(name.clone(), &json!(report))).collect();
    let reports = world.status.reports.clone().unwrap();
    let newest = Newest {
        release_uid: "r".into(),
        name: reports.kept.last().unwrap().name.clone(),
        digest: reports.digest,
    };
    walk("shop", &records, Some(&newest))
}

fn runs(world: &World) -> Vec<String> {
    let mut runs: Vec<(i64, String)> = world
        .reports
        .values()
        .map(|report| (report.ended_at.0.as_millisecond(), report.run.clone()))
        .collect();
    runs.sort();
    runs.into_iter().map(|(_, run)| run).collect()
}

#[test]
fn each_record_carries_its_own_digest_and_that_of_the_one_before() {
    let mut world = world(json!({}));
    ship(&mut world, 1..=3);
    let told = walked(&world);
    assert!(!told.broken && told.text.contains("the first"), "{}", told.text);
    let of = |run: &str| world.reports.iter().find(|(_, report)| report.run == run).unwrap();
    let (first, one) = of("r1");
    let (_, two) = of("r2");
    assert_eq!(one.chain.previous, None);
    assert_eq!(two.chain.previous, Some(Link { report: first.clone(), digest: one.chain.digest.clone() }));
    assert_eq!(one.chain.digest.len(), 64);

    // A record that was changed, one that is missing in the middle, and the newest one gone.
    let name = first.clone();
    let mut other = world.copy();
    other.reports.get_mut(&name).unwrap().message = "all went well".into();
    let told = walked(&other);
    assert!(told.broken && told.text.contains("its content is not what was written"), "{}", told.text);
    for (run, said) in
        [("r2", "is missing, and there are older ones"), ("r3", "the newest record by status is missing")]
    {
        let mut other = world.copy();
        other.reports.retain(|_, report| report.run != run);
        let told = walked(&other);
        assert!(told.broken && told.text.contains(said), "{}", told.text);
    }
    // The oldest may be removed.
    let mut other = world.copy();
    other.reports.remove(&name);
    let told = walked(&other);
    assert!(!told.broken && told.text.contains("which was removed with all before it"), "{}", told.text);
}

#[test]
fn a_record_that_was_put_in_the_place_of_another_with_a_digest_that_fits_it_is_found() {
    let mut world = world(json!({}));
    ship(&mut world, 1..=2);
    for run in ["r1", "r2"] {
        let mut forged = world.copy();
        let report = forged.reports.values_mut().find(|report| report.run == run).unwrap();
        report.message = "all went well".into();
        report.chain.digest = tidegate::api::digest::of_record(&json!(report));
        let told = walked(&forged);
        assert!(told.broken, "{run}: {}", told.text);
    }
}

#[test]
fn records_beyond_the_count_are_removed_the_oldest_first() {
    let mut world = world(json!({"keep": 2}));
    ship(&mut world, 1..=4);
    assert_eq!(runs(&world), ["r3", "r4"]);
    let told = walked(&world);
    assert!(!told.broken, "{}", told.text);
    assert_eq!(world.status.reports.as_ref().unwrap().kept.len(), 2);
}

#[test]
fn a_run_ends_whether_or_not_old_records_can_be_removed() {
    let mut world = world(json!({"keep": 1}));
    ship(&mut world, 1..=1);
    world.push(template("v3", false));
    let (mut ended, mut removed) = (None, None);
    for look in 0..600 {
        world.quiet_tick();
        for intent in world.look().intents {
            match intent {
                Intent::KeepReport { .. } => ended = Some(look),
                Intent::DropReport { .. } => removed = Some(look),
                _ => {}
            }
        }
    }
    assert!(ended.is_some() && removed > ended, "{ended:?} {removed:?}");
}

#[test]
fn records_that_are_too_old_are_removed_but_never_the_newest() {
    let mut world = world(json!({"for": "60s"}));
    ship(&mut world, 1..=2);
    world.pass(Duration::from_secs(30));
    ship(&mut world, 3..=3);
    assert_eq!(runs(&world), ["r1", "r2", "r3"]);
    world.pass(Duration::from_secs(40));
    assert_eq!(runs(&world), ["r3"], "{}", world.describe());
    world.pass(Duration::from_secs(70));
    assert_eq!(runs(&world), ["r3"]);
}

#[test]
fn twenty_are_kept_where_nothing_is_said_and_fewer_later_are_removed_a_few_at_a_time() {
    let mut world = world(json!({}));
    ship(&mut world, 1..=21);
    assert_eq!(runs(&world).len(), 20);
    world.release.as_mut().unwrap()["reports"] = json!({"for": "soon"});
    world.pass(Duration::from_secs(5));
    assert_eq!(runs(&world).len(), 20, "what cannot be read removes nothing");
    world.release.as_mut().unwrap()["reports"] = json!({"keep": 1});
    let removes = |intent: &&Intent| matches!(intent, Intent::DropReport { .. });
    assert_eq!(world.look().intents.iter().filter(removes).count(), 4);
    world.pass(Duration::from_secs(5));
    assert_eq!(runs(&world), ["r21"]);
    let writes = world.status_writes;
    world.pass(Duration::from_secs(10));
    assert_eq!(world.status_writes, writes, "at rest nothing is written");
}

fn questionable(world: &World) -> Option<(String, String)> {
    let condition = world.status.conditions.iter().find(|condition| condition.type_ == "Questionable")?;
    Some((condition.reason.clone(), condition.message.clone()))
}

#[test]
fn what_contradicts_itself_is_a_condition_that_costs_no_write_of_its_own() {
    let mut world = world(json!({}));
    world.pass(Duration::from_secs(2));
    let (reason, message) = questionable(&world).expect("criteria: [] enforces nothing");
    assert_eq!(reason, "Contradictions");
    assert!(
        message.contains("spec.criteria: there is no limit") && message.contains("readinessProbe"),
        "{message}"
    );
    let writes = world.status_writes;
    world.pass(Duration::from_secs(20));
    assert_eq!(world.status_writes, writes);

    // The same image under another annotation, by a tag that moves.
    let mut moving = template("v2", false);
    moving["spec"]["containers"][0]["image"] = json!("shop");
    world.push(moving.clone());
    world.until("the end of run 1", |world| world.status.last_run.is_some());
    moving["metadata"]["annotations"]["version"] = json!("v3");
    world.push(moving);
    world.until("run 2", |world| world.status.run.is_some());
    let (_, message) = questionable(&world).unwrap();
    assert!(message.contains("stable and new template name the same images"), "{message}");
}
