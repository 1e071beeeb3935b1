//! Why a write did not happen, in the API server's answer: whether to look again, what it was refused for, and how long to leave it alone. What follows from
//! that is not known here.

use std::time::Duration;

use kube::core::Status;

use crate::api::Right;
use crate::decide::refusal::Why;

/// What is waited for as long as this and not answered hangs: the Lease is waited for no longer, and nobody writes whose Lease is not renewed.
const HANGS: Duration = Duration::from_secs(5);

/// What the API server says of a JSON patch that does not apply. Which operation it was, and why, it keeps to itself: no other refusal says only this.
pub(super) const NOT_AS_TESTED: &str = "the server rejected our request due to an error in our request";

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error("this process may not write any more: nothing was written")]
    Fenced,
    #[error("the object changed in between: {0}")]
    Stale(String),
    #[error("the object is gone")]
    Gone,
    /// The place of all objects of its kind is not known: an API server that has just started, a CRD that is not applied or not served now.
    /// Nothing is said of the object itself.
    #[error("the API server does not serve it: {0}")]
    NotServed(String),
    #[error("the API server refused it: {0}")]
    Refused(String),
    #[error("{0}")]
    Forbidden(Right),
    /// What was to be made is not what has its name: somebody else has made that, or changed it.
    #[error("{words}: {remedy}")]
    Taken { words: String, remedy: String },
    /// A webhook that has to be asked first does not answer. The same write goes through once it does; until then it is as good as refused.
    #[error("{0}")]
    WebhookSilent(String),
    /// It was waited for as long as this.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The same, of a write that hung the last time that it was tried, too: the Lease was renewed meanwhile, so that it is not the whole API server. A webhook
    /// that hangs is given up by the API server after we have given up the write. It is as good as refused.
    #[error("no answer in time, again and again")]
    Unanswered,
    #[error("the API server asks to come back in {} s", .0.as_secs())]
    Throttled(Duration),
    #[error("the API server could not be asked: {0}")]
    Unreachable(String),
}

impl ActError {
    /// One word out of a closed set, for metric labels.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Stale(_) => "stale",
            Self::Gone => "gone",
            Self::NotServed(_) => "not_served",
            Self::Refused(_) => "refused",
            Self::Forbidden(_) => "forbidden",
            Self::Taken { .. } => "taken",
            Self::WebhookSilent(_) => "webhook_silent",
            Self::Deadline(_) | Self::Unanswered => "deadline",
            Self::Throttled(_) => "throttled",
            Self::Unreachable(_) => "unreachable",
        }
    }

    /// Whether looking again at once is right: nothing is wrong but our view.
    pub fn look_again(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Gone)
    }

    /// Whether whoever is asked about it hangs, as far as one try can tell.
    pub fn hangs(&self) -> bool {
        matches!(self, Self::Deadline(waited) if *waited >= HANGS)
    }

    /// Whether nobody knows what became of it: it may have been done, or be yet.
    pub fn may_have_gone_out(&self) -> bool {
        match self {
            Self::Deadline(_) | Self::Unanswered | Self::Unreachable(_) | Self::Stale(_) | Self::Gone => true,
            Self::Fenced
            | Self::NotServed(_)
            | Self::Refused(_)
            | Self::Forbidden(_)
            | Self::Taken { .. }
            | Self::WebhookSilent(_)
            | Self::Throttled(_) => false,
        }
    }

    /// Why it was refused, where it was: the same write would be again, for as long as nobody mends anything.
    pub fn refusal(&self) -> Option<Why> {
        match self {
            Self::Refused(words) | Self::WebhookSilent(words) => Some(Why::Words(words.clone())),
            Self::Forbidden(right) => Some(Why::Right(right.clone())),
            Self::Unanswered => Some(Why::Unanswered),
            Self::Taken { words, remedy } => {
                Some(Why::Taken { words: words.clone(), remedy: remedy.clone() })
            }
            Self::Fenced
            | Self::Stale(_)
            | Self::Gone
            | Self::NotServed(_)
            | Self::Deadline(_)
            | Self::Throttled(_)
            | Self::Unreachable(_) => None,
        }
    }

    /// Why what nothing waits for is passed over; `None`: whatever comes after it would not be written either.
    pub fn passed_over(&self) -> Option<Why> {
        let failed = || Why::Failed { category: self.category(), words: self.to_string() };
        let is_fenced = matches!(self, Self::Fenced);
        self.refusal().or_else(|| (!is_fenced).then(failed))
    }

    /// How long the API server wants to be left alone.
    pub fn come_back_in(&self) -> Duration {
        match self {
            Self::Throttled(wait) => *wait,
            Self::Fenced
            | Self::Stale(_)
            | Self::Gone
            | Self::NotServed(_)
            | Self::Refused(_)
            | Self::Forbidden(_)
            | Self::Taken { .. }
            | Self::WebhookSilent(_)
            | Self::Deadline(_)
            | Self::Unanswered
            | Self::Unreachable(_) => Duration::ZERO,
        }
    }
}

