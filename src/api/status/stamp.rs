//! A moment that somebody wrote. Whoever may write a status may write any moment: one that is out of all sense is taken, where it is read, for the
//! nearest that is not. So what is made of it here by adding a length of time that a spec can say is a moment too.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// The latest moment that anybody is believed to name: in the year 9000. The longest [`Span`](crate::api::text::Span) is 116 years.
const LATEST: Timestamp = Timestamp::constant(221_845_392_000, 0);

/// A moment, to the millisecond, in UTC. Where it is read it is [`sensible`].
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Stamp(pub Timestamp);

/// The nearest moment that may be meant.
pub fn sensible(at: Timestamp) -> Timestamp {
    at.clamp(Timestamp::UNIX_EPOCH, LATEST)
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(|at| Self(sensible(at)))
    }
}

impl JsonSchema for Stamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Stamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::api::ReleaseStatus;
    use crate::api::text::Span;

    #[test]
    fn whatever_moment_is_read_the_longest_times_of_a_spec_can_be_added_to_it() {
        let span = Span("999999h999999m999999s".into()).parse().unwrap();
        let seconds = Duration::from_secs(i32::MAX.unsigned_abs().into());
        let long = span * 4 + seconds * 2;
        for written in ["9999-12-30T22:00:00Z", "-009999-01-02T02:00:00Z", "2026-11-30T11:33:07Z"] {
            let status: ReleaseStatus = serde_json::from_value(json!({ "at": written })).unwrap();
            let Stamp(at) = status.at.unwrap();
            assert!(at.checked_add(long).is_ok() && at.checked_sub(long).is_ok(), "{written}: {at}");
        }
    }

    #[test]
    fn a_moment_that_may_be_meant_is_read_as_it_was_written() {
        for written in ["1970-01-01T00:00:00Z", "2026-11-30T11:33:07.123Z", "8999-12-31T00:00:00Z"] {
            let read: Stamp = serde_json::from_value(json!(written)).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), json!(written));
        }
        assert!(serde_json::from_value::<Stamp>(json!("soon")).is_err());
    }
}
