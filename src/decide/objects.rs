//! What `object` and `backup` checks mean, and what the objects that were found say to it.
//!
//! Reading them is not done here.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::expression::{Expression, Purse, Unsure};
use super::snapshot::ProbeResult;
use crate::api::check::object::{BackupCheck, BackupObjects, ObjectCheck, Scope};

/// Expressions are at most that long in a message.
const SHOWN: usize = 120;
/// A moment may lie that far ahead of our clock.
const CLOCKS_DIFFER: i64 = 300;

/// Which objects, and what of them.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Empty: the core group.
    pub group: String,
    pub version: String,
    pub resource: String,
    pub which: Which,
    pub place: Place,
    /// What must hold. It is kept as text, and understood anew when there are objects to hold against it: understood it takes a hundred times as much.
    holds: Option<String>,
    /// At most so old, counted from what this gives.
    age: Option<(Duration, String)>,
    /// What an object must be to count, where it is not of the author's choice.
    finished: &'static str,
}

/// Which of a resource's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Named(String),
    /// A label selector.
    Labelled(String),
}

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The Release's namespace.
    Own,
    Namespace(String),
    Cluster,
}

/// What is wrong with a check: the field below it, and what to write.
pub type Wrong = (&'static str, String);

impl Objects {
    /// Understands an `object` check.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(check: &ObjectCheck) -> Result<Self, Wrong> {
        let ObjectCheck {
            api_version,
            resource,
            name,
            selector,
            namespace,
            scope,
            expression,
            max_age,
            timestamp,
        } = check;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let is_word = |text: &str, more: &str| {
            let fits = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.as_bytes().contains(&byte)
            };
            !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && text.bytes().all(fits)
        };
        if !is_word(version, "") || !(group.is_empty() || is_word(group, ".-")) {
            return Err((".apiVersion", "write v1 or velero.io/v1".into()));
        }
        if !is_word(resource, "-") {
            return Err((".resource", "write the plural in lower case, as in backups".into()));
        }
        if group.is_empty() && resource == "secrets" {
            return Err((".resource", "Secrets are read by config checks only".into()));
        }
        let which = match (name, selector) {
            (Some(name), None) if is_word(name, ".-:") => Which::Named(name.clone()),
            (Some(_), None) => return Err((".name", "is not the name of an object".into())),
            (None, Some(selector)) => Which::Labelled(selector.clone()),
            _ => return Err(("", "object needs one of: name, selector".into())),
        };
        let place = match (scope, namespace) {
            (Some(Scope::Cluster), None) => Place::Cluster,
            (Some(Scope::Cluster), Some(_)) => {
                return Err((".namespace", "an object of the cluster has no namespace".into()));
            }
            (None | Some(Scope::Namespaced), None) => Place::Own,
            (None | Some(Scope::Namespaced), Some(namespace)) if is_word(namespace, "-") => {
                Place::Namespace(namespace.clone())
            }
            (None | Some(Scope::Namespaced), Some(_)) => {
                return Err((".namespace", "is not the name of a namespace".into()));
            }
        };
        let about = match which {
            Which::Named(_) => "object",
            Which::Labelled(_) => "objects",
        };
        if let Some(text) = expression {
            Expression::parse(text, &[about]).map_err(|problem| (".expression", problem))?;
        }
        let from = timestamp.as_deref().unwrap_or("object.metadata.creationTimestamp");
        Expression::parse(from, &["object"]).map_err(|problem| (".timestamp", problem))?;
        let age = match max_age.as_ref().map(|age| age.parse()) {
            Some(Some(age)) => Some((age, from.to_owned())),
            Some(None) => return Err((".maxAge", "write 90m, 24h or 168h".into())),
            None => None,
        };
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.clone(),
            which,
            place,
            holds: expression.clone(),
            age,
            finished: "",
        })
    }

    /// Understands a `backup` check: an `object` check whose author need not know when a backup is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_backup(check: &BackupCheck) -> Result<Self, Wrong> {
        let BackupCheck { velero, volume_snapshot, max_age } = check;
        let (objects, api_version, resource, home, finished, timestamp) = match (velero, volume_snapshot) {
            (Some(objects), None) => (
                objects,
                "velero.io/v1",
                "backups",
                Some("velero"),
                "Completed",
                "object.?status.?phase.orValue('') == 'Completed' ? object.status.?completionTimestamp.orValue('') : ''",
            ),
            (None, Some(objects)) => (
                objects,
                "snapshot.storage.k8s.io/v1",
                "volumesnapshots",
                None,
                "ready to use",
                "object.?status.?readyToUse.orValue(false) ? object.status.?creationTime.orValue('') : ''",
            ),
            _ => return Err(("", "backup needs one of: velero, volumeSnapshot".into())),
        };
        let BackupObjects { name, selector, namespace } = objects;
        let check = ObjectCheck {
            api_version: api_version.to_owned(),
            resource: resource.to_owned(),
            name: name.clone(),
            selector: selector.clone(),
            namespace: namespace.clone().or(home.map(str::to_owned)),
            scope: None,
            expression: None,
            max_age: Some(max_age.clone()),
            timestamp: Some(timestamp.to_owned()),
        };
        Ok(Self { finished, ..Self::of(&check)? })
    }

    /// As people write a resource: `backups.velero.io`.
    pub fn full_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    /// Which objects these are, in words. `own`: the Release's namespace.
    pub fn words(&self, own: &str) -> String {
        let resource = self.full_resource();
        let namespace = self.namespace(own);
        match (&self.which, namespace) {
            (Which::Named(name), None) => format!("{resource} {name}"),
            (Which::Named(name), Some(namespace)) => format!("{resource} {namespace}/{name}"),
            (Which::Labelled(labels), None) => format!("{resource} with {labels}"),
            (Which::Labelled(labels), Some(namespace)) => format!("{resource} of {namespace} with {labels}"),
        }
    }

    /// Their namespace; `None` for objects of the cluster.
    pub fn namespace<'a>(&'a self, own: &'a str) -> Option<&'a str> {
        match &self.place {
            Place::Own => Some(own),
            Place::Namespace(namespace) => Some(namespace),
            Place::Cluster => None,
        }
    }

    /// What the objects that were found say, in whatever order.
    pub fn judged(&self, own: &str, mut found: Vec<Value>, now: Timestamp) -> (ProbeResult, String) {
        let words = self.words(own);
        if found.is_empty() {
            return (ProbeResult::Failed, format!("there is no {words}"));
        }
        for object in &mut found {
            // Whoever serves a kind may list what is no object at all.
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        }
        let created = |object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            (text("creationTimestamp"), text("name"))
        };
        found.sort_by_key(|object| std::cmp::Reverse(created(object)));
        let told = self.age(&words, &found, now).and_then(|age| Ok((age, self.condition(&words, found)?)));
        match told {
            Ok((age, holds)) => {
                let said: Vec<String> = [age, holds].into_iter().flatten().collect();
                let said = if said.is_empty() { "is there".to_owned() } else { said.join(", and ") };
                (ProbeResult::Passed, format!("{words}: {said}"))
            }
            Err(answer) => answer,
        }
    }

    fn condition(&self, words: &str, mut found: Vec<Value>) -> Result<Option<String>, (ProbeResult, String)> {
        let Some(text) = &self.holds else { return Ok(None) };
        let (name, about) = match self.which {
            Which::Named(_) => ("object", found.swap_remove(0)),
            Which::Labelled(_) => ("objects", Value::Array(found)),
        };
        let shown: String = text.chars().take(SHOWN).collect();
        let expression = Expression::parse(text, &[name])
            .map_err(|problem| (ProbeResult::Unknown, format!("{words}: {shown}: {problem}")))?;
        match expression.holds(&[(name, &about)]) {
            Ok(true) => Ok(Some(format!("{shown} holds"))),
            Ok(false) => Err((ProbeResult::Failed, format!("{words}: {shown} does not hold"))),
            Err(unsure) => Err((ProbeResult::Unknown, format!("{words}: {shown}: {unsure}"))),
        }
    }

    fn age(
        &self,
        words: &str,
        found: &[Value],
        now: Timestamp,
    ) -> Result<Option<String>, (ProbeResult, String)> {
        let Some((most, from)) = &self.age else { return Ok(None) };
        let expression = Expression::parse(from, &["object"])
            .map_err(|problem| (ProbeResult::Unknown, format!("{words}: timestamp: {problem}")))?;
        let (mut newest, mut unsure) = (None, None);
        let purse = Purse::for_many();
        for object in found {
            match moment(&expression, object, &purse) {
                Ok(None) => {}
                Ok(Some(at)) => {
                    newest = newest.max(Some((at, object["metadata"]["name"].as_str().unwrap_or_default())))
                }
                // The others are not looked at, and one of them may be the newest.
                Err(Undated::Unsure(problem @ Unsure::TooMuchWork)) => {
                    return Err((ProbeResult::Unknown, format!("{words}: timestamp: {problem}")));
                }
                Err(problem) => unsure = unsure.or(Some(problem)),
            }
        }
        let Some((at, name)) = newest else {
            return Err(match unsure {
                Some(problem) => (ProbeResult::Unknown, format!("{words}: timestamp: {problem}")),
                None if self.finished.is_empty() => (
                    ProbeResult::Failed,
                    format!("{words}: timestamp gives no moment for any of {}", found.len()),
                ),
                None => (
                    ProbeResult::Failed,
                    format!(
                        "{words}: none of {} is {}: make a new one, or wait for it",
                        found.len(),
                        self.finished
                    ),
                ),
            });
        };
        let ago = now.as_second() - at.as_second();
        if ago < -CLOCKS_DIFFER {
            return Err((ProbeResult::Unknown, format!("{words}: {name} is of {at}, which is yet to come")));
        }
        let ago = Duration::from_secs(u64::try_from(ago).unwrap_or_default());
        let (ago_words, most_words) = (in_words(ago), in_words(*most));
        if ago > *most {
            return Err((
                ProbeResult::Failed,
                format!("{words}: {name} is {ago_words} old, maxAge is {most_words}: make a new one"),
            ));
        }
        Ok(Some(format!("{name} is {ago_words} old")))
    }
}

/// The moment that an expression gives of an object; `None`: it does not count.
fn moment(expression: &Expression, object: &Value, purse: &Purse) -> Result<Option<Timestamp>, Undated> {
    let text = expression.text(&[("object", object)], purse)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Undated::NoMoment)
}

/// Why there is no moment of an object.
#[derive(Debug, thiserror::Error)]
enum Undated {
    #[error(transparent)]
    Unsure(#[from] Unsure),
    #[error("it gives no moment: it must give a text like 2026-11-22T09:00:00Z, or ''")]
    NoMoment,
}

/// A length of time, cut to its largest unit that says enough.
pub(super) fn in_words(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}
