//! Each of the seven kinds of receiver: away for a while it is tried again, a lasting refusal ends it, and one that is silent is waited for neither
//! in one try nor for ever. What each of them gets is in `shapes`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use serde_json::{Value, json};
use tidegate::decide::notify::{Channel, Delivery, TellResult};
use tidegate::observe::reach::Reach;
use tidegate::report::notify::{Carrier, Failure};
use tidegate::report::{Metrics, Notifier};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::handing_over::{Receiver, Telling, cluster, delivery, encoded, key};

const KINDS: [&str; 7] = ["slack", "teams", "webhook", "cloudEvents", "email", "pagerDuty", "opsgenie"];

/// A channel of this kind, whose receiver is at this address; of a mail, at this port.
fn channel(kind: &str, address: &str, port: u16) -> Channel {
    let mail = json!({
        "host": "127.0.0.1", "port": port, "tls": "None", "from": "a@example.com", "to": ["b@example.com"],
    });
    let url = |more: Value| {
        let mut fields = json!({"url": format!("{address}/{kind}")});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    match kind {
        "slack" => Channel::Slack(serde_json::from_value(json!({"secret": kind})).unwrap()),
        "teams" => Channel::Teams(serde_json::from_value(json!({"secret": kind})).unwrap()),
        "webhook" => Channel::Webhook(serde_json::from_value(url(json!({}))).unwrap()),
        "cloudEvents" => Channel::CloudEvents(serde_json::from_value(url(json!({}))).unwrap()),
        "email" => Channel::Email(serde_json::from_value(mail).unwrap()),
        "pagerDuty" => {
            Channel::PagerDuty(serde_json::from_value(url(json!({"secret": kind.to_lowercase()}))).unwrap())
        }
        "opsgenie" => {
            Channel::Opsgenie(serde_json::from_value(url(json!({"secret": kind.to_lowercase()}))).unwrap())
        }
        other => panic!("there is no kind {other}"),
    }
}

/// What the kinds read: addresses and keys.
async fn secrets(address: &str) -> kube::Client {
    let url = |kind: &str| json!({"url": encoded(&format!("{address}/{kind}"))});
    cluster(BTreeMap::from([
        ("slack", url("slack")),
        ("teams", url("teams")),
        ("pagerduty", json!({"routing-key": encoded("R0UT1NG")})),
        ("opsgenie", json!({"api-key": encoded("G3N13")})),
    ]))
    .await
}

/// A mail server that turns so many callers away before it takes a mail, or (`refuses`) takes none for this address; its port, and its callers.
async fn mail_server(away: usize, refuses: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let callers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&callers);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let is_away = count.fetch_add(1, Ordering::SeqCst) < away;
            tokio::spawn(conversation(stream, is_away, refuses));
        }
    });
    (port, callers)
}

async fn conversation(mut stream: TcpStream, is_away: bool, refuses: bool) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    if is_away {
        return write.write_all(b"421 come back later\r\n").await;
    }
    write.write_all(b"220 mail\r\n").await?;
    let mut in_the_mail = false;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match line.split([' ', ':']).next().unwrap_or_default() {
            "." => b"250 taken\r\n",
            _ if in_the_mail => continue,
            "DATA" => b"354 go on\r\n",
            "RCPT" if refuses => b"550 nobody of that name\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 well\r\n",
        };
        in_the_mail = line == "DATA" || in_the_mail && line != ".";
        write.write_all(answer).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_kind_is_tried_again_while_its_receiver_is_away() {
    let told = KINDS.map(|kind| async move {
        let receiver = Receiver::default();
        receiver.away.store(2, Ordering::SeqCst);
        let address = format!("http://127.0.0.1:{}", receiver.start().await);
        let (port, callers) = mail_server(2, false).await;
        let telling = Telling::new(secrets(&address).await, Reach::anywhere());
        let shop = key("shop");
        telling.notifier.deliver(&shop, vec![delivery(channel(kind, &address, port))]);
        let result = telling.comes_to(&shop, |_| true).await;
        assert_eq!(result, TellResult::Delivered, "{kind}");
        let tries = if kind == "email" { callers.load(Ordering::SeqCst) } else { receiver.got().len() };
        assert_eq!(tries, 3, "{kind}: two in vain");
    });
    futures::future::join_all(told).await;
}

#[tokio::test]
async fn each_kind_is_given_up_at_once_where_its_receiver_refuses_for_good() {
    for kind in KINDS {
        let receiver = Receiver::default();
        let address = format!("http://127.0.0.1:{}/gone", receiver.start().await);
        let (port, callers) = mail_server(0, true).await;
        let telling = Telling::new(secrets(&address).await, Reach::anywhere());
        let shop = key("shop");
        telling.notifier.deliver(&shop, vec![delivery(channel(kind, &address, port))]);
        let said = telling.given_up(&shop).await;
        let whose = match kind {
            "slack" | "teams" => format!("the URL of secret {kind}, key url"),
            _ => "127.0.0.1".to_owned(),
        };
        let answer = if kind == "email" { 550 } else { 404 };
        assert_eq!(said, format!("{whose} answered {answer}"), "{kind}");
        let tries = if kind == "email" { callers.load(Ordering::SeqCst) } else { receiver.got().len() };
        assert_eq!(tries, 1, "{kind}");
    }
}

#[tokio::test]
async fn no_kind_is_told_a_value_that_turns_the_direction_of_writing() {
    // Of a mail the letters are encoded; it is made of the same message.
    for kind in KINDS.into_iter().filter(|kind| *kind != "email") {
        let receiver = Receiver::default();
        let address = format!("http://127.0.0.1:{}", receiver.start().await);
        let telling = Telling::new(secrets(&address).await, Reach::anywhere());
        let shop = key("shop");
        let mut turned = delivery(channel(kind, &address, 0));
        turned.message.owed.message = "alice said \u{202e}esuap\u{2069}".into();
        telling.notifier.deliver(&shop, vec![turned]);
        assert_eq!(telling.comes_to(&shop, |_| true).await, TellResult::Delivered, "{kind}");
        let body = receiver.got()[0].body.to_string();
        assert!(
            body.contains("alice said esuap") && !body.contains(['\u{202e}', '\u{2069}']),
            "{kind}: {body}"
        );
    }
}

/// Hands nothing over, and never says so.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Carrier for Silent {
    fn carry<'a>(&'a self, _: &'a Delivery) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_has_its_time_for_a_try_and_about_an_hour_in_all() {
    for kind in KINDS {
        let silent = Arc::new(Silent::default());
        let notifier = Notifier::new(silent.clone(), Arc::new(Metrics::new()), |_| {});
        let shop = key("shop");
        notifier.deliver(&shop, vec![delivery(channel(kind, "http://127.0.0.1", 25))]);
        tokio::time::sleep(Duration::from_secs(50 * 60)).await;
        let one_try = if kind == "email" { "no answer within 30 s" } else { "no answer within 10 s" };
        let told = |notifier: &Notifier| notifier.told(&shop).pop().map(|told| told.result);
        assert_eq!(told(&notifier), Some(TellResult::Failing(one_try.into())), "{kind}");
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        assert_eq!(told(&notifier), Some(TellResult::GivenUp(format!("{one_try} (19 tries)"))), "{kind}");
        assert_eq!(silent.0.load(Ordering::SeqCst), 19, "{kind}");
    }
}
