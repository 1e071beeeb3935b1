//! Room for answers: how many bytes of what pods and Prometheus servers say are in memory at once, of all runs together.
//!
//! Each answer is bounded, and so is each run's number of questions; but what is asked of many at once may all come at once, grow large out of
//! little, and stop before its end. So what is held needs a place, which others need too: a small one, and a larger one in its stead when it has outgrown
//! that. Who finds none waits, takes nothing more from the network, and has the deadline of its question for it.
//!
//! Places of each size are counted apart: small answers, nearly all that are honest, never wait for large ones. And whoever waits holds only a
//! smaller place, so that nobody waits for each other.

use std::ops::Deref;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The room of this process: 96 MiB.
pub static ROOM: Room = Room::of([(64 << 10, 384), (512 << 10, 32), (4 << 20, 6), (LARGEST, 2)]);
/// No answer may be larger.
pub const LARGEST: usize = 16 << 20;

/// Places of some sizes.
pub struct Room {
    places: [Places; 4],
}

struct Places {
    /// Of each.
    bytes: usize,
    free: Semaphore,
}

impl Room {
    /// Sizes in bytes, the smallest first, and how many there are of each.
    pub const fn of([a, b, c, d]: [(usize, usize); 4]) -> Self {
        const fn places((bytes, number): (usize, usize)) -> Places {
            Places { bytes, free: Semaphore::const_new(number) }
        }
        Self { places: [places(a), places(b), places(c), places(d)] }
    }

    /// The smallest place for so much; the largest one for more.
    async fn place(&'static self, bytes: usize) -> Place {
        let [rest @ .., largest] = &self.places;
        let places = rest.iter().find(|places| bytes <= places.bytes).unwrap_or(largest);
        Place { bytes: places.bytes, _taken: places.free.acquire().await.ok() }
    }
}

/// A place, taken until it is dropped.
#[derive(Default)]
struct Place {
    bytes: usize,
    _taken: Option<SemaphorePermit<'static>>,
}

/// An answer, as far as it has come, in its place.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    place: Place,
}

impl Held {
    /// Adds what came, as soon as there is room for it.
    pub async fn add(&mut self, more: &[u8], room: &'static Room) {
        let length = self.bytes.len() + more.len();
        if length > self.place.bytes {
            let larger = room.place(length).await;
            // As much as the place has: a vector that doubles itself would take more.
            self.bytes.reserve_exact(larger.bytes.max(length) - self.bytes.len());
            self.place = larger;
        }
        self.bytes.extend_from_slice(more);
    }

    /// Puts something shorter in the place of each `text`.
    pub fn strike_out(&mut self, text: &[u8]) {
        let shown = &b"..."[..text.len().min(3)];
        let (mut from, mut to) = (0, 0);
        while from < self.bytes.len() {
            let is_here = !text.is_empty() && self.bytes[from..].starts_with(text);
            if is_here {
                self.bytes[to..to + shown.len()].copy_from_slice(shown);
            } else {
                self.bytes[to] = self.bytes[from];
            }
            from += if is_here { text.len() } else { 1 };
            to += if is_here { shown.len() } else { 1 };
        }
        self.bytes.truncate(to);
    }
}

/// What takes no room: it was made here.
impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, place: Place::default() }
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SMALL: [u8; 10] = [b'x'; 10];
    const LARGE: [u8; 100] = [b'x'; 100];

    /// Ten bytes, twenty, forty and a hundred.
    fn room(numbers: [usize; 4]) -> &'static Room {
        let [a, b, c, d] = numbers;
        Box::leak(Box::new(Room::of([(10, a), (20, b), (40, c), (100, d)])))
    }

    fn held(bytes: &[u8], room: &'static Room) -> Option<Held> {
        async {
            let mut held = Held::default();
            held.add(bytes, room).await;
            held
        }
        .now_or_never()
    }

    #[test]
    fn answers_that_grow_and_do_not_end_take_no_more_than_there_is_room() {
        let room = room([3, 2, 2, 1]);
        let mut all: Vec<Held> = (0..50).map(|_| Held::default()).collect();
        for _ in 0..9 {
            for held in &mut all {
                let _waits = held.add(&SMALL, room).now_or_never();
            }
        }
        let bytes: usize = all.iter().map(|held| held.bytes.capacity()).sum();
        assert!(bytes <= 3 * 10 + 2 * 20 + 2 * 40 + 100, "{bytes} bytes are held");
        assert!(all.iter().any(|held| held.len() == 90), "one is whole, whoever else wants to be");
    }

    #[test]
    fn a_small_answer_does_not_wait_for_large_ones_and_those_go_on_when_there_is_room() {
        let room = room([1, 1, 1, 1]);
        let large = held(&LARGE, room);
        assert!(large.is_some() && held(&LARGE, room).is_none());
        let mut growing = held(&SMALL, room).expect("a small place");
        assert!(held(&SMALL, room).is_none());
        assert!(growing.add(&LARGE[10..], room).now_or_never().is_none());
        drop(large);
        assert!(growing.add(&LARGE[10..], room).now_or_never().is_some());
        assert_eq!(*growing, LARGE);
        assert!(held(&SMALL, room).is_some(), "the small place of what has grown is free again");
    }

    #[test]
    fn what_is_struck_out_leaves_nothing_of_it_and_takes_no_more_room() {
        for (text, struck, left) in [
            ("no token secret, secretsecret!", "secret", "no token ..., ......!"),
            ("secre", "secret", "secre"),
            ("aaab", "a", "...b"),
            ("as it is", "", "as it is"),
        ] {
            let mut held = Held::from(text.as_bytes().to_vec());
            held.strike_out(struck.as_bytes());
            assert_eq!(&*held, left.as_bytes());
        }
    }
}
