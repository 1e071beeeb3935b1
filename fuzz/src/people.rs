//! What people are told and shown, and what nobody may be: what a Secret holds.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tidegate::api::notify::{Email, Owed};
use tidegate::api::release::CaSource;
use tidegate::api::{Release, ReleaseAction, ReleaseReport};
use tidegate::cli::follow::Until;
use tidegate::cli::report::chain::{Newest, Record, walk};
use tidegate::cli::report::document::document;
use tidegate::cli::report::{html, markdown};
use tidegate::cli::view::Look;
use tidegate::cli::{status, why};
use tidegate::decide::Key;
use tidegate::decide::notify::{Message, Template};
use tidegate::observe::credentials;
use tidegate::observe::measure::{self, Trust};
use tidegate::observe::reach::{ApiServer, Reach};
use tidegate::report::notify::{Address, cloud_events, email, opsgenie, pager_duty, slack, teams};

use super::answers::awaited;
use super::split;

/// Somebody's hold, with this sentence.
pub(super) fn a_message(sentence: &str) -> Message {
    let owed = json!({
        "id": "6f1e.r7.held.12", "event": "Held", "turn": "New", "at": "2026-11-28T09:30:00Z", "to": [], "run": "r7",
        "message": sentence,
    });
    let owed = serde_json::from_value(owed).expect("a message");
    let key = Key { namespace: "shop".to_owned(), name: "checkout".to_owned() };
    Message { key, uid: "6f1e".to_owned(), owed }
}

/// A template, a line break, and the message that is told in its words.
pub fn notification(data: &[u8]) {
    let (text, owed) = split(data);
    // Line breaks stand in templates too.
    let text = String::from_utf8_lossy(text).replace('\r', "\n");
    let message = match serde_json::from_slice::<Owed>(owed) {
        Ok(owed) => Message { owed, ..a_message("") },
        Err(_) => a_message(&String::from_utf8_lossy(owed)),
    };
    let template = Template::parse(&text).unwrap_or_else(|problem| {
        assert!(!problem.is_empty() && problem.chars().count() < 300, "{problem}");
        Template::default()
    });
    let has_words = template != Template::default();
    assert!(template.text(&message, str::to_owned).chars().count() <= 2900);
    if has_words && !text.contains("{{") {
        let same: String = text.chars().take(2900).collect();
        assert_eq!(template.render(&message, str::to_owned), Some(same), "nothing in it is a field");
    }
    safe_for_each(&message, &template, if has_words { &text } else { "" });
}

/// No value says more to a receiver than that it is a text. `words`: what the author of the template wrote.
fn safe_for_each(message: &Message, template: &Template, words: &str) {
    let first = |text: &Value, most: usize| {
        assert!(text.as_str().unwrap_or_default().chars().count() <= most, "{text}")
    };
    let said = slack::body(message, template)["text"].to_string();
    assert!(words.contains(['<', '>']) || !said.contains(['<', '>']), "{said}");
    let card = teams::body(message, template);
    let lines = card["attachments"][0]["content"]["body"].as_array().map_or(0, Vec::len);
    assert!(words.is_empty() || lines <= words.lines().count().max(1), "{card:#}");
    first(&opsgenie::body(message, template)["message"], 130);
    let event = pager_duty::body(message, template, "key");
    first(&event["payload"]["summary"], 1024);
    first(&event["dedup_key"], 255);
    assert_eq!(cloud_events::body(message, template)["specversion"], "1.0");
    let mail: Email = serde_json::from_value(
        json!({"host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]}),
    )
    .expect("a mail");
    let letter = email::letter(&mail, message, template).map(|letter| letter.formatted()).unwrap_or_default();
    let letter = String::from_utf8_lossy(&letter);
    let head = letter.split("\r\n\r\n").next().unwrap_or_default();
    for line in head.lines() {
        let name = line.split(':').next().unwrap_or_default();
        assert!(line.starts_with([' ', '\t']) || HEADERS.contains(&name), "{head}");
    }
}

/// Headers of a mail that are ours, or the library's.
const HEADERS: [&str; 10] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "References",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
];

/// It stands in each Secret, and nowhere else.
pub(super) const MARK: &str = "kV7mark0Q2z";

/// Says what is not what a Secret holds.
pub(super) fn kept_secret(said: &str) {
    assert!(!said.contains(MARK), "{said}");
}

/// What a Secret holds, with a mark in the place of the first line break: no error tells it.
pub fn secrets(data: &[u8]) {
    let (before, after) = split(data);
    let value = [before, MARK.as_bytes(), after].concat();
    let held = ["key", "username", "password"].map(|key| (key.to_owned(), ByteString(value.clone())));
    let secret = Secret { data: Some(held.into()), ..Secret::default() };
    let answer = serde_json::to_vec(&secret).expect("a Secret");
    awaited(async {
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let answer = http::Response::new(Body::from(answer.clone()));
            async move { Ok::<_, std::io::Error>(answer) }
        });
        let client = Client::new(service, "shop");
        match credentials::token(&client, "shop", "notify.slack", "hook", "key").await {
            Ok(token) => {
                assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
                match Address::of_secret(&token, "hook", "key") {
                    Ok(address) => kept_secret(&address.to_string()),
                    Err(failure) => kept_secret(&format!("{failure:?}")),
                }
            }
            Err(error) => kept_secret(&format!("{error} {error:?}")),
        }
        match credentials::login(&client, "shop", "notify.email.auth", "hook").await {
            Ok((user, password)) => {
                assert!(user == password && value.starts_with(user.as_bytes()), "{user:?}")
            }
            Err(error) => kept_secret(&format!("{error} {error:?}")),
        }
        let ca: CaSource = serde_json::from_value(json!({"secret": "hook", "key": "key"})).expect("a source");
        let read = credentials::authorities(&client, "shop", "notify.email.ca", &ca).await;
        let pem = read.expect("it is there, and not empty");
        assert_eq!(pem, value);
        let reach = Reach::guarded(ApiServer::known("https://10.96.0.1", None, &[]), false);
        if let Err(error) = measure::client(Trust::Only(pem), &reach) {
            kept_secret(&format!("{error} {error:?}"));
        }
    });
}

