//! Lists of the API server, page by page: each page is looked at and let go of, so that all pods of a large cluster are never in memory.
//!
//! Pages of the watch (`watch/pages.rs`) are others: they become slim views, so only what is on its way is bounded there. Here a page becomes values, and
//! has its turn until they are let go of. Turns are by namespace: whose lists are large keeps others waiting for one page at a time.

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use reqwest::Url;
use serde_json::Value;

use super::body::{self, Arrived, Come};
use crate::api::Right;
use crate::observe::measure::shortened;
use crate::turns::{Turn, Turns};

/// Objects of one page.
const PAGE: usize = 250;
/// Objects of one page where they are so large that those together are more than is read.
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
    /// Pages that are read; more is an error.
    pub most_pages: usize,
}

/// Looks at each object of a list.
///
/// # Errors
/// A sentence: why it cannot be told what is there, and what to do about it.
pub async fn each(client: &Client, list: &List<'_>, mut see: impl FnMut(Value)) -> Result<(), String> {
    let words = list.words;
    let most = list.most_pages * PAGE;
    // How many have been asked for, and how many are still to be asked for a few at a time: who has such objects slows down nobody else's.
    let (mut asked, mut large) = (0, 0_usize);
    let mut next = String::new();
    while asked < most {
        let limit = if large > 0 { FEW } else { PAGE };
        let Some(mut page) = page(client, list, limit, &next).await? else {
            if large > 0 {
                return Err(format!("{words}: more than {} MiB", LARGEST >> 20));
            }
            large = PAGE;
            continue;
        };
        asked += limit;
        large = large.saturating_sub(limit);
        match page.answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items.into_iter().for_each(&mut see),
            _ => return Err(format!("{words} could not be read")),
        }
        next = page.answer["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(());
        }
    }
    Err(format!("there are more than {most} {words}: so many are not read"))
}

/// A page, in its turn.
struct Page {
    answer: Value,
    _turn: Option<Turn<'static>>,
}

/// `None`: it is too large.
async fn page(client: &Client, list: &List<'_>, limit: usize, next: &str) -> Result<Option<Page>, String> {
    let List { asker, path, selectors, words, most_pages: _ } = *list;
    let unread = || format!("{words} could not be read");
    let limit = limit.to_string();
    let own = [("limit", limit.as_str()), ("continue", next)];
    let query = selectors.iter().chain(&own).filter(|(_, value)| !value.is_empty());
    let query = Url::parse_with_params("http://any", query).map_err(|_| unread())?;
    let uri = format!("{path}?{}", query.query().unwrap_or_default());
    let request = Request::get(uri).body(Body::empty()).map_err(|_| unread())?;
    let response = client.send(request).await.map_err(|_| unread())?;
    let status = response.status();
    let page = match read(asker, response.into_body()).await {
        Read::Whole(page) => page,
        Read::TooLarge => return Ok(None),
        Read::BrokenOff => return Err(unread()),
    };
    let message = page.answer["message"].as_str().unwrap_or_default();
    match status {
        StatusCode::OK => Ok(Some(page)),
        StatusCode::FORBIDDEN => Err(match Right::lacking(message) {
            Some(right) => format!("the operator may not {} {words}: {}", right.verb, right.remedy()),
            None => format!("{words} may not be read: {}", shortened(message, 200)),
        }),
        // What was begun to be read is forgotten there.
        StatusCode::GONE => Err(format!("{words} could not be read to the end in time")),
        status => Err(format!("{words} could not be read: status {}", status.as_u16())),
    }
}

/// What came of reading a page.
enum Read {
    Whole(Page),
    TooLarge,
    BrokenOff,
}

async fn read(asker: &str, body: Body) -> Read {
    let Arrived { come, bytes, turn } = body::read(body, asker, &TURN, LARGEST).await;
    match come {
        Come::Whole => {}
        Come::More => return Read::TooLarge,
        Come::BrokenOff => return Read::BrokenOff,
    }
    let Some(turn) = turn else {
        // It is looked at without waiting for anything between, so that there are never more of them than threads.
        let answer = serde_json::from_slice(&bytes).unwrap_or_default();
        return Read::Whole(Page { answer, _turn: None });
    };
    // Off the threads that everything else runs on. The turn goes with the page: where nobody waits for it any more, it ends with it.
    let read = tokio::task::spawn_blocking(move || Page {
        answer: serde_json::from_slice(&bytes).unwrap_or_default(),
        _turn: Some(turn),
    });
    read.await.map_or(Read::BrokenOff, Read::Whole)
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
            Box::pin(read(asker, Body::from(page.to_string().into_bytes())))
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
