//! Bugs made on purpose, one at a time: each has to make the tests fail. A bug that no test notices is a promise that nothing holds.

/// A bug.
pub struct Mutant {
    /// What goes wrong.
    pub name: &'static str,
    /// Where, from the top of the repository.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub finds: &'static str,
    pub becomes: &'static str,
    /// Arguments of `cargo test` that run those who have to notice.
    pub noticed_by: &'static [&'static str],
}

const WORLD: &[&str] = &["--test", "without_cluster"];
const PLAYS: &[&str] = &["--test", "plays"];
const SEEDS: &[&str] = &["--test", "seeds"];

/// All of them.
pub const MUTANTS: [Mutant; 34] = [
    Mutant {
        name: "a move grows late while nobody looks",
        file: "src/decide/moving.rs",
        finds: "        None => count_absence_out(draft),",
        becomes: "        None => {}",
        noticed_by: WORLD,
    },
    Mutant {
        name: "nobody but who changed it last is its author",
        file: "src/api/authors.rs",
        finds: "known.retain(|other| *other != name);",
        becomes: "known.clear();",
        noticed_by: WORLD,
    },
    Mutant {
        name: "a lost fence",
        file: "src/run/leader.rs",
        finds: "Duration::from_millis(until.saturating_sub(self.milliseconds(clock::instant())))",
        becomes: "Duration::from_millis(until)",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "an undo that waits for the soak to end",
        file: "src/decide/run.rs",
        finds: "let failing = if goes_on { Vec::new() }",
        becomes: "let failing = if goes_on || stage != Stage::Watch { Vec::new() }",
        noticed_by: PLAYS,
    },
    Mutant {
        // Noticed by what is closed and frozen there while pods of a bad version are out.
        name: "an undo waits for a window",
        file: "src/decide/back.rs",
        finds: "    let Some(is_ordered) = order(draft, scene, &originals, &back) else { return };",
        becomes: "    let hold = scene.plan.ok().zip(draft.status.run.clone()).and_then(|(plan, run)| super::gate::before_a_move(scene.snapshot, plan, &run));\n    if let Some(hold) = hold { return draft.held_by(hold); }\n    let Some(is_ordered) = order(draft, scene, &originals, &back) else { return };",
        noticed_by: WORLD,
    },
    Mutant {
        name: "Unknown counts as passed",
        file: "src/decide/evidence.rs",
        finds: "evidence.lacking.push(Lacking { reason, settle, then: enforced.on_unknown });",
        becomes: "let _as_passed = Lacking { reason, settle, then: enforced.on_unknown };",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "the originals are written in a second patch",
        file: "src/decide/fields.rs",
        finds: "operations.extend(self.patch_annotations(workload));",
        becomes: "if operations.is_empty() { operations.extend(self.patch_annotations(workload)); }",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "status is written after the undo",
        file: "src/decide/back.rs",
        finds: "draft.note_first();",
        becomes: "",
        noticed_by: SEEDS,
    },
    Mutant {
        name: "status is written before what it tells of",
        file: "src/decide/draft.rs",
        finds: "note_first: self.note_first,",
        becomes: "note_first: true,",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a decision sleeps for longer than an hour",
        file: "src/decide/draft.rs",
        finds: "wake: snapshot.now + LONGEST_SLEEP,",
        becomes: "wake: snapshot.now + LONGEST_SLEEP * 2,",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "decided on a snapshot older than our own last write",
        file: "src/run/reconcile.rs",
        finds: "if self.own.newer_than(key, &snapshot) =>",
        becomes: "if self.own.newer_than(key, &snapshot) && false =>",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "what went out before a write that failed is forgotten",
        file: "src/run/reconcile.rs",
        finds: "self.note(key, snapshot, &applied, &outcome);\n            is_done",
        becomes: "if outcome.is_ok() { self.note(key, snapshot, &applied, &outcome); }\n            is_done",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "not paused between moves",
        file: "src/decide/fields.rs",
        finds: "let mut wanted = Self { paused: Some(true), ..Self::default() };",
        becomes: "let mut wanted = Self::default();",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a job's name without its try",
        file: "src/decide/jobs.rs",
        finds: "format!(\"-{}-{:06x}-{}\", id.run, hasher.finish() & 0xff_ffff, id.attempt)",
        becomes: "format!(\"-{}-{:06x}\", id.run, hasher.finish() & 0xff_ffff)",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a rejected template is forgotten",
        file: "src/decide/back/rejection.rs",
        finds: "rejected.truncate(REMEMBERED);",
        becomes: "rejected.clear();",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "an undo waits its turn",
        file: "src/run/queue.rs",
        finds: "if self.going_back.contains(&key) {",
        becomes: "if self.going_back.contains(&key) && false {",
        noticed_by: &["--lib", "--package", "tidegate"],
    },
    Mutant {
        name: "a patch that does not test the generation",
        file: "src/decide/fields.rs",
        finds: ".insert(0, json!({\"op\": \"test\", \"path\": \"/metadata/generation\", \"value\": workload.generation}));",
        becomes: ".insert(0, json!({\"op\": \"test\", \"path\": \"/metadata/name\", \"value\": workload.name}));",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a step more than the owner's surge",
        file: "src/decide/pace.rs",
        finds: "let surge = limits.surge.min(room);",
        becomes: "let surge = (limits.surge + 1).min(room);",
        noticed_by: WORLD,
    },
    Mutant {
        name: "a lock is taken that another one holds",
        file: "src/decide/locks.rs",
        finds: "let holder = of(LockStanding::Held).next();",
        becomes: "let holder = of(LockStanding::Held).next().filter(|_| false);",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "what was told is forgotten before status knows",
        file: "src/report/notify/mod.rs",
        finds: "told.retain(still_owed);",
        becomes: "told.retain(|told| still_owed(told) && false);",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a message that does not get through is owed no more",
        file: "src/decide/notify/mod.rs",
        finds: "TellResult::Failing(message) => (message, false),",
        becomes: "TellResult::Failing(message) => { owed.to.retain(|name| name != to); (message, false) }",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "what Prometheus knows nothing of counts as pods without requests",
        file: "src/observe/measure/prometheus/found.rs",
        finds: "newest.ok_or(ReadError::NoSamples)?",
        becomes: "newest.unwrap_or(round.now)",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "an undo leaves nobody who serves",
        file: "src/decide/pace.rs",
        finds: "Capacity::Auto => limits.unavailable,",
        becomes: "Capacity::Auto => stand.replicas.max(1),",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "on full nodes bad pods make no room",
        file: "src/decide/pace.rs",
        finds: "(gone_at_once + to_make_room)",
        becomes: "gone_at_once",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "on full nodes the only pod makes room for a newer template",
        file: "src/decide/back/room.rs",
        finds: "self.for_good && self",
        becomes: "self",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "the pace of a run is left in the way of who applies server-side",
        file: "src/decide/fields.rs",
        finds: "strategy: Some(originals.strategy.clone()),",
        becomes: "strategy: None,",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a pause of the owner's is forgotten",
        file: "src/decide/fields.rs",
        finds: "paused: Some(originals.paused.unwrap_or(false)),",
        becomes: "paused: Some(false),",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "what was given back stays ours by the books",
        file: "src/decide/mod.rs",
        finds: "            rest::stop_managing(&mut draft, target);\n",
        becomes: "",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a label that is taken off in a run stays off",
        file: "src/decide/mod.rs",
        finds: "            label::keep(&mut draft, target);\n",
        becomes: "",
        noticed_by: WORLD,
    },
    Mutant {
        name: "an undo waits for its hooks",
        file: "src/decide/back.rs",
        finds: "    witnesses::look(draft, scene);\n",
        becomes: "    witnesses::look(draft, scene);\n    if draft.run().back.as_ref().is_some_and(|back| back.hooks.iter().any(|hook| hook.message == \"begun\")) { draft.note_first(); return; }\n",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a hook is called in each look",
        file: "src/run/errands.rs",
        finds: "if !of.names.insert(name.clone()) {",
        becomes: "if !of.names.insert(name.clone()) && false {",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a pod in quarantine stays in the Service",
        file: "src/decide/back/quarantine.rs",
        finds: "given.keys().map(|name| (name.clone(), Value::Null)).collect()",
        becomes: "given.keys().take(0).map(|name| (name.clone(), Value::Null)).collect()",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "the last pod that serves goes into quarantine",
        file: "src/decide/back/quarantine.rs",
        finds: "pod.serves() && serving <= 1 &&",
        becomes: "pod.serves() && serving == 0 &&",
        noticed_by: PLAYS,
    },
    Mutant {
        name: "a quarantine does not end",
        file: "src/decide/back/quarantine.rs",
        finds: "pod.until <= snapshot.now",
        becomes: "pod.until <= snapshot.now && false",
        noticed_by: PLAYS,
    },
];
