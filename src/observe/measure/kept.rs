//! Room for series: how many bytes of what pods have counted are in memory, of all runs together. A pod's are bounded, but not how many pods
//! somebody has, so each namespace has its share (see [`crate::watch::room`]). What finds no room is not read, and says so: it is never counted in part.
//!
//! Room is taken by what ledgers keep from one round to the next, and by what a Prometheus server has answered until it is in a ledger. The pods' own pages need
//! none on their way: each goes into the ledger before the next one.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::watch::ObjectKey;
use crate::watch::room::{Place, Room};

/// The room of this process: 64 MiB. Two hundred runs of fifty pods with sixty series each take 9 MiB of it in their ledgers, and 18 MiB more on the way there when
/// all of them ask one server in the same second.
pub static SERIES: LazyLock<Room> = LazyLock::new(|| Room::of(64 << 20));

/// What a server has answered for one reading, in its room until nobody holds this or a copy of it any more.
#[derive(Debug, Clone)]
pub struct Passage {
    room: Room,
    of: ObjectKey,
    told: Arc<Mutex<Vec<Place>>>,
}

impl Passage {
    /// Nothing has been answered yet. `of`: for whom it is read.
    pub fn of(room: &Room, of: &ObjectKey) -> Self {
        Self { room: room.clone(), of: of.clone(), told: Arc::default() }
    }

    /// A place for one pod's series, to grow with them.
    pub(super) fn begin(&self) -> Place {
        self.room.empty_place(&self.of)
    }

    /// Keeps the place of series that are told.
    pub(super) fn keep(&self, place: Place) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}
