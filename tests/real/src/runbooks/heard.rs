//! Who was told what: messages as they came in, held against what `outside.yaml` of a runbook says of each version.
//!
//! They are looked at as text, since each kind of receiver gets a form of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;

use super::course::Way;

/// What came in, by address.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Heard {
    /// A message to an address.
    pub fn note(&self, place: &str, message: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(place.to_owned()).or_default().push(message);
    }

    /// Messages to an address, the oldest first.
    pub fn at(&self, place: &str) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(place).cloned().unwrap_or_default()
    }
}

/// An audience, and what it is to hear of each version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    pub url: String,
    /// What its messages hold, where others write to the same address.
    with: String,
    good: Option<Vec<String>>,
    bad: Option<Vec<String>>,
}

impl Audience {
    /// All that a file names.
    ///
    /// # Errors
    /// When one has no address.
    pub fn all(outside: &Value) -> Result<Vec<Self>> {
        let one = |said: &Value| {
            let url = said["url"].as_str().context("told: an audience has a url")?.to_owned();
            let words = |way: &str| {
                let list = said[way].as_array()?;
                Some(list.iter().filter_map(|words| words.as_str().map(str::to_owned)).collect())
            };
            let with = said["with"].as_str().unwrap_or_default().to_owned();
            Ok(Self { url, with, good: words("good"), bad: words("bad") })
        };
        outside["told"].as_array().into_iter().flatten().map(one).collect()
    }

    /// Its own among the messages to its address.
    pub fn own(&self, messages: Vec<String>) -> Vec<String> {
        messages.into_iter().filter(|message| message.contains(&self.with)).collect()
    }

    /// What is wrong with what it has heard of this version; `None`: nothing.
    pub fn misses(&self, way: Way, messages: &[String]) -> Option<String> {
        let words = match way {
            Way::Good => &self.good,
            Way::Bad => &self.bad,
        };
        let words = words.as_ref()?;
        if let (true, Some(message)) = (words.is_empty(), messages.first()) {
            return Some(format!("{} is to hear nothing, and heard {message}", self.url));
        }
        let mut messages = messages.iter();
        let unheard = words.iter().find(|words| !messages.any(|message| message.contains(words.as_str())));
        unheard.map(|words| format!("{} has not heard '{words}' in its place", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn misses(messages: &[&str], words: Value) -> bool {
        let audience =
            Audience::all(&json!({"told": [{"url": "http://x", "bad": words}]})).unwrap().remove(0);
        let messages: Vec<String> = messages.iter().map(|message| (*message).to_owned()).collect();
        assert_eq!(audience.misses(Way::Good, &messages), None, "nothing is said of it");
        audience.misses(Way::Bad, &messages).is_some()
    }

    #[test]
    fn what_is_to_be_heard_is_heard_in_its_order_and_other_things_between() {
        let undone = json!(["Started", "Undone"]);
        assert!(!misses(&["Started", "Held", "Undone"], undone.clone()));
        assert!(misses(&["Undone", "Started"], undone.clone()));
        assert!(misses(&["Started"], undone));
    }

    #[test]
    fn one_message_is_not_two() {
        assert!(misses(&["StepPassed"], json!(["StepPassed", "StepPassed"])));
    }

    #[test]
    fn who_is_to_hear_nothing_hears_nothing() {
        assert!(!misses(&[], json!([])));
        assert!(misses(&["Held"], json!([])));
    }
}
