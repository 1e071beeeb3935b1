//! Templates, and what a plan says of audiences.

use proptest::prelude::*;
use serde_json::json;
use tidegate::api::notify::{Event, Turn};
use tidegate::decide::notify::Template;
use tidegate::decide::plan::plan;

use super::{message, release, saying, template};

fn plain(text: &str) -> String {
    template(text).text(&message(Event::Held, Turn::New), str::to_owned)
}

#[test]
fn every_field_of_a_template_is_replaced() {
    let text = "{{release}} {{namespace}} {{run}} {{event}} {{phase}} {{ step }} {{share}} {{message}} {{unblock}} {{images}} [{{report}}]";
    assert_eq!(
        plain(text),
        "checkout shop r7 Held Held tenth 10% alice said pause: fire drill kubectl tidegate resume checkout -n shop \
         registry/checkout:v2, registry/proxy:v9 []"
    );
    assert_eq!(plain("no field } at {all}"), "no field } at {all}");
}

#[test]
fn without_a_template_it_is_a_sentence_and_what_unblocks_it() {
    let text = |event, turn| Template::default().text(&message(event, turn), str::to_owned);
    assert_eq!(
        text(Event::Held, Turn::New),
        "shop/checkout, run r7, is held: alice said pause: fire drill\nWhat unblocks it: kubectl tidegate resume checkout -n shop"
    );
    assert!(text(Event::Held, Turn::Still).starts_with("shop/checkout, run r7, is still held: "));
    assert_eq!(
        text(Event::Undone, Turn::New),
        "shop/checkout, run r7, was undone: errors: 7.4% is above the limit 5%"
    );
}

#[test]
fn a_plan_says_what_is_wrong_with_an_audience() {
    let said =
        |notify| plan(&release(&notify), false).err().map(|error| error.to_string()).unwrap_or_default();
    let slack = json!({"secret": "slack"});
    let with =
        |template: &str| json!([{"name": "team", "slack": slack, "events": ["Held"], "template": template}]);
    assert_eq!(said(with("{{release}} is held")), "");
    assert_eq!(
        said(with("{{secret}}")),
        "spec.notify[0].template: there is no field 'secret': write one of release, namespace, run, event, phase, step, share, message, \
         unblock, images, report"
    );
    assert_eq!(said(with("{{release")), "spec.notify[0].template: has a '{{' without its '}}'");
    assert_eq!(
        said(json!([{"name": "team", "slack": slack, "teams": slack, "events": ["Held"]}])),
        "spec.notify[0]: needs exactly one of: slack, teams, webhook, cloudEvents, email, pagerDuty, opsgenie"
    );
    assert_eq!(
        said(json!([{"name": "team", "slack": slack, "events": ["Held"], "after": "1 day"}])),
        "spec.notify[0].after: write 90s, 15m, 1h30m or 48h"
    );
    assert_eq!(
        said(json!([{"name": "team", "slack": slack, "events": ["Held", "Undone"], "after": "1h"}])),
        "spec.notify[0].after: is for what stands: with it, events are AwaitingApproval, Held and MissingRight"
    );
    assert_eq!(
        said(json!([{"name": "duty", "pagerDuty": {"secret": "duty"}, "events": ["Undone", "Succeeded"]}])),
        "spec.notify[0].pagerDuty: wakes people: Started, StepPassed, Succeeded, Superseded and HandedBack are for other channels"
    );
}

#[test]
fn every_reason_of_a_hold_stands_in_the_documentation() {
    let one =
        json!([{"name": "team", "slack": {"secret": "slack"}, "events": ["Held"], "reasons": ["Other"]}]);
    let said = plan(&release(&one), false).err().map(|error| error.to_string()).unwrap_or_default();
    let (_, reasons) = said.split_once("write one of ").unwrap();
    let documented = include_str!("../../docs/notifications.md");
    for reason in reasons.split(", ") {
        assert!(documented.contains(&format!("`{reason}`")), "{reason}");
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_understood_or_refused(text in "[a-z{} ]{0,60}", value in ".{0,40}") {
        if let Ok(template) = Template::parse(&text) {
            let told = saying(Event::Undone, &value);
            // A value is not looked into again.
            let rendered = template.text(&told, str::to_owned);
            prop_assert!(rendered.len() <= text.len() + 40 * 4 * text.matches("{{").count() + 200);
        }
    }

    #[test]
    fn what_a_value_holds_is_no_field(name in "[a-z]{1,10}") {
        let value = format!("{{{{{name}}}}} {{{{release}}}}");
        prop_assert_eq!(template("{{message}}").text(&saying(Event::Undone, &value), str::to_owned), value);
    }
}

#[test]
fn however_often_a_field_is_named_the_text_has_an_end() {
    let text =
        template(&"{{message}}".repeat(90)).text(&saying(Event::Undone, &"x".repeat(800)), str::to_owned);
    assert_eq!(text.chars().count(), 2900);
}
