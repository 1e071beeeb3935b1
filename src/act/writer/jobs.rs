//! Making Jobs: what one does is done once, whether or not its making is answered.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::{Created, Writer};
use crate::act::error::ActError;
use crate::watch::{ObjectKey, slim};

impl Writer {
    /// Makes a Job. One of the same name is the same try of the same check, where it is the same Release's. It may have been made before, by this process or by
    /// another, and nobody have answered, or noted, that it was: so it is asked first whether its Release is there, which would have taken it along, and last
    /// whether it is there itself, where it is refused, such as for a quota that the first one has used up.
    pub async fn create_job(&self, namespace: &str, body: &Value) -> Result<(), ActError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let job = ObjectKey::new(namespace, &text(&body["metadata"]["name"]));
        let owner = &body["metadata"]["ownerReferences"][0];
        let (release, uid) = (text(&owner["name"]), text(&owner["uid"]));
        let found = self.named::<slim::Release>(namespace, &release).await.map_err(unknown)?;
        let is_there = |found: slim::Release| *found.metadata.uid == *uid && !found.metadata.deleted;
        if !found.is_some_and(is_there) {
            return Err(ActError::Gone);
        }
        self.make(&job, &uid, body).await
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

/// That it could not be asked is no refusal of the Job: it may have been made before.
fn unknown(error: ActError) -> ActError {
    match error {
        ActError::Refused(_) | ActError::Forbidden(_) => {
            ActError::Unreachable(format!("whether its Release is there: {error}"))
        }
        error => error,
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
            let releases =
                list(json!([{"metadata": {"name": "shop", "namespace": "ns", "uid": "r"}}])).to_string();
            let answers = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let (code, said) = if request.method() == http::Method::POST {
                    (refusal, refused.to_string())
                } else {
                    let query = request.uri().query().unwrap_or_default();
                    if request.uri().path().ends_with("/releases") {
                        assert!(query.contains("metadata.name%3Dshop"), "{query}");
                        (200, releases.clone())
                    } else {
                        assert!(query.contains("metadata.name%3Dtests-1"), "{query}");
                        (code, listed.to_string())
                    }
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
    async fn a_job_is_made_only_while_its_release_is_there() {
        let list =
            |items: Value| (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
        let there = |uid: &str| list(json!([{"metadata": {"name": "shop", "namespace": "ns", "uid": uid}}]));
        let deleted = list(
            json!([{"metadata": {"name": "shop", "namespace": "ns", "uid": "r", "deletionTimestamp": "2026-01-01T00:00:00Z"}}]),
        );
        let forbidden = (403, json!({"kind": "Status", "status": "Failure", "code": 403, "message": "no"}));
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
            "name": "tests-1", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": "r"}],
        }});
        for (releases, wanted, asked) in [
            (there("r"), "done", "GET POST"),
            (there("another"), "gone", "GET"),
            (deleted, "gone", "GET"),
            (list(json!([])), "gone", "GET"),
            (forbidden, "unreachable", "GET"),
        ] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let seen = heard.clone();
            let answers = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                seen.lock().unwrap().push(request.method().to_string());
                let (code, said) = if request.method() == http::Method::POST {
                    (201, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}}))
                } else {
                    assert!(request.uri().path().ends_with("/namespaces/ns/releases"), "{request:?}");
                    releases.clone()
                };
                let mut answer = http::Response::new(kube::client::Body::from(said.to_string().into_bytes()));
                *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
                async move { Ok::<_, std::io::Error>(answer) }
            });
            let writer = Writer::new(Client::new(answers, "default"), Arc::new(Leads(DEADLINE)));
            let made = writer.create_job("ns", &body).await;
            assert_eq!(made.map_or_else(|error| error.category(), |()| "done"), wanted);
            assert_eq!(heard.lock().unwrap().join(" "), asked);
        }
    }
}