/// Records of a Release, as a list of ReleaseReports: what `kubectl tidegate report` makes of each, and of their chain.
pub fn records(data: &[u8]) {
    let Ok(items) = serde_json::from_slice::<Vec<Value>>(data) else { return };
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let records: Vec<Record> = items.iter().map(|item| Record::of(name(item), &item["spec"])).collect();
    let names: BTreeSet<&str> = records.iter().map(|record| record.name.as_str()).collect();
    let is_amiss = |record: &Record| record.chain.as_ref().is_none_or(|chain| chain.digest != record.content);
    let newest = records.last().map(|Record { release_uid, name, content, .. }| Newest {
        release_uid: release_uid.clone(),
        name: name.clone(),
        digest: content.clone(),
    });
    for newest in [None, newest.as_ref()] {
        let walked = walk("checkout", &records, newest);
        plain(&walked.text);
        if names.len() == records.len() && records.iter().any(is_amiss) {
            assert!(walked.broken, "one of them is not what was written:\n{}", walked.text);
        }
    }
    for item in items {
        let Ok(report) = serde_json::from_value::<ReleaseReport>(item) else { continue };
        let document = document(&report);
        plain(&markdown::render(&document));
        let page = html::render(&document);
        plain(&page);
        for tag in page.split('<').skip(1) {
            let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
            assert!(TAGS.contains(&name), "no text is a tag: {name}\n{page}");
        }
    }
}

/// Elements of the page that a report is.
const TAGS: [&str; 23] = [
    "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "table",
    "thead", "tbody", "tr", "th", "td", "ol", "li", "pre", "div",
];

/// Nothing in it moves the cursor of whoever reads it.
fn plain(text: &str) {
    assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text:?}");
}

/// A Release as the API server has it, a line break, and ReleaseActions about it, as a list: what `kubectl tidegate status` and `why` show.
pub fn cli_status(data: &[u8]) {
    let (release, actions) = split(data);
    let Ok(release) = serde_json::from_slice::<Release>(release) else { return };
    let actions: Vec<ReleaseAction> = serde_json::from_slice(actions).unwrap_or_default();
    let now = Timestamp::from_second(1_795_000_000).expect("a moment");
    for (width, wide) in [(None, true), (Some(80), false)] {
        let look = Look { now, width, wide };
        let shown = || (status::render(&release, look), why::explain(&release, &actions, look));
        let (view, reasons) = shown();
        coloured(&view);
        coloured(&reasons);
        assert_eq!(shown(), (view, reasons), "the same twice");
        let table = status::table(&[release.clone(), release.clone()], wide, look);
        coloured(&table);
        assert_eq!(table.lines().count(), 3, "a row each, and the head:\n{table}");
    }
    let line = status::line(&release, true);
    coloured(&line);
    assert!(!line.contains('\n'), "{line:?}");
    let run = release.status.as_ref().and_then(|status| status.run.as_ref());
    let is_later = |ended: i64| ended == i64::MAX || run.is_some_and(|run| run.number <= ended);
    let ended = Until::seeing(&release).ended(&release);
    assert!(ended.is_none_or(|last| is_later(last.number)), "what has ended before is not waited for");
}

/// Colours are all that a terminal takes for more than text.
fn coloured(text: &str) {
    let mut pieces = text.split('\u{1b}');
    plain(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (code, rest) = piece.split_once('m').unwrap_or_default();
        let is_colour = code
            .strip_prefix('[')
            .is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'));
        assert!(is_colour, "{text:?}");
        plain(rest);
    }
}
