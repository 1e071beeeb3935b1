//! Objects, their versions, and who is told of each change: what etcd and the watch cache are to a real API server.
//!
//! It knows nothing of what objects mean: generations, defaults and admission are `requests`' and `admission`'s.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Milliseconds between two bookmarks of a watch.
const BOOKMARKS: u64 = 60_000;
/// Milliseconds from its last one to its end.
const BEFORE_END: u64 = 2_000;

/// Namespace (empty where there are none) and name.
pub type Name = (String, String);

/// A kind that is served.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
}

const fn kind(api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { api_version, kind, plural }
}

/// All of them.
pub const KINDS: [Kind; 19] = [
    kind("tidegate.dev/v1alpha1", "Release", "releases"),
    kind("tidegate.dev/v1alpha1", "ReleaseAction", "releaseactions"),
    kind("tidegate.dev/v1alpha1", "ReleaseReport", "releasereports"),
    kind("tidegate.dev/v1alpha1", "Freeze", "freezes"),
    kind("apps/v1", "Deployment", "deployments"),
    kind("apps/v1", "ReplicaSet", "replicasets"),
    kind("apps/v1", "ControllerRevision", "controllerrevisions"),
    kind("v1", "Pod", "pods"),
    kind("v1", "Namespace", "namespaces"),
    kind("v1", "Node", "nodes"),
    kind("v1", "Secret", "secrets"),
    kind("v1", "ConfigMap", "configmaps"),
    kind("batch/v1", "Job", "jobs"),
    kind("events.k8s.io/v1", "Event", "events"),
    kind("coordination.k8s.io/v1", "Lease", "leases"),
    kind("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    kind(
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
    ),
    kind("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    ),
];

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    All,
    /// Those that have this label.
    Has(String),
    /// Those whose label has this value.
    Is(String, String),
    /// The one of this name.
    Named(String),
}

impl Selector {
    /// Reads `fieldSelector`, where there is one of a name.
    pub fn of_fields(text: Option<&str>) -> Option<Self> {
        Some(Self::Named(text?.strip_prefix("metadata.name=")?.to_owned()))
    }

    /// Reads `labelSelector`.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::All,
            Some(text) => match text.split_once('=') {
                Some((label, value)) => Self::Is(label.to_owned(), value.trim_start_matches('=').to_owned()),
                None => Self::Has(text.to_owned()),
            },
        }
    }

    fn takes(&self, object: &Value) -> bool {
        let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Value::as_str);
        match self {
            Self::All => true,
            Self::Has(name) => label(name).is_some(),
            Self::Is(name, value) => label(name) == Some(value),
            Self::Named(name) => object["metadata"]["name"] == name.as_str(),
        }
    }
}

/// Somebody who is told of changes.
struct Watcher {
    plural: &'static str,
    selector: Selector,
    /// Which process it is.
    process: usize,
    /// When the server ends it, in virtual milliseconds.
    ends_at: u64,
    /// When it is told next how far all has come; `u64::MAX`: it has not asked for that.
    bookmark_at: u64,
    /// Nothing is delivered before.
    held_until: u64,
    waiting: VecDeque<Bytes>,
    sender: UnboundedSender<Bytes>,
}

/// An object as it is stored.
#[derive(Debug)]
pub struct Object {
    value: Value,
    text: OnceLock<Bytes>,
}

impl Object {
    fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { value, text: OnceLock::new() })
    }

    /// As text, made once for all who are told.
    pub fn text(&self) -> &Bytes {
        self.text.get_or_init(|| Bytes::from(text_of(&self.value)))
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// One change of one object.
struct Change {
    revision: u64,
    before: Option<Arc<Object>>,
    after: Option<Arc<Object>>,
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<Name, Arc<Object>>,
    history: VecDeque<Change>,
}

/// Everything that is stored.
pub struct Store {
    revision: u64,
    made: u64,
    /// Changes up to here are forgotten: a watch that starts before is told so (410).
    compacted: u64,
    tables: BTreeMap<&'static str, Table>,
    watchers: Vec<Watcher>,
}

impl Default for Store {
    fn default() -> Self {
        let tables = KINDS.iter().map(|kind| (kind.plural, Table::default())).collect();
        Self { revision: 1, made: 0, compacted: 0, tables, watchers: Vec::new() }
    }
}

/// The kind of this plural.
pub fn kind_of(plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.plural == plural)
}

impl Store {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A number that nobody has had before.
    pub fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub fn get(&self, plural: &str, name: &Name) -> Option<&Arc<Object>> {
        self.tables.get(plural)?.objects.get(name)
    }

