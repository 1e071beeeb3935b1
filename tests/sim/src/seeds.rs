//! Stories from seeds: worlds of every shape, people and machines at their worst, and a network that fails.

mod calendar;
mod copies;
mod early;
mod failing;
mod for_good;
mod hostile;
mod leading;
mod migrations;
mod others;
mod out;
mod throughout;
mod tried;
mod unread;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tidegate::api::notify;

use crate::cluster::{GRACE, TOLERATED};
use crate::dice::Dice;
use crate::network::Fault;
use crate::outside::FLAGS_HOST;
use crate::pages::GAUGE;
use crate::prometheus::{HOST, LIES};
use crate::story::{Conduct, Event, ROLE, Setup, Story};
use crate::world::{FLAGS, Flags, NODES, Pages, Receivers, TARGETS};

/// Seconds after which pods on a node that is not heard from are deleted.
const DELETED: u64 = (GRACE + TOLERATED) / 1000;

/// All that people can be told of.
static EVERYTHING: LazyLock<Vec<String>> = LazyLock::new(|| {
    // Those that are explained are alternatives of their own, the others a list.
    fn named(schema: &Value, found: &mut Vec<String>) {
        for alternative in schema["oneOf"].as_array().into_iter().flatten() {
            named(alternative, found);
        }
        let names = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
        found.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }
    let mut found = Vec::new();
    named(schemars::schema_for!(notify::Event).as_value(), &mut found);
    found
});

/// The story of a seed.
pub fn story(seed: u64) -> Story {
    let mut dice = Dice::new(seed, 0);
    let setup = setup(&mut dice);
    let events = events(&mut dice, &setup);
    let faults = faults(&mut dice);
    let mut story = Story { setup, events, faults, ..Story::default() };
    people(&mut Dice::new(seed, 1), &mut story);
    beside(&mut Dice::new(seed, 2), &mut story);
    room(&mut Dice::new(seed, 3), &mut story);
    prometheus(&mut Dice::new(seed, 4), &mut story);
    traffic(&mut Dice::new(seed, 5), &mut story);
    beside_an_undo(&mut Dice::new(seed, 6), &mut story);
    more_faults(&mut Dice::new(seed, 7), &mut story);
    leading::troubled(&mut Dice::new(seed, 8), &mut story);
    forgetting(&mut Dice::new(seed, 9), &mut story);
    autoscaler(&mut Dice::new(seed, 10), &mut story);
    missing_images(&mut Dice::new(seed, 11), &mut story);
    long_silences(&mut Dice::new(seed, 12), &mut story);
    flapping(&mut Dice::new(seed, 13), &mut story);
    drains(&mut Dice::new(seed, 14), &mut story);
    clocks(&mut Dice::new(seed, 15), &mut story);
    calendar::calendar(&mut Dice::new(seed, 20), &mut story);
    leading::deleted(&mut Dice::new(seed, 21), &mut story);
    hostile::hostile(&mut Dice::new(seed, 22), &mut story);
    leading::behind(&mut Dice::new(seed, 23), &mut story);
    migrations::migrations(&mut Dice::new(seed, 24), &mut story);
    tried::tried(&mut Dice::new(seed, 25), &mut story);
    for_good::for_good(&mut Dice::new(seed, 26), &mut story);
    early::early(&mut Dice::new(seed, 27), &mut story);
    leading::together(&mut Dice::new(seed, 28), &mut story);
    copies::copies(&mut Dice::new(seed, 29), &mut story);
    throughout::throughout(&mut Dice::new(seed, 30), &mut story);
    failing::failing(&mut Dice::new(seed, 31), &mut story);
    unread::unread(&mut Dice::new(seed, 32), &mut story);
    out::out(&mut Dice::new(seed, 34), &mut story);
    // Last: what the others look for is what they take over.
    others::others(&mut Dice::new(seed, 33), &mut story);
    story
}

