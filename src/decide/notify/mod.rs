//! Who is to be told what. A decision that changes what status says owes messages; they are noted in the same write of status, and told
//! once they stand there. So a restart neither forgets one nor makes it another: each keeps its id until it has been delivered.
//!
//! Nothing is told here, and nothing waits for what is: what came of telling comes back as [`Told`].

mod changes;
mod standing;
mod template;

use jiff::Timestamp;

use super::conditions::HOLDS;
use super::decision::Notice;
use super::draft::Draft;
use super::plan::PlanError;
use super::rights;
use super::snapshot::{Key, Snapshot};
use crate::api::ReleaseSpec;
use crate::api::ReleaseStatus;
use crate::api::notify::{
    Email, Endpoint, Event, NotificationsStatus, Notify, Owed, Pager, SecretUrl, Trouble, Turn,
};

pub use standing::acknowledge;
pub use template::{Field, Template};

/// Messages that wait to be told; beyond that the oldest are dropped.
const MOST_OWED: usize = 32;
/// The longest sentence of a message.
const LONGEST: usize = 800;
/// The longest of its commands.
const LONGEST_COMMAND: usize = 400;
/// Images that it names.
const MOST_IMAGES: usize = 8;

/// Reason of the event that says that messages were dropped.
pub const DROPPED: &str = "NotificationDropped";

/// Where messages go.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    Slack(SecretUrl),
    Teams(SecretUrl),
    Webhook(Endpoint),
    CloudEvents(Endpoint),
    Email(Email),
    PagerDuty(Pager),
    Opsgenie(Pager),
}

impl Channel {
    /// The one channel of an audience; `None` when there is not exactly one.
    fn of(notify: &Notify) -> Option<Self> {
        let Notify {
            name: _,
            slack,
            teams,
            webhook,
            cloud_events,
            email,
            pager_duty,
            opsgenie,
            events: _,
            reasons: _,
            except_reasons: _,
            template: _,
            after: _,
        } = notify;
        let mut all = [
            slack.clone().map(Self::Slack),
            teams.clone().map(Self::Teams),
            webhook.clone().map(Self::Webhook),
            cloud_events.clone().map(Self::CloudEvents),
            email.clone().map(Self::Email),
            pager_duty.clone().map(Self::PagerDuty),
            opsgenie.clone().map(Self::Opsgenie),
        ]
        .into_iter()
        .flatten();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// Whether what it is told stays open there until it is said to be over.
    pub fn keeps_incidents(&self) -> bool {
        match self {
            Self::PagerDuty(_) | Self::Opsgenie(_) => true,
            Self::Slack(_) | Self::Teams(_) | Self::Webhook(_) | Self::CloudEvents(_) | Self::Email(_) => {
                false
            }
        }
    }

    /// For metrics and sentences: out of a closed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Webhook(_) => "webhook",
            Self::CloudEvents(_) => "cloudEvents",
            Self::Email(_) => "email",
            Self::PagerDuty(_) => "pagerDuty",
            Self::Opsgenie(_) => "opsgenie",
        }
    }
}

/// One message to one audience.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Name of the audience.
    pub to: String,
    pub channel: Channel,
    pub template: Template,
    pub message: Message,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub key: Key,
    /// Of the Release.
    pub uid: String,
    pub owed: Owed,
}

impl Message {
    /// What it is about, for receivers that keep incidents: a hold by its reason, else the run.
    pub fn incident(&self) -> String {
        let Owed { event, run, reason, .. } = &self.owed;
        match event {
            Event::Held | Event::AwaitingApproval | Event::MissingRight => {
                format!("{}.{run}.{reason}", self.uid)
            }
            Event::Started
            | Event::StepPassed
            | Event::Undoing
            | Event::Undone
            | Event::Succeeded
            | Event::Aborted
            | Event::Superseded
            | Event::HandedBack
            | Event::Rejected => format!("{}.{run}", self.uid),
        }
    }

