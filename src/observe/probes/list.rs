//! Lists of the API server, page by page: each page is looked at and let go of, so that all pods of a large cluster are never in memory.

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use reqwest::Url;
use serde_json::Value;

use super::object::body;
use crate::api::Right;
use crate::observe::measure::shortened;

/// Objects of one page.
const PAGE: &str = "250";
/// Bytes of one page.
const LARGEST: usize = 16 << 20;

/// What is listed.
pub struct List<'a> {
    /// Where the API server has it: `/api/v1/nodes`.
    pub path: &'a str,
    /// Selectors, by the names of their parameters.
    pub selectors: &'a [(&'a str, &'a str)],
    /// In words, for messages.
    pub words: &'a str,
    /// Pages that are read; more is an error.
    pub most_pages: usize,
}

/// Looks at each object of a list.
///
/// # Errors
/// A sentence: why it cannot be told what is there, and what to do about it.
pub async fn each(client: &Client, list: &List<'_>, mut see: impl FnMut(Value)) -> Result<(), String> {
    let List { path, selectors, words, most_pages } = list;
    let mut next = String::new();
    for _ in 0..*most_pages {
        let mut page = page(client, path, selectors, words, &next).await?;
        match page["items"].take() {
            Value::Array(items) => items.into_iter().for_each(&mut see),
            _ => return Err(format!("{words} could not be read")),
        }
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(());
        }
    }
    Err(format!("there are more than {} {words}: so many are not read", most_pages * 250))
}

async fn page(
    client: &Client,
    path: &str,
    selectors: &[(&str, &str)],
    words: &str,
    next: &str,
) -> Result<Value, String> {
    let unread = || format!("{words} could not be read");
    let own = [("limit", PAGE), ("continue", next)];
    let query = selectors.iter().chain(&own).filter(|(_, value)| !value.is_empty());
    let query = Url::parse_with_params("http://any", query).map_err(|_| unread())?;
    let uri = format!("{path}?{}", query.query().unwrap_or_default());
    let request = Request::get(uri).body(Body::empty()).map_err(|_| unread())?;
    let response = client.send(request).await.map_err(|_| unread())?;
    let status = response.status();
    let body = body(response.into_body(), LARGEST).await;
    let body =
        body.map_err(|problem| problem.map_or_else(unread, |problem| format!("{words}: {problem}")))?;
    // Off the threads that everything else runs on: a page is large.
    let read = tokio::task::spawn_blocking(move || serde_json::from_slice::<Value>(&body).ok()).await;
    let answer = read.ok().flatten().unwrap_or_default();
    let message = answer["message"].as_str().unwrap_or_default();
    match status {
        StatusCode::OK => Ok(answer),
        StatusCode::FORBIDDEN => Err(match Right::lacking(message) {
            Some(right) => format!("the operator may not {} {words}: {}", right.verb, right.remedy()),
            None => format!("{words} may not be read: {}", shortened(message, 200)),
        }),
        // What was begun to be read is forgotten there.
        StatusCode::GONE => Err(format!("{words} could not be read to the end in time")),
        status => Err(format!("{words} could not be read: status {}", status.as_u16())),
    }
}
