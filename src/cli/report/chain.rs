//! Whether the records of a Release are what was written: each carries the digest of its own content and that of the one before it, and
//! the Release's status names the newest.
//!
//! Whoever can write the operator's status and its records could write a whole chain anew. Against that helps the newest digest, kept
//! somewhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::digest;
use crate::api::report::{Chain, Link};
use crate::cli::view::plain;

/// One record, as far as its place in the chain goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub name: String,
    pub release_uid: String,
    pub run: String,
    pub ended_at: Option<Timestamp>,
    /// What it says of itself; `None` when it says nothing that can be read.
    pub chain: Option<Chain>,
    /// The digest of what it says.
    pub content: String,
}

impl Record {
    /// From the object's `spec`, unread: fields of other versions count too.
    pub fn of(name: String, spec: &Value) -> Self {
        let text = |field: &str| spec[field].as_str().map(plain).unwrap_or_default();
        Self {
            name,
            release_uid: text("releaseUid"),
            run: text("run"),
            ended_at: text("endedAt").parse().ok(),
            chain: serde_json::from_value(spec["chain"].clone()).ok(),
            content: digest::of_record(spec),
        }
    }

    fn previous(&self) -> Option<&Link> {
        self.chain.as_ref()?.previous.as_ref()
    }
}

/// The newest record, as status has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    pub release_uid: String,
    pub name: String,
    /// Empty when it is not known.
    pub digest: String,
}

/// What came of a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    pub text: String,
    pub broken: bool,
}

/// Walks the chain of each Release that had the name, the newest record first.
pub fn walk(release: &str, records: &[Record], newest: Option<&Newest>) -> Walked {
    let mut releases: Vec<&str> = Vec::new();
    for uid in
        records.iter().map(|record| &*record.release_uid).chain(newest.map(|newest| &*newest.release_uid))
    {
        if !releases.contains(&uid) {
            releases.push(uid);
        }
    }
    let mut walked = Walked { text: String::new(), broken: false };
    for uid in releases {
        let of_it: Vec<&Record> = records.iter().filter(|record| record.release_uid == uid).collect();
        let newest = newest.filter(|newest| newest.release_uid == uid);
        if !walked.text.is_empty() {
            walked.text.push('\n');
        }
        let mut walk = Walk::new(&of_it, newest);
        walk.go();
        let (count, broken) = (of_it.len(), walk.broken);
        let many = if count == 1 { "record" } else { "records" };
        let _ = writeln!(walked.text, "{release} (uid {}): {count} {many}", plain(uid));
        for (name, said) in walk.lines.iter().rev() {
            let _ = writeln!(walked.text, "  {name}: {said}");
        }
        let sum = match (broken, walk.top) {
            (true, _) => "the chain is BROKEN".to_owned(),
            (false, Some(top)) => format!("the chain holds; its newest digest is {}", top.content),
            (false, None) => "the chain holds".to_owned(),
        };
        let _ = writeln!(walked.text, "{sum}");
        walked.broken |= broken;
    }
    walked
}

struct Walk<'r> {
    by_name: BTreeMap<&'r str, &'r Record>,
    newest: Option<&'r Newest>,
    seen: BTreeSet<&'r str>,
    /// The newest first.
    lines: Vec<(String, String)>,
    broken: bool,
    top: Option<&'r Record>,
}

impl<'r> Walk<'r> {
    fn new(records: &[&'r Record], newest: Option<&'r Newest>) -> Self {
        Self {
            by_name: records.iter().map(|record| (&*record.name, *record)).collect(),
            newest,
            seen: BTreeSet::new(),
            lines: Vec::new(),
            broken: false,
            top: None,
        }
    }

    fn say(&mut self, name: &str, said: impl Into<String>) {
        self.lines.push((plain(name), plain(&said.into())));
    }

    fn breaks(&mut self, name: &str, said: &str) {
        self.broken = true;
        self.say(name, format!("BROKEN: {said}"));
    }

    fn go(&mut self) {
        let mut next = self.start();
        self.top = next;
        while let Some(record) = next {
            next = self.step(record);
        }
        let aside: Vec<&Record> =
            self.by_name.values().filter(|record| !self.seen.contains(&*record.name)).copied().collect();
        for record in aside {
            if self.is_what_was_written(record) {
                self.say(
                    &record.name,
                    "no record follows it: its run ended twice, and the other record counts",
                );
            }
        }
    }

    /// The newest record.
    fn start(&mut self) -> Option<&'r Record> {
        let Some(newest) = self.newest else { return self.latest(|_| true) };
        match self.by_name.get(&*newest.name).copied() {
            Some(record) => {
                if !newest.digest.is_empty() && newest.digest != record.content {
                    self.breaks(
                        &record.name,
                        "status has another digest of it: it was put in the place of another",
                    );
                }
                Some(record)
            }
            None => {
                self.breaks(&newest.name, "the newest record by status is missing");
                self.latest(|_| true)
            }
        }
    }

    fn latest(&self, among: impl Fn(&Record) -> bool) -> Option<&'r Record> {
        let unseen =
            self.by_name.values().filter(|record| !self.seen.contains(&*record.name) && among(record));
        // One that others follow is not the last.
        let followed: BTreeSet<&str> =
            self.by_name.values().filter_map(|record| Some(&*record.previous()?.report)).collect();
        unseen.copied().max_by_key(|record| (!followed.contains(&*record.name), record.ended_at))
    }

    fn is_what_was_written(&mut self, record: &Record) -> bool {
        match &record.chain {
            None => {
                self.breaks(&record.name, "it has no digest");
                false
            }
            Some(chain) if chain.digest != record.content => {
                let said = format!(
                    "its content is not what was written: it says digest {}, its content gives {}",
                    chain.digest, record.content
                );
                self.breaks(&record.name, &said);
                false
            }
            Some(_) => true,
        }
    }

    /// Looks at one record; the one before it, if there is one.
    fn step(&mut self, record: &'r Record) -> Option<&'r Record> {
        self.seen.insert(&record.name);
        let fine = self.is_what_was_written(record);
        // A run that ended twice left two: the other one is no gap.
        let runs: BTreeSet<&str> =
            self.seen.iter().filter_map(|name| Some(&*self.by_name.get(name)?.run)).collect();
        let older = |other: &Record| other.ended_at < record.ended_at && !runs.contains(&*other.run);
        let Some(link) = record.previous() else {
            let before = self.latest(older);
            match before {
                None if fine => self.say(&record.name, "the first"),
                None => {}
                Some(_) => {
                    self.breaks(&record.name, "it says that it is the first, and there are older ones")
                }
            }
            return before;
        };
        let Some(before) =
            self.by_name.get(&*link.report).copied().filter(|it| !self.seen.contains(&*it.name))
        else {
            let before = self.latest(older);
            let said = format!("follows {}", link.report);
            match before {
                None if fine => {
                    self.say(&record.name, format!("{said}, which was removed with all before it"))
                }
                None => {}
                Some(_) => {
                    self.breaks(&record.name, &format!("{said}, which is missing, and there are older ones"))
                }
            }
            return before;
        };
        if link.digest.is_empty() {
            self.say(&record.name, format!("follows {} by name only: its digest was not known", link.report));
        } else if link.digest != before.content {
            let said =
                format!("follows {} with digest {}, and that one is another now", link.report, link.digest);
            self.breaks(&record.name, &said);
        } else if fine {
            self.say(&record.name, format!("follows {}", link.report));
        }
        Some(before)
    }
}
