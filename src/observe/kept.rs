//! What is kept of what is read about pods: lines as far as they can be printed, and why something could not be read.

use super::outputs::printable;
use crate::api::Right;

/// Characters of a line, and of what is said about a pod.
const LINE: usize = 500;

/// As much of a line as is kept.
pub fn shown(line: &str) -> String {
    printable(line).chars().take(LINE).collect()
}

/// Why something was not read.
pub struct Unread {
    pub why: String,
    /// There is none.
    pub is_absent: bool,
}

impl Unread {
    /// It is there, for all that is known.
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_absent: false }
    }
}

impl From<kube::Error> for Unread {
    fn from(error: kube::Error) -> Self {
        let is_absent = matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 404));
        let why = match (Right::within(&error), error) {
            (Some(right), _) => right.to_string(),
            (None, kube::Error::Api(status)) => status.message,
            (None, other) => other.to_string(),
        };
        Self { why, is_absent }
    }
}
