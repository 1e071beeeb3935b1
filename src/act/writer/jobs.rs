//! Making Jobs: what one does is done once, whether or not its making is answered.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::{Created, Writer};
use crate::act::error::ActError;
use crate::watch::{ObjectKey, slim};

impl Writer {
    /// Makes a Job. One of the same name is the same try of the same check, where it is the same Release's. This process may have made it before, and nobody may
    /// have answered, or noted, that it did: it asks first whether its Release is there, which would have taken it along, and is not refused for what the
    /// first one has made, such as for a quota that it has used up.
    pub async fn create_job(&self, namespace: &str, body: &Value) -> Result<(), ActError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let job = ObjectKey::new(namespace, &text(&body["metadata"]["name"]));
        let owner = &body["metadata"]["ownerReferences"][0];
        let (release, uid) = (text(&owner["name"]), text(&owner["uid"]));
        let was_tried = self.tried.holds(&job);
        if was_tried {
            let found = self.named::<slim::Release>(namespace, &release).await?;
            let is_there = |found: slim::Release| *found.metadata.uid == *uid && !found.metadata.deleted;
            if !found.is_some_and(is_there) {
                return Err(ActError::Gone);
            }
        }
        self.tried.add(job.clone());
        let made = self.make(&job, &uid, body).await;
        let has_gone_out = made.as_ref().err().is_none_or(ActError::may_have_gone_out);
        if !has_gone_out && !was_tried {
            self.tried.remove(&job);
        }
        made
    }

    async fn make(&self, job: &ObjectKey, owner: &str, body: &Value) -> Result<(), ActError> {
        let refusal = match self.create::<Job>(job.namespace(), body).await {
            Ok(Created::Anew) => return Ok(()),
            Ok(Created::Before) => taken(job),
            Err(refusal @ (ActError::Refused(_) | ActError::Forbidden(_))) => refusal,
            Err(error) => return Err(error),
        };
        match self.named::<slim::Job>(job.namespace(), job.name()).await {
            Ok(Some(found)) if found.metadata.is_owned_by(owner) => Ok(()),
            Ok(None) if matches!(refusal, ActError::Taken { .. }) => {
                Err(ActError::Stale(format!("job {} was there already, and has gone", job.name())))
            }
            Ok(_) | Err(ActError::Refused(_) | ActError::Forbidden(_)) => Err(refusal),
            // Nobody knows whether it is there.
            Err(error) => Err(error),
        }
    }
}

/// What another one of its name does says nothing of this try.
fn taken(job: &ObjectKey) -> ActError {
    let (namespace, name) = (job.namespace(), job.name());
    ActError::Taken {
        words: format!("job {name} is there already, and is not this Release's"),
        remedy: format!("if nobody needs it: kubectl delete job {name} -n {namespace}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use kube::Client;
    use serde_json::json;

    use super::*;
    use crate::act::writer::{DEADLINE, Leads};

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_refused_or_there_already_is_made_where_what_is_there_is_its_releases() {
        let of = |uid: &str| {
            json!({
                "name": "tests-1", "namespace": "ns", "uid": "j1",
                "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": uid}],
            })
        };
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": of("r")});
        let status = |code: u16, message: &str| json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
        let list = |items: Value| json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items});
        let no_room = (403, "exceeded quota: jobs, requested: count/jobs.batch=1, used: 1, limited: 1");
        let is_there = (409, "jobs.batch \"tests-1\" already exists");
        let cases = [
            (200, list(json!([{"metadata": of("r")}])), ["done", "done"]),
            (200, list(json!([{"metadata": of("another")}])), ["refused", "taken"]),
            (200, list(json!([])), ["refused", "stale"]),
            (403, status(403, "no"), ["refused", "taken"]),
            (500, status(500, "no"), ["unreachable", "unreachable"]),
        ];
        let each = cases.iter().flat_map(|(code, listed, wanted)| {
            [no_room, is_there]
                .into_iter()
                .zip(wanted)
                .map(move |(made, wanted)| (*code, listed, made, *wanted))
        });
        for (code, listed, (refusal, words), wanted) in each {
            let (refused, listed) = (status(refusal, words), listed.clone());
            let answers = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let (code, said) = if request.method() == http::Method::POST {
                    (refusal, refused.to_string())
                } else {
                    let query = request.uri().query().unwrap_or_default();
                    assert!(query.contains("metadata.name%3Dtests-1"), "{query}");
                    (code, listed.to_string())
                };
                let mut answer = http::Response::new(kube::client::Body::from(said.into_bytes()));
                *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
                async move { Ok::<_, std::io::Error>(answer) }
            });
            let writer = Writer::new(Client::new(answers, "default"), Arc::new(Leads(DEADLINE)));
            let made = writer.create_job("ns", &body).await;
            if let Err(taken @ ActError::Taken { .. }) = &made {
                let words = "job tests-1 is there already, and is not this Release's: if nobody needs it: kubectl delete job tests-1 -n ns";
                assert_eq!(taken.to_string(), words);
            }
            assert_eq!(made.map_or_else(|error| error.category(), |()| "done"), wanted, "{refusal} {code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_made_again_only_while_its_release_is_there() {
        let is_there = |uid: &str| json!([{"metadata": {"name": "shop", "namespace": "ns", "uid": uid}}]);
        let deleted = json!([{"metadata": {"name": "shop", "namespace": "ns", "uid": "r", "deletionTimestamp": "2026-01-01T00:00:00Z"}}]);
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
            "name": "tests-1", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": "r"}],
        }});
        for (first, releases, wanted, asked) in [
            (500, is_there("r"), "done", "POST GET POST"),
            (500, is_there("another"), "gone", "POST GET"),
            (500, deleted, "gone", "POST GET"),
            (500, json!([]), "gone", "POST GET"),
            (201, is_there("r"), "done", "POST GET POST"),
            (201, is_there("another"), "gone", "POST GET"),
            (429, json!([]), "done", "POST POST"),
            (409, is_there("r"), "done", "POST GET POST"),
        ] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let seen = heard.clone();
            let answers = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let mut seen = seen.lock().unwrap();
                seen.push(request.method().to_string());
                let (code, said) = match (request.method().as_str(), seen.len()) {
                    ("POST", 1) => (
                        first,
                        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": first, "message": "no", "details": {"retryAfterSeconds": 1}}),
                    ),
                    ("POST", _) => (201, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}})),
                    _ => {
                        assert!(request.uri().path().ends_with("/namespaces/ns/releases"), "{request:?}");
                        (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": releases}))
                    }
                };
                let mut answer = http::Response::new(kube::client::Body::from(said.to_string().into_bytes()));
                *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
                async move { Ok::<_, std::io::Error>(answer) }
            });
            let writer = Writer::new(Client::new(answers, "default"), Arc::new(Leads(DEADLINE)));
            let _ = writer.create_job("ns", &body).await;
            let made = writer.create_job("ns", &body).await;
            assert_eq!(made.map_or_else(|error| error.category(), |()| "done"), wanted, "{first}");
            assert_eq!(heard.lock().unwrap().join(" "), asked, "{first}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_making_was_broken_off_was_tried_too() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        let writer = Writer::new(Client::new(silent, "default"), Arc::new(Leads(DEADLINE)));
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "tests-1", "namespace": "ns"}});
        let broken_off = tokio::time::timeout(Duration::from_secs(1), writer.create_job("ns", &body));
        assert!(broken_off.await.is_err(), "nobody waits for it any more");
        assert!(writer.tried.holds(&ObjectKey::new("ns", "tests-1")));
    }
}
