//! Lists of the API server, page by page: each page is looked at and let go of, so that all pods of a large cluster are never in memory. Of each object
//! only the fields that are looked at are kept.
//!
//! Pages of the watch (`watch/pages.rs`) are others: they become slim views, so only what is on its way is bounded there. Here a page becomes values, and
//! has its turn until they are let go of. Turns are by namespace: whose lists are large keeps others waiting for one page at a time.

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use reqwest::Url;
use serde_json::Value;

use super::body::{self, Arrived, Come};
use super::extract::{self, NotKept, leads_to};
use crate::api::Right;
use crate::observe::measure::shortened;
use crate::turns::{Turn, Turns};

/// Objects of one page.
const PAGE: usize = 250;
/// Objects of one page where they are so large that those together are more than is read. Where these are, too, one is read at a time: what somebody
/// makes in one namespace keeps nobody from reading what there is of others.
const FEW: usize = 8;
/// Bytes of one page.
const LARGEST: usize = 16 << 20;

/// One larger page of the process is in memory at a time: as values it is many times its bytes. Of a namespace no more than one is next.
static TURN: Turns = Turns::of(1, 1);

/// What is listed.
pub struct List<'a> {
    /// The namespace that wants to know, in whose turn it is read.
    pub asker: &'a str,
    /// Where the API server has it: `/api/v1/nodes`.
    pub path: &'a str,
    /// Selectors, by the names of their parameters.
    pub selectors: &'a [(&'a str, &'a str)],
    /// In words, for messages.
    pub words: &'a str,
    /// Fields of an object that are kept, with all that is in them: `spec.nodeName`. Those of what stands in a list, as if the list were not there.
    pub fields: &'static [&'static str],
    /// Pages that are read.
    pub most_pages: usize,
}

/// Looks at each object of a list.
///
/// # Errors
/// A sentence: why it cannot be told what is there, and what to do about it.
pub async fn each(client: &Client, list: &List<'_>, see: impl FnMut(Value)) -> Result<(), String> {
    if some(client, list, see).await? {
        return Ok(());
    }
    let (words, most) = (list.words, list.most_pages * PAGE);
    Err(format!("there are more than {most} {words}: so many are not read"))
}