    /// What has happened to the Release, after its name.
    pub fn heading(&self) -> &'static str {
        let (event, turn) = (self.owed.event, self.owed.turn);
        match (event, turn) {
            (Event::Started, _) => "has started",
            (Event::AwaitingApproval, Turn::New) => "waits for a signature",
            (Event::AwaitingApproval, Turn::Still) => "still waits for a signature",
            (Event::AwaitingApproval, Turn::Acknowledged) => "waits for a signature, which is known",
            (Event::AwaitingApproval, Turn::Over) => "waits for a signature no more",
            (Event::Held, Turn::New) => "is held",
            (Event::Held, Turn::Still) => "is still held",
            (Event::Held, Turn::Acknowledged) => "is held, which is known",
            (Event::Held, Turn::Over) => "is held no more",
            (Event::MissingRight, Turn::New) => "waits for a right of the operator's",
            (Event::MissingRight, Turn::Still) => "still waits for a right of the operator's",
            (Event::MissingRight, Turn::Acknowledged) => {
                "waits for a right of the operator's, which is known"
            }
            (Event::MissingRight, Turn::Over) => "waits for a right of the operator's no more",
            (Event::StepPassed, _) => "has passed a step",
            (Event::Undoing, _) => "goes back",
            (Event::Undone, _) => "was undone",
            (Event::Succeeded, _) => "has succeeded",
            (Event::Aborted, _) => "was aborted",
            (Event::Superseded, _) => "was superseded",
            (Event::HandedBack, _) => "was handed back",
            (Event::Rejected, _) => "holds a rejected template",
        }
    }

    /// `shop/checkout, run r7, was undone`
    pub fn title(&self) -> String {
        match self.owed.run.as_str() {
            "" => format!("{} {}", self.key, self.heading()),
            run => format!("{}, run {run}, {}", self.key, self.heading()),
        }
    }
}

/// What came of telling something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of the message.
    pub id: String,
    /// Name of the audience.
    pub to: String,
    pub result: TellResult,
}

impl Told {
    /// Whether nothing is left to be done for a delivery.
    pub fn settles(&self, delivery: &Delivery) -> bool {
        self.is_over(&delivery.message.owed.id, &delivery.to)
    }

