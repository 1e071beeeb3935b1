//! Where an object is: its namespace and its name.

use std::fmt;
use std::sync::Arc;

use crate::decide::Key;

/// Namespace and name, as one text that all who point at the object share: a table alone points at it three times.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Of what lies in no namespace, that is empty.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// Another one in the same namespace.
    pub fn beside(&self, name: &str) -> Self {
        Self::new(self.namespace(), name)
    }

    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// The first slash is ours: no namespace has one.
    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<&Key> for ObjectKey {
    fn from(Key { namespace, name }: &Key) -> Self {
        Self::new(namespace, name)
    }
}

impl From<&ObjectKey> for Key {
    fn from(key: &ObjectKey) -> Self {
        Self { namespace: key.namespace().to_owned(), name: key.name().to_owned() }
    }
}
