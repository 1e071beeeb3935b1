//! Lists in pages that take so much room and no more, whatever somebody has made: where objects are large there are fewer of them on a page.
//!
//! A page is asked for with as many objects as the watch wants. One that has more bytes than a page may have is let go of where it has them, and asked
//! for again with fewer objects; how many were few enough is known to the next page, which grows again where objects are small. A single object is
//! read whatever it takes: the API server bounds it, and a watch sends it in one piece too.
//!
//! Only what is on its way is bounded here. A page that has come is read into slim views before anything else is waited for, so there are never more of
//! those than threads.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response, Uri};
use http_body::Body as _;
use kube::Client;
use kube::client::Body;
use tokio::sync::Semaphore;

use super::too_old;

/// Bytes of a page: five hundred objects as they usually are take less.
const LARGEST: usize = 8 << 20;
/// Bytes of a page that takes no turn: most kinds of most clusters are small, and wait for nobody.
const SMALL: usize = 64 << 10;
/// Larger pages that are on their way at the same time.
const AT_ONCE: usize = 2;
/// How many times fewer objects are asked for when they have been too many.
const FEWER: u32 = 4;

/// A client whose lists come in such pages. All else goes as it is, but for watches that are refused ([`too_old`]).
pub fn bounded(client: &Client) -> Client {
    let pages = Arc::new(Pages::of(client.clone()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let pages = pages.clone();
        async move { pages.send(request).await }
    });
    Client::new(service, client.default_namespace())
}

/// Pages of all lists of a client.
struct Pages {
    client: Client,
    turns: Semaphore,
    /// Objects of the next page, by the path of what is listed, where there are fewer than are asked for.
    few: Mutex<HashMap<String, u32>>,
}

