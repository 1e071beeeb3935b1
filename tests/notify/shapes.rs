//! What each kind of receiver gets.

use serde_json::{Value, json};
use tidegate::api::notify::{Email, Event, Turn};
use tidegate::api::status::Stamp;
use tidegate::decide::notify::Template;
use tidegate::report::notify::{cloud_events, email, opsgenie, pager_duty, slack, teams, webhook};

use super::{message, saying, template};

fn held() -> tidegate::decide::notify::Message {
    message(Event::Held, Turn::New)
}

fn words() -> Template {
    template("{{release}} stands: {{message}}")
}

const HOSTILE: &str =
    "<!channel> & <http://evil|click> *bold* [click](http://evil)\r\nBcc: everybody@example.com\n.\n";

#[test]
fn slack_gets_text_in_which_no_value_calls_anybody() {
    let body = slack::body(&held(), &words());
    let text = "checkout stands: alice said pause: fire drill";
    assert_eq!(
        body,
        json!({"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]})
    );
    let text = slack::body(&saying(Event::Held, HOSTILE), &template("<!here> {{message}}"))["text"].clone();
    let text = text.as_str().unwrap();
    assert!(text.starts_with("<!here> &lt;!channel&gt; &amp; &lt;http://evil|click&gt;"), "{text}");
}

#[test]
fn teams_get_a_card_with_a_line_each_and_no_links_but_the_authors() {
    let body = teams::body(&held(), &Template::default());
    assert_eq!(body["type"], "message");
    let card = &body["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(card["content"]["type"], "AdaptiveCard");
    let lines: Vec<&str> = card["content"]["body"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "shop/checkout, run r7, is held: alice said pause: fire drill",
            "What unblocks it: kubectl tidegate resume checkout -n shop"
        ]
    );
    let hostile = teams::body(&saying(Event::Held, HOSTILE), &words());
    let blocks = hostile["attachments"][0]["content"]["body"].as_array().unwrap();
    assert_eq!(blocks.len(), 1, "{hostile:#}");
    assert!(blocks[0]["text"].as_str().unwrap().contains(r"\[click\]\(http://evil\)"), "{hostile:#}");
}

#[test]
fn a_webhook_gets_all_that_is_known() {
    let body = webhook::body(&held(), &words());
    assert_eq!(
        body,
        json!({
            "id": "6f1e.r7.held.12", "event": "Held", "turn": "New", "at": "2026-11-28T09:30:00Z",
            "release": {"namespace": "shop", "name": "checkout", "uid": "6f1e"},
            "run": "r7", "phase": "Held", "step": "tenth", "share": "10%", "reason": "Paused",
            "message": "alice said pause: fire drill", "unblock": "kubectl tidegate resume checkout -n shop",
            "images": ["registry/checkout:v2", "registry/proxy:v9"], "report": "",
            "text": "checkout stands: alice said pause: fire drill",
        })
    );
}

#[test]
fn a_cloud_event_has_the_attributes_that_the_specification_requires() {
    let mut event = cloud_events::body(&held(), &words());
    assert_eq!(event["data"].take(), webhook::body(&held(), &words()));
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": "6f1e.r7.held.12", "type": "dev.tidegate.release.held", "subject": "r7",
            "source": "/apis/tidegate.dev/v1alpha1/namespaces/shop/releases/checkout",
            "time": "2026-11-28T09:30:00Z", "datacontenttype": "application/json", "data": null,
        })
    );
    let mut of_no_run = message(Event::Rejected, Turn::New);
    of_no_run.owed.run = String::new();
    assert!(cloud_events::body(&of_no_run, &words()).get("subject").is_none());
}

fn duty(event: Event, turn: Turn) -> Value {
    pager_duty::body(&message(event, turn), &words(), "R0UT1NG")
}

#[test]
fn pager_duty_opens_acknowledges_and_resolves_one_incident() {
    let opened = duty(Event::Held, Turn::New);
    assert_eq!(opened["routing_key"], "R0UT1NG");
    assert_eq!(opened["payload"]["summary"], "checkout stands: alice said pause: fire drill");
    assert_eq!(opened["payload"]["source"], "shop/checkout");
    let of = |turn| {
        let event = duty(Event::Held, turn);
        (event["event_action"].clone(), event["dedup_key"].clone(), event["payload"]["severity"].clone())
    };
    assert_eq!(of(Turn::New), (json!("trigger"), json!("6f1e.r7.Paused"), json!("warning")));
    assert_eq!(of(Turn::Still), (json!("trigger"), json!("6f1e.r7.Paused"), json!("error")));
    assert_eq!(of(Turn::Acknowledged).0, json!("acknowledge"));
    assert_eq!(of(Turn::Over).0, json!("resolve"));
    // An undo is one incident from its first moment to its end.
    let (undoing, undone) = (duty(Event::Undoing, Turn::New), duty(Event::Undone, Turn::New));
    assert_eq!(
        (&undoing["dedup_key"], &undoing["payload"]["severity"]),
        (&json!("6f1e.r7"), &json!("critical"))
    );
    assert_eq!((&undone["dedup_key"], &undone["payload"]["severity"]), (&json!("6f1e.r7"), &json!("error")));
}

