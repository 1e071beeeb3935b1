//! Crash points: the same story, with the operator killed right after its first, second, ... nth write, and with operators that each
//! live for a few writes only. The end has to be the same one.

use crate::play::{End, Outcome, play};
use crate::story::{Event, Story};

/// Lives of so many writes each.
const LIVES: [u32; 4] = [1, 2, 3, 5];

const QUICK: &str = r#""criteria":[],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"20s","every":"5s"}]"#;
const MEASURED: &str = r#""criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"tenth","replicas":"10%","soak":"30s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"10m","every":"5s"}]"#;
/// All pods come within seconds: bad ones are bad at the same time, and what they do is plain before anybody says what to do about it.
const AT_ONCE: &str = r#""criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"all","replicas":"100%","soak":"30s"}],"watch":[{"for":"10m","every":"5s"}]"#;
const JOB: &str = r#""preflight":[{"name":"backup","job":{"template":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"c"}]}}}}}}]"#;
const TRIED: &str = r#""preflight":[{"name":"starts","http":{"podPath":"/version","podPort":8080}},{"name":"health","http":{"podPath":"/healthz","podPort":8080}}]"#;
/// A trial pod that answers after a minute.
const EXAMINED: &str = r#""preflight":[{"name":"self-test","http":{"podPath":"/self-test","podPort":8080,"expect":{"within":"120s"}}}]"#;
const MIGRATIONS: &str = r#""locks":["db"],"migrations":[
    {"name":"add","kind":"Expand","job":{"template":{"spec":{"template":{"spec":{}}}}},"verify":{"template":{"spec":{"template":{"spec":{}}}}}},
    {"name":"drop","kind":"Irreversible","job":{"template":{"spec":{"template":{"spec":{}}}}}},
    {"name":"clean","kind":"Contract","job":{"template":{"spec":{"template":{"spec":{}}}}}}]"#;
const BESIDE: &str = r#""undo":{
    "hooks":[{"name":"flag","http":{"url":"http://flags.shop/new"}},{"name":"map","configMap":{"name":"flags","key":"new","value":"off"}},
        {"name":"dump","job":{"template":{"spec":{"template":{"spec":{}}}}}}],
    "validate":{"for":"5s","checks":[{"name":"smoke","http":{"podPath":"/healthz"}}]},"quarantine":{"pods":2,"for":"20s"}}"#;
const PILOTS: &str = r#""criteria":[],"steps":[{"name":"half","replicas":"50%","soak":"20s","pilot":{"nodes":{"matchLabels":{"tier":"pilot"}},"atLeast":1}},{"name":"all","replicas":"100%"}],"watch":[{"for":"20s","every":"5s"}]"#;
const APPROVAL: &str = r#""preflight":[{"name":"sign-off","approval":{"roles":["qa"]}}]"#;
const TWO_ROLES: &str = r#""preflight":[{"name":"sign-off","approval":{"roles":["qa","ops"],"quorum":2}}]"#;
const TWO_PEOPLE: &str = r#""preflight":[{"name":"sign-off","approval":{"roles":["qa"],"quorum":2}}]"#;

/// A story and its name.
pub struct Plot {
    pub name: &'static str,
    pub story: Story,
}

