//! Who has changed a template since the Deployment was last stable: none of them is the second pair of eyes on it. The API server notes them on
//! the Deployment (policy `tidegate-workload-hold`), in the same form and with the same bounds; status and records carry that on.
//!
//! Whether an author may sign all the same is not known here.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Names that are kept.
const MOST: usize = 16;
/// Characters of a name that is kept.
const LONGEST: usize = 512;
/// In the place of a name that is not kept: it may be anybody's.
const ANYBODY: &str = "*";
/// Characters of so many names and what stands for others, one a line.
const MOST_CHARACTERS: usize = MOST * (LONGEST + 1) + ANYBODY.len();

/// User names, one a line; whoever changed it last is the last. None is given up for another one: where there are more than are kept, or one that is
/// too long, `*` stands for it, and anybody may be meant.
///
/// ```
/// use tidegate::api::Authors;
/// let authors = Authors::read("alice\nbot").unwrap();
/// assert!(authors.may_include("alice") && !authors.may_include("carol"));
/// assert_eq!((authors.last(), authors.to_string().as_str()), (Some("bot"), "alice, bot"));
/// assert!(Authors::read("alice\n*").unwrap().may_include("carol"));
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Authors(String);

impl Authors {
    /// What an annotation says; `None`: nobody.
    pub fn read(annotation: &str) -> Option<Self> {
        Self::of(lines(annotation))
    }

    /// Those of before and those since then.
    pub fn together(before: Option<&Self>, since: Option<&Self>) -> Option<Self> {
        Self::of([before, since].into_iter().flatten().flat_map(|authors| lines(&authors.0)))
    }

    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Option<Self> {
        let mut known: Vec<&str> = Vec::new();
        for name in names {
            let kept = known.iter().filter(|other| **other != ANYBODY).count();
            let is_kept = known.contains(&name) || (kept < MOST && name.chars().count() <= LONGEST);
            let name = if is_kept { name } else { ANYBODY };
            known.retain(|other| *other != name);
            known.push(name);
        }
        (!known.is_empty()).then(|| Self(known.join("\n")))
    }

    /// As it stands in an annotation.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is one of them.
    pub fn include(&self, who: &str) -> bool {
        lines(&self.0).any(|name| name == who)
    }

    /// Whether not all of them are known.
    pub fn are_too_many(&self) -> bool {
        self.include(ANYBODY)
    }

    /// Whether this is one of them, or may be.
    pub fn may_include(&self, who: &str) -> bool {
        self.include(who) || self.are_too_many()
    }

    /// Who changed it last, where that is known.
    pub fn last(&self) -> Option<&str> {
        lines(&self.0).last().filter(|name| *name != ANYBODY)
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').filter(|name| !name.is_empty())
}

/// `alice, bot`, and `others` where not all are known.
impl fmt::Display for Authors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = lines(&self.0).filter(|name| *name != ANYBODY).collect();
        if self.are_too_many() {
            names.push("others");
        }
        out.write_str(&names.join(", "))
    }
}

impl JsonSchema for Authors {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Authors".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MOST_CHARACTERS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Authors {
        Authors::read(text).expect("somebody")
    }

    #[test]
    fn each_is_named_once_and_whoever_was_last_is_last() {
        assert_eq!(Authors::read(""), None);
        assert_eq!(Authors::read("\n\n"), None);
        assert_eq!(read("alice\nbot\nalice").text(), "bot\nalice");
        let (before, since) = (read("alice\nbot"), read("carol\nalice"));
        let both = Authors::together(Some(&before), Some(&since)).expect("somebody");
        assert_eq!((both.text(), both.last()), ("bot\ncarol\nalice", Some("alice")));
        assert_eq!(Authors::together(Some(&both), Some(&both)).as_ref(), Some(&both), "nothing is new");
        assert_eq!(Authors::together(None, Some(&both)).as_ref(), Some(&both));
        assert_eq!(Authors::together(None, None), None);
    }

    #[test]
    fn nobody_is_given_up_for_one_more_than_are_kept_and_then_it_may_be_anybody() {
        let names: Vec<String> = (1..=MOST).map(|number| format!("bot-{number}")).collect();
        let full = read(&names.join("\n"));
        assert!(!full.may_include("alice") && !full.are_too_many());
        let more = Authors::together(Some(&full), Some(&read("alice"))).expect("somebody");
        assert!(names.iter().all(|name| more.include(name)), "{more}");
        assert!(!more.include("alice") && more.may_include("alice") && more.may_include("carol"), "{more}");
        assert_eq!(more.last(), None);
        assert!(more.to_string().ends_with("bot-16, others"), "{more}");
        // One of those that are kept writes it again.
        let again = Authors::together(Some(&more), Some(&read("bot-1"))).expect("somebody");
        assert!(names.iter().all(|name| again.include(name)) && again.are_too_many(), "{again}");
        assert_eq!(again.last(), Some("bot-1"));
    }

    #[test]
    fn a_name_that_is_too_long_to_keep_may_be_anybodys_and_no_list_is_longer_than_its_schema_says() {
        let names: Vec<String> =
            (0..MOST).map(|number| format!("{number:02}{}", "ü".repeat(LONGEST - 2))).collect();
        let longest = read(&format!("{}\ncarol", names.join("\n")));
        assert!(names.iter().all(|name| longest.include(name)) && longest.are_too_many());
        assert_eq!(longest.text().chars().count(), MOST_CHARACTERS);
        assert_eq!(read(&"x".repeat(LONGEST + 1)).text(), ANYBODY);
    }

    #[test]
    fn what_an_earlier_build_wrote_of_the_last_one_alone_is_a_list_of_one() {
        let read: Authors = serde_json::from_str("\"argocd\"").expect("a name");
        assert!(read.include("argocd") && !read.may_include("alice"));
        assert_eq!(serde_json::to_string(&read).expect("text"), "\"argocd\"");
    }
}