/// A JSON patch that does not apply comes back as 422 (Invalid), whether a `test` fails or what it is about is not there: the object is another
/// than the one that was looked at, the same as a conflict.
pub(super) fn classify(error: kube::Error) -> ActError {
    if let Some(right) = Right::within(&error) {
        return ActError::Forbidden(right);
    }
    match error {
        kube::Error::Api(status) => match status.code {
            404 if names_object(&status) => ActError::Gone,
            404 => ActError::NotServed(status.message.clone()),
            409 => ActError::Stale(status.message.clone()),
            422 if status.message == NOT_AS_TESTED => ActError::Stale(status.message.clone()),
            500 if status.message.contains("failed calling webhook") => {
                ActError::WebhookSilent(status.message.clone())
            }
            // An expired token is renewed; what we wrote was never looked at.
            400 | 403 | 405 | 413 | 415 | 422 => ActError::Refused(status.message.clone()),
            429 | 503 => match status.details.as_ref().map(|details| details.retry_after_seconds) {
                Some(seconds) if seconds > 0 => ActError::Throttled(Duration::from_secs(u64::from(seconds))),
                _ => ActError::Unreachable(status.message.clone()),
            },
            _ => ActError::Unreachable(status.message.clone()),
        },
        other => ActError::Unreachable(other.to_string()),
    }
}

/// Whether a 404 is about an object. One that is about a path names none: "404 page not found".
fn names_object(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
        || status.message.ends_with("\" not found")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn answered(code: u16, retry_after_seconds: u32) -> ActError {
        let details = json!({ "retryAfterSeconds": retry_after_seconds });
        let status = json!({ "status": "Failure", "message": "no", "code": code, "details": details });
        classify(kube::Error::Api(from_value::<Box<Status>>(status).unwrap()))
    }

    #[test]
    fn an_expired_token_is_no_answer_to_what_was_asked() {
        assert_eq!(answered(403, 0).category(), "refused");
        assert_eq!(answered(401, 0).category(), "unreachable");
    }

    #[test]
    fn a_patch_that_does_not_apply_is_stale_and_one_that_is_invalid_is_refused() {
        let said = |message: &str| {
            let status = json!({ "status": "Failure", "message": message, "code": 422, "reason": "Invalid", "details": {} });
            classify(kube::Error::Api(from_value::<Box<Status>>(status).unwrap()))
        };
        let stale = said("the server rejected our request due to an error in our request");
        assert_eq!((stale.category(), stale.look_again(), stale.refusal()), ("stale", true, None));
        let invalid = said("Deployment.apps \"shop\" is invalid: spec.replicas: Invalid value: -1");
        assert_eq!((invalid.category(), invalid.look_again()), ("refused", false));
    }

    #[test]
    fn a_webhook_that_does_not_answer_is_as_good_as_a_refusal() {
        let status = |message: &str| {
            let status =
                json!({ "status": "Failure", "message": message, "code": 500, "reason": "InternalError" });
            classify(kube::Error::Api(from_value::<Box<Status>>(status).unwrap()))
        };
        let words = "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: connection refused";
        let silent = status(words);
        assert_eq!(silent.category(), "webhook_silent");
        assert_eq!(silent.refusal(), Some(Why::Words(words.to_owned())));
        assert_eq!(status("etcdserver: request timed out").category(), "unreachable");
    }

    #[test]
    fn what_was_waited_for_as_long_as_the_lease_is_hangs_and_is_as_good_as_refused_once_it_does_again() {
        let late = |seconds| ActError::Deadline(Duration::from_secs(seconds));
        assert_eq!(
            (late(4).hangs(), late(5).hangs()),
            (false, true),
            "who leads for a moment only waits for no longer"
        );
        assert_eq!((late(10).refusal(), ActError::Unanswered.refusal()), (None, Some(Why::Unanswered)));
        assert!(late(10).may_have_gone_out() && ActError::Unanswered.may_have_gone_out());
    }

    #[test]
    fn an_object_is_gone_only_where_the_api_server_names_it() {
        let status = |message: &str, details: Value| {
            let status = json!({ "status": "Failure", "message": message, "code": 404, "details": details });
            classify(kube::Error::Api(from_value::<Box<Status>>(status).unwrap())).category()
        };
        let named = json!({ "group": "tidegate.dev", "kind": "releases", "name": "shop" });
        assert_eq!(status("releases.tidegate.dev \"shop\" not found", named), "gone");
        assert_eq!(status("releases.tidegate.dev \"shop\" not found", Value::Null), "gone");
        assert_eq!(status("404 page not found", Value::Null), "not_served");
        let unnamed = json!({ "group": "tidegate.dev", "kind": "releases" });
        assert_eq!(status("the server could not find the requested resource", unnamed), "not_served");
    }

    #[test]
    fn how_long_it_wants_to_be_left_alone_is_kept() {
        assert_eq!(answered(429, 7).come_back_in(), Duration::from_secs(7));
        assert_eq!(answered(503, 7).come_back_in(), Duration::from_secs(7));
        assert_eq!(answered(503, 0).category(), "unreachable");
    }
}
