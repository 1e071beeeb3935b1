//! The one setting of `make examples`: times that people would wait for are divided by a number.
//!
//! What is not divided: windows, blackouts and freezes; how old a backup and how valid a certificate has to be; how long a signature
//! counts; how long one try of a check, an answer, an undo and whoever is asked about one may take; how much of its past traffic is
//! compared with. Those are bounds on something real, which is no faster here.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::text::Span;

/// The fields, as paths in a spec; `*` is each item of a list.
const WAITED_FOR: [&str; 13] = [
    "metrics/prometheus/scrapeInterval",
    "preflight/*/every",
    "preflight/*/retries/backoff",
    "preflight/*/promotion/minSoak",
    "steps/*/soak",
    "steps/*/checks/*/every",
    "steps/*/checks/*/retries/backoff",
    "criteria/*/value/for",
    "criteria/*/availability/for",
    "watch/*/for",
    "watch/*/every",
    "undo/quarantine/for",
    "notify/*/after",
];

/// Nothing becomes shorter.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long the version that was put back is looked at, and the least of it: in less there are too few requests to tell anything.
const LOOKED_AT: (&str, Duration) = ("undo/validate/for", Duration::from_secs(20));

/// A Release whose soaks, watches and pauses take so many times less.
pub fn shortened(mut release: Value, speed: u32) -> Value {
    for (path, least) in WAITED_FOR.map(|path| (path, SHORTEST)).into_iter().chain([LOOKED_AT]) {
        shorten(&mut release["spec"], &path.split('/').collect::<Vec<_>>(), speed, least);
    }
    release
}

fn shorten(value: &mut Value, path: &[&str], speed: u32, least: Duration) {
    match path {
        [] => {
            let length = value.as_str().and_then(|text| Span(text.to_owned()).parse());
            if let Some(length) = length {
                let shorter = (length / speed.max(1)).max(least.min(length));
                *value = json!(format!("{}s", shorter.as_secs()));
            }
        }
        ["*", rest @ ..] => {
            value.as_array_mut().into_iter().flatten().for_each(|item| shorten(item, rest, speed, least));
        }
        [name, rest @ ..] => {
            if let Some(inner) = value.get_mut(name) {
                shorten(inner, rest, speed, least);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_would_wait_for_is_shorter_and_bounds_on_real_things_stay() {
        let release = json!({"spec": {
            "windows": {"allow": [{"cron": "0 20 * * Sun", "for": "60h"}]},
            "preflight": [
                {"name": "backup", "backup": {"maxAge": "2h"}, "timeout": "8m", "retries": {"limit": 1, "backoff": "10s"}},
            ],
            "steps": [{"name": "pilot", "soak": "48h", "deadline": "72h", "checks": [{"name": "health", "every": "5m"}]}],
            "criteria": [{"name": "ready", "availability": {"limit": "90%", "for": "1h"}}],
            "watch": [{"for": "24h", "every": "5m"}],
            "undo": {"budget": "15m", "validate": {"for": "5m"}, "approval": {"roles": ["cto"], "timeout": "5m"}},
            "notify": [{"name": "lead", "events": ["Held"], "after": "4h"}],
        }});
        let shortened = shortened(release.clone(), 3600);
        let mut wanted = release;
        for (path, length) in [
            ("/spec/preflight/0/retries/backoff", "1s"),
            ("/spec/steps/0/soak", "48s"),
            ("/spec/steps/0/checks/0/every", "1s"),
            ("/spec/criteria/0/availability/for", "1s"),
            ("/spec/watch/0/for", "24s"),
            ("/spec/watch/0/every", "1s"),
            ("/spec/notify/0/after", "4s"),
            ("/spec/undo/validate/for", "20s"),
        ] {
            *wanted.pointer_mut(path).unwrap() = json!(length);
        }
        assert_eq!(shortened, wanted);
    }

    #[test]
    fn with_one_times_are_as_long_as_they_are_written() {
        let release = json!({"spec": {"steps": [{"soak": "48h"}], "watch": []}});
        assert_eq!(shortened(release, 1)["spec"]["steps"][0]["soak"], "172800s");
    }
}
