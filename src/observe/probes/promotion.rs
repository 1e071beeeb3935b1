//! Answers of `promotion` checks: reads the other Release and the records of its runs. What they say is judged in `decide/promotion.rs`.

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::list::{List, each};
use super::{Answer, failed, unknown};
use crate::api::RELEASE_LABEL;
use crate::api::text::is_object_name;
use crate::decide::promotion::{Subject, Wanted, judged};
use crate::observe::measure::shortened;

/// Pages of records: more than a Release keeps.
const RECORDS: usize = 4;

/// Asks once.
pub async fn ask(client: &Client, wanted: &Wanted, subject: &Subject, now: Timestamp) -> Answer {
    let (namespace, release) = (&wanted.namespace, wanted.other(subject));
    if let Some(odd) = [namespace, release].into_iter().find(|name| !is_object_name(name)) {
        return failed(format!("'{}' is not the name of an object", shortened(odd, 100)));
    }
    let place = format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}");
    // Listed and not got: the operator has no right to get what it watches.
    let (name, label) = (format!("metadata.name={release}"), format!("{RELEASE_LABEL}={release}"));
    let read = async {
        let words = format!("releases of namespace {namespace}");
        let found = all(client, &format!("{place}/releases"), ("fieldSelector", &name), &words).await?;
        let words = format!("releasereports of namespace {namespace}");
        let path = format!("{place}/releasereports");
        let records = all(client, &path, ("labelSelector", &label), &words).await?;
        Ok::<_, String>((found.into_iter().next(), records))
    };
    let (found, records) = match read.await {
        Ok(read) => read,
        Err(why) => return unknown(why),
    };
    judged(wanted, subject, found.as_ref(), &records, now)
}

async fn all(client: &Client, path: &str, selector: (&str, &str), words: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    each(client, &List { path, selectors: &[selector], words, most_pages: RECORDS }, |object| {
        found.push(object);
    })
    .await?;
    Ok(found)
}
