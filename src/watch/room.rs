//! Room for what people write: how many bytes of texts are kept of watched objects, in all and of one namespace.
//!
//! A namespace takes no more than it leaves to all others. So it has half of the room when it is alone, and whoever comes after it finds half of what is
//! left. What finds none is not lost: of such an object an outline is kept, and it is read again where it is looked at (see [`super::again`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::ObjectKey;

/// Room for so many bytes.
#[derive(Clone, Debug)]
pub struct Room(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    most: usize,
    all: usize,
    /// None is 0.
    by_namespace: HashMap<Box<str>, usize>,
}

impl Room {
    /// Nothing of it is taken.
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { most, all: 0, by_namespace: HashMap::new() })))
    }

    /// A place for so many bytes of an object; `None`: there is none for its namespace.
    pub fn place(&self, of: &ObjectKey, bytes: usize) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.by_namespace.get(of.namespace()).copied().unwrap_or(0);
        let left = taken.most.saturating_sub(taken.all.saturating_add(bytes));
        if own.saturating_add(bytes) > left {
            return None;
        }
        taken.add(of.namespace(), bytes);
        Some(Place { room: self.clone(), of: of.clone(), bytes })
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, namespace: &str, bytes: usize) {
        self.all += bytes;
        match self.by_namespace.get_mut(namespace) {
            Some(own) => *own += bytes,
            None if bytes == 0 => {}
            None => {
                self.by_namespace.insert(namespace.into(), bytes);
            }
        }
    }

    fn give_back(&mut self, namespace: &str, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        let Some(own) = self.by_namespace.get_mut(namespace) else { return };
        *own = own.saturating_sub(bytes);
        if *own == 0 {
            self.by_namespace.remove(namespace);
        }
    }
}

/// A place, taken until it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    of: ObjectKey,
    bytes: usize,
}

/// A copy takes as much again.
impl Clone for Place {
    fn clone(&self) -> Self {
        self.room.lock().add(self.of.namespace(), self.bytes);
        Self { room: self.room.clone(), of: self.of.clone(), bytes: self.bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().give_back(self.of.namespace(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, "shop")
    }

    #[test]
    fn a_namespace_takes_no_more_than_it_leaves_to_others() {
        let room = Room::of(100);
        let all = |namespace: &str| -> Vec<Place> {
            std::iter::from_fn(|| room.place(&of(namespace), 5)).take(100).collect()
        };
        let (first, second) = (all("first"), all("second"));
        assert_eq!((first.len(), second.len()), (10, 5), "half, and half of the rest");
        assert!(room.place(&of("third"), 5).is_some(), "there is some for everybody");
        assert!(room.place(&of("third"), 20).is_none());
        assert!(room.place(&of("first"), 1).is_none());
        drop(second);
        assert_eq!(room.taken(), 50);
        drop(first);
        assert_eq!(room.taken(), 0);
        assert!(room.lock().by_namespace.is_empty());
    }

    #[test]
    fn a_copy_of_a_place_is_one_more() {
        let room = Room::of(100);
        let place = room.place(&of("shop"), 30).expect("room");
        let copy = place.clone();
        assert_eq!(room.taken(), 60);
        drop(place);
        assert_eq!(room.taken(), 30);
        drop(copy);
        assert_eq!(room.taken(), 0);
    }
}
