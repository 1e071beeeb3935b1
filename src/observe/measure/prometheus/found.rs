//! What answers tell of one pod, in the room of whoever asked for it, until they are whole.

use std::collections::HashMap;

use super::{Asker, Round, Wanted};
use crate::observe::measure::{ReadError, SeriesValue, within_limits};
use crate::watch::room::Place;

/// Bytes that a series takes while its pod is asked about, in a table that has just grown; and once it is told.
const FOUND: usize = (size_of::<(u64, (f64, SeriesValue))>() + 1) * 16 / 7;
const TOLD: usize = size_of::<SeriesValue>();
/// For so many more series room is taken at once.
const FOUND_AT_ONCE: usize = 64;
/// Seconds after a container's start (which is known to the second, by another machine's clock) in which samples may still be
/// of the process before.
const START_MARGIN: i64 = 2;
/// A container that was started more than so many seconds from now was not: whose clock is wrong, ours or its node's, nobody knows.
const IMPOSSIBLE: i64 = 60;

/// One pod's series, each with its newest sample.
pub(super) struct FoundPod {
    series: HashMap<u64, (f64, SeriesValue)>,
    /// Why they are not all of its series; then none is kept.
    fault: Option<ReadError>,
    /// Of `room_for` series.
    place: Place,
    room_for: usize,
}

impl FoundPod {
    pub(super) fn of(asker: &Asker) -> Self {
        Self { series: HashMap::new(), fault: None, place: asker.passage.begin(), room_for: 0 }
    }

    /// Of the same series collected twice, the newer sample stays.
    pub(super) fn add(&mut self, at: f64, value: SeriesValue) {
        if self.fault.is_some() {
            return;
        }
        let is_new = !self.series.contains_key(&value.series);
        if is_new && self.series.len() == self.room_for {
            if !self.place.grow(FOUND_AT_ONCE * FOUND) {
                self.fail(ReadError::NoRoom);
                return;
            }
            self.room_for += FOUND_AT_ONCE;
        }
        let kept = self.series.entry(value.series).or_insert((at, value));
        if at > kept.0 {
            *kept = (at, value);
        }
    }

    /// This is wrong with it, whatever else comes.
    pub(super) fn fail(&mut self, fault: ReadError) {
        self.fault = Some(fault);
        self.series = HashMap::new();
        self.place.shrink(self.room_for * FOUND);
        self.room_for = 0;
    }

    /// What it has counted, or why that cannot be told. `ahead`: how many seconds the server's clock, which stamped the samples, is ahead of ours.
    pub(super) fn finish(
        mut self,
        round: &Round,
        Wanted { asker, pod, .. }: &Wanted<'_>,
        ahead: i64,
    ) -> Result<Vec<SeriesValue>, ReadError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut values = Vec::with_capacity(self.series.len());
        let (mut newest, mut unusable) = (None, None::<f64>);
        let started_at = pod.started_at.filter(|start| *start <= round.now.saturating_add(IMPOSSIBLE));
        for (at, value) in self.series.into_values() {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is a moment in seconds")]
            let at = (at.floor() as i64).saturating_sub(ahead);
            if started_at.is_none_or(|start| at >= start.saturating_add(START_MARGIN)) {
                newest = newest.max(Some(at));
                if value.value.is_finite() && value.value >= 0.0 {
                    values.push(value);
                } else {
                    // The same one each time: what is said of it stands in status.
                    unusable = Some(unusable.map_or(value.value, |known| known.min(value.value)));
                }
            }
        }
        let age_seconds = round.now.saturating_sub(newest.ok_or(ReadError::NoSamples)?);
        if age_seconds > round.stale_after() {
            return Err(ReadError::Stale { age_seconds });
        }
        if let Some(value) = unusable.filter(|_| values.is_empty()) {
            return Err(ReadError::NotACounter { name: "the counter".to_owned(), value: value.to_string() });
        }
        let mut values = within_limits(values)?;
        values.sort_by_key(|value| value.series);
        self.place.shrink((self.room_for * FOUND).saturating_sub(values.capacity() * TOLD));
        asker.passage.keep(self.place);
        Ok(values)
    }
}
