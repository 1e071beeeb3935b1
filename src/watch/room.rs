//! Room for what people write: how many bytes of texts are kept of watched objects, in all and of one namespace.
//!
//! A namespace takes no more than it leaves to all others. So it has half of the room when it is alone, and whoever comes after it finds half of what is
//! left. What finds none is not lost: of such an object an outline is kept, and it is read again where it is looked at (see [`super::again`]).
//!
//! Who measures shares other rooms out in the same way.

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
        let mut place = self.empty_place(of);
        place.grow(bytes).then_some(place)
    }

    /// A place that takes nothing yet, to grow.
    pub fn empty_place(&self, of: &ObjectKey) -> Place {
        Place { room: self.clone(), of: of.clone(), bytes: 0 }
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
    /// Whether a namespace that takes so many bytes more leaves as much to all others.
    fn has(&self, namespace: &str, bytes: usize) -> bool {
        let own = self.by_namespace.get(namespace).copied().unwrap_or(0);
        let left = self.most.saturating_sub(self.all.saturating_add(bytes));
        bytes == 0 || own.saturating_add(bytes) <= left
    }

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

impl Place {
    /// Takes so many bytes more. False, and nothing more is taken: there is no room for them in its namespace.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let mut taken = self.room.lock();
        let is_there = taken.has(self.of.namespace(), bytes);
        if is_there {
            taken.add(self.of.namespace(), bytes);
            self.bytes += bytes;
        }
        is_there
    }

    /// Gives so many bytes back, of those that it takes.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.room.lock().give_back(self.of.namespace(), bytes);
        self.bytes -= bytes;
    }
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
    fn a_place_grows_as_long_as_there_is_room_and_gives_back_what_it_does_not_need() {
        let room = Room::of(100);
        let (mut first, mut second) = (room.empty_place(&of("first")), room.empty_place(&of("second")));
        assert!(first.grow(40) && !first.grow(11) && first.grow(10));
        assert!(second.grow(25) && !second.grow(1));
        first.shrink(30);
        assert_eq!(room.taken(), 45);
        assert!(second.grow(15));
        first.shrink(1000);
        assert_eq!(room.taken(), 40, "no more than it had");
        drop((first, second));
        assert_eq!(room.taken(), 0);
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