    pub fn all(&self, plural: &str) -> impl Iterator<Item = (&Name, &Arc<Object>)> {
        self.tables.get(plural).into_iter().flat_map(|table| table.objects.iter())
    }

    /// Objects of a selection after this one, in the order of their names.
    pub fn page<'a>(
        &'a self,
        plural: &str,
        selector: &'a Selector,
        after: Option<&Name>,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<Object>)> {
        let from = after.map_or(std::ops::Bound::Unbounded, |name| std::ops::Bound::Excluded(name.clone()));
        let table = self.tables.get(plural);
        table
            .into_iter()
            .flat_map(move |table| table.objects.range((from.clone(), std::ops::Bound::Unbounded)))
            .filter(|(_, object)| selector.takes(object))
    }

    /// Stores an object, or its newer version, and tells who watches. One that is as it was is left alone.
    pub fn put(&mut self, plural: &'static str, name: Name, mut object: Value) -> Arc<Object> {
        let table = self.tables.entry(plural).or_default();
        let before = table.objects.get(&name).cloned();
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if ***before == object {
                return before.clone();
            }
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let after = Object::new(object);
        table.objects.insert(name, after.clone());
        self.tell(plural, Change { revision: self.revision, before, after: Some(after.clone()) });
        after
    }

    /// Takes an object out.
    pub fn remove(&mut self, plural: &'static str, name: &Name) -> Option<Arc<Object>> {
        let before = self.tables.get_mut(plural)?.objects.remove(name)?;
        self.revision += 1;
        self.tell(plural, Change { revision: self.revision, before: Some(before.clone()), after: None });
        Some(before)
    }

    fn tell(&mut self, plural: &'static str, change: Change) {
        let lines = Lines::default();
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.plural == plural) {
            if let Some(line) = lines.of(&change, &watcher.selector) {
                watcher.deliver(line);
            }
        }
        self.tables.entry(plural).or_default().history.push_back(change);
    }

    /// Starts telling somebody what has happened since a version. False: that is too long ago.
    #[expect(clippy::too_many_arguments, reason = "a watch is all of this")]
    pub fn watch(
        &mut self,
        plural: &'static str,
        selector: Selector,
        since: u64,
        process: usize,
        held_until: u64,
        ends_at: u64,
        bookmark_at: u64,
        sender: UnboundedSender<Bytes>,
    ) -> bool {
        if self.is_too_old(since) {
            return false;
        }
        let waiting = VecDeque::new();
        let mut watcher =
            Watcher { plural, selector, process, ends_at, bookmark_at, held_until, waiting, sender };
        let lines = Lines::default();
        let history = self.tables.get(plural).map(|table| &table.history);
        // A watch that goes on from where it was has nothing to read of what was before.
        let newer =
            |history: &'_ VecDeque<Change>| history.partition_point(|change| change.revision <= since);
        for change in history.into_iter().flat_map(|history| history.range(newer(history)..)) {
            if let Some(line) = lines.of(change, &watcher.selector) {
                watcher.deliver(line);
            }
            lines.forget();
        }
        self.watchers.push(watcher);
        true
    }

    /// Delivers what was held back until now, tells how far all has come, and ends watches whose time is over.
    pub fn flush(&mut self, now: u64) {
        let revision = self.revision;
        self.watchers.retain_mut(|watcher| {
            if watcher.held_until <= now {
                watcher.held_until = 0;
                while let Some(line) = watcher.waiting.pop_front() {
                    let _gone = watcher.sender.send(line);
                }
                if watcher.bookmark_at <= now {
                    watcher.bookmark(revision);
                    watcher.bookmark_at = next_bookmark(now, watcher.ends_at);
                }
                if watcher.ends_at <= now {
                    return false;
                }
            }
            !watcher.sender.is_closed()
        });
    }

    /// Holds back what a process's watches (or all) of a kind (or of all) bring, until then.
    pub fn hold(&mut self, process: Option<usize>, plural: Option<&str>, until: u64) {
        let is_held = |watcher: &&mut Watcher| {
            process.is_none_or(|process| watcher.process == process)
                && plural.is_none_or(|plural| watcher.plural == plural)
        };
        let held = self.watchers.iter_mut().filter(is_held);
        for watcher in held {
            watcher.held_until = watcher.held_until.max(until);
        }
    }

    /// Ends all watches, in the middle of things.
    pub fn drop_watches(&mut self) {
        self.watchers.clear();
    }

    /// When `flush` is due next.
    pub fn flush_due(&self) -> u64 {
        let due = |watcher: &Watcher| match watcher.held_until {
            0 => watcher.ends_at.min(watcher.bookmark_at),
            until => until,
        };
        self.watchers.iter().map(due).min().unwrap_or(u64::MAX)
    }

    /// What goes on from there is told that it cannot.
    pub fn is_too_old(&self, revision: u64) -> bool {
        revision < self.compacted
    }

    /// Something happened that is nobody's business here, and how it all came to be as it is is forgotten: whatever is known is too old.
    pub fn forget(&mut self) {
        self.revision += 1;
        self.compact();
    }

    /// Forgets how it came to be as it is: watches that start before now are told so.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        for table in self.tables.values_mut() {
            table.history.clear();
        }
    }

    /// Tells everybody the last changes of a kind once more, oldest first.
    pub fn replay(&mut self, plural: &str, changes: usize) {
        let Some(table) = self.tables.get(plural) else { return };
        let lines = Lines::default();
        for change in table.history.iter().skip(table.history.len().saturating_sub(changes)) {
            for watcher in self.watchers.iter_mut().filter(|watcher| watcher.plural == plural) {
                if let Some(line) = lines.of(change, &watcher.selector) {
                    watcher.deliver(line);
                }
            }
            lines.forget();
        }
    }
}

