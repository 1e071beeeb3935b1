//! How urgent a message is to whoever wakes people. What each receiver calls that is its own.

use crate::api::notify::{Event, Turn};
use crate::decide::notify::Message;

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It is happening.
    Now,
    High,
    Moderate,
    Low,
}

impl Urgency {
    /// Of this message.
    pub fn of(message: &Message) -> Self {
        match (message.owed.event, message.owed.turn) {
            (Event::Undoing, _) => Self::Now,
            (Event::Undone | Event::Rejected | Event::MissingRight, _) | (Event::Held, Turn::Still) => {
                Self::High
            }
            (Event::Held | Event::Aborted, _) | (Event::AwaitingApproval, Turn::Still) => Self::Moderate,
            (
                Event::AwaitingApproval
                | Event::Started
                | Event::StepPassed
                | Event::Succeeded
                | Event::Superseded
                | Event::HandedBack,
                _,
            ) => Self::Low,
        }
    }
}