    fn is_over(&self, id: &str, to: &str) -> bool {
        self.id == id && self.to == to && !matches!(self.result, TellResult::Failing(_))
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TellResult {
    Delivered,
    /// Not yet, and why; it is tried again.
    Failing(String),
    /// It is not tried again, and why.
    GivenUp(String),
}

/// Whether everything in `spec.notify` can be understood.
///
/// # Errors
/// The first that cannot, and what to write.
pub fn check(spec: &ReleaseSpec) -> Result<(), PlanError> {
    for (place, notify) in spec.notify.iter().enumerate() {
        let wrong =
            |name: &str, problem: String| PlanError { field: format!("spec.notify[{place}]{name}"), problem };
        let Some(channel) = Channel::of(notify) else {
            let problem =
                "needs exactly one of: slack, teams, webhook, cloudEvents, email, pagerDuty, opsgenie";
            return Err(wrong("", problem.into()));
        };
        let lasts =
            |event: &Event| matches!(event, Event::AwaitingApproval | Event::Held | Event::MissingRight);
        if notify.after.is_some() && !notify.events.iter().all(lasts) {
            return Err(wrong(
                ".after",
                "is for what stands: with it, events are AwaitingApproval, Held and MissingRight".into(),
            ));
        }
        let (only, except) = (&notify.reasons, &notify.except_reasons);
        if !only.is_empty() && !except.is_empty() {
            return Err(wrong("", "takes one of: reasons, exceptReasons".into()));
        }
        for (field, reasons) in [(".reasons", only), (".exceptReasons", except)] {
            if !reasons.is_empty() && !notify.events.contains(&Event::Held) {
                return Err(wrong(field, "is of holds: write Held into events, or leave it out".into()));
            }
            if let Some(odd) = reasons.iter().find(|reason| !HOLDS.contains(&reason.as_str())) {
                let odd = shortened(odd, 64);
                let problem = format!("'{odd}' is no reason of a hold: write one of {}", HOLDS.join(", "));
                return Err(wrong(field, problem));
            }
        }
        if channel.keeps_incidents() && !notify.events.iter().all(|event| wakes(*event)) {
            let problem = "wakes people: Started, StepPassed, Succeeded, Superseded and HandedBack are for other channels";
            return Err(wrong(&format!(".{}", channel.kind()), problem.into()));
        }
        if let Some(text) = &notify.template {
            Template::parse(text).map_err(|problem| wrong(".template", problem))?;
        }
        if notify.after.as_ref().is_some_and(|after| after.parse().is_none()) {
            return Err(wrong(".after", "write 90s, 15m, 1h30m or 48h".into()));
        }
    }
    Ok(())
}

/// Whether an incident is made of it.
fn wakes(event: Event) -> bool {
    match event {
        Event::AwaitingApproval
        | Event::Held
        | Event::MissingRight
        | Event::Undoing
        | Event::Undone
        | Event::Aborted
        | Event::Rejected => true,
        Event::Started | Event::StepPassed | Event::Succeeded | Event::Superseded | Event::HandedBack => {
            false
        }
    }
}

/// Whether somebody wants to hear of this; of a hold, by its reason.
fn wants(one: &Notify, event: Event, reason: &str) -> bool {
    let is_among = |reasons: &[String]| reasons.iter().any(|named| named == reason);
    let of_this_kind = match event {
        Event::Held => (one.reasons.is_empty() || is_among(&one.reasons)) && !is_among(&one.except_reasons),
        Event::AwaitingApproval
        | Event::MissingRight
        | Event::Started
        | Event::StepPassed
        | Event::Undoing
        | Event::Undone
        | Event::Succeeded
        | Event::Aborted
        | Event::Superseded
        | Event::HandedBack
        | Event::Rejected => true,
    };
    of_this_kind && one.events.contains(&event)
}

/// Notes what this decision owes, and what has been told meanwhile.
pub fn note(draft: &mut Draft<'_>) {
    // A spec that cannot be read says nothing of who is told: what is known of it stays.
    let release = draft.release;
    let Ok(spec) = &release.spec else { return };
    let mut known = draft.status.notifications.take().unwrap_or_default();
    if spec.notify.is_empty() {
        return keep_count(draft, &known);
    }
    settle(draft, &mut known, &spec.notify);
    for happened in changes::between(&release.status, &draft.status, draft.snapshot.now) {
        let to = audience(&spec.notify, |one| one.after.is_none() && one.events.contains(&happened.event));
        owe(draft, &mut known, happened, to);
    }
    standing::follow(draft, &mut known, &spec.notify);
    let over = known.owed.len().saturating_sub(MOST_OWED);
    if over > 0 {
        let note = format!("{over} notifications were dropped: {MOST_OWED} others wait to be told");
        draft.notices.push(Notice::warning(DROPPED, note));
        known.owed.drain(..over);
    }
    draft.status.notifications = (known != NotificationsStatus::default()).then_some(known);
}

/// Nobody is told anything. Numbers go on from where they are all the same: a receiver takes what comes under an id that it knows for something that
/// it was told before.
fn keep_count(draft: &mut Draft<'_>, known: &NotificationsStatus) {
    if !known.owed.is_empty() {
        let note = format!("{} notifications were dropped: spec.notify is empty", known.owed.len());
        draft.notices.push(Notice::warning(DROPPED, note));
        draft.at_once();
    }
    let kept = NotificationsStatus { count: known.count, ..NotificationsStatus::default() };
    draft.status.notifications = (kept.count > 0).then_some(kept);
}

/// Names of audiences.
fn audience(all: &[Notify], wanted: impl Fn(&Notify) -> bool) -> Vec<String> {
    all.iter().filter(|one| wanted(one)).map(|one| one.name.clone()).collect()
}

/// Notes one message; none when nobody is to get it.
fn owe(draft: &Draft<'_>, known: &mut NotificationsStatus, mut happened: Owed, to: Vec<String>) {
    if to.is_empty() {
        return;
    }
    known.count = known.count.saturating_add(1);
    let run = if happened.run.is_empty() { "none" } else { &happened.run };
    happened.id = format!("{}.{run}.{:?}.{}", draft.release.uid, happened.event, known.count).to_lowercase();
    happened.to = to;
    happened.message = shortened(&happened.message, LONGEST);
    happened.unblock = shortened(&happened.unblock, LONGEST_COMMAND);
    happened.images.truncate(MOST_IMAGES);
    known.owed.push(happened);
}

/// Takes in what has been told, and forgets audiences that are there no more.
fn settle(draft: &mut Draft<'_>, known: &mut NotificationsStatus, all: &[Notify]) {
    let (snapshot, now) = (draft.snapshot, draft.now());
    for Told { id, to, result } in &snapshot.told {
        let Some(owed) = known.owed.iter_mut().find(|owed| owed.id == *id && owed.to.contains(to)) else {
            continue;
        };
        let (message, given_up) = match result {
            TellResult::Delivered => {
                owed.to.retain(|name| name != to);
                known.troubles.retain(|trouble| trouble.to != *to);
                continue;
            }
            TellResult::Failing(message) => (message, false),
            TellResult::GivenUp(message) => {
                owed.to.retain(|name| name != to);
                (message, true)
            }
        };
        let said = known.troubles.iter().find(|trouble| trouble.to == *to);
        if said.is_some_and(|said| said.id == *id && said.given_up == given_up) {
            continue;
        }
        let (reason, end) = match given_up {
            true => ("NotificationFailed", "it is not tried again"),
            false => ("NotificationFailing", "it is tried again"),
        };
        draft.notices.push(Notice::warning(reason, format!("{to} could not be told: {message}; {end}")));
        known.troubles.retain(|trouble| trouble.to != *to);
        let message = shortened(message, LONGEST);
        known.troubles.push(Trouble { to: to.clone(), at: now, message, id: id.clone(), given_up });
    }
    let is_there = |name: &String| all.iter().any(|one| one.name == *name);
    for owed in &mut known.owed {
        owed.to.retain(is_there);
    }
    known.owed.retain(|owed| !owed.to.is_empty());
    known.troubles.retain(|trouble| is_there(&trouble.to));
}

/// Messages that status owes and that have not been told yet, the oldest first.
pub fn owed(snapshot: &Snapshot) -> Vec<Delivery> {
    let Some(release) = &snapshot.release else { return Vec::new() };
    let (Ok(spec), Some(known)) = (&release.spec, &release.status.notifications) else { return Vec::new() };
    let is_told = |id: &str, name: &str| snapshot.told.iter().any(|told| told.is_over(id, name));
    let mut deliveries = Vec::new();
    for owed in &known.owed {
        for name in owed.to.iter().filter(|name| !is_told(&owed.id, name)) {
            let Some(notify) = spec.notify.iter().find(|notify| notify.name == **name) else { continue };
            if release.withheld.is_some() && rights::notify(notify) {
                continue;
            }
            let Some(channel) = Channel::of(notify) else { continue };
            // One that is not understood holds the run; that it does is told in our own words.
            let template = notify.template.as_deref().map(Template::parse).and_then(Result::ok);
            deliveries.push(Delivery {
                to: name.clone(),
                channel,
                template: template.unwrap_or_default(),
                message: Message {
                    key: snapshot.key.clone(),
                    uid: release.uid.clone(),
                    // Who else is to get it changes nothing of it.
                    owed: Owed { to: vec![name.clone()], ..owed.clone() },
                },
            });
        }
    }
    deliveries
}

/// Makes the older status look like the newer one where the two differ only in what has been delivered: that is worth no write of its own
/// at once.
pub fn overlook_delivered(new: &ReleaseStatus, old: &mut ReleaseStatus) {
    let empty = NotificationsStatus::default();
    let owed = &new.notifications.as_ref().unwrap_or(&empty).owed;
    let Some(before) = &mut old.notifications else { return };
    let is_old = |owed: &Owed| before.owed.iter().any(|before| before.id == owed.id);
    if owed.iter().all(is_old) {
        before.owed.clone_from(owed);
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let short: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{short}…")
}

/// How long ago.
fn since(now: Timestamp, then: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(now - then).unwrap_or_default()
}