impl Watcher {
    fn deliver(&mut self, line: Bytes) {
        if self.held_until > 0 {
            self.waiting.push_back(line);
        } else {
            let _gone = self.sender.send(line);
        }
    }

    fn bookmark(&self, revision: u64) {
        let Some(kind) = kind_of(self.plural) else { return };
        let object = json!({
            "kind": kind.kind, "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        });
        let _gone = self.sender.send(line("BOOKMARK", object.to_string().as_bytes()));
    }
}

/// A change as text: made once for all who are told of it in the same words.
#[derive(Default)]
struct Lines(std::cell::RefCell<BTreeMap<&'static str, Bytes>>);

impl Lines {
    fn of(&self, change: &Change, selector: &Selector) -> Option<Bytes> {
        let taken = |object: &Option<Arc<Object>>| object.clone().filter(|object| selector.takes(object));
        let (word, object) = match (taken(&change.before), taken(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", change.after.clone().unwrap_or(before)),
        };
        let mut known = self.0.borrow_mut();
        let text = known.entry(word).or_insert_with(|| match word {
            // The last version, under the number of its end.
            "DELETED" => {
                let mut last = (**object).clone();
                last["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                line(word, &text_of(&last))
            }
            _ => line(word, object.text()),
        });
        Some(text.clone())
    }

    fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// When a watch that asks for them is told next, by the rules of a real server: each minute, and right before its end.
pub fn next_bookmark(now: u64, ends_at: u64) -> u64 {
    let before_end = ends_at.saturating_sub(BEFORE_END);
    if now < before_end { before_end.min(now + BOOKMARKS) } else { now + BOOKMARKS }
}

/// A watch that says why it cannot be, and ends.
pub fn ended(status: &Value) -> UnboundedReceiver<Bytes> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let _sent = sender.send(line("ERROR", status.to_string().as_bytes()));
    receiver
}

/// A value as text. Not as it is shown: that goes through a formatter piece by piece, and takes three times as long.
pub fn text_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value is JSON")
}

fn line(word: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(word.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// A watch of pods that the server ends after a minute and a half.
    fn watch(store: &mut Store, bookmark_at: u64) -> UnboundedReceiver<Bytes> {
        let (sender, receiver) = unbounded_channel();
        assert!(store.watch("pods", Selector::All, 1, 0, 0, 90_000, bookmark_at, sender));
        receiver
    }

    fn lines(receiver: &mut UnboundedReceiver<Bytes>) -> Vec<String> {
        let next = || receiver.try_recv().ok();
        std::iter::from_fn(next).map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }

    #[test]
    fn a_watch_that_asks_is_told_each_minute_and_before_its_end_how_far_all_has_come() {
        let mut store = Store::default();
        let mut asks = watch(&mut store, next_bookmark(0, 90_000));
        let mut does_not = watch(&mut store, u64::MAX);
        store.put("nodes", (String::new(), "n1".to_owned()), json!({"metadata": {"name": "n1"}}));
        let mut told = Vec::new();
        while store.flush_due() < u64::MAX {
            let now = store.flush_due();
            store.flush(now);
            let all = lines(&mut asks);
            let is_bookmark = |line: &String| line.contains("BOOKMARK") && line.contains("\"2\"");
            assert!(all.iter().all(is_bookmark), "{now}: {all:?}");
            told.push((now, all.len()));
        }
        assert_eq!(told, [(60_000, 1), (88_000, 1), (90_000, 0)]);
        assert!(lines(&mut does_not).is_empty());
        assert_eq!(asks.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(does_not.try_recv(), Err(TryRecvError::Disconnected));
    }
}