/// Looks at the objects of a list, as far as it is read; whether these are all.
///
/// # Errors
/// As [`each`], but for lists that are longer.
pub async fn some(client: &Client, list: &List<'_>, mut see: impl FnMut(Value)) -> Result<bool, String> {
    let words = list.words;
    let most = list.most_pages * PAGE;
    // How many have come, and until how many they are asked for a few at a time, or one: who has such objects slows down nobody else's.
    let (mut come, mut few, mut one) = (0, 0, 0);
    let mut next = String::new();
    while come < most {
        let limit = if come < one {
            1
        } else if come < few {
            FEW
        } else {
            PAGE
        };
        let mut page = match page(client, list, limit, &next).await {
            Ok(page) => page,
            Err(NoPage::TooLarge(_)) if limit == PAGE => {
                few = come + PAGE;
                continue;
            }
            Err(NoPage::TooLarge(_)) if limit == FEW => {
                one = come + FEW;
                continue;
            }
            Err(NoPage::TooLarge(extent)) => return Err(format!("{words}: {extent}")),
            Err(NoPage::Unread(why)) => return Err(why),
        };
        match page.answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => {
                // An API server may give fewer than it is asked for, and more after these.
                come += items.len().max(1);
                items.into_iter().for_each(&mut see);
            }
            _ => return Err(format!("{words} could not be read")),
        }
        next = page.answer["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A page, in its turn.
struct Page {
    answer: Value,
    _turn: Option<Turn<'static>>,
}

/// Why there is no page, for people.
enum NoPage {
    /// How large it is. With fewer objects there may be one.
    TooLarge(String),
    Unread(String),
}

async fn page(client: &Client, list: &List<'_>, limit: usize, next: &str) -> Result<Page, NoPage> {
    let List { asker, path, selectors, words, fields, most_pages: _ } = *list;
    let unread = || NoPage::Unread(format!("{words} could not be read"));
    let limit = limit.to_string();
    let own = [("limit", limit.as_str()), ("continue", next)];
    let query = selectors.iter().chain(&own).filter(|(_, value)| !value.is_empty());
    let query = Url::parse_with_params("http://any", query).map_err(|_| unread())?;
    let uri = format!("{path}?{}", query.query().unwrap_or_default());
    let request = Request::get(uri).body(Body::empty()).map_err(|_| unread())?;
    let response = client.send(request).await.map_err(|_| unread())?;
    let status = response.status();
    let page = match read(asker, response.into_body(), fields).await {
        Read::Whole(page) => page,
        Read::TooLarge(extent) => return Err(NoPage::TooLarge(extent)),
        Read::BrokenOff => return Err(unread()),
    };
    let message = page.answer["message"].as_str().unwrap_or_default();
    Err(NoPage::Unread(match status {
        StatusCode::OK => return Ok(page),
        StatusCode::FORBIDDEN => match Right::lacking(message) {
            Some(right) => format!("the operator may not {} {words}: {}", right.verb, right.remedy()),
            None => format!("{words} may not be read: {}", shortened(message, 200)),
        },
        // What was begun to be read is forgotten there.
        StatusCode::GONE => format!("{words} could not be read to the end in time"),
        status => format!("{words} could not be read: status {}", status.as_u16()),
    }))
}

/// What came of reading a page.
enum Read {
    Whole(Page),
    TooLarge(String),
    BrokenOff,
}

async fn read(asker: &str, body: Body, fields: &'static [&'static str]) -> Read {
    let Arrived { come, bytes, turn } = body::read(body, asker, &TURN, LARGEST).await;
    match come {
        Come::Whole => {}
        Come::More => return Read::TooLarge(format!("more than {} MiB", LARGEST >> 20)),
        Come::BrokenOff => return Read::BrokenOff,
    }
    if turn.is_none() {
        // It is looked at without waiting for anything between, so that there are never more of them than threads.
        return kept(&bytes, fields, turn);
    }
    // Off the threads that everything else runs on. The turn goes with the page: where nobody waits for it any more, it ends with it.
    let read = tokio::task::spawn_blocking(move || kept(&bytes, fields, turn));
    read.await.unwrap_or(Read::BrokenOff)
}

fn kept(bytes: &[u8], fields: &[&str], turn: Option<Turn<'static>>) -> Read {
    match extract::read(bytes, &|path| is_kept(path, fields)) {
        Ok(answer) => Read::Whole(Page { answer, _turn: turn }),
        Err(error @ NotKept::TooMuch) => Read::TooLarge(error.to_string()),
        // Its status says what it is.
        Err(NotKept::NotRead) => Read::Whole(Page { answer: Value::Null, _turn: turn }),
    }
}

/// Of a page these fields of its objects, how it goes on, and what is wrong.
fn is_kept(path: &[String], fields: &[&str]) -> bool {
    match path.split_first() {
        Some((first, within)) if first == "items" => fields.iter().any(|field| leads_to(within, field)),
        _ => ["message", "metadata.continue"].iter().any(|field| leads_to(path, field)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::super::body::SMALL;
    use super::*;

    #[tokio::test]
    async fn who_reads_many_large_pages_keeps_another_namespace_waiting_for_one_of_them() {
        let before = TURN.take("somebody").await;
        let page = |asker| {
            let page = serde_json::json!({"items": [{"text": "x".repeat(SMALL)}]});
            Box::pin(read(asker, Body::from(page.to_string().into_bytes()), &["text"]))
        };
        let mut noisy: Vec<_> = (0..8).map(|_| page("noisy")).collect();
        let mut shop = page("shop");
        let waits = noisy.iter_mut().chain([&mut shop]).all(|page| page.as_mut().now_or_never().is_none());
        assert!(waits, "it is somebody's turn");
        drop(before);
        let come = async {
            // The first that came is before it. The others are not asked what becomes of them.
            let first = noisy[0].as_mut().await;
            assert!(matches!(&first, Read::Whole(page) if page.answer["items"][0]["text"].is_string()));
            drop(first);
            matches!(shop.await, Read::Whole(_))
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), come).await, Ok(true));
    }
}
