//! What is measured in the small world, and what a run makes of it: evidence that cuts a soak short, warm-up, and what a record holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::judge::{Revision, Settings, Slot, State, WARM_UP, fold};
use tidegate::decide::snapshot::Measured;
use tidegate::decide::values::{Found, Point, Sample};
use tidegate::decide::{definition, plan};
use tidegate::watch::slim;
use tidegate_sim::native::{Native, Pod};

use super::{World, template};

/// Requests of each Ready pod in a second, and the bad ones among those of the canary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    pub requests: u64,
    /// Of a canary pod.
    pub errors: u64,
    /// Of a canary pod: they take between half a second and two.
    pub slow: u64,
    /// Of a canary pod that is warming up, besides.
    pub slow_at_first: u64,
    /// Errors of a stable pod.
    pub stable_errors: u64,
    /// Of a canary pod: nobody can tell whether they failed.
    pub untold: u64,
}

/// Who reads all that, once a second.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// `None`: nothing is counted.
    pub traffic: Option<Traffic>,
    /// What it is counted with; empty: with what is asked for.
    pub definition: String,
    /// Why nothing can be counted.
    pub trouble: Option<String>,
    /// What other criteria read, every five seconds.
    pub numbers: BTreeMap<&'static str, Result<Found, String>>,
    /// Stable pods that do not answer, of those that are Ready.
    pub silent: usize,
    slots: Vec<Slot>,
    missing: Vec<(i64, u32)>,
    stable_missing: Vec<(i64, u32)>,
    samples: Vec<Sample>,
}

impl Meters {
    /// All that was read so far.
    pub fn read(&mut self, native: &Native, stable: &str) -> Measured {
        let now = native.now.as_second();
        let is_canary = |pod: &Pod| {
            let set = native.sets.iter().find(|set| set.name == pod.set);
            set.is_some_and(|set| slim::fingerprint(&set.template) != stable)
        };
        let ready: Vec<&Pod> = native
            .pods
            .iter()
            .filter(|pod| pod.ready_since.is_some() && pod.terminating_since.is_none())
            .collect();
        let silent: Vec<&str> = ready
            .iter()
            .filter(|pod| !is_canary(pod))
            .map(|pod| pod.name.as_str())
            .take(self.silent)
            .collect();
        if let Some(traffic) = self.traffic
            && self.slots.last().is_none_or(|last| last.t < now - 1)
        {
            let answers = ready.iter().filter(|pod| !silent.contains(&pod.name.as_str()));
            self.slots.extend(answers.map(|pod| slot(pod, is_canary(pod), traffic, now - 1)));
            if !silent.is_empty() {
                self.stable_missing.push((now, u32::try_from(silent.len()).unwrap()));
            }
        }
        let canaries = ready.iter().filter(|pod| is_canary(pod)).count();
        if self.trouble.is_some() && canaries > 0 && self.missing.last().is_none_or(|(last, _)| *last < now) {
            self.missing.push((now, u32::try_from(canaries).unwrap()));
        }
        if self.samples.last().is_none_or(|last| last.t + 5 <= now) {
            self.samples.extend(self.numbers.iter().map(|(criterion, found)| Sample {
                t: now,
                criterion: (*criterion).to_owned(),
                definition: String::new(),
                every: 5,
                blameless: canaries == 0,
                found: found.clone(),
            }));
        }
        Measured {
            definition: self.definition.clone(),
            // Status has counted in what is older.
            slots: self.slots.iter().filter(|slot| slot.t > now - 120).cloned().collect(),
            history: Arc::default(),
            missing: self.missing.clone(),
            stable_missing: self.stable_missing.clone(),
            values: self.samples.clone(),
            source: "requests from http_requests_total".to_owned(),
            query: "GET :8080/metrics of each pod".to_owned(),
            trouble: self.trouble.clone(),
        }
    }
}

