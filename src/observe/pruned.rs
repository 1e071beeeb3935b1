//! A status of which the API server keeps less than was written: a CRD of before this build has what it does not know left out. What was written is put together
//! again, for as long as what is shown is what was kept of it. Of that no more is remembered than what is left out. Who wrote it is not known here.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use crate::api::ReleaseStatus;
use crate::api::digest::is_nothing;

/// What is left out of a status.
#[derive(Debug)]
pub struct Pruned {
    /// Tells what is shown from all else.
    shown: u64,
    left_out: Value,
}

impl Pruned {
    /// What is left out of what was written, in what is shown. `None`: nothing, or that is another status.
    pub fn of(written: &ReleaseStatus, shown: &ReleaseStatus) -> Option<Self> {
        if written == shown {
            return None;
        }
        let (written, shown) = (value(written), value(shown));
        let left_out = left_out(&shown, &written).filter(|left_out| !left_out.is_null())?;
        Some(Self { shown: digest(&shown), left_out })
    }

    /// The status as it was written. `None`: something else is shown by now.
    pub fn whole(&self, shown: &ReleaseStatus) -> Option<ReleaseStatus> {
        let mut whole = value(shown);
        if digest(&whole) != self.shown {
            return None;
        }
        put_back(&mut whole, &self.left_out);
        serde_json::from_value(whole).ok()
    }
}

fn value(status: &ReleaseStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// What is left out: of an object some fields, of a list something of each item or nothing, which is `null`. `None`: they differ otherwise, too.
fn left_out(shown: &Value, written: &Value) -> Option<Value> {
    match (shown, written) {
        _ if shown == written => Some(Value::Null),
        (Value::Object(shown), Value::Object(written)) => of_fields(shown, written).map(Value::Object),
        (Value::Array(shown), Value::Array(written)) if shown.len() == written.len() => {
            let of_each = shown.iter().zip(written).map(|(shown, written)| left_out(shown, written));
            of_each.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        // What is left out may read as nothing.
        _ if is_nothing(shown) => Some(written.clone()),
        _ => None,
    }
}

fn of_fields(shown: &Map<String, Value>, written: &Map<String, Value>) -> Option<Map<String, Value>> {
    if !shown.keys().all(|name| written.contains_key(name)) {
        return None;
    }
    let mut fields = Map::new();
    for (name, written) in written {
        let left_out = left_out(shown.get(name).unwrap_or(&Value::Null), written)?;
        if !left_out.is_null() {
            fields.insert(name.clone(), left_out);
        }
    }
    Some(fields)
}

fn put_back(shown: &mut Value, left_out: &Value) {
    match (shown, left_out) {
        (_, Value::Null) => {}
        (Value::Object(shown), Value::Object(left_out)) => {
            for (name, left_out) in left_out {
                put_back(shown.entry(name.as_str()).or_insert(Value::Null), left_out);
            }
        }
        (Value::Array(shown), Value::Array(left_out)) if shown.len() == left_out.len() => {
            for (shown, left_out) in shown.iter_mut().zip(left_out) {
                put_back(shown, left_out);
            }
        }
        (shown, left_out) => shown.clone_from(left_out),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status with a run that has these fields besides.
    fn status(more: &Value) -> ReleaseStatus {
        let mut run = json!({
            "id": "r1", "number": 1, "startedAt": "2026-12-01T12:00:00Z", "originals": {"paused": null}, "stage": "Watch",
            "passed": [step("one", None), step("half", None)],
        });
        for (name, value) in more.as_object().expect("fields") {
            run[name] = value.clone();
        }
        serde_json::from_value(json!({"revision": 2, "run": run})).expect("a status")
    }

    fn step(name: &str, pilots: Option<i32>) -> Value {
        json!({"name": name, "pods": 1, "of": 4, "left": "2026-12-01T12:00:00Z", "pilots": pilots})
    }

    #[test]
    fn what_is_left_out_is_put_back_wherever_it_stands() {
        for more in [
            json!({"overtakenSince": "2026-12-01T12:00:01Z"}),
            json!({"step": 2, "progress": {"good": 3, "writtenAnew": true}}),
            json!({"passed": [step("one", None), step("half", Some(2))]}),
            json!({"notes": ["something"], "paused": {"by": "alice", "at": "2026-12-01T12:00:00Z", "reason": "drill"}}),
            json!({"judge": {"seen": [0.1, 1e-7, 12345678.25]}}),
        ] {
            let (written, shown) = (status(&more), status(&json!({})));
            let pruned = Pruned::of(&written, &shown).unwrap_or_else(|| panic!("{more}"));
            assert_eq!(pruned.whole(&shown), Some(written), "{more}");
        }
        let none = status(&json!({"passed": []}));
        let pruned = Pruned::of(&status(&json!({})), &none).expect("less is shown");
        assert_eq!(pruned.whole(&none), Some(status(&json!({}))));
    }

    #[test]
    fn what_differs_otherwise_is_somebody_elses_status() {
        let since = |second: u8| status(&json!({"overtakenSince": format!("2026-12-01T12:00:0{second}Z")}));
        let none = status(&json!({}));
        for (written, shown) in [
            (none.clone(), none.clone()),
            (none.clone(), since(1)),
            (since(1), since(2)),
            (since(1), status(&json!({"stage": "Steps"}))),
            (status(&json!({"passed": [step("one", None)]})), none.clone()),
        ] {
            assert!(Pruned::of(&written, &shown).is_none(), "{written:?} {shown:?}");
        }
        let pruned = Pruned::of(&since(1), &none).expect("less is shown");
        assert_eq!(pruned.whole(&status(&json!({"step": 1}))), None, "somebody has written it since");
    }
}