/// All of them.
pub fn plots() -> Vec<Plot> {
    let plot = |name, release: &[&str], events: &str| {
        let text = format!("replicas 10\nrelease {{{}}}\n{events}", release.join(","));
        Plot { name, story: text.parse().unwrap_or_else(|error| panic!("{name}: {error}")) }
    };
    vec![
        plot("a good run", &[QUICK], "at 1000 push v2 good"),
        plot("bad at 10 %", &[MEASURED], "at 1000 push v2 errors"),
        plot("bad in the watch", &[AT_ONCE], "at 1000 push v2 late"),
        plot("pods that crash", &[QUICK], "at 1000 push v2 crash"),
        plot(
            "undone with all that is done beside it",
            &[QUICK, &one_line(BESIDE)],
            "at 1000 push v2 stuck\nat 9000 say Abort",
        ),
        plot("pilots on their nodes", &[PILOTS], "at 1000 push v2 good"),
        plot("superseded", &[QUICK], "at 1000 push v2 stuck\nat 9000 push v3 good"),
        plot("aborted", &[QUICK], "at 1000 push v2 stuck\nat 9000 say Abort"),
        plot("the Release deleted in mid-run", &[QUICK], "at 1000 push v2 stuck\nat 9000 delete-release"),
        plot("a job first", &[QUICK, JOB], "at 1000 push v2 good"),
        plot("a trial pod first", &[QUICK, TRIED], "at 1000 push v2 good"),
        // Operators that live for one write are so far after a quarter of a minute.
        plot(
            "aborted before the trial pod is Ready",
            &[QUICK, TRIED],
            "at 1000 push v2 stuck\nat 30000 says is not Ready yet\nat 30000 say Abort",
        ),
        plot(
            "aborted while the trial pod is asked",
            &[QUICK, EXAMINED],
            "at 1000 push v2 good\nat 30000 says is Ready, and is asked\nat 30000 say Abort",
        ),
        plot("migrations under a lock", &[QUICK, &one_line(MIGRATIONS)], "at 1000 push v2 good"),
        plot(
            "aborted after an irreversible migration",
            &[QUICK, &one_line(MIGRATIONS)],
            "at 1000 push v2 crash\nat 90000 say Abort",
        ),
        plot("an approval first", &[QUICK, APPROVAL], "at 1000 push v2 good\nat 20000 say Approve qa"),
        plot(
            "two roles approve first",
            &[QUICK, TWO_ROLES],
            "at 1000 push v2 good\nat 20000 say Approve qa\nat 40000 say-by bob Approve ops",
        ),
        plot(
            "two people approve first",
            &[QUICK, TWO_PEOPLE],
            "at 1000 push v2 good\nat 20000 say Approve qa\nat 40000 say-by bob Approve qa",
        ),
        plot(
            "aborted without replicas",
            &[QUICK],
            "at 1000 push v2 good\nat 9000 scale 0\nat 40000 say Abort\nat 60000 scale 10",
        ),
        plot("from 10 to 0 to 10", &[QUICK], "at 1000 push v2 good\nat 9000 scale 0\nat 40000 scale 10"),
        plot("reverted by its owner", &[QUICK], "at 1000 push v2 stuck\nat 9000 push v1 good"),
        plot("handed back", &[QUICK], "at 1000 push v2 stuck\nat 9000 say HandBack"),
        plot("rejected and applied again", &[QUICK], "at 1000 push v2 crash\nat 9000 apply\nat 60000 apply"),
    ]
}

/// A story has its Release on a line.
fn one_line(text: &str) -> String {
    text.replace('\n', "")
}

/// What came of a plot.
#[derive(Debug, Default)]
pub struct Crashed {
    pub points: u32,
    pub checks: u64,
    /// The story that went wrong, and what did.
    pub wrong: Vec<(Story, String)>,
}

/// Plays it as it is, and with every death, or with one in so many.
pub fn crash(plot: &Plot, one_in: usize) -> Crashed {
    let mut crashed = Crashed::default();
    let usual = play(&plot.story, 0);
    if let Some(violation) = usual.violations.first() {
        crashed.wrong.push((plot.story.clone(), format!("{}: {violation}", plot.name)));
        return crashed;
    }
    let once = (1..=usual.writes_in_story).map(Event::Kill);
    // Two looks of one life, seconds apart, are the least that counters can be read with; and what a hook came to is known to the life that
    // did it until status knows.
    let has = |at: &str| {
        plot.story.setup.release.pointer(at).and_then(|all| all.as_array()).is_some_and(|all| !all.is_empty())
    };
    let least = if has("/criteria") || has("/undo/hooks") { 3 } else { 1 };
    let again = LIVES.into_iter().filter(|writes| *writes >= least).map(Event::Mortal);
    for death in once.chain(again).step_by(one_in.max(1)) {
        let mut story = plot.story.clone();
        story.events.insert(0, (0, death.clone()));
        let outcome = play(&story, 0);
        crashed.points += 1;
        crashed.checks += outcome.checks;
        if let Some(what) = differs(&usual.end, &outcome) {
            crashed.wrong.push((story, format!("{}, {death}: {what}", plot.name)));
        }
    }
    crashed
}

fn differs(usual: &End, outcome: &Outcome) -> Option<String> {
    if let Some(violation) = outcome.violations.first() {
        return Some(violation.clone());
    }
    (*usual != outcome.end).then(|| format!("ends as {:?}, usually {usual:?}", outcome.end))
}
