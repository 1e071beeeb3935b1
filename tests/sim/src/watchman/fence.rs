//! Who was elected writes only for as long as nobody else can have been: 2. Not after the renew deadline, counted from when the last request was sent that
//! renewed the Lease and was answered well; nor after the Lease was given up; nor before it was ever had. What counts is when a write is handed out, and not when
//! it arrives.
//!
//! Who leads meanwhile is asked by another rule (`writing`). The operator counts from before it looked at the Lease: that may be a little earlier than what is
//! seen here.

use serde_json::Value;

use super::writing::RENEW_DEADLINE;
use crate::server::Request;
use crate::world::World;

/// What a request about the Lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// To lead, or to lead on.
    Lead,
    /// To lead no more.
    GiveUp,
}

impl Campaign {
    /// `None`: it changes nothing, or is about something else.
    pub fn of(request: &Request) -> Option<Self> {
        if request.method == http::Method::GET || !request.path.contains("/leases") {
            return None;
        }
        let lease: Value = serde_json::from_slice(&request.body).ok()?;
        let is_held = lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty());
        Some(if is_held { Self::Lead } else { Self::GiveUp })
    }
}

impl World {
    /// A process has learnt that what it asked about the Lease is done. `sent`: when it asked.
    pub fn campaigned(&mut self, process: usize, what: Campaign, sent: u64) {
        let leads_from = &mut self.watchman.leads_from;
        match what {
            Campaign::Lead => {
                leads_from.insert(process, sent);
            }
            Campaign::GiveUp => {
                leads_from.remove(&process);
            }
        }
    }

    /// A process hands out a write of anything but the Lease.
    pub(super) fn check_fence(&mut self, process: usize, what: &str) {
        if !self.watchman.identities.contains_key(&process) {
            return;
        }
        let since = self.watchman.leads_from.get(&process).copied();
        let now = self.now;
        self.check("2 (the fence)", since.is_some_and(|since| now <= since + RENEW_DEADLINE), || {
            let known = since.map_or_else(
                || "which has no Lease".to_owned(),
                |since| format!("which renewed the Lease last {} ms ago", now - since),
            );
            format!("{what} by operator-{process}, {known}")
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{OPERATOR, said, world};
    use super::*;

    const FENCE: &str = "2 (the fence)";

    fn asks(method: http::Method, path: &str, holder: &Value) -> Request {
        Request {
            who: OPERATOR,
            metadata_only: false,
            path: path.to_owned(),
            query: "fieldManager=tidegate".to_owned(),
            patch: None,
            method,
            content_type: String::new(),
            body: json!({"spec": {"holderIdentity": holder}}).to_string().into(),
        }
    }

    fn writes(world: &mut World, at: u64) -> usize {
        world.now = at;
        let request = asks(http::Method::POST, "/api/v1/namespaces/shop/events", &Value::Null);
        world.check_sent(0, &request);
        said(world, FENCE)
    }

    fn elected() -> World {
        let mut world = world(&json!({}));
        world.watchman.identities.insert(0, "operator-0".to_owned());
        world
    }

    #[test]
    fn what_is_written_after_the_renew_deadline_is_seen_counted_from_when_the_last_renewal_was_sent() {
        let mut world = elected();
        world.campaigned(0, Campaign::Lead, 1_000);
        assert_eq!(writes(&mut world, 11_000), 0, "{:?}", world.watchman.violations);
        assert_eq!(writes(&mut world, 11_001), 1);
        world.campaigned(0, Campaign::Lead, 9_000);
        assert_eq!(writes(&mut world, 19_000), 1, "{:?}", world.watchman.violations);
    }

    #[test]
    fn who_never_had_the_lease_or_gave_it_up_writes_nothing_and_who_leads_alone_needs_none() {
        let mut world = elected();
        assert_eq!(writes(&mut world, 10), 1);
        world.campaigned(0, Campaign::Lead, 1_000);
        world.campaigned(0, Campaign::GiveUp, 2_000);
        assert_eq!(writes(&mut world, 2_001), 2);
        world.watchman.identities.clear();
        assert_eq!(writes(&mut world, 2_002), 2);
    }

    #[test]
    fn a_lease_that_names_nobody_is_given_up() {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases/tidegate";
        let of = |method, path, holder: Value| Campaign::of(&asks(method, path, &holder));
        assert_eq!(of(http::Method::PUT, lease, json!("operator-0")), Some(Campaign::Lead));
        assert_eq!(of(http::Method::PUT, lease, Value::Null), Some(Campaign::GiveUp));
        assert_eq!(of(http::Method::GET, lease, json!("operator-0")), None);
        assert_eq!(of(http::Method::PUT, "/api/v1/namespaces/shop/pods/p1", json!("operator-0")), None);
    }
}