#[test]
fn opsgenie_makes_acknowledges_and_closes_one_alert() {
    let at = |turn| opsgenie::url("https://api.opsgenie.com/v2/alerts", &message(Event::Held, turn));
    assert_eq!(at(Turn::New), "https://api.opsgenie.com/v2/alerts");
    let alias = "https://api.opsgenie.com/v2/alerts/6f1e.r7.Paused";
    assert_eq!(at(Turn::Acknowledged), format!("{alias}/acknowledge?identifierType=alias"));
    assert_eq!(at(Turn::Over), format!("{alias}/close?identifierType=alias"));
    let made = opsgenie::body(&held(), &words());
    assert_eq!(made["message"], "shop/checkout, run r7, is held");
    assert_eq!(made["alias"], "6f1e.r7.Paused");
    assert_eq!((&made["priority"], &made["entity"]), (&json!("P3"), &json!("shop/checkout")));
    assert!(made["details"].as_object().unwrap().values().all(Value::is_string), "{made:#}");
    let closed = opsgenie::body(&message(Event::Held, Turn::Over), &Template::default());
    assert!(
        closed["note"].as_str().unwrap().starts_with("shop/checkout, run r7, is held no more"),
        "{closed:#}"
    );
    let long = opsgenie::body(&saying(Event::Undone, &"x".repeat(20_000)), &Template::default());
    assert!(long["description"].as_str().unwrap().len() <= 15_000);
}

fn mail() -> Email {
    serde_json::from_value(json!({
        "host": "smtp.example.com", "from": "tidegate@example.com", "to": ["team@example.com", "boss@example.com"],
    }))
    .unwrap()
}

#[test]
fn no_letter_of_a_value_begins_a_line_of_a_card_or_of_a_mail() {
    let hostile = saying(Event::Held, "one\u{2028}two\u{2029}three\u{85}four");
    let shown = "checkout stands: one two three four";
    let card = teams::body(&hostile, &words());
    let blocks = &card["attachments"][0]["content"]["body"];
    assert_eq!(*blocks, json!([{"type": "TextBlock", "text": shown, "wrap": true}]));
    let letter = email::letter(&mail(), &hostile, &words()).unwrap();
    let text = String::from_utf8(letter.formatted()).unwrap();
    assert!(text.replace("\r\n", "\n").contains(&format!("\n\n{shown}\n")), "{text}");
}

#[test]
fn a_mail_says_who_it_is_from_and_that_a_machine_wrote_it() {
    let letter = email::letter(&mail(), &held(), &Template::default()).unwrap();
    let text = String::from_utf8(letter.formatted()).unwrap();
    insta::assert_snapshot!(text.replace("\r\n", "\n"), @r"
    From: tidegate@example.com
    Subject: shop/checkout, run r7, is held
    Date: Sat, 28 Nov 2026 09:30:00 +0000
    Message-ID: <6f1e.r7.held.12@tidegate.dev>
    References: <6f1e.r7@tidegate.dev>
    Auto-Submitted: auto-generated
    Content-Type: text/plain; charset=utf-8
    To: team@example.com, boss@example.com
    Content-Transfer-Encoding: 7bit

    shop/checkout, run r7, is held: alice said pause: fire drill
    What unblocks it: kubectl tidegate resume checkout -n shop
    ");
    let to: Vec<String> = letter.envelope().to().iter().map(ToString::to_string).collect();
    assert_eq!(to, ["team@example.com", "boss@example.com"]);
}

#[test]
fn a_mail_about_a_moment_that_a_mail_cannot_tell_has_the_first_one_that_it_can() {
    let mut early = held();
    early.owed.at = Stamp("-009999-01-02T01:59:59Z".parse().unwrap());
    let letter = email::letter(&mail(), &early, &words()).unwrap();
    let text = String::from_utf8(letter.formatted()).unwrap();
    assert!(text.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n"), "{text}");
    early.owed.at = Stamp(jiff::Timestamp::MAX);
    assert!(email::letter(&mail(), &early, &words()).is_ok());
}

#[test]
fn no_value_begins_a_header_of_a_mail_or_a_line_of_its_own() {
    let mut hostile = saying(Event::Held, HOSTILE);
    hostile.key.name = "checkout\r\nBcc: everybody@example.com".into();
    hostile.owed.run = "r7\r\nBcc: everybody@example.com".into();
    hostile.owed.id = "x\r\nBcc: everybody@example.com".into();
    let letter = email::letter(&mail(), &hostile, &words()).unwrap();
    let text = String::from_utf8(letter.formatted()).unwrap();
    let begins = |line: &str| line.to_lowercase().starts_with("bcc:");
    assert!(!text.lines().any(begins), "{text}");
    assert_eq!(letter.envelope().to().len(), 2);
    let wrong = Email { from: "nobody".into(), ..mail() };
    assert!(
        email::letter(&wrong, &held(), &words()).unwrap_err().starts_with("'nobody' is not a mail address")
    );
}
