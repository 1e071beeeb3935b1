//! Room for answers: how many bytes of what pods and Prometheus servers say are in memory at once, of all runs together.
//!
//! Each answer is bounded, and so is each run's number of questions; but what is asked of many at once may all come at once, grow large out of
//! little, and stop before its end. So what is held needs a place, which others need too: a small one, and a larger one in its stead when it has outgrown
//! that. Who finds none waits, takes nothing more from the network, and has the deadline of its question for it.
//!
//! Places of each size are counted apart: small answers, nearly all that are honest, never wait for large ones. And of each size a namespace has a
//! quarter at most, and one where there are few: whoever asks those who begin an answer and stop leaves others their room.
//!
//! An answer about pods of several namespaces, which share a server, is in the share of whichever of them has room first. So nobody's full share keeps
//! others from being measured; and who has some namespaces, and names a hundred servers in each, has as many shares and no more. (Were such answers
//! nobody's, or their server's, two namespaces would be enough to take all there is.)
//!
//! Nobody waits for each other: all take what they need in the same order. First a place of a small size from their namespace's share, then from what
//! all have, then one of a larger size from the share, and so on; whoever waits for one holds only such as come before it. So whoever holds the last
//! of all that are held waits for none, but for the network, and has its deadline. Nobody asks for an answer while they hold another.

use std::ops::Deref;

use crate::turns::{Turn, Turns};

/// The room of this process: 96 MiB.
pub static ROOM: AnswerRoom = AnswerRoom::of([(64 << 10, 384), (512 << 10, 32), (4 << 20, 6), (LARGEST, 2)]);
/// No answer may be larger.
pub const LARGEST: usize = 16 << 20;

/// Places of some sizes.
pub struct AnswerRoom {
    places: [Places; 4],
}

struct Places {
    /// Of each.
    bytes: usize,
    free: Turns,
}

impl AnswerRoom {
    /// Sizes in bytes, the smallest first, and how many there are of each; a namespace has a quarter of them, rounded up.
    pub const fn of([a, b, c, d]: [(usize, usize); 4]) -> Self {
        const fn places((bytes, number): (usize, usize)) -> Places {
            Places { bytes, free: Turns::of(number, number.div_ceil(4)) }
        }
        Self { places: [places(a), places(b), places(c), places(d)] }
    }

    /// The smallest place for so much; the largest one for more. In the share of one of these namespaces.
    async fn place(&'static self, bytes: usize, namespaces: &[&str]) -> Place {
        let [rest @ .., largest] = &self.places;
        let places = rest.iter().find(|places| bytes <= places.bytes).unwrap_or(largest);
        Place { bytes: places.bytes, _taken: Some(places.free.take_for_any(namespaces).await) }
    }
}

/// A place, taken until it is dropped.
#[derive(Default)]
struct Place {
    bytes: usize,
    _taken: Option<Turn<'static>>,
}

/// An answer, as far as it has come, in its place.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    place: Place,
}

impl Held {
    /// Adds what came, as soon as there is room for it in the share of one of the namespaces that it is about; none: whoever asks has all to themselves.
    pub async fn add(&mut self, more: &[u8], room: &'static AnswerRoom, namespaces: &[&str]) {
        let length = self.bytes.len() + more.len();
        if length > self.place.bytes {
            let larger = room.place(length, namespaces).await;
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
    fn room(numbers: [usize; 4]) -> &'static AnswerRoom {
        let [a, b, c, d] = numbers;
        Box::leak(Box::new(AnswerRoom::of([(10, a), (20, b), (40, c), (100, d)])))
    }

    fn held(bytes: &[u8], room: &'static AnswerRoom) -> Option<Held> {
        held_of(&[], bytes, room)
    }

    fn held_of(namespaces: &[&str], bytes: &[u8], room: &'static AnswerRoom) -> Option<Held> {
        async {
            let mut held = Held::default();
            held.add(bytes, room, namespaces).await;
            held
        }
        .now_or_never()
    }

    /// As many as there is room for.
    fn all_of(namespaces: &[&str], bytes: &[u8], room: &'static AnswerRoom) -> Vec<Held> {
        std::iter::from_fn(|| held_of(namespaces, bytes, room)).collect()
    }

    #[test]
    fn answers_that_grow_and_do_not_end_take_no_more_than_there_is_room() {
        let room = room([3, 2, 2, 1]);
        let mut all: Vec<Held> = (0..50).map(|_| Held::default()).collect();
        for _ in 0..9 {
            for held in &mut all {
                let _waits = held.add(&SMALL, room, &[]).now_or_never();
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
        assert!(growing.add(&LARGE[10..], room, &[]).now_or_never().is_none());
        drop(large);
        assert!(growing.add(&LARGE[10..], room, &[]).now_or_never().is_some());
        assert_eq!(*growing, LARGE);
        assert!(held(&SMALL, room).is_some(), "the small place of what has grown is free again");
    }

    #[test]
    fn a_namespace_has_a_quarter_of_each_size_and_who_comes_after_it_finds_room() {
        let room = room([8, 8, 3, 2]);
        let small = all_of(&["noisy"], &SMALL, room);
        let middle = all_of(&["noisy"], &LARGE[..40], room);
        let large = all_of(&["noisy"], &LARGE, room);
        assert_eq!((small.len(), middle.len(), large.len()), (2, 1, 1));
        for bytes in [&SMALL[..], &LARGE[..40], &LARGE] {
            assert!(held_of(&["shop"], bytes, room).is_some(), "{} bytes", bytes.len());
        }
        let mut growing = held_of(&["shop"], &SMALL, room).expect("a small place");
        assert!(growing.add(&LARGE[10..], room, &["shop"]).now_or_never().is_some());
        drop(small);
        assert!(held_of(&["noisy"], &SMALL, room).is_some());
    }

    #[test]
    fn an_answer_about_several_namespaces_has_room_while_one_of_them_has_and_takes_no_more_than_theirs() {
        let room = room([16, 1, 1, 2]);
        let noisy = all_of(&["noisy"], &SMALL, room);
        let shared = all_of(&["noisy", "shop"], &SMALL, room);
        assert_eq!((noisy.len(), shared.len()), (4, 4));
        assert!(held_of(&["shop"], &SMALL, room).is_none(), "they are in its share");
        assert!(held_of(&["bank"], &SMALL, room).is_some());
        let large = held_of(&["noisy"], &LARGE, room);
        assert!(large.is_some() && held_of(&["noisy", "shop"], &LARGE, room).is_some());
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
