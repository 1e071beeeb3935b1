//! Answers of `promotion` checks: reads other Releases and the records of their runs, or a record that somebody has brought. What they say is
//! judged in `decide/promotion.rs`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::Value;

use super::list::{List, each};
use super::{Answer, failed, unknown};
use crate::api::labels::Labels;
use crate::api::text::is_object_name;
use crate::api::{RELEASE_LABEL, Right};
use crate::decide::promotion::{Other, Others, Subject, Wanted, brought, judged, judged_together};
use crate::observe::measure::shortened;

/// Pages of records: more than a Release keeps.
const RECORDS: usize = 4;
/// What is read of a record: what was measured in the run is most of it.
const OF_A_RECORD: &[&str] =
    &["metadata.name", "spec.release", "spec.outcome", "spec.endedAt", "spec.canary"];
/// What is read of a Release: its spec, and what somebody notes there, may be large.
const OF_A_RELEASE: &[&str] = &["metadata.name", "status"];
/// Releases that one selector may find, beside the one that asks.
const MOST: usize = 16;
/// Releases that are kept: one more than that, and the one that asks.
const KEPT: usize = MOST + 2;

/// Asks once.
pub async fn ask(client: &Client, wanted: &Wanted, subject: &Subject, now: Timestamp) -> Answer {
    let namespace = wanted.namespace.as_ref().unwrap_or(&subject.namespace);
    if let Some(odd) = odd(namespace) {
        return odd;
    }
    let question = Asked { client, namespace, wanted, subject, now };
    let answer = match &wanted.others {
        Others::Named(name) => question.of_one(name.as_ref().unwrap_or(&subject.release)).await,
        Others::Labelled { labels, at_least } => question.of_several(labels, *at_least).await,
        Others::Brought { config_map, key } => question.of_record(config_map, key).await,
    };
    answer.unwrap_or_else(unknown)
}

fn odd(name: &str) -> Option<Answer> {
    (!is_object_name(name))
        .then(|| failed(format!("'{}' is not the name of an object", shortened(name, 100))))
}

/// A question, and what it is asked with.
struct Asked<'a> {
    client: &'a Client,
    namespace: &'a str,
    wanted: &'a Wanted,
    subject: &'a Subject,
    now: Timestamp,
}

impl Asked<'_> {
    async fn of_one(&self, name: &str) -> Result<Answer, String> {
        if let Some(odd) = odd(name) {
            return Ok(odd);
        }
        // Listed and not got: the operator has no right to get what it watches.
        let found = self.releases(("fieldSelector", &format!("metadata.name={name}"))).await?;
        self.judged(name, found.first()).await
    }

    /// One after the other: the records of all of them are never in memory together.
    async fn of_several(&self, labels: &Labels, at_least: Option<usize>) -> Result<Answer, String> {
        let mut said = Vec::new();
        let name = |release: &Value| release["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut found = self.releases(("labelSelector", &labels.to_string())).await?;
        found.retain(|release| !self.subject.is(self.namespace, &name(release)));
        if found.len() > MOST {
            let namespace = self.namespace;
            return Err(format!(
                "there are more than {MOST} releases of namespace {namespace} with {labels}: write a narrower selector"
            ));
        }
        for release in &found {
            said.push(self.judged(&name(release), Some(release)).await?);
        }
        Ok(judged_together(self.namespace, labels, at_least, &said))
    }

    /// Off the threads that everything else runs on: it is somebody's, and may be large.
    async fn of_record(&self, config_map: &str, key: &str) -> Result<Answer, String> {
        if let Some(odd) = odd(config_map) {
            return Ok(odd);
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(config_map).await.map_err(|error| match Right::within(&error) {
            Some(right) => format!("the operator may not read configmap {config_map}: {}", right.remedy()),
            None => format!("configmap {config_map} could not be read"),
        })?;
        let bring = "bring the record of the run that has ended there";
        let mut data = found.ok_or_else(|| format!("there is no configmap {config_map}: {bring}"))?.data;
        let text = data.as_mut().and_then(|data| data.remove(key));
        let text = text.ok_or_else(|| format!("configmap {config_map} has no key {key}: {bring}"))?;
        let place = format!("configmap {config_map}, key {key}");
        let (wanted, subject, now) = (self.wanted.clone(), self.subject.clone(), self.now);
        let judged =
            tokio::task::spawn_blocking(move || brought::judged(&wanted, &subject, &place, &text, now));
        judged.await.map_err(|_| "it could not be read to its end".to_owned())
    }

    async fn judged(&self, name: &str, release: Option<&Value>) -> Result<Answer, String> {
        let Self { client: _, namespace, wanted, subject, now } = *self;
        let label = format!("{RELEASE_LABEL}={name}");
        let mut reports = Vec::new();
        let records = ("releasereports", OF_A_RECORD);
        self.each(records, ("labelSelector", &label), |report| reports.push(report)).await?;
        Ok(judged(wanted, subject, &Other { namespace, name, release, reports: &reports }, now))
    }

    async fn releases(&self, selector: (&str, &str)) -> Result<Vec<Value>, String> {
        let mut found = Vec::new();
        self.each(("releases", OF_A_RELEASE), selector, |release| {
            if found.len() < KEPT {
                found.push(release);
            }
        })
        .await?;
        Ok(found)
    }

    /// Of a resource, these fields.
    async fn each(
        &self,
        (resource, fields): (&str, &'static [&'static str]),
        selector: (&str, &str),
        see: impl FnMut(Value),
    ) -> Result<(), String> {
        let namespace = self.namespace;
        let path = &format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/{resource}");
        let words = &format!("{resource} of namespace {namespace}");
        let asker = &self.subject.namespace;
        let list = List { asker, path, selectors: &[selector], words, fields, most_pages: RECORDS };
        each(self.client, &list, see).await
    }
}