impl Pages {
    fn of(client: Client) -> Self {
        Self { client, turns: Semaphore::new(AT_ONCE), few: Mutex::default() }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let Some(wanted) = wanted(request.uri()) else { return too_old::send(&self.client, request).await };
        let (head, _) = request.into_parts();
        let list = head.uri.path().to_owned();
        loop {
            let objects = self.lock().get(&list).map_or(wanted, |few| wanted.min(*few));
            let mut head = head.clone();
            if let Some(uri) = asking_for(&head.uri, objects) {
                head.uri = uri;
            }
            let response = self.client.send(Request::from_parts(head, Body::empty())).await?;
            if !response.status().is_success() {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            let most = if objects > 1 { LARGEST } else { usize::MAX };
            let Some(bytes) = self.read(body, most).await? else {
                tracing::debug!(list, objects, "a page is too large: fewer objects are asked for at once");
                self.lock().insert(list.clone(), (objects / FEWER).max(1));
                continue;
            };
            if objects < wanted && bytes.len() <= LARGEST / 4 {
                self.lock().insert(list, objects.saturating_mul(2));
            }
            return Ok(Response::from_parts(head, Body::from(bytes)));
        }
    }

    /// A page; `None`: it is too large.
    async fn read(&self, mut body: Body, most: usize) -> Result<Option<Vec<u8>>, kube::Error> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut turn = None;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let Ok(data) = frame?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > most {
                return Ok(None);
            }
            if length > SMALL && turn.is_none() {
                // Never closed.
                turn = self.turns.acquire().await.ok();
            }
            if length > bytes.capacity() {
                // As much again, and no more than a page has: what doubles itself would take more.
                let room = bytes.capacity().saturating_mul(2).clamp(SMALL, LARGEST).max(length);
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Some(bytes))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.few.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LIMIT: &str = "limit=";

/// How many objects are wanted on a page; `None`: it is no list in pages.
fn wanted(uri: &Uri) -> Option<u32> {
    let mut parts = uri.query()?.split('&');
    parts.find_map(|part| part.strip_prefix(LIMIT))?.parse().ok()
}

/// The same page with so many objects.
fn asking_for(uri: &Uri, objects: u32) -> Option<Uri> {
    let part = |part: &str| match part.starts_with(LIMIT) {
        true => format!("{LIMIT}{objects}"),
        false => part.to_owned(),
    };
    let query = uri.query()?.split('&').map(part).collect::<Vec<_>>().join("&");
    let mut whole = uri.clone().into_parts();
    whole.path_and_query = Some(format!("{}?{query}", uri.path()).parse().ok()?);
    Uri::from_parts(whole).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    /// How many objects were asked for, page by page.
    type Asked = Arc<Mutex<Vec<u32>>>;

    /// An API server that has objects of these sizes.
    fn server(sizes: Vec<usize>, asked: Asked) -> Client {
        let sizes = Arc::new(sizes);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (sizes, asked) = (sizes.clone(), asked.clone());
            async move {
                let limit = wanted(request.uri()).expect("a list in pages");
                asked.lock().unwrap().push(limit);
                let query = request.uri().query().unwrap_or_default();
                let from = query.split('&').find_map(|part| part.strip_prefix("continue="));
                let from: usize = from.map_or(0, |from| from.parse().expect("a token"));
                let to = sizes.len().min(from + limit as usize);
                let item = |number: usize| json!({"number": number, "text": "x".repeat(sizes[number])});
                let next = if to < sizes.len() { to.to_string() } else { String::new() };
                let list = json!({"items": (from..to).map(item).collect::<Vec<_>>(), "metadata": {"continue": next}});
                Ok::<_, std::io::Error>(Response::new(Body::from(list.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    fn page(more: &str) -> Request<Body> {
        Request::get(format!("/apis/apps/v1/deployments?limit=500{more}")).body(Body::empty()).unwrap()
    }

    /// Lists everything as a watch does: the numbers of all objects, and the bytes and objects of each page.
    async fn list(client: &Client) -> (Vec<u64>, Vec<(usize, usize)>) {
        let (mut numbers, mut pages, mut more) = (Vec::new(), Vec::new(), String::new());
        loop {
            let response = client.send(page(&more)).await.expect("a page");
            let bytes = response.into_body().collect_bytes().await.expect("a body");
            let list: Value = serde_json::from_slice(&bytes).expect("a list");
            let items = list["items"].as_array().expect("items");
            pages.push((bytes.len(), items.len()));
            numbers.extend(items.iter().filter_map(|item| item["number"].as_u64()));
            match list["metadata"]["continue"].as_str() {
                Some("") | None => return (numbers, pages),
                Some(token) => more = format!("&continue={token}"),
            }
        }
    }

    #[tokio::test]
    async fn usual_objects_come_five_hundred_at_a_time() {
        let asked = Asked::default();
        let client = bounded(&server(vec![8 << 10; 1200], asked.clone()));
        let (numbers, pages) = list(&client).await;
        assert_eq!(numbers, (0..1200).collect::<Vec<_>>());
        assert_eq!(pages.iter().map(|(_, objects)| *objects).collect::<Vec<_>>(), [500, 500, 200]);
        assert_eq!(*asked.lock().unwrap(), [500; 3]);
    }

    #[tokio::test]
    async fn where_objects_are_large_pages_are_small_and_grow_again_behind_them() {
        let asked = Asked::default();
        let mut sizes = vec![100; 3000];
        sizes[600..610].fill(3 << 20);
        // More than a page may have, alone.
        sizes[605] = LARGEST + 1;
        let client = bounded(&server(sizes, asked.clone()));
        let (numbers, pages) = list(&client).await;
        assert_eq!(numbers, (0..3000).collect::<Vec<_>>(), "each once, in its order");
        for (bytes, objects) in &pages {
            assert!(*bytes <= LARGEST || *objects == 1, "{bytes} bytes of {objects} objects");
        }
        assert_eq!(pages[pages.len() - 2].1, 500, "the last one has what is left: {pages:?}");
        let asked = asked.lock().unwrap();
        assert!(asked.len() <= pages.len() + 8, "it is known to the next page what was too much: {asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_page_waits_for_its_turn_and_a_small_one_for_nobody() {
        let pages = Pages::of(server(vec![1000; 100], Asked::default()));
        let turns = pages.turns.acquire_many(AT_ONCE as u32).await.expect("all turns");
        let soon = Duration::from_secs(1);
        let few = Request::get("/api/v1/pods?limit=20").body(Body::empty()).unwrap();
        tokio::time::timeout(soon, pages.send(few)).await.expect("at once").expect("a page");
        tokio::time::timeout(soon, pages.send(page(""))).await.expect_err("it is not its turn");
        drop(turns);
        tokio::time::timeout(soon, pages.send(page(""))).await.expect("its turn").expect("a page");
    }

    #[test]
    fn a_watch_and_a_single_object_are_no_pages() {
        let wanted = |uri: &str| wanted(&uri.parse().unwrap());
        assert_eq!(wanted("/api/v1/pods?labelSelector=a&limit=500&continue=x"), Some(500));
        assert_eq!(wanted("/api/v1/pods?watch=true&timeoutSeconds=60"), None);
        assert_eq!(wanted("/api/v1/namespaces/ns/pods/shop"), None);
        let fewer = asking_for(&"/api/v1/pods?labelSelector=a&limit=500&continue=x".parse().unwrap(), 7);
        assert_eq!(fewer.unwrap().to_string(), "/api/v1/pods?labelSelector=a&limit=7&continue=x");
    }
}
