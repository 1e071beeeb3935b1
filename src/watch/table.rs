//! Objects of one kind, found by name or by what they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::key::ObjectKey;

/// Objects of one kind. The parent is whatever the kind is looked up by: its owner, its Release.
///
/// Objects are boxed: nodes of a tree keep room for eleven of what they hold.
#[derive(Debug)]
pub struct Table<T> {
    objects: BTreeMap<ObjectKey, Box<Entry<T>>>,
    /// Each parent with each of its children.
    children: BTreeSet<(ObjectKey, ObjectKey)>,
    /// Names seen in listings that are under way, by the namespace that is listed; `None`: all of them.
    listings: HashMap<Option<String>, BTreeSet<ObjectKey>>,
}

#[derive(Debug)]
struct Entry<T> {
    parent: Option<ObjectKey>,
    object: T,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), children: BTreeSet::new(), listings: HashMap::new() }
    }
}

impl<T> Table<T> {
    /// Puts an object in, or its newer version.
    pub fn apply(&mut self, key: ObjectKey, parent: Option<ObjectKey>, object: T) {
        for (namespace, listed) in &mut self.listings {
            if namespace.as_ref().is_none_or(|namespace| namespace == key.namespace()) {
                listed.insert(key.clone());
            }
        }
        self.unlink(&key);
        if let Some(parent) = parent.clone() {
            self.children.insert((parent, key.clone()));
        }
        self.objects.insert(key, Box::new(Entry { parent, object }));
    }

    /// Takes an object out.
    pub fn delete(&mut self, key: &ObjectKey) -> Option<T> {
        self.unlink(key);
        self.objects.remove(key).map(|entry| entry.object)
    }

    /// A listing of a namespace, or of all, begins: what it does not name is gone when it ends.
    pub fn begin_listing(&mut self, namespace: Option<&str>) {
        self.listings.insert(namespace.map(str::to_owned), BTreeSet::new());
    }

    /// A listing ends. Returns what it did not name.
    pub fn end_listing(&mut self, namespace: Option<&str>) -> Vec<(ObjectKey, T)> {
        let Some(listed) = self.listings.remove(&namespace.map(str::to_owned)) else { return Vec::new() };
        let is_gone = |key: &&ObjectKey| {
            namespace.is_none_or(|namespace| namespace == key.namespace()) && !listed.contains(*key)
        };
        let gone: Vec<ObjectKey> = self.objects.keys().filter(is_gone).cloned().collect();
        gone.into_iter().filter_map(|key| self.delete(&key).map(|object| (key, object))).collect()
    }

    /// Whether a listing of this namespace is under way: what was there before it may stand beside what is there now.
    pub fn is_being_listed(&self, namespace: &str) -> bool {
        self.listings.keys().any(|listed| listed.as_ref().is_none_or(|listed| listed == namespace))
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&T> {
        self.objects.get(key).map(|entry| &entry.object)
    }

    /// What belongs to a parent, by name.
    pub fn children<'a>(&'a self, parent: &ObjectKey) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> {
        let first = (parent.clone(), ObjectKey::default());
        let links = self.children.range(first..).take_while(move |(of, _)| of == parent);
        links.filter_map(|(_, key)| self.objects.get_key_value(key)).map(|(key, entry)| (key, &entry.object))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &T)> {
        self.objects.iter().map(|(key, entry)| (key, &entry.object))
    }

    fn unlink(&mut self, key: &ObjectKey) {
        let Some(Entry { parent: Some(parent), .. }) = self.objects.get(key).map(Box::as_ref) else { return };
        self.children.remove(&(parent.clone(), key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn what_a_listing_does_not_name_is_gone_and_leaves_its_parent() {
        let mut table = Table::default();
        table.apply(key("a"), Some(key("p")), 1);
        table.apply(key("b"), Some(key("p")), 2);
        table.begin_listing(None);
        table.apply(key("b"), Some(key("q")), 3);
        assert_eq!(table.end_listing(None), vec![(key("a"), 1)]);
        assert_eq!(table.children(&key("p")).count(), 0);
        assert_eq!(table.children(&key("q")).map(|(_, object)| *object).collect::<Vec<_>>(), vec![3]);
    }

    #[test]
    fn a_listing_of_one_namespace_says_nothing_of_another() {
        let in_namespace = |namespace: &str| ObjectKey::new(namespace, "a");
        let mut table = Table::default();
        table.apply(in_namespace("one"), None, 1);
        table.apply(in_namespace("two"), None, 2);
        table.begin_listing(Some("one"));
        table.begin_listing(Some("two"));
        table.apply(in_namespace("two"), None, 3);
        assert_eq!(table.end_listing(Some("one")), vec![(in_namespace("one"), 1)]);
        assert_eq!(table.end_listing(Some("two")), vec![]);
        assert_eq!(table.get(&in_namespace("two")), Some(&3));
    }
}
