//! What stands: a hold, or the wait for a signature or for a right. It is told when it begins, again to further audiences the longer nobody has
//! acknowledged it, and to those who keep incidents when it is over.

use std::time::Duration;

use super::changes::about;
use super::{Channel, audience, owe, since, wants};
use crate::api::notify::{Event, NotificationsStatus, Notify, Owed, Standing, Stood, Turn};
use crate::api::status::{Blocker, Said, Stamp};
use crate::api::{Phase, ReleaseStatus};
use crate::decide::approval::AWAITING_APPROVAL;
use crate::decide::draft::Draft;
use crate::decide::refusal::{MISSING_RIGHT, WRITE_REFUSED};

/// A hold that comes back within this time, for the same reason, is told once it has stood for as long: what comes and goes is no news.
const QUIET: Duration = Duration::from_secs(300);
/// Holds that are remembered for it.
const MOST_STOOD: usize = 8;

/// Somebody knows of it.
///
/// # Errors
/// Why there is nothing to acknowledge.
pub fn acknowledge(draft: &mut Draft<'_>, said: Said) -> Result<String, String> {
    if draft.release.spec.as_ref().is_ok_and(|spec| spec.notify.is_empty()) {
        return Err("spec.notify is empty: nobody is told anything".into());
    }
    let standing = draft.status.notifications.as_mut().and_then(|known| known.standing.as_mut());
    let Some(standing) = standing else {
        return Err("nothing stands that could be acknowledged".into());
    };
    if let Some(before) = &standing.acknowledged {
        return Err(format!("{} has acknowledged it already", before.by));
    }
    standing.acknowledged = Some(said);
    Ok(format!("nobody else is told of {} until the reason changes", standing.reason))
}

/// Tells what begins to stand, what still stands, and what is over.
pub fn follow(draft: &mut Draft<'_>, known: &mut NotificationsStatus, all: &[Notify]) {
    let now = draft.now();
    let blocker = draft.status.blocked_by.clone().unwrap_or_default();
    let run = draft.status.run.as_ref().map(|run| run.id.clone()).unwrap_or_default();
    let stands = event(&draft.status);
    let is_same = |standing: &Standing| {
        stands == Some(standing.event) && standing.reason == blocker.reason && standing.run == run
    };
    if let Some(over) = known.standing.take_if(|standing| !is_same(standing)) {
        end(draft, known, all, over);
    }
    let Some(event) = stands else { return };
    let mut standing = known.standing.take().unwrap_or_else(|| {
        let is_back = |stood: &Stood| {
            stood.reason == blocker.reason && stood.run == run && since(now.0, stood.over.0) < QUIET
        };
        let back = known.stood.iter().any(is_back);
        Standing {
            event,
            reason: blocker.reason.clone(),
            run: run.clone(),
            since: now,
            quiet_until: now.0.checked_add(QUIET).ok().filter(|_| back).map(Stamp),
            told: false,
            escalated: Vec::new(),
            acknowledged: None,
            acknowledgement_told: false,
        }
    });
    match standing.quiet_until.filter(|until| *until > now) {
        _ if standing.told => {}
        Some(until) => draft.wake_at(until.0),
        None => {
            let message = told(&draft.status, &standing, &blocker, Turn::New, now);
            let begins = |one: &Notify| one.after.is_none() && wants(one, event, &standing.reason);
            owe(draft, known, message, audience(all, begins));
            standing.told = true;
        }
    }
    if standing.acknowledged.is_some() {
        if !standing.acknowledgement_told {
            let message = told(&draft.status, &standing, &blocker, Turn::Acknowledged, now);
            owe(draft, known, message, incidents(all, &standing));
            standing.acknowledgement_told = true;
        }
    } else {
        escalate(draft, known, all, &mut standing, &blocker);
    }
    known.standing = Some(standing);
}

/// What stands, if something does.
fn event(status: &ReleaseStatus) -> Option<Event> {
    let blocker = status.blocked_by.as_ref()?;
    match blocker.reason.as_str() {
        AWAITING_APPROVAL => Some(Event::AwaitingApproval),
        MISSING_RIGHT => Some(Event::MissingRight),
        // Nothing goes on by itself, in whatever phase.
        WRITE_REFUSED => Some(Event::Held),
        _ => (status.phase == Some(Phase::Held)).then_some(Event::Held),
    }
}

/// Tells those whose time has come, and comes back for the next.
fn escalate(
    draft: &mut Draft<'_>,
    known: &mut NotificationsStatus,
    all: &[Notify],
    standing: &mut Standing,
    blocker: &Blocker,
) {
    let now = draft.now();
    let mut due = Vec::new();
    for one in all.iter().filter(|one| wants(one, standing.event, &standing.reason)) {
        let Some(after) = one.after.as_ref().and_then(crate::api::text::Span::parse) else { continue };
        if standing.escalated.contains(&one.name) {
            continue;
        }
        match standing.since.0.checked_add(after) {
            Ok(at) if at <= now.0 => due.push(one.name.clone()),
            Ok(at) => draft.wake_at(at),
            // Beyond the end of time.
            Err(_) => {}
        }
    }
    standing.escalated.retain(|name| all.iter().any(|one| one.name == *name));
    standing.escalated.extend(due.iter().cloned());
    owe(draft, known, told(&draft.status, standing, blocker, Turn::Still, now), due);
}

/// It stands no more.
fn end(draft: &Draft<'_>, known: &mut NotificationsStatus, all: &[Notify], over: Standing) {
    let now = draft.now();
    let summary = draft.status.summary.as_ref().map(|summary| summary.message.clone()).unwrap_or_default();
    let message = Owed {
        turn: Turn::Over,
        reason: over.reason.clone(),
        message: summary,
        ..about(&draft.status, over.event, &over.run, now.0)
    };
    // What was not told begins no incident.
    owe(draft, known, message, incidents(all, &over));
    known.stood.retain(|stood| stood.reason != over.reason && since(now.0, stood.over.0) < QUIET);
    known.stood.push(Stood { reason: over.reason, run: over.run, over: now });
    let excess = known.stood.len().saturating_sub(MOST_STOOD);
    known.stood.drain(..excess);
}

/// Who keeps an incident of what stands.
fn incidents(all: &[Notify], standing: &Standing) -> Vec<String> {
    audience(all, |one| {
        let was_told = match one.after {
            None => standing.told && wants(one, standing.event, &standing.reason),
            Some(_) => standing.escalated.contains(&one.name),
        };
        was_told && Channel::of(one).is_some_and(|channel| channel.keeps_incidents())
    })
}

fn told(status: &ReleaseStatus, standing: &Standing, blocker: &Blocker, turn: Turn, now: Stamp) -> Owed {
    let Blocker { reason, message, until: _, unblock } = blocker.clone();
    Owed { turn, reason, message, unblock, ..about(status, standing.event, &standing.run, now.0) }
}