/// Nodes that are full, or nearly.
fn room(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(8) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    let replicas = i64::from(story.setup.replicas);
    for _ in 0..dice.between(1, 3) {
        let room = match dice.below(4) {
            0 => 0,
            1 => dice.between(1, replicas),
            _ => replicas + dice.between(0, 2),
        };
        story.events.push((dice.below(end + 1), Event::Room(usize::try_from(room).unwrap_or(0))));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// A server that counts for the pods, and does not always tell the truth.
fn prometheus(dice: &mut Dice, story: &mut Story) {
    if !measures(&story.setup) || dice.once_in(3) {
        return;
    }
    let interval = *dice.pick(&["2s", "5s", "5s", "15s"]);
    story.setup.release["metrics"] =
        json!({"prometheus": {"url": format!("http://{HOST}:9090"), "scrapeInterval": interval}});
    if dice.once_in(3) {
        let gauge = json!({"name": "queue", "value": {"podGauge": {"name": GAUGE}, "limit": "value > 100"}});
        story.setup.release["criteria"].as_array_mut().into_iter().for_each(|all| all.push(gauge.clone()));
    }
    let end = story.events.last().map_or(0, |(at, _)| *at) + 60_000;
    let mut at = 0;
    for _ in 0..dice.below(5) {
        at += dice.below(end / 2);
        story.events.push((at, Event::Prometheus(*dice.pick(&LIES))));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// What is done beside the way back and after it, and those who are asked to do it.
fn beside_an_undo(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(8) {
        return;
    }
    let mut hooks = Vec::new();
    if !dice.once_in(3) {
        hooks.push(json!({"name": "flag", "http": {"method": "PUT", "url": format!("http://{FLAGS_HOST}/new"), "body": "off"}}));
    }
    if dice.once_in(2) {
        hooks.push(json!({"name": "map", "configMap": {"name": FLAGS, "key": "new", "value": "off"}}));
    }
    if dice.once_in(3) {
        let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c"}]}});
        hooks.push(
            json!({"name": "dump", "job": {"template": {"spec": {"backoffLimit": 0, "template": pod}}}}),
        );
    }
    let mut undo = json!({
        "hooks": hooks,
        "evidence": {"pods": dice.below(4), "logLines": 20},
        "budget": "10m",
        "phases": {"execution": "30s", "validation": "1m"},
    });
    if dice.once_in(2) {
        undo["validate"] = json!({"for": *dice.pick(&["5s", "20s"])});
        if dice.once_in(2) {
            undo["validate"]["checks"] = json!([{"name": "smoke", "http": {"podPath": "/healthz"}}]);
        }
    }
    if dice.once_in(2) {
        undo["quarantine"] = json!({"pods": dice.between(1, 3), "for": *dice.pick(&["5s", "20s", "1m"])});
    }
    for (field, value) in undo.as_object().into_iter().flatten() {
        story.setup.release["undo"][field] = value.clone();
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.below(3) {
        let flags =
            [Flags::Honest, Flags::Down, Flags::Slow, Flags::Hanging, Flags::Failing, Flags::Refusing];
        story.events.push((dice.below(end + 1), Event::Flags(*dice.pick(&flags))));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// Traffic that rises and falls, where it is counted.
fn traffic(dice: &mut Dice, story: &mut Story) {
    if !measures(&story.setup) || dice.once_in(2) {
        return;
    }
    let pods = u64::from(story.setup.replicas.unsigned_abs());
    story.setup.traffic = (0..dice.between(1, 4)).map(|_| pods * *dice.pick(&[0, 10, 40, 40, 120])).collect();
}

/// People who are told, and do not always listen.
fn people(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(5) {
        return;
    }
    let mut audiences =
        vec![json!({"name": "team", "webhook": {"url": "https://team.example/hook"}, "events": *EVERYTHING})];
    if dice.once_in(2) {
        let events = json!(["AwaitingApproval", "Held", "Undoing", "Undone", "Aborted", "Rejected"]);
        audiences.push(json!({"name": "duty", "pagerDuty": {"secret": "duty"}, "events": events}));
    }
    if dice.once_in(3) {
        audiences.push(json!({"name": "later", "slack": {"secret": "slack"}, "after": *dice.pick(&["5s", "1m"]), "events": ["AwaitingApproval", "Held"]}));
    }
    story.setup.release["notify"] = json!(audiences);
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.below(4) {
        let receivers = *dice.pick(&[
            Receivers::Honest,
            Receivers::Failing,
            Receivers::Failing,
            Receivers::Refusing,
            Receivers::Hanging,
            Receivers::Answerless,
        ]);
        story.events.push((dice.below(end + 1), Event::Receivers(receivers)));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// Other Releases in the namespace, that want the same lock.
fn beside(dice: &mut Dice, story: &mut Story) {
    if story.setup.replicas > 10 || !dice.once_in(12) {
        return;
    }
    story.setup.beside = *dice.pick(&[1, 1, 2]);
    if !dice.once_in(4) {
        story.setup.release["locks"] = json!(["db"]);
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    let setup = story.setup.clone();
    for name in TARGETS.into_iter().skip(1).take(setup.beside) {
        let mut version = 1;
        for index in 0..dice.between(1, 4) {
            // Of those that begin at the same time who is first is told by a write.
            let at =
                if dice.once_in(2) { story.events[0].0 + dice.below(20) } else { dice.below(end + 5_000) };
            let event = match dice.below(8) {
                _ if index == 0 => push(dice, &mut version),
                0 => Event::Say("Abort", None),
                1 => scale(dice, &setup),
                2 => Event::DeleteRelease,
                3 => Event::Apply,
                4 => say(dice, &["Pause", "Resume", "Retry"]),
                _ => push(dice, &mut version),
            };
            let is_gone = event == Event::DeleteRelease;
            story.events.push((at, Event::Beside(name, Box::new(event))));
            if is_gone {
                story
                    .events
                    .push((at + dice.below(20_000), Event::Beside(name, Box::new(Event::MakeRelease))));
            }
        }
    }
    story.events.sort_by_key(|(at, _)| *at);
}

fn setup(dice: &mut Dice) -> Setup {
    // A hundred pods take a hundred times as long as one, and do little that ten do not.
    let replicas = match dice.below(500) {
        0 => dice.between(101, 500),
        1..=9 => dice.between(21, 100),
        _ => *dice.pick(&[1, 1, 2, 3, 4, 5, 7, 10, 10, 16, 20]),
    };
    // A Lease renewed every two seconds is most of what happens in a story.
    let candidates = *dice.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    Setup {
        replicas: i32::try_from(replicas).unwrap_or(1),
        strategy: strategy(dice),
        min_ready: *dice.pick(&[0, 0, 0, 1, 5]),
        deadline: *dice.pick(&[30, 30, 60, 60, 60, 60, 60, 600]),
        release: release(dice, candidates > 0),
        ready_after: *dice.pick(&[100, 500, 1000, 1500, 4000, 20_000]),
        policies: !dice.once_in(4),
        candidates,
        leaders: 1,
        beside: 0,
        traffic: Vec::new(),
        page: 0,
        refuses_old: false,
        early: false,
        autoscaler: None,
        clocks: Vec::new(),
    }
}

fn strategy(dice: &mut Dice) -> Value {
    if dice.once_in(20) {
        return json!({"type": "Recreate"});
    }
    let amount = |dice: &mut Dice, least: i64| match dice.below(2) {
        0 => json!(dice.between(least, 4)),
        _ => json!(format!("{}%", dice.pick(&[1, 10, 25, 25, 34, 50, 100]))),
    };
    let surge = if dice.once_in(3) { json!(0) } else { amount(dice, 1) };
    let unavailable = if surge == json!(0) || dice.once_in(2) { amount(dice, 1) } else { json!(0) };
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// `short`: renewing a Lease every two seconds, or reading pages every second, is too much for hours. Of the others few are long: what
/// happens while nothing happens is soon known.
fn release(dice: &mut Dice, short: bool) -> Value {
    let long = !short && dice.once_in(40);
    let soak = |dice: &mut Dice| {
        json!(if long { *dice.pick(&["1m", "5m", "20m"]) } else { *dice.pick(&["2s", "5s", "10s", "30s"]) })
    };
    let steps = match dice.below(4) {
        0 => {
            json!([{"name": "pilot", "replicas": 1, "soak": soak(dice)}, {"name": "half", "replicas": "50%", "soak": soak(dice)}])
        }
        1 => {
            json!([{"name": "tenth", "replicas": "10%", "soak": soak(dice)}, {"name": "all", "replicas": "100%"}])
        }
        2 => {
            json!([{"name": "some", "replicas": 3}, {"name": "most", "replicas": "80%", "soak": soak(dice)}, {"name": "all", "replicas": "100%", "soak": "3s"}])
        }
        _ => json!([{"name": "all", "replicas": "100%"}]),
    };
    let mut release = json!({
        "steps": steps,
        "criteria": [],
        "watch": [{"for": *dice.pick(if long { &["1m", "10m"] } else { &["3s", "20s"] }), "every": "1s"}],
    });
    if dice.once_in(6) {
        // Measured: short soaks, since it is looked at every second.
        release["criteria"] = json!([{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}]);
        release["steps"] = json!([{"name": "pilot", "replicas": 1, "soak": "20s"}, {"name": "half", "replicas": "50%", "soak": "20s"}]);
        release["watch"] = json!([{"for": "30s", "every": "5s"}]);
    }
    match dice.below(10) {
        0 | 1 => release["capture"] = json!("Paused"),
        2 => release["capture"] = json!("React"),
        _ => {}
    }
    let mut checks = Vec::new();
    if dice.once_in(4) {
        checks.push(json!({"name": "backup", "job": job(dice.once_in(4))}));
    }
    if dice.once_in(5) {
        checks.push(json!({"name": "sign-off", "approval": {"roles": [ROLE]}}));
    }
    if !checks.is_empty() {
        release["preflight"] = json!(checks);
    }
    if dice.once_in(5) {
        release["undo"] = json!({"capacity": *dice.pick(&["MitigateFirst", "CapacityFirst"])});
    }
    if dice.once_in(4) {
        release["onDelete"] = json!("Finish");
    }
    release
}

/// A Job that is tried once, and fails or does not.
fn job(fails: bool) -> Value {
    let annotations = if fails { json!({"fails": "true"}) } else { json!({}) };
    let pod = json!({"metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c"}]}});
    json!({"template": {"spec": {"backoffLimit": 0, "template": pod}}})
}

/// Whether the Releases have criteria.
fn measures(setup: &Setup) -> bool {
    setup.release["criteria"].as_array().is_some_and(|all| !all.is_empty())
}

fn events(dice: &mut Dice, setup: &Setup) -> Vec<(u64, Event)> {
    let mut at = 0;
    let mut version = 1;
    let mut all = Vec::new();
    // Most stories are short and dense; some spread over hours.
    let short = measures(setup) || setup.candidates > 0;
    let gap = match dice.below(100) {
        0 if !short => 1_200_000,
        1..=4 if !short => 90_000,
        _ => *dice.pick(&[1_500, 6_000, 6_000, 20_000]),
    };
    let most = *dice.pick(&[4, 4, 4, 4, 6, 6, 6, 12]);
    for index in 0..dice.between(2, most) {
        at += dice.below(gap) + 20;
        let event = if index == 0 { push(dice, &mut version) } else { event(dice, &mut version, setup) };
        all.push((at, event));
        match all.last() {
            Some((_, Event::DeleteRelease)) => all.push((at + dice.below(20_000), Event::MakeRelease)),
            Some((_, Event::DeleteDeployment)) => all.push((at + dice.below(20_000), Event::MakeDeployment)),
            // A storm: an autoscaler that does not know what it wants.
            Some((_, Event::Scale(_))) if dice.once_in(4) => {
                for _ in 0..dice.between(2, 5) {
                    at += dice.below(3_000);
                    all.push((at, scale(dice, setup)));
                }
            }
            Some(_) | None => {}
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn push(dice: &mut Dice, version: &mut u32) -> Event {
    let conduct = *dice.pick(&[
        Conduct::Good,
        Conduct::Good,
        Conduct::Good,
        Conduct::Crash,
        Conduct::Stuck,
        Conduct::Errors,
    ]);
    if dice.once_in(4) {
        // One that has been there before.
        let again = u32::try_from(dice.below(u64::from(*version))).unwrap_or(0) + 1;
        return Event::Push(again, Conduct::Good);
    }
    *version += 1;
    Event::Push(*version, conduct)
}

fn scale(dice: &mut Dice, setup: &Setup) -> Event {
    let most = i64::from(setup.replicas) * 2;
    Event::Scale(match dice.below(5) {
        0 => 0,
        1 => 1,
        _ => i32::try_from(dice.between(1, most)).unwrap_or(1),
    })
}

fn say(dice: &mut Dice, actions: &[&'static str]) -> Event {
    let action: &&'static str = dice.pick(actions);
    Event::Say(action, None)
}

fn event(dice: &mut Dice, version: &mut u32, setup: &Setup) -> Event {
    match dice.below(40) {
        0..=7 => push(dice, version),
        8 => Event::Apply,
        9 => Event::ApplyServerSide(!dice.once_in(3)),
        10..=13 => scale(dice, setup),
        14 => Event::Say("Abort", None),
        15 => say(dice, &["Pause", "Resume", "Retry", "Skip", "ClearRejection"]),
        16 => Event::Say("Approve", Some(ROLE)),
        17 => say(dice, &["HandBack", "Reject", "Pause"]),
        18 => Event::Pause(true),
        19 => Event::Pause(false),
        20 if dice.once_in(2) => Event::Edit(strategy(dice)),
        20 => Event::Set(fields(dice)),
        21 if dice.once_in(3) => Event::Suspend(dice.once_in(2)),
        21 => Event::Amend(amendment(dice)),
        22 => Event::DeleteRelease,
        23 => Event::DeleteDeployment,
        24 | 25 => Event::Lose(
            usize::try_from(dice.between(1, 3)).unwrap_or(1),
            dice.below(120) + 1,
            dice.once_in(2),
        ),
        26 => Event::Clock(*dice.pick(&[-3600, -30, 5, 40, 7200])),
        27 => Event::Pages(*dice.pick(&[Pages::Honest, Pages::Silent, Pages::Nonsense, Pages::Stuck])),
        28..=31 => Event::Kill(u32::try_from(dice.below(6)).unwrap_or(0)),
        32 => Event::Restart,
        33 | 34 => Event::CutOff(dice.below(40) + 1),
        35 => Event::DropWatches,
        36 => Event::HoldWatches(dice.below(8_000)),
        37 => Event::Compact,
        38 => Event::Replay(usize::try_from(dice.below(10)).unwrap_or(1)),
        _ => Event::Sleep(dice.below(6_000)),
    }
}

/// What people write into the other fields that a run borrows.
fn fields(dice: &mut Dice) -> Value {
    match dice.below(3) {
        0 => json!({"minReadySeconds": *dice.pick(&[0, 1, 10])}),
        1 => json!({"progressDeadlineSeconds": *dice.pick(&[30, 120])}),
        _ => json!({"minReadySeconds": 2, "progressDeadlineSeconds": 45, "strategy": strategy(dice)}),
    }
}

/// What people write into a Release, whatever it is doing: what cannot be carried out too.
fn amendment(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => json!({"steps": [{"name": "all", "replicas": "100%"}]}),
        1 => {
            json!({"steps": [{"name": "few", "replicas": 2, "soak": "3s"}, {"name": "most", "replicas": "70%", "soak": "5s"}]})
        }
        2 => json!({"steps": [{"name": "most", "replicas": "80%"}, {"name": "few", "replicas": "10%"}]}),
        3 => json!({"capture": *dice.pick(&["Paused", "React", "Policy"])}),
        4 => json!({"undo": {"capacity": *dice.pick(&["MitigateFirst", "CapacityFirst"])}}),
        5 => json!({"onDelete": *dice.pick(&["Finish", "Undo"])}),
        6 => json!({"preflight": [{"name": "second", "approval": {"roles": [ROLE]}}]}),
        _ => json!({"watch": [{"for": "5s", "every": "1s"}]}),
    }
}

fn faults(dice: &mut Dice) -> BTreeMap<u64, Fault> {
    let many = *dice.pick(&[0, 0, 2, 5, 20]);
    (0..many).map(|_| (dice.below(120) + 1, fault(dice))).collect()
}

fn fault(dice: &mut Dice) -> Fault {
    match dice.below(8) {
        0 => Fault::Failed,
        1 => Fault::Lost,
        2 | 3 => Fault::Answerless,
        4 => Fault::Swallowed,
        5 => Fault::Late(dice.below(14_000)),
        6 => Fault::Conflict,
        _ => Fault::Throttled(0),
    }
}

/// Faults long after the beginning too, and servers that say for how long they are too busy.
fn more_faults(dice: &mut Dice, story: &mut Story) {
    if dice.once_in(4) {
        let many = *dice.pick(&[5, 20]);
        story.faults.extend((0..many).map(|_| (dice.below(280) + 121, fault(dice))));
    }
    for fault in story.faults.values_mut() {
        if *fault == Fault::Throttled(0) && dice.once_in(2) {
            *fault = Fault::Throttled(1);
        }
    }
}

/// An autoscaler that follows what comes, and alone says how many pods of the first Deployment there are to be.
fn autoscaler(dice: &mut Dice, story: &mut Story) {
    let Setup { replicas, traffic, autoscaler, .. } = &mut story.setup;
    if *replicas > 20 || !dice.once_in(8) {
        return;
    }
    *autoscaler = Some((1, *replicas * 2));
    if traffic.is_empty() {
        let pods = u64::from(replicas.unsigned_abs());
        *traffic = (0..dice.between(2, 4)).map(|_| pods * *dice.pick(&[10, 40, 60, 80])).collect();
    }
    story.events.retain(|(_, event)| !matches!(event, Event::Scale(_)));
}

/// Of versions whose pods do not start some have no image.
fn missing_images(dice: &mut Dice, story: &mut Story) {
    for (_, event) in &mut story.events {
        if let Event::Push(_, conduct @ Conduct::Stuck) = event
            && dice.once_in(3)
        {
            *conduct = Conduct::Missing;
        }
    }
}

/// Some nodes are not heard from until their pods are deleted, and for longer: these are replaced, and on their way out until the node comes back or is
/// taken out; or for nearly so long.
fn long_silences(dice: &mut Dice, story: &mut Story) {
    for (_, event) in &mut story.events {
        if let Event::Lose(_, seconds, _) = event
            && dice.once_in(4)
        {
            *seconds = *dice.pick(&[DELETED - 10, DELETED + 10, DELETED + 60]);
        }
    }
}

/// Pods that are not Ready for a moment, one time after the other.
fn flapping(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(20) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.between(1, 4) {
        let pods = usize::try_from(dice.between(1, 3)).unwrap_or(1);
        story.events.push((dice.below(end + 1), Event::Flap(pods, dice.below(15) + 1)));
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// Nodes that are drained, one and perhaps another after it: an upgrade of the nodes.
fn drains(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(20) {
        return;
    }
    let end = story.events.last().map_or(0, |(at, _)| *at);
    let mut at = dice.below(end + 1);
    for (node, _) in NODES.into_iter().take(usize::try_from(dice.between(1, 3)).unwrap_or(1)) {
        let seconds = *dice.pick(&[2, 15, 60]);
        story.events.push((at, Event::Drain(node, seconds)));
        at += dice.below(2 * seconds * 1000);
    }
    story.events.sort_by_key(|(at, _)| *at);
}

/// Lists of many pages, and servers that have forgotten what others go on from.
fn forgetting(dice: &mut Dice, story: &mut Story) {
    if !dice.once_in(6) {
        return;
    }
    if story.setup.replicas <= 20 {
        story.setup.page = *dice.pick(&[0, 1, 2, 5]);
    }
    story.setup.refuses_old = dice.once_in(2);
    let end = story.events.last().map_or(0, |(at, _)| *at);
    for _ in 0..dice.below(3) {
        // Whoever watches has to go on from what is forgotten.
        let at = dice.below(end + 1);
        story.events.extend([(at, Event::DropWatches), (at, Event::Compact)]);
    }
    story.events.sort_by_key(|(at, _)| *at);
    story.faults.extend((0..dice.below(20)).map(|_| (dice.below(200) + 1, Fault::Forgotten)));
}

/// Where clocks jump, each process has one of its own.
fn clocks(dice: &mut Dice, story: &mut Story) {
    if story.events.iter().any(|(_, event)| matches!(event, Event::Clock(_))) {
        story.setup.clocks = (0..3).map(|_| *dice.pick(&[-600, -40, -5, 0, 5, 40, 600])).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often such a thing happens in a story.
    fn times(story: &Story, is_it: impl Fn(&Event) -> bool) -> usize {
        story.events.iter().filter(|(_, event)| is_it(event)).count()
    }

    /// Whether a Deployment, or a Release, is deleted last of all that happens to it.
    fn is_gone(story: &Story, deletes: &Event, makes: &Event) -> bool {
        let last = story.events.iter().rev().find(|(_, event)| event == deletes || event == makes);
        last.is_some_and(|(_, event)| event == deletes)
    }

    #[test]
    fn there_are_stories_of_each_sort_and_they_can_be_told_again() {
        let release = |story: &Story, field: &str| !story.setup.release[field].is_null();
        type Sort<'s> = (&'s str, &'s dyn Fn(&Story) -> bool);
        let has = |story: &Story, is_it: fn(&Event) -> bool| times(story, is_it) > 0;
        let sorts: [Sort<'_>; 19] = [
            ("migrations", &|story| release(story, "migrations")),
            ("pilots", &|story| !story.setup.release["steps"][0]["pilot"].is_null()),
            ("trial pods", &|story| story.setup.release["preflight"].to_string().contains("podPort")),
            ("early", &|story| story.setup.early),
            ("two leaders", &|story| story.setup.several_lead()),
            ("no Release", &|story| is_gone(story, &Event::DeleteRelease, &Event::MakeRelease)),
            ("no Deployment", &|story| is_gone(story, &Event::DeleteDeployment, &Event::MakeDeployment)),
            ("a newer template", &|story| times(story, |event| matches!(event, Event::Push(..))) > 1),
            ("scaled again and again", &|story| times(story, |event| matches!(event, Event::Scale(_))) > 2),
            ("silent nodes", &|story| has(story, |event| matches!(event, Event::Lose(..)))),
            ("drained nodes", &|story| has(story, |event| matches!(event, Event::Drain(..)))),
            ("a tool that applies", &|story| {
                has(story, |event| matches!(event, Event::Apply | Event::ApplyServerSide(_)))
            }),
            ("paced fields edited", &|story| {
                has(story, |event| matches!(event, Event::Edit(_) | Event::Set(_)))
            }),
            ("paused", &|story| has(story, |event| matches!(event, Event::Pause(_)))),
            ("clocks that jump", &|story| has(story, |event| matches!(event, Event::Clock(_)))),
            ("a Prometheus that lies", &|story| has(story, |event| matches!(event, Event::Prometheus(_)))),
            ("writes that fail", &|story| has(story, |event| matches!(event, Event::Out(..)))),
            ("cut off", &|story| has(story, |event| matches!(event, Event::CutOff(_)))),
            ("deaths", &|story| has(story, |event| matches!(event, Event::Kill(_) | Event::Mortal(_)))),
        ];
        let stories: Vec<Story> = (0..1000).map(story).collect();
        for (sort, is_of_it) in sorts {
            let found: Vec<&Story> = stories.iter().filter(|story| is_of_it(story)).collect();
            assert!(found.len() > 10, "{sort}: {}", found.len());
            for story in found {
                assert_eq!(story.to_string().parse::<Story>().as_ref(), Ok(story), "{sort}");
            }
        }
    }

    #[test]
    fn a_few_stories_have_hundreds_of_pods() {
        let found = (0..4000).map(story).filter(|story| story.setup.replicas > 100).count();
        assert!((4..40).contains(&found), "{found}: they take long, and are seldom");
    }

    #[test]
    fn people_are_told_of_everything_there_is() {
        let known: Result<Vec<notify::Event>, _> =
            EVERYTHING.iter().map(|name| serde_json::from_value(json!(name))).collect();
        let known = known.expect("events");
        assert!(
            known.contains(&notify::Event::HandedBack) && known.contains(&notify::Event::Undone),
            "{known:?}"
        );
        assert_eq!(known.len(), 12, "{known:?}");
    }
}