fn slot(pod: &Pod, is_canary: bool, traffic: Traffic, t: i64) -> Slot {
    let Traffic { requests, errors, slow, slow_at_first, stable_errors, untold } = traffic;
    let warm = pod.ready_since.is_some_and(|since| since.as_second() + WARM_UP <= t);
    let slow = if !is_canary {
        0
    } else if warm {
        slow
    } else {
        slow + slow_at_first
    };
    let bucket = |(bound, count): (&str, u64)| (bound.parse().unwrap(), count);
    Slot {
        t,
        revision: if is_canary { Revision::Canary } else { Revision::Stable },
        pod: pod.name.clone(),
        requests,
        errors: if is_canary { errors } else { stable_errors },
        untold: if is_canary { untold } else { 0 },
        le: [
            ("0.1", requests - slow - requests / 20),
            ("0.5", requests - slow),
            ("2", requests),
            ("+Inf", requests),
        ]
        .map(bucket)
        .into(),
        warming: is_canary && !warm,
    }
}

/// One step of half the pods with a long soak, and no watch to speak of.
fn spec(criteria: Value, step: Value) -> Value {
    let mut half = json!({"name": "half", "replicas": "50%", "soak": "30m"});
    half.as_object_mut().unwrap().extend(step.as_object().unwrap().clone());
    json!({
        "steps": [half, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
        "criteria": criteria,
    })
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn errors() -> Value {
    json!([{"name": "errors", "errorRate": {"limit": "5%"}}])
}

fn begun(criteria: Value, step: Value, traffic: Traffic) -> World {
    let mut world = World::new(4, rolling(), spec(criteria, step));
    world.meters.traffic = Some(traffic);
    world.pass(Duration::from_secs(3));
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world
}

fn is_over(world: &World) -> bool {
    world.status.last_run.is_some()
}

/// Seconds that the step's pods stood before the next one began.
fn stood(world: &World) -> i64 {
    let record = world.reports.values().next().expect("a record");
    let step = &record.steps[0];
    step.left.0.as_second() - step.reached.expect("reached").0.as_second()
}

#[test]
fn evidence_cuts_a_soak_short_after_a_minute_where_the_step_says_so() {
    let good = Traffic { requests: 100, ..Traffic::default() };
    let mut world = begun(errors(), json!({"advanceEarly": true}), good);
    world.until("the end", is_over);
    assert!((60..=61).contains(&stood(&world)), "{} s {}", stood(&world), world.describe());

    // A soak is a minimum where nothing else is said.
    let mut world = begun(errors(), json!({}), good);
    world.pass(Duration::from_secs(90));
    assert_eq!((world.phase().as_str(), is_over(&world)), ("Soaking", false), "{}", world.describe());
}

#[test]
fn a_soak_is_not_cut_short_while_a_criterion_does_not_pass_or_none_measures_anything() {
    let early = json!({"advanceEarly": true});
    // Too few requests for a pass within the soak, none at all for a pod's being Ready.
    let few = Traffic { requests: 1, ..Traffic::default() };
    let strict = json!([{"name": "errors", "errorRate": {"limit": "0.1%"}}]);
    let ready = json!([{"name": "ready", "availability": {"limit": "90%"}}]);
    for (criteria, traffic) in [(strict, few), (ready, Traffic { requests: 100, ..Traffic::default() })] {
        let mut world = begun(criteria, early.clone(), traffic);
        world.pass(Duration::from_secs(90));
        assert_eq!((world.phase().as_str(), is_over(&world)), ("Soaking", false), "{}", world.describe());
    }
    // What only notifies is not waited for.
    let two = json!([
        {"name": "errors", "errorRate": {"limit": "5%"}},
        {"name": "told", "errorRate": {"limit": "0.001%", "onLimit": "Notify"}},
    ]);
    let mut world = begun(two, early, Traffic { requests: 100, ..Traffic::default() });
    world.until("the end", is_over);
    assert!((60..=61).contains(&stood(&world)), "{} s {}", stood(&world), world.describe());
}

#[test]
fn what_is_passed_over_at_a_deadline_is_told_once_and_not_before_the_step_is_left() {
    let unread = json!([{"name": "errors", "errorRate": {"limit": "5%", "onUnknown": "Promote"}}]);
    let step = json!({"soak": "5s", "deadline": "20s", "approval": {"roles": ["qa"]}});
    let mut world = begun(unread, step, Traffic::default());
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held", |world| blocked(world).as_deref() == Some("NotEnoughEvidence"));
    world.until("its deadline", |world| blocked(world).as_deref() == Some("AwaitingApproval"));
    let told = |world: &World| -> Vec<String> {
        let told = world.notices.iter().filter(|notice| notice.reason == "PromotedUnknown");
        told.map(|notice| notice.note.clone()).collect()
    };
    world.pass(Duration::from_secs(60));
    assert_eq!(told(&world), Vec::<String>::new());
    world.say_of("Approve", json!({"role": "qa"}));
    world.until("the next step", |world| world.status.run.as_ref().is_some_and(|run| run.step == 1));
    world.pass(Duration::from_secs(60));
    let told = told(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("step half was left after its deadline with a criterion Unknown: errors: "),
        "{told:?}"
    );
}

#[test]
fn whoever_has_only_just_begun_to_look_goes_back_on_nothing_unknown_and_disturbs_nobody() {
    let criteria = json!([{"name": "errors", "errorRate": {"limit": "5%", "onUnknown": "Undo"}}]);
    let step = json!({"soak": "5s", "deadline": "20s", "approval": {"roles": ["qa"]}});
    let good = Traffic { requests: 200, ..Traffic::default() };
    let mut world = begun(criteria, step, good);
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("it passes", |world| blocked(world).as_deref() == Some("AwaitingApproval"));
    world.pass(Duration::from_secs(60));
    // An hour later another process looks, and has counted nothing yet.
    world.now += Duration::from_secs(3600);
    world.begin_anew();
    world.meters.traffic = None;
    for _ in 0..50 {
        world.tick();
        assert_eq!(blocked(&world).as_deref(), Some("AwaitingApproval"), "{}", world.describe());
    }
    // Somebody approves: it reads the pods first.
    world.say_of("Approve", json!({"role": "qa"}));
    world.pass(Duration::from_secs(5));
    assert_eq!(
        (world.phase(), world.status.run.as_ref().unwrap().step),
        ("Soaking".to_owned(), 0),
        "{}",
        world.describe()
    );
    world.meters.traffic = Some(good);
    world.until("the next step", |world| world.status.run.as_ref().is_some_and(|run| run.step == 1));
}

#[test]
fn what_is_slow_while_it_warms_up_is_not_compared_with_stable_and_what_stays_slow_is() {
    let slower =
        || json!([{"name": "slower", "latency": {"quantile": 0.95, "relativeTo": "stable", "limit": "50%"}}]);
    let cold = Traffic { requests: 100, slow_at_first: 60, ..Traffic::default() };
    let mut world = begun(slower(), json!({"soak": "60s"}), cold);
    world.pass(Duration::from_secs(10));
    let verdict = world.status.verdicts[0].clone();
    assert_eq!((verdict.verdict.as_str(), verdict.reason.as_str()), ("Unknown", "WarmingUp"), "{verdict:?}");
    assert!(verdict.message.contains("are not compared with stable's"), "{}", verdict.message);
    world.until("the end", is_over);
    assert_eq!(
        format!("{:?}", world.status.last_run.as_ref().unwrap().outcome),
        "Succeeded",
        "{}",
        world.describe()
    );

    let slow = Traffic { requests: 100, slow: 60, ..Traffic::default() };
    let mut world = begun(slower(), json!({"soak": "60s"}), slow);
    world.until("the end", is_over);
    let last = world.status.last_run.clone().unwrap();
    assert_eq!(format!("{:?}", last.outcome), "Undone", "{}", world.describe());
    let seconds = last.ended_at.0.as_second() - last.started_at.0.as_second();
    assert!((30..50).contains(&seconds), "{seconds} s");
}

#[test]
fn errors_while_it_warms_up_count_against_a_fixed_limit() {
    let bad = Traffic { requests: 100, errors: 50, ..Traffic::default() };
    let mut world = World::new(4, rolling(), spec(errors(), json!({})));
    world.meters.traffic = Some(bad);
    world.pass(Duration::from_secs(3));
    world.push(template("v2", false));
    world.until("the end", is_over);
    let last = world.status.last_run.clone().unwrap();
    assert_eq!(format!("{:?}", last.outcome), "Undone", "{}", world.describe());
    let seconds = last.ended_at.0.as_second() - last.started_at.0.as_second();
    assert!(seconds < 15, "{seconds} s");
}

#[test]
fn requests_without_a_status_are_no_good_ones_and_latency_is_judged_all_the_same() {
    let criteria = || {
        json!([
            {"name": "errors", "errorRate": {"limit": "5%"}},
            {"name": "latency", "latency": {"quantile": 0.95, "limit": "500ms"}},
        ])
    };
    let traffic = |untold| Traffic { requests: 100, untold, ..Traffic::default() };
    let mut world = begun(criteria(), json!({"soak": "5s"}), traffic(100));
    world.pass(Duration::from_secs(60));
    let said: Vec<(&str, &str)> = world
        .status
        .verdicts
        .iter()
        .map(|verdict| (verdict.verdict.as_str(), verdict.reason.as_str()))
        .collect();
    assert_eq!(said[0], ("Unknown", "MissingData"), "{}", world.describe());
    assert_eq!(said[1].0, "Pass", "{}", world.describe());
    let step = world.status.run.as_ref().map(|run| run.step);
    assert_eq!(step, Some(0), "{}", world.describe());

    // Few of them are left out.
    let mut world = begun(criteria(), json!({"soak": "5s"}), traffic(10));
    world.until("the end", is_over);
    let outcome = format!("{:?}", world.status.last_run.as_ref().unwrap().outcome);
    assert_eq!(outcome, "Succeeded", "{}", world.describe());
}

#[test]
fn what_was_counted_with_other_metrics_says_nothing_once_they_are_changed() {
    let approved = json!({"soak": "5s", "approval": {"roles": ["qa"]}});
    let mut world = begun(errors(), approved, Traffic { requests: 200, ..Traffic::default() });
    let said = |world: &World| {
        let verdict = &world.status.verdicts[0];
        (verdict.verdict.clone(), verdict.have)
    };
    world.until("it passes", |world| said(world).0 == "Pass");
    let before = definition::of_sampling(world.sampling.as_ref().expect("it is measured"));
    world.meters.definition.clone_from(&before);
    world.pass(Duration::from_secs(10));
    assert_eq!(said(&world).0, "Pass", "it is the same: {}", world.describe());

    // The pages of before are still read, and say nothing any more.
    world.release.as_mut().unwrap()["metrics"] =
        json!({"requests": {"name": "calls", "statusLabel": "result"}});
    world.pass(Duration::from_secs(30));
    assert_eq!(said(&world), ("Unknown".to_owned(), 0), "{}", world.describe());
    let after = definition::of_sampling(world.sampling.as_ref().expect("it is measured"));
    assert_ne!(after, before);
    world.meters.definition = after;
    world.until("it passes again", |world| said(world).0 == "Pass");
}

/// Evidence of a record, criterion by criterion.
fn recorded(world: &World) -> BTreeMap<String, Value> {
    let record = json!(world.reports.values().next().expect("a record"));
    let all = record["evidence"].as_array().cloned().unwrap_or_default();
    all.into_iter().map(|one| (one["criterion"].as_str().unwrap_or_default().to_owned(), one)).collect()
}

#[test]
fn a_record_holds_all_that_each_verdict_rests_on() {
    let criteria = json!([
        {"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}},
        {"name": "latency", "latency": {"quantile": 0.99, "target": "500ms", "limit": "2s"}},
        {"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "100%"}},
        {"name": "slower", "latency": {"quantile": 0.95, "relativeTo": "stable", "limit": "50%"}},
        {"name": "backlog", "value": {"json": {"url": "http://shop/stats?key=k-4711", "pointer": "/queue"}, "limit": "value > 100"}},
        {"name": "ready", "availability": {"limit": "90%"}},
        {"name": "restarts", "restarts": {"limit": 1}},
    ]);
    for errors in [0, 30] {
        let mut world = World::new(4, rolling(), spec(criteria.clone(), json!({"soak": "120s"})));
        world.meters.traffic = Some(Traffic { requests: 100, errors, ..Traffic::default() });
        let found = Found { points: vec![Point { series: String::new(), value: 7.0 }], ..Found::default() };
        world.meters.numbers.insert("backlog", Ok(found));
        world.pass(Duration::from_secs(3));
        world.push(template("v2", false));
        world.until("the end", is_over);
        let wanted = if errors == 0 { ("Succeeded", "Pass") } else { ("Undone", "Breach") };
        let outcome = format!("{:?}", world.status.last_run.as_ref().unwrap().outcome);
        let evidence = recorded(&world);
        assert_eq!(
            (outcome.as_str(), evidence["errors"]["verdict"].as_str().unwrap()),
            wanted,
            "{evidence:#?}"
        );
        for (name, one) in &evidence {
            let always = ["verdict", "reason", "message", "limit", "source", "settle"];
            let of_requests = [
                "query",
                "window",
                "interval",
                "value",
                "canary",
                "stable",
                "tests",
                "dividedBy",
                "evidence",
            ];
            let of_numbers = ["window", "value", "evidence"];
            let more: &[&str] = match name.as_str() {
                // On the way back it may not have been compared at all.
                "worse" | "slower" if errors > 0 => {
                    &["query", "window", "canary", "stable", "tests", "evidence"]
                }
                "errors" | "latency" | "worse" | "slower" => &of_requests,
                // As short as the run was, it was not read three times.
                _ => &of_numbers,
            };
            for part in always.iter().chain(more) {
                let is_there = !one[*part].is_null() && one[*part] != json!("") && one[*part] != json!([]);
                assert!(is_there, "{name} has no {part}: {one:#}");
            }
            if name == "latency" {
                assert_eq!(one["bounds"], json!(["limit 2", "target 0.5", "pass 2"]), "{one:#}");
            }
            // What decides beside the comparison with stable.
            let beside = match name.as_str() {
                "worse" => "above what is ignored",
                "slower" => "above its quantile",
                _ => "worse than stable",
            };
            if one["canary"]["requests"].as_i64().is_some_and(|requests| requests > 0) && errors == 0 {
                let tests = one["tests"].as_array().unwrap();
                assert!(tests.iter().any(|test| test["of"] == beside), "{name}: {one:#}");
            }
            if ["errors", "latency"].contains(&name.as_str()) {
                assert_eq!(one["tests"].as_array().unwrap().len(), 3, "{one:#}");
            }
        }
        let suspicion = &evidence["errors"]["suspicion"];
        assert_eq!(suspicion.is_null() || suspicion["bad"] == json!(0), errors == 0, "{suspicion}");
        assert_eq!(evidence["backlog"]["counted"], "samples");
        // A record is handed on: a key in the query does not go with it.
        assert_eq!(evidence["backlog"]["source"], "http://shop/stats, /queue");
        assert!(!json!(evidence).to_string().contains("k-4711"), "{evidence:#?}");
    }
}

#[test]
fn what_status_remembers_of_a_run_is_what_a_replay_of_its_slots_gives_byte_for_byte() {
    let all = json!([
        {"name": "errors", "errorRate": {"target": "1%", "limit": "20%"}},
        {"name": "latency", "latency": {"quantile": 0.99, "target": "500ms", "limit": "2s"}},
        {"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "100%", "ignoreBelow": "10%"}},
    ]);
    let mut world = begun(
        all.clone(),
        json!({}),
        Traffic { requests: 40, errors: 1, slow_at_first: 5, ..Traffic::default() },
    );
    // Each look knows what status says and nothing else; some die before they have written all.
    for look in 0..30 {
        world.dies_after = (look % 3 == 0).then_some(0);
        world.pass(Duration::from_secs(2 + look % 5));
    }
    let criteria = serde_json::from_value(json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}, "criteria": all,
    }))
    .unwrap();
    let criteria = plan::measuring(&criteria).unwrap().criteria;
    let live = serde_json::to_value(&world.status.run.as_ref().unwrap().judge).unwrap();
    let (first, last) = (live["firstSlot"].as_i64().unwrap(), live["lastSlot"].as_i64().unwrap());
    assert!(last - first > 90, "{live}");
    let slots: Vec<Slot> =
        world.meters.slots.iter().filter(|slot| (first..=last).contains(&slot.t)).cloned().collect();
    let mut replayed = State::default();
    replayed.read_with(live["definition"].as_str().unwrap());
    fold(&criteria, &mut replayed, &slots, &Settings::default());
    assert_eq!(live.to_string(), serde_json::to_value(&replayed).unwrap().to_string());
}
